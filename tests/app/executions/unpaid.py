"""Anomalies of trades debited and finally unpaid, and the people who order of them."""

from datetime import timedelta
from typing import Any

import msgspec

from agent.facts import (
    BankFact,
    BankState,
    Bookkeeping,
    Facts,
    Kind,
    LegFact,
    LegState,
    RequestFact,
    Status,
)
from app.anomalies.models import Anomaly
from app.audit.service import Actor
from app.executions.order_models import MoneyOrder
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup, User
from tests.app.visitor import make_person
from tests.factories import NOW, make_agent, make_anomaly, make_group, make_plan

WITHDRAW_FIXER = "interWithdrawFixServiceImpl"


def unpaid_facts(trade_no: str, *, amount: int = 10_000, status: str = "failed", **fields: Any) -> Facts:
    """What was read of a single-step withdrawal whose only request the bank has failed."""
    verdict = BankState.FAIL if status in ("failed", "not_found") else BankState.UNKNOWN
    request = RequestFact(f"{trade_no}-0", 0, status, verdict, code="E1001")
    posted = LegFact(LegState.POSTED, "GA260302040107000042", amount)
    values: dict[str, Any] = {
        "bookkeeping": Bookkeeping.SINGLE_STEP,
        "status": Status.SUCCESS,
        "row_hash": "hash-1",
        "is_acc": False,
        "is_e_acc": False,
        "first": posted,
        "second": posted,
        "bank": BankFact(verdict, (request,), is_explicit=status == "failed"),
    }
    return Facts(
        trade_no=trade_no,
        kind=Kind.WITHDRAW,
        amount_minor=amount,
        **(values | fields),
    )


def make_unpaid(session: WorkSession, group: SystemGroup, *, amount: int = 10_000, **columns: Any) -> Anomaly:
    """An anomaly that needs a person, whose facts allow both actions."""
    anomaly = make_anomaly(session, group, **_columns(amount) | columns)
    if anomaly.facts is None and "facts" not in columns:
        anomaly.facts = msgspec.to_builtins(unpaid_facts(anomaly.trade_no, amount=amount))
        session.flush()
    return anomaly


def _columns(amount: int) -> dict[str, Any]:
    return {
        "kind": "withdraw",
        "bookkeeping": "single_step",
        "amount_minor": amount,
        "fixer_code": WITHDRAW_FIXER,
        "outcome": "human",
        "reason": "debited, payout failed",
        "state": "needs_human",
        "has_moved_money": True,
    }


def make_world(*, features: tuple[str, ...] = ("pay_again", "reverse")) -> SystemGroup:
    """Commit a group with a plan and an agent that can carry orders out."""
    with unit_of_work() as session:
        group = make_group(session)
        make_plan(session, group, fixer_code=WITHDRAW_FIXER)
        # Heard of throughout the days a test speaks of.
        seen_at = NOW + timedelta(days=9)
        make_agent(session, group, name="pbap-1", seen_at=seen_at, features=list(features))
    return group


def plant(group: SystemGroup, **columns: Any) -> int:
    """Commit an unpaid anomaly and return its id."""
    with unit_of_work() as session:
        return make_unpaid(session, group, **columns).id


def actor_of(user: User) -> Actor:
    """The person as a service hears of them."""
    return Actor(user.id, user.username, "127.0.0.1")


def operator(username: str, **fields: Any) -> Actor:
    """Commit an operator of the group and return them as an actor."""
    return actor_of(make_person(username, "operator", ["PBAP"], **fields))


def read_order(order_id: int) -> MoneyOrder:
    """The order as it is stored now."""
    db.session.expire_all()
    return db.session.get_one(MoneyOrder, order_id)


def read_anomaly(anomaly_id: int) -> Anomaly:
    """The anomaly as it is stored now."""
    db.session.expire_all()
    return db.session.get_one(Anomaly, anomaly_id)


def change(anomaly_id: int, **columns: Any) -> None:
    """Write cells of an anomaly, as a report or a verification would."""
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, anomaly_id)
        for name, value in columns.items():
            setattr(anomaly, name, value)
