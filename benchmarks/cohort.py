"""Score 1,000 small synthetic patients under a memory cap: time per patient and peak memory.

    python benchmarks/cohort.py [--patients 1000] [--cap-mb 600] [--write]

The cap is on the data segment of every process (RLIMIT_DATA: heap and anonymous memory), so that
a run that kept its volumes would end with a MemoryError. Times are of one process; the same cohort
is then scored by one process per core, and once more, when nothing is left to do.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from results import machine, write_results

from boneviz import scorecohort
from boneviz.case import Case, Prediction, Reader
from boneviz.cohort import Cohort
from boneviz.nifti import write_prediction, write_volume
from boneviz.scorecohort import score_cohort
from boneviz.volume import Grid, Volume

EXPERTS = (
    Reader("Expert A", intent="high-sensitivity"),
    Reader("Expert B", intent="high-specificity"),
)
MODELS = tuple(Reader(f"Model {e.name[-1]}", "model", e.intent, e.name) for e in EXPERTS)
GRID = Grid.straight((40, 40, 24), (2.0, 2.0, 3.0))


def make_patient(root: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    index = np.stack(np.meshgrid(*(np.arange(n) for n in GRID.shape), indexing="ij"), axis=-1)
    centre = rng.uniform(12, 28, 3) * (1, 1, 0.6)

    def ball(radius: float) -> np.ndarray:
        away = np.linalg.norm((index - centre - rng.normal(0, 0.5, 3)) * GRID.spacing_mm, axis=-1)
        return away <= radius

    case = Case(
        f"P{number:04}",
        "",
        Volume(rng.normal(40, 20, GRID.shape).astype(np.int16), GRID, "HU"),
        Volume(rng.gamma(2, 1, GRID.shape).astype(np.float32), GRID, "SUVbw"),
    )
    folder = root / case.patient_id
    write_volume(case.ct, folder / "ct.nii.gz")
    write_volume(case.pet, folder / "pet.nii.gz")
    for reader, radius in zip(EXPERTS, (16, 12), strict=True):
        write_volume(Volume(ball(radius), GRID, "label"), folder / f"{reader.key}.nii.gz")
    for model, radius in zip(MODELS, (15, 12.5), strict=True):
        probability = Volume(ball(radius).astype(np.float32), GRID, "probability")
        write_prediction(
            Prediction(case.patient_id, "", model, 0, probability, "0" * 64, frozenset()),
            root / "predictions" / model.key,
        )


def score_here(root: Path, cap_mb: int) -> None:
    """Score in this process under the cap, and print milliseconds per patient and peak MB."""
    resource.setrlimit(resource.RLIMIT_DATA, (cap_mb * 2**20,) * 2)
    began: list[float] = []
    reading = scorecohort.read_readings

    def noting(*args: object, **more: object) -> object:
        began.append(time.perf_counter())
        return reading(*args, **more)  # type: ignore[arg-type]

    scorecohort.read_readings = noting  # type: ignore[assignment]
    out = root / "one.parquet"
    rows = len(score_cohort(Cohort.open(root), out=out, workers=1, progress=False))
    each_ms = np.diff([*began, time.perf_counter()])[:-1] * 1000
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    n = len(each_ms)
    spans = [(10, 110), (n // 2 - 50, n // 2 + 50), (n - 100, n)] if n >= 400 else [(0, n)]
    for first, last in spans:
        median_ms = statistics.median(each_ms[first:last])
        print(f"| patients {first} to {last} | {median_ms:.1f} ms each (median) |")
    print(f"| rows | {rows} |\n| peak memory, one process, all in | {peak_mb:.0f} MB |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=1000)
    parser.add_argument("--cap-mb", type=int, default=600)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--score", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.score:
        score_here(options.score, options.cap_mb)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(options.patients):
            make_patient(root, number)
        Cohort("Thousand", root, EXPERTS, ()).save()
        lines = [
            machine(("numpy", "scipy", "pandas", "nibabel", "joblib")),
            "",
            f"{options.patients} patients, cap of {options.cap_mb} MB of data per process.",
            "",
            "| | |",
            "|---|---|",
        ]
        command = [sys.executable, __file__, "--score", folder, "--cap-mb", str(options.cap_mb)]
        printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        lines += printed.splitlines()
        resource.setrlimit(resource.RLIMIT_DATA, (options.cap_mb * 2**20,) * 2)
        for what in ("all cores", "again, nothing to do"):
            began = time.perf_counter()
            score_cohort(Cohort.open(root), out=root / "all.parquet", progress=False)
            lines.append(f"| {what} | {time.perf_counter() - began:.1f} s in all |")
    text = "\n".join(lines)
    print(text)
    if options.write:
        write_results("cohort", text)


if __name__ == "__main__":
    main()
