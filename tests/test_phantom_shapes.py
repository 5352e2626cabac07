import numpy as np
import pytest

from boneviz.phantom.shapes import (
    Shape,
    Space,
    common,
    cut,
    ellipsoid,
    loft,
    profile,
    sheet,
    smooth_minimum,
    tube,
    union,
)


def at(shape: Shape, *points: tuple[float, float, float]) -> list[float]:
    x, y, z = (np.array(column, np.float32) for column in zip(*points, strict=True))
    return [float(d) for d in shape.distance((x, y, z))]


def test_ball_is_measured_exactly() -> None:
    ball = ellipsoid((1, 2, 3), (4, 4, 4))
    # 10 mm to the right of the centre is 6 mm outside, the centre 4 mm inside
    assert at(ball, (11, 2, 3), (1, 6, 3), (1, 2, 3)) == pytest.approx([6, 0, -4], abs=1e-4)


def test_turned_ellipsoid_has_its_long_axis_where_told() -> None:
    half = np.sqrt(0.5)
    diagonal = np.array([[half, half, 0], [half, -half, 0], [0, 0, 1]])
    cigar = ellipsoid((0, 0, 0), (10, 2, 2), axes=diagonal)
    tip, side = (10 * half, 10 * half, 0.0), (2 * half, -2 * half, 0.0)
    assert at(cigar, tip, side) == pytest.approx([0, 0], abs=1e-3)
    assert cigar.high_mm[0] == pytest.approx(np.hypot(10 * half, 2 * half))


def test_tube_widens_along_its_path() -> None:
    #  r = 1 at x = 0, r = 3 at x = 10, so r = 2 half way; beyond the end the cap is a ball of r = 3
    horn = tube([(0, 0, 0), (10, 0, 0)], [1, 3])
    assert at(horn, (0, 5, 0), (5, 5, 0), (15, 0, 0)) == pytest.approx([4, 3, 2], abs=1e-4)


def test_sheet_follows_its_cross_sections() -> None:
    # a wall along x at y = 0 below and y = 8 above, half a thickness of 2
    wall = sheet({0: [(-50, 0, 2), (50, 0, 2)], 100: [(-50, 8, 2), (50, 8, 2)]})
    assert at(wall, (0, 5, 50), (0, 4, 50)) == pytest.approx([-1, -2], abs=0.05)
    # it ends at z = 100
    assert at(wall, (0, 8, 105)) == pytest.approx([5], abs=0.05)


def test_loft_is_an_ellipse_in_section() -> None:
    trunk = loft({0: (0, 0, 30, 20), 100: (0, 0, 30, 20)})
    assert at(trunk, (30, 0, 50), (0, 20, 50), (0, 25, 50)) == pytest.approx([0, 0, 5], abs=0.3)


def test_smooth_minimum_fillets_a_seam() -> None:
    a, b = np.array([1.0, 0.0], np.float32), np.array([1.0, 9.0], np.float32)
    # at the seam it lowers by a quarter of the blend, further off than the blend not at all
    assert smooth_minimum(a, b, 4.0).tolist() == [0.0, 0.0]
    assert smooth_minimum(a, b, 0.0).tolist() == [1.0, 0.0]


def test_solids_combine() -> None:
    left, right = ellipsoid((-3, 0, 0), (5, 5, 5)), ellipsoid((3, 0, 0), (5, 5, 5))
    origin, far_left = (0.0, 0.0, 0.0), (-7.0, 0.0, 0.0)
    assert at(union(left, right), origin, far_left) == pytest.approx([-2, -1], abs=1e-4)
    assert at(common(left, right), origin, far_left) == pytest.approx([-2, 5], abs=1e-4)
    assert at(cut(left, right), origin, far_left) == pytest.approx([2, -1], abs=1e-4)


def test_shapes_move_mirror_grow_and_tilt_with_their_boxes() -> None:
    ball = ellipsoid((5, 0, 0), (1, 1, 1))
    for changed, centre in (
        (ball.moved((0, 2, 3)), (5, 2, 3)),
        (ball.mirrored(), (-5, 0, 0)),
        # tilted about the x axis by a quarter turn, front down: y = 4 comes to z = -4
        (ellipsoid((0, 4, 0), (1, 1, 1)).tilted(90, (0, 0, 0)), (0, 0, -4)),
    ):
        assert at(changed, centre) == pytest.approx([-1], abs=1e-4)
        middle = (np.array(changed.low_mm) + changed.high_mm) / 2
        assert middle == pytest.approx(np.array(centre), abs=1e-6)
    assert at(ball.grown(2), (5, 0, 0)) == pytest.approx([-3])
    assert ball.grown(2).high_mm == (8, 3, 3)


def test_profile_does_not_overshoot() -> None:
    curve = profile([0, 10, 20], [1, 1, 5])
    values = curve(np.linspace(-5, 25, 61).astype(np.float32))
    assert values.min() == pytest.approx(1) and values.max() == pytest.approx(5)


def test_space_measures_only_near_the_box_and_in_patient_millimetres() -> None:
    # 1 mm voxels from -20 mm; a patient 10 % larger than the phantom's frame
    axis = np.arange(-20, 21, dtype=np.float32)
    points = tuple(np.meshgrid(axis, axis, axis, indexing="ij"))
    to_index = np.hstack([np.eye(3), np.full((3, 1), 20.0)])
    space = Space(points, to_index, slack_mm=0.0, scale=1.1)
    ball = ellipsoid((5, 0, 0), (4, 4, 4))
    found = space.distance(ball, reach_mm=6)
    everywhere = np.minimum(ball.distance(points) * 1.1, 6)
    assert np.allclose(found, everywhere, atol=1e-4)
    assert found[20 + 11, 20, 20] == pytest.approx(2 * 1.1, abs=1e-4)
    i, _, _ = space.block(ball, reach_mm=6)
    assert (i.start, i.stop) == (20 + 1 - 6, 20 + 9 + 6 + 1)
    assert space.block(ellipsoid((90, 0, 0), (4, 4, 4)), reach_mm=6) is None
