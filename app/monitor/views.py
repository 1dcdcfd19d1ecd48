"""Home and the counters of the menu, the frame monitor, the global search."""

from datetime import timedelta
from functools import cached_property

from flask import Blueprint, Response, abort, current_app, make_response, redirect, render_template, request
from flask_babel import gettext as _
from werkzeug.wrappers import Response as BaseResponse

from app.agents.frames import UNREADABLE
from app.agents.models import Agent, Command
from app.agents.queries import agent_choices
from app.agents.stop_banner import standing_stops, stopped_agents
from app.anomalies.models import Anomaly
from app.clock import current_time
from app.errors import InvalidError
from app.executions.bulk_queries import count_paused
from app.executions.models import Execution
from app.executions.order_queries import count_waiting
from app.extensions import db
from app.forms import Form
from app.guards.breakers import list_tripped
from app.i18n import choose_zone, language
from app.monitor import charts, conversation, fleet, frame_filters, frame_types, frames, home, open_anomalies
from app.monitor import search as searching
from app.monitor.frames import FramePage
from app.monitor.home import Trend
from app.monitor.latest import latest_attempts
from app.monitor.open_anomalies import OpenFigures
from app.monitor.search import Hit
from app.plans.models import Plan
from app.rendering import is_fragment_request, render_detail, render_list
from app.users.access import current_group_ids

blueprint = Blueprint("monitor", __name__)

RANGES = {"24h": 24, "7d": 168}
"""Hours of the trend by its name in the URL."""
PAGES = {Anomaly: "/anomalies", Execution: "/executions", Agent: "/agents", Plan: "/plans"}
"""Where the page of a search hit begins."""
PARTS = {
    "breakers": "home/_breakers.html",
    "figures": "home/_figures.html",
    "trend": "home/_trend.html",
    "kinds": "home/_kinds.html",
    "latest": "home/_latest.html",
    "urgent": "home/_urgent.html",
}


@blueprint.get("/")
def index() -> Response:
    """Show home; every part refetches itself on ticks."""
    parts = _Parts()
    context: dict[str, object] = {}
    for part in PARTS:
        context |= parts.context(part)
    steps = fleet.first_steps(db.session, current_group_ids())
    return make_response(render_template("home/index.html", steps=steps, **context))


@blueprint.get("/home/<part>")
def home_part(part: str) -> Response:
    """Return one part of home as a fragment."""
    if part not in PARTS:
        abort(404)
    return make_response(render_template(PARTS[part], **_Parts().context(part)))


class _Parts:
    """What the parts of home show, for one request: what several of them show is read once."""

    def __init__(self) -> None:
        self._groups, self._now = current_group_ids(), current_time()
        chosen = request.args.get("range", "24h")
        self._range = chosen if chosen in RANGES else "24h"

    def context(self, part: str) -> dict[str, object]:
        """Return the values of a part's template; ``part`` is one of PARTS."""
        if part == "figures":
            return {"now": self._now, **self._figures()}
        if part == "breakers":
            return {"breakers": list_tripped(db.session, self._groups)}
        if part == "trend":
            return {"trend": self._trend, "range": self._range}
        if part == "kinds":
            return {"open": self._open}
        if part == "latest":
            return {"attempts": latest_attempts(db.session, self._groups)}
        return {
            "urgent": home.list_urgent(db.session, self._groups),
            "open": self._open,
            "paused_bulks": count_paused(db.session, self._groups),
            "waiting_orders": count_waiting(db.session, self._groups),
        }

    @cached_property
    def _open(self) -> OpenFigures:
        return open_anomalies.open_figures(db.session, self._groups)

    @cached_property
    def _day(self) -> Trend:
        return home.trend(db.session, self._groups, self._now, RANGES["24h"])

    @cached_property
    def _trend(self) -> Trend:
        if self._range == "24h":
            return self._day
        return home.trend(db.session, self._groups, self._now, RANGES[self._range])

    def _figures(self) -> dict[str, object]:
        since = home.midnight(self._now, choose_zone())
        return {
            "open": self._open,
            "open_amount": charts.short_amount(self._open.amount_minor, language()),
            "today": home.today(db.session, self._groups, since),
            "today_start": since.strftime("%Y-%m-%dT%H:%M"),
            "repair_time": home.repair_time(db.session, self._groups, since),
            "fleet": fleet.fleet(db.session, self._groups, self._now, _heartbeat()),
            "sparks": {
                "found": charts.spark(self._day.found),
                "repaired": charts.spark(self._day.repaired),
                "amount": charts.spark(self._day.found_amount_minor),
            },
            "found_day": sum(self._day.found),
        }


def _heartbeat() -> timedelta:
    return timedelta(seconds=current_app.extensions["settings"].heartbeat_seconds)


@blueprint.get("/menu-counts")
def menu_counts() -> Response:
    """Return the counters of the menu, to be put in their places out of band."""
    groups = current_group_ids()
    return make_response(
        render_template(
            "home/_menu_counts.html",
            waiting=open_anomalies.count_for_person(db.session, groups),
            stops=len(standing_stops()) + len(stopped_agents()),
            breakers=len(list_tripped(db.session, groups)),
            fleet=fleet.fleet(db.session, groups, current_time(), _heartbeat()),
        )
    )


@blueprint.get("/frames")
def frame_list() -> Response:
    """List frames, newest first, by the filters in the URL."""
    groups = current_group_ids()
    form = Form(request.args)
    listing, status = FramePage(), 200
    try:
        wanted = frame_filters.read_filter(db.session, form, choose_zone(), groups)
        listing = frames.list_frames(db.session, groups, wanted, frame_filters.read_cut(form))
    except InvalidError as error:
        form.fail(error)
        status = 400
    return render_list(
        "frames/index.html",
        "frames/_table.html",
        status,
        listing=listing,
        form=form,
        agents=agent_choices(db.session, groups, form.text("agent")),
        types=[(name, _frame_type(name)) for name in frame_types.TYPES],
        type_counts=frames.count_types(db.session, groups),
        is_filtered=frame_filters.is_filtered(form),
        settings=current_app.extensions["settings"],
    )


@blueprint.app_template_filter("frame_type")
def _frame_type(name: str) -> str:
    """Return a frame's type as it is shown: what is no message has none of the protocol's names."""
    return _("无法读取") if name == UNREADABLE else name


@blueprint.get("/frames/<int:frame_id>")
def frame_detail(frame_id: int) -> Response:
    """Show one frame with its content."""
    frame, line = frames.get_frame(db.session, frame_id, current_group_ids())
    return render_detail(
        "frames/detail.html", entry=frame, line=line, content=frame_types.content_of(frame.body)
    )


@blueprint.get("/frames/commands/<command_id>")
def command_conversation(command_id: str) -> Response:
    """Show the whole conversation of a command, in order."""
    after = Form(request.args).number("after")
    found = conversation.get_conversation(db.session, command_id, current_group_ids(), after)
    return render_list("frames/conversation.html", "frames/_conversation.html", conversation=found)


@blueprint.get("/search")
def search() -> BaseResponse:
    """Search everything; the only hit is opened at once."""
    found = searching.search(db.session, current_group_ids(), request.args.get("q", ""))
    if found.only_hit is not None and not is_fragment_request():
        return redirect(_page_of(found.only_hit))
    return render_list("search/index.html", "search/_results.html", found=found)


def _page_of(hit: Hit) -> str:
    if isinstance(hit, Command):
        return f"/frames/commands/{hit.id}"
    return f"{PAGES[type(hit)]}/{hit.id}"
