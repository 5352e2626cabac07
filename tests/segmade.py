"""Small DICOM sources, SEGs and RTSTRUCTs made by hand; the spacing is 2 x 3 x 5 mm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from boneviz.lps import flipped
from boneviz.volume import Grid

ROOT = "1.2.826.0.1.3680043.8.498.7"
FRAME, STUDY, SERIES = f"{ROOT}.1", f"{ROOT}.2", f"{ROOT}.3"
CT_CLASS = "1.2.840.10008.5.1.4.1.1.2"
SEG_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
LABEL_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
RT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"

# rows of the orientation: where the column index grows to, where the row index grows to, LPS
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# turned by 3-4-5 about the head-foot axis, and tipped: neither is along an axis of the patient
OBLIQUE = (0.8, 0.6, 0.0, -0.36, 0.48, 0.8)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


def normal_of(orientation: Sequence[float]) -> NDArray[np.float64]:
    return np.cross(orientation[:3], orientation[3:])


def sop_uid(k: int) -> str:
    return f"{ROOT}.4.{k + 1}"


def ct_headers(
    shape: Sequence[int] = (6, 4, 3),
    *,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    spacing_mm: Sequence[float] = (2.0, 3.0, 5.0),
    step: float = 1.0,
) -> list[Dataset]:
    """Return headers of a CT of (columns, rows, slices), slices `step` spacings along the normal.

    A `step` of -1 gives a series whose first file is the uppermost slice.
    """
    headers = []
    for k in range(shape[2]):
        header = Dataset()
        header.SOPClassUID, header.SOPInstanceUID = CT_CLASS, sop_uid(k)
        header.StudyInstanceUID, header.SeriesInstanceUID = STUDY, SERIES
        header.FrameOfReferenceUID = FRAME
        header.Modality = "CT"
        header.PatientName, header.PatientID = "CANARY^NAME", "CANARY-ID"
        header.PatientBirthDate, header.PatientSex = "19010203", "F"
        header.StudyDate, header.StudyTime = "20010203", "040506"
        header.StudyID, header.AccessionNumber = "CANARY-STUDY", "CANARY-ACC"
        header.ReferringPhysicianName = "CANARY^DOCTOR"
        header.InstitutionName = "CANARY HOSPITAL"
        header.StudyDescription = "CANARY STUDY OF A NAME"
        header.PatientComments = "CANARY COMMENT"
        header.Columns, header.Rows = shape[0], shape[1]
        header.PixelSpacing = [spacing_mm[1], spacing_mm[0]]
        header.SliceThickness = 99.0
        header.ImageOrientationPatient = list(orientation)
        at = np.array(origin) + k * step * spacing_mm[2] * normal_of(orientation)
        header.ImagePositionPatient = [round(float(v), 6) for v in at]
        headers.append(header)
    return headers


def grid_of(
    headers: Sequence[Dataset], *, frame: str | None = FRAME, spacing_mm: float = 5.0
) -> Grid:
    """Return the grid of headers as DICOM has it: columns, rows, slices as they come."""
    first, last = headers[0], headers[-1]
    row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    start = np.array(first.ImagePositionPatient, float)
    affine = np.eye(4)
    affine[:3, 0] = row * float(first.PixelSpacing[1])
    affine[:3, 1] = column * float(first.PixelSpacing[0])
    apart = np.array(last.ImagePositionPatient, float) - start
    n = len(headers)
    affine[:3, 2] = apart / (n - 1) if n > 1 else np.cross(row, column) * spacing_mm
    affine[:3, 3] = start
    return Grid((int(first.Columns), int(first.Rows), n), flipped(affine), frame)


def _file(sop_class: str, uid: str) -> Dataset:
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = sop_class
    file.file_meta.MediaStorageSOPInstanceUID = uid
    file.SOPClassUID, file.SOPInstanceUID = sop_class, uid
    file.StudyInstanceUID, file.SeriesInstanceUID = STUDY, f"{uid}.1"
    file.PatientName, file.PatientID = "CANARY^NAME", "CANARY-ID"
    file.PatientBirthDate, file.PatientSex = "", ""
    return file


def code_item(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def seg_file(
    frames: Sequence[NDArray[np.integer]],
    places: Sequence[tuple[int, float]],
    *,
    kind: str = "BINARY",
    fractional: str = "PROBABILITY",
    labels: Mapping[int, str] | None = None,
    orientation: Sequence[float] = AXIAL,
    origin: Sequence[float] = (-10.0, -20.0, 30.0),
    step_mm: float | None = 5.0,
    thickness_mm: float | None = 5.0,
) -> Dataset:
    """Return a SEG written tag by tag: each frame's segment and its mm along the normal."""
    label_map = kind == "LABELMAP"
    file = _file(LABEL_MAP_CLASS if label_map else SEG_CLASS, f"{ROOT}.5")
    file.Modality, file.FrameOfReferenceUID = "SEG", FRAME
    file.SegmentationType = kind
    if kind == "FRACTIONAL":
        file.SegmentationFractionalType, file.MaximumFractionalValue = fractional, 200
    bits = 1 if kind == "BINARY" else 8
    file.Rows, file.Columns = frames[0].shape
    file.NumberOfFrames = len(frames)
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = bits, bits, bits - 1
    file.PixelRepresentation = 0
    stack = np.stack(frames).astype(np.uint8)
    content = np.packbits(stack.ravel(), bitorder="little") if bits == 1 else stack
    data = content.tobytes()
    file.PixelData = data + b"\0" * (len(data) % 2)
    file["PixelData"].VR = "OB"
    numbers = sorted({segment for segment, _ in places} | set(labels or ()))
    file.SegmentSequence = Items([_segment(n, (labels or {}).get(n, f"part {n}")) for n in numbers])
    series = Dataset()
    series.SeriesInstanceUID = SERIES
    file.ReferencedSeriesSequence = Items([series])
    organization = Dataset()
    organization.DimensionOrganizationUID = f"{ROOT}.6"
    file.DimensionOrganizationSequence = Items([organization])
    file.DimensionIndexSequence = Items(_dimensions(label_map))
    shared = Dataset()
    plane, measures = Dataset(), Dataset()
    plane.ImageOrientationPatient = list(orientation)
    measures.PixelSpacing = [3.0, 2.0]
    if step_mm is not None:
        measures.SpacingBetweenSlices = step_mm
    if thickness_mm is not None:
        measures.SliceThickness = thickness_mm
    shared.PlaneOrientationSequence = Items([plane])
    shared.PixelMeasuresSequence = Items([measures])
    file.SharedFunctionalGroupsSequence = Items([shared])
    file.PerFrameFunctionalGroupsSequence = Items(
        [
            _frame(n, segment, np.array(origin) + mm * normal_of(orientation), label_map)
            for n, (segment, mm) in enumerate(places)
        ]
    )
    return file


def _segment(number: int, label: str) -> Dataset:
    item = Dataset()
    item.SegmentNumber, item.SegmentLabel = number, label
    item.SegmentAlgorithmType = "MANUAL"
    item.SegmentedPropertyCategoryCodeSequence = Items(
        [code_item("49755003", "Morphologically Abnormal Structure")]
    )
    item.SegmentedPropertyTypeCodeSequence = Items([code_item("52988006", "Lesion")])
    return item


def _dimensions(label_map: bool) -> list[Dataset]:
    pointers = [(0x00200032, 0x00209113)]
    if not label_map:
        pointers.insert(0, (0x0062000B, 0x0062000A))
    dimensions = []
    for tag, group in pointers:
        item = Dataset()
        item.DimensionOrganizationUID = f"{ROOT}.6"
        item.DimensionIndexPointer, item.FunctionalGroupPointer = tag, group
        dimensions.append(item)
    return dimensions


def _frame(n: int, segment: int, at: NDArray[np.float64], label_map: bool) -> Dataset:
    item, place, content, identification = Dataset(), Dataset(), Dataset(), Dataset()
    place.ImagePositionPatient = [round(float(v), 6) for v in at]
    item.PlanePositionSequence = Items([place])
    content.DimensionIndexValues = [n + 1] if label_map else [segment, n + 1]
    item.FrameContentSequence = Items([content])
    if not label_map:
        identification.ReferencedSegmentNumber = segment
        item.SegmentIdentificationSequence = Items([identification])
    return item


def written(file: Dataset, path: Path) -> Path:
    file.save_as(path, enforce_file_format=True)
    return path


def contour_of(
    points: Sequence[Sequence[float]], *, kind: str = "CLOSED_PLANAR", image: str | None = None
) -> Dataset:
    """Return a contour through LPS points; `image` is the SOPInstanceUID that it names."""
    item = Dataset()
    if image is not None:
        item.ContourImageSequence = Items([_named(image)])
    item.ContourGeometricType = kind
    item.NumberOfContourPoints = len(points)
    item.ContourData = [float(v) for point in points for v in point]
    return item


def rt_file(
    rois: Mapping[int, Sequence[Dataset]],
    *,
    frame: str | None = FRAME,
    series: str | None = SERIES,
    images: Sequence[str] = (),
) -> Dataset:
    """Return an RTSTRUCT: ROI number -> contours."""
    file = _file(RT_CLASS, f"{ROOT}.8")
    file.Modality = "RTSTRUCT"
    referenced = Dataset()
    if frame is not None:
        referenced.FrameOfReferenceUID = frame
    if series is not None:
        one, study = Dataset(), Dataset()
        one.SeriesInstanceUID = series
        one.ContourImageSequence = Items([_named(image) for image in images])
        study.RTReferencedSeriesSequence = Items([one])
        referenced.RTReferencedStudySequence = Items([study])
    file.ReferencedFrameOfReferenceSequence = Items([referenced])
    regions, drawn = [], []
    for number, contours in rois.items():
        region, outline = Dataset(), Dataset()
        region.ROINumber, region.ROIName = number, f"<b>region {number}"
        if frame is not None:
            region.ReferencedFrameOfReferenceUID = frame
        outline.ReferencedROINumber = number
        outline.ContourSequence = Items(list(contours))
        regions.append(region)
        drawn.append(outline)
    file.StructureSetROISequence = Items(regions)
    file.ROIContourSequence = Items(drawn)
    return file


def _named(image: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CT_CLASS, image
    return item
