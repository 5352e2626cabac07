"""No path leads out of its folder: not by parents, not from the root, not through links."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small import EXPERT_A, limb, write_tiny_cohort
from test_readings import give_predictions

from boneviz.cohort import Cohort
from boneviz.errors import CohortError
from boneviz.folds import Folds
from boneviz.nifti import prediction_files, read_predictions
from boneviz.paths import inside, is_file


@pytest.mark.parametrize("path", ["a/b.nii", "a/../b.nii", "not/there", "./a"])
def test_paths_that_stay_are_given_back_joined(tmp_path: Path, path: str) -> None:
    assert inside(tmp_path, path, what="x") == tmp_path / path


def test_an_absolute_path_into_the_folder_stays(tmp_path: Path) -> None:
    assert inside(tmp_path, tmp_path / "a", what="x") == tmp_path / "a"


def test_the_folder_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to("real")
    assert inside(link, "a", what="x") == link / "a"


@pytest.mark.parametrize("path", ["../b.nii", "a/../../b.nii", "/etc/passwd", "out/b.nii", "file"])
def test_paths_that_leave_are_refused(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to("..")
    (root / "file").symlink_to("/etc/passwd")
    with pytest.raises(
        CohortError, match=r"patient P01: .* leads out of .*root, .*; copy it there"
    ):
        inside(root, path, what="patient P01")


def test_a_folder_whose_name_only_begins_alike_is_another(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="leads out of"):
        inside(tmp_path / "cohort", "../cohort2/ct.nii", what="x")


def test_what_is_no_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"x: 'a\\x00b' is no path"):
        inside(tmp_path, "a\0b", what="x")
    with pytest.raises(CohortError, match=r"x: 'aaa.* is no path \(.*too long"):
        inside(tmp_path, "a" * 300, what="x")
    assert not is_file(tmp_path / ("a" * 300))
    assert is_file(Path(__file__))


def test_a_record_of_a_pet_that_lies_elsewhere_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    record = cohort["P02"].pet.with_name("pet.json")
    (tmp_path / "kept.json").write_text('{"format": 1, "unit": "counts"}')
    record.symlink_to(tmp_path / "kept.json")
    with pytest.raises(CohortError, match=r"patient P02: P02/pet.json leads out of"):
        Cohort.open(cohort.root)
    row = {"patient_id": "P02", "ct": "P02/ct.nii.gz", "pet": "P02/pet.nii.gz"}
    table = pd.DataFrame([{**row, "Expert A": "P02/expert_a.nii.gz"}])
    with pytest.raises(CohortError, match=r"patient P02, record of its PET: P02/pet.json leads"):
        Cohort.from_table(table, name="x", root=cohort.root, paths="inside")
    # a table of one's own may lead anywhere
    assert len(Cohort.from_table(table, name="x", root=cohort.root)) == 1


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    made = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02", place=1)])
    give_predictions(made)
    return made


def lead_out(path: Path) -> None:
    """Move a file or folder out of the cohort, and leave a link in its place."""
    away = next(p for p in path.parents if p.name == "tiny").parent / f"away-{path.name}"
    path.rename(away)
    path.symlink_to(away)


@pytest.mark.parametrize("what", ["P02", "P02/ct.nii.gz", "P02/pet.nii.gz", "P02/expert_a.nii.gz"])
def test_a_patient_who_lies_elsewhere_is_refused(cohort: Cohort, what: str) -> None:
    lead_out(cohort.root / what)
    with pytest.raises(CohortError, match=r"patient P02: .* leads out of .*tiny, .*from_table"):
        Cohort.open(cohort.root)
    aside = Cohort.open(cohort.root, incomplete="set aside")
    assert aside.patients == ("P01",)
    assert "leads out of" in aside.failures[0].error


def test_a_link_inside_the_cohort_is_followed(cohort: Cohort) -> None:
    mask = cohort["P02"].masks[EXPERT_A]
    mask.rename(cohort.root / "kept.nii.gz")
    mask.symlink_to("../kept.nii.gz")
    assert Cohort.open(cohort.root).patients == ("P01", "P02")


def test_a_cohort_file_that_lies_elsewhere_is_refused(cohort: Cohort) -> None:
    lead_out(cohort.root / "cohort.toml")
    with pytest.raises(CohortError, match=r"cohort\.toml leads out of"):
        Cohort.open(cohort.root)


def test_one_patients_files_that_lie_elsewhere_are_refused(cohort: Cohort) -> None:
    lead_out(cohort.root / "P01" / "pet.nii.gz")
    with pytest.raises(CohortError, match=r"pet\.nii\.gz leads out of .*P01"):
        Cohort.open(cohort.root / "P01")


@pytest.mark.parametrize(
    "what", ["predictions", "predictions/model_a", "predictions/model_a/P01.json"]
)
def test_predictions_that_lie_elsewhere_are_refused(cohort: Cohort, what: str) -> None:
    lead_out(cohort.root / what)
    for read in (read_predictions, prediction_files):
        with pytest.raises(CohortError, match="leads out of"):
            read(cohort, cohort["P01"])


def test_folds_that_lie_elsewhere_are_refused(cohort: Cohort) -> None:
    path = cohort.root / "folds.json"
    Folds({"P01": 0, "P02": 1}, seed=0).save(path)
    lead_out(path)
    with pytest.raises(CohortError, match=r"folds: folds\.json leads out of"):
        Folds.load(path)


def test_models_that_lie_elsewhere_are_refused(tmp_path: Path) -> None:
    from boneviz.checkpoint import finished_models

    models = tmp_path / "tiny" / "models"
    models.mkdir(parents=True)
    for name in ("m.safetensors", "m.json"):
        (models / name).write_bytes(b"{}")
    assert finished_models(models) == (models / "m.safetensors",)
    lead_out(models / "m.safetensors")
    with pytest.raises(CohortError, match=r"model m: m\.safetensors leads out of"):
        finished_models(models)
