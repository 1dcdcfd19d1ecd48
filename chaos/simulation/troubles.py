"""What people, production and the machines do to a schedule while it is rough, at moments its seed draws.

A trade that production itself touches is ``touched``: the oracle of the ten cases no longer says what
becomes of it, only that row, ledger and bank agree in the end or a person is asked.
"""

import sqlite3
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sqlalchemy import ColumnElement, select, update

from agent.unpaid import Action, find_obstacle
from app.agents import stops
from app.agents.models import LIVE, Command, Stop
from app.agents.stops import Target
from app.anomalies import service as anomalies
from app.anomalies.models import Anomaly
from app.clock import utc_now
from app.executions import money_orders, service
from app.executions.models import Attempt
from app.executions.order_models import MoneyOrder
from app.executions.service import Order
from app.extensions import db
from app.plans.models import Plan
from app.plans.service import disable_plan, enable_plan
from app.unit_of_work import WorkSession, unit_of_work
from chaos.simulation.invariants import live_legs
from chaos.simulation.processes import Process
from chaos.simulation.workshop import GROUP, OTHER_PERSON, PERSON
from sandbox.cases import LoadedCase
from sandbox.database import writing
from sandbox.errors import SandboxError
from sandbox.ledger import PostingOrder

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

LOOKS: Final = 400
BETWEEN_LOOKS: Final = 0.05
LOST_ORIGINALS: Final = ("S2", "S3", "S9")
"""The cases in which production wrote a request number that the bank never got."""
REASON: Final = "drawn by the seed"
WITH_A_PERSON: Final = ("needs_human", "exhausted")
GAPS: Final = (2.0, 10.0, 30.0)


class Troubles:
    """Draws one trouble after another; ``kinds`` are those of this schedule, none: a quiet one."""

    def __init__(self, schedule: "Schedule", kinds: tuple[str, ...]) -> None:
        self._schedule = schedule
        self._chance = schedule.chance
        self._kinds = kinds
        self._done = False

    def go(self) -> None:
        """Make trouble until the schedule heals; a strand of its own."""
        while self._kinds and self._schedule.is_rough:
            if self._kinds[0] not in SCRIPTED:
                self._schedule.loom.sleep(self._chance.uniform(0.5, 1.5) * self._chance.choice(GAPS))
            elif self._done:
                return
            if not self._schedule.is_rough:
                return
            kind = self._chance.choice(self._kinds)
            self._schedule.counts[kind] += 1
            self._schedule.loom.note(f"trouble: {kind}")
            (TROUBLES | SCRIPTED)[kind](self)

    # ---- machines

    def kill(self) -> None:
        """kill -9 of one process, or of two at once."""
        processes = [one for one in self._schedule.processes if not one.is_dead]
        for process in self._chance.sample(processes, min(len(processes), self._chance.choice((1, 1, 2)))):
            self._end(process)

    def _end(self, process: Process) -> None:
        process.is_dead = True
        self._schedule.failer.killed.append(process)

    def lose(self) -> None:
        """One of two agents is gone for good, its journal too: the other goes on alone."""
        agents = self._schedule.agents
        if len(agents) == 2 and not self._schedule.lost and self._wait_for_repair():
            lost = self._chance.choice(agents)
            self._schedule.lost.append(lost)
            if not lost.is_dead:
                self._end(lost)

    def part(self) -> None:
        """Nobody reaches the server for a while; what is open is cut."""
        weather = self._schedule.weather
        weather.is_parted = True
        for server in self._schedule.servers:
            server.cut_all()
        self._schedule.loom.sleep(self._chance.choice((5.0, 40.0, 100.0)))
        weather.is_parted = False

    def stall(self) -> None:
        """The clock leaps: a suspended machine, or a clock set right."""
        self._schedule.loom.leap(self._chance.choice((30.0, 100.0, 700.0, 4000.0)))

    def kill_collecting(self) -> None:
        """kill -9 of an agent that has a collection in hand."""
        self._when(Command.type == "Collect", lambda: self._end(self._schedule.agents[0]))

    # ---- people

    def cancel_at_once(self) -> None:
        """A person cancels the first repair as soon as an agent has it."""
        self._when(Command.type == "Repair", self.cancel)

    def _when(self, is_wanted: ColumnElement[bool], act: Callable[[], None]) -> None:
        """Do something, once, as soon as an agent has taken such a command."""
        held = select(Command.id).where(Command.state.in_(("accepted", "running")), is_wanted)
        while not self._done and self._schedule.is_rough:
            with self._schedule.workshop.apps[0].app_context():
                self._done = db.session.scalars(held).first() is not None
                db.session.remove()
            if self._done:
                act()
            self._schedule.loom.sleep(0.01)

    def click(self) -> None:
        """A person has a trade repaired, whatever its count."""

        def ask(session: WorkSession) -> None:
            service.retry_now(session, self._any(session), self._click(), group_ids=None)

        self._serve(ask)

    def cancel(self) -> None:
        """A person cancels a repair at work."""

        def ask(session: WorkSession) -> None:
            live = select(Attempt.id).join(Command, Command.id == Attempt.command_id)
            found = session.scalars(live.where(Command.state.in_(LIVE))).first()
            if found is not None:
                service.cancel_attempt(
                    session, found, reason=REASON, actor=PERSON, group_ids=None, now=utc_now()
                )

        self._serve(ask)

    def verify(self) -> None:
        """A person has a trade looked at."""

        def ask(session: WorkSession) -> None:
            anomalies.order_verify(session, session.get_one(Anomaly, self._any(session)), utc_now())

        self._serve(ask)

    def disable(self) -> None:
        """A person disables a plan and enables it again."""

        def disable(session: WorkSession) -> None:
            disable_plan(session, self._plan(session), actor=PERSON, now=utc_now(), reason=REASON)

        self._serve(disable)
        self._schedule.loom.sleep(20.0)
        self.enable()

    def enable(self) -> None:
        """A person enables whatever plan is disabled."""

        def ask(session: WorkSession) -> None:
            for plan_id in session.scalars(select(Plan.id).where(Plan.state == "disabled")).all():
                enable_plan(session, plan_id, actor=PERSON, now=utc_now(), reason=REASON)

        self._serve(ask)

    def stop(self) -> None:
        """A person stops all repairs, and lifts that again."""

        def set_it(session: WorkSession) -> None:
            stops.set_stop(session, Target(), reason=REASON, actor=PERSON, group_ids=None, now=utc_now())

        self._serve(set_it)
        self._schedule.loom.sleep(self._chance.choice((3.0, 30.0)))
        self.lift()

    def lift(self) -> None:
        """A person lifts whatever stop stands."""

        def ask(session: WorkSession) -> None:
            for stop_id in session.scalars(select(Stop.id).where(Stop.lifted_at.is_(None))).all():
                stops.lift(
                    session,
                    stop_id,
                    reason=REASON,
                    actor=PERSON,
                    group_ids=None,
                    is_admin=True,
                    now=utc_now(),
                )

        self._serve(ask)

    def pay_again(self) -> None:
        """Two people have a trade paid again that was debited and finally not paid."""
        self._order("pay_again")

    def reverse(self) -> None:
        """Two people have such a trade reversed."""
        self._order("reverse")

    def _order(self, action: Action) -> None:
        """One person proposes what the facts allow, another confirms; no oracle tells the trade any more."""

        def propose(session: WorkSession) -> None:
            for anomaly in session.scalars(select(Anomaly).where(Anomaly.state.in_(WITH_A_PERSON))).unique():
                facts = money_orders.facts_of(anomaly)
                if facts is not None and find_obstacle(facts, action) is None:
                    self._schedule.touched.add(anomaly.trade_no)
                    self._schedule.ordered.add(anomaly.trade_no)
                    money_orders.propose(
                        session,
                        anomaly.id,
                        action,
                        reason=REASON,
                        actor=PERSON,
                        group_ids=None,
                        now=utc_now(),
                    )
                    return

        def confirm(session: WorkSession) -> None:
            waiting = select(MoneyOrder.id).where(MoneyOrder.state == "proposed")
            for order_id in session.scalars(waiting).all():
                money_orders.confirm(
                    session, order_id, reason=REASON, actor=OTHER_PERSON, group_ids=None, now=utc_now()
                )

        self._serve(propose)
        self._schedule.loom.sleep(2.0)
        self._serve(confirm)

    def reverse_when_unpaid(self) -> None:
        """The bank refuses the payout for good, and two people have the debit taken back."""
        self._schedule.line.refuses_payouts = True
        while not self._done and self._schedule.is_rough:
            self._schedule.loom.sleep(5.0)
            with self._schedule.workshop.apps[0].app_context():
                orders = select(MoneyOrder.id)
                self._done = db.session.scalars(orders).first() is not None
                db.session.remove()
            if not self._done:
                self.reverse()

    def collect(self) -> None:
        """A person collects once more."""
        self._schedule.collect_soon(0.0)

    def _serve(self, work: Callable[[WorkSession], None]) -> None:
        server = next((one for one in self._schedule.servers if not one.is_dead), None)
        if server is None:
            return

        def request() -> None:
            with unit_of_work() as session:
                work(session)

        server.serve(request)

    def _any(self, session: WorkSession) -> int:
        """Return an anomaly's id, 0 where there is none: no such anomaly."""
        ids = list(session.scalars(select(Anomaly.id).order_by(Anomaly.id)))
        return self._chance.choice(ids) if ids else 0

    def _plan(self, session: WorkSession) -> int:
        """Return the plan of the first trade."""
        fixer_code = self._schedule.loaded[0].case.fixer
        return session.scalars(select(Plan.id).where(Plan.fixer_code == fixer_code)).one()

    def _click(self) -> Order:
        return Order("click", PERSON, REASON, utc_now())

    # ---- production

    def post(self) -> None:
        """Production posts a leg of its own, a moment before or after ours."""
        loaded = self._touch()
        leg = "1" if loaded.case.kind == "recharge" or loaded.case.bookkeeping == "two_step" else "both"
        order = PostingOrder(
            trade_no=loaded.trade_no,
            kind=loaded.case.kind,
            leg=leg,
            amount_minor=loaded.amount_minor,
            account_no=loaded.account_no,
            idem_key=f"PROD:{loaded.trade_no}:{leg}",
            posted_by="production",
        )
        try:
            self._schedule.world.production().ledger.post(order)
        except SandboxError as error:
            self._schedule.loom.note(f"production's posting is refused: {error}")

    def edit(self) -> None:
        """Production writes the row after it was collected."""
        self._write_row(self._touch())

    def _write_row(self, loaded: LoadedCase) -> None:
        production = self._schedule.world.production()
        trade = production.tables.trade
        with writing(production.engine) as connection:
            connection.execute(
                update(trade)
                .where(trade.c.TRD_ID.in_([loaded.trd_id]))
                .values(FAILED_MSG="looked at", UPDATED_AT=production.clock(), VERSION=trade.c["VERSION"] + 1)
            )

    def edit_between(self) -> None:
        """Production writes a row between an attempt's first look at it and its last."""
        if trade_no := self._wait_for_repair():
            loaded = next(one for one in self._schedule.loaded if one.trade_no == trade_no)
            self._schedule.touched.add(trade_no)
            self._write_row(loaded)

    def cancel_between(self) -> None:
        """A person cancels a repair that has begun to move money."""
        if self._wait_for_repair("AND step.moves_money"):
            self.cancel()

    def _wait_for_repair(self, of_step: str = "") -> str:
        """Wait a little for a repair that has begun a step; return its trade, '' where none came."""
        path = self._schedule.world.production(GROUP).engine.url.database or ""
        begun = f"""
            SELECT repair.trade_no FROM piculus_repair AS repair
            JOIN piculus_repair_step AS step ON step.trade_no = repair.trade_no
            WHERE repair.state = 'open' {of_step}"""
        for _ in range(LOOKS):
            with sqlite3.connect(path) as production:
                found = production.execute(begun).fetchone()
            production.close()
            if found is not None or not self._schedule.is_rough:
                return str(found[0]) if found else ""
            self._schedule.loom.sleep(BETWEEN_LOOKS)
        return ""

    def pay_late(self) -> None:
        """The lost original of a payout comes to the bank after all, while it still may.

        So it may once the trade is debited, or for a timed-out trade until the second negative stands.
        """
        world = self._schedule.world
        late = [one for one in self._schedule.loaded if one.case.id in LOST_ORIGINALS and self._may_come(one)]
        if not late:
            return
        loaded = self._chance.choice(late)
        self._schedule.touched.add(loaded.trade_no)
        self._schedule.paid_late.add(loaded.trade_no)
        first = world.requests(loaded.trade_no)[0]
        self._schedule.line.pay_original(str(first["REQUEST_NO"]), loaded)

    def _may_come(self, loaded: LoadedCase) -> bool:
        world = self._schedule.world
        if loaded.case.id != "S9":
            return bool(live_legs(world.entries(loaded.trade_no)))
        calendar = world.calendar
        created_at = world.requests(loaded.trade_no)[0]["CREATED_AT"]
        return bool(calendar.next_day(calendar.day_of(created_at)).closes_at > world.clock())

    def _touch(self) -> LoadedCase:
        loaded = self._chance.choice(self._schedule.loaded)
        self._schedule.touched.add(loaded.trade_no)
        return loaded


TROUBLES: Final[dict[str, Callable[[Troubles], None]]] = {
    "kill at random": Troubles.kill,
    "agent lost": Troubles.lose,
    "network parted": Troubles.part,
    "machine stalled": Troubles.stall,
    "person clicks": Troubles.click,
    "person cancels": Troubles.cancel,
    "person verifies": Troubles.verify,
    "plan disabled": Troubles.disable,
    "collected again": Troubles.collect,
    "repairs stopped": Troubles.stop,
    "paid again": Troubles.pay_again,
    "reversed": Troubles.reverse,
    "production posts": Troubles.post,
    "production edits": Troubles.edit,
    "original paid late": Troubles.pay_late,
    "edits in between": Troubles.edit_between,
    "cancels in between": Troubles.cancel_between,
}
SCRIPTED: Final[dict[str, Callable[[Troubles], None]]] = {
    "person cancels at once": Troubles.cancel_at_once,
    "agent killed in a collection": Troubles.kill_collecting,
    "reversed when unpaid": Troubles.reverse_when_unpaid,
}
"""What brings a schedule to points that it would not come to by itself; no seed draws these."""
