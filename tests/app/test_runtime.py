"""The running server: its lock, its health, its live channel, its headers."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import websocket
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from app.audit.service import SYSTEM
from app.runtime import AlreadyRunningError, take_lock
from app.unit_of_work import unit_of_work
from app.users import service as user_service
from tests.app.agents.conftest import add_agent, add_group
from tests.app.live_server import LiveServer


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


def session_cookie(server: LiveServer) -> str:
    """Return the cookie of somebody logged in."""
    with server.app.app_context(), unit_of_work() as work:
        user, _ = user_service.create_user(
            work,
            actor=SYSTEM,
            username="watcher",
            role="viewer",
            display_name="",
            group_codes=[],
            now=datetime.now(UTC),
        )
        work.flush()
        key = user.get_id()
    browser = server.app.test_client()
    with browser.session_transaction() as session:
        session["_user_id"] = key
    cookie = browser.get_cookie("piculus")
    assert cookie is not None
    return f"piculus={cookie.value}"
