"""``python -m deploy setup | run | reset | chromium``: what the Makefile calls."""

import os
import sys

import click

from deploy import browser, demo, places, supervisor


@click.group()
def main() -> None:
    """Set up, start and reset Piculus with its sandbox on this machine."""


@main.command()
def setup() -> None:
    """Make secrets, migrate the database, seed the demo, build the sandbox. Changes nothing that stands.

    Refuses while the demo runs.
    """
    os.umask(places.PRIVATE)
    if supervisor.is_running():
        raise click.ClickException(supervisor.words_of_running())
    try:
        demo.set_up(places.bank_port(), places.server_port())
    except places.PortError as error:
        raise click.ClickException(str(error)) from error
    click.echo("Set up. `make run` starts everything.")


@main.command()
def run() -> None:
    """Set up what is missing and start every process of the demo, until Ctrl-C."""
    os.umask(places.PRIVATE)
    sys.exit(supervisor.run())


@main.command()
def reset() -> None:
    """Throw away all data of the demo; refuses while it runs."""
    if supervisor.is_running():
        raise click.ClickException(supervisor.words_of_running())
    demo.throw_away()
    click.echo("All data is gone. `make run` starts afresh.")


@main.command()
def chromium() -> None:
    """Find a Chromium for the tests, or install one; prints its path."""
    click.echo(browser.ensure())


if __name__ == "__main__":
    main()
