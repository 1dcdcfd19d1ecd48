"""Reading agents: the list by keyset, what each holds, the choices of a filter."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Text, cast, func, or_, select

from app.agents.models import IS_ENDED, IS_LIVE, Agent, Command
from app.agents.service import presence_column
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of

BY_NAME: Final = Order(Agent.name, Agent.id, is_descending=False)
RECENT_COMMANDS: Final = 20
AGENTS_OFFERED: Final = 200
CODES_TEXT: Final = cast(Agent.fixer_codes, Text)
"""The fixer codes of an agent as one JSON text: most agents have the same."""


@dataclass(frozen=True)
class AgentFilter:
    """What the list shows; an empty field does not narrow, but revoked agents only show when asked for.

    ``group_ids`` None: all groups. ``text`` is a part of the name, host or address, ``fixer_code`` of a code
    the agent offers.
    """

    group_ids: Sequence[int] | None = None
    presence: str = ""
    text: str = ""
    fixer_code: str = ""


def page_agents(session: ReadSession, wanted: AgentFilter, now: datetime, cut: Cut) -> Page[Agent]:
    """Return one page of agents by name. Raises InvalidError('cursor')."""
    return page_of(session, Agent, _conditions(wanted, now), BY_NAME, cut)


def count_agents(session: ReadSession, wanted: AgentFilter, now: datetime) -> CappedCount:
    """Count a filter, capped."""
    return capped_count(session, Agent, _conditions(wanted, now))


def _conditions(wanted: AgentFilter, now: datetime) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        found.append(Agent.group_id.in_(wanted.group_ids))
    if wanted.presence:
        found.append(presence_column(now) == wanted.presence)
    else:
        found.append(Agent.revoked_at.is_(None))
    if wanted.text:
        columns = (Agent.name, Agent.host, Agent.address)
        found.append(or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    if wanted.fixer_code:
        found.append(CODES_TEXT.icontains(json.dumps(wanted.fixer_code)[1:-1], autoescape=True))
    return found


def presence_counts(
    session: ReadSession, group_ids: Sequence[int], now: datetime
) -> dict[int, dict[str, int]]:
    """Return how many agents of each group are in each presence, revoked ones left out; none: absent."""
    presence = presence_column(now)
    statement = (
        select(Agent.group_id, presence, func.count())
        .where(Agent.group_id.in_(group_ids), Agent.revoked_at.is_(None))
        .group_by(Agent.group_id, presence)
    )
    found: dict[int, dict[str, int]] = {}
    for group_id, name, count in session.execute(statement):
        found.setdefault(group_id, {})[name] = count
    return found


def first_agents(session: ReadSession, group_id: int, now: datetime, count: int) -> list[Agent]:
    """Return the first ``count`` agents of a group, those online before the others, then by name."""
    statement = (
        select(Agent)
        .where(Agent.group_id == group_id, Agent.revoked_at.is_(None))
        .order_by((presence_column(now) == "online").desc(), Agent.name)
        .limit(count)
    )
    return list(session.scalars(statement))


def names_offering(
    session: ReadSession, group_id: int, fixer_code: str, now: datetime, count: int
) -> list[tuple[str, bool]]:
    """Return the first ``count`` online agents of a group that offer a fixer: the names, and whether each is
    stopped on its host.
    """
    statement = (
        select(Agent.name, Agent.stopped_here.is_not(None))
        .where(
            Agent.group_id == group_id,
            presence_column(now) == "online",
            CODES_TEXT.contains(json.dumps(fixer_code), autoescape=True),
        )
        .order_by(Agent.name)
        .limit(count)
    )
    return [(name, is_stopped) for name, is_stopped in session.execute(statement)]


def offer_counts(session: ReadSession, group_ids: Sequence[int], now: datetime) -> dict[tuple[int, str], int]:
    """Return how many online agents of a group offer a fixer, by (group id, code); absent: none."""
    statement = (
        select(Agent.group_id, CODES_TEXT, func.count())
        .where(Agent.group_id.in_(group_ids), presence_column(now) == "online")
        .group_by(Agent.group_id, CODES_TEXT)
    )
    found: Counter[tuple[int, str]] = Counter()
    for group_id, codes, count in session.execute(statement):
        for code in json.loads(codes):
            found[group_id, code] += count
    return dict(found)


def registered_codes(session: ReadSession, group_ids: Sequence[int] | None) -> set[str]:
    """Return the fixer codes that agents not revoked have offered; ``group_ids`` None: of all groups."""
    statement = select(CODES_TEXT).where(Agent.revoked_at.is_(None)).distinct()
    if group_ids is not None:
        statement = statement.where(Agent.group_id.in_(group_ids))
    return {code for codes in session.scalars(statement) for code in json.loads(codes)}


def agent_choices(
    session: ReadSession, group_ids: Sequence[int] | None, chosen: str = ""
) -> list[tuple[str, str]]:
    """Return (id, name) of the first AGENTS_OFFERED agents by name, and of the one of id ``chosen``."""
    statement = select(Agent.id, Agent.name).order_by(Agent.name)
    if group_ids is not None:
        statement = statement.where(Agent.group_id.in_(group_ids))
    offered = [(str(identity), name) for identity, name in session.execute(statement.limit(AGENTS_OFFERED))]
    if chosen.isdecimal() and len(chosen) < 10 and chosen not in dict(offered):
        rest = session.execute(statement.where(Agent.id == int(chosen)))
        offered += [(str(identity), name) for identity, name in rest]
    return offered


def running_counts(session: ReadSession, agent_ids: Sequence[int]) -> dict[int, int]:
    """Return how many live commands each agent holds; agents with none are absent. One query."""
    statement = (
        select(Command.agent_id, func.count())
        .where(IS_LIVE, Command.agent_id.in_(agent_ids))
        .group_by(Command.agent_id)
    )
    return {agent_id: count for agent_id, count in session.execute(statement) if agent_id is not None}


def recent_commands(session: ReadSession, agent_id: int) -> list[Command]:
    """Return the newest commands the agent holds no longer, at most RECENT_COMMANDS."""
    statement = (
        select(Command)
        .where(IS_ENDED, Command.agent_id == agent_id)
        .order_by(Command.seq.desc())
        .limit(RECENT_COMMANDS)
    )
    return list(session.scalars(statement))


def live_commands(session: ReadSession, agent_id: int) -> list[Command]:
    """Return the commands the agent holds now, oldest first."""
    statement = select(Command).where(IS_LIVE, Command.agent_id == agent_id).order_by(Command.seq)
    return list(session.scalars(statement))


def stopped_here(session: ReadSession, group_ids: Sequence[int] | None) -> list[Agent]:
    """Return the agents whose local stop stands, by name; ``group_ids`` None: of all groups."""
    statement = select(Agent).where(Agent.stopped_here.is_not(None), Agent.revoked_at.is_(None))
    if group_ids is not None:
        statement = statement.where(Agent.group_id.in_(group_ids))
    return list(session.scalars(statement.order_by(Agent.name)))
