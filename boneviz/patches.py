"""What a fit sees: its settings, its patients at the network's spacing, the patches of a step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm.auto import tqdm

from boneviz.case import CaseRef, Reader
from boneviz.errors import InputError, TrainingError
from boneviz.fuse import FuseConfig, fuse
from boneviz.harmonise import harmonise
from boneviz.network import NetConfig
from boneviz.nifti import read_case

__all__ = ["Sample", "TrainConfig", "batch_of", "read_samples"]


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
    """

    expert: str = ""
    fold: int = 0
    steps: int = 3000
    batch: int = 2
    patch: tuple[int, int, int] = (64, 64, 64)
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 2.5)
    rate: float = 2e-3
    seed: int = 0
    variant: str = ""
    save_every: int = 500
    net: NetConfig = field(default_factory=NetConfig)
    fuse: FuseConfig = field(default_factory=FuseConfig)

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.save_every) < 1 or self.rate <= 0:
            raise InputError(
                f"steps {self.steps}, batch {self.batch}, save_every {self.save_every}, "
                f"rate {self.rate}: expected all above 0"
            )
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: expected 0 or more")
        if any(side % self.net.divisor for side in self.patch):
            raise InputError(f"patch {self.patch}: expected multiples of {self.net.divisor} voxels")


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


def batch_of(
    samples: Sequence[Sample], config: TrainConfig, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the patches of one step; they depend on the seed and the step alone."""
    with_lesion = [sample for sample in samples if len(sample.inside)]
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
            jitter = rng.integers(-12, 13, size=3)
            corner = np.clip(middle + jitter - np.array(config.patch) // 2, 0, room)
        else:
            corner = rng.integers(np.zeros(3, dtype=int), room + 1)
        box = tuple(slice(c, c + side) for c, side in zip(corner, config.patch, strict=True))
        image = sample.image[(slice(None), *box)].copy()
        lesion = sample.lesion[box]
        image *= rng.uniform(0.9, 1.1, size=(2, 1, 1, 1)).astype(np.float32)
        if config.fuse.modality != "pet":
            image[0] += np.float32(rng.uniform(-0.03, 0.03))
        if rng.random() < 0.5:  # mirror left and right
            image, lesion = image[:, ::-1], lesion[::-1]
        images.append(torch.from_numpy(np.ascontiguousarray(image)))
        lesions.append(torch.from_numpy(np.ascontiguousarray(lesion)).float()[None])
    return torch.stack(images), torch.stack(lesions)
