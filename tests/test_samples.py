"""What the sample cohort promises to whoever opens it: small, synthetic, held out, two styles."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from boneviz.checkpoint import Checkpoint, load_checkpoint
from boneviz.cohort import Cohort
from boneviz.compare import CrossEvaluation, cross_evaluate
from boneviz.files import sha256_of
from boneviz.nifti import read_case, read_predictions
from boneviz.phantom import PLACES, PhantomConfig, make_phantom
from boneviz.predict import Predictor
from boneviz.samples import demonstration_models, samples_folder
from boneviz.scorecohort import score_cohort

FOLDER = samples_folder()
COHORT = Cohort.open(FOLDER)
IMAGES = sorted(FOLDER.rglob("*.nii.gz"))
# the leg with the fewest voxels, 49 x 97 x 163
SMALL = "P008"


def plant(patient_id: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / patient_id / "plant.json").read_text())
    return content


@pytest.fixture(scope="module")
def models() -> dict[str, Checkpoint]:
    return {model.reader.name: model for model in map(load_checkpoint, demonstration_models())}


@pytest.fixture(scope="module")
def dice() -> CrossEvaluation:
    return cross_evaluate(score_cohort(COHORT, progress=False), metric="dice")


def shipped() -> list[Path]:
    """Return the files of data_samples under version control; all of them without git."""
    folder = FOLDER.parent
    if (folder.parent / ".git").exists() and (git := shutil.which("git")):
        asked = [git, "ls-files", "-z", "--", "."]
        listed = subprocess.run(asked, cwd=folder, capture_output=True, text=True, check=False)
        if listed.returncode == 0:  # git refuses a checkout that another user owns
            return [folder / name for name in listed.stdout.split("\0") if name]
    return [path for path in folder.rglob("*") if path.is_file()]


def test_it_fits_into_twelve_megabytes() -> None:
    files = shipped()
    # nothing that the cohort needs is left out of version control
    needed = {FOLDER / "cohort.toml", *IMAGES, *demonstration_models(), *FOLDER.glob("P*/*.json")}
    needed |= {*FOLDER.glob("models/*.json"), *FOLDER.glob("predictions/*/*.json")}
    assert needed <= set(files)
    assert sum(path.stat().st_size for path in files) <= 12e6


def test_every_infection_and_region_is_there() -> None:
    plants = [plant(patient) for patient in COHORT.patients]
    assert 6 <= len(COHORT.patients) <= 8
    assert {each["kind"] for each in plants} == {kind for kind, _ in PLACES}
    assert {each["region"] for each in plants} == {"leg", "pelvis", "spine"}
    assert [each["patient_id"] for each in plants] == list(COHORT.patients)


def test_it_says_that_it_is_synthetic_and_whose_readings_it_holds() -> None:
    assert COHORT.synthetic
    assert COHORT.licence == "CC0-1.0"
    assert "Synthetic" in COHORT.provenance
    assert "not for diagnosis" in COHORT.provenance
    assert [reader.name for reader in COHORT.experts] == ["Expert A", "Expert B"]
    assert [(reader.name, reader.learned_from) for reader in COHORT.models] == [
        ("Model A", "Expert A"),
        ("Model B", "Expert B"),
    ]


def test_the_models_learned_from_other_phantoms(models: dict[str, Checkpoint]) -> None:
    assert list(models) == ["Model A", "Model B"]
    for model in models.values():
        assert model.reader in COHORT.readers
        assert model.demonstration
        assert len(model.trained_on) >= 12
        assert model.trained_on.isdisjoint(COHORT.patients)
        # known again in this cohort, and in one that `boneviz phantom --seed 7` makes anew
        assert model.seen_in(COHORT.id) == model.trained_on
    for each in map(plant, COHORT.patients):
        style, size = each["config"]["style"], each["config"]["size"]
        assert COHORT.id == f"phantoms-{each['generation']}-{each['seed']}-{style}-{size}"


def test_the_two_fits_differ_by_their_expert_alone(models: dict[str, Checkpoint]) -> None:
    a, b = (json.loads(models[name].settings) for name in ("Model A", "Model B"))
    assert (a.pop("expert"), b.pop("expert")) == ("Expert A", "Expert B")
    assert a == b
    assert models["Model A"].trained_on == models["Model B"].trained_on


@pytest.mark.parametrize("patient", COHORT.patients)
def test_predictions_are_these_models_and_held_out(
    patient: str, models: dict[str, Checkpoint]
) -> None:
    ref = COHORT[patient]
    case = read_case(ref)
    predictions = read_predictions(COHORT, ref)
    assert [each.reader for each in predictions] == list(COHORT.models)
    for prediction in predictions:
        model = models[prediction.reader.name]
        assert prediction.probability.grid.matches(case.ct.grid)
        assert prediction.held_out
        assert prediction.demonstration
        assert prediction.trained_on == model.trained_on
        assert prediction.checkpoint_id == sha256_of(model.weights)


@pytest.mark.parametrize("name", ["Model A", "Model B"])
def test_a_model_still_says_what_was_kept(name: str, models: dict[str, Checkpoint]) -> None:
    ref = COHORT[SMALL]
    (kept,) = (each for each in read_predictions(COHORT, ref) if each.reader.name == name)
    fresh = Predictor(models[name])(read_case(ref, readers=[]), cohort_id=COHORT.id)
    # half a step of 1/255 from storing; the rest for another processor's rounding
    assert np.abs(fresh.probability.array - kept.probability.array).max() <= 2 / 255
    assert fresh.probability.array.max() > 0.9, "it outlines something"


def test_every_model_is_closer_to_its_own_expert(dice: CrossEvaluation) -> None:
    a_of_a, b_of_a = (dice.cell(expert, "Model A").mean for expert in ("Expert A", "Expert B"))
    a_of_b, b_of_b = (dice.cell(expert, "Model B").mean for expert in ("Expert A", "Expert B"))
    # than to the other expert, and than the other model is to that expert
    assert a_of_a > max(b_of_a, a_of_b)
    assert b_of_b > max(b_of_a, a_of_b)


def test_the_styles_show_in_every_patient(dice: CrossEvaluation) -> None:
    interaction = dice.interaction()
    assert list(interaction.per_patient.index) == list(COHORT.patients)
    assert (interaction.per_patient > 0).all(), interaction.per_patient
    assert interaction.n_dropped == 0


def test_the_readme_tells_the_matrix(dice: CrossEvaluation) -> None:
    text = (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    for name, cells in dice.to_table().iterrows():
        assert f"| {name} | {cells['Expert A']} | {cells['Expert B']} |" in text


@pytest.mark.parametrize("patient", COHORT.patients)
def test_the_specific_expert_stays_inside_the_sensitive_one(patient: str) -> None:
    masks = {reader.name: mask.array for reader, mask in read_case(COHORT[patient]).masks.items()}
    a, b = masks["Expert A"], masks["Expert B"]
    assert b.any()
    assert (a & b).sum() / b.sum() >= 0.95
    assert b.sum() < a.sum()


def test_the_phantoms_are_those_that_the_code_makes() -> None:
    there, planted = read_case(COHORT[SMALL]), plant(SMALL)
    config = PhantomConfig(**planted["config"])
    made = make_phantom(
        SMALL, kind=planted["kind"], region=planted["region"], seed=planted["seed"], config=config
    )
    assert json.loads(json.dumps(made.plant.to_dict())) == planted
    assert there.ct.grid.matches(made.case.ct.grid)
    # kept in steps of 2 HU: at most 1 HU away, and 1 more for another processor's rounding
    apart = np.abs(there.ct.array.astype(int) - made.case.ct.array.astype(int))
    assert apart.max() <= 2
    assert not (there.ct.array % 2).any()
    for reader, mask in made.case.masks.items():
        assert (mask.array != there.masks[reader].array).sum() <= 5


def test_all_images_are_looked_at() -> None:
    # CT, PET, two experts and two models of every patient
    assert len(IMAGES) == 6 * len(COHORT)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_headers_hold_no_text_but_boneviz_own(path: Path) -> None:
    header = nib.Nifti1Image.from_filename(path).header
    fields = ("descrip", "aux_file", "intent_name", "db_name", "data_type")
    text = {field: header[field].item().decode() for field in fields if header[field].item()}
    unit = {"ct": "HU", "pet": "SUVbw", "expert_a": "label", "expert_b": "label"}
    stem = path.name.removesuffix(".nii.gz")
    assert text == {"descrip": f"boneviz {unit.get(stem, 'probability')}"}
    assert not header.extensions
    # gzip keeps neither the file's name nor the hour: flags 0, four zero bytes of time
    assert path.read_bytes()[3:8] == bytes(5)


def test_no_names_but_study_ids() -> None:
    folders = {path.name for path in FOLDER.iterdir() if path.is_dir()}
    assert folders == {*COHORT.patients, "models", "predictions"}
    known = {"patient_id", "kind", "region", "side", "components", "distractors", "experts"}
    known |= {"sure_suv", "seed", "config", "generation"}
    for patient in COHORT.patients:
        assert set(plant(patient)) == known
