"""Broken trades in waves, so that every kill meets repairs in hand, and what each trade was before."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select

from app.anomalies.collections import start_run
from app.anomalies.models import IS_LIVE_RUN, Anomaly, CollectionRun
from app.audit.service import SYSTEM
from app.extensions import db
from app.plans.fixer_codes import KNOWN_FIXERS
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from chaos.drill.field import Field
from chaos.drill.terms import SYS_CODE, Terms
from sandbox.cases import LoadedCase, all_cases
from sandbox.database import reading
from sandbox.people import trade_number
from sandbox.world import Row, World

FEW: Final = 8
"""With fewer repairs left than this, a kill may meet nothing."""
WINDOW: Final = timedelta(hours=24 * 8)


@dataclass
class Planted:
    """What the drill has put there. ``rows``, ``vouchers`` and ``payouts`` are of before any repair.

    ``rows`` by TRD_ID, the rest by trade number; ``expected`` is the loaders' own word by TRD_ID.
    ``touched``: trades that production has worked on since; ``held_back``: those that wait in the end
    until what was written down can surely not be sent any more.
    """

    cases: list[LoadedCase] = field(default_factory=list)
    rows: dict[int, Row] = field(default_factory=dict)
    expected: dict[int, str] = field(default_factory=dict)
    vouchers: dict[str, set[str]] = field(default_factory=dict)
    payouts: dict[str, int] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    held_back: set[str] = field(default_factory=set)
    waves: int = 0

    @property
    def repairable(self) -> set[str]:
        """Numbers of the trades that a fixer may mend; a young one once it is older."""
        may = ("repair:", "young")
        return {row["TRD_NUM"] for key, row in self.rows.items() if self.expected[key].startswith(may)}


HEALTHY: Final = "healthy"


def plant_wave(world: World, terms: Terms, planted: Planted) -> None:
    """The ten cases of the oracle and a rotation of broken trades; nothing collects meanwhile."""
    for case in all_cases():
        trd_id = world.production(SYS_CODE).next_trade_id()
        moment = world.three_days_ago()
        planted.cases.append(
            world.load_case(
                case.id,
                trade_no=trade_number(SYS_CODE, case.kind, moment, trd_id),
                trd_id=trd_id,
                at=moment,
                group=SYS_CODE,
            )
        )
    world.load_broken(terms.wave, group=SYS_CODE, seed=terms.seed * 1000 + planted.waves)
    planted.waves += 1
    note_before(world, planted)


def note_before(world: World, planted: Planted) -> None:
    """Keep each new trade as it stands, with its ledger entries and its payouts at the bank."""
    production = world.production(SYS_CODE)
    trade, entry = production.tables.trade, production.ledger.tables.entry
    with reading(production.engine) as connection:
        rows = [dict(row) for row in connection.execute(select(trade)).mappings()]
    new = {row["TRD_ID"]: row for row in rows if row["TRD_ID"] not in planted.rows}
    planted.rows.update(new)
    planted.expected.update(dict.fromkeys(new, HEALTHY))
    words = {row["TRD_ID"]: row["EXPECTED"] for row in world.planted(SYS_CODE)}
    planted.expected.update({key: word for key, word in words.items() if key in new})
    numbers = {row["TRD_NUM"] for row in new.values()}
    with reading(production.ledger.engine) as connection:
        for voucher, trade_no in connection.execute(select(entry.c.VOUCHER_NO, entry.c.TRD_NUM)):
            if trade_no in numbers:
                planted.vouchers.setdefault(trade_no, set()).add(voucher)
    for trade_no in numbers:
        planted.payouts[trade_no] = len(world.payouts(trade_no))


def keep_busy(at: Field, planted: Planted) -> bool:
    """Plant and collect another wave when little is left to repair; return whether one was begun."""
    with at.app.app_context():
        if is_collecting() or repairs_left() >= FEW:
            return False
        plant_wave(at.world, at.terms, planted)
        collect()
    return True


def collect() -> None:
    """Broadcast a collection of everything that was planted. Needs an application context."""
    now = datetime.now(UTC)
    with unit_of_work() as session:
        group = session.scalars(select(SystemGroup).where(SystemGroup.sys_code == SYS_CODE)).one()
        start_run(
            session,
            group=group,
            codes=sorted(KNOWN_FIXERS),
            window=(now - WINDOW, now),
            trigger="command_line",
            actor=SYSTEM,
            reason="",
            now=now,
        )


def is_collecting() -> bool:
    """Whether a run has not ended. Needs an application context."""
    db.session.remove()
    return db.session.scalars(select(CollectionRun.id).where(IS_LIVE_RUN).limit(1)).first() is not None


def repairs_left() -> int:
    """How many anomalies a repair is under way for, or will be at the next tick (FEW at the most)."""
    db.session.remove()
    left = select(Anomaly.id).where(Anomaly.state.in_(("open", "repairing")), Anomaly.fixer_code.is_not(None))
    return len(db.session.scalars(left.limit(FEW)).all())
