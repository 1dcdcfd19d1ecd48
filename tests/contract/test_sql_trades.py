"""What only a real trade database can show: agents at once, nonsense as stored, refusals."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import Engine, event, text, update

from agent.adapters.ddl import own_tables
from agent.adapters.names import TradeCodes, TradeColumns, TradeNames
from agent.adapters.rows import UNDATED
from agent.adapters.trade_db import SqlTrades
from agent.errors import ConfigurationError, FencedError, PortError, RowChangedError
from agent.facts import Kind, Status
from agent.records import BankRequest, Correction, Opened, Pattern, RepairRow, Trade
from sandbox.database import writing
from tests.contract.conftest import WorldOf
from tests.contract.places import Planted, SqlTradePlace, claim_of, new_window, opened, step_of
from tests.contract.racing import errors_of, race, wait_until_blocked

CORRECTION = Correction(status=Status.SUCCESS, acc_voucher="GA1", e_acc_voucher="GA1", message="提现成功修复")
UNBOOKED = Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=False, is_e_acc=False)


def planted_trade(place: SqlTradePlace) -> Trade:
    [trade] = place.trades.find(place.plant(Planted()).trade_no)
    return trade


def claimed(place: SqlTradePlace) -> RepairRow:
    return place.trades.claim_repair(claim_of(planted_trade(place)))


class TestAgentsAtOnce:
    def test_one_of_many_wins_a_claim_of_the_same_fence(self, sql_trades: SqlTradePlace) -> None:
        trade = planted_trade(sql_trades)
        claims = [claim_of(trade, agent=f"agent-{n}", boot_id=f"boot-{n}") for n in range(6)]
        results = race(*(lambda c=claim: sql_trades.trades.claim_repair(c) for claim in claims))
        winners = [result for result in results if isinstance(result, RepairRow)]
        assert errors_of(results) == [FencedError] * 5
        assert winners == [sql_trades.trades.find_repair(trade.trade_no)]

    def test_the_highest_fence_ends_up_with_the_repair(self, sql_trades: SqlTradePlace) -> None:
        trade = planted_trade(sql_trades)
        claims = [claim_of(trade, fence=n, boot_id=f"boot-{n}") for n in (3, 1, 4, 2)]
        results = race(*(lambda c=claim: sql_trades.trades.claim_repair(c) for claim in claims))
        assert set(errors_of(results)) <= {FencedError}
        assert sql_trades.trades.find_repair(trade.trade_no).fence == 4  # type: ignore[union-attr]

    def test_of_many_that_take_the_place_of_one_start_one_wins(self, sql_trades: SqlTradePlace) -> None:
        trade = planted_trade(sql_trades)
        sql_trades.trades.claim_repair(claim_of(trade))
        claims = [claim_of(trade, boot_id=f"boot-{n}") for n in range(2, 6)]
        results = race(*(lambda c=claim: sql_trades.trades.claim_repair(c, "boot-1") for claim in claims))
        winners = [result for result in results if isinstance(result, RepairRow)]
        assert errors_of(results) == [FencedError] * 3
        assert winners == [sql_trades.trades.find_repair(trade.trade_no)]

    def test_a_row_is_written_once_by_two_threads(self, sql_trades: SqlTradePlace) -> None:
        trade = planted_trade(sql_trades)
        held = sql_trades.trades.claim_repair(claim_of(trade))
        step = step_of(trade.trade_no)

        def write() -> Trade:
            return sql_trades.trades.write_row(held, trade, CORRECTION, step)

        results = race(write, write, write)
        assert errors_of(results) == [RowChangedError] * 2
        assert len(sql_trades.old_rows(trade.trade_no)) == 1
        assert sql_trades.trades.find(trade.trade_no)[0].version == trade.version + 1

    def test_a_write_that_waits_for_production_sees_what_it_wrote(self, sql_trades: SqlTradePlace) -> None:
        trade = planted_trade(sql_trades)
        held = sql_trades.trades.claim_repair(claim_of(trade))
        row = sql_trades.trade
        with ThreadPoolExecutor(1) as pool:
            with writing(sql_trades.engine) as production:
                late = update(row).where(row.c["TRD_ID"] == trade.trade_id).values(FAILED_MSG="too late")
                production.execute(late)
                writer = pool.submit(
                    sql_trades.trades.write_row, held, trade, CORRECTION, step_of(trade.trade_no)
                )
                wait_until_blocked(sql_trades.engine)
            with pytest.raises(RowChangedError):
                writer.result(timeout=30)
        assert sql_trades.trades.find(trade.trade_no)[0].row == {**trade.row, "FAILED_MSG": "too late"}

    def test_an_attempt_that_read_before_a_repair_cannot_begin_it_again(
        self, sql_trades: SqlTradePlace
    ) -> None:
        trade = planted_trade(sql_trades)
        held = sql_trades.trades.claim_repair(claim_of(trade, fence=2))
        sql_trades.trades.write_row(held, trade, CORRECTION, step_of(trade.trade_no))
        sql_trades.trades.close_repair(held, "done")
        with pytest.raises(FencedError):
            sql_trades.another().claim_repair(claim_of(trade, fence=1, boot_id="boot-2"))
        assert sql_trades.trades.find_repair(trade.trade_no).round == 1  # type: ignore[union-attr]

    def test_a_request_number_is_opened_once_by_two_threads(self, sql_trades: SqlTradePlace) -> None:
        held = claimed(sql_trades)
        request = bank_request(held.trade_no)
        results = race(*[lambda: opened(sql_trades, held, request)] * 4)
        assert sorted(each.is_new for each in results if isinstance(each, Opened)) == [False] * 3 + [True]
        assert len(sql_trades.trades.bank_requests([request.trade_no])[request.trade_no]) == 1


def bank_request(trade_no: str, request_no: str = "", seq: int = 1) -> BankRequest:
    return BankRequest(
        request_no=request_no or f"{trade_no}-P{seq}",
        trade_no=trade_no,
        seq=seq,
        kind="payout",
        status="created",
        amount_minor=10_050,
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
    )


class TestRequestsOfOthers:
    def test_a_note_under_another_trades_claim_writes_nothing(self, sql_trades: SqlTradePlace) -> None:
        one, other = claimed(sql_trades), claimed(sql_trades)
        opened(sql_trades, one, bank_request(one.trade_no))
        sql_trades.trades.note_bank_request(other, f"{one.trade_no}-P1", "failed")
        [request] = sql_trades.trades.bank_requests([one.trade_no])[one.trade_no]
        assert request.status == "created"

    def test_a_place_that_another_number_holds_is_refused(self, sql_trades: SqlTradePlace) -> None:
        held = claimed(sql_trades)
        trade_no = held.trade_no
        opened(sql_trades, held, bank_request(trade_no))
        with pytest.raises(PortError):
            opened(sql_trades, held, bank_request(trade_no, f"{trade_no}-other"))
        assert len(sql_trades.trades.bank_requests([trade_no])[trade_no]) == 1

    @pytest.mark.parametrize("column", ["result", "started_at"])
    def test_a_number_asked_for_nobody_can_read_when_has_no_time(
        self, sql_trades: SqlTradePlace, column: str
    ) -> None:
        if column == "started_at" and sql_trades.engine.dialect.name != "sqlite":
            pytest.skip("the database stores times only")
        held = claimed(sql_trades)
        opened(sql_trades, held, bank_request(held.trade_no))
        step = own_tables(sql_trades.names)[1]
        with writing(sql_trades.engine) as production:
            mine = text(f"UPDATE {step.name} SET {column} = 'soon' WHERE trade_no = :trade_no")
            production.execute(mine, {"trade_no": held.trade_no})
        [request] = sql_trades.trades.bank_requests([held.trade_no])[held.trade_no]
        assert (request.created_at, request.asked_at) == (UNDATED, None)


class TestNonsenseAsStored:
    def test_legs_and_postings_that_no_code_names_come_too(self, sql_trades: SqlTradePlace) -> None:
        window = new_window()
        odd = [
            sql_trades.plant(replace(each, changed_at=window.start)).trade_no
            for each in (
                Planted(acc_status=7, e_acc_status=1),
                Planted(acc_status=1, e_acc_status=7),
                Planted(acc_status=1, e_acc_status=1, posting_mode="three_step"),
                Planted(acc_status=1, e_acc_status=1, posting_mode=None),
                Planted(acc_status=1, e_acc_status=1, trade_no="SHORT1"),
            )
        ]
        sql_trades.plant(Planted(acc_status=1, e_acc_status=1, changed_at=window.start))
        found = [trade for page in sql_trades.trades.suspects([UNBOOKED], window, 10) for trade in page]
        assert [trade.trade_no for trade in found] == odd
        sql_trades.remove(found[-1].trade_id)

    def test_a_leg_without_a_status_counts_as_not_booked(self, sql_trades: SqlTradePlace) -> None:
        window = new_window()
        planted = sql_trades.plant(Planted(acc_status=None, e_acc_status=None, changed_at=window.start))
        [[trade]] = sql_trades.trades.suspects([UNBOOKED], window, 10)
        assert (trade.trade_no, trade.is_acc, trade.is_e_acc) == (planted.trade_no, False, False)

    @pytest.mark.parametrize("amount", ["88.00元", "-5", 10.5, "", b"\xff\x00", "9" * 5000])
    def test_a_malformed_amount_is_read_on_sqlite(self, world_of: WorldOf, amount: object) -> None:
        place = SqlTradePlace(world_of("sqlite"), "READ COMMITTED")
        window = new_window()
        place.plant(Planted(acc_status=1, e_acc_status=1, amount=amount, changed_at=window.start))
        [[trade]] = place.trades.suspects([UNBOOKED], window, 10)
        assert trade.amount_minor is None
        assert trade.raw_amount is not None
        msgspec.json.encode(trade)

    def test_digits_stored_as_text_are_an_amount(self, world_of: WorldOf) -> None:
        place = SqlTradePlace(world_of("sqlite"), "READ COMMITTED")
        window = new_window()
        whole = Planted(acc_status=1, e_acc_status=1, amount="10050", changed_at=window.start)
        planted = place.plant(whole)
        assert list(place.trades.suspects([UNBOOKED], window, 10)) == []
        assert place.trades.find(planted.trade_no)[0].amount_minor == 10_050

    def test_a_text_that_is_not_utf_8_ends_no_collection(self, world_of: WorldOf) -> None:
        place = SqlTradePlace(world_of("sqlite"), "READ COMMITTED")
        window = new_window()
        planted = place.plant(Planted(acc_status=1, e_acc_status=1, changed_at=window.start))
        other = place.plant(Planted(changed_at=window.start))
        spoil = text("UPDATE TPBAP_TRD_ACC_TRADE SET TRD_NUM = CAST(x'5744ff30' AS TEXT) WHERE TRD_ID = :id")
        with writing(place.engine) as connection:
            connection.execute(spoil, {"id": planted.trade_id})
        [found] = place.trades.suspects([UNBOOKED], window, 10)
        assert [trade.trade_id for trade in found] == [planted.trade_id, other.trade_id]
        place.remove(planted.trade_id)

    @pytest.mark.parametrize("stored", ["garbage", "", "!", 12345, b"2026"])
    def test_a_row_with_an_unreadable_time_of_change_is_not_lost(
        self, world_of: WorldOf, stored: object
    ) -> None:
        place = SqlTradePlace(world_of("sqlite"), "READ COMMITTED")
        planted = place.plant(Planted(acc_status=1, e_acc_status=1))
        connection = sqlite3.connect(str(place.engine.url.database))
        with connection:
            connection.execute(
                "UPDATE TPBAP_TRD_ACC_TRADE SET UPDATED_AT = ? WHERE TRD_ID = ?", (stored, planted.trade_id)
            )
        connection.close()
        [[trade]] = place.trades.suspects([UNBOOKED], new_window(), 10)
        assert (trade.trade_id, trade.changed_at) == (planted.trade_id, None)
        place.remove(planted.trade_id)

    def test_a_time_that_is_none_is_read_as_none(self, world_of: WorldOf) -> None:
        place = SqlTradePlace(world_of("sqlite"), "READ COMMITTED")
        planted = place.plant(Planted())
        place_text = text("UPDATE TPBAP_TRD_ACC_TRADE SET CREATED_AT = 'soon' WHERE TRD_ID = :id")
        with writing(place.engine) as connection:
            connection.execute(place_text, {"id": planted.trade_id})
        [trade] = place.trades.find(planted.trade_no)
        assert trade.created_at is None


class TestWindowsOfManyRows:
    def test_a_sparse_window_is_covered_too(self, sql_trades: SqlTradePlace) -> None:
        window = new_window()
        far = 10_000_000 + Planted().trade_id * 100_000
        ids = [far + n * 5_000 for n in range(7)]
        for trade_id in ids:
            sql_trades.plant(Planted(trade_id=trade_id, changed_at=window.start))
        pages = list(sql_trades.trades.suspects([UNBOOKED], window, 2))
        assert [[trade.trade_id for trade in page] for page in pages] == [
            ids[:2],
            ids[2:4],
            ids[4:6],
            ids[6:],
        ]

    def test_a_row_that_arrives_between_pages_is_not_read_twice(self, sql_trades: SqlTradePlace) -> None:
        window = new_window()
        ids = [sql_trades.plant(Planted(changed_at=window.start)).trade_id for _ in range(4)]
        pages = sql_trades.trades.suspects([UNBOOKED], window, 2)
        found = [trade.trade_id for trade in next(pages)]
        sql_trades.remove(ids[0])
        found += [trade.trade_id for page in pages for trade in page]
        assert found == ids


class TestNames:
    def test_other_names_and_codes_are_spoken(self, tmp_path: Path) -> None:
        path = tmp_path / "other.db"
        names = TradeNames(
            table="orders",
            columns=TradeColumns(trade_id="id", trade_no="no", status="state", kind="way"),
            codes=TradeCodes(success="S", withdraw="OUT", recharge="IN"),
        )
        stored = dict.fromkeys(msgspec.structs.astuple(names.columns)) | {
            "id": 1,
            "no": "AB12345678",
            "state": "S",
            "way": "OUT",
            "AMOUNT": 5,
            "VERSION": 1,
        }
        with sqlite3.connect(path) as connection:
            connection.execute(f"CREATE TABLE orders ({', '.join(stored)})")
            connection.execute(
                f"INSERT INTO orders VALUES ({','.join('?' * len(stored))})", [*stored.values()]
            )
        connection.close()
        [trade] = SqlTrades(f"sqlite:///{path}", names).find("AB12345678")
        assert (trade.kind, trade.status) == (Kind.WITHDRAW, Status.SUCCESS)
        assert (trade.row["TRD_ID"], trade.row["TRD_STATUS"]) == (1, "S")


class TestRefusals:
    def test_check_says_what_was_found(self, sql_trades: SqlTradePlace) -> None:
        assert "5 tables" in sql_trades.sql.check()

    def test_check_counts_no_rows(self, sql_trades: SqlTradePlace) -> None:
        asked: list[str] = []

        def hear(*told: object) -> None:
            asked.append(str(told[2]))

        event.listen(Engine, "before_cursor_execute", hear)
        sql_trades.sql.check()
        event.remove(Engine, "before_cursor_execute", hear)
        assert any("LIMIT" in statement for statement in asked)
        assert not any("count(" in statement.lower() for statement in asked)

    def test_check_names_what_is_missing(self, sql_trades: SqlTradePlace) -> None:
        names = TradeNames(table="tpbap_trd_acc_trade_x", columns=TradeColumns(), requests="nothing_here")
        with pytest.raises(PortError, match=r"tpbap_trd_acc_trade_x.*nothing_here"):
            SqlTrades(sql_trades.url, names).check()
        names = TradeNames(columns=TradeColumns(amount="SUM"))
        with pytest.raises(PortError, match=r"missing: column TPBAP_TRD_ACC_TRADE\.SUM$"):
            SqlTrades(sql_trades.url, names).check()

    def test_a_missing_file_is_an_error_and_not_made(self, tmp_path: Path) -> None:
        with pytest.raises(PortError, match="unable to open"):
            SqlTrades(f"sqlite:///{tmp_path / 'nothing.db'}").now()
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("url", ["nonsense", "oracle://a/b", "sqlite://", "postgresql+nodriver://a/b"])
    def test_a_url_of_no_use_is_a_configuration_error(self, url: str) -> None:
        with pytest.raises(ConfigurationError):
            SqlTrades(url)

    @pytest.mark.parametrize("driver", ["postgresql+psycopg", "mysql+pymysql"])
    def test_an_error_names_no_secret(self, driver: str) -> None:
        with pytest.raises(PortError) as refused:
            SqlTrades(f"{driver}://someone:s3cret@127.0.0.1:1/production").now()
        for secret in ("someone", "s3cret", "127.0.0.1", "production"):
            assert secret not in str(refused.value)

    def test_a_locked_sqlite_file_lets_a_short_writer_pass(self, world_of: WorldOf) -> None:
        place = SqlTradePlace(world_of("sqlite"), "READ COMMITTED")
        trade = planted_trade(place)
        locked, release = threading.Event(), threading.Event()

        def hold() -> None:
            with writing(place.engine):
                locked.set()
                release.wait(10)

        def claim() -> RepairRow:
            locked.wait(10)
            release.set()
            return place.trades.claim_repair(claim_of(trade))

        assert errors_of(race(hold, claim)) == []
