"""What must hold whatever happened, looked up in the databases a schedule left behind.

I1  at most one successful or live payout per trade
I2  at most one net posting per leg; postings sum to zero
I3  paid only if debited first
I4  repaired only if row, ledger and bank equal the oracle
I5  every journaled result reaches the server
I6  terminal states and outcomes never change
I7  automatic failed attempts are at most max_retries + 1; each further attempt is one audited click
I8  once faults stop, everything ends or waits for a person within a bounded time
I9  doubt moves no money
I10 memory stays bounded
I11 no row that the decision table calls consistent is ever written
I12 the audit and state history has no gap

I3 and I9 are watched at the very moment the bank takes a payout in (Teller) and the ledger a posting
(PostingWatch); the rest is read at the end.
"""

import re
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from agent.standstill import TOLD_WITHIN
from chaos.simulation.audited import gaps, unclicked
from chaos.simulation.evidence import contradictions
from chaos.simulation.loom import FOREVER, START
from chaos.simulation.workshop import MAX_RETRIES
from sandbox.bank.records import ACCEPTED, SUCCESS, has_surely_failed
from sandbox.cases import LoadedCase

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

INVARIANTS: Final = tuple(f"I{number}" for number in range(1, 13))
Violation = tuple[str, str]
"""An invariant and what broke it."""

QUEUED: Final = "items waited for a writer"
ON_A_LANE: Final = "frames were on their way one way"
UNSENT: Final = "messages waited in an outbox"
KEPT: Final = "commands were kept in a journal"
MOST: Final = {QUEUED: 2000, ON_A_LANE: 1000, UNSENT: 100, KEPT: 400}
"""Far more than the few trades of a schedule ever bring about, far less than what the code itself allows."""

_OURS: Final = re.compile(r"-P\d+$")
_VOUCHER: Final = re.compile(r"GA\d{18}")
_TERMINAL: Final = {
    "anomaly": frozenset({"repaired", "healed", "ignored"}),
    "command": frozenset({"finished", "rejected", "cancelled", "expired", "superseded"}),
    "order": frozenset({"done", "rejected", "withdrawn", "expired"}),
}


def violations(schedule: "Schedule") -> list[Violation]:
    """Return every violation a finished schedule shows."""
    with sqlite3.connect(schedule.workshop.run / "piculus.db") as server:
        server.row_factory = sqlite3.Row
        found = [
            *schedule.teller.violations,
            *schedule.postings.violations,
            *schedule.patience.violations,
            *_money(schedule, server),
            *_repaired(schedule, server),
            *_told_late(schedule),
            *_delivered(schedule, server),
            *_terminal(server),
            *_attempts(server),
            *_ended(schedule, server),
            *_bounded(schedule),
            *_untouched(schedule),
            *_history(server),
            *contradictions(schedule, server),
        ]
    server.close()
    return found


class Teller:
    """Watches each new payout at the bank's counter: what stood in books and ledger at that moment?"""

    def __init__(self, schedule: "Schedule") -> None:
        self._schedule = schedule
        self.violations: list[Violation] = []
        self.numbers: set[str] = set()  # under which any payout was asked for

    def asked(self, request_no: str) -> None:
        """An agent asks for a payout; the call may still get lost, which the agent cannot know."""
        if request_no in self.numbers and not self._schedule.drawn.deduplicates:
            self.violations.append(("I1", f"{request_no} was asked for twice"))
        self.numbers.add(request_no)

    def taken_in(self, request_no: str, is_new: bool) -> None:
        """A payout has been asked for under this number; a known one is paid again at some banks."""
        trade_no = request_no.rpartition("-")[0]
        if not is_new:
            if not self._schedule.drawn.deduplicates:
                self.violations.append(("I1", f"{request_no} was asked for twice"))
            return
        world = self._schedule.world
        self.violations += self._beside(trade_no, request_no)
        row = world.row(trade_no)
        if row["TRD_KIND"] == "withdraw" and not live_legs(world.entries(trade_no)) & {"1", "both"}:
            self.violations.append(("I3", f"{request_no} before any debit"))

    def _beside(self, trade_no: str, request_no: str) -> Iterator[Violation]:
        """A number is paid under only where every other one of the trade has surely failed."""
        world = self._schedule.world
        held = {record.request_no: record for record in world.payouts(trade_no)}
        written = {str(line["REQUEST_NO"]): line["SEQ"] for line in world.requests(trade_no)}
        for other in sorted({*held, *written} - {request_no}):
            record = held.get(other)
            if record is None:
                yield "I9", f"{request_no} while {other} may still arrive"
            elif not has_surely_failed(record):
                yield "I9", f"{request_no} while {other} is {record.status}"
        is_ours = _OURS.search(request_no) is not None
        if request_no in written and not is_ours and not self._schedule.drawn.deduplicates:
            yield "I1", f"{request_no}, which production has asked for already"


def live_legs(entries: list[dict[str, Any]]) -> set[str]:
    """The legs on which an entry stands unreversed."""
    return {str(entry["LEG"]) for entry in _standing(entries)}


def _standing(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries that no other has taken back."""
    return [
        entry
        for entry in entries
        if entry["REVERSED_BY"] is None and entry["REVERSES"] is None and entry["KIND"] != "reversal"
    ]


# ---- money


def _money(schedule: "Schedule", server: sqlite3.Connection) -> Iterator[Violation]:
    asked = {
        str(one) for (one,) in server.execute("SELECT trade_no FROM anomaly WHERE state = 'needs_human'")
    }
    for loaded in schedule.loaded:
        alive = [one for one in schedule.world.payouts(loaded.trade_no) if one.status in (SUCCESS, ACCEPTED)]
        if len(alive) > 1:
            yield "I1", f"{loaded.trade_no}: {', '.join(one.request_no for one in alive)}"
    for found in schedule.world.report().violations:
        if found.rule == "paid_not_debited" and found.subject in schedule.paid_late - _given_back(schedule):
            continue  # by production's own request, which nobody could hold back
        if found.rule == "voucher_not_in_ledger" and found.subject in asked & _posted_anew(schedule):
            continue  # production posted behind our reversal, before the row was written: a person is told
        invariant = {"paid_twice": "I1", "paid_not_debited": "I3", "unwritten_request": "I9"}.get(found.rule)
        yield invariant or "I2", f"{found.rule} {found.subject}: {found.detail}"


def _given_back(schedule: "Schedule") -> set[str]:
    """The trades of which we have taken an entry back."""
    entries = ((one.trade_no, schedule.world.entries(one.trade_no)) for one in schedule.loaded)
    return {trade_no for trade_no, held in entries if _legs_given_back(held)}


def _legs_given_back(entries: list[dict[str, Any]]) -> set[str]:
    """The legs of the entries that a reversal of ours has taken back."""
    return {
        str(each["LEG"])
        for each in entries
        if str(each["IDEM_KEY"]).startswith("PCL:PBAP:") and each["REVERSES"]
    }


def _posted_anew(schedule: "Schedule") -> set[str]:
    """The trades of which production posted a leg anew that a reversal of ours had taken back."""
    found = set()
    for loaded in schedule.loaded:
        entries = schedule.world.entries(loaded.trade_no)
        anew = {str(each["LEG"]) for each in _standing(entries) if str(each["IDEM_KEY"]).startswith("PROD:")}
        found |= {loaded.trade_no} if _legs_given_back(entries) & anew else set()
    return found


def _repaired(schedule: "Schedule", server: sqlite3.Connection) -> Iterator[Violation]:
    states = dict(server.execute("SELECT trade_no, state FROM anomaly ORDER BY id").fetchall())
    disagreeing = {one.trade_no: one.kind for one in schedule.world.report().disagreements}
    read_back_at = _read_back_at(schedule)
    for loaded in schedule.loaded:
        if states.get(loaded.trade_no) not in ("repaired", "healed"):
            continue
        if loaded.trade_no in schedule.touched:
            # What production does to a trade after it was read back is for the next collection.
            is_later = schedule.touched[loaded.trade_no] > read_back_at.get(loaded.trade_no, FOREVER)
            if loaded.trade_no in disagreeing and not is_later:
                yield "I4", f"{loaded.trade_no}: {disagreeing[loaded.trade_no]}"
        else:
            for fault in _against_oracle(schedule, loaded):
                yield "I4", f"{loaded.case.id} {loaded.trade_no}: {fault}"


def _read_back_at(schedule: "Schedule") -> dict[str, float]:
    """When each repair that is done was read back, in seconds of the schedule."""
    looks = ((trade_no, looked_at) for trade_no, looked_at, _ in _closings(schedule))
    return {trade_no: (looked_at - START).total_seconds() for trade_no, looked_at in looks}


def _told_late(schedule: "Schedule") -> Iterator[Violation]:
    """What is told as repaired is what was read just before."""
    for trade_no, looked_at, closed_at in _closings(schedule):
        if closed_at - looked_at > TOLD_WITHIN:
            yield "I4", f"{trade_no} was closed {closed_at - looked_at} after it was read back"


def _closings(schedule: "Schedule") -> list[tuple[str, datetime, datetime]]:
    """Each repair that is done: its trade, when it was read back, and when it was closed.

    A machine that is paused in between dates its reading back by a clock that stood still with it.
    """
    path = schedule.world.production().engine.url.database or ""
    query = """
        SELECT repair.trade_no, step.finished_at, repair.changed_at
        FROM piculus_repair repair JOIN piculus_repair_step step USING (trade_no, round)
        WHERE repair.state = 'done' AND step.name = 'read_back' AND step.state = 'done'"""
    with sqlite3.connect(path) as production:
        rows = production.execute(query).fetchall()
    production.close()
    return [(trade_no, _utc(looked_at), _utc(closed_at)) for trade_no, looked_at, closed_at in rows]


def _utc(stored: str) -> datetime:
    return datetime.fromisoformat(stored).replace(tzinfo=UTC)


def _against_oracle(schedule: "Schedule", loaded: LoadedCase) -> Iterator[str]:
    """How row, ledger, balance and bank differ from what repair_cases.json says of the case."""
    world, case = schedule.world, loaded.case
    row, before = world.row(loaded.trade_no), schedule.rows_before[loaded.trade_no]
    labels: dict[str, object] = {}
    for column, wanted in case.after.items():
        if wanted == "kept":
            wanted = before[column]
        elif wanted is not None and wanted == case.demo.get("voucher"):
            wanted = loaded.voucher_no
        elif isinstance(wanted, str) and wanted.startswith("GA-"):
            wanted = labels.setdefault(wanted, row[column])
            if not _VOUCHER.fullmatch(str(wanted)):
                yield f"{column} is {wanted}"
        if row[column] != wanted:
            yield f"{column} is {row[column]!r}, not {wanted!r}"
    entries = {str(entry["VOUCHER_NO"]): entry for entry in world.entries(loaded.trade_no)}
    for number in {row["ACC_TRD_NUM"], row["E_ACC_TRD_NUM"]} - {None}:
        if number not in entries or entries[number]["AMOUNT"] != loaded.amount_minor:
            yield f"the ledger does not hold {number}"
    moved = {"+amount": 1, "-amount": -1, "0": 0}[case.after_world["customer_balance"]]
    balance = world.balance(loaded.account_no) - loaded.balance_before
    if balance != moved * loaded.amount_minor:
        yield f"the customer's balance changed by {balance}"
    yield from _against_bank(schedule, loaded)


def _against_bank(schedule: "Schedule", loaded: LoadedCase) -> Iterator[str]:
    paid = [one for one in schedule.world.payouts(loaded.trade_no) if one.status == SUCCESS]
    told = schedule.paid_before[loaded.trade_no] + loaded.case.after_world["payouts_made"]
    if loaded.case.kind == "withdraw" and len(paid) != told:
        yield f"{len(paid)} payouts, not {told}"


def _untouched(schedule: "Schedule") -> Iterator[Violation]:
    for trade_no, before in schedule.healthy_before.items():
        if schedule.world.row(trade_no) != before:
            yield "I11", f"{trade_no} was consistent and is no longer as it was"
        if any(entry["POSTED_BY"] == "piculus" for entry in schedule.world.entries(trade_no)):
            yield "I11", f"{trade_no} was consistent and got an entry"


# ---- the server's own books


def _delivered(schedule: "Schedule", server: sqlite3.Connection) -> Iterator[Violation]:
    received = {row[0] for row in server.execute("SELECT message_id FROM received_message")}
    for agent in schedule.agents:
        if agent.journal is None:
            continue
        kept = agent.journal._file.rows(
            "SELECT id, result_id FROM command WHERE state = 'finished' AND result_id IS NOT NULL"
        )
        results = {result_id: command_id for command_id, result_id in kept}
        # What the journal has forgotten since was journaled all the same.
        results |= {message_id: result.command_id for message_id, result in agent.results.items()}
        for result_id, command_id in results.items():
            if result_id not in received:
                yield "I5", f"the result of {command_id} never came"


def _terminal(server: sqlite3.Connection) -> Iterator[Violation]:
    """No end becomes another; but a late result counts for an attempt that was given up in doubt.

    Such an attempt has ended unknown, for its command was indeterminate until that result finished it.
    """
    late: set[str] = set()
    for row in server.execute("SELECT what, id, before, after FROM watched ORDER BY seq"):
        change = (row["before"], row["after"])
        if row["what"] == "command" and change == ("indeterminate", "finished"):
            late.add(row["id"])
        if row["what"] == "attempt":
            is_over = row["before"] != "unknown" or row["after"] is None or row["id"] not in late
            late.discard(row["id"])
        else:
            is_over = row["before"] in _TERMINAL[row["what"]]
        if is_over:
            yield "I6", f"{row['what']} {row['id']}: {row['before']} → {row['after']}"


def _attempts(server: sqlite3.Connection) -> Iterator[Violation]:
    query = """
        SELECT anomaly.trade_no, sum(attempt.outcome = 'failed' AND attempt."trigger" = 'tick') AS failed
        FROM attempt JOIN anomaly ON anomaly.id = attempt.anomaly_id GROUP BY anomaly.id"""
    for row in server.execute(query):
        if row["failed"] > MAX_RETRIES + 1:
            yield "I7", f"{row['trade_no']}: {row['failed']} automatic attempts failed"
    yield from unclicked(server)


def _ended(schedule: "Schedule", server: sqlite3.Connection) -> Iterator[Violation]:
    if schedule.is_settled:
        return
    if schedule.standstill:
        yield "I8", f"time stands still {schedule.standstill}"
    live = "('pending', 'sent', 'accepted', 'running', 'indeterminate')"
    stuck = [
        *(f"{row['trade_no']} {row['state']}" for row in server.execute("SELECT * FROM anomaly")),
        *(
            f"{row['type']} {row['id']} {row['state']}"
            for row in server.execute(f"SELECT * FROM command WHERE state IN {live}")
        ),
    ]
    yield "I8", f"after {schedule.loom.seconds:.0f} s: {'; '.join(stuck)}"


def _bounded(schedule: "Schedule") -> Iterator[Violation]:
    held = {
        QUEUED: max(server.longest_queue for server in schedule.servers),
        ON_A_LANE: max((lane.longest for lane in schedule.network.lanes), default=0),
        UNSENT: max(agent.most.unsent for agent in schedule.agents),
        KEPT: max(agent.most.kept for agent in schedule.agents),
    }
    for what, most in MOST.items():
        if held[what] > most:
            yield "I10", f"{held[what]} {what}, more than {most}"


def _history(server: sqlite3.Connection) -> Iterator[Violation]:
    """Each change begins where the one before it ended, and the last one ends at what is."""
    states: dict[int, Mapping[str, Any]] = {row["id"]: row for row in server.execute("SELECT * FROM anomaly")}
    last: dict[int, str | None] = {}
    for event in server.execute("SELECT * FROM anomaly_event ORDER BY id"):
        before = last.get(event["anomaly_id"])
        if event["from_state"] != before:
            yield "I12", f"event {event['id']} begins at {event['from_state']}, not at {before}"
        last[event["anomaly_id"]] = event["to_state"]
    for anomaly_id, anomaly in states.items():
        if last.get(anomaly_id) != anomaly["state"]:
            yield (
                "I12",
                f"{anomaly['trade_no']} is {anomaly['state']}, its history ends {last.get(anomaly_id)}",
            )
    query = "SELECT id FROM attempt WHERE outcome IS NULL AND finished_at IS NOT NULL"
    for attempt in server.execute(query):
        yield "I12", f"attempt {attempt['id']} ended without an outcome"
    yield from gaps(server)
