"""The server's clock ran ahead and was put right: what it dated ahead holds up no alert."""

from datetime import timedelta

import pytest
from flask import Flask

from app.agents.models import Agent
from app.alerts import service, times_ahead
from app.alerts.courier import Courier
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import URL, add_channel, add_group, add_trades, close_trades, deliveries
from tests.conftest import HandClock
from tests.factories import make_agent, make_group
from tests.fakes.alert_sender import FakeSender

pytestmark = pytest.mark.each_engine

DAY = timedelta(days=1).total_seconds()
STOP = {"scope": "all", "by": "li.na", "reason": "银行维护"}


def titles(sender: FakeSender) -> list[str]:
    return [one.title for one in sender.sent]


def set_stop(clock: HandClock) -> None:
    with unit_of_work() as session:
        service.raise_(session, "stop_switch", group_id=None, key="all", params=STOP, now=clock())


def lift_stop(clock: HandClock) -> None:
    with unit_of_work() as session:
        service.recover(session, "stop_switch", group_id=None, key="all", now=clock())


def add_agent(clock: HandClock, *, is_online: bool) -> int:
    with unit_of_work() as session:
        return make_agent(
            session, make_group(session), name="pbap-1", is_online=is_online, seen_at=clock()
        ).id


def hear(agent_id: int, clock: HandClock) -> None:
    with unit_of_work() as session:
        session.get_one(Agent, agent_id).last_seen_at = clock()


def test_a_channel_that_sent_while_the_clock_was_ahead_goes_on_sending(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group = add_group()
    clock.advance(DAY)
    add_trades(group, 1)
    rounds.run(60)
    clock.advance(-DAY)
    add_trades(group, 1, "exhausted")
    set_stop(clock)
    rounds.run(75)
    assert sorted(titles(sender)[1:]) == ["Piculus · 紧急停止 · 全部系统组别", "Piculus · 重试耗尽 · PBAP"]
    assert not times_ahead.has_any(db.session, clock())


@pytest.mark.parametrize("ahead", [600, DAY])
def test_what_gathered_while_the_clock_was_ahead_goes_at_once(
    ahead: float, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group = add_group()
    clock.advance(ahead)
    add_trades(group, 2)
    rounds.run()
    clock.advance(-ahead)
    rounds.run(5)
    assert titles(sender) == ["Piculus · 待人工 × 2 · PBAP"]


def test_what_failed_while_the_clock_was_ahead_is_tried_again(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    """Claimed by the right clock, it failed by the wrong one."""
    add_channel()
    add_trades(add_group(), 1)
    sender.failing[URL] = "error=503"
    clock.advance(60)
    (letter,) = rounds.courier.run_round()
    clock.advance(DAY)
    rounds.courier.post(letter)
    clock.advance(-DAY)
    sender.failing.clear()
    rounds.run(30)
    assert [(one.state, one.attempts) for one in deliveries()] == [("sent", 2)]


@pytest.mark.parametrize("is_restarted", [True, False])
def test_a_claim_by_a_clock_ahead_runs_out_and_keeps_no_channel_busy(
    is_restarted: bool, app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    """Whoever claimed it died; a claim still lasts its two minutes, for its holder may be sending."""
    add_channel()
    clock.advance(DAY)
    add_trades(add_group(), 1)
    clock.advance(60)
    rounds.courier.run_round()
    clock.advance(-DAY)
    after = Rounds(Courier(app, sender), clock) if is_restarted else rounds
    after.run(110)
    assert [one.state for one in deliveries()] == ["sending"]
    after.run(30)
    assert [(one.state, one.attempts) for one in deliveries()] == [("sent", 2)]


def test_the_pace_holds_where_the_clock_of_another_server_lags_a_little(
    app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel(grouping_seconds=10)
    add_trades(add_group(), 1)
    add_trades(add_group("PBMS"), 1)
    rounds.run(40, step=40)
    clock.advance(-20)
    Rounds(Courier(app, sender), clock).run()
    assert len(sender.sent) == 1
    clock.advance(27)
    rounds.run()
    assert len(sender.sent) == 2


def test_an_end_is_told_though_the_message_of_its_beginning_went_after_the_clock_was_put_back(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group = add_group()
    clock.advance(DAY)
    set_stop(clock)
    ids = add_trades(group, 1)
    rounds.run()
    clock.advance(-DAY)
    rounds.run(60)
    assert len(sender.sent) == 2
    lift_stop(clock)
    close_trades(ids)
    rounds.run(90)
    assert sorted(titles(sender)[2:]) == [
        "Piculus · 已恢复：待人工 · PBAP",
        "Piculus · 已恢复：紧急停止 · 全部系统组别",
    ]


def test_what_ended_by_the_clock_ahead_is_told_with_its_beginning(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    clock.advance(DAY)
    set_stop(clock)
    rounds.run()
    lift_stop(clock)
    clock.advance(-DAY)
    rounds.run(75)
    assert titles(sender) == [
        "Piculus · 紧急停止 · 全部系统组别",
        "Piculus · 已恢复：紧急停止 · 全部系统组别",
    ]


def test_an_agent_lost_after_the_clock_was_put_back_is_told(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    clock.advance(DAY)
    rounds.run(90)
    clock.advance(-DAY)
    add_agent(clock, is_online=False)
    rounds.run(180)
    assert titles(sender) == ["Piculus · 客户端离线 · PBAP"]


def test_an_agent_last_heard_by_the_clock_ahead_is_told_as_lost(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    clock.advance(DAY)
    rounds.run(90)
    add_agent(clock, is_online=False)
    clock.advance(-DAY)
    rounds.run(180)
    assert titles(sender) == ["Piculus · 客户端离线 · PBAP"]


def test_a_lost_agent_is_not_said_to_be_back_because_the_clock_was_put_back(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    clock.advance(DAY)
    add_agent(clock, is_online=False)
    rounds.run(180)
    clock.advance(-DAY)
    rounds.run(300)
    assert titles(sender) == ["Piculus · 客户端离线 · PBAP"]


def test_agents_that_answer_are_not_lost_while_their_last_sign_is_dated_ahead(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    clock.advance(DAY)
    agent_id = add_agent(clock, is_online=True)
    rounds.run(55)
    hear(agent_id, clock)
    rounds.run(10)
    clock.advance(-DAY)
    rounds.run(30)
    for _beat in range(4):
        hear(agent_id, clock)
        rounds.run(30)
    assert deliveries() == []
