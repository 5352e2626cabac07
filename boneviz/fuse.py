"""Early fusion: CT bone window and PET SUVbw as the channels of the network's input.

The ablations blank CT or PET and change nothing else, so that the same network, folds, seeds
and budget learn from fused, CT-only and PET-only input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from boneviz.cohort import Case
from boneviz.errors import GridError, InputError
from boneviz.volume import Unit

__all__ = ["FuseConfig", "Modality", "fuse", "require_modality", "require_suv"]

Modality = Literal["fused", "ct", "pet"]


@dataclass(frozen=True, slots=True)
class FuseConfig:
    """How voxels become network input.

    Parameters
    ----------
    level_hu, width_hu : the CT window, by default the bone window L 400 / W 1800
    suv_clip : SUVbw at which the PET channel saturates
    modality : ``fused``, or ``ct`` / ``pet`` with the other blank
    soft_tissue_hu : level and width of a second CT window, such as (50, 400), that becomes a
        third channel; none by default
    """

    level_hu: float = 400.0
    width_hu: float = 1800.0
    suv_clip: float = 10.0
    modality: Modality = "fused"
    soft_tissue_hu: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.width_hu <= 0 or self.suv_clip <= 0:
            raise InputError(
                f"window width {self.width_hu} HU, SUV clip {self.suv_clip}: expected above 0"
            )
        require_modality(self.modality)
        if self.soft_tissue_hu is not None:
            level, width = self.soft_tissue_hu
            if width <= 0:
                raise InputError(f"soft-tissue window width {width} HU: expected above 0")
            object.__setattr__(self, "soft_tissue_hu", (float(level), float(width)))

    @property
    def channels(self) -> int:
        """How many channels `fuse` returns."""
        return 2 if self.soft_tissue_hu is None else 3

    @property
    def blank(self) -> tuple[int, ...]:
        """The channels that hold nothing, by the ablation."""
        blank = {"fused": (), "ct": (1,), "pet": (0, 2)}[self.modality]
        return tuple(channel for channel in blank if channel < self.channels)


def require_modality(modality: str) -> Modality:
    """Return the modality of that name, or raise `InputError`."""
    for known in get_args(Modality):
        if modality == known:
            return known  # type: ignore[no-any-return]
    raise InputError(f"modality {modality!r}: expected one of {', '.join(get_args(Modality))}")


def require_suv(unit: Unit, case_id: str) -> None:
    """Raise `InputError` where a case's PET is in another unit than the one networks learn from."""
    if unit != "SUVbw":
        raise InputError(
            f"patient {case_id}: PET in {unit}, expected SUVbw: a network that learned from SUV "
            "cannot read it, nor one learn from it beside others; import it with what its SUV "
            "need, leave the patient out, or use the modality ct, which looks at no PET"
        )


def fuse(case: Case, config: FuseConfig) -> NDArray[np.float32]:
    """Return the network's input, (channels, X, Y, Z) float32 in [0, 1]: CT, PET, second CT window.

    CT is the window ``(HU - (level - width/2)) / width`` clipped to [0, 1]; PET is the square
    root of ``SUVbw / suv_clip`` clipped to [0, 1], which keeps low uptake apart beside hot organs.

    Raises
    ------
    GridError
        CT and PET are not on one grid.
    InputError
        The PET is in counts, and the network looks at it.
    """
    if config.modality != "ct":
        require_suv(case.pet.unit, case.case_id)
    if not case.pet.grid.matches(case.ct.grid):
        raise GridError(
            f"patient {case.case_id}: PET grid {case.pet.grid.describe()} differs from CT grid "
            f"{case.ct.grid.describe()}; call harmonise() first"
        )
    fused = np.zeros((config.channels, *case.ct.grid.shape), dtype=np.float32)
    if config.modality != "pet":
        hu = case.ct.array.astype(np.float32)
        _window(hu, config.level_hu, config.width_hu, out=fused[0])
        if config.soft_tissue_hu is not None:
            _window(hu, *config.soft_tissue_hu, out=fused[2])
    if config.modality != "ct":
        np.clip(case.pet.array.astype(np.float32) / config.suv_clip, 0, 1, out=fused[1])
        np.sqrt(fused[1], out=fused[1])
    return fused


def _window(
    hu: NDArray[np.float32], level_hu: float, width_hu: float, *, out: NDArray[np.float32]
) -> None:
    np.clip((hu - (level_hu - width_hu / 2)) / width_hu, 0, 1, out=out)
