"""Which patient is shown: a list of all of them, the one before and the one after, by keys too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

__all__ = ["PatientBar"]


class PatientBar:
    """A drop-down list of the cases between two buttons; the first and the last lead no further.

    Parameters
    ----------
    case_ids : in the order of the cohort
    on_select : called with the case id that was chosen

    Attributes
    ----------
    widget : the row of the page
    """

    def __init__(self, case_ids: Sequence[str], *, on_select: Callable[[str], None]) -> None:
        self._case_ids = tuple(case_ids)
        self._on_select = on_select
        self._showing = False
        # (label, value): a list of names alone would let a name be taken for something else
        self.chosen = widgets.Dropdown(
            options=[(case_id, case_id) for case_id in self._case_ids],
            description="Patient",
            style={"description_width": "initial"},
            layout={"width": "230px"},
        )
        self.previous = _button("◀ Previous patient", "The patient before in the cohort")
        self.next = _button("Next patient ▶", "The next patient of the cohort")
        self.widget = widgets.HBox(
            [self.previous, self.chosen, self.next],
            layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "2px 4px"},
        )
        self.widget.add_class("boneviz-patient-bar")
        self.chosen.observe(self._chosen, names="value")
        self.previous.on_click(lambda _: self._step(-1))
        self.next.on_click(lambda _: self._step(1))
        self._bound()

    def show(self, case_id: str) -> None:
        """Show which case is shown, in silence; called too where one could not be read."""
        self._showing = True
        try:
            self.chosen.value = case_id
        finally:
            self._showing = False
        self._bound()

    def _bound(self) -> None:
        at = self._case_ids.index(self.chosen.value)
        self.previous.disabled = at == 0
        self.next.disabled = at == len(self._case_ids) - 1

    def _step(self, by: int) -> None:
        at = self._case_ids.index(self.chosen.value) + by
        # two quick clicks may come before the button is seen to be disabled
        if 0 <= at < len(self._case_ids):
            self._on_select(self._case_ids[at])

    def _chosen(self, change: dict[str, Any]) -> None:
        if not self._showing:
            self._on_select(change["new"])


def _button(description: str, tooltip: str) -> widgets.Button:
    return widgets.Button(
        description=description, tooltip=tooltip, layout={"width": "auto", "height": "26px"}
    )
