"""``flask stop``: the stop switch, for whoever has the server's host and no browser."""

from collections.abc import Callable
from typing import Any, Final

import click
from flask.cli import with_appcontext

from app.agents import queries, service, stops
from app.agents.models import Stop
from app.agents.standing import list_standing
from app.agents.stops import Target
from app.cli_accounts import command_actor, refusing, required_reason
from app.clock import current_time
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users import groups

NOTHING_TO_DO: Final = 3


@click.group()
def stop() -> None:
    """The stop switch: no new repair begins while it stands. Exit codes: 0 done, 1 refused, 2 wrong usage."""


def target_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what a stop is for."""
    options: tuple[Callable[[Any], Any], ...] = (
        click.option("--agent", "agent_name", default=None, help="One agent, by its name."),
        click.option("--group", "sys_code", default=None, help="A system group, e.g. PBAP."),
        click.option("--all", "is_all", is_flag=True, help="All repairs."),
    )
    for option in options:
        command = option(command)
    return command


@stop.command("set")
@target_options
@required_reason
@with_appcontext
def set_stop(is_all: bool, sys_code: str | None, agent_name: str | None, reason: str) -> None:
    """Stop repairs at once; what has moved money is finished. Prints ``stop ID``.

    Exit codes: 0 done, 1 refused (it stands already), 2 wrong usage.
    """
    target = _target(is_all, sys_code, agent_name)
    with refusing(), unit_of_work() as session:
        made = stops.set_stop(
            session, target, reason=reason, actor=command_actor(), group_ids=None, now=current_time()
        )
        stop_id = made.id
    click.echo(f"stop {stop_id}")


@stop.command("lift")
@target_options
@required_reason
@with_appcontext
def lift_stop(is_all: bool, sys_code: str | None, agent_name: str | None, reason: str) -> None:
    """Lift the stop of all, a group or an agent; repairs go on. Prints ``stop ID``.

    Exit codes: 0 done, 1 refused, 2 wrong usage, 3 no such stop stands.
    """
    target = _target(is_all, sys_code, agent_name)
    with refusing(), unit_of_work() as session:
        standing = stops.find_standing(session, target)
        if standing is None:
            click.echo("nothing to lift: no such stop stands", err=True)
            raise SystemExit(NOTHING_TO_DO)
        stop_id = standing.id
        stops.lift(
            session,
            stop_id,
            reason=reason,
            actor=command_actor(),
            group_ids=None,
            is_admin=True,
            now=current_time(),
        )
    click.echo(f"stop {stop_id}")


@stop.command("list")
@with_appcontext
def list_stops() -> None:
    """List what stands: id, what it stops, who set it, when, why.

    An agent's local stop has no id, tells since when the server knows of it, and is lifted on its host
    (``python -m agent --config agent.toml start``).

    Exit codes: 0 done, 2 wrong usage.
    """
    for one in list_standing(db.session):
        click.echo(f"{one.id}\t{_name(one)}\t{one.set_by}\t{one.set_at:%Y-%m-%dT%H:%M:%SZ}\t{one.reason}")
    for agent in queries.stopped_here(db.session, None):
        known = "-" if agent.stopped_here_at is None else f"{agent.stopped_here_at:%Y-%m-%dT%H:%M:%SZ}"
        click.echo(f"-\tagent {agent.name}\tlocal\t{known}\t{agent.stopped_here}")


def _name(one: Stop) -> str:
    return one.scope if one.scope == "all" else f"{one.scope} {one.name}"


def _target(is_all: bool, sys_code: str | None, agent_name: str | None) -> Target:
    """Return what the options name. Exits 2 unless they name one thing that there is."""
    if [is_all, sys_code is not None, agent_name is not None].count(True) != 1:
        raise click.UsageError("say one of --all, --group, --agent")
    if sys_code is not None:
        group = groups.find_group(db.session, sys_code)
        if group is None:
            raise click.BadParameter(f"there is no group {sys_code}", param_hint="--group")
        return Target(group_id=group.id)
    if agent_name is not None:
        agent = service.find_by_name(db.session, agent_name)
        if agent is None:
            raise click.BadParameter(f"there is no agent {agent_name}", param_hint="--agent")
        return Target(agent_id=agent.id)
    return Target()
