"""Stored values of DICOM slices, straight into the rows of one array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID

from boneviz.dicomheader import FileHeader, PixelFormat
from boneviz.dicomvalues import tag_name
from boneviz.errors import ImageFileError

__all__ = ["LOSSY", "MOST_BYTES", "dtype_of", "read_stored", "require_readable"]

#: what one volume may take as it is stored; a header that claims more is refused unread
MOST_BYTES = 2**31
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
LOSSY = frozenset("1.2.840.10008.1.2.4." + n for n in ("50", "51", "81", "91", "93", "112", "203"))


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
                f"{path}: {tag_name(keyword)} is absent or 0: expected 1 or more; export it anew"
            )
    # MONOCHROME1 says how to display numbers, not what they are (PS3.3 C.7.6.3.1.2)
    if pixels.photometric not in ("MONOCHROME1", "MONOCHROME2") or pixels.samples != 1:
        raise ImageFileError(
            f"{path}: {tag_name('PhotometricInterpretation')} is no greyscale or "
            f"{tag_name('SamplesPerPixel')} is not 1: a picture in colour, expected numbers; "
            "choose the original series"
        )
    bits = (pixels.bits_allocated, pixels.bits_stored, pixels.high_bit)
    if bits[0] not in (8, 16, 32) or not 1 < bits[1] <= bits[0] or bits[2] != bits[1] - 1:
        raise ImageFileError(
            f"{path}: {bits[1]} bits of {bits[0]} up to bit {bits[2]} ({tag_name('BitsStored')}, "
            f"{tag_name('BitsAllocated')}, {tag_name('HighBit')}): expected 8, 16 or 32 bits "
            "allocated and the lowest of them stored; export it anew"
        )
    needed = pixels.rows * pixels.columns * file.n_frames * pixels.bits_allocated // 8
    if needed > MOST_BYTES:
        raise _too_large(f"{path}: ", needed)
    if file.transfer_syntax in NATIVE:
        _require_whole(file, needed)


def _require_whole(file: FileHeader, needed: int) -> None:
    if file.pixel_bytes is None:
        raise ImageFileError(
            f"{file.path}: no {tag_name('PixelData')}: expected an image; copy it again"
        )
    offset, length = file.pixel_bytes
    there = file.path.stat().st_size - offset
    if length < needed or there < needed:
        raise ImageFileError(
            f"{file.path}: {min(length, there)} bytes of {tag_name('PixelData')}, expected "
            f"{needed} for {file.pixels.columns} x {file.pixels.rows} x {file.n_frames} pixels of "
            f"{file.pixels.bits_allocated} bits; the file is truncated, copy it again"
        )


def _too_large(who: str, needed: int) -> ImageFileError:
    return ImageFileError(
        f"{who}header claims {needed} bytes of voxels, at most {MOST_BYTES} are read; "
        "the header is damaged, or crop the series at its source"
    )


def dtype_of(pixels: PixelFormat) -> np.dtype[Any]:
    """Return the type that the file's pixels are stored in, little endian."""
    return np.dtype(f"<{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")


def read_stored(file: FileHeader, frame: int, into: NDArray[Any]) -> None:
    """Read one frame's stored values into `into`, (rows, columns) of `dtype_of` the file.

    Raises
    ------
    ImageFileError
        Truncated, not decodable, or with bits set above BitsStored.
    """
    if file.transfer_syntax in NATIVE:
        _read_native(file, frame, into)
    else:
        into[...] = _decoded(file, frame)


def _read_native(file: FileHeader, frame: int, into: NDArray[Any]) -> None:
    assert file.pixel_bytes is not None
    with file.path.open("rb", buffering=0) as stream:
        stream.seek(file.pixel_bytes[0] + frame * into.nbytes)
        view, got = memoryview(into.data).cast("B"), 0
        while got < len(view):
            more = stream.readinto(view[got:])
            if not more:
                raise ImageFileError(
                    f"{file.path}: ends within {tag_name('PixelData')}; it is truncated, "
                    "copy it again"
                )
            got += more


def _decoded(file: FileHeader, frame: int) -> NDArray[Any]:
    syntax = UID(file.transfer_syntax)
    name = syntax.name if syntax.is_transfer_syntax else "an unknown one"
    try:
        found = pixel_array(file.path, index=frame, raw=True)
    except Exception as error:
        raise ImageFileError(
            f"{file.path}: pixels in the transfer syntax {name} ({tag_name('TransferSyntaxUID')}) "
            f"cannot be decoded ({type(error).__name__}); the file is damaged, or export it "
            "uncompressed"
        ) from None
    expected = (file.pixels.rows, file.pixels.columns)
    if found.shape != expected:
        raise ImageFileError(
            f"{file.path}: decodes to {found.shape} pixels, the header says {expected}; "
            "copy it again from its source"
        )
    return np.asarray(found)
