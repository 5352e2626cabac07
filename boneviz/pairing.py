"""Which CT and PET of a folder make the sessions of a cohort, and why each other series does not.

A session is a study with a PET. Its PET is the attenuation-corrected one that has a CT in its
FrameOfReferenceUID; its CT is the one that covers the PET and has the finest slices. Where two fit
alike, none is taken: the user says which.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from boneviz.ctchoice import COVERS, covered, fitting_ct, listed, voxel
from boneviz.dicom import read_grid, suv_derivation
from boneviz.dicombytes import tag_of
from boneviz.dicomfiles import Found, Series
from boneviz.dicomheader import MULTIFRAME
from boneviz.errors import BonevizError, InputError
from boneviz.identity import StudyIds
from boneviz.importplan import LABELS, Plan, Row, Session
from boneviz.importrows import in_sessions, numbered, numbers_of, two_people
from boneviz.suv import AS_COUNTS, SuvDerivation

__all__ = ["plan_import"]

IMAGES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.128": "PT",
} | {sop: "CT" if "CT" in name else "PT" for sop, name in MULTIFRAME.items()}
SCOUTS = ("LOCALIZER", "SCOUT", "SURVIEW")
REFORMATS = ("MPR", "MIP", "REFORMATTED", "PROJECTION IMAGE", "CSA MIP", "VRT", "SCREENSAVE")
FRAME = tag_of("FrameOfReferenceUID")


@dataclass(frozen=True, slots=True)
class _Choice:
    """What the user chose, and the files that nobody can choose."""

    take: frozenset[int]
    as_counts: bool
    damaged: tuple[Path, ...]


def plan_import(
    found: Found,
    ids: StudyIds,
    *,
    take: Collection[int] = (),
    take_of_case: Collection[tuple[str, int]] = (),
    as_counts: bool = False,
) -> Plan:
    """Choose a CT and a PET for every study with a PET; only headers are looked at.

    Parameters
    ----------
    take : numbers of rows that are to be taken where several fit
    take_of_case : the same by case and number within it, which other cases do not change
    as_counts : take a PET whose headers give no SUV all the same, as counts

    Raises
    ------
    InputError
        A number that no row has, or that of neither a CT nor a PET.
    """
    rows = numbered(found, ids)
    _require_images(rows, take)
    sessions: list[Session] = []
    refused: list[tuple[str, str]] = []
    done: list[Row] = []
    by_patient: dict[str, list[Row]] = defaultdict(list)
    problems: dict[str, str] = {}
    for row in rows:
        by_patient[row.study_id].append(row)
    for study_id in set(by_patient) - {""}:
        by_patient[study_id], problem = in_sessions(by_patient[study_id])
        problems[study_id] = two_people(by_patient[study_id]) or problem
    choice = _Choice(
        frozenset(take) | numbers_of(take_of_case, by_patient),
        as_counts,
        tuple(each.path for each in found.skipped if each.damaged),
    )
    for study_id, own in by_patient.items():
        if not study_id:
            done += [replace(row, why=_no_id(ids)) for row in own]
            refused += [(f"series {row.number}", _no_id(ids)) for row in own if _is(row, "PT")]
            continue
        for study in _studies(own):
            decided = study
            if study[0].session:
                try:
                    if problems[study_id]:
                        raise InputError(problems[study_id])
                    decided, session = _choose(study, own, choice)
                    sessions.append(session)
                except BonevizError as error:
                    why = _without_path(str(error), study)
                    refused.append((study[0].case_id, why))
                    decided = [_refused(row, why) for row in study]
            else:
                decided = [_without_pet(row) for row in study]
            done += decided
    done.sort(key=lambda row: row.number)
    return Plan(tuple(done), tuple(sessions), tuple(refused))


def _require_images(rows: Sequence[Row], take: Collection[int]) -> None:
    images = {row.number for row in rows if _is(row, "CT") or _is(row, "PT")}
    for number in sorted(set(take) - images):
        raise InputError(
            f"series {number}: no CT or PET of that number in the table, which has "
            f"{', '.join(map(str, sorted(images))) or 'none'}"
        )


def _studies(rows: Iterable[Row]) -> list[list[Row]]:
    studies: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        studies[row.series.study_uid].append(row)
    return list(studies.values())


def _choose(study: Sequence[Row], own: Sequence[Row], choice: _Choice) -> tuple[list[Row], Session]:
    """Return the rows of a study with what became of each, and the session.

    Parameters
    ----------
    own : all rows of the patient

    Raises
    ------
    BonevizError
        No pair, or several.
    """
    take, as_counts = choice.take, choice.as_counts
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
            f"no PET that is corrected for attenuation ({tag_of('CorrectedImage')} with ATTN) and "
            f"can be taken{_reasons(rows, 'PT')}; give such a series"
            + (", or load it without SUV (--as-counts)" if _counts_would_do(rows) else "")
        )
    paired = [pet for pet in pets if any(_one_frame(pet, ct) for ct in cts)]
    if not paired:
        raise InputError(
            f"no CT in the {FRAME} of the PET"
            + (f", {listed(cts)} in another" if cts else "")
            + _reasons(rows, "CT")
            + (_elsewhere(own, pets) or "; give the CT of the same examination")
        )
    if len(paired) > 1:
        raise InputError(
            f"{len(paired)} PET series fit alike, {listed(paired)}; choose one (--series NUMBER)"
        )
    (pet,) = paired
    unread = [row for row in rows if _is(row, "CT") and _unread(row) and _one_frame(pet, row)]
    of_frame = [ct for ct in cts if _one_frame(pet, ct)]
    ct, why = fitting_ct(of_frame, pet, unread=unread, take=take)
    _require_complete((ct, pet), choice)
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


def _counts_would_do(rows: Sequence[Row]) -> bool:
    """Whether a PET was refused for want of attenuation correction and for nothing else."""
    return any(
        _is(row, "PT") and row.why and not _looked_at(row, as_counts=True).why for row in rows
    )


def _looked_at(row: Row, *, as_counts: bool) -> Row:
    """Return the row with its grid, or with why it can be neither CT nor PET."""
    series = row.series
    if why := _no_scan(row):
        return replace(row, why=why)
    if _is(row, "PT") and not series.attenuation_corrected and not as_counts:
        return replace(row, why="not corrected for attenuation")
    try:
        row = replace(row, grid=read_grid(series))
    except BonevizError as error:
        return replace(row, why=_without_path(str(error), [row]))
    without_frame = series.frame_of_reference_uid is None
    return replace(row, why=f"without {FRAME}" if without_frame else "")


def _no_scan(row: Row) -> str:
    """Return why a series is no scan of CT or PET whatever its slices are, empty where it is."""
    if row.series.modality not in ("CT", "PT"):
        return _unpaired(row)
    types = [word.upper() for word in row.series.image_type]
    if any(word in types for word in SCOUTS):
        return "a scout"
    if any(word in types for word in REFORMATS):
        return "a reformat, not the scan itself"
    if IMAGES.get(row.series.sop_class) != row.series.modality:
        return f"not an image ({tag_of('SOPClassUID')})"
    return ""


def _unread(row: Row) -> bool:
    """Whether a row that was looked at is a scan whose slices make no volume."""
    return row.grid is None and not _no_scan(row)


def _elsewhere(own: Sequence[Row], pets: Sequence[Row]) -> str:
    """Return which CT has the PET's frame in another study, empty where none does."""
    study = pets[0].series.study_uid
    cts = [
        row
        for row in own
        if _is(row, "CT")
        and row.series.study_uid != study
        and any(_one_frame(row, pet) for pet in pets)
    ]
    if not cts:
        return ""
    return (
        f"; {listed(cts)} has that frame and lies in another study "
        f"({tag_of('StudyInstanceUID')}): give CT and PET of one study, as their source has them"
    )


def _require_complete(chosen: Sequence[Row], choice: _Choice) -> None:
    """Refuse series beside files that may be slices of them, unless they were asked for."""
    lost: set[Path] = set()
    lacking = []
    for row in chosen:
        folders = {path.parent for path in row.series.paths}
        beside = {path for path in choice.damaged if path.parent in folders}
        if beside and row.number not in choice.take:
            lost |= beside
            lacking.append(row)
    if lacking:
        take = " ".join(f"--series {row.number}" for row in lacking)
        raise InputError(
            f"{len(lost)} damaged in the folder of {listed(lacking)}, such as {min(lost)}: slices "
            "may be lacking; copy that folder again from its source, or take what there is "
            f"({take})"
        )


def _taken(rows: list[Row], take: Collection[int]) -> list[Row]:
    """Return those that the user chose, or all where none of them was."""
    return [row for row in rows if row.number in take] or rows


def _suv(series: Series, *, as_counts: bool) -> tuple[SuvDerivation | None, str]:
    try:
        return suv_derivation(series), ""
    except InputError as error:
        if not as_counts:
            option = " (--as-counts)" if str(error).endswith(AS_COUNTS) else ""
            raise InputError(f"{error}{option}") from error
        why = str(error).removeprefix(f"{series.folder}: ")
        return None, why


def _one_frame(a: Row, b: Row) -> bool:
    return a.series.frame_of_reference_uid == b.series.frame_of_reference_uid


def _passed_over(row: Row, ct: Row, pet: Row) -> str:
    if not _one_frame(row, pet):
        return "in another frame of reference than the PET"
    if _is(row, "PT"):
        return "another PET was taken"
    assert row.grid is not None
    if covered(row.grid, pet.grid) < COVERS <= covered(ct.grid, pet.grid):
        return f"covers {covered(row.grid, pet.grid):.0%} of the PET's length"
    return "another CT was taken" if voxel(row) == voxel(ct) else "coarser than the CT taken"


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
        return f"{tag_of('PatientID')} is empty: whose it is is not known"
    return f"{tag_of('PatientID')} is empty or not in the table of ids; add a row"


def _without_path(message: str, rows: Sequence[Row]) -> str:
    """Return an error without its folder: the row's number says which series it is."""
    for row in rows:
        message = message.removeprefix(f"{row.series.folder}: ")
    return message


def _is(row: Row, modality: str) -> bool:
    return row.series.modality == modality
