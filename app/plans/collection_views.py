"""Collections: the broadcast (发起收集广播), its runs (收集命令), and recurring collections (定时收集).

They stand here because a broadcast shows what fixers can be asked for, which plans know.
"""

from datetime import datetime, timedelta
from typing import Final

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.anomalies import collection_course, collection_queries, collections
from app.anomalies.collection_queries import RunFilter
from app.anomalies.models import CollectionRun
from app.clock import current_time
from app.errors import ConflictError, InvalidError, NotFoundError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import choose_zone
from app.i18n import translate as _
from app.keyset import Cut
from app.plans import broadcast, schedules
from app.rendering import finish, render_detail, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users import groups
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group
from app.users.models import SystemGroup
from app.users.service import FormErrors

blueprint = Blueprint("collections", __name__, url_prefix="/collections")

PRESETS: Final = {
    "1": timedelta(hours=1),
    "24": timedelta(days=1),
    "168": timedelta(days=7),
    "720": timedelta(days=30),
}
CUSTOM: Final = "custom"


@blueprint.get("")
def list_runs() -> ResponseReturnValue:
    form = Form(request.args)
    allowed = current_group_ids()
    wanted = _run_filter(form, allowed)
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    return render_list(
        "collections/index.html",
        "collections/_table.html",
        400 if form.errors else 200,
        page=collection_queries.list_runs(db.session, wanted, cut),
        count=collection_queries.count_runs(db.session, wanted),
        form=form,
        group_choices=broadcast.group_choices(db.session, allowed),
        is_filtered=any(form.text(name) for name in ("group", "state", "trigger", "start", "end")),
    )


@blueprint.get("/<int:run_id>")
def show_run(run_id: int) -> ResponseReturnValue:
    run = collections.get_run(db.session, run_id, current_group_ids())
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    tasks = collection_queries.list_tasks(db.session, run.id, cut)
    return render_detail("collections/detail.html", run=run, tasks=tasks, is_live=_is_live(run))


@blueprint.route("/<int:run_id>/<any(cancel, again):action>", methods=["GET", "POST"])
@requires("operator")
def act_on_run(run_id: int, action: str) -> ResponseReturnValue:
    run = collections.get_run(db.session, run_id, current_group_ids())
    form = Form(request.form)
    if request.method == "GET":
        return render_dialog("collections/action.html", form=form, run=run, action=action)
    try:
        started = _act(run, action, form.text("reason"))
    except PiculusError as error:
        form.fail(error)
        status = 409 if isinstance(error, ConflictError) else 400
        return render_dialog("collections/action.html", status, form=form, run=run, action=action)
    if started:
        url = url_for("collections.show_run", run_id=started.id)
        return finish(_("收集 #%(id)s 已发起", id=started.id), url, moves=True)
    return finish(_("收集 #%(id)s 已取消", id=run.id), url_for("collections.list_runs"), level="warning")


@blueprint.route("/new", methods=["GET", "POST"])
@requires("operator")
def new_broadcast() -> ResponseReturnValue:
    allowed = current_group_ids()
    if request.method == "GET":
        asked = Form(request.args)
        seen = [
            sys_code for sys_code, _words in broadcast.group_choices(db.session, allowed, is_enabled=True)
        ]
        values = {
            "groups": asked.many("group") or (seen if len(seen) == 1 else []),
            "codes": broadcast.codes(db.session, allowed),
            "window": "168",
        }
        return _broadcast_page(Form(values), 200)
    form = Form(request.form)
    try:
        runs = _send(form, allowed)
    except PiculusError as error:
        form.fail(error)
        return _broadcast_page(form, 400)
    if len(runs) == 1:
        url = url_for("collections.show_run", run_id=runs[0].id)
    else:
        url = url_for("collections.list_runs")
    return finish(_("已向 %(n)s 个系统组别发出收集命令", n=len(runs)), url, moves=True)


def _send(form: Form, allowed: list[int] | None) -> list[CollectionRun]:
    """Send the broadcast. Raises FormErrors of every field that is wrong, and as broadcast.send."""
    window, wrong = _window(form)
    sys_codes, codes, reason = form.many("groups"), form.many("codes"), form.text("reason")
    if window is None:
        wrong += broadcast.mistakes(
            db.session, sys_codes=sys_codes, codes=codes, window=None, reason=reason, group_ids=allowed
        )
        raise FormErrors(wrong)
    with unit_of_work() as work:
        return broadcast.send(
            work,
            sys_codes=sys_codes,
            codes=codes,
            window=window,
            actor=current_actor(),
            reason=reason,
            group_ids=allowed,
            now=current_time(),
        )


@blueprint.get("/fleet")
@requires("operator")
def fleet() -> ResponseReturnValue:
    """Who is online and what each can fix, refetched on ticks of the agents."""
    cut = _side_cut()
    offers = broadcast.offers(db.session, current_group_ids(), current_time(), cut)
    return render_list("collections/fleet.html", "collections/_fleet.html", offers=offers, cut=cut)


@blueprint.route("/schedules/<sys_code>", methods=["GET", "POST"])
@requires("operator")
def edit_schedule(sys_code: str) -> ResponseReturnValue:
    if request.method == "GET":
        return _schedule_dialog(
            broadcast.schedule_form(db.session, sys_code, current_group_ids()), sys_code, 200
        )
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            schedules.set_schedule(
                work,
                broadcast.schedule_values(form, sys_code),
                actor=current_actor(),
                now=current_time(),
                reason=form.text("reason"),
                group_ids=current_group_ids(),
                seen=form.text("seen") or None,
            )
    except PiculusError as error:
        form.fail(error)
        return _schedule_dialog(form, sys_code, 409 if isinstance(error, ConflictError) else 400)
    return finish(_("%(group)s 的定时收集已保存", group=sys_code), url_for("collections.new_broadcast"))


@blueprint.route("/schedules/<sys_code>/delete", methods=["GET", "POST"])
@requires("operator")
def delete_schedule(sys_code: str) -> ResponseReturnValue:
    group, allowed, form = _visible_group(sys_code), current_group_ids(), Form(request.form)
    if schedules.find_schedule(db.session, group.id) is None:
        raise NotFoundError("schedule")
    if request.method == "GET":
        return render_dialog("collections/delete_schedule.html", form=form, group=group)
    actor, reason, now = current_actor(), form.text("reason"), current_time()
    try:
        with unit_of_work() as work:
            schedules.delete_schedule(work, group.id, actor=actor, now=now, reason=reason, group_ids=allowed)
    except PiculusError as error:
        form.fail(error)
        return render_dialog("collections/delete_schedule.html", 400, form=form, group=group)
    return finish(_("%(group)s 的定时收集已删除", group=sys_code), url_for("collections.new_broadcast"))


@blueprint.get("/schedules")
@requires("operator")
def list_schedules() -> ResponseReturnValue:
    cut = _side_cut()
    rows = broadcast.schedule_rows(db.session, current_group_ids(), cut)
    return render_list("collections/schedules.html", "collections/_schedules.html", rows=rows, cut=cut)


def _side_cut() -> Cut:
    """Return which page is wanted of a list beside the form."""
    asked = request.args
    return Cut(asked.get("after"), asked.get("before"), broadcast.GROUPS_A_PAGE)


def _act(run: CollectionRun, action: str, reason: str) -> CollectionRun | None:
    """Cancel the run, or start it again and return the new one."""
    actor, now, allowed = current_actor(), current_time(), current_group_ids()
    with unit_of_work() as work:
        if action == "again":
            return collections.run_again(work, run.id, actor=actor, reason=reason, group_ids=allowed, now=now)
        collection_course.cancel_run(work, run.id, actor=actor, reason=reason, group_ids=allowed, now=now)
    return None


def _is_live(run: CollectionRun) -> bool:
    return run.state in collections.LIVE_RUN_STATES


def _broadcast_page(form: Form, status: int) -> ResponseReturnValue:
    allowed, now = current_group_ids(), current_time()
    first = Cut(size=broadcast.GROUPS_A_PAGE)
    return render_list(
        "collections/new.html",
        "collections/_form.html",
        status,
        form=form,
        offers=broadcast.offers(db.session, allowed, now, first),
        rows=broadcast.schedule_rows(db.session, allowed, first),
        cut=first,
        group_choices=broadcast.group_choices(db.session, allowed, is_enabled=True),
        codes=broadcast.codes(db.session, allowed),
    )


def _schedule_dialog(form: Form, sys_code: str, status: int) -> ResponseReturnValue:
    group = _visible_group(sys_code)
    return render_dialog(
        "collections/schedule.html",
        status,
        form=form,
        group=group,
        offered=broadcast.offered_codes(db.session, group.id, form.many("codes"), current_time()),
        is_stored=schedules.find_schedule(db.session, group.id) is not None,
    )


def _visible_group(sys_code: str) -> SystemGroup:
    """Return the group if this person may see it, else raise NotFoundError('group')."""
    group, allowed = groups.find_group(db.session, sys_code), current_group_ids()
    if group is None or (allowed is not None and group.id not in allowed):
        raise NotFoundError("group")
    return group


def _run_filter(form: Form, allowed: list[int] | None) -> RunFilter:
    state = filters.word_of(form, "state", "run")
    return RunFilter(
        group_ids=read_group(db.session, form, allowed),
        states=(state,) if state else (),
        trigger=filters.word_of(form, "trigger", "run_trigger"),
        created_from=filters.moment(form, "start"),
        created_to=filters.moment(form, "end"),
    )


def _window(form: Form) -> tuple[tuple[datetime, datetime] | None, list[InvalidError]]:
    """Return the window chosen: a preset back from now, or two times of the person's zone.

    None and what is wrong with it where it cannot be read.
    """
    chosen, now = form.text("window"), current_time()
    if chosen in PRESETS:
        return (now - PRESETS[chosen], now), []
    if chosen != CUSTOM:
        return None, [InvalidError("choice" if chosen else "required", field="window", value=chosen)]
    wrong: list[InvalidError] = []
    start, end = _moment(form, "start", wrong), _moment(form, "end", wrong)
    if start is not None and start > now:
        wrong.append(InvalidError("window_future", field="start"))
    return (None if wrong or start is None or end is None else (start, end)), wrong


def _moment(form: Form, name: str, wrong: list[InvalidError]) -> datetime | None:
    """Return the time typed; add to ``wrong`` where there is none or it is no time."""
    try:
        found = form.moment(name, choose_zone())
    except InvalidError as error:
        wrong.append(error)
        return None
    if found is None:
        wrong.append(InvalidError("required", field=name))
    return found
