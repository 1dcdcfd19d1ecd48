"""Exceptions (异常处理): repairing by click what may be repaired, and what waits for a person."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import doubts
from app.agents.queries import offer_counts
from app.anomalies import queries
from app.anomalies.queries import AnomalyFilter
from app.clock import current_time
from app.errors import ConflictError, InvalidError, PiculusError
from app.executions import (
    anomaly_filters,
    beyond_shown,
    bulk,
    bulk_course,
    bulk_queries,
    exceptions,
    held_back,
    human_queue,
    queue_views,
    selection,
    selection_shown,
    shown,
)
from app.executions.anomaly_views import filter_choices, plans_of_rows
from app.executions.order_guard import find_holds
from app.executions.order_people import refused_seconds
from app.executions.order_queries import count_waiting
from app.executions.starting import Order
from app.extensions import db
from app.filters import choice
from app.forms import Form, is_number, read_number
from app.guards.clicks import Beyond, Total, stopped_by
from app.i18n import choose_zone
from app.i18n import translate as _
from app.keyset import CappedCount, Cut
from app.messages import words
from app.rendering import finish, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires
from app.words import choices, word

blueprint = Blueprint("exceptions", __name__, url_prefix="/exceptions")

FILTERS = (
    "trade_no",
    "group",
    "fixer",
    "kind",
    "state",
    "plan",
    "level",
    "cause",
    "age",
    "held",
    "amount_from",
    "amount_to",
)
OF_BOTH_TABS: Final = ("trade_no", "group", "fixer", "kind", "amount_from", "amount_to")
"""The filters that a click on the other tab takes along."""
IDS_LIMIT = 500
GREW: Final = (selection_shown.GREW, selection_shown.BEGUN, selection_shown.TRIED, beyond_shown.GREW)
"""Why nothing was sent of what a form showed, though each of its trades may be as it was."""


@blueprint.get("")
def list_exceptions() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    tab = _tab(form)
    wanted = exceptions.tab_filter(db.session, _read(form), tab)
    is_queue = tab == exceptions.HUMAN
    sort = anomaly_filters.read_sort(form, exceptions.DEFAULT_SORTS[tab])
    page = exceptions.list_exceptions(db.session, wanted, _cut(tab), sort)
    plans = plans_of_rows(page.rows)
    going = wanted if is_queue else held_back.without_stopped(db.session, wanted, current_time())
    count = queries.count_anomalies(db.session, wanted)
    counts = exceptions.count_tabs(db.session, allowed)
    marks = {} if is_queue else held_back.marks_of(db.session, page.rows, plans)
    for_click = held_back.ids_for_click(page.rows, plans, marks)
    cases = human_queue.read_cases(db.session, page.rows, plans, current_time()) if is_queue else []
    orders = [case.order for case in cases if case.order is not None]
    return render_list(
        "exceptions/index.html",
        "exceptions/_table.html",
        400 if form.errors else 200,
        page=page,
        count=count,
        reach=None if is_queue else exceptions.reach_of_click(db.session, wanted, going, count),
        marks=marks,
        selectable={one.id for one in page.rows} if is_queue else for_click,
        repairing=counts.repairing,
        tab_counts=_beside_tabs(form, tab, count, counts),
        plans=plans,
        cases=cases,
        second_refusals=refused_seconds(db.session, orders, current_actor().id, current_time()),
        reason_counts=human_queue.count_reasons(db.session, replace(wanted, reason="")) if is_queue else [],
        doubts=doubts,
        holds={} if is_queue else find_holds(db.session, page.rows, by_person=True),
        live_bulks=bulk_queries.count_live(db.session, allowed),
        paused_bulks=bulk_queries.count_paused(db.session, allowed),
        waiting_orders=count_waiting(db.session, allowed),
        form=form,
        tab=tab,
        repair_all_url=_repair_all_url(),
        sort=sort,
        filters=FILTERS,
        is_filtered=anomaly_filters.is_filtered(form, FILTERS),
        age_choices=queue_views.age_choices(),
        level_choices=choices("level"),
        mode_choices=[*choices("mode"), ("shadow", _("影子运行"))],
        held_choices=[("yes", _("超出限额"))],
        state_choices=[(state, word("anomaly", state)) for state in queries.TAB_STATES["executable"]],
        **filter_choices(form),
    )


def _cut(tab: str) -> Cut:
    asked = request.args
    return Cut(after=asked.get("after"), before=asked.get("before"), size=exceptions.PAGE_SIZES[tab])


def _beside_tabs(
    form: Form, tab: str, count: CappedCount, unfiltered: exceptions.TabCounts
) -> dict[str, str]:
    """Return how many rows each tab shows: where a filter stands, of this one and of what its link keeps."""
    if not anomaly_filters.is_filtered(form, FILTERS):
        return {
            exceptions.EXECUTABLE: f"{unfiltered.executable:,}",
            exceptions.HUMAN: f"{unfiltered.human:,}",
        }
    other = exceptions.EXECUTABLE if tab == exceptions.HUMAN else exceptions.HUMAN
    kept = _read(Form({name: form.text(name) for name in OF_BOTH_TABS}))
    there = queries.count_anomalies(db.session, exceptions.tab_filter(db.session, kept, other))
    return {tab: str(count), other: str(there)}


@blueprint.route("/repair", methods=["GET", "POST"])
@requires("operator")
def repair_many() -> ResponseReturnValue:
    """Show what a click on the ticked rows, or on all of a filter, would send; then send it."""
    if request.method == "GET":
        form = Form(request.args)
        return _preview(form, 200, until=queries.newest_id(db.session))
    form = Form(request.form)
    until = queries.newest_id(db.session)
    try:
        until = _until(form, until)
        begun = _begin(form, _selected(form, until))
    except PiculusError as error:
        form.fail(error)
        status = 409 if isinstance(error, ConflictError) else 400
        # Shown once more, for want of a reason, the form still stands on what was decided on.
        return _preview(form, status, until=until, is_anew=error.code in GREW)
    if not begun.sent:
        return finish(
            _("没有发出：%(n)s 笔都已跳过", n=begun.skipped) + _changed_words(begun),
            url_for("exceptions.list_exceptions"),
            level="warning",
        )
    return finish(_told(begun), _following(begun), moves=bool(begun.bulks))


def _begin(form: Form, wanted: AnomalyFilter) -> bulk.Begun:
    """Begin to repair what the form showed. Raises as bulk.begin, and ConflictError('selection_grew')."""
    order = Order("click", current_actor(), form.text("reason"), current_time())
    carried = form.many(shown.FIELD)
    figures = shown.carried(carried)
    with unit_of_work() as work:
        if not form.is_ticked("all"):
            seen = shown.carried_of(carried, wanted.ids)
            return bulk.begin(work, wanted, order, limit=bulk.LIMIT, seen=seen, figures=figures)
        now = selection.share_out(work, wanted, order.now)
        selection_shown.require_no_more(figures, now.by_plan)
        # A form of one trade showed it like a ticked one; of more than one it shows sums.
        one = {int(name): what for name, what in figures.items() if is_number(name)} or None
        return bulk.begin(work, wanted, order, limit=bulk.LIMIT, seen=one, figures=figures)


def _told(begun: bulk.Begun) -> str:
    if begun.bulks:
        told = _("批量修复已开始：先修复 1 笔，核实后 10 笔，再其余；共 %(n)s 笔", n=begun.sent)
    else:
        told = _("已发出 %(n)s 笔修复", n=begun.sent)
    told += _("，跳过 %(n)s 笔", n=begun.skipped) if begun.skipped else ""
    told += _changed_words(begun)
    return told if begun.is_all else told + _("；其余请再点一次")


def _changed_words(begun: bulk.Begun) -> str:
    return _("，其中 %(n)s 笔打开之后有了变化，请看过再决定", n=begun.changed) if begun.changed else ""


def _following(begun: bulk.Begun) -> str:
    """Return where a person sees how it goes on."""
    if len(begun.bulks) == 1:
        return url_for("bulk.show_bulk", bulk_id=begun.bulks[0].id)
    return url_for("bulk.list_bulks") if begun.bulks else url_for("exceptions.list_exceptions")


def _until(form: Form, newest: int) -> int:
    """Return the id up to which the preview looked, ``newest`` at most. Raises InvalidError('filter')."""
    try:
        asked = form.number("until")
    except InvalidError as error:
        # No field shows it: it is told of the form as a whole.
        raise InvalidError("filter") from error
    return newest if asked is None else min(asked, newest)


def _selected(form: Form, until: int) -> AnomalyFilter:
    """Return what was ticked, or all of the filter. Raises InvalidError (filter, ids_required, too_many)."""
    allowed = current_group_ids()
    if form.is_ticked("all"):
        wanted = exceptions.tab_filter(db.session, _read(form), exceptions.EXECUTABLE)
        if form.errors.keys() & set(FILTERS):
            # What a wrong filter leaves out of account must not be repaired.
            raise InvalidError("filter")
        return replace(wanted, until_id=until)
    ids = tuple(read_number(one) for one in form.many("ids"))
    if not ids:
        raise InvalidError("ids_required")
    if len(ids) > IDS_LIMIT:
        raise InvalidError("too_many", limit=IDS_LIMIT)
    return AnomalyFilter(group_ids=allowed, ids=ids)


def _preview(form: Form, status: int, *, until: int, is_anew: bool = True) -> ResponseReturnValue:
    """``is_anew`` false: the form carries on what it showed before."""
    try:
        foreseen, passed, seen = _foresee(_selected(form, until))
    except InvalidError as error:
        form.fail(error)
        foreseen, passed, seen, status = selection.Preview((), ()), [], [], 400
    group_ids = {share.plan.group_id for share in foreseen.by_plan}
    return render_dialog(
        "exceptions/repair.html",
        status,
        form=form,
        foreseen=foreseen,
        over=sum((one.over for one in passed), Total()),
        stopped=stopped_by(passed),
        seen=seen if is_anew else form.many(shown.FIELD),
        until=until,
        click_limit=bulk.LIMIT,
        window=bulk_course.WINDOW,
        filters=FILTERS,
        skip_words=_skip_words,
        offers=offer_counts(db.session, sorted(group_ids), current_time()),
    )


def _foresee(wanted: AnomalyFilter) -> tuple[selection.Preview, list[Beyond], list[str]]:
    """Return what would be sent, what that goes beyond by plan, and what the form carries of both: of each
    ticked row, or of the table, and of the only trade of a filter."""
    now = current_time()
    # Read before what is shown: what changes in between is left out, never taken as seen.
    first = selection.choose(db.session, wanted, IDS_LIMIT if wanted.ids else 2, now).chosen
    ticked = first if wanted.ids or len(first) == 1 else ()
    digests = selection_shown.digests_of(db.session, ticked)
    foreseen = selection.preview(db.session, wanted, now)
    plans = [share.plan for share in foreseen.by_plan]
    chosen: Sequence[selection.Chosen] = ticked
    if not wanted.ids and selection_shown.has_guard(db.session, plans):
        chosen = selection.choose(db.session, wanted, bulk.LIMIT, now).chosen
    passed = selection_shown.foresee_chosen(db.session, plans, chosen, now)
    seen = shown.named({str(one): digest for one, digest in digests.items()})
    if not wanted.ids:
        seen += shown.named(selection_shown.figures_of(foreseen.by_plan))
    figures = beyond_shown.figures_of_many(passed) | selection_shown.newest_of(foreseen)
    return foreseen, passed, seen + shown.named(figures)


def _repair_all_url() -> str:
    kept = {name: values for name, values in request.args.lists() if name in FILTERS}
    return url_for("exceptions.repair_many", all=1, **kept)  # type: ignore[arg-type]


def _skip_words(code: str) -> str:
    """Return why some of a selection are left out; not all codes name a single trade or group here."""
    of_many = {
        "trade_busy": _("正有命令在执行。"),
        "group_disabled": _("系统组别已停用。"),
        "stopped_all": _("已全部紧急停止。"),
        "stopped_group": _("系统组别已紧急停止。"),
        "stopped_agent": _("客户端已紧急停止。"),
        "stopped_here": _("客户端已在本地停止。"),
    }
    return of_many.get(code) or words(ConflictError(code))


def _read(form: Form) -> AnomalyFilter:
    wanted = anomaly_filters.read_filter(db.session, form, choose_zone(), current_group_ids())
    age = choice(form, "age", form.text("age"), human_queue.AGES)
    return replace(wanted, changed_to=current_time() - human_queue.AGES[age]) if age else wanted


def _tab(form: Form) -> str:
    tab = form.text("tab")
    return tab if tab in exceptions.TABS else exceptions.EXECUTABLE
