"""The slice viewer in a real JupyterLab: pixels at known millimetres, state, requests."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from .patient import READERS
from .stage import (
    COLOURS,
    IN_THE_NEXT_FRAME,
    SHOW,
    Open,
    busy_kernel,
    edge_hits,
    near,
    opened,
    patch,
    planes_only,
)

pytestmark = pytest.mark.browser


def test_anatomy_and_contours_are_at_their_millimetres(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW, height=1100)
    image = stage.pixels()

    def grey(plane: str, across: float, up: float) -> int:
        return int(patch(image, stage.at(plane, across, up), 1).mean())

    # bone window, level 400 and width 1800: 1200 HU is 0.944 of white, 40 HU 0.3, 900 HU 0.778
    for place in ((28, 0), (-28, 0), (0, 28), (0, -28)):
        assert grey("axial", *place) == pytest.approx(241, abs=4)
    assert grey("axial", 0, 0) == pytest.approx(76, abs=4)
    assert grey("axial", -90, -75) <= 3
    # left is left: the marker is in the patient's right, so on the screen's left
    assert grey("axial", 60, 6) == pytest.approx(198, abs=4)
    assert grey("axial", -60, 6) == pytest.approx(76, abs=4)
    assert stage.at("axial", 60, 6)[0] < stage.at("axial", -60, 6)[0]
    # coronal at y = -19: the ring is cut where x^2 + 19^2 lies between 24^2 and 32^2 mm^2
    assert grey("coronal", -20, -60) == pytest.approx(241, abs=4)
    assert grey("coronal", 20, 60) == pytest.approx(241, abs=4)
    assert grey("coronal", 0, 60) == pytest.approx(76, abs=4)
    # sagittal at x = 39: beyond the ring, air in front of the body, which ends at 62 mm
    assert grey("sagittal", 70, 60) <= 3
    assert grey("sagittal", 50, 60) == pytest.approx(76, abs=4)

    for name, at_least in (("Expert A", 0.9), ("Expert B", 0.9), ("Model A", 0.4)):
        on_edge, inside = edge_hits(stage, image, name)
        assert on_edge >= at_least, f"{name} is drawn on {on_edge:.0%} of its edge"
        assert inside <= 0.12, f"{name} is drawn inside its edge at {inside:.0%} of the places"
    x, y, width, height = (round(v) for v in stage.panel("axial"))
    axial = image[y : y + height, x : x + width]
    # model B's ball ends 2.5 mm above this slice; where it is, its colour is
    assert near(axial, COLOURS["Model B"]) == 0
    x, y, width, height = (round(v) for v in stage.panel("coronal"))
    assert near(image[y : y + height, x : x + width], COLOURS["Model B"]) > 20

    # uptake: off in CT, bright in the middle of the focus in PET, and where the projection has it
    def hot() -> NDArray[np.int16]:
        return patch(stage.pixels(), stage.at("axial", 36, -24), 1).mean(axis=(0, 1))

    assert np.ptp(patch(image, stage.at("axial", 36, -24), 1).mean(axis=(0, 1))) < 3
    page.viewer().get_by_test_id("mode-pet").click()
    page.settle()
    # SUV 9 * exp(-(4^2 + 4^2 + 1.5^2) / (2 * 8^2)) + 0.4 = 7.3 of 8: white but for a little blue
    assert hot()[0] > 250
    assert hot()[1] > 250
    assert hot()[2] > 100
    page.viewer().get_by_test_id("mode-fused").click()
    page.settle()
    assert hot()[0] > hot()[2] + 20


def test_a_reader_goes_and_comes_back_by_click_and_key(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)

    def counts() -> dict[str, int]:
        image = planes_only(stage, stage.pixels())
        return {name: near(image, colour) for name, colour in COLOURS.items()}

    first = counts()
    assert min(first.values()) > 20
    for number, reader in enumerate(READERS, start=1):
        button = page.viewer().get_by_test_id(f"reader-{number}")
        assert button.inner_text().startswith(reader.name)
        button.click()
        page.settle()
        assert button.get_attribute("aria-pressed") == "false"
        now = counts()
        assert now[reader.name] <= 2, f"{reader.name} is still there: {now}"
        others = [name for name in COLOURS if name != reader.name]
        assert all(now[name] > 0.5 * first[name] for name in others)
        stage.locator.focus()
        page.page.keyboard.press(str(number))
        page.settle()
        assert button.get_attribute("aria-pressed") == "true"
    assert counts() == first
    page.viewer().get_by_test_id("reader-2").click()
    left = "['Expert A', 'Model A', 'Model B']"
    page.until(lambda: page.output("print(v.visible)").strip() == left)
    page.run("v.visible = ['Expert B']")
    page.until(lambda: counts()["Expert A"] == 0)
    assert counts()["Expert B"] > 20


def test_wheel_keys_and_python_move_the_slices(notebook: Open) -> None:
    page, stage = opened(notebook)
    keyboard, mouse = page.page.keyboard, page.page.mouse
    # (13.5 + 94.5) / 3 = 36: the 37th slice
    assert stage.text("caption-axial") == "Axial  S 13.5 mm  37/64"
    assert stage.text("readout-position") == "R 39.0  P 19.0  S 13.5"
    before = stage.pixels()
    mouse.move(*stage.on_page("axial", 0, 0))
    mouse.wheel(0, -100)
    page.settle()
    assert stage.text("caption-axial") == "Axial  S 16.5 mm  38/64"
    assert stage.text("readout-position") == "R 39.0  P 19.0  S 16.5"
    assert np.abs(stage.pixels() - before).max() > 60
    mouse.wheel(0, 300)
    page.settle()
    assert stage.text("caption-axial") == "Axial  S 13.5 mm  37/64"
    # the kernel hears of it, after the page
    page.until(lambda: page.output("print(v.cursor_mm)").strip() == "[39.0, -19.0, 13.5]")

    stage.locator.focus()
    keyboard.press("ArrowLeft")  # to the screen's left is to the patient's right
    keyboard.press("ArrowUp")
    keyboard.press("PageUp")
    page.settle()
    assert stage.text("readout-position") == "R 41.0  P 17.0  S 16.5"

    page.run("v.cursor_mm = [-28.0, 0.0, -40.0]")
    page.until(lambda: stage.text("readout-position") == "L 28.0  A 0.0  I 40.0")
    assert stage.text("readout-hu") == "1200"
    # (-40 + 94.5) / 3 = 18.17: slice 19, at -94.5 + 18 * 3
    assert stage.text("caption-axial") == "Axial  I 40.5 mm  19/64"
    assert stage.text("readout-yes") == "nobody"

    mouse.click(*stage.on_page("axial", 39, -19))
    page.settle()
    assert re.match(r"R (38|39|40)\.\d  P (18|19|20)\.\d  I 40.0", stage.text("readout-position"))
    # in the projection a click goes to the depth of the highest uptake, y = -19 or -21
    mouse.click(*stage.on_page("mip", 40, 12))
    page.settle()
    assert re.match(r"R (39|40)\.\d  P (19|21)\.0  S 1[123]\.\d", stage.text("readout-position"))
    assert float(stage.text("readout-suv")) > 8.5
    marks = page.viewer().get_by_test_id("readout-yes").locator(".bv-mark").all_inner_texts()
    assert marks == ["Expert A", "Expert B", "Model A"]


def test_zoom_pan_and_centre(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)
    mouse, keyboard = page.page.mouse, page.page.keyboard
    marker = stage.at("axial", 60, 6)
    mouse.move(*stage.on_page("axial", 60, 6))
    keyboard.down("Control")
    for _ in range(6):
        mouse.wheel(0, -100)
    keyboard.up("Control")
    page.settle()
    # exp(6 * 100 / 500) = 3.3: the marker of 8 mm stays under the pointer and grows
    image = stage.pixels()
    shown = image[round(marker[1]), : round(stage.panel("axial")[2]), 0]
    assert image[round(marker[1]), round(marker[0]), 0] == pytest.approx(198, abs=4)
    bright = int((np.abs(shown[round(marker[0]) - 60 : round(marker[0]) + 60] - 198) < 8).sum())
    assert bright == pytest.approx(8 * stage.scale("axial") * np.exp(1.2), rel=0.25)

    x, y = stage.on_page("axial", 60, 6)
    keyboard.down("Shift")
    mouse.down()
    mouse.move(x + 50, y + 30, steps=3)
    mouse.up()
    keyboard.up("Shift")
    page.settle()
    image = stage.pixels()
    assert image[round(marker[1]) + 30, round(marker[0]) + 50, 0] == pytest.approx(198, abs=4)

    mouse.dblclick(x + 50, y + 30)
    page.settle()
    px, py, width, height = stage.panel("axial")
    centre = patch(stage.pixels(), (px + width / 2, py + height / 2), 6)[:4, :4, 0]
    assert centre.mean() == pytest.approx(198, abs=6)
    keyboard.press("r")
    page.settle()
    assert patch(stage.pixels(), marker, 1)[..., 0].mean() == pytest.approx(198, abs=25)

    keyboard.press("m")
    page.settle()
    assert page.viewer().get_by_test_id("caption-coronal").is_hidden()
    keyboard.press("m")
    page.settle()
    assert page.viewer().get_by_test_id("caption-coronal").is_visible()


def test_controls_do_what_they_say_and_are_named(notebook: Open, tmp_path: Path) -> None:
    page, stage = opened(notebook)
    viewer = page.viewer()
    received = page.received_bytes
    with busy_kernel(page, tmp_path / "free"):
        for name, value in (
            ("window-preset", "soft"),
            ("level", "500"),
            ("width", "900"),
            ("opacity", "0.2"),
            ("suv-max", "3"),
            ("suv-min", "1"),
            ("colour-map", "grey"),
            *((f"reader-{n}", None) for n in (1, 2, 3, 4, 4, 3, 2, 1)),
            ("exact", None),
            ("mode-ct", None),
            ("mode-fused", None),
        ):
            # drawn by the page alone, at once
            assert page.page.evaluate(IN_THE_NEXT_FRAME, [name, value]), (name, value)
    # echoes of what was set, and no voxel
    assert page.received_bytes - received < 50_000
    viewer.get_by_test_id("reset").click()
    page.until(lambda: page.output("print(v.suv_min, v.opacity)").split() == ["0.0", "0.6"])
    page.page.keyboard.press("Escape")
    viewer.get_by_test_id("mode-ct").click()
    viewer.get_by_test_id("window-preset").select_option("soft")
    page.settle()
    # 40 HU is the middle of the soft tissue window
    assert patch(stage.pixels(), stage.at("axial", 0, 0), 1).mean() == pytest.approx(128, abs=4)
    assert viewer.get_by_test_id("level").input_value() == "40"
    viewer.get_by_test_id("width").fill("800")
    viewer.get_by_test_id("width").press("Enter")
    page.settle()
    assert viewer.get_by_test_id("window-preset").input_value() == "custom"
    viewer.get_by_test_id("colour-map").select_option("viridis")
    viewer.get_by_test_id("suv-max").fill("20")
    viewer.get_by_test_id("suv-max").press("Enter")
    viewer.get_by_test_id("opacity").fill("0.25")
    ask = "print(v.mode, v.level, v.width, v.colour_map, v.suv_max, v.opacity)"
    told = ["ct", "40.0", "800.0", "viridis", "20.0", "0.25"]
    page.until(lambda: page.output(ask).split() == told)

    # JupyterLab keeps its hands off keys meant for the viewer: x would cut the cell
    cells = "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    count = page.page.evaluate(cells)
    stage.locator.click(position={"x": 300, "y": 100})
    page.page.keyboard.press("x")
    page.settle()
    assert viewer.get_by_test_id("exact").get_attribute("aria-pressed") == "true"
    assert page.page.evaluate(cells) == count

    page.page.keyboard.press("?")
    assert viewer.get_by_test_id("help-box").is_visible()
    page.page.keyboard.press("Escape")
    assert viewer.get_by_test_id("help-box").is_hidden()

    names = viewer.evaluate(
        """(root) => [...root.querySelectorAll('button, input, select, [role]')].map((e) =>
          e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent ||
          (e.hasAttribute('aria-live') || e.getAttribute('role') === 'status' ? 'live' : ''))"""
    )
    assert len(names) > 20
    assert all(name.strip() for name in names)


def test_names_are_text_and_nothing_else(notebook: Open) -> None:
    evil = '<img src=x onerror="window.caught=1">'
    page, stage = opened(
        notebook,
        f"evil = '''{evil}'''\n"
        "readers = (Reader(evil), *READERS[1:])\n"
        "v.show(patient(evil, readers), styles(readers), cursor_mm=(39, -19, 13.5))\nv",
    )
    assert stage.text("patient") == evil
    assert evil in stage.text("reader-1")
    assert evil in stage.text("readout-yes")
    page.page.wait_for_timeout(1200)  # until the spoken line is written too
    assert page.page.evaluate("() => window.caught") is None
    assert page.viewer().locator("img").count() == 0
    assert not [url for url in page.requests if url.endswith("/x")]


def test_a_second_view_shares_the_data_and_the_cursor(notebook: Open) -> None:
    page, _ = opened(notebook, SHOW)
    before = page.received_bytes
    page.page.evaluate(
        """async () => {
          const {commands, shell} = window.jupyterapp;
          const notebook = shell.currentWidget.content;
          notebook.activeCellIndex = 1;
          await commands.execute('notebook:create-output-view');
        }"""
    )
    page.page.wait_for_function(
        "() => document.querySelectorAll('[data-testid=boneviz-viewer][data-drawn]').length === 2"
    )
    assert page.received_bytes - before < 100_000
    page.run("v.cursor_mm = [1.0, 1.0, -1.5]")
    texts = page.page.get_by_test_id("readout-position")
    page.until(lambda: texts.all_inner_texts() == ["R 1.0  A 1.0  I 1.5"] * 2)
