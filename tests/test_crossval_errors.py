"""Whatever can go wrong in a cross-validation stops it with one line, and nothing is spoiled."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import EXPERT_A, EXPERT_B, limb, tiny_config, volume_of, write_tiny_cohort
from test_crossval_kills import files_of

from boneviz import cli, train
from boneviz.checkpoint import card_of, load_checkpoint, load_tensors
from boneviz.cohort import Cohort
from boneviz.crossval import plan, run
from boneviz.errors import (
    BonevizError,
    CheckpointError,
    CohortError,
    ImageFileError,
    InputError,
    TrainingError,
)
from boneviz.fuse import FuseConfig
from boneviz.nifti import read_volume, write_volume
from boneviz.train import weights_path

CONFIG = tiny_config(steps=4, save_every=2, seed=0)  # the command has seed 0 as well
LIMBS = [limb("P01"), limb("P02", axes="lps", place=1)]


def cross_validate(root: Path, **changes: Any) -> Cohort:
    """Open a folder and run two folds, as the command does."""
    cohort = Cohort.open(root)
    todo = plan(cohort, replace(CONFIG, **changes), n_folds=2)
    return run(cohort, todo, progress=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a cohort folder of two patients."""
    return write_tiny_cohort(tmp_path / "tiny", LIMBS).root


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a cross-validation that nothing disturbed; tests leave it as it is."""
    root = write_tiny_cohort(tmp_path_factory.mktemp("whole") / "tiny", LIMBS).root
    cross_validate(root)
    return root


# ---- what is refused, as files of a cohort ----


def emptied(root: Path, patient: str, expert: Any) -> None:
    path = root / patient / f"{expert.key}.nii.gz"
    write_volume(volume_of(0, read_volume(path, "label").grid, "label"), path)


def one_patient(root: Path) -> None:
    shutil.rmtree(root / "P02")


def no_lesion_by_b_but_in_p01(root: Path) -> None:
    emptied(root, "P02", EXPERT_B)


def no_lesion_by_a(root: Path) -> None:
    emptied(root, "P01", EXPERT_A)
    emptied(root, "P02", EXPERT_A)


def no_mask_by_b_of_p02(root: Path) -> None:
    (root / "P02" / "expert_b.nii.gz").unlink()


def ct_without_pet(root: Path) -> None:
    (root / "P02" / "pet.nii.gz").unlink()


def pet_without_ct(root: Path) -> None:
    (root / "P02" / "ct.nii.gz").unlink()


def ct_cut_short(root: Path) -> None:
    path = root / "P01" / "ct.nii.gz"
    path.write_bytes(path.read_bytes()[:5000])


def no_expert(root: Path) -> None:
    replace(Cohort.open(root), readers=()).save()


def copied(what: str) -> Callable[[Path], None]:
    def copy(root: Path) -> None:
        shutil.copy(root / "P01" / what, root / "P02" / what)

    return copy


@dataclass(frozen=True)
class Refused:
    name: str
    spoil: Callable[[Path], None]
    error: type[BonevizError]
    says: str


REFUSED = (
    Refused(
        "one patient",
        one_patient,
        CohortError,
        "2 folds for 1 patients: expected at least 2 folds and at least one patient for each",
    ),
    # whichever fold holds P01 out trains on P02 alone, in whom B outlined nothing
    Refused(
        "no lesion in a training fold",
        no_lesion_by_b_but_in_p01,
        CohortError,
        r"Expert B outlined no lesion in the 1 training patients of fold [01] "
        r"\(with lesion: P01\): expected at least one; use fewer folds or more patients",
    ),
    Refused("no lesion at all", no_lesion_by_a, CohortError, r"Expert A .*\(with lesion: 0\)"),
    Refused(
        "an expert missing for a patient",
        no_mask_by_b_of_p02,
        CohortError,
        r"patient P02: no expert_b\.nii\.gz in .*every patient needs",
    ),
    Refused(
        "CT without PET", ct_without_pet, CohortError, r"patient P02: no pet\.nii\.gz in .*needs"
    ),
    Refused(
        "PET without CT", pet_without_ct, CohortError, r"patient P02: PET without CT in .*expected"
    ),
    Refused(
        "damaged CT",
        ct_cut_short,
        ImageFileError,
        r"patient P01: .*ct\.nii\.gz: cannot be read as NIfTI .*copy it again",
    ),
    Refused("no expert", no_expert, CohortError, "has no expert: nobody's outlines to learn"),
    Refused(
        "one CT of two patients",
        copied("ct.nii.gz"),
        CohortError,
        r"patients P01 and P02 share one CT \(.*P01/ct\.nii\.gz and .*P02/ct\.nii\.gz hold the "
        r"same voxels\): .*sessions of one patient; if a file was copied by mistake",
    ),
    Refused(
        "one PET of two patients",
        copied("pet.nii.gz"),
        CohortError,
        r"patients P01 and P02 share one PET \(.*P01/pet\.nii\.gz and .*P02/pet\.nii\.gz hold",
    ),
)


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_a_cohort_that_cannot_be_cross_validated_is_refused_before_any_fit(
    root: Path, case: Refused, capsys: pytest.CaptureFixture[str]
) -> None:
    case.spoil(root)
    with pytest.raises(case.error, match=case.says):
        cross_validate(root)
    assert not (root / "models").exists()
    # the command says the same in one line
    assert cli.main(["crossval", str(root), "--folds", "2", "--steps", "1", "--quiet"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("boneviz: ")
    assert said.count("\n") == 1


def test_a_table_whose_cases_lack_an_experts_mask_is_refused(root: Path) -> None:
    cohort = Cohort.open(root)
    first, second = cohort.cases
    by_a_alone = replace(second, masks={EXPERT_A: second.masks[EXPERT_A]})
    lacking = replace(cohort, cases=(first, by_a_alone))
    with pytest.raises(CohortError, match=r"patient P02: no mask of Expert B; .*an empty mask"):
        plan(lacking, CONFIG, n_folds=2)


def test_a_scan_copied_after_the_folds_were_dealt_is_refused(root: Path) -> None:
    plan(Cohort.open(root), CONFIG, n_folds=2)
    copied("ct.nii.gz")(root)
    with pytest.raises(CohortError, match="patients P01 and P02 share one CT"):
        plan(Cohort.open(root), CONFIG, n_folds=2)


# ---- models that are there already ----


def other_format(card: dict[str, Any]) -> dict[str, Any]:
    return {**card, "format": 99, "boneviz": "9.9"}


def other_modality(card: dict[str, Any]) -> dict[str, Any]:
    return {**card, "settings": {**card["settings"], "fuse": {**card["fuse"], "modality": "ct"}}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (other_format, r"model_a_fold0\.json: format 99, expected 2; .*boneviz 9\.9"),
        (other_modality, r"a finished model with fuse .*'ct'.*expected .*'fused'.*move models/"),
    ],
)
def test_a_model_of_another_version_or_modality_is_not_gone_on_with(
    whole: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], says: str
) -> None:
    root = Path(shutil.copytree(whole, tmp_path / "tiny"))
    card = root / "models" / "model_a_fold0.json"
    card.write_text(json.dumps(change(json.loads(card.read_text()))))
    before = files_of(root)
    with pytest.raises(CheckpointError, match=says):
        cross_validate(root)
    assert files_of(root) == before


# ---- a loss or gradient that is not a number ----


def spoil_gradient(network: torch.nn.Module) -> torch.nn.Module:
    """Let the fourth backward pass give a NaN, the loss being a number still."""
    passes = iter(range(100))

    def hook(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * float("nan") if next(passes) == 3 else gradient

    next(network.parameters()).register_hook(hook)
    return network


def test_a_gradient_that_is_not_a_number_leaves_the_last_good_state(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # states after steps 2 and 4 of 6: the spoiled step is number 3, the last before a state
    config = {"steps": 6, "save_every": 2}
    with monkeypatch.context() as patch:
        build = train.build_network
        patch.setattr(train, "build_network", lambda net: spoil_gradient(build(net)))
        with pytest.raises(
            TrainingError,
            match=r"model_a_fold0: gradient nan at step 3, kept: the last good state is kept in "
            r"model_a_fold0\.state\.safetensors; .*rate below 0\.005",
        ):
            cross_validate(root, **config)
    (state,) = (root / "models").glob("*.state.safetensors")
    tensors = load_tensors(state)
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    # it goes on from there to the weights of a fit that nothing disturbed
    cross_validate(root, **config)
    other = write_tiny_cohort(root.parent / "other", LIMBS).root
    cross_validate(other, **config)
    assert files_of(root) == files_of(other)


# ---- the plan ----


def test_a_plan_of_ablations_and_a_second_seed(root: Path) -> None:
    cohort = Cohort.open(root)
    todo = plan(cohort, CONFIG, n_folds=2, modalities=("fused", "ct", "pet"), seeds=(0, 4))
    # 2 folds x 2 experts of each input, then the second seed of the first input
    kinds = [("fused", 0, ""), ("ct", 0, ""), ("pet", 0, ""), ("fused", 4, "seed 4")]
    assert [(f.fuse.modality, f.seed, f.variant, f.fold, f.expert) for f in todo.fits] == [
        (*kind, fold, expert)
        for kind in kinds
        for fold in (0, 1)
        for expert in ("Expert A", "Expert B")
    ]
    # a fit and its ablation differ by the input alone
    for fused, ct in zip(todo.fits[:4], todo.fits[4:8], strict=True):
        assert replace(fused, fuse=FuseConfig(modality="ct")) == ct
    names = [train.model_of(cohort, fit).name for fit in todo.fits[::4]]
    assert names == ["Model A", "Model A (CT only)", "Model A (PET only)", "Model A (seed 4)"]
    assert train.model_of(cohort, todo.fits[-1]).variant == "seed 4"
    assert len({weights_path(cohort, fit) for fit in todo.fits}) == len(todo.fits)


def test_a_second_seed_of_an_ablation_says_both(root: Path) -> None:
    todo = plan(Cohort.open(root), CONFIG, n_folds=2, modalities=("ct",), seeds=(0, 1))
    model = train.model_of(Cohort.open(root), todo.fits[-1])
    assert (model.name, model.variant) == ("Model B (CT only, seed 1)", "CT only, seed 1")


def test_the_name_of_a_seed_is_no_setting_of_a_fit(whole: Path, tmp_path: Path) -> None:
    # cards from before there were variants hold: none of them has the field
    card = load_checkpoint(whole / "models" / "model_a_fold0.safetensors")
    assert "variant" not in json.loads(card.settings)
    assert train.settings_of(replace(CONFIG, variant="seed 1")) == train.settings_of(CONFIG)
    root = Path(shutil.copytree(whole, tmp_path / "tiny"))
    grown = run(
        Cohort.open(root), plan(Cohort.open(root), CONFIG, n_folds=2, seeds=(0, 4)), progress=False
    )
    assert [model.name for model in Cohort.open(root).models] == [
        "Model A",
        "Model B",
        "Model A (seed 4)",
        "Model B (seed 4)",
    ]
    one, other = (
        load_tensors(root / "models" / f"{stem}_fold0.safetensors")
        for stem in ("model_a", "model_a_seed_4")
    )
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert card_of(root / "models" / "model_b_seed_4_fold1.safetensors").is_file()
    assert grown.models[2].variant == "seed 4"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"seeds": ()}, r"seeds \[\]: expected at least one"),
        ({"seeds": (1, 1)}, r"seeds \[1, 1\]: expected at least one, and each once"),
        ({"modalities": ("ct", "ct")}, r"modalities \['ct', 'ct'\]: .* each once"),
        ({"modalities": ("mri",)}, "modality 'mri': expected one of fused, ct, pet"),
        ({"seeds": (0, -1)}, "seed -1, patience 0: expected 0 or more"),
    ],
)
def test_impossible_plans_are_refused(root: Path, options: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        plan(Cohort.open(root), CONFIG, n_folds=2, **options)
