"""What stops stand now and what they hold back: read afresh each time, so that they count at once everywhere.

A stop is a row (app.agents.stops sets and lifts it) or the agent's own word, its local stop (stopped_here).
Only repairs are held back: to collect and to verify is to read, and harmless.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, exists, or_, select

from app.agents import service
from app.agents.models import IS_STANDING, Agent, Command, Stop
from app.errors import ConflictError
from app.keyset import ReadSession

_STANDING: Final = select(Stop.scope, Stop.group_id, Stop.agent_id).where(IS_STANDING)
_STOPPED_HERE: Final = select(Agent.id).where(Agent.stopped_here.is_not(None))
"""Asked again and again, so built once."""


@dataclass(frozen=True)
class Holds:
    """Whose agents are sent no repairs now."""

    is_for_all: bool
    group_ids: frozenset[int]
    agent_ids: frozenset[int]

    def holds(self, agent_id: int, group_id: int) -> bool:
        """Whether this agent is sent no repairs."""
        return self.is_for_all or group_id in self.group_ids or agent_id in self.agent_ids


@dataclass(frozen=True)
class Block:
    """Why a group's repairs cannot begin: ``scope`` all, group, agent or here (an agent's local stop).

    ``name`` is the group's code or the agent's name, ``who`` set it ('' for a local one), ``why`` the reason.
    """

    scope: str
    name: str
    who: str
    why: str

    def error(self) -> ConflictError:
        """Return what a click is refused with: stopped_all, stopped_group, stopped_agent, stopped_here."""
        return ConflictError(f"stopped_{self.scope}", name=self.name, who=self.who, why=self.why)

    def told(self) -> str:
        """Return what stands beside a command that it ends, in the stable words of app.told."""
        return f"local stop of {self.name}: {self.why}" if self.scope == "here" else told(self.who, self.why)


def told(who: str, why: str) -> str:
    """Return what stands beside a command that a stop ends."""
    return f"stopped by {who}: {why}"


def list_standing(session: ReadSession, group_ids: Sequence[int] | None = None) -> list[Stop]:
    """Return the standing stops, the widest first; ``group_ids`` those a person may see, None: all."""
    statement = (
        select(Stop).where(IS_STANDING).order_by(Stop.scope == "agent", Stop.scope == "group", Stop.id)
    )
    if group_ids is not None:
        statement = statement.where(or_(Stop.group_id.is_(None), Stop.group_id.in_(group_ids)))
    return list(session.scalars(statement))


def read_holds(session: ReadSession) -> Holds:
    """Return whom stops hold back. Two reads of small indexes."""
    rows = session.execute(_STANDING).all()
    stopped_here = session.scalars(_STOPPED_HERE)
    return Holds(
        is_for_all=any(row.scope == "all" for row in rows),
        group_ids=frozenset(row.group_id for row in rows if row.scope == "group"),
        agent_ids=frozenset((*(row.agent_id for row in rows if row.scope == "agent"), *stopped_here)),
    )


def find_block(
    session: ReadSession, group_id: int, fixer_code: str, now: datetime, *, also: Stop | None = None
) -> Block | None:
    """Return what keeps the group's repairs by this fixer from beginning, None where nothing does.

    Stops of single agents do where they hold every online agent of the group that offers the fixer. ``also``:
    a stop taken to stand too.
    """
    pair = group_id, fixer_code
    return find_blocks(session, [pair], now, also=also).get(pair)


def find_blocks(
    session: ReadSession, pairs: Iterable[tuple[int, str]], now: datetime, *, also: Stop | None = None
) -> dict[tuple[int, str], Block]:
    """Return the same of several groups and fixers, of those that something keeps from beginning."""
    stops = list_standing(session) + ([] if also is None else [also])
    by_agent = {stop.agent_id: stop for stop in stops if stop.scope == "agent"}
    online: dict[int, list[Agent]] = {}
    found: dict[tuple[int, str], Block] = {}
    for group_id, fixer_code in pairs:
        wide = _wide(stops, group_id)
        if wide is not None:
            found[group_id, fixer_code] = wide
            continue
        if group_id not in online:
            online[group_id] = service.list_online(session, group_id, now)
        able = [agent for agent in online[group_id] if fixer_code in (agent.fixer_codes or ())]
        block = _block_of_all(able, by_agent)
        if block is not None:
            found[group_id, fixer_code] = block
    return found


def find_group_block(session: ReadSession, group_id: int, now: datetime) -> Block | None:
    """Return what keeps all repairs of the group from beginning, whatever their fixer."""
    stops = list_standing(session)
    by_agent = {stop.agent_id: stop for stop in stops if stop.scope == "agent"}
    return _wide(stops, group_id) or _block_of_all(service.list_online(session, group_id, now), by_agent)


def lets_repair(agent_id: int) -> ColumnElement[bool]:
    """Return the condition of a claim for this agent: the command is no repair, or no stop holds it back.

    In the claim's own statement, so that no stop slips in between looking and sending.
    """
    holding = exists().where(
        IS_STANDING,
        or_(
            Stop.scope == "all",
            and_(Stop.scope == "group", Stop.group_id == Command.group_id),
            and_(Stop.scope == "agent", Stop.agent_id == agent_id),
        ),
    )
    return or_(Command.type != "Repair", ~holding)


def _wide(stops: Sequence[Stop], group_id: int) -> Block | None:
    wide = (one for one in stops if one.scope == "all" or (one.scope, one.group_id) == ("group", group_id))
    stop = next(wide, None)
    return None if stop is None else _block(stop)


def _block_of_all(agents: Sequence[Agent], by_agent: Mapping[int | None, Stop]) -> Block | None:
    """Return what stops the first of the agents where all of them are stopped."""
    blocks = [_block_of(agent, by_agent.get(agent.id)) for agent in agents]
    known = [block for block in blocks if block is not None]
    return known[0] if known and len(known) == len(blocks) else None


def _block_of(agent: Agent, stop: Stop | None) -> Block | None:
    if stop is not None:
        return _block(stop)
    return None if agent.stopped_here is None else Block("here", agent.name, "", agent.stopped_here)


def _block(stop: Stop) -> Block:
    return Block(stop.scope, stop.name, stop.set_by, stop.reason)
