"""待人工 as a page: reason, facts, proposal and evidence of each row, and what a person does there."""

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from flask import Flask
from sqlalchemy import event

from agent.facts import (
    BankFact,
    BankState,
    Bookkeeping,
    Facts,
    Kind,
    LegFact,
    LegState,
    NumberFact,
    RequestFact,
    Status,
)
from app.agents import commands
from app.agents.models import Command
from app.anomalies.models import Anomaly, OutsideClaim
from app.audit.models import AuditEntry
from app.executions import many, queue_views, results, verifications
from app.executions.starting import Order, start_attempt
from app.extensions import db
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.executions.unpaid import change, unpaid_facts
from tests.app.visitor import Visitor, hidden_fields, visitor_of
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    facts_read,
    finished,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
    row_of,
)

QUEUE = "/exceptions?tab=human"
TABLE = "exceptions-table"
WITHDRAW = "withdrawTimeoutFixServiceImpl"
VOUCHER = "GA202603021200000017"


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    with unit_of_work() as session:
        group = make_group(session)
        make_group(session, "PBMS")
        make_agent(session, group, name="pbap-1")
        make_plan(session, group, level=1)
        make_plan(session, group, fixer_code=WITHDRAW)
    return group


@pytest.fixture
def operator(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def plant(group: SystemGroup, trade_no: str, **columns: object) -> int:
    values: dict[str, object] = {"state": "needs_human", "outcome": "human", "reason": "mismatch"}
    with unit_of_work() as session:
        return make_anomaly(session, group, trade_no=trade_no, **(values | columns)).id


def plant_unpaid(group: SystemGroup, trade_no: str = "WD1", without_line: tuple[NumberFact, ...] = ()) -> int:
    """A withdrawal that is debited and surely not paid."""
    request = RequestFact(
        f"{trade_no}-P1", 1, "failed", BankState.FAIL, "51", completed_at="2026-03-02T11:40:00+00:00"
    )
    facts = Facts(
        trade_no=trade_no,
        kind=Kind.WITHDRAW,
        bookkeeping=Bookkeeping.TWO_STEP,
        status=Status.PROCESSING,
        is_acc=False,
        is_e_acc=False,
        first=LegFact(LegState.POSTED, VOUCHER),
        second=LegFact(LegState.NONE),
        bank=BankFact(BankState.FAIL, (request,), True, without_line=without_line),
        amount_minor=10_000,
        read_at=(NOW - timedelta(minutes=7)).isoformat(),
    )
    return plant(
        group,
        trade_no,
        kind="withdraw",
        fixer_code=WITHDRAW,
        reason="processing, debited, bank failed",
        facts=msgspec.to_builtins(facts),
        changed_at=NOW - timedelta(hours=5),
    )


def row(text: str, anomaly_id: int) -> str:
    """The words of one row of the queue."""
    found = re.search(rf'<tr id="exception-{anomaly_id}".*?</tr>', text, re.DOTALL)
    assert found
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", found.group())).split())


def links(text: str, anomaly_id: int) -> list[str]:
    found = re.search(rf'<tr id="exception-{anomaly_id}".*?</tr>', text, re.DOTALL)
    assert found
    return re.findall(r'href="([^"]+)"', found.group())


def trades(text: str) -> list[str]:
    return re.findall(r'class="row-link mono"[^>]*>([^<]+)<', text)


def read(anomaly_id: int) -> Anomaly:
    db.session.expire_all()
    return db.session.get_one(Anomaly, anomaly_id)


def test_a_row_tells_reason_facts_proposal_and_evidence(operator: Visitor, group: SystemGroup) -> None:
    identity = plant_unpaid(group)
    told = row(operator.get(QUEUE).text, identity)
    for words in (
        "PBAP",
        "¥100.00",
        "5 小时前",
        "非常重要",
        "处理中，账户已扣款，没有银行付出的记录",
        "客户已被扣款，没有银行付出的记录：怎样了结，由人决定。",
        "处理中 ACC 未记账 E_ACC 未记账",
        "第一段 已记账 " + VOUCHER,
        "第二段 未记账",
        "…-P1 失败 51 2026-03-02 19:40",
        "再付或冲正",
        f"账务已有 {VOUCHER}，记录没有",
        "银行：…-P1 明确失败",
    ):
        assert words in told
    page = operator.get(QUEUE).text
    (cell,) = re.findall(r'<div class="queue-actions">(.*?)</div>', page, re.DOTALL)
    assert re.search(rf'href="/anomalies/{identity}"[^>]*hx-target="#drawer".*再付或冲正', cell)


def test_evidence_links_to_attempt_frames_and_audit(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, "CO1", state="open", outcome="repair", reason="")
    with unit_of_work() as session:
        anomaly = session.get_one(Anomaly, identity)
        plan = session.scalars(db.select(Plan).where(Plan.level == 1)).unique().one()
        attempt = start_attempt(session, anomaly, plan, Order("tick", PERSON, "", NOW))
        command = commands.find(session, attempt.command_id)
        assert command is not None
        agent = make_agent(session, group, name="pbap-9")
        hand_to(session, command, agent)
        results.record_result(session, agent, finished(command, "needs_human", reason="mismatch"), NOW)
        execution_id, command_id = attempt.execution_id, command.id
    text = operator.get(QUEUE).text
    assert "第 1 次执行 · 待人工" in row(text, identity)
    assert {
        f"/executions/{execution_id}",
        f"/frames/commands/{command_id}",
        f"/audit?object=anomaly&amp;q={identity}",
    } <= set(links(text, identity))


def test_a_row_without_a_usable_number_offers_neither_verify_nor_retry_nor_a_claim(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(
        group,
        "TRD_ID 7",
        fixer_code=None,
        reason="malformed: TRD_NUM missing",
        row=row_of("", 7) | {"TRD_NUM": None},
    )
    for page in (QUEUE, f"/anomalies/{identity}"):
        text = operator.get(page).text
        for action in ("verify", "retry", "repair", "outside"):
            assert f"/anomalies/{identity}/{action}" not in text
        assert f"/anomalies/{identity}/ignore" in text
    assert "更正数据" in row(operator.get(QUEUE).text, identity)


def test_facts_of_another_form_are_shown_as_none(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, "CO1", facts={"trade_no": "CO1"})
    told = row(operator.get(QUEUE).text, identity)
    assert re.search("TRD_ID = [0-9]+ TRD_STATUS = 8 ACC_TRD_STATUS = 0 没有查询账务与银行。", told)
    assert told.count("没有查询") == 1


def test_a_number_that_has_lost_its_line_is_named_in_the_queue_and_on_the_trades_page(
    operator: Visitor, group: SystemGroup
) -> None:
    words = {"WD1-P2": "success", "WD1-P3": "not_found", "WD1-P4": "unknown", "WD1-P5": "not_found"}
    anomaly_id = plant_unpaid(group, without_line=tuple(NumberFact(*each) for each in words.items()))
    told = row(operator.get(QUEUE).text, anomaly_id)
    assert "银行有 …-P2，生产系统没有它的请求记录" in told
    assert "…-P2 银行有这个编号，生产系统没有它的请求记录" in told
    assert "-P3" not in told
    page = " ".join(re.sub(r"<[^>]+>", " ", operator.get(f"/anomalies/{anomaly_id}").text).split())
    assert "WD1-P2 成功 银行有这个编号，生产系统没有它的请求记录" in page
    assert "另问了 2 个可能丢了记录的编号，银行都没有" in page
    assert "另问了 1 个可能丢了记录的编号，银行没有答复" in page


def test_the_queue_is_narrowed_by_reason_level_and_age(operator: Visitor, group: SystemGroup) -> None:
    plant_unpaid(group)
    plant(group, "CO1", changed_at=NOW - timedelta(days=2))
    plant(group, "CO2")
    for query, found in (
        ("", ["CO2", "CO1", "WD1"]),
        ("&cause=mismatch", ["CO2", "CO1"]),
        ("&level=3", ["WD1"]),
        ("&level=1", ["CO2", "CO1"]),
        ("&age=4h", ["CO1", "WD1"]),
        ("&age=1d&level=1", ["CO1"]),
        ("&group=PBAP&age=7d", []),
        ("&sort=id&by=asc", ["WD1", "CO1", "CO2"]),
    ):
        assert trades(operator.get(QUEUE + query).text) == found, query


def test_an_unknown_age_is_told_and_does_not_narrow(operator: Visitor, group: SystemGroup) -> None:
    plant(group, "CO1")
    answer = operator.get(f"{QUEUE}&age=soon")
    assert answer.status_code == 400
    assert 'id="age-error"' in answer.text
    assert trades(answer.text) == ["CO1"]


def test_reasons_are_counted_without_their_details(operator: Visitor, group: SystemGroup) -> None:
    for number, reason in enumerate(("malformed: AMOUNT missing", "malformed: TRD_NUM missing", "mismatch")):
        plant(group, f"CO{number}", reason=reason)
    text = operator.get(f"{QUEUE}&cause=mismatch").text
    counts = re.findall(r"cause=(\w+)[^>]*><span>[^<]*</span><em class=\"num\">(\d+)<", text)
    assert counts == [("malformed", "2")]
    assert re.search(r'aria-current="true"[^>]*><span>[^<]*不相符[^<]*</span><em class="num">1<', text)


def test_a_claim_is_shown_while_it_is_verified_and_offers_nothing_meanwhile(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, "CO1")
    values = {"reference": "INC-7", "reason": "银行已退款"}
    answer = operator.post(f"/anomalies/{identity}/outside", values)
    assert answer.status_code == 303
    text = operator.get(QUEUE).text
    assert "核实中 li.na 称已在外部处理（INC-7）" in row(text, identity)
    assert not [link for link in links(text, identity) if link.startswith(f"/anomalies/{identity}/")]
    assert "外部处理核实中" in operator.get(f"/anomalies/{identity}").text
    entry = db.session.scalars(
        db.select(AuditEntry).where(AuditEntry.action == "anomaly.claim_outside")
    ).one()
    assert (entry.reason, entry.detail, entry.sys_code) == ("银行已退款", {"reference": "INC-7"}, "PBAP")


@pytest.mark.parametrize(("outcome", "words"), [("wait", "核实不成立"), ("error", "没有核实到结果")])
def test_a_claim_that_did_not_hold_is_told(
    operator: Visitor, group: SystemGroup, outcome: str, words: str
) -> None:
    identity = plant(group, "CO1")
    operator.post(f"/anomalies/{identity}/outside", {"reference": "INC-7", "reason": "x"})
    with unit_of_work() as session:
        command = session.scalars(db.select(Command)).one()
        agent = make_agent(session, group, name="pbap-9")
        hand_to(session, command, agent)
        verifications.record_facts(session, agent, facts_read(command, outcome, reason="bank"), NOW)
    assert f"li.na 称已在外部处理（INC-7），{words}" in row(operator.get(QUEUE).text, identity)
    assert f"li.na 称已在外部处理（INC-7），{words}" in operator.get(f"/anomalies/{identity}").text
    assert read(identity).state == "needs_human"


@pytest.mark.parametrize(
    ("values", "field"), [({"reason": "x"}, "reference"), ({"reference": "INC-7"}, "reason")]
)
def test_a_claim_wants_a_reference_and_a_reason_and_keeps_what_was_typed(
    operator: Visitor, group: SystemGroup, values: dict[str, str], field: str
) -> None:
    identity = plant(group, "CO1")
    answer = operator.post(f"/anomalies/{identity}/outside", values)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert f'value="{next(iter(values.values()))}"' in answer.text
    assert db.session.scalars(db.select(OutsideClaim)).all() == []


def test_a_claim_that_comes_second_is_a_conflict(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, "CO1")
    values = {"reference": "INC-7", "reason": "x"}
    operator.post(f"/anomalies/{identity}/verify", {"reason": "先看"})
    answer = operator.post(f"/anomalies/{identity}/outside", values)
    assert answer.status_code == 409
    assert "正有命令在执行" in answer.text


def test_ticked_rows_are_verified_for_one_reason(
    operator: Visitor, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_views, "BATCH", 2)
    ids = [plant(group, f"CO{number}") for number in range(3)]
    ids.append(plant(group, "TRD_ID 7", row=row_of("", 7) | {"TRD_NUM": None}))
    ids.append(plant(group, "DONE", state="healed"))
    page = operator.get("/exceptions/queue/verify?" + "&".join(f"ids={one}" for one in ids), target="dialog")
    assert "核实 5 笔" in page.text
    answer = operator.post("/exceptions/queue/verify", {"ids": [str(one) for one in ids], "reason": "日终"})
    assert answer.location == QUEUE
    told = operator.get(QUEUE).text
    assert "已要求核实 3 笔" in told
    assert "跳过 1 笔：已经结束，或正在修复。" in told
    assert "跳过 1 笔：这一行没有可用的交易号" in told
    ordered = db.session.execute(db.select(Command.type, Command.trade_no).order_by(Command.seq)).all()
    assert [tuple(one) for one in ordered] == [("Verify", f"CO{number}") for number in range(3)]
    entries = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "anomaly.verify"))
    assert [entry.reason for entry in entries] == ["日终"] * 3


def ignore_ticked(visitor: Visitor, ids: list[int]) -> None:
    """Open the form of what is ticked and send it."""
    ticked = "&".join(f"ids={one}" for one in ids)
    opened = visitor.hidden(f"/exceptions/queue/ignore?{ticked}")
    visitor.post("/exceptions/queue/ignore", {**opened, "reason": "测试数据"})


def test_what_changed_since_the_form_of_many_was_opened_is_left_out(
    operator: Visitor, group: SystemGroup
) -> None:
    url, kept = "/exceptions/queue/ignore", plant(group, "CO1")
    ids = [kept, *(plant(group, f"CO{number}", kind="withdraw") for number in (2, 3, 4))]
    opened = operator.hidden(f"{url}?" + "&".join(f"ids={one}" for one in ids))
    change(ids[1], amount_minor=1_000_000_000)
    # Debited, and nobody knows what the bank did.
    change(ids[2], facts=msgspec.to_builtins(unpaid_facts("CO3", status="unknown")))
    change(ids[3], facts=msgspec.to_builtins(unpaid_facts("CO4")))
    wanting = operator.post(url, {**opened, "reason": ""}, target="dialog")
    assert wanting.status_code == 400
    operator.post(url, {**hidden_fields(wanting.text), "reason": "测试数据"})
    assert [read(one).state for one in ids] == ["ignored", *["needs_human"] * 3]
    told = operator.get(QUEUE).text
    assert "跳过 2 笔：打开之后有了变化，请看过再决定。" in told
    assert "跳过 1 笔：客户已扣款、没有银行付出的记录，请单独处理。" in told


def test_many_are_ignored_by_their_form_only(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, "CO1")
    for seen in ([], ["x"], [f"{identity}:"], [f"{identity}:{'0' * 64}"]):
        values = {"ids": [str(identity)], "seen": seen, "reason": "测试数据"}
        assert operator.post("/exceptions/queue/ignore", values).status_code == 303
    assert read(identity).state == "needs_human"


def test_ticked_rows_are_ignored_but_not_those_that_moved_money(
    operator: Visitor, group: SystemGroup
) -> None:
    ids = [plant(group, "CO1"), plant(group, "PAID", has_moved_money=True), plant(group, "CO2")]
    with unit_of_work() as session:
        other = session.scalars(db.select(SystemGroup).where(SystemGroup.sys_code == "PBMS")).one()
        ids.append(make_anomaly(session, other, trade_no="ELSEWHERE", state="needs_human").id)
    ignore_ticked(operator, ids)
    assert [read(one).state for one in ids] == ["ignored", "needs_human", "ignored", "needs_human"]
    told = operator.get(QUEUE).text
    assert "已忽略 2 笔" in told
    assert "跳过 1 笔：修复已经移动资金，请单独处理。" in told


def test_what_is_debited_and_unpaid_is_not_ignored_among_many_and_the_dialog_says_how_many(
    operator: Visitor, group: SystemGroup
) -> None:
    ids = [plant(group, "CO1", amount_minor=700), plant_unpaid(group, "WD1"), plant_unpaid(group, "WD2")]
    url = "/exceptions/queue/ignore?" + "&".join(f"ids={one}" for one in ids)
    dialog = operator.get(url, target="dialog").text
    for words in ("跳过 2 笔", "客户已扣款、没有银行付出的记录，请单独处理。", "忽略 1 笔", ">¥7.00<"):
        assert words in dialog
    ignore_ticked(operator, ids)
    assert [read(one).state for one in ids] == ["ignored", "needs_human", "needs_human"]
    assert "跳过 2 笔：客户已扣款、没有银行付出的记录，请单独处理。" in operator.get(QUEUE).text


def test_a_selection_of_which_nothing_may_be_ignored_has_no_button(
    operator: Visitor, group: SystemGroup
) -> None:
    dialog = operator.get(f"/exceptions/queue/ignore?ids={plant_unpaid(group)}", target="dialog").text
    assert "跳过 1 笔" in dialog
    assert 'type="submit"' not in dialog
    assert "¥" not in dialog


def test_whoever_ignores_what_is_debited_and_unpaid_is_told_so(operator: Visitor, group: SystemGroup) -> None:
    identity = plant_unpaid(group)
    dialog = operator.get(f"/anomalies/{identity}/ignore", target="dialog").text
    for words in ("¥100.00", "客户已扣款、未付出", "这笔钱不会付出，也不会退回客户账户"):
        assert words in dialog
    assert "客户已扣款" not in operator.get(f"/anomalies/{plant(group, 'CO1')}/ignore", target="dialog").text
    assert operator.send(f"/anomalies/{identity}/ignore", {"reason": "已在柜面退款"}).status_code == 303
    assert read(identity).state == "ignored"


@pytest.mark.parametrize("action", ["verify", "ignore"])
def test_many_want_a_reason_and_keep_the_selection(
    operator: Visitor, group: SystemGroup, action: str
) -> None:
    identity = plant(group, "CO1")
    answer = operator.post(f"/exceptions/queue/{action}", {"ids": [str(identity)], "reason": ""})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text
    assert f'name="ids" value="{identity}"' in answer.text
    assert read(identity).state == "needs_human"
    assert db.session.scalars(db.select(Command)).all() == []


@pytest.mark.parametrize("ids", [[], ["x"], [str(number) for number in range(501)]])
def test_a_selection_of_none_or_too_many_is_refused(
    operator: Visitor, group: SystemGroup, ids: list[str]
) -> None:
    answer = operator.post("/exceptions/queue/verify", {"ids": ids, "reason": "x"})
    assert answer.status_code == 400
    assert 'class="evidence red"' in answer.text


def test_a_sum_of_what_is_ticked_leaves_out_other_groups(operator: Visitor, group: SystemGroup) -> None:
    with unit_of_work() as session:
        other = session.scalars(db.select(SystemGroup).where(SystemGroup.sys_code == "PBMS")).one()
        theirs = make_anomaly(session, other, amount_minor=77).id
    ids = [plant(group, "CO1"), theirs]
    selected = many.read_selected(db.session, "ignore", ids, [group.id])
    assert (selected.amounts, selected.left_out) == ({"CNY": 10_000}, {"anomaly": 1})


def test_a_viewer_looks_and_does_nothing(app: Flask, group: SystemGroup) -> None:
    identity = plant_unpaid(group)
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    text = viewer.get(QUEUE).text
    assert "再付或冲正" in row(text, identity)
    assert "data-select " not in text
    assert not [link for link in links(text, identity) if re.search(r"/anomalies/\d+/", link)]
    for url in (f"/anomalies/{identity}/outside", "/exceptions/queue/verify", "/exceptions/queue/ignore"):
        assert viewer.get(url).status_code == 403
        answer = viewer.post(url, {"ids": [str(identity)], "reason": "x", "reference": "x"})
        assert answer.status_code == 403
    assert read(identity).state == "needs_human"


def test_a_claim_in_another_group_is_not_found(operator: Visitor, group: SystemGroup) -> None:
    with unit_of_work() as session:
        other = session.scalars(db.select(SystemGroup).where(SystemGroup.sys_code == "PBMS")).one()
        theirs = make_anomaly(session, other, state="needs_human", fixer_code=FIXER).id
    values = {"reference": "INC-7", "reason": "x"}
    assert operator.post(f"/anomalies/{theirs}/outside", values).status_code == 404
    assert db.session.scalars(db.select(OutsideClaim)).all() == []


@contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement of the block."""
    heard: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        heard.append(statement)

    event.listen(db.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(db.engine, "before_cursor_execute", hear)


def test_the_queue_asks_as_much_for_a_full_page_as_for_one_row(operator: Visitor, group: SystemGroup) -> None:
    asked = []
    for rows in (1, 24):
        for number in range(rows):
            plant(group, f"CO{rows}-{number}")
        with statements() as heard:
            assert operator.get(QUEUE, target=TABLE).status_code == 200
        asked.append(len(heard))
    assert asked[0] == asked[1]


@pytest.mark.parametrize(
    ("locale", "words"),
    [("zh", {"verify": "核实", "retry": "重试"}), ("en", {"verify": "Verify", "retry": "Retry"})],
)
def test_verify_and_retry_have_one_name_in_queue_drawer_and_dialog(
    operator: Visitor, group: SystemGroup, locale: str, words: dict[str, str]
) -> None:
    identity = plant(group, "CO1", outcome="repair", reason="internal error")
    operator.post("/locale", {"locale": locale, "next": "/"})
    texts = [operator.get(QUEUE).text, operator.get(f"/anomalies/{identity}", target="drawer").text]
    for action, name in words.items():
        url = f"/anomalies/{identity}/{action}"
        for text in texts:
            assert re.findall(rf'href="{url}".*?</svg>([^<]+)<', text) == [name]
        assert f"{name} · CO1" in re.sub(r"<[^>]+>", "", operator.get(url, target="dialog").text)


@pytest.mark.parametrize("reason", ["mismatch", "row behind ledger", "processing, debited, bank failed"])
def test_the_page_of_a_trade_proposes_what_its_row_does_for_the_same_facts(
    operator: Visitor, group: SystemGroup, reason: str
) -> None:
    identity = plant_unpaid(group)
    posted, wrong = LegFact(LegState.POSTED, VOUCHER), LegFact(LegState.MISMATCH)
    facts = unpaid_facts("WD1", **({"first": wrong, "second": posted} if reason == "mismatch" else {}))
    change(identity, reason=reason, facts=msgspec.to_builtins(facts))
    found = re.search(rf'<tr id="exception-{identity}".*?</tr>', operator.get(QUEUE).text, re.DOTALL)
    assert found
    shown, page = found.group(), operator.get(f"/anomalies/{identity}").text
    (proposal,) = re.findall(r'<p class="what">.*?</small>', shown, re.DOTALL)
    because = re.findall(r"<li>[^<]+</li>", shown)
    assert len(because) > 1
    for told in (proposal, *because):
        assert told in page
    assert called_for(page, identity) == called_for(shown, identity)


def called_for(text: str, identity: int) -> list[str]:
    """What the solid buttons of a text do with an anomaly."""
    return re.findall(rf'class="button [^"]*primary[^"]*" href="/anomalies/{identity}/([a-z]+)"', text)
