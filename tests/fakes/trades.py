"""A trade database in memory: production's rows and bank requests, and Piculus's own three tables."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from agent.errors import (
    FencedError,
    NumberTakenError,
    PortError,
    RequestsChangedError,
    RowChangedError,
)
from agent.facts import ROW_COLUMNS, Bookkeeping, Kind, Leg, Row, Status
from agent.fixers.result import result_of
from agent.money import parse_minor
from agent.records import (
    CLOCKS_APART,
    EPOCH,
    MOST_TWINS,
    BankRequest,
    Begun,
    Correction,
    Opened,
    Pattern,
    RepairRow,
    StepRow,
    Trade,
    Window,
)
from agent.standstill import EFFECT_WITHIN, FACTS_HOLD, TOLD_WITHIN, require_within
from agent.unpaid import PAYOUT_STEPS
from tests.fakes.faults import Clock, Faults, port_call

STATUS_CODES = {Status.PROCESSING: 0, Status.SUCCESS: 8, Status.FAILED: 9}
STATUSES = {code: status for status, code in STATUS_CODES.items()}
KINDS: Mapping[object, Kind] = {kind.value: kind for kind in Kind}
POSTING_MODES: Mapping[object, Bookkeeping] = {mode.value: mode for mode in Bookkeeping}
BOOKED = {0: False, 1: True}
CELLS = {
    "TRD_KIND": "kind",
    "AMOUNT": "amount",
    "CURRENCY": "currency",
    "ACC_NO": "account_no",
    "BANK_ACC_NO": "bank_account_no",
    "CHANNEL": "channel",
    "POSTING_MODE": "posting_mode",
}
"""Where the cells beside the eight columns are kept."""
V = TypeVar("V")
TRADE_NO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}")


class StoredTrade(msgspec.Struct):
    """A row as it lies in the table; any cell may hold nonsense."""

    row: Row
    kind: object
    amount: object
    account_no: str
    bank_account_no: str
    posting_mode: object
    created_at: datetime
    updated_at: datetime
    currency: str = "CNY"
    channel: str | None = "ICBC"
    version: Any = 1


class StoredCorrection(msgspec.Struct, frozen=True):
    """The old row of a row written."""

    trade_no: str
    before: Row
    correction: Correction


class FakeTrades:
    """TradePort in memory."""

    port_name = "trades"

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self.clock = clock
        self.faults = faults
        self.rows: dict[int, StoredTrade] = {}
        self.requests: list[BankRequest] = []
        self.repairs: dict[str, RepairRow] = {}
        self.begun: dict[str, datetime] = {}
        self.repair_steps: dict[str, tuple[str, int, StepRow]] = {}
        self.corrections: list[StoredCorrection] = []

    # ---- what tests do to it

    def put(self, stored: StoredTrade) -> None:
        """Store a row as it is."""
        self.rows[_trade_id(stored)] = stored

    def row(self, trade_no: str) -> Row:
        """The eight columns of the row with this number."""
        return dict(self._stored(trade_no)[0].row)

    def change(self, trade_no: str, **cells: int | str | None) -> None:
        """Production writes the row, as of now."""
        stored = self._stored(trade_no)[0]
        stored.row.update({name: value for name, value in cells.items() if name not in CELLS})
        for name in cells.keys() & CELLS.keys():
            setattr(stored, CELLS[name], cells[name])
        stored.version += 1
        stored.updated_at = self.clock()

    def note(self, request_no: str, status: str) -> None:
        """A sender keeps what it was told beside its request."""
        self.requests = [
            msgspec.structs.replace(
                each, status=status, is_said_paid=status == "success", changed_at=self.clock()
            )
            if each.request_no == request_no
            else each
            for each in self.requests
        ]

    # ---- rows

    @port_call
    def now(self) -> datetime:
        return self.clock()

    @port_call
    def find(self, trade_no: str) -> list[Trade]:
        return [self._read(stored) for stored in self._stored(trade_no)[:MOST_TWINS]]

    @port_call
    def suspects(self, patterns: Sequence[Pattern], window: Window, page: int) -> Iterator[list[Trade]]:
        found = [trade for trade in self._in_window(window) if _is_suspect(trade, patterns)]
        found += self._undated(window)
        return iter([found[start : start + page] for start in range(0, len(found), page)])

    @port_call
    def duplicates(self, window: Window, page: int) -> Iterator[list[Trade]]:
        times = Counter(stored.row["TRD_NUM"] for stored in self.rows.values())
        found = [trade for trade in self._in_window(window) if times[trade.trade_no] > 1]
        return iter([found[start : start + page] for start in range(0, len(found), page)])

    @port_call
    def count(self, window: Window) -> int:
        return len(self._in_window(window))

    # ---- bank requests

    @port_call
    def bank_requests(self, trade_nos: Sequence[str]) -> Mapping[str, list[BankRequest]]:
        by_trade: dict[str, list[BankRequest]] = {}
        for request in sorted(self.requests, key=lambda each: each.seq):
            if request.trade_no in trade_nos:
                asked = msgspec.structs.replace(request, asked_at=self._asked_at(request))
                by_trade.setdefault(request.trade_no, []).append(asked)
        return by_trade

    @port_call
    def payout_numbers(self, trade_no: str) -> Set[str]:
        steps = [step for number, _, step in self.repair_steps.values() if number == trade_no]
        named = {result_of(step).request_no for step in steps if step.name in PAYOUT_STEPS}
        return {each for each in named if each}

    @port_call
    def open_bank_request(
        self,
        claim: RepairRow,
        request: BankRequest,
        step: StepRow,
        seen: Set[str],
        trade: Trade | None = None,
    ) -> Opened:
        standing = self._owned(claim)
        self._require_as_seen(trade)
        whose = {each.request_no: each.trade_no for each in self.requests}
        if whose.get(request.request_no, request.trade_no) != request.trade_no:
            raise NumberTakenError
        lines = {each.request_no for each in self.requests if each.trade_no == request.trade_no}
        if lines - {request.request_no} != seen - {request.request_no}:
            raise RequestsChangedError
        require_within(EFFECT_WITHIN, claim.held_at, self.clock())
        is_new = not any(each.request_no == request.request_no for each in self.requests)
        if is_new:
            self._require_place(request)
            at = self.clock()
            self.requests.append(msgspec.structs.replace(request, created_at=at, changed_at=at))
        self._keep_steps(standing, (step,))
        return Opened(is_new, self.clock())

    @port_call
    def note_bank_request(self, claim: RepairRow, request_no: str, status: str) -> None:
        self._owned(claim)
        if not any(each.is_said_paid for each in self.requests if each.request_no == request_no):
            self.note(request_no, status)

    # ---- Piculus's own tables

    @port_call
    def find_repair(self, trade_no: str) -> RepairRow | None:
        return self._repair(trade_no)

    @port_call
    def begun_since(self, since: datetime, but: str) -> Begun:
        trades, amounts = 0, Counter[str]()
        for trade_no, repair in self.repairs.items():
            has_begun = repair.state != "abandoned" or self._has_moved_money(trade_no, since)
            if trade_no == but or not has_begun or self.begun[trade_no] < since:
                continue
            trades += 1
            for stored in self._stored(trade_no):
                amounts[stored.currency] += parse_minor(stored.amount) or 0
        return Begun(trades=trades, amounts=amounts)

    @port_call
    def stepped(
        self, steps: Sequence[str], since: datetime, window: Window, page: int
    ) -> Iterator[list[Trade]]:
        having = {trade_no for trade_no, _, step in self.repair_steps.values() if step.name in steps}
        wanted = {trade_no for trade_no in having if self.begun[trade_no] >= since}
        found = [
            self._read(stored)
            for trade_id, stored in sorted(self.rows.items())
            if stored.row["TRD_NUM"] in wanted and trade_id % window.shards == window.shard
        ]
        return iter([found[start : start + page] for start in range(0, len(found), page)])

    @port_call
    def claim_repair(
        self, claim: RepairRow, over: str | None = None, trade: Trade | None = None
    ) -> RepairRow:
        standing = self._repair(claim.trade_no)
        if standing is not None:
            is_over = over is not None and (claim.fence, over) == (standing.fence, standing.boot_id)
            if not (is_over or _owns(claim, standing)):
                raise FencedError
        self._require_as_seen(trade)
        if standing is None or standing.state != "open":
            round_ = standing.round + 1 if standing else 1
            claimed = msgspec.structs.replace(
                claim, round=round_, state="open", steps=(), held_at=self.clock()
            )
            self.begun[claim.trade_no] = self.clock()
        else:
            claimed = msgspec.structs.replace(
                standing,
                fence=claim.fence,
                agent=claim.agent,
                boot_id=claim.boot_id,
                held_at=self.clock(),
            )
            if not standing.has_begun:
                self.begun[claim.trade_no] = self.clock()
        self.repairs[claim.trade_no] = claimed
        return self._repair(claim.trade_no) or claimed

    @port_call
    def renew_repair(self, claim: RepairRow) -> None:
        standing = self._owned(claim)
        self.begun[claim.trade_no] = self.clock()
        self.repairs[claim.trade_no] = msgspec.structs.replace(standing, held_at=self.clock())

    @port_call
    def record_step(
        self,
        claim: RepairRow,
        *steps: StepRow,
        looked_at: datetime | None = None,
        seen: Set[str] | None = None,
        trade: Trade | None = None,
    ) -> datetime:
        standing = self._owned(claim)
        self._require_as_seen(trade)
        if seen not in (None, {each.request_no for each in self.requests if each.trade_no == claim.trade_no}):
            raise RequestsChangedError
        if looked_at is not None:
            require_within(FACTS_HOLD, looked_at, self.clock())
            require_within(FACTS_HOLD, claim.held_at, self.clock())
        self._keep_steps(standing, steps)
        return self.clock()

    @port_call
    def close_repair(
        self, claim: RepairRow, state: str, *steps: StepRow, looked_at: datetime | None = None
    ) -> None:
        standing = self._owned(claim, is_open=bool(steps))
        if looked_at is not None:
            require_within(TOLD_WITHIN, looked_at, self.clock())
        self._keep_steps(standing, steps)
        self.repairs[claim.trade_no] = msgspec.structs.replace(standing, state=state, held_at=self.clock())

    @port_call
    def write_row(self, claim: RepairRow, trade: Trade, correction: Correction, *steps: StepRow) -> Trade:
        standing = self._owned(claim)
        stored = self.rows.get(trade.trade_id)
        if stored is None or self._read(stored).row_hash != trade.row_hash:
            raise RowChangedError
        require_within(EFFECT_WITHIN, claim.held_at, self.clock())
        self.corrections.append(StoredCorrection(trade.trade_no, dict(stored.row), correction))
        stored.row["TRD_STATUS"] = STATUS_CODES[correction.status]
        stored.row["FAILED_MSG"] = correction.message
        for leg, voucher in (("ACC", correction.acc_voucher), ("E_ACC", correction.e_acc_voucher)):
            if voucher is not None:
                stored.row[f"{leg}_TRD_NUM"] = voucher
                stored.row[f"{leg}_TRD_STATUS"] = 1
        for leg, cells in ((Leg.FIRST, "ACC"), (Leg.SECOND, "E_ACC")):
            if leg in correction.cleared:
                stored.row[f"{cells}_TRD_NUM"] = None
                stored.row[f"{cells}_TRD_STATUS"] = 0
        stored.version += 1
        stored.updated_at = self.clock()
        self._keep_steps(standing, steps)
        return self._read(stored)

    # ---- inside

    def _has_moved_money(self, trade_no: str, since: datetime) -> bool:
        steps = [step for of_trade, _, step in self.repair_steps.values() if of_trade == trade_no]
        return any(
            step.moves_money and step.state == "done" and (step.started_at or self.clock()) >= since
            for step in steps
        )

    def _require_as_seen(self, seen: Trade | None) -> None:
        if seen is None:
            return
        if [self._read(stored).row_hash for stored in self._stored(seen.trade_no)] != [seen.row_hash]:
            raise RowChangedError

    def _require_place(self, request: BankRequest) -> None:
        """The table's UNIQUE (trade, place)."""
        if any((each.trade_no, each.seq) == (request.trade_no, request.seq) for each in self.requests):
            raise PortError("open a bank request: the place is another number's")

    def _asked_at(self, request: BankRequest) -> datetime | None:
        """The start of the newest payout step that had the bank asked under this number."""
        started = [
            step.started_at
            for trade_no, _, step in self.repair_steps.values()
            if trade_no == request.trade_no
            and step.name in PAYOUT_STEPS
            and step.state != "failed"
            and step.started_at
            and result_of(step).request_no == request.request_no
            and result_of(step).status
        ]
        return max(started, default=None)

    def _keep_steps(self, standing: RepairRow, steps: Sequence[StepRow]) -> None:
        for step in steps:
            written = step.written_at(self.clock())
            self.repair_steps[step.key] = (standing.trade_no, standing.round, written)
        self.repairs[standing.trade_no] = msgspec.structs.replace(standing, held_at=self.clock())

    def _stored(self, trade_no: str) -> list[StoredTrade]:
        return [stored for _, stored in sorted(self.rows.items()) if stored.row["TRD_NUM"] == trade_no]

    def _in_window(self, window: Window) -> list[Trade]:
        return [
            self._read(stored)
            for trade_id, stored in sorted(self.rows.items())
            if window.holds(stored.updated_at) and trade_id % window.shards == window.shard
        ]

    def _undated(self, window: Window) -> list[Trade]:
        latest = self.clock() + CLOCKS_APART
        return [
            self._read(stored)
            for trade_id, stored in sorted(self.rows.items())
            if not (EPOCH <= stored.updated_at <= latest or window.holds(stored.updated_at))
            and trade_id % window.shards == window.shard
        ]

    def _repair(self, trade_no: str) -> RepairRow | None:
        repair = self.repairs.get(trade_no)
        if repair is None:
            return None
        of_trade = [each for each in self.repair_steps.values() if each[0] == trade_no]
        steps, earlier = (
            tuple(
                sorted(
                    (step for _, round_, step in of_trade if (round_ == repair.round) is is_newest),
                    key=lambda step: step.seq,
                )
            )
            for is_newest in (True, False)
        )
        return msgspec.structs.replace(repair, steps=steps, earlier=earlier)

    def _owned(self, claim: RepairRow, *, is_open: bool = True) -> RepairRow:
        standing = self._repair(claim.trade_no)
        whose = (claim.round, claim.fence, claim.boot_id)
        if standing is None or whose != (standing.round, standing.fence, standing.boot_id):
            raise FencedError
        if is_open and standing.state != "open":
            raise FencedError
        return standing

    def _read(self, stored: StoredTrade) -> Trade:
        row = {column: stored.row.get(column) for column in ROW_COLUMNS}
        terms = [stored.kind, stored.amount, stored.currency]
        terms += [stored.account_no, stored.bank_account_no, stored.posting_mode]
        others = [stored.channel, stored.created_at, stored.updated_at, stored.version]
        return Trade(
            trade_id=_trade_id(stored),
            trade_no=str(row["TRD_NUM"] or ""),
            row=row,
            row_hash=_digest([*row.values(), *terms, *others]),
            terms=_digest(terms),
            version=stored.version if isinstance(stored.version, int) else 0,
            kind=KINDS.get(stored.kind),
            bookkeeping=POSTING_MODES.get(stored.posting_mode),
            status=_meaning(STATUSES, row["TRD_STATUS"]),
            is_acc=_meaning(BOOKED, row["ACC_TRD_STATUS"]),
            is_e_acc=_meaning(BOOKED, row["E_ACC_TRD_STATUS"]),
            amount_minor=parse_minor(stored.amount),
            currency=stored.currency,
            account_no=stored.account_no,
            bank_account_no=stored.bank_account_no,
            channel=stored.channel,
            created_at=stored.created_at,
            changed_at=stored.updated_at,
            read_at=self.clock(),
            raw_status=row["TRD_STATUS"],
            raw_amount=stored.amount,
            raw_kind=stored.kind,
            raw_bookkeeping=stored.posting_mode,
            raw_version=stored.version,
        )


def _digest(values: Sequence[object]) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()


def _trade_id(stored: StoredTrade) -> int:
    trade_id = stored.row["TRD_ID"]
    return trade_id if isinstance(trade_id, int) else 0


def _meaning(meanings: Mapping[int, V], code: int | str | None) -> V | None:
    return meanings.get(code) if isinstance(code, int) else None


def _owns(claim: RepairRow, standing: RepairRow) -> bool:
    return claim.fence > standing.fence or (claim.fence, claim.boot_id) == (standing.fence, standing.boot_id)


def _is_suspect(trade: Trade, patterns: Sequence[Pattern]) -> bool:
    makes_sense = (
        trade.kind is not None
        and trade.status is not None
        and trade.amount_minor is not None
        and TRADE_NO.fullmatch(trade.trade_no) is not None
    )
    return not makes_sense or any(pattern.fits(trade) for pattern in patterns)
