"""Headers that claim too much, or that the voxels are something else, are refused unread."""

from __future__ import annotations

import gzip
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import STRAIGHT, affine_of, volume_of

from boneviz.case import LabelChoice
from boneviz.errors import ImageFileError
from boneviz.nifti import read_volume, write_volume
from boneviz.volume import Unit

VOXELS = np.arange(60, dtype=np.int16).reshape(5, 4, 3)
DIM, DATATYPE, SLOPE, OFFSET, INTENT = 40, 70, 112, 108, 68  # of a NIfTI-1 header


def saved(path: Path, array: np.ndarray = VOXELS, **fields: object) -> Path:
    image = nib.Nifti1Image(array, STRAIGHT.affine_ras_mm)
    image.header.set_xyzt_units("mm")
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def patched(path: Path, offset: int, form: str, *values: float) -> Path:
    """Overwrite a field of the header, of a packed file too."""
    packed = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    struct.pack_into(form, content, offset, *values)
    path.write_bytes(gzip.compress(bytes(content)) if packed else bytes(content))
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (5, 4, 30000)])
def test_more_voxels_than_the_file_holds_are_refused_before_any_is_allocated(
    tmp_path: Path, suffix: str, shape: tuple[int, int, int]
) -> None:
    path = patched(saved(tmp_path / f"ct{suffix}"), DIM, "<8h", 3, *shape, 1, 1, 1, 1)
    says = r"cannot be read as NIfTI \(its header claims \d+ x \d+ x 3\d+ voxels of 2 bytes, and"
    tracemalloc.start()
    with pytest.raises(ImageFileError, match=says):
        read_volume(path, "HU")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_gz_bomb_is_refused_at_the_stated_cap(tmp_path: Path) -> None:
    # 2048^3 bytes of zeros would unpack from a file of 8.3 MB; the file need not be made to its
    # end: one of that length will do, as nothing of it is unpacked
    path = patched(
        saved(tmp_path / "ct.nii.gz", VOXELS.astype(np.uint8)),
        DIM,
        "<8h",
        3,
        2048,
        2048,
        2048,
        1,
        1,
        1,
        1,
    )
    with path.open("ab") as stream:
        stream.truncate(8_400_000)
    tracemalloc.start()
    with pytest.raises(ImageFileError, match=r"expected at most 1073741824 voxels and 4 GiB; crop"):
        read_volume(path, "HU")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


@pytest.mark.parametrize("offset", [1e9, 3e38, float("inf"), float("nan"), -400.0])
def test_voxels_far_behind_the_header_are_refused(tmp_path: Path, offset: float) -> None:
    path = patched(saved(tmp_path / "ct.nii.gz"), OFFSET, "<f", offset)
    with pytest.raises(ImageFileError, match=r"ct\.nii\.gz: "):
        read_volume(path, "HU")


def test_a_bomb_before_the_voxels_is_not_unpacked(tmp_path: Path) -> None:
    path = patched(saved(tmp_path / "ct.nii.gz"), OFFSET, "<f", 2.0**30)
    with pytest.raises(ImageFileError, match=r"voxels 1073741824 bytes behind .* at most 67108864"):
        read_volume(path, "HU")


def test_extensions_of_the_header_are_passed_over(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, STRAIGHT.affine_ras_mm)
    # code 2 is DICOM: what stands there is none, and nobody looks
    image.header.extensions.append(nib.nifti1.Nifti1Extension(2, b"\xff" * 40))
    nib.save(image, tmp_path / "ct.nii.gz")
    assert np.array_equal(read_volume(tmp_path / "ct.nii.gz", "HU").array, VOXELS)


def test_nifti_2_is_read(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VOXELS, STRAIGHT.affine_ras_mm), tmp_path / "ct.nii.gz")
    volume = read_volume(tmp_path / "ct.nii.gz", "HU")
    assert np.array_equal(volume.array, VOXELS)
    assert volume.grid.matches(STRAIGHT)


def test_nifti_2_that_claims_a_trillion_voxels_a_side_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(VOXELS, np.eye(4)), tmp_path / "ct.nii")
    path = patched(tmp_path / "ct.nii", 16, "<4q", 3, 2**40, 2**40, 2**40)
    with pytest.raises(ImageFileError, match="claims 1099511627776 x 1099511627776 x"):
        read_volume(path, "HU")


def test_big_endian_files_are_read(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(VOXELS, STRAIGHT.affine_ras_mm, header), tmp_path / "ct.nii")
    assert (tmp_path / "ct.nii").read_bytes()[:4] == b"\0\0\x01\x5c"
    assert np.array_equal(read_volume(tmp_path / "ct.nii", "HU").array, VOXELS)


@pytest.mark.parametrize("name", ["ct.hdr", "ct.img"])
def test_a_pair_of_header_and_image_is_refused(tmp_path: Path, name: str) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, np.eye(4)), tmp_path / "ct.img")
    with pytest.raises(
        ImageFileError, match=rf"a file ending in \.{name[-3:]}, expected NIfTI.*pair"
    ):
        read_volume(tmp_path / name, "HU")


def test_half_of_a_pair_under_another_name_is_refused(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Pair(VOXELS, np.eye(4)), tmp_path / "ct.img")
    (tmp_path / "ct.hdr").rename(tmp_path / "ct.nii")
    with pytest.raises(ImageFileError, match=r"voxels are in another file \(.hdr and .img\)"):
        read_volume(tmp_path / "ct.nii", "HU")


@pytest.mark.parametrize("suffix", [".nii.bz2", ".mgz", ".nrrd", ""])
def test_other_endings_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ct{suffix}"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(ImageFileError, match=r"expected NIfTI \(\.nii, \.nii\.gz\)"):
        read_volume(path, "HU")


@pytest.mark.parametrize("n_bytes", [0, 3, 4, 100, 347])
def test_half_a_header_is_refused(tmp_path: Path, n_bytes: int) -> None:
    path = saved(tmp_path / "ct.nii")
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(ImageFileError, match="cannot be read as NIfTI"):
        read_volume(path, "HU")


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_a_slope_of_nothing_is_no_slope(tmp_path: Path, value: float) -> None:
    # NIfTI-1: "if scl_slope is 0, no scaling"; nibabel takes NaN alike
    path = patched(saved(tmp_path / "ct.nii.gz"), SLOPE, "<2f", value, 0.0)
    assert np.array_equal(read_volume(path, "HU").array, VOXELS)


@pytest.mark.parametrize("dtype", ["i2", "u2", "u1", "i4", "f4"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("slope", "intercept"), [(1 / 255, 0.0), (0.1, 0.0), (1.0, 0.0), (2.5, -1024)]
)
def test_a_slope_is_applied_as_nibabel_applies_it(
    tmp_path: Path, dtype: str, kind: type[nib.Nifti1Image], slope: float, intercept: float
) -> None:
    stored = (np.arange(60) * 1091 % (251 if dtype == "u1" else 32749)).astype(dtype)
    image = kind(stored.reshape(5, 4, 3), STRAIGHT.affine_ras_mm)
    image.header.set_xyzt_units("mm")
    image.header.set_slope_inter(slope, intercept)
    path = tmp_path / "pet.nii.gz"
    nib.save(image, path)
    expected = np.asanyarray(nib.load(path).dataobj).astype(np.float32)
    assert np.array_equal(read_volume(path, "counts").array, expected)


def test_a_slope_of_infinity_is_refused(tmp_path: Path) -> None:
    path = patched(saved(tmp_path / "ct.nii.gz"), SLOPE, "<2f", float("inf"), 0.0)
    with pytest.raises(ImageFileError, match=r"ct\.nii\.gz: a slope of infinity"):
        read_volume(path, "HU")


@pytest.mark.parametrize("dtype", ["i8", "u8", "i4", "u2", "i1", "f8"])
def test_labels_and_numbers_of_any_size_are_read(tmp_path: Path, dtype: str) -> None:
    image = nib.Nifti1Image((VOXELS > 50).astype(dtype), np.eye(4), dtype=dtype)
    nib.save(image, tmp_path / "mask.nii.gz")
    assert read_volume(tmp_path / "mask.nii.gz", "label").array.sum() == 9
    assert read_volume(tmp_path / "mask.nii.gz", "HU").array.dtype == np.float32


@pytest.mark.parametrize(("unit", "says"), [(1, "meter"), (3, "micron")])
def test_lengths_in_another_unit_are_refused(tmp_path: Path, unit: int, says: str) -> None:
    path = saved(tmp_path / "ct.nii.gz", xyzt_units=unit)
    with pytest.raises(ImageFileError, match=f"spatial unit {says}, expected mm; write the file"):
        read_volume(path, "HU")


def test_no_unit_is_taken_for_mm(tmp_path: Path) -> None:
    path = saved(tmp_path / "ct.nii.gz", xyzt_units=0)
    assert read_volume(path, "HU").grid.spacing_mm == (2, 3, 4)


@pytest.mark.parametrize(
    ("code", "unit", "says"),
    [
        (1007, "HU", r"intent code 1007 \(vector\) says that the voxels are no HU"),
        (22, "probability", r"intent code 22 \(p value\) .* no probability"),
        (1002, "SUVbw", r"intent code 1002 \(label\) .* no SUVbw"),
        (2003, "label", r"intent code 2003 .* no label"),
        (777, "HU", r"intent code 777 \(unknown"),
    ],
)
def test_voxels_that_are_something_else_are_refused(
    tmp_path: Path, code: int, unit: Unit, says: str
) -> None:
    path = patched(saved(tmp_path / "x.nii.gz"), INTENT, "<h", code)
    with pytest.raises(ImageFileError, match=says):
        read_volume(path, unit)


@pytest.mark.parametrize("code", [0, 1001, 1002, 1011])
def test_a_mask_may_be_called_a_label(tmp_path: Path, code: int) -> None:
    path = saved(tmp_path / "mask.nii.gz", (VOXELS > 50).astype(np.uint8), intent_code=code)
    assert read_volume(path, "label").array.sum() == 9


@pytest.mark.parametrize(("apart", "refused"), [(1.9, False), (2.1, True)])
def test_qform_and_sform_may_lie_two_millimetres_apart(
    tmp_path: Path, apart: float, refused: bool
) -> None:
    image = nib.Nifti1Image(VOXELS, np.eye(4))
    image.set_sform(np.eye(4), code=1)
    image.set_qform(affine_of((1, 0, 0), (0, 1, 0), (0, 0, 1), origin=(0, apart, 0)), code=1)
    nib.save(image, tmp_path / "ct.nii.gz")
    if refused:
        with pytest.raises(ImageFileError, match=r"2\.1 mm apart, at most 2\.0 mm expected"):
            read_volume(tmp_path / "ct.nii.gz", "HU")
    else:
        assert np.allclose(read_volume(tmp_path / "ct.nii.gz", "HU").grid.affine_ras_mm, np.eye(4))


def test_a_link_that_the_caller_gives_is_followed(tmp_path: Path) -> None:
    write_volume(volume_of(40, STRAIGHT, "HU"), tmp_path / "there.nii.gz")
    (tmp_path / "here.nii.gz").symlink_to("there.nii.gz")
    assert read_volume(tmp_path / "here.nii.gz", "HU").array.max() == 40


CHOICE = LabelChoice("infection", (2, 3), (1, 2, 3))


def test_one_of_several_structures_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path / "mask.nii.gz", VOXELS % 4)
    mask = read_volume(path, "label", label=CHOICE)
    # of 0, 1, 2, 3 in turn, the latter two
    assert mask.array.ravel()[:8].tolist() == [False, False, True, True] * 2


def test_a_structure_that_nobody_named_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "mask.nii.gz", VOXELS % 6)
    says = r"values 4, 5, which its dataset does not name: expected 0 and 1, 2, 3"
    with pytest.raises(ImageFileError, match=says):
        read_volume(path, "label", label=CHOICE)


def test_a_refused_header_is_an_error_and_no_log(
    tmp_path: Path,
) -> None:
    path = patched(saved(tmp_path / "ct.nii"), 254, "<h", 77)  # sform_code
    code = "import sys; from boneviz.nifti import read_volume\nread_volume(sys.argv[1], 'HU')"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    first, last = done.stderr.splitlines()[0], done.stderr.splitlines()[-1]
    assert first.startswith("Traceback")
    assert "sform_code 77 not valid" in last


@pytest.mark.parametrize(("offset", "value"), [(280, 3e38), (280, 2e-4), (292, 1e7), (SLOPE, 3e38)])
def test_numbers_beyond_any_scale_are_refused(tmp_path: Path, offset: int, value: float) -> None:
    path = patched(saved(tmp_path / "ct.nii.gz"), offset, "<f", value)
    with pytest.raises(ImageFileError, match=r"ct\.nii\.gz: "):
        read_volume(path, "HU")


FIELDS = st.lists(st.tuples(st.integers(0, 545), st.integers(0, 255)), min_size=1, max_size=6)


@given(changes=FIELDS, second=st.booleans(), unit=st.sampled_from(("HU", "SUVbw", "label")))
@settings(max_examples=300)
def test_whatever_a_header_says_only_our_errors_come_out(
    tmp_path_factory: pytest.TempPathFactory,
    changes: list[tuple[int, int]],
    second: bool,
    unit: Unit,
) -> None:
    kind = nib.Nifti2Image if second else nib.Nifti1Image
    content = bytearray(kind(VOXELS, np.eye(4)).to_bytes())
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "mutated.nii"
    path.write_bytes(content)
    try:
        assert read_volume(path, unit).array.size <= len(content)
    except ImageFileError as refusal:
        assert str(path) in str(refusal)
