"""What a cohort's PET measures and where its SUV come from: ``pet.json`` beside ``pet.nii.gz``."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

from boneviz.errors import InputError
from boneviz.files import write_whole

__all__ = [
    "NO_SUV",
    "PetRecord",
    "PetUnit",
    "pet_record_path",
    "read_pet_record",
    "write_pet_record",
]

PetUnit = Literal["SUVbw", "counts"]

#: what is said wherever a SUV would stand
NO_SUV = "no SUV: PET in counts"

FORMAT = 1
MOST_BYTES = 65_536
MOST_LINES, MOST_LETTERS = 60, 400
MOST_DETAILS = 100
# what a sidecar of another program (dcm2niix, BIDS) may call the unit of an SUV
SUV_WORDS = ("suvbw", "suv", "g/ml", "gml")


@dataclass(frozen=True, slots=True)
class PetRecord:
    """What the voxels of a PET file measure, and how that came about.

    Parameters
    ----------
    unit : ``SUVbw``, or ``counts``: proportional to activity (counts or Bq/mL), without SUV
    words : the derivation, or why there is none, line by line, to be shown as it is; no identity
        and no date in it
    factor : SUVbw of one stored unit, above 0, where it is one number for the whole series
    details : the same in single values by name, such as the tags that were used

    Raises
    ------
    InputError
        Another unit, a text that is not plain (control characters, ``<`` or ``>``) or too long,
        too many of them, or numbers that are not finite.
    """

    unit: PetUnit = "SUVbw"
    words: tuple[str, ...] = ()
    factor: float | None = None
    details: Mapping[str, str | float | bool | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.unit not in get_args(PetUnit):
            raise InputError(
                f"PET unit {_short(self.unit)}: expected one of {', '.join(get_args(PetUnit))}"
            )
        words: object = self.words
        if isinstance(words, str) or len(self.words) > MOST_LINES:  # a text passes for its letters
            raise InputError(f"words of a PET: expected a list of at most {MOST_LINES} texts")
        for line in self.words:
            _require_plain(line, "words of a PET")
        if self.factor is not None and not (_is_number(self.factor) and self.factor > 0):
            raise InputError(f"factor of a PET {_short(self.factor)}: expected a number above 0")
        if self.unit == "counts" and self.factor is not None:
            raise InputError("a PET in counts with a factor to SUV: expected one or the other")
        if len(self.details) > MOST_DETAILS:
            raise InputError(f"details of a PET: expected at most {MOST_DETAILS} values")
        for name, value in self.details.items():
            _require_plain(name, "name among the details of a PET")
            if isinstance(value, str):
                if value:
                    _require_plain(value, f"{name} of a PET")
            elif not (value is None or isinstance(value, bool) or _is_number(value)):
                raise InputError(
                    f"{name} of a PET is {_short(value)}: expected a text or a finite number"
                )
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "details", MappingProxyType(dict(self.details)))

    @property
    def origin(self) -> tuple[str, ...]:
        """The derivation in words, or that none was recorded."""
        if self.words:
            return self.words
        if self.unit == "counts":
            return ("why it has no SUV was not recorded",)
        return ("as stored in the file; how its SUV were found was not recorded",)


def pet_record_path(pet: str | Path) -> Path:
    """Return where the record of a PET file lies: ``pet.json`` beside ``pet.nii.gz``."""
    pet = Path(pet)
    return pet.with_name(pet.name.removesuffix(".gz").removesuffix(".nii") + ".json")


def read_pet_record(pet: str | Path) -> PetRecord:
    """Read what was recorded of a PET file.

    Parameters
    ----------
    pet : the NIfTI file, which is not read

    Returns
    -------
    PetRecord
        Without a record SUVbw of unknown origin. A sidecar of another program (one with none of
        our names in it) is no record, and refused only where it gives another unit than SUV.

    Raises
    ------
    InputError
        The record is no file, too large, no JSON, of another format, or holds what a record cannot.
    """
    path = pet_record_path(pet)
    if not path.exists():
        return PetRecord()
    if not path.is_file():
        raise InputError(f"{path}: expected a file that says what {Path(pet).name} measures")
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); look at its rights"
        ) from error
    try:
        record = _parsed(content)
        if not {"format", "unit", "derivation"} & set(record):
            return _of_another_program(record)
        return _record_of(record)
    except InputError as error:
        raise InputError(
            f"{path}: not a record of what a PET measures: {error}; import the patient again, or "
            "delete the file where the PET is in SUVbw"
        ) from error


def write_pet_record(record: PetRecord, pet: str | Path) -> Path:
    """Write the record of a PET file beside it, whole or not at all; return its path."""
    derivation: dict[str, Any] = {"words": list(record.words)}
    if record.factor is not None:
        derivation["factor"] = record.factor
    if record.details:
        derivation["details"] = dict(record.details)
    content = {"format": FORMAT, "unit": record.unit, "derivation": derivation}
    path = pet_record_path(pet)
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False).encode()
    if len(text) > MOST_BYTES:
        raise InputError(
            f"{path}: {len(text)} bytes, expected at most {MOST_BYTES}; say it shorter"
        )
    write_whole(path, text)
    return path


def _parsed(content: bytes) -> dict[str, Any]:
    if len(content) > MOST_BYTES:
        raise InputError(f"more than {MOST_BYTES} bytes")

    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is no number")

    try:
        record = json.loads(content.decode(), parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no JSON ({_short(str(error))})") from error
    if not isinstance(record, dict):
        raise InputError(f"found {_short(record)}, expected names with values")
    return record


def _record_of(content: Mapping[str, Any]) -> PetRecord:
    _only(content, ("format", "unit", "derivation"), "it")
    if content.get("format") != FORMAT or isinstance(content["format"], bool):
        raise InputError(f"format {_short(content.get('format'))}, expected {FORMAT}")
    derivation = content.get("derivation", {})
    if not isinstance(derivation, dict):
        raise InputError(f"derivation {_short(derivation)}, expected names with values")
    _only(derivation, ("words", "factor", "details"), "derivation")
    words, details = derivation.get("words", []), derivation.get("details", {})
    if not isinstance(words, list):
        raise InputError(f"words {_short(words)}, expected a list of texts")
    if not isinstance(details, dict):
        raise InputError(f"details {_short(details)}, expected names with values")
    return PetRecord(content.get("unit"), tuple(words), derivation.get("factor"), details)  # type: ignore[arg-type]


def _of_another_program(content: Mapping[str, Any]) -> PetRecord:
    """Return SUVbw of unknown origin, unless the program says that it is something else."""
    unit = content.get("Units")
    if unit is None or str(unit).strip().casefold() in SUV_WORDS:
        return PetRecord()
    raise InputError(
        f"another program's, with Units {_short(unit)}, where SUVbw were expected (write the PET "
        'in SUVbw, or {"format": 1, "unit": "counts"} into this file to go on without SUV)'
    )


def _only(content: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    if unknown := [_short(name) for name in content if name not in known]:
        raise InputError(f"{where} holds {unknown[0]}, expected {', '.join(known)}")


def _require_plain(text: object, what: str) -> None:
    if not isinstance(text, str) or not text.strip():
        raise InputError(f"{what}: found {_short(text)}, expected texts that are not blank")
    if len(text) > MOST_LETTERS:
        raise InputError(f"{what}: {len(text)} letters, expected at most {MOST_LETTERS}")
    if not text.isprintable() or "<" in text or ">" in text:
        raise InputError(
            f"{what}: {_short(text)} holds control characters or markup, expected plain text"
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    # an integer may be too large for a float
    return abs(value) < 1e300 and math.isfinite(value)


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."
