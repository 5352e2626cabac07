"""A case with everybody's outline, from disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B

from boneviz.case import Prediction, Reader
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


def give_variants(cohort: Cohort) -> Cohort:
    """Let six variants copy model A's expert or B's: CT only, PET only and seed 1 of either.

    Models of CT alone outline nothing in the cohort's first case.
    """
    variants = [
        Reader(f"{model.name} ({what})", "model", model.intent, model.learned_from, what)
        for model in (MODEL_A, MODEL_B)
        for what in ("CT only", "PET only", "seed 1")
    ]
    for place, ref in enumerate(cohort):
        case = read_case(ref)
        for reader in variants:
            outline = case.masks[cohort.reader(str(reader.learned_from))].array * np.float32(0.9)
            if reader.modality == "ct" and place == 0:
                outline[:] = 0
            if reader.modality == "pet":  # half of it
                outline[: outline.shape[0] // 2] = 0
            volume = Volume(outline.astype(np.float32), case.ct.grid, "probability")
            found = Prediction(
                ref.patient_id, ref.session, reader, 0, volume, "checkpoint", frozenset()
            )
            write_prediction(found, cohort.root / "predictions" / reader.key)
    grown = replace(cohort, readers=(*cohort.readers, MODEL_A, MODEL_B, *variants))
    grown.save()
    return grown


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


def test_variants_are_scored_against_experts_alone(tiny_cohort: Cohort) -> None:
    few = tiny_cohort.only(["P01"])
    give_predictions(few)
    scores = read_readings(few, few.cases[0]).scores()
    assert len(scores) == 6  # every pair of four
    cohort = give_variants(few)
    scores = read_readings(cohort, cohort.cases[0]).scores()
    # two experts, eight models each with both, and the two main models
    assert len(scores) == 1 + 2 * 8 + 1
    assert not any(row.reference.kind == "model" and row.candidate.variant for row in scores)
    matrix = cross_evaluate(scores).to_table()
    assert list(matrix.index[:4]) == ["Model A", "Model B", "Expert A", "Expert B"]
    assert set(matrix.index[4:]) == {r.name for r in cohort.models if r.variant}
