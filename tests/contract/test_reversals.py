"""Taking an entry back, and emptying a row's legs: the same promises in memory and on every database."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from agent.errors import (
    EntriesChangedError,
    EntryReversedError,
    EntryStandsError,
    InsufficientBalanceError,
    LedgerRejectedError,
    LegTakenError,
    StoodStillError,
)
from agent.facts import Kind, Leg, LegFact, LegState, Status
from agent.records import Correction, Reversal, Trade
from agent.unpaid import REVERSED_BEFORE
from tests.contract.places import LedgerPlace, Planted, SqlLedgerPlace, TradePlace, claim_of, step_of
from tests.contract.racing import errors_of, race
from tests.contract.trades import new_trade, posting_of

NONE = LegFact(LegState.NONE)


def debited(place: LedgerPlace, leg: Leg, kind: Kind = Kind.WITHDRAW) -> tuple[Trade, str]:
    """A trade of an account that held 50,000, and the number of the entry that production posted."""
    trade = new_trade(kind)
    place.open_account(trade.account_no, 50_000)
    return trade, place.book(posting_of(trade, leg, key=f"production {trade.trade_no}"))


def reversal_of(trade: Trade, voucher_no: str, leg: Leg = Leg.BOTH, *, key: str = "") -> Reversal:
    """What a person's order would take back."""
    return Reversal(
        key=key or f"PCL:PBAP:{trade.trade_no}:reverse:{leg.value}",
        trade_no=trade.trade_no,
        voucher_no=voucher_no,
        intended_at=datetime.now(UTC),
    )


class TestReversing:
    @pytest.mark.parametrize("leg", [Leg.BOTH, Leg.FIRST])
    def test_the_money_is_back_and_the_leg_is_none(self, ledger_place: LedgerPlace, leg: Leg) -> None:
        house = [ledger_place.balance(each) for each in ("CLEARING", "BANK")]
        trade, voucher_no = debited(ledger_place, leg)
        number = ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no, leg))
        assert number != voucher_no
        assert ledger_place.balance(trade.account_no) == 50_000
        assert ledger_place.balance("CLEARING") == house[0]
        assert ledger_place.ledger.legs([trade])[trade.trade_no] == (NONE, NONE)
        assert ledger_place.live_entries(trade.trade_no) == 0

    def test_one_leg_of_two_is_taken_back_alone(self, ledger_place: LedgerPlace) -> None:
        trade, first = debited(ledger_place, Leg.FIRST)
        second = ledger_place.book(posting_of(trade, Leg.SECOND, key=f"p2 {trade.trade_no}"))
        ledger_place.ledger.reverse_entry(reversal_of(trade, second, Leg.SECOND))
        posted = LegFact(LegState.POSTED, first, 10_050)
        assert ledger_place.ledger.legs([trade])[trade.trade_no] == (posted, NONE)

    @pytest.mark.parametrize("leg", [Leg.BOTH, Leg.FIRST])
    def test_an_entry_posted_again_tells_that_one_of_its_leg_was_taken_back_by_us(
        self, ledger_place: LedgerPlace, leg: Leg
    ) -> None:
        trade, voucher_no = debited(ledger_place, leg)
        ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no, leg))
        again = ledger_place.book(posting_of(trade, leg, key=f"again {trade.trade_no}"))
        posted = LegFact(LegState.POSTED, again, 10_050, REVERSED_BEFORE)
        second = posted if leg is Leg.BOTH else NONE
        assert ledger_place.ledger.legs([trade])[trade.trade_no] == (posted, second)

    def test_one_that_a_person_took_back_before_tells_nothing(self, ledger_place: LedgerPlace) -> None:
        trade, voucher_no = debited(ledger_place, Leg.FIRST)
        ledger_place.reverse(voucher_no)
        again = ledger_place.book(posting_of(trade, Leg.FIRST, key=f"again {trade.trade_no}"))
        posted = LegFact(LegState.POSTED, again, 10_050)
        assert ledger_place.ledger.legs([trade])[trade.trade_no] == (posted, NONE)

    def test_the_same_key_returns_the_same_number(self, ledger_place: LedgerPlace) -> None:
        trade, voucher_no = debited(ledger_place, Leg.BOTH)
        numbers = [ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no)) for _ in range(3)]
        assert len(set(numbers)) == 1
        assert ledger_place.balance(trade.account_no) == 50_000

    @pytest.mark.parametrize("put_back", [1, -1])
    def test_nothing_is_taken_back_long_after_that_was_intended(
        self, ledger_place: LedgerPlace, put_back: int
    ) -> None:
        trade, voucher_no = debited(ledger_place, Leg.BOTH)
        long_ago = ledger_place.ledger.now() - put_back * timedelta(minutes=2)
        late = msgspec.structs.replace(reversal_of(trade, voucher_no), intended_at=long_ago)
        with pytest.raises(StoodStillError):
            ledger_place.ledger.reverse_entry(late)
        assert ledger_place.live_entries(trade.trade_no) == 1
        number = ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no))
        assert ledger_place.ledger.reverse_entry(late) == number

    def test_the_same_key_returns_the_same_number_though_the_leg_was_posted_again(
        self, ledger_place: LedgerPlace
    ) -> None:
        trade, voucher_no = debited(ledger_place, Leg.BOTH)
        number = ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no))
        ledger_place.book(posting_of(trade, Leg.BOTH, key=f"again {trade.trade_no}"))
        assert ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no)) == number
        assert ledger_place.balance(trade.account_no) == 50_000 - 10_050

    def test_an_entry_reversed_under_another_key_is_told_apart(self, ledger_place: LedgerPlace) -> None:
        trade, voucher_no = debited(ledger_place, Leg.BOTH)
        ledger_place.reverse(voucher_no)
        with pytest.raises(EntryReversedError):
            ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no))
        assert ledger_place.balance(trade.account_no) == 50_000

    def test_a_question_takes_nothing_back(self, ledger_place: LedgerPlace) -> None:
        trade, voucher_no = debited(ledger_place, Leg.BOTH)
        wanted = reversal_of(trade, voucher_no)
        question = msgspec.structs.replace(wanted, is_question=True)
        with pytest.raises(EntryStandsError):
            ledger_place.ledger.reverse_entry(question)
        assert ledger_place.balance(trade.account_no) == 50_000 - 10_050
        number = ledger_place.ledger.reverse_entry(wanted)
        assert ledger_place.ledger.reverse_entry(question) == number

    def test_nothing_is_taken_back_beside_an_entry_posted_since(self, ledger_place: LedgerPlace) -> None:
        trade, first = debited(ledger_place, Leg.FIRST)
        seen = msgspec.structs.replace(reversal_of(trade, first, Leg.FIRST), standing=frozenset({first}))
        second = ledger_place.book(posting_of(trade, Leg.SECOND, key=f"p2 {trade.trade_no}"))
        with pytest.raises(EntriesChangedError):
            ledger_place.ledger.reverse_entry(seen)
        assert ledger_place.live_entries(trade.trade_no) == 2
        both = msgspec.structs.replace(seen, standing=frozenset({first, second}))
        number = ledger_place.ledger.reverse_entry(both)
        assert ledger_place.ledger.reverse_entry(seen) == number

    @pytest.mark.parametrize("other", ["no entry", "another trade's", "a reversal", "a used key"])
    def test_what_cannot_be_taken_back_is_refused(self, ledger_place: LedgerPlace, other: str) -> None:
        trade, voucher_no = debited(ledger_place, Leg.FIRST)
        stranger, strangers = debited(ledger_place, Leg.BOTH)
        if other in ("a reversal", "a used key"):
            made = ledger_place.ledger.reverse_entry(reversal_of(stranger, strangers))
        asked = {
            "no entry": lambda: reversal_of(trade, "GA000000000000000000"),
            "another trade's": lambda: reversal_of(trade, strangers),
            "a reversal": lambda: reversal_of(stranger, made, key=f"undo {trade.trade_no}"),
            "a used key": lambda: reversal_of(
                trade, voucher_no, key=f"PCL:PBAP:{stranger.trade_no}:reverse:both"
            ),
        }[other]()
        before = [ledger_place.balance(each.account_no) for each in (trade, stranger)]
        with pytest.raises(LedgerRejectedError) as refused:
            ledger_place.ledger.reverse_entry(asked)
        assert not isinstance(refused.value, EntryReversedError)
        assert [ledger_place.balance(each.account_no) for each in (trade, stranger)] == before

    def test_a_reversed_leg_can_be_posted_again_but_not_under_the_key_it_had(
        self, ledger_place: LedgerPlace
    ) -> None:
        trade = new_trade()
        ledger_place.open_account(trade.account_no, 50_000)
        voucher_no = ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        ledger_place.ledger.reverse_entry(reversal_of(trade, voucher_no))
        with pytest.raises(LedgerRejectedError):
            ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        ledger_place.book(posting_of(trade, Leg.BOTH, key=f"again {trade.trade_no}"))
        with pytest.raises((LegTakenError, LedgerRejectedError)):
            ledger_place.ledger.post(posting_of(trade, Leg.FIRST))
        assert ledger_place.balance(trade.account_no) == 50_000 - 10_050


class TestReversersAtOnce:
    def test_the_same_key_gives_everyone_the_same_number(self, sql_ledger: SqlLedgerPlace) -> None:
        trade, voucher_no = debited(sql_ledger, Leg.BOTH)
        other = sql_ledger.another()
        results = race(*[lambda: other.reverse_entry(reversal_of(trade, voucher_no))] * 4)
        other.close()
        assert (len(set(results)), errors_of(results)) == (1, [])
        assert sql_ledger.balance(trade.account_no) == 50_000

    def test_one_of_several_keys_reverses(self, sql_ledger: SqlLedgerPlace) -> None:
        trade, voucher_no = debited(sql_ledger, Leg.BOTH)
        wanted = [reversal_of(trade, voucher_no, key=f"{n} {trade.trade_no}") for n in range(4)]
        results = race(*(lambda r=each: sql_ledger.ledger.reverse_entry(r) for each in wanted))
        assert errors_of(results) == [EntryReversedError] * 3
        assert sql_ledger.balance(trade.account_no) == 50_000

    def test_a_compensating_entry_is_whole(self, sql_ledger: SqlLedgerPlace) -> None:
        trade, voucher_no = debited(sql_ledger, Leg.BOTH)
        number = sql_ledger.ledger.reverse_entry(reversal_of(trade, voucher_no))
        by_number = {entry["VOUCHER_NO"]: entry for entry in sql_ledger.world.entries(trade.trade_no)}
        made, original = by_number[number], by_number[voucher_no]
        assert (made["KIND"], made["LEG"], made["AMOUNT"], made["REVERSES"], made["POSTED_BY"]) == (
            "reversal",
            "both",
            10_050,
            voucher_no,
            "piculus",
        )
        assert (original["REVERSED_BY"], original["AMOUNT"]) == (number, 10_050)
        lines = [(line["ACC_NO"], line["AMOUNT"]) for line in sql_ledger.world.postings(number)]
        assert sorted(lines) == sorted(
            [(trade.account_no, 10_050), ("CLEARING", -10_050), ("CLEARING", 10_050), ("BANK", -10_050)]
        )

    def test_a_credit_that_was_spent_is_not_taken_back(self, sql_ledger: SqlLedgerPlace) -> None:
        trade, voucher_no = debited(sql_ledger, Leg.FIRST, Kind.RECHARGE)
        spending = new_trade(account_no=trade.account_no, amount=55_000)
        sql_ledger.book(posting_of(spending, Leg.BOTH, key=f"spent {spending.trade_no}"))
        with pytest.raises(InsufficientBalanceError):
            sql_ledger.ledger.reverse_entry(reversal_of(trade, voucher_no, Leg.FIRST))
        assert sql_ledger.balance(trade.account_no) == 50_000 + 10_050 - 55_000
        assert sql_ledger.live_entries(trade.trade_no) == 1


@pytest.mark.parametrize("cleared", [(Leg.FIRST, Leg.SECOND), (Leg.FIRST,), ()])
def test_a_row_is_emptied_of_the_legs_that_are_cleared(
    trade_place: TradePlace, cleared: tuple[Leg, ...]
) -> None:
    planted = trade_place.plant(Planted(acc_voucher="GA1", acc_status=1, e_acc_voucher="GA2", e_acc_status=1))
    [trade] = trade_place.trades.find(planted.trade_no)
    held = trade_place.trades.claim_repair(claim_of(trade))
    correction = Correction(
        status=Status.FAILED, acc_voucher=None, e_acc_voucher=None, message="m", cleared=cleared
    )
    after = trade_place.trades.write_row(held, trade, correction, step_of(trade.trade_no))
    cells = {Leg.FIRST: "ACC_TRD", Leg.SECOND: "E_ACC_TRD"}
    emptied = {f"{cells[leg]}_NUM": None for leg in cleared} | {f"{cells[leg]}_STATUS": 0 for leg in cleared}
    assert after.row == {**planted.row, "TRD_STATUS": 9, "FAILED_MSG": "m", **emptied}
    assert trade_place.old_rows(trade.trade_no) == [planted.row]
