"""What is on the page is of one patient: of the one whose name stands there, coarse or whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from .patient import READERS
from .stage import COLOURS, SHOW, Open, edge_hits, near, opened, patch, planes_only

pytestmark = pytest.mark.browser


def test_one_patients_contours_never_lie_on_anothers_images(notebook: Open) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)
    page.run(
        "from dataclasses import replace\n"
        "import numpy as np\n"
        "from boneviz.volume import Volume\n"
        "old = v._pieces\n"
        "v._send_pieces, send = (lambda: None), v._send_pieces\n"
        "clean = patient('P002')\n"
        "none = Volume(np.zeros(clean.ct.grid.shape, bool), clean.ct.grid, 'label')\n"
        "v.show(replace(clean, masks={r: none for r in READERS}), styles())\n"
        # the kernel is slow, and a piece of the patient before comes late
        "for p in old:\n"
        "    v.send({'kind': 'piece', 'serial': p.serial, 'volume': p.volume,\n"
        "            'offset': p.offset}, buffers=[p.packed.result()])\n"
    )
    page.until(lambda: stage.text("patient") == "P002")
    page.page.wait_for_timeout(500)  # for the late pieces, were they taken
    assert stage.text("message") == "Loading 0 %"
    # nothing beside the new name is of the patient before
    for name in ("position", "hu", "suv", "yes"):
        assert stage.text(f"readout-{name}") == "\u2013"
    assert page.viewer().locator(".bv-reader").count() == 0
    assert page.viewer().locator(".bv-caption").all_inner_texts() == [""] * 4
    page.page.wait_for_timeout(700)  # the spoken line would follow now
    assert page.viewer().locator(".bv-spoken").inner_text() == ""
    image = stage.pixels()
    assert near(image, COLOURS["Expert A"]) == near(image, COLOURS["Expert B"]) == 0
    assert patch(image, stage.at("axial", 40, -20), 40).max() < 16
    page.run("send()")
    page.wait_drawn(serial=2)
    image = planes_only(stage, stage.pixels())
    assert max(near(image, colour) for colour in COLOURS.values()) == 0
    # 20 mm to the right and to the front: 28.3 mm from the middle, and off the crosshair
    assert patch(image, stage.at("axial", 20, 20), 1).mean() == pytest.approx(241, abs=4)


def test_a_large_case_is_drawn_coarse_first_and_says_so(notebook: Open, tmp_path: Path) -> None:
    page, stage = opened(notebook, "v.mode = 'ct'\n" + SHOW)
    whole = stage.pixels()
    assert page.viewer().get_attribute("data-coarse") is None
    page.run(
        "import time\n"
        "from pathlib import Path\n"
        "from boneviz.show import packing\n"
        "packing.COARSE_FROM, packing.COARSE_MOST, packed = 100_000, 70_000, packing.pack\n"
        # the kernel sends nothing more, and hears nothing, until the test says so
        "def pack(array, *rest):\n"
        "    while array.size > 100_000 and array.dtype != 'u1' and not going.exists():\n"
        "        time.sleep(0.05)\n"
        "    return packed(array, *rest)\n"
        f"packing.pack, going = pack, Path({str(tmp_path / 'going')!r})\n"
        "v.show(patient('P002'), styles(), cursor_mm=(39, -19, 13.5))"
    )
    page.wait_drawn(serial=2)
    page.settle()
    assert page.viewer().get_attribute("data-coarse") == "true"
    assert stage.text("coarse").startswith("Coarse until all is here: ")
    coarse = stage.pixels()
    # bone, body and contours are where they are; no value is told of images that are not exact
    for place, seen in (((28, 0), 241), ((0, 0), 76)):
        assert patch(coarse, stage.at("axial", *place), 1).mean() == pytest.approx(seen, abs=12)
    on_edge, inside = edge_hits(stage, coarse, "Expert A")
    assert on_edge > 0.9
    assert inside <= 0.12
    assert [stage.text(f"readout-{name}") for name in ("hu", "suv")] == ["\u2013", "\u2013"]
    assert "Expert A" in stage.text("readout-yes")
    # it can be moved through
    before = stage.text("caption-axial")
    stage.locator.focus()
    page.page.keyboard.press("PageUp")
    page.until(lambda: stage.text("caption-axial") != before)
    page.page.keyboard.press("PageDown")
    (tmp_path / "going").touch()
    page.until(lambda: page.viewer().get_attribute("data-coarse") is None)
    page.settle()
    page.until(lambda: stage.text("readout-hu") != "\u2013")
    assert page.viewer().get_by_test_id("coarse").is_hidden()
    # the same, but for the ring about what has the focus and the edges of letters
    assert np.abs(stage.pixels() - whole)[4:-4, 4:-4].max() <= 2
    assert np.abs(coarse - whole)[4:-4, 4:-4].max() > 20


@pytest.mark.parametrize("cursor_mm", ["39.0, -19.0, 13.5", "-28.0, 0.0, -40.0"])
def test_moves_while_the_kernel_is_busy_stay_with_their_patient(
    notebook: Open, cursor_mm: str
) -> None:
    page, stage = opened(notebook)
    mouse = page.page.mouse
    mouse.move(*stage.on_page("axial", 0, 0))
    mouse.wheel(0, -100)  # the first that Python hears of this page
    page.until(lambda: page.output("print(v.cursor_mm[2])").strip() == "16.5")
    # the kernel is busy: what the page says waits until another patient has been shown
    page.run("late = []\nv.comm.on_msg(late.append)")
    for _ in range(5):
        mouse.wheel(0, -100)
        page.page.wait_for_timeout(80)
    page.viewer().get_by_test_id("reader-2").click()
    page.settle()
    assert stage.text("caption-axial") == "Axial  S 31.5 mm  43/64"
    assert page.viewer().get_by_test_id("reader-2").get_attribute("aria-pressed") == "false"
    page.until(lambda: page.output("print('visible' in str(late))").strip() == "True")
    page.run(
        "from dataclasses import replace\n"
        "case = patient('P002')\n"
        "left = {r: m for r, m in case.masks.items() if r != READERS[0]}\n"
        f"v.show(replace(case, masks=left), styles(READERS[1:]), cursor_mm=[{cursor_mm}])\n"
        "heard = []\n"
        "v.observe(lambda c: heard.append(c['new']), names=['cursor_mm', 'visible'])\n"
        "v.comm.on_msg(v._handle_msg)\n"
        "for message in late:\n"
        "    v._handle_msg(message)"
    )
    page.wait_drawn(serial=2)
    asked = page.output("print(v.cursor_mm, v.visible, heard)").strip()
    names = [reader.name for reader in READERS[1:]]
    assert asked == f"[{cursor_mm}] {names} []"
    x, y, z = (float(v) for v in cursor_mm.split(","))
    sides = f"{'R' if x > 0 else 'L'} {abs(x):.1f}  {'A' if y >= 0 else 'P'} {abs(y):.1f}"
    assert stage.text("readout-position") == f"{sides}  {'S' if z > 0 else 'I'} {abs(z):.1f}"
    pressed = [
        page.viewer().get_by_test_id(f"reader-{n}").get_attribute("aria-pressed") for n in (1, 2, 3)
    ]
    assert pressed == ["true"] * 3
