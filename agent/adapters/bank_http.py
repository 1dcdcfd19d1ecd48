"""The bank over HTTP: many numbers an inquiry, settlement files as the second negative, payouts by number."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from agent.adapters.bank_client import Answer, BadAnswerError, BankClient, NoAnswerError, Transport
from agent.adapters.names import BankNames
from agent.adapters.rows import in_batches
from agent.adapters.settlement import Absence, SettlementSearch, SettlementShelf
from agent.adapters.verdicts import (
    NOT_FOUND,
    Record,
    absent,
    date_from,
    found,
    over_all,
    over_by,
    unknown,
    word_on,
)
from agent.clock import now as our_now
from agent.errors import BankConflictError, PortError
from agent.facts import BankFact, NumberFact, RequestFact
from agent.failpoints import around
from agent.money import Money
from agent.ports import NO_NUMBERS
from agent.records import BankRequest, PayoutReply, Trade

MOST_ASKED: Final = 500
MOST_SPLITS: Final = 24
"""Inquiries that one call may add by halving a batch whose answer is no use."""
NOBODYS: Final = "PICULUS-CHECK"
"""A number that nobody asks under: what the bank says of it is its word for one that it does not know."""
LEFT_OUT: Final = "the bank left this number out"


class HttpBank:
    """BankPort on the interface of docs/production-interface.md §3. Shared by threads.

    ``transport`` carries the calls; None: sockets.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        names: BankNames | None = None,
        transport: Transport | None = None,
    ) -> None:
        self._names = names or BankNames()
        self._client = BankClient(base_url, token, self._names, transport=transport)
        self._shelf = SettlementShelf(self._client, self._names)
        self.deduplicates: bool = self._names.deduplicates

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()

    def check(self) -> str:
        """Whether the bank answers, knows our token and speaks as agreed, read-only. Raises PortError."""
        health = self._client.get("/healthz")
        if health.status != 200:
            raise PortError(f"the bank's health: HTTP {health.status}")
        today, _ = self._shelf.ask_pair(our_now())
        self._require_not_found()
        return f"answers; bank day {today.day}, de-duplicates: {'yes' if self.deduplicates else 'no'}"

    def _require_not_found(self) -> None:
        """With another word for a number it does not know, it never rules out that one was lost.

        Raises PortError.
        """
        inquiry = _Inquiry(self._client)
        inquiry.ask([NOBODYS])
        record = inquiry.records.get(NOBODYS)
        if record is None:
            raise PortError(f"of a number it does not know: {inquiry.failures.get(NOBODYS, LEFT_OUT)}")
        if record.status != NOT_FOUND:
            raise PortError(
                f"of a number it does not know the bank says {record.status[:40]!r}, not {NOT_FOUND!r}"
            )

    def now(self) -> datetime | None:
        """The bank's own clock, as it dates its answers; None where it does not. Raises PortError."""
        answer = self._client.get("/healthz")
        if answer.status != 200:
            raise PortError(f"the bank's health: HTTP {answer.status}")
        return answer.at

    @around("bank.inquiry")
    def facts(
        self,
        trades: Sequence[Trade],
        requests: Mapping[str, list[BankRequest]],
        without_line: Mapping[str, Sequence[str]] = NO_NUMBERS,
    ) -> Mapping[str, BankFact]:
        """What the bank says over every request number of each trade; never raises."""
        with_line = [each.request_no for trade in trades for each in requests.get(trade.trade_no, [])]
        others = [number for trade in trades for number in without_line.get(trade.trade_no, [])]
        inquiry = _Inquiry(self._client)
        inquiry.ask(list(dict.fromkeys([*with_line, *others])))
        search = SettlementSearch(self._shelf)
        told: dict[str, BankFact] = {}
        for trade in trades:
            lines, further = requests.get(trade.trade_no, []), without_line.get(trade.trade_no, [])
            fact = over_all([self._fact(trade, request, inquiry, search) for request in lines])
            words = (NumberFact(each, word_on(self._names, inquiry.records.get(each))) for each in further)
            told[trade.trade_no] = msgspec.structs.replace(fact, without_line=tuple(words))
        return told

    @around("bank.pay")
    def pay(self, request_no: str, amount: Money, payee_account: str) -> PayoutReply:
        """Ask for a payout, once. Raises BankConflictError; whatever else goes wrong is ``unknown``."""
        wanted = {
            "request_no": request_no,
            "amount_minor": amount.minor,
            "currency": amount.currency,
            "payee_account": payee_account,
        }
        try:
            answer = self._client.post("/payouts", wanted)
            content = answer.json()
        except PortError as error:
            return PayoutReply(status="unknown", detail=str(error))
        if answer.status == 409 and isinstance(content, dict) and content.get("error") == "conflict":
            raise BankConflictError(f"the bank holds {request_no} with another amount or payee")
        record = _record_of(content)
        if answer.status not in (200, 202) or record is None or record.request_no != request_no:
            return PayoutReply(status="unknown", detail=f"HTTP {answer.status} without this number's record")
        told = (record.amount_minor, record.currency, record.account)
        asked = (amount.minor, amount.currency, payee_account)
        if any(said not in (None, wished) for said, wished in zip(told, asked, strict=True)):
            return PayoutReply(
                status="unknown", code=record.code, detail="the bank answers for another payout"
            )
        return msgspec.structs.replace(self._reply(answer, record), is_whole=None not in told)

    def _reply(self, answer: Answer, record: Record) -> PayoutReply:
        match answer.status, record.status:
            case 200 | 202, "accepted":
                return PayoutReply(status="accepted")
            case 200, "success":
                return PayoutReply(status="success")
            case 200, "failed" if record.code in self._names.failure_codes:
                return PayoutReply(status="failed", code=record.code)
            case _:
                detail = f"HTTP {answer.status}, status {record.status[:40]!r}"
                return PayoutReply(status="unknown", code=record.code, detail=detail)

    def _fact(
        self, trade: Trade, request: BankRequest, inquiry: "_Inquiry", search: SettlementSearch
    ) -> RequestFact:
        record = inquiry.records.get(request.request_no)
        if record is None:
            return unknown(request, inquiry.failures.get(request.request_no, LEFT_OUT))
        if record.status == NOT_FOUND:
            # It may have been submitted once more, and not have arrived yet.
            proof = _look(search, request, request.may_be_asked_at)
            return absent(request, over_by(proof, trade.read_at))
        told_at = inquiry.answered_at[request.request_no]
        accepted_at = date_from(self._names, trade, request, record)
        files = over_by(_look(search, request, accepted_at), trade.read_at) if accepted_at else None
        return found(self._names, trade, request, record, told_at, files)


class _Inquiry:
    """Asks for many numbers; those without a usable answer get the reason instead of a record.

    ``answered_at``: when each record was told, by the bank's clock, None where it does not say.
    """

    def __init__(self, client: BankClient) -> None:
        self._client = client
        self._splits_left = MOST_SPLITS
        self._silence = ""
        self.records: dict[str, Record] = {}
        self.answered_at: dict[str, datetime | None] = {}
        self.failures: dict[str, str] = {}

    def ask(self, numbers: Sequence[str]) -> None:
        for batch in in_batches(numbers, MOST_ASKED):
            self._ask_batch(batch)

    def _ask_batch(self, numbers: Sequence[str]) -> None:
        if self._silence:
            self._fail(numbers, self._silence)
            return
        try:
            self._read(numbers)
        except NoAnswerError as error:
            self._silence = str(error)
            self._fail(numbers, self._silence)
        except BadAnswerError as error:
            self._halve(numbers, str(error))

    def _halve(self, numbers: Sequence[str], reason: str) -> None:
        """One number that the bank chokes on must not hide the others."""
        if len(numbers) == 1 or self._splits_left < 2:
            self._fail(numbers, reason)
            return
        self._splits_left -= 2
        middle = len(numbers) // 2
        self._ask_batch(numbers[:middle])
        self._ask_batch(numbers[middle:])

    def _fail(self, numbers: Iterable[str], reason: str) -> None:
        self.failures.update(dict.fromkeys(numbers, reason))

    def _read(self, numbers: Sequence[str]) -> None:
        answer = self._client.post("/inquiries", {"request_nos": list(numbers)})
        content = answer.json()
        listed = content.get("records") if isinstance(content, dict) else None
        if answer.status != 200 or not isinstance(listed, list):
            raise BadAnswerError(f"inquiry: HTTP {answer.status} without records")
        records: dict[str, Record] = {}
        twice: set[str] = set()
        for record in filter(None, map(_record_of, listed)):
            if records.setdefault(record.request_no, record) != record:
                twice.add(record.request_no)
        told = [number for number in numbers if number in records and number not in twice]
        self.records.update({number: records[number] for number in told})
        self.answered_at.update(dict.fromkeys(told, answer.at))


def _look(search: SettlementSearch, request: BankRequest, *accepted_at: datetime) -> Absence:
    """What the files prove: those from when it was made and, asked for again since, those from then too.

    And those from when the bank accepted it, where that is given: under that day it files it. The others must
    not list it either: a bank may have accepted it once more when it was asked again.
    """
    moments = dict.fromkeys((request.created_at, request.last_asked_at, *accepted_at))
    return search.look(request.request_no, *moments)


def _record_of(content: object) -> Record | None:
    try:
        return msgspec.convert(content, Record)
    except msgspec.ValidationError:
        return None
