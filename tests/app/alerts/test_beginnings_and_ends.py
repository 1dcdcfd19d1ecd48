"""No beginning is told after its end, however fast one follows the other, and none long after it."""

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import select

from app.agents import stops
from app.agents.models import Agent
from app.agents.stops import Target
from app.alerts import service
from app.executions import money_orders
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import URL, add_channel, add_group, deliveries
from tests.app.executions.unpaid import make_world, operator, plant
from tests.conftest import HandClock
from tests.factories import PERSON, make_agent, make_group
from tests.fakes.alert_sender import FakeSender

pytestmark = pytest.mark.each_engine

HOUR = 3_600


def titles(sender: FakeSender) -> list[str]:
    return [one.title.removeprefix("Piculus · ") for one in sender.sent]


def told() -> list[tuple[bool, int]]:
    """Of each message that went, in their order: whether it is a recovery, and of how many."""
    sent = [one for one in deliveries() if one.ended_at is not None and one.state == "sent"]
    return [(one.is_recovery, one.event_count) for one in sorted(sent, key=lambda one: one.ended_at)]


def flap(begin: Callable[[], int], end: Callable[[int], None], rounds: Rounds) -> None:
    """Two begin and end around the moment at which their beginnings are told, a third just after it."""
    first = begin()
    rounds.run(5)
    end(first)
    rounds.run(5)
    second = begin()
    rounds.run(50)
    end(second)
    third = begin()
    rounds.run()
    end(third)
    rounds.run()
    rounds.run(60)


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    return make_world()


def test_an_order_ended_at_once_is_told_before_its_end(
    group: SystemGroup, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel(kinds=["order_waits"])
    li_na, wang = operator("li.na"), operator("wang.qiang")
    anomaly_id = plant(group, amount=12_345_600)
    ways = iter(("withdraw", "reject", "confirm"))

    def propose() -> int:
        with unit_of_work() as session:
            order = money_orders.propose(
                session,
                anomaly_id,
                "pay_again",
                reason="银行确认未付",
                actor=li_na,
                group_ids=None,
                now=clock(),
            )
            return order.id

    def end(order_id: int) -> None:
        how = next(ways)
        actor = li_na if how == "withdraw" else wang
        with unit_of_work() as session:
            getattr(money_orders, how)(
                session, order_id, reason="looked at", actor=actor, group_ids=None, now=clock()
            )

    flap(propose, end, rounds)
    assert titles(sender) == [
        "资金指令待复核 × 2 · PBAP",
        "资金指令待复核 · PBAP",
        "已恢复：资金指令待复核 · PBAP",
    ]
    assert sender.sent[-1].body.count("\n- ") == 3


def test_a_stop_lifted_at_once_is_told_before_its_end(
    app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel(kinds=["stop_switch"])

    def press() -> int:
        with unit_of_work() as session:
            return stops.set_stop(
                session, Target(), reason="drill", actor=PERSON, group_ids=None, now=clock()
            ).id

    def lift(stop_id: int) -> None:
        with unit_of_work() as session:
            stops.lift(
                session, stop_id, reason="over", actor=PERSON, group_ids=None, is_admin=True, now=clock()
            )

    flap(press, lift, rounds)
    where = "全部系统组别"
    assert titles(sender) == [
        f"紧急停止 × 2 · {where}",
        f"紧急停止 · {where}",
        f"已恢复：紧急停止 · {where}",
    ]


def test_an_end_tells_what_still_stands(
    app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    """A stop set, lifted and set again at once ends with word of the end: not as if all could go on."""
    add_channel(kinds=["stop_switch"])
    group_id = add_group().id

    def press(target: Target) -> int:
        with unit_of_work() as session:
            return stops.set_stop(
                session, target, reason="drill", actor=PERSON, group_ids=None, now=clock()
            ).id

    def lift(stop_id: int) -> None:
        with unit_of_work() as session:
            stops.lift(
                session, stop_id, reason="over", actor=PERSON, group_ids=None, is_admin=True, now=clock()
            )

    first = press(Target())
    rounds.run(5)
    lift(first)
    second = press(Target())
    press(Target(group_id=group_id))
    rounds.run(200)
    assert [one.title for one in sender.sent][-1] == "Piculus · 部分恢复：紧急停止 · 全部系统组别"
    assert [one.severity for one in sender.sent][-1] == "failure"
    assert sender.sent[-1].body.splitlines()[2:] == [
        "仍未恢复 2 处：",
        f"- 全部 · {PERSON.name} · 停止于 2026-03-02 20:00:05 · drill",
        f"- 系统组别 · PBAP · {PERSON.name} · 停止于 2026-03-02 20:00:05 · drill",
    ]
    lift(second)
    rounds.run(HOUR)
    assert sender.sent[-1].title == "Piculus · 部分恢复：紧急停止 · 全部系统组别"


def test_of_what_flaps_no_end_is_told_before_its_beginning_and_the_messages_stay_few(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    group_id = add_group().id
    for number in range(60):
        what = {"group_id": group_id, "key": str(number), "now": clock()}
        with unit_of_work() as session:
            service.raise_(session, "breaker", params={"name": str(number)}, **what)
        rounds.run(3)
        with unit_of_work() as session:
            service.recover(session, "breaker", **(what | {"now": clock()}))
        rounds.run(1)
    rounds.run(2 * HOUR, step=400)
    begun = ended = 0
    for is_recovery, count in told():
        begun, ended = (begun, ended + count) if is_recovery else (begun + count, ended)
        assert ended <= begun
    assert (begun, ended) == (60, 60)
    assert len(sender.sent) <= 6


def see(name: str, clock: HandClock) -> None:
    with unit_of_work() as session:
        session.scalars(select(Agent).where(Agent.name == name)).one().last_seen_at = clock()


def test_an_agent_lost_again_beside_another_is_told_before_it_is_told_to_be_back(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel(grouping_seconds=200)
    with unit_of_work() as session:
        group = make_group(session)
        for name in ("pbap-1", "pbap-2"):
            make_agent(session, group, name=name, is_online=False, seen_at=clock())
    for _beat in range(6):
        rounds.run(50)
        see("pbap-2", clock)
    assert titles(sender) == ["客户端离线 · PBAP"]
    see("pbap-1", clock)
    rounds.run(70)
    # Both are lost now; the end of the first loss still gathers.
    see("pbap-1", clock)
    rounds.run(50)
    see("pbap-1", clock)
    rounds.run(50)
    see("pbap-1", clock)
    rounds.run(50)
    # pbap-2 is lost still.
    assert titles(sender)[1:] == ["客户端离线 × 2 · PBAP", "部分恢复：客户端离线 · PBAP"]
    assert told()[-1] == (True, 2)


def test_an_end_waits_for_a_beginning_that_is_sent_again(
    app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel(grouping_seconds=10)
    sender.failing[URL] = "error=503"
    with unit_of_work() as session:
        service.raise_(session, "stop_switch", group_id=None, key="all", params={}, now=clock())
    rounds.run(15)
    with unit_of_work() as session:
        service.recover(session, "stop_switch", group_id=None, key="all", now=clock())
    rounds.run(27, step=3)
    assert [one.attempts for one in deliveries()] == [2, 0]
    sender.failing.clear()
    rounds.run(200)
    assert told() == [(False, 1), (True, 1)]


def test_what_begins_and_ends_before_anybody_looks_is_told_with_its_end(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    """The end of one that was told, and the whole of another, wait in the same batch."""
    add_channel(kinds=["stop_switch"])

    def tell(*, is_over: bool, key: str) -> None:
        what = {"group_id": None, "key": key, "now": clock()}
        with unit_of_work() as session:
            if is_over:
                service.recover(session, "stop_switch", **what)
            else:
                service.raise_(session, "stop_switch", params={"name": key}, **what)

    tell(is_over=False, key="first")
    rounds.run(60, step=20)
    clock.advance(1)
    tell(is_over=True, key="first")
    tell(is_over=False, key="second")
    tell(is_over=True, key="second")
    rounds.run(300, step=20)
    assert told() == [(False, 1), (False, 1), (True, 2)]
