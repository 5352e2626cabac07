"""Parts of two outlines: kinds, sizes and places, worked by hand on 2 x 3 x 5 mm."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from cases import (
    EXPERT_A,
    EXPERT_B,
    MODEL_A,
    SPACING_MM,
    VOXEL_ML,
    Index,
    blob,
    case_of,
    mask_of,
    prediction_of,
)
from numpy.typing import NDArray
from scipy import ndimage
from small import affine_of, turned_about_z

from boneviz.case import Case
from boneviz.cohort import Cohort
from boneviz.errors import GridError, InputError
from boneviz.readings import read_readings
from boneviz.regions import Region, regions, regions_table, worst_region
from boneviz.score import score_case
from boneviz.volume import Grid, Volume

SHAPE = (14, 6, 6)
TOUCHING = np.ones((3, 3, 3))
SAMPLES = Path(__file__).parents[1] / "data_samples" / "cohort"


def row_of(*x: int) -> tuple[Index, ...]:
    """Return the voxels of these x at y = z = 1, 2 mm apart."""
    return tuple((i, 1, 1) for i in x)


def read_by(
    a: Sequence[Index],
    b: Sequence[Index],
    *,
    shape: Sequence[int] = SHAPE,
    hu: NDArray[Any] | None = None,
    suv: NDArray[Any] | None = None,
    grid: Grid | None = None,
) -> Case:
    """Return a case that A and B outline, in a CT of 0 HU and a PET of 0 unless given."""
    case = case_of({EXPERT_A: mask_of(a, shape), EXPERT_B: mask_of(b, shape)}, grid=grid)
    if hu is not None:
        case = replace(case, ct=Volume(hu, case.ct.grid, "HU"))
    if suv is not None:
        case = replace(case, pet=Volume(suv, case.ct.grid, "SUVbw"))
    return case


def a_b(case: Case, **settings: Any) -> tuple[Region, ...]:
    return regions(case, "Expert A", "Expert B", **settings)


@dataclass(frozen=True)
class KindCase:
    """Outlines of A and B, and the kind, reach and volume beyond the rim of A's own part."""

    name: str
    a: tuple[Index, ...]
    b: tuple[Index, ...]
    rim_mm: float
    kind: str
    reach_mm: float
    beyond_rim_ml: float


KINDS = (
    # B ends at x = 1, A at x = 3: 2 and 4 mm on
    KindCase("rim", row_of(0, 1, 2, 3), row_of(0, 1), 5, "boundary", 4, 0),
    # A ends at x = 5, 8 mm on
    KindCase("rim at the limit", row_of(*range(6)), row_of(0, 1), 8, "boundary", 8, 0),
    # 10 mm on lies one voxel
    KindCase("one voxel beyond", row_of(*range(7)), row_of(0, 1), 8, "extension", 10, VOXEL_ML),
    # 2, 4, 6, 8, 10 mm: two of five beyond 6.2 mm
    KindCase(
        "two voxels beyond", row_of(*range(7)), row_of(0, 1), 6.2, "extension", 10, 2 * VOXEL_ML
    ),
    # one voxel further in z is 5 mm: the rim is never thinner than a voxel
    KindCase("rim of a voxel", ((1, 1, 1), (1, 1, 2)), ((1, 1, 1),), 1, "boundary", 5, 0),
    # two voxels in z are 10 mm
    KindCase(
        "two slices",
        ((1, 1, 1), (1, 1, 2), (1, 1, 3)),
        ((1, 1, 1),),
        1,
        "extension",
        10,
        VOXEL_ML,
    ),
    # side by side, sharing nothing, is touching; 2 mm apart
    KindCase("abutting", row_of(2), row_of(0, 1), 5, "boundary", 2, 0),
    # corner to corner: sqrt(2^2 + 3^2 + 5^2) = sqrt(38) mm = 6.16 mm, the thinnest rim there is
    KindCase("at a corner", ((1, 1, 1),), ((2, 2, 2),), 5, "boundary", math.sqrt(38), 0),
    # one empty voxel between: 4 mm, within the rim, and yet a lesion of its own
    KindCase("a gap of one voxel", row_of(3), row_of(0, 1), 5, "extra lesion", 4, 0),
    # x = 5, 6 are 8 and 10 mm from x = 1
    KindCase("apart", row_of(5, 6), row_of(0, 1), 5, "extra lesion", 10, 2 * VOXEL_ML),
    # nothing to be far from: all of it lies beyond
    KindCase("alone", row_of(5, 6), (), 5, "extra lesion", math.nan, 2 * VOXEL_ML),
)


@pytest.mark.parametrize("case", KINDS, ids=lambda case: case.name)
def test_kind_reach_and_what_lies_beyond_the_rim(case: KindCase) -> None:
    found = a_b(read_by(case.a, case.b), rim_mm=case.rim_mm)
    (own,) = (region for region in found if region.readers == ("Expert A",))
    n_own = len(set(case.a) - set(case.b))
    assert own.kind == case.kind
    assert own.reach_mm == pytest.approx(case.reach_mm, nan_ok=True)
    assert own.beyond_rim_ml == pytest.approx(case.beyond_rim_ml)
    assert (own.n_voxels, own.volume_ml) == (n_own, pytest.approx(n_own * VOXEL_ML))
    assert own.rim_mm == pytest.approx(max(case.rim_mm, math.sqrt(38)))  # a voxel's diagonal
    assert own.tissue == ("soft tissue" if case.kind == "extension" else "")


def test_a_distance_at_the_limit_is_within_whatever_rounding_says() -> None:
    assert 3 * 1.1 > 3.3  # in floating point: three voxels of 1.1 mm
    grid = Grid.straight(SHAPE, (1.1, 1.1, 1.1))
    case = read_by(row_of(0, 1, 2, 3), row_of(0), grid=grid)
    own = a_b(case, rim_mm=3.3)[0]
    assert own.reach_mm == pytest.approx(3.3)
    assert own.kind == "boundary"


def test_an_abutting_outline_is_no_extra_lesion_here_though_score_counts_it_as_one() -> None:
    case = read_by(row_of(2), row_of(0, 1))
    (scores,) = score_case(case)
    assert (scores.missed_lesions, scores.extra_lesions) == (1, 1)
    assert [(region.readers, region.kind) for region in a_b(case)] == [
        (("Expert B",), "boundary"),
        (("Expert A",), "boundary"),
    ]


def test_size_and_place_of_every_part_in_order() -> None:
    # x: 0 1 2 3 4 5 6 7 8       A  0-3 and 6-8
    #    A A A A . . A A A       B  2-4
    #    . . B B B . . . .       x = 5 is empty: 6-8 touches nothing of B's
    (extra, left, right, shared) = a_b(read_by(row_of(0, 1, 2, 3, 6, 7, 8), row_of(2, 3, 4)))
    assert [r.number for r in (extra, left, right, shared)] == [1, 2, 3, 4]
    assert [r.kind for r in (extra, left, right, shared)] == [
        "extra lesion",
        "boundary",
        "boundary",
        "shared",
    ]
    assert right.readers == ("Expert B",)
    assert shared.readers == ("Expert A", "Expert B")
    # voxels 6, 7, 8: centres 12, 14, 16 mm, faces from 11 to 17; y = 1 from 1.5 to 4.5; z = 1
    # from 2.5 to 7.5
    assert extra.centroid_mm == pytest.approx((14, 3, 5))
    assert extra.box_mm[0] == pytest.approx((11, 1.5, 2.5))
    assert extra.box_mm[1] == pytest.approx((17, 4.5, 7.5))
    # from 6, 7, 8 to 4: 4, 6, 8 mm, so one beyond the diagonal of 6.2 mm
    assert (extra.reach_mm, extra.beyond_rim_ml) == (8, pytest.approx(VOXEL_ML))
    # voxels 2, 3: centres 4 and 6 mm
    assert shared.centroid_mm == pytest.approx((5, 3, 5))
    assert (shared.reach_mm, shared.beyond_rim_ml) == (0, 0)
    assert (left.n_voxels, right.n_voxels, shared.n_voxels) == (2, 1, 2)


def test_equal_sizes_are_ordered_by_place_and_not_by_reader() -> None:
    # two single voxels, A's at x = 10, B's at x = 0
    found = a_b(read_by(row_of(5, 10), row_of(5, 0)))
    assert [region.readers for region in found[:2]] == [("Expert B",), ("Expert A",)]


def test_place_on_an_lps_grid() -> None:
    # x and y run to the left and back: centres -(2 i) + 10, -(3 j) + 20, 5 k - 30
    grid = Grid(SHAPE, affine_of((-2, 0, 0), (0, -3, 0), (0, 0, 5), origin=(10, 20, -30)))
    extra = a_b(read_by(row_of(6, 7, 8), (), grid=grid))[0]
    assert extra.centroid_mm == pytest.approx((10 - 14, 20 - 3, -30 + 5))
    assert extra.box_mm[0] == pytest.approx((10 - 17, 20 - 4.5, -30 + 2.5))
    assert extra.box_mm[1] == pytest.approx((10 - 11, 20 - 1.5, -30 + 7.5))


def test_place_on_an_oblique_grid() -> None:
    # one voxel at (0, 0, 0), turned 30 degrees about z: half a voxel, 1 x 1.5 mm, reaches
    # 1 cos 30 + 1.5 sin 30 in x, 1 sin 30 + 1.5 cos 30 in y, and 2.5 mm in z
    grid = Grid(SHAPE, affine_of(*turned_about_z(30, SPACING_MM).T, origin=(7, 8, 9)))
    lone = a_b(read_by([(0, 0, 0)], [], grid=grid))[0]
    half = np.array([math.sqrt(3) / 2 + 0.75, 0.5 + 1.5 * math.sqrt(3) / 2, 2.5])
    assert lone.centroid_mm == pytest.approx((7, 8, 9))
    assert lone.box_mm[0] == pytest.approx(np.array([7, 8, 9]) - half)
    assert lone.box_mm[1] == pytest.approx(np.array([7, 8, 9]) + half)


def test_a_place_inside_a_ring_is_one_of_its_voxels() -> None:
    # A draws the whole, B the middle: A's own part is a ring with its centroid in B's
    #   y: 0 1 2      z = 1; voxels of 2 x 3 mm, so (0, 1) and (2, 1) are nearest, at 2 mm,
    #   x0 A A A      and of these two the one further to the left
    #   x1 A B A
    #   x2 A A A
    block = [(x, y, 1) for x in range(3) for y in range(3)]
    ring = a_b(read_by(block, [(1, 1, 1)]))[0]
    assert ring.n_voxels == 8
    assert ring.centroid_mm == pytest.approx((2, 3, 5))
    assert ring.inside_mm == pytest.approx((0, 3, 5))
    # the same patient with x and y running to the left and back: the same place
    flipped = in_space(read_by(block, [(1, 1, 1)]), (0, 1, 2), (-1, -1, 1))
    assert a_b(flipped)[0].inside_mm == pytest.approx((0, 3, 5))
    row = ring.as_row()
    assert (row["inside_x_mm"], row["inside_y_mm"], row["inside_z_mm"]) == ring.inside_mm


def test_the_worst_region_is_the_largest_that_one_reader_alone_outlines() -> None:
    # shared 0-3; A alone at 6-8, B alone at 10-11
    found = a_b(read_by(row_of(0, 1, 2, 3, 6, 7, 8), row_of(0, 1, 2, 3, 10, 11)))
    assert [(r.kind, r.n_voxels) for r in found] == [
        ("extra lesion", 3),
        ("extra lesion", 2),
        ("shared", 4),
    ]
    assert worst_region(reversed(found)) == found[0]
    assert worst_region(a_b(read_by(row_of(1), row_of(1)))) is None
    assert worst_region(()) is None


def test_an_extension_says_into_what_in_words() -> None:
    reach = a_b(read_by(row_of(*range(7)), row_of(0, 1)))[0]
    assert reach.kind_in_words == "extension into soft tissue"
    assert replace(reach, tissue="bone").kind_in_words == "extension along bone"
    assert replace(reach, kind="boundary", tissue="").kind_in_words == "boundary"


def in_space(case: Case, order: Sequence[int], signs: Sequence[int]) -> Case:
    """Return the same case with the axes of its arrays in another order and direction."""
    turn = np.array(list(zip(order, signs, strict=True)), dtype=float)

    def turned(volume: Volume) -> Volume:
        array = nib.orientations.apply_orientation(volume.array, turn)
        back = nib.orientations.inv_ornt_aff(turn, volume.grid.shape)
        return Volume(array, Grid(array.shape, volume.grid.affine_ras_mm @ back), volume.unit)

    masks = {reader: turned(mask) for reader, mask in case.masks.items()}
    return replace(case, ct=turned(case.ct), pet=turned(case.pet), masks=masks)


def test_the_same_regions_in_all_48_orders_of_the_axes() -> None:
    rng = np.random.default_rng(5)
    shape = (17, 14, 11)
    hu = np.full(shape, 40.0)
    hu[9:, 3:10, 2:9] = 400  # 8 x 7 x 7 voxels of bone, 11.8 mL
    case = replace(
        case_of({EXPERT_A: blob(rng, shape), EXPERT_B: blob(rng, shape)}),
        ct=Volume(hu + rng.normal(0, 5, shape), Grid.straight(shape, SPACING_MM), "HU"),
        pet=Volume(rng.uniform(1, 9, shape), Grid.straight(shape, SPACING_MM), "SUVbw"),
    )
    expected = regions_table(a_b(case))
    assert set(expected["kind"]) >= {"shared", "boundary", "extension"}
    numbers = expected.select_dtypes("number").columns
    words = [name for name in expected if name not in numbers]
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turned = in_space(case, order, signs)
            found = regions_table(a_b(turned))
            assert found[words].equals(expected[words]), (order, signs)
            np.testing.assert_allclose(found[numbers], expected[numbers], rtol=1e-9, atol=1e-9)


def test_what_pet_and_ct_show_in_a_part() -> None:
    hu, suv = np.zeros(SHAPE), np.ones(SHAPE)
    hu[6, 1, 1], hu[7, 1, 1] = 40, 70
    suv[6, 1, 1], suv[7, 1, 1], suv[8, 1, 1] = 3, 8, 99  # the last lies beside it
    own = a_b(read_by(row_of(6, 7), row_of(0), hu=hu, suv=suv))[0]
    assert own.readers == ("Expert A",)
    assert (own.suv_max, own.suv_mean, own.hu_mean) == (8, 5.5, 55)


def test_outside_the_pets_field_of_view_there_is_no_suv() -> None:
    # the PET holds the first 5 of 14 columns: the part at x = 10 lies outside
    pet = Volume(np.full((5, 6, 6), 4.0), Grid.straight((5, 6, 6), SPACING_MM), "SUVbw")
    case = replace(read_by(row_of(1, 10), row_of(1)), pet=pet)
    lone, shared = a_b(case)
    assert math.isnan(lone.suv_max)
    assert math.isnan(lone.suv_mean)
    assert lone.hu_mean == 0
    assert shared.suv_max == pytest.approx(4)


LONG = (50, 6, 6)  # 100 mm long


def beside_bone(first_x: int) -> NDArray[np.float64]:
    """Return 0 HU, and bone of 400 HU from that x on in all 6 x 6 rows."""
    hu = np.zeros(LONG)
    hu[first_x:] = 400
    return hu


@pytest.mark.parametrize(
    ("last_x", "tissue", "in_bone", "to_bone_mm"),
    [
        # bone from x = 10 on, B at x = 4, 5; beyond 6.2 mm from x = 5 lies x = 9 and on
        (9, "soft tissue", 0, 2),  # 9, and bone is one voxel further
        (10, "soft tissue", 1, 0),  # 9 | 10: half is not most
        (11, "bone", 2, 0),  # 9 | 10, 11
    ],
)
def test_an_extension_into_soft_tissue_or_along_bone(
    last_x: int, tissue: str, in_bone: int, to_bone_mm: float
) -> None:
    outlined = row_of(*range(4, last_x + 1))
    own = a_b(read_by(outlined, row_of(4, 5), shape=LONG, hu=beside_bone(10)))[0]
    assert (own.kind, own.tissue) == ("extension", tissue)
    assert own.bone_share == pytest.approx(in_bone / (last_x - 5))
    assert own.distance_to_bone_mm == to_bone_mm


@pytest.mark.parametrize(
    ("x", "expected_mm"),
    [(31, 0), (29, 2), (5, 50), (4, math.nan)],
    ids=["in bone", "one voxel", "50 mm", "52 mm: not searched"],
)
def test_distance_to_bone(x: int, expected_mm: float) -> None:
    # bone from x = 30 on
    lone = a_b(read_by(row_of(x), (), shape=LONG, hu=beside_bone(30)))[0]
    assert lone.distance_to_bone_mm == pytest.approx(expected_mm, nan_ok=True)


def test_distance_to_bone_is_that_of_the_nearest_voxel_in_mm() -> None:
    # 4 x 4 x 4 voxels of bone, 1.92 mL, from (4, 4, 4) on; from (1, 2, 3): 6, 6 and 5 mm, so
    # sqrt(36 + 36 + 25) mm; from (0, 0, 0): 8, 12 and 20 mm
    hu = np.zeros((8, 8, 8))
    hu[4:, 4:, 4:] = 400
    found = a_b(read_by([(0, 0, 0), (1, 1, 1), (1, 2, 2), (1, 2, 3)], [], shape=hu.shape, hu=hu))
    assert found[0].distance_to_bone_mm == pytest.approx(math.sqrt(97))


def test_sizes_places_and_reach_agree_with_scipy_on_random_pairs() -> None:
    shape = (13, 11, 9)
    kinds = set()
    rim_mm = math.sqrt(38) + 1e-9  # the diagonal of a voxel
    for seed in range(120):
        rng = np.random.default_rng(seed)
        a, b = blob(rng, shape), blob(rng, shape)
        found = a_b(case_of({EXPERT_A: a, EXPERT_B: b}))
        assert sum(region.n_voxels for region in found) == (a | b).sum()
        for readers, part, other in (
            (("Expert A",), a & ~b, b),
            (("Expert B",), b & ~a, a),
            (("Expert A", "Expert B"), a & b, a),
        ):
            own = [region for region in found if region.readers == readers]
            assert sum(region.n_voxels for region in own) == part.sum()
            # one region for each component, of its size, place and reach: they are connected
            label, n = ndimage.label(part, TOUCHING)
            away = ndimage.distance_transform_edt(~other, sampling=SPACING_MM)
            touched = ndimage.binary_dilation(other, TOUCHING)
            expected = []
            for number in range(1, n + 1):
                here = label == number
                place = np.argwhere(here).mean(axis=0) * SPACING_MM
                kind = "boundary" if away[here].max() <= rim_mm else "extension"
                if not touched[here].any():
                    kind = "extra lesion"
                if len(readers) == 2:
                    kind = "shared"
                expected.append((kind, int(here.sum()), away[here].max(), *place))
                kinds.add(kind)
            seen = [(r.kind, r.n_voxels, r.reach_mm, *r.centroid_mm) for r in own]
            assert len(seen) == len(expected)
            for mine, theirs in zip(by_place(seen), by_place(expected), strict=True):
                assert mine[0] == theirs[0]
                assert mine[1:] == pytest.approx(theirs[1:])
    assert kinds == {"shared", "boundary", "extension", "extra lesion"}


def by_place(rows: Sequence[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: (row[1], *(round(value, 6) for value in row[3:])))


def test_swapping_the_readers_changes_no_part() -> None:
    rng = np.random.default_rng(11)
    case = case_of({EXPERT_A: blob(rng, SHAPE), EXPERT_B: blob(rng, SHAPE)})
    there, back = a_b(case), regions(case, "Expert B", "Expert A")
    assert len(there) > 2
    assert back == tuple(
        replace(
            region,
            reference="Expert B",
            candidate="Expert A",
            readers=region.readers[::-1],
        )
        for region in there
    )


def test_nothing_outlined_gives_no_regions_and_a_table_without_rows() -> None:
    found = a_b(read_by((), ()))
    assert found == ()
    table = regions_table(found)
    assert len(table) == 0
    assert list(table) == list(regions_table(a_b(read_by(row_of(1), ()))))


def test_one_table_row_per_region_with_units_in_the_names() -> None:
    table = regions_table(a_b(read_by(row_of(1, 2, 8), row_of(1))))
    assert list(table["number"]) == [1, 2, 3]
    assert list(table["readers"]) == ["Expert A", "Expert A", "Expert A + Expert B"]
    # x = 8 is 14 mm from x = 1, so an extra lesion; its faces run from 15 to 17 mm
    far = table[table["kind"] == "extra lesion"].iloc[0]
    assert (far["centroid_x_mm"], far["low_x_mm"], far["high_x_mm"]) == (16, 15, 17)
    assert (far["reach_mm"], far["volume_ml"]) == (14, pytest.approx(VOXEL_ML))


def test_a_models_outline_at_a_threshold_and_whether_it_knew_the_patient() -> None:
    case = read_by(row_of(1), row_of(1))
    probability = np.zeros(SHAPE)
    probability[1, 1, 1], probability[2, 1, 1] = 0.9, 0.4
    strict = prediction_of(MODEL_A, probability)
    (same,) = regions(case, "Expert A", "Model A", [strict])
    assert (same.kind, same.held_out, same.threshold) == ("shared", True, 0.5)
    wider, _ = regions(case, "Expert A", "Model A", [strict], threshold=0.4)
    assert (wider.readers, wider.kind, wider.threshold) == (("Model A",), "boundary", 0.4)
    learned = prediction_of(MODEL_A, probability, trained_on=("017",))
    assert not regions(case, "Expert A", "Model A", [learned])[0].held_out
    assert regions(case, "Expert A", "Expert B", [learned])[0].held_out


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (("Expert A", "Expert C"), r"patient 017: no reader 'Expert C'; expected one of Expert A,"),
        (("Exprt B", "Expert A"), r"did you mean 'Expert B'\?"),
        (("Expert A", "Expert A"), r"patient 017: Expert A against Expert A; .* another: Expert B"),
    ],
)
def test_readers_are_two_of_the_case(pair: tuple[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        regions(read_by(row_of(1), row_of(1)), *pair)


@pytest.mark.parametrize("rim_mm", [0, -1, math.nan, math.inf])
def test_a_rim_is_a_number_above_0(rim_mm: float) -> None:
    with pytest.raises(InputError, match=rf"patient 017: a rim of {rim_mm} mm; expected"):
        a_b(read_by(row_of(1), row_of(1)), rim_mm=rim_mm)


def test_a_sheared_grid_is_refused() -> None:
    grid = Grid(SHAPE, affine_of((2, 0, 0), (0, 3, 0), (0, 1, 5)))
    with pytest.raises(GridError, match="patient 017: grid axes meet at"):
        a_b(read_by(row_of(1), row_of(1), grid=grid))


@pytest.mark.parametrize("patient", ["P002", "P007", "P012"])
def test_planted_disagreements_are_found_again(patient: str) -> None:
    cohort = Cohort.open(SAMPLES)
    found = a_b(read_readings(cohort, cohort[patient]).case)
    plant = json.loads((SAMPLES / patient / "plant.json").read_text())
    (focus,) = (c for c in plant["components"] if c["role"] == "equivocal focus")
    assert focus["included_by"] == ["Expert A"]
    (extra,) = (region for region in found if region.kind == "extra lesion")
    assert extra.readers == ("Expert A",)
    # a hand that varies by 0.6 to 1 mm around a ball of 6 mm radius: 2 mm, and 40 % of 0.8 mL
    assert math.dist(extra.centroid_mm, focus["centroid_mm"]) < 2
    assert extra.volume_ml == pytest.approx(focus["volume_ml"], rel=0.4)
    # all the rest that A alone draws is one reach into soft tissue, and holds more than the rim
    (phlegmon,) = (c for c in plant["components"] if c["role"] == "soft-tissue extension")
    assert found[0].readers == ("Expert A",)
    assert (found[0].kind, found[0].tissue) == ("extension", "soft tissue")
    assert found[0].beyond_rim_ml > 0.8 * phlegmon["volume_ml"]
    low, high = found[0].box_mm
    inside = [a < x < b for a, x, b in zip(low, phlegmon["centroid_mm"], high, strict=True)]
    assert all(inside)
