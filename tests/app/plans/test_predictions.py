"""Shadow and dry run: what a look foretells, kept once for each change, compared with what then happened."""

from datetime import timedelta

import pytest
from sqlalchemy import select, update

from agent.facts import BankFact, BankState
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, AnomalyEvent
from app.anomalies.service import ignore, order_verify
from app.audit.models import AuditEntry
from app.errors import ConflictError
from app.executions import results, ticking, verifications
from app.executions.service import attempt_one, retry_now
from app.executions.starting import Order, start_attempt
from app.guards.verdicts import terms_of
from app.plans import predictions, ticks
from app.plans.comparisons import differences
from app.plans.models import Plan
from app.plans.prediction_models import Prediction
from app.plans.predictions import dry_run
from app.plans.service import create_plan, update_plan, values_of
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    facts_of,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    row_of,
)

pytestmark = pytest.mark.each_engine

VOUCHER = "GA260302040107000042"
OTHER = "rechargeTimeoutFixServiceImpl"


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


@pytest.fixture
def agent(session: WorkSession, group: SystemGroup) -> Agent:
    return make_agent(session, group)


@pytest.fixture
def shadow(session: WorkSession, group: SystemGroup, agent: Agent) -> Plan:
    return make_plan(session, group, is_shadow=True)


def tick(session: WorkSession, plan: Plan, seconds: float = 0) -> int:
    """Run a due time of the plan; return how many commands it made."""
    now = NOW + timedelta(seconds=seconds)
    plan.next_due_at = now
    session.execute(update(Agent).values(last_seen_at=now))
    session.flush()
    (due,) = ticks.due_plans(session, now)
    page = ticking.begin_plan_tick(session, due, now)
    before = len(commands(session))
    while page is not None and page.last_id is not None:
        page = ticking.attempt_tick_page(session, page, now)
    session.flush()
    return len(commands(session)) - before


def commands(session: WorkSession) -> list[Command]:
    return list(session.scalars(select(Command).order_by(Command.seq)))


def foretold(trade_no: str) -> dict[str, object]:
    """The row of a recharge as a repair would leave it; the number is the ledger's to give."""
    return row_of(trade_no, 1) | {"ACC_TRD_STATUS": 1, "FAILED_MSG": "充值成功修复"}


def answer(
    session: WorkSession, agent: Agent, outcome: str = "repair", seconds: float = 0, **fields: object
) -> None:
    """The agent answers the newest Verify."""
    command = commands(session)[-1]
    assert command.type == "Verify"
    hand_to(session, command, agent)
    trade_no = command.trade_no or ""
    if outcome == "repair":
        fields = {"after": foretold(trade_no), "steps": ("post_first", "write_row", "read_back"), **fields}
    message = facts_read(command, outcome, **fields)
    verifications.record_facts(session, agent, message, NOW + timedelta(seconds=seconds))
    session.flush()


def kept(session: WorkSession) -> list[Prediction]:
    session.flush()
    session.expire_all()
    return list(session.scalars(select(Prediction).order_by(Prediction.id)).unique())


# ---- no money moves in shadow


def test_nothing_of_a_plan_in_shadow_becomes_a_repair(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    opened, exhausted = make_anomaly(session, group), make_anomaly(session, group, state="exhausted")
    waiting = make_anomaly(session, group, state="waiting", outcome="wait")
    tick(session, shadow)
    for command in commands(session):
        hand_to(session, command, agent)
        verifications.record_facts(session, agent, facts_read(command, "repair"), NOW)
    assert waiting.state == "open"
    for trigger in ("click", "command_line"):
        order = Order(trigger, PERSON, "must go", NOW)
        for anomaly in (opened, exhausted):
            for act in (attempt_one, retry_now):
                with pytest.raises(ConflictError) as refused:
                    act(session, anomaly.id, order, group_ids=None)
                assert refused.value.code == "plan_shadow"
    shadow.mode = "manual"
    make_anomaly(session, group, has_moved_money=True)
    session.flush()
    assert ticking.resume_clicked(session, NOW) == 0
    session.flush()
    assert {command.type for command in commands(session)} == {"Verify"}


@pytest.mark.parametrize("is_answered", [True, False])
def test_what_a_clock_ahead_looked_at_is_looked_at_again_once_the_clock_is_put_back(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan, is_answered: bool
) -> None:
    make_anomaly(session, group)
    ahead = timedelta(days=30).total_seconds()
    assert tick(session, shadow, ahead) == 1
    if is_answered:
        answer(session, agent, seconds=ahead)
    session.execute(update(Command).values(state="finished"))
    assert tick(session, shadow) == 1


def test_a_plan_is_not_put_into_shadow_while_a_repair_of_it_has_not_ended(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group)
    anomaly = make_anomaly(session, group)
    start_attempt(session, anomaly, plan, Order("tick", PERSON, "", NOW))
    (command,) = commands(session)
    hand_to(session, command, agent)
    values = values_of(plan)
    shadowed = type(values)(**(vars(values) | {"is_shadow": True}))
    with pytest.raises(ConflictError) as refused:
        update_plan(session, plan.id, shadowed, actor=PERSON, now=NOW, reason="look first")
    assert (refused.value.code, refused.value.field, refused.value.params["n"]) == (
        "plan_at_work",
        "is_shadow",
        1,
    )
    results.record_result(session, agent, finished(command, "repaired", money_moved=True), NOW)
    update_plan(session, plan.id, shadowed, actor=PERSON, now=NOW, reason="look first")
    session.flush()
    assert plan.is_shadow
    entry = session.scalars(select(AuditEntry).where(AuditEntry.action == "plan.update")).one()
    assert entry.detail["changed"] == {"is_shadow": [False, True]}


def test_a_new_plan_can_begin_in_shadow_and_leave_it(session: WorkSession, group: SystemGroup) -> None:
    template = make_plan(session, group, fixer_code=OTHER)
    values = vars(values_of(template)) | {"fixer_code": FIXER, "is_shadow": True}
    plan = create_plan(session, type(values_of(template))(**values), actor=PERSON, now=NOW)
    assert plan.is_shadow
    leaving = type(values_of(template))(**(values | {"is_shadow": False}))
    update_plan(session, plan.id, leaving, actor=PERSON, now=NOW, reason="as foretold")
    assert (plan.is_shadow, plan.version) == (False, 2)


# ---- what is foretold is kept once for each change


def test_a_tick_asks_once_and_keeps_what_would_be_done(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = make_anomaly(session, group)
    assert tick(session, shadow) == 1
    answer(session, agent)
    (one,) = kept(session)
    assert (one.outcome, one.trigger, one.plan_id, one.plan_version) == ("repair", "shadow", shadow.id, 1)
    assert one.steps == ["post_first", "write_row", "read_back"]
    assert (one.row, one.after) == (row_of(anomaly.trade_no, 1), foretold(anomaly.trade_no))
    assert one.facts is not None
    assert (anomaly.state, anomaly.attempts) == ("open", 0)


def test_a_manual_plan_in_shadow_foretells_at_its_ticks_too(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    plan = make_plan(session, group, mode="manual", is_shadow=True)
    make_anomaly(session, group)
    assert tick(session, plan) == 1
    answer(session, agent)
    assert [one.outcome for one in kept(session)] == ["repair"]
    plan.next_due_at = NOW + timedelta(hours=2)
    session.flush()
    assert ticks.correct_due_times(session, NOW) == 1
    plan.is_shadow = False
    session.flush()
    assert ticks.due_plans(session, NOW + timedelta(hours=2)) == []


def test_what_a_limit_held_before_the_shadow_is_foretold_too(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    make_anomaly(session, group, hold_code="per_trade", hold_terms=terms_of(shadow))
    assert tick(session, shadow) == 1


def test_the_next_ticks_ask_nothing_until_row_or_decision_change_or_an_hour_has_passed(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = make_anomaly(session, group)
    tick(session, shadow)
    answer(session, agent)
    assert [tick(session, shadow, seconds) for seconds in (120, 240, 3_500)] == [0, 0, 0]
    anomaly.row_hash = "hash-3"
    assert tick(session, shadow, 3_520) == 1
    answer(session, agent, seconds=3_520)
    assert tick(session, shadow, 3_600) == 0
    anomaly.outcome = "wait"
    assert tick(session, shadow, 3_620) == 1
    answer(session, agent, "wait", 3_620, reason="bank")
    assert tick(session, shadow, 3_700) == 0
    assert tick(session, shadow, 7_300) == 1


def test_the_same_look_again_makes_no_second_row(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    make_anomaly(session, group)
    for seconds in (0, 3_700):
        assert tick(session, shadow, seconds) == 1
        read = facts_of(commands(session)[-1].trade_no or "")
        answer(
            session, agent, seconds=seconds, facts=type(read)(**(_fields(read) | {"read_at": str(seconds)}))
        )
    (one,) = kept(session)
    assert (one.looks, one.at, one.looked_at) == (2, NOW, NOW + timedelta(seconds=3_700))


def _fields(facts: object) -> dict[str, object]:
    return {name: getattr(facts, name) for name in facts.__struct_fields__}  # type: ignore[attr-defined]


def test_other_facts_make_a_new_row_which_is_then_the_newest(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = make_anomaly(session, group)
    tick(session, shadow)
    answer(session, agent)
    tick(session, shadow, 3_700)
    read = facts_of(anomaly.trade_no)
    unknown = type(read)(**(_fields(read) | {"bank": BankFact(BankState.UNKNOWN)}))
    answer(session, agent, "wait", 3_700, reason="bank", facts=unknown)
    assert [(one.outcome, one.is_newest) for one in kept(session)] == [("repair", False), ("wait", True)]


@pytest.mark.parametrize(
    ("outcome", "told"),
    [("wait", "wait"), ("human", "human"), ("missing", "human"), ("consistent", "consistent")],
)
def test_what_would_not_be_repaired_is_foretold_too(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan, outcome: str, told: str
) -> None:
    make_anomaly(session, group)
    tick(session, shadow)
    answer(session, agent, outcome, reason="why")
    (one,) = kept(session)
    assert (one.outcome, one.reason, one.after, one.result) == (told, "why", None, None)


def test_what_could_not_be_read_foretells_nothing_and_is_not_asked_at_every_tick(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    make_anomaly(session, group)
    tick(session, shadow)
    answer(session, agent, "error", reason="ledger down")
    assert kept(session) == []
    assert [tick(session, shadow, seconds) for seconds in (2, 20, 31)] == [0, 0, 1]


def test_a_plan_that_repairs_keeps_no_prediction_of_its_verifications(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    make_plan(session, group)
    order_verify(session, make_anomaly(session, group), NOW)
    session.flush()
    answer(session, agent)
    assert kept(session) == []


# ---- a person tries one


def test_a_dry_run_is_kept_whatever_the_plan_and_starts_nothing(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    make_plan(session, group)
    anomaly = make_anomaly(session, group, state="waiting")
    dry_run(session, anomaly.id, reason="", actor=PERSON, group_ids=None, now=NOW)
    session.flush()
    answer(session, agent)
    (one,) = kept(session)
    assert (one.trigger, one.actor_name, one.outcome) == ("dry_run", PERSON.name, "repair")
    assert [command.type for command in commands(session)] == ["Verify"]
    assert session.get_one(Anomaly, anomaly.id).state == "open"
    assert session.scalars(select(AuditEntry.action)).all() == ["anomaly.dry_run"]


def test_a_dry_run_that_could_read_nothing_says_so_in_the_history(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    anomaly = make_anomaly(session, group)
    dry_run(session, anomaly.id, reason="", actor=PERSON, group_ids=None, now=NOW)
    session.flush()
    answer(session, agent, "error", reason="ledger down")
    events = session.execute(select(AnomalyEvent.code, AnomalyEvent.reason)).all()
    assert [tuple(event) for event in events] == [("dry_run_ordered", ""), ("dry_run_failed", "ledger down")]
    assert kept(session) == []


@pytest.mark.parametrize(
    ("columns", "code"),
    [
        ({"state": "repaired"}, "closed"),
        ({"state": "repairing"}, "repairing"),
        ({"fixer_code": None, "state": "needs_human"}, "no_fixer"),
    ],
)
def test_a_dry_run_is_refused_where_nothing_can_be_foretold(
    session: WorkSession, group: SystemGroup, columns: dict[str, object], code: str
) -> None:
    anomaly = make_anomaly(session, group, **columns)
    with pytest.raises(ConflictError) as refused:
        dry_run(session, anomaly.id, reason="", actor=PERSON, group_ids=None, now=NOW)
    assert refused.value.code == code
    assert commands(session) == []


# ---- what then happened


def repaired_row(trade_no: str, **cells: object) -> dict[str, object]:
    return foretold(trade_no) | {"ACC_TRD_NUM": VOUCHER} | cells


def predict(session: WorkSession, group: SystemGroup, agent: Agent, plan: Plan) -> Anomaly:
    anomaly = make_anomaly(session, group)
    tick(session, plan)
    answer(session, agent)
    return anomaly


def test_a_repair_after_the_shadow_is_compared_with_what_was_foretold(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = predict(session, group, agent, shadow)
    shadow.is_shadow = False
    assert tick(session, shadow, 120) == 1
    command = commands(session)[-1]
    hand_to(session, command, agent)
    after = repaired_row(anomaly.trade_no)
    results.record_result(session, agent, finished(command, "repaired", money_moved=True, after=after), NOW)
    (one,) = kept(session)
    assert (one.result, one.differing, one.actual_by) == ("matched", [], "piculus")
    assert (one.actual, one.compared_at) == (after, NOW)


def test_a_trade_healed_by_hand_tells_the_columns_that_differ(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = predict(session, group, agent, shadow)
    order_verify(session, anomaly, NOW)
    session.flush()
    by_hand = repaired_row(anomaly.trade_no, FAILED_MSG="人工补账")
    answer(session, agent, "consistent", 60, row=by_hand)
    (one,) = kept(session)
    assert (one.result, one.differing, one.actual_by) == ("differs", ["FAILED_MSG"], "outside")
    assert one.actual == by_hand


def test_the_newest_prediction_of_a_repair_is_compared_though_a_wait_came_after(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = predict(session, group, agent, shadow)
    tick(session, shadow, 3_700)
    answer(session, agent, "wait", 3_700, reason="bank")
    order_verify(session, anomaly, NOW)
    session.flush()
    answer(session, agent, "consistent", 3_760, row=repaired_row(anomaly.trade_no))
    assert [(one.outcome, one.result) for one in kept(session)] == [("repair", "matched"), ("wait", None)]


def attempt(session: WorkSession, agent: Agent, plan: Plan, outcome: str) -> None:
    """The plan has left its shadow: its tick attempts what was foretold."""
    plan.is_shadow = False
    assert tick(session, plan, 120) == 1
    command = commands(session)[-1]
    hand_to(session, command, agent)
    results.record_result(session, agent, finished(command, outcome), NOW)


@pytest.mark.parametrize(("outcome", "ended"), [("failed", "exhausted"), ("needs_human", "needs_human")])
def test_a_repair_foretold_that_ends_with_a_person_differs(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan, outcome: str, ended: str
) -> None:
    anomaly = predict(session, group, agent, shadow)
    attempt(session, agent, shadow, outcome)
    if outcome == "failed":
        assert tick(session, shadow, 240) == 0
    assert anomaly.state == ended
    (one,) = kept(session)
    assert (one.result, one.ended, one.other_end) == ("differs", ended, ended)
    assert (one.actual, one.actual_by, one.differing) == (None, None, None)


def test_it_differs_for_good_though_a_person_has_it_repaired_as_foretold(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = predict(session, group, agent, shadow)
    attempt(session, agent, shadow, "needs_human")
    retry_now(session, anomaly.id, Order("click", PERSON, "again", NOW), group_ids=None)
    command = commands(session)[-1]
    hand_to(session, command, agent)
    after = repaired_row(anomaly.trade_no)
    results.record_result(session, agent, finished(command, "repaired", money_moved=True, after=after), NOW)
    (one,) = kept(session)
    assert (one.result, one.other_end, one.differing) == ("differs", "needs_human", [])
    assert (one.actual, one.actual_by) == (after, "piculus")


def test_a_look_that_finds_it_for_a_person_differs_from_the_repair_foretold_before(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    predict(session, group, agent, shadow)
    tick(session, shadow, 3_700)
    answer(session, agent, "human", 3_700, reason="mismatch")
    found = [(one.outcome, one.result, one.ended) for one in kept(session)]
    assert found == [("repair", "differs", "needs_human"), ("human", None, None)]


@pytest.mark.parametrize("is_repaired", [True, False])
def test_a_person_foretold_differs_where_it_was_repaired(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan, is_repaired: bool
) -> None:
    anomaly = make_anomaly(session, group)
    tick(session, shadow)
    answer(session, agent, "human", reason="mismatch")
    shadow.is_shadow = False
    if is_repaired:
        retry_now(session, anomaly.id, Order("click", PERSON, "again", NOW), group_ids=None)
        command = commands(session)[-1]
        hand_to(session, command, agent)
        results.record_result(session, agent, finished(command, "repaired", money_moved=True), NOW)
    else:
        ignore(session, anomaly.id, reason="test data", actor=PERSON, group_ids=None, now=NOW)
    (one,) = kept(session)
    told = ("differs", "repaired", "piculus") if is_repaired else ("matched", "ignored", None)
    assert (one.result, one.ended, one.actual_by) == told


def test_a_repair_foretold_of_what_a_person_ignored_differs(
    session: WorkSession, group: SystemGroup, agent: Agent, shadow: Plan
) -> None:
    anomaly = predict(session, group, agent, shadow)
    ignore(session, anomaly.id, reason="test data", actor=PERSON, group_ids=None, now=NOW)
    (one,) = kept(session)
    assert (one.result, one.other_end, one.actual) == ("differs", "ignored", None)


BEFORE = row_of("T1", 1)
AFTER = BEFORE | {"ACC_TRD_STATUS": 1, "FAILED_MSG": "充值成功修复"}


@pytest.mark.parametrize(
    ("actual", "differing"),
    [
        (AFTER | {"ACC_TRD_NUM": VOUCHER}, []),
        (AFTER | {"ACC_TRD_NUM": None}, ["ACC_TRD_NUM"]),
        (AFTER | {"ACC_TRD_NUM": "  "}, ["ACC_TRD_NUM"]),
        (AFTER | {"ACC_TRD_NUM": VOUCHER, "TRD_STATUS": 9}, ["TRD_STATUS"]),
        (AFTER | {"ACC_TRD_NUM": VOUCHER, "E_ACC_TRD_NUM": VOUCHER}, ["E_ACC_TRD_NUM"]),
        (BEFORE, ["ACC_TRD_NUM", "ACC_TRD_STATUS", "FAILED_MSG"]),
    ],
)
def test_a_number_to_come_is_any_number_and_all_else_is_compared_exactly(
    actual: dict[str, object], differing: list[str]
) -> None:
    assert differences(BEFORE, AFTER, actual) == differing


def test_a_known_number_and_a_row_confirmed_failed_are_compared_exactly() -> None:
    known = AFTER | {"ACC_TRD_NUM": VOUCHER}
    assert differences(BEFORE, known, AFTER | {"ACC_TRD_NUM": "GA000000000000000001"}) == ["ACC_TRD_NUM"]
    failed = BEFORE | {"TRD_STATUS": 9}
    assert differences(BEFORE, failed, failed) == []
    assert differences(BEFORE, failed, failed | {"ACC_TRD_NUM": VOUCHER}) == ["ACC_TRD_NUM"]


def test_the_answer_to_an_order_of_another_trade_is_no_dry_run(
    session: WorkSession, group: SystemGroup, agent: Agent
) -> None:
    one, other = make_anomaly(session, group), make_anomaly(session, group)
    dry_run(session, one.id, reason="", actor=PERSON, group_ids=None, now=NOW)
    command = commands(session)[-1]
    assert predictions.find_dry_run(session, other, command.id) is None
    assert predictions.find_dry_run(session, one, None) is None
