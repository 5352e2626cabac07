"""Which lesions of two outlines are one and the same, and how far apart each is outlined.

A lesion of one outline belongs with every lesion of the other that it shares a voxel with. Where
one reader draws as one what the other draws as two, the three are one match, so that the outcome
does not depend on who is called reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from boneviz.metrics import Lesions, Voxels, dice
from boneviz.surface import SurfaceDistances
from boneviz.volume import Grid

__all__ = [
    "Drawn",
    "LesionMatch",
    "Rows",
    "distances_of_matches",
    "group_lesions",
    "mean_over",
    "rows_by_group",
]

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class LesionMatch:
    """One lesion as two readers outlined it.

    Parameters
    ----------
    centroid_mm : of what either outlined, RAS+ mm
    reference_lesions, candidate_lesions : components of either outline that take part, 1 or more
    reference_ml, candidate_ml : their volume
    dice : 0 to 1
    hd95_mm : between their outlines alone
    surface_dice : tolerance in mm -> 0 to 1, of their outlines alone
    """

    centroid_mm: tuple[float, float, float]
    reference_lesions: int
    candidate_lesions: int
    reference_ml: float
    candidate_ml: float
    dice: float
    hd95_mm: float
    surface_dice: Mapping[float, float]

    def __post_init__(self) -> None:
        object.__setattr__(self, "surface_dice", MappingProxyType(dict(self.surface_dice)))

    def __reduce__(self) -> tuple[Any, ...]:
        # a read-only mapping cannot be pickled, and matches travel between processes
        values = (getattr(self, name) for name in self.__slots__)
        return type(self), tuple(dict(v) if isinstance(v, Mapping) else v for v in values)

    def swapped(self) -> LesionMatch:
        """Return the match with reference and candidate exchanged."""
        return replace(
            self,
            reference_lesions=self.candidate_lesions,
            candidate_lesions=self.reference_lesions,
            reference_ml=self.candidate_ml,
            candidate_ml=self.reference_ml,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One outline: its voxels, their lesions, and (n,) the voxel that each surface element bounds.

    See `boneviz.surface.Surface.voxel`.
    """

    voxels: Voxels
    lesions: Lesions
    element_voxel: NDArray[np.int64]


def group_lesions(
    shared: NDArray[np.int64], *, n_reference: int, n_candidate: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Gather lesions that share voxels into matches.

    Parameters
    ----------
    shared : (k, 3) of `boneviz.metrics.match_lesions`
    n_reference, n_candidate : lesions of either outline

    Returns
    -------
    (n_reference,) and (n_candidate,) the match of each lesion, -1 where it has none, and how many
    matches there are
    """
    n = n_reference + n_candidate
    links = (shared[:, 0], n_reference + shared[:, 1])
    graph = sparse.coo_array((np.ones(len(shared), dtype=np.int8), links), shape=(n, n))
    _, part = csgraph.connected_components(graph, directed=False)
    matched = np.zeros(n, dtype=bool)
    matched[links[0]] = matched[links[1]] = True
    number = np.full(n, -1, dtype=np.int64)
    numbers, number[matched] = np.unique(part[matched], return_inverse=True)
    return number[:n_reference], number[n_reference:], int(numbers.size)


def rows_by_group(group: NDArray[np.int64], n_groups: int) -> Sequence[Rows]:
    """Return the ascending rows of each group 0 to n_groups - 1; -1 belongs to none."""
    order = np.argsort(group, kind="stable")
    return np.split(order, np.searchsorted(group[order], np.arange(n_groups + 1)))[1:-1]


def distances_of_matches(
    grid: Grid,
    reference: Drawn,
    candidate: Drawn,
    shared: NDArray[np.int64],
    *,
    part: Callable[[Rows, Rows], SurfaceDistances],
    tolerance_mm: Sequence[float],
) -> tuple[LesionMatch, ...]:
    """Return the matches of two outlines that are both not empty.

    Parameters
    ----------
    shared : (k, 3) of `boneviz.metrics.match_lesions`
    part : distances between these elements of the reference's surface and those of the candidate's
    tolerance_mm : of surface Dice
    """
    of_reference, of_candidate, n = group_lesions(
        shared, n_reference=len(reference.lesions), n_candidate=len(candidate.lesions)
    )
    if not n:
        return ()
    both = np.bincount(of_reference[shared[:, 0]], weights=shared[:, 2], minlength=n)
    sides = (reference, of_reference), (candidate, of_candidate)
    of_voxel = [of_lesion[drawn.lesions.label] for drawn, of_lesion in sides]
    lesions, voxels = (
        [np.bincount(of[of >= 0], minlength=n).tolist() for of in each]
        for each in ((of_reference, of_candidate), of_voxel)
    )
    elements = [
        rows_by_group(of_lesion[drawn.lesions.label[drawn.element_voxel]], n)
        for drawn, of_lesion in sides
    ]
    centroid_mm = grid.to_mm(_centroids(reference.voxels, candidate.voxels, *of_voxel, n=n))
    found = []
    for match in range(n):
        apart = part(elements[0][match], elements[1][match])
        x, y, z = centroid_mm[match].tolist()
        n_reference, n_candidate = (counts[match] for counts in voxels)
        found.append(
            LesionMatch(
                centroid_mm=(x, y, z),
                reference_lesions=lesions[0][match],
                candidate_lesions=lesions[1][match],
                reference_ml=n_reference * grid.voxel_volume_ml,
                candidate_ml=n_candidate * grid.voxel_volume_ml,
                dice=dice(int(both[match]), n_reference, n_candidate),
                hd95_mm=apart.hd95_mm,
                surface_dice={tau: apart.surface_dice(tau) for tau in tolerance_mm},
            )
        )
    return tuple(found)


def _centroids(
    reference: Voxels,
    candidate: Voxels,
    of_reference: NDArray[np.int64],
    of_candidate: NDArray[np.int64],
    *,
    n: int,
) -> NDArray[np.float64]:
    """Return the mean index, (n, 3), of what either outlined of each match."""
    near = np.searchsorted(reference.position[:-1], candidate.position)
    alone = reference.position[near] != candidate.position
    match = np.concatenate([of_reference, of_candidate[alone]])
    index = np.concatenate([reference.index, candidate.index[alone]])[match >= 0]
    match = match[match >= 0]
    total = [np.bincount(match, weights=axis, minlength=n) for axis in index.T]
    return np.stack(total, axis=1) / np.bincount(match, minlength=n)[:, None]


def mean_over(matches: Sequence[LesionMatch], value: Callable[[LesionMatch], float]) -> float:
    """Return the mean of a number over matches, NaN where there are none."""
    return float(np.mean([value(match) for match in matches])) if matches else math.nan
