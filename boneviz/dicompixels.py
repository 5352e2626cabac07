"""Stored values of DICOM slices, straight into the rows of one array."""

from __future__ import annotations

import io
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, RLELossless

from boneviz.dicombytes import require_sound_meta, tag_of
from boneviz.dicomheader import FileHeader, PixelFormat
from boneviz.errors import ImageFileError
from boneviz.volume import MOST_VOXELS

__all__ = [
    "Stored",
    "coded_size",
    "decoded",
    "dtype_of",
    "is_compressed",
    "measured",
    "read_stored",
    "require_few",
    "require_readable",
]

NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
#: markers of JPEG and JPEG-LS that are followed by the picture's size
SIZES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0), 0xF7)


@dataclass(frozen=True, slots=True, eq=False)
class Stored:
    """What was read of one frame.

    Parameters
    ----------
    padded : where the scanner measured nothing, (rows, columns) of bool, None where nowhere
    extremes : lowest and highest of the other values, None where there are none
    """

    padded: NDArray[np.bool_] | None
    extremes: tuple[int, int] | None


def require_readable(file: FileHeader) -> None:
    """Refuse pixels that are no plain numbers, or that the file cannot hold, before reading them.

    Raises
    ------
    ImageFileError
        Colour, odd bit depths, no pixels, or sizes that contradict the file's length.
    """
    pixels, path = file.pixels, file.path
    for keyword, value in (("Rows", pixels.rows), ("Columns", pixels.columns)):
        if value < 1:
            raise ImageFileError(
                f"{path}: {tag_of(keyword)} is absent or 0: expected 1 or more; export it anew"
            )
    # MONOCHROME1 says how to display numbers, not what they are (PS3.3 C.7.6.3.1.2)
    if pixels.photometric not in ("MONOCHROME1", "MONOCHROME2") or pixels.samples != 1:
        raise ImageFileError(
            f"{path}: {tag_of('PhotometricInterpretation')} is no greyscale or "
            f"{tag_of('SamplesPerPixel')} is not 1: a picture in colour, expected numbers; "
            "choose the original series"
        )
    bits = (pixels.bits_allocated, pixels.bits_stored, pixels.high_bit)
    if bits[0] not in (8, 16, 32) or not 1 < bits[1] <= bits[0] or bits[2] != bits[1] - 1:
        raise ImageFileError(
            f"{path}: {bits[1]} bits of {bits[0]} up to bit {bits[2]} ({tag_of('BitsStored')}, "
            f"{tag_of('BitsAllocated')}, {tag_of('HighBit')}): expected 8, 16 or 32 bits "
            "allocated and the lowest of them stored; export it anew"
        )
    _require_decoder(file)
    voxels = pixels.rows * pixels.columns * file.n_frames
    require_few(voxels, str(path))
    if file.transfer_syntax in NATIVE:
        _require_whole(file, voxels * pixels.bits_allocated // 8)


def _require_decoder(file: FileHeader) -> None:
    if file.transfer_syntax in NATIVE:
        return
    syntax = _syntax(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            available = bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        available = False
    if not available:
        name = syntax.name if syntax.is_transfer_syntax else "unknown"
        raise ImageFileError(
            f"{file.path}: the transfer syntax {name} ({tag_of('TransferSyntaxUID')}) has no "
            "decoder here: expected uncompressed, JPEG, JPEG-LS, JPEG 2000 or RLE; export it "
            "uncompressed"
        )


def _require_whole(file: FileHeader, needed: int) -> None:
    if file.pixel_bytes is None:
        raise ImageFileError(
            f"{file.path}: no {tag_of('PixelData')}: expected an image; copy it again"
        )
    offset, length = file.pixel_bytes
    try:
        there = file.path.stat().st_size - offset
    except OSError as error:
        raise _unopened(file, error) from error
    if length < needed or there < needed:
        raise ImageFileError(
            f"{file.path}: {min(length, there)} bytes of {tag_of('PixelData')}, expected "
            f"{needed} for {file.pixels.columns} x {file.pixels.rows} x {file.n_frames} pixels of "
            f"{file.pixels.bits_allocated} bits; the file is truncated, copy it again"
        )


def require_few(voxels: int, who: str) -> None:
    """Refuse more than `MOST_VOXELS`, before they are allocated."""
    if voxels > MOST_VOXELS:
        raise ImageFileError(
            f"{who}: {voxels} voxels by the header, at most {MOST_VOXELS} are read; "
            "the header is damaged, or crop the series at its source"
        )


def dtype_of(pixels: PixelFormat) -> np.dtype[Any]:
    """Return the type that the file's pixels are stored in, little endian."""
    return np.dtype(f"<{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")


def is_compressed(file: FileHeader) -> bool:
    """Whether the pixels need one of the decoders, which a damaged file can crash."""
    return bool(_syntax(file).is_encapsulated)


def _syntax(file: FileHeader) -> UID:
    # without validation, whose warnings quote the file
    return UID(file.transfer_syntax, validation_mode=0)


def read_stored(file: FileHeader, frame: int, into: NDArray[Any]) -> None:
    """Read one frame that is not compressed into `into`, (rows, columns) of `dtype_of` the file.

    Raises
    ------
    ImageFileError
        Truncated or not readable.
    """
    if file.transfer_syntax in NATIVE:
        _read_native(file, frame, into)
    else:
        into[...] = decoded(file, frame)


def measured(file: FileHeader, into: NDArray[Any]) -> Stored:
    """Return what of a frame's stored values is measured; signs are carried on where they end.

    Raises
    ------
    ImageFileError
        Bits above BitsStored are set.
    """
    pixels = file.pixels
    padded, extremes = _extremes(pixels, into)
    if extremes is None or pixels.bits_stored == pixels.bits_allocated:
        return Stored(padded, extremes)
    half, full = 2 ** (pixels.bits_stored - 1), 2**pixels.bits_stored
    low, high = (-half, half - 1) if pixels.signed else (0, full - 1)
    if pixels.signed and extremes[0] >= 0 and half <= extremes[1] < full:
        # a sign that ends at BitsStored is carried on to the highest bit
        into[into >= half] -= full
        padded, extremes = _extremes(pixels, into)
    if extremes is not None and (extremes[0] < low or extremes[1] > high):
        raise ImageFileError(
            f"{file.path}: stored values of {extremes[0]} to {extremes[1]}, expected {low} to "
            f"{high} by {tag_of('BitsStored')}: what the bits above stand for is not known, an "
            "overlay perhaps; export it anew"
        )
    return Stored(padded, extremes)


def _extremes(
    pixels: PixelFormat, values: NDArray[Any]
) -> tuple[NDArray[np.bool_] | None, tuple[int, int] | None]:
    """Return where nothing was measured, and the extremes of the rest."""
    padded = None
    if pixels.padding is not None:
        found = (values >= pixels.padding[0]) & (values <= pixels.padding[1])
        padded = found if found.any() else None
    kept = values if padded is None else values[~padded]
    return padded, (int(kept.min()), int(kept.max())) if kept.size else None


def _read_native(file: FileHeader, frame: int, into: NDArray[Any]) -> None:
    assert file.pixel_bytes is not None
    view, got = memoryview(into.data).cast("B"), 0
    try:
        with file.path.open("rb", buffering=0) as stream:
            stream.seek(file.pixel_bytes[0] + frame * into.nbytes)
            while got < len(view) and (more := stream.readinto(view[got:])):
                got += more
    except OSError as error:
        raise _unopened(file, error) from error
    if got < len(view):
        raise ImageFileError(
            f"{file.path}: ends within {tag_of('PixelData')}; it is truncated, copy it again"
        )


def _unopened(file: FileHeader, error: OSError) -> ImageFileError:
    return ImageFileError(
        f"{file.path}: can no longer be read ({error.strerror}); find the series anew"
    )


def decoded(file: FileHeader, frame: int) -> NDArray[Any]:
    """Return one frame, (rows, columns), through pydicom's decoders.

    The size of a compressed picture is compared with the header before it is decoded. A damaged
    one may end the process all the same: call this in another.

    Raises
    ------
    ImageFileError
        Not decodable, or of another size than the header says.
    """
    syntax = _syntax(file)
    expected = (file.pixels.rows, file.pixels.columns)
    try:
        # from memory an element that claims 4 GiB gets what there is
        stream = io.BytesIO(file.path.read_bytes())
        require_sound_meta(stream)  # the file may be another than when its header was read
        dataset = pydicom.dcmread(stream)
        if syntax.is_encapsulated:
            data = get_frame(dataset.PixelData, frame, number_of_frames=file.n_frames)
            size = None if syntax == RLELossless else coded_size(data)
            if size not in (None, expected):
                raise ImageFileError(
                    f"{file.path}: a compressed picture of {size} pixels, the header says "
                    f"{expected}; copy it again from its source"
                )
        with _quiet():
            found = np.asarray(pixel_array(dataset, index=frame, raw=True))
    except ImageFileError as error:
        raise (
            error if str(file.path) in str(error) else ImageFileError(f"{file.path}: {error}")
        ) from None
    except Exception as error:
        # decoders raise anything, and their text quotes the file
        raise ImageFileError(
            f"{file.path}: pixels in the transfer syntax {syntax.name} "
            f"({tag_of('TransferSyntaxUID')}) cannot be decoded ({type(error).__name__}); "
            "the file is damaged, or export it uncompressed"
        ) from None
    if found.shape != expected:
        raise ImageFileError(
            f"{file.path}: decodes to {found.shape} pixels, the header says {expected}; "
            "copy it again from its source"
        )
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Let nothing through to the terminal: decoders in C write there what they think."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def coded_size(data: bytes) -> tuple[int, int]:
    """Return rows and columns that a JPEG, JPEG-LS or JPEG 2000 stream says it has.

    Decoders make room for what the stream says, whatever the header says.

    Raises
    ------
    ValueError
        The stream does not say, or holds colours.
    """
    begin = data.find(b"\xff\x4f\xff\x51", 0, 4096)  # a JP2 file has boxes before it
    if begin >= 0:
        right, bottom, left, top = struct.unpack_from(">4I", data, begin + 8)
        (components,) = struct.unpack_from(">H", data, begin + 40)
        if components != 1:
            raise ValueError("more than one component")
        return bottom - top, right - left
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:
        kind, (length,) = data[at + 1], struct.unpack_from(">H", data, at + 2)
        if kind in SIZES:
            rows, columns, components = struct.unpack_from(">HHB", data, at + 5)
            if components != 1:
                raise ValueError("more than one component")
            return rows, columns
        at += 2 + length
    raise ValueError("no size in the stream")
