"""Names from files are text in every page: here where one learns, and where there is no notebook.

The explorer's and the viewer's own tests do the same in JupyterLab.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from small import EXPERT_A, EXPERT_B, limb, write_tiny_cohort

from boneviz.cohort import Cohort

from .harness import REPO, is_local
from .stage import Open, Stage
from .test_command import free_port, printed_address
from .test_keep import explores, watched

pytestmark = pytest.mark.browser

BAD = "<img src=x onerror=window.caught=1>"


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    """Return three patients and two experts whose names are markup."""
    root = tmp_path / "cohort"
    made = write_tiny_cohort(root, [limb(f"{BAD}{n}") for n in (1, 2, 3)])
    readers = (replace(EXPERT_A, name=f"{BAD}A"), replace(EXPERT_B, name=f"{BAD}B"))
    cases = []
    for ref in made:
        # every patient's files are named after the readers
        paths = {
            reader: path.rename(path.with_name(f"{reader.key}.nii.gz"))
            for reader, path in zip(readers, ref.masks.values(), strict=True)
        }
        cases.append(replace(ref, masks=paths))
    replace(made, name=BAD, readers=readers, cases=tuple(cases)).save()
    return Cohort.open(root)


def assert_only_text(page: Page) -> None:
    page.wait_for_timeout(1500)  # for what is said late, and for an error of a picture
    assert page.evaluate("() => window.caught") is None
    assert page.locator("img[src='x']").count() == 0


def test_names_are_text_where_one_learns(notebook: Open, cohort: Cohort, tmp_path: Path) -> None:
    folder = str(tmp_path / "kim")
    page = notebook(
        [
            "import boneviz\n"
            f"session = boneviz.teach({str(cohort.root)!r}, learner={BAD!r}, folder={folder!r})\n"
            "session"
        ],
        height=1800,
    )
    page.wait_drawn(serial=1)
    stage, whole = Stage(page), page.page.locator(".boneviz-teaching")
    assert stage.text("patient").startswith(BAD)
    assert stage.text("reader-1").startswith(BAD)
    expect(whole).to_contain_text(f"read by {BAD}")
    assert_only_text(page.page)
    whole.get_by_role("button", name="Commit", exact=True).click()
    whole.get_by_role("button", name="Commit for good").click()
    page.wait_drawn(serial=2)
    assert stage.text("reader-3").startswith(BAD)
    expect(whole.locator("caption").first).to_have_text("This case")
    assert_only_text(page.page)
    page.keep("names-teaching", whole)
    assert not [url for url in page.requests if url.endswith("/x")]


def test_names_are_text_in_the_page_without_code(
    browser: Browser, cohort: Cohort, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(REPO), "JUPYTER_CONFIG_DIR": str(tmp_path / "c")}
    command = [sys.executable, "-m", "boneviz", "app", str(cohort.root), "--no-browser"]
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, f"--port={port}", "--folder", str(tmp_path / "app")],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=tmp_path,
        )
    try:
        page, asked, errors = watched(browser)
        said: list[str] = []
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.goto(printed_address(log, server))
        explores(page)
        for text in (f"shown: {BAD}3", f"{BAD}A", f"{BAD}B"):
            expect(page.locator(".boneviz-explorer")).to_contain_text(text)
        for tab in ("Regions", "One pair"):
            page.get_by_role("tab", name=tab).click()
        expect(page.locator("table.boneviz-strip-table tbody tr").first).to_contain_text(BAD)
        assert_only_text(page)
        assert [url for url in asked if not is_local(url) or url.endswith("/x")] == []
        assert (errors, said) == ([], [])
        page.context.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
