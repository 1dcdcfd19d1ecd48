"""Production's tables for SQLAlchemy, by their configured names.

Columns carry no type on purpose: what is stored comes back as it is, and a malformed value raises nothing.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import ColumnElement, TableClause, column, func, table
from sqlalchemy.sql.elements import ColumnClause

from agent.adapters.names import LedgerNames, TradeNames

REPAIR_COLUMNS = (
    "trade_no",
    "round",
    "state",
    "fence",
    "fixer_code",
    "target",
    "plan",
    "row_before",
    "terms",
    "agent",
    "boot_id",
    "started_at",
    "changed_at",
)
STEP_COLUMNS = (
    "step_key",
    "trade_no",
    "round",
    "seq",
    "name",
    "state",
    "moves_money",
    "started_at",
    "finished_at",
    "result",
    "fence",
    "agent",
    "boot_id",
)
CORRECTION_COLUMNS = (
    "trade_no",
    "round",
    "old_version",
    "trade_id",
    "fixer_code",
    "fence",
    "agent",
    "boot_id",
    "old_row",
    "new_row",
    "written_at",
)
ACCOUNT_COLUMNS = ("ACC_NO", "KIND", "BALANCE", "CURRENCY")
SEQUENCE_COLUMNS = ("ID", "LAST_VALUE")
ENTRY_COLUMNS = (
    "VOUCHER_NO",
    "TRD_NUM",
    "LEG",
    "KIND",
    "AMOUNT",
    "CURRENCY",
    "IDEM_KEY",
    "REVERSES",
    "REVERSED_BY",
    "POSTED_BY",
    "POSTED_AT",
)
LEG_COLUMNS = ("TRD_NUM", "LEG", "VOUCHER_NO", "LIVE")
POSTING_COLUMNS = ("VOUCHER_NO", "ACC_NO", "AMOUNT")


def columns_of(names: msgspec.Struct) -> tuple[str, ...]:
    """The configured column names of a struct of names, in its order."""
    return tuple(str(name) for name in msgspec.structs.astuple(names))


class TradeTables:
    """The tables of a trade database.

    ``stored`` are the columns of a trade row in TradeColumns' order; ``amounts``: tables' columns of money;
    ``keys``: the columns in which no two rows of a table are alike; ``versions``: that of a row's version,
    and ours that keeps the one before a correction.
    """

    def __init__(self, names: TradeNames) -> None:
        self.trade = _table(names.table, columns_of(names.columns), names.schema)
        self.request = _table(names.requests, columns_of(names.request_columns), names.schema)
        self.repair = _table(names.repair, REPAIR_COLUMNS, names.schema)
        self.step = _table(names.step, STEP_COLUMNS, names.schema)
        self.correction = _table(names.correction, CORRECTION_COLUMNS, names.schema)
        self.stored: list[ColumnClause[object]] = list(self.trade.c)
        self.amounts = (
            (names.table, names.columns.amount),
            (names.requests, names.request_columns.amount),
        )
        request = names.request_columns
        self.keys = (
            (names.requests, (request.request_no,)),
            (names.requests, (request.trade_no, request.seq)),
            (names.repair, ("trade_no",)),
            (names.step, ("step_key",)),
        )
        self.versions = ((names.table, names.columns.version), (names.correction, "old_version"))

    @property
    def expected(self) -> dict[str, tuple[str, ...]]:
        """Every table with the columns an agent needs there."""
        tables = (self.trade, self.request, self.repair, self.step, self.correction)
        return {each.name: tuple(each.c.keys()) for each in tables}


class LedgerTables:
    """The tables of a ledger database.

    ``amounts``: tables' columns of money; ``keys``: the columns in which no two rows of a table are alike.
    """

    def __init__(self, names: LedgerNames) -> None:
        self.account = _table(names.account, ACCOUNT_COLUMNS, names.schema)
        self.sequence = _table(names.sequence, SEQUENCE_COLUMNS, names.schema)
        self.entry = _table(names.entry, ENTRY_COLUMNS, names.schema)
        self.entry_leg = _table(names.entry_leg, LEG_COLUMNS, names.schema)
        self.posting = _table(names.posting, POSTING_COLUMNS, names.schema)
        self.amounts = ((names.account, "BALANCE"), (names.entry, "AMOUNT"), (names.posting, "AMOUNT"))
        self.keys = (
            (names.account, ("ACC_NO",)),
            (names.entry, ("VOUCHER_NO",)),
            (names.entry, ("IDEM_KEY",)),
            (names.entry_leg, ("TRD_NUM", "LEG", "LIVE")),
        )

    @property
    def expected(self) -> dict[str, tuple[str, ...]]:
        """Every table with the columns an agent needs there."""
        tables = (self.account, self.sequence, self.entry, self.entry_leg, self.posting)
        return {each.name: tuple(each.c.keys()) for each in tables}


def _table(name: str, columns: Sequence[str], schema: str | None) -> TableClause:
    return table(name, *(column(each) for each in columns), schema=schema)


def unindexed(expression: ColumnElement[object]) -> ColumnElement[object]:
    """The same value, in a form for which no planner uses an index."""
    return func.coalesce(expression, expression)
