"""One system group's production system: its trade database and its ledger, opened together."""

from dataclasses import dataclass

from sqlalchemy import Engine, func, select

from sandbox.clock import Clock, utc_now
from sandbox.database import open_engine, reading
from sandbox.ledger import Ledger
from sandbox.schema import TradeTables, trade_tables
from sandbox.settings import GroupUrls

# Trades below this id are the ten cases of the product document.
FIRST_FREE_TRADE_ID = 1_000


@dataclass(frozen=True)
class Production:
    """The stores of one group; ``close`` gives the connections back."""

    sys_code: str
    engine: Engine
    tables: TradeTables
    ledger: Ledger
    clock: Clock

    def create(self) -> None:
        """Creates what is not there yet."""
        self.tables.metadata.create_all(self.engine)
        self.ledger.create()

    def next_trade_id(self, *, leaving: int = 0) -> int:
        """One more than the highest in use.

        ``leaving``: so many are left free behind it where trades have been opened, for what production opens
        meanwhile: a load writes its trade rows last.
        """
        with reading(self.engine) as connection:
            highest = connection.execute(select(func.max(self.tables.trade.c.TRD_ID))).scalar()
        following = int(highest or 0) + 1
        return following + leaving if following > FIRST_FREE_TRADE_ID else FIRST_FREE_TRADE_ID

    @property
    def stores_malformed_amounts(self) -> bool:
        """Only SQLite's untyped column takes a text for an amount."""
        return self.engine.dialect.name == "sqlite"

    def close(self) -> None:
        self.engine.dispose()
        self.ledger.engine.dispose()


def open_production(sys_code: str, urls: GroupUrls, clock: Clock = utc_now) -> Production:
    """Opens engines; creates no table."""
    engine = open_engine(urls.trade)
    return Production(
        sys_code, engine, trade_tables(sys_code), Ledger(open_engine(urls.ledger), clock), clock
    )
