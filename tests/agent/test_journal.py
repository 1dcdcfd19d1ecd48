"""The journal keeps what was received and what is unsent, through restarts, and says when it cannot."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from agent.answers import Cancelled
from agent.errors import JournalError, ProtocolError
from agent.journal import Journal
from agent.journal_file import _FLUSH, JournalFile
from agent.protocol import MAX_FRAME_BYTES, Collect, Log, Repair, Verify, decode_to_agent, encode

SPAN = _FLUSH
"""The journal's own: one declared here would count as a point of the program in every other test."""


class Seconds:
    """A clock in seconds that only moves when told."""

    def __init__(self) -> None:
        self.at = 1_000_000.0

    def __call__(self) -> float:
        return self.at


def repair(number: int = 1, fence: int = 1) -> Repair:
    return Repair(
        id=f"frame-{number}-{fence}",
        command_id=f"command-{number}",
        trade_no=f"T{number:08}",
        fixer_code="interRecharge",
        row_hash="h",
        fence=fence,
        deadline_ms=60_000,
    )


def result(number: int = 1) -> Cancelled:
    return Cancelled(id=f"result-{number}", command_id=f"command-{number}", reason="test")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path)
    yield journal
    journal.close()


def test_a_number_no_column_holds_is_refused_and_spoils_nothing(journal: Journal) -> None:
    with pytest.raises(JournalError, match="too large"):
        journal.receive(repair(1, fence=2**70), "boot-1")
    journal.receive(repair(2), "boot-1")
    assert [entry.command for entry in journal.unfinished()] == [repair(2)]


def test_a_command_too_large_when_written_out_is_refused_and_spoils_nothing(journal: Journal) -> None:
    fields = '"id":"f","trade_no":"' + "x" * (MAX_FRAME_BYTES - 60) + '"'
    command = decode_to_agent(f'{{"type":"Verify",{fields}}}')
    assert isinstance(command, Verify)
    with pytest.raises(JournalError, match="cannot keep"):
        journal.receive(command, "boot-1")
    journal.receive(repair(2), "boot-1")
    assert [entry.command for entry in journal.unfinished()] == [repair(2)]


def test_what_a_block_raises_ends_its_transaction(tmp_path: Path) -> None:
    file = JournalFile(tmp_path / "journal.db")
    with suppress(RuntimeError), file.writing(SPAN) as sql:
        sql.execute("INSERT INTO meta VALUES ('half', 'done')")
        raise RuntimeError
    with file.writing(SPAN) as sql:
        sql.execute("INSERT INTO meta VALUES ('whole', 'done')")
    assert file.rows("SELECT key FROM meta") == [("whole",)]
    file.close()


def test_the_journal_and_what_lies_beside_it_are_private(path: Path, journal: Journal) -> None:
    journal.receive(repair(), "boot-1")
    rights = {file.name: file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    assert rights == {"journal.db": 0o600, "journal.db-wal": 0o600}


def test_a_received_command_is_there_after_a_restart(path: Path) -> None:
    first = Journal(path)
    first.receive(repair(), "boot-1")
    first.close()
    second = Journal(path)
    entry = second.find("command-1")
    assert entry is not None
    assert (entry.command, entry.boot_id, entry.state) == (repair(), "boot-1", "received")
    assert [unfinished.command for unfinished in second.unfinished()] == [repair()]
    second.close()


def test_the_journal_id_is_made_once(path: Path, tmp_path: Path) -> None:
    first, other = Journal(path), Journal(tmp_path / "other.db")
    name = first.journal_id
    first.close()
    second = Journal(path)
    assert second.journal_id == name != other.journal_id
    second.close()
    other.close()


def test_every_commit_waits_for_the_disk(journal: Journal) -> None:
    assert journal._file.connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._file.connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_second_process_cannot_open_it(journal: Journal, path: Path) -> None:
    with pytest.raises(JournalError, match="in use by another agent process"):
        Journal(path)


def test_finishing_keeps_the_result_and_puts_it_into_the_outbox(journal: Journal) -> None:
    journal.receive(repair(), "boot-1")
    journal.finish(("command-1", 1), result())
    entry = journal.find("command-1")
    assert entry is not None
    assert (entry.state, entry.result_id, entry.result) == ("finished", "result-1", encode(result()))
    assert [(unsent.message_id, unsent.frame) for unsent in journal.unsent(0, 10)] == [
        ("result-1", encode(result()))
    ]
    assert journal.unfinished() == []


def test_a_message_is_forgotten_only_when_told(journal: Journal, path: Path) -> None:
    for number in range(3):
        message = Log(id=f"m{number}", level="info", text="")
        journal.put(message, encode(message))
    journal.forget("m1")
    assert [unsent.message_id for unsent in journal.unsent(0, 10)] == ["m0", "m2"]
    journal.close()
    again = Journal(path)
    assert [unsent.message_id for unsent in again.unsent(0, 10)] == ["m0", "m2"]
    again.close()


def test_unsent_messages_come_in_order_and_by_batches(journal: Journal) -> None:
    for number in range(120):
        message = Log(id=f"m{number}", level="info", text="")
        journal.put(message, encode(message))
    for number in range(70):
        journal.forget(f"m{number}")
    seen, after = [], 0
    while batch := journal.unsent(after, 20):
        seen += [unsent.message_id for unsent in batch]
        after = batch[-1].seq
    assert seen == [f"m{number}" for number in range(70, 120)]


def test_a_start_is_written_with_the_next_durable_change(journal: Journal) -> None:
    journal.receive(repair(1), "boot-1")
    journal.start(("command-1", 1))
    journal.receive(repair(2), "boot-1")
    assert [entry.state for entry in journal.unfinished()] == ["started", "received"]


def test_a_higher_fence_of_a_command_is_an_order_of_its_own(journal: Journal) -> None:
    journal.receive(repair(fence=1), "boot-1")
    journal.receive(repair(fence=2), "boot-1")
    journal.finish(("command-1", 1), result())
    newest = journal.find("command-1")
    assert newest is not None
    assert newest.command == repair(fence=2)
    assert newest.state == "received"
    journal.supersede(("command-1", 2))
    assert journal.unfinished() == []


def test_a_cancel_outlives_a_restart(path: Path) -> None:
    first = Journal(path)
    first.receive(repair(), "boot-1")
    first.cancel(("command-1", 1), "wrong trade")
    first.close()
    second = Journal(path)
    assert [entry.cancel_reason for entry in second.unfinished()] == ["wrong trade"]
    second.close()


def test_a_result_is_sent_again_under_the_id_it_had(journal: Journal) -> None:
    journal.receive(repair(), "boot-1")
    journal.finish(("command-1", 1), result())
    journal.forget("result-1")
    entry = journal.find("command-1")
    assert entry is not None
    journal.repeat_result(entry)
    assert [unsent.message_id for unsent in journal.unsent(0, 10)] == ["result-1"]


def test_the_unsent_chunks_of_a_collection_can_be_dropped(journal: Journal) -> None:
    for command_id in ("c1", "c2"):
        message = Log(id=f"of-{command_id}", command_id=command_id, level="info", text="")
        journal.put(message, encode(message))
    journal.discard("c1")
    assert [unsent.message_id for unsent in journal.unsent(0, 10)] == ["of-c2"]


def test_every_kind_of_command_is_read_back(journal: Journal) -> None:
    collect = Collect(
        id="c",
        run_id=1,
        fixer_codes=("interRecharge",),
        window_start="2026-03-01T00:00:00Z",
        window_end="2026-03-02T00:00:00Z",
        shard=0,
        shards=2,
        deadline_ms=1,
    )
    verify = Verify(id="v", trade_no="T1", fence=3)
    for command in (collect, verify, repair()):
        journal.receive(command, "boot-1")
    assert [entry.command for entry in journal.unfinished()] == [collect, verify, repair()]


def test_old_finished_commands_are_pruned_and_unacknowledged_ones_kept(path: Path) -> None:
    clock = Seconds()
    journal = Journal(path, clock, keep_days=1)
    for number in (1, 2, 3):
        journal.receive(repair(number), "boot-1")
    journal.finish(("command-1", 1), result(1))
    journal.finish(("command-2", 1), result(2))
    journal.forget("result-1")
    journal.flush()
    clock.at += 2 * 86_400
    journal.prune()
    assert journal.find("command-1") is None
    assert journal.find("command-2") is not None
    assert journal.find("command-3") is not None
    journal.close()


def test_no_more_finished_commands_are_kept_than_wanted(path: Path) -> None:
    journal = Journal(path, keep_commands=5)
    for number in range(20):
        journal.receive(repair(number), "boot-1")
        journal.finish((f"command-{number}", 1), result(number))
        journal.forget(f"result-{number}")
    journal.flush()
    journal.prune()
    assert [number for number in range(20) if journal.find(f"command-{number}")] == [15, 16, 17, 18, 19]
    journal.close()


def test_a_damaged_file_is_refused_with_what_to_do(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"this is no database" * 500)
    with pytest.raises(JournalError, match=r"is damaged .* move it away"):
        Journal(path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="cannot be opened"):
        Journal(tmp_path / "file" / "journal.db")


def test_a_full_disk_is_a_journal_error_and_leaves_nothing_half_written(journal: Journal) -> None:
    journal.receive(repair(1), "boot-1")
    fill(journal)
    with pytest.raises(JournalError, match="full"):
        journal.finish(("command-1", 1), Cancelled(id="r", reason="x" * 100_000))
    relieve(journal)
    assert [entry.state for entry in journal.unfinished()] == ["received"]
    assert journal.unsent(0, 10) == []
    journal.finish(("command-1", 1), result())
    assert journal.unfinished() == []


def fill(journal: Journal) -> None:
    """Let the file grow no more, as on a full disk."""
    pages = journal._file.connection.execute("PRAGMA page_count").fetchone()[0]
    journal._file.connection.execute(f"PRAGMA max_page_count = {pages}")


def relieve(journal: Journal) -> None:
    journal._file.connection.execute("PRAGMA max_page_count = 1000000")


def test_nothing_is_said_to_be_kept_once_the_file_is_closed(path: Path) -> None:
    journal = Journal(path)
    journal.close()
    with pytest.raises(JournalError):
        journal.receive(repair(), "boot-1")
    with sqlite3.connect(path) as looked_at:
        assert looked_at.execute("SELECT count(*) FROM command").fetchone() == (0,)


@pytest.mark.parametrize("field", ["deadline_ms", "fence"])
def test_a_number_no_machine_can_count_with_makes_no_command(field: str) -> None:
    frame = encode(repair()).decode()
    huge = re.sub(rf'"{field}":\d+', f'"{field}":{10**400}', frame)
    with pytest.raises(ProtocolError):
        decode_to_agent(huge)


def test_an_agent_of_before_a_feature_can_read_the_orders_of_one_that_names_it(path: Path) -> None:
    told = msgspec.structs.replace(repair(), by_person=True, max_amount_minor=5)
    journal = Journal(path)
    kept = journal.receive(told, "boot-1")
    assert kept.command == told
    journal.close()
    again = Journal(path)
    [entry] = again.unfinished()
    assert entry.command == repair()
    again.close()
