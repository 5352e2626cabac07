"""Which two readers are compared: reference and candidate, any two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets

__all__ = ["PairChooser"]


class PairChooser:
    """Two drop-down lists, shown wherever the pair matters; all of them show the same pair.

    Parameters
    ----------
    names : of the readers, experts first
    on_reference, on_candidate : called with the name that was chosen
    """

    def __init__(
        self,
        names: Sequence[str],
        *,
        on_reference: Callable[[str], None],
        on_candidate: Callable[[str], None],
    ) -> None:
        self._showing = False
        self._on_reference, self._on_candidate = on_reference, on_candidate
        # (label, value): a list of names alone would let a name be taken for something else
        options = [(name, name) for name in names]
        self.candidate = _dropdown(options, "Compare")
        self.reference = _dropdown(options, "against")
        self.candidate.observe(self._chosen, names="value")
        self.reference.observe(self._chosen, names="value")

    def row(self) -> widgets.HBox:
        """Return the two lists as one row; as many rows as there are places for one."""
        return widgets.HBox(
            [self.candidate, self.reference], layout={"flex_flow": "row wrap", "grid_gap": "0 8px"}
        )

    def show(self, pair: tuple[str, str]) -> None:
        """Show which reference and which candidate are compared."""
        # between the two the same reader may stand on both sides, which nobody chose
        self._showing = True
        try:
            self.reference.value, self.candidate.value = pair
        finally:
            self._showing = False

    def _chosen(self, change: dict[str, Any]) -> None:
        if self._showing:
            return
        call = self._on_reference if change["owner"] is self.reference else self._on_candidate
        call(change["new"])


def _dropdown(options: list[tuple[str, str]], description: str) -> widgets.Dropdown:
    return widgets.Dropdown(
        options=options,
        description=description,
        style={"description_width": "initial"},
        layout={"width": "230px"},
    )
