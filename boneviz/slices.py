"""Axial slices of fused cases: settings of a 2D fit, folds by slice or patient, a step's batch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from boneviz.cohort import Cohort
from boneviz.errors import CohortError, InputError
from boneviz.folds import Folds
from boneviz.fuse import FuseConfig, fuse
from boneviz.harmonise import harmonise
from boneviz.nifti import read_case

__all__ = [
    "FoldKind",
    "SliceCase",
    "SliceConfig",
    "batch_of_slices",
    "digest_of",
    "folds_by_patient",
    "folds_by_slice",
    "read_slices",
    "training_slices",
]

#: what folds are dealt by
FoldKind = Literal["slice", "patient"]

JITTER = 12  # voxels by which a lesion is off the middle of its window


@dataclass(frozen=True, slots=True)
class SliceConfig:
    """Everything a 2D fit depends on besides the data; the two kinds of folds share all of it.

    Parameters
    ----------
    steps : optimiser steps, each on `batch` windows of `side` x `side` voxels out of one slice each
    spacing_mm : in plane, in plane, between slices
    rate : peak learning rate of the one-cycle schedule (AdamW)
    seed : of weights, windows and augmentation
    filters : channels of each level, finest first; each level halves the resolution
    save_every : steps between states from which an interrupted fit goes on
    """

    steps: int = 400
    batch: int = 8
    side: int = 64
    spacing_mm: tuple[float, float, float] = (2.5, 2.5, 3.0)
    rate: float = 3e-3
    seed: int = 0
    filters: tuple[int, ...] = (32, 64, 128)
    save_every: int = 100
    fuse: FuseConfig = field(default_factory=FuseConfig)

    def __post_init__(self) -> None:
        if min(self.steps, self.batch, self.save_every) < 1 or self.rate <= 0:
            raise InputError(
                f"steps {self.steps}, batch {self.batch}, save_every {self.save_every}, "
                f"rate {self.rate}: expected all above 0"
            )
        if self.seed < 0:
            raise InputError(f"seed {self.seed}: expected 0 or more")
        if len(self.filters) < 2 or min(self.filters) < 1:
            raise InputError(f"filters {self.filters}: expected at least two positive numbers")
        if self.side < 1 or self.side % self.divisor:
            raise InputError(f"side {self.side}: expected a multiple of {self.divisor} voxels")

    @property
    def divisor(self) -> int:
        """Sides of the network's input must be multiples of this many voxels."""
        return int(2 ** (len(self.filters) - 1))


@dataclass(frozen=True, slots=True, eq=False)
class SliceCase:
    """One session at the spacing of the fit.

    Parameters
    ----------
    image : (2, X, Y, Z) float16, CT and PET as `boneviz.fuse` gives them; a slice is one Z
    lesions : expert's name -> (X, Y, Z) bool
    """

    patient_id: str
    session: str
    image: NDArray[np.float16]
    lesions: Mapping[str, NDArray[np.bool_]]

    @property
    def n_slices(self) -> int:
        """Number of axial slices."""
        return int(self.image.shape[3])

    def has_lesion(self, expert: str) -> NDArray[np.bool_]:
        """Return whether the expert outlined anything, (Z,) bool."""
        return np.asarray(self.lesions[expert].any(axis=(0, 1)))


def read_slices(
    cohort: Cohort, config: SliceConfig, *, progress: bool = True
) -> tuple[SliceCase, ...]:
    """Read every case, with all experts' masks, at the spacing of the fit.

    All are kept in memory, 4 bytes a voxel: 3 MB for a phantom, 140 MB for a whole body.

    Raises
    ------
    CohortError
        A patient lacks the mask of an expert.
    """
    cases = []
    for ref in tqdm(cohort, desc="reading slices", disable=not progress, leave=False):
        for expert in cohort.experts:
            if expert not in ref.masks:
                raise CohortError(
                    f"patient {ref.case_id}: no mask of {expert.name}; every patient needs one "
                    "mask per expert (an expert who saw no lesion gives an empty mask)"
                )
        case = harmonise(read_case(ref, readers=cohort.experts), spacing_mm=config.spacing_mm)
        cases.append(
            SliceCase(
                ref.patient_id,
                ref.session,
                fuse(case, config.fuse).astype(np.float16),
                {expert.name: case.masks[expert].array for expert in cohort.experts},
            )
        )
    return tuple(cases)


def digest_of(cases: Sequence[SliceCase]) -> str:
    """Return a SHA-256 over ids, images and outlines, by which a change of the data shows."""
    digest = hashlib.sha256()
    for case in cases:
        digest.update(f"{case.patient_id}\n{case.session}\n{case.image.shape}".encode())
        digest.update(np.ascontiguousarray(case.image).data)
        for expert, lesion in case.lesions.items():
            digest.update(f"{expert}\n".encode())
            digest.update(np.ascontiguousarray(lesion).data)
    return digest.hexdigest()


def folds_by_slice(
    cases: Sequence[SliceCase], *, n_folds: int, seed: int
) -> tuple[NDArray[np.int64], ...]:
    """Deal all slices of all patients at random, so that neighbours fall on both sides: the leak.

    Returns
    -------
    tuple
        For each case the fold in which each of its slices is held out, (Z,) int64. Folds differ
        in size by one slice at most.
    """
    ends = np.cumsum([case.n_slices for case in cases])
    dealt = np.random.default_rng(seed).permutation(int(ends[-1])) % n_folds
    return tuple(np.split(dealt, ends[:-1]))


def folds_by_patient(cases: Sequence[SliceCase], folds: Folds) -> tuple[NDArray[np.int64], ...]:
    """Give all slices of a patient the patient's fold; shaped as `folds_by_slice` returns it."""
    return tuple(
        np.full(case.n_slices, folds.of_patient[case.patient_id], dtype=np.int64) for case in cases
    )


def training_slices(
    cases: Sequence[SliceCase], dealt: Sequence[NDArray[np.int64]], fold: int, expert: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return what a fit may see: every slice that is not held out, and whether it holds lesion.

    Returns
    -------
    slices : (n, 2) int64, the place of the case among `cases`, and of the slice in it
    with_lesion : (n,) bool
    """
    slices, with_lesion = [], []
    for place, (case, of_slice) in enumerate(zip(cases, dealt, strict=True)):
        there = np.flatnonzero(of_slice != fold)
        slices.append(np.stack([np.full_like(there, place), there], axis=1))
        with_lesion.append(case.has_lesion(expert)[there])
    return np.concatenate(slices), np.concatenate(with_lesion)


def batch_of_slices(
    cases: Sequence[SliceCase],
    training: tuple[NDArray[np.int64], NDArray[np.bool_]],
    expert: str,
    config: SliceConfig,
    *,
    step: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the windows of one step; they depend on the training slices, seed and step alone.

    Returns
    -------
    images, lesions : (N, 2, side, side) and (N, 1, side, side) float32
    """
    slices, with_lesion = training
    images, lesions = [], []
    for place in range(config.batch):
        # a stream of its own for each window: what one draws does not shift the others
        rng = np.random.default_rng((config.seed, step, place))
        # every other window holds lesion; the rest is anywhere, so that distractors are met
        centred = (place + step) % 2 == 0
        pool = slices[with_lesion] if centred else slices
        case, z = pool[int(rng.integers(len(pool)))]
        image = cases[case].image[..., z].astype(np.float32)
        lesion = cases[case].lesions[expert][..., z]
        # a slice smaller than a window is surrounded by air (0 in both channels)
        short = [max(0, config.side - n) for n in lesion.shape]
        margin = [(n // 2, n - n // 2) for n in short]
        image, lesion = np.pad(image, [(0, 0), *margin]), np.pad(lesion, margin)
        room = np.array(lesion.shape) - config.side
        if centred:
            inside = np.argwhere(lesion)
            middle = inside[int(rng.integers(len(inside)))]
            jitter = rng.integers(-JITTER, JITTER + 1, size=2)
            x, y = np.clip(middle + jitter - config.side // 2, 0, room)
        else:
            x, y = rng.integers(0, room + 1)
        box = (slice(x, x + config.side), slice(y, y + config.side))
        image, lesion = image[(slice(None), *box)], lesion[box]
        image *= rng.uniform(0.9, 1.1, size=(2, 1, 1)).astype(np.float32)
        if rng.random() < 0.5:  # mirror left and right
            image, lesion = image[:, ::-1], lesion[::-1]
        images.append(image)
        lesions.append(lesion[None].astype(np.float32))
    return np.stack(images), np.stack(lesions)
