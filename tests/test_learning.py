"""`boneviz crossval`, `predict` and `study`, as a user types them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small import MODEL_A, limb, tiny_config, write_tiny_cohort
from test_readings import give_predictions

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


def test_an_unfinished_fit_is_no_model(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    weights = trained(cohort)
    state = weights.with_name("model_b_fold0.state.safetensors")
    shutil.copyfile(weights, state)
    assert main(["check", str(cohort.root)]) == 0
    said = capsys.readouterr().out
    assert "model_a_fold0.safetensors: Model A, fused, fold 0, learned from 1" in said
    assert "state" not in said


def test_a_folder_is_no_model(
    cohort: Cohort, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["predict", str(cohort.root), "--out", str(tmp_path / "o"), "--model"]
    assert main([*command, str(tmp_path)]) == 1
    assert "a folder, expected a .safetensors file" in one_line(capsys)


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
