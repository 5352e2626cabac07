"""Planes of a multi-frame object as one regular lattice of voxels, or refused with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneviz.errors import GridError
from boneviz.lps import flipped
from boneviz.volume import MOST_VOXELS, Grid

__all__ = ["Planes", "lattice"]

# planes closer than this are one plane of several segments
SAME_PLANE_MM = 0.01
TOLERANCE_MM = 0.1
FARTHEST_MM = 1e5


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Where frames lie, as DICOM says it.

    Parameters
    ----------
    positions_lps_mm : (n, 3) centre of the first pixel of each frame, at least one
    orientation : directions of growing column and of growing row index, LPS, six numbers
    pixel_mm : spacing between rows, between columns
    rows, columns : size of each frame
    step_mm : spacing between slices where stated; it matters only where planes are left out
    thickness_mm : slice thickness where stated; it matters only where there is one plane
    """

    positions_lps_mm: NDArray[np.float64]
    orientation: Sequence[float]
    pixel_mm: tuple[float, float]
    rows: int
    columns: int
    step_mm: float | None = None
    thickness_mm: float | None = None


def lattice(
    planes: Planes, *, frame_of_reference_uid: str | None = None
) -> tuple[Grid, NDArray[np.intp]]:
    """Return the grid that the planes lie on, and the slice of it that each frame is.

    The grid's axes are columns, rows, slices, the slices along the cross product of the other
    two. Slices between the outermost planes that have no frame are part of the grid. Positions
    decide: the distance of neighbouring slices is the stated one where all positions fit it
    within 0.1 mm, else the smallest distance of two planes.

    Raises
    ------
    GridError
        Directions that are no right angle, spacings not above 0, a plane beside the line through
        the first one along the normal (a tilt), uneven distances, one plane without a
        thickness, or more than 2**30 voxels.
    """
    row, column = np.asarray(planes.orientation, dtype=np.float64).reshape(2, 3)
    lengths, dot = np.linalg.norm([row, column], axis=1), float(row @ column)
    if np.abs(lengths - 1).max() > 1e-3 or abs(dot) > 1e-3:
        raise GridError(
            f"ImageOrientationPatient (0020,0037) has lengths {lengths[0]:.4g} and "
            f"{lengths[1]:.4g} and a dot product of {dot:.4g}, expected 1, 1 and 0"
        )
    if min(planes.pixel_mm) <= 0:
        raise GridError(
            f"PixelSpacing (0028,0030) is {planes.pixel_mm[0]:g}, {planes.pixel_mm[1]:g} mm, "
            "expected two numbers above 0"
        )
    if np.abs(planes.positions_lps_mm).max() > FARTHEST_MM:
        raise GridError(
            f"ImagePositionPatient (0020,0032) reaches {np.abs(planes.positions_lps_mm).max():.3g} "
            f"mm, at most {FARTHEST_MM:g} mm expected; the file is damaged"
        )
    normal = np.cross(row, column)
    away = planes.positions_lps_mm - planes.positions_lps_mm[0]
    along = away @ normal
    beside = np.linalg.norm(away - along[:, None] * normal, axis=1)
    if beside.max() > TOLERANCE_MM:
        raise GridError(
            f"frame {int(beside.argmax()) + 1} lies {beside.max():.2f} mm beside the line of the "
            f"others, at most {TOLERANCE_MM} mm expected: slices are tilted or shifted against "
            "one another, which is no regular grid; resample them at their source"
        )
    order = np.argsort(along, kind="stable")
    gaps = np.diff(along[order])
    # the plane of each frame in ascending order, frames of one plane together
    plane_of = np.concatenate([[0], np.cumsum(gaps > SAME_PLANE_MM)])
    centres = np.array([along[order][plane_of == p].mean() for p in range(plane_of[-1] + 1)])
    steps, step = _steps(centres, planes)
    n_slices = int(steps[-1]) + 1
    if planes.rows * planes.columns * n_slices > MOST_VOXELS:
        raise GridError(
            f"{planes.columns} x {planes.rows} pixels on {n_slices} slices, at most {MOST_VOXELS} "
            "voxels are read; the positions in the file are damaged, or it must be cropped"
        )
    affine: NDArray[Any] = np.eye(4)
    affine[:3, 0] = row * planes.pixel_mm[1]
    affine[:3, 1] = column * planes.pixel_mm[0]
    affine[:3, 2] = normal * step
    affine[:3, 3] = planes.positions_lps_mm[order[0]]
    grid = Grid((planes.columns, planes.rows, n_slices), flipped(affine), frame_of_reference_uid)
    slices = np.empty(len(order), dtype=np.intp)
    slices[order] = steps[plane_of]
    return grid, slices


def _steps(centres: NDArray[np.float64], planes: Planes) -> tuple[NDArray[np.intp], float]:
    """Return the slice of each plane, from 0, and the distance of neighbouring slices in mm."""
    if len(centres) == 1:
        thick = planes.step_mm or planes.thickness_mm
        if thick is None or not thick > 0:
            raise GridError(
                "one plane, and neither SpacingBetweenSlices (0018,0088) nor SliceThickness "
                "(0018,0050) above 0: its volume is unknown; export it with one of them"
            )
        return np.zeros(1, dtype=np.intp), float(thick)
    gaps = np.diff(centres)
    smallest = float(gaps.min())
    wrong, tolerance = "", TOLERANCE_MM
    stated = planes.step_mm
    fits = [stated] if stated and 0 < stated < smallest + TOLERANCE_MM else []
    for step in (*fits, smallest):
        # a tenth of a thin slice, so that not every distance is a multiple of it
        tolerance = min(TOLERANCE_MM, step / 10)
        # far more slices than a body has are left to the caller's cap, as whole numbers
        steps = np.concatenate([[0], np.cumsum(np.rint(np.minimum(gaps / step, 2**31)))])
        refined = float((centres[-1] - centres[0]) / steps[-1]) if steps[-1] else 0.0
        off = np.abs(centres - centres[0] - steps * refined)
        # far apart the nearest multiple of anything is near: each gap must fit by itself too
        off_gap = np.abs(gaps - np.diff(steps) * step) / np.maximum(np.diff(steps), 1)
        if refined > 0 and max(off.max(), off_gap.max()) <= tolerance:
            return steps.astype(np.intp), refined
        wrong = f"{float(gaps[off_gap.argmax()]):.3f} mm"
    raise GridError(
        f"distances of neighbouring slices from {smallest:.3f} to {float(gaps.max()):.3f} mm, of "
        f"which {wrong} is no multiple of the smallest within {tolerance:.2g} mm: no regular grid; "
        "resample them at their source"
    )
