"""What fusion gains, from scores worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B, scores_of
from small import limb, tiny_config, write_tiny_cohort

from boneviz.ablation import fusion_gain, fusion_gains, fusion_words
from boneviz.case import Reader
from boneviz.endpoints import endpoints, seed_control, who_draws_larger
from boneviz.errors import InputError
from boneviz.score import default_pairs
from boneviz.scorerow import Scores


def variant(of: Reader, what: str) -> Reader:
    return Reader(f"{of.name} ({what})", "model", of.intent, of.learned_from, what)


CT_A, PET_A = variant(MODEL_A, "CT only"), variant(MODEL_A, "PET only")
CT_B, PET_B = variant(MODEL_B, "CT only"), variant(MODEL_B, "PET only")
SEED_A, SEED_B = variant(MODEL_A, "seed 1"), variant(MODEL_B, "seed 1")
TEN = (EXPERT_A, EXPERT_B, MODEL_A, MODEL_B, CT_A, CT_B, PET_A, PET_B, SEED_A, SEED_B)
BY_NAME = {reader.name: reader for reader in TEN}
#: Dice with expert A, then with expert B
DICE = {
    "Expert B": (0.60, math.nan),
    "Model A": (0.80, 0.45),
    "Model B": (0.50, 0.75),
    "Model A (CT only)": (0.60, 0.40),
    "Model A (PET only)": (0.70, 0.40),
    "Model B (CT only)": (0.40, 0.55),
    "Model B (PET only)": (0.40, 0.65),
    "Model A (seed 1)": (0.79, 0.45),
    "Model B (seed 1)": (0.50, 0.74),
}


def ten_readers(n: int = 6, *, shift: Callable[[str, int], float] = lambda *_: 0.0) -> list[Scores]:
    """Return the scores of ten readers in n patients; `shift` adds to a candidate's Dice."""
    rows = []
    for patient in range(n):
        for reference, candidate in default_pairs(TEN):
            place = 0 if reference == "Expert A" else 1
            dice = DICE[candidate][place] if "Expert" in reference else 0.5
            rows.append(
                scores_of(
                    BY_NAME[reference],
                    BY_NAME[candidate],
                    patient_id=f"P{patient:02}",
                    dice=dice + shift(candidate, patient),
                )
            )
    return rows


def test_the_gain_by_hand() -> None:
    # expert A: fused 0.8, CT 0.6 but in P00 0.9, so that gains are -0.1 and thrice 0.2
    rows = ten_readers(4, shift=lambda who, n: 0.3 * (who == CT_A.name and n == 0))
    table = fusion_gain(rows, n_resamples=500).set_index(["expert", "ablation"])
    assert list(table.index) == [
        ("Expert A", "CT only"),
        ("Expert A", "PET only"),
        ("Expert B", "CT only"),
        ("Expert B", "PET only"),
    ]
    row = table.loc["Expert A", "CT only"]
    assert (row["n"], row["n_dropped"]) == (4, 0)
    assert row["mean_fused"] == pytest.approx(0.8)
    assert row["mean_ablated"] == pytest.approx((0.9 + 3 * 0.6) / 4)
    assert row["mean"] == pytest.approx(0.125)  # (-0.1 + 3 * 0.2) / 4
    # squares of -0.225 and thrice 0.075 sum to 0.0675, over n - 1 = 3
    assert row["sd"] == pytest.approx(math.sqrt(0.0675 / 3))
    assert row["median"] == pytest.approx(0.2)
    assert row["better_rate"] == 0.75
    # sums of +-0.1 +-0.2 +-0.2 +-0.2 as far from 0 as 0.5: all of one sign, 0.7, and with the 0.1
    # turned, 0.5; with their mirror images 4 of 16
    assert row["p"] == pytest.approx(4 / 16)
    assert row["smallest_p"] == pytest.approx(2 / 16)
    # the other three gains are alike in all patients, 2 of 16; times 4 rows, at most 1
    assert table["p"].tolist()[1:] == pytest.approx([2 / 16] * 3)
    assert table["p_holm"].tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5])
    assert table.loc["Expert B", "CT only"]["mean"] == pytest.approx(0.2)
    # resampled medians of 4 values of which three are 0.2 lie between -0.1 and 0.2
    assert -0.1 <= row["median_low"] <= row["median_high"] <= 0.2 + 1e-9
    # each mean is (0.2 (4 - k) - 0.1 k) / 4 with k of Binomial(4, 1/4): k is 3 or more in 5 %
    assert row["mean_low"] == pytest.approx((0.2 - 0.3) / 4)
    assert row["mean_high"] == pytest.approx(0.2)


def test_a_missed_lesion_scores_nothing_and_counts() -> None:
    rows = [
        scores_of(EXPERT_A, MODEL_A, patient_id="P0", dice=0.8),
        scores_of(EXPERT_A, CT_A, patient_id="P0", dice=0.0, status="missed"),
        scores_of(EXPERT_A, MODEL_A, patient_id="P1", dice=0.6),
        scores_of(EXPERT_A, CT_A, patient_id="P1", dice=0.5),
        # nothing to find: undefined for both
        scores_of(EXPERT_A, MODEL_A, patient_id="P2", dice=math.nan, status="both_empty"),
        scores_of(EXPERT_A, CT_A, patient_id="P2", dice=math.nan, status="false_alarm"),
    ]
    (row,) = fusion_gain(rows).to_dict("records")
    assert (row["n"], row["n_dropped"]) == (2, 1)
    assert (row["n_missed_fused"], row["n_missed_ablated"]) == (0, 1)
    assert row["mean"] == pytest.approx((0.8 + 0.1) / 2)
    # distances are undefined where a model missed, and smaller is better
    (row,) = fusion_gain(rows, metric="hd95_mm").to_dict("records")
    assert (row["n"], row["n_dropped"]) == (1, 2)
    assert "flatters the model that missed" in fusion_words(
        fusion_gain(rows, metric="hd95_mm"), metric="hd95_mm"
    )


def test_smaller_distances_are_gains() -> None:
    rows = [
        scores_of(EXPERT_A, MODEL_A, hd95_mm=3.0),
        scores_of(EXPERT_A, PET_A, hd95_mm=7.0),
    ]
    (row,) = fusion_gain(rows, metric="hd95_mm").to_dict("records")
    assert (row["mean_fused"], row["mean_ablated"], row["mean"]) == (3.0, 7.0, 4.0)
    assert math.isnan(row["median_low"])
    assert row["p"] == 1  # one patient: both patterns are as far from 0
    with pytest.raises(InputError, match="candidate_ml has no better or worse"):
        fusion_gain(rows, metric="candidate_ml")


def test_without_ablations_there_is_nothing() -> None:
    assert fusion_gain([]).empty
    rows = [scores_of(EXPERT_A, MODEL_A), scores_of(EXPERT_A, SEED_A)]
    assert fusion_gain(rows).empty
    # an ablation whose fused model is not there, or is of another seed
    assert fusion_gain([scores_of(EXPERT_A, CT_A)]).empty
    other = variant(MODEL_A, "CT only, seed 1")
    assert fusion_gain([scores_of(EXPERT_A, MODEL_A), scores_of(EXPERT_A, other)]).empty
    (gain,) = fusion_gains([scores_of(EXPERT_A, SEED_A), scores_of(EXPERT_A, other)])
    assert (gain.fused, gain.ablated) == (SEED_A, other)
    assert fusion_words(fusion_gain([])).startswith("No ablations")


def test_words_say_what_n_can_show() -> None:
    few, many = fusion_words(fusion_gain(ten_readers(4))), fusion_words(fusion_gain(ten_readers(8)))
    assert "smallest p that so many patients can give is 0.12" in few
    assert "No p below 0.05 is possible" in few
    assert "No p below 0.05" not in many
    # 2 of 2^8, times 4 rows
    assert "p = 0.00781, 0.0312 after Holm over 4 comparisons" in many
    assert "Expert A, fused against CT only: +0.200 in dice on average" in many


def test_ten_readers_keep_the_studys_own_endpoints() -> None:
    rows = ten_readers(6)
    # 1 + 2 * 8 pairs with an expert, and the two main models
    assert len(rows) == 6 * 18
    assert endpoints(rows, secondary=()).loc[0, "mean"] == pytest.approx(0.6)
    # the control takes models of one input that differ by seed, not the ablations
    assert [control.models for control in seed_control(rows)] == [
        ("Model A", "Model A (seed 1)"),
        ("Model B", "Model B (seed 1)"),
    ]


def test_who_draws_larger_leaves_pairs_of_variants_out() -> None:
    # as in a table of an earlier version, which held every pair
    rows = [
        *ten_readers(2),
        *(scores_of(CT_A, MODEL_B, patient_id=f"P{n:02}") for n in range(2)),
        *(scores_of(CT_A, PET_A, patient_id=f"P{n:02}") for n in range(2)),
    ]
    table = who_draws_larger(rows)
    # the experts either way, two models with two experts and each other, six variants with both
    assert len(table) == 2 + 4 + 1 + 12
    own = {"Expert A", "Expert B", "Model A", "Model B"}
    assert set(table["candidate"][:7]) <= own and not set(table["candidate"][7:]) & own
    assert set(table["reference"][7:]) == {"Expert A", "Expert B"}


@pytest.mark.parametrize(
    ("modality", "variant_name", "expected"),
    [
        ("fused", "", ("fused", "")),
        ("ct", "", ("ct", "")),
        ("pet", "", ("pet", "")),
        ("fused", "seed 1", ("fused", "seed 1")),
        ("pet", "seed 1", ("pet", "seed 1")),
    ],
)
def test_what_training_names_is_understood(
    tmp_path: Path, modality: str, variant_name: str, expected: tuple[str, str]
) -> None:
    from boneviz.fuse import FuseConfig
    from boneviz.train import model_of

    cohort = write_tiny_cohort(tmp_path, [limb("P01")])
    config = tiny_config(variant=variant_name, fuse=FuseConfig(modality=modality))  # type: ignore[arg-type]
    reader = model_of(cohort, config)
    assert (reader.modality, reader.repeat) == expected
