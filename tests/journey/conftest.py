"""A person's page that must not complain, and one demo running as ``make run`` leaves it."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.journey.oracle import Production
from tests.journey.running import PASSWORD, Demo, new_demo

OUTAGE = ("net::ERR_", "WebSocket connection to", "htmx:afterRequest", "htmx:sendError")
"""What a browser, and htmx in it, say while a server is away; of an answer it does not like htmx says another
word."""
REFUSED = "status of 400"
"""What it says of a form that is wrong."""

PATIENCE_MS = 60_000
PLAYWRIGHT_PATIENCE_MS = 5_000


@pytest.fixture(scope="module", autouse=True)
def patience() -> Iterator[None]:
    """Six processes and a browser share the machine here: wait longer for what is expected."""
    expect.set_options(timeout=PATIENCE_MS)
    yield
    expect.set_options(timeout=PLAYWRIGHT_PATIENCE_MS)


def watch(page: Page, complaints: list[str]) -> None:
    """Gather what the page complains of: console errors, exceptions, breaches of the content policy."""
    page.on(
        "console",
        lambda told: complaints.append(f"{page.url}: {told.text}") if told.type == "error" else None,
    )
    page.on("pageerror", lambda error: complaints.append(f"{page.url}: {error}"))


def serious(complaints: list[str], allowed: tuple[str, ...]) -> list[str]:
    """The complaints that are none of ``allowed``."""
    return [text for text in complaints if not any(words in text for words in allowed)]


def log_in(page: Page, username: str = "admin", password: str = PASSWORD) -> None:
    """Type name and password."""
    page.goto("/login")
    page.fill("#username", username)
    page.fill("#password", password)
    page.click("button.primary")


@dataclass(frozen=True)
class Started:
    """A demo that was started and left to itself, and what production held before."""

    demo: Demo
    before: dict[str, Production]


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """One demo for all tests that only look; nothing of it is switched off but the traffic."""
    with new_demo(tmp_path_factory.mktemp("demo") / "instance") as demo:
        demo.set_up()
        before = {group: Production.read(demo.world, group) for group in demo.world.groups}
        demo.start()
        yield Started(demo, before)
        assert demo.stop() == 0
        assert demo.complaints() == []
