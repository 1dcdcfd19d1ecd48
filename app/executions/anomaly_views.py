"""Anomalies (检查异常查询): the list, its CSV, one anomaly with its evidence, and what a person does with it.

They stand here because an anomaly shows its plan and its attempts, which only executions know together.
"""

from collections.abc import Iterator, Sequence

from flask import Blueprint, Response, redirect, request, stream_with_context, url_for
from flask.typing import ResponseReturnValue

from app import doubts
from app.anomalies import claims, queries
from app.anomalies import service as anomaly_service
from app.anomalies.models import ANOMALY_STATES, OPEN_STATES, TERMINAL_STATES, Anomaly
from app.clock import current_time
from app.errors import ConflictError, NotFoundError, PiculusError
from app.executions import (
    anomaly_filters,
    beyond_shown,
    held_back,
    human_queue,
    ignoring,
    service,
    shown,
)
from app.executions.anomaly_csv import csv_parts
from app.executions.attempts import find_running
from app.executions.case_file import CaseFile, predicted_row, read_case, select_statement
from app.executions.order_box import box_of
from app.executions.order_guard import ORDER_STANDS
from app.executions.order_people import refused_seconds
from app.executions.standing_refusals import find_repair_refusal
from app.executions.starting import Order
from app.extensions import db
from app.forms import Form
from app.guards import clicks
from app.i18n import choose_zone
from app.i18n import translate as _
from app.keyset import Cut
from app.plans.broadcast import group_choices
from app.plans.fixer_codes import agents_offering, fixer_choices
from app.plans.models import Plan
from app.plans.prediction_queries import find_telling
from app.plans.predictions import dry_run_refusal
from app.plans.queries import plans_by_pair, plans_of
from app.presentation import fixer_name
from app.reasons import reason_words
from app.rendering import finish, render_detail, render_dialog, render_list
from app.unit_of_work import WorkSession, unit_of_work
from app.users.access import current_actor, current_group_ids, requires
from app.words import choices, word

blueprint = Blueprint("anomalies", __name__, url_prefix="/anomalies")


@blueprint.get("")
def list_anomalies() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    wanted = anomaly_filters.read_filter(db.session, form, choose_zone(), allowed)
    sort = anomaly_filters.read_sort(form, queries.NEWEST_FIRST)
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page = queries.list_anomalies(db.session, wanted, cut, sort)
    return render_list(
        "anomalies/index.html",
        "anomalies/_table.html",
        400 if form.errors else 200,
        page=page,
        count=queries.count_anomalies(db.session, wanted),
        open_states=_open_states(form, wanted),
        plans=plans_of_rows(page.rows),
        form=form,
        sort=sort,
        export_url=_filtered_url("anomalies.export"),
        states=ANOMALY_STATES,
        closed_states=TERMINAL_STATES,
        is_filtered=anomaly_filters.is_filtered(form),
        is_further_filtered=anomaly_filters.is_filtered(form, anomaly_filters.FURTHER_FILTERS),
        **filter_choices(form),
    )


@blueprint.get("/export.csv")
def export() -> ResponseReturnValue:
    """Send every row of the filter; a wrong filter sends none, so that no file holds too much."""
    form = Form(request.args)
    wanted = anomaly_filters.read_filter(db.session, form, choose_zone(), current_group_ids())
    if form.errors:
        return redirect(_filtered_url("anomalies.list_anomalies"))
    parts: Iterator[str] = csv_parts(queries.csv_rows(db.session, wanted), plans_by_pair(db.session))
    name = f"anomalies-{current_time():%Y%m%d-%H%M%S}.csv"
    return Response(
        stream_with_context(parts),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


@blueprint.get("/<int:anomaly_id>")
def show_anomaly(anomaly_id: int) -> ResponseReturnValue:
    below = Form(request.args).number("below")
    case = read_case(db.session, anomaly_id, current_group_ids(), events_below=below)
    anomaly = case.anomaly
    is_open = anomaly.state in OPEN_STATES and anomaly.state != "repairing"
    plans = {} if case.plan is None else {(case.plan.group_id, case.plan.fixer_code): case.plan}
    box = box_of(db.session, anomaly, current_time())
    orders = [] if box.order is None else [box.order]
    return render_detail(
        "anomalies/detail.html",
        case=case,
        anomaly=anomaly,
        predicted=predicted_row(anomaly, _("记账时分配")),
        statement=select_statement(anomaly),
        prediction=find_telling(db.session, anomaly_id),
        can_try=case.command is None and dry_run_refusal(anomaly) is None,
        box=box,
        second_refusals=refused_seconds(db.session, orders, current_actor().id, current_time()),
        marks=held_back.marks_of(db.session, [anomaly], plans).get(anomaly.id, []),
        proposal=human_queue.propose_for(db.session, anomaly, case.plan, current_time()) if is_open else None,
        doubts=doubts,
    )


@blueprint.route(
    "/<int:anomaly_id>/<any(repair, retry, verify, outside, ignore, cancel):action>", methods=["GET", "POST"]
)
@requires("operator")
def act_on_anomaly(anomaly_id: int, action: str) -> ResponseReturnValue:
    form = Form(request.form)
    if request.method == "GET":
        return _dialog(form, anomaly_id, action, 200)
    try:
        with unit_of_work() as work:
            _act(work, anomaly_id, action, form)
    except NotFoundError:
        raise
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, anomaly_id, action, 409 if isinstance(error, ConflictError) else 400)
    anomaly = anomaly_service.get_anomaly(db.session, anomaly_id, current_group_ids())
    done = {
        "repair": _("已发出修复命令：%(number)s", number=anomaly.trade_no),
        "retry": _("已发出修复命令：%(number)s", number=anomaly.trade_no),
        "verify": _("已要求核实：%(number)s", number=anomaly.trade_no),
        "outside": _("已要求核实：%(number)s；三方一致才会关闭", number=anomaly.trade_no),
        "ignore": _("已忽略：%(number)s", number=anomaly.trade_no),
        "cancel": _("已要求取消：%(number)s；在下一个外部动作之前停下", number=anomaly.trade_no),
    }[action]
    return finish(done, url_for("anomalies.show_anomaly", anomaly_id=anomaly_id))


def _open_states(form: Form, wanted: queries.AnomalyFilter) -> dict[str, int] | None:
    """Return how many of the list are in each open state; None where more narrows it than its group, since a
    count would then look at every row."""
    others = [name for name in anomaly_filters.FILTERS if name not in ("group", "state")]
    if anomaly_filters.is_filtered(form, others):
        return None
    return queries.by_state(queries.open_counts(db.session, wanted.group_ids))


def _filtered_url(endpoint: str) -> str:
    """Return where ``endpoint`` shows what the filters of this URL say; nothing else is taken along."""
    filters = {name: values for name, values in request.args.lists() if name in anomaly_filters.FILTERS}
    return url_for(endpoint, **filters)  # type: ignore[arg-type]


def _act(work: WorkSession, anomaly_id: int, action: str, form: Form) -> None:
    """Do what was asked, once. Raises NotFoundError, InvalidError for what was typed, ConflictError."""
    actor, allowed, now, reason = current_actor(), current_group_ids(), current_time(), form.text("reason")
    order = Order("click", actor, reason, now)
    if action in ("repair", "retry"):
        shown.require_same(form.text(shown.FIELD), anomaly_service.get_anomaly(work, anomaly_id, allowed))
    if action == "repair":
        service.attempt_one(work, anomaly_id, order, group_ids=allowed, figures=_carried(form))
    elif action == "retry":
        service.retry_now(work, anomaly_id, order, group_ids=allowed, figures=_carried(form))
    elif action == "verify":
        anomaly_service.verify(work, anomaly_id, reason=reason, actor=actor, group_ids=allowed, now=now)
    elif action == "outside":
        claims.claim_healed(
            work,
            anomaly_id,
            reference=form.text("reference"),
            reason=reason,
            actor=actor,
            group_ids=allowed,
            now=now,
        )
    elif action == "ignore":
        ignoring.ignore(
            work,
            anomaly_id,
            reason=reason,
            actor=actor,
            group_ids=allowed,
            now=now,
            seen=form.text(shown.FIELD),
        )
    else:
        attempt = find_running(work, anomaly_service.get_anomaly(work, anomaly_id, allowed).id)
        if attempt is None:
            raise ConflictError("command_closed")
        service.cancel_attempt(work, attempt.id, reason=reason, actor=actor, group_ids=allowed, now=now)


def _carried(form: Form) -> dict[str, str]:
    return shown.carried(form.many(shown.FIELD))


def _dialog(form: Form, anomaly_id: int, action: str, status: int) -> ResponseReturnValue:
    case = read_case(db.session, anomaly_id, current_group_ids())
    refusal = _standing_refusal(case, action)
    if refusal is not None:
        form.fail(refusal)
    passed = clicks.foresee_one(db.session, case.plan, case.anomaly, current_time())
    figures = beyond_shown.figures_of_one(passed) if action in ("repair", "retry") else {}
    return render_dialog(
        "anomalies/action.html",
        status,
        form=form,
        case=case,
        anomaly=case.anomaly,
        action=action,
        seen=[shown.digest_of(case.anomaly), *shown.named(figures)],
        passed=passed,
        agents=_agents_for(case),
        box=box_of(db.session, case.anomaly, current_time()),
        refusal=refusal,
    )


def _standing_refusal(case: CaseFile, action: str) -> ConflictError | None:
    """Return what refuses an action whatever is typed, which its form tells before anyone asks."""
    if action == "ignore":
        return ConflictError(ORDER_STANDS) if case.hold == ORDER_STANDS else None
    if action not in ("repair", "retry"):
        return None
    return find_repair_refusal(db.session, case.anomaly, current_time())


def _agents_for(case: CaseFile) -> tuple[str, ...]:
    """Return the names of online agents that offer the fixer, the first ones."""
    anomaly = case.anomaly
    return agents_offering(db.session, anomaly.group_id, anomaly.fixer_code, current_time())


def plans_of_rows(anomalies: Sequence[Anomaly]) -> dict[tuple[int, str], Plan]:
    """Return the plans of the anomalies of a page, by (group id, fixer code)."""
    return plans_of(db.session, {(one.group_id, one.fixer_code) for one in anomalies})


def filter_choices(form: Form) -> dict[str, list[tuple[str, str]]]:
    """Return the choices of the filters of anomalies, what the URL holds beside what is offered."""
    allowed = current_group_ids()
    fixers = [(code, fixer_name(code)) for code in fixer_choices(db.session, allowed)]
    reasons = [(reason, reason_words(reason)) for reason in anomaly_filters.CAUSES]
    for name, offered, words in (("fixer", fixers, fixer_name), ("cause", reasons, reason_words)):
        chosen = form.text(name)
        if chosen and chosen not in dict(offered):
            offered.append((chosen, words(chosen)))
    plan_words = {"none": _("无方案"), "shadow": _("影子运行"), "disabled": _("方案失效")}
    return {
        "group_choices": group_choices(db.session, allowed),
        "fixer_choices": fixers,
        "reason_choices": reasons,
        "plan_choices": [
            (one, plan_words.get(one) or word("mode", one)) for one in anomaly_filters.PLAN_CHOICES
        ],
        "outcome_choices": [pair for pair in choices("decision") if pair[0] != "consistent"],
    }
