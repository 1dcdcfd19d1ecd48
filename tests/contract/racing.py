"""Threads that begin together, and a wait for one that a database keeps waiting."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from sqlalchemy import Engine, text

T = TypeVar("T")
PATIENCE_S = 10.0
# MariaDB renews its table of transactions only when nobody has read it for a tenth of a second.
BETWEEN_QUESTIONS_S = 0.15
_WAITING = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
}


def race(*runners: Callable[[], T]) -> list[T | Exception]:
    """Run all at once; what each returned or raised, in the order given."""
    start = threading.Barrier(len(runners))

    def run(runner: Callable[[], T]) -> T | Exception:
        start.wait(PATIENCE_S)
        try:
            return runner()
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(len(runners)) as pool:
        return list(pool.map(run, runners))


def errors_of(results: Sequence[object]) -> list[type]:
    """The kinds of the errors among results."""
    return [type(result) for result in results if isinstance(result, Exception)]


def wait_until_blocked(engine: Engine) -> None:
    """Wait until a transaction waits for a lock there; SQLite cannot be asked and is not."""
    question = _WAITING.get(engine.dialect.name)
    if question is None:
        return
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / BETWEEN_QUESTIONS_S)):
        # A connection a question: a snapshot would give the same answer for ever.
        with engine.connect() as connection:
            if connection.execute(text(question)).scalar_one():
                return
        pause.wait(BETWEEN_QUESTIONS_S)
    raise AssertionError("nothing came to wait for the lock")
