"""The slice viewer in a real JupyterLab: pixels at known millimetres, state, requests."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from .patient import READERS, SPACING_MM
from .stage import COLOURS, NO_WEBGL, SHOW, Open, Stage, near, opened, patch

pytestmark = pytest.mark.browser

# each ball of the patient: centre and radius in the axial slice at 13.5 mm, as patient.py says;
# the radius there is sqrt(r^2 - dz^2)
CIRCLES = {
    "Expert A": ((40.0, -20.0), (18**2 - 1.5**2) ** 0.5),
    "Expert B": ((40.0, -20.0), (10**2 - 1.5**2) ** 0.5),
    "Model A": ((32.0, -20.0), (18**2 - 6.5**2) ** 0.5),
}


def edge_hits(stage: Stage, image: NDArray[np.int16], name: str) -> tuple[float, float]:
    """Return on what share of its circle a reader's colour is seen, and 6 px further inside."""
    (x, y), radius = CIRCLES[name]
    scale = stage.scale("axial")
    on_edge, inside = [], []
    for angle in np.deg2rad(np.arange(0, 360, 5)):
        direction = np.cos(angle), np.sin(angle)
        for distance, reach, seen in ((radius, 4, on_edge), (radius - 6 / scale, 1, inside)):
            place = stage.at("axial", x + distance * direction[0], y + distance * direction[1])
            seen.append(near(patch(image, place, reach), COLOURS[name]) > 0)
    return float(np.mean(on_edge)), float(np.mean(inside))


def planes_only(stage: Stage, image: NDArray[np.int16]) -> NDArray[np.int16]:
    """Blacken the projection, which is always in PET colours."""
    x, y, _, _ = (round(v) for v in stage.panel("mip"))
    image = image.copy()
    image[y:, x:] = 0
    return image


def test_anatomy_and_contours_are_at_their_millimetres(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)
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

    for name, at_least in (("Expert A", 0.95), ("Expert B", 0.95), ("Model A", 0.4)):
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


def test_controls_do_what_they_say_and_are_named(notebook: Open) -> None:
    page, stage = opened(notebook)
    viewer = page.viewer()
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


def test_one_patients_contours_never_lie_on_anothers_images(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)
    page.run(
        "from dataclasses import replace\n"
        "import numpy as np\n"
        "from boneviz.volume import Volume\n"
        "old = v._pieces\n"
        "v._send_pieces, send = (lambda: None), v._send_pieces\n"
        "clean = patient('P002')\n"
        "none = Volume(np.zeros(clean.ct.grid.shape, bool), clean.ct.grid, 'label')\n"
        "v.show(replace(clean, masks={r: none for r in READERS}), styles())\n"
        # the kernel is slow, and a piece of the patient before comes late
        "for p in old:\n"
        "    v.send({'kind': 'piece', 'serial': p.serial, 'volume': p.volume,\n"
        "            'offset': p.offset}, buffers=[p.packed.result()])\n"
    )
    page.until(lambda: stage.text("patient") == "P002")
    page.page.wait_for_timeout(500)  # for the late pieces, were they taken
    assert stage.text("message") == "Loading 0 %"
    # nothing beside the new name is of the patient before
    for name in ("position", "hu", "suv", "yes"):
        assert stage.text(f"readout-{name}") == "\u2013"
    assert page.viewer().locator(".bv-reader").count() == 0
    assert page.viewer().locator(".bv-caption").all_inner_texts() == [""] * 4
    page.page.wait_for_timeout(700)  # the spoken line would follow now
    assert page.viewer().locator(".bv-spoken").inner_text() == ""
    image = stage.pixels()
    assert near(image, COLOURS["Expert A"]) == near(image, COLOURS["Expert B"]) == 0
    assert patch(image, stage.at("axial", 40, -20), 40).max() < 16
    page.run("send()")
    page.wait_drawn(serial=2)
    image = planes_only(stage, stage.pixels())
    assert max(near(image, colour) for colour in COLOURS.values()) == 0
    # 20 mm to the right and to the front: 28.3 mm from the middle, and off the crosshair
    assert patch(image, stage.at("axial", 20, 20), 1).mean() == pytest.approx(241, abs=4)


def test_a_large_case_is_drawn_coarse_first_and_says_so(notebook: Open, tmp_path: Path) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)
    whole = stage.pixels()
    assert page.viewer().get_attribute("data-coarse") is None
    page.run(
        "import time\n"
        "from pathlib import Path\n"
        "from boneviz.show import packing\n"
        "packing.COARSE_FROM, packing.COARSE_MOST, packed = 100_000, 70_000, packing.pack\n"
        # the kernel sends nothing more, and hears nothing, until the test says so
        "def pack(array, *rest):\n"
        "    while array.size > 100_000 and array.dtype != 'u1' and not going.exists():\n"
        "        time.sleep(0.05)\n"
        "    return packed(array, *rest)\n"
        f"packing.pack, going = pack, Path({str(tmp_path / 'going')!r})\n"
        "v.show(patient('P002'), styles(), cursor_mm=(39, -19, 13.5))"
    )
    page.wait_drawn(serial=2)
    page.settle()
    assert page.viewer().get_attribute("data-coarse") == "true"
    assert stage.text("coarse").startswith("Coarse until all is here: ")
    coarse = stage.pixels()
    # bone, body and contours are where they are; no value is told of images that are not exact
    for place, seen in (((28, 0), 241), ((0, 0), 76)):
        assert patch(coarse, stage.at("axial", *place), 1).mean() == pytest.approx(seen, abs=12)
    on_edge, inside = edge_hits(stage, coarse, "Expert A")
    assert on_edge > 0.95
    assert inside <= 0.12
    assert [stage.text(f"readout-{name}") for name in ("hu", "suv")] == ["\u2013", "\u2013"]
    assert "Expert A" in stage.text("readout-yes")
    # it can be moved through
    before = stage.text("caption-axial")
    stage.locator.focus()
    page.page.keyboard.press("PageUp")
    page.until(lambda: stage.text("caption-axial") != before)
    page.page.keyboard.press("PageDown")
    (tmp_path / "going").touch()
    page.until(lambda: page.viewer().get_attribute("data-coarse") is None)
    page.settle()
    page.until(lambda: stage.text("readout-hu") != "\u2013")
    assert page.viewer().get_by_test_id("coarse").is_hidden()
    # the same, but for the ring about what has the focus and the edges of letters
    assert np.abs(stage.pixels() - whole)[4:-4, 4:-4].max() <= 2
    assert np.abs(coarse - whole)[4:-4, 4:-4].max() > 20


@pytest.mark.parametrize("cursor_mm", ["39.0, -19.0, 13.5", "-28.0, 0.0, -40.0"])
def test_moves_while_the_kernel_is_busy_stay_with_their_patient(
    notebook: Open, cursor_mm: str
) -> None:
    page, stage = opened(notebook)
    mouse = page.page.mouse
    mouse.move(*stage.on_page("axial", 0, 0))
    mouse.wheel(0, -100)  # the first that Python hears of this page
    page.until(lambda: page.output("print(v.cursor_mm[2])").strip() == "16.5")
    # the kernel is busy: what the page says waits until another patient has been shown
    page.run("late = []\nv.comm.on_msg(late.append)")
    for _ in range(5):
        mouse.wheel(0, -100)
        page.page.wait_for_timeout(80)
    page.viewer().get_by_test_id("reader-2").click()
    page.settle()
    assert stage.text("caption-axial") == "Axial  S 31.5 mm  43/64"
    assert page.viewer().get_by_test_id("reader-2").get_attribute("aria-pressed") == "false"
    page.until(lambda: page.output("print('visible' in str(late))").strip() == "True")
    page.run(
        "from dataclasses import replace\n"
        "case = patient('P002')\n"
        "left = {r: m for r, m in case.masks.items() if r != READERS[0]}\n"
        f"v.show(replace(case, masks=left), styles(READERS[1:]), cursor_mm=[{cursor_mm}])\n"
        "heard = []\n"
        "v.observe(lambda c: heard.append(c['new']), names=['cursor_mm', 'visible'])\n"
        "v.comm.on_msg(v._handle_msg)\n"
        "for message in late:\n"
        "    v._handle_msg(message)"
    )
    page.wait_drawn(serial=2)
    asked = page.output("print(v.cursor_mm, v.visible, heard)").strip()
    names = [reader.name for reader in READERS[1:]]
    assert asked == f"[{cursor_mm}] {names} []"
    x, y, z = (float(v) for v in cursor_mm.split(","))
    sides = f"{'R' if x > 0 else 'L'} {abs(x):.1f}  {'A' if y >= 0 else 'P'} {abs(y):.1f}"
    assert stage.text("readout-position") == f"{sides}  {'S' if z > 0 else 'I'} {abs(z):.1f}"
    pressed = [
        page.viewer().get_by_test_id(f"reader-{n}").get_attribute("aria-pressed") for n in (1, 2, 3)
    ]
    assert pressed == ["true"] * 3


# a driver that takes the program of the images and not that of contours
NO_CONTOURS = """const ask = WebGL2RenderingContext.prototype.getShaderParameter;
WebGL2RenderingContext.prototype.getShaderParameter = function (shader, what) {
  return this.getShaderSource(shader).includes("READERS") ? false : ask.call(this, shader, what);
};"""


@pytest.mark.parametrize("how", ["missing", "lost", "no contours"])
def test_without_webgl_the_pictures_come_from_python(notebook: Open, how: str) -> None:
    script = {"missing": NO_WEBGL, "no contours": NO_CONTOURS}.get(how, "")
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW, init_script=script)
    if how == "lost":
        page.viewer().get_by_test_id("slices").evaluate(
            "(c) => c.getContext('webgl2').getExtension('WEBGL_lose_context').loseContext()"
        )
    notice = page.viewer().get_by_test_id("notice")
    notice.wait_for(state="visible")
    assert "WebGL2" in notice.inner_text()
    page.until(lambda: near(planes_only(stage, stage.pixels()), COLOURS["Expert A"]) > 20)
    image = stage.pixels()
    assert patch(image, stage.at("axial", 28, 0), 1).mean() == pytest.approx(241, abs=8)
    assert patch(image, stage.at("axial", 60, 6), 1).mean() == pytest.approx(198, abs=8)
    assert patch(image, stage.at("axial", 0, 0), 1).mean() == pytest.approx(76, abs=8)
    page.page.mouse.move(*stage.on_page("axial", 0, 0))
    page.page.mouse.wheel(0, -100)
    page.settle()
    assert stage.text("caption-axial") == "Axial  S 16.5 mm  38/64"
    page.keep(f"viewer-webgl-{how}", page.viewer())


def test_pictures_from_python_follow_mode_range_and_map(notebook: Open) -> None:
    page, stage = opened(notebook, init_script=NO_WEBGL)

    def at(across_mm: float, up_mm: float) -> NDArray[np.int16]:
        return patch(stage.pixels(), stage.at("axial", across_mm, up_mm), 1).mean(axis=(0, 1))

    def becomes(place: tuple[float, float], colour: tuple[float, float, float]) -> None:
        page.until(lambda: bool((np.abs(at(*place) - colour) < 8).all()))

    page.viewer().get_by_test_id("mode-pet").click()
    # SUV 0.4 of 8: no bone ring, but hot iron's red at index 13, 255 * (13 / 255) / 0.5
    becomes((28, 0), (26, 0, 0))
    page.viewer().get_by_test_id("colour-map").select_option("viridis")
    page.run("v.suv_min = 0.5")
    becomes((28, 0), (0x44, 0x01, 0x54))
    # beside the crosshair SUV is 7.3, as in the test above: 0.91 of 0.5 to 8; the map's 12th of 13
    page.until(lambda: at(36, -24)[1] > 200 and at(36, -24)[2] < 60)

    # a range without extent: the page says so, and goes on when it is mended
    notice = page.viewer().get_by_test_id("notice")
    page.run("v.suv_min = 8.0")
    page.until(lambda: "No axial slice: SUV range 8 to 8" in notice.inner_text())
    page.until(lambda: "No coronal slice" in notice.inner_text())
    page.run("v.suv_min = 0.0; v.colour_map = 'grey'")
    becomes((28, 0), (13, 13, 13))
    page.until(lambda: "No " not in notice.inner_text())


@pytest.mark.parametrize("script", ["", NO_WEBGL], ids=["WebGL2", "pictures"])
def test_a_closed_viewer_leaves_the_page_and_lets_its_data_go(notebook: Open, script: str) -> None:
    page, stage = opened(notebook, init_script=script)
    page.run(
        "import gc, threading, weakref\n"
        "array = weakref.ref(v._shown.case.ct.array)\n"
        "def left():\n"
        "    gc.collect()\n"
        "    names = [t.name for t in threading.enumerate()]\n"
        "    return array() is not None, any('boneviz-viewer' in n for n in names)"
    )
    assert page.output("print(left())").strip() == "(True, True)"
    # a move that Python has not been told of, and pictures that are on their way
    page.page.mouse.move(*stage.on_page("axial", 0, 0))
    page.page.mouse.wheel(0, -300)
    page.run("v.close()")
    page.until(lambda: page.page.get_by_test_id("boneviz-viewer").count() == 0)
    page.page.wait_for_timeout(1000)  # for anything late; errors in the console fail the test
    page.until(lambda: page.output("print(left())").strip() == "(False, False)")
    # another viewer works after it
    page.run("from IPython.display import display\nw = SliceViewer()")
    page.run("w.show(patient('P003'), styles())")
    assert page.output("print(w.serial, w.case_info['patient'])").strip() == "1 P003"


def test_closed_viewers_give_their_graphics_back(notebook: Open) -> None:
    page, _ = opened(
        notebook,
        "import ipywidgets\nfrom IPython.display import display\n"
        "case = patient()\nout = ipywidgets.Output()\n"
        "def again(close=True):\n"
        "    global v\n"
        "    if close:\n"
        "        v.close()\n"
        "    out.clear_output()\n"
        "    v = SliceViewer()\n"
        "    v.show(case, styles())\n"
        "    with out:\n"
        "        display(v)\n"
        "again(close=False)\nout",
    )
    said: list[str] = []
    page.page.on("console", lambda message: said.append(message.text))
    # Chromium keeps 16 contexts and says so when it takes one away
    for _ in range(18):
        page.run("again()")
        page.wait_drawn()
    assert page.page.get_by_test_id("boneviz-viewer").count() == 1
    assert not [line for line in said if "WebGL" in line]
    assert page.viewer().get_by_test_id("notice").is_hidden()


@pytest.mark.parametrize(
    ("name", "width", "ratio", "dark"),
    [("dark-1200", 1360, 2, True), ("light-800", 960, 2, False)],
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
