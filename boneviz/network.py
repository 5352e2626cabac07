"""From a configuration to a network: MONAI's, for fused channels in and one logit out."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from monai.networks.nets import DynUNet, SegResNet, UNet
from monai.networks.utils import pixelshuffle
from torch import nn

from boneviz.errors import InputError

__all__ = ["Architecture", "NetConfig", "build_network"]

Architecture = Literal["unet", "dynunet", "segresnet"]
#: a lesion is rare: a network that starts by doubting everything need not first learn that
FIRST_LOGIT = -2.0
#: at the last of which a voxel is half a metre
MOST_LEVELS = 10


@dataclass(frozen=True, slots=True)
class NetConfig:
    """The shape of the network.

    Parameters
    ----------
    architecture : MONAI's ``unet``, ``dynunet`` or ``segresnet``; benchmarks/RESULTS.md has how
        soon each is how good
    filters : channels of each level, finest first; each level halves the resolution. A
        ``segresnet`` doubles them from level to level
    unshuffle : voxels along each axis that are folded into channels before the first convolution,
        and unfolded after the last: at 2, eight voxels are one place with eight times the
        channels, and no convolution runs at full resolution, which is most of the work
    in_channels : 2, CT and PET; 3 with a second CT window
    """

    architecture: Architecture = "unet"
    filters: tuple[int, ...] = (16, 32, 64, 128)
    unshuffle: int = 2
    in_channels: int = 2

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            raise InputError(
                f"architecture {self.architecture!r}: "
                f"expected one of {', '.join(get_args(Architecture))}"
            )
        object.__setattr__(self, "filters", tuple(self.filters))
        for number in (*self.filters, self.unshuffle, self.in_channels):
            if type(number) is not int:
                raise InputError(f"network with {number!r} of something: expected whole numbers")
        if len(self.filters) > MOST_LEVELS:
            raise InputError(
                f"filters of {len(self.filters)} levels: expected at most {MOST_LEVELS}"
            )
        if len(self.filters) < 2 or min(self.filters) < 1:
            raise InputError(f"filters {self.filters}: expected at least two positive numbers")
        if self.architecture == "dynunet" and len(self.filters) < 3:
            raise InputError(f"filters {self.filters}: a dynunet takes at least three levels")
        doubled = tuple(self.filters[0] * 2**level for level in range(len(self.filters)))
        if self.architecture == "segresnet" and self.filters != doubled:
            raise InputError(
                f"filters {self.filters}: a segresnet doubles them, expected {doubled}"
            )
        if self.unshuffle < 1 or self.in_channels < 1:
            raise InputError(
                f"unshuffle {self.unshuffle}, {self.in_channels} channels: expected 1 or more"
            )

    @property
    def divisor(self) -> int:
        """Input sides must be multiples of this many voxels."""
        return int(self.unshuffle * 2 ** (len(self.filters) - 1))


def build_network(config: NetConfig) -> nn.Module:
    """Return a network from (N, in_channels, X, Y, Z) in [0, 1] to (N, 1, X, Y, Z) logits.

    No norm looks at other patches of a batch, so that a batch of two patches trains as a batch of
    one predicts. Nor does one follow the last convolution: MONAI's UNet with residual units has an
    instance norm on its one output channel, by which a patch without lesion looks like one with.
    """
    levels = len(config.filters)
    channels = config.in_channels * config.unshuffle**3, config.unshuffle**3
    inner: nn.Module
    if config.architecture == "dynunet":
        inner = DynUNet(
            spatial_dims=3,
            in_channels=channels[0],
            out_channels=channels[1],
            kernel_size=[3] * levels,
            strides=[1, *[2] * (levels - 1)],
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(config.filters),
        )
        last = inner.output_block.conv.conv
    elif config.architecture == "segresnet":
        inner = SegResNet(
            spatial_dims=3,
            init_filters=config.filters[0],
            in_channels=channels[0],
            out_channels=channels[1],
            norm=("GROUP", {"num_groups": min(8, config.filters[0])}),
            blocks_down=(1, *[2] * (levels - 1)),
            blocks_up=(1,) * (levels - 1),
        )
        last = inner.conv_final[-1].conv
    else:
        inner = UNet(
            spatial_dims=3,
            in_channels=channels[0],
            out_channels=channels[1],
            channels=config.filters,
            strides=(2,) * (levels - 1),
            num_res_units=2,
            norm="INSTANCE",
        )
        blocks: Any = inner.model  # down, all between, up; MONAI's parts come without types
        last = blocks[-1][-1].conv.unit0.conv
    nn.init.constant_(last.bias, FIRST_LOGIT)
    return _Folded(inner, config.unshuffle)


class _Folded(nn.Module):
    """A network at a fraction of the resolution, the voxels of each place being its channels."""

    def __init__(self, inner: nn.Module, unshuffle: int) -> None:
        super().__init__()
        self.inner, self.unshuffle = inner, unshuffle

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.unshuffle == 1:
            logits: torch.Tensor = self.inner(x.contiguous(memory_format=torch.channels_last_3d))
            return logits
        return pixelshuffle(self.inner(_unshuffled(x, self.unshuffle)), 3, self.unshuffle)


def _unshuffled(x: torch.Tensor, by: int) -> torch.Tensor:
    """Return what MONAI's `pixelunshuffle` returns, channels last.

    (N, C, X, Y, Z) becomes (N, C * by^3, X / by, Y / by, Z / by). One strided copy for each voxel
    of a place; a CPU takes much longer over one copy of eight dimensions.
    """
    n, c, *sides = x.shape
    short = [side // by for side in sides]
    folded = x.new_empty((n, *short, c, by, by, by))
    last = x.permute(0, 2, 3, 4, 1)  # N,X,Y,Z,C
    for i, j, k in itertools.product(range(by), repeat=3):
        folded[..., i, j, k] = last[:, i::by, j::by, k::by]
    return folded.view(n, *short, c * by**3).permute(0, 4, 1, 2, 3)
