"""Personal settings, language, and the system groups."""

import re
from typing import Any

import pytest
from flask import Flask

from app.audit.models import AuditEntry
from app.extensions import db
from app.thresholds import THRESHOLDS, TypedThresholds
from app.unit_of_work import unit_of_work
from app.users import groups, service
from app.users.models import SystemGroup, User
from tests.app.visitor import PASSWORD, Visitor, visitor_of
from tests.factories import NOW, PERSON, make_group

GROUP = {"sys_code": "PBCR", "name": "信贷", "zone": "Asia/Shanghai", "trade_table": ""}


def me() -> User:
    db.session.expire_all()
    return service.get_user_by_name(db.session, "li.na")


def stored_group(code: str) -> SystemGroup | None:
    db.session.expire_all()
    return groups.find_group(db.session, code)


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return visitor_of(app, "li.na", "admin")


def test_settings_are_kept_and_shown_at_once(visitor: Visitor) -> None:
    values = {"display_name": "李娜", "locale": "en", "zone": "Europe/London", "theme": "dark"}
    answer = visitor.post("/settings", values)
    assert answer.status_code == 303
    assert (me().display_name, me().locale, me().zone) == ("李娜", "en", "Europe/London")
    page = visitor.get("/settings").text
    assert 'lang="en" data-bs-theme="dark"' in page
    assert "Personal settings" in page
    entry = db.session.scalars(db.select(AuditEntry).where(AuditEntry.action == "user.settings")).one()
    assert entry.detail["locale"] == ["zh", "en"]
    assert entry.detail["display_name"][1] == values["display_name"]


def test_an_unknown_zone_is_told_at_its_field(visitor: Visitor) -> None:
    answer = visitor.post("/settings", {"display_name": "李娜", "locale": "zh", "zone": "Mars/Olympus"})
    assert answer.status_code == 400
    assert 'value="Mars/Olympus"' in answer.text
    assert "没有这个时区" in answer.text


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"current": "not-it", "new": "another-password", "repeated": "another-password"}, "当前密码不正确"),
        ({"current": PASSWORD, "new": "short", "repeated": "short"}, "密码至少 10 个字符"),
        ({"current": PASSWORD, "new": "another-password", "repeated": "different"}, "两次输入的密码不一致"),
        ({"current": PASSWORD, "new": PASSWORD, "repeated": PASSWORD}, "新密码不能与当前密码相同"),
    ],
)
def test_a_password_is_not_changed_by_a_wrong_form(
    visitor: Visitor, values: dict[str, str], words: str
) -> None:
    answer = visitor.post("/settings/password", values)
    assert answer.status_code == 400
    assert words in answer.text
    assert values["new"] not in answer.text
    assert me().session_version == 1


def test_changing_the_password_ends_the_other_sessions_only(app: Flask, visitor: Visitor) -> None:
    elsewhere = Visitor(app)
    elsewhere.log_in("li.na")
    values = {"current": PASSWORD, "new": "another-password", "repeated": "another-password"}
    assert visitor.post("/settings/password", values).status_code == 303
    assert visitor.get("/settings").status_code == 200
    assert elsewhere.get("/settings").status_code == 302


def test_the_language_is_switched_by_a_form_without_javascript(app: Flask) -> None:
    visitor = Visitor(app)
    answer = visitor.post("/locale", {"locale": "en", "next": "/login"})
    assert answer.location == "/login"
    assert "Log in" in visitor.get("/login").text


def test_switching_the_language_is_kept_for_the_person(visitor: Visitor) -> None:
    visitor.post("/locale", {"locale": "en", "next": "/settings"})
    assert me().locale == "en"


def test_the_language_stays_when_the_session_ends(visitor: Visitor) -> None:
    visitor.post("/locale", {"locale": "en", "next": "/settings"})
    visitor.client.delete_cookie("piculus")
    assert "Log in" in visitor.get("/login").text


def test_a_group_is_made_with_its_trade_table(visitor: Visitor) -> None:
    assert visitor.post("/users/groups/new", GROUP).status_code == 303
    group = stored_group("PBCR")
    assert group is not None
    assert (group.name, group.trade_table) == ("信贷", "TPBCR_TRD_ACC_TRADE")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"sys_code": "9x"}, "以字母开头"),
        ({"zone": "Nowhere"}, "没有这个时区"),
        ({"trade_table": "a; drop"}, "表名只能含"),
    ],
)
def test_a_wrong_group_is_told_at_its_field(visitor: Visitor, changed: dict[str, str], words: str) -> None:
    answer = visitor.post("/users/groups/new", {**GROUP, **changed}, target="dialog")
    assert answer.status_code == 400
    assert words in answer.text
    assert 'value="信贷"' in answer.text


def test_a_group_code_is_taken_once(visitor: Visitor) -> None:
    visitor.post("/users/groups/new", GROUP)
    assert "已经存在" in visitor.post("/users/groups/new", GROUP).text


def test_a_group_is_edited_and_disabled_but_keeps_its_code(visitor: Visitor) -> None:
    visitor.post("/users/groups/new", GROUP)
    group = stored_group("PBCR")
    assert group is not None
    values = {"sys_code": "OTHER", "name": "贷款", "zone": "UTC", "trade_table": "T_LOAN"}
    refused = visitor.send(f"/users/groups/{group.id}", values)
    assert refused.status_code == 400
    assert 'id="reason-error"' in refused.text
    visitor.send(f"/users/groups/{group.id}", {**values, "reason": "系统下线"})
    changed = stored_group("PBCR")
    assert changed is not None
    assert (changed.name, changed.zone, changed.is_enabled) == ("贷款", "UTC", False)


@pytest.fixture
def group(app: Flask) -> SystemGroup:
    with unit_of_work() as session:
        return make_group(session, "PBAP", name="收单", breaker_failures=40)


def opened_form(group: SystemGroup) -> dict[str, str]:
    """What a form opened on version 1 holds, with its box ticked."""
    kept = {"name": group.name, "zone": group.zone, "trade_table": group.trade_table}
    return {**kept, "is_enabled": "on", "breaker_failures": "40", "version": "1"}


def change_meanwhile(group: SystemGroup, **changed: Any) -> None:
    """Another person saves other values of the group."""
    thresholds = TypedThresholds(**{one: changed.pop(one, getattr(group, one)) for one in THRESHOLDS})
    kept = {name: getattr(group, name) for name in ("name", "zone", "trade_table", "is_enabled")}
    with unit_of_work() as session:
        stored = groups.get_group(session, group.id)
        values = {**kept, **changed, "thresholds": thresholds, "reason": "对不上账"}
        groups.update_group(session, stored, actor=PERSON, now=NOW, **values)


def test_a_form_of_before_a_group_was_disabled_does_not_enable_it_again(
    visitor: Visitor, group: SystemGroup
) -> None:
    change_meanwhile(group, is_enabled=False, breaker_failures=5, breaker_hour_minor=100_000)
    url, typed = f"/users/groups/{group.id}", {**opened_form(group), "name": "收单平台", "reason": "改名"}
    answer = visitor.post(url, typed, target="dialog")
    assert answer.status_code == 409
    for told in (
        f"{PERSON.name} 把“启用”由 是 改为 否",
        f"{PERSON.name} 把“熔断失败次数”由 40 改为 5",
        f"{PERSON.name} 把“熔断每小时金额”由 — 改为 1,000.00",
        'value="收单平台"',
        'value="改名"',
    ):
        assert told in answer.text
    stands = stored_group("PBAP")
    assert stands is not None
    assert (stands.name, stands.is_enabled, stands.breaker_failures) == ("收单", False, 5)
    again = {"name": "收单平台", "zone": "Asia/Shanghai", "trade_table": group.trade_table, "reason": "改名"}
    shown = dict(re.findall(r'name="(breaker_\w+|version)"[^>]* value="([^"]*)"', answer.text))
    assert "checked" not in answer.text
    assert visitor.post(url, {**again, **shown}).status_code == 303
    stands = stored_group("PBAP")
    assert stands is not None
    assert (stands.name, stands.is_enabled, stands.breaker_failures) == ("收单平台", False, 5)
    assert stands.breaker_hour_minor == 100_000


def test_what_two_people_typed_in_one_field_is_told_and_stays_as_typed(
    visitor: Visitor, group: SystemGroup
) -> None:
    change_meanwhile(group, breaker_failures=5)
    typed = {**opened_form(group), "breaker_failures": "7"}
    answer = visitor.post(f"/users/groups/{group.id}", typed, target="dialog")
    assert answer.status_code == 409
    assert "由 40 改为 5" in answer.text
    assert re.search(r'name="breaker_failures" value="7"', answer.text)


def test_a_form_that_does_not_say_on_what_it_stands_changes_nothing(
    visitor: Visitor, group: SystemGroup
) -> None:
    typed = {name: value for name, value in opened_form(group).items() if name != "version"}
    assert visitor.post(f"/users/groups/{group.id}", {**typed, "name": "别的"}).status_code == 409
    assert (
        visitor.post(f"/users/groups/{group.id}", {**opened_form(group), "name": "别的"}).status_code == 303
    )
    stands = stored_group("PBAP")
    assert stands is not None
    assert (stands.name, stands.version) == ("别的", 2)


def test_a_form_of_a_group_changed_and_changed_back_says_so(visitor: Visitor, group: SystemGroup) -> None:
    change_meanwhile(group, breaker_failures=5)
    change_meanwhile(group, breaker_failures=40)
    answer = visitor.post(f"/users/groups/{group.id}", opened_form(group), target="dialog")
    assert answer.status_code == 409
    assert "您打开之后有人改过，又改了回去，现在与您打开时一样" in answer.text


def test_a_form_that_names_no_version_says_that_nobody_can_tell_what_has_changed(
    visitor: Visitor, group: SystemGroup
) -> None:
    typed = {**opened_form(group), "version": ""}
    answer = visitor.post(f"/users/groups/{group.id}", typed, target="dialog")
    assert answer.status_code == 409
    assert "看不出之后有没有人改过" in answer.text
    assert "有人改过：" not in answer.text


def test_what_was_saved_unchanged_is_no_other_version(visitor: Visitor, group: SystemGroup) -> None:
    for _time in range(2):
        assert visitor.post(f"/users/groups/{group.id}", opened_form(group)).status_code == 303
    stands = stored_group("PBAP")
    assert stands is not None
    assert stands.version == 1


def test_groups_are_read_page_by_page_and_narrowed_by_the_url(app: Flask) -> None:
    with unit_of_work() as session:
        for number in range(60):
            make_group(session, f"SYS{number:02d}", name=f"系统 {number}", is_enabled=number != 7)
    admin = visitor_of(app, "boss", "admin")

    def shown(url: str) -> list[str]:
        return re.findall(r">(SYS\d\d)<", admin.get(url, target="groups-table").text)

    first = admin.get("/users/groups").text
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    assert shown("/users/groups") + shown(following[1]) == [f"SYS{number:02d}" for number in range(60)]
    assert shown("/users/groups?state=disabled") == ["SYS07"]
    assert shown("/users/groups?q=sys1") == [f"SYS{number}" for number in range(10, 20)]
    assert shown("/users/groups?q=系统 59") == ["SYS59"]
    assert "没有符合条件的系统组别" in admin.get("/users/groups?q=none").text


def test_a_group_made_by_another_process_meanwhile_is_told_in_words(
    visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor.post("/users/groups/new", GROUP)
    monkeypatch.setattr(groups, "find_group", lambda session, sys_code: None)
    answer = visitor.post("/users/groups/new", GROUP, target="dialog")
    assert answer.status_code == 409
    assert "另一个人刚刚写入了同样的内容" in answer.text
    assert 'value="信贷"' in answer.text
