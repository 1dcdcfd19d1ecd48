"""A command's conversation: order, gaps, states, who may see it."""

from datetime import timedelta

import pytest

from app.agents.models import Agent
from app.errors import NotFoundError
from app.monitor.conversation import INLINE_BYTES, PAGE_TURNS, get_conversation
from app.unit_of_work import WorkSession
from tests.app.monitor.rows import make_command, make_frame
from tests.factories import NOW, make_agent, make_group


@pytest.fixture
def agent(session: WorkSession) -> Agent:
    return make_agent(session, make_group(session), name="pbap-1")


def later(milliseconds: int) -> dict[str, object]:
    return {"at": NOW + timedelta(milliseconds=milliseconds)}


def test_it_shows_both_ways_in_order_with_gaps(session: WorkSession, agent: Agent) -> None:
    command = make_command(session, agent.group, agent_id=agent.id)
    make_frame(session, agent, type="Repair", direction="out", command_id=command.id)
    make_frame(session, agent, type="Ack", command_id=command.id, **later(12))
    make_frame(session, agent, type="Heartbeat", **later(20))
    make_frame(session, agent, type="RepairFinished", command_id=command.id, **later(900))
    found = get_conversation(session, command.id, None)
    assert [(turn.frame.type, turn.gap_ms) for turn in found.turns] == [
        ("Repair", None),
        ("Ack", 12),
        ("RepairFinished", 888),
    ]
    assert (found.agent_name, found.sys_code, found.after) == ("pbap-1", "PBAP", None)


def test_it_tells_the_states_in_order_of_time(session: WorkSession, agent: Agent) -> None:
    times = {"sent_at": later(1)["at"], "accepted_at": later(5)["at"], "finished_at": later(9)["at"]}
    command = make_command(session, agent.group, state="cancelled", **times)
    states = [state for state, _at in get_conversation(session, command.id, None).states]
    assert states == ["pending", "sent", "accepted", "cancelled"]


def test_a_large_frame_is_not_shown_inline(session: WorkSession, agent: Agent) -> None:
    make_frame(session, agent, command_id="c1", size=INLINE_BYTES + 1)
    make_frame(session, agent, command_id="c1", body="no JSON {")
    turns = get_conversation(session, "c1", None).turns
    assert [turn.content for turn in turns] == [None, "no JSON {"]


def test_a_long_conversation_goes_on_on_the_next_page(session: WorkSession, agent: Agent) -> None:
    for number in range(PAGE_TURNS + 2):
        make_frame(session, agent, command_id="c1", **later(number * 10))
    first = get_conversation(session, "c1", None)
    rest = get_conversation(session, "c1", None, first.after)
    assert (len(first.turns), len(rest.turns), rest.after) == (PAGE_TURNS, 2, None)
    assert rest.turns[0].gap_ms == 10


def test_nobody_sees_a_command_of_a_hidden_group(session: WorkSession, agent: Agent) -> None:
    other = make_group(session, "PBMS")
    command = make_command(session, agent.group)
    make_frame(session, agent, command_id="frames only")
    for command_id in (command.id, "frames only", "unknown"):
        with pytest.raises(NotFoundError):
            get_conversation(session, command_id, [other.id])
