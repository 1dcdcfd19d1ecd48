"""What the filters of the frame monitor mean, as they stand in its URL."""

import re
from typing import Final

from app.errors import InvalidError
from app.forms import Form
from app.monitor.frames import FrameCut, FrameFilter

COMMAND_ID: Final = re.compile(r"[0-9a-f]{1,32}")
FILTERS = ("agent", "type", "direction", "trade_no", "command_id", "start", "end", "faulty")


def read_filter(form: Form, zone: str) -> FrameFilter:
    """Return the filter. Times without an offset are of ``zone``. Raises InvalidError at the wrong field."""
    command_id = form.text("command_id").lower()
    if command_id and not COMMAND_ID.fullmatch(command_id):
        raise InvalidError("command_id_format", field="command_id", value=form.text("command_id"))
    return FrameFilter(
        agent_id=form.number("agent"),
        type=form.text("type"),
        direction=form.text("direction"),
        trade_no=form.text("trade_no"),
        command_id=command_id,
        start=form.moment("start", zone),
        end=form.moment("end", zone),
        is_faulty=form.is_ticked("faulty"),
    )


def read_cut(form: Form) -> FrameCut:
    """Return the page wanted. Raises InvalidError('cursor')."""
    try:
        return FrameCut(after=form.number("after"), before=form.number("before"))
    except InvalidError as error:
        raise InvalidError("cursor") from error


def is_filtered(form: Form) -> bool:
    """Return whether any filter is set."""
    return any(form.text(name) for name in FILTERS)
