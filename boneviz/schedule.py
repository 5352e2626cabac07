"""The learning rate of a step: one cycle."""

from __future__ import annotations

import math

__all__ = ["one_cycle"]


def one_cycle(step: int, *, steps: int, peak: float) -> float:
    """Return the rate of a step: a linear rise over the first twentieth, then a cosine to zero.

    Parameters
    ----------
    step : from 0
    steps : of the whole fit
    peak : highest rate
    """
    rise = max(1, steps // 20)
    if step < rise:
        return peak * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    return peak * 0.5 * (1 + math.cos(math.pi * done))
