"""Regions of a DICOM RTSTRUCT as label volumes on the grid of the images they were drawn on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from boneviz.contours import crossing_pair, inside, same_pair
from boneviz.dicombytes import items, numbers, read_object, refusing, tag_of, text, uid, whole
from boneviz.errors import GridError, ImageFileError, InputError
from boneviz.lps import flipped
from boneviz.sourceseries import SourceSeries
from boneviz.volume import Volume

__all__ = ["FrameBy", "Roi", "RoiName", "read_rois", "roi_names"]

FrameBy = Literal["frame of reference", "images"]

SOP_CLASSES = {"1.2.840.10008.5.1.4.1.1.481.3": "RT Structure Set"}
CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
# a contour's corners to their plane, and the plane to its slice
TOLERANCE_MM = 0.1
MAX_TOGETHER = 2**31
MAX_ON_SLICE = 500


@dataclass(frozen=True, slots=True)
class RoiName:
    """What a file says of a region; the label is a stranger's text, to be escaped where shown.

    Parameters
    ----------
    number : ROINumber (3006,0022)
    label : ROIName (3006,0026) as in the file
    kinds : ContourGeometricType (3006,0042) of its contours, each once, sorted; ``POINT`` alone
        is no region
    """

    number: int
    label: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Roi:
    """One region as a label volume.

    Parameters
    ----------
    name : number, label and kinds of contours
    volume : ``label`` on the source's grid; all False for a region without contours
    contours : how many were rasterised
    """

    name: RoiName
    volume: Volume
    contours: int


def roi_names(path: str | Path) -> tuple[RoiName, ...]:
    """Return what an RTSTRUCT says of its regions, in the file's order, without their voxels.

    Raises
    ------
    ImageFileError
        The file is no readable RTSTRUCT.
    """
    path = Path(path)
    with refusing(path, "DICOM RTSTRUCT"):
        dataset = read_object(path, SOP_CLASSES)
        return tuple(name for name, _, _ in _rois(dataset))


def read_rois(
    path: str | Path,
    source: SourceSeries,
    *,
    only: Collection[int] | None = None,
    same_by: FrameBy = "frame of reference",
) -> tuple[Roi, ...]:
    """Rasterise the regions of an RTSTRUCT on the slices of its source.

    A voxel belongs to a region where its centre lies inside an odd number of the region's closed
    contours on its slice (`boneviz.contours.inside`): a contour within another is a hole, a third
    within that is solid again, and the inner loop of a key-hole contour is a hole. Contours are
    not interpolated between slices.

    Parameters
    ----------
    path : one RTSTRUCT
    source : the images that it was drawn on, and their grid
    only : numbers of the regions wanted; all by default
    same_by : how the regions are known to belong to the source. ``images`` does not compare the
        FrameOfReferenceUID, which some software writes anew, and expects instead that each
        contour names the image that it lies in.

    Raises
    ------
    GridError
        Another frame of reference, series or images than the source's; a contour that is not
        parallel to the slices, lies between them, outside the grid, or in another image than the
        one it names; contours on every second slice, or every third.
    ImageFileError
        No readable RTSTRUCT; a region that is not there; points and open contours, which hold no
        volume; contours that cross, come twice or nearly so; a region so small that no voxel
        centre is in it.
    InputError
        An unknown `same_by`.
    """
    path = Path(path)
    if same_by not in get_args(FrameBy):
        raise InputError(f"same_by {same_by!r}: expected one of {', '.join(get_args(FrameBy))}")
    with refusing(path, "DICOM RTSTRUCT"):
        dataset = read_object(path, SOP_CLASSES)
        rois = _rois(dataset)
        if only is not None:
            lacking = sorted(set(only) - {name.number for name, _, _ in rois})
            if lacking:
                there = ", ".join(str(name.number) for name, _, _ in rois)
                raise ImageFileError(f"no ROI {lacking[0]}: the file has {there}")
            rois = [roi for roi in rois if roi[0].number in only]
        together = len(rois) * int(np.prod(source.grid.shape))
        if together > MAX_TOGETHER:
            raise ImageFileError(
                f"{len(rois)} ROIs of {source.grid.describe()}: {together} voxels, at most "
                f"{MAX_TOGETHER} together; read fewer at a time, by their numbers (only=)"
            )
        _require_references(dataset, source, same_by)
        return tuple(_roi(name, frame, found, source, same_by) for name, frame, found in rois)


def _rois(dataset: Dataset) -> list[tuple[RoiName, str | None, list[Dataset]]]:
    """Return name, frame of reference and contours of each region."""
    drawn: dict[int, list[Dataset]] = defaultdict(list)
    for item in items(dataset, "ROIContourSequence"):
        number = whole(item, "ReferencedROINumber", low=0, high=2**31)
        drawn[number] += items(item, "ContourSequence")
    rois = []
    for item in items(dataset, "StructureSetROISequence"):
        number = whole(item, "ROINumber", low=0, high=2**31)
        kinds = sorted({text(contour, "ContourGeometricType") for contour in drawn[number]})
        name = RoiName(number, text(item, "ROIName"), tuple(kinds))
        rois.append((name, uid(item, "ReferencedFrameOfReferenceUID"), drawn[number]))
    known = [name.number for name, _, _ in rois]
    if not rois:
        raise ImageFileError(f"{tag_of('StructureSetROISequence')} has no ROI, expected one")
    if len(set(known)) < len(known) or set(drawn) - set(known):
        raise ImageFileError(
            f"{tag_of('ROINumber')} {known}, contours for {sorted(drawn)}: expected each number "
            "once, and contours of these alone"
        )
    return rois


def _require_references(dataset: Dataset, source: SourceSeries, same_by: FrameBy) -> None:
    """Refuse a file that says it was drawn on other images."""
    series = [
        one
        for frame in items(dataset, "ReferencedFrameOfReferenceSequence")
        for study in items(frame, "RTReferencedStudySequence")
        for one in items(study, "RTReferencedSeriesSequence")
    ]
    of_source = [one for one in series if uid(one, "SeriesInstanceUID") == source.series_uid]
    if series and not of_source:
        raise GridError(
            f"{tag_of('RTReferencedSeriesSequence')} names {len(series)} series, none of them the "
            "source; give the series that it was drawn on"
        )
    for one in of_source:
        images = [
            uid(image, "ReferencedSOPInstanceUID") for image in items(one, "ContourImageSequence")
        ]
        strange = sum(image not in source.slice_of for image in images)
        if strange:
            raise GridError(
                f"{tag_of('ContourImageSequence')} names {len(images)} images of the series, "
                f"{strange} of them not among its {len(source.slice_of)} given; give the series "
                "whole"
            )
    if same_by == "images":
        return
    frames = {
        uid(frame, "FrameOfReferenceUID")
        for frame in items(dataset, "ReferencedFrameOfReferenceSequence")
    } - {None}
    if frames and source.frame_of_reference_uid not in frames:
        raise _other_frame(f"{tag_of('FrameOfReferenceUID')} that the file names")


def _other_frame(what: str) -> GridError:
    return GridError(
        f"{what} is not the source's {tag_of('FrameOfReferenceUID')}: they belong to different "
        "scans; where the contours name the source's images all the same, ask for "
        "same_by='images'"
    )


def _roi(
    name: RoiName,
    frame: str | None,
    contours: Sequence[Dataset],
    source: SourceSeries,
    same_by: FrameBy,
) -> Roi:
    who = f"ROI {name.number}"
    if same_by == "frame of reference" and frame != source.frame_of_reference_uid:
        said = tag_of("ReferencedFrameOfReferenceUID")
        raise _other_frame(f"{said} of {who}" if frame else f"{said} is missing for {who}, which")
    on_slice: dict[int, list[tuple[int, str, NDArray[np.float64]]]] = defaultdict(list)
    for at, contour in enumerate(contours, start=1):
        where = f"contour {at} of {who}"
        named_slices = _named_slices(contour, where, source, must=same_by == "images")
        place, polygon = _polygon(contour, where, source)
        if named_slices and place not in named_slices:
            raise GridError(
                f"{where}: lies in slice {place}, and names the image of slice {named_slices[0]}: "
                "expected one of them; which is meant is unknown"
            )
        on_slice[place].append((at, text(contour, "ContourGeometricType"), polygon))
    _require_no_gaps(sorted(on_slice), who)
    column, row, plane = source.axes
    shape = (source.grid.shape[column], source.grid.shape[row])
    stack = np.zeros((source.grid.shape[plane], *shape), dtype=bool)
    for place, drawn in on_slice.items():
        z_mm = float(source.headers[place].ImagePositionPatient[2])
        stack[place] = _slice(drawn, shape, who, f"slice {place} at z {z_mm:g} mm")
    if contours and not stack.any():
        raise ImageFileError(
            f"{who}: no voxel centre lies inside its {len(contours)} contours, on "
            f"{source.grid.describe()}: it is finer than the grid"
        )
    stack.setflags(write=False)
    # from (slice, column, row) back to the grid's own order of axes
    array = stack.transpose(np.argsort([plane, column, row]))
    return Roi(name, Volume(array, source.grid, "label"), len(contours))


def _polygon(contour: Dataset, where: str, source: SourceSeries) -> tuple[int, NDArray[np.float64]]:
    """Return the slice of a contour, and its corners in the grid's column and row indices."""
    kind = text(contour, "ContourGeometricType")
    if kind not in CLOSED:
        known = kind if kind in ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR") else "unknown"
        raise ImageFileError(
            f"{where}: {tag_of('ContourGeometricType')} is {known}, which holds no volume; "
            f"expected {' or '.join(CLOSED)}; leave the ROI out (only=)"
        )
    n = whole(contour, "NumberOfContourPoints", low=1, high=2**24)
    if n < 3:
        raise ImageFileError(f"{where}: {n} points enclose nothing, expected at least 3")
    points = np.array(numbers(contour, "ContourData", 3 * n, where)).reshape(n, 3)
    grid, (column, row, plane) = source.grid, source.axes
    index = grid.to_index(flipped(points))
    depth = index[:, plane]
    tall = float(np.ptp(depth)) * source.slice_mm
    if tall > TOLERANCE_MM:
        raise GridError(
            f"{where}: its points span {tall:.2f} mm across the slices, at most {TOLERANCE_MM} mm "
            "expected: it is not planar, or not parallel to the slices; export it slice by slice"
        )
    place = int(np.rint(depth.mean())) if abs(depth.mean()) < 1e6 else -1
    if not 0 <= place < grid.shape[plane]:
        raise GridError(
            f"{where}: lies on slice {depth.mean():.1f} of 0 to {grid.shape[plane] - 1}, outside "
            "the grid; give the series that it was drawn on, whole"
        )
    off = float(np.abs(depth - place).max()) * source.slice_mm
    if off > TOLERANCE_MM:
        raise GridError(
            f"{where}: lies {off:.2f} mm from the nearest slice, at most {TOLERANCE_MM} mm "
            "expected: contours between slices are not interpolated; draw it on these slices"
        )
    flat = index[:, [column, row]]
    size = np.array([grid.shape[column], grid.shape[row]])
    # a slice ends half a pixel beyond the outermost centres
    spacing = np.array([grid.spacing_mm[column], grid.spacing_mm[row]])
    beyond = float((np.maximum(-0.5 - flat, flat - (size - 0.5)) * spacing).max())
    if beyond > TOLERANCE_MM:
        raise GridError(
            f"{where}: reaches {beyond:.2f} mm beyond the slice; what lies there would be lost; "
            "give the series that it was drawn on"
        )
    return place, flat


def _named_slices(contour: Dataset, where: str, source: SourceSeries, *, must: bool) -> list[int]:
    """Return the slices of the images that a contour names, all of them the source's."""
    images = [
        uid(image, "ReferencedSOPInstanceUID") for image in items(contour, "ContourImageSequence")
    ]
    if must and not images:
        raise GridError(
            f"{where}: {tag_of('ContourImageSequence')} is missing: which image it was drawn on is "
            "unknown, and its frame of reference is not compared"
        )
    found = [source.slice_of[str(image)] for image in images if image in source.slice_of]
    if len(found) < len(images):
        raise GridError(
            f"{where}: {tag_of('ReferencedSOPInstanceUID')} names an image that is not among the "
            f"{len(source.slice_of)} of the source; give the series that it was drawn on, whole"
        )
    return found


def _require_no_gaps(places: list[int], who: str) -> None:
    """Refuse a region drawn on every second or third slice: what lies between is unknown."""
    gaps = np.diff(places)
    if len(gaps) >= 2 and gaps.min() > 1 and gaps.min() == gaps.max():
        raise GridError(
            f"{who}: its contours lie on every {gaps[0]}. slice, {len(places)} of them, expected "
            "each slice from first to last: contours are not interpolated; draw the others, or "
            "export on this series"
        )


def _slice(
    drawn: Sequence[tuple[int, str, NDArray[np.float64]]],
    shape: tuple[int, int],
    who: str,
    where: str,
) -> NDArray[np.bool_]:
    """Return the voxels of one slice that lie inside an odd number of contours."""
    if len(drawn) > MAX_ON_SLICE:
        raise ImageFileError(
            f"{who}: {len(drawn)} contours on {where}, at most {MAX_ON_SLICE} are read; export "
            "it as a DICOM SEG"
        )
    corners = [tuple(sorted(map(tuple, np.round(polygon, 3)))) for _, _, polygon in drawn]
    for n, one in enumerate(corners):
        if one in corners[:n]:
            first, second = drawn[corners.index(one)][0], drawn[n][0]
            raise ImageFileError(
                f"contours {first} and {second} of {who} are the same on {where}: two of them "
                "are none (even-odd rule), which nobody draws; remove one at its source"
            )
    masks = [inside(polygon, shape) for _, _, polygon in drawn]
    same = same_pair([polygon for _, _, polygon in drawn], masks)
    if same is not None:
        raise ImageFileError(
            f"contours {drawn[same[0]][0]} and {drawn[same[1]][0]} of {who} on {where} differ by "
            "less than a voxel: one outline drawn twice would be none (even-odd rule), and a rim "
            "that thin is lost on this grid; remove one at its source"
        )
    if not any(kind == "CLOSEDPLANAR_XOR" for _, kind, _ in drawn):
        crossing = crossing_pair(masks)
        if crossing is not None:
            a, b, shared = crossing
            raise ImageFileError(
                f"contours {drawn[a][0]} and {drawn[b][0]} of {who} cross and share {shared} "
                "pixels: whether these are inside is unknown; join the contours at their source"
            )
    return np.asarray(np.logical_xor.reduce(masks))
