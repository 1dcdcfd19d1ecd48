"""Logging in and out, and what is closed to whoever is not logged in."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask

from app.audit.models import AuditEntry
from app.extensions import db
from app.unit_of_work import _lock, unit_of_work
from app.users import passwords, service
from app.users.models import User
from app.users.sessions import UNATTENDED
from tests.app.visitor import HTMX, PASSWORD, Visitor, make_person, visitor_of
from tests.conftest import HandClock
from tests.factories import NOW, PERSON


def stored(username: str) -> User:
    db.session.expire_all()
    return service.get_user_by_name(db.session, username)


def actions() -> list[str]:
    return list(db.session.scalars(db.select(AuditEntry.action).order_by(AuditEntry.id)))


def test_the_right_password_logs_in_and_leads_on(app: Flask) -> None:
    make_person("li.na")
    answer = Visitor(app).log_in("li.na", next_url="/audit?action=user.login")
    assert (answer.status_code, answer.location) == (303, "/audit?action=user.login")
    assert stored("li.na").last_login_at == NOW
    assert actions() == ["user.create", "user.login"]


def test_a_name_is_found_whatever_its_case(app: Flask) -> None:
    make_person("li.na")
    assert Visitor(app).log_in("Li.Na").status_code == 303


def test_a_wrong_password_keeps_the_name_typed(app: Flask) -> None:
    make_person("li.na")
    answer = Visitor(app).log_in("li.na", "wrong-password")
    assert answer.status_code == 401
    assert 'value="li.na"' in answer.text
    assert "用户名或密码不正确" in answer.text
    assert stored("li.na").failed_logins == 1


def test_an_unknown_name_is_told_the_same_and_leaves_no_trace(app: Flask) -> None:
    answer = Visitor(app).log_in("nobody")
    assert answer.status_code == 401
    assert "用户名或密码不正确" in answer.text
    assert actions() == []


def test_ten_failures_lock_for_five_minutes(app: Flask, clock: HandClock) -> None:
    make_person("li.na")
    visitor = Visitor(app)
    for _failure in range(10):
        visitor.log_in("li.na", "wrong-password")
    assert visitor.log_in("li.na").status_code == 401
    clock.advance(301)
    assert visitor.log_in("li.na").status_code == 303
    assert stored("li.na").failed_logins == 0
    assert "user.locked" in actions()


def test_a_disabled_person_cannot_log_in_and_their_session_ends(app: Flask) -> None:
    visitor = visitor_of(app)
    with unit_of_work() as session:
        service.disable_user(
            session, service.get_user_by_name(session, "li.na"), actor=PERSON, reason="left", now=NOW
        )
    assert visitor.get("/audit").location == "/login?next=/audit"
    assert Visitor(app).log_in("li.na").status_code == 401


@pytest.mark.parametrize(
    "url", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "evil"]
)
def test_a_login_never_leads_to_another_site(app: Flask, url: str) -> None:
    make_person("li.na")
    assert Visitor(app).log_in("li.na", next_url=url).location == "/"


@pytest.mark.parametrize("url", ["/", "/users", "/users/groups", "/audit", "/settings", "/nonesuch"])
def test_every_page_needs_a_login(app: Flask, url: str) -> None:
    answer = app.test_client().get(url)
    assert (answer.status_code, answer.location.split("?")[0]) == (302, "/login")


def test_a_fragment_without_login_sends_the_whole_page_to_the_login(app: Flask) -> None:
    headers = {**HTMX, "HX-Current-URL": "http://localhost/audit?action=plan.update"}
    answer = app.test_client().get("/audit", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/login?next=/audit?action%3Dplan.update"


def test_what_a_page_asks_by_itself_never_takes_it_to_the_login(app: Flask) -> None:
    answer = app.test_client().get("/audit", headers={**HTMX, UNATTENDED: "1"})
    assert (answer.status_code, answer.headers["HX-Trigger"]) == (401, "loginEnded")
    assert "HX-Redirect" not in answer.headers


def test_logging_out_ends_the_session(app: Flask) -> None:
    visitor = visitor_of(app)
    assert visitor.post("/logout").location == "/login"
    assert visitor.get("/audit").status_code == 302
    assert actions()[-1] == "user.logout"


def test_nothing_put_into_a_session_before_the_login_survives_it(app: Flask) -> None:
    make_person("li.na")
    visitor = Visitor(app)
    with visitor.client.session_transaction() as session:
        session["planted"] = "by another"
    visitor.log_in("li.na")
    with visitor.client.session_transaction() as session:
        assert "planted" not in session


def test_a_copy_of_the_cookie_opens_nothing_after_the_logout(app: Flask) -> None:
    visitor, thief = visitor_of(app), Visitor(app)
    cookie = visitor.client.get_cookie("piculus")
    assert cookie is not None
    thief.client.set_cookie("piculus", cookie.value)
    assert thief.get("/settings").status_code == 200
    visitor.post("/logout")
    assert thief.get("/settings").status_code == 302
    assert thief.client.get("/menu-counts", headers=HTMX).status_code == 401


def test_another_login_of_the_same_person_goes_on_after_a_logout(app: Flask) -> None:
    visitor, elsewhere = visitor_of(app), Visitor(app)
    elsewhere.log_in("li.na")
    visitor.post("/logout")
    assert elsewhere.get("/settings").status_code == 200


def test_a_page_that_stands_open_keeps_no_login_for_ever(app: Flask, clock: HandClock) -> None:
    visitor = visitor_of(app)
    for _half_a_day in range(2):
        assert visitor.get("/menu-counts", target="menu-counts").status_code == 200
        clock.advance(12 * 3600)
    assert visitor.get("/menu-counts", target="menu-counts").status_code == 401
    assert visitor.log_in("li.na").status_code == 303


def reset(username: str) -> str:
    """Give a person a one-time password; return it."""
    one_time = passwords.make_one_time_password()
    with unit_of_work() as session:
        person = service.get_user_by_name(session, username)
        service.reset_password(session, person, one_time, actor=PERSON, reason="forgotten", now=NOW)
    return one_time.text


def test_a_one_time_password_opens_nothing_but_its_change(app: Flask) -> None:
    make_person("li.na", role="admin", password=None)
    one_time = reset("li.na")
    visitor = Visitor(app)
    visitor.log_in("li.na", one_time)
    assert visitor.get("/users").location == "/settings"
    settings = visitor.get("/settings").text
    assert "/menu-counts" not in settings
    assert 'action="/settings/password"' in settings
    assert 'action="/settings"' not in settings
    answer = visitor.post("/settings/password", {"current": one_time, "new": PASSWORD, "repeated": PASSWORD})
    assert answer.location == "/"
    assert visitor.get("/users").status_code == 200
    assert not stored("li.na").must_change_password


@pytest.mark.parametrize(
    ("page", "redirect"), [("http://localhost/settings", None), ("http://localhost/users?q=a", "/settings")]
)
def test_a_fragment_never_sends_a_page_to_where_it_is(app: Flask, page: str, redirect: str | None) -> None:
    make_person("li.na", role="admin", password=None)
    one_time = reset("li.na")
    visitor = Visitor(app)
    visitor.log_in("li.na", one_time)
    headers = {"HX-Request": "true", "HX-Current-URL": page}
    answer = visitor.client.get("/menu-counts", headers=headers)
    assert (answer.status_code, answer.headers.get("HX-Redirect")) == (401, redirect)


def test_a_form_without_its_token_is_refused_in_words(app: Flask) -> None:
    visitor = visitor_of(app, role="admin")
    answer = visitor.client.post("/users/groups/new", data={"sys_code": "PBXX"})
    assert answer.status_code == 400
    assert "页面已过期" in answer.text


def test_too_many_logins_from_one_address_are_slowed_down(app: Flask) -> None:
    visitor = Visitor(app)
    statuses = {visitor.log_in("nobody").status_code for _login in range(31)}
    assert statuses == {401, 429}


def test_a_password_that_is_reset_while_it_is_checked_opens_nothing(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_person("li.na")
    check = passwords.matches

    def slowly(password: str, password_hash: str | None) -> bool:
        reset("li.na")
        return check(password, password_hash)

    monkeypatch.setattr(passwords, "matches", slowly)
    assert Visitor(app).log_in("li.na").status_code == 401


def test_guessing_the_current_password_is_slowed_down(app: Flask) -> None:
    visitor = visitor_of(app)
    guess = {"current": "a-wrong-guess", "new": "another-password", "repeated": "another-password"}
    answers = [visitor.post("/settings/password", guess).status_code for _try in range(11)]
    assert answers == [400] * 10 + [429]


@pytest.mark.parametrize("url", ["/", "/settings", "/audit"])
def test_what_a_person_saw_stays_in_no_cache(app: Flask, url: str) -> None:
    assert visitor_of(app).get(url).headers["Cache-Control"] == "no-store"


def test_a_password_that_is_reset_while_it_is_changed_stays_reset(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = visitor_of(app)
    check = passwords.matches

    def slowly(password: str, password_hash: str | None) -> bool:
        reset("li.na")
        return check(password, password_hash)

    monkeypatch.setattr(passwords, "matches", slowly)
    values = {"current": PASSWORD, "new": "another-password", "repeated": "another-password"}
    assert visitor.post("/settings/password", values).status_code == 400
    assert stored("li.na").must_change_password


class WatchfulHasher:
    """Hashes nothing, and keeps whether another thread could write meanwhile."""

    def __init__(self) -> None:
        self.could_write: list[bool] = []

    def hash(self, password: str) -> str:
        self._look()
        return f"hash of {password}"

    def verify(self, password_hash: str, password: str) -> bool:
        self._look()
        return True

    def _look(self) -> None:
        def write() -> bool:
            got = _lock.acquire(blocking=False)
            if got:
                _lock.release()
            return got

        with ThreadPoolExecutor(1) as other:
            self.could_write.append(other.submit(write).result())


def test_nobody_waits_to_write_while_a_password_is_hashed(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = visitor_of(app, "boss", "admin")
    person = make_person("li.na")
    hasher = WatchfulHasher()
    monkeypatch.setattr(passwords, "_hasher", hasher)
    admin.post("/users/new", {"username": "chen.zhuo", "role": "viewer"})
    admin.post(f"/users/{person.id}/reset", {"reason": "left"})
    admin.post("/settings/password", {"current": "x", "new": "another-password", "repeated": "no"})
    app.test_cli_runner().invoke(args=["user", "ensure-admin"])
    assert len(hasher.could_write) >= 5
    assert all(hasher.could_write)
