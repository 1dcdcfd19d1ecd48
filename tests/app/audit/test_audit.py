"""The audit page: what is shown, to whom."""

import re
from datetime import datetime, timedelta

import pytest
from flask import Flask

from app.audit import queries, service
from app.audit.models import AuditEntry
from app.audit.service import Actor
from app.extensions import db
from app.keyset import Cut
from app.unit_of_work import unit_of_work
from tests.app.test_query_plans import statements
from tests.app.visitor import Visitor, visitor_of
from tests.factories import NOW, make_group


def record(
    action: str = "plan.update", sys_code: str | None = "PBAP", now: datetime = NOW, **values: object
) -> int:
    with unit_of_work() as session:
        entry = service.record(
            session,
            actor=Actor(99, "wang.wei", "10.0.0.9"),
            action=action,
            object_type=str(values.get("object_type", "plan")),
            object_id=5,
            object_name=str(values.get("object_name", "interRechargeFixServiceImpl")),
            sys_code=sys_code,
            reason=str(values.get("reason", "")),
            detail=values.get("detail", {"retries": [0, 5]}),
            now=now,
        )
        session.flush()
        return entry.id


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    with unit_of_work() as session:
        make_group(session, "PBAP")
        make_group(session, "PBMS")
    return visitor_of(app, "li.na", "viewer", groups=["PBAP"])


def test_an_entry_keeps_its_actor_as_values(app: Flask) -> None:
    entry = db.session.get(AuditEntry, record(reason="调大重试"))
    assert entry is not None
    assert (entry.actor_id, entry.actor_name, entry.address) == (99, "wang.wei", "10.0.0.9")
    assert (entry.at, entry.reason, entry.detail) == (NOW, "调大重试", {"retries": [0, 5]})


def test_a_person_sees_their_groups_and_their_own_entries(visitor: Visitor) -> None:
    record(object_name="of-my-group")
    record(sys_code="PBMS", object_name="of-another-group")
    record(sys_code=None, object_name="of-no-group")
    page = visitor.get("/audit").text
    assert "of-my-group" in page
    assert "of-another-group" not in page
    assert "of-no-group" not in page
    assert "登录" in page


def test_an_entry_of_another_group_is_not_there(visitor: Visitor) -> None:
    assert visitor.get(f"/audit/{record(sys_code='PBMS')}").status_code == 404


def test_the_detail_shows_what_changed_in_drawer_and_page(visitor: Visitor) -> None:
    entry_id = record(reason="调大重试")
    drawer = visitor.get(f"/audit/{entry_id}", target="drawer").text
    assert "<html" not in drawer
    assert "调大重试" in drawer
    page = visitor.get(f"/audit/{entry_id}").text
    assert "<html" in page
    assert "10.0.0.9" in page


@pytest.mark.parametrize(
    ("query", "is_found"),
    [
        ("actor=wang.wei", True),
        ("actor=nobody", False),
        ("action=plan.update", True),
        ("action=plan.delete", False),
        ("object=plan", True),
        ("q=interRecharge", True),
        ("q=5", True),
        ("q=withdraw", False),
        ("group=PBAP", True),
        ("start=2026-03-02T19:00", True),
        ("start=2026-03-02T21:00", False),
        ("end=2026-03-02T21:00", True),
    ],
)
def test_filters_narrow_the_list(visitor: Visitor, query: str, is_found: bool) -> None:
    record()
    fragment = visitor.get(f"/audit?{query}", target="audit-table").text
    assert ("wang.wei" in fragment) is is_found


def test_a_time_range_is_looked_up_once_and_read_by_ids(app: Flask) -> None:
    for hours in range(6):
        record(object_name=f"object-{hours}", now=NOW + timedelta(hours=hours))
    asked = queries.AuditFilter(start=NOW + timedelta(hours=2), end=NOW + timedelta(hours=4))
    with statements() as heard:
        page, count = queries.list_entries(db.session, asked, queries.Sight(1, None), Cut())
    assert [entry.object_name for entry in page.rows] == ["object-3", "object-2"]
    assert count.count == 2
    read = [statement for statement, _values in heard if "ORDER BY audit_entry.at" not in statement]
    assert len(heard) - len(read) >= 2
    assert not [statement for statement in read if "audit_entry.at >=" in statement]


def test_a_range_after_the_last_entry_is_empty(visitor: Visitor) -> None:
    record()
    assert "wang.wei" not in visitor.get("/audit?start=2030-01-01T00:00", target="audit-table").text
    assert "wang.wei" in visitor.get("/audit?end=2030-01-01T00:00", target="audit-table").text


def test_a_time_that_is_none_is_told_and_kept(visitor: Visitor) -> None:
    answer = visitor.get("/audit?start=yesterday")
    assert answer.status_code == 400
    assert "yesterday" in answer.text
    assert "请按“年-月-日 时:分”填写时间" in answer.text


def test_pages_hold_every_entry_once(app: Flask) -> None:
    reader = visitor_of(app, "boss", "admin")
    made = {record(object_name=f"object-{number}") for number in range(120)}
    seen: list[int] = []
    url = "/audit?action=plan.update"
    while url:
        page = reader.get(url).text
        seen += [int(part.split('"')[0]) for part in page.split('id="entry-')[1:]]
        following = page.split('rel="next" href="')[1:]
        url = following[0].split('"')[0].replace("&amp;", "&") if following else ""
    assert len(seen) == 120
    assert set(seen) == made


def fields(visitor: Visitor, **entry: object) -> dict[str, str]:
    """What a page says of the detail, by label."""
    text = visitor.get(f"/audit/{record(**entry)}").text  # type: ignore[arg-type]
    found = re.findall(r'<dt>([^<]*)</dt><dd class="break">(.*?)</dd>', text, re.DOTALL)
    return {label: " ".join(re.sub(r"<svg.*?</svg>", "→", value).split()) for label, value in found}


def test_the_detail_of_an_order_names_its_amount_in_its_currency(visitor: Visitor) -> None:
    detail = {"action": "pay_again", "amount_minor": 123_450, "currency": "CNY", "needs_second": True}
    assert fields(visitor, action="order.propose", object_type="order", detail=detail) == {
        "指令": "再付",
        "金额": "¥1,234.50",
        "须另一个人复核": "是",
    }
    ended = {"action": "reverse", "outcome": "needs_human"}
    assert fields(visitor, action="order.done", object_type="order", detail=ended) == {
        "指令": "冲正",
        "结果": "待人工",
    }
    limit = {"second_person_above_minor": [100_000, 0]}
    told = fields(visitor, action="order.limit", object_type="group", detail=limit)
    assert told == {"复核限额": "<del>¥1,000.00</del> → <ins>¥0.00</ins>"}


def test_the_detail_of_a_changed_plan_says_what_it_was_and_what_it_is(visitor: Visitor) -> None:
    changed = {"mode": ["auto", "manual"], "limit_day_minor": [None, 5_000_000], "level": [3, 1]}
    detail = {"version": 2, "changed": changed}
    assert fields(visitor, action="plan.update", detail=detail) == {
        "版本": "2",
        "执行方式": "<del>自动</del> → <ins>手动</ins>",
        "每日金额上限": "<del>不限</del> → <ins>50,000.00</ins>",
        "方案等级": "<del>非常重要</del> → <ins>一般</ins>",
    }


def test_the_detail_of_a_breaker_says_why_it_tripped(visitor: Visitor) -> None:
    figures = {"used": 900_000, "amount": 200_000, "threshold": 1_000_000, "currency": "CNY"}
    detail = {"scope": "plan", "code": "amount", "figures": figures}
    entry_id = record(action="breaker.trip", object_type="breaker", detail=detail)
    text = visitor.get(f"/audit/{entry_id}").text
    assert "近 1 小时已自动执行 ¥9,000.00，下一笔 ¥2,000.00 将超过阈值 ¥10,000.00" in text
    assert fields(visitor, action="breaker.trip", object_type="breaker", detail=detail) == {"范围": "方案"}


def test_two_groups_of_a_new_user_are_no_change(visitor: Visitor) -> None:
    detail = {"role": "operator", "groups": ["PBAP", "PBMS"], "sees_all_groups": False}
    assert fields(visitor, action="user.create", object_type="user", detail=detail) == {
        "角色": "操作员",
        "系统组别": "PBAP、PBMS",
        "全部系统组别": "否",
    }


def test_what_is_not_known_stands_in_the_raw_data(visitor: Visitor) -> None:
    entry_id = record(detail={"brand_new": 1})
    text = visitor.get(f"/audit/{entry_id}").text
    assert "<summary>原始数据</summary>" in text
    assert "brand_new" in text
    assert fields(visitor, detail={"brand_new": 1}) == {}
