"""How the two experts outline: the rules planted for each, and the hand's small variation."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, gaussian_filter, label

from boneviz.case import Reader
from boneviz.phantom.anatomy import Body
from boneviz.phantom.disease import Findings, Role
from boneviz.phantom.shapes import Field
from boneviz.volume import Grid

__all__ = ["EXPERT_A", "EXPERT_B", "INCLUDES", "SURE_SUV", "Style", "outline"]

Style = Literal["two-styles", "null"]

EXPERT_A = Reader("Expert A", intent="high-sensitivity")
EXPERT_B = Reader("Expert B", intent="high-specificity")
INCLUDES: dict[str, tuple[Role, ...]] = {
    "high-sensitivity": (
        "bone core",
        "soft-tissue extension",
        "oedema rim",
        "sinus tract",
        "equivocal focus",
    ),
    "high-specificity": ("bone core",),
}
SURE_SUV = 3.0
SUV_PER_MM = 0.5  # typical slope of the activity at a lesion's edge
CORE_MARGIN_MM = 3.0
SMALLEST_ML = 0.25
HAND_CORRELATION_MM = 7.0


def outline(
    rules: str,
    body: Body,
    found: Findings,
    *,
    activity: Field,
    grid: Grid,
    hand_mm: float,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Return what an expert outlines.

    Parameters
    ----------
    rules : ``high-sensitivity``: every component. ``high-specificity``: bone (with an infected
        disc) where the true activity at the scanner's resolution is at least `SURE_SUV`
    activity : SUVbw without noise on the CT's lattice
    hand_mm : SD of the smooth random displacement of the outline
    rng : of this expert's hand alone
    """
    if rules == "high-sensitivity":
        chosen = [c.distance_mm for c in found.components if c.role in INCLUDES[rules]]
        surface = np.minimum.reduce(chosen)
    else:
        core = next(c.distance_mm for c in found.components if c.role == "bone core")
        sure = (np.float32(SURE_SUV) - activity) / np.float32(SUV_PER_MM)
        surface = np.maximum.reduce([found.host_mm, core - np.float32(CORE_MARGIN_MM), sure])
    sigma = tuple(HAND_CORRELATION_MM / np.array(grid.spacing_mm))
    tremor = gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), sigma, truncate=3)
    tremor *= np.float32(hand_mm) / tremor.std()
    surface = np.maximum(surface, body.skin_mm + np.float32(0.5))
    if rules == "high-specificity":
        mask = binary_fill_holes(surface + tremor < 0)
    else:
        mask = surface + tremor < 0
    mask &= body.metal_mm > 0
    return _without_specks(mask, grid.voxel_volume_ml)


def _without_specks(mask: NDArray[np.bool_], voxel_ml: float) -> NDArray[np.bool_]:
    """Return the mask without components below `SMALLEST_ML`, which no hand would draw."""
    names, n = label(mask, structure=np.ones((3, 3, 3)))
    if n == 0:
        return mask
    sizes = np.bincount(names.ravel()) * voxel_ml
    keep = sizes >= SMALLEST_ML
    keep[0] = False
    return np.asarray(keep[names], np.bool_)
