"""Regions of disagreement from rows of a table again; every value is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pandas as pd

from boneviz.errors import InputError
from boneviz.regions import FLAT, Kind, Region, Tissue
from boneviz.scoretable import plain_text, require_suffix

__all__ = ["read_regions", "region_of_row"]

TEXTS = ("patient_id", "session", "reference", "candidate", "version")
MOST_LETTERS = 200  # of a name
LARGEST = 1e9  # of any number: millimetres, millilitres, voxels
UNDEFINED = ("reach_mm", "suv_max", "suv_mean", "distance_to_bone_mm")
COLUMNS = tuple(c for name in Region.__slots__ for c in FLAT.get(name, (name,)))


def region_of_row(row: Mapping[str, Any]) -> Region:
    """Return the region that `Region.as_row` wrote as this row.

    Parameters
    ----------
    row : values as they were, or as texts where the table was a CSV; undefined numbers are NaN,
        None or empty

    Raises
    ------
    InputError
        A column is missing or unknown, or holds what a region cannot.
    """
    if lacking := [column for column in COLUMNS if column not in row]:
        raise InputError(f"a region without {', '.join(lacking[:4])}; expected all columns")
    if unknown := [str(column)[:40] for column in row if column not in COLUMNS]:
        raise InputError(f"a region with {', '.join(unknown[:4])}, which no region has")
    values: dict[str, Any] = {name: _text(row, name) for name in TEXTS}
    for name in ("number", "n_voxels"):
        values[name] = _count(row, name)
    values["kind"] = _among(row, "kind", get_args(Kind))
    values["tissue"] = _among(row, "tissue", get_args(Tissue))
    values["held_out"] = _among(row, "held_out", ("True", "False")) == "True"
    pair = (values["reference"], values["candidate"])
    drawn_by = _among(row, "readers", (*pair, " + ".join(pair)))
    if pair[0] == pair[1]:
        raise InputError(f"a region between {pair[0][:40]!r} and itself: expected two readers")
    values["readers"] = pair if drawn_by not in pair else (drawn_by,)
    points = {name: tuple(_number(row, c) for c in columns) for name, columns in FLAT.items()}
    low, high = points["box_mm"][:3], points["box_mm"][3:]
    for name in Region.__slots__:
        if name not in values and name not in points:
            values[name] = _number(row, name)
    if not (values["rim_mm"] > 0 and 0 < values["threshold"] <= 1):
        raise InputError("a region with a rim or a threshold that cannot be: expected more than 0")
    return Region(**{**values, **points, "box_mm": (low, high)})


def read_regions(path: str | Path) -> tuple[Region, ...]:
    """Return the regions of a table, ``.csv`` or ``.parquet``.

    Raises
    ------
    InputError
        The file is missing or no table, or a row is no region.
    """
    path = Path(path)
    require_suffix(path)
    if not path.is_file():
        raise InputError(f"{path}: no such table of regions")
    try:
        if path.suffix == ".parquet":
            table = pd.read_parquet(path)
        else:
            table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not a table of regions ({error})") from error
    found = []
    for place, row in enumerate(table.to_dict("records"), start=1):
        try:
            found.append(region_of_row({str(name): value for name, value in row.items()}))
        except InputError as error:
            raise InputError(
                f"{path}, row {place}: {error}; expected a table of starred regions"
            ) from error
    return tuple(found)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or len(value) > MOST_LETTERS:
        raise InputError(f"{name} of a region: expected a text of at most {MOST_LETTERS} letters")
    return plain_text(value)


def _among(row: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = plain_text(str(row[name]))
    if value not in known:
        expected = ", ".join(repr(each) for each in known)
        raise InputError(f"{name} of a region is {value[:40]!r}: expected one of {expected}")
    return value


def _number(row: Mapping[str, Any], name: str) -> float:
    value = row[name]
    if name in UNDEFINED and (value is None or str(value) in ("", "nan")):
        return math.nan
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) < LARGEST:
        raise InputError(f"{name} of a region is {str(value)[:40]!r}: expected a number")
    return number


def _count(row: Mapping[str, Any], name: str) -> int:
    number = _number(row, name)
    if number < 1 or number != int(number):
        raise InputError(f"{name} of a region is {number:g}: expected a whole number from 1 on")
    return int(number)
