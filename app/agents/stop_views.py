"""The stop switch (紧急停止): what stands, setting and lifting it, and its history."""

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from app.agents import queries, stops
from app.agents.models import Stop
from app.agents.stop_banner import standing_stops, stopped_agents
from app.agents.stop_reach import Reach, read_reach
from app.agents.stops import Target
from app.audit.reasons import reason_errors
from app.clock import current_time
from app.errors import ConflictError, ForbiddenError, InvalidError, PiculusError
from app.extensions import db
from app.forms import Form, read_number
from app.i18n import translate as _
from app.keyset import Cut
from app.notices import count_beside_stops
from app.rendering import finish, is_fragment_request, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users import groups
from app.users.access import current_actor, current_group_ids, requires

blueprint = Blueprint("stops", __name__, url_prefix="/stops")

ALL = "all"


@blueprint.get("")
def list_stops() -> ResponseReturnValue:
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page, count = stops.list_lifted(db.session, current_group_ids(), cut)
    return render_list("stops/index.html", "stops/_table.html", page=page, count=count)


@blueprint.get("/banner")
def banner() -> ResponseReturnValue:
    """The banner of every page; there is no page of it."""
    if not is_fragment_request():
        return redirect(url_for("stops.list_stops"))
    return render_list("stops/_banner.html", "stops/_banner.html")


@blueprint.route("/new", methods=["GET", "POST"])
@requires("operator")
def set_stop() -> ResponseReturnValue:
    if request.method == "GET":
        return _dialog(Form({"target": request.args.get("target", "")}), 200)
    form = Form(request.form)
    try:
        target = _read_target(form.text("target"))
        with unit_of_work() as work:
            stops.set_stop(
                work,
                target,
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=current_group_ids(),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        for wrong in reason_errors(form.text("reason"), is_required=True):
            form.fail(wrong)
        return _dialog(form, _status_of(error))
    return finish(_("已紧急停止：不再开始新的修复，资金已动的修复做到完成"), url_for("stops.list_stops"))


@blueprint.get("/reach")
@requires("operator")
def reach() -> ResponseReturnValue:
    """What the chosen stop would reach, for the form; there is no page of it."""
    chosen = request.args.get("target", "")
    if not is_fragment_request():
        return redirect(url_for("stops.set_stop", target=chosen or None))
    return render_list("stops/_reach.html", "stops/_reach.html", reach=_reach(chosen))


@blueprint.route("/<int:stop_id>/lift", methods=["GET", "POST"])
@requires("operator")
def lift_stop(stop_id: int) -> ResponseReturnValue:
    stop = stops.get_stop(db.session, stop_id, current_group_ids())
    form, others, breakers = Form(request.form), _others(stop_id), _breakers_beside(stop)
    if request.method == "GET":
        return _lift_dialog(form, stop, others, breakers, 200)
    try:
        with unit_of_work() as work:
            stops.lift(
                work,
                stop_id,
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=current_group_ids(),
                is_admin=current_user.may("admin"),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _lift_dialog(form, stop, others, breakers, _status_of(error))
    return finish(_lifted_words(others, breakers), url_for("stops.list_stops"))


def _lift_dialog(form: Form, stop: Stop, others: int, breakers: int, status: int) -> ResponseReturnValue:
    return render_dialog("stops/lift.html", status, form=form, stop=stop, others=others, breakers=breakers)


def _lifted_words(others: int, breakers: int) -> str:
    if others:
        return _("紧急停止已解除；其余的停止仍然有效")
    if breakers:
        return _("紧急停止已解除；另有 %(n)s 处熔断，复位之前它停下的仍不自动开始", n=breakers)
    return _("紧急停止已解除，修复照常进行")


def _breakers_beside(stop: Stop) -> int:
    """Return how many breakers stand over what a stop has stopped, of groups that this person may see."""
    allowed = current_group_ids()
    return count_beside_stops(db.session, allowed if stop.group_id is None else {stop.group_id})


def _others(stop_id: int) -> int:
    """Return how many more stops stand that this person may see, those of hosts among them."""
    return sum(stop.id != stop_id for stop in standing_stops()) + len(stopped_agents())


def _status_of(error: PiculusError) -> int:
    if isinstance(error, ForbiddenError):
        return 403
    return 409 if isinstance(error, ConflictError) else 400


def _read_target(text: str) -> Target:
    """Read ``all``, ``group:3`` or ``agent:7``. Raises InvalidError('choice') on field target."""
    kind, _colon, number = text.partition(":")
    if text == ALL:
        return Target()
    if not text:
        raise InvalidError("required", field="target")
    try:
        if kind == "group":
            return Target(group_id=read_number(number))
        if kind == "agent":
            return Target(agent_id=read_number(number))
    except InvalidError as error:
        raise InvalidError("choice", field="target", value=text) from error
    raise InvalidError("choice", field="target", value=text)


def _dialog(form: Form, status: int) -> ResponseReturnValue:
    chosen = form.text("target")
    return render_dialog("stops/set.html", status, form=form, targets=_targets(chosen), reach=_reach(chosen))


def _reach(chosen: str) -> Reach | None:
    """Return what the chosen stop would reach, None for what cannot be chosen: the form says why."""
    try:
        return read_reach(db.session, _read_target(chosen), current_group_ids(), current_time())
    except PiculusError:
        return None


def _targets(chosen: str) -> list[tuple[str, str]]:
    """Return what this person may stop, (value, words): all, their groups, their agents."""
    allowed = current_group_ids()
    offered = [(ALL, _("全部修复"))] if allowed is None else []
    for group in groups.list_groups(db.session, allowed):
        offered.append((f"group:{group.id}", _("系统组别 %(code)s", code=f"{group.sys_code} {group.name}")))
    kind, _colon, number = chosen.partition(":")
    agents = queries.agent_choices(db.session, allowed, number if kind == "agent" else "")
    return offered + [(f"agent:{one}", _("客户端 %(name)s", name=name)) for one, name in agents]
