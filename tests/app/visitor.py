"""A person at a browser without JavaScript: logs in, reads pages, sends forms with their hidden token."""

import contextvars
import re
from collections.abc import Mapping, Sequence
from typing import Final

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.audit.service import SYSTEM
from app.unit_of_work import unit_of_work
from app.users import service
from app.users.models import User
from app.users.passwords import choose_password, make_one_time_password
from tests.factories import NOW

PASSWORD: Final = "correct-horse-battery"
TOKEN = re.compile(r'name="csrf_token" value="([^"]+)"')
HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')
HTMX: Final = {"HX-Request": "true"}

Values = Mapping[str, str | Sequence[str]]


def make_person(
    username: str = "li.na",
    role: str = "operator",
    groups: Sequence[str] = (),
    *,
    sees_all_groups: bool = False,
    password: str | None = PASSWORD,
) -> User:
    """Commit a person; with ``password`` None they have a one-time password."""
    chosen = make_one_time_password() if password is None else choose_password(password)
    with unit_of_work() as session:
        return service.create_user(
            session,
            actor=SYSTEM,
            username=username,
            role=role,
            display_name=username.title(),
            group_codes=groups,
            sees_all_groups=sees_all_groups,
            password=chosen,
            now=NOW,
        )


class Visitor:
    """One browser. ``get`` and ``post`` answer like Flask's client; redirects are not followed."""

    def __init__(self, app: Flask) -> None:
        self.client: FlaskClient = app.test_client()

    def log_in(self, username: str, password: str = PASSWORD, next_url: str = "/users") -> TestResponse:
        """Send the login form."""
        return self.post("/login", {"username": username, "password": password, "next": next_url})

    def get(self, url: str, target: str | None = None) -> TestResponse:
        """Read a page; with ``target`` as htmx asks for the fragment of that id."""
        return self._open("GET", url, self._headers(target))

    def post(self, url: str, values: Values | None = None, target: str | None = None) -> TestResponse:
        """Send a form with the token of this session."""
        form = {"csrf_token": self.token(), **(values or {})}
        return self._open("POST", url, self._headers(target), form)

    def send(self, url: str, values: Values | None = None, target: str | None = None) -> TestResponse:
        """Open a form and send it with all its hidden fields, as a browser does."""
        return self.post(url, {**self.hidden(url), **(values or {})}, target)

    def hidden(self, url: str) -> dict[str, list[str]]:
        """Return the hidden fields of a form as it is opened now: what an older tab still holds."""
        return hidden_fields(self.get(url, "dialog").text)

    def token(self) -> str:
        """Return the hidden token a form of this session carries."""
        found = TOKEN.search(self.get("/settings").text) or TOKEN.search(self.get("/login").text)
        assert found
        return found.group(1)

    def _open(
        self, method: str, url: str, headers: dict[str, str], form: Values | None = None
    ) -> TestResponse:
        # A context of its own, as in the server: the test's application context would lend the request its
        # ``g`` (who is logged in, the token) and its database session. What is streamed is read there too.
        return contextvars.Context().run(
            self.client.open, url, method=method, headers=headers, data=form, buffered=True
        )

    @staticmethod
    def _headers(target: str | None) -> dict[str, str]:
        return {} if target is None else {**HTMX, "HX-Target": target}


def hidden_fields(text: str) -> dict[str, list[str]]:
    """Return the hidden fields of a form, some of which may have several values."""
    fields: dict[str, list[str]] = {}
    for name, value in HIDDEN.findall(text):
        fields.setdefault(name, []).append(value)
    return fields


def visitor_of(app: Flask, username: str = "li.na", role: str = "operator", **person: object) -> Visitor:
    """Make a person and return their browser, logged in."""
    make_person(username, role, **person)  # type: ignore[arg-type]
    visitor = Visitor(app)
    assert visitor.log_in(username).status_code == 303
    return visitor
