"""Every page over rows of a running demo: both languages, desktop and phone, without a complaint."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import func, select

from app.agents.models import Agent, Frame
from app.anomalies.models import Anomaly, CollectionRun
from app.audit.models import AuditEntry
from app.executions.models import Attempt, Execution
from app.extensions import db
from app.plans.models import Plan
from tests.app.visitor import PASSWORD, make_person
from tests.journey.conftest import Started, log_in, watch
from tests.journey.oracle import CASES, assert_case_is_whole, assert_only_repairable_trades_changed

LISTS = (
    "/",
    "/exceptions?tab=executable",
    "/exceptions?tab=human",
    "/exceptions/orders",
    "/anomalies",
    "/collections",
    "/executions",
    "/plans",
    "/frames",
    "/agents",
    "/users",
    "/users/groups",
    "/audit",
)
FORMS = ("/collections/new", "/plans/new", "/agents/new", "/users/new", "/settings", "/search?q=CO1607")
DETAILS = (
    "/anomalies/{anomaly}",
    "/anomalies/{human}",
    "/collections/{run}",
    "/executions/{execution}",
    "/plans/{plan}",
    "/plans/{plan}/edit",
    "/frames/{frame}",
    "/frames/commands/{command}",
    "/agents/{agent}",
    "/audit/{entry}",
)
ALERTS = ("/alerts", "/alerts/channels", "/alerts/channels/new", "/alerts/silences", "/alerts/silences/new")
"""Nothing has been sent in the demo: it has no channel."""
GUARDS = ("/breakers", "/stops")
"""Nothing has tripped in the demo, and nobody has stopped it."""
WIDTHS = (1440, 390)
LANGUAGES = {"zh": "zh-CN", "en": "en"}
PASSED_OVER = ("minor",)
ALIKE = "tbody tr:nth-child(n+9)"
"""Rows further down a list are built as those above; axe-core takes seconds over fifty of them."""


@dataclass(frozen=True)
class Reader:
    """A person at a browser whose pages are in one language; ``complaints`` is what the pages said."""

    context: BrowserContext
    page: Page
    complaints: list[str]


@pytest.fixture(scope="module")
def ids(started: Started) -> dict[str, object]:
    """An object of each kind, once the demo has done its first repairs by itself."""
    done = select(func.count()).where(Attempt.outcome == "repaired")
    started.demo.until(lambda: (db.session.scalar(done) or 0) >= 100, "repairs without a click", 120)
    with started.demo.app.app_context():
        found = {
            "anomaly": db.session.scalar(select(func.min(Anomaly.id)).where(Anomaly.state == "repaired")),
            "human": db.session.scalar(select(func.min(Anomaly.id)).where(Anomaly.state == "needs_human")),
            "run": db.session.scalar(select(func.min(CollectionRun.id))),
            "execution": db.session.scalar(select(func.min(Execution.id))),
            "plan": db.session.scalar(select(func.min(Plan.id))),
            "frame": db.session.scalar(select(func.max(Frame.id)).where(Frame.type == "RepairFinished")),
            "command": db.session.scalar(select(func.min(Attempt.command_id))),
            "agent": db.session.scalar(select(func.min(Agent.id))),
            "entry": db.session.scalar(select(func.min(AuditEntry.id))),
        }
        db.session.remove()
    assert all(found.values()), found
    return found


@pytest.fixture(scope="module")
def readers(started: Started, browser: Browser) -> Iterator[dict[str, Reader]]:
    """A person for each language, logged in."""
    made: dict[str, Reader] = {}
    for language in LANGUAGES:
        with started.demo.app.app_context():
            make_person(f"reader.{language}", "admin")
        context = browser.new_context(base_url=started.demo.url)
        page, complaints = context.new_page(), list[str]()
        watch(page, complaints)
        log_in(page, f"reader.{language}", PASSWORD)
        if language == "en":
            page.click("button[name=locale][value=en]")
        expect(page.locator("html")).to_have_attribute("lang", LANGUAGES[language])
        made[language] = Reader(context, page, complaints)
    yield made
    for reader in made.values():
        reader.context.close()


def test_broken_trades_come_back_whole_without_a_click(started: Started) -> None:
    demo = started.demo
    whole = select(func.count()).where(
        Anomaly.state == "repaired", Anomaly.trade_no.in_([case["demo"]["TRD_NUM"] for case in CASES])
    )
    demo.until(lambda: db.session.scalar(whole) == len(CASES), "ten repaired trades", 120)
    after = type(started.before["PBAP"]).read(demo.world, "PBAP")
    for case in CASES:
        assert_case_is_whole(case, started.before["PBAP"], after)
    assert_only_repairable_trades_changed(demo.world.planted("PBAP"), started.before["PBAP"], after)


@pytest.mark.parametrize("path", [*LISTS, *FORMS, *ALERTS, *GUARDS, *DETAILS])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("language", LANGUAGES)
def test_page(
    path: str, width: int, language: str, readers: dict[str, Reader], ids: dict[str, object]
) -> None:
    reader = readers[language]
    page = reader.page
    reader.complaints.clear()
    page.set_viewport_size({"width": width, "height": 900})
    answer = page.goto(path.format(**ids))
    assert answer is not None
    assert answer.status == 200
    expect(page.locator("[data-live=on]")).not_to_have_attribute("hidden", "")
    expect(page.locator("html")).to_have_attribute("lang", LANGUAGES[language])
    if path in LISTS:
        expect(page.locator("tbody tr").first).to_be_attached()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # Axe takes a second a page: English adds words, not another layout.
    if language == "zh" or width == WIDTHS[0]:
        assert _serious_violations(page) == []
    assert reader.complaints == []


def test_the_login_page_is_for_everybody(started: Started, browser: Browser) -> None:
    for width in WIDTHS:
        context = browser.new_context(base_url=started.demo.url, viewport={"width": width, "height": 900})
        page, complaints = context.new_page(), list[str]()
        watch(page, complaints)
        page.goto("/login")
        expect(page.locator("#username")).to_be_focused()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert _serious_violations(page) == []
        assert complaints == []
        context.close()


def _serious_violations(page: Page) -> list[str]:
    """What axe-core finds wrong, with the first element of each."""
    looked = Axe().run(page, {"exclude": [[ALIKE]]}, {"resultTypes": ["violations"]})
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]}"
        for one in looked["violations"]
        if one["impact"] not in PASSED_OVER
    ]
