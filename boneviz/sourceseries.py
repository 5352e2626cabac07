"""Slices of a DICOM series and which plane of a grid each of them is, `SourceSeries`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from boneviz.dicombytes import numbers, quiet, tag_of, uid, whole
from boneviz.errors import BonevizError, GridError, ImageFileError
from boneviz.lps import flipped
from boneviz.volume import Grid

__all__ = ["SourceSeries"]

TOLERANCE_MM = 0.1
MAX_SLICES = 65535


@dataclass(frozen=True, slots=True, eq=False)
class SourceSeries:
    """A series of single-frame images, in the order in which a grid's planes come.

    Made by `SourceSeries.of`, which checks that the series and the grid are the same voxels.

    Parameters
    ----------
    grid : the series' grid, in whatever order of axes
    headers : one data set per plane of the grid, ascending along its slice axis
    axes : which axis of the grid is the images' column index, row index, slice
    reversed_ : whether column index and row index run against the grid's axes
    slice_of : SOPInstanceUID -> plane of the grid
    series_uid, frame_of_reference_uid : of the series
    """

    grid: Grid
    headers: tuple[Dataset, ...]
    axes: tuple[int, int, int]
    reversed_: tuple[bool, bool]
    slice_of: Mapping[str, int]
    series_uid: str
    frame_of_reference_uid: str

    @classmethod
    def of(cls, headers: Sequence[Dataset], grid: Grid) -> SourceSeries:
        """Match headers, in any order, with the planes of a grid.

        Parameters
        ----------
        headers : a data set per image, as ``pydicom.dcmread(path, stop_before_pixels=True)``
            reads it
        grid : of the volume that was made from these images, axes in any order and direction

        Raises
        ------
        ImageFileError
            No image, a multi-frame image, a tag that is missing, several series or frames of
            reference, or one image twice.
        GridError
            Another frame of reference than the grid's, or an image that is no plane of the grid
            within 0.1 mm, or a plane without an image.
        """
        with quiet():
            try:
                return cls._of(headers, grid)
            except BonevizError:
                raise
            except Exception as error:
                # values of damaged headers fail where they are used, as anything
                raise ImageFileError(
                    f"source series: a header cannot be read ({type(error).__name__}); give the "
                    "series again from its source"
                ) from None

    @classmethod
    def _of(cls, headers: Sequence[Dataset], grid: Grid) -> SourceSeries:
        if not 1 <= len(headers) <= MAX_SLICES:
            raise ImageFileError(
                f"source series: {len(headers)} images, expected 1 to {MAX_SLICES}"
            )
        for header in headers:
            if int(header.get("NumberOfFrames") or 1) > 1:
                raise ImageFileError(
                    f"source series: {tag_of('NumberOfFrames')} is {header.NumberOfFrames}: an "
                    "enhanced multi-frame image; expected one file per slice"
                )
        found = {
            keyword: _the_one(headers, keyword)
            for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
        }
        frame = found["FrameOfReferenceUID"]
        if grid.frame_of_reference_uid not in (None, frame):
            raise GridError(
                f"source series: {tag_of('FrameOfReferenceUID')} is not the grid's: they belong to "
                "different scans; give the series that the volume was made from"
            )
        planes = [_plane(header, grid, at) for at, header in enumerate(headers)]
        axes, reversed_, _ = planes[0]
        if any(plane[:2] != (axes, reversed_) for plane in planes):
            raise GridError("source series: images of several orientations, expected one")
        n = grid.shape[axes[2]]
        at = [plane[2] for plane in planes]
        lacking = sorted(set(range(n)) - set(at))
        if lacking or len(at) != n:
            raise GridError(
                f"source series: {len(at)} images for the {n} planes of {grid.describe()}, "
                f"{len(lacking)} planes without one; give the whole series, each image once"
            )
        ordered: list[Any] = [None] * n
        for place, header in zip(at, headers, strict=True):
            ordered[place] = header
        slice_of = {str(uid(h, "SOPInstanceUID")): k for k, h in enumerate(ordered)}
        if len(slice_of) != n or "None" in slice_of:
            raise ImageFileError(
                f"source series: {tag_of('SOPInstanceUID')} is missing or comes twice"
            )
        return cls(
            grid,
            tuple(ordered),
            axes,
            reversed_,
            MappingProxyType(slice_of),
            found["SeriesInstanceUID"],
            frame,
        )

    @property
    def slice_mm(self) -> float:
        """Distance of neighbouring slices."""
        return self.grid.spacing_mm[self.axes[2]]

    def frames(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return voxels of the grid, (X, Y, Z), as the images show them, (slice, row, column)."""
        column, row, plane = self.axes
        return self._turned(array.transpose(plane, row, column))

    def voxels(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Return frames, (slice, row, column), as a view in the grid's order, (X, Y, Z)."""
        column, row, plane = self.axes
        return self._turned(frames).transpose(np.argsort([plane, row, column]))

    def _turned(self, frames: NDArray[Any]) -> NDArray[Any]:
        turn_column, turn_row = self.reversed_
        return frames[:, :: -1 if turn_row else 1, :: -1 if turn_column else 1]


def _the_one(headers: Sequence[Dataset], keyword: str) -> str:
    values = {uid(header, keyword) for header in headers}
    value = values.pop()
    if values:
        raise ImageFileError(
            f"source series: {len(values) + 1} values of {tag_of(keyword)}, expected one series"
        )
    if value is None:
        raise ImageFileError(f"source series: {tag_of(keyword)} is missing, expected one")
    return value


def _plane(
    header: Dataset, grid: Grid, at: int
) -> tuple[tuple[int, int, int], tuple[bool, bool], int]:
    """Return axes and directions of an image in the grid, and the plane that it is."""
    where = f"image {at + 1} of the source series"
    rows = whole(header, "Rows", low=1, high=65535)
    columns = whole(header, "Columns", low=1, high=65535)
    spacing = numbers(header, "PixelSpacing", 2, where)
    directions = np.array(numbers(header, "ImageOrientationPatient", 6, where)).reshape(2, 3)
    first = np.array(numbers(header, "ImagePositionPatient", 3, where))
    along_row, along_column = directions[0] * spacing[1], directions[1] * spacing[0]
    corners = np.array(
        [
            first + c * along_row + r * along_column
            for c, r in ((0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1))
        ]
    )
    index = grid.to_index(flipped(corners))
    nearest = np.rint(index)
    off = float(np.linalg.norm(grid.to_mm(nearest) - flipped(corners), axis=1).max())
    # one step of a column and of a row in voxels: each must be one voxel of one axis
    steps = grid.to_index(flipped(first + np.array([along_row, along_column]))) - index[0]
    axes = [int(np.abs(step).argmax()) for step in steps]
    straight = np.abs(np.abs(steps).max(axis=1) - 1).max() < 0.01 and axes[0] != axes[1]
    inside = (nearest >= 0).all() and (nearest < grid.shape).all()
    if not straight or not inside or off > min(TOLERANCE_MM, min(grid.spacing_mm) / 4):
        raise GridError(
            f"{where}: its corners lie up to {off:.2f} mm beside voxels of {grid.describe()}, "
            f"at most {TOLERANCE_MM} mm expected inside the grid; give the series that the volume "
            "was made from"
        )
    if (grid.shape[axes[0]], grid.shape[axes[1]]) != (columns, rows):
        raise GridError(
            f"{where}: {tag_of('Columns')} x {tag_of('Rows')} {columns} x {rows}, the grid has "
            f"{grid.shape[axes[0]]} x {grid.shape[axes[1]]} voxels there"
        )
    slices = 3 - axes[0] - axes[1]
    reversed_ = (bool(steps[0][axes[0]] < 0), bool(steps[1][axes[1]] < 0))
    return (axes[0], axes[1], slices), reversed_, int(nearest[0, slices])
