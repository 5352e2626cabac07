"""Run JavaScript outside a browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]


def node() -> str:
    """Return the path of node: the system's, else the one that Playwright brings."""
    if found := shutil.which("node"):
        return found
    try:
        from playwright._impl._driver import compute_driver_executable

        path = compute_driver_executable()[0]
    except ImportError as error:
        pytest.fail(f"no node on the PATH, and no Playwright, which brings one: {error}")
    if not Path(path).exists():
        pytest.fail(f"no node on the PATH, and none where Playwright should have it: {path}")
    return str(path)


def run_node(*arguments: str, given: str = "") -> str:
    """Run node in the repository and return what it printed; `given` is its standard input."""
    done = subprocess.run(
        [node(), *arguments], input=given, capture_output=True, text=True, check=False, cwd=REPO
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
