"""Taking a chunk of reported trades into the anomalies, in one pass.

A repeated report updates facts and last-seen time, changes the fixer only while the anomaly is open or
waiting, and never resets attempts. *Ignored* holds while the row is unchanged. A trade that was closed after
the collection began is not opened again: the report is older than the repair.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import insert, select

from agent.answers import ReportedTrade
from agent.facts import ROW_COLUMNS
from app.anomalies.lost_lines import find_standing, keep_lost_numbers
from app.anomalies.models import OPEN_STATES, TERMINAL_STATES, Anomaly, AnomalyEvent, CollectionTask
from app.anomalies.reading import columns_of, id_of
from app.anomalies.states import Reached, change_state, count, tell_reached
from app.anomalies.undebited import told_by
from app.audit.service import SYSTEM
from app.columns import fitting
from app.errors import InvalidError
from app.unit_of_work import WorkSession

NUMBER_CHARACTERS: Final = 64
STATE_OF_OUTCOME = {"repair": "open", "wait": "waiting", "human": "needs_human"}
"""The state a decision of the collector puts a new anomaly into."""


@dataclass(frozen=True)
class Sighting:
    """Which run reports, and since when its task has been reading."""

    group_id: int
    run_id: int
    began_at: datetime
    now: datetime


def check_rows(trades: Iterable[ReportedTrade]) -> None:
    """Refuse a chunk that docs/protocol.md forbids, as a whole. Raises InvalidError('malformed').

    What makes no sense in a *row* is no fault of the report: such rows are what it is about.
    """
    for trade in trades:
        if trade.row and trade.row.keys() != set(ROW_COLUMNS):
            raise InvalidError("malformed", trade_no=trade.trade_no, wrong="row columns")
        told = trade.row.get("TRD_NUM", trade.trade_no)
        if ("" if told is None else str(told)).rstrip(" ") != trade.trade_no.rstrip(" "):
            raise InvalidError("malformed", trade_no=trade.trade_no, wrong="TRD_NUM")
        if trade.outcome == "repair" and trade.fixer_code is None:
            raise InvalidError("malformed", trade_no=trade.trade_no, wrong="fixer_code")
        if trade.fixer_code is not None and number_of(trade) != trade.trade_no:
            raise InvalidError("malformed", trade_no=trade.trade_no, wrong="trade_no of a repair")
        if trade.row_changed_at is not None and not _is_time(trade.row_changed_at):
            raise InvalidError("malformed", trade_no=trade.trade_no, wrong="row_changed_at")


def _is_time(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def take_rows(
    session: WorkSession, task: CollectionTask, trades: Sequence[ReportedTrade], now: datetime
) -> int:
    """Store the chunk's trades; return how many anomalies are new. A trade number counts once a chunk."""
    sighting = Sighting(task.run.group_id, task.run_id, task.started_at or task.created_at, now)
    by_number = {number_of(trade): trade for trade in trades}
    known = _open_anomalies(session, sighting.group_id, by_number)
    for number, anomaly in known.items():
        see_again(session, anomaly, by_number[number], sighting)
    unknown = {number: trade for number, trade in by_number.items() if number not in known}
    closed = _last_closed(session, sighting.group_id, unknown)
    fresh = [trade for number, trade in unknown.items() if _is_news(closed.get(number), trade, sighting)]
    _insert(session, fresh, sighting, {number: one.repaired_id for number, one in closed.items()})
    return len(fresh)


def number_of(trade: ReportedTrade) -> str:
    """Return the number an anomaly is kept under: the trade's, where a column can hold it whole.

    A row without one is told by its id, a number that does not fit by its beginning and its digest, so that
    no two of them are taken for one trade.
    """
    number = fitting(trade.trade_no, NUMBER_CHARACTERS)
    if not number.strip():
        return f"TRD_ID {id_of(trade)}"
    if number == trade.trade_no:
        return number
    digest = hashlib.sha256(trade.trade_no.encode()).hexdigest()[:16]
    return f"{number[: NUMBER_CHARACTERS - len(digest) - 1]}…{digest}"


def see_again(session: WorkSession, anomaly: Anomaly, trade: ReportedTrade, sighting: Sighting) -> None:
    """Apply a repeated report to an anomaly that is not closed."""
    if anomaly.last_run_id != sighting.run_id:
        anomaly.times_seen += 1
    anomaly.last_run_id = sighting.run_id
    anomaly.last_seen_at = sighting.now
    was = anomaly.outcome
    keeps_outcome = anomaly.state == "needs_human" and was != "human"
    standing, before = find_standing(anomaly, trade), anomaly.facts
    outcome, reason = standing or (trade.outcome, fitting(trade.reason, 200))
    for name, value in columns_of(trade).items():
        setattr(anomaly, name, value)
    if standing is not None:
        anomaly.after = None
        keep_lost_numbers(anomaly, before)
    anomaly.reason = told_by(anomaly.reason, trade.facts)
    if anomaly.state in ("open", "waiting"):
        anomaly.fixer_code = trade.fixer_code
    if keeps_outcome:
        return
    anomaly.outcome = outcome
    if anomaly.state not in ("repairing", "exhausted"):
        anomaly.reason = reason
    apply_decision(session, anomaly, outcome, reason, sighting.now)


def apply_decision(session: WorkSession, anomaly: Anomaly, outcome: str, reason: str, now: datetime) -> None:
    """Move an anomaly to the state its newest decision asks for, where that may happen without a person.

    A repair under way goes on; exhausted stays so, but for a decision that only a person can act on; what a
    person was asked to look at comes back only where the *decision* asked for them, and no money has moved.
    """
    to = STATE_OF_OUTCOME[outcome]
    if to == "open" and anomaly.unknown_since is not None:
        # A collection may have read before the attempt whose outcome nobody knows: a Verify must say it.
        to = "waiting"
    if anomaly.state == "repairing" or (anomaly.state == "exhausted" and to != "needs_human"):
        return
    if anomaly.state == "needs_human" and anomaly.has_moved_money:
        return
    change_state(session, anomaly, to, code=f"decided_{outcome}", reason=reason, actor=SYSTEM, now=now)


def _open_anomalies(session: WorkSession, group_id: int, numbers: Iterable[str]) -> dict[str, Anomaly]:
    rows = session.scalars(
        select(Anomaly).where(
            Anomaly.group_id == group_id, Anomaly.trade_no.in_(list(numbers)), Anomaly.state.in_(OPEN_STATES)
        )
    )
    return {anomaly.trade_no: anomaly for anomaly in rows.unique()}


@dataclass(frozen=True)
class _Closed:
    """How a trade's last anomaly was closed; ``repaired_id``: the last repaired one, None for none."""

    state: str
    row_hash: str
    closed_at: datetime | None
    repaired_id: int | None


def _last_closed(session: WorkSession, group_id: int, numbers: Iterable[str]) -> dict[str, _Closed]:
    rows = session.execute(
        select(Anomaly.trade_no, Anomaly.id, Anomaly.state, Anomaly.row_hash, Anomaly.closed_at)
        .where(
            Anomaly.group_id == group_id,
            Anomaly.trade_no.in_(list(numbers)),
            Anomaly.state.in_(TERMINAL_STATES),
        )
        .order_by(Anomaly.id)
    )
    closed: dict[str, _Closed] = {}
    for number, identity, state, row_hash, closed_at in rows:
        before = closed.get(number)
        repaired_id = None if before is None else before.repaired_id
        if state == "repaired":
            repaired_id = identity
        closed[number] = _Closed(state, row_hash, closed_at, repaired_id)
    return closed


def _is_news(closed: _Closed | None, trade: ReportedTrade, sighting: Sighting) -> bool:
    if closed is None:
        return True
    if closed.state == "ignored":
        return closed.row_hash != trade.row_hash
    return closed.closed_at is None or closed.closed_at < sighting.began_at


def _insert(
    session: WorkSession,
    trades: Sequence[ReportedTrade],
    sighting: Sighting,
    repaired: Mapping[str, int | None],
) -> None:
    """Store new anomalies; ``repaired`` tells by number which anomaly of
    the trade was repaired before."""
    if not trades:
        return
    rows = [_new_row(trade, sighting) for trade in trades]
    for row in rows:
        row["returned_of"] = repaired.get(row["trade_no"])
    statement = insert(Anomaly).returning(Anomaly.id, sort_by_parameter_order=True)
    identities = session.scalars(statement, rows).all()
    events = [_first_event(identity, row, sighting) for identity, row in zip(identities, rows, strict=True)]
    session.execute(insert(AnomalyEvent), events)
    amount = sum(trade.amount_minor or 0 for trade in trades)
    count(session, sighting.group_id, "new", sighting.now, by=len(trades), amount_minor=amount)
    people = [row for row in rows if row["state"] == "needs_human"]
    if people:
        amount = sum(row["amount_minor"] or 0 for row in people)
        count(session, sighting.group_id, "needs_human", sighting.now, by=len(people), amount_minor=amount)
        tell_reached(session, [_reached(row) for row in people], sighting.now)
    session.touch("anomalies", "home")


def _reached(row: dict[str, Any]) -> Reached:
    names = ("state", "group_id", "trade_no", "fixer_code", "reason", "amount_minor", "currency")
    return Reached(**{name: row[name] for name in names})


def _new_row(trade: ReportedTrade, sighting: Sighting) -> dict[str, Any]:
    state = STATE_OF_OUTCOME[trade.outcome]
    return columns_of(trade) | {
        "group_id": sighting.group_id,
        "trade_no": number_of(trade),
        "fixer_code": trade.fixer_code,
        "outcome": trade.outcome,
        "reason": fitting(trade.reason, 200),
        "state": state,
        "waiting_since": sighting.now if state == "waiting" else None,
        "first_run_id": sighting.run_id,
        "last_run_id": sighting.run_id,
        "first_seen_at": sighting.now,
        "last_seen_at": sighting.now,
        "changed_at": sighting.now,
    }


def _first_event(identity: int, row: dict[str, Any], sighting: Sighting) -> dict[str, Any]:
    return {
        "anomaly_id": identity,
        "at": sighting.now,
        "from_state": None,
        "to_state": row["state"],
        "code": "reported",
        "reason": row["reason"],
        "actor_name": SYSTEM.name,
        "command_id": None,
    }
