"""The drill's verdict finds each kind of harm, by invariant and trade."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import MetaData, delete, insert, select, update

from app.anomalies.models import AnomalyEvent
from app.executions.models import Attempt, Execution
from app.unit_of_work import unit_of_work
from chaos.drill import server_rows
from chaos.drill.field import create_repair_tables
from chaos.drill.money import judge_case, judge_money
from chaos.drill.table import Outcome, as_table, percentile
from chaos.drill.terms import MAX_RETRIES, QUIET_FOR, STUCK_AFTER, SYS_CODE, Terms
from chaos.drill.violations import INVARIANTS, Violation
from chaos.drill.watching import unfinished_repairs
from chaos.drill.waves import Planted, note_before, plant_wave
from chaos.in_flight import was_in_flight
from sandbox.bank.records import FAILED, PAYOUT, SUCCESS, BankRecord
from sandbox.database import writing
from sandbox.ledger import PostingOrder
from sandbox.world import World
from tests.factories import FIXER, NOW, make_anomaly, make_group

Broken = tuple[World, Planted]
Chain = Sequence[tuple[str | None, str]]
"""From and to of each change, the oldest first."""


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Broken]:
    """A wave of broken trades among healthy ones, and nobody who has touched them."""
    world = World.created(tmp_path, groups=(SYS_CODE,), day_seconds=20)
    world.load_healthy(10, group=SYS_CODE)
    create_repair_tables(world)
    planted = Planted()
    plant_wave(world, Terms(cycles=1, seed=1, wave=50), planted)
    yield world, planted
    world.close()


def violated(
    world: World, planted: Planted, *repaired: str, asked: Iterable[str] = ()
) -> set[tuple[str, str]]:
    """Invariant and trade of each violation, where the server calls these trades repaired, and a person has
    the others.
    """
    return names(judge_money(world, planted, set(repaired), set(asked)))


def number_of(planted: Planted, expected: str) -> str:
    """The first withdrawal that the loaders expect this of."""
    return next(
        str(row["TRD_NUM"])
        for key, row in sorted(planted.rows.items())
        if planted.expected[key].startswith(expected) and row["TRD_KIND"] == "withdraw"
    )


def pay(world: World, request_no: str, status: str = SUCCESS) -> None:
    """The bank has paid this number, whoever asked."""
    at = world.clock()
    world.books.load([BankRecord(request_no, PAYOUT, status, None, 100, "CNY", "622848", at, at)])


def ask(world: World, request_no: str, **cells: object) -> None:
    """The bank was asked for this number, and has failed it: over the trade's amount, or what is told."""
    row = world.row(request_no.rpartition("-")[0], SYS_CODE)
    at = world.clock()
    record = BankRecord(
        request_no, PAYOUT, FAILED, "E1003", int(row["AMOUNT"]), "CNY", row["BANK_ACC_NO"], at, at
    )
    world.books.load([replace(record, **cells)])  # type: ignore[arg-type]  # of whatever field


def write_row(world: World, trd_id: int, **cells: object) -> None:
    """The trade row has these cells, whoever wrote them."""
    trade = world.production(SYS_CODE).tables.trade
    with writing(world.production(SYS_CODE).engine) as connection:
        connection.execute(update(trade).where(trd_id == trade.c.TRD_ID).values(cells))


def written_over(
    world: World, trade_no: str, decided: str, found: str, quiet_for: timedelta = timedelta(hours=1)
) -> None:
    """A repair decided upon one FAILED_MSG, and found another when it wrote the row, which nobody had touched
    for so long when it began.
    """
    engine = world.production(SYS_CODE).engine
    tables = MetaData()
    tables.reflect(engine, only=["piculus_repair", "piculus_correction"])
    who = {"trade_no": trade_no, "round": 1, "fence": 1, "agent": "a", "boot_id": "b", "fixer_code": "x"}
    at = world.clock()
    with writing(engine) as connection:
        connection.execute(
            insert(tables.tables["piculus_repair"]).values(
                **who,
                **dict.fromkeys(("target", "plan", "terms"), "x"),
                state="done",
                row_before=json.dumps({"FAILED_MSG": decided}),
                started_at=at,
                changed_at=at,
            )
        )
        connection.execute(
            insert(tables.tables["piculus_correction"]).values(
                **who,
                old_version=1,
                trade_id=1,
                old_row=json.dumps(
                    {"FAILED_MSG": found, "UPDATED_AT": (at - quiet_for).isoformat(), "TRD_STATUS": 8}
                ),
                new_row="{}",
                written_at=at,
            )
        )


def test_untouched_trades_violate_nothing(broken: Broken) -> None:
    assert violated(*broken) == set()


def test_a_second_payout_in_the_books_is_reported(broken: Broken) -> None:
    world, planted = broken
    trade_no = number_of(planted, "repair:interWithdrawFix")
    pay(world, f"{trade_no}-8")
    assert ("I1", trade_no) not in violated(world, planted)
    pay(world, f"{trade_no}-9")
    assert ("I1", trade_no) in violated(world, planted)


def test_a_number_asked_for_again_of_a_bank_that_pays_each_time_is_reported(broken: Broken) -> None:
    world, planted = broken
    world.books.hear("WD9-P1")
    assert violated(world, planted) == set()
    world.books.hear("WD9-P1")
    assert violated(world, planted) == {("I1", "WD9-P1")}


def test_a_number_of_productions_asked_for_of_such_a_bank_is_reported(broken: Broken) -> None:
    world, planted = broken
    trade_no = number_of(planted, "repair:interWithdrawFix")
    world.books.hear(f"{trade_no}-0")
    assert violated(world, planted) == {("I1", trade_no)}


def test_a_payout_nobody_wrote_down_is_reported(broken: Broken) -> None:
    world, planted = broken
    pay(world, "WD260101000000199999-0")
    assert violated(world, planted) == {("I1", "WD260101000000199999-0")}


def test_a_trade_paid_and_not_debited_is_reported_once_it_is_called_repaired(broken: Broken) -> None:
    world, planted = broken
    trade_no = number_of(planted, "repair:interWithdrawFix")
    pay(world, f"{trade_no}-0")
    assert ("I3", trade_no) in violated(world, planted, trade_no)


@pytest.mark.parametrize(
    ("cells", "wrong"),
    [
        ({}, False),
        ({"amount_minor": 7}, True),
        ({"account": "another's"}, True),
        ({"amount_minor": 7, "asked_minor": 8}, True),
    ],
)
def test_a_payout_of_another_amount_or_to_another_payee_is_reported(
    broken: Broken, cells: dict[str, object], wrong: bool
) -> None:
    world, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S2")  # never received by the bank
    ask(world, f"{case.trade_no}-0", **cells)
    assert (("I3", case.trade_no) in violated(world, planted)) is wrong


def test_what_the_bank_itself_paid_otherwise_is_not_laid_at_an_agents_door(broken: Broken) -> None:
    world, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S2")
    ask(world, f"{case.trade_no}-0", amount_minor=1, asked_minor=case.amount_minor)
    assert violated(world, planted) == set()


@pytest.mark.parametrize(
    ("times", "is_another", "wrong"), [(1, False, False), (100, False, True), (1, True, True)]
)
def test_an_entry_of_another_amount_or_customer_is_reported(
    broken: Broken, times: int, is_another: bool, wrong: bool
) -> None:
    world, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S1")
    ledger = world.production(SYS_CODE).ledger
    ledger.open_account("another", 1)
    account_no = "another" if is_another else case.account_no
    amount = case.amount_minor * times
    ledger.post(PostingOrder(case.trade_no, "recharge", "1", amount, account_no, "PCL:1", "piculus"))
    assert (("I2", case.trade_no) in violated(world, planted)) is wrong


def test_a_trade_called_repaired_that_is_not_is_reported(broken: Broken) -> None:
    world, planted = broken
    case = planted.cases[0]
    assert ("I4", case.trade_no) in violated(world, planted, case.trade_no)


def test_a_trade_that_production_touched_agrees_or_a_person_has_it(broken: Broken) -> None:
    world, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S6")
    planted.touched.add(case.trade_no)
    assert violated(world, planted) == {("I4", case.trade_no)}
    assert violated(world, planted, asked=[case.trade_no]) == set()
    assert violated(world, planted, case.trade_no) == {("I4", case.trade_no)}
    write_row(world, case.trd_id, TRD_STATUS=9)
    assert violated(world, planted) == set()
    assert violated(world, planted, case.trade_no) == set()


def test_a_trade_that_production_did_not_touch_is_held_against_the_oracle(broken: Broken) -> None:
    world, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S6")
    write_row(world, case.trd_id, TRD_STATUS=9)
    assert violated(world, planted, case.trade_no) == {("I4", case.trade_no)}


@pytest.mark.parametrize(("message", "wrong"), [("looked at", True), ("as decided", False)])
def test_a_row_written_over_though_production_had_changed_it_is_reported(
    broken: Broken, message: str, wrong: bool
) -> None:
    world, planted = broken
    case = planted.cases[0]
    written_over(world, case.trade_no, decided="as decided", found=message)
    assert (("I11", case.trade_no) in violated(world, planted)) is wrong


@pytest.mark.parametrize(("seconds", "wrong"), [(1, True), (3, False), (-1, False)])
def test_a_repair_of_a_trade_that_production_may_be_at_work_on_is_reported(
    broken: Broken, seconds: int, wrong: bool
) -> None:
    world, planted = broken
    case = planted.cases[0]
    written_over(world, case.trade_no, "as decided", "as decided", timedelta(seconds=seconds))
    assert (("I9", case.trade_no) in violated(world, planted)) is wrong


@pytest.mark.parametrize(("status", "seconds", "wrong"), [(0, 5, True), (0, 10, False), (9, 5, False)])
def test_a_young_trade_in_processing_is_in_flight(status: int, seconds: int, wrong: bool) -> None:
    row = {
        "TRD_STATUS": status,
        "CREATED_AT": (NOW - timedelta(seconds=seconds)).isoformat(),
        "UPDATED_AT": (NOW - timedelta(seconds=4)).isoformat(),
    }
    assert was_in_flight(row, NOW, quiet_for=QUIET_FOR, stuck_after=STUCK_AFTER) is wrong


def test_each_cell_of_the_oracle_is_held_against_the_row(broken: Broken) -> None:
    _, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S9")
    old = planted.rows[case.trd_id]
    right = {**old, **case.case.after}
    assert list(judge_case(case, old, right)) == []
    for column in (*case.case.after, "AMOUNT", "BANK_ACC_NO"):
        (found,) = judge_case(case, old, {**right, column: "other"})
        assert (found.invariant, found.subject) == ("I4", case.trade_no)
        assert column in found.detail


def test_two_labels_of_one_name_must_be_one_voucher(broken: Broken) -> None:
    _, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S2")
    old = planted.rows[case.trd_id]
    cells = {"ACC_TRD_NUM": "GA" + "1" * 18, "E_ACC_TRD_NUM": "GA" + "2" * 18}
    (found,) = judge_case(case, old, {**old, **case.case.after, **cells})
    assert "E_ACC_TRD_NUM" in found.detail


@pytest.mark.parametrize(
    ("expected", "invariant"),
    [("healthy", "I11"), ("consistent", "I11"), ("human", "I9"), ("wait", "I9"), ("unreported", "I9")],
)
def test_a_row_written_that_no_fixer_may_mend_is_reported(
    broken: Broken, expected: str, invariant: str
) -> None:
    world, planted = broken
    key = next(key for key, word in sorted(planted.expected.items()) if word == expected)
    write_row(world, key, FAILED_MSG="修复")
    assert (invariant, planted.rows[key]["TRD_NUM"]) in violated(world, planted)


def test_a_posting_for_a_trade_in_doubt_is_reported(broken: Broken) -> None:
    world, planted = broken
    trade_no = number_of(planted, "wait")
    row = next(row for row in planted.rows.values() if row["TRD_NUM"] == trade_no)
    order = PostingOrder(
        trade_no, "withdraw", "2", int(row["AMOUNT"]), str(row["ACC_NO"]), f"PCL:{trade_no}:2", "piculus"
    )
    world.production(SYS_CODE).ledger.post(order)
    assert ("I9", trade_no) in violated(world, planted)


@pytest.mark.parametrize(("status", "is_wrong"), [(FAILED, False), (SUCCESS, True), (None, True)])
def test_a_further_number_while_the_first_had_not_failed_is_reported(
    broken: Broken, status: str | None, is_wrong: bool
) -> None:
    world, planted = broken
    case = next(one for one in planted.cases if one.case.id == "S2")  # never received by the bank
    if status is not None:
        pay(world, f"{case.trade_no}-0", status)
    request = world.production(SYS_CODE).tables.bank_request
    now = world.clock()
    opened = {"REQUEST_NO": f"{case.trade_no}-P1", "TRD_NUM": case.trade_no, "SEQ": 1, "KIND": "payout"}
    with writing(world.production(SYS_CODE).engine) as connection:
        connection.execute(
            insert(request).values(**opened, STATUS="created", AMOUNT=1, CREATED_AT=now, UPDATED_AT=now)
        )
    assert (("I9", case.trade_no) in violated(world, planted)) is is_wrong


def test_what_is_planted_later_is_noted_beside_what_was_there(broken: Broken) -> None:
    world, planted = broken
    before = dict(planted.rows)
    world.load_healthy(3, group=SYS_CODE, seed=9)
    note_before(world, planted)
    assert len(planted.rows) == len(before) + 3
    assert {key: planted.rows[key] for key in before} == before


# ---- the server's rows


def write_anomaly(state: str = "open", chain: Chain = (), outcomes: Sequence[str | None] = ()) -> None:
    """An anomaly of WD1 with this history and an attempt by tick for each outcome."""
    with unit_of_work() as session:
        group = make_group(session)
        anomaly = make_anomaly(session, group, trade_no="WD1", state=state, attempts=len(outcomes))
        for begin, to in chain:
            session.add(
                AnomalyEvent(
                    anomaly_id=anomaly.id, at=NOW, from_state=begin, to_state=to, code="x", actor_name="x"
                )
            )
        execution = Execution(
            group_id=group.id, anomaly_id=anomaly.id, fixer_code=FIXER, trade_no="WD1", created_at=NOW
        )
        session.add(execution)
        session.flush()
        for number, outcome in enumerate(outcomes, 1):
            session.add(
                Attempt(
                    execution_id=execution.id,
                    anomaly_id=anomaly.id,
                    group_id=group.id,
                    number=number,
                    command_id=f"c{number}",
                    trigger="tick",
                    actor_name="x",
                    outcome=outcome,
                    created_at=NOW,
                )
            )


def names(found: Iterable[Violation]) -> set[tuple[str, str]]:
    return {(one.invariant, one.subject) for one in found}


@pytest.mark.parametrize(
    ("chain", "state", "wrong"),
    [
        ([(None, "open"), ("open", "repairing"), ("repairing", "repaired")], "repaired", set()),
        ([(None, "open"), ("repairing", "repaired")], "repaired", {("I12", "WD1")}),
        ([(None, "open")], "repaired", {("I12", "WD1")}),
        ([(None, "repaired"), ("repaired", "open")], "open", {("I6", "WD1")}),
        ([(None, "repaired"), ("repaired", "repaired")], "repaired", set()),
    ],
)
def test_a_history_has_no_gap_and_leaves_no_end(
    app: Flask, chain: Chain, state: str, wrong: set[tuple[str, str]]
) -> None:
    write_anomaly(state, chain)
    assert names(server_rows.histories()) == wrong


@pytest.mark.parametrize(("failed", "wrong"), [(MAX_RETRIES + 1, set()), (MAX_RETRIES + 2, {("I7", "WD1")})])
def test_attempts_that_failed_by_themselves_are_counted(
    app: Flask, failed: int, wrong: set[tuple[str, str]]
) -> None:
    write_anomaly(outcomes=["failed"] * failed)
    assert names(server_rows.retries()) == wrong


def test_an_attempt_without_an_outcome_is_reported(app: Flask) -> None:
    write_anomaly(outcomes=["failed", None])
    assert names(server_rows.attempt_numbers()) == {("I8", "WD1")}


def test_an_attempt_that_is_missing_is_reported(app: Flask) -> None:
    write_anomaly(outcomes=["failed", "failed"])
    with unit_of_work() as session:
        session.execute(delete(Attempt).where(Attempt.number == 1))
    assert names(server_rows.attempt_numbers()) == {("I12", "WD1")}


def test_a_click_that_stands_in_no_audit_is_reported(app: Flask) -> None:
    write_anomaly(outcomes=["failed"])
    assert names(server_rows.audits()) == set()
    with unit_of_work() as session:
        session.execute(update(Attempt).values(trigger="click"))
    assert names(server_rows.audits()) == {("I7", "audit")}


def test_a_cancel_that_stands_in_no_audit_is_reported(app: Flask) -> None:
    write_anomaly(outcomes=["failed"])
    with unit_of_work() as session:
        anomaly_id = session.scalars(select(Attempt.anomaly_id)).one()
        event = {"at": NOW, "to_state": "open", "code": "cancel_requested", "actor_name": "x"}
        session.add(AnomalyEvent(anomaly_id=anomaly_id, command_id="c1", **event))
    assert names(server_rows.audits()) == {("I12", "audit")}


# ---- journals and the table


def test_repairs_in_hand_are_read_from_a_copy_of_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "a.journal"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE command (state TEXT, frame BLOB)")
    frame = '{"type": "%s", "trade_no": "WD%d", "command_id": "c%d"}'
    for number, (state, kind) in enumerate(
        [("started", "Repair"), ("finished", "Repair"), ("received", "Verify"), ("received", "Repair")]
    ):
        connection.execute("INSERT INTO command VALUES (?, ?)", (state, frame % (kind, number, number)))
    connection.commit()
    connection.close()
    assert unfinished_repairs(path) == {"WD0": "c0", "WD3": "c3"}
    assert unfinished_repairs(tmp_path / "never made") == {}


def test_the_table_names_every_violation_with_its_trade() -> None:
    outcome = Outcome(Terms(cycles=3, seed=42), violations=[Violation("I1", "WD9", "paid 2 times")])
    text = as_table(outcome)
    assert "42" in text
    assert "WD9  paid 2 times" in text
    lines = {line.split("  ")[0]: line for line in text.splitlines()}
    assert all(f"violations of {name}" in text for name in INVARIANTS)
    assert lines["violations of I1"].split()[3] == "1"
    assert as_table(replace(outcome, violations=[])).splitlines()[-1].split() == ["violations", "0"]


@pytest.mark.parametrize(("percent", "value"), [(50, 2.0), (99, 4.0), (25, 1.0)])
def test_a_percentile_is_one_of_the_values(percent: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == value
    assert percentile([], percent) is None
