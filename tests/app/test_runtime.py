"""The running server: its lock, its health, its live channel, its headers."""

import json
from datetime import UTC, datetime
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, build_opener

import pytest
import websocket
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.audit.service import SYSTEM
from app.runtime import AlreadyRunningError, take_lock
from app.unit_of_work import unit_of_work
from app.users import service as user_service
from app.users.passwords import make_one_time_password
from app.users.sessions import begin_login
from tests.app.agents.conftest import add_agent, add_group
from tests.app.live_server import LiveServer
from tests.app.visitor import PASSWORD, TOKEN, make_person
from tests.conftest import HandClock


def test_an_instance_has_one_server(tmp_path: Path) -> None:
    held = take_lock(tmp_path / "server.lock", 0)
    with pytest.raises(AlreadyRunningError, match=r"server\.lock"):
        take_lock(tmp_path / "server.lock", 0)
    held.close()
    take_lock(tmp_path / "server.lock", 0).close()


def test_a_migrated_database_is_healthy(client: FlaskClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json["status"]) == (200, "ready")  # type: ignore[index]


def test_a_database_behind_the_code_is_not(app: Flask, client: FlaskClient) -> None:
    with unit_of_work() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    answer = client.get("/healthz")
    assert answer.status_code == 503
    assert "0000" in answer.json["checks"]["migrations"]  # type: ignore[index]


def test_however_often_it_is_asked_it_looks_once_a_second(
    app: Flask, client: FlaskClient, clock: HandClock
) -> None:
    assert client.get("/healthz").status_code == 200
    with unit_of_work() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    clock.advance(0.9)
    assert client.get("/healthz").status_code == 200
    clock.advance(0.1)
    assert client.get("/healthz").status_code == 503


def test_every_answer_forbids_inline_scripts_and_frames(client: FlaskClient) -> None:
    policy = client.get("/healthz").headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy


def test_no_sockets_are_served_without_the_runtime(client: FlaskClient) -> None:
    headers = {"Connection": "Upgrade", "Upgrade": "websocket"}
    assert client.get("/agent", headers=headers).status_code == 503


def test_a_browser_hears_that_an_agent_came(live_server: LiveServer) -> None:
    live = websocket.create_connection(
        f"ws://127.0.0.1:{live_server.port}/ui",
        origin=f"http://127.0.0.1:{live_server.port}",
        cookie=session_cookie(live_server),
        timeout=10,
    )
    with live_server.app.app_context():
        now = datetime.now(UTC)
        member = add_agent("pbap-1", add_group("PBAP", now), now)
    agent = websocket.create_connection(
        live_server.agent_url, header=[f"Authorization: Bearer {member.token}"], suppress_origin=True
    )
    topics = set()
    while "agents" not in topics:
        tick = json.loads(live.recv())
        assert sorted(tick) == ["topic", "version"]
        topics.add(tick["topic"])
    agent.shutdown()
    live.shutdown()


def test_a_logout_closes_the_live_channel_of_that_browser_alone(live_server: LiveServer) -> None:
    with live_server.app.app_context():
        make_person("wang.fang")
    one, other = (HttpBrowser(live_server) for _ in range(2))
    for browser in (one, other):
        browser.send("/login", username="wang.fang", password=PASSWORD)
    leaving, staying = one.listen(), other.listen()
    one.send("/logout")
    assert close_code(leaving) == 1008
    other.send("/settings", display_name="Wang Fang", locale="en", zone="UTC")
    assert "topic" in json.loads(staying.recv())
    staying.shutdown()


def test_a_person_disabled_from_elsewhere_hears_nothing_more(live_server: LiveServer) -> None:
    with live_server.app.app_context():
        person = make_person("liu.yang")
    browser = HttpBrowser(live_server)
    browser.send("/login", username="liu.yang", password=PASSWORD)
    live = browser.listen()
    with live_server.app.app_context(), unit_of_work() as work:
        leaver = user_service.get_user(work, person.id)
        user_service.disable_user(work, leaver, actor=SYSTEM, reason="left", now=datetime.now(UTC))
    assert close_code(live) == 1008


class HttpBrowser:
    """A browser of the real server: keeps its cookie, sends forms with their token."""

    def __init__(self, server: LiveServer) -> None:
        self._address = f"http://127.0.0.1:{server.port}"
        self._cookies = CookieJar()
        self._opener = build_opener(HTTPCookieProcessor(self._cookies))

    def send(self, path: str, **form: str) -> None:
        """Send a form."""
        page = self._opener.open(f"{self._address}/login").read().decode()
        if "csrf_token" not in page:
            page = self._opener.open(f"{self._address}/settings").read().decode()
        found = TOKEN.search(page)
        assert found
        body = urlencode({"csrf_token": found.group(1), **form}).encode()
        self._opener.open(f"{self._address}{path}", body).read()

    def listen(self) -> websocket.WebSocket:
        """Open the live channel."""
        return websocket.create_connection(
            self._address.replace("http", "ws") + "/ui",
            origin=self._address,
            cookie="; ".join(f"{one.name}={one.value}" for one in self._cookies),
            timeout=10,
        )


def close_code(live: websocket.WebSocket) -> int:
    """Return the code the server closes with; ticks before it are passed over."""
    while True:
        opcode, content = live.recv_data()
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            live.shutdown()
            return int.from_bytes(content[:2], "big")


def session_cookie(server: LiveServer) -> str:
    """Return the cookie of somebody logged in."""
    with server.app.app_context(), unit_of_work() as work:
        user = user_service.create_user(
            work,
            actor=SYSTEM,
            username="watcher",
            role="viewer",
            display_name="",
            group_codes=[],
            password=make_one_time_password(),
            now=datetime.now(UTC),
        )
        work.flush()
        key = user.get_id()
    browser = server.app.test_client()
    with browser.session_transaction() as session:
        session["_user_id"] = key
        begin_login(session, datetime.now(UTC))
    cookie = browser.get_cookie("piculus")
    assert cookie is not None
    return f"piculus={cookie.value}"
