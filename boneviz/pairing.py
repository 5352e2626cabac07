"""Which CT and PET of a folder make the sessions of a cohort, and why each other series does not.

A session is a study with a PET. Its PET is the attenuation-corrected one that has a CT in its
FrameOfReferenceUID; its CT is the one that covers the PET and has the finest slices. Where two fit
alike, none is taken: the user says which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from boneviz.dicom import read_grid, suv_derivation
from boneviz.dicomfiles import Found, Series
from boneviz.dicomheader import MULTIFRAME
from boneviz.dicomvalues import tag_name
from boneviz.errors import BonevizError, InputError
from boneviz.identity import StudyIds
from boneviz.importplan import LABELS, Plan, Row, Session
from boneviz.suv import AS_COUNTS, SuvDerivation
from boneviz.volume import Grid

__all__ = ["plan_import"]

IMAGES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
} | {sop: "CT" if "CT" in name else "PT" for sop, name in MULTIFRAME.items()}
SCOUTS = ("LOCALIZER", "SCOUT", "SURVIEW")
REFORMATS = ("MPR", "MIP", "REFORMATTED", "PROJECTION IMAGE", "CSA MIP", "VRT", "SCREENSAVE")
COVERS = 0.9  # of the PET's length: the ends of both scans seldom coincide
ALIKE = 0.01
FRAME = tag_name("FrameOfReferenceUID")


def plan_import(
    found: Found, ids: StudyIds, *, take: Collection[int] = (), as_counts: bool = False
) -> Plan:
    """Choose a CT and a PET for every study with a PET; only headers are looked at.

    Parameters
    ----------
    take : numbers of rows that are to be taken where several fit
    as_counts : take a PET whose headers give no SUV all the same, as counts

    Raises
    ------
    InputError
        A number in `take` that no row has, or that of neither a CT nor a PET.
    """
    rows = _numbered(found, ids)
    _require_images(rows, take)
    sessions: list[Session] = []
    refused: list[tuple[str, str]] = []
    done: list[Row] = []
    by_patient: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_patient[row.study_id].append(row)
    for study_id, own in by_patient.items():
        if not study_id:
            done += [replace(row, why=_no_id(ids)) for row in own]
            refused += [(f"series {row.number}", _no_id(ids)) for row in own if _is(row, "PT")]
            continue
        patients = {row.series.patient_id.strip() for row in own}
        named, problem = _sessions_of(own)
        if len(patients) > 1:
            problem = "two patients got one study id; call one of them by a table (--ids)"
        for study in _studies(named):
            decided = study
            if study[0].session:
                who = f"{study_id}_{study[0].session}"
                try:
                    if problem:
                        raise InputError(problem)
                    decided, session = _choose(study, take=take, as_counts=as_counts)
                    sessions.append(session)
                except BonevizError as error:
                    why = _without_path(str(error), study)
                    refused.append((who, why))
                    decided = [_refused(row, why) for row in study]
            else:
                decided = [_without_pet(row) for row in study]
            done += decided
    done.sort(key=lambda row: row.number)
    return Plan(tuple(done), tuple(sessions), tuple(refused))


def _numbered(found: Found, ids: StudyIds) -> list[Row]:
    """Return a row per series, patients and studies together, studies by date.

    Patients come as their files do: by an order of study ids, another key would change numbers.
    """
    first: dict[str, Path] = {}
    for series in found:
        who = series.patient_id.strip()
        first[who] = min(first.get(who, series.paths[0]), series.paths[0])
    ordered = sorted(
        found,
        key=lambda series: (
            first[series.patient_id.strip()],
            str(series.study_at or ""),
            series.study_uid,
            series.modality,
            series.paths[0],
        ),
    )
    return [Row(n, s, ids.of(s.patient_id) or "") for n, s in enumerate(ordered, start=1)]


def _require_images(rows: Sequence[Row], take: Collection[int]) -> None:
    images = {row.number for row in rows if _is(row, "CT") or _is(row, "PT")}
    for number in sorted(set(take) - images):
        raise InputError(
            f"series {number}: no CT or PET of that number in the table, which has "
            f"{', '.join(map(str, sorted(images))) or 'none'}"
        )


def _sessions_of(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Name the studies with a PET S1, S2 and so on by date; and say why that cannot be."""
    starts = {row.series.study_uid: row.series.study_at for row in rows if _is(row, "PT")}
    known = [at for at in starts.values() if at is not None]
    problem = ""
    if len(starts) > 1 and len(set(known)) < len(starts):
        problem = (
            f"{len(starts)} studies of the patient, and {tag_name('StudyDate')} with "
            f"{tag_name('StudyTime')} are absent or the same: which came first is not known; "
            "correct them at their source"
        )
    order = sorted(starts, key=lambda uid: (str(starts[uid] or ""), uid))
    first = min(known).date() if known else None
    named = []
    for row in rows:
        at = starts.get(row.series.study_uid)
        name = f"S{order.index(row.series.study_uid) + 1}" if row.series.study_uid in starts else ""
        days = (at.date() - first).days if at is not None and first is not None else None
        named.append(replace(row, session=name, days=days))
    return named, problem


def _studies(rows: Iterable[Row]) -> list[list[Row]]:
    studies: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        studies[row.series.study_uid].append(row)
    return list(studies.values())


def _choose(
    study: list[Row], *, take: Collection[int], as_counts: bool
) -> tuple[list[Row], Session]:
    """Return the rows with what became of each, and the session.

    Raises
    ------
    BonevizError
        No pair, or several.
    """
    rows = [_looked_at(row, as_counts=as_counts) for row in study]
    for row in rows:
        if row.number in take and row.why:
            raise InputError(f"series {row.number} was chosen and cannot be taken: {row.why}")
    pets = _taken([row for row in rows if _is(row, "PT") and not row.why], take)
    cts = _taken([row for row in rows if _is(row, "CT") and not row.why], take)
    corrected = [row for row in pets if row.series.attenuation_corrected]
    # without SUV an uncorrected PET is shown where there is no other
    pets = corrected or (pets if as_counts else [])
    if not pets:
        raise InputError(
            f"no PET that is corrected for attenuation ({tag_name('CorrectedImage')} with ATTN)"
            + _reasons(rows, "PT")
            + "; give the corrected series, or load it without SUV (--as-counts)"
        )
    paired = [pet for pet in pets if any(_one_frame(pet, ct) for ct in cts)]
    if not paired:
        raise InputError(
            f"no CT in the {FRAME} of the PET"
            + (f", {_listed(cts)} in another" if cts else "")
            + _reasons(rows, "CT")
            + "; give the CT of the same examination"
        )
    if len(paired) > 1:
        raise InputError(
            f"{len(paired)} PET series fit alike, {_listed(paired)}; choose one (--series NUMBER)"
        )
    (pet,) = paired
    ct, why = _fitting([ct for ct in cts if _one_frame(pet, ct)], pet)
    _require_one_name(ct, pet)
    assert ct.grid is not None and pet.grid is not None
    suv, without = _suv(pet.series, as_counts=as_counts)
    unit = "SUVbw" if suv else "counts"
    decided = []
    for row in rows:
        if row.number == ct.number:
            decided.append(replace(row, chosen=True, why=why))
        elif row.number == pet.number:
            decided.append(replace(row, chosen=True, why=f"PET in {unit}"))
        else:
            decided.append(replace(row, why=row.why or _passed_over(row, ct, pet)))
    session = Session(
        pet.study_id,
        pet.session,
        pet.days,
        ct.series,
        pet.series,
        ct.grid,
        pet.grid,
        suv,
        without,
    )
    return decided, session


def _looked_at(row: Row, *, as_counts: bool) -> Row:
    """Return the row with its grid, or with why it can be neither CT nor PET."""
    series = row.series
    if series.modality not in ("CT", "PT"):
        return replace(row, why=_unpaired(row))
    types = [word.upper() for word in series.image_type]
    if any(word in types for word in SCOUTS):
        return replace(row, why="a scout")
    if any(word in types for word in REFORMATS):
        return replace(row, why="a reformat, not the scan itself")
    if IMAGES.get(series.sop_class) != series.modality:
        return replace(row, why=f"not an image ({tag_name('SOPClassUID')})")
    if _is(row, "PT") and not series.attenuation_corrected and not as_counts:
        return replace(row, why="not corrected for attenuation")
    try:
        row = replace(row, grid=read_grid(series))
    except BonevizError as error:
        return replace(row, why=_without_path(str(error), [row]))
    without_frame = series.frame_of_reference_uid is None
    return replace(row, why=f"without {FRAME}" if without_frame else "")


def _taken(rows: list[Row], take: Collection[int]) -> list[Row]:
    """Return those that the user chose, or all where none of them was."""
    return [row for row in rows if row.number in take] or rows


def _fitting(cts: Sequence[Row], pet: Row) -> tuple[Row, str]:
    """Return the CT that covers the PET and has the finest voxels, and what it was chosen for."""
    covered = {ct.number: _covered(ct.grid, pet.grid) for ct in cts}
    whole = [ct for ct in cts if covered[ct.number] >= COVERS]
    if not whole and len(cts) == 1:
        return cts[0], f"covers {covered[cts[0].number]:.0%} of the PET's length"
    if not whole:
        shares = ", ".join(f"series {ct.number} {covered[ct.number]:.0%}" for ct in cts)
        raise InputError(
            f"no CT covers the PET ({shares} of its length, expected {COVERS:.0%}); choose one "
            "(--series NUMBER)"
        )
    finest = min(whole, key=_voxel)
    alike = [ct for ct in whole if np.allclose(_voxel(ct), _voxel(finest), rtol=ALIKE, atol=0.0)]
    if len(alike) > 1:
        raise InputError(
            f"{len(alike)} CT series fit alike, {_listed(alike)}; choose one (--series NUMBER)"
        )
    return finest, "covers the PET" + (", finest slices" if len(whole) > 1 else "")


def _covered(ct: Grid | None, pet: Grid | None) -> float:
    """Return which part of the PET's length along the CT's slices the CT covers, 0 to 1."""
    assert ct is not None and pet is not None
    along = ct.affine_ras_mm[:3, 2] / ct.spacing_mm[2]
    spans = []
    for grid in (ct, pet):
        places = grid.corners_mm() @ along
        # voxels end half a step beyond their centres
        half = float(np.abs(along @ grid.affine_ras_mm[:3, :3]).sum()) / 2
        spans.append((places.min() - half, places.max() + half))
    (low, high), (first, last) = spans
    return float(max(0.0, min(high, last) - max(low, first)) / (last - first))


def _voxel(row: Row) -> tuple[float, float]:
    """Return the distance of slices, then that of pixels."""
    assert row.grid is not None
    x, y, z = row.grid.spacing_mm
    return z, max(x, y)


def _suv(series: Series, *, as_counts: bool) -> tuple[SuvDerivation | None, str]:
    try:
        return suv_derivation(series), ""
    except InputError as error:
        if not as_counts:
            option = " (--as-counts)" if str(error).endswith(AS_COUNTS) else ""
            raise InputError(f"{error}{option}") from error
        why = str(error).removeprefix(f"{series.folder}: ")
        return None, why


def _require_one_name(ct: Row, pet: Row) -> None:
    """Refuse a CT and a PET under one id that name two people."""
    # as one system writes in capitals and another does not; after = the same in another script
    spelt = (row.series.patient_name.split("=")[0].replace("^", " ") for row in (ct, pet))
    names = {" ".join(name.casefold().split()) for name in spelt} - {""}
    if len(names) > 1:
        raise InputError(
            f"CT and PET (series {ct.number} and {pet.number}) have one {tag_name('PatientID')} "
            f"and two values of {tag_name('PatientName')}: whose they are is not known; correct "
            "them at their source"
        )


def _one_frame(a: Row, b: Row) -> bool:
    return a.series.frame_of_reference_uid == b.series.frame_of_reference_uid


def _passed_over(row: Row, ct: Row, pet: Row) -> str:
    if not _one_frame(row, pet):
        return "in another frame of reference than the PET"
    if _is(row, "PT"):
        return "another PET was taken"
    assert row.grid is not None
    if _covered(row.grid, pet.grid) < COVERS <= _covered(ct.grid, pet.grid):
        return f"covers {_covered(row.grid, pet.grid):.0%} of the PET's length"
    return "another CT was taken" if _voxel(row) == _voxel(ct) else "coarser than the CT taken"


def _refused(row: Row, why: str) -> Row:
    looked = _looked_at(row, as_counts=False)
    if looked.why:
        return looked
    return replace(looked, why=f"refused: {why}" if _is(row, "PT") else "its session is refused")


def _without_pet(row: Row) -> Row:
    """Return a row of a study without PET, with what else is wrong where it is a CT."""
    if not _is(row, "CT"):
        return replace(row, why=_unpaired(row))
    looked = _looked_at(row, as_counts=False)
    return replace(looked, why=f"no PET in its study{'; ' if looked.why else ''}{looked.why}")


def _unpaired(row: Row) -> str:
    if row.series.modality in LABELS:
        return "outlines, taken where --labels says whose"
    return "not used: neither CT, PET nor outlines"


def _reasons(rows: Sequence[Row], modality: str) -> str:
    said = [f"series {row.number}: {row.why}" for row in rows if _is(row, modality) and row.why]
    return f" ({'; '.join(said)})" if said else ""


def _no_id(ids: StudyIds) -> str:
    if ids.table is None:
        return f"{tag_name('PatientID')} is empty: whose it is is not known"
    return f"{tag_name('PatientID')} is empty or not in the table of ids; add a row"


def _without_path(message: str, rows: Sequence[Row]) -> str:
    """Return an error without its folder: the row's number says which series it is."""
    for row in rows:
        message = message.removeprefix(f"{row.series.folder}: ")
    return message


def _listed(rows: Sequence[Row]) -> str:
    return "series " + " and ".join(str(row.number) for row in rows)


def _is(row: Row, modality: str) -> bool:
    return row.series.modality == modality
