import itertools
import math

import numpy as np
import pytest
from cases import (
    EXPERT_A,
    EXPERT_B,
    MODEL_A,
    MODEL_B,
    OVERLAPS,
    SPACING_MM,
    VOXEL_ML,
    OverlapCase,
    blob,
    case_of,
    mask_of,
    prediction_of,
)
from numpy.typing import NDArray

from boneviz import __version__
from boneviz.case import Reader
from boneviz.errors import BonevizError, GridError, InputError
from boneviz.score import default_pairs, score_case
from boneviz.scorerow import Scores
from boneviz.scoretable import row_of
from boneviz.volume import Grid


def score_two(
    reference: NDArray[np.bool_], candidate: NDArray[np.bool_], grid: Grid | None = None
) -> Scores:
    (scores,) = score_case(case_of({EXPERT_A: reference, EXPERT_B: candidate}, grid=grid))
    return scores


@pytest.mark.parametrize("case", OVERLAPS, ids=lambda case: case.name)
def test_overlap_by_hand(case: OverlapCase) -> None:
    scores = score_two(mask_of(case.reference), mask_of(case.candidate))
    assert scores.status == "both"
    assert scores.dice == pytest.approx(case.dice)
    assert scores.iou == pytest.approx(case.iou)
    assert scores.sensitivity == pytest.approx(case.sensitivity)
    assert scores.precision == pytest.approx(case.precision)
    assert scores.reference_ml == pytest.approx(len(case.reference) * VOXEL_ML)
    assert scores.candidate_ml == pytest.approx(len(case.candidate) * VOXEL_ML)
    difference = len(case.candidate) - len(case.reference)
    assert scores.volume_difference_ml == pytest.approx(difference * VOXEL_ML)


def test_lesions_and_settings_by_hand() -> None:
    # x:         0 1 2 3 4 5 6 7 8
    # reference  # # # . # . # # .     three lesions; the last, of 2 voxels, is missed
    # candidate  . # # # # . . . #     two lesions; the last, of 1 voxel, is extra
    masks = [
        mask_of([(x, 0, 0) for x in where], (9, 2, 1))
        for where in ((0, 1, 2, 4, 6, 7), (1, 2, 3, 4, 8))
    ]
    scores = score_two(*masks)
    assert (scores.reference_lesions, scores.candidate_lesions) == (3, 2)
    assert (scores.missed_lesions, scores.extra_lesions) == (1, 1)
    # 2 of 3 are found, 1 of 2 is right: 2 * (2/3) * (1/2) / (2/3 + 1/2) = 4/7
    assert scores.lesion_f1 == pytest.approx(4 / 7)
    assert scores.fnv_ml == pytest.approx(2 * VOXEL_ML)
    assert scores.fpv_ml == pytest.approx(1 * VOXEL_ML)
    # the volume spans 9 * 2, 2 * 3 and 1 * 5 mm
    assert scores.diagonal_mm == pytest.approx(math.sqrt(18**2 + 6**2 + 5**2))
    assert scores.spacing_mm == pytest.approx(SPACING_MM)
    assert (scores.threshold, scores.tolerance_mm) == (0.5, (1.0, 2.0))
    assert scores.version == __version__
    assert scores.held_out


def test_distances_by_hand() -> None:
    # one step of 3 mm along y: half of either surface is shared, half 3 mm away
    reference, candidate = mask_of([(1, 1, 1)]), mask_of([(1, 2, 1)])
    case = case_of({EXPERT_A: reference, EXPERT_B: candidate})
    (scores,) = score_case(case, tolerance_mm=(3, 1))
    assert scores.hd_mm == scores.hd95_mm == pytest.approx(3)
    assert scores.assd_mm == scores.masd_mm == pytest.approx(1.5)
    assert dict(scores.surface_dice) == pytest.approx({1.0: 0.5, 3.0: 1.0})
    assert scores.tolerance_mm == (1.0, 3.0)


def test_mesh_distances_by_hand() -> None:
    # voxels one step of 3 mm apart along y. The mesh of either is an octahedron whose tips lie half
    # a step from its centre: 8 triangles with centroids a third of that off along each axis
    reference, candidate = mask_of([(1, 1, 1)]), mask_of([(1, 2, 1)])
    case = case_of({EXPERT_A: reference, EXPERT_B: candidate})
    (scores,) = score_case(case, mesh=True)
    assert scores.surface == "mesh"
    assert not scores.tolerance_below_two_voxels
    # they share one tip. The four far centroids of either lie (1/6, 4/6, 1/6) steps off it, that is
    # (2/6, 2, 5/6) mm, and are nearest to the tip
    far_mm = math.hypot(2 / 6, 2, 5 / 6)
    # the four near ones lie (2/6, 1, 5/6) mm off. The other's edge from the tip towards its tip
    # along z runs along (0, 1.5, 2.5): on it they are (5/6 * 2.5 - 1 * 1.5)^2 / 8.5 mm2 nearer
    near_mm = math.sqrt((2 / 6) ** 2 + 1 + (5 / 6) ** 2 - (7 / 12) ** 2 / 8.5)
    assert scores.hd_mm == scores.hd95_mm == pytest.approx(far_mm)
    assert scores.assd_mm == scores.masd_mm == pytest.approx((far_mm + near_mm) / 2)
    assert dict(scores.surface_dice) == {1.0: 0.0, 2.0: pytest.approx(0.5)}


NAN = math.nan
# reference, candidate, status, Dice and IoU, sensitivity, precision, FPV, FNV in voxels;
# the distances are NaN in all of these
UNDEFINED = [
    pytest.param(3, 0, "missed", 0, 0, NAN, 0, 3, id="lesion, empty"),
    pytest.param(0, 3, "false_alarm", NAN, NAN, 0, 3, 0, id="empty, lesion"),
    pytest.param(0, 0, "both_empty", NAN, NAN, NAN, 0, 0, id="empty, empty"),
]


@pytest.mark.parametrize(
    ("n_reference", "n_candidate", "status", "overlap", "sensitivity", "precision", "fpv", "fnv"),
    UNDEFINED,
)
def test_undefined(
    n_reference: int,
    n_candidate: int,
    status: str,
    overlap: float,
    sensitivity: float,
    precision: float,
    fpv: int,
    fnv: int,
) -> None:
    # lesions of one voxel, two apart
    masks = [
        mask_of([(0, 0, 2 * i) for i in range(n)], (3, 3, 6)) for n in (n_reference, n_candidate)
    ]
    scores = score_two(*masks)
    assert scores.status == status
    expected = {
        "dice": overlap,
        "iou": overlap,
        "sensitivity": sensitivity,
        "precision": precision,
        "lesion_f1": overlap,
        "volume_matched_dice": NAN,  # of a model and an expert alone
        **dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm", "masd_mm"), NAN),
        **dict.fromkeys(("surface_dice_1mm", "surface_dice_2mm"), NAN),
        "reference_ml": n_reference * VOXEL_ML,
        "candidate_ml": n_candidate * VOXEL_ML,
        "volume_difference_ml": (n_candidate - n_reference) * VOXEL_ML,
        "reference_lesions": n_reference,
        "candidate_lesions": n_candidate,
        "missed_lesions": n_reference,
        "extra_lesions": n_candidate,
        "fpv_ml": fpv * VOXEL_ML,
        "fnv_ml": fnv * VOXEL_ML,
        # air without uptake, where there is an outline at all
        **{
            f"{role}_{what}": 0.0 if n or what == "tlg_ml" else NAN
            for role, n in (("reference", n_reference), ("candidate", n_candidate))
            for what in ("suv_max", "suv_mean", "suv_peak", "tlg_ml", "hu_mean")
        },
        "matched_lesions": 0,
        **dict.fromkeys(
            ("lesion_hd95_mm", "lesion_surface_dice_1mm", "lesion_surface_dice_2mm"), NAN
        ),
    }
    assert scores.numbers() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize(("n_reference", "n_candidate"), [(3, 2), (2, 3), (3, 0), (0, 3), (0, 0)])
def test_swapped_is_what_scoring_the_other_way_gives(n_reference: int, n_candidate: int) -> None:
    masks = {
        EXPERT_A: mask_of([(0, 0, 2 * i) for i in range(n_reference)], (3, 3, 6)),
        EXPERT_B: mask_of([(0, 1, 4 * i) for i in range(n_candidate)], (3, 3, 9))[:, :, :6],
    }
    case = case_of(masks)
    (there,) = score_case(case, pairs=[("Expert A", "Expert B")])
    (back,) = score_case(case, pairs=[("Expert B", "Expert A")])
    assert row_of(there.swapped()) == pytest.approx(row_of(back), nan_ok=True)
    both = score_case(case, pairs=[("Expert A", "Expert B"), ("Expert B", "Expert A")])
    assert row_of(both[1]) == pytest.approx(row_of(back), nan_ok=True)
    assert row_of(there.swapped().swapped()) == pytest.approx(row_of(there), nan_ok=True)


def test_all_pairs_of_four_readers() -> None:
    rng = np.random.default_rng(4)
    masks = [blob(rng, (8, 9, 10)) for _ in range(4)]
    # experts given last still come first
    case = case_of({EXPERT_A: masks[0], EXPERT_B: masks[1]})
    predictions = [prediction_of(MODEL_A, masks[2]), prediction_of(MODEL_B, masks[3])]
    scores = score_case(case, predictions)
    names = [(row.reference.name, row.candidate.name) for row in scores]
    assert names == [
        ("Expert A", "Expert B"),
        ("Expert A", "Model A"),
        ("Expert A", "Model B"),
        ("Expert B", "Model A"),
        ("Expert B", "Model B"),
        ("Model A", "Model B"),
    ]
    for row, (a, b) in zip(scores, itertools.combinations(masks, 2), strict=True):
        assert row.dice == pytest.approx(2 * (a & b).sum() / (a.sum() + b.sum()))
        alone = score_two(a, b)
        own = {"volume_matched_dice": row.volume_matched_dice}  # takes a model
        assert row.numbers() == pytest.approx(alone.numbers() | own, nan_ok=True)
    assert default_pairs([MODEL_A, EXPERT_A]) == (("Expert A", "Model A"),)


def test_counts_are_those_of_monai() -> None:
    import monai.metrics as monai
    import torch

    rng = np.random.default_rng(5)
    for _ in range(200):
        shape = rng.integers(3, 16, size=3)
        reference, candidate = blob(rng, shape), blob(rng, shape)
        scores = score_two(reference, candidate)
        tensors = [
            torch.from_numpy(m[None, None].astype(np.float32)) for m in (candidate, reference)
        ]
        assert scores.dice == pytest.approx(monai.DiceMetric()(*tensors).item(), abs=1e-6)
        assert scores.iou == pytest.approx(monai.MeanIoU()(*tensors).item(), abs=1e-6)
        matrix = monai.get_confusion_matrix(*tensors)
        for name in ("sensitivity", "precision"):
            expected = monai.compute_confusion_matrix_metric(name, matrix).item()
            assert scores.value(name) == pytest.approx(expected, abs=1e-6)


def test_readers_beyond_four() -> None:
    rng = np.random.default_rng(6)
    masks = {Reader(f"Expert {n}"): blob(rng, (5, 6, 7)) for n in range(6)}
    assert len(score_case(case_of(masks))) == 15


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_axes_in_any_order_and_direction_give_the_same(order: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(48)
    masks = blob(rng, (6, 7, 8)), blob(rng, (6, 7, 8))
    straight = score_two(*masks)
    affine = np.diag([*SPACING_MM, 1.0])[:, [*order, 3]]
    shape = tuple(masks[0].shape[axis] for axis in order)
    for flip in itertools.product((1, -1), repeat=3):
        turned = [m.transpose(order)[tuple(slice(None, None, f) for f in flip)] for m in masks]
        grid = Grid((shape[0], shape[1], shape[2]), affine @ np.diag([*flip, 1.0]))
        assert score_two(*turned, grid).numbers() == pytest.approx(straight.numbers(), nan_ok=True)


def test_an_oblique_grid_gives_the_same() -> None:
    rng = np.random.default_rng(49)
    masks = blob(rng, (6, 7, 8)), blob(rng, (6, 7, 8))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(SPACING_MM)
    affine[:3, 3] = (120, -40, 900)
    oblique = score_two(*masks, Grid((6, 7, 8), affine))
    assert oblique.numbers() == pytest.approx(score_two(*masks).numbers(), nan_ok=True)


def test_threshold_decides_the_model_outline() -> None:
    # the probability is 0.5 exactly in one voxel and 0.9 in another
    probability = np.zeros((4, 4, 4))
    probability[1, 1, 1], probability[1, 1, 2] = 0.5, 0.9
    case = case_of({EXPERT_A: mask_of([(1, 1, 1), (1, 1, 2)])})
    predictions = [prediction_of(MODEL_A, probability)]
    (at_half,) = score_case(case, predictions)
    (above,) = score_case(case, predictions, threshold=0.6)
    assert (at_half.dice, at_half.threshold) == (1, 0.5)
    assert (above.dice, above.threshold) == (pytest.approx(2 / 3), 0.6)


def test_a_model_that_saw_the_patient_is_not_held_out() -> None:
    mask = mask_of([(1, 1, 1)])
    case = case_of({EXPERT_A: mask, EXPERT_B: mask})
    seen = prediction_of(MODEL_A, mask, trained_on=("017",))
    scores = score_case(case, [seen, prediction_of(MODEL_B, mask)])
    held_out = {(row.reference.name, row.candidate.name): row.held_out for row in scores}
    assert held_out == {
        ("Expert A", "Expert B"): True,
        ("Expert A", "Model A"): False,
        ("Expert A", "Model B"): True,
        ("Expert B", "Model A"): False,
        ("Expert B", "Model B"): True,
        ("Model A", "Model B"): False,
    }


def test_tolerances_that_the_grid_cannot_resolve_are_marked() -> None:
    mask = mask_of([(1, 1, 1)])
    case = case_of({EXPERT_A: mask, EXPERT_B: mask})  # slices of 5 mm
    for tolerance_mm, fine in (((2.0, 12.0), True), ((9.9,), True), ((10.0,), False)):
        (scores,) = score_case(case, tolerance_mm=tolerance_mm)
        assert scores.tolerance_below_two_voxels is fine


MASK = mask_of([(1, 1, 1)])
CASE = case_of({EXPERT_A: MASK, EXPERT_B: MASK})
MOVED = Grid.straight((4, 4, 4), SPACING_MM, (0, 0, 1))
TILTED = Grid(
    (4, 4, 4), np.array([[2, 0, 0, 0], [0, 3, 1.2, 0], [0, 0, 5, 0], [0, 0, 0, 1]], dtype=float)
)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        pytest.param(
            {"predictions": [prediction_of(MODEL_A, MASK, grid=MOVED)]},
            GridError,
            r"patient 017: Model A is on 4x4x4 .*1\.0\) mm, RAS, the CT on .*harmonise\(\) first",
            id="prediction on another grid",
        ),
        pytest.param(
            {
                "case": case_of({EXPERT_A: MASK}).with_masks(
                    {EXPERT_B: case_of({EXPERT_A: MASK}, grid=MOVED).masks[EXPERT_A]}
                )
            },
            GridError,
            r"patient 017: Expert B is on .*harmonise\(\) first",
            id="mask on another grid",
        ),
        pytest.param(
            {"case": case_of({EXPERT_A: MASK, EXPERT_B: MASK}, grid=TILTED)},
            GridError,
            "patient 017: grid axes meet",
            id="sheared grid",
        ),
        pytest.param(
            {"predictions": [prediction_of(MODEL_A, MASK, patient_id="018")]},
            InputError,
            "patient 017: the prediction of Model A is for patient 018",
            id="prediction for another patient",
        ),
        pytest.param(
            {"predictions": [prediction_of(MODEL_A, MASK, session="S2")]},
            InputError,
            "is for patient 017 S2",
            id="prediction for another session",
        ),
        pytest.param(
            {"predictions": [prediction_of(MODEL_A, MASK)] * 2},
            InputError,
            "reader Model A appears twice",
            id="a reader twice",
        ),
        pytest.param(
            {"case": case_of({EXPERT_A: MASK, MODEL_A: MASK})},
            InputError,
            "mask of Model A comes without its prediction",
            id="a model's mask of unknown origin",
        ),
        pytest.param(
            {"case": case_of({EXPERT_A: MASK})},
            InputError,
            "readers found: Expert A; expected at least two",
            id="one reader",
        ),
        pytest.param(
            {"pairs": [("Expert A", "Expert C")]},
            InputError,
            "no reader 'Expert C' to score; there is Expert A, Expert B",
            id="unknown reader",
        ),
        pytest.param(
            {"pairs": [("Expert A", "Expert A")]},
            InputError,
            "two readers",
            id="one reader as pair",
        ),
        pytest.param(
            {"pairs": [("Expert A", "Expert B")] * 2}, InputError, "once", id="a pair twice"
        ),
        pytest.param(
            {
                "case": case_of(
                    {EXPERT_A: MASK, Reader("Expert A", intent="high-specificity"): MASK}
                )
            },
            InputError,
            "patient 017: reader Expert A appears twice",
            id="two experts of one name",
        ),
        pytest.param({"tolerance_mm": (1 / 3,)}, InputError, "at most six digits", id="1/3 mm"),
        pytest.param({"tolerance_mm": ()}, InputError, "one or more", id="no tolerance"),
        pytest.param({"tolerance_mm": (0,)}, InputError, "above 0", id="tolerance of 0"),
        pytest.param({"tolerance_mm": (NAN,)}, InputError, "above 0", id="tolerance of NaN"),
        pytest.param(
            {"threshold": 0, "predictions": [prediction_of(MODEL_A, MASK)]},
            InputError,
            "threshold 0",
            id="threshold of 0",
        ),
    ],
)
def test_bad_input_is_named(
    arguments: dict[str, object], error: type[BonevizError], message: str
) -> None:
    with pytest.raises(error, match=message):
        score_case(**{"case": CASE, **arguments})  # type: ignore[arg-type]
