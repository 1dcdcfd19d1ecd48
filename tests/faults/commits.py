"""Commits that are lost: carried out without an answer, or not carried out; their connection is gone."""

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from functools import partial
from typing import Any, Final

from sqlalchemy import Engine

_THIS_CONNECTION: Final = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
# PostgreSQL would else answer before the connection has ended, and a COMMIT might overtake its end.
_END: Final = {"postgresql": "SELECT pg_terminate_backend({}, 10000)", "mysql": "KILL {}"}


class Fate(Enum):
    """What becomes of a commit that is lost."""

    ANSWER_LOST = "answer lost"
    NOT_CARRIED_OUT = "not carried out"


class LostCommit:
    """The commit of an agent that is lost, by its place among all that its databases are asked for."""

    def __init__(self, place: int, fate: Fate) -> None:
        self._place = place
        self._fate = fate
        self.commits = 0

    @property
    def is_lost(self) -> bool:
        """Whether it has come to that commit."""
        return self.commits >= self._place

    def commit(self, engine: Engine, connection: Any) -> None:
        """Commit as the dialect does; at the place lose it, and raise what the driver then does."""
        self.commits += 1
        carry_out = type(engine.dialect).do_commit
        if self.commits != self._place:
            carry_out(engine.dialect, connection)
        elif engine.dialect.name == "sqlite":
            self._lose_file(connection)
        else:
            self._lose_connection(engine, connection)

    def _lose_file(self, connection: Any) -> None:
        if self._fate is Fate.ANSWER_LOST:
            connection.commit()
        else:
            connection.rollback()
        raise sqlite3.OperationalError("disk I/O error")

    def _lose_connection(self, engine: Engine, connection: Any) -> None:
        cursor = connection.cursor()
        if self._fate is Fate.ANSWER_LOST:
            connection.commit()
        end_this(engine, cursor)
        if self._fate is Fate.NOT_CARRIED_OUT:
            connection.commit()
        cursor.execute("SELECT 1")
        raise AssertionError("the connection outlived its end")


def end_this(engine: Engine, cursor: Any) -> None:
    """The server ends the connection of a cursor."""
    cursor.execute(_THIS_CONNECTION[engine.dialect.name])
    _end(engine, int(cursor.fetchone()[0]))


def _end(engine: Engine, number: int) -> None:
    """The server ends a connection, as a failover does; by a connection that is none of the agent's."""
    other = engine.dialect.loaded_dbapi.connect(**_address(engine))
    try:
        other.cursor().execute(_END[engine.dialect.name].format(number))
    finally:
        other.close()


def _address(engine: Engine) -> dict[str, Any]:
    return dict(engine.dialect.create_connect_args(engine.url)[1])


@contextmanager
def losing_commit(*engines: Engine, place: int = 1, fate: Fate) -> Iterator[LostCommit]:
    """The commit at this place among all of these engines is lost; those after it go through."""
    lost = LostCommit(place, fate)
    with ExitStack() as stack:
        for engine in engines:
            vars(engine.dialect)["do_commit"] = partial(lost.commit, engine)
            stack.callback(vars(engine.dialect).pop, "do_commit")
        yield lost
