"""An agent of an older version: it names no new ability, and refuses every field it does not know."""

from collections.abc import Callable
from typing import Final, Literal

import msgspec
import pytest

from agent.answers import AnomaliesReported, Cancelled
from agent.message import Message
from agent.protocol import (
    Ack,
    Cancel,
    Collect,
    Hello,
    Rejected,
    Repair,
    Verify,
    Welcome,
    decode_to_server,
    encode,
)
from app.agents.models import Agent
from app.extensions import db
from tests.app.agents.agent_client import AgentClient, new_id
from tests.app.agents.conftest import Member, order
from tests.app.agents.test_sockets import issue, state_of
from tests.app.live_server import LiveServer
from tests.faults.conftest import Scene

FIELDS_OF_VERSION_1: Final = {
    "Welcome": {"epoch", "server_time", "heartbeat_ms", "group"},
    "Collect": {"run_id", "fixer_codes", "window_start", "window_end", "shard", "shards", "deadline_ms"},
    "Repair": {"trade_no", "fixer_code", "row_hash", "fence", "deadline_ms"},
    "Verify": {"trade_no", "fence", "deadline_ms"},
    "Cancel": {"reason"},
    "Ack": {"of"},
    "Rejected": {"of", "code", "reason"},
}
"""What the first agents know of each message to them, beside type, v, id and command_id."""
HELLO_OF_VERSION_1: Final = {
    "type": "Hello",
    "v": 1,
    "name": "pbap-1",
    "boot_id": "boot",
    "journal_id": "journal",
    "host": "here",
    "fixer_codes": ["interRecharge"],
    "unfinished": [],
    "agent_time": "2026-03-02T12:00:00Z",
}


class OldAgent:
    """Speaks as the first version did, and takes no frame with a field of later ones."""

    def __init__(self, client: AgentClient) -> None:
        self._client = client

    def greet(self, version: str) -> None:
        self.hear("Welcome")
        hello = {**HELLO_OF_VERSION_1, "id": new_id(), "version": version}
        self._client.send_text(msgspec.json.encode(hello).decode())

    def hear(self, kind: str) -> dict[str, object]:
        """Return the next frame of this kind; every frame on the way is one that it understands."""
        while True:
            frame: dict[str, object] = msgspec.json.decode(self._client.ws.recv())
            known = FIELDS_OF_VERSION_1[str(frame["type"])] | {"type", "v", "id", "command_id"}
            assert set(frame) <= known, frame
            if frame["type"] == kind:
                return frame

    def say(self, message: Message) -> None:
        self._client.send(message)


@pytest.mark.parametrize("version", ["0.0.1-old", "", "99.7", "年" * 300])
def test_an_old_agent_works_whatever_version_it_says(
    server: LiveServer, live_member: Member, connected: Callable[..., AgentClient], version: str
) -> None:
    """From Hello to the end of a click's repair, over nothing but what version 1 knew."""
    old = OldAgent(connected(live_member.token))
    old.greet(version)
    server.until(lambda: db.session.get_one(Agent, live_member.id).version == version[:40])
    command_id = issue(server, live_member, "TRD1", by_person=True, max_amount_minor=500)
    repair = old.hear("Repair")
    assert repair["command_id"] == command_id
    old.say(Ack(id=new_id(), command_id=command_id, of=str(repair["id"])))
    server.until(lambda: state_of(command_id) == "accepted")
    done = Cancelled(id=new_id(), command_id=command_id)
    old.say(done)
    assert old.hear("Ack")["of"] == done.id
    server.until(lambda: state_of(command_id) == "cancelled")


@pytest.mark.parametrize("kind", ["Verify", "Collect"])
def test_an_old_agent_understands_what_it_is_asked(
    server: LiveServer, live_member: Member, connected: Callable[..., AgentClient], kind: Literal["Verify"]
) -> None:
    old = OldAgent(connected(live_member.token))
    old.greet("0.1")
    with server.app.app_context():
        now = server.app.extensions["clock"]()
        command_id = order(live_member, None if kind == "Collect" else "TRD2", now, type=kind)
    assert old.hear(kind)["command_id"] == command_id


def test_what_the_server_may_leave_out_of_a_frame_is_all_that_is_new() -> None:
    """A field added since is optional and unset unless asked for: a bare message is one of version 1."""
    bare: dict[str, Message] = {
        "Welcome": Welcome(id="w", epoch=1, server_time="t", heartbeat_ms=1, group="PBAP"),
        "Collect": Collect(
            id="c",
            run_id=1,
            fixer_codes=(),
            window_start="a",
            window_end="b",
            shard=0,
            shards=1,
            deadline_ms=1,
        ),
        "Repair": Repair(id="r", trade_no="T", fixer_code="f", row_hash="h", fence=1, deadline_ms=1),
        "Verify": Verify(id="v", trade_no="T"),
        "Cancel": Cancel(id="x"),
        "Ack": Ack(id="a", of="m"),
        "Rejected": Rejected(id="j", of=None, code="c", reason="r"),
    }
    assert bare.keys() == FIELDS_OF_VERSION_1.keys()
    for name, message in bare.items():
        fields = set(msgspec.json.decode(encode(message)))
        assert fields - {"type", "v", "id", "command_id"} <= FIELDS_OF_VERSION_1[name], name


def test_messages_of_an_old_agent_lack_nothing_the_server_needs() -> None:
    """Fields that agents learned to send later have a default."""
    hello = {**HELLO_OF_VERSION_1, "id": "h", "version": "0"}
    assert isinstance(decode_to_server(msgspec.json.encode(hello).decode()), Hello)
    report = {
        "type": "AnomaliesReported",
        "v": 1,
        "id": "r",
        "command_id": "c",
        "run_id": 1,
        "shard": 0,
        "chunk": 0,
        "rows": [],
    }
    assert isinstance(decode_to_server(msgspec.json.encode(report).decode()), AnomaliesReported)


def facts_of_version_1(trade_no: str) -> dict[str, object]:
    request = {"request_no": f"{trade_no}-0", "seq": 0, "status": "not_found", "verdict": "FAIL"}
    return {
        "trade_no": trade_no,
        "kind": "recharge",
        "bookkeeping": None,
        "status": "success",
        "is_acc": False,
        "is_e_acc": None,
        "first": {"state": "NONE", "voucher_no": None, "amount_minor": None, "detail": ""},
        "second": None,
        "bank": {"state": "SUCCESS", "requests": [request], "is_explicit": False, "detail": ""},
        "amount_minor": 10_000,
        "currency": "CNY",
        "row_hash": "hash",
        "read_at": "2026-03-02T12:00:00Z",
    }


def answers_of_version_1(command_id: str, trade_no: str, fence: int) -> list[dict[str, object]]:
    """All that the first agents say of a repair, from its beginning to its result."""
    step = {"seq": 1, "name": "post_leg_1", "key": "PCL:1", "state": "done", "moves_money": True}
    step |= {"started_at": "2026-03-02T12:00:00Z", "finished_at": None, "duration_ms": 1, "detail": ""}
    facts = facts_of_version_1(trade_no)
    said = [
        {"type": "Started"},
        {"type": "StepRecorded", "trade_no": trade_no, "fence": fence, "step": step},
        {
            "type": "Heartbeat",
            "running": [command_id],
            "journal_length": 1,
            "agent_time": "2026-03-02T12:00Z",
        },
        {"type": "Log", "level": "info", "text": "done"},
        {
            "type": "RepairFinished",
            "trade_no": trade_no,
            "fence": fence,
            "outcome": "repaired",
            "reason": "",
            "is_confirmed_failed": False,
            "money_moved": True,
            "before": {"TRD_ID": 1, "TRD_NUM": trade_no, "TRD_STATUS": 8, "FAILED_MSG": None},
            "after": {"TRD_ID": 1, "TRD_NUM": trade_no, "TRD_STATUS": 8, "FAILED_MSG": "done"},
            "facts_before": facts,
            "facts_after": facts,
            "steps": [step],
            "row_hash": "hash-2",
            "started_at": "2026-03-02T12:00:00Z",
            "duration_ms": 12,
        },
    ]
    return [{"v": 1, "id": new_id(), "command_id": command_id, **one} for one in said]


def test_what_an_old_agent_says_of_a_repair_is_taken_to_its_end(scene: Scene) -> None:
    """Its result, its steps and its facts lack all that agents learned to tell since."""
    trade_no = scene.break_trade()
    scene.stage.tick()
    scene.go_on()
    ((agent, command_id),) = scene.held()
    session = agent.session
    assert session is not None
    for answer in answers_of_version_1(command_id, trade_no, agent.journal[command_id].fence):
        scene.stage.inbox.receive(session, msgspec.json.encode(answer).decode())
    scene.go_on()
    assert scene.state_of(trade_no) == "repaired"
    assert scene.stage.rows("SELECT outcome FROM attempt") == [("repaired",)]
    assert scene.stage.rows("SELECT name, state FROM step") == [("post_leg_1", "done")]
    assert scene.stage.rows("SELECT count(*) FROM frame WHERE type = 'Rejected'") == [(0,)]


def test_what_an_old_agent_reads_for_a_verify_closes_a_trade_that_has_healed(scene: Scene) -> None:
    trade_no = scene.break_trade(state="waiting", unknown_since=scene.stage.clock())
    scene.stage.tick()
    scene.go_on()
    ((agent, command_id),) = scene.held()
    assert isinstance(agent.journal[command_id].command, Verify)
    session = agent.session
    assert session is not None
    read: dict[str, object] = {"type": "FactsRead", "v": 1, "id": new_id(), "command_id": command_id}
    read |= {"trade_no": trade_no, "outcome": "consistent", "fixer_code": None, "reason": ""}
    read |= {
        "row": {"TRD_NUM": trade_no},
        "row_hash": "h",
        "facts": facts_of_version_1(trade_no),
        "after": None,
    }
    scene.stage.inbox.receive(session, msgspec.json.encode(read).decode())
    scene.go_on()
    assert scene.state_of(trade_no) == "healed"


def test_a_frame_with_a_field_of_another_version_is_refused_and_the_session_goes_on(
    server: LiveServer, live_member: Member, client: AgentClient
) -> None:
    """A newer agent at an older server: it is told, by the id of its frame, and may go on without it."""
    beat = {"type": "Heartbeat", "id": "n1", "agent_time": HELLO_OF_VERSION_1["agent_time"], "mood": "good"}
    client.send_text(msgspec.json.encode(beat).decode())
    refusal = client.expect(Rejected)
    assert (refusal.of, refusal.code) == ("n1", "malformed")
    issue(server, live_member, "TRD3")
    assert client.take(Repair).trade_no == "TRD3"
