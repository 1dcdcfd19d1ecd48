"""What a server makes of agents that die and of frames lost, repeated and in another order."""

from collections.abc import Callable

import pytest

from agent.answers import RepairFinished
from agent.protocol import Repair
from app import HANDLERS
from app.errors import ConflictError, InvalidError, NotFoundError, PiculusError
from tests.app.machines.pretender import Pretender
from tests.app.machines.server_machine import result_of
from tests.faults.conftest import Scene


def running_repair(scene: Scene) -> tuple[str, Pretender, str]:
    """A trade whose repair runs, the agent that runs it, and its command."""
    trade_no = scene.break_trade()
    scene.stage.tick()
    scene.go_on()
    ((agent, command_id),) = scene.held()
    assert isinstance(agent.journal[command_id].command, Repair)
    agent.begin(command_id)
    return trade_no, agent, command_id


def test_a_result_repeated_a_hundred_times_counts_once(scene: Scene) -> None:
    """Frames duplicated 100×: by their ids, and as a hundred messages of the same result."""
    trade_no, agent, command_id = running_repair(scene)
    agent.finish(command_id, result_of(agent, command_id, "failed"))
    for _ in range(100):
        agent.say_again(agent.said[0])
        agent.say_again(result_of(agent, command_id, "failed"))
    assert scene.state_of(trade_no) == "exhausted"
    assert scene.stage.rows("SELECT failed_attempts, attempts FROM anomaly") == [(1, 1)]


@pytest.mark.parametrize(
    "error",
    [ConflictError("order_over"), ConflictError("state"), NotFoundError("agent"), InvalidError("long")],
)
def test_a_result_the_server_cannot_apply_stays_with_its_agent(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, error: PiculusError
) -> None:
    """It may be the only word of money that moved: it is sent until it is taken."""
    trade_no, agent, command_id = running_repair(scene)

    def stumble(*_message: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setitem(HANDLERS, RepairFinished, (stumble,))
        agent.finish(command_id, result_of(agent, command_id, "repaired", money_moved=True))
        scene.go_on()
    assert list(agent.outbox.values()) == agent.said
    agent.hang_up()
    agent.connect()
    scene.go_on()
    assert (scene.state_of(trade_no), agent.outbox) == ("repaired", {})


@pytest.mark.parametrize("where", ["app.agents.recovery.reconcile", "app.agents.hub.Hub.register"])
def test_an_agent_whose_hello_the_server_fails_over_dials_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """On this socket it would be there, and be sent nothing, for ever."""
    agent, other = scene.agents
    for one in scene.agents:
        one.hang_up()

    def stumble(*_greeting: object) -> None:
        raise ConflictError("state")

    with monkeypatch.context() as patch:
        patch.setattr(where, stumble)
        agent.connect()
    assert not agent.is_there
    agent.come_back()
    scene.break_trade()
    scene.stage.tick()
    scene.go_on()
    assert [one for one, _ in scene.held()] == [agent]
    assert not other.is_there


Ordered = Callable[[Pretender, str], None]


def result_first(agent: Pretender, command_id: str) -> None:
    agent.finish(command_id, result_of(agent, command_id, "repaired"))
    agent.journal[command_id].state = "taken"
    agent.begin(command_id)


def never_started(agent: Pretender, command_id: str) -> None:
    agent.finish(command_id, result_of(agent, command_id, "repaired"))


@pytest.mark.parametrize("ordered", [result_first, never_started])
def test_frames_that_are_reordered_or_dropped_leave_the_same_end(scene: Scene, ordered: Ordered) -> None:
    """Started, a hint, may come after the result or never; the result decides."""
    trade_no = scene.break_trade()
    scene.stage.tick()
    scene.go_on()
    ((agent, command_id),) = scene.held()
    ordered(agent, command_id)
    scene.go_on()
    assert scene.state_of(trade_no) == "repaired"
    assert scene.stage.rows("SELECT state FROM command") == [("finished",)]


def test_a_result_whose_socket_dies_with_it_arrives_with_the_next(scene: Scene) -> None:
    """A dropped frame: nothing was acknowledged, so the outbox still has it (I5)."""
    trade_no, agent, command_id = running_repair(scene)
    agent.hang_up()
    agent.finish(command_id, result_of(agent, command_id, "repaired"))
    assert scene.state_of(trade_no) == "repairing"
    agent.connect()
    scene.go_on()
    assert scene.state_of(trade_no) == "repaired"
    assert not agent.outbox


def test_a_zombie_that_wakes_after_its_takeover_changes_nothing(scene: Scene) -> None:
    """Its lease has ended, another agent has repaired the trade: its result is kept as evidence only."""
    trade_no, zombie, command_id = running_repair(scene)
    zombie.hang_up()
    (other,) = [agent for agent in scene.agents if agent is not zombie]
    for _ in range(2):
        scene.pass_time(61)
    assert other.journal[command_id].fence == zombie.journal[command_id].fence + 1
    other.begin(command_id)
    other.finish(command_id, result_of(other, command_id, "repaired"))
    zombie.connect()
    zombie.finish(command_id, result_of(zombie, command_id, "failed"))
    scene.go_on()
    assert scene.state_of(trade_no) == "repaired"
    assert scene.stage.rows("SELECT outcome, agent_id FROM attempt") == [("repaired", other.id)]
    told = scene.stage.rows("SELECT reason FROM anomaly_event WHERE code = 'late_result'")
    assert told == [(f"fence {zombie.journal[command_id].fence}, failed: ",)]
    assert not zombie.outbox


def test_a_zombies_result_does_not_end_what_another_agent_is_at_work_on(scene: Scene) -> None:
    """Its fence is older than that of the command: evidence, and the repair goes on."""
    trade_no, zombie, command_id = running_repair(scene)
    zombie.hang_up()
    (other,) = [agent for agent in scene.agents if agent is not zombie]
    for _ in range(2):
        scene.pass_time(61)
    other.begin(command_id)
    zombie.connect()
    zombie.finish(command_id, result_of(zombie, command_id, "failed"))
    assert scene.state_of(trade_no) == "repairing"
    assert scene.stage.rows("SELECT state FROM command") == [("running",)]
    other.finish(command_id, result_of(other, command_id, "repaired"))
    assert scene.state_of(trade_no) == "repaired"


def test_a_zombies_word_of_money_takes_an_exhausted_trade_to_a_person(scene: Scene) -> None:
    """Money that may have moved is never left as exhausted, which nobody looks at again by himself."""
    trade_no, zombie, command_id = running_repair(scene)
    zombie.hang_up()
    (other,) = [agent for agent in scene.agents if agent is not zombie]
    for _ in range(2):
        scene.pass_time(61)
    other.begin(command_id)
    other.finish(command_id, result_of(other, command_id, "failed"))
    assert scene.state_of(trade_no) == "exhausted"
    zombie.connect()
    zombie.finish(command_id, result_of(zombie, command_id, "unknown", money_moved=True))
    assert scene.state_of(trade_no) == "needs_human"
    assert scene.stage.rows("SELECT has_moved_money, reason FROM anomaly") == [(1, "money_found")]
