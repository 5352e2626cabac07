"""CT window and square root of SUV, worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from small import STRAIGHT, case_on, in_counts

from boneviz.case import Case
from boneviz.errors import GridError, InputError
from boneviz.fuse import FuseConfig, fuse, require_modality
from boneviz.volume import Grid, Volume

LINE = Grid.straight((6, 1, 1), (2, 3, 4))


def along_x(ct: list[float], pet: list[float]) -> Case:
    hu = np.array(ct, np.int16).reshape(6, 1, 1)
    suv = np.array(pet, np.float32).reshape(6, 1, 1)
    return Case("P01", "", Volume(hu, LINE, "HU"), Volume(suv, LINE, "SUVbw"))


# L 400 / W 1800 runs from -500 to 1300: -50 is 450 / 1800 = 0.25, 850 is 1350 / 1800 = 0.75
HU = [-1000, -500, -50, 400, 850, 3000]
WINDOWED = [0, 0, 0.25, 0.5, 0.75, 1]
# sqrt(0.4 / 10) = 0.2, sqrt(2.5 / 10) = 0.5, sqrt(6.4 / 10) = 0.8
SUV = [-1, 0, 0.4, 2.5, 6.4, 40]
ROOTED = [0, 0, 0.2, 0.5, 0.8, 1]


def test_bone_window_and_root_of_suv() -> None:
    fused = fuse(along_x(HU, SUV), FuseConfig())
    assert fused.shape == (2, 6, 1, 1)
    assert fused.dtype == np.float32
    assert fused[0, :, 0, 0] == pytest.approx(WINDOWED)
    assert fused[1, :, 0, 0] == pytest.approx(ROOTED)


def test_another_window_and_scale() -> None:
    # L 50 / W 400 runs from -150 to 250: 50 is 0.5; SUV 3.2 of 5 is sqrt(0.64) = 0.8
    fused = fuse(
        along_x([-150, 50, 250, 0, 0, 0], [0, 3.2, 5, 0, 0, 0]), FuseConfig(50, 400, suv_clip=5)
    )
    assert fused[0, :3, 0, 0] == pytest.approx([0, 0.5, 1])
    assert fused[1, :3, 0, 0] == pytest.approx([0, 0.8, 1])


@pytest.mark.parametrize(
    ("modality", "ct", "pet"),
    [("fused", WINDOWED, ROOTED), ("ct", WINDOWED, [0] * 6), ("pet", [0] * 6, ROOTED)],
)
def test_an_ablation_blanks_the_other_channel_and_nothing_else(
    modality: str, ct: list[float], pet: list[float]
) -> None:
    fused = fuse(along_x(HU, SUV), FuseConfig(modality=modality))  # type: ignore[arg-type]
    assert fused[0, :, 0, 0] == pytest.approx(ct)
    assert fused[1, :, 0, 0] == pytest.approx(pet)


@pytest.mark.parametrize(("modality", "blank"), [("fused", ()), ("ct", (1,)), ("pet", (0, 2))])
def test_a_second_ct_window_is_a_third_channel(modality: str, blank: tuple[int, ...]) -> None:
    # L 50 / W 400 runs from -150 to 250: -50 is 0.25, all above 250 is 1
    config = FuseConfig(modality=modality, soft_tissue_hu=(50, 400))  # type: ignore[arg-type]
    fused = fuse(along_x(HU, SUV), config)
    assert fused.shape == (3, 6, 1, 1)
    assert config.channels == 3
    assert config.blank == blank
    expected = [WINDOWED, ROOTED, [0, 0, 0.25, 1, 1, 1]]
    for channel in range(3):
        there = [0] * 6 if channel in blank else expected[channel]
        assert fused[channel, :, 0, 0] == pytest.approx(there)


def test_ct_and_pet_on_two_grids_are_refused() -> None:
    with pytest.raises(
        GridError, match=r"patient P01: PET grid 3x4x5 .* differs from CT grid 5x4x3 .*harmonise"
    ):
        fuse(case_on(STRAIGHT, pet=Grid.straight((3, 4, 5), (2, 3, 4))), FuseConfig())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"width_hu": 0}, "window width 0 HU"),
        ({"suv_clip": -1}, "SUV clip -1: expected above 0"),
        ({"modality": "mri"}, "modality 'mri': expected one of fused, ct, pet"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        FuseConfig(**settings)  # type: ignore[arg-type]


def test_a_modality_is_spelt_exactly() -> None:
    with pytest.raises(InputError, match="modality 'CT': expected one of fused, ct, pet"):
        require_modality("CT")


@pytest.mark.parametrize("modality", ["fused", "pet"])
def test_counts_are_no_input_of_a_network_that_looks_at_them(modality: str) -> None:
    case = in_counts(along_x(HU, SUV))
    says = "patient P01: PET in counts, expected SUVbw: a network .* or use the modality ct"
    with pytest.raises(InputError, match=says):
        fuse(case, FuseConfig(modality=modality))  # type: ignore[arg-type]
    assert fuse(case, FuseConfig(modality="ct"))[0, :, 0, 0] == pytest.approx(WINDOWED)
