"""The whole loop with real processes and a real browser, from the login to the ten exact rows.

A server restart falls into a collection, and an agent is killed in the middle of its repairs.
"""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import func, select

from app.agents.models import Agent, Command
from app.anomalies.models import Anomaly, CollectionRun
from app.audit.service import SYSTEM
from app.clock import current_time
from app.executions.models import Attempt, Step
from app.extensions import db
from app.plans.models import Plan
from app.plans.schedules import ScheduleValues, list_schedules, set_schedule
from app.unit_of_work import unit_of_work
from tests.journey.conftest import OUTAGE, PATIENCE_MS, REFUSED, log_in, serious, watch
from tests.journey.oracle import (
    CASES,
    Production,
    assert_case_is_whole,
    assert_only_repairable_trades_changed,
)
from tests.journey.running import ROOT, Demo, new_demo

GROUPS = ("PBAP", "PBMS")
REASON = "已与银行核对，客户确认未到账"


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    """A demo that is set up, with its recurring collections switched off: here a person broadcasts."""
    with new_demo(tmp_path / "instance") as demo:
        demo.set_up()
        with demo.app.app_context(), unit_of_work() as session:
            for one in list_schedules(session, None):
                values = ScheduleValues(sys_code=one.group.sys_code, cron=one.cron, is_enabled=False)
                set_schedule(session, values, actor=SYSTEM, reason="按旅程收集", now=current_time())
        yield demo


def test_from_login_to_ten_exact_rows(demo: Demo, browser: Browser) -> None:
    before = {group: Production.read(demo.world, group) for group in GROUPS}
    demo.start()
    context = browser.new_context(base_url=demo.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page = context.new_page()
    watch(page, complaints)

    log_in(page)
    expect(page.locator("[data-live=on]")).to_be_visible()
    _collect_while_the_server_is_restarted(demo, page)
    _repair_by_click(demo, page)
    _collect(page, "PBAP")
    expect(page.locator("#detail h1 .state")).to_have_text("已完成")
    _watch_repairs_while_an_agent_is_killed(demo, page)
    _wait_until_all_is_repaired(demo, page)

    context.close()
    assert serious(complaints, (*OUTAGE, REFUSED)) == []
    assert demo.stop() == 0
    _assert_production_is_whole(demo, before)
    assert demo.complaints() == []


def _collect(page: Page, group: str) -> None:
    """Broadcast to one group; the page of its run opens."""
    page.click("nav a[href='/collections/new']")
    expect(page.locator("#fleet")).not_to_contain_text("0 台在线")
    page.check(f"input[name=groups][value={group}]")
    page.check("input[name=window][value='24']")
    page.fill("#reason", "例行检查")
    page.click("#broadcast-form button.primary")
    page.wait_for_url(re.compile(r"/collections/\d+$"))
    expect(page.locator("[data-live=on]")).to_be_visible()


def _collect_while_the_server_is_restarted(demo: Demo, page: Page) -> None:
    """The page follows the run over the restart, and the run ends whole."""
    with demo.slow_bank("inquiry", 6):
        _collect(page, "PBMS")
        demo.until(lambda: _runs_in("running"), "the run is under way")
        demo.end_child("gunicorn", signal.SIGTERM)
        with demo.app.app_context():
            assert len(_runs_in("running")) == 1, "the collection was over before the server was"
    expect(page.locator("#detail h1 .state")).to_have_text("已完成")
    (run,) = demo.until(lambda: _runs_in("finished"), "the run is finished")
    planted = [row for row in demo.world.planted("PBMS") if row["EXPECTED"].startswith("repair")]
    assert (run.trigger, run.error) == ("click", "")
    assert run.reported >= len(planted)


def _runs_in(state: str) -> list[CollectionRun]:
    return list(db.session.scalars(select(CollectionRun).where(CollectionRun.state == state)).unique())


def _repair_by_click(demo: Demo, page: Page) -> None:
    """What a manual plan repairs waits for a click, and a click for a reason."""
    page.goto("/exceptions?group=PBMS&plan=manual")
    row = page.locator("#exceptions-table tbody tr").first
    trade_no = row.locator(".row-link").inner_text()
    row.locator(".cell-actions a", has_text="修复").click()
    page.click("dialog button.primary")
    expect(page.locator("dialog #reason-error")).to_be_visible()
    page.fill("dialog #reason", REASON)
    page.click("dialog button.primary")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#exceptions-table")).not_to_contain_text(trade_no)
    _look_at_execution(page, trade_no)

    page.goto("/exceptions?group=PBMS&plan=manual")
    page.click("#exceptions-table a:has-text('修复全部')")
    expect(page.locator("dialog")).to_contain_text("将发出")
    page.fill("dialog #reason", REASON)
    page.click("dialog button.primary")
    # One first, then ten, then the rest: the page follows it to its end.
    expect(page.locator("#detail h1 .state")).to_have_text("已完成")
    page.goto("/exceptions?group=PBMS&plan=manual")
    expect(page.locator("#exceptions-table")).to_contain_text("没有")
    _assert_attempts_say_who_and_why(demo)


def _look_at_execution(page: Page, trade_no: str) -> None:
    """Its evidence: steps, what changed, and who wanted it."""
    page.goto(f"/executions?trade_no={trade_no}")
    expect(page.locator("#executions-table tbody tr")).to_have_count(1)
    expect(page.locator("#executions-table")).to_contain_text("修复为成功")
    page.click("#executions-table .row-link")
    drawer = page.locator("#drawer.open")
    expect(drawer).to_contain_text(REASON)
    expect(drawer).to_contain_text("修复为成功")
    expect(drawer.locator("tr[data-column=FAILED_MSG] ins").first).to_contain_text("修复")
    expect(drawer.locator("tr.step").first).to_be_visible()


def _assert_attempts_say_who_and_why(demo: Demo) -> None:
    with demo.app.app_context():
        manual = select(Plan.fixer_code).where(Plan.mode == "manual")
        rows = db.session.execute(
            select(Attempt.trigger, Attempt.actor_name, Attempt.reason)
            .join(Anomaly, Anomaly.id == Attempt.anomaly_id)
            .where(Anomaly.fixer_code.in_(manual))
        ).all()
        db.session.remove()
    assert len(rows) >= 2
    assert set(rows) == {("click", "admin", REASON)}


def _watch_repairs_while_an_agent_is_killed(demo: Demo, page: Page) -> None:
    """One of two agents dies with money on its way; it comes back and the page shows the repairs go on."""
    page.goto("/executions?group=PBAP")
    with demo.slow_bank("payout", 1):
        demo.until(lambda: _paying_commands("pbap-1"), "pbap-1 is paying")
        demo.end_child("pbap-1.toml", signal.SIGKILL)
    expect(page.locator("#executions-table")).to_contain_text("修复为成功")
    demo.until(
        lambda: db.session.scalars(
            select(Agent).where(Agent.name == "pbap-1", Agent.connected_at.is_not(None), Agent.epoch > 2)
        ).first(),
        "pbap-1 is back",
    )


def _paying_commands(agent: str) -> list[str]:
    """The commands an agent is running whose payout is asked for and not answered."""
    statement = (
        select(Command.id)
        .join(Agent, Agent.id == Command.agent_id)
        .join(Attempt, Attempt.command_id == Command.id)
        .join(Step, Step.attempt_id == Attempt.id)
        .where(Agent.name == agent, Command.state == "running", Step.name == "pay", Step.state == "intended")
    )
    return list(db.session.scalars(statement))


def _wait_until_all_is_repaired(demo: Demo, page: Page) -> None:
    unfinished = select(func.count()).where(Anomaly.state.in_(("open", "repairing")))
    demo.until(lambda: db.session.scalar(unfinished) == 0, "nothing is left to repair", 90)
    for case in CASES:
        page.goto(f"/anomalies?trade_no={case['demo']['TRD_NUM']}")
        is_failed = case["after"]["TRD_STATUS"] == 9
        expect(page.locator("#anomalies-table tbody")).to_contain_text(
            "确认失败" if is_failed else "修复为成功"
        )


def _assert_production_is_whole(demo: Demo, before: dict[str, Production]) -> None:
    """The ten rows exactly; every repairable trade repaired; nothing else touched; no money wrong."""
    repaired = set[str]()
    for group in GROUPS:
        planted = demo.world.planted(group)
        after = Production.read(demo.world, group)
        changed = assert_only_repairable_trades_changed(planted, before[group], after)
        assert {row["TRD_NUM"] for row in planted if row["EXPECTED"].startswith("repair")} <= changed
        repaired |= changed
        for case in CASES if group == "PBAP" else ():
            assert_case_is_whole(case, before[group], after)
    report = subprocess.run(
        [sys.executable, "-m", "sandbox", "report", "--json"],
        cwd=ROOT,
        env=demo.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    told = json.loads(report.stdout)
    assert told["violations"] == []
    assert report.returncode == 0
    disagreeing = {one["trade_no"] for one in told["disagreements"]}
    assert disagreeing & repaired == set(), "every trade that Piculus repaired agrees"
