"""A message must answer the command that it names: its kind, and its trade."""

from collections.abc import Callable

import msgspec
import pytest

from agent.answers import CollectFinished, CollectProgress, RepairFinished, Started, StepRecorded
from agent.message import Message
from app.agents import commands
from app.agents.answers import require_answer
from app.agents.models import Agent, Command
from app.errors import InvalidError
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import new_id
from tests.app.agents.conftest import Member, order
from tests.conftest import HandClock
from tests.factories import facts_of, facts_read, finished, step

pytestmark = pytest.mark.each_engine

TRADE = "CO000000000000000001"
OTHER = "CO000000000000000002"
Answer = Callable[[Command], Message]


def trailer(command: Command) -> Message:
    counts = {"chunks": 0, "rows": 0, "amount_minor": 0, "scanned": 0, "unverified": 0, "duration_ms": 0}
    return CollectFinished(id=new_id(), command_id=command.id, run_id=1, shard=0, **counts)


def progress(command: Command) -> Message:
    return CollectProgress(id=new_id(), command_id=command.id, run_id=1, shard=0, scanned=1, reported=0)


def told_step(command: Command) -> Message:
    return StepRecorded(
        id=new_id(), command_id=command.id, trade_no=command.trade_no or "", fence=1, step=step(1)
    )


def looked(command: Command) -> Message:
    return facts_read(command, "repair")


def repaired(command: Command) -> RepairFinished:
    return finished(command, "repaired")


def refusal(member: Member, command_id: str, answer: Answer) -> str | None:
    """What is wrong with the answer that an agent makes of a command; None: it is taken."""
    with unit_of_work() as session:
        command = commands.find(session, command_id)
        assert command is not None
        try:
            require_answer(session, session.get_one(Agent, member.id), answer(command))
        except InvalidError as error:
            return f"{error.code}: {error.params['wrong']}"
    return None


@pytest.mark.parametrize("answer", [repaired, looked, told_step, trailer, progress])
@pytest.mark.parametrize("type", ["Repair", "Verify", "Collect"])
def test_a_message_answers_one_kind_of_command(
    member: Member, clock: HandClock, type: str, answer: Answer
) -> None:
    answers = {"Repair": (repaired, told_step), "Verify": (looked,), "Collect": (trailer, progress)}
    command_id = order(member, None if type == "Collect" else TRADE, clock(), type=type)
    wrong = refusal(member, command_id, answer)
    assert (wrong is None) == (answer in answers[type])
    assert wrong is None or (wrong.startswith("malformed: ") and wrong.endswith(f" for a {type}"))


@pytest.mark.parametrize("answer", [repaired, looked, told_step])
def test_it_names_the_trade_of_its_command(member: Member, clock: HandClock, answer: Answer) -> None:
    command_id = order(member, TRADE, clock(), type="Verify" if answer is looked else "Repair")
    wrong = refusal(member, command_id, lambda one: msgspec.structs.replace(answer(one), trade_no=OTHER))
    assert wrong == f"malformed: trade_no {OTHER}"


@pytest.mark.parametrize(
    ("answer", "field"), [(repaired, "facts_before"), (repaired, "facts_after"), (looked, "facts")]
)
def test_its_facts_are_of_that_trade(member: Member, clock: HandClock, answer: Answer, field: str) -> None:
    command_id = order(member, TRADE, clock(), type="Verify" if answer is looked else "Repair")
    facts = {OTHER: "malformed: facts of another trade", f"{TRADE} ".lower(): None}
    for trade_no, wanted in facts.items():
        mixed = {field: facts_of(trade_no)}
        wrong = refusal(member, command_id, lambda one, m=mixed: msgspec.structs.replace(answer(one), **m))  # type: ignore[misc]
        assert wrong == wanted


def test_what_answers_any_command_is_left_to_its_handler(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock(), type="Verify")
    assert refusal(member, command_id, lambda one: Started(id=new_id(), command_id=one.id)) is None
    assert refusal(member, command_id, lambda _: Started(id=new_id(), command_id="0" * 32)) is None
