"""The filter ``group`` of a list: a sysCode among the groups a person may see."""

from collections.abc import Collection

from app.errors import InvalidError
from app.forms import Form
from app.keyset import ReadSession
from app.users.groups import find_group


def read_group(session: ReadSession, form: Form, group_ids: Collection[int] | None) -> Collection[int] | None:
    """Return ``group_ids`` (None: all) narrowed to the group asked for.

    One unknown or not to be seen is told at the field and does not narrow.
    """
    sys_code = form.text("group")
    group = find_group(session, sys_code) if sys_code else None
    if group is not None and (group_ids is None or group.id in group_ids):
        return [group.id]
    if sys_code:
        form.fail(InvalidError("choice", field="group", value=sys_code))
    return group_ids
