"""A case with everybody's outline, from disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B

from boneviz.case import Prediction
from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.errors import LeakageError
from boneviz.nifti import read_case, write_prediction
from boneviz.readings import read_readings
from boneviz.scorecohort import score_cohort
from boneviz.volume import Volume


def give_predictions(
    cohort: Cohort, *, trained_on: frozenset[str] = frozenset(), demonstration: bool = True
) -> None:
    """Let both models draw exactly what their experts drew, in every case of the cohort."""
    for ref in cohort:
        case = read_case(ref)
        for model, expert in ((MODEL_A, EXPERT_A), (MODEL_B, EXPERT_B)):
            outline = case.masks[expert].array.astype(np.float32) * np.float32(0.9)
            write_prediction(
                Prediction(
                    ref.patient_id,
                    ref.session,
                    model,
                    0,
                    Volume(outline, case.ct.grid, "probability"),
                    "checkpoint",
                    trained_on,
                    demonstration=demonstration,
                ),
                cohort.root / "predictions" / model.key,
            )


def test_experts_come_before_models(tiny_cohort: Cohort) -> None:
    give_predictions(tiny_cohort)
    readings = read_readings(tiny_cohort, tiny_cohort.cases[0])
    assert [reader.name for reader in readings.readers] == [
        "Expert A",
        "Expert B",
        "Model A",
        "Model B",
    ]
    assert readings.models_learned_from_phantoms


def test_a_models_outline_is_where_its_probability_reaches_the_threshold(
    tiny_cohort: Cohort,
) -> None:
    give_predictions(tiny_cohort)
    readings = read_readings(tiny_cohort, tiny_cohort.cases[1])
    outlined = readings.outlined(threshold=0.5)
    expected = outlined.masks[EXPERT_A].array
    np.testing.assert_array_equal(outlined.masks[MODEL_A].array, expected)
    # 0.9 is stored as 230/255 = 0.902, so that nothing reaches 0.95
    assert not readings.outlined(threshold=0.95).masks[MODEL_A].array.any()


def test_models_that_copy_their_experts_agree_with_them_wholly(tiny_cohort: Cohort) -> None:
    give_predictions(tiny_cohort)
    dice = cross_evaluate(score_cohort(tiny_cohort, progress=False), metric="dice")
    assert dice.cell("Expert A", "Model A").mean == 1.0
    assert dice.cell("Expert B", "Model B").mean == 1.0
    # a model that copies A agrees with B as A does
    assert dice.cell("Expert B", "Model A").mean == dice.cell("Expert B", "Expert A").mean < 1.0


def test_a_model_is_not_compared_on_a_patient_it_learned_from(tiny_cohort: Cohort) -> None:
    give_predictions(tiny_cohort, trained_on=frozenset({"P03"}))
    with pytest.raises(LeakageError, match=r"patient P03: Model A had learned from this patient"):
        cross_evaluate(score_cohort(tiny_cohort, progress=False), metric="dice")


def test_predictions_may_lie_elsewhere(tiny_cohort: Cohort, tmp_path: Path) -> None:
    give_predictions(tiny_cohort)
    (tiny_cohort.root / "predictions").rename(tmp_path / "elsewhere")
    ref = tiny_cohort.cases[0]
    assert read_readings(tiny_cohort, ref).predictions == ()
    assert len(read_readings(tiny_cohort, ref, predictions=tmp_path / "elsewhere").predictions) == 2


def test_one_reader_alone_has_no_scores(tiny_cohort: Cohort) -> None:
    for ref in tiny_cohort:
        ref.masks[EXPERT_B].unlink()
    Cohort("One expert", tiny_cohort.root, (EXPERT_A,), ()).save()
    alone = Cohort.open(tiny_cohort.root)
    assert [reader.name for reader in alone.readers] == ["Expert A"]
    assert score_cohort(alone, progress=False).scores == ()
