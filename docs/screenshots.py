"""Take the pictures of the README from the explorer in a real browser: `make screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import sync_playwright

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

from tests.browser.harness import Lab, NotebookPage, launch_chromium  # noqa: E402

IMAGES = REPO / "docs" / "images"
# the patient whose slices are shown is the one picked here, the numbers are the cohort's
CELL = "import boneviz\nexplorer = boneviz.explore()\nexplorer.select({case!r})\nexplorer"


def take(lab: Lab, page: NotebookPage, case: str) -> None:
    """Save the explorer and its 3D scene."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(CELL.format(case=case))],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    nbformat.write(notebook, lab.notebooks / "pictures.ipynb")
    page.open("pictures.ipynb")
    page.run_all()
    page.wait_drawn()
    page.page.wait_for_timeout(5000)
    explorer = page.page.locator(".boneviz-explorer")
    scene = page.page.locator(".boneviz-explorer .js-plotly-plot").last
    for name, part in (("explorer", explorer), ("surfaces", scene)):
        page.scroll_to(part)
        page.page.wait_for_timeout(2500)
        path = IMAGES / f"{name}.png"
        part.screenshot(path=path)
        Image.open(path).convert("RGB").save(path, optimize=True)


def main() -> None:
    """Start JupyterLab and Chromium, take the pictures, stop both."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    lab = Lab()
    try:
        with sync_playwright() as playwright:
            browser = launch_chromium(playwright)
            context = browser.new_context(viewport={"width": 1360, "height": 2050})
            case = sys.argv[1] if len(sys.argv) > 1 else "P006"
            take(lab, NotebookPage(lab, context.new_page(), dark=False), case)
            browser.close()
    finally:
        lab.stop()


if __name__ == "__main__":
    main()
