"""Two databases of the drill's own for the production system, dropped when it is over.

Servers: PICULUS_TEST_POSTGRES_URL and PICULUS_TEST_MARIADB_URL as for the tests, else the local defaults.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from sandbox.settings import GroupUrls, file_urls

ENGINES: Final = ("sqlite", "postgresql", "mariadb")
ISOLATIONS: Final = ("READ COMMITTED", "REPEATABLE READ")
_SERVERS: Final = {
    "postgresql": ("PICULUS_TEST_POSTGRES_URL", "postgresql+psycopg://postgres@127.0.0.1:5432/test"),
    "mariadb": ("PICULUS_TEST_MARIADB_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}
_CREATE: Final = {"postgresql": "CREATE DATABASE {}", "mariadb": "CREATE DATABASE {} CHARACTER SET utf8mb4"}
# PostgreSQL refuses to drop a database a killed agent's connection still looks at.
_DROP: Final = {"postgresql": "DROP DATABASE {} WITH (FORCE)", "mariadb": "DROP DATABASE {}"}


class NoServerError(Exception):
    """No database server of that kind answers; the message says where it was looked for."""


@contextmanager
def production_databases(engine_name: str, directory: Path, sys_code: str) -> Iterator[GroupUrls]:
    """Trade database and ledger of a group for the length of the block. Raises NoServerError."""
    if engine_name == "sqlite":
        yield file_urls(directory, sys_code)
        return
    names = [f"piculus_drill_{uuid.uuid4().hex[:12]}_{part}" for part in ("trade", "ledger")]
    made: list[str] = []
    try:
        for name in names:
            _run(engine_name, _CREATE[engine_name].format(name))
            made.append(name)
        trade, ledger = (_url(engine_name).set(database=name) for name in names)
        yield GroupUrls(_text(trade), _text(ledger))
    finally:
        for name in made:
            _run(engine_name, _DROP[engine_name].format(name))


def _url(engine_name: str) -> URL:
    variable, default = _SERVERS[engine_name]
    return make_url(os.environ.get(variable) or default)


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)


def _run(engine_name: str, statement: str) -> None:
    url = _url(engine_name)
    engine = create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            connection.execute(text(statement))
    except SQLAlchemyError as error:
        raise NoServerError(f"{url.render_as_string()}: {str(error).splitlines()[0]}") from error
    finally:
        engine.dispose()
