"""What may be wrong with one case, or with cases beside each other, fact by fact.

An error is what boneviz refuses elsewhere; a warning is what a person should look at. Limits are
those of scans of people: nothing here changes a voxel or says that a scan is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneviz.case import Reader
from boneviz.harmonise import faces_mm
from boneviz.volume import Grid, Volume

__all__ = [
    "Facts",
    "Finding",
    "Severity",
    "check_ct",
    "check_grids",
    "check_mask",
    "check_pair",
    "check_pet",
    "check_scans",
    "check_spacing",
]

Severity = Literal["error", "warning"]

LEAST_SUV_MAX, MOST_SUV_MAX = 0.5, 200.0
NEGATIVE_SUV = -0.1  # below it, interpolation is no reason
BQML_MAX = 1000.0
LOWEST_HU, HIGHEST_HU = -4096, 32000  # padding and metal lie between
SOFT_HU, LEAST_SOFT = (-150, 150), 0.01
SHARE_OF_CT = 0.5  # of the CT's box that the PET should cover
AIR_HU, MOST_IN_AIR = -500, 0.1
MOST_OF_CT = 0.2
SPACING_MM = (0.1, 12.0)
SPACING_RATIO = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be.

    Parameters
    ----------
    case_id : the case, or several; empty where it is about the cohort
    severity : ``error`` is refused elsewhere, ``warning`` is to be looked at
    check : what was looked at, in two or three words
    what, expected, do : found, expected, and what to do
    """

    case_id: str
    severity: Severity
    check: str
    what: str
    expected: str = ""
    do: str = ""

    def __str__(self) -> str:
        expected = f", expected {self.expected}" if self.expected else ""
        return f"{self.what}{expected}{'; ' if self.do else ''}{self.do}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is kept of a case after it was read.

    Parameters
    ----------
    ct, pet : described, or empty where they cannot be read
    spacing_mm : of the CT
    volumes_ml : reader -> volume of the mask
    scans : CT and PET -> a hash of their voxels
    """

    case_id: str
    patient_id: str
    ct: str
    spacing_mm: tuple[float, float, float] | None
    suv_max: float
    volumes_ml: Mapping[str, float]
    scans: Mapping[str, str]


def check_ct(case_id: str, ct: Volume) -> list[Finding]:
    """Look at the range of Hounsfield units."""
    low, high = float(ct.array.min()), float(ct.array.max())
    span = f"{low:g} to {high:g} HU"
    found = []
    if low == high:
        return [_warn(case_id, "HU range", f"CT is {low:g} HU everywhere", "an image")]
    if low < LOWEST_HU or high > HIGHEST_HU:
        what = f"CT spans {span}"
        found.append(
            _warn(case_id, "HU range", what, f"{LOWEST_HU} to {HIGHEST_HU}", "look for its slope")
        )
    if low >= 0 and high <= 255:
        found.append(
            _warn(
                case_id,
                "HU range",
                f"CT spans {span}, as a window or normalised values do",
                "HU, with air near -1000",
                "convert it again from DICOM without a window",
            )
        )
    elif low >= 0:
        found.append(
            _warn(
                case_id,
                "HU shifted",
                f"CT spans {span}, as stored values without their intercept do",
                "air near -1000",
                "convert it again with RescaleIntercept (0028,1052) applied",
            )
        )
    else:
        soft = np.count_nonzero((ct.array >= SOFT_HU[0]) & (ct.array <= SOFT_HU[1])) / ct.array.size
        if soft < LEAST_SOFT:
            found.append(
                _warn(
                    case_id,
                    "HU shifted",
                    f"{soft:.1%} of the CT lies between {SOFT_HU[0]} and {SOFT_HU[1]} HU",
                    f"at least {LEAST_SOFT:.0%} of soft tissue",
                    "look whether the CT is shifted or scaled",
                )
            )
    return found


def check_pet(case_id: str, pet: Volume) -> list[Finding]:
    """Look at the range of SUV."""
    low, high = float(pet.array.min()), float(pet.array.max())
    found = []
    if not pet.array.any():
        return [_warn(case_id, "SUV range", "PET is 0 everywhere", "uptake", "give another file")]
    if low < NEGATIVE_SUV:
        found.append(
            _warn(
                case_id,
                "negative SUV",
                f"SUVbw down to {low:.3g}",
                "0 or more",
                "look for a wrong slope, or a spline that overshot",
            )
        )
    if high > BQML_MAX:
        found.append(
            _warn(
                case_id,
                "SUV range",
                f"SUVmax {high:.4g}, as Bq/mL have",
                f"{LEAST_SUV_MAX:g} to {MOST_SUV_MAX:g} SUVbw",
                "convert it from DICOM with `boneviz import`",
            )
        )
    elif not LEAST_SUV_MAX <= high <= MOST_SUV_MAX:
        found.append(
            _warn(
                case_id,
                "SUV range",
                f"SUVmax {high:.3g}",
                f"{LEAST_SUV_MAX:g} to {MOST_SUV_MAX:g} SUVbw",
                "look whether it is in SUVbw",
            )
        )
    return found


def check_grids(case_id: str, ct: Grid, pet: Grid) -> list[Finding]:
    """Look whether CT and PET lie over each other, and whether voxels have the size of voxels."""
    found = []
    for what, grid in (("CT", ct), ("PET", pet)):
        if min(grid.spacing_mm) < SPACING_MM[0] or max(grid.spacing_mm) > SPACING_MM[1]:
            found.append(
                _warn(
                    case_id,
                    "spacing",
                    f"{what} has voxels of {_mm(grid.spacing_mm)}",
                    f"{SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm",
                    "look whether its header is in mm",
                )
            )
    (ct_low, ct_high), (pet_low, pet_high) = (
        (faces.min(axis=0), faces.max(axis=0)) for faces in (faces_mm(ct), faces_mm(pet))
    )
    shared = np.minimum(ct_high, pet_high) - np.maximum(ct_low, pet_low)
    if (shared <= 0).any():
        found.append(
            Finding(
                case_id,
                "error",
                "PET and CT apart",
                f"PET on {pet.describe()} does not overlap the CT on {ct.describe()}",
                "scans of one frame of reference",
                "give the PET of the same visit, or register it first",
            )
        )
    else:
        share = float(np.prod(shared / (ct_high - ct_low)))
        if share < SHARE_OF_CT:
            found.append(
                _warn(
                    case_id,
                    "PET and CT apart",
                    f"PET covers {share:.0%} of the CT's box",
                    f"at least {SHARE_OF_CT:.0%}",
                    "look whether they belong together; outside of it the PET is taken as 0",
                )
            )
    return found


def check_mask(
    case_id: str, reader: Reader, mask: Volume, ct: Volume | None, pet: Grid | None
) -> list[Finding]:
    """Look whether a mask lies on the CT's grid, holds something, and lies in body and PET.

    Parameters
    ----------
    ct, pet : None where they cannot be read
    """
    who = f"mask of {reader.name}"
    if ct is not None and not mask.grid.matches(ct.grid):
        return [
            Finding(
                case_id,
                "error",
                "mask's grid",
                f"{who} lies on {mask.grid.describe()}",
                f"the CT's grid, {ct.grid.describe()}",
                "resample it onto the CT with nearest neighbour at its source",
            )
        ]
    n = np.count_nonzero(mask.array)
    if n == 0:
        do = "look whether this expert saw no lesion here"
        return [_warn(case_id, "empty mask", f"{who} is empty", "an outline", do)]
    found = []
    if n > MOST_OF_CT * mask.array.size:
        found.append(
            _warn(
                case_id,
                "mask's size",
                f"{who} fills {n / mask.array.size:.0%} of the CT",
                f"at most {MOST_OF_CT:.0%}",
                "look whether inside and outside are exchanged",
            )
        )
    if ct is not None:
        in_air = np.count_nonzero(ct.array[mask.array] < AIR_HU) / n
        if in_air > MOST_IN_AIR:
            found.append(
                _warn(
                    case_id,
                    "mask outside",
                    f"{in_air:.0%} of the {who} lie in air (below {AIR_HU} HU)",
                    f"at most {MOST_IN_AIR:.0%}",
                    "look whether it is mirrored or shifted",
                )
            )
    if pet is not None:
        outside = _share_outside(mask, pet)
        if outside > 0:
            found.append(
                _warn(
                    case_id,
                    "mask outside",
                    f"{outside:.0%} of the {who} lie outside of the PET",
                    "none",
                    "there is no SUV there: it is taken as 0",
                )
            )
    return found


def check_pair(case_id: str, masks: Mapping[Reader, Volume]) -> list[Finding]:
    """Look whether two readers' masks are one, or have nothing in common; those on one grid."""
    found = []
    for (a, one), (b, other) in combinations(masks.items(), 2):
        if not one.grid.matches(other.grid) or not (one.array.any() and other.array.any()):
            continue
        if np.array_equal(one.array, other.array):
            found.append(
                _warn(
                    case_id,
                    "identical masks",
                    f"masks of {a.name} and {b.name} are identical",
                    "two independent readings",
                    "look whether one was copied",
                )
            )
        elif not (one.array & other.array).any():
            apart = np.linalg.norm(_centroid_mm(one) - _centroid_mm(other))
            found.append(
                _warn(
                    case_id,
                    "masks apart",
                    f"masks of {a.name} and {b.name} share no voxel, centres {apart:.0f} mm apart",
                    "some overlap, unless they saw different lesions",
                    "look whether one is mirrored or of another patient",
                )
            )
    return found


def check_spacing(facts: Sequence[Facts]) -> list[Finding]:
    """Look for CTs whose voxels differ from the cohort's median by more than a factor of two.

    Nothing is found in fewer than three cases.
    """
    known = [(fact.case_id, fact.spacing_mm) for fact in facts if fact.spacing_mm is not None]
    if len(known) < 3:
        return []
    middle = np.median([sorted(spacing) for _, spacing in known], axis=0)
    found = []
    for case_id, spacing in known:
        ratio = np.sort(spacing) / middle
        if max(ratio.max(), 1 / ratio.min()) > SPACING_RATIO:
            found.append(
                _warn(
                    case_id,
                    "spacing",
                    f"CT has voxels of {_mm(spacing)}",
                    f"within a factor of {SPACING_RATIO:g} of the cohort's {_mm(middle)}, sorted",
                    "look whether it is another series than in the other cases",
                )
            )
    return found


def check_scans(facts: Sequence[Facts]) -> list[Finding]:
    """Look for one scan under two ids, by its voxels."""
    found = []
    first: dict[tuple[str, str], Facts] = {}
    for fact in facts:
        for what, content in fact.scans.items():
            other = first.setdefault((what, content), fact)
            if other is fact:
                continue
            one_patient = other.patient_id == fact.patient_id
            found.append(
                Finding(
                    f"{other.case_id}, {fact.case_id}",
                    "warning" if one_patient else "error",
                    "duplicates",
                    f"{what} of {other.case_id} and of {fact.case_id} hold the same voxels",
                    "a scan of its own for every session"
                    if one_patient
                    else "a scan under one patient id: one could be learned from and tested on",
                    "make them sessions of one patient, or put the right file in its place",
                )
            )
    return found


def _warn(case_id: str, check: str, what: str, expected: str, do: str = "") -> Finding:
    return Finding(case_id, "warning", check, what, expected, do)


def _mm(spacing: Sequence[float] | NDArray[np.float64]) -> str:
    return " x ".join(f"{s:.3g}" for s in spacing) + " mm"


def _share_outside(mask: Volume, pet: Grid) -> float:
    """Return which part of a mask's voxel centres lies in no voxel of the PET."""
    (box,) = ndimage.find_objects(mask.array.astype(np.uint8))
    index = np.argwhere(mask.array[box]) + [side.start for side in box]
    place = pet.to_index(mask.grid.to_mm(index))
    # a thousandth of a voxel for rounding at the outer faces
    inside = ((place >= -0.501) & (place <= np.array(pet.shape) - 0.499)).all(axis=1)
    return float(1 - inside.mean())


def _centroid_mm(mask: Volume) -> NDArray[np.float64]:
    return mask.grid.to_mm(ndimage.center_of_mass(mask.array))
