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

from boneviz.dicombytes import tag_of
from boneviz.dicomfiles import Series
from boneviz.errors import InputError
from boneviz.identity import Key
from boneviz.importplan import Row, Session
from boneviz.labelsource import Outline
from boneviz.paths import inside
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
    patient = key.mark("patient", session.ct.patient_id.strip())
    return Origin(patient, _study(session.pet, key), source)


def read_origins(out: Path) -> dict[tuple[str, str], Origin | None]:
    """Return study id and session -> origin of the cases there are, None where it is damaged."""
    origins: dict[tuple[str, str], Origin | None] = {}
    for folder in sorted(out.glob("*/S*")):
        if not re.fullmatch(r"S\d+", folder.name) or not folder.is_dir():
            continue
        try:
            path = inside(out, (folder / RECORD).relative_to(out), what="a case of an import")
            record = json.loads(path.read_text(encoding="utf-8"))
            origin = Origin(*(str(record[name]) for name in ("patient", "study", "source")))
        except (InputError, OSError, ValueError, KeyError, TypeError):
            origin = None
        origins[folder.parent.name, folder.name] = origin
    return origins


def patients_out_of_place(
    rows: Sequence[Row], there: Mapping[tuple[str, str], Origin | None], key: Key
) -> dict[str, str]:
    """Return study id -> why nothing of this patient can be added to the cases there are.

    A study id belongs to one patient and a patient has one study id; a session is one study, and a
    study has one session. One session that contradicts is enough: all others are counted from it.

    Parameters
    ----------
    rows : of a plan, those of refused sessions too
    """
    # as a file system that takes capitals for small letters
    cases: dict[str, dict[str, Origin | None]] = defaultdict(dict)
    called: dict[str, str] = {}
    for (study_id, name), origin in there.items():
        cases[study_id.casefold()][name] = origin
        if origin is not None:
            called[origin.patient] = study_id
    patients: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.session:
            patients[row.study_id][row.session] = row
    found = {}
    for study_id, sessions in patients.items():
        own = cases.get(study_id.casefold(), {})
        patient = key.mark("patient", next(iter(sessions.values())).series.patient_id.strip())
        studies = {name: _study(row.series, key) for name, row in sessions.items()}
        why = _of_whom(study_id, patient, own, called) or _of_which(studies, own)
        if why:
            found[study_id] = why
    return found


def _of_whom(
    study_id: str, patient: str, own: Mapping[str, Origin | None], called: Mapping[str, str]
) -> str:
    """Return why a study id is not the patient's, empty where it may be."""
    if damaged := sorted(name for name, origin in own.items() if origin is None):
        return (
            f"{RECORD} of its {damaged[0]} here is absent or damaged: whose case that is is not "
            "known; take that case away, or import into a new folder"
        )
    if any(origin.patient != patient for origin in own.values() if origin is not None):
        return (
            f"{study_id} is a patient of another {tag_of('PatientID')} here; give the table of "
            "ids of that import (--ids), or import into a new folder"
        )
    if called.get(patient, study_id) != study_id:
        return (
            f"this patient is {called[patient]} here and would be {study_id} now; give the ids of "
            "that import (--ids, or none), or import into a new folder"
        )
    return ""


def _of_which(studies: Mapping[str, str], own: Mapping[str, Origin | None]) -> str:
    """Return why sessions cannot stand beside those there are, empty where they can."""
    known = {name: origin.study for name, origin in own.items() if origin is not None}
    place = {study: name for name, study in known.items()}
    advice = "import all of the patient's studies into a new folder"
    for name, study in studies.items():
        if place.get(study, name) != name:
            return f"this study is {place[study]} here and would be {name} now; {advice}"
    for name, study in studies.items():
        if known.get(name, study) != study:
            return f"{name} here is another study of this patient than now; {advice}"
    # sessions and days are counted among the studies of one import
    lacking = sorted(name for name in known if name not in studies)
    if lacking and not set(studies) <= set(known):
        return f"the study of its {lacking[0]} here is not among those now; {advice}"
    return ""


def _study(series: Series, key: Key) -> str:
    return key.mark("study", series.study_uid)


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
