"""Executions (修复执行): every repair with its attempts, steps and evidence; retry now, cancel."""

from typing import Final

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.agents.queries import agent_choices
from app.anomalies.models import OPEN_STATES
from app.anomalies.service import get_anomaly
from app.clock import current_time
from app.errors import ConflictError, PiculusError
from app.executions import beyond_shown, queries, service, shown
from app.executions.attempts import last_attempts
from app.executions.models import OUTCOMES
from app.executions.order_queries import find_whole_by
from app.executions.queries import RUNNING, ExecutionDetail, ExecutionFilter
from app.executions.standing_refusals import find_refusal, find_repair_refusal
from app.executions.starting import Order
from app.extensions import db
from app.forms import Form
from app.guards import clicks
from app.i18n import translate as _
from app.keyset import Cut
from app.messages import words
from app.plans import broadcast
from app.plans.fixer_codes import fixer_choices
from app.rendering import finish, render_detail, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group
from app.words import word

blueprint = Blueprint("executions", __name__, url_prefix="/executions")

FILTERS: Final = ("trade_no", "group", "outcome", "fixer", "agent", "trigger", "start", "end")
RESOLUTIONS: Final = ("success", "confirmed_failed")
UNENDED: Final = "unended"
"""Of the anomaly's state, not of an attempt: running, waiting, to be tried again, or with a person."""
SILENT_REFUSALS: Final = ("closed", "repairing")
"""Why there is no retry that needs no words: the page shows it."""


@blueprint.get("")
def list_executions() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    wanted = _read_filter(form, allowed)
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page = queries.list_executions(db.session, wanted, cut)
    return render_list(
        "executions/index.html",
        "executions/_table.html",
        400 if form.errors else 200,
        page=page,
        last=last_attempts(db.session, page.rows),
        asked_outcome=wanted.outcome,
        count=queries.count_executions(db.session, wanted),
        form=form,
        group_choices=broadcast.group_choices(db.session, allowed),
        outcome_choices=_outcome_choices(),
        codes=fixer_choices(db.session, allowed),
        agent_choices=agent_choices(db.session, allowed, form.text("agent")),
        is_filtered=any(form.text(name) for name in FILTERS),
    )


@blueprint.get("/<int:execution_id>")
def show_execution(execution_id: int) -> ResponseReturnValue:
    below = Form(request.args).number("below")
    allowed = current_group_ids()
    detail = queries.execution_detail(db.session, execution_id, allowed, attempts_below=below)
    return render_detail(
        "executions/detail.html",
        detail=detail,
        retry_words=_retry_words(detail),
        refusal=find_refusal(db.session, detail.execution.anomaly, current_time()),
        ordered=find_whole_by(db.session, detail.execution.anomaly),
    )


@blueprint.route("/<int:execution_id>/<any(retry, cancel):action>", methods=["GET", "POST"])
@requires("operator")
def act_on_execution(execution_id: int, action: str) -> ResponseReturnValue:
    detail = queries.execution_detail(db.session, execution_id, current_group_ids())
    form = Form(request.form)
    if request.method == "GET":
        if action == "cancel" and detail.is_past_cancel:
            form.fail(ConflictError("money_moved"))
        return _dialog(form, detail, action, 200)
    try:
        act = _retry if action == "retry" else _cancel
        done = act(detail, form)
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, detail, action, 409 if isinstance(error, ConflictError) else 400)
    return finish(done, url_for("executions.show_execution", execution_id=execution_id))


def _dialog(form: Form, detail: ExecutionDetail, action: str, status: int) -> ResponseReturnValue:
    anomaly = detail.execution.anomaly
    passed = clicks.foresee_one(db.session, detail.plan, anomaly, current_time())
    refusal = find_repair_refusal(db.session, anomaly, current_time()) if action == "retry" else None
    if refusal is not None:
        form.fail(refusal)
    return render_dialog(
        "executions/action.html",
        status,
        form=form,
        detail=detail,
        action=action,
        seen=[shown.digest_of(anomaly), *shown.named(beyond_shown.figures_of_one(passed))],
        passed=passed,
        refusal=refusal,
    )


def _retry(detail: ExecutionDetail, form: Form) -> str:
    """Attempt once more what the form showed."""
    anomaly_id, allowed = detail.execution.anomaly_id, current_group_ids()
    order = Order("click", current_actor(), form.text("reason"), current_time())
    with unit_of_work() as work:
        shown.require_same(form.text(shown.FIELD), get_anomaly(work, anomaly_id, allowed))
        figures = shown.carried(form.many(shown.FIELD))
        attempt = service.retry_now(work, anomaly_id, order, group_ids=allowed, figures=figures)
    return _("第 %(n)s 次执行已发出", n=attempt.number)


def _cancel(detail: ExecutionDetail, form: Form) -> str:
    """Ask that the running attempt stop and say how far it had come."""
    if detail.running is None:
        raise ConflictError("command_closed")
    with unit_of_work() as work:
        attempt = service.cancel_attempt(
            work,
            detail.running.id,
            reason=form.text("reason"),
            actor=current_actor(),
            group_ids=current_group_ids(),
            now=current_time(),
        )
        outcome = attempt.outcome
    if outcome == "cancelled":
        return _("第 %(n)s 次执行已取消：还没有发给客户端，没有移动资金", n=attempt.number)
    if outcome is not None:
        return _("第 %(n)s 次执行不再发出：失去联系的客户端可能已经开始，会先核实", n=attempt.number)
    return _(
        "已要求停止第 %(n)s 次执行：客户端在下一个外部动作之前停下；至今没有收到资金移动的记录",
        n=attempt.number,
    )


def _read_filter(form: Form, allowed: list[int] | None) -> ExecutionFilter:
    outcomes = [value for value, _words in _outcome_choices()]
    outcome = filters.choice(form, "outcome", form.text("outcome"), outcomes)
    is_resolution, is_unended = outcome in RESOLUTIONS, outcome == UNENDED
    return ExecutionFilter(
        group_ids=read_group(db.session, form, allowed),
        resolution=outcome if is_resolution else "",
        outcome="" if is_resolution or is_unended else outcome,
        states=OPEN_STATES if is_unended else (),
        fixer_code=form.text("fixer"),
        agent_id=filters.read(form, lambda: form.number("agent")),
        trigger=filters.word_of(form, "trigger", "attempt_trigger"),
        trade_no=form.text("trade_no"),
        created_from=filters.moment(form, "start"),
        created_to=filters.moment(form, "end"),
    )


def _outcome_choices() -> list[tuple[str, str]]:
    """Outcomes for a select; beside 已修复 stands what it was repaired to."""
    return [
        (UNENDED, _("未结束")),
        *((one, word("outcome", one)) for one in (RUNNING, "repaired")),
        *((one, word("resolution", one)) for one in RESOLUTIONS),
        *((one, word("outcome", one)) for one in OUTCOMES if one != "repaired"),
    ]


def _retry_words(detail: ExecutionDetail) -> str:
    """Why there is no retry, where the page does not show it already."""
    code = detail.retry_refusal
    if code is None or code in SILENT_REFUSALS:
        return ""
    anomaly = detail.execution.anomaly
    return words(ConflictError(code, sys_code=anomaly.group.sys_code, trade_no=anomaly.trade_no))
