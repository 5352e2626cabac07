"""Study ids in place of patients' ids, by a key or a table that stays with the user."""

from __future__ import annotations

import base64
import csv
import hashlib
import hmac
import os
import re
import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from boneviz.errors import InputError

__all__ = ["Key", "StudyIds", "default_key_path", "read_id_table", "read_key", "write_key"]

MAGIC = "boneviz-key-1"
BYTES = 32
MOST_TABLE_BYTES = 2**24
LETTERS = 10  # 50 bits: of 10 000 patients two share an id once in twenty million imports


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A secret from which study ids follow, and back from which nothing does without it.

    Parameters
    ----------
    secret : 32 bytes; never printed
    """

    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) != BYTES:
            raise InputError(f"a key of {len(self.secret)} bytes: expected {BYTES}")

    def __repr__(self) -> str:
        return "<Key>"

    @classmethod
    def new(cls) -> Key:
        """Return a key that nobody had before."""
        return cls(secrets.token_bytes(BYTES))

    def study_id(self, patient_id: str) -> str:
        """Return ``P`` and ten letters and digits: HMAC-SHA256 of the patient's id (RFC 2104)."""
        return "P" + self._mac("patient", patient_id.strip())

    def mark(self, *parts: str) -> str:
        """Return what tells these texts from others, for who holds the key."""
        return self._mac("content", *parts)

    @property
    def cohort_id(self) -> str:
        """What cohorts of this key share: in them, one id is one patient."""
        return "dicom-" + self._mac("cohort").lower()

    def _mac(self, *parts: str) -> str:
        # lengths, so that no two lists of texts are the same bytes
        message = b"".join(
            len(part.encode(errors="replace")).to_bytes(8, "big") + part.encode(errors="replace")
            for part in parts
        )
        digest = hmac.new(self.secret, message, hashlib.sha256).digest()
        return base64.b32encode(digest).decode()[:LETTERS]


@dataclass(frozen=True, slots=True, repr=False)
class StudyIds:
    """How patients are called in a cohort.

    Parameters
    ----------
    key : gives the ids where there is no table
    table : patient id -> study id; who is not in it has none
    """

    key: Key
    table: Mapping[str, str] | None = field(default=None)

    def of(self, patient_id: str) -> str | None:
        """Return the study id, None for a patient who is not in the table or has no id."""
        if not patient_id.strip():
            return None
        if self.table is None:
            return self.key.study_id(patient_id)
        return self.table.get(patient_id.strip())


def default_key_path(cohort: Path) -> Path:
    """Return where the key of a cohort lies: beside its folder, not in it."""
    cohort = Path(cohort).resolve()
    return cohort.with_name(f"{cohort.name}.key")


def read_key(path: Path) -> Key:
    """Read a key that `write_key` wrote.

    Raises
    ------
    InputError
        There is none, or the file is something else.
    """
    try:
        with Path(path).open("rb") as stream:
            words = stream.read(4096).decode("ascii").split()
    except FileNotFoundError as error:
        raise InputError(
            f"{path}: no such file; give the key that the cohort was imported with (--key)"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a key ({type(error).__name__})") from error
    if len(words) != 2 or words[0] != MAGIC or not re.fullmatch(r"[0-9a-f]{64}", words[1]):
        raise InputError(f"{path}: not a key of boneviz; give the file that `boneviz import` wrote")
    return Key(bytes.fromhex(words[1]))


def write_key(key: Key, path: Path) -> None:
    """Write a new file that its owner alone can read; never over one that is there.

    Raises
    ------
    InputError
        There is such a file already.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise InputError(f"{path}: there already; a key is never written over") from error
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(f"{MAGIC} {key.secret.hex()}\n")
        stream.flush()
        os.fsync(stream.fileno())


def read_id_table(path: Path) -> dict[str, str]:
    """Read a CSV table with the columns ``patient_id`` and ``study_id``.

    Returns
    -------
    dict
        Patient id -> study id. Messages give lines of the file, never what stands in them.

    Raises
    ------
    InputError
        No such file or columns, an empty cell, a patient twice, one study id for two patients, or
        a study id that cannot be the name of a folder.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MOST_TABLE_BYTES:
            raise InputError(f"{path}: above {MOST_TABLE_BYTES} bytes, expected a table of ids")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV ({type(error).__name__})") from error
    if not rows or not {"patient_id", "study_id"} <= set(rows[0]):
        raise InputError(f"{path}: expected the columns patient_id and study_id, and a row each")
    table: dict[str, str] = {}
    lines: dict[str, list[int]] = defaultdict(list)
    for line, row in enumerate(rows, start=2):
        patient, study = ((row[c] or "").strip() for c in ("patient_id", "study_id"))
        # it becomes the name of a folder, on any system
        if not patient or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", study):
            raise InputError(
                f"{path}, line {line}: expected a patient_id, and a study_id of 1 to 32 letters, "
                "digits, _ and - that begins with a letter or digit"
            )
        if patient in table:
            raise InputError(f"{path}, line {line}: a patient_id that stands above already")
        table[patient] = study
        lines[study.casefold()].append(line)
    for where in lines.values():
        if len(where) > 1:
            raise InputError(f"{path}, lines {where[0]} and {where[1]}: one study_id, two patients")
    return table
