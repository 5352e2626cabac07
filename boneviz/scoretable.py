"""The tidy table of scores, in memory and on disk; what could not be scored stands in it too."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from boneviz.case import Failure, Reader
from boneviz.content import Content
from boneviz.errors import MALFORMED, BonevizError, InputError
from boneviz.files import whole_file
from boneviz.matching import LesionMatch
from boneviz.petrecord import PetUnit
from boneviz.scorerow import Scores, Status

__all__ = [
    "CohortScores",
    "csv_of",
    "is_scores",
    "lesions_table",
    "plain_text",
    "read_scores",
    "require_suffix",
    "row_of",
    "scores_of_rows",
    "scores_table",
    "write_scores",
    "write_table",
]

FAILED = "failed"
#: what a text begins with that a spreadsheet takes for a formula
FORMULAS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class CohortScores:
    """The scores of a cohort, to be gone through like a tuple, and the cases without any."""

    scores: tuple[Scores, ...]
    failures: tuple[Failure, ...] = ()

    def __iter__(self) -> Iterator[Scores]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, number: int) -> Scores:
        return self.scores[number]


def scores_table(scores: Iterable[Scores]) -> pd.DataFrame:
    """Return one row per pair of readers and case, units in the names of the columns.

    A case that could not be scored has one row, with the status ``failed`` and the reason in the
    column ``error``; all its numbers are missing.
    """
    failures = scores.failures if isinstance(scores, CohortScores) else ()
    return pd.DataFrame([*(row_of(row) for row in scores), *(_failed_row(f) for f in failures)])


def lesions_table(scores: Iterable[Scores]) -> pd.DataFrame:
    """Return one row per lesion that both readers of a pair outlined; empty where there is none."""
    return pd.DataFrame(
        [
            {
                "patient_id": row.patient_id,
                "session": row.session,
                "reference": row.reference.name,
                "candidate": row.candidate.name,
                **dict(zip(("x_mm", "y_mm", "z_mm"), match.centroid_mm, strict=True)),
                **{name: getattr(match, name) for name in _MATCH_NUMBERS},
                **{f"surface_dice_{t:g}mm": value for t, value in match.surface_dice.items()},
                "surface": row.surface,
                "version": row.version,
            }
            for row in scores
            for match in row.matches
        ]
    )


_MATCH_NUMBERS = (
    "reference_lesions",
    "candidate_lesions",
    "reference_ml",
    "candidate_ml",
    "dice",
    "hd95_mm",
)


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
    write_table(table, path)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write any table as ``.parquet`` or ``.csv``, whole or not at all."""
    require_suffix(path)
    with whole_file(path) as temporary:
        if path.suffix == ".parquet":
            table.to_parquet(temporary, index=False)
        else:
            table.to_csv(temporary, index=False, na_rep="nan")


def csv_of(table: pd.DataFrame) -> bytes:
    """Return a table as a CSV file for a spreadsheet: with accents, and without formulas.

    A text that a spreadsheet would take for a formula, such as a patient id ``=1+1``, has an
    apostrophe before it, as spreadsheets themselves write it; `plain_text` takes it away.

    Raises
    ------
    InputError
        The table has no rows.
    """
    if table.empty:
        raise InputError("this table has no rows to save")

    def harmless(value: Any) -> Any:
        return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value

    return table.map(harmless).rename(columns=harmless).to_csv(index=False).encode("utf-8-sig")


def plain_text(text: str) -> str:
    """Return a text of `csv_of` as it was."""
    return text[1:] if text.startswith("'") and text[1:].startswith(FORMULAS) else text


def read_scores(path: str | Path) -> CohortScores:
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
        return scores_of_rows({str(k): v for k, v in r.items()} for r in table.to_dict("records"))
    except (BonevizError, OSError, *MALFORMED) as error:
        raise InputError(
            f"{path}: not a table of scores that this version reads "
            f"({type(error).__name__}: {error}); score the cohort again"
        ) from error


def scores_of_rows(rows: Iterable[Mapping[str, Any]]) -> CohortScores:
    """Return the scores that flat rows of the table, as of `row_of`, stand for."""
    scores, failures = [], []
    for row in rows:
        if row["status"] == FAILED:
            failures.append(Failure(row["patient_id"], row["session"], row["error"]))
        else:
            scores.append(_from_row(row))
    return CohortScores(tuple(scores), tuple(failures))


def is_scores(path: Path) -> bool:
    """Whether a file looks like a table of scores, of this version or another, by its columns."""
    try:
        if path.suffix == ".parquet":
            columns = set(pq.read_schema(path).names)
        else:
            columns = set(pd.read_csv(path, nrows=0).columns)
    except (ValueError, OSError, pa.ArrowInvalid):
        return False
    return {"patient_id", "status", "version"} <= columns


def require_suffix(path: Path) -> None:
    """Raise `InputError` unless a table can be written under this name."""
    if path.suffix not in (".parquet", ".csv"):
        raise InputError(f"{path}: expected a file name ending in .parquet or .csv")


def row_of(scores: Scores) -> dict[str, Any]:
    """Return one flat row of the tidy table."""
    row: dict[str, Any] = {"patient_id": scores.patient_id, "session": scores.session}
    for role, reader in (("reference", scores.reference), ("candidate", scores.candidate)):
        row[role] = reader.name
        row[f"{role}_kind"] = reader.kind
        row[f"{role}_intent"] = reader.intent
        row[f"{role}_learned_from"] = reader.learned_from or ""
        row[f"{role}_variant"] = reader.variant
    x, y, z = scores.spacing_mm
    return row | {
        "status": scores.status,
        "held_out": scores.held_out,
        "demonstration": scores.demonstration,
        **scores.numbers(),
        "threshold": scores.threshold,
        "tolerance_mm": " ".join(f"{tolerance:g}" for tolerance in scores.tolerance_mm),
        "tolerance_below_two_voxels": scores.tolerance_below_two_voxels,
        "surface": scores.surface,
        "spacing_x_mm": x,
        "spacing_y_mm": y,
        "spacing_z_mm": z,
        "diagonal_mm": scores.diagonal_mm,
        "pet_unit": scores.pet_unit,
        "version": scores.version,
        "matches": json.dumps([_match_record(match) for match in scores.matches]),
        "content_hash": scores.content_hash,
        "error": "",
    }


def _failed_row(failure: Failure) -> dict[str, Any]:
    return {
        "patient_id": failure.patient_id,
        "session": failure.session,
        "status": FAILED,
        "error": failure.error,
    }


def _match_record(match: LesionMatch) -> dict[str, Any]:
    return {
        "centroid_mm": match.centroid_mm,
        **{name: getattr(match, name) for name in _MATCH_NUMBERS},
        "surface_dice": {f"{tolerance:g}": v for tolerance, v in match.surface_dice.items()},
    }


def _match(record: Mapping[str, Any]) -> LesionMatch:
    x, y, z = record["centroid_mm"]
    return LesionMatch(
        centroid_mm=(x, y, z),
        surface_dice={float(tolerance): v for tolerance, v in record["surface_dice"].items()},
        **{name: record[name] for name in _MATCH_NUMBERS},
    )


def _reader(row: Mapping[str, Any], role: str) -> Reader:
    return Reader(
        row[role],
        row[f"{role}_kind"],
        row[f"{role}_intent"],
        row[f"{role}_learned_from"] or None,
        row[f"{role}_variant"],
    )


def _content(row: Mapping[str, Any], role: str) -> Content:
    return Content(**{field.name: float(row[f"{role}_{field.name}"]) for field in fields(Content)})


def _truth(value: object) -> bool:
    """Return a bool, or what its name in a CSV stands for."""
    return str(value) == "True"


def _from_row(row: Mapping[str, Any]) -> Scores:
    tolerance_mm = tuple(float(tolerance) for tolerance in row["tolerance_mm"].split())
    values: dict[str, Any] = {}
    for field in fields(Scores):
        if field.type == "float":
            values[field.name] = float(row[field.name])
        elif field.type == "int":
            values[field.name] = int(float(row[field.name]))
    if row["status"] not in get_args(Status):
        raise InputError(f"status {row['status']!r}: expected {', '.join(get_args(Status))}")
    pet_unit = row.get("pet_unit", "SUVbw")  # tables of before had no other
    if pet_unit not in get_args(PetUnit):
        raise InputError(f"pet_unit {pet_unit!r}: expected {', '.join(get_args(PetUnit))}")
    return Scores(
        **values,
        patient_id=row["patient_id"],
        session=row["session"],
        reference=_reader(row, "reference"),
        candidate=_reader(row, "candidate"),
        status=row["status"],
        held_out=_truth(row["held_out"]),
        demonstration=_truth(row["demonstration"]),
        surface=row["surface"],
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
        reference_content=_content(row, "reference"),
        candidate_content=_content(row, "candidate"),
        matches=tuple(_match(record) for record in json.loads(row["matches"])),
        content_hash=row["content_hash"],
        pet_unit=pet_unit,
    )
