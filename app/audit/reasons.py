"""Why a person did something: required of whatever touches money or takes something away, else offered."""

from typing import Final

from app.errors import InvalidError

MAX_REASON: Final = 500


def required_reason(reason: str) -> str:
    """Return the reason, stripped. Raises InvalidError where it is missing or longer than MAX_REASON."""
    return _checked(reason, is_required=True)


def optional_reason(reason: str) -> str:
    """Return the reason, stripped, '' for none. Raises InvalidError where it is longer than MAX_REASON."""
    return _checked(reason, is_required=False)


def reason_errors(reason: str, *, is_required: bool) -> list[InvalidError]:
    """Return what is wrong with a reason, to stand among the errors of a form."""
    try:
        _checked(reason, is_required=is_required)
    except InvalidError as error:
        return [error]
    return []


def _checked(reason: str, *, is_required: bool) -> str:
    reason = reason.strip()
    if is_required and not reason:
        raise InvalidError("reason_required", field="reason")
    if len(reason) > MAX_REASON:
        raise InvalidError("too_long", field="reason", limit=MAX_REASON)
    return reason
