"""Piculus's server. ``create_app`` is the one place where its parts are joined."""

from typing import Final

from flask import Flask, Response, abort, request
from sqlalchemy import ColumnElement
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import IntegerConverter

from agent.answers import (
    AnomaliesReported,
    Cancelled,
    CollectFinished,
    CollectProgress,
    FactsRead,
    RepairFinished,
    Started,
    StepRecorded,
)
from agent.message import Message
from agent.protocol import Ack, Rejected
from app import cli, doubts, error_pages, evidence, health, i18n, messages, notices, presentation, told
from app.agents import (
    commands,
    endpoint,
    local_stops,
    stop_banner,
    stop_notices,
    stop_views,
    stops,
    withdrawing,
)
from app.agents import views as agent_views
from app.agents.inbox import Handler
from app.alerts import channel_views, conditions, failures, silence_views
from app.alerts import service as alerts
from app.alerts import views as alert_views
from app.alerts.apprise_sender import AppriseSender
from app.alerts.courier import Courier
from app.anomalies import claims, collecting, collection_course, states
from app.audit import views as audit_views
from app.clock import Clock, utc_now
from app.config import Settings, read_secret_key, read_settings
from app.executions import (
    anomaly_views,
    attempt_record,
    bulk_endings,
    bulk_states,
    bulk_tending,
    bulk_views,
    bulk_words,
    exception_views,
    holding_back,
    money_order_views,
    order_course,
    queue_views,
    results,
    service,
    unanswered,
    unsent,
    verifications,
)
from app.executions import views as execution_views
from app.executions.bulk_tending import BulkTender
from app.executions.scheduler import Scheduler
from app.extensions import csrf, db, limiter, migrate
from app.forms import NUMBER_DIGITS
from app.guards import breakers, tripping, usage
from app.guards import notices as guard_notices
from app.guards import views as guard_views
from app.guards import words as guard_words
from app.monitor import views as monitor_views
from app.plans import collection_views, comparisons, cron_words, prediction_views
from app.plans import service as plans
from app.plans import views as plan_views
from app.runtime import Runtime
from app.users import groups, sessions
from app.users import views as user_views

BLUEPRINTS: Final = (
    health.blueprint,
    endpoint.blueprint,
    user_views.blueprint,
    audit_views.blueprint,
    agent_views.blueprint,
    stop_views.blueprint,
    collection_views.blueprint,
    plan_views.blueprint,
    prediction_views.blueprint,
    execution_views.blueprint,
    anomaly_views.blueprint,
    exception_views.blueprint,
    queue_views.blueprint,
    guard_views.blueprint,
    alert_views.blueprint,
    channel_views.blueprint,
    silence_views.blueprint,
    bulk_views.blueprint,
    money_order_views.blueprint,
    monitor_views.blueprint,
)

PARTS: Final = (
    health,
    i18n,
    presentation,
    evidence,
    doubts,
    messages,
    told,
    guard_words,
    usage,
    bulk_words,
    failures,
    error_pages,
    sessions,
    cron_words,
    stop_banner,
)
"""What has something to give the application: filters, context, answers to errors."""

HANDLERS: Final[dict[type[Message], tuple[Handler, ...]]] = {
    Ack: (commands.acknowledge,),
    Started: (commands.start, collecting.record_started, attempt_record.record_started),
    CollectProgress: (collecting.record_progress,),
    AnomaliesReported: (collecting.record_anomalies, tripping.report_came),
    CollectFinished: (collecting.record_finished,),
    StepRecorded: (attempt_record.record_step,),
    FactsRead: (verifications.record_facts, bulk_endings.record_verified, bulk_tending.result_came),
    RepairFinished: (results.record_result, tripping.result_came, bulk_tending.result_came),
    Rejected: (local_stops.note_refusal, commands.reject),
    Cancelled: (commands.cancelled,),
}
"""Which functions hear which message, in order, in one transaction."""

COMMAND_CLOSED: Final[tuple[commands.CommandClosed, ...]] = (
    collection_course.command_closed,
    results.command_closed,
    claims.command_closed,
    unanswered.command_closed,
    tripping.command_closed,
)
"""Who hears of a command that closed without a result."""

ANOMALY_CLOSED: Final[tuple[states.AnomalyClosed, ...]] = (
    service.close_execution,
    claims.anomaly_closed,
    comparisons.compare_ended,
    order_course.anomaly_closed,
)
"""Who hears of an anomaly that became terminal."""

ANOMALY_SET_ASIDE: Final[tuple[states.AnomalySetAside, ...]] = (comparisons.compare_ended,)
"""Who hears of an anomaly that needs a person, or has no attempts left."""

BREAKER_CHANGED: Final[tuple[breakers.BreakerChanged, ...]] = (
    unsent.breaker_changed,
    conditions.breaker_changed,
)
"""Who hears of a breaker that tripped or was reset."""

CLAIM_CONDITIONS: Final[tuple[ColumnElement[bool], ...]] = (unsent.MAY_GO,)
"""What a pending command must be to be sent, beside what the stop switch asks."""

PLAN_NARROWED: Final[tuple[plans.PlanNarrowed, ...]] = (unsent.plan_narrowed,)
"""Who hears of a plan that from now on does less by itself."""

PLAN_LEAVES: Final[tuple[plans.PlanLeaves, ...]] = (breakers.refuse_standing,)
"""Who may object to a plan's being deleted, or given another group or fixer."""

TRADES_REACHED: Final[tuple[states.TradesReached, ...]] = (alerts.trades_reached,)
"""Who hears of trades that need a person or have no attempts left."""

GROUP_DISABLED: Final[tuple[groups.GroupDisabled, ...]] = (
    collection_course.group_disabled,
    withdrawing.group_disabled,
)
"""Who hears of a group that was disabled, in order."""

GROUP_NARROWED: Final[tuple[groups.GroupNarrowed, ...]] = (unsent.group_narrowed,)
"""Who hears of a group whose plans from now on do less by themselves."""

STOP_CHANGED: Final[tuple[stops.StopChanged, ...]] = (holding_back.stop_changed, conditions.stop_changed)
"""Who hears of a stop that was set or lifted."""

BULK_CHANGED: Final[tuple[bulk_states.BulkChanged, ...]] = (conditions.bulk_changed,)
"""Who hears of a bulk repair that was paused, resumed, stopped or finished."""

LOCAL_STOP_CHANGED: Final[tuple[local_stops.LocalStopChanged, ...]] = (conditions.local_stop_changed,)
"""Who hears of an agent's own stop, when it stands and when it is over."""

ORDER_CHANGED: Final[tuple[order_course.OrderChanged, ...]] = (conditions.order_changed,)
"""Who hears of a money order that was proposed, confirmed, issued, or has ended."""

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class NumberConverter(IntegerConverter):
    """A number in a path, no greater than a database keeps: a greater one is no page."""

    regex = rf"\d{{1,{NUMBER_DIGITS}}}"


def create_app(settings: Settings | None = None, clock: Clock = utc_now) -> Flask:
    """Make the application; nothing runs beside it until ``extensions["runtime"].start()``.

    ``settings`` None: from the environment. Raises ConfigurationError.
    """
    settings = settings or read_settings()
    app = Flask("app", instance_path=str(settings.instance), root_path=__path__[0])
    _configure(app, settings)
    app.extensions["settings"] = settings
    app.extensions["clock"] = clock
    app.extensions["command_closed"] = COMMAND_CLOSED
    app.extensions["anomaly_closed"] = ANOMALY_CLOSED
    app.extensions["anomaly_set_aside"] = ANOMALY_SET_ASIDE
    app.extensions["trades_reached"] = TRADES_REACHED
    app.extensions["group_disabled"] = GROUP_DISABLED
    app.extensions["group_narrowed"] = GROUP_NARROWED
    app.extensions["stop_changed"] = STOP_CHANGED
    app.extensions["bulk_changed"] = BULK_CHANGED
    app.extensions["local_stop_changed"] = LOCAL_STOP_CHANGED
    app.extensions["order_changed"] = ORDER_CHANGED
    app.extensions["plan_leaves"] = PLAN_LEAVES
    app.extensions["plan_narrowed"] = PLAN_NARROWED
    app.extensions["claim_conditions"] = CLAIM_CONDITIONS
    app.extensions["breaker_changed"] = BREAKER_CHANGED
    app.extensions[notices.PLAN] = (guard_notices.of_plans, stop_notices.of_plans)
    app.extensions[notices.GROUP] = (guard_notices.of_groups,)
    app.extensions[notices.BESIDE_STOPS] = (breakers.count_tripped,)
    _bind_extensions(app)
    _bind_runtime(app, settings, clock)
    app.url_map.converters["int"] = NumberConverter
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    cli.init_app(app)
    app.before_request(_refuse_nul)
    app.after_request(_add_security_headers)
    return app


def _configure(app: Flask, settings: Settings) -> None:
    settings.instance.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not settings.database_url:
        # It will hold whole trade rows: for its own user alone, whoever makes it. SQLite keeps the mode.
        settings.database_file.touch(mode=0o600)
    app.config.update(
        SECRET_KEY=read_secret_key(settings),
        SQLALCHEMY_DATABASE_URI=settings.url,
        SESSION_COOKIE_NAME="piculus",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=settings.is_cookie_secure,
        MAX_CONTENT_LENGTH=2 * 1024 * 1024,
        BABEL_DEFAULT_LOCALE=settings.locale,
        BABEL_DEFAULT_TIMEZONE=settings.zone,
        ENVIRONMENT_NAME=settings.environment_name,
        SOCK_SERVER_OPTIONS=endpoint.SERVER_OPTIONS,
        RATELIMIT_HEADERS_ENABLED=True,
        WTF_CSRF_TIME_LIMIT=None,
    )
    if settings.is_behind_proxy:
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1)  # type: ignore[method-assign]


def _bind_extensions(app: Flask) -> None:
    db.init_app(app)
    migrate.init_app(app, db, directory=str(health.MIGRATIONS))
    csrf.init_app(app)
    limiter.init_app(app)
    for part in PARTS:
        part.init_app(app)


def _bind_runtime(app: Flask, settings: Settings, clock: Clock) -> None:
    sender = AppriseSender()
    courier = Courier(app, sender)
    bulk_tender = BulkTender(app)
    runtime = Runtime(app, settings, clock, HANDLERS, (Scheduler(app), bulk_tender, courier))
    app.extensions["alert_sender"] = sender
    app.extensions["bulk_tender"] = bulk_tender
    app.extensions["courier"] = courier
    app.extensions["runtime"] = runtime
    app.extensions["dispatcher"] = runtime.dispatcher
    app.extensions["ticker"] = runtime.ticker


def _refuse_nul() -> None:
    """Answer 400 to a NUL in a URL, which PostgreSQL stores in no text; Form drops those of a form."""
    sent = (text for _name, text in request.args.items(multi=True))
    if any("\0" in text for text in (request.path, *sent)):
        abort(400)


def _add_security_headers(response: Response) -> Response:
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    if request.endpoint != "static":
        # What a person saw stays in no cache behind them, nor under the back button after a logout.
        response.headers.setdefault("Cache-Control", "no-store")
    return response
