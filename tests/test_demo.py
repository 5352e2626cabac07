"""The demo, as a newcomer runs it: without a network, twice, and beside somebody else's cohort."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from small import limb, write_tiny_cohort

import boneviz
from boneviz.cli import main
from boneviz.files import sha256_of

PATIENTS = 8
PAIRS = 6  # of two experts and two models

# every way out of the machine that Python's own socket offers raises, and is remembered: a library
# that swallows the error is caught all the same
OFFLINE = """
import socket, sys
from boneviz.cli import main

LOCAL = ("127.0.0.1", "::1", "localhost", None, "", b"localhost")
tried = []

def guard(owner, name, host_of):
    real = getattr(owner, name)
    def guarded(*arguments, **options):
        host = host_of(*arguments, **options)
        if host not in LOCAL:
            tried.append(f"{name} {host}")
            raise OSError(f"offline: {name} {host}")
        return real(*arguments, **options)
    setattr(owner, name, guarded)

def peer(connection, *arguments):
    return None if connection.family == socket.AF_UNIX else arguments[-1][0]

for name in ("connect", "connect_ex", "sendto"):
    guard(socket.socket, name, peer)
for name in ("getaddrinfo", "gethostbyname"):
    guard(socket, name, lambda host, *rest, **options: host)

for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 80), timeout=1),
    lambda: socket.socket().connect_ex(("192.0.2.1", 80)),
    lambda: socket.getaddrinfo("example.org", 80),
):
    try:
        attempt()
    except OSError as error:
        assert str(error).startswith("offline: "), error
    else:
        raise AssertionError("the guard lets through")
tried.clear()
status = main(sys.argv[1:])
assert not tried, tried
sys.exit(status)
"""


@dataclass(frozen=True)
class Demo:
    """A demo that was run once: its folder and what it said."""

    out: Path
    done: subprocess.CompletedProcess[str]


def command(out: Path) -> list[str]:
    return ["demo", "--no-open", "--quiet", "--out", str(out)]


def content(folder: Path) -> dict[str, str]:
    """Return every path below a folder with the hash of its content; folders have none."""
    return {
        str(path.relative_to(folder)): sha256_of(path) if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Run the demo in a process that cannot connect, with an empty home: nothing is cached."""
    home = tmp_path_factory.mktemp("home")
    out = tmp_path_factory.mktemp("newcomer") / "demo"
    library = str(Path(boneviz.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE, *command(out)],
        capture_output=True,
        text=True,
        cwd=home,
        env={**os.environ, "HOME": str(home), "PYTHONPATH": library, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    return Demo(out, done)


def matrix(said: str) -> dict[str, list[float]]:
    """Return the means that a row of the printed matrix gives for Expert A and Expert B."""
    rows = re.findall(r"^(Model [AB]) +(\d\.\d\d) ± \S+ \(n 8\) +(\d\.\d\d) ± ", said, re.M)
    return {name: [float(a), float(b)] for name, a, b in rows}


def require_own_style(said: str) -> None:
    means = matrix(said)
    assert means["Model A"][0] > max(means["Model A"][1], means["Model B"][0])
    assert means["Model B"][1] > max(means["Model B"][0], means["Model A"][1])


def test_it_needs_no_network_and_no_home(demo: Demo) -> None:
    assert demo.done.returncode == 0, demo.done.stderr
    assert demo.done.stderr == ""
    steps = re.findall(r"^\$ boneviz (\w+)", demo.done.stdout, re.M)
    assert steps == ["check", "predict", "score", "compare", "report"]


def test_every_pair_of_readers_of_every_patient_is_scored(demo: Demo) -> None:
    table = pd.read_parquet(demo.out / "scores.parquet")
    assert len(table) == PATIENTS * PAIRS
    assert table.groupby("patient_id").size().tolist() == [PAIRS] * PATIENTS
    assert table.held_out.all()


def test_each_model_is_above_the_cross_term(demo: Demo) -> None:
    require_own_style(demo.done.stdout)


def test_the_report_is_one_page_with_every_patient(demo: Demo) -> None:
    page = (demo.out / "report.html").read_text(encoding="utf-8")
    assert page.lower().startswith("<!doctype html>")
    patients = pd.read_parquet(demo.out / "scores.parquet").patient_id.unique()
    assert [patient for patient in patients if patient not in page] == []
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page)


def test_the_folder_holds_what_was_promised_and_nothing_else(demo: Demo) -> None:
    assert sorted(path.name for path in demo.out.iterdir()) == [
        "cohort",
        "report.html",
        "scores.csv",
        "scores.parquet",
    ]


def test_a_second_run_leaves_the_predictions_as_they_are(
    demo: Demo, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = sorted((demo.out / "cohort/predictions").glob("*/P*"))
    assert len(kept) == 2 * PATIENTS * 2  # models, patients, image and record
    before = [path.stat().st_mtime_ns for path in kept]
    assert main(command(demo.out)) == 0
    assert [path.stat().st_mtime_ns for path in kept] == before
    require_own_style(capsys.readouterr().out)
    assert len(pd.read_parquet(demo.out / "scores.parquet")) == PATIENTS * PAIRS


@pytest.mark.parametrize("kind", ["another cohort", "a folder of notes"])
def test_a_folder_of_somebody_elses_is_not_written_to(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    foreign = tmp_path / "cohort"
    if kind == "another cohort":
        write_tiny_cohort(foreign, [limb("P01"), limb("P002")])  # the sample has a P002 too
    else:
        foreign.mkdir()
        (foreign / "notes.txt").write_text("mine")
    before = content(tmp_path)
    assert main(command(tmp_path)) == 1
    line = capsys.readouterr().err
    assert line.startswith("boneviz: ")
    assert line.count("\n") == 1, line
    assert str(foreign) in line
    assert content(tmp_path) == before
