"""Two people's rules: who may order that money moves, who must confirm it, and what it stands on."""

import re
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from flask import Flask
from flask_babel import force_locale
from sqlalchemy import event, select, update
from sqlalchemy.exc import IntegrityError

from agent.facts import BankFact, BankState, LegFact, LegState, RequestFact
from agent.unpaid import ACTIONS, Action, digest_of
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.models import TERMINAL_STATES, Anomaly, AnomalyEvent
from app.anomalies.service import close_consistent, ignore
from app.anomalies.states import change_state
from app.audit.models import AuditEntry
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from app.executions import money_orders, order_course, order_limits, results, times_ahead
from app.executions.models import Attempt
from app.executions.order_models import MoneyOrder
from app.executions.starting import Order, start_attempts
from app.extensions import db
from app.plans.models import Plan
from app.told import told_words
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup, User
from tests.app.executions.unpaid import (
    change,
    make_world,
    operator,
    plant,
    read_anomaly,
    read_order,
    unpaid_facts,
)
from tests.app.visitor import make_person
from tests.factories import NOW, finished, hand_to

pytestmark = pytest.mark.each_engine

SMALL, LARGE = 100_000, 100_001
LATER = NOW + timedelta(hours=1)
VOUCHER = "GA260302040107000099"


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    return make_world()


@pytest.fixture
def li_na(group: SystemGroup) -> Actor:
    return operator("li.na")


@pytest.fixture
def wang(group: SystemGroup) -> Actor:
    return operator("wang.qiang")


def propose(anomaly_id: int, actor: Actor, action: Action = "pay_again", **fields: Any) -> int:
    with unit_of_work() as session:
        order = money_orders.propose(
            session,
            anomaly_id,
            action,
            **{"reason": "checked with the bank", "actor": actor, "group_ids": None, "now": NOW} | fields,
        )
        return order.id


def confirm(order_id: int, actor: Actor, **fields: Any) -> str:
    with unit_of_work() as session:
        order = money_orders.confirm(
            session,
            order_id,
            **{"reason": "checked too", "actor": actor, "group_ids": None, "now": LATER} | fields,
        )
        return order.state


def commands_of(anomaly_id: int) -> list[Command]:
    trade_no = read_anomaly(anomaly_id).trade_no
    return list(db.session.scalars(select(Command).where(Command.trade_no == trade_no)))


def audited() -> list[tuple[str, str, str]]:
    rows = db.session.scalars(select(AuditEntry).where(AuditEntry.action.startswith("order.")))
    return [(one.action, one.actor_name, one.reason) for one in rows.all()]


def written() -> list[tuple[str, str, str]]:
    events = db.session.scalars(select(AnomalyEvent).order_by(AnomalyEvent.id))
    return [(one.code, one.actor_name, one.reason) for one in events.all()]


# ---- one person's word


@pytest.mark.parametrize("action", ACTIONS)
def test_up_to_the_limit_an_order_is_issued_at_once(group: SystemGroup, li_na: Actor, action: Action) -> None:
    anomaly_id = plant(group, amount=SMALL)
    order = read_order(propose(anomaly_id, li_na, action))
    anomaly = read_anomaly(anomaly_id)
    [command] = commands_of(anomaly_id)
    assert (order.state, order.needs_second, order.confirmed_by) == ("issued", False, "")
    assert (command.type, command.state, command.feature) == ("Repair", "pending", action)
    facts = unpaid_facts(anomaly.trade_no, amount=SMALL)
    assert command.message == {
        "trade_no": anomaly.trade_no,
        "fixer_code": anomaly.fixer_code,
        "row_hash": "hash-1",
        "by_person": True,
        "action": action,
        "facts_hash": digest_of(facts),
    }
    attempt = db.session.get_one(Attempt, order.attempt_id)
    assert (attempt.trigger, attempt.command_id, anomaly.state) == (action, command.id, "repairing")
    assert [line[:2] for line in audited()] == [("order.propose", "li.na"), ("order.issue", "li.na")]


@pytest.mark.parametrize(
    ("columns", "facts"),
    [
        ({"amount": LARGE}, {}),
        ({"amount": SMALL, "amount_minor": None}, {}),
        ({"amount": SMALL, "amount_minor": 5}, {}),
        ({"amount": SMALL, "currency": "USD"}, {"currency": "USD"}),
    ],
    ids=["above the limit", "amount unreadable", "amounts differ", "another currency"],
)
def test_above_it_or_in_doubt_of_the_amount_nothing_is_issued(
    group: SystemGroup, li_na: Actor, columns: dict[str, Any], facts: dict[str, Any]
) -> None:
    if facts:
        number = "TX20260301000088"
        read = unpaid_facts(number, amount=columns["amount"], **facts)
        columns = {**columns, "trade_no": number, "facts": msgspec.to_builtins(read)}
    anomaly_id = plant(group, **columns)
    order = read_order(propose(anomaly_id, li_na))
    assert (order.state, order.needs_second, order.attempt_id) == ("proposed", True, None)
    assert (commands_of(anomaly_id), read_anomaly(anomaly_id).state) == ([], "needs_human")


def test_a_group_has_a_limit_of_its_own(group: SystemGroup, li_na: Actor) -> None:
    with unit_of_work() as session:
        order_limits.set_limit(session, group.id, 0, reason="two people always", actor=SYSTEM, now=NOW)
    order = read_order(propose(plant(group, amount=1), li_na))
    assert (order.state, order.limit_minor) == ("proposed", 0)


def set_limit(group: SystemGroup, limit: int, actor: Actor) -> None:
    with unit_of_work() as session:
        order_limits.set_limit(session, group.id, limit, reason="why", actor=actor, now=NOW)


def test_who_raises_the_limit_does_not_pay_beyond_the_old_one_alone(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    set_limit(group, 1_000_000, li_na)
    set_limit(group, 10_000_000, li_na)
    order = read_order(propose(plant(group, amount=LARGE), li_na))
    assert (order.state, order.needs_second, order.limit_minor) == ("proposed", True, SMALL)
    assert read_order(propose(plant(group, amount=SMALL), li_na)).state == "issued"
    assert read_order(propose(plant(group, amount=LARGE), wang)).state == "issued"


def test_a_limit_that_another_person_has_set_since_counts(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    set_limit(group, 1_000_000, li_na)
    set_limit(group, 900_000, wang)
    assert read_order(propose(plant(group, amount=LARGE), li_na)).state == "issued"


def test_who_lowers_the_limit_is_held_to_it(group: SystemGroup, li_na: Actor) -> None:
    set_limit(group, 500, li_na)
    order = read_order(propose(plant(group, amount=501), li_na))
    assert (order.state, order.limit_minor) == ("proposed", 500)


def test_an_account_that_the_orderer_has_made_raises_nothing_for_them(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    set_limit(group, 1_000_000, wang)
    made = {"action": "user.create", "object_type": "user", "object_id": str(wang.id)}
    with unit_of_work() as session:
        session.add(AuditEntry(at=NOW - timedelta(days=1), actor_id=li_na.id, actor_name="li.na", **made))
    assert read_order(propose(plant(group, amount=LARGE), li_na)).state == "proposed"


@pytest.mark.parametrize("limit", [None, -1, 10**15])
def test_a_limit_is_an_amount(group: SystemGroup, limit: int | None) -> None:
    with pytest.raises(InvalidError), unit_of_work() as session:
        order_limits.set_limit(session, group.id, limit, reason="why", actor=SYSTEM, now=NOW)


# ---- the second person


def test_another_person_confirms_and_it_is_issued(group: SystemGroup, li_na: Actor, wang: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    assert confirm(order_id, wang) == "issued"
    order = read_order(order_id)
    assert (order.proposed_by, order.confirmed_by, order.confirm_reason) == (
        "li.na",
        "wang.qiang",
        "checked too",
    )
    assert [command.state for command in commands_of(anomaly_id)] == ["pending"]
    assert audited() == [
        ("order.propose", "li.na", "checked with the bank"),
        ("order.confirm", "wang.qiang", "checked too"),
        ("order.issue", "wang.qiang", "checked too"),
    ]
    assert written() == [
        ("order_propose_pay_again", "li.na", "checked with the bank"),
        ("order_confirm_pay_again", "wang.qiang", "checked too"),
        ("attempt_pay_again", "wang.qiang", "checked too"),
        ("order_issue_pay_again", "wang.qiang", "checked too"),
    ]
    attempt = db.session.get_one(Attempt, order.attempt_id)
    assert (attempt.actor_name, attempt.reason) == ("wang.qiang", "checked too")


def test_who_orders_alone_issues_it_with_their_own_reason(group: SystemGroup, li_na: Actor) -> None:
    order = read_order(propose(plant(group, amount=SMALL), li_na))
    assert audited()[-1] == ("order.issue", "li.na", "checked with the bank")
    assert {line[1:] for line in written()} == {("li.na", "checked with the bank")}
    attempt = db.session.get_one(Attempt, order.attempt_id)
    assert (attempt.actor_name, attempt.reason) == ("li.na", "checked with the bank")


def test_nobody_confirms_what_they_proposed_themselves(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    renamed = Actor(li_na.id, "another name")
    for actor in (li_na, renamed):
        with pytest.raises(ConflictError, match="order_own"):
            confirm(order_id, actor)
    assert (read_order(order_id).state, commands_of(anomaly_id)) == ("proposed", [])


def test_the_database_itself_keeps_one_person_from_being_both(group: SystemGroup, li_na: Actor) -> None:
    order_id = propose(plant(group, amount=LARGE), li_na)
    for columns in ({"confirmed_by_id": li_na.id}, {"state": "issued"}, {"state": "done"}):
        with pytest.raises(IntegrityError), unit_of_work() as session:
            session.execute(update(MoneyOrder).where(MoneyOrder.id == order_id).values(columns))


def test_the_same_person_under_another_account_does_not_count(group: SystemGroup, li_na: Actor) -> None:
    order_id = propose(plant(group, amount=LARGE), li_na)
    twin = make_person("li.na2", "operator", ["PBAP"])
    with unit_of_work() as session:
        session.get_one(User, twin.id).display_name = " LI.NA "
    with pytest.raises(ConflictError, match="order_own"):
        confirm(order_id, Actor(twin.id, twin.username))


@pytest.mark.parametrize("action", ["user.create", "user.reset_password", "user.enable"])
@pytest.mark.parametrize("maker", ["the proposer", "the confirmer"])
def test_whoever_may_still_know_the_others_password_does_not_count(
    group: SystemGroup, li_na: Actor, wang: Actor, action: str, maker: str
) -> None:
    one, other = (li_na, wang) if maker == "the proposer" else (wang, li_na)
    order_id = propose(plant(group, amount=LARGE), li_na)
    known = {"action": action, "object_type": "user", "object_id": str(other.id)}
    with unit_of_work() as session:
        session.add(AuditEntry(at=NOW - timedelta(days=6), actor_id=one.id, actor_name=one.name, **known))
    with pytest.raises(ConflictError, match="order_own_account"):
        confirm(order_id, wang)
    with unit_of_work() as session:
        entry = select(AuditEntry).where(AuditEntry.action == action, AuditEntry.actor_id == one.id)
        session.scalars(entry).one().at = NOW - timedelta(days=8)
    assert confirm(order_id, wang) == "issued"


def link(maker: Actor, account: Actor, action: str = "user.create", **detail: Any) -> None:
    """The audit's line of what one account has done to another."""
    of = {"action": action, "object_type": "user", "object_id": str(account.id), "detail": detail}
    with unit_of_work() as session:
        session.add(AuditEntry(at=NOW - timedelta(days=1), actor_id=maker.id, actor_name=maker.name, **of))


def test_nobody_confirms_through_an_account_that_theirs_has_made(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    chen, zhao = operator("chen"), operator("zhao")
    order_id = propose(plant(group, amount=LARGE), li_na)
    link(li_na, chen)
    link(chen, zhao, "user.reset_password")
    link(zhao, wang, "user.enable")
    with pytest.raises(ConflictError, match="order_own_account") as refused:
        confirm(order_id, wang)
    assert refused.value.params["who"] == "li.na"
    assert confirm(order_id, operator("sun")) == "issued"


def test_a_third_one_who_may_hold_both_accounts_counts_for_both(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    boss = operator("boss")
    order_id = propose(plant(group, amount=LARGE), li_na)
    for account in (li_na, wang):
        link(boss, account)
    with pytest.raises(ConflictError, match="order_own_account") as refused:
        confirm(order_id, wang)
    assert refused.value.params["who"] == "boss"


def test_two_who_have_dealt_with_the_same_account_are_two(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    chen = operator("chen")
    link(li_na, chen)
    link(wang, chen, "user.reset_password")
    assert confirm(propose(plant(group, amount=LARGE), li_na), wang) == "issued"


@pytest.mark.parametrize(
    ("change", "is_refused"),
    [
        ({"role": ["viewer", "operator"]}, True),
        ({"groups": [[], ["PBAP"]]}, True),
        ({"sees_all_groups": [False, True]}, True),
        ({"role": ["admin", "operator"]}, False),
        ({"groups": [["PBAP", "PBMS"], ["PBAP"]]}, False),
        ({"display_name": ["", "Wang"]}, False),
    ],
)
def test_whoever_has_raised_an_account_does_not_confirm_with_it(
    group: SystemGroup, li_na: Actor, wang: Actor, change: dict[str, Any], is_refused: bool
) -> None:
    order_id = propose(plant(group, amount=LARGE), li_na)
    link(li_na, wang, "user.update", **change)
    if is_refused:
        with pytest.raises(ConflictError, match="order_own_account"):
            confirm(order_id, wang)
    else:
        assert confirm(order_id, wang) == "issued"


def test_a_limit_raised_through_another_account_of_ones_own_does_not_count(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    chen = operator("chen")
    link(li_na, chen)
    link(chen, wang)
    set_limit(group, 1_000_000, wang)
    assert read_order(propose(plant(group, amount=LARGE), li_na)).state == "proposed"


@pytest.mark.parametrize("who", ["disabled", "viewer", "of another group", "the command line"])
def test_only_an_enabled_operator_of_the_group_proposes_or_confirms(
    group: SystemGroup, li_na: Actor, who: str
) -> None:
    role = "viewer" if who == "viewer" else "operator"
    person = make_person("chen", role, [] if who == "of another group" else ["PBAP"])
    actor = SYSTEM if who == "the command line" else Actor(person.id, person.username)
    if who == "disabled":
        with unit_of_work() as session:
            session.get_one(User, person.id).is_enabled = False
    order_id = propose(plant(group, amount=LARGE), li_na)
    for act in (lambda: confirm(order_id, actor), lambda: propose(plant(group), actor)):
        with pytest.raises(ForbiddenError):
            act()
    assert read_order(order_id).state == "proposed"


def test_an_order_whose_proposer_may_no_longer_order_must_be_proposed_anew(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    with unit_of_work() as session:
        session.get_one(User, li_na.id or 0).is_enabled = False
    assert confirm(order_id, wang) == "expired"
    assert (read_order(order_id).closed_reason, commands_of(anomaly_id)) == (
        "the proposer may no longer order",
        [],
    )


@pytest.mark.parametrize("changed", ["row", "bank", "voucher", "facts gone"])
def test_on_changed_facts_an_order_is_not_confirmed_but_proposed_anew(
    group: SystemGroup, li_na: Actor, wang: Actor, changed: str
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    number = read_anomaly(anomaly_id).trade_no
    another = LegFact(LegState.POSTED, VOUCHER, LARGE)
    facts = {
        "row": unpaid_facts(number, amount=LARGE),
        "bank": unpaid_facts(number, amount=LARGE, status="not_found"),
        "voucher": unpaid_facts(number, amount=LARGE, first=another, second=another),
        "facts gone": None,
    }[changed]
    change(
        anomaly_id,
        facts=msgspec.to_builtins(facts),
        row_hash="hash-2" if changed == "row" else "hash-1",
    )
    assert confirm(order_id, wang) == "expired"
    assert (commands_of(anomaly_id), read_anomaly(anomaly_id).state) == ([], "needs_human")
    if changed == "row":
        assert confirm(propose(anomaly_id, li_na), wang) == "issued"


def test_facts_read_again_and_found_the_same_keep_an_order_good(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    again = msgspec.structs.replace(
        unpaid_facts(read_anomaly(anomaly_id).trade_no, amount=LARGE), read_at="2026-03-02T12:30:00Z"
    )
    change(anomaly_id, facts=msgspec.to_builtins(again), last_seen_at=LATER)
    assert confirm(order_id, wang) == "issued"


def test_a_proposal_lasts_a_day(group: SystemGroup, li_na: Actor, wang: Actor) -> None:
    first, second = plant(group, amount=LARGE), plant(group, amount=LARGE)
    orders = [propose(anomaly_id, li_na) for anomaly_id in (first, second)]
    just_before = NOW + timedelta(hours=24) - timedelta(seconds=1)
    assert confirm(orders[0], wang, now=just_before) == "issued"
    assert confirm(orders[1], wang, now=NOW + timedelta(hours=24)) == "expired"
    assert commands_of(second) == []


def test_what_nobody_confirmed_is_expired_by_time_alone(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    with unit_of_work() as session:
        assert order_course.close_over(session, NOW + timedelta(hours=23)) == 0
        assert order_course.close_over(session, NOW + timedelta(hours=24)) == 1
    assert (read_order(order_id).state, read_order(order_id).closed_by) == ("expired", "piculus")
    assert audited()[-1] == ("order.expired", "piculus", order_course.NOT_IN_TIME)
    propose(anomaly_id, li_na, now=NOW + timedelta(hours=25))


def test_an_order_proposed_by_a_clock_ahead_lasts_a_day_from_when_that_is_put_back(
    group: SystemGroup, li_na: Actor
) -> None:
    order_id = propose(plant(group, amount=LARGE), li_na, now=NOW + timedelta(days=3))
    with unit_of_work() as session:
        assert times_ahead.has_any(session, NOW)
        times_ahead.bring_back(session, NOW)
        assert not times_ahead.has_any(session, NOW)
    with unit_of_work() as session:
        assert order_course.close_over(session, NOW + timedelta(hours=23)) == 0
        assert order_course.close_over(session, NOW + timedelta(hours=24)) == 1
    assert read_order(order_id).state == "expired"


def test_an_order_is_confirmed_once(group: SystemGroup, li_na: Actor, wang: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    confirm(order_id, wang)
    with pytest.raises(ConflictError, match="order_over"):
        confirm(order_id, operator("chen"))
    assert len(commands_of(anomaly_id)) == 1


def test_another_person_rejects_and_only_the_proposer_withdraws(
    group: SystemGroup, li_na: Actor, wang: Actor
) -> None:
    rejected, withdrawn = (propose(plant(group, amount=LARGE), li_na) for _ in range(2))
    fields: dict[str, Any] = {"reason": "no", "group_ids": None, "now": LATER}
    with pytest.raises(ConflictError, match="order_own"), unit_of_work() as session:
        money_orders.reject(session, rejected, actor=li_na, **fields)
    with pytest.raises(ForbiddenError), unit_of_work() as session:
        money_orders.withdraw(session, withdrawn, actor=wang, **fields)
    with unit_of_work() as session:
        money_orders.reject(session, rejected, actor=wang, **fields)
        money_orders.withdraw(session, withdrawn, actor=li_na, **fields)
    states = [(read_order(one).state, read_order(one).closed_by) for one in (rejected, withdrawn)]
    assert states == [("rejected", "wang.qiang"), ("withdrawn", "li.na")]
    for order_id in (rejected, withdrawn):
        with pytest.raises(ConflictError, match="order_over"):
            confirm(order_id, wang)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501])
def test_every_word_needs_a_reason(group: SystemGroup, li_na: Actor, wang: Actor, reason: str) -> None:
    order_id = propose(plant(group, amount=LARGE), li_na)
    for act in (
        lambda: propose(plant(group), li_na, reason=reason),
        lambda: confirm(order_id, wang, reason=reason),
    ):
        with pytest.raises(InvalidError):
            act()
    assert read_order(order_id).state == "proposed"


# ---- what may be ordered


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("facts", ["none", "bank unknown", "paid", "not debited", "unreadable"])
def test_facts_that_do_not_allow_it_are_verified_first(
    group: SystemGroup, li_na: Actor, action: Action, facts: str
) -> None:
    number = "TX20260301000099"
    read: dict[str, Any] = {
        "none": None,
        "bank unknown": unpaid_facts(number, status="accepted"),
        "paid": unpaid_facts(number, bank=_paid_bank(number)),
        "not debited": unpaid_facts(number, first=LegFact(LegState.NONE), second=LegFact(LegState.NONE)),
        "unreadable": {"of": "another version"},
    }
    anomaly_id = plant(group, trade_no=number, facts=msgspec.to_builtins(read[facts]))
    with pytest.raises(ConflictError, match="order_not_allowed"):
        propose(anomaly_id, li_na, action)
    assert db.session.scalars(select(MoneyOrder)).all() == []


def _paid_bank(number: str) -> BankFact:
    return BankFact(BankState.SUCCESS, (RequestFact(f"{number}-0", 0, "success", BankState.SUCCESS),))


def test_what_the_bank_only_never_found_is_not_reversed(group: SystemGroup, li_na: Actor) -> None:
    number = "TX20260301000099"
    anomaly_id = plant(
        group, trade_no=number, facts=msgspec.to_builtins(unpaid_facts(number, status="not_found"))
    )
    with pytest.raises(ConflictError, match="order_not_allowed"):
        propose(anomaly_id, li_na, "reverse")
    assert read_order(propose(anomaly_id, li_na, "pay_again")).state == "issued"


@pytest.mark.parametrize("state", ["open", "waiting", "repairing", "repaired", "healed", "ignored"])
def test_only_a_trade_with_a_person_is_ordered_of(group: SystemGroup, li_na: Actor, state: str) -> None:
    anomaly_id = plant(group, state=state, reason="resume")
    with pytest.raises(ConflictError):
        propose(anomaly_id, li_na)
    assert commands_of(anomaly_id) == []


def test_an_exhausted_trade_may_be_reversed(group: SystemGroup, li_na: Actor) -> None:
    assert read_order(propose(plant(group, state="exhausted"), li_na, "reverse")).state == "issued"


@pytest.mark.parametrize("what", ["group", "plan"])
def test_a_disabled_group_or_plan_moves_no_money(group: SystemGroup, li_na: Actor, what: str) -> None:
    anomaly_id = plant(group)
    with unit_of_work() as session:
        if what == "group":
            session.get_one(SystemGroup, group.id).is_enabled = False
        else:
            session.execute(update(Plan).values(state="disabled"))
    with pytest.raises(ConflictError, match=f"{what}_disabled"):
        propose(anomaly_id, li_na)


def test_a_trade_has_one_order_at_a_time(group: SystemGroup, li_na: Actor, wang: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    propose(anomaly_id, li_na, "pay_again")
    with pytest.raises(ConflictError, match="order_live"):
        propose(anomaly_id, wang, "reverse")


def test_a_group_that_may_not_be_seen_has_no_orders(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    with pytest.raises(NotFoundError):
        propose(anomaly_id, li_na, group_ids=[group.id + 1])
    with pytest.raises(NotFoundError):
        confirm(order_id, li_na, group_ids=[group.id + 1])


@pytest.mark.parametrize("features", [[], ["reverse"]])
def test_without_an_agent_that_can_do_it_nothing_is_issued(
    group: SystemGroup, li_na: Actor, features: list[str]
) -> None:
    with unit_of_work() as session:
        session.execute(update(Agent).values(features=features))
    anomaly_id = plant(group)
    with pytest.raises(ConflictError, match="order_no_agent"):
        propose(anomaly_id, li_na, "pay_again")
    assert (commands_of(anomaly_id), db.session.scalars(select(MoneyOrder)).all()) == ([], [])


# ---- what becomes of it


def end(order_id: int, outcome: str, **fields: Any) -> None:
    """The agent has carried the order out, with this outcome."""
    with unit_of_work() as session:
        order = session.get_one(MoneyOrder, order_id)
        attempt = session.get_one(Attempt, order.attempt_id)
        command = session.scalars(select(Command).where(Command.id == attempt.command_id)).one()
        agent = session.scalars(select(Agent)).first()
        assert agent is not None
        hand_to(session, command, agent)
        results.record_result(session, agent, finished(command, outcome, **fields), LATER)


@pytest.mark.parametrize(
    ("outcome", "fields", "state", "anomaly_state"),
    [
        ("repaired", {"money_moved": True}, "done", "repaired"),
        ("repaired", {"is_confirmed_failed": True, "money_moved": True}, "done", "repaired"),
        ("needs_human", {"money_moved": True}, "done", "needs_human"),
        ("refused", {}, "done", "open"),
        ("unknown", {"money_moved": True}, "issued", "waiting"),
        ("wait", {"money_moved": True}, "issued", "waiting"),
    ],
)
def test_the_result_ends_the_order_unless_the_repair_goes_on(
    group: SystemGroup, li_na: Actor, outcome: str, fields: dict[str, Any], state: str, anomaly_state: str
) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    end(order_id, outcome, **fields)
    order = read_order(order_id)
    assert (order.state, order.outcome, read_anomaly(anomaly_id).state) == (state, outcome, anomaly_state)
    ended = db.session.scalars(select(AuditEntry.detail).where(AuditEntry.action == "order.done")).all()
    assert [detail["outcome"] for detail in ended] == ([outcome] if state == "done" else [])


def test_a_result_counts_though_its_order_ends_in_that_moment(group: SystemGroup, li_na: Actor) -> None:
    """Someone ends the order between the look at it and its end: the order stays as they left it."""
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    elsewhere = {"state": "done", "closed_by": "another", "closed_reason": "by hand", "closed_at": LATER}

    def meanwhile(session: WorkSession, _context: object, _instances: object) -> None:
        if any(isinstance(one, MoneyOrder) for one in session.dirty):
            session.connection().execute(
                update(MoneyOrder).where(MoneyOrder.id == order_id).values(elsewhere)
            )

    event.listen(WorkSession, "before_flush", meanwhile)
    try:
        end(order_id, "repaired", money_moved=True)
    finally:
        event.remove(WorkSession, "before_flush", meanwhile)
    order = read_order(order_id)
    assert (order.state, order.closed_by, order.outcome) == ("done", "another", "repaired")
    assert read_anomaly(anomaly_id).state == "repaired"
    assert [outcome for (outcome,) in db.session.execute(select(Attempt.outcome))] == ["repaired"]


def attempt_by_plan(anomaly_id: int) -> str:
    """Attempt it as a tick of its plan does; returns the command's id."""
    change(anomaly_id, state="open")
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, anomaly_id)
        plan = session.scalars(select(Plan)).unique().one()
        [attempt] = start_attempts(session, [anomaly], plan, Order("tick", SYSTEM, "", NOW))
        return attempt.command_id


def lose(command_id: str) -> None:
    """The agent has gone off with it, and nobody heard how it ended."""
    with unit_of_work() as session:
        command = session.scalars(select(Command).where(Command.id == command_id)).one()
        hand_to(session, command, session.scalars(select(Agent)).one())
        commands.close(session, command, "indeterminate", NOW, "its deadline passed")


def tell(command_id: str, outcome: str, **fields: Any) -> None:
    with unit_of_work() as session:
        command = session.scalars(select(Command).where(Command.id == command_id)).one()
        agent = session.scalars(select(Agent)).one()
        if command.state == "pending":
            hand_to(session, command, agent)
        results.record_result(session, agent, finished(command, outcome, **fields), LATER)


@pytest.mark.parametrize("outcome", ["failed", "needs_human", "cancelled", "wait"])
def test_the_late_end_of_an_attempt_before_it_leaves_an_order_under_way(
    group: SystemGroup, li_na: Actor, outcome: str
) -> None:
    anomaly_id = plant(group)
    earlier = attempt_by_plan(anomaly_id)
    lose(earlier)
    change(anomaly_id, state="needs_human", unknown_since=None)
    order_id = propose(anomaly_id, li_na)
    tell(earlier, outcome)
    order = read_order(order_id)
    assert (order.state, order.outcome, read_anomaly(anomaly_id).state) == ("issued", None, "repairing")
    told = select(Attempt.outcome).where(Attempt.command_id == earlier)
    assert db.session.scalars(told).one() == outcome
    end(order_id, "repaired", money_moved=True)
    assert (read_order(order_id).state, read_order(order_id).outcome) == ("done", "repaired")


def test_an_order_that_an_agent_may_hold_though_its_ack_never_came_has_not_ended(
    group: SystemGroup, li_na: Actor
) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    with unit_of_work() as session:
        command = session.scalars(select(Command)).one()
        command.agent_id = session.scalars(select(Agent.id)).one()
        commands.close(session, command, "expired", LATER, "its deadline passed")
    assert read_order(order_id).state == "issued"
    assert read_anomaly(anomaly_id).unknown_since == LATER
    with unit_of_work() as session:
        close_consistent(session, session.get_one(Anomaly, anomaly_id), LATER, None)
    assert (read_order(order_id).state, read_order(order_id).outcome) == ("done", "already_consistent")


def test_an_attempt_after_it_that_finishes_what_it_left_half_done_ends_the_order(
    group: SystemGroup, li_na: Actor
) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    end(order_id, "unknown", money_moved=True)
    change(anomaly_id, unknown_since=None, reason="resume")
    tell(attempt_by_plan(anomaly_id), "repaired", money_moved=True)
    assert (read_order(order_id).state, read_order(order_id).outcome) == ("done", "repaired")


def test_an_order_under_way_ends_when_the_trade_is_whole(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    end(order_id, "wait", money_moved=True)
    with unit_of_work() as session:
        close_consistent(session, session.get_one(Anomaly, anomaly_id), LATER, None)
    order = read_order(order_id)
    assert (order.state, order.outcome) == ("done", "already_consistent")


@pytest.mark.parametrize("is_whole", [True, False])
def test_what_ends_with_its_trade_stands_behind_that_in_the_history(
    group: SystemGroup, li_na: Actor, is_whole: bool
) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    end(order_id, "wait" if is_whole else "needs_human", money_moved=True)
    if is_whole:
        with unit_of_work() as session:
            close_consistent(session, session.get_one(Anomaly, anomaly_id), LATER, None)
    steps = db.session.execute(
        select(AnomalyEvent.from_state, AnomalyEvent.to_state)
        .where(AnomalyEvent.anomaly_id == anomaly_id)
        .order_by(AnomalyEvent.id)
    ).all()
    assert all(before.to_state == after.from_state for before, after in pairwise(steps))


def test_an_order_under_way_ends_when_the_trade_is_with_a_person_again(
    group: SystemGroup, li_na: Actor
) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    end(order_id, "unknown", money_moved=True)
    change(anomaly_id, state="needs_human", reason="money_moved_too_long")
    with unit_of_work() as session:
        assert order_course.close_over(session, LATER) == 1
    assert read_order(order_id).state == "done"


def test_a_trade_that_is_ignored_takes_its_proposal_with_it(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    order_id = propose(anomaly_id, li_na)
    with unit_of_work() as session:
        ignore(session, anomaly_id, reason="done by hand", actor=li_na, group_ids=None, now=LATER)
    ended = read_order(order_id)
    assert (ended.state, ended.closed_reason) == ("expired", order_course.TRADE_CLOSED)


@pytest.mark.parametrize("is_issued", [True, False])
@pytest.mark.parametrize("state", TERMINAL_STATES)
def test_why_an_order_ended_with_its_trade_has_words(
    group: SystemGroup, li_na: Actor, state: str, is_issued: bool
) -> None:
    anomaly_id = plant(group, amount=SMALL if is_issued else LARGE)
    order_id = propose(anomaly_id, li_na)
    change(anomaly_id, state="open")
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, anomaly_id)
        change_state(session, anomaly, state, code="x", reason="", actor=SYSTEM, now=LATER)
    ended = read_order(order_id)
    assert ended.state == ("done" if is_issued else "expired")
    with force_locale("zh"):
        assert re.search(r"[a-z]", told_words(ended.closed_reason)) is None


def test_why_nobody_in_time_confirmed_an_order_is_not_told_as_of_a_command(app: Flask) -> None:
    with force_locale("zh"):
        assert told_words(order_course.NOT_IN_TIME) == "24 小时内没有人复核"
