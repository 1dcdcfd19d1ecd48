"""Random schedules of one trade's repair: attempts interleaved at every port call, faults, then healing.

A seed is a schedule. Attempts run as greenlets that give way before each call of a port, so that two of them
overtake each other anywhere; calls fail before or after their effect, agents die, the bank answers as it
likes and changes its mind as long as it may, production itself touches the trade. Then everything heals and
attempts go on until one ends for good.
"""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from greenlet import GreenletExit, getcurrent, greenlet

from agent.errors import PortError
from agent.facts import Leg
from agent.fixers.base import RepairReport, verify
from tests.agent.world import CASES, Desk, load_case, wait_for_days_to_close
from tests.fakes.bank import BankRecord
from tests.fakes.faults import Faults, Moment
from tests.fakes.ledger import SLOTS

REPLIES: Final = (
    *("success",) * 3,
    "accepted",
    "failed:E1001",
    "lost_before",
    "lost_after",
    "lost_accepted",
    "odd:E9999",
)
TWO_STEP: Final = ("S2", "S3", "S7b", "S8", "S9")
FURTHER_ATTEMPTS: Final = 14
CALLS_FOR: Final = "the facts call for "


class Killed(BaseException):
    """The agent's process ends here, as by kill -9."""


class RandomFaults(Faults):
    """Gives way before each call of an attempt, then lets one in eight fail, or that part of them."""

    def __init__(self, chance: random.Random, part: float = 1) -> None:
        super().__init__()
        self._chance = chance
        self._part = part
        self.is_healed = False

    def arrive(self, name: str) -> tuple[Moment, Exception] | None:
        """Note a call; return how it fails, if it does."""
        this = getcurrent()
        if this.parent is None or self.is_healed:
            return None
        self.calls.append(name)
        this.parent.switch()
        moment: Moment = self._chance.choice(("before", "after"))
        kind = self._chance.random()
        if kind < 0.08 * self._part:
            return moment, PortError("the answer was lost")
        return (moment, Killed()) if kind < 0.12 * self._part else None  # type: ignore[return-value]


class Schedule:
    """One trade under the schedule of ``seed``. ``run`` returns how the last attempt ended.

    ``was_touched``: production, or its own lost payout, came between. ``endings`` are outcome and reason of
    each attempt that lived to tell, in the order they ended.
    """

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.desk = Desk()
        self._use(RandomFaults(self._chance))
        production = self.desk.production
        self.case = CASES[self._chance.choice(list(CASES))]
        mode = "two_step" if self.case["id"] in TWO_STEP and self._chance.random() < 0.5 else None
        production.bank.deduplicates = self._chance.random() < 0.8
        self.trade_no, self._code = load_case(self.desk, self.case["id"], bookkeeping=mode)
        self._is_production_at_work = self._chance.random() < 0.4
        self.was_touched = False
        self.endings: list[tuple[str, str]] = []
        self._fence = 0
        self._running: list[greenlet] = []

    def _use(self, faults: RandomFaults) -> None:
        self._faults = faults
        production = self.desk.production
        for port in (production.trades, production.ledger, production.bank):
            port.faults = faults

    def run(self) -> tuple[str, str]:
        """Let the schedule happen, heal, and attempt until an end is final."""
        for _ in range(self._chance.randint(5, 160)):
            self.desk.production.bank.default_reply = self._chance.choice(REPLIES)
            if not self._running or self._may_begin_beside():
                self._running.append(greenlet(self._next_attempt()))
            self._whose_turn().switch()
            self._running = [each for each in self._running if not each.dead]
            self._something_else()
        self._heal(self._running)
        return self._finish()

    def _whose_turn(self) -> greenlet:
        return self._chance.choice(self._running)

    def _may_begin_beside(self) -> bool:
        return len(self._running) < 2 and self._chance.random() < 0.03

    def _next_attempt(self) -> Callable[[], None]:
        self._fence += 1
        fence = self._fence

        def attempt() -> None:
            try:
                report = self.desk.attempt(self.trade_no, self._code, fence=fence)
            except (Killed, GreenletExit):
                return
            finally:
                self.desk.fence = self._fence
            if report.outcome == "refused" and report.reason.startswith(CALLS_FOR):
                self._code = report.reason.removeprefix(CALLS_FOR)
            self._ended(report)

        return attempt

    def _ended(self, report: RepairReport) -> None:
        """An attempt has lived to tell."""
        self.endings.append((report.outcome, report.reason))

    def _heal(self, running: list[greenlet]) -> None:
        """End the faults; what still runs goes on unhindered, or never wakes again."""
        self._faults.is_healed = True
        self.desk.production.bank.default_reply = "success"
        for each in running:
            if self._chance.random() < 0.5:
                each.throw(GreenletExit)
            else:
                each.switch()

    def _finish(self) -> tuple[str, str]:
        for _ in range(FURTHER_ATTEMPTS):
            for record in self._records("accepted"):
                self._settle(record)
            wait_for_days_to_close(self.desk)
            self._next_attempt()()
            if self.endings[-1][0] in ("repaired", "already_consistent"):
                break
        wait_for_days_to_close(self.desk)
        return self.endings[-1]

    # ---- what else happens meanwhile

    def _something_else(self) -> None:
        dice = self._chance.random()
        if dice < 0.10:
            self.desk.production.clock.advance(seconds=self._chance.choice((1, 30, 100, 299)))
        elif dice < 0.14:
            wait_for_days_to_close(self.desk)
        elif dice < 0.24:
            self._the_bank_moves()
        elif dice < 0.25 and self._is_production_at_work:
            self._production_moves()
        elif dice < 0.26:
            self._original_arrives()

    def _original_arrives(self) -> None:
        """Production's own payout, lost for so long, reaches a bank that would know the number again."""
        bank, trade = self.desk.production.bank, self.desk.production.trade(self.trade_no)
        for request in self.desk.production.trades.requests:
            is_lost = request.kind == "payout" and request.request_no not in bank.records
            if is_lost and request.seq == 0:
                amount = trade.amount_minor or 0
                bank.put(BankRecord(request.request_no, "payout", "accepted", amount, trade.bank_account_no))
                bank.settle(request.request_no)
                self.was_touched = True

    def _the_bank_moves(self) -> None:
        """An accepted payout is finished, or a failure not yet settled turns into success."""
        bank = self.desk.production.bank
        settles = timedelta(seconds=bank.failure_settles_s)
        young = [
            record
            for record in self._records("failed")
            if record.completed_at and bank.clock() - record.completed_at < settles
        ]
        if movable := self._records("accepted") + young:
            record = self._chance.choice(movable)
            if record.status == "failed":
                bank.settle(record.request_no)
            else:
                self._settle(record)

    def _settle(self, record: BankRecord) -> None:
        is_success = self._chance.random() < 0.7
        status, code = ("success", None) if is_success else ("failed", "E1001")
        self.desk.production.bank.settle(record.request_no, status, code)

    def _production_moves(self) -> None:
        production = self.desk.production
        self.was_touched = True
        dice = self._chance.random()
        if dice < 0.3:
            production.trades.change(self.trade_no)
        elif dice < 0.6:
            leg = Leg.FIRST if self.case["kind"] == "recharge" else self._chance.choice(list(Leg))
            if not any(production.ledger._live(self.trade_no, slot) for slot in SLOTS[leg]):
                production.book(self.trade_no, leg)
        else:
            production.trades.change(self.trade_no, TRD_STATUS=self._chance.choice((0, 8, 9)))

    def _records(self, status: str) -> list[BankRecord]:
        records = self.desk.production.bank.records.values()
        return [record for record in records if (record.kind, record.status) == ("payout", status)]

    # ---- what came of it

    def payouts(self) -> list[str]:
        """The numbers of all payouts the bank has made for the trade, before the schedule and in it."""
        return [record.request_no for record in self._records("success")]

    def entries_of(self, slot: Leg) -> int:
        """How many entries not reversed hold a leg."""
        return len(self.desk.production.ledger._live(self.trade_no, slot))

    def verdict(self) -> str:
        """What a verification says at the end."""
        return verify(self.trade_no, self.desk.production.ports, self.desk.settings).outcome

    @property
    def has_odd_failure(self) -> bool:
        """Whether the bank holds a failure with a code on no list, which is unknown for ever."""
        return any(record.code == "E9999" for record in self.desk.production.bank.records.values())
