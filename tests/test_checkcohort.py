"""A cohort with planted defects: all of them are found in one go, and none without."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from small import EXPERT_A, EXPERT_B, limb, write_tiny_cohort
from test_readings import give_predictions

from boneviz.checkcohort import Checkup, check_cohort
from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.folds import Folds


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    return write_tiny_cohort(tmp_path / "tiny", [limb(f"P0{n}", place=n) for n in range(1, 6)])


def checked(root: Path) -> Checkup:
    return check_cohort(Cohort.open(root, incomplete="set aside"), progress=False)


def test_a_cohort_without_defects_has_no_errors(cohort: Cohort) -> None:
    checkup = checked(cohort.root)
    assert checkup.errors == ()
    # a limb is a box of soft tissue without air around it: noise of 20 HU about 50 goes below 0
    assert checkup.warnings == ()
    assert [fact.case_id for fact in checkup.facts] == [f"P0{n}" for n in range(1, 6)]
    assert checkup.facts[0].volumes_ml["Expert A"] > checkup.facts[0].volumes_ml["Expert B"] > 0
    # the lesion's uptake of 8 and noise of up to 0.2
    assert 8 < checkup.facts[0].suv_max < 8.2


def test_everything_that_is_wrong_is_found_in_one_go(cohort: Cohort) -> None:
    refs = {ref.case_id: ref for ref in cohort}
    refs["P01"].pet.write_bytes(refs["P01"].pet.read_bytes()[:200])
    refs["P02"].masks[EXPERT_B].unlink()
    shutil.copyfile(refs["P03"].masks[EXPERT_A], refs["P03"].masks[EXPERT_B])
    shutil.copyfile(refs["P03"].ct, refs["P04"].ct)
    pet = nib.Nifti1Image.from_filename(refs["P05"].pet)
    nib.save(nib.Nifti1Image(np.asanyarray(pet.dataobj) * 5000, pet.affine), refs["P05"].pet)
    Folds({"P01": 0, "P02": 1, "P03": 0, "P04": 1, "P09": 0}, seed=0).save(
        cohort.root / "folds.json"
    )
    checkup = checked(cohort.root)
    assert [(f.case_id, f.check) for f in checkup.errors] == [
        ("P02", "files"),
        ("P01", "files"),
        ("P03, P04", "duplicates"),
        ("", "folds"),
        ("", "folds"),
    ]
    assert [(f.case_id, f.check) for f in checkup.warnings] == [
        ("P03", "identical masks"),
        ("P05", "SUV range"),
    ]
    said = [str(finding) for finding in checkup.errors]
    assert said[0].startswith("no expert_b.nii.gz in")
    assert re.search(r"pet\.nii\.gz: cannot be read as NIfTI", said[1])
    assert said[3].startswith("1 patients in the folds and not in the cohort: P09, expected folds")
    assert said[4].startswith("1 patients in the cohort and in no fold: P05")
    table = checkup.to_table()
    assert list(table.columns) == ["case_id", "severity", "check", "found", "expected", "do"]
    assert len(table) == 7


def tell(cohort: Cohort) -> list[tuple[str, str, str]]:
    checkup = checked(cohort.root)
    assert checkup.errors == ()
    return [(f.case_id, f.check, f.what) for f in checkup.warnings]


def test_patients_that_were_lost_are_told(cohort: Cohort) -> None:
    root = cohort.root
    for lost in ("P06", "P07/S1/raw", "P08/S2", "P01/dicom", "new\nline"):
        (root / lost).mkdir(parents=True)
    shutil.copyfile(cohort["P01"].ct, root / "P07" / "S1" / "raw" / "ct.nii.gz")  # too deep
    (root / "P06" / "ct.nrrd").touch()
    # beside a session that is there
    (root / "P08" / "S1").mkdir()
    for file in root.joinpath("P02").iterdir():
        shutil.move(file, root / "P08" / "S1" / file.name)
    (root / "P02").rmdir()
    # no patients
    for other in (".hidden", "models", "predictions/model", "inflation"):
        (root / other).mkdir(parents=True)
    assert tell(cohort) == [
        (where, "folders", f"folder {where} gives no case")
        for where in ("P01/dicom", "P06", "P07", "P08/S2", "new?line")
    ]


def test_files_that_are_passed_over_are_told(cohort: Cohort) -> None:
    first = cohort["P01"].ct.parent
    shutil.copyfile(cohort["P01"].masks[EXPERT_A], first / "expert_c.nii.gz")
    for name in ("ct.nii", "expert_b.nii", "EXPERT_A.NII.GZ", "expert_d.nrrd", "note.txt"):
        (first / name).touch()
    (first / ".hidden.nii.gz").touch()
    (first / "pet.json").write_text('{"format": 1, "unit": "SUVbw"}')
    (cohort.root / "P09.nii.gz").touch()
    (cohort.root / "P10.mha").touch()
    nobodys = "is neither CT, PET nor the outline of a reader in cohort.toml"
    beside = "which is the one that is read"
    assert [(who, what) for who, check, what in tell(cohort) if check == "passed over"] == [
        ("", "P09.nii.gz is no patient's"),
        ("", "P10.mha is not read"),
        ("P01", f"EXPERT_A.NII.GZ {nobodys}"),
        ("P01", f"ct.nii lies beside ct.nii.gz, {beside}"),
        ("P01", f"expert_b.nii lies beside expert_b.nii.gz, {beside}"),
        ("P01", f"expert_c.nii.gz {nobodys}"),
        ("P01", "expert_d.nrrd is not read"),
    ]
    assert len(tell(cohort)) == 7


def test_a_cohort_that_lost_its_readers_is_told(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    replace(cohort, readers=()).save()
    told = tell(cohort)
    assert told[0] == ("", "readers", "no expert is named, and no outline was read")
    assert len(told) == 1 + 5 * 2
    assert main(["check", str(cohort.root), "--quiet"]) == 0
    page = capsys.readouterr().out
    assert "warning  cohort: no expert is named" in page
    assert "warning  passed over: also P04, P05" in page
    assert page.endswith("11 warnings; what was read is readable\n")


@pytest.mark.parametrize("where", ["P06", "P06/S1"])
def test_nothing_is_told_of_what_a_link_leads_to(
    cohort: Cohort, tmp_path: Path, where: str
) -> None:
    outside = tmp_path / "outside" / Path(where).relative_to("P06")
    shutil.copytree(cohort["P01"].ct.parent, outside)
    (outside / "secret.nrrd").touch()
    (tmp_path / "outside" / "secret").mkdir()
    (cohort.root / "P06").symlink_to(tmp_path / "outside", target_is_directory=True)
    checkup = checked(cohort.root)
    assert "leads out of" in str(checkup.errors[0])
    assert not any("secret" in str(finding) for finding in checkup.findings)


def test_a_part_of_a_cohort_is_no_loss(cohort: Cohort) -> None:
    assert check_cohort(cohort.only(["P02"]), progress=False).warnings == ()


def test_images_of_other_kinds_beside_one_patient_are_told(cohort: Cohort) -> None:
    folder = cohort["P01"].ct.parent
    (folder / "lesion.seg.nrrd").touch()
    (warning,) = checked(folder).warnings
    assert str(warning).startswith("lesion.seg.nrrd is not read, expected images as NIfTI")


def test_predictions_are_looked_at_model_by_model(cohort: Cohort) -> None:
    two = replace(cohort, cases=cohort.cases[:2])
    give_predictions(two)
    folder = cohort.root / "predictions"
    (folder / "model_a" / "P01.json").write_text("{")
    shutil.copyfile(
        cohort.cases[0].masks[EXPERT_A], folder / "model_b" / "P01.nii.gz"
    )  # on the grid
    moved = nib.Nifti1Image.from_filename(folder / "model_b" / "P02.nii.gz")
    affine = moved.affine.copy()
    affine[2, 3] += 6
    nib.save(
        nib.Nifti1Image(np.asanyarray(moved.dataobj), affine), folder / "model_b" / "P02.nii.gz"
    )
    found = {(f.case_id, f.check): str(f) for f in checked(cohort.root).errors}
    assert list(found) == [("P01", "predictions"), ("P02", "predictions")]
    assert "P01.json: not a prediction's record" in found["P01", "predictions"]
    assert found["P02", "predictions"].startswith("prediction of Model B lies on 36x32x18")


def test_damaged_folds_are_told(cohort: Cohort) -> None:
    (cohort.root / "folds.json").write_text("[]")
    (finding,) = checked(cohort.root).errors
    assert "folds.json: not a folds file" in str(finding)


def test_the_page_and_the_table(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patient = cohort.root / "=1+1"
    shutil.copytree(cohort.root / "P01", patient)
    out = tmp_path / "findings.csv"
    assert main(["check", str(cohort.root), "--quiet", "--csv", str(out)]) == 1
    page = capsys.readouterr().out
    assert "6 patients, 6 sessions" in page
    assert re.search(
        r"^error    =1\+1, P01: CT of =1\+1 and of P01 hold the same voxels", page, re.M
    )
    assert re.search(r"^  Expert A: [\d.]+ to [\d.]+ mL, median [\d.]+$", page, re.M)
    assert page.endswith("2 errors, 0 warnings\n")
    table = pd.read_csv(out)
    # a spreadsheet runs nothing
    assert list(table["case_id"]) == ["'=1+1, P01"] * 2
    assert list(table["severity"]) == ["error"] * 2


def test_a_table_is_written_where_nothing_is_wrong_and_over_none(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "findings.csv"
    assert main(["check", str(cohort.root), "--quiet", "--csv", str(out)]) == 0
    assert out.read_text(encoding="utf-8-sig").split() == [
        "case_id,severity,check,found,expected,do"
    ]
    capsys.readouterr()
    out.write_text("mine")
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "nowhere")
    for there in (out, link):
        assert main(["check", str(cohort.root), "--quiet", "--csv", str(there)]) == 1
        said = capsys.readouterr()
        assert f"{there}: there already, expected a new file" in said.err
        assert said.out == ""  # before anything was read
    assert out.read_text() == "mine"
    assert not link.exists()


def test_warnings_alone_give_status_0(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    masks = cohort["P03"].masks
    shutil.copyfile(masks[EXPERT_A], masks[EXPERT_B])
    assert main(["check", str(cohort.root), "--quiet"]) == 0
    page = capsys.readouterr().out
    assert "warning  P03: masks of Expert A and Expert B are identical" in page
    assert page.endswith("1 warnings; all readable\n")


def test_many_findings_of_one_kind_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb(f"P{n}", place=n) for n in range(8)])
    for ref in cohort:
        shutil.copyfile(ref.masks[EXPERT_A], ref.masks[EXPERT_B])
    assert main(["check", str(cohort.root), "--quiet"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning")]
    assert len(lines) == 7
    assert lines[-1] == "warning  identical masks: also P6, P7"


def test_another_name_than_csv_is_refused(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(cohort.root), "--csv", "findings.xls"]) == 1
    assert "findings.xls: expected a file name ending in .csv" in capsys.readouterr().err


def test_one_patients_folder_is_checked(cohort: Cohort) -> None:
    checkup = checked(cohort.root / "P01")
    assert [fact.case_id for fact in checkup.facts] == ["P01"]
    assert checkup.errors == ()


@pytest.mark.realdata
def test_real_patients_have_no_errors(realdata: Path) -> None:
    for patient in sorted((realdata / "petct").glob("STS_*")):
        checkup = checked(patient)
        assert checkup.errors == ()
        assert 1 < checkup.facts[0].suv_max < 100
