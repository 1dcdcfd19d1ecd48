"""Repair plans (方案配置): shown to everyone, configured by operators; a cron expression explained."""

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.clock import current_time
from app.errors import ConflictError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import DEFAULT_ZONE, ZONES
from app.i18n import translate as _
from app.keyset import Cut
from app.notices import PLAN, notices_of
from app.plans import broadcast, overview, plan_form, queries, service
from app.plans.explaining import explain, zone_or
from app.plans.fixer_codes import agents_offering, fixer_choices
from app.plans.limits import LIMITS, without_effect
from app.plans.models import Plan
from app.plans.prediction_queries import shadow_figures
from app.plans.product_setup import create_product_plans
from app.plans.queries import PlanFilter
from app.plans.usage import usage_of
from app.rendering import finish, is_fragment_request, render_detail, render_dialog, render_list
from app.thresholds import PLAN_DEFAULTS, THRESHOLDS, thresholds_of
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group
from app.words import word

blueprint = Blueprint("plans", __name__, url_prefix="/plans")

TICKS_SHOWN = 20
VERSIONS_SHOWN = 20
FILTERS = ("group", "fixer", "mode", "state", "level")


@blueprint.get("")
def list_plans() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    level = filters.word_of(form, "level", "level")
    wanted = PlanFilter(
        group_ids=read_group(db.session, form, allowed),
        fixer_code=form.text("fixer"),
        mode=filters.word_of(form, "mode", "mode"),
        state=filters.word_of(form, "state", "plan"),
        level=int(level) if level else None,
    )
    page = queries.page_plans(
        db.session, wanted, Cut(after=request.args.get("after"), before=request.args.get("before"))
    )
    return render_list(
        "plans/index.html",
        "plans/_table.html",
        400 if form.errors else 200,
        page=page,
        rows=overview.plan_rows(db.session, page.rows, current_time()),
        notices=notices_of(PLAN, db.session, page.rows),
        count=queries.count_plans(db.session, wanted),
        form=form,
        group_choices=broadcast.group_choices(db.session, allowed),
        codes=fixer_choices(db.session, allowed),
        bare_groups=overview.groups_without_plans(db.session, allowed),
        is_filtered=any(form.text(name) for name in FILTERS),
    )


@blueprint.get("/cron")
def explain_cron() -> ResponseReturnValue:
    """What an expression says and when it fires next, for a form that is being typed."""
    asked = Form(request.args)
    expression = asked.text("expression") or asked.text("retry_cron") or asked.text("cron")
    told = explain(expression, plan_form.read_zone(db.session, asked), current_time())
    # Half an expression is the usual thing while typing, not a failed request.
    status = 400 if told.error and not is_fragment_request() else 200
    return render_list("plans/_cron.html", "plans/_cron.html", status, told=told)


@blueprint.get("/<int:plan_id>")
def show_plan(plan_id: int) -> ResponseReturnValue:
    plan = service.get_plan(db.session, plan_id, current_group_ids())
    now = current_time()
    (row,) = overview.plan_rows(db.session, [plan], now)
    below = Form(request.args).number("below")
    versions = queries.list_versions(db.session, plan.id, below=below, count=VERSIONS_SHOWN + 1)
    return render_detail(
        "plans/detail.html",
        plan=plan,
        row=row,
        told_notices=notices_of(PLAN, db.session, [plan])[plan.id],
        breaker_thresholds=thresholds_of(plan, PLAN_DEFAULTS),
        limit_names=LIMITS,
        without_effect=without_effect(plan),
        told=explain(plan.retry_cron, plan.zone, now),
        names=agents_offering(db.session, plan.group_id, plan.fixer_code, now),
        history=overview.changes_of(versions)[:VERSIONS_SHOWN],
        older=versions[VERSIONS_SHOWN - 1].version if len(versions) > VERSIONS_SHOWN else None,
        ticks=queries.list_ticks(db.session, "plan", plan.id, TICKS_SHOWN),
        shadow=shadow_figures(db.session, plan),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@requires("operator")
def create_plan() -> ResponseReturnValue:
    if request.method == "GET":
        asked = Form(request.args)
        return _plan_dialog(
            plan_form.new_form(db.session, asked.text("group"), asked.text("fixer")), None, 200
        )
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            plan = service.create_plan(
                work,
                plan_form.read_values(work, form),
                actor=current_actor(),
                now=current_time(),
                reason=form.text("reason"),
                group_ids=current_group_ids(),
            )
    except PiculusError as error:
        form.fail(error)
        return _plan_dialog(form, None, 409 if isinstance(error, ConflictError) else 400)
    return _saved(_("方案 %(name)s 已建立", name=plan.fixer_code), plan)


def _saved(told: str, plan: Plan) -> ResponseReturnValue:
    """Say what was done, and which of its limits have no effect."""
    idle = without_effect(plan)
    for one, other in idle:
        limits = {"one": word("plan_parameter", one), "other": word("plan_parameter", other)}
        told += _("；%(one)s高于%(other)s，不起作用", **limits)
    return finish(told, url_for("plans.list_plans"), level="warning" if idle else "success")


@blueprint.get("/<int:plan_id>/copy")
@requires("operator")
def copy_plan(plan_id: int) -> ResponseReturnValue:
    """The form of a new plan, filled in from another."""
    plan = service.get_plan(db.session, plan_id, current_group_ids())
    return _plan_dialog(plan_form.copy_form(plan), None, 200, copied=plan)


@blueprint.route("/<int:plan_id>/edit", methods=["GET", "POST"])
@requires("operator")
def edit_plan(plan_id: int) -> ResponseReturnValue:
    plan = service.get_plan(db.session, plan_id, current_group_ids())
    if request.method == "GET":
        return _plan_dialog(plan_form.form_of(plan), plan, 200)
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            saved = service.update_plan(
                work,
                plan_id,
                plan_form.read_values(work, form),
                actor=current_actor(),
                now=current_time(),
                reason=form.text("reason"),
                group_ids=current_group_ids(),
                version=plan_form.read_version(form),
            )
    except PiculusError as error:
        form.fail(error)
        return _plan_dialog(form, plan, 409 if isinstance(error, ConflictError) else 400)
    return _saved(_("方案 %(name)s 已保存", name=saved.fixer_code), saved)


@blueprint.route("/<int:plan_id>/<any(enable, disable, delete):action>", methods=["GET", "POST"])
@requires("operator")
def act_on_plan(plan_id: int, action: str) -> ResponseReturnValue:
    plan = service.get_plan(db.session, plan_id, current_group_ids())
    form = Form(request.form)
    if request.method == "GET":
        return _action_dialog(form, plan, action, 200)
    act = {"enable": service.enable_plan, "disable": service.disable_plan, "delete": service.delete_plan}
    try:
        with unit_of_work() as work:
            act[action](
                work,
                plan_id,
                actor=current_actor(),
                now=current_time(),
                reason=form.text("reason"),
                group_ids=current_group_ids(),
            )
    except PiculusError as error:
        form.fail(error)
        return _action_dialog(form, plan, action, 409 if isinstance(error, ConflictError) else 400)
    done = {
        "enable": _("方案 %(name)s 已启用", name=plan.fixer_code),
        "disable": _("方案 %(name)s 已失效，待发送的命令已取消", name=plan.fixer_code),
        "delete": _("方案 %(name)s 已删除", name=plan.fixer_code),
    }
    return finish(done[action], url_for("plans.list_plans"), moves=action == "delete")


@blueprint.post("/product")
@requires("operator")
def add_product_plans() -> ResponseReturnValue:
    """The eight plans of the product document, for a group that has none."""
    sys_code = Form(request.form).text("sys_code")
    with unit_of_work() as work:
        made = create_product_plans(
            work, sys_code, actor=current_actor(), now=current_time(), group_ids=current_group_ids()
        )
    return finish(
        _("已为 %(group)s 建立 %(n)s 个方案", group=sys_code, n=len(made)), url_for("plans.list_plans")
    )


def _action_dialog(form: Form, plan: Plan, action: str, status: int) -> ResponseReturnValue:
    is_deleting = action == "delete"
    return render_dialog(
        "plans/action.html",
        status,
        form=form,
        plan=plan,
        action=action,
        usage=usage_of(db.session, plan) if is_deleting else None,
        obstacles=service.in_the_way(db.session, plan) if is_deleting else [],
    )


def _plan_dialog(
    form: Form, plan: Plan | None, status: int, *, copied: Plan | None = None
) -> ResponseReturnValue:
    allowed = current_group_ids()
    zone = zone_or(plan_form.read_zone(db.session, form), DEFAULT_ZONE)
    return render_dialog(
        "plans/plan_form.html",
        status,
        form=form,
        plan=plan,
        copied=copied,
        obstacles=[] if plan is None else service.in_the_way(db.session, plan),
        told=explain(form.text("retry_cron"), zone, current_time()),
        group_choices=broadcast.group_choices(db.session, allowed),
        codes=fixer_choices(db.session, allowed),
        zones=ZONES,
        plan_defaults=PLAN_DEFAULTS,
        is_typed=plan_form.is_typed,
        LIMITS=LIMITS,
        THRESHOLDS=THRESHOLDS,
    )
