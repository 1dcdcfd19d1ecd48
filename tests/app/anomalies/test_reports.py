"""What a repeated report changes, and what it leaves."""

from datetime import timedelta

import pytest
from sqlalchemy import func, select

from app.anomalies import collecting, reports
from app.anomalies.collections import start_run
from app.anomalies.models import Anomaly, AnomalyEvent, CollectionTask, QuarterCount
from app.anomalies.service import ignore, order_verifies, order_verify, verify
from app.anomalies.states import ALLOWED, change_state
from app.audit.models import AuditEntry
from app.audit.service import SYSTEM
from app.errors import ConflictError, InvalidError
from app.executions import times_ahead
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import FIXER, NOW, PERSON, chunk, make_agent, make_anomaly, make_group, reported, row_of

pytestmark = pytest.mark.each_engine

OTHER_FIXER = "rechargeTimeoutFixServiceImpl"
LATER = NOW + timedelta(minutes=1)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


@pytest.fixture
def task(session: WorkSession, group: SystemGroup) -> CollectionTask:
    make_agent(session, group)
    run = start_run(
        session,
        group=group,
        codes=[FIXER],
        window=(NOW - timedelta(days=7), NOW),
        trigger="click",
        actor=PERSON,
        reason="",
        now=NOW,
    )
    return run.tasks[0]


def anomalies_of(session: WorkSession, trade_no: str) -> list[Anomaly]:
    session.flush()
    session.expire_all()
    return list(
        session.scalars(select(Anomaly).where(Anomaly.trade_no == trade_no).order_by(Anomaly.id)).unique()
    )


def test_a_row_that_fits_no_column_is_kept_cut_and_ends_no_report(
    session: WorkSession, task: CollectionTask
) -> None:
    odd = reported(
        "T", channel="C" * 90, kind="k" * 40, reason="a\0b", row_changed_at="0001-01-01T00:00:00+14:00"
    )
    assert reports.take_rows(session, task, [odd, reported("U")], LATER) == 2
    (anomaly,) = anomalies_of(session, "T")
    assert (anomaly.channel, anomaly.kind, anomaly.reason) == ("C" * 32, "k" * 16, "ab")
    assert anomaly.row_changed_at is None


@pytest.mark.parametrize(
    ("outcome", "state"), [("repair", "open"), ("wait", "waiting"), ("human", "needs_human")]
)
def test_a_new_report_takes_the_state_of_its_decision(
    session: WorkSession, task: CollectionTask, outcome: str, state: str
) -> None:
    assert reports.take_rows(session, task, [reported("T", outcome=outcome, reason="bank")], LATER) == 1
    (anomaly,) = anomalies_of(session, "T")
    assert (anomaly.state, anomaly.reason, anomaly.first_seen_at) == (state, "bank", LATER)
    assert anomaly.facts is not None
    assert anomaly.facts["bank"]["state"] == "SUCCESS"
    event = session.scalars(select(AnomalyEvent)).one()
    assert (event.from_state, event.to_state, event.code) == (None, state, "reported")


@pytest.mark.parametrize(
    ("before", "columns", "outcome", "state"),
    [
        ("open", {}, "repair", "open"),
        ("open", {}, "wait", "waiting"),
        ("open", {}, "human", "needs_human"),
        ("waiting", {}, "repair", "open"),
        ("waiting", {}, "human", "needs_human"),
        ("repairing", {}, "human", "repairing"),
        ("exhausted", {}, "repair", "exhausted"),
        ("exhausted", {}, "human", "needs_human"),
        ("needs_human", {"outcome": "human"}, "repair", "open"),
        ("needs_human", {"outcome": "repair"}, "repair", "needs_human"),
        ("needs_human", {"outcome": "human", "has_moved_money": True}, "repair", "needs_human"),
    ],
)
def test_a_repeated_report_moves_the_anomaly_only_where_it_may(
    session: WorkSession,
    group: SystemGroup,
    task: CollectionTask,
    before: str,
    columns: dict[str, object],
    outcome: str,
    state: str,
) -> None:
    make_anomaly(session, group, trade_no="T", state=before, **columns)
    assert reports.take_rows(session, task, [reported("T", outcome=outcome)], LATER) == 0
    (anomaly,) = anomalies_of(session, "T")
    assert anomaly.state == state


def test_a_repeated_report_updates_facts_and_never_resets_attempts(
    session: WorkSession, group: SystemGroup, task: CollectionTask
) -> None:
    make_anomaly(session, group, trade_no="T", failed_attempts=2, attempts=3)
    reports.take_rows(
        session, task, [reported("T", row_hash="hash-9", fixer_code=OTHER_FIXER, amount_minor=7)], LATER
    )
    (anomaly,) = anomalies_of(session, "T")
    assert (anomaly.row_hash, anomaly.amount_minor, anomaly.last_seen_at) == ("hash-9", 7, LATER)
    assert (anomaly.failed_attempts, anomaly.attempts, anomaly.times_seen) == (2, 3, 2)
    assert anomaly.fixer_code == OTHER_FIXER


@pytest.mark.parametrize("state", ["repairing", "exhausted", "needs_human"])
def test_the_fixer_changes_only_while_open_or_waiting(
    session: WorkSession, group: SystemGroup, task: CollectionTask, state: str
) -> None:
    make_anomaly(session, group, trade_no="T", state=state)
    reports.take_rows(session, task, [reported("T", fixer_code=OTHER_FIXER)], LATER)
    (anomaly,) = anomalies_of(session, "T")
    assert anomaly.fixer_code == FIXER


@pytest.mark.parametrize(("row_hash", "count"), [("hash-1", 1), ("hash-2", 2)])
def test_ignored_holds_while_the_row_is_unchanged(
    session: WorkSession, group: SystemGroup, task: CollectionTask, row_hash: str, count: int
) -> None:
    anomaly = make_anomaly(session, group, trade_no="T")
    ignore(session, anomaly.id, reason="known", actor=PERSON, group_ids=None, now=NOW)
    reports.take_rows(session, task, [reported("T", row_hash=row_hash)], LATER)
    assert [one.state for one in anomalies_of(session, "T")] == ["ignored", "open"][:count]


@pytest.mark.parametrize(("closed_at", "count"), [(NOW - timedelta(hours=1), 2), (LATER, 1)])
def test_a_report_older_than_the_repair_opens_nothing(
    session: WorkSession, group: SystemGroup, task: CollectionTask, closed_at: object, count: int
) -> None:
    make_anomaly(session, group, trade_no="T", state="repaired", closed_at=closed_at)
    reports.take_rows(session, task, [reported("T")], LATER)
    assert len(anomalies_of(session, "T")) == count


def test_a_trade_closed_by_a_clock_ahead_is_listed_again_once_the_clock_is_put_back(
    session: WorkSession, group: SystemGroup, task: CollectionTask
) -> None:
    make_anomaly(session, group, trade_no="T", state="repaired", closed_at=NOW + timedelta(days=30))
    before = NOW - timedelta(minutes=1)
    assert times_ahead.has_any(session, before)
    times_ahead.bring_back(session, before)
    assert not times_ahead.has_any(session, before)
    reports.take_rows(session, task, [reported("T")], LATER)
    assert [one.state for one in anomalies_of(session, "T")] == ["repaired", "open"]


def test_a_row_that_makes_no_sense_is_for_a_person(session: WorkSession, task: CollectionTask) -> None:
    trade = reported(
        "", kind=None, amount_minor=None, fixer_code=None, outcome="human", reason="malformed", facts=None
    )
    collecting.record_anomalies(session, task.agent, chunk(task, 0, trade), LATER)
    (anomaly,) = anomalies_of(session, f"TRD_ID {trade.trade_id}")
    with pytest.raises(ConflictError, match="no_trade_number"):
        order_verify(session, anomaly, LATER)
    assert order_verifies(session, [anomaly], LATER) == 0
    assert (anomaly.state, anomaly.fixer_code, anomaly.reason) == ("needs_human", None, "malformed")


@pytest.mark.parametrize("number", ["", "  ", "9" * 80, "9" * 79 + "\0"])
def test_rows_whose_number_no_column_holds_are_not_taken_for_one(
    session: WorkSession, task: CollectionTask, number: str
) -> None:
    trades = [reported(number + end * bool(number.strip()), fixer_code=None, outcome="human") for end in "ab"]
    assert reports.take_rows(session, task, trades, LATER) == 2
    assert reports.take_rows(session, task, trades, LATER) == 0


def test_an_id_that_no_column_holds_stays_in_the_row(session: WorkSession, task: CollectionTask) -> None:
    trade = reported("T", trade_id=2**63, row=row_of("T", 2**63), currency="人民币元")
    collecting.record_anomalies(session, task.agent, chunk(task, 0, trade), LATER)
    (anomaly,) = anomalies_of(session, "T")
    assert (anomaly.trade_id, anomaly.row["TRD_ID"], anomaly.currency) == (0, 2**63, "")


@pytest.mark.parametrize(
    "fields",
    [
        {"row": {"TRD_NUM": "T"}},
        {"row": row_of("T", 1) | {"AMOUNT": 5}},
        {"row": row_of("other", 1)},
        {"row": row_of("T", 1) | {"TRD_NUM": None}},
        {"fixer_code": None},
        {"trade_no": "9" * 80, "row": row_of("9" * 80, 1)},
        {"row_changed_at": "2026-13-01T00:00:00Z"},
        {"row_changed_at": "2026-03-01T00:00:00"},
    ],
)
def test_a_report_that_the_protocol_forbids_is_refused_as_a_whole(
    session: WorkSession, task: CollectionTask, fields: dict[str, object]
) -> None:
    message = chunk(task, 0, reported("U"), reported(**({"trade_no": "T"} | fields)))
    with pytest.raises(InvalidError) as refused:
        collecting.record_anomalies(session, task.agent, message, LATER)
    assert (refused.value.code, task.chunks) == ("malformed", 0)
    assert session.scalars(select(Anomaly)).unique().all() == []


@pytest.mark.parametrize(
    "fields", [{"row": {}}, {"row": row_of("T", 1) | {"TRD_NUM": "T   "}}, {"row_changed_at": None}]
)
def test_what_our_own_agent_reports_is_taken(
    session: WorkSession, task: CollectionTask, fields: dict[str, object]
) -> None:
    collecting.record_anomalies(session, task.agent, chunk(task, 0, reported("T", **fields)), LATER)
    assert len(anomalies_of(session, "T")) == 1


def test_new_anomalies_are_counted_by_the_quarter_of_an_hour(
    session: WorkSession, task: CollectionTask
) -> None:
    agent = task.agent
    for number in range(2):
        message = chunk(task, number, *(reported(f"T{number}{index}") for index in range(3)))
        collecting.record_anomalies(session, agent, message, LATER)
    session.flush()
    row = session.scalars(select(QuarterCount)).one()
    assert (row.name, row.count, row.amount_minor, row.quarter) == ("new", 6, 60_000, NOW)


def test_a_large_report_is_taken_chunk_by_chunk(session: WorkSession, task: CollectionTask) -> None:
    for number in range(20):
        trades = [reported(f"T{number:03d}{index:03d}") for index in range(100)]
        collecting.record_anomalies(session, task.agent, chunk(task, number, *trades), LATER)
    assert session.execute(select(func.count(Anomaly.id))).scalar_one() == 2_000
    assert (task.chunks, task.rows, task.new_anomalies) == (20, 2_000, 2_000)


def test_every_transition_that_is_not_allowed_is_refused(session: WorkSession, group: SystemGroup) -> None:
    for before, allowed in ALLOWED.items():
        for to in ALLOWED.keys() - allowed - {before}:
            anomaly = make_anomaly(session, group, state=before)
            with pytest.raises(ConflictError):
                change_state(session, anomaly, to, code="test", reason="", actor=SYSTEM, now=NOW)
            assert anomaly.state == before


def test_ignoring_takes_a_reason_and_is_audited(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group)
    with pytest.raises(InvalidError):
        ignore(session, anomaly.id, reason=" ", actor=PERSON, group_ids=None, now=NOW)
    ignore(session, anomaly.id, reason="settled by hand", actor=PERSON, group_ids=None, now=NOW)
    session.flush()
    entry = session.scalars(select(AuditEntry)).one()
    assert (anomaly.state, anomaly.closed_at) == ("ignored", NOW)
    assert (entry.action, entry.reason, entry.sys_code) == ("anomaly.ignore", "settled by hand", "PBAP")


@pytest.mark.parametrize("state", ["open", "waiting"])
def test_money_on_its_way_is_not_ignored(session: WorkSession, group: SystemGroup, state: str) -> None:
    anomaly = make_anomaly(session, group, state=state, has_moved_money=True)
    with pytest.raises(ConflictError) as refused:
        ignore(session, anomaly.id, reason="known", actor=PERSON, group_ids=None, now=NOW)
    assert (refused.value.code, anomaly.state) == ("money_begun", state)


def test_a_person_who_was_asked_may_close_a_repair_half_done(
    session: WorkSession, group: SystemGroup
) -> None:
    anomaly = make_anomaly(session, group, state="needs_human", has_moved_money=True)
    ignore(session, anomaly.id, reason="settled by hand", actor=PERSON, group_ids=None, now=NOW)
    assert anomaly.state == "ignored"


def test_a_person_orders_fresh_facts_once_at_a_time(session: WorkSession, group: SystemGroup) -> None:
    anomaly = make_anomaly(session, group)
    command = verify(session, anomaly.id, reason="bank called", actor=PERSON, group_ids=None, now=NOW)
    assert (command.type, command.trade_no) == ("Verify", anomaly.trade_no)
    with pytest.raises(ConflictError) as refused:
        verify(session, anomaly.id, reason="bank called", actor=PERSON, group_ids=None, now=NOW)
    assert refused.value.code == "trade_busy"
