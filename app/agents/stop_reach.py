"""What a stop would reach if it were set now: told before it is confirmed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from app.agents.models import IS_LIVE, Command, Stop
from app.agents.standing import find_block
from app.agents.stops import Target, stop_of
from app.keyset import ReadSession


@dataclass(frozen=True)
class Reach:
    """``pending`` repairs would be withdrawn; ``held`` are with agents: these stop before their first money
    step, or end cleanly where money has moved. ``left`` are pending too, and other agents take them."""

    pending: int
    held: int
    left: int


def read_reach(session: ReadSession, target: Target, group_ids: Sequence[int] | None, now: datetime) -> Reach:
    """Return what a stop of ``target`` would reach. ``group_ids``: those the person may see, None: all.

    Raises NotFoundError (group, agent), ForbiddenError('stop_all'), as stops.set_stop.
    """
    stop = stop_of(session, target, group_ids)
    repairs: list[ColumnElement[bool]] = [IS_LIVE, Command.type == "Repair"]
    if stop.group_id is not None:
        repairs.append(Command.group_id == stop.group_id)
    kinds = (
        select(Command.group_id, Command.fixer_code, func.count())
        .where(*repairs, Command.state == "pending")
        .group_by(Command.group_id, Command.fixer_code)
    )
    pending = left = 0
    for group_id, fixer_code, count in session.execute(kinds):
        if find_block(session, group_id, fixer_code or "", now, also=stop) is None:
            left += count
        else:
            pending += count
    return Reach(pending, _held(session, stop, repairs), left)


def _held(session: ReadSession, stop: Stop, repairs: list[ColumnElement[bool]]) -> int:
    holding = [*repairs, Command.state != "pending"]
    if stop.agent_id is not None:
        holding.append(Command.agent_id == stop.agent_id)
    return session.scalars(select(func.count()).select_from(Command).where(*holding)).one()
