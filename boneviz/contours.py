"""Closed polygons as voxels of one slice."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["crossing_pair", "inside", "same_pair"]


def inside(polygon: NDArray[np.float64], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return the pixels whose centre is inside a closed polygon.

    A pixel is inside where a ray from its centre crosses the polygon's edges an odd number of
    times (even-odd rule), so that the inner loop of a key-hole contour is a hole, whichever way it
    is traversed, and the two sides of its channel cancel. A centre on an edge belongs to the
    polygon that lies towards growing indices of it: of two polygons that share an edge exactly one
    gets it.

    Parameters
    ----------
    polygon : (n, 2) corners in pixel indices, the centre of the first pixel being (0, 0); the
        last corner is joined to the first
    shape : (n_0, n_1) pixels

    Returns
    -------
    NDArray
        bool of `shape`; all False for fewer than three corners.
    """
    n_0, n_1 = shape
    flips = np.zeros((n_0, n_1 + 1), dtype=np.uint8)
    ends = np.stack([polygon, np.roll(polygon, -1, axis=0)], axis=1)
    for one, other in ends:
        # the same edge gives the same crossings in both directions, to the last bit
        low, high = sorted([tuple(one), tuple(other)])
        first, last = max(0, int(np.ceil(low[0]))), min(n_0, int(np.ceil(high[0])))
        if first >= last:
            continue
        at = np.arange(first, last)
        crossing = low[1] + (at - low[0]) * ((high[1] - low[1]) / (high[0] - low[0]))
        column = np.clip(np.ceil(crossing), 0, n_1).astype(np.intp)
        flips[at, column] ^= 1
    return np.bitwise_xor.accumulate(flips, axis=1)[:, :n_1].astype(bool)


def crossing_pair(masks: Sequence[NDArray[np.bool_]]) -> tuple[int, int, int] | None:
    """Return two masks that overlap without one holding the other, and by how many pixels.

    None where each two are apart or one inside the other.
    """
    sizes = [int(np.count_nonzero(mask)) for mask in masks]
    for a in range(len(masks)):
        for b in range(a + 1, len(masks)):
            shared = int(np.count_nonzero(masks[a] & masks[b]))
            if 0 < shared < min(sizes[a], sizes[b]):
                return a, b, shared
    return None


def same_pair(
    polygons: Sequence[NDArray[np.float64]], masks: Sequence[NDArray[np.bool_]]
) -> tuple[int, int] | None:
    """Return two polygons of which one is the other drawn again, with other corners maybe.

    Their masks hold pixels, one all of the other's, and are equal or lie in polygons whose areas
    differ by less than a pixel: what is between them is finer than the grid.

    Parameters
    ----------
    polygons : (n, 2) corners each, in pixel indices
    masks : `inside` of each
    """
    sizes = [int(np.count_nonzero(mask)) for mask in masks]
    areas = [_area(polygon) for polygon in polygons]
    for a in range(len(masks)):
        for b in range(a + 1, len(masks)):
            smaller = min(sizes[a], sizes[b])
            near = sizes[a] == sizes[b] or abs(areas[a] - areas[b]) < 1
            if near and 0 < smaller == np.count_nonzero(masks[a] & masks[b]):
                return a, b
    return None


def _area(polygon: NDArray[np.float64]) -> float:
    """Return the area in pixels by the shoelace formula, about the first corner for precision."""
    x, y = (polygon - polygon[0]).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
