"""Tables of counts say to the last digit what scoring the cut maps says."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cases import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B, VOXEL_ML, blob, case_of, mask_of
from cases import prediction_of as prediction_at
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from boneviz.blend import Origin, blend
from boneviz.case import Case, CaseRef, Prediction, Reader
from boneviz.errors import BonevizError, GridError, InputError
from boneviz.nifti import read_prediction, write_prediction
from boneviz.operating import Dial, OperatingPoint, cuts_of, dial_of
from boneviz.score import score_case
from boneviz.volume import Grid

SAME = (
    "patient_id",
    "session",
    "held_out",
    "demonstration",
    "version",
    "status",
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "reference_ml",
    "candidate_ml",
    "volume_difference_ml",
)


def levels_of(reader: Reader, level: NDArray[np.integer], **changes: object) -> Prediction:
    """Return a prediction as it is read from a file that stores these levels."""
    probability = level.astype(np.float32) * np.float32(1 / 255)
    return prediction_at(reader, probability, **changes)  # type: ignore[arg-type]


def row_of(reader: Reader, *level: int) -> Prediction:
    """Return a prediction along x."""
    return levels_of(reader, np.array(level).reshape(-1, 1, 1))


def require_equal(point: OperatingPoint, case: Case, prediction: Prediction) -> None:
    """Compare with `score_case`, each number to the last digit."""
    (scores,) = score_case(
        case,
        [prediction],
        pairs=[(point.reference, prediction.reader.name)],
        threshold=point.threshold,
    )
    for name in SAME:
        np.testing.assert_array_equal(getattr(point, name), getattr(scores, name), err_msg=name)
    assert point.candidate == scores.candidate.name


#   x:         0   1   2   3   4
#   expert A   #   #   #   .   .
#   expert B   .   #   .   .   #
#   model    255 128 127  51   0
ROW = case_of(
    {
        EXPERT_A: mask_of([(0, 0, 0), (1, 0, 0), (2, 0, 0)], (5, 1, 1)),
        EXPERT_B: mask_of([(1, 0, 0), (4, 0, 0)], (5, 1, 1)),
    }
)
MODEL = row_of(MODEL_A, 255, 128, 127, 51, 0)


def test_by_hand() -> None:
    cuts = cuts_of(ROW, MODEL)
    # 0.5 is 127.5 steps: voxels 0 and 1 are drawn, both of them in A, voxel 1 in B
    at_half = cuts.at(0.5, "Expert A")
    assert (at_half.dice, at_half.iou) == (4 / 5, 2 / 3)
    assert (at_half.sensitivity, at_half.precision) == (2 / 3, 1)
    assert at_half.reference_ml == pytest.approx(3 * VOXEL_ML)
    assert at_half.candidate_ml == pytest.approx(2 * VOXEL_ML)
    assert at_half.volume_difference_ml == pytest.approx(-1 * VOXEL_ML)
    assert (at_half.false_positive_ml, at_half.false_negative_ml) == (0, pytest.approx(VOXEL_ML))
    # voxels 0 to 3 from a tenth on: B has voxel 1 of them, and voxel 4 besides
    low = cuts.at(0.1, "Expert B")
    assert (low.sensitivity, low.precision, low.dice) == (1 / 2, 1 / 4, 2 / 6)
    assert low.false_positive_ml == pytest.approx(3 * VOXEL_ML)
    assert (low.status, low.threshold, low.candidate) == ("both", 0.1, "Model A")


def test_the_curve_by_hand() -> None:
    curve = cuts_of(ROW, MODEL).curve("Expert A")
    assert len(curve.threshold) == len(curve.sensitivity) == len(curve.false_positive_ml) == 256
    # entry k is the cut at level k + 1. Up to level 51 voxel 3 is drawn, which A did not outline
    drawn = dict(enumerate(zip(curve.sensitivity, curve.false_positive_ml, strict=True), start=1))
    for level, sensitivity, extra in (
        (1, 1, 1),
        (51, 1, 1),
        (52, 1, 0),
        (127, 1, 0),
        (128, 2 / 3, 0),
        (129, 1 / 3, 0),
        (255, 1 / 3, 0),
        (256, 0, 0),
    ):
        assert drawn[level] == (sensitivity, pytest.approx(extra * VOXEL_ML)), level
    assert curve.threshold[50] == np.float32(51) * np.float32(1 / 255)
    assert curve.threshold[-1] == math.inf
    assert (np.diff(curve.threshold) > 0).all()
    with pytest.raises(ValueError, match="read-only"):
        curve.sensitivity[0] = 0


def test_experts_are_points_on_the_same_axes() -> None:
    cuts = cuts_of(ROW, MODEL)
    # B has one of A's three voxels, and one of its own
    other = cuts.expert("Expert B", "Expert A")
    assert other.sensitivity == 1 / 3
    assert other.false_positive_ml == pytest.approx(VOXEL_ML)
    assert math.isnan(other.threshold)
    itself = cuts.expert("Expert A", "Expert A")
    assert (itself.sensitivity, itself.false_positive_ml, itself.dice) == (1, 0, 1)
    (scores,) = score_case(ROW, pairs=[("Expert A", "Expert B")])
    for name in SAME:
        assert getattr(other, name) == getattr(scores, name)


NAN = math.nan


@pytest.mark.parametrize(
    ("outlined", "level", "threshold", "status", "dice", "sensitivity", "precision"),
    [
        pytest.param(2, 200, 0.9, "missed", 0, 0, NAN, id="nothing so high"),
        pytest.param(0, 200, 0.5, "false_alarm", NAN, NAN, 0, id="expert empty"),
        pytest.param(0, 200, 0.9, "both_empty", NAN, NAN, NAN, id="both empty"),
        pytest.param(2, 0, 0.001, "missed", 0, 0, NAN, id="a map of zeros"),
        pytest.param(2, 255, 1.0, "both", 2 / 3, 1 / 2, 1, id="certain"),
    ],
)
def test_undefined(
    outlined: int,
    level: int,
    threshold: float,
    status: str,
    dice: float,
    sensitivity: float,
    precision: float,
) -> None:
    mask = mask_of([(x, 0, 0) for x in range(outlined)], (3, 1, 1))
    case, prediction = case_of({EXPERT_A: mask}), row_of(MODEL_A, level, 0, 0)
    cuts = cuts_of(case, prediction)
    point = cuts.at(threshold, "Expert A")
    assert point.status == status
    for name, expected in (
        ("dice", dice),
        ("sensitivity", sensitivity),
        ("precision", precision),
    ):
        assert getattr(point, name) == pytest.approx(expected, nan_ok=True), name
    require_equal(point, case, prediction)
    assert np.isnan(cuts.curve("Expert A").sensitivity).all() == (outlined == 0)


THRESHOLDS = st.one_of(
    st.floats(0, 1, exclude_min=True),
    st.integers(1, 255).map(lambda level: level / 255),
    st.integers(1, 255).map(lambda level: float(np.float32(level) * np.float32(1 / 255))),
    st.sampled_from([1e-9, 0.2, 0.5, 1.0]),
)
SHARES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))


def drawn_at(seed: int) -> tuple[Case, Prediction, Prediction]:
    """Return a case of two experts and two maps with every kind of level; some are empty."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(2, 7, size=3))
    masks = [blob(rng, shape) & (rng.random() < 0.9) for _ in range(2)]
    maps = []
    for reader, mask in zip((MODEL_A, MODEL_B), masks, strict=True):
        level = rng.integers(0, 256, shape) * (mask | (rng.random(shape) < 0.3))
        maps.append(levels_of(reader, np.asfortranarray(level)))
    return case_of(dict(zip((EXPERT_A, EXPERT_B), masks, strict=True))), maps[0], maps[1]


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), threshold=THRESHOLDS)
def test_a_cut_equals_the_scored_mask(seed: int, threshold: float) -> None:
    case, prediction, _ = drawn_at(seed)
    cuts = cuts_of(case, prediction)
    for expert in ("Expert A", "Expert B"):
        require_equal(cuts.at(threshold, expert), case, prediction)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), threshold=THRESHOLDS, t=SHARES)
def test_the_dial_equals_the_scored_blend(seed: int, threshold: float, t: float) -> None:
    case, first, second = drawn_at(seed)
    cuts, blended = dial_of(case, first, second).at(t), blend(first, second, t)
    assert cuts.origin == Origin.of(blended)
    for expert in ("Expert A", "Expert B"):
        require_equal(cuts.at(threshold, expert), case, blended)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_ends_of_the_dial_are_the_models(seed: int) -> None:
    case, first, second = drawn_at(seed)
    dial = dial_of(case, first, second)
    for t, model in ((0, first), (1, second)):
        assert dial.at(t).origin == Origin.of(model)
        np.testing.assert_array_equal(dial.at(t).at_least, cuts_of(case, model).at_least)
        assert blend(first, second, t) is model


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_curve_is_every_cut(seed: int) -> None:
    case, prediction, _ = drawn_at(seed)
    cuts = cuts_of(case, prediction)
    curve = cuts.curve("Expert B")
    for n in range(0, 255, 16):
        point = cuts.at(float(curve.threshold[n]), "Expert B")
        np.testing.assert_array_equal(curve.sensitivity[n], point.sensitivity)
        assert curve.false_positive_ml[n] == point.false_positive_ml
    assert int(cuts.at_least[:, 0].sum()) == case.ct.array.size


def test_the_blend_by_hand() -> None:
    first, second = row_of(MODEL_A, 255, 128, 127, 51, 0), row_of(MODEL_B, 0, 129, 0, 0, 255)
    # a quarter of the way: 191.25, 128.25, 95.25, 38.25 and 63.75 steps
    quarter = blend(first, second, 0.25)
    assert np.rint(quarter.probability.array.ravel() * 255).tolist() == [191, 128, 95, 38, 64]
    # half way: 127.5, 128.5, 63.5, 25.5 and 127.5; a half goes to the even level
    half = blend(first, second, 0.5)
    assert np.rint(half.probability.array.ravel() * 255).tolist() == [128, 128, 64, 26, 128]
    assert half.reader.name == "Model A to Model B at 0.5"
    at_half = dial_of(ROW, first, second).at(0.5).at(0.5, "Expert A")
    # voxels 0, 1 and 4 are drawn, of which A has two
    assert (at_half.sensitivity, at_half.precision) == (2 / 3, 2 / 3)
    assert at_half.false_positive_ml == pytest.approx(VOXEL_ML)


@pytest.mark.parametrize("t", [0.0, 0.3, 0.5, 1.0])
def test_a_blend_that_is_written_and_read_is_the_same(tmp_path: Path, t: float) -> None:
    case, first, second = drawn_at(7)
    blended = blend(first, second, t)
    write_prediction(blended, tmp_path)
    again = read_prediction(tmp_path, CaseRef("017", "", Path("ct.nii"), Path("pet.nii")))
    np.testing.assert_array_equal(again.probability.array, blended.probability.array)
    for threshold in (0.2, 0.4, 0.5, 0.8):
        point = dial_of(case, first, second).at(t).at(threshold, "Expert A")
        require_equal(point, case, again)


TS = (0, 0.5, 1)


def test_the_blend_is_held_out_where_both_are() -> None:
    first = row_of(MODEL_A, 255, 0)
    second = replace(row_of(MODEL_B, 0, 255), trained_on=frozenset({"017"}), demonstration=True)
    assert blend(first, replace(second, trained_on=frozenset()), 0.5).held_out
    blended = blend(first, second, 0.5)
    assert not blended.held_out
    assert blended.demonstration
    assert blended.trained_on == {"001", "002", "017"}
    assert blended.reader.kind == "model"
    # what a panel shows of it says so as well, and of either end what is true there
    dial = dial_of(case_of({EXPERT_A: mask_of([(0, 0, 0)], (2, 1, 1))}), first, second)
    told = [(p.held_out, p.demonstration) for p in (dial.at(t).at(0.5, "Expert A") for t in TS)]
    assert told == [(True, False), (False, True), (False, True)]
    expert = dial.at(0.5).expert("Expert A", "Expert A")
    assert (expert.held_out, expert.demonstration) == (True, False)


def test_eight_experts() -> None:
    rng = np.random.default_rng(3)
    masks = {Reader(f"Expert {n}"): blob(rng, (4, 5, 6)) for n in range(8)}
    prediction = levels_of(MODEL_A, rng.integers(0, 256, (4, 5, 6)))
    cuts = cuts_of(case_of(masks), prediction)
    for name in ("Expert 0", "Expert 5", "Expert 7"):
        require_equal(cuts.at(0.3, name), case_of(masks), prediction)


def test_a_step_of_the_dial_takes_less_than_a_blink() -> None:
    # the worst case: all 65 536 pairs of levels under all patterns of two experts
    rng = np.random.default_rng(1)
    level = rng.integers(0, 256, (2, 64, 64, 64))
    case = case_of({EXPERT_A: blob(rng, (64, 64, 64)), EXPERT_B: blob(rng, (64, 64, 64))})
    dial = dial_of(case, levels_of(MODEL_A, level[0]), levels_of(MODEL_B, level[1]))
    assert dial.count.size > 100_000
    took = []
    for t in (0.1, 0.3, 0.5, 0.7, 0.9):
        start = time.perf_counter()
        cuts = dial.at(t)
        for expert in ("Expert A", "Expert B"):
            cuts.at(0.5, expert)
            cuts.curve(expert)
        took.append(time.perf_counter() - start)
    assert min(took) < 0.1


A_DIAL: Dial = dial_of(ROW, MODEL, row_of(MODEL_B, 0, 0, 0, 0, 9))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        pytest.param(
            lambda: cuts_of(ROW, MODEL).at(0, "Expert A"), InputError, "threshold 0", id="zero"
        ),
        pytest.param(
            lambda: cuts_of(ROW, MODEL).at(NAN, "Expert A"), InputError, "threshold nan", id="NaN"
        ),
        pytest.param(
            lambda: cuts_of(ROW, MODEL).curve("Expert C"),
            InputError,
            "no expert 'Expert C' .* expected one of Expert A, Expert B",
            id="unknown expert",
        ),
        pytest.param(
            lambda: cuts_of(ROW, prediction_at(MODEL_A, np.full((5, 1, 1), 0.3))),
            InputError,
            r"patient 017: probabilities of Model A lie between .* write_prediction\(\)",
            id="between the steps",
        ),
        pytest.param(
            lambda: cuts_of(ROW, prediction_at(MODEL_A, np.full((5, 1, 1), 1e-7))),
            InputError,
            "lie between",
            id="just above zero",
        ),
        pytest.param(
            lambda: A_DIAL.at(1.01), InputError, r"dial at 1\.01: expected 0", id="beyond the dial"
        ),
        pytest.param(
            lambda: A_DIAL.at(NAN), InputError, "dial at nan: expected 0", id="nowhere on the dial"
        ),
        pytest.param(
            lambda: blend(MODEL, replace(row_of(MODEL_B, 0, 0, 0, 0, 9), session="S2"), 0.5),
            InputError,
            r"patient 017 \(Model A\) and patient 017 S2 \(Model B\)",
            id="two cases",
        ),
        pytest.param(
            lambda: blend(
                MODEL,
                levels_of(MODEL_B, np.zeros((5, 1, 1)), grid=Grid.straight((5, 1, 1), (1, 1, 1))),
                0.5,
            ),
            GridError,
            "Model B is on 5x1x1 voxels of 1 x 1 x 1 mm",
            id="two grids",
        ),
        pytest.param(
            lambda: dial_of(replace(ROW, masks={}), MODEL, row_of(MODEL_B, 0, 0, 0, 0, 9)),
            InputError,
            "patient 017: 0 experts; expected 1 to 8",
            id="no expert",
        ),
    ],
)
def test_bad_input_is_named(call: object, error: type[BonevizError], message: str) -> None:
    with pytest.raises(error, match=message):
        call()  # type: ignore[operator]
