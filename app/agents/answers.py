"""Whether a message answers the command it names: what is of another kind, or of another trade, is no answer.

Such a message can never be taken, whatever it says: it is refused, its frame is kept as evidence, and the
command goes on to its lease and its deadline as if nothing had come.
"""

from typing import Final

from agent.answers import (
    AnomaliesReported,
    CollectFinished,
    CollectProgress,
    FactsRead,
    RepairFinished,
    StepRecorded,
)
from agent.facts import Facts
from agent.message import Message
from app.agents import commands
from app.agents.models import Agent, Command
from app.errors import InvalidError
from app.unit_of_work import WorkSession

ANSWERED: Final[dict[type[Message], str]] = {
    AnomaliesReported: "Collect",
    CollectFinished: "Collect",
    CollectProgress: "Collect",
    FactsRead: "Verify",
    RepairFinished: "Repair",
    StepRecorded: "Repair",
}
"""The type of command that each message answers; of any other message every command may be meant."""


def require_answer(session: WorkSession, agent: Agent, message: Message) -> None:
    """Raises InvalidError('malformed') for an answer to another kind of command, or of another trade.

    A command that nobody knows, or of another group, is left to the message's handler.
    """
    wanted = ANSWERED.get(type(message))
    command = commands.find(session, message.command_id) if wanted is not None else None
    if command is None or command.group_id != agent.group_id:
        return
    wrong = _wrong(command, message, wanted)
    if wrong is not None:
        raise InvalidError("malformed", command_id=command.id, wrong=wrong)


def _wrong(command: Command, message: Message, wanted: str | None) -> str | None:
    if command.type != wanted:
        return f"{type(message).__name__} for a {command.type}"
    if not isinstance(message, RepairFinished | FactsRead | StepRecorded):
        return None
    if message.trade_no != command.trade_no:
        return f"trade_no {message.trade_no}"
    is_mixed = any(_is_of_another(message.trade_no, facts) for facts in _facts_of(message))
    return "facts of another trade" if is_mixed else None


def _facts_of(message: RepairFinished | FactsRead | StepRecorded) -> tuple[Facts | None, ...]:
    if isinstance(message, RepairFinished):
        return message.facts_before, message.facts_after
    return (message.facts,) if isinstance(message, FactsRead) else ()


def _is_of_another(trade_no: str, facts: Facts | None) -> bool:
    """A database may find a number whatever its case, and whatever blanks follow it."""
    return facts is not None and facts.trade_no.rstrip().casefold() != trade_no.rstrip().casefold()
