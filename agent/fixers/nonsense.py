"""Telling rows that make no sense, and what of them makes none: ``word: COLUMN = value`` and its like.

The columns are named as docs/production-interface.md names them, whatever production calls them.
"""

import re
from collections.abc import Iterable
from typing import Final

from agent.facts import Kind
from agent.fixers.order import RepairSettings
from agent.money import MAX_MINOR, has_decimals, read_digits
from agent.records import CLOCKS_APART, EPOCH, MOST_TWINS, Trade

OUT_OF_RANGE: Final = "out_of_range"
MEANINGLESS: Final = "meaningless"
MALFORMED: Final = "malformed"
LARGEST: Final = 2**63 - 1
"""No BIGINT holds more: the correction record of a row could not be written."""
VALUE_CHARACTERS: Final = 40
TOLD_IDS: Final = 5


def find_nonsense(trade: Trade, settings: RepairSettings) -> str | None:
    """Say how the row makes no sense, with column and value, or None where it does."""
    if not re.search(settings.number_pattern, trade.trade_no):
        return _told(MALFORMED, "TRD_NUM", trade.row["TRD_NUM"])
    if nonsense := _nonsense_of_keys(trade):
        return nonsense
    for column, at in (("CREATED_AT", trade.created_at), ("UPDATED_AT", trade.changed_at)):
        if at is None:
            return f"{MALFORMED}: {column} unreadable"
        if at < EPOCH or at - trade.read_at > CLOCKS_APART:
            return _told(OUT_OF_RANGE, column, at.isoformat(timespec="seconds"))
    if trade.amount_minor is None:
        column = "AMOUNT with decimals" if has_decimals(trade.raw_amount) else "AMOUNT"
        return _told(_nonsense_of_amount(trade.raw_amount), column, trade.raw_amount)
    if trade.status is None:
        return _told(OUT_OF_RANGE, "TRD_STATUS", trade.raw_status)
    if trade.is_acc is None:
        return _told(OUT_OF_RANGE, "ACC_TRD_STATUS", trade.row["ACC_TRD_STATUS"])
    if trade.kind is None:
        return _told(MEANINGLESS, "TRD_KIND", trade.raw_kind)
    return _nonsense_of_accounts(trade) or _nonsense_of_withdrawal(trade)


def repeated_number(trade_ids: Iterable[int]) -> str:
    """Say that rows of these ids carry one trade number; of very many ids only the first are told, and not
    how many they are, for they were not all read.
    """
    ids = sorted(set(trade_ids))
    count = f"{MOST_TWINS}+" if len(ids) >= MOST_TWINS else f"{len(ids)}"
    told = ", ".join(str(each) for each in ids[:TOLD_IDS])
    more = " …" if len(ids) > TOLD_IDS else ""
    return f"{MALFORMED}: TRD_NUM on {count} rows, TRD_ID {told}{more}"


def _nonsense_of_keys(trade: Trade) -> str | None:
    """An id by which the row could not be found again, or a version that could not be kept or raised: the row
    is to be written once money has moved.
    """
    keys = (("TRD_ID", trade.row["TRD_ID"], LARGEST), ("VERSION", trade.raw_version, LARGEST - 1))
    for column, stored, largest in keys:
        if not isinstance(stored, int):
            return _told(MALFORMED, column, stored)
        if abs(stored) > largest:
            return _told(OUT_OF_RANGE, column, stored)
    return None


def _nonsense_of_accounts(trade: Trade) -> str | None:
    for column, number in (("ACC_NO", trade.account_no), ("BANK_ACC_NO", trade.bank_account_no)):
        if not number:
            return f"{MEANINGLESS}: {column} missing"
    return None


def _nonsense_of_withdrawal(trade: Trade) -> str | None:
    if trade.kind is not Kind.WITHDRAW:
        return None
    if trade.is_e_acc is None:
        return _told(OUT_OF_RANGE, "E_ACC_TRD_STATUS", trade.row["E_ACC_TRD_STATUS"])
    if trade.bookkeeping is None:
        return _told(MEANINGLESS, "POSTING_MODE", trade.raw_bookkeeping)
    return None


def _nonsense_of_amount(stored: object) -> str:
    if stored is None:
        return MEANINGLESS
    number = re.fullmatch(r"(-?)([0-9]+)", str(stored))
    if isinstance(stored, bool | float) or number is None:
        return MALFORMED
    sign, digits = number.groups()
    return OUT_OF_RANGE if not sign and read_digits(digits) > MAX_MINOR else MEANINGLESS


def _told(word: str, column: str, stored: object) -> str:
    """The stored value stands on one line, shortened: it may be anything."""
    value = "" if stored is None else " ".join(str(stored).split())
    if not value:
        return f"{word}: {column} missing"
    short = value if len(value) <= VALUE_CHARACTERS else value[: VALUE_CHARACTERS - 1] + "…"
    return f"{word}: {column} = {short}"
