"""Withdrawals still processing after the group's limit."""

from agent.collectors.collector import collector_of
from agent.fixers.withdraw_timeout import WithdrawTimeout

WithdrawTimeoutCollector = collector_of(WithdrawTimeout)
