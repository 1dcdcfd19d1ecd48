"""What the filters of the frame monitor mean, as they stand in its URL."""

import re
from typing import Final

from sqlalchemy import select

from app.agents.models import Command
from app.anomalies.service import GroupIds
from app.beginnings import begins_with
from app.errors import InvalidError
from app.forms import Form
from app.keyset import ReadSession
from app.monitor.frames import FrameCut, FrameFilter

COMMAND_ID: Final = re.compile(r"[0-9a-f]{1,32}")
WHOLE: Final = 32
FILTERS = ("agent", "type", "direction", "trade_no", "command_id", "start", "end", "faulty")


def read_filter(session: ReadSession, form: Form, zone: str, groups: GroupIds) -> FrameFilter:
    """Return the filter. Times without an offset are of ``zone``. Raises InvalidError at the wrong field."""
    return FrameFilter(
        agent_id=form.number("agent"),
        type=form.text("type"),
        direction=form.text("direction"),
        trade_no=form.text("trade_no"),
        command_id=_command_id(session, form.text("command_id"), groups),
        start=form.moment("start", zone),
        end=form.moment("end", zone),
        is_faulty=form.is_ticked("faulty"),
    )


def _command_id(session: ReadSession, typed: str, groups: GroupIds) -> str:
    """Return the id of the groups' only command that begins so, as lists show it; else what was typed."""
    beginning = typed.lower()
    if beginning and not COMMAND_ID.fullmatch(beginning):
        raise InvalidError("command_id_format", field="command_id", value=typed)
    if len(beginning) in (0, WHOLE):
        return beginning
    beginning_so = select(Command.id).where(begins_with(Command.id, beginning))
    if groups is not None:
        beginning_so = beginning_so.where(Command.group_id.in_(groups))
    found = session.scalars(beginning_so.limit(2)).all()
    if len(found) > 1:
        raise InvalidError("command_id_ambiguous", field="command_id", value=typed)
    return found[0] if found else beginning


def read_cut(form: Form) -> FrameCut:
    """Return the page wanted. Raises InvalidError('cursor')."""
    try:
        return FrameCut(after=form.number("after"), before=form.number("before"))
    except InvalidError as error:
        raise InvalidError("cursor") from error


def is_filtered(form: Form) -> bool:
    """Return whether any filter is set."""
    return any(form.text(name) for name in FILTERS)
