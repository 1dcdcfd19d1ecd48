"""异常处理 as pages: two tabs, the preview of a selection, and sending it."""

import html
import re

import pytest
from flask import Flask
from sqlalchemy import update

from app.agents.models import Command
from app.anomalies.models import Anomaly
from app.audit.models import AuditEntry
from app.executions import bulk, selection
from app.executions.bulk_models import BulkItem, BulkRepair
from app.executions.models import Attempt
from app.extensions import db
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.app.executions.unpaid import change
from tests.app.visitor import Visitor, hidden_fields, visitor_of
from tests.factories import NOW, make_agent, make_anomaly, make_group, make_plan

TABLE = "exceptions-table"
AUTO = "interRechargeFixServiceImpl"
MANUAL = "interWithdrawFixServiceImpl"
DISABLED = "rechargeTimeoutFixServiceImpl"
UNPLANNED = "withdrawTimeoutFixServiceImpl"


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    with unit_of_work() as session:
        group = make_group(session)
        make_agent(session, group, name="pbap-1")
        make_plan(session, group, fixer_code=AUTO)
        make_plan(session, group, fixer_code=MANUAL, mode="manual", next_due_at=None)
        make_plan(session, group, fixer_code=DISABLED, state="disabled", next_due_at=None)
    return group


@pytest.fixture
def operator(app: Flask, group: SystemGroup) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


@pytest.fixture
def elsewhere(app: Flask) -> int:
    with unit_of_work() as session:
        other = make_group(session, "PBMS")
        make_plan(session, other, fixer_code=AUTO)
        return make_anomaly(session, other, trade_no="ELSEWHERE").id


def plant(group: SystemGroup, trade_no: str, **columns: object) -> int:
    with unit_of_work() as session:
        return make_anomaly(session, group, trade_no=trade_no, **columns).id


def plant_all(group: SystemGroup) -> dict[str, int]:
    """One of each kind that a tab may show, and three that none does."""
    kinds: dict[str, dict[str, object]] = {
        "MANUAL": {"fixer_code": MANUAL},
        "OPEN": {},
        "WAITING": {"state": "waiting"},
        "EXHAUSTED": {"state": "exhausted"},
        "PERSON": {"state": "needs_human", "reason": "mismatch"},
        "SENSELESS": {"state": "needs_human", "fixer_code": None, "reason": "malformed"},
        "UNPLANNED": {"fixer_code": UNPLANNED},
        "DISABLED": {"fixer_code": DISABLED, "state": "exhausted"},
        "REPAIRING": {"state": "repairing"},
        "REPAIRED": {"state": "repaired"},
        "IGNORED": {"state": "ignored"},
    }
    return {name: plant(group, name, **columns) for name, columns in kinds.items()}


def ticking(*ids: int) -> str:
    """Where 修复所选 of these rows opens."""
    return "/exceptions/repair?" + "&".join(f"ids={one}" for one in ids)


def states() -> dict[str, str]:
    db.session.expire_all()
    return {one.trade_no: one.state for one in db.session.scalars(db.select(Anomaly)).unique()}


def trades(text: str) -> list[str]:
    return re.findall(r'class="row-link mono"[^>]*>([^<]+)<', text)


def test_a_click_can_repair_what_a_plan_in_force_covers_manual_ones_first(
    operator: Visitor, group: SystemGroup, elsewhere: int
) -> None:
    plant_all(group)
    answer = operator.get("/exceptions")
    assert trades(answer.text) == ["MANUAL", "EXHAUSTED", "WAITING", "OPEN"]
    assert "修复全部 4 笔" in answer.text


def test_of_a_plan_in_shadow_no_repair_is_offered_and_the_page_says_why(
    operator: Visitor, group: SystemGroup
) -> None:
    identities = plant_all(group)
    with unit_of_work() as session:
        session.scalars(db.select(Plan).where(Plan.fixer_code == MANUAL)).unique().one().is_shadow = True
    text = operator.get("/exceptions").text
    assert trades(text) == ["EXHAUSTED", "WAITING", "OPEN", "MANUAL"]
    assert "修复全部 3 笔" in text
    assert "影子运行 1 笔，只预测" in text
    assert f'name="ids" value="{identities["MANUAL"]}"' not in text
    assert f'name="ids" value="{identities["OPEN"]}"' in text
    text = operator.get("/exceptions?plan=shadow").text
    assert trades(text) == ["MANUAL"]
    assert "修复全部" not in text
    assert "修复所选" not in text
    assert f"/anomalies/{identities['MANUAL']}/dry-run" in text
    for mode in ("auto", "manual"):
        assert "MANUAL" not in trades(operator.get(f"/exceptions?plan={mode}").text)


def test_a_person_looks_at_what_no_plan_goes_on_with(operator: Visitor, group: SystemGroup) -> None:
    identities = plant_all(group)
    text = operator.get("/exceptions?tab=human").text
    assert sorted(trades(text)) == ["DISABLED", "PERSON", "SENSELESS", "UNPLANNED"]
    for action in ("retry", "verify", "ignore"):
        assert f"/anomalies/{identities['PERSON']}/{action}" in text
    assert f"/anomalies/{identities['SENSELESS']}/retry" not in text
    assert "/plans/new?group=PBAP&amp;fixer=" + UNPLANNED in text


def test_what_needs_a_person_is_paged_by_twenty_five(operator: Visitor, group: SystemGroup) -> None:
    for number in range(26):
        plant(group, f"CO{number:03d}", state="needs_human")
    text = operator.get("/exceptions?tab=human").text
    assert len(trades(text)) == 25
    assert 'rel="next"' in text


def test_tabs_cover_every_row_once_over_their_pages(operator: Visitor, group: SystemGroup) -> None:
    for number in range(60):
        plant(group, f"CO{number:03d}", fixer_code=MANUAL if number % 3 else AUTO)
    found, url = [], "/exceptions"
    while url:
        text = operator.get(url).text
        found += trades(text)
        following = re.search(r'rel="next" href="([^"]+)"', text)
        url = following.group(1).replace("&amp;", "&") if following else ""
    assert len(found) == len(set(found)) == 60
    assert all(int(trade_no[2:]) % 3 for trade_no in found[:40])


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("plan=manual", ["MANUAL"]),
        ("plan=auto", ["EXHAUSTED", "WAITING", "OPEN"]),
        ("state=waiting", ["WAITING"]),
        ("trade_no=EX", ["EXHAUSTED"]),
        ("tab=human&cause=mismatch", ["PERSON"]),
        ("tab=human&trade_no=NOWHERE", []),
        ("sort=id&by=asc", ["MANUAL", "OPEN", "WAITING", "EXHAUSTED"]),
    ],
)
def test_the_tabs_narrow(operator: Visitor, group: SystemGroup, query: str, found: list[str]) -> None:
    plant_all(group)
    assert trades(operator.get(f"/exceptions?{query}", target=TABLE).text) == found


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("", ["4", "4"]),
        ("trade_no=MAN", ["1", "0"]),
        ("state=open&amount_to=100", ["2", "4"]),
        ("amount_from=100.01", ["0", "0"]),
        ("tab=human&cause=mismatch", ["4", "1"]),
        ("tab=human&trade_no=UN", ["0", "1"]),
    ],
)
def test_beside_each_tab_stands_how_many_rows_it_leads_to(
    operator: Visitor, group: SystemGroup, query: str, told: list[str]
) -> None:
    plant_all(group)
    text = operator.get(f"/exceptions?{query}").text
    tabs = re.findall(r'<a href="([^"]+)"( aria-current="page")?>[^<]+<em class="num">([^<]+)</em>', text)
    assert [count for _url, _current, count in tabs] == told
    for url, is_current, count in tabs:
        page = text if is_current else operator.get(html.unescape(url)).text
        assert len(trades(page)) == int(count)


def test_the_fragment_is_the_part_of_the_page(operator: Visitor, group: SystemGroup) -> None:
    plant_all(group)
    page, fragment = operator.get("/exceptions").text, operator.get("/exceptions", target=TABLE).text
    assert fragment.lstrip().startswith(f'<div id="{TABLE}"')
    assert fragment.strip() in page


def test_a_wrong_filter_is_told_at_its_field(operator: Visitor, group: SystemGroup) -> None:
    answer = operator.get("/exceptions?amount_from=many")
    assert answer.status_code == 400
    assert 'id="amount_from-error"' in answer.text


def test_the_preview_says_what_goes_and_what_is_skipped_and_why(
    operator: Visitor, group: SystemGroup
) -> None:
    identities = plant_all(group)
    operator.post(f"/anomalies/{identities['OPEN']}/verify", {"reason": "先看"})
    ticked = "&".join(f"ids={identities[name]}" for name in ("MANUAL", "OPEN", "PERSON", "UNPLANNED"))
    text = operator.get(f"/exceptions/repair?{ticked}", target="dialog").text
    assert "发出 1 笔修复" in text
    assert "跳过 3 笔" in text
    for words in ("正有命令在执行", "待人工核查", "没有匹配的方案"):
        assert words in text
    assert "¥100.00" in text


def test_the_preview_shows_a_sum_for_each_currency(operator: Visitor, group: SystemGroup) -> None:
    identities = plant_all(group)
    with unit_of_work() as session:
        session.get_one(Anomaly, identities["EXHAUSTED"]).currency = "USD"
    ticked = "&".join(f"ids={identities[name]}" for name in ("MANUAL", "EXHAUSTED"))
    text = operator.get(f"/exceptions/repair?{ticked}", target="dialog").text
    assert re.search(r"¥100\.00</span><br><span class=\"num\">USD 100\.00", text)


def test_ticked_rows_become_a_bulk_repair_for_a_reason(
    operator: Visitor, group: SystemGroup, elsewhere: int
) -> None:
    identities = plant_all(group)
    ids = [identities[name] for name in ("MANUAL", "EXHAUSTED", "PERSON")] + [elsewhere]
    answer = operator.send(ticking(*ids), {"reason": "日终处理"})
    bulk = db.session.scalars(db.select(BulkRepair)).unique().one()
    assert answer.location == f"/exceptions/bulk/{bulk.id}"
    assert "共 2 笔，跳过 1 笔" in operator.get(answer.location).text
    assert (bulk.state, bulk.stage, bulk.total, bulk.under_way) == ("running", 1, 2, 1)
    assert len(db.session.scalars(db.select(Command)).all()) == 1
    assert states()["ELSEWHERE"] == "open"
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "bulk.start")).one()
    assert (entry.reason, entry.sys_code, entry.detail["total"]) == ("日终处理", "PBAP", 2)


def test_a_single_row_is_repaired_without_a_canary(operator: Visitor, group: SystemGroup) -> None:
    identities = plant_all(group)
    ids = [identities[name] for name in ("OPEN", "PERSON")]
    answer = operator.send(ticking(*ids), {"reason": "日终处理"})
    assert answer.location == "/exceptions"
    assert "已发出 1 笔修复，跳过 1 笔" in operator.get("/exceptions").text
    assert states()["OPEN"] == "repairing"
    assert db.session.scalars(db.select(BulkRepair)).unique().all() == []


def test_all_of_a_filter_is_taken_page_by_page_and_begins_with_one(
    operator: Visitor, group: SystemGroup, elsewhere: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "PAGE", 3)
    for number in range(8):
        plant(group, f"CO{number}")
    plant(group, "WD1", fixer_code=MANUAL)
    values = {"reason": "恢复生产", "until": "999"}
    answer = operator.send("/exceptions/repair?all=1&plan=auto", values, target="dialog")
    bulk = db.session.scalars(db.select(BulkRepair)).unique().one()
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, f"/exceptions/bulk/{bulk.id}")
    items = db.session.scalars(db.select(BulkItem.trade_no).order_by(BulkItem.id)).all()
    assert items == [f"CO{number}" for number in range(8)]
    after = states()
    assert [state for state in after.values() if state == "repairing"] == ["repairing"]
    assert (after["WD1"], after["ELSEWHERE"]) == ("open", "open")
    assert set(db.session.scalars(db.select(Attempt.reason))) == {"恢复生产"}


def test_one_click_takes_no_more_than_it_says(
    operator: Visitor, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "PAGE", 2)
    monkeypatch.setattr(bulk, "LIMIT", 4)
    for number in range(7):
        plant(group, f"CO{number}")
    page = operator.get("/exceptions/repair?all=1").text
    assert "一次最多发出 4 笔" in page
    assert "开始修复 4 笔" in page
    answer = operator.send("/exceptions/repair?all=1", {"reason": "恢复生产"})
    assert "共 4 笔；其余请再点一次" in operator.get(answer.location).text
    assert db.session.scalars(db.select(BulkRepair.total)).all() == [4]


def test_a_bulk_click_is_a_bulk_repair_for_each_group(app: Flask, group: SystemGroup, elsewhere: int) -> None:
    plant(group, "CO1")
    root = visitor_of(app, "root", "admin")
    answer = root.send("/exceptions/repair?all=1", {"reason": "恢复生产"})
    assert answer.location == "/exceptions/bulk"
    entries = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "bulk.start"))
    assert sorted((one.sys_code, one.detail["total"]) for one in entries) == [("PBAP", 1), ("PBMS", 1)]


def test_the_preview_of_many_tells_of_the_canary(operator: Visitor, group: SystemGroup) -> None:
    plant(group, "CO1")
    assert "先 1 笔，再 10 笔，再其余" not in operator.get("/exceptions/repair?all=1").text
    plant(group, "CO2")
    text = operator.get("/exceptions/repair?all=1").text
    assert "先 1 笔，再 10 笔，再其余" in text
    assert "金额最小的，等待银行的排在最后" in text


def test_what_is_reported_after_the_preview_is_not_sent(operator: Visitor, group: SystemGroup) -> None:
    plant(group, "SEEN")
    opened = operator.hidden("/exceptions/repair?all=1")
    plant(group, "LATER")
    operator.post("/exceptions/repair", {**opened, "reason": "预览过"})
    assert states() == {"SEEN": "repairing", "LATER": "open"}


@pytest.mark.each_engine
def test_ticked_rows_that_changed_since_their_form_was_opened_are_left_out(
    operator: Visitor, group: SystemGroup
) -> None:
    ids = [plant(group, f"CO{number}") for number in range(5)]
    change(ids[3], state="needs_human")
    opened = operator.hidden(ticking(*ids))
    change(ids[1], amount_minor=1_000_000_000)
    change(ids[2], fixer_code=MANUAL)
    change(ids[3], state="open")
    wanting = operator.post("/exceptions/repair", {**opened, "reason": ""}, target="dialog")
    assert wanting.status_code == 400
    answer = operator.post("/exceptions/repair", {**hidden_fields(wanting.text), "reason": "日终处理"})
    told = operator.get(answer.location).text
    assert "共 2 笔，跳过 3 笔，其中 3 笔打开之后有了变化，请看过再决定" in told
    items = db.session.scalars(db.select(BulkItem.anomaly_id).order_by(BulkItem.id)).all()
    assert items == [ids[0], ids[4]]


def test_a_single_ticked_row_that_changed_is_not_sent(operator: Visitor, group: SystemGroup) -> None:
    identity = plant(group, "CO1")
    opened = operator.hidden(ticking(identity))
    change(identity, amount_minor=1_000_000_000)
    operator.post("/exceptions/repair", {**opened, "reason": "日终处理"})
    told = operator.get("/exceptions").text
    assert "没有发出：1 笔都已跳过，其中 1 笔打开之后有了变化" in told
    assert states() == {"CO1": "open"}
    assert operator.send(ticking(identity), {"reason": "已核对"}).status_code == 303
    assert states() == {"CO1": "repairing"}


@pytest.mark.each_engine
@pytest.mark.parametrize(
    "columns",
    [
        {"amount_minor": 10_001},
        {"amount_minor": None},
        {"currency": "USD"},
        {"fixer_code": MANUAL},
    ],
)
def test_all_of_a_filter_is_sent_only_where_no_figure_of_its_form_has_grown(
    operator: Visitor, group: SystemGroup, columns: dict[str, object]
) -> None:
    ids = [plant(group, f"CO{number}") for number in range(3)]
    opened = operator.hidden("/exceptions/repair?all=1")
    change(ids[2], **columns)
    answer = operator.post("/exceptions/repair", {**opened, "reason": "恢复生产"}, target="dialog")
    assert (answer.status_code, set(states().values())) == (409, {"open"})
    assert "没有发出：您打开之后，有的方案要修复的笔数或金额变多了" in answer.text
    assert "恢复生产" in answer.text
    operator.post("/exceptions/repair", {**hidden_fields(answer.text), "reason": "已核对"})
    assert db.session.scalars(db.select(BulkRepair.total)).all() == [3]


def test_a_trade_that_can_be_sent_again_is_more_than_the_form_of_all_showed(
    operator: Visitor, group: SystemGroup
) -> None:
    back, *_others = [plant(group, f"CO{number}", amount_minor=None) for number in range(3)]
    change(back, state="needs_human")
    opened = operator.hidden("/exceptions/repair?all=1")
    change(back, state="exhausted")
    assert operator.post("/exceptions/repair", {**opened, "reason": "恢复生产"}).status_code == 409
    assert "repairing" not in states().values()


def test_less_than_the_form_of_all_showed_is_sent(operator: Visitor, group: SystemGroup) -> None:
    ids = [plant(group, f"CO{number}") for number in range(4)]
    opened = operator.hidden("/exceptions/repair?all=1")
    change(ids[0], state="repaired")
    change(ids[1], amount_minor=9_000)
    assert operator.post("/exceptions/repair", {**opened, "reason": "恢复生产"}).status_code == 303
    assert db.session.scalars(db.select(BulkRepair.total)).all() == [3]


@pytest.mark.parametrize("how", ["ticked", "all"])
def test_a_form_of_many_that_is_sent_twice_begins_one_bulk_repair(
    operator: Visitor, group: SystemGroup, how: str
) -> None:
    ids = [plant(group, f"CO{number}") for number in range(4)]
    form = operator.hidden("/exceptions/repair?all=1" if how == "all" else ticking(*ids))
    # The second time it is shown anew, and decided on: all of it is in the first bulk repair by then.
    for totals in ([4], [4, 3]):
        answer = operator.post("/exceptions/repair", {**form, "reason": "日终处理"})
        assert answer.status_code == 303
        again = operator.post("/exceptions/repair", {**form, "reason": "日终处理"}, target="dialog")
        assert (again.status_code, db.session.scalars(db.select(BulkRepair.total)).all()) == (409, totals)
        assert "笔在还没有结束的批量修复中" in again.text
        form = hidden_fields(again.text)


@pytest.mark.parametrize("how", ["ticked", "all"])
def test_a_form_sent_twice_begins_one_bulk_repair_though_an_earlier_one_has_gone_on_meanwhile(
    operator: Visitor, group: SystemGroup, how: str
) -> None:
    ids = [plant(group, f"CO{number}") for number in range(4)]
    earlier = {**operator.hidden(ticking(*ids[:2])), "reason": "日终处理"}
    assert operator.post("/exceptions/repair", earlier).status_code == 303
    form = operator.hidden("/exceptions/repair?all=1" if how == "all" else ticking(*ids[1:]))
    with unit_of_work() as session:
        session.execute(update(BulkItem).values(state="done"))
    change(ids[1], state="repaired")
    answers = [operator.post("/exceptions/repair", {**form, "reason": "日终处理"}) for _ in range(2)]
    assert [one.status_code for one in answers] == [303, 409]
    assert states() == {"CO0": "repairing", "CO1": "repaired", "CO2": "repairing", "CO3": "open"}


@pytest.mark.parametrize("how", ["ticked", "all"])
def test_a_form_of_one_trade_sent_twice_makes_one_attempt_though_that_has_failed_meanwhile(
    operator: Visitor, group: SystemGroup, how: str
) -> None:
    identity = plant(group, "CO1")
    sent = {
        **operator.hidden("/exceptions/repair?all=1" if how == "all" else ticking(identity)),
        "reason": "x",
    }
    assert operator.post("/exceptions/repair", sent).status_code == 303
    assert states() == {"CO1": "repairing"}
    with unit_of_work() as session:
        session.execute(update(Command).values(state="finished", finished_at=NOW))
    change(identity, state="open", failed_attempts=1)
    operator.post("/exceptions/repair", sent)
    assert states() == {"CO1": "open"}


def test_a_form_of_all_of_which_one_trade_is_left_makes_one_attempt_though_it_is_sent_twice(
    operator: Visitor, group: SystemGroup
) -> None:
    left, *others = [plant(group, f"CO{number}") for number in range(3)]
    sent = {**operator.hidden("/exceptions/repair?all=1"), "reason": "日终处理"}
    for one in others:
        change(one, state="repaired")
    assert operator.post("/exceptions/repair", sent).status_code == 303
    with unit_of_work() as session:
        session.execute(update(Command).values(state="finished", finished_at=NOW))
    change(left, state="open", failed_attempts=1)
    again = operator.post("/exceptions/repair", sent, target="dialog")
    assert (again.status_code, states()["CO0"]) == (409, "open")
    assert "CO0 已执行过一次" in again.text
    anew = {**hidden_fields(again.text), "reason": "已核对"}
    assert operator.post("/exceptions/repair", anew).status_code == 303
    assert states()["CO0"] == "repairing"


def test_a_wanting_reason_does_not_pass_off_as_shown_what_came_since(
    operator: Visitor, group: SystemGroup
) -> None:
    identity = plant(group, "CO1")
    opened = operator.hidden("/exceptions/repair?all=1")
    wanting = operator.post("/exceptions/repair", {**opened, "reason": " "}, target="dialog")
    assert wanting.status_code == 400
    change(identity, amount_minor=1_000_000_000)
    again = {**hidden_fields(wanting.text), "reason": "恢复生产"}
    assert operator.post("/exceptions/repair", again).status_code == 409
    assert states() == {"CO1": "open"}


@pytest.mark.parametrize("seen", [[], ["x"], ["1:count:x"], [":"]])
def test_nothing_is_sent_by_a_form_that_does_not_say_what_it_showed(
    operator: Visitor, group: SystemGroup, seen: list[str]
) -> None:
    identity = plant(group, "CO1")
    for chosen in ({"all": "1", "until": "999"}, {"ids": [str(identity)]}):
        operator.post("/exceptions/repair", {**chosen, "seen": seen, "reason": "恢复生产"})
    assert states() == {"CO1": "open"}


def test_an_end_of_the_preview_that_is_no_number_sends_nothing(operator: Visitor, group: SystemGroup) -> None:
    plant(group, "SEEN")
    answer = operator.post("/exceptions/repair", {"all": "1", "until": "x", "reason": "预览过"})
    assert answer.status_code == 400
    assert "筛选条件有误" in answer.text
    assert states() == {"SEEN": "open"}


@pytest.mark.parametrize("reason", ["", "长" * 501])
def test_sending_wants_a_reason_and_keeps_the_selection(
    operator: Visitor, group: SystemGroup, reason: str
) -> None:
    identity = plant(group, "CO1")
    answer = operator.post("/exceptions/repair", {"ids": [str(identity)], "reason": reason})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text
    assert f'name="ids" value="{identity}"' in answer.text
    assert reason in answer.text
    assert states() == {"CO1": "open"}


def test_a_wrong_filter_never_widens_what_is_sent(operator: Visitor, group: SystemGroup) -> None:
    plant(group, "CO1")
    values = {"all": "1", "amount_from": "many", "reason": "恢复生产", "until": "999"}
    answer = operator.post("/exceptions/repair", values)
    assert answer.status_code == 400
    assert "筛选条件有误" in answer.text
    assert states() == {"CO1": "open"}


@pytest.mark.parametrize("ids", [[], ["x"], [str(number) for number in range(501)]])
def test_a_selection_of_none_or_too_many_is_refused(
    operator: Visitor, group: SystemGroup, ids: list[str]
) -> None:
    answer = operator.post("/exceptions/repair", {"ids": ids, "reason": "x"})
    assert answer.status_code == 400
    assert 'class="evidence red"' in answer.text
    assert db.session.scalars(db.select(Command)).all() == []


def test_a_viewer_reads_both_tabs_and_sends_nothing(app: Flask, group: SystemGroup) -> None:
    plant_all(group)
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    assert "data-select " not in viewer.get("/exceptions").text
    assert "/ignore" not in viewer.get("/exceptions?tab=human").text
    assert viewer.get("/exceptions/repair?all=1").status_code == 403
    assert viewer.post("/exceptions/repair", {"all": "1", "reason": "x"}).status_code == 403


def test_exceptions_are_for_people_logged_in(app: Flask, group: SystemGroup) -> None:
    assert "/login" in Visitor(app).get("/exceptions").headers["Location"]


def test_an_empty_tab_says_so(operator: Visitor, group: SystemGroup) -> None:
    assert "没有待执行的异常" in operator.get("/exceptions").text
    assert "没有待人工核查的异常" in operator.get("/exceptions?tab=human").text
