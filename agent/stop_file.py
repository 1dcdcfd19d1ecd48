"""The local stop: while a file of this name stands beside the journal, this agent begins no repair.

Whoever may write the file may stop the agent, with or without a server, and removing it is enough to go on.
Its content is the reason. What cannot be read counts as a stop: doubt moves no money.
"""

from pathlib import Path
from typing import Final

from agent.errors import AgentError

MOST_BYTES: Final = 2_000
MOST_CHARACTERS: Final = 300
NO_REASON: Final = "no reason given"


class StopFile:
    """The file at ``path``; looked at again each time, so that nothing needs to be told of a change."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def reason(self) -> str | None:
        """Return why the agent is stopped, on one line; None where no file stands."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(MOST_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            return f"the stop file cannot be read: {error.strerror}"
        words = " ".join(raw.decode("utf-8", "replace").split())
        return words[:MOST_CHARACTERS] or NO_REASON

    def set(self, reason: str) -> None:
        """Stop the agent. Raises AgentError."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(reason.strip() + "\n", encoding="utf-8")
        except OSError as error:
            raise AgentError(f"{self.path} cannot be written: {error.strerror}") from error

    def lift(self) -> bool:
        """Let the agent go on; return whether it was stopped. Raises AgentError."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise AgentError(f"{self.path} cannot be removed: {error.strerror}") from error
        return True
