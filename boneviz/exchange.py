"""A cohort as datasets of other tools: nnU-Net v2, MONAI, and a table.

Images go out on one grid, as networks take them: the CT's own lattice in straight RAS axes, the
PET resampled linearly onto it, the masks as they are (`boneviz.harmonise.harmonise`). CT is stored
as int16 HU, PET in steps of 1/32767 of its maximum, masks as 0 and 1. A PET in counts goes out as
float32, and what was recorded of a PET goes beside it (`boneviz.petrecord`), so that counts come
back as counts. Identity goes with them: the patient ids of the cohort are in names of files.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from tqdm.auto import tqdm

from boneviz.case import CaseRef, Reader
from boneviz.cohort import Cohort
from boneviz.errors import CohortError, InputError
from boneviz.files import sha256_of, write_whole
from boneviz.folds import Folds
from boneviz.growing import Growing, growing_folder
from boneviz.harmonise import harmonise
from boneviz.nifti import read_case, read_mask, write_volume
from boneviz.paths import inside
from boneviz.petrecord import PetRecord, pet_record_path, read_pet_record, write_pet_record
from boneviz.scoretable import csv_of
from boneviz.version import __version__

__all__ = ["export_csv", "export_monai", "export_nnunet", "folds_of"]

LABELS = {"background": 0, "infection": 1}


def export_nnunet(
    cohort: Cohort,
    out: str | Path,
    *,
    experts: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """Write a raw dataset of nnU-Net v2, whole or not at all; cut off, the next run goes on.

    nnU-Net trains on ``labelsTr``, which holds the outlines of the first expert; those of further
    experts are in ``labelsTr_NAME``, which nnU-Net passes over and `Cohort.from_nnunet` reads. For
    a model of another expert, export again with that expert first. ``splits_final.json``, made
    from the cohort's folds where there are any, is to be copied into nnU-Net's preprocessed folder.

    Parameters
    ----------
    cohort : with at least one expert
    out : new folder, named as nnU-Net finds its datasets, such as ``Dataset501_BoneInfection``
    experts : names, the one to learn from first; all by default
    progress : show a bar

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        `out` is there already or has another kind of name, or an unknown or no expert.
    BonevizError
        A case cannot be read or harmonised.
    """
    out = Path(out)
    if not re.fullmatch(r"Dataset\d{3}_\w+", out.name, re.ASCII):
        raise InputError(
            f"{out}: expected a folder that nnU-Net finds, Dataset, three digits and a name, such "
            "as Dataset501_BoneInfection"
        )
    chosen = _experts(cohort, experts)
    folders = {r: "labelsTr" if n == 0 else f"labelsTr_{r.key}" for n, r in enumerate(chosen)}
    with growing_folder(out, settings=_settings("nnunet", cohort, chosen)) as growing:
        for ref in _each(cohort, "nnU-Net", progress):
            files = {
                "ct": f"imagesTr/{ref.case_id}_0000.nii.gz",
                "pet": f"imagesTr/{ref.case_id}_0001.nii.gz",
                **{r.name: f"{folder}/{ref.case_id}.nii.gz" for r, folder in folders.items()},
            }
            _write(ref, chosen, files, growing)
        content = {
            "channel_names": {"0": "CT", "1": "PET"},
            "labels": LABELS,
            "numTraining": len(cohort),
            "file_ending": ".nii.gz",
            "name": cohort.name,
            "licence": cohort.licence,
            "description": cohort.provenance,
            "boneviz": {
                "version": __version__,
                "experts": {reader.name: folder for reader, folder in folders.items()},
                "cases": {ref.case_id: [ref.patient_id, ref.session] for ref in cohort},
            },
        }
        folds = folds_of(cohort)
        if folds is not None:
            splits = [_split(cohort, folds, fold) for fold in range(folds.n_folds)]
            write_whole(growing.folder / "splits_final.json", _json(splits))
        else:
            (growing.folder / "splits_final.json").unlink(missing_ok=True)  # of an earlier run
        write_whole(growing.folder / "dataset.json", _json(content))
    return out


def export_monai(
    cohort: Cohort,
    out: str | Path,
    *,
    experts: Sequence[str] | None = None,
    progress: bool = True,
) -> Path:
    """Write a folder with images, labels and a MONAI datalist; cut off, the next run goes on.

    ``datalist.json`` has one list, ``training``, whose items hold ``image`` (CT, PET), ``ct``,
    ``pet``, ``label`` of the first expert, ``label_NAME`` of every expert, ``patient_id``,
    ``session``, and ``fold`` where the cohort has folds; paths are relative to its folder.

    Parameters
    ----------
    cohort : with at least one expert
    out : new folder
    experts : names, the one to learn from first; all by default
    progress : show a bar

    Returns
    -------
    Path
        The datalist.

    Raises
    ------
    InputError
        `out` is there already, or an unknown or no expert.
    BonevizError
        A case cannot be read or harmonised.
    """
    out = Path(out)
    chosen = _experts(cohort, experts)
    folds = folds_of(cohort)
    items = []
    with growing_folder(out, settings=_settings("monai", cohort, chosen)) as growing:
        for ref in _each(cohort, "MONAI", progress):
            ct, pet = (f"images/{ref.case_id}_{what}.nii.gz" for what in ("ct", "pet"))
            masks = {r: f"labels/{ref.case_id}_{r.key}.nii.gz" for r in chosen}
            names = {reader.name: path for reader, path in masks.items()}
            _write(ref, chosen, {"ct": ct, "pet": pet, **names}, growing)
            items.append(
                {
                    "image": [ct, pet],
                    "ct": ct,
                    "pet": pet,
                    "label": masks[chosen[0]],
                    **{f"label_{reader.key}": path for reader, path in masks.items()},
                    "patient_id": ref.patient_id,
                    "session": ref.session,
                    **({} if folds is None else {"fold": folds.of_patient[ref.patient_id]}),
                }
            )
        content = {
            "name": cohort.name,
            "licence": cohort.licence,
            "description": cohort.provenance,
            "modality": {"0": "CT", "1": "PET"},
            "labels": {str(value): name for name, value in LABELS.items()},
            "training": items,
            "boneviz": {
                "version": __version__,
                "experts": {reader.name: f"label_{reader.key}" for reader in chosen},
            },
        }
        write_whole(growing.folder / "datalist.json", _json(content))
    return out / "datalist.json"


def export_csv(cohort: Cohort, out: str | Path, *, progress: bool = True) -> Path:
    """Write a table of a cohort's own files and the volumes of its masks; nothing is copied.

    One row per case: ``patient_id``, ``session``, ``fold`` where there are folds, ``ct``, ``pet``,
    a path per expert, and ``NAME mL``. Paths are relative to the table's folder. It opens in a
    spreadsheet, and texts that a spreadsheet would run as formulas have an apostrophe before them.

    Parameters
    ----------
    cohort : experts may be none
    out : new ``.csv`` file
    progress : show a bar

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        `out` is there already, has another suffix, or the cohort has no cases.
    BonevizError
        A mask cannot be read.
    """
    out = Path(out)
    if out.suffix != ".csv":
        raise InputError(f"{out}: expected a file name ending in .csv")
    if out.exists() or out.is_symlink():
        raise InputError(
            f"{out}: there already, expected a new file; nothing is written over: "
            "move it away or choose another name"
        )
    folds = folds_of(cohort)
    rows = []
    for ref in _each(cohort, "volumes", progress):
        row: dict[str, Any] = {"patient_id": ref.patient_id, "session": ref.session}
        if folds is not None:
            row["fold"] = folds.of_patient[ref.patient_id]
        files = {"ct": ref.ct, "pet": ref.pet, **{r.name: p for r, p in ref.masks.items()}}
        row |= {name: _relative(path, out.parent) for name, path in files.items()}
        row |= {f"{r.name} mL": round(read_mask(ref, r).volume_ml, 4) for r in ref.masks}
        rows.append(row)
    write_whole(out, csv_of(pd.DataFrame(rows)))
    return out


def folds_of(cohort: Cohort) -> Folds | None:
    """Return the saved folds of a cohort, or those it came with; None where there are none.

    Raises
    ------
    CohortError
        ``folds.json`` is damaged, is a link that leads out, or lacks a patient of the cohort.
    """
    path = inside(cohort.root, "folds.json", what=f"cohort {cohort.name}")
    folds = Folds.load(path) if path.is_file() else cohort.folds
    if folds is not None:
        lacking = [patient for patient in cohort.patients if patient not in folds.of_patient]
        if lacking:
            raise CohortError(
                f"{path}: patient {lacking[0]} is in no fold, expected every patient in one; "
                "deal folds anew with `boneviz crossval`, or move folds.json away"
            )
    return folds


def _split(cohort: Cohort, folds: Folds, fold: int) -> dict[str, list[str]]:
    held_out = folds.held_out(fold)
    return {
        "train": [ref.case_id for ref in cohort if ref.patient_id not in held_out],
        "val": [ref.case_id for ref in cohort if ref.patient_id in held_out],
    }


def _experts(cohort: Cohort, names: Sequence[str] | None) -> tuple[Reader, ...]:
    chosen = cohort.experts if names is None else tuple(cohort.reader(name) for name in names)
    people = [reader for reader in chosen if reader.kind == "expert"]
    if not chosen or len(people) < len(chosen) or len(set(chosen)) < len(chosen):
        listed = ", ".join(reader.name for reader in chosen) or "nobody"
        raise InputError(
            f"outlines of {listed}: expected one or more experts of {cohort.name}, each once"
        )
    return chosen


def _each(cohort: Cohort, what: str, progress: bool) -> tqdm[CaseRef]:
    if not len(cohort):
        raise InputError(f"cohort {cohort.name} has no cases to export")
    return tqdm(
        cohort, total=len(cohort), desc=what, unit="case", disable=not progress, leave=False
    )


def _settings(what: str, cohort: Cohort, experts: Sequence[Reader]) -> str:
    cases = [ref.case_id for ref in cohort]
    return json.dumps([what, __version__, cases, [reader.name for reader in experts]])


def _write(
    ref: CaseRef, experts: Sequence[Reader], files: dict[str, str], growing: Growing
) -> None:
    """Write CT, PET with its record, and masks of a case on one grid, unless an earlier run has."""
    read = {"ct": ref.ct, "pet": ref.pet, **{r.name: ref.masks[r] for r in experts}}
    hashed = {name: sha256_of(path) for name, path in read.items()}
    recorded = pet_record_path(ref.pet)
    unit = sha256_of(recorded) if recorded.is_file() else ""
    content = hashlib.sha256(json.dumps([hashed, unit, repr(ref.label)]).encode()).hexdigest()
    there = all((growing.folder / path).is_file() for path in files.values())
    if there and growing.has(ref.case_id, content):
        return
    growing.begin(ref.case_id)
    case = harmonise(read_case(ref, readers=experts))
    pet = growing.folder / files["pet"]
    record = read_pet_record(ref.pet)
    pet_record_path(pet).unlink(missing_ok=True)  # of an earlier run
    if record != PetRecord():
        write_pet_record(record, pet)
    write_volume(case.ct, growing.folder / files["ct"])
    write_volume(case.pet, pet)
    for reader in experts:
        write_volume(case.masks[reader], growing.folder / files[reader.name])
    growing.add(ref.case_id, content)


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, ensure_ascii=False).encode()
