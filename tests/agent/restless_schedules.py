"""Random schedules in a world without rest, over those of schedules.py and order_schedules.py.

Beside all that happens there, production's trade database or its ledger is put back to an earlier state (a
fail-over, a restore), production itself opens further numbers and is paid under them, people take the debit
back by hand and edit the row. A seed draws which of these its world does, before which call of an attempt,
how soon and how often; how many calls fail and how fast all else happens; before which calls attempts linger.

Left out is what nothing can keep from harm (docs/safety.md): what happens in the moment between an agent's
last look and its call, as LAST_LOOKS says; and that a number that production alone could name is lost with
its line, for nobody can ask the bank about it. Production opens no number while one may still be paid.
"""

import copy
import random
from typing import Any, Final

import msgspec
from greenlet import getcurrent, greenlet

from agent.facts import Kind, Leg
from agent.fixers.base import RepairReport
from tests.agent.order_schedules import OrderSchedule
from tests.agent.schedules import RandomFaults, Schedule
from tests.agent.watch import Watch
from tests.fakes.bank import BankRecord
from tests.fakes.faults import Moment

PAY: Final = "bank.pay"
LET: Final = "trades.open_bank_request"
REVERSE: Final = "ledger.reverse_entry"
CALLS: Final = (
    "trades.find_repair",
    "trades.find",
    "trades.bank_requests",
    "ledger.legs",
    "bank.facts",
    "trades.payout_numbers",
    "trades.claim_repair",
    "ledger.now",
    "trades.record_step",
    "ledger.post",
    LET,
    PAY,
    REVERSE,
    "trades.note_bank_request",
    "trades.write_row",
    "trades.close_repair",
)
"""Before which something happens, or attempts linger; an attempt not yet begun lingers before the first."""
LAST_LOOKS: Final = {
    "trades put back": {PAY, REVERSE},
    "ledger put back": {LET, PAY, REVERSE},
    "both put back": {LET, PAY, REVERSE},
    "production pays": {PAY, REVERSE},
    "debit taken back": {LET, PAY},
    "row edited": {PAY},
}
"""What the world does, and before which calls it does not: the last look lies behind."""
PARTS: Final = (0.1, 0.3, 1)
"""How many of the faults, and of what else happens, a seed lets happen: with all of them few repairs pay."""
PUT_BACK: Final = {
    "trades put back": ("trades",),
    "ledger put back": ("ledger",),
    "both put back": ("trades", "ledger"),
}
TABLES: Final = {
    "trades": ("rows", "requests", "repairs", "begun", "repair_steps", "corrections"),
    "ledger": ("entries", "balances"),
}
State = dict[str, dict[str, Any]]
"""What each of them held."""


class WatchedFaults(RandomFaults):
    """Knows what each attempt is about to call, and tells the watch of every look at the row."""

    def __init__(self, chance: random.Random, watch: Watch) -> None:
        super().__init__(chance, chance.choice(PARTS))
        self.next_calls: dict[greenlet, str] = {}
        self._watch = watch

    def arrive(self, name: str) -> tuple[Moment, Exception] | None:
        """Note a call; return how it fails, if it does."""
        self.next_calls[getcurrent()] = name
        failure = super().arrive(name)
        if name == "trades.find":
            self._watch.row_is_read()
        return failure


class RestlessSchedule(Schedule):
    """One trade in a restless world; ``watch.broken`` is what must not have been."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.watch = Watch(self.desk, self.trade_no)
        faults = WatchedFaults(self._chance, self.watch)
        self._next_calls = faults.next_calls
        self._use(faults)
        self._account = self.desk.production.trade(self.trade_no).bank_account_no
        self._kept: list[tuple[State, State]] = []
        self._keep()
        self._keep_what_was_before()
        self._draw()

    def _draw(self) -> None:
        chance = self._chance
        self._pace = chance.choice(PARTS)
        self._lingers_before = chance.sample(CALLS, 2)
        self._moments = {what: chance.choice(CALLS) for what in LAST_LOOKS if chance.random() < 0.5}
        self._how_soon = chance.choice((0.02, 0.1, 0.3))
        self._moves_left = chance.randint(1, 4)

    def _may_begin_beside(self) -> bool:
        return len(self._running) < 4 and self._chance.random() < 0.06

    def _whose_turn(self) -> greenlet:
        chosen = super()._whose_turn()
        if self._next_calls.get(chosen, CALLS[0]) in self._lingers_before and self._chance.random() < 0.9:
            return super()._whose_turn()
        return chosen

    def _ended(self, report: RepairReport) -> None:
        self.watch.judge_end(report)
        super()._ended(report)

    # ---- what the world does

    def _something_else(self) -> None:
        if self._chance.random() < self._pace:
            super()._something_else()
        if self._chance.random() < 0.03:
            self._keep()
        about_to_call = self._about_to_call()
        for what, moment in self._moments.items():
            is_now = moment in about_to_call and not LAST_LOOKS[what] & about_to_call
            if is_now and self._moves_left and self._chance.random() < self._how_soon:
                self._moves_left -= 1
                self._do(what)

    def _about_to_call(self) -> set[str]:
        return {self._next_calls[each] for each in self._running if each in self._next_calls}

    def _production_moves(self) -> None:
        if PAY not in self._about_to_call():
            super()._production_moves()

    def _do(self, what: str) -> None:
        self.was_touched = True
        if what in PUT_BACK:
            self._put_back(*PUT_BACK[what])
        elif what == "production pays":
            self._production_pays()
        elif what == "debit taken back":
            self._take_debit_back()
        else:
            self._edit_row()

    # ---- putting back

    def _keep(self) -> None:
        """Keep the state of now, to be put back to."""
        production = self.desk.production
        state = {
            port: {name: getattr(getattr(production, port), name) for name in names}
            for port, names in TABLES.items()
        }
        self._kept.append(copy.deepcopy(state))

    def _keep_what_was_before(self) -> None:
        """Of an unfinished trade: its row was copied, and the line of its first number not yet."""
        first = self._kept[0]
        if self.desk.production.trades.row(self.trade_no)["TRD_STATUS"] == 0:
            self._kept.append({**first, "trades": {**first["trades"], "requests": []}})

    def _put_back(self, *ports: str) -> None:
        state = copy.deepcopy(self._chance.choice(self._kept))
        if "trades" in ports and not self._may_be_lost(state["trades"]):
            return
        for port in ports:
            for name, value in state[port].items():
                setattr(getattr(self.desk.production, port), name, value)

    def _may_be_lost(self, trades: dict[str, Any]) -> bool:
        """Whether an earlier state holds every number of production's own that only its line tells of."""
        lines = self.desk.production.trades.requests
        named = {each.request_no for each in lines if self._is_productions(each.request_no)}
        return named <= {each.request_no for each in trades["requests"]}

    def _is_productions(self, request_no: str) -> bool:
        """Whether production named a number as only it can: behind its first one."""
        return "-P" not in request_no and not request_no.endswith("-0")

    # ---- production and people

    def _production_pays(self) -> None:
        """Production opens the next number, where by its table none may be paid, and the bank takes it."""
        production = self.desk.production
        lines = production.trades.requests
        is_unsent = any(each.request_no not in production.bank.records for each in lines)
        is_withdrawal = production.trade(self.trade_no).kind is Kind.WITHDRAW
        if not lines or is_unsent or not is_withdrawal or self.watch.live() or not self.entries_of(Leg.FIRST):
            return
        seq = max(each.seq for each in lines) + 1
        number = production.request(self.trade_no, None, seq=seq, request_no=f"{self.trade_no}-{seq}")
        lines[-1] = msgspec.structs.replace(lines[-1], created_at=production.clock())
        self._the_bank_takes(number)

    def _the_bank_takes(self, request_no: str) -> None:
        bank, trade = self.desk.production.bank, self.desk.production.trade(self.trade_no)
        amount, account, now = trade.amount_minor or 0, trade.bank_account_no, bank.clock()
        bank.put(BankRecord(request_no, "payout", "accepted", amount, account, accepted_at=now))
        status = self._chance.choice(("success", "accepted", "failed"))
        bank.settle(request_no, status, "E1001" if status == "failed" else None)

    def _take_debit_back(self) -> None:
        ledger = self.desk.production.ledger
        for entry in ledger.of_trade(self.trade_no):
            if not (entry.is_reversed or entry.reverses):
                ledger.reverse(entry.voucher_no)

    def _edit_row(self) -> None:
        """Also back to what it was."""
        choose = self._chance.choice
        column = choose(("FAILED_MSG", "TRD_STATUS", "BANK_ACC_NO"))
        values = {
            "FAILED_MSG": "edited",
            "TRD_STATUS": choose((0, 8, 9)),
            "BANK_ACC_NO": choose((self._account, "6222-another")),
        }
        self.desk.production.trades.change(self.trade_no, **{column: values[column]})


class RestlessOrderSchedule(RestlessSchedule, OrderSchedule):
    """One trade debited and unpaid in a restless world, repaired and ordered of."""
