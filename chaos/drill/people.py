"""The person of a drill: resets what has tripped, as its page asks, so that plans go on by themselves."""

from datetime import UTC, datetime
from typing import Final

from sqlalchemy import func, select

from app.audit.service import Actor
from app.extensions import db
from app.guards.breakers import list_tripped, reset
from app.guards.models import Breaker
from app.unit_of_work import unit_of_work

PERSON: Final = Actor(id=None, name="drill")
REASON: Final = "looked at: the bank does not answer"


def reset_tripped() -> None:
    """Reset every breaker that stands. Needs an application context."""
    with unit_of_work() as session:
        for breaker in list_tripped(session, None):
            reset(session, breaker.id, reason=REASON, actor=PERSON, group_ids=None, now=datetime.now(UTC))


def count_tripped() -> int:
    """How often a breaker has tripped. Needs an application context."""
    return db.session.scalar(select(func.count()).select_from(Breaker)) or 0
