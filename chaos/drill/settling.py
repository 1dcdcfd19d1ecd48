"""The end: every fault healed, everything must end or wait for a person (I8); then all stops in order."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import select, update

from app.agents.models import IS_LIVE, Command
from app.anomalies.models import Anomaly
from app.extensions import db
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from chaos.drill.field import Field
from chaos.drill.parts import Part
from chaos.drill.people import reset_tripped
from chaos.drill.server_rows import WITH_A_PERSON, left_to_a_person, waiting_trades
from chaos.drill.violations import Violation
from chaos.drill.watching import OPEN, Watch
from chaos.drill.waves import Planted, collect, is_collecting
from sandbox.database import reading
from sandbox.world import World

STUCK: Final = "I8"
UNREPORTED: Final = "broken and never reported"


def settle(at: Field, watch: Watch, planted: Planted, told: Callable[[str], None]) -> list[Violation]:
    """Heal, collect once more, wait for the end, stop everything; return what did not end."""
    ended = [*ended_by_themselves(at.parts)]
    for part in at.parts:
        part.revive()
    at.heal()
    told("healed; waiting for everything to end")
    with at.app.app_context():
        watch.wait_until(lambda: not is_collecting(), at.terms.patience_s)
        collect()
        is_over = watch.wait_until(lambda: not _left(at, watch, planted), at.terms.patience_s)
        stuck = [] if is_over else _left(at, watch, planted)
        # Ticks would go on asking about what waits for its bank: only without them is there an end to see.
        _rest()
        watch.wait_until(lambda: _live_commands() == [], at.terms.patience_s)
        stuck += [Violation(STUCK, each, "a command still lives") for each in _live_commands()]
        stuck += [
            Violation(STUCK, each, "a repair half done that nobody waits for")
            for each in _half_done(at, watch)
            if each not in planted.held_back
        ]
    at.weigh()
    ended += ended_by_themselves(at.parts)
    _stop(at)
    return [*ended, *stuck, *_unsent(at)]


def ended_by_themselves(parts: Iterable[Part]) -> Iterator[Violation]:
    """The processes that nobody has killed and that run no more."""
    for part in parts:
        if part.process is not None and not part.is_alive:
            yield Violation(STUCK, part.name, f"ended by itself with exit code {part.process.returncode}")


def _left(at: Field, watch: Watch, planted: Planted) -> list[Violation]:
    """What has not ended. Notes what is held back; collects again while something broken was not reported.

    A trade planted or touched just before the last collection was too young for it. A breaker that the
    last faults have tripped is reset by a person.
    """
    reset_tripped()
    planted.held_back = are_held_back(at, watch, planted)
    left = [*unended(planted)] or [*untold(at.world, planted)]
    if any(one.detail == UNREPORTED for one in left) and not is_collecting():
        collect()
    return left


def are_held_back(at: Field, watch: Watch, planted: Planted) -> set[str]:
    """The trades that production touched between the writing down of a payout or posting and its sending:
    a person has them once it can surely not be sent any more. Needs an application context.

    At a bank that does not de-duplicate every such trade: what may have been sent is not sent again.
    """
    may_wait = planted.touched if at.terms.deduplicates else waiting_trades()
    return may_wait & watch.may_still_come() & waiting_trades() if may_wait else set()


def unended(planted: Planted) -> Iterator[Violation]:
    """What a repair, a verification or a tick has still to end. Needs an application context."""
    db.session.remove()
    expected = {planted.rows[key]["TRD_NUM"]: word for key, word in planted.expected.items()}
    rows = db.session.execute(select(Anomaly.trade_no, Anomaly.state, Anomaly.reason, Anomaly.id)).all()
    newest = {row.trade_no: row for row in sorted(rows, key=lambda row: row.id)}
    for row in newest.values():
        may_wait = expected.get(row.trade_no) == "wait" or row.trade_no in planted.held_back
        if row.state in ("open", "repairing") or (row.state == "waiting" and not may_wait):
            yield Violation(STUCK, row.trade_no, f"still {row.state}: {row.reason}")
    for trade_no in sorted(planted.repairable - newest.keys()):
        yield Violation(STUCK, trade_no, UNREPORTED)


def untold(world: World, planted: Planted) -> Iterator[Violation]:
    """What production touched that disagrees and that no person has. Needs an application context."""
    disagreeing = {one.trade_no for one in world.report().disagreements} if planted.touched else set()
    for trade_no in sorted((planted.touched & disagreeing) - left_to_a_person() - planted.held_back):
        yield Violation(STUCK, trade_no, UNREPORTED)


def _rest() -> None:
    """Disable every plan."""
    with unit_of_work() as session:
        session.execute(update(Plan).values(state="disabled", updated_at=datetime.now(UTC)))


def _live_commands() -> list[str]:
    db.session.remove()
    live = select(Command.trade_no, Command.type).where(IS_LIVE)
    return [f"{row.type} {row.trade_no or ''}" for row in db.session.execute(live)]


def _half_done(at: Field, watch: Watch) -> list[str]:
    """Trades whose repair is open in production, has begun a money step, and is in no person's queue."""
    cells, steps = watch.repair.c, watch.step.c
    begun = (
        select(cells.trade_no)
        .join(watch.step, (steps.trade_no == cells.trade_no) & (steps.round == cells.round))
        .where(cells.state == OPEN, steps.moves_money == 1)
        .distinct()
    )
    with reading(at.world.production(at.world.groups[0]).engine) as connection:
        open_now = set(connection.execute(begun).scalars())
    waiting = select(Anomaly.trade_no).where(Anomaly.state.in_(WITH_A_PERSON))
    return sorted(open_now - set(db.session.scalars(waiting)))


def _stop(at: Field) -> None:
    """Agents first, so that they deliver what they hold while the server still answers."""
    for kind in ("agent", "server", "bank"):
        parts = [part for part in at.parts if part.kind == kind]
        for part in parts:
            part.ask_to_stop()
        for part in parts:
            part.stop()


def _unsent(at: Field) -> Iterator[Violation]:
    """Messages that a stopped agent's journal still keeps for the server."""
    for part in at.agents:
        connection = sqlite3.connect(at.journal(part.name))
        for (command_id,) in connection.execute("SELECT command_id FROM outbox"):
            yield Violation("I5", command_id or part.name, f"{part.name} never delivered a message of it")
        connection.close()
