"""Columns that production declares otherwise than the sandbox does, as far as its drivers show it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest
from sqlalchemy import insert, literal_column, text

from agent.adapters.rows import moment
from agent.errors import PortError
from agent.facts import Kind, Status
from agent.fixers.nonsense import find_nonsense
from agent.records import Correction, Pattern
from sandbox.database import writing
from sandbox.world import World
from tests.agent.world import Desk
from tests.contract.places import (
    Planted,
    SqlTradePlace,
    claim_of,
    declare,
    new_window,
    step_of,
)
from tests.contract.trades import AT

TRADES = "TPBAP_TRD_ACC_TRADE"


@pytest.fixture
def trades(own_world: World) -> Iterator[SqlTradePlace]:
    """The trade database under the real adapter."""
    place = SqlTradePlace(own_world, "READ COMMITTED")
    yield place
    place.sql.close()


def _store(place: SqlTradePlace, column: str, value: str, trade_id: int) -> None:
    """Production stores a value that Python may have none for."""
    quote = place.engine.dialect.identifier_preparer.quote
    stored = f"UPDATE {quote(TRADES)} SET {quote(column)} = '{value}' WHERE {quote('TRD_ID')} = {trade_id}"
    with writing(place.engine) as connection:
        if connection.dialect.name != "postgresql":
            connection.execute(text("SET sql_mode = ''"))
        connection.execute(text(stored))


class TestIds:
    @pytest.mark.parametrize("kind", ["DECIMAL(20,0)", "DECIMAL(20,2)"])
    def test_a_row_of_a_numeric_id_is_claimed_and_corrected(self, trades: SqlTradePlace, kind: str) -> None:
        declare(trades, TRADES, "TRD_ID", kind)
        declare(trades, TRADES, "VERSION", "DECIMAL(20,0)")
        planted = trades.plant(Planted(status=0))
        [trade] = trades.trades.find(planted.trade_no)
        assert (trade.trade_id, trade.row["TRD_ID"], trade.version) == (planted.trade_id, planted.trade_id, 1)
        held = trades.trades.claim_repair(claim_of(trade))
        booked = Correction(status=Status.SUCCESS, acc_voucher="GA1", e_acc_voucher="GA2", message="m")
        after = trades.trades.write_row(held, trade, booked, step_of(trade.trade_no))
        assert (after.status, after.version) == (Status.SUCCESS, 2)

    def test_rows_of_numeric_ids_are_collected_by_shard(self, trades: SqlTradePlace) -> None:
        declare(trades, TRADES, "TRD_ID", "DECIMAL(20,0)")
        window = new_window(shard=1, shards=2)
        planted = [trades.plant(Planted(changed_at=window.start)) for _ in range(6)]
        unbooked = Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=False, is_e_acc=False)
        pages = trades.trades.suspects([unbooked], window, 2)
        found = [trade.trade_id for page in pages for trade in page]
        assert found == [each.trade_id for each in planted if each.trade_id % 2]

    def test_an_id_of_text_makes_no_sense(self, trades: SqlTradePlace) -> None:
        declare(trades, TRADES, "TRD_ID", "VARCHAR(40)")
        planted = trades.plant(Planted(changed_at=datetime.now(UTC)))
        [trade] = trades.trades.find(planted.trade_no)
        assert find_nonsense(trade, Desk().settings) == f"malformed: TRD_ID = {planted.trade_id}"

    def test_request_lines_of_numeric_places_keep_their_order(
        self, own_world: World, trades: SqlTradePlace
    ) -> None:
        declare(trades, "TPBAP_BANK_REQUEST", "SEQ", "DECIMAL(10,0)")
        at = AT.replace(tzinfo=None)
        rest = {"KIND": "payout", "STATUS": "failed", "AMOUNT": 1000, "CREATED_AT": at, "UPDATED_AT": at}
        table = own_world.production().tables.bank_request
        with writing(trades.engine) as connection:
            for seq, number in enumerate(("WD12345678-0", "WD12345678-P1", "WD12345678-P2")):
                line = {"REQUEST_NO": number, "TRD_NUM": "WD12345678", "SEQ": seq}
                connection.execute(insert(table).values({**line, **rest}))
        lines = trades.trades.bank_requests(["WD12345678"])["WD12345678"]
        assert [each.seq for each in lines] == [0, 1, 2]


class TestVersions:
    @pytest.mark.parametrize("kind", ["BIGINT", "DECIMAL(20,0)"])
    def test_one_that_counts_milliseconds_is_raised_and_kept(self, trades: SqlTradePlace, kind: str) -> None:
        declare(trades, TRADES, "VERSION", kind)
        planted = trades.plant(Planted(status=0))
        _store(trades, "VERSION", "1764450000000", planted.trade_id)
        [trade] = trades.trades.find(planted.trade_no)
        held = trades.trades.claim_repair(claim_of(trade))
        booked = Correction(status=Status.SUCCESS, acc_voucher="GA1", e_acc_voucher="GA2", message="m")
        after = trades.trades.write_row(held, trade, booked, step_of(trade.trade_no))
        assert (after.status, after.version) == (Status.SUCCESS, 1_764_450_000_001)

    def test_one_of_text_makes_no_sense(self, trades: SqlTradePlace) -> None:
        declare(trades, TRADES, "VERSION", "VARCHAR(20)")
        planted = trades.plant(Planted(changed_at=datetime.now(UTC)))
        [trade] = trades.trades.find(planted.trade_no)
        assert find_nonsense(trade, Desk().settings) == "malformed: VERSION = 1"

    def test_one_that_a_table_of_corrections_cannot_keep_is_not_claimed(self, trades: SqlTradePlace) -> None:
        declare(trades, TRADES, "VERSION", "BIGINT")
        declare(trades, "piculus_correction", "old_version", "INTEGER")
        planted = trades.plant(Planted(status=0))
        _store(trades, "VERSION", "1764450000000", planted.trade_id)
        [trade] = trades.trades.find(planted.trade_no)
        with pytest.raises(PortError, match="old_version of piculus_correction must be BIGINT"):
            trades.trades.claim_repair(claim_of(trade), trade=trade)
        assert trades.trades.find_repair(trade.trade_no) is None
        declare(trades, "piculus_correction", "old_version", "BIGINT")
        assert trades.trades.claim_repair(claim_of(trade), trade=trade).state == "open"

    def test_check_tells_of_corrections_that_keep_smaller_ones_than_rows_have(
        self, trades: SqlTradePlace
    ) -> None:
        declare(trades, "piculus_correction", "old_version", "INTEGER")
        assert "5 tables" in trades.sql.check()
        declare(trades, TRADES, "VERSION", "BIGINT")
        told = rf"piculus_correction\.old_version is INTEGER.* and {TRADES}\.VERSION BIGINT.*: make it BIGINT"
        with pytest.raises(PortError, match=told):
            trades.sql.check()


class TestAmounts:
    UNBOOKED = Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=False, is_e_acc=False)

    @pytest.mark.parametrize(
        ("own_world", "kind"),
        [("postgresql", "NUMERIC"), ("mariadb", "LONGTEXT")],
        indirect=["own_world"],
    )
    def test_one_of_thousands_of_digits_hides_no_other_row(self, trades: SqlTradePlace, kind: str) -> None:
        declare(trades, TRADES, "AMOUNT", kind)
        window = new_window()
        bad, good = (trades.plant(Planted(changed_at=window.start)) for _ in range(2))
        _store(trades, "AMOUNT", "9" * 5000, bad.trade_id)
        found = {
            trade.trade_id: trade
            for page in trades.trades.suspects([self.UNBOOKED], window, 2)
            for trade in page
        }
        assert set(found) == {bad.trade_id, good.trade_id}
        told = find_nonsense(found[bad.trade_id], Desk().settings)
        assert told == "out_of_range: AMOUNT = " + "9" * 39 + "…"
        msgspec.json.encode(found[bad.trade_id])

    @pytest.mark.parametrize(
        ("own_world", "kind"),
        [("postgresql", "NUMERIC"), ("mariadb", "LONGTEXT")],
        indirect=["own_world"],
    )
    def test_a_request_line_of_such_a_one_hides_no_other_line(
        self, own_world: World, trades: SqlTradePlace, kind: str
    ) -> None:
        declare(trades, "TPBAP_BANK_REQUEST", "AMOUNT", kind)
        at = AT.replace(tzinfo=None)
        rest = {"SEQ": 0, "KIND": "payout", "STATUS": "failed", "CREATED_AT": at, "UPDATED_AT": at}
        table = own_world.production().tables.bank_request
        with writing(trades.engine) as connection:
            for number, amount in (("WD12345678", "9" * 5000), ("WD12345679", "1000")):
                line = {
                    "REQUEST_NO": f"{number}-0",
                    "TRD_NUM": number,
                    "AMOUNT": literal_column(f"'{amount}'"),
                }
                connection.execute(insert(table).values({**line, **rest}))
        lines = trades.trades.bank_requests(["WD12345678", "WD12345679"])
        assert [lines[each][0].amount_minor for each in ("WD12345678", "WD12345679")] == [None, 1000]


@pytest.mark.parametrize("stored", ["0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"])
def test_a_time_that_has_no_year_in_utc_is_none(stored: str) -> None:
    assert moment(stored) is None


class TestTimes:
    UNBOOKED = Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=False, is_e_acc=False)

    @pytest.mark.parametrize("own_world", ["postgresql"], indirect=True)
    @pytest.mark.parametrize("kind", ["TIMESTAMP(6)", "TIMESTAMPTZ", "DATE"])
    @pytest.mark.parametrize("column", ["UPDATED_AT", "CREATED_AT"])
    def test_one_that_no_driver_can_read_hides_no_other_row(
        self, trades: SqlTradePlace, column: str, kind: str
    ) -> None:
        window = new_window()
        if kind != "TIMESTAMP(6)":
            declare(trades, TRADES, column, kind)
        bad = [trades.plant(Planted(changed_at=window.start)) for _ in range(4)]
        good = trades.plant(Planted(changed_at=window.start))
        for planted, value in zip(
            bad, ("infinity", "-infinity", "10000-01-01", "0044-03-15 BC"), strict=True
        ):
            _store(trades, column, value, planted.trade_id)
        found = {
            trade.trade_id: trade
            for page in trades.trades.suspects([self.UNBOOKED], window, 2)
            for trade in page
        }
        told = [find_nonsense(found[each.trade_id], Desk().settings) for each in bad]
        assert told == [f"malformed: {column} unreadable"] * 4
        if kind != "DATE":
            assert good.trade_id in found

    @pytest.mark.parametrize("own_world", ["mariadb"], indirect=True)
    @pytest.mark.parametrize("column", ["UPDATED_AT", "CREATED_AT"])
    def test_a_date_of_zeros_hides_no_other_row(self, trades: SqlTradePlace, column: str) -> None:
        window = new_window()
        bad, good = (trades.plant(Planted(changed_at=window.start)) for _ in range(2))
        _store(trades, column, "0000-00-00 00:00:00", bad.trade_id)
        found = {
            trade.trade_id: trade
            for page in trades.trades.suspects([self.UNBOOKED], window, 2)
            for trade in page
        }
        assert set(found) == {bad.trade_id, good.trade_id}
        assert find_nonsense(found[bad.trade_id], Desk().settings) == f"malformed: {column} unreadable"
