"""An agent installs and runs alone: its own pinned packages, no Flask, no server, no sandbox."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but the agent, and a virtual environment with nothing but its packages."""
    home = tmp_path_factory.mktemp("agent-alone")
    shutil.copytree(ROOT / "agent", home / "agent", ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(home / "venv", symlinks=True)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "venv" / "bin" / "python"), "install"]
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--require-hashes"]
    subprocess.run([*pip, *options, "-r", str(ROOT / "requirements-agent.txt")], check=True)
    return home


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(home / "venv" / "bin" / "python"), *arguments],
        cwd=home,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_says_its_version(home: Path) -> None:
    done = run(home, "-m", "agent", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.1.0" in done.stdout


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql", "mysql"])
def test_it_prints_its_tables(home: Path, dialect: str) -> None:
    done = run(home, "-m", "agent", "ddl", "--dialect", dialect)
    assert (done.returncode, done.stderr) == (0, "")
    assert "piculus_repair_step" in done.stdout


def test_it_prints_the_schema_of_its_messages(home: Path) -> None:
    done = run(home, "-m", "agent", "schema")
    assert done.returncode == 0
    assert '"RepairFinished"' in done.stdout


@pytest.mark.parametrize("package", ["flask", "werkzeug", "apscheduler", "wsproto", "app", "sandbox"])
def test_nothing_of_the_server_is_there(home: Path, package: str) -> None:
    done = run(home, "-c", f"import {package}")
    assert done.returncode == 1
    assert f"No module named '{package}'" in done.stderr


def test_every_module_of_the_agent_can_be_imported(home: Path) -> None:
    walk = (
        "import agent, importlib, pkgutil\n"
        "for module in pkgutil.walk_packages(agent.__path__, 'agent.'):\n"
        "    importlib.import_module(module.name) if module.name != 'agent.__main__' else None\n"
    )
    done = run(home, "-c", walk)
    assert (done.returncode, done.stderr) == (0, "")
