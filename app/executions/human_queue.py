"""The queue of what needs a person (待人工): each trade with its facts, the proposal, and the evidence."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select

from agent.facts import Facts
from app.agents.models import LIVE, Command
from app.anomalies.claims import last_claims
from app.anomalies.models import Anomaly, AnomalyEvent, OutsideClaim
from app.anomalies.queries import AnomalyFilter, conditions
from app.errors import ConflictError
from app.executions.attempts import last_attempts
from app.executions.case_file import allowed_actions
from app.executions.models import Attempt, Execution
from app.executions.order_guard import BY_ORDER, facts_of, find_holds, trade_of
from app.executions.order_models import MoneyOrder
from app.executions.order_queries import find_proposed
from app.executions.proposals import Doubt, Proposal, head_of, propose
from app.executions.standing_refusals import find_refusals
from app.keyset import ReadSession
from app.plans.models import Plan

COUNTED: Final = 1_000
"""Reasons are counted over so many of the newest rows: a page must not read them all."""
REASONS_SHOWN: Final = 6
AGES: Final[Mapping[str, timedelta]] = {
    "1h": timedelta(hours=1),
    "4h": timedelta(hours=4),
    "1d": timedelta(days=1),
    "3d": timedelta(days=3),
    "7d": timedelta(days=7),
}
"""The choices of the filter ``age``: how long it has waited at least."""


@dataclass(frozen=True)
class QueueCase:
    """One row of the queue. ``facts`` None: nothing could be read of it, or not in a form known here.

    ``command`` is the trade's live command, ``claim`` the newest word that it was healed outside, ``event``
    the newest of its history, ``attempt`` its last one. ``actions`` as case_file.allowed_actions, none while
    a command lives; ``hold`` the code why only an order of people moves it (app.executions.order_guard);
    ``order`` the one that waits for its second person; ``refusal`` what refuses any order, and what a stop
    refuses of repairs.
    """

    anomaly: Anomaly
    plan: Plan | None
    plan_state: str
    is_with_person: bool
    facts: Facts | None
    proposal: Proposal
    claim: OutsideClaim | None
    command: Command | None
    event: AnomalyEvent | None
    attempt: Attempt | None
    hold: str | None
    order: MoneyOrder | None
    refusal: ConflictError | None
    actions: tuple[str, ...]

    @property
    def is_claimed(self) -> bool:
        """Whether a person's word is being verified."""
        return self.claim is not None and self.claim.ended_at is None


def read_cases(
    session: ReadSession, anomalies: Sequence[Anomaly], plans: Mapping[tuple[int, str], Plan], now: datetime
) -> list[QueueCase]:
    """Return the rows of a page as cases, in their order; ten queries at most where no stop stands, however
    many they are.
    """
    ids = [anomaly.id for anomaly in anomalies]
    claims, events, attempts = last_claims(session, ids), _last_events(session, ids), _attempts(session, ids)
    commands, holds = _live_commands(session, anomalies), find_holds(session, anomalies, by_person=True)
    orders = find_proposed(session, [trade_of(anomaly) for anomaly in anomalies])
    refusals = find_refusals(session, anomalies, plans, now)
    return [
        _case(
            anomaly,
            plans.get((anomaly.group_id, anomaly.fixer_code or "")),
            claims.get(anomaly.id),
            commands.get((anomaly.group_id, anomaly.trade_no)),
            events.get(anomaly.id),
            attempts.get(anomaly.id),
            holds.get(anomaly.id),
            orders.get(trade_of(anomaly)),
            refusals.get(anomaly.id),
        )
        for anomaly in anomalies
    ]


def propose_for(session: ReadSession, anomaly: Anomaly, plan: Plan | None, now: datetime) -> Proposal:
    """Return what the queue proposes for one trade, wherever else it is shown."""
    plans = {} if plan is None else {(anomaly.group_id, anomaly.fixer_code or ""): plan}
    return read_cases(session, [anomaly], plans, now)[0].proposal


def count_reasons(session: ReadSession, wanted: AnomalyFilter) -> list[tuple[str, int]]:
    """Return the most frequent reasons of a filter and how often each is, over its newest COUNTED rows."""
    newest = select(Anomaly.reason).where(*conditions(session, wanted)).order_by(Anomaly.id.desc())
    found: Counter[str] = Counter()
    for reason in session.scalars(newest.limit(COUNTED)):
        found[head_of(reason)] += 1
    return [(reason, count) for reason, count in found.most_common(REASONS_SHOWN) if reason]


def _case(
    anomaly: Anomaly,
    plan: Plan | None,
    claim: OutsideClaim | None,
    command: Command | None,
    event: AnomalyEvent | None,
    attempt: Attempt | None,
    hold: str | None,
    order: MoneyOrder | None,
    refusal: ConflictError | None,
) -> QueueCase:
    facts, is_with_person = facts_of(anomaly), anomaly.state == "needs_human"
    plan_state = "none" if plan is None else plan.state
    doubt = Doubt(
        reason=anomaly.reason,
        outcome=anomaly.outcome,
        facts=facts,
        plan="shadow" if plan_state == "normal" and plan is not None and plan.is_shadow else plan_state,
        is_with_person=is_with_person,
        has_own_number=anomaly.has_own_number,
        is_verifying=command is not None,
        has_fixer=anomaly.fixer_code is not None,
        is_order_only=hold in BY_ORDER,
        is_proposed=order is not None,
    )
    return QueueCase(
        anomaly=anomaly,
        plan=plan,
        plan_state=plan_state,
        is_with_person=is_with_person,
        facts=facts,
        proposal=propose(doubt),
        claim=claim,
        command=command,
        event=event,
        attempt=attempt,
        hold=hold,
        order=order,
        refusal=refusal,
        actions=() if command is not None else allowed_actions(anomaly, plan, hold=hold),
    )


def _last_events(session: ReadSession, anomaly_ids: Sequence[int]) -> dict[int, AnomalyEvent]:
    newest = (
        select(func.max(AnomalyEvent.id))
        .where(AnomalyEvent.anomaly_id.in_(anomaly_ids))
        .group_by(AnomalyEvent.anomaly_id)
    )
    events = session.scalars(select(AnomalyEvent).where(AnomalyEvent.id.in_(newest)))
    return {event.anomaly_id: event for event in events}


def _attempts(session: ReadSession, anomaly_ids: Sequence[int]) -> dict[int, Attempt]:
    executions = session.scalars(select(Execution).where(Execution.anomaly_id.in_(anomaly_ids))).unique()
    attempts = last_attempts(session, list(executions))
    return {attempt.anomaly_id: attempt for attempt in attempts.values()}


def _live_commands(session: ReadSession, anomalies: Sequence[Anomaly]) -> dict[tuple[int, str], Command]:
    commands = session.scalars(
        select(Command).where(
            Command.group_id.in_({anomaly.group_id for anomaly in anomalies}),
            Command.trade_no.in_([anomaly.trade_no for anomaly in anomalies]),
            Command.state.in_(LIVE),
        )
    )
    return {(command.group_id, command.trade_no or ""): command for command in commands}
