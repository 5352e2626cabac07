"""CT, PET and masks of one case onto one straight RAS grid, with the target stated.

The target is the CT's own lattice by default, or both resampled onto a stated spacing. PET and CT
are interpolated linearly; masks are only ever taken by nearest neighbour, and only towards a
stated spacing, where the case's notes give the volume before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneviz.case import Case, Reader
from boneviz.errors import GridError, InputError
from boneviz.volume import MOST_VOXELS, Grid, Volume

__all__ = ["faces_mm", "harmonise", "onto_straight", "resample", "spaced", "straighten", "to_ras"]

AIR_HU = -1024.0


def harmonise(case: Case, *, spacing_mm: Sequence[float] | None = None) -> Case:
    """Bring CT, PET and masks onto one straight RAS grid.

    Parameters
    ----------
    case : CT, PET and masks; masks must lie on the CT's grid
    spacing_mm : three voxel sizes; by default the CT keeps its own lattice, only its axes are
        put in the order R, A, S (an oblique CT is resampled to its finest spacing, and the notes
        say so)

    Returns
    -------
    Case
        On one grid, with a note for each thing that was done. A case already there comes back
        as it is.

    Raises
    ------
    GridError
        A mask lies on another grid than the CT, or PET and CT do not overlap.
    InputError
        A spacing that is not three positive numbers.
    """
    ct, masks, notes = _ct_and_masks(case, spacing_mm)
    pet = case.pet
    if not pet.grid.matches(ct.grid):
        _require_overlap(case)
        spacing = " x ".join(f"{s:.3g}" for s in pet.grid.spacing_mm)
        pet = resample(pet, ct.grid)
        notes.append(f"PET resampled linearly from {spacing} mm")
    return replace(case, ct=ct, pet=pet, masks=masks, notes=tuple(notes))


def straighten(case: Case) -> Case:
    """Put CT, PET and masks on straight RAS axes, each keeping its own voxels where it can.

    Nothing is resampled but what lies obliquely: an oblique CT as in `harmonise`, an oblique PET
    linearly onto straight axes of its finest spacing. For viewers that interpolate by themselves.

    Raises
    ------
    GridError
        A mask lies on another grid than the CT, or PET and CT do not overlap.
    """
    ct, masks, notes = _ct_and_masks(case, None)
    _require_overlap(case)
    pet = to_ras(case.pet)
    if not pet.grid.is_straight:
        pet = resample(pet, spaced(pet.grid, [min(pet.grid.spacing_mm)] * 3))
        notes.append("the PET's grid is oblique: resampled linearly to straight RAS axes")
    return replace(case, ct=ct, pet=pet, masks=masks, notes=tuple(notes))


def onto_straight(probability: Volume, target: Grid) -> Volume:
    """Return a probability on the CT's grid beside the masks of a straightened case.

    It goes the way of the masks, by nearest neighbour where the CT lies obliquely, so that a
    threshold finds the same voxels before and after.

    Parameters
    ----------
    target : the CT's grid after `straighten`
    """
    volume = to_ras(probability)
    if volume.grid.matches(target):
        return volume
    return Volume(_nearest(volume.array, volume.grid, target), target, volume.unit)


def to_ras(volume: Volume) -> Volume:
    """Reorder and flip axes so that they run closest to R, A, S; no voxel value changes."""
    now = nib.orientations.io_orientation(volume.grid.affine_ras_mm)
    ras = nib.orientations.axcodes2ornt("RAS")
    change = nib.orientations.ornt_transform(now, ras)
    if np.array_equal(change, [[0, 1], [1, 1], [2, 1]]):
        return volume
    array = nib.orientations.apply_orientation(volume.array, change)
    affine = volume.grid.affine_ras_mm @ nib.orientations.inv_ornt_aff(change, volume.grid.shape)
    x, y, z = array.shape
    grid = Grid((x, y, z), affine, volume.grid.frame_of_reference_uid)
    return Volume(np.ascontiguousarray(array), grid, volume.unit)


def spaced(grid: Grid, spacing_mm: Sequence[float]) -> Grid:
    """Return a straight RAS grid of the given spacing over the same field of view.

    The field of view is the box around the voxels' outer faces, so that no edge voxel is lost.

    Raises
    ------
    InputError
        A spacing that is not three positive numbers.
    GridError
        More than 2^30 voxels.
    """
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    if spacing.shape != (3,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        raise InputError(f"spacing {list(spacing_mm)} mm: expected three positive numbers")
    faces = faces_mm(grid)
    low, high = faces.min(axis=0), faces.max(axis=0)
    sides = np.maximum(1, np.ceil((high - low) / spacing - 1e-6))
    if sides.prod() > MOST_VOXELS:
        raise GridError(
            f"{' x '.join(f'{n:.0f}' for n in sides)} voxels of the spacing "
            f"{' x '.join(f'{s:.3g}' for s in spacing)} mm over {grid.describe()}, expected at "
            f"most {MOST_VOXELS}; take a larger spacing"
        )
    shape = sides.astype(int)
    # the new box is centred on the old one, so that rounding up adds the same on both sides
    origin = (low + high) / 2 - (shape - 1) / 2 * spacing
    return Grid.straight(
        shape.tolist(),
        spacing.tolist(),
        origin.tolist(),
        frame_of_reference_uid=grid.frame_of_reference_uid,
    )


def resample(volume: Volume, target: Grid) -> Volume:
    """Resample onto another grid: labels by nearest neighbour, all else linearly.

    Outside the source CT is air (-1024 HU), everything else 0. Where the target is coarser than
    the source, the source is smoothed first (Gaussian, half the ratio of spacings less one) so
    that fine noise does not alias; labels are not.
    """
    to_source = np.linalg.inv(volume.grid.affine_ras_mm) @ target.affine_ras_mm
    if volume.unit == "label":
        array = _nearest(volume.array.astype(np.uint8), volume.grid, target)
        return Volume(array.astype(bool), target, "label")
    source: NDArray[Any] = volume.array.astype(np.float32)
    steps = np.abs(to_source[:3, :3]).max(axis=1)
    if (steps > 1.25).any():
        sigma = np.where(steps > 1.25, (steps - 1) / 2, 0)
        source = ndimage.gaussian_filter(source, sigma, mode="nearest", truncate=3)
    outside = AIR_HU if volume.unit == "HU" else 0.0
    # edge values hold for up to one voxel beyond the outermost centres, then it is outside
    array = ndimage.affine_transform(
        np.pad(source, 1, mode="edge"),
        to_source[:3, :3],
        to_source[:3, 3] + 1,
        output_shape=target.shape,
        order=1,
        mode="constant",
        cval=outside,
    )
    if volume.unit == "probability":
        array = array.clip(0, 1)
    return Volume(array, target, volume.unit)


def _nearest(array: NDArray[Any], grid: Grid, target: Grid) -> NDArray[Any]:
    to_source = np.linalg.inv(grid.affine_ras_mm) @ target.affine_ras_mm
    nearest: NDArray[Any] = ndimage.affine_transform(
        array,
        to_source[:3, :3],
        to_source[:3, 3],
        output_shape=target.shape,
        order=0,
        # a voxel reaches half a spacing beyond its centre, at the volume's edge as anywhere
        mode="grid-constant",
    )
    return nearest


def _ct_and_masks(
    case: Case, spacing_mm: Sequence[float] | None
) -> tuple[Volume, dict[Reader, Volume], list[str]]:
    """Bring CT and masks onto straight RAS axes, and say what was done."""
    for reader, mask in case.masks.items():
        if not mask.grid.matches(case.ct.grid):
            raise GridError(
                f"patient {case.case_id}: mask of {reader.name} on {mask.grid.describe()}, "
                f"expected the CT's grid, {case.ct.grid.describe()}; "
                "resample the mask at its source with nearest neighbour"
            )
    notes = list(case.notes)
    ct = to_ras(case.ct)
    masks = {reader: to_ras(mask) for reader, mask in case.masks.items()}
    if case.ct.grid.orientation != "RAS":
        notes.append(f"axes reordered from {case.ct.grid.orientation} to RAS, without resampling")

    target = ct.grid
    if spacing_mm is not None:
        target = spaced(ct.grid, spacing_mm)
    elif not ct.grid.is_straight:
        target = spaced(ct.grid, [min(ct.grid.spacing_mm)] * 3)
        notes.append("the CT's grid is oblique: CT and masks resampled to straight RAS axes")
    if not target.matches(ct.grid):
        size = " x ".join(f"{s:.3g}" for s in target.spacing_mm)
        ct = resample(ct, target)
        notes.append(f"CT resampled linearly to {size} mm")
        for reader, mask in masks.items():
            masks[reader] = resample(mask, target)
            notes.append(
                f"mask of {reader.name} resampled by nearest neighbour: "
                f"{mask.volume_ml:.2f} mL before, {masks[reader].volume_ml:.2f} mL after"
            )
    return ct, masks, notes


def _require_overlap(case: Case) -> None:
    ct, pet = faces_mm(case.ct.grid), faces_mm(case.pet.grid)
    low = np.maximum(ct.min(axis=0), pet.min(axis=0))
    high = np.minimum(ct.max(axis=0), pet.max(axis=0))
    if (low >= high).any():
        raise GridError(
            f"patient {case.case_id}: PET on {case.pet.grid.describe()} does not overlap the CT "
            f"on {case.ct.grid.describe()}; they belong to different scans or frames of reference"
        )


def faces_mm(grid: Grid) -> NDArray[np.float64]:
    """Return the eight corners of the box that the voxels fill, half a voxel beyond the centres."""
    ends = [(-0.5, n - 0.5) for n in grid.shape]
    return grid.to_mm(np.array(np.meshgrid(*ends)).reshape(3, 8).T)
