"""Channels (告警渠道): an admin makes, changes, tries and deletes them; an operator sees what there is."""

from flask import Blueprint, current_app, request, url_for
from flask.typing import ResponseReturnValue

from app.alerts import channels, outbox, silences
from app.alerts.channels import ChannelValues
from app.alerts.courier import Courier
from app.alerts.events import KINDS
from app.alerts.models import AlertChannel
from app.alerts.secrecy import masked
from app.alerts.sender import SCHEMES, Sender
from app.clock import current_time
from app.errors import ConflictError, InvalidError, PiculusError
from app.extensions import db, limiter
from app.forms import Form
from app.i18n import ZONES, choose_zone, language
from app.i18n import translate as _
from app.rendering import finish, render_dialog, render_list
from app.unit_of_work import unit_of_work
from app.users import groups
from app.users.access import current_actor, current_group_ids, requires
from app.words import choices

blueprint = Blueprint("alert_channels", __name__, url_prefix="/alerts/channels")


@blueprint.get("")
@requires("operator")
def list_channels() -> ResponseReturnValue:
    allowed = current_group_ids()
    found = channels.list_channels(db.session, allowed)
    return render_list(
        "alerts/channels.html",
        "alerts/_channels_table.html",
        shown=[(one, _state(one), masked(one.url)) for one in found],
        silent=silences.list_standing(db.session, allowed, current_time()),
        kinds_count=len(KINDS),
    )


@blueprint.route("/new", methods=["GET", "POST"])
@requires("admin")
def create_channel() -> ResponseReturnValue:
    if request.method == "GET":
        begun = {
            "kinds": list(KINDS),
            "least_level": "0",
            "language": language(),
            "grouping_seconds": "60",
            "zone": choose_zone(),
            "tells_recovery": True,
            "is_enabled": True,
        }
        return _form_dialog(Form(begun), None, 200)
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            channel = channels.create_channel(
                work, _values(form), sender=_sender(), actor=current_actor(), now=current_time()
            )
    except PiculusError as error:
        form.fail(error)
        return _form_dialog(form, None, 409 if isinstance(error, ConflictError) else 400)
    return finish(_("告警渠道 %(name)s 已建立", name=channel.name), url_for("alert_channels.list_channels"))


@blueprint.route("/<int:channel_id>", methods=["GET", "POST"])
@requires("admin")
def edit_channel(channel_id: int) -> ResponseReturnValue:
    channel = channels.get_channel(db.session, channel_id)
    if request.method == "GET":
        return _form_dialog(Form(_stored(channel)), channel, 200)
    form = Form(request.form)
    try:
        with unit_of_work() as work:
            channels.update_channel(
                work,
                channel_id,
                _values(form),
                sender=_sender(),
                actor=current_actor(),
                now=current_time(),
            )
    except PiculusError as error:
        form.fail(error)
        return _form_dialog(form, channel, 409 if isinstance(error, ConflictError) else 400)
    name = form.text("name")
    return finish(_("告警渠道 %(name)s 已保存", name=name), url_for("alert_channels.list_channels"))


@blueprint.route("/<int:channel_id>/delete", methods=["GET", "POST"])
@requires("admin")
def delete_channel(channel_id: int) -> ResponseReturnValue:
    channel, form = channels.get_channel(db.session, channel_id), Form(request.form)
    if request.method == "GET":
        return render_dialog("alerts/channel_delete.html", form=form, channel=channel)
    actor, reason, now = current_actor(), form.text("reason"), current_time()
    try:
        with unit_of_work() as work:
            channels.delete_channel(work, channel_id, reason=reason, actor=actor, now=now)
    except PiculusError as error:
        form.fail(error)
        return render_dialog("alerts/channel_delete.html", 400, form=form, channel=channel)
    url = url_for("alert_channels.list_channels")
    return finish(_("告警渠道 %(name)s 已删除", name=channel.name), url, level="warning")


@blueprint.route("/<int:channel_id>/test", methods=["GET", "POST"])
@requires("admin")
@limiter.limit("20 per minute", methods=["POST"])
def test_channel(channel_id: int) -> ResponseReturnValue:
    """Send a real message now, and show in the dialog whether it went."""
    channel, error = channels.get_channel(db.session, channel_id), None
    if request.method == "POST":
        error = _try(channel_id)
    return render_dialog(
        "alerts/channel_test.html", form=Form(), channel=channel, address=masked(channel.url), error=error
    )


def _try(channel_id: int) -> str:
    """Send a test message; return the error, '' for none."""
    with unit_of_work() as work:
        letter = outbox.claim_test(work, channels.get_channel(work, channel_id), current_time())
    courier: Courier = current_app.extensions["courier"]
    error = courier.post(letter)
    with unit_of_work() as work:
        channel = channels.get_channel(work, channel_id)
        channels.record_test(work, channel, actor=current_actor(), error=error, now=current_time())
    return error


def _sender() -> Sender:
    sender: Sender = current_app.extensions["alert_sender"]
    return sender


def _state(channel: AlertChannel) -> str:
    if not channel.is_enabled:
        return "disabled"
    if channel.failing_since is not None:
        return "failing"
    return "working" if channel.last_sent_at is not None else "unused"


def _values(form: Form) -> ChannelValues:
    return ChannelValues(
        name=form.text("name"),
        kind=form.text("channel_kind"),
        url=form.text("url"),
        is_plain_confirmed=form.is_ticked("is_plain_confirmed"),
        sys_code=form.text("group"),
        kinds=tuple(form.many("kinds")),
        least_level=_number(form, "least_level"),
        language=form.text("language"),
        grouping_seconds=_number(form, "grouping_seconds"),
        quiet_from=form.text("quiet_from"),
        quiet_to=form.text("quiet_to"),
        zone=form.text("zone"),
        tells_recovery=form.is_ticked("tells_recovery"),
        is_enabled=form.is_ticked("is_enabled"),
        reason=form.text("reason"),
    )


def _number(form: Form, name: str) -> int | None:
    try:
        return form.number(name)
    except InvalidError:
        return None


def _stored(channel: AlertChannel) -> dict[str, object]:
    """Return what the form begins with; the URL is not sent out again."""
    names = ["name", "kinds", "least_level", "language", "grouping_seconds", "quiet_from", "quiet_to"]
    names += ["zone", "tells_recovery", "is_enabled"]
    group = "" if channel.group is None else channel.group.sys_code
    stored = {name: getattr(channel, name) for name in names}
    return stored | {"channel_kind": channel.kind, "group": group}


def _form_dialog(form: Form, channel: AlertChannel | None, status: int) -> ResponseReturnValue:
    known = groups.list_groups(db.session)
    return render_dialog(
        "alerts/channel_form.html",
        status,
        form=form,
        channel=channel,
        address=None if channel is None else masked(channel.url),
        group_choices=[(group.sys_code, f"{group.sys_code} {group.name}") for group in known],
        kind_choices=[(kind, words) for kind, words in choices("alert_kind") if kind in KINDS],
        schemes=[(kind, tuple(f"{scheme}://" for scheme in some)) for kind, some in SCHEMES.items()],
        zones=ZONES,
        grouping=channels.GROUPING,
    )
