"""Dice on patients set aside during a fit, by which it stops when it gets no better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from boneviz.patches import Sample, TrainConfig
from boneviz.windows import slide

__all__ = ["Best", "set_aside", "watched_dice"]

SHARE = 6  # one patient in so many is watched
LEAST_GAIN = 1e-3  # of Dice, below which a look brought nothing
OVERLAP = 0.25  # of windows: a look is a glance


@dataclass(slots=True)
class Best:
    """The best weights so far, and how many looks have brought none better.

    Parameters
    ----------
    dice : of the best look; below 0 before the first
    stale : looks since
    weights : of the best look
    """

    dice: float = -1.0
    stale: int = 0
    weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def look(self, dice: float, weights: Mapping[str, torch.Tensor]) -> None:
        """Take in what a look has found."""
        if dice >= self.dice + LEAST_GAIN:
            self.dice, self.stale = dice, 0
            self.weights = {name: t.detach().clone() for name, t in weights.items()}
        else:
            self.stale += 1


def set_aside(patients: Sequence[str], *, seed: int) -> frozenset[str]:
    """Return the training patients who are watched and not learned from: one in six, at least one.

    Parameters
    ----------
    patients : those with a lesion, as a Dice without one says nothing
    seed : of the draw
    """
    rng = np.random.default_rng(seed)
    ordered = sorted(set(patients))
    n = max(1, len(ordered) // SHARE)
    return frozenset(ordered[i] for i in rng.permutation(len(ordered))[:n].tolist())


def watched_dice(
    network: torch.nn.Module, samples: Sequence[Sample], config: TrainConfig, device: torch.device
) -> float:
    """Return the mean Dice of whole patients at the network's spacing, at a probability of 0.5.

    Parameters
    ----------
    network : with the weights to be looked at; it is left as it was
    samples : with a lesion each
    """
    training = network.training
    network.eval()
    found = []
    for sample in samples:
        logits = slide(
            torch.from_numpy(sample.image).to(device),
            [network],
            patch=config.patch,
            overlap=OVERLAP,
            body=np.ones(sample.lesion.shape, dtype=np.bool_),
        )
        mask = (logits[0] > 0).cpu().numpy()
        both = int((mask & sample.lesion).sum())
        found.append(2 * both / (int(mask.sum()) + int(sample.lesion.sum())))
    network.train(training)
    return float(np.mean(found))
