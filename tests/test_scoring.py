"""`boneviz score`, `compare`, `regions` and `report`, as a user types them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small import limb, put_into_counts, write_tiny_cohort
from test_readings import give_predictions, give_variants

from boneviz.cli import main
from boneviz.cohort import Cohort


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    made = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02", place=1)])
    give_predictions(made)
    return made


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what stands on stderr, which must be a single line."""
    text = capsys.readouterr().err
    assert text.startswith("boneviz: ")
    assert text.count("\n") == 1, text
    return text


def test_score_writes_every_pair(cohort: Cohort, tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    assert main(["score", str(cohort.root), "--out", str(out), "--quiet"]) == 0
    table = pd.read_parquet(out)
    assert len(table) == 2 * 6
    own = table[(table.reference == "Expert A") & (table.candidate == "Model A")]
    assert own.dice.tolist() == [1.0, 1.0]


def test_score_refuses_another_kind_of_file(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(cohort.root), "--out", str(tmp_path / "s.xls"), "--quiet"]) == 1
    assert ".parquet or .csv" in one_line(capsys)
    assert not (tmp_path / "s.xls").exists()


def test_compare_prints_matrix_patients_and_words(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(cohort.root), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"Model A +1\.00 ± 0\.00 \(n 2\)", said)
    assert "mean_plus_sd  mean_minus_sd" in said
    assert re.search(r"P02 +\d", said)
    assert "no p below 0.05 is possible" in said


def test_compare_names_the_nearest_metric(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(cohort.root), "--quiet", "--metric", "dise"]) == 1
    assert "did you mean dice?" in one_line(capsys)


def test_score_writes_lesions_and_takes_settings(cohort: Cohort, tmp_path: Path) -> None:
    out, lesions = tmp_path / "scores.parquet", tmp_path / "lesions.csv"
    options = ["--tolerance", "3", "--tolerance", "0.5", "--threshold", "0.95", "--workers", "2"]
    command = ["score", str(cohort.root), "--out", str(out), "--lesions", str(lesions), "--quiet"]
    assert main([*command, *options]) == 0
    table = pd.read_parquet(out)
    assert set(table["tolerance_mm"]) == {"0.5 3"}
    assert {"surface_dice_0.5mm", "surface_dice_3mm"} < set(table.columns)
    # the models of `give_predictions` reach 0.902 in their outline: nothing is left at 0.95
    assert set(table.loc[table["candidate_kind"] == "model", "status"]) == {"missed", "both_empty"}
    # so that the experts' lesion of either patient is the only one that two readers outlined
    found = pd.read_csv(lesions)
    assert list(found["patient_id"]) == ["P01", "P02"]
    assert set(found["reference"] + found["candidate"]) == {"Expert AExpert B"}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--tolerance", "0"], "tolerances .* expected one or more numbers above 0"),
        (["--threshold", "1.5"], "threshold 1.5: expected above 0 and at most 1"),
        (["--workers", "-1"], "-1 workers: expected 1 or more"),
        (["--lesions", "lesions.xls"], r"lesions\.xls: expected a file name ending in"),
    ],
)
def test_impossible_settings_of_score(
    cohort: Cohort,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    option: list[str],
    says: str,
) -> None:
    out = tmp_path / "scores.parquet"
    assert main(["score", str(cohort.root), "--out", str(out), "--quiet", *option]) == 1
    assert re.search(says, one_line(capsys))
    assert not out.exists()


def test_compare_takes_a_table_of_scores(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.parquet"
    assert main(["compare", str(cohort.root), "--quiet"]) == 0
    expected = capsys.readouterr().out
    assert main(["score", str(cohort.root), "--out", str(out), "--quiet"]) == 0
    capsys.readouterr()
    assert main(["compare", str(cohort.root), "--scores", str(out), "--quiet"]) == 0
    assert capsys.readouterr().out == expected
    assert main(["compare", str(cohort.root), "--scores", str(tmp_path / "none.csv")]) == 1
    assert re.search(r"none\.csv: no such table of scores", one_line(capsys))


def test_regions_are_printed_and_written(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["regions", str(cohort.root), "--patient", "P01"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    # P01 has one box, of which expert B outlines what lies 6 mm further in
    assert printed.startswith("P01: Expert A and Expert B, 2 regions\n")
    assert re.search(r"\n +1 +Expert A +extension ", printed)
    assert re.search(r"\n +2 Expert A \+ Expert B +shared ", printed)
    out = tmp_path / "regions.csv"
    names = ["--reference", "Model B", "--candidate", "Expert A", "--out", str(out)]
    assert main([*command, *names, "--rim", "11"]) == 0
    table = pd.read_csv(out)
    assert list(table["readers"]) == ["Expert A", "Model B + Expert A"]
    assert list(table["kind"]) == ["boundary", "shared"]
    assert set(table["rim_mm"]) == {11.0}


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--patient", "P09"], "no case 'P09'; it has P01, P02"),
        (["--patient", "P01", "--rim", "0"], "patient P01: a rim of 0.0 mm; expected"),
        (["--patient", "P01", "--reference", "Expert C"], "no reader 'Expert C'; .*did you mean"),
    ],
)
def test_impossible_regions(
    cohort: Cohort, capsys: pytest.CaptureFixture[str], option: list[str], says: str
) -> None:
    assert main(["regions", str(cohort.root), *option]) == 1
    assert re.search(says, one_line(capsys))


def test_scores_of_another_cohort_are_refused(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_tiny_cohort(tmp_path / "other", [limb("P01"), limb("P07")])
    out = tmp_path / "scores.csv"
    assert main(["score", str(other.root), "--out", str(out), "--quiet"]) == 0
    assert main(["compare", str(cohort.root), "--scores", str(out)]) == 1
    assert re.search(r"not in the cohort: P07; .* not in the table: P02; run", one_line(capsys))


def test_lesions_do_not_overwrite_scores(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "x.parquet"), "--lesions", str(tmp_path / "x.csv")]
    assert main(["score", str(cohort.root), *out, "--quiet"]) == 1
    assert re.search(r"x\.csv: the table of scores goes there", one_line(capsys))


def test_regions_say_what_the_models_learned_from(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    real = replace(cohort, synthetic=False)
    real.save()
    give_predictions(cohort, trained_on=frozenset({"P01"}))
    cohort["P02"].pet.unlink()  # another patient's files are not of interest
    command = ["regions", str(cohort.root), "--patient", "P01", "--candidate", "Model B"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "Model B had learned from this patient" in printed
    assert "learned from synthetic phantoms only" in printed
    assert main([*command, "--threshold", "0.95"]) == 0
    # nothing is left of the model at 0.95
    assert "extra lesion" in capsys.readouterr().out


def test_compare_prints_endpoints_and_biases(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(cohort.root), "--quiet"]) == 0
    printed = capsys.readouterr().out
    # two patients: no p below 2/2^2
    assert re.search(r"\n +primary +dice +2 .* 0\.5 +0\.5\n", printed)
    assert re.search(r"\nsecondary +volume_matched_dice +2 ", printed)
    # the models copy their experts: as large, and as sensitive as precise
    assert re.search(r"\n +Model A +Expert A +2 +1\.00 +1\.00 +1\.00 +0\.00\n", printed)


def test_compare_and_report_know_ablations(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    give_variants(cohort)
    table = tmp_path / "scores.csv"
    assert main(["score", str(cohort.root), "--out", str(table), "--quiet"]) == 0
    assert main(["compare", str(cohort.root), "--scores", str(table), "--quiet"]) == 0
    printed = capsys.readouterr().out
    matrix, _, rest = printed.partition("ablations and repeats")
    assert "Model A " in matrix and "only" not in matrix
    assert "Model A (CT only)" in rest
    # the fused models copy their experts, and of CT alone one case of two is missed
    assert re.search(r"\n *Expert A +CT only +2 +0 +0 +1 +1\.0+ +0\.5", rest)
    assert "Expert A, fused against CT only: +0.500 in dice on average" in rest
    assert "control, one expert and two seeds: Model A and Model A (seed 1)" in rest
    out = tmp_path / "report.html"
    command = ["report", str(cohort.root), "--out", str(out), "--quiet", "--scores"]
    assert main([*command, str(table)]) == 0
    assert "What fusion gains" in out.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([*command, str(tmp_path / "none.csv")]) == 1
    assert "no such table of scores" in one_line(capsys)


def test_score_and_regions_say_where_there_is_no_suv(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["score", str(cohort.root), "--out", str(tmp_path / "s.csv"), "--quiet"]
    assert main(command) == 0
    assert "no SUV" not in capsys.readouterr().out
    put_into_counts(cohort["P02"])
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "no SUV: PET in counts: P02; their columns of SUV and glycolysis are empty" in said
    assert main(["regions", str(cohort.root), "--patient", "P02"]) == 0
    assert "There is no SUV: PET in counts." in capsys.readouterr().out
    assert main(["regions", str(cohort.root), "--patient", "P01"]) == 0
    assert "no SUV" not in capsys.readouterr().out
