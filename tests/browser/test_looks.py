"""How the viewer looks: themes, sizes, the width of a line, colours of windows, maps and counts."""

from __future__ import annotations

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from boneviz.palette import colour_map

from .harness import NotebookPage
from .patient import SPACING_MM
from .stage import COLOURS, SHOW, Open, Stage, opened, patch

pytestmark = pytest.mark.browser

# one reader, who marks a box in the air: x from -92 to -74 mm, y from 56 to 74 mm
BOX = """
from dataclasses import replace
import numpy as np
from boneviz.volume import Volume
case = patient()
box = np.zeros(case.ct.grid.shape, bool)
box[2:11, 68:77, 10:50] = True
masks = {READERS[0]: Volume(box, case.ct.grid, "label")}
v.mode = "ct"
v.show(replace(case, masks=masks), styles(READERS[:1]), cursor_mm=(-83, 65, 13.5))
"""
LINE_PX = 1.5


def profiles(stage: Stage, zoom: float, ratio: float) -> list[NDArray[np.float64]]:
    """Return the share of a line's colour along 10 px across each side of the box.

    The middle of the box is that of the panel; its crosshair is passed by.
    """
    x, y, width, height = stage.panel("axial")
    scale = ratio * zoom * stage.scale("axial")
    middle_x, middle_y = ratio * (x + width / 2), ratio * (y + height / 2)
    side, reach = 9 * scale, 5 * ratio
    lines = stage.pixels()[..., 2] / COLOURS["Expert A"][2]
    row, column = (round(v - 5 * scale) for v in (middle_y, middle_x))
    across = [
        slice(round(middle_x + s - reach), round(middle_x + s + reach)) for s in (-side, side)
    ]
    down = [slice(round(middle_y + s - reach), round(middle_y + s + reach)) for s in (-side, side)]
    return [lines[row, part] for part in across] + [lines[part, column] for part in down]


def assert_lines_are_thin_and_smooth(page: NotebookPage, stage: Stage, ratio: float) -> None:
    """Assert the width of lines, and that their sides are smooth, at three sizes of the image.

    A profile is a trapezoid: its area, in units of the line's colour, is its full width at half
    height, wherever the pixels lie.
    """
    page.run(BOX)
    page.wait_drawn(serial=2)
    page.page.mouse.move(*stage.on_page("axial", 0, 0))
    stage.locator.focus()
    widths, smooth, zoom = [], [], 1.0
    for presses in (4, 2, 2):
        for _ in range(presses):
            page.page.keyboard.press("+")
        page.run("v.centre()")
        page.settle()
        zoom *= 1.25**presses
        for profile in profiles(stage, zoom, ratio):
            widths.append(profile.sum() / ratio)
            partly = (profile > 0.08) & (profile < 0.92)
            peak = round(float((profile * np.arange(profile.size)).sum() / profile.sum()))
            smooth.append((partly[: peak + 1].any(), partly[peak:].any()))
    assert widths == pytest.approx([LINE_PX] * len(widths), abs=0.2)
    # seldom a side of a line falls between two pixels
    assert (np.mean(smooth, axis=0) > 0.5).all(), smooth


@pytest.mark.parametrize(
    ("name", "width", "ratio", "dark"),
    [("dark-1200", 1360, 2, True), ("light-800", 960, 1, False)],
)
def test_it_looks_right_in_both_themes_and_sizes(
    notebook: Open, name: str, width: int, ratio: float, dark: bool
) -> None:
    page, stage = opened(notebook, width=width, ratio=ratio, dark=dark)
    kept = page.keep(f"viewer-{name}", page.viewer())
    assert kept.stat().st_size > 20_000
    image = stage.pixels()
    _, _, w, h = page.box(stage.locator)
    assert image.shape[:2] == pytest.approx((h * ratio, w * ratio), abs=2)
    ring = stage.at("axial", -28, 0)
    place = (ring[0] * ratio, ring[1] * ratio)
    # 241 of the bone under 6 % of a dark red: SUV 0.4 of 8 covers 0.6 * 2 * 0.05
    assert patch(image, place, 1).mean() == pytest.approx(227, abs=4)
    # the chrome follows the theme, the slices stay near black
    paper = page.viewer().evaluate("(e) => getComputedStyle(e).backgroundColor")
    light = sum(int(v) for v in re.findall(r"\d+", paper)[:3]) / 3
    assert light < 80 if dark else light > 200, paper
    assert page.viewer().evaluate("(e) => e.scrollWidth <= e.clientWidth + 1")
    assert SPACING_MM == (2.0, 2.0, 3.0)
    assert_lines_are_thin_and_smooth(page, stage, ratio)


def test_windows_and_colour_maps_show_known_values_in_known_colours(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)
    viewer = page.viewer()
    air, soft, marker, ring = (-90, -75), (0, 0), (60, 6), (28, 0)  # -1000, 40, 900, 1200 HU
    windows = {  # level and width: grey is 255 ((HU - level) / width + 0.5)
        "soft": (0, 128, 255, 255),  # 40 and 400
        "lung": (60, 236, 255, 255),  # -600 and 1500
        "full": (0, 121, 220, 255),  # 100 and 2200: -1000 to 1200 HU
        "bone": (0, 76, 198, 241),  # 400 and 1800
    }
    preset = viewer.get_by_test_id("window-preset")
    offered = preset.locator("option").evaluate_all("(all) => all.map((o) => o.value)")
    assert sorted(offered) == sorted([*windows, "custom"])
    for name, expected in windows.items():
        preset.select_option(name)
        page.settle()
        image = stage.pixels()
        places = (stage.at("axial", *at) for at in (air, soft, marker, ring))
        seen = [patch(image, place, 1).mean() for place in places]
        assert seen == pytest.approx(expected, abs=3), name

    # SUV 0 in the air, 0.4 in the body, 7.3 beside the crosshair
    page.run("v.mode, v.visible, v.suv_max = 'pet', [], 0.5")
    choice = viewer.get_by_test_id("colour-map")
    maps = choice.locator("option").evaluate_all("(all) => all.map((o) => o.value)")
    assert len(maps) == 5
    for name in reversed(maps):
        choice.select_option(name)
        page.settle()
        image = stage.pixels()
        table = colour_map(name).astype(int)
        for plane, place, level in (
            ("axial", air, 0),
            ("axial", soft, 204),
            ("axial", (44, -24), 255),
            ("mip", (0, 60), 204),
            ("mip", (44, 6), 255),
        ):
            seen = patch(image, stage.at(plane, *place), 1).mean(axis=(0, 1))
            why = f"{name}, {plane} at {place} mm"
            np.testing.assert_allclose(seen, table[level], atol=5, err_msg=why)


IN_COUNTS = """
from dataclasses import replace
from boneviz.volume import Volume
p = patient()
counts = Volume(p.pet.array * 25000, p.pet.grid, "counts")
v.show(replace(p, pet=counts, pet_origin=("no weight <b>", "loaded as counts")), styles(),
       cursor_mm=(39, -19, 13.5))
v
"""


def test_a_pet_in_counts_names_no_suv_and_has_a_range_of_its_own(notebook: Open) -> None:
    page, stage = opened(notebook, IN_COUNTS)
    viewer = page.viewer()
    # the uptake is above SUV 8.5 there, so above 212500 of the 225000 at the ball's middle
    assert stage.text("pet-unit") == "counts"
    assert float(stage.text("readout-suv")) > 212_500
    highest = viewer.get_by_test_id("suv-max")
    assert highest.get_attribute("aria-label") == "Highest counts shown"
    opening = highest.input_value()
    page.run("v.mode, v.colour_map, v.visible = 'pet', 'grey', []")
    middle = stage.at("axial", 44, -24)  # beside the crosshair
    page.settle()
    assert patch(stage.pixels(), middle, 1).mean() == pytest.approx(255, abs=2)
    highest.fill("1000000")
    highest.press("Enter")
    page.until(
        lambda: page.output("print(v.counts_range, v.suv_max)").split()[1:] == ["1000000.0]", "8.0"]
    )
    page.settle()
    # 9 exp(-(4^2 + 4^2 + 1.5^2) / 128) + 0.4 SUV are 7.29: 182000 of 1000000
    shade = patch(stage.pixels(), middle, 1).mean()
    assert shade == pytest.approx(0.182 * 255, abs=8)
    viewer.get_by_test_id("reset").click()
    page.until(lambda: highest.input_value() == opening)

    # why there is none: by keyboard, as text
    head = viewer.get_by_test_id("origin-head")
    assert head.inner_text() == "There is no SUV: PET in counts"
    assert not viewer.get_by_text("no weight <b>").is_visible()
    head.focus()
    page.page.keyboard.press("Enter")
    assert viewer.get_by_text("no weight <b>").is_visible()
    page.run("v.show(patient(), styles())")
    page.wait_drawn()
    page.until(lambda: stage.text("pet-unit") == "SUVbw")
    assert (viewer.get_by_test_id("origin").is_visible(), highest.input_value()) == (False, "8")
