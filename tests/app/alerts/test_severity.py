"""Each message says how grave it is, so that what hears it may ring for one and not for another."""

import pytest
from flask import Flask

from app.alerts import outbox, service
from app.alerts.events import LASTING_KINDS, TRADE_KINDS
from app.alerts.models import AlertChannel
from app.clock import current_time
from app.unit_of_work import unit_of_work
from tests.app.alerts.conftest import Rounds
from tests.app.alerts.rows import add_channel, add_group, add_trades, close_trades
from tests.fakes.alert_sender import FakeSender

GRAVE = {"exhausted", "breaker", "agent_offline", "stop_switch"}
ORDER = {"trade_no": "CO1", "action": "pay_again", "amount_minor": 100, "currency": "CNY", "by": "li.na"}
PARAMS = {
    "order_waits": ORDER | {"reason": "", "expires_at": "2026-03-03T12:00:00+00:00", "ended": "confirmed"},
    "agent_offline": {"agent_id": 0, "name": "pbap-1"},
}


@pytest.mark.parametrize("kind", LASTING_KINDS)
def test_a_condition_is_grave_or_asks_and_its_end_is_a_success(
    kind: str, rounds: Rounds, sender: FakeSender
) -> None:
    add_channel(grouping_seconds=10)
    what = {"group_id": add_group().id, "key": "one"}
    params = PARAMS.get(kind, {"name": "one", "code": "needs_human"})
    with unit_of_work() as session:
        service.raise_(session, kind, params=params, now=current_time(), **what)
    rounds.run(10)
    with unit_of_work() as session:
        service.recover(session, kind, now=current_time(), **what)
    rounds.run(30)
    begun = "failure" if kind in GRAVE else "warning"
    assert [one.severity for one in sender.sent] == [begun, "success"]


@pytest.mark.parametrize("kind", TRADE_KINDS)
def test_so_it_is_with_trades(kind: str, rounds: Rounds, sender: FakeSender) -> None:
    add_channel(grouping_seconds=10)
    ids = add_trades(add_group(), 1, kind)
    rounds.run(10)
    close_trades(ids)
    rounds.run(30)
    begun = "failure" if kind in GRAVE else "warning"
    assert [one.severity for one in sender.sent] == [begun, "success"]


def test_a_test_tells_of_nothing(app: Flask, rounds: Rounds, sender: FakeSender) -> None:
    channel_id = add_channel().id
    with unit_of_work() as session:
        letter = outbox.claim_test(session, session.get_one(AlertChannel, channel_id), current_time())
    rounds.courier.post(letter)
    assert [one.severity for one in sender.sent] == ["info"]
