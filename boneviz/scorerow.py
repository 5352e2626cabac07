"""What two outlines of one case are worth beside each other, with the settings: `Scores`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from boneviz.case import Reader
from boneviz.content import Content
from boneviz.errors import InputError
from boneviz.matching import LesionMatch, mean_over
from boneviz.petrecord import PetUnit

__all__ = ["Scores", "Status", "SurfaceKind", "status_of"]

Status = Literal["both", "missed", "false_alarm", "both_empty"]
SurfaceKind = Literal["grid", "mesh"]
CONTENT = tuple(field.name for field in fields(Content))


def status_of(n_reference: int, n_candidate: int) -> Status:
    """Return which of two outlines of so many voxels holds anything."""
    if n_reference and n_candidate:
        return "both"
    if n_reference:
        return "missed"
    return "false_alarm" if n_candidate else "both_empty"


@dataclass(frozen=True, slots=True)
class Scores:
    """What one reader's outline is worth beside another's, in one case, with its settings.

    A number that is undefined is NaN, and `status` says why: ``missed`` where only the candidate
    is empty (Dice, IoU, sensitivity and lesion F1 are 0; precision and distances are NaN),
    ``false_alarm`` where only the reference is (precision is 0, the rest NaN), ``both_empty``
    where both are (all NaN). Volumes and lesion counts are always defined.

    Parameters
    ----------
    patient_id, session : the case
    reference, candidate : the readers, in this order
    status : which of the two outlined anything
    held_out : whether no model among the two had learned from this patient
    demonstration : whether a model among the two learned from phantoms only
    threshold : probability from which a voxel counts as the model's outline
    tolerance_mm : of surface Dice, ascending
    surface : what distances are measured between, elements of the ``grid`` (`boneviz.surface`) or
        a triangle ``mesh`` (`boneviz.meshpair`)
    spacing_mm, diagonal_mm : of the grid; the diagonal bounds every distance
    version : of boneviz
    dice, iou, sensitivity, precision : of voxels, 0 to 1
    volume_matched_dice : Dice with a model's probability cut at the level at which it draws as
        much as the expert (`boneviz.volumematch`); NaN but between an expert and a model
    reference_ml, candidate_ml, volume_difference_ml : the difference is candidate less reference
    hd_mm, hd95_mm, assd_mm, masd_mm : as in `boneviz.surface`
    surface_dice : tolerance in mm -> 0 to 1
    reference_lesions, candidate_lesions : 26-connected components
    missed_lesions, extra_lesions : those of the reference, and of the candidate, that share no
        voxel with the other outline
    lesion_f1 : harmonic mean of the shares of reference and of candidate lesions that are matched
    fpv_ml, fnv_ml : volume of the extra and of the missed lesions
    reference_content, candidate_content : SUV and HU inside either outline
    matches : the lesions that both outlined, each with its own distances
    content_hash : of the files and settings that the row was made from, empty where it was made
        from a case in memory
    pet_unit : ``SUVbw``, or ``counts``: both contents are then NaN but for HU
    """

    patient_id: str
    session: str
    reference: Reader
    candidate: Reader
    status: Status
    held_out: bool
    demonstration: bool
    threshold: float
    tolerance_mm: tuple[float, ...]
    spacing_mm: tuple[float, float, float]
    diagonal_mm: float
    surface: SurfaceKind
    version: str
    dice: float
    iou: float
    sensitivity: float
    precision: float
    volume_matched_dice: float
    reference_ml: float
    candidate_ml: float
    volume_difference_ml: float
    hd_mm: float
    hd95_mm: float
    assd_mm: float
    masd_mm: float
    surface_dice: Mapping[float, float]
    reference_lesions: int
    candidate_lesions: int
    missed_lesions: int
    extra_lesions: int
    lesion_f1: float
    fpv_ml: float
    fnv_ml: float
    reference_content: Content
    candidate_content: Content
    matches: tuple[LesionMatch, ...]
    content_hash: str = ""
    pet_unit: PetUnit = "SUVbw"

    def __post_init__(self) -> None:
        object.__setattr__(self, "surface_dice", MappingProxyType(dict(self.surface_dice)))

    def __reduce__(self) -> tuple[Any, ...]:
        # a read-only mapping cannot be pickled, and scores travel between processes
        values = (getattr(self, name) for name in self.__slots__)
        return type(self), tuple(dict(v) if isinstance(v, Mapping) else v for v in values)

    @property
    def case_id(self) -> str:
        """Patient id, with the session where there is one."""
        return f"{self.patient_id}_{self.session}" if self.session else self.patient_id

    @property
    def tolerance_below_two_voxels(self) -> bool:
        """Whether a tolerance is finer than surface elements of the grid can resolve."""
        return self.surface == "grid" and min(self.tolerance_mm) < 2 * max(self.spacing_mm)

    @property
    def lesion_hd95_mm(self) -> float:
        """Mean HD95 over the lesions that both outlined, mm; NaN where there is none."""
        return mean_over(self.matches, lambda match: match.hd95_mm)

    def lesion_surface_dice(self, tolerance_mm: float) -> float:
        """Return the mean surface Dice over the lesions that both outlined, NaN without any."""
        return mean_over(self.matches, lambda match: match.surface_dice[tolerance_mm])

    def numbers(self) -> dict[str, float]:
        """Return every number about the two outlines by the name of its column."""
        numbers: dict[str, float] = {}
        for name in self.__slots__[self.__slots__.index("dice") :]:
            if name == "surface_dice":
                numbers |= {
                    f"surface_dice_{tolerance:g}mm": value
                    for tolerance, value in self.surface_dice.items()
                }
            elif name in ("reference_content", "candidate_content"):
                content, role = getattr(self, name), name.removesuffix("_content")
                numbers |= {f"{role}_{field}": getattr(content, field) for field in CONTENT}
            elif name == "matches":
                numbers |= {
                    "matched_lesions": len(self.matches),
                    "lesion_hd95_mm": self.lesion_hd95_mm,
                    **{
                        f"lesion_surface_dice_{tau:g}mm": self.lesion_surface_dice(tau)
                        for tau in self.tolerance_mm
                    },
                }
            elif name not in ("content_hash", "pet_unit"):
                numbers[name] = getattr(self, name)
        return numbers

    def value(self, metric: str) -> float:
        """Return a number by the name of its column, such as ``dice`` or ``surface_dice_2mm``.

        Raises
        ------
        InputError
            There is no such number here.
        """
        numbers = self.numbers()
        if metric not in numbers:
            raise InputError(
                f"no metric {metric!r} in the scores of patient {self.patient_id}; "
                f"there is {', '.join(numbers)}"
            )
        return numbers[metric]

    def swapped(self) -> Scores:
        """Return the scores with reference and candidate exchanged."""
        status: dict[Status, Status] = {"missed": "false_alarm", "false_alarm": "missed"}
        undefined = {"missed": math.nan, "false_alarm": 0.0}  # of this status, once swapped
        symmetric = ("dice", "iou", "lesion_f1")
        return replace(
            self,
            **{name: undefined.get(self.status, getattr(self, name)) for name in symmetric},
            reference=self.candidate,
            candidate=self.reference,
            status=status.get(self.status, self.status),
            sensitivity=self.precision,
            precision=self.sensitivity,
            reference_ml=self.candidate_ml,
            candidate_ml=self.reference_ml,
            volume_difference_ml=self.reference_ml - self.candidate_ml,
            reference_lesions=self.candidate_lesions,
            candidate_lesions=self.reference_lesions,
            missed_lesions=self.extra_lesions,
            extra_lesions=self.missed_lesions,
            fpv_ml=self.fnv_ml,
            fnv_ml=self.fpv_ml,
            reference_content=self.candidate_content,
            candidate_content=self.reference_content,
            matches=tuple(match.swapped() for match in self.matches),
        )
