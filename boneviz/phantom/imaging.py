"""What the scanner makes of the patient: CT noise and metal streaks, PET resolution and counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from boneviz.phantom.anatomy import Body
from boneviz.phantom.shapes import Field
from boneviz.volume import Grid, Volume

__all__ = ["METAL_HU", "PET_FWHM_MM", "pet_grid", "scan_ct", "scan_pet", "true_activity"]

METAL_HU = 3071.0
LOWEST_HU = -1024
PET_FWHM_MM = 5.0
COUNTS_PER_SUV = 12.0  # in one PET voxel; sets the noise


def scan_ct(body: Body, grid: Grid, *, noise_hu: float, rng: np.random.Generator) -> Volume:
    """Return the CT: smoothed noise of a given SD in the body, streaks from metal, 12-bit range."""
    spacing = np.array(grid.spacing_mm)
    white = rng.standard_normal(grid.shape, dtype=np.float32)
    grain = gaussian_filter(white, tuple(1.5 / spacing * (1, 1, 0.6)), truncate=2.5)
    grain *= np.float32(noise_hu) / grain.std()
    fades = np.exp(-np.maximum(body.skin_mm, 0) / np.float32(12))
    ct = body.ct + grain * fades
    metal = body.inside(body.metal_mm)
    if metal.max() > 0:
        ct += _streaks(metal, grid, rng)
        ct += metal * (METAL_HU - ct)
    return Volume(np.clip(np.rint(ct), LOWEST_HU, METAL_HU).astype(np.int16), grid, "HU")


def _streaks(metal: Field, grid: Grid, rng: np.random.Generator) -> Field:
    """Return the error that metal leaves in a filtered back-projection, slice by slice.

    Beam hardening makes a ray read too low by about the square of its length in metal, and few
    photons make it noisy. This error of every ray is ramp-filtered and back-projected.
    """
    n_angles, step = 72, min(grid.spacing_mm[:2])
    angles = np.pi * (np.arange(n_angles) + 0.5) / n_angles
    width, depth, _ = grid.shape
    x = (np.arange(width) - width / 2) * grid.spacing_mm[0]
    y = (np.arange(depth) - depth / 2) * grid.spacing_mm[1]
    n_rays = int(np.hypot(np.ptp(x), np.ptp(y)) / step) + 5
    ramp = np.abs(np.fft.rfftfreq(2 * n_rays)) * np.cos(np.pi * np.fft.rfftfreq(2 * n_rays) / 1.2)
    out = np.zeros(grid.shape, np.float32)
    for k in np.flatnonzero(metal.any(axis=(0, 1))):
        i, j = np.nonzero(metal[:, :, k] > 0.02)
        amount = metal[i, j, k] * step
        total = np.zeros((width, depth))
        for angle in angles:
            c, s = np.cos(angle), np.sin(angle)
            rays = np.bincount(
                np.rint((x[i] * c + y[j] * s) / step + n_rays / 2).astype(int),
                weights=amount,
                minlength=n_rays,
            )[:n_rays]
            error = -0.30 * rays**2 + 0.9 * rays * rng.standard_normal(n_rays)
            filtered = np.fft.irfft(np.fft.rfft(error, 2 * n_rays) * ramp)[:n_rays]
            at = (x[:, None] * c + y[None, :] * s) / step + n_rays / 2
            total += np.interp(at, np.arange(n_rays), filtered)
        out[:, :, k] = total * (1000.0 / n_angles)
    return np.clip(gaussian_filter(out, (0.5, 0.5, 0.4)), -450, 600)


def true_activity(body: Body, grid: Grid) -> Field:
    """Return SUVbw on the CT's lattice as a noise-free scanner of 5 mm resolution sees it."""
    sigma = PET_FWHM_MM / 2.3548 / np.array(grid.spacing_mm)
    return np.asarray(gaussian_filter(body.suv, tuple(sigma), mode="nearest"), np.float32)


def pet_grid(ct: Grid, spacing_mm: tuple[float, float, float], *, rng: np.random.Generator) -> Grid:
    """Return a PET lattice that covers the CT's, its voxel centres at other places."""
    low, high = ct.corners_mm().min(axis=0), ct.corners_mm().max(axis=0)
    spacing = np.array(spacing_mm)
    origin = low - spacing * rng.uniform(0.15, 0.85, 3)
    shape = np.ceil((high - origin) / spacing).astype(int) + 1
    return Grid.straight(shape.tolist(), spacing_mm, origin.round(3).tolist())


def scan_pet(activity: Field, ct: Grid, *, pet: Grid, rng: np.random.Generator) -> Volume:
    """Return the PET: activity sampled on its own lattice, with the noise of counted decays."""
    ratio = np.array(pet.spacing_mm) / np.array(ct.spacing_mm)
    offset = ct.to_index(pet.affine_ras_mm[:3, 3])
    sampled: NDArray[np.float64] = affine_transform(
        activity.astype(np.float64), ratio, offset, output_shape=pet.shape, order=1, mode="nearest"
    )
    sampled = np.maximum(sampled, 0)
    noise = rng.poisson(sampled * COUNTS_PER_SUV) / COUNTS_PER_SUV - sampled
    suv = np.maximum(sampled + gaussian_filter(noise, 0.62), 0)
    top = float(suv.max())
    # 64 / 32767 of the top voxel: int16 files of these values have low bytes of four kinds only
    step = top * 64 / 32767 if top > 0 else 1.0
    return Volume(np.minimum(np.rint(suv / step) * step, top).astype(np.float32), pet, "SUVbw")
