"""The commands, as a user types them."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from small import limb, write_tiny_cohort
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


def test_a_negative_seed_is_named(cohort: Cohort, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crossval", str(cohort.root), "--seed", "-1", "--quiet"]) == 1
    assert re.search(r"seed -1\b.*: expected 0 or more", one_line(capsys))


def test_phantom_makes_a_cohort_that_check_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "made")
    command = ["phantom", "--patients", "2", "--size", "tiny", "--out", out, "--quiet"]
    assert main(command) == 0
    assert main(["check", out]) == 0
    assert "2 patients" in capsys.readouterr().out
    assert Cohort.open(out).synthetic
