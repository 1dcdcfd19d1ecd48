"""What a real agent does in production when frames are repeated and both sides die: each effect once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from agent.protocol import Ack, Repair
from tests.app.machines.stage import Stage
from tests.fakes.faults import Moment
from tests.faults.staged_agent import Killed, RealScene, repairs_in

ONCE: Final = {"postings": 1, "payouts": 1, "rows written": 1}
CALLS: Final = (
    "trades.claim_repair",
    "trades.record_step",
    "ledger.post",
    "trades.open_bank_request",
    "bank.pay",
    "trades.note_bank_request",
    "trades.write_row",
    "trades.close_repair",
)
"""What a repair writes in production, in its order."""
AROUND: Final = ("issued", "sent", "accepted", "finished", "told")
"""How far the repair has come outside of its work."""


@pytest.fixture
def scene(stage: Stage, tmp_path: Path) -> Iterator[RealScene]:
    """A withdrawal debited by nobody and paid by nobody: two effects on money, one row."""
    scene = RealScene(stage, tmp_path)
    yield scene
    scene.agent.leave()


def test_a_command_repeated_a_hundred_times_is_one_repair(scene: RealScene) -> None:
    """The same frame: together, one by one while the repair works and after its end, after a restart."""
    scene.order()
    (frame,) = repairs_in(scene.agent.line.frames, Repair)
    scene.agent.line.frames.clear()
    scene.desk.production.faults.on("bank.pay", lambda: [scene.agent.hear(frame) for _ in range(100)])
    scene.agent.hear(*[frame] * 100)
    assert len(scene.agent.jobs.waiting) == 1
    scene.go_on()
    for _ in range(100):
        scene.agent.hear(frame)
        scene.go_on()
    scene.kill_both()
    scene.agent.hear(*[frame] * 100)
    scene.go_on()
    assert scene.effects() == ONCE
    assert (scene.state(), scene.attempts()) == ("repaired", [(1, "repaired")])
    assert scene.stage.rows("SELECT count(*) FROM command") == [(1,)]
    assert scene.stage.rows("SELECT count(*) FROM received_message") == [(1,)]
    assert [type(message) for message in scene.agent.said].count(Ack) == 400


def bring_to(scene: RealScene, moment: str) -> None:
    """Let the repair come so far outside of its work."""
    scene.stage.tick()
    if moment == "issued":
        return
    scene.stage.dispatch()
    if moment == "sent":
        return
    scene.agent.read()
    if moment == "accepted":
        scene.agent.speak()
        return
    scene.agent.work()
    if moment == "told":
        scene.agent.speak()


def live_on(scene: RealScene) -> None:
    """Time goes by until the trade is whole, and then a little more."""
    for _ in range(20):
        if scene.state() in ("repaired", "healed"):
            break
        scene.pass_time(61)
    scene.pass_time(121)


@pytest.mark.parametrize("moment", AROUND)
def test_both_sides_killed_at_once_resume_and_repeat_no_effect(scene: RealScene, moment: str) -> None:
    """Wherever both die outside of the work on it, one attempt is made, and its one result arrives."""
    bring_to(scene, moment)
    scene.kill_both()
    live_on(scene)
    assert scene.effects() == ONCE
    assert (scene.state(), scene.attempts()) == ("repaired", [(1, "repaired")])
    assert scene.agent.journal.outbox_length() == 0


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", CALLS)
def test_both_sides_killed_at_once_around_any_effect_repeat_none(
    scene: RealScene, call: str, when: Moment
) -> None:
    """The agent's process ends in the middle of its work, with or without the effect; the server's too.

    Where production's own table has it that the repair is over, a later look finds the trade whole.
    """
    scene.order()
    scene.agent.read()
    scene.desk.production.faults.down(call, when, Killed())
    with pytest.raises(Killed):
        scene.agent.work()
    scene.kill_both()
    live_on(scene)
    assert scene.effects() == ONCE
    is_over = (call, when) == ("trades.close_repair", "after")
    state, outcome = ("healed", "wait") if is_over else ("repaired", "repaired")
    assert (scene.state(), scene.attempts()) == (state, [(1, outcome)])
    assert scene.agent.journal.outbox_length() == 0
