"""The groups page (系统组别)."""

from flask import request
from flask.typing import ResponseReturnValue

from app import filters
from app.clock import current_time
from app.errors import ConflictError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import DEFAULT_ZONE, ZONES
from app.i18n import translate as _
from app.keyset import Cut
from app.limit_form import read_thresholds
from app.notices import GROUP, notices_of
from app.rendering import finish, render_dialog, render_list
from app.thresholds import GROUP_DEFAULTS, THRESHOLDS
from app.unit_of_work import unit_of_work
from app.users import group_changes, groups
from app.users.access import current_actor, requires
from app.users.blueprint import blueprint


@blueprint.get("/users/groups")
@requires("admin")
def list_groups() -> ResponseReturnValue:
    form = Form(request.args)
    page, count = groups.page_groups(
        db.session,
        Cut(after=request.args.get("after"), before=request.args.get("before")),
        text=form.text("q"),
        state=filters.word_of(form, "state", "group"),
    )
    is_filtered = any(form.text(name) for name in ("q", "state"))
    return render_list(
        "users/groups.html",
        "users/_groups_table.html",
        400 if form.errors else 200,
        page=page,
        notices=notices_of(GROUP, db.session, page.rows),
        count=count,
        form=form,
        is_filtered=is_filtered,
    )


@blueprint.route("/users/groups/new", methods=["GET", "POST"])
@requires("admin")
def create_group() -> ResponseReturnValue:
    if request.method == "GET":
        return _dialog(Form({"zone": DEFAULT_ZONE}), None, 200)
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            group = groups.create_group(
                work,
                actor=current_actor(),
                sys_code=form.text("sys_code").upper(),
                name=form.text("name"),
                zone=form.text("zone"),
                trade_table=form.text("trade_table"),
                reason=form.text("reason"),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, None, 409 if isinstance(error, ConflictError) else 400)
    return finish(_("系统组别 %(code)s 已建立", code=group.sys_code), "/users/groups")


@blueprint.route("/users/groups/<int:group_id>", methods=["GET", "POST"])
@requires("admin")
def edit_group(group_id: int) -> ResponseReturnValue:
    group = groups.get_group(db.session, group_id)
    if request.method == "GET":
        return _dialog(group_changes.form_of(group), group_id, 200)
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            groups.update_group(
                work,
                groups.get_group(work, group_id),
                actor=current_actor(),
                name=form.text("name"),
                zone=form.text("zone"),
                trade_table=form.text("trade_table"),
                reason=form.text("reason"),
                is_enabled=form.is_ticked("is_enabled"),
                thresholds=read_thresholds(form),
                now=current_time(),
                version=form.number("version") or 0,
            )
    except PiculusError as error:
        if error.code == "group_changed":
            return _changed_meanwhile(form, group_id)
        form.fail(error)
        return _dialog(form, group_id, 409 if isinstance(error, ConflictError) else 400)
    return finish(_("系统组别 %(code)s 已保存", code=group.sys_code), "/users/groups")


def _changed_meanwhile(form: Form, group_id: int) -> ResponseReturnValue:
    """Show what was typed on the group as it stands now, and say what others have changed of it."""
    group = groups.get_group(db.session, group_id)
    version = form.number("version")
    changes = group_changes.changes_since(db.session, group, version or 0)
    form = group_changes.bring_up(form, group, changes)
    form.fail(group_changes.refusal(changes, version))
    return _dialog(form, group_id, 409)


def _dialog(form: Form, group_id: int | None, status: int) -> ResponseReturnValue:
    told = [] if group_id is None else [groups.get_group(db.session, group_id)]
    return render_dialog(
        "users/group_form.html",
        status,
        form=form,
        group_id=group_id,
        zones=ZONES,
        group_defaults=GROUP_DEFAULTS,
        is_bounded=any(form.text(name) for name in THRESHOLDS),
        told_notices=[one for some in notices_of(GROUP, db.session, told).values() for one in some],
    )
