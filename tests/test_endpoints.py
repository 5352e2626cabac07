"""Endpoints, biases and controls, from scores worked out by hand and from simulated studies."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from cases import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B, case_of, prediction_of, scores_of
from scipy import ndimage

from boneviz.case import Prediction, Reader
from boneviz.endpoints import (
    control_words,
    endpoints,
    holm,
    lean,
    seed_control,
    volume_bias,
)
from boneviz.errors import InputError
from boneviz.interaction import sign_flip
from boneviz.score import score_case
from boneviz.scorerow import Scores

MODEL_A2 = Reader("Model A (seed 1)", "model", "high-sensitivity", "Expert A", variant="seed 1")
PAIRS = {
    (EXPERT_A, MODEL_A): 0.8,
    (EXPERT_B, MODEL_B): 0.75,
    (EXPERT_A, MODEL_B): 0.5,
    (EXPERT_B, MODEL_A): 0.45,
    (EXPERT_A, EXPERT_B): 0.6,
}


def study(n: int = 8, **changes: Callable[[int], float]) -> list[Scores]:
    """Return scores of n patients; `changes` gives other values by patient number."""
    return [
        scores_of(
            reference,
            candidate,
            patient_id=f"P{patient:02}",
            dice=dice + 0.01 * patient,
            **{name: value(patient) for name, value in changes.items()},
        )
        for patient in range(n)
        for (reference, candidate), dice in PAIRS.items()
    ]


def test_holm_by_hand() -> None:
    # ascending 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1, none below the one before
    found = holm([0.03, 0.01, math.nan, 0.5, 0.02])
    assert found == pytest.approx([0.06, 0.04, math.nan, 0.5, 0.06], nan_ok=True)
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).size == 0
    with pytest.raises(InputError, match="numbers from 0 to 1"):
        holm([1.2])


def test_endpoints_by_hand() -> None:
    table = endpoints(study(), secondary=("iou", "lesion_f1")).set_index("metric")
    assert list(table["role"]) == ["primary", "secondary", "secondary"]
    # I = 0.8 + 0.75 - 0.5 - 0.45 in every patient, so that only one of 2^8 patterns and its
    # mirror image are as far from 0
    assert table.loc["dice", "mean"] == pytest.approx(0.6)
    assert table.loc["dice", "p"] == table.loc["dice", "p_holm"] == pytest.approx(2 / 2**8)
    assert table.loc["dice", "identity_rate"] == table.loc["dice", "rank_biserial"] == 1
    # all other scores are 0.5 throughout
    assert list(table["p"][1:]) == [1, 1]
    assert list(table["n"]) == [8, 8, 8]


def test_secondary_endpoints_pay_for_their_number() -> None:
    # of two secondary endpoints one is as clear as Dice: its p is doubled
    rows = [
        scores_of(a, b, patient_id=f"P{n}", dice=dice, iou=dice)
        for n in range(8)
        for (a, b), dice in PAIRS.items()
    ]
    table = endpoints(rows, secondary=("iou", "lesion_f1")).set_index("metric")
    assert table.loc["iou", "p"] == pytest.approx(2 / 2**8)
    assert table.loc["iou", "p_holm"] == pytest.approx(4 / 2**8)


def test_volume_bias_by_hand() -> None:
    # the candidate is 2 and 8 times as large, by logarithm 4 times: log 4 +- 1.96 SD, where the SD
    # of log 2 and log 8 is log 8 - log 2 over root 2; a third patient has an empty candidate
    rows = [
        scores_of(EXPERT_A, MODEL_A, patient_id="P0", reference_ml=3.0, candidate_ml=6.0),
        scores_of(EXPERT_A, MODEL_A, patient_id="P1", reference_ml=1.0, candidate_ml=8.0),
        scores_of(EXPERT_A, MODEL_A, patient_id="P2", candidate_ml=0.0, status="missed"),
    ]
    (bias,) = volume_bias(rows).to_dict("records")
    spread = 1.96 * math.log(4) / math.sqrt(2)
    assert (bias["reference"], bias["candidate"]) == ("Expert A", "Model A")
    assert (bias["n"], bias["n_left_out"]) == (2, 1)
    assert bias["ratio"] == pytest.approx(4)
    assert bias["low"] == pytest.approx(4 * math.exp(-spread))
    assert bias["high"] == pytest.approx(4 * math.exp(spread))


def test_lean_by_hand() -> None:
    rows = [
        scores_of(EXPERT_A, MODEL_A, patient_id="P0", sensitivity=0.9, precision=0.5),
        scores_of(EXPERT_A, MODEL_A, patient_id="P1", sensitivity=0.8, precision=0.6),
        scores_of(EXPERT_A, MODEL_A, patient_id="P2", sensitivity=0.0, precision=math.nan),
    ]
    (found,) = lean(rows).to_dict("records")
    assert found["mean"] == pytest.approx(0.3)
    assert found["sd"] == pytest.approx(0.1 * math.sqrt(2))
    assert found["n"] == 2


def test_the_seed_control_by_hand() -> None:
    rows = study()
    for patient in range(8):
        # the second seed is 0.02 better with expert A in even patients, 0.02 worse in odd ones
        change = 0.02 if patient % 2 == 0 else -0.02
        for expert, dice in ((EXPERT_A, 0.8 + change), (EXPERT_B, 0.45)):
            rows.append(
                scores_of(expert, MODEL_A2, patient_id=f"P{patient:02}", dice=dice + 0.01 * patient)
            )
    (control,) = seed_control(rows)
    assert control.models == ("Model A", "Model A (seed 1)")
    # I = D(EA, first) + D(EB, second) - D(EB, first) - D(EA, second) = -change
    assert control.per_patient.tolist() == pytest.approx([-0.02, 0.02] * 4)
    assert control.test.p == 1
    # the study itself takes the two models without a variant, though there are three now
    assert endpoints(rows, secondary=()).loc[0, "mean"] == pytest.approx(0.6)
    assert seed_control(study()) == ()
    with pytest.raises(InputError, match="experts found: Expert A; the seed control takes two"):
        seed_control([scores_of(EXPERT_A, MODEL_A)])


SHAPE = (18, 18, 12)


def blurred(rng: np.random.Generator, sigma: float) -> np.ndarray:
    noise = ndimage.gaussian_filter(rng.normal(size=SHAPE), sigma)
    return noise / noise.std()


def simulated_study(
    seed: int, *, shape_style: float, size_style: float, n_patients: int = 12
) -> list[Scores]:
    """Return a study of two experts and the models that learned from them.

    Every reader sees the patient's lesion through noise of their own. `shape_style` adds to each
    expert, and to the model that learned from them, a pattern that is theirs in this patient;
    `size_style` makes expert B and model B draw less.
    """
    rng = np.random.default_rng(seed)
    rows: list[Scores] = []
    for patient in range(n_patients):
        lesion = 2 * blurred(rng, 2.5)
        styles = [shape_style * blurred(rng, 2.0) for _ in range(2)]
        maps = [lesion + style + 0.35 * blurred(rng, 1.5) for style in styles * 2]
        cut = [1.0, 1.0 + size_style] * 2
        who = f"P{patient:02}"
        masks = {
            expert: field > level
            for expert, field, level in zip((EXPERT_A, EXPERT_B), maps[:2], cut[:2], strict=True)
        }
        predictions: list[Prediction] = []
        for model, field, level in zip((MODEL_A, MODEL_B), maps[2:], cut[2:], strict=True):
            probability = np.rint(255 / (1 + np.exp(-2 * (field - level)))) / 255
            predictions.append(prediction_of(model, probability, patient_id=who))
        rows += score_case(case_of(masks, patient_id=who), predictions)
    return rows


def p_of(rows: list[Scores]) -> dict[str, float]:
    table = endpoints(rows, secondary=("volume_matched_dice",)).set_index("metric")
    return dict(table["p"])


def test_a_style_of_shape_is_found_by_both() -> None:
    p = p_of(simulated_study(1, shape_style=1.0, size_style=0.0))
    assert p["dice"] < 0.01
    assert p["volume_matched_dice"] < 0.01


def test_a_style_of_size_alone_is_not_one_of_place() -> None:
    matched = []
    for seed in range(12):
        p = p_of(simulated_study(seed, shape_style=0.0, size_style=0.8))
        assert p["dice"] < 0.01
        matched.append(p["volume_matched_dice"])
    # at 5 % a chance of 0.98 for at most 2 of 12
    assert sum(p < 0.05 for p in matched) <= 2


def test_one_style_is_not_taken_for_two() -> None:
    """Null matrices: each patient's four scores differ by noise that the two models share in part.

    The test is exact, so that at most 5 % of studies may come out below 0.05; of 2,000 that is
    100, with a Monte Carlo error of 10.
    """
    rng = np.random.default_rng(7)
    n_studies, n_patients, below = 2000, 20, 0
    for _ in range(n_studies):
        # d[model, expert]: the patient's difficulty, how well each model and each expert do, and
        # noise of the pair, skewed as Dice is
        difficulty = rng.beta(8, 3, (n_patients, 1, 1))
        model = rng.normal(0, 0.05, (n_patients, 2, 1))
        expert = rng.normal(0.1, 0.05, (1, 1, 2)) + rng.normal(0, 0.05, (n_patients, 1, 2))
        noise = 0.1 * rng.standard_t(3, (n_patients, 2, 2))
        d = np.clip(difficulty + model - expert + noise, 0, 1)
        interaction = d[:, 0, 0] + d[:, 1, 1] - d[:, 0, 1] - d[:, 1, 0]
        below += sign_flip(interaction).p < 0.05
    assert below <= 100 + 2 * 10
    assert below >= 50  # an exact test at n = 20 is not far from 5 % either


def test_the_control_is_told_beside_the_study() -> None:
    rows = study()
    rows += [
        scores_of(expert, MODEL_A2, patient_id=f"P{n:02}", dice=dice + 0.01 * n)
        for n in range(8)
        for expert, dice in ((EXPERT_A, 0.77), (EXPERT_B, 0.45))
    ]
    (control,) = seed_control(rows)
    # I = 0.8 - 0.77 in every patient, a twentieth of the study's 0.6
    words = control_words(control, 0.6)
    assert words.startswith(
        "Model A and Model A (seed 1), as if they had learned from two experts: I = +0.03 in dice "
        "on average beside +0.6 in the study (5 % of it in size), p = 0.00781, n = 8."
    )
