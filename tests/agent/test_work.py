"""An order becomes work on production: over the fakes, from the message in to the message out."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from agent import clock
from agent.answers import StepRecord
from agent.facts import Kind
from agent.fixers import FIXERS
from agent.fixers.order import RepairSettings
from agent.orders import Holder
from agent.protocol import Collect, Repair, Verify, encode
from agent.work import ProductionWork
from tests.fakes.production import FakeProduction, blank_row

TRADE = "CZ20260301000001"


class Never:
    """Nobody cancels."""

    def is_set(self) -> bool:
        return False


@pytest.fixture
def production() -> FakeProduction:
    production = FakeProduction()
    production.add_trade(blank_row(1, TRADE, 8, Kind.RECHARGE), Kind.RECHARGE.value)
    production.request(TRADE, "success")
    return production


@pytest.fixture
def work(production: FakeProduction) -> Iterator[ProductionWork]:
    settings = RepairSettings(sys_code="PBAP", clock=production.clock)
    return ProductionWork("pbap-1", production.ports, settings, FIXERS)


def collect(production: FakeProduction) -> Collect:
    return Collect(
        id="c",
        command_id="c",
        run_id=1,
        fixer_codes=("interRechargeFixServiceImpl",),
        window_start=clock.to_iso(production.clock() - timedelta(days=7)),
        window_end=clock.to_iso(production.clock()),
        shard=0,
        shards=1,
        deadline_ms=1000,
    )


def test_a_collection_reports_what_its_window_holds(work: ProductionWork, production: FakeProduction) -> None:
    progress: list[tuple[int, int, int]] = []
    told = lambda scanned, unverified, expected: progress.append((scanned, unverified, expected))  # noqa: E731
    ((row,),) = work.collect(collect(production), told, Never())
    assert (row.trade_no, row.fixer_code, row.outcome) == (TRADE, "interRechargeFixServiceImpl", "repair")
    assert progress[-1][:2] == (1, 0)


def test_a_repair_is_told_step_by_step_and_reported_whole(
    work: ProductionWork, production: FakeProduction
) -> None:
    told: list[StepRecord] = []
    order = Repair(
        id="r.3",
        command_id="r",
        trade_no=TRADE,
        fixer_code="interRechargeFixServiceImpl",
        row_hash=production.trade(TRADE).row_hash,
        fence=3,
        deadline_ms=1000,
    )
    report = work.repair(order, "r", Holder("boot-1"), told.append, Never())
    assert (report.command_id, report.fence, report.outcome) == ("r", 3, "repaired")
    assert (report.money_moved, report.is_confirmed_failed) == (True, False)
    assert report.before is not None
    assert report.after is not None
    assert (report.before["ACC_TRD_STATUS"], report.after["ACC_TRD_STATUS"]) == (0, 1)
    assert [step.name for step in report.steps] == ["post_first", "write_row", "read_back"]
    assert {(step.name, step.state) for step in told} >= {("post_first", "intended"), ("post_first", "done")}
    assert report.steps[0].detail == report.after["ACC_TRD_NUM"]
    assert report.steps[0].key == f"PCL:PBAP:{TRADE}:1"
    encode(report)


def test_a_verification_writes_nothing(work: ProductionWork, production: FakeProduction) -> None:
    before = production.trade(TRADE)
    read = work.verify(Verify(id="v", command_id="v", trade_no=TRADE), "v")
    assert (read.outcome, read.fixer_code, read.row_hash) == (
        "repair",
        "interRechargeFixServiceImpl",
        before.row_hash,
    )
    assert production.trade(TRADE) == before
    encode(read)


def test_it_offers_the_fixers_it_was_given(production: FakeProduction) -> None:
    few = {"interRechargeFixServiceImpl": FIXERS["interRechargeFixServiceImpl"]}
    work = ProductionWork("pbap-1", production.ports, RepairSettings(sys_code="PBAP"), few)
    assert work.fixer_codes == ("interRechargeFixServiceImpl",)
