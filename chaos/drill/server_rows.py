"""What the server's rows and the agents' journals say of I5, I6, I7, I10 and I12."""

import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator
from typing import Final

from sqlalchemy import func, select

from app.agents.models import Agent, ReceivedMessage
from app.anomalies.models import TERMINAL_STATES, Anomaly, AnomalyEvent
from app.executions.models import Attempt
from app.extensions import db
from chaos.drill.field import Field
from chaos.drill.terms import MAX_RETRIES, MOST_BYTES
from chaos.drill.violations import Violation
from chaos.simulation.audited import gaps, unclicked

WITH_A_PERSON: Final = ("needs_human", "exhausted")


def judge_server(at: Field) -> list[Violation]:
    """Every violation; all processes have stopped. Needs an application context."""
    db.session.remove()
    return [*lost_results(at), *histories(), *retries(), *attempt_numbers(), *audits(), *sizes(at)]


def repaired_trades() -> set[str]:
    """Numbers of trades whose newest anomaly was repaired or healed. Needs an application context."""
    return _standing(("repaired", "healed"))


def left_to_a_person() -> set[str]:
    """Numbers of trades whose newest anomaly stands in a person's queue. Needs an application context."""
    return _standing(WITH_A_PERSON)


def waiting_trades() -> set[str]:
    """Numbers of trades whose newest anomaly waits. Needs an application context."""
    return _standing(("waiting",))


def _standing(states: Collection[str]) -> set[str]:
    rows = db.session.execute(select(Anomaly.trade_no, Anomaly.state).order_by(Anomaly.id))
    newest = {row.trade_no: row.state for row in rows}
    return {trade_no for trade_no, state in newest.items() if state in states}


def lost_results(at: Field) -> Iterator[Violation]:
    """Each result a journal holds must stand among the messages the server has taken."""
    for part in at.agents:
        agent_id = db.session.scalar(select(Agent.id).where(Agent.name == part.name))
        taken = select(ReceivedMessage.message_id).where(ReceivedMessage.agent_id == agent_id)
        known = set(db.session.scalars(taken))
        journal = sqlite3.connect(at.journal(part.name))
        results = journal.execute("SELECT id, result_id FROM command WHERE result_id IS NOT NULL").fetchall()
        journal.close()
        for command_id, result_id in results:
            if result_id not in known:
                yield Violation("I5", command_id, f"{part.name}'s result {result_id} never arrived")


def histories() -> Iterator[Violation]:
    """Each change begins where the one before has ended, the last at the state there is."""
    trades = {
        row.id: (row.trade_no, row.state)
        for row in db.session.execute(select(Anomaly.id, Anomaly.trade_no, Anomaly.state))
    }
    events: dict[int, list[tuple[str | None, str]]] = defaultdict(list)
    ordered = select(AnomalyEvent).order_by(AnomalyEvent.id)
    for event in db.session.scalars(ordered):
        events[event.anomaly_id].append((event.from_state, event.to_state))
    for anomaly_id, (trade_no, state) in trades.items():
        chain = events.get(anomaly_id, [])
        ends = [None, *(to for _, to in chain)]
        begins = [*(begin for begin, _ in chain), state]
        for end, begin in zip(ends, begins, strict=True):
            if end != begin:
                yield Violation("I12", trade_no, f"history goes on from {begin} where it was {end}")
        for begin, to in chain:
            if begin in TERMINAL_STATES and to != begin:
                yield Violation("I6", trade_no, f"left {begin} for {to}")


def retries() -> Iterator[Violation]:
    """No anomaly has failed more often by itself than its plan allows."""
    failed = (
        select(Anomaly.trade_no, func.count())
        .join(Attempt, Attempt.anomaly_id == Anomaly.id)
        .where(Attempt.trigger == "tick", Attempt.outcome == "failed")
        .group_by(Anomaly.id, Anomaly.trade_no)
        .having(func.count() > MAX_RETRIES + 1)
    )
    for trade_no, count in db.session.execute(failed):
        yield Violation("I7", trade_no, f"{count} automatic attempts have failed")


def attempt_numbers() -> Iterator[Violation]:
    """Attempts of an anomaly are numbered without a gap, and each has ended."""
    trades = {
        row.id: (row.trade_no, row.attempts)
        for row in db.session.execute(select(Anomaly.id, Anomaly.trade_no, Anomaly.attempts))
    }
    numbers: dict[int, list[int]] = defaultdict(list)
    for anomaly_id, number, outcome in db.session.execute(
        select(Attempt.anomaly_id, Attempt.number, Attempt.outcome).order_by(Attempt.number)
    ):
        numbers[anomaly_id].append(number)
        if outcome is None:
            yield Violation("I8", trades[anomaly_id][0], f"attempt {number} has no outcome")
    for anomaly_id, (trade_no, count) in trades.items():
        if numbers.get(anomaly_id, []) != list(range(1, count + 1)):
            yield Violation("I12", trade_no, f"{count} attempts are numbered {numbers.get(anomaly_id, [])}")


def audits() -> Iterator[Violation]:
    """What was ordered stands in the audit once, and each further attempt is one click that stands there."""
    books = db.session.connection().connection.driver_connection
    assert isinstance(books, sqlite3.Connection), "the server of a drill keeps its books in SQLite"
    for invariant, text in (*gaps(books), *unclicked(books)):
        yield Violation(invariant, "audit", text)


def sizes(at: Field) -> Iterator[Violation]:
    """No process was ever larger than MOST_BYTES when it was weighed."""
    for part in at.parts:
        if part.peak_bytes > MOST_BYTES:
            yield Violation("I10", part.name, f"{part.peak_bytes // 2**20} MiB")
