"""What a fit sees: samples at the network's spacing, and patches that the seed alone decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from small import EXPERT_A, EXPERT_B, limb, tiny_config, volume_of, write_case

from boneviz.cohort import Cohort
from boneviz.errors import InputError, TrainingError
from boneviz.fuse import FuseConfig
from boneviz.network import NetConfig
from boneviz.patches import Sample, TrainConfig, batch_of, batches, read_samples

CONFIG = tiny_config()
SIDES = CONFIG.patch


def sample_of(shape: tuple[int, int, int], *, marked: slice | None, seed: int = 0) -> Sample:
    """Return noise in both channels with lesion where `marked` says along x, in the middle."""
    lesion = np.zeros(shape, dtype=bool)
    if marked is not None:
        lesion[marked, 8:12, 8:12] = True
    image = np.random.default_rng(seed).random((2, *shape), dtype=np.float32)
    return Sample(image, lesion, np.argwhere(lesion))


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"steps": 0}, "steps 0, .*expected all above 0"),
        ({"batch": 0}, "batch 0"),
        ({"save_every": 0}, "save_every 0"),
        ({"rate": 0.0}, "rate 0.0"),
        ({"watch_every": 0}, "watch_every 0"),
        ({"patience": -1}, "patience -1: expected 0 or more"),
        ({"precision": "float16"}, "precision 'float16': expected one of auto, float32, bfloat16"),
        # two levels halve the resolution once
        (
            {"patch": (16, 15, 16), "net": NetConfig("unet", (4, 8), unshuffle=1)},
            r"patch \(16, 15, 16\): expected multiples of 2 voxels",
        ),
        # folding by two halves it once more
        (
            {"patch": (16, 18, 16), "net": NetConfig("unet", (4, 8), unshuffle=2)},
            r"patch \(16, 18, 16\): expected multiples of 4 voxels",
        ),
        # four levels halve it three times
        (
            {"patch": (16, 16, 20), "net": NetConfig(filters=(4, 8, 16, 32), unshuffle=1)},
            r"patch \(16, 16, 20\): expected multiples of 8",
        ),
        # a single place on the coarsest level has no spread that a norm could divide by
        (
            {"patch": (16, 16, 16), "net": NetConfig(filters=(4, 8, 16, 32), unshuffle=2)},
            r"patch \(16, 16, 16\): .*more than 16",
        ),
        (
            {"fuse": FuseConfig(soft_tissue_hu=(50, 400))},
            "a network of 2 channels for 3 that are fused",
        ),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        TrainConfig("Expert A", 0, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"architecture": "vnet"}, "architecture 'vnet': expected one of unet, dynunet, segresnet"),
        (
            {"architecture": "dynunet", "filters": (8, 16)},
            r"filters \(8, 16\): a dynunet takes at least three levels",
        ),
        ({"unshuffle": 0}, "unshuffle 0, 2 channels: expected 1 or more"),
        (
            {"architecture": "segresnet", "filters": (8, 16, 16)},
            r"filters \(8, 16, 16\): a segresnet doubles them, expected \(8, 16, 32\)",
        ),
        ({"filters": (8,)}, r"filters \(8,\): expected at least two positive numbers"),
        ({"filters": (8, 0)}, r"filters \(8, 0\)"),
    ],
)
def test_impossible_networks_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        NetConfig(**settings)  # type: ignore[arg-type]


def test_samples_are_at_the_networks_spacing_and_padded_to_a_patch(tmp_path: Path) -> None:
    # 36 x 32 x 18 voxels of 3 x 3 x 6 mm are 108 x 96 x 108 mm: 18 x 16 x 18 voxels of 6 mm;
    # a patch of 24 needs 3, 4 and 3 more on both sides
    ref = write_case(limb("P01").case(seed=0), tmp_path)
    config = replace(CONFIG, patch=(24, 24, 24))
    (sample,) = read_samples([ref], EXPERT_A, config, progress=False)
    assert sample.image.shape == (2, 24, 24, 24)
    assert sample.lesion.shape == (24, 24, 24)
    assert not sample.image[:, :3].any()  # air in both channels
    assert not sample.image[:, :, :4].any()
    assert sample.image[0, 3:21, 4:20, 3:21].min() > 0
    # the box of 32 mm about (-18, 12, -12) mm: 5 or 6 voxels of 6 mm a side, about its middle;
    # voxel 11.5 of 24 is the limb's middle, so that the box is about 11.5 + (-18, 12, -12) / 6
    assert sample.inside.mean(axis=0) == pytest.approx([8.5, 13.5, 9.5], abs=0.51)
    assert 5**3 <= len(sample.inside) <= 6**3
    # hard and hot inside: 900 HU is 1400 / 1800 = 0.78; SUV 8 to 8.2 of 10 is 0.89 to 0.91
    core = ndimage.binary_erosion(sample.lesion)
    assert sample.image[0][core].mean() == pytest.approx(0.78, abs=0.02)
    assert sample.image[1][core].mean() == pytest.approx(0.90, abs=0.02)


def test_samples_of_two_experts_differ_in_their_labels_alone(tiny_cohort: Cohort) -> None:
    refs = tiny_cohort.cases[:2]
    a, b = (read_samples(refs, expert, CONFIG, progress=False) for expert in tiny_cohort.experts)
    for one, other in zip(a, b, strict=True):
        assert np.array_equal(one.image, other.image)
        # B draws the box 6 mm further in
        assert other.lesion.sum() < one.lesion.sum()
        assert not (other.lesion & ~one.lesion).any()


def test_an_expert_who_saw_nothing_cannot_be_learned_from(tmp_path: Path) -> None:
    case = limb("P01").case(seed=0)
    empty = case.with_masks({EXPERT_B: volume_of(0, case.ct.grid, "label")})
    ref = write_case(empty, tmp_path)
    with pytest.raises(
        TrainingError,
        match=r"Expert B outlined no lesion in the 1 training patients of fold 0.*more patients",
    ):
        read_samples([ref], EXPERT_B, CONFIG, progress=False)


def test_one_empty_patient_among_others_is_used(tmp_path: Path) -> None:
    case = limb("P01").case(seed=0)
    empty = case.with_masks({EXPERT_B: volume_of(0, case.ct.grid, "label")})
    refs = [write_case(empty, tmp_path), write_case(limb("P02").case(seed=1), tmp_path)]
    samples = read_samples(refs, EXPERT_B, CONFIG, progress=False)
    assert [bool(len(sample.inside)) for sample in samples] == [False, True]


def test_patches_depend_on_seed_and_step_alone() -> None:
    samples = [sample_of((20, 18, 22), marked=slice(4, 9), seed=n) for n in range(3)]
    images, lesions = batch_of(samples, CONFIG, 5)
    assert images.shape == (2, 2, *SIDES)
    assert lesions.shape == (2, 1, *SIDES)
    torch.manual_seed(99)
    np.random.default_rng(99)
    again, _ = batch_of(samples, replace(CONFIG, expert="Expert B", fold=2, steps=999), 5)
    assert torch.equal(images, again)
    for other in (batch_of(samples, CONFIG, 6), batch_of(samples, replace(CONFIG, seed=4), 5)):
        assert not torch.equal(images, other[0])


@pytest.mark.parametrize("step", range(6))
def test_patches_without_a_lesion_in_mind_are_the_same_for_both_experts(step: int) -> None:
    # expert B outlined smaller lesions, and none in two of three patients
    a = [sample_of((40, 40, 40), marked=slice(4, 9), seed=n) for n in range(3)]
    b = [sample_of((40, 40, 40), marked=slice(5, 8) if n == 1 else None, seed=n) for n in range(3)]
    config = replace(CONFIG, batch=4)
    (images_a, _), (images_b, _) = batch_of(a, config, step), batch_of(b, config, step)
    anywhere = [place for place in range(4) if (place + step) % 2]
    assert torch.equal(images_a[anywhere], images_b[anywhere])


def test_every_other_patch_holds_lesion() -> None:
    # a lesion of 5 x 4 x 4 in 60 x 20 x 20: chance alone would miss it most of the time
    samples = [
        sample_of((60, 20, 20), marked=None),
        sample_of((60, 20, 20), marked=slice(40, 45), seed=1),
    ]
    held = np.array(
        [[lesion.any().item() for lesion in batch_of(samples, CONFIG, s)[1]] for s in range(40)]
    )
    centred = np.array([[(place + step) % 2 == 0 for place in range(2)] for step in range(40)])
    assert held[centred].mean() > 0.9  # a jitter of 12 voxels may push it out of a patch of 16
    assert held[~centred].mean() < 0.6


def test_a_patch_shows_the_image_where_its_labels_lie() -> None:
    # an image that is bright exactly where the lesion is stays so through crop, mirror and turns
    lesion = np.zeros((24, 20, 22), dtype=bool)
    lesion[3:12, 4:14, 5:13] = True
    image = np.stack([lesion, lesion]).astype(np.float32)
    sample = Sample(image, lesion, np.argwhere(lesion))
    exact, overlaps = 0, []
    for step in range(30):
        images, lesions = batch_of([sample], CONFIG, step)
        for patch, label in zip(images, lesions, strict=True):
            inside = label[0] > 0
            assert set(label.unique().tolist()) <= {0.0, 1.0}
            for channel in patch:
                bright = channel > 0.5
                exact += torch.equal(bright, inside)
                both = int((bright & inside).sum())
                overlaps.append(2 * both / max(1, int(bright.sum()) + int(inside.sum())))
    # turned images are interpolated between voxels and labels are not: some voxels at the edge
    assert exact >= 0.6 * len(overlaps)
    assert min(overlaps) > 0.85
    assert np.array_equal(image[0], lesion)  # the sample itself is not scaled


def test_patches_are_mirrored_left_and_right_alone() -> None:
    # one marked corner: it may be on either side in x, never in y and z but by a turn
    lesion = np.zeros(SIDES, dtype=bool)
    lesion[:5, :5, :5] = True
    sample = Sample(np.stack([lesion, lesion]).astype(np.float32), lesion, np.argwhere(lesion))
    sides = set()
    for step in range(20):
        _, labels = batch_of([sample], CONFIG, step)
        for label in labels:
            middle = label[0].nonzero().float().mean(axis=0)
            sides.add("left" if middle[0] < 8 else "right")
            assert middle[1] < 8
            assert middle[2] < 8
    assert sides == {"left", "right"}


def test_patches_made_ahead_are_those_made_one_by_one() -> None:
    samples = [sample_of((20, 18, 22), marked=slice(4, 9), seed=n) for n in range(3)]
    config = replace(CONFIG, steps=9)
    one_by_one = list(batches(samples, config, start=2, threads=0))
    ahead = list(batches(samples, config, start=2, threads=3))
    assert len(one_by_one) == len(ahead) == 7
    for (images, lesions), (there, labels) in zip(one_by_one, ahead, strict=True):
        assert torch.equal(images, there)
        assert torch.equal(lesions, labels)


@pytest.mark.parametrize(("modality", "blank"), [("ct", 1), ("pet", 0)])
def test_augmentation_keeps_a_blank_channel_blank(modality: str, blank: int) -> None:
    sample = sample_of((20, 20, 20), marked=slice(4, 9))
    sample.image[blank] = 0
    config = replace(CONFIG, fuse=FuseConfig(modality=modality))  # type: ignore[arg-type]
    for step in range(8):
        images, _ = batch_of([sample], config, step)
        assert not images[:, blank].any()
        assert images[:, 1 - blank].any()
