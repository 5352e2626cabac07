"""Slices, surfaces and operating point of the case shown, drawn from one state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from boneviz.palette import ReaderStyle
from boneviz.show.dial import OperatingPanel
from boneviz.show.page import unheard
from boneviz.show.shown import Shown
from boneviz.show.state import ViewState
from boneviz.show.surfaces import SurfaceView
from boneviz.show.viewer import SliceViewer

__all__ = ["Images"]


class Images:
    """What shows the images of one case.

    Parameters
    ----------
    styles : of all readers
    on_cursor : called with a position in RAS mm that was clicked in 3D
    on_curve : called with expert and model of the curve chosen
    on_pair, on_dial : observers of these traits of the viewer, which do not hear what is set here

    Attributes
    ----------
    viewer, surfaces, operating : the parts
    """

    def __init__(
        self,
        styles: Sequence[ReaderStyle],
        *,
        on_cursor: Callable[[Iterable[float]], None],
        on_curve: Callable[[str, str], None],
        on_pair: Callable[[dict[str, Any]], None],
        on_dial: Callable[[dict[str, Any]], None],
    ) -> None:
        self._styles, self._on_pair, self._on_dial = styles, on_pair, on_dial
        self._thresholds_in_3d: dict[str, float] = {}
        self.viewer = SliceViewer()
        self.surfaces = SurfaceView(on_click=on_cursor)
        self.operating = OperatingPanel(self.viewer, on_curve=on_curve)
        self.viewer.observe(on_pair, names="pair")
        self.viewer.observe(on_dial, names="dial")

    @property
    def readers(self) -> list[str]:
        """The names of the readers whom the slices show."""
        return [reader["name"] for reader in self.viewer.case_info["readers"]]

    def show(self, shown: Shown, state: ViewState) -> None:
        """Show another case in the slices; no surface of the one before stays."""
        self.surfaces.clear()
        # slices of a case without the pair show another; that is nobody's choice
        with unheard(self.viewer, self._on_pair, "pair"):
            self.viewer.show(
                shown.case,
                shown.styles,
                predictions=shown.probabilities,
                cursor_mm=shown.cursor_mm,
                visible=sorted(state.visible),
                pair=state.pair if _has(state, [style.name for style in shown.styles]) else None,
            )
        self.operating.open(shown, self._styles)
        self.show_dial(state)

    def show_surfaces(self, shown: Shown, state: ViewState) -> None:
        """Show the case in 3D, models at their present thresholds."""
        self._thresholds_in_3d = dict(state.thresholds)
        soft = {reader: self.viewer.outline(reader.name) for reader in shown.probabilities}
        self.surfaces.show(
            shown.case.with_masks(soft),
            styles=shown.styles,
            visible=state.visible,
            cursor_mm=state.cursor_mm or shown.cursor_mm,
        )

    def show_readers(self, state: ViewState) -> None:
        """Show the readers who are visible, and hide the others."""
        self.viewer.visible = [name for name in self.readers if name in state.visible]
        self.surfaces.set_visible(state.visible)

    def show_view(self, state: ViewState) -> None:
        """Show view, thresholds, pair and dial in the slices."""
        self.viewer.view = state.view
        self.viewer.thresholds = dict(state.thresholds)
        if state.pair and _has(state, self.readers):
            self.viewer.pair = list(state.pair)
        self.show_dial(state)

    def show_dial(self, state: ViewState) -> None:
        """Show where the dial stands."""
        # a case without the two models has no dial; that is nobody's choice
        with unheard(self.viewer, self._on_dial, "dial"):
            self.viewer.dial = self.operating.dial(state)

    def show_operating(self, state: ViewState) -> None:
        """Show the operating point, where its panel is in front."""
        if state.panel == "operating":
            self.operating.show(state)

    def show_thresholds(self, state: ViewState) -> None:
        """Draw those models' surfaces anew whose thresholds were moved."""
        before, now = self._thresholds_in_3d, dict(state.thresholds)
        self._thresholds_in_3d = now
        for style in self._styles:
            name = style.name
            if name in self.readers and before.get(name) != now.get(name):
                visible = name in state.visible
                self.surfaces.redraw(style, self.viewer.outline(name), visible=visible)


def _has(state: ViewState, names: Iterable[str]) -> bool:
    """Whether both readers of a state's pair are among these names."""
    return state.pair is not None and set(names).issuperset(state.pair)
