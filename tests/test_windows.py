"""Windows: where they lie, which are run, and that what is blended is what MONAI blends."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data.utils import compute_importance_map, dense_patch_slices
from monai.inferers import SlidingWindowInferer
from monai.networks.utils import pixelshuffle, pixelunshuffle
from torch import nn

from boneviz.forward import quicken
from boneviz.network import Architecture, NetConfig, _unshuffled, build_network
from boneviz.volume import Grid, Volume
from boneviz.windows import NEGLIGIBLE, body_of, importance, needed, padding, slide, starts

SIDES = st.tuples(*[st.integers(1, 40)] * 3)
PATCHES = st.tuples(*[st.sampled_from([1, 4, 7, 8, 12])] * 3)
OVERLAPS = st.sampled_from([0.0, 0.25, 0.5, 0.6, 0.875])


class Constant(nn.Module):
    """Say one logit everywhere, and count the windows asked about."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.logit, self.asked = logit, 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.asked += len(x)
        return torch.full_like(x[:, :1], self.logit)


class Place(nn.Module):
    """Answer by what is in the window and by where in the window it is, so that seams show."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ramp = torch.arange(x.shape[-1], dtype=torch.float32)
        return x[:, :1] * 3 + x[:, 1:] - 0.1 * ramp + x.mean(dim=(1, 2, 3, 4), keepdim=True)


def by_monai(
    image: torch.Tensor, network: Any, patch: tuple[int, int, int], overlap: float
) -> torch.Tensor:
    peer = SlidingWindowInferer(patch, 2, overlap, mode="gaussian", padding_mode="constant")
    with torch.inference_mode():
        found = peer(image[None], network)
    assert isinstance(found, torch.Tensor)
    return found[0, 0]


def everywhere(image: torch.Tensor) -> np.ndarray:
    return np.ones(tuple(image.shape[1:]), dtype=bool)


@given(SIDES, PATCHES, OVERLAPS)
def test_windows_lie_where_monais_do(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float
) -> None:
    padded = [max(n, side) for n, side in zip(shape, patch, strict=True)]
    # MONAI's interval: the whole side where one window fills it, else what is not shared
    steps = [
        side if n == side else max(1, int(side * (1 - overlap)))
        for n, side in zip(padded, patch, strict=True)
    ]
    peer = [tuple(s.start for s in each) for each in dense_patch_slices(padded, patch, steps)]
    assert starts(padded, patch, overlap) == peer


@given(SIDES, PATCHES, OVERLAPS, st.integers(0, 2**31))
def test_every_voxel_of_body_lies_in_a_window_that_is_run(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    body = np.pad(rng.random(shape) < 0.02, padding(shape, patch))
    places = starts(body.shape, patch, overlap)
    weight = importance(patch)
    run = needed(body, places, weight)
    kept, total = torch.zeros(body.shape), torch.zeros(body.shape)
    covered = np.zeros(body.shape, dtype=bool)
    for place, wanted in zip(places, run, strict=True):
        box = tuple(slice(a, a + n) for a, n in zip(place, patch, strict=True))
        total[box] += weight
        if wanted:
            kept[box] += weight
            covered[box] = True
            assert body[box].any()  # no window of air alone is run
    assert covered[body].all()
    if overlap <= 0.5:
        # windows at (0, s, 2s, ...) and one moved back to the end: three along an axis, 27 in all
        share = (kept / total).numpy()[body]
        assert (share >= 1 / (1 + 26 * NEGLIGIBLE) - 1e-5).all()


def test_windows_by_hand() -> None:
    # 10 voxels, windows of 4 that share 2: 0, 2, 4, 6. 7 voxels: 0, 2 and 4 moved back to 3
    assert starts((10, 4, 7), (4, 4, 4), 0.5) == [
        (x, 0, z) for x in (0, 2, 4, 6) for z in (0, 2, 3)
    ]
    # 5 voxels short by 3: 1 before, 2 after, as MONAI pads
    assert padding((5, 9, 4), (8, 8, 4)) == [(1, 2), (0, 0), (0, 0)]


@pytest.mark.parametrize("patch", [(4, 4, 4), (16, 8, 12), (64, 64, 64), (5, 7, 1)])
def test_weights_are_monais(patch: tuple[int, int, int]) -> None:
    peer = compute_importance_map(patch, mode="gaussian")
    assert torch.allclose(importance(patch), peer, rtol=1e-5, atol=0)


def test_weights_by_hand() -> None:
    # side 8: sigma 1; the outermost voxel lies 3.5 from the middle, its neighbour 2.5
    row = importance((8, 1, 1))[:, 0, 0]
    expected = [math.exp(-(3.5**2) / 2), math.exp(-(2.5**2) / 2)]
    assert row[:2].tolist() == pytest.approx(expected, rel=1e-5)
    # in a corner of 8 x 8 x 8 the product is below the least weight
    assert float(importance((8, 8, 8))[0, 0, 0]) == pytest.approx(1e-3)


@given(SIDES, PATCHES, OVERLAPS)
def test_a_constant_answer_stays_that_constant(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float
) -> None:
    if math.prod(shape) > 4000 and overlap > 0.5:
        overlap = 0.5  # a window a voxel takes long and shows no more
    image = torch.zeros((2, *shape))
    found = slide(image, [Constant(-1.5)], patch=patch, overlap=overlap, body=everywhere(image))
    assert tuple(found.shape) == (1, *shape)
    assert torch.allclose(found, torch.tensor(-1.5), atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "patch", "overlap"),
    [
        ((40, 25, 33), (16, 16, 16), 0.5),
        ((40, 25, 33), (16, 8, 12), 0.25),
        ((17, 16, 31), (16, 16, 16), 0.6),
        ((9, 20, 5), (16, 16, 16), 0.5),  # smaller than a window along two axes
        ((3, 2, 1), (16, 16, 16), 0.5),
    ],
)
def test_blending_is_monais_where_nothing_is_left_out(
    shape: tuple[int, int, int], patch: tuple[int, int, int], overlap: float
) -> None:
    image = torch.rand((2, *shape), generator=torch.Generator().manual_seed(1))
    found = slide(image, [Place()], patch=patch, overlap=overlap, body=everywhere(image))[0]
    peer = by_monai(image, Place(), patch, overlap)
    assert float((found - peer).abs().max()) < 1e-5


def test_far_air_is_neither_asked_about_nor_answered() -> None:
    # along x windows of 8 start at 0, 4, ..., 32; body is the voxels 0 and 1. The window at 0
    # takes all of voxel 0's weight, the one at 4 holds neither
    body = np.zeros((40, 8, 8), dtype=bool)
    body[:2] = True
    network = Constant(2.0)
    found = slide(torch.zeros((2, 40, 8, 8)), [network], patch=(8, 8, 8), overlap=0.5, body=body)
    assert network.asked == 2  # one window, and its double, since one alone is slow
    assert (found[0, :8] == 2.0).all()
    assert torch.isneginf(found[0, 8:]).all()
    assert (torch.sigmoid(found[0, 8:]) == 0).all()


def test_a_window_at_the_edge_of_which_body_lies_is_left_out() -> None:
    # voxel 4 is the outermost of the window at 4, 3.5 from its middle, and 0.5 from the middle of
    # the window at 0: the former weighs exp(-6.125) to exp(-0.125) there, which is 0.0025.
    # Voxel 5 lies 2.5 and 1.5 away: exp(-3.125) to exp(-1.125) is 0.14
    patch = (8, 1, 1)
    places = starts((12, 1, 1), patch, 0.5)
    assert places == [(0, 0, 0), (4, 0, 0)]
    for voxel, expected in ((4, [True, False]), (5, [True, True]), (3, [True, False])):
        body = np.zeros((12, 1, 1), dtype=bool)
        body[voxel] = True
        assert needed(body, places, importance(patch)).tolist() == expected


def test_air_alone_is_not_looked_at() -> None:
    network = Constant(5.0)
    found = slide(
        torch.zeros((2, 20, 20, 20)),
        [network],
        patch=(8, 8, 8),
        overlap=0.5,
        body=np.zeros((20, 20, 20), dtype=bool),
    )
    assert network.asked == 0
    assert torch.isneginf(found).all()


def test_body_is_what_is_no_air_and_a_centimetre_around_it() -> None:
    # spacing 2 x 3 x 5 mm: 10 mm are 5, 3.33 and 2 voxels, so 5, 4 and 2 are added on a side
    hu = np.full((15, 15, 15), -1000.0)
    hu[7, 7, 7] = -400.0  # fat, skin; -600 is air that noise has touched
    hu[0, 0, 0] = -600.0
    body = body_of(Volume(hu, Grid.straight(hu.shape, (2, 3, 5)), "HU"))
    expected = np.zeros(hu.shape, dtype=bool)
    expected[2:13, 3:12, 5:10] = True
    assert np.array_equal(body, expected)


def random_network(architecture: Architecture) -> nn.Module:
    torch.manual_seed(4)
    network = build_network(NetConfig(architecture, filters=(8, 16, 32))).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    return network


@pytest.mark.parametrize("architecture", ["dynunet", "segresnet", "unet"])
@pytest.mark.parametrize("shape", [(16, 24, 32), (8, 8, 16)])
def test_a_quickened_network_says_the_same(
    architecture: Architecture, shape: tuple[int, int, int]
) -> None:
    x = torch.rand((2, 2, *shape), generator=torch.Generator().manual_seed(2))
    network = random_network(architecture)
    with torch.inference_mode():
        plain = network(x)
        quick = quicken(network)(x.contiguous(memory_format=torch.channels_last_3d))
    assert quick.shape == plain.shape
    assert float(plain.std()) > 0.1
    assert float((quick - plain).abs().max()) < 1e-3
    # the corner is where padding would go wrong
    assert torch.allclose(quick[..., -1, -1, -1], plain[..., -1, -1, -1], atol=1e-3)


def test_networks_in_one_pass_say_what_each_says_alone() -> None:
    image = torch.rand((2, 30, 20, 20), generator=torch.Generator().manual_seed(3))
    networks = [quicken(random_network("unet")), Place()]
    options: Any = {"patch": (16, 16, 16), "overlap": 0.5, "body": everywhere(image)}
    both = slide(image, networks, **options)
    for one, network in zip(both, networks, strict=True):
        assert torch.equal(one, slide(image, [network], **options)[0])


def test_voxels_are_folded_as_monai_folds_them() -> None:
    # two channels of 4 x 2 x 2 voxels become sixteen of 2 x 1 x 1: channel by channel the eight
    # voxels of a place, z running fastest
    x = torch.arange(32.0).reshape(1, 2, 4, 2, 2)
    folded = _unshuffled(x, 2)
    assert folded.shape == (1, 16, 2, 1, 1)
    assert folded[0, :, 0, 0, 0].tolist() == [*range(8), *range(16, 24)]
    assert torch.equal(folded, pixelunshuffle(x, 3, 2))
    assert torch.equal(pixelshuffle(folded[:, :8], 3, 2), x[:, :1])
