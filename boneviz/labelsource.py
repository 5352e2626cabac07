"""Whose outlines are whose: SEG, RTSTRUCT, NIfTI and NRRD files for the sessions of an import.

A reader's outlines are named by the user, as a folder, a file, a table, or a text that the names of
segments and regions are compared with. What fits no session or several is refused, never guessed.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from boneviz.case import Reader
from boneviz.dicombytes import refusing
from boneviz.dicomfiles import Series, find_series
from boneviz.dicomheader import read_without_pixels
from boneviz.dicomseg import read_segments
from boneviz.errors import BonevizError, ImageFileError, InputError
from boneviz.files import sha256_of
from boneviz.importplan import Session
from boneviz.labelobject import LabelObject, label_objects
from boneviz.labels import LaidLabel, on_grid
from boneviz.nifti import read_volume
from boneviz.nrrdfile import read_nrrd_mask
from boneviz.paths import inside
from boneviz.rtstruct import read_rois
from boneviz.sourceseries import SourceSeries
from boneviz.volume import Grid, Volume

__all__ = [
    "LabelSource",
    "Outline",
    "outlines_of",
    "read_outline",
    "reader_sources",
    "source_series",
]

MASKS = (".nii", ".nii.gz", ".nrrd", ".nhdr")


@dataclass(frozen=True, slots=True, repr=False)
class LabelSource:
    """Where one reader's outlines are to be found.

    Parameters
    ----------
    reader : the expert
    said : what the user gave, for messages
    files : case or study id or patient's id -> mask, as names of files or a table say
    column : which id a table has, ``study_id`` or ``patient_id``; names of files may be either
    objects : SEG and RTSTRUCT of a folder of the reader's own
    pattern : a text for names of regions, among the reader's own objects where there are some, else
        among those of the whole import
    """

    reader: Reader
    said: str
    files: Mapping[str, Path] = field(default_factory=dict)
    objects: tuple[LabelObject, ...] = ()
    pattern: str = ""
    column: str = ""

    def masks_named(
        self, study_id: str, session: str, patient_id: str, *, alone: bool
    ) -> set[Path]:
        """Return the masks that are called after a session, or after its patient where alone."""
        ids = {"study_id": study_id, "patient_id": patient_id}
        called = {ids[self.column]} if self.column else {*ids.values()}
        called -= {""}
        names = {f"{each}_{session}" for each in called} | (called if alone else set())
        return {self.files[name] for name in names if name in self.files}


@dataclass(frozen=True, slots=True, repr=False)
class Outline:
    """What is to be read as one reader's outline of one session.

    Parameters
    ----------
    path : a mask, a SEG or an RTSTRUCT
    kind : ``mask``, ``SEG`` or ``RTSTRUCT``
    only : numbers of the segments or regions that are joined
    content : a hash of the file and of what is taken from it
    """

    reader: Reader
    path: Path
    kind: str
    only: tuple[int, ...]
    content: str


def reader_sources(given: Sequence[str]) -> tuple[LabelSource, ...]:
    """Return where each reader's outlines are, from texts such as ``Expert A=masks/a``.

    What is a path of a file or folder is one; anything else is compared with the names of regions.
    ``FOLDER::TEXT`` compares with those of the SEG and RTSTRUCT in a folder.

    Raises
    ------
    InputError
        No ``NAME=``, one name twice, a folder without masks, two files for one case, or a table
        that cannot be read.
    """
    sources = []
    for each in given:
        name, sign, said = (part.strip() for part in each.partition("="))
        if not sign or not name or not said:
            raise InputError(
                f"--labels {each!r}: expected NAME=WHERE, such as 'Expert A=masks/a' or "
                "'Expert A=Lesion*'"
            )
        try:
            reader = Reader(name)
        except InputError as error:
            raise InputError(f"--labels {each!r}: {error}") from error
        sources.append(_source(reader, said))
    names = [source.reader.key for source in sources]
    if twice := [s.reader.name for s in sources if names.count(s.reader.key) > 1]:
        raise InputError(f"--labels {twice[0]} twice: expected each expert once")
    return tuple(sources)


def outlines_of(
    session: Session,
    sources: Sequence[LabelSource],
    objects: Sequence[LabelObject],
    *,
    sessions_of_patient: int,
) -> tuple[Outline, ...]:
    """Return one outline per reader, without reading voxels.

    Parameters
    ----------
    objects : SEG and RTSTRUCT of the import's own folder
    sessions_of_patient : where there is one, a mask may be named after the patient alone

    Raises
    ------
    InputError
        A reader has no outline of this session, or several.
    """
    return tuple(_outline(session, source, objects, sessions_of_patient) for source in sources)


def source_series(series: Series, grid: Grid) -> SourceSeries:
    """Read the headers of a series and match them with the planes of its grid.

    Raises
    ------
    ImageFileError, GridError
        A header cannot be read, or the series is not that of the grid.
    """
    headers = []
    for path in series.paths:
        with refusing(path, "DICOM"):
            headers.append(read_without_pixels(path))
    return SourceSeries.of(headers, grid)


def read_outline(
    outline: Outline,
    grid: Grid,
    source: SourceSeries | None,
    *,
    resample: bool = False,
    threshold: float | None = None,
) -> LaidLabel:
    """Read an outline and lay it on the CT's grid.

    Parameters
    ----------
    source : the CT's images, needed for an RTSTRUCT
    resample : by nearest neighbour where it lies on another grid
    threshold : of a fractional SEG

    Raises
    ------
    BonevizError
        It cannot be read, or does not lie on the grid.
    """
    if outline.kind == "mask":
        name = outline.path.name.lower()
        volume = (
            read_nrrd_mask(outline.path)
            if name.endswith((".nrrd", ".nhdr"))
            else read_volume(outline.path, "label")
        )
    elif outline.kind == "SEG":
        segments = read_segments(outline.path, only=outline.only, threshold=threshold)
        volume = _joined([segment.volume for segment in segments])
    elif source is None:
        raise InputError(f"{outline.path}: an RTSTRUCT without the images it was drawn on")
    else:
        volume = _joined([roi.volume for roi in read_rois(outline.path, source, only=outline.only)])
    try:
        return on_grid(volume, grid, resample=resample)
    except BonevizError as error:
        said = str(error).replace("(resample=True)", "(--resample-labels)")
        raise type(error)(f"{outline.path}: {said}") from error


def _joined(volumes: Sequence[Volume]) -> Volume:
    """Return what is in any of the volumes, which lie on one grid."""
    first = volumes[0]
    if len(volumes) == 1:
        return first
    array = first.array.copy()
    for volume in volumes[1:]:
        array |= volume.array
    return Volume(array, first.grid, "label")


def _source(reader: Reader, said: str) -> LabelSource:
    where, _, pattern = said.partition("::")
    place = Path(where)
    try:
        is_folder, is_file = place.is_dir(), place.is_file()
    except (OSError, ValueError):
        is_folder = is_file = False
    if is_folder:
        return _folder(reader, said, place, pattern.strip())
    if is_file and place.suffix.lower() == ".csv":
        files, column = _table(place)
        return LabelSource(reader, said, files=files, column=column)
    if is_file and place.name.lower().endswith(MASKS):
        return LabelSource(reader, said, files={"": place})
    if is_file:
        raise InputError(
            f"{place}: expected a mask ({', '.join(MASKS)}), a table (.csv), or a folder of masks, "
            "SEG or RTSTRUCT"
        )
    if "::" in said or said.lower().endswith((*MASKS, ".csv")):
        raise InputError(f"--labels {reader.name}={said}: no such file or folder; check the path")
    return LabelSource(reader, said, pattern=said)


def _folder(reader: Reader, said: str, place: Path, pattern: str) -> LabelSource:
    files: dict[str, Path] = {}
    for path in sorted(place.rglob("*")):
        stem = _stem(path)
        if stem is None or not path.is_file() or path.name.startswith("."):
            continue
        inside(place, path.relative_to(place), what=f"outlines of {reader.name}")
        if stem in files:
            raise InputError(
                f"{files[stem]} and {path}: two masks of one name for {reader.name}, expected one "
                "for each session; take one away"
            )
        files[stem] = path
    objects: tuple[LabelObject, ...] = ()
    if not files:
        objects = label_objects(find_series(place))
    if not files and not objects:
        raise InputError(
            f"{place}: neither masks ({', '.join(MASKS)}) nor SEG or RTSTRUCT for {reader.name}"
        )
    return LabelSource(reader, said, files=files, objects=objects, pattern=pattern)


def _stem(path: Path) -> str | None:
    for suffix in sorted(MASKS, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return None


def _table(path: Path) -> tuple[dict[str, Path], str]:
    """Read a table with the columns study_id or patient_id, session where there are several, mask.

    Paths start in the table's folder, and stay in it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({type(error).__name__})") from error
    columns = set(rows[0]) if rows else set()
    who = "study_id" if "study_id" in columns else "patient_id"
    if not {who, "mask"} <= columns:
        raise InputError(
            f"{path}: expected the columns study_id (or patient_id), mask, and session where a "
            "patient has several"
        )
    files: dict[str, Path] = {}
    for line, row in enumerate(rows, start=2):
        name, session, mask = ((row.get(c) or "").strip() for c in (who, "session", "mask"))
        case = f"{name}_{session}" if session else name
        if not name or not mask or case in files:
            raise InputError(f"{path}, line {line}: an empty cell, or a session that stands above")
        if not inside(path.parent, mask, what=f"{path}, line {line}").is_file():
            raise InputError(f"{path}, line {line}: its mask does not exist; check the path")
        files[case] = path.parent / mask
    return files, who


def _outline(
    session: Session,
    source: LabelSource,
    objects: Sequence[LabelObject],
    sessions_of_patient: int,
) -> Outline:
    whose = f"outline of {source.reader.name}"
    if source.files:
        path = _mask_of(session, source, sessions_of_patient, whose)
        return Outline(source.reader, path, "mask", (), sha256_of(path))
    among = [each for each in source.objects or objects if _drawn_on(each, session)]
    for each in among:
        if each.problem and source.objects:
            raise ImageFileError(each.problem)
    taken = [(each, each.matching(source.pattern)) for each in among if not each.problem]
    taken = [(each, numbers) for each, numbers in taken if numbers]
    if not taken:
        found = sum(len(each.regions) for each in among)
        lost = sum(bool(each.problem) for each in source.objects or objects)
        unread = f" ({lost} others cannot be read)" if lost else ""
        raise InputError(
            f"no {whose}: {len(among)} SEG and RTSTRUCT in the frame of reference of its CT, "
            f"of {found} regions, none of them {source.said!r}{unread}; expected one object (an "
            "expert who saw no lesion gives an empty outline); --show-text lists their names"
        )
    if len(taken) > 1:
        paths = " and ".join(str(each.path) for each, _ in taken[:2])
        raise InputError(
            f"{len(taken)} files for the {whose}: {paths}; expected one, say it more narrowly"
        )
    ((chosen, numbers),) = taken
    _require_patient(chosen, session)
    content = "|".join([sha256_of(chosen.path), *map(str, numbers)])
    return Outline(source.reader, chosen.path, chosen.kind, numbers, content)


def _mask_of(session: Session, source: LabelSource, sessions_of_patient: int, whose: str) -> Path:
    patient, alone = session.ct.patient_id.strip(), sessions_of_patient == 1
    found = sorted(source.masks_named(session.study_id, session.name, patient, alone=alone))
    if "" in source.files:
        found = [source.files[""]]
    if len(found) != 1:
        also = f" or {session.study_id}" if alone else ""
        named = f"named {session.case_id}{also}"
        if source.column == "patient_id":
            named = f"by its patient_id, and session {session.name}" + (" or none" if alone else "")
        raise InputError(
            f"{len(found)} masks for the {whose} in {source.said}: expected one, {named} (an "
            "expert who saw no lesion gives an empty mask)"
        )
    return found[0]


def _drawn_on(each: LabelObject, session: Session) -> bool:
    """Whether an object names the CT's frame of reference, or one of the session's series."""
    return session.ct.frame_of_reference_uid in each.frames or bool(
        each.series & {session.ct.series_uid, session.pet.series_uid}
    )


def _require_patient(each: LabelObject, session: Session) -> None:
    known = {"", session.study_id, session.ct.patient_id.strip()}
    if each.patient_id.strip() not in known:
        raise InputError(
            f"{each.path}: its PatientID (0010,0020) is neither that of the CT nor "
            f"{session.study_id}, and it names the CT's frame of reference: whose it is is not "
            "known; correct it at its source"
        )
