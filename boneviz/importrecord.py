"""Where a case of an import comes from, as marks that tell nothing without the key.

By them a later import knows a finished case again, and refuses to put another patient or study in
its place.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boneviz.dicomfiles import Series
from boneviz.dicomvalues import tag_name
from boneviz.identity import Key
from boneviz.importplan import Session
from boneviz.labelsource import Outline
from boneviz.volume import Grid

__all__ = ["RECORD", "Origin", "origin_of", "patients_out_of_place", "read_origins"]

RECORD = "import.json"
AT_ONCE = 2**20


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a case comes from, as marks of the key.

    Parameters
    ----------
    patient : of the PatientID
    study : of the StudyInstanceUID, whatever the session is called
    source : of voxels, geometry, SUV, outlines and options: another one gives another case
    """

    patient: str
    study: str
    source: str


def origin_of(session: Session, outlines: Sequence[Outline], options: str, key: Key) -> Origin:
    """Return the marks of a session that is to be imported; its files are read, not decoded.

    Raises
    ------
    OSError
        A file cannot be read.
    """
    suv = (
        session.without_suv
        if session.suv is None
        else json.dumps(session.suv.as_dict(), sort_keys=True)
    )
    source = key.mark(
        session.study_id,
        *_files(session.ct),
        "PET",
        *_files(session.pet),
        "counts" if session.suv is None else "SUVbw",
        suv,
        *_lies(session.ct_grid),
        *_lies(session.pet_grid),
        *(f"{outline.reader.name}|{outline.content}" for outline in outlines),
        options,
    )
    return Origin(_patient(session, key), _study(session, key), source)


def read_origins(out: Path) -> dict[tuple[str, str], Origin | None]:
    """Return study id and session -> origin of the cases there are, None where it is damaged."""
    origins: dict[tuple[str, str], Origin | None] = {}
    for folder in sorted(out.glob("*/S*")):
        if not re.fullmatch(r"S\d+", folder.name) or not folder.is_dir():
            continue
        try:
            record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            origin = Origin(*(str(record[name]) for name in ("patient", "study", "source")))
        except (OSError, ValueError, KeyError, TypeError):
            origin = None
        origins[folder.parent.name, folder.name] = origin
    return origins


def patients_out_of_place(
    sessions: Sequence[Session], there: Mapping[tuple[str, str], Origin | None], key: Key
) -> dict[str, str]:
    """Return study id -> why nothing of this patient can be added to the cases there are.

    A study id belongs to one patient and a patient has one study id; a session is one study, and a
    study has one session. One session that contradicts is enough: all others are counted from it.
    """
    # as a file system that takes capitals for small letters
    cases: dict[str, dict[str, Origin | None]] = defaultdict(dict)
    called: dict[str, str] = {}
    for (study_id, name), origin in there.items():
        cases[study_id.casefold()][name] = origin
        if origin is not None:
            called[origin.patient] = study_id
    found: dict[str, str] = {}
    for session in sessions:
        own = cases.get(session.study_id.casefold(), {})
        why = _out_of_place(session, own, called, key)
        if why:
            found.setdefault(session.study_id, why)
    return found


def _out_of_place(
    session: Session, own: Mapping[str, Origin | None], called: Mapping[str, str], key: Key
) -> str:
    patient, study = _patient(session, key), _study(session, key)
    if damaged := sorted(name for name, origin in own.items() if origin is None):
        return (
            f"{RECORD} of its {damaged[0]} here is absent or damaged: whose case that is is not "
            "known; take that case away, or import into a new folder"
        )
    known = {name: origin for name, origin in own.items() if origin is not None}
    if any(origin.patient != patient for origin in known.values()):
        return (
            f"{session.study_id} is a patient of another {tag_name('PatientID')} here; give the "
            "table of ids of that import (--ids), or import into a new folder"
        )
    if called.get(patient, session.study_id) != session.study_id:
        return (
            f"this patient is {called[patient]} here and would be {session.study_id} now; give the "
            "ids of that import (--ids, or none), or import into a new folder"
        )
    for name, origin in known.items():
        if origin.study == study and name != session.name:
            return (
                f"this study is {name} here and would be {session.name} now, as studies came or "
                "are lacking; import all of the patient's into a new folder"
            )
    there = known.get(session.name)
    if there is not None and there.study != study:
        return (
            f"{session.name} here is another study of this patient, as studies came or are "
            "lacking; import all of the patient's into a new folder"
        )
    return ""


def _patient(session: Session, key: Key) -> str:
    return key.mark("patient", session.ct.patient_id.strip())


def _study(session: Session, key: Key) -> str:
    return key.mark("study", session.pet.study_uid)


def _files(series: Series) -> list[str]:
    """Return a text per file, of what becomes voxels; the rest of a header may change."""
    return sorted(
        "|".join(
            [
                file.sop_uid,
                repr([(each.position, each.slope, each.intercept) for each in file.slices]),
                _pixels(file.path, file.pixel_bytes),
            ]
        )
        for file in series.files
    )


def _pixels(path: Path, where: tuple[int, int] | None) -> str:
    """Return a hash of the file from its pixels on, of all of it where they cannot be told."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        stream.seek(where[0] if where else 0)
        while part := stream.read(AT_ONCE):
            digest.update(part)
    return digest.hexdigest()


def _lies(grid: Grid) -> tuple[str, str]:
    # far below what the last bit of another machine's sums may be
    affine = np.round(grid.affine_ras_mm, 6) + 0.0
    return repr(grid.shape), repr(affine.tolist())
