"""What PET and CT show inside an outline: SUV and HU at its voxels, SUVpeak, glycolysis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from boneviz.case import Case
from boneviz.harmonise import resample
from boneviz.metrics import Voxels
from boneviz.volume import Grid, Volume

__all__ = ["Content", "Uptake", "content_of", "pet_in_box", "sphere_weights", "uptake_at"]

PEAK_ML = 1.0
PEAK_RADIUS_MM = (3000 * PEAK_ML / (4 * math.pi)) ** (1 / 3)  # 6.2 mm
SUBDIVISION_MM = 0.2  # of a voxel's sides, for the part of it that lies in the sphere
MOST_SUBDIVISIONS = 12
TILE = 64  # voxels a side: what is looked at in one go


@dataclass(frozen=True, slots=True, eq=False)
class Uptake:
    """What PET and CT measure at the voxels of an outline, in their order.

    Parameters
    ----------
    suv : (n,) SUVbw, NaN where a voxel lies outside the PET's field of view, and everywhere where
        the PET is in counts
    suv_peak : (n,) mean SUVbw of the 1 mL sphere around each voxel, NaN as `suv` is
    hu : (n,) HU
    has_suv : whether the PET is in SUVbw
    """

    suv: NDArray[np.float64]
    suv_peak: NDArray[np.float64]
    hu: NDArray[np.float64]
    has_suv: bool = True


@dataclass(frozen=True, slots=True)
class Content:
    """What PET and CT show inside one outline.

    Parameters
    ----------
    suv_max, suv_mean : SUVbw of its voxels
    suv_peak : highest mean SUVbw of a 1 mL sphere around any voxel of the outline
    tlg_ml : total lesion glycolysis, SUVmean times volume, mL
    hu_mean : mean HU of its voxels

    All are NaN where the outline is empty, but for `tlg_ml`, which is 0. What comes from the PET
    is NaN where a voxel of the outline lies outside the PET's field of view, and always where the
    PET is in counts.
    """

    suv_max: float
    suv_mean: float
    suv_peak: float
    tlg_ml: float
    hu_mean: float


def content_of(uptake: Uptake, rows: NDArray[np.intp], *, voxel_ml: float) -> Content:
    """Sum up the voxels in `rows` of an uptake, all of one outline."""
    if not rows.size:
        return Content(math.nan, math.nan, math.nan, 0.0 if uptake.has_suv else math.nan, math.nan)
    suv = uptake.suv[rows]
    return Content(
        suv_max=float(suv.max()),
        suv_mean=float(suv.mean()),
        suv_peak=float(uptake.suv_peak[rows].max()),
        tlg_ml=float(suv.sum()) * voxel_ml,
        hu_mean=float(uptake.hu[rows].mean()),
    )


def uptake_at(case: Case, voxels: Voxels) -> Uptake:
    """Measure PET and CT at voxels of the CT's grid; of a PET in counts nothing is measured.

    A PET on another grid is read as `harmonise` would put it onto the CT's, around the voxels
    alone. SUVpeak follows Wahl et al., "From RECIST to PERCIST", J Nucl Med 2009 (a sphere of 1 mL,
    here around every voxel of the outline, not only around the hottest), with every voxel
    weighted by the part of it that lies within the sphere; of a sphere that leaves the PET's
    field of view, the part inside counts.
    """
    n = len(voxels)
    hu = case.ct.array[tuple(voxels.index.T)].astype(np.float64)
    if not case.has_suv:  # counts say where it is hotter, and nothing that is comparable
        nothing = np.full(n, math.nan)
        return Uptake(nothing, nothing, hu, has_suv=False)
    suv, peak = np.full(n, math.nan), np.full(n, math.nan)
    weights = sphere_weights(case.ct.grid.spacing_mm)
    reach = (np.array(weights.shape) - 1) // 2
    index = voxels.index
    # tile by tile: neither a thousand specks nor one lesion from head to foot takes long or much
    tile = np.ravel_multi_index(tuple((index // TILE).T), [n // TILE + 1 for n in voxels.shape])
    for rows in _groups(tile):
        here = index[rows]
        lower, upper = here.min(axis=0) - reach, here.max(axis=0) + reach
        box, seen = pet_in_box(case.pet, case.ct.grid, lower, upper)
        at = tuple((here - lower).T)
        inside = seen[at]
        total = fftconvolve(np.where(seen, box, 0.0), weights, mode="same")[at]
        # all of the sphere is seen but at the edge of the field of view
        part = weights.sum()
        if not seen.all():
            part = fftconvolve(seen.astype(np.float64), weights, mode="same")[at]
        with np.errstate(invalid="ignore", divide="ignore"):
            suv[rows] = np.where(inside, box[at], math.nan)
            peak[rows] = np.where(inside, total / part, math.nan)
    return Uptake(suv, peak, hu)


@lru_cache(maxsize=16)
def sphere_weights(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the part of each voxel that lies in a 1 mL sphere around the middle one.

    The array has odd sides, reaches as far as the sphere does, and is read-only.
    """
    sides, parts = [], []
    for step in spacing_mm:
        reach = math.ceil(PEAK_RADIUS_MM / step - 0.5)
        fine = min(MOST_SUBDIVISIONS, max(2, math.ceil(step / SUBDIVISION_MM)))
        n = (2 * reach + 1) * fine
        sides.append(((np.arange(n) + 0.5) / fine - reach - 0.5) * step)
        parts += [2 * reach + 1, fine]
    x, y, z = (side**2 for side in sides)
    inside = x[:, None, None] + y[:, None] <= PEAK_RADIUS_MM**2 - z
    weights = inside.reshape(parts).mean(axis=(1, 3, 5))
    weights.setflags(write=False)
    return np.asarray(weights)


def _groups(number: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the rows of each number that occurs."""
    if not number.size:
        return []
    order = np.argsort(number, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(number[order])) + 1)


def pet_in_box(
    pet: Volume, grid: Grid, lower: NDArray[np.int64], upper: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the PET in a box of a grid, and which of it the PET sees.

    Parameters
    ----------
    pet : on any grid, read as `harmonise` would put it onto `grid`
    lower, upper : (3,) first and last index of the box, which may reach beyond the grid

    Returns
    -------
    Two arrays of the box's shape: in the PET's unit, 0 where the PET sees nothing, and whether it
    does.
    """
    shape = tuple((upper - lower + 1).tolist())
    if pet.grid.matches(grid):
        box, seen = np.zeros(shape), np.zeros(shape, dtype=bool)
        first = np.maximum(lower, 0)
        last = np.minimum(upper, np.array(grid.shape) - 1)
        source = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
        target = tuple(slice(a, b + 1) for a, b in zip(first - lower, last - lower, strict=True))
        box[target], seen[target] = pet.array[source], True
        return box, seen
    affine = grid.affine_ras_mm.copy()
    affine[:3, 3] = grid.to_mm(lower)
    around = Grid(shape, affine)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    place = pet.grid.to_index(around.to_mm(index))
    seen = np.all((place >= -0.5) & (place <= np.array(pet.grid.shape) - 0.5), axis=-1)
    if not seen.any():
        return np.zeros(shape), seen
    return resample(_crop(pet, place), around).array.astype(np.float64), seen


def _crop(volume: Volume, place: NDArray[np.float64]) -> Volume:
    """Return the part of a volume that resampling at these fractional indices can reach."""
    # linear interpolation reaches one voxel, smoothing for a coarser target three widths further
    step = max(np.abs(np.diff(place, axis=axis)).max(initial=1.0) for axis in range(3))
    margin = 2 + math.ceil(1.5 * step)
    flat = place.reshape(-1, 3)
    last = np.array(volume.grid.shape) - 1
    lower = np.clip(np.floor(flat.min(axis=0)).astype(int) - margin, 0, last)
    upper = np.clip(np.ceil(flat.max(axis=0)).astype(int) + margin, 0, last)
    affine = volume.grid.affine_ras_mm.copy()
    affine[:3, 3] = volume.grid.to_mm(lower)
    array = volume.array[tuple(slice(a, b + 1) for a, b in zip(lower, upper, strict=True))]
    return Volume(array, Grid(array.shape, affine), volume.unit)
