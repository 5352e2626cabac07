"""One DICOM object of a stated kind, read whole within bounds or refused by name."""

from __future__ import annotations

import io
import logging
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset

from boneviz.errors import BonevizError, ImageFileError

__all__ = [
    "items",
    "named",
    "needed",
    "numbers",
    "quiet",
    "read_object",
    "refusing",
    "text",
    "uid",
    "whole",
]

MAX_FILE_BYTES = 2**31
MAX_INFLATED_BYTES = 2**30
DEFLATED = b"1.2.840.10008.1.2.1.99"


def named(keyword: str) -> str:
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
    if DEFLATED in content[:2048]:
        _require_small(content)
    dataset = pydicom.dcmread(io.BytesIO(content))
    found = text(dataset, "SOPClassUID")
    if found not in sop_classes:
        known = pydicom.uid.UID(found).name if found else "nothing"
        kind = "another class" if known == found else known
        raise ImageFileError(
            f"{path}: {named('SOPClassUID')} is {kind}, expected {expected}; give such a file"
        )
    return dataset


def _require_small(content: bytes) -> None:
    """Refuse a deflated object that would fill the memory."""
    (length,) = struct.unpack("<I", content[140:144])
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    rest, inflated = content[144 + length :], 0
    while rest and not inflater.eof:
        inflated += len(inflater.decompress(rest, 2**24))
        rest = inflater.unconsumed_tail
        if inflated > MAX_INFLATED_BYTES:
            raise ImageFileError(
                f"deflated, and inflates to more than {MAX_INFLATED_BYTES} bytes; "
                "export it uncompressed"
            )


def needed(dataset: Dataset, keyword: str, where: str = "") -> Any:
    """Return a value that must be there, or raise `ImageFileError` naming its tag."""
    value = dataset.get(keyword)
    if value is None or (isinstance(value, str | Sequence) and not len(value)):
        raise ImageFileError(
            f"{named(keyword)} is missing or empty{' in ' + where if where else ''}; "
            "export the file again from its source"
        )
    return value


def whole(dataset: Dataset, keyword: str, *, low: int, high: int) -> int:
    """Return a whole number within bounds, or raise `ImageFileError` naming its tag."""
    value = needed(dataset, keyword)
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ImageFileError(f"{named(keyword)} is no whole number, expected one") from None
    if not low <= number <= high:
        raise ImageFileError(f"{named(keyword)} is {number}, expected {low} to {high}")
    return number


def numbers(dataset: Dataset, keyword: str, n: int, where: str = "") -> tuple[float, ...]:
    """Return `n` finite numbers, or raise `ImageFileError` naming their tag."""
    value = needed(dataset, keyword, where)
    given = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    place = f" in {where}" if where else ""
    if len(given) != n:
        raise ImageFileError(f"{named(keyword)} holds {len(given)} numbers{place}, expected {n}")
    try:
        found = tuple(float(each) for each in given)
    except (TypeError, ValueError):
        raise ImageFileError(f"{named(keyword)} holds no numbers{place}, expected {n}") from None
    if not all(math.isfinite(each) for each in found):
        raise ImageFileError(f"{named(keyword)} holds NaN or infinity{place}, expected {n} numbers")
    return found


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence, none where it is absent."""
    value = dataset.get(keyword)
    if value is None:
        return []
    if not isinstance(value, pydicom.Sequence):
        raise ImageFileError(f"{named(keyword)} is no sequence; the file breaks the standard")
    return list(value)


def uid(dataset: Dataset, keyword: str) -> str | None:
    """Return a UID, None where absent; anything but digits and dots is refused."""
    value = dataset.get(keyword)
    if value in (None, ""):
        return None
    if not isinstance(value, str) or not re.fullmatch(r"[0-9.]{1,64}", value):
        raise ImageFileError(f"{named(keyword)} is no UID: expected up to 64 digits and dots")
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
