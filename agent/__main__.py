"""``python -m agent``: arguments, configuration, adapters, run. The only place where an agent is wired."""

import os
import socket
import sys
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

import click
import msgspec

from agent import __version__, log
from agent.adapters.ddl import ddl as ddl_of
from agent.adapters.names import Names
from agent.check import as_table, compare_clocks, knock, look_at, look_for_stop, open_journal
from agent.commands import Dispatcher, Identity
from agent.config import CONFIG_VARIABLE, Configuration, load
from agent.connection import Link, LinkSettings
from agent.envelope import new_id
from agent.errors import AgentError, ConfigurationError, JournalError
from agent.jobs import Work
from agent.journal import Journal
from agent.outbox import Outbox
from agent.pacing import Waker
from agent.processes.pool import ProcessPool
from agent.protocol import json_schema
from agent.runner import Runner
from agent.service import ExitCode, Service
from agent.stop_file import StopFile
from agent.wiring import (
    bank_of,
    ledger_of,
    offered_fixers,
    production_work,
    told_limits,
    trades_of,
)

DIALECTS: Final = ("sqlite", "postgresql", "mysql", "mariadb")
P = ParamSpec("P")
R = TypeVar("R")


def says_what_is_wrong(command: Callable[P, R]) -> Callable[P, R]:
    """End a command with one line and its exit code when configuration, journal or a file is wrong."""

    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except ConfigurationError as error:
            click.echo(f"agent: {error}", err=True)
            sys.exit(ExitCode.MISCONFIGURED)
        except JournalError as error:
            click.echo(f"agent: {error}", err=True)
            sys.exit(ExitCode.JOURNAL)
        except AgentError as error:
            click.echo(f"agent: {error}", err=True)
            sys.exit(ExitCode.FAILED)

    return guarded


@click.group(invoke_without_command=True)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("agent.toml"),
    envvar=CONFIG_VARIABLE,
    show_default=True,
    show_envvar=True,
    help="The configuration; agent/agent.example.toml explains every key.",
)
@click.version_option(__version__, prog_name="piculus agent")
@click.pass_context
def main(context: click.Context, config: Path) -> None:
    """The Piculus agent: collects broken trades beside a production system and repairs them.

    Without a command it runs until it is stopped. Exit codes: 0 stopped, 1 failed, 2 wrong configuration,
    3 another process took over the session, 4 the token was revoked, 5 the journal cannot be used.
    """
    context.obj = config
    if context.invoked_subcommand is None:
        context.invoke(run)


@main.command()
@click.pass_obj
@says_what_is_wrong
def run(config: Path) -> None:
    """Connect to the server and do its commands (the default)."""
    log.set_up()
    sys.exit(assemble(load(config, os.environ)).run())


@main.command()
@click.pass_obj
@says_what_is_wrong
def check(config: Path) -> None:
    """Try everything the agent needs, read-only, and say what is there.

    Exit codes: 0 all is well, 1 something is not, 2 the configuration is wrong.
    """
    configuration = load(config, os.environ)
    findings = list(
        look_at(
            [
                ("fixers", lambda: ", ".join(offered_fixers(configuration))),
                ("trades", lambda: trades_of(configuration).check()),
                ("ledger", lambda: ledger_of(configuration).check()),
                ("bank", lambda: bank_of(configuration).check()),
                ("clocks", lambda: compare_clocks(trades_of(configuration).now, bank_of(configuration).now)),
                ("server", lambda: knock_at(link_settings(configuration))),
                ("journal", lambda: open_journal(configuration.journal)),
                ("stop", lambda: look_for_stop(StopFile(configuration.stop_file))),
            ]
        )
    )
    click.echo(as_table(findings))
    if any(finding.is_misconfigured for finding in findings):
        sys.exit(ExitCode.MISCONFIGURED)
    sys.exit(ExitCode.STOPPED if all(finding.is_well for finding in findings) else ExitCode.FAILED)


@main.command()
@click.option("--reason", prompt=True, help="Why; the server's pages show it.")
@click.pass_obj
@says_what_is_wrong
def stop(config: Path, reason: str) -> None:
    """Stop this agent's repairs at once: none begins, what has moved money is finished.

    It goes on collecting and looking. The server need not be there.
    """
    file = StopFile(load(config, os.environ).stop_file)
    file.set(reason)
    click.echo(f"stopped: {file.path} stands")


@main.command()
@click.pass_obj
@says_what_is_wrong
def start(config: Path) -> None:
    """Lift the stop: repairs are begun again. (It starts no process.)"""
    file = StopFile(load(config, os.environ).stop_file)
    click.echo(f"goes on: {file.path} is removed" if file.lift() else "was not stopped")


@main.command()
@click.option(
    "--dialect", type=click.Choice(DIALECTS), help="Default: the one of the configured trade database."
)
@click.option("--user", default="piculus", show_default=True, help="Who gets the grants; empty: none.")
@click.pass_obj
@says_what_is_wrong
def ddl(config: Path, dialect: str | None, user: str) -> None:
    """Print the tables and grants that a DBA reviews; the agent itself never runs them."""
    if not config.exists() and dialect is not None:
        click.echo(ddl_of(dialect, Names(), user))
        return
    configuration = load(config, os.environ)
    tables = configuration.tables
    names = Names(trades=tables.trades.names, ledger=tables.ledger.names)
    click.echo(ddl_of(dialect or _dialect_of(configuration.trades_url()), names, user))


@main.command()
def schema() -> None:
    """Print the JSON Schema of every message."""
    click.echo(msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode())


# ---- putting it together


def assemble(configuration: Configuration) -> Service:
    """Build an agent from its configuration. Raises ConfigurationError, JournalError, WorkerDiedError."""
    section = configuration.tables.agent
    settings = link_settings(configuration)
    journal = Journal(configuration.journal)
    here = production_work(configuration)
    halting = threading.Event()
    work: Work = here
    if section.pool == "processes":
        work = ProcessPool.of(configuration, here, halting)
    waker = Waker()
    outbox = Outbox(journal, waker)
    link = Link(settings, outbox, waker)
    runner = Runner(journal, outbox, work, link.hint, link.is_live, workers=section.workers, halting=halting)
    identity = Identity(
        name=section.name,
        boot_id=new_id(),
        version=__version__,
        host=socket.gethostname(),
        limits=told_limits(configuration.tables.limits),
    )
    stopped = StopFile(configuration.stop_file).reason
    dispatcher = Dispatcher(identity, journal, outbox, runner, work.fixer_codes, link.hint, stopped)
    return Service(journal, outbox, link, runner, dispatcher)


def link_settings(configuration: Configuration) -> LinkSettings:
    """Return where the server is and what it is shown. Raises ConfigurationError."""
    return LinkSettings(
        url=configuration.server_url, token=configuration.server_token(), ca_file=configuration.ca_file()
    )


def knock_at(settings: LinkSettings) -> str:
    """Say whether the server takes the agent's token. Raises PortError."""
    return knock(settings.url, settings.token, settings.ca_file)


def _dialect_of(url: str) -> str:
    return url.partition(":")[0].partition("+")[0]


if __name__ == "__main__":
    main(prog_name="python -m agent")
