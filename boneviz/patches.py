"""What a fit sees: its settings, its patients at the network's spacing, the patches of a step."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from monai.transforms import (
    Compose,
    RandAffined,
    RandFlipd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
)
from numpy.typing import NDArray
from tqdm.auto import tqdm

from boneviz.case import CaseRef, Reader
from boneviz.errors import InputError, TrainingError
from boneviz.fuse import FuseConfig, fuse
from boneviz.harmonise import harmonise
from boneviz.network import NetConfig
from boneviz.nifti import read_case

__all__ = ["Precision", "Sample", "TrainConfig", "batch_of", "batches", "read_samples"]

Precision = Literal["auto", "float32", "bfloat16"]
Batch = tuple[torch.Tensor, torch.Tensor]
#: voxels by which the middle of a patch may miss the voxel of a lesion that it was drawn around
JITTER = 12


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything a fit depends on besides the data. Two experts' fits differ in `expert` alone.

    Parameters
    ----------
    expert : name of the reader whose outlines are learned; a plan fills it in
    fold : the fold that is held out; a plan fills it in
    steps : optimiser steps, each on `batch` patches of `patch` voxels at `spacing_mm`
    rate : peak learning rate of the one-cycle schedule (AdamW)
    seed : of weights, patches and augmentation
    variant : what sets the model apart by name, such as ``seed 1``; the fit does not depend on it
    save_every : steps between states from which an interrupted fit goes on
    patience : stop after so many looks at held-out Dice without a better one, and keep the best
        weights. The patients looked at are a sixth of the training patients, who are then not
        learned from; those of the held-out fold are never looked at. 0: learn from all, to the end
    watch_every : steps between looks
    precision : of the network's arithmetic; ``auto`` is bfloat16 on a GPU that has it, and float32
        elsewhere
    """

    expert: str = ""
    fold: int = 0
    steps: int = 900
    batch: int = 2
    patch: tuple[int, int, int] = (64, 64, 64)
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 2.5)
    rate: float = 2e-3
    seed: int = 0
    variant: str = ""
    save_every: int = 100
    patience: int = 0
    watch_every: int = 50
    precision: Precision = "auto"
    net: NetConfig = field(default_factory=NetConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)

    def __post_init__(self) -> None:
        counts = (self.steps, self.batch, self.save_every, self.watch_every)
        if min(counts) < 1 or self.rate <= 0:
            raise InputError(
                f"steps {self.steps}, batch {self.batch}, save_every {self.save_every}, "
                f"watch_every {self.watch_every}, rate {self.rate}: expected all above 0"
            )
        if self.seed < 0 or self.patience < 0:
            raise InputError(f"seed {self.seed}, patience {self.patience}: expected 0 or more")
        if self.precision not in get_args(Precision):
            raise InputError(
                f"precision {self.precision!r}: expected one of {', '.join(get_args(Precision))}"
            )
        if self.net.in_channels != self.fuse.channels:
            raise InputError(
                f"a network of {self.net.in_channels} channels for {self.fuse.channels} that are "
                "fused: a second CT window takes a third"
            )
        if any(side % self.net.divisor for side in self.patch):
            raise InputError(f"patch {self.patch}: expected multiples of {self.net.divisor} voxels")
        if max(self.patch) == self.net.divisor:
            raise InputError(
                f"patch {self.patch}: expected more than {self.net.divisor} voxels along an axis, "
                "as the network would come down to a single place"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One training case at the network's spacing."""

    image: NDArray[np.float32]  # 2,X,Y,Z
    lesion: NDArray[np.bool_]  # X,Y,Z
    inside: NDArray[np.int64]  # voxels of the lesion, (n, 3)


def read_samples(
    refs: Sequence[CaseRef], expert: Reader, config: TrainConfig, *, progress: bool
) -> list[Sample]:
    """Read the training patients of one expert and bring them to the network's spacing.

    Raises
    ------
    TrainingError
        The expert outlined nothing in any of them.
    """
    samples = []
    for ref in tqdm(refs, desc=f"reading for {expert.name}", disable=not progress, leave=False):
        case = harmonise(read_case(ref, readers=[expert]), spacing_mm=config.spacing_mm)
        image = fuse(case, config.fuse)
        lesion = case.masks[expert].array
        # a volume thinner than a patch is surrounded by air (0 in both channels)
        short = [max(0, side - n) for side, n in zip(config.patch, lesion.shape, strict=True)]
        margin = [(n // 2, n - n // 2) for n in short]
        image = np.pad(image, [(0, 0), *margin])
        lesion = np.pad(lesion, margin)
        samples.append(Sample(image, lesion, np.argwhere(lesion)))
    if not any(len(sample.inside) for sample in samples):
        raise TrainingError(
            f"{expert.name} outlined no lesion in the {len(samples)} training patients of fold "
            f"{config.fold}: expected at least one; use fewer folds or more patients"
        )
    return samples


def batch_of(samples: Sequence[Sample], config: TrainConfig, step: int) -> Batch:
    """Return the patches of one step; they depend on the seed and the step alone.

    Returns
    -------
    images : (batch, channels, *patch) float32
    lesions : (batch, 1, *patch) float32, 0 or 1
    """
    with_lesion = [sample for sample in samples if len(sample.inside)]
    augment = _augmentation()
    images, lesions = [], []
    for place in range(config.batch):
        # a stream of its own for each patch: what one draws does not shift the others
        rng = np.random.default_rng((config.seed, step, place))
        # every other patch holds lesion; the rest is anywhere, so that distractors are met
        centred = (place + step) % 2 == 0
        pool = with_lesion if centred else samples
        sample = pool[int(rng.integers(len(pool)))]
        room = np.subtract(sample.lesion.shape, config.patch, dtype=np.int64)
        if centred:
            middle = sample.inside[int(rng.integers(len(sample.inside)))]
            jitter = rng.integers(-JITTER, JITTER + 1, size=3)
            corner = np.clip(middle + jitter - np.array(config.patch) // 2, 0, room)
        else:
            corner = rng.integers(np.zeros(3, dtype=int), room + 1)
        box = tuple(slice(c, c + side) for c, side in zip(corner, config.patch, strict=True))
        augment.set_random_state(seed=int(rng.integers(2**32)))
        found = augment(
            {
                "image": torch.from_numpy(sample.image[(slice(None), *box)].copy()),
                "lesion": torch.from_numpy(sample.lesion[box].astype(np.float32))[None],
            }
        )
        image = found["image"].as_tensor()
        image[list(config.fuse.blank)] = 0  # an ablation sees no noise either
        images.append(image)
        lesions.append(found["lesion"].as_tensor())
    return torch.stack(images), torch.stack(lesions)


def batches(
    samples: Sequence[Sample], config: TrainConfig, *, start: int, threads: int
) -> Iterator[Batch]:
    """Give the patches of each step from `start` on.

    Parameters
    ----------
    threads : that make them ahead of need, for a GPU that would wait for them; 0 makes each when it
        is asked for. The patches are the same
    """
    steps = range(start, config.steps)
    if threads < 1:
        for step in steps:
            yield batch_of(samples, config, step)
        return
    with ThreadPoolExecutor(threads) as pool:
        ahead: deque[Future[Batch]] = deque()
        try:
            for step in steps:
                ahead.append(pool.submit(batch_of, samples, config, step))
                if len(ahead) > 2 * threads:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for left in ahead:
                left.cancel()


def _augmentation() -> Compose:
    """Return MONAI's augmentations, mild ones: HU and SUV are measured, and mean what they say.

    Mirrored left and right; turned by up to 9 degrees and scaled by up to a tenth; both channels
    brighter or darker by up to 5 % of their own, as scanners are calibrated to; noisier; smoother.
    """
    both = ("image", "lesion")
    return Compose(
        [
            RandFlipd(both, prob=0.5, spatial_axis=0),
            RandAffined(
                both,
                prob=0.2,
                rotate_range=(0.15, 0.15, 0.15),
                scale_range=(0.1, 0.1, 0.1),
                mode=("bilinear", "nearest"),
                padding_mode="zeros",
            ),
            RandScaleIntensityd("image", factors=0.05, prob=1.0, channel_wise=True),
            RandGaussianNoised("image", prob=0.15, std=0.02),
            RandGaussianSmoothd("image", (0.25, 0.75), (0.25, 0.75), (0.25, 0.75), prob=0.1),
        ]
    )
