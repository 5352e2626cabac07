"""From checkpoints and a case to held-out `Prediction`s on the CT's own grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import joblib
import numpy as np
import torch
from numpy.typing import NDArray

from boneviz.case import Case, Prediction
from boneviz.checkpoint import Checkpoint
from boneviz.errors import InputError
from boneviz.forward import quicken
from boneviz.fuse import fuse
from boneviz.harmonise import harmonise, resample
from boneviz.volume import Grid, Volume
from boneviz.windows import body_of, slide

__all__ = ["Predictor", "Predictors", "device_at_hand", "fits_at_once"]

#: half a grey level of the stored file; exact zeros keep air and bone cheap to store
LEAST_STORED = 1 / 510


def device_at_hand() -> torch.device:
    """Return the GPU where there is one, the CPU otherwise."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fits_at_once() -> int:
    """Return how many fits this machine does best side by side: 1 with a GPU, up to 4 without.

    A fit gains little by a second core (a half on the two cores measured), two fits gain all of it;
    each takes the memory of its training patients.
    """
    return 1 if torch.cuda.is_available() else min(4, joblib.cpu_count())


class Predictor:
    """A model with its weights in memory, ready for one case after another.

    Parameters
    ----------
    checkpoint : the model
    overlap : share of a window that neighbours share, 0 <= overlap < 1
    """

    def __init__(self, checkpoint: Checkpoint, *, overlap: float = 0.5) -> None:
        self.checkpoint = checkpoint
        self._alone = Predictors([checkpoint], overlap=overlap)

    def __call__(self, case: Case, *, cohort_id: str = "") -> Prediction:
        """Return the probability of infection in every voxel of the CT; see `Predictors`."""
        return self._alone(case, cohort_id=cohort_id)[0]


class Predictors:
    """Models with their weights in memory that read each case together.

    Models that take the same input (spacing, window and fusion) share it: a case is harmonised
    once, and each window is cut once for all of them. None of them changes what another says.

    Parameters
    ----------
    checkpoints : the models
    overlap : share of a window that neighbours share, 0 <= overlap < 1

    Raises
    ------
    InputError
        An overlap out of range.
    """

    def __init__(self, checkpoints: Sequence[Checkpoint], *, overlap: float = 0.5) -> None:
        if not 0 <= overlap < 1:
            raise InputError(f"overlap of windows {overlap}: expected at least 0 and below 1")
        self.checkpoints = tuple(checkpoints)
        self._overlap = overlap
        self._device = device_at_hand()
        together: dict[tuple[object, ...], list[int]] = {}
        for n, each in enumerate(self.checkpoints):
            together.setdefault((each.spacing_mm, each.patch, each.fuse), []).append(n)
        self._groups = [_Group(tuple(ns), self._networks(ns)) for ns in together.values()]

    def __call__(self, case: Case, *, cohort_id: str = "") -> tuple[Prediction, ...]:
        """Return each model's probability of infection in every voxel of the CT, 0 in far air.

        Parameters
        ----------
        case : CT in HU and PET in SUVbw (in counts only for models of CT alone), on any grids
            that overlap; its masks are not looked at
        cohort_id : of the case's cohort, by which training patients are known again

        Returns
        -------
        tuple of Prediction
            In the order of the checkpoints.

        Raises
        ------
        GridError
            CT and PET do not overlap.
        InputError
            The PET is in counts, and a model looks at it.
        """
        images = Case(case.patient_id, case.session, case.ct, case.pet)
        found: dict[int, Prediction] = {}
        for group in self._groups:
            shared = self.checkpoints[group.members[0]]
            there = harmonise(images, spacing_mm=shared.spacing_mm)
            logits = slide(
                torch.from_numpy(fuse(there, shared.fuse)).to(self._device),
                group.networks,
                patch=shared.patch,
                overlap=self._overlap,
                body=body_of(there.ct),
            )
            for n, each in zip(group.members, torch.sigmoid(logits).cpu().numpy(), strict=True):
                found[n] = self._prediction(n, case, each, there.ct.grid, cohort_id)
        return tuple(found[n] for n in range(len(self.checkpoints)))

    def _networks(self, members: Sequence[int]) -> tuple[torch.nn.Module, ...]:
        networks = [self.checkpoints[n].network() for n in members]
        if self._device.type == "cpu":
            networks = [quicken(network) for network in networks]
        return tuple(network.to(self._device) for network in networks)

    def _prediction(
        self, n: int, case: Case, probability: NDArray[np.float32], grid: Grid, cohort_id: str
    ) -> Prediction:
        checkpoint = self.checkpoints[n]
        kept = np.where(probability < LEAST_STORED, np.float32(0), probability)
        return Prediction(
            patient_id=case.patient_id,
            session=case.session,
            reader=checkpoint.reader,
            fold=checkpoint.fold,
            probability=_on(Volume(kept, grid, "probability"), case.ct.grid),
            checkpoint_id=checkpoint.checkpoint_id,
            trained_on=checkpoint.seen_in(cohort_id),
            demonstration=checkpoint.demonstration,
        )


@dataclass(frozen=True, slots=True)
class _Group:
    """Models of one input: their places among the checkpoints, and their networks."""

    members: tuple[int, ...]
    networks: tuple[torch.nn.Module, ...]


def _on(probability: Volume, target: Grid) -> Volume:
    """Resample onto the target, computing only the box in which there is something above 0."""
    array = np.zeros(target.shape, dtype=np.float32)
    filled = np.argwhere(probability.array)
    if len(filled):
        source = probability.grid
        # a voxel reaches to its neighbours, or further where a coarser target smooths first
        step = max(target.spacing_mm) / min(source.spacing_mm)
        reach = 2 + 1.5 * step
        ends = np.stack([filled.min(axis=0) - reach, filled.max(axis=0) + reach])
        corners = np.array(np.meshgrid(*ends.T)).reshape(3, 8).T
        there = target.to_index(source.to_mm(corners))
        low = np.clip(np.floor(there.min(axis=0)), 0, target.shape).astype(int)
        high = np.clip(np.ceil(there.max(axis=0)) + 1, 0, target.shape).astype(int)
        if (high > low).all():
            affine = target.affine_ras_mm.copy()
            affine[:3, 3] = target.to_mm(low)
            x, y, z = (int(n) for n in high - low)
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            array[box] = resample(probability, Grid((x, y, z), affine)).array
    return Volume(array, target, "probability")
