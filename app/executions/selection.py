"""Many anomalies at once: what a click on them would send, and which of them can be attempted."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, case, exists, func, or_, select

from app.agents.models import LIVE, Command
from app.agents.standing import find_blocks
from app.agents.stops import has_work
from app.anomalies.models import Anomaly
from app.anomalies.queries import AnomalyFilter, conditions
from app.anomalies.states import Hold
from app.executions.bulk_models import GOING_ON, BulkItem, BulkRepair
from app.executions.models import Attempt
from app.executions.order_guard import ORDER_STANDS, find_holds, may_be_held
from app.executions.order_models import LIVE_STATES, MoneyOrder
from app.executions.service import CLICKABLE_STATES, refusal
from app.guards.limits import Asked
from app.guards.verdicts import Candidate
from app.keyset import ReadSession
from app.plans.models import Plan
from app.plans.queries import list_plans
from app.users.models import SystemGroup

PAGE: Final = 500


@dataclass(frozen=True)
class PlanShare:
    """What of a selection goes by one plan; ``amounts`` of its trades in minor units, by currency.

    ``unreadable``: of how many nobody can tell how much they move (app.guards.limits.Asked).
    """

    plan: Plan
    count: int
    amounts: Mapping[str, int]
    unreadable: int = 0


@dataclass(frozen=True)
class Skip:
    """How many of a selection are left out, and why: a code of refusal, trade_busy, or stopped_…."""

    code: str
    count: int


@dataclass(frozen=True)
class Preview:
    """What a click on the whole selection would send; ``in_bulks`` of it are in bulk repairs that have not
    begun them. ``newest_bulk``, ``newest_attempt``: the id of the newest bulk repair, and attempt, by then, 0
    for none.
    """

    by_plan: tuple[PlanShare, ...]
    skipped: tuple[Skip, ...]
    in_bulks: int = 0
    newest_bulk: int = 0
    newest_attempt: int = 0

    @property
    def count(self) -> int:
        """How many repairs would be sent."""
        return sum(share.count for share in self.by_plan)

    @property
    def amounts(self) -> Mapping[str, int]:
        """The amounts of their trades in minor units, by currency."""
        total: Counter[str] = Counter()
        for share in self.by_plan:
            total.update(share.amounts)
        return total


@dataclass(frozen=True)
class Chosen:
    """One trade of a selection that can be attempted; ``is_waiting``: for the bank, when last read.

    ``hold_code``, ``hold_terms``: the limit that holds it, if any, and against what (app.guards.verdicts).
    """

    anomaly_id: int
    trade_no: str
    group_id: int
    fixer_code: str
    amount_minor: int | None
    is_waiting: bool = False
    currency: str = "CNY"
    has_moved_money: bool = False
    hold_code: str | None = None
    hold_terms: str | None = None

    @property
    def candidate(self) -> Candidate:
        """The same as a repair that would be begun; its hold without figures."""
        hold = None if self.hold_code is None else Hold(self.hold_code, {}, self.hold_terms or "")
        return Candidate(Asked(self.anomaly_id, self.amount_minor, self.currency), hold)


class _Held(NamedTuple):
    """Trades alike in group, fixer, state and currency that no repair may attempt, for one code."""

    code: str
    trades: int = 0
    total: int = 0
    unreadable: int = 0


@dataclass(frozen=True)
class Choice:
    """What of a selection is taken. ``is_all`` is false where the limit left some out."""

    chosen: tuple[Chosen, ...]
    skipped: int
    is_all: bool


def preview(session: ReadSession, wanted: AnomalyFilter, now: datetime) -> Preview:
    """Count a selection by plan, and what would be skipped or taken from a bulk repair; it loads none."""
    # First, so that one that begins in between was not there yet.
    newest = session.scalar(select(func.max(BulkRepair.id))) or 0
    attempt = session.scalar(select(func.max(Attempt.id))) or 0
    found = replace(share_out(session, wanted, now), newest_bulk=newest, newest_attempt=attempt)
    return replace(found, in_bulks=_count_in_bulks(session, wanted)) if found.by_plan else found


def share_out(session: ReadSession, wanted: AnomalyFilter, now: datetime) -> Preview:
    """Count a selection by plan, and what would be skipped, but no more; it loads only what people may have
    ordered of, or would have to.
    """
    busy_code = _busy_code()
    keys = (Anomaly.group_id, Anomaly.fixer_code, Anomaly.state, busy_code, Anomaly.currency)
    statement = (
        select(*keys, func.count(), func.sum(Anomaly.amount_minor), func.count(_unreadable()))
        .where(*conditions(session, wanted))
        .group_by(*keys)
    )
    plans, enabled = _plans(session), _enabled_groups(session)
    stopped = _stopped(session, plans.values(), now)
    held = _held(session, wanted)
    shares: dict[int, PlanShare] = {}
    skipped: Counter[str] = Counter()
    for group_id, fixer_code, state, busy, currency, count, total, unreadable in session.execute(statement):
        plan = plans.get((group_id, fixer_code or ""))
        code = refusal(state, fixer_code, plan, group_id in enabled) or (busy or None)
        if code is None and plan is not None:
            code = stopped.get(plan.id)
        if code is not None or plan is None:
            skipped[code or "no_plan"] += count
            continue
        # PostgreSQL sums to a Decimal.
        left, amount = count, int(total or 0)
        for one in held.get((group_id, fixer_code, state, currency), ()):
            skipped[one.code] += one.trades
            left, amount, unreadable = left - one.trades, amount - one.total, unreadable - one.unreadable
        if left < 1:
            continue
        share = shares.get(plan.id, PlanShare(plan, 0, {}))
        amounts = {**share.amounts, currency: share.amounts.get(currency, 0) + amount}
        shares[plan.id] = PlanShare(plan, share.count + left, amounts, share.unreadable + unreadable)
    return Preview(
        by_plan=tuple(shares.values()),
        skipped=tuple(Skip(code, count) for code, count in sorted(skipped.items())),
    )


def _held(session: ReadSession, wanted: AnomalyFilter) -> dict[tuple[int, str | None, str, str], list[_Held]]:
    """Return what of a selection only an order of people moves and nothing else keeps busy, by all but busy
    of what share_out groups by.
    """
    found: dict[tuple[int, str | None, str, str], dict[str, _Held]] = {}
    last_id = 0
    while True:
        page = _page_of_held(session, conditions(session, wanted), last_id)
        for one, code in _codes_of_held(session, page):
            key = (one.group_id, one.fixer_code, one.state, one.currency)
            _code, trades, total, unreadable = found.setdefault(key, {}).get(code, _Held(code))
            asked = Asked(one.id, one.amount_minor, one.currency)
            found[key][code] = _Held(
                code, trades + 1, total + (one.amount_minor or 0), unreadable + (not asked.is_readable)
            )
        if len(page) < PAGE:
            return {key: list(by_code.values()) for key, by_code in found.items()}
        last_id = page[-1].id


def _page_of_held(
    session: ReadSession, among: Iterable[ColumnElement[bool]], last_id: int = 0
) -> Sequence[Anomaly]:
    """Return PAGE anomalies at most that may be held, but for those that are busy as it is."""
    statement = (
        select(Anomaly)
        .where(*among, Anomaly.id > last_id, Anomaly.state.in_(CLICKABLE_STATES))
        .where(may_be_held(), _busy_code() == "")
        .order_by(Anomaly.id)
        .limit(PAGE)
    )
    return session.scalars(statement).unique().all()


def _codes_of_held(session: ReadSession, page: Sequence[Anomaly]) -> list[tuple[Anomaly, str]]:
    """Return those that no repair by a person may attempt, each with its code (order_guard)."""
    holds = find_holds(session, page, by_person=True)
    return [(one, holds[one.id]) for one in page if one.id in holds]


def _unreadable() -> ColumnElement[int]:
    """1 where nobody can tell how much a trade moves (app.guards.limits.Asked), else NULL."""
    amount, currency = Anomaly.amount_minor, Anomaly.currency
    return case((or_(amount.is_(None), amount < 0, currency == ""), 1))


def _count_in_bulks(session: ReadSession, wanted: AnomalyFilter) -> int:
    """Return how many trades of a selection are in bulk repairs that may yet begin them."""
    counted = (
        select(func.count(BulkItem.anomaly_id.distinct()))
        .join(BulkRepair, BulkRepair.id == BulkItem.bulk_id)
        .where(BulkItem.state == "pending", BulkRepair.state.in_(GOING_ON))
        .where(BulkItem.anomaly_id.in_(select(Anomaly.id).where(*conditions(session, wanted))))
    )
    return session.execute(counted).scalar_one()


def is_in_bulk_since(session: ReadSession, wanted: AnomalyFilter, bulk_id: int) -> bool:
    """Return whether any trade of a selection is in a bulk repair newer than that one."""
    selected = select(Anomaly.id).where(*conditions(session, wanted))
    newer = exists().where(BulkItem.bulk_id > bulk_id, BulkItem.anomaly_id.in_(selected))
    return bool(session.scalar(select(newer)))


def is_attempted_since(session: ReadSession, anomaly_id: int, attempt_id: int) -> bool:
    """Return whether an anomaly has an attempt newer than that one."""
    newer = exists().where(Attempt.anomaly_id == anomaly_id, Attempt.id > attempt_id)
    return bool(session.scalar(select(newer)))


def choose(session: ReadSession, wanted: AnomalyFilter, limit: int, now: datetime) -> Choice:
    """Return what of a selection can be attempted, ``limit`` trades of it at most, without loading it but as
    share_out does.
    """
    busy_code, plans, enabled = _busy_code(), _plans(session), _enabled_groups(session)
    stopped = _stopped(session, plans.values(), now)
    chosen: list[Chosen] = []
    skipped, last_id = 0, 0
    while True:
        page = session.execute(
            select(
                Anomaly.id,
                Anomaly.trade_no,
                Anomaly.group_id,
                Anomaly.fixer_code,
                Anomaly.amount_minor,
                Anomaly.currency,
                Anomaly.state,
                Anomaly.has_moved_money,
                Anomaly.hold_code,
                Anomaly.hold_terms,
                busy_code,
            )
            .where(*conditions(session, wanted), Anomaly.id > last_id)
            .order_by(Anomaly.id)
            .limit(PAGE)
        ).all()
        among = [Anomaly.id.in_([row[0] for row in page])]
        ordered = {one.id for one, _code in _codes_of_held(session, _page_of_held(session, among))}
        for identity, trade_no, group_id, fixer_code, amount, currency, state, *held, busy in page:
            if len(chosen) == limit:
                return Choice(tuple(chosen), skipped, is_all=False)
            plan = plans.get((group_id, fixer_code or ""))
            code = refusal(state, fixer_code, plan, group_id in enabled)
            if busy or code is not None or plan is None or plan.id in stopped or identity in ordered:
                skipped += 1
            else:
                is_waiting = state == "waiting"
                one = Chosen(
                    identity, trade_no, group_id, plan.fixer_code, amount, is_waiting, currency, *held
                )
                chosen.append(one)
        if len(page) < PAGE:
            return Choice(tuple(chosen), skipped, is_all=True)
        last_id = page[-1][0]


def _busy_code() -> ColumnElement[str]:
    """Why a trade is left alone: a live command, an order of people; empty for neither."""
    has_command = exists().where(
        Command.group_id == Anomaly.group_id,
        Command.trade_no == Anomaly.trade_no,
        Command.state.in_(LIVE),
    )
    has_order = exists().where(MoneyOrder.anomaly_id == Anomaly.id, MoneyOrder.state.in_(LIVE_STATES))
    return case((has_command, "trade_busy"), (has_order, ORDER_STANDS), else_="")


def _plans(session: ReadSession) -> dict[tuple[int, str], Plan]:
    return {(plan.group_id, plan.fixer_code): plan for plan in list_plans(session, None)}


def _stopped(session: ReadSession, plans: Iterable[Plan], now: datetime) -> dict[int, str]:
    """Return the code of what stops a plan's repairs, by plan id; absent: nothing does."""
    if not has_work(session):
        return {}
    by_pair = {(plan.group_id, plan.fixer_code): plan.id for plan in plans}
    blocks = find_blocks(session, by_pair, now)
    return {by_pair[pair]: f"stopped_{block.scope}" for pair, block in blocks.items()}


def _enabled_groups(session: ReadSession) -> set[int]:
    return set(session.scalars(select(SystemGroup.id).where(SystemGroup.is_enabled)))
