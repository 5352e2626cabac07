"""Series of CT and PET to volumes: HU, SUVbw with its derivation, or counts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneviz.dicomfiles import Found, Series, Skipped, find_series
from boneviz.dicomgrid import Place, grid_of
from boneviz.dicomheader import MULTIFRAME
from boneviz.dicompixels import MOST_BYTES, dtype_of, read_stored, require_readable
from boneviz.dicomvalues import tag_name
from boneviz.errors import GridError, ImageFileError, InputError
from boneviz.suv import SuvDerivation, derive_suv, one_header
from boneviz.volume import Grid, Volume

__all__ = [
    "Found",
    "Series",
    "Skipped",
    "find_series",
    "read_ct",
    "read_grid",
    "read_pet",
    "suv_derivation",
]

AIR_HU = -1024


def read_grid(series: Series) -> Grid:
    """Return the grid of a series from its headers alone.

    Raises
    ------
    GridError
        The slices make no volume; the message starts with the series' folder.
    """
    return _placed(series)[0]


def suv_derivation(series: Series) -> SuvDerivation:
    """Return how SUVbw follows from the headers of a PET series; no pixel is read.

    Raises
    ------
    InputError
        It does not; the message names the tag.
    """
    _require_modality(series, "PT")
    try:
        return derive_suv(one_header([file.pet for file in series.files if file.pet is not None]))
    except InputError as error:
        raise InputError(f"{series.folder}: PET without SUV: {error}") from error


def read_ct(series: Series) -> Volume:
    """Read a CT series as HU, int16 where slope and intercept are whole and all fits, or float32.

    Pixels that the scanner marked as no measurement (PixelPaddingValue) become air, -1024 HU.
    Compression with loss is read and stated by `Series.lossy`.

    Raises
    ------
    ImageFileError
        A file is truncated, cannot be decoded, or lacks slope or intercept.
    GridError
        The slices make no volume.
    """
    _require_modality(series, "CT")
    grid, places = _placed(series)
    exact = all(
        place.slice.slope == 1 and float(place.slice.intercept or 0).is_integer()
        for place in places
    )
    if exact:
        exact = _fits_int16(places)
    dtype = np.dtype(np.int16 if exact else np.float32)
    return Volume(_voxels(places, grid, dtype, _hu), grid, "HU")


def read_pet(series: Series, *, as_counts: bool = False) -> Volume:
    """Read a PET series as SUVbw, float32, each slice by its own slope.

    Parameters
    ----------
    as_counts : give the stored, rescaled values without SUV, whatever their unit; their unit is
        then ``counts`` and no SUV can be had of them

    Raises
    ------
    InputError
        SUVbw does not follow from the headers (`suv_derivation`).
    ImageFileError
        A file is truncated, cannot be decoded, or lacks slope or intercept.
    GridError
        The slices make no volume.
    """
    _require_modality(series, "PT")
    factor = 1.0 if as_counts else suv_derivation(series).factor
    grid, places = _placed(series)

    def scaled(place: Place, stored: NDArray[Any], into: NDArray[Any]) -> None:
        np.multiply(stored, (place.slice.slope or 0) * factor, out=into, casting="unsafe")
        if place.slice.intercept:
            into += np.float32(place.slice.intercept * factor)

    voxels = _voxels(places, grid, np.dtype(np.float32), scaled)
    return Volume(voxels, grid, "counts" if as_counts else "SUVbw")


def _hu(place: Place, stored: NDArray[Any], into: NDArray[Any]) -> None:
    slope, intercept = place.slice.slope or 0, place.slice.intercept or 0
    padding = place.file.pixels.padding
    padded = None if padding is None else (stored >= padding[0]) & (stored <= padding[1])
    if into.dtype == np.int16:
        np.add(stored, np.int32(intercept), out=into, casting="unsafe")
    else:
        np.multiply(stored, slope, out=into, casting="unsafe")
        into += np.float32(intercept)
    if padded is not None:
        into[padded] = AIR_HU


def _fits_int16(places: Sequence[Place]) -> bool:
    """Whether HU of every pixel that the bits can hold fits, padding aside."""
    for place in places:
        pixels, intercept = place.file.pixels, place.slice.intercept or 0
        low = -(2 ** (pixels.bits_stored - 1)) if pixels.signed else 0
        if low + intercept < -32768 or low + 2**pixels.bits_stored - 1 + intercept > 32767:
            return False
    return True


def _voxels(
    places: Sequence[Place],
    grid: Grid,
    dtype: np.dtype[Any],
    rescale: Callable[[Place, NDArray[Any], NDArray[Any]], None],
) -> NDArray[Any]:
    """Return rescaled voxels, (X, Y, Z), read slice by slice in threads; read-only."""
    x, y, z = grid.shape
    voxels = np.empty((z, y, x), dtype)

    def read(n: int) -> None:
        place = places[n]
        stored = np.empty((y, x), dtype_of(place.file.pixels))
        read_stored(place.file, place.slice.frame, stored)
        rescale(place, stored, voxels[n])

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for _ in pool.map(read, range(z)):
            pass
    voxels.setflags(write=False)
    return voxels.T


def _placed(series: Series) -> tuple[Grid, tuple[Place, ...]]:
    for file in series.files:
        if file.n_frames > 1 and file.sop_class not in MULTIFRAME:
            raise ImageFileError(
                f"{file.path}: {file.n_frames} frames ({tag_name('NumberOfFrames')}) in a class "
                "of single slices: where they lie is not known; export single slices"
            )
        require_readable(file)
    uids = [file.sop_uid for file in series.files]
    if len(set(uids)) < len(uids):
        twice = [f.path for f in series.files if uids.count(f.sop_uid) > 1][:2]
        raise ImageFileError(
            f"{twice[0]} and {twice[1]}: one {tag_name('SOPInstanceUID')} with different content: "
            "expected one file for each image; take one away"
        )
    try:
        grid, places = grid_of(series.files)
    except GridError as error:
        who = "" if str(series.folder) in str(error) else f"{series.folder}: "
        raise GridError(f"{who}{error}") from error
    for place in places:
        for keyword, value in (
            ("RescaleSlope", place.slice.slope),
            ("RescaleIntercept", place.slice.intercept),
        ):
            if value is None or (keyword == "RescaleSlope" and value == 0):
                raise ImageFileError(
                    f"{place.file.path}: {tag_name(keyword)} absent, 0 or not a number: what the "
                    "voxels measure is not known; export the series anew"
                )
    total = grid.shape[0] * grid.shape[1] * grid.shape[2] * 4
    if total > MOST_BYTES:
        raise ImageFileError(
            f"{series.folder}: {total} bytes of voxels, at most {MOST_BYTES} are read; "
            "crop the series at its source"
        )
    return grid, places


def _require_modality(series: Series, expected: str) -> None:
    if series.modality != expected:
        raise InputError(
            f"{series.folder}: {tag_name('Modality')} is {series.modality or 'absent'}, "
            f"expected {expected}; choose another series"
        )
