import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import boneviz.phantom
from boneviz.errors import InputError
from boneviz.phantom import PLACES, Phantom, PhantomConfig, make_phantom, tiny_phantom
from boneviz.phantom.styles import EXPERT_A, EXPERT_B
from boneviz.volume import Volume

TINY = PhantomConfig(size="tiny")


@cache
def tiny(n: int, style: str = "two-styles") -> Phantom:
    kind, region = PLACES[n]
    config = PhantomConfig(style=style, size="tiny")
    return make_phantom(f"P{n + 1:03d}", kind=kind, region=region, seed=0, config=config)


@cache
def whole(region: str) -> Phantom:
    kind = next(kind for kind, where in PLACES if where == region)
    return make_phantom("whole", kind=kind, region=region, seed=4)


def fingerprint(phantom: Phantom) -> str:
    digest = hashlib.sha256()
    case = phantom.case
    for volume in (case.ct, case.pet, *case.masks.values()):
        digest.update(volume.array.tobytes())
        digest.update(volume.grid.affine_ras_mm.tobytes())
    return digest.hexdigest()


def masks(phantom: Phantom) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    return phantom.case.masks[EXPERT_A].array, phantom.case.masks[EXPERT_B].array


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def voxels_mm(volume: Volume, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    return volume.grid.to_mm(np.argwhere(where))


def value_at(volume: Volume, position_mm: list[float]) -> float | None:
    index = np.rint(volume.grid.to_index(position_mm)).astype(int)
    if (index < 0).any() or (index >= volume.array.shape).any():
        return None
    return float(volume.array[tuple(index)])


def test_public_names() -> None:
    assert boneviz.phantom.__all__ == [
        "PLACES",
        "Phantom",
        "PhantomConfig",
        "Plant",
        "make_cohort",
        "make_phantom",
        "tiny_phantom",
    ]


def test_any_eight_patients_in_a_row_show_every_infection_and_region() -> None:
    kinds = {"osteomyelitis", "fracture-related infection", "spondylodiscitis", "septic arthritis"}
    for start in range(8):
        shown = [PLACES[(start + n) % len(PLACES)] for n in range(8)]
        assert {kind for kind, _ in shown} == kinds
        assert {region for _, region in shown} == {"leg", "pelvis", "spine"}


@pytest.mark.parametrize("n", range(8))
def test_volumes_carry_unit_type_and_grid(n: int) -> None:
    case = tiny(n).case
    assert (case.ct.unit, case.ct.array.dtype) == ("HU", np.int16)
    assert (case.pet.unit, case.pet.array.dtype) == ("SUVbw", np.float32)
    assert not case.pet.grid.matches(case.ct.grid)
    assert case.ct.grid.orientation == "RAS"
    assert all(mask.grid.matches(case.ct.grid) for mask in case.masks.values())
    corners = case.pet.grid.to_index(case.ct.grid.corners_mm())
    assert (corners >= 0).all() and (corners <= np.array(case.pet.array.shape) - 1).all()


@pytest.mark.parametrize("n", range(8))
def test_experts_disagree_as_planted(n: int) -> None:
    a, b = masks(tiny(n))
    voxel_ml = tiny(n).case.ct.grid.voxel_volume_ml
    assert 25 <= np.count_nonzero(a) * voxel_ml <= 160
    assert 0.3 <= np.count_nonzero(b) / np.count_nonzero(a) <= 0.65
    assert 0.45 <= dice(a, b) <= 0.8
    # the specific expert adds next to nothing of his own
    assert np.count_nonzero(b & ~a) <= 0.04 * np.count_nonzero(b)


@pytest.mark.parametrize("n", [0, 2, 3])
def test_null_style_gives_both_experts_the_same_rules(n: int) -> None:
    a, b = masks(tiny(n, "null"))
    # two hands of at most 1 mm each on voxels of 4 mm; two styles stay below 0.8
    assert dice(a, b) > 0.85
    assert (a != b).any()
    # nothing but the second expert's rules changes
    assert (a == masks(tiny(n))[0]).all()
    assert (tiny(n, "null").case.ct.array == tiny(n).case.ct.array).all()
    for component in tiny(n, "null").plant.components:
        assert component["included_by"] == ["Expert A", "Expert B"]


@pytest.mark.parametrize("n", range(8))
def test_the_lesion_lies_on_the_side_that_the_plant_names(n: int) -> None:
    phantom = tiny(n)
    x = voxels_mm(phantom.case.ct, masks(phantom)[1]).mean(axis=0)[0]
    if phantom.plant.region == "spine":
        assert phantom.plant.side == "midline" and abs(x) < 20
    else:
        # RAS+: x grows towards the patient's right
        assert x * {"right": 1, "left": -1}[phantom.plant.side] > 40


def test_both_sides_occur() -> None:
    assert {tiny(n).plant.side for n in range(8)} == {"left", "right", "midline"}


@pytest.mark.parametrize("region", ["leg", "pelvis", "spine"])
def test_who_includes_which_focus(region: str) -> None:
    phantom = whole(region)
    a, b = (phantom.case.masks[reader] for reader in (EXPERT_A, EXPERT_B))
    for component in phantom.plant.components:
        named = component["role"] == "bone core"
        assert component["included_by"] == ["Expert A", "Expert B"][: 2 if named else 1]
    foci = [c for c in phantom.plant.components if c["role"] == "equivocal focus"]
    assert foci
    for focus in foci:
        assert value_at(a, focus["centroid_mm"]) == 1
        assert value_at(b, focus["centroid_mm"]) == 0


@pytest.mark.parametrize("region", ["leg", "pelvis", "spine"])
def test_sterile_foci_are_hot_and_nobodys(region: str) -> None:
    phantom = whole(region)
    assert len(phantom.plant.distractors) == 2
    for sterile in phantom.plant.distractors:
        near = np.linalg.norm(
            voxels_mm(phantom.case.pet, np.ones(phantom.case.pet.array.shape, bool))
            - np.array(sterile["centre_mm"]),
            axis=1,
        )
        assert phantom.case.pet.array.ravel()[near < 9].max() > 1.4
        for mask in phantom.case.masks.values():
            assert value_at(mask, sterile["centre_mm"]) == 0


def test_pelvis_is_the_right_way_round() -> None:
    case = whole("pelvis").case
    a = masks(whole("pelvis"))[0]
    positions = voxels_mm(case.ct, np.ones(case.ct.array.shape, bool)).reshape(*a.shape, 3)
    bladder = voxels_mm(case.pet, case.pet.array > 9).mean(axis=0)
    bone = case.ct.array > 300
    middle = positions[bone].mean(axis=0)
    upper = positions[..., 2] > middle[2] + 30
    sacrum = positions[bone & upper & (np.abs(positions[..., 0] - middle[0]) < 20)].mean(axis=0)
    assert abs(bladder[0] - middle[0]) < 15
    # the bladder lies in front of the sacrum and below it
    assert bladder[1] > sacrum[1] + 50 and bladder[2] < sacrum[2] - 30


def test_toes_point_to_the_front_and_the_foot_is_below() -> None:
    case = whole("leg").case
    inside = voxels_mm(case.ct, case.ct.array > -300)
    low, high = inside[:, 2].min(), inside[:, 2].max()
    foot = inside[inside[:, 2] < low + 40]
    shank = inside[np.abs(inside[:, 2] - (low + high) / 2) < 20]
    assert foot[:, 1].max() > shank[:, 1].max() + 80
    assert foot[:, 1].min() > shank[:, 1].min() - 40


def test_tissues_have_their_hounsfield_units() -> None:
    case = whole("leg").case
    ct = case.ct.array[~masks(whole("leg"))[0]]
    inside = ct[ct > -300]
    fat = inside[(inside > -150) & (inside < -50)]
    muscle = inside[(inside > 20) & (inside < 90)]
    assert np.median(fat) == pytest.approx(-97, abs=8)
    assert np.median(muscle) == pytest.approx(53, abs=8)
    assert np.percentile(inside, 99.8) > 1000
    assert np.median(ct[ct < -900]) == -1000


def test_same_arguments_give_the_same_bytes_on_any_number_of_threads() -> None:
    program = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r});"
        "from test_phantom import fingerprint; from boneviz.phantom import tiny_phantom;"
        "sys.stdout.write(fingerprint(tiny_phantom(3)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "OMP_NUM_THREADS": n, "OPENBLAS_NUM_THREADS": n},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for n in ("1", "4")
    }
    assert found == {fingerprint(tiny_phantom(3))}


def test_seed_and_patient_change_the_patient() -> None:
    def made(patient_id: str, seed: int) -> str:
        kind, region = PLACES[0]
        return fingerprint(
            make_phantom(patient_id, kind=kind, region=region, seed=seed, config=TINY)
        )

    assert len({made("P001", 0), made("P001", 1), made("P002", 0)}) == 3


def test_tiny_phantom_is_tiny_and_has_both_outlines() -> None:
    case = tiny_phantom().case
    assert np.prod(case.ct.array.shape) <= 48 * 40 * 40
    assert case.masks[EXPERT_A].volume_ml > case.masks[EXPERT_B].volume_ml > 5


def test_plant_is_plain_and_says_what_was_made() -> None:
    plant = tiny(1).plant.to_dict()
    assert plant["kind"] == "fracture-related infection"
    assert plant["config"] == {"style": "two-styles", "size": "tiny"}
    assert plant["experts"]["Expert B"]["rules"] == "high-specificity"
    assert plant["experts"]["Expert A"]["volume_ml"] == pytest.approx(
        tiny(1).case.masks[EXPERT_A].volume_ml, abs=1e-3
    )
    assert 0.6 <= plant["experts"]["Expert A"]["hand_mm"] <= 1.0


@pytest.mark.parametrize("n", [1, 4])
def test_implants_are_metal_and_nobodys(n: int) -> None:
    phantom = tiny(n)
    # half metal and half cortex is (3071 + 1350) / 2 = 2210 HU
    metal = phantom.case.ct.array > 2300
    assert np.count_nonzero(metal) * phantom.case.ct.grid.voxel_volume_ml > 0.5
    assert not any((mask & metal).any() for mask in masks(phantom))


def test_unknown_options_are_refused() -> None:
    with pytest.raises(InputError, match="expected one of osteomyelitis in leg"):
        make_phantom("P001", kind="gout", region="leg", seed=0)
    with pytest.raises(InputError, match="style 'one': expected one of 'two-styles', 'null'"):
        PhantomConfig(style="one")
    with pytest.raises(InputError, match="size 'huge': expected one of 'full', 'tiny'"):
        PhantomConfig(size="huge")
    with pytest.raises(InputError, match="seed -1: expected 0 or more"):
        make_phantom("P001", kind="osteomyelitis", region="leg", seed=-1)
