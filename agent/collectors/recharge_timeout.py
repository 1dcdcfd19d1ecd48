"""Recharges still processing after the group's limit."""

from agent.collectors.collector import collector_of
from agent.fixers.recharge_timeout import RechargeTimeout

RechargeTimeoutCollector = collector_of(RechargeTimeout)
