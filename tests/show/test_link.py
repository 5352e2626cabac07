"""A link opens the view it was made of, and nothing else is taken for one."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

import pytest

from boneviz.errors import InputError
from boneviz.show.link import OF_THE_COHORT, Look, link_of, read_link
from boneviz.show.state import ViewState, first_state
from boneviz.show.viewer import SliceViewer
from show.test_state import FOUND

START = first_state(["017", "P01"], ["Expert A", "Expert B", "Model A"])
STATE = replace(
    START,
    case_id="017",
    metric="hd95_mm",
    visible=frozenset({"Expert B"}),
    cursor_mm=(1.5, -2.0, 0.1),
    view="error",
    pair=("Expert B", "Model A"),
    thresholds=(("Model A", 0.3),),
    dial=0.25,
    curve=("Expert B", ""),
    panel="regions",
    kinds=frozenset({"boundary", "shared"}),
    least_ml=0.25,
    order="suv_max",
    region=3,
    starred=FOUND[:2],
)
FRAME = 2.5, (1.0, -20.0, 3.5)
LOOK = Look(
    40.0, 400.0, 0.5, 12.0, 0.4, "pet", "viridis",
    exact=True, heat=True, filled=True, alone="sagittal", frame=FRAME,
)  # fmt: skip


def link_but(**changes: Any) -> str:
    return json.dumps({**json.loads(link_of(STATE, LOOK)), **changes})


def look_but(**changes: Any) -> str:
    return link_but(look={**json.loads(link_of(STATE, LOOK))["look"], **changes})


def star_but(**changes: Any) -> str:
    stars = json.loads(link_of(STATE, LOOK))["starred"]
    return link_but(starred=[{**stars[0], **changes}])


def test_it_opens_the_same_view_again() -> None:
    state, look = read_link(link_of(STATE, LOOK), on=START)
    assert look == LOOK
    # numbers of a region may be NaN, which is not itself
    assert repr(state) == repr(replace(STATE, visible=state.visible, kinds=state.kinds))
    assert (state.visible, state.kinds) == (STATE.visible, STATE.kinds)
    # and so does the view at opening, where little is known yet
    again, _ = read_link(link_of(START, LOOK), on=STATE)
    assert again == START


def test_the_range_of_counts_is_in_it_where_the_patient_has_counts() -> None:
    counted = replace(LOOK, counts_range=(0.0, 2.5e9))
    assert read_link(link_of(STATE, counted), on=START)[1] == counted
    assert "counts_range" not in json.loads(link_of(STATE, LOOK))["look"]
    viewer = SliceViewer()
    for unit, expected in (("counts", (0.0, 2.5e9)), ("SUVbw", None)):
        viewer.case_info = {"pet": {"unit": unit}}
        viewer.counts_range = [0.0, 1.0]
        counted.onto(viewer)
        assert (viewer.suv_max, Look.of(viewer).counts_range) == (12, expected)
        assert viewer.counts_range == list(expected or (0, 1))
    viewer.close()


def test_zoom_and_middle_are_the_viewers_again_and_none_is_all_in_view() -> None:
    viewer = SliceViewer()
    LOOK.onto(viewer)
    assert viewer.frame == {"zoom": 2.5, "centre_mm": [1.0, -20.0, 3.5]}
    assert (viewer.alone, viewer.filled) == ("sagittal", True)
    assert Look.of(viewer) == LOOK
    whole = replace(LOOK, frame=None)
    assert read_link(link_of(STATE, whole), on=START)[1] == whole
    whole.onto(viewer)
    assert viewer.frame == {}
    viewer.close()


def test_a_link_of_the_first_version_opens_with_all_in_view() -> None:
    look = json.loads(link_of(STATE, LOOK))["look"]
    old = {name: look[name] for name in look if name not in ("frame", "alone", "filled")}
    state, seen = read_link(link_but(version=1, look=old), on=START)
    assert state.case_id == STATE.case_id
    assert seen == replace(LOOK, frame=None, alone="", filled=False)


def test_every_field_of_the_state_is_in_it() -> None:
    content = json.loads(link_of(STATE, LOOK))
    of_state = {field.name for field in fields(ViewState)} - set(OF_THE_COHORT)
    assert set(content) == of_state | {"boneviz", "version", "look"}
    # every field that is changed alone comes through
    for field in of_state:
        one = replace(START, **{field: getattr(STATE, field)})
        read, _ = read_link(link_of(one, LOOK), on=STATE)
        assert repr(getattr(read, field)) == repr(getattr(STATE, field))


def test_it_is_one_line_of_json_that_names_no_file() -> None:
    link = link_of(STATE, LOOK)
    assert "\n" not in link
    assert "/" not in link


BAD = "<img src=x onerror=alert(1)>"


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("", "no link: it is not JSON"),
        ("null", "the link: expected names with values, found None"),
        ("[" * 100_000, "no link: it is not JSON"),
        ("1" * 5000, "no link"),
        ("x" * 1_000_001, "at most 1000000 letters"),
        ("{}", "no link of the explorer"),
        (link_but(version=3), "a link of version 3, expected 2"),
        (look_but(alone="oblique"), "alone of look: no plane is called 'oblique'"),
        (look_but(frame=[0.1, [0, 0, 0]]), "frame of look: expected a number in its range"),
        (look_but(frame=[2, [0, 0]]), "frame of look: expected a list of 3"),
        (link_but(version=True), "a link of version True"),
        (link_but(surprise=1), "the link has 'surprise', which no link has"),
        (link_but(metrc="dice"), "did you mean 'metric'"),
        (json.dumps({"boneviz": "view", "version": 1, "look": {}}), "the link lacks case_id"),
        (link_but(case_id="P99"), "no patient of this cohort is called 'P99'"),
        (link_but(case_id=BAD), "no patient of this cohort is called '<img"),
        (link_but(case_id=["017"]), "no patient of this cohort is called"),
        (link_but(metric="__class__"), "no metric is called"),
        (link_but(visible=["Expert C"]), "visible of the link: no reader of this cohort"),
        (link_but(visible="Expert A"), "expected a list, found 'Expert A'"),
        (link_but(cursor_mm=[1, 2]), r"expected a list of 3, found \[1, 2\]"),
        (link_but(cursor_mm=[1, 2, "3"]), "cursor_mm of the link: expected a number"),
        (link_but(cursor_mm=[1, 2, 10**400]), "expected a number"),
        (link_but().replace("-2.0", "NaN"), "NaN is no number of a link"),
        (link_but().replace("-2.0", "1e999"), "expected a number in its range, found inf"),
        (link_but(view="all"), "no view is called 'all'"),
        (link_but(pair=["Expert A", "Expert A"]), "twice; expected two readers"),
        (link_but(thresholds={"Model A": 0}), "a threshold of 0; expected more"),
        (link_but(thresholds={"Model A": 1.5}), "expected a number in its range"),
        (link_but(thresholds={BAD: 0.5}), "no reader of this cohort"),
        (link_but(dial=1.5), "dial of the link: expected a number in its range"),
        (link_but(curve=["", "Model A"]), "no reader of this cohort is called ''"),
        (link_but(panel=-1), "no panel is called -1"),
        (link_but(kinds=["boundary", "odd"]), "no kind is called 'odd'"),
        (link_but(least_ml=-1), "least_ml of the link: expected a number in its range"),
        (link_but(order="__dict__"), "no order is called"),
        (link_but(region=1.5), "region of the link: expected a whole number"),
        (link_but(region=True), "region of the link: expected a number"),
        (link_but(starred={}), "starred of the link: expected a list"),
        (star_but(patient_id="P99"), "no patient of this cohort is called 'P99'"),
        (star_but(kind=BAD), "kind of a region is '<img"),
        (star_but(reference="Expert C", readers="Expert C"), "no reader of this cohort"),
        (link_but(look=None), "look: expected names with values"),
        (look_but(width=0), "width of look: expected a number"),
        (look_but(opacity=2), "opacity of look"),
        (look_but(mode="mri"), "no mode is called 'mri'"),
        (look_but(colour_map="jet"), "no colour map is called 'jet'"),
        (look_but(exact=1), "exact of look: expected true or false"),
        (look_but(counts_range=[3, 3]), "counts_range of look: from 3 to 3; expected more"),
        (look_but(counts_range=[0, 1e999]), "not JSON|counts_range of look: expected a number"),
        (look_but(counts_range=[0]), "counts_range of look: expected a list of 2"),
        (look_but(suv_min=12), "a SUV range from 12 to 12; expected more"),
        (look_but(_esm="alert(1)"), "look has '_esm', which no link has"),
    ],
)
def test_what_is_no_link_to_this_cohort_is_refused(link: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_link(link, on=START)
