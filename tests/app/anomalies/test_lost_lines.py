"""What an agent has found of a lost line, a collection that asks no bank of it does not take back."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from agent.facts import BankFact, BankState, Facts, LegFact, LegState, RequestFact, Status
from app.agents.models import Agent, Command
from app.anomalies import reports
from app.anomalies.lost_lines import LINE_LOST
from app.anomalies.models import Anomaly
from app.executions import limits, results, ticking, verifications
from app.executions.order_guard import facts_of
from app.executions.proposals import Doubt, propose
from app.guards.models import BegunRepair
from app.plans.models import Plan, Tick
from app.unit_of_work import WorkSession
from tests.app.executions.unpaid import make_unpaid, unpaid_facts
from tests.factories import (
    FIXER,
    NOW,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    reported,
    row_of,
)

UNPAID = "processing, debited, bank failed"
SIGHTING = reports.Sighting(1, 1, NOW, NOW)


@pytest.fixture
def anomaly(session: WorkSession) -> Anomaly:
    group = make_group(session)
    make_agent(session, group)
    return make_unpaid(session, group, trade_no="T", reason=LINE_LOST, has_moved_money=False)


def see(session: WorkSession, anomaly: Anomaly, facts: Facts, **fields: Any) -> None:
    values: dict[str, Any] = {"outcome": "human", "reason": UNPAID, "facts": facts} | fields
    reports.see_again(session, anomaly, reported("T", **values), SIGHTING)


def proposal(anomaly: Anomaly) -> str:
    return propose(Doubt(anomaly.reason, anomaly.outcome, facts_of(anomaly), "normal")).action


def test_a_collection_that_calls_it_unpaid_keeps_the_lost_line(
    session: WorkSession, anomaly: Anomaly
) -> None:
    for row_hash in ("hash-1", "hash-2"):
        see(session, anomaly, unpaid_facts("T", row_hash=row_hash))
        assert (anomaly.state, anomaly.reason) == ("needs_human", LINE_LOST)
        assert proposal(anomaly) == "ask_bank"


def test_nor_does_it_forget_which_number_has_lost_its_line(session: WorkSession, anomaly: Anomaly) -> None:
    """It asks the bank of no such number, and would tell people only that there is one."""
    lost = {"request_no": "T-P1", "status": "success"}
    read = dict(anomaly.facts or {})
    anomaly.facts = {**read, "bank": {**read["bank"], "without_line": [lost]}}
    see(session, anomaly, unpaid_facts("T", row_hash="hash-1"))
    assert anomaly.facts is not None
    assert anomaly.facts["row_hash"] == "hash-1"
    assert anomaly.facts["bank"]["without_line"] == [lost]


def test_it_is_unpaid_again_once_a_line_has_come(session: WorkSession, anomaly: Anomaly) -> None:
    request = RequestFact("T-0", 0, "failed", BankState.FAIL, code="E1001")
    restored = msgspec.structs.replace(request, request_no="T-P1", seq=1)
    see(session, anomaly, unpaid_facts("T", bank=BankFact(BankState.FAIL, (request, restored))))
    assert anomaly.reason == UNPAID
    assert proposal(anomaly) == "pay_or_reverse"


@pytest.mark.parametrize(
    ("facts", "fields"),
    [
        ({"first": LegFact(LegState.MISMATCH)}, {"reason": "mismatch"}),
        ({"status_of_bank": "accepted"}, {"outcome": "wait", "reason": "bank"}),
        ({}, {"outcome": "repair", "reason": ""}),
    ],
)
def test_what_is_more_than_unpaid_is_told(
    session: WorkSession, anomaly: Anomaly, facts: dict[str, Any], fields: dict[str, str]
) -> None:
    status = facts.pop("status_of_bank", "failed")
    see(session, anomaly, unpaid_facts("T", status=status, **facts), **fields)
    assert anomaly.reason == fields["reason"]


def test_a_trade_that_never_lost_a_line_is_told_as_reported(session: WorkSession, anomaly: Anomaly) -> None:
    anomaly.reason = "debited, payout failed"
    see(session, anomaly, unpaid_facts("T"))
    assert anomaly.reason == UNPAID


# ---- of a trade whose failure would be confirmed

LINE = RequestFact("T-0", 0, "not_found", BankState.FAIL)
FAILED_ROW = row_of("T", 1, status=9)


def undebited(*lines: RequestFact) -> Facts:
    """A withdrawal still in processing that the ledger has not debited, and no line of which was paid."""
    none = LegFact(LegState.NONE)
    facts = unpaid_facts("T", first=none, second=none, bank=BankFact(BankState.FAIL, lines))
    return msgspec.structs.replace(facts, status=Status.PROCESSING)


def confirms(session: WorkSession, anomaly: Anomaly, facts: Facts) -> None:
    """A collection would have the failure confirmed."""
    see(session, anomaly, facts, outcome="repair", reason="", after=FAILED_ROW)


def told_lost(anomaly: Anomaly, *lines: RequestFact) -> None:
    anomaly.facts = msgspec.to_builtins(undebited(*lines))


@pytest.mark.parametrize("lines", [(), (LINE,)])
def test_a_failure_to_be_confirmed_stays_with_the_person(
    session: WorkSession, anomaly: Anomaly, lines: tuple[RequestFact, ...]
) -> None:
    told_lost(anomaly, *lines)
    for _ in range(2):
        confirms(session, anomaly, undebited(*lines))
        assert (anomaly.state, anomaly.outcome, anomaly.reason) == ("needs_human", "human", LINE_LOST)
        assert anomaly.after is None


def test_once_its_line_has_come_it_is_repaired_again(session: WorkSession, anomaly: Anomaly) -> None:
    told_lost(anomaly)
    confirms(session, anomaly, undebited(LINE))
    assert (anomaly.state, anomaly.outcome, anomaly.after) == ("open", "repair", FAILED_ROW)


def test_one_that_a_person_has_let_go_on_is_not_taken_back(session: WorkSession, anomaly: Anomaly) -> None:
    told_lost(anomaly)
    anomaly.state, anomaly.outcome = "repairing", "repair"
    confirms(session, anomaly, undebited())
    assert (anomaly.state, anomaly.outcome) == ("repairing", "repair")


# ---- of a trade that would be paid


def to_be_paid(*numbers: str) -> Facts:
    """A single-step withdrawal told as success that the ledger has not debited and the bank has failed."""
    none = LegFact(LegState.NONE)
    lines = [RequestFact(f"T-{each}", i, "failed", BankState.FAIL) for i, each in enumerate(numbers)]
    bank = BankFact(BankState.FAIL, tuple(lines), is_explicit=True)
    return unpaid_facts("T", first=none, second=none, bank=bank)


def test_one_to_be_paid_stays_with_the_person_until_its_line_has_come(
    session: WorkSession, anomaly: Anomaly
) -> None:
    anomaly.facts = msgspec.to_builtins(to_be_paid("0"))
    for _ in range(2):
        see(session, anomaly, to_be_paid("0"), outcome="repair", reason="")
        assert (anomaly.state, anomaly.outcome, anomaly.reason) == ("needs_human", "human", LINE_LOST)
    see(session, anomaly, to_be_paid("0", "P1"), outcome="repair", reason="")
    assert (anomaly.state, anomaly.outcome) == ("open", "repair")


# ---- while the bank cannot say whether a line was lost


class Waiting:
    """A trade that its plan has begun to confirm as failed, which waits for the bank."""

    def __init__(self, session: WorkSession) -> None:
        self.session = session
        group = make_group(session)
        self.agent: Agent = make_agent(session, group, seen_at=NOW + timedelta(days=20))
        self.plan: Plan = make_plan(session, group)
        self.anomaly = make_anomaly(session, group, trade_no="T", kind="withdraw")
        self.tick(NOW)
        self.end(self.ordered()[-1])

    def end(self, command: Command) -> None:
        hand_to(self.session, command, self.agent)
        found = finished(command, "wait", reason="bank", facts_before=undebited())
        results.record_result(self.session, self.agent, found, NOW)

    def tick(self, now: datetime) -> None:
        tick = Tick(subject="plan", subject_id=self.plan.id, due_at=now, at=now)
        self.session.add(tick)
        self.session.flush()
        ticking.attempt_tick_page(self.session, ticking.TickPage(tick.id, self.plan.id, 0), now)
        self.session.flush()

    def looks(self, now: datetime, outcome: str, reason: str) -> None:
        self.tick(now)
        command = self.ordered()[-1]
        assert command.type == "Verify"
        hand_to(self.session, command, self.agent)
        told = facts_read(command, outcome, reason=reason, facts=undebited(), fixer_code=FIXER)
        verifications.record_facts(self.session, self.agent, told, now)
        self.session.flush()

    def ordered(self) -> list[Command]:
        return list(self.session.scalars(select(Command).order_by(Command.seq)))

    def begun(self) -> int:
        return len(self.session.scalars(select(BegunRepair.id)).all())


def test_neither_looks_nor_collections_have_it_begun_again(session: WorkSession) -> None:
    waiting = Waiting(session)
    for hours in (1, 2, 3):
        confirms(session, waiting.anomaly, undebited())
        waiting.looks(NOW + timedelta(hours=hours), "wait", "bank")
        found = (waiting.anomaly.state, waiting.anomaly.outcome, waiting.anomaly.reason)
        assert found == ("waiting", "wait", "bank")
    assert waiting.begun() == 1


@pytest.mark.parametrize(
    ("numbers", "has_moved_money", "state"),
    [(("0",), False, "waiting"), (("0", "P1"), False, "open"), (("0",), True, "open")],
)
def test_nor_has_a_collection_a_payout_begun_again(
    session: WorkSession, numbers: tuple[str, ...], has_moved_money: bool, state: str
) -> None:
    """But for a payout whose debit stands, which is gone on with."""
    waiting = Waiting(session)
    waiting.anomaly.facts = msgspec.to_builtins(to_be_paid("0"))
    waiting.anomaly.has_moved_money = has_moved_money
    see(session, waiting.anomaly, to_be_paid(*numbers), outcome="repair", reason="")
    assert waiting.anomaly.state == state


def test_once_the_bank_can_say_it_is_begun_again_at_once(session: WorkSession) -> None:
    waiting = Waiting(session)
    confirms(session, waiting.anomaly, undebited())
    waiting.looks(NOW + timedelta(hours=1), "repair", "")
    assert (waiting.anomaly.state, waiting.begun()) == ("repairing", 2)


def test_after_ten_days_it_is_for_a_person(session: WorkSession) -> None:
    waiting = Waiting(session)
    for days in (1, 9):
        confirms(session, waiting.anomaly, undebited())
        waiting.looks(NOW + timedelta(days=days), "wait", "bank")
        assert limits.apply_limits(session, NOW + timedelta(days=days)) == 0
    limits.apply_limits(session, NOW + timedelta(days=10, minutes=1))
    assert (waiting.anomaly.state, waiting.anomaly.reason) == ("needs_human", "waited_too_long")
    confirms(session, waiting.anomaly, undebited())
    assert (waiting.anomaly.state, waiting.begun()) == ("needs_human", 1)


def test_what_waits_for_another_cause_is_repaired_as_reported(session: WorkSession) -> None:
    waiting = Waiting(session)
    waiting.anomaly.reason = "in flight"
    confirms(session, waiting.anomaly, undebited())
    assert waiting.anomaly.state == "open"


def test_so_is_one_that_the_bank_had_not_yet_failed(session: WorkSession) -> None:
    waiting = Waiting(session)
    accepted = msgspec.structs.replace(LINE, status="accepted", verdict=BankState.UNKNOWN)
    unsure = msgspec.structs.replace(undebited(accepted), bank=BankFact(BankState.UNKNOWN, (accepted,)))
    waiting.anomaly.facts = msgspec.to_builtins(unsure)
    confirms(session, waiting.anomaly, undebited(LINE))
    assert waiting.anomaly.state == "open"
