"""One box for everything: trade numbers, executions, agents, plans, commands.

A trade number or a command id is looked up by its beginning, ``#12`` by number, agents and plans by any part.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, or_, select
from sqlalchemy.orm import InstrumentedAttribute, defer

from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly
from app.beginnings import begins_with
from app.executions.models import Execution
from app.keyset import ReadSession
from app.monitor.frames import GroupIds
from app.plans.models import Plan
from app.users.models import SystemGroup

HITS_LIMIT = 10
MAX_WORDS = 80
SHORTEST_COMMAND_ID = 4


Hit = Anomaly | Execution | Agent | Plan | Command


@dataclass(frozen=True)
class Found:
    """What was found, at most HITS_LIMIT of each; ``more`` names the kinds with further ones."""

    words: str
    anomalies: list[Anomaly]
    executions: list[Execution]
    agents: list[Agent]
    plans: list[Plan]
    commands: list[Command]
    more: frozenset[str]

    @property
    def count(self) -> int:
        """How many hits are shown."""
        return (
            len(self.anomalies)
            + len(self.executions)
            + len(self.agents)
            + len(self.plans)
            + len(self.commands)
        )

    @property
    def only_hit(self) -> Hit | None:
        """The one thing meant: the only hit, or the only anomaly of a trade number written in full."""
        if len(self.anomalies) == 1 and self.anomalies[0].trade_no == self.words:
            return self.anomalies[0]
        if self.count != 1:
            return None
        hits: list[Hit] = [
            *self.anomalies,
            *self.executions,
            *self.agents,
            *self.plans,
            *self.commands,
        ]
        return hits[0]


def search(session: ReadSession, groups: GroupIds, words: str) -> Found:
    """Return what the words match in the groups a person may see; empty words match nothing."""
    words = words.strip()[:MAX_WORDS]
    found: dict[str, list[Any]] = {}
    more = set()
    for name, statement in _statements(words, groups).items():
        rows = list(session.scalars(statement.limit(HITS_LIMIT + 1)).unique()) if words else []
        found[name] = rows[:HITS_LIMIT]
        if len(rows) > HITS_LIMIT:
            more.add(name)
    return Found(words=words, more=frozenset(more), **found)


def _statements(words: str, groups: GroupIds) -> dict[str, Select[Any]]:
    number = int(words[1:]) if words.startswith("#") and words[1:].isdecimal() and len(words) < 19 else None
    evidence = (defer(Anomaly.row), defer(Anomaly.after), defer(Anomaly.facts))
    return {
        "anomalies": select(Anomaly)
        .where(_numbered(Anomaly.id, Anomaly.trade_no, number, words), *_seen(Anomaly.group_id, groups))
        .order_by(Anomaly.trade_no, Anomaly.id.desc())
        .options(*evidence),
        "executions": select(Execution)
        .where(_numbered(Execution.id, Execution.trade_no, number, words), *_seen(Execution.group_id, groups))
        .order_by(Execution.trade_no, Execution.id.desc())
        .options(defer(Execution.before), defer(Execution.after)),
        "agents": select(Agent)
        .where(or_(*(_contains(column, words) for column in (Agent.name, Agent.host, Agent.address))))
        .where(*_seen(Agent.group_id, groups))
        .order_by(Agent.name),
        "plans": select(Plan)
        .join(SystemGroup, SystemGroup.id == Plan.group_id)
        .where(_contains(Plan.fixer_code, words) | _contains(Plan.description, words))
        .where(*_seen(Plan.group_id, groups))
        .order_by(SystemGroup.sys_code, Plan.fixer_code),
        "commands": select(Command)
        .where(_is_command(words), *_seen(Command.group_id, groups))
        .order_by(Command.seq.desc())
        .options(defer(Command.message)),
    }


def _numbered(
    identity: InstrumentedAttribute[int], trade_no: InstrumentedAttribute[str], number: int | None, words: str
) -> ColumnElement[bool]:
    return identity == number if number is not None else begins_with(trade_no, words)


def _is_command(words: str) -> ColumnElement[bool]:
    if len(words) >= SHORTEST_COMMAND_ID and set(words.lower()) <= set("0123456789abcdef"):
        by_id = Command.seq.in_(
            select(Command.seq).where(begins_with(Command.id, words.lower())).limit(HITS_LIMIT + 1)
        )
        by_trade = Command.seq.in_(
            select(Command.seq).where(begins_with(Command.trade_no, words)).limit(HITS_LIMIT + 1)
        )
        return by_id | by_trade
    return begins_with(Command.trade_no, words)


def _contains(column: InstrumentedAttribute[str], words: str) -> ColumnElement[bool]:
    return column.icontains(words, autoescape=True)


def _seen(column: InstrumentedAttribute[int], groups: GroupIds) -> list[ColumnElement[bool]]:
    return [] if groups is None else [(column + 0).in_(groups)]
