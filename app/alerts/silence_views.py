"""Silences (静默): an operator hears nothing of a kind for a while, and says why."""

from datetime import timedelta

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.alerts import silences
from app.alerts.events import KINDS
from app.clock import current_time
from app.errors import ConflictError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import choose_zone
from app.i18n import translate as _
from app.keyset import Cut
from app.presentation import local_time
from app.rendering import finish, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users import groups
from app.users.access import current_actor, current_group_ids, requires
from app.words import choices

blueprint = Blueprint("alert_silences", __name__, url_prefix="/alerts/silences")

OFFERED = timedelta(hours=2)


@blueprint.get("")
@requires("operator")
def list_silences() -> ResponseReturnValue:
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page = silences.list_silences(db.session, current_group_ids(), cut)
    return render_list(
        "alerts/silences.html",
        "alerts/_silences_table.html",
        page=page,
        now=current_time(),
        allowed=current_group_ids(),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@requires("operator")
def begin_silence() -> ResponseReturnValue:
    if request.method == "GET":
        asked = Form(request.args)
        begun = {
            "kind": filters.word_of(asked, "kind", "alert_kind"),
            "group": asked.text("group"),
            "silent_until": local_time(current_time() + OFFERED, "input"),
        }
        return _dialog(Form(begun), 200)
    form = Form(request.form)
    try:
        until = form.moment("silent_until", choose_zone())
        with unit_of_work() as work:
            silence = silences.begin_silence(
                work,
                kind=form.text("kind"),
                sys_code=form.text("group"),
                until=until,
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=current_group_ids(),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, 400)
    told = _("已静默到 %(time)s", time=local_time(silence.until, "minute"))
    return finish(told, url_for("alert_silences.list_silences"), level="warning")


@blueprint.route("/<int:silence_id>/end", methods=["GET", "POST"])
@requires("operator")
def end_silence(silence_id: int) -> ResponseReturnValue:
    allowed, form = current_group_ids(), Form(request.form)
    silence = silences.get_silence(db.session, silence_id, allowed)
    if request.method == "GET":
        return render_dialog("alerts/silence_end.html", form=form, silence=silence)
    actor, reason, now = current_actor(), form.text("reason"), current_time()
    try:
        with unit_of_work() as work:
            silences.end_silence(work, silence_id, reason=reason, actor=actor, group_ids=allowed, now=now)
    except PiculusError as error:
        form.fail(error)
        status = 409 if isinstance(error, ConflictError) else 400
        return render_dialog("alerts/silence_end.html", status, form=form, silence=silence)
    return finish(_("静默已结束"), url_for("alert_silences.list_silences"))


def _dialog(form: Form, status: int) -> ResponseReturnValue:
    allowed = current_group_ids()
    known = groups.list_groups(db.session, allowed)
    return render_dialog(
        "alerts/silence_form.html",
        status,
        form=form,
        sees_all=allowed is None,
        group_choices=[(group.sys_code, f"{group.sys_code} {group.name}") for group in known],
        kind_choices=[(kind, words) for kind, words in choices("alert_kind") if kind in KINDS],
    )
