"""A hospital's folder from end to end: imported, checked, scored, exported as SEG, read back."""

from __future__ import annotations

import re
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from studymade import (
    A_BLOCK,
    HOT,
    SHIFTED,
    SLOPES,
    TALLER,
    Study,
    mask_of,
    pet_stored,
    write_hospital,
)

from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.dicom import read_grid
from boneviz.dicomfiles import find_series
from boneviz.dicomseg import read_segments
from boneviz.labels import on_grid
from boneviz.nifti import read_case
from boneviz.readings import read_readings
from boneviz.volume import Grid

LABELS = ["--labels", "Expert A=lesion by A", "--labels", "Expert B=*by B"]
#: half a step of the PET's int16
HALF_STEP = HOT / 32767 / 2


@dataclass(frozen=True)
class Done:
    """One import, and what it printed."""

    hospital: Path
    cohort: Cohort
    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("import")
    hospital = write_hospital(folder / "hospital")
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main(["import", str(hospital), "--out", str(folder / "c"), "--yes", *LABELS])
    return Done(hospital, Cohort.open(folder / "c"), status, out.getvalue(), err.getvalue())


def by_sessions(done: Done) -> dict[str, str]:
    """Return case ids by patient of the hospital: P1 has two sessions, P2 one."""
    two = next(case.patient_id for case in done.cohort if case.session == "S2")
    (other,) = set(done.cohort.patients) - {two}
    return {"P1 first": f"{two}_S1", "P1 second": f"{two}_S2", "P2": f"{other}_S1"}


def test_the_table_says_what_was_chosen_and_why_not(done: Done) -> None:
    lines = [line for line in done.out.splitlines() if re.match(r"(->|  ) *\d+ P", line)]
    # 4 studies of CT, scout, PET, NAC, RTSTRUCT, SEG
    assert len(lines) == 24
    assert sum(line.startswith("->") for line in lines) == 3 * 4
    assert sum("not corrected for attenuation" in line for line in lines) == 4
    assert sum("a scout" in line for line in lines) == 4
    assert sum("outline of Expert A" in line for line in lines) == 3
    assert sum("outline of Expert B" in line for line in lines) == 3
    assert all("day 20" in line for line in lines if " S2 " in line)


def test_who_is_refused_is_told_and_stops_nobody(done: Done) -> None:
    assert done.status == 1
    assert len(re.findall(r"^refused  P\w+_S1: .*PatientWeight \(0010,1030\)", done.out, re.M)) == 1
    assert "3 sessions written" in done.out
    assert "1 refused" in done.err
    assert len(done.cohort) == 3


def test_voxels_are_those_of_the_study(done: Done) -> None:
    case = read_case(done.cohort[by_sessions(done)["P1 first"]])
    np.testing.assert_allclose(case.ct.grid.spacing_mm, (2, 3, 4))
    # air, soft tissue and bone as planted, in 16 x 14 x 10 voxels
    values, counts = np.unique(case.ct.array, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)).items() >= {
        (40, (12 * 12 - 7 * 7) * 10),
        (700, 7 * 7 * 10),
    }
    assert case.has_suv
    suv = pet_stored_suv("first")
    assert suv.max() == HOT
    np.testing.assert_allclose(case.pet.array, suv, atol=HALF_STEP)
    assert any("350000000" in line for line in case.pet_origin)


def pet_stored_suv(name: str) -> NDArray[np.float64]:
    """Return SUV (columns, rows, slices) of a study's PET by hand: stored x slope x 4e-4."""
    stored = pet_stored(Study("P1", name))
    return (stored * np.array(SLOPES)[:, None, None] * 4e-4).transpose(2, 1, 0)


@pytest.mark.parametrize(
    ("who", "b", "ml", "dice"),
    [
        ("P1 first", SHIFTED, 1.152, 3 / 7),
        ("P1 second", TALLER, 1.152, 6 / 7),
        ("P2", SHIFTED, 1.152, 3 / 7),
    ],
)
def test_outlines_and_their_scores(
    done: Done, who: str, b: tuple[slice, slice, slice], ml: float, dice: float
) -> None:
    readings = read_readings(done.cohort, done.cohort[by_sessions(done)[who]])
    masks = {reader.name: mask for reader, mask in readings.case.masks.items()}
    np.testing.assert_array_equal(masks["Expert A"].array, mask_of(A_BLOCK))
    np.testing.assert_array_equal(masks["Expert B"].array, mask_of(b))
    assert masks["Expert A"].volume_ml == pytest.approx(0.864)
    assert masks["Expert B"].volume_ml == pytest.approx(ml)
    scores = readings.scores()
    (score,) = (s for s in scores if s.reference.name == "Expert A")
    assert score.dice == pytest.approx(dice)


def test_check_has_nothing_to_say(done: Done, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(done.cohort.root), "--quiet"]) == 0
    assert "2 patients, 3 sessions" in capsys.readouterr().out


def test_segs_read_back_are_the_same_voxels_and_can_be_imported_again(
    done: Done, tmp_path: Path
) -> None:
    segs = tmp_path / "segs"
    given = ["--dicom-seg", str(segs), "--source", str(done.hospital), "--pair"]
    assert main(["export", str(done.cohort.root), *given, "Expert A", "Expert B", "--quiet"]) == 0
    who = by_sessions(done)
    (series,) = find_series(done.hospital / "x2" / "ct")
    lies = read_grid(series)
    for case_id, b in ((who["P1 first"], SHIFTED), (who["P1 second"], TALLER)):
        a_mask, b_mask = mask_of(A_BLOCK), mask_of(b)
        for file, expected in (
            ("expert_a", [a_mask]),
            ("expert_b", [b_mask]),
            ("expert_a_vs_expert_b", [a_mask & ~b_mask, b_mask & ~a_mask, a_mask & b_mask]),
        ):
            found = read_segments(segs / case_id / f"{file}.dcm")
            for segment, mask in zip(found, expected, strict=True):
                # both sessions lie alike, in frames of reference of their own
                grid = Grid(lies.shape, lies.affine_ras_mm)
                np.testing.assert_array_equal(on_grid(segment.volume, grid).volume.array, mask)
    again = [
        *("import", str(done.hospital), "--out", str(tmp_path / "again"), "--yes", "--quiet"),
        *("--key", str(done.cohort.root) + ".key"),
        *("--labels", f"Expert A={segs}::Expert A", "--labels", f"Expert B={segs}::Expert B"),
    ]
    assert main(again) == 1  # P3
    back = Cohort.open(tmp_path / "again")
    assert [case.case_id for case in back] == [case.case_id for case in done.cohort]
    for ref in done.cohort:
        ours, theirs = read_case(ref), read_case(back[ref.case_id])
        for reader, mask in ours.masks.items():
            np.testing.assert_array_equal(mask.array, theirs.masks[reader].array)
        np.testing.assert_array_equal(ours.pet.array, theirs.pet.array)
