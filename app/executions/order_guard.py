"""What keeps a repair from doing what only an order of people may do: pay once more, or against an order.

Asked wherever an attempt begins. An order's own command (再付, 冲正) does not come by here. All of it goes by
the trade, its group and number: one reported again is a new anomaly, and the same money.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import msgspec
from sqlalchemy import ColumnElement, Text, and_, cast, exists, func, not_, or_, select

from agent.facts import Facts, Kind
from agent.unpaid import (
    PAYOUT_FAILED,
    PAYOUT_STEPS,
    has_failed_number_of_ours,
    has_number_of_ours,
    is_unpaid,
    may_pay,
)
from app.anomalies.models import Anomaly
from app.anomalies.states import change_state
from app.audit.service import SYSTEM
from app.executions.models import Attempt, Execution, Step
from app.executions.order_models import LIVE_STATES, MoneyOrder
from app.executions.proposals import ORDERED_BEFORE
from app.keyset import ReadSession
from app.unit_of_work import WorkSession

ORDER_STANDS: Final = "order_stands"
"""An order of the trade waits for its second person, or is under way."""
ORDER_ONLY: Final = "order_only"
"""A payout of ours has failed: each further one is a 再付, whatever the amount."""
ORDERED: Final = "ordered_before"
"""People have ordered of the trade, whatever became of that: what may pay it is a 再付, and no plan does."""
CODES: Final = (ORDER_STANDS, ORDER_ONLY, ORDERED)
BY_ORDER: Final = (ORDER_ONLY, ORDERED)
"""Where a person may order, and nothing else pays."""
HALF_DONE: Final = "resume"
"""The agents' word for a repair half done, in a report and in the answer to a Verify: it is gone on with, by
its own numbers. Where an attempt or another look has had the last word, nobody knows that one stands."""

Trade = tuple[int, str]
"""Its group's id and its number."""


def facts_of(anomaly: Anomaly) -> Facts | None:
    """Return the facts as last read, None where there are none or an agent of another version wrote them."""
    try:
        return msgspec.convert(anomaly.facts, Facts) if anomaly.facts is not None else None
    except msgspec.ValidationError:
        return None


def find_holds(session: ReadSession, anomalies: Sequence[Anomaly], *, by_person: bool) -> dict[int, str]:
    """Return the codes of CODES by anomaly id, for those that no repair may attempt now.

    By itself nothing begins while an order waits; what an issued one left half done goes on, and so does the
    rest of a trade that the bank has paid. A person waits for the order's end. Whoever asks, once people have
    ordered of a trade it is paid by an order only; a person pays so, too, where a payout of ours has failed,
    whether or not anything could be read of the bank since.
    """
    orders = _orders_of(session, anomalies)
    live = {trade for trade, states in orders.items() if states & set(LIVE_STATES)}
    awaited = {trade for trade, states in orders.items() if "proposed" in states}
    holds = {
        one.id: ORDER_STANDS
        for one in anomalies
        if trade_of(one) in (live if by_person or not one.has_moved_money else awaited)
    }
    # What an order under way has left half done is the order's own payout.
    free = [one for one in anomalies if trade_of(one) not in live]
    return holds | _order_only(session, free, orders.keys(), by_person)


def find_hold(session: ReadSession, anomaly: Anomaly, *, by_person: bool = True) -> str | None:
    """Return the code why no repair may attempt the anomaly now, None where one may."""
    return find_holds(session, [anomaly], by_person=by_person).get(anomaly.id)


def may_be_held() -> ColumnElement[bool]:
    """Return the condition of the anomalies that find_holds may name; what it leaves out no order holds.

    A number of ours shows in the facts by its ending.
    """
    has_order = exists().where(
        MoneyOrder.group_id == Anomaly.group_id, MoneyOrder.trade_no == Anomaly.trade_no
    )
    has_payout = exists().where(
        Execution.trade_no == Anomaly.trade_no,
        Attempt.execution_id == Execution.id,
        Step.attempt_id == Attempt.id,
        Step.name.in_(PAYOUT_STEPS),
        Step.state == "failed",
    )
    has_number = cast(Anomaly.facts, Text).like("%-P%")
    is_recharge = func.coalesce(Anomaly.kind, "") == Kind.RECHARGE.value
    return or_(
        has_order, and_(not_(is_recharge), or_(Anomaly.reason == PAYOUT_FAILED, has_payout, has_number))
    )


def is_order_only(session: ReadSession, anomaly: Anomaly) -> bool:
    """Return whether a person pays the trade by an order only, whether or not one stands."""
    return bool(_order_only(session, [anomaly], _orders_of(session, [anomaly]).keys(), by_person=True))


def keep_from_plan(session: WorkSession, anomalies: Sequence[Anomaly], now: datetime) -> list[Anomaly]:
    """Return which of a plan's anomalies it may attempt; one that only an order may pay goes to a person."""
    holds = find_holds(session, anomalies, by_person=False)
    for one in anomalies:
        if holds.get(one.id) == ORDERED:
            one.reason = ORDERED_BEFORE
            change_state(
                session, one, "needs_human", code=ORDERED, reason=ORDERED_BEFORE, actor=SYSTEM, now=now
            )
    return [one for one in anomalies if one.id not in holds]


def trade_of(anomaly: Anomaly) -> Trade:
    """Return what an order is of, whichever anomaly it was given on."""
    return anomaly.group_id, anomaly.trade_no


def _orders_of(session: ReadSession, anomalies: Sequence[Anomaly]) -> dict[Trade, set[str]]:
    """Return by trade the states of all orders people ever gave, rejected or without effect too."""
    numbers = {one.trade_no for one in anomalies}
    found: dict[Trade, set[str]] = defaultdict(set)
    if numbers:
        columns = (MoneyOrder.group_id, MoneyOrder.trade_no, MoneyOrder.state)
        for group_id, trade_no, state in session.execute(
            select(*columns).where(MoneyOrder.trade_no.in_(numbers))
        ):
            found[group_id, trade_no].add(state)
    return found


def _order_only(
    session: ReadSession, anomalies: Sequence[Anomaly], ordered: Collection[Trade], by_person: bool
) -> dict[int, str]:
    """Return ORDERED or ORDER_ONLY by anomaly id, of those that nothing but an order may pay.

    A repair half done is left out: it goes on by itself, and opens no other number.
    """
    # Of what kind a row is that could not be read, nobody knows.
    read = {one.id: facts_of(one) for one in anomalies if one.kind != Kind.RECHARGE and not _goes_on(one)}
    payable = [one for one in anomalies if one.id in read and may_pay(one.fixer_code, read[one.id])]
    found = {one.id: ORDERED for one in payable if trade_of(one) in ordered}
    if by_person:
        # What one look could not read the next may: the agent decides by its own, and a click asks once.
        asked = {
            one: read[one.id]
            for one in anomalies
            if one.id in read and one.id not in found and (one in payable or _is_unpaid(read[one.id]))
        }
        found |= {one.id: ORDER_ONLY for one in _with_failed_payout(session, asked)}
    return found


def _is_unpaid(facts: Facts | None) -> bool:
    return facts is not None and is_unpaid(facts)


def _with_failed_payout(session: ReadSession, asked: dict[Anomaly, Facts | None]) -> list[Anomaly]:
    """Return the anomalies of which a payout of ours has failed, or may have. No query for none."""
    if not asked:
        return []
    failed = (
        select(Execution.group_id, Execution.trade_no)
        .join(Attempt, Attempt.execution_id == Execution.id)
        .join(Step, Step.attempt_id == Attempt.id)
        .where(
            Execution.trade_no.in_([one.trade_no for one in asked]),
            Step.name.in_(PAYOUT_STEPS),
            Step.state == "failed",
        )
    )
    by_step = {(group_id, trade_no) for group_id, trade_no in session.execute(failed)}
    return [
        one
        for one, facts in asked.items()
        if one.reason == PAYOUT_FAILED or _may_have_failed(facts) or trade_of(one) in by_step
    ]


def _may_have_failed(facts: Facts | None) -> bool:
    """Return whether a number of ours has failed, or stands while nobody knows what the bank says of them."""
    if facts is None:
        return False
    return has_failed_number_of_ours(facts) if is_unpaid(facts) else has_number_of_ours(facts)


def _goes_on(anomaly: Anomaly) -> bool:
    return anomaly.has_moved_money and anomaly.state in ("open", "waiting") and anomaly.reason == HALF_DONE
