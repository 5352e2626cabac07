"""Find a Chromium or Chrome for the browser tests; with --install, get one where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")


def find_browser() -> str | None:
    """Return the path of an installed browser, or None: Playwright's own is then to be used."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    return found or (str(MAC) if MAC.exists() else None)


def install_browser() -> None:
    """Install Debian's Chromium as root, else Playwright's; raise where neither works."""
    tried = []
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
        ):
            tried.append(" ".join(command))
            subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        if find_browser():
            return
    command = [sys.executable, "-m", "playwright", "install", "chromium"]
    tried.append("playwright install chromium")
    if subprocess.run(command, check=False).returncode:
        raise SystemExit(
            "no Chromium or Chrome for the browser tests, and none could be installed; tried: "
            + "; ".join(tried)
        )


def playwright_has_one() -> bool:
    """Whether Playwright's own Chromium is already there."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).exists()


if __name__ == "__main__":
    if find_browser() is None and not playwright_has_one():
        if "--install" not in sys.argv:
            raise SystemExit("no browser; run with --install")
        install_browser()
    print(find_browser() or "Playwright's own Chromium")
