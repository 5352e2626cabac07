"""Pixels of slices in every transfer syntax, and what is refused before they are decoded."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dicommade import (
    Edit,
    put_sequence_into_meta,
    uid,
    write_ct_series,
)
from pydicom import dcmread
from pydicom.dataset import Dataset

from boneviz.dicom import Series, find_series, read_ct
from boneviz.errors import ImageFileError


def only_series(folder: Path) -> Series:
    (series,) = find_series(folder)
    return series


def bits(stored_bits: int, **more: Any) -> Edit:
    def edit(_: int, ds: Dataset) -> None:
        ds.BitsStored, ds.HighBit = stored_bits, stored_bits - 1
        for name, value in more.items():
            setattr(ds, name, value)

    return edit


SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG lossless": "1.2.840.10008.1.2.4.57",
    "JPEG lossless, first order": "1.2.840.10008.1.2.4.70",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
    "JPEG 2000 that may lose": "1.2.840.10008.1.2.4.91",
}


@pytest.mark.parametrize("syntax", SYNTAXES.values(), ids=SYNTAXES)
@pytest.mark.parametrize("dtype", [np.int16, np.uint16])
def test_every_transfer_syntax_gives_the_same_voxels(
    tmp_path: Path, syntax: str, dtype: type
) -> None:
    rng = np.random.default_rng(7)
    low = -1000 if dtype is np.int16 else 0
    stored = rng.integers(low, 3000, (2, 24, 16), dtype=dtype)
    write_ct_series(tmp_path, stored, syntax=syntax)
    series = only_series(tmp_path)
    assert series.files[0].transfer_syntax == syntax
    expected = stored.astype(np.int32).transpose(2, 1, 0) - 1024
    np.testing.assert_array_equal(read_ct(series).array, expected)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def claim(path: Path, **values: Any) -> None:
    ds = dcmread(path)
    for name, value in values.items():
        setattr(ds, name, value)
    ds.save_as(path)


def test_truncated_pixels_are_refused_with_the_path(tmp_path: Path) -> None:
    paths = write_ct_series(tmp_path)
    cut(paths[2])
    with pytest.raises(ImageFileError, match=r"ct0002\.dcm: 7 bytes of PixelData .* expected 12"):
        read_ct(only_series(tmp_path))


def test_truncated_compressed_pixels_are_refused_with_the_path(tmp_path: Path) -> None:
    stored = np.random.default_rng(1).integers(0, 999, (2, 32, 32), dtype=np.int16)
    paths = write_ct_series(tmp_path, stored, syntax=SYNTAXES["RLE"])
    paths[1].write_bytes(paths[1].read_bytes()[:-600])
    with pytest.raises(ImageFileError, match=r"ct0001\.dcm: .*RLE Lossless .* cannot be decoded"):
        read_ct(only_series(tmp_path))


def test_a_file_exchanged_for_one_with_a_sequence_in_its_meta_information_is_refused(
    tmp_path: Path,
) -> None:
    paths = write_ct_series(tmp_path, syntax=SYNTAXES["RLE"])
    series = only_series(tmp_path)
    put_sequence_into_meta(paths[1], 1)
    with pytest.raises(ImageFileError, match=r"ct0001\.dcm: a sequence in the File Meta Inform"):
        read_ct(series)


def test_a_claim_of_65535_cubed_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    paths = write_ct_series(tmp_path)
    for path in paths:
        claim(path, Rows=65535, Columns=65535, NumberOfFrames=65535)
    series = only_series(tmp_path)
    with pytest.raises(ImageFileError, match=r"65535 frames \(NumberOfFrames \(0028,0008\)\)"):
        read_ct(series)
    for path in paths:
        claim(path, NumberOfFrames=1)
    with pytest.raises(ImageFileError, match="4294836225 voxels by the header, at most 1073741824"):
        read_ct(only_series(tmp_path))


def test_a_compressed_picture_of_another_size_is_not_decoded(tmp_path: Path) -> None:
    stored = np.zeros((2, 24, 16), np.int16)
    for path in write_ct_series(tmp_path, stored, syntax=SYNTAXES["JPEG-LS"]):
        claim(path, Rows=12)
    with pytest.raises(ImageFileError, match=r"picture of \(24, 16\) pixels, the header says \(12"):
        read_ct(only_series(tmp_path))


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.102", r"MPEG-4 AVC/H\.264 High Profile"),
        ("1.2.3.4", "unknown"),
    ],
)
def test_what_no_decoder_knows_is_refused_by_its_name(
    tmp_path: Path, syntax: str, name: str
) -> None:
    for path in write_ct_series(tmp_path):
        content = path.read_bytes()
        length = len("1.2.840.10008.1.2.1") + 1
        at = content.index(b"1.2.840.10008.1.2.1\0\x02")
        written = syntax.encode().ljust(24, b"\0")
        # UI of 20 bytes becomes one of 24, and the group 4 bytes longer
        head = bytearray(content[: at - 2] + (24).to_bytes(2, "little"))
        group = head.index(b"UL\x04\0") + 4
        longer = int.from_bytes(head[group : group + 4], "little") + 24 - length
        head[group : group + 4] = longer.to_bytes(4, "little")
        path.write_bytes(bytes(head) + written + content[at + length :])
    with pytest.raises(ImageFileError, match=rf"transfer syntax {name} .*has no decoder here"):
        read_ct(only_series(tmp_path))


def pop(keyword: str) -> Edit:
    return lambda n, ds: n == 1 and ds.pop(keyword)


def put(keyword: str, value: Any) -> Edit:
    return lambda n, ds: n == 1 and setattr(ds, keyword, value)


REFUSALS: tuple[tuple[str, Edit, str], ...] = (
    ("no slope", pop("RescaleSlope"), r"RescaleSlope \(0028,1053\) absent"),
    ("slope 0", put("RescaleSlope", 0), r"RescaleSlope \(0028,1053\) absent, 0"),
    ("no intercept", pop("RescaleIntercept"), r"RescaleIntercept \(0028,1052\) absent"),
    ("no pixels", pop("PixelData"), r"no PixelData \(7FE0,0010\)"),
    ("no rows", pop("Rows"), r"Rows \(0028,0010\) is absent"),
    ("colour", put("SamplesPerPixel", 3), r"SamplesPerPixel \(0028,0002\) is not 1: .*colour"),
    ("palette", put("PhotometricInterpretation", "PALETTE COLOR"), "a picture in colour"),
    ("bits shifted", put("HighBit", 14), r"16 bits of 16 up to bit 14"),
    ("12 bits packed", put("BitsAllocated", 12), r"16 bits of 12 up to bit 15"),
    ("bits above", bits(8), r"stored values of 1000 to 1005, expected -128 to 127"),
    ("another patient", put("PatientID", "P2"), r"files of 2 patients \(PatientID \(0010,0020\)"),
    (
        "a number twice",
        put("SOPInstanceUID", uid("study", "ct", "0")),
        r"ct0000\.dcm and .*ct0001\.dcm: one SOPInstanceUID \(0008,0018\)",
    ),
)


@pytest.mark.parametrize(("edit", "says"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_pixels_that_are_not_certain_are_refused(tmp_path: Path, edit: Edit, says: str) -> None:
    write_ct_series(tmp_path, edit=edit)
    with pytest.raises(ImageFileError, match=says) as refused:
        read_ct(only_series(tmp_path))
    assert str(tmp_path) in str(refused.value)
    assert not any(each in str(refused.value) for each in ("P1", "P2", "Name^", uid("study")))


def test_one_compressed_slice_is_decoded_apart_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = np.random.default_rng(1).integers(0, 999, (2, 16, 16), dtype=np.int16)
    (path, _) = write_ct_series(tmp_path, stored)
    write_ct_series(tmp_path / "coded", stored, syntax=SYNTAXES["JPEG-LS"])
    path.write_bytes((tmp_path / "coded" / path.name).read_bytes())
    (tmp_path / "coded" / path.name).unlink()
    (tmp_path / "coded" / "ct0001.dcm").unlink()
    # on a machine of one core, and a decoder that a damaged file ends
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    monkeypatch.setattr("boneviz.dicom._decode", lambda *_: os._exit(1))
    with pytest.raises(ImageFileError, match="a compressed file of this series ended its decoder"):
        read_ct(only_series(tmp_path))
