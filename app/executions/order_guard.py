"""What keeps a repair from doing what only an order of people may do: pay once more, or against an order.

Asked wherever an attempt begins. An order's own command (再付, 冲正) does not come by here.
"""

from collections.abc import Sequence
from typing import Final

import msgspec
from sqlalchemy import select

from agent.facts import Facts
from agent.unpaid import PAYOUT_FAILED, PAYOUT_STEPS, has_failed_number_of_ours, is_unpaid
from app.anomalies.models import Anomaly
from app.executions.models import Attempt, Step
from app.executions.order_models import LIVE_STATES, MoneyOrder
from app.keyset import ReadSession

ORDER_STANDS: Final = "order_stands"
"""An order of the trade waits for its second person, or is under way."""
ORDER_ONLY: Final = "order_only"
"""A payout of ours has failed: each further one is a 再付, whoever asks and whatever the amount."""
CODES: Final = (ORDER_STANDS, ORDER_ONLY)


def facts_of(anomaly: Anomaly) -> Facts | None:
    """Return the facts as last read, None where there are none or an agent of another version wrote them."""
    try:
        return msgspec.convert(anomaly.facts, Facts) if anomaly.facts is not None else None
    except msgspec.ValidationError:
        return None


def find_holds(session: ReadSession, anomalies: Sequence[Anomaly], *, by_person: bool) -> dict[int, str]:
    """Return the codes of CODES by anomaly id, for those that no repair may attempt now.

    By itself nothing begins while an order waits; what an issued one left half done goes on. A person waits
    for the order's end, and pays again by an order only.
    """
    if not anomalies:
        return {}
    live = select(MoneyOrder.anomaly_id, MoneyOrder.state).where(
        MoneyOrder.anomaly_id.in_([one.id for one in anomalies]), MoneyOrder.state.in_(LIVE_STATES)
    )
    goes_on = set() if by_person else {one.id for one in anomalies if one.has_moved_money}
    holds = {
        anomaly_id: ORDER_STANDS
        for anomaly_id, state in session.execute(live)
        if state == "proposed" or anomaly_id not in goes_on
    }
    if by_person:
        holds |= {one: ORDER_ONLY for one in find_failed_payouts(session, anomalies) if one not in holds}
    return holds


def find_hold(session: ReadSession, anomaly: Anomaly, *, by_person: bool = True) -> str | None:
    """Return the code why no repair may attempt the anomaly now, None where one may."""
    return find_holds(session, [anomaly], by_person=by_person).get(anomaly.id)


def find_failed_payouts(session: ReadSession, anomalies: Sequence[Anomaly]) -> set[int]:
    """Return the ids of those debited and finally unpaid of which a payout of ours has failed.

    A repair half done is left out: it goes on by itself, and opens no other number. No query where none is
    debited and unpaid.
    """
    wanted = [one for one in anomalies if one.kind == "withdraw" and not _goes_on(one)]
    read = {one.id: facts_of(one) for one in wanted}
    unpaid = {one: facts for one, facts in read.items() if facts is not None and is_unpaid(facts)}
    if not unpaid:
        return set()
    failed = (
        select(Attempt.anomaly_id)
        .join(Step, Step.attempt_id == Attempt.id)
        .where(Attempt.anomaly_id.in_(unpaid), Step.name.in_(PAYOUT_STEPS), Step.state == "failed")
    )
    by_reason = {one.id for one in anomalies if one.id in unpaid and one.reason == PAYOUT_FAILED}
    by_number = {one for one, facts in unpaid.items() if has_failed_number_of_ours(facts)}
    return by_reason | by_number | set(session.scalars(failed))


def _goes_on(anomaly: Anomaly) -> bool:
    return anomaly.has_moved_money and anomaly.state in ("open", "waiting")
