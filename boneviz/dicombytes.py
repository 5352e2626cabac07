"""One DICOM object of a stated kind, read whole within bounds or refused by name."""

from __future__ import annotations

import io
import logging
import math
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset

from boneviz.errors import BonevizError, ImageFileError

__all__ = [
    "items",
    "needed",
    "numbers",
    "quiet",
    "read_object",
    "refusing",
    "require_sound_meta",
    "tag_of",
    "text",
    "uid",
    "whole",
]

MAX_FILE_BYTES = 2**31
MAX_INFLATED_BYTES = 2**30
LONG_VRS = (
    b"OB",
    b"OD",
    b"OF",
    b"OL",
    b"OV",
    b"OW",
    b"SQ",
    b"SV",
    b"UC",
    b"UN",
    b"UR",
    b"UT",
    b"UV",
)  # whose length has four bytes
DEFLATED = b"1.2.840.10008.1.2.1.99"


def tag_of(keyword: str) -> str:
    """Return a tag as messages name it, such as ``Rows (0028,0010)``."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ImageFileError(f"{keyword}: not a DICOM keyword")
    return f"{keyword} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


@contextmanager
def quiet() -> Iterator[None]:
    """Keep pydicom and highdicom from warning: their warnings quote values, names included."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a damaged file raises into an `ImageFileError` with path and reason.

    Reasons of other libraries lose what they quote and every UID: errors end up in notebooks.
    """
    try:
        with quiet():
            yield
    except BonevizError as error:
        if str(path) in str(error):
            raise
        raise type(error)(f"{path}: {error}") from error
    except Exception as error:
        # pydicom and highdicom raise anything from a damaged file, AttributeError to struct.error
        raise ImageFileError(
            f"{path}: cannot be read as {what} ({_reason(error)}); the file is damaged or breaks "
            "the standard, export it again from its source"
        ) from None


def _reason(error: Exception) -> str:
    said = " ".join(str(error).split())
    said = re.sub(r"'[^']*'|\"[^\"]*\"|b'[^']*'", "'...'", said)
    said = re.sub(r"\d+(\.\d+){3,}", "UID", said)
    kind = type(error).__name__
    return f"{kind}: {said[:160]}" if said and isinstance(error, ValueError) else kind


def read_object(path: Path, sop_classes: Mapping[str, str]) -> FileDataset:
    """Read one DICOM file whose class is among `sop_classes` (UID -> name), pixels included.

    Call it inside `refusing`.

    Raises
    ------
    ImageFileError
        Missing, above 2 GiB, not DICOM, a deflated file that inflates to more than 1 GiB, or an
        object of another class.
    """
    expected = " or ".join(dict.fromkeys(sop_classes.values()))
    if not path.is_file():
        raise ImageFileError(f"{path}: no such file; check the path")
    size = path.stat().st_size
    if size > MAX_FILE_BYTES:
        raise ImageFileError(
            f"{path}: {size} bytes, at most {MAX_FILE_BYTES} are read; split it at its source"
        )
    # from memory an element that claims 4 GiB gets what there is
    content = path.read_bytes()
    if content[128:132] != b"DICM":
        raise ImageFileError(f"{path}: not a DICOM file, expected a DICOM {expected}")
    stream = io.BytesIO(content)
    require_sound_meta(stream)
    dataset = pydicom.dcmread(stream)
    found = text(dataset, "SOPClassUID")
    if found not in sop_classes:
        known = pydicom.uid.UID(found).name if found else "nothing"
        kind = "another class" if known == found else known
        raise ImageFileError(
            f"{path}: {tag_of('SOPClassUID')} is {kind}, expected {expected}; give such a file"
        )
    return dataset


def require_sound_meta(stream: BinaryIO) -> None:
    """Refuse what pydicom takes for ever over, or fills the memory with; go back to the start.

    That is a sequence in the File Meta Information, which pydicom writes out, and a deflated data
    set that inflates to more than 1 GiB.

    Raises
    ------
    ImageFileError
        It is one of the two.
    """
    stream.seek(128)
    at = 132 if stream.read(4) == b"DICM" else 0  # of old systems, without preamble
    deflated = False
    while (head := _read_at(stream, at, 12))[:2] == b"\x02\x00":
        long = head[4:6] in LONG_VRS
        size = head[8:12] if long else head[6:8]
        # a length of all ones is that of a sequence
        if head[4:6] in (b"SQ", b"\xff\xff") or size == b"\xff\xff\xff\xff":
            raise ImageFileError(
                "a sequence in the File Meta Information, group 0002, where none belongs; the file "
                "is damaged, export it again from its source"
            )
        at += 12 if long else 8
        if head[2:4] == b"\x10\x00":  # TransferSyntaxUID (0002,0010)
            deflated = deflated or _read_at(stream, at, len(DEFLATED)) == DEFLATED
        at += int.from_bytes(size, "little")
    if deflated:
        stream.seek(at)
        _require_small(stream)
    stream.seek(0)


def _read_at(stream: BinaryIO, at: int, n_bytes: int) -> bytes:
    stream.seek(at)
    return stream.read(n_bytes)


def _require_small(stream: BinaryIO) -> None:
    inflater, inflated = zlib.decompressobj(-zlib.MAX_WBITS), 0
    rest = stream.read(2**20)
    while rest and not inflater.eof:
        inflated += len(inflater.decompress(rest, 2**24))
        if inflated > MAX_INFLATED_BYTES:
            raise ImageFileError(
                f"deflated, and inflates to more than {MAX_INFLATED_BYTES} bytes; the file is "
                "damaged, or export it uncompressed"
            )
        rest = inflater.unconsumed_tail or stream.read(2**20)


def needed(dataset: Dataset, keyword: str, where: str = "") -> Any:
    """Return a value that must be there, or raise `ImageFileError` naming its tag."""
    value = dataset.get(keyword)
    if value is None or (isinstance(value, str | Sequence) and not len(value)):
        raise ImageFileError(
            f"{tag_of(keyword)} is missing or empty{' in ' + where if where else ''}; "
            "export the file again from its source"
        )
    return value


def whole(dataset: Dataset, keyword: str, *, low: int, high: int) -> int:
    """Return a whole number within bounds, or raise `ImageFileError` naming its tag."""
    value = needed(dataset, keyword)
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ImageFileError(f"{tag_of(keyword)} is no whole number, expected one") from None
    if not low <= number <= high:
        raise ImageFileError(f"{tag_of(keyword)} is {number}, expected {low} to {high}")
    return number


def numbers(dataset: Dataset, keyword: str, n: int, where: str = "") -> tuple[float, ...]:
    """Return `n` finite numbers, or raise `ImageFileError` naming their tag."""
    value = needed(dataset, keyword, where)
    given = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    place = f" in {where}" if where else ""
    if len(given) != n:
        raise ImageFileError(f"{tag_of(keyword)} holds {len(given)} numbers{place}, expected {n}")
    try:
        found = tuple(float(each) for each in given)
    except (TypeError, ValueError):
        raise ImageFileError(f"{tag_of(keyword)} holds no numbers{place}, expected {n}") from None
    if not all(math.isfinite(each) for each in found):
        raise ImageFileError(
            f"{tag_of(keyword)} holds NaN or infinity{place}, expected {n} numbers"
        )
    return found


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, none where it is absent."""
    value = dataset.get(keyword)
    if value is None:
        return []
    if not isinstance(value, pydicom.Sequence):
        raise ImageFileError(f"{tag_of(keyword)} is no sequence; the file breaks the standard")
    return list(value)


def uid(dataset: Dataset, keyword: str) -> str | None:
    """Return a UID, None where absent; anything but digits and dots is refused."""
    value = dataset.get(keyword)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[0-9.]{1,64}", value):
        raise ImageFileError(f"{tag_of(keyword)} is no UID: expected up to 64 digits and dots")
    return str(value)


def text(dataset: Dataset, keyword: str) -> str:
    """Return a text as the file has it, empty where absent or no text; it is a stranger's.

    It is not escaped.
    """
    value = dataset.get(keyword)
    # a data set as text would quote all it holds, and takes for ever where it is deeply nested
    if value is None or isinstance(value, pydicom.Sequence):
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "\\".join(str(each) for each in value)
    return str(value)
