"""Recharges that show success and are not booked."""

from agent.collectors.collector import collector_of
from agent.fixers.inter_recharge import InterRecharge

InterRechargeCollector = collector_of(InterRecharge)
