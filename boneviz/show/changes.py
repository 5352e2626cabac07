"""What each part of the page depends on: where it is the same in two states, nothing is redrawn."""

from __future__ import annotations

from boneviz.show.state import ViewState

__all__ = ["behind_listing", "behind_operating", "behind_slices"]


def behind_listing(state: ViewState) -> tuple[object, ...]:
    """Return what the rows of the atlas depend on beside case and pair."""
    return state.kinds, state.least_ml, state.order, state.starred


def behind_slices(state: ViewState) -> tuple[object, ...]:
    """Return what the slices depend on beside case, readers and cursor."""
    return state.view, state.pair, state.thresholds, state.dial


def behind_operating(state: ViewState) -> tuple[object, ...]:
    """Return what the operating point depends on beside the case."""
    return state.thresholds, state.dial, state.curve, state.panel
