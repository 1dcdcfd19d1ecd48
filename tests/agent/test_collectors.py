"""Collections on a production system in memory: what is reported, what is not, and what never ends one."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from agent.answers import MAX_CHUNK_ROWS, MOST_REASON, ReportedTrade
from agent.collectors import COLLECTORS, Collection, Collector, collect, index_collectors
from agent.collectors.base import MOST_BROKEN
from agent.decision import Decision, decide
from agent.errors import ConfigurationError, PortError
from agent.facts import Facts, Kind, Leg
from agent.fixers import FIXERS
from agent.fixers.base import verify
from agent.money import MAX_MINOR
from agent.records import MOST_TWINS, Window
from tests.agent.world import CASES, Desk, load_case, wait_for_failures_to_settle
from tests.fakes.production import blank_row

EVER = Window(start=datetime(2020, 1, 1, tzinfo=UTC), end=datetime(2030, 1, 1, tzinfo=UTC))
RECHARGE = "CO160724154936100036"
WITHDRAWAL = "WD160731140732100269"


class Collected:
    """What one collection reported, and how it counted."""

    def __init__(
        self, desk: Desk, codes: list[str] | None = None, window: Window = EVER, page: int = 500
    ) -> None:
        self.counts = (0, 0, 0)
        settings = replace(desk.settings, page=page)
        self.chunks = list(
            collect(
                codes or list(COLLECTORS),
                window,
                desk.production.ports,
                settings,
                desk.cancellation,
                self._note,
            )
        )
        self.rows: list[ReportedTrade] = [row for chunk in self.chunks for row in chunk]

    def _note(self, *counts: int) -> None:
        self.counts = (counts[0], counts[1], counts[2])

    @property
    def brief(self) -> list[tuple[str | None, str, str]]:
        """Fixer code, outcome and reason of each row."""
        return [(row.fixer_code, row.outcome, row.reason) for row in self.rows]


def add_recharge(desk: Desk, trade_id: int, status: int, bank: str | None, *, amount: object = 10_050) -> str:
    """An unbooked recharge."""
    number = f"CO{trade_id:018d}"
    desk.production.add_trade(blank_row(trade_id, number, status, Kind.RECHARGE), "recharge", amount=amount)
    desk.production.request(number, bank, "E1001" if bank == "failed" else None)
    return number


def test_the_collectors_are_the_fixers() -> None:
    assert set(COLLECTORS) == set(FIXERS)
    collector = next(iter(COLLECTORS.values()))
    with pytest.raises(ConfigurationError, match="registered twice"):
        index_collectors(collector, collector)


@pytest.mark.parametrize("case_id", CASES)
def test_each_case_is_reported_with_its_fixer_and_the_row_to_come(case_id: str) -> None:
    desk = Desk()
    number, code = load_case(desk, case_id)
    collected = Collected(desk)
    assert collected.brief == [(code, "repair", "")]
    row = collected.rows[0]
    assert (row.trade_no, row.row_hash) == (number, desk.row_hash(number))
    assert row.after is not None
    assert row.after["TRD_STATUS"] == CASES[case_id]["after"]["TRD_STATUS"]
    assert row.facts is not None


@pytest.mark.parametrize("case_id", CASES)
def test_a_repaired_trade_is_not_reported_again(case_id: str) -> None:
    desk = Desk()
    desk.attempt(*load_case(desk, case_id))
    desk.production.clock.advance(hours=1)
    assert Collected(desk).rows == []


def test_only_the_codes_asked_for_are_collected() -> None:
    desk = Desk()
    load_case(desk, "S1")
    load_case(desk, "S2")
    collected = Collected(desk, ["interWithdrawFixServiceImpl", "aCodeThisAgentDoesNotOffer"])
    assert [row.fixer_code for row in collected.rows] == ["interWithdrawFixServiceImpl"]


def test_trades_in_flight_are_left_alone() -> None:
    desk = Desk()
    number, _ = load_case(desk, "S1")
    desk.production.trades.change(number)
    assert Collected(desk).rows == []
    desk.production.clock.advance(minutes=10)
    assert len(Collected(desk).rows) == 1


def test_a_failed_withdrawal_with_nothing_in_the_ledger_is_not_even_asked_about() -> None:
    desk = Desk()
    desk.production.add_trade(blank_row(1, WITHDRAWAL, 9, Kind.WITHDRAW), "withdraw", "single_step")
    assert Collected(desk).rows == []
    assert "bank.facts" not in desk.production.faults.calls


def test_a_failed_withdrawal_that_production_noted_as_paid_after_all_is_for_a_person() -> None:
    desk = Desk()
    desk.production.add_trade(blank_row(1, WITHDRAWAL, 9, Kind.WITHDRAW), "withdraw", "single_step")
    desk.production.trades.note(desk.production.request(WITHDRAWAL, "success"), "success")
    assert Collected(desk).brief == [("withdrawFailedFixServiceImpl", "human", "failed but bank paid")]


def test_what_production_noted_as_paid_is_only_a_reason_to_ask_the_bank() -> None:
    desk = Desk()
    desk.production.add_trade(blank_row(1, WITHDRAWAL, 9, Kind.WITHDRAW), "withdraw", "single_step")
    number = desk.production.request(WITHDRAWAL, "failed", "E1001")
    desk.production.trades.note(number, "success")
    wait_for_failures_to_settle(desk)
    assert Collected(desk).rows == []
    assert "bank.facts" in desk.production.faults.calls


def test_a_failed_withdrawal_is_unverified_while_its_request_lines_cannot_be_read() -> None:
    desk = Desk()
    desk.production.add_trade(blank_row(1, WITHDRAWAL, 9, Kind.WITHDRAW), "withdraw", "single_step")
    desk.production.faults.down("trades.bank_requests")
    collected = Collected(desk)
    assert (collected.rows, collected.counts) == ([], (1, 1, 1))


def test_a_disagreement_no_fixer_may_mend_is_reported_for_a_person() -> None:
    desk = Desk()
    add_recharge(desk, 1, 8, "failed")
    code = "interRechargeFixServiceImpl"
    assert Collected(desk).brief == [(code, "human", "success without bank money")]


def test_what_only_the_bank_leaves_open_is_counted_as_unverified() -> None:
    desk = Desk()
    add_recharge(desk, 1, 9, "accepted")
    collected = Collected(desk)
    assert (collected.rows, collected.counts) == ([], (1, 1, 1))


def test_an_overdue_processing_trade_is_reported_while_the_bank_is_unclear() -> None:
    desk = Desk()
    add_recharge(desk, 1, 0, "accepted")
    assert Collected(desk).brief == [("rechargeTimeoutFixServiceImpl", "wait", "bank")]


def test_a_row_behind_its_ledger_is_reported_while_the_bank_is_unclear() -> None:
    desk = Desk()
    number = add_recharge(desk, 1, 9, "accepted")
    desk.production.book(number, Leg.FIRST)
    assert Collected(desk).brief == [("rechargeFailedFixServiceImpl", "wait", "bank")]


@pytest.mark.parametrize("port", ["bank.facts", "ledger.legs", "trades.bank_requests"])
def test_a_system_that_is_down_makes_rows_unverified_and_ends_nothing(port: str) -> None:
    desk = Desk()
    for trade_id in range(1, 8):
        add_recharge(desk, trade_id, 9, "success")
    add_recharge(desk, 8, 0, "success")
    desk.production.faults.down(port)
    collected = Collected(desk, page=3)
    assert [row.outcome for row in collected.rows] == ["wait"]
    assert collected.counts == (8, 7, 8)


def test_what_was_found_before_the_trade_database_failed_is_still_reported() -> None:
    desk = Desk()
    number = add_recharge(desk, 1, 8, "success")
    desk.production.add_trade(blank_row(2, number, 8, Kind.RECHARGE), "recharge")
    desk.production.faults.down("trades.suspects")
    ports, settings = desk.production.ports, desk.settings
    chunks = collect(list(COLLECTORS), EVER, ports, settings, desk.cancellation, lambda *_: None)
    assert [row.trade_no for row in next(chunks)] == [number]
    with pytest.raises(PortError):
        next(chunks)


def test_a_trade_database_that_is_down_is_said_not_hidden() -> None:
    desk = Desk()
    load_case(desk, "S1")
    desk.production.faults.down("trades.suspects")
    with pytest.raises(PortError):
        Collected(desk)


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (None, "meaningless: AMOUNT missing"),
        (0, "meaningless: AMOUNT = 0"),
        (-5, "meaningless: AMOUNT = -5"),
        ("-5", "meaningless: AMOUNT = -5"),
        (MAX_MINOR + 1, f"out_of_range: AMOUNT = {MAX_MINOR + 1}"),
        ("12,50", "malformed: AMOUNT = 12,50"),
        ("", "malformed: AMOUNT missing"),
        (12.5, "malformed: AMOUNT = 12.5"),
        ("1000.00", "malformed: AMOUNT with decimals = 1000.00"),
        ("a\nb" + "c" * 60, "malformed: AMOUNT = a b" + "c" * 36 + "…"),
        ("9" * 5000, "out_of_range: AMOUNT = " + "9" * 39 + "…"),
        ("-" + "9" * 5000, "meaningless: AMOUNT = -" + "9" * 38 + "…"),
        ("0" * 5000, "meaningless: AMOUNT = " + "0" * 39 + "…"),
    ],
)
def test_an_amount_that_makes_no_sense_is_reported_for_a_person(amount: object, reason: str) -> None:
    desk = Desk()
    desk.production.add_trade(blank_row(1, RECHARGE, 8, Kind.RECHARGE), "recharge", amount=amount)
    collected = Collected(desk)
    assert collected.brief == [(None, "human", reason)]
    assert collected.rows[0].amount_minor is None


@pytest.mark.parametrize("status", [0, 8])
def test_a_time_of_change_that_lies_ahead_is_reported_for_a_person_and_hides_nothing(status: int) -> None:
    desk = Desk()
    number, code = load_case(desk, "S1")
    stored = desk.production.trades._stored(number)[0]
    stored.row["TRD_STATUS"] = status
    stored.updated_at = datetime(2999, 1, 1, tzinfo=UTC)
    reason = "out_of_range: UPDATED_AT = 2999-01-01T00:00:00+00:00"
    assert Collected(desk).brief == [(None, "human", reason)]
    assert verify(number, desk.production.ports, desk.settings).reason == reason
    report = desk.attempt(number, code)
    assert (report.outcome, report.reason) == ("needs_human", reason)


def test_clocks_that_differ_by_minutes_leave_a_trade_in_flight() -> None:
    desk = Desk()
    number, _code = load_case(desk, "S1")
    desk.production.trades._stored(number)[0].updated_at = desk.production.clock() + timedelta(minutes=5)
    assert verify(number, desk.production.ports, desk.settings).outcome == "wait"


def test_an_unknown_status_kind_and_number_are_reported_for_a_person() -> None:
    desk = Desk()
    desk.production.add_trade(blank_row(1, RECHARGE, 7, Kind.RECHARGE), "recharge")
    desk.production.add_trade(blank_row(2, WITHDRAWAL, 8, Kind.WITHDRAW), "transfer")
    desk.production.add_trade(blank_row(3, "CO 16; DROP", 8, Kind.RECHARGE), "recharge")
    desk.production.add_trade(
        blank_row(4, "WD160731140732100270", 8, Kind.WITHDRAW), "withdraw", "three_step"
    )
    assert [row.reason for row in Collected(desk).rows] == [
        "out_of_range: TRD_STATUS = 7",
        "meaningless: TRD_KIND = transfer",
        "malformed: TRD_NUM = CO 16; DROP",
        "meaningless: POSTING_MODE = three_step",
    ]


def test_a_duplicate_number_is_reported_once_and_judged_no_further() -> None:
    desk = Desk()
    load_case(desk, "S1")
    number, _ = load_case(desk, "S1")
    desk.production.add_trade(blank_row(76, number, 8, Kind.RECHARGE), "recharge")
    for page in (1, 500):
        collected = Collected(desk, page=page)
        assert collected.brief == [(None, "human", "malformed: TRD_NUM on 2 rows, TRD_ID 75, 76")]
        assert collected.rows[0].trade_id == 75


def test_a_duplicate_is_told_with_its_twin_of_another_shard() -> None:
    desk = Desk()
    number, _ = load_case(desk, "S1")
    desk.production.add_trade(blank_row(76, number, 8, Kind.RECHARGE), "recharge")
    window = Window(start=EVER.start, end=EVER.end, shard=0, shards=2)
    assert Collected(desk, window=window).brief == [
        (None, "human", "malformed: TRD_NUM on 2 rows, TRD_ID 75, 76")
    ]


def test_a_number_that_stands_on_very_many_rows_is_told_without_reading_all_of_them() -> None:
    desk = Desk()
    for trade_id in range(1, MOST_TWINS + 2):
        desk.production.add_trade(blank_row(trade_id, RECHARGE, 8, Kind.RECHARGE), "recharge")
    reason = "malformed: TRD_NUM on 100+ rows, TRD_ID 1, 2, 3, 4, 5 …"
    assert Collected(desk).brief == [(None, "human", reason)]
    assert verify(RECHARGE, desk.production.ports, desk.settings).reason == reason


def test_one_bad_row_among_many_hides_none_of_them() -> None:
    desk = Desk()
    for trade_id in range(1, 21):
        add_recharge(desk, trade_id, 8, "success", amount="broken" if trade_id == 10 else 10_050)
    assert [row.outcome for row in Collected(desk, page=7).rows].count("repair") == 19


def own_collector(code: str, broken: list[str]) -> Collector:
    """One of another package, whose fixer breaks over these trades."""

    def diagnose(facts: Facts) -> Decision:
        if facts.trade_no in broken:
            raise ZeroDivisionError("of a fixer " + "x" * 1_000)
        return decide(facts)

    patterns = COLLECTORS["interRechargeFixServiceImpl"].patterns
    return Collector(code=code, patterns=patterns, diagnose=diagnose)


def pages_of(desk: Desk, *collectors: Collector, page: int) -> Iterator[list[ReportedTrade]]:
    """Collect by these, page by page."""
    collection = Collection(collectors, desk.production.ports, replace(desk.settings, page=page))
    return collection.pages(EVER, desk.cancellation, lambda *_: None)


def test_a_trade_that_breaks_its_fixer_is_for_a_person_and_hides_none() -> None:
    desk = Desk()
    numbers = [add_recharge(desk, trade_id, 8, "success") for trade_id in range(1, 6)]
    pages = pages_of(desk, own_collector("own", [numbers[2]]), page=500)
    rows = {row.trade_no: row for page in pages for row in page}
    assert [rows[number].outcome for number in numbers] == ["repair", "repair", "human", "repair", "repair"]
    assert rows[numbers[2]].reason.startswith("internal error: ZeroDivisionError: of a fixer xxx")
    assert len(rows[numbers[2]].reason) == MOST_REASON


def test_a_fixer_that_breaks_over_too_many_trades_ends_the_collection_behind_what_was_found() -> None:
    desk = Desk()
    numbers = [add_recharge(desk, trade_id, 8, "success") for trade_id in range(1, 41)]
    pages = pages_of(desk, own_collector("own", numbers[5:]), page=5)
    outcomes: list[str] = []

    def read_on() -> None:
        for page in pages:
            outcomes.extend(row.outcome for row in page)

    with pytest.raises(PortError) as ended:
        read_on()
    assert outcomes == ["repair"] * 5 + ["human"] * MOST_BROKEN
    told = str(ended.value)
    assert told.startswith(
        "internal error: the fixer own broke off over more than 20 trades: ZeroDivisionError"
    )
    assert len(told) == MOST_REASON


def test_each_fixer_may_break_over_a_few_trades_and_each_collection_counts_anew() -> None:
    desk = Desk()
    numbers = [add_recharge(desk, trade_id, 8, "success") for trade_id in range(1, MOST_BROKEN + 1)]
    others = [add_recharge(desk, trade_id, 9, "success") for trade_id in range(101, MOST_BROKEN + 101)]
    failed = COLLECTORS["rechargeFailedFixServiceImpl"].patterns
    own, other = own_collector("own", numbers), own_collector("other", others)
    other = msgspec.structs.replace(other, patterns=failed)
    for _again in range(2):
        rows = [row for page in pages_of(desk, own, other, page=500) for row in page]
        assert [row.outcome for row in rows] == ["human"] * 2 * MOST_BROKEN


def test_every_row_of_the_window_is_reached_whatever_the_page() -> None:
    desk = Desk()
    for trade_id in range(1, 251):
        add_recharge(desk, trade_id, 8, "success")
    collected = Collected(desk, page=40)
    assert [row.trade_id for row in collected.rows] == list(range(1, 251))
    assert [len(chunk) for chunk in collected.chunks] == [MAX_CHUNK_ROWS, MAX_CHUNK_ROWS, 50]
    assert collected.counts == (250, 0, 250)


def test_shards_cover_every_row_exactly_once() -> None:
    desk = Desk()
    for trade_id in range(1, 31):
        add_recharge(desk, trade_id, 8, "success")
    shards = [Window(start=EVER.start, end=EVER.end, shard=shard, shards=3) for shard in range(3)]
    found = [row.trade_id for window in shards for row in Collected(desk, window=window).rows]
    assert sorted(found) == list(range(1, 31))


def test_rows_changed_outside_the_window_are_not_collected() -> None:
    desk = Desk()
    load_case(desk, "S1")
    changed_at = desk.production.clock() - timedelta(days=2, seconds=1)
    before = Window(start=EVER.start, end=changed_at)
    after = Window(start=changed_at, end=EVER.end)
    assert (len(Collected(desk, window=before).rows), len(Collected(desk, window=after).rows)) == (0, 1)


def test_a_cancelled_collection_ends_at_the_next_page() -> None:
    desk = Desk()
    for trade_id in range(1, 21):
        add_recharge(desk, trade_id, 8, "success")
    desk.production.faults.on("bank.facts", lambda: setattr(desk.cancellation, "is_on", True))
    assert len(Collected(desk, page=5).rows) == 5


@pytest.mark.parametrize("case_id", ["S2", "S3", "S7a", "S7b"])
def test_a_repair_half_done_is_reported_to_be_resumed(case_id: str) -> None:
    desk = Desk()
    number, code = load_case(desk, case_id)
    desk.production.bank.default_reply = "accepted"
    desk.attempt(number, code)
    assert Collected(desk).brief == [(code, "wait", "bank")]
    desk.production.bank.settle(desk.production.bank.asked[0])
    assert Collected(desk).brief == [(code, "repair", "resume")]


def test_a_repair_whose_payout_failed_is_reported_for_a_person() -> None:
    desk = Desk()
    number, code = load_case(desk, "S2")
    desk.production.bank.default_reply = "failed:E1001"
    desk.attempt(number, code)
    assert Collected(desk).brief == [(code, "wait", "bank")]
    wait_for_failures_to_settle(desk)
    assert Collected(desk).brief == [(code, "repair", "resume")]
    desk.attempt(number, code)
    assert Collected(desk).brief == [(code, "human", "debited, payout failed")]


def test_a_step_table_that_is_down_sends_nobody_a_repair_half_done() -> None:
    desk = Desk()
    desk.production.bank.default_reply = "accepted"
    desk.attempt(*load_case(desk, "S2"))
    desk.production.faults.down("trades.find_repair")
    collected = Collected(desk)
    assert (collected.rows, collected.counts[1]) == ([], 1)


def test_a_trade_too_old_is_reported_for_a_person_with_the_row_a_repair_would_leave() -> None:
    desk = Desk()
    trade_no, code = load_case(desk, "S2")
    desk.production.clock.advance(days=89)
    (trade,) = Collected(desk).rows
    assert (trade.trade_no, trade.outcome, trade.fixer_code) == (trade_no, "human", code)
    assert trade.reason == "older than what is repaired without a person, in days: 90"
    assert trade.after is not None
