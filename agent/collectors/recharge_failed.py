"""Recharges that show failed and are not booked: the bank says whether it took the money."""

from agent.collectors.collector import collector_of
from agent.fixers.recharge_failed import RechargeFailed

RechargeFailedCollector = collector_of(RechargeFailed)
