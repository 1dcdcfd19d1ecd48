"""A bank in memory, with its own books, settlement files reduced to one question, and replies to order."""

from collections import deque
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from agent.errors import BankConflictError
from agent.facts import BankFact, BankState, Kind, NumberFact, RequestFact
from agent.money import Money
from agent.ports import NO_NUMBERS
from agent.records import BankRequest, PayoutReply, Trade
from tests.fakes.faults import Clock, Faults, port_call

FAILURE_CODES = ("E1001", "E1002", "E1003", "E2001", "E2002")
BANK_KINDS = {Kind.RECHARGE: "receipt", Kind.WITHDRAW: "payout"}


class BankRecord(msgspec.Struct):
    """A request as the bank holds it."""

    request_no: str
    kind: str
    status: str
    amount: int
    account: str
    code: str | None = None
    currency: str = "CNY"
    completed_at: datetime | None = None
    accepted_at: datetime | None = None


class FakeBank:
    """BankPort in memory.

    ``replies`` are taken by the next payouts, else ``default_reply``: ``success``, ``accepted``,
    ``failed:E1001``, ``lost_before`` (never arrived), ``lost_after`` (paid, reply lost), ``lost_accepted``,
    ``lost_wrong_amount``, ``odd:E9999`` (a code that is on no list), ``short`` (paid, told without amount),
    ``short_wrong_amount``. ``payments`` lists every payout that really left the bank. ``silent_of``: numbers
    of which an inquiry tells nothing.
    Settlement files prove the absence of requests written before ``closed_until``, and that one accepted
    before it which the bank has failed, no matter when, had failed by then; a failure counts once it, and the
    last time it was asked for, are ``failure_settles_s`` old.
    """

    port_name = "bank"

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.clock = clock
        self.faults = faults
        self.deduplicates = True
        self.failure_settles_s = 300.0
        self.records: dict[str, BankRecord] = {}
        self.payments: list[BankRecord] = []
        self.asked: list[str] = []
        self.replies: deque[str] = deque()
        self.default_reply = "success"
        self.silent_of: set[str] = set()
        self.closed_until: datetime = clock() - timedelta(hours=1)

    # ---- what tests do to it

    def put(self, record: BankRecord) -> None:
        """Load a finished record as it stands."""
        self.records[record.request_no] = record

    def settle(self, request_no: str, status: str = "success", code: str | None = None) -> None:
        """The bank finishes an accepted request, or changes its mind, now."""
        record = self.records[request_no]
        record.status, record.code = status, code
        record.completed_at = None if status == "accepted" else self.clock()
        if status == "success" and record not in self.payments:
            self.payments.append(record)

    # ---- the port

    @port_call
    def facts(
        self,
        trades: Sequence[Trade],
        requests: Mapping[str, list[BankRequest]],
        without_line: Mapping[str, Sequence[str]] = NO_NUMBERS,
    ) -> Mapping[str, BankFact]:
        told = {}
        for trade in trades:
            fact = _over_all([self._look(trade, each) for each in requests.get(trade.trade_no, [])])
            words = (NumberFact(each, self._word_on(each)) for each in without_line.get(trade.trade_no, []))
            told[trade.trade_no] = msgspec.structs.replace(fact, without_line=tuple(words))
        return told

    @port_call
    def pay(self, request_no: str, amount: Money, payee_account: str) -> PayoutReply:
        self.asked.append(request_no)
        held = self.records.get(request_no)
        if held and self.deduplicates:
            if (held.amount, held.account) != (amount.minor, payee_account):
                raise BankConflictError
            return PayoutReply(status=held.status, code=held.code)
        return self._pay_new(BankRecord(request_no, "payout", "accepted", amount.minor, payee_account))

    @port_call
    def check(self) -> str:
        return "answers"

    # ---- inside

    def _pay_new(self, record: BankRecord) -> PayoutReply:
        reply, _, code = (self.replies.popleft() if self.replies else self.default_reply).partition(":")
        if reply == "lost_before":
            return PayoutReply(status="unknown", detail="timed out")
        self.records[record.request_no] = record
        record.accepted_at = self.clock()
        record.completed_at = None if reply.endswith("accepted") else self.clock()
        if reply in ("success", "lost_after", "short", "short_wrong_amount"):
            record.amount += reply == "short_wrong_amount"
            record.status = "success"
            self.payments.append(record)
        elif reply in ("failed", "odd"):
            record.status, record.code = "failed", code
        elif reply == "lost_wrong_amount":
            record.amount += 1
        if reply.startswith("lost_"):
            return PayoutReply(status="unknown", detail="timed out")
        if reply == "odd":
            return PayoutReply(status="unknown", code=code, detail="a code of no list")
        return PayoutReply(status=record.status, code=record.code, is_whole=not reply.startswith("short"))

    def _word_on(self, request_no: str) -> str:
        record = self.records.get(request_no)
        if request_no in self.silent_of or (
            record and record.status == "failed" and record.code not in FAILURE_CODES
        ):
            return "unknown"
        return record.status if record else "not_found"

    def _look(self, trade: Trade, request: BankRequest) -> RequestFact:
        record = self.records.get(request.request_no)
        if request.request_no in self.silent_of:
            return RequestFact(request.request_no, request.seq, "unknown", BankState.UNKNOWN)
        if record is None:
            return self._absent(request)
        fits = (record.amount, record.currency, record.account, record.kind) == (
            trade.amount_minor,
            trade.currency,
            trade.bank_account_no,
            BANK_KINDS.get(trade.kind) if trade.kind else None,
        )
        status, verdict, evidence = record.status, BankState.UNKNOWN, "inquiry"
        if status == "failed" and record.code not in FAILURE_CODES:
            status = "unknown"
        elif not fits:
            verdict = BankState.MISMATCH
        elif status == "success":
            verdict = BankState.SUCCESS
        elif status == "failed":
            verdict, evidence = self._judge_failure(record, request)
        return RequestFact(
            request.request_no,
            request.seq,
            status,
            verdict,
            code=record.code,
            amount_minor=record.amount,
            account=record.account,
            completed_at=record.completed_at.isoformat() if record.completed_at else None,
            evidence=evidence,
        )

    def _judge_failure(self, record: BankRecord, request: BankRequest) -> tuple[BankState, str]:
        failed_at = record.completed_at
        if self.failure_settles_s == 0:
            return BankState.FAIL, "inquiry"
        if failed_at is None or request.last_asked_at - failed_at > timedelta(minutes=5):
            if not self._is_accepted_in_files(record, request):
                return BankState.UNKNOWN, "failed at no time that makes sense"
            failed_at = self.closed_until
        if self.clock() - max(failed_at, request.last_asked_at) < timedelta(seconds=self.failure_settles_s):
            return BankState.UNKNOWN, "failed, not settled"
        return BankState.FAIL, "inquiry"

    def _is_accepted_in_files(self, record: BankRecord, request: BankRequest) -> bool:
        """Whether the number belongs into files that have been given out, whichever asking the bank took."""
        asked_at = request.created_at if self.deduplicates else request.last_asked_at
        if record.accepted_at is None or asked_at - record.accepted_at > timedelta(minutes=5):
            return False
        return max(record.accepted_at, request.last_asked_at) < self.closed_until

    def _absent(self, request: BankRequest) -> RequestFact:
        is_closed = request.may_be_asked_at < self.closed_until
        verdict, evidence = (BankState.FAIL, "settlement") if is_closed else (BankState.UNKNOWN, "day open")
        return RequestFact(request.request_no, request.seq, "not_found", verdict, evidence=evidence)


def _over_all(looks: list[RequestFact]) -> BankFact:
    verdicts = [look.verdict for look in looks]
    newest = looks[-1] if looks else None
    if BankState.MISMATCH in verdicts or verdicts.count(BankState.SUCCESS) > 1:
        state = BankState.MISMATCH
    elif BankState.UNKNOWN in verdicts:
        state = BankState.UNKNOWN
    else:
        state = BankState.SUCCESS if BankState.SUCCESS in verdicts else BankState.FAIL
    is_explicit = state is BankState.FAIL and newest is not None and newest.status == "failed"
    return BankFact(state, tuple(looks), is_explicit)
