"""From a configuration to a network: MONAI's, for two channels in and one logit out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from monai.networks.nets import DynUNet, UNet

from boneviz.errors import InputError

__all__ = ["Architecture", "NetConfig", "build_network"]

Architecture = Literal["unet", "dynunet"]


@dataclass(frozen=True, slots=True)
class NetConfig:
    """The shape of the network.

    Parameters
    ----------
    architecture : ``unet`` (MONAI UNet, its first layer already strided: light on a CPU) or
        ``dynunet`` (MONAI DynUNet, convolutions at full resolution)
    filters : channels of each level, finest first; each level halves the resolution
    in_channels : 2, CT and PET
    """

    architecture: Architecture = "unet"
    filters: tuple[int, ...] = (16, 32, 64, 128)
    in_channels: int = 2

    def __post_init__(self) -> None:
        if self.architecture not in get_args(Architecture):
            raise InputError(
                f"architecture {self.architecture!r}: "
                f"expected one of {', '.join(get_args(Architecture))}"
            )
        if len(self.filters) < 2 or min(self.filters) < 1:
            raise InputError(f"filters {self.filters}: expected at least two positive numbers")
        object.__setattr__(self, "filters", tuple(self.filters))

    @property
    def divisor(self) -> int:
        """Input sides must be multiples of this many voxels."""
        return int(2 ** (len(self.filters) - 1))


def build_network(config: NetConfig) -> torch.nn.Module:
    """Return a network from (N, 2, X, Y, Z) in [0, 1] to (N, 1, X, Y, Z) logits.

    Instance norm throughout, so that a batch of two patches trains as a batch of one predicts.
    """
    levels = len(config.filters)
    network: torch.nn.Module
    if config.architecture == "unet":
        network = UNet(
            spatial_dims=3,
            in_channels=config.in_channels,
            out_channels=1,
            channels=config.filters,
            strides=(2,) * (levels - 1),
            num_res_units=2,
            norm="INSTANCE",
        )
    else:
        network = DynUNet(
            spatial_dims=3,
            in_channels=config.in_channels,
            out_channels=1,
            kernel_size=[3] * levels,
            strides=[1, *[2] * (levels - 1)],
            upsample_kernel_size=[2] * (levels - 1),
            filters=list(config.filters),
        )
    return network
