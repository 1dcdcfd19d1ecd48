"""Reading anomalies: filtered lists by keyset, capped counts, histories, rows for a CSV, open counts."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, and_, false, func, literal_column, not_, or_, select
from sqlalchemy.orm import defer

from app.anomalies.models import ANOMALY_STATES, HELD_SQL, OPEN_SQL, OPEN_STATES, Anomaly, AnomalyEvent
from app.anomalies.service import GroupIds
from app.beginnings import begins_with
from app.errors import InvalidError
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of
from app.users.models import SystemGroup

TAB_STATES: Final[dict[str, tuple[str, ...]]] = {
    "executable": ("open", "waiting", "exhausted"),
    "human": ("needs_human",),
}
"""The tabs of 异常处理: 待执行, repairable by a click, and 待人工核查 (and what no plan goes on with)."""

ORDERS: Final[dict[str, Order]] = {
    "id": Order(Anomaly.id, Anomaly.id),
    # With -1 as a bound value SQLite would not know its index again (models.AMOUNT_SQL).
    "amount": Order(func.coalesce(Anomaly.amount_minor, literal_column("-1")), Anomaly.id),
    "last_seen": Order(Anomaly.last_seen_at, Anomaly.id),
}
ORDERED_BY_STATE: Final = ("amount", "last_seen")
"""Sorts whose index has the rows of one state in order, but not those of several."""
CSV_BATCH: Final = 1000
TRADE_SHOWN: Final = 50
Pairs = tuple[tuple[int, str], ...]
"""(group id, fixer code) of plans."""

NO_ID: Final = 2**62
"""Greater than any id."""


@dataclass(frozen=True)
class AnomalyFilter:
    """What a list shows; an empty field does not narrow.

    ``group_ids`` are those its reader may see, None for all; ``fixer_code`` '' is any. ``pairs`` keeps only
    anomalies whose (group id, fixer code) is among them, ``without_pairs`` those whose is not: so a caller
    that knows the plans selects by plan; in the tab ``human`` they hold for what is not with a person
    already, while ``only_pairs`` holds for all. ``seen_from`` / ``seen_to`` bound when it was first reported,
    ``changed_to`` when its state last changed; amounts are in minor units.
    ``reason`` finds those that go on with a detail after it too.
    ``is_held`` keeps those that a limit leaves to a click.
    ``ids`` are the rows ticked in a list; ``until_id`` leaves out what was reported after someone looked.
    """

    group_ids: GroupIds = None
    states: tuple[str, ...] = ()
    tab: str = ""
    fixer_code: str = ""
    kind: str = ""
    reason: str = ""
    outcome: str = ""
    trade_no: str = ""
    amount_from: int | None = None
    amount_to: int | None = None
    seen_from: datetime | None = None
    seen_to: datetime | None = None
    run_id: int | None = None
    is_held: bool = False
    ids: tuple[int, ...] = ()
    until_id: int | None = None
    pairs: Pairs | None = None
    without_pairs: Pairs | None = None
    only_pairs: Pairs | None = None
    changed_to: datetime | None = None


@dataclass(frozen=True)
class AnomalySort:
    """``by`` is a key of ORDERS."""

    by: str = "id"
    is_descending: bool = True

    def order(self) -> Order:
        """Return the keyset order. Raises InvalidError('sort')."""
        if self.by not in ORDERS:
            raise InvalidError("sort", field="sort")
        order = ORDERS[self.by]
        return Order(order.value, order.identity, self.is_descending)


NEWEST_FIRST: Final = AnomalySort()


def conditions(session: ReadSession, wanted: AnomalyFilter) -> list[ColumnElement[bool]]:
    """Return the WHERE conditions of a filter; its time range is resolved to ids first."""
    found: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        found.append(Anomaly.group_id.in_(list(wanted.group_ids)))
    for column, value in (
        (Anomaly.fixer_code, wanted.fixer_code),
        (Anomaly.kind, wanted.kind),
        (Anomaly.outcome, wanted.outcome),
    ):
        if value:
            found.append(column == value)
    if wanted.reason:
        found.append(_is_because_of(wanted.reason))
    found += _by_state(wanted) + _ranges(session, wanted)
    if wanted.run_id is not None:
        found.append(or_(Anomaly.last_run_id == wanted.run_id, Anomaly.first_run_id == wanted.run_id))
    if wanted.only_pairs is not None:
        found.append(is_among(wanted.only_pairs))
    if wanted.changed_to is not None:
        found.append(Anomaly.changed_at <= wanted.changed_to)
    if wanted.is_held:
        found.append(literal_column(HELD_SQL))
    if wanted.ids:
        found.append(Anomaly.id.in_(wanted.ids))
    if wanted.until_id is not None:
        found.append(Anomaly.id <= wanted.until_id)
    return found


def _is_because_of(reason: str) -> ColumnElement[bool]:
    """A reason is a stable word, or one and its detail (``bank: payout failed: 51``): both are meant."""
    return or_(Anomaly.reason == reason, Anomaly.reason.startswith(f"{reason}: ", autoescape=True))


def _by_state(wanted: AnomalyFilter) -> list[ColumnElement[bool]]:
    """Which states, and whether a plan goes on with it."""
    found: list[ColumnElement[bool]] = []
    if wanted.states:
        found.append(Anomaly.state.in_(wanted.states))
    if wanted.tab:
        # Said as the partial indexes have it, for the planner; every tab lies within.
        found.append(literal_column(OPEN_SQL))
        if wanted.group_ids is None:
            found.append(of_any_group())
    if wanted.tab == "executable":
        found += [Anomaly.state.in_(TAB_STATES["executable"]), Anomaly.fixer_code.is_not(None)]
    if wanted.tab == "human":
        is_with_person = Anomaly.state.in_(TAB_STATES["human"])
        by_pairs = _by_pairs(wanted)
        is_stuck = and_(Anomaly.state.in_(TAB_STATES["executable"]), *by_pairs)
        return [*found, or_(is_with_person, is_stuck) if by_pairs else is_with_person]
    return found + _by_pairs(wanted)


def _ranges(session: ReadSession, wanted: AnomalyFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.trade_no:
        found.append(begins_with(Anomaly.trade_no, wanted.trade_no.strip()))
    if wanted.amount_from is not None:
        found.append(Anomaly.amount_minor >= wanted.amount_from)
    if wanted.amount_to is not None:
        found.append(Anomaly.amount_minor <= wanted.amount_to)
    # Ids rise with first_seen_at: both are given when the row is written.
    if wanted.seen_from is not None:
        first = (
            select(Anomaly.id)
            .where(Anomaly.first_seen_at >= wanted.seen_from)
            .order_by(Anomaly.first_seen_at, Anomaly.id)
        )
        found.append(Anomaly.id >= (session.scalars(first.limit(1)).first() or NO_ID))
    if wanted.seen_to is not None:
        last = (
            select(Anomaly.id)
            .where(Anomaly.first_seen_at < wanted.seen_to)
            .order_by(Anomaly.first_seen_at.desc(), Anomaly.id.desc())
        )
        found.append(Anomaly.id <= (session.scalars(last.limit(1)).first() or 0))
    return found


def _by_pairs(wanted: AnomalyFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.pairs is not None:
        found.append(is_among(wanted.pairs))
    if wanted.without_pairs is not None:
        found.append(or_(Anomaly.fixer_code.is_(None), not_(is_among(wanted.without_pairs))))
    return found


def is_among(pairs: Pairs) -> ColumnElement[bool]:
    """Return the condition that an anomaly's (group id, fixer code) is one of ``pairs``.

    Most groups have the same plans: fixers of the same groups are told together, so that each row is held
    against few lists however many plans there are.
    """
    # A sum is in no index: else SQLite gathers and sorts all that plans are for, to show the newest of it.
    group = Anomaly.group_id + 0
    groups_of: dict[str, set[int]] = {}
    for group_id, fixer_code in pairs:
        groups_of.setdefault(fixer_code, set()).add(group_id)
    codes_of: dict[frozenset[int], list[str]] = {}
    for fixer_code, group_ids in sorted(groups_of.items()):
        codes_of.setdefault(frozenset(group_ids), []).append(fixer_code)
    alike = (
        and_(group.in_(sorted(group_ids)), Anomaly.fixer_code.in_(codes))
        for group_ids, codes in codes_of.items()
    )
    return or_(false(), *alike)


def of_any_group() -> ColumnElement[bool]:
    """Return a condition that holds always: equality on its first column leads every planner to the index of
    open anomalies, which then answers without reading a row."""
    return Anomaly.group_id.in_(select(SystemGroup.id))


def parts_of(wanted: AnomalyFilter, sort: AnomalySort) -> list[ColumnElement[bool]]:
    """Return the parts in which a filter is read in the order of ``sort`` (keyset.page_of); empty: as one.

    A filter that leaves few rows is read as one: what is left is sorted soon.
    """
    leaves_few = wanted.trade_no or wanted.run_id is not None or wanted.ids
    if sort.by not in ORDERED_BY_STATE or leaves_few:
        return []
    states = wanted.states or (OPEN_STATES if wanted.tab else ANOMALY_STATES)
    return [Anomaly.state == state for state in dict.fromkeys(states)]


def list_anomalies(
    session: ReadSession, wanted: AnomalyFilter, cut: Cut, sort: AnomalySort = NEWEST_FIRST
) -> Page[Anomaly]:
    """Return one page of a filter. Raises InvalidError (cursor, sort)."""
    order, parts = sort.order(), parts_of(wanted, sort)
    return page_of(session, Anomaly, conditions(session, wanted), order, cut, parts)


def count_anomalies(session: ReadSession, wanted: AnomalyFilter) -> CappedCount:
    """Count a filter, capped."""
    return capped_count(session, Anomaly, conditions(session, wanted))


@dataclass(frozen=True)
class OpenCount:
    """How many anomalies of a group and a fixer (None: rows that make no sense) are in a state."""

    group_id: int
    state: str
    fixer_code: str | None
    count: int


def open_counts(session: ReadSession, group_ids: GroupIds) -> list[OpenCount]:
    """Return the counts of anomalies that are not closed, by the covering index of those.

    A group, state and fixer comes once for each kind of trade: grouped as the index is, nothing is sorted.
    """
    keys = (Anomaly.group_id, Anomaly.state, Anomaly.kind, Anomaly.fixer_code)
    seen = of_any_group() if group_ids is None else Anomaly.group_id.in_(list(group_ids))
    statement = select(*keys, func.count()).where(literal_column(OPEN_SQL), seen).group_by(*keys)
    return [
        OpenCount(group_id, state, fixer_code, count)
        for group_id, state, _kind, fixer_code, count in session.execute(statement)
    ]


def by_state(counts: Iterable[OpenCount]) -> dict[str, int]:
    """Return how many of ``counts`` are in each state."""
    found: Counter[str] = Counter()
    for one in counts:
        found[one.state] += one.count
    return dict(found)


def newest_id(session: ReadSession) -> int:
    """Return the id of the anomaly reported last, 0 where there is none."""
    return session.scalars(select(func.max(Anomaly.id))).one() or 0


def list_events(
    session: ReadSession, anomaly_id: int, *, count: int, below: int | None = None
) -> list[AnomalyEvent]:
    """Return the newest ``count`` events of an anomaly, with ``below`` of those whose id is lower; the oldest
    first."""
    statement = select(AnomalyEvent).where(AnomalyEvent.anomaly_id == anomaly_id)
    if below is not None:
        statement = statement.where(AnomalyEvent.id < below)
    return list(session.scalars(statement.order_by(AnomalyEvent.id.desc()).limit(count)))[::-1]


def list_of_trade(session: ReadSession, group_id: int, trade_no: str) -> list[Anomaly]:
    """Return the newest TRADE_SHOWN anomalies a trade has had, newest first."""
    statement = (
        select(Anomaly)
        .where(Anomaly.group_id == group_id, Anomaly.trade_no == trade_no)
        .order_by(Anomaly.id.desc())
        .limit(TRADE_SHOWN)
    )
    return list(session.scalars(statement).unique())


def csv_rows(session: ReadSession, wanted: AnomalyFilter) -> Iterator[Anomaly]:
    """Yield every row of a filter, newest first, by CSV_BATCH; ``facts`` and ``after`` are not loaded."""
    where = conditions(session, wanted)
    lean = (defer(Anomaly.facts, raiseload=True), defer(Anomaly.after, raiseload=True))
    last_id: int | None = None
    while True:
        beyond = [] if last_id is None else [Anomaly.id < last_id]
        statement = select(Anomaly).where(*where, *beyond).order_by(Anomaly.id.desc()).limit(CSV_BATCH)
        batch = list(session.scalars(statement.options(*lean)).unique())
        yield from batch
        if len(batch) < CSV_BATCH:
            return
        last_id = batch[-1].id
        session.expunge_all()
