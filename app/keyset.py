"""Keyset paging: a page is found by the last key of the one before it, never by an offset.

A cursor is the sort value and the id of an edge row as text; it is safe to put in a URL. Rows are found in
two steps, ids first, so that sorting never carries the wide columns.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Select, and_, func, literal, or_, select, type_coerce, union_all
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session

from app.errors import InvalidError

ReadSession = Session | scoped_session[Any]
"""What a query accepts: a page's ``db.session`` or a unit of work."""

COUNT_CAP = 10_000
MAX_INTEGER = 2**63 - 1
"""What a database keeps as a number; asked for a greater one, SQLite's driver fails."""
PAGE_SIZE = 50
UNITED = 400
"""So many queries are united in one; SQLite takes no more than 500."""

T = TypeVar("T", bound=DeclarativeBase)
Shown = TypeVar("Shown")


@dataclass(frozen=True)
class Page(Generic[Shown]):
    """Rows in display order, and the cursors of the next (``after``) and previous page, None at an end."""

    rows: list[Shown]
    after: str | None
    before: str | None


@dataclass(frozen=True)
class CappedCount:
    """How many rows match; ``is_capped`` says that there are more than ``count``."""

    count: int
    is_capped: bool

    def __str__(self) -> str:
        return f"{self.count:,}{'+' if self.is_capped else ''}"

    def plus(self, more: int) -> "CappedCount":
        """Return the count with ``more`` rows that stand beside those counted."""
        return CappedCount(self.count + more, self.is_capped)


@dataclass(frozen=True)
class Order:
    """A sort: ``value`` must never be NULL (coalesce it), ``identity`` is the unique tie-break."""

    value: Any
    identity: Any
    is_descending: bool = True


@dataclass(frozen=True)
class Cut:
    """Which page is wanted. At most one of the two cursors is set; neither: the first page."""

    after: str | None = None
    before: str | None = None
    size: int = PAGE_SIZE


def page_of(
    session: ReadSession,
    model: type[T],
    filters: Sequence[ColumnElement[bool]],
    order: Order,
    cut: Cut,
    parts: Sequence[ColumnElement[bool]] = (),
) -> Page[T]:
    """Return one page of the rows of ``model`` that pass all ``filters``. Raises InvalidError('cursor').

    ``parts`` are conditions no two of which hold for one row: only rows of some part are shown. An index that
    has each part in order, but not all together, then gives a page's worth of each, and nothing is sorted
    that is not shown. Empty: the rows are not parted.
    """
    is_backward = cut.before is not None
    found = _edges(session, filters, order, cut, is_backward, parts)
    has_more = len(found) > cut.size
    found = found[: cut.size]
    if is_backward:
        found.reverse()
    rows = _load(session, model, order, [identity for _value, identity in found])
    if not found:
        return Page(rows=[], after=None, before=None)
    has_next = has_more if not is_backward else True
    has_previous = cut.after is not None if not is_backward else has_more
    return Page(
        rows=rows,
        after=_encode(found[-1]) if has_next else None,
        before=_encode(found[0]) if has_previous else None,
    )


def capped_count(session: ReadSession, model: type[T], filters: Sequence[ColumnElement[bool]]) -> CappedCount:
    """Count matching rows, never looking at more than COUNT_CAP + 1 of them."""
    matching = select(literal(1)).select_from(model).where(*filters).limit(COUNT_CAP + 1).subquery()
    count = session.execute(select(func.count()).select_from(matching)).scalar_one()
    return CappedCount(count=min(count, COUNT_CAP), is_capped=count > COUNT_CAP)


def first_ids(
    session: ReadSession, looks: Sequence[Select[Any]], limit: int, *, is_descending: bool = True
) -> list[int]:
    """Return the first ``limit`` ids of all that ``looks`` find, in order, however many looks there are.

    Each look selects ``id``, in that order and no more than ``limit`` of them: an index that has each in
    order, but not all together, is then read for a page's worth of each.
    """
    if len(looks) == 1:
        return list(session.scalars(looks[0]))
    found: list[int] = []
    for begin in range(0, len(looks), UNITED):
        parts = [look.subquery() for look in looks[begin : begin + UNITED]]
        united = union_all(*(select(part.c.id) for part in parts)).subquery()
        order = united.c.id.desc() if is_descending else united.c.id.asc()
        found += session.scalars(select(united.c.id).order_by(order).limit(limit))
    return sorted(found, reverse=is_descending)[:limit]


def _edges(
    session: ReadSession,
    filters: Sequence[ColumnElement[bool]],
    order: Order,
    cut: Cut,
    is_backward: bool,
    parts: Sequence[ColumnElement[bool]],
) -> list[tuple[Any, int]]:
    """Return value and id of one page's rows and of one more, in the direction of the cut."""
    goes_down = order.is_descending is not is_backward
    cursor = cut.before if is_backward else cut.after
    statement: Select[Any] = select(order.value, order.identity).where(*filters).limit(cut.size + 1)
    if cursor is not None:
        statement = statement.where(_beyond(order, cursor, goes_down))
    if goes_down:
        statement = statement.order_by(order.value.desc(), order.identity.desc())
    else:
        statement = statement.order_by(order.value.asc(), order.identity.asc())
    asked = [statement.where(part) for part in parts] or [statement]
    found = [(row[0], row[1]) for one in asked for row in session.execute(one)]
    if len(asked) > 1:
        found.sort(reverse=goes_down)
    return found[: cut.size + 1]


def _beyond(order: Order, cursor: str, goes_down: bool) -> ColumnElement[bool]:
    value, identity = _decode(cursor)
    if order.value is order.identity:
        condition: ColumnElement[bool] = order.identity < identity if goes_down else order.identity > identity
        return condition
    if type(value) is not order.value.type.python_type:
        # The cursor of another order: somebody changed the sort in the URL by hand.
        raise InvalidError("cursor")
    bound = type_coerce(value, order.value.type)
    if goes_down:
        return or_(order.value < bound, and_(order.value == bound, order.identity < identity))
    return or_(order.value > bound, and_(order.value == bound, order.identity > identity))


def _load(session: ReadSession, model: type[T], order: Order, identities: list[int]) -> list[T]:
    if not identities:
        return []
    rows = session.scalars(select(model).where(order.identity.in_(identities))).unique().all()
    by_identity = {getattr(row, order.identity.key): row for row in rows}
    return [by_identity[identity] for identity in identities if identity in by_identity]


def _encode(edge: tuple[Any, int]) -> str:
    return urlsafe_b64encode(msgspec.json.encode(edge)).decode().rstrip("=")


def _decode(cursor: str) -> tuple[Any, int]:
    try:
        value, identity = msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if isinstance(value, str) and value[10:11] == "T":
            value = datetime.fromisoformat(value).astimezone(UTC)
        identity = int(identity)
    except (ValueError, TypeError, OverflowError, msgspec.DecodeError) as error:
        raise InvalidError("cursor") from error
    if any(isinstance(one, int) and abs(one) > MAX_INTEGER for one in (value, identity)):
        raise InvalidError("cursor")
    return value, identity
