"""Learners made by a rule fill what reaches their SUV, and their sessions are like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import mask_of
from small import in_counts

from boneviz.case import Case, Reader
from boneviz.cohort import Cohort
from boneviz.errors import InputError
from boneviz.learnerfile import LearnerFile, group_table
from boneviz.pretend import filled_lesions, pretend_session
from boneviz.volume import Grid, Volume

GRID = Grid.straight((8, 3, 3), (2, 3, 5))
#   x:         0 1 2 3 4 5 6 7      y = z = 1
#   SUV        1 4 6 4 1 1 3 1
#   expert A   . . # . . . # .      expert B   . # # . . . . .
SUV = np.ones(GRID.shape, dtype=np.float32)
SUV[:, 1, 1] = (1, 4, 6, 4, 1, 1, 3, 1)
CASE = Case(
    "P1",
    "",
    Volume(np.zeros(GRID.shape, dtype=np.int16), GRID, "HU"),
    Volume(SUV, GRID, "SUVbw"),
    {
        Reader("Expert A"): Volume(mask_of([(2, 1, 1), (6, 1, 1)], GRID.shape), GRID, "label"),
        Reader("Expert B"): Volume(mask_of([(1, 1, 1), (2, 1, 1)], GRID.shape), GRID, "label"),
    },
)


def test_lesions_that_are_hot_enough_are_filled_and_others_missed() -> None:
    def filled(suv: float) -> list[int]:
        return np.argwhere(filled_lesions(CASE, suv=suv).mask.array)[:, 0].tolist()

    assert filled(3) == [1, 2, 3, 6]
    assert filled(4) == [1, 2, 3]
    assert filled(5) == [2]
    assert filled(7) == []


def test_a_pretended_session_is_a_session(tiny_cohort: Cohort, tmp_path: Path) -> None:
    few = ["P01", "P02"]
    low = pretend_session(tiny_cohort, learner="Low", folder=tmp_path / "a", suv=4, case_ids=few)
    pretend_session(tiny_cohort, learner="High", folder=tmp_path / "b", suv=99, case_ids=few)
    again = pretend_session(tiny_cohort, learner="Low", folder=tmp_path / "a", suv=4, case_ids=few)
    assert again.ledger.seal == low.ledger.seal == LearnerFile.open(tmp_path / "a").ledger.seal
    group = group_table([tmp_path / "a", tmp_path / "b"])
    assert len(group) == 2 * 2 * 2
    assert (group.loc[group["learner"] == "High", "status"] == "missed").all()
    # expert A outlines the whole hot box, expert B its inside
    low_a = (group["learner"] == "Low") & (group["expert"] == "Expert A")
    assert (group.loc[low_a, "dice"] > 0.9).all()


def test_counts_are_refused_not_passed_over() -> None:
    with pytest.raises(InputError, match="patient P1: no SUV: PET in counts, and a pretended"):
        filled_lesions(in_counts(CASE), suv=3)
