"""A log that only grows, one row per line, each row sealed by the hash of the row before it.

A row is one line of canonical JSON (sorted names, no blanks, ASCII) with its number from 1, the
time in UTC, the payload, the SHA-256 of the row before (64 zeros before the first) and its own.

What the chain tells: a row that was changed, removed, inserted or moved, down to a single byte.
What it cannot tell by itself: that the last rows were cut off, or that somebody made all hashes
anew from some row on, as there is no secret in them. Both show against a `Seal` that was taken
earlier and kept elsewhere, on paper or in a mail: what came before a seal stands. Nothing tells
who wrote a row, or whether a clock was right.

A row that was only half written when the machine went down has no end of line and is no whole
object. It is left out, `Ledger.torn` counts its bytes, and the next row takes its place; all rows
before it stand. To the chain alone that looks the same as somebody cutting the last row short.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from boneviz.errors import InputError, LedgerError

__all__ = ["Ledger", "Row", "Seal"]

NOTHING = "0" * 64
NAMES = {"number", "utc", "payload", "previous", "hash"}


@dataclass(frozen=True, slots=True)
class Seal:
    """Where a ledger stood: the number of its last row and that row's hash.

    ``str(seal)`` prints it, `parse` reads it back.
    """

    number: int
    hash: str

    @classmethod
    def parse(cls, text: str) -> Seal:
        """Read a printed seal.

        Raises
        ------
        InputError
            It is none.
        """
        found = re.fullmatch(r"\s*(\d{1,9}):([0-9a-f]{64})\s*", text)
        if found is None:
            raise InputError(
                f"seal {text!r}: expected the number of a row, a colon and 64 digits 0-9a-f, as "
                "printed at the end of a session"
            )
        return cls(int(found[1]), found[2])

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a ledger.

    Parameters
    ----------
    number : from 1
    utc : when, as ISO 8601 with milliseconds and ``Z``
    payload : what, as JSON holds it
    previous, hash : SHA-256 of the row before and of this one, hexadecimal
    """

    number: int
    utc: str
    payload: Mapping[str, Any]
    previous: str
    hash: str

    @classmethod
    def of(cls, number: int, utc: datetime, payload: Mapping[str, Any], previous: str) -> Row:
        """Make a row with its hash.

        Raises
        ------
        InputError
            A time without a zone, or a payload that JSON cannot hold (NaN is one).
        """
        if utc.tzinfo is None:
            raise InputError(f"time {utc} without a zone: expected UTC, as datetime.now(UTC)")
        when = utc.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        try:
            kept = json.loads(_canonical(dict(payload)))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"a payload that JSON cannot hold ({error}): expected texts, finite numbers, "
                "lists and mappings; give null for what is undefined"
            ) from error
        content = {"number": number, "utc": when, "payload": kept, "previous": previous}
        return cls(number, when, MappingProxyType(kept), previous, _hash(content))

    @property
    def line(self) -> bytes:
        """The row as it stands in the file, with its end of line."""
        content = {name: getattr(self, name) for name in sorted(NAMES)}
        return _canonical(content | {"payload": dict(self.payload)}) + b"\n"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A log on disk that was found whole.

    Parameters
    ----------
    path : a file of JSON lines
    rows : all of them, oldest first
    n_bytes : of the whole rows
    torn : bytes after them, of a row that was only half written
    """

    path: Path
    rows: tuple[Row, ...] = ()
    n_bytes: int = 0
    torn: int = 0

    @classmethod
    def new(cls, path: str | Path) -> Self:
        """Make an empty ledger, and its folder.

        Raises
        ------
        LedgerError
            There is a file of this name.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            path.open("xb").close()
        except FileExistsError as error:
            raise LedgerError(
                f"{path}: there is a file of this name already; a ledger is never written over, "
                "open it or choose another folder"
            ) from error
        return cls(path)

    @classmethod
    def open(cls, path: str | Path, *, sealed: Seal | None = None) -> Self:
        """Read a ledger and check every row of it.

        Parameters
        ----------
        sealed : where it stood earlier; it may have grown since

        Raises
        ------
        LedgerError
            There is no such file; a row was changed, removed, inserted or moved, the first of
            which is named; or the rows up to the seal are not those that were sealed.
        """
        path = Path(path)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise LedgerError(f"{path}: cannot be read ({error}); give a ledger.jsonl") from error
        *lines, tail = content.split(b"\n")
        rows: list[Row] = []
        for line in lines:
            rows.append(_checked(path, line, rows[-1] if rows else None))
        if _is_object(tail):  # whole but for its end of line, or more than a row
            rows.append(_checked(path, tail, rows[-1] if rows else None))
            tail = b""
        if sealed is not None:
            _require_sealed(path, rows, sealed)
        return cls(path, tuple(rows), sum(len(row.line) for row in rows), len(tail))

    @property
    def seal(self) -> Seal:
        """Where the ledger stands now, to be printed and kept elsewhere."""
        return Seal(len(self.rows), self.rows[-1].hash if self.rows else NOTHING)

    def append(self, payload: Mapping[str, Any], *, utc: datetime) -> Ledger:
        """Write one more row, safe from a power cut once this returns, and return the ledger.

        That somebody else has written meanwhile is noticed and refused. Two who write in the very
        same moment are not kept apart; the next to open the file finds the chain broken.

        Parameters
        ----------
        payload : what JSON holds: texts, finite numbers, None, lists and mappings by text
        utc : when, with its zone

        Raises
        ------
        InputError
            A time without a zone, or a payload that JSON cannot hold.
        LedgerError
            The file has changed since it was read.
        """
        row = Row.of(len(self.rows) + 1, utc, payload, self.seal.hash)
        with self.path.open("r+b") as stream:
            size = stream.seek(0, os.SEEK_END)
            # a last row may have been read that lacks its end of line
            unended = bool(self.rows) and size == self.n_bytes - 1
            last = self.rows[-1].line[: -1 if unended else None] if self.rows else b""
            stream.seek(max(0, min(size, self.n_bytes) - len(last)))
            if not (unended or size == self.n_bytes + self.torn) or stream.read(len(last)) != last:
                raise LedgerError(
                    f"{self.path}: has changed since it was read: found {size} bytes, expected "
                    f"{self.n_bytes + self.torn}; another session writes into it, open it again"
                )
            try:
                stream.write(b"\n" + row.line if unended else row.line)
                stream.truncate()  # what is left of a row that was half written
                stream.flush()
                os.fsync(stream.fileno())
            except OSError as error:
                # a full disk does not say which file it was
                error.filename = error.filename or str(self.path)
                raise
        return Ledger(self.path, (*self.rows, row), self.n_bytes + len(row.line))


def _canonical(content: Mapping[str, Any]) -> bytes:
    """Return the one spelling of a JSON object."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content)).hexdigest()


def _is_object(tail: bytes) -> bool:
    """Whether an unended line starts with a whole object; half a row does not."""
    try:
        json.JSONDecoder().raw_decode(tail.decode("utf-8", errors="replace"))
    except (ValueError, RecursionError):
        return False
    return True


def _checked(path: Path, line: bytes, before: Row | None) -> Row:
    """Return the row that a line holds, which has to follow the one before."""
    expected = before.number + 1 if before else 1
    where = f"{path}: row {expected}"
    mend = "go back to a copy of the file that was sealed"
    try:
        content = json.loads(line)
        if not isinstance(content, dict) or content.keys() != NAMES:
            raise ValueError(f"expected the names {', '.join(sorted(NAMES))}")
        if type(content["number"]) is not int or not isinstance(content["previous"], str):
            raise ValueError("expected a whole number and the hash of the row before")
        canonical = _canonical(content)
        found = content.pop("hash")
        computed = _hash(content)
        row = Row(hash=found, **content | {"payload": MappingProxyType(content["payload"])})
    except (ValueError, TypeError, RecursionError) as error:
        raise LedgerError(
            f"{where} was changed: it is no row of a ledger ({error}); {mend}"
        ) from error
    if canonical != line or computed != found:
        raise LedgerError(
            f"{where} was changed: its SHA-256 is {computed[:12]}..., the row says "
            f"{str(found)[:12]}...; {mend}"
        )
    if row.number != expected:
        how = (
            "removed or moved" if row.number > expected else "replaced by an inserted or moved row"
        )
        raise LedgerError(
            f"{where} was {how}: found row {row.number} in its place, expected {expected}; {mend}"
        )
    if row.previous != (before.hash if before else NOTHING):
        raise LedgerError(
            f"{where} does not follow the row before it: it names {row.previous[:12]}..., found "
            f"{(before.hash if before else NOTHING)[:12]}...; one of the two was exchanged, {mend}"
        )
    return row


def _require_sealed(path: Path, rows: list[Row], sealed: Seal) -> None:
    if len(rows) < sealed.number:
        raise LedgerError(
            f"{path}: row {len(rows) + 1} was removed, and all after it: found {len(rows)} rows, "
            f"the seal was taken at row {sealed.number}; go back to a copy of the file"
        )
    found = rows[sealed.number - 1].hash if sealed.number else NOTHING
    if found != sealed.hash:
        raise LedgerError(
            f"{path}: row {sealed.number} is not the one that was sealed, or one before it: its "
            f"hash is {found[:12]}..., sealed was {sealed.hash[:12]}...; the rows were written "
            "anew, or this is another ledger's seal"
        )
