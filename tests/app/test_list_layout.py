"""Lists in a browser whose scrollbars take room, as on Windows: none scrolls that has no need to."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.executions.unpaid import make_unpaid
from tests.app.live_server import LiveServer
from tests.app.visitor import PASSWORD, make_person
from tests.factories import make_agent, make_anomaly, make_group, make_plan

SCROLLBAR = "document.body.style.paddingRight = '15px'"
"""The room of the page's own scrollbar, which a headless browser does not draw."""
HIDDEN = "element => [element.scrollWidth - element.clientWidth, element.scrollHeight - element.clientHeight]"
"""By how much a list is wider and higher than what is seen of it."""
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


def test_no_list_is_larger_than_what_is_seen_of_it(page: Page) -> None:
    larger = {}
    for path in LISTS:
        page.goto(path)
        page.evaluate(SCROLLBAR)
        hidden = page.locator(".table-wrap").first.evaluate(HIDDEN)
        if hidden != [0, 0]:
            larger[path] = hidden
    assert larger == {}
