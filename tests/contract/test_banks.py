"""Every bank port, in memory or over HTTP, keeps the same promises."""

from datetime import datetime, timedelta

import msgspec
import pytest

from agent.errors import BankConflictError
from agent.facts import BankFact, BankState, Kind, NumberFact
from agent.money import Money
from agent.records import BankRequest, Trade
from tests.contract.bank_places import NOW, SETTLED, BankPlace
from tests.contract.trades import new_trade, request_of

AMOUNT = Money(10_050)
FIVE_MINUTES = timedelta(minutes=5)
A_SECOND = timedelta(seconds=1)


def asked(place: BankPlace, trade: Trade, *requests: BankRequest) -> BankFact:
    return place.bank.facts([trade], {trade.trade_no: list(requests)})[trade.trade_no]


def held(
    place: BankPlace, trade: Trade, status: str, *, seq: int = 0, code: str | None = None
) -> BankRequest:
    """The bank holds request ``seq`` of the trade as the trade has it."""
    request = request_of(trade, seq)
    place.put(request.request_no, status, kind=request.kind, account=trade.bank_account_no, code=code)
    return request


class TestOneNumber:
    @pytest.mark.parametrize("kind", list(Kind))
    def test_a_success_is_success(self, bank_place: BankPlace, kind: Kind) -> None:
        trade = new_trade(kind)
        fact = asked(bank_place, trade, held(bank_place, trade, "success"))
        assert fact.state is BankState.SUCCESS
        [request] = fact.requests
        assert (request.status, request.verdict, request.amount_minor) == (
            "success",
            BankState.SUCCESS,
            10_050,
        )

    def test_what_is_accepted_is_unknown(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        fact = asked(bank_place, trade, held(bank_place, trade, "accepted"))
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "accepted")

    @pytest.mark.parametrize("code", ["E1001", "E1002", "E1003", "E2001", "E2002"])
    def test_a_failure_with_a_code_of_the_list_is_explicit(self, bank_place: BankPlace, code: str) -> None:
        trade = new_trade()
        fact = asked(bank_place, trade, held(bank_place, trade, "failed", code=code))
        assert (fact.state, fact.is_explicit) == (BankState.FAIL, True)
        assert (fact.requests[0].status, fact.requests[0].code) == ("failed", code)

    @pytest.mark.parametrize("code", ["E9999", None])
    def test_a_failure_with_another_code_is_unknown(self, bank_place: BankPlace, code: str | None) -> None:
        trade = new_trade()
        fact = asked(bank_place, trade, held(bank_place, trade, "failed", code=code))
        assert (fact.state, fact.is_explicit) == (BankState.UNKNOWN, False)

    @pytest.mark.parametrize("kind", list(Kind))
    @pytest.mark.parametrize(
        ("created_at", "completed_at", "state"),
        [
            (SETTLED, NOW - FIVE_MINUTES, BankState.FAIL),
            (SETTLED, NOW - FIVE_MINUTES + A_SECOND, BankState.UNKNOWN),
            (SETTLED, NOW + timedelta(hours=1), BankState.UNKNOWN),
            (NOW - FIVE_MINUTES, NOW - 2 * FIVE_MINUTES, BankState.FAIL),
            (NOW - FIVE_MINUTES + A_SECOND, NOW - FIVE_MINUTES, BankState.UNKNOWN),
            (NOW, NOW - FIVE_MINUTES - A_SECOND, BankState.UNKNOWN),
            (NOW, None, BankState.UNKNOWN),
        ],
        ids=["settled", "young", "to come", "asked long ago", "asked lately", "failed before", "untold"],
    )
    def test_a_failure_counts_once_it_has_settled(
        self,
        bank_place: BankPlace,
        kind: Kind,
        created_at: datetime,
        completed_at: datetime | None,
        state: BankState,
    ) -> None:
        trade = new_trade(kind)
        request = request_of(trade, created_at=created_at)
        account = trade.bank_account_no
        bank_place.put(
            request.request_no,
            "failed",
            kind=request.kind,
            account=account,
            code="E1001",
            completed_at=completed_at,
        )
        fact = asked(bank_place, trade, request)
        assert (fact.state, fact.is_explicit) == (state, state is BankState.FAIL)
        assert (fact.requests[0].status, fact.requests[0].code) == ("failed", "E1001")
        assert fact.requests[0].evidence

    @pytest.mark.parametrize("completed_at", [None, SETTLED - timedelta(days=2)], ids=["untold", "nonsense"])
    def test_settlement_files_date_a_failure_whose_time_is_of_no_use(
        self, bank_place: BankPlace, completed_at: datetime | None
    ) -> None:
        trade = new_trade()
        request = request_of(trade, created_at=SETTLED)
        account = trade.bank_account_no
        bank_place.put(request.request_no, "failed", account=account, code="E1001", completed_at=completed_at)
        fact = asked(bank_place, trade, request)
        assert (fact.state, fact.is_explicit) == (BankState.FAIL, True)
        assert fact.requests[0].evidence

    @pytest.mark.parametrize(
        ("accepted_at", "state"),
        [
            (SETTLED + 6 * FIVE_MINUTES, BankState.FAIL),
            (NOW - A_SECOND, BankState.UNKNOWN),
            (SETTLED - FIVE_MINUTES, BankState.FAIL),
            (SETTLED - FIVE_MINUTES - A_SECOND, BankState.UNKNOWN),
        ],
        ids=["late", "late, its day open", "by another clock", "before it was asked for"],
    )
    def test_they_date_it_from_its_acceptance_whenever_the_line_was_written(
        self, bank_place: BankPlace, accepted_at: datetime, state: BankState
    ) -> None:
        trade = new_trade()
        request = request_of(trade, created_at=SETTLED)
        bank_place.put(
            request.request_no,
            "failed",
            account=trade.bank_account_no,
            code="E1001",
            completed_at=None,
            accepted_at=accepted_at,
        )
        fact = asked(bank_place, trade, request)
        assert (fact.state, fact.is_explicit) == (state, state is BankState.FAIL)
        assert (fact.requests[0].status, fact.requests[0].code) == ("failed", "E1001")

    @pytest.mark.parametrize(
        ("asked_at", "completed_at"),
        [
            (NOW - FIVE_MINUTES + A_SECOND, NOW - FIVE_MINUTES),
            (NOW, SETTLED),
            (NOW, None),
        ],
        ids=["lately", "failed long before", "untold"],
    )
    def test_a_failure_of_a_number_asked_for_again_settles_from_then_on(
        self, bank_place: BankPlace, asked_at: datetime, completed_at: datetime | None
    ) -> None:
        trade = new_trade()
        once = request_of(trade, created_at=SETTLED)
        again = msgspec.structs.replace(once, asked_at=asked_at)
        bank_place.put(
            once.request_no,
            "failed",
            account=trade.bank_account_no,
            code="E1001",
            completed_at=completed_at,
        )
        assert asked(bank_place, trade, once).state is BankState.FAIL
        fact = asked(bank_place, trade, again)
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "failed")

    def test_two_negatives_older_than_the_last_asking_prove_nothing(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        once = request_of(trade, created_at=SETTLED)
        assert asked(bank_place, trade, once).state is BankState.FAIL
        again = msgspec.structs.replace(once, asked_at=NOW)
        assert asked(bank_place, trade, again).state is BankState.UNKNOWN

    def test_nor_do_they_where_production_has_written_its_line_since(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        sent_again = msgspec.structs.replace(request_of(trade, created_at=SETTLED), changed_at=NOW)
        fact = asked(bank_place, trade, sent_again)
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "not_found")

    def test_two_negatives_are_a_failure_that_is_not_explicit(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        fact = asked(bank_place, trade, request_of(trade, created_at=SETTLED))
        assert (fact.state, fact.is_explicit) == (BankState.FAIL, False)
        assert (fact.requests[0].status, fact.requests[0].verdict) == ("not_found", BankState.FAIL)
        assert fact.requests[0].evidence

    def test_one_negative_is_unknown(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        fact = asked(bank_place, trade, request_of(trade, created_at=NOW))
        assert (fact.state, fact.requests[0].status) == (BankState.UNKNOWN, "not_found")

    @pytest.mark.parametrize("status", ["success", "accepted", "failed"])
    @pytest.mark.parametrize(
        "difference",
        [{"amount": 10_051}, {"account": "6222-other"}, {"kind": "receipt"}, {"currency": "USD"}],
    )
    def test_a_record_that_differs_is_a_mismatch(
        self, bank_place: BankPlace, status: str, difference: dict[str, str]
    ) -> None:
        trade = new_trade()
        request = request_of(trade)
        code = "E1001" if status == "failed" else None
        said = {"account": trade.bank_account_no, **difference}
        bank_place.put(request.request_no, status, code=code, **said)  # type: ignore[arg-type]
        assert asked(bank_place, trade, request).state is BankState.MISMATCH


class TestSeveralNumbers:
    def test_no_number_at_all_is_a_failure(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        fact = bank_place.bank.facts([trade], {})[trade.trade_no]
        assert (fact.state, fact.requests, fact.is_explicit) == (BankState.FAIL, (), False)

    def test_a_success_after_an_explicit_failure_is_success(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        requests = [
            held(bank_place, trade, "failed", code="E1001"),
            held(bank_place, trade, "success", seq=1),
        ]
        assert asked(bank_place, trade, *requests).state is BankState.SUCCESS

    def test_a_late_success_of_the_older_number_is_success_too(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        requests = [
            held(bank_place, trade, "success"),
            held(bank_place, trade, "failed", seq=1, code="E1002"),
        ]
        assert asked(bank_place, trade, *requests).state is BankState.SUCCESS

    def test_two_successes_are_a_mismatch(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        requests = [held(bank_place, trade, "success"), held(bank_place, trade, "success", seq=1)]
        assert asked(bank_place, trade, *requests).state is BankState.MISMATCH

    @pytest.mark.parametrize("other", ["success", "failed"])
    def test_a_number_that_may_still_be_paid_makes_it_unknown(
        self, bank_place: BankPlace, other: str
    ) -> None:
        trade = new_trade()
        code = "E1001" if other == "failed" else None
        requests = [
            held(bank_place, trade, other, code=code),
            held(bank_place, trade, "accepted", seq=1),
        ]
        assert asked(bank_place, trade, *requests).state is BankState.UNKNOWN

    @pytest.mark.parametrize("other", ["success", "failed"])
    def test_a_failure_that_has_not_settled_makes_it_unknown(self, bank_place: BankPlace, other: str) -> None:
        trade = new_trade()
        young = request_of(trade, 1)
        account = trade.bank_account_no
        bank_place.put(young.request_no, "failed", account=account, code="E1001", completed_at=NOW)
        older = held(bank_place, trade, other, code="E1001" if other == "failed" else None)
        fact = asked(bank_place, trade, older, young)
        assert (fact.state, fact.is_explicit) == (BankState.UNKNOWN, False)

    def test_a_failure_is_explicit_by_its_newest_number(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        failed = held(bank_place, trade, "failed", code="E1001")
        fact = asked(bank_place, trade, failed, request_of(trade, 1, created_at=SETTLED))
        assert (fact.state, fact.is_explicit) == (BankState.FAIL, False)

    def test_many_trades_are_asked_at_once(self, bank_place: BankPlace) -> None:
        trades = [new_trade() for _ in range(6)]
        requests = {trade.trade_no: [held(bank_place, trade, "success")] for trade in trades[:3]}
        requests |= {trade.trade_no: [request_of(trade, created_at=SETTLED)] for trade in trades[3:]}
        facts = bank_place.bank.facts(trades, requests)
        assert [facts[trade.trade_no].state for trade in trades] == [BankState.SUCCESS] * 3 + [
            BankState.FAIL
        ] * 3


class TestNumbersWithoutLine:
    @pytest.mark.parametrize(
        ("status", "code", "word"),
        [
            ("success", None, "success"),
            ("accepted", None, "accepted"),
            ("failed", "E1001", "failed"),
            ("failed", "E9999", "unknown"),
            (None, None, "not_found"),
        ],
    )
    def test_they_are_told_beside_the_others_and_count_in_none(
        self, bank_place: BankPlace, status: str | None, code: str | None, word: str
    ) -> None:
        trade = new_trade()
        line, lost = held(bank_place, trade, "failed", code="E1001"), f"{trade.trade_no}-P1"
        if status is not None:
            bank_place.put(lost, status, account=trade.bank_account_no, code=code)
        alone = asked(bank_place, trade, line)
        beside = bank_place.bank.facts([trade], {trade.trade_no: [line]}, {trade.trade_no: [lost]})
        assert beside[trade.trade_no].without_line == (NumberFact(lost, word),)
        assert msgspec.structs.replace(beside[trade.trade_no], without_line=()) == alone

    def test_of_another_trade_they_are_not_told(self, bank_place: BankPlace) -> None:
        trade, other = new_trade(), new_trade()
        facts = bank_place.bank.facts([trade, other], {}, {other.trade_no: ["L-1", "L-2"]})
        assert facts[trade.trade_no].without_line == ()
        told = (NumberFact("L-1", "not_found"), NumberFact("L-2", "not_found"))
        assert facts[other.trade_no].without_line == told


class TestPaying:
    def test_a_payout_is_made_once_under_its_number(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        number = f"{trade.trade_no}-0"
        replies = [bank_place.bank.pay(number, AMOUNT, trade.bank_account_no) for _ in range(2)]
        assert [reply.status for reply in replies] == ["success", "success"]
        assert bank_place.paid(number) == [10_050]

    def test_a_payout_is_found_afterwards(self, bank_place: BankPlace) -> None:
        trade = new_trade()
        bank_place.bank.pay(f"{trade.trade_no}-0", AMOUNT, trade.bank_account_no)
        assert asked(bank_place, trade, request_of(trade)).state is BankState.SUCCESS

    @pytest.mark.parametrize("change", ["amount", "payee"])
    def test_the_same_number_for_another_payout_is_a_conflict(
        self, bank_place: BankPlace, change: str
    ) -> None:
        trade = new_trade()
        number = f"{trade.trade_no}-0"
        bank_place.bank.pay(number, AMOUNT, trade.bank_account_no)
        amount = Money(1) if change == "amount" else AMOUNT
        payee = "6222-other" if change == "payee" else trade.bank_account_no
        with pytest.raises(BankConflictError):
            bank_place.bank.pay(number, amount, payee)
        assert bank_place.paid(number) == [10_050]

    @pytest.mark.parametrize(("status", "code"), [("accepted", None), ("failed", "E1001")])
    def test_a_repeat_gives_the_record_as_it_stands(
        self, bank_place: BankPlace, status: str, code: str | None
    ) -> None:
        trade = new_trade()
        request = held(bank_place, trade, status, code=code)
        reply = bank_place.bank.pay(request.request_no, AMOUNT, trade.bank_account_no)
        assert (reply.status, reply.code) == (status, code)
        assert bank_place.paid(request.request_no) == []

    def test_it_de_duplicates(self, bank_place: BankPlace) -> None:
        assert bank_place.bank.deduplicates is True
        assert "answers" in bank_place.bank.check()
