import json
import math
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from cases import LESIONS, OVERLAPS, LesionCase, OverlapCase, blob, mask_of
from scipy import ndimage

from boneviz.errors import GridError, InputError
from boneviz.metrics import (
    PatternCounts,
    Voxels,
    dice,
    f1,
    find_lesions,
    iou,
    match_lesions,
    nonzero_positions,
    pattern_counts,
    share,
)


def by_name(case: OverlapCase | LesionCase) -> str:
    return case.name


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 64, 65])
def test_nonzero_positions_at_every_place(size: int) -> None:
    for place in range(size):
        flat = np.zeros(size, dtype=np.uint8)
        flat[place] = 1
        assert nonzero_positions(flat).tolist() == [place]
    assert nonzero_positions(np.ones(size, dtype=np.uint8)).tolist() == list(range(size))


def test_voxels_of_a_mask_in_any_memory_order() -> None:
    # (2, 3, 4): position = 12 x + 4 y + z
    mask = mask_of([(0, 2, 1), (1, 0, 3)], (2, 3, 4))
    for held in (mask, np.asfortranarray(mask), mask[::-1][::-1], np.repeat(mask, 2, axis=0)[::2]):
        voxels = Voxels.of(held)
        assert voxels.position.tolist() == [9, 15]
        assert voxels.lower.tolist() == [0, 0, 1]
        assert voxels.upper.tolist() == [1, 2, 3]
        # the box is 2 x 3 x 3 with a margin of 1: 4 x 5 x 5; (1, 3, 1) and (2, 1, 3) in it
        assert voxels.box_shape == (4, 5, 5)
        assert voxels.in_box().tolist() == [25 + 15 + 1, 50 + 5 + 3]


def test_voxels_of_an_empty_mask() -> None:
    voxels = Voxels.of(np.zeros((2, 3, 4), dtype=bool))
    assert len(voxels) == 0
    assert voxels.lower.tolist() == voxels.upper.tolist() == [-1, -1, -1]


def test_voxels_refuses_what_is_not_a_mask() -> None:
    with pytest.raises(InputError, match="float64: expected bool"):
        Voxels.of(np.zeros((2, 2, 2)))  # type: ignore[arg-type]
    with pytest.raises(GridError, match="three axes"):
        Voxels.of(np.zeros((2, 2, 2, 2), dtype=bool))


@pytest.mark.parametrize("case", OVERLAPS, ids=by_name)
def test_overlap_by_hand(case: OverlapCase) -> None:
    counts = pattern_counts(
        [Voxels.of(mask_of(case.reference)), Voxels.of(mask_of(case.candidate))]
    )
    n_reference, n_candidate = counts.in_all(0), counts.in_all(1)
    assert (n_reference, n_candidate) == (len(case.reference), len(case.candidate))
    assert counts.in_all(0, 1) == case.n_both
    assert dice(case.n_both, n_reference, n_candidate) == pytest.approx(case.dice)
    assert iou(case.n_both, n_reference, n_candidate) == pytest.approx(case.iou)
    assert share(case.n_both, n_reference) == pytest.approx(case.sensitivity)
    assert share(case.n_both, n_candidate) == pytest.approx(case.precision)


def test_patterns_of_three_masks() -> None:
    # x:   0 1 2 3
    # a    # # # .      patterns, bit 0 being a:
    # b    . # # #      x = 0: 001, 1: 011, 2: 111, 3: 110
    # c    . . # #
    masks = [mask_of([(x, 0, 0) for x in where]) for where in ((0, 1, 2), (1, 2, 3), (2, 3))]
    counts = pattern_counts([Voxels.of(mask) for mask in masks])
    found = dict(zip(counts.pattern.tolist(), counts.count.tolist(), strict=True))
    assert found == {0b001: 1, 0b011: 1, 0b111: 1, 0b110: 1}
    assert counts.in_all(0, 1) == 2
    assert counts.in_all(0, 2) == 1
    assert counts.in_all(1, 2) == 2
    assert counts.in_all(0, 1, 2) == 1


@pytest.mark.parametrize("n_masks", [1, 8, 9, 33, 64])
def test_patterns_of_many_masks(n_masks: int) -> None:
    rng = np.random.default_rng(n_masks)
    masks = [rng.random((5, 6, 7)) < 0.4 for _ in range(n_masks)]
    counts = pattern_counts([Voxels.of(mask) for mask in masks])
    for a, b in [(0, 0), (0, n_masks - 1), (n_masks // 2, n_masks - 1)]:
        assert counts.in_all(a, b) == np.count_nonzero(masks[a] & masks[b])


def test_patterns_count_beyond_float32() -> None:
    # float32 cannot tell 2^24 + 1 from 2^24
    many = 2**24 + 1
    counts = PatternCounts(np.array([1, 3], dtype=np.uint8), np.array([1, many]))
    assert counts.in_all(0) == many + 1
    assert counts.in_all(0, 1) == many
    assert dice(many, many + 1, many) < 1


def test_patterns_refuse_other_shapes_and_numbers() -> None:
    small, large = (Voxels.of(np.zeros(shape, dtype=bool)) for shape in ((2, 2, 2), (2, 2, 3)))
    with pytest.raises(GridError, match=re.escape("[(2, 2, 2), (2, 2, 3)]")):
        pattern_counts([small, large])
    for number in (0, 65):
        with pytest.raises(InputError, match=f"patterns of {number} masks"):
            pattern_counts([small] * number)


def test_undefined_shares_are_nan() -> None:
    assert math.isnan(share(0, 0))
    assert math.isnan(dice(0, 0, 0))
    assert math.isnan(dice(0, 0, 7))
    assert math.isnan(iou(0, 0, 7))
    assert dice(0, 7, 0) == iou(0, 7, 0) == 0
    assert f1(0, 0) == 0
    assert math.isnan(f1(0.0, math.nan))
    assert f1(0.5, 1) == pytest.approx(2 / 3)


@pytest.mark.parametrize("case", LESIONS, ids=by_name)
def test_lesions_by_hand(case: LesionCase) -> None:
    lesions = find_lesions(Voxels.of(mask_of(case.voxels)))
    assert tuple(lesions.size.tolist()) == case.sizes
    assert len(lesions) == len(case.sizes)


def test_lesions_as_scipy_finds_them() -> None:
    rng = np.random.default_rng(26)
    for _ in range(60):
        shape = rng.integers(1, 14, size=3)
        mask = rng.random(shape) < rng.uniform(0.02, 0.4)
        label, number = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        lesions = find_lesions(Voxels.of(mask))
        assert len(lesions) == number
        assert (lesions.label + 1).tolist() == label[mask].tolist()
        assert lesions.size.tolist() == np.bincount(label[mask], minlength=number + 1)[1:].tolist()


def test_matching_by_hand() -> None:
    # x:         0 1 2 3 4 5 6 7 8
    # reference  # # # . # . # # .     lesions 0, 1, 2
    # candidate  . # # # # . . . #     lesions 0 (joins 0 and 1), 1 (touches nothing)
    def side(where: tuple[int, ...]) -> tuple[Voxels, object]:
        voxels = Voxels.of(mask_of([(x, 0, 0) for x in where], (9, 1, 1)))
        return voxels, find_lesions(voxels)

    reference, candidate = side((0, 1, 2, 4, 6, 7)), side((1, 2, 3, 4, 8))
    assert match_lesions(reference, candidate).tolist() == [[0, 0, 2], [1, 0, 1]]
    turned = match_lesions(candidate, reference)
    assert sorted(turned.tolist()) == [[0, 0, 2], [0, 1, 1]]
    assert match_lesions(reference, side(())).shape == (0, 3)
    assert match_lesions(side(()), candidate).shape == (0, 3)


def test_matching_counts_every_shared_voxel_once() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        shape = rng.integers(3, 12, size=3)
        masks = blob(rng, shape), blob(rng, shape)
        sides = []
        for mask in masks:
            voxels = Voxels.of(mask)
            sides.append((voxels, find_lesions(voxels)))
        matched = match_lesions(*sides)
        labels = [ndimage.label(mask, structure=np.ones((3, 3, 3)))[0] for mask in masks]
        both = masks[0] & masks[1]
        pairs, shared = np.unique(
            np.stack([label[both] - 1 for label in labels], axis=1), axis=0, return_counts=True
        )
        assert sorted(matched.tolist()) == sorted(np.column_stack([pairs, shared]).tolist())


@pytest.mark.realdata
def test_published_dice_of_real_segmentations(realdata: Path) -> None:
    # vertebrae and discs of BrainLesion/tutorials, whose notebooks give the Dice
    folder = realdata / "metrics"
    published = json.loads((folder / "expected.json").read_text())["global_bin_dsc"]["semantic*"]
    masks = [
        Voxels.of(np.asarray(nib.load(folder / "semantic" / name).dataobj) > 0)
        for name in ("ref.nii.gz", "pred.nii.gz")
    ]
    counts = pattern_counts(masks)
    found = dice(counts.in_all(0, 1), counts.in_all(0), counts.in_all(1))
    assert found == pytest.approx(published, abs=1e-12)
