"""Page times with very many rows behind each list: logged in, through gunicorn, the whole page read."""

import http.client
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from app.audit.service import SYSTEM
from app.unit_of_work import unit_of_work
from app.users import service as users
from app.users.passwords import choose_password
from bench import rows
from bench.figures import Figure, percentile
from bench.scattered import AGENTS, CODES, GROUPS, USERS, trade_no
from bench.server import BenchError, Server, running_server
from bench.sizes import Sizes

USERNAME: Final = "li.na"
PASSWORD: Final = "correct-horse-battery"
TIMEOUT: Final = 60.0
PAGES: Final = (
    ("home", "/"),
    ("anomalies", "/anomalies"),
    ("anomalies by amount", "/anomalies?sort=amount&by=desc"),
    ("anomalies by amount, one state", "/anomalies?state=repaired&sort=amount&by=desc"),
    ("anomalies by last report, one state", "/anomalies?state=repaired&sort=last_seen&by=desc"),
    ("anomalies of manual plans", "/anomalies?plan=manual"),
    ("an anomaly", "/anomalies/1"),
    ("exceptions, by click", "/exceptions"),
    ("exceptions by amount", "/exceptions?sort=amount&by=desc"),
    ("exceptions, for a person", "/exceptions?tab=human"),
    ("broadcast", "/collections/new"),
    ("collections", "/collections"),
    ("collections of one state", "/collections?state=incomplete"),
    ("executions", "/executions"),
    ("executions of one outcome", "/executions?outcome=failed"),
    ("frames", "/frames"),
    ("frames of one type", "/frames?type=RepairFinished"),
    ("audit", "/audit"),
    ("audit of one person", "/audit?actor=li.na"),
    ("users", "/users"),
    ("users by a part of the name", "/users?q=09"),
    ("groups", "/users/groups"),
    ("plans", "/plans"),
    ("plans of one fixer", f"/plans?fixer={CODES[0]}"),
    ("a plan", "/plans/1"),
    ("agents", "/agents"),
    ("agents online of one group", "/agents?group=SYS01&state=online"),
    ("agents by a part of the name", "/agents?q=999"),
    ("an agent", "/agents/1"),
    ("search for a trade", f"/search?q={trade_no(1)[:-2]}"),
)
_TOKEN: Final = re.compile(r'name="csrf_token" value="([^"]+)"')
_NEXT: Final = re.compile(r'rel="next" href="([^"]+)"')
DEEP: Final = (
    "anomalies",
    "anomalies by amount",
    "exceptions, by click",
    "collections",
    "executions",
    "frames",
    "audit",
    "users",
    "plans",
    "agents",
)
"""Lists whose 20th page (or last, where they have fewer) is asked for as well: keyset paging promises the
same time."""
DEPTH: Final = 20


def measure(folder: Path, sizes: Sizes) -> list[Figure]:
    """Fill the database, log in, and visit every list again and again, in turn."""
    with (
        running_server(folder, lambda app: rows.fill(app, sizes.listed)) as server,
        _visitor(server) as visitor,
    ):
        paths = dict(PAGES)
        for name in DEEP:
            paths[f"{name}, page {DEPTH}"] = visitor.path_of_page(paths[name], DEPTH)
        took: dict[str, list[float]] = {name: [] for name in paths}
        for turn in range(sizes.visits + 1):
            for name, path in paths.items():
                began = time.perf_counter()
                visitor.get(path)
                if turn > 0:  # the first visit fills caches
                    took[name].append((time.perf_counter() - began) * 1000)
    conditions = (
        f"{sizes.listed:,} rows behind each list, but {GROUPS * len(CODES)} plans of {GROUPS} groups, "
        f"{min(AGENTS, sizes.listed):,} agents and {min(USERS, sizes.listed):,} people; one visitor, "
        f"{sizes.visits} visits of each page in turn, the HTML read whole, no browser"
    )
    figures = [
        (
            Figure(f"{name} p50", percentile(times, 50), "ms", conditions),
            Figure(f"{name} p95", percentile(times, 95), "ms", conditions),
        )
        for name, times in took.items()
    ]
    return [figure for pair in figures for figure in pair]


class Visitor:
    """One person at a browser that keeps its connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        self._cookies = SimpleCookie()

    def log_in(self) -> None:
        """Send the login form. Raises BenchError when it is refused."""
        found = _TOKEN.search(self._ask("GET", "/login", {200}))
        assert found  # every form carries it
        form = {"csrf_token": found[1], "username": USERNAME, "password": PASSWORD, "next": "/"}
        self._ask("POST", "/login", {303}, urlencode(form))

    def get(self, path: str) -> str:
        """Return a page. Raises BenchError for any status but 200."""
        return self._ask("GET", path, {200})

    def path_of_page(self, path: str, number: int) -> str:
        """Follow the list's own links to its page ``number`` (from 1), or to the last there is."""
        for _ in range(number - 1):
            found = _NEXT.search(self.get(path))
            if found is None:
                break
            path = found[1].replace("&amp;", "&")
        return path

    def close(self) -> None:
        """Leave."""
        self._connection.close()

    def _ask(self, method: str, path: str, wanted: set[int], body: str | None = None) -> str:
        cookies = self._cookies.output([], header="", sep=";").strip()
        headers = {"Cookie": cookies, "Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status not in wanted:
            raise BenchError(f"{method} {path} answered {answer.status}")
        for cookie in answer.headers.get_all("Set-Cookie", []):
            self._cookies.load(cookie)
        return text


@contextmanager
def _visitor(server: Server) -> Iterator[Visitor]:
    """An administrator who sees every group, logged in."""
    with server.app.app_context(), unit_of_work() as session:
        users.create_user(
            session,
            actor=SYSTEM,
            username=USERNAME,
            role="admin",
            display_name="李娜",
            group_codes=(),
            sees_all_groups=True,
            password=choose_password(PASSWORD),
            now=datetime.now(UTC),
        )
    visitor = Visitor(server.port)
    try:
        visitor.log_in()
        yield visitor
    finally:
        visitor.close()
