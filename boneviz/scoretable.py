"""One row of scores, and the tidy table of them in memory and on disk."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import pandas as pd

from boneviz.case import Reader
from boneviz.errors import BonevizError, InputError
from boneviz.files import whole_file

__all__ = [
    "Scores",
    "Status",
    "read_scores",
    "require_suffix",
    "scores_table",
    "write_scores",
]

Status = Literal["both", "missed", "false_alarm", "both_empty"]


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
    threshold : probability from which a voxel counts as the model's outline
    tolerance_mm : of surface Dice, ascending
    spacing_mm, diagonal_mm : of the grid; the diagonal bounds every distance
    version : of boneviz
    dice, iou, sensitivity, precision : of voxels, 0 to 1
    reference_ml, candidate_ml, volume_difference_ml : the difference is candidate less reference
    hd_mm, hd95_mm, assd_mm, masd_mm : as in `boneviz.surface`
    surface_dice : tolerance in mm -> 0 to 1
    reference_lesions, candidate_lesions : 26-connected components
    missed_lesions, extra_lesions : those of the reference, and of the candidate, that share no
        voxel with the other outline
    lesion_f1 : harmonic mean of the shares of reference and of candidate lesions that are matched
    fpv_ml, fnv_ml : volume of the extra and of the missed lesions
    """

    patient_id: str
    session: str
    reference: Reader
    candidate: Reader
    status: Status
    held_out: bool
    threshold: float
    tolerance_mm: tuple[float, ...]
    spacing_mm: tuple[float, float, float]
    diagonal_mm: float
    version: str
    dice: float
    iou: float
    sensitivity: float
    precision: float
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
        """Whether a tolerance is finer than the grid's outlines can resolve."""
        return min(self.tolerance_mm) < 2 * max(self.spacing_mm)

    def numbers(self) -> dict[str, float]:
        """Return every number about the two outlines by the name of its column."""
        names = self.__slots__[self.__slots__.index("dice") :]
        numbers = {name: getattr(self, name) for name in names if name != "surface_dice"}
        return numbers | {
            f"surface_dice_{tolerance:g}mm": value for tolerance, value in self.surface_dice.items()
        }

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
        )

    def as_row(self) -> dict[str, Any]:
        """Return one flat row of a tidy table, units in the names."""
        row: dict[str, Any] = {"patient_id": self.patient_id, "session": self.session}
        for role, reader in (("reference", self.reference), ("candidate", self.candidate)):
            row[role] = reader.name
            row[f"{role}_kind"] = reader.kind
            row[f"{role}_intent"] = reader.intent
            row[f"{role}_learned_from"] = reader.learned_from or ""
        row |= {"status": self.status, "held_out": self.held_out}
        row |= self.numbers()
        row |= {
            "threshold": self.threshold,
            "tolerance_mm": " ".join(f"{tolerance:g}" for tolerance in self.tolerance_mm),
            "tolerance_below_two_voxels": self.tolerance_below_two_voxels,
            **dict(
                zip(("spacing_x_mm", "spacing_y_mm", "spacing_z_mm"), self.spacing_mm, strict=True)
            ),
            "diagonal_mm": self.diagonal_mm,
            "version": self.version,
        }
        return row


def scores_table(scores: Iterable[Scores]) -> pd.DataFrame:
    """Return one row per pair of readers and case; the columns are those of `Scores.as_row`."""
    return pd.DataFrame([row.as_row() for row in scores])


def write_scores(scores: Iterable[Scores], path: str | Path) -> None:
    """Write the tidy table as ``.parquet`` or ``.csv``, whole or not at all.

    Raises
    ------
    InputError
        Another suffix, or no scores.
    """
    path = Path(path)
    require_suffix(path)
    table = scores_table(scores)
    if table.empty:
        raise InputError(f"{path}: no scores to write; score at least one case")
    with whole_file(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, na_rep="nan")


def read_scores(path: str | Path) -> tuple[Scores, ...]:
    """Read a table that `write_scores` wrote.

    Raises
    ------
    InputError
        The file is missing, has another suffix, or is not such a table.
    """
    path = Path(path)
    require_suffix(path)
    if not path.is_file():
        raise InputError(f"{path}: no such table of scores; run `boneviz score` first")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return tuple(_from_row({str(k): v for k, v in r.items()}) for r in table.to_dict("records"))
    except (BonevizError, KeyError, TypeError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: not a table of scores that this version reads "
            f"({type(error).__name__}: {error}); score the cohort again"
        ) from error


def require_suffix(path: Path) -> None:
    """Raise `InputError` unless a table can be written under this name."""
    if path.suffix not in (".parquet", ".csv"):
        raise InputError(f"{path}: expected a file name ending in .parquet or .csv")


def _reader(row: Mapping[str, Any], role: str) -> Reader:
    return Reader(
        row[role],
        row[f"{role}_kind"],
        row[f"{role}_intent"],
        row[f"{role}_learned_from"] or None,
    )


def _from_row(row: Mapping[str, Any]) -> Scores:
    tolerance_mm = tuple(float(tolerance) for tolerance in row["tolerance_mm"].split())
    values: dict[str, Any] = {}
    for field in fields(Scores):
        if field.type in ("float", "int"):
            values[field.name] = (float if field.type == "float" else int)(row[field.name])
    return Scores(
        **values,
        patient_id=row["patient_id"],
        session=row["session"],
        reference=_reader(row, "reference"),
        candidate=_reader(row, "candidate"),
        status=row["status"],
        held_out=str(row["held_out"]) == "True",  # a bool, or its name in a CSV
        version=row["version"],
        tolerance_mm=tolerance_mm,
        spacing_mm=(
            float(row["spacing_x_mm"]),
            float(row["spacing_y_mm"]),
            float(row["spacing_z_mm"]),
        ),
        surface_dice={
            tolerance: float(row[f"surface_dice_{tolerance:g}mm"]) for tolerance in tolerance_mm
        },
    )
