"""Commands for people and groups; how every command names its actor and refuses."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import click
from flask.cli import with_appcontext
from flask_babel import force_locale

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


def first_password() -> passwords.NewPassword:
    """Return the first admin's password: that of the environment, else a one-time one."""
    chosen = os.environ.get(ADMIN_PASSWORD)
    return passwords.choose_password(chosen) if chosen else passwords.make_one_time_password()


required_reason = click.option("--reason", required=True, help="Kept in the audit trail.")
optional_reason = click.option("--reason", default="", help="Kept in the audit trail.")


@click.group()
def user() -> None:
    """People who may log in. Exit codes: 0 done, 1 refused, 2 wrong usage."""


@user.command("create")
@click.argument("username")
@click.option("--role", type=click.Choice(ROLES), default="viewer", show_default=True)
@click.option("--name", "display_name", default="", help="Name shown on pages.")
@click.option("--group", "group_codes", multiple=True, help="A group they may see; repeatable.")
@click.option("--all-groups", is_flag=True, help="They may see every group.")
@optional_reason
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
@required_reason
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
@optional_reason
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
@required_reason
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
@optional_reason
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
