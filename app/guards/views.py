"""A breaker: why it tripped, what it stops, and its reset by an operator with a reason."""

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app.clock import current_time
from app.errors import ConflictError, NotFoundError, PiculusError
from app.extensions import db
from app.forms import Form
from app.guards import breakers
from app.i18n import translate as _
from app.rendering import finish, render_detail, render_dialog
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires

blueprint = Blueprint("guards", __name__, url_prefix="/breakers")


@blueprint.get("/<int:breaker_id>")
def show_breaker(breaker_id: int) -> ResponseReturnValue:
    breaker = breakers.get_breaker(db.session, breaker_id, current_group_ids())
    return render_detail(
        "guards/detail.html",
        breaker=breaker,
        plan=breakers.plan_of(db.session, breaker),
        earlier=breakers.list_earlier(db.session, breaker),
    )


@blueprint.route("/<int:breaker_id>/reset", methods=["GET", "POST"])
@requires("operator")
def reset_breaker(breaker_id: int) -> ResponseReturnValue:
    form = Form(request.form)
    if request.method == "GET":
        return _dialog(form, breaker_id, 200)
    try:
        with unit_of_work() as work:
            breaker = breakers.reset(
                work,
                breaker_id,
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=current_group_ids(),
                now=current_time(),
            )
    except NotFoundError:
        raise
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, breaker_id, 409 if isinstance(error, ConflictError) else 400)
    return finish(
        _("%(name)s 已复位，恢复自动执行", name=breaker.subject_name),
        url_for("guards.show_breaker", breaker_id=breaker_id),
    )


def _dialog(form: Form, breaker_id: int, status: int) -> ResponseReturnValue:
    breaker = breakers.get_breaker(db.session, breaker_id, current_group_ids())
    return render_dialog("guards/reset.html", status, form=form, breaker=breaker)
