"""What the books of production and bank say of I1 to I4, I9 and I11, read by none of the agent's code."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

from sqlalchemy import MetaData, select

from chaos.drill.terms import QUIET_FOR, STUCK_AFTER, SYS_CODE
from chaos.drill.violations import Violation
from chaos.drill.waves import Planted
from chaos.in_flight import was_in_flight
from sandbox.bank.records import ACCEPTED, FAILED, PAYOUT, SUCCESS, BankRecord
from sandbox.cases import LoadedCase
from sandbox.database import reading
from sandbox.production import Production
from sandbox.world import Row, World

RULES: Final = {
    "paid_twice": "I1",
    "unwritten_request": "I1",
    "asked_again": "I1",
    "paid_not_debited": "I3",
    "voucher_not_in_ledger": "I4",
    "voucher_amount": "I4",
}
"""Which invariant a rule of the sandbox's own report belongs to; what the ledger breaks by itself is I2."""
VOUCHER: Final = re.compile(r"GA\d{18}")
CELLS_OF_A_REPAIR: Final = frozenset(
    {
        "TRD_STATUS",
        "ACC_TRD_NUM",
        "ACC_TRD_STATUS",
        "E_ACC_TRD_NUM",
        "E_ACC_TRD_STATUS",
        "FAILED_MSG",
        "UPDATED_AT",
        "VERSION",
    }
)


def judge_money(world: World, planted: Planted, repaired: set[str], asked: set[str]) -> list[Violation]:
    """Every violation of money or rows; ``repaired`` are the trades the server calls repaired or healed,
    ``asked`` those a person has, or is yet to have.
    """
    report = world.report()
    found = [
        Violation(RULES.get(one.rule, "I2"), one.subject, f"{one.rule}: {one.detail}")
        for one in report.violations
    ]
    disagreeing = {one.trade_no: one.kind for one in report.disagreements}
    found += [
        Violation("I4", trade_no, f"called whole, but {disagreeing[trade_no]}")
        for trade_no in sorted(repaired & planted.repairable & disagreeing.keys())
    ]
    found += [
        Violation("I4", trade_no, f"touched by production, with no person, and {disagreeing[trade_no]}")
        for trade_no in sorted((planted.touched & disagreeing.keys()) - repaired - asked)
    ]
    rows = trade_rows(world.production(SYS_CODE))
    payouts = payouts_by_trade(world)
    found += _payouts_twice(payouts)
    found += _debits(world, rows, payouts, repaired & planted.repairable)
    found += _payouts_otherwise(planted, payouts)
    found += _entries_otherwise(world, planted)
    found += _numbers_in_doubt(world, payouts)
    found += _originals_asked(world)
    for case in planted.cases:
        if case.trade_no in repaired - planted.touched:
            found += judge_case(case, planted.rows[case.trd_id], rows[case.trd_id])
            found += _case_world(world, case, planted, payouts)
    found += _untouched(world, planted, rows, payouts)
    found += _corrections(world, planted)
    found += _written_over(world)
    return found


def trade_rows(production: Production) -> dict[int, Row]:
    """Every trade row by TRD_ID."""
    with reading(production.engine) as connection:
        rows = connection.execute(select(production.tables.trade)).mappings()
        return {row["TRD_ID"]: dict(row) for row in rows}


def payouts_by_trade(world: World) -> dict[str, list[BankRecord]]:
    """All the bank holds of payouts, by the trade their numbers are made of."""
    payouts: dict[str, list[BankRecord]] = defaultdict(list)
    for record in world.books.everything():
        if record.kind == PAYOUT:
            payouts[record.request_no.rpartition("-")[0]].append(record)
    return payouts


def _payouts_twice(payouts: Mapping[str, list[BankRecord]]) -> Iterator[Violation]:
    for trade_no, records in payouts.items():
        alive = sorted(one.request_no for one in records if one.status in (SUCCESS, ACCEPTED))
        if len(alive) > 1:
            yield Violation("I1", trade_no, f"paid {len(alive)} times: {', '.join(alive)}")


def _debits(
    world: World, rows: Mapping[int, Row], payouts: Mapping[str, list[BankRecord]], repaired: set[str]
) -> Iterator[Violation]:
    """A repaired withdrawal: what left the customer's account for it is what the bank has paid."""
    debited = customer_debits(world.production(SYS_CODE))
    for row in rows.values():
        if row["TRD_NUM"] not in repaired or row["TRD_KIND"] != "withdraw":
            continue
        paid = sum(one.amount_minor for one in payouts.get(row["TRD_NUM"], ()) if one.status == SUCCESS)
        if debited.get(row["TRD_NUM"], 0) != paid:
            yield Violation("I3", row["TRD_NUM"], f"debited {debited.get(row['TRD_NUM'], 0)}, paid {paid}")


def customer_debits(production: Production) -> dict[str, int]:
    """What each trade's entries, reversals too, took from customers' accounts."""
    entry, posting = production.ledger.tables.entry, production.ledger.tables.posting
    account = production.ledger.tables.account
    query = (
        select(entry.c.TRD_NUM, posting.c.AMOUNT)
        .join(posting, posting.c.VOUCHER_NO == entry.c.VOUCHER_NO)
        .join(account, account.c.ACC_NO == posting.c.ACC_NO)
        .where(account.c.KIND == "customer")
    )
    debits: dict[str, int] = defaultdict(int)
    with reading(production.ledger.engine) as connection:
        for trade_no, amount in connection.execute(query):
            debits[trade_no] -= int(amount)
    return debits


def _payouts_otherwise(planted: Planted, payouts: Mapping[str, list[BankRecord]]) -> Iterator[Violation]:
    """What the bank was asked for of a trade that may be mended: its own amount, to its own payee."""
    rows = {row["TRD_NUM"]: row for row in planted.rows.values()}
    for trade_no in sorted(planted.repairable & payouts.keys()):
        wanted = (int(rows[trade_no]["AMOUNT"]), rows[trade_no]["BANK_ACC_NO"])
        for one in payouts[trade_no]:
            amount = one.amount_minor if one.asked_minor is None else one.asked_minor
            if (amount, one.account) != wanted:
                yield Violation("I3", trade_no, f"{one.request_no} was over {amount} to {one.account}")


def _entries_otherwise(world: World, planted: Planted) -> Iterator[Violation]:
    """What was posted since of such a trade: its own amount, of its own customer."""
    ledger = world.production(SYS_CODE).ledger
    entry, posting, account = ledger.tables.entry, ledger.tables.posting, ledger.tables.account
    of_customers = (
        select(posting.c.VOUCHER_NO, posting.c.ACC_NO)
        .join(account, account.c.ACC_NO == posting.c.ACC_NO)
        .where(account.c.KIND == "customer")
    )
    with reading(ledger.engine) as connection:
        entries = list(connection.execute(select(entry.c.TRD_NUM, entry.c.VOUCHER_NO, entry.c.AMOUNT)))
        customers: dict[str, set[str]] = defaultdict(set)
        for voucher, account_no in connection.execute(of_customers):
            customers[voucher].add(account_no)
    rows = {row["TRD_NUM"]: row for row in planted.rows.values()}
    for trade_no, voucher, amount in entries:
        if trade_no not in planted.repairable or voucher in planted.vouchers.get(trade_no, ()):
            continue
        row = rows[trade_no]
        if int(amount) != int(row["AMOUNT"]) or not customers[voucher] <= {row["ACC_NO"]}:
            names = ", ".join(sorted(customers[voucher]))
            yield Violation("I2", trade_no, f"{voucher} moved {amount} of {names}")


def _numbers_in_doubt(world: World, payouts: Mapping[str, list[BankRecord]]) -> Iterator[Violation]:
    """A further number is opened only when the bank has failed every earlier one in its own books."""
    request = world.production(SYS_CODE).tables.bank_request
    numbers: dict[str, list[str]] = defaultdict(list)
    with reading(world.production(SYS_CODE).engine) as connection:
        kept = select(request.c.TRD_NUM, request.c.REQUEST_NO).where(request.c.KIND == PAYOUT)
        for trade_no, number in connection.execute(kept.order_by(request.c.TRD_NUM, request.c.SEQ)):
            numbers[trade_no].append(number)
    for trade_no, asked in numbers.items():
        held = {one.request_no: one.status for one in payouts.get(trade_no, ())}
        for number in asked[:-1]:
            if held.get(number) != FAILED:
                yield Violation("I9", trade_no, f"{asked[-1]} was opened while {number} had not failed")


def _originals_asked(world: World) -> Iterator[Violation]:
    """At a bank that does not de-duplicate nobody asks for a number that production has asked for."""
    request = world.production(SYS_CODE).tables.bank_request
    first = select(request.c.REQUEST_NO, request.c.TRD_NUM).where(request.c.SEQ.in_([0]))
    with reading(world.production(SYS_CODE).engine) as connection:
        originals = {row.REQUEST_NO: row.TRD_NUM for row in connection.execute(first)}
    for number in sorted(world.books.askings().keys() & originals.keys()):
        yield Violation("I1", originals[number], f"{number}, which production has asked for already")


def judge_case(case: LoadedCase, old: Row, new: Row) -> Iterator[Violation]:
    """One of the ten: each cell as the oracle has it, each other cell as it was."""
    labels: dict[str, object] = {}
    for column, wanted in case.case.after.items():
        found = new[column]
        if wanted == "kept":
            is_right = found == old[column]
        elif isinstance(wanted, str) and wanted.startswith("GA-"):
            is_right = labels.setdefault(wanted, found) == found and VOUCHER.fullmatch(str(found)) is not None
        elif isinstance(wanted, str) and VOUCHER.fullmatch(wanted):
            is_right = found == case.voucher_no
        else:
            is_right = found == wanted
        if not is_right:
            yield Violation("I4", case.trade_no, f"{case.case.id}: {column} is {found!r}, not {wanted!r}")
    for column in old.keys() - CELLS_OF_A_REPAIR:
        if new[column] != old[column]:
            yield Violation("I4", case.trade_no, f"{case.case.id}: {column} was changed to {new[column]!r}")


def _case_world(
    world: World, case: LoadedCase, planted: Planted, payouts: Mapping[str, list[BankRecord]]
) -> Iterator[Violation]:
    """The money a case's repair moves: entries, the customer's balance, one payout or none."""
    wanted, before = case.case.after_world, planted.vouchers.get(case.trade_no, set())
    added = len({entry["VOUCHER_NO"] for entry in world.entries(case.trade_no, SYS_CODE)} - before)
    moved = world.balance(case.account_no, SYS_CODE) - case.balance_before
    change = {"+amount": 1, "-amount": -1, "0": 0}[wanted["customer_balance"]] * case.amount_minor
    paid = sum(one.status == SUCCESS for one in payouts.get(case.trade_no, ()))
    is_due = wanted["payouts_made"] or str(case.case.world["bank"]).startswith("SUCCESS: the bank paid")
    for what, found, due in (
        ("entries added", added, wanted["ledger_entries_added"]),
        ("balance changed by", moved, change),
        ("payouts", paid, int(bool(is_due))),
    ):
        if found != due:
            yield Violation("I4", case.trade_no, f"{case.case.id}: {what} {found}, not {due}")


def _untouched(
    world: World, planted: Planted, rows: Mapping[int, Row], payouts: Mapping[str, list[BankRecord]]
) -> Iterator[Violation]:
    """No row, entry or payout is new or different of any trade that no fixer may mend."""
    production, repairable = world.production(SYS_CODE), planted.repairable
    entry = production.ledger.tables.entry
    with reading(production.ledger.engine) as connection:
        posted = list(connection.execute(select(entry.c.TRD_NUM, entry.c.VOUCHER_NO)))
    for trade_no, voucher in posted:
        if (
            trade_no in planted.payouts
            and trade_no not in repairable
            and voucher not in planted.vouchers.get(trade_no, ())
        ):
            yield Violation("I9", trade_no, f"{voucher} was posted for a trade that no fixer may mend")
    for key, old in planted.rows.items():
        trade_no = old["TRD_NUM"]
        if trade_no in repairable:
            continue
        if rows.get(key) != old:
            name = "I11" if planted.expected[key] in ("healthy", "consistent") else "I9"
            yield Violation(name, trade_no, "its row was written")
        if len(payouts.get(trade_no, ())) > planted.payouts[trade_no]:
            yield Violation("I9", trade_no, "a payout was asked for a trade that no fixer may mend")


def _corrections(world: World, planted: Planted) -> Iterator[Violation]:
    """Rows that Piculus says it has written, of trades it may not write."""
    engine = world.production(SYS_CODE).engine
    found = MetaData()
    found.reflect(engine, only=["piculus_correction"])
    with reading(engine) as connection:
        written = set(connection.execute(select(found.tables["piculus_correction"].c.trade_no)).scalars())
    for trade_no in sorted(written - planted.repairable):
        yield Violation("I11", trade_no, "its row was corrected")


def _written_over(world: World) -> Iterator[Violation]:
    """The row a repair wrote over is the row it had decided upon: no edit of production's is lost unseen. And
    production had left it alone for a while when the repair began.
    """
    engine = world.production(SYS_CODE).engine
    found = MetaData()
    found.reflect(engine, only=["piculus_repair", "piculus_correction"])
    repair, written = found.tables["piculus_repair"], found.tables["piculus_correction"]
    of_one = (repair.c.trade_no == written.c.trade_no) & (repair.c.round == written.c.round)
    both = select(written.c.trade_no, repair.c.row_before, written.c.old_row, repair.c.started_at)
    with reading(engine) as connection:
        for trade_no, row_before, old_row, began_at in connection.execute(both.join(repair, of_one)):
            decided, old = json.loads(row_before), json.loads(old_row)
            changed = sorted(name for name in decided if name in old and decided[name] != old[name])
            if changed:
                yield Violation(
                    "I11", trade_no, f"was written over although {', '.join(changed)} had changed"
                )
            if was_in_flight(old, began_at, quiet_for=QUIET_FOR, stuck_after=STUCK_AFTER):
                yield Violation("I9", trade_no, f"its repair began at {began_at}, in flight")
