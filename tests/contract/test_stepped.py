"""Every trade port finds the trades of which Piculus once took a step: by pages, each in one shard."""

from datetime import timedelta

from agent.records import RepairRow
from tests.contract.places import Planted, TradePlace, claim_of, new_window, step_of

PAYOUTS = ("pay", "pay_again")
HOUR = timedelta(hours=1)


def begin(place: TradePlace, *steps: str, trade_no: str = "") -> RepairRow:
    """Plant a trade and begin a repair of it with these steps."""
    planted = place.plant(Planted(trade_no=trade_no))
    [trade] = place.trades.find(planted.trade_no)
    held = place.trades.claim_repair(claim_of(trade))
    for name in steps:
        place.trades.record_step(held, step_of(held.trade_no, name))
    return held


def found(
    place: TradePlace,
    *,
    steps: tuple[str, ...] = PAYOUTS,
    ago: timedelta = HOUR,
    page: int = 500,
    shard: int = 0,
    shards: int = 1,
) -> list[str]:
    """The numbers found, of trades changed whenever: places are shared by the tests of a session."""
    since, window = place.trades.now() - ago, new_window(shard=shard, shards=shards)
    pages = place.trades.stepped(steps, since, window, page)
    return [trade.trade_no for trades in pages for trade in trades]


def test_only_trades_with_such_a_step_are_found(trade_place: TradePlace) -> None:
    before = set(found(trade_place))
    paid = begin(trade_place, "post_both", "pay")
    again = begin(trade_place, "pay_again", "write_row")
    begin(trade_place, "post_both", "write_row")
    assert set(found(trade_place)) - before == {paid.trade_no, again.trade_no}
    assert again.trade_no not in found(trade_place, steps=("pay",))


def test_a_step_of_an_earlier_round_counts(trade_place: TradePlace) -> None:
    held = begin(trade_place, "pay")
    trade_place.trades.close_repair(held, "done")
    [trade] = trade_place.trades.find(held.trade_no)
    later = trade_place.trades.claim_repair(claim_of(trade, fence=2))
    assert later.round == held.round + 1
    assert found(trade_place).count(held.trade_no) == 1


def test_what_was_begun_earlier_is_left_out(trade_place: TradePlace) -> None:
    begin(trade_place, "pay")
    assert found(trade_place, ago=-timedelta(seconds=1)) == []


def test_pages_end_and_hold_each_trade_once(trade_place: TradePlace) -> None:
    numbers = {begin(trade_place, "pay").trade_no for _ in range(4)}
    for page in (1, 2, 500):
        in_pages = found(trade_place, page=page)
        assert len(in_pages) == len(set(in_pages))
        assert numbers <= set(in_pages)


def test_each_shard_has_its_own(trade_place: TradePlace) -> None:
    for _ in range(3):
        begin(trade_place, "pay")
    shards = [found(trade_place, shard=shard, shards=2) for shard in range(2)]
    assert sorted(shards[0] + shards[1]) == sorted(found(trade_place))
    assert all(shards)


def test_the_row_is_read_as_it_stands(trade_place: TradePlace) -> None:
    held = begin(trade_place, "pay")
    trade_place.change(held.trade_no, FAILED_MSG="changed")
    since, window = trade_place.trades.now() - HOUR, new_window()
    trades = [trade for page in trade_place.trades.stepped(PAYOUTS, since, window, 500) for trade in page]
    assert [trade.row for trade in trades if trade.trade_no == held.trade_no] == [
        trade_place.trades.find(held.trade_no)[0].row
    ]


def test_a_trade_whose_row_is_gone_is_left_out(trade_place: TradePlace) -> None:
    held = begin(trade_place, "pay")
    [trade] = trade_place.trades.find(held.trade_no)
    trade_place.remove(trade.trade_id)
    assert held.trade_no not in found(trade_place)
