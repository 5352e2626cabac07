"""Series of CT and PET to volumes: HU, SUVbw with its derivation, or counts."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm.auto import tqdm

from boneviz.bars import passing_bar
from boneviz.dicombytes import tag_of
from boneviz.dicomfiles import Found, Series, Skipped, find_series
from boneviz.dicomgrid import Place, grid_of
from boneviz.dicomheader import MULTIFRAME
from boneviz.dicompixels import (
    decoded,
    dtype_of,
    is_compressed,
    measured,
    read_stored,
    require_few,
    require_readable,
)
from boneviz.errors import GridError, ImageFileError, InputError
from boneviz.petheader import one_header
from boneviz.processes import as_done
from boneviz.suv import SuvDerivation, derive_suv
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
Rescale = Callable[[Place, NDArray[Any], NDArray[Any]], None]


def read_grid(series: Series) -> Grid:
    """Return the grid of a series from its headers alone.

    Raises
    ------
    GridError
        The slices make no volume, or are fewer than a PET says it has; the message starts with the
        series' folder.
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


def read_ct(series: Series, *, progress: bool = False) -> Volume:
    """Read a CT series as HU, int16 where slope and intercept are whole and all fits, or float32.

    Pixels that the scanner marked as no measurement (PixelPaddingValue) become air, -1024 HU.
    Compression with loss is read and stated by `Series.lossy`.

    Parameters
    ----------
    progress : whether to show a bar

    Raises
    ------
    ImageFileError
        A file is truncated, cannot be decoded, or lacks slope or intercept.
    GridError
        The slices make no volume.
    """
    _require_modality(series, "CT")
    grid, places = _placed(series)
    whole = all(
        place.slice.slope == 1
        and float(place.slice.intercept or 0).is_integer()
        and place.file.pixels.bits_allocated <= 16
        for place in places
    )
    with passing_bar(len(places), "reading CT", unit="slice", progress=progress) as bar:
        try:
            voxels = _voxels(places, grid, np.int16 if whole else np.float32, _hu, bar)
        except _BeyondInt16Error:
            bar.reset()
            voxels = _voxels(places, grid, np.float32, _hu, bar)
    return Volume(voxels, grid, "HU")


def read_pet(series: Series, *, as_counts: bool = False, progress: bool = False) -> Volume:
    """Read a PET series as SUVbw, float32, each slice by its own slope.

    Parameters
    ----------
    as_counts : give the stored, rescaled values without SUV, whatever their unit; their unit is
        then ``counts`` and no SUV can be had of them
    progress : whether to show a bar

    Pixels that the scanner marked as no measurement (PixelPaddingValue) become 0.

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

    def scaled(place: Place, values: NDArray[Any], into: NDArray[Any]) -> None:
        stored = measured(place.file, values)
        # in float64, so that no slope is rounded before it counts
        slope, intercept = place.slice.slope or 0.0, place.slice.intercept or 0.0
        into[...] = (values * slope + intercept) * factor
        if stored.padded is not None:
            into[stored.padded] = 0

    with passing_bar(len(places), "reading PET", unit="slice", progress=progress) as bar:
        voxels = _voxels(places, grid, np.float32, scaled, bar)
    return Volume(voxels, grid, "counts" if as_counts else "SUVbw")


class _BeyondInt16Error(Exception):
    """HU of a slice do not fit into int16."""


def _hu(place: Place, values: NDArray[Any], into: NDArray[Any]) -> None:
    stored = measured(place.file, values)
    slope, intercept = place.slice.slope or 0.0, place.slice.intercept or 0.0
    if into.dtype == np.int16:
        low, high = stored.extremes or (0, 0)
        if low + intercept < -32768 or high + intercept > 32767:
            raise _BeyondInt16Error
        if not np.shares_memory(values, into):
            into[...] = values
        # the sum fits, so that it is right although a uint16 above 32767 reads as negative
        into += np.int16((int(intercept) + 32768) % 65536 - 32768)
    else:
        into[...] = values * slope + intercept
    if stored.padded is not None:
        into[stored.padded] = AIR_HU


def _voxels(
    places: Sequence[Place],
    grid: Grid,
    dtype: type[np.generic],
    rescale: Rescale,
    bar: tqdm[Any],
) -> Any:
    """Return rescaled voxels, (X, Y, Z), read-only; `bar` goes on by each slice.

    Plain slices are read in threads, compressed ones decoded in processes, where a damaged file
    takes nothing else down.
    """
    x, y, z = grid.shape
    voxels = np.empty((z, y, x), dtype)
    plain = [n for n, place in enumerate(places) if not is_compressed(place.file)]
    coded = [n for n, place in enumerate(places) if is_compressed(place.file)]

    def read(n: int) -> None:
        file = places[n].file
        stored_as = dtype_of(file.pixels)
        # int16 are made from 16 bits in their own memory
        same = dtype is np.int16 and stored_as.itemsize == 2
        values = voxels[n].view(stored_as) if same else np.empty((y, x), stored_as)
        read_stored(file, places[n].slice.frame, values)
        rescale(places[n], values, voxels[n])

    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        # pydicom's warnings quote what is wrong, names of patients included
        warnings.simplefilter("ignore")
        try:
            for _ in pool.map(read, plain):
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if coded:
        for n, values in _decode_all(places, coded):
            rescale(places[n], values.astype(dtype_of(places[n].file.pixels)), voxels[n])
            bar.update()
    voxels.setflags(write=False)
    return voxels.T


def _decode_all(
    places: Sequence[Place], coded: Sequence[int]
) -> Iterator[tuple[int, NDArray[Any]]]:
    folder = places[coded[0]].file.path.parent
    killed = ImageFileError(
        f"{folder}: a compressed file of this series ended its decoder; a file is damaged, copy "
        "the series again, or export it uncompressed"
    )
    tasks = [partial(_decode, n, places[n]) for n in coded]
    refused: list[ImageFileError] = []
    # one worker would be this process
    workers = max(2, min(os.cpu_count() or 1, len(coded)))
    for n, found in as_done(tasks, workers=workers, killed=killed):
        if isinstance(found, ImageFileError):
            refused.append(found)
        else:
            yield n, found
    if refused:
        raise min(refused, key=str)


def _decode(n: int, place: Place) -> tuple[int, NDArray[Any] | ImageFileError]:
    """Return an error instead of raising it: workers are ended where one of their tasks raises."""
    try:
        return n, decoded(place.file, place.slice.frame)
    except ImageFileError as error:
        return n, error


def _placed(series: Series) -> tuple[Grid, tuple[Place, ...]]:
    for file in series.files:
        if file.n_frames > 1 and file.sop_class not in MULTIFRAME:
            raise ImageFileError(
                f"{file.path}: {file.n_frames} frames ({tag_of('NumberOfFrames')}) in a class "
                "of single slices: where they lie is not known; export single slices"
            )
        require_readable(file)
    uids = [file.sop_uid for file in series.files]
    patients = {(file.patient_id, file.patient_name) for file in series.files}
    if len(patients) > 1:
        raise ImageFileError(
            f"{series.folder}: files of {len(patients)} patients ({tag_of('PatientID')}, "
            f"{tag_of('PatientName')}) under one {tag_of('SeriesInstanceUID')}: expected one; "
            "export the series of each patient anew"
        )
    if len(set(uids)) < len(uids):
        twice = [f.path for f in series.files if uids.count(f.sop_uid) > 1][:2]
        raise ImageFileError(
            f"{twice[0]} and {twice[1]}: one {tag_of('SOPInstanceUID')} with different content: "
            "expected one file for each image; take one away"
        )
    try:
        grid, places = grid_of(series.files)
    except GridError as error:
        who = "" if str(series.folder) in str(error) else f"{series.folder}: "
        raise GridError(f"{who}{error}") from error
    # after the geometry, which says where one within is missing
    _require_whole(series)
    for place in places:
        for keyword, value in (
            ("RescaleSlope", place.slice.slope),
            ("RescaleIntercept", place.slice.intercept),
        ):
            if value is None or (keyword == "RescaleSlope" and value == 0):
                raise ImageFileError(
                    f"{place.file.path}: {tag_of(keyword)} absent, 0 or not a number: what the "
                    "voxels measure is not known; export the series anew"
                )
    require_few(grid.shape[0] * grid.shape[1] * grid.shape[2], str(series.folder))
    return grid, places


def _require_whole(series: Series) -> None:
    """Refuse a PET without its first or last slices: what is left lies as evenly as the whole."""
    expected = series.slices_expected
    if series.modality == "PT" and expected is not None and series.n_slices < expected:
        raise GridError(
            f"{series.folder}: {series.n_slices} slices of a PET, and {tag_of('NumberOfSlices')} "
            f"says {expected}: expected all of them; copy the series again from its source"
        )


def _require_modality(series: Series, expected: str) -> None:
    if series.modality != expected:
        raise InputError(
            f"{series.folder}: {tag_of('Modality')} is {series.modality or 'absent'}, "
            f"expected {expected}; choose another series"
        )
