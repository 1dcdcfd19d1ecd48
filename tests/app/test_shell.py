"""The shell in a real browser: live fragments, dialog, drawer, phone, and the strict content policy."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from app.config import Settings
from app.unit_of_work import unit_of_work
from app.users.groups import find_group
from tests.app.live_server import LiveServer, running_server
from tests.app.visitor import PASSWORD, make_person
from tests.factories import make_anomaly, make_group

OUR_COMPLAINTS = ("Content Security Policy", "violates", "Uncaught")


@pytest.fixture(scope="module")
def server(migrated_database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One server for all tests of this file, with an admin."""
    instance = tmp_path_factory.mktemp("shell")
    shutil.copy(migrated_database, instance / "piculus.db")
    with running_server(Settings(instance=instance)) as server:
        with server.app.app_context():
            make_person("boss", "admin")
        yield server


@pytest.fixture
def page(browser: Browser, server: LiveServer) -> Iterator[Page]:
    """A desktop page of an admin; it must not complain of scripts or of our content policy."""
    context = browser.new_context(
        viewport={"width": 1440, "height": 900}, base_url=f"http://127.0.0.1:{server.port}"
    )
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(f"Uncaught {error}"))
    page.goto("/login?next=/users")
    page.fill("#username", "boss")
    page.fill("#password", PASSWORD)
    page.click("button.primary")
    expect(page.locator("[data-live=on]")).to_be_visible()  # the scripts run
    yield page
    context.close()
    assert [text for text in complaints if any(word in text for word in OUR_COMPLAINTS)] == []


def test_a_list_follows_the_database_and_leaves_alone_what_is_typed(page: Page, server: LiveServer) -> None:
    page.focus("#filter-q")
    with server.app.app_context():
        make_person("wang.wei")
    newcomer = page.context.new_page()
    newcomer.goto("/users")
    newcomer.click("tr:has-text('wang.wei') .button.danger")
    newcomer.fill("dialog #reason", "已离职")
    newcomer.click("dialog .button.primary")
    page.bring_to_front()
    expect(page.locator("tr:has-text('wang.wei') .state.grey")).to_be_visible()
    expect(page.locator("#filter-q")).to_be_focused()
    # The link pressed has the focus again, and still its words must follow.
    newcomer.bring_to_front()
    expect(newcomer.locator("tr:has-text('wang.wei') .cell-actions")).to_contain_text("启用")


def test_what_is_typed_stays_when_the_login_ends(page: Page) -> None:
    page.goto("/collections/new")
    page.fill("#reason", "日终检查")
    page.wait_for_load_state("networkidle")  # an answer on its way would bring its cookie back
    cookies = page.context.cookies()
    page.context.clear_cookies()
    page.evaluate("document.body.dispatchEvent(new Event('refresh'))")
    expect(page.locator("#login-banner")).to_be_visible()
    expect(page.locator("#reason")).to_have_value("日终检查")
    page.context.add_cookies(cookies)
    page.evaluate("document.body.dispatchEvent(new Event('refresh'))")
    expect(page.locator("#login-banner")).to_be_hidden()


def test_a_pressed_pause_says_how_to_go_on(page: Page) -> None:
    page.goto("/")
    pause = page.locator("[data-live-pause]").first
    pause.click()
    expect(pause).to_have_attribute("aria-pressed", "true")
    expect(pause).to_contain_text("继续更新")


def test_a_dialog_keeps_what_was_typed_and_says_what_is_wrong(page: Page) -> None:
    page.click("a[href='/users/new']")
    page.fill("dialog #display_name", "陈卓")
    page.fill("dialog #username", "x!")
    page.click("dialog .button.primary")
    expect(page.locator("dialog #username-error")).to_contain_text("2 到 40 个字符")
    expect(page.locator("dialog #username")).to_be_focused()
    expect(page.locator("dialog #display_name")).to_have_value("陈卓")
    page.fill("dialog #username", "chen.zhuo")
    page.click("dialog .button.primary")
    expect(page.locator("#one-time-password")).to_be_visible()
    page.click("dialog .button.primary")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#users-table")).to_contain_text("chen.zhuo")


def test_a_wrong_form_keeps_the_secret_that_was_typed_but_no_other_does(page: Page) -> None:
    page.goto("/alerts/channels")
    page.click("a[href='/alerts/channels/new'] >> nth=0")
    page.select_option("dialog #channel_kind", "webhook")
    page.fill("dialog #url", "jsons://hooks.example.com/token")
    page.click("dialog .button.primary")
    expect(page.locator("dialog #name-error")).to_be_visible()
    expect(page.locator("dialog #url")).to_have_value("jsons://hooks.example.com/token")
    page.click("dialog [data-dialog-close] >> nth=0")
    page.click("a[href='/alerts/channels/new'] >> nth=0")
    expect(page.locator("dialog #url")).to_have_value("")


def test_a_form_with_errors_shows_the_first_of_them(page: Page, server: LiveServer) -> None:
    with server.app.app_context(), unit_of_work() as session:
        make_group(session, "PBAP")
        make_group(session, "PBMS")
    page.set_viewport_size({"width": 390, "height": 600})
    page.goto("/collections/new")
    page.click("#broadcast-form .button.primary")
    expect(page.locator("#groups-error")).to_be_in_viewport()
    expect(page.locator("[name=groups]").first).to_be_focused()


def test_a_form_opened_as_a_page_shows_its_first_error_too(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 600})
    page.goto("/plans/new")
    page.fill("#fixer_code", "interRechargeFixServiceImpl")
    page.click(".dialog-foot button.primary")
    expect(page.locator("#sys_code-error")).to_be_in_viewport()
    expect(page.locator("#sys_code")).to_be_focused()


def test_a_row_opens_its_details_and_gives_the_focus_back(page: Page) -> None:
    page.goto("/audit")
    page.click("tr[data-row] >> nth=0")
    expect(page.locator("#drawer.open")).to_contain_text("127.0.0.1")
    page.keyboard.press("Escape")
    expect(page.locator("#drawer.open")).to_have_count(0)
    expect(page.locator("tr[data-row] .row-link").first).to_be_focused()


def test_filters_stand_in_the_url_and_the_back_button_undoes_them(page: Page) -> None:
    page.goto("/audit")
    page.select_option("#filter-action", "user.create")
    expect(page).to_have_url("/audit?action=user.create")
    page.go_back()
    expect(page).to_have_url("/audit")
    expect(page.locator("#audit-table")).to_contain_text("登录")


def test_the_chart_follows_its_card_when_that_shrinks(page: Page) -> None:
    page.goto("/")
    chart = page.locator("#trend-chart")
    expect(chart.locator("canvas")).to_be_visible()
    for height in (320, 210):
        chart.evaluate("(place, height) => { place.style.flex = `0 0 ${height}px`; }", height)
        expect(chart.locator("canvas")).to_have_css("height", f"{height - 12}px")


def test_the_headings_of_a_detail_follow_its_title(page: Page) -> None:
    page.goto("/audit")
    page.goto(page.locator("tr[data-row] .row-link").first.get_attribute("href") or "")
    levels = page.locator("main :is(h1,h2,h3,h4)").evaluate_all("found => found.map(one => one.tagName)")
    assert levels[0] == "H1"
    assert "H3" not in levels


def test_on_a_phone_nothing_overflows_and_axe_finds_nothing(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/users", "/users/groups", "/audit", "/settings", "/nonesuch"):
        page.goto(path)
        expect(page.locator("#burger")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == 390, path
        assert [one["id"] for one in Axe().run(page)["violations"]] == [], path


def test_the_menu_slides_in_on_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    expect(page.locator("#side")).not_to_be_visible()
    page.click("#burger")
    expect(page.locator("#side")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#side")).not_to_be_visible()


def test_the_theme_is_kept(page: Page) -> None:
    page.click("[data-theme-switch]")
    chosen = page.evaluate("document.documentElement.dataset.bsTheme")
    page.reload()
    assert page.locator("html").get_attribute("data-bs-theme") == chosen


@pytest.mark.parametrize("locale", ["zh", "en"])
def test_on_a_phone_the_queue_is_folded_to_what_a_person_acts_on(
    server: LiveServer, page: Page, locale: str
) -> None:
    with server.app.app_context(), unit_of_work() as session:
        group = find_group(session, "QUEUE") or make_group(session, "QUEUE")
        reason = "processing, debited, bank failed"
        planted = [
            make_anomaly(session, group, state="needs_human", reason=reason, kind="withdraw").trade_no
            for _each in range(25)
        ]
    page.request.post(
        "/locale",
        form={"locale": locale, "next": "/", "csrf_token": token_of(page)},
        headers={"Referer": page.url},
    )
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto("/exceptions?tab=human&group=QUEUE")
    expect(page.locator(".queue tbody tr")).to_have_count(25)
    widths = "[document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
    width, height = page.evaluate(widths)
    assert (width, height < 6_000) == (390, True)
    row = page.locator(".queue tbody tr", has_text=planted[-1])
    for shown in (row.locator(".why b"), row.locator(".under").first, row.locator(".queue-actions a").last):
        expect(shown).to_be_visible()
    facts = row.locator("td.said").first
    expect(facts).to_be_hidden()
    row.locator(".fold summary").click()
    expect(facts).to_be_visible()
    expect(row.locator(".proposal small")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(row.locator(".fold")).to_be_hidden()
    expect(page.locator("td.said").first).to_be_visible()


def token_of(page: Page) -> str:
    """Return the hidden token of the page's forms."""
    return page.locator("input[name=csrf_token]").first.get_attribute("value") or ""
