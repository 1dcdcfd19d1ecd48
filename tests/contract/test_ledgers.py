"""Every ledger port, in memory or on a database, keeps the same promises."""

import re
from datetime import timedelta

import msgspec
import pytest

from agent.errors import InsufficientBalanceError, LedgerRejectedError, LegTakenError, StoodStillError
from agent.facts import Kind, Leg, LegFact, LegState
from agent.records import Trade
from tests.contract.places import LedgerPlace
from tests.contract.trades import new_trade, posting_of

NONE = LegFact(LegState.NONE)


def opened(place: LedgerPlace, trade: Trade, balance: int = 50_000) -> Trade:
    place.open_account(trade.account_no, balance)
    return trade


def legs(place: LedgerPlace, trade: Trade) -> tuple[LegFact, LegFact | None]:
    return place.ledger.legs([trade])[trade.trade_no]


class TestPosting:
    @pytest.mark.parametrize(
        ("kind", "leg", "change"),
        [
            (Kind.RECHARGE, Leg.FIRST, 10_050),
            (Kind.WITHDRAW, Leg.BOTH, -10_050),
            (Kind.WITHDRAW, Leg.FIRST, -10_050),
            (Kind.WITHDRAW, Leg.SECOND, 0),
        ],
    )
    def test_an_entry_moves_what_its_leg_says(
        self, ledger_place: LedgerPlace, kind: Kind, leg: Leg, change: int
    ) -> None:
        trade = opened(ledger_place, new_trade(kind))
        voucher_no = ledger_place.ledger.post(posting_of(trade, leg))
        assert re.fullmatch(r"GA\d{18}", voucher_no)
        assert ledger_place.balance(trade.account_no) == 50_000 + change

    def test_the_house_accounts_take_the_other_side(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        before = [ledger_place.balance(each) for each in ("CLEARING", "BANK")]
        ledger_place.ledger.post(posting_of(trade, Leg.FIRST))
        between = [ledger_place.balance(each) for each in ("CLEARING", "BANK")]
        ledger_place.ledger.post(posting_of(trade, Leg.SECOND))
        after = [ledger_place.balance(each) for each in ("CLEARING", "BANK")]
        assert between == [before[0] + 10_050, before[1]]
        assert after == [before[0], before[1] + 10_050]

    def test_the_same_key_returns_the_same_number(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        first = ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        assert ledger_place.ledger.post(posting_of(trade, Leg.BOTH)) == first
        assert ledger_place.balance(trade.account_no) == 50_000 - 10_050
        assert ledger_place.live_entries(trade.trade_no) == 1

    @pytest.mark.parametrize("put_back", [1, -1])
    def test_nothing_is_posted_long_after_that_was_intended(
        self, ledger_place: LedgerPlace, put_back: int
    ) -> None:
        trade = opened(ledger_place, new_trade())
        long_ago = ledger_place.ledger.now() - put_back * timedelta(minutes=2)
        late = msgspec.structs.replace(posting_of(trade, Leg.BOTH), intended_at=long_ago)
        with pytest.raises(StoodStillError):
            ledger_place.ledger.post(late)
        assert ledger_place.live_entries(trade.trade_no) == 0
        assert ledger_place.balance(trade.account_no) == 50_000
        number = ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        assert ledger_place.ledger.post(late) == number

    def test_numbers_differ(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        numbers = {ledger_place.ledger.post(posting_of(trade, leg)) for leg in (Leg.FIRST, Leg.SECOND)}
        assert len(numbers) == 2

    @pytest.mark.parametrize("other", ["amount", "leg", "trade"])
    def test_a_key_is_not_used_for_another_posting(self, ledger_place: LedgerPlace, other: str) -> None:
        trade, stranger = opened(ledger_place, new_trade()), opened(ledger_place, new_trade())
        key = posting_of(trade, Leg.FIRST).key
        ledger_place.ledger.post(posting_of(trade, Leg.FIRST))
        changed = {
            "amount": posting_of(trade, Leg.FIRST, amount=1),
            "leg": posting_of(trade, Leg.SECOND, key=key),
            "trade": posting_of(stranger, Leg.FIRST, key=key),
        }[other]
        with pytest.raises(LedgerRejectedError):
            ledger_place.ledger.post(changed)
        assert ledger_place.balance(trade.account_no) == 50_000 - 10_050
        assert ledger_place.balance(stranger.account_no) == 50_000

    def test_a_key_whose_entry_was_reversed_is_refused(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        ledger_place.reverse(ledger_place.ledger.post(posting_of(trade, Leg.BOTH)))
        with pytest.raises(LedgerRejectedError):
            ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        assert ledger_place.balance(trade.account_no) == 50_000

    @pytest.mark.parametrize(
        ("held", "asked"),
        [
            (Leg.BOTH, Leg.BOTH),
            (Leg.BOTH, Leg.FIRST),
            (Leg.BOTH, Leg.SECOND),
            (Leg.FIRST, Leg.BOTH),
            (Leg.SECOND, Leg.BOTH),
            (Leg.FIRST, Leg.FIRST),
        ],
    )
    def test_a_second_entry_on_a_leg_is_refused(
        self, ledger_place: LedgerPlace, held: Leg, asked: Leg
    ) -> None:
        trade = opened(ledger_place, new_trade())
        ledger_place.book(posting_of(trade, held, key=f"production {trade.trade_no}"))
        before = ledger_place.balance(trade.account_no)
        with pytest.raises(LegTakenError):
            ledger_place.ledger.post(posting_of(trade, asked))
        assert ledger_place.balance(trade.account_no) == before
        assert ledger_place.live_entries(trade.trade_no) == 1

    def test_a_reversed_leg_is_free_again(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        ledger_place.reverse(ledger_place.book(posting_of(trade, Leg.BOTH, key=f"p {trade.trade_no}")))
        ledger_place.ledger.post(posting_of(trade, Leg.FIRST))
        assert ledger_place.live_entries(trade.trade_no) == 1

    def test_a_balance_is_never_overdrawn(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade(), balance=10_049)
        with pytest.raises(InsufficientBalanceError):
            ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        assert ledger_place.balance(trade.account_no) == 10_049
        assert legs(ledger_place, trade) == (NONE, NONE)

    def test_a_balance_may_be_used_up(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade(), balance=10_050)
        ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        assert ledger_place.balance(trade.account_no) == 0

    def test_an_unknown_account_is_refused(self, ledger_place: LedgerPlace) -> None:
        trade = new_trade()
        with pytest.raises(LedgerRejectedError):
            ledger_place.ledger.post(posting_of(trade, Leg.BOTH))
        assert legs(ledger_place, trade) == (NONE, NONE)


class TestLegs:
    def test_nothing_is_posted(self, ledger_place: LedgerPlace) -> None:
        assert legs(ledger_place, new_trade()) == (NONE, NONE)
        assert legs(ledger_place, new_trade(Kind.RECHARGE)) == (NONE, None)

    def test_both_legs_carry_the_number_of_one_entry(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        posted = LegFact(LegState.POSTED, ledger_place.ledger.post(posting_of(trade, Leg.BOTH)), 10_050)
        assert legs(ledger_place, trade) == (posted, posted)

    def test_each_leg_carries_its_own_number(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        first = ledger_place.book(posting_of(trade, Leg.FIRST, key=f"p1 {trade.trade_no}"))
        assert legs(ledger_place, trade) == (LegFact(LegState.POSTED, first, 10_050), NONE)
        second = ledger_place.ledger.post(posting_of(trade, Leg.SECOND))
        assert legs(ledger_place, trade) == (
            LegFact(LegState.POSTED, first, 10_050),
            LegFact(LegState.POSTED, second, 10_050),
        )

    def test_a_reversed_entry_is_none(self, ledger_place: LedgerPlace) -> None:
        trade = opened(ledger_place, new_trade())
        ledger_place.reverse(ledger_place.ledger.post(posting_of(trade, Leg.BOTH)))
        assert legs(ledger_place, trade) == (NONE, NONE)

    @pytest.mark.parametrize("difference", ["amount", "account", "kind"])
    def test_an_entry_that_differs_is_a_mismatch(self, ledger_place: LedgerPlace, difference: str) -> None:
        trade = opened(ledger_place, new_trade(Kind.RECHARGE))
        other = opened(ledger_place, new_trade())
        posting = {
            "amount": posting_of(trade, Leg.FIRST, amount=10_051),
            "account": posting_of(trade, Leg.FIRST, account_no=other.account_no),
            "kind": posting_of(other, Leg.FIRST, account_no=trade.account_no),
        }[difference]
        asked = _as_recharge(other, trade) if difference == "kind" else trade
        voucher_no = ledger_place.book(posting)
        first, second = legs(ledger_place, asked)
        assert (first.state, first.voucher_no, second) == (LegState.MISMATCH, voucher_no, None)
        assert first.detail

    def test_many_trades_are_asked_at_once(self, ledger_place: LedgerPlace) -> None:
        trades = [opened(ledger_place, new_trade()) for _ in range(5)]
        numbers = {
            trade.trade_no: ledger_place.ledger.post(posting_of(trade, Leg.FIRST)) for trade in trades[:3]
        }
        found = ledger_place.ledger.legs(trades)
        assert {no: first.voucher_no for no, (first, _) in found.items() if first.voucher_no} == numbers
        assert found.keys() == {trade.trade_no for trade in trades}


def _as_recharge(trade: Trade, like: Trade) -> Trade:
    """A recharge row under a number whose ledger entry is a withdrawal's."""
    return msgspec.structs.replace(
        trade, kind=Kind.RECHARGE, bookkeeping=None, is_e_acc=None, account_no=like.account_no
    )
