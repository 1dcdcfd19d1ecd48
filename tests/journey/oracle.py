"""What repair_cases.json and the sandbox's own notes say must have become of each trade."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sqlalchemy import select

from sandbox.database import reading
from sandbox.world import Row, World

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parents[1] / "agent" / "repair_cases.json").read_text(encoding="utf-8")
)["cases"]
VOUCHER = re.compile(r"GA\d{18}")


@dataclass(frozen=True)
class Production:
    """One group: trade rows by TRD_ID, ledger entries by voucher number, balances, successful payouts."""

    rows: Mapping[int, Row]
    entries: Mapping[str, Row]
    balances: Mapping[str, int]
    payouts: frozenset[str]

    @classmethod
    def read(cls, world: World, group: str) -> Self:
        """Read everything a repair could move."""
        production = world.production(group)
        ledger = production.ledger
        with reading(production.engine) as connection:
            rows = [dict(row) for row in connection.execute(select(production.tables.trade)).mappings()]
        with reading(ledger.engine) as connection:
            entries = [dict(row) for row in connection.execute(select(ledger.tables.entry)).mappings()]
            accounts = connection.execute(select(ledger.tables.account)).mappings().all()
        paid = (one for one in world.books.everything() if (one.kind, one.status) == ("payout", "success"))
        return cls(
            {row["TRD_ID"]: row for row in rows},
            {str(entry["VOUCHER_NO"]): entry for entry in entries},
            {account["ACC_NO"]: account["BALANCE"] for account in accounts},
            frozenset(record.request_no for record in paid),
        )

    def entries_of(self, trade_no: str) -> list[Row]:
        """The ledger entries of a trade."""
        return [entry for entry in self.entries.values() if entry["TRD_NUM"] == trade_no]


def assert_case_is_whole(case: Mapping[str, Any], before: Production, after: Production) -> None:
    """One of the ten: the row exactly, its vouchers in the ledger, and no other money moved."""
    trade_id, trade_no = case["demo"]["TRD_ID"], case["demo"]["TRD_NUM"]
    old, new = before.rows[trade_id], after.rows[trade_id]
    assert new["TRD_NUM"] == trade_no
    _assert_cells(case, old, new)
    for number in {new["ACC_TRD_NUM"], new["E_ACC_TRD_NUM"]} - {None}:
        entry = after.entries[number]
        assert VOUCHER.fullmatch(number)
        assert (entry["TRD_NUM"], entry["AMOUNT"]) == (trade_no, old["AMOUNT"]), case["id"]
    world = case["after_world"]
    added = len(after.entries_of(trade_no)) - len(before.entries_of(trade_no))
    assert added == world["ledger_entries_added"], case["id"]
    change = {"+amount": 1, "-amount": -1, "0": 0}[world["customer_balance"]] * old["AMOUNT"]
    assert after.balances[old["ACC_NO"]] - before.balances[old["ACC_NO"]] == change, case["id"]
    assert _payouts_of(trade_no, after) - _payouts_of(trade_no, before) == _payouts_wanted(case), case["id"]


def _assert_cells(case: Mapping[str, Any], old: Row, new: Row) -> None:
    labels: dict[str, object] = {}
    for column, wanted in case["after"].items():
        found = new[column]
        if wanted == "kept":
            assert found == old[column], (case["id"], column)
        elif isinstance(wanted, str) and wanted.startswith("GA-"):
            assert labels.setdefault(wanted, found) == found, (case["id"], column)
        else:
            assert found == wanted, (case["id"], column)
    kept = [old[column] for column, wanted in case["after"].items() if wanted == "kept"]
    assert len({*labels.values(), *kept}) == len(labels) + len(kept), "different labels, different numbers"


def _payouts_of(trade_no: str, production: Production) -> set[str]:
    return {number for number in production.payouts if number.rpartition("-")[0] == trade_no}


def _payouts_wanted(case: Mapping[str, Any]) -> set[str]:
    trade_no = case["demo"]["TRD_NUM"]
    if not case["after_world"]["payouts_made"]:
        return set()
    named = case["after_world"]["payout_number"]
    return {f"{trade_no}-0" if named == "request number 0 again" else named.format(trade_no=trade_no)}


def assert_only_repairable_trades_changed(
    planted: list[Row], before: Production, after: Production
) -> set[str]:
    """No row, entry or payout of any other trade is new or different; return the numbers of changed trades.

    A trade planted as ``young`` becomes repairable once it is older than stuck_after.
    """
    allowed = {row["TRD_NUM"] for row in planted if row["EXPECTED"].startswith(("repair:", "young"))}
    assert before.rows.keys() == after.rows.keys()
    changed = {row["TRD_NUM"] for key, row in after.rows.items() if row != before.rows[key]}
    posted = {entry["TRD_NUM"] for key, entry in after.entries.items() if entry != before.entries.get(key)}
    paid = {number.rpartition("-")[0] for number in after.payouts - before.payouts}
    here = {row["TRD_NUM"] for row in after.rows.values()}
    assert changed - allowed == set()
    assert posted - allowed == set()
    assert (paid & here) - allowed == set()
    return changed
