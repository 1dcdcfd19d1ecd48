"""Every trade port counts what was begun lately alike: over all agents, by production's clock."""

from datetime import timedelta

import msgspec
import pytest

from agent.errors import FencedError
from agent.records import Begun, RepairRow, StepRow, Trade
from tests.contract.places import Planted, TradePlace, claim_of, step_of

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


def test_money_that_moved_counts_though_the_trade_was_claimed_and_given_up_again(
    trade_place: TradePlace,
) -> None:
    before = begun(trade_place)
    planted = trade_place.plant(Planted())
    [trade] = trade_place.trades.find(planted.trade_no)
    held = trade_place.trades.claim_repair(claim_of(trade))
    posted = msgspec.structs.replace(step_of(trade.trade_no, "post_both"), started_at=None)
    assert posted.moves_money
    trade_place.trades.close_repair(held, "done", posted)
    again = trade_place.trades.claim_repair(claim_of(trade, fence=2))
    trade_place.trades.close_repair(again, "abandoned")
    assert more(trade_place, before) == (1, 10_050)


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


def claimed_long_ago(place: TradePlace, *steps: StepRow) -> tuple[Trade, RepairRow]:
    """Claim a trade, write steps whose key is the trade's, and let two hours pass."""
    planted = place.plant(Planted())
    [trade] = place.trades.find(planted.trade_no)
    held = place.trades.claim_repair(claim_of(trade))
    for step in steps:
        place.trades.record_step(held, msgspec.structs.replace(step, key=f"{trade.trade_no}:{step.name}"))
    place.begun_earlier(trade.trade_no, timedelta(hours=2))
    return trade, held


@pytest.mark.parametrize(
    "steps",
    [(), (step_of("", "post_both", state="failed"),), (step_of("", "write_row", state="intended"),)],
    ids=["no step", "refused", "only intended"],
)
def test_a_claim_that_has_begun_nothing_counts_from_when_it_is_taken_over(
    trade_place: TradePlace, steps: tuple[StepRow, ...]
) -> None:
    before = begun(trade_place)
    trade, _ = claimed_long_ago(trade_place, *steps)
    assert more(trade_place, before) == (0, 0)
    trade_place.trades.claim_repair(claim_of(trade, fence=2, boot_id="boot-2"))
    assert more(trade_place, before) == (1, 10_050)


@pytest.mark.parametrize(
    "step",
    [step_of("", "post_both"), step_of("", "post_both", state="intended"), step_of("", "write_row")],
    ids=["posted", "perhaps posted", "written"],
)
def test_a_repair_that_goes_on_counts_from_when_it_was_begun(trade_place: TradePlace, step: StepRow) -> None:
    before = begun(trade_place)
    trade, _ = claimed_long_ago(trade_place, step)
    trade_place.trades.claim_repair(claim_of(trade, fence=2, boot_id="boot-2"))
    assert more(trade_place, before) == (0, 0)


def test_a_repair_whose_posting_came_to_nothing_is_counted_anew_by_who_holds_it(
    trade_place: TradePlace,
) -> None:
    before = begun(trade_place)
    trade, held = claimed_long_ago(trade_place, step_of("", "post_both", state="intended"))
    standing = trade_place.trades.find_repair(trade.trade_no)
    trade_place.trades.renew_repair(held)
    assert more(trade_place, before) == (1, 10_050)
    renewed = trade_place.trades.find_repair(trade.trade_no)
    assert standing is not None
    assert renewed is not None
    assert msgspec.structs.replace(renewed, held_at=standing.held_at) == standing
    trade_place.trades.claim_repair(claim_of(trade, fence=2, boot_id="boot-2"))
    with pytest.raises(FencedError):
        trade_place.trades.renew_repair(held)
