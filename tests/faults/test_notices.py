"""Notices of the bank (到账通知) that come twice, late, or after a repair: nothing is paid beside them.

The bank sends them over HTTP and production stores them, by the sandbox's own code; the adapters are real.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from threading import Event

import pytest

from agent.adapters.bank_http import HttpBank
from agent.adapters.ddl import ddl
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import BankNames
from agent.adapters.trade_db import SqlTrades
from agent.fixers.base import FactsReport, verify
from agent.ports import Ports
from sandbox.bank.client import BankClient
from sandbox.bank.notices import NoticeClerk
from sandbox.clock import ManualClock, utc_now
from sandbox.database import writing
from sandbox.errors import SandboxError
from sandbox.notices import taking_notices
from sandbox.scenes import SINGLE_STEP, TWO_STEP, WITHDRAW, Customer
from sandbox.statements import split_statements
from sandbox.trading import TradeOrder, TradeSystem
from sandbox.world import World
from tests.contract.test_whole_system import SETTINGS, Host

ANNA = Customer("20880001", "6222021234567890123", "ICBC")
AMOUNT, BALANCE = 300, 100_000
PROCESSING_S = 60.0
AT_ONCE = replace(SETTINGS, quiet_for=timedelta(0), stuck_after=timedelta(0))
"""Settings that look at a row however lately it was written."""


@dataclass
class Market:
    """Production's own program, the bank that tells it of arrivals, and an agent beside both."""

    host: Host
    clock: ManualClock
    system: TradeSystem
    clerk: NoticeClerk

    def notify(self, trade_no: str, times: int = 1) -> None:
        """The bank sends the notice of each payout of the trade that has ended, so many times."""
        ended = [one for one in self.host.world.payouts(trade_no) if one.completed_at is not None]
        for _ in range(times):
            self.clerk.announce(ended)

    def statuses(self, trade_no: str) -> list[str]:
        """What production has noted of each of the trade's requests."""
        return [str(request["STATUS"]) for request in self.host.world.requests(trade_no)]

    def look(self, trade_no: str) -> FactsReport:
        """What the agent finds when it looks again."""
        return verify(trade_no, self.host.ports, AT_ONCE)

    def assert_paid_and_booked_once(self, trade_no: str) -> None:
        """The trade is whole: paid once, debited once, and the sandbox's own report finds nothing wrong."""
        world, report = self.host.world, self.host.world.report()
        assert (report.violations, report.disagreements) == ([], [])
        assert [payout.status for payout in world.payouts(trade_no)].count("success") == 1
        assert world.balance(ANNA.account_no) == BALANCE - AMOUNT
        assert self.look(trade_no).outcome == "consistent"
        assert self.host.collect() == {}


@pytest.fixture
def market(tmp_path: Path) -> Iterator[Market]:
    """Two days ago; the bank takes a minute over a payout."""
    clock = ManualClock(utc_now() - timedelta(days=2))
    world = World.created(tmp_path, groups=("PBAP",), clock=clock)
    with writing(world.production().engine) as connection:
        for statement in split_statements(ddl("sqlite")):
            connection.exec_driver_sql(statement)
    world.production().ledger.open_account(ANNA.account_no, BALANCE)
    trades, ledger = SqlTrades(world.trade_url()), SqlLedger(world.ledger_url())
    with world.bank(processing_seconds=PROCESSING_S) as bank, taking_notices([world.production()]) as url:
        http = HttpBank(bank.url, bank.token, BankNames(failure_settles_s=60))
        client = BankClient(bank.url, bank.token)
        host = Host(world, Ports(trades, ledger, http))
        system = TradeSystem(world.production(), client)
        yield Market(host, clock, system, NoticeClerk(world.books, url, Event()))
        client.close()
        http.close()
    trades.close()
    ledger.close()
    world.close()


def interrupted(market: Market, mode: str = SINGLE_STEP) -> str:
    """A withdrawal the bank has accepted, whose notice production waits for; return its number."""
    market.system.run(TradeOrder(WITHDRAW, mode, AMOUNT, ANNA))
    (row,) = market.host.world.all_rows()
    return str(row["TRD_NUM"])


each_mode = pytest.mark.parametrize("mode", [SINGLE_STEP, TWO_STEP])


@each_mode
def test_a_notice_that_comes_twice_before_and_after_the_repair_changes_nothing(
    market: Market, mode: str
) -> None:
    trade_no = interrupted(market, mode)
    assert market.host.collect()[trade_no].outcome == "wait"
    market.clock.advance(PROCESSING_S)
    market.notify(trade_no, times=2)
    assert market.statuses(trade_no) == ["success"]
    assert market.host.repair(market.host.collect()[trade_no]).outcome == "repaired"
    market.assert_paid_and_booked_once(trade_no)
    market.notify(trade_no, times=2)
    market.assert_paid_and_booked_once(trade_no)


@each_mode
def test_a_notice_that_comes_only_after_the_repair_ended_finds_the_trade_whole(
    market: Market, mode: str
) -> None:
    trade_no = interrupted(market, mode)
    market.clock.advance(PROCESSING_S)
    assert market.host.repair(market.host.collect()[trade_no]).outcome == "repaired"
    assert market.statuses(trade_no) == ["accepted"]
    market.notify(trade_no)
    assert market.statuses(trade_no) == ["success"]
    market.assert_paid_and_booked_once(trade_no)


@each_mode
def test_production_that_goes_on_at_a_late_notice_after_the_repair_is_refused(
    market: Market, mode: str
) -> None:
    """Its program holds the row as it was before: ledger or row refuse what it does now."""
    steps = market.system.steps(TradeOrder(WITHDRAW, mode, AMOUNT, ANNA))
    while next(steps) != "request written":
        pass
    (row,) = market.host.world.all_rows()
    trade_no = str(row["TRD_NUM"])
    _bank_pays_number_zero(market, trade_no)
    assert market.host.repair(market.host.collect()[trade_no]).outcome == "repaired"
    repaired = market.host.world.row(trade_no)
    with pytest.raises(SandboxError):
        list(steps)
    assert market.host.world.row(trade_no) == repaired
    market.assert_paid_and_booked_once(trade_no)


def _bank_pays_number_zero(market: Market, trade_no: str) -> None:
    market.system.bank.submit("payout", f"{trade_no}-0", AMOUNT, "CNY", ANNA.bank_account_no)
    market.clock.advance(PROCESSING_S)


def paid_again(market: Market) -> str:
    """A withdrawal whose original the bank had failed for good, paid under the next number."""
    case = market.host.world.load_case("S7b", at=market.clock() - timedelta(days=2))
    told = market.host.collect()[case.trade_no]
    assert market.host.repair(told).outcome == "wait"
    market.clock.advance(PROCESSING_S)
    assert market.host.repair(told).outcome == "repaired"
    assert market.host.collect(AT_ONCE) == {}
    return case.trade_no


def change_of_mind(market: Market, trade_no: str) -> None:
    """The bank turns its failure of the original into a success, and tells nobody."""
    books = market.host.world.books
    original = next(one for one in market.host.world.payouts(trade_no) if one.request_no.endswith("-0"))
    late = replace(original, status="success", code=None, completed_at=market.clock())
    others = [one for one in books.everything() if one.request_no != original.request_no]
    books.clear()
    books.load([*others, late])


def test_a_success_told_of_an_original_after_another_number_was_paid_is_for_a_person(market: Market) -> None:
    """The bank had failed the original for good and paid the next number; now it says that it paid both."""
    world, trade_no = market.host.world, paid_again(market)
    entries = world.entries(trade_no)
    change_of_mind(market, trade_no)
    market.notify(trade_no, times=2)
    assert market.statuses(trade_no) == ["success", "success"]
    assert market.look(trade_no).outcome == "human"
    assert world.entries(trade_no) == entries
    assert len(world.payouts(trade_no)) == 2


def test_a_success_of_an_original_that_nobody_is_told_of_is_found_by_a_collection(market: Market) -> None:
    trade_no = paid_again(market)
    change_of_mind(market, trade_no)
    collected = market.host.collect(AT_ONCE)
    assert collected.keys() == {trade_no}
    told = collected[trade_no]
    assert (told.outcome, told.after) == ("human", None)
    assert told.facts is not None
    paid = [(one.request_no, one.status) for one in told.facts.bank.requests]
    assert paid == [(f"{trade_no}-0", "success"), (f"{trade_no}-P1", "success")]
    assert market.look(trade_no).outcome == "human"
    assert len(market.host.world.payouts(trade_no)) == 2
