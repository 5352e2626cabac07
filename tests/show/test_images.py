"""Slices and surfaces drawn from a state; what is set so is nobody's choice."""

from __future__ import annotations

from typing import Any

from boneviz.cohort import Cohort
from boneviz.palette import styles_of
from boneviz.show.images import Images
from boneviz.show.page import close_all
from boneviz.show.shown import read_shown
from boneviz.show.state import choose_pair, choose_view, first_state


def test_only_the_page_is_heard_to_choose_a_pair(tiny_cohort: Cohort) -> None:
    heard: list[dict[str, Any]] = []
    styles = styles_of(tiny_cohort.readers)
    state = first_state(["P01"], [style.name for style in styles])
    images = Images(
        styles,
        on_cursor=lambda _: None,
        on_curve=lambda *_: None,
        on_pair=heard.append,
        on_dial=heard.append,
    )
    state = choose_pair(state, "Expert B", "Expert A")
    images.show(read_shown(tiny_cohort, "P01", styles), state)
    assert images.viewer.pair == ["Expert B", "Expert A"]
    assert images.readers == ["Expert A", "Expert B"]
    assert heard == []
    images.show_view(choose_view(state, "disagreement"))
    assert images.viewer.view == "disagreement"
    assert heard == []
    images.viewer.pair = ["Expert A", "Expert B"]
    assert [change["new"] for change in heard] == [["Expert A", "Expert B"]]
    for part in (images.viewer, images.surfaces.widget, images.operating.widget):
        close_all(part)
