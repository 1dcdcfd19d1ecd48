"""Where a contract test works: the fakes, or a sandbox with the real adapters, behind the same few words."""

from collections.abc import Set
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol

import msgspec
from sqlalchemy import delete, insert, select, text, update

from agent.adapters.ddl import own_tables
from agent.adapters.ledger_db import SqlLedger
from agent.adapters.names import LedgerNames, TradeCodes, TradeNames
from agent.adapters.trade_db import SqlTrades
from agent.facts import Row
from agent.ports import LedgerPort, TradePort
from agent.records import EPOCH, BankRequest, Opened, Posting, RepairRow, StepRow, Trade, Window
from sandbox.database import writing
from sandbox.ledger import PostingOrder
from sandbox.world import World
from tests.fakes.faults import Clock, Faults
from tests.fakes.ledger import FakeLedger
from tests.fakes.trades import FakeTrades, StoredTrade

_ids = count(1_000)
_spans = count(0)
CUSTOMER_BANK_ACCOUNT = "6222020000000000000"


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A row as production would store it; every cell may be replaced by nonsense."""

    trade_id: int = field(default_factory=lambda: next(_ids))
    trade_no: str = ""
    status: Any = 8
    acc_voucher: str | None = None
    acc_status: Any = 0
    e_acc_voucher: str | None = None
    e_acc_status: Any = 0
    message: str | None = None
    kind: Any = "withdraw"
    amount: Any = 10_050
    account_no: str = ""
    posting_mode: Any = "two_step"
    changed_at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def numbered(self) -> "Planted":
        """With a trade number and an account of its own where none were given."""
        number = self.trade_no or f"WD{self.trade_id:018d}"
        return replace(self, trade_no=number, account_no=self.account_no or f"CUST-{self.trade_id}")

    @property
    def row(self) -> Row:
        """The eight columns."""
        return {
            "TRD_ID": self.trade_id,
            "TRD_NUM": self.trade_no,
            "TRD_STATUS": self.status,
            "ACC_TRD_NUM": self.acc_voucher,
            "ACC_TRD_STATUS": self.acc_status,
            "E_ACC_TRD_NUM": self.e_acc_voucher,
            "E_ACC_TRD_STATUS": self.e_acc_status,
            "FAILED_MSG": self.message,
        }


def new_window(*, shard: int = 0, shards: int = 1) -> Window:
    """An hour of row changes that no other test uses."""
    start = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(hours=3 * next(_spans))
    return Window(start=start, end=start + timedelta(hours=1), shard=shard, shards=shards)


def shard_of(window: Window, shard: int, shards: int) -> Window:
    """The same hour, one shard of it."""
    return msgspec.structs.replace(window, shard=shard, shards=shards)


class TradePlace(Protocol):
    """A trade database that a test can change as production would."""

    trades: TradePort

    def plant(self, planted: Planted) -> Planted: ...

    def change(self, trade_no: str, **cells: Any) -> None: ...

    def remove(self, trade_id: int) -> None: ...

    def old_rows(self, trade_no: str) -> list[Row]: ...

    def begun_earlier(self, trade_no: str, by: timedelta) -> None: ...


class LedgerPlace(Protocol):
    """A ledger that a test can post to as production would."""

    ledger: LedgerPort

    def open_account(self, account_no: str, balance: int) -> None: ...

    def book(self, posting: Posting) -> str: ...

    def reverse(self, voucher_no: str) -> None: ...

    def balance(self, account_no: str) -> int: ...

    def live_entries(self, trade_no: str) -> int: ...


class FakeTradePlace:
    """The trade database in memory."""

    def __init__(self) -> None:
        self.fake = FakeTrades(Clock(), Faults())
        self.trades: TradePort = self.fake

    def plant(self, planted: Planted) -> Planted:
        """Store a row."""
        planted = planted.numbered()
        self.fake.put(
            StoredTrade(
                dict(planted.row),
                planted.kind,
                planted.amount,
                planted.account_no,
                CUSTOMER_BANK_ACCOUNT,
                planted.posting_mode,
                planted.changed_at,
                planted.changed_at,
            )
        )
        return planted

    def change(self, trade_no: str, **cells: Any) -> None:
        """Production writes the row."""
        self.fake.change(trade_no, **cells)

    def remove(self, trade_id: int) -> None:
        """Production deletes the row."""
        del self.fake.rows[trade_id]

    def old_rows(self, trade_no: str) -> list[Row]:
        """The rows that correction records keep."""
        return [each.before for each in self.fake.corrections if each.trade_no == trade_no]

    def begun_earlier(self, trade_no: str, by: timedelta) -> None:
        """Date a repair as begun so much earlier."""
        self.fake.begun[trade_no] -= by


class SqlTradePlace:
    """A sandbox's trade database under the real adapter."""

    def __init__(self, world: World, isolation: str, codes: TradeCodes | None = None) -> None:
        self.names = TradeNames(isolation=isolation, codes=codes or TradeCodes())
        self.url = world.trade_url()
        self.sql = SqlTrades(self.url, self.names)
        self.trades: TradePort = self.sql
        production = world.production()
        self.engine, self.trade = production.engine, production.tables.trade
        self.requests = production.tables.bank_request

    def another(self) -> SqlTrades:
        """A second agent's adapter on the same database."""
        return SqlTrades(self.url, self.names)

    def plant(self, planted: Planted) -> Planted:
        """Store a row."""
        planted = planted.numbered()
        at = planted.changed_at.replace(tzinfo=None)
        values = {
            **planted.row,
            "TRD_KIND": planted.kind,
            "AMOUNT": planted.amount,
            "CURRENCY": "CNY",
            "ACC_NO": planted.account_no,
            "BANK_ACC_NO": CUSTOMER_BANK_ACCOUNT,
            "CHANNEL": "ICBC",
            "POSTING_MODE": planted.posting_mode,
            "CREATED_AT": at,
            "UPDATED_AT": at,
            "VERSION": 1,
        }
        with writing(self.engine) as connection:
            connection.execute(insert(self.trade).values(values))
        return planted

    def change(self, trade_no: str, **cells: Any) -> None:
        """Production writes the row."""
        columns = self.trade.c
        raised = update(self.trade).where(columns["TRD_NUM"] == trade_no)
        with writing(self.engine) as connection:
            connection.execute(raised.values({**cells, "VERSION": columns["VERSION"] + 1}))

    def remove(self, trade_id: int) -> None:
        """Production deletes the row."""
        with writing(self.engine) as connection:
            connection.execute(delete(self.trade).where(self.trade.c["TRD_ID"] == trade_id))

    def old_rows(self, trade_no: str) -> list[Row]:
        """The rows that correction records keep."""
        corrections = own_tables(self.names)[2]
        kept = select(corrections.c.old_row).where(corrections.c.trade_no == trade_no)
        with self.engine.connect() as connection:
            stored = [msgspec.json.decode(text) for text in connection.execute(kept).scalars()]
        return [dict(list(row.items())[:8]) for row in stored]

    def begun_earlier(self, trade_no: str, by: timedelta) -> None:
        """Date a repair as begun so much earlier."""
        repair = own_tables(self.names)[0]
        is_it = repair.c.trade_no == trade_no
        with writing(self.engine) as connection:
            at = connection.execute(select(repair.c.started_at).where(is_it)).scalar_one()
            connection.execute(update(repair).where(is_it).values(started_at=at - by))


class FakeLedgerPlace:
    """The ledger in memory."""

    def __init__(self) -> None:
        self.clock = Clock(datetime.now(UTC))
        self.fake = FakeLedger(self.clock, Faults())
        self.ledger: LedgerPort = self.fake

    def open_account(self, account_no: str, balance: int) -> None:
        """A customer's account."""
        self.fake.balances[account_no] = balance

    def book(self, posting: Posting) -> str:
        """Production's own posting."""
        return self.fake.post(posting)

    def reverse(self, voucher_no: str) -> None:
        """A person reverses an entry."""
        self.fake.reverse(voucher_no)

    def balance(self, account_no: str) -> int:
        """Fen."""
        return self.fake.balances[account_no]

    def live_entries(self, trade_no: str) -> int:
        """Unreversed entries of the trade."""
        return sum(not (each.is_reversed or each.reverses) for each in self.fake.of_trade(trade_no))


class SqlLedgerPlace:
    """A sandbox's ledger under the real adapter; production posts with the sandbox's own code."""

    def __init__(self, world: World, isolation: str) -> None:
        self.names = LedgerNames(isolation=isolation)
        self.url = world.ledger_url()
        self.sql = SqlLedger(self.url, self.names)
        self.ledger: LedgerPort = self.sql
        self.world = world
        self.books = world.production().ledger

    def another(self) -> SqlLedger:
        """A second agent's adapter on the same database."""
        return SqlLedger(self.url, self.names)

    def open_account(self, account_no: str, balance: int) -> None:
        """A customer's account."""
        self.books.open_account(account_no, balance)

    def book(self, posting: Posting) -> str:
        """Production's own posting."""
        return self.books.post(
            PostingOrder(
                posting.trade_no,
                posting.kind.value,
                posting.leg.value,
                posting.amount.minor,
                posting.account_no,
                posting.key,
                "production",
            )
        )

    def reverse(self, voucher_no: str) -> None:
        """A person reverses an entry."""
        self.books.reverse(voucher_no, f"reversal of {voucher_no}", "person")

    def balance(self, account_no: str) -> int:
        """Fen."""
        return self.books.balance(account_no)

    def live_entries(self, trade_no: str) -> int:
        """Unreversed entries of the trade."""
        entries = self.world.entries(trade_no)
        return sum(entry["REVERSED_BY"] is None and entry["REVERSES"] is None for entry in entries)


def declare(place: SqlTradePlace | SqlLedgerPlace, table: str, column: str, kind: str) -> None:
    """Production declares a column anew."""
    engine = place.engine if isinstance(place, SqlTradePlace) else place.books.engine
    change = f'ALTER TABLE "{table}" ALTER COLUMN "{column}" TYPE {kind}'
    if engine.dialect.name != "postgresql":
        change = f"ALTER TABLE {table} MODIFY {column} {kind}"
    with writing(engine) as connection:
        connection.execute(text(change))


def claim_of(
    trade: Trade,
    *,
    fence: int = 1,
    agent: str = "agent-1",
    boot_id: str = "boot-1",
    held_at: datetime = EPOCH,
) -> RepairRow:
    """A claim on a trade as an agent would make it."""
    return RepairRow(
        trade_no=trade.trade_no,
        round=1,
        state="open",
        fence=fence,
        fixer_code="interWithdrawFixServiceImpl",
        target=trade.status or _no_status(),
        plan=("post_both", "pay", "write_row"),
        before=trade.row,
        terms=trade.terms,
        agent=agent,
        boot_id=boot_id,
        held_at=held_at,
    )


def payout_of(claim: RepairRow, request_no: str, **says: str) -> StepRow:
    """The step of a payout under a number, about to happen; ``says`` is what its result says besides."""
    return StepRow(
        key=f"PCL:PBAP:{claim.trade_no}:pay:{request_no}",
        seq=2,
        name="pay",
        state="intended",
        moves_money=True,
        started_at=None,
        finished_at=None,
        result=msgspec.json.encode({"request_no": request_no, **says}).decode(),
    )


def opened(
    place: TradePlace,
    claim: RepairRow,
    request: BankRequest,
    seen: Set[str] | None = None,
    trade: Trade | None = None,
) -> Opened:
    """Open a request under a claim, as just before the bank is asked; ``seen``: None for all that stand."""
    step = payout_of(claim, request.request_no, status="asked")
    if seen is None:
        lines = place.trades.bank_requests([request.trade_no]).get(request.trade_no, [])
        seen = {line.request_no for line in lines}
    return place.trades.open_bank_request(claim, request, step, seen, trade)


def _no_status() -> Any:
    raise AssertionError("the trade of a claim has a status")


def step_of(trade_no: str, name: str = "write_row", *, seq: int = 1, state: str = "done") -> StepRow:
    """A step as an agent would write it."""
    at = datetime(2026, 3, 2, 4, 0, 0, 123456, tzinfo=UTC)
    finished_at = at if state != "intended" else None
    return StepRow(
        key=f"PCL:PBAP:{trade_no}:{name}",
        seq=seq,
        name=name,
        state=state,
        moves_money=name.startswith("post"),
        started_at=at,
        finished_at=finished_at,
        result='{"voucher_no":"GA1"}',
    )
