"""What the explorer shows, as one frozen value, and the pure steps between such values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from boneviz.errors import InputError

__all__ = [
    "ViewState",
    "choose_metric",
    "first_state",
    "move_cursor",
    "select_case",
    "show_readers",
]


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is on the screen.

    Parameters
    ----------
    case_ids : all cases, in the table's order
    reader_names : all readers, experts first
    case_id : the case shown
    metric : the number in table and matrix
    visible : names of the readers whose contours are on
    cursor_mm : RAS mm; None until a case is loaded, then its largest disagreement
    """

    case_ids: tuple[str, ...]
    reader_names: tuple[str, ...]
    case_id: str
    metric: str = "dice"
    visible: frozenset[str] = frozenset()
    cursor_mm: tuple[float, float, float] | None = None


def first_state(case_ids: Iterable[str], reader_names: Iterable[str]) -> ViewState:
    """Return the state at opening: first case, all readers on.

    Raises
    ------
    InputError
        There are no cases.
    """
    cases, readers = tuple(case_ids), tuple(reader_names)
    if not cases:
        raise InputError("a cohort without cases: nothing to explore")
    return ViewState(cases, readers, cases[0], visible=frozenset(readers))


def select_case(state: ViewState, case_id: str) -> ViewState:
    """Go to a case; the cursor is forgotten, the readers stay as they are.

    Raises
    ------
    InputError
        There is no such case.
    """
    if case_id not in state.case_ids:
        raise InputError(f"no case {case_id!r}; there is {', '.join(state.case_ids[:8])}, ...")
    if case_id == state.case_id:
        return state
    return replace(state, case_id=case_id, cursor_mm=None)


def choose_metric(state: ViewState, metric: str) -> ViewState:
    """Show another number in table and matrix."""
    return replace(state, metric=metric)


def show_readers(
    state: ViewState, names: Iterable[str], *, among: Iterable[str] | None = None
) -> ViewState:
    """Show these readers' contours and no others.

    Parameters
    ----------
    names : the readers to show
    among : the readers that this is about, as others have no outline here; all by default

    Raises
    ------
    InputError
        A name that is no reader's.
    """
    about = frozenset(state.reader_names if among is None else among)
    wanted = frozenset(names)
    if unknown := wanted.difference(state.reader_names):
        raise InputError(
            f"no reader {', '.join(sorted(unknown))}; there is {', '.join(state.reader_names)}"
        )
    return replace(state, visible=(state.visible - about) | wanted)


def move_cursor(state: ViewState, position_mm: Iterable[float]) -> ViewState:
    """Put the cursor at a point in RAS mm."""
    x, y, z = (float(value) for value in position_mm)
    return replace(state, cursor_mm=(x, y, z))
