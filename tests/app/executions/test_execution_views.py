"""Executions as pages: the list and its filters, one with all its evidence, retry now and cancel."""

from dataclasses import dataclass
from datetime import timedelta

import pytest
from flask import Flask

from agent.answers import StepRecorded
from app.agents import commands
from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly
from app.audit.models import AuditEntry
from app.executions import attempt_record, results
from app.executions.models import Attempt, Execution
from app.executions.queries import NO_ID, first_id_since
from app.executions.service import attempt_one, cancel_attempt
from app.executions.starting import Order
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from app.users.models import SystemGroup
from tests.app.executions.unpaid import change
from tests.app.visitor import Visitor, hidden_fields, visitor_of
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    facts_of,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    row_of,
    step,
)

CLICK = Order("click", PERSON, "客户来电", NOW)
OTHER_FIXER = "withdrawOkFixServiceImpl"
KEY = "PCL:PBAP:T:1"
VOUCHER = "GA261120114635106323"


@dataclass(frozen=True)
class Place:
    """PBAP with a plan and an agent; PBMS with a plan and nobody."""

    group: SystemGroup
    other: SystemGroup
    agent: Agent


@pytest.fixture
def place(app: Flask) -> Place:
    with unit_of_work() as session:
        group, other = make_group(session), make_group(session, "PBMS")
        make_plan(session, group, max_retries=1)
        make_plan(session, other)
        return Place(group, other, make_agent(session, group, name="pbap-1"))


@pytest.fixture
def operator(app: Flask, place: Place) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def begin(session: WorkSession, group: SystemGroup, **columns: object) -> tuple[Attempt, Command]:
    """A first attempt by a click, still with the server."""
    anomaly = make_anomaly(session, group, **columns)
    attempt = attempt_one(session, anomaly.id, CLICK, group_ids=None)
    command = commands.find(session, attempt.command_id)
    assert command is not None
    return attempt, command


def end(session: WorkSession, place: Place, outcome: str, **fields: object) -> Execution:
    """An execution whose attempt the agent has ended so."""
    attempt, command = begin(session, place.group)
    hand_to(session, command, place.agent)
    results.record_result(session, place.agent, finished(command, outcome, **fields), NOW)
    session.flush()
    return attempt.execution


def repaired(session: WorkSession, place: Place, *, is_confirmed_failed: bool = False) -> Execution:
    booked = {"ACC_TRD_NUM": VOUCHER, "ACC_TRD_STATUS": 1, "FAILED_MSG": "充值成功修复"}
    return end(
        session,
        place,
        "repaired",
        after={**row_of("CO1", 1), **booked},
        facts_after=facts_of("CO1"),
        money_moved=True,
        is_confirmed_failed=is_confirmed_failed,
        steps=(
            step(1, "post_first", key=KEY, moves_money=True, detail=VOUCHER, duration_ms=42),
            step(2, "write_row"),
        ),
    )


def row_id(execution: Execution) -> str:
    return f'id="execution-{execution.id}"'


def anomaly_of(execution: Execution) -> Anomaly:
    db.session.expire_all()
    return db.session.get_one(Anomaly, execution.anomaly_id)


# ---- the list


def test_executions_need_a_login(app: Flask) -> None:
    assert Visitor(app).get("/executions").status_code == 302


def test_a_person_sees_the_executions_of_their_groups(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        mine = end(session, place, "failed")
        theirs = begin(session, place.other)[0].execution
    page = operator.get("/executions").text
    assert row_id(mine) in page
    assert row_id(theirs) not in page
    assert operator.get(f"/executions/{theirs.id}").status_code == 404
    assert operator.get(f"/executions/{theirs.id}/cancel").status_code == 404


def test_the_fragment_is_the_table_of_the_page(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        execution = end(session, place, "failed")
    fragment = operator.get("/executions", target="executions-table").text
    assert fragment.lstrip().startswith('<div id="executions-table"')
    assert row_id(execution) in fragment


def test_a_repair_that_is_accepted_names_its_agent(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        attempt, command = begin(session, place.group)
        attempt.agent_id, command.agent_id, command.state = None, place.agent.id, "accepted"
        url = f"/executions/{attempt.execution_id}"
    assert "尚未有客户端接下" not in operator.get(url).text
    with unit_of_work() as session:
        session.get_one(Command, command.seq).state = "sent"
    assert "尚未有客户端接下" in operator.get(url).text


def test_a_list_says_success_or_confirmed_failure_and_nothing_beside(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        repaired(session, place)
        repaired(session, place, is_confirmed_failed=True)
    page = operator.get("/executions", target="executions-table").text
    assert (page.count("修复为成功"), page.count("确认失败")) == (1, 1)
    assert "充值成功修复" not in page
    assert "已修复" not in page


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        ("outcome=success", 1),
        ("outcome=confirmed_failed", 1),
        ("outcome=failed", 1),
        ("outcome=running", 1),
        ("outcome=wait", 0),
        ("trigger=click", 4),
        ("trigger=tick", 0),
        (f"fixer={FIXER}", 4),
        ("fixer=none", 0),
        ("group=PBAP", 4),
        ("trade_no=XY", 1),
        ("start=2026-03-02T20:00", 4),
        ("start=2026-03-02T20:01", 0),
        ("end=2026-03-02T20:00", 0),
        ("end=2026-03-02T20:01", 4),
    ],
)
def test_filters_narrow_the_list(operator: Visitor, place: Place, asked: str, count: int) -> None:
    with unit_of_work() as session:
        repaired(session, place)
        repaired(session, place, is_confirmed_failed=True)
        end(session, place, "failed")
        begin(session, place.group, trade_no="XY01")
    assert operator.get(f"/executions?{asked}").text.count('id="execution-') == count


def test_the_agent_filter_finds_what_it_tried(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        end(session, place, "failed")
        begin(session, place.group)
    page = operator.get(f"/executions?agent={place.agent.id}").text
    assert page.count('id="execution-') == 1


def test_a_wrong_time_is_told_and_kept(operator: Visitor) -> None:
    answer = operator.get("/executions?start=yesterday", target="executions-table")
    assert answer.status_code == 400
    assert 'id="start-error"' in answer.text
    assert 'value="yesterday"' in operator.get("/executions?start=yesterday").text


def test_a_time_is_found_by_halving_the_ids(app: Flask, place: Place) -> None:
    with unit_of_work() as session:
        made = [begin(session, place.group)[0].execution for _each in range(5)]
        for minutes, execution in enumerate(made):
            execution.created_at = NOW + timedelta(minutes=minutes)
        session.delete(made[2].attempts[0])
        session.flush()
        session.delete(made[2])
        session.flush()
        found = [first_id_since(session, NOW + timedelta(minutes=minutes)) for minutes in range(6)]
    assert found == [made[0].id, made[1].id, made[3].id, made[3].id, made[4].id, NO_ID]


# ---- one execution


def test_a_repaired_one_shows_steps_money_and_both_rows(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        execution = repaired(session, place)
    page = operator.get(f"/executions/{execution.id}").text
    for words in ("修复为成功", "第 1 次", "pbap-1", "第一段记账", "动资金", KEY, "42 毫秒", "客户来电"):
        assert words in page
    assert "<del>NULL</del>" in page
    assert f"<ins>{VOUCHER}</ins>" in page
    assert page.count('data-column="') == 8
    assert f'href="/anomalies/{execution.anomaly_id}"' in page
    assert f"/frames/commands/{execution.attempts[0].command_id}" in page


def test_the_drawer_shows_what_the_page_shows(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        execution = repaired(session, place)
    drawer = operator.get(f"/executions/{execution.id}", target="drawer").text
    assert "<html" not in drawer
    assert 'data-topic="executions"' in drawer
    assert f"<ins>{VOUCHER}</ins>" in drawer


def test_a_repair_without_money_says_so(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        execution = end(session, place, "failed", reason="the ledger refused")
    page = operator.get(f"/executions/{execution.id}").text
    assert "没有移动资金" in page
    assert "账务拒绝记账" in page


def test_a_money_step_that_nobody_heard_the_end_of_is_not_called_no_money(
    operator: Visitor, place: Place
) -> None:
    begun = step(1, "pay", key=KEY, state="intended", moves_money=True)
    with unit_of_work() as session:
        execution = end(session, place, "unknown", reason="the reply to the payout was lost", steps=(begun,))
    page = operator.get(f"/executions/{execution.id}").text
    assert "结果未知，资金可能已经移动" in page
    assert "没有移动资金" not in page


def test_a_viewer_has_no_buttons(app: Flask, place: Place) -> None:
    with unit_of_work() as session:
        execution = end(session, place, "failed")
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    page = viewer.get(f"/executions/{execution.id}").text
    assert "/retry" not in page
    for action in ("retry", "cancel"):
        assert viewer.get(f"/executions/{execution.id}/{action}").status_code == 403
        assert viewer.post(f"/executions/{execution.id}/{action}", {"reason": "x"}).status_code == 403


# ---- retry now


def test_retry_now_makes_one_further_attempt_whatever_the_count(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        execution = end(session, place, "failed")
        session.get_one(Anomaly, execution.anomaly_id).state = "exhausted"
    assert f"/executions/{execution.id}/retry" in operator.get(f"/executions/{execution.id}").text
    answer = operator.send(f"/executions/{execution.id}/retry", {"reason": "银行已恢复"})
    assert answer.status_code == 303
    anomaly = anomaly_of(execution)
    assert (anomaly.state, anomaly.attempts) == ("repairing", 2)
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "attempt.retry")).one()
    assert (entry.reason, entry.actor_name) == ("银行已恢复", "li.na")


@pytest.mark.parametrize("reason", ["", "x" * 501])
def test_a_retry_takes_a_reason(operator: Visitor, place: Place, reason: str) -> None:
    with unit_of_work() as session:
        execution = end(session, place, "failed")
    answer = operator.send(f"/executions/{execution.id}/retry", {"reason": reason})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text
    assert f'name="reason" value="{reason}"' in answer.text
    assert anomaly_of(execution).attempts == 1


def test_what_is_repaired_is_not_retried(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        execution = repaired(session, place)
    assert "/retry" not in operator.get(f"/executions/{execution.id}").text
    answer = operator.send(f"/executions/{execution.id}/retry", {"reason": "再来"})
    assert answer.status_code == 409
    assert "已经结束" in answer.text


@pytest.mark.parametrize(
    ("columns", "told"), [({"amount_minor": 99_900}, "¥999.00"), ({"fixer_code": OTHER_FIXER}, OTHER_FIXER)]
)
def test_nobody_retries_what_their_form_did_not_show(
    operator: Visitor, place: Place, columns: dict[str, object], told: str
) -> None:
    with unit_of_work() as session:
        make_plan(session, session.merge(place.group), fixer_code=OTHER_FIXER)
        execution = end(session, place, "failed")
    url = f"/executions/{execution.id}/retry"
    opened = operator.hidden(url)
    change(execution.anomaly_id, **columns)
    answer = operator.post(url, {**opened, "reason": "银行已恢复"}, target="dialog")
    assert (answer.status_code, anomaly_of(execution).attempts) == (409, 1)
    assert "没有执行：您打开之后" in answer.text
    assert told in answer.text
    assert operator.post(url, {**hidden_fields(answer.text), "reason": "已核对"}).status_code == 303
    assert anomaly_of(execution).attempts == 2


# ---- cancel


def test_a_cancel_does_not_say_that_nothing_moved_where_a_lost_agent_may_have_begun(
    operator: Visitor, place: Place
) -> None:
    with unit_of_work() as session:
        attempt, command = begin(session, place.group)
        hand_to(session, command, place.agent)
        command.state, command.sent_at = "pending", None
    url = f"/executions/{attempt.execution_id}"
    assert operator.post(f"{url}/cancel", {"reason": "等确认"}).status_code == 303
    text = operator.get(url).text
    assert "失去联系的客户端可能已经开始" in text
    assert "没有移动资金" not in text


def test_an_attempt_not_yet_sent_is_cancelled_at_once(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        attempt, command = begin(session, place.group)
    url = f"/executions/{attempt.execution_id}/cancel"
    assert "什么也不会发生" in operator.get(url).text
    answer = operator.post(url, {"reason": "点错了"}, target="dialog")
    assert answer.status_code == 204
    assert db.session.get_one(Command, command.seq).state == "cancelled"
    assert anomaly_of(attempt.execution).state == "open"
    assert operator.post(url, {"reason": "点错了"}).status_code == 409


def test_a_running_attempt_is_asked_to_stop_before_its_next_effect(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        attempt, command = begin(session, place.group)
        hand_to(session, command, place.agent)
    url = f"/executions/{attempt.execution_id}"
    text = operator.get(url).text
    assert "至今没有收到资金移动的记录，可以取消" in text
    assert "没有移动资金" not in text
    assert operator.post(f"{url}/cancel", {"reason": "等确认"}).status_code == 303
    assert db.session.get_one(Command, command.seq).cancel_requested_at is not None
    page = operator.get(url).text
    assert "已要求停止" in page
    assert "li.na 要求取消：等确认" in page
    assert f"{url}/cancel" not in page


def test_an_attempt_that_stopped_says_that_nothing_happened(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        execution = end(session, place, "cancelled", reason="cancelled before the first effect")
    page = operator.get(f"/executions/{execution.id}").text
    assert "第 1 次执行已取消" in page
    assert "没有记账，没有出款，交易记录没有改" in page
    assert "到下一个重试间隔会再执行" in page


@pytest.mark.parametrize(
    ("money_moved", "words"), [(True, "那时资金已开始移动，所以继续到完成"), (False, "那时已经没有什么可停")]
)
def test_a_cancel_that_came_too_late_says_why(
    operator: Visitor, place: Place, money_moved: bool, words: str
) -> None:
    with unit_of_work() as session:
        attempt, command = begin(session, place.group)
        hand_to(session, command, place.agent)
        cancel_attempt(session, attempt.id, reason="等确认", actor=PERSON, group_ids=None, now=NOW)
        done = finished(command, "repaired", money_moved=money_moved)
        results.record_result(session, place.agent, done, NOW)
    assert words in operator.get(f"/executions/{attempt.execution_id}").text


def test_a_repair_whose_money_began_to_move_after_the_cancel_says_why_it_goes_on(
    operator: Visitor, place: Place
) -> None:
    with unit_of_work() as session:
        attempt, command = begin(session, place.group)
        hand_to(session, command, place.agent)
        cancel_attempt(session, attempt.id, reason="等确认", actor=PERSON, group_ids=None, now=NOW)
        attempt.money_moved = True
    assert "要求停止时资金已开始移动：停不下来" in operator.get(f"/executions/{attempt.execution_id}").text


def test_what_a_person_looks_into_is_verified_first_and_retried_second(
    operator: Visitor, place: Place
) -> None:
    with unit_of_work() as session:
        execution = end(session, place, "needs_human", reason="debited, payout failed")
    page = operator.get(f"/executions/{execution.id}").text
    assert f'class="button primary" href="/anomalies/{execution.anomaly_id}/verify"' in page
    assert f'class="button " href="/executions/{execution.id}/retry"' in page


def test_the_list_narrows_to_what_has_not_ended(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        ended = repaired(session, place)
        waiting = end(session, place, "wait", reason="in flight")
    page = operator.get("/executions?outcome=unended").text
    assert row_id(waiting) in page
    assert row_id(ended) not in page


def test_what_ended_otherwise_since_says_why_the_filter_lists_it(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        unknown = end(session, place, "unknown", reason="the reply to the payout was lost")
    assert "其中一次" not in operator.get("/executions?outcome=unknown").text
    with unit_of_work() as session:
        session.get_one(Anomaly, unknown.anomaly_id).state = "repaired"
    assert "其中一次：结果未知" in operator.get("/executions?outcome=unknown").text
    assert "其中一次" not in operator.get("/executions").text


def test_nothing_stops_after_money_has_moved_and_the_page_says_so(operator: Visitor, place: Place) -> None:
    with unit_of_work() as session:
        attempt, command = begin(session, place.group)
        hand_to(session, command, place.agent)
        message = StepRecorded(
            id="m-1",
            command_id=command.id,
            trade_no=attempt.execution.trade_no,
            fence=command.fence,
            step=step(1, "pay", state="intended", moves_money=True),
        )
        attempt_record.record_step(session, place.agent, message, NOW)
    url = f"/executions/{attempt.execution_id}"
    page = operator.get(url).text
    assert "资金已动，不能取消" in page
    assert f"{url}/cancel" not in page
    question = operator.get(f"{url}/cancel").text
    assert "停在中间会让账务和银行不一致" in question
    assert 'name="reason"' not in question
    answer = operator.post(f"{url}/cancel", {"reason": "等等"})
    assert answer.status_code == 409
    assert "资金已经移动，不能取消" in answer.text
    assert "等等" in answer.text
    assert db.session.get_one(Command, command.seq).cancel_requested_at is None
