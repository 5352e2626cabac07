"""What binary masks count: overlap, volume and lesions, from the voxels that are set.

A mask is scanned once into `Voxels`; everything after that costs as much as the lesions are
large, not as the scan is. Overlaps of any number of masks follow from how many voxels carry each
pattern of masks, counted in integers. Distances between outlines are in `boneviz.surface`.

Undefined is NaN, never a filled-in number: nothing here warns about an empty mask.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

from boneviz.errors import GridError, InputError

__all__ = [
    "Lesions",
    "PatternCounts",
    "Voxels",
    "dice",
    "f1",
    "find_lesions",
    "iou",
    "match_lesions",
    "nonzero_positions",
    "pattern_counts",
    "share",
]


@dataclass(frozen=True, slots=True, eq=False)
class Voxels:
    """The voxels of one mask, as positions.

    Parameters
    ----------
    shape : of the grid
    position : (n,) int64, positions in the C-ordered grid, ascending
    lower, upper : (3,) int64, first and last index of the mask along each axis; both -1 where
        the mask is empty
    """

    shape: tuple[int, int, int]
    position: NDArray[np.int64]
    lower: NDArray[np.int64]
    upper: NDArray[np.int64]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> Voxels:
        """Scan a (X, Y, Z) bool array.

        Raises
        ------
        InputError
            The array is not bool.
        GridError
            The array is not three-dimensional.
        """
        if mask.dtype != np.bool_:
            raise InputError(f"a mask of {mask.dtype}: expected bool; compare with a threshold")
        if mask.ndim != 3:
            raise GridError(f"a mask of shape {mask.shape}: expected three axes")
        x, y, z = mask.shape
        if mask.flags.c_contiguous or not mask.flags.f_contiguous:
            flat = np.ascontiguousarray(mask).reshape(-1)
            position = nonzero_positions(flat.view(np.uint8))
        else:  # as NIfTI files are stored: scan in memory order, then sort the few that are set
            flat = mask.T.reshape(-1)
            k, j, i = np.unravel_index(nonzero_positions(flat.view(np.uint8)), (z, y, x))
            position = np.sort(np.ravel_multi_index((i, j, k), (x, y, z)))
        return cls.at(position, (x, y, z))

    @classmethod
    def at(cls, position: NDArray[np.int64], shape: tuple[int, int, int]) -> Voxels:
        """Return the voxels at ascending positions of the C-ordered grid of that shape."""
        if not position.size:
            nowhere = np.full(3, -1, dtype=np.int64)
            return cls(shape, position, nowhere, nowhere)
        index = np.stack(np.unravel_index(position, shape))
        return cls(shape, position, index.min(axis=1), index.max(axis=1))

    @classmethod
    def union(cls, masks: Sequence[Voxels]) -> Voxels:
        """Return the voxels that any of one or more masks on one grid holds."""
        # a stable sort merges ascending runs, 30 times as fast as np.unique
        position = np.sort(np.concatenate([mask.position for mask in masks]), kind="stable")
        first = np.diff(position, prepend=-1) > 0
        return cls.at(position[first], masks[0].shape)

    def __len__(self) -> int:
        return int(self.position.size)

    @property
    def index(self) -> NDArray[np.int64]:
        """Indices of the voxels along the three axes, (n, 3)."""
        return np.stack(np.unravel_index(self.position, self.shape), axis=1)

    @property
    def box_shape(self) -> tuple[int, int, int]:
        """Shape of the smallest box around the mask with one empty voxel on every side."""
        x, y, z = (self.upper - self.lower + 3).tolist()
        return x, y, z

    def in_box(self) -> NDArray[np.int64]:
        """Return the voxels' positions in the C-ordered padded box, ascending."""
        index = np.unravel_index(self.position, self.shape)
        inside = tuple(
            axis - first + 1 for axis, first in zip(index, self.lower.tolist(), strict=True)
        )
        return np.asarray(np.ravel_multi_index(inside, self.box_shape), dtype=np.int64)


def nonzero_positions(flat: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return where a contiguous 1-D uint8 array is not zero, ascending, eight bytes at a look."""
    whole = flat.size // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64) != 0)
    word, byte = np.nonzero(flat[:whole].reshape(-1, 8)[words])
    tail = np.flatnonzero(flat[whole:]) + whole
    return np.concatenate([words[word] * 8 + byte, tail]).astype(np.int64, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class PatternCounts:
    """How many voxels carry each pattern of masks; voxels in no mask are not listed.

    Parameters
    ----------
    pattern : (k,) unsigned ints; bit ``m`` says whether mask ``m`` holds the voxel
    count : (k,) int64, voxels with that pattern
    """

    pattern: NDArray[Any]
    count: NDArray[np.int64]

    def in_all(self, *masks: int) -> int:
        """Return how many voxels all the masks of these numbers hold."""
        wanted = sum(1 << mask for mask in set(masks))
        chosen = (self.pattern & self.pattern.dtype.type(wanted)) == wanted
        return int(self.count[chosen].sum())


def pattern_counts(masks: Sequence[Voxels]) -> PatternCounts:
    """Count the patterns of up to 64 masks on one grid.

    Raises
    ------
    GridError
        The masks have different shapes.
    InputError
        None or more than 64 masks.
    """
    if not 1 <= len(masks) <= 64:
        raise InputError(f"patterns of {len(masks)} masks: expected 1 to 64")
    shapes = {mask.shape for mask in masks}
    if len(shapes) > 1:
        raise GridError(f"masks of shapes {sorted(shapes)}: expected one; call harmonise() first")
    width = next(bits for bits in (8, 16, 32, 64) if bits >= len(masks))
    union = np.zeros(math.prod(masks[0].shape), dtype=f"u{width // 8}")  # untouched pages are free
    for number, mask in enumerate(masks):
        union[mask.position] |= union.dtype.type(1 << number)
    # every voxel is looked at in the first mask that holds it, so that none is counted twice
    found = []
    for number, mask in enumerate(masks):
        here = union[mask.position]
        found.append(here[(here & union.dtype.type((1 << number) - 1)) == 0])
    if width == 8:
        count = np.bincount(np.concatenate(found), minlength=256)
        pattern = np.flatnonzero(count).astype(np.uint8)
        return PatternCounts(pattern, count[pattern].astype(np.int64))
    pattern, count = np.unique(np.concatenate(found), return_counts=True)
    return PatternCounts(pattern, count.astype(np.int64))


def share(part: float, whole: float) -> float:
    """Return part / whole, NaN where the whole is nothing."""
    return part / whole if whole else math.nan


def dice(n_both: int, n_reference: int, n_candidate: int) -> float:
    """Return 2 both / (reference + candidate); 0 where only the candidate is empty.

    NaN where the reference is empty: agreement on nothing and a false alarm are told apart by
    the status of the pair, not by a number.
    """
    return share(2 * n_both, n_reference + n_candidate) if n_reference else math.nan


def iou(n_both: int, n_reference: int, n_candidate: int) -> float:
    """Return both / either; undefined as `dice` is."""
    return share(n_both, n_reference + n_candidate - n_both) if n_reference else math.nan


def f1(sensitivity: float, precision: float) -> float:
    """Return the harmonic mean of sensitivity and precision, 0 where both are 0."""
    if sensitivity + precision == 0:
        return 0.0
    return 2 * sensitivity * precision / (sensitivity + precision)


@dataclass(frozen=True, slots=True, eq=False)
class Lesions:
    """The 26-connected components of one mask.

    Parameters
    ----------
    label : (n,) int32, lesion of each voxel of the mask, numbered from 0 in the order in which
        the C-ordered grid meets them
    size : (k,) int64, voxels of each lesion
    """

    label: NDArray[np.int32]
    size: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.size.size)

    def rows(self) -> list[NDArray[np.intp]]:
        """Return the voxels of each lesion as ascending rows of `Voxels`."""
        if not len(self):
            return []
        order = np.argsort(self.label, kind="stable")
        return np.split(order, np.cumsum(self.size)[:-1])


def find_lesions(voxels: Voxels) -> Lesions:
    r"""Split a mask into 26-connected components.

    Works on runs of voxels along the last axis. A run touches those runs of the neighbouring
    rows that overlap it when it is made one voxel longer at both ends::

        row y      . . a a a . .        a touches b (corner to corner) and c
        row y+1    . b . . . c .

    Half of the eight neighbouring rows is enough, as touching is mutual.
    """
    if not len(voxels):
        return Lesions(np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int64))
    box = voxels.in_box()
    first = np.concatenate([[True], np.diff(box) > 1])
    run_of_voxel = np.cumsum(first) - 1
    start = box[first]
    end = box[np.concatenate([first[1:], [True]])]
    _, ny, nz = voxels.box_shape
    rows = []
    for to_row in (nz, (ny - 1) * nz, ny * nz, (ny + 1) * nz):  # (dx, dy) = 01, 1-1, 10, 11
        low = np.searchsorted(end, start + to_row - 1, side="left")
        high = np.searchsorted(start, end + to_row + 1, side="right")
        touching = np.maximum(high - low, 0)
        run = np.repeat(np.arange(start.size), touching)
        # 0, 1, 2, ... within the neighbours of each run
        within = np.arange(run.size) - np.repeat(np.cumsum(touching) - touching, touching)
        rows.append(np.stack([run, low[run] + within]))
    run, neighbour = np.concatenate(rows, axis=1)
    graph = sparse.coo_array(
        (np.ones(run.size, dtype=np.int8), (run, neighbour)), shape=(start.size, start.size)
    )
    _, component = csgraph.connected_components(graph, directed=False)
    label = component[run_of_voxel].astype(np.int32)
    return Lesions(label, np.bincount(label).astype(np.int64))


def match_lesions(
    reference: tuple[Voxels, Lesions], candidate: tuple[Voxels, Lesions]
) -> NDArray[np.int64]:
    """Count the voxels that each lesion of one mask shares with each of the other.

    Returns
    -------
    (k, 3) int64 : reference lesion, candidate lesion, shared voxels; only pairs that share any
    """
    small, large = sorted((reference, candidate), key=lambda side: len(side[0]))
    if not len(small[0]):
        return np.zeros((0, 3), dtype=np.int64)
    near = np.searchsorted(large[0].position[:-1], small[0].position)
    met = large[0].position[near] == small[0].position
    first, second = small[1].label[met].astype(np.int64), large[1].label[near[met]]
    ones = np.ones(first.size, dtype=np.int64)
    table = sparse.coo_array((ones, (first, second)), shape=(len(small[1]), len(large[1])))
    table.sum_duplicates()
    first, second, shared = table.row, table.col, table.data
    columns = (first, second) if small is reference else (second, first)
    return np.column_stack([*columns, shared]).astype(np.int64)
