"""Bulk repairs (批量修复): how each goes on, and pausing, resuming and stopping it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from flask import Blueprint, request, url_for
from flask.typing import ResponseReturnValue

from app import filters
from app.agents.standing import find_blocks
from app.audit.words import action_words
from app.clock import current_time
from app.errors import ConflictError, NotFoundError, PiculusError
from app.executions import bulk, bulk_course, bulk_queries, bulk_shown, selection_shown, shown
from app.executions.bulk_models import SHOWN_STATES, BulkRepair
from app.executions.bulk_queries import BulkFilter
from app.executions.bulk_words import advice_words, halt_words, history_words, item_words
from app.extensions import db
from app.forms import Form
from app.guards.clicks import Beyond, Total, stopped_by
from app.i18n import translate as _
from app.keyset import Cut
from app.plans.broadcast import group_choices
from app.rendering import finish, render_detail, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group

blueprint = Blueprint("bulk", __name__, url_prefix="/exceptions/bulk")

FILTERS: Final = ("group", "state")


@blueprint.get("")
def list_bulks() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    wanted = BulkFilter(
        group_ids=read_group(db.session, form, allowed), state=filters.word_of(form, "state", "bulk")
    )
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page = bulk_queries.list_bulks(db.session, wanted, cut)
    return render_list(
        "bulk/index.html",
        "bulk/_table.html",
        400 if form.errors else 200,
        page=page,
        count=bulk_queries.count_bulks(db.session, wanted),
        why=_whys(page.rows),
        waiting=bulk_queries.waiting_counts(db.session, page.rows),
        sums=bulk_queries.sums_of(db.session, page.rows),
        window=bulk_course.WINDOW,
        form=form,
        group_choices=group_choices(db.session, allowed),
        is_filtered=any(form.text(name) for name in FILTERS),
    )


@blueprint.get("/<int:bulk_id>")
def show_bulk(bulk_id: int) -> ResponseReturnValue:
    found = bulk.get_bulk(db.session, bulk_id, current_group_ids())
    form = Form(request.args)
    state = filters.choice(form, "state", form.text("state"), SHOWN_STATES)
    items = bulk_queries.list_items(
        db.session, found.id, state, request.args.get("after"), request.args.get("before")
    )
    stages = bulk_queries.stage_counts(db.session, found.id)
    return render_detail(
        "bulk/detail.html",
        bulk=found,
        starter=bulk_queries.name_of_starter(db.session, found),
        why=_whys([found]),
        advice=advice_words,
        item_why=item_words,
        sums=bulk_queries.sums_of(db.session, [found])[found.id],
        items=items,
        trades=bulk_queries.trades_of(db.session, items.rows),
        state=state,
        item_counts=_item_counts(stages),
        stages=stages,
        window=bulk_course.WINDOW,
        history_why=history_words,
        action_words=action_words,
        history=bulk_queries.list_history(db.session, found.id),
    )


@blueprint.route("/<int:bulk_id>/<any(pause, resume, stop):action>", methods=["GET", "POST"])
@requires("operator")
def act_on_bulk(bulk_id: int, action: str) -> ResponseReturnValue:
    found = bulk.get_bulk(db.session, bulk_id, current_group_ids())
    form = Form(request.form)
    if request.method == "GET":
        return _dialog(form, found, action, 200)
    act = _acts(form)[action]
    try:
        with unit_of_work() as work:
            act(
                work,
                bulk_id,
                reason=form.text("reason"),
                actor=current_actor(),
                group_ids=current_group_ids(),
                now=current_time(),
            )
    except NotFoundError:
        raise
    except PiculusError as error:
        form.fail(error)
        is_conflict = isinstance(error, ConflictError)
        # Shown once more, for want of a reason, the form still stands on what was decided on.
        return _dialog(form, found, action, 409 if is_conflict else 400, is_anew=is_conflict)
    done = {
        "pause": _("批量修复 #%(id)s 已暂停；进行中的会自己结束", id=bulk_id),
        "resume": _("批量修复 #%(id)s 继续", id=bulk_id),
        "stop": _("批量修复 #%(id)s 已停止；进行中的会自己结束", id=bulk_id),
    }[action]
    return finish(done, url_for("bulk.show_bulk", bulk_id=bulk_id))


def _acts(form: Form) -> Mapping[str, Callable[..., BulkRepair]]:
    seen = shown.carried(form.many(shown.FIELD))
    return {"pause": bulk.pause, "resume": partial(bulk.resume, seen=seen), "stop": bulk.stop}


def _dialog(
    form: Form, found: BulkRepair, action: str, status: int, *, is_anew: bool = True
) -> ResponseReturnValue:
    """``is_anew`` false: the form carries on what it showed before."""
    is_resumed = action == "resume"
    passed = selection_shown.foresee_pending(db.session, found, current_time()) if is_resumed else []
    pending = bulk_queries.pending_of(db.session, found)
    pairs = [(found.group_id, code) for code in pending.fixer_codes] if is_resumed else []
    blocks = find_blocks(db.session, pairs, current_time())
    return render_dialog(
        "bulk/action.html",
        status,
        stopped=stopped_by(passed),
        over=sum((one.over for one in passed), Total()),
        form=form,
        bulk=found,
        action=action,
        pending_amounts=pending.amounts,
        block=next((blocks[pair].error() for pair in pairs if pair in blocks), None),
        is_held=bool(pairs) and len(blocks) == len(pairs),
        seen=_carried(form, found, passed, is_anew=is_anew) if is_resumed else [],
        waiting=bulk_queries.waiting_counts(db.session, [found]).get(found.id, 0),
        why=_whys([found]),
        advice=advice_words,
    )


def _carried(form: Form, found: BulkRepair, passed: Sequence[Beyond], *, is_anew: bool) -> list[str]:
    return bulk_shown.carried_by_form(found, passed) if is_anew else form.many(shown.FIELD)


def _item_counts(stages: Mapping[int, Mapping[str, int]]) -> Mapping[str, int]:
    """Return how many trades each link above the list shows: '' all, then each of SHOWN_STATES."""
    counts: Counter[str] = Counter()
    for of_stage in stages.values():
        counts.update(of_stage)
    return {"": counts.total(), **{state: counts[state] for state in SHOWN_STATES}}


def _whys(bulks: Sequence[BulkRepair]) -> Callable[[BulkRepair], str]:
    """Return what tells why each of these is paused or stopped; one query."""
    halts = bulk_queries.last_halts(db.session, bulks)
    return lambda found: halt_words(found, halts.get(found.id))
