"""A Chromium for the tests: the one on the machine, else Debian's package, else Playwright's own build."""

import os
import shutil
import subprocess
import sys

import click

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find() -> str | None:
    """Return the path of a Chromium: PICULUS_CHROMIUM, else on PATH, else of Playwright; None for none."""
    named = os.environ.get("PICULUS_CHROMIUM")
    if named:
        return named
    for name in NAMES:
        path = shutil.which(name)
        if path:
            return path
    return _from_playwright()


def _from_playwright() -> str | None:
    # A development package: `make run` installs without it, and needs no browser.
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None


def ensure() -> str:
    """Return the path of a Chromium, installing one if there is none; exits 1 if that fails."""
    path = find()
    if path:
        return path
    click.echo("No Chromium here; installing one.", err=True)
    if shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-noto-cjk"],
            check=False,
            stdout=subprocess.DEVNULL,
        )
    else:
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    path = find()
    if not path:
        click.echo("No Chromium could be installed; name one in PICULUS_CHROMIUM.", err=True)
        sys.exit(1)
    return path
