"""From a short training to probabilities on the CT's own grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import SlidingWindowInferer
from small import (
    EXPERT_A,
    MODEL_A,
    MODEL_B,
    affine_of,
    case_on,
    in_counts,
    limb,
    put_into_counts,
    tiny_config,
    turned_about_z,
    write_tiny_cohort,
)

from boneviz import crossval
from boneviz.case import Case
from boneviz.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from boneviz.cohort import Cohort
from boneviz.crossval import predict_cohort
from boneviz.errors import CheckpointError, GridError, InputError
from boneviz.folds import Folds
from boneviz.fuse import FuseConfig, fuse
from boneviz.harmonise import harmonise, resample, straighten
from boneviz.network import build_network
from boneviz.nifti import read_case
from boneviz.predict import Predictor, Predictors, _on
from boneviz.samples import demonstration_models, samples_folder
from boneviz.train import fit
from boneviz.volume import Grid, Volume

CONFIG = tiny_config(steps=80)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Return a model that learned expert A's boxes in P02, P03, P05 and P06."""
    cohort = write_tiny_cohort(tmp_path_factory.mktemp("trained"))
    folds = Folds({f"P0{n}": (n - 1) % 3 for n in range(1, 7)}, 0)
    return fit(cohort, folds, CONFIG, progress=False)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (one.sum() + other.sum()))


@pytest.mark.parametrize("axes", ["straight", "lps", "oblique"])
def test_a_planted_lesion_is_found_on_the_cts_own_grid(trained: Checkpoint, axes: str) -> None:
    case = limb("P90", axes=axes, place=1).case(seed=90)
    prediction = Predictor(trained)(case)
    assert prediction.probability.grid.matches(case.ct.grid)
    assert prediction.probability.grid.orientation == case.ct.grid.orientation
    drawn, planted = prediction.mask().array, case.masks[EXPERT_A].array
    assert dice(drawn, planted) > 0.5
    # the wrong way round would miss it: the box lies off the middle along every axis
    assert dice(drawn[::-1, ::-1], planted) < 0.3
    middle = case.ct.grid.to_mm(np.argwhere(drawn)).mean(axis=0)
    assert middle == pytest.approx([15, -9, 12], abs=6)


def test_one_anatomy_gives_one_prediction_whatever_its_axes(trained: Checkpoint) -> None:
    straight = limb("P90", place=1).case(seed=90)
    ct = straight.ct
    # the same voxels written from the other end of x and y
    flipped = ct.grid.affine_ras_mm.copy()
    flipped[:3, 3] = ct.grid.to_mm((ct.grid.shape[0] - 1, ct.grid.shape[1] - 1, 0))
    flipped[:3, :2] *= -1
    lps_grid = Grid(ct.grid.shape, flipped)
    lps = replace(straight, ct=type(ct)(ct.array[::-1, ::-1], lps_grid, "HU"), masks={})
    one, other = (Predictor(trained)(case).probability.array for case in (straight, lps))
    assert np.abs(one - other[::-1, ::-1]).max() < 1e-5


def test_a_prediction_says_whose_it_is_and_what_was_seen(trained: Checkpoint) -> None:
    predictor = Predictor(trained)
    case = limb("P01", "S2").case(seed=0)
    prediction = predictor(case)
    assert (prediction.patient_id, prediction.session) == ("P01", "S2")
    assert prediction.reader.learned_from == "Expert A"
    assert prediction.fold == 0
    assert prediction.checkpoint_id == trained.checkpoint_id
    assert prediction.demonstration
    assert prediction.held_out
    assert not predictor(replace(case, patient_id="P02")).held_out


def test_masks_are_not_looked_at(trained: Checkpoint) -> None:
    predictor = Predictor(trained)
    case = limb("P90").case(seed=90)
    blind = Case("P90", "", case.ct, case.pet)
    assert np.array_equal(predictor(case).probability.array, predictor(blind).probability.array)


def test_the_weights_on_disk_and_in_memory_predict_alike(trained: Checkpoint) -> None:
    case = limb("P90").case(seed=90)
    again = Predictor(load_checkpoint(trained.weights))(case)
    assert np.array_equal(again.probability.array, Predictor(trained)(case).probability.array)


def test_probabilities_below_a_stored_grey_level_are_zero(
    trained: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    # logits of -7 and -6 are probabilities of 0.00091 and 0.00247; half a grey level is 0.00196
    case = limb("P90").case(seed=90)
    for logit, expected in ((-7.0, 0.0), (-6.0, 0.00247)):
        monkeypatch.setattr(
            "boneviz.predict.slide",
            lambda image, networks, value=logit, **_: torch.full(
                (len(networks), *image.shape[1:]), value
            ),
        )
        predictor = Predictor(trained)
        array = predictor(case).probability.array
        assert array[5:-5, 5:-5, 5:-5] == pytest.approx(expected, abs=1e-5)


def test_scans_that_do_not_overlap_are_refused(trained: Checkpoint) -> None:
    far = case_on(
        Grid.straight((20, 20, 20), (6, 6, 6)), Grid.straight((5, 5, 5), (6, 6, 6), (900,) * 3)
    )
    with pytest.raises(GridError, match=r"patient P01: PET on .* does not overlap the CT"):
        Predictor(trained)(far)


def test_a_straightened_case_is_predicted_on_its_straight_grid(trained: Checkpoint) -> None:
    case = straighten(limb("P90", axes="oblique").case(seed=90))
    prediction = Predictor(trained)(case)
    assert prediction.probability.grid.matches(case.ct.grid)
    assert prediction.probability.grid.is_straight


def test_weights_lost_since_are_refused(trained: Checkpoint, tmp_path: Path) -> None:
    torch.manual_seed(0)
    there = replace(trained, weights=tmp_path / "lost.safetensors", reader=MODEL_A)
    save_checkpoint(there, build_network(there.net).state_dict())
    checkpoint = load_checkpoint(there.weights)
    there.weights.unlink()
    with pytest.raises(CheckpointError, match=r"lost.safetensors: not readable as safetensors"):
        Predictor(checkpoint)


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_an_ablated_model_does_not_look_at_the_other_scan(tmp_path: Path, modality: str) -> None:
    torch.manual_seed(0)
    config = tiny_config(fuse=FuseConfig(modality=modality))  # type: ignore[arg-type]
    there = Checkpoint(
        MODEL_A,
        config.net,
        config.fuse,
        config.spacing_mm,
        config.patch,
        0,
        frozenset(),
        "",
        "{}",
        True,
        tmp_path / "m.safetensors",
    )
    save_checkpoint(there, build_network(config.net).state_dict())
    predictor = Predictor(load_checkpoint(there.weights))
    case = limb("P90").case(seed=90)
    other_ct, other_pet = (np.zeros_like(volume.array) for volume in (case.ct, case.pet))
    changed_ct = replace(case, ct=replace(case.ct, array=other_ct))
    changed_pet = replace(case, pet=replace(case.pet, array=other_pet))
    blind_to, sees = (changed_pet, changed_ct) if modality == "ct" else (changed_ct, changed_pet)
    array = predictor(case).probability.array
    assert np.array_equal(predictor(blind_to).probability.array, array)
    assert not np.array_equal(predictor(sees).probability.array, array)


def test_a_patient_is_known_again_within_one_cohort_only(tmp_path: Path) -> None:
    """P01 of the training cohort is not P01 of another hospital."""
    config = tiny_config()
    there = Checkpoint(
        MODEL_A,
        config.net,
        config.fuse,
        config.spacing_mm,
        config.patch,
        0,
        frozenset({"P01"}),
        "ours",
        "{}",
        True,
        tmp_path / "m.safetensors",
    )
    save_checkpoint(there, build_network(config.net).state_dict())
    model = load_checkpoint(there.weights)
    assert model.seen_in("ours") == {"P01"}
    assert model.seen_in("theirs") == model.seen_in("") == frozenset()
    case = limb("P01").case(seed=1)
    assert not Predictor(model)(case, cohort_id="ours").held_out
    assert Predictor(model)(case, cohort_id="theirs").held_out


def untrained(folder: Path, reader: Any, seed: int, **changes: Any) -> Checkpoint:
    """Return a model of random weights, another one for every seed."""
    torch.manual_seed(seed)
    config = tiny_config(**changes)
    there = Checkpoint(
        reader,
        config.net,
        config.fuse,
        config.spacing_mm,
        config.patch,
        0,
        frozenset(),
        "",
        "{}",
        True,
        folder / f"{reader.key}_{seed}.safetensors",
    )
    save_checkpoint(there, build_network(config.net).state_dict())
    return load_checkpoint(there.weights)


def test_models_together_say_what_each_says_alone(tmp_path: Path) -> None:
    models = [
        untrained(tmp_path, MODEL_A, 1),
        untrained(tmp_path, MODEL_A, 2, fuse=FuseConfig(modality="ct")),
        untrained(tmp_path, MODEL_B, 3),
        untrained(tmp_path, MODEL_B, 4, spacing_mm=(6.0, 5.0, 4.0), patch=(8, 16, 24)),
    ]
    case = limb("P90").case(seed=90)
    together = Predictors(models)(case)
    assert [p.checkpoint_id for p in together] == [m.checkpoint_id for m in models]
    alone = [Predictor(model)(case) for model in models]
    for one, other in zip(together, alone, strict=True):
        assert np.array_equal(one.probability.array, other.probability.array)
    # they do differ from each other
    assert not np.array_equal(alone[0].probability.array, alone[2].probability.array)


def test_a_case_is_harmonised_once_for_models_of_one_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [untrained(tmp_path, MODEL_A, 1), untrained(tmp_path, MODEL_B, 2)]
    calls: list[Any] = []
    monkeypatch.setattr(
        "boneviz.predict.harmonise",
        lambda case, **options: (calls.append(options), harmonise(case, **options))[1],
    )
    Predictors(models)(limb("P90").case(seed=90))
    assert calls == [{"spacing_mm": (6.0, 6.0, 6.0)}]


def test_windows_cannot_overlap_wholly(trained: Checkpoint) -> None:
    for overlap in (1.0, -0.1):
        with pytest.raises(InputError, match=rf"overlap of windows {overlap}.*0 and below 1"):
            Predictor(trained, overlap=overlap)


def test_air_alone_holds_no_infection(trained: Checkpoint) -> None:
    case = case_on(Grid.straight((30, 20, 25), (5, 4, 6)))  # -1000 HU, no uptake
    array = Predictor(trained)(case).probability.array
    assert array.shape == (30, 20, 25)
    assert not array.any()


@pytest.mark.parametrize("patient", ["P005", "P007"])
def test_masks_are_monais(patient: str) -> None:
    """Both models' masks of a leg and of a knee beside those of MONAI's inferer."""
    models = [load_checkpoint(path) for path in demonstration_models()]
    case = read_case(Cohort.open(samples_folder())[patient], readers=[])
    there = harmonise(case, spacing_mm=models[0].spacing_mm)
    image = torch.from_numpy(fuse(there, models[0].fuse))[None]
    peer = SlidingWindowInferer(models[0].patch, 2, 0.5, mode="gaussian", padding_mode="constant")
    for model, ours in zip(models, Predictors(models)(case), strict=True):
        with torch.inference_mode():
            logits = peer(image, model.network())
        assert isinstance(logits, torch.Tensor)
        probability = torch.sigmoid(logits)[0, 0].numpy()
        theirs = resample(Volume(probability, there.ct.grid, "probability"), case.ct.grid).array
        drawn = theirs >= 0.5
        assert np.count_nonzero(drawn) > 1000
        assert dice(ours.mask().array, drawn) >= 0.999
        # where a window near air is left out the others speak for it
        assert np.abs(ours.probability.array - theirs).max() < 0.01


@pytest.mark.parametrize(
    "target",
    [
        Grid.straight((40, 36, 30), (2, 3, 5), (-31, -42, -61)),  # finer and coarser by axis
        Grid.straight((12, 9, 8), (9, 11, 13), (-40, -40, -40)),  # coarser: smoothed first
        Grid((50, 30, 24), affine_of(*turned_about_z(25, (2, 3, 5)).T, origin=(-40, -50, -60))),
        Grid.straight((10, 10, 10), (2, 3, 5), (400, 400, 400)),  # elsewhere
    ],
)
@pytest.mark.parametrize("where", ["middle", "corner", "nowhere"])
def test_only_the_box_that_holds_something_is_resampled(target: Grid, where: str) -> None:
    source = Grid.straight((24, 26, 28), (4, 4, 4), (-46, -50, -54))
    array = np.zeros(source.shape, dtype=np.float32)
    if where == "middle":
        array[8:13, 9:15, 10:12] = np.random.default_rng(0).random((5, 6, 2))
    elif where == "corner":
        array[0, 0, 0] = array[-1, 3, -1] = 0.75
    probability = Volume(array, source, "probability")
    whole = resample(probability, target).array
    assert np.abs(_on(probability, target).array - whole).max() < 1e-6
    if where == "middle" and target.affine_ras_mm[0, 3] < 400:
        assert whole.max() > 0.1


def test_a_case_is_read_once_for_both_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort = write_tiny_cohort(tmp_path / "cohort", [limb("P01"), limb("P02", place=1)])
    a, b = untrained(tmp_path, MODEL_A, 1), untrained(tmp_path, MODEL_B, 2)
    first, second = cohort
    # model B has spoken for P02 before: that file stays as it is
    predict_cohort(cohort, {b: [second]}, folder=tmp_path / "out", progress=False)
    kept = tmp_path / "out" / MODEL_B.key / "P02.nii.gz"
    before = kept.stat().st_mtime_ns
    asked: list[str] = []
    monkeypatch.setattr(
        crossval,
        "read_case",
        lambda ref, **options: (asked.append(ref.case_id), read_case(ref, **options))[1],
    )
    spoken = {a: [first, second], b: [first, second]}
    out = predict_cohort(cohort, spoken, folder=tmp_path / "out", progress=False)
    assert asked == ["P01", "P02"]
    assert kept.stat().st_mtime_ns == before
    for model in (a, b):
        alone = predict_cohort(
            cohort, {model: [first, second]}, folder=tmp_path / "alone", progress=False
        )
        for case in ("P01", "P02"):
            for suffix in (".nii.gz", ".json"):
                same = (out / model.reader.key / f"{case}{suffix}").read_bytes()
                assert (alone / model.reader.key / f"{case}{suffix}").read_bytes() == same
    asked.clear()
    predict_cohort(cohort, spoken, folder=tmp_path / "out", progress=False)
    assert asked == []


def test_counts_are_predicted_by_models_of_ct_alone(trained: Checkpoint, tmp_path: Path) -> None:
    case = in_counts(limb("P90").case(seed=90))
    with pytest.raises(InputError, match="patient P90: PET in counts, expected SUVbw"):
        Predictor(trained)(case)
    of_ct = Predictor(untrained(tmp_path, MODEL_A, 1, fuse=FuseConfig(modality="ct")))
    assert np.array_equal(
        of_ct(case).probability.array, of_ct(limb("P90").case(seed=90)).probability.array
    )


def test_nothing_is_predicted_where_a_later_pet_is_in_counts(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02", place=1)])
    put_into_counts(cohort["P02"])
    spoken = {untrained(tmp_path, MODEL_A, 1): list(cohort)}
    folder = tmp_path / "there"
    with pytest.raises(InputError, match="patient P02: PET in counts"):
        predict_cohort(cohort, spoken, folder=folder, progress=False)
    assert not folder.exists()
