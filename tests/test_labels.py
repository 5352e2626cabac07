"""Labels on a case's grid: coinciding voxels are taken over, others only resampled if asked."""

from __future__ import annotations

import numpy as np
import pytest

from boneviz.errors import GridError, InputError
from boneviz.harmonise import to_ras
from boneviz.labels import on_grid, one_label
from boneviz.volume import Grid, Volume

CT = Grid.straight((6, 5, 4), (2, 3, 5), (10, 20, 30), frame_of_reference_uid="1.2")


def label(grid: Grid, *voxels: tuple[int, int, int]) -> Volume:
    array = np.zeros(grid.shape, dtype=bool)
    for voxel in voxels:
        array[voxel] = True
    return Volume(array, grid, "label")


def test_the_same_grid_is_left_as_it_is() -> None:
    laid = on_grid(label(CT, (1, 2, 3)), CT)
    assert (laid.how, laid.frame) == ("as it is", "same")
    # one voxel of 2 x 3 x 5 = 30 mm3
    assert (laid.before_ml, laid.after_ml) == pytest.approx((0.03, 0.03))
    assert np.argwhere(laid.volume.array).tolist() == [[1, 2, 3]]


def test_axes_in_another_order_and_direction_are_the_same_voxels() -> None:
    # axes S, L, A: index (k, i, j) is R = 10 + 2 (5 - i), A = 20 + 3 j, S = 30 + 5 k
    affine = np.array([[0, -2, 0, 20], [0, 0, 3, 20], [5, 0, 0, 30], [0, 0, 0, 1]], float)
    mask = label(Grid((4, 6, 5), affine, "1.2"), (3, 4, 2), (0, 0, 0))
    laid = on_grid(mask, CT)
    assert laid.how == "reordered"
    assert np.argwhere(laid.volume.array).tolist() == [[1, 2, 3], [5, 0, 0]]
    assert laid.volume.grid is CT
    again = to_ras(mask)
    np.testing.assert_array_equal(again.array, laid.volume.array)


@pytest.mark.parametrize("thickness_mm", [5.0, 1.0])
def test_a_part_of_the_grid_is_laid_into_it(thickness_mm: float) -> None:
    # one slice of a SEG, 2 x 2 voxels, at index (3, 1, 2) of the CT; its thickness is no distance
    part = Grid.straight(
        (2, 2, 1), (2, 3, thickness_mm), (16, 23, 40), frame_of_reference_uid="1.2"
    )
    laid = on_grid(label(part, (1, 0, 0)), CT)
    assert np.argwhere(laid.volume.array).tolist() == [[4, 1, 2]]
    assert laid.after_ml == pytest.approx(0.03)
    # a voxel of 2 x 3 x 1 mm is one of 2 x 3 x 5 mm on the CT, and that is said
    said = {5.0: "reordered, 0.03 mL", 1.0: "reordered: 0.01 mL before, 0.03 mL after"}
    assert laid.note == said[thickness_mm]


def test_empty_voxels_may_lie_outside_and_drawn_ones_may_not() -> None:
    larger = Grid.straight((9, 5, 4), (2, 3, 5), (6, 20, 30), frame_of_reference_uid="1.2")
    laid = on_grid(label(larger, (2, 0, 0)), CT)
    assert np.argwhere(laid.volume.array).tolist() == [[0, 0, 0]]
    with pytest.raises(GridError, match="1 of 2 voxels of the label lie outside 6x5x4"):
        on_grid(label(larger, (1, 0, 0), (2, 0, 0)), CT)


def test_another_grid_is_resampled_only_on_request_with_both_volumes() -> None:
    # voxels of 4 x 3 x 5 mm: the second spans R 12 to 16, centres at 12 and 14 of the CT
    coarse = Grid.straight((3, 5, 4), (4, 3, 5), (10, 20, 30), frame_of_reference_uid="1.2")
    mask = label(coarse, (1, 2, 3))
    with pytest.raises(GridError, match=r"label on 3x5x4 voxels of 4 x 3 x 5 mm .*resample=True"):
        on_grid(mask, CT)
    laid = on_grid(mask, CT, resample=True)
    assert laid.how == "resampled"
    # R 14 is inside, 12 and 16 lie on its faces
    assert 2 in np.argwhere(laid.volume.array)[:, 0]
    assert laid.before_ml == pytest.approx(0.06)
    assert laid.after_ml == pytest.approx(0.03 * laid.volume.array.sum())
    assert laid.note.startswith("resampled by nearest neighbour: 0.06 mL before, ")


def test_a_shift_of_half_a_voxel_is_another_grid() -> None:
    shifted = Grid.straight((6, 5, 4), (2, 3, 5), (11, 20, 30))
    with pytest.raises(GridError, match="which changes its volume"):
        on_grid(label(shifted, (1, 1, 1)), CT)


def test_every_second_slice_is_another_grid() -> None:
    apart = Grid.straight((6, 5, 2), (2, 3, 10), (10, 20, 30))
    with pytest.raises(GridError, match="which changes its volume"):
        on_grid(label(apart, (1, 1, 1)), CT)


@pytest.mark.parametrize("resample", [False, True])
def test_another_frame_of_reference_is_always_refused(resample: bool) -> None:
    other = Grid(CT.shape, CT.affine_ras_mm, "1.3")
    with pytest.raises(GridError, match=r"FrameOfReferenceUID \(0020,0052\) of the label"):
        on_grid(label(other), CT, resample=resample)


def test_an_unstated_frame_is_said_to_be_unknown() -> None:
    laid = on_grid(label(Grid(CT.shape, CT.affine_ras_mm), (0, 0, 0)), CT)
    assert laid.frame == "unknown"
    assert laid.volume.grid.frame_of_reference_uid == "1.2"


def test_a_label_that_reaches_out_of_the_grid_is_not_cropped() -> None:
    # the CT ends at R 21 and A 33.5. Voxels of 3 mm from R 11: centres 11, 14, 17, 20 and 23
    other = Grid.straight((5, 5, 4), (3, 3, 5), (11, 20, 30), frame_of_reference_uid="1.2")
    laid = on_grid(label(other, (3, 1, 0), (2, 1, 0)), CT, resample=True)
    assert laid.how == "resampled"
    with pytest.raises(GridError, match="2 of 3 voxels of the label lie outside 6x5x4"):
        on_grid(label(other, (3, 1, 0), (4, 1, 0), (4, 2, 3)), CT, resample=True)
    # a centre on a face of the CT is inside: R 21
    on_face = Grid.straight((5, 5, 4), (2.5, 3, 5), (11, 20, 30), frame_of_reference_uid="1.2")
    assert on_grid(label(on_face, (4, 0, 0), (3, 0, 0)), CT, resample=True).how == "resampled"
    far = Grid.straight((2, 2, 2), (1, 1, 1), (500, 0, 0))
    with pytest.raises(GridError, match="1 of 1 voxels of the label lie outside"):
        on_grid(label(far, (0, 0, 0)), CT, resample=True)


def test_a_label_that_vanishes_is_refused() -> None:
    # from R 10.5 to 11.5, and the CT's centres are at 10 and 12
    fine = Grid.straight((2, 2, 2), (1, 1, 1), (11, 21, 32))
    with pytest.raises(GridError, match=r"label of 0\.001 mL .* no voxel left .* is finer than"):
        on_grid(label(fine, (0, 0, 0)), CT, resample=True)


def test_only_labels_are_laid() -> None:
    with pytest.raises(InputError, match="a HU volume, expected a label"):
        on_grid(Volume(np.zeros(CT.shape, np.int16), CT, "HU"), CT)


MAP = np.zeros(CT.shape, dtype=np.uint8)
MAP[0, 0, 0], MAP[1, 0, 0], MAP[1, 1, 0] = 4, 9, 9


def test_one_of_several_labels_is_chosen_by_value_or_name() -> None:
    with pytest.raises(InputError, match="values 4, 9: expected 0 and one other; choose"):
        one_label(MAP, CT)
    assert one_label(MAP, CT, choose=9).array.sum() == 2
    assert one_label(MAP, CT, names={"hip": 4}, choose="hip").array.sum() == 1
    assert not one_label(MAP, CT, choose=5).array.any()
    with pytest.raises(InputError, match=r"no label of that name among 1; .* 4, 9"):
        one_label(MAP, CT, names={"hip": 4}, choose="rib")
    with pytest.raises(InputError, match="value 0 is the background"):
        one_label(MAP, CT, choose=0)
    assert one_label(np.where(MAP == 9, 9, 0), CT).array.sum() == 2
