"""Withdrawals that show success with only the account leg booked."""

from agent.collectors.collector import collector_of
from agent.fixers.inter_withdraw_acc import InterWithdrawAcc

InterWithdrawAccCollector = collector_of(InterWithdrawAcc)
