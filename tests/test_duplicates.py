"""A scan is known again under another id, whatever its file says."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from small import limb, write_tiny_cohort

from boneviz.crossval import deal_folds
from boneviz.duplicates import refuse_duplicates, voxel_hash
from boneviz.errors import (
    CohortError,
)
from boneviz.nifti import write_volume
from boneviz.petrecord import PetRecord, write_pet_record
from boneviz.volume import Grid, Volume

#: 2 x 3 x 4 voxels with values of their own
CT = Volume(
    np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    Grid.straight((2, 3, 4), (2, 3, 5), (0, 0, 0)),
    "HU",
)


def test_a_scan_is_known_by_its_voxels_whatever_its_file(tmp_path: Path) -> None:
    def hashed(volume: Volume, name: str) -> str:
        write_volume(volume, tmp_path / name)
        return voxel_hash(tmp_path / name, "HU")

    array = CT.array
    own = hashed(CT, "ct.nii.gz")
    assert hashed(CT, "plain.nii") == own
    # another place, another spacing: the header was mended
    assert (
        hashed(Volume(array, Grid.straight((2, 3, 4), (1, 1, 1), (9, 9, 9)), "HU"), "b.nii") == own
    )
    # mirrored, and with axes swapped, as other converters write
    assert hashed(Volume(array[::-1], CT.grid, "HU"), "c.nii") == own
    turned = Volume(array.transpose(2, 0, 1), Grid.straight((4, 2, 3), (5, 2, 3), (0, 0, 0)), "HU")
    assert hashed(turned, "d.nii") == own
    # one voxel by 1 HU, or the same voxels in another shape, are another scan
    other = array.copy()
    other[1, 2, 3] += 1
    assert hashed(Volume(other, CT.grid, "HU"), "e.nii") != own
    flat = Volume(array.reshape(1, 4, 6), Grid.straight((1, 4, 6), (2, 3, 5), (0, 0, 0)), "HU")
    assert hashed(flat, "f.nii") != own


def test_a_pet_is_known_again_in_suv_and_in_counts(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path, [limb("P01"), limb("P02", place=1), limb("P03", place=2)])
    # one scan under two ids, of which one was imported without SUV: the same voxels
    shutil.copy(cohort["P01"].pet, cohort["P03"].pet)
    write_pet_record(PetRecord("counts"), cohort["P03"].pet)
    with pytest.raises(CohortError, match="patients P01 and P03 share one PET"):
        refuse_duplicates(cohort)


def test_sessions_of_one_patient_may_share_a_scan(tmp_path: Path) -> None:
    # one CT for two PETs is a study that was done twice, and the patient is in one fold anyway
    limbs = [limb("P01", "S1"), limb("P01", "S2", place=1), limb("P02", place=2)]
    cohort = write_tiny_cohort(tmp_path, limbs)
    shutil.copy(tmp_path / "P01" / "S1" / "ct.nii.gz", tmp_path / "P01" / "S2" / "ct.nii.gz")
    folds = deal_folds(cohort, n_folds=2, seed=0)
    assert sorted(folds.of_patient.values()) == [0, 1]
