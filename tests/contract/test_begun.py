"""Every trade port counts what was begun lately alike: over all agents, by production's clock."""

from datetime import timedelta

from agent.records import Begun
from tests.contract.places import Planted, TradePlace, claim_of

AGO = timedelta(seconds=1)


def claim(place: TradePlace, *, agent: str = "agent-1", **cells: object) -> str:
    """Plant a trade and begin its repair; return its number."""
    planted = place.plant(Planted(**cells))  # type: ignore[arg-type]
    [trade] = place.trades.find(planted.trade_no)
    place.trades.claim_repair(claim_of(trade, agent=agent))
    return planted.trade_no


def more(place: TradePlace, before: Begun, *, but: str = "") -> tuple[int, int]:
    """How many trades were begun since, and how much of CNY: places are shared by the tests of a session."""
    now = place.trades.begun_since(place.trades.now() - timedelta(hours=1), but=but)
    return now.trades - before.trades, now.amounts.get("CNY", 0) - before.amounts.get("CNY", 0)


def begun(place: TradePlace) -> Begun:
    return place.trades.begun_since(place.trades.now() - timedelta(hours=1), but="")


def test_repairs_of_every_agent_count_with_their_amounts(trade_place: TradePlace) -> None:
    before = begun(trade_place)
    first = claim(trade_place)
    claim(trade_place, agent="agent-2")
    assert more(trade_place, before) == (2, 20_100)
    assert more(trade_place, before, but=first) == (1, 10_050)


def test_an_abandoned_repair_counts_no_more(trade_place: TradePlace) -> None:
    before = begun(trade_place)
    planted = trade_place.plant(Planted())
    [trade] = trade_place.trades.find(planted.trade_no)
    held = trade_place.trades.claim_repair(claim_of(trade))
    assert more(trade_place, before)[0] == 1
    trade_place.trades.close_repair(held, "abandoned")
    assert more(trade_place, before) == (0, 0)


def test_what_was_begun_earlier_is_left_out(trade_place: TradePlace) -> None:
    claim(trade_place)
    after = trade_place.trades.now() + AGO
    assert trade_place.trades.begun_since(after, but="").trades == 0


def test_a_trade_whose_row_is_gone_still_counts(trade_place: TradePlace) -> None:
    before = begun(trade_place)
    planted = trade_place.plant(Planted())
    [trade] = trade_place.trades.find(planted.trade_no)
    trade_place.trades.claim_repair(claim_of(trade))
    trade_place.remove(trade.trade_id)
    assert more(trade_place, before) == (1, 0)
