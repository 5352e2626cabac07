"""One cycle, by hand."""

from __future__ import annotations

import pytest

from boneviz.schedule import one_cycle


def test_the_rate_rises_then_falls_to_nothing() -> None:
    # of 100 steps 5 rise, a fifth of the peak each; then half a cosine: half way down at 52.5
    rate = [one_cycle(step, steps=100, peak=0.01) for step in range(100)]
    assert rate[:5] == pytest.approx([0.002, 0.004, 0.006, 0.008, 0.01])
    assert rate[5] == pytest.approx(0.01)
    assert (rate[52] + rate[53]) / 2 == pytest.approx(0.005, rel=1e-3)
    assert 0 < rate[99] < 1e-5


def test_a_fit_of_one_step_is_at_the_peak() -> None:
    assert one_cycle(0, steps=1, peak=0.01) == 0.01
