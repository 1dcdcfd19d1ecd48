"""What goes on while the drill looks: progress in production and on the server, repairs taken up again."""

import json
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, MetaData, Table, func, select

from app.anomalies.models import AnomalyEvent, ReportedChunk
from app.executions.models import Attempt
from app.extensions import db
from chaos.drill.field import Field
from chaos.drill.parts import Part
from chaos.drill.terms import SYS_CODE
from sandbox.database import reading

LOOK_EVERY_S: Final = 0.03
OPEN: Final = "open"
INTENDED: Final = "intended"
MAY_STILL_COME: Final = timedelta(minutes=20)
"""So long an agent thought dead may yet send a payout or posting that it has written down; a repair whose row
was changed meanwhile is held back until then."""


@dataclass
class InHand:
    """A repair that a killed agent held: begun in production's table, unfinished in its journal.

    ``claimed`` and ``steps`` are how both stood at its death.
    """

    trade_no: str
    command_id: str
    claimed: tuple[Any, ...]
    steps: frozenset[tuple[Any, ...]]
    is_claimed_again: bool = False


@dataclass
class Resumed:
    """Seconds from the restart of a killed agent to the next claim and the next step of what it had in hand.

    ``steps`` includes the end of a repair. ``without_step``: the attempt ended with none, for the bank could
    not say or had not finished; ``taken_over``: another agent went on; ``cut_short``: killed again before.
    """

    claims: list[float] = field(default_factory=list)
    steps: list[float] = field(default_factory=list)
    without_step: int = 0
    taken_over: int = 0
    cut_short: int = 0


class Watch:
    """Looks at production's repair tables and the server's rows; changes nothing."""

    def __init__(self, at: Field) -> None:
        self._field = at
        self._engine = at.world.production(SYS_CODE).engine
        found = MetaData()
        found.reflect(self._engine, only=["piculus_repair", "piculus_repair_step"])
        self.repair: Table = found.tables["piculus_repair"]
        self.step: Table = found.tables["piculus_repair_step"]
        self.resumed = Resumed()
        self._waited_for: dict[str, tuple[Part, list[InHand]]] = {}

    # ---- progress

    def progress(self) -> tuple[Any, ...]:
        """A token that differs once anything was collected, attempted, stepped or decided."""
        steps = self.step.c
        asked = select(func.count(), func.max(steps.started_at), func.max(steps.finished_at))
        with reading(self._engine) as connection:
            stepped = tuple(connection.execute(asked).one())
        with self._field.app.app_context():
            db.session.remove()
            attempts = db.session.scalar(select(func.max(Attempt.id)))
            events = db.session.scalar(select(func.max(AnomalyEvent.id)))
            chunks = db.session.scalar(select(func.count()).select_from(ReportedChunk))
        return (*stepped, attempts, events, chunks)

    def wait_until(self, look: Callable[[], bool], seconds: float) -> bool:
        """Look again and again; return whether it came true in time. Resumes are noticed meanwhile."""
        until = time.monotonic() + seconds
        while not look():
            if time.monotonic() >= until:
                return False
            self.notice()
            time.sleep(LOOK_EVERY_S)
        return True

    def pass_time(self, seconds: float) -> None:
        """Let a drawn time go by."""
        self.wait_until(lambda: False, seconds)

    def open_repairs(self) -> set[str]:
        """The trades whose repair is under way."""
        cells = self.repair.c
        with reading(self._engine) as connection:
            return set(connection.execute(select(cells.trade_no).where(cells.state == OPEN)).scalars())

    def may_still_come(self) -> set[str]:
        """The trades under repair of which a payout or posting was written down lately and not made yet."""
        cells, steps = self.repair.c, self.step.c
        written = (
            select(cells.trade_no)
            .join(self.step, (steps.trade_no == cells.trade_no) & (steps.round == cells.round))
            .where(cells.state == OPEN, steps.moves_money == 1, steps.state == INTENDED)
            .where(steps.started_at > self._field.world.clock() - MAY_STILL_COME)
        )
        with reading(self._engine) as connection:
            return set(connection.execute(written).scalars())

    # ---- resuming

    def in_hand(self, part: Part) -> list[InHand]:
        """The repairs a killed agent has claimed and not finished."""
        unfinished = unfinished_repairs(self._field.journal(part.name))
        held = []
        with reading(self._engine) as connection:
            for trade_no, command_id in unfinished.items():
                claimed = self._claim_of(connection, trade_no)
                if claimed is not None and claimed[:2] == (OPEN, part.name):
                    steps = self._steps_of(connection, trade_no)
                    held.append(InHand(trade_no, command_id, claimed, steps))
        return held

    def expect(self, part: Part, held: list[InHand]) -> None:
        """The agent was started again: from now on its repairs are waited for."""
        self._waited_for[part.name] = (part, held)

    def give_up(self, part: Part) -> None:
        """The agent is killed again: what it has not gone on with yet tells nothing of time."""
        self.notice()
        _, held = self._waited_for.pop(part.name, (part, []))
        self.resumed.cut_short += len(held)

    def notice(self) -> None:
        """Keep how long each repair took to be gone on with."""
        for name, (part, held) in self._waited_for.items():
            if held:
                with reading(self._engine) as connection:
                    left = [one for one in held if not self._is_settled(connection, one, part)]
                self._waited_for[name] = (part, left)

    def _is_settled(self, connection: Connection, one: InHand, part: Part) -> bool:
        took = time.monotonic() - part.started_at
        claimed = self._claim_of(connection, one.trade_no)
        if claimed == one.claimed:
            return False
        if claimed is None or claimed[1] != part.name:
            self.resumed.taken_over += 1
            return True
        if not one.is_claimed_again:
            one.is_claimed_again = True
            self.resumed.claims.append(took)
        if claimed[0] != OPEN or self._steps_of(connection, one.trade_no) != one.steps:
            self.resumed.steps.append(took)
            return True
        if self._has_ended(one):
            self.resumed.without_step += 1
            return True
        return False

    def _claim_of(self, connection: Connection, trade_no: str) -> tuple[Any, ...] | None:
        cells = self.repair.c
        wanted = select(cells.state, cells.agent, cells.fence, cells.changed_at)
        row = connection.execute(wanted.where(cells.trade_no == trade_no)).first()
        return None if row is None else tuple(row)

    def _steps_of(self, connection: Connection, trade_no: str) -> frozenset[tuple[Any, ...]]:
        cells = self.step.c
        wanted = select(cells.step_key, cells.state, cells.started_at, cells.finished_at, cells.result)
        rows = connection.execute(wanted.where(cells.trade_no == trade_no)).all()
        return frozenset(tuple(row) for row in rows)

    def _has_ended(self, one: InHand) -> bool:
        """Whether the server has heard how the attempt ended."""
        with self._field.app.app_context():
            db.session.remove()
            ended = select(Attempt.outcome).where(Attempt.command_id == one.command_id)
            return db.session.scalar(ended) is not None


def unfinished_repairs(journal: Path) -> dict[str, str]:
    """Command id by trade number of the repairs in a dead agent's journal, read from a copy of it."""
    with tempfile.TemporaryDirectory(prefix="piculus-drill-journal-") as folder:
        for file in journal.parent.glob(f"{journal.name}*"):
            shutil.copy(file, folder)
        connection = sqlite3.connect(Path(folder) / journal.name)
        try:
            rows = connection.execute("SELECT frame FROM command WHERE state <> 'finished'").fetchall()
        except sqlite3.OperationalError:
            return {}  # killed before it had made its tables
        finally:
            connection.close()
    frames = (json.loads(frame) for (frame,) in rows)
    return {frame["trade_no"]: frame["command_id"] for frame in frames if frame["type"] == "Repair"}
