"""What is closed leaves nothing in page and kernel: viewers, and ten explorers after each other."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .harness import NotebookPage
from .stage import NO_WEBGL, Open, opened

pytestmark = pytest.mark.browser

WATCH = """
window.__opened = [];
const given = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  const context = given.call(this, kind, ...rest);
  if (kind === 'webgl2' && context) window.__opened.push(new WeakRef(context));
  return context;
};
const parts = ".bv-root, .bk-bar, .js-plotly-plot";
window.__parts = new Map();
new MutationObserver(() => {
  for (const part of document.querySelectorAll(parts)) {
    if (part.dataset.part) continue;
    part.dataset.part = window.__parts.size;
    window.__parts.set(part.dataset.part, new WeakRef(part));
  }
}).observe(document, {subtree: true, childList: true});
"""
SETUP = """
import sys; sys.path.insert(0, "tests")
import gc, json, tempfile, threading
from pathlib import Path
import ipywidgets, ipywidgets.widgets.widget as every
from IPython.display import display
from small import limb, write_tiny_cohort
from test_readings import give_predictions
from boneviz import explore
from boneviz.show.explorer import Explorer
from boneviz.show.viewer import SliceViewer
cohort = write_tiny_cohort(Path(tempfile.mkdtemp()) / "tiny", [limb("P01"), limb("P02")])
give_predictions(cohort)
out = ipywidgets.Output()
def another():
    global explorer
    explorer = explore(cohort)
    with out:
        display(explorer)
def close():
    global explorer
    explorer.close()
    del explorer
    out.clear_output()
def left():
    gc.collect()
    alive = [type(o) for o in gc.get_objects() if isinstance(o, (Explorer, SliceViewer))]
    threads = [t.name for t in threading.enumerate() if "boneviz" in t.name]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return json.dumps({"widgets": len(every._instances), "alive": len(alive),
                       "threads": len(threads), "mb": pages * 4096 / 2**20})
out"""


def left(page: NotebookPage) -> dict[str, Any]:
    """Count what is there now, in kernel and page, once all that was let go is collected."""
    session = page.page.context.new_cdp_session(page.page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    session.detach()
    parts = (
        "() => [...window.__parts.values()].map((held) => held.deref()?.className).filter(Boolean)"
    )
    contexts = (
        "() => window.__opened.filter((held) => held.deref()?.isContextLost() === false).length"
    )
    return {
        **json.loads(page.output("print(left())")),
        "parts": page.page.evaluate(parts),
        "contexts": page.page.evaluate(contexts),
    }


def test_ten_explorers_leave_nothing_behind(notebook: Open) -> None:
    page = notebook([SETUP], init_script=WATCH)

    def open_and_close(times: int) -> dict[str, Any]:
        for _ in range(times):
            page.run("another()")
            page.wait_drawn(serial=1)
            page.run("close()")
            page.until(lambda: page.page.get_by_test_id("boneviz-viewer").count() == 0)
        page.page.wait_for_timeout(1500)  # for anything late
        return left(page)

    # the first few load plotly, and fonts, and fill caches
    before, after = open_and_close(3), open_and_close(7)
    assert page.page.evaluate("() => window.__opened.length") >= 10
    assert page.page.evaluate("() => window.__parts.size") >= 10 * 5  # slices, row, three figures
    # JupyterLab 4.6 itself keeps the empty frames of closed widgets, plain buttons' too
    for what in ("contexts", "alive", "threads"):
        assert after[what] == 0, (what, before, after)
    # plotly remembers the figure that it drew last
    assert after["parts"] in ([], ["boneviz-plot js-plotly-plot"]), (before, after)
    assert after["widgets"] == before["widgets"], (before, after)
    assert after["mb"] - before["mb"] < 25, (before, after)
    print(json.dumps({"before": before, "after": after}))


@pytest.mark.parametrize("script", ["", NO_WEBGL], ids=["WebGL2", "pictures"])
def test_a_closed_viewer_leaves_the_page_and_lets_its_data_go(notebook: Open, script: str) -> None:
    page, stage = opened(notebook, init_script=script)
    page.run(
        "import gc, threading, weakref\n"
        "array = weakref.ref(v._shown.case.ct.array)\n"
        "def left():\n"
        "    gc.collect()\n"
        "    names = [t.name for t in threading.enumerate()]\n"
        "    return array() is not None, any('boneviz-viewer' in n for n in names)"
    )
    assert page.output("print(left())").strip() == "(True, True)"
    # a move that Python has not been told of, and pictures that are on their way
    page.page.mouse.move(*stage.on_page("axial", 0, 0))
    page.page.mouse.wheel(0, -300)
    page.run("v.close()")
    page.until(lambda: page.page.get_by_test_id("boneviz-viewer").count() == 0)
    page.page.wait_for_timeout(1000)  # for anything late; errors in the console fail the test
    page.until(lambda: page.output("print(left())").strip() == "(False, False)")
    # another viewer works after it
    page.run("from IPython.display import display\nw = SliceViewer()")
    page.run("w.show(patient('P003'), styles())")
    assert page.output("print(w.serial, w.case_info['patient'])").strip() == "1 P003"


def test_closed_viewers_give_their_graphics_back(notebook: Open) -> None:
    page, _ = opened(
        notebook,
        "import ipywidgets\nfrom IPython.display import display\n"
        "case = patient()\nout = ipywidgets.Output()\n"
        "def again(close=True):\n"
        "    global v\n"
        "    if close:\n"
        "        v.close()\n"
        "    out.clear_output()\n"
        "    v = SliceViewer()\n"
        "    v.show(case, styles())\n"
        "    with out:\n"
        "        display(v)\n"
        "again(close=False)\nout",
    )
    said: list[str] = []
    page.page.on("console", lambda message: said.append(message.text))
    # Chromium keeps 16 contexts and says so when it takes one away
    for _ in range(18):
        page.run("again()")
        page.wait_drawn()
    assert page.page.get_by_test_id("boneviz-viewer").count() == 1
    assert not [line for line in said if "WebGL" in line]
    assert page.viewer().get_by_test_id("notice").is_hidden()
