"""RTSTRUCT in: contours on the slices they were drawn on, or refused with the numbers.

The source has 6 columns of 2 mm from L -10, 4 rows of 3 mm from P -20, 3 slices of 5 mm from S 30:
centres at L -10, -8 ... 0, P -20, -17, -14, -11, S 30, 35, 40.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from segmade import (
    AXIAL,
    CORONAL,
    OBLIQUE,
    contour_of,
    ct_headers,
    grid_of,
    rt_file,
    sop_uid,
    written,
)

from boneviz.errors import BonevizError, GridError, ImageFileError, InputError
from boneviz.harmonise import to_ras
from boneviz.lps import flipped
from boneviz.rtstruct import RoiName, read_rois, roi_names
from boneviz.sourceseries import SourceSeries
from boneviz.volume import Volume

HEADERS = ct_headers()
SOURCE = SourceSeries.of(HEADERS, grid_of(HEADERS))


def box(x: tuple[float, float], y: tuple[float, float], z: float) -> list[list[float]]:
    """Return the corners of a rectangle in LPS mm."""
    return [[x[0], y[0], z], [x[1], y[0], z], [x[1], y[1], z], [x[0], y[1], z]]


# voxels 1 to 3 by 1 to 2: L -9 to -3, P -18.5 to -12.5
SMALL = ((-9, -3), (-18.5, -12.5))


def read(tmp_path: Path, *contours: Dataset, source: SourceSeries = SOURCE) -> np.ndarray:
    (roi,) = read_rois(written(rt_file({1: contours}), tmp_path / "rt.dcm"), source)
    return roi.volume.array


def test_a_rectangle_holds_the_centres_inside_it(tmp_path: Path) -> None:
    path = written(rt_file({7: [contour_of(box(*SMALL, 35))]}), tmp_path / "rt.dcm")
    (roi,) = read_rois(path, SOURCE)
    expected = np.zeros((6, 4, 3), dtype=bool)
    expected[1:4, 1:3, 1] = True
    np.testing.assert_array_equal(roi.volume.array, expected)
    # drawn along the voxels' faces: 6 x 6 mm on a slice of 5 mm
    assert roi.volume.volume_ml == pytest.approx(0.18)
    assert roi.volume.grid is SOURCE.grid
    assert roi.name == RoiName(7, "<b>region 7", ("CLOSED_PLANAR",))
    assert roi.contours == 1
    assert roi_names(path) == (roi.name,)


def test_two_contours_on_one_slice_and_one_on_another(tmp_path: Path) -> None:
    one, other = box((-11, -9), (-21, -18), 30), box((-1, 1), (-12, -10), 30)
    array = read(tmp_path, *(contour_of(c) for c in (one, other, box(*SMALL, 40))))
    assert np.argwhere(array[:, :, 0]).tolist() == [[0, 0], [5, 3]]
    assert not array[:, :, 1].any()
    assert array[:, :, 2].sum() == 6


def test_a_contour_within_another_is_a_hole_and_a_third_is_solid_again(tmp_path: Path) -> None:
    headers = ct_headers((12, 12, 1), spacing_mm=(1, 1, 5), origin=(0, 0, 0))
    source = SourceSeries.of(headers, grid_of(headers))
    nested = [
        box((low, high), (low, high), 0) for low, high in ((0.5, 9.5), (2.5, 7.5), (4.5, 5.5))
    ]
    array = read(tmp_path, *map(contour_of, nested), source=source)
    # 9 x 9 less 5 x 5 and 1 x 1 again
    assert array.sum() == 81 - 25 + 1
    assert array[5, 5, 0]
    assert not array[3, 3, 0]


def test_a_key_hole_contour_has_a_hole(tmp_path: Path) -> None:
    headers = ct_headers((12, 12, 1), spacing_mm=(1, 1, 5), origin=(0, 0, 0))
    outer, inner = box((0.5, 9.5), (0.5, 9.5), 0), box((2.5, 7.5), (2.5, 7.5), 0)
    # along the outer, in by a channel of no width, around the inner, and out again
    path = [*outer, outer[0], inner[0], *inner[:0:-1], inner[0]]
    array = read(tmp_path, contour_of(path), source=SourceSeries.of(headers, grid_of(headers)))
    assert array.sum() == 81 - 25


def test_crossing_is_refused_unless_the_file_says_xor(tmp_path: Path) -> None:
    # columns 0 to 2 and 2 to 4 of row 0: column 2 is in both
    one, other = box((-11, -5), (-21, -19), 30), box((-7, -1), (-21, -19), 30)
    with pytest.raises(ImageFileError, match="contours 1 and 2 of ROI 1 cross and share 1 pixels"):
        read(tmp_path, contour_of(one), contour_of(other))
    array = read(tmp_path, *(contour_of(c, kind="CLOSEDPLANAR_XOR") for c in (one, other)))
    assert np.argwhere(array)[:, 0].tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE, CORONAL])
@pytest.mark.parametrize("step", [1.0, -1.0])
def test_any_orientation_and_order_of_axes(
    tmp_path: Path, orientation: Sequence[float], step: float
) -> None:
    headers = ct_headers(orientation=orientation, step=step)
    grid = grid_of(headers)
    # around columns 1 to 3, rows 1 to 2 of the second image
    corners = [[0.5, 0.5, 1], [3.5, 0.5, 1], [3.5, 2.5, 1], [0.5, 2.5, 1]]
    points = flipped(grid.to_mm(corners)).tolist()
    ras = to_ras(Volume(np.zeros(grid.shape, dtype=bool), grid, "label")).grid
    contour = contour_of(points, image=sop_uid(1))
    array = read(tmp_path, contour, source=SourceSeries.of(headers[::-1], ras))
    expected = np.zeros(grid.shape, dtype=bool)
    expected[1:4, 1:3, 1] = True
    np.testing.assert_array_equal(array, to_ras(Volume(expected, grid, "label")).array)


# a rim of n pixels is off by about the square root of n / 12 of them: 17, 9 and 6 in units of
# sqrt(12) pixels, of 6283, 594 and 98
@pytest.mark.parametrize(("radius_mm", "within"), [(40.0, 0.003), (12.3, 0.01), (5.0, 0.05)])
def test_volume_of_circles(tmp_path: Path, radius_mm: float, within: float) -> None:
    headers = ct_headers((100, 120, 1), spacing_mm=(1, 0.8, 2.5), origin=(0, 0, 0))
    source = SourceSeries.of(headers, grid_of(headers, spacing_mm=2.5))
    angle = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    x, y = 49.3 + radius_mm * np.cos(angle), 47.1 + radius_mm * np.sin(angle)
    contour = contour_of(np.stack([x, y, 0 * x], axis=1).round(4).tolist())
    (roi,) = read_rois(written(rt_file({1: [contour]}), tmp_path / "rt"), source)
    assert roi.volume.volume_ml == pytest.approx(np.pi * radius_mm**2 * 2.5 / 1000, rel=within)


def test_a_region_without_contours_is_empty(tmp_path: Path) -> None:
    assert not read(tmp_path).any()


BOX = box(*SMALL, 35)


@pytest.mark.parametrize(
    ("contours", "message"),
    [
        ([contour_of([[-8, -17, 35]], kind="POINT")], r"ContourGeometricType .* is POINT, which"),
        ([contour_of(BOX, kind="OPEN_PLANAR")], r"\(3006,0042\) is OPEN_PLANAR, which holds no"),
        ([contour_of(BOX, kind="CANARY")], "is unknown, which holds no volume"),
        ([contour_of(BOX[:2])], "contour 1 of ROI 1: 2 points enclose nothing"),
        ([contour_of(box(*SMALL, 37))], r"lies 2\.00 mm from the nearest slice, at most 0\.1 mm"),
        ([contour_of(box(*SMALL, 45))], r"lies on slice 3\.0 of 0 to 2, outside the grid"),
        ([contour_of([*BOX[:3], [-9, -12.5, 36.5]])], r"span 1\.50 mm across the slices"),
        # L 1 is the outer face of the last column: 1.5 mm beyond it
        ([contour_of(box((-9, 2.5), (-18, -13), 35))], r"reaches 1\.50 mm beyond the slice"),
        ([contour_of(BOX), contour_of(BOX[::-1])], "contours 1 and 2 of ROI 1 are the same"),
        # with a fifth corner on one edge, and moved inwards by a hundredth of a millimetre
        (
            [contour_of(BOX), contour_of([*BOX, [-9, -15, 35]])],
            r"contours 1 and 2 of ROI 1 on slice 1 at z 35 mm differ by less than a voxel",
        ),
        (
            [contour_of(BOX), contour_of(box((-8.99, -3.01), (-18.49, -12.51), 35))],
            r"contours 1 and 2 of ROI 1 on slice 1 at z 35 mm differ by less than a voxel",
        ),
        ([contour_of(box((-7.9, -6.1), (-16, -15), 35))], "no voxel centre lies inside its 1"),
        ([contour_of(BOX, image="1.2.3")], r"names an image that is not among the 3 of the source"),
        ([contour_of(BOX, image=sop_uid(0))], "lies in slice 1, and names the image of slice 0"),
    ],
)
def test_what_cannot_be_known_is_refused(
    tmp_path: Path, contours: list[Dataset], message: str
) -> None:
    with pytest.raises((ImageFileError, GridError), match=message) as raised:
        read(tmp_path, *contours)
    assert str(raised.value).startswith(str(tmp_path / "rt.dcm"))
    assert "CANARY" not in str(raised.value)


def test_every_second_slice_is_refused(tmp_path: Path) -> None:
    headers = ct_headers((6, 4, 5))
    source = SourceSeries.of(headers, grid_of(headers))
    drawn = [contour_of(box(*SMALL, z)) for z in (30, 40, 50)]
    with pytest.raises(GridError, match=r"ROI 1: its contours lie on every 2\. slice, 3 of them"):
        read(tmp_path, *drawn, source=source)
    drawn.append(contour_of(box(*SMALL, 35)))
    assert read(tmp_path, *drawn, source=source).sum() == 4 * 6


def broken(keyword: str, value: object) -> Dataset:
    contour = contour_of(BOX)
    setattr(contour, keyword, value)
    return contour


@pytest.mark.parametrize(
    ("contour", "message"),
    [
        (broken("NumberOfContourPoints", 5), r"ContourData \(3006,0050\) holds 12 numbers .* 15"),
        (broken("NumberOfContourPoints", 2**31 - 1), "is 2147483647, expected 1 to 16777216"),
        (broken("ContourData", None), r"ContourData \(3006,0050\) is missing or empty"),
        (broken("ContourData", [1e30] * 12), "lies on slice"),
    ],
)
def test_broken_contours_are_refused(tmp_path: Path, contour: Dataset, message: str) -> None:
    with pytest.raises((ImageFileError, GridError), match=message):
        read(tmp_path, contour)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (
            rt_file({1: [contour_of(BOX)]}, frame="1.2.3"),
            r"FrameOfReferenceUID \(0020,0052\) that the file names is not the source's",
        ),
        (
            rt_file({1: [contour_of(BOX)]}, frame=None),
            r"ReferencedFrameOfReferenceUID \(3006,0024\) is missing for ROI 1",
        ),
        (
            rt_file({1: [contour_of(BOX)]}, series="1.2.3"),
            r"RTReferencedSeriesSequence \(3006,0014\) names 1 series, none of them the source",
        ),
        (
            rt_file({1: [contour_of(BOX)]}, images=[sop_uid(0), "1.2.3", "1.2.4"]),
            r"ContourImageSequence \(3006,0016\) names 3 images of the series, 2 of them not",
        ),
    ],
)
def test_references_to_something_else_are_refused(
    tmp_path: Path, file: Dataset, message: str
) -> None:
    with pytest.raises(GridError, match=message):
        read_rois(written(file, tmp_path / "rt.dcm"), SOURCE)


def test_a_new_frame_of_reference_is_taken_where_contours_name_the_images(tmp_path: Path) -> None:
    file = rt_file({1: [contour_of(BOX, image=sop_uid(1))]}, frame="1.2.3", series=None)
    path = written(file, tmp_path / "rt.dcm")
    with pytest.raises(GridError, match="ask for same_by='images'"):
        read_rois(path, SOURCE)
    (roi,) = read_rois(path, SOURCE, same_by="images")
    assert roi.volume.array.sum() == 6
    file = rt_file({1: [contour_of(BOX)]}, frame="1.2.3", series=None)
    with pytest.raises(GridError, match=r"ContourImageSequence \(3006,0016\) is missing"):
        read_rois(written(file, path), SOURCE, same_by="images")
    with pytest.raises(InputError, match="same_by 'name': expected one of"):
        read_rois(path, SOURCE, same_by="name")  # type: ignore[arg-type]


def test_some_regions_alone(tmp_path: Path) -> None:
    point = contour_of([[-8, -17, 35]], kind="POINT")
    path = written(rt_file({2: [contour_of(BOX)], 5: [point]}), tmp_path / "rt.dcm")
    assert [name.kinds for name in roi_names(path)] == [("CLOSED_PLANAR",), ("POINT",)]
    assert [roi.name.number for roi in read_rois(path, SOURCE, only=[2])] == [2]
    with pytest.raises(ImageFileError, match="no ROI 3: the file has 2, 5"):
        read_rois(path, SOURCE, only=[3])


def test_damaged_files_raise_nothing_else(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    rng = np.random.default_rng(11)
    file = rt_file({1: [contour_of(BOX, image=sop_uid(1))], 2: [contour_of(box(*SMALL, 30))]})
    whole = written(file, tmp_path / "rt").read_bytes()
    path, refused = tmp_path / "damaged.dcm", 0
    for n in range(300):
        content = bytearray(whole)
        for at in rng.integers(132, len(content), rng.integers(1, 6)):
            content[at] = rng.integers(0, 256)
        path.write_bytes(content[: rng.integers(200, len(content))] if n % 5 == 0 else content)
        try:
            read_rois(path, SOURCE)
        except BonevizError as error:
            refused += 1
            assert "CANARY" not in str(error)
    assert refused > 50
    assert not recwarn.list


@pytest.mark.realdata
def test_rtstructs_of_rt_utils(realdata: Path) -> None:
    folder = realdata / "dicom_seg" / "rt-utils"
    headers = [pydicom.dcmread(folder / f"ct_{n}.dcm", stop_before_pixels=True) for n in (1, 2)]
    source = SourceSeries.of(headers, grid_of(headers, frame=None))
    with pytest.raises(GridError, match="names 5 images of the series, 3 of them not"):
        read_rois(folder / "invalid_reference_rt.dcm", source)
    with pytest.raises(GridError, match=r"contour 1 of ROI 1: .* not among the 2 of the source"):
        read_rois(folder / "non_existent_reference_rt.dcm", source)
    # rt-utils wrote a frame of reference of its own
    with pytest.raises(GridError, match="is not the source's FrameOfReferenceUID"):
        read_rois(folder / "rt.dcm", source)
    (roi,) = read_rois(folder / "rt.dcm", source, same_by="images")
    # a square of 24 mm less one of 15 mm that lacks a corner of 0.5 mm2, pixels of 0.488 mm; the
    # centres inside: columns 152 to 200 squared, less 160 to 190 squared, of which the corner
    # of 1 x 1 mm between (-47, -46) and (-46, -47) cuts off three
    assert roi.volume.array.sum() == 49**2 - 31**2 + 3
    assert roi.volume.volume_ml == pytest.approx((576 - 224.5) * 5 / 1000, rel=0.03)
