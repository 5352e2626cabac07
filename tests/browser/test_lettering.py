"""What is drawn over the slices is true: letters of orientation, scale bars, ticks, crosshair.

Where a text stands is taken from the canvas that it is written on; what it says is compared with
where the patient of `browser.patient` lies and with what the screen shows beside it.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from boneviz.palette import colour_map

from .stage import Open, Stage, opened, patch

pytestmark = pytest.mark.browser

# radiological: the patient's right is on the screen's left, and so is the front; left, right, top,
# bottom of each panel
SIDES = {"axial": "RLAP", "sagittal": "APSI", "coronal": "RLSI", "mip": "RLSI"}
# the texts of the last drawing, with where they stand, CSS pixels of the stage
RECORD = """(stage) => {
  const pen = stage.querySelector('[data-testid=lettering]').getContext('2d');
  const {clearRect, fillText} = CanvasRenderingContext2D.prototype;
  pen.clearRect = (...box) => { window.written = []; clearRect.apply(pen, box); };
  pen.fillText = (text, x, y) => {
    const at = pen.getTransform().transformPoint({x, y});
    window.written.push([text, at.x / devicePixelRatio, at.y / devicePixelRatio]);
    fillText.call(pen, text, x, y);
  };
}"""
Written = tuple[str, float, float]


def written_in(stage: Stage, plane: str, pattern: str) -> list[Written]:
    """Return the texts of a form that stand in a panel."""
    x, y, width, height = stage.panel(plane)
    return [
        (text, at_x, at_y)
        for text, at_x, at_y in stage.page.page.evaluate("() => window.written")
        if re.fullmatch(pattern, text) and x <= at_x < x + width and y <= at_y < y + height
    ]


def letters_at_the_sides(stage: Stage, image: NDArray[np.int16], plane: str) -> str:
    """Return the letter that stands at the middle of the left, right, top and bottom side."""
    x, y, width, height = stage.panel(plane)
    middle_x, middle_y = x + width / 2, y + height / 2
    sides = ((x, middle_y), (x + width, middle_y), (middle_x, y), (middle_x, y + height))
    found = written_in(stage, plane, "[RLAPSI]")
    assert len(found) == 4, f"{plane}: {found}"
    read = ""
    for side_x, side_y in sides:
        here = [w for w in found if abs(w[1] - side_x) < 20 > abs(w[2] - side_y)]
        assert len(here) == 1, f"{plane}: {here} stand at one side"
        read += here[0][0]
        # and it is seen
        assert patch(image, here[0][1:], 6).max() > 200, f"{plane}: {here} is not on the screen"
    return read


def bar_px(stage: Stage, image: NDArray[np.int16], plane: str) -> int:
    """Return the length of the scale bar on the screen: the bright run above the panel's corner."""
    x, y, width, height = (round(v) for v in stage.panel(plane))
    row = image[y + height - 14 : y + height - 10, x + 4 : x + width // 2].min(axis=-1).max(axis=0)
    bright = np.flatnonzero(row > 110)
    assert bright.size, f"{plane}: there is no scale bar"
    ends = np.flatnonzero(np.diff(bright) > 1)
    return int(bright[ends[0]] if ends.size else bright[-1]) - int(bright[0]) + 1


def crosshair_at(stage: Stage, image: NDArray[np.int16], plane: str) -> tuple[list[int], list[int]]:
    """Return the columns and rows of a panel that are green along most of it."""
    x, y, width, height = (round(v) for v in stage.panel(plane))
    panel = image[y : y + height, x : x + width]
    green = panel[..., 1] - panel[..., 0] > 20
    across, down = (np.flatnonzero(green.mean(axis=axis) > 0.6) for axis in (0, 1))
    return (across + x).tolist(), (down + y).tolist()


def assert_crosshair(stage: Stage, x_mm: float, y_mm: float, z_mm: float) -> None:
    image = stage.pixels()
    for plane, across, up in (
        ("axial", x_mm, y_mm),
        ("sagittal", y_mm, z_mm),
        ("coronal", x_mm, z_mm),
        ("mip", x_mm, z_mm),
    ):
        column, row = stage.at(plane, across, up)
        found = crosshair_at(stage, image, plane)
        assert [len(places) for places in found] == [1, 1], f"{plane}: {found}"
        seen = found[0][0] + 0.5, found[1][0] + 0.5
        assert seen == pytest.approx((column, row), abs=1), plane
        # what is pointed at is left free
        free = patch(image, (column, row), 6)
        assert (free[..., 1] - free[..., 0]).max() < 20, plane


def assert_bars(stage: Stage, zoom: float) -> None:
    image = stage.pixels()
    for plane in SIDES:
        (text, _, _), *more = written_in(stage, plane, r"\d+ [cm]m")
        assert not more
        number, unit = text.split()
        mm = float(number) * {"mm": 1, "cm": 10}[unit]
        scale = stage.scale(plane) * (1 if plane == "mip" else zoom)
        assert bar_px(stage, image, plane) == pytest.approx(mm * scale, abs=2.5), (plane, text)


def assert_ticks(stage: Stage, low: float, high: float) -> None:
    image = stage.pixels()
    table = colour_map("hot-iron").astype(int)
    marks = written_in(stage, "mip", r"[\d.]+")
    # at its ends the bar has a rim
    inner = [mark for mark in marks if low < float(mark[0]) < high]
    assert len(inner) >= 3, marks
    for text, x, y in inner:
        colour = table[round(255 * (float(text) - low) / (high - low))]
        # the mark ends 7 px before the bar, which is 10 px wide
        seen = image[round(y - 0.5), round(x) + 12]
        np.testing.assert_allclose(seen, colour, atol=16, err_msg=f"beside {text}")
        stroke = image[round(y) - 6 : round(y) + 6, round(x) + 5].min(axis=-1)
        assert abs(int(stroke.argmax()) - 5.5) <= 1.5, f"the stroke of {text}: {stroke}"
    assert len(written_in(stage, "mip", "SUVbw")) == 1


def test_letters_bars_ticks_and_crosshair_are_true(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\nv.show(patient(), styles())\nv")
    stage.locator.evaluate(RECORD)
    page.run("v.visible, v.suv_min, v.suv_max = [], 1.0, 11.0\nv.cursor_mm = [39.0, -19.0, 13.5]")
    page.until(lambda: page.page.evaluate("() => window.written?.length > 0"))
    page.settle()
    image = stage.pixels()
    assert {plane: letters_at_the_sides(stage, image, plane) for plane in SIDES} == SIDES
    # the uptake is in the patient's right, above the middle
    assert patch(image, stage.at("mip", 45, 8), 1).max() > 200
    assert patch(image, stage.at("mip", -45, 8), 1).max() < 20
    assert patch(image, stage.at("mip", 45, -8), 1).max() < 20
    assert_bars(stage, 1)
    assert_ticks(stage, 1, 11)

    page.run("v.colour_map = 'grey'")
    page.settle()
    assert_crosshair(stage, 39, -19, 13.5)
    page.run("v.cursor_mm = [-61.0, 33.0, -40.5]")
    page.until(lambda: stage.text("readout-position") == "L 61.0  A 33.0  I 40.5")
    assert_crosshair(stage, -61, 33, -40.5)

    # zoomed about the middle of the slices, the projection stays as it is
    page.page.mouse.move(*stage.on_page("axial", 0, 0))
    stage.locator.focus()
    for _ in range(4):
        page.page.keyboard.press("+")
    page.settle()
    assert_bars(stage, 1.25**4)
    page.run("v.colour_map, v.suv_min, v.suv_max = 'hot-iron', 0.0, 40.0")
    page.settle()
    assert_ticks(stage, 0, 40)
