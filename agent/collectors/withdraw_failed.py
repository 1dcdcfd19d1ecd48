"""Withdrawals that show failed with nothing booked on the row.

One with nothing in the ledger is simply a failed withdrawal: the bank is asked only where it has money, or
where production noted later that the bank paid.
"""

from agent.collectors.collector import collector_of
from agent.fixers.withdraw_failed import WithdrawFailed

WithdrawFailedCollector = collector_of(WithdrawFailed, needs_ledger_money=True)
