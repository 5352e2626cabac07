"""The viewer's stage in a page, worked out here and not asked of the page: where what is seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from playwright.sync_api import Locator

from boneviz.palette import rgb_of

from .harness import NotebookPage
from .patient import styles

Open = Callable[..., NotebookPage]
SETUP = """
import sys; sys.path.insert(0, "tests")
from browser.patient import patient, styles, READERS
from boneviz.case import Reader
from boneviz.show.viewer import SliceViewer
v = SliceViewer()
"""
SHOW = "v.show(patient(), styles(), cursor_mm=(39, -19, 13.5))\nv"
NO_WEBGL = """
const given = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind === 'webgl2' ? null : given.call(this, kind, ...rest);
};
"""
COLOURS = {style.reader.name: rgb_of(style.colour) for style in styles()}


@dataclass(frozen=True)
class Stage:
    """The stage of a viewer with its four panels, worked out here and not asked of the page."""

    page: NotebookPage
    nth: int = 0

    @property
    def locator(self) -> Locator:
        return self.page.viewer(self.nth).get_by_test_id("stage")

    def size(self) -> tuple[float, float]:
        _, _, width, _ = self.page.box(self.locator)
        window = self.page.page.viewport_size
        assert window is not None
        return width, round(min(max(min(0.6 * width, 0.62 * window["height"]), 340), 660))

    def panel(self, plane: str) -> tuple[float, float, float, float]:
        """Two by two with 2 px between: axial, sagittal; coronal, projection."""
        width, height = self.size()
        half, tall = (width - 2) / 2, (height - 2) / 2
        column, row = {"axial": (0, 0), "sagittal": (1, 0), "coronal": (0, 1), "mip": (1, 1)}[plane]
        return column * (half + 2), row * (tall + 2), half, tall

    def scale(self, plane: str) -> float:
        """The patient spans 192 x 160 x 192 mm; 14 px stay free at each side."""
        _, _, width, height = self.panel(plane)
        across, up = {"axial": (192, 160), "sagittal": (160, 192)}.get(plane, (192, 192))
        return min((width - 28) / across, (height - 28) / up)

    def at(self, plane: str, across_mm: float, up_mm: float) -> tuple[float, float]:
        """Right and front are left on the screen; the middle of the patient is 0 mm."""
        x, y, width, height = self.panel(plane)
        scale = self.scale(plane)
        return x + width / 2 - across_mm * scale, y + height / 2 - up_mm * scale

    def pixels(self) -> NDArray[np.int16]:
        return self.page.pixels(self.locator).astype(np.int16)

    def on_page(self, plane: str, across_mm: float, up_mm: float) -> tuple[float, float]:
        self.page.scroll_to(self.locator)
        x, y, _, _ = self.page.box(self.locator)
        dx, dy = self.at(plane, across_mm, up_mm)
        return x + dx, y + dy

    def text(self, name: str) -> str:
        return self.page.viewer(self.nth).get_by_test_id(name).inner_text()


def patch(image: NDArray[np.int16], place: tuple[float, float], reach: int) -> NDArray[np.int16]:
    x, y = (round(v) for v in place)
    return image[y - reach : y + reach + 1, x - reach : x + reach + 1]


def near(image: NDArray[np.int16], colour: tuple[int, int, int], within: int = 25) -> int:
    """Count the pixels whose channels all lie near a colour."""
    return int((np.abs(image - np.array(colour)) <= within).all(axis=-1).sum())


def opened(notebook: Open, *cells: str, **options: object) -> tuple[NotebookPage, Stage]:
    page = notebook([SETUP, *(cells or (SHOW,))], **options)
    page.wait_drawn()
    return page, Stage(page)
