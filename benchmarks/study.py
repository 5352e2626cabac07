"""The whole study on 24 phantoms: eight fused fits, ablations, a second seed, cross-evaluation.

    python benchmarks/study.py [--cohort runs/study] [--write]

`boneviz study` in two steps, each timed: `--fused-only`, then the rest. Interrupted, it goes on,
and the times add up. The phantoms are those of seed 1; network, rate and steps were chosen on the
phantoms of seed 7 (benchmarks/training.py). `--write` puts the tables into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from results import machine, write_results

from boneviz.ablation import fusion_gain
from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.endpoints import endpoints, seed_control
from boneviz.files import write_whole
from boneviz.phantom import make_cohort
from boneviz.scoretable import CohortScores, read_scores

N_PATIENTS, SEED = 24, 1


def timed(step: str, command: list[str], kept: Path) -> float:
    """Run a command of the shell; return the seconds of this and all earlier, cut-off runs."""
    spent = json.loads(kept.read_text()) if kept.is_file() else {}
    if spent.get(f"{step} done"):
        return float(spent[step])
    start = time.perf_counter()
    try:
        subprocess.run([sys.executable, "-m", "boneviz", *command], check=True)
        spent[f"{step} done"] = True
    finally:
        spent[step] = spent.get(step, 0.0) + time.perf_counter() - start
        write_whole(kept, json.dumps(spent).encode())
    return float(spent[step])


def markdown(table: pd.DataFrame, *, digits: int = 3) -> list[str]:
    shown = [
        [f"{v:.{digits}g}" if isinstance(v, float) else str(v) for v in row]
        for row in table.itertuples(index=False)
    ]
    head = [str(column).replace("_", " ") for column in table.columns]
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(row)} |" for row in shown),
    ]


def tables(scores: CohortScores) -> list[str]:
    evaluation = cross_evaluate(scores, metric="dice")
    matrix = evaluation.to_table().reset_index(names="candidate \\ reference")
    lines = ["### Dice per patient in 3D, mean ± SD", "", *markdown(matrix), ""]
    lines += [evaluation.words, ""]
    lines += ["### Endpoints: own experts less the other's", "", *markdown(endpoints(scores)), ""]
    lines += ["### What fusion gains, per patient", "", *markdown(fusion_gain(scores)), ""]
    lines += ["### Control: one expert, two seeds", ""]
    lines += [f"- {control.words}" for control in seed_control(scores)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cohort", type=Path, default=Path("runs/study"))
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    root: Path = options.cohort
    if not (root / "cohort.toml").is_file():
        make_cohort(root, n_patients=N_PATIENTS, seed=SEED)
    kept = root / "seconds.json"
    fused_s = timed("fused", ["study", str(root), "--fused-only"], kept)
    rest_s = timed("rest", ["study", str(root)], kept)
    scores = read_scores(root / "study" / "scores.parquet")
    page_mb = (root / "study" / "report.html").stat().st_size / 1e6
    models = len(list((root / "models").glob("*.safetensors")))
    text = "\n".join(
        [
            machine(("numpy", "monai", "torch")),
            "",
            f"{len(Cohort.open(root).patients)} phantoms of seed {SEED}, 4 folds, {models} fits.",
            "",
            "| step | minutes |",
            "|---|---|",
            f"| eight fused fits, scores, cross-evaluation, report | {fused_s / 60:.1f} |",
            f"| ablations and second seed, all scores, report | {rest_s / 60:.1f} |",
            f"| whole study | {(fused_s + rest_s) / 60:.1f} |",
            "",
            f"Report: {page_mb:.1f} MB.",
            "",
            *tables(scores),
        ]
    )
    print(text)
    if options.write:
        write_results("study", text)


if __name__ == "__main__":
    main()
