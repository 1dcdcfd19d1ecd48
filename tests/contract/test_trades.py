"""Every trade port, in memory or on a database, keeps the same promises."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from agent.errors import (
    FencedError,
    NumberTakenError,
    PortError,
    RequestsChangedError,
    RowChangedError,
    StoodStillError,
)
from agent.facts import Kind, Status
from agent.fixers.result import result_of
from agent.records import MOST_TWINS, BankRequest, Correction, Pattern, RepairRow, Trade, Window
from agent.standstill import EFFECT_WITHIN, FACTS_HOLD, TOLD_WITHIN
from tests.contract.places import (
    Planted,
    TradePlace,
    claim_of,
    new_window,
    opened,
    payout_of,
    shard_of,
    step_of,
)

HALF = Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=True, is_e_acc=False)
UNBOOKED = Pattern(kind=Kind.WITHDRAW, status=Status.SUCCESS, is_acc=False, is_e_acc=False)
TERMS = {
    "TRD_KIND": "recharge",
    "AMOUNT": 77_700,
    "CURRENCY": "USD",
    "ACC_NO": "CUST-OTHER",
    "BANK_ACC_NO": "6222029999999999999",
    "POSTING_MODE": "single_step",
}
A_MINUTE = timedelta(minutes=1)
OVERDUE = Pattern(kind=Kind.RECHARGE, status=Status.PROCESSING)


def read(place: TradePlace, planted: Planted) -> Trade:
    [trade] = place.trades.find(planted.trade_no)
    return trade


def held(place: TradePlace) -> RepairRow:
    """A claim on a new trade."""
    return place.trades.claim_repair(claim_of(read(place, place.plant(Planted()))))


def suspects(place: TradePlace, window: Window, *patterns: Pattern, page: int = 3) -> list[Trade]:
    return [trade for trades in place.trades.suspects(patterns, window, page) for trade in trades]


class TestReading:
    def test_a_row_is_found_with_its_meaning(self, trade_place: TradePlace) -> None:
        planted = trade_place.plant(Planted(acc_voucher="GA000000000000000001", acc_status=1))
        trade = read(trade_place, planted)
        assert trade.row == planted.row
        assert (trade.trade_id, trade.kind, trade.status) == (
            planted.trade_id,
            Kind.WITHDRAW,
            Status.SUCCESS,
        )
        assert (trade.is_acc, trade.is_e_acc, trade.amount_minor) == (True, False, 10_050)
        assert trade.changed_at == planted.changed_at
        assert trade.read_at.tzinfo is not None

    def test_a_number_nobody_has_is_not_found(self, trade_place: TradePlace) -> None:
        assert trade_place.trades.find("WD999999999999999999") == []

    def test_duplicates_are_both_found(self, trade_place: TradePlace) -> None:
        first = trade_place.plant(Planted())
        second = trade_place.plant(Planted(trade_no=first.trade_no))
        assert [trade.trade_id for trade in trade_place.trades.find(first.trade_no)] == [
            first.trade_id,
            second.trade_id,
        ]

    def test_of_very_many_duplicates_the_first_are_found(self, trade_place: TradePlace) -> None:
        first = trade_place.plant(Planted())
        others = [trade_place.plant(Planted(trade_no=first.trade_no)) for _ in range(MOST_TWINS)]
        planted = [each.trade_id for each in (first, *others)]
        found = [trade.trade_id for trade in trade_place.trades.find(first.trade_no)]
        assert found == planted[:MOST_TWINS]

    def test_the_hash_follows_the_row(self, trade_place: TradePlace) -> None:
        planted = trade_place.plant(Planted())
        before = read(trade_place, planted).row_hash
        assert read(trade_place, planted).row_hash == before
        trade_place.change(planted.trade_no, FAILED_MSG="changed")
        assert read(trade_place, planted).row_hash != before

    @pytest.mark.parametrize(("column", "value"), TERMS.items())
    def test_the_terms_follow_what_says_whose_money_it_is(
        self, trade_place: TradePlace, column: str, value: object
    ) -> None:
        planted = trade_place.plant(Planted())
        before = read(trade_place, planted)
        trade_place.change(planted.trade_no, **{column: value})
        after = read(trade_place, planted)
        assert after.terms != before.terms
        assert after.row_hash != before.row_hash

    def test_the_terms_follow_nothing_else(self, trade_place: TradePlace) -> None:
        planted = trade_place.plant(Planted())
        before = read(trade_place, planted)
        trade_place.change(planted.trade_no, TRD_STATUS=9, ACC_TRD_NUM="GA1", CHANNEL="CMB")
        assert read(trade_place, planted).terms == before.terms

    def test_the_clock_is_aware(self, trade_place: TradePlace) -> None:
        assert trade_place.trades.now().utcoffset() == timedelta(0)


class TestCollecting:
    def test_only_rows_of_the_patterns_come(self, trade_place: TradePlace) -> None:
        window = new_window()
        planted = [
            trade_place.plant(replace(each, changed_at=window.start))
            for each in (
                Planted(acc_status=1, e_acc_status=0),
                Planted(acc_status=0, e_acc_status=0),
                Planted(acc_status=1, e_acc_status=1),
                Planted(kind="recharge", status=0, e_acc_status=None, posting_mode=None),
                Planted(kind="recharge", status=8, acc_status=1, e_acc_status=None, posting_mode=None),
            )
        ]
        found = suspects(trade_place, window, HALF, OVERDUE)
        assert [trade.trade_no for trade in found] == [planted[0].trade_no, planted[3].trade_no]
        assert [trade.trade_no for trade in suspects(trade_place, window, UNBOOKED)] == [planted[1].trade_no]

    @pytest.mark.parametrize(
        "nonsense",
        [
            Planted(status=5),
            Planted(status=None),
            Planted(amount=None),
            Planted(amount=0),
            Planted(amount=-1),
            Planted(amount=10**15 + 1),
            Planted(trade_no="PBAP 7/不明#"),
            Planted(kind="transfer"),
        ],
        ids=["status", "no status", "no amount", "zero", "negative", "huge", "number", "kind"],
    )
    def test_a_row_that_makes_no_sense_comes_whatever_the_patterns(
        self, trade_place: TradePlace, nonsense: Planted
    ) -> None:
        window = new_window()
        unique = f"{nonsense.trade_no}{window.start:%H%d%m%y}" if nonsense.trade_no else ""
        booked = replace(nonsense, acc_status=1, e_acc_status=1, changed_at=window.start, trade_no=unique)
        planted = trade_place.plant(replace(booked, trade_id=Planted().trade_id))
        [trade] = suspects(trade_place, window, UNBOOKED)
        assert trade.row == planted.row
        assert trade.raw_amount == planted.amount

    @pytest.mark.parametrize("year", [1969, 2999])
    def test_a_row_whose_time_of_change_makes_no_sense_comes_in_every_window(
        self, trade_place: TradePlace, year: int
    ) -> None:
        window = new_window()
        planted = [
            trade_place.plant(
                Planted(acc_status=1, e_acc_status=1, changed_at=datetime(year, 1, 1, tzinfo=UTC))
            )
            for _ in range(5)
        ]
        found = [
            trade.trade_id
            for shard in range(2)
            for trade in suspects(trade_place, shard_of(window, shard, 2), UNBOOKED, page=2)
        ]
        for each in planted:
            trade_place.remove(each.trade_id)
        assert sorted(found) == [each.trade_id for each in planted]

    def test_a_row_whose_time_of_change_lies_ahead_comes_once_where_the_window_holds_it(
        self, trade_place: TradePlace
    ) -> None:
        ahead = datetime(2999, 1, 1, tzinfo=UTC)
        planted = trade_place.plant(Planted(changed_at=ahead))
        window = Window(start=ahead, end=ahead + timedelta(hours=1))
        found = [trade.trade_id for trade in suspects(trade_place, window, UNBOOKED)]
        trade_place.remove(planted.trade_id)
        assert found == [planted.trade_id]

    def test_the_window_takes_its_start_and_leaves_its_end(self, trade_place: TradePlace) -> None:
        window = new_window()
        inside = trade_place.plant(Planted(changed_at=window.start))
        last = trade_place.plant(Planted(changed_at=window.end - timedelta(microseconds=1)))
        trade_place.plant(Planted(changed_at=window.end))
        trade_place.plant(Planted(changed_at=window.start - timedelta(microseconds=1)))
        found = [trade.trade_no for trade in suspects(trade_place, window, UNBOOKED)]
        assert found == [inside.trade_no, last.trade_no]

    def test_shards_and_pages_cover_every_row_once(self, trade_place: TradePlace) -> None:
        window = new_window()
        planted = [trade_place.plant(Planted(changed_at=window.start)).trade_id for _ in range(23)]
        found: list[int] = []
        for shard in range(3):
            pages = list(trade_place.trades.suspects([UNBOOKED], shard_of(window, shard, 3), 4))
            assert all(1 <= len(page) <= 4 for page in pages)
            ids = [trade.trade_id for page in pages for trade in page]
            assert ids == sorted(ids)
            assert {trade_id % 3 for trade_id in ids} <= {shard}
            found += ids
        assert sorted(found) == planted

    def test_an_empty_window_has_no_page(self, trade_place: TradePlace) -> None:
        window = new_window()
        assert list(trade_place.trades.suspects([UNBOOKED], window, 10)) == []
        assert list(trade_place.trades.duplicates(window, 10)) == []
        assert trade_place.trades.count(window) == 0

    def test_duplicates_come_also_when_the_twin_is_outside(self, trade_place: TradePlace) -> None:
        window = new_window()
        inside = trade_place.plant(Planted(changed_at=window.start))
        trade_place.plant(Planted(trade_no=inside.trade_no, changed_at=window.start - timedelta(days=900)))
        trade_place.plant(Planted(changed_at=window.start))
        pages = trade_place.trades.duplicates(window, 10)
        assert [trade.trade_id for page in pages for trade in page] == [inside.trade_id]

    def test_rows_are_counted(self, trade_place: TradePlace) -> None:
        window = new_window()
        for _ in range(4):
            trade_place.plant(Planted(changed_at=window.start))
        assert trade_place.trades.count(window) == 4


class TestBankRequests:
    def request(self, trade_no: str, seq: int) -> BankRequest:
        number = f"{trade_no}-0" if seq == 0 else f"{trade_no}-P{seq}"
        return BankRequest(
            request_no=number,
            trade_no=trade_no,
            seq=seq,
            kind="payout",
            status="created",
            amount_minor=10_050,
            created_at=datetime(2026, 3, 1, 2, 3, 4, 56789, tzinfo=UTC),
        )

    def test_requests_come_by_trade_and_in_order(self, trade_place: TradePlace) -> None:
        one, other = held(trade_place), held(trade_place)
        for claim, seq in ((one, 1), (one, 0), (other, 0)):
            opened(trade_place, claim, self.request(claim.trade_no, seq))
        found = trade_place.trades.bank_requests([one.trade_no, other.trade_no, "WD0"])
        seqs = {trade_no: [request.seq for request in requests] for trade_no, requests in found.items()}
        assert seqs == {one.trade_no: [0, 1], other.trade_no: [0]}

    def test_a_request_is_written_by_the_first_call_and_dated_by_productions_clock(
        self, trade_place: TradePlace
    ) -> None:
        claim = held(trade_place)
        request = self.request(claim.trade_no, 1)
        before = trade_place.trades.now()
        first, again = opened(trade_place, claim, request), opened(trade_place, claim, request)
        assert (first.is_new, again.is_new) == (True, False)
        [stored] = trade_place.trades.bank_requests([claim.trade_no])[claim.trade_no]
        assert stored.changed_at is not None
        assert before <= stored.created_at <= stored.changed_at <= first.at <= again.at
        assert again.at <= trade_place.trades.now()
        dated = {"created_at": stored.created_at, "changed_at": stored.changed_at, "asked_at": again.at}
        assert stored == msgspec.structs.replace(request, **dated)

    def test_a_place_that_another_number_holds_is_not_taken_and_nobody_was_let_be_asked(
        self, trade_place: TradePlace
    ) -> None:
        claim = held(trade_place)
        anothers = msgspec.structs.replace(self.request(claim.trade_no, 1), request_no=f"{claim.trade_no}-1")
        opened(trade_place, claim, anothers)
        ours = self.request(claim.trade_no, 1)
        trade_place.trades.record_step(claim, payout_of(claim, ours.request_no))
        with pytest.raises(PortError):
            opened(trade_place, claim, ours)
        [stored] = trade_place.trades.bank_requests([claim.trade_no])[claim.trade_no]
        standing = trade_place.trades.find_repair(claim.trade_no)
        assert standing is not None
        results = [result_of(step) for step in standing.steps]
        assert stored.request_no == anothers.request_no
        assert [each.status for each in results if each.request_no == ours.request_no] == [""]

    def test_a_number_of_another_trade_is_not_opened(self, trade_place: TradePlace) -> None:
        one, other = held(trade_place), held(trade_place)
        opened(trade_place, one, self.request(one.trade_no, 1))
        anothers = msgspec.structs.replace(self.request(other.trade_no, 1), request_no=f"{one.trade_no}-P1")
        with pytest.raises(NumberTakenError):
            opened(trade_place, other, anothers)
        assert trade_place.trades.bank_requests([other.trade_no]) == {}

    @pytest.mark.parametrize("seen", [set(), {"gone"}])
    @pytest.mark.parametrize("is_standing", [True, False])
    def test_no_number_is_let_be_asked_beside_others_than_were_looked_at(
        self, trade_place: TradePlace, seen: set[str], is_standing: bool
    ) -> None:
        claim = held(trade_place)
        ours = self.request(claim.trade_no, 1)
        if is_standing:
            opened(trade_place, claim, ours)
        opened(trade_place, claim, self.request(claim.trade_no, 0))
        before = trade_place.trades.bank_requests([claim.trade_no])
        with pytest.raises(RequestsChangedError):
            opened(trade_place, claim, ours, seen | {ours.request_no})
        assert trade_place.trades.bank_requests([claim.trade_no]) == before

    def test_no_number_is_let_be_asked_on_a_row_that_has_changed_or_is_not_the_only_one(
        self, trade_place: TradePlace
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        claim = trade_place.trades.claim_repair(claim_of(trade), trade=trade)
        opened(trade_place, claim, self.request(claim.trade_no, 0), trade=trade)
        before = trade_place.trades.bank_requests([claim.trade_no])
        other = trade_place.plant(Planted(trade_no=trade.trade_no))
        with pytest.raises(RowChangedError):
            opened(trade_place, claim, self.request(claim.trade_no, 1), trade=trade)
        trade_place.remove(other.trade_id)
        trade_place.change(trade.trade_no, BANK_ACC_NO="another")
        with pytest.raises(RowChangedError):
            opened(trade_place, claim, self.request(claim.trade_no, 1), trade=trade)
        assert trade_place.trades.bank_requests([claim.trade_no]) == before

    def test_no_step_is_written_down_beside_others_than_were_looked_at(self, trade_place: TradePlace) -> None:
        claim = held(trade_place)
        numbers = [self.request(claim.trade_no, seq) for seq in (0, 1)]
        seen: set[str] = set()
        for each in numbers:
            opened(trade_place, claim, each)
            before = trade_place.trades.find_repair(claim.trade_no)
            for other in (seen, {*seen, each.request_no, "gone"}):
                with pytest.raises(RequestsChangedError):
                    trade_place.trades.record_step(claim, step_of(claim.trade_no), seen=other)
            assert trade_place.trades.find_repair(claim.trade_no) == before
            seen.add(each.request_no)
            trade_place.trades.record_step(claim, step_of(claim.trade_no), seen=seen)

    def test_a_number_is_asked_for_once_the_bank_was_let_be_asked(self, trade_place: TradePlace) -> None:
        claim = held(trade_place)
        numbers = [self.request(claim.trade_no, seq) for seq in (0, 1)]
        at = [opened(trade_place, claim, each).at for each in numbers]
        assert self.asked(trade_place, claim) == at
        trade_place.trades.record_step(claim, payout_of(claim, numbers[1].request_no))
        assert self.asked(trade_place, claim) == [at[0], None]
        again = opened(trade_place, claim, numbers[1]).at
        assert self.asked(trade_place, claim) == [at[0], again]

    @pytest.mark.parametrize(("state", "is_asked"), [("failed", False), ("done", True)])
    def test_what_has_failed_for_good_was_not_asked_for_since(
        self, trade_place: TradePlace, state: str, is_asked: bool
    ) -> None:
        claim = held(trade_place)
        request = self.request(claim.trade_no, 1)
        at = opened(trade_place, claim, request).at
        ended = payout_of(claim, request.request_no, status=state)
        trade_place.trades.record_step(claim, msgspec.structs.replace(ended, state=state, started_at=at))
        assert self.asked(trade_place, claim) == [at if is_asked else None]

    def asked(self, place: TradePlace, claim: RepairRow) -> list[datetime | None]:
        return [each.asked_at for each in place.trades.bank_requests([claim.trade_no])[claim.trade_no]]

    def test_the_numbers_written_down_are_those_of_every_round_whatever_became_of_them(
        self, trade_place: TradePlace
    ) -> None:
        claim, trades = held(trade_place), trade_place.trades
        numbers = [f"{claim.trade_no}-P{seq}" for seq in (1, 2)]
        assert trades.payout_numbers(claim.trade_no) == set()
        ended = msgspec.structs.replace(payout_of(claim, numbers[0], status="failed"), state="failed")
        trades.record_step(claim, ended, step_of(claim.trade_no))
        trades.close_repair(claim, "abandoned")
        [trade] = trades.find(claim.trade_no)
        later = trades.claim_repair(claim_of(trade, fence=9))
        trades.record_step(later, msgspec.structs.replace(payout_of(later, numbers[1]), name="pay_again"))
        assert trades.payout_numbers(claim.trade_no) == set(numbers)
        assert trades.payout_numbers(held(trade_place).trade_no) == set()

    def test_the_step_is_dated_each_time_the_bank_is_to_be_asked(self, trade_place: TradePlace) -> None:
        claim = held(trade_place)
        for _ in range(2):
            at = opened(trade_place, claim, self.request(claim.trade_no, 0)).at
            [step] = trade_place.trades.find_repair(claim.trade_no).steps  # type: ignore[union-attr]
            assert (step.name, step.state, step.started_at) == ("pay", "intended", at)

    @pytest.mark.parametrize("put_back", [1, -1])
    def test_the_bank_is_not_asked_long_after_the_last_look(
        self, trade_place: TradePlace, put_back: int
    ) -> None:
        claim = held(trade_place)
        since = claim.held_at - put_back * (EFFECT_WITHIN + A_MINUTE)
        late = msgspec.structs.replace(claim, held_at=since)
        with pytest.raises(StoodStillError):
            opened(trade_place, late, self.request(claim.trade_no, 1))
        assert trade_place.trades.bank_requests([claim.trade_no]) == {}
        assert trade_place.trades.find_repair(claim.trade_no) == claim

    def test_what_the_bank_said_is_kept_beside_it(self, trade_place: TradePlace) -> None:
        claim = held(trade_place)
        request = self.request(claim.trade_no, 0)
        opened(trade_place, claim, request)
        trade_place.trades.note_bank_request(claim, request.request_no, "accepted")
        [noted] = trade_place.trades.bank_requests([request.trade_no])[request.trade_no]
        assert (noted.status, noted.is_said_paid) == ("accepted", False)

    def test_a_request_noted_as_carried_out_says_so(self, trade_place: TradePlace) -> None:
        claim = held(trade_place)
        request = self.request(claim.trade_no, 0)
        opened(trade_place, claim, request)
        trade_place.trades.note_bank_request(claim, request.request_no, "success")
        [noted] = trade_place.trades.bank_requests([request.trade_no])[request.trade_no]
        assert noted.is_said_paid

    def test_an_arrival_notice_stored_since_stays(self, trade_place: TradePlace) -> None:
        claim = held(trade_place)
        request = self.request(claim.trade_no, 0)
        opened(trade_place, claim, request)
        for status in ("accepted", "success", "accepted", "unknown"):
            trade_place.trades.note_bank_request(claim, request.request_no, status)
        [noted] = trade_place.trades.bank_requests([request.trade_no])[request.trade_no]
        assert (noted.status, noted.is_said_paid) == ("success", True)


class TestClaiming:
    def test_a_claim_begins_the_first_round(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        assert trade_place.trades.find_repair(trade.trade_no) is None
        claimed = trade_place.trades.claim_repair(claim_of(trade))
        assert claimed == claim_of(trade, held_at=claimed.held_at)
        assert trade_place.trades.find_repair(trade.trade_no) == claimed

    def test_a_higher_fence_takes_an_open_repair_over_with_its_steps(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        step = step_of(trade.trade_no, "post_both", state="intended")
        trade_place.trades.record_step(held, step)
        newer = msgspec.structs.replace(
            claim_of(trade, fence=2, agent="agent-2", boot_id="boot-2"),
            plan=("write_row",),
            before={},
            terms="other",
        )
        taken = trade_place.trades.claim_repair(newer)
        assert (taken.fence, taken.agent, taken.boot_id, taken.round) == (2, "agent-2", "boot-2", 1)
        assert (taken.plan, taken.before, taken.terms) == (held.plan, trade.row, trade.terms)
        assert taken.steps == (step,)
        assert taken.money_moved

    def test_the_same_process_may_claim_again(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        trade_place.trades.claim_repair(claim_of(trade))
        again = trade_place.trades.claim_repair(claim_of(trade))
        assert again == claim_of(trade, held_at=again.held_at)

    def test_a_claim_says_since_when_it_stands_by_productions_clock(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        for fence in (1, 2):
            before = trade_place.trades.now()
            held = trade_place.trades.claim_repair(claim_of(trade, fence=fence))
            assert before <= held.held_at <= trade_place.trades.now()

    @pytest.mark.parametrize("fence", [1, 2])
    def test_an_older_attempt_cannot_take_it_back(self, trade_place: TradePlace, fence: int) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        trade_place.trades.claim_repair(claim_of(trade, fence=2, boot_id="boot-2"))
        with pytest.raises(FencedError):
            trade_place.trades.claim_repair(claim_of(trade, fence=fence, boot_id="boot-1"))

    def test_of_two_that_take_the_place_of_an_earlier_start_one_does(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        former = trade_place.trades.claim_repair(claim_of(trade))
        taken = trade_place.trades.claim_repair(claim_of(trade, boot_id="boot-2"), "boot-1")
        assert (taken.fence, taken.boot_id, taken.round) == (1, "boot-2", 1)
        with pytest.raises(FencedError):
            trade_place.trades.claim_repair(claim_of(trade, boot_id="boot-3"), "boot-1")
        with pytest.raises(FencedError):
            trade_place.trades.record_step(former, step_of(trade.trade_no))
        trade_place.trades.record_step(taken, step_of(trade.trade_no))

    def test_the_place_of_an_earlier_start_is_taken_under_its_own_fence_only(
        self, trade_place: TradePlace
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        trade_place.trades.claim_repair(claim_of(trade, fence=2))
        with pytest.raises(FencedError):
            trade_place.trades.claim_repair(claim_of(trade, fence=1, boot_id="boot-2"), "boot-1")

    def test_of_two_orders_at_work_in_one_process_the_older_is_fenced(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        older = trade_place.trades.claim_repair(claim_of(trade))
        newer = trade_place.trades.claim_repair(claim_of(trade, fence=2))
        assert older.boot_id == newer.boot_id
        with pytest.raises(FencedError):
            trade_place.trades.record_step(older, step_of(trade.trade_no))
        trade_place.trades.record_step(newer, step_of(trade.trade_no))

    def test_a_zombie_is_fenced_from_every_write(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        zombie = trade_place.trades.claim_repair(claim_of(trade))
        opened(trade_place, zombie, TestBankRequests().request(trade.trade_no, 0))
        newer = trade_place.trades.claim_repair(claim_of(trade, fence=2, boot_id="boot-2"))
        requests = trade_place.trades.bank_requests([trade.trade_no])
        step = step_of(trade.trade_no)
        correction = Correction(status=Status.FAILED, acc_voucher=None, e_acc_voucher=None, message="x")
        for write in (
            lambda: trade_place.trades.record_step(zombie, step),
            lambda: trade_place.trades.record_step(zombie, step, step_of(trade.trade_no, "pay", seq=2)),
            lambda: opened(trade_place, zombie, TestBankRequests().request(trade.trade_no, 1)),
            lambda: trade_place.trades.note_bank_request(zombie, f"{trade.trade_no}-0", "success"),
            lambda: trade_place.trades.renew_repair(zombie),
            lambda: trade_place.trades.close_repair(zombie, "done"),
            lambda: trade_place.trades.close_repair(zombie, "done", step),
            lambda: trade_place.trades.write_row(zombie, trade, correction, step),
        ):
            with pytest.raises(FencedError):
                write()
        assert trade_place.trades.find_repair(trade.trade_no) == newer
        assert trade_place.trades.find(trade.trade_no)[0].row == trade.row
        assert trade_place.trades.bank_requests([trade.trade_no]) == requests

    def test_a_closed_repair_is_followed_by_a_new_round(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade, fence=7))
        trade_place.trades.record_step(held, step_of(trade.trade_no, "post_both", state="failed"))
        trade_place.trades.close_repair(held, "abandoned")
        assert trade_place.trades.find_repair(trade.trade_no).state == "abandoned"  # type: ignore[union-attr]
        again = trade_place.trades.claim_repair(claim_of(trade, fence=8, boot_id="boot-2"))
        assert (again.round, again.fence, again.state, again.steps) == (2, 8, "open", ())

    @pytest.mark.parametrize("fence", [6, 7])
    def test_a_closed_repair_is_not_begun_anew_by_an_older_attempt(
        self, trade_place: TradePlace, fence: int
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade, fence=7))
        trade_place.trades.close_repair(held, "abandoned")
        with pytest.raises(FencedError):
            trade_place.trades.claim_repair(claim_of(trade, fence=fence, boot_id="boot-2"))
        assert trade_place.trades.find_repair(trade.trade_no).state == "abandoned"  # type: ignore[union-attr]

    def test_the_same_order_begins_anew_after_its_own_closed_repair(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade, fence=7))
        trade_place.trades.close_repair(held, "abandoned")
        again = trade_place.trades.claim_repair(claim_of(trade, fence=7, boot_id="boot-2"), "boot-1")
        assert (again.round, again.fence, again.boot_id) == (2, 7, "boot-2")


class TestClaimingWhatWasRead:
    def test_a_row_still_as_it_was_read_is_claimed(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade), trade=trade)
        again = trade_place.trades.claim_repair(claim_of(trade, fence=2), trade=trade)
        trade_place.trades.close_repair(again, "done")
        anew = trade_place.trades.claim_repair(claim_of(trade, fence=3), trade=trade)
        assert (held.round, again.round, anew.round) == (1, 1, 2)

    @pytest.mark.parametrize("cells", [{"AMOUNT": 50}, {"FAILED_MSG": "人工"}, {"CHANNEL": "ABC"}])
    def test_one_that_has_changed_since_is_not(
        self, trade_place: TradePlace, cells: dict[str, int | str]
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        trade_place.change(trade.trade_no, **cells)
        with pytest.raises(RowChangedError):
            trade_place.trades.claim_repair(claim_of(trade), trade=trade)
        assert trade_place.trades.find_repair(trade.trade_no) is None

    @pytest.mark.parametrize("state", ["open", "done"])
    def test_what_stands_of_an_earlier_repair_is_left_as_it_is(
        self, trade_place: TradePlace, state: str
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        former = trade_place.trades.claim_repair(claim_of(trade))
        if state == "done":
            trade_place.trades.close_repair(former, state)
        trade_place.change(trade.trade_no, AMOUNT=50)
        with pytest.raises(RowChangedError):
            trade_place.trades.claim_repair(claim_of(trade, fence=2), trade=trade)
        standing = trade_place.trades.find_repair(trade.trade_no)
        assert standing is not None
        assert (standing.round, standing.state, standing.fence) == (1, state, 1)

    def test_a_number_that_another_row_has_taken_is_not(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        trade_place.plant(Planted(trade_no=trade.trade_no))
        with pytest.raises(RowChangedError):
            trade_place.trades.claim_repair(claim_of(trade), trade=trade)

    def test_a_row_that_is_gone_is_not(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        trade_place.remove(trade.trade_id)
        with pytest.raises(RowChangedError):
            trade_place.trades.claim_repair(claim_of(trade), trade=trade)


class TestSteps:
    def test_steps_are_kept_in_order_and_replaced_by_key(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        pay = step_of(trade.trade_no, "pay", seq=2)
        post = step_of(trade.trade_no, "post_both", seq=1)
        for step in (pay, msgspec.structs.replace(post, state="intended"), post, post):
            trade_place.trades.record_step(held, step)
        assert trade_place.trades.find_repair(trade.trade_no).steps == (post, pay)  # type: ignore[union-attr]

    def test_a_repair_tells_the_steps_of_the_rounds_before_it_apart(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        post, pay = (step_of(trade.trade_no, name, seq=seq) for name, seq in (("post_both", 1), ("pay", 2)))
        trade_place.trades.record_step(held, post, pay)
        trade_place.trades.close_repair(held, "unpaid")
        again = trade_place.trades.claim_repair(claim_of(trade))
        assert (again.round, again.steps, set(again.earlier)) == (2, (), {post, pay})
        trade_place.trades.record_step(again, pay)
        standing = trade_place.trades.find_repair(trade.trade_no)
        assert standing is not None
        assert (standing.steps, standing.earlier) == ((pay,), (post,))

    def test_an_ended_step_is_written_with_the_next_one(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        begun = step_of(trade.trade_no, "post_both", seq=1, state="intended")
        trade_place.trades.record_step(held, begun)
        ended = step_of(trade.trade_no, "post_both", seq=1)
        following = step_of(trade.trade_no, seq=2, state="intended")
        trade_place.trades.record_step(held, ended, following)
        assert trade_place.trades.find_repair(trade.trade_no).steps == (ended, following)  # type: ignore[union-attr]

    def test_the_last_step_is_written_with_the_closing(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        last = step_of(trade.trade_no, "read_back", seq=2)
        trade_place.trades.close_repair(held, "done", last)
        standing = trade_place.trades.find_repair(trade.trade_no)
        assert standing is not None
        assert (standing.state, standing.steps) == ("done", (last,))

    @pytest.mark.parametrize("put_back", [1, -1])
    def test_nothing_is_closed_on_an_old_look(self, trade_place: TradePlace, put_back: int) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        last = step_of(trade.trade_no, "read_back", seq=2)
        looked_at = trade_place.trades.now() - put_back * (TOLD_WITHIN + A_MINUTE)
        with pytest.raises(StoodStillError):
            trade_place.trades.close_repair(held, "done", last, looked_at=looked_at)
        assert trade_place.trades.find_repair(trade.trade_no) == held
        trade_place.trades.close_repair(held, "done", last, looked_at=trade_place.trades.now())
        assert trade_place.trades.find_repair(trade.trade_no).state == "done"  # type: ignore[union-attr]

    @pytest.mark.parametrize("state", ["done", "abandoned", "unpaid"])
    def test_nothing_is_written_under_a_repair_that_is_closed(
        self, trade_place: TradePlace, state: str
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        trades = trade_place.trades
        held = trades.claim_repair(claim_of(trade))
        trades.close_repair(held, state)
        step = step_of(trade.trade_no)
        for write in (
            lambda: trades.record_step(held, step),
            lambda: trades.close_repair(held, "done", step),
            lambda: trades.renew_repair(held),
            lambda: trades.note_bank_request(held, f"{trade.trade_no}-0", "failed"),
        ):
            with pytest.raises(FencedError):
                write()
        trades.close_repair(held, state)
        standing = trades.find_repair(trade.trade_no)
        assert standing is not None
        assert (standing.state, standing.steps) == (state, ())

    def test_a_key_used_again_belongs_to_the_newer_round(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        trade_place.trades.record_step(held, step_of(trade.trade_no, state="failed"))
        trade_place.trades.close_repair(held, "abandoned")
        again = trade_place.trades.claim_repair(claim_of(trade, fence=2))
        trade_place.trades.record_step(again, step_of(trade.trade_no))
        assert trade_place.trades.find_repair(trade.trade_no).steps == (step_of(trade.trade_no),)  # type: ignore[union-attr]

    def test_what_is_about_to_happen_is_dated_by_productions_clock(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        step = msgspec.structs.replace(step_of(trade.trade_no, state="intended"), started_at=None)
        for _ in range(2):
            before = trade_place.trades.now()
            at = trade_place.trades.record_step(held, step, looked_at=before - FACTS_HOLD / 2)
            assert before <= at <= trade_place.trades.now()
            assert trade_place.trades.find_repair(trade.trade_no).steps == (step.written_at(at),)  # type: ignore[union-attr]

    @pytest.mark.parametrize("put_back", [1, -1])
    def test_nothing_is_intended_on_an_old_look(self, trade_place: TradePlace, put_back: int) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        looked_at = trade_place.trades.now() - put_back * (FACTS_HOLD + A_MINUTE)
        with pytest.raises(StoodStillError):
            trade_place.trades.record_step(held, step_of(trade.trade_no), looked_at=looked_at)
        assert trade_place.trades.find_repair(trade.trade_no) == held

    @pytest.mark.parametrize("put_back", [1, -1])
    def test_nothing_is_intended_long_after_the_last_write_under_the_claim(
        self, trade_place: TradePlace, put_back: int
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        long_ago = msgspec.structs.replace(held, held_at=held.held_at - put_back * (FACTS_HOLD + A_MINUTE))
        with pytest.raises(StoodStillError):
            trade_place.trades.record_step(long_ago, step_of(trade.trade_no), looked_at=held.held_at)
        assert trade_place.trades.find_repair(trade.trade_no) == held

    def test_what_has_ended_is_written_however_long_that_took(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        long_ago = msgspec.structs.replace(held, held_at=held.held_at - FACTS_HOLD - A_MINUTE)
        trade_place.trades.record_step(long_ago, step_of(trade.trade_no))
        assert trade_place.trades.find_repair(trade.trade_no).steps == (step_of(trade.trade_no),)  # type: ignore[union-attr]


class TestWritingTheRow:
    both = Correction(status=Status.SUCCESS, acc_voucher="GA1", e_acc_voucher="GA2", message="提现成功修复")

    def test_the_row_is_corrected_and_the_old_one_kept(self, trade_place: TradePlace) -> None:
        planted = trade_place.plant(Planted(status=0, message="bank timed out"))
        trade = read(trade_place, planted)
        held = trade_place.trades.claim_repair(claim_of(trade))
        step = step_of(trade.trade_no)
        after = trade_place.trades.write_row(held, trade, self.both, step)
        assert after.row == {
            **planted.row,
            "TRD_STATUS": 8,
            "ACC_TRD_NUM": "GA1",
            "ACC_TRD_STATUS": 1,
            "E_ACC_TRD_NUM": "GA2",
            "E_ACC_TRD_STATUS": 1,
            "FAILED_MSG": "提现成功修复",
        }
        [stored] = trade_place.trades.find(trade.trade_no)
        assert (stored.row, stored.row_hash) == (after.row, after.row_hash)
        assert stored.version == trade.version + 1
        assert stored.changed_at is not None
        assert stored.changed_at > planted.changed_at
        assert trade_place.old_rows(trade.trade_no) == [planted.row]
        assert trade_place.trades.find_repair(trade.trade_no).steps == (step,)  # type: ignore[union-attr]

    def test_a_voucher_left_out_leaves_its_leg_alone(self, trade_place: TradePlace) -> None:
        planted = trade_place.plant(Planted(acc_voucher="GA7", acc_status=1, e_acc_status=None))
        trade = read(trade_place, planted)
        held = trade_place.trades.claim_repair(claim_of(trade))
        correction = Correction(status=Status.FAILED, acc_voucher=None, e_acc_voucher=None, message="m")
        after = trade_place.trades.write_row(held, trade, correction, step_of(trade.trade_no))
        assert after.row == {**planted.row, "TRD_STATUS": 9, "FAILED_MSG": "m"}

    @pytest.mark.parametrize("cells", [{"FAILED_MSG": "production wrote"}, {"TRD_STATUS": 9}, {}])
    def test_a_row_that_changed_is_left_alone(
        self, trade_place: TradePlace, cells: dict[str, object]
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        trade_place.change(trade.trade_no, **cells)
        with pytest.raises(RowChangedError):
            trade_place.trades.write_row(held, trade, self.both, step_of(trade.trade_no))
        assert trade_place.trades.find(trade.trade_no)[0].row == {**trade.row, **cells}
        assert trade_place.old_rows(trade.trade_no) == []
        assert trade_place.trades.find_repair(trade.trade_no).steps == ()  # type: ignore[union-attr]

    @pytest.mark.parametrize("put_back", [1, -1])
    def test_the_row_is_not_written_long_after_that_was_intended(
        self, trade_place: TradePlace, put_back: int
    ) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        long_ago = msgspec.structs.replace(held, held_at=held.held_at - put_back * (EFFECT_WITHIN + A_MINUTE))
        with pytest.raises(StoodStillError):
            trade_place.trades.write_row(long_ago, trade, self.both, step_of(trade.trade_no))
        assert trade_place.trades.find(trade.trade_no)[0].row_hash == trade.row_hash
        assert trade_place.old_rows(trade.trade_no) == []
        assert trade_place.trades.find_repair(trade.trade_no) == held

    def test_a_row_that_vanished_is_not_made_up(self, trade_place: TradePlace) -> None:
        trade = read(trade_place, trade_place.plant(Planted()))
        held = trade_place.trades.claim_repair(claim_of(trade))
        trade_place.remove(trade.trade_id)
        with pytest.raises(RowChangedError):
            trade_place.trades.write_row(held, trade, self.both, step_of(trade.trade_no))
        assert trade_place.trades.find(trade.trade_no) == []
