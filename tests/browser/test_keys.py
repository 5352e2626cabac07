"""Every line of the viewer's help is done by hand here, and does what it says.

The help is read from its source: a line that is added there needs its case here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from .hands import BONE, MARKER, MARKER_GREY, START, Hands, along
from .harness import REPO
from .patient import ORIGIN_MM, SHAPE
from .patient import SPACING_MM as STEP
from .stage import Open, Stage, opened, patch
from .test_reach import Fingers

pytestmark = pytest.mark.browser

SHOW = """
from browser.patient import grid, predictions
from boneviz.drawing import Drawing
from boneviz.palette import ReaderStyle, LEARNER
from boneviz.show.canvas import Canvas
v.mode = 'ct'
v.show(patient(), styles(), predictions=predictions(), cursor_mm=(39, -19, 13.5))
heard = []
v.on_region_key(heard.append)
v
"""
DRAW = """
c = Canvas()
c.draw(patient(), ReaderStyle(Reader("Kim", "learner"), LEARNER, False), Drawing.blank(grid()))
c
"""
AXES = {"axial": (0, 1, 2), "sagittal": (1, 2, 0), "coronal": (0, 2, 1)}  # across, up, through


def help_lines(name: str) -> dict[str, str]:
    """Return the lines of a table of the help, as its source has them."""
    source = (REPO / "boneviz" / "show" / "front" / "chrome.js").read_text()
    table = source.split(f"export const {name} = [\n")[1].split("\n];")[0]
    return dict(json.loads(line.strip().rstrip(",")) for line in table.splitlines())


def crosshair(hands: Hands) -> None:
    mouse = hands.page.page.mouse
    mouse.move(*hands.stage.on_page("axial", 10, 50))
    mouse.down()
    hands.page.settle()
    assert hands.position() == pytest.approx((10, 50, 13.5), abs=0.6)
    mouse.move(*hands.stage.on_page("axial", -20, 30))
    hands.page.settle()
    assert hands.position() == pytest.approx((-20, 30, 13.5), abs=0.6)
    mouse.up()
    mouse.move(*hands.stage.on_page("axial", 50, 50))
    hands.page.settle()
    assert hands.position() == pytest.approx((-20, 30, 13.5), abs=0.6)
    hands.put_back()


def wheel(hands: Hands) -> None:
    for plane, (_, _, through) in AXES.items():
        hands.point(plane)
        for delta, slices in ((-100, 1), (100, 0)):
            hands.page.page.mouse.wheel(0, delta)
            hands.comes_to(hands.steps, along(through, slices), (plane, delta))
    left, top, _, _ = hands.page.box(hands.stage.locator)
    for plane, (_, _, through) in AXES.items():
        x, y, width, _ = hands.stage.panel(plane)
        hands.page.page.mouse.click(left + x + width - 5, top + y + 26)
        # the bar's upper end is the last slice
        last = ORIGIN_MM[through] + (SHAPE[through] - 1) * STEP[through]
        slices = round((last - START[through]) / STEP[through])
        hands.comes_to(hands.steps, along(through, slices), f"bar of {plane}")
        hands.put_back()


def arrows(hands: Hands) -> None:
    for plane, (across, up, _) in AXES.items():
        hands.point(plane)
        # to the screen's left is to the patient's right, or front
        for key, axis, slices in (
            ("ArrowLeft", across, 1),
            ("ArrowRight", across, 0),
            ("ArrowUp", up, 1),
            ("ArrowDown", up, 0),
        ):
            hands.press(key)
            hands.comes_to(hands.steps, along(axis, slices), (plane, key))


def pages(hands: Hands) -> None:
    for plane, (_, _, through) in AXES.items():
        hands.point(plane)
        for key, slices in (("PageUp", 1), ("PageDown", 0)):
            hands.press(key)
            hands.comes_to(hands.steps, along(through, slices), (plane, key))


def centre(hands: Hands) -> None:
    hands.page.page.mouse.dblclick(*hands.stage.on_page("axial", *MARKER))
    hands.page.settle()
    image = hands.stage.pixels()
    for plane in AXES:
        x, y, width, height = hands.stage.panel(plane)
        middle = patch(image, (x + width / 2, y + height / 2), 3)
        assert middle.mean() == pytest.approx(MARKER_GREY, abs=6), plane
    hands.reset()
    hands.put_back()


def zoom(hands: Hands) -> None:
    stage, mouse, keyboard = hands.stage, hands.page.page.mouse, hands.page.page.keyboard
    x, y = stage.at("axial", *MARKER)
    px, py, width, height = stage.panel("axial")
    middle_x, middle_y = px + width / 2, py + height / 2
    mm8 = 8 * stage.scale("axial")
    hands.point("axial", *MARKER)
    # about the middle by key, about the pointer by wheel
    hands.press("+", "+")
    larger = 1.25**2
    place = middle_x + (x - middle_x) * larger, middle_y + (y - middle_y) * larger
    assert hands.marker_px(*place) == pytest.approx(larger * mm8, abs=2.5)
    hands.press("-", "-")
    assert hands.marker_px(x, y) == pytest.approx(mm8, abs=2.5)
    hands.point("axial", *MARKER)
    for key, delta, factor in (
        ("Control", -200, np.exp(0.4)),
        ("Shift", -200, np.exp(0.8)),
        ("Control", 200, np.exp(0.4)),
        ("Shift", 200, 1),
    ):
        keyboard.down(key)
        mouse.wheel(0, delta)
        keyboard.up(key)
        wide = pytest.approx(factor * mm8, abs=3)
        hands.comes_to(lambda: hands.marker_px(x, y), wide, (key, delta))
    assert hands.steps() == (0, 0, 0)
    hands.reset()


def pan(hands: Hands) -> None:
    x, y = hands.stage.at("axial", *MARKER)
    for way in ({"key": "Shift"}, {"button": "right"}, {"button": "middle"}):
        hands.drag(50, 30, **way)
        image = hands.stage.pixels()
        assert patch(image, (x + 50, y + 30), 2).mean() == pytest.approx(MARKER_GREY, abs=6), way
        assert patch(image, (x, y), 2).mean() < 100, way
        assert hands.steps() == (0, 0, 0), way
        hands.reset()


def two_fingers(hands: Hands) -> None:
    x, y = hands.stage.at("axial", *MARKER)
    at_x, at_y = hands.stage.on_page("axial", *MARKER)
    # how they pan is in test_reach
    fingers = Fingers(hands.page)
    fingers.drag([(at_x - 20, at_y), (at_x + 20, at_y)], [(at_x - 40, at_y), (at_x + 40, at_y)])
    wide = pytest.approx(2 * 8 * hands.stage.scale("axial"), abs=3)
    hands.comes_to(lambda: hands.marker_px(x, y), wide)
    assert hands.steps() == (0, 0, 0)
    hands.reset()


def window(hands: Hands) -> None:
    hands.drag(40, -30, key="Alt")
    # 4 HU of width a pixel to the right, 2 HU of level a pixel up
    assert (hands.value("level"), hands.value("width")) == ("460", "1960")
    # 1200 HU: (1200 - 460) / 1960 + 0.5
    assert hands.grey(28, 0) == pytest.approx(0.8776 * 255, abs=3)
    assert hands.steps() == (0, 0, 0)
    hands.reset()


def readers(hands: Hands) -> None:
    def now() -> list[bool]:
        return [hands.pressed(f"reader-{n}") for n in range(1, 5)]

    for n in range(4):
        hands.press(str(n + 1))
        assert now() == [other != n for other in range(4)]
        hands.press(str(n + 1))
        assert now() == [True] * 4
    hands.press("5", "8")  # of whom there is none
    assert now() == [True] * 4


def layers(hands: Hands) -> None:
    # 1200 HU; SUV 0.4 of 8 is hot iron's red 26; fused, a dark red of 6 % over it
    for key, mode, seen in (("t", "pet", 26 / 3), ("f", "fused", 227), ("c", "ct", BONE)):
        hands.press(key)
        assert [hands.pressed(f"mode-{m}") for m in ("ct", "fused", "pet")] == [
            m == mode for m in ("ct", "fused", "pet")
        ], key
        assert hands.grey(-28, 0) == pytest.approx(seen, abs=4), key


def views(hands: Hands) -> None:
    for name in ("disagreement", "error", "probability", "readers"):
        hands.press("v")
        assert hands.pressed(f"view-{name}"), name


def heat(hands: Hands) -> None:
    meanings = hands.page.viewer().locator(".bv-meaning")
    hands.press("h")
    assert meanings.all_inner_texts() == ["1", "2", "3", "4"]
    hands.press("h")
    assert meanings.all_inner_texts() == ["only Expert A", "only Expert B", "both"]
    hands.press("v", "v", "v")


def regions(hands: Hands) -> None:
    assert hands.told("n", "p", "n") == ["next", "previous", "next"]


def star(hands: Hands) -> None:
    assert hands.told("s") == ["star"]


def switch(hands: Hands, key: str, button: str) -> None:
    """Press a key that changes what readers mark looks like, and press it again."""
    before = hands.shown()
    hands.press(key)
    assert hands.pressed(button)
    assert (np.abs(hands.shown() - before).max(axis=-1) > 20).sum() > 50
    hands.press(key)
    assert not hands.pressed(button)
    assert np.array_equal(hands.shown(), before)


def alone(hands: Hands) -> None:
    captions = ("axial", "sagittal", "coronal", "mip")
    for plane in ("coronal", "axial"):
        hands.point(plane)
        hands.press("m")
        assert [p for p in captions if hands.sees(f"caption-{p}")] == [plane]
        hands.press("m")
        assert all(hands.sees(f"caption-{p}") for p in captions)


def reset(hands: Hands) -> None:
    hands.point("axial")
    first = hands.shown()
    hands.press("+", "m")
    hands.drag(20, -20, key="Alt")
    assert (np.abs(hands.shown() - first) > 60).any()
    hands.reset()
    assert (hands.value("level"), hands.value("width")) == ("400", "1800")
    assert np.array_equal(hands.shown(), first)


def picture(hands: Hands) -> None:
    with hands.page.page.expect_download(timeout=20_000) as download:
        hands.press("k")
    assert download.value.suggested_filename == "slices.png"
    assert Path(download.value.path()).read_bytes()[:4] == b"\x89PNG"


def help_itself(hands: Hands) -> None:
    hands.press("?")
    assert hands.sees("help-box")
    shown = hands.stage.text("help-box")
    assert all(keys in shown and what in shown for keys, what in help_lines("HELP").items())
    hands.press("?")
    assert not hands.sees("help-box")


CASES: dict[str, Callable[[Hands], None]] = {
    "Click or drag": crosshair,
    "Wheel, or drag the bar at a plane's right": wheel,
    "Arrow keys": arrows,
    "Page Up, Page Down": pages,
    "Double-click": centre,
    "Ctrl or Shift + wheel, + and \N{MINUS SIGN}": zoom,
    "Shift + drag, right or middle drag": pan,
    "Two fingers": two_fingers,
    "Alt + drag": window,
    "1 to 8": readers,
    "C, T, F": layers,
    "V": views,
    "H": heat,
    "N, P": regions,
    "S": star,
    "A": partial(switch, key="a", button="filled"),
    "X": partial(switch, key="x", button="exact"),
    "M": alone,
    "R": reset,
    "K": picture,
    "?": help_itself,
}


def drawn_ml(hands: Hands, *keys: str) -> float:
    """Press keys, and return what is drawn once the kernel has answered."""
    hands.press(*keys)
    hands.page.until(lambda: "Working" not in hands.stage.text("drawn"))
    words = hands.stage.text("drawn")
    return 0.0 if words == "Nothing drawn" else float(words.split()[1])


def tools(hands: Hands) -> None:
    names = ("brush", "erase", "fill", "look")
    for key, tool in zip("begl", names, strict=True):
        hands.press(key)
        assert [n for n in names if hands.pressed(f"tool-{n}")] == [tool]


def strokes(hands: Hands) -> None:
    mouse = hands.page.page.mouse
    found = []
    for key in ("b", "e"):
        hands.press(key)
        for to_x in (-45, -20):
            mouse.move(*hands.stage.on_page("axial", -45, 20))
            mouse.down()
            mouse.move(*hands.stage.on_page("axial", to_x, 20), steps=3)
            mouse.up()
            found.append(drawn_ml(hands))
    # one slice of 3 mm, a disc of 5 mm: by a click, and 25 mm long; rows of voxels are 2 mm apart
    click, drag, *erased = found
    assert click == pytest.approx(0.236, abs=0.06)
    assert drag == pytest.approx(0.986, rel=0.25)
    assert erased == [pytest.approx(drag - click, abs=0.1), 0]
    hands.press("l")


def at_the_crosshair(hands: Hands) -> None:
    disc_ml = drawn_ml(hands, "b", "Enter")
    assert disc_ml == pytest.approx(np.pi * 25 * 3 / 1000, abs=0.06)
    assert drawn_ml(hands, "e", "Enter") == 0
    # from SUV 2.5 on: 0.4 + 9 exp(-r^2 / 128) = 2.5 at r = 13.6 mm
    assert drawn_ml(hands, "g", "Enter") == pytest.approx(4.19e-3 * 13.6**3, rel=0.1)
    assert drawn_ml(hands, "z") == 0
    hands.press("l")


def sizes(hands: Hands) -> None:
    hands.press("b")
    found = []
    for key in ("[", "]", "]"):
        hands.press(key)
        found.append(hands.value("draw-radius"))
    assert found == ["4.5", "5", "6"]
    hands.press("[", "l")


def reach(hands: Hands) -> None:
    hands.press("b")
    volumes = []
    for ball in (True, False):
        hands.press("d")
        assert hands.pressed("reach-ball") is ball
        volumes.append(drawn_ml(hands, "Enter"))
        assert drawn_ml(hands, "z") == 0
    # a ball of 5 mm has 0.524 mL, a disc of 3 mm 0.236
    assert volumes == pytest.approx([0.524, 0.236], abs=0.1)
    hands.press("l")


def steps(hands: Hands) -> None:
    ml = drawn_ml(hands, "b", "Enter")
    assert ml > 0
    assert [drawn_ml(hands, key) for key in "zyz"] == [0, ml, 0]
    hands.press("l")


DRAWING_CASES: dict[str, Callable[[Hands], None]] = {
    "B, E, G, L": tools,
    "Click or drag with brush or eraser": strokes,
    "Enter": at_the_crosshair,
    "[ and ]": sizes,
    "D": reach,
    "Z, Y": steps,
}


def test_every_line_of_the_help_does_what_it_says(notebook: Open) -> None:
    assert list(CASES) == list(help_lines("HELP"))
    assert list(DRAWING_CASES) == list(help_lines("DRAWING_HELP"))
    page, stage = opened(notebook, SHOW, DRAW)
    page.wait_drawn(1)
    hands = Hands(page, stage)
    page.page.keyboard.press("Escape")
    for do in CASES.values():
        do(hands)
    page.run("c.mode, c.cursor_mm = 'ct', [39, -19, 13.5]")
    drawing = Hands(page, Stage(page, 1))
    drawing.point("axial")
    for do in DRAWING_CASES.values():
        do(drawing)
