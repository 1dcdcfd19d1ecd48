"""Who may know whom. The rules of docs/architecture.md, read off the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FEATURES = ("audit", "users", "agents", "anomalies", "plans", "guards", "executions", "alerts", "monitor")
"""Imports between features go to the left only."""

APP_MAY_USE_OF_AGENT = {
    "agent.protocol",
    "agent.answers",
    "agent.message",
    "agent.facts",
    "agent.unpaid",
    "agent.errors",
    "agent.failpoints",
}
"""The protocol and its messages, the values and errors they are made of, and the moments that tests name."""

DECIDERS_MAY_USE = {
    "agent.ports",
    "agent.records",
    "agent.facts",
    "agent.decision",
    "agent.unpaid",
    "agent.money",
    "agent.errors",
    "agent.protocol",
    "agent.answers",
    "agent.message",
    "agent.clock",
    "agent.standstill",
}
"""What fixers and collectors know, beside each other's bases: no adapter, socket, SQL or server."""

WEB = {
    "flask",
    "flask_login",
    "flask_wtf",
    "flask_sock",
    "flask_babel",
    "flask_limiter",
    "werkzeug",
    "wtforms",
}
SQL = {"sqlalchemy", "sqlite3", "psycopg", "pymysql"}
SOCKETS = {"websocket", "wsproto", "simple_websocket", "socket", "selectors"}


def sources(folder: str) -> list[Path]:
    """Return the Python files under a folder of the project."""
    return sorted((ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    """Return the dotted name of a file."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Return every module a file imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found.update(
                f"{node.module}.{alias.name}"
                for alias in node.names
                if _is_module(f"{node.module}.{alias.name}")
            )
    return found


def _is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def top(module: str) -> str:
    """Return the package a module stands in."""
    return module.partition(".")[0]


def offences(folder: str, is_forbidden: object) -> list[str]:
    """Return ``file: import`` for each import of a folder that the rule forbids."""
    assert callable(is_forbidden)
    return [
        f"{path.relative_to(ROOT)}: {module}"
        for path in sources(folder)
        for module in sorted(imports_of(path))
        if is_forbidden(module)
    ]


@pytest.mark.parametrize("folder", ["agent", "sandbox"])
def test_agent_and_sandbox_know_nothing_of_the_others(folder: str) -> None:
    strangers = {"agent", "app", "sandbox", "deploy", "tests", "bench", "chaos"} - {folder}
    assert offences(folder, lambda module: top(module) in strangers) == []


def test_an_agent_needs_no_web_framework() -> None:
    assert offences("agent", lambda module: top(module) in WEB) == []


def test_the_server_knows_only_the_protocol_of_the_agent_and_nothing_of_the_sandbox() -> None:
    def is_forbidden(module: str) -> bool:
        if top(module) in ("sandbox", "deploy", "tests", "bench", "chaos"):
            return True
        return top(module) == "agent" and module != "agent" and module not in APP_MAY_USE_OF_AGENT

    assert offences("app", is_forbidden) == []


@pytest.mark.parametrize("feature", FEATURES)
def test_features_import_only_those_before_them(feature: str) -> None:
    later = FEATURES[FEATURES.index(feature) + 1 :]
    assert offences(f"app/{feature}", lambda module: _feature(module) in later) == []


def _feature(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == "app" and len(parts) > 1 else ""


@pytest.mark.parametrize("feature", FEATURES)
def test_only_views_know_of_requests_and_models_know_no_service(feature: str) -> None:
    for path in sources(f"app/{feature}"):
        used = imports_of(path)
        if path.stem == "models":
            assert not {one for one in used if one.startswith("app.") and one.endswith(".service")}, path
            assert not {top(one) for one in used} & (WEB - {"flask_login"}), path
        if path.stem == "service":
            assert not {top(one) for one in used} & (WEB - {"flask"}), path
            names = _names_from(path, "flask")
            assert names <= {"current_app"}, f"{path}: a service takes plain values, it reads no request"


def _names_from(path: Path, module: str) -> set[str]:
    return {
        alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == module
        for alias in node.names
    }


@pytest.mark.parametrize("name", ["hub", "sockets", "peer"])
def test_hub_and_sockets_know_no_feature_and_no_database(name: str) -> None:
    used = imports_of(ROOT / "app" / "agents" / f"{name}.py")
    allowed = {
        "app",
        "app.agents",
        "app.agents.frames",
        "app.agents.hub",
        "app.agents.peer",
        "app.agents.sockets",
    }
    assert {one for one in used if top(one) == "app"} <= allowed
    assert not {top(one) for one in used} & (SQL | WEB)


@pytest.mark.parametrize("folder", ["agent/fixers", "agent/collectors"])
def test_fixers_and_collectors_know_facts_and_ports_only(folder: str) -> None:
    def is_forbidden(module: str) -> bool:
        if top(module) in SQL | SOCKETS | WEB or top(module) in ("requests", "urllib", "urllib3"):
            return True
        if top(module) != "agent" or module in ("agent", "agent.fixers", "agent.collectors"):
            return False
        return module not in DECIDERS_MAY_USE and not module.startswith(
            ("agent.fixers.", "agent.collectors.")
        )

    assert offences(folder, is_forbidden) == []


def test_the_decision_is_pure() -> None:
    used = {one for one in imports_of(ROOT / "agent" / "decision.py") if top(one) == "agent"}
    assert used <= {"agent", "agent.facts"}


def test_wsgi_makes_the_application_and_nothing_else() -> None:
    assert imports_of(ROOT / "wsgi.py") == {"app"}


def test_nothing_is_called_by_a_banned_name() -> None:
    banned = {"utils", "helpers", "common", "manager", "data", "info", "process"}
    names = [path for folder in ("agent", "app", "sandbox", "deploy") for path in sources(folder)]
    assert [path for path in names if path.stem in banned] == []
