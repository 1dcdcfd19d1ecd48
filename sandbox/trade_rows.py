"""Trade rows and bank requests as the report reads them, by key, never all rows at once."""

# ruff: noqa: SIM300 - it takes upper-case columns for constants

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import RowMapping, func, select

from sandbox.database import reading
from sandbox.production import Production

PAGE = 5_000
DOUBLED = "trade number twice"
_TRADE_NUMBER = re.compile(r"[A-Z0-9_-]{1,64}")


@dataclass(frozen=True)
class TradeRow:
    """``booked`` are the legs the row says are booked; ``nonsense`` names what cannot be, if anything."""

    trd_id: int
    trade_no: str
    kind: str
    status: int
    booked: set[str]
    acc_voucher: str | None
    e_acc_voucher: str | None
    amount_minor: int
    account_no: str
    bank_account_no: str
    nonsense: str | None


def trade_rows(production: Production) -> Iterator[TradeRow]:
    """Every row, by TRD_ID."""
    trade = production.tables.trade
    doubled = _doubled_numbers(production)
    last_id = -(2**62)
    while True:
        query = select(trade).where(trade.c.TRD_ID > last_id).order_by(trade.c.TRD_ID).limit(PAGE)
        with reading(production.engine) as connection:
            page = connection.execute(query).mappings().all()
        yield from (_row(row, doubled) for row in page)
        if len(page) < PAGE:
            return
        last_id = int(page[-1]["TRD_ID"])


def trade_row_now(production: Production, seen: TradeRow) -> TradeRow | None:
    """The row as it stands now, None when it is gone."""
    trade = production.tables.trade
    with reading(production.engine) as connection:
        row = connection.execute(select(trade).where(trade.c["TRD_ID"] == seen.trd_id)).mappings().first()
    return None if row is None else _row(row, {seen.trade_no} if seen.nonsense == DOUBLED else set())


def bank_requests_now(production: Production, trade_no: str) -> list[str]:
    """Request numbers production has written down for one trade."""
    request = production.tables.bank_request
    with reading(production.engine) as connection:
        wanted = select(request.c["REQUEST_NO"]).where(request.c["TRD_NUM"] == trade_no)
        return [str(number) for number in connection.execute(wanted).scalars()]


def bank_requests(production: Production) -> dict[str, list[str]]:
    """Request numbers production has written down, by trade number."""
    request = production.tables.bank_request
    numbers: dict[str, list[str]] = defaultdict(list)
    with reading(production.engine) as connection:
        for trade_no, request_no in connection.execute(select(request.c.TRD_NUM, request.c.REQUEST_NO)):
            numbers[trade_no].append(request_no)
    return numbers


def paid_undebited_on_purpose(production: Production) -> set[int]:
    """Ids of trades the loaders set up as paid and never debited."""
    planted = production.tables.planted
    with reading(production.engine) as connection:
        return set(
            connection.execute(select(planted.c.TRD_ID).where(planted.c.PAID_UNDEBITED == 1)).scalars()
        )


def _doubled_numbers(production: Production) -> set[str]:
    trade = production.tables.trade
    query = select(trade.c.TRD_NUM).group_by(trade.c.TRD_NUM).having(func.count() > 1)
    with reading(production.engine) as connection:
        return set(connection.execute(query).scalars())


def _row(row: RowMapping, doubled: set[str]) -> TradeRow:
    amount, status = row["AMOUNT"], row["TRD_STATUS"]
    booked = {leg for leg, name in (("1", "ACC_TRD_STATUS"), ("2", "E_ACC_TRD_STATUS")) if row[name] == 1}
    return TradeRow(
        int(row["TRD_ID"]),
        str(row["TRD_NUM"]),
        str(row["TRD_KIND"]),
        status if isinstance(status, int) else -1,
        booked,
        row["ACC_TRD_NUM"],
        row["E_ACC_TRD_NUM"],
        amount if isinstance(amount, int) else -1,
        str(row["ACC_NO"]),
        str(row["BANK_ACC_NO"]),
        _nonsense(row, doubled),
    )


def _nonsense(row: RowMapping, doubled: set[str]) -> str | None:
    amount = row["AMOUNT"]
    if row["TRD_STATUS"] not in (0, 8, 9):
        return "status"
    if not isinstance(amount, int) or amount <= 0:
        return "amount"
    if _TRADE_NUMBER.fullmatch(row["TRD_NUM"]) is None:
        return "trade number"
    return DOUBLED if row["TRD_NUM"] in doubled else None
