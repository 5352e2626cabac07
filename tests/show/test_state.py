"""Pure steps between states of the explorer."""

from __future__ import annotations

import pytest

from boneviz.errors import InputError
from boneviz.show.state import (
    ViewState,
    choose_metric,
    first_state,
    move_cursor,
    select_case,
    show_readers,
)

STATE = first_state(["P1", "P2"], ["A", "B", "M"])


def test_opening_shows_the_first_case_and_everybody() -> None:
    assert ViewState(("P1", "P2"), ("A", "B", "M"), "P1", "dice", frozenset("ABM"), None) == STATE


def test_nothing_to_explore_is_refused() -> None:
    with pytest.raises(InputError, match="a cohort without cases"):
        first_state([], ["A"])


def test_another_case_forgets_the_cursor_and_keeps_the_rest() -> None:
    before = move_cursor(choose_metric(show_readers(STATE, "AB"), "hd95_mm"), (1, 2, 3))
    after = select_case(before, "P2")
    assert (after.case_id, after.cursor_mm) == ("P2", None)
    assert (after.metric, after.visible) == ("hd95_mm", frozenset("AB"))


def test_the_same_case_again_changes_nothing() -> None:
    before = move_cursor(STATE, (1, 2, 3))
    assert select_case(before, "P1") is before


def test_an_unknown_case_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no case 'P9'; there is P1, P2"):
        select_case(STATE, "P9")


def test_readers_without_an_outline_here_stay_on_for_the_next_case() -> None:
    # M drew nothing in this case, so its page speaks of A and B alone; B is switched off
    assert show_readers(STATE, ["A"], among=["A", "B"]).visible == frozenset("AM")
    assert show_readers(STATE, ["A"]).visible == frozenset("A")


def test_an_unknown_reader_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"no reader Z; there is A, B, M"):
        show_readers(STATE, ["A", "Z"])


def test_a_state_is_a_value() -> None:
    assert move_cursor(STATE, (1, 2, 3)) == move_cursor(STATE, [1.0, 2.0, 3.0])
    assert STATE.cursor_mm is None
