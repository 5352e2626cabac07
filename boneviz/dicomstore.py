"""SEGs stored in a hospital's archive over DICOMweb, and what it said of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage
from tqdm.auto import tqdm

from boneviz.connection import Archive, connect, refusals
from boneviz.dicombytes import needed, quiet, read_object, refusing, tag_of, uid
from boneviz.dicomweb import MAX_STUDIES
from boneviz.errors import InputError
from boneviz.qido import client_of, search, value

__all__ = ["Stored", "store_segs"]

SEG = {str(SegmentationStorage): "Segmentation"}
#: a file is held three times while it is sent
MAX_FILE_BYTES = 2**29

# FailureReason and WarningReason, PS3.7 annex C and PS3.4 table B.2-1
REASONS = {
    0x0110: "processing failure",
    0x0111: "there already, and not written over",
    0x0117: "invalid object",
    0x0122: "the archive does not take this kind of object",
    0x0124: "not authorised",
    0xB000: "the archive has replaced some values",
    0xB006: "the archive has left some elements out",
    0xB007: "it does not match its kind of object",
}
REASON_GROUPS = {
    0xA7: "out of resources",
    0xA9: "it does not match its kind of object",
    0xC: "the archive cannot understand it",
}


@dataclass(frozen=True, slots=True)
class Stored:
    """One file: whether the archive says that it has it, and what else it said."""

    path: Path
    accepted: bool
    said: str


def store_segs(
    archive: Archive, paths: Sequence[str | Path], *, progress: bool = False
) -> tuple[Stored, ...]:
    """Store DICOM SEGs, one by one (STOW-RS), and return what the archive said of each.

    All files are read before the first is sent. A SEG whose study the archive has under another
    patient id is refused: filed there, it would tear the study apart. Such are the SEGs that
    boneviz exports without identity; with ``identity="source"`` they go back to their patient.

    Parameters
    ----------
    paths : DICOM SEG, each at most 512 MiB

    Returns
    -------
    tuple of Stored
        In the order of `paths`. What the archive does not name as stored is not accepted.

    Raises
    ------
    ImageFileError
        Not a SEG.
    InputError
        Too large; of another patient than the archive's study.
    ArchiveError
        No connection, or a refusal of the whole request.
    """
    files = [Path(path) for path in paths]
    with connect(archive) as session:
        client = client_of(archive, session)
        whose: dict[str, str | None] = {}
        for path in files:
            _require_its_patient(_read(path), path, client, archive, whose)
        return tuple(
            _store(path, client, archive)
            for path in tqdm(files, desc="stored", unit="file", disable=not progress, leave=False)
        )


def _read(path: Path) -> Dataset:
    if path.is_file() and path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(
            f"{path}: {path.stat().st_size} bytes, at most {MAX_FILE_BYTES} are sent; store it by "
            "the archive's own tools"
        )
    with refusing(path, "a DICOM Segmentation"):
        dataset = read_object(path, SEG)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            needed(dataset, keyword)
            uid(dataset, keyword)
        return dataset


def _require_its_patient(
    seg: Dataset, path: Path, client: Any, archive: Archive, whose: dict[str, str | None]
) -> None:
    """Refuse a SEG whose study belongs to another patient in the archive."""
    study_uid = str(seg.StudyInstanceUID)
    if study_uid not in whose:
        ask = partial(
            client.search_for_studies,
            search_filters={"StudyInstanceUID": study_uid},
            fields=["PatientID"],
        )
        doing = f"looking for the study of {path}"
        found = search(ask, archive, doing, key="StudyInstanceUID", most=MAX_STUDIES)
        whose[study_uid] = (
            "".join(value(found[study_uid], "PatientID")[:1]) if study_uid in found else None
        )
    there = whose[study_uid]
    if there is not None and there.strip() != str(seg.get("PatientID", "") or "").strip():
        raise InputError(
            f"{path}: its {tag_of('PatientID')} is not that of its study in {archive.url}; "
            "expected the same, as the archive would file it under another patient: export it with "
            "the identity of its source"
        )


def _store(path: Path, client: Any, archive: Archive) -> Stored:
    import requests

    seg = _read(path)
    with quiet(), refusals(archive, f"storing {path}"):
        try:
            answer = client.store_instances([seg]).to_json_dict()
        except requests.HTTPError as error:
            # "conflict" comes with a report of what failed
            if error.response is None or error.response.status_code != 409:
                raise
            answer = error.response.json()
        return _outcome(path, answer, str(seg.SOPInstanceUID))


def _outcome(path: Path, answer: Any, sop_uid: str) -> Stored:
    """Read the archive's report of one file (PS3.18, table 10.5.1-1)."""
    if isinstance(answer, list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, dict):
        raise ValueError("expected one data set")
    for item in _items(answer, "FailedSOPSequence"):
        if sop_uid in value(item, "ReferencedSOPInstanceUID"):
            return Stored(path, False, f"refused: {_reason(item, 'FailureReason')}")
    for item in _items(answer, "ReferencedSOPSequence"):
        if sop_uid in value(item, "ReferencedSOPInstanceUID"):
            warned = value(item, "WarningReason")
            said = f"stored, but {_reason(item, 'WarningReason')}" if warned else "stored"
            return Stored(path, True, said)
    return Stored(
        path, False, "the archive does not say that it has stored it; look whether it is there"
    )


def _items(answer: dict[str, Any], keyword: str) -> Iterable[dict[str, Any]]:
    element = answer.get(f"{tag_for_keyword(keyword):08X}")
    values = element.get("Value") if isinstance(element, dict) else None
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _reason(item: dict[str, Any], keyword: str) -> str:
    try:
        code = int(value(item, keyword)[0])
    except (IndexError, ValueError):
        return f"no {tag_of(keyword)}"
    words = (
        REASONS.get(code)
        or REASON_GROUPS.get(code >> (12 if code >> 12 == 0xC else 8))
        or "for a reason of its own"
    )
    return f"{words} ({tag_of(keyword)}: {code & 0xFFFF:04X})"
