"""What a user keeps, and the explorer where it is no cell of JupyterLab: Notebook, Voila, HTML."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from nbconvert import HTMLExporter
from PIL import Image
from playwright.sync_api import Page, expect

from boneviz.palette import rgb_of

from .harness import OUTPUT, Lab, NotebookPage

pytestmark = pytest.mark.browser

Open = Callable[..., NotebookPage]
EXPLORE = "import boneviz\nexplorer = boneviz.explore()\nexplorer"


def saved(page: Page, click: Callable[[], None]) -> tuple[str, bytes]:
    """Return name and content of the file that a click saves."""
    with page.expect_download(timeout=90_000) as download:
        click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def shown_still(page: NotebookPage) -> str:
    """Return the HTML of the still picture in the notebook, as it would be saved."""
    return page.page.evaluate(
        """() => [...document.querySelectorAll('.boneviz-still')].map((e) => e.outerHTML).join('')"""
    )


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
    name, content = saved(page.page, viewer.get_by_test_id("keep-picture").click)
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
    assert patient.encode() not in content

    # tables and the report come from the kernel, to this page
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
    name, content = saved(page.page, keep.get_by_role("button", name="Report").click)
    assert name == "report.html"
    assert b'id="starred"' in content
    expect(keep.get_by_role("status")).to_have_text("report.html is in your downloads.")
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
    """Assert that a saved notebook shows picture and table in JupyterLab without a kernel, as HTML."""
    html, _ = HTMLExporter(embed_images=True).from_notebook_node(nbformat.read(file, as_version=4))
    assert html.count('class="boneviz-still"') == 1
    fresh = page.page.context.new_page()
    fresh.goto(
        f"{page.lab.url}/lab/tree/{file.name}?token={page.lab.token}&reset&kernel_preference=none"
    )
    still = fresh.locator(".boneviz-still")
    expect(still).to_be_visible(timeout=60_000)
    expect(still).to_contain_text("filled: only")
    expect(still.locator("table tbody tr")).to_have_count(8)
    shape = still.locator("img").evaluate("(img) => [img.naturalWidth, img.naturalHeight]")
    assert shape[0] > 2 * shape[1] > 400
    expect(fresh.get_by_text("Error displaying widget")).to_be_hidden()
    fresh.screenshot(path=OUTPUT / "reopened.png")
    fresh.close()
