"""The viewer's Python half: what it takes from a page and gives back, and what it refuses."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import anywidget
import numpy as np
import pytest
from traitlets import TraitError

from boneviz.case import Case, Reader
from boneviz.errors import GridError, InputError
from boneviz.palette import styles_of
from boneviz.show.later import TURN
from boneviz.show.viewer import SliceViewer
from boneviz.volume import Grid, Volume
from show.viewing import (
    EXPERT,
    GRID,
    MODEL,
    OTHER,
    SHAPE,
    ask,
    counted,
    label,
    likely,
    made_case,
    viewer,
)

__all__ = ["viewer"]  # fixtures


def test_a_page_that_asks_for_an_earlier_case_gets_nothing(viewer: SliceViewer) -> None:
    case = made_case(expert=label((1, 1, 1)))
    viewer.show(case, styles_of([EXPERT]))
    viewer.show(case, styles_of([EXPERT]))
    assert viewer.serial == 2
    assert ask(viewer, kind="want", serial=1) == []
    answers = ask(viewer, kind="want", serial=2)
    assert {content["serial"] for content, _ in answers} == {2}
    assert {content["volume"] for content, _ in answers} == set(viewer.case_info["volumes"])


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
