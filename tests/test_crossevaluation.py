"""The matrix of readers, its cells, the styles in it and its words."""

import math
from dataclasses import replace

import numpy as np
import pytest
from cases import (
    EXPERT_A,
    EXPERT_B,
    MODEL_A,
    MODEL_B,
    four_readers,
    scores_of,
)

from boneviz.case import Reader
from boneviz.compare import cross_evaluate
from boneviz.errors import InputError


def test_cell_by_hand() -> None:
    rows = [
        scores_of(EXPERT_A, MODEL_A, patient_id=f"P{n}", dice=dice)
        for n, dice in enumerate((0.4, 0.6, 0.8, 1.0))
    ]
    cell = cross_evaluate(rows).cell("Expert A", "Model A")
    # mean 0.7; squares of -0.3, -0.1, 0.1, 0.3 sum to 0.2, over n - 1 = 3
    sd = math.sqrt(0.2 / 3)
    assert cell.mean == pytest.approx(0.7)
    assert cell.sd == pytest.approx(sd)
    assert cell.mean_plus_sd == pytest.approx(0.7 + sd)
    assert cell.mean_minus_sd == pytest.approx(0.7 - sd)
    assert cell.median == pytest.approx(0.7)
    assert 0.4 <= cell.median_low < 0.7 < cell.median_high <= 1
    assert (cell.n, cell.n_defined) == (4, 4)
    assert (cell.n_missed, cell.n_false_alarm, cell.n_both_empty) == (0, 0, 0)
    assert cell.worst_case_mean == pytest.approx(0.7)
    assert str(cell) == "0.70 ± 0.26 (n 4)"


def test_bootstrap_interval_of_two_patients() -> None:
    # resampled medians are 0, 0.5 and 1, a quarter, half and a quarter of the time
    rows = [scores_of(EXPERT_A, MODEL_A, patient_id=f"P{n}", dice=float(n)) for n in range(2)]
    cell = cross_evaluate(rows).cell("Expert A", "Model A")
    assert (cell.median_low, cell.median, cell.median_high) == (0, 0.5, 1)


def test_bootstrap_is_seeded() -> None:
    rng = np.random.default_rng(0)
    rows = [
        scores_of(EXPERT_A, MODEL_A, patient_id=f"P{n}", dice=float(rng.random()))
        for n in range(15)
    ]

    def interval(seed: int) -> tuple[float, float]:
        cell = cross_evaluate(rows, n_resamples=50, seed=seed).cell("Expert A", "Model A")
        return cell.median_low, cell.median_high

    assert interval(1) == interval(1)
    assert len({interval(seed) for seed in range(5)}) > 1


def test_one_patient_has_a_mean_and_no_spread() -> None:
    cell = cross_evaluate([scores_of(EXPERT_A, MODEL_A, dice=0.5)]).cell("Expert A", "Model A")
    assert (cell.mean, cell.median, cell.n_defined) == (0.5, 0.5, 1)
    assert all(math.isnan(v) for v in (cell.sd, cell.mean_plus_sd, cell.median_low))
    assert str(cell) == "0.50 (n 1)"


def test_matrix_of_models_and_experts() -> None:
    evaluation = cross_evaluate(four_readers())
    matrix = evaluation.matrix()
    assert matrix.index.tolist() == ["Model A", "Model B", "Expert A", "Expert B"]
    assert matrix.columns.tolist() == ["Expert A", "Expert B"]
    nan = math.nan
    expected = [[0.85, 0.5], [0.45, 0.75], [nan, 0.55], [0.55, nan]]
    np.testing.assert_allclose(matrix.to_numpy(), expected)
    assert evaluation.matrix("n")["Expert A"]["Model A"] == 2
    table = evaluation.to_table()
    assert table.loc["Model A", "Expert A"] == "0.85 ± 0.07 (n 2)"
    assert table.loc["Expert A", "Expert A"] == ""
    assert evaluation.cell("Model A", "Model B").mean == pytest.approx(0.65)
    with pytest.raises(InputError, match="cell number 'average'"):
        evaluation.matrix("average")


def test_values_are_per_patient_and_summary_per_pair() -> None:
    evaluation = cross_evaluate(four_readers())
    assert evaluation.values.index.tolist() == ["P0", "P1"]
    assert evaluation.values["Expert B", "Model A"].tolist() == pytest.approx([0.45, 0.55])
    assert [reader.name for reader in evaluation.readers[:2]] == ["Expert A", "Expert B"]
    summary = evaluation.summary().set_index(["reference", "candidate"])
    assert len(summary) == 7  # six pairs, and the experts turned around
    assert summary.loc[("Expert A", "Model B"), "mean"] == pytest.approx(0.45)
    assert summary.loc[("Expert A", "Model B"), "n"] == 2


def test_a_patient_without_one_model_counts_where_it_can() -> None:
    rows = [row for row in four_readers() if (row.patient_id, row.candidate) != ("P1", MODEL_B)]
    evaluation = cross_evaluate(rows)
    assert evaluation.cell("Expert A", "Model A").n == 2
    assert evaluation.cell("Expert A", "Model B").n == 1
    assert (evaluation.interaction().n, evaluation.interaction().n_dropped) == (1, 1)


def test_interaction_of_a_cohort() -> None:
    found = cross_evaluate(four_readers()).interaction()
    # 0.8 + 0.7 - 0.45 - 0.4 in both patients
    assert found.per_patient.tolist() == pytest.approx([0.65, 0.65])
    assert (found.experts, found.models) == (("Expert A", "Expert B"), ("Model A", "Model B"))
    assert found.human_ceiling["Model A"].mean == pytest.approx(0.8 - 0.5)
    assert found.human_ceiling["Model B"].mean == pytest.approx(0.7 - 0.5)
    # distances are 10 (1 - Dice) here and turned, so that above 0 stays in favour
    distance = cross_evaluate(four_readers(), metric="hd95_mm").interaction()
    assert distance.per_patient.tolist() == pytest.approx([6.5, 6.5])


def test_interaction_names_what_it_needs() -> None:
    second = Reader("Model A2", "model", learned_from="Expert A")
    more = [replace(row, candidate=second) for row in four_readers() if row.candidate == MODEL_A]
    evaluation = cross_evaluate([*four_readers(), *more])
    with pytest.raises(InputError, match=r"Model A2 \(from Expert A\); expected two, each learned"):
        evaluation.interaction()
    with pytest.raises(InputError, match="each learned from one of two"):
        evaluation.interaction(("Model A", "Model A2"))
    assert evaluation.interaction(("Model B", "Model A2")).models == ("Model B", "Model A2")
    assert evaluation.interaction(("Model A2", "Model B")).experts == ("Expert A", "Expert B")
    with pytest.raises(InputError, match="no better or worse"):
        cross_evaluate(four_readers(), metric="volume_difference_ml").interaction()
    partial = [row for row in four_readers() if row.reference == EXPERT_A]
    with pytest.raises(InputError, match="no scores of reference 'Expert B'"):
        cross_evaluate(partial).interaction()


def test_words_say_what_is_primary_and_what_the_grid_cannot_resolve() -> None:
    """On voxels of 2 x 5 x 10 mm two voxels are 20 mm: 2 mm of tolerance are below that."""
    from show.test_tables import ROWS

    assert "Exploratory" not in cross_evaluate(ROWS, metric="dice").words
    words = cross_evaluate(ROWS, metric="surface_dice_2mm").words
    assert "A tolerance of 2 mm is below two voxels (of up to 10 mm)" in words


def test_a_fine_tolerance_is_remarked_on_the_grid_alone() -> None:
    for surface, remarked in (("grid", True), ("mesh", False)):
        for metric in ("surface_dice_2mm", "lesion_surface_dice_2mm"):
            rows = [scores_of(EXPERT_A, MODEL_A, surface=surface)]
            words = cross_evaluate(rows, metric=metric).words
            assert ("A tolerance of 2 mm is below two voxels" in words) is remarked


def test_patients_whom_a_model_did_not_read_are_named() -> None:
    rows = [
        scores_of(EXPERT_A, reader, patient_id=f"P{n}", dice=0.9)
        for n in range(4)
        for reader in (EXPERT_B, MODEL_A, MODEL_B)
        if reader != MODEL_A or n < 2  # model A failed on the last two
    ]
    evaluation = cross_evaluate(rows)
    assert str(evaluation.cell("Expert A", "Model A")) == "0.90 ± 0.00 (n 2 of 4)"
    assert str(evaluation.cell("Expert A", "Model B")) == "0.90 ± 0.00 (n 4)"
    assert "Model A has no reading of P2, P3: means over different patients" in evaluation.words
    assert "Model B has no reading" not in evaluation.words
