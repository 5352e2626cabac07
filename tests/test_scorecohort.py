"""A cohort scored on all cores, cut off and gone on with, and what a bad patient does to it."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import EXPERT_A, EXPERT_B, limb, put_into_counts, write_case, write_tiny_cohort
from test_readings import give_predictions, give_variants

from boneviz import scorecohort
from boneviz.case import CaseRef
from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.errors import BonevizError, CohortError, InputError
from boneviz.nifti import read_volume, write_volume
from boneviz.petrecord import PetRecord, write_pet_record
from boneviz.readings import Readings, read_readings
from boneviz.score import ScoreSettings
from boneviz.scorecohort import content_hash, score_cohort
from boneviz.scoretable import lesions_table, read_scores, row_of, scores_table
from boneviz.volume import Volume


@pytest.fixture
def read_cases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which cases are read to be scored, in this process."""
    read: list[str] = []

    def reading(cohort: Cohort, ref: CaseRef, *, predictions: str | Path | None) -> Readings:
        read.append(ref.case_id)
        return read_readings(cohort, ref, predictions=predictions)

    monkeypatch.setattr(scorecohort, "read_readings", reading)
    return read


def rows_of(scores: object) -> list[str]:
    return [repr(row_of(row)) for row in scores]  # type: ignore[attr-defined]


def erode(path: Path) -> None:
    """Take the first outlined voxel out of a mask."""
    mask = read_volume(path, "label")
    array = mask.array.copy()
    array[tuple(np.argwhere(array)[0])] = False
    write_volume(Volume(array, mask.grid, "label"), path)


def test_processes_give_what_one_gives(tiny_cohort: Cohort) -> None:
    give_predictions(tiny_cohort)
    alone = score_cohort(tiny_cohort, workers=1, progress=False)
    assert len(alone) == 6 * len(tiny_cohort) == 36
    both = score_cohort(tiny_cohort, workers=2, progress=False)
    assert rows_of(both) == rows_of(alone)
    assert [row.case_id for row in both] == sorted(row.case_id for row in both)


def test_parquet_and_csv_say_the_same(tiny_cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "out" / "scores.parquet"
    scores = score_cohort(tiny_cohort, out=out, progress=False)
    assert rows_of(read_scores(out)) == rows_of(scores)
    assert rows_of(read_scores(out.with_suffix(".csv"))) == rows_of(scores)
    assert sorted(path.name for path in out.parent.iterdir()) == ["scores.csv", "scores.parquet"]
    assert {len(row.content_hash) for row in scores} == {64}


def test_a_second_run_scores_only_what_has_changed(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str]
) -> None:
    out = tmp_path / "scores.parquet"
    give_predictions(tiny_cohort)
    first = score_cohort(tiny_cohort, out=out, workers=1, progress=False)
    read_cases.clear()
    assert rows_of(score_cohort(tiny_cohort, out=out, workers=1, progress=False)) == rows_of(first)
    assert read_cases == []
    erode(tiny_cohort["P03"].masks[EXPERT_B])
    second = score_cohort(tiny_cohort, out=out, workers=1, progress=False)
    assert read_cases == ["P03"]
    changed = {
        old.case_id
        for old, new in zip(first, second, strict=True)
        if repr(row_of(old)) != repr(row_of(new))
    }
    assert changed == {"P03"}
    assert rows_of(read_scores(out)) == rows_of(second)
    # and what is no longer in the cohort is no longer in the table
    fewer = score_cohort(tiny_cohort.only(["P01", "P02"]), out=out, workers=1, progress=False)
    assert {row.case_id for row in read_scores(out)} == {row.case_id for row in fewer}
    assert read_cases == ["P03"]


@pytest.mark.parametrize(
    "settings",
    [
        ScoreSettings(threshold=0.4),
        ScoreSettings(tolerance_mm=(1.0, 2.0, 5.0)),
        ScoreSettings(surface="mesh"),
    ],
)
def test_other_settings_score_everything_anew(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str], settings: ScoreSettings
) -> None:
    cohort, out = tiny_cohort.only(["P01", "P02"]), tmp_path / "scores.csv"
    score_cohort(cohort, out=out, workers=1, progress=False)
    score_cohort(cohort, out=out, workers=1, settings=settings, progress=False)
    assert read_cases == ["P01", "P02"] * 2


def test_every_input_is_in_the_hash(tiny_cohort: Cohort) -> None:
    give_predictions(tiny_cohort)
    ref, settings = tiny_cohort["P01"], ScoreSettings()

    def now() -> str:
        return content_hash(tiny_cohort, ref, predictions=None, settings=settings)

    seen = [now()]
    assert now() == seen[0]
    folder = tiny_cohort.root / "predictions" / "model_a"
    files = [ref.ct, ref.pet, *ref.masks.values(), folder / "P01.nii.gz", folder / "P01.json"]
    for path in files:
        before = path.read_bytes()
        path.write_bytes(before + b" ")
        seen.append(now())
        path.write_bytes(before)
    assert len(set(seen)) == len(files) + 1
    write_pet_record(PetRecord(), ref.pet)
    seen.append(now())
    write_pet_record(PetRecord("counts"), ref.pet)
    seen.append(now())
    assert len(set(seen)) == len(files) + 3
    (folder / "P01.json").unlink()
    assert now() not in seen


def test_a_patient_in_counts_has_no_suv_and_all_else(tiny_cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    before = score_cohort(tiny_cohort, progress=False, out=out)
    put_into_counts(tiny_cohort["P02"])
    scores = score_cohort(tiny_cohort, progress=False, out=out)
    assert [row.pet_unit for row in scores] == ["SUVbw", "counts", *["SUVbw"] * 4]
    numbers, was = scores[1].numbers(), before[1].numbers()
    absent = {name for name, value in numbers.items() if math.isnan(value)}
    absent -= {name for name, value in was.items() if math.isnan(value)}
    figures = ("suv_max", "suv_mean", "suv_peak", "tlg_ml")
    assert absent == {f"{who}_{what}" for who in ("reference", "candidate") for what in figures}
    assert {n: v for n, v in numbers.items() if n not in absent and not math.isnan(v)} == {
        n: v for n, v in was.items() if n not in absent and not math.isnan(v)
    }
    # the table says so, and an older one without the column is of SUV
    assert [row.pet_unit for row in read_scores(out)] == [row.pet_unit for row in scores]
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    assert table["reference_suv_max"][1] == "nan"
    table.drop(columns="pet_unit").to_csv(out, index=False)
    assert {row.pet_unit for row in read_scores(out)} == {"SUVbw"}
    table["pet_unit"] = "Bq"
    table.to_csv(out, index=False)
    with pytest.raises(InputError, match="pet_unit 'Bq': expected SUVbw, counts"):
        read_scores(out)


def test_a_run_that_was_killed_goes_on_where_it_stopped(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str]
) -> None:
    out = tmp_path / "scores.parquet"
    script = (
        "import sys, time\n"
        "from boneviz import scorecohort\n"
        "from boneviz.cohort import Cohort\n"
        "reading = scorecohort.read_readings\n"
        "def slow(*args, **more):\n"
        "    time.sleep(0.4)\n"
        "    return reading(*args, **more)\n"
        "scorecohort.read_readings = slow\n"
        "scorecohort.score_cohort(Cohort.open(sys.argv[1]), out=sys.argv[2], workers=1)\n"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", script, str(tiny_cohort.root), str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    journal = tmp_path / ".scores.parquet.journal"
    deadline = time.monotonic() + 60
    while not (journal.is_file() and journal.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not out.exists()
    # as if it had been cut off in the middle of a line, too
    with journal.open("a") as stream:
        stream.write('[{"patient_id": "P0')
    scores = score_cohort(tiny_cohort, out=out, workers=1, progress=False)
    n_left = len(read_cases)
    assert 0 < n_left <= 4
    assert rows_of(scores) == rows_of(score_cohort(tiny_cohort, workers=1, progress=False))
    assert not journal.exists()


def test_what_was_scored_before_an_error_is_kept(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str]
) -> None:
    out = tmp_path / "scores.parquet"
    whole = tiny_cohort["P04"].pet.read_bytes()
    tiny_cohort["P04"].pet.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"patient P04: .*pet"):
        score_cohort(tiny_cohort, out=out, workers=1, progress=False)
    assert not out.exists()
    tiny_cohort["P04"].pet.write_bytes(whole)
    read_cases.clear()
    score_cohort(tiny_cohort, out=out, workers=1, progress=False)
    assert read_cases == ["P04", "P05", "P06"]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_process_is_the_error_of_the_run(tiny_cohort: Cohort, workers: int) -> None:
    tiny_cohort["P02"].ct.write_bytes(b"no gzip")
    with pytest.raises(BonevizError, match=r"patient P02: .*ct"):
        score_cohort(tiny_cohort, workers=workers, progress=False)


@pytest.mark.parametrize("workers", [1, 2])
def test_keep_going_leaves_the_bad_patient_out_and_says_so(
    tiny_cohort: Cohort, tmp_path: Path, workers: int
) -> None:
    give_predictions(tiny_cohort)
    tiny_cohort["P02"].ct.write_bytes(b"no gzip")
    out = tmp_path / "scores.parquet"
    scores = score_cohort(tiny_cohort, out=out, workers=workers, keep_going=True, progress=False)
    assert len(scores) == 6 * 5
    (failure,) = scores.failures
    assert failure.case_id == "P02"
    assert "patient P02" in failure.error
    for path in (out, out.with_suffix(".csv")):
        assert read_scores(path).failures == scores.failures
        assert rows_of(read_scores(path)) == rows_of(scores)
    table = pd.read_parquet(out)
    (row,) = table[table["status"] == "failed"].to_dict("records")
    assert (row["patient_id"], row["error"]) == ("P02", failure.error)
    assert np.isnan(row["dice"])
    evaluation = cross_evaluate(scores)
    assert list(evaluation.values.index) == ["P01", "P03", "P04", "P05", "P06"]
    assert evaluation.words.startswith("Not scored, and in none of these numbers: P02. ")


def test_a_patient_without_one_expert_is_set_aside(tiny_cohort: Cohort) -> None:
    tiny_cohort["P05"].masks[EXPERT_B].unlink()
    with pytest.raises(CohortError, match=r"patient P05: no expert_b.nii.gz in .*empty mask"):
        Cohort.open(tiny_cohort.root)
    cohort = Cohort.open(tiny_cohort.root, incomplete="set aside")
    assert len(cohort) == 5
    with pytest.raises(InputError, match=r"patient P05: no expert_b.nii.gz"):
        score_cohort(cohort, progress=False)
    scores = score_cohort(cohort, keep_going=True, progress=False)
    assert {row.case_id for row in scores} == {"P01", "P02", "P03", "P04", "P06"}
    assert [failure.case_id for failure in scores.failures] == ["P05"]


def test_nothing_but_failures_is_a_table_too(tiny_cohort: Cohort, tmp_path: Path) -> None:
    cohort = tiny_cohort.only(["P01"])
    cohort["P01"].ct.write_bytes(b"no gzip")
    out = tmp_path / "scores.csv"
    scores = score_cohort(cohort, out=out, keep_going=True, progress=False)
    assert (len(scores), len(scores.failures)) == (0, 1)
    assert read_scores(out) == scores
    with pytest.raises(InputError, match="no scores to compare"):
        cross_evaluate(scores)


def test_a_table_of_another_version_is_made_anew(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str]
) -> None:
    out, cohort = tmp_path / "scores.csv", tiny_cohort.only(["P01"])
    old = {"patient_id": ["P01"], "status": ["both"], "version": ["0.0.1"], "dice": [1.0]}
    pd.DataFrame(old).to_csv(out, index=False)
    (tmp_path / ".scores.csv.journal").write_text(json.dumps([{"patient_id": "P01"}]) + "\n")
    scores = score_cohort(cohort, out=out, workers=1, progress=False)
    assert read_cases == ["P01"]
    assert rows_of(read_scores(out)) == rows_of(scores)


def test_impossible_options(tiny_cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 workers: expected 1 or more"):
        score_cohort(tiny_cohort, workers=0)
    with pytest.raises(InputError, match=r"ending in \.parquet or \.csv"):
        score_cohort(tiny_cohort, out=tmp_path / "scores.txt")
    with pytest.raises(InputError, match="surface 'meshes': expected one of grid, mesh"):
        ScoreSettings(surface="meshes")  # type: ignore[arg-type]


def test_lesions_table(tiny_cohort: Cohort) -> None:
    scores = score_cohort(tiny_cohort, progress=False)
    table = lesions_table(scores)
    # one box in each patient, which expert B draws 6 mm further in
    assert list(table["patient_id"]) == list(tiny_cohort.patients)
    assert (table["reference_lesions"] == 1).all()
    np.testing.assert_allclose(table["hd95_mm"], scores_table(scores)["hd95_mm"])
    for (_, row), place in zip(table.iterrows(), tiny_cohort.patients, strict=True):
        middle = limb("", place=int(place[1:]) - 1).centre_mm
        # the centroid of voxels of up to 6 mm lies within half a voxel of the box's middle
        np.testing.assert_allclose(row[["x_mm", "y_mm", "z_mm"]].astype(float), middle, atol=3)


def test_a_cohort_in_which_nobody_else_reads(tmp_path: Path) -> None:
    case = limb("P01").case(seed=1)
    case = type(case)("P01", "", case.ct, case.pet, {EXPERT_A: case.masks[EXPERT_A]})
    write_tiny_cohort(tmp_path / "both", [limb("P01")])
    root = tmp_path / "one"
    ref = write_case(case, root)
    Cohort("One", root, (EXPERT_A,), (ref,)).save()
    scores = score_cohort(Cohort.open(root), progress=False)
    assert scores.scores == ()
    # said, and no error: nobody can be compared with expert A
    (failure,) = scores.failures
    assert failure.error == "patient P01: read by Expert A alone; expected two readers to compare"
    assert len(score_cohort(Cohort.open(tmp_path / "both"), progress=False)) == 1


def test_memory_does_not_grow_with_the_cohort(tmp_path: Path) -> None:
    """A volume of the tiny cohort takes some 80 kB as float32; rows of scores take 2 kB each."""
    peaks = []
    for n_patients in (6, 30):
        cohort = write_tiny_cohort(
            tmp_path / str(n_patients), [limb(f"P{n:02}", place=n % 3) for n in range(n_patients)]
        )
        give_predictions(cohort)
        tracemalloc.start()
        rows = len(score_cohort(cohort, workers=1, progress=False))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == 6 * n_patients
    # keeping the volumes of 24 more patients, 3 MB at least, would show
    assert peaks[1] < peaks[0] + 24 * 6 * 8_000


def test_the_order_of_experts_is_part_of_what_a_row_says(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str]
) -> None:
    out = tmp_path / "scores.parquet"
    score_cohort(tiny_cohort, out=out, workers=1, progress=False)
    path = tiny_cohort.root / "cohort.toml"
    turned = Cohort.open(tiny_cohort.root)
    turned = replace(turned, readers=turned.readers[::-1])
    turned.save()
    assert path.read_text().index("Expert B") < path.read_text().index("Expert A")
    read_cases.clear()
    rows = score_cohort(Cohort.open(tiny_cohort.root), out=out, workers=1, progress=False)
    assert len(read_cases) == 6
    assert {row.reference.name for row in rows} == {"Expert B"}


def test_rows_taken_out_of_the_table_are_scored_again(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str]
) -> None:
    give_predictions(tiny_cohort)
    out = tmp_path / "scores.csv"
    whole = score_cohort(tiny_cohort, out=out, workers=1, progress=False)
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    gone = (table["patient_id"] == "P02") & (table["candidate"] == "Model A")
    table[~gone].to_csv(out, index=False)
    read_cases.clear()
    assert rows_of(score_cohort(tiny_cohort, out=out, workers=1, progress=False)) == rows_of(whole)
    assert read_cases == ["P02"]


def test_a_mistyped_folder_of_predictions_is_refused_every_time(
    tiny_cohort: Cohort, tmp_path: Path
) -> None:
    out = tmp_path / "scores.csv"
    score_cohort(tiny_cohort, out=out, progress=False)
    with pytest.raises(CohortError, match="nowhere: no predictions here"):
        score_cohort(tiny_cohort, predictions=tmp_path / "nowhere", out=out, progress=False)


def test_probabilities_that_are_gone_are_named(tiny_cohort: Cohort) -> None:
    give_predictions(tiny_cohort)
    (tiny_cohort.root / "predictions" / "model_a" / "P03.nii.gz").unlink()
    with pytest.raises(InputError, match=r"patient P03: No such file .*P03\.nii\.gz; expected a"):
        score_cohort(tiny_cohort, workers=1, progress=False)


def test_what_is_no_table_of_scores_is_not_overwritten(tiny_cohort: Cohort, tmp_path: Path) -> None:
    mine = tmp_path / "scores.csv"
    mine.write_text("patient_id,weight\nP01,70\n")
    for out in (mine, tmp_path / "scores.parquet"):
        with pytest.raises(InputError, match=r"scores\.csv: there already, and no table of scores"):
            score_cohort(tiny_cohort, out=out, progress=False)
    assert mine.read_text() == "patient_id,weight\nP01,70\n"
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(InputError, match=r"folder\.csv: a folder, expected a file name"):
        score_cohort(tiny_cohort, out=tmp_path / "folder.csv", progress=False)


def test_a_patient_too_large_for_memory_is_one_line_and_can_be_left_out(
    tiny_cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reading(cohort: Cohort, ref: CaseRef, *, predictions: str | Path | None) -> Readings:
        if ref.case_id == "P02":
            raise MemoryError
        return read_readings(cohort, ref, predictions=predictions)

    monkeypatch.setattr(scorecohort, "read_readings", reading)
    with pytest.raises(InputError, match=r"patient P02: not enough memory .*--workers 1"):
        score_cohort(tiny_cohort, workers=1, progress=False)
    scores = score_cohort(tiny_cohort, workers=1, keep_going=True, progress=False)
    assert (len(scores), [failure.case_id for failure in scores.failures]) == (5, ["P02"])


@pytest.mark.parametrize("how", ["die", "interrupt"])
def test_a_run_that_ends_from_outside_says_so_in_one_line(
    tiny_cohort: Cohort, tmp_path: Path, how: str
) -> None:
    """A worker ended for want of memory; Ctrl-C in the terminal."""
    out = tmp_path / "scores.csv"
    script = (
        "import os, signal, sys, time\n"
        "from boneviz import scorecohort\n"
        "from boneviz.cli import main\n"
        # ignored where a shell started the tests in the background
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "how, reading = sys.argv[1], scorecohort.read_readings\n"
        "def read(cohort, ref, *, predictions):\n"
        "    if how == 'die' and ref.case_id == 'P04':\n"
        "        os._exit(137)\n"
        "    time.sleep(0.5)\n"
        "    return reading(cohort, ref, predictions=predictions)\n"
        "class Task:\n"
        "    def __init__(self, task):\n"
        "        self.task = task\n"
        "    def __call__(self, ref, known):\n"
        "        from boneviz import scorecohort\n"
        "        scorecohort.read_readings = read\n"
        "        return self.task(ref, known)\n"
        "each = scorecohort._each\n"
        "scorecohort._each = lambda task, *rest: each(Task(task), *rest)\n"
        "sys.exit(main(['score', *sys.argv[2:]]))\n"
    )
    options = [str(tiny_cohort.root), "--out", str(out), "--workers", "2", "--quiet"]
    run = subprocess.Popen(
        [sys.executable, "-c", script, how, *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    if how == "interrupt":
        journal = tmp_path / ".scores.csv.journal"
        deadline = time.monotonic() + 60
        while not journal.is_file():
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.05)
        os.killpg(run.pid, signal.SIGINT)
    said = run.communicate(timeout=60)[1].splitlines()
    expected, status = {
        "die": ("boneviz: one of 2 processes was ended from outside", 1),
        "interrupt": ("boneviz: stopped; run the same command again", 130),
    }[how]
    assert run.returncode == status
    assert len(said) == 1 and said[0].startswith(expected), said
    assert not out.exists()


def test_variants_are_resumed_too_and_one_gone_is_missed(
    tiny_cohort: Cohort, tmp_path: Path, read_cases: list[str]
) -> None:
    cohort, out = tiny_cohort.only(["P01", "P02"]), tmp_path / "scores.csv"
    give_predictions(cohort)
    cohort = give_variants(cohort)
    whole = score_cohort(cohort, out=out, workers=1, progress=False)
    assert len(whole) == 2 * 18
    read_cases.clear()
    assert rows_of(score_cohort(cohort, out=out, workers=1, progress=False)) == rows_of(whole)
    assert read_cases == []
    # all rows of a variant of P02: the pairs that are left are every pair of nine readers
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    gone = (table["patient_id"] == "P02") & (table["candidate"] == "Model A (CT only)")
    assert gone.sum() == 2
    table[~gone].to_csv(out, index=False)
    assert rows_of(score_cohort(cohort, out=out, workers=1, progress=False)) == rows_of(whole)
    assert read_cases == ["P02"]
    # a table with every pair, as was made before, is scored anew as well
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    more = table.tail(1).assign(reference="Model A (seed 1)", reference_kind="model")
    pd.concat([table, more]).to_csv(out, index=False)
    read_cases.clear()
    assert rows_of(score_cohort(cohort, out=out, workers=1, progress=False)) == rows_of(whole)
    assert read_cases == ["P02"]
