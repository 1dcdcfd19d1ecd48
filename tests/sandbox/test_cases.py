"""The ten cases stand as the oracle's ``before`` and ``world`` say."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox.bank.records import EXPLICIT_FAILURES
from sandbox.cases import LoadedCase, all_cases
from sandbox.clock import ManualClock
from sandbox.ledger_audit import audit_ledger
from sandbox.settings import GroupUrls
from sandbox.world import World
from tests.databases import NewDatabase

ALL = pytest.mark.parametrize("case_id", [case.id for case in all_cases()])
COLUMNS = ("TRD_ID", "TRD_NUM", "TRD_STATUS", "ACC_TRD_STATUS", "E_ACC_TRD_STATUS")


def check_stands(world: World, loaded: LoadedCase) -> None:
    """Row, ledger and bank of a loaded case against the oracle."""
    row, before = world.row(loaded.trade_no), loaded.case.before
    for column in ("TRD_STATUS", "ACC_TRD_STATUS", "E_ACC_TRD_NUM", "E_ACC_TRD_STATUS"):
        assert row[column] == before[column], column
    assert (row["ACC_TRD_NUM"] is None) == (before["ACC_TRD_NUM"] is None)
    if before["FAILED_MSG"] == "...":
        assert "." not in row["FAILED_MSG"]
        assert len(row["FAILED_MSG"]) > 10
    else:
        assert row["FAILED_MSG"] == before["FAILED_MSG"]
    assert row["POSTING_MODE"] == loaded.case.bookkeeping
    check_ledger(world, loaded)
    check_bank(world, loaded)


def check_ledger(world: World, loaded: LoadedCase) -> None:
    legs = audit_ledger(world.production().ledger).live_legs(loaded.trade_no)
    for leg, stands in loaded.case.world["ledger"].items():
        entry = legs.get(leg[-1])
        assert (entry is not None) == (stands == "POSTED")
        if entry is not None:
            assert (entry.amount_minor, entry.voucher_no) == (loaded.amount_minor, loaded.voucher_no)
    assert world.balance(loaded.account_no) == loaded.balance_before
    assert loaded.balance_before >= loaded.amount_minor


def check_bank(world: World, loaded: LoadedCase) -> None:
    records = world.books.of_trade(loaded.trade_no)
    told = loaded.case.world["bank"]
    assert [request["REQUEST_NO"] for request in world.requests(loaded.trade_no)] == [f"{loaded.trade_no}-0"]
    if told.startswith("FAIL by two negatives"):
        assert records == []
        return
    assert [(record.amount_minor, record.account) for record in records] == [
        (loaded.amount_minor, loaded.bank_account_no)
    ]
    if told.startswith("SUCCESS"):
        assert records[0].status == "success"
    else:
        assert records[0].code in EXPLICIT_FAILURES


@ALL
def test_a_case_stands_under_its_demo_numbers(world: World, case_id: str) -> None:
    loaded = world.load_case(case_id)
    row = world.row(loaded.trade_no)
    assert (row["TRD_ID"], row["TRD_NUM"]) == (loaded.case.demo["TRD_ID"], loaded.case.demo["TRD_NUM"])
    assert loaded.voucher_no == loaded.case.demo.get("voucher")
    check_stands(world, loaded)


@ALL
def test_a_case_stands_under_any_numbers_amount_and_time(
    world: World, case_id: str, clock: ManualClock
) -> None:
    at = clock() - timedelta(hours=5)
    loaded = world.load_case(case_id, trade_no="XY77", trd_id=123_456, amount_minor=7, at=at)
    assert (loaded.trd_id, loaded.amount_minor) == (123_456, 7)
    assert world.row("XY77")["CREATED_AT"] == at
    check_stands(world, loaded)


@pytest.mark.parametrize("second", [0, 57, 59])
def test_all_ten_stand_together_in_closed_bank_days(world: World, clock: ManualClock, second: int) -> None:
    clock.moment = clock.moment.replace(second=second)
    loaded = world.load_cases()
    assert len({case.trade_no for case in loaded}) == 10
    for case in loaded:
        check_stands(world, case)
        for moment in (
            world.requests(case.trade_no)[0]["CREATED_AT"],
            world.row(case.trade_no)["UPDATED_AT"],
        ):
            day = world.calendar.day_of(moment)
            for name in (day.name, world.calendar.next_day(day).name):
                world.books.settled(name)
    assert world.report().violations == []


def test_the_cases_stand_on_every_engine(each_database: NewDatabase, tmp_path: Path) -> None:
    for world in worlds(tmp_path, each_database):
        for case in world.load_cases():
            check_stands(world, case)
        assert len(world.load_broken(60)) >= 60
        world.load_healthy(30)
        assert world.report().violations == []


def worlds(directory: Path, new_database: NewDatabase) -> Iterator[World]:
    urls = {"PBAP": GroupUrls(new_database(), new_database())}
    world = World.created(directory, groups=("PBAP",), urls=urls)
    yield world
    world.close()
