"""What the datasets of other tools say, in one form: a table of paths, folds, the label meant."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from boneviz.case import LabelChoice
from boneviz.errors import CohortError
from boneviz.folds import Folds

__all__ = ["Dataset", "folds_in", "read_json", "table_of", "text_of", "text_or"]

# thousands of cases; what is larger is no list of files
MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """A dataset of another tool, as paths; no image is read.

    Parameters
    ----------
    table : as `boneviz.Cohort.from_table` takes it, with a column ``fold`` where folds are known
    name : shown as a title
    experts : the columns of masks
    licence, note : free text; the note says what was left out
    label : which values of the masks are the lesion
    """

    table: pd.DataFrame
    name: str
    experts: tuple[str, ...]
    licence: str = ""
    note: str = ""
    label: LabelChoice | None = None


def folds_in(table: pd.DataFrame) -> Folds | None:
    """Return the folds that a table's column ``fold`` gives, or None where it has none.

    Parameters
    ----------
    table : with ``patient_id``; ``fold`` is a whole number from 0, the fold of the models that do
        not learn from this patient

    Raises
    ------
    CohortError
        A fold is missing or no whole number, or two sessions of one patient are in two folds.
    """
    if "fold" not in table.columns:
        return None
    of_patient: dict[str, int] = {}
    for row in table.to_dict("records"):
        who = str(row["patient_id"])
        try:
            fold = int(row["fold"])
            if fold != row["fold"] or isinstance(row["fold"], bool):
                raise ValueError
        except (TypeError, ValueError, OverflowError) as error:
            raise CohortError(
                f"patient {who}: fold {row['fold']!r}, expected a whole number from 0"
            ) from error
        if of_patient.setdefault(who, fold) != fold:
            raise CohortError(
                f"patient {who} is in the folds {of_patient[who]} and {fold}: a model would be "
                "tested on a patient it had learned from; put all sessions into one fold"
            )
    return Folds(of_patient, seed=0)


def read_json(path: Path, *, what: str) -> Any:
    """Return the content of a JSON file that somebody else wrote.

    Raises
    ------
    CohortError
        Missing, larger than 64 MiB, or not JSON.
    """
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MOST_BYTES:
            raise CohortError(
                f"{path}: {size} bytes, expected {what}, a file of at most {MOST_BYTES}"
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CohortError(f"{path}: no such file, expected {what}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise CohortError(f"{path}: not readable as JSON ({error}), expected {what}") from error


def table_of(rows: Sequence[Mapping[str, Any]], path: Path) -> pd.DataFrame:
    """Return the rows that a file gives as a table.

    Raises
    ------
    CohortError
        A text in it is no Unicode: JSON can spell one half of a pair.
    """
    try:
        return pd.DataFrame(list(rows))
    except UnicodeEncodeError as error:
        raise CohortError(
            f"{path}: a text with half of a pair, {error.object!r}, expected Unicode; write the "
            "file again in UTF-8"
        ) from error


def text_of(value: object, *, where: str) -> str:
    """Return a text, or raise `CohortError` where it is something else or blank."""
    if not isinstance(value, str) or not value.strip():
        raise CohortError(f"{where}: {value!r}, expected a text")
    return value


def text_or(content: dict[str, Any], key: str, default: str) -> str:
    """Return a text of a dataset's description, made fit to be shown; else the default."""
    value = content.get(key)
    if not isinstance(value, str) or not value.strip():
        return default
    return "".join(c if c.isprintable() or c == "\n" else " " for c in value)
