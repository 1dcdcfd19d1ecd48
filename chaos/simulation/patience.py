"""How long anything may stand still once faults have stopped: looked at every ten minutes of healing."""

import sqlite3
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from chaos.simulation.schedule import Schedule

HUNG: Final = 1200.0
"""What hung when the faults stopped has had its time by then."""


class Patience:
    """Notes in ``violations`` what stands still: results nobody sends again."""

    def __init__(self, schedule: "Schedule") -> None:
        self._schedule = schedule
        self._oldest: dict[str, int] = {}
        self.violations: list[tuple[str, str]] = []

    def look(self, healing_seconds: float) -> None:
        """Compare the oldest message of each agent with what it was ten minutes ago."""
        if self.violations or healing_seconds < HUNG:
            return
        for agent in self._schedule.agents:
            if agent.journal is None:
                continue
            try:
                rows = agent.journal._file.connection.execute("SELECT min(seq) FROM outbox").fetchall()
            except sqlite3.Error:
                continue
            oldest = rows[0][0]
            if oldest is not None and self._oldest.get(agent.name) == oldest:
                self.violations.append(
                    ("I5", f"message {oldest} of {agent.name} waits, and nothing goes wrong")
                )
            self._oldest[agent.name] = oldest or 0
