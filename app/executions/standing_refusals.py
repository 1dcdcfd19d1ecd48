"""What refuses an order of people, or a repair by click, whatever is typed: no plan in force, or a stop.

Asked by an order itself, and before that by whatever would offer one.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from app.agents.standing import find_blocks
from app.agents.stops import has_work
from app.anomalies.models import Anomaly
from app.errors import ConflictError
from app.executions.order_guard import find_hold
from app.executions.service import refusal
from app.keyset import ReadSession
from app.plans.models import Plan
from app.plans.service import find_plan

Pair = tuple[int, str]


def find_refusal(session: ReadSession, anomaly: Anomaly, now: datetime) -> ConflictError | None:
    """Return what refuses an order of this anomaly, None where nothing does."""
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    plans = {} if plan is None else {(plan.group_id, plan.fixer_code): plan}
    return find_refusals(session, [anomaly], plans, now).get(anomaly.id)


def find_repair_refusal(session: ReadSession, anomaly: Anomaly, now: datetime) -> ConflictError | None:
    """Return what refuses a repair by click of this anomaly, an order of its trade among it."""
    hold = find_hold(session, anomaly)
    if hold is not None:
        return ConflictError(hold, trade_no=anomaly.trade_no)
    return find_refusal(session, anomaly, now)


def find_refusals(
    session: ReadSession, anomalies: Sequence[Anomaly], plans: Mapping[Pair, Plan], now: datetime
) -> dict[int, ConflictError]:
    """Return by anomaly what refuses an order of it; ``plans``: theirs. Whoever has closed it is not asked.

    Two queries where no stop stands.
    """
    pairs = {_pair(one) for one in anomalies}
    blocks = find_blocks(session, pairs, now) if has_work(session) else {}
    found: dict[int, ConflictError] = {}
    for one in anomalies:
        plan, block = plans.get(_pair(one)), blocks.get(_pair(one))
        code = refusal(one.state, one.fixer_code, plan, one.group.is_enabled, (one.state,))
        if code is not None:
            found[one.id] = ConflictError(code, trade_no=one.trade_no, sys_code=one.group.sys_code)
        elif block is not None:
            found[one.id] = block.error()
    return found


def _pair(anomaly: Anomaly) -> Pair:
    return anomaly.group_id, anomaly.fixer_code or ""
