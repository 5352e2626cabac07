"""Brush, eraser, fill and undo on anisotropic grids, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cases import SPACING_MM, VOXEL_ML, mask_of
from hypothesis import given, settings
from hypothesis import strategies as st
from small import STRAIGHT, turned_about_z, volume_of

from boneviz import drawing as drawing_module
from boneviz.drawing import Drawing
from boneviz.errors import InputError
from boneviz.volume import Grid, Volume

GRID = Grid.straight((6, 5, 4), SPACING_MM, (10, -20, 30))
BLANK = Drawing.blank(GRID)


def at(*index: float) -> tuple[float, ...]:
    """Return the place in mm of a voxel."""
    return tuple(GRID.to_mm(index).tolist())


def voxels(drawing: Drawing) -> list[tuple[int, ...]]:
    return [tuple(index) for index in np.argwhere(drawing.mask.array).tolist()]


def test_a_ball_by_hand() -> None:
    # voxels are 2 x 3 x 5 mm: 3 mm reach one neighbour along x (2 mm) and y (3 mm, as far as the
    # ball does), none along z (5 mm), and no diagonal (3.6 mm)
    drawn = BLANK.brush(at(2, 2, 2), radius_mm=3)
    assert voxels(drawn) == [(1, 2, 2), (2, 1, 2), (2, 2, 2), (2, 3, 2), (3, 2, 2)]
    assert drawn.volume_ml == pytest.approx(5 * VOXEL_ML)
    assert BLANK.n_voxels == 0


def test_a_ball_finer_than_voxels_draws_the_one_that_it_is_in() -> None:
    assert voxels(BLANK.brush(at(2.4, 1.7, 2.4), radius_mm=0.1)) == [(2, 2, 2)]


def test_a_disc_is_the_ball_on_one_slice() -> None:
    # 5 mm reach two voxels along x, one along y, one along z; hypot(4, 3) = 5 is as far as that
    ball = BLANK.brush(at(2, 2, 2), radius_mm=5)
    for across, place in ((0, 2), (1, 2), (2, 2)):
        disc = BLANK.brush(at(2, 2, 2), radius_mm=5, across=across)
        assert voxels(disc) == [v for v in voxels(ball) if v[across] == place]
    assert len(voxels(BLANK.brush(at(2, 2, 2), radius_mm=5, across=2))) == 5 + 2 * 5
    # centred 2 mm above its slice it is as wide as the ball is there: sqrt(5^2 - 2^2) = 4.6 mm
    above = BLANK.brush(at(2, 2, 2.4), radius_mm=5, across=2)
    assert len(voxels(above)) == 5 + 2 * 3
    assert ball.erase(at(2, 2, 2), radius_mm=5, across=2).n_voxels == ball.n_voxels - 15
    # the slice that a ball's centre lies in is not there
    assert BLANK.brush(at(2, 2, -0.6), radius_mm=20, across=2) is BLANK
    with pytest.raises(InputError, match="across axis 3: expected 0, 1, 2 or None"):
        BLANK.brush(at(2, 2, 2), radius_mm=5, across=3)


def test_what_lies_beyond_the_grid_is_left_out() -> None:
    # of the ball of 3 mm around a corner, two neighbours are there
    assert voxels(BLANK.brush(at(0, 0, 0), radius_mm=3)) == [(0, 0, 0), (0, 1, 0), (1, 0, 0)]
    # centres lie 2 mm beyond the corner, and far away
    assert voxels(BLANK.brush(at(-1, 0, 0), radius_mm=2)) == [(0, 0, 0)]
    assert BLANK.brush((1000, 0, 0), radius_mm=5) is BLANK


def test_a_stroke_is_one_step() -> None:
    drawn = BLANK.brush([at(0, 0, 0), at(2, 0, 0), at(0, 0, 0)], radius_mm=1)
    assert voxels(drawn) == [(0, 0, 0), (2, 0, 0)]
    assert voxels(drawn.undo()) == []


def test_the_eraser_takes_what_is_under_it() -> None:
    drawn = BLANK.brush(at(2, 2, 2), radius_mm=3).erase(at(1, 2, 2), radius_mm=2)
    # along x it reaches voxels 0 to 2
    assert voxels(drawn) == [(2, 1, 2), (2, 3, 2), (3, 2, 2)]
    assert drawn.erase(at(5, 4, 3), radius_mm=1) is drawn  # nothing there: no step


@pytest.mark.parametrize("degrees", [0, 10, 90])
def test_a_ball_is_round_on_any_grid(degrees: float) -> None:
    affine = np.eye(4)
    affine[:3, :3] = turned_about_z(degrees, (2, 3, 5)) @ np.diag([-1, 1, 1])
    affine[:3, 3] = (7, -3, 2)
    grid = Grid((15, 13, 9), affine)
    centre = grid.to_mm((7.3, 6.1, 4.4))
    drawn = Drawing.blank(grid).brush(centre, radius_mm=11)
    index = np.argwhere(np.ones(grid.shape, dtype=bool))
    near = np.linalg.norm(grid.to_mm(index) - centre, axis=1) <= 11
    assert voxels(drawn) == [tuple(i) for i in index[near].tolist()]


#   SUV along x at y = 2, z = 1; elsewhere 1
#   x:     0    1    2    3    4    5
#          1    4    6    4    1    9
#   and (4, 3, 2), corner to corner with (3, 2, 1), is 5
HOT = np.ones((6, 5, 4), dtype=np.float32)
HOT[:, 2, 1] = (1, 4, 6, 4, 1, 9)
HOT[4, 3, 2] = 5
PET = Volume(HOT, GRID, "SUVbw")


def test_fill_follows_what_is_connected() -> None:
    filled = BLANK.fill_above(4, seed_mm=at(2, 2, 1), within_mm=50, pet=PET)
    assert voxels(filled) == [(1, 2, 1), (2, 2, 1), (3, 2, 1), (4, 3, 2), (5, 2, 1)]
    # from 5 on the middle is alone
    assert voxels(BLANK.fill_above(5, seed_mm=at(2, 2, 1), within_mm=50, pet=PET)) == [(2, 2, 1)]


def test_fill_stays_within_its_radius() -> None:
    # 5 mm reach two voxels of 2 mm along x; the one at the corner is hypot(4, 3, 5) = 7.1 mm off,
    # and the way to voxel 5 leads over it
    filled = BLANK.fill_above(4, seed_mm=at(2, 2, 1), within_mm=5, pet=PET)
    assert voxels(filled) == [(1, 2, 1), (2, 2, 1), (3, 2, 1)]
    # 7 mm reach voxel 5, but not the way to it
    filled = BLANK.fill_above(4, seed_mm=at(2, 2, 1), within_mm=7, pet=PET)
    assert voxels(filled) == [(1, 2, 1), (2, 2, 1), (3, 2, 1)]


def test_fill_adds_to_what_is_drawn_and_is_one_step() -> None:
    drawn = BLANK.brush([at(2, 2, 1), at(0, 0, 0)], radius_mm=0.5)
    filled = drawn.fill_above(4, seed_mm=at(2, 2, 1), within_mm=5, pet=PET)
    assert voxels(filled) == [(0, 0, 0), (1, 2, 1), (2, 2, 1), (3, 2, 1)]
    assert voxels(filled.undo()) == voxels(drawn)


def test_fill_reads_a_coarser_pet_between_its_voxels() -> None:
    # PET of 4 mm along x: SUV 2 and 6 at 10 and 14 mm, so 4 half way at 12 mm
    pet = Volume(
        np.tile(np.array([2, 6], dtype=np.float32)[:, None, None], (1, 5, 4)),
        Grid.straight((2, 5, 4), (4, 3, 5), (10, -20, 30)),
        "SUVbw",
    )
    filled = BLANK.fill_above(4, seed_mm=at(2, 2, 1), within_mm=2.5, pet=pet)
    # x = 1 lies at 12 mm, x = 3 at 16 mm, at the PET's outer face, where its last value holds
    assert voxels(filled) == [(1, 2, 1), (2, 2, 1), (3, 2, 1)]


def test_undo_and_redo_walk_the_same_way() -> None:
    steps = [BLANK]
    for x in range(4):
        steps.append(steps[-1].brush(at(x, 2, 2), radius_mm=3))
    steps.append(steps[-1].erase(at(2, 2, 2), radius_mm=2))
    back = steps[-1]
    for expected in reversed(steps[:-1]):
        back = back.undo()
        assert voxels(back) == voxels(expected)
    assert back.undo() is back
    for expected in steps[1:]:
        back = back.redo()
        assert voxels(back) == voxels(expected)
    assert back.redo() is back
    # a new step leaves nothing to redo
    assert steps[-1].undo().brush(at(0, 0, 0), radius_mm=1).future == ()


def test_the_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing_module, "HISTORY_VOXELS", 7)
    drawn = BLANK
    for x in range(6):
        drawn = drawn.brush([at(x, 0, 0), at(x, 2, 0), at(x, 4, 0)], radius_mm=0.5)
    assert [step.size for step in drawn.past] == [3, 3]
    whole = drawn.brush(at(3, 2, 2), radius_mm=100)  # more than the limit in one step
    assert len(whole.past) == 1
    assert whole.n_voxels == 6 * 5 * 4
    assert voxels(whole.undo()) == voxels(drawn)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["brush", "erase", "undo", "redo"]),
        st.tuples(st.integers(-1, 6), st.integers(-1, 5), st.integers(-1, 4)),
        st.floats(0.5, 9),
    ),
    max_size=12,
)


@settings(max_examples=50)
@given(steps=STEPS)
def test_any_steps_equal_those_on_a_full_array(steps: list[tuple]) -> None:
    index = np.argwhere(np.ones(GRID.shape, dtype=bool))
    drawing, full, past, future = BLANK, np.zeros(GRID.shape, dtype=bool), [], []
    for what, centre, radius in steps:
        if what in ("brush", "erase"):
            away = np.linalg.norm(GRID.to_mm(index) - np.array(at(*centre)), axis=1)
            under = np.zeros(GRID.shape, dtype=bool)
            under[tuple(index[away <= radius].T)] = True
            changed = full | under if what == "brush" else full & ~under
            if not np.array_equal(changed, full):
                past, future, full = [*past, full], [], changed
            drawing = getattr(drawing, what)(at(*centre), radius_mm=radius)
        elif what == "undo":
            if past:
                future, full, past = [*future, full], past[-1], past[:-1]
            drawing = drawing.undo()
        else:
            if future:
                past, full, future = [*past, full], future[-1], future[:-1]
            drawing = drawing.redo()
        np.testing.assert_array_equal(drawing.mask.array, full)
        assert (np.diff(drawing.position) > 0).all()


def test_a_mask_and_back() -> None:
    mask = Volume(np.asfortranarray(mask_of([(1, 2, 3), (0, 4, 0)], GRID.shape)), GRID, "label")
    drawn = Drawing.of(mask)
    np.testing.assert_array_equal(drawn.mask.array, mask.array)
    assert drawn.past == ()
    assert BLANK.brush(at(0, 0, 0), radius_mm=1).finished().past == ()
    with pytest.raises(ValueError, match="read-only"):
        drawn.position[0] = 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        pytest.param(
            lambda: BLANK.brush(at(0, 0, 0), radius_mm=0), "radius of 0 mm: .* above 0", id="0 mm"
        ),
        pytest.param(
            lambda: BLANK.erase(at(0, 0, 0), radius_mm=float("inf")), "radius of inf", id="endless"
        ),
        pytest.param(
            lambda: BLANK.brush((1, 2), radius_mm=1), "three finite numbers", id="two numbers"
        ),
        pytest.param(
            lambda: BLANK.brush((1, 2, float("nan")), radius_mm=1), "three finite", id="NaN"
        ),
        pytest.param(
            lambda: BLANK.brush(np.zeros((0, 3)), radius_mm=1), "without points", id="no point"
        ),
        pytest.param(
            lambda: BLANK.fill_above(3, seed_mm=at(0, 0, 0), within_mm=9, pet=PET),
            r"fill from \(10\.0, -20\.0, 30\.0\) mm: SUV 1\.00 there, expected at least 3; click",
            id="cold",
        ),
        pytest.param(
            lambda: BLANK.fill_above(3, seed_mm=at(9, 0, 0), within_mm=9, pet=PET),
            "outside the CT",
            id="outside the CT",
        ),
        pytest.param(
            lambda: BLANK.fill_above(
                3,
                seed_mm=at(5, 4, 3),
                within_mm=9,
                pet=Volume(HOT[:2], Grid.straight((2, 5, 4), SPACING_MM, (10, -20, 30)), "SUVbw"),
            ),
            "outside the PET",
            id="outside the PET",
        ),
        pytest.param(
            lambda: BLANK.fill_above(
                3, seed_mm=at(0, 0, 0), within_mm=9, pet=Volume(HOT, GRID, "HU")
            ),
            "a volume of HU: expected SUVbw",
            id="a CT",
        ),
        pytest.param(
            lambda: BLANK.fill_above(float("nan"), seed_mm=at(0, 0, 0), within_mm=9, pet=PET),
            "SUV nan",
            id="from NaN",
        ),
    ],
)
def test_bad_input_is_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_counts_are_not_filled_by_suv() -> None:
    counts = volume_of(5, STRAIGHT, "counts")
    seed_mm = STRAIGHT.to_mm((1, 1, 1)).tolist()
    with pytest.raises(InputError, match=r"fill by SUV in a volume of counts: .*; draw with brush"):
        Drawing.blank(STRAIGHT).fill_above(2, seed_mm=seed_mm, within_mm=9, pet=counts)
