"""What a message of a stop says: of what, who set it, when and why; and who lifted it, and when."""

from datetime import timedelta

from flask import Flask

from app.agents import stops
from app.agents.stops import Target
from app.audit.service import Actor
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import add_channel, add_group
from tests.factories import NOW, PERSON
from tests.fakes.alert_sender import FakeSender

SET = {"group_ids": None, "now": NOW}
WANG = Actor(id=None, name="wang.qiang")


def press_and_lift(group: SystemGroup | None, rounds: Rounds) -> None:
    target = Target() if group is None else Target(group_id=group.id)
    with unit_of_work() as session:
        stop_id = stops.set_stop(session, target, reason="银行维护 6222021234567890", actor=PERSON, **SET).id
    rounds.run(60, step=20)
    lifted = {"group_ids": None, "is_admin": True, "now": NOW + timedelta(hours=16)}
    with unit_of_work() as session:
        stops.lift(session, stop_id, reason="over", actor=WANG, **lifted)
    rounds.run(120, step=20)


def test_a_stop_of_everything(app: Flask, rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    press_and_lift(None, rounds)
    assert [one.body.splitlines() for one in sender.sent] == [
        [
            "紧急停止（全部系统组别）：不再开始新的修复。",
            f"- 全部 · {PERSON.name} · 停止于 2026-03-02 20:00:00 · 银行维护 6222****7890",
        ],
        [
            "紧急停止（全部系统组别）：已解除 1 处。",
            "- 全部 · wang.qiang · 解除于 2026-03-03 12:00:00",
        ],
    ]


def test_a_stop_of_a_group_in_english(app: Flask, rounds: Rounds, sender: FakeSender) -> None:
    add_channel(language="en", zone="UTC")
    press_and_lift(add_group(), rounds)
    assert [one.body.splitlines() for one in sender.sent] == [
        [
            "Stop switch (PBAP): no new repair begins.",
            f"- System group · PBAP · {PERSON.name} · stopped at 2026-03-02 12:00:00 · 银行维护 6222****7890",
        ],
        [
            "Stop switch (PBAP): 1 lifted.",
            "- System group · PBAP · wang.qiang · lifted at 2026-03-03 04:00:00",
        ],
    ]
