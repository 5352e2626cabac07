import importlib
import itertools
import math
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
from cases import SPACING_MM, blob, mask_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from boneviz.elements import corner_bit, element_areas_mm2
from boneviz.errors import GridError, InputError
from boneviz.metrics import Voxels
from boneviz.surface import (
    SurfaceDistances,
    distances_between,
    find_surface,
    require_orthogonal,
)
from boneviz.volume import Grid

CORNER_MM2 = 19 / 8  # one corner of a voxel of 2 x 3 x 5 mm cut off, see cases.py
# an edge along z cut off: a rectangle over half of x and half of y, 5 mm long
EDGE_Z_MM2 = math.hypot(2 / 2, 3 / 2) * 5


@pytest.fixture(scope="module")
def peer() -> Iterator[ModuleType]:
    """Give the package surface-distance, which needs a name that NumPy 2 took away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "Inf", np.inf, raising=False)
        yield importlib.import_module("surface_distance")


def between(
    reference: NDArray[np.bool_],
    candidate: NDArray[np.bool_],
    spacing_mm: tuple[float, ...] = SPACING_MM,
) -> SurfaceDistances:
    surfaces = [
        find_surface(Voxels.of(mask), spacing_mm=spacing_mm) for mask in (reference, candidate)
    ]
    distances = distances_between(*surfaces)
    assert distances is not None
    return distances


@pytest.mark.parametrize(
    ("inside", "area_mm2"),
    [
        # areas as seen along x, y, z: 15, 10, 6 mm2 for a whole face of the cube
        pytest.param([(0, 0, 0)], CORNER_MM2, id="corner"),
        pytest.param([(0, 0, 0), (0, 0, 1)], EDGE_Z_MM2, id="edge along z"),
        pytest.param([(1, 0, 0), (1, 1, 0)], math.hypot(2 / 2, 5 / 2) * 3, id="edge along y"),
        pytest.param([(0, 0, 0), (0, 1, 1)], 2 * CORNER_MM2, id="diagonal of a face"),
        pytest.param([(0, 0, 0), (1, 1, 1)], 2 * CORNER_MM2, id="diagonal of the cube"),
        # half the face, then a trapezium: a corner cut of twice the size (4/8) less one (1/8)
        pytest.param(
            [(1, 1, 1), (1, 0, 1), (1, 1, 0)], 15 / 2 + 3 * CORNER_MM2, id="three of a face"
        ),
        pytest.param([(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)], 15, id="face across x"),
        pytest.param([(0, 1, 0), (0, 1, 1), (1, 1, 0), (1, 1, 1)], 10, id="face across y"),
        pytest.param([(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)], 6, id="face across z"),
        # a corner cut of three times the size (9/8) less its three tips (3/8)
        pytest.param(
            [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)], 6 * CORNER_MM2, id="corner and neighbours"
        ),
        # the middle triangle is seen as 3/8 of each face; ears 1/8 of each, 1/4 of two faces twice
        pytest.param(
            [(1, 0, 0), (1, 1, 0), (1, 1, 1), (0, 1, 1)],
            4 * CORNER_MM2 + math.hypot(10, 6) / 4 + math.hypot(15, 6) / 4,
            id="chain of four",
        ),
        pytest.param([], 0, id="outside"),
        pytest.param(list(itertools.product((0, 1), repeat=3)), 0, id="inside"),
    ],
)
def test_element_areas_by_hand(inside: list[tuple[int, int, int]], area_mm2: float) -> None:
    areas_mm2 = element_areas_mm2(SPACING_MM)
    code = sum(corner_bit(corner) for corner in inside)
    assert areas_mm2[code] == pytest.approx(area_mm2)
    assert areas_mm2[255 - code] == pytest.approx(area_mm2)


def test_element_areas_are_those_of_surface_distance(peer: ModuleType) -> None:
    table = peer.metrics.lookup_tables.create_table_neighbour_code_to_surface_area
    rng = np.random.default_rng(256)
    for spacing_mm in [(1, 1, 1), *rng.uniform(0.3, 6, size=(20, 3))]:
        np.testing.assert_allclose(element_areas_mm2(spacing_mm), table(spacing_mm), rtol=1e-12)


def test_single_voxel() -> None:
    surface = find_surface(Voxels.of(mask_of([(2, 1, 3)])), spacing_mm=SPACING_MM)
    # its eight corners, half a voxel around (2 * 2, 1 * 3, 3 * 5) mm
    corners = itertools.product((3, 5), (1.5, 4.5), (12.5, 17.5))
    assert sorted(map(tuple, surface.position_mm.tolist())) == sorted(corners)
    assert surface.area_mm2.tolist() == pytest.approx([CORNER_MM2] * 8)


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 3, 3), (1, 2, 1)])
def test_a_mask_at_the_edge_of_the_volume_is_closed_there(place: tuple[int, int, int]) -> None:
    surface = find_surface(Voxels.of(mask_of([place])), spacing_mm=SPACING_MM)
    assert surface.area_mm2.sum() == pytest.approx(19)


def test_a_full_volume_is_a_closed_box() -> None:
    # 2 x 2 x 2 voxels: 8 corners, 12 edge elements of 4 per direction, 6 face elements
    surface = find_surface(Voxels.of(np.ones((2, 2, 2), dtype=bool)), spacing_mm=SPACING_MM)
    edges = 4 * (math.hypot(1, 1.5) * 5 + math.hypot(1, 2.5) * 3 + math.hypot(1.5, 2.5) * 2)
    assert len(surface) == 26
    assert surface.area_mm2.sum() == pytest.approx(19 + edges + 2 * (15 + 10 + 6))


def test_identical_masks_are_at_no_distance() -> None:
    mask = blob(np.random.default_rng(1), (7, 8, 9))
    distances = between(mask, mask)
    assert distances.hd_mm == distances.hd95_mm == distances.assd_mm == distances.masd_mm == 0
    assert distances.surface_dice(0) == 1


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_one_voxel_apart_along_each_axis(axis: int) -> None:
    #   reference  +---+            four of the eight corners of either voxel are shared,
    #              | # |            the other four lie one spacing away; all areas are equal
    #   candidate      +---+
    #                  | # |
    step = SPACING_MM[axis]
    moved = [1, 1, 1]
    moved[axis] += 1
    distances = between(mask_of([(1, 1, 1)]), mask_of([(moved[0], moved[1], moved[2])]))
    assert distances.hd_mm == pytest.approx(step)
    assert distances.hd95_mm == pytest.approx(step)
    assert distances.assd_mm == pytest.approx(step / 2)
    assert distances.masd_mm == pytest.approx(step / 2)
    assert distances.surface_dice(step - 0.01) == pytest.approx(0.5)
    assert distances.surface_dice(step) == 1


def test_diagonal_neighbours() -> None:
    # voxels (1, 1, 1) and (2, 2, 1) share the edge between them, two corners at distance 0; the
    # two far corners lie a diagonal of the x-y face away, the other four one step in x or in y
    distances = between(mask_of([(1, 1, 1)]), mask_of([(2, 2, 1)]))
    diagonal = math.hypot(2, 3)
    assert distances.hd_mm == pytest.approx(diagonal)
    assert distances.assd_mm == pytest.approx((2 * 0 + 2 * 2 + 2 * 3 + 2 * diagonal) / 8)


def bar_and_speck(length: int) -> SurfaceDistances:
    r"""Return the distances of a bar from the same bar with a speck beyond its end.

    ::

        z:         0 1 2 3 4 5 6 7 8 9        length 6
        reference  # # # # # # . . . .
        candidate  # # # # # # . . . #
                              | 15 | 20 mm from the bar's end to the speck's corners

    The bar's area is 19 (its eight corners) and 4 edges for each of its length - 1 joints.
    """
    bar = [(1, 1, z) for z in range(length)]
    shape = (3, 3, length + 5)
    return between(mask_of(bar, shape), mask_of([*bar, (1, 1, length + 3)], shape))


def bar_mm2(length: int) -> float:
    return 19 + (length - 1) * 4 * EDGE_Z_MM2


def test_hd95_is_the_larger_directed_percentile_not_the_pooled_one() -> None:
    distances = bar_and_speck(6)
    bar, speck = bar_mm2(6), 19
    # towards the candidate all is 0; back, the speck is 8.7 % of the area, its nearer half
    # reaches from 91.3 to 95.6 %: the 95th percentile is 15. Pooled it would be 4.6 %, and 0
    assert speck / (bar + speck) == pytest.approx(0.087, abs=5e-4)
    assert (bar + speck / 2) / (bar + speck) == pytest.approx(0.956, abs=5e-4)
    assert speck / (2 * bar + speck) < 0.05
    assert distances.hd95_mm == pytest.approx(15)
    assert distances.hd_mm == pytest.approx(20)


def test_assd_pools_and_masd_averages_the_directed_means() -> None:
    distances = bar_and_speck(6)
    far = 19 / 2 * 15 + 19 / 2 * 20  # distance times area of the speck
    assert distances.assd_mm == pytest.approx(far / (2 * bar_mm2(6) + 19))
    assert distances.masd_mm == pytest.approx((0 + far / (bar_mm2(6) + 19)) / 2)
    assert distances.assd_mm != pytest.approx(distances.masd_mm, rel=1e-3)


def test_surface_dice_by_hand() -> None:
    distances = bar_and_speck(6)
    whole = 2 * bar_mm2(6) + 19
    assert distances.surface_dice(14.99) == pytest.approx((whole - 19) / whole)
    assert distances.surface_dice(15) == pytest.approx((whole - 19 / 2) / whole)
    assert distances.surface_dice(20) == 1


def test_a_small_far_speck_leaves_hd95_and_not_hd() -> None:
    distances = bar_and_speck(12)  # the speck is 19 / 434.7, 4.4 % of the candidate's area
    assert 19 / (bar_mm2(12) + 19) < 0.05
    assert distances.hd95_mm == 0
    assert distances.hd_mm == pytest.approx(20)


@pytest.mark.parametrize("area_mm2", [1.0, 0.1, 1 / 3, 0.7, 19 / 8])
@pytest.mark.parametrize("n", [20, 60, 100, 200])
def test_percentile_that_falls_on_a_step_counts_the_nearer(n: int, area_mm2: float) -> None:
    # of n elements of one area, 19 in 20 within 0.1 mm are 95 %, though rounding may differ
    near = n * 19 // 20
    near_far = np.array([0.1] * near + [7.0] * (n - near)), np.full(n, area_mm2)
    none = np.zeros(1), np.ones(1)
    assert SurfaceDistances(*near_far, *none).hd95_mm == 0.1
    assert SurfaceDistances(*none, *near_far).percentile_mm(96) == 7.0


@pytest.mark.parametrize("spacing", [0.1, 0.7, 1.1, 2.3])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_a_tolerance_on_a_lattice_distance_is_within(spacing: float, steps: int) -> None:
    # 3 * 0.1 is not 0.3 in floating point, and must count as such
    tolerance_mm = round(spacing * steps, 10)
    apart = [mask_of([(x, 0, 0)], (9, 1, 1)) for x in (0, steps)]
    distances = between(*apart, spacing_mm=(spacing, 10, 10))
    assert distances.surface_dice(tolerance_mm) == 1
    assert distances.surface_dice(tolerance_mm * 0.999) < 1


@pytest.mark.parametrize("tolerance_mm", [-1, math.nan, math.inf])
def test_impossible_tolerance(tolerance_mm: float) -> None:
    mask = mask_of([(1, 1, 1)])
    with pytest.raises(InputError, match="0 or more"):
        between(mask, mask).surface_dice(tolerance_mm)


def test_no_distance_to_an_empty_mask() -> None:
    empty = find_surface(Voxels.of(mask_of([])), spacing_mm=SPACING_MM)
    one = find_surface(Voxels.of(mask_of([(1, 1, 1)])), spacing_mm=SPACING_MM)
    assert len(empty) == 0
    assert distances_between(empty, one) is None
    assert distances_between(one, empty) is None
    assert distances_between(empty, empty) is None


def test_sheared_grids_are_refused_and_turned_ones_are_not() -> None:
    turn = np.array(
        [[math.cos(0.3), -math.sin(0.3), 0], [math.sin(0.3), math.cos(0.3), 0], [0, 0, 1]]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(SPACING_MM)
    require_orthogonal(Grid((2, 2, 2), affine))
    affine[0, 2] += 5 * math.tan(math.radians(14))  # a gantry tilt
    with pytest.raises(GridError, match="right angles"):
        require_orthogonal(Grid((2, 2, 2), affine))
    sheared = np.diag([*SPACING_MM, 1.0])
    sheared[1, 2] = 5 * math.tan(math.radians(14))
    with pytest.raises(GridError, match=r"76\.00 degrees"):
        require_orthogonal(Grid((2, 2, 2), sheared))


@pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")
def test_distances_are_those_of_surface_distance(peer: ModuleType) -> None:
    rng = np.random.default_rng(60)
    for _ in range(200):
        shape = rng.integers(2, 20, size=3)
        spacing_mm = tuple(rng.uniform(0.4, 5, size=3))
        masks = blob(rng, shape), blob(rng, shape)
        theirs = peer.compute_surface_distances(*masks, spacing_mm)
        ours = between(*masks, spacing_mm=spacing_mm)
        means = peer.compute_average_surface_distance(theirs)
        weights = theirs["surfel_areas_gt"].sum(), theirs["surfel_areas_pred"].sum()
        assert ours.hd_mm == pytest.approx(peer.compute_robust_hausdorff(theirs, 100), abs=1e-6)
        for percent in (50, 95, 99):
            expected = peer.compute_robust_hausdorff(theirs, percent)
            assert ours.percentile_mm(percent) == pytest.approx(expected, abs=1e-6)
        assert ours.assd_mm == pytest.approx(np.average(means, weights=weights), abs=1e-6)
        assert ours.masd_mm == pytest.approx(np.mean(means), abs=1e-6)
        for tolerance_mm in rng.uniform(0, 8, size=3):
            expected = peer.compute_surface_dice_at_tolerance(theirs, tolerance_mm)
            assert ours.surface_dice(tolerance_mm) == pytest.approx(expected, abs=1e-6)


seeds = st.integers(0, 2**32 - 1)
spacings = st.tuples(*[st.floats(0.2, 6)] * 3)


@given(seed=seeds, spacing_mm=spacings)
@settings(max_examples=40, deadline=None)
def test_distances_do_not_depend_on_who_is_reference(
    seed: int, spacing_mm: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(seed)
    masks = blob(rng, (6, 7, 8)), blob(rng, (6, 7, 8))
    there, back = (
        between(*masks, spacing_mm=spacing_mm),
        between(*masks[::-1], spacing_mm=spacing_mm),
    )
    assert there.hd_mm == back.hd_mm
    assert there.hd95_mm == back.hd95_mm
    assert there.assd_mm == pytest.approx(back.assd_mm)
    assert there.masd_mm == pytest.approx(back.masd_mm)
    assert there.surface_dice(2) == pytest.approx(back.surface_dice(2))
    assert there.assd_mm <= there.hd_mm + 1e-9
    assert there.hd95_mm <= there.hd_mm


@given(seed=seeds, tolerances_mm=st.lists(st.floats(0, 30), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_surface_dice_grows_with_tolerance(seed: int, tolerances_mm: list[float]) -> None:
    rng = np.random.default_rng(seed)
    distances = between(blob(rng, (6, 7, 8)), blob(rng, (6, 7, 8)))
    found = [distances.surface_dice(tolerance) for tolerance in sorted(tolerances_mm)]
    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] <= 1 + 1e-12
    assert distances.surface_dice(distances.hd_mm) == pytest.approx(1)


@given(seed=seeds, factor=st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_millimetres_scale_with_spacing(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    masks = blob(rng, (6, 7, 8)), blob(rng, (6, 7, 8))
    small = between(*masks)
    large = between(*masks, spacing_mm=tuple(factor * s for s in SPACING_MM))
    for name in ("hd_mm", "hd95_mm", "assd_mm", "masd_mm"):
        assert getattr(large, name) == pytest.approx(factor * getattr(small, name))
    assert large.surface_dice(3 * factor) == pytest.approx(small.surface_dice(3))


@given(seed=seeds)
@settings(max_examples=30, deadline=None)
def test_hausdorff_distance_keeps_the_triangle_inequality(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (blob(rng, (6, 7, 8)) for _ in range(3))
    assert between(a, c).hd_mm <= between(a, b).hd_mm + between(b, c).hd_mm + 1e-9
