"""A mask from NRRD or NHDR, read within bounds; geometry that is not told is refused."""

from __future__ import annotations

import bz2
import io
import math
import re
import warnings
import zlib
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
from numpy.typing import NDArray

from boneviz.errors import BonevizError, ImageFileError, InputError
from boneviz.labels import one_label
from boneviz.lps import flipped
from boneviz.volume import MOST_VOXELS, Grid, Volume

__all__ = ["read_nrrd_mask"]

MAX_HEADER_BYTES = 2**20
MAX_FILE_BYTES = 2**31
PIECE_BYTES = 2**14
# bgzip's members unpack to 64 kB each
FEW_MEMBERS, FEW_BYTES = 1000, 1000
NOT_ZERO = re.compile(rb"[^\0]")
# the names of NRRD's definition of the format, section 4; floating point holds no labels
TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
}
SPACES = {
    "left-posterior-superior": "LPS",
    "lps": "LPS",
    "right-anterior-superior": "RAS",
    "ras": "RAS",
    "left-anterior-superior": "LAS",
    "las": "LAS",
}
ENCODINGS = {"raw": "raw", "gzip": "gzip", "gz": "gzip", "bzip2": "bzip2", "bz2": "bzip2"}


def read_nrrd_mask(path: str | Path, *, choose: str | int | None = None) -> Volume:
    """Read one mask from NRRD.

    Parameters
    ----------
    path : ``.nrrd``, or ``.nhdr`` with its data file in the same folder
    choose : value or name (``SegmentN_Name``, as 3D Slicer writes it) of the structure wanted
        where the file holds several

    Returns
    -------
    Volume
        ``label`` in the file's order of axes, in RAS+ mm; NRRD tells no frame of reference.

    Raises
    ------
    ImageFileError
        Missing, damaged or truncated; not three spatial axes; not whole numbers; a space other
        than LPS, RAS, LAS, or none; no directions or origin; another unit than mm; another
        encoding than raw, gzip, bzip2; a data file outside the header's folder; more than 2**30
        voxels; data that unpack to another size than the header's, or come in thousands of
        members of some bytes; several values, none chosen.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise ImageFileError(f"{path}: no such file; check the path")
        array, grid, names = _read(path)
        return one_label(array, grid, names=names, choose=choose)
    except BonevizError as error:
        raise error if str(path) in str(error) else ImageFileError(f"{path}: {error}") from error
    except Exception as error:
        # pynrrd raises anything from a damaged header, and quotes it
        raise ImageFileError(
            f"{path}: cannot be read as NRRD ({type(error).__name__}); the file is damaged, "
            "copy it again from its source"
        ) from None


def _read(path: Path) -> tuple[NDArray[Any], Grid, dict[str, int]]:
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ImageFileError(f"{size} bytes, at most {MAX_FILE_BYTES} are read")
    content = path.read_bytes()
    if not content.startswith(b"NRRD000"):
        raise ImageFileError("does not begin with NRRD000; expected an NRRD file")
    # an empty line ends the header; a header alone may end with the file
    blank = re.search(rb"\r?\n\r?\n", content[:MAX_HEADER_BYTES])
    if blank is None and len(content) > MAX_HEADER_BYTES:
        raise ImageFileError(f"no end of the header within {MAX_HEADER_BYTES} bytes")
    end = len(content) if blank is None else blank.end()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        # pynrrd's warnings quote fields; sizes that are no numbers are refused below
        warnings.simplefilter("ignore")
        header = nrrd.read_header(io.BytesIO(content[:end] + b"\n\n"))
    shape = _shape(header)
    kind = _dtype(header)
    grid = Grid(shape, _affine(header))
    stored = content[end:]
    beside = header.get("data file", header.get("datafile"))
    if beside is not None:
        stored = _beside(path, str(beside)).read_bytes()
    for field in ("line skip", "lineskip", "byte skip", "byteskip"):
        if int(header.get(field, 0)) != 0:
            raise ImageFileError(f"field {field} is {header[field]}: expected 0; write it anew")
    voxels = _unpacked(stored, header, math.prod(shape) * kind.itemsize)
    # the first axis of NRRD is the fastest
    array = np.frombuffer(voxels, dtype=kind).reshape(shape, order="F")
    return array, grid, _names(header)


def _shape(header: dict[str, Any]) -> tuple[int, int, int]:
    for field in ("type", "dimension", "sizes", "encoding"):
        if field not in header:
            raise ImageFileError(f"field {field} is missing")
    sizes = tuple(int(n) for n in np.atleast_1d(header["sizes"]))
    kinds = [str(kind) for kind in header.get("kinds", [])]
    if len(sizes) != 3 or int(header["dimension"]) != 3:
        raise ImageFileError(
            f"{len(sizes)}D with sizes {sizes}"
            f"{' and kinds ' + ', '.join(kinds) if kinds else ''}, expected three spatial axes; "
            "save each segment as a mask of its own"
        )
    if any(kind not in ("domain", "space", "???", "none") for kind in kinds):
        raise ImageFileError(f"kinds are {', '.join(kinds)}, expected domain or space three times")
    if min(sizes) < 1 or math.prod(sizes) > MOST_VOXELS:
        raise ImageFileError(f"sizes {sizes}: expected 1 to {MOST_VOXELS} voxels together")
    return sizes[0], sizes[1], sizes[2]


def _dtype(header: dict[str, Any]) -> np.dtype[Any]:
    kind = next((code for code, names in TYPES.items() if header["type"] in names), None)
    if kind is None:
        raise ImageFileError(
            "field type is no type of whole numbers, expected one such as uint8 or short; save "
            "the mask as a label map"
        )
    order = ""
    if int(kind[1]) > 1:
        order = {"little": "<", "big": ">"}.get(str(header.get("endian")), "")
        if not order:
            raise ImageFileError("field endian is neither little nor big: values are unknown")
    return np.dtype(order + kind)


def _affine(header: dict[str, Any]) -> NDArray[np.float64]:
    space = SPACES.get(str(header.get("space", "")).lower())
    if space is None:
        said = "another space" if "space" in header else "no space"
        raise ImageFileError(
            f"field space: {said}, expected left-posterior-superior, right-anterior-superior or "
            "left-anterior-superior; without it left and right are unknown"
        )
    units = [str(unit) for unit in header.get("space units", [])]
    if any(unit not in ("mm", "millimeter", "millimetre", "") for unit in units):
        raise ImageFileError(f"field space units: {len(units)} units, expected mm for each")
    for field in ("space directions", "space origin"):
        if header.get(field) is None:
            raise ImageFileError(f"field {field} is missing: where the voxels lie is unknown")
    directions = np.asarray(header["space directions"], dtype=np.float64)
    origin = np.asarray(header["space origin"], dtype=np.float64)
    if directions.shape != (3, 3) or origin.shape != (3,):
        raise ImageFileError(
            "space directions and space origin: expected three vectors and a point"
        )
    affine = np.eye(4)
    # a row of NRRD is where one index grows to
    affine[:3, :3], affine[:3, 3] = directions.T, origin
    if space == "LPS":
        return flipped(affine)
    if space == "LAS":
        affine[0] *= -1
    return affine


def _beside(path: Path, name: str) -> Path:
    """Return the data file of a header; nothing outside the header's folder is read."""
    if re.search(r"[/\\\n\[\]%]|^LIST\b|\s\d+\s", name) or name in ("", ".", ".."):
        raise ImageFileError(
            "field data file: expected the name of one file in the header's own folder, without "
            "a path, a list or a pattern; put them together and write the name alone"
        )
    found = path.parent / name
    if not found.is_file():
        raise ImageFileError(f"data file {name} is not in the header's folder; copy it there")
    if found.resolve().parent != path.resolve().parent:
        raise ImageFileError(f"data file {name} is a link out of the folder; copy the file there")
    if found.stat().st_size > MAX_FILE_BYTES:
        raise ImageFileError(f"data file {name}: at most {MAX_FILE_BYTES} bytes are read")
    return found


def _unpacked(stored: bytes, header: dict[str, Any], expected: int) -> bytes:
    """Return the voxels' bytes, never more than `expected` and one."""
    encoding = ENCODINGS.get(str(header["encoding"]).lower())
    if encoding is None:
        raise ImageFileError("field encoding: expected raw, gzip or bzip2; write it as one of them")
    if encoding == "raw":
        voxels = stored[: expected + 1]
    else:
        try:
            voxels = _inflated(stored, encoding, expected + 1)
        except (zlib.error, OSError, EOFError, ValueError) as error:
            raise ImageFileError(
                f"{encoding} data are damaged ({type(error).__name__}); copy the file again"
            ) from None
    if len(voxels) != expected:
        found = f"more than {expected}" if len(voxels) > expected else str(len(voxels))
        raise ImageFileError(
            f"{found} bytes of voxels, expected {expected} for sizes "
            f"{[int(n) for n in header['sizes']]} of {header['type']}; the file is truncated or "
            "its header is of another"
        )
    return voxels


def _inflated(stored: bytes, encoding: str, most: int) -> bytes:
    """Return at most `most` bytes; gzip and bzip2 may come in several members."""
    parts: list[bytes] = []
    room, at, members = most, 0, 0
    while at < len(stored) and room > 0:
        member: Any = (
            zlib.decompressobj(16 + zlib.MAX_WBITS) if encoding == "gzip" else bz2.BZ2Decompressor()
        )
        while not member.eof and room > 0:
            # in pieces: what is behind a member's end is copied
            piece = stored[at : at + PIECE_BYTES]
            if not piece:
                raise EOFError
            at += len(piece)
            parts.append(member.decompress(piece, room))
            room -= len(parts[-1])
        at -= len(member.unused_data)
        # some writers pad the end
        behind = NOT_ZERO.search(stored, at)
        at = behind.start() if behind else len(stored)
        members += 1
        if members > FEW_MEMBERS and most - room < members * FEW_BYTES:
            raise ImageFileError(
                f"{encoding} data in {members} members of less than {FEW_BYTES} bytes on average, "
                "which no writer makes; write the file anew"
            )
    return b"".join(parts)


def _names(header: dict[str, Any]) -> dict[str, int]:
    """Return the segments that 3D Slicer names, name -> value; a name that comes twice is none."""
    names: dict[str, int] = {}
    twice = set()
    for field, name in header.items():
        found = re.fullmatch(r"Segment(\d{1,4})_Name", str(field))
        value = header.get(f"Segment{found[1]}_LabelValue") if found else None
        if value is None:
            continue
        if str(name) in names:
            twice.add(str(name))
        try:
            names[str(name)] = int(value)
        except ValueError:
            raise InputError(
                f"Segment{found[1] if found else ''}_LabelValue is no number"
            ) from None
    return {name: value for name, value in names.items() if name not in twice}
