"""What the server asks its database again and again reads no table whole that grows for ever (SQLite)."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from socket import socketpair
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event

from app.agents import overdue, recovery, stops
from app.agents.hub import AgentSession, Hub
from app.agents.models import Stop
from app.agents.queries import live_commands, running_counts
from app.agents.sockets import SocketLoop
from app.anomalies import collection_course
from app.executions import retention, scheduler, ticking, unsent
from app.executions.queries import first_id_since
from app.extensions import db
from app.guards import times_ahead
from app.ticker import Viewer
from app.unit_of_work import unit_of_work
from app.users.models import SystemGroup
from tests.factories import FIXER, NOW, make_agent, make_anomaly, make_group, make_plan

GROWING = "begun_repair|breaker|command|collection_run|frame|anomaly|attempt|execution|received_message|tick"
WHOLE = re.compile(rf"SCAN ({GROWING})(?! USING INDEX \w+_live)")
"""The partial indexes of what is live are small, whatever the table."""


@contextmanager
def statements() -> Iterator[list[tuple[str, Any]]]:
    """Every statement of the block with its values."""
    heard: list[tuple[str, Any]] = []

    def hear(
        _connection: Any, _cursor: Any, statement: str, values: Any, _context: Any, is_many: bool
    ) -> None:
        if not is_many:
            heard.append((statement, values))

    event.listen(db.engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        event.remove(db.engine, "before_cursor_execute", hear)


def reads(work: Callable[[], object]) -> list[tuple[str, str]]:
    """Run the work; return how it reads what it reads, each with its statement."""
    with statements() as heard:
        work()
    asked = [one for one in heard if one[0].lstrip().startswith(("SELECT", "UPDATE", "DELETE"))]
    assert asked, "the work asked nothing"
    with db.engine.connect() as connection:
        return [
            (row.detail, statement)
            for statement, values in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


def whole_reads(work: Callable[[], object]) -> list[str]:
    """Run the work; return each statement of it that reads such a table whole, and how."""
    return [f"{detail}: {statement}" for detail, statement in reads(work) if WHOLE.match(detail)]


@pytest.fixture
def member(app: Flask) -> int:
    """An agent of a group with a plan and an open anomaly; returns its id."""
    with unit_of_work() as session:
        group = make_group(session)
        agent = make_agent(session, group)
        make_plan(session, group, next_due_at=NOW - timedelta(seconds=1))
        make_anomaly(session, group)
        return agent.id


@pytest.fixture
def idle(app: Flask) -> int:
    """An agent of a group whose plan is not due yet and whose anomaly waits for a person; returns its id."""
    with unit_of_work() as session:
        group = make_group(session)
        agent = make_agent(session, group)
        make_plan(session, group, next_due_at=NOW + timedelta(seconds=1))
        make_anomaly(session, group, state="needs_human")
        return agent.id


def ready_session(hub: Hub, agent_id: int) -> AgentSession:
    """The session of an agent of the first group that has said its Hello."""
    session = AgentSession(hub, agent_id, 1, "PBAP", "127.0.0.1")
    session.is_ready, session.epoch = True, 1
    return session


@pytest.mark.parametrize(
    "part", [*scheduler.EVERY_SECOND, *scheduler.EVERY_MINUTE], ids=lambda part: part.__name__
)
def test_a_part_of_the_scheduler(app: Flask, part: scheduler.Part, member: int) -> None:
    near, far = socketpair()
    with near, far:
        watched = SocketLoop(60.0, 512 * 1024).peer(near, app.extensions["ticker"])
        app.extensions["ticker"].add(watched, Viewer("1:1", ""))
        assert whole_reads(lambda: part(NOW)) == []


def test_what_a_part_does_once_it_has_seen_work(app: Flask, member: int) -> None:
    def work() -> None:
        with unit_of_work() as session:
            ticking.start_first_collections(session, NOW)
            ticking.resume_clicked(session, NOW)
            collection_course.tend_runs(session, NOW)
            for sweep in retention.sweeps(app.extensions["settings"], NOW):
                sweep.delete_batch(session)

    assert whole_reads(work) == []


@pytest.mark.parametrize(
    "part", [*scheduler.EVERY_SECOND, *scheduler.EVERY_MINUTE], ids=lambda part: part.__name__
)
def test_a_part_with_nothing_to_do_takes_no_lock(part: scheduler.Part, idle: int) -> None:
    with statements() as heard:
        part(NOW)
    assert [text for text, _ in heard if text.startswith("BEGIN")] == []


def test_a_round_of_the_dispatcher_with_nothing_pending_asks_for_no_more_than_that(
    app: Flask, idle: int
) -> None:
    runtime = app.extensions["runtime"]
    runtime.hub.register(ready_session(runtime.hub, idle))
    runtime.dispatcher.round()  # looks after presence and ended sessions too, which not each round does
    with statements() as heard:
        runtime.dispatcher.round()
    assert len(heard) == 2, "cancels, and groups with pending commands"


def test_a_round_of_the_dispatcher(app: Flask, member: int) -> None:
    runtime = app.extensions["runtime"]
    runtime.hub.register(ready_session(runtime.hub, member))
    assert whole_reads(runtime.dispatcher.round) == []


def test_what_is_held_back_is_looked_for_among_what_is_live(app: Flask, member: int) -> None:
    """Whatever has ended: a manual plan, which holds back for ever, has it looked for each second."""
    with unit_of_work() as session:
        group = session.get_one(SystemGroup, 1)
        make_plan(session, group, fixer_code="other", mode="manual", narrowed_seq=9)

    def work() -> None:
        unsent.has_work(db.session)
        with unit_of_work() as session:
            unsent.withdraw(session, NOW)

    found = {detail for detail, _ in reads(work) if re.match(r"(SEARCH|SCAN) command\b", detail)}
    assert found == {
        "SEARCH command USING INDEX ix_command_pending (group_id=?)",
        "SEARCH command USING INDEX uq_command_live_trade (group_id=? AND trade_no>?)",
    }


def test_of_what_pends_the_dispatcher_sorts_nothing(app: Flask, member: int) -> None:
    """It is sent in the order of its index: of a long queue no more is read than is sent."""
    runtime = app.extensions["runtime"]
    one = ready_session(runtime.hub, member)
    one.fixer_codes = frozenset({FIXER})
    runtime.hub.register(one)
    scheduler.run_due_plans(NOW)
    of_queue = [read for read in reads(runtime.dispatcher.round) if "ORDER BY command.priority" in read[1]]
    assert of_queue
    assert [detail for detail, _ in of_queue if "TEMP B-TREE" in detail] == []


def test_a_lost_socket(member: int) -> None:
    def lose() -> None:
        with unit_of_work() as session:
            recovery.release_sent(session, member)

    assert whole_reads(lose) == []


def test_what_agents_have_in_hand(member: int) -> None:
    assert whole_reads(lambda: running_counts(db.session, [member])) == []
    assert whole_reads(lambda: live_commands(db.session, member)) == []


def test_what_time_alone_ends(member: int) -> None:
    assert whole_reads(lambda: overdue.has_work(db.session, NOW)) == []


def test_what_a_clock_ahead_has_dated(member: int) -> None:
    def bring_back() -> None:
        with unit_of_work() as session:
            times_ahead.bring_back(session, 1, NOW)

    with statements() as heard:
        bring_back()
    asked = [one for one in heard if "begun_at" in one[0]]
    with db.engine.connect() as connection:
        plans = [
            str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values).all())
            for sql, values in asked
        ]
    assert ["group_id=? AND begun_at>?" in plan for plan in plans] == [True]


def test_the_last_reset_of_a_group_is_found_whatever_it_has_reset_before(member: int) -> None:
    """Asked of each attempt that ends; no breaker is ever deleted."""
    found = reads(lambda: times_ahead.after_resets(db.session, 1, NOW))
    index = "ix_breaker_group_id_reset_at (group_id=?)"
    assert [detail for detail, _ in found] == [f"SEARCH breaker USING COVERING INDEX {index}"]


def test_the_id_of_a_moment(member: int) -> None:
    assert whole_reads(lambda: first_id_since(db.session, NOW)) == []


def test_what_a_standing_stop_costs(app: Flask, member: int) -> None:
    runtime = app.extensions["runtime"]
    runtime.hub.register(ready_session(runtime.hub, member))
    scheduler.run_due_plans(NOW)
    with unit_of_work() as work:
        work.add(Stop(scope="group", group_id=1, name="PBAP", reason="look", set_by="li.na", set_at=NOW))
    assert whole_reads(runtime.dispatcher.round) == []
    assert whole_reads(lambda: scheduler.enforce_stops(NOW)) == []
    assert stops.has_work(db.session)
