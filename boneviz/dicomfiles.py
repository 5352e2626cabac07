"""Which DICOM files a folder holds, grouped into `Series`; only headers are read."""

from __future__ import annotations

import os
import warnings
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from boneviz.bars import passing_bar
from boneviz.dicomheader import FileHeader, NotDicomError, read_header
from boneviz.errors import ImageFileError, InputError
from boneviz.files import sha256_of
from boneviz.processes import as_done

__all__ = ["Found", "Series", "Skipped", "find_series"]

DICOMDIR = "1.2.840.10008.1.3.10"
WORTH_PROCESSES = 3000
PART = 200


@dataclass(frozen=True, slots=True, repr=False)
class Series:
    """The files of one series, with what one needs to choose among series; nothing is printed.

    Parameters
    ----------
    files : header of each file, in the order of their paths; at least one
    """

    files: tuple[FileHeader, ...]

    def __post_init__(self) -> None:
        if not self.files:
            raise InputError("a series without files: expected at least one")

    def __repr__(self) -> str:
        return f"<Series {self.modality}, {len(self.files)} files in {self.folder}>"

    def __len__(self) -> int:
        return len(self.files)

    @property
    def folder(self) -> Path:
        """Folder of the first file."""
        return self.files[0].path.parent

    @property
    def paths(self) -> tuple[Path, ...]:
        """Path of each file."""
        return tuple(file.path for file in self.files)

    @property
    def modality(self) -> str:
        """Modality (0008,0060), such as CT, PT, SEG, RTSTRUCT."""
        return self.files[0].modality

    @property
    def sop_class(self) -> str:
        """SOPClassUID (0008,0016) of the first file."""
        return self.files[0].sop_class

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID (0020,000D)."""
        return self.files[0].study_uid

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID (0020,000E)."""
        return self.files[0].series_uid

    @property
    def frame_of_reference_uid(self) -> str | None:
        """FrameOfReferenceUID (0020,0052) of the first file, None where absent."""
        return self.files[0].frame_of_reference_uid

    @property
    def sop_uids(self) -> tuple[str, ...]:
        """SOPInstanceUID (0008,0018) of each file."""
        return tuple(file.sop_uid for file in self.files)

    @property
    def patient_id(self) -> str:
        """PatientID (0010,0020), an identity: never for a message or a file."""
        return self.files[0].patient_id

    @property
    def patient_name(self) -> str:
        """PatientName (0010,0010), an identity: never for a message or a file."""
        return self.files[0].patient_name

    @property
    def study_at(self) -> datetime | None:
        """StudyDate and StudyTime, None where unreadable."""
        return self.files[0].study_at

    @property
    def series_at(self) -> datetime | None:
        """SeriesDate and SeriesTime, None where unreadable."""
        return self.files[0].series_at

    @property
    def description(self) -> str:
        """SeriesDescription (0008,103E), free text: may hold anything."""
        return self.files[0].description

    @property
    def corrections(self) -> tuple[str, ...]:
        """CorrectedImage (0028,0051) of a PET, such as ATTN and DECY."""
        return self.files[0].corrections

    @property
    def attenuation_corrected(self) -> bool:
        """Whether every file says ATTN in CorrectedImage (0028,0051)."""
        return all("ATTN" in file.corrections for file in self.files)

    @property
    def image_type(self) -> tuple[str, ...]:
        """ImageType (0008,0008) of the first file."""
        return self.files[0].image_type

    @property
    def reconstruction(self) -> str:
        """ReconstructionMethod (0054,1103) of a PET, ConvolutionKernel (0018,1210) of a CT."""
        return self.files[0].reconstruction

    @property
    def lossy(self) -> bool:
        """Whether any file was compressed with loss at any time."""
        return any(file.lossy for file in self.files)

    @property
    def n_slices(self) -> int:
        """Files, or frames where a file holds several."""
        return sum(file.n_frames for file in self.files)

    @property
    def slices_expected(self) -> int | None:
        """NumberOfSlices (0054,0081) of a PET, the most that a file says; None where absent."""
        return max((f.slices_in_series for f in self.files if f.slices_in_series), default=None)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A file that is in no series, and why; `damaged` where it is DICOM and should be in one."""

    path: Path
    reason: str
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """The series of a folder, and the files that are in none."""

    series: tuple[Series, ...]
    skipped: tuple[Skipped, ...] = ()

    def __iter__(self) -> Iterator[Series]:
        return iter(self.series)

    def __len__(self) -> int:
        return len(self.series)


def find_series(folder: str | Path, *, progress: bool = False) -> Found:
    """Read the headers of all files below a folder and group them into series.

    Parameters
    ----------
    folder : searched with all folders below; a link that leads out of it is skipped
    progress : whether to show a bar

    Returns
    -------
    Found
        Series ordered by study, modality and first path; and every file that was left out, with
        the reason. A folder without DICOM gives no series.

    Raises
    ------
    InputError
        There is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the folder that holds the DICOM files")
    paths, skipped = _files_below(root)
    grouped: dict[tuple[str, str, str], list[FileHeader]] = defaultdict(list)
    for result in _read_all(paths, progress=progress):
        if isinstance(result, Skipped):
            skipped.append(result)
        elif result.sop_class == DICOMDIR:
            skipped.append(Skipped(result.path, "a DICOMDIR: the files themselves are read"))
        elif not result.series_uid or not result.study_uid:
            skipped.append(
                Skipped(
                    result.path,
                    "without StudyInstanceUID (0020,000D) or SeriesInstanceUID (0020,000E)",
                    damaged=True,
                )
            )
        else:
            grouped[result.study_uid, result.series_uid, result.modality].append(result)
    series = []
    for files in grouped.values():
        kept, copies = _without_copies(files)
        series.append(Series(tuple(kept)))
        skipped += copies
    series.sort(key=lambda s: (s.study_uid, s.modality, s.paths[0]))
    return Found(tuple(series), tuple(sorted(skipped, key=lambda s: s.path)))


def _files_below(root: Path) -> tuple[list[Path], list[Skipped]]:
    """Return the regular files of a folder in order, and what else lies there."""
    inside = root.resolve()
    paths: list[Path] = []
    skipped: list[Skipped] = []
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder) / name
            if path.is_symlink() and not path.resolve().is_relative_to(inside):
                skipped.append(Skipped(path, "a link that leads out of the folder"))
            elif not path.is_file():
                skipped.append(Skipped(path, "not a regular file"))
            else:
                paths.append(path)
    return paths, skipped


def _read_all(paths: list[Path], *, progress: bool) -> Iterator[FileHeader | Skipped]:
    """Read headers, here or, where there are many, in processes; threads only wait for each other.

    A header costs pydicom about a millisecond of Python, a process a second to begin.
    """
    with passing_bar(len(paths), "headers", unit="file", progress=progress) as bar:
        if len(paths) < WORTH_PROCESSES:
            for path in paths:
                yield from _headers([path])
                bar.update()
            return
        parts = [paths[n : n + PART] for n in range(0, len(paths), PART)]
        killed = ImageFileError(
            f"{paths[0].parent}: a process that read headers was ended from outside; run again"
        )
        tasks = [partial(_headers, part) for part in parts]
        read: dict[Path, FileHeader | Skipped] = {}
        for part in as_done(tasks, workers=os.cpu_count() or 1, killed=killed):
            read |= {each.path: each for each in part}
            bar.update(len(part))
    # as they would have come one by one
    yield from (read[path] for path in paths)


def _headers(paths: list[Path]) -> list[FileHeader | Skipped]:
    with warnings.catch_warnings():
        # pydicom's warnings quote what is wrong, names of patients included
        warnings.simplefilter("ignore")
        return [_header_or_reason(path) for path in paths]


def _header_or_reason(path: Path) -> FileHeader | Skipped:
    try:
        return read_header(path)
    except NotDicomError:
        return Skipped(path, "not a DICOM file")
    except ImageFileError as error:
        return Skipped(path, str(error).removeprefix(f"{path}: "), damaged=True)


def _without_copies(files: list[FileHeader]) -> tuple[list[FileHeader], list[Skipped]]:
    """Return the files without those that repeat another byte by byte."""
    by_uid: dict[str, list[FileHeader]] = defaultdict(list)
    for file in files:
        by_uid[file.sop_uid].append(file)
    copies: dict[Path, Skipped] = {}
    for same in by_uid.values():
        seen: dict[str, Path] = {}
        for file in same if len(same) > 1 else ():
            first = seen.setdefault(sha256_of(file.path), file.path)
            if first != file.path:
                copies[file.path] = Skipped(file.path, f"a copy of {first}")
    return [file for file in files if file.path not in copies], list(copies.values())
