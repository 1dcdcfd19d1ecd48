"""What the answer to a Verify makes of the anomaly; what waited goes on at once where its plan lets it."""

from datetime import datetime
from typing import Final

from sqlalchemy import literal, or_, select

from agent.answers import FactsRead
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies import claims
from app.anomalies import service as anomaly_service
from app.anomalies.models import Anomaly
from app.anomalies.service import UNEXPLAINED
from app.executions import moved_money, poison, unanswered
from app.executions.models import Attempt, Execution
from app.executions.retries import exhaust, goes_on_by_itself, has_attempts_left
from app.executions.service import refusal
from app.executions.starting import start_by_plan
from app.lately import LITTLE
from app.plans import predictions
from app.plans.service import find_plan
from app.unit_of_work import WorkSession

READ_TOO_EARLY: Final = "read before the repair ended"
"""Why the answer to a look counts for nothing."""


def record_facts(session: WorkSession, agent: Agent, message: FactsRead, now: datetime) -> None:
    """Apply the answer of a Verify, and write down what a shadow or a dry run asked.

    What waited and may go on now is attempted at once by an auto plan; not by the answer to a dry run.

    Raises commands.OutOfStateError for a Verify nobody ordered.
    """
    finish = commands.finish(session, agent, message.command_id, now)
    if not finish.counts:
        return
    session.flush()
    before = anomaly_service.find_open(session, agent.group_id, message.trade_no)
    if before is not None and _is_stale(session, before, finish.command, now):
        # It says nothing of what the attempt did.
        claims.command_closed(session, finish.command, READ_TOO_EARLY)
        unanswered.command_closed(session, finish.command, READ_TOO_EARLY)
        return
    was_waiting = before is not None and before.state == "waiting"
    if before is not None and message.outcome == "resume":
        # Production's step table holds a repair half done, whether or not its result ever came.
        moved_money.note(session, before, now, message.command_id)
    elif before is not None and message.outcome == "repair":
        # No repair half done stands there: what was begun has ended without effect.
        moved_money.forget(before)
    if before is not None and message.outcome in ("repair", "resume"):
        before.unknown_since = None
    claim = claims.find_pending(session, message.command_id)
    if claim is not None and before is not None:
        claims.settle(session, claim, before, message, now)
        return
    anomaly = anomaly_service.record_facts(session, agent, message, now)
    if anomaly is None or anomaly.state == "repairing":
        return
    if message.outcome == "error":
        finish.command.error = message.reason[:500]
        unanswered.note_unanswered(session, anomaly, message.command_id, message.reason or UNEXPLAINED, now)
        if anomaly.state == "waiting" and poison.is_unreadable(session, anomaly):
            anomaly_service.to_person(
                session, anomaly, f"{poison.CRASHED}: {message.reason}", now, message.command_id
            )
        return
    ordered = predictions.find_dry_run(session, anomaly, message.command_id)
    predictions.record_look(session, anomaly, message, ordered, now)
    if was_waiting and anomaly.state == "open" and ordered is None:
        _go_on(session, anomaly, message, now)


def _go_on(session: WorkSession, anomaly: Anomaly, message: FactsRead, now: datetime) -> None:
    """The wait is over: attempt now what its plan may attempt by itself; without attempts left, exhausted."""
    plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
    if plan is None or plan.is_shadow:
        return
    if not has_attempts_left(anomaly, plan.max_retries):
        exhaust(session, anomaly, now, message.command_id)
        return
    refused = refusal(anomaly.state, anomaly.fixer_code, plan, anomaly.group.is_enabled)
    if refused is None and goes_on_by_itself(anomaly, plan):
        start_by_plan(session, [anomaly], plan, "the wait is over", now)


def _is_stale(session: WorkSession, anomaly: Anomaly, verify: Command, now: datetime) -> bool:
    """Return whether a Verify was ordered before a repair of the trade was begun, or ended, or told of money:
    given up in between, it may have read before that and be answered long afterwards. Of one ordered by a
    clock ahead of now nobody knows, so it was.
    """
    known_since = (anomaly.unknown_since, anomaly.money_moved_at)
    if any(at is not None and verify.created_at < at for at in known_since):
        return True
    is_ahead = verify.created_at > now + LITTLE
    repaired_since = (
        select(Attempt.id)
        .join(Attempt.execution)
        .join(Command, Command.id == Attempt.command_id)
        .where(
            Execution.group_id == verify.group_id,
            Execution.trade_no == verify.trade_no,
            or_(Command.seq > verify.seq, Command.finished_at > verify.created_at, literal(is_ahead)),
        )
    )
    return session.scalars(repaired_since.limit(1)).first() is not None
