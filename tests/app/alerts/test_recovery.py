"""Conditions: raised once, recovered when they end, told to those who heard of them."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.agents import local_stops
from app.agents.models import Agent
from app.alerts import service
from app.alerts.models import AlertCondition, AlertEvent
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
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
from tests.factories import NOW, make_agent, make_group
from tests.fakes.alert_sender import FakeSender

pytestmark = pytest.mark.each_engine


def titles(sender: FakeSender) -> list[str]:
    return [one.title for one in sender.sent]


def conditions() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(AlertCondition)) or 0


def set_stop() -> bool:
    with unit_of_work() as session:
        params = {"scope": "all", "by": "li.na", "reason": "银行维护 6222021234567890"}
        return service.raise_(session, "stop_switch", group_id=None, key="all", params=params, now=NOW)


def lift_stop() -> bool:
    with unit_of_work() as session:
        return service.recover(session, "stop_switch", group_id=None, key="all", now=NOW)


def test_a_condition_raised_again_is_no_news(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    assert (set_stop(), set_stop()) == (True, False)
    rounds.run(90)
    assert titles(sender) == ["Piculus · 紧急停止 · 全部系统组别"]
    assert "全部 · li.na · 银行维护 6222****7890" in sender.sent[0].body


def keep_local_stop(name: str, stopped: str | None) -> None:
    with unit_of_work() as session:
        local_stops.keep(
            session, session.scalars(select(Agent).where(Agent.name == name)).one(), stopped, NOW
        )


def test_an_agent_s_own_stop_is_told_as_one_of_agents(rounds: Rounds, sender: FakeSender) -> None:
    add_channel(kinds=["stop_switch"])
    with unit_of_work() as session:
        make_agent(session, make_group(session), name="pbap-1")
    keep_local_stop("pbap-1", "换磁盘")
    rounds.run(90)
    keep_local_stop("pbap-1", None)
    rounds.run(90)
    assert titles(sender) == ["Piculus · 紧急停止 · PBAP", "Piculus · 已恢复：紧急停止 · PBAP"]
    begun, ended = (one.body.splitlines()[:2] for one in sender.sent)
    assert begun == [
        "PBAP 有 1 个客户端已停止，它们不再开始新的修复。",
        "- 客户端本地 · pbap-1 · 停止于 2026-03-02 20:00:00 · 换磁盘",
    ]
    assert ended == ["PBAP 有 1 个客户端的停止已解除。", "- 客户端本地 · pbap-1 · 解除于 2026-03-02 20:00:00"]


def test_a_bulk_repair_that_paused_is_told_with_its_cause_and_its_trade(
    rounds: Rounds, sender: FakeSender
) -> None:
    add_channel(kinds=["bulk_paused"])
    with unit_of_work() as session:
        group_id = make_group(session).id
        of_trade = {"name": "#7", "code": "needs_human", "trade_no": "CO160724154936100036"}
        of_person = {"name": "#8", "code": "person_may_not", "in_name_of": "li.na", "cause": "disabled"}
        for params in (of_trade, of_person):
            service.raise_(
                session, "bulk_paused", group_id=group_id, key=params["name"], params=params, now=NOW
            )
    rounds.run(90)
    with unit_of_work() as session:
        service.recover(session, "bulk_paused", group_id=group_id, key="#7", now=NOW)
    rounds.run(90)
    assert titles(sender) == ["Piculus · 批量修复暂停 × 2 · PBAP", "Piculus · 部分恢复：批量修复暂停 · PBAP"]
    begun, ended = (one.body.splitlines() for one in sender.sent)
    assert begun[:3] == [
        "PBAP 有 2 个批量修复自己暂停，等人继续或停止。",
        "- #7 · 待人工 · CO160724154936100036",
        "- #8 · li.na 已停用",
    ]
    assert ended[:4] == [
        "PBAP 有 1 个批量修复已继续或停止。",
        "- #7",
        "仍未恢复 1 处：",
        "- #8 · li.na 已停用",
    ]


def test_its_end_is_told_once(rounds: Rounds, sender: FakeSender, clock: HandClock) -> None:
    add_channel()
    set_stop()
    rounds.run(90)
    assert (lift_stop(), lift_stop()) == (True, False)
    rounds.run(90)
    assert titles(sender)[1:] == ["Piculus · 已恢复：紧急停止 · 全部系统组别"]
    assert conditions() == 0


def test_an_end_before_the_message_went_is_told_after_its_beginning(
    rounds: Rounds, sender: FakeSender
) -> None:
    add_channel(grouping_seconds=600)
    set_stop()
    rounds.run()
    lift_stop()
    rounds.run(660, step=60)
    assert titles(sender) == [
        "Piculus · 紧急停止 · 全部系统组别",
        "Piculus · 已恢复：紧急停止 · 全部系统组别",
    ]


def test_who_heard_nothing_of_a_beginning_hears_nothing_of_its_end(
    rounds: Rounds, sender: FakeSender
) -> None:
    set_stop()
    rounds.run()
    add_channel()
    lift_stop()
    rounds.run(120)
    assert sender.sent == []


def test_an_end_is_told_where_only_what_came_after_its_beginning_was_silenced(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    """Of two breakers one was heard of: its end is told, and the other's is not."""
    add_channel()
    group_id = add_group().id
    trip(group_id, "heard", clock)
    rounds.run(90)
    add_silence("breaker", group_id, 30)
    trip(group_id, "silenced", clock)
    rounds.run(900, step=30)
    reset(group_id, "silenced", clock)
    rounds.run(120, step=30)
    assert titles(sender) == ["Piculus · 熔断 · PBAP"]
    rounds.run(1200, step=30)
    reset(group_id, "heard", clock)
    rounds.run(120, step=30)
    assert titles(sender)[1:] == ["Piculus · 已恢复：熔断 · PBAP"]
    assert "heard" in sender.sent[-1].body


@pytest.mark.parametrize("state", ["needs_human", "exhausted"])
def test_a_clear_group_is_told_after_a_silence_that_covered_only_some_of_its_trades(
    state: str, rounds: Rounds, sender: FakeSender
) -> None:
    add_channel()
    group = add_group()
    ids = add_trades(group, 1, state)
    rounds.run(90)
    add_silence(None, group.id, 15)
    ids += add_trades(group, 1, state)
    rounds.run(840, step=30)
    close_trades(ids)
    rounds.run(180, step=30)
    assert [(one.is_recovery, one.state) for one in deliveries()] == [
        (False, "sent"),
        (False, "silenced"),
        (True, "sent"),
    ]


def test_a_channel_may_want_no_recoveries(rounds: Rounds, sender: FakeSender) -> None:
    add_channel(tells_recovery=False)
    set_stop()
    rounds.run(90)
    lift_stop()
    rounds.run(90)
    assert titles(sender) == ["Piculus · 紧急停止 · 全部系统组别"]


def test_what_is_no_lasting_condition_cannot_be_raised(app: Flask) -> None:
    with unit_of_work() as session, pytest.raises(ValueError, match="needs_human"):
        service.raise_(session, "needs_human", group_id=None, key="", params={}, now=NOW)


@pytest.mark.parametrize("state", ["needs_human", "exhausted"])
def test_a_group_with_nothing_left_is_told(state: str, rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group, other = add_group(), add_group("PBMS")
    ids, _others = add_trades(group, 2, state), add_trades(other, 1, state)
    rounds.run(90)
    close_trades(ids[:1])
    rounds.run(90)
    assert len(sender.sent) == 2
    close_trades(ids[1:])
    rounds.run(90)
    recovered = [one for one in deliveries() if one.is_recovery]
    assert [(one.kind, one.group_id, one.state) for one in recovered] == [(state, group.id, "sent")]
    assert sender.sent[-1].title.startswith("Piculus · 已恢复：")
    assert conditions() == 1


def test_a_group_that_is_not_clear_after_all_is_not_told_clear(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group = add_group()
    ids = add_trades(group, 1)
    rounds.run(90)
    close_trades(ids)
    rounds.run(10)
    add_trades(group, 1)
    rounds.run(600, step=60)
    assert titles(sender) == ["Piculus · 待人工 · PBAP", "Piculus · 待人工 · PBAP"]
    assert [one.state for one in deliveries()] == ["sent", "dropped", "sent"]


def add_lost_agent(group: SystemGroup, clock: HandClock, name: str = "pbap-1") -> int:
    """An agent that was heard, and then never again."""
    with unit_of_work() as session:
        return make_agent(session, group, name=name, is_online=False, seen_at=clock()).id


def come_back(agent_id: int, clock: HandClock) -> None:
    with unit_of_work() as session:
        agent = session.get_one(Agent, agent_id)
        agent.connected_at = agent.last_seen_at = clock()


def test_a_lost_agent_is_told_and_so_is_its_return(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    agent_id = add_lost_agent(add_group(), clock)
    rounds.run(180)
    assert titles(sender) == ["Piculus · 客户端离线 · PBAP"]
    assert "pbap-1 · 最后一次应答 2026-03-02 20:00:00" in sender.sent[0].body
    come_back(agent_id, clock)
    rounds.run(55)
    come_back(agent_id, clock)
    rounds.run(30)
    assert titles(sender)[1:] == ["Piculus · 已恢复：客户端离线 · PBAP"]


def test_an_agent_back_before_the_message_went_is_not_told(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    agent_id = add_lost_agent(add_group(), clock)
    rounds.run(75)
    assert conditions() == 1
    come_back(agent_id, clock)
    rounds.run(55)
    come_back(agent_id, clock)
    rounds.run(55)
    assert sender.sent == []
    assert [one.state for one in deliveries()] == ["dropped"]


def test_after_a_start_agents_have_time_to_come_back(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group = add_group()
    agent_id = add_lost_agent(group, clock)
    clock.advance(7200)
    rounds.run(50)
    come_back(agent_id, clock)
    rounds.run(55)
    assert deliveries() == []


def test_many_agents_of_a_group_are_one_message(rounds: Rounds, sender: FakeSender, clock: HandClock) -> None:
    add_channel()
    group = add_group()
    for number in range(9):
        add_lost_agent(group, clock, f"pbap-{number}")
    rounds.run(180)
    assert titles(sender) == ["Piculus · 客户端离线 × 9 · PBAP"]


def test_a_revoked_agent_is_missed_no_more_and_not_said_to_be_back(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    agent_id = add_lost_agent(add_group(), clock)
    rounds.run(180)
    with unit_of_work() as session:
        session.get_one(Agent, agent_id).revoked_at = clock()
    rounds.run(90)
    assert (len(sender.sent), conditions()) == (1, 0)


def test_an_agent_that_never_came_is_not_lost(rounds: Rounds, clock: HandClock) -> None:
    add_channel()
    group = add_group()
    with unit_of_work() as session:
        agent = make_agent(session, group, is_online=False)
        agent.last_seen_at = None
    rounds.run(180)
    assert conditions() == 0


def test_an_event_is_kept_while_nobody_looks(app: Flask, clock: HandClock) -> None:
    set_stop()
    db.session.rollback()
    kept = db.session.scalars(select(AlertEvent)).one()
    assert (kept.kind, kept.at - NOW) == ("stop_switch", timedelta(0))
