"""Where bone is in a CT, well enough to say how far from it something lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["bone_mask"]

BONE_HU = 150.0  # cortex, and all but osteoporotic trabeculae
CORTEX_HU = 250.0
CORTEX_SHARE = 0.05
METAL_HU = 2500.0
SPECK_ML = 0.5  # calcified vessels, noise
AIR_HU = -300.0
SHEET_MM = 7.0  # what lies in air and is thinner is no limb: the table, a blanket
MARROW_MM2 = 2500.0  # widest section of marrow that bone is taken to enclose
IN_SLICE = np.zeros((3, 3, 3), dtype=bool)  # the four neighbours within a slice
IN_SLICE[1, 1, :] = IN_SLICE[1, :, 1] = True


def bone_mask(hu: NDArray[Any], *, spacing_mm: Sequence[float]) -> NDArray[np.bool_]:
    """Find bone with its marrow in a CT, (X, Y, Z) HU.

    Bone is what measures 150 to 2500 HU in 26-connected pieces of 0.5 mL or more, and what such
    bone encloses within a slice, in any of the three directions, if that section is at most
    25 cm2: marrow, fatty or inflamed, behind a cortex that is whole in one direction at least.
    From 2500 HU on it is metal, and is not bone. A piece without cortex, fewer than 5 % of it from
    250 HU on, is an organ or vessel with contrast medium; one most of which lies in a sheet
    thinner than 7 mm (or 3 voxels) with air about it is the scanner's table.

    This is a rule for saying how far off bone is, not a segmentation. Contrast medium that is
    denser or touches bone passes for bone, as do the blurred edge of an implant, and a joint space
    or the spinal canal where bone closes a ring around it. Marrow behind a gap that is open in all
    three directions does not, nor does osteoporotic bone at the edge of the array.
    """
    voxel_mm3 = math.prod(spacing_mm)
    label, _ = ndimage.label((hu >= BONE_HU) & (hu < METAL_HU), np.ones((3, 3, 3)))
    cube = tuple(max(3, 2 * int(SHEET_MM / 2 / step) + 1) for step in spacing_mm)
    body = ndimage.grey_opening((hu > AIR_HU).astype(np.uint8), size=cube, mode="nearest")
    size = np.bincount(label.ravel())
    in_body = np.bincount(label.ravel(), weights=body.ravel())
    cortex = np.bincount(label[hu >= CORTEX_HU], minlength=size.size)
    piece = size * voxel_mm3 >= 1000 * SPECK_ML
    piece &= (in_body > size / 2) & (cortex >= CORTEX_SHARE * size)
    piece[0] = False
    bone = hard = piece[label]
    for axis, thickness_mm in enumerate(spacing_mm):
        holes = _holes(np.moveaxis(hard, axis, 0), MARROW_MM2 * thickness_mm / voxel_mm3)
        bone = bone | np.moveaxis(holes, 0, axis)
    return np.asarray(bone & (hu < METAL_HU))


def _holes(slices: NDArray[np.bool_], at_most: float) -> NDArray[np.bool_]:
    """Return what is enclosed in each of (n, a, b) slices, in pieces of so many pixels at most."""
    # the margin joins all that is open in a slice, and its corner tells which that is
    space = np.pad(~slices, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    label, _ = ndimage.label(space, IN_SLICE)
    hole = np.bincount(label.ravel()) <= at_most
    hole[0] = False
    hole[label[:, 0, 0]] = False
    return np.asarray(hole[label][:, 1:-1, 1:-1])
