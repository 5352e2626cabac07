"""A header that claims 65535^3 voxels is refused before anything is allocated, in each format.

The stated peak of Python's own memory is that of a small file read, not of its claim.
"""

from __future__ import annotations

import gzip
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicommade import write_ct_series, write_pet_series
from small import STRAIGHT
from test_nrrdfile import nrrd_of

from boneviz.dicom import find_series, read_ct, read_pet
from boneviz.dicomseg import read_segments
from boneviz.draft import read_draft
from boneviz.errors import BonevizError
from boneviz.nifti import read_volume
from boneviz.nrrdfile import read_nrrd_mask

from .images import make_seg, make_seg_compressed

MOST = 8 * 2**20


def nifti(path: Path, sides: tuple[int, ...]) -> Path:
    kind = nib.Nifti2Image if max(sides) > 32767 else nib.Nifti1Image
    nib.save(kind(np.zeros((2, 2, 2), np.int16), STRAIGHT.affine_ras_mm), path)
    content = bytearray(path.read_bytes())
    at, form = (16, "<4q") if kind is nib.Nifti2Image else (40, "<4h")
    struct.pack_into(form, content, at, 3, *sides)
    path.write_bytes(content)
    return path


def packed(path: Path) -> Path:
    beside = path.with_suffix(".nii.gz")
    beside.write_bytes(gzip.compress(path.read_bytes()))
    return beside


def dicom(folder: Path, **claims: int) -> Path:
    write = write_pet_series if claims.pop("pet", 0) else write_ct_series
    for path in write(folder):
        dataset = pydicom.dcmread(path)
        for keyword, value in claims.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)
    return folder


def seg(folder: Path, make: Callable[[Path], list[Path]], **claims: int) -> Path:
    (path,) = make(folder)
    dataset = pydicom.dcmread(path)
    for keyword, value in claims.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def draft(folder: Path) -> Path:
    """Write a draft whose array claims 65535^3 positions, with a right checksum over the lie."""
    said = b"{'descr': '<i8', 'fortran_order': False, 'shape': (281462092005375,), }"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118) + said.ljust(117) + b"\n" + bytes(24)
    with zipfile.ZipFile(folder / "P01.draft.npz", "w") as packed:
        for name in ("position", "shape", "affine_ras_mm"):
            packed.writestr(f"{name}.npy", array)
    return folder


def weights(folder: Path) -> Path:
    header = {"a": {"dtype": "F16", "shape": [65535] * 3, "data_offsets": [0, 2 * 65535**3]}}
    text = json.dumps(header).encode()
    path = folder / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def read_weights(path: Path) -> object:
    from boneviz.checkpoint import load_tensors

    return load_tensors(path)


def built(folder: Path) -> object:
    from boneviz.checkpoint import load_checkpoint

    return load_checkpoint(folder / "model_a_fold2.safetensors").network()


def wide_model(folder: Path) -> Path:
    from test_checkpoint import saved

    saved(folder)
    card = json.loads((folder / "model_a_fold2.json").read_text())
    card["net"]["filters"] = [65535, 65535, 65535]
    (folder / "model_a_fold2.json").write_text(json.dumps(card))
    return folder


def only_ct(folder: Path) -> object:
    return read_ct(find_series(folder).series[0])


@dataclass(frozen=True)
class Claim:
    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    says: str


FULL = {"Rows": 65535, "Columns": 65535}
CLAIMS = (
    Claim("NIfTI-1", lambda f: nifti(f / "a.nii", (32767,) * 3), lambda p: read_volume(p, "HU"),
          "claims 32767 x 32767 x 32767 voxels"),
    Claim("NIfTI-1, packed", lambda f: packed(nifti(f / "a.nii", (32767,) * 3)),
          lambda p: read_volume(p, "label"), "claims 32767 x 32767 x 32767 voxels"),
    Claim("NIfTI-2", lambda f: nifti(f / "a.nii", (65535,) * 3), lambda p: read_volume(p, "SUVbw"),
          "claims 65535 x 65535 x 65535 voxels"),
    Claim("NRRD", lambda f: f / "a.nrrd", read_nrrd_mask,
          "sizes .65535, 65535, 65535.: expected 1"),
    Claim("DICOM CT", lambda f: dicom(f, **FULL), only_ct, "4294836225 voxels by the header"),
    Claim("DICOM CT of frames", lambda f: dicom(f, **FULL, NumberOfFrames=65535), only_ct,
          r"65535 frames"),
    Claim("DICOM PET", lambda f: dicom(f, **FULL, pet=1),
          lambda f: read_pet(find_series(f).series[0]), "4294836225 voxels by the header"),
    Claim("SEG", lambda f: seg(f, make_seg("BINARY"), **FULL, NumberOfFrames=65535),
          read_segments, "at most 1073741824"),
    Claim("SEG of frames", lambda f: seg(f, make_seg("BINARY"), NumberOfFrames=65535),
          read_segments, "NumberOfFrames .* is 65535, "),
    Claim("SEG, large planes", lambda f: seg(f, make_seg("BINARY"), Rows=32767, Columns=32767),
          read_segments, "voxels"),
    Claim("SEG, packed, large planes",
          lambda f: seg(f, make_seg_compressed, Rows=16384, Columns=16384),
          lambda p: read_segments(p, threshold=0.5), "a compressed frame of another size"),
    Claim("draft", draft, lambda f: read_draft(f, "P01", STRAIGHT), "of shape .281462092005375,."),
    Claim("safetensors", weights, read_weights, "not readable as safetensors"),
    Claim("card", wide_model, built, "weights do not fit the network on the card"),
)  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_a_claim_is_refused_before_anything_is_allocated(tmp_path: Path, claim: Claim) -> None:
    path = claim.make(tmp_path)
    if claim.name == "NRRD":
        path.write_bytes(nrrd_of(sizes="65535 65535 65535"))
    with pytest.raises(BonevizError):  # modules are loaded
        claim.read(path)
    tracemalloc.start()
    try:
        with pytest.raises(BonevizError, match=claim.says):
            claim.read(path)
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()
