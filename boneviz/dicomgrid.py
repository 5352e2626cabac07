"""Where the slices of a series lie: their order and their `Grid`, or why they make no volume.

Positions along the slices' common normal decide, never SliceThickness, InstanceNumber or names
of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneviz.dicombytes import tag_of
from boneviz.dicomheader import FileHeader, Slice
from boneviz.errors import GridError
from boneviz.lps import flipped
from boneviz.volume import Grid

__all__ = ["Place", "grid_of"]

POSITION = tag_of("ImagePositionPatient")
ORIENTATION = tag_of("ImageOrientationPatient")
SPACING = tag_of("PixelSpacing")

#: two slices nearer than this lie at one place
APART_MM = 0.01
#: a slice may lie this far from its place on an even lattice, or a tenth of the distance if less:
#: positions are written with one decimal by some scanners
UNEVEN_MM = 0.1
UNEVEN_SHARE = 0.1
#: slices may be displaced sideways by this share of the distance between them (0.06 degrees)
SIDEWAYS_SHARE = 0.001
SIDEWAYS_MM = 0.1
DIRECTION = 1e-4
SPACING_SHARE = 1e-4


@dataclass(frozen=True, slots=True)
class Place:
    """One slice of the volume: which frame of which file."""

    file: FileHeader
    slice: Slice


def grid_of(files: Sequence[FileHeader]) -> tuple[Grid, tuple[Place, ...]]:
    """Return the grid of a series and its slices in the order of the third array axis.

    Arrays are ``(column index, row index, slice)``, slices along the cross product of the two
    directions of ImageOrientationPatient; a slice may lie 0.1 mm or a tenth of the distance between
    slices, whichever is less, off its place on an even lattice.

    Raises
    ------
    GridError
        Geometry is missing or contradicts itself, or the slices make no volume: gantry tilt,
        missing slices, two slices at one place, mixed orientations, sizes, pixel spacings or
        frames of reference, uneven distances, one slice alone.
    """
    places = [Place(file, each) for file in files for each in file.slices]
    _require_geometry(places)
    _require_one(places)
    first = places[0].slice
    row, column = _directions(first)
    normal = np.cross(row, column)
    positions = np.array([place.slice.position for place in places], dtype=np.float64)
    along_mm = positions @ normal
    order = np.argsort(along_mm, kind="stable")
    along_mm, positions = along_mm[order], positions[order]
    _require_apart(along_mm)
    _require_upright(positions, along_mm, normal)
    _require_even(along_mm)
    between_rows_mm, between_columns_mm = first.spacing_mm or (0.0, 0.0)
    affine_lps = np.eye(4)
    affine_lps[:3, 0] = row * between_columns_mm
    affine_lps[:3, 1] = column * between_rows_mm
    # along the normal, which the slices follow up to the tolerance
    affine_lps[:3, 2] = normal * (along_mm[-1] - along_mm[0]) / (len(places) - 1)
    affine_lps[:3, 3] = positions[0]
    pixels = places[0].file.pixels
    grid = Grid(
        (pixels.columns, pixels.rows, len(places)),
        flipped(affine_lps),
        places[0].file.frame_of_reference_uid,
    )
    return grid, tuple(places[n] for n in order)


def _require_geometry(places: Sequence[Place]) -> None:
    if not places:
        raise GridError(
            "no frame with a place: expected one item of PerFrameFunctionalGroupsSequence "
            "(5200,9230) per frame; export the series anew"
        )
    for place in places:
        each = place.slice
        lacking = [
            name
            for name, value in (
                (POSITION, each.position),
                (ORIENTATION, each.row),
                (SPACING, each.spacing_mm),
            )
            if value is None
        ]
        if lacking:
            raise GridError(
                f"{place.file.path}: {' and '.join(lacking)} absent or not numbers: where the "
                "slice lies is not known; export the series anew"
            )
        assert each.spacing_mm is not None
        if min(each.spacing_mm) <= 0:
            raise GridError(
                f"{place.file.path}: {SPACING} is {each.spacing_mm[0]:g} x {each.spacing_mm[1]:g} "
                "mm: expected two numbers above 0; correct it at its source"
            )
        row, column = np.array(each.row), np.array(each.column)
        lengths = np.linalg.norm(row), np.linalg.norm(column)
        if max(abs(n - 1) for n in lengths) > 1e-3 or abs(float(row @ column)) > 1e-3:
            raise GridError(
                f"{place.file.path}: {ORIENTATION} holds directions of length {lengths[0]:.4f} and "
                f"{lengths[1]:.4f} with product {float(row @ column):.4f}: expected two "
                "perpendicular unit vectors; correct it at its source"
            )


def _require_one(places: Sequence[Place]) -> None:
    """Refuse slices that differ in anything but their position."""
    sizes = sorted({(p.file.pixels.columns, p.file.pixels.rows) for p in places})
    if len(sizes) > 1:
        listed = ", ".join(f"{x}x{y}" for x, y in sizes[:6])
        raise GridError(f"slices of {len(sizes)} sizes ({listed} pixels): expected one; {_SPLIT}")
    spacings = np.array([p.slice.spacing_mm for p in places])
    if np.ptp(spacings, axis=0).max() > SPACING_SHARE * spacings.max():
        low, high = spacings.min(axis=0), spacings.max(axis=0)
        raise GridError(
            f"{SPACING} from {low[0]:g} x {low[1]:g} to {high[0]:g} x {high[1]:g} mm within one "
            f"series: expected one; {_SPLIT}"
        )
    directions = np.array([(*(p.slice.row or ()), *(p.slice.column or ())) for p in places])
    apart = np.abs(directions - directions[0]).max(axis=1)
    if apart.max() > DIRECTION:
        raise GridError(
            f"{int((apart > DIRECTION).sum())} of {len(places)} slices have another {ORIENTATION} "
            f"than the first, by up to {apart.max():.4f}: expected one orientation; {_SPLIT}"
        )
    frames = {p.file.frame_of_reference_uid for p in places}
    if len(frames) > 1:
        raise GridError(
            f"slices of {len(frames)} frames of reference "
            f"({tag_of('FrameOfReferenceUID')}): expected one; {_SPLIT}"
        )
    if len(places) == 1:
        raise GridError(
            "one slice alone: the distance between slices is not known, expected two or more; "
            "export the whole series"
        )


def _directions(each: Slice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    row, column = np.array(each.row, dtype=np.float64), np.array(each.column, dtype=np.float64)
    return row / np.linalg.norm(row), column / np.linalg.norm(column)


def _require_apart(along_mm: NDArray[np.float64]) -> None:
    gaps_mm = np.diff(along_mm)
    if gaps_mm.min() >= APART_MM:
        return
    at_mm = along_mm[int(np.argmin(gaps_mm))]
    here = int((np.abs(along_mm - at_mm) < APART_MM).sum())
    raise GridError(
        f"{here} slices at one place, {at_mm:.2f} mm along their normal, of {len(along_mm)} at "
        f"{int((gaps_mm >= APART_MM).sum()) + 1} places by {POSITION}: expected one at each; "
        "several phases, times or reconstructions in one series must be exported one by one"
    )


def _require_upright(
    positions: NDArray[np.float64], along_mm: NDArray[np.float64], normal: NDArray[np.float64]
) -> None:
    extent_mm = along_mm[-1] - along_mm[0]
    offsets = positions - positions[0]
    sideways = offsets - np.outer(along_mm - along_mm[0], normal)
    shifts_mm = np.linalg.norm(sideways, axis=1)
    if shifts_mm.max() <= max(SIDEWAYS_MM, SIDEWAYS_SHARE * extent_mm):
        return
    # a tilted gantry shifts every slice by the same amount
    even = np.outer(np.linspace(0, 1, len(along_mm)), sideways[-1])
    if np.linalg.norm(sideways - even, axis=1).max() <= max(SIDEWAYS_MM, 0.05 * shifts_mm.max()):
        degrees = np.rad2deg(np.arctan2(shifts_mm[-1], extent_mm))
        raise GridError(
            f"gantry tilt of {degrees:.1f} degrees: {POSITION} moves {shifts_mm[-1]:.2f} mm "
            f"sideways over {extent_mm:.2f} mm along the slices' normal, expected none; "
            "export a reconstruction without tilt"
        )
    raise GridError(
        f"slices displaced sideways by up to {shifts_mm.max():.2f} mm ({POSITION}) over "
        f"{extent_mm:.2f} mm, expected none; the series mixes stacks, export them one by one"
    )


def _require_even(along_mm: NDArray[np.float64]) -> None:
    gaps_mm = np.diff(along_mm)
    step_mm = float(np.median(gaps_mm))
    tolerance_mm = min(UNEVEN_MM, UNEVEN_SHARE * step_mm)
    lattice = np.linspace(along_mm[0], along_mm[-1], len(along_mm))
    off_mm = np.abs(along_mm - lattice)
    if off_mm.max() <= tolerance_mm:
        return
    counts = np.rint(gaps_mm / step_mm)
    whole = np.abs(gaps_mm - counts * step_mm) <= 2 * tolerance_mm
    if whole.all() and counts.max() >= 2:
        missing = int((counts - 1).sum())
        at = int(np.argmax(counts))
        raise GridError(
            f"{missing} slice{'s' * (missing > 1)} missing: {gaps_mm[at]:.3f} mm between those at "
            f"{along_mm[at]:.3f} and {along_mm[at + 1]:.3f} mm along their normal ({POSITION}), "
            f"{step_mm:.3f} mm between others; export the whole series"
        )
    raise GridError(
        f"uneven distances of {gaps_mm.min():.3f} to {gaps_mm.max():.3f} mm between slices "
        f"({POSITION}), up to {off_mm.max():.3f} mm off an even lattice, at most "
        f"{tolerance_mm:.3f} mm expected; export an evenly spaced reconstruction"
    )


_SPLIT = "the series mixes several, export them one by one"
