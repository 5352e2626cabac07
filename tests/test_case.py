"""Readers, cases and predictions refuse what contradicts itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small import (
    EXPERT_A,
    EXPERT_B,
    STRAIGHT,
    case_on,
    prediction_of,
    volume_of,
)

from boneviz.case import Case, CaseRef, Prediction, Reader, ReaderKind
from boneviz.errors import CohortError, InputError, LeakageError
from boneviz.volume import Grid, Volume


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": " \n"}, "expected a text, not blank"),
        ({"name": 3}, "named 3: expected a text"),
        ({"name": "B" * 101}, "expected a name of at most 100 bytes, as files are named after it"),
        ({"name": "Dr B", "kind": "human"}, "reader Dr B: kind 'human', expected one of expert"),
        ({"name": "Dr B", "intent": "keen"}, "Dr B: intent 'keen'.*high-sensitivity, high-spec"),
        ({"name": "Dr B", "learned_from": "Dr A"}, "Dr B: only a model learns from an expert"),
        (
            {"name": "Kim", "kind": "learner", "learned_from": "Dr A"},
            "Kim: only a model learns from an expert",
        ),
        ({"name": "PET"}, "expert named 'PET': .* over the scan's own file.*choose another name"),
        ({"name": " ct. "}, r"expert named ' ct\. ': .*\(ct in a patient's folder\)"),
        ({"name": "Import"}, r"\(import in a patient's folder\).*such as 'Reader Import'"),
    ],
)
def test_impossible_readers_are_refused(arguments: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Reader(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Expert A", "expert_a"),
        ("  Prof. Ünal-Smith (2nd) ", "prof_ünal_smith_2nd"),
        ('<img src="x">', "img_src_x"),
        ("専門家", "専門家"),  # two experts of one script must not share a file
    ],
)
def test_a_readers_key_is_safe_as_a_file_name(name: str, key: str) -> None:
    assert Reader(name).key == key


@pytest.mark.parametrize(
    ("name", "kind"), [("PET", "model"), ("CT", "learner"), ("PET Reader", "expert")]
)
def test_names_of_the_scans_files_are_free_where_no_file_lies_beside_them(
    name: str, kind: ReaderKind
) -> None:
    """A model's predictions and a learner's drawings have a folder of their own."""
    assert Reader(name, kind).name == name


@pytest.mark.parametrize("patient_id", ["", "  "])
def test_a_case_needs_a_patient_id(patient_id: str) -> None:
    with pytest.raises(CohortError, match="without a patient id: name its folder or table row"):
        CaseRef(patient_id, "", Path("ct.nii"), Path("pet.nii"))


@pytest.mark.parametrize(
    ("patient_id", "session", "says"),
    [
        ("../P01", "", r"patient id '\.\./P01': expected a name without slashes"),
        ("a/b", "", "patient id 'a/b'"),
        ("P01", "..\\S1", "session"),
        ("P01", "S1/../..", r"session 'S1/\.\./\.\.'.*rename it"),
        (".hidden", "", "patient id '.hidden'.*does not start with a dot"),
        ("P\n01", "", "control characters"),
        ("P" * 101, "", "of at most 100 bytes; rename it"),
    ],
)
def test_names_that_lead_out_of_the_cohort_are_refused(
    patient_id: str, session: str, says: str
) -> None:
    with pytest.raises(CohortError, match=says):
        CaseRef(patient_id, session, Path("ct.nii"), Path("pet.nii"))


def test_a_case_id_holds_the_session_where_there_is_one() -> None:
    ct, pet = Path("ct.nii"), Path("pet.nii")
    assert CaseRef("P01", "", ct, pet).case_id == "P01"
    assert CaseRef("P01", "S2", ct, pet).case_id == "P01_S2"


@pytest.mark.parametrize(
    ("ct_unit", "pet_unit", "mask_unit", "says"),
    [
        ("SUVbw", "SUVbw", "label", "patient P07: CT in SUVbw, expected HU"),
        ("HU", "HU", "label", "patient P07: PET in HU, expected SUVbw"),
        (
            "HU",
            "SUVbw",
            "probability",
            "patient P07: mask of Expert A holds probability, expected a label",
        ),
    ],
)
def test_a_case_refuses_swapped_volumes(
    ct_unit: str, pet_unit: str, mask_unit: str, says: str
) -> None:
    ct, pet, mask = (
        volume_of(0, STRAIGHT, unit)  # type: ignore[arg-type]
        for unit in (ct_unit, pet_unit, mask_unit)
    )
    with pytest.raises(InputError, match=says):
        Case("P07", "", ct, pet, {EXPERT_A: mask})


def test_one_grid_means_ct_pet_and_every_mask() -> None:
    shifted = Grid.straight((5, 4, 3), (2, 3, 4), (10.5, -20, 30))
    on_ct, beside = volume_of(1, STRAIGHT, "label"), volume_of(1, shifted, "label")
    assert case_on(STRAIGHT, masks={EXPERT_A: on_ct, EXPERT_B: on_ct}).on_one_grid
    assert not case_on(STRAIGHT, pet=shifted).on_one_grid
    assert not case_on(STRAIGHT, masks={EXPERT_A: on_ct, EXPERT_B: beside}).on_one_grid


def test_masks_are_added_and_replaced_in_a_copy() -> None:
    empty, full = volume_of(0, STRAIGHT, "label"), volume_of(1, STRAIGHT, "label")
    case = case_on(STRAIGHT, masks={EXPERT_A: empty})
    more = case.with_masks({EXPERT_A: full, EXPERT_B: empty})
    assert list(more.masks.values()) == [full, empty]
    assert list(case.masks.values()) == [empty]
    with pytest.raises(TypeError, match="does not support item assignment"):
        case.masks[EXPERT_B] = full  # type: ignore[index]


def test_a_prediction_of_a_training_patient_says_nothing() -> None:
    seen = prediction_of(patient_id="P02", trained_on=frozenset({"P02", "P03"}))
    assert not seen.held_out
    with pytest.raises(LeakageError, match=r"patient P02: Model A \(fold 1\) was trained"):
        seen.require_held_out()


def test_a_prediction_is_held_out_by_patient_not_by_session() -> None:
    trained_on = frozenset({"P02"})
    assert not prediction_of(patient_id="P02", session="S2", trained_on=trained_on).held_out
    new = prediction_of(patient_id="P2", trained_on=trained_on)
    assert new.held_out
    new.require_held_out()


def test_a_prediction_holds_a_probability() -> None:
    label = volume_of(1, STRAIGHT, "label")
    with pytest.raises(InputError, match="Model A for patient P01 holds label, expected a prob"):
        Prediction("P01", "", prediction_of().reader, 0, label, "c0ffee", frozenset())


def test_the_threshold_itself_counts_as_infected() -> None:
    array = np.zeros(STRAIGHT.shape, dtype=np.float32)
    array[0, 0, :3] = (0.25, 0.5, 0.75)
    probability = Volume(array, STRAIGHT, "probability")
    prediction = Prediction("P01", "", prediction_of().reader, 0, probability, "id", frozenset())
    assert prediction.mask().array[0, 0].tolist() == [False, True, True]
    assert prediction.mask(0.75).array.sum() == 1
    assert prediction.mask(0.2).array.sum() == 3
    for impossible in (0, -0.5, 1.01):
        with pytest.raises(InputError, match=f"threshold {impossible}: expected above 0"):
            prediction.mask(impossible)
