"""Scans that stand in a cohort under two patient ids, found by their voxels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from boneviz.case import CaseRef
from boneviz.errors import CohortError, ImageFileError
from boneviz.nifti import read_volume
from boneviz.volume import Unit, Volume

__all__ = ["hash_of_voxels", "refuse_duplicates", "voxel_hash"]


def voxel_hash(path: str | Path, unit: Unit) -> str:
    """Return a SHA-256 over the side lengths and voxel values of a volume, in hexadecimal.

    Neither the header nor the order of voxels counts, since converters mirror, swap axes, compress
    and mend geometry in ways of their own: the values are hashed sorted, and so are the lengths.

    Raises
    ------
    ImageFileError
        The file cannot be read.
    """
    return hash_of_voxels(read_volume(path, unit))


def hash_of_voxels(volume: Volume) -> str:
    """Return the `voxel_hash` of a volume in memory."""
    array = volume.array
    # the same values may be stored as int16 by one converter and as float32 by another
    values = np.sort(array, axis=None).astype(np.float32)
    values += np.float32(0)  # minus zero is zero
    digest = hashlib.sha256(repr(sorted(array.shape)).encode())
    digest.update(values.data)
    return digest.hexdigest()


def refuse_duplicates(cases: Iterable[CaseRef]) -> None:
    """Raise where two patients share a CT or a PET; sessions of one patient may.

    Such a patient would be learned from under one id and tested under the other.

    Raises
    ------
    CohortError
        Names both ids and both files, for the first such pair of each scan.
    ImageFileError
        A file cannot be read; the message starts with the patient.
    """
    seen: dict[tuple[str, str], tuple[CaseRef, Path]] = {}
    found: list[str] = []
    for ref in cases:
        scans: tuple[tuple[str, Path, Unit], ...] = (
            ("CT", ref.ct, "HU"),
            ("PET", ref.pet, "SUVbw"),
        )
        for what, path, unit in scans:
            try:
                content = voxel_hash(path, unit)
            except ImageFileError as error:
                raise ImageFileError(f"patient {ref.case_id}: {error}") from error
            first, there = seen.setdefault((what, content), (ref, path))
            if first.patient_id != ref.patient_id:
                found.append(
                    f"patients {first.patient_id} and {ref.patient_id} share one {what} "
                    f"({there} and {path} hold the same voxels)"
                )
    if found:
        raise CohortError(
            f"{'; '.join(found)}: one of them could be learned from and tested on. If they are one "
            "person, make both folders sessions of one patient; if a file was copied by mistake, "
            "put the right one in its place"
        )
