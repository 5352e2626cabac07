"""Fixtures of the browser tests; `tests/browser/harness.py` says how to use them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright

from .harness import Lab, NotebookPage, launch_chromium, write_notebook


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    server = Lab()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = launch_chromium(playwright)
        yield started
        started.close()


class Kept:
    """The page of JupyterLab that goes from test to test, once there is one."""

    page: NotebookPage | None = None
    busy = False


@pytest.fixture(scope="session")
def kept(browser: Browser) -> Kept:  # before the browser closes, so must the page
    del browser
    return Kept()


@pytest.fixture
def notebook(lab: Lab, browser: Browser, kept: Kept) -> Iterator[Callable[..., NotebookPage]]:
    opened: list[NotebookPage] = []

    def open_notebook(
        cells: Sequence[str] = (),
        *,
        path: Path | None = None,
        width: int = 1360,
        height: int = 1000,
        ratio: float = 1,
        dark: bool = False,
        wait: float = 120,
        init_script: str = "",
    ) -> NotebookPage:
        if path is None:
            name = write_notebook(lab.notebooks, cells)
        else:
            name = shutil.copy(path, lab.notebooks / f"copy-{len(opened)}-{path.name}").name
        plain = ratio == 1 and not dark and not init_script and not kept.busy
        if plain and kept.page is not None:
            page = kept.page
            page.page.set_viewport_size({"width": width, "height": height})
            opened.append(page)
            page.open_next(name)
        else:
            context = browser.new_context(
                viewport={"width": width, "height": height}, device_scale_factor=ratio
            )
            if init_script:
                context.add_init_script(init_script)
            page = NotebookPage(lab, context.new_page(), dark=dark)
            opened.append(page)
            page.open(name)
            if plain:
                kept.page = page
        kept.busy = kept.busy or page is kept.page
        page.run_all(wait=wait)
        return page

    yield open_notebook
    for page in opened:
        if page is kept.page:
            page.close_tabs()
        else:
            page.page.context.close()
    kept.busy = False
    lab.stop_kernels()
    for page in opened:
        try:
            page.assert_clean()
        finally:
            page.errors, page.requests = [], []
