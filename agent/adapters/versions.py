"""Whether the version of a row can be kept beside its correction, asked before money moves."""

from typing import Final

from sqlalchemy import Connection, inspect

from agent.adapters.check import is_short
from agent.adapters.tables import TradeTables
from agent.errors import PortError
from agent.records import Trade

SHORT: Final = 2**31
"""No INTEGER holds it; SQLite's holds more."""


class Versions:
    """Looks at the declared type of ``old_version`` once a row has a version that needs it."""

    def __init__(self, tables: TradeTables) -> None:
        self._correction = tables.correction
        self._is_long = False

    def require_kept(self, connection: Connection, trade: Trade) -> None:
        """Raises PortError where the row's version is too large to be kept; one made wider since will do."""
        if abs(trade.version) < SHORT or connection.dialect.name == "sqlite":
            return
        self._is_long = self._is_long or not self._is_short(connection)
        if not self._is_long:
            name = self._correction.name
            raise PortError(f"VERSION is {trade.version}: old_version of {name} must be BIGINT to keep it")

    def _is_short(self, connection: Connection) -> bool:
        columns = inspect(connection).get_columns(self._correction.name, schema=self._correction.schema)
        return any(each["name"] == "old_version" and is_short(each["type"]) for each in columns)
