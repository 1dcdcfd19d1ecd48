"""What a real server does with real sockets: handshakes, sessions, bad frames, Acks, revocation."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
import websocket
from sqlalchemy import select

from agent.answers import Cancelled, CollectFinished, Started
from agent.protocol import (
    CLOSE_BAD_DATA,
    CLOSE_GOING_AWAY,
    CLOSE_OVERTAKEN,
    CLOSE_PROTOCOL,
    CLOSE_REPLACED,
    CLOSE_REVOKED,
    CLOSE_TOO_BIG,
    MAX_FRAME_BYTES,
    SERVER_FAILED,
    Ack,
    Cancel,
    Heartbeat,
    Log,
    Rejected,
    Repair,
    Welcome,
)
from app.agents import commands, service
from app.agents.models import Agent, Command, Frame, ReceivedMessage
from app.audit.service import SYSTEM
from app.extensions import db
from app.unit_of_work import unit_of_work
from tests.app.agents.agent_client import AgentClient, hello, new_id
from tests.app.agents.conftest import Member, add_agent, add_group, order, stored
from tests.app.live_server import LiveServer, running_server
from tests.factories import facts_read

Connect = Callable[..., AgentClient]
AGENT_TIME = "2026-03-02T12:00:00Z"


def issue(server: LiveServer, member: Member, trade_no: str, **values: Any) -> str:
    """Write a Repair, as another process does."""
    with server.app.app_context():
        return order(member, trade_no, datetime.now(UTC), **values)


def state_of(command_id: str) -> str:
    """Return the command's state, in an application context."""
    command = commands.find(db.session, command_id)
    assert command is not None
    return command.state


def upgrade_status(server: LiveServer, path: str, *headers: str) -> int:
    """Ask for a WebSocket; return the status of the answer."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *headers,
    ]
    with socket.create_connection(server.address, timeout=10) as raw:
        raw.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(raw.recv(4096).split(b" ", 2)[1])


def test_who_may_shake_hands(server: LiveServer, live_member: Member) -> None:
    bearer = f"Authorization: Bearer {live_member.token}"
    assert upgrade_status(server, "/agent") == 401
    assert upgrade_status(server, "/agent", "Authorization: Bearer pcl_wrong") == 401
    assert upgrade_status(server, "/agent", bearer, "Origin: http://127.0.0.1") == 403
    assert upgrade_status(server, "/agent", bearer, "Content-Length: 5") == 400
    assert upgrade_status(server, "/ui") == 403
    assert upgrade_status(server, "/ui", f"Origin: http://127.0.0.1:{server.port}") == 401
    assert upgrade_status(server, "/agent", bearer) == 101


def test_no_compression_is_negotiated(server: LiveServer, live_member: Member, connected: Connect) -> None:
    offer = "Sec-WebSocket-Extensions: permessage-deflate"
    client = connected(live_member.token, (offer,))
    assert "sec-websocket-extensions" not in (client.ws.getheaders() or {})
    client.close()


def test_frames_sent_with_the_handshake_are_not_lost(server: LiveServer, live_member: Member) -> None:
    frame = websocket.ABNF.create_frame(
        msgspec.json.encode(hello()).decode(), websocket.ABNF.OPCODE_TEXT
    ).format()
    request = (
        f"GET /agent HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer {live_member.token}\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    with socket.create_connection(server.address, timeout=10) as raw:
        raw.sendall(request.encode() + frame)
        server.until(lambda: db.session.get_one(Agent, live_member.id).boot_id == "boot")


def test_a_session_makes_the_agent_online(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    def presence() -> bool:
        (known,) = service.list_agents(db.session, group_ids=[live_member.group_id])
        return known.is_online and known.agent.fixer_codes == ["interRecharge"]

    assert server.until(presence)
    client.close()
    assert server.until(lambda: db.session.get_one(Agent, live_member.id).connected_at is None)


def test_another_start_of_an_agent_replaces_the_first(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Connect
) -> None:
    second = connected(live_member.token)
    assert second.greet(boot_id="another").epoch == 2
    assert client.close_code() == CLOSE_REPLACED
    issue(server, live_member, "TRD1")
    assert second.take(Repair).trade_no == "TRD1"
    second.close()


def test_a_new_socket_of_the_same_start_only_closes_the_old_one(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Connect
) -> None:
    second = connected(live_member.token)
    second.greet()
    assert client.close_code() == CLOSE_OVERTAKEN
    issue(server, live_member, "TRD1")
    assert second.take(Repair).trade_no == "TRD1"


@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "silent"])
def test_a_socket_given_up_at_its_handshake_never_ends_the_agent_that_dialled_again(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Connect, is_lost: bool
) -> None:
    # The server was slow: the handshake the agent gave up is answered after the one it works on.
    given_up = connected(live_member.token)
    assert given_up.expect(Welcome).epoch == 2
    if is_lost:
        given_up.ws.shutdown()
    assert client.close_code() == CLOSE_OVERTAKEN
    again = connected(live_member.token)
    again.greet()
    issue(server, live_member, "TRD1")
    assert again.take(Repair).trade_no == "TRD1"


def test_a_hello_after_a_later_handshake_is_answered_with_a_new_dial(
    live_member: Member, connected: Connect
) -> None:
    first = connected(live_member.token)
    first.expect(Welcome)
    given_up = connected(live_member.token)
    given_up.expect(Welcome)
    first.send(hello())
    assert first.close_code() == CLOSE_OVERTAKEN


def test_a_command_written_elsewhere_is_sent_and_acknowledged(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    command_id = issue(server, live_member, "TRD1")
    repair = client.take(Repair)
    assert (repair.trade_no, repair.fixer_code) == ("TRD1", "interRecharge")
    assert 0 < repair.deadline_ms <= 3_600_000
    server.until(lambda: state_of(command_id) == "accepted")
    client.send(Started(id=new_id(), command_id=command_id))
    server.until(lambda: state_of(command_id) == "running")


def test_a_cancel_reaches_the_agent(server: LiveServer, live_member: Member, client: AgentClient) -> None:
    command_id = issue(server, live_member, "TRD1")
    client.take(Repair)
    server.until(lambda: state_of(command_id) == "accepted")
    with server.app.app_context(), unit_of_work() as session:
        command = commands.find(session, command_id)
        assert command is not None
        commands.request_cancel(session, command, "by hand", datetime.now(UTC))
    assert client.expect(Cancel).reason == "by hand"
    client.send(Cancelled(id=new_id(), command_id=command_id, reason="by hand"))
    server.until(lambda: state_of(command_id) == "cancelled")


def test_a_repeated_durable_message_is_acknowledged_and_applied_once(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    command_id = issue(server, live_member, "TRD1")
    client.take(Repair)
    message = Cancelled(id=new_id(), command_id=command_id)
    for _ in range(2):
        client.send(message)
        assert client.expect(Ack).of == message.id
    with server.app.app_context():
        stored = select(ReceivedMessage).where(ReceivedMessage.message_id == message.id)
        assert len(db.session.scalars(stored).all()) == 1


def test_a_result_of_an_unknown_command_is_rejected(server: LiveServer, client: AgentClient) -> None:
    message = Cancelled(id=new_id(), command_id="0" * 32)
    client.send(message)
    answer = client.expect(Rejected)
    assert (answer.of, answer.code) == (message.id, "state")
    assert answer.reason.startswith("The frame does not fit the state of its command.")
    assert server.until(lambda: kept_error(message.id)) == f"state: {answer.reason}"


def kept_error(message_id: str) -> str | None:
    """Return the error a frame of an agent was kept with, None where it is not kept yet."""
    kept = select(Frame.error).where(Frame.message_id == message_id, Frame.direction == "in")
    return db.session.scalars(kept).one_or_none()


def test_a_trailer_nobody_asked_for_is_kept_with_its_error(server: LiveServer, client: AgentClient) -> None:
    figures = {"run_id": 1, "shard": 0, "chunks": 0, "rows": 0, "amount_minor": 0, "scanned": 0}
    message = CollectFinished(id=new_id(), command_id="1" * 32, unverified=0, duration_ms=1, **figures)
    client.send(message)
    assert client.expect(Rejected).of == message.id
    assert (server.until(lambda: kept_error(message.id)) or "").startswith("task: ")


def test_hello_comes_first_or_the_agent_is_sent_away(
    server: LiveServer, live_member: Member, connected: Connect
) -> None:
    client = connected(live_member.token)
    client.send(Heartbeat(id="early", agent_time=AGENT_TIME))
    assert (answer := client.expect(Rejected)).of == "early"
    assert answer.code == "state"
    assert client.close_code() == CLOSE_PROTOCOL
    assert server.until(lambda: kept_error("early")) == "state: Hello comes first"


def test_a_result_before_hello_is_not_refused_for_good(
    server: LiveServer, live_member: Member, connected: Connect
) -> None:
    """Its Hello was lost, not the result: the agent dials again and sends it again."""
    client = connected(live_member.token)
    client.send(Cancelled(id=new_id(), command_id="0" * 32))
    assert client.expect(Rejected).code == SERVER_FAILED
    assert client.close_code() == CLOSE_PROTOCOL


def test_words_of_an_agent_are_kept_without_nul(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    command_id = issue(server, live_member, "TRD1")
    client.take(Repair)
    client.send(Cancelled(id=new_id(), command_id=command_id, reason="by\0 hand"))
    client.expect(Ack)
    with server.app.app_context():
        assert stored(command_id).error == "by hand"


def test_a_result_of_another_kind_of_command_is_refused_for_good_and_kept(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    command_id = issue(server, live_member, "TRD1")
    client.take(Repair)
    with server.app.app_context():
        message = facts_read(server.until(lambda: commands.find(db.session, command_id)), "consistent")
    client.send(message)
    answer = client.expect(Rejected)
    assert (answer.of, answer.code) == (message.id, "malformed")
    assert (server.until(lambda: kept_error(message.id)) or "").startswith("malformed: ")
    assert server.until(lambda: state_of(command_id)) == "accepted"


def test_hello_is_said_once(server: LiveServer, live_member: Member, connected: Connect) -> None:
    client = connected(live_member.token)
    client.send(hello())
    again = new_id()
    client.send(hello(id=again))
    assert client.expect(Rejected).of == again
    assert server.until(lambda: kept_error(again)) == "state: Hello is said once, first"
    client.close()


@pytest.mark.parametrize(
    ("text", "of"),
    [
        ("not json", None),
        ('{"type":"Nonsense","id":"x1"}', "x1"),
        ('{"type":"Heartbeat","id":"x2","agent_time":"now","more":1}', "x2"),
        ('{"type":"Heartbeat","id":3}', None),
        ("[" * 5000, None),
    ],
)
def test_a_malformed_frame_is_rejected_and_kept(
    server: LiveServer, live_member: Member, client: AgentClient, text: str, of: str | None
) -> None:
    client.send_text(text)
    answer = client.expect(Rejected)
    assert (answer.of, answer.code) == (of, "malformed")
    kept = server.until(
        lambda: db.session.scalars(
            select(Frame).where(Frame.type == "unreadable", Frame.agent_id == live_member.id)
        ).one_or_none()
    )
    assert kept.body == text
    assert kept.error


def test_bad_frames_close_their_own_socket_and_no_other(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Connect
) -> None:
    with server.app.app_context():
        other = add_agent(new_id(), live_member.group_id, datetime.now(UTC))
    for payload, code in (
        (b"x" * (MAX_FRAME_BYTES + 1), CLOSE_TOO_BIG),
        (b'{"type":"\xff\xfe"}', CLOSE_BAD_DATA),
    ):
        bad = connected(other.token)
        bad.send_bytes_as_text(payload)
        assert bad.close_code() == code
    issue(server, live_member, "TRD1")
    assert client.take(Repair).trade_no == "TRD1"
    refused = select(Frame).where(Frame.type == "unreadable", Frame.agent_id == other.id).order_by(Frame.id)
    kept = server.until(lambda: found if len(found := db.session.scalars(refused).all()) == 2 else None)
    assert [frame.error[:4] for frame in kept] == ["1009", "1007"]
    assert kept[0].size > MAX_FRAME_BYTES
    assert kept[1].size > 0


def test_a_message_in_fragments_is_one_message(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    log = Log(id=new_id(), level="error", text="账户 " + "x" * 3000)
    client.send_in_pieces(msgspec.json.encode(log).decode(), 700)
    server.until(lambda: last_error(live_member).startswith("账户"))


def test_what_an_agent_complains_of_is_kept_masked(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    client.send(Log(id=new_id(), level="error", text="no payout to card 4111111111111111"))
    server.until(lambda: last_error(live_member) == "no payout to card 4111****1111")


def test_a_largest_message_passes(server: LiveServer, live_member: Member, client: AgentClient) -> None:
    log = Log(id=new_id(), level="error", text="")
    room = MAX_FRAME_BYTES - len(msgspec.json.encode(log))
    client.send(msgspec.structs.replace(log, text="y" * room))
    server.until(lambda: last_error(live_member).startswith("y"))


def test_frames_of_both_ways_are_kept_masked_with_their_latency(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    command_id = issue(server, live_member, "TRD1")
    client.take(Repair)
    client.send(Log(id=new_id(), command_id=command_id, level="info", text="card 4111111111111111"))
    server.until(lambda: len(kept_frames(command_id)) == 3)
    with server.app.app_context():
        repair, ack, log = kept_frames(command_id)
    assert [(one.direction, one.type) for one in (repair, ack, log)] == [
        ("out", "Repair"),
        ("in", "Ack"),
        ("in", "Log"),
    ]
    assert {one.trade_no for one in (repair, ack, log)} == {"TRD1"}
    assert ack.latency_ms is not None
    assert "4111****1111" in log.body


def last_error(member: Member) -> str:
    """Return what the agent last complained of."""
    return db.session.get_one(Agent, member.id).last_error


def kept_frames(command_id: str) -> list[Frame]:
    """Return the command's conversation."""
    return list(db.session.scalars(select(Frame).where(Frame.command_id == command_id).order_by(Frame.id)))


def test_a_revoked_agent_is_closed_and_kept_out(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    with server.app.app_context(), unit_of_work() as session:
        service.revoke(session, live_member.id, actor=SYSTEM, reason="lost", now=datetime.now(UTC))
    assert client.close_code() == CLOSE_REVOKED
    bearer = f"Authorization: Bearer {live_member.token}"
    assert upgrade_status(server, "/agent", bearer) == 401


def test_a_new_token_ends_the_session_of_the_old_one(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Connect
) -> None:
    with server.app.app_context(), unit_of_work() as session:
        _, token = service.rotate(session, live_member.id, actor=SYSTEM, reason="lost", now=datetime.now(UTC))
    assert client.close_code() == CLOSE_REVOKED
    connected(token).greet()


def test_a_lost_agents_command_goes_to_another(
    server: LiveServer, live_member: Member, client: AgentClient, connected: Connect
) -> None:
    command_id = issue(server, live_member, "TRD1")
    lost = client.take(Repair)
    with server.app.app_context():
        other = add_agent(new_id(), live_member.group_id, datetime.now(UTC))
    second = connected(other.token)
    second.greet()
    client.ws.shutdown()
    repair = second.take(Repair)
    assert (repair.command_id, repair.fence) == (command_id, lost.fence + 1)


def test_the_more_important_command_is_sent_first(
    server: LiveServer, live_member: Member, connected: Connect
) -> None:
    for number, priority in enumerate([0, 3, 1, 2]):
        issue(server, live_member, f"TRD{number}", priority=priority)
    client = connected(live_member.token)
    client.greet()
    assert [client.take(Repair).trade_no for _ in range(4)] == ["TRD1", "TRD3", "TRD2", "TRD0"]


def test_commands_are_sent_once_each_and_no_more_than_the_limit_in_flight(
    server: LiveServer, live_member: Member, connected: Connect
) -> None:
    for number in range(40):
        issue(server, live_member, f"TRD{number}")
    client = connected(live_member.token)
    client.greet()
    first = {client.take(Repair).trade_no for _ in range(32)}
    assert len(first) == 32
    with server.app.app_context():
        of_group = select(Command.state).where(Command.group_id == live_member.group_id)
        states = db.session.scalars(of_group).all()
    assert states.count("pending") == 8


def test_a_fixer_the_agent_does_not_offer_stays_pending(
    server: LiveServer, live_member: Member, connected: Connect
) -> None:
    client = connected(live_member.token)
    client.greet(fixer_codes=("somethingElse",))
    unoffered = issue(server, live_member, "TRD1")
    with server.app.app_context():
        verify = order(live_member, "TRD2", datetime.now(UTC), type="Verify")
    server.until(lambda: state_of(verify) == "sent")
    assert server.until(lambda: state_of(unoffered) == "pending")


def test_a_restarted_server_finds_its_agents_and_commands_again(live_server: LiveServer) -> None:
    with live_server.app.app_context():
        now = datetime.now(UTC)
        member = add_agent("pbap-1", add_group("PBAP", now), now)
    client = AgentClient(live_server, member.token)
    client.greet()
    command_id = issue(live_server, member, "TRD1")
    client.take(Repair)
    live_server.until(lambda: state_of(command_id) == "accepted")
    live_server.ask_to_stop()
    assert client.close_code() == CLOSE_GOING_AWAY
    client.ws.shutdown()
    assert live_server.stop() == 0
    with running_server(live_server.settings) as again:
        back = AgentClient(again, member.token)
        assert back.greet(unfinished=(command_id,)).epoch == 2
        back.send(Started(id=new_id(), command_id=command_id))
        again.until(lambda: state_of(command_id) == "running")
        back.ws.shutdown()


def test_an_agent_that_comes_back_is_sent_again_at_once_what_is_still_its_to_repair(
    server: LiveServer, live_member: Member, connected: Connect
) -> None:
    client = connected(live_member.token)
    client.greet()
    wanted, unwanted = issue(server, live_member, "TRD1"), issue(server, live_member, "TRD2")
    sent = [client.take(Repair) for _ in range(2)]
    server.until(lambda: [state_of(one) for one in (wanted, unwanted)] == ["accepted", "accepted"])
    client.ws.shutdown()
    server.until(lambda: db.session.get_one(Agent, live_member.id).connected_at is None)
    with server.app.app_context(), unit_of_work() as session:
        command = session.scalars(select(Command).where(Command.id == unwanted)).one()
        commands.request_cancel(session, command, "wrong trade", datetime.now(UTC))
    back = connected(live_member.token)
    gone = "0" * 32
    back.greet(boot_id="another", unfinished=(wanted, unwanted, gone))
    told = {}
    while len(told) < 3:
        message = back.receive()
        if isinstance(message, Repair | Cancel):
            told[message.command_id] = message
    assert {command_id: type(message) for command_id, message in told.items()} == {
        wanted: Repair,
        unwanted: Cancel,
        gone: Cancel,
    }
    [first] = [one for one in sent if one.command_id == wanted]
    assert (told[wanted].id, told[wanted].fence) == (first.id, first.fence)
    assert server.until(lambda: state_of(wanted) == "accepted")
