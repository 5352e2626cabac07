"""Masks from NRRD and NHDR: what is told is read, what is not told is refused."""

from __future__ import annotations

import bz2
import gzip
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from boneviz.errors import BonevizError, ImageFileError
from boneviz.nrrdfile import read_nrrd_mask

# 3 x 2 x 2 voxels of 2 x 3 x 5 mm, the first at L 10, P 20, S 30
FIELDS = {
    "type": "uint8",
    "dimension": "3",
    "space": "left-posterior-superior",
    "sizes": "3 2 2",
    "space directions": "(2,0,0) (0,3,0) (0,0,5)",
    "kinds": "domain domain domain",
    "encoding": "raw",
    "space origin": "(10,20,30)",
}
# the first axis is the fastest: voxels (1, 0, 0) and (2, 1, 1)
VOXELS = bytes([0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7])


def nrrd_of(data: bytes = VOXELS, *, more: str = "", **fields: str | None) -> bytes:
    said = FIELDS | {key.replace("_", " "): value for key, value in fields.items()}
    lines = [f"{key}: {value}" for key, value in said.items() if value is not None]
    return ("NRRD0004\n" + "\n".join(lines) + "\n" + more + "\n").encode() + data


def read(tmp_path: Path, content: bytes, *, choose: str | int | None = None) -> object:
    path = tmp_path / "mask.nrrd"
    path.write_bytes(content)
    return read_nrrd_mask(path, choose=choose)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("raw", VOXELS),
        ("gzip", gzip.compress(VOXELS)),
        ("gz", gzip.compress(VOXELS[:5]) + gzip.compress(VOXELS[5:])),
        ("bzip2", bz2.compress(VOXELS)),
    ],
)
def test_voxels_and_geometry(tmp_path: Path, encoding: str, data: bytes) -> None:
    path = tmp_path / "mask.nrrd"
    path.write_bytes(nrrd_of(data, encoding=encoding))
    mask = read_nrrd_mask(path)
    assert np.argwhere(mask.array).tolist() == [[1, 0, 0], [2, 1, 1]]
    expected = [[-2, 0, 0, -10], [0, -3, 0, -20], [0, 0, 5, 30], [0, 0, 0, 1]]
    np.testing.assert_array_equal(mask.grid.affine_ras_mm, expected)
    assert mask.grid.frame_of_reference_uid is None


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_a_mask_in_thousands_of_members(tmp_path: Path, encoding: str) -> None:
    # as bgzip cuts it: 1500 members of 1200 bytes, some padded with zeros, which are 300 slices
    voxels = bytearray(1500 * 1200)
    voxels[7], voxels[-1] = 3, 3
    pack = bz2.compress if encoding == "bzip2" else gzip.compress
    members = [pack(voxels[at : at + 1200]) for at in range(0, len(voxels), 1200)]
    data = bytes(3).join(members) + bytes(40_000)
    path = tmp_path / "mask.nrrd"
    path.write_bytes(nrrd_of(data, encoding=encoding, sizes="60 100 300"))
    assert np.argwhere(read_nrrd_mask(path).array).tolist() == [[7, 0, 0], [59, 99, 299]]


@pytest.mark.parametrize("encoding", ["gzip", "bzip2"])
def test_members_without_end_take_no_time(tmp_path: Path, encoding: str) -> None:
    member = bz2.compress(b"") if encoding == "bzip2" else gzip.compress(b"")
    content = nrrd_of(member * (4_000_000 // len(member)), encoding=encoding)
    begun = time.process_time()
    with pytest.raises(ImageFileError, match=r"data in 1001 members of less than 1000 bytes on"):
        read(tmp_path, content)
    # 4 MB took 13 s when what is behind each member was copied
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("space", "first_mm"),
    [
        ("left-posterior-superior", (-10, -20, 30)),
        ("LPS", (-10, -20, 30)),
        ("right-anterior-superior", (10, 20, 30)),
        ("left-anterior-superior", (-10, 20, 30)),
    ],
)
def test_spaces(tmp_path: Path, space: str, first_mm: tuple[float, ...]) -> None:
    path = tmp_path / "mask.nrrd"
    path.write_bytes(nrrd_of(space=space))
    np.testing.assert_array_equal(read_nrrd_mask(path).grid.to_mm([0, 0, 0]), first_mm)


@pytest.mark.parametrize(
    ("kind", "endian", "dtype"), [("short", "big", ">i2"), ("unsigned int", "little", "<u4")]
)
def test_wider_types(tmp_path: Path, kind: str, endian: str, dtype: str) -> None:
    data = np.frombuffer(VOXELS, np.uint8).astype(dtype).tobytes()
    path = tmp_path / "mask.nrrd"
    path.write_bytes(nrrd_of(data, type=kind, endian=endian))
    assert np.argwhere(read_nrrd_mask(path).array).tolist() == [[1, 0, 0], [2, 1, 1]]


def test_one_of_several_is_chosen_by_slicers_names(tmp_path: Path) -> None:
    data = bytes([0, 7, 0, 0, 4, 4, 0, 0, 0, 0, 0, 7])
    more = "Segment0_Name:=hip\nSegment0_LabelValue:=4\n"
    path = tmp_path / "mask.seg.nrrd"
    path.write_bytes(nrrd_of(data, more=more))
    with pytest.raises(ImageFileError, match=r"mask.seg.nrrd: a label map with the values 4, 7"):
        read_nrrd_mask(path)
    assert np.argwhere(read_nrrd_mask(path, choose="hip").array).tolist() == [[1, 1, 0], [2, 1, 0]]
    assert read_nrrd_mask(path, choose=7).array.sum() == 2


def header_of(data_file: str) -> bytes:
    return nrrd_of(b"", more=f"data file: {data_file}\n")


@pytest.mark.parametrize("ending", [b"", b"\n"])
def test_a_header_with_its_data_beside_it(tmp_path: Path, ending: bytes) -> None:
    (tmp_path / "mask.raw").write_bytes(VOXELS)
    path = tmp_path / "mask.nhdr"
    path.write_bytes(header_of("mask.raw").rstrip(b"\n") + ending)
    assert read_nrrd_mask(path).array.sum() == 2


@pytest.mark.parametrize(
    "name", ["../mask.raw", "/etc/hostname", "sub/mask.raw", "LIST", "m%03d.raw 1 2 1", "..", "."]
)
def test_no_data_from_elsewhere(tmp_path: Path, name: str) -> None:
    (tmp_path / "mask.raw").write_bytes(VOXELS)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "mask.nhdr").write_bytes(header_of(name))
    with pytest.raises(ImageFileError, match="expected the name of one file in the header's own"):
        read_nrrd_mask(inside / "mask.nhdr")


def test_no_data_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "mask.raw").write_bytes(VOXELS)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.raw").symlink_to(tmp_path / "mask.raw")
    (inside / "mask.nhdr").write_bytes(header_of("link.raw"))
    with pytest.raises(ImageFileError, match=r"link\.raw is a link out of the folder"):
        read_nrrd_mask(inside / "mask.nhdr")
    (inside / "mask.nhdr").write_bytes(header_of("lost.raw"))
    with pytest.raises(ImageFileError, match=r"lost\.raw is not in the header's folder"):
        read_nrrd_mask(inside / "mask.nhdr")


BOMB = gzip.compress(bytes(20_000_000))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nothing of the kind", "does not begin with NRRD000"),
        (b"NRRD0004\n" + b"#" * 2**21, "no end of the header within 1048576 bytes"),
        (nrrd_of(space=None), "field space: no space, expected left-posterior-superior"),
        (nrrd_of(space="scanner-xyz"), "field space: another space"),
        (nrrd_of(space_origin=None), "field space origin is missing"),
        (nrrd_of(space_directions=None), "field space directions is missing"),
        (nrrd_of(space_directions="(2,0,0) (2,0,0) (0,0,5)"), "three independent axes"),
        (nrrd_of(more='space units: "in" "in" "in"\n'), "expected mm for each"),
        (nrrd_of(type="float"), "no type of whole numbers"),
        (nrrd_of(type="block"), "no type of whole numbers"),
        (nrrd_of(type="short"), "field endian is neither little nor big"),
        (nrrd_of(encoding="ascii"), "expected raw, gzip or bzip2"),
        (nrrd_of(sizes="65535 65535 65535"), "expected 1 to 1073741824 voxels"),
        (nrrd_of(sizes="0 2 2"), "expected 1 to 1073741824 voxels"),
        (nrrd_of(kinds="domain domain vector"), "kinds are domain, domain, vector"),
        (
            nrrd_of(
                dimension="4",
                sizes="2 3 2 1",
                kinds="list domain domain domain",
                space_directions="none (2,0,0) (0,3,0) (0,0,5)",
            ),
            "4D with sizes .* and kinds list, domain, domain, domain, expected three spatial",
        ),
        (nrrd_of(VOXELS[:-1]), "11 bytes of voxels, expected 12"),
        (nrrd_of(VOXELS + b"1"), "more than 12 bytes of voxels, expected 12"),
        (nrrd_of(BOMB, encoding="gzip"), "more than 12 bytes of voxels, expected 12"),
        (nrrd_of(gzip.compress(VOXELS)[:-9], encoding="gzip"), "gzip data are damaged"),
        (nrrd_of(b"none", encoding="bzip2"), "bzip2 data are damaged"),
        (nrrd_of(more="byte skip: 4\n"), "field byte skip is 4: expected 0"),
    ],
)
def test_what_cannot_be_known_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ImageFileError, match=message) as raised:
        read(tmp_path, content)
    assert str(raised.value).startswith(str(tmp_path / "mask.nrrd"))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ImageFileError, match=r"lost\.nrrd: no such file"):
        read_nrrd_mask(tmp_path / "lost.nrrd")


def test_damaged_files_raise_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    whole = nrrd_of(gzip.compress(VOXELS), encoding="gzip")
    refused = 0
    for _ in range(400):
        content = bytearray(whole)
        for at in rng.integers(0, len(content), rng.integers(1, 4)):
            content[at] = rng.integers(0, 256)
        try:
            read(tmp_path, bytes(content[: rng.integers(1, len(content) + 1) if _ % 4 else None]))
        except BonevizError:
            refused += 1
    assert refused > 300


@pytest.mark.realdata
def test_masks_of_dcmqi(realdata: Path) -> None:
    folder = realdata / "dicom_seg" / "dcmqi"
    assert read_nrrd_mask(folder / "liver_seg.nrrd").array.sum() == 107098
    with pytest.raises(ImageFileError, match="the values 1, 4, 5"):
        read_nrrd_mask(folder / "partial_overlaps-1.nrrd")


@pytest.mark.parametrize("sizes", ["nan 2 2", "1e999 2 2", "99999999999999999999 2 2"])
def test_nothing_is_printed_of_sizes_that_are_no_numbers(tmp_path: Path, sizes: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageFileError, match=r"mask\.nrrd: "):
            read(tmp_path, nrrd_of(sizes=sizes))
