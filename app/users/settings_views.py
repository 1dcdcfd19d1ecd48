"""Personal settings (个人设置): name, language, zone, theme, own password."""

from flask import Response, flash, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user

from app.clock import current_time
from app.errors import PiculusError
from app.extensions import limiter
from app.forms import Form
from app.i18n import ZONES, remember_locale
from app.i18n import translate as _
from app.presentation import theme
from app.unit_of_work import unit_of_work
from app.users import passwords, service
from app.users.access import current_actor
from app.users.blueprint import blueprint

THEMES = ("auto", "light", "dark")


@blueprint.route("/settings", methods=["GET", "POST"])
def settings() -> ResponseReturnValue:
    if request.method == "GET":
        return _page(_own_values(), Form(), 200)
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            service.update_settings(
                work,
                service.get_user(work, current_user.id),
                actor=current_actor(),
                display_name=form.text("display_name"),
                locale=form.text("locale"),
                zone=form.text("zone"),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _page(form, Form(), 400)
    flash(_("设置已保存"), "success")
    answer = make_response(redirect("/settings", 303))
    remember_locale(answer, form.text("locale"))
    if form.text("theme") in THEMES:
        answer.set_cookie("piculus_theme", form.text("theme"), max_age=31536000, samesite="Lax")
    return answer


@blueprint.post("/settings/password")
@limiter.limit("10 per minute")
def change_password() -> ResponseReturnValue:
    form = Form(request.form)
    is_first = current_user.must_change_password
    current, new = form.raw("current"), passwords.choose_password(form.raw("new"))
    known_hash = current_user.password_hash
    checked_hash = known_hash if passwords.matches(current, known_hash) else None
    try:
        with unit_of_work() as work:
            user = service.get_user(work, current_user.id)
            service.change_password(
                work,
                user,
                actor=current_actor(),
                current=current,
                checked_hash=checked_hash,
                new=new,
                repeated=form.raw("repeated"),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _page(_own_values(), form, 400)
    login_user(user)  # every other session of this person has ended
    flash(_("密码已修改，其他登录已退出"), "success")
    return redirect("/" if is_first else "/settings", 303)


def _own_values() -> Form:
    return Form(
        {
            "display_name": current_user.display_name,
            "locale": current_user.locale,
            "zone": current_user.zone,
            "theme": theme(),
        }
    )


def _page(form: Form, password_form: Form, status: int) -> Response:
    page = render_template("users/settings.html", form=form, password_form=password_form, zones=ZONES)
    return make_response(page, status)
