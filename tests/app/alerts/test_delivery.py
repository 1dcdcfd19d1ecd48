"""Sending: again after failures, a bounded number of times, and after a crash at any moment."""

import pytest
from flask import Flask
from sqlalchemy import event

from app.alerts import outbox, service
from app.alerts.courier import Courier
from app.alerts.models import AlertChannel
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import URL, add_channel, add_group, add_trades, deliveries
from tests.conftest import HandClock
from tests.factories import NOW
from tests.fakes.alert_sender import FakeSender

pytestmark = pytest.mark.each_engine


def test_a_failure_is_tried_again_until_it_arrives(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    add_trades(add_group(), 1)
    sender.failing[URL] = "error=503"
    rounds.run(60)
    (one,) = deliveries()
    assert (one.state, one.attempts, one.last_error) == ("pending", 1, "error=503")
    sender.failing.clear()
    rounds.run(30)
    (one,) = deliveries()
    assert (one.state, one.attempts, one.last_error, len(sender.sent)) == ("sent", 2, "", 1)


def test_attempts_are_bounded_and_ever_further_apart(rounds: Rounds, sender: FakeSender) -> None:
    channel = add_channel()
    add_trades(add_group(), 1)
    sender.failing[URL] = "error=503"
    rounds.run(4 * 3600, step=600)
    (one,) = deliveries()
    assert (one.state, one.attempts) == ("failed", outbox.MOST_ATTEMPTS)
    pauses = [outbox.pause_after(number).total_seconds() for number in range(1, 7)]
    assert pauses == [30, 120, 480, 1920, 3600, 3600]
    stored = db.session.get_one(AlertChannel, channel.id)
    assert stored.failing_since is not None
    assert stored.last_error == "error=503"


def test_what_is_tried_again_gathers_no_more(rounds: Rounds, sender: FakeSender) -> None:
    add_channel()
    group = add_group()
    add_trades(group, 1)
    sender.failing[URL] = "error=503"
    rounds.run(60)
    add_trades(group, 1)
    rounds.run()
    assert [one.event_count for one in deliveries()] == [1, 1]


def test_a_server_that_dies_between_event_and_message_tells_it_after_its_start(
    app: Flask, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    add_trades(add_group(), 1)
    clock.advance(600)
    Rounds(Courier(app, sender), clock).run()
    assert [one.title for one in sender.sent] == ["Piculus · 待人工 · PBAP"]


def test_a_server_that_dies_while_it_sends_sends_again(
    app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    add_trades(add_group(), 1)
    sender.dies_after_sending = True
    with pytest.raises(KeyboardInterrupt):
        rounds.run(60)
    sender.dies_after_sending = False
    again = Rounds(Courier(app, sender), clock)
    again.run(100)
    assert [one.state for one in deliveries()] == ["sending"]
    again.run(30)
    assert [(one.state, one.attempts) for one in deliveries()] == [("sent", 2)]
    assert len(sender.sent) == 2


def test_a_message_that_kills_the_server_each_time_is_given_up(
    app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    add_trades(add_group(), 1)
    sender.dies_after_sending = True
    for _start in range(outbox.MOST_ATTEMPTS):
        with pytest.raises(KeyboardInterrupt):
            rounds.run(180, step=60)
    rounds.run(600, step=200)
    assert [(one.state, one.attempts) for one in deliveries()] == [("failed", outbox.MOST_ATTEMPTS)]


def test_an_answer_that_comes_after_the_claim_ran_out_changes_nothing(
    rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    add_channel()
    add_trades(add_group(), 1)
    clock.advance(60)
    (late,) = rounds.courier.run_round()
    clock.advance(121)
    (second,) = rounds.courier.run_round()
    sender.failing[URL] = "refused"
    rounds.courier.post(late)
    assert [one.state for one in deliveries()] == ["sending"]
    sender.failing.clear()
    rounds.courier.post(second)
    assert [(one.state, one.attempts) for one in deliveries()] == [("sent", 2)]


def test_one_channel_that_fails_holds_up_no_other(rounds: Rounds, sender: FakeSender) -> None:
    add_channel("坏", url="dingtalk://bad")
    add_channel("好", url="dingtalk://good")
    sender.failing["dingtalk://bad"] = "error=503"
    add_trades(add_group(), 1)
    rounds.run(60)
    assert [one.url for one in sender.sent] == ["dingtalk://good"]
    assert rounds.courier.trouble == "坏"


def lock_count(rounds: Rounds, seconds: float) -> int:
    """How many units of work rounds of so many seconds begin."""
    count = 0

    def hear(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        nonlocal count
        count += statement == "BEGIN IMMEDIATE" or "pg_advisory_xact_lock" in statement

    event.listen(db.engine, "before_cursor_execute", hear)
    try:
        rounds.run(seconds, step=20)
    finally:
        event.remove(db.engine, "before_cursor_execute", hear)
    return count


def test_a_round_with_nothing_to_do_takes_no_lock(rounds: Rounds) -> None:
    add_channel()
    group = add_group()
    assert lock_count(rounds, 120) == 0
    add_trades(group, 1)
    assert lock_count(rounds, 60) > 0


def test_a_message_held_back_takes_no_lock_until_it_may_go(rounds: Rounds, sender: FakeSender) -> None:
    add_channel(quiet_from="19:00", quiet_to="08:00", zone="Asia/Shanghai")
    add_trades(add_group(), 1)
    rounds.run(90)
    assert lock_count(rounds, 60) == 0
    assert sender.sent == []


def test_what_was_being_sent_to_a_channel_that_is_gone_is_dropped(
    app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock
) -> None:
    channel = add_channel()
    add_trades(add_group(), 1)
    clock.advance(60)
    assert len(rounds.courier.run_round()) == 1
    with unit_of_work() as session:
        session.delete(session.get_one(AlertChannel, channel.id))
    rounds.run(180, step=60)
    assert [(one.state, one.channel_id) for one in deliveries()] == [("dropped", None)]
    assert lock_count(rounds, 60) == 0


def test_a_message_tells_a_sandbox_from_production_and_links_to_the_console(
    app: Flask, rounds: Rounds, sender: FakeSender
) -> None:
    told = {"environment_name": "sandbox", "public_url": "https://piculus.example.com/"}
    app.extensions["settings"] = app.extensions["settings"].model_copy(update=told)
    add_channel()
    add_trades(add_group(), 1)
    rounds.run(60)
    (one,) = sender.sent
    assert one.title == "Piculus 沙箱 · 待人工 · PBAP"
    assert one.body.endswith("\nhttps://piculus.example.com/exceptions?tab=human&group=PBAP")


@pytest.mark.parametrize(
    ("kind", "params", "path"),
    [
        ("breaker", {"name": "PBAP", "cause": "failures"}, "/breakers?group=PBAP"),
        ("stop_switch", {"scope": "group", "name": "PBAP", "by": "li.na", "reason": "drill"}, "/stops"),
        ("stop_switch", {"scope": "here", "name": "pbap-1", "reason": "disks"}, "/stops"),
    ],
)
def test_a_message_links_to_where_its_condition_is_ended(
    app: Flask, rounds: Rounds, sender: FakeSender, kind: str, params: dict[str, str], path: str
) -> None:
    settings = app.extensions["settings"]
    app.extensions["settings"] = settings.model_copy(update={"public_url": "https://piculus.example.com"})
    add_channel()
    group_id = add_group().id
    with unit_of_work() as session:
        service.raise_(session, kind, group_id=group_id, key="one", params=params, now=NOW)
    rounds.run(90)
    (one,) = sender.sent
    assert one.body.splitlines()[-1] == f"https://piculus.example.com{path}"


def test_old_messages_are_deleted(app: Flask, rounds: Rounds, sender: FakeSender, clock: HandClock) -> None:
    add_channel()
    add_trades(add_group(), 1)
    rounds.run(60)
    clock.advance(181 * 86400)
    rounds.run()
    assert deliveries() == []
