"""What must hold between the books: what was written down against what was done.

These checks belong to invariants of chaos.simulation.invariants; they find slips that do no harm by
themselves because another line of defence stands behind the one that is broken.
"""

import json
import sqlite3
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from agent.decision import REPAIRED_MESSAGE, REVERSED_MESSAGE, RowCodes
from chaos.in_flight import was_in_flight
from chaos.simulation.workshop import GROUP, MAX_RETRIES
from sandbox.bank.records import SUCCESS
from sandbox.ledger import BANK, CLEARING

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

QUIET_FOR: Final = timedelta(minutes=10)
STUCK_AFTER: Final = timedelta(minutes=30)
"""As agents have it unless told otherwise."""
_MESSAGES: Final = frozenset({*REPAIRED_MESSAGE.values(), REVERSED_MESSAGE})
_FROM_WRITTEN: Final = """
    FROM piculus_correction AS written
    JOIN piculus_repair AS repair ON repair.trade_no = written.trade_no AND repair.round = written.round"""
"""Each row that a repair wrote, with that repair."""


def contradictions(schedule: "Schedule", server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Yield every invariant that the books of server and production show broken, and how."""
    yield from _unhindered(schedule, server)
    yield from _exhausted_early(server)
    yield from _repeated_in_doubt(server)
    yield from _miscalled(server)
    yield from _behind_a_breaker(server)
    yield from _miskeyed(schedule)
    yield from _mismeasured(schedule)
    yield from _left_unapplied(schedule, server)
    path = schedule.world.production(GROUP).engine.url.database or ""
    with sqlite3.connect(path) as production:
        production.row_factory = sqlite3.Row
        yield from _intruded(production)
        yield from _let_go(schedule, production)
        yield from _overwritten(production)
        yield from _unrecorded(schedule, production)
        yield from _written_off(schedule, production)
        yield from _confirmed_unmoved(schedule, production)
        yield from _failed_though_moved(schedule, production)
        yield from _written_twice(schedule, production)
        yield from _left_open(server, production)
        yield from _hurried(production)
    production.close()


def _unhindered(schedule: "Schedule", server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Where nothing went wrong, everything is repaired: caution alone is no proof."""
    if schedule.counts or not schedule.drawn.deduplicates:
        return
    for row in server.execute("SELECT trade_no, state, reason FROM anomaly WHERE state <> 'repaired'"):
        yield "I8", f"{row['trade_no']} is {row['state']} though no fault befell it: {row['reason']}"


def _exhausted_early(server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    # The failure of an agent that lost its command to another is no attempt's outcome, only its evidence.
    query = """
        SELECT anomaly.trade_no,
            (SELECT count(*) FROM attempt
                WHERE attempt.anomaly_id = anomaly.id AND attempt.outcome = 'failed')
            + (SELECT count(*) FROM anomaly_event AS event WHERE event.anomaly_id = anomaly.id
                AND event.code = 'late_result' AND event.reason LIKE 'fence %, failed:%') AS failed
        FROM anomaly WHERE anomaly.state = 'exhausted'"""
    for row in server.execute(query):
        if row["failed"] <= MAX_RETRIES:
            yield "I7", f"{row['trade_no']} is exhausted after {row['failed']} failed attempts"


def _repeated_in_doubt(server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """A tick attempts what ended unknown only after facts were read anew."""
    query = """
        SELECT attempt.id, attempt.command_id FROM attempt
        JOIN attempt AS earlier ON earlier.anomaly_id = attempt.anomaly_id
            AND earlier.number = attempt.number - 1 AND earlier.outcome = 'unknown'
            AND earlier.finished_at <= attempt.created_at
        JOIN anomaly ON anomaly.id = attempt.anomaly_id
        WHERE attempt."trigger" = 'tick' AND NOT EXISTS (
            SELECT 1 FROM command WHERE command.type = 'Verify' AND command.trade_no = anomaly.trade_no
            AND command.state = 'finished' AND command.created_at >= earlier.finished_at
            AND command.finished_at <= attempt.created_at)"""
    for row in server.execute(query):
        yield "I9", f"attempt {row['id']} was ticked while the outcome of the one before was unknown"


def _miscalled(server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """What moved money is neither cancelled nor failed; what the repair before an order moved is not its.

    Nor is what the bank may have been asked for, or another was found to have done.
    """
    query = """
        SELECT id, outcome FROM attempt WHERE outcome IN ('cancelled', 'failed')
        AND (money_moved AND NOT ("trigger" IN ('pay_again', 'reverse') AND EXISTS (
            SELECT 1 FROM attempt AS earlier WHERE earlier.anomaly_id = attempt.anomaly_id
            AND earlier.number < attempt.number AND earlier.money_moved))
        OR EXISTS (SELECT 1 FROM step WHERE attempt_id = attempt.id AND moves_money
            AND (state IN ('done', 'skipped') OR state = 'intended' AND detail LIKE '%asked%')))"""
    for row in server.execute(query):
        yield "I9", f"attempt {row['id']} is {row['outcome']}, though money moved"


def _behind_a_breaker(server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """No plan begins anything new by itself, nor is such sent, between a trip of its breaker, or its group's,
    and the reset."""
    for row in server.execute("SELECT * FROM defiance ORDER BY seq"):
        told = f"{row['command_id']} was {row['what']} behind breaker {row['breaker_id']}"
        yield "I9", f"{told} of its {row['scope']}"


def _miskeyed(schedule: "Schedule") -> Iterator[tuple[str, str]]:
    """The key of a posting is drawn from the trade and its leg: whoever asks again asks for the same."""
    for loaded in schedule.loaded:
        for entry in schedule.world.entries(loaded.trade_no):
            middle = "" if entry["REVERSES"] is None else "reverse:"
            wanted = f"PCL:{GROUP}:{loaded.trade_no}:{middle}{entry['LEG']}"
            if entry["POSTED_BY"] == "piculus" and entry["IDEM_KEY"] != wanted:
                yield "I2", f"{entry['VOUCHER_NO']} was posted under {entry['IDEM_KEY']}"


def _mismeasured(schedule: "Schedule") -> Iterator[tuple[str, str]]:
    """What we post and ask the bank for is the trade's own amount, between the trade's own accounts."""
    for loaded in schedule.loaded:
        for entry in schedule.world.entries(loaded.trade_no):
            lines = schedule.world.postings(str(entry["VOUCHER_NO"]))
            customers = {str(line["ACC_NO"]) for line in lines} - {BANK, CLEARING}
            is_its_own = customers <= {loaded.account_no} and entry["AMOUNT"] == loaded.amount_minor
            if entry["POSTED_BY"] == "piculus" and not is_its_own:
                yield "I2", f"{entry['VOUCHER_NO']} moved {entry['AMOUNT']} of {', '.join(sorted(customers))}"
        for paid in schedule.world.payouts(loaded.trade_no):
            amount = paid.amount_minor if paid.asked_minor is None else paid.asked_minor
            if (amount, paid.account) != (loaded.amount_minor, loaded.bank_account_no):
                yield "I3", f"{paid.request_no} was asked for over {amount} to {paid.account}"


def _left_unapplied(schedule: "Schedule", server: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """A result that the server has taken is how the attempt ended, or stands beside it as evidence."""
    taken = {row[0] for row in server.execute("SELECT message_id FROM received_message")}
    query = """
        SELECT attempt.outcome = :outcome OR EXISTS (
            SELECT 1 FROM anomaly_event AS event
            WHERE event.command_id = attempt.command_id AND event.code = 'late_result'
            AND (event.reason LIKE :outcome || ':%' OR event.reason LIKE :told || ':%')) AS is_told
        FROM attempt WHERE command_id = :command_id"""
    for agent in schedule.agents:
        for message_id, result in agent.results.items():
            told = f"fence {result.fence}, {result.outcome}"
            asked = {"outcome": result.outcome, "told": told, "command_id": result.command_id}
            found = server.execute(query, asked).fetchone() if message_id in taken else None
            if found is not None and not found["is_told"]:
                yield "I5", f"that {result.command_id} ended {told}, was taken and is told nowhere"


def _intruded(production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Only the attempt that holds a repair writes its steps, and an older one never takes it over."""
    for row in production.execute("SELECT what FROM intrusion ORDER BY seq"):
        yield "I12", f"{row['what']}, which did not hold the repair"


def _let_go(schedule: "Schedule", production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """A repair that has moved money is gone on with; it is not given up and begun anew.

    What people order of a trade is a round of its own, begun when the one before has finally failed.
    """
    query = """
        SELECT step.step_key, step.trade_no FROM piculus_repair_step AS step
        JOIN piculus_repair AS repair ON repair.trade_no = step.trade_no
        WHERE step.moves_money AND step.state = 'done'
        AND (step.round < repair.round OR repair.state = 'abandoned')"""
    for row in production.execute(query):
        if row["trade_no"] not in schedule.ordered:
            yield "I8", f"{row['step_key']} was done by a repair that was given up"


def _overwritten(production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """The row a repair wrote over is the row it had decided upon."""
    query = f"SELECT repair.trade_no, repair.row_before, written.old_row {_FROM_WRITTEN}"
    for row in production.execute(query):
        decided, old = json.loads(row["row_before"]), json.loads(row["old_row"])
        changed = sorted(name for name in decided if name in old and decided[name] != old[name])
        if changed:
            yield "I11", f"{row['trade_no']} was written over although {', '.join(changed)} had changed"


def _unrecorded(schedule: "Schedule", production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Every row that was written keeps its old self beside it."""
    kept = {row["trade_no"] for row in production.execute("SELECT trade_no FROM piculus_correction")}
    for loaded in schedule.loaded:
        message = schedule.world.row(loaded.trade_no)["FAILED_MSG"]
        if message in _MESSAGES and loaded.trade_no not in kept:
            yield "I12", f"the row of {loaded.trade_no} was written, its old row was not kept"


def _written_off(schedule: "Schedule", production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """A request nobody finds is failed only when its bank day and the next are over."""
    calendar = schedule.world.calendar
    lost = {one.trade_no for one in schedule.loaded if one.case.id == "S9"}
    for row in production.execute("SELECT trade_no, new_row, written_at FROM piculus_correction"):
        if row["trade_no"] not in lost or json.loads(row["new_row"])["TRD_STATUS"] != RowCodes().failed:
            continue
        created_at = schedule.world.requests(row["trade_no"])[0]["CREATED_AT"]
        closes_at = calendar.next_day(calendar.day_of(created_at)).closes_at
        if datetime.fromisoformat(row["written_at"]) < closes_at:
            yield "I9", f"{row['trade_no']} was written failed while its payout might still come"


def _confirmed_unmoved(schedule: "Schedule", production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """A row is written as a success only when the bank has moved the money."""
    for row in production.execute("SELECT trade_no, new_row, written_at FROM piculus_correction"):
        if json.loads(row["new_row"])["TRD_STATUS"] != RowCodes().success:
            continue
        written_at = datetime.fromisoformat(row["written_at"])
        records = schedule.world.books.of_trade(row["trade_no"])
        moved = [one.completed_at for one in records if one.status == SUCCESS and one.completed_at]
        if not moved or min(moved) > written_at:
            yield "I9", f"{row['trade_no']} was written a success, the bank had moved no money"


def _failed_though_moved(schedule: "Schedule", production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """A row is written as failed only where the bank has moved no money; what comes late nobody can know."""
    for row in production.execute("SELECT trade_no, new_row, written_at FROM piculus_correction"):
        is_failed = json.loads(row["new_row"])["TRD_STATUS"] == RowCodes().failed
        if not is_failed or row["trade_no"] in schedule.paid_late:
            continue
        written_at = datetime.fromisoformat(row["written_at"])
        for record in schedule.world.books.of_trade(row["trade_no"]):
            if record.status == SUCCESS and record.completed_at and record.completed_at <= written_at:
                yield "I9", f"{row['trade_no']} was written failed, {record.request_no} had moved the money"


def _written_twice(schedule: "Schedule", production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """A trade that nobody else touches is mended once: a second time its row was consistent, or the first
    time it was called so and was not.
    """
    query = "SELECT trade_no, count(*) AS times FROM piculus_correction GROUP BY trade_no HAVING times > 1"
    for row in production.execute(query):
        if row["trade_no"] not in schedule.touched:
            yield "I11", f"the row of {row['trade_no']} was written {row['times']} times"


def _left_open(server: sqlite3.Connection, production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """Of a trade called repaired no repair stands open, to be gone on with some day."""
    states = dict(server.execute("SELECT trade_no, state FROM anomaly ORDER BY id").fetchall())
    for row in production.execute("SELECT trade_no FROM piculus_repair WHERE state = 'open'"):
        if states.get(row["trade_no"]) == "repaired":
            yield "I8", f"the repair of {row['trade_no']} stands open, though it is told as repaired"


def _hurried(production: sqlite3.Connection) -> Iterator[tuple[str, str]]:
    """No repair begins of a trade that production may be at work on."""
    query = f"SELECT written.trade_no, written.old_row, repair.started_at {_FROM_WRITTEN}"
    for row in production.execute(query):
        began_at = datetime.fromisoformat(row["started_at"])
        old = json.loads(row["old_row"])
        if was_in_flight(old, began_at, quiet_for=QUIET_FOR, stuck_after=STUCK_AFTER):
            yield "I9", f"the repair of {row['trade_no']} began at {began_at}, in flight: {old['UPDATED_AT']}"
