"""The table that `boneviz import` shows, how a series is chosen by it, and what it ends with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicommade import Scan, write_ct_series
from pydicom.dataset import Dataset
from studymade import CT_SHAPE, Study, ct_stored, write_study

from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.identity import Key, write_key
from boneviz.nifti import read_case

KEY = Key(bytes(range(32)))
P1, P2 = KEY.study_id("P1"), KEY.study_id("P2")
Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Return a function that imports ``tmp_path/h`` into ``tmp_path/c`` by a known key."""
    write_key(KEY, tmp_path / "key")

    def run(*more: str) -> tuple[int, str, str]:
        given = ["--out", str(tmp_path / "c"), "--key", str(tmp_path / "key"), "--yes", "--quiet"]
        status = main(["import", str(tmp_path / "h"), *given, *more])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def write_two_kernels(folder: Path, patient: str, kernel: object = "B30s") -> None:
    """Write a study with a second CT, 1 HU above the first."""
    study = Study(patient, f"of {patient}")
    write_study(folder, study)

    def smooth(_: int, ds: Dataset) -> None:
        ds.ConvolutionKernel = kernel

    scan = Scan(patient, study.name, "soft", f"frame {study.name}")
    write_ct_series(folder / "soft", ct_stored(study) + 1, scan=scan, edit=smooth)


def test_a_number_of_the_table_is_not_taken_for_another_series_later(
    tmp_path: Path, said: Said
) -> None:
    write_two_kernels(tmp_path / "h" / "m", "P2")
    status, out, _ = said()
    # ct, scout and soft, then the outlines and PET
    assert status == 1 and "2 CT series fit alike, series 1 and 3" in out
    assert said("--series", "3")[0] == 0
    write_two_kernels(tmp_path / "h" / "a", "P1")  # before the other, whose numbers it takes
    status, _, err = said("--series", "3")
    assert status == 1 and "holds cases already" in err and "give CASE:NUMBER" in err
    status, out, _ = said("--series", f"{P1}_S1:1", "--series", f"{P2}_S1:3")
    assert status == 0 and "1 sessions written, 1 there already" in out
    edges = {c.patient_id: int(read_case(c).ct.array[5, 5, 5]) for c in Cohort.open(tmp_path / "c")}
    assert edges == {P1: 700, P2: 701}


@pytest.mark.parametrize("given", ["first", ":3", f"{P1}_S1:", "-1"])
def test_a_series_that_is_no_number_is_refused(tmp_path: Path, said: Said, given: str) -> None:
    write_study(tmp_path / "h", Study("P1", "one"))
    status, _, err = said(f"--series={given}")
    assert status == 1 and "expected a NUMBER of the table, or CASE:NUMBER" in err


@pytest.mark.parametrize(
    ("kernel", "shown"),
    [
        ("B30s", "B30s"),
        (["Br40d", "3"], "Br40d"),
        ("BONEPLUS", "BONEPLUS"),
        ("FC18", "FC18"),
        ("Doe^Jane", ""),
        ("DOE", ""),
        ("B30s Doe", ""),
    ],
)
def test_a_kernel_is_shown_where_it_is_a_makers_word(
    tmp_path: Path, said: Said, kernel: object, shown: str
) -> None:
    write_two_kernels(tmp_path / "h", "P1", kernel)
    _, out, _ = said()
    lines = [line for line in out.splitlines() if "CT " in line and f"{CT_SHAPE[2]}x" in line]
    found = [re.search(r"CT +(\S*) +16x14x10 of 2 x 3 x 4 mm", line) for line in lines]
    assert sorted(each[1] for each in found if each) == sorted(["B60s", shown])
    assert not {"Doe", "DOE"} & set(re.findall(r"\w+", out))


def test_damaged_files_are_in_the_status(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h", Study("P1", "one"))
    lost = tmp_path / "h" / "loose" / "x.dcm"
    lost.parent.mkdir()
    lost.write_bytes((tmp_path / "h" / "ct" / "ct0000.dcm").read_bytes()[:300])
    status, out, err = said()
    assert status == 1 and "1 damaged files left out, see above" in err
    assert f"damaged  {lost}" in out and "1 sessions written" in out


def unnumbered(_: int, ds: Dataset) -> None:
    if "NumberOfSlices" in ds:
        del ds.NumberOfSlices


def test_a_pet_with_fewer_slices_than_it_says_is_refused(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h", Study("P1", "one"))
    (tmp_path / "h" / "pet" / "pt0004.dcm").unlink()
    status, out, err = said()
    assert status == 1 and "4 slices of a PET, and NumberOfSlices (0054,0081)" in out
    assert "no session that can be imported" in err and not (tmp_path / "c").exists()


def test_slices_lost_at_the_end_of_a_pet_are_not_a_shorter_pet(tmp_path: Path, said: Said) -> None:
    write_study(tmp_path / "h", Study("P1", "one", edit=unnumbered))
    for n in (0, 4):
        path = tmp_path / "h" / "pet" / f"pt{n:04d}.dcm"
        path.write_bytes(path.read_bytes()[:700])
    status, out, err = said()
    assert status == 1 and "2 damaged in the folder of series" in out
    assert "no session that can be imported" in err and not (tmp_path / "c").exists()
    number = re.search(r"in the folder of series (\d+)", out)
    assert number is not None
    status, _, err = said("--series", number[1])
    # it is written, and is not all well
    assert status == 1 and "2 damaged files left out" in err
    (ref,) = Cohort.open(tmp_path / "c")
    assert np.shape(read_case(ref).pet.array) == (10, 10, 3)
