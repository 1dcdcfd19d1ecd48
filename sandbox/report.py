"""The consistency report: what the books say, reckoned here from the tables and nothing else.

It knows neither the agent's code nor its decision function. A *violation* is money gone wrong; a
*disagreement* is a trade whose row, ledger and bank do not tell the same story (yet).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

from sandbox.bank.books import BankBooks
from sandbox.bank.records import ACCEPTED, EXPLICIT_FAILURES, FAILED, SUCCESS, BankRecord
from sandbox.ledger_audit import Entry, LedgerAudit, audit_ledger, live_legs_now
from sandbox.production import Production
from sandbox.trade_rows import (
    TradeRow,
    bank_requests,
    bank_requests_now,
    paid_undebited_on_purpose,
    trade_row_now,
    trade_rows,
)


@dataclass(frozen=True)
class Violation:
    """A money invariant that does not hold; ``subject`` is a trade, a voucher or an account."""

    group: str
    rule: str
    subject: str
    detail: str


@dataclass(frozen=True)
class Disagreement:
    """A trade on which the three do not agree; ``kind`` says how, in words that count well."""

    group: str
    trd_id: int
    trade_no: str
    kind: str


@dataclass(frozen=True)
class Report:
    """Every violation, every disagreement, and how many trades of each group were read."""

    trades: dict[str, int]
    agreeing: dict[str, int]
    violations: list[Violation]
    disagreements: list[Disagreement]

    @property
    def is_sound(self) -> bool:
        return not self.violations

    def as_json(self) -> dict[str, object]:
        kinds = Counter(f"{item.group}: {item.kind}" for item in self.disagreements)
        return {
            "is_sound": self.is_sound,
            "trades": self.trades,
            "agreeing": self.agreeing,
            "violations": [asdict(item) for item in self.violations],
            "disagreements_by_kind": dict(kinds.most_common()),
            "disagreements": [asdict(item) for item in self.disagreements],
        }

    def as_text(self, listed: int = 20) -> str:
        """For a terminal; at most ``listed`` lines of either list."""
        lines = [
            f"{group}: {count} trades, {self.agreeing[group]} agree, {count - self.agreeing[group]} do not"
            for group, count in self.trades.items()
        ]
        kinds = Counter(f"{item.group}  {item.kind}" for item in self.disagreements)
        lines += [f"  {count:6d}  {kind}" for kind, count in kinds.most_common()]
        lines.append(f"violations: {len(self.violations)}")
        lines += [
            f"  {item.group}  {item.rule}  {item.subject}  {item.detail}" for item in self.violations[:listed]
        ]
        return "\n".join(lines)


def consistency_report(productions: Sequence[Production], books: BankBooks) -> Report:
    """Reads everything once, and again each trade that seems wrong.

    While trades run, those on their way disagree; one that has ended does not.
    """
    report = Report({}, {}, [], [])
    records = {record.request_no: record for record in books.everything()}
    claimed: set[str] = set()
    for production in productions:
        claimed |= _GroupCheck(production, books, records, report).run()
    report.violations.extend(
        Violation("bank", "asked_again", number, f"asked for {times} times of a bank that pays each time")
        for number, times in books.askings().items()
        if times > 1
    )
    report.violations.extend(
        Violation("bank", "unwritten_request", number, "at the bank, in no group's table of bank requests")
        for number in records
        if number not in claimed
    )
    return report


class Story(NamedTuple):
    """What row, ledger and bank say of one trade."""

    row: TradeRow
    legs: dict[str, Entry]
    records: Sequence[BankRecord]


class _GroupCheck:
    """One group's books against each other and the bank."""

    def __init__(
        self, production: Production, books: BankBooks, records: dict[str, BankRecord], report: Report
    ) -> None:
        self.production = production
        self.group = production.sys_code
        self.books = books
        self.records = records
        self.report = report
        self.audit: LedgerAudit = audit_ledger(production.ledger)
        self.numbers = bank_requests(production)
        self.on_purpose = paid_undebited_on_purpose(production)

    def run(self) -> set[str]:
        """The request numbers this group has written down."""
        for rule, subject, detail in self.audit.faults:
            self._violate(rule, subject, detail)
        read = agreeing = 0
        for row in trade_rows(self.production):
            read += 1
            agreeing += self._check(row)
        self.report.trades[self.group] = read
        self.report.agreeing[self.group] = agreeing
        self._check_payments()
        return {number for numbers in self.numbers.values() for number in numbers}

    def _check(self, row: TradeRow) -> bool:
        records = [self.records[no] for no in self.numbers.get(row.trade_no, ()) if no in self.records]
        story = Story(row, self.audit.live_legs(row.trade_no), records)
        suspected, difference = self._money_faults(story), difference_of(*story)
        if suspected or difference is not None:
            # The bank and the ledger were read before the row: a trade may have gone on in between.
            story = self._story_now(row)
            suspected, difference = self._money_faults(story), difference_of(*story)
        for rule, detail in suspected:
            self._violate(rule, row.trade_no, detail)
        if difference is not None:
            self.report.disagreements.append(Disagreement(self.group, row.trd_id, row.trade_no, difference))
        return difference is None

    def _story_now(self, seen: TradeRow) -> Story:
        """The row first: what it tells of has by then happened in the ledger and at the bank."""
        row = trade_row_now(self.production, seen) or seen
        numbers = bank_requests_now(self.production, row.trade_no)
        legs = live_legs_now(self.production.ledger, row.trade_no)
        return Story(row, legs, list(self.books.find(numbers).values()))

    def _money_faults(self, story: Story) -> list[tuple[str, str]]:
        """(rule, detail) of what is wrong with the money of one trade."""
        purpose = story.row.trd_id in self.on_purpose
        return [*_voucher_faults(story.row, story.legs), *([] if purpose else _debit_faults(*story))]

    def _check_payments(self) -> None:
        """At most one request of a trade that has not failed."""
        for trade_no, numbers in self.numbers.items():
            alive = [
                no for no in numbers if no in self.records and self.records[no].status in (SUCCESS, ACCEPTED)
            ]
            if len(alive) > 1:
                self._violate("paid_twice", trade_no, ", ".join(sorted(alive)))

    def _violate(self, rule: str, subject: str, detail: str) -> None:
        self.report.violations.append(Violation(self.group, rule, subject, detail))


def _voucher_faults(row: TradeRow, legs: dict[str, Entry]) -> Iterator[tuple[str, str]]:
    """Every GA number in a row is a live entry of that trade, leg and amount."""
    for leg, number in (("1", row.acc_voucher), ("2", row.e_acc_voucher)):
        if number is None:
            continue
        entry = legs.get(leg)
        if entry is None or entry.voucher_no != number:
            held = "nothing" if entry is None else entry.voucher_no
            yield "voucher_not_in_ledger", f"leg {leg}: {number}, ledger has {held}"
        elif entry.amount_minor != row.amount_minor:
            yield "voucher_amount", f"{number} is over {entry.amount_minor}"


def _debit_faults(
    row: TradeRow, legs: dict[str, Entry], records: Sequence[BankRecord]
) -> Iterator[tuple[str, str]]:
    """Nobody is paid who was not debited; what production left in processing may still be debited."""
    if row.kind != "withdraw" or "1" in legs:
        return
    for record in records:
        original = record.request_no == f"{row.trade_no}-0"
        if record.status == SUCCESS and not (original and row.status == 0):
            yield "paid_not_debited", f"{record.request_no} was paid"


def difference_of(row: TradeRow, legs: dict[str, Entry], records: Sequence[BankRecord]) -> str | None:
    """None when the three agree, else what each says. Only finished stories agree."""
    if row.nonsense is not None:
        return f"row makes no sense: {row.nonsense}"
    needed = {"1"} if row.kind == "recharge" else {"1", "2"}
    bank = _bank_word(row, records)
    ledger = _ledger_word(row, legs)
    succeeded = row.status == 8 and row.booked == needed and ledger == _legs_word(needed) and bank == "paid"
    unmoved = bank in ("failed", "nothing")
    failed = row.status == 9 and not row.booked and not legs and unmoved
    if succeeded or failed:
        return None
    word = {0: "processing", 8: "success", 9: "failed"}.get(row.status, "?")
    return f"{row.kind}: row {word}/{_legs_word(row.booked)}, ledger {ledger}, bank {bank}"


def _legs_word(legs: Iterable[str]) -> str:
    return "+".join(sorted(legs)) or "none"


def _ledger_word(row: TradeRow, legs: dict[str, Entry]) -> str:
    for entry in legs.values():
        # The second leg of two touches no customer.
        other_account = entry.account_no not in (None, row.account_no)
        if other_account or (entry.amount_minor, entry.kind) != (row.amount_minor, row.kind):
            return "differs"
    return _legs_word(legs)


def _bank_word(row: TradeRow, records: Sequence[BankRecord]) -> str:
    alive = [record for record in records if record.status != FAILED]
    if not alive:
        unclear = any(record.code not in EXPLICIT_FAILURES for record in records)
        return "unclear" if unclear else "failed" if records else "nothing"
    record = alive[0]
    if len(alive) > 1:
        return "several"
    if (record.amount_minor, record.account) != (row.amount_minor, row.bank_account_no):
        return "differs"
    return "paid" if record.status == SUCCESS else "accepted"
