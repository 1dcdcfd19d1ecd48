"""The frame list: pages, filters, groups, bounded scans."""

from datetime import timedelta

import pytest

from app.agents.models import Agent
from app.errors import InvalidError, NotFoundError
from app.monitor.frames import SCAN_SPAN, FrameCut, FrameFilter, count_types, get_frame, list_frames
from app.unit_of_work import WorkSession
from tests.app.monitor.rows import make_frame
from tests.factories import NOW, make_agent, make_group

EVERYTHING = FrameFilter()


@pytest.fixture
def agent(session: WorkSession) -> Agent:
    return make_agent(session, make_group(session), name="pbap-1")


@pytest.fixture
def other(session: WorkSession) -> Agent:
    return make_agent(session, make_group(session, "PBMS"), name="pbms-1")


def ids(session: WorkSession, wanted: FrameFilter, groups: list[int] | None = None) -> list[int]:
    return [line.id for line in list_frames(session, groups, wanted, FrameCut()).rows]


def test_pages_show_every_frame_once_and_lead_back(session: WorkSession, agent: Agent) -> None:
    made = [make_frame(session, agent).id for _ in range(7)]
    first = list_frames(session, None, EVERYTHING, FrameCut(size=3))
    second = list_frames(session, None, EVERYTHING, FrameCut(after=first.after, size=3))
    third = list_frames(session, None, EVERYTHING, FrameCut(after=second.after, size=3))
    assert [line.id for page in (first, second, third) for line in page.rows] == made[::-1]
    assert (first.before, third.after) == (None, None)
    back = list_frames(session, None, EVERYTHING, FrameCut(before=third.before, size=3))
    assert back.rows == second.rows


def test_a_page_back_that_reaches_the_newest_is_the_first_page(session: WorkSession, agent: Agent) -> None:
    made = [make_frame(session, agent).id for _ in range(4)]
    page = list_frames(session, None, EVERYTHING, FrameCut(before=made[1], size=3))
    assert [line.id for line in page.rows] == made[:0:-1]
    assert page.before is None


def test_only_frames_of_visible_groups_are_listed(session: WorkSession, agent: Agent, other: Agent) -> None:
    mine, theirs = make_frame(session, agent), make_frame(session, other)
    assert ids(session, EVERYTHING, [agent.group_id]) == [mine.id]
    assert ids(session, EVERYTHING, [agent.group_id, other.group_id]) == [theirs.id, mine.id]
    assert ids(session, EVERYTHING, []) == []
    assert ids(session, FrameFilter(agent_id=other.id), [agent.group_id]) == []
    with pytest.raises(NotFoundError):
        get_frame(session, theirs.id, [agent.group_id])


def test_frames_of_however_many_groups_are_paged_both_ways(session: WorkSession, agent: Agent) -> None:
    made = [make_frame(session, agent).id for _ in range(5)]
    groups = [agent.group_id, *range(1_000, 1_600)]
    older = list_frames(session, groups, EVERYTHING, FrameCut(after=made[4], size=2))
    assert [line.id for line in older.rows] == [made[3], made[2]]
    newer = list_frames(session, groups, EVERYTHING, FrameCut(before=made[1], size=2))
    assert newer.rows == older.rows


@pytest.mark.parametrize(
    "wanted",
    [
        FrameFilter(type="Repair"),
        FrameFilter(direction="out"),
        FrameFilter(trade_no="CO1"),
        FrameFilter(command_id="c1"),
        FrameFilter(is_faulty=True),
        FrameFilter(trade_no="CO1", command_id="c1", type="Repair", direction="out"),
    ],
)
def test_each_filter_keeps_what_it_says(session: WorkSession, agent: Agent, wanted: FrameFilter) -> None:
    found = make_frame(
        session, agent, type="Repair", direction="out", trade_no="CO1", command_id="c1", error="late"
    )
    make_frame(session, agent)
    assert ids(session, wanted) == [found.id]
    assert ids(session, wanted, [agent.group_id]) == [found.id]


def test_a_time_range_takes_its_beginning_and_leaves_its_end(session: WorkSession, agent: Agent) -> None:
    made = [make_frame(session, agent, at=NOW + timedelta(seconds=n)).id for n in range(4)]
    wanted = FrameFilter(start=NOW + timedelta(seconds=1), end=NOW + timedelta(seconds=3))
    assert ids(session, wanted) == [made[2], made[1]]
    assert ids(session, FrameFilter(start=NOW + timedelta(hours=1))) == []


def test_a_rare_frame_is_sought_in_spans(session: WorkSession, agent: Agent) -> None:
    rare = make_frame(session, agent, id=1, error="no JSON")
    make_frame(session, agent, id=SCAN_SPAN + 500)
    newest = list_frames(session, None, FrameFilter(is_faulty=True), FrameCut())
    assert (newest.rows, newest.after) == ([], None)
    older = list_frames(session, None, FrameFilter(is_faulty=True), FrameCut(after=newest.searched_to))
    assert [line.id for line in older.rows] == [rare.id]
    assert older.searched_to is None


def test_a_command_shows_how_long_its_first_answer_took(session: WorkSession, agent: Agent) -> None:
    make_frame(session, agent, type="Repair", direction="out", command_id="c1")
    make_frame(session, agent, type="Ack", command_id="c1", latency_ms=12)
    make_frame(session, agent, type="Started", command_id="c1", latency_ms=30)
    lines = list_frames(session, None, EVERYTHING, FrameCut()).rows
    assert [(line.type, line.answer_ms) for line in lines] == [("Started", 30), ("Ack", 12), ("Repair", 12)]


def test_types_are_counted_in_visible_groups(session: WorkSession, agent: Agent, other: Agent) -> None:
    for frame_type in ("Heartbeat", "Heartbeat", "Ack"):
        make_frame(session, agent, type=frame_type)
    make_frame(session, other, type="Hello")
    assert count_types(session, [agent.group_id]) == [("Heartbeat", 2), ("Ack", 1)]
    assert dict(count_types(session, None))["Hello"] == 1


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        (FrameFilter(type="Nonsense"), "type"),
        (FrameFilter(direction="up"), "direction"),
        (FrameFilter(start=NOW, end=NOW), "end"),
    ],
)
def test_a_wrong_filter_is_named(session: WorkSession, wanted: FrameFilter, field: str) -> None:
    with pytest.raises(InvalidError) as error:
        list_frames(session, None, wanted, FrameCut())
    assert error.value.field == field
