"""The command of a whole study: all fits, all scores, the cross-evaluation and the report."""

from __future__ import annotations

import argparse
from pathlib import Path

from boneviz.commands.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add it to the parser."""
    made = commands.add(
        "study",
        _study,
        "Train one model per expert and fold on fused input, on CT and on PET alone, and once more "
        "with another seed; score everybody, compare, write the report. Stopped, it goes on where "
        "it was.",
        commands.one,
    )
    made.add_argument(
        "--out", type=Path, help="folder of scores and report (default: COHORT/study)"
    )
    made.add_argument(
        "--fused-only", action="store_true", help="no ablations and no second seed; a quarter"
    )
    made.add_argument("--folds", type=int, default=4, help="how many (default 4)")
    made.add_argument("--steps", type=int, help="per fit (default: as `boneviz crossval`)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument(
        "--control-seed",
        type=int,
        metavar="SEED",
        help="of the second fits of each expert, which must not differ as two experts do "
        "(default: the seed + 1)",
    )
    made.add_argument(
        "--workers",
        type=int,
        help="processes, a fit each (default: one per core, at most 4, or 1 with a GPU)",
    )
    made.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster, such as tcp://HOST:8786"
    )


def _study(options: argparse.Namespace) -> None:
    from boneviz.predict import fits_at_once

    out = options.out or options.cohort / "study"
    fits = ["--folds", str(options.folds), "--seed", str(options.seed)]
    if options.steps is not None:
        fits += ["--steps", str(options.steps)]
    if options.scheduler is not None:
        fits += ["--scheduler", options.scheduler]
    else:
        workers = fits_at_once() if options.workers is None else options.workers
        fits += ["--workers", str(workers)]
    if not options.fused_only:
        control = options.seed + 1 if options.control_seed is None else options.control_seed
        fits += ["--modality", "fused", "--modality", "ct", "--modality", "pet"]
        fits += ["--control-seed", str(control)]
    cohort, scores = str(options.cohort), str(out / "scores.parquet")
    quiet = ["--quiet"] if options.quiet else []
    for step in (
        ["crossval", cohort, *fits],
        ["score", cohort, "--out", scores],
        ["compare", cohort, "--scores", scores],
        ["report", cohort, "--scores", scores, "--out", str(out / "report.html")],
    ):
        print(f"\n$ boneviz {' '.join(step)}", flush=True)
        chosen = options.parser.parse_args([*step, *quiet])
        chosen.run(chosen)
