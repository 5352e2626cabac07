"""The explorer's panels in a real page: what is read from them is what the kernel counted."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Locator, expect

from boneviz.show.atlas import KIND_BUTTONS

from .harness import OUTPUT, NotebookPage
from .test_atlas import asked
from .test_explorer import HOSTILE
from .test_keep import saved
from .test_tables import contrast

pytestmark = pytest.mark.browser

Open = Callable[..., NotebookPage]
EXPLORE = "import boneviz, json\nexplorer = boneviz.explore()\nexplorer"
# what can have the keys, and how it is called, by the rules that browsers follow
NAMELESS = """(root) => [...root.querySelectorAll(
    'button, input, select, textarea, a[href], [tabindex]:not([tabindex="-1"])')]
  .filter((e) => e.checkVisibility() && !e.disabled)
  .filter((e) => !(e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.title
    || e.innerText || (e.getAttribute('aria-labelledby') ?? '').split(' ')
      .map((id) => document.getElementById(id)?.textContent ?? '').join('')).trim())
  .map((e) => e.outerHTML.slice(0, 300))"""
INKS = """(root) => [...root.querySelectorAll('.xtick text, .ytick text, .gtitle')]
  .filter((e) => e.textContent.trim())
  .map((e) => getComputedStyle(e).fill.match(/[\\d.]+/g).map(Number))"""
PAPER = """(e) => { for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor.match(/[\\d.]+/g).map(Number);
    if ((colour[3] ?? 1) > 0) return colour.slice(0, 3); }
  return [255, 255, 255]; }"""


def over(ink: list[float], paper: list[float]) -> list[float]:
    """Return a colour, maybe with its opacity, as it is seen over another."""
    opacity = ink[3] if len(ink) > 3 else 1.0
    return [opacity * v + (1 - opacity) * p for v, p in zip(ink[:3], paper, strict=True)]


def assert_legible(plot: Locator) -> None:
    """Assert a contrast of 4.5 of all that stands beside a figure, on the page's own colour."""
    paper: Any = plot.evaluate(PAPER)
    inks: Any = plot.evaluate(INKS)
    assert len(inks) > 2
    worst = min(contrast(over(ink, paper), paper) for ink in inks)
    assert worst >= 4.5, (worst, inks, paper)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_matrix_strip_and_controls_can_be_read(notebook: Open, dark: bool) -> None:
    page = notebook([EXPLORE], width=1360, height=1500, dark=dark)
    page.wait_drawn(seconds=120)
    explorer = page.page.locator(".boneviz-explorer")
    matrix = explorer.locator(".boneviz-matrix")
    expect(matrix.locator(".ytick text")).to_have_count(4, timeout=30_000)

    # mean, SD and n of each cell as the evaluation counts them, where an expert meets itself none
    texts = matrix.locator(".heatmaplayer text, .hm text").all_text_contents()
    table = asked(page, "explorer.as_table('patients').to_dict('list')")
    seen = [t.replace("\\n", "") for t in texts]
    for pair in ("Model A / Expert A", "Model B / Expert A", "Model A / Expert B"):
        values = np.array(table[pair], dtype=float)
        says = f"{values.mean():.2f} ± {values.std(ddof=1):.2f}"
        assert any(text.startswith(says) and f"n {len(values)}" in text for text in seen), (
            pair,
            says,
            seen,
        )
    assert_legible(matrix)

    # one line per patient joins a model's own expert and the other: two points each
    explorer.get_by_role("tab", name="One pair").click()
    reference = explorer.get_by_label("against").locator("visible=true")
    candidate = explorer.get_by_label("Compare").locator("visible=true")
    candidate.select_option("Model A")
    reference.select_option("Expert A")
    strip = explorer.locator(".boneviz-strip")
    expect(strip.locator(".xtick text")).to_have_count(2, timeout=20_000)
    n = len(table["Patient"])
    expect(strip.locator(".scatterlayer .points path")).to_have_count(2 * n)
    lines = strip.locator(".scatterlayer .lines path.js-line")
    expect(lines).to_have_count(n)
    points = strip.locator(".scatterlayer .points path")
    at = [
        tuple(float(v) for v in re.findall(r"[-\d.]+", p.get_attribute("transform") or "")[:2])
        for p in points.all()
    ]
    for line in lines.all():
        ends = re.findall(r"([-\d.]+),([-\d.]+)", line.get_attribute("d") or "")
        assert len(ends) == 2
        near = [min(np.hypot(float(x) - px, float(y) - py) for px, py in at) for x, y in ends]
        assert max(near) < 1, "a line ends at its patient's two points"
    # each column's dotted line lies at the mean of its points
    boxes = """(all) => all.map((e) => e.getBoundingClientRect())
      .map((b) => [b.x, b.right, b.y, b.height])"""
    dots: Any = points.evaluate_all(boxes)
    means: Any = strip.locator(".shapelayer path").evaluate_all(boxes)
    assert len(means) == 2
    for left, right, top, height in means:
        column = [y + h / 2 for x, end, y, h in dots if left < (x + end) / 2 < right]
        assert len(column) == n
        assert np.mean(column) == pytest.approx(top + height / 2, abs=1)
    assert_legible(strip)
    page.keep(f"strip-{'dark' if dark else 'light'}", explorer.locator(".boneviz-panels"))

    # every control that keys can reach has a name, behind every tab
    for name in ("Patients", "Regions", "One pair", "Operating point"):
        explorer.get_by_role("tab", name=name).click()
        page.page.wait_for_timeout(1500)
        assert explorer.evaluate(NAMELESS) == [], name
        if name == "Operating point":
            assert_legible(explorer.locator(".boneviz-curve"))


def test_the_atlas_is_filtered_ordered_and_stepped_through(notebook: Open) -> None:
    page = notebook([EXPLORE], width=1360, height=1500)
    page.wait_drawn(seconds=120)
    explorer = page.page.locator(".boneviz-explorer")
    explorer.get_by_role("tab", name="Regions").click()
    rows = explorer.locator(".dt-scroll-body table.boneviz-atlas tbody tr")
    expect(rows.first).to_contain_text("Expert", timeout=20_000)
    listed = "[[r.number, r.kind_in_words, r.volume_ml, r.suv_max] for r in explorer._regions()]"
    found = [each for each in asked(page, listed) if each[1] != "shared"]

    def numbers() -> list[int]:
        return [int(t) for t in rows.locator("td:nth-child(2)").all_inner_texts()]

    def shows(expected: list[int]) -> None:
        page.until(lambda: numbers() == expected, seconds=20)

    # the least volume, then the order, then kinds
    field = explorer.get_by_label("at least (mL)")
    field.fill("0")
    field.press("Enter")
    by_volume = [each[0] for each in sorted(found, key=lambda each: -each[2])]
    shows(by_volume)
    middle = sorted(each[2] for each in found)[len(found) // 2]
    least = round(middle - 0.005, 2)
    field.fill(str(least))
    field.press("Enter")
    kept = [each for each in sorted(found, key=lambda each: -each[2]) if each[2] >= least]
    shows([each[0] for each in kept])
    assert 0 < len(kept) < len(found)
    explorer.get_by_label("order", exact=True).select_option("highest SUVmax first")
    shows([each[0] for each in sorted(kept, key=lambda each: -each[3])])
    kind = kept[0][1]
    button = explorer.get_by_role("button", name=re.compile(f"^{KIND_BUTTONS[kind]} \\d+$"))
    expect(button).to_have_class(re.compile("mod-active"))
    button.click()
    expect(button).not_to_have_class(re.compile("mod-active"))
    left = [each for each in sorted(kept, key=lambda each: -each[3]) if each[1] != kind]
    if left:
        shows([each[0] for each in left])
    else:
        expect(explorer.get_by_text("No region of these kinds and sizes.")).to_be_visible()
    button.click()
    order = [each[0] for each in sorted(kept, key=lambda each: -each[3])]
    shows(order)

    # Next and Previous go along the list as it is
    region = "explorer.state.region"
    rows.first.click()
    page.until(lambda: asked(page, region) == order[0], seconds=20)
    explorer.get_by_role("button", name="Next ▶", exact=True).click()
    page.until(lambda: asked(page, region) == order[1 % len(order)], seconds=20)
    expect(rows.nth(1 % len(order))).to_have_class(re.compile("selected"))
    explorer.get_by_role("button", name="◀ Previous", exact=True).click()
    page.until(lambda: asked(page, region) == order[0], seconds=20)

    # what is listed is what is saved
    keep = explorer.get_by_test_id("keep")
    name, content = saved(page.page, keep.get_by_role("button", name="Regions CSV").click)
    assert name == "regions.csv"
    assert pd.read_csv(io.BytesIO(content))["number"].tolist() == order
    name, content = saved(page.page, keep.get_by_role("button", name="Pair CSV").click)
    assert name == "pair.csv"
    pair = asked(page, "explorer.as_table('pair').to_dict('list')")
    table = pd.read_csv(io.BytesIO(content), dtype={"Patient": str})
    assert table["Patient"].tolist() == pair["Patient"]
    for column in table.columns[1:]:
        np.testing.assert_allclose(table[column], np.array(pair[column], dtype=float))


def test_the_report_of_a_page_holds_the_starred_region_and_names_as_text(notebook: Open) -> None:
    page = notebook([f"import json\n{HOSTILE}"], width=1280, height=1500)
    page.wait_drawn(seconds=120)
    explorer = page.page.locator(".boneviz-explorer")
    explorer.get_by_role("tab", name="Regions").click()
    rows = explorer.locator(".dt-scroll-body table.boneviz-atlas tbody tr")
    expect(rows.first).to_contain_text("onerror", timeout=20_000)
    rows.first.click()
    page.until(lambda: asked(page, "explorer.state.region") is not None, seconds=20)
    explorer.get_by_role("button", name="☆ Star").click()
    page.until(lambda: len(asked(page, "explorer.starred['number'].tolist()")) == 1, seconds=20)
    keep = explorer.get_by_test_id("keep")
    name, content = saved(page.page, keep.get_by_role("button", name="Report").click)
    assert name == "report.html"
    text = content.decode()
    (OUTPUT / "kept-report.html").write_text(text)
    assert "<img src=x" not in text
    assert "&lt;img src=x onerror=window.hacked=1&gt;" in text
    title = asked(
        page,
        "[f'{r.case_id}, region {r.number}: {r.kind_in_words}' for r in explorer.state.starred][0]",
    )
    # opened on its own, the page shows the star, and no name runs
    opened = page.page.context.new_page()
    try:
        opened.set_content(text)
        expect(opened.get_by_role("heading", name=title, exact=True)).to_be_visible()
        assert opened.evaluate("window.hacked") is None
    finally:
        opened.close()
