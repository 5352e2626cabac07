"""MONAI datalists: read as their users write them, refused where they leave something open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from boneviz.cohort import Cohort
from boneviz.errors import CohortError

FILES = ("a_ct", "a_pet", "a", "a_b", "b_ct", "b_pet", "b", "b_b", "c_ct", "c_pet")
A = {"image": ["a_ct.nii.gz", "a_pet.nii.gz"], "label": "a.nii.gz"}
B = {"image": ["b_pet.nii.gz", "b_ct.nii.gz"], "label": "b.nii.gz"}
C = {"image": ["c_ct.nii.gz", "c_pet.nii.gz"]}


def datalist(folder: Path, **content: Any) -> Path:
    """Write a datalist beside the files it names; what they hold is not read here."""
    folder.mkdir(exist_ok=True)
    for stem in FILES:
        (folder / f"{stem}.nii.gz").touch()
    path = folder / "bone.json"
    path.write_text(json.dumps(content))
    return path


def test_ct_and_pet_are_told_by_the_names_of_files(tmp_path: Path) -> None:
    path = datalist(tmp_path, training=[A], validation=[B], test=[C, "d.nii.gz"])
    cohort = Cohort.from_monai_datalist(path)
    assert (cohort.name, cohort.root) == ("bone", tmp_path)
    assert cohort.patients == ("a", "b")
    assert cohort["b"].ct == tmp_path / "b_ct.nii.gz"
    assert cohort["b"].pet == tmp_path / "b_pet.nii.gz"
    (expert,) = cohort.experts
    assert expert.name == "Expert"
    assert cohort["a"].masks[expert] == tmp_path / "a.nii.gz"
    assert cohort.provenance == "Left out, as without outlines: 1 of the datalist."


def test_modality_tells_the_order(tmp_path: Path) -> None:
    # the second file is the CT, whatever its name
    path = datalist(tmp_path, modality={"0": "PET", "1": "CT"}, training=[A])
    ref = Cohort.from_monai_datalist(path).cases[0]
    assert (ref.ct.name, ref.pet.name) == ("a_pet.nii.gz", "a_ct.nii.gz")


def test_modality_is_ordered_by_its_keys_not_by_its_lines(tmp_path: Path) -> None:
    names = {"image": ["0.nii.gz", "1.nii.gz"], "label": "a.nii.gz", "patient_id": "a"}
    for name in names["image"]:
        (tmp_path / name).touch()
    # eleven keys, as texts "10" comes before "2"
    modality = {str(n): f"T{n}" for n in range(10, 1, -1)} | {"1": "PET", "0": "CT"}
    path = datalist(tmp_path, modality=modality, training=[names])
    ref = Cohort.from_monai_datalist(path).cases[0]
    assert (ref.ct.name, ref.pet.name) == ("0.nii.gz", "1.nii.gz")
    last = {"1": "T1", "10": "PET", "0": "CT"} | {str(n): f"T{n}" for n in range(2, 10)}
    many = {**names, "image": ["0.nii.gz", *["a.nii.gz"] * 9, "1.nii.gz"]}
    ref = Cohort.from_monai_datalist(datalist(tmp_path, modality=last, training=[many])).cases[0]
    assert (ref.ct.name, ref.pet.name) == ("0.nii.gz", "1.nii.gz")


def test_every_command_opens_such_a_file(tmp_path: Path) -> None:
    assert Cohort.open(datalist(tmp_path, training=[A, B])).patients == ("a", "b")


def test_keys_are_experts_and_items_name_patients_and_sessions(tmp_path: Path) -> None:
    item = {"ct": "a_ct.nii.gz", "pet": "a_pet.nii.gz", "patient_id": 7}
    items = [
        {**item, "session": "S1", "label_anna": "a.nii.gz", "label_ben": "a_b.nii.gz"},
        {**item, "session": "S2", "label_anna": "b.nii.gz", "label_ben": "b_b.nii.gz"},
    ]
    path = datalist(tmp_path, training=items)
    cohort = Cohort.from_monai_datalist(path)
    assert [ref.case_id for ref in cohort] == ["7_S1", "7_S2"]
    assert [reader.name for reader in cohort.experts] == ["anna", "ben"]
    named = Cohort.from_monai_datalist(path, labels={"Dr. Ben": "label_ben"})
    assert named["7_S2"].masks[named.reader("Dr. Ben")].name == "b_b.nii.gz"


def test_lists_are_chosen_by_name(tmp_path: Path) -> None:
    path = datalist(tmp_path, training=[A], held_out=[B])
    assert Cohort.from_monai_datalist(path, lists=["held_out"]).patients == ("b",)


def test_patients_are_named_after_folders_where_files_are_all_alike(tmp_path: Path) -> None:
    for patient in ("P1", "P2"):
        for stem in ("ct", "pet", "seg"):
            path = tmp_path / patient / f"{stem}.nii"
            path.parent.mkdir(exist_ok=True)
            path.touch()
    items = [
        {"image": [f"{p}/ct.nii", f"{p}/pet.nii"], "label": f"{p}/seg.nii"} for p in ("P1", "P2")
    ]
    assert Cohort.from_monai_datalist(datalist(tmp_path, training=items)).patients == ("P1", "P2")


def test_folds_are_kept_where_every_item_has_one(tmp_path: Path) -> None:
    cohort = Cohort.open(datalist(tmp_path, training=[{**A, "fold": 1}, {**B, "fold": 0}]))
    assert cohort.folds is not None
    assert dict(cohort.folds.of_patient) == {"a": 1, "b": 0}
    half = Cohort.open(datalist(tmp_path, training=[{**A, "fold": 0}], testing=[B]))
    assert half.folds is None
    assert half.provenance == "Folds not kept: 1 items have none."


def test_crossval_takes_the_folds_of_a_dataset(tmp_path: Path) -> None:
    from small import limb, write_tiny_cohort

    from boneviz.crossval import deal_folds

    made = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02", place=1)])
    items = [
        {
            "ct": f"{who}/ct.nii.gz",
            "pet": f"{who}/pet.nii.gz",
            "label": f"{who}/expert_a.nii.gz",
            "patient_id": who,
            "fold": fold,
        }
        for who, fold in (("P01", 1), ("P02", 0))
    ]
    (made.root / "bone.json").write_text(json.dumps({"training": items}))
    cohort = Cohort.open(made.root / "bone.json")
    with pytest.raises(CohortError, match="bone: 2 folds of 2 patients by seed 0, expected 3 of 2"):
        deal_folds(cohort, n_folds=3, seed=0)
    assert dict(deal_folds(cohort, n_folds=2, seed=0).of_patient) == {"P01": 1, "P02": 0}
    # they are saved, and hold
    assert '"P01": 1' in (made.root / "folds.json").read_text()


def test_paths_outside_need_a_word(tmp_path: Path) -> None:
    outside = {**A, "label": str(tmp_path / "a.nii.gz")}
    datalist(tmp_path)
    path = datalist(tmp_path / "lists", training=[outside])
    with pytest.raises(CohortError, match=r"patient a, Expert: .*a\.nii\.gz leads out of .*lists"):
        Cohort.from_monai_datalist(path)
    cohort = Cohort.from_monai_datalist(path, paths="anywhere")
    assert cohort["a"].masks[cohort.experts[0]] == tmp_path / "a.nii.gz"
    # or a folder in which all lie
    assert len(Cohort.from_monai_datalist(path, base=tmp_path)) == 1


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    path = datalist(tmp_path / "lists", training=[A])
    pet = tmp_path / "lists" / "a_pet.nii.gz"
    pet.rename(tmp_path / "away.nii.gz")
    pet.symlink_to("../away.nii.gz")
    with pytest.raises(CohortError, match=r"patient a, pet: a_pet\.nii\.gz leads out of"):
        Cohort.open(path)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"trainning": [A]}, "holds 'trainning', expected a list under one of training, validat"),
        ({}, "holds nothing, expected a list"),
        ({"training": [3]}, "item 0 of training: a int, expected keys and paths"),
        ({"training": [C]}, "no item has a label, expected a key such as label"),
        ({"training": [{**A, "image": "a.nii.gz"}]}, "image 'a.nii.gz', expected the paths of CT"),
        (
            {"training": [{**A, "image": ["a_0.nii.gz", "a_1.nii.gz"]}]},
            "'a_0.nii.gz', 'a_1.nii.gz': their names do not tell the CT from the PET; add",
        ),
        ({"training": [A], "modality": {"0": "CT", "1": "MR"}}, "modality 'CT', 'MR', expected"),
        (
            {"training": [A], "modality": {"1": "PET", "2": "CT"}},
            "modality with the keys '1', '2', expected '0', '1': the places of the images",
        ),
        ({"training": [A], "modality": {"CT": "0", "PET": "1"}}, "keys 'CT', 'PET', expected '0'"),
        ({"training": [A], "modality": {"00": "CT", "1": "PET"}}, "keys '00', '1', expected '0'"),
        ({"training": [A], "modality": {}}, "modality empty, expected one CT and one PET"),
        ({"training": [A], "modality": "CT"}, "modality 'CT', expected such as"),
        (
            {"training": [{**A, "image": ["a_ct.nii.gz"]}], "modality": ["CT", "PET"]},
            "1 images, fewer than modality names",
        ),
        ({"training": [{"ct": "a_ct.nii.gz", "label": "a.nii.gz"}]}, "pet: None, expected a text"),
        ({"training": [{**A, "label": 3}]}, "label: 3, expected a text"),
        ({"training": [A, {**B, "label_b": "b_b.nii.gz"}]}, "label_b: None, expected a text"),
        ({"training": [{**A, "label": "lost.nii"}]}, "column Expert gives 'lost.nii', expected an"),
        ({"training": [A, A]}, "two items are of patient a; give each item its"),
        ({"training": [{**A, "patient_id": ["x"]}]}, r"patient_id \['x'\], expected a text"),
        ({"training": [{**A, "patient_id": "../x"}]}, "patient id '../x': expected a name without"),
        ({"training": [{**A, "session": 1.5}]}, "session 1.5, expected a text"),
        ({"training": [{**A, "fold": "x"}]}, "patient a: fold 'x', expected a whole number"),
        ({"training": [{**A, "fold": 0.5}]}, "patient a: fold 0.5, expected a whole number"),
        ({"training": [{**A, "fold": 0}, {**B, "fold": 2}]}, r"folds \[0, 2\]: expected at least"),
    ],
)
def test_a_datalist_that_leaves_something_open_is_refused(
    tmp_path: Path, content: dict[str, Any], says: str
) -> None:
    with pytest.raises(CohortError, match=says):
        Cohort.from_monai_datalist(datalist(tmp_path, **content))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        '{"training": {}}',
        "\udcff",
        pytest.param("[" * 50_000, id="deep"),
        # half of a pair, which JSON can spell and no table holds
        pytest.param(json.dumps({"training": [{**A, "patient_id": "\ud800"}]}), id="half"),
    ],
)
def test_what_is_no_datalist_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bone.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(CohortError, match=r"bone\.json: "):
        Cohort.open(path)


def test_a_name_too_long_for_any_file_is_refused(tmp_path: Path) -> None:
    path = datalist(tmp_path, training=[{**A, "label": "a" * 300}])
    with pytest.raises(CohortError, match=r"patient a, Expert: 'aaa.*' is no path"):
        Cohort.open(path)
