"""A report of very many rows, cut in its middle and repeated whole: what the server takes, and its memory."""

import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import psutil
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import func, select

from agent.answers import MAX_CHUNK_ROWS, AnomaliesReported, CollectFinished, ReportedTrade, Started
from agent.facts import ROW_COLUMNS, Row
from app import create_app
from app.agents.models import Agent
from app.agents.service import mark_connected, register
from app.anomalies import collecting, collections
from app.anomalies.models import Anomaly, CollectionTask
from app.audit.service import SYSTEM
from app.config import Settings
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users import groups
from bench.figures import Figure
from bench.scattered import CODES, trade_no
from bench.server import BenchError
from bench.sizes import Sizes

AMOUNT: Final = 10_000
EARLY: Final = 10
"""After a tenth of the chunks memory is weighed for the first time: whatever is loaded once is there."""


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Have half of so many rows reported, then all. Raises BenchError unless each is listed once."""
    app = _server(folder / "server")
    with app.app_context():
        task_id = _start()
        chunks = -(-sizes.listed // MAX_CHUNK_ROWS)
        began = time.perf_counter()
        _take(task_id, sizes.listed, chunks // 2)
        early = _take(task_id, sizes.listed, chunks)
        growth = _resident_megabytes() - early
        _end(task_id, sizes.listed, chunks)
        seconds = time.perf_counter() - began
        _require_listed_once(task_id, sizes.listed)
        db.session.remove()
        db.engine.dispose()
    conditions = (
        f"{sizes.listed:,} rows in chunks of {MAX_CHUNK_ROWS}, cut after half of them and repeated from the "
        "start; SQLite; by the code that the server's writer calls, in one thread, a chunk a transaction; no "
        "socket; every trade then listed once, and no other"
    )
    taken = (chunks + chunks // 2) * MAX_CHUNK_ROWS
    return [
        Figure("report", taken / seconds, "rows/s", conditions),
        Figure(
            "report's memory", max(growth, 0.0), "MB", f"more at the end than after a tenth; {conditions}"
        ),
    ]


def _server(instance: Path) -> Flask:
    instance.mkdir()
    app = create_app(Settings(instance=instance))
    with app.app_context():
        upgrade()
    return app


def _start() -> int:
    """Begin a run of one connected agent; return its task."""
    now = datetime.now(UTC)
    with unit_of_work() as session:
        group = groups.create_group(session, actor=SYSTEM, sys_code="PBAP", name="", now=now)
        agent, _ = register(session, name="bench", group_id=group.id, actor=SYSTEM, now=now)
        mark_connected(session, agent.id, "127.0.0.1", now)
        agent.fixer_codes = list(CODES)
        run = collections.start_run(
            session,
            group=group,
            codes=list(CODES),
            window=(now - timedelta(days=7), now),
            trigger="click",
            actor=SYSTEM,
            reason="",
            now=now,
        )
        return session.scalars(select(CollectionTask.id).where(CollectionTask.run_id == run.id)).one()


def _take(task_id: int, rows: int, chunks: int) -> float:
    """The agent begins anew and reports so many chunks; return the memory after a tenth of them."""
    early = 0.0
    with unit_of_work() as session:
        task = session.get_one(CollectionTask, task_id)
        started = Started(id=_id(), command_id=task.command_id)
        collecting.record_started(session, _agent_of(task), started, datetime.now(UTC))
    for number in range(chunks):
        with unit_of_work() as session:
            task = session.get_one(CollectionTask, task_id)
            first = number * MAX_CHUNK_ROWS
            chunk = AnomaliesReported(
                id=_id(),
                command_id=task.command_id,
                run_id=task.run_id,
                shard=task.shard,
                chunk=number,
                rows=tuple(_trades(first, min(first + MAX_CHUNK_ROWS, rows))),
            )
            collecting.record_anomalies(session, _agent_of(task), chunk, datetime.now(UTC))
        db.session.remove()
        if number == chunks // EARLY:
            early = _resident_megabytes()
    return early


def _end(task_id: int, rows: int, chunks: int) -> None:
    with unit_of_work() as session:
        task = session.get_one(CollectionTask, task_id)
        trailer = CollectFinished(
            id=_id(),
            command_id=task.command_id,
            run_id=task.run_id,
            shard=task.shard,
            chunks=chunks,
            rows=rows,
            amount_minor=rows * AMOUNT,
            scanned=rows,
            unverified=0,
            duration_ms=1,
        )
        collecting.record_finished(session, _agent_of(task), trailer, datetime.now(UTC))


def _require_listed_once(task_id: int, rows: int) -> None:
    task = db.session.get_one(CollectionTask, task_id)
    if (task.state, task.rows) != ("finished", rows):
        raise BenchError(f"the report is {task.state} with {task.rows} rows: {task.error}")
    listed = db.session.scalars(select(Anomaly.trade_no).order_by(Anomaly.trade_no)).all()
    if listed != sorted(trade_no(number) for number in range(rows)):
        raise BenchError(f"{len(listed)} anomalies are listed, which are not the {rows} reported")
    if db.session.scalar(select(func.max(Anomaly.times_seen))) not in (1, 2):
        raise BenchError("a trade was counted more often than it was reported")


def _trades(first: int, end: int) -> Iterator[ReportedTrade]:
    for number in range(first, end):
        row: Row = dict.fromkeys(ROW_COLUMNS)
        row |= {"TRD_ID": number, "TRD_NUM": trade_no(number), "TRD_STATUS": 8}
        yield ReportedTrade(
            trade_no=trade_no(number),
            trade_id=number,
            kind="recharge",
            bookkeeping=None,
            amount_minor=AMOUNT,
            currency="CNY",
            channel="ABC",
            row=row,
            row_hash=f"hash-{number}",
            row_changed_at=datetime.now(UTC).isoformat(),
            fixer_code=CODES[0],
            outcome="repair",
            reason="",
            facts=None,
        )


def _agent_of(task: CollectionTask) -> Agent:
    assert task.agent is not None
    return task.agent


def _resident_megabytes() -> float:
    return float(psutil.Process().memory_info().rss) / 2**20


def _id() -> str:
    return uuid.uuid4().hex
