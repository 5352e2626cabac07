"""The atlas of disagreements: every region of one pair in one case, to be stepped through."""

from __future__ import annotations

import base64
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ipywidgets as widgets
import pandas as pd

from boneviz.errors import BonevizError, InputError
from boneviz.palette import ReaderStyle
from boneviz.petrecord import NO_SUV
from boneviz.readings import Readings
from boneviz.regions import BONE_SEARCH_MM, Region, regions, regions_table
from boneviz.scoretable import csv_of
from boneviz.show.page import prose
from boneviz.show.rows import RowTable, cell_swatches, cell_text
from boneviz.show.state import (
    KINDS,
    ORDERS,
    ViewState,
    filter_regions,
    is_starred,
    listed_regions,
)

__all__ = ["AtlasPanel", "FoundRegions", "atlas_table", "atlas_words"]

KEPT = 12  # pairs and cases whose regions are not looked for again
ORDER_WORDS = dict(
    zip(
        ORDERS,
        (
            "largest first",
            "highest SUVmax first",
            "highest HU first",
            "furthest from bone first",
            "longest reach first",
            "by kind",
        ),
        strict=True,
    )
)
KIND_BUTTONS = dict(
    zip(
        KINDS, ("Extra lesion", "Along bone", "Into soft tissue", "Boundary", "Shared"), strict=True
    )
)
KIND_HINTS = dict(
    zip(
        KINDS,
        (
            "one reader alone outlines it, and it touches nothing of the other's",
            "it touches the other's outline and reaches on, mostly within bone",
            "it touches the other's outline and reaches on, mostly outside bone",
            "a rim along the other's outline, no thicker than 5 mm or a voxel",
            "both outline it",
        ),
        strict=True,
    )
)


class FoundRegions:
    """The regions of the last few cases and pairs, each looked for once."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, str, str], tuple[Region, ...]] = OrderedDict()

    def of(self, readings: Readings, reference: str, candidate: str) -> tuple[Region, ...]:
        """Return `boneviz.regions` of two readers of a case.

        Raises
        ------
        GridError, InputError
            As `boneviz.regions` does, and where a reader has no reading of this case.
        """
        there = {reader.name for reader in readings.readers}
        if lacking := [name for name in (reference, candidate) if name not in there]:
            raise InputError(
                f"{' and '.join(lacking)}: no reading of {readings.case.case_id}, "
                "so there is nothing to compare here"
            )
        key = (readings.case.case_id, reference, candidate)
        if key not in self._found:
            self._found[key] = regions(readings.case, reference, candidate, readings.predictions)
        self._found.move_to_end(key)
        while len(self._found) > KEPT:
            self._found.popitem(last=False)
        return self._found[key]

    def listed(self, readings: Readings, pair: tuple[str, str] | None) -> tuple[Region, ...]:
        """Return the same, none where nothing can be compared."""
        try:
            return self.of(readings, *pair) if pair else ()
        except BonevizError:
            return ()


def atlas_table(listed: Sequence[Region], state: ViewState) -> pd.DataFrame:
    """Return one row per listed region, its numbers those of `boneviz.regions` as they are."""
    columns: Mapping[str, Callable[[Region], Any]] = {
        "★": lambda region: "★" if is_starred(state, region) else "",
        "No.": lambda region: region.number,
        "Kind": lambda region: KIND_BUTTONS[region.kind_in_words],
        "Drawn by": lambda region: " + ".join(region.readers),
        "mL": lambda region: region.volume_ml,
        "Voxels": lambda region: region.n_voxels,
        "SUVmax": lambda region: region.suv_max,
        "HU": lambda region: region.hu_mean,
        "Bone (mm)": lambda region: region.distance_to_bone_mm,
        "Reach (mm)": lambda region: region.reach_mm,
    }
    rows = [{name: value(region) for name, value in columns.items()} for region in listed]
    return pd.DataFrame(rows, columns=list(columns))


def atlas_words(found: Sequence[Region], state: ViewState, *, has_suv: bool = True) -> str:
    """Return in a sentence what was found, what of it is not listed, and why there is no SUV."""
    if state.pair is None:
        return "One reader alone: there is nobody to compare with."
    reference, candidate = state.pair
    pair = f"{candidate} against {reference} in {state.case_id}"
    if not found:
        return f"{pair}: neither outlines anything."
    disputed = [region for region in found if region.kind != "shared"]
    if not disputed:
        return f"{pair}: both outline the same voxels, nothing is disputed."
    shares = []
    for name in (reference, candidate):
        own = [region.volume_ml for region in disputed if region.readers == (name,)]
        shares.append(f"{sum(own):.2f} mL in {_count(len(own), 'region')} by {name} alone")
    both_ml = sum(region.volume_ml for region in found if region.kind == "shared")
    parts = [f"{pair}: {both_ml:.2f} mL outlined by both, {shares[0]}, {shares[1]}."]
    listed = {region.number for region in listed_regions(state, found)}
    if left := [region.volume_ml for region in disputed if region.number not in listed]:
        parts.append(
            f"Not listed: {_count(len(left), 'disputed region')} of {sum(left):.2f} mL in all."
        )
    if any(not region.held_out for region in found):
        parts.append("A model of the two had learned from this patient: no new reading.")
    if not has_suv:
        parts.append(f"There is {NO_SUV}.")
    return " ".join(parts)


class AtlasPanel:
    """The regions of one pair in one case: table, filters, steps and stars.

    Parameters
    ----------
    on_choose : called with the number of a region whose row was clicked
    on_kinds : called with the kinds to list
    on_least_ml : called with the least volume to list, mL
    on_order : called with one of `ORDERS`
    on_key : called with ``next``, ``previous`` or ``star``
    """

    def __init__(
        self,
        *,
        on_choose: Callable[[int], None],
        on_kinds: Callable[[Iterable[str]], None],
        on_least_ml: Callable[[float], None],
        on_order: Callable[[str], None],
        on_key: Callable[[str], None],
    ) -> None:
        self._showing = False
        self._on_kinds, self._on_least_ml, self._on_order = on_kinds, on_least_ml, on_order
        self.table = RowTable(
            on_select=on_choose,
            label="Regions of this patient and pair",
            name="boneviz-atlas",
            height="196px",
            empty="No region of these kinds and sizes.",
            ordering=False,
        )
        self.kinds = {kind: _kind_button(kind) for kind in KINDS}
        self.least_ml = widgets.BoundedFloatText(
            min=0,
            max=1e6,
            step=0.1,
            description="at least (mL)",
            style={"description_width": "initial"},
            layout={"width": "165px"},
        )
        self.order = widgets.Dropdown(
            options=[(words, order) for order, words in ORDER_WORDS.items()],
            description="order",
            style={"description_width": "initial"},
            layout={"width": "225px"},
        )
        self.previous = _button("◀ Previous", "The region before in this list (key p)")
        self.next = _button("Next ▶", "The next region in this list (key n)")
        self.star = _button("☆ Star", "Keep this region for the report, or no longer (key s)")
        self.words = widgets.HTML()
        self.starred = widgets.HTML()
        self.widget = widgets.VBox(
            [
                _row(*self.kinds.values(), self.least_ml, self.order),
                self.table.widget,
                _row(self.previous, self.next, self.star, self.starred),
                self.words,
            ]
        )
        for button in self.kinds.values():
            button.observe(self._kind_toggled, names="value")
        self.least_ml.observe(self._least_typed, names="value")
        self.order.observe(self._order_chosen, names="value")
        self.previous.on_click(lambda _: on_key("previous"))
        self.next.on_click(lambda _: on_key("next"))
        self.star.on_click(lambda _: on_key("star"))

    def show(
        self,
        state: ViewState,
        found: Sequence[Region],
        styles: Sequence[ReaderStyle],
        *,
        has_suv: bool = True,
    ) -> None:
        """Show the regions of the state's case and pair.

        Parameters
        ----------
        found : all of them
        styles : of all readers
        has_suv : whether the PET of the case is in SUVbw
        """
        listed = listed_regions(state, found)
        style_of = {style.name: style for style in styles}
        drawn_by = [[style_of[name] for name in region.readers] for region in listed]
        self.table.show(
            atlas_table(listed, state),
            [region.number for region in listed],
            cells=_cells(drawn_by),
        )
        self.words.value = prose(atlas_words(found, state, has_suv=has_suv))
        self._show_filters(state, found)
        self.mark(state, found)

    def mark(self, state: ViewState, found: Sequence[Region]) -> None:
        """Mark the row of the region gone to last, and say whether it is starred."""
        chosen = next((region for region in found if region.number == state.region), None)
        self.table.mark(None if chosen is None else chosen.number)
        kept = chosen is not None and is_starred(state, chosen)
        self.star.description = "★ Starred" if kept else "☆ Star"
        self.star.disabled = chosen is None
        self.previous.disabled = self.next.disabled = not listed_regions(state, found)
        self.starred.value = _download(state.starred)

    def wait(self, words: str) -> None:
        """Show no region but these words, as long as there are none to show."""
        self.table.show(pd.DataFrame({"": []}), [], cells=[])
        self.words.value = prose(words)
        self.previous.disabled = self.next.disabled = self.star.disabled = True

    def _show_filters(self, state: ViewState, found: Sequence[Region]) -> None:
        everything = filter_regions(state, kinds=KINDS)
        counts = Counter(region.kind_in_words for region in listed_regions(everything, found))
        # half of the buttons turned are a choice that nobody made
        self._showing = True
        try:
            for kind, button in self.kinds.items():
                button.description = f"{KIND_BUTTONS[kind]} {counts[kind]}"
                button.value = kind in state.kinds
            self.least_ml.value = state.least_ml
            self.order.value = state.order
        finally:
            self._showing = False

    def _kind_toggled(self, _: dict[str, Any]) -> None:
        if not self._showing:
            self._on_kinds([kind for kind, button in self.kinds.items() if button.value])

    def _least_typed(self, change: dict[str, Any]) -> None:
        if not self._showing:
            self._on_least_ml(change["new"])

    def _order_chosen(self, change: dict[str, Any]) -> None:
        if not self._showing:
            self._on_order(change["new"])


def _cells(drawn_by: Sequence[Sequence[ReaderStyle]]) -> list[dict[str, Any]]:
    return [
        {"targets": [0, 2, 3], "className": "dt-left"},
        {"targets": [1, 4, 5, 6, 7, 8, 9], "className": "dt-right"},
        {"targets": [3], "createdCell": cell_swatches(drawn_by)},
        {"targets": [4], "createdCell": cell_text(2)},
        {"targets": [6], "createdCell": cell_text(1)},
        {"targets": [7], "createdCell": cell_text(0)},
        {
            "targets": [8],
            "createdCell": cell_text(1, undefined=f"> {BONE_SEARCH_MM:.0f}"),
        },
        {"targets": [9], "createdCell": cell_text(1)},
    ]


def _kind_button(kind: str) -> widgets.ToggleButton:
    button = widgets.ToggleButton(
        description=KIND_BUTTONS[kind],
        tooltip=f"{kind}: {KIND_HINTS[kind]}",
        layout={"width": "auto", "height": "26px"},
    )
    button.add_class("boneviz-kind")
    return button


def _button(description: str, tooltip: str) -> widgets.Button:
    return widgets.Button(
        description=description, tooltip=tooltip, layout={"width": "auto", "height": "26px"}
    )


def _row(*parts: widgets.Widget) -> widgets.HBox:
    layout = {"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 4px"}
    return widgets.HBox(list(parts), layout=layout)


def _download(starred: Sequence[Region]) -> str:
    """Return a link to the starred regions, which is the whole file: no server, no network."""
    if not starred:
        return ""
    packed = base64.b64encode(csv_of(regions_table(starred))).decode()
    return (
        f'<span style="margin:0 6px">★ {len(starred)} for the report: <a style="text-decoration:'
        f'underline" download="starred.csv" href="data:text/csv;base64,{packed}">save as CSV</a>'
        "</span>"
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
