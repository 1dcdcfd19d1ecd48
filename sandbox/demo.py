"""The demo's content, loaded once: a half-loaded one is thrown away and loaded again."""

from pathlib import Path

from sqlalchemy import Engine, MetaData, Table, inspect, literal, select

from sandbox.database import reading
from sandbox.errors import SandboxError
from sandbox.production import Production
from sandbox.world import World

HEALTHY = 20_000
HEALTHY_SHARE = {"PBAP": 1, "PBMS": 10}
BROKEN = {"PBAP": 200, "PBMS": 30}
CASES_GROUP = "PBAP"
LOADED = "loaded\n"


def throw_away_unfinished(world: World) -> None:
    """Throw away what a stopped load of the demo has left, Piculus's tables too; a finished one stays.

    Raises SandboxError when the databases hold trades that no demo has loaded.
    """
    marker = _marker(world)
    if marker.exists() and marker.read_text() == LOADED:
        return
    world.create()
    if not marker.exists():
        _refuse_trades_of_others(world)
    empty(world)


def load_demo(world: World, healthy: int = HEALTHY) -> bool:
    """Schema and everything of the demo; False when it is there already.

    ``healthy`` trades in PBAP, a tenth of that in PBMS. Raises SandboxError when the databases hold trades
    that no demo has loaded.
    """
    marker = _marker(world)
    if marker.exists() and marker.read_text() == LOADED:
        return False
    if marker.exists():
        empty(world)
    world.create()
    _refuse_trades_of_others(world)
    _write(marker, "loading\n")
    for code in world.groups:
        world.load_healthy(healthy // HEALTHY_SHARE[code], group=code)
    world.load_cases(CASES_GROUP)
    for code in world.groups:
        world.load_broken(BROKEN[code], group=code)
    _write(marker, LOADED)
    return True


def empty(world: World) -> None:
    """Drops every table of the sandbox, and those Piculus keeps beside them, in all its databases."""
    for code in world.groups:
        production = world.production(code)
        _drop(production, production.tables.metadata)
        production.ledger.tables.metadata.drop_all(production.ledger.engine)
    world.books.clear()
    _marker(world).unlink(missing_ok=True)


def _drop(production: Production, metadata: MetaData) -> None:
    found = MetaData()
    names = inspect(production.engine).get_table_names()
    found.reflect(production.engine, only=[name for name in names if name.startswith("piculus_")])
    found.drop_all(production.engine)
    metadata.drop_all(production.engine)


def _refuse_trades_of_others(world: World) -> None:
    if any(_is_in_use(world.production(code)) for code in world.groups):
        raise SandboxError("the sandbox holds trades already; `python -m sandbox reset` empties it")


def _is_in_use(production: Production) -> bool:
    """Whether there is a trade, a ledger entry, or a repair of Piculus: none of them was made by a load."""
    ledger = production.ledger
    if _has_rows(production.engine, production.tables.trade) or _has_rows(ledger.engine, ledger.tables.entry):
        return True
    found = MetaData()
    names = inspect(production.engine).get_table_names()
    found.reflect(production.engine, only=[name for name in names if name.startswith("piculus_")])
    return any(_has_rows(production.engine, table) for table in found.tables.values())


def _has_rows(engine: Engine, table: Table) -> bool:
    with reading(engine) as connection:
        return connection.execute(select(literal(1)).select_from(table).limit(1)).first() is not None


def _marker(world: World) -> Path:
    """The file that tells how far the load has come."""
    return world.directory / "demo"


def _write(marker: Path, text: str) -> None:
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.write_text(text)
