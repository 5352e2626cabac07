"""Slices as pictures: left is left, true to scale, contours on the mask's edge, PET hot.

The case is 40 x 30 x 10 voxels of 1 x 2 x 3 mm, so 40 x 60 x 30 mm, from (0, 0, 0)::

    axial, from below           coronal, from the front      sagittal, from the left
    width 40 (x), height 60     width 40 (x), height 30      width 60 (y), height 30
        A                           S                            S
      R   L                       R   L                        A   P
        P                           I                            I
"""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from small import EXPERT_A, MODEL_A, affine_of, case_on, volume_of

from boneviz.case import Case, Reader
from boneviz.errors import GridError, InputError
from boneviz.palette import LEARNER, ReaderStyle, rgb_of
from boneviz.picture import LETTERS, Display, Plane, counts_range, fused_slice, png_of
from boneviz.volume import Grid, Volume

GRID = Grid.straight((40, 30, 10), (1, 2, 3))
BONE, AIR = 3000, -1000
SIZES: dict[Plane, tuple[int, int]] = {"axial": (60, 40), "coronal": (30, 40), "sagittal": (30, 60)}


def bone_in(x: slice, y: slice, z: slice) -> Case:
    """Return air with one box of bone, so that white pixels are the box."""
    ct = np.full(GRID.shape, AIR, dtype=np.int16)
    ct[x, y, z] = BONE
    return replace(case_on(GRID), ct=Volume(ct, GRID, "HU"))


@pytest.mark.parametrize("plane", SIZES)
def test_a_picture_is_true_to_scale(plane: Plane) -> None:
    picture = fused_slice(case_on(GRID), plane, (20, 30, 15))
    assert picture.shape == (*SIZES[plane], 3)
    assert picture.dtype == np.uint8
    height, width = SIZES[plane]
    double = fused_slice(case_on(GRID), plane, (20, 30, 15), display=Display(mm_per_pixel=0.5))
    assert double.shape == (2 * height, 2 * width, 3)


def white_box(picture: np.ndarray) -> tuple[int, int, int, int]:
    """Return first row, row after the last, first column, column after the last of white."""
    rows, columns = np.nonzero(picture.min(axis=2) > 127)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


@pytest.mark.parametrize(
    ("plane", "box"),
    [
        # x 30..33 of 40 lies on the patient's right: columns 40 - 34 = 6 to 10, counted from the
        # picture's left. y 5..7 of 30 lies at the back: rows (30 - 8) * 2 = 44 to 50.
        # z 7..8 of 10 lies towards the head: rows (10 - 9) * 3 = 3 to 9
        ("axial", (44, 50, 6, 10)),
        ("coronal", (3, 9, 6, 10)),
        # seen with the front on the left: columns 44 to 50 of 60
        ("sagittal", (3, 9, 44, 50)),
    ],
)
def test_right_is_on_the_left_and_the_front_of_a_sagittal_too(
    plane: Plane, box: tuple[int, int, int, int]
) -> None:
    case = bone_in(slice(30, 34), slice(5, 8), slice(7, 9))
    picture = fused_slice(case, plane, GRID.to_mm((31, 6, 7)))
    assert np.abs(np.subtract(white_box(picture), box)).max() <= 1  # one pixel of interpolation


def test_letters_name_the_sides_of_the_picture() -> None:
    # left, right, top, bottom; a bone on that side is white there and dark opposite
    sides = {
        "R": (slice(36, 40), slice(None), slice(None)),
        "L": (slice(0, 4), slice(None), slice(None)),
        "A": (slice(None), slice(27, 30), slice(None)),
        "P": (slice(None), slice(0, 3), slice(None)),
        "S": (slice(None), slice(None), slice(8, 10)),
        "I": (slice(None), slice(None), slice(0, 2)),
    }
    edges = (np.s_[:, 0], np.s_[:, -1], np.s_[0, :], np.s_[-1, :])
    opposite = (np.s_[:, -1], np.s_[:, 0], np.s_[-1, :], np.s_[0, :])
    for plane, letters in LETTERS.items():
        for letter, here, there in zip(letters, edges, opposite, strict=True):
            picture = fused_slice(bone_in(*sides[letter]), plane, (20, 30, 15))
            assert picture[here].mean() > 250, (plane, letter)
            assert picture[there].max() < 5, (plane, letter)


def test_a_position_picks_the_nearest_slice() -> None:
    case = bone_in(slice(None), slice(None), slice(7, 8))  # the slice at z = 21 mm
    assert fused_slice(case, "axial", (0, 0, 22.4)).min() == 255
    assert fused_slice(case, "axial", (0, 0, 22.6)).max() == 0
    top = bone_in(slice(None), slice(None), slice(9, 10))
    assert fused_slice(top, "axial", (0, 0, 500)).min() == 255


@pytest.mark.parametrize(
    ("hu", "grey"),
    # L 400 / W 1800: -500 black, 1300 white, -50 a quarter (63.75), 400 half (127.5, to even 128)
    [(-500, 0), (-50, 64), (400, 128), (1300, 255), (3000, 255)],
)
def test_bone_window_greys(hu: int, grey: int) -> None:
    case = replace(case_on(GRID), ct=volume_of(hu, GRID, "HU"))
    assert np.unique(fused_slice(case, "axial", (20, 30, 15))).tolist() == [grey]


def test_uptake_is_hot_and_cold_tissue_stays_clear() -> None:
    pet = np.zeros(GRID.shape, dtype=np.float32)
    pet[30:36, 20:26, :] = 4
    case = replace(case_on(GRID), ct=volume_of(AIR, GRID, "HU"), pet=Volume(pet, GRID, "SUVbw"))
    picture = fused_slice(case, "axial", (20, 30, 15))
    # SUV 4 of 8: index rint(127.5) = 128 of the scale, (255, 1, 0), at an opacity of 0.6 over black
    assert picture[(30 - 23) * 2, 40 - 33].tolist() == [153, 1, 0]
    assert picture[50, 30].tolist() == [0, 0, 0]
    # uptake saturates white, and without opacity there is none
    hot = replace(case, pet=volume_of(8, GRID, "SUVbw"))
    assert np.unique(fused_slice(hot, "axial", (20, 30, 15))).tolist() == [153]
    bare = fused_slice(hot, "axial", (20, 30, 15), display=Display(opacity=0))
    assert bare.max() == 0


@pytest.mark.parametrize(
    ("suv", "display", "expected"),
    [
        # SUV 3 is a quarter of 2 to 6: index rint(63.75) = 64; hot iron's red there is
        # 255 * (64 / 255) / 0.5 = 128. Covers 0.6 * 2 * 0.25 = 0.3 of the grey 128 (127.5 before
        # rounding): 0.7 * 127.5 + 0.3 * 128 = 127.65, and 0.7 * 127.5 = 89.25
        (3.0, Display(suv_min=2, suv_max=6), (128, 89, 89)),
        (3.0, Display(suv_min=2, suv_max=6, mode="pet"), (128, 0, 0)),
        (3.0, Display(suv_min=2, suv_max=6, mode="pet", opacity=0), (128, 0, 0)),
        (3.0, Display(suv_min=2, suv_max=6, mode="ct", opacity=1), (128, 128, 128)),
        # up to suv_min it is the first colour, from suv_max on the last
        (2.0, Display(suv_min=2, suv_max=6, mode="pet"), (0, 0, 0)),
        (1.0, Display(suv_min=2, suv_max=6, mode="pet", colour_map="viridis"), (0x44, 0x01, 0x54)),
        (9.0, Display(suv_max=8, mode="pet", colour_map="viridis"), (0xFD, 0xE7, 0x25)),
        (9.0, Display(suv_max=8, mode="pet", colour_map="inferno"), (0xFC, 0xFF, 0xA4)),
        (8.0, Display(suv_max=8, mode="pet", colour_map="grey-inverted"), (0, 0, 0)),
    ],
)
def test_mode_range_and_colour_map(
    suv: float, display: Display, expected: tuple[int, int, int]
) -> None:
    # 400 HU is the middle of the bone window
    case = replace(case_on(GRID), ct=volume_of(400, GRID, "HU"), pet=volume_of(suv, GRID, "SUVbw"))
    picture = fused_slice(case, "axial", (20, 30, 15), display=display)
    assert np.unique(picture.reshape(-1, 3), axis=0).tolist() == [list(expected)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "mip"}, "mode 'mip': expected one of ct, pet, fused"),
        ({"colour_map": "jet"}, "colour map 'jet': expected one of hot-iron, inferno, "),
        ({"suv_min": 8}, "SUV range 8 to 8: expected the second number larger"),
        ({"counts": (5, 5)}, "counts 5 to 5: expected the second number larger"),
        ({"width_hu": 0}, "CT window 0 HU wide: expected more than 0"),
    ],
    ids=["mode", "colour map", "SUV", "counts", "window"],
)
def test_a_display_that_cannot_be_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Display(**change)  # type: ignore[arg-type]


MASK_BOX = (slice(10, 30), slice(8, 22), slice(2, 8))


def outlined(reader_style: ReaderStyle, plane: Plane) -> np.ndarray:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[MASK_BOX] = True
    case = case_on(GRID).with_masks({reader_style.reader: Volume(mask, GRID, "label")})
    return fused_slice(case, plane, (20, 30, 15), styles=[reader_style])


#: the mask's edges in pixels: x 10..30, y 8..22 as 60 - 44 to 60 - 16, z 2..8 as 30 - 24 to 30 - 6
EDGES: dict[Plane, tuple[int, int, int, int]] = {
    "axial": (16, 44, 10, 30),
    "coronal": (6, 24, 10, 30),
    "sagittal": (6, 24, 16, 44),
}


@pytest.mark.parametrize("plane", EDGES)
def test_an_experts_contour_is_solid_on_the_masks_edge(plane: Plane) -> None:
    colour = "#3d9bff"
    picture = outlined(ReaderStyle(EXPERT_A, colour, False), plane)
    drawn = (picture == rgb_of(colour)).all(axis=2)
    top, bottom, left, right = EDGES[plane]
    rows, columns = np.nonzero(drawn)
    # two pixels wide: it reaches at most two beyond the edge, whatever side the pen leans to
    assert np.abs(np.subtract((rows.min(), rows.max() + 1), (top, bottom))).max() <= 2
    assert np.abs(np.subtract((columns.min(), columns.max() + 1), (left, right))).max() <= 2
    # without a gap along each edge, corners aside
    middle_rows, middle_columns = slice(top + 3, bottom - 3), slice(left + 3, right - 3)
    for edge in (top, bottom):
        assert drawn[edge - 1 : edge + 1, middle_columns].any(axis=0).all()
    for edge in (left, right):
        assert drawn[middle_rows, edge - 1 : edge + 1].any(axis=1).all()
    # and nowhere 5 px further in
    assert not drawn[top + 5 : bottom - 5, left + 5 : right - 5].any()


def test_a_models_contour_is_dashed_on_the_same_edge() -> None:
    colour = "#fff29e"
    drawn = (outlined(ReaderStyle(MODEL_A, colour, True), "axial") == rgb_of(colour)).all(axis=2)
    left_edge = drawn[19:41, 8:13].any(axis=1)
    # dashes of 5 px with gaps of 4: about 5 of 9 rows, in several runs
    assert 0.35 < left_edge.mean() < 0.8
    assert np.count_nonzero(np.diff(left_edge.astype(int)) == 1) >= 2
    assert not drawn[21:39, 15:25].any()


def test_only_the_asked_readers_are_drawn_the_last_on_top() -> None:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[MASK_BOX] = True
    label = Volume(mask, GRID, "label")
    case = case_on(GRID).with_masks({EXPERT_A: label, MODEL_A: label})
    one, two = ReaderStyle(EXPERT_A, "#ff0000", False), ReaderStyle(MODEL_A, "#00ff00", False)

    def colours(*styles: ReaderStyle) -> set[tuple[int, ...]]:
        picture = fused_slice(case, "axial", (20, 30, 15), styles=styles)
        return set(map(tuple, picture.reshape(-1, 3).tolist())) - {(0, 0, 0)}

    assert colours() == set()
    assert colours(one) == {(255, 0, 0)}
    assert colours(one, two) == {(0, 255, 0)}
    assert colours(two, one) == {(255, 0, 0)}


def test_a_contour_at_the_edge_of_the_scan_is_closed() -> None:
    mask = np.zeros(GRID.shape, dtype=bool)
    mask[:20] = True  # reaches the patient's left edge, the picture's right
    case = case_on(GRID).with_masks({EXPERT_A: Volume(mask, GRID, "label")})
    style = ReaderStyle(EXPERT_A, "#ff0000", False)
    drawn = fused_slice(case, "axial", (20, 30, 15), styles=[style])[..., 0] == 255
    assert drawn[5:55, 38:40].any(axis=1).all()


@pytest.mark.parametrize(
    "case",
    [
        case_on(GRID, pet=Grid.straight((5, 4, 3), (8, 15, 10))),
        case_on(Grid((4, 3, 2), affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 4)))),
        case_on(Grid((40, 30, 10), affine_of((4, 3, 0), (-6, 8, 0), (0, 0, 2)))),
    ],
    ids=["PET on its own grid", "LPS", "oblique"],
)
def test_a_case_that_is_not_harmonised_is_refused(case: Case) -> None:
    with pytest.raises(
        GridError, match=r"patient P01: CT on .* PET on .*; expected one straight RAS"
    ):
        fused_slice(case, "axial", (0, 0, 0))


def test_a_png_holds_the_picture() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 5, 3)).astype(np.uint8)
    content = png_of(picture)
    assert content.startswith(b"\x89PNG")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), picture)


def test_the_largest_dispute_is_gone_to_not_the_middle_between_two() -> None:
    """On voxels of 2 x 3 x 4 mm: slice 1 holds a dispute of 5 x 3 voxels and one of 2 x 2.

    y
    6  . . . . . . . . . . . .
    4  . A A A A A . . . . b b
    3  . A A A A A . . . . b b     the middle of A is voxel (3, 3): 6, 9, 4 mm;
    2  . A A A A A . . . . . .     the mean of all disputed voxels would lie at its right edge
    """
    from boneviz.picture import disputed_mm

    grid = Grid.straight((12, 7, 3), (2, 3, 4))
    one, other = np.zeros((2, *grid.shape), dtype=bool)
    one[1:6, 2:5, 1] = True
    one[10:12, 3:5, 1] = True
    one[0, 0, 0] = True
    masks = {
        Reader("A"): Volume(one, grid, "label"),
        Reader("B"): Volume(other, grid, "label"),
    }
    case = Case("P1", "", Volume(np.zeros(grid.shape), grid, "HU"), _no_uptake(grid), masks)
    assert disputed_mm(case) == (6.0, 9.0, 4.0)


def _no_uptake(grid: Grid) -> Volume:
    return Volume(np.zeros(grid.shape), grid, "SUVbw")


def test_counts_have_a_range_of_their_own() -> None:
    # 12000 voxels: 13 at 50000 are more than the 0.1 % that are left out, 11 are not
    counts = np.full(GRID.shape, 1000.0, dtype=np.float32)
    counts.flat[:13] = 50_000
    assert counts_range(Volume(counts, GRID, "counts")) == (0, 50_000)
    counts.flat[11:13] = 1000
    assert counts_range(Volume(counts, GRID, "counts")) == (0, 1000)
    assert counts_range(volume_of(0, GRID, "counts")) == counts_range(volume_of(-3, GRID, "counts"))
    assert counts_range(volume_of(0, GRID, "counts")) == (0, 1)
    few = np.zeros(GRID.shape, dtype=np.float32)
    few.flat[0] = 7
    assert counts_range(Volume(few, GRID, "counts")) == (0, 7)


@pytest.mark.parametrize(
    ("display", "grey"),
    [
        # all voxels at 1000 counts: the range is 0 to 1000, and an SUV range says nothing
        (Display(mode="pet", colour_map="grey", suv_min=2, suv_max=6), 255),
        # a quarter of 0 to 4000: rint(63.75)
        (Display(mode="pet", colour_map="grey", counts=(0, 4000)), 64),
    ],
)
def test_a_pet_in_counts_is_shown_by_its_range(display: Display, grey: int) -> None:
    case = replace(case_on(GRID), pet=volume_of(1000, GRID, "counts"))
    picture = fused_slice(case, "axial", (20, 30, 15), display=display)
    assert np.unique(picture).tolist() == [grey]


def test_a_thin_line_keeps_its_colour_in_a_picture_of_few() -> None:
    # 4096 colours without green above 0.6, and ten pixels of a learner's line
    red, blue = np.meshgrid(np.arange(64) * 4, np.arange(64) * 4)
    picture = np.stack([red, np.minimum(red, 150), blue], axis=-1).astype(np.uint8)
    line = rgb_of(LEARNER)
    picture[20, 10:20] = line

    def pixels_of_line(**options: Any) -> int:
        stream = io.BytesIO(png_of(picture, colours=16, **options))
        return int((np.asarray(Image.open(stream).convert("RGB")) == line).all(axis=-1).sum())

    assert pixels_of_line() == 0
    assert pixels_of_line(exact=[LEARNER, LEARNER, "#ff8c1a"]) == 10
