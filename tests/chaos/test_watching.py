"""What the drill sees of a killed agent's repairs, of an end that does not come, and of its processes."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import psutil
import pytest
from flask import Flask
from sqlalchemy import insert, update

from app.anomalies.models import Anomaly
from app.unit_of_work import unit_of_work
from chaos.drill.field import Field, create_repair_tables
from chaos.drill.parts import Part
from chaos.drill.settling import UNREPORTED, are_held_back, ended_by_themselves, unended, untold
from chaos.drill.terms import SYS_CODE, Terms
from chaos.drill.watching import Watch
from chaos.drill.waves import Planted
from sandbox.database import writing
from sandbox.world import World
from tests.factories import NOW, make_anomaly, make_group

MOMENT = NOW.replace(tzinfo=None)
LATER = MOMENT + timedelta(seconds=5)


@pytest.fixture
def field(app: Flask, tmp_path: Path) -> Iterator[Field]:
    """A field on which nothing runs."""
    world = World.created(tmp_path / "sandbox", groups=(SYS_CODE,))
    create_repair_tables(world)
    (tmp_path / "agents").mkdir()
    yield Field(Terms(cycles=1, seed=1), tmp_path, app, world, (), (), 0)
    world.close()


def part_of(field: Field, *module: str) -> Part:
    return Part("pbap-1", "agent", module, {}, field.folder / "pbap-1.log")


def hold(field: Field, watch: Watch, trade_no: str, agent: str = "pbap-1", state: str = "open") -> None:
    """The agent has claimed this repair and its journal has not finished it."""
    with writing(field.world.production(SYS_CODE).engine) as connection:
        connection.execute(
            insert(watch.repair).values(
                **dict.fromkeys(("fixer_code", "target", "plan", "row_before", "terms", "boot_id"), "x"),
                trade_no=trade_no,
                agent=agent,
                state=state,
                round=1,
                fence=1,
                started_at=MOMENT,
                changed_at=MOMENT,
            )
        )
    journal = sqlite3.connect(field.journal("pbap-1"))
    journal.execute("CREATE TABLE IF NOT EXISTS command (state TEXT, frame BLOB)")
    frame = f'{{"type": "Repair", "trade_no": "{trade_no}", "command_id": "c-{trade_no}"}}'
    journal.execute("INSERT INTO command VALUES ('started', ?)", (frame,))
    journal.commit()
    journal.close()


def change(field: Field, watch: Watch, trade_no: str, **values: object) -> None:
    with writing(field.world.production(SYS_CODE).engine) as connection:
        mine = update(watch.repair).where(watch.repair.c.trade_no == trade_no)
        connection.execute(mine.values(changed_at=LATER, **values))


def step(field: Field, watch: Watch, trade_no: str, state: str = "done", at: datetime = LATER) -> None:
    with writing(field.world.production(SYS_CODE).engine) as connection:
        connection.execute(
            insert(watch.step).values(
                **dict.fromkeys(("name", "result", "agent", "boot_id"), "x"),
                state=state,
                step_key=f"key-{trade_no}",
                trade_no=trade_no,
                **dict.fromkeys(("round", "seq", "moves_money", "fence"), 1),
                started_at=at,
            )
        )


def test_only_what_is_open_and_unfinished_was_in_hand(field: Field) -> None:
    watch = Watch(field)
    hold(field, watch, "WD1")
    hold(field, watch, "WD2", agent="pbap-2")
    hold(field, watch, "WD3", state="done")
    assert [one.trade_no for one in watch.in_hand(part_of(field))] == ["WD1"]


def test_a_repair_is_resumed_by_its_next_claim_and_its_next_step(field: Field) -> None:
    watch, part = Watch(field), part_of(field)
    hold(field, watch, "WD1")
    watch.expect(part, watch.in_hand(part))
    watch.notice()
    assert (watch.resumed.claims, watch.resumed.steps) == ([], [])
    change(field, watch, "WD1")
    watch.notice()
    assert (len(watch.resumed.claims), watch.resumed.steps) == (1, [])
    step(field, watch, "WD1")
    watch.notice()
    watch.notice()
    assert (len(watch.resumed.claims), len(watch.resumed.steps)) == (1, 1)


def test_the_end_of_a_repair_is_its_next_step_too(field: Field) -> None:
    watch, part = Watch(field), part_of(field)
    hold(field, watch, "WD1")
    watch.expect(part, watch.in_hand(part))
    change(field, watch, "WD1", state="done")
    watch.notice()
    assert len(watch.resumed.steps) == 1


def test_what_another_agent_took_or_a_second_kill_cut_short_is_no_figure(field: Field) -> None:
    watch, part = Watch(field), part_of(field)
    hold(field, watch, "WD1")
    hold(field, watch, "WD2")
    watch.expect(part, watch.in_hand(part))
    change(field, watch, "WD1", agent="pbap-2", fence=2)
    watch.give_up(part)
    resumed = watch.resumed
    assert (resumed.taken_over, resumed.cut_short, resumed.claims, resumed.steps) == (1, 1, [], [])


@pytest.mark.parametrize(
    ("state", "expected", "words"),
    [
        ("open", "repair:x", "still open: why"),
        ("repairing", "repair:x", "still repairing: why"),
        ("waiting", "repair:x", "still waiting: why"),
        ("waiting", "wait", None),
        ("open", "wait", "still open: why"),
        ("needs_human", "repair:x", None),
        ("exhausted", "repair:x", None),
        ("repaired", "repair:x", None),
        (None, "repair:x", UNREPORTED),
        (None, "human", None),
    ],
)
def test_what_has_not_ended_is_named(app: Flask, state: str | None, expected: str, words: str | None) -> None:
    planted = Planted(rows={1: {"TRD_ID": 1, "TRD_NUM": "WD1"}}, expected={1: expected})
    if state is not None:
        with unit_of_work() as session:
            make_anomaly(session, make_group(session), trade_no="WD1", state=state, reason="why")
    assert [(one.subject, one.detail) for one in unended(planted)] == ([("WD1", words)] if words else [])


@pytest.mark.parametrize(
    ("state", "is_touched", "is_told"),
    [("needs_human", True, True), ("repaired", True, False), (None, True, False), ("repaired", False, True)],
)
def test_what_production_touched_and_no_person_has_is_named(
    field: Field, state: str | None, is_touched: bool, is_told: bool
) -> None:
    case = field.world.load_case("S6", group=SYS_CODE)
    planted = Planted(touched={case.trade_no} if is_touched else set())
    if state is not None:
        with unit_of_work() as session:
            make_anomaly(session, make_group(session), trade_no=case.trade_no, state=state)
    assert [one.subject for one in untold(field.world, planted)] == ([] if is_told else [case.trade_no])


@pytest.mark.parametrize(
    ("state", "age", "is_touched", "held"),
    [
        ("intended", timedelta(minutes=19), True, True),
        ("intended", timedelta(minutes=21), True, False),
        ("intended", timedelta(minutes=19), False, False),
        ("done", timedelta(minutes=19), True, False),
    ],
)
def test_what_was_touched_behind_a_payout_just_written_down_may_wait(
    field: Field, state: str, age: timedelta, is_touched: bool, held: bool
) -> None:
    watch = Watch(field)
    hold(field, watch, "WD1")
    step(field, watch, "WD1", state=state, at=field.world.clock() - age)
    planted = Planted(touched={"WD1"} if is_touched else set())
    with unit_of_work() as session:
        anomaly = make_anomaly(session, make_group(session), trade_no="WD1", state="waiting")
    assert are_held_back(field, watch, planted) == ({"WD1"} if held else set())
    planted.held_back = are_held_back(field, watch, planted)
    assert [one.subject for one in unended(planted)] == ([] if held else ["WD1"])
    with unit_of_work() as session:
        session.get_one(Anomaly, anomaly.id).state = "open"
    assert are_held_back(field, watch, planted) == set()


def test_at_a_bank_that_does_not_deduplicate_any_payout_just_written_down_may_wait(field: Field) -> None:
    at = replace(field, terms=replace(field.terms, deduplicates=False))
    watch = Watch(at)
    hold(at, watch, "WD1")
    step(at, watch, "WD1", state="intended", at=at.world.clock())
    with unit_of_work() as session:
        make_anomaly(session, make_group(session), trade_no="WD1", state="waiting")
    assert are_held_back(at, watch, Planted()) == {"WD1"}


def test_what_is_under_repair_is_open(field: Field) -> None:
    watch = Watch(field)
    hold(field, watch, "WD1")
    hold(field, watch, "WD2", state="done")
    assert watch.open_repairs() == {"WD1"}


def test_a_process_that_ended_by_itself_is_started_again_and_tells_its_code(field: Field) -> None:
    part = part_of(field, "this")
    part.start()
    assert part.process is not None
    assert list(ended_by_themselves([part_of(field)])) == []
    part.process.wait(60)
    assert [(one.invariant, one.subject) for one in ended_by_themselves([part])] == [("I8", "pbap-1")]
    assert part.revive() == 0
    assert part.process is not None
    part.kill()
    assert part.revive() is None
    assert list(ended_by_themselves([part])) == []


def test_a_killed_process_is_gone_at_once(field: Field) -> None:
    part = part_of(field, "http.server", "0", "--bind", "127.0.0.1")
    part.start()
    assert part.is_alive
    assert part.process is not None
    pid = part.process.pid
    part.weigh()
    part.kill()
    assert part.peak_bytes > 0
    assert not part.is_alive
    assert not psutil.pid_exists(pid)
