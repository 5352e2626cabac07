"""The commands, as a user types them."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from small import MODEL_A, limb, put_into_counts, tiny_config, write_tiny_cohort
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


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only error on the page of `boneviz check`."""
    page = capsys.readouterr().out
    (line,) = [line for line in page.splitlines() if line.startswith("error ")]
    assert re.search(r"^1 errors, \d+ warnings$", page, re.MULTILINE)
    return line


def test_a_missing_folder_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tmp_path / "nowhere")]) == 1
    assert re.search(r"nowhere: no such folder; give the folder", one_line(capsys))


def test_a_folder_without_images_says_what_was_expected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(tmp_path)]) == 1
    assert "neither a cohort.toml nor a NIfTI file" in one_line(capsys)


def test_ct_without_pet_is_named(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    cohort.cases[1].pet.unlink()
    assert main(["check", str(cohort.root)]) == 1
    assert re.search(r"P02: no pet\.nii\.gz", one_error(capsys))


def test_a_truncated_file_is_named(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    path = cohort.cases[0].ct
    path.write_bytes(path.read_bytes()[:2000])
    assert main(["check", str(cohort.root)]) == 1
    assert re.search(r"P01: .*ct\.nii\.gz.*damaged or truncated", one_error(capsys))


def test_a_mask_on_another_grid_is_refused(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, other = (next(iter(ref.masks.values())) for ref in cohort.cases)
    moved = write_tiny_cohort(cohort.root.parent / "other", [limb("P01", axes="lps")])
    shutil.copyfile(next(iter(moved.cases[0].masks.values())), ours)
    assert other.is_file()
    assert main(["check", str(cohort.root)]) == 1
    line = one_error(capsys)
    assert re.search(r"P01: mask of Expert A lies on .*LPS, expected .*RAS", line)


def test_debug_shows_where(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "boneviz", "check", str(tmp_path / "nowhere"), "--debug"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "CohortError" in done.stderr


def test_check_lists_volumes(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(cohort.root)]) == 0
    said = capsys.readouterr().out
    # P01 is 36 x 32 x 18 voxels of 3 x 3 x 6 mm; the box of half side 16 mm about
    # (-18, 12, -12) holds the centres ..., counted by the writer of the mask
    assert "Tiny: 2 patients, 2 sessions" in said
    assert re.search(r"P01: CT 36x32x18 voxels of 3 x 3 x 6 mm .*Expert A [\d.]+ mL", said)
    assert said.endswith("all readable\n")


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


def trained(cohort: Cohort, *, modality: str = "fused") -> Path:
    """Train a tiny model of Expert A on P02 and return its weights."""
    from boneviz.folds import Folds
    from boneviz.fuse import FuseConfig
    from boneviz.train import fit

    config = tiny_config(steps=2, fuse=FuseConfig(modality=modality))  # type: ignore[arg-type]
    return fit(cohort, Folds({"P01": 0, "P02": 1}, 0), config, progress=False).weights


def test_predict_speaks_for_held_out_patients_alone(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = trained(cohort)
    out = tmp_path / "out"
    command = ["predict", str(cohort.root), "--model", str(weights), "--out", str(out), "--quiet"]
    assert main(command) == 1
    assert "patient P02: every model given for Model A learned from this" in one_line(capsys)
    assert not out.exists()
    new = write_tiny_cohort(tmp_path / "new", [limb("P01")])
    command[1] = str(new.root)
    assert main(command) == 0
    assert (out / MODEL_A.key / "P01.nii.gz").is_file()


def test_a_model_of_another_modality_is_refused(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = trained(cohort, modality="ct")
    new = write_tiny_cohort(tmp_path / "new", [limb("P01")])
    command = ["predict", str(new.root), "--model", str(weights), "--quiet"]
    assert main(command) == 1
    assert "learned from ct input, expected fused" in one_line(capsys)
    assert main([*command, "--modality", "ct"]) == 0


def test_a_patients_folder_is_never_written_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = write_tiny_cohort(tmp_path / "tiny", [limb("P01")])
    folder = tmp_path / "patient"
    folder.mkdir()
    shutil.copyfile(made.cases[0].ct, folder / "CT_image.nii.gz")
    shutil.copyfile(made.cases[0].pet, folder / "PET_image.nii.gz")
    before = sorted(folder.iterdir())
    assert main(["predict", str(folder), "--quiet"]) == 1
    assert "--out FOLDER" in one_line(capsys)
    assert sorted(folder.iterdir()) == before


def test_explore_refuses_a_port_in_use_before_anything_else(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        folder = tmp_path / "notebooks"
        command = ["explore", str(cohort.root), "--port", port, "--folder", str(folder)]
        assert main(command) == 1
    assert f"port {port} is in use" in one_line(capsys)
    assert not folder.exists()


def test_an_unfinished_fit_is_no_model(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    weights = trained(cohort)
    state = weights.with_name("model_b_fold0.state.safetensors")
    shutil.copyfile(weights, state)
    assert main(["check", str(cohort.root)]) == 0
    said = capsys.readouterr().out
    assert "model_a_fold0.safetensors: Model A, fused, fold 0, learned from 1" in said
    assert "state" not in said


def test_check_reads_predictions_too(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    (cohort.root / "predictions" / "model_b" / "P01.nii.gz").write_bytes(b"junk")
    assert main(["check", str(cohort.root)]) == 1
    assert re.search(r"model_b/P01\.nii\.gz: cannot be read as NIfTI", one_error(capsys))


def test_a_mistyped_folder_of_predictions_is_not_taken_for_none(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["compare", str(cohort.root), "--quiet", "--predictions"]
    for wrong in (tmp_path / "typo", cohort.root / "predictions" / "model_a"):
        assert main([*command, str(wrong)]) == 1
        assert "no predictions here; expected a folder per model" in one_line(capsys)


@pytest.mark.parametrize("port", ["0", "-1", "70000"])
def test_an_impossible_port_is_named(
    cohort: Cohort, port: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", str(cohort.root), f"--port={port}"]) == 1
    assert f"port {port}: expected 1 to 65535" in one_line(capsys)


def test_a_folder_is_no_model(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(cohort.root), "--out", str(tmp_path / "o"), "--model"]
    assert main([*command, str(tmp_path)]) == 1
    assert "a folder, expected a .safetensors file" in one_line(capsys)


def test_a_negative_seed_is_named(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crossval", str(cohort.root), "--seed", "-1", "--quiet"]) == 1
    assert re.search(r"seed -1\b.*: expected 0 or more", one_line(capsys))


def test_phantom_models_on_real_patients_are_said_to_be_that(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(cohort.root), "--quiet"]) == 0
    assert "synthetic phantoms only" not in capsys.readouterr().out
    real = Cohort("Real", cohort.root, cohort.readers, cohort.cases, synthetic=False)
    real.save()
    assert main(["compare", str(cohort.root), "--quiet"]) == 0
    assert "synthetic phantoms only" in capsys.readouterr().out


def test_one_readers_predictions_come_from_one_kind_of_model(
    cohort: Cohort, capsys: pytest.CaptureFixture[str]
) -> None:
    give_predictions(cohort.only(["P02"]), demonstration=False)
    assert main(["compare", str(cohort.root), "--quiet"]) == 1
    assert "patient P02: Model A is a demonstration model in some cases" in one_line(capsys)


def test_phantom_makes_a_cohort_that_check_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "made")
    command = ["phantom", "--patients", "2", "--size", "tiny", "--out", out, "--quiet"]
    assert main(command) == 0
    assert main(["check", out]) == 0
    assert "2 patients" in capsys.readouterr().out
    assert Cohort.open(out).synthetic


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


def test_crossval_takes_modalities_a_control_and_workers(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from boneviz import crossval

    asked: list[tuple[crossval.Plan, dict[str, object]]] = []

    def run(there: Cohort, todo: crossval.Plan, **how: object) -> Cohort:
        asked.append((todo, how))
        return there

    monkeypatch.setattr(crossval, "run", run)
    command = ["crossval", str(cohort.root), "--folds", "2", "--quiet"]
    kinds = ["--modality", "fused", "--modality", "pet", "--control-seed", "1"]
    assert main([*command, *kinds, "--workers", "2"]) == 0
    ((todo, how),) = asked
    assert how == {"workers": 2, "client": None, "progress": False}
    # two experts and two folds, of the fused input, of PET alone, and of another seed
    assert len(todo.fits) == 2 * 2 * 3
    assert {(fit.fuse.modality, fit.seed) for fit in todo.fits} == {
        ("fused", 0),
        ("pet", 0),
        ("fused", 1),
    }
    assert main([*command, "--scheduler", "tcp://127.0.0.1:1"]) == 0
    assert asked[1][1]["client"] == "tcp://127.0.0.1:1"
    capsys.readouterr()
    assert main([*command, "--modality", "mri"]) == 1
    assert "modality 'mri': expected one of fused, ct, pet" in one_line(capsys)


def test_a_study_is_fits_scores_cross_evaluation_and_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_tiny_cohort(tmp_path / "tiny").root
    command = ["study", str(root), "--fused-only", "--folds", "2", "--steps", "1"]
    assert main([*command, "--workers", "1", "--quiet"]) == 0
    printed = capsys.readouterr().out
    steps = [line.split()[2] for line in printed.splitlines() if line.startswith("$ boneviz")]
    assert steps == ["crossval", "score", "compare", "report"]
    assert "candidates down, reference across" in printed
    assert len(list((root / "models").glob("*.safetensors"))) == 4
    assert {path.name for path in (root / "study").iterdir()} == {
        "scores.parquet",
        "scores.csv",
        "report.html",
    }


def test_a_whole_study_has_ablations_and_a_second_seed(
    cohort: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    from boneviz import crossval

    class AskedError(Exception):
        pass

    asked: list[crossval.Plan] = []

    def run(_: Cohort, todo: crossval.Plan, **how: object) -> Cohort:
        asked.append(todo)
        assert how["workers"] == 3
        raise AskedError

    monkeypatch.setattr(crossval, "run", run)
    with pytest.raises(AskedError):
        main(["study", str(cohort.root), "--folds", "2", "--seed", "5", "--workers", "3"])
    kinds = {(fit.fuse.modality, fit.seed) for fit in asked[0].fits}
    assert kinds == {("fused", 5), ("ct", 5), ("pet", 5), ("fused", 6)}
    assert len(asked[0].fits) == 4 * 2 * 2


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
