"""Open anomalies by group, state, kind and fixer, and which of them wait for a person.

Counted over a covering index of the open ones only. ``groups`` None means every group.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final
from urllib.parse import urlencode

from sqlalchemy import func, literal_column, select

from app.anomalies.models import HELD_SQL, OPEN_SQL, OPEN_STATES, Anomaly
from app.keyset import ReadSession
from app.monitor.frames import GroupIds
from app.plans.models import Plan
from app.users.models import SystemGroup

OPEN_QUERY = urlencode([("state", state) for state in OPEN_STATES])
"""The filter of the anomalies' list that shows what is counted here."""
SHADOW: Final = "shadow"
"""In place of a plan's mode: it repairs nothing, so no click is waited for."""


@dataclass(frozen=True)
class OpenCell:
    """Open anomalies of one group, state, kind and fixer."""

    group_id: int
    state: str
    kind: str | None
    fixer_code: str | None
    count: int
    amount_minor: int


@dataclass(frozen=True)
class Share:
    """Open anomalies under one name; ``percent`` of all of them, rounded."""

    name: str
    count: int
    amount_minor: int
    percent: int = 0


@dataclass(frozen=True)
class GroupShare(Share):
    """Open anomalies of a group, those of recharges and withdrawals apart."""

    title: str = ""
    recharges: int = 0
    withdrawals: int = 0


@dataclass(frozen=True)
class OpenFigures:
    """What is open, and what of it no automatic plan goes on with.

    ``manual`` waits for a click, ``human`` is the tab 待人工核查 of 异常处理 (with a person, or without a
    plan in force), ``exhausted`` has no attempts left, ``held`` is left to a click by a limit of its plan; no
    anomaly is in two of them.
    """

    count: int
    amount_minor: int
    waiting: int
    manual: int
    human: int
    exhausted: int
    held: int
    by_group: list[GroupShare]
    by_fixer: list[Share]
    query: ClassVar[str] = OPEN_QUERY

    @property
    def for_person(self) -> int:
        """How many wait for a person."""
        return self.manual + self.human + self.exhausted + self.held


def open_cells(session: ReadSession, groups: GroupIds) -> list[OpenCell]:
    """Return the counts and amounts of open anomalies, cell by cell."""
    keys = (Anomaly.group_id, Anomaly.state, Anomaly.kind, Anomaly.fixer_code)
    amount = func.coalesce(func.sum(Anomaly.amount_minor), 0)
    statement = select(*keys, func.count(), amount).where(literal_column(OPEN_SQL)).group_by(*keys)
    # Equality on the first column leads every planner to the covering index.
    seen = Anomaly.group_id.in_(select(SystemGroup.id) if groups is None else groups)
    return [
        OpenCell(group_id, state, kind, fixer_code, count, int(amount_minor or 0))
        for group_id, state, kind, fixer_code, count, amount_minor in session.execute(statement.where(seen))
    ]


def open_figures(session: ReadSession, groups: GroupIds) -> OpenFigures:
    """Return what is open now, and what of it waits for a person."""
    cells = open_cells(session, groups)
    needs = _needs(session, cells)
    return OpenFigures(
        count=sum(cell.count for cell in cells),
        amount_minor=sum(cell.amount_minor for cell in cells),
        waiting=sum(cell.count for cell in cells if cell.state == "waiting"),
        manual=needs["manual"],
        human=needs["human"],
        exhausted=needs["exhausted"],
        held=needs["held"],
        by_group=_by_group(session, cells),
        by_fixer=_by_fixer(cells),
    )


def count_for_person(session: ReadSession, groups: GroupIds) -> int:
    """Return how many open anomalies no automatic plan goes on with."""
    return _needs(session, open_cells(session, groups)).total()


def _needs(session: ReadSession, cells: list[OpenCell]) -> Counter[str]:
    in_force = select(Plan.group_id, Plan.fixer_code, Plan.mode, Plan.is_shadow)
    plans = session.execute(in_force.where(Plan.state == "normal"))
    modes = {(group_id, code): SHADOW if is_shadow else mode for group_id, code, mode, is_shadow in plans}
    needs: Counter[str] = Counter()
    for cell in cells:
        need = _need(cell.state, modes.get((cell.group_id, cell.fixer_code or "")))
        if need is not None:
            needs[need] += cell.count
    needs["held"] = _held(session, modes, {cell.group_id for cell in cells})
    return needs


def _held(session: ReadSession, modes: Mapping[tuple[int, str], str], group_ids: Collection[int]) -> int:
    """Count what limits of automatic plans leave to a click; a manual plan's is counted as such already."""
    keys = (Anomaly.group_id, Anomaly.fixer_code)
    statement = (
        select(*keys, func.count())
        .where(literal_column(HELD_SQL), Anomaly.group_id.in_(group_ids))
        .group_by(*keys)
    )
    counts = session.execute(statement).all()
    return sum(int(count) for group_id, code, count in counts if modes.get((group_id, code or "")) == "auto")


def _need(state: str, mode: str | None) -> str | None:
    """Return what an anomaly needs of a person; ``mode`` of its plan in force or SHADOW, None without one."""
    if state == "repairing":
        return None
    if state == "needs_human" or mode is None:
        return "human"
    if state == "exhausted":
        return "exhausted"
    return "manual" if state == "open" and mode == "manual" else None


def _by_group(session: ReadSession, cells: list[OpenCell]) -> list[GroupShare]:
    by_group: dict[int, list[OpenCell]] = defaultdict(list)
    for cell in cells:
        by_group[cell.group_id].append(cell)
    names = select(SystemGroup).where(SystemGroup.id.in_(by_group)).order_by(SystemGroup.sys_code)
    total = sum(cell.count for cell in cells)
    return [
        GroupShare(
            name=group.sys_code,
            title=group.name,
            count=(count := sum(cell.count for cell in by_group[group.id])),
            amount_minor=sum(cell.amount_minor for cell in by_group[group.id]),
            percent=_percent(count, total),
            recharges=sum(cell.count for cell in by_group[group.id] if cell.kind == "recharge"),
            withdrawals=sum(cell.count for cell in by_group[group.id] if cell.kind == "withdraw"),
        )
        for group in session.scalars(names)
    ]


def _by_fixer(cells: list[OpenCell]) -> list[Share]:
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for cell in cells:
        counts[cell.fixer_code or ""][0] += cell.count
        counts[cell.fixer_code or ""][1] += cell.amount_minor
    total = sum(count for count, _amount in counts.values())
    shares = [Share(name, count, amount, _percent(count, total)) for name, (count, amount) in counts.items()]
    return sorted(shares, key=lambda share: (-share.count, share.name))


def _percent(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0
