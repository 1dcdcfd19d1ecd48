"""Collecting broken trades: read by keyset, ask ledger and bank for many at a time, report what disagrees."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final, Literal

from agent.answers import ReportedTrade, why_it_broke_off
from agent.collectors.collector import Collector
from agent.collectors.late import late_successes
from agent.decision import Decision, corrected_row
from agent.errors import PortError
from agent.facts import Facts, Kind, LegState, Row, Status
from agent.fixers.half_done import is_half_done, judge_half_done
from agent.fixers.nonsense import find_nonsense, repeated_number
from agent.fixers.order import RepairSettings
from agent.fixers.reading import TOO_OLD, Legs, is_in_flight, is_too_old, read_legs, read_page
from agent.ports import Cancellation, Ports
from agent.records import RepairRow, Trade, Window

log: Final = logging.getLogger(__name__)

MOST_BROKEN: Final = 20
"""A fixer may break over so many trades of a collection. One that breaks over more is broken itself: it would
hand to people whatever it is asked about."""

Progress = Callable[[int, int, int], None]
"""Rows scanned, rows that could not be verified (未能核实), rows expected (0 where not known)."""


@dataclass
class Tally:
    """What a collection has counted so far."""

    scanned: int = 0
    unverified: int = 0
    expected: int = 0


@dataclass(frozen=True)
class Judgement:
    """What is reported of a trade."""

    outcome: Literal["repair", "wait", "human"]
    reason: str
    fixer_code: str | None
    after: Row | None = None


class Collection:
    """One pass over a window for some collectors. ``tally`` may be read at any time."""

    def __init__(
        self,
        collectors: Sequence[Collector],
        ports: Ports,
        settings: RepairSettings,
    ) -> None:
        self.tally = Tally()
        self._collectors = collectors
        self._ports = ports
        self._settings = settings
        self._duplicated: set[str] = set()
        self._reported: set[str] = set()
        self._broken: Counter[str] = Counter()

    def pages(
        self, window: Window, cancellation: Cancellation, progress: Progress
    ) -> Iterator[list[ReportedTrade]]:
        """Yield what is to be reported, page by page; ends early when cancelled.

        Raises PortError when the rows cannot be read to their end, or a fixer is broken: the collection is
        then incomplete.
        """
        trades, page = self._ports.trades, self._settings.page
        self.tally.expected = trades.count(window)
        patterns = [pattern for collector in self._collectors for pattern in collector.patterns]
        for rows in trades.duplicates(window, page):
            if cancellation.is_set():
                return
            yield self._report_duplicates(rows)
        for rows in trades.suspects(patterns, window, page):
            if cancellation.is_set():
                return
            self.tally.scanned += len(rows)
            found = self._report_page([row for row in rows if row.trade_no not in self._duplicated])
            self._reported |= {each.trade_no for each in found}
            yield found
            progress(self.tally.scanned, self.tally.unverified, self.tally.expected)
        if any(pattern.kind is Kind.WITHDRAW for pattern in patterns):
            yield from self._late_successes(window, cancellation, progress)

    # ---- what is finished, and paid under a number given up

    def _late_successes(
        self, window: Window, cancellation: Cancellation, progress: Progress
    ) -> Iterator[list[ReportedTrade]]:
        """Report each for a person, whichever fixers were asked for: who paid it may be offered no more."""
        for looked in late_successes(window, self._ports, self._settings):
            if cancellation.is_set():
                return
            self.tally.scanned += looked.asked
            self.tally.unverified += looked.unverified
            yield [
                reported(late.trade, Judgement(late.outcome, late.reason, late.fixer_code), late.facts)
                for late in looked.found
                if late.trade.trade_no not in self._reported and late.trade.trade_no not in self._duplicated
            ]
            progress(self.tally.scanned, self.tally.unverified, self.tally.expected)

    # ---- rows that make no sense

    def _report_duplicates(self, rows: Sequence[Trade]) -> list[ReportedTrade]:
        """Report each number once, with the first of its rows."""
        first: dict[str, Trade] = {}
        for row in rows:
            if row.trade_no not in self._reported and not is_in_flight(row, self._settings):
                first.setdefault(row.trade_no, row)
        self._duplicated |= {row.trade_no for row in rows}
        self._reported |= set(first)
        return [
            reported(row, Judgement("human", self._rows_of_number(row, rows), None)) for row in first.values()
        ]

    def _rows_of_number(self, row: Trade, page: Sequence[Trade]) -> str:
        """Tell every row of the number: one query, because twins also lie in other shards and windows."""
        known = [each.trade_id for each in page if each.trade_no == row.trade_no]
        return repeated_number(known + [each.trade_id for each in self._ports.trades.find(row.trade_no)])

    # ---- a page of rows

    def _report_page(self, rows: Sequence[Trade]) -> list[ReportedTrade]:
        found: list[ReportedTrade] = []
        candidates: dict[str, tuple[Trade, Collector]] = {}
        for row in rows:
            nonsense = find_nonsense(row, self._settings)
            if is_in_flight(row, self._settings):
                continue
            if nonsense:
                found.append(reported(row, Judgement("human", nonsense, None)))
            elif collector := self._collector_of(row):
                candidates[row.trade_no] = (row, collector)
        found.extend(self._judge_candidates(candidates))
        return sorted(found, key=lambda each: each.trade_id)

    def _collector_of(self, row: Trade) -> Collector | None:
        return next((each for each in self._collectors if each.takes(row)), None)

    def _judge_candidates(self, candidates: Mapping[str, tuple[Trade, Collector]]) -> Iterator[ReportedTrade]:
        if not candidates:
            return
        legs = read_legs([trade for trade, _ in candidates.values()], self._ports)
        silent = {
            trade.trade_no
            for trade, collector in candidates.values()
            if collector.needs_ledger_money and not self._has_ledger_money(trade, legs)
        }
        passed_over = silent - self._said_paid(silent)
        worth_asking = [trade for number, (trade, _) in candidates.items() if number not in passed_over]
        facts = read_page(worth_asking, legs, self._ports) if worth_asking else {}
        for trade in worth_asking:
            judgement = self._judge(trade, facts[trade.trade_no], candidates[trade.trade_no][1])
            if judgement:
                yield reported(trade, judgement, facts[trade.trade_no])

    def _has_ledger_money(self, trade: Trade, legs: Mapping[str, Legs]) -> bool:
        """Whether ledger or row hold a debit; a trade the ledger is silent about is counted as unverified."""
        states = [leg.state for leg in legs.get(trade.trade_no, ()) if leg is not None]
        if not states or LegState.UNKNOWN in states:
            self.tally.unverified += 1
            return False
        return bool(trade.is_e_acc) or any(state is not LegState.NONE for state in states)

    def _said_paid(self, trade_nos: Set[str]) -> set[str]:
        """Those of which production's own request lines tell that the bank paid after all."""
        if not trade_nos:
            return set()
        try:
            lines = self._ports.trades.bank_requests(sorted(trade_nos))
        except PortError:
            self.tally.unverified += len(trade_nos)
            return set()
        return {number for number, requests in lines.items() if any(each.is_said_paid for each in requests)}

    # ---- one trade

    def _judge(self, trade: Trade, facts: Facts, collector: Collector) -> Judgement | None:
        """Return what to report of a trade, None for what agrees or could not be verified."""
        decision = self._diagnose(facts, collector)
        if decision.outcome == "consistent":
            return None
        try:
            standing = self._ports.trades.find_repair(trade.trade_no)
        except PortError:
            # Without production's step table a repair half done looks like a disagreement for a person.
            self.tally.unverified += 1
            return None
        if standing is not None and is_half_done(standing):
            return _judge_half_done(standing, facts)
        if decision.outcome == "wait" and not _is_disagreement(facts):
            self.tally.unverified += 1
            return None
        if decision.outcome != "repair" or decision.target is None:
            return Judgement(decision.outcome, decision.reason, collector.code)
        vouchers = (facts.first.voucher_no, facts.second.voucher_no if facts.second else None)
        after = corrected_row(trade.row, facts.kind, decision.target, vouchers, self._settings.codes)
        if is_too_old(trade, self._settings):
            reason = f"{TOO_OLD}{self._settings.max_age.days}"
            return Judgement("human", reason, decision.fixer_code or collector.code, after)
        return Judgement("repair", decision.reason, decision.fixer_code or collector.code, after)

    def _diagnose(self, facts: Facts, collector: Collector) -> Decision:
        """Return what the fixer says of a trade; one that breaks it is for a person, MOST_BROKEN at most."""
        try:
            return collector.diagnose(facts)
        except Exception as error:
            # The edge to fixers of other packages: a trade that breaks one must hide no other of the shard.
            log.exception("the fixer %s broke off over %s", collector.code, facts.trade_no)
            self._broken[collector.code] += 1
            if self._broken[collector.code] > MOST_BROKEN:
                what = f"the fixer {collector.code} broke off over more than {MOST_BROKEN} trades"
                raise PortError(why_it_broke_off(error, what)) from error
            return Decision("human", why_it_broke_off(error))


def _judge_half_done(standing: RepairRow, facts: Facts) -> Judgement | None:
    outcome, reason = judge_half_done(standing, facts)
    if outcome == "consistent":
        return None
    return Judgement("repair" if outcome == "resume" else outcome, reason, standing.fixer_code)


def _is_disagreement(facts: Facts) -> bool:
    """Whether an unclear trade is worth reporting: its row and the ledger disagree, or it is overdue.

    Rows in flight never come here, so a processing row is overdue.
    """
    if facts.status is Status.PROCESSING:
        return True
    legs = [(facts.is_acc, facts.first)] + ([(facts.is_e_acc, facts.second)] if facts.second else [])
    return any(
        leg.state is not LegState.UNKNOWN and bool(is_booked) != (leg.state is LegState.POSTED)
        for is_booked, leg in legs
    )


def reported(trade: Trade, judgement: Judgement, facts: Facts | None = None) -> ReportedTrade:
    """The trade as it travels to the server."""
    return ReportedTrade(
        trade_no=trade.trade_no,
        trade_id=trade.trade_id,
        kind=trade.kind,
        bookkeeping=trade.bookkeeping,
        amount_minor=trade.amount_minor,
        currency=trade.currency,
        channel=trade.channel,
        row=trade.row,
        row_hash=trade.row_hash,
        row_changed_at=trade.changed_at.isoformat() if trade.changed_at else None,
        fixer_code=judgement.fixer_code,
        outcome=judgement.outcome,
        reason=judgement.reason,
        facts=facts,
        after=judgement.after,
    )
