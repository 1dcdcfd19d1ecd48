"""Places for the contract tests: the fakes, and every database at both isolation levels an agent may use.

One sandbox a database and session; tests keep apart by trade numbers, accounts and hours of their own.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path

import pytest
from sqlalchemy import text

from agent.adapters.ddl import ddl
from sandbox.bank.server import RunningBank, running_bank
from sandbox.clock import ManualClock
from sandbox.database import writing
from sandbox.settings import GroupUrls
from sandbox.statements import split_statements
from sandbox.world import World
from tests.contract.bank_places import NOW, BankPlace, FakeBankPlace, HttpBankPlace
from tests.contract.places import (
    FakeLedgerPlace,
    FakeTradePlace,
    LedgerPlace,
    SqlLedgerPlace,
    SqlTradePlace,
    TradePlace,
)
from tests.databases import databases, server_answers

READ_COMMITTED = "READ COMMITTED"
REPEATABLE_READ = "REPEATABLE READ"
SQL_PLACES = (
    ("sqlite", READ_COMMITTED),
    ("postgresql", READ_COMMITTED),
    ("postgresql", REPEATABLE_READ),
    ("mariadb", READ_COMMITTED),
    ("mariadb", REPEATABLE_READ),
)
FAKE = ("fake", "")

WorldOf = Callable[[str], World]


def _name(place: tuple[str, str]) -> str:
    return "-".join(part for part in place if part).lower().replace(" ", "-")


@pytest.fixture(scope="session")
def world_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorldOf]:
    """Makes the sandbox of a database at its first use; all are dropped at the end of the session."""
    with ExitStack() as stack:

        @cache
        def made(engine_name: str) -> World:
            directory = tmp_path_factory.mktemp(engine_name)
            new_database = stack.enter_context(databases(engine_name, directory))
            urls = {"PBAP": GroupUrls(new_database(), new_database())}
            world = World.created(directory, groups=("PBAP",), urls=urls)
            stack.callback(world.close)
            with writing(world.production().engine) as connection:
                for statement in split_statements(ddl(world.production().engine.dialect.name)):
                    connection.execute(text(statement))
            return world

        yield made


def _world(engine_name: str, world_of: WorldOf) -> World:
    if engine_name != "sqlite" and not server_answers(engine_name):
        pytest.skip(f"no {engine_name} server answers")
    return world_of(engine_name)


@pytest.fixture(params=SQL_PLACES, ids=_name)
def sql_trades(request: pytest.FixtureRequest, world_of: WorldOf) -> Iterator[SqlTradePlace]:
    """A trade database under the real adapter."""
    engine_name, isolation = request.param
    place = SqlTradePlace(_world(engine_name, world_of), isolation)
    yield place
    place.sql.close()


@pytest.fixture(params=(FAKE, *SQL_PLACES), ids=_name)
def trade_place(request: pytest.FixtureRequest, world_of: WorldOf) -> Iterator[TradePlace]:
    """A trade database, fake or real."""
    engine_name, isolation = request.param
    if engine_name == "fake":
        yield FakeTradePlace()
        return
    place = SqlTradePlace(_world(engine_name, world_of), isolation)
    yield place
    place.sql.close()


@pytest.fixture(params=SQL_PLACES, ids=_name)
def sql_ledger(request: pytest.FixtureRequest, world_of: WorldOf) -> Iterator[SqlLedgerPlace]:
    """A ledger under the real adapter."""
    engine_name, isolation = request.param
    place = SqlLedgerPlace(_world(engine_name, world_of), isolation)
    yield place
    place.sql.close()


@pytest.fixture(params=(FAKE, *SQL_PLACES), ids=_name)
def ledger_place(request: pytest.FixtureRequest, world_of: WorldOf) -> Iterator[LedgerPlace]:
    """A ledger, fake or real."""
    engine_name, isolation = request.param
    if engine_name == "fake":
        yield FakeLedgerPlace()
        return
    place = SqlLedgerPlace(_world(engine_name, world_of), isolation)
    yield place
    place.sql.close()


@pytest.fixture(params=["postgresql", "mariadb"])
def own_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A sandbox of its own, whose columns a test may declare anew."""
    with databases(request.param, tmp_path) as new_database:
        urls = {"PBAP": GroupUrls(new_database(), new_database())}
        made = World.created(tmp_path, groups=("PBAP",), urls=urls)
        with writing(made.production().engine) as connection:
            for statement in split_statements(ddl(made.production().engine.dialect.name)):
                connection.execute(text(statement))
        yield made
        made.close()


@pytest.fixture(scope="session")
def running_sandbox_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBank]:
    """One sandbox bank a session, whose clock stands; tests keep apart by numbers of their own."""
    path = tmp_path_factory.mktemp("bank") / "bank.db"
    clock = ManualClock(NOW.replace(tzinfo=None))
    with running_bank(path, "contract-token", clock=clock) as bank:
        yield bank


@pytest.fixture
def http_bank(running_sandbox_bank: RunningBank) -> Iterator[HttpBankPlace]:
    """The sandbox's bank behind the HTTP adapter, all faults switched off."""
    place = HttpBankPlace(running_sandbox_bank)
    yield place
    running_sandbox_bank.faults.clear()
    place.http.close()


@pytest.fixture(params=["fake", "http"])
def bank_place(request: pytest.FixtureRequest) -> BankPlace:
    """A bank, fake or over HTTP."""
    if request.param == "fake":
        return FakeBankPlace()
    place: HttpBankPlace = request.getfixturevalue("http_bank")
    return place
