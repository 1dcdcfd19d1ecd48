"""One Chromium a test process: Playwright's loop stays in its thread, and a second would be refused."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from deploy.browser import find


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium without pages; each test opens a context of its own."""
    path = find()  # asks Playwright itself where there is no other, so before ours begins
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()
