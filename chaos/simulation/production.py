"""Troubles that production makes, at work on the very trades that are being repaired.

A trade that production itself touches is ``touched``: the oracle of the ten cases no longer says what
becomes of it, only that row, ledger and bank agree in the end or a person is asked.
"""

import random
from typing import TYPE_CHECKING, Final

from sqlalchemy import insert, update

from chaos.simulation.invariants import live_legs
from chaos.simulation.moments import BETWEEN_LOOKS, open_repairs, wait_long_for_repair
from sandbox.bank.records import PAYOUT, has_surely_failed
from sandbox.cases import LoadedCase
from sandbox.database import writing
from sandbox.errors import SandboxError
from sandbox.ledger import PostingOrder

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

LOST_ORIGINALS: Final = ("S2", "S3", "S9")
"""The cases in which production wrote a request number that the bank never got."""
LATENCY_S: Final = 0.3
"""Between the line of production's own payout and its arrival."""


def post(schedule: "Schedule") -> None:
    """Production posts a leg of its own, a moment before or after ours."""
    loaded = _touch_any(schedule)
    schedule.counts["production posts"] += 1
    leg = "1" if loaded.case.kind == "recharge" or loaded.case.bookkeeping == "two_step" else "both"
    order = PostingOrder(
        trade_no=loaded.trade_no,
        kind=loaded.case.kind,
        leg=leg,
        amount_minor=loaded.amount_minor,
        account_no=loaded.account_no,
        idem_key=f"PROD:{loaded.trade_no}:{leg}",
        posted_by="production",
    )
    try:
        schedule.world.production().ledger.post(order)
    except SandboxError as error:
        schedule.loom.note(f"production's posting is refused: {error}")


def edit(schedule: "Schedule") -> None:
    """Production writes the row after it was collected."""
    schedule.counts["production edits"] += 1
    _write_row(schedule, _touch_any(schedule))


def edit_between(schedule: "Schedule") -> None:
    """Production writes a row between an attempt's first look at it and its last."""
    if trade_no := wait_long_for_repair(schedule):
        loaded = next(one for one in schedule.loaded if one.trade_no == trade_no)
        schedule.touched[trade_no] = schedule.loom.seconds
        _write_row(schedule, loaded)
        schedule.counts["edits in between"] += 1


def pay_late(schedule: "Schedule") -> None:
    """The lost original of a payout comes to the bank after all, while it still may.

    So it may once the trade is debited, or for a timed-out trade until the second negative stands.
    """
    late = [one for one in schedule.loaded if one.case.id in LOST_ORIGINALS and _may_come(schedule, one)]
    if not late:
        return
    loaded = schedule.chance.choice(late)
    schedule.counts["original paid late"] += 1
    schedule.touched[loaded.trade_no] = schedule.loom.seconds
    schedule.paid_late.add(loaded.trade_no)
    first = schedule.world.requests(loaded.trade_no)[0]
    schedule.line.pay_by_production(str(first["REQUEST_NO"]), loaded)


def pay(schedule: "Schedule") -> None:
    """Production opens the next number of a trade and pays out under it, once: just when a repair of it is
    claimed, or at a moment of its own.

    It does where the customer is debited and the bank has failed every number before for good; a trade of
    which people have ordered it leaves to them.
    """
    chance = random.Random(f"pays {schedule.seed}")
    waits_for_claim = chance.random() < 0.6
    if not waits_for_claim:
        schedule.loom.sleep(chance.uniform(0.0, schedule.drawn.rough_seconds))
    while schedule.is_rough:
        claimed = open_repairs(schedule) if waits_for_claim else {one.trade_no for one in schedule.loaded}
        unpaid = [one for one in schedule.loaded if one.trade_no in claimed - schedule.ordered]
        loaded = next((one for one in unpaid if _is_unpaid(schedule, one)), None)
        if loaded is not None:
            _pay(schedule, loaded)
            return
        schedule.loom.sleep(BETWEEN_LOOKS)


def _is_unpaid(schedule: "Schedule", loaded: LoadedCase) -> bool:
    world, trade_no = schedule.world, loaded.trade_no
    failed = {one.request_no for one in world.payouts(trade_no) if has_surely_failed(one)}
    return (
        loaded.case.kind == "withdraw"
        and not {"1", "both"}.isdisjoint(live_legs(world.entries(trade_no)))
        and all(line["REQUEST_NO"] in failed for line in world.requests(trade_no))
    )


def _pay(schedule: "Schedule", loaded: LoadedCase) -> None:
    production, world, trade_no = schedule.world.production(), schedule.world, loaded.trade_no
    seq, now = 1 + max(line["SEQ"] for line in world.requests(trade_no)), production.clock()
    number = f"{trade_no}-{seq}"
    opened = {"REQUEST_NO": number, "TRD_NUM": trade_no, "SEQ": seq, "KIND": PAYOUT, "STATUS": "created"}
    with writing(production.engine) as connection:
        connection.execute(
            insert(production.tables.bank_request).values(
                opened | {"AMOUNT": loaded.amount_minor, "CREATED_AT": now, "UPDATED_AT": now}
            )
        )
    schedule.touched[trade_no] = schedule.loom.seconds
    schedule.counts["production pays"] += 1
    schedule.loom.sleep(LATENCY_S)
    if not schedule.bank.is_dead:  # else the request is lost: its line stands
        schedule.line.pay_by_production(number, loaded)


def _may_come(schedule: "Schedule", loaded: LoadedCase) -> bool:
    world = schedule.world
    if loaded.case.id != "S9":
        return bool(live_legs(world.entries(loaded.trade_no)))
    calendar = world.calendar
    created_at = world.requests(loaded.trade_no)[0]["CREATED_AT"]
    return bool(calendar.next_day(calendar.day_of(created_at)).closes_at > world.clock())


def _touch_any(schedule: "Schedule") -> LoadedCase:
    loaded = schedule.chance.choice(schedule.loaded)
    schedule.touched[loaded.trade_no] = schedule.loom.seconds
    return loaded


def _write_row(schedule: "Schedule", loaded: LoadedCase) -> None:
    production = schedule.world.production()
    trade = production.tables.trade
    with writing(production.engine) as connection:
        connection.execute(
            update(trade)
            .where(trade.c.TRD_ID.in_([loaded.trd_id]))
            .values(FAILED_MSG="looked at", UPDATED_AT=production.clock(), VERSION=trade.c["VERSION"] + 1)
        )
