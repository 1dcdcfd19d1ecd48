"""What others have changed of a group since its form was opened: told, and brought into what was typed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select

from app.audit.models import AuditEntry
from app.errors import ConflictError
from app.forms import Form
from app.i18n import language
from app.i18n import translate as _
from app.keyset import ReadSession
from app.limit_form import is_amount, typed
from app.presentation import DASH, yuan
from app.thresholds import THRESHOLDS
from app.users.models import SystemGroup
from app.words import word

FIELDS: Final = ("sys_code", "name", "zone", "trade_table", "is_enabled", *THRESHOLDS)
READ: Final = 50
"""So many changes are looked back on; whoever opened a form before them hears of these."""


@dataclass(frozen=True)
class Change:
    """A field that others have changed: as it was when the form was opened, as it is, by whom last."""

    name: str
    before: Any
    after: Any
    by: str


def form_of(group: SystemGroup) -> Form:
    """Return the form of a group as it stands, with the version it shows."""
    return Form({**typed({name: getattr(group, name) for name in FIELDS}), "version": group.version})


def changes_since(session: ReadSession, group: SystemGroup, version: int) -> list[Change]:
    """Return what has changed since a version and is not as it was, field by field, from the audit."""
    entries = select(AuditEntry).where(
        AuditEntry.action == "group.update",
        AuditEntry.object_type == "group",
        AuditEntry.object_id == str(group.id),
    )
    newest = session.scalars(entries.order_by(AuditEntry.id.desc()).limit(READ)).all()
    before: dict[str, Any] = {}
    by: dict[str, str] = {}
    for entry in newest:
        if entry.detail.get("version", 0) > version:
            for name in FIELDS:
                if name in entry.detail:
                    before[name] = entry.detail[name][0]
                    by.setdefault(name, entry.actor_name)
    changes = [Change(name, before[name], getattr(group, name), by[name]) for name in FIELDS if name in by]
    return [one for one in changes if one.before != one.after]


def bring_up(form: Form, group: SystemGroup, changes: Sequence[Change]) -> Form:
    """Return what was typed, on the group as it stands: a field that nobody touched here is as others left
    it, and one that was typed in stays."""
    stands = form_of(group)
    values: dict[str, object] = {name: form.text(name) for name in (*FIELDS, "reason")}
    for one in changes:
        if form.text(one.name) == Form(typed({one.name: one.before})).text(one.name):
            values[one.name] = stands.text(one.name)
    return Form({**values, "version": group.version})


def refusal(changes: Sequence[Change], version: int | None) -> ConflictError:
    """Return why a form of an earlier version is not saved; ``version`` None: it does not say of which."""
    if changes:
        return ConflictError("group_changed", what=_told(changes))
    return ConflictError("group_version_unknown" if version is None else "group_changed_back")


def _told(changes: Sequence[Change]) -> str:
    """Return in words who has changed what."""
    labels = {"name": _("名称"), "zone": _("时区"), "trade_table": _("交易表"), "is_enabled": _("启用")}
    sentences = [
        _(
            "%(who)s 把“%(name)s”由 %(before)s 改为 %(after)s",
            who=one.by,
            name=labels.get(one.name) or word("plan_parameter", one.name),
            before=_words(one.name, one.before),
            after=_words(one.name, one.after),
        )
        for one in changes
    ]
    return ("；" if language() == "zh" else "; ").join(sentences)


def _words(name: str, value: Any) -> str:
    if name == "is_enabled":
        return _("是") if value else _("否")
    if value is None or value == "":
        return DASH
    return yuan(value) if is_amount(name) else str(value)
