"""Reports that are cut, repeated, voided: what they counted is counted once, what they miss is not healed."""

import os
import random
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from agent.answers import MAX_CHUNK_ROWS, AnomaliesReported, CollectFinished, ReportedTrade, Started
from app.anomalies import collecting, collections
from app.anomalies.collection_course import cancel_run
from app.anomalies.models import Anomaly, CollectionRun, CollectionTask
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.factories import FIXER, NOW, PERSON, chunk, make_agent, make_group, reported, trailer

ROWS: Final = int(os.environ.get("PICULUS_REPORT_ROWS", "5000"))
"""A hundred thousand take half a minute; PICULUS_REPORT_ROWS=100000 asks for them."""
SMALL: Final = 12
LATER: Final = NOW + timedelta(minutes=5)


def start(session: WorkSession, group: SystemGroup) -> CollectionTask:
    """Begin a run of the group's one agent; return its task."""
    window = (NOW - timedelta(days=7), NOW)
    run = collections.start_run(
        session,
        group=group,
        codes=[FIXER],
        window=window,
        trigger="click",
        actor=PERSON,
        reason="",
        now=NOW,
    )
    return session.scalars(select(CollectionTask).where(CollectionTask.run_id == run.id)).one()


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    group = make_group(session)
    make_agent(session, group)
    return group


def begin(session: WorkSession, task: CollectionTask) -> None:
    """The agent says that it begins to read, from the start."""
    collecting.record_started(session, task.agent, Started(id="s", command_id=task.command_id), LATER)


def take(session: WorkSession, task: CollectionTask, chunks: Iterable[AnomaliesReported]) -> None:
    for one in chunks:
        collecting.record_anomalies(session, task.agent, one, LATER)


def end(session: WorkSession, task: CollectionTask, **fields: int) -> None:
    message: CollectFinished = trailer(task, **fields)
    collecting.record_finished(session, task.agent, message, LATER)


def counted(session: WorkSession) -> int:
    return int(session.execute(select(func.count(Anomaly.id))).scalar_one())


@pytest.mark.parametrize("cut", range(SMALL + 1))
def test_a_report_cut_at_any_chunk_and_repeated_is_one_report(
    session: WorkSession, group: SystemGroup, cut: int
) -> None:
    """The agent dies after chunk n and begins anew, in pages that are cut otherwise."""
    trades = [reported(f"T{number:06}") for number in range(SMALL * 5)]
    task = start(session, group)
    begin(session, task)
    take(session, task, (chunk(task, n, *trades[n * 5 : n * 5 + 5]) for n in range(cut)))
    begin(session, task)
    take(session, task, (chunk(task, n, *trades[n * 4 : n * 4 + 4]) for n in range(SMALL * 5 // 4)))
    end(session, task)
    assert counted(session) == len(trades)
    assert (task.state, task.rows, task.run.state) == ("finished", len(trades), "finished")
    assert task.run.reported == len(trades)


cuts = st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12), st.integers(1, 3)), min_size=1, max_size=3)
"""Beginnings that end early: rows a chunk, chunks until the agent dies, how often each chunk arrives."""


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=st.integers(1, 40), cuts=cuts, page=st.integers(1, 9), times=st.integers(1, 3))
def test_wherever_and_however_often_a_report_is_cut_each_trade_is_listed_once(
    session: WorkSession,
    group: SystemGroup,
    rows: int,
    cuts: list[tuple[int, int, int]],
    page: int,
    times: int,
) -> None:
    trades = [reported(f"T{number:06}") for number in range(rows)]
    savepoint = session.begin_nested()
    task = start(session, group)
    for size, chunks, repeats in cuts:
        begin(session, task)
        take(session, task, pages_of(task, trades, size, repeats)[: chunks * repeats])
    begin(session, task)
    take(session, task, pages_of(task, trades, page, times))
    end(session, task, chunks=-(-rows // page), rows=rows, amount_minor=rows * 10_000)
    listed = session.scalars(select(Anomaly.trade_no).order_by(Anomaly.trade_no)).all()
    assert listed == [trade.trade_no for trade in trades]
    assert (task.state, task.run.state, task.error) == ("finished", "finished", "")
    assert (task.rows, task.run.reported) == (rows, rows)
    savepoint.rollback()
    session.expire_all()


def pages_of(
    task: CollectionTask, trades: list[ReportedTrade], size: int, times: int
) -> list[AnomaliesReported]:
    """The trades in chunks of this size, each as often as it arrives."""
    chunks = [chunk(task, n, *trades[n * size : (n + 1) * size]) for n in range(-(-len(trades) // size))]
    return [one for one in chunks for _ in range(times)]


def test_a_large_report_cut_in_its_middle_and_repeated_is_one_report(
    session: WorkSession, group: SystemGroup
) -> None:
    cut_and_repeat(session, group, ROWS, ROWS // MAX_CHUNK_ROWS // 2)


@pytest.mark.parametrize("seed", range(4))
def test_a_report_of_thousands_cut_at_a_drawn_chunk_and_repeated_is_one_report(
    session: WorkSession, group: SystemGroup, seed: int
) -> None:
    chance = random.Random(seed)
    rows = chance.randint(2_000, 3_000)
    cut_and_repeat(session, group, rows, chance.randint(1, rows // MAX_CHUNK_ROWS))


def cut_and_repeat(session: WorkSession, group: SystemGroup, rows: int, cut: int) -> None:
    """Cut behind so many chunks and repeated whole; the trailer matches what came after the new beginning."""
    one = reported("T")
    trades = [_like(one, number) for number in range(rows)]
    task = start(session, group)
    pages = range(0, rows, MAX_CHUNK_ROWS)
    chunks = [chunk(task, n, *trades[first : first + MAX_CHUNK_ROWS]) for n, first in enumerate(pages)]
    begin(session, task)
    take(session, task, chunks[:cut])
    session.expunge_all()
    task = session.get_one(CollectionTask, task.id)
    begin(session, task)
    for first in range(0, len(chunks), 100):
        take(session, task, chunks[first : first + 100])
        session.flush()
        session.expunge_all()
        task = session.get_one(CollectionTask, task.id)
    end(session, task)
    assert counted(session) == rows
    listed = session.scalars(select(Anomaly.trade_no).order_by(Anomaly.trade_no))
    assert all(one == trade.trade_no for one, trade in zip(listed, trades, strict=True))
    assert (task.state, task.rows, task.amount_minor) == ("finished", rows, rows * 10_000)
    assert task.run.new_anomalies <= rows


def _like(one: ReportedTrade, number: int) -> ReportedTrade:
    trade_no = f"T{number:09}"
    return msgspec.structs.replace(
        one, trade_no=trade_no, trade_id=number, row={**one.row, "TRD_NUM": trade_no, "TRD_ID": number}
    )


def test_a_trailer_that_states_more_than_came_leaves_the_report_incomplete(
    session: WorkSession, group: SystemGroup
) -> None:
    """A chunk is lost on its way: what came is kept, and nothing absent is even verified."""
    task = start(session, group)
    begin(session, task)
    take(session, task, [chunk(task, 0, reported("T1"))])
    end(session, task, chunks=2, rows=2, amount_minor=20_000)
    assert (task.state, task.run.state, task.run.verifying) == ("incomplete", "incomplete", 0)
    assert counted(session) == 1


def test_the_same_collection_reported_twice_the_first_voided_is_one_set_of_anomalies(
    session: WorkSession, group: SystemGroup
) -> None:
    """A person cancels the first run half way; late chunks of it change nothing, the second one counts."""
    trades = [reported(f"T{number}") for number in range(4)]
    first = start(session, group)
    begin(session, first)
    take(session, first, [chunk(first, 0, *trades[:2])])
    cancel_run(session, first.run_id, actor=PERSON, reason="void", group_ids=None, now=LATER)
    take(session, first, [chunk(first, 1, *trades[2:])])
    assert counted(session) == 2
    second = start(session, group)
    begin(session, second)
    take(session, second, [chunk(second, 0, *trades)])
    end(session, second)
    assert counted(session) == 4
    runs = session.scalars(select(CollectionRun).order_by(CollectionRun.id)).unique().all()
    assert [run.state for run in runs] == ["cancelled", "finished"]
    assert {one.times_seen for one in session.scalars(select(Anomaly)).unique()} == {1, 2}
