"""The atlas of disagreements and the patients of a pair, in a real JupyterLab."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from .harness import NotebookPage

pytestmark = pytest.mark.browser

Open = Callable[..., NotebookPage]
CELL = """
import boneviz, json
from boneviz.regions import worst_region
explorer = boneviz.explore()
explorer
"""
PLACE = """([selector, x, y]) => {
  const at = document.querySelector(selector);
  const plot = at.classList.contains('js-plotly-plot') ? at : at.querySelector('.js-plotly-plot');
  const box = plot.getBoundingClientRect(), {xaxis, yaxis} = plot._fullLayout;
  return [box.x + xaxis._offset + xaxis.d2p(x), box.y + yaxis._offset + yaxis.d2p(y)];
}"""


def asked(page: NotebookPage, expression: str) -> Any:
    """Return the value of an expression in the kernel."""
    return json.loads(page.output(f"print(json.dumps({expression}))"))


def click_in_plot(page: NotebookPage, selector: str, x: float | str, y: float | str) -> None:
    """Click at a point of a figure, given as its axes have it."""
    page.scroll_to(page.page.locator(selector))
    mouse = page.page.mouse
    left, top = page.page.evaluate(PLACE, [selector, x, y])
    mouse.move(left - 3, top)
    mouse.move(left, top)
    page.page.wait_for_timeout(150)
    mouse.down()
    page.page.wait_for_timeout(80)
    mouse.move(left + 1, top)
    mouse.up()


def at_cursor(page: NotebookPage, name: str) -> Locator:
    return page.viewer().get_by_test_id(f"readout-{name}")


def test_from_the_matrix_to_a_patient_to_every_region(notebook: Open) -> None:
    page = notebook([CELL], width=1360, height=1900)
    page.wait_drawn(serial=1, seconds=120)
    explorer = page.page.locator(".boneviz-explorer")

    # a row of the atlas: the cursor goes inside the region, and the page reads out what is there
    explorer.get_by_role("tab", name="Regions").click()
    rows = explorer.locator("table.boneviz-atlas tbody tr")
    expect(rows).not_to_have_count(0, timeout=20_000)
    expect(rows.first).to_contain_text("Expert A")
    rows.nth(1).click()
    page.until(lambda: asked(page, "explorer.state.region") is not None, seconds=30)
    number = int(rows.nth(1).locator("td").nth(1).inner_text())
    place = asked(
        page,
        "[(r.number, r.inside_mm, r.readers) for r in explorer._regions() "
        f"if r.number == {number}][0]",
    )
    assert place[0] == asked(page, "explorer.state.region")
    assert asked(page, "explorer.state.cursor_mm") == pytest.approx(place[1])
    expect(at_cursor(page, "yes")).to_contain_text(place[2][0])
    shown_mm = [float(v) for v in re.findall(r"-?[\d.]+", at_cursor(page, "position").inner_text())]
    assert [abs(v) for v in shown_mm] == pytest.approx([abs(v) for v in place[1]], abs=0.6)
    page.keep("atlas", explorer)

    # n and p step through what is listed, s stars; the row of the region is marked
    stage = page.viewer().get_by_test_id("stage")
    stage.focus()
    page.page.keyboard.press("p")
    page.until(lambda: asked(page, "explorer.state.region") != number, seconds=30)
    expect(rows.first).to_have_class(re.compile("selected"))
    page.page.keyboard.press("n")
    page.until(lambda: asked(page, "explorer.state.region") == number, seconds=30)
    page.page.keyboard.press("s")
    expect(rows.nth(1).locator("td").first).to_have_text("★")
    assert asked(page, "explorer.starred['number'].tolist()") == [number]
    expect(explorer.get_by_role("link", name="save as CSV")).to_be_visible()
    # t is PET now
    page.page.keyboard.press("t")
    page.until(lambda: asked(page, "explorer.viewer.mode") == "pet", seconds=30)
    page.page.keyboard.press("f")

    # a cell of the matrix opens its patients, a point its patient at the pair's worst region
    click_in_plot(page, ".boneviz-matrix", "Expert B", "Model A")
    words = explorer.get_by_text("Model A against Expert B, Dice")
    expect(words).to_be_visible(timeout=20_000)
    assert asked(page, "explorer.state.pair") == ["Expert B", "Model A"]
    page.page.wait_for_timeout(800)
    who, x, y = asked(
        page,
        "next((who, explorer.strip.figure.data[1].x[n], explorer.strip.figure.data[1].y[n]) "
        "for n, (who, expert) in enumerate(explorer.strip._points) "
        "if expert == 'Expert B' and who != explorer.state.case_id)",
    )
    click_in_plot(page, ".boneviz-strip", x, y)
    page.wait_drawn(serial=2)
    expect(explorer).to_contain_text(f"shown: {who}")
    page.until(lambda: asked(page, "explorer.state.region") not in (None, "worst"), seconds=30)
    worst = asked(
        page,
        "(lambda r: [r.number, r.inside_mm, r.readers])(worst_region(explorer._regions()))",
    )
    assert asked(page, "explorer.state.cursor_mm") == pytest.approx(worst[1])
    expect(at_cursor(page, "yes")).to_contain_text(worst[2][0])
    page.page.wait_for_timeout(800)
    page.keep("strip", explorer)

    # all of it fits a narrow window
    page.page.set_viewport_size({"width": 900, "height": 1900})
    for name in ("Regions", "One pair"):
        explorer.get_by_role("tab", name=name).click()
        page.page.wait_for_timeout(1200)
        page.keep(f"narrow-{name.lower().replace(' ', '-')}", explorer)
        panel = explorer.locator(".boneviz-panels")
        wider = panel.evaluate(
            """(panel) => [...panel.querySelectorAll('*')]
              .filter((e) => e.checkVisibility() && !e.closest('.dt-scroll'))
              .map((e) => e.getBoundingClientRect().right - panel.getBoundingClientRect().right)
              .reduce((a, b) => Math.max(a, b), 0)"""
        )
        assert wider <= 1, name
