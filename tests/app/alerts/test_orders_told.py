"""A money order that waits for a second person is told while it waits, and how that ended."""

from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.alerts.models import AlertCondition, AlertEvent
from app.anomalies.service import close_consistent
from app.audit.service import Actor
from app.executions import money_orders, order_course
from app.executions.order_models import MoneyOrder
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import add_channel
from tests.app.executions.unpaid import make_world, operator, plant, read_order
from tests.factories import NOW
from tests.fakes.alert_sender import FakeSender

pytestmark = pytest.mark.each_engine

SMALL, LARGE = 100_000, 12_345_600


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    return make_world()


@pytest.fixture
def li_na(group: SystemGroup) -> Actor:
    return operator("li.na")


@pytest.fixture
def wang(group: SystemGroup) -> Actor:
    return operator("wang.qiang")


def propose(group: SystemGroup, actor: Actor, amount: int = LARGE) -> int:
    anomaly_id = plant(group, amount=amount)
    reason = "银行确认未付 6222021234567890"
    with unit_of_work() as session:
        order = money_orders.propose(
            session, anomaly_id, "pay_again", reason=reason, actor=actor, group_ids=None, now=NOW
        )
        return order.id


def end(how: str, order_id: int, li_na: Actor, wang: Actor) -> None:
    """Let the order end in one of its ways."""
    given = {"reason": "looked at", "group_ids": None, "now": NOW + timedelta(hours=1)}
    with unit_of_work() as session:
        if how == "time":
            assert order_course.close_over(session, NOW + timedelta(hours=24)) == 1
        elif how == "healed":
            anomaly = session.get_one(MoneyOrder, order_id).anomaly
            close_consistent(session, anomaly, NOW, None)
        else:
            actor = li_na if how == "withdraw" else wang
            getattr(money_orders, how)(session, order_id, actor=actor, **given)


def told() -> list[tuple[bool, str | None]]:
    db.session.rollback()
    events = db.session.scalars(
        select(AlertEvent).where(AlertEvent.kind == "order_waits").order_by(AlertEvent.id)
    )
    return [(event.is_recovery, event.params.get("ended")) for event in events]


def open_conditions() -> int | None:
    return db.session.scalar(select(func.count()).select_from(AlertCondition))


@pytest.mark.parametrize(
    ("how", "ended"),
    [
        ("confirm", "confirmed"),
        ("reject", "rejected"),
        ("withdraw", "withdrawn"),
        ("time", "expired"),
        ("healed", "expired"),
    ],
)
def test_it_is_told_while_it_waits_and_once_how_that_ended(
    group: SystemGroup, li_na: Actor, wang: Actor, how: str, ended: str
) -> None:
    order_id = propose(group, li_na)
    assert (told(), open_conditions()) == ([(False, None)], 1)
    end(how, order_id, li_na, wang)
    assert (told(), open_conditions()) == ([(False, None), (True, ended)], 0)


def test_one_that_needs_no_second_person_is_not_told(group: SystemGroup, li_na: Actor) -> None:
    assert read_order(propose(group, li_na, SMALL)).state == "issued"
    assert (told(), open_conditions()) == ([], 0)


def test_those_of_a_group_go_as_one_message_with_a_link_to_where_they_are_confirmed(
    app: Flask, rounds: Rounds, sender: FakeSender, group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    settings = app.extensions["settings"]
    app.extensions["settings"] = settings.model_copy(update={"public_url": "https://piculus.example.com"})
    add_channel(url="dingtalk://zh", kinds=["order_waits"])
    add_channel("en", url="dingtalk://en", language="en", kinds=["order_waits"])
    first, second = propose(group, li_na), propose(group, li_na)
    rounds.run(90)
    end("confirm", first, li_na, wang)
    end("reject", second, li_na, wang)
    rounds.run(300)
    begun, ended = (one for one in sender.sent if one.url == "dingtalk://zh")
    assert begun.title == "Piculus · 资金指令待复核 × 2 · PBAP"
    number = read_order(first).trade_no
    sentence, line, *_rest, link = begun.body.splitlines()
    assert sentence == "PBAP 有 2 笔再付或冲正等另一个人复核，到时没有人复核就失效。"
    said = f"- {number} · 再付 · ¥123,456.00 · li.na 提交 · 复核截止 2026-03-03 20:00:00"
    said += " · 银行确认未付 6222****7890"
    assert line == said
    assert link == "https://piculus.example.com/exceptions/orders?state=proposed&group=PBAP"
    assert ended.title == "Piculus · 已恢复：资金指令待复核 · PBAP"
    assert ended.body.splitlines()[1:3] == [
        f"- {number} · 再付 · ¥123,456.00 · 已复核",
        f"- {read_order(second).trade_no} · 再付 · ¥123,456.00 · 已驳回",
    ]
    english = [one.body for one in sender.sent if one.url == "dingtalk://en"]
    assert not any("\u4e00" <= letter <= "\u9fff" for letter in english[1])
    assert english[1].splitlines()[1].endswith(" · confirmed")
