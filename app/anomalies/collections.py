"""Collection runs: one broadcast to one group, sharded over its online agents.

This module starts runs; collection_course.py carries them on and ends them, collecting.py takes what the
agents say.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from app.agents import commands
from app.agents.models import Agent
from app.anomalies import fleet
from app.anomalies.models import IS_LIVE_RUN, CollectionRun, CollectionTask
from app.audit import service as audit
from app.audit.reasons import optional_reason
from app.audit.service import Actor
from app.columns import fitting
from app.errors import ConflictError, InvalidError, NotFoundError
from app.keyset import ReadSession
from app.unit_of_work import WorkSession
from app.users.models import SystemGroup

COLLECT_DEADLINE: Final = timedelta(hours=1)
MAX_WINDOW: Final = timedelta(days=366)
LIVE_RUN_STATES: Final = ("waiting", "running")
_CODE = re.compile(r"[a-z][A-Za-z0-9_]{0,79}")


def get_run(session: ReadSession, run_id: int, group_ids: Iterable[int] | None) -> CollectionRun:
    """Return the run. Raises NotFoundError('run') where it is absent or of a group not to be seen."""
    run = session.get(CollectionRun, run_id)
    if run is None or (group_ids is not None and run.group_id not in set(group_ids)):
        raise NotFoundError("run")
    return run


def start_run(
    session: WorkSession,
    *,
    group: SystemGroup,
    codes: Sequence[str],
    window: tuple[datetime, datetime],
    trigger: str,
    actor: Actor,
    reason: str,
    now: datetime,
    again_of: int | None = None,
) -> CollectionRun:
    """Begin a run over rows changed inside ``window``; ``trigger``: click, command_line, cron, first_start.

    Raises ConflictError('group_disabled'), InvalidError for the codes (field codes), the window (field
    window) or a reason that is too long.
    """
    _check(group, codes, window, reason)
    run = CollectionRun(
        group_id=group.id,
        group=session.merge(group, load=False) if group not in session else group,
        state="waiting",
        trigger=trigger,
        requested_by=actor.name,
        reason=reason.strip(),
        fixer_codes=sorted(set(codes)),
        window_start=window[0],
        window_end=window[1],
        created_at=now,
        again_of=again_of,
    )
    session.add(run)
    session.flush()
    audit.record(
        session,
        actor=actor,
        action="run.start",
        object_type="run",
        object_id=run.id,
        sys_code=group.sys_code,
        reason=run.reason,
        detail={"trigger": trigger, "fixer_codes": run.fixer_codes, "again_of": again_of},
        now=now,
    )
    launch(session, run, now)
    session.touch("collections", "home")
    return run


def _check(group: SystemGroup, codes: Sequence[str], window: tuple[datetime, datetime], reason: str) -> None:
    if not group.is_enabled:
        raise ConflictError("group_disabled", sys_code=group.sys_code)
    if not codes:
        raise InvalidError("fixer_codes_required", field="codes")
    for code in codes:
        if not _CODE.fullmatch(code):
            raise InvalidError("fixer_code", field="codes", fixer_code=code)
    for error in window_errors(window):
        raise error
    optional_reason(reason)


def window_errors(window: tuple[datetime, datetime]) -> list[InvalidError]:
    """Return what is wrong with a window, to stand among the errors of a form."""
    if timedelta(0) < window[1] - window[0] <= MAX_WINDOW:
        return []
    return [InvalidError("window", field="window", days=MAX_WINDOW.days)]


def launch(session: WorkSession, run: CollectionRun, now: datetime) -> bool:
    """Fix the shards of a waiting run from the agents online; False while there is none.

    Shards go to the agents that offer most of the codes; codes they do not offer are named in the run's
    error, and it ends incomplete.
    """
    agents = fleet.online_agents(session, run.group_id, now, codes=run.fixer_codes)
    if not agents:
        return False
    wanted = set(run.fixer_codes)
    most = max(len(wanted & set(agent.fixer_codes)) for agent in agents)
    chosen = [agent for agent in agents if len(wanted & set(agent.fixer_codes)) == most]
    covered = wanted & set(chosen[0].fixer_codes)
    chosen = [agent for agent in chosen if wanted & set(agent.fixer_codes) == covered]
    if covered != wanted:
        run.error = codes_missing(wanted - covered)
    run.state, run.started_at, run.shards = "running", now, len(chosen)
    for shard, agent in enumerate(chosen):
        give_shard(session, run, agent, shard, now)
    session.touch("collections", "home")
    return True


def codes_missing(codes: Iterable[str]) -> str:
    """Return the error of a run that asks for codes no online agent offers."""
    return fitting("codes_not_offered: " + ", ".join(sorted(codes)), 500)


def give_shard(session: WorkSession, run: CollectionRun, agent: Agent, shard: int, now: datetime) -> None:
    """Command ``agent`` to collect one shard of the run."""
    codes = sorted(set(run.fixer_codes) & set(agent.fixer_codes))
    command = commands.issue(
        session,
        type="Collect",
        group_id=run.group_id,
        agent_id=agent.id,
        message={
            "run_id": run.id,
            "fixer_codes": codes,
            "window_start": run.window_start.isoformat(),
            "window_end": run.window_end.isoformat(),
            "shard": shard,
            "shards": run.shards,
        },
        deadline=COLLECT_DEADLINE,
        now=now,
    )
    task = CollectionTask(
        run_id=run.id,
        agent_id=agent.id,
        command_id=command.id,
        shard=shard,
        shards=run.shards,
        state="pending",
        created_at=now,
    )
    session.add(task)
    session.flush()
    session.expire(run, ["tasks"])


def run_again(
    session: WorkSession,
    run_id: int,
    *,
    actor: Actor,
    reason: str,
    group_ids: Iterable[int] | None,
    now: datetime,
    trigger: str = "click",
) -> CollectionRun:
    """Start the same collection over a window of the same length that ends now. Raises as start_run."""
    run = get_run(session, run_id, group_ids)
    window = (now - (run.window_end - run.window_start), now)
    return start_run(
        session,
        group=run.group,
        codes=run.fixer_codes,
        window=window,
        trigger=trigger,
        actor=actor,
        reason=reason,
        now=now,
        again_of=run.id,
    )


def has_live_run(session: ReadSession, group_id: int) -> bool:
    """Return whether a run of the group is waiting or running."""
    live = select(CollectionRun.id).where(IS_LIVE_RUN, CollectionRun.group_id == group_id)
    return session.scalars(live.limit(1)).first() is not None
