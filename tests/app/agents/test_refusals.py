"""What an agent hears of a refusal: whether it is for good, in words for whoever writes agents."""

import pytest

from agent.protocol import REFUSED_FOR_GOOD
from app.agents.refusals import FINAL, sentence_of
from app.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError, PiculusError


@pytest.mark.parametrize("kind", [ConflictError, ForbiddenError, InvalidError, NotFoundError])
def test_a_refusal_is_not_worded_for_a_person_at_a_page(kind: type[PiculusError]) -> None:
    said = sentence_of(kind("task", command_id="7"))
    assert "person" not in said
    assert said.endswith(". (command_id 7)")


def test_what_is_final_here_is_final_for_an_agent() -> None:
    assert {code for _kind, code in FINAL} == REFUSED_FOR_GOOD
