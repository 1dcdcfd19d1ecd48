"""What a repair refuses, waits for or leaves to a person before anything is touched; and looking only."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from agent.errors import ConfigurationError, FencedError
from agent.facts import Kind
from agent.fixers import FIXERS, index_by_code, with_entry_points
from agent.fixers.base import verify
from tests.agent.world import (
    AMOUNT,
    BALANCE,
    CASES,
    Desk,
    load_case,
    nothing_was_touched,
)
from tests.fakes.production import blank_row

MOVING = tuple(case_id for case_id in CASES if case_id not in ("S6", "S9"))


# ---- the registry


def test_the_registry_holds_the_eight_codes_of_the_product_document() -> None:
    assert set(FIXERS) == {case["fixer"] for case in CASES.values()}
    assert all(code[0].islower() for code in FIXERS)


def test_a_code_registered_twice_is_refused() -> None:
    fixer = next(iter(FIXERS.values()))
    with pytest.raises(ConfigurationError, match="registered twice"):
        index_by_code(fixer, fixer)


def test_an_entry_point_nobody_offers_is_refused() -> None:
    assert with_entry_points([]) == FIXERS
    with pytest.raises(ConfigurationError, match="no installed package offers"):
        with_entry_points(["nobody"])


def test_a_fixer_of_another_package_joins_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "another_package.py").write_text(
        "import msgspec\nfrom agent.fixers import FIXERS\n"
        "Ours = msgspec.structs.replace(FIXERS['interRechargeFixServiceImpl'], code='oursFixServiceImpl')\n"
        "Odd = 'not a fixer'\n"
    )
    package = tmp_path / "another_package-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: another-package\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(
        "[piculus.fixers]\nours = another_package:Ours\nodd = another_package:Odd\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert set(with_entry_points(["ours"])) == {*FIXERS, "oursFixServiceImpl"}
    with pytest.raises(ConfigurationError, match="is not a Fixer"):
        with_entry_points(["odd"])
    with pytest.raises(ConfigurationError, match="registered twice"):
        with_entry_points(["ours", "ours"])


# ---- before anything is touched


def test_a_trade_in_flight_is_waited_for() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    desk.production.trades.change(trade_no)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "in flight")
    assert nothing_was_touched(desk, trade_no)


def test_a_processing_trade_younger_than_the_limit_is_waited_for() -> None:
    desk = Desk()
    row = blank_row(1, "CO160724154936100036", 0, Kind.RECHARGE)
    desk.production.add_trade(row, "recharge", at=desk.production.clock() - timedelta(minutes=20))
    desk.production.request("CO160724154936100036", "success")
    assert desk.attempt("CO160724154936100036", "rechargeTimeoutFixServiceImpl").outcome == "wait"
    desk.production.clock.advance(minutes=11)
    assert desk.attempt("CO160724154936100036", "rechargeTimeoutFixServiceImpl").outcome == "repaired"


def test_a_request_line_in_another_unit_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    trades = desk.production.trades
    trades.requests = [
        msgspec.structs.replace(each, amount_minor=None, raw_amount="100.50") for each in trades.requests
    ]
    report = desk.attempt(trade_no, code)
    assert report.outcome == "needs_human"
    facts = verify(trade_no, desk.production.ports, desk.settings).facts
    assert facts is not None
    assert facts.bank.detail.endswith("asks for 100.50, which has decimals and so is not in fen")
    assert nothing_was_touched(desk, trade_no)


@pytest.mark.parametrize(
    ("trade_id", "reason"),
    [
        ("75", "malformed: TRD_ID = 75"),
        ("7.50", "malformed: TRD_ID = 7.50"),
        (None, "malformed: TRD_ID missing"),
        (2**63, f"out_of_range: TRD_ID = {2**63}"),
    ],
)
def test_a_row_that_could_not_be_found_again_is_for_a_person_before_anything(
    trade_id: int | str | None, reason: str
) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.trades._stored(trade_no)[0].row["TRD_ID"] = trade_id
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", reason)
    assert desk.production.trades.find_repair(trade_no) is None
    assert nothing_was_touched(desk, trade_no)


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (None, "malformed: VERSION missing"),
        ("7", "malformed: VERSION = 7"),
        ("7.50", "malformed: VERSION = 7.50"),
        (2**63 - 1, f"out_of_range: VERSION = {2**63 - 1}"),
    ],
)
def test_a_row_whose_version_could_not_be_kept_or_raised_is_for_a_person_before_anything(
    version: int | str | None, reason: str
) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.trades._stored(trade_no)[0].version = version
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", reason)
    assert nothing_was_touched(desk, trade_no)


def test_a_row_other_than_the_one_reported_is_refused() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    report = desk.attempt(trade_no, code, row_hash="of another day")
    assert report.outcome == "refused"
    assert nothing_was_touched(desk, trade_no)


@pytest.mark.parametrize("code", sorted(FIXERS))
def test_a_forged_command_on_a_healthy_trade_does_nothing(code: str) -> None:
    """I11: what is consistent is never written, whoever asks."""
    desk = Desk()
    trade_no, right_code = load_case(desk, "S1")
    desk.attempt(trade_no, right_code)
    desk.production.clock.advance(hours=1)
    entries = len(desk.production.ledger.entries)
    assert desk.attempt(trade_no, code).outcome == "already_consistent"
    assert len(desk.production.ledger.entries) == entries
    assert len(desk.production.trades.corrections) == 1


@pytest.mark.parametrize("code", sorted(set(FIXERS) - {"interWithdrawFixServiceImpl"}))
def test_a_fixer_the_facts_do_not_call_for_is_refused(code: str) -> None:
    desk = Desk()
    trade_no, _ = load_case(desk, "S2")
    assert desk.attempt(trade_no, code).outcome == "refused"
    assert nothing_was_touched(desk, trade_no)


def test_a_fixer_the_agent_does_not_offer_is_refused() -> None:
    desk = Desk()
    trade_no, _ = load_case(desk, "S2")
    assert desk.attempt(trade_no, "someoneElsesFix").outcome == "refused"


def test_a_missing_row_and_a_duplicate_number_are_for_a_person() -> None:
    desk = Desk()
    assert desk.attempt("CO160724154936100036", "interRechargeFixServiceImpl").outcome == "needs_human"
    trade_no, code = load_case(desk, "S1")
    row = blank_row(76, trade_no, 8, Kind.RECHARGE)
    desk.production.add_trade(row, "recharge")
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert nothing_was_touched(desk, trade_no)


def test_what_the_bank_does_not_know_is_waited_for() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S9")
    desk.production.bank.closed_until = desk.production.clock() - timedelta(days=30)
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("wait", "bank")
    assert nothing_was_touched(desk, trade_no)


def test_a_voucher_on_the_row_that_is_not_the_ledgers_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S3")
    desk.production.trades._stored(trade_no)[0].row["ACC_TRD_NUM"] = "GA999999999999999999"
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "mismatch")


def test_a_voucher_on_the_row_that_the_ledger_does_not_hold_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S1")
    desk.production.trades._stored(trade_no)[0].row["ACC_TRD_NUM"] = "GA999999999999999999"
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.reason) == ("needs_human", "mismatch")
    assert nothing_was_touched(desk, trade_no)


def test_a_request_for_another_amount_is_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.request(trade_no, None, seq=1, amount=AMOUNT + 1)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert nothing_was_touched(desk, trade_no)


def test_two_requests_that_may_be_alive_are_for_a_person() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.request(trade_no, None, seq=1)
    assert desk.attempt(trade_no, code).outcome == "needs_human"
    assert nothing_was_touched(desk, trade_no)


# ---- cancelling


@pytest.mark.parametrize("case_id", ["S6", "S9"])
def test_a_cancel_after_the_row_is_written_changes_nothing(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.production.faults.on("trades.write_row", lambda: setattr(desk.cancellation, "is_on", True))
    report = desk.attempt(trade_no, code)
    assert (report.outcome, report.is_confirmed_failed) == ("repaired", True)
    assert desk.production.trades.repairs[trade_no].state == "done"


@pytest.mark.parametrize("case_id", CASES)
def test_a_cancel_before_the_first_effect_stops_everything(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    desk.cancellation.is_on = True
    assert desk.attempt(trade_no, code).outcome == "cancelled"
    assert nothing_was_touched(desk, trade_no)


def test_a_cancel_between_claim_and_posting_closes_the_repair() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.faults.on("trades.claim_repair", lambda: setattr(desk.cancellation, "is_on", True))
    assert desk.attempt(trade_no, code).outcome == "cancelled"
    assert desk.production.trades.repairs[trade_no].state == "abandoned"
    assert desk.production.balance(trade_no) == BALANCE


@pytest.mark.parametrize("case_id", MOVING)
def test_a_cancel_after_money_has_moved_changes_nothing(case_id: str) -> None:
    desk = Desk()
    trade_no, code = load_case(desk, case_id)
    money = "bank.pay" if case_id in ("S3", "S7a", "S7b") else "ledger.post"
    desk.production.faults.on(money, lambda: setattr(desk.cancellation, "is_on", True))
    assert desk.attempt(trade_no, code).outcome == "repaired"


# ---- looking


def test_looking_writes_nothing_and_foretells_the_row() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S3")
    report = verify(trade_no, desk.production.ports, desk.settings)
    assert (report.outcome, report.fixer_code) == ("repair", code)
    assert report.after is not None
    assert (report.after["ACC_TRD_NUM"], report.after["E_ACC_TRD_NUM"]) == ("GA160724154946100113", None)
    assert nothing_was_touched(desk, trade_no)


def test_looking_tells_missing_broken_and_unreachable_apart() -> None:
    desk = Desk()
    assert verify("CO160724154936100036", desk.production.ports, desk.settings).outcome == "missing"
    trade_no, _ = load_case(desk, "S1")
    desk.production.faults.down("trades.find")
    assert verify(trade_no, desk.production.ports, desk.settings).outcome == "error"
    desk.production.faults.heal()
    desk.production.trades._stored(trade_no)[0].amount = "12,50"
    report = verify(trade_no, desk.production.ports, desk.settings)
    assert (report.outcome, report.reason) == ("human", "malformed: AMOUNT = 12,50")


def test_looking_at_a_number_of_two_rows_tells_both() -> None:
    desk = Desk()
    trade_no, _ = load_case(desk, "S1")
    desk.production.add_trade(blank_row(76, trade_no, 8, Kind.RECHARGE), "recharge")
    report = verify(trade_no, desk.production.ports, desk.settings)
    assert (report.outcome, report.reason) == ("human", "malformed: TRD_NUM on 2 rows, TRD_ID 75, 76")


def test_a_fenced_error_says_so() -> None:
    assert "newer attempt" in str(FencedError())
