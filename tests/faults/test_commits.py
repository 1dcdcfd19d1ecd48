"""A database that fails over exactly at COMMIT: what was carried out is not done a second time."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from itertools import count, cycle
from threading import Event
from typing import Final

import pytest

from agent.adapters.ledger_db import SqlLedger
from agent.adapters.trade_db import SqlTrades
from agent.errors import FencedError, PortError, RowChangedError
from agent.facts import Leg, LegState
from agent.fixers.base import RepairOrder, RepairReport, repair, verify
from agent.records import Posting, RepairRow, Trade
from sandbox.cases import LoadedCase
from tests.contract.places import Planted, SqlLedgerPlace, SqlTradePlace, claim_of, opened, step_of
from tests.contract.test_reversals import reversal_of
from tests.contract.test_whole_system import SETTINGS, Host
from tests.contract.test_whole_system import each_database as each_database
from tests.contract.test_whole_system import host as host
from tests.contract.trades import new_trade, posting_of, request_of
from tests.faults.commits import Fate, losing_commit
from tests.faults.test_failover import CORRECTION

each_fate = pytest.mark.parametrize("fate", Fate, ids=lambda fate: fate.value)
Work = Callable[[SqlTradePlace, Trade], None]


# ---- one write


def held_of(place: SqlTradePlace, trade: Trade) -> RepairRow:
    """The claim as production's table has it."""
    held = place.trades.find_repair(trade.trade_no)
    assert held is not None
    return held


def claim(place: SqlTradePlace, trade: Trade) -> None:
    place.trades.claim_repair(claim_of(trade))


def write_down(place: SqlTradePlace, trade: Trade) -> None:
    place.trades.record_step(held_of(place, trade), step_of(trade.trade_no, "post_both", state="intended"))


def open_request(place: SqlTradePlace, trade: Trade) -> None:
    opened(place, held_of(place, trade), request_of(trade, 1))


def write_row(place: SqlTradePlace, trade: Trade) -> None:
    place.trades.write_row(held_of(place, trade), trade, CORRECTION, step_of(trade.trade_no))


def close(place: SqlTradePlace, trade: Trade) -> None:
    place.trades.close_repair(held_of(place, trade), "done", step_of(trade.trade_no, "read_back"))


SEEN: Final[dict[Work, type[Exception]]] = {write_row: RowChangedError, close: FencedError}
"""What is refused when it was carried out already; anything else of these may be written again, alike."""


def stored(place: SqlTradePlace, trade: Trade) -> tuple[object, ...]:
    """All that production holds of the trade, but for its number."""
    (found,) = place.trades.find(trade.trade_no)
    held = place.trades.find_repair(trade.trade_no)
    return (
        (found.status, found.row["ACC_TRD_NUM"], found.version),
        held and (held.state, held.round, held.fence, [(step.name, step.state) for step in held.steps]),
        [request.seq for request in place.trades.bank_requests([trade.trade_no]).get(trade.trade_no, [])],
        len(place.old_rows(trade.trade_no)),
    )


def planted(place: SqlTradePlace, work: Work) -> Trade:
    """A trade of production, claimed where the work is done under a claim."""
    (trade,) = place.trades.find(place.plant(Planted()).trade_no)
    if work is not claim:
        claim(place, trade)
    return trade


@each_fate
@pytest.mark.parametrize("work", [claim, write_down, open_request, write_row, close])
def test_a_write_lost_at_its_commit_is_whole_or_nothing_and_never_written_twice(
    sql_trades: SqlTradePlace, work: Work, fate: Fate
) -> None:
    twin, trade = planted(sql_trades, work), planted(sql_trades, work)
    work(sql_trades, twin)
    whole, nothing = stored(sql_trades, twin), stored(sql_trades, trade)
    assert whole != nothing
    with losing_commit(sql_trades.sql._engine, fate=fate), pytest.raises(PortError) as told:
        work(sql_trades, trade)
    assert "://" not in str(told.value)
    assert stored(sql_trades, trade) == (whole if fate is Fate.ANSWER_LOST else nothing)
    is_refused = fate is Fate.ANSWER_LOST and work in SEEN
    with pytest.raises(SEEN[work]) if is_refused else nullcontext():
        work(sql_trades, trade)
    assert stored(sql_trades, trade) == whole


# ---- one posting


@each_fate
def test_a_posting_lost_at_its_commit_is_posted_once(sql_ledger: SqlLedgerPlace, fate: Fate) -> None:
    trade = new_trade()
    posting: Posting = posting_of(trade, Leg.BOTH)
    sql_ledger.open_account(trade.account_no, 50_000)
    with losing_commit(sql_ledger.sql._engine, fate=fate), pytest.raises(PortError):
        sql_ledger.ledger.post(posting)
    is_posted = fate is Fate.ANSWER_LOST
    first, _ = sql_ledger.ledger.legs([trade])[trade.trade_no]
    assert first.state is (LegState.POSTED if is_posted else LegState.NONE)
    assert sql_ledger.balance(trade.account_no) == 50_000 - 10_050 * is_posted
    voucher_no = sql_ledger.ledger.post(posting)
    assert first.voucher_no in (voucher_no, None)
    assert sql_ledger.live_entries(trade.trade_no) == 1
    assert sql_ledger.balance(trade.account_no) == 50_000 - 10_050


@each_fate
def test_a_reversal_lost_at_its_commit_is_posted_once(sql_ledger: SqlLedgerPlace, fate: Fate) -> None:
    trade = new_trade()
    sql_ledger.open_account(trade.account_no, 50_000)
    voucher_no = sql_ledger.ledger.post(posting_of(trade, Leg.BOTH))
    reversal = reversal_of(trade, voucher_no)
    with losing_commit(sql_ledger.sql._engine, fate=fate), pytest.raises(PortError):
        sql_ledger.ledger.reverse_entry(reversal)
    assert sql_ledger.live_entries(trade.trade_no) == int(fate is Fate.NOT_CARRIED_OUT)
    sql_ledger.ledger.reverse_entry(reversal)
    assert len(sql_ledger.world.entries(trade.trade_no)) == 2
    assert sql_ledger.balance(trade.account_no) == 50_000


# ---- a whole repair


class Patient:
    """One trade to repair, and the attempts at it."""

    def __init__(self, host: Host, case_id: str, number: int) -> None:
        at = host.ports.trades.now().replace(tzinfo=None) - timedelta(days=2)
        self.host = host
        self.case: LoadedCase = host.world.load_case(
            case_id, trade_no=f"WD{case_id}{number:015}", trd_id=5_000 + number, amount_minor=777, at=at
        )
        self.fence = 0

    def attempt(self) -> RepairReport:
        """One attempt by an agent of its own, on the row as it stands."""
        self.fence += 1
        (trade,) = self.host.ports.trades.find(self.case.trade_no)
        order = RepairOrder(
            trade_no=trade.trade_no,
            fixer_code=self.case.case.fixer,
            row_hash=trade.row_hash,
            fence=self.fence,
            agent=f"agent-{self.fence}",
            boot_id=f"boot-{self.fence}",
        )
        return repair(order, self.host.ports, SETTINGS, lambda step: None, Event())

    def is_whole(self) -> bool:
        """Whether a look finds that all agree."""
        return verify(self.case.trade_no, self.host.ports, SETTINGS).outcome == "consistent"


def assert_repaired_once(patient: Patient, entries_before: int) -> None:
    """Each leg posted once, the customer paid once, the row written once."""
    world, trade_no = patient.host.world, patient.case.trade_no
    expected = patient.case.case
    assert len(world.entries(trade_no)) - entries_before == expected.after_world["ledger_entries_added"]
    assert [payout.status for payout in world.payouts(trade_no)].count("success") == 1
    row = world.row(trade_no)
    assert (row["TRD_STATUS"], row["VERSION"]) == (expected.after["TRD_STATUS"], 2)


def repair_losing(host: Host, case_id: str, place: int, fate: Fate) -> bool:
    """Repair a new trade while its commit at ``place`` is lost; return whether it came to that commit."""
    trades, ledger = host.ports.trades, host.ports.ledger
    assert isinstance(trades, SqlTrades)
    assert isinstance(ledger, SqlLedger)
    patient = Patient(host, case_id, place)
    entries = len(host.world.entries(patient.case.trade_no))
    with losing_commit(trades._engine, ledger._engine, place=place, fate=fate) as lost:
        first = patient.attempt()
    assert first.outcome == ("unknown" if lost.is_lost else "repaired")
    assert patient.is_whole() or patient.attempt().outcome == "repaired"
    assert_repaired_once(patient, entries)
    return lost.is_lost


@each_fate
@pytest.mark.parametrize("case_id", ["S2", "S7b"])
@pytest.mark.parametrize("each_database", ["sqlite"], indirect=True)
def test_a_repair_that_loses_any_of_its_commits_is_finished_and_moves_money_once(
    host: Host, case_id: str, fate: Fate
) -> None:
    places = next(place for place in count(1) if not repair_losing(host, case_id, place, fate))
    assert places > 5
    assert not host.world.report().violations


@pytest.mark.parametrize("each_database", ["postgresql", "mariadb"], indirect=True)
def test_on_a_server_too_the_next_attempt_goes_on_behind_a_lost_commit(host: Host) -> None:
    """The two fates in turn: each write has met both above."""
    fates = cycle(Fate)
    places = next(place for place in count(1) if not repair_losing(host, "S2", place, next(fates)))
    assert places > 5
    assert not host.world.report().violations
