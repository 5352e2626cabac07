"""CT, PET and masks onto one straight RAS grid: nothing moves, nothing is resampled unsaid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import (
    EXPERT_A,
    EXPERT_B,
    STRAIGHT,
    affine_of,
    case_on,
    turned_about_z,
    volume_of,
)

from boneviz.case import Case
from boneviz.cohort import Cohort
from boneviz.errors import GridError, InputError
from boneviz.fuse import FuseConfig, fuse
from boneviz.harmonise import harmonise, resample, spaced, straighten, to_ras
from boneviz.nifti import read_case, read_volume
from boneviz.volume import Grid, Volume


def numbered(grid: Grid) -> Volume:
    """Return a CT whose every voxel has a value of its own."""
    return Volume(np.arange(np.prod(grid.shape), dtype=np.int16).reshape(grid.shape), grid, "HU")


def places(volume: Volume) -> dict[int, tuple[float, ...]]:
    """Return where each value lies, in RAS mm to a micrometre."""
    index = np.argwhere(np.ones(volume.grid.shape, dtype=bool))
    mm = np.round(volume.grid.to_mm(index), 3) + 0.0
    return dict(zip(volume.array[tuple(index.T)].tolist(), map(tuple, mm.tolist()), strict=True))


@pytest.mark.parametrize(
    ("orientation", "affine", "shape"),
    [
        # a voxel grid of 5 x 4 x 3 and the shape it has once its axes run R, A, S
        ("LPS", affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 4), origin=(7, 8, 9)), (5, 4, 3)),
        ("ASR", affine_of((0, 2, 0), (0, 0, 3), (4, 0, 0), origin=(7, 8, 9)), (3, 5, 4)),
        ("ILA", affine_of((0, 0, -5), (-1.5, 0, 0), (0, 0.5, 0), origin=(7, 8, 9)), (4, 3, 5)),
    ],
)
def test_reordering_axes_moves_no_voxel(
    orientation: str, affine: np.ndarray, shape: tuple[int, ...]
) -> None:
    volume = numbered(Grid((5, 4, 3), affine, "1.2.3"))
    assert volume.grid.orientation == orientation
    ras = to_ras(volume)
    assert ras.grid.orientation == "RAS"
    assert ras.grid.shape == shape
    assert ras.grid.frame_of_reference_uid == "1.2.3"
    assert places(ras) == places(volume)


def test_the_first_voxel_of_an_lps_grid_is_the_last_of_ras() -> None:
    # LPS from (8, 9, 30): x falls from 8 by 2 over 5 voxels, y from 9 by 3 over 4; z stays
    grid = Grid((5, 4, 3), affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 4), origin=(8, 9, 30)))
    ras = to_ras(numbered(grid))
    assert ras.grid.affine_ras_mm[:3, 3] == pytest.approx([0, 0, 30])
    assert ras.array[4, 3, 0] == 0  # voxel (0, 0, 0) of LPS
    assert ras.array[0, 0, 2] == 59  # voxel (4, 3, 2) of LPS


def test_an_lps_case_is_reordered_with_its_masks_and_says_so() -> None:
    lps = Grid((5, 4, 3), affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 4), origin=(8, 9, 30)))
    mask = np.zeros(lps.shape, dtype=bool)
    mask[0, 1, 2] = True  # at x = 8, y = 9 - 3 = 6, z = 30 + 8 = 38
    case = replace(case_on(lps, masks={EXPERT_A: Volume(mask, lps, "label")}), ct=numbered(lps))
    done = harmonise(case)
    assert done.on_one_grid
    assert done.ct.grid.orientation == "RAS"
    assert places(done.ct) == places(case.ct)
    (marked,) = np.argwhere(done.masks[EXPERT_A].array)
    assert done.ct.grid.to_mm(marked) == pytest.approx([8, 6, 38])
    assert done.notes[0] == "axes reordered from LPS to RAS, without resampling"


def test_a_harmonised_case_stays_as_it_is() -> None:
    case = replace(
        case_on(STRAIGHT, masks={EXPERT_A: volume_of(1, STRAIGHT, "label")}), notes=("read",)
    )
    done = harmonise(case)
    assert (done.ct, done.pet, done.masks[EXPERT_A]) == (case.ct, case.pet, case.masks[EXPERT_A])
    assert done.notes == ("read",)


def uptake(position_mm: np.ndarray) -> np.ndarray:
    """Return a PET that rises evenly, differently along each axis."""
    return position_mm @ (0.02, 0.03, 0.05) + 10


def every_mm(grid: Grid) -> np.ndarray:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    return grid.to_mm(index)


@pytest.mark.parametrize(
    "pet",
    [
        Grid.straight((12, 11, 10), (4, 5, 6), (-22, -25, -27)),
        Grid((12, 11, 10), affine_of((-4, 0, 0), (0, -5, 0), (0, 0, 6), origin=(22, 25, -27))),
        Grid((14, 14, 10), affine_of(*turned_about_z(20, (4, 5, 6)).T, origin=(-15, -40, -27))),
    ],
    ids=["straight", "LPS", "oblique"],
)
def test_pet_is_interpolated_linearly_in_millimetres(pet: Grid) -> None:
    # what is linear in mm stays so under linear interpolation, on whatever grid it was measured
    ct = Grid.straight((13, 11, 9), (1.5, 2, 2.5), (-9, -10, -10))
    case = case_on(ct, pet)
    case = replace(case, pet=Volume(uptake(every_mm(pet)).astype(np.float32), pet, "SUVbw"))
    done = harmonise(case)
    assert done.pet.grid.matches(ct)
    assert done.pet.array == pytest.approx(uptake(every_mm(ct)), abs=1e-4)
    spacing = " x ".join(f"{s:g}" for s in (4, 5, 6))
    assert done.notes == (f"PET resampled linearly from {spacing} mm",)


def test_masks_are_never_resampled_silently() -> None:
    shifted = Grid.straight((5, 4, 3), (2, 3, 4), (11, -20, 30))
    case = case_on(STRAIGHT, masks={EXPERT_B: volume_of(1, shifted, "label")})
    for step in (harmonise, straighten):
        with pytest.raises(
            GridError,
            match=r"patient P01: mask of Expert B on .*\(11.0, -20.0, 30.0\) mm, RAS, "
            r"expected the CT's grid.*\(10.0, -20.0, 30.0\).*nearest neighbour",
        ):
            step(case)


def test_a_stated_spacing_keeps_the_field_of_view() -> None:
    # 10 x 7 x 5 voxels of 1 x 2 x 3 mm from 0 fill -0.5..9.5, -1..13 and -1.5..13.5 mm.
    # At 2 x 4 x 5 mm that is 5, 3.5 (so 4, one mm more on both sides) and 3 voxels:
    # centres from -0.5 + 1 = 0.5, -1 - 1 + 2 = 0 and -1.5 + 2.5 = 1
    target = spaced(Grid.straight((10, 7, 5), (1, 2, 3), frame_of_reference_uid="1.2.3"), (2, 4, 5))
    assert target.matches(Grid.straight((5, 4, 3), (2, 4, 5), (0.5, 0, 1)))
    assert target.frame_of_reference_uid == "1.2.3"


def test_the_own_spacing_gives_the_own_grid() -> None:
    assert spaced(STRAIGHT, STRAIGHT.spacing_mm).matches(STRAIGHT)


def test_resampled_masks_say_their_volume_before_and_after() -> None:
    grid = Grid.straight((10, 7, 5), (1, 2, 3))
    full = volume_of(1, grid, "label")
    part = np.zeros(grid.shape, dtype=bool)
    part[2:4, 0:3, :] = True  # 2 * 3 * 5 voxels of 6 mm3 = 0.18 mL
    case = case_on(grid, masks={EXPERT_A: full, EXPERT_B: Volume(part, grid, "label")})
    done = harmonise(case, spacing_mm=(2, 4, 5))
    assert done.on_one_grid
    # full: 350 * 6 mm3 before; 5 * 4 * 3 = 60 voxels of 40 mm3 after.
    # part: of the new centres x = 0.5, 2.5, 4.5.. and y = 0, 4, 8, 12 mm, x = 2.5 (index 2.5) lies
    # between voxels 2 and 3, both marked; y = 0, 4 (indices 0, 2) are marked; z always:
    # 1 * 2 * 3 voxels of 40 mm3 = 0.24 mL
    assert done.notes == (
        "CT resampled linearly to 2 x 4 x 5 mm",
        "mask of Expert A resampled by nearest neighbour: 2.10 mL before, 2.40 mL after",
        "mask of Expert B resampled by nearest neighbour: 0.18 mL before, 0.24 mL after",
        "PET resampled linearly from 1 x 2 x 3 mm",
    )
    assert done.masks[EXPERT_B].volume_ml == pytest.approx(0.24)


def test_a_lesion_at_the_edge_keeps_its_volume_on_a_finer_grid() -> None:
    # 4 x 4 x 2 voxels of 2 x 2 x 3 mm, all lesion: 384 mm3, and the same box at 1 mm
    grid = Grid.straight((4, 4, 2), (2, 2, 3))
    fine = resample(volume_of(1, grid, "label"), spaced(grid, (1, 1, 1)))
    assert fine.grid.shape == (8, 8, 6)
    assert fine.array.all()
    assert fine.volume_ml == pytest.approx(0.384)


@pytest.mark.parametrize("tilt", [-20, 5, 30])
def test_an_oblique_ct_is_made_straight_and_says_so(tilt: float) -> None:
    shape = (30, 26, 12)
    axes = turned_about_z(tilt, (2, 3, 4))
    grid = Grid(shape, affine_of(*axes.T, origin=-axes @ ((np.array(shape) - 1) / 2)))
    away = np.linalg.norm(every_mm(grid) - (6, -5, 3), axis=-1)
    ball = Volume(away <= 14, grid, "label")
    # a CT that is hard in the ball alone, so that the contour must stay on it
    ct = Volume(np.where(away <= 14, 1000, 0).astype(np.int16), grid, "HU")
    done = harmonise(replace(case_on(grid, masks={EXPERT_A: ball}), ct=ct))
    assert done.ct.grid.is_straight
    assert done.ct.grid.spacing_mm == pytest.approx((2, 2, 2))  # the finest of 2, 3, 4 mm
    assert "the CT's grid is oblique: CT and masks resampled to straight RAS axes" in done.notes
    # the ball's middle stays where it was, and its volume within a voxel layer's rounding
    middle = done.ct.grid.to_mm(np.argwhere(done.masks[EXPERT_A].array)).mean(axis=0)
    assert middle == pytest.approx([6, -5, 3], abs=0.5)
    assert done.masks[EXPERT_A].volume_ml == pytest.approx(ball.volume_ml, rel=0.03)
    assert done.ct.array[done.masks[EXPERT_A].array].mean() > 800


def test_beyond_the_scan_is_air_without_uptake() -> None:
    # one voxel of 2 x 3 x 4 mm more on every side lies a whole spacing beyond the outer centres
    wider = Grid.straight((9, 8, 7), (2, 3, 4), (6, -26, 22))
    inside = np.zeros(wider.shape, dtype=bool)
    inside[2:7, 2:6, 2:5] = True
    beyond = np.ones(wider.shape, dtype=bool)
    beyond[1:8, 1:7, 1:6] = False  # the layer next to the scan may be either, two away is out
    for unit, value, outside in (("HU", 40, -1024), ("SUVbw", 3, 0), ("probability", 0.5, 0)):
        array = resample(volume_of(value, STRAIGHT, unit), wider).array  # type: ignore[arg-type]
        assert (array[inside] == value).all(), unit
        assert (array[beyond] == outside).all(), unit
    label = resample(volume_of(1, STRAIGHT, "label"), wider).array
    assert np.array_equal(label, inside)


def test_the_rim_of_edge_voxels_belongs_to_the_scan() -> None:
    # at half the spacing the outermost centres lie a quarter voxel beyond the old ones
    fine = spaced(STRAIGHT, (1, 1.5, 2))
    assert (resample(volume_of(40, STRAIGHT, "HU"), fine).array == 40).all()


def test_a_coarser_grid_averages_instead_of_picking() -> None:
    # stripes of 1 mm, 0 and 10: every fourth voxel alone would give all 0 or all 10
    grid = Grid.straight((64, 4, 4), (1, 1, 1))
    stripes = np.zeros(grid.shape, dtype=np.float32)
    stripes[::2] = 10
    coarse = resample(
        Volume(stripes, grid, "SUVbw"), Grid.straight((14, 4, 4), (4, 1, 1), (4, 0, 0))
    )
    assert coarse.array == pytest.approx(5, abs=0.5)


@pytest.mark.parametrize("away_mm", [(40, 0, 0), (0, -40, 0), (0, 0, 400)])
def test_scans_that_do_not_overlap_are_refused(away_mm: tuple[float, ...]) -> None:
    origin = np.array((10, -20, 30)) + away_mm
    case = case_on(STRAIGHT, Grid.straight((5, 4, 3), (2, 3, 4), origin))
    for step in (harmonise, straighten):
        with pytest.raises(GridError, match=r"patient P01: PET on .*does not overlap the CT"):
            step(case)


def test_a_single_slice_inside_the_pet_overlaps() -> None:
    ct = Grid.straight((5, 4, 1), (2, 3, 4), (0, 0, 4))
    case = case_on(ct, Grid.straight((5, 4, 3), (2, 3, 4)))
    case = replace(case, pet=volume_of(2, case.pet.grid, "SUVbw"))
    assert harmonise(case).pet.array == pytest.approx(2)


@pytest.mark.parametrize("spacing", [(2, 2), (2, 0, 2), (2, -1, 2), (2, np.nan, 2), (2, 2, np.inf)])
def test_impossible_spacings_are_refused(spacing: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="expected three positive numbers"):
        harmonise(case_on(STRAIGHT), spacing_mm=spacing)


def test_straightening_keeps_each_scans_own_voxels() -> None:
    lps = Grid((5, 4, 3), affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 4), origin=(8, 9, 30)))
    pet = Grid((3, 3, 2), affine_of((-4, 0, 0), (0, -5, 0), (0, 0, 6), origin=(9, 10, 29)))
    case = case_on(lps, pet)
    numbers = np.arange(18, dtype=np.float32).reshape(3, 3, 2)
    done = straighten(replace(case, pet=Volume(numbers, pet, "SUVbw")))
    assert done.pet.grid.orientation == done.ct.grid.orientation == "RAS"
    assert done.pet.grid.spacing_mm == pytest.approx((4, 5, 6))
    assert places(done.pet) == places(Volume(numbers, pet, "SUVbw"))


@pytest.mark.realdata
@pytest.mark.parametrize("patient", ["STS_001", "STS_002", "STS_008"])
def test_a_real_tumour_has_one_volume_on_both_grids(realdata: Path, patient: str) -> None:
    folder = realdata / "petct" / patient
    on_ct = read_volume(folder / "CT_mask.nii.gz", "label")
    on_pet = read_volume(folder / "PET_mask.nii.gz", "label")
    moved = resample(on_pet, on_ct.grid)
    assert moved.volume_ml == pytest.approx(on_ct.volume_ml, rel=0.02)
    # the same place too: PET voxels are 5 mm, so that the rims differ and nothing else
    shared = np.count_nonzero(moved.array & on_ct.array)
    assert 2 * shared / (moved.array.sum() + on_ct.array.sum()) > 0.9


@pytest.mark.realdata
def test_a_real_patient_comes_through_the_same_door(realdata: Path) -> None:
    cohort = Cohort.open(realdata / "petct" / "STS_001")
    assert [ref.case_id for ref in cohort] == ["STS_001"]
    assert [reader.name for reader in cohort.readers] == ["CT_mask"]
    case: Case = harmonise(read_case(cohort["STS_001"]))
    assert case.on_one_grid
    assert case.ct.grid.orientation == "RAS"
    assert case.notes[0].startswith("axes reordered from LPS to RAS")
    fused = fuse(case, FuseConfig())
    # bone saturates nowhere near a tenth of a thigh, fat is above the window's foot; the tumour is
    # the hottest thing in the crop
    lesion = case.masks[cohort.readers[0]].array
    assert fused.shape == (2, *case.ct.grid.shape)
    assert fused[1][lesion].mean() > 1.5 * fused[1][~lesion].mean()
    assert 0.2 < fused[0][lesion].mean() < 0.4  # muscle and tumour, about 40 HU: 540 / 1800 = 0.3


def test_more_voxels_than_any_scan_has_are_refused_before_they_are_made() -> None:
    # 10 x 12 x 12 mm by 0.005 mm: 2000 x 2400 x 2400
    says = r"2000 x 2400 x 2400 voxels of the spacing 0\.005 x .* at most 1073741824; take a larger"
    with pytest.raises(GridError, match=says):
        spaced(Grid.straight((5, 4, 3), (2, 3, 4)), [0.005] * 3)
