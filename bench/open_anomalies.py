"""What a repair costs the server, and the agent, with few anomalies open and with very many."""

import time
import uuid
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Final, cast

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import insert, select

from agent.answers import RepairFinished
from agent.message import Message
from agent.protocol import Repair
from app import create_app
from app.agents.dispatcher import Dispatcher
from app.agents.hub import AgentSession, Hub
from app.agents.models import Agent
from app.agents.presence import Presence
from app.agents.service import register
from app.agents.writer import Writer
from app.anomalies.models import Anomaly
from app.audit.service import SYSTEM
from app.clock import utc_now
from app.config import Settings
from app.executions.results import record_result
from app.executions.ticking import PAGE, TickPage, attempt_tick_page
from app.extensions import db
from app.plans.models import Tick
from app.plans.product_plans import PlanValues
from app.plans.service import create_plan
from app.unit_of_work import unit_of_work
from app.users import groups
from bench.figures import Figure
from bench.scattered import CODES, Rows, trade_no
from bench.server import BenchError
from bench.sizes import Sizes

GROUP: Final = "PBAP"
FIXER: Final = CODES[0]
BATCH: Final = 50
"""Results the server's writer keeps in one transaction."""


class Ear:
    """In place of the hub: one agent that hears everything."""

    def __init__(self, session: AgentSession) -> None:
        self.heard: list[Repair] = []
        self._session = session

    def sessions(self) -> list[AgentSession]:
        return [self._session]

    def send(self, _session: AgentSession, message: Message) -> bool:
        assert isinstance(message, Repair)
        self.heard.append(message)
        return True


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Take each number of open anomalies in a database of its own, the smallest first."""
    figures: list[Figure] = []
    costs: dict[str, list[float]] = {"repair": [], "hold": []}
    _cost(folder / "unmeasured", sizes.open_anomalies[0], None)
    for count in sizes.open_anomalies:
        conditions = (
            f"{count:,} open anomalies of one plan; SQLite; one page of a tick ({min(PAGE, count)} repairs) "
            "through tick, attempts, dispatcher and results, by the code that scheduler, dispatcher and "
            f"writer call, in one thread, results {BATCH} a transaction; no socket"
        )
        for name, limit in (("repair", None), ("hold", 1)):
            costs[name].append(_cost(folder / f"{name}-{count}", count, limit))
            figures.append(
                Figure(f"server's cost a {name}, {count:,} open", costs[name][-1], "ms", conditions)
            )
    growth = "the largest number of open anomalies against the smallest, in one run"
    return figures + [
        Figure(f"server's cost a {name}, most to fewest", each[-1] / each[0], "×", growth)
        for name, each in costs.items()
    ]


def _cost(instance: Path, count: int, limit_trade_minor: int | None) -> float:
    """Return the milliseconds an anomaly took: to be repaired, or where a limit is set to be held."""
    app = _fill(instance, count, limit_trade_minor)
    with app.app_context():
        took, done = _repairs(app) if limit_trade_minor is None else _holds(count)
        db.session.remove()
        db.engine.dispose()
    return took * 1000 / done


def _fill(instance: Path, count: int, limit_trade_minor: int | None) -> Flask:
    """A server's database with a plan, an agent and so many open anomalies; or, with a limit, to be held."""
    instance.mkdir()
    app = create_app(Settings(instance=instance))
    with app.app_context():
        upgrade()
        now = datetime.now(UTC)
        with unit_of_work() as session:
            group = groups.create_group(session, actor=SYSTEM, sys_code=GROUP, name="", now=now)
            register(session, name="bench", group_id=group.id, actor=SYSTEM, now=now)
            plan = PlanValues(sys_code=GROUP, fixer_code=FIXER, limit_trade_minor=limit_trade_minor)
            create_plan(session, plan, actor=SYSTEM, now=now)
        rows = _anomalies(count, now)
        while chunk := list(islice(rows, 5_000)):
            with unit_of_work() as session:
                session.execute(insert(Anomaly), chunk)
    return app


def _anomalies(count: int, now: datetime) -> Rows:
    for number in range(1, count + 1):
        yield {
            "group_id": 1,
            "trade_no": trade_no(number),
            "trade_id": number,
            "kind": "recharge",
            "channel": "ABC",
            "amount_minor": 1_000 + number,
            "currency": "CNY",
            "fixer_code": FIXER,
            "outcome": "repair",
            "reason": "",
            "state": "open",
            "row": {"TRD_ID": number, "TRD_NUM": trade_no(number), "TRD_STATUS": 8},
            "row_hash": f"hash-{number}",
            "row_changed_at": now - timedelta(hours=1),
            "first_seen_at": now,
            "last_seen_at": now,
            "changed_at": now,
        }


def _repairs(app: Flask) -> tuple[float, int]:
    """Take one page of a tick to its last result; return the seconds and how many were repaired."""
    agent_session = AgentSession(cast(Hub, None), 1, 1, GROUP, "127.0.0.1")
    agent_session.is_ready, agent_session.fixer_codes = True, frozenset(CODES)
    ear = Ear(agent_session)
    dispatcher = Dispatcher(app, cast(Hub, ear), cast(Writer, None), Presence(), utc_now, PAGE)
    began = time.perf_counter()
    _tick_page(0)
    dispatcher.round()
    for start in range(0, len(ear.heard), BATCH):
        with unit_of_work() as session:
            agent = session.get_one(Agent, 1)
            for order in ear.heard[start : start + BATCH]:
                record_result(session, agent, _finished(order), utc_now())
    took = time.perf_counter() - began
    repaired = db.session.scalars(select(Anomaly.id).where(Anomaly.state == "repaired")).all()
    if not repaired or len(repaired) != len(ear.heard):
        raise BenchError(f"{len(repaired)} of {len(ear.heard)} repairs were recorded")
    return took, len(repaired)


def _holds(count: int) -> tuple[float, int]:
    """Have the first page of a tick held by the plan's limit; return the seconds and how many were."""
    began = time.perf_counter()
    _tick_page(0)
    took = time.perf_counter() - began
    held = db.session.scalars(select(Anomaly.id).where(Anomaly.hold_code.is_not(None))).all()
    if len(held) != min(PAGE, count):
        raise BenchError(f"{len(held)} anomalies were held")
    return took, len(held)


def _tick_page(after_id: int) -> None:
    now = datetime.now(UTC)
    with unit_of_work() as session:
        tick = Tick(subject="plan", subject_id=1, due_at=now, at=now)
        session.add(tick)
        session.flush()
        attempt_tick_page(session, TickPage(tick.id, 1, after_id), now)


def _finished(order: Repair) -> RepairFinished:
    return RepairFinished(
        id=uuid.uuid4().hex,
        command_id=order.command_id,
        trade_no=order.trade_no,
        fence=order.fence,
        outcome="repaired",
        reason="",
        is_confirmed_failed=False,
        money_moved=True,
        before=None,
        after=None,
        facts_before=None,
        facts_after=None,
        steps=(),
        row_hash="after",
        started_at=datetime.now(UTC).isoformat(),
        duration_ms=5,
    )
