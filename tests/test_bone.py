"""Bone with its marrow, told from metal, contrast medium, specks and the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cases import (
    SPACING_MM,
)
from numpy.typing import NDArray

from boneviz.bone import bone_mask
from boneviz.nifti import read_volume


class TestBone:
    """A tube along z: 20 x 20 voxels, 40 x 60 mm, a cortex two voxels thick, open at both ends."""

    def tube(self, marrow_hu: float = -40) -> NDArray[np.float64]:
        hu = np.full((24, 24, 6), 20.0)
        hu[2:22, 2:22] = 800
        hu[4:20, 4:20] = marrow_hu  # 16 x 16 pixels of 6 mm2: 15.4 cm2
        return hu

    def found(self, hu: NDArray[np.float64]) -> NDArray[np.bool_]:
        return bone_mask(hu, spacing_mm=SPACING_MM)

    def test_fat_marrow_within_cortex_is_bone(self) -> None:
        expected = np.zeros((24, 24, 6), dtype=bool)
        expected[2:22, 2:22] = True
        np.testing.assert_array_equal(self.found(self.tube()), expected)
        np.testing.assert_array_equal(self.found(self.tube(marrow_hu=50)), expected)

    def test_cortex_open_in_one_slice_loses_that_slice_alone(self) -> None:
        hu = self.tube()
        hu[12, 2:4, 3] = 20
        np.testing.assert_array_equal(self.found(hu)[12, 12], [1, 1, 1, 0, 1, 1])

    def test_cortex_open_all_along_is_a_trough(self) -> None:
        hu = self.tube()
        hu[12, 2:4] = 20
        np.testing.assert_array_equal(self.found(hu), hu == 800)

    def test_a_ring_wider_than_any_marrow_stays_open(self) -> None:
        # 6 mm2 a pixel: 20 x 20 are 24 cm2, 21 x 20 are 25.2 cm2
        for n, enclosed in ((20, True), (21, False)):
            hu = np.full((30, 30, 4), 20.0)
            hu[2 : n + 6, 2:26] = 800
            hu[4 : n + 4, 4:24] = 20
            assert self.found(hu)[10, 10].all() == enclosed

    def test_a_nail_in_the_marrow_is_metal(self) -> None:
        hu = self.tube()
        hu[10:12, 10:12] = 3000
        found = self.found(hu)
        assert not found[10:12, 10:12].any()
        assert found[9, 9].all()

    def test_specks_below_half_a_millilitre_are_not_bone(self) -> None:
        # 16 voxels are 0.48 mL, 17 are 0.51 mL; the 17th touches at a corner
        hu = np.full((12, 12, 12), 20.0)
        hu[2:6, 2:6, 5] = 300
        assert not self.found(hu).any()
        hu[6, 6, 6] = 300
        assert self.found(hu).sum() == 17

    @pytest.mark.parametrize(("n_dense", "bone"), [(4, False), (5, True)])
    def test_what_has_no_cortex_is_contrast_medium(self, n_dense: int, bone: bool) -> None:
        # 5 x 5 x 4 voxels of 200 HU, 3 mL; of the hundred, 4 or 5 reach 250 HU
        hu = np.full((12, 12, 12), 40.0)
        hu[3:8, 3:8, 3:7] = 200
        hu[3, 3 : 3 + n_dense, 3] = 250
        assert self.found(hu).any() == bone

    @pytest.mark.parametrize(("around_hu", "bone"), [(-1000, False), (40, True)])
    def test_a_thin_sheet_in_air_is_the_table(self, around_hu: float, bone: bool) -> None:
        # two voxels of 2 mm thick; bone as thin lies in tissue
        hu = np.full((20, 12, 8), float(around_hu))
        hu[10:12] = 300
        assert self.found(hu).any() == bone


@pytest.mark.realdata
def test_the_table_of_a_real_scanner_is_not_bone(realdata: Path) -> None:
    # STS_002: two sheets of the table, 22 and 28 mL above 150 HU, lie beyond row 95 of y, where
    # the patient ends and no bone is
    ct = read_volume(realdata / "petct" / "STS_002" / "CT_image.nii.gz", "HU")
    hard = (ct.array >= 150)[:, 100:]
    assert hard.sum() * ct.grid.voxel_volume_ml > 40
    assert not bone_mask(ct.array, spacing_mm=ct.grid.spacing_mm)[:, 100:].any()
