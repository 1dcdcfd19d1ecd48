"""The audit page (审计): a person sees their groups' entries and their own, or all of all groups."""

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from flask_login import current_user

from app import filters
from app.audit import queries, words
from app.audit.detail_words import lines_of
from app.audit.queries import AuditFilter, Sight
from app.extensions import db
from app.forms import Form
from app.keyset import Cut
from app.rendering import render_detail, render_list

blueprint = Blueprint("audit", __name__)


@blueprint.get("/audit")
def list_entries() -> ResponseReturnValue:
    form = Form(request.args)
    asked = AuditFilter(
        actor_name=form.text("actor"),
        action=filters.choice(form, "action", form.text("action"), words.ACTIONS),
        object_type=filters.choice(form, "object", form.text("object"), words.OBJECTS),
        object_text=form.text("q"),
        sys_code=_sys_code(form),
        start=filters.moment(form, "start"),
        end=filters.moment(form, "end"),
    )
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page, count = queries.list_entries(db.session, asked, _sight(), cut)
    return render_list(
        "audit/index.html",
        "audit/_table.html",
        status=400 if form.errors else 200,
        page=page,
        count=count,
        form=form,
        entry_words=words.entry_words,
        object_words=words.object_words,
        name_words=words.name_words,
        actions=[(key, str(text)) for key, text in words.ACTIONS.items()],
        objects=[(key, str(text)) for key, text in words.OBJECTS.items()],
    )


@blueprint.get("/audit/<int:entry_id>")
def show_entry(entry_id: int) -> ResponseReturnValue:
    entry = queries.get_entry(db.session, entry_id, _sight())
    return render_detail(
        "audit/detail.html",
        entry=entry,
        lines=lines_of(entry),
        entry_words=words.entry_words,
        object_words=words.object_words,
        name_words=words.name_words,
    )


def _sight() -> Sight:
    sees_all = current_user.sees_all_groups or current_user.may("admin")
    codes = None if sees_all else [group.sys_code for group in current_user.groups]
    return Sight(current_user.id, codes)


def _sys_code(form: Form) -> str:
    """Return the group asked for: one of the entries this person may see, as groups are known here."""
    sys_code = form.text("group")
    is_known = queries.names_group(db.session, sys_code, _sight())
    return filters.choice(form, "group", sys_code, [sys_code] if is_known else [])
