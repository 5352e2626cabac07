"""Planes on a regular lattice; everything else is refused with its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from segmade import AXIAL, OBLIQUE, normal_of

from boneviz.errors import GridError
from boneviz.framelattice import Planes, lattice


def planes(mm: Sequence[float], *, orientation: Sequence[float] = AXIAL) -> Planes:
    """Return planes of 6 x 4 pixels, 2 mm between columns, 3 mm between rows."""
    positions = np.array([-10.0, -20.0, 30.0]) + np.outer(mm, normal_of(orientation))
    return Planes(positions, orientation, (3.0, 2.0), rows=4, columns=6)


def test_axes_are_columns_rows_slices_in_ras() -> None:
    grid, slices = lattice(planes([0, 5, 10]), frame_of_reference_uid="1.2")
    # LPS (-10, -20, 30) is RAS (10, 20, 30); columns grow towards L, rows towards P
    expected = [[-2, 0, 0, 10], [0, -3, 0, 20], [0, 0, 5, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(grid.affine_ras_mm, expected)
    assert grid.shape == (6, 4, 3)
    assert grid.frame_of_reference_uid == "1.2"
    assert slices.tolist() == [0, 1, 2]


def test_frames_come_in_any_order_and_share_planes() -> None:
    # two segments: frames at 10, 0 and 5 mm, then again at 10 and 0
    grid, slices = lattice(planes([10, 0, 5, 10.001, 0]))
    assert slices.tolist() == [2, 0, 1, 2, 0]
    assert grid.affine_ras_mm[2, 3] == 30


def test_an_oblique_stack_grows_along_its_normal() -> None:
    grid, _ = lattice(planes([5, 0], orientation=OBLIQUE))
    # (0.8 0.6 0) x (-0.36 0.48 0.8) = (0.48 -0.64 0.6); in RAS times 5: (-2.4, 3.2, 3)
    np.testing.assert_allclose(grid.affine_ras_mm[:3, 2], [-2.4, 3.2, 3.0], atol=1e-9)


@pytest.mark.parametrize(
    ("mm", "step_mm", "slices", "spacing_mm"),
    [
        # gaps 5 and 10: the smallest is the step
        ([0, 5, 15], None, [0, 1, 3], 5.0),
        # gaps 10 and 15 share 5, which only the file can say
        ([0, 10, 25], 5.0, [0, 2, 5], 5.0),
        # equal gaps of 15 on slices of 5
        ([0, 15, 30], 5.0, [0, 3, 6], 5.0),
        # positions decide: what is stated fits none of them
        ([0, 5, 10], 3.0, [0, 1, 2], 5.0),
        ([0, 5, 10], 20.0, [0, 1, 2], 5.0),
        # a stated distance that was rounded: 100 slices are 127 mm, not 130
        ([0, 127], 1.3, [0, 98], 127 / 98),
    ],
)
def test_planes_may_be_left_out(
    mm: list[float], step_mm: float | None, slices: list[int], spacing_mm: float
) -> None:
    grid, found = lattice(replace(planes(mm), step_mm=step_mm))
    assert found.tolist() == slices
    assert grid.shape[2] == slices[-1] + 1
    assert grid.spacing_mm[2] == pytest.approx(spacing_mm)


@pytest.mark.parametrize(
    ("step_mm", "thickness_mm", "expected"), [(4.0, 9.0, 4.0), (None, 9.0, 9.0)]
)
def test_one_plane_is_as_thick_as_stated(
    step_mm: float | None, thickness_mm: float, expected: float
) -> None:
    grid, _ = lattice(replace(planes([0]), step_mm=step_mm, thickness_mm=thickness_mm))
    assert grid.spacing_mm[2] == expected


def shifted(mm: Sequence[float], by: Sequence[float]) -> Planes:
    at = planes(mm)
    positions = at.positions_lps_mm.copy()
    positions[:, 0] += by
    return replace(at, positions_lps_mm=positions)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (planes([0]), r"SpacingBetweenSlices \(0018,0088\) nor SliceThickness"),
        (planes([0, 5, 12]), r"from 5\.000 to 7\.000 mm, of which 7\.000 mm is no multiple"),
        (planes([0, 5, 10.4]), r"from 5\.000 to 5\.400 mm"),
        # tan 14 degrees = 0.249: 5 mm up, 1.25 mm aside
        (shifted([0, 5, 10], [0, 1.25, 2.5]), r"frame 3 lies 2\.50 mm beside the line"),
        (
            replace(planes([0, 5]), orientation=(1, 0, 0, 1, 0, 0)),
            r"dot product of 1, expected 1, 1 and 0",
        ),
        (replace(planes([0, 5]), orientation=(2, 0, 0, 0, 1, 0)), r"lengths 2 and 1"),
        (replace(planes([0, 5]), pixel_mm=(0.0, 1.0)), r"PixelSpacing \(0028,0030\) is 0, 1 mm"),
        (planes([0, 1e9]), r"reaches 1e\+09 mm, at most 100000 mm"),
        # 50 m in steps of 0.02 mm are 2 500 001 slices of 24 pixels, which still fit
        (
            replace(planes([0, 0.02, 50000]), rows=60000),
            r"6 x 60000 pixels on 2500001 slices, at most 1073741824",
        ),
    ],
)
def test_no_regular_grid_is_refused(given: Planes, message: str) -> None:
    with pytest.raises(GridError, match=message):
        lattice(given)
