"""A debit given back in doubt of the bank, or money moved otherwise than the trade says, is found at once."""

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agent.adapters.ledger_db import SqlLedger
from agent.facts import BankFact, BankState, RequestFact
from agent.records import Reversal
from chaos.simulation.evidence import _mismeasured
from chaos.simulation.postings import PostingWatch, WatchedLedger
from sandbox.bank.records import ACCEPTED, FAILED, PAYOUT, RISK_CONTROL, SUCCESS, BankRecord
from sandbox.cases import LoadedCase
from sandbox.ledger import PostingOrder
from sandbox.world import World

AMOUNT = 700


@dataclasses.dataclass
class Bench:
    """A debited withdrawal of which the bank holds nothing, and an agent's ledger that is watched.

    ``fresh``: another withdrawal, which is not debited.
    """

    world: World
    loaded: LoadedCase
    fresh: LoadedCase
    ledger: SqlLedger
    watch: PostingWatch

    @property
    def number(self) -> str:
        return f"{self.loaded.trade_no}-0"

    def hear(self, verdict: BankState) -> None:
        """The bank has told this of the trade's number."""
        told = RequestFact(request_no=self.number, seq=0, status="failed", verdict=verdict)
        self.watch.hear({self.loaded.trade_no: BankFact(verdict, requests=(told,))})

    def hold(self, status: str, **cells: Any) -> None:
        """The bank's books have this of it."""
        at = self.world.clock()
        code = RISK_CONTROL if status == FAILED else None
        record = BankRecord(
            self.number, PAYOUT, status, code, AMOUNT, "CNY", self.loaded.bank_account_no, at, at
        )
        self.world.books.load([dataclasses.replace(record, **cells)])

    def give_back(self, *, is_question: bool = False) -> None:
        """Take the debit back, as a reversal does."""
        [voucher] = [one["VOUCHER_NO"] for one in self.world.entries(self.loaded.trade_no)]
        WatchedLedger(self.ledger, self.watch).reverse_entry(
            Reversal(
                key=f"PCL:PBAP:{self.loaded.trade_no}:reverse:1",
                trade_no=self.loaded.trade_no,
                voucher_no=str(voucher),
                intended_at=datetime.now(UTC),
                is_question=is_question,
            )
        )

    def faults(self) -> list[str]:
        """What of the money moved is not the trade's own."""
        schedule: Any = SimpleNamespace(world=self.world, loaded=[self.loaded, self.fresh])
        return [f"{invariant} {text}" for invariant, text in _mismeasured(schedule)]

    def post(self, amount_minor: int, account_no: str) -> None:
        """An entry of ours."""
        order = PostingOrder("CH2", "withdraw", "both", amount_minor, account_no, "PCL:both", "piculus")
        self.world.production().ledger.post(order)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    world = World.created(tmp_path, groups=("PBAP",))
    loaded = world.load_case("S3", trade_no="CH1", trd_id=1, amount_minor=AMOUNT)
    fresh = world.load_case("S2", trade_no="CH2", trd_id=2, amount_minor=AMOUNT)
    ledger = SqlLedger(world.ledger_url())
    schedule: Any = SimpleNamespace(world=world, loom=SimpleNamespace(current=None), paid_late=set())
    yield Bench(world, loaded, fresh, ledger, PostingWatch(schedule))
    ledger.close()
    world.close()


def test_a_debit_is_given_back_once_the_bank_has_refused_it(bench: Bench) -> None:
    bench.hold(FAILED)
    bench.hear(BankState.FAIL)
    bench.give_back()
    assert bench.watch.violations == []


@pytest.mark.parametrize(
    ("held", "why"),
    [
        ({"status": SUCCESS}, "though CH1-0 is success"),
        ({"status": ACCEPTED}, "though CH1-0 is accepted"),
        ({"status": FAILED, "code": "E9999"}, "though CH1-0 is failed"),
        ({"status": FAILED, "due_status": SUCCESS}, "though CH1-0 is failed"),
        (None, "though CH1-0 may still arrive"),
    ],
)
def test_one_given_back_while_the_bank_may_pay_is_found(
    bench: Bench, held: dict[str, str] | None, why: str
) -> None:
    if held is not None:
        bench.hold(**held)
    bench.hear(BankState.FAIL)
    bench.give_back()
    [(invariant, text)] = bench.watch.violations
    assert invariant == "I9"
    assert text.endswith(f"of CH1 was taken back {why}")


@pytest.mark.parametrize("told", [BankState.UNKNOWN, BankState.SUCCESS, BankState.MISMATCH, None])
def test_one_given_back_though_the_bank_had_not_told_of_a_failure_is_found(
    bench: Bench, told: BankState | None
) -> None:
    bench.hold(FAILED)
    if told is not None:
        bench.hear(told)
    bench.give_back()
    assert ["though the bank had told" in text for _, text in bench.watch.violations] == [True]


def test_money_moved_as_the_trade_says_is_no_fault(bench: Bench) -> None:
    bench.hold(SUCCESS)
    bench.post(AMOUNT, bench.fresh.account_no)
    assert bench.faults() == []


@pytest.mark.parametrize("cells", [{"amount_minor": AMOUNT * 100}, {"account": "622848000000"}])
def test_a_payout_of_another_amount_or_to_another_payee_is_found(
    bench: Bench, cells: dict[str, object]
) -> None:
    bench.hold(SUCCESS, **cells)
    assert [text.partition(" was asked")[0] for text in bench.faults()] == ["I3 CH1-0"]


def test_what_the_bank_itself_paid_otherwise_was_asked_for_as_it_should_be(bench: Bench) -> None:
    bench.hold(SUCCESS, amount_minor=1, asked_minor=AMOUNT)
    assert bench.faults() == []


def test_an_entry_of_another_amount_is_found(bench: Bench) -> None:
    bench.post(AMOUNT * 100, bench.fresh.account_no)
    assert [text.split()[0] for text in bench.faults()] == ["I2"]


def test_an_entry_of_another_customer_is_found(bench: Bench) -> None:
    bench.world.production().ledger.open_account("another", 10 * AMOUNT)
    bench.post(AMOUNT, "another")
    assert [text.split()[0] for text in bench.faults()] == ["I2"]
