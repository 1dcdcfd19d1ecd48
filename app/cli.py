"""The ``flask`` commands, for scripts and cron. They write rows only; the running server acts on them.

Exit codes: 0 done; 1 the outcome is a failure, or refused; 2 wrong usage; 3 nothing to do; 4 timed out.
"""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import click
from flask import Flask
from flask.cli import with_appcontext

from app.anomalies import queries
from app.anomalies.collections import start_run
from app.anomalies.models import TERMINAL_STATES, CollectionRun
from app.cli_accounts import command_actor, group, refusing, user
from app.cli_bulk import follow, repair_bulk
from app.cli_demo import seed_demo
from app.cli_stops import stop
from app.cli_tokens import agent_token
from app.clock import current_time
from app.executions.models import Attempt
from app.executions.service import attempt_one
from app.executions.starting import Order
from app.extensions import db
from app.plans.fixer_codes import group_codes, require_known
from app.unit_of_work import unit_of_work
from app.users import groups
from app.users.models import SystemGroup

FAILED: Final = 1
NOTHING_TO_DO: Final = 3
TIMED_OUT: Final = 4
POLL_SECONDS: Final = 0.3
DONE_OUTCOMES: Final = ("repaired", "already_consistent")


def init_app(app: Flask) -> None:
    """Add the commands to ``flask``."""
    for command in (collect, repair, stop, user, group, agent_token, seed_demo):
        app.cli.add_command(command)


@click.command()
@click.option(
    "--group", "sys_codes", required=True, multiple=True, help="System group, e.g. PBAP; repeatable."
)
@click.option("--code", "codes", multiple=True, help="Fixer code; repeatable. Default: all the group offers.")
@click.option("--hours", default=168, show_default=True, type=click.IntRange(1, 24 * 366), help="Window.")
@click.option("--reason", default="", help="Kept with the run.")
@click.option("--wait", is_flag=True, help="Wait until every run has ended.")
@click.option("--timeout", default=300.0, show_default=True, help="Seconds to wait.")
@with_appcontext
def collect(
    sys_codes: tuple[str, ...], codes: tuple[str, ...], hours: int, reason: str, wait: bool, timeout: float
) -> None:
    """Have the agents of a group collect broken trades; prints ``run ID``.

    Exit codes: 0 asked, with --wait: every run is complete; 1 refused, or a run failed, is incomplete or was
    cancelled; 2 wrong usage; 4 not ended within --timeout.
    """
    now = current_time()
    run_ids = []
    with refusing(), unit_of_work() as session:
        for sys_code in sys_codes:
            system = _group(sys_code)
            require_known(session, system.id, codes)
            run = start_run(
                session,
                group=session.get_one(SystemGroup, system.id),
                codes=codes or group_codes(session, system.id),
                window=(now - timedelta(hours=hours), now),
                trigger="command_line",
                actor=command_actor(),
                reason=reason,
                now=now,
            )
            run_ids.append(run.id)
    for run_id in run_ids:
        click.echo(f"run {run_id}")
    if wait:
        _wait_for(lambda: all(_run_has_ended(run_id) for run_id in run_ids), timeout)
        _report_runs(run_ids)


@click.command()
@click.option(
    "--trade", "trade_nos", required=True, multiple=True, help="Trade number (TRD_NUM); repeatable."
)
@click.option("--group", "sys_code", default=None, help="System group; needed where two hold the number.")
@click.option("--reason", default="command line", show_default=True, help="Kept with the attempt.")
@click.option("--wait", is_flag=True, help="Wait until the attempt has ended.")
@click.option("--timeout", default=120.0, show_default=True, help="Seconds to wait.")
@with_appcontext
def repair(trade_nos: tuple[str, ...], sys_code: str | None, reason: str, wait: bool, timeout: float) -> None:
    """Attempt the repair of one trade, as a click does; prints ``attempt ID``.

    Several trades are a bulk repair, one for each group; prints ``bulk ID``. It repairs one, verifies, then
    ten, verifies, then the rest, and pauses at a trade that does not end well.

    Exit codes: 0 asked, with --wait: the trades are whole; 1 refused, or another outcome or a pause, which is
    printed; 2 wrong usage; 3 nothing to repair; 4 not ended within --timeout.
    """
    anomaly_ids = [_open_anomaly(trade_no, sys_code) for trade_no in dict.fromkeys(trade_nos)]
    bulk_ids: list[int] = []
    attempt_id: int | None
    if len(anomaly_ids) == 1:
        attempt_id = _attempt_one(anomaly_ids[0], reason)
    else:
        bulk_ids, attempt_id = repair_bulk(anomaly_ids, reason)
    if wait and attempt_id is not None:
        _follow_attempt(attempt_id, timeout)
    elif wait:
        follow(bulk_ids, lambda is_done: _wait_for(is_done, timeout))


def _attempt_one(anomaly_id: int, reason: str) -> int:
    with refusing(), unit_of_work() as session:
        order = Order("command_line", command_actor(), reason, current_time())
        attempt_id = attempt_one(session, anomaly_id, order, group_ids=None).id
    click.echo(f"attempt {attempt_id}")
    return attempt_id


def _follow_attempt(attempt_id: int, timeout: float) -> None:
    _wait_for(lambda: _attempt(attempt_id).outcome is not None, timeout)
    attempt = _attempt(attempt_id)
    click.echo(f"{attempt.outcome} {attempt.outcome_reason}".strip())
    if attempt.outcome not in DONE_OUTCOMES:
        raise SystemExit(FAILED)


def _group(sys_code: str) -> SystemGroup:
    found = groups.find_group(db.session, sys_code)
    if found is None:
        raise click.BadParameter(f"there is no group {sys_code}", param_hint="--group")
    return found


def _open_anomaly(trade_no: str, sys_code: str | None) -> int:
    """Return the id of the trade's anomaly; exit 3 where nothing is open, 2 where the group is not clear."""
    wanted = queries.AnomalyFilter(
        group_ids=None if sys_code is None else [_group(sys_code).id], trade_no=trade_no
    )
    rows = [row for row in queries.csv_rows(db.session, wanted) if row.trade_no == trade_no]
    live = [row for row in rows if row.state not in TERMINAL_STATES]
    if len(live) > 1:
        raise click.UsageError(f"{len(live)} groups hold {trade_no}: say which with --group")
    if not live:
        state = rows[0].state if rows else "not reported"
        click.echo(f"nothing to repair: {trade_no} is {state}", err=True)
        raise SystemExit(NOTHING_TO_DO)
    return live[0].id


def _attempt(attempt_id: int) -> Attempt:
    return db.session.get_one(Attempt, attempt_id)


def _run_has_ended(run_id: int) -> bool:
    return db.session.get_one(CollectionRun, run_id).finished_at is not None


def _report_runs(run_ids: list[int]) -> None:
    runs = [db.session.get_one(CollectionRun, run_id) for run_id in run_ids]
    for run in runs:
        click.echo(
            f"run {run.id} {run.group.sys_code} {run.state}: scanned {run.scanned}, reported {run.reported}, "
            f"new {run.new_anomalies}, not verified {run.unverified}{' — ' + run.error if run.error else ''}"
        )
    if any(run.state != "finished" for run in runs):
        raise SystemExit(FAILED)


def _wait_for(is_done: Callable[[], bool], timeout: float) -> None:
    """Look again until done; exit 4 after ``timeout`` seconds."""
    until = time.monotonic() + timeout
    while True:
        db.session.remove()
        if is_done():
            return
        if time.monotonic() >= until:
            click.echo(f"not done within {timeout:g} s; a running server goes on with it", err=True)
            raise SystemExit(TIMED_OUT)
        time.sleep(POLL_SECONDS)
