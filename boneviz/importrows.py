"""The series of a folder as rows: whose they are and of which session, or why that is not known."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from boneviz.dicombytes import tag_of
from boneviz.dicomfiles import Found
from boneviz.dicomheader import FileHeader
from boneviz.errors import InputError
from boneviz.identity import StudyIds
from boneviz.importplan import Row

__all__ = ["in_sessions", "numbered", "numbers_of", "two_people"]

SCANS = ("CT", "PT")


def numbered(found: Found, ids: StudyIds) -> list[Row]:
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


def in_sessions(rows: Sequence[Row]) -> tuple[list[Row], str]:
    """Name the studies with a PET S1, S2 and so on by date; and say why that cannot be."""
    starts = {
        row.series.study_uid: row.series.study_at for row in rows if row.series.modality == "PT"
    }
    known = [at for at in starts.values() if at is not None]
    problem = ""
    if len(starts) > 1 and len(set(known)) < len(starts):
        problem = (
            f"{len(starts)} studies of the patient, and {tag_of('StudyDate')} with "
            f"{tag_of('StudyTime')} are absent or the same: which came first is not known; "
            "correct them at their source"
        )
    order = sorted(starts, key=lambda uid: (str(starts[uid] or ""), uid))
    first = min(known).date() if known else None
    named = []
    places: Counter[str] = Counter()
    for row in rows:
        places[row.series.study_uid] += 1
        at = starts.get(row.series.study_uid)
        name = f"S{order.index(row.series.study_uid) + 1}" if row.series.study_uid in starts else ""
        days = (at.date() - first).days if at is not None and first is not None else None
        place = places[row.series.study_uid]
        named.append(replace(row, session=name, place=place, days=days))
    return named, problem


def numbers_of(
    take: Collection[tuple[str, int]], by_patient: Mapping[str, Sequence[Row]]
) -> frozenset[int]:
    """Return the rows' numbers of what is called by case and number within it."""
    rows = {
        (row.case_id, row.place): row
        for own in by_patient.values()
        for row in own
        if row.session and row.series.modality in SCANS
    }
    for case_id, place in take:
        if (case_id, place) not in rows:
            there = sorted(n for case, n in rows if case == case_id)
            raise InputError(
                f"series {case_id}:{place}: no CT or PET of that number in the table, which has "
                f"{', '.join(map(str, there)) or 'no such case'}"
            )
    return frozenset(rows[each].number for each in take)


def two_people(rows: Sequence[Row]) -> str:
    """Return why what has one study id is not one patient's, empty where it may be."""
    if len({row.series.patient_id.strip() for row in rows}) > 1:
        return "two patients got one study id; call one of them by a table (--ids)"
    for keyword, said_of in WHO.items():
        said: dict[str, int] = {}
        for row in rows:
            for file in row.series.files if row.series.modality in SCANS else ():
                said.setdefault(said_of(file), row.number)
        said.pop("", None)
        if len(said) > 1:
            one, other, *_ = said.values()
            where = f"series {one} and {other}" if one != other else f"files of series {one}"
            return (
                f"{where} have one {tag_of('PatientID')} and two values of {tag_of(keyword)}: "
                "whose they are is not known; correct them at their source"
            )
    return ""


def _name(file: FileHeader) -> str:
    # as one system writes in capitals and another does not; after = in another script
    return _plain(file.patient_name.split("=")[0].replace("^", " "))


def _birth_date(file: FileHeader) -> str:
    # 1950.03.01 is of old systems; a part of a date contradicts none
    digits = re.sub(r"\D", "", file.birth_date)
    return digits if len(digits) == 8 else ""


def _sex(file: FileHeader) -> str:
    # O, other, is also what systems write where nobody said
    sex = file.sex.strip().upper()
    return sex if sex in ("M", "F") else ""


def _issuer(file: FileHeader) -> str:
    return _plain(file.id_issuer)


def _plain(words: str) -> str:
    return " ".join(words.casefold().split())


#: what files of one patient must not say in two ways, each empty where a file does not say it
WHO: dict[str, Callable[[FileHeader], str]] = {
    "PatientName": _name,
    "PatientBirthDate": _birth_date,
    "PatientSex": _sex,
    "IssuerOfPatientID": _issuer,
}
