"""Withdrawals that show failed with only the account leg booked."""

from agent.collectors.collector import collector_of
from agent.fixers.withdraw_failed_acc import WithdrawFailedAcc

WithdrawFailedAccCollector = collector_of(WithdrawFailedAcc)
