"""Which lesions of two outlines are one, and the distances of each match alone."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from cases import EXPERT_A, EXPERT_B, SPACING_MM, VOXEL_ML, blob, case_of, mask_of
from numpy.typing import NDArray
from scipy import ndimage

from boneviz.matching import group_lesions, rows_by_group
from boneviz.score import score_case
from boneviz.scorerow import Scores
from boneviz.volume import Grid


def score_two(
    reference: NDArray[np.bool_],
    candidate: NDArray[np.bool_],
    *,
    grid: Grid | None = None,
    tolerance_mm: tuple[float, ...] = (1.0, 3.0),
    mesh: bool = False,
) -> Scores:
    case = case_of({EXPERT_A: reference, EXPERT_B: candidate}, grid=grid)
    (scores,) = score_case(case, tolerance_mm=tolerance_mm, mesh=mesh)
    return scores


def test_groups_by_hand() -> None:
    # reference 0 meets candidates 1 and 2, reference 3 meets 2 as well; reference 2 meets 0;
    # reference 1 and candidate 3 meet nobody
    shared = np.array([[0, 1, 5], [0, 2, 1], [3, 2, 2], [2, 0, 9]])
    of_reference, of_candidate, n = group_lesions(shared, n_reference=4, n_candidate=4)
    assert n == 2
    assert of_reference[1] == of_candidate[3] == -1
    assert of_reference[0] == of_reference[3] == of_candidate[1] == of_candidate[2]
    assert of_reference[2] == of_candidate[0] != of_reference[0]
    assert {int(of_reference[0]), int(of_reference[2])} == {0, 1}


def test_nobody_meets() -> None:
    of_reference, of_candidate, n = group_lesions(
        np.zeros((0, 3), dtype=np.int64), n_reference=2, n_candidate=0
    )
    assert (of_reference.tolist(), of_candidate.tolist(), n) == ([-1, -1], [], 0)


def test_rows_of_groups() -> None:
    rows = rows_by_group(np.array([1, -1, 0, 1, 3]), 4)
    assert [each.tolist() for each in rows] == [[2], [0, 3], [], [4]]


def test_two_lesions_by_hand() -> None:
    # y:          0 1 2 3 4 5 6 7 8 9        along y, of 3 mm a step
    # reference   # . . . . # # . . #        lesions at 0, 5-6 and 9
    # candidate   # . . . . . # # . .        lesions at 0 and 6-7
    masks = [mask_of([(1, y, 1) for y in where], (3, 10, 3)) for where in ((0, 5, 6, 9), (0, 6, 7))]
    scores = score_two(*masks)
    first, second = scores.matches
    assert (scores.missed_lesions, scores.extra_lesions) == (1, 0)
    assert first.dice == first.surface_dice[1.0] == 1
    assert first.hd95_mm == 0
    assert first.centroid_mm == pytest.approx((2, 0, 5))
    assert first.reference_ml == first.candidate_ml == pytest.approx(VOXEL_ML)
    # the second is shifted by one step: its far face is 3 mm from the other's
    assert second.dice == pytest.approx(2 * 1 / (2 + 2))
    assert second.hd95_mm == pytest.approx(3)
    assert second.centroid_mm == pytest.approx((2, 6 * 3, 5))
    # of the 12 elements of either (8 corners, and 4 edges along y around the middle) the 4 corners
    # at the far end are 3 mm away; corners have 19/8 mm2, edges hypot(2 / 2, 5 / 2) * 3 mm2
    corner_mm2, edge_mm2 = 19 / 8, math.hypot(1, 2.5) * 3
    far = 4 * corner_mm2 / (8 * corner_mm2 + 4 * edge_mm2)
    assert second.surface_dice == pytest.approx({1.0: 1 - far, 3.0: 1})
    # the missed lesion at 9 stands in the distances of the whole, not in those of the matches
    assert scores.hd95_mm == pytest.approx(2 * 3)
    assert scores.lesion_hd95_mm == pytest.approx((0 + 3) / 2)
    assert scores.lesion_surface_dice(1.0) == pytest.approx((1 + 1 - far) / 2)
    assert scores.numbers()["matched_lesions"] == 2


def test_one_lesion_drawn_as_two_is_one_match() -> None:
    # x:          0 1 2 3 4 5 6
    # reference   # # # # # # #
    # candidate   # # . . . # #
    reference = mask_of([(x, 1, 1) for x in range(7)], (7, 3, 3))
    candidate = mask_of([(x, 1, 1) for x in (0, 1, 5, 6)], (7, 3, 3))
    scores = score_two(reference, candidate)
    (match,) = scores.matches
    assert (match.reference_lesions, match.candidate_lesions) == (1, 2)
    assert (match.reference_ml, match.candidate_ml) == pytest.approx((7 * VOXEL_ML, 4 * VOXEL_ML))
    assert match.dice == pytest.approx(2 * 4 / 11) == scores.dice
    # one match that is all there is: its distances are those of the whole
    assert match.hd95_mm == scores.hd95_mm == scores.lesion_hd95_mm
    (back,) = score_two(candidate, reference).matches
    assert back == match.swapped()
    assert (back.reference_lesions, back.candidate_lesions) == (2, 1)


def test_abutting_outlines_do_not_match() -> None:
    scores = score_two(mask_of([(1, 1, 1)]), mask_of([(1, 2, 1)]))
    assert scores.status == "both"
    assert scores.matches == ()
    assert math.isnan(scores.lesion_hd95_mm)
    assert math.isnan(scores.lesion_surface_dice(1.0))


@pytest.mark.parametrize("mesh", [False, True])
def test_each_match_scores_as_it_would_alone(mesh: bool) -> None:
    rng = np.random.default_rng(26)
    n_matches = 0
    for _ in range(60):
        shape = rng.integers(8, 16, 3)
        # a mesh takes time for every new spacing
        spacing_mm = SPACING_MM if mesh else rng.uniform(0.5, 5, 3).tolist()
        grid = Grid.straight(shape, spacing_mm)
        masks = [blob(rng, shape), blob(rng, shape)]
        scores = score_two(*masks, grid=grid, mesh=mesh)
        labels = [ndimage.label(mask, np.ones((3, 3, 3)))[0] for mask in masks]
        for match in scores.matches:
            # the lesions of this match, found again from its centroid's neighbours by overlap
            parts = _same_parts(labels, match.centroid_mm, grid)
            alone = score_two(*parts, grid=grid, mesh=mesh)
            assert match.hd95_mm == pytest.approx(alone.hd95_mm)
            assert dict(match.surface_dice) == pytest.approx(dict(alone.surface_dice))
            assert match.dice == pytest.approx(alone.dice)
            assert match.reference_ml == pytest.approx(alone.reference_ml)
            assert match.candidate_ml == pytest.approx(alone.candidate_ml)
            n_matches += 1
    assert n_matches > 60


def _same_parts(
    labels: list[NDArray[np.int32]], centroid_mm: tuple[float, float, float], grid: Grid
) -> list[NDArray[np.bool_]]:
    """Return the group of overlapping components whose common centroid this is."""
    best: tuple[float, list[NDArray[np.bool_]]] = (math.inf, [])
    for start in range(1, labels[0].max() + 1):
        parts = [labels[0] == start, np.zeros_like(labels[0], dtype=bool)]
        while True:
            before = [part.sum() for part in parts]
            for one, other in ((0, 1), (1, 0)):
                met = np.setdiff1d(labels[other][parts[one]], 0)
                parts[other] |= np.isin(labels[other], met)
            if [part.sum() for part in parts] == before:
                break
        index = np.argwhere(parts[0] | parts[1]).mean(axis=0)
        away = float(np.abs(grid.to_mm(index) - centroid_mm).max())
        if away < best[0] and parts[1].any():
            best = (away, parts)
    assert best[0] < 1e-9
    return best[1]


def test_matches_travel_between_processes_and_stay_as_they_are() -> None:
    mask = mask_of([(1, 1, 1)])
    (match,) = score_two(mask, mask).matches
    assert pickle.loads(pickle.dumps(match)) == match
    with pytest.raises(TypeError):
        match.surface_dice[1.0] = 0.0  # type: ignore[index]
