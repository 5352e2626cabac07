"""One fit: resumable to the last bit, blind to held-out patients, refused where it cannot be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from small import EXPERT_A, limb, tiny_config, tiny_limbs, volume_of, write_case, write_tiny_cohort

from boneviz import patches, train
from boneviz.case import CaseRef, Reader
from boneviz.checkpoint import card_of, load_checkpoint, load_tensors
from boneviz.cohort import Cohort
from boneviz.errors import CheckpointError, CohortError, TrainingError
from boneviz.files import sha256_of
from boneviz.folds import Folds
from boneviz.fuse import FuseConfig
from boneviz.learninglog import LearningLog
from boneviz.network import NetConfig
from boneviz.train import fit, model_of, weights_path

#: P01 and P04 are held out of fold 0
FOLDS = Folds({f"P0{n}": (n - 1) % 3 for n in range(1, 7)}, 0)
CONFIG = tiny_config()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Return a cohort with the finished fit of `CONFIG`; tests leave it as it is."""
    cohort = write_tiny_cohort(tmp_path_factory.mktemp("finished"))
    fit(cohort, FOLDS, CONFIG, progress=False)
    return cohort


def interrupt_at(
    step: int, monkeypatch: pytest.MonkeyPatch, *, by: type[BaseException] = KeyboardInterrupt
) -> None:
    """Let the fit be interrupted as it asks for the patches of this step."""
    batch_of = patches.batch_of

    def interrupted(samples: Any, config: Any, at: int) -> Any:
        if at == step:
            raise by
        return batch_of(samples, config, at)

    monkeypatch.setattr(patches, "batch_of", interrupted)


@pytest.mark.parametrize("step", [1, 3, 4, 5])
def test_an_interrupted_fit_ends_with_the_very_same_weights(
    tiny_cohort: Cohort, finished: Cohort, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    # of 6 steps, states are kept after 2 and 4: the fit goes on from 0, 2, 4 and 4
    path = weights_path(tiny_cohort, CONFIG)
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny_cohort, FOLDS, CONFIG, progress=False)
    assert not path.exists()
    states = list(path.parent.glob("*.state.safetensors"))
    assert len(states) == (0 if step < 2 else 1)

    begun: list[int] = []
    batch_of = patches.batch_of
    monkeypatch.setattr(patches, "batch_of", lambda *a: (begun.append(a[2]), batch_of(*a))[1])
    torch.manual_seed(12345)  # what else happened in the process does not matter
    fit(tiny_cohort, FOLDS, CONFIG, progress=False)
    assert begun == list(range(step // 2 * 2, 6))
    assert sha256_of(path) == sha256_of(weights_path(finished, CONFIG))
    assert not list(path.parent.glob("*.state.safetensors"))
    logs = [p.with_name("model_a_fold0.log.json") for p in (path, weights_path(finished, CONFIG))]
    assert logs[0].read_text() == logs[1].read_text()
    assert len(json.loads(logs[0].read_text())["loss"]) == 6


def test_the_card_says_what_the_model_learned_from(finished: Cohort) -> None:
    checkpoint = load_checkpoint(weights_path(finished, CONFIG))
    assert checkpoint.reader == Reader(
        "Model A", "model", "high-sensitivity", learned_from="Expert A"
    )
    assert checkpoint.trained_on == {"P02", "P03", "P05", "P06"}
    assert checkpoint.fold == 0
    assert checkpoint.demonstration  # the cohort is synthetic
    assert (checkpoint.net, checkpoint.fuse) == (CONFIG.net, CONFIG.fuse)
    assert (checkpoint.spacing_mm, checkpoint.patch) == (CONFIG.spacing_mm, CONFIG.patch)


def test_held_out_patients_are_never_read(tiny_cohort: Cohort, finished: Cohort) -> None:
    # without the files of fold 0 the fit is the same; without those of another it cannot be
    for patient in ("P01", "P04"):
        for path in (tiny_cohort.root / patient).iterdir():
            path.unlink()
    fit(tiny_cohort, FOLDS, CONFIG, progress=False)
    there = weights_path(tiny_cohort, CONFIG)
    assert sha256_of(there) == sha256_of(weights_path(finished, CONFIG))


def test_only_training_patients_and_the_own_experts_outlines_are_read(
    tiny_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, list[Reader]]] = []
    read_case = patches.read_case

    def watched(ref: CaseRef, *, readers: list[Reader]) -> Any:
        read.append((ref.case_id, readers))
        return read_case(ref, readers=readers)

    monkeypatch.setattr(patches, "read_case", watched)
    fit(tiny_cohort, FOLDS, replace(CONFIG, fold=1, steps=1), progress=False)
    assert read == [(patient, [EXPERT_A]) for patient in ("P01", "P03", "P04", "P06")]


def test_all_sessions_of_a_held_out_patient_are_held_out(tmp_path: Path) -> None:
    limbs = [limb("P01", "S1"), limb("P01", "S2", place=1), limb("P02", place=2), limb("P03")]
    cohort = write_tiny_cohort(tmp_path, limbs)
    for session in ("S1", "S2"):
        (tmp_path / "P01" / session / "ct.nii.gz").unlink()
    folds = Folds({"P01": 0, "P02": 1, "P03": 1}, 0)
    checkpoint = fit(cohort, folds, replace(CONFIG, steps=1), progress=False)
    assert checkpoint.trained_on == {"P02", "P03"}


def test_the_same_outlines_under_another_name_give_the_same_weights(
    tiny_cohort: Cohort, finished: Cohort
) -> None:
    # the two experts' fits differ in their labels alone: with A's masks B's model is A's
    for patient in tiny_cohort.patients:
        folder = tiny_cohort.root / patient
        (folder / "expert_b.nii.gz").write_bytes((folder / "expert_a.nii.gz").read_bytes())
    config = replace(CONFIG, expert="Expert B")
    fit(tiny_cohort, FOLDS, config, progress=False)
    path = weights_path(tiny_cohort, config)
    assert path.name == "model_b_fold0.safetensors"
    assert sha256_of(path) == sha256_of(weights_path(finished, CONFIG))


def test_other_outlines_and_other_seeds_give_other_weights(tiny_cohort: Cohort) -> None:
    # a fit that learned from nothing would pass all tests of equality
    config = replace(CONFIG, steps=2)
    shas = set()
    for name, changes in (("a", {}), ("b", {"expert": "Expert B"}), ("c", {"seed": 4})):
        cohort = replace(tiny_cohort, root=tiny_cohort.root / name)
        fit(cohort, FOLDS, replace(config, **changes), progress=False)
        shas.add(sha256_of(weights_path(cohort, replace(config, **changes))))
    assert len(shas) == 3


def test_a_finished_fit_is_not_done_again(
    finished: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = weights_path(finished, CONFIG)
    before = [(p.name, p.stat().st_mtime_ns) for p in sorted(path.parent.iterdir())]
    monkeypatch.setattr(train, "read_samples", None)  # nothing is even read
    again = fit(finished, FOLDS, CONFIG, progress=False)
    assert again.checkpoint_id == sha256_of(path)
    assert [(p.name, p.stat().st_mtime_ns) for p in sorted(path.parent.iterdir())] == before
    # how often a state is kept changes nothing of the model
    fit(finished, FOLDS, replace(CONFIG, save_every=3), progress=False)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"steps": 7}, "steps 6, expected 7"),
        ({"batch": 1}, "batch 2, expected 1"),
        ({"rate": 1e-3}, "rate 0.005, expected 0.001"),
        ({"seed": 4}, "seed 3, expected 4"),
        ({"patch": (16, 16, 8)}, r"patch .*expected \[16, 16, 8\]"),
        ({"spacing_mm": (6.0, 6.0, 5.0)}, r"spacing_mm .*expected \[6.0, 6.0, 5.0\]"),
        ({"net": NetConfig(filters=(4, 8, 16))}, r"net .*16"),
        ({"fuse": FuseConfig(suv_clip=8)}, r"fuse .*8"),
    ],
)
def test_a_finished_fit_with_other_settings_is_not_passed_off(
    finished: Cohort, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(CheckpointError, match=f"a finished model with {says}.*move models/ away"):
        fit(finished, FOLDS, replace(CONFIG, **changes), progress=False)


def test_a_finished_fit_of_other_folds_is_not_passed_off(finished: Cohort) -> None:
    others = Folds({**FOLDS.of_patient, "P01": 1, "P02": 0}, 0)
    with pytest.raises(CheckpointError, match="learned from 4 patients which are not the 4 of"):
        fit(finished, others, CONFIG, progress=False)


@pytest.mark.parametrize(
    ("changes", "folds"),
    [
        ({"rate": 1e-3}, FOLDS),
        ({"seed": 4}, FOLDS),
        # P01 is no longer held out, P02 is: going on would test on what was learned
        ({}, Folds({**FOLDS.of_patient, "P01": 1, "P02": 0}, 0)),
    ],
    ids=["rate", "seed", "patients"],
)
def test_an_unfinished_fit_of_other_settings_or_patients_is_not_gone_on_with(
    tiny_cohort: Cohort, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], folds: Folds
) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(3, patch)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny_cohort, FOLDS, CONFIG, progress=False)
    with pytest.raises(
        CheckpointError, match=r"an unfinished fit with other .*; delete it to start"
    ):
        fit(tiny_cohort, folds, replace(CONFIG, **changes), progress=False)


def test_a_damaged_state_is_refused(tiny_cohort: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(3, patch)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny_cohort, FOLDS, CONFIG, progress=False)
    (state,) = weights_path(tiny_cohort, CONFIG).parent.glob("*.state.safetensors")
    state.write_bytes(state.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"state.safetensors: not readable as safetensors"):
        fit(tiny_cohort, FOLDS, CONFIG, progress=False)


def test_without_any_lesion_there_is_nothing_to_learn(tmp_path: Path) -> None:
    refs = []
    for seed, each in enumerate(tiny_limbs()):
        case = each.case(seed=seed)
        empty = {EXPERT_A: volume_of(0, case.ct.grid, "label")}
        refs.append(write_case(replace(case, masks=empty), tmp_path))
    cohort = Cohort("Tiny", tmp_path, (EXPERT_A,), tuple(refs))
    with pytest.raises(
        TrainingError, match="Expert A outlined no lesion in the 4 training patients of fold 0"
    ):
        fit(cohort, FOLDS, CONFIG, progress=False)
    assert not (tmp_path / "models").exists()


def test_a_loss_that_is_not_a_number_stops_the_fit_and_keeps_the_last_state(
    tiny_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_of = patches.batch_of

    def spoiled(samples: Any, config: Any, step: int) -> tuple[torch.Tensor, torch.Tensor]:
        images, lesions = batch_of(samples, config, step)
        return (images * float("nan") if step == 3 else images), lesions

    path = weights_path(tiny_cohort, CONFIG)
    with monkeypatch.context() as patch:
        patch.setattr(patches, "batch_of", spoiled)
        with pytest.raises(
            TrainingError,
            match=r"model_a_fold0: loss nan at step 3.*model_a_fold0.state.safetensors.*0\.005",
        ):
            fit(tiny_cohort, FOLDS, CONFIG, progress=False)
    assert not path.exists()
    assert not card_of(path).exists()
    # with the data mended it goes on
    assert fit(tiny_cohort, FOLDS, CONFIG, progress=False).weights == path


def test_folds_of_another_cohort_are_refused(tiny_cohort: Cohort) -> None:
    folds = Folds({"P01": 0, "P02": 1, "P03": 0, "P04": 1}, 0)
    with pytest.raises(
        TrainingError, match="patients P05, P06 are in no fold: deal the folds again"
    ):
        fit(tiny_cohort, folds, CONFIG, progress=False)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("Expert C", "no reader 'Expert C'; it has Expert A, Expert B"),
        # a model outlines nothing that could be read
        ("Model A", "Model A.*expert"),
    ],
)
def test_only_an_expert_of_the_cohort_can_be_learned_from(
    tiny_cohort: Cohort, name: str, says: str
) -> None:
    model = Reader("Model A", "model", learned_from="Expert A")
    cohort = replace(tiny_cohort, readers=(*tiny_cohort.readers, model))
    with pytest.raises(CohortError, match=says):
        fit(cohort, FOLDS, replace(CONFIG, expert=name), progress=False)


def test_a_fold_that_is_not_there_is_refused(tiny_cohort: Cohort) -> None:
    with pytest.raises(CohortError, match="fold 3: expected 0 to 2"):
        fit(tiny_cohort, FOLDS, replace(CONFIG, fold=3), progress=False)


@pytest.mark.parametrize(
    ("expert", "modality", "models", "name"),
    [
        ("Expert A", "fused", (), "Model A"),
        ("Expert A", "ct", (), "Model A (CT only)"),
        ("Expert A", "pet", ("Model A",), "Model A (PET only)"),
        # a model that a CT-only run left in the cohort is not the fused one
        ("Expert A", "fused", ("Model A (CT only)",), "Model A"),
        ("Dr. Osei", "fused", (), "Model of Dr. Osei"),
    ],
)
def test_a_model_is_named_after_its_expert_and_input(
    tmp_path: Path, expert: str, modality: str, models: tuple[str, ...], name: str
) -> None:
    there = [Reader(model, "model", learned_from=expert) for model in models]
    cohort = Cohort("Tiny", tmp_path, (Reader(expert, "expert", "high-sensitivity"), *there), ())
    config = replace(CONFIG, expert=expert, fuse=FuseConfig(modality=modality))  # type: ignore[arg-type]
    variant = "" if modality == "fused" else f"{modality.upper()} only"
    assert model_of(cohort, config) == Reader(name, "model", "high-sensitivity", expert, variant)


# ---- early stop on patients set aside ----

WATCHING = tiny_config(steps=12, watch_every=2, patience=2, save_every=3)


def looks(monkeypatch: pytest.MonkeyPatch, found: Sequence[float]) -> list[Any]:
    """Let the looks of a fit find these; return the weights that were looked at, as they come."""
    seen: list[Any] = []

    def look(network: torch.nn.Module, *_: Any) -> float:
        seen.append({name: t.clone() for name, t in network.state_dict().items()})
        return found[len(seen) - 1]

    monkeypatch.setattr(train, "watched_dice", look)
    return seen


def test_a_fit_stops_when_it_gets_no_better_and_keeps_the_best(
    tiny_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    # looks after steps 2, 4, 6, 8, ...: the best is the second, 0.5004 is no gain on 0.5, and two
    # looks without one end it after step 8 of 12
    seen = looks(monkeypatch, [0.3, 0.5, 0.5004, 0.4, 0.9, 0.9])
    checkpoint = fit(tiny_cohort, FOLDS, WATCHING, progress=False)
    assert len(seen) == 4
    kept = load_tensors(checkpoint.weights)
    for name, tensor in seen[1].items():
        assert torch.equal(kept[name], tensor.half())
    log = LearningLog(weights_path(tiny_cohort, WATCHING).with_suffix(".log.json"))
    assert len(log.loss) == 8
    assert log.watched == [(2, 0.3), (4, 0.5), (6, 0.5004), (8, 0.4)]


def test_who_is_watched_is_a_training_patient_and_not_learned_from(
    tiny_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned: list[int] = []
    watched: list[int] = []
    make = train.batches
    monkeypatch.setattr(
        train,
        "batches",
        lambda samples, *a, **k: (learned.append(len(samples)), make(samples, *a, **k))[1],
    )
    monkeypatch.setattr(
        train, "watched_dice", lambda _, samples, *__: watched.append(len(samples)) or 0.5
    )
    checkpoint = fit(tiny_cohort, FOLDS, WATCHING, progress=False)
    # of the four training patients one is watched; it counts as seen, as it chose the weights
    assert learned == [3]
    assert set(watched) == {1}
    assert checkpoint.trained_on == {"P02", "P03", "P05", "P06"}


@pytest.mark.parametrize("step", [3, 5, 7])
def test_an_interrupted_fit_that_is_watched_ends_with_the_very_same_weights(
    tiny_cohort: Cohort, finished: Cohort, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    # states after 3, 6, 9: each keeps the best weights and how many looks brought none better
    other = replace(finished, root=tiny_cohort.root.parent / "undisturbed")
    undisturbed = fit(other, FOLDS, WATCHING, progress=False)
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        with pytest.raises(KeyboardInterrupt):
            fit(tiny_cohort, FOLDS, WATCHING, progress=False)
    again = fit(tiny_cohort, FOLDS, WATCHING, progress=False)
    assert again.checkpoint_id == undisturbed.checkpoint_id
    logs = [c.weights.with_suffix(".log.json").read_text() for c in (again, undisturbed)]
    assert logs[0] == logs[1]


def test_one_patient_with_a_lesion_cannot_be_learned_from_and_watched(tmp_path: Path) -> None:
    refs = []
    for seed, each in enumerate(tiny_limbs()):
        case = each.case(seed=seed)
        if each.patient_id != "P02":
            case = case.with_masks({EXPERT_A: volume_of(0, case.ct.grid, "label")})
        refs.append(write_case(case, tmp_path))
    cohort = Cohort("Tiny", tmp_path, (EXPERT_A,), tuple(refs))
    with pytest.raises(
        TrainingError,
        match=r"outlined a lesion in 1 of the training patients of fold 0: .*patience of 0",
    ):
        fit(cohort, FOLDS, WATCHING, progress=False)


def test_bfloat16_is_another_fit(tiny_cohort: Cohort, tmp_path: Path) -> None:
    wide = replace(CONFIG, patch=(24, 24, 24))
    half = fit(tiny_cohort, FOLDS, replace(wide, precision="bfloat16"), progress=False)
    other = Cohort.open(shutil.copytree(tiny_cohort.root, tmp_path / "other"))
    shutil.rmtree(other.root / "models", ignore_errors=True)
    whole = fit(other, FOLDS, wide, progress=False)
    assert half.checkpoint_id != whole.checkpoint_id
    a, b = (load_tensors(checkpoint.weights) for checkpoint in (half, whole))
    # it learned, and much the same: bfloat16 has 8 bits, and six steps lie between
    assert all(torch.allclose(a[name].float(), b[name].float(), atol=0.1) for name in a)


def test_bfloat16_is_refused_where_a_cpu_gets_it_wrong(tiny_cohort: Cohort) -> None:
    # 16 voxels, halved by folding and twice by strides: 2 at the deepest
    with pytest.raises(
        TrainingError, match=r"patch of \(16, 16, 16\) .* at least 24 voxels a side"
    ):
        fit(tiny_cohort, FOLDS, replace(CONFIG, precision="bfloat16"), progress=False)
