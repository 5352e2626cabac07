"""Masks as DICOM SEG over the series that they were drawn on, through highdicom.

A SEG is opened over its source, so it keeps the source's StudyInstanceUID, FrameOfReferenceUID,
SeriesInstanceUID and SOPInstanceUIDs whatever else is removed. Whoever holds the source can
therefore tell whose it is; nobody else can.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal, get_args

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from boneviz.case import Reader
from boneviz.dicombytes import quiet, tag_of
from boneviz.errors import BonevizError, GridError, ImageFileError, InputError
from boneviz.files import write_whole
from boneviz.segbits import pack, require_as_drawn
from boneviz.sourceseries import SourceSeries
from boneviz.version import __version__
from boneviz.volume import Volume

__all__ = ["Identity", "SegSettings", "write_disagreement_seg", "write_reader_seg"]

Identity = Literal["none", "source"]

# SNOMED CT, from CID 7150 and CID 7159 of DICOM PS3.16
MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LESION = Code("52988006", "SCT", "Lesion")
BONE = Code("272673000", "SCT", "Bone")
# CID 7050 of DICOM PS3.16
DEIDENTIFIED_BY = (
    Code("113100", "DCM", "Basic Application Confidentiality Profile"),
    Code("113110", "DCM", "Retain UIDs Option"),
)
# what highdicom reads from a source to reference it and to place frames
FROM_SOURCE = (
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
)
# type 2 of the patient and study modules: there, and empty where unknown
IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
LONGEST = 64


@dataclass(frozen=True, slots=True)
class SegSettings:
    """How SEGs of one case are written.

    Parameters
    ----------
    study_id : the patient's id in the cohort; PatientID and PatientName of the SEG where
        `identity` is ``none``
    salt : text of the cohort from which UIDs are derived, so that equal masks of two cohorts
        get different ones
    identity : ``none`` replaces name and id by the study id and leaves birth date, sex, study
        date, accession number and every other text of the source out, as the standard's basic
        profile with UIDs retained; ``source`` copies them, so that an archive files the SEG with
        its patient
    created : moment that the SEG says it was created at; now by default. With a moment given,
        equal masks give equal bytes.
    algorithm_version : of the models, by default boneviz's
    """

    study_id: str
    salt: str
    identity: Identity = "none"
    created: datetime | None = None
    algorithm_version: str = field(default=f"boneviz {__version__}")

    def __post_init__(self) -> None:
        if self.identity not in get_args(Identity):
            raise InputError(
                f"identity {self.identity!r}: expected one of {', '.join(get_args(Identity))}"
            )
        _require_text("study_id", self.study_id)
        _require_text("algorithm_version", self.algorithm_version)
        if not self.salt:
            raise InputError("salt is empty: give a text of the cohort, such as its id")


def write_reader_seg(
    path: str | Path, mask: Volume, reader: Reader, *, source: SourceSeries, settings: SegSettings
) -> None:
    """Write one reader's outline as a binary SEG with one segment, whole or not at all.

    Planes without a voxel are left out. An empty mask gives all planes, empty: the segment is
    there, and says that the reader saw nothing.

    Parameters
    ----------
    path : the file, usually ``.dcm``
    mask : ``label`` on the source's grid
    reader : a person's algorithm type is MANUAL, a model's AUTOMATIC with its name and version
    source : the CT's images

    Raises
    ------
    GridError
        The mask does not lie on the source's grid.
    InputError
        Not a label; a name above 64 characters or with a backslash.
    ImageFileError
        highdicom cannot write over this source, or what it would write does not hold the mask.
    """
    segment = _Segment(reader.name, mask, *_algorithm(reader, settings))
    _write(Path(path), (segment,), reader.name, source=source, settings=settings)


def write_disagreement_seg(
    path: str | Path,
    a: tuple[Reader, Volume],
    b: tuple[Reader, Volume],
    *,
    source: SourceSeries,
    settings: SegSettings,
) -> None:
    """Write where two readers differ: three segments, A only, B only, and both.

    The segments are computed from the outlines: their algorithm type is SEMIAUTOMATIC where a
    person drew one of them and AUTOMATIC where two models did. A segment without voxels is
    described and has no frames; where all three are empty, all planes are there.

    Raises
    ------
    GridError, InputError, ImageFileError
        As `write_reader_seg`; and one reader twice.
    """
    (reader_a, mask_a), (reader_b, mask_b) = a, b
    if reader_a.name == reader_b.name:
        raise InputError(f"reader {reader_a.name} twice: expected two readers")
    for mask in (mask_a, mask_b):
        _require_on(mask, source)
    both_models = reader_a.kind == reader_b.kind == "model"
    kind = "AUTOMATIC" if both_models else "SEMIAUTOMATIC"
    identification = _identification(
        "boneviz difference of two outlines", codes.DCM.MorphologicalOperations, settings
    )
    parts = (
        (f"{reader_a.name} only", mask_a.array & ~mask_b.array),
        (f"{reader_b.name} only", mask_b.array & ~mask_a.array),
        (f"{reader_a.name} and {reader_b.name}", mask_a.array & mask_b.array),
    )
    for _, array in parts:
        # a volume copies what can be written to
        array.setflags(write=False)
    segments = [
        _Segment(label, Volume(array, mask_a.grid, "label"), kind, identification)
        for label, array in parts
    ]
    title = f"{reader_a.name} vs {reader_b.name}"
    _write(Path(path), segments, title, source=source, settings=settings)


@dataclass(frozen=True, slots=True, eq=False)
class _Segment:
    """A label, its voxels, and who or what drew them."""

    label: str
    mask: Volume
    algorithm: str
    identification: hd.AlgorithmIdentificationSequence | None


def _algorithm(
    reader: Reader, settings: SegSettings
) -> tuple[str, hd.AlgorithmIdentificationSequence | None]:
    if reader.kind != "model":
        return "MANUAL", None
    _require_text("reader", reader.name)
    return "AUTOMATIC", _identification(reader.name, codes.DCM.ArtificialIntelligence, settings)


def _identification(
    name: str, family: Code, settings: SegSettings
) -> hd.AlgorithmIdentificationSequence:
    return hd.AlgorithmIdentificationSequence(
        name=name, family=family, version=settings.algorithm_version, source="boneviz"
    )


def _write(
    path: Path,
    segments: Sequence[_Segment],
    title: str,
    *,
    source: SourceSeries,
    settings: SegSettings,
) -> None:
    for segment in segments:
        _require_on(segment.mask, source)
        _require_text("segment label", segment.label)
    _require_text("series description", f"boneviz {title}")
    try:
        with quiet():
            content = _content(segments, title, source, settings)
    except BonevizError as error:
        raise ImageFileError(f"{path}: {error}") from error
    except Exception as error:
        # highdicom and pydicom raise anything where a source breaks the standard; their texts
        # may quote a patient's name
        raise ImageFileError(
            f"{path}: no SEG can be written over this source series ({type(error).__name__}); "
            "check that its images are complete and standard"
        ) from None
    write_whole(path, content)


def _content(
    segments: Sequence[_Segment], title: str, source: SourceSeries, settings: SegSettings
) -> bytes:
    # no voxel is in two segments, so one array of their numbers holds all
    column, row, plane = source.axes
    shape = source.grid.shape
    pixels = np.zeros((shape[plane], shape[row], shape[column]), dtype=np.uint8)
    for number, segment in enumerate(segments, start=1):
        # within its box: a transposed copy of a whole body takes seconds
        box = _box(segment.mask.array)
        source.voxels(pixels)[box][segment.mask.array[box]] = number
    created = settings.created or datetime.now()
    seed = [settings.salt, source.series_uid, title, *(segment.label for segment in segments)]
    drawn = hashlib.sha256(pixels.data).hexdigest()
    who = settings.study_id + settings.identity + settings.algorithm_version
    moment = created.isoformat()
    seg = hd.seg.Segmentation(
        source_images=[_referenced(header, settings) for header in source.headers],
        pixel_array=pixels,
        segmentation_type="BINARY",
        segment_descriptions=[
            hd.seg.SegmentDescription(
                segment_number=n,
                segment_label=segment.label,
                segmented_property_category=MORPHOLOGICALLY_ABNORMAL,
                segmented_property_type=LESION,
                algorithm_type=segment.algorithm,
                algorithm_identification=segment.identification,
                anatomic_regions=[BONE],
            )
            for n, segment in enumerate(segments, start=1)
        ],
        series_instance_uid=generate_uid(entropy_srcs=["series", *seed]),
        series_number=_series_number(seed),
        sop_instance_uid=generate_uid(entropy_srcs=["instance", *seed, drawn, who, moment]),
        instance_number=1,
        manufacturer="boneviz",
        manufacturer_model_name="boneviz",
        software_versions=__version__,
        device_serial_number="0",
        content_label="BONE_INFECTION",
        content_description=None,
        content_creator_name=_person(title),
        series_description=f"boneviz {title}",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=_measures(source),
        omit_empty_frames=True,
        specific_character_set="ISO_IR 192",
        content_date=created.date(),
        content_time=created.time(),
        series_date=created.date(),
        series_time=created.time(),
    )
    _fix(seg, generate_uid(entropy_srcs=["dimensions", *seed, drawn, moment]), created)
    if settings.identity == "none":
        _say_deidentified(seg)
    if shape[row] * shape[column] < 8:
        pack(seg, pixels, source)
    stream = io.BytesIO()
    seg.save_as(stream, enforce_file_format=True)
    drawn_voxels = sum(int(np.count_nonzero(segment.mask.array)) for segment in segments)
    require_as_drawn(stream, pixels, source, drawn_voxels)
    return stream.getvalue()


def _box(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box around the voxels of a mask, empty where there are none."""
    spans = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(mask.any(axis=others))
        spans.append(slice(found[0], found[-1] + 1) if len(found) else slice(0, 0))
    return tuple(spans)


def _referenced(header: Dataset, settings: SegSettings) -> Dataset:
    """Return the source with only what a SEG needs, and the patient that it is to name."""
    kept = Dataset()
    for keyword in FROM_SOURCE:
        if keyword in header:
            setattr(kept, keyword, header[keyword].value)
    for keyword in IDENTITY:
        value = header.get(keyword) if settings.identity == "source" else None
        setattr(kept, keyword, "" if value is None else str(value))
    if settings.identity == "none":
        kept.PatientID = kept.PatientName = settings.study_id
    return kept


def _measures(source: SourceSeries) -> hd.PixelMeasuresSequence:
    """Say the distance of slices: positions alone do not where planes are left out."""
    header = source.headers[0]
    thickness = header.get("SliceThickness")
    row_mm, column_mm = (float(mm) for mm in header.PixelSpacing)
    return hd.PixelMeasuresSequence(
        pixel_spacing=[row_mm, column_mm],
        slice_thickness=float(thickness) if thickness else source.slice_mm,
        spacing_between_slices=float(f"{source.slice_mm:.9g}"),
    )


def _fix(seg: Dataset, dimensions_uid: str, created: datetime) -> None:
    """Replace what highdicom draws at random or takes from the clock."""
    for item in (*seg.DimensionOrganizationSequence, *seg.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions_uid
    seg.InstanceCreationDate = created.strftime("%Y%m%d")
    seg.InstanceCreationTime = created.strftime("%H%M%S.%f")
    for item in seg.ContributingEquipmentSequence:
        item.ContributionDateTime = created.strftime("%Y%m%d%H%M%S.%f")


def _say_deidentified(seg: Dataset) -> None:
    seg.PatientIdentityRemoved = "YES"
    seg.DeidentificationMethod = "boneviz: basic profile, UIDs of the source retained"
    seg.DeidentificationMethodCodeSequence = [
        hd.sr.CodedConcept.from_code(code) for code in DEIDENTIFIED_BY
    ]
    seg.LongitudinalTemporalInformationModified = "REMOVED"


def _series_number(seed: Sequence[str]) -> int:
    """Return a number that the readers of one study do not share, as far as that can be."""
    digest = hashlib.sha256("\0".join(seed).encode()).digest()
    return 9000 + int.from_bytes(digest[:4], "big") % 90000


def _person(title: str) -> str:
    """Return a title as a person's name, in which ``^`` and ``=`` would part components."""
    return title.replace("^", " ").replace("=", " ")


def _require_on(mask: Volume, source: SourceSeries) -> None:
    if mask.unit != "label":
        raise InputError(f"a SEG of a {mask.unit} volume: expected a label")
    if not mask.grid.matches(source.grid, tolerance_mm=0.1):
        raise GridError(
            f"mask on {mask.grid.describe()}, expected the source's grid, "
            f"{source.grid.describe()}; lay it there with boneviz.labels.on_grid"
        )
    frames = (mask.grid.frame_of_reference_uid, source.frame_of_reference_uid)
    if frames[0] not in (None, frames[1]):
        raise GridError(
            f"mask with another {tag_of('FrameOfReferenceUID')} than the source's: they belong to "
            "different scans"
        )


def _require_text(what: str, said: str) -> None:
    """Refuse what DICOM's LO cannot hold; nothing is cut silently."""
    if not said.strip() or len(said) > LONGEST or "\\" in said or not said.isprintable():
        raise InputError(
            f"{what} {said!r}: DICOM holds 1 to {LONGEST} characters without a backslash or "
            "control characters; shorten or rename it"
        )
