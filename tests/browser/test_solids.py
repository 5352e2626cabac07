"""The 3D view in a real page: what is clicked is gone to, it turns, and body and bone can go."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import expect

from .harness import NotebookPage
from .test_atlas import asked

pytestmark = pytest.mark.browser

Open = Callable[..., NotebookPage]
EXPLORE = "import boneviz, json\nexplorer = boneviz.explore()\nexplorer"
PLOT = "document.querySelector('.boneviz-surfaces .js-plotly-plot')"
# where on the page a place in mm is drawn, by plotly's own camera
PLACE = f"""(mm) => {{
  const scene = {PLOT}._fullLayout.scene._scene;
  const camera = scene.glplot.cameraParams, box = scene.container.getBoundingClientRect();
  let at = [...mm.map((v, i) => v * scene.dataScale[i]), 1];
  for (const m of [camera.model, camera.view, camera.projection]) {{
    at = [0, 1, 2, 3].map((row) => at.reduce((sum, v, i) => sum + m[4 * i + row] * v, 0));
  }}
  const [x, y] = [at[0] / at[3], at[1] / at[3]];
  return [box.x + (box.width * (1 + x)) / 2, box.y + (box.height * (1 - y)) / 2];
}}"""
EYE = f"() => Object.values({PLOT}._fullLayout.scene._scene.getCamera().eye)"


def vertices_mm(page: NotebookPage) -> np.ndarray:
    """Return the vertices of Expert A's surface, (n, 3) RAS mm."""
    of_a = "next(t for t in explorer.surfaces.figure.data if t.customdata == ('Expert A',))"
    return np.array(
        asked(page, f"[list(map(float, axis)) for axis in (t.x, t.y, t.z)] if (t := {of_a}) else 0")
    ).T


def click_nearest(page: NotebookPage) -> tuple[list[float], Any]:
    """Click the vertex nearest to who looks; return where it is and where the cursor then is."""
    vertices = vertices_mm(page)
    eye: Any = page.page.evaluate(EYE)
    place_mm = vertices[int(np.argmax(vertices @ np.array(eye)))].tolist()
    before = asked(page, "explorer.state.cursor_mm")
    x, y = page.page.evaluate(PLACE, place_mm)
    mouse = page.page.mouse
    mouse.move(x - 3, y)
    mouse.move(x, y)
    # plotly looks what is under the mouse, and whether it is pressed, in the frames that it draws
    expect(page.page.locator(".boneviz-surfaces .hovertext")).to_contain_text("Expert A")
    mouse.down()
    page.page.wait_for_timeout(500)
    mouse.up()
    page.until(lambda: asked(page, "explorer.state.cursor_mm") != before, seconds=30)
    return place_mm, asked(page, "explorer.state.cursor_mm")


def test_a_click_in_3d_moves_the_slices_and_the_body_is_no_obstacle(notebook: Open) -> None:
    page = notebook([EXPLORE], width=1360, height=1500)
    page.wait_drawn(seconds=120)
    scene = page.page.locator(".boneviz-surfaces .js-plotly-plot")
    expect(scene).to_have_count(1, timeout=30_000)
    page.scroll_to(scene)
    drawn = "[t.meta for t in explorer.surfaces.figure.data]"
    page.until(lambda: asked(page, drawn)[:2] == ["body", "bone"], seconds=30)
    expect(scene.locator(".legendtext")).to_have_text(["Body", "Bone"], timeout=30_000)
    for canvas in scene.locator("canvas").all():
        expect(canvas).to_have_accessible_name("Surfaces of the readers in 3D")
    page.page.wait_for_timeout(1500)
    page.keep("solids", scene)

    # Expert A alone, within bone and body; triangles are of a voxel or so, which has 2 to 3 mm
    page.output("explorer.viewer.visible = ['Expert A']")
    page.page.wait_for_timeout(1500)
    place_mm, cursor_mm = click_nearest(page)
    assert np.linalg.norm(np.subtract(place_mm, cursor_mm)) < 4, (place_mm, cursor_mm)
    readout = page.viewer().get_by_test_id("readout-position")

    def read_mm() -> list[float]:
        return [float(v) for v in re.findall(r"[\d.]+", readout.inner_text())]

    # letters stand for the signs; the slices say it a little later
    page.until(lambda: read_mm() == pytest.approx(np.abs(cursor_mm), abs=0.6))

    # turned by a drag: the picture changes, and what is clicked is still what is gone to
    eye = page.page.evaluate(EYE)
    still = page.pixels(scene).astype(int)
    x, y, width, height = page.box(scene)
    mouse = page.page.mouse
    mouse.move(x + width * 0.8, y + height * 0.8)
    mouse.down()
    mouse.move(x + width * 0.6, y + height * 0.75, steps=6)
    mouse.up()
    page.page.wait_for_timeout(1000)
    turned = page.page.evaluate(EYE)
    assert np.linalg.norm(np.subtract(turned, eye)) > 0.3
    assert (np.abs(page.pixels(scene).astype(int) - still) > 12).mean() > 0.02
    page.keep("solids-turned", scene)
    place_mm, cursor_mm = click_nearest(page)
    assert np.linalg.norm(np.subtract(place_mm, cursor_mm)) < 4, (place_mm, cursor_mm)

    # a click on its name hides the body, and shows it again
    with_body = page.pixels(scene).astype(int)
    name = scene.locator(".legendtoggle").first
    name.click()
    page.page.wait_for_timeout(1500)
    without = page.pixels(scene).astype(int)
    changed = (np.abs(without - with_body) > 3).any(axis=-1).mean()
    assert changed > 0.05, changed
    page.keep("solids-without-body", scene)
    name.click()
    page.page.wait_for_timeout(1500)
    assert (np.abs(page.pixels(scene).astype(int) - with_body) > 3).any(axis=-1).mean() < 0.01
