"""Withdrawals that show success with nothing booked on the row."""

from agent.collectors.collector import collector_of
from agent.fixers.inter_withdraw import InterWithdraw

InterWithdrawCollector = collector_of(InterWithdraw)
