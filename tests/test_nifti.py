"""Volumes, masks and cases from NIfTI: what is written comes back, the rest is refused."""

from __future__ import annotations

import errno
import gzip
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small import (
    EXPERT_A,
    EXPERT_B,
    STRAIGHT,
    affine_of,
    case_on,
    turned_about_z,
    volume_of,
    write_case,
)

from boneviz.errors import GridError, ImageFileError
from boneviz.nifti import (
    read_case,
    read_volume,
    write_volume,
)
from boneviz.volume import Grid, Unit, Volume

OBLIQUE = Grid(
    (5, 4, 3), affine_of((4, 3, 0), (-6, 8, 0), (0, 0, 2), origin=(10.25, -20.5, 30.125))
)


def ramp(low: float, high: float, grid: Grid = STRAIGHT) -> np.ndarray:
    return np.linspace(low, high, 60, dtype=np.float32).reshape(grid.shape)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize(
    ("unit", "array", "step"),
    [
        # whole Hounsfield units, so that a real number is at most half a unit off
        ("HU", ramp(-1024, 3071), 1.0),
        # int16 from the largest value: 23.7 / 32767 = 0.00072 SUVbw
        ("SUVbw", ramp(-0.5, 23.7), 23.7 / 32767),
        ("probability", ramp(0, 1), 1 / 255),
        ("label", ramp(0, 1) > 0.6, 0.0),
    ],
)
def test_what_is_written_comes_back(
    tmp_path: Path, unit: Unit, array: np.ndarray, step: float, suffix: str
) -> None:
    path = tmp_path / f"volume{suffix}"
    write_volume(Volume(array, OBLIQUE, unit), path)
    back = read_volume(path, unit)
    assert back.unit == unit
    assert back.grid.matches(OBLIQUE)
    # float32 holds seven digits, and so does the slope in the header
    half = step / 2 + 1e-6 * np.abs(array).max()
    assert np.abs(back.array.astype(float) - array.astype(float)).max() <= half


def test_whole_hounsfield_units_come_back_exactly(tmp_path: Path) -> None:
    array = np.linspace(-32768, 32767, 60).astype(np.int16).reshape(STRAIGHT.shape)
    write_volume(Volume(array, STRAIGHT, "HU"), tmp_path / "ct.nii.gz")
    back = read_volume(tmp_path / "ct.nii.gz", "HU").array
    assert back.dtype == np.int16
    assert np.array_equal(back, array)


def test_values_are_stored_as_stated(tmp_path: Path) -> None:
    array = np.zeros(STRAIGHT.shape, dtype=np.float32)
    array[:4, 0, 0] = (0, 0.25, 0.999, 1)
    write_volume(Volume(array, STRAIGHT, "probability"), tmp_path / "p.nii.gz")
    stored = nib.load(tmp_path / "p.nii.gz")
    # 0.25 * 255 = 63.75 is kept as 64, 0.999 * 255 = 254.7 as 255
    assert np.asarray(stored.dataobj.get_unscaled())[:4, 0, 0].tolist() == [0, 64, 255, 255]
    assert stored.header.get_data_dtype() == np.uint8
    assert stored.header.get_xyzt_units()[0] == "mm"
    # a certain voxel stays certain: reading gives 1 and nothing above it
    assert read_volume(tmp_path / "p.nii.gz", "probability").array.max() == 1


def test_a_pet_without_uptake_comes_back(tmp_path: Path) -> None:
    write_volume(volume_of(0, STRAIGHT, "SUVbw"), tmp_path / "pet.nii.gz")
    assert not read_volume(tmp_path / "pet.nii.gz", "SUVbw").array.any()


def test_equal_volumes_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for unit, array in (("SUVbw", ramp(0, 9)), ("label", ramp(0, 1) > 0.5)):
        volume = Volume(array, STRAIGHT, unit)  # type: ignore[arg-type]
        write_volume(volume, tmp_path / "one.nii.gz")
        with monkeypatch.context() as later:
            later.setattr("time.time", lambda: 4_000_000_000.0)
            write_volume(volume, tmp_path / "two.nii.gz")
        assert (tmp_path / "one.nii.gz").read_bytes() == (tmp_path / "two.nii.gz").read_bytes()
        # RFC 1952: bytes 4 to 7 of a gzip file are its time
        assert (tmp_path / "one.nii.gz").read_bytes()[4:8] == b"\0\0\0\0"


@pytest.mark.parametrize("degrees", [0, 0.01, 0.074, 0.3, 10, 179.95])
@pytest.mark.parametrize("flip", [1, -1])
def test_a_large_tilted_grid_can_be_read_again(tmp_path: Path, degrees: float, flip: int) -> None:
    # 512 voxels of 0.98 mm: a qform keeps an angle near 180 degrees to about 2e-3 rad only,
    # half a millimetre at the far end
    axes = turned_about_z(degrees, (flip * 0.98, flip * 0.98, 3))
    grid = Grid((512, 2, 2), affine_of(*axes.T, origin=(250, 250, -400)))
    write_volume(volume_of(0, grid, "label"), tmp_path / "mask.nii.gz")
    assert read_volume(tmp_path / "mask.nii.gz", "label").grid.matches(grid)


def test_a_sheared_grid_comes_back(tmp_path: Path) -> None:
    # gantry tilt: a qform cannot say it, the sform does
    grid = Grid((5, 4, 3), affine_of((2, 0, 0), (0, 3, 0), (0, 3, 4)))
    write_volume(volume_of(1, grid, "label"), tmp_path / "mask.nii.gz")
    assert read_volume(tmp_path / "mask.nii.gz", "label").grid.matches(grid)


def test_a_failing_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ct.nii.gz"
    write_volume(volume_of(40, STRAIGHT, "HU"), path)
    old = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_volume(volume_of(50, STRAIGHT, "HU"), path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_mask_may_mark_lesions_with_any_one_value(tmp_path: Path) -> None:
    stored = np.zeros((5, 4, 3), dtype=np.int16)
    stored[1, 2, :] = 7
    save(stored, tmp_path / "mask.nii.gz")
    mask = read_volume(tmp_path / "mask.nii.gz", "label")
    assert mask.array.sum() == 3
    assert mask.array[1, 2].all()


def test_a_slope_in_the_header_is_applied(tmp_path: Path) -> None:
    # a CT stored from 0 upwards: 1064 * 1 - 1024 = 40 HU; 24 * 1 - 1024 = -1000 HU
    stored = np.full((5, 4, 3), 1064, dtype=np.uint16)
    stored[0] = 24
    image = nib.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(1, -1024)
    nib.save(image, tmp_path / "ct.nii.gz")
    array = read_volume(tmp_path / "ct.nii.gz", "HU").array
    assert array[0].max() == -1000
    assert array[1:].min() == array.max() == 40


def save(
    array: np.ndarray, path: Path, *, change: Callable[[nib.Nifti1Image], object] | None = None
) -> None:
    image = nib.Nifti1Image(array, np.eye(4))
    image.header.set_xyzt_units("mm")
    if change is not None:
        change(image)
    nib.save(image, path)


def with_header(path: Path, offset: int, content: bytes) -> None:
    """Overwrite bytes of a plain NIfTI header."""
    whole = bytearray(path.read_bytes())
    whole[offset : offset + len(content)] = content
    path.write_bytes(whole)


VOXELS = np.zeros((5, 4, 3), dtype=np.int16)
RGB = np.zeros((5, 4, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


def missing(_: Path) -> None: ...


def truncated(path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 1000, VOXELS.shape).astype(np.int16)
    save(noise, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - 60])


def cut_short_before_packing(path: Path) -> None:
    save(VOXELS, path)
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-20]))


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(1).bytes(2000))


def packed_garbage(path: Path) -> None:
    path.write_bytes(gzip.compress(b"not an image" * 50))


def empty(path: Path) -> None:
    path.write_bytes(b"")


def a_folder(path: Path) -> None:
    path.mkdir()


def four_d(path: Path) -> None:
    save(np.zeros((5, 4, 3, 2), dtype=np.int16), path)


def two_d(path: Path) -> None:
    save(np.zeros((5, 4), dtype=np.int16), path)


def coloured(path: Path) -> None:
    save(RGB, path)


def complex_numbers(path: Path) -> None:
    save(VOXELS.astype(np.complex64), path)


def not_numbers(path: Path) -> None:
    array = VOXELS.astype(np.float32)
    array[0, 0, :2] = np.nan
    save(array, path)


def in_metres(path: Path) -> None:
    save(VOXELS, path, change=lambda image: image.header.set_xyzt_units("meter"))


def in_nothing_known(path: Path) -> None:
    def change(image: nib.Nifti1Image) -> None:
        image.header["xyzt_units"] = 7

    save(VOXELS, path, change=change)


def without_geometry(path: Path) -> None:
    def change(image: nib.Nifti1Image) -> None:
        image.set_qform(None)
        image.set_sform(None)

    save(VOXELS, path, change=change)


def two_geometries(path: Path) -> None:
    def change(image: nib.Nifti1Image) -> None:
        image.set_sform(affine_of((1, 0, 0), (0, 1, 0), (0, 0, 1), origin=(3, 4, 0)), code=1)
        image.set_qform(np.eye(4), code=1)

    save(VOXELS, path, change=change)


def impossible_turn(path: Path) -> None:
    def change(image: nib.Nifti1Image) -> None:
        image.set_sform(np.eye(4), code=1)
        image.set_qform(np.eye(4), code=1)
        image.header["quatern_b"] = 2

    save(VOXELS, path, change=change)


def flat_geometry(path: Path) -> None:
    def change(image: nib.Nifti1Image) -> None:
        image.set_sform(np.diag([1, 1, 0, 1]), code=1)
        image.set_qform(None)

    save(VOXELS, path, change=change)


def far_too_many_voxels(path: Path) -> None:
    plain = path.with_name("plain.nii")
    save(VOXELS, plain)
    with_header(plain, 40, struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1))
    path.write_bytes(gzip.compress(plain.read_bytes()))


def no_voxels(path: Path) -> None:
    plain = path.with_name("plain.nii")
    save(VOXELS, plain)
    with_header(plain, 40, struct.pack("<8h", 3, 0, 4, 3, 1, 1, 1, 1))
    path.write_bytes(gzip.compress(plain.read_bytes()))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (missing, "no such file; check the path"),
        (truncated, "cannot be read as NIfTI.*damaged or truncated, copy it again"),
        (cut_short_before_packing, "cannot be read as NIfTI.*damaged or truncated"),
        (garbage, "cannot be read as NIfTI"),
        (packed_garbage, "cannot be read as NIfTI"),
        (empty, "cannot be read as NIfTI"),
        (a_folder, "no such file"),
        (four_d, r"4D with shape \(5, 4, 3, 2\), expected one 3D volume"),
        (two_d, r"2D with shape \(5, 4\), expected one 3D volume"),
        (coloured, "voxels are .*, expected one real number each"),
        (complex_numbers, "voxels are complex64, expected one real number each"),
        (not_numbers, "2 voxels of a HU volume are NaN or infinite"),
        (in_metres, "spatial unit meter, expected mm"),
        (in_nothing_known, "ct.nii.gz: "),
        (without_geometry, "neither qform nor sform is set, so left and right are unknown"),
        # 3 mm to the right and 4 mm to the front
        (two_geometries, r"qform and sform place a corner 5\.0 mm apart.*correct the header"),
        (impossible_turn, "ct.nii.gz: "),
        (flat_geometry, "expected three independent axes"),
        (far_too_many_voxels, "cannot be read as NIfTI"),
        (no_voxels, r"\(0, 4, 3\)"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_a_file_that_cannot_be_trusted_is_refused(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    path = tmp_path / "ct.nii.gz"
    make(path)
    with pytest.raises(ImageFileError, match=says) as refusal:
        read_volume(path, "HU")
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    nib.save(nib.AnalyzeImage(VOXELS, np.eye(4)), tmp_path / "ct.img")
    with pytest.raises(ImageFileError, match=r"ct.img: .*expected NIfTI"):
        read_volume(tmp_path / "ct.img", "HU")


def test_geometry_by_qform_alone_is_enough(tmp_path: Path) -> None:
    def change(image: nib.Nifti1Image) -> None:
        image.set_sform(None)
        image.set_qform(OBLIQUE.affine_ras_mm, code=1)

    save(VOXELS, tmp_path / "ct.nii.gz", change=change)
    assert read_volume(tmp_path / "ct.nii.gz", "HU").grid.matches(OBLIQUE)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([0, 1, 2], "a mask with the values 0, 1, 2: expected 0 and one other; save each"),
        ([0.0, 0.25, 1.0], "a mask with the values 0, 0.25, 1"),
        ([0.0, np.nan], "a mask with NaN: expected 0 and 1"),
        (list(range(9)), "a mask with the values 0, 1, 2, 3, 4, 5"),
    ],
)
def test_a_mask_of_several_structures_is_refused(
    tmp_path: Path, values: list[float], says: str
) -> None:
    array = np.zeros((5, 4, 3), dtype=np.float32)
    array.flat[: len(values)] = values
    save(array, tmp_path / "mask.nii.gz")
    with pytest.raises(ImageFileError, match=says):
        read_volume(tmp_path / "mask.nii.gz", "label")


def test_a_suv_map_is_not_a_probability(tmp_path: Path) -> None:
    write_volume(volume_of(8, STRAIGHT, "SUVbw"), tmp_path / "p.nii.gz")
    with pytest.raises(ImageFileError, match="probability volume spans 8 to 8: expected 0 to 1"):
        read_volume(tmp_path / "p.nii.gz", "probability")


def test_a_case_is_read_volume_by_volume(tmp_path: Path) -> None:
    pet = Grid.straight((3, 3, 2), (4, 5, 6), (9, -21, 29))
    masks = {EXPERT_A: volume_of(1, STRAIGHT, "label"), EXPERT_B: volume_of(0, STRAIGHT, "label")}
    ref = write_case(replace(case_on(STRAIGHT, pet, masks), session="S1"), tmp_path)
    case = read_case(ref)
    assert (case.patient_id, case.session) == ("P01", "S1")
    assert case.ct.grid.matches(STRAIGHT)
    assert case.pet.grid.matches(pet)
    assert {reader: mask.array.sum() for reader, mask in case.masks.items()} == {
        EXPERT_A: 60,
        EXPERT_B: 0,
    }
    assert list(read_case(ref, readers=[EXPERT_B]).masks) == [EXPERT_B]
    assert not read_case(ref, readers=[]).masks


def test_masks_of_readers_not_asked_for_are_not_opened(tmp_path: Path) -> None:
    masks = {EXPERT_A: volume_of(1, STRAIGHT, "label"), EXPERT_B: volume_of(1, STRAIGHT, "label")}
    ref = write_case(case_on(STRAIGHT, masks=masks), tmp_path)
    ref.masks[EXPERT_B].unlink()
    assert list(read_case(ref, readers=[EXPERT_A]).masks) == [EXPERT_A]


@pytest.mark.parametrize(
    ("grid", "found"),
    [
        (Grid.straight((4, 4, 3), (2, 3, 4), (10, -20, 30)), "4x4x3"),
        (Grid.straight((5, 4, 3), (2, 3, 4), (12, -20, 30)), r"from \(12.0, -20.0, 30.0\)"),
    ],
)
def test_a_mask_on_another_grid_is_refused(tmp_path: Path, grid: Grid, found: str) -> None:
    ref = write_case(case_on(STRAIGHT, masks={EXPERT_A: volume_of(1, STRAIGHT, "label")}), tmp_path)
    write_volume(volume_of(1, grid, "label"), ref.masks[EXPERT_A])
    with pytest.raises(
        GridError,
        match=f"patient P01: mask of Expert A lies on .*{found}.*expected the CT's grid, 5x4x3"
        ".*nearest neighbour",
    ):
        read_case(ref)


def test_a_damaged_file_names_its_patient(tmp_path: Path) -> None:
    ref = write_case(replace(case_on(STRAIGHT), session="S2"), tmp_path)
    ref.pet.write_bytes(ref.pet.read_bytes()[:50])
    with pytest.raises(ImageFileError, match=r"patient P01_S2: .*pet\.nii\.gz: cannot be read"):
        read_case(ref)
