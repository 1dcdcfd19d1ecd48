"""What stands in a URL or a form may be anything: an answer with words, never a fault, on every database."""

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import select

from app import create_app
from app.config import Settings
from app.extensions import db
from app.plans.models import Plan
from app.unit_of_work import unit_of_work
from tests.app.visitor import Visitor, visitor_of
from tests.databases import databases
from tests.factories import make_agent, make_anomaly, make_group, make_plan

HUGE = "9" * 25
LARGE = "9" * 18
"""A number that fits SQLite's integers and not every one of PostgreSQL's."""
PAGES = ("anomalies", "executions", "plans", "agents", "audit", "frames", "collections", "users", "breakers")
LISTS = (
    "/anomalies?",
    "/anomalies?sort=amount&",
    "/anomalies?sort=last_seen&",
    "/executions?",
    "/plans?",
    "/audit?",
    "/users?",
    "/collections?",
    "/exceptions?",
    "/exceptions?tab=human&",
)
CURSORS = (
    '["abc",1]',
    f"[1,{HUGE}]",
    f"[{HUGE},1]",
    "[{},1]",
    "[true,1]",
    "[1,[1]]",
    '["0001-01-01T00:00:00+14:00",1]',
    '["2026-01-01T00:00:00Z",1]',
)
"""Of no list, or of another one."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def visitor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Visitor]:
    """An admin at the pages of a server that has one anomaly to repair."""
    folder = tmp_path_factory.mktemp("typed")
    with databases(request.param, folder) as new_database:
        app = _application(folder, new_database())
        with app.app_context():
            yield visitor_of(app, "zhang.wei", "admin")
            db.session.remove()
            db.engine.dispose()


def _application(folder: Path, url: str) -> Flask:
    app = create_app(Settings(instance=folder, database_url=url))
    with app.app_context():
        upgrade()
        with unit_of_work() as session:
            group = make_group(session)
            make_agent(session, group)
            make_plan(session, group)
            make_anomaly(session, group, amount_minor=1250)
    return app


@pytest.mark.parametrize("number", [HUGE, LARGE])
@pytest.mark.parametrize("page", PAGES)
def test_a_number_no_row_has_is_no_page(visitor: Visitor, page: str, number: str) -> None:
    assert visitor.get(f"/{page}/{number}").status_code in (400, 404)


@pytest.mark.parametrize(
    "url",
    [
        f"/frames?after={'0' * 20}{HUGE}",
        f"/frames?agent={'0' * 20}{HUGE}",
        f"/frames/commands/abc?after={HUGE}",
        f"/anomalies?run={'0' * 12}{HUGE}",
        f"/anomalies?run={'1' * 5000}",
        f"/exceptions/repair?ids={HUGE}",
        f"/anomalies/1?below={HUGE}",
        f"/plans/1?below={HUGE}",
    ],
)
def test_a_number_no_database_keeps_is_told_as_wrong(visitor: Visitor, url: str) -> None:
    assert visitor.get(url).status_code == 400


@pytest.mark.parametrize("url", [f"/search?q=%23{HUGE}", f"/executions?agent={HUGE}", f"/plans?level={HUGE}"])
def test_a_number_no_row_has_finds_nothing(visitor: Visitor, url: str) -> None:
    assert visitor.get(url).status_code in (200, 400)


@pytest.mark.parametrize("name", ["endpoint", "_scheme", "_method", "_anchor", "_external", "values"])
def test_a_wrong_export_leads_back_to_its_filters_alone(visitor: Visitor, name: str) -> None:
    answer = visitor.get(f"/anomalies/export.csv?start=bad&state=open&{name}=x")
    assert answer.location == "/anomalies?start=bad&state=open"


@pytest.mark.parametrize("cursor", CURSORS)
@pytest.mark.parametrize("url", LISTS)
def test_a_cursor_made_by_hand_is_the_end_of_no_server(visitor: Visitor, url: str, cursor: str) -> None:
    typed = urlsafe_b64encode(cursor.encode()).decode().rstrip("=")
    for name in ("after", "before"):
        assert visitor.get(f"{url}{name}={typed}").status_code in (200, 400)


@pytest.mark.parametrize("url", ["/anomalies?trade_no=%00", "/audit?q=%00", "/search?q=a%00b"])
def test_a_nul_is_refused(visitor: Visitor, url: str) -> None:
    assert visitor.get(url).status_code == 400


def test_a_reason_of_control_characters_is_none(visitor: Visitor) -> None:
    answer = visitor.send("/anomalies/1/ignore", {"reason": "\0\x07 \x85"})
    assert answer.status_code == 400
    assert 'id="reason-error"' in answer.text


def test_control_characters_in_a_form_are_dropped_and_nothing_typed_is_lost(visitor: Visitor) -> None:
    typed = {
        "sys_code": "PBAP",
        "fixer_code": "someFixServiceImpl",
        "retry_cron": "0 0 * * * ?",
        "mode": "auto",
    }
    typed |= {
        "max_retries": "3",
        "state": "normal",
        "level": "9",
        "zone": "UTC",
        "description": "补\0记\x1b一次",
    }
    answer = visitor.post("/plans/new", typed)
    assert answer.status_code == 400
    assert ">补记一次</textarea>" in answer.text


def test_control_characters_are_stored_nowhere(visitor: Visitor) -> None:
    typed = {
        "sys_code": "PBAP",
        "fixer_code": "someFixServiceImpl",
        "retry_cron": "0 0 * * * ?",
        "mode": "auto",
    }
    typed |= {
        "max_retries": "3",
        "state": "normal",
        "level": "1",
        "zone": "UTC",
        "description": "补\0记\r\n一次",
    }
    visitor.post("/plans/new", typed)
    db.session.rollback()
    stored = db.session.scalars(select(Plan.description).where(Plan.fixer_code == "someFixServiceImpl"))
    assert stored.one() == "补记\r\n一次"


def test_a_click_on_all_shows_their_amount(visitor: Visitor) -> None:
    answer = visitor.get("/exceptions/repair?all=1")
    assert answer.status_code == 200
    assert "¥12.50" in answer.text
