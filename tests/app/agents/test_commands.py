"""The states of a command."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import delete, select, update

from agent.answers import Cancelled, Started
from agent.protocol import Ack, Rejected
from app.agents import claims, commands, fences, issuing, overdue, recovery, service
from app.agents.models import Agent, Command, Stop
from app.anomalies.collections import COLLECT_DEADLINE
from app.anomalies.service import VERIFY_DEADLINE
from app.errors import ConflictError
from app.executions.starting import REPAIR_DEADLINE
from app.extensions import db
from app.unit_of_work import WorkSession, unit_of_work
from tests.app.agents.agent_client import hello, new_id
from tests.app.agents.conftest import Member, add_agent, connect, order, stored
from tests.conftest import HandClock
from tests.factories import NOW

pytestmark = pytest.mark.each_engine

TRADE = "TRD1"
FIRST = fences.fence_of_time(NOW)
"""The fence of a Repair issued when the clock fixture has just begun."""
SECOND = timedelta(seconds=1)


def claim(command_id: str, member: Member, now: datetime) -> None:
    """What the dispatcher writes when it sends a command."""
    with unit_of_work() as session:
        command = commands.find(session, command_id)
        assert command is not None
        is_taken_over = claims.is_taken_over(command, member.id)
        session.execute(
            update(Command)
            .where(Command.seq == command.seq)
            .values(claims.claim_values(member.id, is_taken_over, now))
        )


def tell(
    member: Member, change: Any, kind: type[Any], command_id: str, now: datetime, **fields: object
) -> None:
    """Have the agent's message change the command."""
    with unit_of_work() as session:
        message = kind(id=new_id(), command_id=command_id, **fields)
        change(session, session.get_one(Agent, member.id), message, now)


def accept(command_id: str, member: Member, now: datetime) -> None:
    """Claimed and acknowledged."""
    claim(command_id, member, now)
    tell(member, commands.acknowledge, Ack, command_id, now, of=commands.message_id_of(stored(command_id)))


def test_a_second_live_command_of_a_trade_is_refused(member: Member, clock: HandClock) -> None:
    order(member, TRADE, clock())
    with pytest.raises(ConflictError, match="trade_busy"):
        order(member, TRADE, clock())


def test_a_closed_command_frees_its_trade(member: Member, clock: HandClock) -> None:
    first = order(member, TRADE, clock())
    with unit_of_work() as session:
        commands.request_cancel(session, session.merge(stored(first)), "changed my mind", clock())
    assert stored(order(member, TRADE, clock())).state == "pending"
    assert stored(first).state == "cancelled"


def test_the_next_repair_of_a_trade_has_a_fence_above_all_before_it(member: Member, clock: HandClock) -> None:
    first = order(member, TRADE, clock())
    with unit_of_work() as session:
        session.execute(update(Command).where(Command.id == first).values(fence=FIRST + 3, state="finished"))
    assert stored(order(member, TRADE, clock())).fence == FIRST + 4
    assert stored(order(member, "TRD2", clock())).fence == FIRST


def test_a_server_restored_from_a_backup_gives_out_no_fence_again(member: Member, clock: HandClock) -> None:
    """What the database has forgotten was given out earlier: time alone raises the next fence above it."""
    first = order(member, TRADE, clock())
    given_out = stored(first).fence + 5
    with unit_of_work() as session:
        session.execute(delete(Command))
    assert stored(order(member, TRADE, clock.advance(60))).fence > given_out


def test_a_clock_put_back_leaves_the_fences_rising(member: Member, clock: HandClock) -> None:
    first = order(member, TRADE, clock())
    with unit_of_work() as session:
        session.execute(update(Command).values(state="finished"))
    assert stored(order(member, TRADE, clock.advance(-86_400))).fence == stored(first).fence + 1


@pytest.mark.parametrize("year", [1970, 2026, 2060, 9999])
def test_whatever_a_clock_says_a_fence_fits_the_protocol_and_its_frame(year: int) -> None:
    fence = fences.fence_of_time(datetime(year, 1, 1, tzinfo=UTC))
    assert 1 <= fence < 2**30
    assert len(commands.message_id_of(Command(id="f" * 32, fence=fence))) <= 40


def test_a_page_of_repairs_takes_each_trades_next_fence(member: Member, clock: HandClock) -> None:
    first = order(member, TRADE, clock())
    with unit_of_work() as session:
        session.execute(update(Command).where(Command.id == first).values(state="finished"))
        issued = issuing.issue_many(
            session,
            type="Repair",
            group_id=member.group_id,
            orders=[issuing.TradeOrder(TRADE, {}), issuing.TradeOrder("TRD2", {})],
            deadline=timedelta(minutes=1),
            now=clock(),
        )
    assert {trade_no: stored(one).fence for trade_no, one in issued.items()} == {
        TRADE: FIRST + 1,
        "TRD2": FIRST,
    }


def test_a_page_leaves_out_a_trade_that_has_a_live_command(member: Member, clock: HandClock) -> None:
    """Nobody looks first: the index decides, as between two servers."""
    order(member, TRADE, clock())
    with unit_of_work() as session:
        issued = issuing.issue_many(
            session,
            type="Verify",
            group_id=member.group_id,
            orders=[issuing.TradeOrder(TRADE, {}), issuing.TradeOrder("TRD2", {})],
            deadline=timedelta(minutes=1),
            now=clock(),
        )
        of_trade = select(Command.type).where(Command.trade_no == TRADE)
        assert session.scalars(of_trade).all() == ["Repair"]
    assert issued.keys() == {"TRD2"}


def test_the_states_follow_the_agents_messages(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock.advance(1))
    accepted = stored(command_id)
    assert (accepted.state, accepted.accepted_at) == ("accepted", clock())
    assert (accepted.lease_until - clock()).total_seconds() == 60  # type: ignore[operator]
    tell(member, commands.start, Started, command_id, clock.advance(1))
    assert (stored(command_id).state, stored(command_id).started_at) == ("running", clock())
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert commands.finish(session, agent, command_id, clock.advance(1), fence=FIRST).counts
    assert (stored(command_id).state, stored(command_id).finished_at) == ("finished", clock())


def test_another_agent_cannot_start_or_finish_a_command(member: Member, clock: HandClock) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    with pytest.raises(commands.OutOfStateError):
        tell(other, commands.start, Started, command_id, clock())
    with unit_of_work() as session:
        agent = session.get_one(Agent, other.id)
        assert not commands.finish(session, agent, command_id, clock(), fence=FIRST).counts
    assert stored(command_id).state == "accepted"


def test_a_lost_socket_returns_what_was_only_sent(member: Member, clock: HandClock) -> None:
    sent, held = order(member, "TRD1", clock()), order(member, "TRD2", clock())
    claim(sent, member, clock())
    accept(held, member, clock())
    with unit_of_work() as session:
        assert recovery.release_sent(session, member.id) == 1
    assert (stored(sent).state, stored(held).state) == ("pending", "accepted")


def test_a_server_that_starts_returns_what_all_its_agents_were_only_sent(
    member: Member, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = order(member, "TRD1", clock())
    claim(sent, member, clock())
    monkeypatch.setattr(recovery, "AGENTS_AT_ONCE", 2)
    with unit_of_work() as session:
        assert recovery.release_all_sent(session, [901, 902, member.id]) == 1
    assert stored(sent).state == "pending"


def test_the_same_agent_gets_a_lost_command_under_the_same_fence(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    with unit_of_work() as session:
        recovery.release_sent(session, member.id)
    claim(command_id, member, clock())
    assert stored(command_id).fence == FIRST


def test_another_agent_gets_it_under_a_higher_fence(member: Member, clock: HandClock) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    with unit_of_work() as session:
        recovery.release_sent(session, member.id)
    claim(command_id, other, clock())
    assert (stored(command_id).fence, stored(command_id).agent_id) == (FIRST + 1, other.id)


def test_at_the_end_of_its_lease_a_repair_is_commanded_again_with_the_next_fence(
    member: Member, clock: HandClock
) -> None:
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    assert sweep(clock.advance(59)) == 0
    assert sweep(clock.advance(2)) == 1
    assert stored(command_id).state == "pending"
    claim(command_id, member, clock())
    assert stored(command_id).fence == FIRST + 1


def test_a_heartbeat_that_names_a_command_renews_its_lease(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    with unit_of_work() as session:
        commands.renew(session, member.id, [command_id], clock.advance(50))
    assert sweep(clock.advance(50)) == 0
    assert stored(command_id).state == "accepted"


def test_a_result_of_an_older_fence_is_evidence_only(member: Member, clock: HandClock) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    sweep(clock.advance(61))
    claim(command_id, other, clock())
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert not commands.finish(session, agent, command_id, clock(), fence=FIRST).counts
    assert stored(command_id).state == "sent"


def test_a_result_of_an_older_fence_is_evidence_only_though_its_agent_holds_the_command_again(
    member: Member, clock: HandClock
) -> None:
    """Another one had it in between: what the first order did is not the end of the second."""
    other = add_agent("pbap-2", member.group_id, clock())
    command_id = order(member, TRADE, clock())
    for holder in (member, other, member):
        accept(command_id, holder, clock())
        sweep(clock.advance(61))
    accept(command_id, member, clock())
    current = stored(command_id).fence
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert not commands.finish(session, agent, command_id, clock(), fence=FIRST).counts
        assert commands.finish(session, agent, command_id, clock(), fence=current).counts
    assert current > FIRST


def test_a_result_that_comes_before_anyone_took_over_counts(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    sweep(clock.advance(61))
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert commands.finish(session, agent, command_id, clock(), fence=FIRST).counts
    assert stored(command_id).state == "finished"


def test_past_its_deadline_an_unanswered_command_is_expired(member: Member, clock: HandClock) -> None:
    pending = order(member, "TRD1", clock(), seconds=30)
    sent = order(member, "TRD2", clock(), seconds=30)
    claim(sent, member, clock())
    sweep(clock.advance(31))
    assert (stored(pending).state, stored(sent).state) == ("expired", "expired")


def test_past_its_deadline_an_accepted_command_is_indeterminate_until_its_late_result(
    member: Member, clock: HandClock
) -> None:
    command_id = order(member, TRADE, clock(), seconds=30)
    accept(command_id, member, clock())
    sweep(clock.advance(31))
    assert stored(command_id).state == "indeterminate"
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert commands.finish(session, agent, command_id, clock.advance(5), fence=FIRST).counts
    assert stored(command_id).state == "finished"


def test_a_command_taken_over_and_not_answered_is_indeterminate(member: Member, clock: HandClock) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    command_id = order(member, TRADE, clock(), seconds=90)
    accept(command_id, member, clock())
    sweep(clock.advance(61))
    claim(command_id, other, clock())
    sweep(clock.advance(31))
    assert stored(command_id).state == "indeterminate"


def test_a_later_command_of_a_trade_that_nobody_took_is_expired_too(member: Member, clock: HandClock) -> None:
    order(member, TRADE, clock(), seconds=1)
    sweep(clock.advance(2))
    second = order(member, TRADE, clock(), seconds=1)
    sweep(clock.advance(2))
    assert (stored(second).fence, stored(second).state) == (FIRST + 1, "expired")


def test_a_sent_command_nobody_answers_is_sent_again(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    sweep(clock.advance(61))
    assert stored(command_id).state == "pending"


def test_a_rejected_command_is_closed_with_the_agents_words(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    words = {"of": commands.message_id_of(stored(command_id)), "code": "fixer", "reason": "not offered"}
    tell(member, commands.reject, Rejected, command_id, clock(), **words)
    assert (stored(command_id).state, stored(command_id).error) == ("rejected", "fixer: not offered")


@pytest.mark.parametrize(("accepted", "state"), [(False, "cancelled"), (True, "superseded")])
def test_a_cancel_of_a_command_the_agent_does_not_hold_closes_it(
    member: Member, clock: HandClock, accepted: bool, state: str
) -> None:
    command_id = order(member, TRADE, clock())
    (accept if accepted else claim)(command_id, member, clock())
    with unit_of_work() as session:
        commands.request_cancel(session, session.merge(stored(command_id)), "by hand", clock())
    words = {"of": f"{command_id}.cancel", "code": "unknown_command", "reason": "not in the journal"}
    tell(member, commands.reject, Rejected, command_id, clock(), **words)
    assert stored(command_id).state == state


def test_a_cancel_the_agent_obeyed_closes_the_command(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    with unit_of_work() as session:
        commands.request_cancel(session, session.merge(stored(command_id)), "by hand", clock())
    assert stored(command_id).state == "accepted"
    assert stored(command_id).cancel_requested_at == clock()
    tell(member, commands.cancelled, Cancelled, command_id, clock(), reason="by hand")
    assert stored(command_id).state == "cancelled"


def test_a_cancel_whose_agent_is_lost_does_not_wait_for_the_deadline(
    member: Member, clock: HandClock
) -> None:
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    with unit_of_work() as session:
        commands.request_cancel(session, session.merge(stored(command_id)), "by hand", clock())
        recovery.release_sent(session, member.id)
    sweep(clock.advance(1))
    assert (stored(command_id).state, stored(command_id).error) == ("indeterminate", "by hand")


def test_a_command_that_a_lost_agent_may_hold_is_not_said_to_be_cancelled(
    member: Member, clock: HandClock
) -> None:
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    sweep(clock.advance(61))
    with unit_of_work() as session:
        commands.request_cancel(session, session.merge(stored(command_id)), "by hand", clock())
    assert stored(command_id).state == "indeterminate"
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert commands.finish(session, agent, command_id, clock(), fence=FIRST).counts


def reject(member: Member, command_id: str, now: datetime, code: str) -> None:
    of = commands.message_id_of(stored(command_id))
    tell(member, commands.reject, Rejected, command_id, now, of=of, code=code, reason="no")


def test_a_command_its_agent_refuses_is_rejected(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    reject(member, command_id, clock(), "stopped")
    assert (stored(command_id).state, stored(command_id).error) == ("rejected", "stopped: no")


@pytest.mark.parametrize("has_accepted", [True, False])
def test_one_taken_over_and_then_refused_is_indeterminate(
    member: Member, clock: HandClock, has_accepted: bool
) -> None:
    """What its earlier holder did, the agent that refuses it does not know; its Ack may have been lost."""
    other = add_agent("pbap-2", member.group_id, clock())
    command_id = order(member, TRADE, clock())
    (accept if has_accepted else claim)(command_id, member, clock())
    sweep(clock.advance(61))
    claim(command_id, other, clock())
    reject(other, command_id, clock(), "stopped")
    assert (stored(command_id).state, stored(command_id).error) == ("indeterminate", "stopped: no")


def test_one_taken_over_and_then_cancelled_is_indeterminate(member: Member, clock: HandClock) -> None:
    other = add_agent("pbap-2", member.group_id, clock())
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    sweep(clock.advance(61))
    accept(command_id, other, clock())
    tell(other, commands.cancelled, Cancelled, command_id, clock(), reason="by hand")
    assert stored(command_id).state == "indeterminate"
    tell(other, commands.cancelled, Cancelled, command_id, clock.advance(1), reason="by hand")
    assert (stored(command_id).state, stored(command_id).finished_at) == ("indeterminate", clock() - SECOND)


def test_one_issued_again_for_its_trade_is_not_taken_over(member: Member, clock: HandClock) -> None:
    first = order(member, TRADE, clock())
    with unit_of_work() as session:
        session.execute(update(Command).where(Command.id == first).values(fence=FIRST + 9, state="finished"))
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    reject(member, command_id, clock(), "busy")
    assert stored(command_id).state == "rejected"


def test_a_conflict_says_that_the_agent_holds_an_order_of_the_command(
    member: Member, clock: HandClock
) -> None:
    command_id = order(member, TRADE, clock())
    claim(command_id, member, clock())
    reject(member, command_id, clock(), "conflict")
    assert stored(command_id).state == "indeterminate"


def test_a_closed_command_cannot_be_cancelled(member: Member, clock: HandClock) -> None:
    command_id = order(member, TRADE, clock(), seconds=1)
    sweep(clock.advance(2))
    with pytest.raises(ConflictError, match="command_closed"), unit_of_work() as session:
        commands.request_cancel(session, session.merge(stored(command_id)), "late", clock())


def test_listeners_hear_why_a_command_closed(app: Flask, member: Member, clock: HandClock) -> None:
    heard: list[tuple[str, str]] = []

    def listen(session: WorkSession, command: Command, outcome: str) -> None:
        heard.append((command.id, outcome))

    app.extensions["command_closed"] = (listen,)
    command_id = order(member, TRADE, clock(), seconds=1)
    sweep(clock.advance(2))
    assert heard == [(command_id, "expired")]


def test_after_hello_what_the_journal_holds_is_accepted_and_the_rest_sent_again(
    member: Member, clock: HandClock
) -> None:
    held, unheld = order(member, "TRD1", clock()), order(member, "TRD2", clock())
    for command_id in (held, unheld):
        claim(command_id, member, clock())
    assert greet(member, clock(), unfinished=(held,)) == []
    assert (stored(held).state, stored(unheld).state) == ("accepted", "pending")


def test_after_hello_an_unknown_command_is_to_be_cancelled(member: Member, clock: HandClock) -> None:
    assert greet(member, clock(), unfinished=("0" * 32,)) == ["0" * 32]


def test_after_hello_with_a_new_journal_what_it_does_not_hold_is_superseded(
    member: Member, clock: HandClock
) -> None:
    connect(member, clock())
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    greet(member, clock(), journal_id="another")
    assert stored(command_id).state == "superseded"


def test_after_hello_with_the_same_journal_a_finished_command_waits_for_its_result(
    member: Member, clock: HandClock
) -> None:
    connect(member, clock())
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    greet(member, clock.advance(59))
    sweep(clock.advance(30))
    assert stored(command_id).state == "accepted"
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert commands.finish(session, agent, command_id, clock(), fence=FIRST).counts
    assert stored(command_id).state == "finished"


def test_a_repair_that_its_agent_came_back_without_is_soon_indeterminate(
    member: Member, clock: HandClock
) -> None:
    """Its journal was put back from a backup: no result will come, and nobody knows what was done."""
    connect(member, clock())
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    greet(member, clock.advance(5))
    sweep(clock.advance(31))
    assert (stored(command_id).state, stored(command_id).error) == ("indeterminate", recovery.LOST)
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        assert commands.finish(session, agent, command_id, clock(), fence=FIRST).counts


def test_one_that_its_agent_came_back_with_goes_on(member: Member, clock: HandClock) -> None:
    connect(member, clock())
    command_id = order(member, TRADE, clock())
    accept(command_id, member, clock())
    greet(member, clock.advance(5), unfinished=(command_id,))
    sweep(clock.advance(31))
    assert stored(command_id).state == "accepted"


def sweep(now: datetime) -> int:
    """One sweep in its own unit of work."""
    with unit_of_work() as session:
        return overdue.sweep(session, now)


def wanted_of(member: Member, now: datetime, *unfinished: str) -> list[str | None]:
    """The agent says Hello; return the ids of what it is sent again."""
    greet(member, now, unfinished=unfinished)
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        return [
            one.command_id for one in recovery.list_wanted(session, agent, hello(unfinished=unfinished), now)
        ]


def test_after_hello_a_repair_that_is_held_and_still_wanted_is_sent_again(
    member: Member, clock: HandClock
) -> None:
    connect(member, clock())
    held, look = order(member, "TRD1", clock()), order(member, "TRD2", clock(), type="Verify")
    unheld, late = order(member, "TRD3", clock()), order(member, "TRD4", clock(), seconds=5)
    for command_id in (held, look, unheld, late):
        claim(command_id, member, clock())
        accept(command_id, member, clock())
    assert wanted_of(member, clock.advance(6), held, look, late) == [held]


def test_what_a_stop_holds_back_is_not_sent_again_after_hello(member: Member, clock: HandClock) -> None:
    connect(member, clock())
    held = order(member, TRADE, clock())
    claim(held, member, clock())
    accept(held, member, clock())
    with unit_of_work() as session:
        session.add(Stop(scope="all", name="", reason="look", set_by="li.na", set_at=clock()))
    assert wanted_of(member, clock(), held) == []


def greet(member: Member, now: datetime, **fields: object) -> list[str]:
    """The agent says Hello; return the ids it is told to cancel."""
    with unit_of_work() as session:
        agent = session.get_one(Agent, member.id)
        message = hello(**fields)
        is_new_journal = service.introduce(session, agent, message, now)
        return recovery.reconcile(session, agent, message, is_new_journal, now)


@pytest.mark.parametrize("type", ["Repair", "Verify", "Collect"])
def test_a_deadline_given_by_a_clock_a_day_ahead_begins_anew_once_that_is_put_back(
    member: Member, clock: HandClock, type: str
) -> None:
    connect(member, clock.advance(86_400))
    command_id = order(member, None if type == "Collect" else TRADE, clock(), type=type, seconds=600)
    now = clock.advance(-86_400)
    with unit_of_work() as session:
        overdue.sweep(session, now)
    assert stored(command_id).deadline_at == now + timedelta(seconds=600)
    assert not overdue.has_work(db.session, now)
    with unit_of_work() as session:
        overdue.sweep(session, clock.advance(601))
    assert stored(command_id).state == "expired"


def test_a_clock_that_is_put_back_twice_leaves_a_command_time_to_end(
    member: Member, clock: HandClock
) -> None:
    """The second time it was made after its deadline, by its own word."""
    connect(member, clock.advance(86_400))
    command_id = order(member, TRADE, clock(), seconds=600)
    for seconds in (-43_200, -43_200):
        sweep(clock.advance(seconds))
        assert stored(command_id).state == "pending"
        assert not overdue.has_work(db.session, clock())
    sweep(clock.advance(599))
    assert stored(command_id).state == "pending"
    sweep(clock.advance(3_601))
    assert stored(command_id).state == "expired"


def test_no_command_is_given_longer_than_a_deadline_that_stays() -> None:
    assert max(COLLECT_DEADLINE, REPAIR_DEADLINE, VERIFY_DEADLINE) == overdue.LONGEST
