"""What must hold at every payout, every reversal and every end of one trade, judged as it happens."""

from collections.abc import Callable
from datetime import timedelta

from greenlet import getcurrent, greenlet

from agent.facts import Kind, Leg
from agent.fixers.attempt import FAILED
from agent.fixers.base import RepairReport
from agent.fixers.plan import PAYOUTS
from agent.fixers.result import result_of
from agent.records import PayoutReply
from tests.agent.world import Desk
from tests.fakes.bank import BankRecord
from tests.fakes.ledger import Entry

World = tuple[object, ...]


class Watch:
    """Stands between one trade's attempts and the bank and the ledger.

    ``broken`` lists what may never be: with the number, entry or row that it was about.
    """

    def __init__(self, desk: Desk, trade_no: str) -> None:
        self.broken: list[tuple[str, object]] = []
        self._production, self._trade_no = desk.production, trade_no
        self._as_read: dict[greenlet, World] = {}
        self._rows_read: dict[greenlet, str] = {}
        bank, ledger = desk.production.bank, desk.production.ledger
        bank._pay_new = self._judging_payouts(bank._pay_new)  # type: ignore[method-assign]
        ledger._book = self._judging_reversals(ledger._book)  # type: ignore[method-assign]

    def row_is_read(self) -> None:
        """The attempt that runs reads the trade's row now."""
        self._as_read[getcurrent()] = self._world()
        self._rows_read[getcurrent()] = self._production.trade(self._trade_no).row_hash

    def judge_end(self, report: RepairReport) -> None:
        """The attempt that runs has ended; it reads and writes nothing any more.

        What it calls repaired is judged where nothing has changed since it read the row for the last time.
        """
        is_as_read = self._as_read.get(getcurrent()) == self._world()
        if report.outcome == "repaired" and is_as_read and not self._is_true():
            self._note("untrue repaired", self._world())
        if not report.money_moved and (asked := self._live_of(report)):
            self._note("told as nothing moved", asked)

    def live(self) -> list[BankRecord]:
        """What the bank has paid, may still pay, or has failed so lately that it may change its mind."""
        return [each for each in self._production.bank.records.values() if self._is_live(each)]

    # ---- inside

    def _note(self, what: str, about: object) -> None:
        self.broken.append((what, about))

    def _is_live(self, record: BankRecord) -> bool:
        bank = self._production.bank
        if record.status != "failed":
            return True
        settles = timedelta(seconds=bank.failure_settles_s)
        return record.completed_at is not None and bank.clock() - record.completed_at < settles

    def _judging_payouts(
        self, pay: Callable[[BankRecord], PayoutReply]
    ) -> Callable[[BankRecord], PayoutReply]:
        def judge_and_pay(record: BankRecord) -> PayoutReply:
            number = record.request_no
            live = {each.request_no for each in self.live()}
            if number in live:
                self._note("paid twice under one number", number)
            if live - {number}:
                self._note("paid beside another", (number, live))
            if self._entries(Leg.FIRST) != 1:
                self._note("paid undebited", number)
            if self._rows_read.get(getcurrent()) != self._production.trade(self._trade_no).row_hash:
                self._note("paid on another row than was read", number)
            return pay(record)

        return judge_and_pay

    def _judging_reversals(self, book: Callable[[Entry], str]) -> Callable[[Entry], str]:
        def judge_and_book(entry: Entry) -> str:
            if entry.reverses and (live := self.live()):
                self._note("reversed beside a payout", [each.request_no for each in live])
            return book(entry)

        return judge_and_book

    def _live_of(self, report: RepairReport) -> list[str]:
        """The numbers still alive that the bank was let be asked for by steps that did not fail."""
        live = {each.request_no for each in self.live()}
        asked = [result_of(step) for step in report.steps if step.name in PAYOUTS and step.state != FAILED]
        return [each.request_no for each in asked if each.status and each.request_no in live]

    def _entries(self, slot: Leg) -> int:
        return len(self._production.ledger._live(self._trade_no, slot))

    def _world(self) -> World:
        """Row, ledger and bank, as far as they decide whether a trade is whole."""
        records = self._production.bank.records.values()
        bank = tuple(sorted((each.request_no, each.status, self._is_live(each)) for each in records))
        row = tuple(self._production.trades.row(self._trade_no).items())
        return row, bank, self._entries(Leg.FIRST), self._entries(Leg.SECOND)

    def _is_true(self) -> bool:
        """Whether row, ledger and bank say the same: paid once and booked, or neither."""
        status = self._production.trades.row(self._trade_no)["TRD_STATUS"]
        paid = [each.status for each in self.live()]
        entries = (self._entries(Leg.FIRST), self._entries(Leg.SECOND))
        if status == 8:
            is_recharge = self._production.trade(self._trade_no).kind is Kind.RECHARGE
            return paid == ["success"] and entries == (1, 0 if is_recharge else 1)
        return status == 9 and not paid and entries == (0, 0)
