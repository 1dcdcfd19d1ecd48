"""What an agent hears of a message that was not taken, and whether it is for good."""

from typing import Final

from agent.protocol import SERVER_FAILED
from app.agents.commands import OutOfStateError
from app.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, PiculusError

FINAL: Final[frozenset[tuple[type[PiculusError], str]]] = frozenset(
    {
        (InvalidError, "malformed"),
        (OutOfStateError, "state"),
        (NotFoundError, "task"),
        (ConflictError, "shard"),
    }
)
"""What says that a message can never be taken, for the agent forgets it then (protocol.REFUSED_FOR_GOOD).

Any other error while a message is applied is the server's own failure: the message may be the only word of
money that moved, and is sent again.
"""
REFUSALS: Final[dict[type[PiculusError], str]] = {
    NotFoundError: "The server has no such thing for this agent.",
    InvalidError: "A value in the message is not acceptable.",
    ConflictError: "What the message is about is not in a state that allows this.",
    ForbiddenError: "This agent may not do that.",
}
"""What an agent is told where the error's own words are for a person; code and parameters say the rest."""


def refusal_of(error: Exception) -> tuple[str, str]:
    """Return the code and the sentence a message is refused with for this error."""
    if not isinstance(error, PiculusError):
        return SERVER_FAILED, "the server could not handle this message"
    if is_final(error):
        return error.code, sentence_of(error)
    return SERVER_FAILED, f"{error.code}: {sentence_of(error)}"


def is_final(error: Exception) -> bool:
    """Whether it says that the message can never be taken. A state may also be that of an anomaly."""
    return isinstance(error, PiculusError) and (type(error), error.code) in FINAL


def sentence_of(error: PiculusError) -> str:
    """Say to the writer of an agent what a service refused."""
    said = REFUSALS.get(type(error)) or (type(error).__doc__ or error.code).partition("\n")[0]
    details = ", ".join(f"{name} {value}" for name, value in error.params.items())
    return f"{said} ({details})" if details else said
