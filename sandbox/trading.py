"""How production itself writes a trade: one short step after the other, any of which may be the last.

A generator runs the steps and says the name of each when it is done; whoever stops asking has
interrupted the business logic there, exactly as a crash would have. Times of the steps:

recharge             row, request, bank, request status, row success, posting, row voucher
withdraw single-step row, request, bank, request status, posting, row success
withdraw two-step    row, posting leg 1, row leg 1, request, bank, request status, posting leg 2, row success
refused by the bank  … request status, row failed, reversal of leg 1 where there is one
no answer            … request status; a recharge is called failed (rashly), a withdrawal stays processing
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, update

from sandbox.bank.client import BankClient, BankReply
from sandbox.bank.records import FAILED, PAYOUT, RECEIPT, SUCCESS
from sandbox.database import writing
from sandbox.errors import BankError, InsufficientBalanceError, RowChangedError
from sandbox.ledger import CURRENCY, PostingOrder
from sandbox.notices import take_notice
from sandbox.people import trade_number
from sandbox.production import Production
from sandbox.scenes import FAILED as TRADE_FAILED
from sandbox.scenes import PROCESSING, RECHARGE, SINGLE_STEP, SUCCEEDED, TWO_STEP, Customer

REFUSED_BY_BANK = "银行返回失败：{code}"
NO_BALANCE = "账户余额不足，提现失败"
REPLY_LOST = "银行通道响应超时，交易结果未知（BANK_TIMEOUT）"


@dataclass(frozen=True)
class TradeOrder:
    """What the customer wants. ``mode`` None for a recharge."""

    kind: str
    mode: str | None
    amount_minor: int
    customer: Customer


@dataclass
class OpenTrade:
    """A trade whose row is written; ``version`` is the row's as production last wrote it."""

    trd_id: int
    trade_no: str
    order: TradeOrder
    version: int = 1

    @property
    def request_no(self) -> str:
        return f"{self.trade_no}-0"


class TradeSystem:
    """Production's own program for one group; one thread at a time."""

    def __init__(self, production: Production, bank: BankClient) -> None:
        self.production = production
        self.bank = bank

    def steps(self, order: TradeOrder, loses_reply: bool = False) -> Iterator[str]:
        """Runs a trade; yields each step's name after the step. Not to go on is to interrupt it.

        ``loses_reply``: the bank is asked and its answer never arrives.
        """
        trade = self._open(order)
        yield "row written"
        if order.mode == TWO_STEP:
            try:
                voucher_no = self._post(trade, "1")
            except InsufficientBalanceError:
                self._set_row(trade, TRD_STATUS=TRADE_FAILED, FAILED_MSG=NO_BALANCE)
                return
            yield "leg 1 posted"
            self._set_row(trade, ACC_TRD_NUM=voucher_no, ACC_TRD_STATUS=1)
            yield "leg 1 on row"
        self._write_request(trade)
        yield "request written"
        try:
            reply = self._ask_bank(trade)
        except BankError:
            reply = None
        if reply is None or loses_reply:
            self._go_without_reply(trade)
            return
        yield "bank asked"
        self._set_request(trade, reply.status)
        yield "reply noted"
        if reply.status == FAILED:
            yield from self._fail(trade, reply)
        elif reply.status == SUCCESS:
            yield from self._finish(trade)

    def run(self, order: TradeOrder, most_steps: int | None = None, loses_reply: bool = False) -> list[str]:
        """Runs a trade to its end, or stops it after ``most_steps``; returns the names of the steps done."""
        done = []
        for step in self.steps(order, loses_reply):
            done.append(step)
            if len(done) == most_steps:
                break
        return done

    def _finish(self, trade: OpenTrade) -> Iterator[str]:
        if trade.order.kind == RECHARGE:
            self._set_row(trade, TRD_STATUS=SUCCEEDED)
            yield "row success"
            voucher_no = self._post(trade, "1")
            yield "posted"
            self._set_row(trade, ACC_TRD_NUM=voucher_no, ACC_TRD_STATUS=1)
        elif trade.order.mode == SINGLE_STEP:
            voucher_no = self._post(trade, "both")
            yield "posted"
            both = {"ACC_TRD_NUM": voucher_no, "E_ACC_TRD_NUM": voucher_no}
            self._set_row(trade, TRD_STATUS=SUCCEEDED, ACC_TRD_STATUS=1, E_ACC_TRD_STATUS=1, **both)
        else:
            voucher_no = self._post(trade, "2")
            yield "leg 2 posted"
            self._set_row(trade, TRD_STATUS=SUCCEEDED, E_ACC_TRD_NUM=voucher_no, E_ACC_TRD_STATUS=1)
        yield "row finished"

    def _fail(self, trade: OpenTrade, reply: BankReply) -> Iterator[str]:
        message = REFUSED_BY_BANK.format(code=reply.code)
        self._set_row(trade, TRD_STATUS=TRADE_FAILED, FAILED_MSG=message)
        yield "row failed"
        if trade.order.mode == TWO_STEP:
            # The same key as the posting: the ledger answers with the number it gave.
            voucher_no = self._post(trade, "1")
            self.production.ledger.reverse(voucher_no, f"{self._key(trade, '1')}:reversal", "production")
            yield "leg 1 reversed"
            self._set_row(trade, ACC_TRD_NUM=None, ACC_TRD_STATUS=0)
            yield "row cleared"

    def _go_without_reply(self, trade: OpenTrade) -> None:
        self._set_request(trade, "unknown")
        if trade.order.kind == RECHARGE:
            self._set_row(trade, TRD_STATUS=TRADE_FAILED, FAILED_MSG=REPLY_LOST)
        else:
            self._set_row(trade, FAILED_MSG=REPLY_LOST)

    def _open(self, order: TradeOrder) -> OpenTrade:
        now = self.production.clock()
        trd_id = self.production.next_trade_id()
        trade = OpenTrade(trd_id, trade_number(self.production.sys_code, order.kind, now, trd_id), order)
        with writing(self.production.engine) as connection:
            connection.execute(insert(self.production.tables.trade).values(_first_row(trade, now)))
        return trade

    def _write_request(self, trade: OpenTrade) -> None:
        now = self.production.clock()
        row = {
            "REQUEST_NO": trade.request_no,
            "TRD_NUM": trade.trade_no,
            "SEQ": 0,
            "KIND": _request_kind(trade.order),
            "STATUS": "created",
            "AMOUNT": trade.order.amount_minor,
            "CREATED_AT": now,
            "UPDATED_AT": now,
        }
        with writing(self.production.engine) as connection:
            connection.execute(insert(self.production.tables.bank_request).values(row))

    def _ask_bank(self, trade: OpenTrade) -> BankReply:
        order = trade.order
        account = order.customer.bank_account_no
        kind = _request_kind(order)
        return self.bank.submit(kind, trade.request_no, order.amount_minor, CURRENCY, account)

    def _post(self, trade: OpenTrade, leg: str) -> str:
        order, customer = trade.order, trade.order.customer.account_no
        key = self._key(trade, leg)
        return self.production.ledger.post(
            PostingOrder(trade.trade_no, order.kind, leg, order.amount_minor, customer, key, "production")
        )

    def _key(self, trade: OpenTrade, leg: str) -> str:
        return f"{self.production.sys_code}:{trade.trade_no}:{leg}"

    def _set_request(self, trade: OpenTrade, status: str) -> None:
        take_notice(self.production, trade.request_no, status)

    def _set_row(self, trade: OpenTrade, **changes: object) -> None:
        table = self.production.tables.trade
        ours = (table.c["TRD_ID"] == trade.trd_id) & (table.c["VERSION"] == trade.version)
        trade.version += 1
        values = {**changes, "UPDATED_AT": self.production.clock(), "VERSION": trade.version}
        with writing(self.production.engine) as connection:
            if connection.execute(update(table).where(ours).values(values)).rowcount != 1:
                raise RowChangedError(f"{trade.trade_no}: the row is no longer as production wrote it")


def _request_kind(order: TradeOrder) -> str:
    return RECEIPT if order.kind == RECHARGE else PAYOUT


def _first_row(trade: OpenTrade, now: datetime) -> dict[str, object]:
    order = trade.order
    return {
        "TRD_ID": trade.trd_id,
        "TRD_NUM": trade.trade_no,
        "TRD_STATUS": PROCESSING,
        "ACC_TRD_STATUS": 0,
        "E_ACC_TRD_STATUS": None if order.kind == RECHARGE else 0,
        "TRD_KIND": order.kind,
        "AMOUNT": order.amount_minor,
        "CURRENCY": CURRENCY,
        "ACC_NO": order.customer.account_no,
        "BANK_ACC_NO": order.customer.bank_account_no,
        "CHANNEL": order.customer.channel,
        "POSTING_MODE": order.mode,
        "CREATED_AT": now,
        "UPDATED_AT": now,
        "VERSION": 1,
    }
