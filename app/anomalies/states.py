"""How an anomaly's state changes: the allowed transitions, its history, and the kept counts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from flask import current_app
from sqlalchemy import insert, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm.attributes import set_committed_value

from app.anomalies.models import TERMINAL_STATES, Anomaly, AnomalyEvent, QuarterCount
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError
from app.unit_of_work import WorkSession

ALLOWED: Final[dict[str, frozenset[str]]] = {
    "open": frozenset({"repairing", "waiting", "exhausted", "needs_human", "repaired", "healed", "ignored"}),
    "repairing": frozenset({"open", "waiting", "exhausted", "needs_human", "repaired", "healed"}),
    "waiting": frozenset({"open", "repairing", "exhausted", "needs_human", "repaired", "healed", "ignored"}),
    "exhausted": frozenset({"repairing", "needs_human", "repaired", "healed", "ignored"}),
    "needs_human": frozenset({"open", "waiting", "repairing", "repaired", "healed", "ignored"}),
    "repaired": frozenset(),
    "healed": frozenset(),
    "ignored": frozenset(),
}
"""From a state to the states it may change to; from open or waiting, a result comes late."""

AnomalyClosed = Callable[[WorkSession, Anomaly, datetime], None]
"""Hears of an anomaly that became terminal, whatever ended it; bound by create_app."""

AnomalySetAside = Callable[[WorkSession, Anomaly, datetime], None]
"""Hears of an anomaly that reached a state of CALLING_STATES; bound by create_app."""

HOLDABLE_STATES: Final = ("open", "waiting")
"""Those in which a guard may leave an anomaly to a person's click; any other state ends the hold."""

CALLING_STATES: Final = ("needs_human", "exhausted")
"""Somebody should hear of a trade that reaches one of these."""


@dataclass(frozen=True)
class Reached:
    """A trade that has reached a state of CALLING_STATES, and why."""

    state: str
    group_id: int
    trade_no: str
    fixer_code: str | None
    reason: str
    amount_minor: int | None
    currency: str


TradesReached = Callable[[WorkSession, Sequence[Reached], datetime], None]
"""Hears of trades that reached a state of CALLING_STATES; bound by create_app."""

RESOLUTION_SUCCESS: Final = "success"
RESOLUTION_CONFIRMED_FAILED: Final = "confirmed_failed"


def change_state(
    session: WorkSession,
    anomaly: Anomaly,
    to: str,
    *,
    code: str,
    reason: str,
    actor: Actor,
    now: datetime,
    command_id: str | None = None,
) -> None:
    """Move an anomaly to another state and write the change down; the same state changes nothing.

    ``code`` is a stable word for the cause, ``reason`` its sentence. Raises ConflictError('state') where
    ALLOWED does not have the transition.
    """
    before = anomaly.state
    if before == to:
        return
    if to not in ALLOWED[before]:
        raise ConflictError("state", from_state=before, to_state=to)
    if to not in HOLDABLE_STATES:
        release(session, anomaly, actor, now)
    anomaly.state = to
    anomaly.changed_at = now
    if to == "waiting":
        anomaly.waiting_since = anomaly.waiting_since or now
    elif to == "needs_human" or to in TERMINAL_STATES:
        # What a person sends to wait again waits anew: the bank's limit has asked them once.
        anomaly.waiting_since = None
    if to in TERMINAL_STATES:
        anomaly.closed_at = now
    # Before the listeners, which may write down more of it: the history keeps its order.
    _write_event(session, anomaly, before, code, reason, actor, now, command_id)
    if to in TERMINAL_STATES:
        _tell(session, anomaly, "anomaly_closed", now)
    elif to in CALLING_STATES:
        _tell(session, anomaly, "anomaly_set_aside", now)
        tell_reached(session, [_reached(anomaly, reason)], now)
    if to in COUNTED_STATES:
        count(
            session, anomaly.group_id, counted_name(anomaly, to), now, amount_minor=anomaly.amount_minor or 0
        )


def _tell(session: WorkSession, anomaly: Anomaly, event: str, now: datetime) -> None:
    listeners: tuple[AnomalyClosed, ...] = current_app.extensions.get(event, ())
    for listener in listeners:
        listener(session, anomaly, now)


@dataclass(frozen=True)
class Hold:
    """Why an anomaly is left to a person's click: ``code`` a stable word, ``detail`` its figures in JSON.

    ``terms`` tell what it was held against: where they are others by now, it is to be judged anew.
    """

    code: str
    detail: dict[str, Any]
    terms: str


def hold_all(session: WorkSession, held: Sequence[tuple[Anomaly, Hold]], now: datetime) -> None:
    """Leave open or waiting anomalies to a person; their history tells when that began, and only then.

    Two statements, however many they are: a new limit holds a whole table.
    """
    changed = [(anomaly, one) for anomaly, one in held if not _is_held_so(anomaly, one)]
    if not changed:
        return
    begun = [(anomaly, one) for anomaly, one in changed if anomaly.hold_code is None]
    if begun:
        session.execute(insert(AnomalyEvent), [_hold_began(anomaly, one, now) for anomaly, one in begun])
    rows = [
        {
            "id": anomaly.id,
            "hold_code": one.code,
            "hold_detail": one.detail,
            "hold_terms": one.terms,
            "held_at": anomaly.held_at if anomaly.hold_code else now,
        }
        for anomaly, one in changed
    ]
    session.execute(update(Anomaly), rows)
    for (anomaly, _), row in zip(changed, rows, strict=True):
        for name in ("hold_code", "hold_detail", "hold_terms", "held_at"):
            set_committed_value(anomaly, name, row[name])
    session.touch("anomalies", "home")


def _is_held_so(anomaly: Anomaly, held: Hold) -> bool:
    return (anomaly.hold_code, anomaly.hold_detail, anomaly.hold_terms) == (
        held.code,
        held.detail,
        held.terms,
    )


def _hold_began(anomaly: Anomaly, held: Hold, now: datetime) -> dict[str, Any]:
    return {
        "anomaly_id": anomaly.id,
        "at": now,
        "from_state": anomaly.state,
        "to_state": anomaly.state,
        "code": "hold_began",
        "reason": held.code,
        "actor_name": SYSTEM.name,
    }


def release(session: WorkSession, anomaly: Anomaly, actor: Actor, now: datetime) -> None:
    """Nothing leaves the anomaly to a person any more; where nothing did, nothing changes."""
    if anomaly.hold_code is None:
        return
    note(session, anomaly, code="hold_ended", reason=anomaly.hold_code, actor=actor, now=now)
    anomaly.hold_code = anomaly.hold_detail = anomaly.hold_terms = anomaly.held_at = None


def tell_reached(session: WorkSession, reached: Sequence[Reached], now: datetime) -> None:
    """Tell whoever listens, in the transaction that brought the trades there."""
    listeners: tuple[TradesReached, ...] = current_app.extensions.get("trades_reached", ())
    for listener in listeners:
        listener(session, reached, now)


def _reached(anomaly: Anomaly, reason: str) -> Reached:
    return Reached(
        state=anomaly.state,
        group_id=anomaly.group_id,
        trade_no=anomaly.trade_no,
        fixer_code=anomaly.fixer_code,
        reason=reason or anomaly.reason,
        amount_minor=anomaly.amount_minor,
        currency=anomaly.currency,
    )


def begin_anew(anomaly: Anomaly, now: datetime) -> None:
    """A person has looked and asks again: the limits of waiting and of money on its way count from now."""
    anomaly.waiting_since = now if anomaly.state == "waiting" else None
    anomaly.money_moved_at = now if anomaly.has_moved_money else None


COUNTED_STATES: Final = ("repaired", "healed", "ignored", "exhausted", "needs_human")


def counted_name(anomaly: Anomaly, state: str) -> str:
    """Return the QuarterCount name of reaching ``state``: 确认失败 is counted apart from 修复为成功."""
    if state == "repaired" and anomaly.resolution == RESOLUTION_CONFIRMED_FAILED:
        return "confirmed_failed"
    return state


def note(
    session: WorkSession,
    anomaly: Anomaly,
    *,
    code: str,
    reason: str,
    actor: Actor,
    now: datetime,
    command_id: str | None = None,
) -> None:
    """Write down something that happened without a change of state."""
    _write_event(session, anomaly, anomaly.state, code, reason, actor, now, command_id)


def note_first(
    session: WorkSession,
    anomaly: Anomaly,
    *,
    code: str,
    reason: str,
    actor: Actor,
    now: datetime,
    command_id: str | None = None,
) -> None:
    """Begin the history of a new anomaly, one by one; many at once are app/anomalies/reports.py's."""
    _write_event(session, anomaly, None, code, reason, actor, now, command_id)
    count(session, anomaly.group_id, "new", now, amount_minor=anomaly.amount_minor or 0)


def _write_event(
    session: WorkSession,
    anomaly: Anomaly,
    before: str | None,
    code: str,
    reason: str,
    actor: Actor,
    now: datetime,
    command_id: str | None,
) -> None:
    session.add(
        AnomalyEvent(
            anomaly_id=anomaly.id,
            at=now,
            from_state=before,
            to_state=anomaly.state,
            code=code,
            reason=reason[:500],
            actor_name=actor.name,
            command_id=command_id,
        )
    )
    session.touch("anomalies", "home")


def count(
    session: WorkSession, group_id: int, name: str, now: datetime, *, by: int = 1, amount_minor: int = 0
) -> None:
    """Add to the kept count ``name`` of the group's current quarter of an hour.

    Names: ``new``, the states of COUNTED_STATES, ``confirmed_failed``, and ``attempt_<outcome>``.
    """
    quarter = now.replace(minute=now.minute // 15 * 15, second=0, microsecond=0)
    values = {
        "group_id": group_id,
        "quarter": quarter,
        "name": name,
        "count": by,
        "amount_minor": amount_minor,
    }
    merging = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = merging(QuarterCount).values(values)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["group_id", "quarter", "name"],
            set_={
                "count": QuarterCount.count + statement.excluded.count,
                "amount_minor": QuarterCount.amount_minor + statement.excluded.amount_minor,
            },
        )
    )
