"""The record beside a PET: read as written, and nothing else is taken for one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import STRAIGHT, case_on, write_case

from boneviz.errors import InputError
from boneviz.nifti import read_case, read_volume, write_volume
from boneviz.petrecord import PetRecord, pet_record_path, read_pet_record, write_pet_record
from boneviz.volume import Volume

WEIGHT = "PatientWeight (0010,1030)"
DERIVED = PetRecord(
    "SUVbw",
    ("SUVbw = stored value x 0.000312: grams of body over the dose", f"{WEIGHT}: 70.0"),
    0.000312,
    {WEIGHT: 70.0, "DecayCorrection (0054,1102)": "", "corrected": True},
)


def record_of(tmp_path: Path, content: str | bytes) -> PetRecord:
    pet = tmp_path / "pet.nii.gz"
    written = content.encode() if isinstance(content, str) else content
    (tmp_path / "pet.json").write_bytes(written)
    return read_pet_record(pet)


def json_of(**changes: Any) -> str:
    return json.dumps({"format": 1, "unit": "counts", "derivation": {"words": ["so"]}, **changes})


@pytest.mark.parametrize("name", ["pet.nii.gz", "pet.nii", "P01.pet.nii.gz"])
def test_it_lies_beside_its_file(name: str, tmp_path: Path) -> None:
    path = write_pet_record(DERIVED, tmp_path / name)
    assert path == pet_record_path(tmp_path / name) == tmp_path / f"{name.split('.nii')[0]}.json"
    assert read_pet_record(tmp_path / name) == DERIVED
    assert json.loads(path.read_text())["derivation"]["words"] == list(DERIVED.words)


def test_without_a_record_the_pet_is_in_suv_of_unknown_origin(tmp_path: Path) -> None:
    record = read_pet_record(tmp_path / "pet.nii.gz")
    assert (record.unit, record.factor) == ("SUVbw", None)
    assert record.origin == ("as stored in the file; how its SUV were found was not recorded",)
    assert PetRecord("counts").origin == ("why it has no SUV was not recorded",)


def test_a_case_is_read_in_the_unit_of_its_record(tmp_path: Path) -> None:
    ref = write_case(case_on(STRAIGHT), tmp_path)
    assert read_case(ref).pet.unit == "SUVbw"
    write_pet_record(DERIVED, ref.pet)
    assert read_case(ref).pet_origin == DERIVED.words
    write_pet_record(PetRecord("counts", ("no weight",)), ref.pet)
    case = read_case(ref)
    assert (case.pet.unit, case.has_suv, case.pet_origin) == ("counts", False, ("no weight",))
    pet_record_path(ref.pet).write_text("{")
    with pytest.raises(InputError, match=r"patient P01: .*pet\.json: not a record .*: no JSON"):
        read_case(ref)


def test_counts_are_kept_exactly(tmp_path: Path) -> None:
    # an int16 with a slope would step by 1e6 / 32767 = 30.5
    counts = np.linspace(-3, 1e6, STRAIGHT.shape[0] * 12).reshape(STRAIGHT.shape)
    counts = counts.astype(np.float32)
    write_volume(Volume(counts, STRAIGHT, "counts"), tmp_path / "pet.nii.gz")
    again = read_volume(tmp_path / "pet.nii.gz", "counts")
    assert np.array_equal(again.array, counts)
    assert again.array.dtype == np.float32


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[1]", r"found \[1\], expected names with values"),
        ("", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        ("[" * 60_000, "no JSON"),
        ("{" + " " * 70_000 + "}", "more than 65536 bytes"),
        (json_of(format=2), "format 2, expected 1"),
        (json_of(format=True), "format True, expected 1"),
        (json_of(unit="Bq/mL"), "PET unit 'Bq/mL': expected one of SUVbw, counts"),
        (json_of(unit=["SUVbw"]), r"PET unit \['SUVbw'\]: expected one of"),
        ('{"format": 1}', "PET unit None: expected one of SUVbw, counts"),
        (json_of(patient="Doe"), "it holds 'patient', expected format, unit, derivation"),
        (json_of(derivation="x"), "derivation 'x', expected names with values"),
        (json_of(derivation={"date": "x"}), "derivation holds 'date', expected words"),
        (json_of(derivation={"words": "so"}), "words 'so', expected a list of texts"),
        (json_of(derivation={"words": [1]}), "words of a PET: found 1, expected texts"),
        (json_of(derivation={"words": [" "]}), "words of a PET: found ' ', expected texts"),
        (json_of(derivation={"words": ["x" * 401]}), "words of a PET: 401 letters, expected at"),
        (json_of(derivation={"words": ["x"] * 61}), "words of a PET: expected a list of at most"),
        (json_of(derivation={"words": ["<img>"]}), "'<img>' holds control characters or markup"),
        (json_of(derivation={"words": ["a\u001bb"]}), "holds control characters or markup"),
        (json_of(derivation={"words": ["a\u202eb"]}), "holds control characters or markup"),
        (json_of(derivation={"factor": 2}), "a PET in counts with a factor to SUV"),
        (json_of(unit="SUVbw", derivation={"factor": 0}), "factor of a PET 0: expected a number"),
        (json_of(unit="SUVbw", derivation={"factor": True}), "factor of a PET True: expected"),
        (json_of(unit="SUVbw", derivation={"factor": 10**400}), "factor of a PET 1000"),
        ('{"format": 1, "unit": "SUVbw", "derivation": {"factor": NaN}}', "NaN is no number"),
        ('{"format": 1, "unit": "SUVbw", "derivation": {"factor": 1e999}}', "factor of a PET inf"),
        (json_of(derivation={"details": [1]}), r"details \[1\], expected names with values"),
        (json_of(derivation={"details": {"a": [1]}}), r"a of a PET is \[1\]: expected a text or"),
        (json_of(derivation={"details": {"<b>": 1}}), "'<b>' holds control characters or markup"),
        (json_of(derivation={"details": {"a": "<b>"}}), "'<b>' holds control characters or"),
        (json_of(derivation={"details": {str(n): n for n in range(101)}}), "at most 100 values"),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        record_of(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'pet.json'}: not a record of what a PET")
    assert len(str(caught.value)) < 600


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["format", "unit", "derivation", "words", "x"]), inner)
), max_leaves=8))  # fmt: skip
def test_only_an_input_error_comes_out_of_any_json(
    tmp_path_factory: pytest.TempPathFactory, content: Any
) -> None:
    try:
        record = record_of(tmp_path_factory.getbasetemp(), json.dumps(content))
    except InputError:
        return
    assert all(line.isprintable() for line in record.origin)


def test_another_programs_sidecar_is_no_record_but_its_unit_is_heard(tmp_path: Path) -> None:
    assert record_of(tmp_path, '{"Modality": "PT", "Units": "g/mL"}') == PetRecord()
    assert record_of(tmp_path, '{"Modality": "PT"}') == PetRecord()
    with pytest.raises(InputError, match="another program's, with Units 'BQML', where SUVbw"):
        record_of(tmp_path, '{"Modality": "PT", "Units": "BQML"}')


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pet.json")
    with pytest.raises(InputError, match=r"pet\.json: expected a file that says what pet\.nii\.gz"):
        read_pet_record(tmp_path / "pet.nii.gz")
