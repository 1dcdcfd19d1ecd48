"""Production's own program, run to its end and stopped after every step."""

import pytest

from sandbox.bank.books import BankBooks
from sandbox.bank.client import BankClient
from sandbox.bank.records import BankRecord
from sandbox.bank.server import RunningBank
from sandbox.errors import RowChangedError
from sandbox.report import consistency_report
from sandbox.scenes import RECHARGE, SINGLE_STEP, TWO_STEP, WITHDRAW, Customer
from sandbox.trading import TradeOrder, TradeSystem
from sandbox.traffic import Stream
from sandbox.world import World

ANNA = Customer("20880001", "6222021234567890123", "ICBC")
ANNA_CLOSED = Customer("20880001", "6222021234567800001", "ICBC")
KINDS = [(RECHARGE, None), (WITHDRAW, SINGLE_STEP), (WITHDRAW, TWO_STEP)]
each_kind = pytest.mark.parametrize(("kind", "mode"), KINDS)


@pytest.fixture
def system(world: World, client: BankClient) -> TradeSystem:
    world.production().ledger.open_account(ANNA.account_no, 10_000)
    return TradeSystem(world.production(), client)


@each_kind
def test_an_uninterrupted_trade_agrees(
    world: World, system: TradeSystem, kind: str, mode: str | None
) -> None:
    assert system.run(TradeOrder(kind, mode, 300, ANNA))[-1] == "row finished"
    report = world.report()
    assert (report.agreeing["PBAP"], report.violations) == (1, [])
    assert world.balance(ANNA.account_no) == (10_300 if kind == RECHARGE else 9_700)


@each_kind
def test_a_trade_the_bank_refuses_agrees_as_failed(
    world: World, system: TradeSystem, kind: str, mode: str | None
) -> None:
    system.run(TradeOrder(kind, mode, 300, ANNA_CLOSED))
    report = world.report()
    assert (report.agreeing["PBAP"], report.violations) == (1, [])
    assert world.balance(ANNA.account_no) == 10_000


@each_kind
def test_a_trade_stopped_anywhere_violates_nothing(
    world: World, system: TradeSystem, kind: str, mode: str | None
) -> None:
    steps = len(system.run(TradeOrder(kind, mode, 300, ANNA)))
    for most in range(1, steps):
        system.run(TradeOrder(kind, mode, 300, ANNA), most)
        system.run(TradeOrder(kind, mode, 300, ANNA_CLOSED), most)
    system.run(TradeOrder(kind, mode, 300, ANNA), loses_reply=True)
    report = world.report()
    assert report.violations == []
    assert len(report.disagreements) >= steps - 2


class BooksReadBeforeATrade(BankBooks):
    """The bank's books, at the reading of which a whole trade passes."""

    def __init__(self, world: World, system: TradeSystem, order: TradeOrder) -> None:
        super().__init__(world.directory / "bank.db", world.books.calendar, world.books.clock)
        self._system, self._order = system, order

    def everything(self) -> list[BankRecord]:
        records = list(super().everything())
        self._system.run(self._order)
        return records


@each_kind
def test_a_trade_that_passes_while_a_report_is_taken_raises_no_alarm(
    world: World, system: TradeSystem, kind: str, mode: str | None
) -> None:
    books = BooksReadBeforeATrade(world, system, TradeOrder(kind, mode, 300, ANNA))
    report = consistency_report([world.production()], books)
    books.close()
    assert (report.agreeing, report.disagreements, report.violations) == ({"PBAP": 1}, [], [])


def test_a_request_is_written_before_the_bank_is_asked(world: World, system: TradeSystem) -> None:
    steps = system.steps(TradeOrder(WITHDRAW, SINGLE_STEP, 300, ANNA))
    assert [next(steps), next(steps)] == ["row written", "request written"]
    trade_no = world.production("PBAP").tables.trade
    with world.production().engine.connect() as connection:
        number = connection.execute(trade_no.select()).mappings().one()["TRD_NUM"]
    assert world.requests(number)[0]["STATUS"] == "created"
    assert world.payouts(number) == []


def test_a_recharge_without_a_reply_is_rashly_called_failed(
    world: World, system: TradeSystem, bank: RunningBank
) -> None:
    bank.faults.set({"kind": "timeout_after", "next_calls": 1, "seconds": 0})
    system.run(TradeOrder(RECHARGE, None, 300, ANNA))
    assert [item.kind for item in world.report().disagreements] == [
        "recharge: row failed/none, ledger none, bank paid"
    ]


def test_a_row_someone_else_has_written_is_left_alone(world: World, system: TradeSystem) -> None:
    steps = system.steps(TradeOrder(RECHARGE, None, 300, ANNA))
    next(steps)
    table = world.production().tables.trade
    with world.production().engine.begin() as connection:
        connection.execute(table.update().values(VERSION=7))
    with pytest.raises(RowChangedError):
        list(steps)


def test_a_stream_interrupts_the_stated_share(world: World, client: BankClient) -> None:
    always = Stream(world.production("PBAP"), client, 1.0, seed=1)
    never = Stream(world.production("PBMS"), client, 0.0, seed=1)
    for stream in (always, never):
        for _ in range(15):
            stream.trade()
    report = world.report()
    assert report.violations == []
    assert report.agreeing["PBMS"] == 15
    assert report.agreeing["PBAP"] < 8
