"""Values of a DICOM data set, read from their bytes; what is no such value is None, or empty.

pydicom's own conversion would warn of bad ones by quoting them, names of patients included.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement

__all__ = [
    "clock_of",
    "codes",
    "count",
    "finite",
    "items",
    "moment",
    "moment_of",
    "number",
    "numbers",
    "text",
    "unsigned",
    "value_text",
    "whole",
    "without_offset",
    "words",
]


def _raw(dataset: pydicom.Dataset, tag: int) -> Any:
    """Return a value as bytes, or as pydicom converted it where it had to; None where absent."""
    if tag not in dataset:
        return None
    element = dataset.get_item(tag)
    return element.value if isinstance(element, RawDataElement) else dataset[tag].value


def value_text(dataset: pydicom.Dataset, tag: int) -> str:
    """Return the value of a tag as text without its padding, empty where absent or a sequence."""
    value = _raw(dataset, tag)
    if isinstance(value, bytes):
        return value.decode("latin-1").strip(" \0\r\n\t")
    # a data set as text would quote all it holds, and takes for ever where it is deeply nested
    if value is None or isinstance(value, pydicom.Sequence):
        return ""
    if isinstance(value, str | int | float):
        return str(value).strip(" \0")
    return "\\".join(str(each) for each in value) if isinstance(value, Sequence) else str(value)


def _tag(keyword: str) -> int:
    """Return the number of a tag."""
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def text(dataset: pydicom.Dataset, keyword: str) -> str:
    """Return a value as text, several between backslashes, empty where absent."""
    return value_text(dataset, _tag(keyword))


def words(dataset: pydicom.Dataset, keyword: str) -> str:
    """Return a text in the file's own character set."""
    raw = _raw(dataset, _tag(keyword))
    # an escape begins another character set
    if not isinstance(raw, bytes) or (raw.isascii() and b"\x1b" not in raw):
        return text(dataset, keyword)
    try:
        value = dataset[keyword].value
        return "" if isinstance(value, pydicom.Sequence) else str(value or "").strip(" \0")
    except Exception:  # an unknown or broken character set
        return text(dataset, keyword)


def codes(dataset: pydicom.Dataset, keyword: str) -> tuple[str, ...]:
    """Return the values of a tag that are not blank."""
    return tuple(code.strip() for code in text(dataset, keyword).split("\\") if code.strip())


def numbers(dataset: pydicom.Dataset, keyword: str, n: int) -> tuple[float, ...] | None:
    """Return `n` finite numbers, None where they are not exactly that."""
    found = tuple(finite(part) for part in text(dataset, keyword).split("\\"))
    return found if len(found) == n and None not in found else None  # type: ignore[return-value]


def number(dataset: pydicom.Dataset, keyword: str) -> float | None:
    """Return one finite number."""
    return finite(text(dataset, keyword))


def finite(text: str) -> float | None:
    """Return the finite number that a text is."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def count(dataset: pydicom.Dataset, keyword: str) -> int | None:
    """Return a whole number written as text."""
    text = value_text(dataset, _tag(keyword))
    return int(text) if re.fullmatch(r"\d{1,9}", text) else None


def unsigned(dataset: pydicom.Dataset, keyword: str) -> int:
    """Return 16 bits without sign, -1 where absent."""
    value = whole(dataset, keyword)
    return -1 if value is None else value & 0xFFFF


def whole(dataset: pydicom.Dataset, keyword: str) -> int | None:
    """Return 16 bits, signed where the file's pixels are."""
    value = _raw(dataset, _tag(keyword))
    if isinstance(value, bytes):
        little = dataset.original_encoding[1] is not False
        if len(value) != 2:
            return None
        signed = (
            keyword.startswith("PixelPadding") and unsigned(dataset, "PixelRepresentation") == 1
        )
        return int.from_bytes(value, "little" if little else "big", signed=signed)
    return value if isinstance(value, int) else None


def items(dataset: pydicom.Dataset, keyword: str) -> list[pydicom.Dataset]:
    """Return the items of a sequence, none where it is absent or no sequence."""
    value = dataset[keyword].value if _tag(keyword) in dataset else None
    return list(value) if isinstance(value, pydicom.Sequence) else []


def moment(dataset: pydicom.Dataset, day: str, clock: str) -> datetime | None:
    """Return date and time of two tags; None where either is absent or unreadable."""
    return moment_of(text(dataset, day).replace(".", ""), "", text(dataset, clock))


def moment_of(text: str, zone: str = "", clock: str | None = None) -> datetime | None:
    """Return date and time, written as DICOM's DT or as DA beside TM, in the file's own zone.

    None without hours and minutes, and with an offset from UTC where the file does not name its
    own: a text without offset is on the file's clock.
    """
    found = re.fullmatch(r"(\d{8})(.*?)([+-]\d{4})?", text)
    if found is None:
        return None
    at = clock_of(found[2] if clock is None else clock)
    try:
        moment = datetime.combine(date.fromisoformat(found[1]), at) if at else None
        if moment and found[3]:
            if not re.fullmatch(r"[+-]\d{4}", zone):
                return None
            moment = moment.replace(tzinfo=_zone(found[3])).astimezone(_zone(zone))
    except (ValueError, OverflowError):
        return None
    return moment.replace(tzinfo=None) if moment else None


def without_offset(text: str) -> str:
    """Return a date and time, written as DICOM's DT, without its offset from UTC."""
    return re.sub(r"[+-]\d{4}$", "", text)


def _zone(offset: str) -> timezone:
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes))


def clock_of(text: str) -> time | None:
    """Return a time of day, which has hours and minutes at least."""
    found = re.fullmatch(r"(\d\d):?(\d\d)(?::?(\d\d)(?:\.(\d{1,6}))?)?", text)
    if found is None:
        return None
    hours, minutes, seconds, parts = found.groups()
    try:
        return time(int(hours), int(minutes), int(seconds or 0), int((parts or "0").ljust(6, "0")))
    except ValueError:
        return None
