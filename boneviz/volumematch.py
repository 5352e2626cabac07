"""How well a model agrees with a reader when it draws as much as the reader does."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from boneviz.metrics import Voxels

__all__ = ["above_zero", "volume_matched_dice"]


def above_zero(probability: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the probabilities above 0 of a map, (n,), in the order in which they lie in memory."""
    stored = probability.ravel(order="K")
    return np.asarray(stored[stored > 0])


def volume_matched_dice(
    probability: NDArray[np.floating], some: NDArray[np.floating], reference: Voxels
) -> float:
    """Return Dice with the map cut at the level at which its volume is the reference's.

    It leaves out how large a model draws and keeps where. Probabilities are stored in 255 steps,
    so that many voxels share the level: of those the share counts that makes up the volume, as if
    they were drawn at random. A map with fewer voxels above 0 than the reference has is taken
    whole.

    Parameters
    ----------
    probability : (X, Y, Z), 0 to 1
    some : of `above_zero`, once for all references
    reference : another reader's outline on the same grid

    Returns
    -------
    float
        0 to 1; NaN where the reference is empty.
    """
    n = len(reference)
    if not n:
        return math.nan
    of_reference = probability[tuple(reference.index.T)]
    if some.size <= n:
        return 2 * int(np.count_nonzero(of_reference)) / (n + some.size)
    level = np.partition(some, some.size - n)[some.size - n]
    n_above, n_at = int(np.count_nonzero(some > level)), int(np.count_nonzero(some == level))
    shared = int(np.count_nonzero(of_reference > level))
    shared_at_level = int(np.count_nonzero(of_reference == level))
    return (shared + shared_at_level * (n - n_above) / n_at) / n
