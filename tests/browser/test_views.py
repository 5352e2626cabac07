"""Disagreement, error and probability in the slice viewer: pixels at known millimetres.

On the axial slice at 13.5 mm the balls of `browser.patient` are circles: expert A about (40, -20)
with radius sqrt(18^2 - 1.5^2) = 17.9 mm, expert B there with 9.9 mm, model A about (32, -20) with
sqrt(18^2 - 6.5^2) = 16.8 mm. The bone ring, 24 to 32 mm about 0, is white as dots are: the places
below lie outside it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from playwright.sync_api import expect

from boneviz.palette import (
    PAIR_COLOURS,
    colour_map,
    heat_colours,
    rgb_of,
    simulate_colour_blindness,
)

from .harness import NotebookPage
from .stage import COLOURS, NO_WEBGL, Open, Stage, near, opened, patch

pytestmark = pytest.mark.browser

SHOW = (
    "from browser.patient import predictions\n"
    "v.mode = 'ct'\n"
    "v.show(patient(), styles(), predictions=predictions(), cursor_mm=(-60, 40, 13.5))\nv"
)
# x and y in mm, and who says yes there
ONLY_A = (54, -20)
A_AND_B = (45, -20)  # and model A
A_AND_MODEL = (27, -28)
ONLY_MODEL = (20, -29)  # 21.9 mm from the experts' middle, 15.0 mm from the model's
NOBODY = (70, -20)
FIRST, SECOND, BOTH = (rgb_of(colour) for colour in PAIR_COLOURS)
SOFT_TISSUE = 76  # of 255: 40 HU in the bone window


def signs(image: NDArray[np.int16], stage: Stage, place_mm: tuple[float, float]) -> set[str]:
    """Return whose marks are seen on the axial slice within 4 pixels of a place."""
    around = patch(image, stage.at("axial", *place_mm), 4)
    colours = {"first": FIRST, "second": SECOND, "both": BOTH}
    return {name for name, colour in colours.items() if near(around, colour) >= 3}


def model_a_hits(stage: Stage, threshold: float, colour: tuple[int, int, int]) -> float:
    """Return on what share of the ball that a threshold outlines a colour is seen."""
    radius = ((36 * (1 - threshold)) ** 2 - 6.5**2) ** 0.5
    image = stage.pixels()
    hits = []
    for angle in np.deg2rad(np.arange(0, 360, 5)):
        place = stage.at("axial", 32 + radius * np.cos(angle), -20 + radius * np.sin(angle))
        hits.append(near(patch(image, place, 3), colour) > 0)
    return float(np.mean(hits))


def click(page: NotebookPage, name: str) -> None:
    page.viewer().get_by_test_id(name).click()
    page.settle()


def words(page: NotebookPage) -> list[str]:
    return page.viewer().locator(".bv-meaning").all_inner_texts()


def keep_for_all_eyes(page: NotebookPage, name: str) -> None:
    """Save a screenshot, for those who look at it in the dark and with other eyes too."""
    from PIL import Image

    kept = page.keep(f"view-{name}", page.viewer())
    image = np.asarray(Image.open(kept).convert("RGB"))
    for eyes in ("protanopia", "deuteranopia"):
        seen = simulate_colour_blindness(image, eyes)
        Image.fromarray(seen).save(kept.with_name(f"view-{name}-{eyes}.png"))


def test_regions_counts_and_probabilities_are_where_they_belong(
    notebook: Open, tmp_path: Path
) -> None:
    page, stage = opened(notebook, SHOW)
    viewer = page.viewer()

    def chrome_height() -> float:
        return page.box(stage.locator)[1] - page.box(viewer)[1]

    height = chrome_height()
    keep_for_all_eyes(page, "readers")

    # the kernel is busy and nothing is sent: all is in the page already
    received = page.received_bytes
    free = tmp_path / "free"
    wait = f"import pathlib, time\nwhile not pathlib.Path({str(free)!r}).exists(): time.sleep(0.05)"
    page.page.evaluate(
        """(code) => { window.busy = window.jupyterapp.shell.currentWidget.context.sessionContext
          .session.kernel.requestExecute({code});
          window.busy.done.then(() => { window.busy = null; }); }""",
        wait,
    )
    shown_at_once = """async (name) => {
      const canvas = document.querySelector('[data-testid=slices]');
      const read = () => { const c = document.createElement('canvas');
        [c.width, c.height] = [canvas.width, canvas.height];
        const pen = c.getContext('2d'); pen.drawImage(canvas, 0, 0);
        return pen.getImageData(0, 0, c.width, c.height).data; };
      const before = read();
      document.querySelector(`[data-testid=${name}]`).click();
      await new Promise((done) => requestAnimationFrame(done));
      const after = read();
      return after.some((v, i) => Math.abs(v - before[i]) > 60);
    }"""
    assert page.page.evaluate(shown_at_once, "view-disagreement")
    assert chrome_height() == height, "the slices must stay where they are"
    assert words(page) == ["only Expert A", "only Expert B", "both"]
    image = stage.pixels()
    assert signs(image, stage, ONLY_A) == {"first"}
    assert signs(image, stage, A_AND_B) == {"both"}
    assert signs(image, stage, NOBODY) == set()
    keep_for_all_eyes(page, "disagreement")

    # the other way round, then a model in place of an expert
    viewer.get_by_test_id("pair-reference").select_option("Expert B")
    page.settle()
    assert words(page) == ["only Expert B", "only Expert A", "both"]
    assert signs(stage.pixels(), stage, ONLY_A) == {"second"}
    assert viewer.get_by_test_id("pair-candidate").input_value() == "Expert A"

    assert page.page.evaluate(shown_at_once, "view-error")
    assert words(page) == ["missed: only Expert B", "extra: only Model B", "found: both"]
    assert chrome_height() == height
    viewer.get_by_test_id("pair-reference").select_option("Expert A")
    viewer.get_by_test_id("pair-candidate").select_option("Model A")
    page.settle()
    assert words(page) == ["missed: only Expert A", "extra: only Model A", "found: both"]
    image = stage.pixels()
    found = [signs(image, stage, place) for place in (ONLY_A, A_AND_B, ONLY_MODEL)]
    assert found == [{"first"}, {"both"}, {"second"}]
    keep_for_all_eyes(page, "error")
    names = viewer.get_by_test_id("pair-candidate").locator("option").all_inner_texts()
    assert names == ["Model A", "Model B"]

    # heat: one, two, three of four
    stage.locator.focus()
    page.page.keyboard.press("h")
    page.settle()
    assert words(page) == ["1", "2", "3", "4"]
    image = stage.pixels()
    for place, count in ((ONLY_A, 1), (A_AND_MODEL, 2), (A_AND_B, 3), (ONLY_MODEL, 1)):
        seen = patch(image, stage.at("axial", *place), 1).mean(axis=(0, 1))
        expected = 0.2 * SOFT_TISSUE + 0.8 * np.array(rgb_of(heat_colours(4)[count - 1]))
        np.testing.assert_allclose(seen, expected, atol=6, err_msg=f"{place} mm")
    keep_for_all_eyes(page, "heat")
    page.page.keyboard.press("h")

    for _ in range(2):
        page.page.keyboard.press("v")
    page.settle()
    assert words(page) == ["Expert A", "Model A at 0.50"]
    assert chrome_height() == height
    image = stage.pixels()
    for x_mm, y_mm in (ONLY_A, A_AND_B, A_AND_MODEL):
        probability = 1 - ((x_mm - 32) ** 2 + (y_mm + 20) ** 2 + 6.5**2) ** 0.5 / 36
        wash = colour_map("viridis")[round(255 * probability)].astype(float)
        seen = patch(image, stage.at("axial", x_mm, y_mm), 1).mean(axis=(0, 1))
        expected = 0.2 * SOFT_TISSUE + 0.8 * wash
        np.testing.assert_allclose(seen, expected, atol=10, err_msg=f"{x_mm}, {y_mm} mm")
    keep_for_all_eyes(page, "probability")
    assert page.page.evaluate("window.busy !== null"), "the kernel was to be busy all along"
    # echoes of what was set, and no voxel
    assert page.received_bytes - received < 50_000

    # and Python hears of it all once it is free
    free.touch()
    said = "probability ['Expert A', 'Model A'] False"
    page.until(lambda: page.output("print(v.view, v.pair, v.heat)").strip() == said)


def test_a_threshold_moves_the_contour_in_every_view(notebook: Open) -> None:
    page, stage = opened(notebook, SHOW)
    viewer = page.viewer()
    colour = COLOURS["Model A"]
    # dashes, and expert A's line beside them: not on all of the circle
    assert model_a_hits(stage, 0.5, colour) > 0.5
    slider = viewer.get_by_test_id("threshold")
    slider.fill("0.25")
    page.settle()
    assert viewer.get_by_test_id("threshold-value").inner_text() == "0.25"
    assert model_a_hits(stage, 0.25, colour) > 0.6
    assert model_a_hits(stage, 0.5, colour) < 0.1
    click(page, "view-probability")
    assert model_a_hits(stage, 0.25, colour) > 0.6
    click(page, "view-error")
    # what was missed at 0.5 is found at 0.25, whose circle has 26.2 mm
    assert signs(stage.pixels(), stage, ONLY_A) == {"both"}
    assert signs(stage.pixels(), stage, (22, -38)) == {"second"}
    told = "{'Model A': 0.25}"
    page.until(lambda: page.output("print(v.thresholds)").strip() == told)
    page.run("v.view = 'readers'\nv.thresholds = {'Model A': 0.75}")
    page.until(lambda: viewer.get_by_test_id("threshold-value").inner_text() == "0.75")
    page.settle()
    assert model_a_hits(stage, 0.25, colour) < 0.1
    # the readout follows: (32, -20, 13.5) is 6.5 mm from the middle, 1 - 6.5 / 36 = 0.82
    page.run("v.cursor_mm = [33, -21, 13.5]")
    page.until(lambda: "Model A" in stage.text("readout-yes"))
    assert stage.text("readout-probability").startswith("Model A 0.8")
    page.run("v.thresholds = {'Model A': 0.9}")
    page.until(lambda: "Model A" not in stage.text("readout-yes"))
    # the projection has the contour of the probability's own projection: |x - 32| <= 36 (1 - t)
    page.run("v.thresholds = {'Model A': 0.25}")
    page.until(lambda: viewer.get_by_test_id("threshold-value").inner_text() == "0.25")
    page.settle()
    place = stage.at("mip", 32 - 27, 20)
    assert near(patch(stage.pixels(), place, 6), colour) > 0


def test_views_in_the_dark_in_a_narrow_page_and_without_models(notebook: Open) -> None:
    page, stage = opened(notebook, SHOW, width=860, dark=True)
    viewer = page.viewer()
    click(page, "view-error")
    page.keep("view-error-dark", viewer)
    assert signs(stage.pixels(), stage, ONLY_A) == {"first"}
    assert viewer.evaluate("(e) => e.scrollWidth <= e.clientWidth + 1")
    names = viewer.evaluate(
        """(root) => [...root.querySelectorAll('button, input, select, [role]')]
          .filter((e) => e.checkVisibility()).map((e) =>
          e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent ||
          (e.getAttribute('role') === 'status' ? 'live' : ''))"""
    )
    assert all(name.strip() for name in names)
    # experts alone: what there is nothing of cannot be chosen, and says why
    page.run("v.show(patient(readers=READERS), styles(READERS[:2]))")
    page.wait_drawn(serial=2)
    button = viewer.get_by_test_id("view-error")
    expect(button).to_be_disabled()
    assert button.get_attribute("title") == "Error needs an expert and a model."
    assert "Error needs an expert and a model." in stage.text("meanings")
    stage.locator.focus()
    page.page.keyboard.press("v")
    page.settle()
    assert viewer.get_by_test_id("view-disagreement").get_attribute("aria-pressed") == "true"
    assert words(page) == ["only Expert A", "only Expert B", "both"]


def test_pictures_from_python_have_the_views_too(notebook: Open) -> None:
    page, stage = opened(notebook, SHOW, init_script=NO_WEBGL)
    click(page, "view-error")

    def at(place_mm: tuple[float, float]) -> NDArray[np.float64]:
        return patch(stage.pixels(), stage.at("axial", *place_mm), 1).mean(axis=(0, 1))

    def becomes(place_mm: tuple[float, float], colour: tuple[int, ...], cover: float) -> None:
        expected = (1 - cover) * SOFT_TISSUE + cover * np.array(colour)
        page.until(lambda: bool((np.abs(at(place_mm) - expected) < 8).all()), seconds=60)

    becomes(ONLY_A, FIRST, 0.45)
    becomes((37, -20), BOTH, 0.45)
    page.viewer().get_by_test_id("threshold").fill("0.25")
    becomes(ONLY_A, BOTH, 0.45)
    becomes((22, -38), SECOND, 0.45)
    page.keep("view-error-without-webgl", page.viewer())
    click(page, "view-disagreement")
    click(page, "heat")
    becomes((37, -20), rgb_of(heat_colours(4)[2]), 0.8)
