"""Which number a payout goes out under.

Number 0 is production's own. Only an explicit failure that has settled opens the next number; whatever may
still arrive late is submitted again under its own number, so that the bank de-duplicates it. At most one is
ever not failed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from agent.facts import BankFact, BankState, Kind
from agent.fixers.attempt import Attempt, AttemptEnded
from agent.records import BankRequest, Trade

NO_NUMBER: Final = "production holds no bank request of the trade"
"""Its table may have been cleared: what was asked under a number nobody holds, nobody can find again."""
MAY_STILL_ARRIVE: Final = "the request may still reach the bank, which does not de-duplicate"

MOST_BETWEEN: Final = 4
"""So many numbers of production's own may be lost before the first of ours."""


class PayoutNumber(msgspec.Struct, frozen=True):
    """A number to pay under; ``is_new`` when production's table does not hold it yet."""

    request_no: str
    seq: int
    is_new: bool


def choose_number(trade_no: str, bank: BankFact, *, deduplicates: bool) -> PayoutNumber:
    """Return the number to pay under, for a trade the bank has certainly not paid. Asked before the debit.

    Raises AttemptEnded: needs_human when more than one number may still be alive, one may still arrive at a
    bank that would pay it twice, or production holds no number; wait when one may yet turn out paid.
    """
    if not bank.requests:
        raise AttemptEnded("needs_human", NO_NUMBER)
    if any(request.verdict is BankState.UNKNOWN for request in bank.requests):
        raise AttemptEnded("wait", "bank")
    alive = [request for request in bank.requests if request.status != "failed"]
    if len(alive) > 1:
        raise AttemptEnded("needs_human", "more than one bank request may be alive")
    if alive and not deduplicates:
        raise AttemptEnded("needs_human", MAY_STILL_ARRIVE)
    if alive:
        return PayoutNumber(alive[0].request_no, alive[0].seq, is_new=False)
    return number_behind(trade_no, max(request.seq for request in bank.requests))


def number_0(trade_no: str) -> PayoutNumber:
    """The number of production's own first request (docs/production-interface.md)."""
    return PayoutNumber(f"{trade_no}-0", 0, is_new=True)


def number_behind(trade_no: str, seq: int) -> PayoutNumber:
    """The number Piculus opens where the newest line is of this place."""
    return PayoutNumber(f"{trade_no}-P{seq + 1}", seq + 1, is_new=True)


def numbers_behind(trade_no: str, kind: Kind | None, places: Sequence[int]) -> list[PayoutNumber]:
    """The numbers of which one may have lost its line, where the lines left are of these places.

    Of a payout the next of ours behind some line, for production's own may have stood between; where no line
    is left, production's own first one.
    """
    if not places:
        return [number_0(trade_no)]
    if kind is not Kind.WITHDRAW:
        return []  # Piculus opens none of a receipt
    behind = {place + further for place in places for further in range(MOST_BETWEEN + 1)}
    return [number_behind(trade_no, place) for place in sorted(behind)]


def require_number(attempt: Attempt, bank: BankFact) -> PayoutNumber:
    """Return the number to pay the attempt's trade under.

    Raises AttemptEnded: wait where the bank has not certainly failed it, else as ``choose_number``.
    """
    if bank.state is not BankState.FAIL:
        raise AttemptEnded("wait", "bank")
    return choose_number(attempt.order.trade_no, bank, deduplicates=attempt.ports.bank.deduplicates)


def seq_of(request_no: str) -> int:
    """The sequence of a number Piculus opens, whose line was not yet written.

    Raises AttemptEnded: needs_human for a number of production's own, whose line someone has taken away.
    """
    _, mark, seq = request_no.rpartition("-P")
    if not (mark and seq.isdecimal()):
        raise AttemptEnded("needs_human", "production no longer holds the number of the payout")
    return int(seq)


def request_of(trade: Trade, number: PayoutNumber) -> BankRequest:
    """The line of production's table that opens a new number, not yet asked for."""
    return BankRequest(
        request_no=number.request_no,
        trade_no=trade.trade_no,
        seq=number.seq,
        kind="payout",
        status="created",
        amount_minor=trade.amount_minor,
        created_at=trade.read_at,
    )
