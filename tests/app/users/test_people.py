"""What an admin does with people: the page, the service, and what is kept of it."""

import pytest
from flask import Flask

from app.audit.models import AuditEntry
from app.errors import ConflictError, InvalidError
from app.executions.order_people import ACCOUNT_IS_NEW_FOR
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from app.users import service
from app.users.models import User
from app.users.passwords import choose_password, make_one_time_password, matches
from tests.app.visitor import PASSWORD, Visitor, make_person, visitor_of
from tests.factories import NOW, PERSON, make_group

NEW = {"username": "chen.zhuo", "display_name": "陈卓", "role": "operator", "groups": ["PBAP"]}


def stored(username: str) -> User | None:
    db.session.expire_all()
    return service.find_user(db.session, username)


@pytest.fixture
def admin(app: Flask) -> Visitor:
    return visitor_of(app, "boss", "admin")


@pytest.fixture
def groups(app: Flask) -> None:
    with unit_of_work() as session:
        make_group(session, "PBAP")
        make_group(session, "PBMS")


def test_a_new_person_gets_a_one_time_password_shown_once(admin: Visitor, groups: None) -> None:
    answer = admin.post("/users/new", NEW)
    user = stored("chen.zhuo")
    assert user is not None
    shown = answer.text.split('id="one-time-password">')[1].split("<")[0]
    assert matches(shown, user.password_hash)
    assert user.must_change_password
    assert [group.sys_code for group in user.groups] == ["PBAP"]
    assert shown not in admin.get("/users").text


def test_the_audit_entry_of_a_new_person_holds_no_secret(admin: Visitor, groups: None) -> None:
    answer = admin.post("/users/new", NEW)
    shown = answer.text.split('id="one-time-password">')[1].split("<")[0]
    entry = db.session.scalars(db.select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entry is not None
    assert (entry.action, entry.actor_name, entry.object_name) == ("user.create", "boss", "chen.zhuo")
    assert entry.detail == {"role": "operator", "groups": ["PBAP"], "sees_all_groups": False}
    assert shown not in str(entry.detail)


@pytest.mark.parametrize(
    ("changed", "field", "words"),
    [
        ({"username": ""}, "username", "必填"),
        ({"username": "x!"}, "username", "2 到 40 个字符"),
        ({"username": "BOSS"}, "username", "已经有人使用"),
        ({"role": "root"}, "role", "没有这个角色"),
        ({"groups": ["PBZZ"]}, "groups", "没有这个系统组别"),
        ({"display_name": "长" * 81}, "display_name", "最多 80 个字符"),
    ],
)
def test_a_wrong_value_is_told_at_its_field_and_nothing_typed_is_lost(
    admin: Visitor, groups: None, changed: dict[str, str], field: str, words: str
) -> None:
    answer = admin.post("/users/new", {**NEW, **changed}, target="dialog")
    assert answer.status_code == 400
    assert words in answer.text.split(f'id="{field}-error"')[1][:400]
    assert str(changed.get("display_name", "陈卓")) in answer.text
    assert stored("chen.zhuo") is None


def test_every_wrong_field_is_told_at_once(admin: Visitor) -> None:
    answer = admin.post("/users/new", {"username": "x!", "role": "root", "display_name": "长" * 81})
    assert all(f'id="{field}-error"' in answer.text for field in ("username", "role", "display_name"))


def test_editing_changes_role_and_groups_and_says_what_changed(admin: Visitor, groups: None) -> None:
    person = make_person("chen.zhuo", "viewer", ["PBAP"])
    answer = admin.post(
        f"/users/{person.id}",
        {"role": "operator", "display_name": "Chen.Zhuo", "groups": ["PBAP", "PBMS"], "reason": "转岗"},
        target="dialog",
    )
    assert answer.status_code == 204
    entry = db.session.scalars(db.select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert entry is not None
    assert entry.detail == {"role": ["viewer", "operator"], "groups": [["PBAP"], ["PBAP", "PBMS"]]}
    assert entry.reason == "转岗"


@pytest.mark.parametrize(
    "changed", [{"role": "operator"}, {"groups": []}, {"sees_all_groups": "on"}, {"reason": "x" * 501}]
)
def test_a_change_of_rights_takes_a_reason_and_a_name_none(
    admin: Visitor, groups: None, changed: dict[str, str]
) -> None:
    person = make_person("chen.zhuo", "viewer", ["PBAP"])
    values = {"role": "viewer", "display_name": "陈卓", "groups": ["PBAP"]}
    refused = admin.post(f"/users/{person.id}", {**values, **changed}, target="dialog")
    assert refused.status_code == 400
    assert 'id="reason-error"' in refused.text
    assert 'value="陈卓"' in refused.text
    assert admin.post(f"/users/{person.id}", values, target="dialog").status_code == 204
    assert stored("chen.zhuo").display_name == "陈卓"  # type: ignore[union-attr]


@pytest.mark.parametrize("action", ["disable", "reset"])
def test_what_shuts_a_person_out_takes_a_reason(admin: Visitor, action: str) -> None:
    person = make_person("chen.zhuo")
    answer = admin.post(f"/users/{person.id}/{action}", {"reason": " "})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text
    assert stored("chen.zhuo").is_enabled  # type: ignore[union-attr]
    assert matches(PASSWORD, stored("chen.zhuo").password_hash)  # type: ignore[union-attr]


def test_disabling_takes_a_person_out_and_enabling_lets_them_in(admin: Visitor) -> None:
    person = make_person("chen.zhuo")
    assert admin.post(f"/users/{person.id}/disable", {"reason": "离职"}).status_code == 303
    assert stored("chen.zhuo").is_enabled is False  # type: ignore[union-attr]
    admin.post(f"/users/{person.id}/enable")
    assert stored("chen.zhuo").is_enabled is True  # type: ignore[union-attr]
    again = admin.post(f"/users/{person.id}/enable")
    assert again.status_code == 409
    assert "chen.zhuo 已经是启用的" in again.text


def test_the_last_admin_can_be_neither_disabled_nor_demoted(session: WorkSession) -> None:
    service.ensure_admin(session, choose_password(PASSWORD), NOW)
    admin = service.get_user_by_name(session, "admin")
    with pytest.raises(ConflictError, match="last_admin"):
        service.disable_user(session, admin, actor=PERSON, reason="left", now=NOW)
    with pytest.raises(ConflictError, match="last_admin"):
        service.update_user(
            session,
            admin,
            actor=PERSON,
            role="viewer",
            display_name="",
            group_codes=[],
            sees_all_groups=True,
            reason="left",
            now=NOW,
        )


def test_nobody_disables_themselves(admin: Visitor) -> None:
    make_person("second", "admin")
    me = stored("boss")
    assert me is not None
    answer = admin.post(f"/users/{me.id}/disable", {"reason": "离职"})
    assert answer.status_code == 409
    assert "不能停用自己的账号" in answer.text
    assert stored("boss").is_enabled  # type: ignore[union-attr]


def test_a_reset_ends_the_old_password_and_every_session(app: Flask, admin: Visitor) -> None:
    other = visitor_of(app, "chen.zhuo")
    person = stored("chen.zhuo")
    assert person is not None
    admin.post(f"/users/{person.id}/reset", {"reason": "忘记密码"})
    assert other.get("/audit").status_code == 302
    assert not matches(PASSWORD, stored("chen.zhuo").password_hash)  # type: ignore[union-attr]


def test_the_first_admin_is_made_once(session: WorkSession) -> None:
    one_time = service.ensure_admin(session, make_one_time_password(), NOW)
    assert one_time is not None
    assert matches(one_time, service.get_user_by_name(session, "admin").password_hash)
    assert service.ensure_admin(session, make_one_time_password(), NOW) is None


def test_a_password_given_for_the_first_admin_is_theirs_if_it_is_strong(session: WorkSession) -> None:
    with pytest.raises(InvalidError, match="password_short"):
        service.ensure_admin(session, choose_password("short"), NOW)
    assert service.ensure_admin(session, choose_password(PASSWORD), NOW) is None
    admin = service.get_user_by_name(session, "admin")
    assert matches(PASSWORD, admin.password_hash)
    assert not admin.must_change_password


def test_the_form_of_a_new_user_says_for_how_long_one_admins_accounts_do_not_confirm_each_other(
    admin: Visitor,
) -> None:
    text = admin.get("/users/new").text
    assert f"由同一管理员建立的账号，{ACCOUNT_IS_NEW_FOR.days} 天内不能互相复核再付与冲正" in text
    assert "flask --app wsgi user create" in text
    admin.post("/locale", {"locale": "en"})
    assert f"for {ACCOUNT_IS_NEW_FOR.days} days" in admin.get("/users/new").text
    made = stored("boss")
    assert made is not None
    assert "user create" not in admin.get(f"/users/{made.id}").text


@pytest.mark.parametrize("url", ["/users", "/users/new", "/users/groups", "/users/groups/new"])
@pytest.mark.parametrize("role", ["viewer", "operator"])
def test_people_and_groups_are_for_admins(app: Flask, url: str, role: str) -> None:
    visitor = visitor_of(app, "li.na", role)
    answer = visitor.get(url)
    assert answer.status_code == 403
    assert "没有权限" in answer.text


def test_the_list_filters_and_pages(admin: Visitor) -> None:
    make_person("chen.zhuo", "viewer")
    assert "chen.zhuo" in admin.get("/users?q=zhuo").text
    assert "chen.zhuo" not in admin.get("/users?role=admin").text
    fragment = admin.get("/users?q=zhuo", target="users-table").text
    assert fragment.lstrip().startswith('<div id="users-table"')
    assert 'hx-get="/users?q=zhuo"' in fragment


def test_who_sees_which_groups(session: WorkSession) -> None:
    group = make_group(session)
    password = make_one_time_password()
    one = service.create_user(
        session,
        actor=PERSON,
        username="one",
        role="viewer",
        group_codes=["PBAP"],
        password=password,
        now=NOW,
    )
    every = service.create_user(
        session,
        actor=PERSON,
        username="every",
        role="viewer",
        sees_all_groups=True,
        password=password,
        now=NOW,
    )
    assert service.visible_group_ids(one) == [group.id]
    assert service.visible_group_ids(every) is None


def test_who_was_given_no_group_is_told_so_and_not_that_all_is_well(app: Flask, groups: None) -> None:
    told, step = "您还没有可以查看的系统组别", "开始使用"
    newcomer = visitor_of(app, "chen.zhuo", "operator")
    for page in ("/", "/exceptions", "/alerts"):
        assert told in newcomer.get(page).text
    assert step not in newcomer.get("/").text
    seeing = [
        visitor_of(app, "li.na", "operator", groups=["PBAP"]),
        visitor_of(app, "boss", "admin"),
        visitor_of(app, "auditor", "viewer", sees_all_groups=True),
    ]
    for one in seeing:
        assert told not in one.get("/").text
    assert [step in one.get("/").text for one in seeing] == [True, True, False]
