"""The seam: whoever knows that something is wrong raises it, and recovers it once it has ended.

What is raised is a row of the caller's transaction, so that nothing is told that was rolled back, and nothing
that was committed is forgotten. Nothing here sends.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from sqlalchemy import CursorResult, delete
from sqlalchemy.dialects import postgresql, sqlite

from app.alerts.events import LASTING_KINDS
from app.alerts.models import AlertCondition, AlertEvent
from app.anomalies.models import Anomaly
from app.anomalies.states import Reached
from app.unit_of_work import WorkSession


def raise_(
    session: WorkSession,
    kind: str,
    *,
    group_id: int | None,
    key: str,
    params: Mapping[str, Any],
    now: datetime,
) -> bool:
    """A lasting condition (events.LASTING_KINDS) holds; return whether it is news.

    ``group_id`` None: it concerns every group. ``key`` tells it from others of its kind and group, such as an
    agent's name. ``params`` are plain values for the message (app.alerts.texts says which), and no secret.
    Raised again before it is recovered it changes nothing, so the caller need not remember.
    """
    if kind not in LASTING_KINDS:
        raise ValueError(f"{kind} is no lasting condition")
    is_new = open_condition(session, kind, group_id=group_id, key=key, params=params, now=now)
    if is_new:
        values = dict(params)
        session.add(AlertEvent(at=now, kind=kind, group_id=group_id, key=key, params=values))
    return is_new


def tell_anew(
    session: WorkSession,
    kind: str,
    *,
    group_id: int | None,
    key: str,
    params: Mapping[str, Any],
    now: datetime,
) -> None:
    """A condition that was raised holds on, for another cause: that is told, and its end once."""
    condition = session.get_one(AlertCondition, identity_of(kind, group_id, key))
    condition.params = dict(params)
    session.add(AlertEvent(at=now, kind=kind, group_id=group_id, key=key, params=dict(params)))


def recover(
    session: WorkSession,
    kind: str,
    *,
    group_id: int | None,
    key: str,
    now: datetime,
    params: Mapping[str, Any] | None = None,
) -> bool:
    """A condition has ended; return whether it had been raised. It is told to those who heard of it.

    ``params``: what is told of its end, beside what was told of its beginning.
    """
    condition = session.get(AlertCondition, identity_of(kind, group_id, key))
    if condition is None or not forget_condition(session, condition.identity):
        return False
    told = {**condition.params, **(params or {}), "since": condition.since.isoformat()}
    session.add(AlertEvent(at=now, kind=kind, group_id=group_id, key=key, is_recovery=True, params=told))
    return True


def trades_reached(session: WorkSession, reached: Sequence[Reached], now: datetime) -> None:
    """Trades need a person or have no attempts left: bound to app.anomalies.states by create_app."""
    session.add_all(
        AlertEvent(
            at=now, kind=one.state, group_id=one.group_id, key=one.trade_no[:120], params=told_of_trade(one)
        )
        for one in reached
    )


def told_of_trade(trade: Reached | Anomaly) -> dict[str, Any]:
    """Return what a message tells of a trade."""
    names = ("trade_no", "fixer_code", "amount_minor", "currency")
    return {name: getattr(trade, name) for name in names} | {"reason": trade.reason[:200]}


def open_condition(
    session: WorkSession,
    kind: str,
    *,
    group_id: int | None,
    key: str,
    params: Mapping[str, Any],
    now: datetime,
) -> bool:
    """Keep that a condition holds; return False where that is kept already, by another server too."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    values = {
        "identity": identity_of(kind, group_id, key),
        "kind": kind,
        "group_id": group_id,
        "key": key,
        "since": now,
        "params": dict(params),
    }
    statement = dialect.insert(AlertCondition).values(values).on_conflict_do_nothing()
    return session.execute(statement.returning(AlertCondition.identity)).first() is not None


def forget_condition(session: WorkSession, identity: str) -> bool:
    """Delete a condition; return False where somebody else just has."""
    done = session.execute(delete(AlertCondition).where(AlertCondition.identity == identity))
    return cast("CursorResult[Any]", done).rowcount == 1


def identity_of(kind: str, group_id: int | None, key: str) -> str:
    """Return the text that a condition is found by."""
    return f"{kind}:{group_id or 0}:{key}"
