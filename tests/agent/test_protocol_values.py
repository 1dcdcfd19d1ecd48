"""What the protocol forbids is no message; what makes no sense in production still is one."""

from typing import Any

import msgspec
import pytest

from agent.answers import AnomaliesReported, CollectFinished
from agent.errors import ProtocolError
from agent.message import Message
from agent.protocol import Heartbeat, decode_to_server, encode
from tests.factories import reported

NOTHING = {"chunks": 0, "rows": 0, "amount_minor": 0, "scanned": 0, "unverified": 0, "duration_ms": 0}


def chunk(**fields: Any) -> AnomaliesReported:
    return AnomaliesReported(id="c", **({"run_id": 1, "shard": 0, "chunk": 0, "rows": ()} | fields))


def trailer(**fields: Any) -> CollectFinished:
    return CollectFinished(id="t", run_id=1, shard=0, **(NOTHING | fields))


def heartbeat(agent_time: str) -> Heartbeat:
    return Heartbeat(id="h", agent_time=agent_time)


@pytest.mark.parametrize(
    "message",
    [
        chunk(chunk=-1),
        chunk(chunk=2**31),
        chunk(rows=tuple(reported(f"T{number}") for number in range(101))),
        chunk(rows=(reported("T", amount_minor=-1),)),
        chunk(rows=(reported("T", amount_minor=10**15 + 1),)),
        chunk(rows=(reported("T", amount_minor=2**63),)),
        chunk(rows=(reported("T", fixer_code=""),)),
        chunk(rows=(reported("T", fixer_code="a" * 81),)),
        chunk(rows=(reported("T", row_changed_at="yesterday"),)),
        chunk(rows=(reported("T", row_changed_at="2026-03-01T00:00:00"),)),
        trailer(rows=-1),
        trailer(scanned=2**31),
        trailer(amount_minor=2**63),
        heartbeat("now"),
        heartbeat("2026-03-02T12:00:00"),
    ],
)
def test_what_the_protocol_forbids_is_no_message(message: Message) -> None:
    with pytest.raises(ProtocolError):
        decode_to_server(encode(message))


@pytest.mark.parametrize(
    "fields",
    [
        {"trade_no": "", "trade_id": 0},
        {"trade_no": "9" * 200},
        {"amount_minor": None, "currency": "", "channel": None},
        {"trade_id": 2**64, "currency": "RMB元"},
        {"row_changed_at": None, "kind": None},
    ],
)
def test_a_row_that_makes_no_sense_can_be_reported(fields: dict[str, Any]) -> None:
    trade = msgspec.structs.replace(reported("T", fixer_code=None, outcome="human", facts=None), **fields)
    message = chunk(rows=(trade,))
    assert decode_to_server(encode(message)) == message
