"""A form that was open while the login changed: nothing typed is lost, and nothing is sent by itself."""

import re
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.expired_forms import LABELS, PASSWORD_FIELDS
from app.extensions import db
from app.users.models import SystemGroup
from tests.app.visitor import Visitor, visitor_of

TEMPLATES = Path(__file__).parents[2] / "app" / "templates"
TYPED = {"sys_code": "NEW", "name": '"甲" & <乙>\n第二行', "zone": "Asia/Shanghai", "reason": "接入新系统"}
STALE = {"csrf_token": "of-an-ended-session"}


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return visitor_of(app, "li.na", "admin")


def groups_called_new() -> int | None:
    return db.session.scalar(select(func.count()).where(SystemGroup.sys_code == "NEW"))


def resent(page: str) -> dict[str, str]:
    """The fields of the form that sends it again."""
    form = page[page.index('id="expired-form"') :]
    fields = re.findall(r'<textarea name="(\w+)" hidden>\n(.*?)</textarea>', form, re.DOTALL)
    return {
        name: value.replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        for name, value in fields
    }


def test_what_was_typed_is_kept_and_can_be_sent_again(visitor: Visitor) -> None:
    answer = visitor.post("/users/groups/new", {**TYPED, **STALE})
    assert answer.status_code == 400
    assert groups_called_new() == 0
    assert resent(answer.text) == TYPED
    assert 'action="/users/groups/new"' in answer.text
    assert visitor.post("/users/groups/new", resent(answer.text)).status_code == 303
    assert groups_called_new() == 1


def test_htmx_shows_it_in_the_dialog_over_the_page_it_was_typed_on(visitor: Visitor) -> None:
    answer = visitor.post("/users/groups/new", {**TYPED, **STALE}, target="dialog")
    assert (answer.status_code, answer.headers["HX-Retarget"]) == (400, "#dialog")
    assert "<html" not in answer.text
    assert resent(answer.text) == TYPED


def test_what_was_typed_is_shown_in_the_words_of_its_form(visitor: Visitor) -> None:
    typed = {"version": "1", "mode": "auto", "level": "3", "groups": ["PBAP", "XX"], "window": "168"}
    shown = visitor.post("/collections/new", {**typed, **STALE}).text.partition('<form id="expired-form"')[0]
    facts = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", shown)
    assert facts == [
        ("执行方式", "自动"),
        ("方案等级", "非常重要"),
        ("系统组别", "PBAP、XX"),
        ("数据变更时间", "最近 7 天"),
    ]


@pytest.mark.parametrize("name", ["version", "seen", "code", "until", "all"])
def test_what_nobody_has_typed_is_sent_again_and_not_shown(visitor: Visitor, name: str) -> None:
    answer = visitor.post("/breakers/1/reset", {"reason": "已核对", name: "unseen", **STALE}).text
    shown = answer.partition('<form id="expired-form"')[0]
    assert re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", shown) == [("原因", "已核对")]
    assert resent(answer) == {"reason": "已核对", name: "unseen"}


def test_every_field_of_a_form_has_words(app: Flask) -> None:
    pages = "".join(path.read_text() for path in TEMPLATES.rglob("*.html"))
    names = set(re.findall(r"(?:field|area|select|radios|ticks|tick)\(form, '(\w+)'", pages))
    assert names - PASSWORD_FIELDS <= LABELS.keys()


def test_a_password_is_never_sent_back(visitor: Visitor) -> None:
    secret = "a secret that was typed"
    answer = visitor.post("/settings/password", dict.fromkeys(PASSWORD_FIELDS, secret) | STALE)
    assert answer.status_code == 400
    assert secret not in answer.text
    assert "expired-form" not in answer.text


def test_every_field_typed_blind_is_known() -> None:
    pages = "".join(path.read_text() for path in TEMPLATES.rglob("*.html"))
    assert set(re.findall(r"field\(\w+, '(\w+)',.*type='password'", pages)) == PASSWORD_FIELDS


def test_whoever_is_logged_out_can_copy_what_was_typed(app: Flask) -> None:
    answer = Visitor(app).post("/users/groups/new", {**TYPED, **STALE})
    assert answer.status_code == 400
    assert "接入新系统" in answer.text
    assert 'href="/login"' in answer.text
    assert "expired-form" not in answer.text


def test_what_another_site_sends_is_neither_shown_nor_sent_again(visitor: Visitor) -> None:
    answer = visitor.client.post(
        "/users/groups/new", data=TYPED, headers={"Origin": "https://elsewhere.example"}
    )
    assert answer.status_code == 400
    assert "接入新系统" not in answer.text
    assert "expired-form" not in answer.text
