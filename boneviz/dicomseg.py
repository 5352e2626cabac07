"""Segments of a DICOM SEG as label volumes, each on the grid of the file.

Binary, fractional and label-map segmentations are read through highdicom. Frames that a file
leaves out are empty. Nothing is resampled: `boneviz.labels.on_grid` lays a segment on a CT.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from boneviz.dicombytes import (
    items,
    numbers,
    read_object,
    refusing,
    tag_of,
    text,
    uid,
    whole,
)
from boneviz.errors import ImageFileError, InputError
from boneviz.framelattice import Planes, lattice
from boneviz.segframes import decoded_masks, require_described, require_pixels
from boneviz.volume import MOST_VOXELS, Grid, Volume

__all__ = ["Segment", "SegmentName", "read_segments", "segment_names"]

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.66.4": "Segmentation",
    "1.2.840.10008.5.1.4.1.1.66.7": "Segmentation",
}
LABEL_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
BITS = {"BINARY": (1,), "FRACTIONAL": (8,), "LABELMAP": (8, 16)}
MAX_FRAMES = 2**20
MAX_TOGETHER = 2 * MOST_VOXELS


@dataclass(frozen=True, slots=True)
class SegmentName:
    """What a file says of a segment; the label is a stranger's text, to be escaped where shown.

    Parameters
    ----------
    number : SegmentNumber (0062,0004), 1 to 65535
    label : SegmentLabel (0062,0005) as in the file
    algorithm : ``MANUAL``, ``SEMIAUTOMATIC``, ``AUTOMATIC``, or empty
    """

    number: int
    label: str
    algorithm: str


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """One segment as a label volume.

    Parameters
    ----------
    name : number, label and algorithm
    volume : ``label`` on the file's own grid, axes columns, rows, slices, with the file's
        frame of reference; all False where the segment has no frames
    encoding : ``BINARY``, ``LABELMAP``, ``FRACTIONAL PROBABILITY`` or ``FRACTIONAL OCCUPANCY``
    threshold : the fraction from which on a voxel belongs to the segment; None unless fractional
    source_series_uids : the series that the file says it was drawn on
    """

    name: SegmentName
    volume: Volume
    encoding: str
    threshold: float | None
    source_series_uids: tuple[str, ...]


def segment_names(path: str | Path) -> tuple[SegmentName, ...]:
    """Return what a SEG says of its segments, in the file's order, without their voxels.

    Raises
    ------
    ImageFileError
        The file is no readable DICOM SEG.
    """
    path = Path(path)
    with refusing(path, "DICOM SEG"):
        return _names(read_object(path, SOP_CLASSES))


def read_segments(
    path: str | Path, *, only: Collection[int] | None = None, threshold: float | None = None
) -> tuple[Segment, ...]:
    """Read segments of a DICOM SEG.

    Parameters
    ----------
    path : one SEG; frames that are compressed are decoded in a process of their own, as a damaged
        one may end its decoder
    only : numbers of the segments wanted; all by default
    threshold : for fractional segments, above 0 and at most 1; without it they are refused,
        since where they end is the reader's choice. Others do not use it.

    Returns
    -------
    tuple of Segment
        In the file's order. The background of a label map, number 0, is no segment.

    Raises
    ------
    ImageFileError
        No readable DICOM SEG; tiled (slide microscopy); two frames of a segment in one plane;
        frames that are no regular grid; a segment that is not there; above 2**30 voxels in one
        segment or 2**31 together; fractional without a threshold.
    InputError
        A threshold out of range.
    """
    path = Path(path)
    if threshold is not None and not 0 < threshold <= 1:
        raise InputError(f"threshold {threshold}: expected above 0 and at most 1")
    with refusing(path, "DICOM SEG"):
        dataset = read_object(path, SOP_CLASSES)
        names = _names(dataset)
        described = frozenset(name.number for name in names)
        if only is not None:
            lacking = sorted(set(only) - {name.number for name in names})
            if lacking:
                there = ", ".join(str(name.number) for name in names)
                raise ImageFileError(f"no segment {lacking[0]}: the file has {there}")
            names = tuple(name for name in names if name.number in only)
        encoding, level = _encoding(dataset, threshold)
        series = tuple(
            found
            for item in items(dataset, "ReferencedSeriesSequence")
            if (found := uid(item, "SeriesInstanceUID"))
        )
        planes, segment_of = _frames(dataset)
        if segment_of is not None:
            require_described(set(segment_of.tolist()), described, "ReferencedSegmentNumber")
        grid, slice_of = lattice(planes, frame_of_reference_uid=uid(dataset, "FrameOfReferenceUID"))
        _require_fitting(grid, names, segment_of, slice_of)
        require_pixels(dataset, grid.shape[0] * grid.shape[1] * len(slice_of))
        wanted = tuple(name.number for name in names)
        masks = decoded_masks(path, dataset, (grid, wanted, described, segment_of, slice_of, level))
        return tuple(
            Segment(
                name,
                Volume(masks[name.number], grid, "label"),
                encoding,
                threshold if encoding.startswith("FRACTIONAL") else None,
                series,
            )
            for name in names
        )


def _names(dataset: Dataset) -> tuple[SegmentName, ...]:
    names = []
    for item in items(dataset, "SegmentSequence"):
        number = whole(item, "SegmentNumber", low=0, high=65535)
        # a label map describes its background as a segment too
        if number:
            algorithm = text(item, "SegmentAlgorithmType")
            names.append(SegmentName(number, text(item, "SegmentLabel"), algorithm))
    if not names:
        raise ImageFileError(f"{tag_of('SegmentSequence')} describes no segment, expected one")
    numbers_there = [name.number for name in names]
    if len(set(numbers_there)) < len(numbers_there):
        raise ImageFileError(f"{tag_of('SegmentNumber')} comes twice among {numbers_there}")
    return tuple(names)


def _encoding(dataset: Dataset, threshold: float | None) -> tuple[str, float | None]:
    """Return the kind of segmentation, and the stored value from which on a voxel is inside."""
    kind = text(dataset, "SegmentationType")
    if kind not in BITS:
        raise ImageFileError(
            f"{tag_of('SegmentationType')} is not one of {', '.join(BITS)}; export it as BINARY"
        )
    if (kind == "LABELMAP") != (str(dataset.SOPClassUID) == LABEL_MAP_CLASS):
        raise ImageFileError(
            f"{tag_of('SegmentationType')} is {kind} in a file of another {tag_of('SOPClassUID')}"
        )
    bits = whole(dataset, "BitsAllocated", low=1, high=64)
    if bits not in BITS[kind]:
        expected = " or ".join(str(n) for n in BITS[kind])
        raise ImageFileError(
            f"{tag_of('BitsAllocated')} is {bits} in a {kind} segmentation, expected {expected}"
        )
    whole(dataset, "SamplesPerPixel", low=1, high=1)
    if kind != "FRACTIONAL":
        return kind, None
    of = text(dataset, "SegmentationFractionalType")
    if of not in ("PROBABILITY", "OCCUPANCY"):
        raise ImageFileError(
            f"{tag_of('SegmentationFractionalType')} is neither PROBABILITY nor OCCUPANCY"
        )
    top = whole(dataset, "MaximumFractionalValue", low=1, high=255)
    if threshold is None:
        what = "a probability" if of == "PROBABILITY" else "the part of a voxel that is occupied"
        raise ImageFileError(
            f"a fractional segmentation, {tag_of('SegmentationFractionalType')} {of}: each voxel "
            f"holds {what}, not a yes or no; give a threshold such as 0.5"
        )
    return f"FRACTIONAL {of}", threshold * top


def _frames(dataset: Dataset) -> tuple[Planes, NDArray[np.intp] | None]:
    """Return where the frames lie, and the segment of each; None where frames are label maps."""
    n = whole(dataset, "NumberOfFrames", low=1, high=MAX_FRAMES)
    rows = whole(dataset, "Rows", low=1, high=65535)
    columns = whole(dataset, "Columns", low=1, high=65535)
    if rows * columns > MOST_VOXELS:
        raise ImageFileError(
            f"{tag_of('Rows')} {rows} x {tag_of('Columns')} {columns}: "
            f"at most {MOST_VOXELS} are read"
        )
    if text(dataset, "DimensionOrganizationType").startswith("TILED"):
        raise ImageFileError(
            f"{tag_of('DimensionOrganizationType')} is tiled, as slide microscopy is: expected "
            "frames that are slices of a patient"
        )
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(groups) != n:
        raise ImageFileError(
            f"{tag_of('NumberOfFrames')} is {n}, {tag_of('PerFrameFunctionalGroupsSequence')} "
            f"describes {len(groups)}"
        )
    shared = items(dataset, "SharedFunctionalGroupsSequence")[:1]
    positions, orientations, spacings, segment_of = [], [], [], []
    measures = Dataset()
    for at, group in enumerate(groups, start=1):
        where = f"frame {at}"
        plane = _group("PlanePositionSequence", group, shared, where)
        positions.append(numbers(plane, "ImagePositionPatient", 3, where))
        plane = _group("PlaneOrientationSequence", group, shared, where)
        orientations.append(numbers(plane, "ImageOrientationPatient", 6, where))
        measures = _group("PixelMeasuresSequence", group, shared, where)
        spacings.append(numbers(measures, "PixelSpacing", 2, where))
        if dataset.SOPClassUID != LABEL_MAP_CLASS:
            segment = _group("SegmentIdentificationSequence", group, shared, where)
            segment_of.append(whole(segment, "ReferencedSegmentNumber", low=1, high=65535))
    for keyword, values in (
        ("ImageOrientationPatient", np.array(orientations)),
        ("PixelSpacing", np.array(spacings)),
    ):
        apart = np.abs(values - values[0]).max(axis=1)
        if apart.max() > 1e-4:
            raise ImageFileError(
                f"{tag_of(keyword)} of frame {int(apart.argmax()) + 1} is off the first frame's by "
                f"{apart.max():.3g}, expected one for all frames: no regular grid"
            )
    planes = Planes(
        np.array(positions),
        orientations[0],
        (spacings[0][0], spacings[0][1]),
        rows,
        columns,
        step_mm=_length(measures, "SpacingBetweenSlices"),
        thickness_mm=_length(measures, "SliceThickness"),
    )
    return planes, np.array(segment_of, dtype=np.intp) if segment_of else None


def _group(keyword: str, group: Dataset, shared: list[Dataset], where: str) -> Dataset:
    for holder in (group, *shared):
        found = items(holder, keyword)
        if found:
            return found[0]
    raise ImageFileError(
        f"{tag_of(keyword)} is missing for {where}: where its voxels lie is unknown; "
        "export the file again from its source"
    )


def _length(measures: Dataset, keyword: str) -> float | None:
    return numbers(measures, keyword, 1)[0] if measures.get(keyword) is not None else None


def _require_fitting(
    grid: Grid,
    names: tuple[SegmentName, ...],
    segment_of: NDArray[np.intp] | None,
    slice_of: NDArray[np.intp],
) -> None:
    """Refuse what would not fit the memory, and two frames for one place."""
    together = math.prod(grid.shape) * len(names)
    if together > MAX_TOGETHER:
        raise ImageFileError(
            f"{len(names)} segments on {grid.describe()}: {together} voxels, at most "
            f"{MAX_TOGETHER} together; read fewer segments at a time, by their numbers (only=)"
        )
    numbered = np.zeros_like(slice_of) if segment_of is None else segment_of
    pairs, counts = np.unique(np.stack([numbered, slice_of]), axis=1, return_counts=True)
    if counts.max() > 1:
        segment, place = pairs[:, counts.argmax()]
        whose = f"of segment {segment} " if segment else ""
        raise ImageFileError(
            f"{counts.max()} frames {whose}lie in one plane, slice {place}: expected one, "
            "which of them holds is unknown"
        )
