"""Columns that production declares otherwise than the sandbox does, as far as its drivers show it."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import insert

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
