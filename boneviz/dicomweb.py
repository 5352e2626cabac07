"""A hospital's archive over DICOMweb: studies found, their files fetched, SEGs stored back.

It is the user's own archive, so the DICOM files are fetched as they are, identities included; what
is written is those files and nothing beside them. Messages carry neither patient ids nor UIDs.
Fetching holds one chunk of one file in memory, storing one file three times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from boneviz.connection import Archive, connect, pieces, refusals
from boneviz.dicombytes import quiet
from boneviz.dicomheader import read_header
from boneviz.errors import ArchiveError, CohortError, ImageFileError, InputError
from boneviz.files import whole_file
from boneviz.multipart import write_object
from boneviz.paths import inside
from boneviz.qido import Item, client_of, count_of, is_uid, search, value

__all__ = [
    "MAX_STUDIES",
    "MODALITIES",
    "Fetched",
    "Study",
    "fetch_studies",
    "find_studies",
]

#: what boneviz reads
MODALITIES = ("CT", "PT", "SEG", "RTSTRUCT")
MAX_FILE_BYTES = 2**31
MAX_STUDIES = 10_000
MAX_INSTANCES = 100_000
ACCEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@dataclass(frozen=True, slots=True)
class Study:
    """What one needs to choose a study by; only `date` and what is counted are printed.

    Texts are the archive's, without control characters and cut at 64; empty where it gives none.
    """

    uid: str = field(repr=False)
    date: str
    description: str = field(repr=False)
    patient_id: str = field(repr=False)
    accession: str = field(repr=False)
    modalities: tuple[str, ...]
    n_instances: int | None


@dataclass(frozen=True, slots=True)
class Fetched:
    """One series in the user's folder: of its `n_instances` files `n_fetched` are new."""

    modality: str
    folder: Path
    n_instances: int
    n_fetched: int


def find_studies(
    archive: Archive,
    *,
    patient_id: str | None = None,
    since: date | None = None,
    until: date | None = None,
    modality: str | None = None,
    accession: str | None = None,
) -> tuple[Study, ...]:
    """Return the studies that an archive has, the latest first (QIDO-RS).

    Parameters
    ----------
    patient_id, accession : as the archive has them; ``*`` and ``?`` stand for any characters
    since, until : first and last StudyDate
    modality : one that the study must contain, such as PT

    Returns
    -------
    tuple of Study
        None where nothing matches.

    Raises
    ------
    ArchiveError
        No connection, a refusal, or an answer that is none; more than 10000 studies.
    """
    if since is not None and until is not None and since > until:
        raise InputError(f"from {since} to {until}: the first date is the later one")
    days = "-".join("" if day is None else f"{day:%Y%m%d}" for day in (since, until))
    texts = {"PatientID": patient_id, "AccessionNumber": accession}
    filters = {keyword: _askable(text) for keyword, text in texts.items() if text}
    if days != "-":
        filters["StudyDate"] = days
    if modality:
        filters["ModalitiesInStudy"] = _askable(modality)
    fields = ["StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances"]
    with connect(archive) as session:
        ask = partial(
            client_of(archive, session).search_for_studies, search_filters=filters, fields=fields
        )
        doing = "looking for studies"
        found = search(ask, archive, doing, key="StudyInstanceUID", most=MAX_STUDIES)
    studies = [
        _study(uid, item)
        for uid, item in found.items()
        if all(_matches(item, keyword, text) for keyword, text in texts.items() if text)
    ]
    return tuple(sorted(studies, key=lambda study: (study.date, study.uid), reverse=True))


def _askable(text: str) -> str:
    """Return a filter without what must be encoded in an address, which Orthanc 1.10 leaves so."""
    return re.sub(r"[^A-Za-z0-9_.~*-]+", "*", text)


def _matches(item: Item, keyword: str, text: str) -> bool:
    """Whether an answer is one for the filter as it was given."""
    if _askable(text) == text:
        return True
    parts = {"*": ".*", "?": "."}
    pattern = "".join(parts.get(c) or re.escape(c) for c in text.strip())
    found = "".join(value(item, keyword)[:1]).strip()
    return re.fullmatch(pattern, found, re.DOTALL | re.IGNORECASE) is not None


def _study(uid: str, item: Item) -> Study:
    modalities = value(item, "ModalitiesInStudy") or value(item, "Modality")
    return Study(
        uid,
        date=_text(item, "StudyDate"),
        description=_text(item, "StudyDescription"),
        patient_id=_text(item, "PatientID"),
        accession=_text(item, "AccessionNumber"),
        modalities=tuple(sorted({_printable(each)[:16] for each in modalities})),
        n_instances=count_of(item, "NumberOfStudyRelatedInstances"),
    )


def fetch_studies(
    archive: Archive,
    study_uids: Sequence[str],
    folder: str | Path,
    *,
    modalities: Sequence[str] = MODALITIES,
    progress: bool = False,
) -> tuple[Fetched, ...]:
    """Fetch series of chosen studies as the DICOM files that the archive has (WADO-RS).

    Files are named ``folder/STUDY/SERIES/INSTANCE.dcm`` by their UIDs, appear whole or not at
    all, and are not fetched again where they are there: after a cut the same call goes on. Pixels
    stay compressed as they are. One process at a time may fill a folder.

    Parameters
    ----------
    study_uids : StudyInstanceUIDs, as `find_studies` gives them
    folder : of the user, made where it lacks; then for ``boneviz import``
    modalities : which series
    progress : whether to show a bar

    Returns
    -------
    tuple of Fetched
        One per series, by study, modality and UID.

    Raises
    ------
    InputError
        A StudyInstanceUID is none; a file that is in the way; a link that leads out of `folder`.
    ArchiveError
        No connection, a refusal, a study that the archive does not have, no series of these
        modalities in any, an answer that is not the object that was asked for or above 2 GiB.
    """
    folder = Path(folder)
    study_uids = tuple(dict.fromkeys(study_uids))
    for given in study_uids:
        if not is_uid(given):
            raise InputError("a StudyInstanceUID (0020,000D) is digits and dots, at most 64")
    with connect(archive) as session:
        todo: list[tuple[str, Path, dict[str, Path]]] = []
        for n, study_uid in enumerate(study_uids, start=1):
            which = f"study {n} of {len(study_uids)}"
            client = client_of(archive, session)
            todo += _files_of(client, archive, study_uid, folder, modalities, which)
        if not todo:
            raise ArchiveError(
                f"{archive.url}: none of the {len(study_uids)} studies has a series of "
                f"{', '.join(modalities)}; choose others"
            )
        fetched = []
        with tqdm(
            total=sum(len(files) for _, _, files in todo),
            desc="fetched",
            unit="file",
            disable=not progress,
            leave=False,
        ) as bar:
            for modality, home, files in todo:
                n_fetched = 0
                for leftover in home.glob(".writing-*"):
                    leftover.unlink()  # of a run that was killed
                for url, path in files.items():
                    if not _is_there(path):
                        _fetch(session, archive, url, path)
                        n_fetched += 1
                    bar.update()
                fetched.append(Fetched(modality, home, len(files), n_fetched))
    return tuple(fetched)


def _files_of(
    client: Any,
    archive: Archive,
    study_uid: str,
    folder: Path,
    modalities: Sequence[str],
    which: str,
) -> Iterator[tuple[str, Path, dict[str, Path]]]:
    """Give, per series of a study, its modality, its folder, and address -> path of its files."""
    ask = partial(
        client.search_for_series, study_uid, fields=["Modality", "NumberOfSeriesRelatedInstances"]
    )
    doing = f"looking for the series of {which}"
    series = search(ask, archive, doing, key="SeriesInstanceUID", most=MAX_INSTANCES)
    if not series:
        raise ArchiveError(
            f"{archive.url}: {which}: the archive has no such study, or none that these "
            "credentials may see; look it up by `boneviz archive find`"
        )
    chosen = sorted(
        (modality, uid)
        for uid, item in series.items()
        for modality in modalities
        if (modality,) == value(item, "Modality")
    )
    for modality, uid in chosen:
        doing = f"looking for the files of a {modality} series of {which}"
        ask = partial(client.search_for_instances, study_uid, uid)
        instances = search(ask, archive, doing, key="SOPInstanceUID", most=MAX_INSTANCES)
        promised = count_of(series[uid], "NumberOfSeriesRelatedInstances")
        if not instances or (promised is not None and len(instances) < promised):
            raise ArchiveError(
                f"{archive.url}: {doing}: it lists {len(instances)}, and says that there are "
                f"{'some' if promised is None else promised}; try again when it has them all"
            )
        place = f"studies/{study_uid}/series/{uid}/instances"
        yield (
            modality,
            _inside(folder, f"{study_uid}/{uid}"),
            {
                f"{archive.url}/{place}/{sop}": _inside(folder, f"{study_uid}/{uid}/{sop}.dcm")
                for sop in sorted(instances)
            },
        )


def _inside(folder: Path, relative: str) -> Path:
    try:
        return inside(folder, relative, what="a fetched file")
    except CohortError:
        raise InputError(
            f"{folder / relative}: a link on the way leads out of {folder}, where nothing is "
            "written; remove it, or choose another folder"
        ) from None


def _is_there(path: Path) -> bool:
    """Whether a file was fetched before; anything else of that name is refused."""
    if not path.exists() and not path.is_symlink():
        return False
    if path.is_file():
        with path.open("rb") as stream:
            if stream.read(132)[128:] == b"DICM":
                return True
    raise InputError(f"{path}: there already, and not a DICOM file; move it away, nothing is lost")


def _fetch(session: Any, archive: Archive, url: str, path: Path) -> None:
    doing = f"fetching {path}"
    with whole_file(path) as temporary:
        with (
            temporary.open("wb") as out,
            refusals(archive, doing),
            session.get(
                url, headers={"Accept": ACCEPT}, stream=True, timeout=archive.timeouts_s
            ) as response,
        ):
            response.raise_for_status()
            chunks = pieces(response, archive, most=MAX_FILE_BYTES)
            try:
                write_object(chunks, response.headers.get("Content-Type", ""), out)
            except InputError as error:
                raise ArchiveError(f"{archive.url}: {doing}: it sent {error}") from None
        try:
            with quiet():
                header = read_header(temporary)
        except ImageFileError:
            raise ArchiveError(
                f"{archive.url}: {doing}: what it sent is not DICOM, or damaged; look whether the "
                "archive itself shows that file"
            ) from None
        *_, study, _, series, _, sop = url.split("/")
        if (header.study_uid, header.series_uid, header.sop_uid) != (study, series, sop):
            raise ArchiveError(
                f"{archive.url}: {doing}: it sent another object than the one of this name, by "
                "StudyInstanceUID (0020,000D), SeriesInstanceUID (0020,000E) and SOPInstanceUID "
                "(0008,0018); look at the archive's log"
            )


def _text(item: Item, keyword: str) -> str:
    return _printable(" ".join(value(item, keyword)))[:64]


def _printable(text: str) -> str:
    """Return a stranger's text without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in text).strip()
