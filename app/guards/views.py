"""Breakers (熔断): their list, why one tripped and what it stops, and its reset by an operator."""

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.clock import current_time
from app.errors import ConflictError, NotFoundError, PiculusError
from app.extensions import db
from app.forms import Form
from app.guards import breakers, notices, queries
from app.guards.queries import BreakerFilter
from app.i18n import translate as _
from app.keyset import Cut
from app.plans import broadcast
from app.rendering import finish, render_detail, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group

blueprint = Blueprint("guards", __name__, url_prefix="/breakers")


FILTERS = ("state", "group")


@blueprint.get("")
def list_breakers() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    wanted = BreakerFilter(
        group_ids=read_group(db.session, form, allowed), state=filters.word_of(form, "state", "breaker")
    )
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page = queries.page_breakers(db.session, wanted, cut)
    return render_list(
        "guards/index.html",
        "guards/_table.html",
        400 if form.errors else 200,
        page=page,
        states=queries.states_of(db.session, page.rows),
        count=queries.count_breakers(db.session, wanted),
        form=form,
        group_choices=broadcast.group_choices(db.session, allowed),
        is_filtered=any(form.text(name) for name in FILTERS),
    )


@blueprint.get("/<int:breaker_id>")
def show_breaker(breaker_id: int) -> ResponseReturnValue:
    breaker = breakers.get_breaker(db.session, breaker_id, current_group_ids())
    return render_detail(
        "guards/detail.html",
        breaker=breaker,
        state_of_breaker=queries.states_of(db.session, [breaker])[breaker.id],
        plan=breakers.plan_of(db.session, breaker),
        besides=notices.besides(db.session, breaker),
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
                code=form.text("code") or None,
            )
    except NotFoundError:
        raise
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, breaker_id, 409 if isinstance(error, ConflictError) else 400)
    told = (
        _("%(name)s 已复位；另有停止，现在仍不自动开始", name=breaker.subject_name)
        if notices.besides(db.session, breaker)
        else _("%(name)s 已复位，恢复自动执行", name=breaker.subject_name)
    )
    return finish(told, url_for("guards.show_breaker", breaker_id=breaker_id))


def _dialog(form: Form, breaker_id: int, status: int) -> ResponseReturnValue:
    breaker = breakers.get_breaker(db.session, breaker_id, current_group_ids())
    return render_dialog(
        "guards/reset.html",
        status,
        form=form,
        breaker=breaker,
        besides=notices.besides(db.session, breaker),
    )
