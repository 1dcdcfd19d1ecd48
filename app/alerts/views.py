"""The alerts page (告警): what was sent. Channels and silences stand beside it."""

from typing import Any

from flask import Blueprint, current_app, request, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user

from app import filters
from app.alerts import channels, queries, resending, silences
from app.alerts.models import AlertChannel, AlertDelivery
from app.alerts.outbox import letter_of
from app.alerts.queries import DeliveryFilter
from app.alerts.texts import Message, compose
from app.clock import current_time
from app.errors import ConflictError, NotFoundError, PiculusError
from app.extensions import db
from app.forms import Form
from app.i18n import choose_zone, language
from app.i18n import translate as _
from app.keyset import Cut
from app.rendering import finish, render_detail, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users import groups
from app.users.access import current_actor, current_group_ids, requires
from app.users.group_filter import read_group

blueprint = Blueprint("alerts", __name__, url_prefix="/alerts")

FILTERS = ("group", "kind", "state", "channel")


@blueprint.get("")
def list_deliveries() -> ResponseReturnValue:
    form, allowed = Form(request.args), current_group_ids()
    cut = Cut(after=request.args.get("after"), before=request.args.get("before"))
    page, count = queries.list_deliveries(db.session, _wanted(form, allowed), cut)
    known = groups.list_groups(db.session, allowed)
    return render_list(
        "alerts/index.html",
        "alerts/_table.html",
        400 if form.errors else 200,
        page=page,
        count=count,
        form=form,
        group_choices=[(group.sys_code, group.sys_code) for group in known],
        channel_choices=_channel_choices(allowed),
        failing=queries.failing_channels(db.session, allowed),
        silent=silences.list_standing(db.session, allowed, current_time()),
        has_channels=bool(channels.list_channels(db.session, allowed)),
        is_filtered=any(form.text(name) for name in FILTERS),
    )


@blueprint.get("/<int:delivery_id>")
def show_delivery(delivery_id: int) -> ResponseReturnValue:
    allowed = current_group_ids()
    delivery = queries.get_delivery(db.session, delivery_id, allowed)
    # What has not been sent has no words of its own yet; those of an end for every group tell of each.
    is_for_reader = delivery.title and not (allowed is not None and delivery.tells_of_all_groups)
    message = Message(delivery.title, delivery.body) if is_for_reader else _foretold(delivery, allowed)
    return render_detail("alerts/detail.html", delivery=delivery, message=message)


@blueprint.route("/<int:delivery_id>/send-again", methods=["GET", "POST"])
@requires("operator")
def send_again(delivery_id: int) -> ResponseReturnValue:
    form, allowed = Form(request.form), current_group_ids()
    if request.method == "GET":
        return _send_dialog(form, delivery_id, 200)
    actor, now = current_actor(), current_time()
    try:
        with unit_of_work() as work:
            resending.send_again(
                work, delivery_id, reason=form.text("reason"), actor=actor, group_ids=allowed, now=now
            )
    except NotFoundError:
        raise
    except PiculusError as error:
        form.fail(error)
        return _send_dialog(form, delivery_id, 409 if isinstance(error, ConflictError) else 400)
    return finish(
        _("告警 #%(id)s 会再发一次，几秒内知道结果", id=delivery_id),
        url_for("alerts.show_delivery", delivery_id=delivery_id),
    )


def _send_dialog(form: Form, delivery_id: int, status: int) -> ResponseReturnValue:
    delivery = queries.get_delivery(db.session, delivery_id, current_group_ids())
    return render_dialog("alerts/send_again.html", status, form=form, delivery=delivery)


def _foretold(delivery: AlertDelivery, allowed: list[int] | None) -> Message:
    """Return what would be sent, in the words and at the clock of the reader of this page: of what still
    holds, what is of a group that they may see.
    """
    channel = db.session.get(AlertChannel, delivery.channel_id) if delivery.channel_id else None
    letter = letter_of(
        db.session,
        delivery,
        channel,
        url="",
        language=language(),
        zone=choose_zone(),
        group_ids=allowed,
    )
    return compose(letter, "", current_app.extensions["settings"].environment_name)


def _channel_choices(allowed: list[int] | None) -> list[tuple[str, str]]:
    if not current_user.may("operator"):
        return []
    return [(str(one.id), one.name) for one in channels.list_channels(db.session, allowed)]


def _wanted(form: Form, allowed: list[int] | None) -> DeliveryFilter:
    channel: Any = filters.choice(
        form, "channel", form.text("channel"), [value for value, _words in _channel_choices(allowed)]
    )
    group_ids = read_group(db.session, form, allowed)
    return DeliveryFilter(
        group_ids=group_ids,
        has_common=not form.text("group") or bool(form.errors.get("group")),
        kind=filters.word_of(form, "kind", "alert_kind"),
        state=filters.word_of(form, "state", "delivery"),
        channel_id=int(channel) if channel else None,
    )
