"""Surface elements between eight voxels, by which of these are inside, and the area of each.

The table of areas is built from the geometry of the cut cube; its values are those of Nikolov et
al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy", J Med Internet
Res 2021, and of their package ``surface-distance``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["CORNERS", "Corner", "corner_bit", "element_areas_mm2"]

Corner = tuple[int, int, int]
CORNERS: tuple[Corner, ...] = tuple(itertools.product((0, 1), repeat=3))  # type: ignore[arg-type]

# How a group of up to four edge-connected corners is cut off from the rest of the unit cube:
# flat polygons through the midpoints of the edges that lead out of the group. All other groups
# are one of these turned or mirrored.
CUTS: tuple[tuple[tuple[Corner, ...], tuple[tuple[tuple[float, float, float], ...], ...]], ...] = (
    # one corner: a triangle
    (((0, 0, 0),), (((0.5, 0, 0), (0, 0.5, 0), (0, 0, 0.5)),)),
    # an edge: a rectangle
    (((0, 0, 0), (0, 0, 1)), (((0.5, 0, 0), (0.5, 0, 1), (0, 0.5, 1), (0, 0.5, 0)),)),
    # three corners of a face: a triangle over them, and a trapezium down to the fourth
    (
        ((1, 1, 1), (1, 0, 1), (1, 1, 0)),
        (
            ((0.5, 1, 1), (0.5, 0, 1), (0.5, 1, 0)),
            ((0.5, 0, 1), (1, 0, 0.5), (1, 0.5, 0), (0.5, 1, 0)),
        ),
    ),
    # a face: a square
    (
        ((1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)),
        (((0.5, 0, 0), (0.5, 0, 1), (0.5, 1, 1), (0.5, 1, 0)),),
    ),
    # a corner and its three neighbours: a hexagon
    (
        ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
        (((1, 0.5, 0), (0.5, 1, 0), (0, 1, 0.5), (0, 0.5, 1), (0.5, 0, 1), (1, 0, 0.5)),),
    ),
    # a chain of four: a bent hexagon, as a triangle of every other midpoint with three ears
    (
        ((1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1)),
        (
            ((0.5, 0, 0), (0, 1, 0.5), (1, 0.5, 1)),
            ((0.5, 0, 0), (0.5, 1, 0), (0, 1, 0.5)),
            ((0, 1, 0.5), (0, 0.5, 1), (1, 0.5, 1)),
            ((1, 0.5, 1), (1, 0, 0.5), (0.5, 0, 0)),
        ),
    ),
)


def corner_bit(corner: Corner) -> int:
    """Return the bit of a corner of the 2x2x2 neighbourhood: 128 for (0, 0, 0), 1 for (1, 1, 1)."""
    x, y, z = corner
    return 1 << (7 - (4 * x + 2 * y + z))


def _area_vector(polygon: Sequence[Sequence[float]]) -> NDArray[np.float64]:
    """Return the area of a flat polygon in the unit cube as seen along x, y and z, (3,)."""
    point = np.asarray(polygon, dtype=np.float64)
    fan = np.cross(point[1:-1] - point[0], point[2:] - point[0])
    return np.asarray(np.abs(fan.sum(axis=0)) / 2)


@cache
def _facets_of_group() -> dict[frozenset[Corner], tuple[NDArray[np.float64], ...]]:
    """Turn and mirror `CUTS` in all 48 ways: group of corners -> area vectors of its facets."""
    facets = {}
    for corners, polygons in CUTS:
        for order in itertools.permutations(range(3)):
            for flip in CORNERS:
                group = frozenset(
                    tuple(corner[axis] ^ flip[axis] for axis in order) for corner in corners
                )
                facets[group] = tuple(_area_vector(polygon)[list(order)] for polygon in polygons)
    return facets  # type: ignore[return-value]


def _groups(corners: set[Corner]) -> list[frozenset[Corner]]:
    """Split corners into groups that cube edges connect."""
    left, groups = set(corners), []
    while left:
        group = {left.pop()}
        while near := {c for c in left for g in group if sum(map(abs, np.subtract(c, g))) == 1}:
            group |= near
            left -= near
        groups.append(frozenset(group))
    return groups


@cache
def _facets_of_code() -> NDArray[np.float64]:
    """Return the area vectors of every code's facets in the unit cube, (256, 4, 3), 0 where none.

    The fewer of inside and outside corners are cut off, group by group; a code and its
    complement therefore have one surface.
    """
    table = np.zeros((256, 4, 3))
    for code in range(256):
        inside = {corner for corner in CORNERS if code & corner_bit(corner)}
        fewer = inside if len(inside) <= 4 else set(CORNERS) - inside
        facets = [facet for group in _groups(fewer) for facet in _facets_of_group()[group]]
        table[code, : len(facets)] = np.reshape(facets, (-1, 3))
    return table


def element_areas_mm2(spacing_mm: Sequence[float]) -> NDArray[np.float64]:
    """Return the surface area in mm2 of each 2x2x2 neighbourhood, (256,), 0 for all in or out.

    The code of a neighbourhood is the sum of `corner_bit` over its voxels that are inside.
    """
    x, y, z = (float(s) for s in spacing_mm)
    # a facet seen along x is spanned by y and z
    seen_mm2 = _facets_of_code() * np.array([y * z, x * z, x * y])
    return np.asarray(np.linalg.norm(seen_mm2, axis=2).sum(axis=1))
