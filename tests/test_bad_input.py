"""One bad file in a cohort: `boneviz score` says which, what it found, and what to do."""

from __future__ import annotations

import gzip
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from small import EXPERT_A, EXPERT_B

from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.scoretable import read_scores

Damage = Callable[[Cohort], None]


def rewrite(
    path: Path, change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> None:
    """Write an image again with other voxels or another affine."""
    image = nib.Nifti1Image.from_filename(path)
    array, affine = change(np.asanyarray(image.dataobj).copy(), image.affine.copy())
    nib.Nifti1Image(array, affine).to_filename(path)


def patch_header(path: Path, offset: int, *values: float) -> None:
    """Overwrite floats of a NIfTI header, which nibabel would not write so."""
    content = bytearray(gzip.decompress(path.read_bytes()))
    struct.pack_into(f"<{len(values)}f", content, offset, *values)
    path.write_bytes(gzip.compress(bytes(content)))


def other_shape(cohort: Cohort) -> None:
    rewrite(cohort["P02"].masks[EXPERT_A], lambda a, m: (a[:-1], m))


def other_spacing(cohort: Cohort) -> None:
    rewrite(cohort["P02"].masks[EXPERT_B], lambda a, m: (a, m @ np.diag([1, 1, 1.5, 1])))


def three_values(cohort: Cohort) -> None:
    def change(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        array = array.astype(np.uint8)
        array[0, 0, 0], array[1, 0, 0] = 2, 7
        return array, affine

    rewrite(cohort["P02"].masks[EXPERT_A], change)


def nan_at(path: Path) -> None:
    def change(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        array = array.astype(np.float32)
        array[1, 2, 3] = np.nan
        return array, affine

    rewrite(path, change)


def four_dimensions(cohort: Cohort) -> None:
    rewrite(cohort["P02"].pet, lambda a, m: (np.stack([a, a], axis=-1), m))


def spacing_of(x: float, y: float, z: float) -> Damage:
    """Give the CT's header voxels of this size: pixdim at 80, sform off, qform on (at 252)."""

    def damage(cohort: Cohort) -> None:
        path = cohort["P02"].ct
        content = bytearray(gzip.decompress(path.read_bytes()))
        struct.pack_into("<2h", content, 252, 1, 0)
        struct.pack_into("<3f", content, 80, x, y, z)
        path.write_bytes(gzip.compress(bytes(content)))

    return damage


def flat_sform(cohort: Cohort) -> None:
    patch_header(cohort["P02"].ct, 280 + 16, 0, 0, 0, 0)  # the row of y


def cut_short(cohort: Cohort) -> None:
    path = cohort["P02"].pet
    path.write_bytes(path.read_bytes()[:-2000])


@dataclass(frozen=True)
class Bad:
    name: str
    damage: Damage
    says: str


BAD = [
    Bad(
        "mask of another shape",
        other_shape,
        r"patient P02: mask of Expert A lies on 35x32x18 .* the CT's grid, 36x32x18 .*nearest",
    ),
    Bad(
        "mask on another grid",
        other_spacing,
        r"patient P02: mask of Expert B lies on .* 9 mm .* the CT's grid, .* 6 mm .*resample",
    ),
    Bad(
        "mask that is not binary",
        three_values,
        r"patient P02: .*expert_a\.nii\.gz: a mask with the values 0, 1, 2, 7: expected 0 and one "
        r"other; save each structure",
    ),
    Bad(
        "mask with NaN",
        lambda cohort: nan_at(cohort["P02"].masks[EXPERT_A]),
        r"patient P02: .*expert_a\.nii\.gz: a mask with NaN: expected 0 and 1",
    ),
    Bad(
        "PET with NaN",
        lambda cohort: nan_at(cohort["P02"].pet),
        r"patient P02: .*pet\.nii\.gz: 1 voxels of a SUVbw volume are NaN",
    ),
    Bad(
        "CT with NaN",
        lambda cohort: nan_at(cohort["P02"].ct),
        r"patient P02: .*ct\.nii\.gz: 1 voxels of a HU volume are NaN",
    ),
    Bad("4D", four_dimensions, r"patient P02: .*pet\.nii\.gz: 4D .* expected one 3D volume"),
    Bad(
        "spacing of zero",
        spacing_of(3, 0, 6),
        r"patient P02: .*ct\.nii\.gz: voxel spacing .* is zero or negative .*above 0; mend the",
    ),
    Bad(
        "negative spacing",
        spacing_of(3, -3, 6),
        r"patient P02: .*ct\.nii\.gz: voxel spacing .* is zero or negative .*above 0; mend the",
    ),
    Bad("sform without a y axis", flat_sform, r"patient P02: .*ct\.nii\.gz: .*spacing"),
    Bad("cut short", cut_short, r"patient P02: .*pet\.nii\.gz: "),
    Bad(
        "no mask of one expert",
        lambda cohort: cohort["P02"].masks[EXPERT_B].unlink(),
        r"patient P02: no expert_b\.nii\.gz .*an expert who saw no lesion gives an empty mask",
    ),
    Bad("no CT", lambda cohort: cohort["P02"].ct.unlink(), r"patient P02: PET without CT"),
]


def one_name_twice(cohort: Cohort) -> None:
    path = cohort.root / "cohort.toml"
    path.write_text(path.read_text().replace("Expert B", "Expert A"))


def empty_folder(cohort: Cohort) -> None:
    for path in sorted(cohort.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


BAD_COHORT = [
    Bad("a reader's name twice", one_name_twice, "reader name Expert A .*rename all but one"),
    Bad("an empty folder", empty_folder, r"neither a cohort\.toml nor a NIfTI file .*give a"),
]


def score(cohort: Cohort, out: Path, *more: str) -> int:
    return main(["score", str(cohort.root), "--out", str(out), "--workers", "1", "--quiet", *more])


@pytest.mark.parametrize("bad", [*BAD, *BAD_COHORT], ids=lambda bad: bad.name)
def test_one_line_names_patient_found_and_expected(
    tiny_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Bad
) -> None:
    out = tmp_path / "out" / "scores.parquet"
    bad.damage(tiny_cohort)
    assert score(tiny_cohort, out) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("boneviz: ")
    assert _says(bad.says, line), line
    assert printed.out == ""
    assert not out.exists()


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_keep_going_scores_the_others_and_does_not_hide_it(
    tiny_cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Bad
) -> None:
    out = tmp_path / "scores.csv"
    bad.damage(tiny_cohort)
    assert score(tiny_cohort, out, "--keep-going") == 3
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert line.startswith("boneviz: not scored: patient P02: ")
    assert _says(bad.says, line), line
    scores = read_scores(out)
    assert {row.case_id for row in scores} == {"P01", "P03", "P04", "P05", "P06"}
    (failure,) = scores.failures
    assert failure.case_id == "P02"
    assert failure.error in line


def _says(pattern: str, line: str) -> bool:
    return re.search(pattern, line) is not None
