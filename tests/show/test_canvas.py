"""A drawing in the page and in Python: the same voxels, whatever is drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import mask_of
from nodejs import run_node

from boneviz.case import Case, Reader
from boneviz.drawing import Drawing
from boneviz.errors import InputError
from boneviz.palette import styles_of
from boneviz.show.canvas import Canvas, check_sum, stepped
from boneviz.volume import Grid, Volume

KIM = Reader("Kim", "learner")
(STYLE,) = styles_of([KIM])
EXPERT = Reader("Expert A", "expert")
GRID = Grid.straight((6, 5, 4), (2.0, 3.0, 5.0), (10.0, -20.0, 30.0))
#   SUV along x at y = 2, z = 1; elsewhere 1
#   x:     0    1    2    3    4    5
#          1    4    6    4    1    9
SUV = np.ones(GRID.shape, dtype=np.float32)
SUV[:, 2, 1] = (1, 4, 6, 4, 1, 9)
CASE = Case(
    "P1",
    "",
    Volume(np.zeros(GRID.shape, dtype=np.int16), GRID, "HU"),
    Volume(SUV, GRID, "SUVbw"),
    {EXPERT: Volume(mask_of([(5, 4, 3)], GRID.shape), GRID, "label")},
)


def at(*index: float) -> list[float]:
    return GRID.to_mm(index).tolist()


def flat(*voxels: tuple[int, int, int]) -> list[int]:
    return sorted(int(np.ravel_multi_index(voxel, GRID.shape)) for voxel in voxels)


def brush(*points: list[float], erase: bool = False, radius: float = 1.0) -> dict[str, Any]:
    what = "erase" if erase else "brush"
    return {"what": what, "points_mm": list(points), "radius_mm": radius, "across": 2}


FILL = {"what": "fill", "seed_mm": at(2, 2, 1), "suv": 4.0, "within_mm": 50.0}


@pytest.fixture
def canvas(monkeypatch: pytest.MonkeyPatch) -> Iterator[Canvas]:
    kept: list[int] = []
    made = Canvas(on_drawn=lambda drawing: kept.append(drawing.n_voxels))
    sent: list[tuple[dict[str, Any], list[bytes]]] = []
    monkeypatch.setattr(made, "send", lambda content, buffers=None: sent.append((content, buffers)))
    made.sent, made.kept = sent, kept
    made.draw(CASE, STYLE, Drawing.blank(GRID))
    yield made
    made.close()


def tell(canvas: Canvas, step: dict[str, Any], **changes: Any) -> tuple[dict[str, Any], list[int]]:
    """Tell a step as a page does; return the answer and the positions in it."""
    canvas.sent.clear()
    message = {"kind": "draw", "serial": canvas.serial, "page": "p", "number": 7, **step, **changes}
    canvas._handle_custom_msg(message, [])
    ((answer, buffers),) = canvas.sent
    return answer, [int(v) for b in buffers for v in np.frombuffer(b, "<u4")]


PLAY = """
import {readFileSync} from 'node:fs';
import {Sheet, underBall} from './boneviz/show/front/draw.js';
const {lattice, strokes} = JSON.parse(readFileSync(0, 'utf8'));
const [x, y, z] = lattice.shape;
const sheet = new Sheet(lattice, new Uint8Array(x * y * z), new Uint8Array(x * z), 0, null);
const seen = strokes.map(({erase, radius, across, points}) => {
  for (const point of points) sheet.set(underBall(lattice, point, radius, across), !erase);
  return {voxels: sheet.voxels, check: sheet.check};
});
const drawn = [];
sheet.bits.forEach((bit, i) => { if (bit) drawn.push(i); });
console.log(JSON.stringify({seen, drawn, flat: [...sheet.flat]}));
"""


@pytest.mark.parametrize(
    ("shape", "spacing", "origin"),
    [
        ((31, 24, 17), (0.9765625, 0.9765625, 3.27), (-241.3, 17.7, -1023.45)),
        ((20, 21, 22), (4.07283, 4.07283, 3.0), (0.1, -0.2, 0.3)),
    ],
    ids=["thin", "coarse"],
)
def test_page_and_kernel_draw_the_same_voxels(
    shape: tuple[int, ...], spacing: tuple[float, ...], origin: tuple[float, ...]
) -> None:
    grid = Grid.straight(shape, spacing, origin)
    rng = np.random.default_rng(7)
    strokes = []
    for n in range(300):
        # beyond the grid too, on voxels, and just between them, where rounding decides
        index = rng.uniform(-3, np.array(shape) + 3, (rng.integers(1, 4), 3))
        if n % 3:
            index = np.rint(2 * index) / 2
        radius = float(rng.choice([0.3, *spacing, 2 * spacing[0], 7.5, rng.uniform(0.5, 15)]))
        across = [None, 0, 1, 2][rng.integers(4)]
        points = grid.to_mm(index).tolist()
        strokes.append(
            {"erase": bool(n % 4 == 3), "radius": radius, "across": across, "points": points}
        )
    lattice = {"shape": shape, "spacing": spacing, "origin": origin}
    given = json.dumps({"lattice": lattice, "strokes": strokes})
    page = json.loads(run_node("--input-type=module", "--eval", PLAY, given=given))
    drawing = Drawing.blank(grid)
    for n, (stroke, seen) in enumerate(zip(strokes, page["seen"], strict=True)):
        what = drawing.erase if stroke["erase"] else drawing.brush
        drawing = what(stroke["points"], radius_mm=stroke["radius"], across=stroke["across"])
        assert (drawing.n_voxels, check_sum(drawing)) == (seen["voxels"], seen["check"]), n
    assert drawing.position.tolist() == page["drawn"]
    assert len(page["drawn"]) > 300
    mask = drawing.mask.array
    np.testing.assert_array_equal(np.reshape(page["flat"], (shape[0], shape[2])), mask.any(axis=1))


def test_a_stroke_is_drawn_and_answered_without_its_voxels(canvas: Canvas) -> None:
    answer, sent = tell(canvas, brush(at(1, 1, 1), at(2, 1, 1)))
    assert canvas.drawing is not None
    assert canvas.drawing.position.tolist() == flat((1, 1, 1), (2, 1, 1))
    assert sent == []
    assert answer == {
        "kind": "drawn",
        "serial": 1,
        "page": "p",
        "number": 7,
        "voxels": 2,
        "check": sum(flat((1, 1, 1), (2, 1, 1))),
        "whole": False,
        "undo": True,
        "redo": False,
        "problem": "",
    }
    tell(canvas, brush(at(2, 1, 1), erase=True))
    assert canvas.drawing.position.tolist() == flat((1, 1, 1))
    assert canvas.kept == [2, 1]


def test_fill_undo_and_redo_send_what_changed(canvas: Canvas) -> None:
    tell(canvas, brush(at(2, 2, 1)))
    assert tell(canvas, FILL)[1] == flat((1, 2, 1), (3, 2, 1))
    answer, sent = tell(canvas, {"what": "undo"})
    assert (answer["voxels"], answer["redo"], sent) == (1, True, flat((1, 2, 1), (3, 2, 1)))
    assert tell(canvas, {"what": "redo"})[1] == flat((1, 2, 1), (3, 2, 1))
    answer, sent = tell(canvas, {"what": "whole"})
    assert answer["whole"] is True
    assert sent == flat((1, 2, 1), (2, 2, 1), (3, 2, 1))
    # slices as pictures are of the same drawing
    assert canvas.outline("Kim").array.reshape(-1).nonzero()[0].tolist() == sent


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        pytest.param({**FILL, "seed_mm": at(0, 0, 0)}, "SUV 1.00 there", id="a cold seed"),
        pytest.param({**FILL, "seed_mm": at(9, 0, 0)}, "outside the CT", id="beyond"),
        pytest.param(brush(at(1, 1, 1), radius=-1), "a radius of -1 mm", id="radius"),
        pytest.param({"what": "brush"}, "points_mm", id="half a step"),
        pytest.param({"what": "burn"}, "step 'burn': expected brush", id="unknown"),
        pytest.param({**brush(at(1, 1, 1)), "across": 3}, "axis 3", id="axis"),
    ],
)
def test_a_step_that_cannot_be_made_is_answered_with_the_reason(
    canvas: Canvas, step: dict[str, Any], problem: str
) -> None:
    tell(canvas, brush(at(1, 1, 1)))
    answer, sent = tell(canvas, step)
    assert problem in answer["problem"]
    assert (answer["voxels"], sent) == (1, [])
    assert canvas.kept == [1]


def test_counts_are_drawn_on_and_not_filled(canvas: Canvas) -> None:
    counts = replace(CASE, pet=Volume(SUV * 9000, GRID, "counts"), pet_origin=("no dose",))
    canvas.draw(counts, STYLE, Drawing.blank(GRID))
    pet = canvas.case_info["pet"]
    assert (pet["unit"], pet["origin"]) == ("counts", ["no dose"])
    answer, changed = tell(canvas, FILL)
    assert changed == []
    assert answer["problem"].startswith("fill by SUV in a volume of counts: expected SUVbw; draw")
    tell(canvas, brush(at(2, 2, 1)))
    assert canvas.drawing.n_voxels > 0


def test_what_cannot_be_kept_is_told(canvas: Canvas) -> None:
    def full(_: Drawing) -> None:
        raise OSError(28, "No space left on device", "draft.npz")

    canvas._on_drawn = full
    answer, _ = tell(canvas, brush(at(1, 1, 1)))
    assert "not kept on disk" in answer["problem"]
    assert "No space left on device: 'draft.npz'" in answer["problem"]
    assert answer["voxels"] == 1


def test_nobody_else_is_sent_while_it_is_drawn_on(canvas: Canvas) -> None:
    assert [reader["name"] for reader in canvas.case_info["readers"]] == ["Kim"]
    assert canvas.case_info["box"] is None
    assert canvas.case_info["draws"] == "Kim"
    assert all(not piece.volume.startswith("prob") for piece in canvas._pieces)
    assert canvas.outline("Kim").array.sum() == 0
    with pytest.raises(InputError, match="no reader 'Expert A'"):
        canvas.outline("Expert A")


def test_a_drawing_is_gone_on_with(canvas: Canvas) -> None:
    before = Drawing.of(Volume(mask_of([(2, 2, 1), (0, 0, 0)], GRID.shape), GRID, "label"))
    canvas.draw(CASE, STYLE, before)
    # SUV 6 there and 1 at the other voxel
    assert canvas.cursor_mm == at(2, 2, 1)
    tell(canvas, brush(at(1, 1, 1)))
    assert canvas.drawing is not None
    assert canvas.drawing.n_voxels == 3


def test_late_strokes_and_strokes_on_what_is_only_shown_are_dropped(canvas: Canvas) -> None:
    stroke = {"kind": "draw", "page": "p", "number": 1, **brush(at(1, 1, 1))}
    canvas.draw(CASE, STYLE, Drawing.blank(GRID))
    canvas.sent.clear()
    canvas._handle_custom_msg({**stroke, "serial": 1}, [])
    canvas.show(CASE, styles_of([EXPERT]))
    canvas._handle_custom_msg({**stroke, "serial": canvas.serial}, [])
    assert canvas.sent == []
    assert canvas.kept == []


def test_steps_by_name() -> None:
    blank = Drawing.blank(GRID)
    one = stepped(blank, brush(at(1, 1, 1)), CASE.pet)
    assert stepped(one, {"what": "whole"}, CASE.pet) is one
    assert stepped(stepped(one, {"what": "undo"}, CASE.pet), {"what": "redo"}, CASE.pet).n_voxels
    with pytest.raises(InputError, match="step None"):
        stepped(blank, {}, CASE.pet)
