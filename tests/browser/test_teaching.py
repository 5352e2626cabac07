"""The teaching session in a real JupyterLab: nothing of a label before commitment, then everything.

The cohort has two patients of `browser.patient`; each expert's outline is noise of every other
voxel, drawn from a seed, in a box of 30 x 30 x 40 voxels: what is found of it in the socket's
frames cannot be there by chance. The page's own bits are those that it hands to the GPU.
"""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Locator, expect
from small import write_case

from boneviz.cohort import Cohort
from boneviz.ledger import Ledger
from boneviz.nifti import read_volume
from boneviz.palette import LEARNER, PAIRS, rgb_of
from boneviz.volume import Volume

from .harness import OUTPUT, Lab, NotebookPage
from .patient import READERS, SHAPE, SPACING_MM, grid, patient
from .stage import Open, Stage, near, patch

pytestmark = pytest.mark.browser

LEARNER_RGB = rgb_of(LEARNER)
FIRST_RGB, SECOND_RGB = (rgb_of(pair[0]) for pair in PAIRS[:2])
BOX = (slice(50, 80), slice(20, 50), slice(12, 52))
VOXEL_ML = float(np.prod(SPACING_MM)) / 1000
SHOW = (
    "from IPython.display import display\n"
    "session = boneviz.teach({root!r}, learner='Kim', folder={folder!r}, seed=1)\n"
    "with out:\n    display(session)"
)
# the bits that the page holds are those that it hands to the GPU, always the whole array
KEEP_BITS = """
const given = WebGL2RenderingContext.prototype.texSubImage3D;
WebGL2RenderingContext.prototype.texSubImage3D = function (...values) {
  const bytes = values.at(-1);
  if (bytes.length === VOXELS) window.bits = bytes;
  return given.apply(this, values);
};
""".replace("VOXELS", str(np.prod(SHAPE)))


def noise(seed: int) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[BOX] = np.random.default_rng(seed).random(mask[BOX].shape) < 0.5
    return mask


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    refs = []
    for n, who in enumerate(("P001", "P002")):
        case = patient(who)
        masks = {
            reader: Volume(noise(10 * n + k), case.ct.grid, "label")
            for k, reader in enumerate(READERS[:2])
        }
        refs.append(write_case(replace(case, masks=masks), tmp_path / "cohort"))
    Cohort("Lesson", tmp_path / "cohort", READERS[:2], tuple(refs), synthetic=True).save()
    return Cohort.open(tmp_path / "cohort")


def picture_of(data: str) -> NDArray[np.int16]:
    """Return the pixels of a picture in base64."""
    stream = io.BytesIO(base64.b64decode(data))
    return np.asarray(Image.open(stream).convert("RGB")).astype(np.int16)


def opened(
    notebook: Open, cohort: Cohort, folder: Path, **options: object
) -> tuple[NotebookPage, Stage]:
    cell = "import boneviz, ipywidgets, json\nout = ipywidgets.Output()\nout"
    page = notebook([cell], init_script=KEEP_BITS, **options)
    page.frames = []
    page.run(SHOW.format(root=str(cohort.root), folder=str(folder)))
    page.wait_drawn(serial=1)
    return page, Stage(page)


def blobs(frames: Iterable[bytes]) -> Iterable[bytes]:
    """Return every frame, and whatever is packed in it."""
    for frame in frames:
        yield frame
        for found in re.finditer(rb"\x1f\x8b\x08", frame):
            try:
                yield zlib.decompressobj(31).decompress(frame[found.start() :])
            except zlib.error:
                continue


def traces(frames: Iterable[bytes], mask: NDArray[np.bool_]) -> set[str]:
    """Say in which forms rows of a mask are in the frames: bytes of one bit, bits, positions."""
    row = mask[60, 30]
    rows = mask[60, 30:33].reshape(-1)
    positions = np.flatnonzero(mask)[1000:1006]
    exact = {
        "bits": [np.packbits(rows, bitorder=order).tobytes() for order in ("big", "little")],
        "positions": [positions.astype(kind).tobytes() for kind in ("<u4", "<i8", ">u4")],
        # with and without the space that Jupyter puts between the numbers of a list
        "text": [s.join(map(str, positions.tolist())).encode() for s in (",", ", ")],
        "names": [b"Expert A", b"Reader 1"],
    }
    found = set()
    for blob in blobs(frames):
        found |= {name for name, parts in exact.items() if any(part in blob for part in parts)}
        values = np.frombuffer(blob, np.uint8)
        for bit in range(8):
            if row.astype(np.uint8).tobytes() in (values >> bit & 1).tobytes():
                found.add("bytes")
    return found


def both(page: NotebookPage) -> tuple[list[int], list[int]]:
    """Return the positions that the page holds and those that the kernel holds."""
    here = page.page.evaluate(
        "() => { const found = []; window.bits.forEach((v, i) => { if (v & 1) found.push(i); });"
        " return found; }"
    )
    return here, json.loads(
        page.output("print(json.dumps(session.canvas.drawing.position.tolist()))")
    )


def agreed(page: NotebookPage) -> NDArray[np.bool_]:
    """Wait until page and kernel hold the same voxels, and return them."""

    def same() -> bool:
        here, there = both(page)
        return here == there

    page.until(same)
    page.settle()
    mask = np.zeros(SHAPE, dtype=bool)
    mask.reshape(-1)[both(page)[1]] = True
    return mask


def edge(stage: Stage, centre: tuple[float, float], radius: float) -> float:
    """Return on what share of a circle in the axial slice the learner's contour is seen."""
    image, hits = stage.pixels(), []
    for angle in np.deg2rad(np.arange(0, 360, 10)):
        place = centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)
        hits.append(near(patch(image, stage.at("axial", *place), 5), LEARNER_RGB, 40) > 0)
    return float(np.mean(hits))


def disc(centre: tuple[float, float, float], radius: float) -> NDArray[np.bool_]:
    """Return the voxels of a disc on the axial slice nearest to its centre."""
    x, y, z = grid().to_mm(np.moveaxis(np.indices(SHAPE), 0, -1)).transpose(3, 0, 1, 2)
    on_slice = np.abs(z - centre[2]) < SPACING_MM[2] / 2
    return on_slice & ((x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2)


def press(page: NotebookPage, name: str) -> None:
    page.viewer().get_by_test_id(name).click()
    page.settle()


def type_in(page: NotebookPage, name: str, text: str) -> None:
    page.viewer().get_by_test_id(name).fill(text)
    page.viewer().get_by_test_id(name).press("Enter")


def test_drawing_is_one_in_page_and_kernel_and_no_label_is_in_the_page(
    notebook: Open, cohort: Cohort, tmp_path: Path
) -> None:
    page, stage = opened(notebook, cohort, tmp_path / "kim")
    viewer, mouse, keyboard = page.viewer(), page.page.mouse, page.page.keyboard
    assert stage.text("drawn") == "Nothing drawn"
    assert viewer.get_by_test_id("draw-undo").is_disabled()
    page.run("session.canvas.cursor_mm = [0.0, 0.0, 13.5]; session.canvas.mode = 'ct'")
    page.until(lambda: stage.text("caption-axial").startswith("Axial  S 13.5 mm"))

    # a stroke is seen before the mouse is let go, and before the kernel knows of it
    keyboard.press("Escape")
    press(page, "tool-brush")
    type_in(page, "draw-radius", "9")
    mouse.move(*stage.on_page("axial", -45, 20))
    mouse.down()
    page.settle()
    assert edge(stage, (-45, 20), 9) > 0.9
    assert page.output("print(session.canvas.drawing.n_voxels)").strip() == "0"
    mouse.move(*stage.on_page("axial", -20, 20), steps=4)
    mouse.up()
    stroke = agreed(page)
    ends = disc((-45, 20, 13.5), 8) | disc((-20, 20, 13.5), 8)
    assert stroke[ends].all()
    assert not stroke[..., :36].any()
    assert not stroke[..., 37:].any()
    # a capsule of 25 mm between two half discs of 9 mm, one slice of 3 mm; its rim passes through
    # the middles of a row of voxels, of which there are 14
    assert stroke.sum() * VOXEL_ML == pytest.approx((25 * 18 + np.pi * 81) * 3e-3, rel=0.1)
    assert stage.text("drawn") == f"Drawn {stroke.sum() * VOXEL_ML:.2f} mL"

    press(page, "tool-erase")
    mouse.click(*stage.on_page("axial", -45, 20))
    erased = agreed(page)
    assert not erased[disc((-45, 20, 13.5), 8.9)].any()
    assert erased[disc((-20, 20, 13.5), 8)].all()
    assert edge(stage, (-45, 20), 9) < 0.6

    # from SUV 4 on: 0.4 + 9 exp(-r^2 / 128) = 4 at r = 10.8 mm
    press(page, "tool-fill")
    type_in(page, "draw-suv", "4")
    mouse.click(*stage.on_page("axial", 40, -20))
    page.until(lambda: agreed(page).sum() > erased.sum())
    filled = agreed(page)
    radius = (128 * np.log(9 / 3.6)) ** 0.5
    fill_ml = (filled.sum() - erased.sum()) * VOXEL_ML
    assert fill_ml == pytest.approx(4 / 3 * np.pi * radius**3 / 1000, rel=0.05)
    assert edge(stage, (40, -20), (radius**2 - 1.5**2) ** 0.5) > 0.9
    page.keep("teaching-draw", page.page.locator(".boneviz-teaching"))
    mouse.click(*stage.on_page("axial", 0, 60))
    page.until(lambda: "SUV 0.40 there" in stage.text("drawn"))

    stage.locator.focus()
    for key, expected in (
        ("z", erased),
        ("z", stroke),
        ("y", erased),
        ("y", filled),
        ("z", erased),
    ):
        keyboard.press(key)
        page.until(lambda wanted=expected: np.array_equal(agreed(page), wanted))
    assert edge(stage, (40, -20), radius) < 0.3

    # without a mouse: a ball at the crosshair, one millimetre smaller
    for key in ("b", "[", "d", "Enter"):
        keyboard.press(key)
    page.until(lambda: agreed(page).sum() > erased.sum())
    ball = agreed(page) & ~erased
    assert ball.sum() * VOXEL_ML == pytest.approx(4 / 3 * np.pi * 8**3 / 1000, rel=0.1)
    # what was drawn elsewhere comes into the page too
    page.run(
        "session.canvas._handle_custom_msg({'kind': 'draw', 'serial': 1, 'page': 'other',"
        " 'number': 1, 'what': 'undo'}, [])"
    )
    page.until(lambda: np.array_equal(agreed(page), erased))

    assert page.frames
    assert len(b"".join(blobs(page.frames))) > 1_000_000  # CT and PET are among them
    for n in range(2):
        assert traces(page.frames, noise(n)) == set()


def test_commit_shows_both_experts_and_keeps_the_drawing(
    notebook: Open, cohort: Cohort, tmp_path: Path
) -> None:
    page, stage = opened(notebook, cohort, tmp_path / "kim", width=960, dark=True)
    viewer, keyboard = page.viewer(), page.page.keyboard
    whole = page.page.locator(".boneviz-teaching")

    def button(name: str) -> Locator:
        return whole.get_by_role("button", name=name, exact=True)

    first = page.output("print(session._case.case_id)").strip()
    masks = [noise(10 * int(first == "P002") + k) for k in range(2)]

    press(page, "tool-brush")
    press(page, "reach-ball")
    keyboard.press("Escape")
    page.page.mouse.click(*stage.on_page("axial", -30, 10))
    drawn = agreed(page)
    expect(button("Next case")).to_be_hidden()
    button("Commit").click()
    expect(whole.get_by_text(f"You drew {drawn.sum() * VOXEL_ML:.2f} mL")).to_be_visible()
    page.keep("teaching-sure", whole)
    button("Commit for good").press("Enter")
    page.wait_drawn(serial=2)
    expect(whole.locator("caption").first).to_have_text("This case")
    assert stage.text("reader-1").startswith("Reader 1")
    assert stage.text("reader-3").startswith("Kim")
    assert viewer.get_by_test_id("drawbar").is_hidden()
    page.keep("teaching-experts", whole)
    image = stage.pixels()
    assert min(near(image, colour) for colour in (FIRST_RGB, SECOND_RGB)) > 100
    # the search that found nothing before finds what is there now
    page.until(lambda: all("bytes" in traces(page.frames or [], mask) for mask in masks))

    rows = whole.locator("table").first.locator("tbody tr")
    expect(rows).to_have_count(2)
    assert "of 1" in rows.first.inner_text()
    assert read_volume(tmp_path / "kim" / f"{first}.nii.gz", "label").array.sum() == drawn.sum()
    rows_kept = Ledger.open(tmp_path / "kim" / "ledger.jsonl").rows
    assert [row.payload["event"] for row in rows_kept] == ["start", "commit"]
    # a difference is gone to; the views beside contours compare expert and learner
    places = whole.get_by_label("Where you differ")
    assert "Reader 2: missed lesion" in places.locator("option").first.inner_text().replace(
        "\xa0", " "
    )
    before = stage.text("readout-position")
    places.select_option(index=2)
    page.until(lambda: stage.text("readout-position") != before)
    press(page, "view-error")
    assert "missed: only Reader 1" in stage.text("meanings")
    page.keep("teaching-error", viewer)
    press(page, "view-readers")

    page.frames = []
    button("Next case").click()
    page.wait_drawn(serial=3)
    assert stage.text("patient") == ("P002" if first == "P001" else "P001")
    assert stage.text("drawn") == "Nothing drawn"
    assert viewer.locator(".bv-reader").all_inner_texts() == ["Kim\n1"]
    image = stage.pixels()
    assert near(image, FIRST_RGB) < 20
    for mask in (noise(0), noise(1), noise(10), noise(11)):
        assert traces(page.frames, mask) <= {"names"}  # of the case before: its table stays
    names = whole.evaluate(
        """(root) => [...root.querySelectorAll('button, input, select, [role]')].map((e) =>
          e.getAttribute('aria-label') || e.labels?.[0]?.textContent || e.textContent || e.title ||
          (e.hasAttribute('aria-live') || e.getAttribute('role') === 'status' ? 'live' : ''))"""
    )
    assert len(names) > 30
    assert all(name.strip() for name in names)
    assert whole.evaluate("(e) => e.scrollWidth <= e.clientWidth + 1")
    page.keep("teaching-next", whole)


def test_the_notebooks_file_holds_no_label_before_commitment_and_then_the_last_picture(
    notebook: Open, cohort: Cohort, tmp_path: Path, lab: Lab
) -> None:
    teach = f"boneviz.teach({str(cohort.root)!r}, learner='Kim', folder={str(tmp_path / 'kim')!r})"
    page = notebook([f"import boneviz\nsession = {teach}\nsession"], width=1100)
    page.wait_drawn(serial=1)
    stage, whole = Stage(page), page.page.locator(".boneviz-teaching")
    still = page.page.locator(".boneviz-still")
    expect(still).to_have_count(1)
    expect(still).to_be_hidden()
    file = lab.notebooks / page.page.url.split("/tree/")[1].split("?")[0]
    first = page.output("print(session._case.case_id)").strip()
    masks = [noise(10 * int(first == "P002") + k) for k in range(2)]
    experts = (FIRST_RGB, SECOND_RGB)

    def seen() -> str:
        """Return the still picture in the page, in base64."""
        return str(still.locator("img").get_attribute("src")).partition("base64,")[2]

    def drawn(*colours: tuple[int, int, int]) -> bool:
        return all(near(picture_of(seen()), colour, 0) > 20 for colour in colours)

    def kept(words: str) -> str:
        """Save once the still picture is of these words; return the file, its picture looked at."""
        page.until(lambda: words in str(still.text_content()), seconds=30)
        page.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
        page.until(lambda: seen() in file.read_text(encoding="utf-8"))
        text = file.read_text(encoding="utf-8")
        # as HTML and as a picture of its own, and no other
        assert set(re.findall(r"iVBORw0KGgo[\w+/=]+", text)) == {seen()}
        return text

    # the crosshair lies in both experts' noise: where they are drawn at all, they are here
    page.run("session.canvas.cursor_mm = [26.0, -10.0, 1.5]")
    page.until(lambda: stage.text("caption-axial").startswith("Axial  S 1.5 mm"))
    page.page.keyboard.press("Escape")
    press(page, "tool-brush")
    type_in(page, "draw-radius", "9")
    page.page.mouse.click(*stage.on_page("axial", 30, 10))
    page.until(lambda: drawn(LEARNER_RGB), seconds=30)
    text = kept("case 1 of 2, read by Kim")
    assert not re.search("Reader|Expert", text)
    assert traces([text.encode()], masks[0]) | traces([text.encode()], masks[1]) == set()
    assert not any(drawn(rgb) for rgb in experts)

    # committed, the same look finds both experts
    whole.get_by_role("button", name="Commit", exact=True).click()
    whole.get_by_role("button", name="Commit for good").click()
    page.wait_drawn(serial=2)
    text = kept("Reader 1: Dice")
    assert "This case" in text
    assert "Expert" not in text
    assert drawn(*experts)

    # and of the next case the file holds nothing again
    whole.get_by_role("button", name="Next case").click()
    page.wait_drawn(serial=3)
    text = kept("case 2 of 2")
    assert "The session so far, 1 case" in text
    assert "Reader 1: Dice" not in text
    assert not any(drawn(rgb) for rgb in experts)

    # opened without its kernel, the notebook shows this picture and table and no error
    lab.stop_kernels()
    fresh = page.page.context.new_page()
    fresh.goto(f"{lab.url}/lab/tree/{file.name}?token={lab.token}&reset")
    fresh.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
    again = fresh.locator(".boneviz-still")
    expect(again).to_be_visible(timeout=60_000)
    expect(again).to_contain_text("case 2 of 2")
    expect(again.locator("table tbody tr")).to_have_count(2)
    assert again.locator("img").evaluate("(img) => img.naturalWidth") > 900
    for words in ("Error displaying widget", "Loading widget"):
        for line in fresh.get_by_text(words).all():
            expect(line).to_be_hidden()
    fresh.screenshot(path=OUTPUT / "teaching-reopened.png")
    fresh.close()
