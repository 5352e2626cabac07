import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from cases import (
    EXPERT_A,
    EXPERT_B,
    MODEL_A,
    case_of,
    four_readers,
    mask_of,
    prediction_of,
    scores_of,
)
from numpy.typing import NDArray

from boneviz.case import Reader
from boneviz.compare import HIGHER_IS_BETTER, CrossEvaluation, cross_evaluate, higher_is_better
from boneviz.errors import InputError, LeakageError
from boneviz.score import score_case
from boneviz.scorerow import Scores

# one patient each: agreement, a missed lesion, a false alarm, nothing to see
FOUR = (
    scores_of(EXPERT_A, MODEL_A, patient_id="P0", dice=0.8, sensitivity=0.7, hd95_mm=4.0),
    scores_of(
        EXPERT_A, MODEL_A, patient_id="P1", status="missed", dice=0.0, sensitivity=0.0, fnv_ml=3.0
    ),
    scores_of(
        EXPERT_A,
        MODEL_A,
        patient_id="P2",
        status="false_alarm",
        dice=math.nan,
        sensitivity=math.nan,
        fnv_ml=0.0,
    ),
    scores_of(
        EXPERT_A,
        MODEL_A,
        patient_id="P3",
        status="both_empty",
        dice=math.nan,
        sensitivity=math.nan,
        fnv_ml=0.0,
    ),
)


@pytest.mark.parametrize(
    ("metric", "n_defined", "mean", "worst_case_mean"),
    [
        # Dice of the missed one is 0, of the others undefined; the false alarm is 0 at worst
        pytest.param("dice", 2, 0.4, 0.8 / 3, id="dice"),
        pytest.param("sensitivity", 2, 0.35, 0.7 / 3, id="sensitivity"),
        pytest.param("surface_dice_1mm", 1, 0.5, 0.5 / 3, id="surface dice"),
        # the diagonal is 100 mm
        pytest.param("hd95_mm", 1, 4, 204 / 3, id="HD95"),
        # always defined, and its own worst case
        pytest.param("fnv_ml", 4, 0.75, 0.75, id="missed volume"),
    ],
)
def test_undefined_is_counted_and_has_a_worst_case(
    metric: str, n_defined: int, mean: float, worst_case_mean: float
) -> None:
    cell = cross_evaluate(FOUR, metric=metric).cell("Expert A", "Model A")
    assert (cell.n, cell.n_defined) == (4, n_defined)
    assert (cell.n_missed, cell.n_false_alarm, cell.n_both_empty) == (1, 1, 1)
    assert cell.mean == pytest.approx(mean)
    assert cell.worst_case_mean == pytest.approx(worst_case_mean)


def test_undefined_is_shown() -> None:
    cell = cross_evaluate(FOUR, metric="hd95_mm").cell("Expert A", "Model A")
    assert str(cell) == "4.00 (n 1 of 4, 1 missed, 1 false alarm)"
    alone = cross_evaluate(FOUR[3:]).cell("Expert A", "Model A")
    assert str(alone) == "undefined (n 0 of 1)"
    assert math.isnan(alone.mean) and math.isnan(alone.worst_case_mean)


def test_sessions_of_one_patient_are_one_unit() -> None:
    rows = [
        scores_of(EXPERT_A, MODEL_A, patient_id="P0", session="S1", dice=0.2, hd95_mm=6.0),
        scores_of(EXPERT_A, MODEL_A, patient_id="P0", session="S2", dice=0.0, status="missed"),
        scores_of(EXPERT_A, MODEL_A, patient_id="P1", dice=0.7, hd95_mm=2.0),
    ]
    overlap = cross_evaluate(rows).cell("Expert A", "Model A")
    assert overlap.mean == pytest.approx((0.1 + 0.7) / 2)
    assert (overlap.n, overlap.n_defined, overlap.n_missed) == (2, 2, 1)
    distance = cross_evaluate(rows, metric="hd95_mm")
    assert distance.values["Expert A", "Model A"].to_dict() == {"P0": 6, "P1": 2}
    assert distance.cell("Expert A", "Model A").worst_case_mean == pytest.approx((53 + 2) / 2)


def test_experts_are_turned_around() -> None:
    rows = [scores_of(EXPERT_A, EXPERT_B, sensitivity=0.3, precision=0.9, volume_difference_ml=1.0)]
    sensitivity = cross_evaluate(rows, metric="sensitivity")
    assert sensitivity.cell("Expert A", "Expert B").mean == 0.3
    assert sensitivity.cell("Expert B", "Expert A").mean == 0.9
    volume = cross_evaluate(rows, metric="volume_difference_ml")
    assert volume.cell("Expert B", "Expert A").mean == -1
    missed = [replace(FOUR[1], candidate=EXPERT_B)]
    turned = cross_evaluate(missed).cell("Expert B", "Expert A")
    assert (turned.n_missed, turned.n_false_alarm, turned.n_defined) == (0, 1, 0)


def test_a_patient_the_model_learned_from_is_refused() -> None:
    rows = four_readers()
    rows[2] = replace(rows[2], held_out=False)
    with pytest.raises(
        LeakageError,
        match=r"patient P0: Model B had learned from this patient, .* fold that held the patient",
    ):
        cross_evaluate(rows)


def test_leakage_is_found_from_prediction_to_matrix() -> None:
    mask = mask_of([(1, 1, 1)])
    case = case_of({EXPERT_A: mask, EXPERT_B: mask})
    held_out, seen = (
        prediction_of(MODEL_A, mask, trained_on=patients) for patients in (("001",), ("001", "017"))
    )
    assert cross_evaluate(score_case(case, [held_out])).cell("Expert A", "Model A").mean == 1
    with pytest.raises(LeakageError, match=r"patient 017: Model A .* \(and 1 more scores\)"):
        cross_evaluate(score_case(case, [seen]))


@pytest.mark.parametrize(
    ("rows", "metric", "message"),
    [
        pytest.param([], "dice", "no scores to compare", id="nothing"),
        pytest.param(FOUR, "dize", "did you mean dice", id="misspelt"),
        pytest.param(FOUR, "threshold", "metric 'threshold': expected one of", id="a setting"),
        pytest.param(
            [scores_of(EXPERT_A, Reader("Kim", "learner"))],
            "dice",
            "patient 017: Kim is a learner, .*group_table",
            id="a learner",
        ),
        pytest.param([FOUR[0]] * 2, "dice", "patient P0: .* scored twice", id="twice"),
        pytest.param(
            [FOUR[0], replace(FOUR[1], threshold=0.4)],
            "dice",
            "threshold 0.5 and 0.4",
            id="two thresholds",
        ),
        pytest.param(
            [FOUR[0], replace(FOUR[1], version="1")], "dice", "version 0 and 1", id="two versions"
        ),
        pytest.param(
            [FOUR[0], replace(FOUR[1], candidate=replace(MODEL_A, learned_from="Expert B"))],
            "dice",
            "patient P1: reader Model A is .*learned_from='Expert B'",
            id="one name for two readers",
        ),
    ],
)
def test_bad_input_is_named(rows: list[Scores], metric: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        cross_evaluate(rows, metric=metric)


def test_a_pair_that_was_not_scored_is_named() -> None:
    with pytest.raises(InputError, match="reference 'Model A' and candidate 'Expert A'; there are"):
        cross_evaluate(FOUR).cell("Model A", "Expert A")


def test_better_and_worse_are_said_of_known_metrics() -> None:
    known = {*FOUR[0].numbers(), "surface_dice", "lesion_surface_dice"}
    assert set(HIGHER_IS_BETTER) < known
    assert higher_is_better("surface_dice_1.5mm") is True
    assert higher_is_better("hd95_mm") is higher_is_better("lesion_hd95_mm") is False
    assert higher_is_better("lesion_surface_dice_2mm") is True
    assert higher_is_better("volume_difference_ml") is None


def trap(n_missed: int) -> CrossEvaluation:
    """Return HD95 of six patients of whom the model misses the `n_missed` hardest altogether.

    ::

        reference  # . . . . . . . .      in patient n the model's voxel lies n + 1 steps away
        patient 0  . # . . . . . . .
        patient 5  . . . . . . # . .      the hardest
    """
    rows: list[Scores] = []
    for n in range(6):
        outline = mask_of([(n + 1, 0, 0)] if n < 6 - n_missed else [], (9, 2, 2))
        case = case_of({EXPERT_A: mask_of([(0, 0, 0)], (9, 2, 2))}, patient_id=f"P{n}")
        rows += score_case(case, [prediction_of(MODEL_A, outline, patient_id=f"P{n}")])
    return cross_evaluate(rows, metric="hd95_mm")


def test_missing_more_lesions_does_not_look_better() -> None:
    cells = [trap(n_missed).cell("Expert A", "Model A") for n_missed in range(7)]
    means = [cell.mean for cell in cells[:6]]
    assert means == sorted(means, reverse=True)  # the trap: the mean alone gets better
    worst = [cell.worst_case_mean for cell in cells]
    assert all(less < more for less, more in itertools.pairwise(worst))
    assert [cell.n_missed for cell in cells] == list(range(7))
    assert [cell.n_defined for cell in cells] == [6, 5, 4, 3, 2, 1, 0]
    assert str(cells[2]).endswith("(n 4 of 6, 2 missed)")
    # all missed: nothing but the diagonal of 18 x 6 x 10 mm is left
    assert cells[6].worst_case_mean == pytest.approx(math.sqrt(18**2 + 6**2 + 10**2))


def test_missing_more_lesions_of_one_patient_does_not_look_better() -> None:
    # three lesions of 2 voxels far apart; the model is one step off, and drops one after another
    def outline(*starts: int) -> NDArray[np.bool_]:
        return mask_of([(x + step, 1, 1) for x in starts for step in (0, 1)], (40, 3, 3))

    case = case_of({EXPERT_A: outline(2, 18, 34)})
    found: list[Scores] = []
    for drawn in (outline(3, 19, 35), outline(3, 19), outline(3), outline()):
        found += score_case(case, [prediction_of(MODEL_A, drawn)])
    # corners end at 4.5 in the model's first lesion, at 19.5 and 35.5 in those dropped: 15 and 31
    # steps of 2 mm. That end face is 9.5 of 3 * (19 + 4 * 5.83) mm2, 7.5 % of the reference
    assert [row.hd95_mm for row in found[:3]] == pytest.approx([2, 2 * 15, 2 * 31])
    assert math.isnan(found[3].hd95_mm)
    assert [row.status for row in found] == ["both"] * 3 + ["missed"]
    assert [row.missed_lesions for row in found] == [0, 1, 2, 3]
    assert [row.extra_lesions for row in found] == [0, 0, 0, 0]
    assert [row.fnv_ml for row in found] == pytest.approx([n * 2 * 0.03 for n in range(4)])
    # per matched lesion the model is one step of 2 mm off, however many it drops: the trap again.
    # In the worst case each of the dropped counts with the diagonal
    assert [row.lesion_hd95_mm for row in found[:3]] == pytest.approx([2, 2, 2])
    diagonal_mm = math.sqrt(80**2 + 9**2 + 15**2)
    by_metric = {
        metric: [
            cross_evaluate([row], metric=metric).cell("Expert A", "Model A").worst_case_mean
            for row in found
        ]
        for metric in ("lesion_hd95_mm", "lesion_surface_dice_2mm")
    }
    assert by_metric["lesion_hd95_mm"] == pytest.approx(
        [2, (2 * 2 + diagonal_mm) / 3, (2 + 2 * diagonal_mm) / 3, diagonal_mm]
    )
    assert by_metric["lesion_surface_dice_2mm"] == pytest.approx([1, 2 / 3, 1 / 3, 0])


def test_scores_from_grid_and_mesh_are_not_mixed() -> None:
    rows = [scores_of(EXPERT_A, MODEL_A), scores_of(EXPERT_A, EXPERT_B, surface="mesh")]
    with pytest.raises(InputError, match="scores made with surface grid and mesh"):
        cross_evaluate(rows)


def test_one_outline_over_everything_wins_lesion_counts_and_loses_dice() -> None:
    """Lesion counts cannot tell one blob over all lesions from three found; Dice does."""
    three = mask_of([(x, 1, 1) for x in (2, 3, 18, 19, 34, 35)], (40, 3, 3))
    two = mask_of([(x, 1, 1) for x in (2, 3, 18, 19)], (40, 3, 3))
    blob_over_all = mask_of([(x, 1, 1) for x in range(40)], (40, 3, 3))
    case = case_of({EXPERT_A: three})
    found = [score_case(case, [prediction_of(MODEL_A, m)])[0] for m in (two, blob_over_all)]
    assert found[0].lesion_f1 == pytest.approx(0.8)  # 2 of 3 found, both of 2 right
    assert found[1].lesion_f1 == 1.0
    assert [match.reference_lesions for match in found[1].matches] == [3]
    assert found[0].dice == pytest.approx(2 * 4 / (6 + 4))
    assert found[1].dice == pytest.approx(2 * 6 / (6 + 40))
    assert found[0].lesion_surface_dice(1.0) == 1.0 > found[1].lesion_surface_dice(1.0)
