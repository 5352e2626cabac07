"""What a user keeps, and the explorer where it is no cell of JupyterLab: Notebook, Voila, HTML."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbconvert import HTMLExporter
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from boneviz.palette import rgb_of
from boneviz.samples import samples_folder

from .harness import OUTPUT, REPO, Lab, NotebookPage, is_local, write_notebook
from .test_command import free_port, printed_address

pytestmark = pytest.mark.browser

Open = Callable[..., NotebookPage]
# what Notebook 7.6 raises by itself, with any notebook
OF_NOTEBOOK = ("reading 'schema'", "'filebrowser:open-path' not registered")
EXPLORE = "import boneviz\nexplorer = boneviz.explore()\nexplorer"


def saved(page: Page, click: Callable[[], None]) -> tuple[str, bytes]:
    """Return name and content of the file that a click saves."""
    with page.expect_download(timeout=90_000) as download:
        click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def shown_still(page: NotebookPage) -> str:
    """Return the text of the still picture in the notebook, as it would be saved."""
    return str(page.page.locator(".boneviz-still").text_content())


def test_what_is_seen_is_kept(notebook: Open, lab: Lab) -> None:
    page = notebook([EXPLORE], width=1300, height=1900)
    viewer = page.wait_drawn()
    explorer = page.page.locator(".boneviz-explorer")
    keep = explorer.get_by_test_id("keep")
    expect(keep).to_be_visible()
    # while the explorer is alive its still picture hides itself
    still = page.page.locator(".boneviz-still")
    expect(still).to_have_count(1, timeout=30_000)
    expect(still).to_be_hidden()

    # the picture is the stage as drawn: its pixels, in its size, with the legend below
    stage = viewer.get_by_test_id("stage")
    page.page.evaluate(
        """() => { window.__texts = []; const write = CanvasRenderingContext2D.prototype.fillText;
        CanvasRenderingContext2D.prototype.fillText = function (text, ...at) {
          window.__texts.push(text); return write.call(this, text, ...at); }; }"""
    )
    name, content = saved(page.page, keep.get_by_role("button", name="Picture PNG").click)
    written = " ".join(page.page.evaluate("() => window.__texts"))
    (OUTPUT / "kept.png").write_bytes(content)
    assert name == "slices.png"
    picture = np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
    seen = page.pixels(stage).astype(int)
    height, width = seen.shape[:2]
    assert picture.shape[1] == width
    assert height + 20 <= picture.shape[0] <= height + 80
    assert np.abs(picture[:height] - seen).mean() < 1
    legend = picture[height:]
    for colour in ("#3d9bff", "#ff8c1a"):
        assert (np.abs(legend - rgb_of(colour)) < 8).all(axis=-1).sum() > 40
    patient = page.output("print(explorer.state.case_id)").strip()
    assert "Expert A" in written and "mm" in written
    assert patient not in written

    # tables come from the kernel, to this page
    explorer.get_by_role("tab", name="Regions").click()
    explorer.locator("table.boneviz-atlas tbody tr").first.click()
    viewer.get_by_test_id("stage").focus()
    page.page.keyboard.press("s")
    expect(explorer.get_by_role("link", name="save as CSV")).to_be_visible(timeout=20_000)
    for label, file in (("Patients CSV", "patients.csv"), ("Starred CSV", "starred.csv")):
        name, content = saved(page.page, keep.get_by_role("button", name=label).click)
        assert name == file
        table = pd.read_csv(io.BytesIO(content))
        rows = {"patients.csv": 8, "starred.csv": 1}[file]
        assert len(table) == rows
    expect(keep.get_by_role("status")).to_have_text("starred.csv is in your downloads.")
    page.keep("keep-row", keep)

    # a link brings the view back after one has gone elsewhere
    viewer.get_by_test_id("mode-pet").click()
    viewer.get_by_test_id("view-disagreement").click()
    page.until(lambda: page.output("print(explorer.state.view)").strip() == "disagreement")
    keep.get_by_role("button", name="Copy link").click()
    field = keep.get_by_test_id("link")
    page.until(lambda: field.input_value().startswith("{"))
    link = field.input_value()
    assert json.loads(link) == json.loads(page.output("print(explorer.link())"))
    other = page.output(
        "explorer.select(explorer.state.case_ids[2])\nprint(explorer.state.case_id)"
    )
    page.wait_drawn(serial=2)
    viewer.get_by_test_id("mode-ct").click()
    viewer.get_by_test_id("view-readers").click()
    field.fill(link)
    field.press("Enter")
    page.wait_drawn(serial=3)
    expect(explorer).to_contain_text(f"shown: {patient}")
    expect(viewer.get_by_test_id("mode-pet")).to_have_attribute("aria-pressed", "true")
    expect(viewer.get_by_test_id("view-disagreement")).to_have_attribute("aria-pressed", "true")
    expect(keep.get_by_role("status")).to_have_text("Opened.")
    assert json.loads(page.output("print(explorer.link())")) == json.loads(link)
    # one that is none is refused in words, as text
    field.fill('{"boneviz": "<img src=x onerror=alert(1)>"}')
    field.press("Enter")
    expect(keep.get_by_role("status")).to_contain_text("no link of the explorer")
    assert other.strip() != patient
    page.keep("keep-explorer", explorer)

    # saved and opened without a kernel, the notebook shows the last picture
    page.until(lambda: "filled: only" in shown_still(page), seconds=30)
    page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    path = page.page.url.split("/tree/")[1].split("?")[0]
    file = lab.notebooks / path
    page.until(lambda: "filled: only" in file.read_text())
    lab.stop_kernels()
    check_static(page, file)


def check_static(page: NotebookPage, file: Path) -> None:
    """Assert that a saved notebook shows picture and table: as HTML, and before it is run again."""
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(nbformat.read(file, as_version=4))
    assert html.count('class="boneviz-still"') == 1
    fresh = page.page.context.new_page()
    fresh.goto(f"{page.lab.url}/lab/tree/{file.name}?token={page.lab.token}&reset")
    fresh.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    still = fresh.locator(".boneviz-still")
    expect(still).to_be_visible(timeout=60_000)
    expect(still).to_contain_text("filled: only")
    expect(still.locator("table tbody tr")).to_have_count(8)
    shape = still.locator("img").evaluate("(img) => [img.naturalWidth, img.naturalHeight]")
    assert shape[0] > 2 * shape[1] > 400
    # a new kernel knows no widget of the old one: nothing is said of that
    for words in ("Error displaying widget", "Loading widget"):
        for line in fresh.get_by_text(words).all():
            expect(line).to_be_hidden()
    fresh.screenshot(path=OUTPUT / "reopened.png")
    fresh.close()


def watched(browser: Browser) -> tuple[Page, list[str], list[str]]:
    """Return a fresh page, with what it asks for and what goes wrong in it."""
    page = browser.new_context(viewport={"width": 1200, "height": 1900}).new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    return page, asked, errors


def explores(page: Page) -> None:
    """Wait for the explorer, go to another patient by its table, and keep a table."""
    drawn = '[data-testid="boneviz-viewer"][data-drawn="{}"]'
    page.wait_for_selector(drawn.format(1), timeout=90_000)
    explorer = page.locator(".boneviz-explorer")
    expect(explorer.locator(".boneviz-matrix .heatmaplayer")).to_be_visible(timeout=60_000)
    row = explorer.locator("tbody tr").nth(2)
    patient = row.locator("td").first.inner_text()
    row.click()
    page.wait_for_selector(drawn.format(2), timeout=60_000)
    expect(explorer).to_contain_text(f"shown: {patient}")
    name, content = saved(page, explorer.get_by_role("button", name="Patients CSV").click)
    assert name == "patients.csv"
    assert patient.encode() in content
    expect(page.locator(".boneviz-still")).to_have_count(1)
    expect(page.locator(".boneviz-still")).to_be_hidden()


def test_the_explorer_opens_in_notebook_7(lab: Lab, browser: Browser) -> None:
    name = write_notebook(lab.notebooks, ["import boneviz\nboneviz.explore()"])
    page, asked, errors = watched(browser)
    page.goto(f"{lab.url}/notebooks/{name}?token={lab.token}")
    assert page.locator("body[data-notebook='notebooks']").count() == 1
    page.locator(".jp-Notebook .jp-CodeCell").first.click(timeout=60_000)
    page.wait_for_selector(".jp-NotebookKernelStatus:empty, [data-status='idle']", timeout=60_000)
    page.keyboard.press("Shift+Enter")
    explores(page)
    # not in a box that scrolls, as Notebook puts large outputs into
    explorer = page.locator(".boneviz-explorer")
    area = page.locator(".jp-Cell-outputArea").first
    scrolled = "(e) => e.closest('.jp-CodeCell').classList.add('jp-mod-outputsScrolled')"
    area.evaluate(scrolled)
    high = explorer.evaluate("(e) => e.offsetHeight")
    assert high > 1200
    assert area.evaluate("(e) => e.clientHeight") >= high
    explorer.evaluate("(e) => e.scrollIntoView({block: 'start'})")
    page.screenshot(path=OUTPUT / "notebook7.png")
    assert [url for url in asked if not is_local(url)] == []
    own = [error for error in errors if not any(known in error for known in OF_NOTEBOOK)]
    assert own == []
    page.context.close()
    lab.stop_kernels()


def test_the_app_is_a_page_without_code_on_loopback_behind_a_token(
    browser: Browser, tmp_path: Path
) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = {**os.environ, "PYTHONPATH": str(REPO), "JUPYTER_CONFIG_DIR": str(tmp_path / "c")}
    command = [sys.executable, "-m", "boneviz", "app", str(samples_folder()), "--no-browser"]
    with log.open("wb") as stream:
        server = subprocess.Popen(
            [*command, f"--port={port}", "--folder", str(tmp_path / "app")],
            stdout=stream,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=tmp_path,
        )
    try:
        address = printed_address(log, server)
        (tmp_path / "app" / "p017.png").write_bytes(b"a picture that lies there")
        # without the token nobody gets a page, a kernel or a file
        bare = address.partition("?")[0]
        for path in ("", "api/kernels", "voila/files/boneviz.ipynb", "voila/files/p017.png"):
            try:
                with urllib.request.urlopen(bare + path, timeout=30) as answer:
                    assert "/login" in answer.url
            except urllib.error.HTTPError as error:
                assert error.code in (403, 404)
        page, asked, errors = watched(browser)
        page.goto(address)
        explores(page)
        assert page.get_by_text("import boneviz").count() == 0
        page.screenshot(path=OUTPUT / "app.png")
        page.set_viewport_size({"width": 900, "height": 1900})
        # the slices follow, and nothing is wider than the window
        page.wait_for_function("() => document.querySelector('.bv-image').clientWidth < 890")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 900
        page.screenshot(path=OUTPUT / "app-900.png")
        assert [url for url in asked if not is_local(url)] == []
        assert errors == []
        with socket.socket() as probe:
            # another address of this machine, which a server on all addresses would answer
            assert probe.connect_ex(("127.0.0.2", port)) != 0
        page.context.close()
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
