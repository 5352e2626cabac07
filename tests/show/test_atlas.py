"""The atlas: rows, words and filters, with the numbers of boneviz.regions to the voxel."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from cases import EXPERT_A, EXPERT_B, MODEL_A, Index, case_of, mask_of, prediction_of

from boneviz.errors import InputError
from boneviz.palette import styles_of
from boneviz.readings import Readings
from boneviz.regions import Region, regions
from boneviz.show import atlas
from boneviz.show.atlas import AtlasPanel, FoundRegions, atlas_table, atlas_words
from boneviz.show.state import (
    ViewState,
    choose_region,
    filter_regions,
    first_state,
    order_regions,
    toggle_star,
)

SHAPE = (14, 3, 3)
STYLES = styles_of([EXPERT_A, EXPERT_B, MODEL_A])


def row_of(*x: int) -> tuple[Index, ...]:
    return tuple((i, 1, 1) for i in x)


# x: 0 1 2 3 4 5 6 7 8 9 10 11   A  0-3 and 6-8; B 2, 3 and 11; voxels of 0.03 mL, 2 mm apart
#    A A A A . . A A A . .  .    so A's own: 6-8 (extra lesion), 0-1 (boundary);
#    . . B B . . . . . . .  B    B's own: 11 (extra lesion); both: 2-3
CASE = case_of(
    {
        EXPERT_A: mask_of(row_of(0, 1, 2, 3, 6, 7, 8), SHAPE),
        EXPERT_B: mask_of(row_of(2, 3, 11), SHAPE),
    }
)
FOUND = regions(CASE, "Expert A", "Expert B")
ALL = filter_regions(first_state(["017"], [style.name for style in STYLES]), least_ml=0)


def test_the_rows_are_the_regions_to_the_voxel() -> None:
    table = atlas_table(FOUND, ALL)
    assert table["Kind"].tolist() == ["Extra lesion", "Boundary", "Extra lesion", "Shared"]
    assert table["Drawn by"].tolist() == [
        "Expert A",
        "Expert A",
        "Expert B",
        "Expert A + Expert B",
    ]
    assert table["Voxels"].tolist() == [3, 2, 1, 2]
    assert table["mL"].tolist() == [region.volume_ml for region in FOUND]
    assert table["mL"].tolist() == pytest.approx([0.09, 0.06, 0.03, 0.06])
    # from 7 to 3 or 11 are 8 mm, from 0 to 2 are 4 mm, from 11 to 8 are 6 mm
    assert table["Reach (mm)"].tolist() == [8, 4, 6, 0]
    assert table["Bone (mm)"].isna().all()  # there is no bone
    assert list(atlas_table((), ALL).columns) == list(table.columns)


def test_words_say_what_either_drew_alone_and_what_is_not_listed() -> None:
    assert atlas_words(FOUND, ALL) == (
        "Expert B against Expert A in 017: 0.06 mL outlined by both, 0.15 mL in 2 regions by "
        "Expert A alone, 0.03 mL in 1 region by Expert B alone."
    )
    few = filter_regions(ALL, least_ml=0.05, kinds=["boundary"])
    assert "Not listed: 2 disputed regions of 0.12 mL in all." in atlas_words(FOUND, few)
    assert "nothing is disputed" in atlas_words(FOUND[3:], ALL)
    assert "neither outlines anything" in atlas_words((), ALL)


def test_a_model_that_had_learned_from_the_patient_is_no_new_reading() -> None:
    prediction = prediction_of(MODEL_A, CASE.masks[EXPERT_A].array * 1.0, trained_on=["017"])
    found = regions(CASE, "Expert A", "Model A", [prediction])
    state = filter_regions(ALL, least_ml=0)
    assert "nothing is disputed" in atlas_words(found, state)
    other = regions(CASE, "Expert B", "Model A", [prediction])
    assert "had learned from this patient: no new reading" in atlas_words(other, state)


def test_regions_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, str]] = []

    def counted(case: Any, reference: str, candidate: str, more: Any) -> tuple[Region, ...]:
        calls.append((reference, candidate))
        return regions(case, reference, candidate, more)

    monkeypatch.setattr(atlas, "regions", counted)
    monkeypatch.setattr(atlas, "KEPT", 2)
    readings, finder = Readings(CASE, ()), FoundRegions()
    assert finder.of(readings, "Expert A", "Expert B") == FOUND
    finder.of(readings, "Expert B", "Expert A")
    finder.of(readings, "Expert A", "Expert B")
    assert calls == [("Expert A", "Expert B"), ("Expert B", "Expert A")]


def test_a_reader_without_a_reading_is_named() -> None:
    with pytest.raises(InputError, match="Model A: no reading of 017"):
        FoundRegions().of(Readings(CASE, ()), "Expert A", "Model A")


class Heard:
    """A panel, and what it called back with."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.panel = AtlasPanel(
            on_choose=self.calls.append,
            on_kinds=lambda kinds: self.calls.append(sorted(kinds)),
            on_least_ml=self.calls.append,
            on_order=self.calls.append,
            on_key=self.calls.append,
        )

    def show(self, state: ViewState, found: Sequence[Region] = FOUND) -> None:
        self.panel.show(state, found, STYLES)


def test_showing_calls_nobody_back() -> None:
    heard = Heard()
    heard.show(ALL)
    heard.show(choose_region(filter_regions(ALL, kinds=["boundary", "shared"]), FOUND[1]))
    heard.show(order_regions(ALL, "kind"))
    heard.panel.wait("Looking ...")
    assert heard.calls == []


def test_a_row_stands_for_its_region_in_any_order_and_under_any_filter() -> None:
    heard = Heard()
    heard.show(order_regions(ALL, "kind"))  # extra lesions 1 and 3, then the boundary, 2
    heard.panel.table.widget.selected_rows = [1]
    assert heard.calls == [3]
    heard.show(choose_region(filter_regions(ALL, kinds=["boundary"]), FOUND[1]))
    assert heard.panel.table.widget.selected_rows == [0]
    assert heard.panel.table.widget.df["No."].tolist() == [2]
    # a row beyond the end, clicked before the table became shorter
    heard.panel.table.widget.selected_rows = [2]
    assert heard.calls == [3]


def test_buttons_say_how_many_there_are_and_filter() -> None:
    heard = Heard()
    heard.show(filter_regions(ALL, least_ml=0.05))
    descriptions = [button.description for button in heard.panel.kinds.values()]
    assert descriptions == [
        "Extra lesion 1",
        "Along bone 0",
        "Into soft tissue 0",
        "Boundary 1",
        "Shared 1",
    ]
    heard.panel.kinds["boundary"].value = False
    heard.panel.least_ml.value = 0.2
    heard.panel.order.value = "suv_max"
    heard.panel.next.click()
    heard.panel.star.disabled = False
    heard.panel.star.click()
    expected = ["extension along bone", "extension into soft tissue", "extra lesion"]
    assert heard.calls == [expected, 0.2, "suv_max", "next", "star"]


def test_the_star_says_whether_the_region_is_kept() -> None:
    heard = Heard()
    heard.show(ALL)
    assert heard.panel.star.disabled
    at = choose_region(ALL, FOUND[0])
    heard.show(at)
    assert (heard.panel.star.disabled, heard.panel.star.description) == (False, "☆ Star")
    heard.show(toggle_star(at, FOUND))
    assert heard.panel.star.description == "★ Starred"
    assert heard.panel.table.widget.df["★"].tolist() == ["★", "", ""]


def test_the_link_to_the_starred_regions_is_the_file() -> None:
    heard = Heard()
    heard.show(toggle_star(choose_region(ALL, FOUND[0]), FOUND))
    packed = heard.panel.starred.value.partition("base64,")[2].partition('"')[0]
    saved = pd.read_csv(io.StringIO(base64.b64decode(packed).decode()))
    assert saved["n_voxels"].tolist() == [3]
    assert saved["inside_x_mm"].tolist() == [14.0]  # voxels 6, 7, 8: centres 12, 14, 16 mm


def test_where_there_is_nothing_to_step_through_the_buttons_are_off() -> None:
    heard = Heard()
    heard.show(ALL, ())
    assert heard.panel.next.disabled
    heard.show(ALL)
    assert not heard.panel.next.disabled
    heard.panel.wait("<b>Looking</b>")
    assert heard.panel.next.disabled
    assert "&lt;b&gt;" in heard.panel.words.value
