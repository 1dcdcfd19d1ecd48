"""Frames that come in another order than they were sent, before the real server or the real agent."""

import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import select

from agent.answers import AnomaliesReported, CollectFinished, RepairFinished, ReportedTrade, Started
from agent.protocol import Ack, Cancel, Collect, Rejected, Repair, decode_to_server
from app.agents import commands
from app.agents.models import Command
from app.anomalies import collections
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.machines.pretender import Pretender, new_id
from tests.app.machines.stage import Stage
from tests.factories import FIXER, PERSON, reported
from tests.faults.conftest import Scene
from tests.faults.staged_agent import RealScene, repairs_in

ONCE: Final = {"postings": 1, "payouts": 1, "rows written": 1}


@pytest.fixture
def real(stage: Stage, tmp_path: Path) -> Iterator[RealScene]:
    """A withdrawal to debit and to pay, and a real agent."""
    real = RealScene(stage, tmp_path)
    yield real
    real.agent.leave()


# ---- what an agent says of a repair

Order = Callable[[list[bytes]], list[bytes]]


def result_first(frames: list[bytes]) -> list[bytes]:
    """The result comes before the Ack of its command, before Started and before each step."""
    assert isinstance(decode_to_server(frames[-1]), RepairFinished)
    return [frames[-1], *frames[:-1]]


def drawn(seed: int) -> Order:
    return lambda frames: random.Random(seed).sample(frames, len(frames))


ORDERS: Final[dict[str, Order]] = {
    "the result first": result_first,
    "backwards": lambda frames: frames[::-1],
    **{f"drawn, {seed}": drawn(seed) for seed in range(3)},
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_repair_ends_alike_in_whatever_order_its_agent_is_heard(
    real: RealScene, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    real.order()
    under_way: list[bytes] = []
    with monkeypatch.context() as patch:
        patch.setattr(real.agent, "_tell", under_way.append)
        real.agent.read()
        real.agent.work()
        real.agent.speak()
    kinds = [type(decode_to_server(frame)) for frame in under_way]
    assert kinds[:2] == [Ack, Started]
    for frame in ORDERS[order](under_way):
        real.agent._tell(frame)
    real.go_on()
    assert (real.state(), real.attempts(), real.effects()) == ("repaired", [(1, "repaired")], ONCE)
    assert real.stage.rows("SELECT state FROM command") == [("finished",)]
    assert {state for (state,) in real.stage.rows("SELECT state FROM step")} == {"done"}
    assert real.agent.journal.outbox_length() == 0


# ---- what an agent hears


def ask_to_cancel(real: RealScene) -> None:
    """A person has the repair stopped."""

    def work(session: WorkSession) -> None:
        command = session.scalars(select(Command)).one()
        commands.request_cancel(session, command, "by hand", real.stage.clock())

    assert real.stage.ask(work) is None
    real.stage.dispatch()


def test_a_cancel_before_its_repair_stops_nothing_and_the_repair_is_told_of_and_made_once(
    real: RealScene,
) -> None:
    """The agent knows no such command, the server calls it cancelled; its result is told all the same."""
    real.order()
    ask_to_cancel(real)
    frames = real.agent.line.frames
    (cancel,), (repair,) = repairs_in(frames, Cancel), repairs_in(frames, Repair)
    frames.clear()
    real.agent.hear(cancel)
    assert [one.code for one in real.agent.hints if isinstance(one, Rejected)] == ["unknown_command"]
    real.agent.speak()
    assert (real.state(), real.attempts()) == ("open", [(1, "cancelled")])
    real.agent.hear(repair)
    for _ in range(5):
        real.pass_time(61)
    assert real.effects() == ONCE
    assert real.stage.rows("SELECT count(*) FROM anomaly_event WHERE code = 'late_result'") == [(1,)]
    assert real.state() in ("repaired", "healed")
    assert real.agent.journal.outbox_length() == 0


def command_again(real: RealScene) -> None:
    """The server gives the command up for lost and sends it again, under the next fence."""

    def work(session: WorkSession) -> None:
        commands.accept(session.scalars(select(Command)).one(), real.stage.clock())

    assert real.stage.ask(work) is None
    real.stage.clock.advance(61)
    real.stage.tick()
    real.stage.dispatch()


@pytest.mark.parametrize("together", [True, False])
def test_of_two_fences_of_a_command_that_are_swapped_the_higher_one_is_carried_out(
    real: RealScene, together: bool
) -> None:
    real.order()
    command_again(real)
    frames = real.agent.line.frames
    lower, higher = repairs_in(frames, Repair)
    frames.clear()
    for heard in [(higher, lower)] if together else [(higher,), (lower,)]:
        real.agent.hear(*heard)
    refused = [one for one in real.agent.hints if isinstance(one, Rejected)]
    assert [one.code for one in refused] == ["conflict"]
    real.go_on()
    assert (real.state(), real.attempts(), real.effects()) == ("repaired", [(1, "repaired")], ONCE)
    assert real.stage.rows("SELECT state FROM command") == [("finished",)]


# ---- what an agent says of a collection


def collecting(scene: Scene) -> tuple[Pretender, Collect]:
    """A run over one agent, which has its command."""
    (agent, other) = scene.agents
    other.hang_up()

    def start(session: WorkSession) -> None:
        now = scene.stage.clock()
        collections.start_run(
            session,
            group=session.get_one(SystemGroup, scene.group_id),
            codes=[FIXER],
            window=(now - timedelta(days=7), now),
            trigger="click",
            actor=PERSON,
            reason="",
            now=now,
        )

    assert scene.stage.ask(start) is None
    scene.go_on()
    ((_, command_id),) = scene.held()
    collect = agent.journal[command_id].command
    assert isinstance(collect, Collect)
    return agent, collect


def part(collect: Collect, number: int) -> AnomaliesReported:
    """A chunk of one trade."""
    trade: ReportedTrade = reported(f"T{number}")
    return AnomaliesReported(
        id=new_id(),
        command_id=collect.command_id,
        run_id=collect.run_id,
        shard=collect.shard,
        chunk=number,
        rows=(trade,),
    )


def trailer(collect: Collect, chunks: int) -> CollectFinished:
    """The end of a report of so many such chunks."""
    return CollectFinished(
        id=new_id(),
        command_id=collect.command_id,
        run_id=collect.run_id,
        shard=collect.shard,
        chunks=chunks,
        rows=chunks,
        amount_minor=chunks * 10_000,
        scanned=chunks,
        unverified=0,
        duration_ms=1,
    )


def ended(scene: Scene) -> tuple[list[str], list[str]]:
    """The states of the runs, and the trades that are listed."""
    states = scene.stage.rows("SELECT state FROM collection_run ORDER BY id")
    listed = scene.stage.rows("SELECT trade_no FROM anomaly ORDER BY trade_no")
    return [state for (state,) in states], [trade_no for (trade_no,) in listed]


def test_chunks_in_another_order_are_one_report(scene: Scene) -> None:
    agent, collect = collecting(scene)
    command_id = str(collect.command_id)
    agent.begin(command_id)
    for number in (2, 0, 1):
        agent.say(part(collect, number))
    agent.finish(command_id, trailer(collect, 3))
    scene.go_on()
    assert ended(scene) == (["finished"], ["T0", "T1", "T2"])
    assert not agent.outbox


def test_a_trailer_before_one_of_its_chunks_leaves_the_run_incomplete_and_the_next_one_whole(
    scene: Scene,
) -> None:
    """What came is kept, nothing absent is taken for healed; the chunk behind the trailer is acknowledged."""
    agent, collect = collecting(scene)
    command_id = str(collect.command_id)
    agent.begin(command_id)
    agent.say(part(collect, 0))
    agent.finish(command_id, trailer(collect, 2))
    agent.say(part(collect, 1))
    scene.go_on()
    assert ended(scene) == (["incomplete"], ["T0"])
    assert scene.stage.rows("SELECT count(*) FROM command WHERE type = 'Verify'") == [(0,)]
    assert not agent.outbox
    agent, again = collecting(scene)
    command_id = str(again.command_id)
    agent.begin(command_id)
    agent.finish(command_id, part(again, 0), part(again, 1), trailer(again, 2))
    scene.go_on()
    assert ended(scene) == (["incomplete", "finished"], ["T0", "T1"])


def test_a_beginning_behind_its_first_chunk_leaves_the_run_incomplete_and_the_trades_listed(
    scene: Scene,
) -> None:
    """Started has the server forget the chunks before it: it never counts more than one reading."""
    agent, collect = collecting(scene)
    command_id = str(collect.command_id)
    agent.say(part(collect, 0))
    agent.begin(command_id)
    agent.finish(command_id, part(collect, 1), trailer(collect, 2))
    scene.go_on()
    assert ended(scene) == (["incomplete"], ["T0", "T1"])
    assert not agent.outbox
