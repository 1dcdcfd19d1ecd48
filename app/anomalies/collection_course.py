"""The course of a collection run: carried on while agents come and go, summed up, closed.

A run none of whose codes is offered online waits WAIT_FOR_AGENTS, then fails. A lost agent's shard is given
whole to another, at most MAX_TASKS_A_SHARD times.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import exists, select

from app.agents import commands
from app.agents.models import LIVE, Command
from app.anomalies import absence, fleet
from app.anomalies.collections import LIVE_RUN_STATES, codes_missing, get_run, give_shard, launch
from app.anomalies.models import IS_LIVE_RUN, CollectionRun, CollectionTask
from app.audit import service as audit
from app.audit.reasons import required_reason
from app.audit.service import Actor
from app.errors import ConflictError
from app.keyset import ReadSession
from app.lately import LITTLE
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

WAIT_FOR_AGENTS: Final = timedelta(seconds=60)
MAX_TASKS_A_SHARD: Final = 3
LIVE_TASK_STATES: Final = ("pending", "running")
_HAS_LIVE: Final = select(exists().where(IS_LIVE_RUN).select_from(CollectionRun))


def current_tasks(session: ReadSession, run: CollectionRun) -> list[CollectionTask]:
    """Return the newest task of each shard."""
    rows = session.scalars(
        select(CollectionTask).where(CollectionTask.run_id == run.id).order_by(CollectionTask.id)
    )
    return list({task.shard: task for task in rows.unique()}.values())


def lose_task(
    session: WorkSession, task: CollectionTask, reason: str, now: datetime, *, may_retry: bool = True
) -> None:
    """The agent will not finish this shard: give it whole to another online agent, else it is failed."""
    if task.state not in LIVE_TASK_STATES:
        return
    task.state, task.error, task.finished_at = "failed", reason[:500], now
    run = task.run
    made = [one for one in run.tasks if one.shard == task.shard]
    heir = fleet.other_agent(session, run, task, now) if may_retry and len(made) < MAX_TASKS_A_SHARD else None
    if heir is not None:
        give_shard(session, run, heir, task.shard, now)
    else:
        settle(session, run, now)
    session.touch("collections")


def settle(session: WorkSession, run: CollectionRun, now: datetime) -> None:
    """Sum the run up; close it once each shard has ended. A complete run has its absences verified first."""
    tasks = current_tasks(session, run)
    sum_up(run, tasks)
    session.touch("collections")
    if run.state != "running" or any(task.state in LIVE_TASK_STATES for task in tasks):
        return
    states = {task.state for task in tasks}
    if states == {"finished"} and not run.error:
        if absence.verify_page(session, run, now):
            close_run(session, run, "finished", now)
    elif states & {"finished", "incomplete"}:
        run.error = run.error or next((task.error for task in tasks if task.error), "")
        close_run(session, run, "incomplete", now)
    else:
        run.error = run.error or next((task.error for task in tasks if task.error), "")
        close_run(session, run, "cancelled" if states == {"cancelled"} else "failed", now)


def sum_up(run: CollectionRun, tasks: Sequence[CollectionTask]) -> None:
    """Set the run's counts to the sums over its current tasks; what is new was new once, whoever reported it
    first, an agent that has lost its shard since too.
    """
    run.scanned = sum(task.scanned for task in tasks)
    run.reported = sum(task.rows for task in tasks)
    run.new_anomalies = sum(task.new_anomalies for task in run.tasks)
    run.unverified = sum(task.unverified for task in tasks)
    run.amount_minor = sum(task.amount_minor for task in tasks)


def close_run(session: WorkSession, run: CollectionRun, state: str, now: datetime) -> None:
    """End the run in ``state``."""
    run.state, run.finished_at = state, now
    session.touch("collections", "home")


def cancel_run(
    session: WorkSession,
    run_id: int,
    *,
    actor: Actor,
    reason: str,
    group_ids: Iterable[int] | None,
    now: datetime,
) -> CollectionRun:
    """Stop a run: its agents stop reading, what was reported stays.

    Raises NotFoundError('run'), InvalidError for the reason, ConflictError('run_ended').
    """
    reason = required_reason(reason)
    run = get_run(session, run_id, group_ids)
    if run.state not in LIVE_RUN_STATES:
        raise ConflictError("run_ended", state=run.state)
    close_run(session, run, "cancelled", now)
    for task in current_tasks(session, run):
        if task.state in LIVE_TASK_STATES:
            task.state, task.finished_at = "cancelled", now
            command = commands.find(session, task.command_id)
            if command is not None and command.state in LIVE:
                commands.request_cancel(session, command, "the run was cancelled", now)
    audit.record(
        session,
        actor=actor,
        action="run.cancel",
        object_type="run",
        object_id=run.id,
        sys_code=run.group.sys_code,
        reason=reason,
        now=now,
    )
    return run


def group_disabled(
    session: WorkSession, group: SystemGroup, actor: Actor, reason: str, now: datetime
) -> None:
    """End the group's live runs as cancel_run does: a disabled group is not collected."""
    live = select(CollectionRun).where(IS_LIVE_RUN, CollectionRun.group_id == group.id)
    for run in list(session.scalars(live).unique()):
        cancel_run(session, run.id, actor=actor, reason=reason, group_ids=None, now=now)


def has_live(session: ReadSession) -> bool:
    """Return whether tend_runs has a run to look at; a read that needs no lock."""
    return bool(session.scalar(_HAS_LIVE))


def tend_runs(session: WorkSession, now: datetime) -> int:
    """Carry live runs on: launch or fail waiting ones, take shards from lost agents, go on with absences.

    Returns how many runs were looked at.
    """
    # Sorted here: for the order of the ids SQLite would read every run there ever was.
    found = session.scalars(select(CollectionRun).where(IS_LIVE_RUN)).unique()
    live = sorted(found, key=lambda run: run.id)
    for run in live:
        _bring_back(session, run, now)
        if run.state == "waiting":
            _tend_waiting(session, run, now)
        else:
            _tend_running(session, run, now)
    return len(live)


def _bring_back(session: WorkSession, run: CollectionRun, now: datetime) -> None:
    """Let what a clock that ran ahead has dated have begun now: a run would wait until it has caught up, keep
    any other of its group from beginning, and report what was repaired meanwhile as broken again.
    """
    latest = now + LITTLE
    dated: list[CollectionRun | CollectionTask] = [run, *current_tasks(session, run)]
    for one in dated:
        if one.created_at > latest:
            one.created_at = now
        if one.started_at is not None and one.started_at > latest:
            one.started_at = now


def _tend_waiting(session: WorkSession, run: CollectionRun, now: datetime) -> None:
    if not launch(session, run, now) and now - run.created_at >= WAIT_FOR_AGENTS:
        is_anyone_there = bool(fleet.online_agents(session, run.group_id, now))
        run.error = codes_missing(run.fixer_codes) if is_anyone_there else "no_agent_online"
        close_run(session, run, "failed", now)


def _tend_running(session: WorkSession, run: CollectionRun, now: datetime) -> None:
    tasks = current_tasks(session, run)
    for task in tasks:
        if task.state in LIVE_TASK_STATES and fleet.is_lost(task.agent, task.created_at, now):
            command = commands.find(session, task.command_id)
            if command is not None and command.state in ("pending", "sent"):
                # Closing it tells command_closed, which gives the shard to another agent.
                commands.close(session, command, "superseded", now, "the agent is offline")
    if not any(task.state in LIVE_TASK_STATES for task in current_tasks(session, run)):
        settle(session, run, now)


def command_closed(session: WorkSession, command: Command, outcome: str) -> None:
    """A Collect closed without a result: its shard goes to another agent, unless a person stopped it."""
    if command.type != "Collect":
        return
    task = session.scalars(select(CollectionTask).where(CollectionTask.command_id == command.id)).first()
    if task is None or task.state not in LIVE_TASK_STATES:
        return
    now = command.finished_at or command.created_at
    if outcome == "cancelled":
        task.state, task.finished_at = "cancelled", now
        settle(session, task.run, now)
    else:
        has_time = outcome in ("rejected", "superseded")
        lose_task(session, task, f"{outcome}: {command.error}", now, may_retry=has_time)
