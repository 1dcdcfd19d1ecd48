"""Broadcasts, collection runs and recurring collections as pages."""

import re

import pytest
from flask import Flask

from app.agents.models import Agent, Command
from app.anomalies.models import CollectionRun
from app.audit.models import AuditEntry
from app.extensions import db
from app.plans.models import CollectionSchedule
from app.unit_of_work import unit_of_work
from app.users import groups as groups_service
from app.users.models import SystemGroup
from tests.app.visitor import Visitor, visitor_of
from tests.factories import FIXER, make_agent, make_group

BROADCAST = {"groups": ["PBAP"], "codes": [FIXER], "window": "24", "reason": "日终检查"}
SCHEDULE = {"cron": "0 0/10 * * * ?", "zone": "Asia/Shanghai", "window_hours": "24", "is_enabled": "on"}


@pytest.fixture
def groups(app: Flask) -> None:
    with unit_of_work() as session:
        make_agent(session, make_group(session), name="pbap-1")
        make_group(session, "PBMS")


@pytest.fixture
def operator(app: Flask, groups: None) -> Visitor:
    return visitor_of(app, "li.na", "operator", groups=["PBAP"])


def runs() -> list[CollectionRun]:
    db.session.expire_all()
    return list(db.session.scalars(db.select(CollectionRun)).unique())


def test_a_broadcast_starts_a_run_and_commands_the_agents_online(operator: Visitor) -> None:
    answer = operator.post("/collections/new", BROADCAST)
    (run,) = runs()
    assert answer.location == f"/collections/{run.id}"
    assert (run.state, run.trigger, run.reason, run.requested_by) == ("running", "click", "日终检查", "li.na")
    assert (run.window_end - run.window_start).days == 1
    assert db.session.scalars(db.select(Command.type)).all() == ["Collect"]


def test_each_group_is_asked_for_what_its_own_agents_offer(app: Flask, groups: None) -> None:
    with unit_of_work() as session:
        pbms = groups_service.find_group(session, "PBMS")
        assert pbms is not None
        make_agent(session, pbms, name="pbms-1", codes=(FIXER, "ownFixer"))
    operator = visitor_of(app, "wang.wu", "operator", groups=["PBAP", "PBMS"])
    asked = {"groups": ["PBAP", "PBMS"], "codes": [FIXER, "ownFixer"]}
    assert operator.post("/collections/new", BROADCAST | asked).status_code == 303
    assert {run.group.sys_code: run.fixer_codes for run in runs()} == {
        "PBAP": [FIXER],
        "PBMS": [FIXER, "ownFixer"],
    }
    answer = operator.post("/collections/new", BROADCAST | {"codes": ["ownFixer"]})
    assert answer.status_code == 400
    answer = operator.post("/collections/new", BROADCAST | asked | {"codes": ["ownFixer"]})
    assert (answer.status_code, "PBAP 的客户端不支持所选的修复代号" in answer.text) == (400, True)


def test_a_disabled_group_is_not_offered(app: Flask, operator: Visitor) -> None:
    assert 'value="PBAP"' in operator.get("/collections/new").text
    with unit_of_work() as session:
        group = groups_service.find_group(session, "PBAP")
        assert group is not None
        group.is_enabled = False
    assert 'value="PBAP"' not in operator.get("/collections/new").text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"groups": []}, "groups-error"),
        ({"groups": ["PBMS"]}, "groups-error"),
        ({"codes": []}, "codes-error"),
        ({"window": "custom"}, "start-error"),
        ({"window": "x"}, "window-error"),
        ({"window": ""}, "window-error"),
        ({"window": "custom", "start": "2199-03-01T10:00", "end": "2199-03-02T10:00"}, "start-error"),
        ({"window": "custom", "start": "2026-03-01T10:00"}, "end-error"),
        ({"window": "custom", "start": "yesterday", "end": "2026-03-01T10:00"}, "start-error"),
        ({"window": "custom", "start": "2026-03-02T10:00", "end": "2026-03-01T10:00"}, "window-error"),
        ({"reason": "x" * 501}, "reason-error"),
    ],
)
def test_a_wrong_broadcast_is_told_at_its_field_and_kept(
    operator: Visitor, change: dict[str, object], field: str
) -> None:
    answer = operator.post("/collections/new", {**BROADCAST, **change})  # type: ignore[dict-item]
    assert answer.status_code == 400
    assert f'id="{field}"' in answer.text
    assert runs() == []
    assert str({**BROADCAST, **change}["reason"]) in answer.text


def test_every_wrong_field_of_a_broadcast_is_told_at_once(operator: Visitor) -> None:
    wrong = {"groups": [], "codes": [], "window": "custom", "start": "", "end": "never", "reason": "长" * 501}
    answer = operator.post("/collections/new", {**BROADCAST, **wrong})
    assert answer.status_code == 400
    for field in ("groups", "codes", "start", "end", "reason"):
        assert f'id="{field}-error"' in answer.text
    assert runs() == []


def test_the_only_group_a_person_sees_is_ticked(app: Flask, operator: Visitor) -> None:
    ticked = re.compile(r'name="groups" value="(\w+)" checked')
    assert ticked.findall(operator.get("/collections/new").text) == ["PBAP"]
    of_both = visitor_of(app, "zhao.si", "operator", groups=["PBAP", "PBMS"])
    assert ticked.findall(of_both.get("/collections/new").text) == []


def test_a_disabled_group_is_not_collected_and_the_form_says_so(operator: Visitor) -> None:
    with unit_of_work() as session:
        session.scalars(db.select(SystemGroup).where(SystemGroup.sys_code == "PBAP")).one().is_enabled = False
    answer = operator.post("/collections/new", BROADCAST)
    assert answer.status_code == 400
    assert "系统组别 PBAP 已停用；管理员启用之后才能执行。" in answer.text


def test_a_viewer_reads_runs_of_their_groups_and_starts_none(app: Flask, operator: Visitor) -> None:
    operator.post("/collections/new", BROADCAST)
    viewer = visitor_of(app, "wang.wu", "viewer", groups=["PBAP"])
    stranger = visitor_of(app, "zhao.si", "viewer", groups=["PBMS"])
    (run,) = runs()
    assert viewer.get(f"/collections/{run.id}").status_code == 200
    assert viewer.get("/collections/new").status_code == 403
    assert viewer.post(f"/collections/{run.id}/cancel").status_code == 403
    assert stranger.get(f"/collections/{run.id}").status_code == 404
    assert f'id="run-{run.id}"' not in stranger.get("/collections").text


def test_the_list_narrows_by_state_and_group(app: Flask, operator: Visitor) -> None:
    operator.post("/collections/new", BROADCAST)
    (run,) = runs()
    row = f'id="run-{run.id}"'
    assert row in operator.get("/collections?state=running&group=PBAP", target="collections-table").text
    assert row not in operator.get("/collections?state=finished", target="collections-table").text
    boss = visitor_of(app, "boss", "admin")
    assert row not in boss.get("/collections?group=PBMS", target="collections-table").text
    assert operator.get("/collections?start=never").status_code == 400


def test_a_cancelled_run_cancels_its_commands(operator: Visitor) -> None:
    operator.post("/collections/new", BROADCAST)
    (run,) = runs()
    unexplained = operator.post(f"/collections/{run.id}/cancel")
    assert unexplained.status_code == 400
    assert 'id="reason-error"' in unexplained.text
    assert operator.post(f"/collections/{run.id}/cancel", {"reason": "误发"}).status_code == 303
    assert runs()[0].state == "cancelled"
    assert db.session.scalars(db.select(Command.state)).all() == ["cancelled"]
    assert operator.post(f"/collections/{run.id}/cancel", {"reason": "误发"}).status_code == 409


def test_a_run_is_started_again_over_the_same_span(operator: Visitor) -> None:
    operator.post("/collections/new", BROADCAST)
    (first,) = runs()
    operator.post(f"/collections/{first.id}/again")
    again = runs()[-1]
    assert again.again_of == first.id
    assert again.window_end - again.window_start == first.window_end - first.window_start


def test_a_recurring_collection_is_kept_and_due(operator: Visitor) -> None:
    assert operator.post("/collections/schedules/PBAP", SCHEDULE).status_code == 303
    schedule = db.session.scalars(db.select(CollectionSchedule)).unique().one()
    assert (schedule.cron, schedule.window_hours, schedule.is_enabled) == ("0 0/10 * * * ?", 24, True)
    assert schedule.next_due_at is not None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"cron": "61 * * * * ?"}, "cron"),
        ({"window_hours": "many"}, "window_hours"),
        ({"zone": "Moon"}, "zone"),
    ],
)
def test_a_wrong_recurring_collection_is_told_at_its_field(
    operator: Visitor, change: dict[str, str], field: str
) -> None:
    values = {"cron": "0 0/10 * * * ?", "zone": "Asia/Shanghai", "window_hours": "24", **change}
    answer = operator.post("/collections/schedules/PBAP", values)
    assert answer.status_code == 400
    assert f'id="{field}-error"' in answer.text
    assert f'value="{change[field]}"' in answer.text


def stored_schedule() -> CollectionSchedule | None:
    db.session.expire_all()
    return db.session.scalars(db.select(CollectionSchedule)).unique().one_or_none()


def test_a_code_nobody_offers_is_told_at_the_codes_and_stays_ticked(operator: Visitor) -> None:
    answer = operator.post("/collections/schedules/PBAP", {**SCHEDULE, "codes": ["nope", FIXER]})
    assert answer.status_code == 400
    assert 'id="codes-error"' in answer.text
    assert "没有修复代号 nope" in answer.text
    assert 'value="nope" checked' in answer.text
    assert stored_schedule() is None


def test_a_stored_code_that_nobody_offers_now_is_shown_and_may_stay(operator: Visitor) -> None:
    with unit_of_work() as session:
        session.scalars(db.select(Agent)).one().fixer_codes = [FIXER, "ownFixer"]
    operator.post("/collections/schedules/PBAP", {**SCHEDULE, "codes": ["ownFixer", FIXER]})
    with unit_of_work() as session:
        session.scalars(db.select(Agent)).one().fixer_codes = [FIXER]
    page = operator.get("/collections/schedules/PBAP").text
    assert 'value="ownFixer" checked' in page
    assert page.count("当前没有客户端提供") == 1
    kept = operator.post("/collections/schedules/PBAP", {**SCHEDULE, "codes": ["ownFixer"]})
    assert kept.status_code == 303


def test_saving_leaves_the_first_collection_as_it_was(operator: Visitor) -> None:
    operator.post("/collections/schedules/PBAP", SCHEDULE)
    with unit_of_work() as session:
        session.scalars(db.select(CollectionSchedule)).unique().one().runs_on_first_connect = True
    operator.post("/collections/schedules/PBAP", {**SCHEDULE, "window_hours": "48"})
    kept = stored_schedule()
    assert kept is not None
    assert (kept.window_hours, kept.runs_on_first_connect) == (48, True)


@pytest.mark.parametrize("is_new", [True, False])
def test_a_recurring_collection_changed_in_another_tab_is_not_overwritten(
    operator: Visitor, is_new: bool
) -> None:
    address = "/collections/schedules/PBAP"
    if not is_new:
        operator.post(address, SCHEDULE)
    tabs = [{**SCHEDULE, "seen": operator.hidden(address)["seen"]} for _ in range(2)]
    assert operator.post(address, {**tabs[0], "window_hours": "48"}).status_code == 303
    answer = operator.post(address, {**tabs[1], "window_hours": "72"})
    assert (answer.status_code, "有人改过或删除了这个定时收集" in answer.text) == (409, True)
    assert 'value="72"' in answer.text
    kept = stored_schedule()
    assert kept is not None
    assert kept.window_hours == 48


def test_a_recurring_collection_deleted_in_another_tab_does_not_come_back(operator: Visitor) -> None:
    address = "/collections/schedules/PBAP"
    operator.post(address, SCHEDULE)
    seen = operator.hidden(address)["seen"]
    operator.post(f"{address}/delete", {"reason": "系统下线"})
    assert operator.post(address, {**SCHEDULE, "seen": seen}).status_code == 409
    assert stored_schedule() is None


def test_a_recurring_collection_is_deleted_for_a_reason(operator: Visitor) -> None:
    delete = "/collections/schedules/PBAP/delete"
    assert operator.get(delete).status_code == 404
    assert delete not in operator.get("/collections/schedules/PBAP").text
    operator.post("/collections/schedules/PBAP", SCHEDULE)
    assert delete in operator.get("/collections/schedules/PBAP").text
    assert operator.get(delete).status_code == 200
    unexplained = operator.post(delete)
    assert unexplained.status_code == 400
    assert 'id="reason-error"' in unexplained.text
    assert stored_schedule() is not None
    assert operator.post(delete, {"reason": "系统下线"}).status_code == 303
    assert stored_schedule() is None
    last = db.session.scalars(db.select(AuditEntry).order_by(AuditEntry.id.desc())).first()
    assert last is not None
    assert (last.action, last.object_name, last.reason) == ("schedule.delete", "PBAP", "系统下线")


def test_the_recurring_collection_of_a_group_not_to_be_seen_is_not_found(operator: Visitor) -> None:
    assert operator.get("/collections/schedules/PBMS").status_code == 404
    assert operator.post("/collections/schedules/PBMS", {"cron": "0 0/10 * * * ?"}).status_code == 404
    assert operator.post("/collections/schedules/PBMS/delete", {"reason": "系统下线"}).status_code == 404


def test_of_many_agents_the_first_are_shown_online_ones_before_others(app: Flask, operator: Visitor) -> None:
    with unit_of_work() as session:
        group = groups_service.find_group(session, "PBAP")
        assert group is not None
        for number in range(2, 9):
            make_agent(session, group, name=f"pbap-{number}", is_online=number % 2 == 0)
    page = operator.get("/collections/fleet").text
    named = [number for number in range(1, 9) if f"pbap-{number}" in page]
    assert named == [1, 2, 4, 6, 8]
    assert "5 台在线，共 8 台" in page
    assert 'href="/agents?group=PBAP"' in page


@pytest.mark.parametrize(
    ("path", "mark"), [("/collections/fleet", "fleet-group"), ("/collections/schedules", "fleet-group")]
)
def test_groups_beside_the_form_are_read_page_by_page(app: Flask, groups: None, path: str, mark: str) -> None:
    with unit_of_work() as session:
        for number in range(43):
            make_group(session, f"SYS{number:02d}")
    boss = visitor_of(app, "boss", "admin")
    for count in (20, 20, 5):
        page = boss.get(path).text
        assert page.count(f'class="{mark}"') == count
        following = re.search(r'rel="next" href="([^"]+)"', page)
        path = following[1] if following else ""
    assert path == ""
    assert boss.get("/collections/new").text.count(f'class="{mark}"') == 40


def test_the_tasks_of_a_wide_run_are_read_page_by_page(app: Flask, operator: Visitor) -> None:
    with unit_of_work() as session:
        group = groups_service.find_group(session, "PBAP")
        assert group is not None
        for number in range(70):
            make_agent(session, group, name=f"wide-{number}")
    operator.post("/collections/new", BROADCAST)
    first = operator.get(f"/collections/{runs()[0].id}").text
    following = re.search(r'rel="next" href="([^"]+)"', first)
    assert following
    second = operator.get(following[1]).text
    shards = [int(one) for page in (first, second) for one in re.findall(r"分片 (\d+)/71", page)]
    assert shards == list(range(1, 72))
