"""Money orders (再付, 冲正): proposing one, the second person's word, the list of them, the limits."""

from collections.abc import Callable
from functools import partial

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from agent.facts import Facts
from app import filters
from app.agents.stop_notices import marked_name
from app.anomalies.models import Anomaly
from app.anomalies.service import get_anomaly
from app.clock import current_time
from app.errors import ConflictError, ForbiddenError, NotFoundError, PiculusError
from app.executions import money_orders, order_limits, order_queries, shown
from app.executions.order_box import Box, box_of
from app.executions.order_guard import facts_of
from app.executions.order_models import MoneyOrder
from app.executions.order_people import person_of, refused_seconds, require_another
from app.extensions import db
from app.forms import Form
from app.i18n import translate as _
from app.keyset import Cut
from app.plans.broadcast import group_choices
from app.presentation import yuan
from app.rendering import finish, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group
from app.users.groups import get_group

blueprint = Blueprint("money_orders", __name__, url_prefix="/exceptions/orders")

STALE = "expired"


@blueprint.get("")
def list_orders() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    wanted = order_queries.OrderFilter(
        group_ids=read_group(db.session, form, allowed),
        state=filters.word_of(form, "state", "order") or "",
        trade_no=form.text("trade_no"),
    )
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page = order_queries.list_orders(db.session, wanted, cut)
    return render_list(
        "executions/money_orders.html",
        "executions/_money_order_table.html",
        400 if form.errors else 200,
        page=page,
        second_refusals=refused_seconds(db.session, page.rows, current_actor().id, current_time()),
        count=order_queries.count_orders(db.session, wanted),
        form=form,
        group_choices=group_choices(db.session, allowed),
        limits=order_limits.list_limits(db.session, allowed),
        is_filtered=any(form.text(name) for name in ("trade_no", "group", "state")),
    )


@blueprint.route("/of/<int:anomaly_id>/<any(pay_again, reverse):action>", methods=["GET", "POST"])
@requires("operator")
def propose(anomaly_id: int, action: str) -> ResponseReturnValue:
    form, allowed = Form(request.form), current_group_ids()
    if request.method == "GET":
        return _proposal(form, anomaly_id, action, 200)
    try:
        with unit_of_work() as work:
            order = money_orders.propose(
                work,
                anomaly_id,
                "reverse" if action == "reverse" else "pay_again",
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=allowed,
                now=current_time(),
                seen=form.text(shown.FIELD),
            )
            is_waiting, number = order.state == "proposed", order.trade_no
    except (NotFoundError, ForbiddenError):
        raise
    except PiculusError as error:
        form.fail(error)
        return _proposal(form, anomaly_id, action, _status(error))
    done = (
        _("已提交，等待另一个人复核：%(number)s", number=number)
        if is_waiting
        else _("已发出：%(number)s", number=number)
    )
    return finish(done, url_for("anomalies.show_anomaly", anomaly_id=anomaly_id))


@blueprint.route("/<int:order_id>/<any(confirm, reject, withdraw):action>", methods=["GET", "POST"])
@requires("operator")
def decide(order_id: int, action: str) -> ResponseReturnValue:
    form, allowed = Form(request.form), current_group_ids()
    if request.method == "GET":
        return _decision(form, order_id, action, 200)
    acts: dict[str, Callable[..., MoneyOrder]] = {
        "confirm": partial(money_orders.confirm, seen=form.text(shown.FIELD)),
        "reject": money_orders.reject,
        "withdraw": money_orders.withdraw,
    }
    try:
        with unit_of_work() as work:
            order = acts[action](
                work,
                order_id,
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=allowed,
                now=current_time(),
            )
            state, anomaly_id = order.state, order.anomaly_id
    except (NotFoundError, ForbiddenError):
        raise
    except PiculusError as error:
        form.fail(error)
        return _decision(form, order_id, action, _status(error))
    url = url_for("anomalies.show_anomaly", anomaly_id=anomaly_id)
    if state == STALE:
        return finish(_("没有发出：提交之后情况已变，这笔指令已失效，请重新提交"), url, level="warning")
    done = {"confirm": _("已复核并发出"), "reject": _("已驳回"), "withdraw": _("已撤回")}[action]
    return finish(done, url)


@blueprint.route("/limits/<int:group_id>", methods=["GET", "POST"])
@requires("admin")
def set_limit(group_id: int) -> ResponseReturnValue:
    if request.method == "GET":
        limit = yuan(order_limits.limit_of(db.session, group_id)).replace(",", "")
        return _limit_dialog(Form({"limit": limit}), group_id, 200)
    form = Form(request.form)
    try:
        limit_minor = form.amount("limit")
        with unit_of_work() as work:
            order_limits.set_limit(
                work,
                group_id,
                limit_minor,
                reason=form.text("reason"),
                actor=current_actor(),
                now=current_time(),
                seen=form.text(shown.FIELD),
            )
    except (NotFoundError, ForbiddenError):
        raise
    except PiculusError as error:
        form.fail(error)
        return _limit_dialog(form, group_id, _status(error), is_anew=isinstance(error, ConflictError))
    # The limits stand beside the live table, so the page is loaded anew.
    return finish(_("复核限额已保存"), url_for("money_orders.list_orders"), moves=True)


def _status(error: PiculusError) -> int:
    return 409 if isinstance(error, ConflictError) else 400


def _proposal(form: Form, anomaly_id: int, action: str, status: int) -> ResponseReturnValue:
    anomaly = get_anomaly(db.session, anomaly_id, current_group_ids())
    facts, box = facts_of(anomaly), box_of(db.session, anomaly, current_time())
    limit = order_limits.limit_for(db.session, anomaly.group_id, current_actor().id, current_time())
    if box.refusal is not None:
        form.fail(box.refusal)
    return render_dialog(
        "executions/money_order_new.html",
        status,
        form=form,
        anomaly=anomaly,
        action=action,
        facts_read=facts,
        seen=money_orders.shown_to(db.session, anomaly, current_actor().id, current_time()),
        box=box,
        obstacle=next((offer.obstacle for offer in box.offers if offer.action == action), None),
        needs_second=money_orders.needs_second(anomaly, facts, limit.minor),
        limit=limit,
        second_because=_second_because(anomaly, facts, limit),
        agents=_agent_names(anomaly, action),
    )


def _agent_names(anomaly: Anomaly, action: str) -> list[str]:
    able = money_orders.agents_able(db.session, anomaly.group_id, anomaly.fixer_code, action, current_time())
    return [marked_name(one.name, is_stopped_here=one.stopped_here is not None) for one in able]


def _second_because(anomaly: Anomaly, facts: Facts | None, limit: order_limits.LimitFor) -> str:
    """Why an order takes a second person: own_limit, limit, or amount where that is in doubt."""
    if money_orders.needs_second(anomaly, facts, order_limits.MOST_MINOR):
        return "amount"
    is_own = limit.is_own_change and not money_orders.needs_second(anomaly, facts, limit.group_minor)
    return "own_limit" if is_own else "limit"


def _decision(form: Form, order_id: int, action: str, status: int) -> ResponseReturnValue:
    order: MoneyOrder = money_orders.get_order(db.session, order_id, current_group_ids())
    anomaly = get_anomaly(db.session, order.anomaly_id, current_group_ids())
    box = box_of(db.session, anomaly, current_time())
    return render_dialog(
        "executions/money_order_decision.html",
        status,
        form=form,
        order=order,
        anomaly=anomaly,
        action=action,
        seen=money_orders.shown_to_second(db.session, order, anomaly),
        facts_read=facts_of(anomaly),
        is_refused=action == "confirm" and _is_refused(form, order, box),
        is_stale=box.is_stale,
    )


def _is_refused(form: Form, order: MoneyOrder, box: Box) -> bool:
    """Whether a confirmation is refused whatever is typed, which the form then says: for want of a plan in
    force, by a stop, or since the person is not surely another than the proposer."""
    if box.refusal is not None and not box.is_stale:
        form.fail(box.refusal)
        return True
    try:
        require_another(
            db.session, order, person_of(db.session, current_actor(), order.group_id), current_time()
        )
    except ConflictError as error:
        form.fail(error)
        return True
    return False


def _limit_dialog(form: Form, group_id: int, status: int, *, is_anew: bool = True) -> ResponseReturnValue:
    """``is_anew`` false: the form carries on what it showed before."""
    group, limit_minor = get_group(db.session, group_id), order_limits.limit_of(db.session, group_id)
    return render_dialog(
        "executions/money_order_limit.html",
        status,
        form=form,
        group=group,
        limit_minor=limit_minor,
        seen=order_limits.shown_by_form(limit_minor) if is_anew else form.text(shown.FIELD),
    )
