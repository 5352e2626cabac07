"""The explorer in a real JupyterLab, on the sample cohort and on a real patient."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import Locator, expect

from boneviz.cohort import Cohort
from boneviz.palette import rgb_of, styles_of
from boneviz.samples import demonstration_models, samples_folder

from .harness import REPO, NotebookPage

pytestmark = pytest.mark.browser

Open = Callable[..., NotebookPage]
HD95_CELL = re.compile(r"\d+\.\d").fullmatch
COHORT = Cohort.open(samples_folder())
COLOURS = {style.name: rgb_of(style.colour) for style in styles_of(COHORT.readers)}


def drawn_colours(page: NotebookPage) -> dict[str, int]:
    """Count the pixels of the slices that have each reader's own colour."""
    stage = page.viewer().get_by_test_id("stage")
    page.scroll_to(stage)
    image = page.pixels(stage).astype(np.int16)
    return {name: count(image, colour) for name, colour in COLOURS.items()}


def count(image: NDArray[np.int16], colour: tuple[int, int, int]) -> int:
    return int((np.abs(image - np.array(colour)) <= 20).all(axis=-1).sum())


def legend(page: NotebookPage, name: str) -> Locator:
    return page.viewer().get_by_role("button", name=name)


def test_the_sample_cohort_from_table_to_3d(notebook: Open) -> None:
    page = notebook(path=REPO / "notebooks" / "01_explore.ipynb", width=1280, height=1800)
    page.wait_drawn(serial=1, seconds=120)
    first, second = (ref.case_id for ref in COHORT.cases[:2])
    explorer = page.page.locator(".boneviz-explorer")
    expect(explorer).to_contain_text(f"shown: {first}")
    expect(page.viewer()).to_contain_text(first)
    page.keep("explorer", explorer)

    # all four readers are drawn, each in its own colour; grey uptake has none of these hues
    page.output("explorer.viewer.colour_map = 'grey'")
    page.until(lambda: min(drawn_colours(page).values()) > 15)
    before = drawn_colours(page)
    assert min(before.values()) > 15, before
    # switched off, a reader's colour goes and the others' stay
    for name in COLOURS:
        legend(page, name).click()
        page.settle()
        without = drawn_colours(page)
        assert without[name] <= 0.1 * before[name], (name, before, without)
        assert all(without[n] > 0.4 * before[n] for n in COLOURS if n != name), (name, without)
        hidden = page.output(
            "print([t.customdata[0] for t in explorer.surfaces.figure.data "
            "if t.meta == 'reader' and not t.visible])"
        )
        assert hidden.strip() == f"['{name}']"
        legend(page, name).click()
        page.settle()

    # the wheel moves the slice under it, and Python hears of it
    stage = page.viewer().get_by_test_id("stage")
    page.scroll_to(stage)
    x, y, width, height = page.box(stage)
    z_before = float(page.output("print(explorer.state.cursor_mm[2])"))
    page.page.mouse.move(x + width / 8, y + height / 8)
    page.page.mouse.wheel(0, 300)
    page.settle()
    page.page.wait_for_timeout(400)
    z_after = float(page.output("print(explorer.state.cursor_mm[2])"))
    assert z_after != z_before

    # a row of the table opens its patient at a disagreement
    row = page.page.locator(".boneviz-explorer table tbody tr", has_text=second).first
    page.scroll_to(row)
    row.click()
    page.wait_drawn(serial=2)
    expect(explorer).to_contain_text(f"shown: {second}")
    expect(page.viewer()).to_contain_text(second)
    assert page.output("print(explorer.state.case_id)").strip() == second

    # another metric redraws matrix and table
    page.page.locator(".boneviz-metric select").select_option("HD95 (mm)")
    expect(explorer).to_contain_text("HD95 (mm): mean ± SD over patients")
    # every number with one decimal, in mm, the round ones too
    cells = page.page.locator("table.boneviz-patients tbody tr td:nth-child(n+4)")
    page.until(lambda: bool(cells.count()) and all(map(HD95_CELL, cells.all_inner_texts())))
    assert cells.count() == 5 * len(COHORT)

    # the surfaces are there in 3D, as wide as the page, in the experts' hues over bone
    scene = page.page.locator(".boneviz-explorer .js-plotly-plot").last
    page.scroll_to(scene)
    page.page.wait_for_timeout(3500)
    _, _, scene_width, _ = page.box(scene)
    _, _, stage_width, _ = page.box(stage)
    assert scene_width == pytest.approx(stage_width, rel=0.03)
    image = page.pixels(scene).astype(np.int16)
    red, blue = image[..., 0], image[..., 2]
    assert (blue - red > 25).sum() > 200  # Expert A and Model A are blue
    assert (red - blue > 25).sum() > 200  # Expert B and Model B are orange
    page.keep("explorer-3d", scene)


def test_dark_theme_and_narrow_window_stay_legible(notebook: Open) -> None:
    page = notebook(
        ["import boneviz\nexplorer = boneviz.explore()\nexplorer"],
        width=860,
        height=1900,
        dark=True,
    )
    page.wait_drawn(seconds=120)
    explorer = page.page.locator(".boneviz-explorer")
    page.keep("explorer-dark-narrow", explorer)
    _, _, width, _ = page.box(explorer)
    wider = page.page.evaluate(
        """() => [...document.querySelectorAll('.boneviz-explorer *')]
          .filter((e) => e.checkVisibility() && !e.closest('.js-plotly-plot, .dt-scroll'))
          .map((e) => e.getBoundingClientRect().width).reduce((a, b) => Math.max(a, b), 0)"""
    )
    assert wider <= width + 1  # nothing sticks out to the side
    title = page.page.locator(".boneviz-explorer .widget-html").first
    image = page.pixels(title).astype(int)
    assert image.max() - image.min() > 120  # the title stands out from the dark page


HOSTILE = """
import sys, tempfile; sys.path.insert(0, "tests")
from dataclasses import replace
from pathlib import Path
from small import EXPERT_A, EXPERT_B, limb, write_tiny_cohort
import boneviz
bad = "<img src=x onerror=window.hacked=1>"
made = write_tiny_cohort(Path(tempfile.mkdtemp()) / "tiny", [limb(bad + "1"), limb(bad + "2")])
a, b = replace(EXPERT_A, name=bad + "A"), replace(EXPERT_B, name=bad + "B")
cases = [replace(r, masks={a: r.masks[EXPERT_A], b: r.masks[EXPERT_B]}) for r in made]
cohort = replace(made, name=bad, readers=(a, b), cases=tuple(cases))
explorer = boneviz.explore(cohort)
explorer
"""


def test_names_from_files_are_text_in_every_part(notebook: Open) -> None:
    page = notebook([HOSTILE], width=1280, height=1800)
    page.wait_drawn(seconds=120)
    page.page.wait_for_timeout(2000)
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator(".boneviz-explorer img[src='x']").count() == 0
    bad = "<img src=x onerror=window.hacked=1>"
    explorer = page.page.locator(".boneviz-explorer")
    expect(explorer.locator("tbody tr").first).to_contain_text(bad + "1")  # the table
    expect(explorer.locator("thead").first).to_contain_text(bad + "A")  # its headings
    expect(explorer.locator(".boneviz-matrix")).to_contain_text(bad + "A")
    explorer.get_by_role("tab", name="Regions").click()
    expect(explorer.locator("table.boneviz-atlas tbody tr").first).to_contain_text(bad + "A")
    explorer.get_by_role("tab", name="One pair").click()
    expect(explorer.locator(".boneviz-strip")).to_contain_text(bad + "B")
    expect(explorer.locator("table.boneviz-strip-table tbody tr").first).to_contain_text(bad)
    page.page.wait_for_timeout(500)
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator(".boneviz-explorer img[src='x']").count() == 0
    expect(page.viewer()).to_contain_text(bad + "B")  # the legend


@pytest.mark.realdata
def test_a_real_patient_with_models_that_learned_from_phantoms(
    notebook: Open, tmp_path: Path, realdata: Path
) -> None:
    from boneviz.cli import main

    folder, out = realdata / "petct" / "STS_001", tmp_path / "predictions"
    models = [part for path in demonstration_models() for part in ("--model", str(path))]
    assert main(["predict", str(folder), *models, "--out", str(out), "--quiet"]) == 0
    page = notebook(
        [
            "import boneviz\n"
            f"explorer = boneviz.explore({str(folder)!r}, predictions={str(out)!r})\nexplorer"
        ],
        width=1280,
        height=1900,
    )
    page.wait_drawn(seconds=120)
    explorer = page.page.locator(".boneviz-explorer")
    expect(explorer.get_by_role("alert")).to_contain_text("learned from synthetic phantoms only")
    expect(page.viewer()).to_contain_text("CT_mask")
    page.keep("explorer-real-patient", explorer)
    # round numbers keep their decimals: Model B, of the bone-only expert, draws nothing here
    expect(explorer.locator("tbody td:nth-child(4)").first).to_have_text("0.000")
    # the tumour's contour, drawn by a person on the CT, is on the slices
    stage = page.viewer().get_by_test_id("stage")
    page.scroll_to(stage)
    assert count(page.pixels(stage).astype(np.int16), COLOURS["Expert A"]) > 200
