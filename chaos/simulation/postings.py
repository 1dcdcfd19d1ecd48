"""Watches each new posting of ours at the ledger, and each entry that we take back: was it what the bank had
said, and what it truly held?

Two things are held against it: what the bank's own books say at that moment, and what the strand that posts
was last told of each number. A posting that was made before, under the same key, moves nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from agent.adapters.bank_http import HttpBank
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import BankNames
from agent.decision import RowCodes
from agent.facts import BankFact, BankState, Kind, Leg, LegFact
from agent.ports import NO_NUMBERS
from agent.records import BankRequest, Posting, Reversal, Trade
from sandbox.bank.records import SUCCESS, BankRecord, has_surely_failed

if TYPE_CHECKING:
    from chaos.simulation.bank import BankLine
    from chaos.simulation.schedule import Schedule

CODES: Final = RowCodes()


class PostingWatch:
    """What every agent's worker was last told of each number, and what it then posted."""

    def __init__(self, schedule: "Schedule") -> None:
        self._schedule = schedule
        self._heard: dict[tuple[str, str, str], BankState] = {}
        self.violations: list[tuple[str, str]] = []

    def hear(self, told: Mapping[str, BankFact]) -> None:
        """The bank's word, as the adapter reads it, has come to the strand at work."""
        for fact in told.values():
            for each in fact.requests:
                self._heard[(*self._strand(), each.request_no)] = each.verdict

    def doubts(self, asked: Posting | Reversal) -> list[str]:
        """What speaks against it at this moment; nothing where it stands already under its key."""
        if self.is_posted(asked):
            return []
        return list(self._doubts(asked) if isinstance(asked, Posting) else self._against_giving_back(asked))

    def is_posted(self, asked: Posting | Reversal) -> bool:
        """Whether the ledger holds an entry of this key."""
        entries = self._schedule.world.entries(asked.trade_no)
        return any(entry["IDEM_KEY"] == asked.key for entry in entries)

    def made(self, asked: Posting | Reversal, doubts: Sequence[str]) -> None:
        """It has been posted in spite of that."""
        what = f"leg {asked.leg.value}" if isinstance(asked, Posting) else asked.voucher_no
        done = "posted" if isinstance(asked, Posting) else "taken back"
        self.violations += [("I9", f"{what} of {asked.trade_no} was {done} {doubt}") for doubt in doubts]

    def _doubts(self, posting: Posting) -> Iterator[str]:
        world = self._schedule.world
        status = world.row(posting.trade_no)["TRD_STATUS"]
        lines = world.requests(posting.trade_no)
        told = {str(line["REQUEST_NO"]): self._told(str(line["REQUEST_NO"])) for line in lines}
        held = world.books.of_trade(posting.trade_no)
        is_success = any(record.status == SUCCESS for record in held)
        if posting.kind is Kind.RECHARGE or posting.leg is Leg.SECOND:
            if not is_success:
                yield "though the bank has not moved the money"
            if posting.kind is Kind.RECHARGE and BankState.SUCCESS not in told.values():
                yield f"though the bank had told {_words(told)}"
        elif status == CODES.failed:
            yield "though a failed withdrawal is never debited"
        elif status == CODES.success:
            yield from self._against_failure(posting.trade_no, held, lines)
            if any(verdict is not BankState.FAIL for verdict in told.values()):
                yield f"though the bank had told {_words(told)}"
        else:
            if not is_success:
                yield "though the bank has not paid"
            if BankState.SUCCESS not in told.values():
                yield f"though the bank had told {_words(told)}"

    def _against_giving_back(self, reversal: Reversal) -> Iterator[str]:
        """A debit is given back only once the bank has refused every number in words that say so."""
        world = self._schedule.world
        held = {record.request_no: record for record in world.books.of_trade(reversal.trade_no)}
        lines = {str(line["REQUEST_NO"]) for line in world.requests(reversal.trade_no)}
        for number in sorted({*held, *lines}):
            record, told = held.get(number), self._told(number)
            if record is None:
                yield f"though {number} may still arrive"
            elif not has_surely_failed(record):
                yield f"though {number} is {record.status}"
            if number in lines and told is not BankState.FAIL:
                yield f"though the bank had told {_words({number: told})}"

    def _against_failure(
        self, trade_no: str, held: Sequence[BankRecord], lines: Sequence[Mapping[str, Any]]
    ) -> Iterator[str]:
        """A debit that is to be paid out follows the sure failure of every number before."""
        if trade_no in self._schedule.paid_late:
            return
        for record in held:
            if not has_surely_failed(record):
                yield f"though {record.request_no} is {record.status}"
        calendar, known = self._schedule.world.calendar, {record.request_no for record in held}
        for line in lines:
            closes_at = calendar.next_day(calendar.day_of(line["CREATED_AT"])).closes_at
            if line["REQUEST_NO"] not in known and closes_at > self._schedule.world.clock():
                yield f"though {line['REQUEST_NO']} may still arrive"

    def _told(self, request_no: str) -> BankState | None:
        return self._heard.get((*self._strand(), request_no))

    def _strand(self) -> tuple[str, str]:
        strand = self._schedule.loom.current
        return ("", "") if strand is None else (strand.owner.name, strand.name)


def _words(told: Mapping[str, BankState | None]) -> str:
    return ", ".join(f"{number} {verdict or 'nothing'}" for number, verdict in told.items()) or "nothing"


class HeardBank(HttpBank):
    """The bank as an agent's adapter asks it; what it makes of the answers is heard."""

    def __init__(self, names: BankNames, line: "BankLine", watch: PostingWatch) -> None:
        super().__init__("http://bank", "token", names, transport=line)
        self._watch = watch

    def facts(
        self,
        trades: Sequence[Trade],
        requests: Mapping[str, list[BankRequest]],
        without_line: Mapping[str, Sequence[str]] = NO_NUMBERS,
    ) -> Mapping[str, BankFact]:
        """Ask, and have the answer heard."""
        told = super().facts(trades, requests, without_line)
        self._watch.hear(told)
        return told


class WatchedLedger:
    """An agent's ledger; what it posts and takes back is watched."""

    def __init__(self, ledger: SqlLedger, watch: PostingWatch) -> None:
        self._ledger = ledger
        self._watch = watch

    def now(self) -> datetime:
        """The ledger's clock."""
        return self._ledger.now()

    def legs(self, trades: Sequence[Trade]) -> Mapping[str, tuple[LegFact, LegFact | None]]:
        """Both legs of each trade."""
        return self._ledger.legs(trades)

    def post(self, posting: Posting) -> str:
        """Post, and hold what was posted against what spoke against it; one that is refused moved nothing."""
        with self._watched(posting):
            return self._ledger.post(posting)

    def reverse_entry(self, reversal: Reversal) -> str:
        """Take an entry back, or only ask whether this was done, and hold it likewise."""
        with self._watched(reversal):
            return self._ledger.reverse_entry(reversal)

    @contextmanager
    def _watched(self, asked: Posting | Reversal) -> Iterator[None]:
        doubts = self._watch.doubts(asked)
        try:
            yield
        finally:
            if doubts and self._watch.is_posted(asked):
                self._watch.made(asked, doubts)

    def check(self) -> str:
        """Say what was found."""
        return self._ledger.check()
