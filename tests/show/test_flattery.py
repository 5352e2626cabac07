"""The figure of what slice-level folds and means do to Dice."""

from __future__ import annotations

from test_inflation import found_of

from boneviz.show.flattery import inflation_figure


def test_a_line_per_patient_and_the_mean_over_slices() -> None:
    # 3D: P1 1 with slice folds, 2*2/8 = 0.5 with patient folds; P2 0.75 with both; P3 undefined
    found = found_of(
        {"P1": [(4, 4, 4), (0, 0, 0)], "P2": [(4, 4, 3)], "P3": [(0, 0, 0)]},
        {"P1": [(4, 4, 2), (0, 0, 0)], "P2": [(4, 4, 3)], "P3": [(0, 0, 0)]},
    )
    patients, mean = inflation_figure(found).figure.data
    assert list(patients.y) == [1, 0.5, None, 0.75, 0.75, None]
    assert list(patients.x) == [0, 1, None] * 2
    assert patients.text[0] == "P1"
    # slices with slice folds: 1, 1, 0.75, 1
    assert list(mean.y) == [3.75 / 4] * 2
    assert mean.line.dash == "dash"
