"""Predictions on disk: voxels and record belong together, or they do not count."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small import (
    EXPERT_A,
    MODEL_A,
    MODEL_B,
    STRAIGHT,
    prediction_of,
)

from boneviz import nifti
from boneviz.case import CaseRef, Reader
from boneviz.cohort import Cohort
from boneviz.errors import CohortError
from boneviz.nifti import (
    has_prediction,
    read_prediction,
    read_predictions,
    write_prediction,
)


def ref_of(patient_id: str = "P01", session: str = "") -> CaseRef:
    return CaseRef(patient_id, session, Path("ct.nii.gz"), Path("pet.nii.gz"))


@pytest.mark.parametrize("session", ["", "S2"])
def test_a_prediction_comes_back(tmp_path: Path, session: str) -> None:
    there = prediction_of(MODEL_B, session=session, value=0.25)
    write_prediction(there, tmp_path)
    back = read_prediction(tmp_path, ref_of(session=session))
    for name in ("patient_id", "session", "reader", "fold", "checkpoint_id", "trained_on"):
        assert getattr(back, name) == getattr(there, name), name
    assert back.demonstration
    # 0.25 * 255 = 63.75 is kept as 64
    assert np.unique(back.probability.array) == pytest.approx([64 / 255])
    assert back.probability.grid.matches(STRAIGHT)


def test_a_prediction_of_hostile_names_comes_back(tmp_path: Path) -> None:
    reader = Reader('<b>"Ä', "model", "none", learned_from="</script>")
    write_prediction(prediction_of(reader, patient_id='<P "1">'), tmp_path)
    assert read_prediction(tmp_path, ref_of('<P "1">')).reader == reader


def test_only_this_checkpoints_prediction_counts_as_done(tmp_path: Path) -> None:
    assert not has_prediction(tmp_path, ref_of(), checkpoint_id="c0ffee")
    path = write_prediction(prediction_of(checkpoint_id="c0ffee"), tmp_path)
    assert has_prediction(tmp_path, ref_of(), checkpoint_id="c0ffee")
    assert not has_prediction(tmp_path, ref_of(), checkpoint_id="decaf")
    assert not has_prediction(tmp_path, ref_of(session="S2"), checkpoint_id="c0ffee")
    path.unlink()
    assert not has_prediction(tmp_path, ref_of(), checkpoint_id="c0ffee")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", "3", pytest.param("[" * 50_000, id="deep")]
)
def test_a_damaged_record_is_done_again_and_never_read(tmp_path: Path, content: str) -> None:
    write_prediction(prediction_of(), tmp_path)
    (tmp_path / "P01.json").write_text(content)
    assert not has_prediction(tmp_path, ref_of(), checkpoint_id="c0ffee")
    with pytest.raises(CohortError, match=r"P01.json: not a prediction's record.*delete it and"):
        read_prediction(tmp_path, ref_of())


def test_a_missing_prediction_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"patient P01_S2: no prediction in .*`boneviz predict`"):
        read_prediction(tmp_path, ref_of(session="S2"))


def test_killed_between_voxels_and_record_nothing_false_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "predictions"
    write_prediction(prediction_of(value=0.25, checkpoint_id="old"), root / "model_a")
    whole = nifti.write_whole

    def killed_at_json(path: Path, content: bytes) -> None:
        if path.suffix == ".json":
            raise KeyboardInterrupt
        whole(path, content)

    monkeypatch.setattr(nifti, "write_whole", killed_at_json)
    new = prediction_of(value=0.75, checkpoint_id="new", trained_on=frozenset({"P01"}))
    with pytest.raises(KeyboardInterrupt):
        write_prediction(new, root / "model_a")
    # voxels of a model that learned from P01 must not pass as held out under the old record
    cohort = Cohort("Tiny", tmp_path, (EXPERT_A, MODEL_A), ())
    assert read_predictions(cohort, ref_of()) == ()
    assert not has_prediction(root / "model_a", ref_of(), checkpoint_id="old")


def test_predictions_come_in_the_order_of_the_cohorts_models(tmp_path: Path) -> None:
    stranger = Reader("Aardvark", "model")
    for folder, reader in (("z", MODEL_A), ("a", stranger), ("m", MODEL_B)):
        write_prediction(prediction_of(reader), tmp_path / "predictions" / folder)
    cohort = Cohort("Tiny", tmp_path, (EXPERT_A, MODEL_B, MODEL_A), ())
    # models that the cohort does not know come last
    found = [prediction.reader for prediction in read_predictions(cohort, ref_of())]
    assert found == [MODEL_B, MODEL_A, stranger]


def test_predictions_may_lie_in_another_folder_or_nowhere(tmp_path: Path) -> None:
    write_prediction(prediction_of(), tmp_path / "elsewhere" / "model_a")
    cohort = Cohort("Tiny", tmp_path, (EXPERT_A, MODEL_A), ())
    assert read_predictions(cohort, ref_of()) == ()
    found = read_predictions(cohort, ref_of(), folder=tmp_path / "elsewhere")
    assert [prediction.reader for prediction in found] == [MODEL_A]
    assert read_predictions(cohort, ref_of("P02"), folder=tmp_path / "elsewhere") == ()


def test_a_prediction_under_another_patients_name_is_refused(tmp_path: Path) -> None:
    # P02 trained the model; renamed to P01 its voxels would pass as held out
    write_prediction(prediction_of(patient_id="P02"), tmp_path)
    (tmp_path / "P02.nii.gz").rename(tmp_path / "P01.nii.gz")
    (tmp_path / "P02.json").rename(tmp_path / "P01.json")
    assert json.loads((tmp_path / "P01.json").read_text())["patient_id"] == "P02"
    with pytest.raises(CohortError, match="P02"):
        read_prediction(tmp_path, ref_of("P01"))


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("trained_on", "P02", "trained_on is 'P02', expected a list of patient ids"),
        ("trained_on", ["P02", 3], "expected a list of patient ids"),
        ("fold", float("inf"), "not a prediction's record .*infinity"),
        ("demonstration", "false", "demonstration is 'false', expected true or false"),
    ],
)
def test_a_record_that_could_hide_a_leak_is_refused(
    tmp_path: Path, field: str, value: object, says: str
) -> None:
    write_prediction(prediction_of(MODEL_B), tmp_path)
    path = tmp_path / "P01.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(CohortError, match=says):
        read_prediction(tmp_path, ref_of())
