"""What a step left behind, as production's table keeps it beside the step."""

from typing import Final

import msgspec

from agent.records import StepRow

ASKED: Final = "asked"
"""The status of a payout that the bank was let be asked for, until it has answered."""


class StepResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a step left behind, as StepRow.result holds it in JSON. ``reverses``: the entry it takes back.

    ``ordered_at``: when people last ordered it, by production's clock in ISO 8601, of a step not yet taken.
    """

    voucher_no: str | None = None
    reverses: str | None = None
    request_no: str | None = None
    status: str = ""
    code: str | None = None
    detail: str = ""
    ordered_at: str | None = None


def result_of(step: StepRow) -> StepResult:
    """Read a step's result; one that says nothing is empty."""
    return msgspec.json.decode(step.result, type=StepResult) if step.result else StepResult()


def text_of(result: StepResult) -> str:
    """A result as StepRow.result holds it."""
    return msgspec.json.encode(result).decode()
