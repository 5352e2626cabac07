r"""Distances between the outlines of two masks, in millimetres, weighted by surface area.

The outline of a mask is taken where voxel corners lie between inside and outside: each lattice
point whose eight voxels are neither all in nor all out carries a surface element, and its area
follows from which of the eight are in (`boneviz.elements`). The definitions are those of Nikolov
et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med
Internet Res 2021, as its package ``surface-distance`` computes them.

A mask that reaches the edge of the volume is closed there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from boneviz.elements import CORNERS, corner_bit, element_areas_mm2
from boneviz.errors import GridError, InputError
from boneviz.metrics import Voxels, nonzero_positions
from boneviz.volume import Grid

__all__ = [
    "Nearest",
    "Surface",
    "SurfaceDistances",
    "SurfacePair",
    "distances_between",
    "find_surface",
    "nearest",
    "require_orthogonal",
]


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The surface elements of one mask.

    Parameters
    ----------
    position_mm : (n, 3) along the grid's own axes; voxel (0, 0, 0) is centred on 0
    area_mm2 : (n,) area of each element
    corner : (n,) int64, the voxel corner where it lies, numbered alike for all masks on one grid,
        ascending
    voxel : (n,) int64, row in `Voxels` of a voxel of the mask that it bounds. All of these are
        neighbours, so that an element belongs to one lesion
    tree : of the positions, None where the mask is empty
    """

    position_mm: NDArray[np.float64]
    area_mm2: NDArray[np.float64]
    corner: NDArray[np.int64]
    voxel: NDArray[np.int64]
    tree: cKDTree | None

    def __len__(self) -> int:
        return int(self.area_mm2.size)

    def subset(self, rows: NDArray[np.intp]) -> Surface:
        """Return the surface of these elements alone, rows ascending."""
        position_mm = self.position_mm[rows]
        return Surface(
            position_mm,
            self.area_mm2[rows],
            self.corner[rows],
            self.voxel[rows],
            _tree(position_mm),
        )


def require_orthogonal(grid: Grid) -> None:
    """Raise `GridError` where the grid's axes are not at right angles, within 0.001 radian.

    Distances along sheared axes do not follow from three spacings.
    """
    axes = grid.affine_ras_mm[:3, :3] / np.array(grid.spacing_mm)
    skew = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if skew > 1e-3:
        angle = math.degrees(math.acos(min(1.0, skew)))
        raise GridError(
            f"grid axes meet at {angle:.2f} degrees: expected right angles; surface distances "
            "are not defined on a sheared grid; resample it first (harmonise() does)"
        )


def find_surface(voxels: Voxels, *, spacing_mm: Sequence[float]) -> Surface:
    """Return the surface elements of a mask on a grid with axes at right angles."""
    if not len(voxels):
        none = np.zeros(0, dtype=np.int64)
        return Surface(np.zeros((0, 3)), np.zeros(0), none, none, None)
    shape = voxels.box_shape
    code = np.zeros(math.prod(shape), dtype=np.uint8)  # of the corner before each voxel of the box
    position = voxels.in_box()
    for after in CORNERS:
        # the voxel lies at (1, 1, 1) of the neighbourhood before it, at (0, 0, 0) of the one after
        seen_from = tuple(1 - step for step in after)
        to_corner = int(np.ravel_multi_index(after, shape))
        code[position + to_corner] |= np.uint8(corner_bit(seen_from))  # type: ignore[arg-type]
    element = nonzero_positions(code)
    element = element[code[element] != 255]
    # box index 1 is the mask's first voxel, and a corner lies half a voxel before its voxel
    index = np.stack(np.unravel_index(element, shape), axis=1) + (voxels.lower - 1)
    position_mm = np.asarray((index - 0.5) * np.asarray(spacing_mm), dtype=np.float64)
    corners = tuple(n + 1 for n in voxels.shape)
    # bit b was set by the voxel from which CORNERS[b] leads to this element
    step = np.array([np.ravel_multi_index(after, shape) for after in CORNERS])
    inside = element - step[_LOWEST_BIT[code[element]]]
    return Surface(
        position_mm,
        element_areas_mm2(spacing_mm)[code[element]],
        np.asarray(np.ravel_multi_index(tuple(index.T), corners), dtype=np.int64),
        np.searchsorted(position, inside).astype(np.int64),
        _tree(position_mm),
    )


_LOWEST_BIT = np.array([(code & -code).bit_length() - 1 for code in range(256)])


def _tree(position_mm: NDArray[np.float64]) -> cKDTree | None:
    if not len(position_mm):
        return None
    return cKDTree(position_mm, leafsize=32, balanced_tree=False, compact_nodes=False)


@dataclass(frozen=True, slots=True, eq=False)
class Nearest:
    """The nearest element of another surface, from every element of one.

    Parameters
    ----------
    distance_mm : (n,)
    element : (n,) row in the other surface
    """

    distance_mm: NDArray[np.float64]
    element: NDArray[np.int64]


def nearest(surface: Surface, other: Surface) -> Nearest:
    """Find the nearest element of `other`, which is not empty, from every element of `surface`."""
    if other.tree is None:
        raise InputError("no distance to a surface without elements; check with len() first")
    # elements at one corner are at no distance; only the rest is looked for in the tree
    element = np.searchsorted(other.corner[:-1], surface.corner).astype(np.int64)
    apart = np.flatnonzero(other.corner[element] != surface.corner)
    distance_mm = np.zeros(len(surface))
    distance_mm[apart], element[apart] = other.tree.query(surface.position_mm[apart])
    return Nearest(distance_mm, element)


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceDistances:
    """From every element of either surface to the nearest element of the other, both not empty.

    Parameters
    ----------
    forward_mm, forward_mm2 : (n,) distance and area of the reference's elements, by distance
    backward_mm, backward_mm2 : (m,) of the candidate's
    """

    forward_mm: NDArray[np.float64]
    forward_mm2: NDArray[np.float64]
    backward_mm: NDArray[np.float64]
    backward_mm2: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        forward: tuple[NDArray[np.float64], NDArray[np.float64]],
        backward: tuple[NDArray[np.float64], NDArray[np.float64]],
    ) -> SurfaceDistances:
        """Sort distances (mm) and the areas (mm2) that they stand for, either way."""
        sides = []
        for distance_mm, area_mm2 in (forward, backward):
            order = np.argsort(distance_mm, kind="stable")
            sides += [distance_mm[order], area_mm2[order]]
        return cls(*sides)

    @property
    def hd_mm(self) -> float:
        """Hausdorff distance: the largest distance either way, mm."""
        return float(max(self.forward_mm[-1], self.backward_mm[-1]))

    def percentile_mm(self, percent: float) -> float:
        """Return the larger of the two directed, area-weighted percentiles, mm.

        The directed percentile is the least distance within which `percent` of the area lies.
        Pooling the two directions first is another number.
        """
        return max(
            _percentile_mm(self.forward_mm, self.forward_mm2, percent),
            _percentile_mm(self.backward_mm, self.backward_mm2, percent),
        )

    @property
    def hd95_mm(self) -> float:
        """The 95th percentile, mm."""
        return self.percentile_mm(95)

    @property
    def assd_mm(self) -> float:
        """Average symmetric surface distance: the mean over the area of both surfaces, mm."""
        total = self.forward_mm @ self.forward_mm2 + self.backward_mm @ self.backward_mm2
        return float(total / (self.forward_mm2.sum() + self.backward_mm2.sum()))

    @property
    def masd_mm(self) -> float:
        """Mean average surface distance: the mean of the two directed means, mm."""
        forward = self.forward_mm @ self.forward_mm2 / self.forward_mm2.sum()
        backward = self.backward_mm @ self.backward_mm2 / self.backward_mm2.sum()
        return float((forward + backward) / 2)

    def surface_dice(self, tolerance_mm: float) -> float:
        """Return the share of both surfaces' area that lies within `tolerance_mm` of the other.

        Distances between lattice points repeat exactly, and a tolerance often is one of them:
        it counts as within, whatever the last digit of rounding says.
        """
        if not (math.isfinite(tolerance_mm) and tolerance_mm >= 0):
            raise InputError(f"tolerance {tolerance_mm} mm: expected a finite number, 0 or more")
        limit = tolerance_mm * (1 + 1e-9) + 1e-9
        forward = self.forward_mm2[: np.searchsorted(self.forward_mm, limit, side="right")]
        backward = self.backward_mm2[: np.searchsorted(self.backward_mm, limit, side="right")]
        total = self.forward_mm2.sum() + self.backward_mm2.sum()
        return float((forward.sum() + backward.sum()) / total)


@dataclass(frozen=True, slots=True, eq=False)
class SurfacePair:
    """Two surfaces that are both not empty, each element's nearest found once.

    Parameters
    ----------
    reference, candidate : surfaces of masks on one grid
    there, back : from the reference's elements to the candidate's, and the other way
    """

    reference: Surface
    candidate: Surface
    there: Nearest
    back: Nearest

    @classmethod
    def of(cls, reference: Surface, candidate: Surface) -> SurfacePair:
        """Find the nearest elements both ways."""
        return cls(
            reference, candidate, nearest(reference, candidate), nearest(candidate, reference)
        )

    def whole(self) -> SurfaceDistances:
        """Return the distances between the two surfaces."""
        return SurfaceDistances.of(
            (self.there.distance_mm, self.reference.area_mm2),
            (self.back.distance_mm, self.candidate.area_mm2),
        )

    def part(
        self, reference_rows: NDArray[np.intp], candidate_rows: NDArray[np.intp]
    ) -> SurfaceDistances:
        """Return the distances between some elements of either alone, rows ascending."""
        here, over = reference_rows, candidate_rows
        return SurfaceDistances.of(
            (
                _within(self.reference, here, self.candidate, over, self.there),
                self.reference.area_mm2[here],
            ),
            (
                _within(self.candidate, over, self.reference, here, self.back),
                self.candidate.area_mm2[over],
            ),
        )


def _within(
    surface: Surface,
    rows: NDArray[np.intp],
    other: Surface,
    other_rows: NDArray[np.intp],
    known: Nearest,
) -> NDArray[np.float64]:
    """Return distances to some elements of the other: the nearest of all may be one of them."""
    distance_mm, element = known.distance_mm[rows], known.element[rows]
    place = np.searchsorted(other_rows[:-1], element)
    astray = np.flatnonzero(other_rows[place] != element)
    if astray.size:
        again = nearest(surface.subset(rows[astray]), other.subset(other_rows))
        distance_mm[astray] = again.distance_mm
    return distance_mm


def distances_between(reference: Surface, candidate: Surface) -> SurfaceDistances | None:
    """Return the distances both ways; None where either surface is empty."""
    if not len(reference) or not len(candidate):
        return None
    return SurfacePair.of(reference, candidate).whole()


def _percentile_mm(
    distance_mm: NDArray[np.float64], area_mm2: NDArray[np.float64], percent: float
) -> float:
    within = np.cumsum(area_mm2)
    # the least distance that reaches the share exactly counts, whatever rounding says
    least = np.searchsorted(within, within[-1] * (percent / 100 - 1e-9))
    return float(distance_mm[min(int(least), distance_mm.size - 1)])
