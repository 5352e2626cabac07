from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dicommade import Edit, Scan, uid, write_ct_series
from pydicom.dataset import Dataset

from boneviz.dicom import find_series, read_grid
from boneviz.errors import GridError


def grid_of(folder: Path) -> object:
    (series,) = find_series(folder)
    return read_grid(series)


def test_the_grid_is_that_of_the_positions(tmp_path: Path) -> None:
    write_ct_series(tmp_path)
    (series,) = find_series(tmp_path)
    grid = read_grid(series)
    # 2 columns 2 mm apart, 3 rows 3 mm apart, 4 slices 4 mm apart (SliceThickness says 1.5)
    assert grid.shape == (2, 3, 4)
    # LPS (-10, -20, 30) is RAS (10, 20, 30); columns grow to the left, rows to the back
    expected = [[-2, 0, 0, 10], [0, -3, 0, 20], [0, 0, 4, 30], [0, 0, 0, 1]]
    np.testing.assert_allclose(grid.affine_ras_mm, expected, atol=1e-9)
    assert grid.frame_of_reference_uid == uid("frame")


def test_oblique_slices_lie_along_their_normal(tmp_path: Path) -> None:
    # rows run (0.8, 0.6, 0), columns to the feet; their cross product is (-0.6, 0.8, 0)
    scan = Scan(row=(0.8, 0.6, 0), column=(0, 0, -1), origin_mm=(1, 2, 3), step_mm=5)
    write_ct_series(tmp_path, scan=scan)
    (series,) = find_series(tmp_path)
    lps = [[1.6, 0, -3, 1], [1.2, 0, 4, 2], [0, -3, 0, 3], [0, 0, 0, 1]]
    expected = np.diag([-1, -1, 1, 1]) @ np.array(lps)
    np.testing.assert_allclose(read_grid(series).affine_ras_mm, expected, atol=1e-9)


def test_neither_names_nor_instance_numbers_order_the_slices(tmp_path: Path) -> None:
    def backwards(n: int, ds: Dataset) -> None:
        ds.InstanceNumber = 10 - n

    paths = write_ct_series(tmp_path, edit=backwards, scan=Scan(step_mm=-4))
    (series,) = find_series(tmp_path)
    grid = read_grid(series)
    # written from 30 down to 18 mm
    np.testing.assert_allclose(grid.affine_ras_mm[2], [0, 0, 4, 18], atol=1e-9)
    assert series.paths == tuple(paths)


def test_positions_with_one_decimal_are_even_enough(tmp_path: Path) -> None:
    # 1.25 mm apart, written as 0, 1.2, 2.5, 3.8: 0.067 mm off 0, 1.267, 2.533, 3.8
    move(tmp_path, (0, 1.2, 2.5, 3.8))
    (series,) = find_series(tmp_path)
    assert read_grid(series).spacing_mm[2] == pytest.approx(3.8 / 3)


def move(folder: Path, along_mm: tuple[float, ...]) -> None:
    def place(n: int, ds: Dataset) -> None:
        ds.ImagePositionPatient = [-10, -20, along_mm[n]]

    write_ct_series(folder, edit=place)


def only(slice_number: int, change: Callable[[Dataset], None]) -> Edit:
    def edit(n: int, ds: Dataset) -> None:
        if n == slice_number:
            change(ds)

    return edit


def tilted(n: int, ds: Dataset) -> None:
    # 3 mm sideways with every 4 mm: 36.9 degrees, as in a triangle of 3, 4 and 5
    ds.ImagePositionPatient = [-10, -20 + 3 * n, 30 + 4 * n]


def sized(ds: Dataset) -> None:
    ds.Rows, ds.Columns = 2, 3


DEFECTS: tuple[tuple[str, Edit, str], ...] = (
    ("tilt", tilted, r"gantry tilt of 36\.9 degrees: .* 9\.00 mm sideways over 12\.00 mm"),
    (
        "sideways",
        only(1, lambda ds: setattr(ds, "ImagePositionPatient", [-8, -20, 34])),
        r"displaced sideways by up to 2\.00 mm",
    ),
    (
        "other orientation",
        only(2, lambda ds: setattr(ds, "ImageOrientationPatient", [0, 1, 0, 0, 0, -1])),
        r"1 of 4 slices have another ImageOrientationPatient \(0020,0037\)",
    ),
    ("other size", only(1, sized), r"slices of 2 sizes \(2x3, 3x2 pixels\)"),
    (
        "other spacing",
        only(3, lambda ds: setattr(ds, "PixelSpacing", [3, 2.5])),
        r"PixelSpacing \(0028,0030\) from 3 x 2 to 3 x 2\.5 mm",
    ),
    (
        "other frame",
        only(0, lambda ds: setattr(ds, "FrameOfReferenceUID", uid("other"))),
        r"2 frames of reference \(FrameOfReferenceUID \(0020,0052\)\)",
    ),
    (
        "no position",
        only(2, lambda ds: ds.pop("ImagePositionPatient")),
        r"ct0002\.dcm: ImagePositionPatient \(0020,0032\) absent",
    ),
    (
        "no place at all",
        only(1, lambda ds: [ds.pop("ImageOrientationPatient"), ds.pop("PixelSpacing")]),
        r"ct0001\.dcm: ImageOrientationPatient \(0020,0037\) and PixelSpacing .* absent",
    ),
    (
        "spacing 0",
        only(1, lambda ds: setattr(ds, "PixelSpacing", [3, 0])),
        r"ct0001\.dcm: PixelSpacing \(0028,0030\) is 3 x 0 mm",
    ),
    (
        "not perpendicular",
        only(1, lambda ds: setattr(ds, "ImageOrientationPatient", [1, 0, 0, 0.6, 0.8, 0])),
        r"length 1\.0000 and 1\.0000 with product 0\.6000",
    ),
)


@pytest.mark.parametrize(("edit", "says"), [d[1:] for d in DEFECTS], ids=[d[0] for d in DEFECTS])
def test_slices_that_make_no_volume_are_refused(tmp_path: Path, edit: Edit, says: str) -> None:
    write_ct_series(tmp_path, edit=edit)
    with pytest.raises(GridError, match=says) as refused:
        grid_of(tmp_path)
    assert str(tmp_path) in str(refused.value)


@pytest.mark.parametrize(
    ("along_mm", "says"),
    [
        ((0, 4, 8, 16), r"1 slice missing: 8\.000 mm between those at 8\.000 and 16\.000 mm"),
        # those at 12 and 16 mm
        ((0, 4, 8, 20), r"2 slices missing: 12\.000 mm between those at 8\.000 and 20\.000"),
        ((0, 4, 4, 8), r"2 slices at one place, 4\.00 mm .* of 4 at 3 places"),
        ((5, 5, 5, 5), r"4 slices at one place, 5\.00 mm .* of 4 at 1 places"),
        # an even lattice has 0, 4, 8, 12
        ((0, 4, 8.5, 12), r"uneven distances of 3\.500 to 4\.500 mm .* 0\.500 mm off .* 0\.100"),
    ],
)
def test_distances_are_given_with_their_numbers(
    tmp_path: Path, along_mm: tuple[float, ...], says: str
) -> None:
    move(tmp_path, along_mm)
    with pytest.raises(GridError, match=says):
        grid_of(tmp_path)


def test_one_slice_alone_has_no_thickness(tmp_path: Path) -> None:
    write_ct_series(tmp_path, np.zeros((1, 3, 2), np.int16))
    with pytest.raises(GridError, match="one slice alone: the distance between slices"):
        grid_of(tmp_path)


def test_a_slanted_pair_of_stacks_is_no_tilt(tmp_path: Path) -> None:
    scan = Scan()
    write_ct_series(tmp_path, scan=replace(scan, step_mm=8))

    def between(_: int, ds: Dataset) -> None:
        x, y, z = ds.ImagePositionPatient
        ds.ImagePositionPatient = [x + 6, y, z + 4]
        ds.SOPInstanceUID = uid("second stack", str(z))

    write_ct_series(tmp_path / "second", scan=replace(scan, step_mm=8), edit=between)
    with pytest.raises(GridError, match=r"displaced sideways by up to 6\.00 mm"):
        grid_of(tmp_path)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gantrytilting", r"gantry tilt of 14\.0 degrees"),
        ("sliceincrement", r"1 slice missing: 10\.000 mm between"),
        ("notavolume", r"4 slices at one place, 61\.50 mm"),
    ],
)
def test_each_real_trap_is_refused_by_its_own_error(realdata: Path, name: str, says: str) -> None:
    with pytest.raises(GridError, match=says):
        grid_of(realdata / "dicom_traps" / name)
