"""Production at work on the very trades that are being repaired: it edits a row, posts a leg of its own, or
pays out once more.

A trade it has touched is ``touched``: the oracle no longer says what becomes of it, only that row, ledger
and bank agree in the end or a person has it.
"""

import random
from collections.abc import Collection
from typing import Final

from sqlalchemy import insert, select, update
from sqlalchemy.exc import IntegrityError, OperationalError

from chaos.drill.terms import SYS_CODE
from chaos.drill.waves import Planted
from sandbox.bank.client import BankClient
from sandbox.bank.records import FAILED, PAYOUT, has_surely_failed
from sandbox.database import reading, writing
from sandbox.errors import BankUnreachableError, SandboxError
from sandbox.ledger import PostingOrder
from sandbox.notices import take_notice
from sandbox.production import Production
from sandbox.scenes import RECHARGE, TWO_STEP
from sandbox.world import Row, World

SHARE: Final = 0.5
"""Of the cycles, those in which production touches a trade."""
EDIT: Final = "edit"
POST: Final = "posting"
PAY: Final = "payout"
REFUSED: Final = "refused"
UNANSWERED: Final = "unanswered payout"
LOCKED_OUT: Final = "locked out"


def touch_one(
    world: World, planted: Planted, in_repair: Collection[str], chance: random.Random, bank: BankClient
) -> str | None:
    """Edit the row, post a leg or pay out a repairable trade, one in repair if there is any.

    A leg is posted where nothing is posted yet; a payout is made, under the next number, where a debit stands
    and the bank has failed every number before for good. Return what came of it; None where there is none to
    touch that was not touched before.
    """
    fresh = [
        row
        for key, row in sorted(planted.rows.items())
        if planted.expected[key].startswith("repair:") and row["TRD_NUM"] not in planted.touched
    ]
    kind = chance.choice((EDIT, POST, PAY))
    production = world.production(SYS_CODE)
    if kind == POST:
        posted = _posted(production)
        fresh = [row for row in fresh if row["TRD_NUM"] not in posted]
    if kind == PAY:
        fresh = [row for row in fresh if _is_unpaid(world, row)]
    pool = [row for row in fresh if row["TRD_NUM"] in in_repair] or fresh
    if not pool:
        return None
    row = chance.choice(pool)
    # Before it is done: whatever is told of it, it may have come to something.
    planted.touched.add(row["TRD_NUM"])
    try:
        if kind == EDIT:
            _edit(production, row)
        elif kind == POST:
            _post(production, row)
        else:
            _pay(world, row, bank)
    except BankUnreachableError:
        return UNANSWERED
    except (SandboxError, IntegrityError):
        return f"{REFUSED} {kind}"
    except OperationalError:
        return LOCKED_OUT
    return kind


def _edit(production: Production, row: Row) -> None:
    """Write the row as an operator's look at it does."""
    trade = production.tables.trade
    with writing(production.engine) as connection:
        connection.execute(
            update(trade)
            .where(trade.c.TRD_ID.in_([row["TRD_ID"]]))
            .values(FAILED_MSG="looked at", UPDATED_AT=production.clock(), VERSION=trade.c["VERSION"] + 1)
        )


def _posted(production: Production) -> set[str]:
    """The trades of which the ledger holds an entry."""
    with reading(production.ledger.engine) as connection:
        return set(connection.execute(select(production.ledger.tables.entry.c.TRD_NUM).distinct()).scalars())


def _post(production: Production, row: Row) -> None:
    """Post what the trade's first posting is. Raises SandboxError where the ledger refuses it."""
    trade_no, kind = row["TRD_NUM"], row["TRD_KIND"]
    leg = "1" if kind == RECHARGE or row["POSTING_MODE"] == TWO_STEP else "both"
    production.ledger.post(
        PostingOrder(
            trade_no=trade_no,
            kind=kind,
            leg=leg,
            amount_minor=int(row["AMOUNT"]),
            account_no=str(row["ACC_NO"]),
            idem_key=f"PROD:{trade_no}:{leg}",
            posted_by="production",
        )
    )


def _is_unpaid(world: World, row: Row) -> bool:
    """Whether the customer was debited, and each number was failed by the bank for good."""
    trade_no = row["TRD_NUM"]
    failed = {one.request_no for one in world.payouts(trade_no) if has_surely_failed(one)}
    return (
        row["TRD_KIND"] != RECHARGE
        and any(
            one["LEG"] in ("1", "both") and one["REVERSED_BY"] is None and one["REVERSES"] is None
            for one in world.entries(trade_no, SYS_CODE)
        )
        and all(one["REQUEST_NO"] in failed for one in world.requests(trade_no, SYS_CODE))
    )


def _pay(world: World, row: Row, bank: BankClient) -> None:
    """Open the next number and pay out under it, as a trade system does that tries once more.

    Raises BankUnreachableError where the answer is lost, SandboxError or IntegrityError where another number
    was opened meanwhile, or the bank refuses it.
    """
    production, trade_no, amount = world.production(SYS_CODE), row["TRD_NUM"], int(row["AMOUNT"])
    trade, request = production.tables.trade, production.tables.bank_request
    seen = {one["REQUEST_NO"] for one in world.requests(trade_no, SYS_CODE)}
    with writing(production.engine) as connection:
        connection.execute(select(trade.c.TRD_ID).where(trade.c.TRD_NUM.in_([trade_no])).with_for_update())
        of_trade = select(request.c.REQUEST_NO, request.c.SEQ).where(request.c.TRD_NUM.in_([trade_no]))
        opened = {row.REQUEST_NO: row.SEQ for row in connection.execute(of_trade)}
        if opened.keys() != seen or not _is_unpaid(world, row):
            raise SandboxError(f"{trade_no} is being paid already")
        seq, now = max(opened.values(), default=-1) + 1, production.clock()
        number = f"{trade_no}-{seq}"
        line = {"REQUEST_NO": number, "TRD_NUM": trade_no, "SEQ": seq, "KIND": PAYOUT, "STATUS": "created"}
        dated = {"AMOUNT": amount, "CREATED_AT": now, "UPDATED_AT": now}
        connection.execute(insert(request).values(line | dated))
    reply = bank.submit(PAYOUT, number, amount, "CNY", str(row["BANK_ACC_NO"]))
    if reply.status == FAILED:
        take_notice(production, number, reply.status)
        raise SandboxError(f"the bank refused {number}")
    take_notice(production, number, reply.status)
