"""The demo's set-up, step by step, each skipped when it stands; and its processes."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import click

from deploy import places
from deploy.child import Child, answers

REFUSED = 2
"""Exit code of a program that says in its last line what a person asked for in vain."""
AGENTS = (("pbap-1", "PBAP"), ("pbap-2", "PBAP"), ("pbms-1", "PBMS"))

AGENT_TOML = """\
# Written at each start of the demo; agent/agent.example.toml explains every key.
[agent]
name = "{name}"
sys_code = "{sys_code}"
journal = "{instance}/agents/{name}.journal"
stop_file = "{instance}/agents/{name}.stop"

[server]
url = "ws://127.0.0.1:{server_port}/agent"
token_file = "{instance}/secrets/{name}.token"

[guard]
stuck_after = 30
quiet_for = 10

[trades]
url = "{trade_url}"

[trades.names]
table = "T{sys_code}_TRD_ACC_TRADE"
requests = "T{sys_code}_BANK_REQUEST"

[ledger]
url = "{ledger_url}"

[bank]
base_url = "http://127.0.0.1:{bank_port}"
token_file = "{instance}/secrets/bank_token"

[bank.names]
failure_settles_s = 60
"""


def set_up(bank_port: int, server_port: int) -> str | None:
    """Do what is missing; return the admin's one-time password when the admin was made just now."""
    for folder in (places.INSTANCE, places.SECRETS, places.AGENTS, places.SANDBOX, places.LOGS):
        folder.mkdir(parents=True, exist_ok=True)
    # An instance of before may stand open to others.
    for folder in (places.INSTANCE, places.SECRETS):
        folder.chmod(0o700)
    _say("Database")
    password = _run("deploy.prepare", quiet=True).strip()
    if password:
        # At once: whatever stops this start later, it is told at no other.
        _say(f"User admin, password {password} (shown at this start only)")
    _write_agent_configurations(bank_port, server_port)
    if not _is_loaded():
        _say("Sandbox: two production systems with their trades and ledgers, and a bank")
        _load_sandbox()
    return password or None


def _is_loaded() -> bool:
    """Whether the sandbox's own mark says that its last step was done."""
    mark = places.SANDBOX / "demo"
    return mark.exists() and mark.read_text() == "loaded\n"


def _say(text: str) -> None:
    click.echo(f"  · {text}")
    sys.stdout.flush()


def environment() -> dict[str, str]:
    """What every process of the demo is told."""
    return {
        "PICULUS_INSTANCE": str(places.INSTANCE),
        "PICULUS_SANDBOX_BANK_PORT": str(places.bank_port()),
        "PICULUS_ENVIRONMENT_NAME": os.environ.get("PICULUS_ENVIRONMENT_NAME", "sandbox"),
        "PYTHONUNBUFFERED": "1",
    }


def _run(program: str, *arguments: str, quiet: bool = False, text: str | None = None) -> str:
    """Run a module of this environment; on failure show what it said and exit with its code.

    ``quiet``: its standard error is kept back, of a refusal all but the last line.
    """
    done = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=places.ROOT,
        env={**os.environ, **environment()},
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE if quiet else None,
        text=True,
        check=False,
    )
    if done.returncode == REFUSED and quiet:
        click.echo(done.stderr.splitlines()[-1], err=True)
        sys.exit(1)
    if done.returncode != 0:
        click.echo(f"{program} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr or ''}", err=True)
        sys.exit(done.returncode)
    return done.stdout


def _load_sandbox() -> None:
    """Build the production systems, then do as a DBA does: review the agent's DDL and run it.

    What an earlier start left that was stopped in here is thrown away first.
    """
    _run("sandbox", "create", "--clear-unfinished")
    for name, sys_code in AGENTS:
        if name.endswith("-1"):
            ddl = _run("agent", "--config", str(places.AGENTS / f"{name}.toml"), "ddl", "--user", "")
            _run("sandbox", "apply-sql", "-", "--group", sys_code, text=ddl)
    _run("sandbox", "demo")


def _write_agent_configurations(bank_port: int, server_port: int) -> None:
    for name, sys_code in AGENTS:
        stem = places.SANDBOX / sys_code.lower()
        variable = f"PICULUS_SANDBOX_{sys_code}"
        text = AGENT_TOML.format(
            name=name,
            sys_code=sys_code,
            instance=places.INSTANCE,
            server_port=server_port,
            bank_port=bank_port,
            trade_url=os.environ.get(f"{variable}_TRADE_URL") or f"sqlite:///{stem}.db",
            ledger_url=os.environ.get(f"{variable}_LEDGER_URL") or f"sqlite:///{stem}_ledger.db",
        )
        (places.AGENTS / f"{name}.toml").write_text(text)


Listed = tuple[Child, Callable[[], bool] | None]
"""A process of the demo and its readiness check; those without one start when all others are ready."""


def children(bank_port: int, server_port: int) -> list[Listed]:
    """The processes of the demo in the order they start, each with its readiness check."""
    python, told = sys.executable, environment()
    bank = Child("bank", [python, "-m", "sandbox", "bank", "--port", str(bank_port)], told)
    gunicorn = [python, "-m", "gunicorn", "-c", "deploy/gunicorn.conf.py"]
    server = Child("server", [*gunicorn, "-b", f"127.0.0.1:{server_port}", "wsgi:app"], told)
    agents = [
        Child(f"agent-{name}", [python, "-m", "agent", "--config", config], told, is_needed=False)
        for name, config in ((name, str(places.AGENTS / f"{name}.toml")) for name, _ in AGENTS)
    ]
    listed: list[Listed] = [
        (bank, answers(f"http://127.0.0.1:{bank_port}/healthz")),
        (server, answers(f"http://127.0.0.1:{server_port}/healthz")),
        *((agent, None) for agent in agents),
    ]
    return [*listed, (_traffic(told), None)]


def _traffic(told: dict[str, str]) -> Child:
    """Without new trades it still runs: it hears the bank's notices of arrival."""
    command = [sys.executable, "-m", "sandbox", "traffic"]
    is_quiet = os.environ.get("PICULUS_TRAFFIC") == "0"
    return Child("traffic", [*command, "--rate", "0"] if is_quiet else command, told, is_needed=False)


def throw_away() -> None:
    """Delete everything under the instance folder, secrets too."""
    for path in places.INSTANCE.iterdir() if places.INSTANCE.exists() else ():
        if path.name == ".gitkeep":
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
