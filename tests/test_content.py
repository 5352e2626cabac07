"""SUV and HU inside an outline, by hand on voxels of 2 x 3 x 5 mm (0.03 mL)."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from cases import SPACING_MM, VOXEL_ML, mask_of
from numpy.typing import NDArray
from scipy import ndimage
from small import turned_about_z

from boneviz.case import Case
from boneviz.content import Content, content_of, sphere_weights, uptake_at
from boneviz.harmonise import harmonise
from boneviz.metrics import Voxels
from boneviz.volume import Grid, Volume


def case_of(
    suv: NDArray[np.floating], *, pet_grid: Grid | None = None, ct_grid: Grid | None = None
) -> Case:
    grid = ct_grid or Grid.straight(suv.shape, SPACING_MM)
    hu = np.arange(math.prod(grid.shape)).reshape(grid.shape)
    return Case(
        "017",
        "",
        Volume(hu.astype(np.int16), grid, "HU"),
        Volume(suv.astype(np.float32), pet_grid or grid, "SUVbw"),
    )


def content(case: Case, mask: NDArray[np.bool_]) -> Content:
    voxels = Voxels.of(mask)
    return content_of(uptake_at(case, voxels), np.arange(len(voxels)), voxel_ml=VOXEL_ML)


def test_the_sphere_holds_one_millilitre() -> None:
    weights = sphere_weights(SPACING_MM)
    # its radius is 6.20 mm: it reaches 3 voxels of 2 mm (6.2 > 5), 2 of 3 mm (6.2 > 4.5) and
    # 1 of 5 mm (6.2 > 2.5) from the middle one
    assert weights.shape == (7, 5, 3)
    assert weights.sum() * VOXEL_ML == pytest.approx(1.0, rel=2e-3)
    # the far corner of the voxel beside the middle lies at hypot(3, 1.5, 2.5) = 4.2 mm: all inside
    assert weights[3, 2, 1] == weights[4, 2, 1] == 1
    # the nearest corner of the last voxel of all lies at hypot(5, 4.5, 2.5) = 7.2 mm: all outside
    assert weights[0, 0, 0] == 0
    for axis in range(3):
        np.testing.assert_allclose(weights, np.flip(weights, axis))


def test_one_hot_voxel() -> None:
    suv = np.zeros((15, 11, 7))
    suv[7, 5, 3] = 10
    case = case_of(suv)
    found = content(case, mask_of([(7, 5, 3)], suv.shape))
    assert found.suv_max == found.suv_mean == 10
    # 0.03 of the sphere's 1 mL are at 10
    assert found.suv_peak == pytest.approx(10 * 0.03 / 1.0, rel=2e-3)
    assert found.tlg_ml == pytest.approx(10 * VOXEL_ML)
    assert found.hu_mean == 7 * 77 + 5 * 7 + 3
    # around its neighbour along x the sphere holds the hot voxel whole, around the one five
    # further (10 mm away) nothing of it
    beside = content(case, mask_of([(8, 5, 3)], suv.shape))
    assert (beside.suv_max, beside.tlg_ml) == (0, 0)
    assert beside.suv_peak == pytest.approx(found.suv_peak)
    assert content(case, mask_of([(12, 5, 3)], suv.shape)).suv_peak == pytest.approx(0, abs=1e-12)


def test_mean_and_glycolysis_of_two_voxels_far_apart() -> None:
    suv = np.zeros((15, 11, 7))
    suv[1, 1, 1], suv[13, 9, 5] = 2, 6
    found = content(case_of(suv), mask_of([(1, 1, 1), (13, 9, 5)], suv.shape))
    assert (found.suv_max, found.suv_mean) == (6, 4)
    assert found.tlg_ml == pytest.approx(8 * VOXEL_ML)
    assert found.hu_mean == (77 + 7 + 1 + 13 * 77 + 9 * 7 + 5) / 2


@pytest.mark.parametrize("place", [(0, 0, 0), (0, 5, 6), (14, 10, 6), (7, 5, 3)])
def test_even_uptake_is_its_own_peak_at_the_edge_too(place: tuple[int, int, int]) -> None:
    suv = np.full((15, 11, 7), 4.0)
    assert content(case_of(suv), mask_of([place], suv.shape)).suv_peak == pytest.approx(4)


def test_peak_is_the_weighted_mean_of_the_sphere() -> None:
    rng = np.random.default_rng(9)
    suv = rng.gamma(2, 2, size=(12, 10, 9))
    mask = rng.random(suv.shape) < 0.1
    weights = sphere_weights(SPACING_MM)
    total = ndimage.correlate(np.float32(suv).astype(float), weights, mode="constant")
    part = ndimage.correlate(np.ones_like(suv), weights, mode="constant")
    found = uptake_at(case_of(suv), Voxels.of(mask))
    np.testing.assert_allclose(found.suv_peak, (total / part)[mask], rtol=1e-9)
    assert content(case_of(suv), mask).suv_peak == pytest.approx((total / part)[mask].max())


def test_nothing_outlined() -> None:
    found = content(case_of(np.ones((4, 4, 4))), mask_of([]))
    assert found.tlg_ml == 0
    for name in ("suv_max", "suv_mean", "suv_peak", "hu_mean"):
        assert math.isnan(getattr(found, name))


def test_a_pet_of_its_own_is_read_linearly() -> None:
    # SUVbw is a tenth of x in mm; the CT's voxels 1 and 4 lie at 2 and 8 mm, between the PET's
    pet_grid = Grid.straight((8, 8, 8), (4.5, 5, 6), (-9, -10, -12))
    x_mm = -9 + 4.5 * np.arange(8)
    suv = np.broadcast_to(0.1 * x_mm[:, None, None] + 1, (8, 8, 8))
    case = case_of(suv, pet_grid=pet_grid, ct_grid=Grid.straight((6, 6, 5), SPACING_MM))
    found = content(case, mask_of([(1, 2, 2), (4, 2, 2)], (6, 6, 5)))
    assert found.suv_max == pytest.approx(1.8)
    assert found.suv_mean == pytest.approx((1.2 + 1.8) / 2)


@pytest.mark.parametrize("spacing_mm", [(4.0, 5.0, 6.0), (1.0, 1.0, 1.2)])
def test_uptake_is_what_harmonise_would_show(spacing_mm: tuple[float, float, float]) -> None:
    rng = np.random.default_rng(3)
    ct_grid = Grid.straight((24, 16, 10), SPACING_MM)
    affine = np.eye(4)
    affine[:3, :3] = turned_about_z(12, spacing_mm)
    affine[:3, 3] = (-6, -14, -7)
    shape = tuple(int(80 / step) for step in spacing_mm)
    case = case_of(rng.gamma(2, 2, shape), pet_grid=Grid(shape, affine), ct_grid=ct_grid)
    mask = np.zeros(ct_grid.shape, dtype=bool)
    mask[6:9, 5:9, 3:6] = mask[15:20, 6:10, 4:6] = True
    expected = harmonise(case).pet.array[mask]
    np.testing.assert_allclose(uptake_at(case, Voxels.of(mask)).suv, expected, rtol=1e-4)


def test_outside_the_field_of_view_nothing_is_said() -> None:
    # the PET ends at x = 9 mm (voxels of 6 mm at 0 and 6), the mask's voxels lie at 4 and 12 mm
    pet_grid = Grid.straight((2, 4, 5), (6, 6, 6))
    case = case_of(
        np.full((2, 4, 5), 3.0), pet_grid=pet_grid, ct_grid=Grid.straight((8, 6, 5), SPACING_MM)
    )
    inside = content(case, mask_of([(2, 2, 2)], (8, 6, 5)))
    assert (inside.suv_max, inside.suv_peak) == (pytest.approx(3), pytest.approx(3))
    across = content(case, mask_of([(2, 2, 2), (6, 2, 2)], (8, 6, 5)))
    for name in ("suv_max", "suv_mean", "suv_peak", "tlg_ml"):
        assert math.isnan(getattr(across, name))
    assert across.hu_mean == 2 * 30 + 2 * 5 + 2 + 60


def test_axes_in_any_order_and_direction_give_the_same() -> None:
    """48 ways to store one patient; the PET lies on a grid of its own."""
    rng = np.random.default_rng(48)
    shape = (9, 8, 7)
    mask = rng.random(shape) < 0.15
    hu = rng.normal(0, 300, shape).astype(np.int16)
    ct = Grid.straight(shape, SPACING_MM)
    pet = Volume(
        rng.gamma(2, 2, (12, 14, 16)).astype(np.float32),
        Grid.straight((12, 14, 16), (4, 4.5, 5), (-12, -15, -20)),
        "SUVbw",
    )
    expected = content(Case("017", "", Volume(hu, ct, "HU"), pet), mask)
    assert expected.suv_peak > expected.suv_mean > 0
    for order in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            step = tuple(slice(None, None, flip) for flip in flips)
            affine = ct.affine_ras_mm.copy()
            for axis, flip in enumerate(flips):
                if flip < 0:
                    affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
                    affine[:3, axis] *= -1
            affine[:3, :3] = affine[:3, list(order)]
            turned = hu[step].transpose(order)
            case = Case("017", "", Volume(turned, Grid(turned.shape, affine), "HU"), pet)
            found = content(case, mask[step].transpose(order))
            for name in ("suv_max", "suv_mean", "suv_peak", "tlg_ml", "hu_mean"):
                assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-6)


def test_one_thin_lesion_from_corner_to_corner_takes_little_memory() -> None:
    # a line of 200 voxels whose box would hold 200^3 float64, 64 MB, several times over
    n = 200
    grid = Grid.straight((n, n, n), (2.0, 2.0, 2.0))
    case = Case(
        "017",
        "",
        Volume(np.zeros(grid.shape, dtype=np.int16), grid, "HU"),
        Volume(
            np.ones((90, 90, 90), dtype=np.float32), Grid.straight((90,) * 3, (5, 5, 5)), "SUVbw"
        ),
    )
    line = np.arange(n) * (n * n + n + 1)
    tracemalloc.start()
    found = uptake_at(case, Voxels.at(line, grid.shape))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose(found.suv_peak, 1)
    assert peak < 150e6


def test_counts_give_no_suv_figure_and_the_same_hu() -> None:
    suv = np.zeros((15, 11, 7))
    suv[7, 5, 3] = 10
    case = case_of(suv)
    counts = replace(case, pet=Volume(case.pet.array * 1000, case.pet.grid, "counts"))
    mask = mask_of([(7, 5, 3)], suv.shape)
    found = content(counts, mask)
    figures = (found.suv_max, found.suv_mean, found.suv_peak, found.tlg_ml)
    assert all(map(math.isnan, figures))
    assert found.hu_mean == content(case, mask).hu_mean
    # nothing outlined has a glycolysis of 0 where it can be measured, and none where it cannot
    assert math.isnan(content(counts, np.zeros_like(mask)).tlg_ml)
    assert content(case, np.zeros_like(mask)).tlg_ml == 0
