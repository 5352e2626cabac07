"""Polygons as pixels: a pixel is inside where its centre is."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.draw import polygon2mask

from boneviz.contours import crossing_pair, inside, same_pair


def drawn(picture: str) -> np.ndarray:
    """Return rows of ``#`` and ``.`` as a mask."""
    return np.array([[c == "#" for c in row] for row in picture.split()])


def test_a_centre_decides() -> None:
    # corners (row, column) (-0.4, 0.6), (3.4, 0.6), (3.4, 4.78): on row r it spans columns 0.6 to
    # 0.6 + 1.1 (r + 0.4), which are 1.04, 2.14, 3.24 and 4.34
    triangle = np.array([[-0.4, 0.6], [3.4, 0.6], [3.4, 4.78]])
    expected = drawn(".#... .##.. .###. .####")
    np.testing.assert_array_equal(inside(triangle, (4, 5)), expected)


def test_of_two_that_share_an_edge_one_gets_its_centres() -> None:
    # columns 0 to 2 and 2 to 4, with corners on the centres themselves
    left = np.array([[0, 0], [3, 0], [3, 2], [0, 2]], dtype=float)
    right = left + np.array([0, 2])
    one, other = inside(left, (4, 5)), inside(right, (4, 5))
    np.testing.assert_array_equal(one, drawn("##... ##... ##... ....."))
    np.testing.assert_array_equal(other, drawn("..##. ..##. ..##. ....."))


@pytest.mark.parametrize("turned", [False, True])
def test_a_key_hole_is_a_hole_either_way_round(turned: bool) -> None:
    # outer square from -0.5 to 5.5, a channel at row 2.3, inner square from 1.5 to 3.5
    outer = [[2.3, -0.5], [-0.5, -0.5], [-0.5, 5.5], [5.5, 5.5], [5.5, -0.5], [2.3, -0.5]]
    inner = [[2.3, 1.5], [3.5, 1.5], [3.5, 3.5], [1.5, 3.5], [1.5, 1.5], [2.3, 1.5]]
    path = outer + (inner[::-1] if turned else inner)
    mask = inside(np.array(path), (6, 6))
    assert mask.sum() == 36 - 4
    assert not mask[2:4, 2:4].any()


def test_area_of_a_fine_circle() -> None:
    # radius 40 around a point beside the centres: pi r^2 = 5026.5, the rim is 251 pixels long
    angle = np.linspace(0, 2 * np.pi, 500, endpoint=False)
    circle = np.stack([50.3 + 40 * np.cos(angle), 49.6 + 40 * np.sin(angle)], axis=1)
    assert inside(circle, (100, 100)).sum() == pytest.approx(np.pi * 40**2, rel=0.003)


def test_what_lies_outside_is_cut() -> None:
    square = np.array([[-9, -9], [-9, 1.5], [1.5, 1.5], [1.5, -9]], dtype=float)
    np.testing.assert_array_equal(inside(square, (3, 3)), drawn("##. ##. ..."))


@pytest.mark.parametrize("corners", [[], [[0, 0]], [[0, 0], [3, 3]]])
def test_fewer_than_three_corners_enclose_nothing(corners: list[list[float]]) -> None:
    assert not inside(np.array(corners, dtype=float).reshape(-1, 2), (4, 4)).any()


def test_like_skimage_where_no_centre_is_on_an_edge() -> None:
    rng = np.random.default_rng(7)
    for _ in range(40):
        polygon = rng.uniform(-2, 14, size=(rng.integers(3, 9), 2))
        np.testing.assert_array_equal(inside(polygon, (12, 9)), polygon2mask((12, 9), polygon))


def test_crossing_is_told_from_nesting_and_apart() -> None:
    outer, inner = drawn("#### #### ####"), drawn(".... .##. ....")
    apart, across = drawn("#... .... ...."), drawn(".... ..## ....")
    assert crossing_pair([outer, inner]) is None
    assert crossing_pair([inner, apart]) is None
    # inner and across share one pixel of two each
    assert crossing_pair([outer, inner, across]) == (1, 2, 1)


SQUARE = np.array([[2.0, 2], [2, 8], [8, 8], [8, 2]])


@pytest.mark.parametrize(
    ("other", "found"),
    [
        # a fifth corner on an edge; edges through centres moved inwards by 0.01: 36 and 25 pixels
        ([[2, 2], [2, 8], [8, 8], [8, 5], [8, 2]], (0, 1)),
        ([[2.01, 2.01], [2.01, 7.99], [7.99, 7.99], [7.99, 2.01]], (0, 1)),
        # a hole one pixel smaller on one side, 30 of 36; a square of the same size beside it
        ([[2, 3], [2, 8], [8, 8], [8, 3]], None),
        ([[2, 9], [2, 15], [8, 15], [8, 9]], None),
        # within a square, around no centre
        ([[4.2, 4.2], [4.2, 4.8], [4.8, 4.8], [4.8, 4.2]], None),
    ],
)
def test_one_outline_drawn_twice_is_told_from_a_hole(
    other: list[list[float]], found: tuple[int, int] | None
) -> None:
    polygons = [SQUARE, np.array(other, dtype=float)]
    assert same_pair(polygons, [inside(p, (12, 18)) for p in polygons]) == found
