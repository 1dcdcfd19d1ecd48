"""Lists in a browser whose scrollbars take room, as on Windows: none scrolls that has no need to."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from sqlalchemy import select

from app.agents import stops
from app.agents.stops import Target
from app.extensions import db
from app.guards import breakers
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup, User
from tests.app.executions.unpaid import make_unpaid
from tests.app.live_server import LiveServer
from tests.app.visitor import PASSWORD, make_person
from tests.factories import NOW, PERSON, make_agent, make_anomaly, make_group, make_plan

SCROLLBAR = "document.body.style.paddingRight = '15px'"
"""The room of the page's own scrollbar, which a headless browser does not draw."""
HIDDEN = "element => [element.scrollWidth - element.clientWidth, element.scrollHeight - element.clientHeight]"
"""By how much a list is wider and higher than what is seen of it."""
REASON = "核对过回单，银行对账文件与账务一致，恢复之前先停下"
IN_SHADOW = "rechargeTimeoutFixServiceImpl"
LISTS = ("/exceptions", "/exceptions?tab=human", "/anomalies", "/users", "/agents", "/plans")


@pytest.fixture
def page(live_server: LiveServer, browser: Browser) -> Iterator[Page]:
    """An administrator at a screen of 1440 px, over a group with a row of each list."""
    with live_server.app.app_context():
        make_person("li.na", "admin", sees_all_groups=True)
        with unit_of_work() as session:
            group = make_group(session)
            make_agent(session, group, name="pbap-1")
            make_plan(session, group)
            make_anomaly(session, group)
            make_anomaly(session, group, state="repairing")
            make_plan(session, group, fixer_code=IN_SHADOW, is_shadow=True)
            make_anomaly(session, group, fixer_code=IN_SHADOW)
            make_unpaid(session, group, trade_no="CI0000000000000000000101")
        db.session.remove()
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{live_server.port}",
        viewport={"width": 1440, "height": 900},
        locale="zh-CN",
    )
    page = context.new_page()
    page.goto("/login")
    page.fill("#username", "li.na")
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    page.wait_for_url("**/")
    yield page
    context.close()


@pytest.mark.parametrize("width", [1440, 1280])
def test_no_list_is_larger_than_what_is_seen_of_it(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    larger = {}
    for path in LISTS:
        page.goto(path)
        page.evaluate(SCROLLBAR)
        hidden = page.locator(".table-wrap").first.evaluate(HIDDEN)
        if hidden != [0, 0]:
            larger[path] = hidden
    assert larger == {}


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_no_list_is_wider_than_a_phone(page: Page, live_server: LiveServer, locale: str) -> None:
    speak(live_server, locale)
    page.set_viewport_size({"width": 390, "height": 844})
    wider = {}
    for path in LISTS:
        page.goto(path)
        over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if over > 0:
            wider[path] = over
    assert wider == {}


@pytest.mark.parametrize("locale", ["zh", "en"])
@pytest.mark.parametrize("width", [1440, 390])
def test_a_row_with_several_marks_keeps_them_and_its_button_in_sight(
    page: Page, live_server: LiveServer, locale: str, width: int
) -> None:
    speak(live_server, locale)
    page.set_viewport_size({"width": width, "height": 900})
    with live_server.app.app_context():
        with unit_of_work() as session:
            group = session.scalars(select(SystemGroup)).one()
            subject = breakers.subject_of_group(group)
            breakers.trip(session, subject, "failures", {"failed": 9, "attempts": 9, "threshold": 9}, NOW)
            stops.set_stop(session, Target(), reason="x", actor=PERSON, group_ids=None, now=NOW)
        db.session.remove()
    page.goto("/exceptions")
    page.evaluate(SCROLLBAR)
    assert page.locator("td.tags .state").count() > 1
    assert page.locator(".table-wrap").first.evaluate(HIDDEN) == [0, 0]


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_stops_are_seen_whole_on_a_screen_of_1280(page: Page, live_server: LiveServer, locale: str) -> None:
    speak(live_server, locale)
    page.set_viewport_size({"width": 1280, "height": 800})
    with live_server.app.app_context():
        with unit_of_work() as session:
            group = session.scalars(select(SystemGroup)).one()
            agent = make_agent(session, group, name="pbap-2")
            agent.stopped_here, agent.stopped_here_at = "对账，暂停这一台", NOW
            for target in (Target(agent_id=agent.id), Target(group_id=group.id)):
                stop = stops.set_stop(session, target, reason=REASON, actor=PERSON, group_ids=None, now=NOW)
            stops.lift(session, stop.id, reason=REASON, actor=PERSON, group_ids=None, is_admin=True, now=NOW)
        db.session.remove()
    page.goto("/stops")
    page.evaluate(SCROLLBAR)
    assert page.locator(".table-wrap").first.evaluate(HIDDEN) == [0, 0]


def test_a_list_wider_than_its_room_keeps_the_buttons_of_a_row_in_sight(
    page: Page, live_server: LiveServer
) -> None:
    speak(live_server, "en")
    page.set_viewport_size({"width": 1024, "height": 800})
    page.goto("/exceptions")
    seen = page.locator(".table-wrap").first
    assert seen.evaluate(HIDDEN)[0] > 0
    over = "(button, right) => button.getBoundingClientRect().right - right"
    right = seen.evaluate("element => element.getBoundingClientRect().right")
    assert page.locator(".cell-actions .button").first.evaluate(over, right) <= 0


def test_the_buttons_of_a_queue_row_stand_in_one_line(page: Page) -> None:
    page.goto("/exceptions?tab=human")
    page.evaluate(SCROLLBAR)
    tops = "buttons => [...new Set(buttons.map(one => one.offsetTop))].length"
    assert page.locator(".queue-actions").first.locator(".button").evaluate_all(tops) == 1


def test_in_english_what_closes_a_trade_goes_to_the_next_line_together(
    page: Page, live_server: LiveServer
) -> None:
    speak(live_server, "en")
    page.goto("/exceptions?tab=human")
    row = page.locator(".queue-actions").first
    assert "Ignore" in row.locator(".button").last.inner_text()
    apart = """row => [...Array(30).keys()].map(n => 200 + 10 * n).filter(width => {
      row.style.width = `${width}px`;
      const [outside, ignore] = [...row.querySelectorAll(".button")].slice(-2);
      return outside.offsetTop !== ignore.offsetTop;
    })"""
    assert row.evaluate(apart) == []


def speak(live_server: LiveServer, locale: str) -> None:
    """Give the person at the screen this language."""
    with live_server.app.app_context():
        with unit_of_work() as session:
            session.scalars(select(User)).one().locale = locale
        db.session.remove()
