"""A word of money that comes when nobody counts on it any more: a person must learn of it.

After its anomaly was closed: that stays closed, and the trade stands in 待人工 again, as one of its own.
While a newer repair is under way: that is left to end, and the trade stands in 待人工 then. It does so, with
the alert of any other, until a person has had it verified, said that it was settled outside, or closed it.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import func, select

from agent.answers import RepairFinished
from app.anomalies.models import TERMINAL_STATES, Anomaly, AnomalyEvent
from app.anomalies.service import LATE_MONEY, MONEY_AFTER_CLOSE, find_open
from app.anomalies.states import change_state, note, note_first
from app.audit.service import SYSTEM
from app.executions import moved_money
from app.executions.models import Attempt
from app.unit_of_work import WorkSession

DECISION: Final = "repair"
"""The decision kept beside it: nothing read afterwards takes it from the person, as ``human`` would allow."""
KEPT: Final = (
    "group_id",
    "trade_no",
    "trade_id",
    "kind",
    "bookkeeping",
    "channel",
    "amount_minor",
    "currency",
    "fixer_code",
    "row",
    "facts",
    "row_hash",
    "row_changed_at",
)


def is_news(anomaly: Anomaly) -> bool:
    """Return whether nobody counts on this money: for what our own repair moved, *repaired* accounts.

    Ask before the word is noted on the anomaly.
    """
    return anomaly.state in TERMINAL_STATES and not (anomaly.state == "repaired" and anomaly.has_moved_money)


def tell(session: WorkSession, closed: Anomaly, message: RepairFinished, now: datetime) -> Anomaly:
    """Bring the trade of a closed anomaly to a person; return the anomaly that stands for it now.

    Where the trade has been reported anew, that one goes to the person; a repair of it that is under way has
    read production's own table and is left to end first, with the word in its history (find_told).
    """
    code, command_id = MONEY_AFTER_CLOSE, message.command_id
    anomaly = find_open(session, closed.group_id, closed.trade_no) or _open_anew(
        session, closed, now, command_id
    )
    moved_money.note(session, anomaly, now, command_id)
    if anomaly.state in ("repairing", "needs_human"):
        note(session, anomaly, code=code, reason=code, actor=SYSTEM, now=now, command_id=command_id)
        return anomaly
    hand_over(session, anomaly, code, now, command_id)
    return anomaly


def is_news_to_newer(anomaly: Anomaly, attempt: Attempt) -> bool:
    """Return whether a newer attempt is under way that was begun without knowing of money.

    Ask before the word is noted on the anomaly.
    """
    is_newer_running = anomaly.state == "repairing" and attempt.number != anomaly.attempts
    return is_newer_running and not anomaly.has_moved_money


def find_told(session: WorkSession, anomaly: Anomaly, attempt: Attempt, *, moved_money: bool) -> str | None:
    """Return the code of the word of money that came since an attempt began, None where none did.

    By the order of the trade's history, for the clocks of servers differ and may be set back.
    ``moved_money``: the attempt has moved some, or gone on from one that had; what an earlier one moved it
    accounts for, but not for what was thought settled when the trade was closed.
    """
    codes = (MONEY_AFTER_CLOSE,) if moved_money else LATE_MONEY
    of_trade = AnomalyEvent.anomaly_id == anomaly.id
    begun = select(func.min(AnomalyEvent.id)).where(of_trade, AnomalyEvent.command_id == attempt.command_id)
    told = select(AnomalyEvent.code).where(
        of_trade, AnomalyEvent.code.in_(codes), AnomalyEvent.id > begun.scalar_subquery()
    )
    return session.scalars(told.limit(1)).first()


def hand_over(
    session: WorkSession, anomaly: Anomaly, code: str, now: datetime, command_id: str | None
) -> None:
    """Give the trade to a person for a word of money; one that is there stays as it is."""
    anomaly.outcome, anomaly.reason = DECISION, code
    change_state(
        session,
        anomaly,
        "needs_human",
        code=code,
        reason=code,
        actor=SYSTEM,
        now=now,
        command_id=command_id,
    )


def _open_anew(session: WorkSession, closed: Anomaly, now: datetime, command_id: str | None) -> Anomaly:
    anomaly = Anomaly(
        **{name: getattr(closed, name) for name in KEPT},
        state="open",
        outcome=DECISION,
        reason=MONEY_AFTER_CLOSE,
        first_seen_at=now,
        last_seen_at=now,
        changed_at=now,
    )
    session.add(anomaly)
    session.flush()
    note_first(
        session,
        anomaly,
        code=MONEY_AFTER_CLOSE,
        reason=MONEY_AFTER_CLOSE,
        actor=SYSTEM,
        now=now,
        command_id=command_id,
    )
    return anomaly
