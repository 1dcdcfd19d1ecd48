"""Numbers the bank knows and production's table of bank requests does not: it was restored, or failed over
before their lines were copied. What was paid under such a number shows in no fact.
"""

from collections.abc import Sequence
from typing import Final

from agent.decision import Decision
from agent.facts import Facts, Status
from agent.fixers.attempt import Attempt, AttemptEnded
from agent.fixers.payout_number import PayoutNumber, choose_number, numbers_behind
from agent.ports import BankPort, Ports
from agent.records import Trade

LINE_LOST: Final = "the bank knows the number, and production's table has lost it"
"""Nothing is done on facts without it, until the line is restored."""


def is_any_known(trade: Trade, facts: Facts, numbers: Sequence[PayoutNumber], bank: BankPort) -> bool | None:
    """Whether the bank knows any number of these, which have no line; None where it cannot say.

    Those that it was not asked about when the facts were read it is asked about now. Raises PortError.
    """
    told = {each.request_no: each.status for each in facts.bank.without_line}
    unasked = [each.request_no for each in numbers if each.request_no not in told]
    if unasked:
        fact = bank.facts([trade], {}, {trade.trade_no: unasked}).get(trade.trade_no)
        told |= {each.request_no: each.status for each in (fact.without_line if fact else ())}
    said = {told.get(each.request_no, "unknown") for each in numbers}
    if said <= {"not_found"}:
        return False
    return True if said - {"not_found", "unknown"} else None


def find_lost_line(trade: Trade, facts: Facts, ports: Ports) -> str | None:
    """Return LINE_LOST where the bank knows a number of the trade that has no line, "bank" where it cannot
    say, None where it knows none. Raises PortError.
    """
    is_known = is_any_known(trade, facts, numbers_without_line(trade, facts, ports), ports.bank)
    if is_known is None:
        return "bank"
    return LINE_LOST if is_known else None


def numbers_without_line(trade: Trade, facts: Facts, ports: Ports) -> list[PayoutNumber]:
    """The numbers that payout steps name, whatever became of them, and those that may come behind the lines:
    the steps may be lost too.
    """
    lines = {each.request_no for each in facts.bank.requests}
    named = [PayoutNumber(each, 0, is_new=True) for each in ports.trades.payout_numbers(trade.trade_no)]
    behind = numbers_behind(trade.trade_no, facts.kind, [each.seq for each in facts.bank.requests])
    found = {each.request_no: each for each in (*named, *behind)}
    return [number for request_no, number in found.items() if request_no not in lines]


def require_no_lost_line(attempt: Attempt) -> None:
    """Asked before money is given back, or a failure confirmed: what the bank has moved under a lost number
    would be given twice, or told as not moved.

    Raises AttemptEnded: wait where the bank cannot say, needs_human where it knows a number without a line.
    """
    trade, facts = attempt.seen
    found = find_lost_line(trade, facts, attempt.ports)
    if found == LINE_LOST:
        raise AttemptEnded("needs_human", LINE_LOST, is_void=not attempt.money_moved)
    if found is not None:
        raise AttemptEnded("wait", found, is_void=not attempt.money_moved)


def is_failure_told(decision: Decision, facts: Facts) -> bool:
    """Whether a decision says that nothing was moved: it confirms a failure, or calls a failed one whole."""
    is_whole = decision.outcome == "consistent"
    return decision.target is Status.FAILED or (is_whole and facts.status is Status.FAILED)


def choose_payable(trade: Trade, facts: Facts, ports: Ports) -> PayoutNumber:
    """Return the number that a plan which pays would pay under. Asked before its debit.

    Raises AttemptEnded as ``choose_number``; where a line ``may_be_lost``, needs_human where the bank knows a
    number that has lost it, wait where it cannot say. PortError.
    """
    number = choose_number(trade.trade_no, facts.bank, deduplicates=ports.bank.deduplicates)
    if may_be_lost(number, facts):
        is_known = _is_known_beside(trade, facts, number, ports)
        if is_known is None:
            raise AttemptEnded("wait", "bank")
        if is_known:
            raise AttemptEnded("needs_human", LINE_LOST)
    return number


def may_be_lost(number: PayoutNumber, facts: Facts) -> bool:
    """Whether a payout of ours may have lost its line beside the number to pay under.

    Production's first number alone, which the bank has not failed, has never had one of ours behind it.
    """
    return number.is_new or len(facts.bank.requests) > 1


def _is_known_beside(trade: Trade, facts: Facts, number: PayoutNumber, ports: Ports) -> bool | None:
    """Whether a payout under this number would end over one that the bank knows without a line: another, or
    this one, at a bank that does not de-duplicate. None where it cannot say. Raises PortError.
    """
    without_line = numbers_without_line(trade, facts, ports)
    asked = [each for each in without_line if each.request_no != number.request_no]
    if number.is_new and not ports.bank.deduplicates:
        asked.append(number)
    return is_any_known(trade, facts, asked, ports.bank)
