"""Errors a service raises and a view turns into words for a person."""

from typing import Any


class PiculusError(Exception):
    """The request cannot be carried out.

    ``code`` is a stable word that app/messages.py puts into words; ``params`` fill it in; ``field`` names the
    form field it belongs to, None for the form as a whole.
    """

    code = "error"

    def __init__(self, code: str | None = None, *, field: str | None = None, **params: Any) -> None:
        self.code = code or self.code
        self.field = field
        self.params = params
        super().__init__(self.code if not params else f"{self.code} {params}")


class NotFoundError(PiculusError):
    """There is no such thing, or this person may not see it."""

    code = "not_found"


class InvalidError(PiculusError):
    """A value is not acceptable."""

    code = "invalid"


class ConflictError(PiculusError):
    """The thing is not in a state that allows this."""

    code = "conflict"


class ForbiddenError(PiculusError):
    """This person may not do that."""

    code = "forbidden"
