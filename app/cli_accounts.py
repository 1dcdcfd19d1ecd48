"""Commands for people, groups and agents' tokens."""

import getpass
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

import click
from flask.cli import with_appcontext
from flask_babel import force_locale

from app.agents import service as agents
from app.agents.models import Agent
from app.audit.service import Actor
from app.clock import current_time
from app.errors import PiculusError
from app.extensions import db
from app.keyset import Cut
from app.messages import words
from app.unit_of_work import WorkSession, unit_of_work
from app.users import groups, passwords
from app.users import service as users
from app.users.models import ROLES, User

REFUSED: Final = 1
ADMIN_PASSWORD: Final = "PICULUS_ADMIN_PASSWORD"


def command_actor() -> Actor:
    """Return who the audit trail names: the account the command runs under."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = str(os.getuid())
    return Actor(id=None, name=f"cli:{name}")


@contextmanager
def refusing() -> Iterator[None]:
    """Turn a service's refusal into a sentence a field on standard error, and exit 1."""
    try:
        yield
    except PiculusError as error:
        with force_locale("en"):
            for one in getattr(error, "errors", [error]):
                field = f"{one.field}: " if one.field else ""
                click.echo(f"refused: {field}{words(one)}", err=True)
        raise SystemExit(REFUSED) from error


def write_secret(path: Path, secret: str) -> None:
    """Write a secret readable by this account alone."""
    with open_secret(path) as file:
        file.truncate()
        file.write(secret + "\n")


def open_secret(path: Path) -> TextIO:
    """Open a file of a secret, for this account alone; what it holds stays until it is truncated."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.fchmod(descriptor, 0o600)
    return os.fdopen(descriptor, "w")


def first_password() -> passwords.NewPassword:
    """Return the first admin's password: that of the environment, else a one-time one."""
    chosen = os.environ.get(ADMIN_PASSWORD)
    return passwords.choose_password(chosen) if chosen else passwords.make_one_time_password()


_required_reason = click.option("--reason", required=True, help="Kept in the audit trail.")
_optional_reason = click.option("--reason", default="", help="Kept in the audit trail.")


@click.group()
def user() -> None:
    """People who may log in. Exit codes: 0 done, 1 refused, 2 wrong usage."""


@user.command("create")
@click.argument("username")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True)
@click.option("--name", "display_name", default="", help="Name shown on pages.")
@click.option("--group", "group_codes", multiple=True, help="A group they may see; repeatable.")
@click.option("--all-groups", is_flag=True, help="They may see every group.")
@_optional_reason
@with_appcontext
def create_user(
    username: str, role: str, display_name: str, group_codes: tuple[str, ...], all_groups: bool, reason: str
) -> None:
    """Make a person; prints the one-time password.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    password = passwords.make_one_time_password()
    with refusing(), unit_of_work() as session:
        users.create_user(
            session,
            actor=command_actor(),
            username=username,
            role=role,
            display_name=display_name,
            group_codes=group_codes,
            sees_all_groups=all_groups,
            password=password,
            reason=reason,
            now=current_time(),
        )
    click.echo(password.text)


@user.command("ensure-admin")
@with_appcontext
def ensure_admin() -> None:
    """Make the first admin where there is nobody; prints its one-time password.

    PICULUS_ADMIN_PASSWORD sets the password instead; then nothing is printed.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    password = first_password()
    with refusing(), unit_of_work() as session:
        one_time = users.ensure_admin(session, password, current_time())
    if one_time is not None:
        click.echo(one_time)


@user.command("disable")
@click.argument("username")
@_required_reason
@with_appcontext
def disable_user(username: str, reason: str) -> None:
    """Refuse a person from now on and end their sessions.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    with refusing(), unit_of_work() as session:
        person = _person(session, username)
        users.disable_user(session, person, actor=command_actor(), reason=reason, now=current_time())


@user.command("enable")
@click.argument("username")
@_optional_reason
@with_appcontext
def enable_user(username: str, reason: str) -> None:
    """Let a person in again.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    with refusing(), unit_of_work() as session:
        person = _person(session, username)
        users.enable_user(session, person, actor=command_actor(), reason=reason, now=current_time())


@user.command("reset")
@click.argument("username")
@_required_reason
@with_appcontext
def reset_user(username: str, reason: str) -> None:
    """Give a person a new one-time password, which is printed.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    password = passwords.make_one_time_password()
    with refusing(), unit_of_work() as session:
        person = _person(session, username)
        users.reset_password(
            session, person, password, actor=command_actor(), reason=reason, now=current_time()
        )
    click.echo(password.text)


@user.command("list")
@with_appcontext
def list_users() -> None:
    """List people: name, role, state, groups.

    Exit codes: 0 done, 2 wrong usage.
    """
    after: str | None = None
    while True:
        page, _count = users.list_users(db.session, cut=Cut(after=after))
        for person in page.rows:
            seen = (
                "*"
                if users.visible_group_ids(person) is None
                else ",".join(system.sys_code for system in person.groups)
            )
            state = "enabled" if person.is_enabled else "disabled"
            click.echo(f"{person.username}\t{person.role}\t{state}\t{seen}")
        if page.after is None:
            return
        after = page.after


def _person(session: WorkSession, username: str) -> User:
    return users.get_user_by_name(session, username)


@click.group()
def group() -> None:
    """System groups. Exit codes: 0 done, 1 refused, 2 wrong usage."""


@group.command("create")
@click.argument("sys_code")
@click.option("--name", default="", help="Shown beside the code.")
@click.option("--zone", default="Asia/Shanghai", show_default=True)
@click.option("--table", "trade_table", default="", help="Trade table; default T<SYS_CODE>_TRD_ACC_TRADE.")
@_optional_reason
@with_appcontext
def create_group(sys_code: str, name: str, zone: str, trade_table: str, reason: str) -> None:
    """Make a system group.

    Exit codes: 0 done, 1 refused, 2 wrong usage.
    """
    with refusing(), unit_of_work() as session:
        groups.create_group(
            session,
            actor=command_actor(),
            sys_code=sys_code,
            name=name,
            zone=zone,
            trade_table=trade_table,
            reason=reason,
            now=current_time(),
        )


@group.command("list")
@with_appcontext
def list_groups() -> None:
    """List groups: code, name, zone, state.

    Exit codes: 0 done, 2 wrong usage.
    """
    for system in groups.list_groups(db.session):
        state = "enabled" if system.is_enabled else "disabled"
        click.echo(f"{system.sys_code}\t{system.name}\t{system.zone}\t{state}")


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
@_optional_reason
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
@_required_reason
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
@_required_reason
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
    try:
        file = open_secret(path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}; the token was not made") from error
    with file:

        def write(token: str) -> None:
            file.truncate()
            file.write(token + "\n")

        yield write
