"""What a silence kept back and still holds is told once the silence is over, and nothing else."""

import pytest

from app.alerts.models import AlertSilence
from app.unit_of_work import unit_of_work
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import (
    add_channel,
    add_group,
    add_silence,
    add_trades,
    close_trades,
    deliveries,
    reset,
    trip,
)
from tests.conftest import HandClock
from tests.fakes.alert_sender import FakeSender

pytestmark = pytest.mark.each_engine


def titles(sender: FakeSender) -> list[str]:
    return [one.title for one in sender.sent]


def tripped_in_a_silence(clock: HandClock, name: str, minutes: int) -> int:
    """A channel, a silence of breakers in a group, and one that trips in it; returns the group's id."""
    add_channel()
    group_id = add_group().id
    add_silence("breaker", group_id, minutes)
    trip(group_id, name, clock)
    return group_id


def test_a_condition_that_began_in_a_silence_is_told_at_its_end_and_so_is_its_own(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    group_id = tripped_in_a_silence(clock, "stands", 10)
    trip(group_id, "over", clock)
    rounds.run(300, step=30)
    reset(group_id, "over", clock)
    rounds.run(270, step=30)
    assert titles(sender) == []
    rounds.run(300, step=30)
    assert titles(sender) == ["Piculus · 熔断 · PBAP"]
    assert "stands" in sender.sent[0].body
    assert "over" not in sender.sent[0].body
    reset(group_id, "stands", clock)
    rounds.run(300, step=30)
    assert titles(sender)[1:] == ["Piculus · 已恢复：熔断 · PBAP"]


def test_what_was_heard_of_before_the_silence_is_not_told_again(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group_id = add_group().id
    trip(group_id, "heard", clock)
    rounds.run(300, step=30)
    add_silence("breaker", group_id, 10)
    trip(group_id, "new", clock)
    rounds.run(1_200, step=30)
    assert titles(sender) == ["Piculus · 熔断 · PBAP"] * 2
    assert "heard" not in sender.sent[1].body


def test_trades_that_still_need_a_person_are_told_of_at_its_end(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group = add_group()
    add_silence(None, None, 10)
    ids = add_trades(group, 3)
    rounds.run(300, step=30)
    close_trades(ids[:1])
    rounds.run(900, step=30)
    assert titles(sender) == ["Piculus · 待人工 × 2 · PBAP"]


def test_what_another_silence_covers_waits_for_that_one(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    tripped_in_a_silence(clock, "stands", 10)
    rounds.run(300, step=30)
    add_silence(None, None, 20)
    rounds.run(1_080, step=30)
    assert titles(sender) == []
    rounds.run(300, step=30)
    assert titles(sender) == ["Piculus · 熔断 · PBAP"]


def test_a_silence_that_a_person_ends_is_over_at_once(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    tripped_in_a_silence(clock, "stands", 600)
    rounds.run(120, step=30)
    with unit_of_work() as session:
        session.get_one(AlertSilence, 1).ended_at = clock()
    rounds.run(300, step=30)
    assert titles(sender) == ["Piculus · 熔断 · PBAP"]


def test_where_nothing_holds_any_more_nothing_is_told_and_it_is_looked_at_once(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    group_id = tripped_in_a_silence(clock, "over", 10)
    rounds.run(120, step=30)
    reset(group_id, "over", clock)
    rounds.run(600, step=30)
    trip(group_id, "over", clock)
    rounds.run(300, step=30)
    assert titles(sender) == ["Piculus · 熔断 · PBAP"]
    assert [one.state for one in deliveries()] == ["silenced", "sent"]
    assert deliveries()[0].reviewed_at is not None


def test_a_channel_that_wants_it_no_more_is_told_nothing(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    channel = add_channel(kinds=["breaker"])
    other = add_channel("别处", url="dingtalk://other", kinds=["breaker"])
    group_id = add_group().id
    add_silence("breaker", group_id, 10)
    trip(group_id, "stands", clock)
    rounds.run(120, step=30)
    with unit_of_work() as session:
        session.get_one(type(channel), channel.id).kinds = ["stop_switch"]
        session.get_one(type(other), other.id).is_enabled = False
    rounds.run(900, step=30)
    assert titles(sender) == []
