"""Each check finds the defect that was planted, in numbers, and finds nothing without it."""

from __future__ import annotations

import re

import numpy as np
import pytest
from small import EXPERT_A, EXPERT_B, affine_of

from boneviz.checkup import (
    Facts,
    Finding,
    check_ct,
    check_grids,
    check_mask,
    check_pair,
    check_pet,
    check_scans,
    check_spacing,
)
from boneviz.volume import Grid, Volume

GRID = Grid.straight((10, 8, 5), (2, 3, 4), (10, -20, 30))


def ct_of(low: float, middle: float, high: float, grid: Grid = GRID) -> Volume:
    """One voxel of the lowest and one of the highest value, the rest between."""
    array = np.full(grid.shape, middle, dtype=np.float32)
    array[0, 0, 0], array[-1, -1, -1] = low, high
    return Volume(array, grid, "HU")


def pet_of(low: float, high: float) -> Volume:
    array = np.full(GRID.shape, (low + high) / 2, dtype=np.float32)
    array[0, 0, 0], array[-1, -1, -1] = low, high
    return Volume(array, GRID, "SUVbw")


def mask_of(*boxes: tuple[slice, slice, slice], grid: Grid = GRID) -> Volume:
    array = np.zeros(grid.shape, dtype=bool)
    for box in boxes:
        array[box] = True
    return Volume(array, grid, "label")


ALL = slice(None)
CORE = (slice(4, 6), slice(3, 5), slice(2, 3))  # 4 of 400 voxels


def only(found: list[Finding]) -> Finding:
    (finding,) = found
    assert finding.case_id == "P01"
    return finding


@pytest.mark.parametrize("low", [-1000, -3024, -1])
def test_a_usual_ct_passes(low: float) -> None:
    assert check_ct("P01", ct_of(low, 40, 1500)) == []


@pytest.mark.parametrize(
    ("ct", "check", "says"),
    [
        (ct_of(7, 7, 7), "HU range", "CT is 7 HU everywhere, expected an image"),
        (ct_of(0, 1064, 4095), "HU shifted", r"0 to 4095 HU, .*RescaleIntercept \(0028,1052\)"),
        (ct_of(0, 0.5, 1), "HU range", "0 to 1 HU, as a window or normalised values do"),
        (ct_of(0, 120, 255), "HU range", "0 to 255 HU, as a window or normalised values do"),
        (ct_of(-5000, 40, 1500), "HU range", "-5000 to 1500 HU, expected -4096 to 32000"),
        (ct_of(-1000, 40, 64000), "HU range", "-1000 to 64000 HU, expected -4096 to 32000"),
        # 398 of 400 voxels are at -984: soft tissue less 1024
        (ct_of(-2024, -984, 476), "HU shifted", r"0\.0% of the CT lies between -150 and 150 HU"),
    ],
)
def test_hu_out_of_range_are_found(ct: Volume, check: str, says: str) -> None:
    finding = only(check_ct("P01", ct))
    assert (finding.severity, finding.check) == ("warning", check)
    assert re.search(says, str(finding))


@pytest.mark.parametrize(("low", "high"), [(0, 0.5), (0, 25.4), (-0.09, 200)])
def test_a_usual_pet_passes(low: float, high: float) -> None:
    assert check_pet("P01", pet_of(low, high)) == []


@pytest.mark.parametrize(
    ("pet", "check", "says"),
    [
        (pet_of(0, 0), "SUV range", "PET is 0 everywhere"),
        (pet_of(0, 0.25), "SUV range", "SUVmax 0.25, expected 0.5 to 200 SUVbw"),
        (pet_of(0, 300), "SUV range", "SUVmax 300, expected 0.5 to 200 SUVbw"),
        (pet_of(0, 52000), "SUV range", "SUVmax 5.2e+04, as Bq/mL have, expected 0.5 to 200"),
        (pet_of(-0.5, 8), "negative SUV", "SUVbw down to -0.5, expected 0 or more"),
    ],
)
def test_suv_out_of_range_are_found(pet: Volume, check: str, says: str) -> None:
    finding = only(check_pet("P01", pet))
    assert (finding.severity, finding.check) == ("warning", check)
    assert says in str(finding)


def test_grids_over_each_other_pass() -> None:
    # the box of GRID is 20 x 24 x 20 mm; 12 mm of 20 along z are 60 % of it
    pet = Grid.straight((5, 6, 3), (4, 4, 4), (11, -19.5, 30))
    assert check_grids("P01", GRID, pet) == []


@pytest.mark.parametrize(
    ("pet", "severity", "says"),
    [
        # faces of the CT at 9 mm along x: a PET that ends there touches it and no more
        (
            Grid.straight((5, 6, 5), (4, 4, 4), (-9, -19.5, 30)),
            "error",
            "does not overlap the CT on 10x8x5",
        ),
        # 4 of 20 mm along x
        (
            Grid.straight((5, 6, 5), (4, 4, 4), (-5, -19.5, 30)),
            "warning",
            "PET covers 20% of the CT's box, expected at least 50%",
        ),
        (
            Grid.straight((5, 6, 5), (13, 4, 4), (10, -19.5, 30)),
            "warning",
            "PET has voxels of 13 x 4 x 4 mm, expected 0.1 to 12 mm",
        ),
    ],
)
def test_grids_apart_are_found(pet: Grid, severity: str, says: str) -> None:
    finding = only(check_grids("P01", GRID, pet))
    assert finding.severity == severity
    assert says in str(finding)


def test_a_header_in_metres_is_found() -> None:
    small = Grid.straight((10, 8, 5), (0.002, 0.003, 0.004))
    finding = check_grids("P01", small, small)[0]
    assert "CT has voxels of 0.002 x 0.003 x 0.004 mm" in str(finding)


def test_a_usual_mask_passes() -> None:
    assert check_mask("P01", EXPERT_A, mask_of(CORE), ct_of(-1000, 40, 900), GRID) == []


def test_a_mask_of_an_oblique_ct_passes() -> None:
    # turned by 90 degrees about z: the PET holds it in other axes
    turned = Grid((8, 10, 5), affine_of((0, 3, 0), (2, 0, 0), (0, 0, 4), origin=(10, -20, 30)))
    full = mask_of((slice(0, 1), ALL, slice(0, 1)), grid=turned)
    assert check_mask("P01", EXPERT_A, full, None, GRID) == []


MOVED = Grid.straight((10, 8, 5), (2, 3, 4), (10, -20, 31))


@pytest.mark.parametrize(
    ("mask", "ct", "severity", "check", "says"),
    [
        (mask_of(), ct_of(-1000, 40, 900), "warning", "empty mask", "mask of Expert A is empty"),
        (
            mask_of(CORE, grid=MOVED),
            ct_of(-1000, 40, 900),
            "error",
            "mask's grid",
            r"from (10.0, -20.0, 31.0) mm, RAS, expected the CT's grid",
        ),
        # 5 of 10 slices along x
        (
            mask_of((slice(0, 5), ALL, ALL)),
            ct_of(-1000, 40, 900),
            "warning",
            "mask's size",
            "fills 50% of the CT, expected at most 20%",
        ),
        (
            mask_of(CORE),
            ct_of(-1000, -900, 40),
            "warning",
            "mask outside",
            "100% of the mask of Expert A lie in air (below -500 HU), expected at most 10%",
        ),
    ],
    ids=["empty", "grid", "size", "air"],
)
def test_a_mask_that_cannot_be_right_is_found(
    mask: Volume, ct: Volume, severity: str, check: str, says: str
) -> None:
    finding = only(check_mask("P01", EXPERT_A, mask, ct, GRID))
    assert (finding.severity, finding.check) == (severity, check)
    assert says in str(finding)


def test_a_mask_beyond_the_pet_is_found() -> None:
    # centres of the four voxels at x = 18 and 20 mm; the PET's faces lie at 9 and 19 mm
    pet = Grid.straight((5, 8, 5), (2, 3, 4), (10, -20, 30))
    finding = only(check_mask("P01", EXPERT_A, mask_of(CORE), ct_of(-1000, 40, 900), pet))
    assert str(finding).startswith("50% of the mask of Expert A lie outside of the PET, expected")


def test_without_a_ct_a_mask_is_looked_at_all_the_same() -> None:
    assert check_mask("P01", EXPERT_A, mask_of(), None, None)[0].check == "empty mask"


def test_masks_of_two_readers_that_differ_pass() -> None:
    smaller = mask_of((slice(4, 5), slice(3, 5), slice(2, 3)))
    assert check_pair("P01", {EXPERT_A: mask_of(CORE), EXPERT_B: smaller}) == []


def test_two_empty_masks_are_not_called_identical() -> None:
    assert check_pair("P01", {EXPERT_A: mask_of(), EXPERT_B: mask_of()}) == []


def test_identical_masks_are_found() -> None:
    finding = only(check_pair("P01", {EXPERT_A: mask_of(CORE), EXPERT_B: mask_of(CORE)}))
    assert str(finding).startswith("masks of Expert A and Expert B are identical, expected two")


def test_masks_with_nothing_in_common_are_found() -> None:
    # one voxel of 3 mm along y and one of 4 mm along z apart: 3-4-5
    one = mask_of((slice(4, 5), slice(3, 4), slice(2, 3)))
    other = mask_of((slice(4, 5), slice(4, 5), slice(3, 4)))
    finding = only(check_pair("P01", {EXPERT_A: one, EXPERT_B: other}))
    assert "share no voxel, centres 5 mm apart" in str(finding)


def facts(case_id: str, spacing: tuple[float, float, float] | None, **scans: str) -> Facts:
    return Facts(case_id, case_id.split("_")[0], "", spacing, 5.0, {}, scans)


def test_spacing_that_stands_out_is_found_whatever_the_order_of_axes() -> None:
    cohort = [
        facts("P01", (1, 1, 3)),
        facts("P02", (3, 1, 1)),
        facts("P03", (1, 1.9, 3)),
        facts("P04", (1, 1, 6.1)),
        facts("P05", None),
    ]
    (finding,) = check_spacing(cohort)
    assert finding.case_id == "P04"
    assert "CT has voxels of 1 x 1 x 6.1 mm, expected within a factor of 2" in str(finding)
    assert "1 x 1 x 3 mm, sorted" in str(finding)
    assert check_spacing(cohort[2:4]) == []


def test_a_scan_under_two_ids_is_an_error_and_in_two_sessions_a_warning() -> None:
    found = check_scans(
        [
            facts("P01_S1", None, CT="a", PET="p"),
            facts("P01_S2", None, CT="a", PET="q"),
            facts("P02", None, CT="b", PET="p"),
            # the same hash of a CT and a PET is not one scan
            facts("P03", None, CT="q", PET="r"),
        ]
    )
    assert [(f.case_id, f.severity) for f in found] == [
        ("P01_S1, P01_S2", "warning"),
        ("P01_S1, P02", "error"),
    ]
    assert "PET of P01_S1 and of P02 hold the same voxels, expected a scan under one" in str(
        found[1]
    )


def test_a_finding_without_more_is_what_was_found() -> None:
    assert str(Finding("P01", "warning", "grids", "found")) == "found"
