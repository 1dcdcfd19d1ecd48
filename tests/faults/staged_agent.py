"""A real agent before the parts of a real server, in one thread: its journal, its dispatcher, its fixers.

Production is in memory and outlives it, so that every effect can be counted.
"""

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event
from typing import Final

from agent.commands import Dispatcher, Identity
from agent.journal import Journal
from agent.message import Message
from agent.outbox import Outbox
from agent.protocol import ToAgent, decode_to_agent, encode
from agent.runner import Runner
from agent.work import ProductionWork
from app.agents.hub import AgentSession
from app.unit_of_work import WorkSession
from tests.agent.world import AMOUNT, Desk, load_case, wait_for_days_to_close
from tests.app.machines.pretender import ABNORMAL, Line
from tests.app.machines.stage import Stage
from tests.factories import make_agent, make_anomaly, make_group, make_plan

NAME: Final = "pbap-1"
BATCH: Final = 64


class Killed(BaseException):
    """kill -9 of the agent's process; nothing in the agent catches it."""


class Jobs:
    """What workers would do, until the test has it done (agent.workers.Crew)."""

    def __init__(self) -> None:
        self.waiting: deque[Callable[[], None]] = deque()

    def submit(self, job: Callable[[], None]) -> None:
        self.waiting.append(job)

    def close(self) -> None:
        """Nothing runs by itself."""


class StagedAgent:
    """One agent over all its starts. ``seconds`` is the clock that nobody can set."""

    def __init__(self, stage: Stage, agent_id: int, group_id: int, desk: Desk, journal: Path) -> None:
        self._stage = stage
        self._id = agent_id
        self._group_id = group_id
        self._desk = desk
        self._path = journal
        self._boots = 0
        self.line = Line()
        self._session: AgentSession | None = None
        self.said: list[Message] = []
        self.start()

    def start(self) -> None:
        """A new start with the journal as it stands on the disk."""
        self._boots += 1
        self.hints: list[Message] = []
        self.jobs = Jobs()
        self.journal = Journal(self._path)
        self.outbox = Outbox(self.journal, lambda: None)
        work = ProductionWork(NAME, self._desk.production.ports, self._desk.settings, self._desk.fixers)
        self.runner = Runner(
            self.journal,
            self.outbox,
            work,
            self.hints.append,
            Event(),
            monotonic=self._desk.rules["monotonic"],
            crew=lambda name, count: self.jobs,
        )
        who = Identity(name=NAME, boot_id=f"boot-{self._boots}", version="0", host="h")
        self.dispatcher = Dispatcher(
            who, self.journal, self.outbox, self.runner, work.fixer_codes, self.hints.append
        )
        self.dispatcher.resume()

    def die(self) -> None:
        """What was only deferred is not written down; the socket stands half open."""
        self.journal._file.connection.close()
        self._session = None

    def leave(self) -> None:
        """Let the journal go."""
        self.journal.close()

    # ---- its socket

    def connect(self) -> None:
        """Dial, say Hello, send the outbox again."""
        self.line = Line()
        self._session = AgentSession(self._stage.hub, self._id, self._group_id, "PBAP", "127.0.0.1")
        self._session.peer = self.line  # type: ignore[assignment]  # a socket whose other end is a list
        self._stage.inbox.connect(self._session)
        self.read()  # Welcome, which is the connection's own
        self.hints.clear()
        self.outbox.rewind()
        self._tell(encode(self.dispatcher.hello()))
        self.speak()

    def hang_up(self) -> None:
        """The socket is lost with what is under way, and the server knows."""
        if self._session is not None:
            self._stage.hub.lose(self._session, ABNORMAL, "", 0)
        self._session = None

    def read(self) -> None:
        """Take every frame that has come, in order."""
        while self.line.frames:
            self.hear(self.line.frames.pop(0))

    def hear(self, *frames: bytes) -> None:
        """Take frames as the connection hands over what came together."""
        self.dispatcher.handle(*map(decode_to_agent, frames))

    def speak(self) -> None:
        """Send what is to be said, as the connection does."""
        while batch := self.outbox.next(BATCH):
            self._tell_hints()
            for unsent in batch:
                self._tell(unsent.frame)
                self.outbox.sent(unsent)
        self._tell_hints()

    def beat(self) -> None:
        """A heartbeat."""
        self._tell(encode(self.dispatcher.heartbeat()))

    def _tell_hints(self) -> None:
        hints, self.hints[:] = list(self.hints), []
        self.said += hints
        for hint in hints:
            self._tell(encode(hint))

    def _tell(self, frame: bytes) -> None:
        if self._session is not None and self.line.close_code is None:
            self._stage.inbox.receive(self._session, frame.decode())

    # ---- its work

    def work(self) -> None:
        """Do all that waits."""
        while self.jobs.waiting:
            self.jobs.waiting.popleft()()


class RealScene:
    """One broken trade in production, its anomaly at the server, an automatic plan, and a real agent."""

    def __init__(self, stage: Stage, folder: Path, case_id: str = "S2") -> None:
        self.stage = stage
        self.seconds = 0.0
        self.desk = Desk(rules={"monotonic": lambda: self.seconds})
        self.trade_no, self.code = load_case(self.desk, case_id)
        wait_for_days_to_close(self.desk)
        found = stage.ask(self._found)
        assert not isinstance(found, str)
        self.agent = StagedAgent(stage, *found, self.desk, folder / "agent.journal")
        self.agent.connect()

    def _found(self, session: WorkSession) -> tuple[int, int]:
        group = make_group(session)
        agent = make_agent(session, group, codes=(self.code,), is_online=False)
        make_plan(session, group, fixer_code=self.code, retry_cron="0 0/2 * * * ?")
        row_hash = self.desk.row_hash(self.trade_no)
        known = {"kind": "withdraw", "row_hash": row_hash, "amount_minor": AMOUNT}
        make_anomaly(session, group, trade_no=self.trade_no, fixer_code=self.code, **known)
        return agent.id, group.id

    def order(self) -> None:
        """The plan is due, and the server sends its repair."""
        self.stage.tick()
        self.stage.dispatch()

    def go_on(self) -> None:
        """The server sends, the agent takes, works and says what became of it."""
        self.stage.dispatch()
        self.agent.read()
        self.agent.work()
        self.agent.speak()
        self.agent.read()

    def pass_time(self, seconds: float) -> None:
        """Time goes by for everyone."""
        self.seconds += seconds
        self.stage.clock.advance(seconds)
        self.desk.production.clock.advance(seconds=seconds)
        self.agent.beat()
        self.go_on()
        self.stage.tick()
        self.go_on()

    def kill_both(self) -> None:
        """Both processes die at one moment and are started again."""
        self.agent.die()
        self.desk.production.faults.heal()
        self.stage.restart()
        self.agent.start()
        self.agent.connect()

    def state(self) -> str:
        """The anomaly's state as stored."""
        ((state,),) = self.stage.rows("SELECT state FROM anomaly")
        return str(state)

    def attempts(self) -> Sequence[tuple[int, str]]:
        """Number and outcome of each."""
        return [tuple(row) for row in self.stage.rows("SELECT number, outcome FROM attempt ORDER BY number")]

    def effects(self) -> dict[str, int]:
        """What Piculus has done in production, counted."""
        production = self.desk.production
        return {
            "postings": [entry.posted_by for entry in production.ledger.entries].count("piculus"),
            "payouts": len(production.bank.payments),
            "rows written": len(production.trades.corrections),
        }


def repairs_in(frames: Sequence[bytes], kind: type[ToAgent]) -> list[bytes]:
    """Those of the frames that are of a kind."""
    return [frame for frame in frames if isinstance(decode_to_agent(frame), kind)]
