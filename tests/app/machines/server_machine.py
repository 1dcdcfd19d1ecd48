"""What every machine has in common: two agents and what befalls them, time, and what must hold of commands.

Rules are everything that can happen, in any order; invariants are §5 of the design, read from the rows and
from the database's own trace of state changes after each rule.
"""

import os
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.message import Message
from agent.protocol import Repair
from app.agents import commands
from app.agents.models import LIVE
from app.unit_of_work import WorkSession
from tests.app.machines.pretender import Pretender
from tests.app.machines.stage import Stage
from tests.factories import facts_read, finished, make_agent, make_group

COMMAND_CHANGES: Final = {
    "pending": {"sent", "accepted", "finished", "cancelled", "expired", "indeterminate", "superseded"},
    "sent": {
        "pending",
        "accepted",
        "running",
        "finished",
        "rejected",
        "cancelled",
        "expired",
        "superseded",
        # Its agent was lost and another was sent it: past its deadline nobody can say what the first one did.
        "indeterminate",
    },
    "accepted": {"running", "finished", "pending", "rejected", "cancelled", "indeterminate", "superseded"},
    "running": {"finished", "pending", "cancelled", "indeterminate", "superseded"},
    # Its agent may still tell what became of it.
    "indeterminate": {"finished", "cancelled"},
}
"""From a command's state to those it may change to; what is not named here is never left."""

PLENTY: Final = int(os.environ.get("PICULUS_MACHINE_EXAMPLES", "0"))
"""More schedules than a run of the suite has time for, drawn afresh each time."""

suite_settings = settings(
    max_examples=PLENTY or 20,
    stateful_step_count=50 if PLENTY else 30,
    deadline=None,
    derandomize=not PLENTY,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    # How fast the machine is says nothing of what is tested.
    suppress_health_check=(HealthCheck.too_slow,),
)

CODES: Final = ("interRechargeFixServiceImpl", "rechargeFailedFixServiceImpl")
which = st.integers(0, 1)
MISFORTUNES: Final = (
    "hang up",
    "die",
    "die unnoticed",
    "lose the journal",
    "go deaf",
    "connect anew",
    "refuse",
    "server restarts",
    "clock jumps",
)
JUMPS: Final = (-86_400, -3_600, -5, 5, 30, 86_400)
"""A clock a day off, or one that runs backwards."""
RECONNECT_SECONDS: Final = 30
HEALING_ROUNDS: Final = 60
T = TypeVar("T")
any_number = st.integers(0, 1_000)


class ServerMachine(RuleBasedStateMachine):
    """One server, one group, two agents that offer the same fixers."""

    stage: Stage
    """Set by the test that runs the machine."""

    def __init__(self) -> None:
        super().__init__()
        self.stage.begin()
        self.group_id, ids = self._found()
        self.agents = [Pretender(self.stage, one, self.group_id, CODES) for one in ids]
        self._latest = self.stage.clock.now
        self._traced = 0
        self._top_fences: dict[str, int] = {}
        for agent in self.agents:
            agent.connect()

    def _found(self) -> tuple[int, list[int]]:
        def work(session: WorkSession) -> tuple[int, list[int]]:
            group = make_group(session)
            made = [make_agent(session, group, codes=CODES, is_online=False) for _ in range(2)]
            return group.id, [agent.id for agent in made]

        found = self.ask(work)
        assert not isinstance(found, str)
        return found

    def ask(self, work: Callable[[WorkSession], Any]) -> Any:
        """A unit of work; the code where it is refused."""
        return self.stage.ask(work)

    # ---- the agents' lives

    @rule(pick=any_number)
    @precondition(lambda self: self.in_hand("taken"))
    def begin(self, pick: int) -> None:
        agent, command_id = chosen(self.in_hand("taken"), pick)
        agent.begin(command_id)

    @rule(pick=any_number)
    @precondition(lambda self: self.to_stop())
    def stop(self, pick: int) -> None:
        """Only what was asked to stop is stopped."""
        agent, command_id = chosen(self.to_stop(), pick)
        agent.stop(command_id)

    @rule(pick=any_number)
    @precondition(lambda self: any(agent.said for agent in self.agents))
    def say_again(self, pick: int) -> None:
        """A result repeated, however late, and by an agent that has been overtaken since."""
        agent, message = chosen([(one, said) for one in self.agents for said in one.said], pick)
        agent.say_again(message)

    @rule(who=which, misfortune=st.sampled_from(MISFORTUNES), pick=any_number)
    def something_happens(self, who: int, misfortune: str, pick: int) -> None:
        """What an agent, its disk, its network and the server's process may suffer."""
        agent = self.agents[who]
        match misfortune:
            case "hang up":
                agent.hang_up()
            case "die" | "die unnoticed":
                agent.die(is_noticed=misfortune == "die")
            case "lose the journal":
                agent.lose_journal()
            case "go deaf":
                agent.is_deaf = True
            case "connect anew":
                agent.connect()
            case "refuse":
                if taken := agent.unfinished("taken"):
                    agent.refuse(chosen(taken, pick))
            case "server restarts":
                for one in self.agents:
                    one.hang_up()
                self.stage.restart()
            case "clock jumps":
                self._latest = max(self._latest, self.stage.clock.now)
                self.stage.clock.advance(chosen(JUMPS, pick))

    def in_hand(self, state: str) -> list[tuple[Pretender, str]]:
        """Each agent's commands of this state."""
        return [(agent, one) for agent in self.agents for one in agent.unfinished(state)]

    def to_stop(self) -> list[tuple[Pretender, str]]:
        """What agents have in hand and were asked to stop."""
        in_hand = [*self.in_hand("taken"), *self.in_hand("running")]
        return [(agent, one) for agent, one in in_hand if agent.journal[one].is_cancelled]

    # ---- time

    @rule(seconds=st.sampled_from([0, 1, 7, 31, 61, 61, 130, 130, 700, 3_700, 90_000]))
    def wait(self, seconds: int) -> None:
        self.pass_time(seconds)

    @rule(pick=any_number)
    @precondition(lambda self: self.live_commands() and self.in_hand("taken"))
    def cancel(self, pick: int) -> None:
        """Asked of any command, and rarely before one has come as far as an agent."""
        command_id = chosen(self.live_commands(), pick)
        now = self.stage.clock()

        def work(session: WorkSession) -> None:
            command = commands.find(session, command_id)
            assert command is not None
            commands.request_cancel(session, command, "by hand", now)

        self.ask(work)

    def live_commands(self) -> list[str]:
        """The ids of commands that hold their trade, oldest first."""
        return [
            row.id for row in self.stage.rows(f"SELECT id FROM command WHERE state IN {LIVE} ORDER BY seq")
        ]

    @invariant()
    def life_goes_on(self) -> None:
        """Between two rules the server sends what it can, and agents that listen obey."""
        self.stage.dispatch()
        for agent in self.agents:
            if not agent.is_deaf:
                agent.read()

    # ---- what must hold of commands

    @invariant()
    def commands_change_only_as_designed(self) -> None:
        """Each change is an allowed one; what has ended stays as it ended (I6)."""
        trace = self.stage.rows("SELECT * FROM trace WHERE seq > :seq ORDER BY seq", seq=self._traced)
        for row in trace:
            self._traced = row.seq
            if row.kind == "command":
                assert row.after in COMMAND_CHANGES.get(row.before, ()), f"{row.before} -> {row.after}"
            elif row.kind == "fence":
                assert int(row.after) == int(row.before) + 1
            else:
                self.look_at_anomaly_change(row.id, row.before, row.after)

    def look_at_anomaly_change(self, anomaly_id: int, before: str, after: str) -> None:
        """Hear of one change of an anomaly's state, in order."""

    @invariant()
    def a_trade_has_one_live_command(self) -> None:
        crowded = self.stage.rows(
            f"SELECT trade_no FROM command WHERE state IN {LIVE} AND trade_no IS NOT NULL"
            " GROUP BY trade_no HAVING count(*) > 1"
        )
        assert not crowded

    @invariant()
    def fences_of_a_trade_only_rise(self) -> None:
        """A later Repair of a trade, or a later holder of one, has a higher fence than any before it."""
        rows = self.stage.rows("SELECT trade_no, fence FROM command WHERE type = 'Repair' ORDER BY seq")
        last: dict[str, int] = {}
        for row in rows:
            assert row.fence > last.get(row.trade_no, 0), row.trade_no
            last[row.trade_no] = row.fence
        for trade_no, fence in last.items():
            assert fence >= self._top_fences.get(trade_no, 0)
        self._top_fences = last

    @invariant()
    def nothing_went_wrong_inside(self) -> None:
        assert not self.stage.complaints.told, self.stage.complaints.told[0]

    @invariant()
    def leases_and_states_fit(self) -> None:
        odd = self.stage.rows(
            "SELECT id, state FROM command"
            " WHERE (lease_until IS NOT NULL) <> (state IN ('accepted', 'running'))"
            f" OR (finished_at IS NULL) <> (state IN {LIVE})"
        )
        assert not odd, odd

    # ---- healing

    def heal(self, seconds: float, act: Callable[[Pretender], None], is_over: Callable[[], bool]) -> None:
        """End the faults: clocks are right, agents stay and work, time goes on until all is over."""
        self.stage.clock.now = max(self._latest, self.stage.clock.now)
        for agent in self.agents:
            agent.connect()
            agent.is_deaf = False
        for _ in range(HEALING_ROUNDS):
            self.life_goes_on()
            if is_over():
                for one in self.invariants:
                    one.function(self)
                return
            for agent in self.agents:
                act(agent)
            self.pass_time(seconds)
        left = self.stage.rows("SELECT trade_no, state, fixer_code FROM anomaly"), self.live_commands()
        raise AssertionError(f"not over after {HEALING_ROUNDS} rounds of {seconds} s: {left}")

    def pass_time(self, seconds: float) -> None:
        """Time goes by; who lives has said so or come back, and the server does what is due."""
        self.stage.clock.advance(seconds)
        for agent in self.agents:
            if seconds > RECONNECT_SECONDS:
                agent.come_back()
            if not agent.is_deaf:
                agent.beat()
        self.stage.dispatch()
        self.do_what_is_due()

    def do_what_is_due(self) -> None:
        """The scheduler's part."""
        self.stage.tick()


def chosen(among: Sequence[T], pick: int) -> T:
    """One of them; there must be one."""
    return among[pick % len(among)]


def result_of(agent: Pretender, command_id: str, outcome: str, **fields: Any) -> Message:
    """What the agent's work on a repair or a verification came to."""
    order: Any = agent.journal[command_id].command
    answer = finished if isinstance(order, Repair) else facts_read
    return msgspec.structs.replace(answer(order, outcome, **fields), command_id=command_id)
