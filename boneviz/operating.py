"""What a model's outline is worth at every threshold, and between two models, by table look-up.

The voxels of one case are scanned once into integer counts by level of probability and by which
experts outline them. From these follow Dice, sensitivity and the rest at any threshold, to the
last digit what `boneviz.score` finds for `Prediction.mask`, and at any setting of a dial that
blends two models. Distances and lesions are not among them: they need the voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneviz.blend import TOP, Origin, blended_levels, blended_values, levels_of
from boneviz.case import Case, Prediction, Reader
from boneviz.errors import InputError
from boneviz.metrics import Voxels, dice, iou, share
from boneviz.outlines import outlines_of
from boneviz.scorerow import Status, status_of
from boneviz.version import __version__

__all__ = ["Curve", "Cuts", "Dial", "OperatingPoint", "cuts_of", "dial_of"]

MOST_EXPERTS = 8  # bits of a pattern


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """What one outline counts against one expert's, in one case; undefined as in `Scores`.

    Parameters
    ----------
    patient_id, session : the case
    reference, candidate : names of an expert, and of a model or another expert
    held_out, demonstration : of the model, as in `Scores`
    version : of boneviz
    threshold : probability from which a voxel counts as the model's; NaN for an expert
    status : which of the two outlined anything
    dice, iou, sensitivity, precision : of voxels, 0 to 1, NaN where undefined
    reference_ml, candidate_ml, volume_difference_ml : the difference is candidate less reference
    false_positive_ml, false_negative_ml : of the voxels that only the candidate, and only the
        reference, outlines. `Scores.fpv_ml` and `Scores.fnv_ml` count whole lesions instead
    """

    patient_id: str
    session: str
    reference: str
    candidate: str
    held_out: bool
    demonstration: bool
    version: str
    threshold: float
    status: Status
    dice: float
    iou: float
    sensitivity: float
    precision: float
    reference_ml: float
    candidate_ml: float
    volume_difference_ml: float
    false_positive_ml: float
    false_negative_ml: float


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Sensitivity against false-positive volume over all thresholds; arrays of (256,), read-only.

    A map in 255 steps has 255 cuts above level 0, and the one above them all, which is nothing. A
    cut at level 0 would outline the whole scan and is no reading.

    Parameters
    ----------
    reference, candidate : names of the expert and the model
    threshold : ascending, the probability of each level from 1 to 255, then infinity
    sensitivity : NaN throughout where the expert outlines nothing
    false_positive_ml : of the voxels that only the model outlines
    """

    reference: str
    candidate: str
    threshold: NDArray[np.float64]
    sensitivity: NDArray[np.float64]
    false_positive_ml: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Cuts:
    """One probability map of one case, counted at every level.

    Parameters
    ----------
    origin : whose map it is, and whether it was held out
    experts : up to eight, none of them truth
    value : (256,) float32, the probability of each level
    at_least : (2^experts, 257) int64, voxels of each pattern of experts at this level or above;
        bit ``m`` of a pattern says whether expert ``m`` outlines the voxel
    voxel_ml : of the grid
    """

    origin: Origin
    experts: tuple[Reader, ...]
    value: NDArray[np.float32]
    at_least: NDArray[np.int64]
    voxel_ml: float

    def __post_init__(self) -> None:
        self.value.setflags(write=False)
        self.at_least.setflags(write=False)

    def at(self, threshold: float, reference: str) -> OperatingPoint:
        """Return what the map cut at a threshold counts against an expert, by name.

        Parameters
        ----------
        threshold : above 0, at most 1, compared as in `Prediction.mask`

        Raises
        ------
        InputError
            A threshold out of range, or no such expert.
        """
        if not 0 < threshold <= 1:
            raise InputError(f"threshold {threshold}: expected above 0 and at most 1")
        held = self._held(reference)
        level = TOP + 1 - int(np.count_nonzero(self.value >= threshold))
        n = self.at_least[:, level]
        return self._point(
            reference,
            threshold=float(threshold),
            n_both=int(n[held].sum()),
            n_reference=int(self.at_least[held, 0].sum()),
            n_candidate=int(n.sum()),
        )

    def expert(self, candidate: str, reference: str) -> OperatingPoint:
        """Return an expert as a point on the same axes; against itself, sensitivity 1 and 0 mL.

        Raises
        ------
        InputError
            No such expert.
        """
        held, drawn = self._held(reference), self._held(candidate)
        n = self.at_least[:, 0]
        return self._point(
            reference,
            expert=candidate,
            threshold=math.nan,
            n_both=int(n[held & drawn].sum()),
            n_reference=int(n[held].sum()),
            n_candidate=int(n[drawn].sum()),
        )

    def curve(self, reference: str) -> Curve:
        """Return sensitivity against false-positive volume over all thresholds.

        Raises
        ------
        InputError
            No such expert.
        """
        held = self._held(reference)
        n_reference = int(self.at_least[held, 0].sum())
        n_both = self.at_least[held, 1:].sum(axis=0)
        n_extra = self.at_least[~held, 1:].sum(axis=0)
        return Curve(
            reference,
            self.origin.reader.name,
            threshold=_read_only([*self.value[1:].tolist(), math.inf]),
            sensitivity=_read_only([share(n, n_reference) for n in n_both.tolist()]),
            false_positive_ml=_read_only([n * self.voxel_ml for n in n_extra.tolist()]),
        )

    def _held(self, expert: str) -> NDArray[np.bool_]:
        """Return which patterns this expert outlines, (2^experts,)."""
        names = [each.name for each in self.experts]
        if expert not in names:
            raise InputError(
                f"no expert {expert!r} to compare {self.origin.reader.name} with; "
                f"expected one of {', '.join(names)}"
            )
        return np.asarray(np.arange(len(self.at_least)) >> names.index(expert) & 1 == 1)

    def _point(
        self,
        reference: str,
        *,
        expert: str = "",
        threshold: float,
        n_both: int,
        n_reference: int,
        n_candidate: int,
    ) -> OperatingPoint:
        """Return the counts of the map, or of another expert, as numbers."""
        ml, origin = self.voxel_ml, self.origin
        return OperatingPoint(
            patient_id=origin.patient_id,
            session=origin.session,
            reference=reference,
            candidate=expert or origin.reader.name,
            held_out=bool(expert) or origin.held_out,
            demonstration=not expert and origin.demonstration,
            version=__version__,
            threshold=threshold,
            status=status_of(n_reference, n_candidate),
            dice=dice(n_both, n_reference, n_candidate),
            iou=iou(n_both, n_reference, n_candidate),
            sensitivity=share(n_both, n_reference),
            precision=share(n_both, n_candidate),
            reference_ml=n_reference * ml,
            candidate_ml=n_candidate * ml,
            volume_difference_ml=(n_candidate - n_reference) * ml,
            false_positive_ml=(n_candidate - n_both) * ml,
            false_negative_ml=(n_reference - n_both) * ml,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Dial:
    """Two models of one case, counted at every pair of levels; arrays of (k,), one row per cell.

    Its cost does not depend on the size of the scan: there are at most 256 x 256 pairs of levels
    for each pattern of experts.

    Parameters
    ----------
    first, second : the models at 0 and at 1
    experts : as in `Cuts`
    first_value, second_value : (256,) float32, the probability of each level in either map
    pattern : which experts outline the voxels
    first_level, second_level : their levels in either map
    count : int64, how many they are; all voxels of the grid are counted
    voxel_ml : of the grid
    """

    first: Prediction
    second: Prediction
    experts: tuple[Reader, ...]
    first_value: NDArray[np.float32]
    second_value: NDArray[np.float32]
    pattern: NDArray[np.int64]
    first_level: NDArray[np.uint8]
    second_level: NDArray[np.uint8]
    count: NDArray[np.int64]
    voxel_ml: float

    def at(self, t: float) -> Cuts:
        """Return what the blend of both models counts at every threshold; see `boneviz.blend`.

        Parameters
        ----------
        t : 0, the first model, to 1, the second

        Raises
        ------
        InputError
            `t` is out of range.
        """
        level = blended_levels(t)[self.first_level, self.second_level]
        return Cuts(
            Origin.between(self.first, self.second, t),
            self.experts,
            blended_values(self.first_value, self.second_value, t),
            _at_least(self.pattern, level, self.count, n_experts=len(self.experts)),
            self.voxel_ml,
        )


def cuts_of(case: Case, prediction: Prediction) -> Cuts:
    """Count one model's probability map at every level against all experts of its case.

    Parameters
    ----------
    case : with one to eight experts' masks on the CT's grid
    prediction : of this case, in the 255 steps in which predictions are stored

    Raises
    ------
    GridError
        A mask or the prediction is not on the CT's grid.
    InputError
        No expert or too many, a prediction for another case, or probabilities between the steps.
    """
    scan = _scan(case, (prediction,))
    return Cuts(
        Origin.of(prediction),
        scan.experts,
        scan.values[0],
        _at_least(scan.pattern, scan.levels[0], scan.count, n_experts=len(scan.experts)),
        case.ct.grid.voxel_volume_ml,
    )


def dial_of(case: Case, first: Prediction, second: Prediction) -> Dial:
    """Count two models' probability maps at every pair of levels; raises as `cuts_of` does."""
    scan = _scan(case, (first, second))
    code = (scan.pattern << 16) | (scan.levels[0].astype(np.int64) << 8) | scan.levels[1]
    # few of the cells are in use, so they are counted where they are, not in a table of all
    cell, row = np.unique(code, return_inverse=True)
    # float64 weights count exactly up to 2^53
    count = np.bincount(row, weights=scan.count).astype(np.int64)
    return Dial(
        first,
        second,
        scan.experts,
        scan.values[0],
        scan.values[1],
        pattern=cell >> 16,
        first_level=(cell >> 8 & TOP).astype(np.uint8),
        second_level=(cell & TOP).astype(np.uint8),
        count=count,
        voxel_ml=case.ct.grid.voxel_volume_ml,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Scan:
    """All voxels in which an expert or a model says anything, and one row for all the others.

    pattern, count : (n,) int64; which experts outline the voxel, and how many voxels a row is
    levels : (n,) uint8 of each map
    values : (256,) float32 of each map, the probability of each level
    """

    experts: tuple[Reader, ...]
    pattern: NDArray[np.int64]
    count: NDArray[np.int64]
    levels: tuple[NDArray[np.uint8], ...]
    values: tuple[NDArray[np.float32], ...]


def _scan(case: Case, predictions: Sequence[Prediction]) -> _Scan:
    who = f"patient {case.case_id}"
    masks = outlines_of(case, predictions, threshold=1.0)  # checks who is on which grid
    experts = tuple(reader for reader in masks if reader.kind == "expert")
    if not 1 <= len(experts) <= MOST_EXPERTS:
        raise InputError(f"{who}: {len(experts)} experts; expected 1 to {MOST_EXPERTS}")
    outlined = [Voxels.of(masks[expert].array) for expert in experts]
    maps = [Voxels.of(prediction.probability.array > 0) for prediction in predictions]
    everywhere = Voxels.union([*outlined, *maps])
    n = len(everywhere)
    pattern = np.zeros(n + 1, dtype=np.int64)
    for bit, voxels in enumerate(outlined):
        pattern[np.searchsorted(everywhere.position, voxels.position)] |= 1 << bit
    levels, values = [], []
    for prediction, voxels in zip(predictions, maps, strict=True):
        probability = prediction.probability.array[tuple(voxels.index.T)]
        level = np.zeros(n + 1, dtype=np.uint8)
        rows = np.searchsorted(everywhere.position, voxels.position)
        level[rows], value = levels_of(prediction, probability)
        levels.append(level)
        values.append(value)
    count = np.ones(n + 1, dtype=np.int64)
    count[-1] = math.prod(everywhere.shape) - n
    return _Scan(experts, pattern, count, tuple(levels), tuple(values))


def _at_least(
    pattern: NDArray[np.int64],
    level: NDArray[np.uint8],
    count: NDArray[np.int64],
    *,
    n_experts: int,
) -> NDArray[np.int64]:
    """Return voxels by pattern (2^experts) and lowest level (257), from rows of counted voxels."""
    n = 1 << n_experts
    at = np.bincount(pattern << 8 | level, weights=count, minlength=n << 8).astype(np.int64)
    above = np.cumsum(at.reshape(n, TOP + 1)[:, ::-1], axis=1)[:, ::-1]
    return np.concatenate([above, np.zeros((n, 1), dtype=np.int64)], axis=1)


def _read_only(values: ArrayLike) -> NDArray[np.float64]:
    array = np.array(values, dtype=np.float64)
    array.setflags(write=False)
    return array
