"""Collectors and fixers over the real adapters, on every database: the ten cases exactly, nothing else."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from threading import Event

import pytest
from sqlalchemy import text

from agent.adapters.bank_http import HttpBank
from agent.adapters.ddl import ddl
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import BankNames
from agent.adapters.trade_db import SqlTrades
from agent.answers import ReportedTrade
from agent.collectors import collect
from agent.fixers import FIXERS
from agent.fixers.base import RepairOrder, RepairReport, RepairSettings, repair
from agent.ports import Ports
from agent.records import Window
from sandbox.cases import LoadedCase
from sandbox.database import writing
from sandbox.settings import GroupUrls
from sandbox.statements import split_statements
from sandbox.world import World
from tests.databases import NewDatabase
from tests.databases import each_database as each_database

SETTINGS = RepairSettings(
    sys_code="PBAP", stuck_after=timedelta(seconds=30), quiet_for=timedelta(seconds=10), page=40
)


@dataclass
class Host:
    """An agent's ports beside a sandbox."""

    world: World
    ports: Ports

    def collect(self, settings: RepairSettings = SETTINGS) -> dict[str, ReportedTrade]:
        """One collection of a week over all fixers in two shards, by trade number."""
        now = self.ports.trades.now()
        reported: dict[str, ReportedTrade] = {}
        for shard in range(2):
            window = Window(start=now - timedelta(days=7), end=now, shard=shard, shards=2)
            for chunk in collect(list(FIXERS), window, self.ports, settings, Event(), lambda *_: None):
                reported |= {each.trade_no: each for each in chunk}
        return reported

    def repair(self, trade: ReportedTrade, settings: RepairSettings = SETTINGS) -> RepairReport:
        """One attempt on what was reported."""
        order = RepairOrder(
            trade_no=trade.trade_no,
            fixer_code=trade.fixer_code or "",
            row_hash=trade.row_hash,
            fence=1,
            agent="agent-1",
            boot_id="boot-1",
        )
        return repair(order, self.ports, settings, lambda step: None, Event())


@pytest.fixture
def host(each_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    urls = {"PBAP": GroupUrls(each_database(), each_database())}
    world = World.created(tmp_path_factory.mktemp("world"), groups=("PBAP",), urls=urls)
    with writing(world.production().engine) as connection:
        for statement in split_statements(ddl(world.production().engine.dialect.name)):
            connection.execute(text(statement))
    trades, ledger = SqlTrades(world.trade_url()), SqlLedger(world.ledger_url())
    with world.bank() as running:
        bank = HttpBank(running.url, running.token, BankNames(failure_settles_s=60))
        yield Host(world, Ports(trades, ledger, bank))
        bank.close()
    trades.close()
    ledger.close()
    world.close()


def assert_as_the_document_says(world: World, case: LoadedCase, entries_before: int) -> None:
    row, oracle = world.row(case.trade_no), case.case
    labels: dict[str, str] = {}
    for column, wanted in oracle.after.items():
        if wanted == "kept":
            wanted = case.voucher_no
        if isinstance(wanted, str) and wanted.startswith("GA-"):
            assert re.fullmatch(r"GA\d{18}", row[column])
            wanted = labels.setdefault(wanted, row[column])
        assert row[column] == wanted, (oracle.id, column)
    assert len(set(labels.values())) == len(labels)
    moved = {"+amount": 1, "-amount": -1, "0": 0}[oracle.after_world["customer_balance"]] * case.amount_minor
    assert world.balance(case.account_no) == case.balance_before + moved
    added = len(world.entries(case.trade_no)) - entries_before
    assert added == oracle.after_world["ledger_entries_added"]


def test_the_ten_cases_come_back_whole(host: Host) -> None:
    cases = host.world.load_cases()
    entries = {case.trade_no: len(host.world.entries(case.trade_no)) for case in cases}
    paid = {case.trade_no: _paid(host.world, case.trade_no) for case in cases}
    reported = host.collect()
    assert {no: each.fixer_code for no, each in reported.items()} == {
        case.trade_no: case.case.fixer for case in cases
    }
    for case in cases:
        assert host.repair(reported[case.trade_no]).outcome == "repaired", case.case.id
        assert_as_the_document_says(host.world, case, entries[case.trade_no])
        new = [no for no in _paid(host.world, case.trade_no) if no not in paid[case.trade_no]]
        wanted = case.case.after_world.get("payout_number", "")
        number = f"{case.trade_no}-0" if "again" in wanted else wanted.format(trade_no=case.trade_no)
        assert new == ([number] if case.case.after_world["payouts_made"] else [])
    assert host.collect() == {}
    assert not host.world.report().violations


def _paid(world: World, trade_no: str) -> list[str]:
    return [payout.request_no for payout in world.payouts(trade_no) if payout.status == "success"]


def test_of_trades_broken_in_every_way_only_those_are_mended_that_may_be(host: Host) -> None:
    host.world.load_healthy(60)
    planted = host.world.load_broken(70)
    violations = len(host.world.report().violations)
    before = {each.trade_no: host.world.rows(each.trade_no) for each in planted}
    ends = {no: _end(host, told) for no, told in host.collect().items()}
    for each in planted:
        expected = each.expected.partition(":")[0]
        if expected in ("repair", "human"):
            assert ends[each.trade_no] == expected, each
        if expected != "repair":
            assert host.world.rows(each.trade_no) == before[each.trade_no], each
            assert ends.get(each.trade_no) != "repair", each
    assert len(host.world.report().violations) == violations


def _end(host: Host, told: ReportedTrade) -> str:
    """What became of a reported trade, in the words of the sandbox."""
    if told.outcome != "repair":
        return told.outcome
    outcome = host.repair(told).outcome
    return {"repaired": "repair", "needs_human": "human"}.get(outcome, outcome)
