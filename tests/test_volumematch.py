"""Dice of a model that draws as much as the reference, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import mask_of

from boneviz.metrics import Voxels
from boneviz.volumematch import above_zero, volume_matched_dice


def row(*probability: float) -> np.ndarray:
    return np.array(probability, dtype=np.float32).reshape(-1, 1, 1)


def matched(probability: np.ndarray, *outlined: int) -> float:
    voxels = mask_of([(x, 0, 0) for x in outlined], probability.shape)
    return volume_matched_dice(probability, above_zero(probability), Voxels.of(voxels))


def test_by_hand() -> None:
    # the two highest are voxels 3 and 0; the reference holds 0 and 1
    assert matched(row(0.8, 0.1, 0.3, 0.9, 0.2), 0, 1) == pytest.approx(1 / 2)
    # a model that is everywhere twice as sure draws larger at 0.5, and the same here
    sure = row(0.8, 0.6, 0.7, 0.9, 0.65)
    assert matched(sure, 0, 3) == 1
    assert matched(sure / 3, 0, 3) == 1


def test_voxels_that_share_the_level_count_in_part() -> None:
    # three voxels are wanted: voxel 0 is above the level of 0.5, two of the four at it make it up.
    # The reference holds voxel 0 and two of those four, of which half are drawn: 1 + 2 / 2 of 3
    assert matched(row(0.9, 0.5, 0.5, 0.5, 0.5, 0.1), 0, 1, 2) == pytest.approx(2 / 3)


def test_a_map_that_is_too_small_is_taken_whole() -> None:
    # two voxels above 0, one of them in the reference's three: 2 * 1 / (3 + 2)
    assert matched(row(0.2, 0, 0, 0.9), 0, 1, 2) == pytest.approx(2 / 5)
    assert matched(row(0, 0, 0, 0), 0) == 0


def test_nothing_outlined() -> None:
    assert math.isnan(matched(row(0.2, 0.9)))


def test_memory_order_does_not_matter() -> None:
    rng = np.random.default_rng(2)
    probability = rng.integers(0, 256, (5, 6, 7)).astype(np.float32) / 255
    reference = Voxels.of(rng.random((5, 6, 7)) < 0.3)
    expected = volume_matched_dice(probability, above_zero(probability), reference)
    assert (
        volume_matched_dice(
            np.asfortranarray(probability), above_zero(np.asfortranarray(probability)), reference
        )
        == expected
    )
    # drawn many times at random among equals, the mean is what is said
    order = [np.lexsort((rng.random(210), -probability.ravel())) for _ in range(4000)]
    inside = np.zeros(210, dtype=bool)
    inside[reference.position] = True
    drawn = [inside[best[: len(reference)]].mean() for best in order]
    assert expected == pytest.approx(np.mean(drawn), abs=2e-3)
