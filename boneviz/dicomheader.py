"""What one DICOM file says of itself, `FileHeader`; no pixel is read and no value is repaired."""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileDataset

from boneviz.dicombytes import require_sound_meta
from boneviz.dicomvalues import (
    clock_of,
    codes,
    count,
    finite,
    items,
    moment,
    moment_of,
    number,
    numbers,
    text,
    unsigned,
    value_text,
    whole,
    without_offset,
    words,
)
from boneviz.errors import ImageFileError
from boneviz.petheader import PetHeader

__all__ = [
    "MULTIFRAME",
    "FileHeader",
    "NotDicomError",
    "PixelFormat",
    "Slice",
    "read_header",
    "read_without_pixels",
]

MOST_AT_ONCE = 2**16
DEFLATED = b"1.2.840.10008.1.2.1.99"
MULTIFRAME = {
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET",
    "1.2.840.10008.5.1.4.1.1.128.1": "Legacy Converted Enhanced PET",
}
Three = tuple[float, float, float]


class NotDicomError(ImageFileError):
    """The file is not DICOM at all."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Where one frame lies and how its numbers are to be read; None where not given.

    Parameters
    ----------
    frame : number within the file, 0 for the first
    position, row, column : LPS mm of the first pixel; directions of growing column and row index
    spacing_mm : between rows, between columns
    slope, intercept : stored value -> rescaled value
    """

    frame: int
    position: Three | None
    row: Three | None
    column: Three | None
    spacing_mm: tuple[float, float] | None
    slope: float | None
    intercept: float | None


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How the pixels of a file are stored; numbers are -1 where the tag is absent."""

    rows: int
    columns: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    padding: tuple[int, int] | None


@dataclass(frozen=True, slots=True, repr=False)
class FileHeader:
    """One file: what it belongs to, how its pixels are stored, where its frames lie."""

    path: Path
    sop_class: str
    sop_uid: str
    modality: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str | None
    patient_id: str
    patient_name: str
    id_issuer: str
    birth_date: str
    sex: str
    study_at: datetime | None
    series_at: datetime | None
    acquired_at: datetime | None
    description: str
    study_description: str
    body_part: str
    corrections: tuple[str, ...]
    image_type: tuple[str, ...]
    reconstruction: str
    manufacturer: str
    lossy: bool
    transfer_syntax: str
    pixels: PixelFormat
    pixel_bytes: tuple[int, int] | None
    n_frames: int
    slices_in_series: int | None
    slices: tuple[Slice, ...]
    pet: PetHeader | None = None

    def __repr__(self) -> str:
        return f"<{self.modality} {self.path}>"


class _Within(io.BufferedReader):
    """A file of which nobody can ask for more than it has: room is made for what is asked."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > MOST_AT_ONCE:
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def read_header(path: Path) -> FileHeader:
    """Read the header of one file.

    Raises
    ------
    NotDicomError
        The file is something else.
    ImageFileError
        It is DICOM and cannot be read; the message starts with the path.
    """
    try:
        with _Within(io.FileIO(path)) as stream:
            start = stream.read(1024)
            stream.seek(0)
            # files of old systems begin with their first element, of group 2 or 8
            bare = start[:2] in (b"\x08\x00", b"\x02\x00") and start[132:133] != b""
            if start[128:132] != b"DICM" and not bare:
                raise NotDicomError(f"{path}: not a DICOM file")
            require_sound_meta(stream)
            dataset = pydicom.dcmread(stream, stop_before_pixels=True, force=bare)
            deflated = dataset.file_meta.get("TransferSyntaxUID") == DEFLATED.decode()
            pixel_bytes = None if deflated else _pixel_bytes(stream, dataset)
        return _header(path, dataset, pixel_bytes)
    except ImageFileError as error:
        raise error if str(path) in str(error) else ImageFileError(f"{path}: {error}") from None
    except OSError as error:
        raise ImageFileError(f"{path}: cannot be opened ({error.strerror})") from error
    except Exception as error:
        # whatever pydicom meets in a damaged file, and its text may quote a patient's name
        raise ImageFileError(
            f"{path}: cannot be read as DICOM ({type(error).__name__}); the file is damaged or "
            "truncated, copy it again from its source"
        ) from None


def read_without_pixels(path: Path) -> FileDataset:
    """Read all elements of one file before its pixels, within the bounds of `read_header`.

    Call it inside `boneviz.dicombytes.refusing`.

    Raises
    ------
    ImageFileError
        A sequence in the File Meta Information, or a deflated file that inflates to too much.
    """
    with _Within(io.FileIO(path)) as stream:
        require_sound_meta(stream)
        return pydicom.dcmread(stream, stop_before_pixels=True)


def _pixel_bytes(stream: Any, dataset: pydicom.Dataset) -> tuple[int, int] | None:
    """Return offset and length of the pixels, at whose element pydicom stopped reading."""
    implicit, little = dataset.original_encoding
    head = stream.read(12)
    if len(head) < 8 or not little or head[:4] != b"\xe0\x7f\x10\x00":
        return None
    at = stream.tell() - len(head)
    if implicit:
        return at + 8, struct.unpack("<I", head[4:8])[0]
    if head[4:6] not in (b"OW", b"OB") or len(head) < 12:
        return None
    return at + 12, struct.unpack("<I", head[8:12])[0]


def _header(
    path: Path, dataset: pydicom.Dataset, pixel_bytes: tuple[int, int] | None
) -> FileHeader:
    meta = dataset.file_meta
    syntax = text(meta, "TransferSyntaxUID")
    if not syntax:
        implicit, little = dataset.original_encoding
        syntax = "1.2.840.10008.1.2" + ("" if implicit else ".1" if little else ".2")
    sop_class = text(dataset, "SOPClassUID") or text(meta, "MediaStorageSOPClassUID")
    modality = text(dataset, "Modality").upper()
    # whatever else stands there is no modality, and may be a name: it is said in messages
    modality = modality if re.fullmatch(r"[A-Z0-9_ ]{1,16}", modality) else ""
    n_frames = count(dataset, "NumberOfFrames") or 1
    return FileHeader(
        path=path,
        sop_class=sop_class,
        sop_uid=text(dataset, "SOPInstanceUID") or text(meta, "MediaStorageSOPInstanceUID"),
        modality=modality,
        study_uid=text(dataset, "StudyInstanceUID"),
        series_uid=text(dataset, "SeriesInstanceUID"),
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID") or None,
        patient_id=words(dataset, "PatientID"),
        patient_name=words(dataset, "PatientName"),
        id_issuer=words(dataset, "IssuerOfPatientID"),
        birth_date=text(dataset, "PatientBirthDate"),
        sex=text(dataset, "PatientSex"),
        study_at=moment(dataset, "StudyDate", "StudyTime"),
        series_at=moment(dataset, "SeriesDate", "SeriesTime"),
        acquired_at=moment(dataset, "AcquisitionDate", "AcquisitionTime"),
        description=words(dataset, "SeriesDescription"),
        study_description=words(dataset, "StudyDescription"),
        body_part=text(dataset, "BodyPartExamined"),
        corrections=codes(dataset, "CorrectedImage"),
        image_type=codes(dataset, "ImageType"),
        reconstruction=words(dataset, "ReconstructionMethod")
        or words(dataset, "ConvolutionKernel"),
        manufacturer=words(dataset, "Manufacturer"),
        lossy=text(dataset, "LossyImageCompression") == "01",
        transfer_syntax=syntax,
        pixels=PixelFormat(
            rows=unsigned(dataset, "Rows"),
            columns=unsigned(dataset, "Columns"),
            samples=unsigned(dataset, "SamplesPerPixel"),
            photometric=text(dataset, "PhotometricInterpretation"),
            bits_allocated=unsigned(dataset, "BitsAllocated"),
            bits_stored=unsigned(dataset, "BitsStored"),
            high_bit=unsigned(dataset, "HighBit"),
            signed=unsigned(dataset, "PixelRepresentation") == 1,
            padding=_padding(dataset),
        ),
        pixel_bytes=pixel_bytes,
        n_frames=n_frames,
        slices_in_series=whole(dataset, "NumberOfSlices"),
        slices=_slices(dataset, sop_class, n_frames),
        pet=_pet(dataset) if modality == "PT" else None,
    )


def _padding(dataset: pydicom.Dataset) -> tuple[int, int] | None:
    """Return the lowest and highest stored value that stand for no measurement."""
    value, limit = (whole(dataset, f"PixelPadding{part}") for part in ("Value", "RangeLimit"))
    if value is None:
        return None
    return (value, value) if limit is None else (min(value, limit), max(value, limit))


def _slices(dataset: pydicom.Dataset, sop_class: str, n_frames: int) -> tuple[Slice, ...]:
    if sop_class not in MULTIFRAME:
        return (_slice(0, (dataset,)),)
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    frames = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(frames) != n_frames:
        return ()
    return tuple(_slice(n, _groups([frame, *shared])) for n, frame in enumerate(frames))


def _groups(groups: Sequence[pydicom.Dataset]) -> tuple[pydicom.Dataset, ...]:
    names = (
        "PlanePositionSequence",
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
    )
    return tuple(inner for group in groups for name in names for inner in items(group, name)[:1])


def _slice(frame: int, datasets: Sequence[pydicom.Dataset]) -> Slice:
    def first(keyword: str, n: int) -> tuple[float, ...] | None:
        return next((found for ds in datasets if (found := numbers(ds, keyword, n))), None)

    directions = first("ImageOrientationPatient", 6)
    slope, intercept = first("RescaleSlope", 1), first("RescaleIntercept", 1)
    return Slice(
        frame,
        first("ImagePositionPatient", 3),  # type: ignore[arg-type]
        directions[:3] if directions else None,  # type: ignore[arg-type]
        directions[3:] if directions else None,  # type: ignore[arg-type]
        first("PixelSpacing", 2),  # type: ignore[arg-type]
        slope[0] if slope else None,
        intercept[0] if intercept else None,
    )


def _pet(dataset: pydicom.Dataset) -> PetHeader:
    doses = items(dataset, "RadiopharmaceuticalInformationSequence")
    # of two tracers in one patient neither dose is that of the image
    dose = doses[0] if len(doses) == 1 else pydicom.Dataset()
    nuclides = items(dose, "RadionuclideCodeSequence")
    manufacturer = words(dataset, "Manufacturer")
    zone = text(dataset, "TimezoneOffsetFromUTC")
    injected = text(dose, "RadiopharmaceuticalStartDateTime")
    injected_at = moment_of(injected, zone)
    ge = _private(dataset, 0x0009, "GEMS_PETD_01", 0x0D, manufacturer, "GE")
    ge_scan_at = moment_of(ge, zone)
    return PetHeader(
        units=text(dataset, "Units") or None,
        suv_type=text(dataset, "SUVType") or None,
        corrections=codes(dataset, "CorrectedImage"),
        decay_correction=text(dataset, "DecayCorrection") or None,
        weight_kg=number(dataset, "PatientWeight"),
        dose_bq=number(dose, "RadionuclideTotalDose"),
        half_life_s=number(dose, "RadionuclideHalfLife"),
        nuclide=text(nuclides[0], "CodeValue") or None if len(nuclides) == 1 else None,
        injected_at=injected_at,
        injected_time=clock_of(text(dose, "RadiopharmaceuticalStartTime")),
        series_at=moment(dataset, "SeriesDate", "SeriesTime"),
        acquired_at=moment(dataset, "AcquisitionDate", "AcquisitionTime"),
        ge_scan_at=ge_scan_at,
        injected_elsewhere=None if injected_at else moment_of(without_offset(injected)),
        ge_scan_elsewhere=None if ge_scan_at else moment_of(without_offset(ge)),
        frame_reference_s=_seconds(dataset, "FrameReferenceTime"),
        decay_factor=number(dataset, "DecayFactor"),
        frame_duration_s=_seconds(dataset, "ActualFrameDuration"),
        manufacturer=manufacturer,
        philips_suv_factor=finite(
            _private(dataset, 0x7053, "Philips PET Private Group", 0x00, manufacturer, "Philips")
        ),
        philips_activity_factor=finite(
            _private(dataset, 0x7053, "Philips PET Private Group", 0x09, manufacturer, "Philips")
        ),
    )


def _seconds(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """Return a time that is written in milliseconds."""
    found_ms = number(dataset, keyword)
    return None if found_ms is None else found_ms / 1000


def _private(
    dataset: pydicom.Dataset, group: int, creator: str, element: int, maker: str, whose: str
) -> str:
    """Return a private value of the block that its creator reserved.

    Anonymisers take creators away and leave values: block 10 is then taken by its maker's name.
    """
    for block in range(0x10, 0x20):
        found = value_text(dataset, (group << 16) | block)
        if found == creator or (
            not found and block == 0x10 and maker.upper().startswith(whose.upper())
        ):
            return value_text(dataset, (group << 16) | (block << 8) | element)
    return ""
