"""Where only an order of people moves money, no repair does: not by click, bulk, command line or tick."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from flask import Flask
from sqlalchemy import select

from agent.answers import FactsRead
from agent.decision import WITHDRAW_TIMEOUT
from agent.facts import BankFact, BankState, Bookkeeping, Facts, LegFact, LegState, RequestFact, Status
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.queries import AnomalyFilter
from app.anomalies.service import verify
from app.audit.service import SYSTEM, Actor
from app.errors import ConflictError
from app.executions import bulk, bulk_course, money_orders, order_course, order_limits, selection
from app.executions.bulk_models import BulkItem
from app.executions.models import Attempt, Execution, Step
from app.executions.order_models import MoneyOrder
from app.executions.service import attempt_one, retry_now
from app.executions.starting import Order, start_attempts
from app.executions.verifications import record_facts
from app.extensions import db
from app.plans.service import find_plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.executions.unpaid import (
    WITHDRAW_FIXER,
    change,
    make_world,
    operator,
    plant,
    read_anomaly,
    read_order,
    unpaid_facts,
)
from tests.factories import NOW, hand_to, make_group, make_plan

NUMBER = "TX20260301000077"
SMALL, LARGE = 10_000, 10_000_000
HALF_POSTED: dict[str, Any] = {
    "bookkeeping": Bookkeeping.TWO_STEP,
    "status": Status.FAILED,
    "is_acc": True,
    "second": LegFact(LegState.NONE),
}
"""Production's own debit, which the decision table has repaired: S7a."""
OF_PLAN = {"outcome": "repair", "reason": "", "state": "open", "has_moved_money": False}


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    return make_world()


@pytest.fixture
def li_na(group: SystemGroup) -> Actor:
    return operator("li.na")


def half_posted(*numbers: str) -> dict[str, Any]:
    """The facts of a trade debited by production; the bank has failed these numbers."""
    requests = tuple(
        RequestFact(f"{NUMBER}-{number}", seq, "failed", BankState.FAIL, code="E1001")
        for seq, number in enumerate(numbers)
    )
    bank = BankFact(BankState.FAIL, requests, is_explicit=True)
    facts = unpaid_facts(NUMBER, amount=SMALL, bank=bank, **HALF_POSTED)
    return {"trade_no": NUMBER, "amount": SMALL, "facts": msgspec.to_builtins(facts)}


def propose(anomaly_id: int, actor: Actor) -> int:
    with unit_of_work() as session:
        return money_orders.propose(
            session, anomaly_id, "pay_again", reason="checked", actor=actor, group_ids=None, now=NOW
        ).id


def commands_of(anomaly_id: int) -> list[str]:
    trade_no = read_anomaly(anomaly_id).trade_no
    return list(db.session.scalars(select(Command.type).where(Command.trade_no == trade_no)))


def ask(anomaly_id: int, trigger: str, act: Callable[..., Attempt] = retry_now) -> None:
    with unit_of_work() as session:
        act(session, anomaly_id, Order(trigger, SYSTEM, "once more", NOW), group_ids=None)


def tick(anomaly_id: int) -> int:
    """Attempt it as a tick of its plan does; returns how many commands that made."""
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, anomaly_id)
        plan = find_plan(session, anomaly.group_id, anomaly.fixer_code)
        assert plan is not None
        return len(start_attempts(session, [anomaly], plan, Order("tick", SYSTEM, "", NOW)))


# ---- while an order stands


@pytest.mark.parametrize("trigger", ["click", "command_line"])
@pytest.mark.parametrize("act", [attempt_one, retry_now])
@pytest.mark.parametrize("state", ["exhausted", "needs_human"])
def test_no_person_repairs_while_a_second_one_is_awaited(
    group: SystemGroup, li_na: Actor, trigger: str, act: Callable[..., Attempt], state: str
) -> None:
    anomaly_id = plant(group, amount=LARGE, state=state)
    order_id = propose(anomaly_id, li_na)
    code = "needs_human" if (act, state) == (attempt_one, "needs_human") else "order_stands"
    with pytest.raises(ConflictError, match=code):
        ask(anomaly_id, trigger, act)
    assert (read_order(order_id).state, commands_of(anomaly_id)) == ("proposed", [])


def test_a_trade_whose_kind_could_not_be_read_is_held_as_a_withdrawal(
    group: SystemGroup, li_na: Actor
) -> None:
    anomaly_id, unordered_id = plant(group, amount=LARGE), plant(group)
    order_id = propose(anomaly_id, li_na)
    for one in (anomaly_id, unordered_id):
        change(one, kind=None, facts=None)
    with pytest.raises(ConflictError, match="order_stands"):
        ask(anomaly_id, "click")
    with pytest.raises(ConflictError, match="order_only"):
        ask(unordered_id, "click")
    with unit_of_work() as session:
        money_orders.withdraw(session, order_id, reason="x", actor=li_na, group_ids=None, now=NOW)
    with pytest.raises(ConflictError, match="ordered_before"):
        ask(anomaly_id, "click")


def test_no_tick_repairs_while_a_second_person_is_awaited(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group, amount=LARGE)
    propose(anomaly_id, li_na)
    change(anomaly_id, state="open")
    assert (tick(anomaly_id), commands_of(anomaly_id)) == (0, [])


def test_a_selection_leaves_out_what_an_order_stands_for(group: SystemGroup, li_na: Actor) -> None:
    propose(plant(group, amount=LARGE, state="exhausted"), li_na)
    wanted = AnomalyFilter(group_ids=[group.id])
    foreseen = selection.preview(db.session, wanted, NOW)
    assert [(one.code, one.count) for one in foreseen.skipped] == [("order_stands", 1)]
    assert selection.choose(db.session, wanted, 10, NOW).chosen == ()


def test_what_an_issued_order_left_half_done_goes_on_by_itself(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    _lose(anomaly_id)
    change(anomaly_id, state="open", has_moved_money=True)
    with pytest.raises(ConflictError, match="order_stands"):
        ask(anomaly_id, "click")
    assert tick(anomaly_id) == 1
    assert read_order(order_id).state == "issued"


def test_an_order_without_effect_hands_its_trade_to_a_person_not_to_the_plan(
    group: SystemGroup, li_na: Actor
) -> None:
    anomaly_id = plant(group)
    order_id = propose(anomaly_id, li_na)
    _lose(anomaly_id)
    change(anomaly_id, state="open", has_moved_money=False)
    assert tick(anomaly_id) == 0
    with unit_of_work() as session:
        assert order_course.close_over(session, NOW + timedelta(minutes=1)) == 1
    anomaly = read_anomaly(anomaly_id)
    assert (anomaly.state, anomaly.reason) == ("needs_human", "the order had no effect")
    assert read_order(order_id).state == "done"
    codes = db.session.scalars(select(AnomalyEvent.code).where(AnomalyEvent.anomaly_id == anomaly_id)).all()
    assert "order_without_effect" in codes


def _lose(anomaly_id: int) -> None:
    """The command of the order has ended, and nobody heard how."""
    with unit_of_work() as session:
        trade_no = session.get_one(Anomaly, anomaly_id).trade_no
        command = session.scalars(select(Command).where(Command.trade_no == trade_no)).one()
        command.state, command.finished_at = "indeterminate", NOW


# ---- where a payout of ours has failed


@pytest.mark.parametrize("amount", [SMALL, LARGE])
def test_a_person_pays_again_by_an_order_only(group: SystemGroup, li_na: Actor, amount: int) -> None:
    anomaly_id = plant(group, amount=amount)
    with pytest.raises(ConflictError, match="order_only"):
        ask(anomaly_id, "click")
    assert commands_of(anomaly_id) == []
    assert read_order(propose(anomaly_id, li_na)).needs_second is (amount == LARGE)


@pytest.mark.parametrize("state", ["open", "exhausted", "needs_human"])
def test_on_productions_own_debit_the_second_payout_of_ours_is_an_order(
    group: SystemGroup, li_na: Actor, state: str
) -> None:
    anomaly_id = plant(group, **half_posted("0", "P1"), **OF_PLAN | {"state": state})
    with pytest.raises(ConflictError, match="order_only"):
        ask(anomaly_id, "click")
    assert read_order(propose(anomaly_id, li_na)).state == "issued"


def test_the_first_one_is_an_ordinary_repair(group: SystemGroup, li_na: Actor) -> None:
    anomaly_id = plant(group, **half_posted("0"), **OF_PLAN)
    with pytest.raises(ConflictError):
        propose(anomaly_id, li_na)
    ask(anomaly_id, "click")
    assert commands_of(anomaly_id) == ["Repair"]


@pytest.mark.parametrize(("name", "state", "is_held"), [("pay", "failed", True), ("pay", "done", False)])
def test_a_payout_of_ours_under_productions_number_counts_too(
    group: SystemGroup, name: str, state: str, is_held: bool
) -> None:
    anomaly_id = plant(group, **half_posted("0"), **OF_PLAN)
    _write_step(anomaly_id, name, state)
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, anomaly_id)
        assert money_orders.is_orderable(session, anomaly) is is_held
    if is_held:
        with pytest.raises(ConflictError, match="order_only"):
            ask(anomaly_id, "click")


@pytest.mark.each_engine
@pytest.mark.parametrize("page", [1, 500])
def test_a_selection_tells_and_takes_nothing_that_only_an_order_pays(
    group: SystemGroup, li_na: Actor, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    monkeypatch.setattr(selection, "PAGE", page)
    free = plant(group, **half_posted("0"), **OF_PLAN)
    _plant_all_that_is_held(group, li_na)
    wanted = AnomalyFilter(group_ids=[group.id])
    foreseen = selection.preview(db.session, wanted, NOW)
    assert (foreseen.count, foreseen.amounts) == (1, {"CNY": SMALL})
    skipped = {one.code: one.count for one in foreseen.skipped}
    assert skipped == {"order_only": 3, "ordered_before": 1}
    choice = selection.choose(db.session, wanted, 10, NOW)
    assert ([one.anomaly_id for one in choice.chosen], choice.skipped) == ([free], 4)


def _plant_all_that_is_held(group: SystemGroup, actor: Actor) -> None:
    """Trades that only an order pays, by each thing that tells it."""
    plant(group, trade_no="BY-REASON", state="exhausted")
    of_facts = half_posted("0", "P1") | {"trade_no": "BY-FACTS"}
    of_facts["facts"] = {**of_facts["facts"], "trade_no": "BY-FACTS"}
    requests = of_facts["facts"]["bank"]["requests"]
    renamed = [{**one, "request_no": one["request_no"].replace(NUMBER, "BY-FACTS")} for one in requests]
    of_facts["facts"]["bank"] = {**of_facts["facts"]["bank"], "requests": renamed}
    plant(group, **of_facts, **OF_PLAN)
    _write_step(plant(group, trade_no="BY-STEP", amount=SMALL, **OF_PLAN), "pay", "failed")
    ordered = plant(group, trade_no="BY-ORDER", amount=LARGE, state="exhausted")
    order_id = propose(ordered, actor)
    with unit_of_work() as session:
        order = session.get_one(MoneyOrder, order_id)
        order.state, order.closed_at = "rejected", NOW
    change(ordered, **OF_PLAN)


def _write_step(anomaly_id: int, name: str, state: str) -> None:
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, anomaly_id)
        execution = Execution(
            group_id=anomaly.group_id, anomaly=anomaly, trade_no=anomaly.trade_no, created_at=NOW
        )
        execution.fixer_code, execution.plan_version = anomaly.fixer_code or "", 1
        attempt = Attempt(
            execution=execution,
            anomaly_id=anomaly_id,
            group_id=anomaly.group_id,
            number=1,
            command_id="c" * 32,
            trigger="tick",
            actor_name="",
            created_at=NOW,
        )
        session.add(attempt)
        session.flush()
        session.add(
            Step(
                attempt_id=attempt.id,
                seq=1,
                name=name,
                key="k",
                state=state,
                moves_money=True,
                started_at=NOW,
            )
        )
        anomaly.attempts = 1


def test_ticks_of_a_plan_keep_their_attempts(group: SystemGroup) -> None:
    assert tick(plant(group, **half_posted("0", "P1"), **OF_PLAN)) == 1


def test_a_repair_half_done_goes_on_by_a_click(group: SystemGroup) -> None:
    anomaly_id = plant(
        group, **half_posted("0", "P1"), **OF_PLAN | {"has_moved_money": True, "reason": "resume"}
    )
    ask(anomaly_id, "click")
    assert commands_of(anomaly_id) == ["Repair"]


def test_what_only_once_was_half_done_is_paid_by_an_order_only(group: SystemGroup) -> None:
    anomaly_id = plant(
        group, **half_posted("0", "P1"), **OF_PLAN | {"has_moved_money": True, "state": "waiting"}
    )
    with pytest.raises(ConflictError, match="order_only"):
        ask(anomaly_id, "click")


def test_a_failed_payout_of_ours_is_known_on_the_trades_next_anomaly(group: SystemGroup) -> None:
    first = plant(group, **half_posted("0"), **OF_PLAN)
    _write_step(first, "pay", "failed")
    change(first, state="ignored", closed_at=NOW)
    with pytest.raises(ConflictError, match="order_only"):
        ask(plant(group, **half_posted("0"), **OF_PLAN), "click")


STATES = ["open", "waiting", "exhausted", "needs_human"]


def unread(group: SystemGroup, state: str, told_by: str, bank_state: BankState | None) -> int:
    """A trade of which a payout of ours has failed; the last look at it learned nothing of the bank."""
    anomaly_id = plant(group, **half_posted("0"), **OF_PLAN | {"state": state})
    look_in_vain(anomaly_id, told_by, bank_state)
    return anomaly_id


def look_in_vain(anomaly_id: int, told_by: str, bank_state: BankState | None) -> None:
    """Have a payout of ours fail, and a look behind it that learns nothing of the bank."""
    facts = None
    if bank_state is not None:
        numbers = ("0", "P1") if told_by == "number" else ("0",)
        asked = tuple(RequestFact(f"{NUMBER}-{each}", 0, "unknown", bank_state) for each in numbers)
        read = unpaid_facts(NUMBER, amount=SMALL, bank=BankFact(bank_state, asked), **HALF_POSTED)
        facts = msgspec.to_builtins(read)
    change(anomaly_id, facts=facts, reason="bank")
    if told_by == "step":
        _write_step(anomaly_id, "pay", "failed")


UNREAD = pytest.mark.parametrize(
    ("told_by", "bank_state"),
    [
        ("step", None),
        ("step", BankState.UNKNOWN),
        ("step", BankState.MISMATCH),
        ("number", BankState.UNKNOWN),
        ("number", BankState.MISMATCH),
    ],
)


@UNREAD
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("act", [attempt_one, retry_now])
def test_what_a_look_could_not_read_lets_no_person_pay_again(
    group: SystemGroup,
    act: Callable[..., Attempt],
    state: str,
    told_by: str,
    bank_state: BankState | None,
) -> None:
    """The agent goes by what it reads next: it would open another number by one person's click."""
    anomaly_id = unread(group, state, told_by, bank_state)
    code = "needs_human" if (act, state) == (attempt_one, "needs_human") else "order_only"
    with pytest.raises(ConflictError, match=code):
        ask(anomaly_id, "click", act)
    assert commands_of(anomaly_id) == []


@UNREAD
@pytest.mark.parametrize("state", [state for state in STATES if state != "needs_human"])
def test_nor_does_a_bulk_repair(
    group: SystemGroup, state: str, told_by: str, bank_state: BankState | None
) -> None:
    plant_others(group, state)
    held = plant(group, **half_posted("0"), **OF_PLAN | {"state": state})
    code = skipped_at_its_turn(group, held, lambda: look_in_vain(held, told_by, bank_state))
    assert code == "order_only"


@pytest.mark.parametrize("bank_state", [None, BankState.UNKNOWN])
def test_without_any_payout_of_ours_what_could_not_be_read_is_an_ordinary_repair(
    group: SystemGroup, bank_state: BankState | None
) -> None:
    anomaly_id = unread(group, "open", "nothing", bank_state)
    ask(anomaly_id, "click")
    assert commands_of(anomaly_id) == ["Repair"]


# ---- where people have ordered


def ordered_of(group: SystemGroup, li_na: Actor, state: str = "done") -> int:
    """An anomaly of which an order has been given, and has come to its end."""
    anomaly_id = plant(group, **half_posted("0"), **OF_PLAN)
    give_an_order(group, anomaly_id, li_na, state)
    change(anomaly_id, outcome="human", state="needs_human")
    return anomaly_id


def give_an_order(group: SystemGroup, anomaly_id: int, li_na: Actor, state: str = "done") -> None:
    """Have an order be given of it and come to its end; it is a plan's again."""
    change(anomaly_id, outcome="human", state="needs_human")
    with unit_of_work() as session:
        order_limits.set_limit(session, group.id, 0, reason="two people always", actor=SYSTEM, now=NOW)
    order_id = propose(anomaly_id, li_na)
    with unit_of_work() as session:
        order = session.get_one(MoneyOrder, order_id)
        order.needs_second, order.state, order.closed_at = False, state, NOW
    change(anomaly_id, **OF_PLAN)


@pytest.mark.parametrize("state", ["done", "rejected", "withdrawn", "expired"])
def test_no_plan_pays_a_trade_of_which_people_have_ordered(
    group: SystemGroup, li_na: Actor, state: str
) -> None:
    anomaly_id = ordered_of(group, li_na, state)
    change(anomaly_id, **OF_PLAN)
    assert (tick(anomaly_id), commands_of(anomaly_id)) == (0, [])
    anomaly = read_anomaly(anomaly_id)
    assert (anomaly.state, anomaly.reason) == ("needs_human", "people have ordered of this trade before")
    for act in (attempt_one, retry_now):
        change(anomaly_id, **OF_PLAN)
        with pytest.raises(ConflictError, match="ordered_before"):
            ask(anomaly_id, "click", act)
    assert read_order(propose(anomaly_id, li_na)).state == "proposed"


def test_a_look_after_a_failed_order_leads_back_to_no_payment(group: SystemGroup, li_na: Actor) -> None:
    """One person's 核实 must not do alone what 再付 takes two for."""
    anomaly_id = ordered_of(group, li_na)
    with unit_of_work() as session:
        verify(session, anomaly_id, reason="look", actor=li_na, group_ids=None, now=NOW)
    with unit_of_work() as session:
        agent = session.scalars(select(Agent)).one()
        command = session.scalars(select(Command).where(Command.type == "Verify")).one()
        hand_to(session, command, agent)
        facts = msgspec.convert(half_posted("0", "P1")["facts"], Facts)
        answer = FactsRead(
            id="f" * 32,
            command_id=command.id,
            trade_no=NUMBER,
            outcome="repair",
            reason="",
            row=None,
            facts=facts,
            row_hash="hash-1",
            fixer_code=WITHDRAW_FIXER,
        )
        record_facts(session, agent, answer, NOW)
    assert read_anomaly(anomaly_id).state == "open"
    assert tick(anomaly_id) == 0
    assert (read_anomaly(anomaly_id).state, commands_of(anomaly_id)) == ("needs_human", ["Verify"])


def test_an_order_holds_its_trade_through_every_later_anomaly(group: SystemGroup, li_na: Actor) -> None:
    change(ordered_of(group, li_na), state="ignored", closed_at=NOW)
    again = plant(group, **half_posted("0"), **OF_PLAN)
    assert (tick(again), read_anomaly(again).state) == (0, "needs_human")


def test_an_order_holds_no_trade_of_another_group(group: SystemGroup, li_na: Actor) -> None:
    ordered_of(group, li_na)
    with unit_of_work() as session:
        other = make_group(session, "PBMS")
        make_plan(session, other, fixer_code=WITHDRAW_FIXER)
    assert tick(plant(other, **half_posted("0"), **OF_PLAN)) == 1


def test_a_bulk_repair_skips_a_trade_of_which_people_have_ordered(group: SystemGroup, li_na: Actor) -> None:
    plant_others(group)
    held = plant(group, **half_posted("0"), **OF_PLAN)
    assert skipped_at_its_turn(group, held, lambda: give_an_order(group, held, li_na)) == "ordered_before"


@pytest.mark.parametrize("what", ["paid", "half done", "writes what the bank has done"])
def test_what_pays_nothing_more_goes_on_after_an_order(group: SystemGroup, li_na: Actor, what: str) -> None:
    anomaly_id = ordered_of(group, li_na)
    change(anomaly_id, **OF_PLAN)
    if what == "paid":
        bank = BankFact(BankState.SUCCESS, (RequestFact(f"{NUMBER}-P1", 1, "success", BankState.SUCCESS),))
        facts = unpaid_facts(NUMBER, amount=SMALL, bank=bank, **HALF_POSTED)
        change(anomaly_id, facts=msgspec.to_builtins(facts))
    elif what == "half done":
        change(anomaly_id, has_moved_money=True, reason="resume")
    else:
        with unit_of_work() as session:
            make_plan(session, session.get_one(SystemGroup, group.id), fixer_code=WITHDRAW_TIMEOUT)
        change(anomaly_id, fixer_code=WITHDRAW_TIMEOUT)
    assert tick(anomaly_id) == 1


def plant_others(group: SystemGroup, state: str = "open") -> None:
    """Two trades beside the one that is tried, for a bulk repair that begins with one of them."""
    for number in range(2):
        columns = {"trade_no": f"TX2026030100010{number}", "amount": SMALL, "facts": None}
        plant(group, **columns, **OF_PLAN | {"state": state})


def skipped_at_its_turn(group: SystemGroup, held: int, hold: Callable[[], object]) -> str:
    """Why a bulk repair skips a trade that is held between its choice and its turn."""
    with unit_of_work() as session:
        wanted = AnomalyFilter(group_ids=[group.id])
        (begun,) = bulk.begin(session, wanted, Order("click", SYSTEM, "all", NOW)).bulks
    hold()
    with unit_of_work() as session:
        of_bulk = select(BulkItem).where(BulkItem.bulk_id == begun.id, BulkItem.state == "repairing")
        session.scalars(of_bulk).one().state = "done"
        bulk_course.tend(session, begun.id, NOW)
    item = db.session.scalars(select(BulkItem).where(BulkItem.anomaly_id == held)).one()
    assert (item.state, commands_of(held)) == ("skipped", [])
    return item.outcome


def test_a_bulk_repair_skips_it(group: SystemGroup) -> None:
    plant_others(group)
    held = plant(group, **half_posted("0"), **OF_PLAN)
    assert skipped_at_its_turn(group, held, lambda: change(held, **half_posted("0", "P1"))) == "order_only"


def test_no_order_of_a_trade_under_way_is_left_by_what_was_refused(group: SystemGroup) -> None:
    anomaly_id = plant(group, amount=LARGE)
    with pytest.raises(ConflictError):
        ask(anomaly_id, "click")
    assert db.session.scalars(select(MoneyOrder)).all() == []
