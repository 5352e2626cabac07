"""Raw datasets of nnU-Net: read as they lie there, refused where they leave something open."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from small import STRAIGHT, case_on, volume_of

from boneviz.cohort import Cohort
from boneviz.errors import CohortError, ImageFileError
from boneviz.nifti import read_case, write_volume

DESCRIPTION = {
    "channel_names": {"0": "PET", "1": "CT"},
    "labels": {"background": 0, "infection": 1},
    "numTraining": 2,
    "file_ending": ".nii.gz",
}


def dataset(root: Path, *, folders: tuple[str, ...] = ("labelsTr",), **changes: Any) -> Path:
    """Write two cases, the PET before the CT: uptake of 3, soft tissue of 40 HU."""
    folder = root / "Dataset501_Bone"
    case = case_on(STRAIGHT)
    for name in ("bone_001", "bone_002"):
        write_volume(volume_of(3, STRAIGHT, "SUVbw"), folder / "imagesTr" / f"{name}_0000.nii.gz")
        write_volume(volume_of(40, STRAIGHT, "HU"), folder / "imagesTr" / f"{name}_0001.nii.gz")
        for where in folders:
            write_volume(volume_of(1, case.ct.grid, "label"), folder / where / f"{name}.nii.gz")
    describe(folder, **changes)
    return folder


def describe(folder: Path, **changes: Any) -> None:
    content = {k: v for k, v in {**DESCRIPTION, **changes}.items() if v is not None}
    (folder / "dataset.json").write_text(json.dumps(content))


def test_channels_are_told_by_their_names(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    cohort = Cohort.from_nnunet(folder)
    assert cohort.name == "Dataset501_Bone"
    assert cohort.root == folder
    assert cohort.patients == ("bone_001", "bone_002")
    assert [reader.name for reader in cohort.readers] == ["Expert"]
    assert cohort.folds is None
    case = read_case(cohort["bone_002"])
    assert (case.ct.array.max(), round(float(case.pet.array.max()), 4)) == (40, 3)
    assert case.masks[cohort.readers[0]].array.all()


def test_every_command_opens_such_a_folder(tmp_path: Path) -> None:
    folder = dataset(tmp_path, name="Bone", licence="CC0", description="two experts")
    cohort = Cohort.open(folder)
    assert (cohort.name, cohort.licence, cohort.provenance) == ("Bone", "CC0", "two experts")
    assert len(cohort) == 2


def test_experts_are_folders_of_labels(tmp_path: Path) -> None:
    folder = dataset(tmp_path, folders=("labelsTr", "labelsTr_b"))
    cohort = Cohort.from_nnunet(folder, labels={"Anna": "labelsTr", "Ben": "labelsTr_b"})
    anna, ben = cohort.experts
    assert (anna.name, ben.name) == ("Anna", "Ben")
    assert cohort["bone_001"].masks[ben] == folder / "labelsTr_b" / "bone_001.nii.gz"


def test_cases_of_one_patient_are_sessions(tmp_path: Path) -> None:
    patients = {"bone_001": "P1", "bone_002": "P1"}
    cohort = Cohort.from_nnunet(dataset(tmp_path), patients=patients)
    assert cohort.patients == ("P1",)
    assert [ref.session for ref in cohort] == ["bone_001", "bone_002"]
    with pytest.raises(CohortError, match="case bone_002: not among the patients given"):
        Cohort.from_nnunet(tmp_path / "Dataset501_Bone", patients={"bone_001": "P1"})


SEVERAL = {"background": 0, "infection": [1, 3], "abscess": 2}


def several_values(folder: Path, *values: int) -> None:
    array = np.zeros(STRAIGHT.shape, dtype=np.uint8)
    array.flat[: len(values)] = values
    nib.save(
        nib.Nifti1Image(array, STRAIGHT.affine_ras_mm), folder / "labelsTr" / "bone_001.nii.gz"
    )


def test_a_structure_is_chosen_by_its_name(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    describe(folder, labels=SEVERAL)
    several_values(folder, 1, 2, 2, 3)
    counts = {}
    for name in ("infection", "abscess"):
        cohort = Cohort.from_nnunet(folder, label=name)
        counts[name] = int(read_case(cohort["bone_001"]).masks[cohort.readers[0]].array.sum())
    assert counts == {"infection": 2, "abscess": 2}
    several_values(folder, 1, 2, 4)
    with pytest.raises(ImageFileError, match="values 4, which its dataset does not name"):
        read_case(Cohort.from_nnunet(folder, label="abscess")["bone_001"])


def test_files_may_be_named_one_by_one(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    images = ["imagesTr/bone_001_0000.nii.gz", "imagesTr/bone_001_0001.nii.gz"]
    listed = {"only": {"images": images, "label": "labelsTr/bone_001.nii.gz"}}
    describe(folder, dataset=listed, numTraining=1)
    cohort = Cohort.from_nnunet(folder)
    assert cohort.patients == ("only",)
    assert cohort["only"].ct.name == "bone_001_0001.nii.gz"
    listed["only"]["images"] = ["../secret.nii.gz", images[1]]
    describe(folder, dataset=listed, numTraining=1)
    with pytest.raises(CohortError, match=r"patient only, pet: \.\./secret\.nii\.gz leads out of"):
        Cohort.from_nnunet(folder)


def test_splits_are_folds(tmp_path: Path) -> None:
    folder = dataset(tmp_path)
    splits = [
        {"train": ["bone_001"], "val": ["bone_002"]},
        {"train": ["bone_002"], "val": ["bone_001"]},
    ]
    (folder / "splits_final.json").write_text(json.dumps(splits))
    cohort = Cohort.open(folder)
    assert cohort.folds is not None
    assert dict(cohort.folds.of_patient) == {"bone_001": 1, "bone_002": 0}
    with pytest.raises(CohortError, match="patient P1 is in the folds 1 and 0: a model would be"):
        Cohort.from_nnunet(folder, patients={"bone_001": "P1", "bone_002": "P1"})


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ([{"train": [], "val": ["bone_009"]}], "case 'bone_009' of fold 0 is not in the dataset"),
        ([{"train": ["bone_001"], "val": ["bone_001"]}], "trained on in its own"),
        ([{"train": [], "val": ["bone_001"]}] * 2, "case bone_001 is validated in two folds"),
        ([{"train": [], "val": ["bone_001"]}], "case bone_002 is validated in no fold"),
        ({"fold": 0}, "not nnU-Net's folds"),
        ([{"val": 3}], "not nnU-Net's folds"),
        ("x", "not nnU-Net's folds"),
    ],
)
def test_folds_that_leak_or_lack_are_refused(tmp_path: Path, splits: Any, says: str) -> None:
    folder = dataset(tmp_path)
    (folder / "splits_final.json").write_text(json.dumps(splits))
    with pytest.raises(CohortError, match=says):
        Cohort.open(folder)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"channel_names": None, "modality": {"0": "CT"}}, "no channel_names, .*nnUNetv2_convert"),
        ({"channel_names": {"0": "CT", "1": "T1"}}, "0: 'CT', 1: 'T1': 0 of them name the PET"),
        ({"channel_names": {"0": "CT", "1": "ct", "2": "PET"}}, "2 of them name the CT"),
        ({"channel_names": {"../0": "CT", "1": "PET"}}, "channel number '../0', expected 0, 1"),
        ({"file_ending": ".mha"}, r"file_ending '\.mha', expected \.nii\.gz or \.nii"),
        ({"file_ending": None}, "file_ending None"),
        ({"labels": None}, "no labels, expected such as"),
        ({"labels": {"background": 0}}, "labels none, expected one; say which"),
        ({"labels": SEVERAL}, r"labels 'infection', 'abscess', expected one.*label=\"NAME\""),
        ({"labels": {"infection": "1"}}, "label 'infection' is '1', expected whole numbers"),
        ({"labels": {"infection": True}}, "label 'infection' is True, expected whole numbers"),
        ({"labels": {**SEVERAL, "ignore": 4}}, "label 'ignore' marks voxels that nobody judged"),
        ({"numTraining": 3}, "numTraining 3, and 2 cases .*files are missing"),
        ({"dataset": {"a": {"images": []}}}, "dataset is not a list of cases .IndexError"),
        ({"dataset": [1, 2]}, "dataset is not a list of cases .AttributeError"),
        ({"boneviz": {"cases": {"bone_001": ["P1", ""]}}}, "cases do not name patient and sess"),
        ({"boneviz": {"experts": []}}, r"experts \[\], expected such as"),
        ({"boneviz": {"experts": {"A": "../x"}}}, r"A: \.\./x/bone_001\.nii\.gz leads out of"),
    ],
)
def test_a_description_that_leaves_something_open_is_refused(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(CohortError, match=says):
        Cohort.from_nnunet(dataset(tmp_path, **changes))


def test_a_label_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no label 'abscess' among 'infection'; take one"):
        Cohort.from_nnunet(dataset(tmp_path), label="abscess")


def without_pet(folder: Path) -> None:
    (folder / "imagesTr" / "bone_002_0000.nii.gz").unlink()


def without_label(folder: Path) -> None:
    (folder / "labelsTr" / "bone_002.nii.gz").unlink()


def without_images(folder: Path) -> None:
    for path in (folder / "imagesTr").iterdir():
        path.unlink()


def images_elsewhere(folder: Path) -> None:
    (folder / "imagesTr").rename(folder.parent / "away")
    (folder / "imagesTr").symlink_to("../away")


def one_label_elsewhere(folder: Path) -> None:
    path = folder / "labelsTr" / "bone_002.nii.gz"
    path.rename(folder.parent / "away.nii.gz")
    path.symlink_to(folder.parent / "away.nii.gz")


def no_json(folder: Path) -> None:
    (folder / "dataset.json").write_text("[" * 100_000)


def no_description(folder: Path) -> None:
    (folder / "dataset.json").unlink()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (without_pet, "patient bone_002: column pet gives 'imagesTr/bone_002_0000.nii.gz'"),
        (without_label, "patient bone_002: column Expert gives 'labelsTr/bone_002.nii.gz'"),
        (without_images, "no file CASE_0001.nii.gz, expected one per case"),
        (images_elsewhere, "imagesTr leads out of"),
        (one_label_elsewhere, "patient bone_002, Expert: labelsTr/bone_002.nii.gz leads out of"),
        (no_json, "not readable as JSON"),
        (no_description, "no such file, expected the dataset.json of a raw nnU-Net dataset"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_files_that_are_missing_or_elsewhere_are_named(
    tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    folder = dataset(tmp_path)
    damage(folder)
    with pytest.raises(CohortError, match=says):
        Cohort.from_nnunet(folder)
