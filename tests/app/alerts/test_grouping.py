"""What is alike goes together: windows, storms, levels, groups, silences, quiet hours."""

import pytest
from sqlalchemy import func, select

from app.alerts import service
from app.alerts.models import AlertEvent
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import add_channel, add_group, add_silence, add_trades, close_trades, deliveries
from tests.conftest import HandClock
from tests.factories import NOW, make_plan
from tests.fakes.alert_sender import FakeSender

pytestmark = pytest.mark.each_engine


def waiting_events() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(AlertEvent)) or 0


def test_trades_of_a_group_go_as_one_message(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group = add_group()
    add_trades(group, 3, reason="mismatch")
    rounds.run(30)
    add_trades(group, 4)
    assert sender.sent == []
    rounds.run(30)
    (one,) = sender.sent
    assert one.title == "Piculus · 待人工 × 7 · PBAP"
    assert one.body.count("\n- CO") == 5
    assert "充值成功，账户未入账 · 账务或银行的金额、账号与交易不相符，需人工核查 · ¥100.00" in one.body
    assert "…另有 2 条" in one.body
    assert waiting_events() == 0


def test_another_kind_or_group_is_another_message(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    first, second = add_group(), add_group("PBMS")
    add_trades(first, 1)
    add_trades(first, 1, "exhausted")
    add_trades(second, 1)
    rounds.run(90)
    assert sorted(one.title for one in sender.sent) == [
        "Piculus · 待人工 · PBAP",
        "Piculus · 待人工 · PBMS",
        "Piculus · 重试耗尽 · PBAP",
    ]


def test_the_window_is_short_again_after_a_calm(rounds: Rounds) -> None:
    add_channel()
    group = add_group()
    add_trades(group, 1)
    rounds.run(60, step=20)
    add_trades(group, 1)
    rounds.run(120, step=30)
    add_trades(group, 1)
    rounds.run(3600, step=900)
    add_trades(group, 1)
    rounds.run()
    assert [one.window_seconds for one in deliveries()] == [60, 120, 240, 60]


def test_messages_of_many_groups_leave_one_by_one(rounds: Rounds, sender: FakeSender) -> None:
    add_channel(grouping_seconds=10)
    for number in range(4):
        add_trades(add_group(f"SYS{number}"), 1)
    rounds.run(12, step=1)
    assert len(sender.sent) == 1
    rounds.run(6, step=1)
    assert len(sender.sent) == 2
    rounds.run(12, step=1)
    assert len(sender.sent) == 4


def test_a_channel_hears_of_its_group_its_kinds_and_its_level(rounds: Rounds, sender: FakeSender) -> None:
    group, other = add_group(), add_group("PBMS")
    add_channel("组", url="dingtalk://group", group_id=other.id)
    add_channel("种", url="dingtalk://kind", kinds=["agent_offline"])
    add_channel("级", url="dingtalk://level", least_level=3)
    add_channel("停", url="dingtalk://off", is_enabled=False)
    add_channel("全", url="dingtalk://all")
    with unit_of_work() as session:
        make_plan(session, group, level=1)
    add_trades(group, 1)
    rounds.run(60)
    assert [one.url for one in sender.sent] == ["dingtalk://all"]


def test_a_trade_without_a_plan_is_told_whatever_the_level(rounds: Rounds, sender: FakeSender) -> None:
    add_channel(least_level=3)
    add_trades(add_group(), 1)
    rounds.run(60)
    assert len(sender.sent) == 1


def test_a_silence_keeps_what_it_covers_and_nothing_else(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group, other = add_group(), add_group("PBMS")
    add_silence("needs_human", group.id, 10)
    for one in (group, other):
        add_trades(one, 2)
    add_trades(group, 1, "exhausted")
    rounds.run(90)
    assert sorted(one.title for one in sender.sent) == [
        "Piculus · 待人工 × 2 · PBMS",
        "Piculus · 重试耗尽 · PBAP",
    ]
    silenced = [one for one in deliveries() if one.state == "silenced"]
    assert [(one.kind, one.group_id, one.event_count) for one in silenced] == [("needs_human", group.id, 2)]


def test_after_a_silence_alerts_go_again(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group = add_group()
    add_silence(None, None, 10)
    ids = add_trades(group, 1)
    rounds.run(540, step=60)
    close_trades(ids)
    rounds.run(120, step=60)
    assert sender.sent == []
    add_trades(group, 1)
    rounds.run(60)
    assert [one.title for one in sender.sent] == ["Piculus · 待人工 · PBAP"]


def test_quiet_hours_gather_and_end_in_one_message(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    # Noon UTC is 20:00 in Shanghai.
    add_channel(quiet_from="19:00", quiet_to="08:30", zone="Asia/Shanghai")
    group = add_group()
    for _hour in range(12):
        add_trades(group, 1)
        rounds.run(3600, step=600)
    assert sender.sent == []
    rounds.run(1800, step=600)
    assert [one.title for one in sender.sent] == ["Piculus · 待人工 × 12 · PBAP"]


def test_a_message_is_in_the_language_of_its_channel(rounds: Rounds, sender: FakeSender) -> None:
    add_channel("zh", url="dingtalk://zh")
    add_channel("en", url="dingtalk://en", language="en")
    add_trades(add_group(), 2)
    rounds.run(60)
    titles = {one.url: one.title for one in sender.sent}
    assert titles == {
        "dingtalk://zh": "Piculus · 待人工 × 2 · PBAP",
        "dingtalk://en": "Piculus · Needs a person × 2 · PBAP",
    }
    english = next(one.body for one in sender.sent if one.url == "dingtalk://en")
    assert english.startswith("PBAP: trades that now need a person: 2.\n- CO")
    assert not any("\u4e00" <= letter <= "\u9fff" for letter in english)


def test_what_is_rolled_back_is_not_told(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group = add_group()

    def stop_and_fail() -> None:
        with unit_of_work() as session:
            service.raise_(session, "stop_switch", group_id=group.id, key="group", params={}, now=NOW)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop_and_fail()
    rounds.run(90)
    assert (sender.sent, deliveries()) == ([], [])
