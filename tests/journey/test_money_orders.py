"""Two people, two browsers: what the bank finally refused is paid again, or reversed, on the word of both."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.anomalies.models import Anomaly
from app.audit.service import SYSTEM
from app.clock import current_time
from app.executions.order_box import box_of
from app.executions.order_limits import set_limit
from app.executions.service import retry_now
from app.executions.starting import Order
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from app.users.passwords import choose_password
from app.users.service import create_user
from sandbox.bank.client import BankClient
from sandbox.settings import read_settings
from tests.journey.conftest import PATIENCE_MS, log_in, serious, watch
from tests.journey.oracle import Production
from tests.journey.running import PASSWORD, Demo, new_demo
from tests.journey.test_cancel import FIXER, GROUP, _leave_everything_to_clicks, _runs

SECOND = "wang.qiang"
CONFLICT = "status of 409"
"""What a browser itself says of a refusal."""


@dataclass(frozen=True)
class Scene:
    """A demo whose bank has finally refused the payouts of two trades that our own repair had debited."""

    demo: Demo
    numbers: tuple[str, str]


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with new_demo(tmp_path / "instance") as demo:
        demo.told = {"PICULUS_AGENT_BANK__NAMES__FAILURE_SETTLES_S": "1"}
        demo.set_up()
        _leave_everything_to_clicks(demo)
        demo.start()
        numbers = demo.until(_repairable_trades, "two trades that a click repairs", 120)
        _prepare_people(demo)
        _have_the_bank_refuse(demo, numbers)
        yield Scene(demo, (numbers[0], numbers[1]))
        assert demo.stop() == 0
        assert demo.complaints() == []


def _repairable_trades() -> list[str]:
    if not list(_runs("finished")) or list(_runs("waiting", "running")):
        return []
    of_fixer = select(Anomaly.trade_no).join(SystemGroup, SystemGroup.id == Anomaly.group_id)
    statement = of_fixer.where(
        SystemGroup.sys_code == GROUP, Anomaly.fixer_code == FIXER, Anomaly.state == "open"
    )
    found = list(db.session.scalars(statement.order_by(Anomaly.id).limit(2)))
    return found if len(found) == 2 else []


def _prepare_people(demo: Demo) -> None:
    with demo.app.app_context(), unit_of_work() as session:
        now = current_time()
        for group in session.scalars(select(SystemGroup)).all():
            set_limit(session, group.id, 0, reason="two people always", actor=SYSTEM, now=now)
        create_user(
            session,
            actor=SYSTEM,
            username=SECOND,
            role="operator",
            sees_all_groups=True,
            password=choose_password(PASSWORD),
            now=now,
        )


def _have_the_bank_refuse(demo: Demo, numbers: list[str]) -> None:
    settings = read_settings(demo.instance, demo.environment)
    bank = BankClient(settings.bank_url, settings.bank_token)
    bank.call("POST", "/faults", {"kind": "reject", "code": "E1001", "operation": "payout"})
    try:
        for number in numbers:
            demo.until(lambda n=number: _is_refused(demo, n), f"the bank has refused {number}", 120)
    finally:
        bank.call("DELETE", "/faults")
        bank.close()


def _is_refused(demo: Demo, number: str) -> bool:
    """Whether both actions are offered; until then the repair is tried again by a click."""
    anomaly = _anomaly(number)
    if anomaly.state in ("open", "waiting"):
        with demo.app.app_context(), unit_of_work() as session:
            order = Order("click", SYSTEM, "once more", current_time())
            retry_now(session, anomaly.id, order, group_ids=None)
        return False
    offers = box_of(db.session, anomaly, current_time()).offers
    return bool(offers) and all(offer.obstacle is None for offer in offers)


def _anomaly(number: str) -> Anomaly:
    return db.session.scalars(
        select(Anomaly).where(Anomaly.trade_no == number).order_by(Anomaly.id.desc())
    ).first() or pytest.fail(f"no anomaly of {number}")


def test_what_one_person_orders_another_confirms_and_production_is_whole(
    scene: Scene, browser: Browser
) -> None:
    complaints: list[str] = []
    li_na, wang = (_person(scene, browser, name, complaints) for name in ("admin", SECOND))
    before = Production.read(scene.demo.world, GROUP)
    paid_again, reversed_ = scene.numbers
    _order(scene, li_na, wang, paid_again, "再付")
    _order(scene, wang, li_na, reversed_, "冲正")
    _assert_paid_again(scene, before, paid_again)
    _assert_reversed(scene, before, reversed_)
    report = scene.demo.world.report()
    assert report.is_sound
    assert {item.trade_no for item in report.disagreements} & set(scene.numbers) == set()
    assert serious(complaints, (CONFLICT,)) == []


def _person(scene: Scene, browser: Browser, name: str, complaints: list[str]) -> Page:
    context = browser.new_context(base_url=scene.demo.url, viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    watch(page, complaints)
    log_in(page, name)
    expect(page.locator("nav").first).to_be_visible()
    return page


def _order(scene: Scene, proposer: Page, other: Page, number: str, words: str) -> None:
    with scene.demo.app.app_context():
        url = f"/anomalies/{_anomaly(number).id}"
        db.session.remove()
    proposer.goto(url)
    proposer.click(f"#detail .evidence a:has-text('{words}')")
    expect(proposer.locator("dialog")).to_contain_text("需要另一个人复核")
    proposer.fill("dialog #reason", "已与银行核对，确未付出")
    proposer.click("dialog button.primary")
    expect(proposer.locator("#detail")).to_contain_text("待复核")
    expect(proposer.locator("#detail .evidence a:has-text('复核')")).to_have_count(0)
    other.goto("/exceptions/orders?state=proposed")
    other.click("#money-order-table .cell-actions a:has-text('复核')")
    other.fill("dialog #reason", "已独立核对三方事实")
    other.click("dialog button.primary")
    expect(other.locator("dialog[open]")).to_have_count(0)
    expect(proposer.locator("#detail h1 .state").first).to_have_text("已修复")


def _assert_paid_again(scene: Scene, before: Production, number: str) -> None:
    after = Production.read(scene.demo.world, GROUP)
    assert [one for one in after.payouts - before.payouts if one.startswith(number)] == [f"{number}-P1"]
    [row] = [row for row in after.rows.values() if row["TRD_NUM"] == number]
    assert (row["TRD_STATUS"], row["ACC_TRD_STATUS"], row["E_ACC_TRD_STATUS"]) == (8, 1, 1)


def _assert_reversed(scene: Scene, before: Production, number: str) -> None:
    after = Production.read(scene.demo.world, GROUP)
    assert [one for one in after.payouts if one.startswith(number)] == []
    [row] = [row for row in after.rows.values() if row["TRD_NUM"] == number]
    assert (row["TRD_STATUS"], row["ACC_TRD_NUM"], row["E_ACC_TRD_NUM"]) == (9, None, None)
    debited = [entry for entry in before.entries_of(number) if entry["KIND"] == "withdraw"]
    account, amount = row["ACC_NO"], row["AMOUNT"]
    assert len(after.entries_of(number)) == 2 * len(debited)
    assert after.balances[account] == before.balances[account] + amount
