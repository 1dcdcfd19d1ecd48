"""Starts every process of the demo, watches over them, and stops them all together."""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

import click

from deploy import demo, leash, places
from deploy.child import Child

STOP_SECONDS = 30
BANK_PORT = "PICULUS_SANDBOX_BANK_PORT"
REVOKED = 4
"""Exit code of an agent whose token the server takes no longer (agent/service.py)."""


def is_running() -> bool:
    """Whether a demo or a server works on this instance; what a killed supervisor left may end first."""
    if not leash.is_supervised(places.INSTANCE):
        _wait_for_remnants()
    return leash.has_processes(places.INSTANCE) or leash.is_locked(places.INSTANCE / "server.lock")


def _wait_for_remnants() -> None:
    """A killed supervisor's processes stop by themselves, in order: give them the time for it."""
    if not leash.has_processes(places.INSTANCE):
        return
    click.echo("An earlier start was killed; waiting for its processes to stop …", err=True)
    until = time.monotonic() + STOP_SECONDS
    while leash.has_processes(places.INSTANCE) and time.monotonic() < until:
        time.sleep(0.1)


def run() -> int:
    """Set up, start everything, and stay until a signal. Returns the exit code."""
    refusal = _refusal()
    if refusal:
        click.echo(refusal, err=True)
        return 1
    try:
        with leash.supervising(places.INSTANCE) as shared:
            return _set_up_and_watch(shared)
    except leash.TakenError:
        click.echo(words_of_running(), err=True)
        return 1


def _set_up_and_watch(shared: int) -> int:
    ports = places.bank_port(), places.server_port()
    password = demo.set_up(*ports)
    stop = _StopRequest()
    children = demo.children(*ports)
    for child, _ in children:
        child.shared = shared
    try:
        unready = _start_in_order(children, stop)
        if unready is not None:
            return 0 if stop.is_set else _explain(unready)
        greet(password)
        return watch([child for child, _ in children], stop)
    finally:
        _stop_all([child for child, _ in children])


def _refusal() -> str | None:
    if is_running():
        return words_of_running()
    try:
        wanted = {"PORT": [places.server_port()], BANK_PORT: [places.bank_port(), places.bank_port() + 1]}
    except places.PortError as error:
        return str(error)
    if wanted["PORT"][0] in wanted[BANK_PORT]:
        return f"PORT is one of the bank's two ports; name another: make run {BANK_PORT}=…"
    for variable, ports in wanted.items():
        for port in filter(places.is_taken, ports):
            return f"Port {port} is taken by another program; name a free one: make run {variable}=…"
    return None


def words_of_running() -> str:
    """Say who works on this instance, and what ends it."""
    if leash.is_supervised(places.INSTANCE):
        return f"Piculus is running on {places.INSTANCE} already; Ctrl-C there stops it."
    if leash.has_processes(places.INSTANCE):
        ids = " ".join(str(pid) for pid in leash.written_down(places.INSTANCE))
        return f"Processes of a start that was killed still work on {places.INSTANCE}: kill {ids}"
    return f"A server that was started by hand works on {places.INSTANCE}; end it first."


class _StopRequest:
    """Set by SIGINT or SIGTERM."""

    def __init__(self) -> None:
        self.is_set = False
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._set)

    def _set(self, _number: int, _frame: FrameType | None) -> None:
        self.is_set = True


def _start_in_order(children: list[demo.Listed], stop: _StopRequest) -> Child | None:
    """Start what others wait for side by side, then the rest; return the first that did not get ready."""
    awaited = [(child, is_ready) for child, is_ready in children if is_ready is not None]
    for child, _ in awaited:
        child.start()
    for child, is_ready in awaited:
        if not _wait_ready(child, is_ready, stop):
            return child
    for child, check in children:
        if check is None:
            child.start()
    return None


def _wait_ready(child: Child, is_ready: Callable[[], bool], stop: _StopRequest) -> bool:
    until = time.monotonic() + 60
    while time.monotonic() < until and child.is_alive() and not stop.is_set:
        if is_ready():
            return True
        time.sleep(0.1)
    return False


def _explain(child: Child) -> int:
    click.echo(f"{child.name} did not start; the end of {child.log}:", err=True)
    click.echo("".join(child.log.read_text(errors="replace").splitlines(keepends=True)[-15:]), err=True)
    return 1


def greet(password: str | None) -> None:
    """Say where everything is; ``password`` is the admin's one-time password, None when there is none."""
    click.echo("")
    click.secho(f"  Piculus   http://127.0.0.1:{places.server_port()}", bold=True)
    if password:
        click.echo("  User      admin")
        click.echo(f"  Password  {password}    (not shown again; you choose your own at the first login)")
    elif os.environ.get("PICULUS_ADMIN_PASSWORD"):
        click.echo("  User      admin")
        click.echo("  Password  what PICULUS_ADMIN_PASSWORD was at the first start, unless changed since")
    click.echo(f"  Logs      {places.LOGS}")
    click.echo("  Ctrl-C stops everything; `make reset` throws the demo's data away.\n")
    sys.stdout.flush()


def watch(children: list[Child], stop: _StopRequest) -> int:
    """Start again what ends until a stop, or until a needed child cannot live; return the exit code."""
    while not stop.is_set:
        for child in children:
            if child.process is None or child.is_alive() or child.is_given_up:
                continue
            _revive(child, child.process.returncode)
            if child.is_given_up and child.is_needed:
                return _explain(child)
        time.sleep(0.3)
    click.echo("Stopping …")
    return 0


def _revive(child: Child, code: int) -> None:
    """Start a child again; give up an agent revoked on the page, and a needed child that ends too often.

    Another that does rests, and is started again once a minute has gone by since the first of its starts.
    """
    if code == REVOKED and not child.is_needed:
        click.echo(_words_of_revoked(child.name.removeprefix("agent-")), err=True)
        child.is_given_up = True
    elif child.may_start_again():
        click.echo(f"{child.name} ended with exit code {code}; starting it again.", err=True)
        child.start()
    elif not child.is_resting:
        click.echo(f"{child.name} ends again and again (exit code {code}); see {child.log}.", err=True)
        child.is_given_up, child.is_resting = child.is_needed, True


def _words_of_revoked(agent: str) -> str:
    """Say what brings an agent back: the server writes no file on an agent's host, not even on this one."""
    path = f"{places.SECRETS / agent}.token"
    return (
        f"agent-{agent} stays stopped: the server no longer takes its token. To bring it back, stop "
        f"(Ctrl-C), write its new token into {path}, and start again. "
        f"On the command line: flask --app wsgi agent-token rotate {agent} --reason … --file {path}"
    )


def _stop_all(children: list[Child]) -> None:
    """Agents first, so that they finish the step in hand while server and bank still answer."""
    until = time.monotonic() + STOP_SECONDS
    agents = [child for child in children if child.name.startswith(("agent", "traffic"))]
    others = [child for child in reversed(children) if child not in agents]
    for group in (agents, others):
        for child in group:
            child.ask_to_stop()
        for child in group:
            child.wait(until)
