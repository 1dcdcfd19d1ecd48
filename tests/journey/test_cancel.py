"""Cancelling in a browser: before its first outside effect a repair stops, after money has moved it does not.

The bank stands behind a gate, so that each moment lasts until the test has looked at it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.anomalies.models import Anomaly, CollectionRun
from app.audit.service import SYSTEM
from app.clock import current_time
from app.executions.models import Attempt, Execution, Step
from app.extensions import db
from app.plans.queries import list_plans
from app.plans.schedules import ScheduleValues, list_schedules, set_schedule
from app.plans.service import update_plan, values_of
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.journey.bank_gate import BankGate, bank_gate
from tests.journey.conftest import PATIENCE_MS, log_in, serious, watch
from tests.journey.oracle import Production
from tests.journey.running import Demo, new_demo

GROUP = "PBMS"
FIXER = "interWithdrawFixServiceImpl"
"""Inquires, posts, pays, posts again."""
NEW_YEAR = "0 0 0 1 1 ?"
INQUIRIES, PAYOUTS = "/inquiries", "/payouts"
CONFLICT = "status of 409"
"""What a browser itself says of a refusal."""


@dataclass(frozen=True)
class Scene:
    """A demo that repairs by click only, the gate before its bank, and one trade that can be repaired."""

    demo: Demo
    gate: BankGate
    trade_no: str


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with bank_gate() as gate, new_demo(tmp_path / "instance") as demo:
        gate.bank_url = f"http://127.0.0.1:{demo.port + 1}"
        demo.told = {
            "PICULUS_AGENT_BANK__BASE_URL": gate.url,
            "PICULUS_AGENT_BANK__NAMES__TIMEOUT_S": "300",
        }
        demo.set_up()
        _leave_everything_to_clicks(demo)
        demo.start()
        trade_no = demo.until(_repairable_trade, "a trade that a click repairs", 120)
        yield Scene(demo, gate, trade_no)
        gate.open_all()
        assert demo.stop() == 0
        assert demo.complaints() == []


def _leave_everything_to_clicks(demo: Demo) -> None:
    with demo.app.app_context(), unit_of_work() as session:
        now = current_time()
        for plan in list_plans(session, None):
            values = replace(values_of(plan), mode="manual")
            update_plan(session, plan.id, values, actor=SYSTEM, reason="by click only", now=now)
        for one in list_schedules(session, None):
            yearly = ScheduleValues(sys_code=one.group.sys_code, cron=NEW_YEAR, runs_on_first_connect=True)
            set_schedule(session, yearly, actor=SYSTEM, now=now)


def _repairable_trade() -> str:
    """A trade of the fixer, once every first collection has ended; '' until then."""
    if not list(_runs("finished")) or list(_runs("waiting", "running")):
        return ""
    statement = (
        select(Anomaly.trade_no)
        .join(SystemGroup, SystemGroup.id == Anomaly.group_id)
        .where(SystemGroup.sys_code == GROUP, Anomaly.fixer_code == FIXER, Anomaly.state == "open")
        .order_by(Anomaly.id)
    )
    return db.session.scalars(statement).first() or ""


def _runs(*states: str) -> Iterator[CollectionRun]:
    return iter(db.session.scalars(select(CollectionRun).where(CollectionRun.state.in_(states))).unique())


def test_a_cancel_stops_before_the_first_effect_and_never_after_money_has_moved(
    scene: Scene, browser: Browser
) -> None:
    context = browser.new_context(base_url=scene.demo.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page, complaints = context.new_page(), list[str]()
    watch(page, complaints)
    log_in(page)
    before = Production.read(scene.demo.world, GROUP)
    _cancel_while_it_reads(scene, page)
    assert Production.read(scene.demo.world, GROUP) == before
    _try_to_cancel_while_it_pays(scene, page)
    _assert_whole(scene, before)
    context.close()
    assert serious(complaints, (CONFLICT,)) == []


def _cancel_while_it_reads(scene: Scene, page: Page) -> None:
    scene.gate.hold(INQUIRIES)
    _repair_by_click(scene, page)
    scene.gate.wait_until_asked(INQUIRIES)
    page.goto(_execution_url(scene))
    expect(page.locator("#detail")).to_contain_text("至今没有收到资金移动的记录，可以取消")
    page.click("#detail a:has-text('取消执行')")
    page.fill("dialog #reason", "客户已撤回")
    page.click("dialog button.primary")
    expect(page.locator("dialog[open]")).to_have_count(0)
    expect(page.locator("#detail")).to_contain_text("已要求停止")
    scene.gate.open(INQUIRIES)
    expect(page.locator("#detail .evidence").first).to_contain_text("已取消")
    expect(page.locator("#detail")).to_contain_text("没有移动资金")


def _try_to_cancel_while_it_pays(scene: Scene, page: Page) -> None:
    """The dialog was opened in time and is sent too late."""
    for path in (INQUIRIES, PAYOUTS):
        scene.gate.hold(path)
    _repair_by_click(scene, page)
    scene.gate.wait_until_asked(INQUIRIES)
    page.goto(_execution_url(scene))
    page.click("#detail a:has-text('取消执行')")
    page.fill("dialog #reason", "点错了")
    scene.gate.open(INQUIRIES)
    scene.gate.wait_until_asked(PAYOUTS)
    scene.demo.until(lambda: _begun_payout(scene), "the server has heard of the payout")
    page.click("dialog button.primary")
    expect(page.locator("dialog [role=alert]")).to_contain_text("资金已经移动，不能取消")
    expect(page.locator("dialog button.primary")).to_be_disabled()
    expect(page.locator("dialog #reason")).to_have_value("点错了")
    page.click("dialog .dialog-foot [data-dialog-close]")
    expect(page.locator("#detail")).to_contain_text("资金已开始移动：不能取消")
    expect(page.locator("#detail a:has-text('取消执行')")).to_have_count(0)
    scene.gate.open(PAYOUTS)
    expect(page.locator("#detail h1 .state").first).to_have_text("已修复")
    expect(page.locator("#detail")).to_contain_text("修复为成功")


def _repair_by_click(scene: Scene, page: Page) -> None:
    page.goto(f"/exceptions?trade_no={scene.trade_no}")
    page.locator("#exceptions-table tbody tr .cell-actions a", has_text="修复").click()
    page.fill("dialog #reason", "已核对")
    page.click("dialog button.primary")
    expect(page.locator("dialog[open]")).to_have_count(0)


def _execution_url(scene: Scene) -> str:
    wanted = select(Execution.id).where(Execution.trade_no == scene.trade_no)
    return f"/executions/{scene.demo.until(lambda: db.session.scalar(wanted), 'the execution')}"


def _begun_payout(scene: Scene) -> int | None:
    return db.session.scalar(
        select(Step.id)
        .join(Attempt, Attempt.id == Step.attempt_id)
        .join(Execution, Execution.id == Attempt.execution_id)
        .where(Execution.trade_no == scene.trade_no, Step.name == "pay", Step.state == "intended")
    )


def _assert_whole(scene: Scene, before: Production) -> None:
    """Debited once, paid once, the row a success; no other trade moved."""
    after = Production.read(scene.demo.world, GROUP)
    changed = [row["TRD_NUM"] for key, row in after.rows.items() if row != before.rows[key]]
    posted = {entry["TRD_NUM"] for number, entry in after.entries.items() if number not in before.entries}
    assert changed == [scene.trade_no]
    assert posted == {scene.trade_no}
    assert [number.rpartition("-")[0] for number in after.payouts - before.payouts] == [scene.trade_no]
    with scene.demo.app.app_context():
        outcomes = db.session.scalars(
            select(Attempt.outcome)
            .join(Execution, Execution.id == Attempt.execution_id)
            .where(Execution.trade_no == scene.trade_no)
            .order_by(Attempt.number)
        ).all()
        db.session.remove()
    assert list(outcomes) == ["cancelled", "repaired"]
