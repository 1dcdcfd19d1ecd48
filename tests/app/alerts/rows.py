"""Rows for tests of alerts: committed, for the courier has a session of its own."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.alerts import service
from app.alerts.events import KINDS
from app.alerts.models import AlertChannel, AlertDelivery, AlertSilence
from app.anomalies.models import Anomaly
from app.anomalies.states import change_state
from app.audit.service import SYSTEM
from app.clock import current_time
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.conftest import HandClock
from tests.factories import NOW, make_anomaly, make_group

URL = "dingtalk://abcdefSECRETtoken123456"


def add_channel(name: str = "值班群", **columns: Any) -> AlertChannel:
    values = {
        "kind": "dingtalk",
        "url": URL,
        "kinds": list(KINDS),
        "least_level": 0,
        "language": "zh",
        "grouping_seconds": 60,
        "created_at": NOW,
        "updated_at": NOW,
        "updated_by": "admin",
    }
    with unit_of_work() as session:
        channel = AlertChannel(name=name, **(values | columns))
        session.add(channel)
    return channel


def add_group(sys_code: str = "PBAP", **columns: Any) -> SystemGroup:
    with unit_of_work() as session:
        return make_group(session, sys_code, **columns)


def add_silence(kind: str | None, group_id: int | None, minutes: int) -> None:
    """Silence a kind (None: any) in a group (None: in all) from now on."""
    now = current_time()
    with unit_of_work() as session:
        until = now + timedelta(minutes=minutes)
        one = AlertSilence(kind=kind, group_id=group_id, until=until, reason="维护", created_at=now)
        one.created_by = "li.na"
        session.add(one)


def trip(group_id: int, name: str, clock: HandClock) -> None:
    """A breaker of this name trips."""
    params = {"name": name, "cause": "failures", "figures": {"failed": 3, "attempts": 3, "threshold": 3}}
    with unit_of_work() as session:
        service.raise_(session, "breaker", group_id=group_id, key=name, params=params, now=clock())


def reset(group_id: int, name: str, clock: HandClock) -> None:
    """A person resets it."""
    with unit_of_work() as session:
        service.recover(session, "breaker", group_id=group_id, key=name, now=clock())


def bring(session: WorkSession, anomaly: Anomaly, state: str, reason: str = "") -> None:
    change_state(session, anomaly, state, code="test", reason=reason, actor=SYSTEM, now=current_time())


def add_trades(group: SystemGroup, count: int, state: str = "needs_human", reason: str = "") -> list[int]:
    """Commit trades that reach a state now; return their ids."""
    ids = []
    with unit_of_work() as session:
        for _each in range(count):
            anomaly = make_anomaly(session, group)
            bring(session, anomaly, state, reason)
            ids.append(anomaly.id)
    return ids


def close_trades(ids: Sequence[int]) -> None:
    with unit_of_work() as session:
        for anomaly in session.scalars(select(Anomaly).where(Anomaly.id.in_(ids))).unique():
            bring(session, anomaly, "ignored", "done")


def deliveries() -> list[AlertDelivery]:
    """Every message kept, the oldest first."""
    db.session.expire_all()
    return list(db.session.scalars(select(AlertDelivery).order_by(AlertDelivery.id)).unique())
