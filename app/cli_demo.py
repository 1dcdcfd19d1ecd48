"""``flask seed-demo``: the rows the demo begins with. Running it again changes nothing that stands."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import click
from flask import current_app
from flask.cli import with_appcontext

from app.agents import service as agents
from app.audit.service import SYSTEM
from app.cli_accounts import refusing
from app.cli_tokens import write_secret
from app.clock import current_time
from app.plans.fixer_codes import KNOWN_FIXERS
from app.plans.product_plans import PRODUCT_PLANS, PlanValues
from app.plans.schedules import ScheduleValues, set_schedule
from app.plans.service import create_plan
from app.unit_of_work import WorkSession, unit_of_work
from app.users import groups

DEMO_GROUPS: Final = (("PBAP", "收单平台"), ("PBMS", "商户平台"))
DEMO_AGENTS: Final = (("pbap-1", "PBAP"), ("pbap-2", "PBAP"), ("pbms-1", "PBMS"))
DEMO_CRON: Final = "0/15 * * * * ?"
"""So that a newcomer sees a repair in seconds; the product document has every ten minutes."""
COLLECTION_CRON: Final = "0 * * * * ?"
MANUAL_IN_PBMS: Final = ("interRechargeFixServiceImpl", "interWithdrawFixServiceImpl")


@click.command("seed-demo")
@with_appcontext
def seed_demo() -> None:
    """Write the demo's groups, agents, plans and collection schedules; tokens go to instance/secrets.

    Exit codes: 0 done, 1 refused.
    """
    folder: Path = current_app.extensions["settings"].secrets_folder
    with refusing(), unit_of_work() as session:
        for sys_code, name in DEMO_GROUPS:
            if groups.find_group(session, sys_code) is None:
                _make_group(session, sys_code, name)
        tokens = [_ensure_agent(session, name, sys_code, folder) for name, sys_code in DEMO_AGENTS]
    for path, token in tokens:
        if token is not None:
            write_secret(path, token)


def demo_plans(sys_code: str) -> list[PlanValues]:
    """Return the eight plans of the product document for a group of the demo; two of PBMS are manual."""
    plans = [replace(values, sys_code=sys_code, retry_cron=DEMO_CRON) for values in PRODUCT_PLANS]
    if sys_code == "PBAP":
        return plans
    return [
        replace(
            values,
            mode="manual" if values.fixer_code in MANUAL_IN_PBMS else "auto",
            description=KNOWN_FIXERS[values.fixer_code].zh,
        )
        for values in plans
    ]


def _make_group(session: WorkSession, sys_code: str, name: str) -> None:
    """Make a group with its plans and its recurring collection, all of which people may change later."""
    now = current_time()
    system = groups.create_group(session, actor=SYSTEM, sys_code=sys_code, name=name, now=now)
    schedule = ScheduleValues(
        sys_code=sys_code, cron=COLLECTION_CRON, zone=system.zone, runs_on_first_connect=True
    )
    set_schedule(session, schedule, actor=SYSTEM, now=now)
    for values in demo_plans(sys_code):
        create_plan(session, values, actor=SYSTEM, now=now, reason="demo")


def _ensure_agent(session: WorkSession, name: str, sys_code: str, folder: Path) -> tuple[Path, str | None]:
    """Register the agent, or give it a new token where its file is lost."""
    path = folder / f"{name}.token"
    agent = agents.find_by_name(session, name)
    if agent is None:
        system = groups.find_group(session, sys_code)
        assert system is not None  # made by the same command
        _made, token = agents.register(
            session, name=name, group_id=system.id, actor=SYSTEM, now=current_time()
        )
        return path, token
    if path.exists() or agent.revoked_at is not None:
        return path, None
    _agent, token = agents.rotate(
        session, agent.id, actor=SYSTEM, reason="its token file is lost", now=current_time()
    )
    return path, token
