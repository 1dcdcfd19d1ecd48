"""The figures of home."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.anomalies.models import OPEN_STATES
from app.anomalies.states import count
from app.executions import exceptions
from app.monitor import home
from app.monitor.charts import short_amount, spark
from app.monitor.fleet import first_steps, fleet
from app.monitor.latest import latest_attempts
from app.monitor.open_anomalies import count_for_person, open_figures
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.monitor.rows import keep_count, make_attempt
from tests.factories import FIXER, NOW, make_agent, make_anomaly, make_group, make_plan

HEARTBEAT = timedelta(seconds=10)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


def test_open_anomalies_are_summed_by_state_group_and_fixer(session: WorkSession, group: SystemGroup) -> None:
    other = make_group(session, "PBMS")
    make_anomaly(session, group, amount_minor=500)
    make_anomaly(session, group, amount_minor=None, state="needs_human", fixer_code=None, kind="withdraw")
    make_anomaly(session, group, amount_minor=900, state="repaired", closed_at=NOW)
    make_anomaly(session, other, amount_minor=100)
    figures = open_figures(session, None)
    assert (figures.count, figures.amount_minor) == (3, 600)
    assert (figures.human, figures.manual, figures.exhausted, figures.waiting) == (3, 0, 0, 0)
    assert [(one.name, one.count, one.percent) for one in figures.by_fixer] == [(FIXER, 2, 67), ("", 1, 33)]
    assert [(one.name, one.recharges, one.withdrawals) for one in figures.by_group] == [
        ("PBAP", 1, 1),
        ("PBMS", 1, 0),
    ]
    assert open_figures(session, [other.id]).amount_minor == 100


@pytest.mark.parametrize("plan", [None, {"mode": "auto"}, {"mode": "manual"}, {"state": "disabled"}])
def test_home_and_the_tab_of_exceptions_count_the_same_for_a_person(
    session: WorkSession, group: SystemGroup, plan: dict[str, str] | None
) -> None:
    if plan is not None:
        make_plan(session, group, **plan)
    for state in OPEN_STATES:
        make_anomaly(session, group, state=state)
    assert open_figures(session, None).human == exceptions.count_tabs(session, None).human


@pytest.mark.parametrize(
    ("state", "plan", "is_for_person"),
    [
        ("open", {"mode": "auto"}, False),
        ("open", {"mode": "manual"}, True),
        ("open", {"mode": "manual", "is_shadow": True}, False),
        ("exhausted", {"mode": "manual", "is_shadow": True}, True),
        ("open", {"state": "disabled"}, True),
        ("open", None, True),
        ("repairing", None, False),
        ("waiting", {"mode": "manual"}, False),
        ("waiting", None, True),
        ("exhausted", {"mode": "auto"}, True),
        ("needs_human", {"mode": "auto"}, True),
    ],
)
def test_what_no_automatic_plan_goes_on_with_waits_for_a_person(
    session: WorkSession, group: SystemGroup, state: str, plan: dict[str, Any] | None, is_for_person: bool
) -> None:
    if plan is not None:
        make_plan(session, group, **plan)
    make_anomaly(session, group, state=state)
    assert count_for_person(session, None) == int(is_for_person)
    assert open_figures(session, [group.id]).for_person == int(is_for_person)


def test_today_begins_at_the_readers_midnight() -> None:
    assert home.midnight(datetime(2026, 3, 2, 15, 59, tzinfo=UTC), "Asia/Shanghai") == datetime(
        2026, 3, 1, 16, tzinfo=UTC
    )


def test_today_counts_both_resolutions_apart(session: WorkSession, group: SystemGroup) -> None:
    keep_count(session, group, "repaired", 3, amount_minor=700)
    keep_count(session, group, "confirmed_failed", 1, amount_minor=50)
    keep_count(session, group, "repaired", 9, at=NOW - timedelta(days=1))
    keep_count(session, group, "attempt_repaired", 3)
    keep_count(session, group, "attempt_failed", 1)
    keep_count(session, group, "attempt_unknown", 5)
    today = home.today(session, None, NOW - timedelta(hours=6))
    assert (today.repaired, today.confirmed_failed, today.amount_minor) == (3, 1, 750)
    assert today.success_percent == 75.0
    assert home.today(session, [group.id + 1], NOW).success_percent is None


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "Asia/Kolkata", "Asia/Kathmandu"])
def test_today_begins_at_the_midnight_of_any_zone(
    session: WorkSession, group: SystemGroup, zone: str
) -> None:
    since = home.midnight(NOW, zone)
    for minutes, repaired in ((-1, 5), (0, 1), (14, 2)):
        count(
            session, group.id, "repaired", (since + timedelta(minutes=minutes)).astimezone(UTC), by=repaired
        )
    assert home.today(session, None, since).repaired == 3


def test_an_hour_of_the_trend_is_all_of_its_quarters(session: WorkSession, group: SystemGroup) -> None:
    for minutes in (0, 15, 45):
        count(session, group.id, "new", NOW + timedelta(minutes=minutes), amount_minor=100)
    trend = home.trend(session, None, NOW + timedelta(minutes=50), 2)
    assert (trend.found, trend.found_amount_minor) == ([0, 3], [0, 300])


def test_repair_time_is_from_first_sight_to_repaired(session: WorkSession, group: SystemGroup) -> None:
    for seconds in (10, 50):
        closed = {"state": "repaired", "closed_at": NOW, "first_seen_at": NOW - timedelta(seconds=seconds)}
        make_anomaly(session, group, **closed)
    make_anomaly(session, group, state="healed", closed_at=NOW, first_seen_at=NOW - timedelta(days=2))
    found = home.repair_time(session, None, NOW - timedelta(hours=1))
    assert (found.mean, found.p95, found.sample) == (30.0, 50.0, 2)
    assert home.repair_time(session, [], NOW).mean is None


@pytest.mark.parametrize(("repairs", "p95"), [(1, 1.0), (3, 3.0), (20, 19.0), (21, 20.0)])
def test_ninety_five_of_a_hundred_repairs_took_no_longer(
    session: WorkSession, group: SystemGroup, repairs: int, p95: float
) -> None:
    for seconds in range(1, repairs + 1):
        closed = {"state": "repaired", "closed_at": NOW, "first_seen_at": NOW - timedelta(seconds=seconds)}
        make_anomaly(session, group, **closed)
    assert home.repair_time(session, None, NOW - timedelta(hours=1)).p95 == p95


def test_the_trend_has_every_hour_also_without_counts(session: WorkSession, group: SystemGroup) -> None:
    keep_count(session, group, "new", 5, at=NOW - timedelta(hours=2), amount_minor=40)
    keep_count(session, group, "repaired", 2)
    keep_count(session, group, "confirmed_failed", 1)
    keep_count(session, group, "needs_human", 4)
    trend = home.trend(session, None, NOW + timedelta(minutes=20), 3)
    assert trend.hours == [NOW - timedelta(hours=2), NOW - timedelta(hours=1), NOW]
    assert (trend.found, trend.repaired, trend.for_person) == ([5, 0, 0], [0, 0, 3], [0, 0, 4])
    assert trend.found_amount_minor == [40, 0, 0]


def test_urgent_lists_what_waits_for_a_person_newest_first(session: WorkSession, group: SystemGroup) -> None:
    other = make_group(session, "PBMS")
    first = make_anomaly(session, group, state="needs_human", reason="mismatch")
    make_anomaly(session, group)
    last = make_anomaly(session, other, state="exhausted")
    assert [one.id for one in home.list_urgent(session, None)] == [last.id, first.id]
    assert [one.reason for one in home.list_urgent(session, [group.id])] == ["mismatch"]


def test_home_lists_the_newest_of_however_many_groups(session: WorkSession) -> None:
    made = [make_group(session, f"G{number}") for number in range(600)]
    urgent = [make_anomaly(session, group, state="needs_human").id for group in (made[0], made[-1])]
    attempts = [make_attempt(session, make_anomaly(session, group)).id for group in (made[0], made[-1])]
    seen = [group.id for group in made]
    for groups in (None, seen):
        assert [one.id for one in home.list_urgent(session, groups)] == urgent[::-1]
        assert [one.id for one in latest_attempts(session, groups)] == attempts[::-1]


def test_agents_are_counted_by_presence_absent_ones_first(session: WorkSession, group: SystemGroup) -> None:
    make_agent(session, group, name="a-online")
    make_agent(session, group, name="b-stale", seen_at=NOW - timedelta(seconds=26))
    make_agent(session, group, name="c-offline", is_online=False)
    make_agent(session, group, name="d-revoked", revoked_at=NOW)
    found = fleet(session, None, NOW, HEARTBEAT)
    assert (found.online, found.stale, found.offline, found.total) == (1, 1, 1, 3)
    assert found.squares == [("b-stale", "stale"), ("c-offline", "offline"), ("a-online", "online")]
    assert fleet(session, [group.id + 1], NOW, HEARTBEAT).total == 0


def test_first_steps_are_ticked_one_by_one(session: WorkSession, group: SystemGroup) -> None:
    assert not first_steps(session, None).has_agent
    make_agent(session, group)
    make_plan(session, group)
    steps = first_steps(session, None)
    assert (steps.has_agent, steps.has_connected, steps.has_plan, steps.has_run) == (True, True, True, False)
    assert not steps.is_done


def test_latest_attempts_are_newest_first_in_visible_groups(session: WorkSession, group: SystemGroup) -> None:
    other = make_group(session, "PBMS")
    first = make_attempt(session, make_anomaly(session, group), outcome="failed")
    last = make_attempt(session, make_anomaly(session, other), outcome="repaired", is_confirmed_failed=True)
    assert [one.id for one in latest_attempts(session, None)] == [last.id, first.id]
    assert [one.sys_code for one in latest_attempts(session, [group.id])] == ["PBAP"]
    assert latest_attempts(session, []) == []


@pytest.mark.parametrize(
    ("minor", "language", "words"),
    [
        (99_99, "zh", ("99.99", "")),
        (231_800_000, "zh", ("231.8", "万")),
        (2_318_000_000_000, "zh", ("231.8", "亿")),
        (231_800_000, "en", ("2.3", "M")),
    ],
)
def test_an_amount_fits_a_card(minor: int, language: str, words: tuple[str, str]) -> None:
    assert short_amount(minor, language) == words


def test_a_sparkline_needs_something_to_show() -> None:
    assert spark([0, 0, 0]) is None
    shape = spark([0, 2])
    assert shape is not None
    assert shape.line == "M0.0 29.0L78.0 1.0"
