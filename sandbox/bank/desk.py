"""The bank's counter, without HTTP: an operation and its JSON in, a status and a body out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Event

from sandbox.bank import faults
from sandbox.bank.books import BankBooks, Submission, Verdict, verdict_on
from sandbox.bank.faults import Fault, FaultBoard
from sandbox.bank.records import (
    ACCEPTED,
    FAILED,
    PAYOUT,
    RISK_CONTROL,
    SUCCESS,
    UNLISTED_CODE,
    BankRecord,
    absent,
    public,
)
from sandbox.bank.settlement import settlement_file
from sandbox.clock import parse_iso
from sandbox.errors import BankError, DayStillOpenError, RequestConflictError

MOST_INQUIRIES = 500
GATEWAY_PAGE = b"<!doctype html><title>Gateway</title><h1>System maintenance</h1>\n"


@dataclass(frozen=True)
class Answer:
    """What goes back; ``body`` None means the connection is dropped without a word."""

    status: int
    body: object = None
    content_type: str = "application/json"

    @property
    def is_silence(self) -> bool:
        return self.status == 0


SILENCE = Answer(0)


class BadRequestError(BankError):
    """What was sent is not what the interface asks for."""


class Desk:
    """Answers every operation; ``closing`` ends every wait at once when the bank stops.

    One that does not de-duplicate keeps each asking for a payout, of which such a bank pays every one.
    """

    def __init__(
        self,
        books: BankBooks,
        board: FaultBoard,
        closing: Event,
        processing_seconds: float = 0.0,
        deduplicates: bool = True,
    ) -> None:
        self.books = books
        self.board = board
        self._closing = closing
        self._processing_seconds = processing_seconds
        self._deduplicates = deduplicates

    def submit(self, kind: str, wanted: object) -> Answer:
        """POST /payouts and /receipts."""
        asked = _submission(kind, wanted)
        if kind == PAYOUT and not self._deduplicates:
            self.books.hear(asked.request_no)
        fault = self.board.strike(kind, (asked.request_no,))
        before = self._before(fault)
        if before is not None and not (fault is not None and fault.accept):
            return before
        verdict = self._verdict(asked, fault)
        try:
            record, _ = self.books.submit(asked, verdict)
        except RequestConflictError:
            return Answer(409, {"error": "conflict", "request_no": asked.request_no})
        if before is not None:
            return before
        if fault is not None and fault.kind == faults.TIMEOUT_AFTER:
            self._closing.wait(fault.seconds)
            return SILENCE
        return Answer(202 if record.status == ACCEPTED else 200, public(record))

    def inquire_one(self, request_no: str) -> Answer:
        """GET /requests/{request_no}."""
        fault = self.board.strike("inquiry", (request_no,))
        before = self._before(fault)
        if before is not None:
            return before
        record = self.books.find([request_no]).get(request_no)
        if record is None:
            return Answer(404, absent(request_no))
        return Answer(200, public(_distorted(record, fault)))

    def inquire(self, wanted: object) -> Answer:
        """POST /inquiries."""
        numbers = wanted.get("request_nos") if isinstance(wanted, dict) else None
        if not isinstance(numbers, list) or not all(isinstance(no, str) for no in numbers):
            raise BadRequestError("request_nos: a list of texts")
        if len(numbers) > MOST_INQUIRIES:
            raise BadRequestError(f"request_nos: at most {MOST_INQUIRIES}")
        fault = self.board.strike("inquiry", frozenset(numbers))
        before = self._before(fault)
        if before is not None:
            return before
        return Answer(200, {"records": self._records(numbers, fault)})

    def days(self, at: str | None) -> Answer:
        """GET /days?at=."""
        try:
            moment = self.books.clock() if at is None else parse_iso(at)
            day = self.books.calendar.day_of(moment)
            following = self.books.calendar.next_day(day)
        except (ValueError, OverflowError) as error:
            raise BadRequestError(f"at: {error}") from error
        now = self.books.clock()
        return Answer(200, {"days": [day.public(now), following.public(now)]})

    def settlement(self, name: str) -> Answer:
        """GET /settlements/{day}."""
        fault = self.board.strike("settlement", (name,))
        before = self._before(fault)
        if before is not None:
            return before
        try:
            content = settlement_file(self.books.settled(name))
        except DayStillOpenError as error:
            return Answer(409, {"error": "day_open", "message": str(error)})
        except ValueError as error:
            return Answer(404, {"error": "no_such_day", "message": str(error)})
        if fault is not None and fault.kind in (faults.WRONG_AMOUNT, faults.UNKNOWN_CODE):
            # A file damaged on its way: its trailer no longer proves it.
            content = content.replace(b"request_no,", b"request_no ,", 1)
        return Answer(200, content, "text/csv; charset=utf-8")

    def load(self, records: Sequence[BankRecord]) -> Answer:
        """POST /records."""
        try:
            return Answer(201, {"loaded": self.books.load(records)})
        except RequestConflictError as error:
            return Answer(409, {"error": "conflict", "message": str(error)})

    def _records(self, numbers: Sequence[str], fault: Fault | None) -> list[dict[str, object]]:
        known = self.books.find(numbers)
        listed = []
        for request_no in numbers:
            record = known.get(request_no)
            struck = fault if fault is not None and fault.request_no in (None, request_no) else None
            listed.append(absent(request_no) if record is None else public(_distorted(record, struck)))
        return listed

    def _before(self, fault: Fault | None) -> Answer | None:
        """What happens before the books are opened; None means go on."""
        if fault is None:
            return None
        if fault.kind == faults.TIMEOUT_BEFORE:
            self._closing.wait(fault.seconds)
            return SILENCE
        if fault.kind == faults.SLOW:
            self._closing.wait(fault.seconds)
        if fault.kind == faults.HTML:
            return Answer(200, GATEWAY_PAGE, "text/html; charset=utf-8")
        if fault.kind == faults.SERVER_ERROR:
            return Answer(503, {"error": "unavailable"})
        return None

    def _verdict(self, asked: Submission, fault: Fault | None) -> Verdict:
        kind = None if fault is None else fault.kind
        if fault is not None and kind == faults.REJECT:
            return Verdict(FAILED, fault.code)
        if fault is not None and kind == faults.UNKNOWN_CODE:
            return Verdict(FAILED, fault.code or UNLISTED_CODE)
        if fault is not None and kind == faults.LATE_SUCCESS:
            return Verdict(FAILED, fault.code or RISK_CONTROL, fault.seconds, SUCCESS)
        own = verdict_on(asked.account, asked.kind, self._processing_seconds)
        if kind == faults.WRONG_AMOUNT:
            return replace(own, amount_minor=asked.amount_minor + 1)
        return own


def _distorted(record: BankRecord, fault: Fault | None) -> BankRecord:
    if fault is not None and fault.kind == faults.WRONG_AMOUNT:
        return replace(record, amount_minor=record.amount_minor + 1)
    if fault is not None and fault.kind == faults.UNKNOWN_CODE:
        return replace(record, status=FAILED, code=fault.code or UNLISTED_CODE)
    return record


def _submission(kind: str, wanted: object) -> Submission:
    account_field = "payee_account" if kind == PAYOUT else "payer_account"
    if not isinstance(wanted, Mapping):
        raise BadRequestError("a JSON object")
    texts = [wanted.get(name) for name in ("request_no", "currency", account_field)]
    if not all(isinstance(text, str) and 0 < len(text) <= 80 for text in texts):
        raise BadRequestError(f"request_no, currency, {account_field}: texts of 1 to 80 characters")
    amount = wanted.get("amount_minor")
    if isinstance(amount, bool) or not isinstance(amount, int) or not 0 < amount < 2**53:
        raise BadRequestError("amount_minor: a positive whole number")
    request_no, currency, account = (str(text) for text in texts)
    return Submission(request_no, kind, amount, currency, account)
