"""A case as the page gets it: volumes, bits, probabilities, coarse images and where to begin."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from nodejs import run_node

from boneviz.case import Case, CaseRef, Prediction
from boneviz.nifti import read_prediction, write_prediction
from boneviz.palette import styles_of
from boneviz.show import packing
from boneviz.show.viewer import SliceViewer
from boneviz.volume import Grid, Volume
from show.viewing import (
    EXPERT,
    GRID,
    MODEL,
    OTHER,
    SHAPE,
    WHY,
    ask,
    counted,
    label,
    likely,
    made_case,
    received,
    viewer,
)

__all__ = ["viewer"]  # fixtures


def test_the_page_gets_every_volume_on_its_own_grid(viewer: SliceViewer) -> None:
    pet_grid = Grid.straight((2, 3, 5), (4.0, 4.0, 1.5), (-4.0, 8.0, -1.0))
    case = made_case(pet_grid=pet_grid, expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]))
    assert viewer.case_info["patient"] == "P007_S1"
    assert viewer.case_info["notes"] == ["PET resampled"]
    assert viewer.case_info["hu_range"] == [0.0, 2300.0]
    ct, pet = (viewer.case_info["volumes"][name]["lattice"] for name in ("ct", "pet"))
    assert ct == {"shape": [4, 3, 2], "spacing": [2.0, 1.0, 3.0], "origin": [-3.0, 10.0, 0.0]}
    assert pet == {"shape": [2, 3, 5], "spacing": [4.0, 4.0, 1.5], "origin": [-4.0, 8.0, -1.0]}
    # multiples of 100 up to 2300: 2100 and 2300 are even, so half floats hold them
    np.testing.assert_array_equal(received(viewer, "ct"), case.ct.array)
    np.testing.assert_allclose(received(viewer, "pet"), case.pet.array, rtol=2**-11)


def test_readers_are_the_bits_of_one_byte_in_the_order_of_the_legend(viewer: SliceViewer) -> None:
    case = made_case(
        expert=label((0, 0, 0), (1, 1, 1)), other=label((1, 1, 1)), model=label((3, 2, 1))
    )
    viewer.show(case, styles_of([MODEL, EXPERT, OTHER]))
    bits = received(viewer, "bits")
    assert bits[0, 0, 0] == 0b010
    assert bits[1, 1, 1] == 0b110
    assert bits[3, 2, 1] == 0b001
    assert np.count_nonzero(bits) == 3
    assert viewer.case_info["box"] == [[0, 0, 0], [3, 2, 1]]
    names = [reader["name"] for reader in viewer.case_info["readers"]]
    assert names == ["Model A", "Expert A", "Expert B"]
    assert [reader["dashed"] for reader in viewer.case_info["readers"]] == [True, False, False]


def test_projections_run_from_front_to_back(viewer: SliceViewer) -> None:
    case = made_case(expert=label((1, 0, 1)), other=label((1, 2, 1), (0, 1, 0)))
    viewer.show(case, styles_of([EXPERT, OTHER]))
    mip, bits = received(viewer, "mip"), received(viewer, "mip_bits")
    assert mip.shape == bits.shape == (4, 1, 2)
    # uptake grows with every index, so the highest along y is the last
    np.testing.assert_allclose(mip[:, 0], case.pet.array[:, 2], rtol=2**-11)
    assert bits[:, 0].tolist() == [[0b10, 0], [0, 0b11], [0, 0], [0, 0]]
    # a projection has no depth: its one voxel lies at y = 0
    assert viewer.case_info["volumes"]["mip"]["lattice"]["origin"] == [-3.0, 0.0, 0.0]


def test_half_floats_step_by_two_above_2048_and_stop_at_their_largest(viewer: SliceViewer) -> None:
    case = made_case(expert=label((0, 0, 0)))
    hu = np.full(SHAPE, -1024, dtype=np.int32)
    # 2049 lies between 2048 and 2050, 3003 between 3002 and 3004: both round to even steps
    hu[0, 0, 0], hu[0, 0, 1], hu[0, 1, 0], hu[0, 1, 1] = 2047, 2049, 3003, 100_000
    viewer.show(replace(case, ct=Volume(hu, GRID, "HU")), styles_of([EXPERT]))
    found = received(viewer, "ct")
    assert found[0, :2].tolist() == [[2047, 2048], [3004, 65504]]
    assert (found[1:] == -1024).all()


def test_pieces_are_small_and_fit_together(
    viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "PIECE_BYTES", 20)
    case = made_case(expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]))
    pieces = [content for content, _ in ask(viewer, kind="want", serial=1)]
    # 24 half floats are 48 bytes: pieces of 20, 20 and 8
    assert [p["offset"] for p in pieces if p["volume"] == "ct"] == [0, 20, 40]
    np.testing.assert_array_equal(received(viewer, "ct"), case.ct.array)


def test_of_large_images_a_coarse_one_goes_ahead(
    viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "COARSE_FROM", 23)
    monkeypatch.setattr(packing, "COARSE_MOST", 6)
    case = made_case(expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]))
    sent = [content["volume"] for content, _ in ask(viewer, kind="want", serial=1)]
    assert sent == ["bits", "mip", "mip_bits", "coarse_ct", "coarse_pet", "ct", "pet"]
    # of voxels of 2 x 1 x 3 mm every other goes along y, and then along x
    np.testing.assert_array_equal(received(viewer, "coarse_ct"), case.ct.array[::2, ::2])
    where = viewer.case_info["volumes"]["coarse_ct"]["lattice"]
    whole = viewer.case_info["volumes"]["ct"]["lattice"]
    assert where["origin"] == whole["origin"]
    assert where["spacing"] == [
        2 * whole["spacing"][0],
        2 * whole["spacing"][1],
        whole["spacing"][2],
    ]
    np.testing.assert_array_equal(received(viewer, "ct"), case.ct.array)


def test_an_image_without_a_coarse_one_does_not_wait_for_the_other(
    viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "COARSE_FROM", 23)
    case = made_case(expert=label((1, 1, 1)))
    small = Grid.straight((2, 3, 2), GRID.spacing_mm)
    pet = Volume(np.ones(small.shape, dtype=np.float32), small, "SUVbw")
    viewer.show(replace(case, pet=pet), styles_of([EXPERT]))
    sent = [content["volume"] for content, _ in ask(viewer, kind="want", serial=1)]
    assert sent == ["bits", "mip", "mip_bits", "pet", "coarse_ct", "ct"]


def test_probabilities_travel_as_bytes_cropped_to_where_there_are_any(viewer: SliceViewer) -> None:
    case = made_case(expert=label((0, 0, 0)), model=label((3, 2, 1)))
    predictions = {MODEL: likely(x100=0.6, x111=0.49)}
    viewer.show(case, styles_of([EXPERT, MODEL]), predictions=predictions)
    expert, model = viewer.case_info["readers"]
    assert (expert["kind"], expert["probability"]) == ("expert", None)
    assert (model["kind"], model["learned_from"]) == ("model", "Expert A")
    # (1, 0..1, 0..1) with one voxel around it: x 0 to 2, y 0 to 2, z 0 to 1
    soft = model["probability"]
    assert soft["first"] == [0, 0, 0]
    assert viewer.case_info["volumes"][soft["volume"]] == {
        "type": "bytes",
        "bytes": 18,
        "lattice": {"shape": [3, 3, 2], "spacing": [2.0, 1.0, 3.0], "origin": [-3.0, 10.0, 0.0]},
    }
    found = received(viewer, soft["volume"])
    # 0.6 * 255 = 153, 0.49 * 255 = 124.95
    assert (found[1, 0, 0], found[1, 1, 1]) == (153, 125)
    assert np.count_nonzero(found) == 2
    assert received(viewer, soft["mip"])[:, 0].tolist() == [[0, 0], [153, 125], [0, 0]]
    assert soft["profile"] == [[0, 153, 0], [153, 125, 0], [153, 125]]
    # the outline is that of 0.5, whatever the mask says
    bits = received(viewer, "bits")
    assert bits[1, 0, 0] == 0b10
    assert bits[1, 1, 1] == bits[3, 2, 1] == 0


def test_a_cropped_volume_says_where_it_lies(viewer: SliceViewer) -> None:
    viewer.show(made_case(), styles_of([MODEL]), predictions={MODEL: likely(x321=1.0)})
    soft = viewer.case_info["readers"][0]["probability"]
    assert soft["first"] == [2, 1, 0]
    # -3 + 2 * 2, 10 + 1 * 1, 0
    assert viewer.case_info["volumes"][soft["volume"]]["lattice"]["origin"] == [1.0, 11.0, 0.0]
    assert viewer.case_info["volumes"][soft["mip"]]["lattice"]["origin"] == [1.0, 0.0, 0.0]


def test_a_model_that_is_sure_of_nothing_is_one_voxel_of_zero(viewer: SliceViewer) -> None:
    viewer.show(made_case(), styles_of([MODEL]), predictions={MODEL: likely()})
    soft = viewer.case_info["readers"][0]["probability"]
    assert received(viewer, soft["volume"]).max() == 0
    assert viewer.case_info["box"] is None


def test_a_threshold_finds_the_same_voxels_in_page_and_python(tmp_path: Path) -> None:
    # every byte once, as a saved prediction has it
    grid = Grid.straight((16, 16, 1), (1, 1, 1))
    exact = (np.arange(256, dtype=np.float64) / 255).astype(np.float32).reshape(grid.shape)
    given = Prediction(
        "P1", "", MODEL, 0, Volume(exact, grid, "probability"), "c", frozenset(), demonstration=True
    )
    write_prediction(given, tmp_path)
    ref = CaseRef("P1", "", Path("ct.nii.gz"), Path("pet.nii.gz"))
    saved = read_prediction(tmp_path, ref)
    stored = saved.probability.array.ravel()
    thresholds = [k / 100 for k in range(1, 101)]
    # the edges: half way between two bytes, just about it, and each stored value itself
    thresholds += [0.5 - 1e-6, 0.5 + 1e-6, 1 / 255, 1e-6, *(float(p) for p in stored[1:])]
    script = (
        "import {leastByte} from './boneviz/show/front/modes.js';"
        f"console.log(JSON.stringify({json.dumps(thresholds)}.map(leastByte)))"
    )
    of_page = json.loads(run_node("--input-type=module", "--eval", script))
    for threshold, least in zip(thresholds, of_page, strict=True):
        inside = saved.mask(threshold).array.ravel()
        assert packing.least_byte(threshold) == least, threshold
        np.testing.assert_array_equal(inside, np.arange(256) >= least, err_msg=str(threshold))
        if threshold in thresholds[:100]:
            # a prediction in memory has the values themselves
            np.testing.assert_array_equal(given.mask(threshold).array.ravel(), inside)
    assert packing.least_byte(0.5) == 128


def test_it_opens_at_the_hottest_marked_voxel(viewer: SliceViewer) -> None:
    # uptake grows with the index: (2, 1, 0) is hotter than (0, 2, 1); it lies at
    # -3 + 2 * 2, 10 + 1 * 1, 0 + 0 * 3
    viewer.show(made_case(expert=label((0, 2, 1), (2, 1, 0))), styles_of([EXPERT]))
    assert viewer.cursor_mm == [1.0, 11.0, 0.0]


def test_it_opens_in_the_middle_of_the_body_where_nothing_is_marked(viewer: SliceViewer) -> None:
    grid = Grid.straight((40, 12, 8), (1.0, 1.0, 1.0), (100.0, 0.0, 0.0))
    hu = np.full(grid.shape, -1000, dtype=np.int16)
    pet = Volume(np.zeros(grid.shape), grid, "SUVbw")
    mask = Volume(np.zeros(grid.shape, dtype=bool), grid, "label")
    air = Case("P1", "", Volume(hu, grid, "HU"), pet, {EXPERT: mask})
    viewer.show(air, styles_of([EXPERT]))
    assert viewer.cursor_mm == [119.5, 5.5, 3.5]
    assert viewer.case_info["box"] is None
    # two legs, x = 0 to 8 and 28 to 39; every fourth voxel is looked at: x = 0, 4, 8, 28, 32, 36,
    # whose middle, 18, is air between them; y = 0, 4, 8 and z = 0, 4
    hu[:9], hu[28:] = 40, 40
    viewer.show(replace(air, ct=Volume(hu, grid, "HU")), styles_of([EXPERT]))
    x, y, z = viewer.cursor_mm
    assert (x, y) in ((108.0, 4.0), (128.0, 4.0))
    assert z in (0.0, 4.0)


def test_the_page_is_told_the_unit_and_where_it_comes_from(viewer: SliceViewer) -> None:
    origin = ("SUVbw = stored value x 0.5", "<b>")
    viewer.show(replace(made_case(), pet_origin=origin), [])
    suv = {"unit": "SUVbw", "origin": list(origin), "scale": 1.0, "range": None}
    assert viewer.case_info["pet"] == suv
    viewer.show(counted(), [])
    pet = viewer.case_info["pet"]
    assert (pet["unit"], pet["origin"]) == ("counts", [WHY])
    # linear between the last two of 24: 230000 - 0.001 x 23 x 10000 = 229770, in three digits
    assert pet["range"] == [0, 230_000]


@pytest.mark.parametrize(("top", "scale"), [(230_000.0, 16), (2.3e-6, 2.0**-32), (16_383.0, 1)])
def test_counts_travel_within_half_floats(viewer: SliceViewer, top: float, scale: float) -> None:
    # 230000 / 16 = 14375, 2.3e-6 x 2^32 = 9878 and 16383 lie from 2^13 to 2^14
    viewer.show(counted(top), [])
    assert viewer.case_info["pet"]["scale"] == scale
    sent = received(viewer, "pet").astype(np.float64) * scale
    assert sent.ravel() == pytest.approx(np.linspace(0, top, 24), rel=5e-4)
    assert float(received(viewer, "mip").max()) * scale == pytest.approx(top, rel=5e-4)
