"""Commands that make a cohort, and that read all of one."""

from __future__ import annotations

import argparse
from pathlib import Path

from boneviz.cohort import Cohort
from boneviz.commands.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add them to the parser."""
    made = commands.add(
        "phantom", _phantom, "Make synthetic patients with two experts.", commands.common
    )
    made.add_argument("--patients", type=int, default=24, help="how many (default 24)")
    made.add_argument("--out", type=Path, required=True, help="folder of the new cohort")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument(
        "--style",
        default="two-styles",
        choices=("two-styles", "null"),
        help="null: both experts have one style",
    )
    made.add_argument("--size", default="full", choices=("full", "tiny"))

    commands.add(
        "check", _check, "Read every file of a cohort and say what it holds.", commands.one
    )


def _phantom(options: argparse.Namespace) -> None:
    from boneviz.phantom import PhantomConfig, make_cohort

    cohort = make_cohort(
        options.out,
        n_patients=options.patients,
        seed=options.seed,
        config=PhantomConfig(style=options.style, size=options.size),
        progress=not options.quiet,
    )
    print(f"{len(cohort)} synthetic patients in {options.out}")


def _check(options: argparse.Namespace) -> None:
    from boneviz.harmonise import straighten
    from boneviz.readings import read_readings

    cohort = Cohort.open(options.cohort)
    print(f"{cohort.name}: {len(cohort.patients)} patients, {len(cohort)} sessions")
    if cohort.provenance:
        print(f"  {cohort.provenance}")
    for ref in cohort:
        readings = read_readings(cohort, ref)
        case = readings.case
        straighten(readings.outlined())  # refuses masks and predictions off the CT's grid
        outlined = ", ".join(f"{r.name} {mask.volume_ml:.1f} mL" for r, mask in case.masks.items())
        predicted = "".join(f"; {p.reader.name} predicted" for p in readings.predictions)
        print(
            f"  {ref.case_id}: CT {case.ct.grid.describe()}; {outlined or 'no outlines'}{predicted}"
        )
    if (cohort.root / "models").is_dir():
        _check_models(cohort)
    print("all readable")


def _check_models(cohort: Cohort) -> None:
    from boneviz.checkpoint import finished_models, load_checkpoint

    for weights in finished_models(cohort.root / "models"):
        card = load_checkpoint(weights)
        print(
            f"  {weights.name}: {card.reader.name}, {card.fuse.modality}, fold {card.fold}, "
            f"learned from {len(card.trained_on)} "
            f"{'phantoms' if card.demonstration else 'patients'}"
        )
