"""`boneviz explore` as a user starts it: a real server, its printed address, a real browser."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from boneviz.samples import samples_folder

from .harness import REPO, is_local

pytestmark = pytest.mark.browser


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def printed_address(log: Path, server: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        found = re.search(r"http://127\.0\.0\.1\S+token=\w+", log.read_text(errors="replace"))
        if found:
            return found.group(0)
        time.sleep(0.2)
    raise AssertionError(f"no address was printed: {log.read_text(errors='replace')[-2000:]}")


def test_the_printed_address_opens_the_explorer(browser: Browser, tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(REPO), "JUPYTER_CONFIG_DIR": str(tmp_path / "c")}
    environment |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "s")}
    command = [sys.executable, "-m", "boneviz", "explore", str(samples_folder()), "--no-browser"]
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, f"--port={port}", "--folder", str(tmp_path / "notebooks")],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=tmp_path,
        )
    try:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(printed_address(log, server))
        # JupyterLab drops a cell that is run while its kernel still starts
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.locator(".jp-Notebook .jp-CodeCell").first.click(timeout=60_000)
        page.keyboard.press("Shift+Enter")
        page.wait_for_selector('[data-testid="boneviz-viewer"][data-drawn="1"]', timeout=90_000)
        assert page.get_by_text("Jupyter news").count() == 0
        assert [url for url in asked if not is_local(url)] == []
        page.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    # the server went with the command: its port is free again
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                break
        assert time.monotonic() < deadline, "JupyterLab is still there"
        time.sleep(0.2)
