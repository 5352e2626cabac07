"""Where voxels lie and what they measure, on grids worked by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from small import STRAIGHT, affine_of

from boneviz.errors import GridError, InputError
from boneviz.volume import Grid, Volume


@dataclass(frozen=True)
class GridCase:
    name: str
    affine: np.ndarray
    spacing_mm: tuple[float, float, float]
    voxel_ml: float
    orientation: str
    straight: bool


GRIDS = (
    # 2 * 3 * 4 = 24 mm3 = 0.024 mL
    GridCase("straight", affine_of((2, 0, 0), (0, 3, 0), (0, 0, 4)), (2, 3, 4), 0.024, "RAS", True),
    GridCase(
        "flipped", affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 4)), (2, 3, 4), 0.024, "LPS", True
    ),
    # the first array axis runs to the front, the second to the head, the third to the right
    GridCase("permuted", affine_of((0, 2, 0), (0, 0, 3), (4, 0, 0)), (2, 3, 4), 0.024, "ASR", True),
    # 5 * 1.5 * 0.5 = 3.75 mm3
    GridCase(
        "permuted and flipped",
        affine_of((0, 0, -5), (-1.5, 0, 0), (0, 0.5, 0)),
        (5, 1.5, 0.5),
        0.00375,
        "ILA",
        True,
    ),
    # cos 0.8, sin 0.6: 5 * (0.8, 0.6) and 10 * (-0.6, 0.8); 5 * 10 * 2 = 100 mm3
    GridCase("oblique", affine_of((4, 3, 0), (-6, 8, 0), (0, 0, 2)), (5, 10, 2), 0.1, "RAS", False),
    # gantry tilt: |(0, 3, 4)| = 5, but the voxel's volume stays base times height, 2 * 3 * 4
    GridCase("sheared", affine_of((2, 0, 0), (0, 3, 0), (0, 3, 4)), (2, 3, 5), 0.024, "RAS", False),
)


@pytest.mark.parametrize("case", GRIDS, ids=lambda case: case.name)
def test_a_grid_knows_its_spacing_volume_and_orientation(case: GridCase) -> None:
    grid = Grid((5, 4, 3), case.affine)
    assert grid.spacing_mm == pytest.approx(case.spacing_mm)
    assert grid.voxel_volume_ml == pytest.approx(case.voxel_ml)
    assert grid.orientation == case.orientation
    assert grid.is_straight is case.straight


def test_positions_on_an_oblique_grid() -> None:
    # x = 10 + 4*1 - 6*2 = 2;  y = -20 + 3*1 + 8*2 = -1;  z = 30 + 2*3 = 36
    grid = Grid((4, 5, 6), affine_of((4, 3, 0), (-6, 8, 0), (0, 0, 2), origin=(10, -20, 30)))
    assert grid.to_mm((1, 2, 3)) == pytest.approx([2, -1, 36])
    assert grid.to_index((2, -1, 36)) == pytest.approx([1, 2, 3])
    # many at once, and half a voxel: half of the first column further on
    assert grid.to_mm([[0, 0, 0], [0.5, 0, 0]]) == pytest.approx(
        np.array([[10, -20, 30], [12, -18.5, 30]])
    )


def test_corners_are_voxel_centres() -> None:
    # 5 voxels of 2 mm from 10: centres 10 to 18; 4 of 3 mm from -20: to -11; 3 of 4 mm from 30: 38
    corners = STRAIGHT.corners_mm()
    assert corners.shape == (8, 3)
    assert corners.min(axis=0) == pytest.approx([10, -20, 30])
    assert corners.max(axis=0) == pytest.approx([18, -11, 38])
    assert len({tuple(corner) for corner in corners.tolist()}) == 8


finite = st.floats(-1, 1, allow_nan=False)


@given(
    turn=arrays(np.float64, (3, 3), elements=finite),
    spacing=arrays(np.float64, 3, elements=st.floats(0.3, 8)),
    origin=arrays(np.float64, 3, elements=st.floats(-1000, 1000)),
    index=arrays(np.float64, (5, 3), elements=st.floats(-50, 600)),
)
def test_millimetres_and_indices_are_inverse(
    turn: np.ndarray, spacing: np.ndarray, origin: np.ndarray, index: np.ndarray
) -> None:
    # the orthogonal part of any matrix is a rotation (or a mirror), so that axes never coincide
    rotation = np.linalg.qr(turn + 2 * np.eye(3))[0]
    grid = Grid((4, 5, 6), affine_of(*(rotation * spacing).T, origin=origin))
    assert grid.to_index(grid.to_mm(index)) == pytest.approx(index, abs=1e-6)
    assert grid.voxel_volume_ml == pytest.approx(spacing.prod() / 1000)
    assert grid.spacing_mm == pytest.approx(tuple(spacing))


LONG = (101, 2, 2)


@pytest.mark.parametrize(
    ("name", "other", "expected"),
    [
        ("shift just inside", Grid.straight(LONG, (1, 1, 1), (0.009, 0, 0)), True),
        ("shift just outside", Grid.straight(LONG, (1, 1, 1), (0.011, 0, 0)), False),
        # the first corner agrees, the hundredth voxel is 100 * 0.00009 = 0.009 mm off
        ("spacing just inside", Grid.straight(LONG, (1.00009, 1, 1)), True),
        ("spacing just outside", Grid.straight(LONG, (1.00011, 1, 1)), False),
        # (0.006, 0.006, 0.006) is sqrt(3) * 0.006 = 0.0104 mm away: a distance, not per axis
        ("shift along a diagonal", Grid.straight(LONG, (1, 1, 1), (0.006,) * 3), False),
        ("another shape", Grid.straight((100, 2, 2), (1, 1, 1)), False),
    ],
)
def test_grids_match_within_a_hundredth_of_a_millimetre(
    name: str, other: Grid, expected: bool
) -> None:
    assert Grid.straight(LONG, (1, 1, 1)).matches(other) is expected, name


def test_the_tolerance_of_a_match_is_the_callers() -> None:
    grid, shifted = Grid.straight(LONG, (1, 1, 1)), Grid.straight(LONG, (1, 1, 1), (0.4, 0, 0))
    assert grid.matches(shifted, tolerance_mm=0.41)
    assert not grid.matches(shifted, tolerance_mm=0.39)


def test_straight_means_a_hundredth_of_a_millimetre_over_the_whole_grid() -> None:
    # the first axis climbs by 100 * 0.00009 = 0.009 mm and 100 * 0.00011 = 0.011 mm
    assert Grid(LONG, affine_of((1, 0.00009, 0), (0, 1, 0), (0, 0, 1))).is_straight
    assert not Grid(LONG, affine_of((1, 0.00011, 0), (0, 1, 0), (0, 0, 1))).is_straight


def test_a_grid_describes_itself_for_messages() -> None:
    assert STRAIGHT.describe() == "5x4x3 voxels of 2 x 3 x 4 mm from (10.0, -20.0, 30.0) mm, RAS"


NAN_AFFINE = np.diag([1.0, np.nan, 1.0, 1.0])
NO_DEPTH = affine_of((1, 0, 0), (0, 1, 0), (0, 0, 0))
TWO_COINCIDE = affine_of((1, 0, 0), (2, 0, 0), (0, 0, 3))
NEARLY_COINCIDE = affine_of((1, 0, 0), (1, 1e-8, 0), (0, 0, 3))
PROJECTIVE = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 1.0]])


IMPOSSIBLE_GRIDS = [
    ("no voxels", (0, 3, 4), np.eye(4), r"shape \(0, 3, 4\): expected three positive"),
    ("negative", (2, -3, 4), np.eye(4), r"shape \(2, -3, 4\)"),
    ("flat", (3, 4), np.eye(4), r"shape \(3, 4\): expected three"),
    ("four axes", (3, 4, 5, 2), np.eye(4), r"shape \(3, 4, 5, 2\): expected three"),
    ("part of a voxel", (2.7, 3, 4), np.eye(4), r"shape \(2\.7, 3, 4\)"),
    ("NaN", (2, 3, 4), NAN_AFFINE, "expected a finite 4 x 4 matrix"),
    ("3 x 3", (2, 3, 4), np.eye(3), "expected a finite 4 x 4 matrix"),
    ("projective", (2, 3, 4), PROJECTIVE, r"ends in \[0.0, 0.0, 0.5, 1.0\]: expected 0 0 0 1"),
    ("no depth", (2, 3, 4), NO_DEPTH, r"spacing \[1.0, 1.0, 0.0\] mm.*determinant 0"),
    ("axes coincide", (2, 3, 4), TWO_COINCIDE, "expected three independent axes"),
    ("axes nearly coincide", (2, 3, 4), NEARLY_COINCIDE, "expected three independent axes"),
]


@pytest.mark.parametrize(
    ("shape", "affine", "says"),
    [row[1:] for row in IMPOSSIBLE_GRIDS],
    ids=[row[0] for row in IMPOSSIBLE_GRIDS],
)
def test_impossible_grids_are_refused(
    shape: tuple[int, ...], affine: np.ndarray, says: str
) -> None:
    with pytest.raises(GridError, match=says):
        Grid(shape, affine)  # type: ignore[arg-type]


def test_a_straight_grid_needs_three_axes() -> None:
    with pytest.raises(GridError, match="expected three"):
        Grid.straight((2, 3), (1, 1, 1))


def test_a_grid_keeps_its_own_affine() -> None:
    affine = np.eye(4)
    grid = Grid((2, 3, 4), affine)
    affine[0, 3] = 99
    assert grid.affine_ras_mm[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine_ras_mm[0, 3] = 99


def test_a_volume_keeps_its_own_voxels() -> None:
    mine = np.zeros(STRAIGHT.shape, dtype=np.int16)
    volume = Volume(mine, STRAIGHT, "HU")
    mine[1, 2, 0] = 7
    assert volume.array[1, 2, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        volume.array[1, 2, 0] = 7
    assert mine.flags.writeable  # the caller's array is left as it was


@pytest.mark.parametrize("shape", [(17, 3, 40), (16, 16, 32), (1, 5, 2), (33, 1, 1)])
def test_voxels_in_the_order_of_nifti_are_copied_each_to_its_place(
    shape: tuple[int, int, int],
) -> None:
    mine = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    volume = Volume(np.asfortranarray(mine), Grid(shape, np.eye(4)), "HU")
    assert np.array_equal(volume.array, mine)
    assert volume.array.flags.c_contiguous
    turned = Volume(np.asfortranarray(mine)[::-1], Grid(shape, np.eye(4)), "HU")
    assert np.array_equal(turned.array, mine[::-1])


def test_a_read_only_view_of_a_writeable_array_is_copied_too() -> None:
    mine = np.zeros(STRAIGHT.shape, dtype=np.int16)
    view = mine.view()
    view.setflags(write=False)
    volume = Volume(view, STRAIGHT, "HU")
    mine[1, 2, 0] = 7
    assert volume.array[1, 2, 0] == 0


def filled(value: float, dtype: type = np.float32) -> np.ndarray:
    return np.full(STRAIGHT.shape, value, dtype=dtype)


def with_bad(*bad: float) -> np.ndarray:
    array = filled(0.5)
    array.flat[: len(bad)] = bad
    return array


IMPOSSIBLE_VOLUMES = [
    (
        "shape",
        np.zeros((5, 3, 4), np.float32),
        "HU",
        GridError,
        r"array of shape \(5, 3, 4\) on a grid of shape \(5, 4, 3\)",
    ),
    ("unit", filled(0), "SUV", InputError, "unit 'SUV': expected one of HU, SUVbw, counts, label"),
    ("label in bytes", filled(1, np.uint8), "label", InputError, "holds uint8: expected bool"),
    ("bool HU", filled(1, bool), "HU", InputError, "HU volume holds bool: expected numbers"),
    ("complex", filled(1, complex), "SUVbw", InputError, "holds complex128: expected numbers"),
    ("NaN", with_bad(np.nan, np.inf, -np.inf), "HU", InputError, "3 voxels of a HU volume are"),
    (
        "above one",
        with_bad(1.25, 0),
        "probability",
        InputError,
        "spans 0 to 1.25: expected 0 to 1",
    ),
    ("below zero", with_bad(-0.5), "probability", InputError, "spans -0.5 to 0.5"),
]


@pytest.mark.parametrize(
    ("array", "unit", "error", "says"),
    [row[1:] for row in IMPOSSIBLE_VOLUMES],
    ids=[row[0] for row in IMPOSSIBLE_VOLUMES],
)
def test_impossible_volumes_are_refused(
    array: np.ndarray, unit: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        Volume(array, STRAIGHT, unit)  # type: ignore[arg-type]


def test_millilitres_of_a_label() -> None:
    # 5 voxels of 2 * 3 * 4 = 24 mm3 are 120 mm3
    array = np.zeros(STRAIGHT.shape, dtype=bool)
    array[:, 1, 2] = True
    assert Volume(array, STRAIGHT, "label").volume_ml == pytest.approx(0.120)
    assert Volume(~array & array, STRAIGHT, "label").volume_ml == 0


def test_only_a_label_has_millilitres() -> None:
    with pytest.raises(InputError, match="volume_ml of a SUVbw volume: expected a label"):
        _ = Volume(filled(1), STRAIGHT, "SUVbw").volume_ml
