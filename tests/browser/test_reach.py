"""The viewer by touch, by keys pressed beside it, and in a low window."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from .harness import NotebookPage
from .stage import COLOURS, SHOW, Open, Stage, opened, patch

pytestmark = pytest.mark.browser


class Fingers:
    """Touches as a screen sends them."""

    def __init__(self, page: NotebookPage) -> None:
        self.page = page
        self.session = page.page.context.new_cdp_session(page.page)

    def send(self, kind: str, *places: tuple[float, float]) -> None:
        points: list[dict[str, Any]] = [
            {"x": x, "y": y, "id": n} for n, (x, y) in enumerate(places)
        ]
        self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def drag(self, *path: list[tuple[float, float]]) -> None:
        """Move one finger or several from place to place, and lift them."""
        self.send("touchStart", path[0][0])
        if len(path[0]) > 1:
            self.send("touchStart", *path[0])
        for places in path[1:]:
            self.send("touchMove", *places)
        self.send("touchEnd")
        self.page.settle()


def test_one_finger_points_and_two_zoom_and_pan(notebook: Open) -> None:
    page, stage = opened(notebook)
    fingers = Fingers(page)
    x, y = stage.on_page("axial", 0, 0)
    fingers.drag([(x, y)])
    # voxel centres lie at odd millimetres: the nearest to 0 is 1 mm away, on either side
    assert re.match(r"[RL] [01]\.\d  [AP] [01]\.\d  ", stage.text("readout-position"))
    at = stage.text("readout-position")

    # 60 mm to the patient's right lies 60 mm of the scale to the left; twice that after the zoom
    before = page.pixels(stage.locator)
    fingers.drag([(x - 40, y), (x + 40, y)], [(x - 60, y), (x + 60, y)], [(x - 80, y), (x + 80, y)])
    assert stage.text("readout-position") == at, "a pinch has moved the crosshair"
    assert (page.pixels(stage.locator) != before).any()
    marker = stage.scale("axial")
    fingers.drag([(x - 28 * 2 * marker, y)])
    # the ring of bone, 24 to 32 mm from the axis, is now twice as far from the middle
    assert stage.text("readout-hu") == "1200"

    # two fingers side by side: 30 mm to the right at twice the scale
    step = 30 * 2 * marker
    fingers.drag([(x, y), (x + 40, y)], [(x + step, y), (x + 40 + step, y)])
    fingers.drag([(x + step, y)])
    assert re.match(r"[RL] [01]\.\d", stage.text("readout-position"))


def test_the_bar_at_the_right_of_a_plane_goes_through_its_slices(notebook: Open) -> None:
    page, stage = opened(notebook)
    page.scroll_to(stage.locator)
    left, top, _, _ = page.box(stage.locator)
    x, y, width, height = stage.panel("axial")
    edge, low, high = left + x + width - 5, top + y + height - 26, top + y + 26
    mouse = page.page.mouse
    mouse.move(edge, low)
    mouse.down()
    page.settle()
    assert stage.text("caption-axial").endswith("1/64")
    mouse.move(edge - 30, high, steps=4)
    page.settle()
    assert stage.text("caption-axial").endswith("64/64")
    mouse.up()
    assert stage.text("readout-position").startswith("R 39.0  P 19.0"), "only the slice moves"
    Fingers(page).drag([(edge - 12, low)], [(edge - 12, (low + high) / 2)])
    assert stage.text("caption-axial").endswith(("32/64", "33/64"))


EXPLORE = "import boneviz\ne = boneviz.explore('data_samples/cohort')\ne"


def test_keys_beside_the_slices_are_the_viewers_and_not_the_notebooks(notebook: Open) -> None:
    page = notebook([EXPLORE], height=1000)
    page.wait_drawn(serial=1)
    stage = Stage(page)
    cells = page.page.locator(".jp-Cell").count()
    tabs = page.page.locator(".boneviz-panels .lm-TabBar-tab")
    tabs.nth(1).click()
    page.page.keyboard.press("x")
    page.until(
        lambda: page.viewer().get_by_test_id("exact").get_attribute("aria-pressed") == "true"
    )
    assert page.page.locator(".jp-Cell").count() == cells
    before = stage.text("readout-position")
    page.page.keyboard.press("n")
    page.until(lambda: stage.text("readout-position") != before)
    # the wheel takes the keys along to the slices
    page.page.mouse.move(*stage.on_page("axial", 0, 0))
    page.page.mouse.wheel(0, -100)
    page.page.keyboard.press("m")
    page.settle()
    assert page.viewer().get_by_test_id("caption-mip").is_hidden()
    page.page.keyboard.press("m")
    assert page.page.locator(".jp-Cell").count() == cells
    # who types a number keeps the keys
    level = page.viewer().get_by_test_id("level")
    level.fill("300")
    level.press("Enter")
    page.until(lambda: page.output("print(e.viewer.level)").strip() == "300.0")
    assert page.viewer().get_by_test_id("caption-mip").is_visible()


def test_a_link_opens_the_same_pixels_in_another_explorer(notebook: Open) -> None:
    page = notebook([EXPLORE])
    page.wait_drawn(serial=1)
    stage = Stage(page)
    page.page.mouse.move(*stage.on_page("coronal", 20, 20))
    page.page.keyboard.down("Control")
    for _ in range(3):
        page.page.mouse.wheel(0, -100)
        page.settle()
    page.page.keyboard.up("Control")
    page.page.keyboard.press("a")
    page.page.keyboard.press("m")
    page.settle()
    page.until(lambda: "sagittal" not in page.output("print(e.viewer.frame, e.viewer.alone)"))
    page.until(lambda: "coronal" in page.output("print(e.viewer.frame, e.viewer.alone)"))
    page.until(lambda: page.output("print(bool(e.viewer.frame))").strip() == "True")
    before = stage.pixels()
    link = page.output("print(e.link())").strip()
    page = notebook([EXPLORE.replace("cohort')", f"cohort', state={link!r})")])
    page.wait_drawn(serial=1)
    again = Stage(page)
    page.settle()
    page.until(lambda: not page.viewer().get_attribute("data-busy"))
    assert page.viewer().get_by_test_id("filled").get_attribute("aria-pressed") == "true"
    assert np.abs(again.pixels() - before)[4:-4, 4:-4].max() <= 2
    # without zoom and middle it would be another picture
    page.run("e.viewer.frame = {}")
    page.settle()
    page.until(lambda: np.abs(again.pixels() - before)[4:-4, 4:-4].max() > 60)


def test_areas_are_filled_in_the_readers_view_alone(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)

    def inside() -> NDArray[np.int16]:
        """Return the colour where both experts and Model A, and no edge, are."""
        return patch(stage.pixels(), stage.at("axial", 36, -24), 1).mean(axis=(0, 1))

    plain = inside()
    page.viewer().get_by_test_id("filled").click()
    page.settle()
    tinted = plain
    for name in ("Expert A", "Expert B", "Model A"):
        tinted = 0.7 * tinted + 0.3 * np.array(COLOURS[name])
    np.testing.assert_allclose(inside(), tinted, atol=6)
    page.viewer().get_by_test_id("reader-2").click()
    page.settle()
    tinted = plain
    for name in ("Expert A", "Model A"):
        tinted = 0.7 * tinted + 0.3 * np.array(COLOURS[name])
    np.testing.assert_allclose(inside(), tinted, atol=6)
    page.viewer().get_by_test_id("filled").click()
    page.settle()
    np.testing.assert_allclose(inside(), plain, atol=3)
    page.run("v.view = 'error'")
    page.until(lambda: page.viewer().get_by_test_id("filled").is_disabled())


def test_in_a_low_window_the_slices_fit_and_are_brought_into_view(notebook: Open) -> None:
    page, stage = opened(
        notebook,
        SHOW,
        "from IPython.display import HTML\nHTML('<div style=\"height:1500px\">.</div>')",
        height=700,
    )
    page.scroll_to(stage.locator)
    assert page.box(stage.locator)[3] == 434  # 0.62 of the window
    page.page.locator(".jp-WindowedPanel-outer").first.evaluate(
        "(box) => { box.scrollTop += 1200; }"
    )
    page.settle()
    assert page.box(stage.locator)[1] < -200
    page.run("v.bring_into_view()")
    page.until(lambda: page.box(stage.locator)[1] >= 0)
