"""Distances between the triangle meshes of two masks, in millimetres, for small tolerances.

Every triangle is one sample: the exact distance from its centroid to the nearest point of the other
mesh, weighted by its area. That is what MeshMetrics measures (Podobnik & Vrtovec, "HDilemma: are
Hausdorff distance implementations equivalent?", MICCAI 2024) for the metrics that Maier-Hein,
Reinke et al., "Metrics reloaded", Nat Methods 2024 recommend. The Hausdorff distance is therefore
the largest over centroids; a corner of the mesh may lie farther away, by less than a triangle's
side. `boneviz.surface` measures between lattice points, and so in steps of the spacing.

Numbers are those of ``pymeshmetrics`` 1.4 to rounding, 1e-9 mm. Surface Dice alone differs where
a tolerance is itself a distance that occurs, as 1 mm on a grid of 3 mm, whose centroids lie at
thirds: it counts as within here, and there as the last digit falls.

All meshes of one scan lie on one lattice. How far a centroid is from the triangles of a nearby
cell then depends on nothing but the two codes and the step between the cells, so it is worked out
once and looked up for all pairs. Centroids with nothing within two steps or so ask a k-d tree.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from boneviz.cubes import MIDPOINTS, triangles_of_codes
from boneviz.errors import GridError
from boneviz.mesh import Floats, Ints, Mesh
from boneviz.surface import SurfaceDistances

__all__ = ["MeshPair", "mesh_distances_between"]

N_STEPS = 125  # to the cells that are looked up, the nearest first
LOOKS = (1, 7, 19, 27, 51, 75, 100)  # before these, centroids that see nothing nearer are let go
FARTHEST_STEP = 6  # along any axis


def mesh_distances_between(reference: Mesh, candidate: Mesh) -> SurfaceDistances | None:
    """Return the distances both ways, a sample per triangle; None where either mesh is empty.

    Raises
    ------
    GridError
        The meshes have different spacings.
    """
    if reference.spacing_mm != candidate.spacing_mm:
        raise GridError(
            f"meshes on spacings {reference.spacing_mm} and {candidate.spacing_mm} mm: expected "
            "one grid; call harmonise() first"
        )
    if not len(reference) or not len(candidate):
        return None
    one_lesion = (np.zeros(len(mesh), dtype=np.int64) for mesh in (reference, candidate))
    return MeshPair.of(reference, candidate, *one_lesion).whole()


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One mesh of a pair, with the distances from it to the whole of the other.

    Parameters
    ----------
    lesion : (t,) lesion of each triangle, from 0
    box_mm : (n, 2, 3) corners of a box around each lesion
    away_mm : (t,) from the centroid of each triangle to the other mesh
    """

    mesh: Mesh
    lesion: Ints
    box_mm: Floats
    away_mm: Floats

    @classmethod
    def of(cls, mesh: Mesh, lesion: Ints, other: Mesh) -> _Side:
        order = np.argsort(lesion, kind="stable")
        first = np.searchsorted(lesion[order], np.arange(int(lesion.max()) + 1))
        # a triangle lies within its cell, which ends one step on
        low = np.minimum.reduceat(mesh.cell[order], first)
        high = np.maximum.reduceat(mesh.cell[order], first) + 1
        box_mm = np.stack([low, high], axis=1) * np.array(mesh.spacing_mm)
        return cls(mesh, lesion, box_mm, _to_nearest(mesh, np.arange(len(mesh)), other))


@dataclass(frozen=True, slots=True, eq=False)
class MeshPair:
    """Two meshes that are both not empty, as `boneviz.surface.SurfacePair` is of two surfaces."""

    reference: _Side
    candidate: _Side

    @classmethod
    def of(
        cls, reference: Mesh, candidate: Mesh, reference_lesion: Ints, candidate_lesion: Ints
    ) -> MeshPair:
        """Measure both ways between meshes on one grid, given the lesion of each triangle, (t,)."""
        return cls(
            _Side.of(reference, reference_lesion, candidate),
            _Side.of(candidate, candidate_lesion, reference),
        )

    def whole(self) -> SurfaceDistances:
        """Return the distances between the two meshes."""
        return SurfaceDistances.of(
            (self.reference.away_mm, self.reference.mesh.area_mm2),
            (self.candidate.away_mm, self.candidate.mesh.area_mm2),
        )

    def part(
        self, reference_rows: NDArray[np.intp], candidate_rows: NDArray[np.intp]
    ) -> SurfaceDistances:
        """Return the distances between some triangles of either alone, whole lesions each."""
        here, over = reference_rows, candidate_rows
        return SurfaceDistances.of(
            (
                _within(self.reference, here, self.candidate, over),
                self.reference.mesh.area_mm2[here],
            ),
            (
                _within(self.candidate, over, self.reference, here),
                self.candidate.mesh.area_mm2[over],
            ),
        )


def _within(
    side: _Side, rows: NDArray[np.intp], other: _Side, other_rows: NDArray[np.intp]
) -> Floats:
    """Return the distances from some triangles to some lesions of the other mesh.

    They are those to all of it, but where a lesion that is left out may be as near: where the box
    around it is. Only there they are measured again.
    """
    away_mm = side.away_mm[rows]
    left_out = np.ones(len(other.box_mm), dtype=bool)
    left_out[other.lesion[other_rows]] = False
    # centroids lie within a cell of this
    point_mm, cell_mm = side.mesh.cell[rows] * np.array(side.mesh.spacing_mm), side.mesh.spacing_mm
    low_mm, high_mm = other.box_mm[left_out, 0] - cell_mm, other.box_mm[left_out, 1]
    # whole boxes first: most are too far from all of the points
    gap_mm = np.maximum(low_mm - point_mm.max(axis=0), point_mm.min(axis=0) - high_mm)
    near = np.linalg.norm(np.maximum(gap_mm, 0), axis=1) <= away_mm.max()
    astray = np.zeros(len(rows), dtype=bool)
    for low, high in zip(low_mm[near], high_mm[near], strict=True):
        gap_mm = np.maximum(np.maximum(low - point_mm, point_mm - high), 0)
        astray |= (gap_mm**2).sum(axis=1) <= away_mm**2
    if astray.any():
        keep = np.zeros(len(other.mesh), dtype=bool)
        keep[other_rows] = True
        away_mm[astray] = _to_nearest(side.mesh, rows[astray], other.mesh.subset(keep))
    return away_mm


def _to_nearest(mesh: Mesh, rows: NDArray[np.intp], other: Mesh) -> Floats:
    """Return the distance from the centroids of some triangles to the nearest point of a mesh."""
    lattice = _lattice(mesh.spacing_mm)
    # the codes of the other mesh, in a box that no step leaves; untouched pages are free
    cell, kind = mesh.cell[rows], mesh.kind[rows]
    origin = np.minimum(cell.min(axis=0), other.cell.min(axis=0)) - FARTHEST_STEP
    end = np.maximum(cell.max(axis=0), other.cell.max(axis=0)) + FARTHEST_STEP + 1
    _, ny, nz = (end - origin).tolist()
    stride = np.array([ny * nz, nz, 1])
    code = np.zeros(int(np.prod(end - origin)), dtype=np.uint8)
    code[(other.cell - origin) @ stride] = other.kind // 5
    here, jump = (cell - origin) @ stride, (lattice.step @ stride).tolist()

    distance_mm = np.empty(len(cell))
    for start in range(0, len(cell), 16384):  # what fits a cache
        some = slice(start, start + 16384)
        site = lattice.site[kind[some]]
        best_mm, left = lattice.look_around(site, here[some], code, jump)
        if left.size:
            point_mm = cell[some][left] * np.array(mesh.spacing_mm) + lattice.site_mm[site[left]]
            best_mm[left] = _by_tree(point_mm, best_mm[left], other)
        distance_mm[some] = best_mm
    return distance_mm


class _Lattice:
    """Distances from the centroids in one cell to the triangles in the cells around it.

    Parameters
    ----------
    spacing_mm : of the lattice

    Attributes
    ----------
    step : (s, 3) to the cells around a cell, the nearest first
    site : (1280,) where in its cell each kind of triangle has its centroid, row of `site_mm`
    site_mm : (n, 3) from the first voxel of the cell
    reach_mm : (s + 1, n) no site is nearer than this to any cell but those of the first steps
    """

    def __init__(self, spacing_mm: tuple[float, float, float]) -> None:
        cube = triangles_of_codes()
        self.spacing_mm = np.array(spacing_mm)
        exists = (np.arange(5) < cube.per_code[:, None]).reshape(-1)
        sixths, site = np.unique(
            np.rint(2 * MIDPOINTS[cube.edge[exists]].sum(axis=1)), axis=0, return_inverse=True
        )
        self.site, self.site_mm = np.zeros(1280, dtype=np.int64), sixths / 6 * self.spacing_mm
        self.site[exists] = site.reshape(-1)
        # triangles of the same three corners are one shape, whatever codes they are in
        edges, shape = np.unique(np.sort(cube.edge[exists]), axis=0, return_inverse=True)
        self._corner_mm = np.moveaxis(MIDPOINTS[edges] * self.spacing_mm, 0, 2)
        self._shape = np.full(1280, len(edges))
        self._shape[exists] = shape.reshape(-1)

        steps = range(-FARTHEST_STEP, FARTHEST_STEP + 1)
        step = np.array(list(itertools.product(steps, repeat=3)))
        step = step[np.argsort(((step * self.spacing_mm) ** 2).sum(axis=1), kind="stable")]
        self.step = step[:N_STEPS]
        # to the faces of each cell around, and to the faces of the block of all of them
        half = self.spacing_mm / 2
        gap_mm = np.abs((step[:, None] + 0.5) * self.spacing_mm - self.site_mm) - half
        gap_mm = np.linalg.norm(np.maximum(gap_mm, 0), axis=2)
        to_face_mm = half - np.abs(self.site_mm - half)
        block_mm = (to_face_mm + FARTHEST_STEP * self.spacing_mm).min(axis=1)
        left_mm = np.minimum.accumulate(gap_mm[::-1])[::-1]
        self.reach_mm = np.minimum(left_mm, block_mm)[: N_STEPS + 1]
        self._to_codes_mm: list[Floats | None] = [None] * N_STEPS

    def to_codes_mm(self, number: int) -> Floats:
        """Return the distances to a cell one of the steps away, (n * 256,) for sites and codes.

        Infinite for a code without triangles. Worked out when first asked for.
        """
        known = self._to_codes_mm[number]
        if known is None:
            point_mm = self.site_mm - self.step[number] * self.spacing_mm
            to_shape_mm = _to_triangle_mm(point_mm.T[:, :, None], self._corner_mm[:, :, None])
            to_shape_mm = np.pad(to_shape_mm, ((0, 0), (0, 1)), constant_values=np.inf)
            known = to_shape_mm[:, self._shape[::5]]
            for triangle in range(1, 5):
                np.minimum(known, to_shape_mm[:, self._shape[triangle::5]], out=known)
            known = known.reshape(-1)
            self._to_codes_mm[number] = known
        return known

    def look_around(
        self, site: Ints, here: Ints, code: NDArray[np.uint8], jump: Sequence[int]
    ) -> tuple[Floats, Ints]:
        """Return the distance from each centroid to the mesh in the box of codes.

        Also the rows for which it may be less, as there may be a triangle beyond the last step.
        """
        distance_mm = np.full(len(site), np.inf)
        left, best_mm = np.arange(len(site)), distance_mm.copy()
        site = site * 256
        for number in range(N_STEPS):
            if number in LOOKS:
                distance_mm[left] = best_mm
                go = np.flatnonzero(best_mm > self.reach_mm[number, site // 256])
                left, best_mm, site, here = left[go], best_mm[go], site[go], here[go]
                if not left.size:
                    break
            found_mm = self.to_codes_mm(number)[site + code[here + jump[number]]]
            np.minimum(best_mm, found_mm, out=best_mm)
        distance_mm[left] = best_mm
        return distance_mm, left[best_mm > self.reach_mm[-1, site // 256]]


@lru_cache(maxsize=4)
def _lattice(spacing_mm: tuple[float, float, float]) -> _Lattice:
    """Return the distances of one lattice, shared by all pairs of meshes on it."""
    return _Lattice(spacing_mm)


def _by_tree(point_mm: Floats, best_mm: Floats, mesh: Mesh) -> Floats:
    """Return the distance from each point (n, 3) to the mesh, given one that is not less.

    The point of a triangle nearest to p is a foot of a perpendicular from p, onto the triangle
    or onto a side of it. So where it lies at distance d, one of the triangle's corners is no
    farther from p than the root of d2 + `Mesh.cover_mm2`: only triangles at such vertices count.
    """
    best_mm = best_mm.copy()
    left = np.arange(len(point_mm))
    start, stop = 0, 4
    while left.size:
        stop = min(stop, len(mesh.vertex_mm))
        near_mm, vertex = map(np.asarray, mesh.tree.query(point_mm[left], k=range(1, stop + 1)))
        for column in range(start, stop):
            close = near_mm[:, column] ** 2 < best_mm[left] ** 2 + mesh.cover_mm2
            row = left[close]
            best_mm[row] = np.minimum(
                best_mm[row], _to_fan_mm(point_mm[row], vertex[close, column], mesh)
            )
        if stop == len(mesh.vertex_mm):
            break
        left = left[near_mm[:, -1] ** 2 < best_mm[left] ** 2 + mesh.cover_mm2]
        start, stop = stop, 4 * stop
    return best_mm


def _to_fan_mm(point_mm: Floats, vertex: Ints, mesh: Mesh) -> Floats:
    """Return the distance from each point to the triangles at the vertex beside it."""
    if not vertex.size:
        return np.zeros(0)
    around, first = mesh.fans
    count = first[vertex + 1] - first[vertex]
    start = np.cumsum(count) - count
    number = np.arange(count.sum()) - np.repeat(start, count)
    triangle = mesh.triangle[around[np.repeat(first[vertex], count) + number]]
    distance_mm = _to_triangle_mm(
        np.repeat(point_mm.T, count, axis=1), mesh.vertex_mm.T[:, triangle.T].swapaxes(0, 1)
    )
    return np.asarray(np.minimum.reduceat(distance_mm, start))


def _to_triangle_mm(point_mm: Floats, corner_mm: Floats) -> Floats:
    """Return the distance from points (3, ...) to a triangle each (3 corners, 3, ...), (...)."""
    first, second, third = corner_mm
    normal = _cross(second - first, third - first)
    normal /= np.sqrt(_dot(normal, normal))
    within, near_mm2 = [], []  # of each side: on the triangle's side of it; how far from it
    for corner, end in ((first, second), (second, third), (third, first)):
        side, to_point = end - corner, point_mm - corner
        within.append(_dot(_cross(normal, side), to_point) >= 0)
        along = _dot(side / _dot(side, side), to_point)
        to_point -= np.clip(along, 0, 1) * side
        near_mm2.append(_dot(to_point, to_point))
    height_mm = _dot(normal, point_mm - first)
    above = within[0] & within[1] & within[2]
    nearest_mm2 = np.minimum(np.minimum(near_mm2[0], near_mm2[1]), near_mm2[2])
    return np.asarray(np.sqrt(np.where(above, height_mm * height_mm, nearest_mm2)))


def _dot(a: Floats, b: Floats) -> Floats:
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def _cross(a: Floats, b: Floats) -> Floats:
    return np.stack([a[i - 2] * b[i - 1] - a[i - 1] * b[i - 2] for i in range(3)])
