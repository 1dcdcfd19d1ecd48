"""Rows that change under a repair, attempts that overtake each other, and reading back what was written."""

import copy

import pytest

from agent.facts import Leg, Row
from agent.fixers.base import verify
from agent.records import StepRow
from tests.agent.world import AMOUNT, BALANCE, Desk, load_case, nothing_was_touched, numbers
from tests.fakes.faults import Crash

# ---- the row changes under our hands


@pytest.mark.parametrize("status", [0, 9])
@pytest.mark.parametrize("case_id", ["S6", "S9"])
def test_a_row_that_changes_before_any_money_is_refused(case_id: str, status: int) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    trades = desk.production.trades
    desk.production.faults.on(
        "trades.write_row", lambda: trades.change(trade_no, TRD_STATUS=status, FAILED_MSG="人工")
    )
    assert desk.attempt(trade_no, code).outcome == "refused"
    assert (trades.corrections, trades.repairs[trade_no].state) == ([], "abandoned")


def test_a_row_that_changes_after_money_moved_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    trades = desk.production.trades
    desk.production.faults.on("trades.write_row", lambda: trades.change(trade_no, TRD_STATUS=9))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "row changed after money moved")
    assert trades.repairs[trade_no].state == "open"


def test_a_row_production_finished_itself_after_money_moved_is_accepted() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S8")

    def finish() -> None:
        voucher = desk.production.ledger.of_trade(trade_no)[0].voucher_no
        legs: Row = {
            "ACC_TRD_NUM": voucher,
            "ACC_TRD_STATUS": 1,
            "E_ACC_TRD_NUM": voucher,
            "E_ACC_TRD_STATUS": 1,
        }
        desk.production.trades.change(trade_no, **{**legs, "TRD_STATUS": 8, "FAILED_MSG": None})

    desk.production.faults.on("trades.write_row", finish)
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert desk.production.trades.corrections == []


@pytest.mark.parametrize("case_id", ["S1", "S2", "S4", "S5", "S7a"])
def test_an_amount_that_changes_between_the_look_and_the_claim_is_not_posted(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    stored = desk.production.trades._stored(trade_no)[0]
    desk.production.faults.on("trades.claim_repair", lambda: setattr(stored, "amount", 50))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("refused", False)
    assert report.reason == "the row has changed since it was reported"
    assert nothing_was_touched(desk, trade_no)


@pytest.mark.parametrize("case_id", ["S1", "S2"])
def test_nothing_is_posted_of_a_number_that_a_second_row_takes_before_the_claim(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    trades = desk.production.trades
    twin = copy.deepcopy(trades._stored(trade_no)[0])
    twin.row["TRD_ID"] = 999
    desk.production.faults.on("trades.claim_repair", lambda: trades.put(twin))
    assert desk.attempt(trade_no, code).outcome == "refused"
    assert nothing_was_touched(desk, trade_no)


# ---- other attempts


def test_an_attempt_with_an_older_fence_is_fenced() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.bank.default_reply = "accepted"
    desk.attempt(trade_no, code, fence=7)
    report = desk.attempt(trade_no, code, fence=6)
    assert (report.outcome, report.reason) == ("refused", "fenced")


def test_an_attempt_overtaken_between_its_steps_is_fenced_before_it_pays() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")

    def overtake() -> None:
        desk.production.faults.heal()
        desk.production.bank.default_reply = "accepted"
        desk.attempt(trade_no, code, fence=9)

    desk.production.faults.on("ledger.post", overtake)
    report = desk.attempt(trade_no, code, fence=1)
    assert (report.outcome, report.reason) == ("refused", "fenced")
    assert desk.production.bank.asked == [f"{trade_no}-0"]
    assert desk.production.balance(trade_no) == BALANCE - AMOUNT


def test_an_attempt_that_wakes_behind_a_newer_one_that_failed_pays_under_no_further_number() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.failure_settles_s = 0
    desk.production.bank.replies.append("failed:E1001")

    def overtake() -> None:
        desk.production.faults.heal()
        assert desk.attempt(trade_no, code, fence=7).outcome == "failed"
        desk.production.clock.advance(hours=2)

    desk.production.faults.on("trades.find_repair", overtake)
    report = desk.attempt(trade_no, code, fence=6)
    assert (report.outcome, report.reason) == ("refused", "fenced")
    assert desk.production.bank.asked == [f"{trade_no}-P1"]


def test_a_whole_repair_that_came_between_reading_and_claiming_is_noticed() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S7a")
    desk.production.bank.deduplicates = False

    def overtake() -> None:
        desk.production.faults.heal()
        assert desk.attempt(trade_no, code, fence=2).outcome == "repaired"

    desk.production.faults.on("trades.claim_repair", overtake)
    assert desk.attempt(trade_no, code, fence=3).outcome == "refused"
    assert numbers(desk) == [f"{trade_no}-P1"]


def test_repairing_twice_moves_money_once() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.attempt(trade_no, code)
    desk.production.clock.advance(hours=1)
    assert desk.attempt(trade_no, code).outcome == "already_consistent"
    assert desk.production.balance(trade_no) == BALANCE - AMOUNT
    assert len(numbers(desk)) == 1


# ---- reading back


def test_nothing_is_repaired_that_does_not_read_back() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    record = desk.production.bank.records[f"{trade_no}-0"]
    desk.production.faults.on("trades.write_row", lambda: setattr(record, "status", "accepted"))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("unknown", True)
    desk.production.faults.heal()
    record.status = "success"
    assert desk.attempt(trade_no, code).outcome == "repaired"


def test_what_contradicts_itself_when_read_back_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    record = desk.production.bank.records[f"{trade_no}-0"]
    desk.production.faults.on("trades.write_row", lambda: setattr(record, "amount", AMOUNT + 1))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "read back: mismatch")


def annotate_once_written(desk: Desk, trade_no: str) -> None:
    """Someone writes their own message as soon as the row is corrected."""
    trades = desk.production.trades

    def annotate() -> None:
        if trades.corrections and trades.row(trade_no)["FAILED_MSG"] != "客户来电":
            trades.change(trade_no, FAILED_MSG="客户来电")

    desk.production.faults.on("trades.find", annotate)


@pytest.mark.parametrize("case_id", ["S1", "S2", "S7a", "S9"])
def test_a_row_that_reads_back_consistent_and_otherwise_than_written_is_told_to_a_person_once(
    case_id: str,
) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    annotate_once_written(desk, trade_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "read back: the row is not as it was written")
    assert [(step.name, step.state) for step in report.steps][-1] == ("read_back", "failed")
    assert desk.production.trades.repairs[trade_no].state == "done"
    desk.production.clock.advance(hours=1)
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "consistent"
    assert desk.attempt(trade_no, code).outcome == "already_consistent"
    assert len(desk.production.trades.corrections) == 1


@pytest.mark.parametrize("case_id", ["S1", "S2", "S7a", "S9"])
def test_a_row_that_makes_no_sense_once_it_was_written_is_for_a_person(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    trades = desk.production.trades

    def spoil() -> None:
        if trades.corrections and trades.row(trade_no)["TRD_STATUS"] != 5:
            trades.change(trade_no, TRD_STATUS=5)

    desk.production.faults.on("trades.find", spoil)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "out_of_range: TRD_STATUS = 5")
    assert [(step.name, step.state) for step in report.steps][-1] == ("read_back", "intended")
    assert trades.repairs[trade_no].state == "open"


@pytest.mark.parametrize("case_id", ["S1", "S2", "S7a"])
def test_a_row_annotated_behind_an_agent_that_died_on_having_written_it_is_told_once_too(
    case_id: str,
) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.faults.down("trades.write_row", "after", Crash())
    with pytest.raises(Crash):
        desk.attempt(trade_no, code)
    desk.production.faults.heal()
    desk.production.trades.change(trade_no, FAILED_MSG="客户来电")
    desk.production.clock.advance(hours=1)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "consistent"


def test_a_repair_is_not_closed_on_a_row_that_is_neither_consistent_nor_as_written() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    record = desk.production.bank.records[f"{trade_no}-0"]
    desk.production.faults.on("trades.write_row", lambda: setattr(record, "amount", AMOUNT + 1))
    annotate_once_written(desk, trade_no)
    assert desk.attempt(trade_no, code).reason == "read back: mismatch"
    assert desk.production.trades.repairs[trade_no].state == "open"


@pytest.mark.parametrize("case_id", ["S1", "S4", "S8"])
def test_a_row_that_production_broke_again_after_it_was_written_is_for_a_person(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    trades = desk.production.trades
    broken = trades.row(trade_no)

    def break_again() -> None:
        if trades.corrections:
            trades.change(trade_no, **broken)

    desk.production.faults.on("trades.find", break_again)
    reports = [desk.attempt(trade_no, code) for _ in range(2)]
    assert {(each.outcome, each.reason) for each in reports} == {
        ("needs_human", "read back: the row is not as it was written")
    }
    assert len(trades.corrections) == 1


def test_a_debit_that_production_posts_after_a_trade_was_confirmed_failed_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S9")
    trades, ledger = desk.production.trades, desk.production.ledger

    def debit() -> None:
        if trades.corrections and not ledger.of_trade(trade_no):
            desk.production.book(trade_no, Leg.BOTH)

    desk.production.faults.on("trades.find", debit)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.money_moved) == ("needs_human", False)
    assert report.reason == "read back: the ledger or the bank has changed meanwhile"
    assert desk.production.bank.asked == []


def test_a_confirmed_failed_trade_is_written_without_moving_money() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S9")
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.is_confirmed_failed, report.money_moved) == ("repaired", True, False)
    assert [step.name for step in report.steps] == ["write_row", "read_back"]
    assert desk.production.bank.asked == []


def test_steps_are_written_before_and_after_each_effect() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2", bookkeeping="two_step")
    desk.attempt(trade_no, code)
    told = [(step.name, step.state) for step in desk.told]
    assert told.count(("pay", "intended")) == 2  # once more when the bank is let be asked
    assert list(dict.fromkeys(told)) == [
        (name, state)
        for name in ("post_first", "pay", "post_second", "write_row", "read_back")
        for state in ("intended", "done")
    ]
    assert f"PCL:PBAP:{trade_no}:1" in desk.production.trades.repair_steps


def test_what_the_step_log_raises_leaves_a_repair_that_can_be_resumed() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")

    class Leaving(Exception):
        pass

    class Log(list[StepRow]):
        def append(self, step: StepRow) -> None:
            if step.name == "pay" and step.state == "done":
                raise Leaving

    desk.told = Log()
    with pytest.raises(Leaving):
        desk.attempt(trade_no, code)
    desk.told = []
    assert desk.attempt(trade_no, code).outcome == "repaired"
    assert len(numbers(desk)) == 1
