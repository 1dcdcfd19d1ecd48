"""One drill from its beginning to its verdict."""

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from app.anomalies.models import Anomaly
from app.extensions import db
from chaos.drill.cycles import Course, run_cycles
from chaos.drill.field import Field, laid_out
from chaos.drill.money import judge_money, payouts_by_trade
from chaos.drill.people import count_tripped
from chaos.drill.server_rows import WITH_A_PERSON, judge_server, left_to_a_person, repaired_trades
from chaos.drill.settling import settle
from chaos.drill.table import Outcome
from chaos.drill.terms import Terms
from chaos.drill.violations import Violation
from chaos.drill.watching import Watch
from sandbox.bank.records import SUCCESS


def run_drill(terms: Terms, folder: Path, told: Callable[[str], None]) -> Outcome:
    """Run a drill inside an empty folder; every process and database of it is gone on return.

    ``told`` hears how far it is. Raises NoServerError, BenchError when it cannot be begun.
    """
    began = time.monotonic()
    with laid_out(terms, folder) as at:
        watch = Watch(at)
        course = run_cycles(at, watch, told)
        healed = time.monotonic()
        violations = settle(at, watch, course.planted, told)
        settled_in = time.monotonic() - healed
        outcome = _outcome(at, watch, course, [*violations, *judge(at, course)])
        outcome.settled_in, outcome.seconds = settled_in, time.monotonic() - began
        outcome.load = os.getloadavg()[0]
    return outcome


def judge(at: Field, course: Course) -> list[Violation]:
    """The verdict over books, rows and journals of a field whose processes have stopped."""
    with at.app.app_context():
        repaired = repaired_trades()
        asked = left_to_a_person() | course.planted.held_back
        found = [*judge_money(at.world, course.planted, repaired, asked), *judge_server(at)]
    return [*found, *(Violation("I8", words.partition(" ")[0], words) for words in course.ended_alone)]


def _outcome(at: Field, watch: Watch, course: Course, violations: list[Violation]) -> Outcome:
    states, reasons = _states(at, course.planted.repairable)
    with at.app.app_context():
        breakers = count_tripped()
    paid = sum(one.status == SUCCESS for records in payouts_by_trade(at.world).values() for one in records)
    return Outcome(
        at.terms,
        cycles=course.cycles,
        idle=course.idle,
        waves=course.planted.waves,
        trades=len(course.planted.rows),
        kills=course.kills,
        wire_faults={wire.name: Counter({str(k): n for k, n in wire.counts.items()}) for wire in at.wires},
        states=states,
        reasons=reasons,
        breakers=breakers,
        production=course.production,
        payouts=paid,
        peaks={part.name: part.peak_bytes for part in at.parts},
        resumed=watch.resumed,
        violations=violations,
    )


def _states(at: Field, repairable: set[str]) -> tuple[Counter[str], Counter[str]]:
    """How the repairable trades stand, and why a person has some of them."""
    with at.app.app_context():
        db.session.remove()
        rows = db.session.execute(
            select(Anomaly.trade_no, Anomaly.state, Anomaly.reason).order_by(Anomaly.id)
        )
        newest = {row.trade_no: row for row in rows if row.trade_no in repairable}
    return (
        Counter(row.state for row in newest.values()),
        Counter(row.reason or row.state for row in newest.values() if row.state in WITH_A_PERSON),
    )
