"""Commands that make a cohort, and that read all of one."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from math import isnan
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from boneviz.cohort import Cohort
from boneviz.commands.parser import Commands
from boneviz.errors import BonevizError, InputError

if TYPE_CHECKING:
    from boneviz.checkcohort import Checkup
    from boneviz.checkup import Facts, Finding

__all__ = ["add"]

# so that what is wrong stays on one page
MOST_CASES = 24
MOST_ALIKE = 6
# checks of which a warning says that something was not read
PASSED_OVER = ("folders", "passed over", "readers")


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

    made = commands.add(
        "check",
        _check,
        "Read every file of a cohort and say on one page what it holds and what is wrong. Exits "
        "with 1 where something is refused by other commands, with 0 where there are but warnings.",
        commands.one,
    )
    made.add_argument(
        "--csv", type=Path, metavar="FILE", help="all findings as a table, a new file"
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


def _check(options: argparse.Namespace) -> int:
    from boneviz.checkcohort import check_cohort
    from boneviz.files import write_whole
    from boneviz.scoretable import csv_of

    if options.csv is not None and options.csv.suffix != ".csv":
        raise InputError(f"{options.csv}: expected a file name ending in .csv")
    if options.csv is not None and (options.csv.exists() or options.csv.is_symlink()):
        raise InputError(
            f"{options.csv}: there already, expected a new file; nothing is written over: "
            "move it away or choose another name"
        )
    cohort = Cohort.open(options.cohort, incomplete="set aside")
    checkup = check_cohort(cohort, progress=not options.quiet)
    _print_contents(cohort, checkup)
    checkup = checkup.with_errors(_models(cohort))
    findings, n_errors = checkup.findings, len(checkup.errors)
    _print_findings(findings)
    if options.csv is not None:
        table = checkup.to_table()
        # a header alone says that it was looked for
        alone = table.to_csv(index=False).encode("utf-8-sig")
        write_whole(options.csv, alone if table.empty else csv_of(table))
        print(f"{len(findings)} findings in {options.csv}")
    if n_errors:
        print(f"{n_errors} errors, {len(findings) - n_errors} warnings")
        return 1
    warned = f"{len(findings)} warnings; " if findings else ""
    passed_over = any(finding.check in PASSED_OVER for finding in findings)
    print(f"{warned}{'what was read is' if passed_over else 'all'} readable")
    return 0


def _print_contents(cohort: Cohort, checkup: Checkup) -> None:
    aside = f", {len(cohort.failures)} set aside" if cohort.failures else ""
    print(f"{cohort.name}: {len(cohort.patients)} patients, {len(cohort)} sessions{aside}")
    if cohort.provenance:
        print(f"  {cohort.provenance}")
    for facts in checkup.facts[:MOST_CASES]:
        outlined = ", ".join(f"{name} {ml:.1f} mL" for name, ml in facts.volumes_ml.items())
        print(
            f"  {facts.case_id}: CT {facts.ct or 'not readable'}; {_suv_max(facts)}; "
            f"{outlined or 'no outlines'}"
        )
    if len(checkup.facts) > MOST_CASES:
        print(f"  and {len(checkup.facts) - MOST_CASES} more")
    for reader in cohort.experts:
        ml = [f.volumes_ml[reader.name] for f in checkup.facts if reader.name in f.volumes_ml]
        if len(ml) > 1:
            print(f"  {reader.name}: {min(ml):.1f} to {max(ml):.1f} mL, median {median(ml):.1f}")


def _suv_max(facts: Facts) -> str:
    return "no SUVmax" if isnan(facts.suv_max) else f"SUVmax {facts.suv_max:.1f}"


def _print_findings(findings: Sequence[Finding]) -> None:
    """Print what was found, kinds of warnings with many cases in one line each."""
    for finding in findings:
        if finding.severity == "error":
            print(f"error    {finding.case_id or 'cohort'}: {finding}")
    kinds: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.severity == "warning":
            kinds.setdefault(finding.check, []).append(finding)
    for kind, alike in kinds.items():
        for finding in alike[:MOST_ALIKE]:
            print(f"warning  {finding.case_id or 'cohort'}: {finding}")
        if len(alike) > MOST_ALIKE:
            others = ", ".join(dict.fromkeys(f.case_id or "cohort" for f in alike[MOST_ALIKE:]))
            print(f"warning  {kind}: also {others}")


def _models(cohort: Cohort) -> Iterator[Finding]:
    """Give what is wrong with the models, where there are any."""
    from boneviz.checkup import Finding

    try:
        yield from _each_model(cohort)
    except BonevizError as error:  # a link that leads out
        yield Finding("", "error", "models", str(error))


def _each_model(cohort: Cohort) -> Iterator[Finding]:
    """Read the models, say what they are, and give those that cannot be read."""
    from boneviz.checkup import Finding

    if not (cohort.root / "models").is_dir():
        return
    from boneviz.checkpoint import finished_models, load_checkpoint
    from boneviz.paths import inside

    models = inside(cohort.root, "models", what=f"cohort {cohort.name}")
    for weights in finished_models(models):
        try:
            card = load_checkpoint(weights)
        except BonevizError as error:
            yield Finding("", "error", "models", str(error))
            continue
        print(
            f"  {weights.name}: {card.reader.name}, {card.fuse.modality}, fold {card.fold}, "
            f"learned from {len(card.trained_on)} "
            f"{'phantoms' if card.demonstration else 'patients'}"
        )
