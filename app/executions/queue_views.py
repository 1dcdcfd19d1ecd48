"""待人工 by the many: verifying or ignoring what a person has ticked in the queue."""

from collections import Counter
from collections.abc import Mapping
from typing import Final, cast

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app.clock import current_time
from app.errors import ConflictError, InvalidError, PiculusError
from app.executions import human_queue, many, shown
from app.executions.many import BATCH, Done, ManyAction
from app.executions.starting import Order
from app.extensions import db
from app.filters import read
from app.forms import Form, read_number
from app.i18n import translate as _
from app.messages import words
from app.rendering import finish, render_dialog
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires

blueprint = Blueprint("queue", __name__, url_prefix="/exceptions/queue")

IDS_LIMIT: Final = 500


@blueprint.route("/<any(verify, ignore):action>", methods=["GET", "POST"])
@requires("operator")
def act_on_many(action: str) -> ResponseReturnValue:
    """Show what was ticked; then verify or ignore it, for one reason."""
    form = Form(request.args if request.method == "GET" else request.form)
    ids = read(form, lambda: _ticked(form)) or []
    if request.method == "GET" or form.errors:
        return _dialog(form, action, ids, 400 if form.errors else 200)
    try:
        seen = shown.carried_of(form.many(shown.FIELD), ids)
        done = _act(cast("ManyAction", action), ids, form.text("reason"), seen)
    except PiculusError as error:
        form.fail(error)
        return _dialog(form, action, ids, 400)
    return _told(action, done)


def age_choices() -> list[tuple[str, str]]:
    """Return the choices of how long a row of the queue has waited at least."""
    told = {
        "1h": _("1 小时以上"),
        "4h": _("4 小时以上"),
        "1d": _("1 天以上"),
        "3d": _("3 天以上"),
        "7d": _("7 天以上"),
    }
    return [(age, told[age]) for age in human_queue.AGES]


def _act(action: ManyAction, ids: list[int], reason: str, seen: Mapping[int, str]) -> Done:
    """Act on all of ``ids``, BATCH of them a unit of work. Raises InvalidError for the reason."""
    order = Order("click", current_actor(), reason, current_time())
    done, skipped = 0, Counter[str]()
    for begin in range(0, len(ids), BATCH):
        with unit_of_work() as work:
            batch = many.act_on_batch(
                work, action, ids[begin : begin + BATCH], order, group_ids=current_group_ids(), seen=seen
            )
        done += batch.done
        skipped.update(batch.skipped)
    return Done(done, skipped)


def _told(action: str, done: Done) -> ResponseReturnValue:
    text = _("已要求核实 %(n)s 笔", n=done.done) if action == "verify" else _("已忽略 %(n)s 笔", n=done.done)
    for code, count in sorted(done.skipped.items()):
        text += _("；跳过 %(n)s 笔：%(why)s", n=count, why=_skip_words(code))
    url = url_for("exceptions.list_exceptions", tab="human")
    return finish(text, url, level="success" if done.done else "warning")


def _skip_words(code: str) -> str:
    """Return why some are left out; not all codes name a single trade or group here."""
    of_many = {
        "trade_busy": _("正有命令在执行。"),
        "group_disabled": _("系统组别已停用。"),
        "money_begun": _("修复已经移动资金，请单独处理。"),
        "debited_unpaid": _("客户已扣款、没有银行付出的记录，请单独处理。"),
        "order_stands": _("有资金指令等待复核或正在执行。"),
        "seen_changed": _("打开之后有了变化，请看过再决定。"),
        "state": _("已经结束，或正在修复。"),
        "anomaly": _("没有权限查看。"),
    }
    return of_many.get(code) or words(ConflictError(code))


def _ticked(form: Form) -> list[int]:
    """Return the ids ticked. Raises InvalidError (ids_required, too_many, number_format)."""
    ids = list(dict.fromkeys(read_number(one) for one in form.many("ids")))
    if not ids:
        raise InvalidError("ids_required")
    if len(ids) > IDS_LIMIT:
        raise InvalidError("too_many", limit=IDS_LIMIT)
    return ids


def _dialog(form: Form, action: str, ids: list[int], status: int) -> ResponseReturnValue:
    selected = many.read_selected(db.session, cast("ManyAction", action), ids, current_group_ids())
    return render_dialog(
        "exceptions/many.html",
        status,
        form=form,
        action=action,
        count=len(ids),
        willing=len(ids) - sum(selected.left_out.values()),
        left_out=[(_skip_words(code), n) for code, n in sorted(selected.left_out.items())],
        amounts_of=selected.amounts,
        # Shown once more, for want of a reason, the form still stands on what was decided on.
        seen={**selected.shown, **shown.carried_of(form.many(shown.FIELD), ids)},
    )
