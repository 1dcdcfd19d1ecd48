"""Production at work on the very trades that are being repaired: it edits a row, or posts a leg of its own.

A trade it has touched is ``touched``: the oracle no longer says what becomes of it, only that row, ledger
and bank agree in the end or a person has it.
"""

import random
from collections.abc import Collection
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from chaos.drill.terms import SYS_CODE
from chaos.drill.waves import Planted
from sandbox.database import reading, writing
from sandbox.errors import SandboxError
from sandbox.ledger import PostingOrder
from sandbox.production import Production
from sandbox.scenes import RECHARGE, TWO_STEP
from sandbox.world import Row, World

SHARE: Final = 0.5
"""Of the cycles, those in which production touches a trade."""
EDIT: Final = "edit"
POST: Final = "posting"
REFUSED: Final = "refused posting"
LOCKED_OUT: Final = "locked out"


def touch_one(
    world: World, planted: Planted, in_repair: Collection[str], chance: random.Random
) -> str | None:
    """Edit the row or post a leg of a repairable trade, one in repair if there is any.

    A leg is posted where nothing is posted yet. Return what came of it; None where there is none to touch
    that was not touched before.
    """
    fresh = [
        row
        for key, row in sorted(planted.rows.items())
        if planted.expected[key].startswith("repair:") and row["TRD_NUM"] not in planted.touched
    ]
    kind = chance.choice((EDIT, POST))
    production = world.production(SYS_CODE)
    if kind == POST:
        posted = _posted(production)
        fresh = [row for row in fresh if row["TRD_NUM"] not in posted]
    pool = [row for row in fresh if row["TRD_NUM"] in in_repair] or fresh
    if not pool:
        return None
    row = chance.choice(pool)
    # Before it is done: whatever is told of it, it may have come to something.
    planted.touched.add(row["TRD_NUM"])
    try:
        if kind == EDIT:
            _edit(production, row)
        else:
            _post(production, row)
    except SandboxError:
        return REFUSED
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
