"""Payout numbers given up as failed, asked about again: a bank may turn a failure of long ago into success.

A withdrawal that a repair paid under a later number, reversed, or confirmed as failed, is finished: row,
ledger and the newest number agree, so no fixer's pattern holds it. Were a number given up paid after all,
nobody would learn of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final, Literal

import msgspec

from agent.decision import decide
from agent.errors import PortError
from agent.facts import BankFact, BankState, Facts, Kind, RequestFact, Status
from agent.fixers.half_done import is_half_done
from agent.fixers.nonsense import find_nonsense
from agent.fixers.order import RepairSettings
from agent.fixers.plan import PAYOUTS, REVERSED_LEG, WRITE_ROW
from agent.fixers.reading import is_in_flight, read_legs, read_page
from agent.ports import Ports
from agent.records import BankRequest, Trade, Window

LOOK_BACK: Final = timedelta(days=90)
"""How long after its repair began a trade's superseded numbers are asked about: as long as a machine repairs
a trade at all (``max_age``). Every collection asks about one number a trade paid again or confirmed as
failed, 500 an inquiry: were it a thousand trades a day, it would be 180 inquiries."""
STEPS: Final = (*PAYOUTS, *REVERSED_LEG, WRITE_ROW)
"""The steps behind which a number may have been given up: WRITE_ROW where it confirmed a failure."""


class LateSuccess(msgspec.Struct, frozen=True):
    """A trade finished by us of which the bank has paid a number given up; ``fixer_code``: of our repair."""

    trade: Trade
    facts: Facts
    outcome: Literal["human", "wait"]
    reason: str
    fixer_code: str


class Looked(msgspec.Struct, frozen=True):
    """A page of trades whose superseded numbers were asked about; ``unverified``: how many without answer."""

    asked: int
    unverified: int
    found: tuple[LateSuccess, ...]


def late_successes(window: Window, ports: Ports, settings: RepairSettings) -> Iterator[Looked]:
    """Ask about the superseded numbers of the shard, whenever their rows changed, page by page.

    Raises PortError when our own repairs, or their rows, cannot be read.
    """
    since = ports.trades.now() - LOOK_BACK
    for trades in ports.trades.stepped(STEPS, since, window, settings.page):
        rows = [
            each for each in trades if not (is_in_flight(each, settings) or find_nonsense(each, settings))
        ]
        if rows:
            yield _look(rows, ports)


def superseded(trade: Trade, requests: Sequence[BankRequest]) -> list[BankRequest]:
    """Return the numbers that must not be paid any more, given all of the trade's.

    Of a withdrawal that shows success all but the newest; of any other, as after a reversal, every one.
    """
    if trade.kind is not Kind.WITHDRAW:
        return []
    if trade.status is not Status.SUCCESS:
        return list(requests)
    newest = max((each.seq for each in requests), default=0)
    return [each for each in requests if each.seq != newest]


def _look(rows: Sequence[Trade], ports: Ports) -> Looked:
    try:
        requests = ports.trades.bank_requests([each.trade_no for each in rows])
    except PortError:
        return Looked(len(rows), len(rows), ())
    given_up = {each.trade_no: superseded(each, requests.get(each.trade_no, [])) for each in rows}
    asked = [each for each in rows if given_up[each.trade_no]]
    if not asked:
        return Looked(0, 0, ())
    answers = _ask(asked, given_up, ports)
    suspect = {each.trade_no: each for each in asked if any(map(_is_paid, answers.get(each.trade_no, ())))}
    silent = sum(each.trade_no not in suspect and _is_open(answers.get(each.trade_no)) for each in asked)
    found, doubtful = _judge(list(suspect.values()), ports)
    return Looked(len(asked), silent + doubtful, tuple(found))


def _ask(
    trades: Sequence[Trade], requests: Mapping[str, list[BankRequest]], ports: Ports
) -> Mapping[str, Sequence[RequestFact]]:
    """What the bank says of the numbers; nothing where it cannot be asked."""
    try:
        told: Mapping[str, BankFact] = ports.bank.facts(trades, requests)
    except PortError:
        return {}
    return {trade_no: bank.requests for trade_no, bank in told.items()}


def _is_paid(number: RequestFact) -> bool:
    """Whether the bank has paid under the number, or holds something else under it."""
    return number.verdict in (BankState.SUCCESS, BankState.MISMATCH)


def _is_open(numbers: Sequence[RequestFact] | None) -> bool:
    """Whether the bank leaves a number open. One that it still calls failed is not, however it is dated."""
    return not numbers or any(
        each.verdict is BankState.UNKNOWN and each.status != "failed" for each in numbers
    )


def _judge(trades: Sequence[Trade], ports: Ports) -> tuple[list[LateSuccess], int]:
    """Read the whole of each trade and keep what is not whole; also return how many could not be judged.

    Nothing is kept for a repair: what the table would mend is for its fixer's collector.
    """
    facts = read_page(trades, read_legs(trades, ports), ports) if trades else {}
    found, doubtful = [], 0
    for trade in trades:
        outcome, reason = _decided(facts[trade.trade_no])
        if outcome is None:
            doubtful += reason == "ledger"
            continue
        try:
            standing = ports.trades.find_repair(trade.trade_no)
        except PortError:
            doubtful += 1
            continue
        # One under way looks for itself, and its end is read back.
        if standing is not None and not is_half_done(standing):
            late = LateSuccess(trade, facts[trade.trade_no], outcome, reason, standing.fixer_code)
            found.append(late)
    return found, doubtful


def _decided(facts: Facts) -> tuple[Literal["human", "wait"] | None, str]:
    """What the table says, None for nothing to report.

    Beside a number paid, one the bank leaves open does not hide it: the trade is waited for, then a person's.
    """
    decision = decide(facts)
    if decision.outcome == "human":
        return "human", decision.reason
    if (decision.outcome, decision.reason) == ("wait", "bank"):
        return "wait", decision.reason
    return None, decision.reason
