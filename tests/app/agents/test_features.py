"""What an agent can do beyond its fixers: only those that name it are sent what needs it."""

from datetime import timedelta

import pytest
from flask import Flask
from msgspec import UNSET

from agent.protocol import Repair, encode
from app.agents import dispatcher
from app.agents.hub import AgentSession
from app.agents.issuing import TradeOrder, issue_many
from app.agents.models import Agent
from app.agents.service import introduce
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import hello
from tests.app.agents.conftest import Member, add_agent, order, stored
from tests.app.agents.test_dispatcher import Ear, listen, look
from tests.conftest import HandClock

pytestmark = pytest.mark.each_engine
ORDERED = {"action": "pay_again", "facts_hash": "digest"}


def order_action(member: Member, trade_no: str, clock: HandClock) -> str:
    message = {"trade_no": trade_no, "fixer_code": "interRecharge", "row_hash": "hash", **ORDERED}
    with unit_of_work() as session:
        issued = issue_many(
            session,
            type="Repair",
            group_id=member.group_id,
            orders=[TradeOrder(trade_no, message)],
            deadline=timedelta(hours=1),
            now=clock(),
            fixer_code="interRecharge",
            feature="pay_again",
        )
    return issued[trade_no]


def able(app: Flask, member: Member, *features: str) -> Ear:
    ear = listen(app, member)
    session: AgentSession = app.extensions["runtime"].hub.find(member.id)
    session.features = frozenset(features)
    return ear


def test_an_order_goes_only_to_an_agent_that_names_it(app: Flask, member: Member, clock: HandClock) -> None:
    old, new = able(app, member), able(app, add_agent("pbap-2", member.group_id, clock()), "pay_again")
    command_id = order_action(member, "TRD1", clock)
    look(app)
    [message] = new.heard
    assert isinstance(message, Repair)
    assert (message.command_id, message.action, message.facts_hash) == (command_id, "pay_again", "digest")
    assert old.heard == []


@pytest.mark.parametrize("features", [(), ("reverse",)])
def test_without_one_it_stays_pending_and_hides_no_other_work(
    app: Flask,
    member: Member,
    clock: HandClock,
    monkeypatch: pytest.MonkeyPatch,
    features: tuple[str, ...],
) -> None:
    monkeypatch.setattr(dispatcher, "PAGE", 2)
    ear = able(app, member, *features)
    waiting = [order_action(member, f"TRD{number}", clock) for number in range(3)]
    plain = order(member, "PLAIN", clock())
    look(app)
    assert [message.command_id for message in ear.heard] == [plain]
    assert {stored(command_id).state for command_id in waiting} == {"pending"}


def test_a_repair_that_needs_nothing_is_the_frame_it_always_was(
    app: Flask, member: Member, clock: HandClock
) -> None:
    ear = able(app, member)
    order(member, "TRD1", clock())
    look(app)
    [message] = ear.heard
    assert b"action" not in encode(message)
    assert b"facts_hash" not in encode(message)


@pytest.mark.parametrize("features", [(), ("max_amount_minor",)])
def test_the_amount_a_repair_was_judged_by_goes_to_an_agent_that_names_it(
    app: Flask, member: Member, clock: HandClock, features: tuple[str, ...]
) -> None:
    ear = able(app, member, *features)
    message = {"trade_no": "TRD1", "fixer_code": "interRecharge", "row_hash": "hash", "max_amount_minor": 500}
    with unit_of_work() as session:
        issue_many(
            session,
            type="Repair",
            group_id=member.group_id,
            orders=[TradeOrder("TRD1", message)],
            deadline=timedelta(hours=1),
            now=clock(),
            fixer_code="interRecharge",
        )
    look(app)
    [heard] = ear.heard
    assert isinstance(heard, Repair)
    assert heard.max_amount_minor == (500 if features else UNSET)


@pytest.mark.parametrize("features", [(), ("pay_again", "reverse")])
def test_what_a_hello_names_is_kept(
    app: Flask, member: Member, clock: HandClock, features: tuple[str, ...]
) -> None:
    with unit_of_work() as session:
        introduce(session, session.get_one(Agent, member.id), hello(features=features), clock())
    db.session.expire_all()
    assert db.session.get_one(Agent, member.id).features == list(features)
