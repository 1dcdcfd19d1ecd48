"""Commands for agents and their tokens."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click
from flask.cli import with_appcontext

from app.agents import service as agents
from app.agents.models import Agent
from app.cli_accounts import command_actor, optional_reason, refusing, required_reason
from app.clock import current_time
from app.extensions import db
from app.unit_of_work import unit_of_work
from app.users import groups


def write_secret(path: Path, secret: str) -> None:
    """Write a secret readable by this account alone."""
    with open_secret(path) as file:
        _put(file, secret)


def _put(file: TextIO, secret: str) -> None:
    file.truncate()
    file.write(secret + "\n")


def open_secret(path: Path) -> TextIO:
    """Open a file of a secret, for this account alone; what it holds stays until it is truncated."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w")


@click.group("agent-token")
def agent_token() -> None:
    """Agents and their tokens. A token is shown once; only its digest is kept.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """


_file_option = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="Write the token there (mode 0600), print nothing.",
)


@agent_token.command("create")
@click.argument("name")
@click.option("--group", "sys_code", required=True)
@optional_reason
@_file_option
@with_appcontext
def create_token(name: str, sys_code: str, reason: str, path: Path | None) -> None:
    """Register an agent in a group; prints its token.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    system = groups.find_group(db.session, sys_code)
    if system is None:
        raise click.BadParameter(f"there is no group {sys_code}", param_hint="--group")
    with _handing_out(path) as hand_out, refusing(), unit_of_work() as session:
        _made, token = agents.register(
            session,
            name=name,
            group_id=system.id,
            actor=command_actor(),
            reason=reason,
            now=current_time(),
        )
        session.after_commit(lambda: hand_out(token))


@agent_token.command("rotate")
@click.argument("name")
@required_reason
@_file_option
@with_appcontext
def rotate_token(name: str, reason: str, path: Path | None) -> None:
    """Give an agent a new token; the old one is refused at once.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    agent = _agent(name)
    with _handing_out(path) as hand_out, refusing(), unit_of_work() as session:
        _agent_row, token = agents.rotate(
            session, agent.id, actor=command_actor(), reason=reason, now=current_time()
        )
        session.after_commit(lambda: hand_out(token))


@agent_token.command("revoke")
@click.argument("name")
@required_reason
@with_appcontext
def revoke_token(name: str, reason: str) -> None:
    """End an agent's token; its socket closes within a second.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    agent = _agent(name)
    with refusing(), unit_of_work() as session:
        agents.revoke(session, agent.id, actor=command_actor(), reason=reason, now=current_time())


@agent_token.command("list")
@with_appcontext
def list_tokens() -> None:
    """List agents: name, group, presence, end of the token.

    Exit codes: 0 done, 2 wrong usage.
    """
    for one in agents.list_agents(db.session):
        agent = one.agent
        click.echo(f"{agent.name}\t{agent.group.sys_code}\t{one.presence}\t…{agent.token_hint}")


def _agent(name: str) -> Agent:
    agent = agents.find_by_name(db.session, name)
    if agent is None:
        raise click.BadParameter(f"there is no agent {name}", param_hint="NAME")
    return agent


@contextmanager
def _handing_out(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield what takes the token: the terminal, or the file, which is open before the token is made.

    Exits 1, and nothing has changed, where the file cannot be written.
    """
    if path is None:
        yield click.echo
        return
    is_new = not path.exists()
    try:
        file = open_secret(path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}; the token was not made") from error
    try:
        with file:
            yield lambda token: _put(file, token)
    except BaseException:
        if is_new:
            path.unlink(missing_ok=True)
        raise
