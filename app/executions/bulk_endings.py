"""How the trades of a bulk repair end: by their attempt, in the first stages by a verification after it."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from agent.answers import FactsRead
from app.agents import commands
from app.agents.models import LIVE, Agent, Command
from app.anomalies.models import Anomaly
from app.anomalies.service import BY_PERSON_FIRST, order_verify
from app.errors import ConflictError
from app.executions.bulk_models import LAST_STAGE, BulkItem, BulkRepair
from app.executions.models import Attempt
from app.lately import LITTLE
from app.unit_of_work import WorkSession

ASK_AGAIN_AFTER: Final = timedelta(seconds=30)
VERIFY_LIMIT: Final = timedelta(minutes=30)
"""A trade that could not be verified for so long after its repair does not count as one that ended well."""
NOTHING_TO_REPAIR: Final = "already_consistent"
"""Such a trade says nothing of how repairs go: it counts neither way, and another one takes its place."""
NOT_YET: Final = ("wait", "error")
"""A verification that says neither well nor ill: it is asked again."""


def settle(session: WorkSession, bulk: BulkRepair, now: datetime) -> list[BulkItem]:
    """Take up the repairs and verifications that have ended; return the trades that did not end well."""
    return _settle_repairs(session, bulk, now) + _settle_verifications(session, bulk, now)


def _settle_repairs(session: WorkSession, bulk: BulkRepair, now: datetime) -> list[BulkItem]:
    """End the items whose attempt has ended, or have them verified; return those that did not end well."""
    ended = session.execute(
        select(BulkItem, Attempt.outcome, Attempt.outcome_reason)
        .join(Attempt, Attempt.id == BulkItem.attempt_id)
        .where(BulkItem.bulk_id == bulk.id, BulkItem.state == "repairing", Attempt.outcome.is_not(None))
        .order_by(BulkItem.id)
    ).all()
    failed = []
    for item, outcome, reason in ended:
        item.outcome, item.detail, item.repaired_at = str(outcome), reason, now
        if outcome == NOTHING_TO_REPAIR:
            end(item, "skipped", now)
        elif outcome != "repaired":
            failed.append(end(item, "failed", now))
        elif item.stage == LAST_STAGE:
            end(item, "done", now)
        else:
            item.state, item.ask_at = "verifying", now
    return failed


def _settle_verifications(session: WorkSession, bulk: BulkRepair, now: datetime) -> list[BulkItem]:
    """End the items that were verified, ask again about the others; return those that did not end well."""
    verifying = session.scalars(
        select(BulkItem)
        .where(BulkItem.bulk_id == bulk.id, BulkItem.state == "verifying")
        .order_by(BulkItem.id)
    ).all()
    failed = []
    for item in verifying:
        _bring_back(item, now)
        if item.verified == "consistent":
            end(item, "done", now)
        elif item.verified and item.verified not in NOT_YET:
            item.outcome = "not_consistent"
            failed.append(end(item, "failed", now))
        elif item.repaired_at is not None and now - item.repaired_at > VERIFY_LIMIT:
            item.outcome = "not_verified"
            failed.append(end(item, "failed", now))
        else:
            _ask(session, item, now)
    return failed


def _bring_back(item: BulkItem, now: datetime) -> None:
    """Let what a clock that ran ahead has dated begin now, or nothing is asked or given up until then."""
    if item.repaired_at is not None and item.repaired_at > now + LITTLE:
        item.repaired_at = now
    if item.ask_at is not None and item.ask_at > now + ASK_AGAIN_AFTER + LITTLE:
        item.ask_at = now


def end(item: BulkItem, state: str, now: datetime) -> BulkItem:
    """Let a trade be over for its bulk repair: done, failed or skipped. Return it."""
    item.state, item.ended_at = state, now
    return item


def _ask(session: WorkSession, item: BulkItem, now: datetime) -> None:
    """Order a Verify where none is under way and it is time; a busy trade is asked later."""
    if item.verify_command_id is not None:
        command = commands.find(session, item.verify_command_id)
        if command is not None and command.state in LIVE:
            return
        # It closed without an answer: expired, rejected, its agent gone.
        item.verify_command_id, item.ask_at = None, item.ask_at or now
    if item.ask_at is None or item.ask_at > now:
        return
    anomaly = session.get_one(Anomaly, item.anomaly_id)
    try:
        # Behind what plans began it would expire again and again, until the trade is given up.
        command = order_verify(session, anomaly, now, priority=BY_PERSON_FIRST)
    except ConflictError:
        item.ask_at = now + ASK_AGAIN_AFTER
        return
    item.verify_command_id, item.ask_at = command.id, None


def record_verified(session: WorkSession, agent: Agent, message: FactsRead, now: datetime) -> None:
    """Keep what the verification of a bulk repair's trade said; of any other Verify nothing is written."""
    item = session.scalars(
        select(BulkItem).where(
            BulkItem.verify_command_id == message.command_id, BulkItem.state == "verifying"
        )
    ).first()
    command = commands.find(session, message.command_id)
    if item is None or command is None or not _counts(command, agent):
        return
    item.verify_command_id, item.verified = None, message.outcome
    item.detail = message.reason[:500]
    item.ask_at = now + ASK_AGAIN_AFTER
    session.touch("executions")


def _counts(command: Command, agent: Agent) -> bool:
    return command.state == "finished" and command.agent_id == agent.id
