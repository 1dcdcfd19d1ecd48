"""Reading bulk repairs: the list and one with its trades by keyset, and its history."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from sqlalchemy import ColumnElement, and_, case, func, select, text

from app.anomalies.models import Anomaly
from app.anomalies.service import GroupIds
from app.audit.models import AuditEntry
from app.executions.bulk_endings import NOTHING_TO_REPAIR
from app.executions.bulk_models import AWAITED, IS_LIVE_BULK, BulkItem, BulkRepair
from app.keyset import CappedCount, Cut, Order, Page, ReadSession, capped_count, page_of

NEWEST_FIRST: Final = Order(BulkRepair.id, BulkRepair.id)
IN_THEIR_ORDER: Final = Order(BulkItem.id, BulkItem.id, is_descending=False)
ITEMS_SHOWN: Final = 25
HISTORY_SHOWN: Final = 30
HALTED: Final = ("paused", "stopped")
_IS_AWAITED: Final = and_(BulkItem.state == "failed", BulkItem.outcome.in_(AWAITED))
ENDED_ANYWAY: Final = (NOTHING_TO_REPAIR, "closed")
"""Why a trade is skipped of which nothing was left to repair."""
_IS_LEFT: Final = case((and_(BulkItem.state == "skipped", BulkItem.outcome.not_in(ENDED_ANYWAY)), 1), else_=0)
_shown_state: Final = case((_IS_AWAITED, "waiting"), else_=BulkItem.state)


@dataclass(frozen=True)
class BulkFilter:
    """What the list shows; an empty field does not narrow. ``group_ids`` None: all groups."""

    group_ids: GroupIds = None
    state: str = ""


def list_bulks(session: ReadSession, wanted: BulkFilter, cut: Cut) -> Page[BulkRepair]:
    """Return one page, newest first. Raises InvalidError('cursor')."""
    return page_of(session, BulkRepair, _conditions(wanted), NEWEST_FIRST, cut)


def count_bulks(session: ReadSession, wanted: BulkFilter) -> CappedCount:
    """Count a filter, capped."""
    return capped_count(session, BulkRepair, _conditions(wanted))


def count_live(session: ReadSession, group_ids: GroupIds) -> int:
    """Count those that run, or were stopped and have something under way; the paused are not among them."""
    return _count(session, group_ids, and_(IS_LIVE_BULK, BulkRepair.state != "paused"))


def count_paused(session: ReadSession, group_ids: GroupIds) -> int:
    """Count those that wait for a person to go on."""
    return _count(session, group_ids, BulkRepair.state == "paused")


def _count(session: ReadSession, group_ids: GroupIds, condition: ColumnElement[bool]) -> int:
    found = select(func.count()).select_from(BulkRepair).where(condition)
    if group_ids is not None:
        found = found.where(BulkRepair.group_id.in_(list(group_ids)))
    return session.execute(found).scalar_one()


def _conditions(wanted: BulkFilter) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.group_ids is not None:
        found.append(BulkRepair.group_id.in_(list(wanted.group_ids)))
    if wanted.state:
        found.append(BulkRepair.state == wanted.state)
    return found


def list_items(
    session: ReadSession, bulk_id: int, state: str, after: str | None, before: str | None
) -> Page[BulkItem]:
    """Return a page of a bulk repair's trades, in the order they are repaired; ``state`` one of SHOWN_STATES,
    '' for all.

    Raises InvalidError('cursor').
    """
    filters: list[ColumnElement[bool]] = [BulkItem.bulk_id == bulk_id]
    if state:
        filters.append(_shown_state == state)
    cut = Cut(after=after, before=before, size=ITEMS_SHOWN)
    return page_of(session, BulkItem, filters, IN_THEIR_ORDER, cut)


def trades_of(session: ReadSession, items: Sequence[BulkItem]) -> dict[int, Anomaly]:
    """Return what these are repairs of, by the anomaly's id; one query."""
    found = select(Anomaly).where(Anomaly.id.in_([item.anomaly_id for item in items]))
    return {one.id: one for one in session.scalars(found).unique()}


def stage_counts(session: ReadSession, bulk_id: int) -> dict[int, dict[str, int]]:
    """Return how many trades of each stage are in each of SHOWN_STATES; stage 0: in none yet, or skipped."""
    counted = session.execute(
        select(func.coalesce(BulkItem.stage, 0), _shown_state.label("shown"), func.count())
        .where(BulkItem.bulk_id == bulk_id)
        .group_by(BulkItem.stage, text("shown"))
    )
    found: dict[int, dict[str, int]] = {}
    for stage, state, count in counted:
        found.setdefault(stage, {})[state] = count
    return found


def waiting_counts(session: ReadSession, bulks: Sequence[BulkRepair]) -> dict[int, int]:
    """Return how many of what failed of each of these only waits for the bank, by its id; one query."""
    failed = [one.id for one in bulks if one.failed]
    if not failed:
        return {}
    counted = select(BulkItem.bulk_id, func.count()).where(BulkItem.bulk_id.in_(failed), _IS_AWAITED)
    return {row[0]: row[1] for row in session.execute(counted.group_by(BulkItem.bulk_id))}


@dataclass(frozen=True)
class Sums:
    """What a bulk repair is about, in minor units by currency, as it was chosen: ``total`` of all its trades,
    ``parts`` of those in each of SHOWN_STATES that has any, which add up to it; ``left`` trades that were
    skipped though something was to be repaired, of ``left_amounts``.
    """

    total: Counter[str] = field(default_factory=Counter)
    parts: dict[str, Counter[str]] = field(default_factory=dict)
    left: int = 0
    left_amounts: Counter[str] = field(default_factory=Counter)


def sums_of(session: ReadSession, bulks: Sequence[BulkRepair]) -> dict[int, Sums]:
    """Return the sums of each of these, by its id; one query. What nobody could read counts in none."""
    found = {one.id: Sums() for one in bulks}
    keys = (BulkItem.bulk_id, _shown_state.label("shown"), _IS_LEFT.label("is_left"), BulkItem.currency)
    sums = select(*keys, func.count(), func.sum(BulkItem.amount_minor)).where(BulkItem.bulk_id.in_(found))
    grouped = sums.group_by(BulkItem.bulk_id, text("shown"), text("is_left"), BulkItem.currency)
    for bulk_id, state, is_left, currency, count, amount in session.execute(grouped):
        one = found[bulk_id]
        # PostgreSQL sums to a Decimal.
        amounts = {currency: int(amount or 0)} if currency else {}
        one.total.update(amounts)
        one.parts.setdefault(state, Counter()).update(amounts)
        if is_left:
            one.left_amounts.update(amounts)
            found[bulk_id] = replace(one, left=one.left + count)
    return found


@dataclass(frozen=True)
class Pending:
    """What of a bulk repair has not begun: amounts as chosen, in minor units by currency, and the fixers."""

    amounts: dict[str, int]
    fixer_codes: frozenset[str]


def pending_of(session: ReadSession, bulk: BulkRepair) -> Pending:
    """Return what has not begun; one query. What nobody could read counts in no amount."""
    keys = (BulkItem.fixer_code, BulkItem.currency)
    sums = select(*keys, func.sum(BulkItem.amount_minor)).where(
        BulkItem.bulk_id == bulk.id, BulkItem.state == "pending"
    )
    amounts: Counter[str] = Counter()
    codes = set()
    for fixer_code, currency, amount in session.execute(sums.group_by(*keys)):
        codes.add(fixer_code or "")
        if currency:
            amounts[currency] += int(amount or 0)
    return Pending(dict(amounts), frozenset(codes))


def name_of_starter(session: ReadSession, bulk: BulkRepair) -> str:
    """Return who began it: who resumed it goes on in another name."""
    began = select(AuditEntry.actor_name).where(
        AuditEntry.object_type == "bulk",
        AuditEntry.object_id == str(bulk.id),
        AuditEntry.action == "bulk.start",
    )
    return session.scalars(began.limit(1)).first() or bulk.actor_name


def list_history(session: ReadSession, bulk_id: int) -> list[AuditEntry]:
    """Return what happened to a bulk repair, the newest HISTORY_SHOWN of it, newest first."""
    of_bulk = select(AuditEntry).where(AuditEntry.object_type == "bulk", AuditEntry.object_id == str(bulk_id))
    return list(session.scalars(of_bulk.order_by(AuditEntry.id.desc()).limit(HISTORY_SHOWN)))


def last_halts(session: ReadSession, bulks: Sequence[BulkRepair]) -> dict[int, AuditEntry]:
    """Return the audit's last line of who or what paused or stopped each of these, by its id; one query."""
    halted = [str(one.id) for one in bulks if one.state in HALTED]
    if not halted:
        return {}
    newest = (
        select(func.max(AuditEntry.id))
        .where(AuditEntry.object_type == "bulk", AuditEntry.object_id.in_(halted))
        .where(AuditEntry.action.in_(("bulk.pause", "bulk.stop")))
        .group_by(AuditEntry.object_id)
    )
    found = session.scalars(select(AuditEntry).where(AuditEntry.id.in_(newest)))
    return {int(entry.object_id): entry for entry in found}
