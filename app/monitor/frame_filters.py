"""What the filters of the frame monitor mean, as they stand in its URL."""

from app.errors import InvalidError
from app.forms import Form
from app.monitor.frames import FrameCut, FrameFilter

FILTERS = ("agent", "type", "direction", "trade_no", "command_id", "start", "end", "faulty")


def read_filter(form: Form, zone: str) -> FrameFilter:
    """Return the filter. Times without an offset are of ``zone``. Raises InvalidError at the wrong field."""
    return FrameFilter(
        agent_id=form.number("agent"),
        type=form.text("type"),
        direction=form.text("direction"),
        trade_no=form.text("trade_no"),
        command_id=form.text("command_id").lower(),
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
