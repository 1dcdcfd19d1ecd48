"""``python -m sandbox``: build, fill, run and check the sandbox.

Exit codes: 0 done, 1 refused or (report) money gone wrong, 2 wrong usage.
"""

import functools
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

import click
from sqlalchemy.exc import SQLAlchemyError

from sandbox.bank import faults as fault_kinds
from sandbox.bank.client import BankClient
from sandbox.bank.server import running_bank
from sandbox.database import writing
from sandbox.demo import HEALTHY, empty, load_demo, throw_away_unfinished
from sandbox.errors import SandboxError
from sandbox.notices import taking_notices
from sandbox.settings import BANK_DAY_SECONDS, SYSTEM_GROUPS, Settings, read_settings
from sandbox.statements import split_statements
from sandbox.traffic import Stream, run_traffic
from sandbox.world import World

OPENED_MEANWHILE = 10_000
"""Trade ids left to the traffic that may be running while many trades are loaded."""

group_option = click.option(
    "--group", type=click.Choice(SYSTEM_GROUPS), default="PBAP", show_default=True, help="System group."
)
seed_option = click.option("--seed", type=int, default=1, show_default=True, help="Same seed, same trades.")


def _plain_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """What the sandbox or a database refuses is one line on the terminal and exit code 1."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> Any:
        try:
            return command(*args, **options)
        except SandboxError as error:
            raise click.ClickException(str(error)) from error
        except SQLAlchemyError as error:
            raise click.ClickException(f"database: {str(error).splitlines()[0]}") from error
        except OSError as error:
            raise click.ClickException(str(error)) from error

    return run


@click.group(context_settings={"max_content_width": 100})
@click.option(
    "--instance",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: os.environ.get("PICULUS_INSTANCE", "instance"),
    show_default="$PICULUS_INSTANCE, else ./instance",
    help="Directory that holds sandbox/ and secrets/.",
)
@click.pass_context
def cli(context: click.Context, instance: Path) -> None:
    """A small production system to try Piculus on: trade databases, ledgers and a bank."""
    if not context.resilient_parsing:
        try:
            context.obj = read_settings(instance)
        except (SandboxError, OSError) as error:
            raise click.ClickException(str(error)) from error


@cli.command()
@click.option("--clear-unfinished", is_flag=True, help="First throw away a demo whose load was stopped.")
@click.pass_obj
@_plain_errors
def create(settings: Settings, clear_unfinished: bool) -> None:
    """Create the tables of both groups and of the bank; what exists is left alone."""
    world = _open(settings)
    if clear_unfinished:
        throw_away_unfinished(world)
    world.create()


@cli.command("apply-sql")
@click.argument("file", type=click.File(encoding="utf-8"))
@group_option
@click.option("--ledger", is_flag=True, help="Into the ledger database instead of the trade database.")
@click.pass_obj
@_plain_errors
def apply_sql(settings: Settings, file: TextIO, group: str, ledger: bool) -> None:
    """Run SQL a DBA has reviewed, FILE or - for standard input, as `python -m agent ddl` prints it."""
    production = _open(settings).production(group)
    statements = split_statements(file.read())
    # Statement by statement: DDL cannot be rolled back everywhere.
    for statement in statements:
        with writing(production.ledger.engine if ledger else production.engine) as connection:
            connection.exec_driver_sql(statement)
    click.echo(f"{group}: {len(statements)} statements")


@cli.command("load-healthy")
@click.argument("count", type=click.IntRange(min=1))
@group_option
@seed_option
@click.option("--days", type=float, default=6.5, show_default=True, help="Spread over the last DAYS.")
@click.option("--rows-only", is_flag=True, help="Trade rows without ledger and bank, for measuring reads.")
@click.pass_obj
@_plain_errors
def load_healthy(settings: Settings, count: int, group: str, seed: int, days: float, rows_only: bool) -> None:
    """Load COUNT trades on which row, ledger and bank agree."""
    world = _created(settings)
    world.load_healthy(
        count, group=group, seed=seed, days=days, rows_only=rows_only, leaving=OPENED_MEANWHILE
    )
    click.echo(f"{group}: {count} healthy trades")


@cli.command("load-cases")
@group_option
@click.pass_obj
@_plain_errors
def load_cases(settings: Settings, group: str) -> None:
    """Load the ten cases of the product document under their demo numbers."""
    for case in _created(settings).load_cases(group):
        click.echo(f"{case.case.id:4} {case.trd_id:4} {case.trade_no}  {case.case.fixer}")


@cli.command("load-broken")
@click.argument("count", type=click.IntRange(min=1))
@group_option
@seed_option
@click.pass_obj
@_plain_errors
def load_broken(settings: Settings, count: int, group: str, seed: int) -> None:
    """Load COUNT broken trades of all kinds, those that must not be repaired included."""
    for trade in _created(settings).load_broken(count, group=group, seed=seed, leaving=OPENED_MEANWHILE):
        click.echo(f"{trade.trd_id:6} {trade.trade_no}  {trade.expected:44} {trade.kind}")


@cli.command()
@click.option(
    "--healthy",
    type=click.IntRange(min=10),
    default=HEALTHY,
    envvar="PICULUS_SANDBOX_HEALTHY",
    show_default=True,
    show_envvar=True,
    help="Healthy trades in PBAP; PBMS gets a tenth of that.",
)
@click.pass_obj
@_plain_errors
def demo(settings: Settings, healthy: int) -> None:
    """Load everything the demo needs, once; a second run changes nothing."""
    click.echo("demo loaded" if load_demo(_open(settings), healthy) else "demo was loaded before")


@cli.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default: $PICULUS_SANDBOX_BANK_PORT, else 5010.")
@click.option("--day-seconds", type=int, default=BANK_DAY_SECONDS, show_default=True, help="A bank day.")
@click.option("--processing-seconds", type=float, default=0.0, help="How long a payout stays accepted.")
@click.option("--dedup/--no-dedup", default=True, show_default=True, help="Pay once a request number.")
@click.option("--notify-url", help="Where arrival notices go.  [default: the traffic process]")
@click.pass_obj
@_plain_errors
def bank(
    settings: Settings,
    port: int | None,
    day_seconds: int,
    processing_seconds: float,
    dedup: bool,
    notify_url: str | None,
) -> None:
    """Run the bank until SIGTERM or Ctrl-C."""
    stopping = _until_told()
    with running_bank(
        settings.bank_database,
        settings.bank_token,
        port=settings.bank_port if port is None else port,
        day_seconds=day_seconds,
        processing_seconds=processing_seconds,
        deduplicates=dedup,
        notify_url=notify_url or f"http://127.0.0.1:{settings.notice_port}/notices",
    ) as running:
        settings.bank_port_file.write_text(f"{urlsplit(running.url).port}\n")
        click.echo(f"bank on {running.url}")
        sys.stdout.flush()
        stopping.wait()
        settings.bank_port_file.unlink(missing_ok=True)


@cli.command()
@click.option("--rate", type=click.FloatRange(min=0), default=0.2, show_default=True)
@click.option("--interrupted", type=click.FloatRange(0, 1), default=0.2, show_default=True)
@click.option("--bank-url", help="Default: the bank on its own port of this machine.")
@click.option("--notices/--no-notices", default=True, show_default=True, help="Listen to the bank as well.")
@seed_option
@click.pass_obj
@_plain_errors
def traffic(
    settings: Settings, rate: float, interrupted: float, bank_url: str | None, notices: bool, seed: int
) -> None:
    """Keep trades going in both groups until SIGTERM; RATE a second, a share of them INTERRUPTED.

    At a RATE of 0 it only listens to the bank's notices.
    """
    stopping = _until_told()
    world = _created(settings)
    productions = [world.production(code) for code in world.groups]
    client = BankClient(bank_url or settings.bank_url, settings.bank_token)
    streams = [Stream(production, client, interrupted, seed) for production in productions if rate]
    listening = taking_notices(productions, settings.notice_port) if notices else nullcontext("nothing")
    with listening as address:
        click.echo(f"traffic: {rate} trades a second, notices on {address}")
        sys.stdout.flush()
        began = run_traffic(streams, rate, stopping, seed)
    click.echo(f"traffic: {began} trades began")


@cli.group()
def faults() -> None:
    """Switch the running bank's faults on and off."""


@faults.command("set")
@click.argument("kind", type=click.Choice(fault_kinds.KINDS))
@click.option("--request-no", help="Only for this request number.")
@click.option("--percent", type=click.FloatRange(0, 100), help="Only for this share of calls.")
@click.option("--next-calls", type=click.IntRange(min=1), help="Only for the next calls.")
@click.option("--operation", type=click.Choice(fault_kinds.OPERATIONS), help="Default: payout and receipt.")
@click.option("--code", help="Code of a reject, an unknown_code or a late_success.")
@click.option("--seconds", type=float, help="How long it hangs, waits or takes.  [default: 5]")
@click.option("--accept", is_flag=True, help="html, server_error: after the request was taken in.")
@click.pass_obj
@_plain_errors
def set_fault(settings: Settings, **wanted: object) -> None:
    """Switch a fault of KIND on."""
    answer = _bank(settings).call("POST", "/faults", {k: v for k, v in wanted.items() if v is not None})
    click.echo(f"fault {answer['id']}")


@faults.command("list")
@click.pass_obj
@_plain_errors
def list_faults(settings: Settings) -> None:
    """Show what is switched on, as JSON."""
    click.echo(json.dumps(_bank(settings).call("GET", "/faults")["faults"], indent=1))


@faults.command("clear")
@click.pass_obj
@_plain_errors
def clear_faults(settings: Settings) -> None:
    """Switch every fault off."""
    _bank(settings).call("DELETE", "/faults")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON.")
@click.option("--strict", is_flag=True, help="Exit 1 for any disagreement, too.")
@click.pass_obj
@_plain_errors
def report(settings: Settings, as_json: bool, strict: bool) -> None:
    """Check money invariants and list disagreements; exit 1 when an invariant is violated."""
    found = _open(settings).report()
    if as_json:
        click.echo(json.dumps(found.as_json(), ensure_ascii=False, indent=1))
    else:
        click.echo(found.as_text())
    if not found.is_sound or (strict and found.disagreements):
        sys.exit(1)


@cli.command()
@click.pass_obj
@_plain_errors
def reset(settings: Settings) -> None:
    """Empty the sandbox: drop its tables, and Piculus's own beside them; refused while its bank runs."""
    if _bank(settings).is_running():
        raise SandboxError(f"the sandbox's bank runs at {settings.bank_url}; stop what works on it first")
    empty(_open(settings))


def _open(settings: Settings) -> World:
    return World.of(settings)


def _created(settings: Settings) -> World:
    world = _open(settings)
    world.create()
    return world


def _bank(settings: Settings) -> BankClient:
    return BankClient(settings.bank_url, settings.bank_token)


def _until_told() -> threading.Event:
    """Set by SIGTERM and Ctrl-C."""
    stopping = threading.Event()

    def stop(*_: object) -> None:
        # In a thread: the handler may have broken into a wait that holds the event's own lock.
        threading.Thread(target=stopping.set).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopping
