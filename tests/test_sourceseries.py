"""Images of a series are matched with the planes of a grid, whatever the order of either."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from pydicom.dataset import Dataset
from segmade import AXIAL, CORONAL, OBLIQUE, ct_headers, grid_of, sop_uid

from boneviz.errors import GridError, ImageFileError
from boneviz.harmonise import to_ras
from boneviz.sourceseries import SourceSeries
from boneviz.volume import Grid, Volume


def numbered(grid: Grid) -> Volume:
    """Return a volume of which each voxel holds its own number."""
    return Volume(np.arange(np.prod(grid.shape)).reshape(grid.shape).astype(np.int32), grid, "HU")


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE, CORONAL])
@pytest.mark.parametrize("step", [1.0, -1.0])
def test_frames_are_the_images_in_any_order_of_axes(
    orientation: Sequence[float], step: float
) -> None:
    headers = ct_headers(orientation=orientation, step=step)
    own = numbered(grid_of(headers))
    turned = to_ras(own)
    source = SourceSeries.of([headers[2], headers[0], headers[1]], turned.grid)
    frames = source.frames(turned.array)
    np.testing.assert_array_equal(source.voxels(frames), turned.array)
    # image k holds the voxels [:, :, k] of columns, rows, slices
    for k in range(3):
        place = source.slice_of[sop_uid(k)]
        assert source.headers[place] is headers[k]
        np.testing.assert_array_equal(frames[place], own.array[:, :, k].T)


def but(change: Callable[[list[Dataset]], object]) -> list[Dataset]:
    headers = ct_headers()
    change(headers)
    return headers


def setting(keyword: str, value: object, at: int = 1) -> list[Dataset]:
    return but(lambda headers: setattr(headers[at], keyword, value))


GRID = grid_of(ct_headers())


@pytest.mark.parametrize(
    ("headers", "kind", "message"),
    [
        ([], ImageFileError, "0 images, expected 1"),
        (setting("NumberOfFrames", 7), ImageFileError, r"NumberOfFrames \(0028,0008\) is 7: an"),
        (setting("SeriesInstanceUID", "1.2.3"), ImageFileError, "2 values of SeriesInstanceUID"),
        (setting("FrameOfReferenceUID", ""), ImageFileError, "2 values of FrameOfReferenceUID"),
        (setting("SOPInstanceUID", sop_uid(0)), ImageFileError, "SOPInstanceUID .* comes twice"),
        (but(lambda h: h[1].pop("PixelSpacing")), ImageFileError, "PixelSpacing .* is missing"),
        (but(lambda h: h.pop()), GridError, "2 images for the 3 planes .* 1 planes without"),
        (but(lambda h: h.append(h[0])), GridError, "4 images for the 3 planes"),
        # 2.5 mm of a slice distance of 5: half way
        (
            setting("ImagePositionPatient", [-10, -20, 37.5]),
            GridError,
            r"image 2 .* up to 2\.50 mm beside",
        ),
        (setting("Rows", 3), GridError, r"6 x 3, the grid has 6 x 4"),
        (setting("PixelSpacing", [3.0, 2.1]), GridError, r"image 2 .* up to 0\.50 mm beside"),
        (setting("ImageOrientationPatient", [-1, 0, 0, 0, 1, 0]), GridError, "image 2 of"),
    ],
)
def test_another_series_is_refused(headers: list[Dataset], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        SourceSeries.of(headers, GRID)


def test_another_frame_of_reference_is_refused() -> None:
    grid = Grid(GRID.shape, GRID.affine_ras_mm, "1.2.3.4")
    with pytest.raises(GridError, match=r"FrameOfReferenceUID \(0020,0052\) is not the grid's"):
        SourceSeries.of(ct_headers(), grid)
