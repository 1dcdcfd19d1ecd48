"""Threads that write into the journal at one moment: one transaction, and nobody is told too early."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.errors import JournalError
from agent.journal import _PUT
from agent.journal_file import JournalFile

PATIENCE = 10.0
PUT = "INSERT INTO outbox (message_id, frame) VALUES (?, x'00')"


@pytest.fixture
def file(tmp_path: Path) -> Iterator[JournalFile]:
    file = JournalFile(tmp_path / "journal.db")
    yield file
    file.close()


def put(file: JournalFile, message_id: str) -> None:
    with file.writing(_PUT) as sql:
        sql.execute(PUT, (message_id,))


def at_once(file: JournalFile, writes: list[Callable[[], None]]) -> list[JournalError | None]:
    """Let every write stand at the lock before the first may go on; return what each raised, in order."""
    raised: list[JournalError | None] = [None] * len(writes)

    def run(place: int) -> None:
        try:
            writes[place]()
        except JournalError as error:
            raised[place] = error

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(writes))]
    with file.lock:
        for thread in threads:
            thread.start()
        ready = threading.Event()
        while file._arriving < len(writes):
            ready.wait(0.001)
    for thread in threads:
        thread.join(PATIENCE)
    return raised


def commits_of(file: JournalFile) -> list[str]:
    """The commits from now on."""
    seen: list[str] = []
    file.connection.set_trace_callback(lambda text: seen.append(text) if text.startswith("COMMIT") else None)
    return seen


def stored(file: JournalFile) -> set[str]:
    return {row[0] for row in file.rows("SELECT message_id FROM outbox")}


def test_writes_that_meet_are_committed_together(file: JournalFile) -> None:
    commits = commits_of(file)
    names = [f"m{number}" for number in range(5)]
    raised = at_once(file, [lambda name=name: put(file, name) for name in names])  # type: ignore[misc]
    assert raised == [None] * 5
    assert len(commits) == 1
    assert stored(file) == set(names)


def test_a_write_alone_waits_for_nobody(file: JournalFile) -> None:
    commits = commits_of(file)
    put(file, "m1")
    put(file, "m2")
    assert len(commits) == 2


def test_one_that_fails_takes_nothing_of_the_others_with_it(file: JournalFile) -> None:
    put(file, "taken")
    writes = [lambda: put(file, "m1"), lambda: put(file, "taken"), lambda: put(file, "m2")]
    raised = at_once(file, writes)
    assert [type(error) for error in raised] == [type(None), JournalError, type(None)]
    assert stored(file) == {"taken", "m1", "m2"}


def test_a_commit_that_fails_is_told_to_all_who_wrote(file: JournalFile) -> None:
    def refuse(action: int, name: str | None, *_: object) -> int:
        is_commit = action == sqlite3.SQLITE_TRANSACTION and name == "COMMIT"
        return sqlite3.SQLITE_DENY if is_commit else sqlite3.SQLITE_OK

    file.connection.set_authorizer(refuse)
    raised = at_once(file, [lambda: put(file, "m1"), lambda: put(file, "m2")])
    assert [type(error) for error in raised] == [JournalError, JournalError]
    file.connection.set_authorizer(None)
    assert stored(file) == set()
    put(file, "m3")
    assert stored(file) == {"m3"}


def test_a_full_disk_is_told_to_all_who_wrote(file: JournalFile) -> None:
    file.connection.execute("PRAGMA max_page_count = 1")
    big = "INSERT INTO outbox (message_id, frame) VALUES (?, zeroblob(1000000))"

    def write(message_id: str) -> None:
        with file.writing(_PUT) as sql:
            sql.execute(big, (message_id,))

    raised = at_once(file, [lambda: write("m1"), lambda: write("m2")])
    assert [type(error) for error in raised] == [JournalError, JournalError]
    assert stored(file) == set()


def test_nobody_reads_what_is_not_on_the_disk(file: JournalFile) -> None:
    commits = commits_of(file)
    seen: list[int] = []

    def look() -> None:
        file.rows("SELECT 1")
        seen.append(len(commits))

    with file.lock:
        file._begin()
        assert file._batch is not None
        file.connection.execute(PUT, ("m1",))
        file._batch.size = 1
        look()
    assert seen == [1]
    assert stored(file) == {"m1"}


def test_a_write_that_nobody_commits_commits_itself(file: JournalFile) -> None:
    file._arriving += 1  # someone who never comes
    put(file, "m1")
    assert file._batch is None
    assert stored(file) == {"m1"}
