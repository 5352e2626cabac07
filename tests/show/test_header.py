"""Title, problem, caution and notes beside the slices."""

from __future__ import annotations

from boneviz.cohort import Cohort
from boneviz.palette import styles_of
from boneviz.show.header import Header
from boneviz.show.shown import read_shown


def test_a_problem_is_text_and_over_with_the_next_case(tiny_cohort: Cohort) -> None:
    header = Header(tiny_cohort)
    header.refuse("Still showing <b>P01</b>")
    assert 'role="alert"' in header.problem.value
    assert "Still showing &lt;b&gt;P01&lt;/b&gt;" in header.problem.value
    shown = read_shown(tiny_cohort, "P02", styles_of(tiny_cohort.readers))
    header.show(shown, {"Model A": 0.3})
    assert header.problem.value == ""
    assert "shown: P02" in header.title.value
    assert "Slices and 3D show Model A from 0.30 on; scores stay at 0.50." in header.notes.value
    header.note({})
    assert header.notes.value == ""
