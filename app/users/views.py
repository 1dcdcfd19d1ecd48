"""People (用户管理): the list, and what an admin does with one person.

The other views of this feature stand on the same blueprint.
"""

from flask import request
from flask.typing import ResponseReturnValue

from app import filters
from app.clock import current_time
from app.errors import ConflictError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import translate as _
from app.keyset import Cut
from app.rendering import finish, render_dialog, render_list, render_notice
from app.unit_of_work import unit_of_work
from app.users import group_views, groups, login_views, passwords, service, settings_views
from app.users.access import current_actor, requires
from app.users.blueprint import blueprint

__all__ = ["blueprint", "group_views", "login_views", "settings_views"]


@blueprint.get("/users")
@requires("admin")
def list_users() -> ResponseReturnValue:
    form = Form(request.args)
    page, count = service.list_users(
        db.session,
        text=form.text("q"),
        role=filters.word_of(form, "role", "role"),
        state=filters.word_of(form, "state", "user"),
        cut=Cut(after=request.args.get("after"), before=request.args.get("before")),
    )
    status = 400 if form.errors else 200
    return render_list("users/index.html", "users/_table.html", status, page=page, count=count, form=form)


@blueprint.route("/users/new", methods=["GET", "POST"])
@requires("admin")
def create_user() -> ResponseReturnValue:
    if request.method == "GET":
        return _user_dialog(Form({"role": "viewer"}), None, 200)
    form, one_time = Form(request.form), passwords.make_one_time_password()
    try:
        with unit_of_work() as work:
            user = service.create_user(
                work,
                actor=current_actor(),
                username=form.text("username"),
                role=form.text("role"),
                display_name=form.text("display_name"),
                group_codes=form.many("groups"),
                sees_all_groups=form.is_ticked("sees_all_groups"),
                password=one_time,
                reason=form.text("reason"),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _user_dialog(form, None, 409 if isinstance(error, ConflictError) else 400)
    return render_notice("users/one_time_password.html", username=user.username, one_time=one_time.text)


@blueprint.route("/users/<int:user_id>", methods=["GET", "POST"])
@requires("admin")
def edit_user(user_id: int) -> ResponseReturnValue:
    user = service.get_user(db.session, user_id)
    if request.method == "GET":
        values = {
            "username": user.username,
            "display_name": user.display_name,
            "role": user.role,
            "sees_all_groups": user.sees_all_groups,
            "groups": [group.sys_code for group in user.groups],
        }
        return _user_dialog(Form(values), user_id, 200)
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            service.update_user(
                work,
                service.get_user(work, user_id),
                actor=current_actor(),
                role=form.text("role"),
                display_name=form.text("display_name"),
                group_codes=form.many("groups"),
                sees_all_groups=form.is_ticked("sees_all_groups"),
                reason=form.text("reason"),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _user_dialog(form, user_id, 400)
    return finish(_("用户 %(name)s 已保存", name=user.username), "/users")


@blueprint.route("/users/<int:user_id>/<any(disable, enable, reset):action>", methods=["GET", "POST"])
@requires("admin")
def act_on_user(user_id: int, action: str) -> ResponseReturnValue:
    user = service.get_user(db.session, user_id)
    form = Form(request.form)
    if request.method == "GET":
        return render_dialog("users/action.html", form=form, person=user, action=action)
    one_time = passwords.make_one_time_password() if action == "reset" else None
    try:
        with unit_of_work() as work:
            person = service.get_user(work, user_id)
            actor, reason, now = current_actor(), form.text("reason"), current_time()
            if action == "disable":
                service.disable_user(work, person, actor=actor, reason=reason, now=now)
            elif action == "enable":
                service.enable_user(work, person, actor=actor, reason=reason, now=now)
            elif one_time is not None:
                service.reset_password(work, person, one_time, actor=actor, reason=reason, now=now)
    except PiculusError as error:
        form.fail(error)
        status = 409 if isinstance(error, ConflictError) else 400
        return render_dialog("users/action.html", status, form=form, person=user, action=action)
    if one_time is not None:
        return render_notice("users/one_time_password.html", username=user.username, one_time=one_time.text)
    done = _("用户 %(name)s 已停用，其登录已退出") if action == "disable" else _("用户 %(name)s 已启用")
    return finish(done % {"name": user.username}, "/users")


def _user_dialog(form: Form, user_id: int | None, status: int) -> ResponseReturnValue:
    known = groups.list_groups(db.session)
    return render_dialog(
        "users/user_form.html",
        status,
        form=form,
        user_id=user_id,
        group_choices=[(group.sys_code, group.sys_code, group.name) for group in known],
    )
