"""One schedule: faults without limit, as its seed draws them, then healing, then everything must end."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import Final
from unittest.mock import patch

import time_machine
from sqlalchemy import exists, or_, select

from agent import failpoints
from agent.adapters.names import BankNames
from agent.ports import Ports
from app.agents.models import IS_LIVE, Command
from app.anomalies.models import IS_LIVE_RUN, Anomaly, CollectionRun
from app.extensions import db
from chaos.simulation import people
from chaos.simulation.agent_process import AgentLife, AgentProcess
from chaos.simulation.bank import BankLine
from chaos.simulation.draws import Draw, draw
from chaos.simulation.faults import Failer, Policy, RandomPolicy
from chaos.simulation.invariants import Teller, violations
from chaos.simulation.loom import START, Loom, StandstillError
from chaos.simulation.network import Network, Weather
from chaos.simulation.patience import Patience
from chaos.simulation.postings import HeardBank, PostingWatch, WatchedLedger
from chaos.simulation.processes import BankProcess, Process
from chaos.simulation.server_process import ServerProcess
from chaos.simulation.troubles import make_trouble
from chaos.simulation.workshop import AGENTS, Workshop, simulated_clock
from sandbox.bank.desk import Desk
from sandbox.bank.faults import FaultBoard
from sandbox.bank.records import SUCCESS
from sandbox.cases import LoadedCase

AGE: Final = timedelta(hours=3)
"""How old the trades are: no longer in flight, and two bank days and more behind."""
QUIET_SECONDS: Final = 50.0
"""Of a schedule that is collected quietly; the first repairs are commanded after 60."""
UNPAID_SECONDS: Final = 3600.0
"""For so long at most the bank refuses every payout where people are to order of a trade."""
HEALING: Final = 3600.0
LEAP: Final = 3600.0
LEAPS: Final = 30
COLLECT_EVERY: Final = 600.0
ENDED: Final = ("repaired", "healed", "ignored", "needs_human", "exhausted")
_IS_AT_WORK: Final = select(
    or_(
        exists().where(IS_LIVE).select_from(Command),
        exists().where(IS_LIVE_RUN).select_from(CollectionRun),
    )
)
_STATES: Final = select(Anomaly.trade_no, Anomaly.state).order_by(Anomaly.id)
"""The newest of a trade last. Asked after each moment of a schedule, so built once."""
UNREPORTED: Final = "unreported"


class _Fate:
    """Whose strand the troubles are; it never dies."""

    name = "fate"
    is_dead = False


@dataclass
class Outcome:
    """What became of a schedule. ``trades``: how many of them stand in which state at its end."""

    name: str
    counts: Counter[str]
    reached: Counter[str]
    violations: list[tuple[str, str]] = field(default_factory=list)
    trades: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    trace: tuple[str, ...] = ()


def run(workshop: Workshop, seed: int) -> Outcome:
    """Run a seed and return what became of it."""
    schedule = Schedule(workshop, seed, draw(seed))
    with schedule.running():
        return schedule.outcome()


class Schedule:
    """A seed being run in a workshop. After ``run`` everything it left behind can be read."""

    def __init__(self, workshop: Workshop, seed: int, drawn: Draw, policy: Policy | None = None) -> None:
        self.workshop = workshop
        self.seed = seed
        self.drawn = drawn
        self.chance = random.Random(f"run {seed}")
        self.counts: Counter[str] = Counter()
        self._policy = policy or RandomPolicy(self.chance, drawn.point_rate)
        self.loaded: list[LoadedCase] = []
        self.healthy_before: dict[str, dict[str, object]] = {}
        self.rows_before: dict[str, dict[str, object]] = {}
        self.paid_before: dict[str, int] = {}
        self.touched: dict[str, float] = {}
        self.ordered: set[str] = set()
        self.paid_late: set[str] = set()
        self.processes: list[Process] = []
        self.lost: list[Process] = []
        self.is_rough = True
        self.is_settled = False
        self.standstill = ""
        self._closing: list[Callable[[], None]] = []
        self.teller = Teller(self)
        self.postings = PostingWatch(self)
        self.patience = Patience(self)

    # ---- from beginning to end

    @contextmanager
    def running(self) -> Iterator["Schedule"]:
        """Run it; inside the block its databases can be read, at the moment it ended."""
        with ExitStack() as stack:
            clock = stack.enter_context(time_machine.travel(START, tick=False))
            stack.enter_context(simulated_clock())
            self.loom = Loom(self.chance, clock)
            stack.enter_context(patch.object(time, "monotonic", self.loom.monotonic))
            ids = random.Random(f"ids {self.seed}")
            stack.enter_context(
                patch.object(uuid, "uuid4", lambda: uuid.UUID(int=ids.getrandbits(128), version=4))
            )
            try:
                self._set_up()
                with failpoints.armed(self.failer):
                    self._go()
                yield self
            finally:
                self._tear_down()

    def _go(self) -> None:
        try:
            self._live_through()
        except StandstillError as error:
            self.standstill = str(error)
        except Exception as error:
            error.add_note("\n".join(self.loom.trace))
            raise

    def _live_through(self) -> None:
        loom = self.loom
        for process in self.processes:
            process.start()
        people.collect(self, 1.0)
        if self.drawn.is_collected:
            self._keep_quiet(QUIET_SECONDS, self._is_reported)
        if self.drawn.is_unpaid:
            self._leave_unpaid()
        rough_until = loom.seconds + self.drawn.rough_seconds
        loom.spawn(_Fate(), "troubles", lambda: make_trouble(self, self.drawn.troubles))
        if self.drawn.failures:
            loom.spawn(_Fate(), "breakers", lambda: people.keep_resetting(self))
        while loom.seconds < rough_until:
            until = min(rough_until, loom.seconds + 20.0)
            loom.run(until, lambda: bool(self.failer.killed))
            self._bury(self.chance.choice((1.0, 5.0, 40.0)))
            if self.has_ended() and not self.drawn.troubles:
                break
        self._heal()
        self.is_settled = self._settle()

    def _heal(self) -> None:
        """No new fault from now on; what hangs may hang on until its time is over."""
        self.loom.note("healing")
        self.weather.is_parted = False
        self._make_rough(is_rough=False)
        people.collect(self, 1.0)

    def _make_rough(self, *, is_rough: bool) -> None:
        self.is_rough = self.weather.is_rough = self.line.is_rough = is_rough
        if isinstance(self._policy, RandomPolicy):
            self._policy.is_rough = is_rough

    def _keep_quiet(self, seconds: float, is_over: Callable[[], bool], looks_every: float = 1.0) -> None:
        """No fault until then, and for no longer than so many seconds from the beginning."""
        self._make_rough(is_rough=False)
        while self.loom.seconds < seconds and not is_over():
            self.loom.run(self.loom.seconds + looks_every)
        self._make_rough(is_rough=True)

    def _leave_unpaid(self) -> None:
        """The bank refuses every payout, until people may order of a trade that was debited."""
        self.line.refuses_payouts = True
        self._keep_quiet(UNPAID_SECONDS, lambda: people.may_order(self), looks_every=10.0)
        self.line.refuses_payouts = False

    def _is_reported(self) -> bool:
        with self.workshop.apps[0].app_context():
            try:
                known = set(db.session.scalars(select(Anomaly.trade_no)))
                return all(one.trade_no in known for one in self.loaded)
            finally:
                db.session.remove()

    def _settle(self) -> bool:
        until = self.loom.seconds + HEALING
        collect_at = self.loom.seconds + COLLECT_EVERY
        while self.loom.seconds < until:
            self.loom.run(min(self.loom.seconds + 30.0, until), lambda: bool(self.failer.killed))
            self._bury(1.0)
            # What hangs wakes up yet, and finds its work done by others.
            if self.loom.seconds > self.failer.wakes_at and self.has_ended():
                return True
            if self.loom.seconds >= collect_at:
                collect_at = self.loom.seconds + COLLECT_EVERY
                self.patience.look(self.loom.seconds - until + HEALING)
                people.collect(self)
                people.enable(self)
                people.lift(self)
        if self.teller.violations or self.patience.violations:
            return False  # it is found out already
        for _ in range(LEAPS):
            self.loom.leap(LEAP)
            people.collect(self)
            self.loom.run(self.loom.seconds + 240.0, self.has_ended)
            if self.has_ended():
                return True
        return False

    def _bury(self, after: float) -> None:
        """Take down what died at a failpoint, and have it started again later."""
        killed, self.failer.killed = self.failer.killed, []
        for process in dict.fromkeys(killed):
            process.kill()
        if killed:
            self.loom.run(self.loom.seconds + after)
        for process in dict.fromkeys(killed):
            if process not in self.lost:
                process.start()

    # ---- what it is made of

    def _set_up(self) -> None:
        self.workshop.clear()
        loom, drawn = self.loom, self.drawn
        self.failer = Failer(loom, self._policy, self.counts)
        self.weather = Weather(self.chance, self.counts, rate=drawn.frame_rate, muted=drawn.muted)
        self.network = Network(loom, self.weather, is_echoing=drawn.is_echoing)
        self.world = self.workshop.world
        self.world.calendar.length = timedelta(seconds=drawn.bank_day)
        self.bank = BankProcess(loom, "bank", self.failer)
        desk = Desk(self.world.books, FaultBoard(self.chance), Event())
        self.line = BankLine(
            loom,
            desk,
            self.bank,
            self.chance,
            self.counts,
            drawn.bank_rate,
            self.teller.asked,
            self.teller.taken_in,
        )
        self.line.refusals = drawn.refusals
        self._plant()
        if drawn.failures:
            self.workshop.arm(drawn.failures)
        self.servers = [
            ServerProcess(loom, f"server-{number}", self.failer, app, self.network)
            for number, app in enumerate(self.workshop.apps[: drawn.servers])
        ]
        self.agents = [self._agent(name) for name in AGENTS[: drawn.agents]]
        self.processes = [self.bank, *self.servers, *self.agents]

    def _agent(self, name: str) -> AgentProcess:
        trades, ledger = self.workshop.databases[name]
        names = BankNames(deduplicates=self.drawn.deduplicates)
        bank = HeardBank(names, self.line, self.postings)
        self._closing.append(bank.close)
        ports = Ports(trades, WatchedLedger(ledger, self.postings), bank)
        journal = self.workshop.run / f"{name}.journal.db"
        life = AgentLife(ports, journal, self.workshop.tokens[name], self.drawn.workers)
        return AgentProcess(self.loom, name, self.failer, self.network, life)

    def _plant(self) -> None:
        at = (START - AGE).replace(tzinfo=None)
        for number, case_id in enumerate(self.drawn.cases):
            trade_no = f"CH{self.seed % 10**8:08d}{number:04d}"
            amount = self.chance.randrange(100, 10_000_000)
            self.loaded.append(
                self.world.load_case(
                    case_id, trade_no=trade_no, trd_id=100 + number, amount_minor=amount, at=at
                )
            )
        for loaded in self.loaded:
            self.rows_before[loaded.trade_no] = self.world.row(loaded.trade_no)
            paid = [one for one in self.world.payouts(loaded.trade_no) if one.status == SUCCESS]
            self.paid_before[loaded.trade_no] = len(paid)
        self.world.load_healthy(self.drawn.healthy, seed=self.seed)
        self.healthy_before = {
            row["TRD_NUM"]: row for row in self.world.all_rows() if row["TRD_NUM"] not in self.rows_before
        }

    def _tear_down(self) -> None:
        for process in self.processes:
            if not process.is_dead:
                process.kill()
        for close in self._closing:
            close()
        self.workshop.forget()

    # ---- what became of it

    def outcome(self, name: str = "") -> Outcome:
        """Read the verdict; inside ``running``. ``name``: what a report calls this schedule, '' its seed."""
        return Outcome(
            name=name or f"seed {self.seed}",
            counts=self.counts,
            reached=self.failer.reached,
            violations=violations(self),
            trades=self._states(),
            seconds=self.loom.seconds,
            trace=tuple(self.loom.trace),
        )

    def _states(self) -> Counter[str]:
        with self.workshop.apps[0].app_context():
            try:
                states = dict(db.session.execute(_STATES).all())
            finally:
                db.session.remove()
        return Counter(states.get(one.trade_no, UNREPORTED) for one in self.loaded)

    def has_ended(self) -> bool:
        """Whether nothing is left to be done by anyone but a person."""
        with self.workshop.apps[0].app_context():
            try:
                return self._has_ended()
            finally:
                db.session.remove()

    def _has_ended(self) -> bool:
        if db.session.scalar(_IS_AT_WORK):
            return False
        states = dict(db.session.execute(_STATES).all())
        known = all(one.trade_no in states for one in self.loaded)
        if not known or any(state not in ENDED for state in states.values()):
            return False
        here = [agent for agent in self.agents if agent not in self.lost]
        return all(agent.journal is not None and not agent.journal.outbox_length() for agent in here)
