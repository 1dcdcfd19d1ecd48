"""Which lasting conditions of other rooms are told: bound to their listeners by create_app."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.agents.models import Agent, Stop
from app.alerts.events import BREAKER, BULK_PAUSED, ORDER_WAITS, STOP_SWITCH
from app.alerts.service import forget_condition, identity_of, raise_, recover, tell_anew
from app.executions.bulk_models import BY_PERSON, BulkRepair
from app.executions.order_models import MoneyOrder
from app.guards.models import Breaker
from app.unit_of_work import WorkSession


def breaker_changed(session: WorkSession, breaker: Breaker, now: datetime) -> None:
    """A breaker tripped, did for another cause than before, or was reset."""
    key = f"breaker:{breaker.id}"
    if breaker.reset_at is not None:
        recover(session, BREAKER, group_id=breaker.group_id, key=key, now=now)
        return
    params = {
        "scope": breaker.scope,
        "name": breaker.subject_name,
        "cause": breaker.code,
        "figures": breaker.figures,
    }
    if not raise_(session, BREAKER, group_id=breaker.group_id, key=key, params=params, now=now):
        tell_anew(session, BREAKER, group_id=breaker.group_id, key=key, params=params, now=now)


def stop_changed(session: WorkSession, stop: Stop, now: datetime) -> None:
    """Repairs were stopped, or may go on."""
    key = f"stop:{stop.id}"
    if stop.lifted_at is not None:
        lifted = {"lifted_by": stop.lifted_by, "lifted_at": stop.lifted_at.isoformat()}
        recover(session, STOP_SWITCH, group_id=stop.group_id, key=key, params=lifted, now=now)
        return
    params = {"scope": stop.scope, "name": stop.name, "by": stop.set_by, "reason": stop.reason}
    params["at"] = stop.set_at.isoformat()
    raise_(session, STOP_SWITCH, group_id=stop.group_id, key=key, params=params, now=now)


def local_stop_changed(session: WorkSession, agent: Agent, now: datetime) -> None:
    """An agent was stopped on its host, or may go on; one that was revoked is just not missed."""
    key = f"local:{agent.id}"
    if agent.revoked_at is not None:
        forget_condition(session, identity_of(STOP_SWITCH, agent.group_id, key))
    elif agent.stopped_here is None:
        lifted = {"lifted_at": now.isoformat()}
        recover(session, STOP_SWITCH, group_id=agent.group_id, key=key, params=lifted, now=now)
    else:
        at = agent.stopped_here_at or now
        params = {"scope": "here", "name": agent.name, "reason": agent.stopped_here, "at": at.isoformat()}
        raise_(session, STOP_SWITCH, group_id=agent.group_id, key=key, params=params, now=now)


def bulk_changed(session: WorkSession, bulk: BulkRepair, told: Mapping[str, Any], now: datetime) -> None:
    """A bulk repair was paused by itself, or goes on or has ended; who pauses one knows of it."""
    key = f"bulk:{bulk.id}"
    if bulk.state != "paused":
        recover(session, BULK_PAUSED, group_id=bulk.group_id, key=key, now=now)
        return
    if bulk.pause_code == BY_PERSON:
        return
    params = {"name": f"#{bulk.id}", "code": bulk.pause_code, "trade_no": bulk.pause_trade_no}
    params |= {name: told[name] for name in ("in_name_of", "cause") if name in told}
    raise_(session, BULK_PAUSED, group_id=bulk.group_id, key=key, params=params, now=now)


def order_changed(session: WorkSession, order: MoneyOrder, now: datetime) -> None:
    """A money order waits for a second person, or no more: confirmed, rejected, withdrawn or out of time."""
    key = f"order:{order.id}"
    if not order.waits_for_second:
        ended = {"ended": "confirmed" if order.confirmed_by else order.state}
        recover(session, ORDER_WAITS, group_id=order.group_id, key=key, params=ended, now=now)
        return
    names = ("trade_no", "action", "amount_minor", "currency", "reason")
    params = {name: getattr(order, name) for name in names}
    params |= {"by": order.proposed_by, "expires_at": order.expires_at.isoformat()}
    raise_(session, ORDER_WAITS, group_id=order.group_id, key=key, params=params, now=now)
