"""Healed outside: a person says that a trade was mended elsewhere, and only a Verify's facts bear that out.

While the claim is verified the anomaly stays as it is. Facts that say consistent close it as healed, in the
person's name; anything else, also no answer, leaves it with a person: what someone says they have done moves
no money, and neither does a machine meanwhile.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import select

from agent.answers import FactsRead
from app.agents.models import Command
from app.anomalies.models import OPEN_STATES, TERMINAL_STATES, Anomaly, OutsideClaim
from app.anomalies.service import (
    BY_PERSON_FIRST,
    UNEXPLAINED,
    GroupIds,
    get_anomaly,
    order_verify,
    take_facts,
)
from app.anomalies.states import change_state, note
from app.audit import service as audit
from app.audit.reasons import reason_errors
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError, InvalidError
from app.keyset import ReadSession
from app.unit_of_work import WorkSession
from app.users.service import FormErrors

MAX_REFERENCE: Final = 120
REFUTED: Final = "claim_refuted"
"""The reason of an anomaly whose facts say that the claim does not hold, and nothing that needs a person."""
STATE_WORDS: Final = {"repair": "repair", "resume": "repair", "wait": "wait"}
"""The decision kept with a refuted claim, by the outcome of its Verify; any other is for a person."""


def claim_healed(
    session: WorkSession,
    anomaly_id: int,
    *,
    reference: str,
    reason: str,
    actor: Actor,
    group_ids: GroupIds,
    now: datetime,
) -> OutsideClaim:
    """Take a person's word that the trade was healed outside, and order the Verify that must bear it out.

    ``reference`` is where that is written down, a ticket for one. Raises NotFoundError, FormErrors
    (reference_required, too_long, and for the reason), ConflictError: closed, repairing, group_disabled,
    no_trade_number, trade_busy.
    """
    wrong = [*_reference_errors(reference), *reason_errors(reason, is_required=True)]
    if wrong:
        raise FormErrors(wrong)
    reason, reference = reason.strip(), reference.strip()
    anomaly = get_anomaly(session, anomaly_id, group_ids)
    if anomaly.state in TERMINAL_STATES:
        raise ConflictError("closed")
    if anomaly.state == "repairing":
        raise ConflictError("repairing")
    if not anomaly.group.is_enabled:
        raise ConflictError("group_disabled", sys_code=anomaly.group.sys_code)
    command = order_verify(session, anomaly, now, priority=BY_PERSON_FIRST)
    claim = OutsideClaim(
        anomaly_id=anomaly.id,
        command_id=command.id,
        reference=reference,
        reason=reason,
        actor_id=actor.id,
        actor_name=actor.name,
        made_at=now,
    )
    session.add(claim)
    _write_down(session, claim, anomaly, actor, now)
    session.flush()
    return claim


def _write_down(
    session: WorkSession, claim: OutsideClaim, anomaly: Anomaly, actor: Actor, now: datetime
) -> None:
    note(
        session,
        anomaly,
        code="claimed_outside",
        reason=_sentence(claim),
        actor=actor,
        now=now,
        command_id=claim.command_id,
    )
    audit.record(
        session,
        actor=actor,
        action="anomaly.claim_outside",
        object_type="anomaly",
        object_id=anomaly.id,
        object_name=anomaly.trade_no,
        sys_code=anomaly.group.sys_code,
        reason=claim.reason,
        detail={"reference": claim.reference},
        now=now,
    )


def find_pending(session: ReadSession, command_id: str | None) -> OutsideClaim | None:
    """Return the claim that this Verify is to bear out, None where there is none or it has ended."""
    return session.scalars(
        select(OutsideClaim).where(OutsideClaim.command_id == command_id, OutsideClaim.ended_at.is_(None))
    ).first()


def last_claims(session: ReadSession, anomaly_ids: Sequence[int]) -> dict[int, OutsideClaim]:
    """Return the newest claim of each anomaly that has one, by anomaly id."""
    claims = session.scalars(
        select(OutsideClaim).where(OutsideClaim.anomaly_id.in_(anomaly_ids)).order_by(OutsideClaim.id)
    )
    return {claim.anomaly_id: claim for claim in claims}


def settle(
    session: WorkSession, claim: OutsideClaim, anomaly: Anomaly, message: FactsRead, now: datetime
) -> None:
    """Let the answer of its Verify decide a claim: consistent closes the anomaly, anything else does not."""
    if message.outcome == "error":
        _return_to_person(session, claim, anomaly, "unanswered", message.reason or UNEXPLAINED, now)
        return
    take_facts(anomaly, message, now)
    session.touch("anomalies")
    if message.outcome == "consistent":
        _end(claim, "held", "consistent", now)
        change_state(
            session,
            anomaly,
            "healed",
            code="healed_outside",
            reason=_sentence(claim),
            actor=Actor(claim.actor_id, claim.actor_name),
            now=now,
            command_id=claim.command_id,
        )
        return
    told = "missing" if message.outcome == "missing" else message.reason
    anomaly.outcome = STATE_WORDS.get(message.outcome, "human")
    needs_person = anomaly.outcome == "human" and told
    anomaly.reason = (told if needs_person else f"{REFUTED}: {told}" if told else REFUTED)[:200]
    _return_to_person(session, claim, anomaly, "refuted", told or message.outcome, now)


def command_closed(session: WorkSession, command: Command, outcome: str) -> None:
    """The Verify of a claim closed without an answer: the claim ends, and the trade is with a person."""
    claim = find_pending(session, command.id) if command.type == "Verify" else None
    if claim is None:
        return
    anomaly = session.get_one(Anomaly, claim.anomaly_id)
    now = command.finished_at or command.created_at
    _return_to_person(session, claim, anomaly, "unanswered", command.error or outcome, now)


def anomaly_closed(session: WorkSession, anomaly: Anomaly, now: datetime) -> None:
    """Something else closed the anomaly while a claim was verified."""
    statement = select(OutsideClaim).where(
        OutsideClaim.anomaly_id == anomaly.id, OutsideClaim.ended_at.is_(None)
    )
    for claim in session.scalars(statement):
        _end(claim, "overtaken", anomaly.state, now)


def _return_to_person(
    session: WorkSession, claim: OutsideClaim, anomaly: Anomaly, outcome: str, told: str, now: datetime
) -> None:
    _end(claim, outcome, told, now)
    code = f"claim_{outcome}"
    if anomaly.state == "needs_human" or anomaly.state not in OPEN_STATES:
        note(session, anomaly, code=code, reason=told, actor=SYSTEM, now=now, command_id=claim.command_id)
        return
    if outcome == "unanswered":
        anomaly.reason = code
    change_state(
        session,
        anomaly,
        "needs_human",
        code=code,
        reason=told,
        actor=SYSTEM,
        now=now,
        command_id=claim.command_id,
    )


def _end(claim: OutsideClaim, outcome: str, told: str, now: datetime) -> None:
    claim.outcome, claim.told, claim.ended_at = outcome, told[:200], now


def _sentence(claim: OutsideClaim) -> str:
    return f"{claim.reference} · {claim.reason}"[:500]


def _reference_errors(text: str) -> list[InvalidError]:
    text = text.strip()
    if not text:
        return [InvalidError("reference_required", field="reference")]
    if len(text) > MAX_REFERENCE:
        return [InvalidError("too_long", field="reference", limit=MAX_REFERENCE)]
    return []
