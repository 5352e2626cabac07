"""Named masks, cases and scores that several test modules share.

The spacing of 2 x 3 x 5 mm is used throughout: its faces are 15, 10 and 6 mm2, and a corner cut
off a voxel has an area of 19/8 mm2, since 15^2 + 10^2 + 6^2 = 19^2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from boneviz.case import Case, Prediction, Reader
from boneviz.content import Content
from boneviz.scorerow import Scores, Status
from boneviz.volume import Grid, Volume

SPACING_MM = (2.0, 3.0, 5.0)
VOXEL_ML = 0.03

EXPERT_A = Reader("Expert A", intent="high-sensitivity")
EXPERT_B = Reader("Expert B", intent="high-specificity")
MODEL_A = Reader("Model A", "model", "high-sensitivity", "Expert A")
MODEL_B = Reader("Model B", "model", "high-specificity", "Expert B")

Index = tuple[int, int, int]


def mask_of(voxels: Sequence[Index], shape: Sequence[int] = (4, 4, 4)) -> NDArray[np.bool_]:
    """Return a mask that holds just these voxels."""
    mask = np.zeros(tuple(shape), dtype=bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


def blob(rng: np.random.Generator, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return a random smooth mask that is neither empty nor full."""
    noise = ndimage.gaussian_filter(rng.normal(size=tuple(shape)), rng.uniform(0.3, 2.5))
    return noise > np.quantile(noise, rng.uniform(0.3, 0.97))


def case_of(
    masks: Mapping[Reader, NDArray[np.bool_]],
    *,
    patient_id: str = "017",
    session: str = "",
    grid: Grid | None = None,
) -> Case:
    """Return a case with these outlines on a grid of `SPACING_MM`, or another."""
    shape = next(iter(masks.values())).shape
    grid = grid or Grid.straight(shape, SPACING_MM)
    return Case(
        patient_id,
        session,
        Volume(np.zeros(grid.shape, dtype=np.int16), grid, "HU"),
        Volume(np.zeros(grid.shape, dtype=np.float32), grid, "SUVbw"),
        {reader: Volume(mask, grid, "label") for reader, mask in masks.items()},
    )


def prediction_of(
    reader: Reader,
    probability: NDArray[np.floating],
    *,
    patient_id: str = "017",
    session: str = "",
    trained_on: Sequence[str] = ("001", "002"),
    grid: Grid | None = None,
) -> Prediction:
    """Return a model's prediction for the patient of `case_of`."""
    grid = grid or Grid.straight(probability.shape, SPACING_MM)
    volume = Volume(probability.astype(np.float32), grid, "probability")
    return Prediction(patient_id, session, reader, 0, volume, "0" * 64, frozenset(trained_on))


CONTENT = Content(suv_max=8.0, suv_mean=4.0, suv_peak=6.0, tlg_ml=4.0, hu_mean=300.0)


def scores_of(
    reference: Reader, candidate: Reader, *, patient_id: str = "017", **changes: object
) -> Scores:
    """Return a row of scores in which all is 0.5 or 5 mm, but for what is changed."""
    status: Status = changes.get("status", "both")  # type: ignore[assignment]
    one_empty = status != "both"
    values: dict[str, object] = {
        "session": "",
        "held_out": True,
        "demonstration": False,
        "threshold": 0.5,
        "tolerance_mm": (1.0, 2.0),
        "spacing_mm": SPACING_MM,
        "diagonal_mm": 100.0,
        "version": "0",
        **dict.fromkeys(("dice", "iou", "sensitivity", "precision", "lesion_f1"), 0.5),
        "volume_matched_dice": 0.5,
        **dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm", "masd_mm"), math.nan if one_empty else 5.0),
        "surface_dice": dict.fromkeys((1.0, 2.0), math.nan if one_empty else 0.5),
        "reference_ml": 1.0,
        "candidate_ml": 2.0,
        "volume_difference_ml": 1.0,
        "reference_lesions": 1,
        "candidate_lesions": 2,
        "missed_lesions": 0,
        "extra_lesions": 1,
        "fpv_ml": 0.5,
        "fnv_ml": 0.0,
        "surface": "grid",
        "reference_content": CONTENT,
        "candidate_content": CONTENT,
        "matches": (),
    }
    values |= {"status": status, **changes}
    return Scores(patient_id=patient_id, reference=reference, candidate=candidate, **values)  # type: ignore[arg-type]


@dataclass(frozen=True)
class OverlapCase:
    """Two masks and what they count."""

    name: str
    reference: tuple[Index, ...]
    candidate: tuple[Index, ...]
    n_both: int
    dice: float
    iou: float
    sensitivity: float
    precision: float


OVERLAPS = (
    #   x:         0 1 2 3
    #   reference  # # # .      candidate  . # # #
    OverlapCase(
        "shifted by one",
        ((0, 0, 0), (1, 0, 0), (2, 0, 0)),
        ((1, 0, 0), (2, 0, 0), (3, 0, 0)),
        2,
        4 / 6,
        2 / 4,
        2 / 3,
        2 / 3,
    ),
    #   reference  # # # #      candidate  . . # .   and one in the next row
    OverlapCase(
        "candidate smaller, with one voxel of its own",
        ((0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0)),
        ((2, 0, 0), (2, 1, 0)),
        1,
        2 / 6,
        1 / 5,
        1 / 4,
        1 / 2,
    ),
    OverlapCase("identical", ((1, 2, 3),), ((1, 2, 3),), 1, 1, 1, 1, 1),
    OverlapCase("apart", ((0, 0, 0),), ((3, 3, 3), (3, 3, 2)), 0, 0, 0, 0, 0),
)


@dataclass(frozen=True)
class LesionCase:
    """A mask and the sizes of its lesions, in the order of the C-ordered grid."""

    name: str
    voxels: tuple[Index, ...]
    sizes: tuple[int, ...]


LESIONS = (
    LesionCase("nothing", (), ()),
    LesionCase("one voxel", ((3, 3, 3),), (1,)),
    LesionCase("two that share a face", ((1, 1, 1), (1, 1, 2)), (2,)),
    LesionCase("two that share an edge", ((1, 1, 1), (1, 2, 2)), (2,)),
    LesionCase("two that share a corner", ((1, 1, 1), (2, 2, 2)), (2,)),
    LesionCase("two that share a corner, the other diagonal", ((1, 2, 2), (2, 1, 1)), (2,)),
    LesionCase("one voxel between them in the last axis", ((1, 1, 1), (1, 1, 3)), (1, 1)),
    LesionCase("one voxel between them in the first axis", ((0, 1, 1), (2, 1, 1)), (1, 1)),
    # the end of a row and the start of the next are neighbours in memory, not in space
    LesionCase("end of one row, start of the next", ((1, 1, 3), (1, 2, 0)), (1, 1)),
    LesionCase("end of one slice, start of the next", ((1, 3, 3), (2, 0, 0)), (1, 1)),
    # two arms that meet only at their far end, as in a U, beside a lone voxel
    #   y: 0 1 2 3      x = 0
    #   z0 # . # .
    #   z1 # . # .
    #   z2 . # . .      z3 is empty; the lone voxel lies at x = 3
    LesionCase(
        "a U and a lone voxel",
        ((0, 0, 0), (0, 0, 1), (0, 2, 0), (0, 2, 1), (0, 1, 2), (3, 0, 0)),
        (5, 1),
    ),
)


def four_readers(**changes: object) -> list[Scores]:
    """Return two patients in which each model agrees better with its own expert."""
    pairs = (
        (EXPERT_A, EXPERT_B, 0.5),
        (EXPERT_A, MODEL_A, 0.8),
        (EXPERT_A, MODEL_B, 0.4),
        (EXPERT_B, MODEL_A, 0.45),
        (EXPERT_B, MODEL_B, 0.7),
        (MODEL_A, MODEL_B, 0.6),
    )
    return [
        scores_of(a, b, patient_id=patient, dice=dice + shift, hd95_mm=10 * (1 - dice), **changes)
        for patient, shift in (("P0", 0.0), ("P1", 0.1))
        for a, b, dice in pairs
    ]
