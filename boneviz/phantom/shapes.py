"""Smooth solids as signed distances in millimetres: negative inside, zero on the surface.

A `Shape` is a function of points and the box that holds it; a `Space` is the lattice of points
on which shapes are evaluated, each only inside its own box. Smooth minimum and the distance to
an ellipsoid follow I. Quilez, "Distance functions" (https://iquilezles.org/articles/distfunctions).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

__all__ = [
    "Field",
    "Points",
    "Shape",
    "Space",
    "Vector",
    "common",
    "cut",
    "ellipsoid",
    "loft",
    "profile",
    "sheet",
    "smooth_minimum",
    "tube",
    "union",
]

Field = NDArray[np.float32]
Points = tuple[Field, Field, Field]
Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Shape:
    """A solid: its box, and the distance of points to its surface.

    Parameters
    ----------
    low_mm, high_mm : corners of a box that holds the solid
    distance : points (x, y, z) -> signed distance, mm
    """

    low_mm: Vector
    high_mm: Vector
    distance: Callable[[Points], Field]

    def mirrored(self) -> Shape:
        """Return the shape on the other side of the plane x = 0."""
        return Shape(
            (-self.high_mm[0], self.low_mm[1], self.low_mm[2]),
            (-self.low_mm[0], self.high_mm[1], self.high_mm[2]),
            lambda p: self.distance((-p[0], p[1], p[2])),
        )

    def moved(self, by_mm: Vector) -> Shape:
        """Return the shape shifted by a vector."""
        x, y, z = by_mm
        low, high = self.low_mm, self.high_mm
        return Shape(
            (low[0] + x, low[1] + y, low[2] + z),
            (high[0] + x, high[1] + y, high[2] + z),
            lambda p: self.distance((p[0] - x, p[1] - y, p[2] - z)),
        )

    def tilted(self, degrees: float, about_mm: Vector) -> Shape:
        """Return the shape turned about the x axis through a point; positive lowers the front."""
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        _, y0, z0 = about_mm

        def distance(p: Points) -> Field:
            y, z = p[1] - y0, p[2] - z0
            turned = (p[0], (c * y - s * z + y0), (s * y + c * z + z0))
            return self.distance(_points(*turned))

        corners = np.array(np.meshgrid(*zip(self.low_mm, self.high_mm, strict=True))).reshape(3, 8)
        y, z = corners[1] - y0, corners[2] - z0
        turned = np.array([corners[0], c * y + s * z + y0, c * z - s * y + z0])
        return Shape(_vector(turned.min(axis=1)), _vector(turned.max(axis=1)), distance)

    def grown(self, mm: float) -> Shape:
        """Return the shape with its surface moved outwards by `mm` (inwards where negative)."""
        low, high = np.array(self.low_mm) - mm, np.array(self.high_mm) + mm
        return Shape(_vector(low), _vector(high), lambda p: self.distance(p) - np.float32(mm))


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Points of a lattice in the phantom's own frame, in which every patient is average.

    Parameters
    ----------
    points : x, y, z of every voxel, each (X, Y, Z), mm in the phantom's frame
    to_index : (3, 4), phantom frame -> voxel index, without the warp
    slack_mm : the most that the warp moves a point
    scale : patient millimetres per millimetre of the phantom's frame
    """

    points: Points
    to_index: NDArray[np.float64]
    slack_mm: float
    scale: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along each axis."""
        return self.points[0].shape

    def block(self, shape: Shape, reach_mm: float) -> tuple[slice, slice, slice] | None:
        """Return the voxels within `reach_mm` of the shape's box, or None where there are none."""
        reach = reach_mm / self.scale + self.slack_mm
        corners = np.array(
            np.meshgrid(
                *(
                    (lo - reach, hi + reach)
                    for lo, hi in zip(shape.low_mm, shape.high_mm, strict=True)
                )
            )
        ).reshape(3, 8)
        index = (self.to_index[:, :3, None] * corners[None]).sum(axis=1) + self.to_index[:, 3:]
        start = np.maximum(np.floor(index.min(axis=1)).astype(int), 0)
        stop = np.minimum(np.ceil(index.max(axis=1)).astype(int) + 1, self.shape)
        if (stop <= start).any():
            return None
        i, j, k = (slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))
        return i, j, k

    def distance_in(self, shape: Shape, block: tuple[slice, slice, slice]) -> Field:
        """Return the signed distance in a block, patient mm."""
        x, y, z = self.points
        return np.asarray(
            shape.distance((x[block], y[block], z[block])) * np.float32(self.scale), np.float32
        )

    def distance(self, shape: Shape, *, reach_mm: float = 12.0) -> Field:
        """Return the signed distance everywhere, patient mm; beyond `reach_mm` it is `reach_mm`."""
        out = np.full(self.shape, reach_mm, np.float32)
        block = self.block(shape, reach_mm)
        if block is not None:
            out[block] = np.minimum(self.distance_in(shape, block), np.float32(reach_mm))
        return out


def profile(knots_mm: Sequence[float], values: Sequence[float]) -> Callable[[Field], Field]:
    """Return a smooth curve through the knots without overshoot, constant beyond the ends."""
    if len(knots_mm) == 1:
        return lambda z: np.full_like(z, values[0])
    dense = np.linspace(knots_mm[0], knots_mm[-1], 24 * len(knots_mm))
    table = PchipInterpolator(knots_mm, values)(dense)
    return lambda z: np.interp(z, dense, table).astype(np.float32)


def ellipsoid(
    centre_mm: Sequence[float], radii_mm: Sequence[float], *, axes: NDArray[Any] | None = None
) -> Shape:
    """Return an ellipsoid; the rows of `axes` are the unit directions of its radii."""
    cx, cy, cz = (float(c) for c in centre_mm)
    radii = np.asarray(radii_mm, np.float32)
    frame = np.eye(3) if axes is None else np.asarray(axes, np.float64)
    half = np.sqrt(((frame * radii[:, None]) ** 2).sum(axis=0))

    def distance(p: Points) -> Field:
        q = (p[0] - np.float32(cx), p[1] - np.float32(cy), p[2] - np.float32(cz))
        if axes is not None:
            q = _points(*(a[0] * q[0] + a[1] * q[1] + a[2] * q[2] for a in frame))
        near = np.sqrt(sum((q[i] / radii[i]) ** 2 for i in range(3)))
        slope = np.sqrt(sum((q[i] / radii[i] ** 2) ** 2 for i in range(3)))
        d = np.where(near > 1e-3, near * (near - 1) / np.maximum(slope, 1e-6), -radii.min())
        return np.asarray(d, np.float32)

    centre = np.array([cx, cy, cz])
    return Shape(_vector(centre - half), _vector(centre + half), distance)


def tube(path_mm: Sequence[Sequence[float]], radii_mm: float | Sequence[float]) -> Shape:
    """Return a round tube along a path, with one radius or one for each point of the path."""
    path = np.asarray(path_mm, np.float64)
    radii = np.broadcast_to(np.asarray(radii_mm, np.float64), len(path))

    def distance(p: Points) -> Field:
        best: Field | None = None
        for a, b, ra, rb in zip(path[:-1], path[1:], radii[:-1], radii[1:], strict=True):
            u = (b - a).astype(np.float32)
            q = [p[i] - np.float32(a[i]) for i in range(3)]
            t = np.clip((q[0] * u[0] + q[1] * u[1] + q[2] * u[2]) / np.float32(u @ u), 0, 1)
            d = np.sqrt(sum((q[i] - t * u[i]) ** 2 for i in range(3)))
            d -= np.float32(ra) + t * np.float32(rb - ra)
            best = d if best is None else smooth_minimum(best, d, 1.5)
        if best is None:
            raise ValueError("a tube needs a path of two points")
        return best

    low = (path - radii[:, None]).min(axis=0)
    high = (path + radii[:, None]).max(axis=0)
    return Shape(_vector(low), _vector(high), distance)


def sheet(levels: Mapping[float, Sequence[Vector]]) -> Shape:
    """Return a curved plate given by its cross-sections.

    Parameters
    ----------
    levels : height z -> points (x, y, half thickness) of the plate's line in that axial plane,
        the same number at every height; between heights the points move smoothly
    """
    knots = sorted(levels)
    table = _rounded(np.array([levels[z] for z in knots], np.float64))  # (levels, points, 3)
    curves = [
        [profile(knots, table[:, n, c].tolist()) for c in range(3)] for n in range(table.shape[1])
    ]
    middle, half = (knots[0] + knots[-1]) / 2, (knots[-1] - knots[0]) / 2

    def distance(p: Points) -> Field:
        nodes = [[curve(p[2]) for curve in node] for node in curves]
        best: Field | None = None
        for (ax, ay, ar), (bx, by, br) in pairwise(nodes):
            ux, uy, qx, qy = bx - ax, by - ay, p[0] - ax, p[1] - ay
            t = np.clip((qx * ux + qy * uy) / np.maximum(ux**2 + uy**2, 1e-3), 0, 1)
            d = np.sqrt((qx - t * ux) ** 2 + (qy - t * uy) ** 2) - (ar + t * (br - ar))
            best = d if best is None else smooth_minimum(best, d, 1.5)
        if best is None:
            raise ValueError("a sheet needs two points at every height")
        return -smooth_minimum(-best, half - np.abs(p[2] - middle), 4.0)

    low = (table[..., :2] - table[..., 2:]).min(axis=(0, 1))
    high = (table[..., :2] + table[..., 2:]).max(axis=(0, 1))
    return Shape((low[0], low[1], knots[0]), (high[0], high[1], knots[-1]), distance)


def loft(
    levels: Mapping[float, tuple[float, float, float, float]],
    *,
    power: float = 2.0,
    round_mm: float = 4.0,
) -> Shape:
    """Return a solid whose axial sections are ellipses, (x, y, half width, half depth) at height z.

    `power` above 2 makes the sections squarer; `round_mm` rounds the edges of its two ends.
    """
    knots = sorted(levels)
    table = np.array([levels[z] for z in knots], np.float64)
    curves = [profile(knots, table[:, c].tolist()) for c in range(4)]
    middle, half = (knots[0] + knots[-1]) / 2, (knots[-1] - knots[0]) / 2

    def distance(p: Points) -> Field:
        cx, cy, a, b = (curve(p[2]) for curve in curves)
        u, v = np.abs(p[0] - cx) / a, np.abs(p[1] - cy) / b
        near = np.maximum((u**power + v**power) ** (1 / power), 1e-3)
        slope = np.sqrt((u ** (power - 1) / a) ** 2 + (v ** (power - 1) / b) ** 2)
        slope = np.maximum(slope * near ** (1 - power), 1 / np.maximum(a, b))
        d = (near - 1) / slope
        return -smooth_minimum(-d, half - np.abs(p[2] - middle), round_mm)

    low = (table[:, :2] - table[:, 2:]).min(axis=0)
    high = (table[:, :2] + table[:, 2:]).max(axis=0)
    return Shape((low[0], low[1], knots[0]), (high[0], high[1], knots[-1]), distance)


def union(*shapes: Shape, blend_mm: float = 0.0) -> Shape:
    """Return the solids as one, their seams filleted over `blend_mm`."""

    def distance(p: Points) -> Field:
        best = shapes[0].distance(p)
        for shape in shapes[1:]:
            best = smooth_minimum(best, shape.distance(p), blend_mm)
        return best

    low = np.min([s.low_mm for s in shapes], axis=0)
    high = np.max([s.high_mm for s in shapes], axis=0)
    return Shape(_vector(low), _vector(high), distance)


def cut(shape: Shape, *tools: Shape, blend_mm: float = 0.0) -> Shape:
    """Return the solid without what the tools cover."""

    def distance(p: Points) -> Field:
        d = shape.distance(p)
        for tool in tools:
            d = -smooth_minimum(-d, tool.distance(p), blend_mm)
        return d

    return Shape(shape.low_mm, shape.high_mm, distance)


def common(shape: Shape, other: Shape, *, blend_mm: float = 0.0) -> Shape:
    """Return what both solids cover."""
    low = np.maximum(shape.low_mm, other.low_mm)
    high = np.minimum(shape.high_mm, other.high_mm)
    return Shape(
        _vector(low),
        _vector(high),
        lambda p: -smooth_minimum(-shape.distance(p), -other.distance(p), blend_mm),
    )


def smooth_minimum(a: Field, b: Field, blend_mm: float) -> Field:
    """Return the smaller of two fields, rounded where they differ by less than `blend_mm`."""
    low = np.minimum(a, b)
    if blend_mm <= 0:
        return low
    k = np.float32(blend_mm)
    near = np.maximum(k - np.abs(a - b), 0) / k
    return np.asarray(low - near * near * (k / 4), np.float32)


def _rounded(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cut the corners of polylines (levels, points, 3) once, after G. Chaikin; ends stay."""
    if table.shape[1] < 3:
        return table
    a, b = table[:, :-1], table[:, 1:]
    pairs = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=2)
    inner = pairs.reshape(len(table), -1, 3)[:, 1:-1]
    return np.concatenate([table[:, :1], inner, table[:, -1:]], axis=1)


def _points(x: Any, y: Any, z: Any) -> Points:
    return np.asarray(x, np.float32), np.asarray(y, np.float32), np.asarray(z, np.float32)


def _vector(values: Any) -> Vector:
    x, y, z = (float(v) for v in values)
    return x, y, z
