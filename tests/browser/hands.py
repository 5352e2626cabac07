"""Mouse and keyboard over one viewer of a page that shows `browser.patient` in the bone window."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .harness import NotebookPage
from .patient import SPACING_MM as STEP
from .stage import Stage, patch

START = (39.0, -19.0, 13.5)
MARKER = (60.0, 6.0)  # 8 mm wide, 198 of 255 in the bone window
BONE, MARKER_GREY = 241, 198


def along(axis: int, slices: int) -> tuple[float, ...]:
    """Return a move by slices along one axis."""
    return tuple(float(slices) if a == axis else 0.0 for a in range(3))


@dataclass(frozen=True)
class Hands:
    """Mouse and keyboard over one viewer of the page."""

    page: NotebookPage
    stage: Stage

    def press(self, *keys: str) -> None:
        self.stage.locator.evaluate("(e) => e.focus({preventScroll: true})")
        for key in keys:
            self.page.page.keyboard.press(key)
        self.page.settle()

    def point(self, plane: str, across: float = 20, up: float = 30) -> None:
        self.page.page.mouse.move(*self.stage.on_page(plane, across, up))
        self.page.settle()

    def drag(self, dx: float, dy: float, *, button: str = "left", key: str = "") -> None:
        """Drag from the marker on."""
        mouse, keyboard = self.page.page.mouse, self.page.page.keyboard
        x, y = self.stage.on_page("axial", *MARKER)
        mouse.move(x, y)
        if key:
            keyboard.down(key)
        mouse.down(button=button)
        mouse.move(x + dx, y + dy, steps=2)
        mouse.up(button=button)
        if key:
            keyboard.up(key)
        self.page.settle()

    def position(self) -> tuple[float, ...]:
        words = re.findall(r"([RLAPSI]) ([\d.]+)", self.stage.text("readout-position"))
        return tuple(float(mm) * (1 if side in "RAS" else -1) for side, mm in words)

    def steps(self) -> tuple[float, ...]:
        """Return by how many slices the crosshair has moved along x, y and z."""
        return tuple((p - s) / n for p, s, n in zip(self.position(), START, STEP, strict=True))

    def put_back(self) -> None:
        self.page.run(f"v.cursor_mm = {list(START)}")
        self.page.until(lambda: self.position() == START)

    def reset(self) -> None:
        self.press("r")
        self.page.run("v.mode = 'ct'")
        self.page.until(lambda: self.pressed("mode-ct"))
        self.page.settle()

    def comes_to(self, found: Callable[[], object], expected: object, why: object = "") -> None:
        """Assert that something comes to be as expected; a busy browser takes its time."""
        deadline = time.monotonic() + 3
        while found() != expected and time.monotonic() < deadline:
            self.page.settle()
        last = found()
        assert last == expected, f"{why} {last}, expected {expected}"

    def grey(self, across: float, up: float, plane: str = "axial") -> float:
        return float(patch(self.stage.pixels(), self.stage.at(plane, across, up), 1).mean())

    def shown(self) -> NDArray[np.int16]:
        """Return the pictures, without the ring about what has the focus."""
        return self.stage.pixels()[4:-4, 4:-4]

    def marker_px(self, x: float, y: float) -> int:
        """Return how wide the marker is, which lies under a place of the stage."""
        # between its 198 and the 76 of what is around it
        bright = self.stage.pixels()[round(y), :, 0] > 137
        left = np.flatnonzero(~bright[: round(x)])[-1]
        return int(np.flatnonzero(~bright[round(x) :])[0] + round(x) - left - 1)

    def pressed(self, name: str) -> bool:
        button = self.page.viewer(self.stage.nth).get_by_test_id(name)
        return button.get_attribute("aria-pressed") == "true"

    def value(self, name: str) -> str:
        return self.page.viewer(self.stage.nth).get_by_test_id(name).input_value()

    def sees(self, name: str) -> bool:
        return self.page.viewer(self.stage.nth).get_by_test_id(name).is_visible()

    def told(self, *keys: str) -> list[str]:
        """Press keys, and return what the kernel heard of regions, in its list `heard`."""
        self.page.run("heard.clear()")
        self.press(*keys)
        asked = "import json; print(json.dumps(heard))"
        self.page.until(lambda: len(json.loads(self.page.output(asked))) >= len(keys))
        return list(json.loads(self.page.output(asked)))
