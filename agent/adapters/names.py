"""How a production system names things: tables, columns and codes, defaulted to docs/production-interface.md.

agent/config.py reads these structs from TOML, so every field is a configuration key.
Names are used exactly as written; on PostgreSQL a name with capitals is therefore quoted.
"""

import re
from typing import Annotated, Final, Literal

import msgspec

Code = int | str
"""A status or kind as production stores it."""
Isolation = Literal["READ COMMITTED", "REPEATABLE READ"]
"""On PostgreSQL and MariaDB both are right: what is decided upon is locked first and read then."""
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]

CLOSING_CODES: Final = ("E1001", "E1002", "E1003", "E2001", "E2002")
"""Failure codes after which surely no money moved: account closed or frozen, refused by risk control,
the payer's balance or limit too small."""


class TradeColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns of the trade table."""

    trade_id: str = "TRD_ID"
    trade_no: str = "TRD_NUM"
    status: str = "TRD_STATUS"
    acc_voucher: str = "ACC_TRD_NUM"
    acc_status: str = "ACC_TRD_STATUS"
    e_acc_voucher: str = "E_ACC_TRD_NUM"
    e_acc_status: str = "E_ACC_TRD_STATUS"
    message: str = "FAILED_MSG"
    kind: str = "TRD_KIND"
    amount: str = "AMOUNT"
    currency: str = "CURRENCY"
    account_no: str = "ACC_NO"
    bank_account_no: str = "BANK_ACC_NO"
    channel: str = "CHANNEL"
    bookkeeping: str = "POSTING_MODE"
    created_at: str = "CREATED_AT"
    changed_at: str = "UPDATED_AT"
    version: str = "VERSION"


_CODES_APART: Final = (
    ("processing", "success", "failed"),
    ("not_booked", "booked"),
    ("recharge", "withdraw"),
    ("single_step", "two_step"),
)


class TradeCodes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What production stores for each status, kind and way of posting."""

    processing: Code = 0
    success: Code = 8
    failed: Code = 9
    not_booked: Code = 0
    booked: Code = 1
    recharge: Code = "recharge"
    withdraw: Code = "withdraw"
    single_step: Code = "single_step"
    two_step: Code = "two_step"
    number_first: str = "A-Za-z0-9"
    number_rest: str = "A-Za-z0-9"
    number_shortest: Annotated[int, msgspec.Meta(ge=1, le=64)] = 8
    number_longest: Annotated[int, msgspec.Meta(ge=1, le=64)] = 40
    """A well-formed trade number: the characters of its first place, of the others, its length."""

    def __post_init__(self) -> None:
        """Refuse codes that cannot be told apart: a booked leg would read as unbooked."""
        for names in _CODES_APART:
            codes = [getattr(self, name) for name in names]
            if len(set(codes)) < len(codes):
                raise ValueError(f"{', '.join(names)} must differ")
        if self.number_shortest > self.number_longest:
            raise ValueError("number_shortest is more than number_longest")
        try:
            re.compile(f"[{self.number_first}][{self.number_rest}]")
        except re.error as error:
            raise ValueError(f"number_first or number_rest are no characters of a class: {error}") from error


class RequestColumns(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Columns of production's table of bank requests."""

    request_no: str = "REQUEST_NO"
    trade_no: str = "TRD_NUM"
    seq: str = "SEQ"
    kind: str = "KIND"
    status: str = "STATUS"
    amount: str = "AMOUNT"
    created_at: str = "CREATED_AT"
    changed_at: str = "UPDATED_AT"


class TradeNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The trade database. ``schema`` qualifies every table where the database wants it."""

    table: str = "TPBAP_TRD_ACC_TRADE"
    requests: str = "TPBAP_BANK_REQUEST"
    repair: str = "piculus_repair"
    step: str = "piculus_repair_step"
    correction: str = "piculus_correction"
    schema: str | None = None
    columns: TradeColumns = TradeColumns()
    request_columns: RequestColumns = RequestColumns()
    request_paid: tuple[str, ...] = ("success",)
    """What the status of a bank request reads once the bank has carried it out; hearsay, worth a question."""
    codes: TradeCodes = TradeCodes()
    isolation: Isolation = "READ COMMITTED"


class LedgerNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ledger database: its tables, the two house accounts, and its codes."""

    account: str = "gl_account"
    sequence: str = "gl_voucher_sequence"
    entry: str = "gl_entry"
    entry_leg: str = "gl_entry_leg"
    posting: str = "gl_posting"
    schema: str | None = None
    clearing_account: str = "CLEARING"
    bank_account: str = "BANK"
    customer: str = "customer"
    recharge: str = "recharge"
    withdraw: str = "withdraw"
    reversal: str = "reversal"
    posted_by: str = "piculus"
    isolation: Isolation = "READ COMMITTED"


class BankNames(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the bank is spoken to. ``failure_codes`` are those after which surely no money moved.

    ``failure_settles_s``: how long ago the bank must have failed a request (its ``completed_at``, by its own
    clock) for the failure to count: a younger one may still turn into success. 0 believes it at once.
    ``deduplicates``: whether the bank de-duplicates by request number. Sizes are bytes, times seconds.
    """

    receipt: str = "receipt"
    payout: str = "payout"
    failure_codes: tuple[str, ...] = CLOSING_CODES
    failure_settles_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    deduplicates: bool = True
    connect_timeout_s: Seconds = 5.0
    timeout_s: Seconds = 15.0
    connections: Annotated[int, msgspec.Meta(ge=1, le=256)] = 8
    max_answer_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 8 * 1024 * 1024
    max_settlement_bytes: Annotated[int, msgspec.Meta(ge=1024)] = 256 * 1024 * 1024


class Names(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Both databases of one system group, for the DDL that a DBA reviews."""

    trades: TradeNames = TradeNames()
    ledger: LedgerNames = LedgerNames()
