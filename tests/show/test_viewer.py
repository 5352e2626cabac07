"""The viewer's Python half: what it sends, what it refuses, what it takes back from a page."""

from __future__ import annotations

import gc
import gzip
import io
import json
import re
import shutil
import sys
import threading
import time
import weakref
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import pytest
from nodejs import node, run_node
from numpy.typing import NDArray
from PIL import Image
from traitlets import TraitError

from boneviz.case import Case, CaseRef, Prediction, Reader
from boneviz.errors import GridError, InputError
from boneviz.nifti import read_prediction, write_prediction
from boneviz.palette import PAIR_COLOURS, colour_map, heat_colours, rgb_of, styles_of
from boneviz.show import packing
from boneviz.show import viewer as module
from boneviz.show.later import TURN
from boneviz.show.viewer import SliceViewer
from boneviz.volume import Grid, Volume

REPO = Path(__file__).resolve().parents[2]
EXPERT, OTHER = Reader("Expert A"), Reader("Expert B")
MODEL = Reader("Model A", "model", learned_from="Expert A")
SHAPE = (4, 3, 2)
GRID = Grid.straight(SHAPE, (2.0, 1.0, 3.0), (-3.0, 10.0, 0.0))


def label(*marked: tuple[int, int, int], grid: Grid = GRID) -> Volume:
    array = np.zeros(grid.shape, dtype=bool)
    for voxel in marked:
        array[voxel] = True
    return Volume(array, grid, "label")


def made_case(*, pet_grid: Grid = GRID, **masks: Volume) -> Case:
    hu = np.arange(24, dtype=np.int16).reshape(SHAPE) * 100
    suv = np.linspace(0, 6, int(np.prod(pet_grid.shape))).reshape(pet_grid.shape)
    readers = {"expert": EXPERT, "other": OTHER, "model": MODEL}
    return Case(
        "P007",
        "S1",
        Volume(hu, GRID, "HU"),
        Volume(suv, pet_grid, "SUVbw"),
        {readers[name]: mask for name, mask in masks.items()},
        notes=("PET resampled",),
    )


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> SliceViewer:
    made = SliceViewer()
    sent: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(made, "send", lambda content, buffers=None: sent.append((content, buffers)))
    made.sent = sent
    yield made
    made.close()


def ask(viewer: SliceViewer, **content: Any) -> list[tuple[dict[str, Any], Any]]:
    """Let a page ask, and return what it got."""
    viewer.sent.clear()
    viewer._handle_custom_msg(content, [])
    return list(viewer.sent)


def received(viewer: SliceViewer, name: str) -> NDArray[Any]:
    """Put a volume together as the page does."""
    info = viewer.case_info["volumes"][name]
    data = bytearray(info["bytes"])
    for content, (packed,) in ask(viewer, kind="want", serial=viewer.serial):
        if content["volume"] == name:
            piece = gzip.decompress(packed)
            data[content["offset"] : content["offset"] + len(piece)] = piece
    dtype = np.dtype("<f2" if info["type"] == "half" else "u1")
    return np.frombuffer(bytes(data), dtype).reshape(info["lattice"]["shape"])


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


def test_a_page_that_asks_for_an_earlier_case_gets_nothing(viewer: SliceViewer) -> None:
    case = made_case(expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]))
    viewer.show(case, styles_of([EXPERT]))
    assert viewer.serial == 2
    assert ask(viewer, kind="want", serial=1) == []
    answers = ask(viewer, kind="want", serial=2)
    assert {content["serial"] for content, _ in answers} == {2}
    assert {content["volume"] for content, _ in answers} == set(viewer.case_info["volumes"])


def likely(*, elsewhere: float = 0.0, **at: float) -> Volume:
    """Return probabilities on `GRID`; keywords are voxels, as x123 for (1, 2, 3)."""
    array = np.full(SHAPE, elsewhere, dtype=np.float32)
    for voxel, value in at.items():
        array[tuple(int(digit) for digit in voxel[1:])] = value
    return Volume(array, GRID, "probability")


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


def test_an_outline_is_a_mask_or_where_the_probability_reaches_its_threshold(
    viewer: SliceViewer,
) -> None:
    with pytest.raises(InputError, match=r"no case is shown; call show\(\) first"):
        viewer.outline("Expert A")
    viewer.show(
        made_case(expert=label((0, 0, 0))),
        styles_of([EXPERT, MODEL]),
        predictions={MODEL: likely(x100=0.6, x111=0.49)},
    )
    assert np.argwhere(viewer.outline("Expert A").array).tolist() == [[0, 0, 0]]
    assert np.argwhere(viewer.outline("Model A").array).tolist() == [[1, 0, 0]]
    viewer.thresholds = {"Model A": 0.49}
    assert np.argwhere(viewer.outline("Model A").array).tolist() == [[1, 0, 0], [1, 1, 1]]
    with pytest.raises(InputError, match=r"no reader 'Z' is shown; there is Expert A, Model A"):
        viewer.outline("Z")


def test_the_pair_begins_with_the_first_two_and_stays_where_both_are(viewer: SliceViewer) -> None:
    everybody = made_case(expert=label((1, 1, 1)), other=label((1, 1, 1)), model=label((1, 1, 1)))
    viewer.show(everybody, styles_of([EXPERT, OTHER, MODEL]))
    assert viewer.pair == ["Expert A", "Expert B"]
    viewer.pair = ["Expert B", "Model A"]
    viewer.show(everybody, styles_of([EXPERT, OTHER, MODEL]))
    assert viewer.pair == ["Expert B", "Model A"]
    viewer.show(everybody, styles_of([EXPERT, MODEL]))
    assert viewer.pair == ["Expert A", "Model A"]
    viewer.show(everybody, styles_of([EXPERT, OTHER, MODEL]), pair=["Model A", "Expert A"])
    assert viewer.pair == ["Model A", "Expert A"]
    viewer.show(everybody, styles_of([OTHER]))
    assert viewer.pair == ["Expert B"]


def test_views_pairs_and_thresholds_that_make_no_sense_are_refused(viewer: SliceViewer) -> None:
    case = made_case(expert=label((1, 1, 1)), other=label((1, 1, 1)))
    with pytest.raises(InputError, match=r"P007_S1: pair \['Z', 'A'\]: no reader 'Z' here"):
        viewer.show(case, styles_of([EXPERT, OTHER]), pair=["Z", "A"])
    viewer.show(case, styles_of([EXPERT, OTHER]))
    with pytest.raises(TraitError, match=r"no reader 'Expert Z' here; there is Expert A, Expert B"):
        viewer.pair = ["Expert A", "Expert Z"]
    with pytest.raises(TraitError, match="expected the names of two readers"):
        viewer.pair = ["Expert A", "Expert A"]
    with pytest.raises(TraitError, match=r"threshold of Model A: 0, expected a number above 0"):
        viewer.thresholds = {"Model A": 0}
    with pytest.raises(TraitError, match="readers"):
        viewer.view = "errors"
    viewer.thresholds = {"Model A": 1, "Model B": 0.2}
    assert viewer.thresholds == {"Model A": 1.0, "Model B": 0.2}


def told(serial: int, cursor_mm: list[float], visible: list[str]) -> dict[str, Any]:
    """What a page sends: the bare values along with those that carry the case's number."""
    return {
        "cursor_mm": cursor_mm,
        "told_cursor_mm": {"serial": serial, "value": cursor_mm},
        "visible": visible,
        "told_visible": {"serial": serial, "value": visible},
    }


def updates_of(viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Return the list to which the states that Python sends from now on are added."""
    said: list[dict[str, Any]] = []

    def send(message: dict[str, Any], buffers: object = None) -> None:  # noqa: ARG001
        if message["method"] == "update":
            said.append(message["state"])

    monkeypatch.setattr(viewer, "_send", send)
    return said


def test_what_a_page_tells_of_its_case_is_taken_and_not_said_back(
    viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made_case(expert=label((1, 1, 1)), other=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT, OTHER]))
    heard: list[tuple[str, Any]] = []
    viewer.observe(lambda c: heard.append((c["name"], c["new"])), names=["cursor_mm", "visible"])
    said = updates_of(viewer, monkeypatch)
    viewer.set_state(told(1, [1.0, 2.0, 3.0], ["Expert B"]))
    assert (viewer.cursor_mm, viewer.visible) == ([1.0, 2.0, 3.0], ["Expert B"])
    assert sorted(heard) == [("cursor_mm", [1.0, 2.0, 3.0]), ("visible", ["Expert B"])]
    # a page that has moved on must not be called back; an echo of its own message is no update
    assert said == []


def test_what_a_page_tells_of_the_case_before_is_dropped(viewer: SliceViewer) -> None:
    both = made_case(expert=label((1, 1, 1)), other=label((1, 1, 1)))
    viewer.show(both, styles_of([EXPERT, OTHER]))
    viewer.show(made_case(other=label((1, 1, 1))), styles_of([OTHER]), cursor_mm=(0, 11, 0))
    viewer.set_state({**told(1, [9.0, 9.0, 9.0], ["Expert A"]), "level": 50.0})
    assert (viewer.cursor_mm, viewer.visible) == ([0.0, 11.0, 0.0], ["Expert B"])
    assert viewer.level == 50.0
    # a page sends only what changed, so values without a number are nobody's
    viewer.set_state({"cursor_mm": [9.0, 9.0, 9.0], "visible": ["Expert A"]})
    assert (viewer.cursor_mm, viewer.visible) == ([0.0, 11.0, 0.0], ["Expert B"])


def test_a_pair_chosen_in_the_page_belongs_to_its_case_a_view_to_all(viewer: SliceViewer) -> None:
    case = made_case(expert=label((1, 1, 1)), other=label((1, 1, 1)), model=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT, OTHER, MODEL]))
    chosen = ["Model A", "Expert A"]
    viewer.set_state({"pair": chosen, "told_pair": {"serial": 1, "value": chosen}})
    assert viewer.pair == chosen
    viewer.show(case, styles_of([EXPERT, OTHER]))
    late = {"pair": chosen, "told_pair": {"serial": 1, "value": chosen}}
    viewer.set_state({**late, "view": "error", "heat": True, "thresholds": {"Model A": 0.3}})
    assert viewer.pair == ["Expert A", "Expert B"]
    assert (viewer.view, viewer.heat, viewer.thresholds) == ("error", True, {"Model A": 0.3})


def test_a_page_is_not_heard_while_a_case_is_put_in_place(
    viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made_case(expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]))
    arrived, shown = threading.Event(), threading.Event()
    take_over = anywidget.AnyWidget.set_state

    def slow(self: SliceViewer, state: dict[str, Any]) -> None:
        arrived.set()
        shown.wait(0.3)  # time for show() to come between, were nothing in its way
        take_over(self, state)

    monkeypatch.setattr(anywidget.AnyWidget, "set_state", slow)
    # as in JupyterLab, which has messages handled in another thread than cells
    page = threading.Thread(target=viewer.set_state, args=[told(1, [9.0, 9.0, 9.0], ["Expert A"])])
    page.start()
    arrived.wait(10)
    viewer.show(case, styles_of([EXPERT]), cursor_mm=(0, 11, 0))
    shown.set()
    page.join(10)
    assert viewer.cursor_mm == [0.0, 11.0, 0.0]


def test_pieces_of_a_case_that_goes_meanwhile_are_not_sent(viewer: SliceViewer) -> None:
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    first = viewer._pieces[0]
    waiting: Future[bytes] = Future()
    viewer._pieces = (first, replace(first, packed=waiting), first)
    waiting.cancel()
    assert len(ask(viewer, kind="want", serial=1)) == 1


def test_a_new_case_comes_with_its_position_even_where_python_has_it_already(
    viewer: SliceViewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made_case(expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]), cursor_mm=(0, 11, 0))
    said = updates_of(viewer, monkeypatch)
    viewer.show(case, styles_of([EXPERT]), cursor_mm=(0, 11, 0))
    first = said[0]
    assert (first["case_info"]["serial"], first["cursor_mm"]) == (2, [0.0, 11.0, 0.0])
    assert first["visible"] == ["Expert A"]


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


def test_the_look_stays_when_the_patient_changes_and_readers_come_on_as_asked(
    viewer: SliceViewer,
) -> None:
    case = made_case(expert=label((1, 1, 1)), other=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT, OTHER]))
    assert viewer.visible == ["Expert A", "Expert B"]
    viewer.level, viewer.mode = 40.0, "ct"
    viewer.show(case, styles_of([EXPERT, OTHER]), visible=["Expert B"])
    assert (viewer.level, viewer.mode, viewer.visible) == (40.0, "ct", ["Expert B"])
    assert viewer.defaults["level"] == 400.0


LOOK = {
    "level": 400,
    "width": 1800,
    "suvMin": 0,
    "suvMax": 8,
    "opacity": 0.6,
    "mode": "ct",
    "colourMap": "hot-iron",
}


def wish_for(plane: str, **look: Any) -> dict[str, Any]:
    return {
        "kind": "picture",
        "serial": 1,
        "plane": plane,
        "key": "k",
        "position_mm": [0, 11, 0],
        "mm_per_pixel": 0.5,
        "look": {**LOOK, **look},
        "lines": [],
        "fill": {"kind": "none"},
        "thresholds": {},
    }


def test_a_page_without_webgl_gets_pictures(viewer: SliceViewer) -> None:
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    wish = wish_for("coronal")
    ((content, (png,)),) = ask(viewer, **wish)
    assert content == {"kind": "picture", "serial": 1, "plane": "coronal", "key": "k"}
    picture = np.asarray(Image.open(io.BytesIO(png)))
    # 4 x 2 mm across and 2 x 3 mm up, at half a millimetre
    assert picture.shape == (12, 16, 3)
    assert ask(viewer, **{**wish, "serial": 0}) == []


def test_a_picture_has_the_mode_the_range_and_the_map_that_the_page_asks_for(
    viewer: SliceViewer,
) -> None:
    case = made_case(expert=label((1, 1, 1)))
    suv = Volume(np.full(SHAPE, 3.0), GRID, "SUVbw")
    viewer.show(replace(case, pet=suv), styles_of([EXPERT]))
    wish = wish_for("axial", mode="pet", suvMin=2, suvMax=6, colourMap="grey-inverted")
    ((_, (png,)),) = ask(viewer, **wish)
    # SUV 3 is a quarter of 2 to 6: rint(63.75) = 64 of the scale, and 255 - 64
    assert np.unique(np.asarray(Image.open(io.BytesIO(png)))).tolist() == [191]


def seen(viewer: SliceViewer, wish: dict[str, Any]) -> NDArray[np.uint8]:
    ((_, (png,)),) = ask(viewer, **wish)
    return np.asarray(Image.open(io.BytesIO(png)))


def test_areas_are_tinted_in_their_readers_colours_one_over_the_other(viewer: SliceViewer) -> None:
    # readers in x: A 0 and 1, B 1 and 2
    case = made_case(expert=label((0, 1, 0), (1, 1, 0)), other=label((1, 1, 0), (2, 1, 0)))
    air = Volume(np.full(SHAPE, -1000, np.int16), GRID, "HU")
    styles = styles_of([EXPERT, OTHER])
    viewer.show(replace(case, ct=air), styles)
    wish = {**wish_for("axial"), "mm_per_pixel": 1.0}
    black = seen(viewer, {**wish, "fill": {"kind": "none"}})[1, ::-2].astype(float)
    fill = {"kind": "areas", "names": ["Expert A", "Expert B"]}
    found = seen(viewer, {**wish, "fill": fill})[1, ::-2].astype(float)
    a, b = (np.array(rgb_of(style.colour), dtype=float) for style in styles)
    only_a, only_b = (0.7 * black[n] + 0.3 * colour for n, colour in ((0, a), (2, b)))
    both = 0.7 * (0.7 * black[1] + 0.3 * a) + 0.3 * b
    np.testing.assert_allclose(found, [only_a, both, only_b, black[3]], atol=2)


@pytest.mark.parametrize(
    "frame",
    [{"zoom": 2}, {"zoom": 0.1, "centre_mm": [0, 0, 0]}, {"zoom": 1, "centre_mm": [0, 0, None]}],
)
def test_zoom_and_middle_that_make_no_sense_are_refused(
    viewer: SliceViewer, frame: dict[str, Any]
) -> None:
    with pytest.raises(TraitError, match=r"expected zoom, 0\.5 to 40, and three numbers"):
        viewer.frame = frame


def test_zoom_and_middle_belong_to_one_case(viewer: SliceViewer) -> None:
    case = made_case(expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]))
    moved = {"zoom": 2.0, "centre_mm": [0.0, 11.0, 3.0]}
    viewer.set_state({"told_frame": {"serial": 1, "value": moved}})
    assert viewer.frame == moved
    viewer.show(case, styles_of([EXPERT]))
    assert viewer.frame == {}
    viewer.set_state({"told_frame": {"serial": 1, "value": moved}})
    assert viewer.frame == {}


def test_pictures_have_the_colours_of_the_view(viewer: SliceViewer) -> None:
    # readers in x: A 0 and 1, B 1 and 2; the model 77 of 255 at 2, sure at 3
    case = made_case(expert=label((0, 1, 0), (1, 1, 0)), other=label((1, 1, 0), (2, 1, 0)))
    air = Volume(np.full(SHAPE, -1000, np.int16), GRID, "HU")
    readers = [EXPERT, OTHER, MODEL]
    viewer.show(
        replace(case, ct=air),
        styles_of(readers),
        predictions={MODEL: likely(x210=77 / 255, x310=1.0)},
    )
    wish = {**wish_for("axial"), "mm_per_pixel": 1.0}

    def row(fill: dict[str, Any], **more: Any) -> list[list[int]]:
        """Return the colours of the voxels x = 0 to 3 at y = 1; right is left, two pixels each."""
        return seen(viewer, {**wish, "fill": fill, **more})[1, ::-2].astype(int).tolist()

    first, second, both = (np.array(rgb_of(c)) for c in PAIR_COLOURS)
    # rint(0.45 * 255) = 115 of 255 over black
    share = 115 / 255
    found = row({"kind": "pair", "reference": "Expert A", "candidate": "Expert B"})
    np.testing.assert_allclose(
        found, [first * share, both * share, second * share, [0] * 3], atol=1
    )
    found = row({"kind": "heat"}, thresholds={"Model A": 0.3})
    one, two, _ = (np.array(rgb_of(c)) for c in heat_colours(3))
    # 0.8 * 255 = 204; the model says yes at 2, with expert B, and at 3
    np.testing.assert_allclose(found, np.array([one, two, two, one]) * 204 / 255, atol=1)
    found = row({"kind": "heat"})
    np.testing.assert_allclose(found[2], one * 204 / 255, atol=1)
    found = row({"kind": "wash", "model": "Model A"})
    # both cover 0.8 * 255 = 204
    wash = colour_map("viridis").astype(float)
    np.testing.assert_allclose(
        found, [[0] * 3, [0] * 3, wash[77] * 204 / 255, wash[255] * 204 / 255], atol=1
    )


def test_pictures_draw_a_models_contour_at_its_threshold(viewer: SliceViewer) -> None:
    viewer.show(made_case(), styles_of([MODEL]), predictions={MODEL: likely(x110=77 / 255)})
    line = {"name": "Model A", "colour": "#ff00ff", "dashed": False}
    wish = {**wish_for("axial"), "lines": [line], "mm_per_pixel": 0.2}

    def drawn(threshold: float) -> bool:
        picture = seen(viewer, {**wish, "thresholds": {"Model A": threshold}})
        return bool((picture == (255, 0, 255)).all(axis=-1).any())

    assert (drawn(0.5), drawn(0.2)) == (False, True)


def test_a_page_hears_why_it_gets_no_picture(viewer: SliceViewer) -> None:
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    ((content, buffers),) = ask(viewer, **wish_for("axial", suvMin=8))
    assert buffers is None
    assert content == {
        "kind": "picture",
        "serial": 1,
        "plane": "axial",
        "key": "k",
        "failed": "SUV range 8 to 8: expected the second number larger",
    }


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("lps", GridError, r"patient P007_S1: CT grid is .* LPS, .* straighten\(\)"),
        ("oblique pet", GridError, r"patient P007_S1: PET grid is .* straight axes"),
        ("mask elsewhere", GridError, r"mask of Expert A is on .* call harmonise\(\) first"),
        ("no mask", InputError, r"no mask of 'Model A'; it has Expert A"),
        ("twice", InputError, r"readers Expert A, Expert A: expected each once"),
        ("nine", InputError, r"9 readers: the viewer shows at most 8"),
        ("probability elsewhere", GridError, r"probability of Model A is on .* harmonise\(\)"),
        ("no probability", InputError, r"prediction of Model A holds label, expected a prob"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    viewer: SliceViewer, change: str, error: type[Exception], message: str
) -> None:
    case, readers = made_case(expert=label((1, 1, 1))), [EXPERT]
    if change == "lps":
        grid = Grid(SHAPE, np.diag([-2.0, -1.0, 3.0, 1.0]))
        case = Case("P007", "S1", Volume(case.ct.array, grid, "HU"), case.pet, {})
        readers = []
    if change == "oblique pet":
        affine = np.eye(4)
        affine[0, 1] = 0.3
        case = replace(case, pet=Volume(case.pet.array, Grid(SHAPE, affine), "SUVbw"))
    if change == "mask elsewhere":
        moved = Grid.straight(SHAPE, GRID.spacing_mm, (0.0, 0.0, 0.0))
        case = replace(case, masks={EXPERT: label((1, 1, 1), grid=moved)})
    if change == "no mask":
        readers = [EXPERT, MODEL]
    if change == "twice":
        readers = [EXPERT, EXPERT]
    if change == "nine":
        readers = [Reader(f"Expert {n}") for n in range(9)]
    predictions = {}
    if change == "probability elsewhere":
        moved = Grid.straight(SHAPE, GRID.spacing_mm, (0.0, 0.0, 0.0))
        readers, predictions = [MODEL], {MODEL: Volume(np.zeros(SHAPE), moved, "probability")}
    if change == "no probability":
        readers, predictions = [MODEL], {MODEL: label((1, 1, 1))}
    with pytest.raises(error, match=message):
        viewer.show(case, styles_of(readers), predictions=predictions)
    assert viewer.serial == 0


def threads_of(viewer: SliceViewer) -> list[threading.Thread]:
    return [thread for thread in viewer._packers._threads if thread.is_alive()]


def test_closing_lets_the_volumes_go(viewer: SliceViewer) -> None:
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    array = weakref.ref(viewer._shown.case.ct.array)
    viewer.close()
    assert ask(viewer, kind="want", serial=1) == []
    deadline = time.monotonic() + 10
    while (threads_of(viewer) or array() is not None) and time.monotonic() < deadline:
        time.sleep(0.01)
        gc.collect()
    assert threads_of(viewer) == []
    assert array() is None
    with pytest.raises(InputError, match=r"this viewer is closed; make a new SliceViewer\(\)"):
        viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))


def test_a_closed_viewer_that_is_collected_waits_for_nothing(viewer: SliceViewer) -> None:
    viewer.close()
    collected = threading.Thread(target=viewer.__del__, daemon=True)
    with TURN:  # as held by who waits for this very thread to start
        collected.start()
        collected.join(10)
        assert not collected.is_alive()


def test_the_page_gets_one_module_that_asks_nothing_of_the_network() -> None:
    esm = str(SliceViewer._esm)
    assert re.findall(r"^(?:import\b.*|export\b.*)$", esm, flags=re.M) == ["export default {"]
    for forbidden in ("http:", "https:", "innerHTML", "outerHTML", "insertAdjacentHTML", "fetch("):
        assert forbidden not in esm
    # every module is in it, each before those that use it
    for name in module.MODULES:
        text = (module.FRONT / name).read_text()
        for used in re.findall(r'^import .*?from "\./(?:front/)?([a-z]+\.js)";', text, re.M | re.S):
            names = [Path(n).name for n in module.MODULES]
            assert names.index(used) < names.index(Path(name).name), f"{name} comes before {used}"
    assert {f"front/{p.name}" for p in module.FRONT.glob("front/*.js")} | {"viewer.js"} == set(
        module.MODULES
    )


def test_the_one_module_is_valid(tmp_path: Path) -> None:
    # joined into one, two modules cannot use one name
    (tmp_path / "viewer.mjs").write_text(str(SliceViewer._esm))
    run_node("--check", str(tmp_path / "viewer.mjs"))


def test_the_front_ends_pure_functions() -> None:
    run_node("--test", *sorted(str(p) for p in (REPO / "tests" / "front").glob("*.test.mjs")))


def test_without_a_node_of_its_own_a_machine_uses_playwrights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert "playwright" in node()
    assert run_node("--print", "6 * 7").strip() == "42"
    monkeypatch.setitem(sys.modules, "playwright._impl._driver", None)
    with pytest.raises(pytest.fail.Exception, match="no node on the PATH, and no Playwright"):
        node()


def test_page_and_pictures_have_the_same_colours() -> None:
    script = (
        "import {COLOUR_MAPS, colourTable} from './boneviz/show/front/window.js';"
        "console.log(JSON.stringify(Object.keys(COLOUR_MAPS).map((n) => [n, [...colourTable(n)]])))"
    )
    tables = json.loads(run_node("--input-type=module", "--eval", script))
    assert tuple(name for name, _ in tables) == module.COLOUR_MAPS
    for name, table in tables:
        rgba = np.array(table, dtype=np.uint8).reshape(256, 4)
        np.testing.assert_array_equal(colour_map(name), rgba[:, :3], err_msg=name)


# ---- a PET in counts ----

WHY = "PatientWeight (0010,1030) is absent"


def counted(top: float = 230_000.0) -> Case:
    """Return `made_case` in counts, the last voxel the hottest."""
    case = made_case(expert=label((3, 2, 1)))
    array = np.linspace(0, top, 24, dtype=np.float32).reshape(SHAPE)
    return replace(case, pet=Volume(array, GRID, "counts"), pet_origin=(WHY,))


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


def test_the_range_of_counts_is_their_cases_and_leaves_the_suv_range_alone(
    viewer: SliceViewer,
) -> None:
    viewer.show(made_case(), [])
    viewer.suv_max = 5.5
    viewer.show(counted(), [])
    assert viewer.counts_range == [0, 230_000]
    viewer.set_state({"told_counts_range": {"serial": 2, "value": [10.0, 900.0]}})
    assert viewer.counts_range == [10, 900]
    viewer.set_state({"told_counts_range": {"serial": 1, "value": [0.0, 1.0]}})
    assert viewer.counts_range == [10, 900]
    viewer.show(counted(2300.0), [])
    assert viewer.counts_range == [0, 2300]
    viewer.show(made_case(), [])
    assert (viewer.suv_min, viewer.suv_max) == (0, 5.5)
    for ends in ([5.0, 5.0], [0.0, float("inf")], [float("nan"), 1.0]):
        with pytest.raises(TraitError, match="expected two finite numbers, the second larger"):
            viewer.counts_range = ends


def test_pictures_and_stills_of_counts_are_coloured_by_their_range(viewer: SliceViewer) -> None:
    even = Volume(np.full(SHAPE, 1000.0, np.float32), GRID, "counts")
    viewer.show(replace(counted(), pet=even), styles_of([EXPERT]))
    wish = wish_for("axial", mode="pet", suvMin=0, suvMax=4000, colourMap="grey")
    assert np.unique(seen(viewer, wish)).tolist() == [64]  # rint(0.25 x 255)
    viewer.mode, viewer.colour_map, viewer.visible = "pet", "grey", []
    viewer.counts_range = [0.0, 4000.0]
    still = viewer.still()
    picture = np.asarray(Image.open(io.BytesIO(still.png)).convert("RGB"))
    assert [64, 64, 64] in picture.reshape(-1, 3).tolist()
    assert still.pet == "There is no SUV: PET in counts, shown from 0 to 4000."
    page = viewer._repr_mimebundle_()[0]["text/html"]
    assert "<p>There is no SUV: PET in counts, shown from 0 to 4000.</p>" in page
    viewer.show(made_case(expert=label((1, 1, 1))), styles_of([EXPERT]))
    assert viewer.still().pet == ""
    assert "no SUV" not in viewer._repr_mimebundle_()[0]["text/html"]
