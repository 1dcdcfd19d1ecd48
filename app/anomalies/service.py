"""What is done with one anomaly: looked up, ignored by a person, verified afresh."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import case, select, update

from agent.answers import FactsRead
from agent.facts import Status
from app.agents import commands
from app.agents.issuing import TradeOrder, issue_many
from app.agents.models import Agent, Command
from app.anomalies import reading
from app.anomalies.models import OPEN_STATES, Anomaly, AnomalyEvent
from app.anomalies.reports import apply_decision
from app.anomalies.states import (
    RESOLUTION_CONFIRMED_FAILED,
    RESOLUTION_SUCCESS,
    begin_anew,
    change_state,
    note,
)
from app.audit import service as audit
from app.audit.reasons import required_reason
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError, NotFoundError
from app.keyset import ReadSession
from app.lately import LITTLE
from app.unit_of_work import WorkSession

VERIFY_DEADLINE: Final = timedelta(minutes=5)
BY_PERSON_FIRST: Final = 10
"""The priority of what a person looks at a page for, above the level of every plan."""
WAITING_FIRST: Final = 5
"""The priority of a look at what waits or is unknown, above the level of every plan, whose repairs live
longer in the queue than a look does; below what a person asks."""
UNEXPLAINED: Final = "nothing was read, and the agent does not say why"
MONEY_AFTER_CLOSE: Final = "money_after_close"
"""Money moved after the trade's last anomaly was closed: no look that nobody ordered closes this one."""
MONEY_DURING_REPAIR: Final = "money_during_repair"
"""An earlier attempt told of money while a newer one was under way that knew of none: likewise."""
LATE_MONEY: Final = (MONEY_AFTER_CLOSE, MONEY_DURING_REPAIR)

GroupIds = Collection[int] | None
"""The groups a person may see; None: all."""


def get_anomaly(session: ReadSession, anomaly_id: int, group_ids: GroupIds) -> Anomaly:
    """Return the anomaly. Raises NotFoundError('anomaly') where it is absent or of a group not to be seen."""
    anomaly = session.get(Anomaly, anomaly_id)
    if anomaly is None or (group_ids is not None and anomaly.group_id not in group_ids):
        raise NotFoundError("anomaly")
    return anomaly


def find_open(session: ReadSession, group_id: int, trade_no: str) -> Anomaly | None:
    """Return the trade's anomaly that is not closed, None where there is none."""
    return session.scalars(
        select(Anomaly).where(
            Anomaly.group_id == group_id, Anomaly.trade_no == trade_no, Anomaly.state.in_(OPEN_STATES)
        )
    ).first()


def ignore(
    session: WorkSession, anomaly_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> Anomaly:
    """Close an anomaly by a person's word.

    Raises NotFoundError, InvalidError, ConflictError: state, or money_begun while a repair that has moved
    money is gone on with by itself; once it is with a person that person may close it.
    """
    reason = required_reason(reason)
    anomaly = get_anomaly(session, anomaly_id, group_ids)
    before = anomaly.state
    if anomaly.has_moved_money and before in ("open", "waiting"):
        # Closed here, a debit would stay without its payout and nobody would look again.
        raise ConflictError("money_begun", trade_no=anomaly.trade_no)
    change_state(session, anomaly, "ignored", code="ignored", reason=reason, actor=actor, now=now)
    if before == anomaly.state:
        raise ConflictError("state", from_state=before, to_state="ignored")
    _audit(session, anomaly, "anomaly.ignore", reason, actor, now)
    return anomaly


def verify(
    session: WorkSession, anomaly_id: int, *, reason: str, actor: Actor, group_ids: GroupIds, now: datetime
) -> Command:
    """Order fresh facts of one anomaly for a person.

    Raises NotFoundError, InvalidError for the reason, ConflictError (state, group_disabled, trade_busy).
    """
    reason = required_reason(reason)
    anomaly = get_anomaly(session, anomaly_id, group_ids)
    if anomaly.state not in OPEN_STATES:
        raise ConflictError("state", from_state=anomaly.state, to_state="verify")
    if not anomaly.group.is_enabled:
        raise ConflictError("group_disabled", sys_code=anomaly.group.sys_code)
    command = order_verify(session, anomaly, now, priority=BY_PERSON_FIRST)
    begin_anew(anomaly, now)
    note(
        session,
        anomaly,
        code="verify_ordered",
        reason=reason,
        actor=actor,
        now=now,
        command_id=command.id,
    )
    _audit(session, anomaly, "anomaly.verify", reason, actor, now)
    return command


def order_verify(session: WorkSession, anomaly: Anomaly, now: datetime, *, priority: int = 0) -> Command:
    """Issue a Verify of the trade.

    Raises ConflictError: trade_busy while a command of it lives, no_trade_number where nobody could be asked.
    """
    if not anomaly.has_own_number:
        raise ConflictError("no_trade_number")
    _bring_back_ends(session, anomaly.group_id, [anomaly.trade_no], now)
    return commands.issue(
        session,
        type="Verify",
        group_id=anomaly.group_id,
        message={"trade_no": anomaly.trade_no},
        deadline=VERIFY_DEADLINE,
        now=now,
        trade_no=anomaly.trade_no,
        priority=priority,
    )


def order_verifies(
    session: WorkSession, anomalies: Sequence[Anomaly], now: datetime, *, priority: int = 0
) -> int:
    """Issue a Verify for each anomaly, all of one group, whose trade has no live command; return how many.

    Nobody can be asked for a row without a number of its own.
    """
    anomalies = [anomaly for anomaly in anomalies if anomaly.has_own_number]
    if not anomalies:
        return 0
    group_id, trade_nos = anomalies[0].group_id, [anomaly.trade_no for anomaly in anomalies]
    _bring_back_ends(session, group_id, trade_nos, now)
    issued = issue_many(
        session,
        type="Verify",
        group_id=group_id,
        orders=[TradeOrder(trade_no, {"trade_no": trade_no}) for trade_no in trade_nos],
        deadline=VERIFY_DEADLINE,
        now=now,
        priority=priority,
    )
    return len(issued)


def _bring_back_ends(session: WorkSession, group_id: int, trade_nos: Sequence[str], now: datetime) -> None:
    """Let repairs of these trades that ended by a clock ahead of now have ended now: a look that is ordered
    now was ordered after them, and its answer counts (app.executions.verifications).
    """
    ahead = update(Command).where(
        Command.group_id == group_id,
        Command.trade_no.in_(trade_nos),
        Command.type == "Repair",
        Command.finished_at > now + LITTLE,
    )
    # One that was withdrawn is known by its two times being the same (app.executions.poison).
    is_withdrawn = Command.cancel_requested_at == Command.finished_at
    asked_at = case((is_withdrawn, now), else_=Command.cancel_requested_at)
    ended = ahead.values(finished_at=now, cancel_requested_at=asked_at)
    session.execute(ended.execution_options(synchronize_session=False))


def record_facts(session: WorkSession, agent: Agent, message: FactsRead, now: datetime) -> Anomaly | None:
    """Apply the answer of a Verify; return the anomaly it concerns, None where that is closed by now.

    Only ``consistent`` heals, and only what awaits no person's look (LATE_MONEY). An answer that comes
    while a repair runs changes nothing: the repair reads afresh.
    """
    anomaly = find_open(session, agent.group_id, message.trade_no)
    if anomaly is None or anomaly.state == "repairing" or message.outcome == "error":
        return anomaly
    take_facts(anomaly, message, now)
    session.touch("anomalies")
    command_id = message.command_id
    match message.outcome:
        case "consistent" if _awaits_a_look(session, anomaly, command_id):
            pass
        case "consistent":
            close_consistent(session, anomaly, now, command_id)
        case "missing":
            to_person(session, anomaly, "missing", now, command_id)
        case "human":
            anomaly.outcome, anomaly.reason = "human", message.reason[:200]
            to_person(session, anomaly, message.reason, now, command_id)
        case "wait":
            _decide(session, anomaly, "wait", message, now)
        case "repair" | "resume":
            _decide(session, anomaly, "repair", message, now)
    return anomaly


def close_consistent(session: WorkSession, anomaly: Anomaly, now: datetime, command_id: str | None) -> None:
    """Row, ledger and bank agree: healed by itself, or repaired where one of our repairs has moved money."""
    if anomaly.has_moved_money:
        # The codes of TRD_STATUS are the agent's configuration: only its facts tell what one means.
        is_failed = (anomaly.facts or {}).get("status") == Status.FAILED
        anomaly.resolution = RESOLUTION_CONFIRMED_FAILED if is_failed else RESOLUTION_SUCCESS
    to = "repaired" if anomaly.has_moved_money else "healed"
    change_state(
        session,
        anomaly,
        to,
        code="consistent",
        reason="consistent",
        actor=SYSTEM,
        now=now,
        command_id=command_id,
    )


def _decide(session: WorkSession, anomaly: Anomaly, outcome: str, message: FactsRead, now: datetime) -> None:
    if anomaly.state == "needs_human" and _was_ordered(session, anomaly, message.command_id):
        # A person asked after looking at it: the trade goes back to the machine, with a new 24 hours.
        anomaly.outcome = outcome
        begin_anew(anomaly, now)
        to = "waiting" if outcome == "wait" else "open"
        change_state(
            session,
            anomaly,
            to,
            code=f"decided_{outcome}",
            reason=message.reason,
            actor=SYSTEM,
            now=now,
            command_id=message.command_id,
        )
    elif anomaly.state != "needs_human" or anomaly.outcome == "human":
        anomaly.outcome = outcome
        apply_decision(session, anomaly, outcome, message.reason, now)
    if anomaly.state in ("open", "waiting"):
        anomaly.reason = message.reason[:200]
        anomaly.fixer_code = message.fixer_code or anomaly.fixer_code


def _awaits_a_look(session: WorkSession, anomaly: Anomaly, command_id: str | None) -> bool:
    if anomaly.state != "needs_human" or _was_ordered(session, anomaly, command_id):
        return False
    told = select(AnomalyEvent.id).where(
        AnomalyEvent.anomaly_id == anomaly.id, AnomalyEvent.code.in_(LATE_MONEY)
    )
    return session.scalars(told).first() is not None


def _was_ordered(session: WorkSession, anomaly: Anomaly, command_id: str | None) -> bool:
    order = select(AnomalyEvent.id).where(
        AnomalyEvent.anomaly_id == anomaly.id,
        AnomalyEvent.command_id == command_id,
        AnomalyEvent.code == "verify_ordered",
    )
    return session.scalars(order).first() is not None


def take_facts(anomaly: Anomaly, message: FactsRead, now: datetime) -> None:
    """Keep what a Verify has read of the trade."""
    reading.take(anomaly, message.row, message.row_hash, message.facts, now)
    anomaly.after = message.after


def to_person(
    session: WorkSession, anomaly: Anomaly, reason: str, now: datetime, command_id: str | None
) -> None:
    """A look has found that only a person can go on with it, and why."""
    anomaly.reason = reason[:200]
    change_state(
        session,
        anomaly,
        "needs_human",
        code="decided_human",
        reason=reason,
        actor=SYSTEM,
        now=now,
        command_id=command_id,
    )


def _audit(
    session: WorkSession, anomaly: Anomaly, action: str, reason: str, actor: Actor, now: datetime
) -> None:
    audit.record(
        session,
        actor=actor,
        action=action,
        object_type="anomaly",
        object_id=anomaly.id,
        object_name=anomaly.trade_no,
        sys_code=anomaly.group.sys_code,
        reason=reason,
        now=now,
    )
