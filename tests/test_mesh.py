import itertools
import math

import numpy as np
import pytest
from cases import SPACING_MM, blob, mask_of
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from boneviz.cubes import MIDPOINTS, triangles_of_codes
from boneviz.elements import CORNERS, corner_bit
from boneviz.errors import GridError, InputError
from boneviz.mesh import Mesh, find_mesh
from boneviz.meshpair import mesh_distances_between
from boneviz.metrics import Voxels, find_lesions
from boneviz.surface import SurfaceDistances

CORNER_MM2 = 19 / 8  # one corner of a voxel of 2 x 3 x 5 mm cut off, see cases.py
SPACINGS_MM = (SPACING_MM, (1.0, 1.0, 1.0), (0.3, 4.0, 3.0))


def mesh_of(mask: NDArray[np.bool_], spacing_mm: tuple[float, ...] = SPACING_MM) -> Mesh:
    return find_mesh(Voxels.of(mask), spacing_mm=spacing_mm)


def between(
    reference: NDArray[np.bool_],
    candidate: NDArray[np.bool_],
    spacing_mm: tuple[float, ...] = SPACING_MM,
) -> SurfaceDistances:
    distances = mesh_distances_between(
        mesh_of(reference, spacing_mm), mesh_of(candidate, spacing_mm)
    )
    assert distances is not None
    return distances


def volume_mm3(mesh: Mesh) -> float:
    """Return what the mesh encloses: tetrahedra from the origin, those facing it negative."""
    first, second, third = np.moveaxis(mesh.vertex_mm[mesh.triangle], 1, 0)
    return float((first * np.cross(second, third)).sum() / 6)


def to_triangle_mm(point: NDArray[np.float64], corner: NDArray[np.float64]) -> float:
    """Return the distance to one triangle the long way: its inside, its sides, its corners."""
    found = [float(np.linalg.norm(point - c)) for c in corner]
    for a, b in itertools.combinations(corner, 2):
        along = (point - a) @ (b - a) / ((b - a) @ (b - a))
        if 0 < along < 1:
            found.append(float(np.linalg.norm(point - a - along * (b - a))))
    plane = np.stack([corner[1] - corner[0], corner[2] - corner[0]], axis=1)
    part = np.linalg.lstsq(plane, point - corner[0], rcond=None)[0]
    if part.min() > 0 and part.sum() < 1:
        found.append(float(np.linalg.norm(point - corner[0] - plane @ part)))
    return min(found)


def by_brute_force_mm(mesh: Mesh, other: Mesh) -> NDArray[np.float64]:
    """Return each centroid's distance to all triangles of the other mesh, ascending."""
    corners = other.vertex_mm[other.triangle]
    centroids = mesh.vertex_mm[mesh.triangle].mean(axis=1)
    return np.sort([min(to_triangle_mm(point, c) for c in corners) for point in centroids])


# ---- the mesh


def test_a_single_voxel_is_an_octahedron() -> None:
    mesh = mesh_of(mask_of([(1, 2, 1)]))
    # the voxel lies at 2, 6, 5 mm; corners half a spacing of 2, 3, 5 mm from it along each axis
    corners = {(2 + s, 6.0, 5.0) for s in (-1, 1)}
    corners |= {(2.0, 6 + s, 5.0) for s in (-1.5, 1.5)}
    corners |= {(2.0, 6.0, 5 + s) for s in (-2.5, 2.5)}
    assert {tuple(vertex) for vertex in mesh.vertex_mm.tolist()} == corners
    assert mesh.area_mm2 == pytest.approx([CORNER_MM2] * 8)
    assert volume_mm3(mesh) == pytest.approx(4 / 3 * 1 * 1.5 * 2.5)


@pytest.mark.parametrize(
    ("voxels", "area_mm2"),
    [
        # two octahedra drawn out into a tube of four faces; an edge's cut is 5, 3 or 2 mm long
        pytest.param(((1, 1, 1), (1, 1, 2)), 8 * CORNER_MM2 + 4 * math.hypot(1, 1.5) * 5, id="z"),
        pytest.param(((1, 1, 1), (1, 2, 1)), 8 * CORNER_MM2 + 4 * math.hypot(1, 2.5) * 3, id="y"),
        pytest.param(((1, 1, 1), (2, 1, 1)), 8 * CORNER_MM2 + 4 * math.hypot(1.5, 2.5) * 2, id="x"),
    ],
)
def test_area_of_two_voxels(voxels: tuple[tuple[int, int, int], ...], area_mm2: float) -> None:
    assert mesh_of(mask_of(voxels)).area_mm2.sum() == pytest.approx(area_mm2)


def test_every_code_parts_in_from_out() -> None:
    """Corners lie on all the edges from in to out and on no other; their ends are as said."""
    cube = triangles_of_codes()
    ends = [(np.floor(mid), np.ceil(mid)) for mid in MIDPOINTS]
    for code in range(256):
        inside = {corner for corner in CORNERS if code & corner_bit(corner)}
        crossed = {
            e for e, (a, b) in enumerate(ends) if (tuple(a) in inside) != (tuple(b) in inside)
        }
        kinds = slice(5 * code, 5 * code + cube.per_code[code])
        assert set(cube.edge[kinds].ravel().tolist()) == crossed
        for edges, voxel in zip(cube.edge[kinds], cube.inside[kinds].tolist(), strict=True):
            assert tuple(voxel) in inside
            assert np.abs(MIDPOINTS[edges[0]] - voxel).sum() == 0.5


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_a_mesh_is_closed_and_faces_outwards(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mesh = mesh_of(blob(rng, rng.integers(2, 9, 3)))
    sides = np.concatenate([mesh.triangle[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    # every side is gone along as often one way as the other
    assert sorted(map(tuple, sides.tolist())) == sorted(map(tuple, sides[:, ::-1].tolist()))
    assert volume_mm3(mesh) > 0


def test_a_mask_at_the_edge_of_the_volume_is_closed() -> None:
    mask = blob(np.random.default_rng(3), (4, 5, 6))
    assert mask[0].any() and mask[:, -1].any()
    at_edge, inside = mesh_of(mask), mesh_of(np.pad(mask, ((1, 2), (2, 1), (3, 3))))
    # moved by 1, 2 and 3 voxels of 2, 3 and 5 mm
    moved_mm = np.array([2, 6, 15])
    assert at_edge.vertex_mm + moved_mm == pytest.approx(inside.vertex_mm)
    assert at_edge.triangle.tolist() == inside.triangle.tolist()
    assert volume_mm3(mesh_of(np.ones((1, 1, 1), dtype=bool))) == pytest.approx(4 / 3 * 15 / 4)


def test_a_triangle_knows_a_voxel_that_it_bounds() -> None:
    mask = blob(np.random.default_rng(5), (7, 6, 5))
    voxels = Voxels.of(mask)
    mesh = find_mesh(voxels, spacing_mm=SPACING_MM)
    voxel_mm = np.argwhere(mask)[mesh.voxel] * SPACING_MM
    # the triangle's first corner is half a spacing from that voxel along one axis
    away = np.abs(mesh.vertex_mm[mesh.triangle[:, 0]] - voxel_mm) / SPACING_MM
    assert np.sort(away, axis=1) == pytest.approx(np.tile([0, 0, 0.5], (len(mesh), 1)))


def test_lesions_of_a_mesh_are_meshes_of_lesions() -> None:
    mask = np.zeros((9, 8, 12), dtype=bool)
    mask[:4, :4, :5] = blob(np.random.default_rng(1), (4, 4, 5))
    mask[5:, 3:, 6:] = blob(np.random.default_rng(2), (4, 5, 6))
    voxels = Voxels.of(mask)
    lesions = find_lesions(voxels)
    assert len(lesions) > 1
    mesh = find_mesh(voxels, spacing_mm=SPACING_MM)
    for number in range(len(lesions)):
        alone = np.zeros(mask.size, dtype=bool)
        alone[voxels.position[lesions.label == number]] = True
        expected = mesh_of(alone.reshape(mask.shape))
        part = mesh.subset(lesions.label[mesh.voxel] == number)
        assert part.vertex_mm == pytest.approx(expected.vertex_mm)
        assert part.triangle.tolist() == expected.triangle.tolist()
        assert part.area_mm2 == pytest.approx(expected.area_mm2)
        distances = mesh_distances_between(part, expected)
        assert distances is not None and distances.hd_mm < 1e-12


def test_a_subset_takes_whole_cells() -> None:
    mesh = mesh_of(mask_of([(1, 1, 1), (1, 1, 2)]))
    second_of_a_cell = int(np.flatnonzero(mesh.kind % 5 == 1)[0])
    with pytest.raises(InputError, match="of one cell on both sides"):
        mesh.subset(np.arange(len(mesh)) == second_of_a_cell)
    # 8 corners and 4 rectangles of two
    with pytest.raises(InputError, match=r"bool \(3,\): expected bool \(16,\)"):
        mesh.subset(np.ones(3, dtype=bool))


def test_an_empty_mask_has_an_empty_mesh() -> None:
    empty, one = mesh_of(mask_of([])), mesh_of(mask_of([(1, 1, 1)]))
    assert len(empty) == 0
    assert (empty.vertex_mm.shape, empty.triangle.shape) == ((0, 3), (0, 3))
    assert mesh_distances_between(empty, one) is None
    assert mesh_distances_between(one, empty) is None
    assert mesh_distances_between(empty, empty) is None
    nothing = one.subset(np.zeros(len(one), dtype=bool))
    assert len(nothing) == len(nothing.vertex_mm) == 0
    assert mesh_distances_between(one, nothing) is None


# ---- distances


@pytest.mark.parametrize("axis", range(3))
def test_two_single_voxels(axis: int) -> None:
    r"""Octahedra three steps apart: every centroid is nearest to the tip that points at it.

    Along x, with half spacings of 1, 1.5 and 2.5 mm::

          /\              /\          the tip lies at 3 * 2 - 1 = 5 mm, a centroid of the
         /  \            /  \         near side at a third of 1, 1.5 and 2.5 mm, one of the
         \  /            \  /         far side at -1/3 mm
          \/              \/

    The slope of the sides is too small for a point of them to be nearer than the tip.
    """
    step = np.zeros(3, dtype=int)
    step[axis] = 3
    first, second = (1, 1, 1), tuple((np.ones(3, dtype=int) + step).tolist())
    distances = between(mask_of([first], (5, 5, 5)), mask_of([second], (5, 5, 5)))
    half = np.array(SPACING_MM) / 2
    across_mm2 = sum((half[other] / 3) ** 2 for other in range(3) if other != axis)
    near_mm, far_mm = (
        math.sqrt((5 * half[axis] + sign * half[axis] / 3) ** 2 + across_mm2) for sign in (-1, 1)
    )
    if axis == 0:  # 16/3, 1/2 and 5/6 mm: the root of (1024 + 9 + 25) / 36
        assert far_mm == pytest.approx(23 * math.sqrt(2) / 6)
    assert distances.forward_mm == pytest.approx([near_mm] * 4 + [far_mm] * 4)
    assert distances.backward_mm == pytest.approx([near_mm] * 4 + [far_mm] * 4)
    assert distances.hd_mm == pytest.approx(far_mm)
    assert distances.hd95_mm == pytest.approx(far_mm)
    assert distances.assd_mm == pytest.approx((near_mm + far_mm) / 2)
    assert distances.masd_mm == pytest.approx((near_mm + far_mm) / 2)
    assert distances.surface_dice((near_mm + far_mm) / 2) == pytest.approx(0.5)
    assert distances.surface_dice(near_mm - 0.01) == 0


@pytest.mark.parametrize("axis", range(3))
def test_a_slab_one_step_thinner(axis: int) -> None:
    """One face of two slabs is shared, the other one step apart; no rim is farther than that.

    Across the slab, reference left and candidate right::

        . # # # # .     . # # # # .     the upper faces lie at the same height, the lower ones one
        . # # # # .     . . . . . .     step apart, where the rim bends away and comes nearer
    """
    shape = np.full(3, 12)
    shape[axis] = 6
    masks = np.zeros((2, *shape), dtype=bool)
    for mask, start in zip(masks, (1, 2), strict=True):
        np.moveaxis(mask, axis, 0)[start:4] = True
    distances = between(*masks)
    step_mm = SPACING_MM[axis]
    assert distances.hd_mm == pytest.approx(step_mm)
    assert distances.surface_dice(step_mm) == 1
    # what is flat of a face of 12 x 12 voxels: 11 x 11 cells
    face_mm2 = 121 * 30 / step_mm
    apart = distances.forward_mm > step_mm - 1e-9
    assert distances.forward_mm2[apart].sum() == pytest.approx(face_mm2)
    together = distances.forward_mm < 1e-9
    assert distances.forward_mm2[together].sum() > face_mm2


@pytest.mark.parametrize("seed", range(3))
def test_a_mask_and_itself(seed: int) -> None:
    mask = blob(np.random.default_rng(seed), (6, 7, 8))
    distances = between(mask, mask)
    assert distances.hd_mm < 1e-12
    assert distances.assd_mm < 1e-12
    assert distances.surface_dice(0) == 1


def test_meshes_of_two_spacings_are_refused() -> None:
    mask = mask_of([(1, 1, 1)])
    with pytest.raises(GridError, match=r"\(2.0, 3.0, 5.0\) and \(2.0, 3.0, 4.0\) mm"):
        mesh_distances_between(mesh_of(mask), mesh_of(mask, (2, 3, 4)))


@given(st.integers(0, 2**32 - 1), st.sampled_from(SPACINGS_MM))
@settings(max_examples=18, deadline=None)
def test_distances_are_those_to_the_nearest_of_all_triangles(
    seed: int, spacing_mm: tuple[float, float, float]
) -> None:
    """Whether looked up, asked of the tree, or both: masks from overlapping to far apart."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((2, 30, 24, 20), dtype=bool)
    for mask in masks:
        x, y, z = rng.integers(0, (1, 1, 1) if rng.random() < 0.3 else (27, 21, 17))
        mask[x : x + 3, y : y + 3, z : z + 3] = rng.random((3, 3, 3)) < 0.4
        mask[x, y, z] = True
    reference, candidate = (mesh_of(mask, spacing_mm) for mask in masks)
    distances = mesh_distances_between(reference, candidate)
    assert distances is not None
    assert distances.forward_mm == pytest.approx(by_brute_force_mm(reference, candidate), abs=1e-9)
    assert distances.backward_mm == pytest.approx(by_brute_force_mm(candidate, reference), abs=1e-9)


def test_from_inside_a_hollow_ball() -> None:
    """Many corners are about equally near, and the nearest of them is not the nearest point."""
    index = np.indices((21, 19, 17))
    away = np.linalg.norm((index.T - (10, 9, 8)) * (1, 1.1, 1.3), axis=-1).T
    inside = mesh_of(mask_of([(10, 9, 8), (11, 8, 8), (9, 9, 9)], away.shape), (1, 1.1, 1.3))
    around = mesh_of((away > 6) & (away < 8), (1, 1.1, 1.3))
    distances = mesh_distances_between(inside, around)
    assert distances is not None
    assert distances.forward_mm == pytest.approx(by_brute_force_mm(inside, around), abs=1e-9)


def test_voxels_that_are_short_along_one_axis_only() -> None:
    """What is nearest may be many short steps away, while a long step or two leads to the rest."""
    spacing_mm = (0.25, 3.0, 3.0)
    reference = mesh_of(mask_of([(0, 0, 0)], (12, 3, 5)), spacing_mm)
    # ten steps, 2.5 mm, and six steps along x and one along z, 1.5 and 3 mm
    candidate = mesh_of(mask_of([(10, 0, 0), (6, 0, 1)], (12, 3, 5)), spacing_mm)
    distances = mesh_distances_between(reference, candidate)
    assert distances is not None
    assert distances.forward_mm == pytest.approx(by_brute_force_mm(reference, candidate), abs=1e-9)
    # from the far side of z to the flat side x / 0.125 + y / 1.5 + z / 1.5 = 1 of the first, from
    # a third of 0.125, 1.5 and 1.5 mm
    steepness = math.hypot(1 / 0.125, 1 / 1.5, 1 / 1.5)
    assert distances.forward_mm[-1] == pytest.approx(
        ((2.5 + 0.125 / 3) / 0.125 - 1 / 3) / steepness
    )


def test_more_corners_than_the_nearest_four_count() -> None:
    """The nearest point lies on a triangle none of whose corners is among the four nearest."""
    spacing_mm = (0.25, 3.0, 3.0)
    reference = mesh_of(mask_of([(12, 0, 2)], (14, 3, 3)), spacing_mm)
    others = [(0, 1, 1), (11, 2, 2), (12, 0, 0), (12, 2, 2), (13, 0, 0)]
    candidate = mesh_of(mask_of(others, (14, 3, 3)), spacing_mm)
    distances = mesh_distances_between(reference, candidate)
    assert distances is not None
    assert distances.forward_mm == pytest.approx(by_brute_force_mm(reference, candidate), abs=1e-9)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_swapping_turning_and_scaling(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.integers(4, 12, 3)
    one, two = blob(rng, shape), blob(rng, shape)
    distances = between(one, two)
    swapped = between(two, one)
    assert swapped.forward_mm.tolist() == distances.backward_mm.tolist()
    assert swapped.backward_mm2.sum() == pytest.approx(distances.forward_mm2.sum())
    larger = between(one, two, (4.0, 6.0, 10.0))
    assert larger.forward_mm == pytest.approx(2 * distances.forward_mm, abs=1e-9)
    assert larger.hd_mm == pytest.approx(2 * distances.hd_mm, abs=1e-9)
    assert larger.assd_mm == pytest.approx(2 * distances.assd_mm, abs=1e-9)
    assert larger.surface_dice(4) == pytest.approx(distances.surface_dice(2))
    dice = [distances.surface_dice(tolerance) for tolerance in np.linspace(0, 30, 40)]
    assert np.all(np.diff(dice) >= 0)
    assert dice[-1] == 1 or distances.hd_mm > 30


def test_two_hundred_pairs_as_meshmetrics_measures_them() -> None:
    import meshmetrics

    peer = meshmetrics.DistanceMetrics(verbose=False)
    rng = np.random.default_rng(2026)
    for _ in range(25):
        spacing_mm = tuple(rng.uniform(0.5, 5, 3).tolist())
        for _ in range(8):
            shape = rng.integers(6, 17, 3)
            one, two = blob(rng, shape), blob(rng, shape)
            distances = between(one, two, spacing_mm)
            peer.set_input(one, two, spacing_mm)
            # asked for: 0.1 mm of HD and HD95, 0.002 mm of ASSD and MASD, 0.005 of surface Dice
            assert distances.hd_mm == pytest.approx(peer.hd(), abs=1e-9)
            assert distances.hd95_mm == pytest.approx(peer.hd(95), abs=1e-9)
            assert distances.assd_mm == pytest.approx(peer.assd(), abs=1e-9)
            assert distances.masd_mm == pytest.approx(peer.masd(), abs=1e-9)
            for tolerance_mm in (0.5, 1, 2, 3):
                dice = distances.surface_dice(tolerance_mm)
                assert dice == pytest.approx(peer.nsd(tolerance_mm), abs=1e-9)


def test_a_tolerance_that_is_a_distance_counts_as_within() -> None:
    """On a grid of 1 mm many distances are 1 mm, some a last digit more: MeshMetrics parts them."""
    from meshmetrics import DistanceMetrics

    peer = DistanceMetrics(verbose=False)
    rng = np.random.default_rng(11)
    for _ in range(5):
        one, two = blob(rng, (9, 9, 9)), blob(rng, (9, 9, 9))
        peer.set_input(one, two, (1.0, 1.0, 1.0))
        dice = between(one, two, (1.0, 1.0, 1.0)).surface_dice(1)
        assert dice == pytest.approx(peer.nsd(1 + 1e-9), abs=1e-9)
