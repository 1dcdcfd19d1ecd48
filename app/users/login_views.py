"""Logging in and out, and the language."""

from flask import Response, current_app, make_response, redirect, render_template, request, session
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_user, logout_user

from app.clock import current_time
from app.errors import ConflictError
from app.extensions import db, limiter
from app.forms import Form
from app.i18n import LANGUAGES, remember_locale
from app.unit_of_work import unit_of_work
from app.users import logins, passwords, service
from app.users.access import current_actor
from app.users.blueprint import blueprint
from app.users.sessions import LOGIN_ID, begin_login, local_path


@blueprint.route("/login", methods=["GET", "POST"])
@limiter.limit("30 per minute", methods=["POST"])
def log_in() -> ResponseReturnValue:
    wanted = local_path(request.values.get("next", "/"))
    if current_user.is_authenticated and request.method == "GET":
        return redirect(wanted)
    form = Form(request.form)
    if request.method == "GET":
        return _login_page(form, wanted, 200)
    username, password = form.text("username"), form.raw("password")
    known = service.find_user(db.session, username)
    # Outside the unit of work: hashing takes tens of milliseconds and must not hold the write lock.
    is_right = passwords.matches(password, known.password_hash if known else None)
    with unit_of_work() as work:
        user = logins.record_login(
            work,
            username,
            is_right=is_right,
            checked_hash=known.password_hash if known else None,
            address=request.remote_addr or "",
            now=current_time(),
        )
    if user is None:
        form.fail(ConflictError("login_refused"))
        return _login_page(form, wanted, 401)
    session.clear()  # nothing that was put into the session before the login survives it
    login_user(user)
    session.permanent = True
    begin_login(session, current_time())
    answer = make_response(redirect(wanted, 303))
    remember_locale(answer, user.locale)
    return answer


@blueprint.post("/logout")
def log_out() -> ResponseReturnValue:
    login_id = session[LOGIN_ID]
    with unit_of_work() as work:
        logins.record_logout(work, current_user, login_id, actor=current_actor(), now=current_time())
    logout_user()
    session.clear()
    current_app.extensions["ticker"].dismiss(lambda viewer: viewer.login_id == login_id)
    return redirect("/login", 303)


@blueprint.post("/locale")
def set_locale() -> ResponseReturnValue:
    chosen = Form(request.form).text("locale")
    answer = make_response(redirect(local_path(request.form.get("next", "/")), 303))
    if chosen in LANGUAGES:
        remember_locale(answer, chosen)
        if current_user.is_authenticated:
            with unit_of_work() as work:
                service.update_settings(
                    work,
                    service.get_user(work, current_user.id),
                    actor=current_actor(),
                    display_name=current_user.display_name,
                    locale=chosen,
                    zone=current_user.zone,
                    now=current_time(),
                )
    return answer


def _login_page(form: Form, wanted: str, status: int) -> Response:
    page = make_response(render_template("users/login.html", form=form, wanted=wanted), status)
    page.headers["Cache-Control"] = "no-store"
    return page
