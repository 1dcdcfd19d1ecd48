"""A collection run from its start over shards, chunks and trailers to its end."""

from datetime import datetime, timedelta

import msgspec
import pytest
from sqlalchemy import func, select

from agent.answers import CollectProgress, Started
from app.agents import commands
from app.agents.models import IS_LIVE, Agent, Command
from app.anomalies import absence, collecting, collection_course
from app.anomalies.collection_queries import RunFilter, list_runs
from app.anomalies.collections import run_again, start_run
from app.anomalies.models import Anomaly, CollectionRun, CollectionTask, ReportedChunk
from app.anomalies.service import order_verify
from app.errors import ConflictError, InvalidError, NotFoundError
from app.keyset import Cut
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    chunk,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    reported,
    trailer,
)

WINDOW = (NOW - timedelta(days=7), NOW)
LATER = NOW + timedelta(seconds=40)


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


def start(session: WorkSession, group: SystemGroup, now: datetime = NOW, **values: object) -> CollectionRun:
    arguments = {"codes": [FIXER], "window": WINDOW, "trigger": "click", "reason": ""} | values
    return start_run(session, group=group, actor=PERSON, now=now, **arguments)  # type: ignore[arg-type]


def tasks_of(session: WorkSession, run: CollectionRun) -> list[CollectionTask]:
    session.flush()
    session.expire_all()
    statement = select(CollectionTask).where(CollectionTask.run_id == run.id).order_by(CollectionTask.id)
    return list(session.scalars(statement).unique())


def running_task(session: WorkSession, group: SystemGroup) -> tuple[Agent, CollectionTask]:
    """A run over one agent, its command in that agent's hands."""
    agent = make_agent(session, group)
    (task,) = tasks_of(session, start(session, group))
    command = commands.find(session, task.command_id)
    assert command is not None
    hand_to(session, command, agent)
    return agent, task


def test_shards_are_fixed_from_the_agents_online(session: WorkSession, group: SystemGroup) -> None:
    agents = [make_agent(session, group) for _each in range(2)]
    make_agent(session, group, is_online=False)
    make_agent(session, group, seen_at=NOW - timedelta(minutes=5))
    run = start(session, group)
    tasks = tasks_of(session, run)
    assert [(task.agent_id, task.shard, task.shards) for task in tasks] == [
        (agents[0].id, 0, 2),
        (agents[1].id, 1, 2),
    ]
    message = session.scalars(select(Command).order_by(Command.seq)).first()
    assert message is not None
    assert message.message == {
        "run_id": run.id,
        "fixer_codes": [FIXER],
        "window_start": WINDOW[0].isoformat(),
        "window_end": WINDOW[1].isoformat(),
        "shard": 0,
        "shards": 2,
    }


def test_a_run_with_no_agent_online_waits_a_minute_then_fails(
    session: WorkSession, group: SystemGroup
) -> None:
    run = start(session, group)
    collection_course.tend_runs(session, NOW + timedelta(seconds=59))
    assert run.state == "waiting"
    collection_course.tend_runs(session, NOW + timedelta(seconds=60))
    assert (run.state, run.error) == ("failed", "no_agent_online")


def test_a_run_begun_by_a_clock_ahead_waits_a_minute_from_when_that_is_put_back(
    session: WorkSession, group: SystemGroup
) -> None:
    run = start(session, group, NOW + timedelta(days=1))
    states = []
    for seconds in (0, 59, 60):
        collection_course.tend_runs(session, NOW + timedelta(seconds=seconds))
        states.append(run.state)
    assert states == ["waiting", "waiting", "failed"]


def test_what_was_repaired_since_a_clock_ahead_was_put_back_is_no_news_to_a_run_begun_by_it(
    session: WorkSession, group: SystemGroup
) -> None:
    agent, task = running_task(session, group)
    task.started_at = NOW + timedelta(days=1)
    collection_course.tend_runs(session, NOW)
    make_anomaly(session, group, trade_no="A", state="repaired", closed_at=LATER)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A")), LATER)
    assert session.scalars(select(Anomaly.state)).all() == ["repaired"]


def test_a_run_whose_codes_nobody_offers_says_so(session: WorkSession, group: SystemGroup) -> None:
    make_agent(session, group, codes=("ownFixer",), seen_at=NOW + timedelta(seconds=60))
    run = start(session, group)
    collection_course.tend_runs(session, NOW + timedelta(seconds=60))
    assert (run.state, run.error) == ("failed", f"codes_not_offered: {FIXER}")


def test_a_waiting_run_begins_when_an_agent_comes(session: WorkSession, group: SystemGroup) -> None:
    run = start(session, group)
    make_agent(session, group, seen_at=LATER)
    collection_course.tend_runs(session, LATER)
    assert (run.state, run.started_at, run.shards) == ("running", LATER, 1)


def test_codes_nobody_offers_leave_the_run_incomplete(session: WorkSession, group: SystemGroup) -> None:
    agent = make_agent(session, group, codes=(FIXER,))
    run = start(session, group, codes=[FIXER, "withdrawTimeoutFixServiceImpl"])
    (task,) = tasks_of(session, run)
    hand_to(session, commands.find(session, task.command_id), agent)  # type: ignore[arg-type]
    collecting.record_finished(session, agent, trailer(task), LATER)
    assert (run.state, run.error) == ("incomplete", "codes_not_offered: withdrawTimeoutFixServiceImpl")


def test_chunks_become_anomalies_and_the_trailer_closes_the_run(
    session: WorkSession, group: SystemGroup
) -> None:
    agent, task = running_task(session, group)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A"), reported("B")), LATER)
    collecting.record_anomalies(session, agent, chunk(task, 1, reported("C", amount_minor=5)), LATER)
    collecting.record_finished(session, agent, trailer(task, scanned=900, unverified=4), LATER)
    run = task.run
    assert (task.state, run.state, run.finished_at) == ("finished", "finished", LATER)
    assert (run.reported, run.new_anomalies, run.amount_minor) == (3, 3, 20_005)
    assert (run.scanned, run.unverified) == (900, 4)
    assert session.scalars(select(Anomaly.trade_no).order_by(Anomaly.id)).all() == ["A", "B", "C"]


def test_a_repeated_chunk_counts_once(session: WorkSession, group: SystemGroup) -> None:
    agent, task = running_task(session, group)
    for _each in range(2):
        collecting.record_anomalies(session, agent, chunk(task, 0, reported("A")), LATER)
    collecting.record_finished(session, agent, trailer(task, chunks=1, rows=1, amount_minor=10_000), LATER)
    assert (task.state, task.rows, task.new_anomalies) == ("finished", 1, 1)


def test_a_shard_begun_again_replaces_its_chunks(session: WorkSession, group: SystemGroup) -> None:
    agent, task = running_task(session, group)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A"), reported("B")), LATER)
    collecting.record_anomalies(session, agent, chunk(task, 1, reported("C")), LATER)
    collecting.record_started(session, agent, Started(id="s", command_id=task.command_id), LATER)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A")), LATER)
    collecting.record_finished(session, agent, trailer(task, chunks=1, rows=1, amount_minor=10_000), LATER)
    assert (task.state, task.rows) == ("finished", 1)


@pytest.mark.parametrize("wrong", [{"chunks": 2}, {"rows": 2}, {"amount_minor": 9_999}, {"error": "disk"}])
def test_a_wrong_trailer_leaves_the_run_incomplete_and_heals_nothing(
    session: WorkSession, group: SystemGroup, wrong: dict[str, int | str]
) -> None:
    absent = make_anomaly(session, group, trade_no="ABSENT")
    agent, task = running_task(session, group)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A")), LATER)
    collecting.record_finished(session, agent, trailer(task, **wrong), LATER)
    assert (task.state, task.run.state, absent.state) == ("incomplete", "incomplete", "open")
    assert task.run.error
    assert commands.find_live(session, group.id, "ABSENT") is None


@pytest.mark.parametrize("other", [{"run_id": 7_777}, {"shard": 1}])
def test_a_trailer_of_another_shard_ends_nothing(
    session: WorkSession, group: SystemGroup, other: dict[str, int]
) -> None:
    agent, task = running_task(session, group)
    message = msgspec.structs.replace(trailer(task), **other)
    with pytest.raises(ConflictError, match="shard"):
        collecting.record_finished(session, agent, message, LATER)
    assert (task.finished_at, task.run.state) == (None, "running")


def test_what_a_complete_run_did_not_report_is_verified_not_healed(
    session: WorkSession, group: SystemGroup
) -> None:
    absent = make_anomaly(session, group, trade_no="ABSENT")
    make_anomaly(session, group, trade_no="SEEN")
    make_anomaly(session, group, trade_no="OLD", row_changed_at=NOW - timedelta(days=30))
    make_anomaly(session, group, trade_no="OTHER", fixer_code="withdrawTimeoutFixServiceImpl")
    make_anomaly(session, group, trade_no="CLOSED", state="healed")
    agent, task = running_task(session, group)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("SEEN")), LATER)
    collecting.record_finished(session, agent, trailer(task), LATER)
    verified = session.scalars(select(Command.trade_no).where(Command.type == "Verify")).all()
    assert verified == ["ABSENT"]
    assert (absent.state, task.run.verifying, task.run.state) == ("open", 1, "finished")


def test_what_a_clock_ahead_verified_is_verified_again_once_it_is_absent(
    session: WorkSession, group: SystemGroup
) -> None:
    absent = make_anomaly(session, group)
    ahead = NOW + timedelta(days=30)
    commands.close(session, order_verify(session, absent, ahead), "expired", ahead, "no agent took it")
    agent, task = running_task(session, group)
    collecting.record_finished(session, agent, trailer(task), LATER)
    assert task.run.verifying == 1


def first_page_of_seven(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> CollectionTask:
    """A complete run from which seven trades are absent, with three of them being verified."""
    monkeypatch.setattr(absence, "PAGE", 3)
    for _each in range(7):
        make_anomaly(session, group)
    agent, task = running_task(session, group)
    collecting.record_finished(session, agent, trailer(task), LATER)
    return task


def test_absences_are_verified_page_by_page(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = first_page_of_seven(session, group, monkeypatch)
    assert (task.run.state, task.run.verifying) == ("running", 3)
    for _each in range(2):
        collection_course.tend_runs(session, LATER)
    assert (task.run.state, task.run.verifying) == ("finished", 7)
    verifies = select(func.count(Command.trade_no.distinct())).where(Command.type == "Verify")
    assert session.execute(verifies).scalar_one() == 7


def test_a_clock_put_back_between_two_pages_has_none_verified_twice(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = first_page_of_seven(session, group, monkeypatch)
    for _each in range(2):
        for command in session.scalars(select(Command).where(Command.type == "Verify", IS_LIVE)).all():
            commands.close(session, command, "expired", NOW - timedelta(days=1), "no agent took it")
        collection_course.tend_runs(session, NOW - timedelta(days=1))
    assert (task.run.state, task.run.verifying) == ("finished", 7)
    verifies = session.scalars(select(Command.trade_no).where(Command.type == "Verify")).all()
    assert (len(verifies), len(set(verifies))) == (7, 7)


def test_absences_that_nobody_can_be_asked_about_hold_up_no_run(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows without a number, mended since by hand: more of them than a page, before one that has a number."""
    monkeypatch.setattr(absence, "PAGE", 2)
    for number in range(5):
        make_anomaly(session, group, trade_no=f"TRD_ID {number}", row={"TRD_ID": number, "TRD_NUM": None})
    make_anomaly(session, group, trade_no="ABSENT")
    agent, task = running_task(session, group)
    collecting.record_finished(session, agent, trailer(task), LATER)
    assert (task.run.state, task.run.verifying) == ("finished", 1)


def test_a_lost_agents_shard_goes_whole_to_another(session: WorkSession, group: SystemGroup) -> None:
    agent, task = running_task(session, group)
    other = make_agent(session, group, seen_at=LATER)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A")), NOW)
    command = commands.find(session, task.command_id)
    assert command is not None
    commands.close(session, command, "superseded", LATER, "the agent stopped answering")
    old, new = tasks_of(session, task.run)
    assert (old.state, new.agent_id, new.shard, new.rows) == ("failed", other.id, 0, 0)
    hand_to(session, commands.find(session, new.command_id), other)  # type: ignore[arg-type]
    collecting.record_anomalies(session, other, chunk(new, 0, reported("A")), LATER)
    collecting.record_finished(session, other, trailer(new), LATER)
    assert (new.run.state, new.run.reported) == ("finished", 1)


def test_what_a_lost_agent_reported_first_is_counted_as_new_by_its_run(
    session: WorkSession, group: SystemGroup
) -> None:
    """The agent that its shard goes to reports it once more: it is new no second time, and was new once."""
    agent, task = running_task(session, group)
    other = make_agent(session, group, seen_at=LATER)
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A"), reported("B")), NOW)
    command = commands.find(session, task.command_id)
    assert command is not None
    commands.close(session, command, "superseded", LATER, "the agent stopped answering")
    _old, new = tasks_of(session, task.run)
    hand_to(session, commands.find(session, new.command_id), other)  # type: ignore[arg-type]
    collecting.record_anomalies(
        session, other, chunk(new, 0, reported("A"), reported("B"), reported("C")), LATER
    )
    assert (new.run.reported, new.run.new_anomalies) == (3, 3)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=1)], ids=["", "by a clock ahead"])
def test_an_agent_gone_before_it_took_its_shard_loses_it(
    session: WorkSession, group: SystemGroup, ahead: timedelta
) -> None:
    gone = make_agent(session, group)
    run = start(session, group)
    gone.connected_at, gone.disconnected_at = None, NOW + ahead
    other = make_agent(session, group, seen_at=LATER)
    collection_course.tend_runs(session, LATER)
    assert [(task.state, task.agent_id) for task in tasks_of(session, run)] == [
        ("failed", gone.id),
        ("pending", other.id),
    ]


def test_a_shard_nobody_can_take_fails_the_run(session: WorkSession, group: SystemGroup) -> None:
    gone = make_agent(session, group)
    run = start(session, group)
    gone.connected_at, gone.disconnected_at = None, NOW
    collection_course.tend_runs(session, LATER)
    assert run.state == "failed"


def test_a_late_chunk_of_a_lost_shard_is_dropped(session: WorkSession, group: SystemGroup) -> None:
    agent, task = running_task(session, group)
    task.state = "failed"
    collecting.record_anomalies(session, agent, chunk(task, 0, reported("A")), LATER)
    assert session.scalars(select(ReportedChunk)).all() == []


def test_progress_is_shown_while_it_runs(session: WorkSession, group: SystemGroup) -> None:
    agent, task = running_task(session, group)
    message = CollectProgress(
        id="p",
        command_id=task.command_id,
        run_id=task.run_id,
        shard=0,
        scanned=500,
        reported=0,
        estimated=2000,
    )
    collecting.record_progress(session, agent, message, LATER)
    assert (task.state, task.scanned, task.estimated, task.run.scanned) == ("running", 500, 2000, 500)


def test_a_report_nobody_asked_for_is_refused(session: WorkSession, group: SystemGroup) -> None:
    agent, task = running_task(session, group)
    stranger = make_agent(session, group)
    with pytest.raises(NotFoundError):
        collecting.record_anomalies(session, stranger, chunk(task, 0, reported("A")), LATER)
    task.shard = 1
    wrong = chunk(task, 0, reported("A"))
    task.shard = 0
    with pytest.raises(ConflictError):
        collecting.record_anomalies(session, agent, wrong, LATER)


def test_a_cancelled_run_stops_its_agents(session: WorkSession, group: SystemGroup) -> None:
    _agent, task = running_task(session, group)
    collection_course.cancel_run(
        session, task.run_id, actor=PERSON, reason="too much", group_ids=None, now=LATER
    )
    command = commands.find(session, task.command_id)
    assert command is not None
    assert (task.run.state, task.state, command.cancel_requested_at) == ("cancelled", "cancelled", LATER)
    with pytest.raises(ConflictError):
        collection_course.cancel_run(
            session, task.run_id, actor=PERSON, reason="late", group_ids=None, now=LATER
        )


def test_a_run_made_again_ends_its_window_now(session: WorkSession, group: SystemGroup) -> None:
    run = start(session, group)
    again = run_again(session, run.id, actor=PERSON, reason="", group_ids=None, now=LATER)
    assert (again.again_of, again.window_end, again.window_start) == (
        run.id,
        LATER,
        LATER - timedelta(days=7),
    )


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"codes": []}, "codes"),
        ({"codes": ["Not-A-Code"]}, "codes"),
        ({"window": (NOW, NOW)}, "window"),
        ({"window": (NOW - timedelta(days=400), NOW)}, "window"),
        ({"reason": "x" * 501}, "reason"),
    ],
)
def test_a_wrong_broadcast_names_its_field(
    session: WorkSession, group: SystemGroup, values: dict[str, object], field: str
) -> None:
    with pytest.raises(InvalidError) as refused:
        start(session, group, **values)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        (RunFilter(), [2, 1, 0]),
        (RunFilter(trigger="cron"), [1]),
        (RunFilter(trigger="first_start"), []),
        (RunFilter(created_from=NOW + timedelta(minutes=1)), [2, 1]),
        (RunFilter(created_to=NOW + timedelta(minutes=1)), [0]),
        (RunFilter(created_from=NOW + timedelta(minutes=1), created_to=NOW + timedelta(minutes=2)), [1]),
        (RunFilter(created_from=NOW + timedelta(minutes=3)), []),
        (RunFilter(created_to=NOW + timedelta(minutes=3)), [2, 1, 0]),
    ],
)
def test_runs_are_listed_by_trigger_and_by_when_they_were_made(
    session: WorkSession, group: SystemGroup, wanted: RunFilter, places: list[int]
) -> None:
    made = [
        start(session, group, NOW + timedelta(minutes=minute), trigger=trigger).id
        for minute, trigger in enumerate(("click", "cron", "click"))
    ]
    found = [run.id for run in list_runs(session, wanted, Cut()).rows]
    assert found == [made[place] for place in places]


def test_a_disabled_group_is_not_collected(session: WorkSession, group: SystemGroup) -> None:
    group.is_enabled = False
    with pytest.raises(ConflictError) as refused:
        start(session, group)
    assert refused.value.code == "group_disabled"
