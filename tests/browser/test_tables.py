"""The explorer's tables in a real JupyterLab: sorted and opened by mouse and by keys, legible."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from .harness import NotebookPage
from .test_atlas import asked

pytestmark = pytest.mark.browser

Open = Callable[..., NotebookPage]
EXPLORE = "import boneviz, json\nexplorer = boneviz.explore()\nexplorer"
# of a cell: its text and what lies behind it, as red, green and blue from 0 to 255
INK = """(cell) => {
  const look = getComputedStyle(cell);
  const numbers = (text) => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  return [numbers(look.color), numbers(look.boxShadow)];
}"""


def contrast(first: list[float], second: list[float]) -> float:
    """Return the contrast of two colours by WCAG 2.1, 1 to 21."""

    def luminance(colour: list[float]) -> float:
        parts = [v / 255 for v in colour]
        red, green, blue = (
            v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(first), luminance(second)))
    return (light + 0.05) / (dark + 0.05)


def shown(page: NotebookPage) -> str:
    return str(asked(page, "explorer.state.case_id"))


def opens(page: NotebookPage, case_id: str) -> None:
    page.until(lambda: shown(page) == case_id, seconds=30)
    expect(page.page.locator(".boneviz-explorer")).to_contain_text(f"shown: {case_id}")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_heading_sorts_and_a_row_of_the_sorted_table_opens_its_patient(
    notebook: Open, dark: bool
) -> None:
    page = notebook([EXPLORE], width=1360, height=1400, dark=dark)
    page.wait_drawn(seconds=120)
    explorer = page.page.locator(".boneviz-explorer")
    rows = explorer.locator("table.boneviz-patients tbody tr")
    table = asked(page, "explorer.as_table('patients').to_dict('list')")
    dice = dict(zip(table["Patient"], table["Model B / Expert B"], strict=True))
    worst, best = min(dice, key=lambda who: dice[who]), max(dice, key=lambda who: dice[who])
    assert worst != shown(page)

    # on the words of the heading, not on its arrows
    heading = explorer.locator("thead th:visible", has_text="Model B / Expert B")
    heading.locator(".dt-column-title").click()
    expect(heading).to_have_attribute("aria-sort", "ascending")
    expect(rows.first.locator("td").first).to_have_text(worst)
    rows.first.click()
    opens(page, worst)
    expect(rows.first).to_have_class(re.compile("selected"))

    # the chosen row under the mouse: scores keep their colours, and all of it can be read
    inks: list[Any] = [cell.evaluate(INK) for cell in rows.first.locator("td").all()]
    assert min(contrast(*ink) for ink in inks) >= 4.5, inks
    assert len({tuple(behind) for _, behind in inks}) > 2, "the scores lost their colours"
    page.keep(f"patients-chosen-{'dark' if dark else 'light'}", explorer.locator(".boneviz-panels"))

    # the same by keys
    heading.get_by_role("button").focus()
    page.page.keyboard.press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    expect(rows.first.locator("td").first).to_have_text(best)


def test_the_patients_of_a_pair_sort_by_a_heading_and_open(notebook: Open) -> None:
    page = notebook([EXPLORE], width=1360, height=1400)
    page.wait_drawn(seconds=120)
    explorer = page.page.locator(".boneviz-explorer")
    explorer.get_by_role("tab", name="One pair").click()
    rows = grid(page, "strip-table", "Patients of this pair").locator("tbody tr")
    expect(rows).to_have_count(8, timeout=20_000)
    table = asked(page, "explorer.as_table('pair').to_dict('list')")
    column = list(table)[1]
    value = dict(zip(table["Patient"], table[column], strict=True))
    best = max(value, key=lambda who: value[who])
    heading = explorer.locator("thead th:visible .dt-column-title", has_text=column).first
    for way in ("ascending", "descending"):
        heading.click()
        sorted_by = explorer.locator(f"thead th:visible[aria-sort={way}]")
        expect(sorted_by).to_contain_text(column)
    expect(rows.first.locator("td").first).to_have_text(best)
    rows.first.click()
    opens(page, best)
    expect(rows.first.locator("td").first).to_have_text(best)  # it stays sorted


def focused(page: NotebookPage) -> str:
    """Return the text of the cell or row that has the keys."""
    return str(page.page.evaluate("() => document.activeElement.innerText"))


def grid(page: NotebookPage, name: str, label: str) -> Locator:
    """Return a table, the headings of which are one of their own, by its class; it has a name."""
    table = page.page.locator(f".boneviz-explorer .dt-scroll-body table.boneviz-{name}")
    expect(table).to_have_role("grid")
    expect(table).to_have_accessible_name(label)
    return table


def into(page: NotebookPage, table: Locator) -> None:
    """Press the tab key until a row of a table has the keys."""
    table.evaluate("(t) => t.closest('.dt-container').querySelector('[tabindex]').focus()")
    for _ in range(40):
        if table.evaluate("(t) => t.tBodies[0].contains(document.activeElement)"):
            return
        page.page.keyboard.press("Tab")
    raise AssertionError("no row of the table can be reached by the tab key")


def test_patients_regions_and_points_open_without_a_mouse(notebook: Open) -> None:
    page = notebook([EXPLORE], width=1360, height=1400)
    page.wait_drawn(seconds=120)
    explorer, keyboard = page.page.locator(".boneviz-explorer"), page.page.keyboard
    case_ids = asked(page, "list(explorer.state.case_ids)")
    cells = page.page.evaluate("() => window.jupyterapp.shell.currentWidget.content.widgets.length")

    into(page, grid(page, "patients", "Patients"))
    assert focused(page).startswith(case_ids[0])
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    keyboard.press("ArrowUp")
    assert focused(page).startswith(case_ids[1])
    keyboard.press("End")
    assert focused(page).startswith(case_ids[-1])
    keyboard.press("ArrowDown")  # there is no row below
    keyboard.press("x")  # would cut the notebook's cell
    assert focused(page).startswith(case_ids[-1])
    assert shown(page) == case_ids[0], "arrows alone open nothing"
    keyboard.press("Enter")
    opens(page, case_ids[-1])
    assert cells == page.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.content.widgets.length"
    )

    explorer.get_by_role("tab", name="Regions").click()
    regions = grid(page, "atlas", "Regions of this patient and pair")
    expect(regions.locator("tbody tr[tabindex='0']")).to_have_count(1, timeout=20_000)
    into(page, regions)
    keyboard.press("ArrowDown")
    number = int(focused(page).split()[0])
    keyboard.press("Enter")
    page.until(lambda: asked(page, "explorer.state.region") == number, seconds=30)
    keyboard.press("ArrowUp")
    assert int(focused(page).split()[0]) != number

    explorer.get_by_role("tab", name="One pair").click()
    into(page, grid(page, "strip-table", "Patients of this pair"))
    keyboard.press("Home")
    who = focused(page).split()[0]
    if who == shown(page):
        keyboard.press("ArrowDown")
        who = focused(page).split()[0]
    keyboard.press(" ")
    opens(page, who)
