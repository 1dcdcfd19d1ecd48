"""Tables of a production system, named and typed as docs/production-interface.md §1 and §2 say.

Names are written exactly as on that page: on PostgreSQL they are therefore quoted, case kept.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    column,
    or_,
)
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import UserDefinedType

# MariaDB's TIMESTAMP converts zones and updates itself; DATETIME(6) stores what it is given.
Moment = DateTime().with_variant(DATETIME(fsp=6), "mysql", "mariadb")
RowId = BigInteger().with_variant(Integer, "sqlite")


class LooseAmount(UserDefinedType[Any]):
    """BIGINT, but without type affinity on SQLite, so that a malformed amount can be stored."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "BIGINT"


@compiles(LooseAmount, "sqlite")
def _without_affinity(_type: LooseAmount, _compiler: object, **_: object) -> str:
    return ""


@dataclass(frozen=True)
class TradeTables:
    """The trade database of one system group."""

    metadata: MetaData
    trade: Table
    bank_request: Table
    planted: Table


@dataclass(frozen=True)
class LedgerTables:
    """The ledger database of one system group."""

    metadata: MetaData
    account: Table
    voucher_sequence: Table
    entry: Table
    entry_leg: Table
    posting: Table


def trade_tables(sys_code: str) -> TradeTables:
    """``T{sys_code}_TRD_ACC_TRADE`` and its neighbours."""
    metadata = MetaData()
    trade = Table(
        f"T{sys_code}_TRD_ACC_TRADE",
        metadata,
        Column("TRD_ID", RowId, primary_key=True, autoincrement=False),
        Column("TRD_NUM", String(64), nullable=False),
        Column("TRD_STATUS", Integer),
        Column("ACC_TRD_NUM", String(32)),
        Column("ACC_TRD_STATUS", Integer),
        Column("E_ACC_TRD_NUM", String(32)),
        Column("E_ACC_TRD_STATUS", Integer),
        Column("FAILED_MSG", String(500)),
        Column("TRD_KIND", String(16), nullable=False),
        Column("AMOUNT", LooseAmount()),
        Column("CURRENCY", String(3), nullable=False),
        Column("ACC_NO", String(64), nullable=False),
        Column("BANK_ACC_NO", String(64), nullable=False),
        Column("CHANNEL", String(32), nullable=False),
        Column("POSTING_MODE", String(16)),
        Column("CREATED_AT", Moment, nullable=False),
        Column("UPDATED_AT", Moment, nullable=False),
        Column("VERSION", Integer, nullable=False),
        Index(f"ix_{sys_code.lower()}_trade_number", "TRD_NUM"),
        Index(f"ix_{sys_code.lower()}_trade_updated", "UPDATED_AT"),
    )
    return TradeTables(metadata, trade, _bank_request(sys_code, metadata), _planted(sys_code, metadata))


def _bank_request(sys_code: str, metadata: MetaData) -> Table:
    return Table(
        f"T{sys_code}_BANK_REQUEST",
        metadata,
        Column("REQUEST_NO", String(80), primary_key=True),
        Column("TRD_NUM", String(64), nullable=False),
        Column("SEQ", Integer, nullable=False),
        Column("KIND", String(16), nullable=False),
        Column("STATUS", String(16), nullable=False),
        Column("AMOUNT", BigInteger, nullable=False),
        Column("CREATED_AT", Moment, nullable=False),
        Column("UPDATED_AT", Moment, nullable=False),
        UniqueConstraint("TRD_NUM", "SEQ", name=f"uq_{sys_code.lower()}_bank_request_seq"),
    )


def _planted(sys_code: str, metadata: MetaData) -> Table:
    """What the loaders put there on purpose: read by the report and by tests, by nobody else."""
    return Table(
        f"T{sys_code}_SANDBOX_PLANTED",
        metadata,
        Column("TRD_ID", RowId, primary_key=True, autoincrement=False),
        Column("TRD_NUM", String(64), nullable=False),
        Column("KIND", String(64), nullable=False),
        Column("EXPECTED", String(64), nullable=False),
        Column("PAID_UNDEBITED", Integer, nullable=False),
        Column("PLANTED_AT", Moment, nullable=False),
    )


def ledger_tables() -> LedgerTables:
    """The five ``gl_`` tables; a group has them in a database of its own."""
    metadata = MetaData()
    sequence = Table(
        "gl_voucher_sequence",
        metadata,
        Column("ID", Integer, primary_key=True, autoincrement=False),
        Column("LAST_VALUE", BigInteger, nullable=False),
    )
    leg = Table(
        "gl_entry_leg",
        metadata,
        Column("VOUCHER_NO", String(32), primary_key=True),
        Column("LEG", String(8), primary_key=True),
        Column("TRD_NUM", String(64), nullable=False),
        Column("LIVE", Integer),
        UniqueConstraint("TRD_NUM", "LEG", "LIVE", name="uq_gl_entry_leg_live"),
    )
    posting = Table(
        "gl_posting",
        metadata,
        Column("ID", RowId, primary_key=True, autoincrement=True),
        Column("VOUCHER_NO", String(32), nullable=False),
        Column("ACC_NO", String(64), nullable=False),
        Column("AMOUNT", BigInteger, nullable=False),
        Index("ix_gl_posting_voucher", "VOUCHER_NO"),
        Index("ix_gl_posting_account", "ACC_NO"),
    )
    return LedgerTables(metadata, _account(metadata), sequence, _entry(metadata), leg, posting)


def _account(metadata: MetaData) -> Table:
    return Table(
        "gl_account",
        metadata,
        Column("ACC_NO", String(64), primary_key=True),
        Column("KIND", String(16), nullable=False),
        Column("BALANCE", BigInteger, nullable=False),
        Column("CURRENCY", String(3), nullable=False),
        # Built from columns: in quotes of ours MariaDB would read the names as text and check nothing.
        CheckConstraint(
            or_(column("KIND") != "customer", column("BALANCE") >= 0), name="ck_gl_account_not_overdrawn"
        ),
    )


def _entry(metadata: MetaData) -> Table:
    return Table(
        "gl_entry",
        metadata,
        Column("VOUCHER_NO", String(32), primary_key=True),
        Column("TRD_NUM", String(64), nullable=False),
        Column("LEG", String(8), nullable=False),
        Column("KIND", String(16), nullable=False),
        Column("AMOUNT", BigInteger, nullable=False),
        Column("CURRENCY", String(3), nullable=False),
        Column("IDEM_KEY", String(160), nullable=False),
        Column("REVERSES", String(32), ForeignKey("gl_entry.VOUCHER_NO", name="fk_gl_entry_reverses")),
        Column("REVERSED_BY", String(32), ForeignKey("gl_entry.VOUCHER_NO", name="fk_gl_entry_reversed_by")),
        Column("POSTED_BY", String(64), nullable=False),
        Column("POSTED_AT", Moment, nullable=False),
        UniqueConstraint("IDEM_KEY", name="uq_gl_entry_idem_key"),
        Index("ix_gl_entry_trade_number", "TRD_NUM"),
    )
