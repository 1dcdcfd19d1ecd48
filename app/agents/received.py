"""Which durable messages are known: what an agent sends again is acknowledged again and not applied."""

from datetime import datetime

from sqlalchemy.dialects import postgresql, sqlite

from agent.message import Message
from app.agents.models import ReceivedMessage
from app.unit_of_work import WorkSession


def is_first(work: WorkSession, agent_id: int, message: Message, now: datetime) -> bool:
    """Remember the message; return whether it was not known before."""
    is_sqlite = work.get_bind().dialect.name == "sqlite"
    remember = (sqlite.insert if is_sqlite else postgresql.insert)(ReceivedMessage)
    # Not the count of rows: for an insert PostgreSQL's driver does not tell it.
    done = work.connection().execute(
        remember.values(agent_id=agent_id, message_id=message.id, at=now)
        .on_conflict_do_nothing()
        .returning(ReceivedMessage.message_id)
    )
    return done.first() is not None
