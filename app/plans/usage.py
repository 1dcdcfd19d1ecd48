"""What hangs on a plan: repairs that have not ended, and anomalies that wait for it."""

from dataclasses import dataclass

from sqlalchemy import func, select

from app.anomalies.models import OPEN_STATES, Anomaly
from app.errors import ConflictError
from app.keyset import ReadSession
from app.plans.models import Plan


@dataclass(frozen=True)
class PlanUsage:
    """``unended``: repairs begun and not ended: running, waiting for the bank, half done, to be tried again,
    or with a person. ``reported``: open anomalies nobody has attempted.
    """

    unended: int
    reported: int


def usage_of(session: ReadSession, plan: Plan) -> PlanUsage:
    """Count what hangs on a plan; one query over the open anomalies of its group."""
    is_attempted = Anomaly.attempts > 0
    counted = session.execute(
        select(is_attempted, func.count())
        .where(
            Anomaly.group_id == plan.group_id,
            Anomaly.fixer_code == plan.fixer_code,
            Anomaly.state.in_(OPEN_STATES),
        )
        .group_by(is_attempted)
    )
    counts = {bool(attempted): count for attempted, count in counted}
    return PlanUsage(unended=counts.get(True, 0), reported=counts.get(False, 0))


def refuse_at_work(session: ReadSession, plan: Plan) -> None:
    """Raise ConflictError('plan_at_work') while a repair of the plan has not ended.

    Put into shadow it would go on with nothing: a debit would stay without its payout.
    """
    unended = usage_of(session, plan).unended
    if unended:
        raise ConflictError("plan_at_work", field="is_shadow", plan=plan.fixer_code, n=unended)


def refuse_in_use(session: ReadSession, plan: Plan, field: str | None = None) -> None:
    """Raise ConflictError('plan_in_use') while a repair of the plan has not ended."""
    unended = usage_of(session, plan).unended
    if unended:
        raise ConflictError("plan_in_use", field=field, plan=plan.fixer_code, n=unended)
