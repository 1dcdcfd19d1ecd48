"""The bank over HTTP when things go wrong: whatever it says, one trade's answer never raises."""

import hashlib
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import msgspec
import pytest
import time_machine
import urllib3

from agent.adapters.bank_http import HttpBank
from agent.adapters.names import BankNames
from agent.adapters.rows import UNDATED
from agent.adapters.settlement import read_settlement
from agent.errors import BankConflictError, ConfigurationError, PortError
from agent.facts import BankFact, BankState, NumberFact, RequestFact
from agent.money import Money
from agent.ports import BankPort
from agent.records import BankRequest, PayoutReply, Trade
from tests.contract.bank_places import IMPATIENT, NOW, SETTLED, HttpBankPlace
from tests.contract.odd_bank import OddBank, Say, Speak, odd_bank
from tests.contract.trades import new_trade, request_of

AMOUNT = Money(10_050)


def fact_of(bank: BankPort, trade: Trade, *requests: BankRequest) -> BankFact:
    return bank.facts([trade], {trade.trade_no: list(requests)})[trade.trade_no]


def paid_before(place: HttpBankPlace) -> tuple[Trade, BankRequest]:
    trade = new_trade()
    request = request_of(trade, created_at=SETTLED)
    place.put(request.request_no, "success", account=trade.bank_account_no)
    return trade, request


WHOLE = {"amount_minor": AMOUNT.minor, "currency": AMOUNT.currency, "account": "6222"}
"""What an answer to a payout tells of it."""


class TestFaultsOfInquiries:
    @pytest.mark.parametrize(
        ("fault", "state"),
        [
            ({"kind": "timeout_before"}, BankState.UNKNOWN),
            ({"kind": "html"}, BankState.UNKNOWN),
            ({"kind": "server_error"}, BankState.UNKNOWN),
            ({"kind": "unknown_code"}, BankState.UNKNOWN),
            ({"kind": "wrong_amount"}, BankState.MISMATCH),
            ({"kind": "slow"}, BankState.SUCCESS),
        ],
        ids=lambda value: value["kind"] if isinstance(value, dict) else value.value,
    )
    def test_each_has_its_state(
        self, http_bank: HttpBankPlace, fault: dict[str, Any], state: BankState
    ) -> None:
        trade, request = paid_before(http_bank)
        http_bank.running.faults.set({"operation": "inquiry", "seconds": 0, **fault})
        fact = fact_of(http_bank.bank, trade, request)
        assert fact.state is state
        if state is not BankState.SUCCESS:
            assert fact.detail
        http_bank.running.faults.clear()
        assert fact_of(http_bank.bank, trade, request).state is BankState.SUCCESS

    def test_a_bank_that_hangs_is_not_waited_for(self, http_bank: HttpBankPlace) -> None:
        trade, request = paid_before(http_bank)
        impatient = HttpBank(http_bank.running.url, http_bank.running.token, IMPATIENT)
        http_bank.running.faults.set({"kind": "slow", "operation": "inquiry", "seconds": 30})
        told = fact_of(impatient, trade, request).detail
        assert told == f"{request.request_no}: no answer: ReadTimeoutError"
        impatient.close()

    @pytest.mark.parametrize("kind", ["html", "server_error"])
    def test_one_number_the_bank_chokes_on_hides_no_other(self, http_bank: HttpBankPlace, kind: str) -> None:
        pairs = [paid_before(http_bank) for _ in range(40)]
        bad_trade, bad_request = pairs[17]
        http_bank.running.faults.set(
            {"kind": kind, "operation": "inquiry", "request_no": bad_request.request_no}
        )
        facts = http_bank.bank.facts(
            [trade for trade, _ in pairs], {trade.trade_no: [request] for trade, request in pairs}
        )
        unknown = [no for no, fact in facts.items() if fact.state is BankState.UNKNOWN]
        assert unknown == [bad_trade.trade_no]
        assert len(facts) == 40

    def test_more_numbers_than_one_inquiry_takes(self, http_bank: HttpBankPlace) -> None:
        trade, request = paid_before(http_bank)
        trades = [new_trade() for _ in range(1_050)]
        requests = {each.trade_no: [request_of(each, created_at=SETTLED)] for each in trades}
        facts = http_bank.bank.facts([*trades, trade], {**requests, trade.trade_no: [request]})
        states = [fact.state for fact in facts.values()]
        assert states.count(BankState.FAIL) == 1_050
        assert facts[trade.trade_no].state is BankState.SUCCESS


class TestFaultsOfPayouts:
    @pytest.mark.parametrize(
        ("fault", "reply", "is_paid"),
        [
            ({"kind": "timeout_before"}, ("unknown", None), False),
            ({"kind": "timeout_after"}, ("unknown", None), True),
            ({"kind": "html"}, ("unknown", None), False),
            ({"kind": "html", "accept": True}, ("unknown", None), True),
            ({"kind": "server_error"}, ("unknown", None), False),
            ({"kind": "server_error", "accept": True}, ("unknown", None), True),
            ({"kind": "slow"}, ("success", None), True),
            ({"kind": "reject", "code": "E1002"}, ("failed", "E1002"), False),
            ({"kind": "reject", "code": "E7777"}, ("unknown", "E7777"), False),
            ({"kind": "unknown_code"}, ("unknown", "E9999"), False),
        ],
    )
    def test_each_has_its_reply(
        self,
        http_bank: HttpBankPlace,
        fault: dict[str, Any],
        reply: tuple[str, str | None],
        is_paid: bool,
    ) -> None:
        trade = new_trade()
        request = request_of(trade, created_at=SETTLED)
        http_bank.running.faults.set({"operation": "payout", "seconds": 0, **fault})
        said = http_bank.bank.pay(request.request_no, AMOUNT, trade.bank_account_no)
        assert (said.status, said.code) == reply
        assert http_bank.paid(request.request_no) == ([10_050] if is_paid else [])

    def test_a_payout_of_another_amount_is_no_success(self, http_bank: HttpBankPlace) -> None:
        trade = new_trade()
        request = request_of(trade)
        http_bank.running.faults.set({"kind": "wrong_amount", "operation": "payout"})
        assert http_bank.bank.pay(request.request_no, AMOUNT, trade.bank_account_no).status == "unknown"
        assert fact_of(http_bank.bank, trade, request).state is BankState.MISMATCH

    def test_a_failure_that_may_succeed_late_is_not_believed(self, http_bank: HttpBankPlace) -> None:
        trade = new_trade()
        request = request_of(trade)
        http_bank.running.faults.set({"kind": "late_success", "operation": "payout", "seconds": 3600})
        assert http_bank.bank.pay(request.request_no, AMOUNT, trade.bank_account_no).status == "failed"
        fact = fact_of(http_bank.bank, trade, request)
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "failed")
        assert "failed with E1003, but not yet 300 s ago" in fact.detail

    def test_a_lost_reply_is_asked_for_again_under_the_same_number(self, http_bank: HttpBankPlace) -> None:
        trade = new_trade()
        request = request_of(trade)
        http_bank.running.faults.set(
            {"kind": "timeout_after", "operation": "payout", "next_calls": 1, "seconds": 0}
        )
        replies = [
            http_bank.bank.pay(request.request_no, AMOUNT, trade.bank_account_no).status for _ in range(2)
        ]
        assert replies == ["unknown", "success"]
        assert http_bank.paid(request.request_no) == [10_050]


class TestSettlementFiles:
    @pytest.mark.parametrize("kind", ["wrong_amount", "unknown_code", "html", "server_error"])
    def test_a_file_that_proves_nothing_leaves_it_unknown(self, http_bank: HttpBankPlace, kind: str) -> None:
        trade = new_trade()
        # A minute of its own: a file once verified is not fetched again.
        own_day = SETTLED.replace(hour=SETTLED.hour - 1, minute=trade.trade_id % 58)
        request = request_of(trade, created_at=own_day)
        fresh = HttpBank(http_bank.running.url, http_bank.running.token)
        http_bank.running.faults.set({"kind": kind, "operation": "settlement"})
        fact = fact_of(fresh, trade, request)
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "not_found")
        assert "settlement file" in fact.detail
        http_bank.running.faults.clear()
        assert fact_of(fresh, trade, request).state is BankState.FAIL
        fresh.close()

    def test_a_verified_file_is_kept(self, http_bank: HttpBankPlace) -> None:
        trade = new_trade()
        request = request_of(trade, created_at=SETTLED)
        assert fact_of(http_bank.bank, trade, request).state is BankState.FAIL
        http_bank.running.faults.set({"kind": "server_error", "operation": "settlement"})
        assert fact_of(http_bank.bank, trade, request).state is BankState.FAIL

    def test_a_request_without_a_readable_time_is_unknown(self, http_bank: HttpBankPlace) -> None:
        trade = new_trade()
        assert fact_of(http_bank.bank, trade, request_of(trade, created_at=UNDATED)).state is (
            BankState.UNKNOWN
        )


@pytest.fixture
def odd() -> Iterator[OddBank]:
    with odd_bank() as bank:
        yield bank


@pytest.fixture
def odd_http(odd: OddBank) -> Iterator[HttpBank]:
    names = BankNames(max_answer_bytes=20_000)
    bank = HttpBank(odd.url, "token", names)
    yield bank
    bank.close()


def record(request: BankRequest, trade: Trade, **changes: object) -> dict[str, object]:
    return {
        "request_no": request.request_no,
        "kind": "payout",
        "status": "success",
        "code": None,
        "amount_minor": 10_050,
        "currency": "CNY",
        "account": trade.bank_account_no,
        "accepted_at": "2026-03-02T02:00:00Z",
        "completed_at": "2026-03-02T02:00:00Z",
    } | changes


def says(answer: object, status: int = 200) -> Say:
    return Say(status, json.dumps(answer).encode())


class TestOddAnswers:
    ODD = (
        Say(200, b"<h1>hello</h1>", {"Content-Type": "text/html"}),
        Say(200, b""),
        Say(200, b"[]"),
        Say(200, b'{"records": null}'),
        Say(200, b'{"records": [1, null, "x", {}]}'),
        Say(200, b"[" * 10_000),
        Say(200, b"{" + b" " * 30_000 + b"}"),
        Say(200, b'{"records": [', promised=500),
        Say(200, b"\xff\xfe", {"Content-Type": "application/json"}),
        Say(200, b"not gzip", {"Content-Encoding": "gzip"}),
        Say(302, b"", {"Location": "http://127.0.0.1:1/elsewhere"}),
        Say(401, b'{"error": "unauthorized"}'),
        Say(500, b'{"records": []}'),
        Say(204, b""),
    )

    @pytest.mark.parametrize("said", ODD, ids=range(len(ODD)))
    def test_an_odd_answer_to_an_inquiry_is_unknown(
        self, odd: OddBank, odd_http: HttpBank, said: Say
    ) -> None:
        odd.speak = lambda *_: said
        trade = new_trade()
        fact = fact_of(odd_http, trade, request_of(trade))
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "unknown")
        assert fact.detail

    @pytest.mark.parametrize("said", ODD, ids=range(len(ODD)))
    def test_nor_does_it_rule_out_a_number_without_a_line(
        self, odd: OddBank, odd_http: HttpBank, said: Say
    ) -> None:
        odd.speak = lambda *_: said
        trade = new_trade()
        facts = odd_http.facts([trade], {}, {trade.trade_no: ["L-1", "L-2"]})
        assert facts[trade.trade_no].without_line == (
            NumberFact("L-1", "unknown"),
            NumberFact("L-2", "unknown"),
        )

    def test_numbers_without_a_line_are_asked_about_in_the_same_inquiry(
        self, odd: OddBank, odd_http: HttpBank
    ) -> None:
        trade = new_trade()
        line = request_of(trade)
        lost = record(line, trade, request_no="L-1", status="accepted", amount_minor=1)
        odd.speak = lambda *_: says({"records": [record(line, trade), lost]})
        facts = odd_http.facts([trade], {trade.trade_no: [line]}, {trade.trade_no: ["L-1", "L-2"]})
        assert facts[trade.trade_no].state is BankState.SUCCESS
        assert facts[trade.trade_no].without_line == (
            NumberFact("L-1", "accepted"),
            NumberFact("L-2", "unknown"),
        )
        assert odd.heard == ["POST /inquiries"]

    @pytest.mark.parametrize("said", ODD, ids=range(len(ODD)))
    def test_an_odd_answer_to_a_payout_is_unknown(self, odd: OddBank, odd_http: HttpBank, said: Say) -> None:
        odd.speak = lambda *_: said
        reply = odd_http.pay("WD1-0", AMOUNT, "6222")
        assert (reply.status, reply.code) == ("unknown", None)
        assert reply.detail
        assert len(odd.heard) == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"amount_minor": "10050"},
            {"amount_minor": 10050.5},
            {"status": 1},
            {"status": "paid"},
            {"code": 7, "status": "failed"},
            {"request_no": "another"},
            {"request_no": None},
        ],
    )
    def test_a_record_of_wrong_types_is_unknown(
        self, odd: OddBank, odd_http: HttpBank, changes: dict[str, object]
    ) -> None:
        trade = new_trade()
        request = request_of(trade)
        odd.speak = lambda *_: says({"records": [record(request, trade, **changes)]})
        assert fact_of(odd_http, trade, request).state is BankState.UNKNOWN

    def test_two_records_of_one_number_that_differ_are_unknown(
        self, odd: OddBank, odd_http: HttpBank
    ) -> None:
        trade = new_trade()
        request = request_of(trade)
        both = [record(request, trade), record(request, trade, status="failed", code="E1001")]
        odd.speak = lambda *_: says({"records": both})
        assert fact_of(odd_http, trade, request).state is BankState.UNKNOWN

    @pytest.mark.parametrize(
        ("answer", "status", "reply"),
        [
            ({"status": "accepted"}, 202, PayoutReply(status="accepted")),
            ({"status": "success"}, 200, PayoutReply(status="success")),
            ({"status": "failed", "code": "E1003"}, 200, PayoutReply(status="failed", code="E1003")),
        ],
    )
    @pytest.mark.parametrize("left_out", [set(WHOLE), {"amount_minor"}, {"currency"}, {"account"}, set()])
    def test_a_short_answer_to_a_payout_is_told_as_short(
        self,
        odd: OddBank,
        odd_http: HttpBank,
        answer: dict[str, object],
        status: int,
        reply: PayoutReply,
        left_out: set[str],
    ) -> None:
        told = {name: value for name, value in WHOLE.items() if name not in left_out}
        odd.speak = lambda *_: says({"request_no": "WD1-0", **told, **answer}, status)
        expected = msgspec.structs.replace(reply, is_whole=not left_out)
        assert odd_http.pay("WD1-0", AMOUNT, "6222") == expected

    @pytest.mark.parametrize(
        ("answer", "status"),
        [
            ({"request_no": "WD1-0", "status": "success"}, 202),
            ({"request_no": "WD1-0", "status": "failed", "code": "E1003"}, 202),
            ({"request_no": "WD1-0", "status": "success"}, 201),
            ({"request_no": "WD1-1", "status": "success"}, 200),
            ({"request_no": "WD1-0", "status": "success", "account": "6222-other"}, 200),
            ({"request_no": "WD1-0", "status": "not_found"}, 200),
            ({"error": "other"}, 409),
        ],
    )
    def test_an_answer_that_does_not_fit_is_unknown(
        self, odd: OddBank, odd_http: HttpBank, answer: object, status: int
    ) -> None:
        odd.speak = lambda *_: says(answer, status)
        assert odd_http.pay("WD1-0", AMOUNT, "6222").status == "unknown"

    def test_a_conflict_is_told(self, odd: OddBank, odd_http: HttpBank) -> None:
        odd.speak = lambda *_: says({"error": "conflict"}, 409)
        with pytest.raises(BankConflictError):
            odd_http.pay("WD1-0", AMOUNT, "6222")

    def test_no_redirect_is_followed(self, odd: OddBank, odd_http: HttpBank) -> None:
        odd.speak = lambda *_: Say(307, b"", {"Location": "/elsewhere"})
        assert odd_http.pay("WD1-0", AMOUNT, "6222").status == "unknown"
        assert odd.heard == ["POST /payouts"]


def settled(*lines: str, rows: int | None = None, total: int | None = None) -> bytes:
    body = "request_no,kind,amount_minor,currency,account,status,code,completed_at\n"
    body += "".join(f"{line}\n" for line in lines)
    found = sum(int(line.split(",")[2]) for line in lines)
    digest = hashlib.sha256(body.encode()).hexdigest()
    trailer = (
        f"#TRAILER,{len(lines) if rows is None else rows},{found if total is None else total},{digest}\n"
    )
    return (body + trailer).encode()


def day(name: str, opens: str, closes: str, is_closed: bool = True, ready: bool = True) -> dict[str, object]:
    return {
        "day": name,
        "opens_at": f"2026-03-{opens:0>2}T00:00:00Z",
        "closes_at": f"2026-03-{closes:0>2}T00:00:00Z",
        "cut_off_at": f"2026-03-{closes:0>2}T00:00:00Z",
        "is_closed": is_closed,
        "settlement_ready": ready,
    }


TWO_DAYS = [day("20260302", "2", "3"), day("20260303", "3", "4")]


def settling(
    request: BankRequest, told: Mapping[str, object], days: object, files: dict[str, Say] | None
) -> Speak:
    """A bank that says ``told`` of the request, with days and files to order; b"LISTS THIS" lists it."""
    listed = {"20260302": Say(200, settled()), "20260303": Say(200, settled())} | (files or {})

    def speak(method: str, path: str, body: bytes) -> Say:
        if path == "/inquiries":
            return says({"records": [told]})
        if path.startswith("/days"):
            return says({"days": TWO_DAYS if days is None else days})
        said = listed[path.rpartition("/")[2]]
        if said.content == b"LISTS THIS":
            return Say(200, settled(f"{request.request_no},payout,10050,CNY,1,accepted,,"))
        return said

    return speak


class TestSettlingFailures:
    """By whose clock a failure is old enough."""

    FAILED_AT = "2026-03-02T04:00:00Z"

    def ask(
        self, odd: OddBank, date: str, read: str, completed_at: object = FAILED_AT, **settings: float
    ) -> BankState:
        """``read``: production's clock when its row was read."""
        trade = new_trade(read_at=datetime.fromisoformat(read))
        request = request_of(trade, created_at=SETTLED)
        told = record(request, trade, status="failed", code="E1001", completed_at=completed_at)
        odd.speak = lambda *_: Say(200, says({"records": [told]}).content, {"Date": date} if date else {})
        bank = HttpBank(odd.url, "token", BankNames(**settings))
        fact = fact_of(bank, trade, request)
        bank.close()
        return fact.state

    @pytest.mark.parametrize(
        ("date", "read", "state"),
        [
            ("Mon, 02 Mar 2026 04:05:00 GMT", "2026-03-02T04:00:01Z", BankState.FAIL),
            ("Mon, 02 Mar 2026 04:04:59 GMT", "2026-03-09T00:00:00Z", BankState.UNKNOWN),
            ("Mon, 02 Mar 2026 04:05:00 GMT", "2026-03-02T03:59:59Z", BankState.UNKNOWN),
            ("Mon, 09 Mar 2026 04:05:00 GMT", "2026-03-02T03:59:59Z", BankState.UNKNOWN),
        ],
        ids=["settled", "young by its own", "ahead of production", "far ahead"],
    )
    def test_the_banks_own_clock_counts_unless_it_is_ahead_of_productions(
        self, odd: OddBank, date: str, read: str, state: BankState
    ) -> None:
        odd.is_dated = False
        assert self.ask(odd, date, read) is state

    @pytest.mark.parametrize("date", ["", "yesterday", "Mon, 32 Mar 2026 04:05:00 GMT"])
    @pytest.mark.parametrize(
        ("read", "state"),
        [("2026-03-02T04:10:00Z", BankState.FAIL), ("2026-03-02T04:09:59Z", BankState.UNKNOWN)],
    )
    def test_without_its_word_productions_clock_counts_and_may_be_ahead(
        self, odd: OddBank, date: str, read: str, state: BankState
    ) -> None:
        odd.is_dated = False
        assert self.ask(odd, date, read) is state

    @pytest.mark.parametrize("hours", [-24, 24])
    def test_the_agents_own_clock_does_not_count(self, odd: OddBank, hours: int) -> None:
        odd.is_dated = False
        with time_machine.travel(NOW + timedelta(hours=hours), tick=False):
            assert self.ask(odd, "", "2026-03-02T04:09:59Z") is BankState.UNKNOWN
            assert self.ask(odd, "", "2026-03-02T04:10:00Z") is BankState.FAIL

    @pytest.mark.parametrize(
        "completed_at", [None, "", "soon", "2026-03-02", "2026-03-02T04:00:00", "0001-01-01T00:00:00Z"]
    )
    def test_a_time_of_failing_of_no_use_never_settles_by_itself(
        self, odd: OddBank, completed_at: str | None
    ) -> None:
        odd.is_dated = False
        assert self.ask(odd, "", "2026-03-09T00:00:00Z", completed_at) is BankState.UNKNOWN
        assert self.ask(odd, "", "2026-03-09T00:00:00Z", completed_at, failure_settles_s=0) is BankState.FAIL


class TestFailuresWithoutATime:
    """When the settlement files date a failure, and when they do not."""

    def ask(
        self, odd: OddBank, read: str, *, days: object = None, files: dict[str, Say] | None = None
    ) -> BankFact:
        """``read``: production's clock when its row was read."""
        trade = new_trade(read_at=datetime.fromisoformat(read))
        request = request_of(trade, created_at=NOW)
        told = record(
            request, trade, status="failed", code="E1001", completed_at=None, accepted_at=NOW.isoformat()
        )
        odd.speak, odd.is_dated = settling(request, told, days, files), False
        bank = HttpBank(odd.url, "token")
        fact = fact_of(bank, trade, request)
        bank.close()
        return fact

    @pytest.mark.parametrize(
        ("read", "state"),
        [("2026-03-04T00:10:00Z", BankState.FAIL), ("2026-03-04T00:09:59Z", BankState.UNKNOWN)],
    )
    def test_it_failed_before_the_later_day_closed(self, odd: OddBank, read: str, state: BankState) -> None:
        fact = self.ask(odd, read)
        assert (fact.state, fact.is_explicit) == (state, state is BankState.FAIL)

    def test_its_evidence_names_the_files(self, odd: OddBank) -> None:
        evidence = self.ask(odd, "2026-03-09T00:00:00Z").requests[0].evidence
        assert evidence == "inquiry · absent from settlement files 20260302, 20260303"

    @pytest.mark.parametrize("name", ["20260302", "20260303"])
    def test_a_file_that_lists_it_proves_nothing(self, odd: OddBank, name: str) -> None:
        fact = self.ask(odd, "2026-03-09T00:00:00Z", files={name: Say(200, b"LISTS THIS")})
        assert fact.state is BankState.UNKNOWN

    def test_a_day_still_open_proves_nothing(self, odd: OddBank) -> None:
        days = [day("20260302", "2", "3"), day("20260303", "3", "4", is_closed=False)]
        assert self.ask(odd, "2026-03-09T00:00:00Z", days=days).state is BankState.UNKNOWN


def of_march(at: datetime, *, read: str) -> dict[str, object]:
    """The bank day of March 2026 that holds ``at``, as it stands at ``read``."""
    opens = datetime(2026, 3, at.day, tzinfo=UTC)
    is_closed = opens + timedelta(days=1) <= datetime.fromisoformat(read)
    return day(f"{opens:%Y%m%d}", f"{opens.day}", f"{opens.day + 1}", is_closed, is_closed)


def of_any_day(request: BankRequest, told: Mapping[str, object], read: str, *listing: str) -> Speak:
    """A bank that keeps days and files of its own until ``read``; the days ``listing`` list the number."""

    def speak(method: str, path: str, body: bytes) -> Say:
        if path == "/inquiries":
            return says({"records": [told]})
        where, _, what = path.partition("?at=")
        if where == "/days":
            at = datetime.fromisoformat(unquote(what))
            return says({"days": [of_march(at + timedelta(days=each), read=read) for each in (0, 1)]})
        name = where.rpartition("/")[2]
        line = f"{request.request_no},payout,10050,CNY,1,accepted,,"
        return Say(200, settled(line) if name in listing else settled())

    return speak


@pytest.mark.parametrize("deduplicates", [True, False], ids=["de-duplicates", "does not"])
class TestFailuresOfALateOriginal:
    """Written on 2 March, accepted by the bank on 5 March, and failed without a time: files of which days."""

    ACCEPTED_AT = "2026-03-05T11:59:00Z"

    def ask(
        self,
        odd: OddBank,
        deduplicates: bool,
        read: str,
        *listing: str,
        accepted_at: object = ACCEPTED_AT,
        asked_at: datetime | None = None,
        **told: object,
    ) -> RequestFact:
        """``read``: production's clock when its row was read; ``listing``: the days whose files list it."""
        trade = new_trade(read_at=datetime.fromisoformat(read))
        request = msgspec.structs.replace(request_of(trade, created_at=NOW), asked_at=asked_at)
        failed = {"status": "failed", "code": "E1001", "completed_at": None, "accepted_at": accepted_at}
        said = record(request, trade, **failed | told)
        odd.speak, odd.is_dated = of_any_day(request, said, read, *listing), False
        bank = HttpBank(odd.url, "token", BankNames(deduplicates=deduplicates))
        [fact] = fact_of(bank, trade, request).requests
        bank.close()
        return fact

    @pytest.mark.parametrize(
        ("read", "state"),
        [
            ("2026-03-05T12:00:01Z", BankState.UNKNOWN),
            ("2026-03-06T23:59:59Z", BankState.UNKNOWN),
            ("2026-03-07T00:09:59Z", BankState.UNKNOWN),
            ("2026-03-07T00:10:00Z", BankState.FAIL),
        ],
    )
    def test_it_failed_before_the_day_after_its_acceptance_closed(
        self, odd: OddBank, deduplicates: bool, read: str, state: BankState
    ) -> None:
        fact = self.ask(odd, deduplicates, read)
        assert (fact.verdict, fact.status, fact.code) == (state, "failed", "E1001")

    def test_its_evidence_names_every_file(self, odd: OddBank, deduplicates: bool) -> None:
        files = "20260302, 20260303, 20260305, 20260306"
        fact = self.ask(odd, deduplicates, "2026-03-08T00:00:00Z")
        assert fact.evidence == f"inquiry · absent from settlement files {files}"

    @pytest.mark.parametrize("name", ["20260302", "20260303", "20260305", "20260306"])
    def test_a_file_that_lists_it_proves_nothing(self, odd: OddBank, deduplicates: bool, name: str) -> None:
        assert self.ask(odd, deduplicates, "2026-03-08T00:00:00Z", name).verdict is BankState.UNKNOWN

    @pytest.mark.parametrize(
        "accepted_at",
        [
            None,
            "",
            "soon",
            "2026-03-05",
            "2026-03-05T11:59:00",
            1_772_711_940,
            {},
            "2026-03-02T03:55:29Z",
            "0001-01-01T00:00:00+14:00",
            "2026-03-08T00:05:01Z",
            "9999-12-31T23:59:59-14:00",
        ],
    )
    def test_without_a_usable_time_of_acceptance_nothing_dates_it(
        self, odd: OddBank, deduplicates: bool, accepted_at: object
    ) -> None:
        fact = self.ask(odd, deduplicates, "2026-03-08T00:00:00Z", accepted_at=accepted_at)
        assert fact.verdict is BankState.UNKNOWN
        told = "inquiry: failed with E1001, but without a readable time of failing"
        assert fact.evidence == f"{told} · accepted at no usable time"
        assert odd.heard == ["POST /inquiries"]

    @pytest.mark.parametrize("accepted_at", [None, 1_772_711_940, "soon"])
    def test_one_of_no_use_costs_no_other_word(
        self, odd: OddBank, deduplicates: bool, accepted_at: object
    ) -> None:
        at = "2026-03-08T00:00:00Z"
        paid = self.ask(odd, deduplicates, at, accepted_at=accepted_at, status="success", code=None)
        timed = self.ask(odd, deduplicates, at, accepted_at=accepted_at, completed_at=self.ACCEPTED_AT)
        assert (paid.verdict, timed.verdict) == (BankState.SUCCESS, BankState.FAIL)

    @pytest.mark.parametrize("completed_at", [None, ACCEPTED_AT], ids=["untold", "before the last asking"])
    def test_the_day_of_its_acceptance_counts_after_another_asking_too(
        self, odd: OddBank, deduplicates: bool, completed_at: str | None
    ) -> None:
        """The last asking is all that the step keeps; one that de-duplicates filed it under the first."""
        again = datetime(2026, 3, 8, 4, 0, tzinfo=UTC)
        said = {"asked_at": again, "completed_at": completed_at}
        facts = [
            self.ask(odd, deduplicates, "2026-03-09T12:00:00Z", **said),
            self.ask(odd, deduplicates, "2026-03-10T12:00:00Z", "20260305", **said),
            self.ask(odd, deduplicates, "2026-03-10T12:00:00Z", "20260308", **said),
            self.ask(odd, deduplicates, "2026-03-10T12:00:00Z", **said),
        ]
        is_dated = BankState.FAIL if deduplicates else BankState.UNKNOWN
        assert [fact.verdict for fact in facts] == [BankState.UNKNOWN] * 3 + [is_dated]


def test_a_large_settlement_file_takes_a_few_times_its_size_to_read() -> None:
    content = settled(
        *(f"WD{each:018d}-0,payout,10050,CNY,6222020000000000000,success,," for each in range(20_000))
    )
    tracemalloc.start()
    try:
        numbers = read_settlement(content)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(numbers) == 20_000
    assert most < 5 * len(content)


class TestTwoNegatives:
    """The second negative, with days and files to order."""

    READ_AT = datetime(2026, 3, 9, tzinfo=UTC)

    def ask(
        self,
        odd: OddBank,
        bank: HttpBank,
        *,
        days: object = None,
        files: dict[str, Say] | None = None,
        read_at: datetime = READ_AT,
    ) -> BankFact:
        trade = new_trade(read_at=read_at)
        request = request_of(trade, created_at=NOW)
        told = {"request_no": request.request_no, "status": "not_found"}
        odd.speak = settling(request, told, days, files)
        return fact_of(bank, trade, request)

    def test_absent_from_both_files_is_a_failure(self, odd: OddBank, odd_http: HttpBank) -> None:
        fact = self.ask(odd, odd_http)
        assert fact.state is BankState.FAIL
        assert "20260302, 20260303" in fact.requests[0].evidence

    @pytest.mark.parametrize(
        ("read", "state"),
        [("2026-03-03T23:55:00Z", BankState.FAIL), ("2026-03-03T23:54:59Z", BankState.UNKNOWN)],
    )
    def test_a_day_called_closed_ahead_of_its_end_proves_nothing(
        self, odd: OddBank, odd_http: HttpBank, read: str, state: BankState
    ) -> None:
        """By production's clock, which may be five minutes behind the bank's."""
        fact = self.ask(odd, odd_http, read_at=datetime.fromisoformat(read))
        assert fact.state is state
        assert (state is BankState.FAIL) or "20260303 is not over yet" in fact.detail

    @pytest.mark.parametrize("name", ["20260302", "20260303"])
    def test_a_file_that_lists_it_contradicts_the_inquiry(
        self, odd: OddBank, odd_http: HttpBank, name: str
    ) -> None:
        fact = self.ask(odd, odd_http, files={name: Say(200, b"LISTS THIS")})
        assert fact.state is BankState.UNKNOWN
        assert f"settlement file {name} lists it" in fact.detail

    @pytest.mark.parametrize(
        ("minutes", "lists", "state"),
        [(0, True, BankState.UNKNOWN), (4, True, BankState.UNKNOWN), (4, False, BankState.FAIL)],
    )
    def test_just_after_a_day_has_opened_the_file_of_the_day_before_counts_too(
        self, odd: OddBank, odd_http: HttpBank, minutes: int, lists: bool, state: BankState
    ) -> None:
        trade = new_trade(read_at=self.READ_AT)
        request = request_of(trade, created_at=datetime(2026, 3, 2, 0, minutes, tzinfo=UTC))
        told = {"request_no": request.request_no, "status": "not_found"}
        before = Say(200, b"LISTS THIS" if lists else settled())
        asked = settling(request, told, None, {"20260301": before})
        day_before = says({"days": [day("20260301", "1", "2"), day("20260302", "2", "3")]})
        odd.speak = lambda *said: day_before if "2026-03-01" in said[1] else asked(*said)
        fact = fact_of(odd_http, trade, request)
        assert (fact.state, "20260301" in fact.requests[0].evidence) == (state, True)

    @pytest.mark.parametrize(
        "days",
        [
            [day("20260302", "2", "3"), day("20260303", "3", "4", is_closed=False)],
            [day("20260302", "2", "3", is_closed=False), day("20260303", "3", "4")],
            [day("20260302", "2", "3"), day("20260303", "3", "4", ready=False)],
            [day("20260302", "2", "3")],
            [day("20260302", "2", "3"), day("20260302", "2", "3")],
            [day("20260303", "3", "4"), day("20260304", "4", "5")],
            [day("20260302", "2", "3"), {**day("20260303", "3", "4"), "is_closed": 1}],
            [{**day("20260302", "2", "3"), "opens_at": "2026-03-02T00:00:00"}, day("20260303", "3", "4")],
            "soon",
        ],
        ids=range(9),
    )
    def test_days_that_prove_nothing_leave_it_unknown(
        self, odd: OddBank, odd_http: HttpBank, days: object
    ) -> None:
        assert self.ask(odd, odd_http, days=days).state is BankState.UNKNOWN

    @pytest.mark.parametrize(
        "file",
        [
            Say(409, b'{"error": "day_open"}'),
            Say(200, b""),
            Say(200, settled(rows=1)),
            Say(200, settled(total=1)),
            Say(200, settled("A,payout,5,CNY,1,success,,", rows=2)),
            Say(200, settled("A,payout,5,CNY,1,success,,", total=6)),
            Say(200, settled("A,payout,5,CNY,1,success,,").replace(b"A,payout", b"B,payout")),
            Say(200, settled("A,payout,5,CNY,1,success,,") + b"A,payout,5,CNY,1,success,,\n"),
            Say(200, settled("A,payout,5")),
            Say(200, settled("A,payout,5,CNY,1,success,,", "A,payout,5,CNY,1,success,,")),
            Say(200, settled()[:-3]),
            Say(200, settled(), promised=1_000),
            Say(200, b"<h1>maintenance</h1>"),
        ],
        ids=range(13),
    )
    def test_a_file_that_is_not_whole_leaves_it_unknown(
        self, odd: OddBank, odd_http: HttpBank, file: Say
    ) -> None:
        fact = self.ask(odd, odd_http, files={"20260303": file})
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "not_found")

    def test_a_file_without_trouble_may_list_others(self, odd: OddBank, odd_http: HttpBank) -> None:
        others = Say(200, settled("A,payout,5,CNY,1,success,,", 'B,payout,7,CNY,"a,b",accepted,,'))
        assert self.ask(odd, odd_http, files={"20260302": others}).state is BankState.FAIL


class TestSilence:
    def test_a_bank_that_is_away_is_asked_once(self) -> None:
        bank = HttpBank("http://127.0.0.1:1", "token")
        trades = [new_trade() for _ in range(1_200)]
        facts = bank.facts(trades, {trade.trade_no: [request_of(trade)] for trade in trades})
        assert {fact.state for fact in facts.values()} == {BankState.UNKNOWN}
        assert bank.pay("WD1-0", AMOUNT, "6222") == PayoutReply(
            status="unknown", detail="no answer: NewConnectionError"
        )
        with pytest.raises(PortError, match="no answer"):
            bank.check()
        bank.close()

    def test_days_are_asked_once_where_they_bring_no_answer(self, odd: OddBank, odd_http: HttpBank) -> None:
        trades = [new_trade() for _ in range(30)]

        def speak(method: str, path: str, body: bytes) -> Say:
            if path == "/inquiries":
                numbers = json.loads(body)["request_nos"]
                return says({"records": [{"request_no": no, "status": "not_found"} for no in numbers]})
            return Say(200, b"{", promised=50)

        odd.speak = speak
        facts = odd_http.facts(trades, {trade.trade_no: [request_of(trade)] for trade in trades})
        assert {fact.state for fact in facts.values()} == {BankState.UNKNOWN}
        assert len(odd.heard) == 2

    def test_a_wrong_token_is_said_by_check(self, http_bank: HttpBankPlace) -> None:
        stranger = HttpBank(http_bank.running.url, "wrong")
        with pytest.raises(PortError, match="401") as refused:
            stranger.check()
        assert "wrong" not in str(refused.value)
        stranger.close()

    @pytest.mark.parametrize(
        ("record", "told"),
        [
            ({"status": "unknown_request"}, "says 'unknown_request'"),
            ({"status": "failed", "code": "E404"}, "says 'failed'"),
            (None, "left this number out"),
        ],
    )
    def test_check_tells_of_a_bank_with_another_word_for_a_number_it_does_not_know(
        self, odd: OddBank, odd_http: HttpBank, record: dict[str, str] | None, told: str
    ) -> None:
        def speak(method: str, path: str, body: bytes) -> Say:
            if path != "/inquiries":
                return says({"days": TWO_DAYS})
            numbers = json.loads(body)["request_nos"]
            return says({"records": [{"request_no": no, **record} for no in numbers] if record else []})

        odd.speak = speak
        with time_machine.travel("2026-03-02T12:00:00Z"), pytest.raises(PortError, match=told):
            odd_http.check()

    @pytest.mark.parametrize("address", ["nonsense", "ftp://bank", "http://["])
    def test_an_address_of_no_use_is_a_configuration_error(self, address: str) -> None:
        with pytest.raises(ConfigurationError):
            HttpBank(address, "token")

    @pytest.mark.parametrize("token", ["two\nlines", "密码"])
    def test_a_token_that_no_header_can_carry_is_one_too(self, token: str) -> None:
        with pytest.raises(ConfigurationError) as refused:
            HttpBank("http://127.0.0.1:1", token)
        assert token not in str(refused.value)

    def test_calls_share_a_connection(self, odd: OddBank) -> None:
        pool = urllib3.connection_from_url(odd.url)
        bank = HttpBank(odd.url, "token", transport=pool)
        trade = new_trade()
        for _ in range(3):
            fact_of(bank, trade, request_of(trade))
        assert len(odd.heard) == 3
        assert pool.num_connections == 1
        bank.close()

    def test_a_bank_that_does_not_de_duplicate_says_so(self) -> None:
        bank = HttpBank("http://127.0.0.1:1", "token", BankNames(deduplicates=False))
        assert bank.deduplicates is False
        bank.close()
