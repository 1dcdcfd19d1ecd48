"""The writer's batches against one transaction a frame, as a ratio."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import insert

from app import create_app
from app.agents.models import Frame
from app.agents.writer import Writer
from app.config import Settings
from app.extensions import db
from app.unit_of_work import unit_of_work
from bench.figures import Figure
from bench.sizes import Sizes

ONE_BY_ONE_SHARE = 10
"""So many times fewer frames are written one by one: it is that much slower."""


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Write the same rows both ways, into the same database."""
    app = create_app(Settings(instance=folder / "writer"))
    with app.app_context():
        upgrade()
        batched = _rate(sizes.written_frames, lambda rows: _through_writer(app, rows))
        single = _rate(max(1, sizes.written_frames // ONE_BY_ONE_SHARE), _one_by_one)
        db.session.remove()
        db.engine.dispose()
    conditions = (
        f"{sizes.written_frames:,} frame rows in one process, no sockets; SQLite, WAL, synchronous=FULL; "
        f"one by one: {max(1, sizes.written_frames // ONE_BY_ONE_SHARE):,} rows, each its own transaction"
    )
    return [
        Figure("frames written in batches", batched, "frames/s", conditions),
        Figure("frames written one by one", single, "frames/s", conditions),
        Figure("batches against one by one", batched / single, "times", conditions),
    ]


def _rate(count: int, write: Callable[[list[dict[str, Any]]], None]) -> float:
    rows = [_row(number) for number in range(count)]
    began = time.perf_counter()
    write(rows)
    return count / (time.perf_counter() - began)


def _through_writer(app: Flask, rows: list[dict[str, Any]]) -> None:
    writer = Writer(app)
    writer.start()
    for row in rows:
        writer.keep(row)
        writer.wait_for_room()
    writer.flush(60.0)
    writer.stop()


def _one_by_one(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        with unit_of_work() as session:
            session.execute(insert(Frame), [row])


def _row(number: int) -> dict[str, Any]:
    body = f'{{"type":"Heartbeat","id":"h-{number}","agent_time":"2026-03-02T12:00:00+00:00"}}'
    return {
        "at": datetime.now(UTC),
        "group_id": 1,
        "agent_id": 1 + number % 100,
        "direction": "in",
        "type": "Heartbeat",
        "size": len(body),
        "message_id": f"h-{number}",
        "command_id": None,
        "trade_no": None,
        "latency_ms": None,
        "body": body,
        "error": "",
    }
