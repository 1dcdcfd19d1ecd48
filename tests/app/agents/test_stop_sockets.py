"""The stop switch over real sockets: set by another process, and told by the agent itself."""

from datetime import UTC, datetime

from agent.answers import Cancelled, Started
from agent.protocol import Cancel, Heartbeat, Rejected, Repair
from app.agents import commands, service, stops
from app.agents.stops import Target
from app.audit.service import SYSTEM
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import AgentClient, new_id
from tests.app.agents.conftest import Member, order
from tests.app.live_server import LiveServer

WHY = "look first"


def issue(server: LiveServer, member: Member, trade_no: str, kind: str = "Repair") -> str:
    """Write a command, as another process does; return its id."""
    with server.app.app_context():
        return order(member, trade_no, datetime.now(UTC), type=kind)


def state_of(command_id: str) -> str:
    command = commands.find(db.session, command_id)
    assert command is not None
    return command.state


def test_a_stop_set_elsewhere_cancels_at_once_and_lets_nothing_through_until_it_is_lifted(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    running = issue(server, live_member, "TRD1")
    repair = client.take(Repair)
    client.send(Started(id=new_id(), command_id=repair.command_id))
    server.until(lambda: state_of(running) == "running")
    with server.app.app_context(), unit_of_work() as session:
        target, now = Target(group_id=live_member.group_id), datetime.now(UTC)
        stop = stops.set_stop(session, target, reason=WHY, actor=SYSTEM, group_ids=None, now=now)
    assert client.expect(Cancel).reason == f"stopped by piculus: {WHY}"
    client.send(Cancelled(id=new_id(), command_id=repair.command_id, reason=WHY))
    server.until(lambda: state_of(running) == "cancelled")
    withdrawn = issue(server, live_member, "TRD2")
    look = issue(server, live_member, "TRD3", "Verify")
    verify = client.receive_command()
    assert verify.command_id == look
    server.until(lambda: state_of(withdrawn) == "cancelled")
    with server.app.app_context(), unit_of_work() as session:
        values = {"reason": "well", "actor": SYSTEM, "group_ids": None, "is_admin": True}
        stops.lift(session, stop.id, **values, now=datetime.now(UTC))  # type: ignore[arg-type]
    again = issue(server, live_member, "TRD2")
    assert client.expect(Repair).command_id == again


def test_an_agent_stopped_on_its_host_is_sent_no_repair_until_it_says_otherwise(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    refused = issue(server, live_member, "TRD1")
    repair = client.expect(Repair)
    client.send(Rejected(id=new_id(), command_id=refused, of=repair.id, code="stopped", reason=WHY))

    def is_known() -> bool:
        agent = service.get(db.session, live_member.id)
        return (agent.stopped_here, state_of(refused)) == (WHY, "rejected")

    server.until(is_known)
    look = issue(server, live_member, "TRD3", "Verify")
    assert client.receive_command().command_id == look
    at = datetime.now(UTC).isoformat()
    client.send(Heartbeat(id=new_id(), stopped=None, agent_time=at))
    server.until(lambda: service.get(db.session, live_member.id).stopped_here is None)
    again = issue(server, live_member, "TRD1")
    assert client.expect(Repair).command_id == again
