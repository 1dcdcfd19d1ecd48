"""docs/protocol.md tells the truth: its frames decode, its tables name every field of every message."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import answers, facts, protocol
from agent.answers import ReportedTrade, StepRecord
from agent.facts import BankFact, Facts, LegFact, RequestFact
from agent.message import Message
from agent.protocol import AgentLimits, decode_to_agent, decode_to_server, encode

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
DECODERS: dict[str, Any] = {"server": decode_to_agent, "agent": decode_to_server}
FRAMES = [
    (side, line)
    for side, block in re.findall(r"```json (server|agent)\n(.*?)```", DOCUMENT, re.DOTALL)
    for line in block.splitlines()
]
MESSAGES = Message.__subclasses__()
VALUES = [AgentLimits, StepRecord, ReportedTrade, Facts, LegFact, BankFact, RequestFact]


@pytest.mark.parametrize(("side", "frame"), FRAMES)
def test_every_frame_of_the_session_is_exactly_what_the_encoder_writes(side: str, frame: str) -> None:
    assert encode(DECODERS[side](frame)).decode() == frame


def test_the_session_shows_every_kind_of_message() -> None:
    shown = {type(DECODERS[side](frame)) for side, frame in FRAMES}
    assert shown == set(MESSAGES)


@pytest.mark.parametrize("described", [*MESSAGES, *VALUES], ids=lambda described: described.__name__)
def test_every_field_stands_in_the_table_of_its_message(described: type[msgspec.Struct]) -> None:
    (section,) = re.findall(rf"(?ms)^### `{described.__name__}`\n(.*?)(?=^##|\Z)", DOCUMENT)
    fields = [name for name in described.__struct_fields__ if name not in Message.__struct_fields__]
    assert re.findall(r"(?m)^\| `(\w+)` \|", section) == fields


@pytest.mark.parametrize(
    "code",
    [value for name, value in vars(protocol).items() if name.startswith("CLOSE_")],
)
def test_every_close_code_is_explained(code: int) -> None:
    assert re.search(rf"(?m)^\| [\d, ]*\b{code}\b", DOCUMENT)


def test_every_outcome_is_explained() -> None:
    for outcome in answers.Outcome.__args__:
        assert re.search(rf"(?m)^\| `{outcome}` \| .* \| .* \|$", DOCUMENT)


def test_the_limits_and_columns_are_those_of_the_code() -> None:
    assert f"{protocol.MAX_FRAME_BYTES:,} bytes" in DOCUMENT
    assert f"at most {answers.MAX_CHUNK_ROWS} rows" in DOCUMENT
    for column in facts.ROW_COLUMNS:
        assert f"`{column}`" in DOCUMENT
