"""Random schedules of orders of one trade debited and unpaid: both actions and plain repairs, all at once.

As in schedules.py: calls fail and agents die anywhere, attempts overtake each other, the bank takes its time
and changes its mind while it may. Then everything heals and people order until the trade is whole.
"""

import random
from collections.abc import Callable
from typing import Final, Literal

from greenlet import GreenletExit, greenlet

from agent.unpaid import ACTIONS, Action
from tests.agent.schedules import Killed, RandomFaults, Schedule
from tests.agent.unpaid_trades import SHAPES, load_unpaid
from tests.agent.world import AMOUNT, Desk, wait_for_days_to_close

FURTHER_ORDERS: Final = 14


class OrderSchedule(Schedule):
    """One trade under the schedule of ``seed``; ``debit`` is what is moved where it is paid in the end."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.desk = Desk()
        self.trade_no, self._code = load_unpaid(self.desk, self._chance.choice(SHAPES))
        production = self.desk.production
        self.debit = {production.trade(self.trade_no).account_no: -AMOUNT, "BANK": AMOUNT}
        self._use(RandomFaults(self._chance))
        production.bank.deduplicates = self._chance.random() < 0.8
        self._is_production_at_work = False
        self.was_touched = False
        self.endings: list[tuple[str, str]] = []
        self._fence = self.desk.fence
        self._running: list[greenlet] = []

    def _next_attempt(self, action: Action | Literal["any"] | None = "any") -> Callable[[], None]:
        self._fence += 1
        fence = self._fence
        if action == "any":
            action = self._chance.choice((*ACTIONS, None))
        seen = self.desk.facts_hash(self.trade_no)

        def attempt() -> None:
            try:
                if action is None:
                    report = self.desk.attempt(self.trade_no, self._code, fence=fence)
                else:
                    report = self.desk.order(self.trade_no, self._code, action, seen=seen, fence=fence)
            except (Killed, GreenletExit):
                return
            self._ended(report)

        return attempt

    def _finish(self) -> tuple[str, str]:
        """A repair half done goes on by itself; else a person orders, until the trade is whole."""
        for _ in range(FURTHER_ORDERS):
            for record in self._records("accepted"):
                self._settle(record)
            wait_for_days_to_close(self.desk)
            verdict = self.verdict()
            if verdict == "consistent":
                return "repaired", ""
            self._next_attempt(None if verdict == "resume" else self._chance.choice(ACTIONS))()
            if self.endings[-1][0] == "repaired":
                break
        wait_for_days_to_close(self.desk)
        return self.endings[-1]

    def _original_arrives(self) -> None:
        """Every number had reached the bank before the first order."""
