"""The triangle mesh around one mask, as marching cubes draws it (`boneviz.cubes`).

It runs half-way between voxel centres in and voxel centres out. A mask that reaches the edge of
the volume is closed there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from boneviz.cubes import MIDPOINTS, triangles_of_codes
from boneviz.elements import CORNERS, corner_bit
from boneviz.errors import InputError
from boneviz.metrics import Voxels, nonzero_positions

__all__ = ["Mesh", "find_mesh"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)  # no slots: the trees are made when first asked for
class Mesh:
    """The triangles around one mask, ordered by cell.

    Parameters
    ----------
    vertex_mm : (v, 3) along the grid's own axes; voxel (0, 0, 0) is centred on 0
    triangle : (t, 3) int64, rows of `vertex_mm`
    area_mm2 : (t,) area of each triangle
    voxel : (t,) int64, row in `Voxels` of one voxel of the mask that the triangle bounds
    cell : (t, 3) int64, index of the first voxel of the cell that holds the triangle, -1 and more
    kind : (t,) int64, ``5 * code + number`` of the triangle in its cell
    spacing_mm : of the grid
    """

    vertex_mm: Floats
    triangle: Ints
    area_mm2: Floats
    voxel: Ints
    cell: Ints
    kind: Ints
    spacing_mm: tuple[float, float, float]

    def __len__(self) -> int:
        return int(self.area_mm2.size)

    def subset(self, keep: NDArray[np.bool_]) -> Mesh:
        """Return the mesh of some of the triangles, with the vertices they use.

        Triangles of one cell stay together, as those of one lesion do: voxels of a cell touch.

        Raises
        ------
        InputError
            `keep` is not (t,) bool, or parts a cell.
        """
        if keep.dtype != np.bool_ or keep.shape != (len(self),):
            raise InputError(
                f"triangles to keep are {keep.dtype} {keep.shape}: expected bool ({len(self)},)"
            )
        first = self.kind % 5 == 0
        if np.any(keep != keep[first][np.cumsum(first) - 1]):
            raise InputError("triangles of one cell on both sides: keep whole lesions")
        used, triangle = np.unique(self.triangle[keep], return_inverse=True)
        return Mesh(
            self.vertex_mm[used],
            triangle.reshape(-1, 3),
            self.area_mm2[keep],
            self.voxel[keep],
            self.cell[keep],
            self.kind[keep],
            self.spacing_mm,
        )

    @cached_property
    def tree(self) -> cKDTree:
        """Of the vertices."""
        return cKDTree(self.vertex_mm, leafsize=32, balanced_tree=False, compact_nodes=False)

    @cached_property
    def fans(self) -> tuple[Ints, Ints]:
        """Triangles at each vertex: those of vertex v are ``around[start[v] : start[v + 1]]``."""
        corner, triangle = self.triangle.reshape(-1), np.repeat(np.arange(len(self)), 3)
        shape = (len(self.vertex_mm), len(self))
        by_vertex = sparse.csr_array((triangle, (corner, triangle)), shape=shape)
        return by_vertex.indices.astype(np.int64), by_vertex.indptr.astype(np.int64)

    @cached_property
    def cover_mm2(self) -> float:
        """Square of a distance within which every point of a triangle has one of its corners.

        The circumradius of an acute triangle is at most its longest side over root 3, and in any
        other triangle half the longest side is enough.
        """
        corner_mm = self.vertex_mm[self.triangle]
        side_mm2 = ((corner_mm - np.roll(corner_mm, 1, axis=1)) ** 2).sum(axis=2)
        return float(side_mm2.max()) / 3


def find_mesh(voxels: Voxels, *, spacing_mm: Sequence[float]) -> Mesh:
    """Return the mesh of a mask on a grid with axes at right angles, empty where the mask is."""
    x_mm, y_mm, z_mm = (float(s) for s in spacing_mm)
    spacing = np.array([x_mm, y_mm, z_mm])
    cube = triangles_of_codes()
    code_of_cell, cell = _cells(voxels)
    count = cube.per_code[code_of_cell]
    cell = np.repeat(cell, count, axis=0)
    number = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
    kind = 5 * np.repeat(code_of_cell.astype(np.int64), count) + number

    # twice the vertex's index is whole: numbered in a box of half voxels around the mask
    half = 2 * cell[:, None] + (2 * MIDPOINTS).astype(np.int64)[cube.edge[kind]]
    lower, upper = 2 * voxels.lower - 2, 2 * voxels.upper + 2
    shape = (upper - lower + 1).tolist()
    name = np.ravel_multi_index(tuple(np.moveaxis(half - lower, 2, 0)), shape)
    names, triangle = np.unique(name, return_inverse=True)
    vertex_mm = (np.stack(np.unravel_index(names, shape), axis=1) + lower) * (spacing / 2)

    first, second, third = np.moveaxis(MIDPOINTS[cube.edge] * spacing, 1, 0)
    area_mm2 = np.linalg.norm(np.cross(second - first, third - first), axis=1) / 2
    inside = np.ravel_multi_index(tuple((cell + cube.inside[kind]).T), voxels.shape)
    return Mesh(
        vertex_mm,
        triangle.reshape(-1, 3),
        area_mm2[kind],
        np.searchsorted(voxels.position, inside),
        cell,
        kind,
        (x_mm, y_mm, z_mm),
    )


def _cells(voxels: Voxels) -> tuple[NDArray[np.uint8], Ints]:
    """Return the code (c,) and the first voxel (c, 3) of each cell that the mask's outline cuts."""
    shape = voxels.box_shape
    code = np.zeros(math.prod(shape), dtype=np.uint8)  # of the cell that starts at each voxel
    position = voxels.in_box()
    for corner in CORNERS:
        code[position - int(np.ravel_multi_index(corner, shape))] |= np.uint8(corner_bit(corner))
    cell = nonzero_positions(code)
    cell = cell[code[cell] != 255]
    # box index 1 is the mask's first voxel
    return code[cell], np.stack(np.unravel_index(cell, shape), axis=1) + (voxels.lower - 1)
