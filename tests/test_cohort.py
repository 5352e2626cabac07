"""A cohort on disk: what is saved comes back, what is incomplete is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small import EXPERT_A, EXPERT_B, MODEL_A, STRAIGHT, case_on, volume_of, write_case

from boneviz.case import CaseRef, Reader
from boneviz.cohort import Cohort
from boneviz.errors import CohortError, InputError
from boneviz.nifti import write_volume

BOTH = {
    EXPERT_A: volume_of(1, STRAIGHT, "label"),
    EXPERT_B: volume_of(0, STRAIGHT, "label"),
}


def written(root: Path, *cases: tuple[str, str]) -> Cohort:
    """Write patients and sessions, outlined by both experts, and the cohort's file."""
    base = case_on(STRAIGHT, masks=BOTH)
    refs = [
        write_case(replace(base, patient_id=patient, session=session), root)
        for patient, session in cases
    ]
    cohort = Cohort("Tiny", root, (EXPERT_A, EXPERT_B), tuple(refs))
    cohort.save()
    return cohort


def test_a_saved_cohort_comes_back(tmp_path: Path) -> None:
    cohort = replace(
        written(tmp_path, ("P01", ""), ("P02", "S1"), ("P02", "S2")),
        readers=(EXPERT_A, EXPERT_B, MODEL_A),
        licence="CC0",
        provenance="made by hand",
        synthetic=True,
    )
    cohort.save()
    back = Cohort.open(tmp_path)
    assert back.name == "Tiny"
    assert back.readers == (EXPERT_A, EXPERT_B, MODEL_A)
    assert (back.licence, back.provenance, back.synthetic) == ("CC0", "made by hand", True)
    assert [ref.case_id for ref in back] == ["P01", "P02_S1", "P02_S2"]
    assert back.patients == ("P01", "P02")
    assert len(back) == 3
    assert back.experts == (EXPERT_A, EXPERT_B)
    assert back.models == (MODEL_A,)
    assert back["P02_S1"].ct == tmp_path / "P02" / "S1" / "ct.nii.gz"
    assert dict(back["P01"].masks) == {
        EXPERT_A: tmp_path / "P01" / "expert_a.nii.gz",
        EXPERT_B: tmp_path / "P01" / "expert_b.nii.gz",
    }


@pytest.mark.parametrize(
    "name",
    [
        "<img src=x onerror=alert(1)>",
        'quotes " and \' and """ and \\',
        "Zoë 骨 🦴",
        '"]  [[readers]]  name = "intruder"',
    ],
)
def test_hostile_names_survive_the_file(tmp_path: Path, name: str) -> None:
    cohort = written(tmp_path, ("P01", ""))
    readers = (*cohort.readers, replace(MODEL_A, name=name, learned_from=name))
    replace(cohort, name=name, licence=name, provenance=name, readers=readers).save()
    back = Cohort.open(tmp_path)
    assert (back.name, back.licence, back.provenance) == (name, name, name)
    assert back.readers == readers


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred", "tab\t", "\x9b31m"])
def test_names_that_would_steer_a_terminal_are_refused(tmp_path: Path, text: str) -> None:
    cohort = written(tmp_path, ("P01", ""))
    if "\n" not in text:  # a cohort's texts may have lines, a reader's name may not
        with pytest.raises(CohortError, match="control characters in its licence"):
            replace(cohort, licence=text)
    with pytest.raises(InputError, match="without control characters"):
        Reader(text)
    with pytest.raises(CohortError, match="control characters"):
        CaseRef(text, "", tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("names", "readers"),
    [
        # every file that is neither CT nor PET is somebody's outline, whatever it is called
        (("ct", "pet", "expert_a", "expert_b"), ["expert_a", "expert_b"]),
        (("CT_image", "PET_image", "CT_mask", "PET_mask"), ["CT_mask"]),
        (("ct", "suv", "mask_peter"), ["mask_peter"]),
        (("patient7_CT", "patient7_PT", "GTV"), ["GTV"]),
    ],
)
def test_outlines_in_a_patients_folder_are_told_by_what_they_are_not(
    tmp_path: Path, names: tuple[str, ...], readers: list[str]
) -> None:
    for name in names:
        (tmp_path / f"{name}.nii.gz").touch()
    cohort = Cohort.open(tmp_path)
    assert [reader.name for reader in cohort.readers] == readers
    assert cohort.cases[0].ct.name.startswith(names[0])
    assert cohort.cases[0].pet.name.startswith(names[1])


def test_folders_that_are_being_written_are_passed_over(tmp_path: Path) -> None:
    written(tmp_path, ("P01", ""))
    half = tmp_path / ".writing-P02"
    half.mkdir()
    (half / "ct.nii.gz").touch()
    assert Cohort.open(tmp_path).patients == ("P01",)


def test_the_id_of_a_cohort_is_kept(tmp_path: Path) -> None:
    cohort = written(tmp_path, ("P01", ""))
    replace(cohort, id="ward 7, 2026").save()
    assert Cohort.open(tmp_path).id == "ward 7, 2026"
    assert cohort.id == ""


def test_a_patients_folder_may_have_any_name(tmp_path: Path) -> None:
    patient = '<b onclick="x">Ä'
    written(tmp_path, (patient, ""))
    assert Cohort.open(tmp_path).patients == (patient,)


def test_readers_and_cases_are_found_by_name(tmp_path: Path) -> None:
    cohort = written(tmp_path, ("P01", ""), ("P02", "S1"))
    assert cohort.reader("Expert B") == EXPERT_B
    with pytest.raises(CohortError, match="no reader 'Expert C'; it has Expert A, Expert B"):
        cohort.reader("Expert C")
    with pytest.raises(CohortError, match="no case 'P02'; it has P01, P02_S1"):
        cohort["P02"]
    assert [ref.case_id for ref in cohort.only(["P02_S1"])] == ["P02_S1"]


@pytest.mark.parametrize(
    ("readers", "says"),
    [
        ((EXPERT_A, EXPERT_A), "reader name Expert A appears more than once; rename all but one"),
        # both would be kept in expert_a.nii.gz
        ((EXPERT_A, Reader("expert-a")), "reader file stem expert_a appears more than once"),
    ],
)
def test_readers_of_one_name_are_refused(
    tmp_path: Path, readers: tuple[Reader, ...], says: str
) -> None:
    with pytest.raises(CohortError, match=says):
        Cohort("Tiny", tmp_path, readers, ())


def test_a_learner_is_no_reader_of_a_cohort(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"reader Kim is a learner, .* a folder of their own"):
        Cohort("Tiny", tmp_path, (Reader("Kim", "learner"),), ())


def test_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    # session S1 of patient P1 and patient P1_S1 would share the file P1_S1.nii.gz
    with pytest.raises(CohortError, match="case P1_S1 appears more than once"):
        written(tmp_path, ("P1", "S1"), ("P1_S1", ""))


def test_a_missing_folder_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"nowhere: no such folder; give the folder that holds"):
        Cohort.open(tmp_path / "nowhere")


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CohortError, match=r"neither a cohort.toml nor a NIfTI file.*give a cohort"):
        Cohort.open(tmp_path)


def test_a_cohort_without_patients_is_refused(tmp_path: Path) -> None:
    Cohort("Tiny", tmp_path, (EXPERT_A,), ()).save()
    with pytest.raises(CohortError, match=r"no patient folder with ct.nii.gz and pet.nii.gz"):
        Cohort.open(tmp_path)


@pytest.mark.parametrize(
    ("lost", "says"),
    [
        ("P02/S1/pet.nii.gz", "patient P02: no pet.nii.gz in .*S1; every patient needs"),
        (
            "P02/S1/ct.nii.gz",
            "patient P02: PET without CT in .*S1: expected ct.nii.gz beside pet.nii.gz",
        ),
        ("P01/ct.nii.gz", "patient P01: PET without CT"),
        (
            "P01/expert_b.nii.gz",
            "patient P01: no expert_b.nii.gz in .*an expert who saw no lesion gives an empty mask",
        ),
    ],
)
def test_a_patient_lacking_a_file_is_refused(tmp_path: Path, lost: str, says: str) -> None:
    written(tmp_path, ("P01", ""), ("P02", "S1"), ("P03", ""))
    (tmp_path / lost).unlink()
    with pytest.raises(CohortError, match=says):
        Cohort.open(tmp_path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("name = ", "cohort.toml: not a readable cohort file"),
        ("name = 'x'", "cohort.toml: format None, expected 1; it was written by another version"),
        ("format = 2", "cohort.toml: format 2, expected 1"),
        ("format = 1\nreaders = [{nmae = 'A'}]", "cohort.toml: .*'nmae'"),
        ("format = 1\nreaders = [{name = 'A', kind = 'both'}]", "cohort.toml: reader A: kind"),
        ("format = 1\nreaders = [{name = 3}]", "cohort.toml: a reader named 3"),
        ("format = 1\nreaders = 'Expert A'", "cohort.toml: not a readable cohort file"),
        ("format = 1\nname = '\udcff'", "cohort.toml: not a readable cohort file"),
        pytest.param(f"format = {'9' * 5000}", "cohort.toml: not a readable", id="digits"),
        pytest.param(f"format = {'[' * 3000}", "cohort.toml: not a readable", id="deep"),
        pytest.param(
            f"format = 1\nreaders = [{{name = '{'a' * 300}'}}]",
            "expected a name of at most 100 bytes, as files are named after it",
            id="long",
        ),
    ],
)
def test_a_damaged_cohort_file_is_refused(tmp_path: Path, content: str, says: str) -> None:
    written(tmp_path, ("P01", ""))
    (tmp_path / "cohort.toml").write_text(content, errors="surrogateescape")
    with pytest.raises(CohortError, match=says):
        Cohort.open(tmp_path)


def table_of(root: Path, **columns: object) -> pd.DataFrame:
    for stem in ("c", "p", "m"):
        (root / f"{stem}.nii").write_bytes(b"x")
    row = {"patient_id": ["P01"], "ct": ["c.nii"], "pet": ["p.nii"], "Expert A": ["m.nii"]}
    return pd.DataFrame({name: values for name, values in {**row, **columns}.items() if values})


def test_a_table_of_paths_is_a_cohort(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.nii"
    elsewhere.write_bytes(b"x")
    table = table_of(
        tmp_path,
        patient_id=["P01", "P01", "P02"],
        session=["S1", "S2", None],
        ct=["c.nii", "c.nii", str(elsewhere)],
        pet=["p.nii"] * 3,
        **{"Expert A": ["m.nii"] * 3},
    )
    cohort = Cohort.from_table(table, name="Mine", root=tmp_path)
    assert [ref.case_id for ref in cohort] == ["P01_S1", "P01_S2", "P02"]
    assert cohort.patients == ("P01", "P02")
    assert cohort.readers == (Reader("Expert A", "expert"),)
    assert cohort["P01_S1"].ct == tmp_path / "c.nii"
    assert cohort["P02"].ct == elsewhere
    assert cohort["P02"].masks[cohort.readers[0]] == tmp_path / "m.nii"


def test_numbers_name_patients_and_sessions_too(tmp_path: Path) -> None:
    table = table_of(
        tmp_path,
        patient_id=[17, 17],
        session=[1, 2],
        ct=["c.nii"] * 2,
        pet=["p.nii"] * 2,
        **{"Expert A": ["m.nii"] * 2},
    )
    cohort = Cohort.from_table(table, name="Mine", root=tmp_path)
    assert [ref.case_id for ref in cohort] == ["17_1", "17_2"]


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"pet": None}, "table without the column pet: add it"),
        ({"ct": None, "patient_id": None}, "table without the column patient_id, ct: add it"),
        ({"ct": ["lost.nii"]}, "patient P01: column ct gives 'lost.nii', expected an existing"),
        ({"Expert A": [float("nan")]}, "patient P01: column Expert A gives nan, expected an exist"),
        ({"patient_id": [None]}, "a row of the table has no patient_id: fill it in"),
        ({"patient_id": ["../P01"]}, r"patient id '\.\./P01': expected a name without slashes"),
    ],
)
def test_an_incomplete_table_is_refused(
    tmp_path: Path, columns: dict[str, object], says: str
) -> None:
    with pytest.raises(CohortError, match=says):
        Cohort.from_table(table_of(tmp_path, **columns), name="Mine", root=tmp_path)


def test_an_expert_called_as_a_scans_file_is_refused_wherever_a_cohort_is_made(
    tmp_path: Path,
) -> None:
    table = pd.DataFrame(
        {"patient_id": ["P1"], "ct": ["c.nii"], "pet": ["p.nii"], "PET": ["m.nii"]}
    )
    with pytest.raises(InputError, match=r"expert named 'PET': .*choose another name"):
        Cohort.from_table(table, name="made", root=tmp_path)
    (tmp_path / "cohort.toml").write_text('format = 1\nname = "n"\nreaders = [{name = "Ct"}]\n')
    with pytest.raises(CohortError, match=r"cohort\.toml: an expert named 'Ct': .*another name"):
        Cohort.open(tmp_path)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="the table has no rows: expected one per session"):
        Cohort.from_table(table_of(tmp_path).iloc[:0], name="Mine", root=tmp_path)


def one_patient(folder: Path, *names: str) -> Path:
    for name in names:
        unit = "label" if "mask" in name.lower() else "SUVbw" if "pet" in name.lower() else "HU"
        write_volume(volume_of(0, STRAIGHT, unit), folder / name)  # type: ignore[arg-type]
    return folder


def test_a_folder_with_one_patient_is_a_cohort_of_one(tmp_path: Path) -> None:
    folder = one_patient(
        tmp_path / "STS_009",
        "CT_image.nii.gz",
        "PET_image.nii",
        "CT_mask.nii.gz",
        "PET_mask.nii.gz",
    )
    cohort = Cohort.open(folder)
    assert [ref.case_id for ref in cohort] == ["STS_009"]
    assert cohort.readers == (Reader("CT_mask"),)
    ref = cohort["STS_009"]
    assert (ref.ct.name, ref.pet.name) == ("CT_image.nii.gz", "PET_image.nii")
    assert ref.masks[cohort.readers[0]].name == "CT_mask.nii.gz"
    assert cohort.provenance == "Left out, as drawn on the PET: PET_mask.nii.gz."


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("CT.nii",), r"PET files found: none; expected exactly one.*all files: CT.nii"),
        (("PET.nii",), "CT files found: none"),
        (("ct_1.nii", "ct_2.nii", "pet.nii"), r"CT files found: ct_1.nii, ct_2.nii; expected"),
        # "ct" inside another word does not make a CT
        (("sector.nii", "pet.nii"), r"CT files found: none.*sector.nii"),
    ],
)
def test_a_folder_whose_images_cannot_be_told_apart_is_refused(
    tmp_path: Path, names: tuple[str, ...], says: str
) -> None:
    with pytest.raises(CohortError, match=says):
        Cohort.open(one_patient(tmp_path, *names))


def test_a_patient_whose_files_have_other_names_is_not_passed_over(tmp_path: Path) -> None:
    cohort = written(tmp_path, ("P01", ""), ("P02", ""))
    for stem in ("ct", "pet"):
        path = tmp_path / "P02" / f"{stem}.nii.gz"
        path.rename(path.with_name(f"{stem.upper()}.nii.gz"))
    with pytest.raises(CohortError, match=r"patient P02: no ct\.nii\.gz .*found CT\.nii\.gz, PET"):
        Cohort.open(tmp_path)
    aside = Cohort.open(tmp_path, incomplete="set aside")
    assert [ref.case_id for ref in aside] == ["P01"]
    assert [failure.case_id for failure in aside.failures] == ["P02"]
    assert len(cohort) == 2
