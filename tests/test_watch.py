"""Patients set aside during a fit: who they are, what a look finds, when it brought nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small import tiny_config
from torch import nn

from boneviz.patches import Sample
from boneviz.watch import Best, set_aside, watched_dice


def test_one_in_six_is_set_aside() -> None:
    patients = [f"P{n:02}" for n in range(18)]
    found = set_aside(patients, seed=3)
    assert len(found) == 3
    assert found < set(patients)
    assert found == set_aside(list(reversed(patients)), seed=3)
    assert len({set_aside(patients, seed=seed) for seed in range(8)}) > 1
    assert len(set_aside(["P1", "P2"], seed=0)) == 1


def test_a_gain_below_a_thousandth_is_none() -> None:
    best = Best()
    one, other = {"w": torch.tensor([1.0])}, {"w": torch.tensor([2.0])}
    best.look(0.0, one)  # the first look is the best so far, be it 0
    assert (best.dice, best.stale) == (0.0, 0)
    best.look(0.0009, other)
    assert (best.dice, best.stale, best.weights["w"].item()) == (0.0, 1, 1.0)
    best.look(0.5, other)
    assert (best.dice, best.stale, best.weights["w"].item()) == (0.5, 0, 2.0)
    other["w"].fill_(9)  # what goes on changing is not what was kept
    assert best.weights["w"].item() == 2.0


class Bright(nn.Module):
    """Says lesion where the first channel is above a half."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, :1] - 0.5


def test_dice_by_hand() -> None:
    # bright in 4 x 5 x 6 = 120 voxels, outlined in 3 of its 5 rows along y: 72;
    # Dice is 2 * 72 / (120 + 72) = 0.75 in the one, 1 in the other
    image = np.zeros((2, 16, 16, 16), np.float32)
    image[0, 2:6, 3:8, 4:10] = 1
    lesion = np.zeros((16, 16, 16), bool)
    lesion[2:6, 3:6, 4:10] = True
    whole = image[0] > 0
    samples = [Sample(image, mask, np.argwhere(mask)) for mask in (lesion, whole)]
    network = Bright().train()
    found = watched_dice(network, samples, tiny_config(), torch.device("cpu"))
    assert found == pytest.approx((0.75 + 1) / 2)
    assert network.training
