"""Moments at which a trouble does the most harm: watched for in the databases while a schedule is rough."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, select

from app.agents.models import Command
from app.extensions import db
from chaos.simulation.workshop import GROUP

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

LOOKS: Final = 400
BETWEEN_LOOKS: Final = 0.05
BETWEEN_LOOKS_AT_COMMANDS: Final = 0.01


def wait_for_repair(schedule: "Schedule", of_step: str = "") -> str:
    """Wait a little for a repair that has begun a step; return its trade, '' where none came."""
    begun = f"""
        SELECT repair.trade_no FROM piculus_repair AS repair
        JOIN piculus_repair_step AS step ON step.trade_no = repair.trade_no
        WHERE repair.state = 'open' {of_step}"""
    with closing(_production(schedule)) as production:
        for _ in range(LOOKS):
            found = production.execute(begun).fetchall()
            if found or not schedule.is_rough:
                return str(found[0][0]) if found else ""
            schedule.loom.sleep(BETWEEN_LOOKS)
    return ""


def wait_long_for_repair(schedule: "Schedule", of_step: str = "") -> str:
    """As ``wait_for_repair``, for as long as the schedule is rough."""
    while not (trade_no := wait_for_repair(schedule, of_step)):
        if not schedule.is_rough:
            return ""
    return trade_no


def open_repairs(schedule: "Schedule") -> set[str]:
    """The trades whose repair is claimed and not over, whether or not it has begun a step."""
    with closing(_production(schedule)) as production:
        found = production.execute("SELECT trade_no FROM piculus_repair WHERE state = 'open'").fetchall()
    return {str(trade_no) for (trade_no,) in found}


def holder_of(schedule: "Schedule", trade_no: str) -> str:
    """Return the name of the agent that holds the repair of a trade, '' where none does."""
    held = "SELECT agent FROM piculus_repair WHERE trade_no = ?"
    with closing(_production(schedule)) as production:
        found = production.execute(held, (trade_no,)).fetchall()
    return str(found[0][0]) if found else ""


def _production(schedule: "Schedule") -> sqlite3.Connection:
    """A connection to look with, whose every statement is read to its end: a lock would stop the schedule."""
    return sqlite3.connect(schedule.world.production(GROUP).engine.url.database or "")


def at_command(schedule: "Schedule", is_wanted: ColumnElement[bool], act: Callable[[], None]) -> None:
    """Do something, once, as soon as an agent has taken such a command."""
    held = select(Command.id).where(Command.state.in_(("accepted", "running")), is_wanted)
    is_held = False
    while not is_held and schedule.is_rough:
        with schedule.workshop.apps[0].app_context():
            is_held = db.session.scalars(held).first() is not None
            db.session.remove()
        if is_held:
            act()
        schedule.loom.sleep(BETWEEN_LOOKS_AT_COMMANDS)
