"""Windows over a volume, blended by a Gaussian: every model sees each window once, air is left out.

Positions, weights and padding are those of MONAI's ``SlidingWindowInferer`` in its Gaussian mode,
so that masks agree with MONAI's. The weights fall so steeply that most voxels belong to one window
alone: a window is run only where some voxel of the body leans on it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from boneviz.volume import Volume

__all__ = ["body_of", "importance", "needed", "padding", "slide", "starts"]

#: voxels above this are body, not air; lung is kept by its vessels and walls
BODY_HU = -500.0
#: air so close to the body counts as body: an outlined ulcer may end beyond the skin
MARGIN_MM = 10.0
#: a window is run for a voxel of the body where it weighs more than this beside the window that
#: weighs most there; the worst that was found keeps 63 % of the weight of all, where the last
#: windows are moved back over others. Masks agree with those of all windows (benchmarks/RESULTS.md)
NEGLIGIBLE = 0.05
#: windows per call of a network; the fastest on two cores, and larger ones only fill memory
BATCH = 4

Triple = tuple[int, int, int]


def body_of(ct: Volume) -> NDArray[np.bool_]:
    """Return where the body is, and `MARGIN_MM` of air around it; the scanner's table is kept too.

    Parameters
    ----------
    ct : in HU, (X, Y, Z)
    """
    body = (ct.array > BODY_HU).view(np.uint8)
    for axis, spacing in enumerate(ct.grid.spacing_mm):
        size = 2 * int(np.ceil(MARGIN_MM / spacing - 1e-6)) + 1
        body = ndimage.maximum_filter1d(body, size, axis, mode="constant")
    return body.astype(np.bool_)


def padding(shape: Sequence[int], patch: Triple) -> list[tuple[int, int]]:
    """Return the zeros before and after each axis that make a small volume as large as a window."""
    short = [max(side - n, 0) for n, side in zip(shape, patch, strict=True)]
    return [(n // 2, n - n // 2) for n in short]


def starts(shape: Sequence[int], patch: Triple, overlap: float) -> list[Triple]:
    """Return the first voxel of every window, the last axis running fastest.

    Parameters
    ----------
    shape : of the volume in voxels, no side smaller than the window's
    patch : sides of a window in voxels
    overlap : share of a window that neighbours share, 0 <= overlap < 1
    """
    along = []
    for n, side in zip(shape, patch, strict=True):
        step = side if n == side else max(1, int(side * (1 - overlap)))
        # the last window is moved back to end with the volume
        along.append([min(k * step, n - side) for k in range(-(-(n - side) // step) + 1)])
    return [(x, y, z) for x, y, z in itertools.product(*along)]


def importance(patch: Triple) -> torch.Tensor:
    """Return the weights of a window's voxels, (X, Y, Z) float32.

    A Gaussian about the middle, its standard deviation an eighth of the side, nowhere below 0.001.
    """
    weight = torch.ones(1)
    for side in patch:
        away = torch.arange(side, dtype=torch.float32) - (side - 1) / 2
        weight = weight[..., None] * torch.exp(-(away**2) / (2 * (side / 8) ** 2))
    weight = weight[0]
    return weight.clamp(min=max(float(weight.min()), 1e-3))


def needed(
    body: NDArray[np.bool_], places: Sequence[Triple], weight: torch.Tensor
) -> NDArray[np.bool_]:
    """Say for every window whether some voxel of the body leans on it; (windows,) bool.

    Parameters
    ----------
    body : (X, Y, Z), as large as the padded volume
    places : first voxels of all windows
    weight : of a window's voxels, from `importance`
    """
    chosen = np.zeros(len(places), dtype=np.bool_)
    side = np.array(weight.shape)
    low, high = _box(body)
    first = np.array(places).reshape(-1, 3)
    # of a window that ends before the body begins nothing is asked, whatever it weighs
    near = np.flatnonzero(((first < high) & (first + side > low)).all(axis=1))
    if not len(near):
        return chosen
    reach = np.minimum(first[near].min(axis=0), low), np.maximum((first[near] + side).max(0), high)
    inside = torch.from_numpy(np.ascontiguousarray(body[_slices(*reach)]))
    most = torch.zeros(inside.shape)
    here = [_triple(first[n] - reach[0]) for n in near]
    for place in here:
        there = most[_window(place, weight.shape)]
        torch.maximum(there, weight, out=there)
    # where no body is, no weight is enough
    level = most.mul_(NEGLIGIBLE).masked_fill_(~inside, torch.inf)
    for n, place in zip(near, here, strict=True):
        chosen[n] = bool((weight > level[_window(place, weight.shape)]).any())
    return chosen


def slide(
    image: torch.Tensor,
    networks: Sequence[torch.nn.Module],
    *,
    patch: Triple,
    overlap: float,
    body: NDArray[np.bool_],
) -> torch.Tensor:
    """Run all networks over the windows of one volume that hold body.

    Parameters
    ----------
    image : (C, X, Y, Z) float32, on the device of the networks
    networks : from (N, C, *patch) to (N, 1, *patch) logits
    patch : sides of a window in voxels
    overlap : share of a window that neighbours share, 0 <= overlap < 1
    body : (X, Y, Z), where predictions are wanted

    Returns
    -------
    torch.Tensor
        (networks, X, Y, Z) float32 logits; minus infinity, a probability of 0, where no window
        was run.
    """
    around = padding(image.shape[1:], patch)
    if any(n for pair in around for n in pair):
        flat = [n for pair in reversed(around) for n in pair]  # torch pads the last axis first
        image = torch.nn.functional.pad(image, flat)
        body = np.pad(body, around)
    shape = tuple(image.shape[1:])
    found = torch.full((len(networks), *shape), -torch.inf, device=image.device)
    weight = importance(patch)
    places = starts(shape, patch, overlap)
    chosen = needed(body, places, weight)
    places = [place for place, wanted in zip(places, chosen, strict=True) if wanted]
    if places:
        # sums are kept where windows are run, which is little of a field of view of air
        low = np.min(places, axis=0)
        box = _slices(low, np.max(places, axis=0) + patch)
        places = [_triple(place - low) for place in np.array(places)]
        found[(slice(None), *box)] = _blend(
            image[(slice(None), *box)], networks, places, weight.to(image.device)
        )
    inner = [slice(low, n - high) for (low, high), n in zip(around, shape, strict=True)]
    return found[(slice(None), *inner)]


def _blend(
    image: torch.Tensor,
    networks: Sequence[torch.nn.Module],
    places: list[Triple],
    weight: torch.Tensor,
) -> torch.Tensor:
    """Return the mean of the windows' logits by weight, minus infinity where there is no window."""
    patch = weight.shape
    sums = torch.zeros((len(networks), *image.shape[1:]), device=image.device)
    weights = torch.zeros(image.shape[1:], device=image.device)
    with torch.inference_mode():
        for n in range(0, len(places), BATCH):
            batch = places[n : n + BATCH]
            # torch takes longer over a single float32 window in 3D than over two (inference.py)
            filled = batch * 2 if len(batch) == 1 else batch
            windows = torch.stack([image[(slice(None), *_window(p, patch))] for p in filled])
            for which, network in enumerate(networks):
                logits = network(windows)[:, 0]  # N,*patch
                for place, each in zip(batch, logits, strict=False):  # not the one that fills up
                    sums[which][_window(place, patch)].addcmul_(each.float(), weight)
            for place in batch:
                weights[_window(place, patch)] += weight
        nowhere = weights == 0
        return sums.div_(weights.masked_fill_(nowhere, 1)).masked_fill_(nowhere, -torch.inf)


def _box(body: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lowest voxel of the body and one past the highest; both 0 where there is none."""
    low, high = np.zeros(3, dtype=np.int64), np.zeros(3, dtype=np.int64)
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        found = np.flatnonzero(body.any(axis=others))
        if len(found):
            low[axis], high[axis] = found[0], found[-1] + 1
    return low, high


def _slices(low: NDArray[np.int64], high: NDArray[np.int64]) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _triple(place: NDArray[np.int64]) -> Triple:
    x, y, z = (int(n) for n in place)
    return x, y, z


def _window(place: Triple, patch: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(low, low + side) for low, side in zip(place, patch, strict=True))
