"""From a short training to probabilities on the CT's own grid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small import EXPERT_A, MODEL_A, case_on, limb, tiny_config, write_tiny_cohort

from boneviz.case import Case
from boneviz.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from boneviz.errors import CheckpointError, GridError
from boneviz.folds import Folds
from boneviz.fuse import FuseConfig
from boneviz.harmonise import straighten
from boneviz.network import build_network
from boneviz.predict import Predictor
from boneviz.train import fit
from boneviz.volume import Grid

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
