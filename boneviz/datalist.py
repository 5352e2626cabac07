"""MONAI datalists as tables of paths.

The file, as ``monai.data.load_decathlon_datalist`` reads it::

    {"modality": {"0": "CT", "1": "PET"},
     "training": [{"image": ["a_ct.nii.gz", "a_pet.nii.gz"], "label": "a.nii.gz", "fold": 0}, ...],
     "test": [{"ct": ..., "pet": ..., "label_a": ..., "label_b": ..., "patient_id": "P01"}, ...]}

MONAI ignores the key ``boneviz``, in which an export keeps which key is whose outline.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from boneviz.dataset import Dataset, read_json, table_of, text_of, text_or
from boneviz.errors import CohortError
from boneviz.nnunet import CT_NAMES, PET_NAMES
from boneviz.patientfolders import says

__all__ = ["LISTS", "read_datalist"]

LISTS = ("training", "validation", "test", "testing")
WHAT = "a MONAI datalist"


def read_datalist(
    path: Path, *, labels: Mapping[str, str] | None = None, lists: Sequence[str] = LISTS
) -> Dataset:
    """Return the items of a datalist; `boneviz.Cohort.from_monai_datalist` says how to call it.

    Raises
    ------
    CohortError
        See `boneviz.Cohort.from_monai_datalist`.
    """
    content = read_json(path, what=WHAT)
    items = _items(content, lists, path)
    ours = content.get("boneviz")
    experts = _experts(labels or (ours.get("experts") if isinstance(ours, dict) else None), items)
    if not experts:
        raise CohortError(
            f"{path}: no item has a label, expected a key such as label; "
            'name them: labels={"Expert A": "KEY"}'
        )
    order = _order(content.get("modality"), path)
    rows: list[dict[str, Any]] = []
    left_out = 0
    for where, item in items:
        if not any(item.get(key) for key in experts.values()):
            left_out += 1
            continue
        ct, pet = _scans(item, order, where)
        session = item.get("session", "")
        if not isinstance(session, str | int) or isinstance(session, bool):
            raise CohortError(f"{where}: session {session!r}, expected a text")
        row = {
            "patient_id": _patient(item, ct, where),
            "session": str(session),
            "ct": ct,
            "pet": pet,
        }
        for name, key in experts.items():
            row[name] = text_of(item.get(key), where=f"{where}: {key}")
        rows.append(row | ({"fold": item["fold"]} if "fold" in item else {}))
    if not rows:
        raise CohortError(f"{path}: no item has a label, expected at least one")
    notes = [f"Left out, as without outlines: {left_out} of the datalist."] if left_out else []
    with_fold = sum("fold" in row for row in rows)
    table = table_of(rows, path)
    if with_fold < len(rows):
        table = table.drop(columns="fold", errors="ignore")
        if with_fold:
            notes.append(f"Folds not kept: {len(rows) - with_fold} items have none.")
    _require_one_item_each(table, path)
    return Dataset(
        table,
        text_or(content, "name", path.stem),
        tuple(experts),
        text_or(content, "licence", text_or(content, "license", "")),
        " ".join([text_or(content, "description", ""), *notes]).strip(),
    )


def _items(content: Any, lists: Sequence[str], path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the items of the lists, each with the words that say where it stands."""
    if not isinstance(content, dict):
        raise CohortError(f"{path}: a JSON {type(content).__name__}, expected {WHAT} with lists")
    found = [name for name in lists if isinstance(content.get(name), list)]
    if not found:
        there = ", ".join(map(repr, list(content)[:8])) or "nothing"
        raise CohortError(
            f"{path}: holds {there}, expected a list under one of {', '.join(lists)}; "
            'name yours: lists=["KEY"]'
        )
    items = []
    for name in found:
        for number, item in enumerate(content[name]):
            where = f"{path}, item {number} of {name}"
            if isinstance(item, str) and name.startswith("test"):
                continue  # a path alone: a scan without outlines, as in the Decathlon's files
            if not isinstance(item, dict):
                raise CohortError(f"{where}: a {type(item).__name__}, expected keys and paths")
            items.append((where, item))
    return items


def _experts(given: Any, items: Sequence[tuple[str, dict[str, Any]]]) -> dict[str, str]:
    """Return expert -> key of the items."""
    if isinstance(given, Mapping):
        return {
            text_of(name, where="expert"): text_of(key, where=f"key of {name!r}")
            for name, key in given.items()
        }
    keys = dict.fromkeys(key for _, item in items for key in item if key.startswith("label"))
    if list(keys) == ["label"]:
        return {"Expert": "label"}
    return {key.removeprefix("label").strip("_- ") or "Expert": key for key in keys}


def _order(modality: Any, path: Path) -> tuple[int, int] | None:
    """Return the places of CT and PET in lists of images, where the datalist says them."""
    if modality is None:
        return None
    names = modality
    if isinstance(modality, dict):
        # the keys say the order, not the line they stand in
        numbers = [str(n) for n in range(len(modality))]
        if set(modality) != set(numbers):
            raise CohortError(
                f"{path}: modality with the keys {', '.join(map(repr, modality))}, expected "
                f"{', '.join(map(repr, numbers))}: the places of the images in an item"
            )
        names = [modality[number] for number in numbers]
    if not isinstance(names, list):
        raise CohortError(f'{path}: modality {modality!r}, expected such as {{"0": "CT"}}')
    words = [str(name).strip().casefold() for name in names]
    ct = [n for n, word in enumerate(words) if word in CT_NAMES]
    pet = [n for n, word in enumerate(words) if word in PET_NAMES]
    if len(ct) != 1 or len(pet) != 1:
        raise CohortError(
            f"{path}: modality {', '.join(map(repr, names)) or 'empty'}, expected one CT and one "
            "PET"
        )
    return ct[0], pet[0]


def _scans(item: dict[str, Any], order: tuple[int, int] | None, where: str) -> tuple[str, str]:
    """Return the paths of CT and PET."""
    if "ct" in item or "pet" in item:
        return (
            text_of(item.get("ct"), where=f"{where}: ct"),
            text_of(item.get("pet"), where=f"{where}: pet"),
        )
    images = item.get("image")
    if not isinstance(images, list) or not all(isinstance(path, str) for path in images):
        raise CohortError(
            f"{where}: image {images!r}, expected the paths of CT and PET, as "
            '"image": [CT, PET] or as "ct" and "pet"'
        )
    if order is not None:
        if max(order) >= len(images):
            raise CohortError(f"{where}: {len(images)} images, fewer than modality names")
        return images[order[0]], images[order[1]]
    names = [PurePosixPath(path).name for path in images]
    ct = [path for path, name in zip(images, names, strict=True) if says(name, *CT_NAMES)]
    pet = [path for path, name in zip(images, names, strict=True) if says(name, *PET_NAMES)]
    if len(ct) != 1 or len(pet) != 1 or ct == pet:
        raise CohortError(
            f"{where}: images {', '.join(map(repr, names))}: their names do not tell the CT from "
            'the PET; add "modality": {"0": "CT", "1": "PET"} to the datalist, in their order'
        )
    return ct[0], pet[0]


def _patient(item: dict[str, Any], ct: str, where: str) -> str:
    """Return whose scan it is: as the item says, else after the CT's file or folder."""
    for key in ("patient_id", "subject_id", "subject", "patient"):
        if key in item:
            value = item[key]
            if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
                raise CohortError(f"{where}: {key} {value!r}, expected a text")
            return str(value)
    file = PurePosixPath(ct)
    stem = re.sub(r"(\.nii)?(\.gz)?$", "", file.name, flags=re.IGNORECASE)
    named = re.sub(r"[_.-]*(ct|image|img|0000)$", "", stem, flags=re.IGNORECASE)
    named = re.sub(r"^(ct|image|img)([_.-]+|$)", "", named, flags=re.IGNORECASE)
    named = named or file.parent.name
    if not named or named == "..":
        raise CohortError(f'{where}: nothing says whose scan it is; add "patient_id"')
    return named


def _require_one_item_each(table: pd.DataFrame, path: Path) -> None:
    twice = table[table.duplicated(["patient_id", "session"])]
    if not twice.empty:
        raise CohortError(
            f"{path}: two items are of patient {twice['patient_id'].iloc[0]}; give each item its "
            '"patient_id", and its "session" where a patient has several'
        )
