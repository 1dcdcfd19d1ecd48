"""The stop switch: who sets and lifts it, what it withdraws, and that nothing slips past it."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from agent.protocol import Heartbeat, Rejected
from app.agents import commands, local_stops, service, standing, stops
from app.agents.models import Agent, Command, Stop
from app.agents.presence import Beat, Gathered
from app.agents.stops import Target
from app.audit.models import AuditEntry
from app.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from app.executions.models import Attempt
from app.executions.starting import Order, start_attempt, start_attempts
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup
from tests.app.agents.agent_client import hello
from tests.factories import (
    FIXER,
    NOW,
    PERSON,
    hand_to,
    make_agent,
    make_anomaly,
    make_group,
    make_plan,
)

pytestmark = pytest.mark.each_engine

WHY = "the amounts look wrong"


@pytest.fixture
def group(session: WorkSession) -> SystemGroup:
    return make_group(session)


def stop(session: WorkSession, group_ids: list[int] | None = None, **target: int) -> Stop:
    return stops.set_stop(session, Target(**target), reason=WHY, actor=PERSON, group_ids=group_ids, now=NOW)


def lift(session: WorkSession, one: Stop, *, is_admin: bool = True, reason: str = "all is well") -> Stop:
    return stops.lift(
        session, one.id, reason=reason, actor=PERSON, group_ids=None, is_admin=is_admin, now=NOW
    )


def pending_repair(session: WorkSession, group: SystemGroup, **columns: object) -> Command:
    """A repair that was ordered and not sent."""
    plan = session.info.setdefault("plans", {}).get(group.id) or make_plan(session, group)
    session.info["plans"][group.id] = plan
    anomaly = make_anomaly(session, group, **columns)
    start_attempt(session, anomaly, plan, Order("tick", PERSON, "", NOW))
    command = commands.find_live(session, group.id, anomaly.trade_no)
    assert command is not None
    return command


# ---- setting and lifting


def test_a_stop_is_a_row_with_its_reason_and_is_audited(session: WorkSession, group: SystemGroup) -> None:
    one = stop(session, group_id=group.id)
    assert (one.scope, one.name, one.reason, one.set_by, one.set_at) == ("group", "PBAP", WHY, "li.na", NOW)
    lift(session, one)
    assert (one.lifted_by, one.lifted_at, one.lift_reason) == ("li.na", NOW, "all is well")
    entries = session.scalars(select(AuditEntry).where(AuditEntry.object_type == "stop")).all()
    assert [(entry.action, entry.sys_code, entry.reason) for entry in entries] == [
        ("stop.set", "PBAP", WHY),
        ("stop.lift", "PBAP", "all is well"),
    ]
    assert standing.list_standing(session) == []


def test_both_take_a_reason(session: WorkSession, group: SystemGroup) -> None:
    with pytest.raises(InvalidError):
        stops.set_stop(session, Target(), reason=" ", actor=PERSON, group_ids=None, now=NOW)
    one = stop(session)
    with pytest.raises(InvalidError):
        lift(session, one, reason="")


def test_one_stop_stands_for_a_target_and_another_after_it_is_lifted(
    session: WorkSession, group: SystemGroup
) -> None:
    one = stop(session, group_id=group.id)
    with pytest.raises(ConflictError) as again:
        stop(session, group_id=group.id)
    assert again.value.code == "stop_stands"
    lift(session, one)
    with pytest.raises(ConflictError) as twice:
        lift(session, one)
    assert twice.value.code == "stop_lifted"
    assert stop(session, group_id=group.id).id != one.id


def test_the_database_itself_keeps_two_from_standing(session: WorkSession, group: SystemGroup) -> None:
    stop(session)
    with pytest.raises(IntegrityError), session.begin_nested():
        session.execute(insert(Stop).values(scope="all", name="", reason=WHY, set_by="x", set_at=NOW))


def test_everything_is_stopped_by_who_sees_everything_and_lifted_by_an_administrator(
    session: WorkSession, group: SystemGroup
) -> None:
    with pytest.raises(ForbiddenError):
        stop(session, [group.id])
    one = stop(session)
    with pytest.raises(ForbiddenError):
        lift(session, one, is_admin=False)
    assert one.lifted_at is None


def test_what_one_may_not_see_one_may_not_stop(session: WorkSession, group: SystemGroup) -> None:
    other = make_group(session, "PBMS")
    agent = make_agent(session, other)
    with pytest.raises(NotFoundError):
        stop(session, [group.id], group_id=other.id)
    with pytest.raises(NotFoundError):
        stop(session, [group.id], agent_id=agent.id)
    theirs = stop(session, group_id=other.id)
    with pytest.raises(NotFoundError):
        stops.get_stop(session, theirs.id, [group.id])
    assert standing.list_standing(session, [group.id]) == []


# ---- what it withdraws


@pytest.mark.parametrize("scope", ["all", "group"])
def test_pending_repairs_go_back_to_open_with_an_explained_row(
    session: WorkSession, group: SystemGroup, scope: str
) -> None:
    make_agent(session, group)
    command = pending_repair(session, group)
    elsewhere = pending_repair(session, make_group(session, "PBMS"))
    stop(session, **({} if scope == "all" else {"group_id": group.id}))
    attempt = session.scalars(select(Attempt).where(Attempt.command_id == command.id)).unique().one()
    anomaly = attempt.execution.anomaly
    assert (command.state, attempt.outcome, anomaly.state) == ("cancelled", "cancelled", "open")
    assert (command.error, anomaly.failed_attempts) == (f"stopped by li.na: {WHY}", 0)
    assert elsewhere.state == ("cancelled" if scope == "all" else "pending")


def test_what_an_agent_holds_is_asked_to_stop_and_reads_go_on(
    session: WorkSession, group: SystemGroup
) -> None:
    agent = make_agent(session, group)
    command = pending_repair(session, group)
    hand_to(session, command, agent)
    look = commands.issue(
        session,
        type="Verify",
        group_id=group.id,
        message={"trade_no": "T1"},
        deadline=timedelta(minutes=5),
        now=NOW,
        trade_no="T1",
    )
    stop(session, group_id=group.id)
    assert (command.state, command.cancel_requested_at) == ("running", NOW)
    assert (look.state, look.cancel_requested_at) == ("pending", None)


def test_a_stop_of_one_agent_leaves_the_others_their_work(session: WorkSession, group: SystemGroup) -> None:
    one, other = make_agent(session, group), make_agent(session, group)
    theirs, free = pending_repair(session, group), pending_repair(session, group)
    hand_to(session, theirs, other)
    ours = pending_repair(session, group)
    hand_to(session, ours, one)
    stop(session, agent_id=one.id)
    assert ours.cancel_requested_at == NOW
    assert (theirs.cancel_requested_at, free.state) == (None, "pending")
    stop(session, agent_id=other.id)
    assert (theirs.cancel_requested_at, free.state) == (NOW, "cancelled")


def test_what_another_process_issued_in_the_same_moment_is_withdrawn_a_second_later(
    session: WorkSession, group: SystemGroup
) -> None:
    agent = make_agent(session, group)
    pending, sent = pending_repair(session, group), pending_repair(session, group)
    session.add(Stop(scope="all", name="", reason=WHY, set_by="x", set_at=NOW))
    hand_to(session, sent, agent)
    assert stops.has_work(session)
    assert stops.enforce(session, NOW) == 2
    assert (pending.state, sent.cancel_requested_at) == ("cancelled", NOW)
    assert stops.enforce(session, NOW) == 0


def test_thousands_are_withdrawn_in_batches(
    session: WorkSession, group: SystemGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_agent(session, group)
    monkeypatch.setattr(stops, "BATCH", 2)
    issued = [pending_repair(session, group) for _each in range(5)]
    stop(session)
    rounds = [stops.enforce(session, NOW) for _each in range(3)]
    assert rounds == [2, 1, 0]
    assert {command.state for command in issued} == {"cancelled"}


# ---- what it keeps from beginning


def test_nothing_is_ordered_while_it_stands_and_all_is_after(
    session: WorkSession, group: SystemGroup
) -> None:
    make_agent(session, group)
    plan, anomaly = make_plan(session, group), make_anomaly(session, group)
    one = stop(session, group_id=group.id)
    order = Order("click", PERSON, "now", NOW)
    assert start_attempts(session, [anomaly], plan, order) == []
    with pytest.raises(ConflictError) as held:
        start_attempt(session, anomaly, plan, order)
    assert held.value.code == "stopped_group"
    assert held.value.params == {"name": "PBAP", "who": "li.na", "why": WHY}
    assert anomaly.state == "open"
    lift(session, one)
    assert start_attempt(session, anomaly, plan, order).number == 1


def test_an_agent_s_stop_blocks_where_no_other_offers_the_fixer(
    session: WorkSession, group: SystemGroup
) -> None:
    able, unable = make_agent(session, group), make_agent(session, group, codes=("other",))
    stop(session, agent_id=able.id)
    block = standing.find_block(session, group.id, FIXER, NOW)
    assert block is not None
    assert (block.scope, block.name) == ("agent", able.name)
    assert standing.find_block(session, group.id, "other", NOW) is None
    unable.stopped_here = "changing disks"
    block = standing.find_block(session, group.id, "other", NOW)
    assert block is not None
    assert (block.scope, block.why, block.told()) == (
        "here",
        "changing disks",
        f"local stop of {unable.name}: changing disks",
    )


def test_where_nobody_is_online_no_agent_s_stop_is_to_blame(session: WorkSession, group: SystemGroup) -> None:
    agent = make_agent(session, group, is_online=False)
    stop(session, agent_id=agent.id)
    assert standing.find_block(session, group.id, FIXER, NOW) is None


# ---- the agent's own stop


def beat(session: WorkSession, agent: Agent, stopped: str | None, seconds: int = 0) -> None:
    """What a heartbeat of the agent writes, so long after NOW."""
    now = NOW + timedelta(seconds=seconds)
    heartbeat = Heartbeat(id="b", stopped=stopped, agent_time=now.isoformat())
    Gathered({agent.id: now}, {agent.id: Beat(heartbeat, now, agent.epoch)}).write(session)
    session.flush()
    session.expire_all()


def test_a_heartbeat_says_whether_an_agent_is_stopped_on_its_host(
    session: WorkSession, group: SystemGroup
) -> None:
    agent = make_agent(session, group)
    beat(session, agent, "changing disks\0" + "x" * 400)
    assert agent.stopped_here is not None
    assert (agent.stopped_here[:14], len(agent.stopped_here)) == ("changing disks", 300)
    assert agent.id in standing.read_holds(session).agent_ids
    beat(session, agent, None)
    assert agent.stopped_here is None


def test_since_when_a_local_stop_is_known_stays_until_it_is_over(
    session: WorkSession, group: SystemGroup
) -> None:
    agent = make_agent(session, group)
    for seconds, reason in ((10, "disks"), (20, "disks"), (30, "more disks")):
        beat(session, agent, reason, seconds)
    assert (agent.stopped_here, agent.stopped_here_at) == ("more disks", NOW + timedelta(seconds=10))
    beat(session, agent, None, 40)
    assert agent.stopped_here_at is None
    # Kept by a server before it kept a time: from the next word on.
    agent.stopped_here = "disks"
    beat(session, agent, "disks", 50)
    assert agent.stopped_here_at == NOW + timedelta(seconds=50)


def test_a_hello_tells_of_a_local_stop_too(session: WorkSession, group: SystemGroup) -> None:
    agent = make_agent(session, group)
    service.introduce(session, agent, hello(stopped="disks"), NOW)
    assert (agent.stopped_here, agent.stopped_here_at) == ("disks", NOW)
    service.introduce(session, agent, hello(), NOW)
    assert (agent.stopped_here, agent.stopped_here_at) == (None, None)


def test_of_a_revoked_agent_no_local_stop_is_kept(session: WorkSession, group: SystemGroup) -> None:
    agent = make_agent(session, group)
    beat(session, agent, "disks")
    service.revoke(session, agent.id, actor=PERSON, reason="replaced", now=NOW)
    assert (agent.stopped_here, agent.stopped_here_at) == (None, None)
    beat(session, agent, "disks", 10)
    assert agent.stopped_here is None
    service.rotate(session, agent.id, actor=PERSON, reason="needed again", now=NOW)
    beat(session, agent, "disks", 20)
    assert agent.stopped_here == "disks"


def test_a_refused_repair_tells_it_at_once_and_spends_nothing(
    session: WorkSession, group: SystemGroup
) -> None:
    agent = make_agent(session, group)
    command = pending_repair(session, group)
    hand_to(session, command, agent)
    command.state = "sent"
    message = Rejected(
        id="r", command_id=command.id, of=commands.message_id_of(command), code="stopped", reason="disks"
    )
    local_stops.note_refusal(session, agent, message, NOW)
    commands.reject(session, agent, message, NOW)
    attempt = session.scalars(select(Attempt)).unique().one()
    anomaly = attempt.execution.anomaly
    assert (agent.stopped_here, command.state, command.error) == ("disks", "rejected", "stopped: disks")
    assert (anomaly.state, anomaly.failed_attempts, attempt.outcome) == ("open", 0, "rejected")
    assert start_attempts(session, [anomaly], session.info["plans"][group.id], _tick()) == []


def test_any_other_refusal_says_nothing_of_a_stop(session: WorkSession, group: SystemGroup) -> None:
    agent = make_agent(session, group)
    local_stops.note_refusal(session, agent, Rejected(id="r", of=None, code="busy", reason="256"), NOW)
    assert agent.stopped_here is None


def _tick() -> Order:
    return Order("tick", PERSON, "", NOW)
