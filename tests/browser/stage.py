"""The viewer's stage in a page, worked out here and not asked of the page: where what is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

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
# whether the slices look different in the frame after a control was used
IN_THE_NEXT_FRAME = """async ([name, value]) => {
  const canvas = document.querySelector('[data-testid=slices]');
  const read = () => { const c = document.createElement('canvas');
    [c.width, c.height] = [canvas.width, canvas.height];
    const pen = c.getContext('2d'); pen.drawImage(canvas, 0, 0);
    return pen.getImageData(0, 0, c.width, c.height).data; };
  const before = read();
  const control = document.querySelector(`[data-testid="${name}"]`);
  if (value === null) control.click();
  else {
    control.value = value;
    const type = control.type === 'range' ? 'input' : 'change';
    control.dispatchEvent(new Event(type, {bubbles: true}));
  }
  await new Promise((done) => requestAnimationFrame(done));
  const after = read();
  return after.some((v, i) => Math.abs(v - before[i]) > 30);
}"""
NO_WEBGL = """
const given = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind === 'webgl2' ? null : given.call(this, kind, ...rest);
};
"""
COLOURS = {style.reader.name: rgb_of(style.colour) for style in styles()}

# each ball of the patient: centre and radius in the axial slice at 13.5 mm, as patient.py says;
# the radius there is sqrt(r^2 - dz^2)
CIRCLES = {
    "Expert A": ((40.0, -20.0), (18**2 - 1.5**2) ** 0.5),
    "Expert B": ((40.0, -20.0), (10**2 - 1.5**2) ** 0.5),
    "Model A": ((32.0, -20.0), (18**2 - 6.5**2) ** 0.5),
}


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


@contextmanager
def busy_kernel(page: NotebookPage, free: Path) -> Iterator[None]:
    """Keep the kernel busy, with no time for messages, until a file is there."""
    page.page.evaluate(
        """(code) => { window.busy = window.jupyterapp.shell.currentWidget.context.sessionContext
          .session.kernel.requestExecute({code});
          window.busy.done.then(() => { window.busy = null; }); }""",
        f"import pathlib, time\nwhile not pathlib.Path({str(free)!r}).exists(): time.sleep(0.05)",
    )
    try:
        yield
        busy = page.page.evaluate("window.busy !== null")
    finally:
        free.touch()
        page.page.wait_for_function("window.busy === null")
    assert busy, "the kernel was to be busy all along"


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
