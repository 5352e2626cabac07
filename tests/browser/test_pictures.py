"""Where there is no WebGL2, the slices are pictures from Python."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from .stage import COLOURS, NO_WEBGL, SHOW, Open, near, opened, patch, planes_only

pytestmark = pytest.mark.browser


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
    # beside the crosshair SUV is about 7, as in the test above: the green end of the map
    page.until(lambda: at(36, -24)[1] > 200 and at(36, -24)[2] < 75)

    # a range without extent: the page says so, and goes on when it is mended
    notice = page.viewer().get_by_test_id("notice")
    page.run("v.suv_min = 8.0")
    page.until(lambda: "No axial slice: SUV range 8 to 8" in notice.inner_text())
    page.until(lambda: "No coronal slice" in notice.inner_text())
    page.run("v.suv_min = 0.0; v.colour_map = 'grey'")
    becomes((28, 0), (13, 13, 13))
    page.until(lambda: "No " not in notice.inner_text())


def test_a_late_picture_never_stands_beside_another_patients_name(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW, init_script=NO_WEBGL)

    def colours() -> int:
        image = planes_only(stage, stage.pixels())
        return max(near(image, COLOURS[name]) for name in ("Expert A", "Expert B"))

    def ring() -> float:
        return float(patch(stage.pixels(), stage.at("axial", 20, 20), 1).mean())

    page.until(lambda: colours() > 20)
    # the kernel is slow: no picture leaves it from here on
    page.run(
        "from dataclasses import replace\n"
        "import numpy as np\n"
        "from boneviz.volume import Volume\n"
        "kept, send = [], v.send\n"
        "def slow(content, buffers=None):\n"
        "    if content.get('kind') == 'picture':\n"
        "        kept.append((content, buffers))\n"
        "    else:\n"
        "        send(content, buffers)\n"
        "v.send = slow"
    )
    page.page.mouse.move(*stage.on_page("axial", 0, 0))
    page.page.mouse.wheel(0, -100)
    page.until(lambda: page.output("print(len(kept))").strip() == "1")
    # another patient, on the same slice in the same colours, whom nobody has marked
    page.run(
        "v._send_pieces, send_pieces = (lambda: None), v._send_pieces\n"
        "clean = patient('P002')\n"
        "none = Volume(np.zeros(clean.ct.grid.shape, bool), clean.ct.grid, 'label')\n"
        "v.show(replace(clean, masks={r: none for r in READERS}), styles(),"
        " cursor_mm=v.cursor_mm)"
    )
    page.until(lambda: stage.text("patient") == "P002")
    page.run("send(*kept[0])")
    page.page.wait_for_timeout(300)  # for the late picture, were it taken
    assert stage.text("message") == "Loading 0 %"
    assert colours() == 0
    assert ring() < 16
    # all of the new patient is here, but for his pictures: rather none than another's
    page.run("send_pieces()")
    page.wait_drawn(serial=2)
    page.until(lambda: page.output("print(len(kept))").strip() == "2")
    asked = page.output("print([(c['serial'], c['plane']) for c, _ in kept])").strip()
    assert asked == "[(1, 'axial'), (2, 'axial')]"
    page.run("send(*kept[0])")
    page.page.wait_for_timeout(300)
    assert colours() == 0
    assert ring() < 16
    page.run("v.send = send\nsend(*kept[1])")
    page.until(lambda: abs(ring() - 241) < 8)
    assert colours() == 0
