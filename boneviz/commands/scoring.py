"""Commands that score readers against each other, and that say what the scores show."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from boneviz.case import DEFAULT_THRESHOLD
from boneviz.cohort import Cohort
from boneviz.commands.parser import Commands
from boneviz.errors import InputError
from boneviz.petrecord import NO_SUV
from boneviz.samples import DEMONSTRATION

if TYPE_CHECKING:
    from boneviz.scoretable import CohortScores

__all__ = ["add"]

LEAST_ML = 0.1  # of a region that is printed
REGION_COLUMNS = {
    "number": "no.",
    "readers": "outlined by",
    "kind": "kind",
    "tissue": "into",
    "volume_ml": "mL",
    "beyond_rim_ml": "beyond rim mL",
    "reach_mm": "reach mm",
    "suv_max": "SUVmax",
    "hu_mean": "mean HU",
    "distance_to_bone_mm": "to bone mm",
    "centroid_x_mm": "x mm",
    "centroid_y_mm": "y mm",
    "centroid_z_mm": "z mm",
}
FUSION_COLUMNS = ["mean", "mean_low", "mean_high", "sd", "median", "median_low", "median_high"]
FUSION_COLUMNS += ["better_rate", "p", "p_holm"]
PARTLY = 3  # the exit status where all was done but for some cases


def add(commands: Commands) -> None:
    """Add them to the parser."""
    made = commands.add(
        "score",
        _score,
        "Score every pair of readers of every case. A second run scores only what is missing or "
        "has changed.",
        commands.read,
    )
    made.add_argument(
        "--out", type=Path, required=True, help="a .parquet file (and a .csv beside it), or a .csv"
    )
    made.add_argument(
        "--lesions", type=Path, help="a .parquet or .csv file with a row per matched lesion"
    )
    made.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        help="of models' probabilities (default %(default)s)",
    )
    made.add_argument(
        "--tolerance",
        type=float,
        action="append",
        metavar="MM",
        help="of surface Dice; may be repeated (default 1 and 2)",
    )
    made.add_argument(
        "--mesh",
        action="store_true",
        help="distances between triangle meshes, for tolerances below two voxels; slower",
    )
    made.add_argument("--workers", type=int, help="processes (default: one per core)")
    made.add_argument(
        "--keep-going",
        action="store_true",
        help=f"leave out cases that cannot be scored, say so in the table, and exit with {PARTLY}",
    )

    made = commands.add(
        "regions",
        _regions,
        "List where two readers of a patient agree and differ, and how.",
        commands.read,
    )
    made.add_argument("--patient", required=True, metavar="ID", help="patient, or ID_SESSION")
    made.add_argument("--reference", metavar="NAME", help="a reader (default: the first expert)")
    made.add_argument("--candidate", metavar="NAME", help="a reader (default: the second expert)")
    made.add_argument(
        "--rim",
        type=float,
        default=5.0,
        metavar="MM",
        help="how thick a difference is still a matter of the boundary (default 5)",
    )
    made.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        help="of models' probabilities (default %(default)s)",
    )
    made.add_argument("--out", type=Path, help="a .parquet or .csv file (default: print)")

    made = commands.add(
        "compare", _compare, "Print the cross-evaluation of models and experts.", commands.read
    )
    made.add_argument("--metric", default="dice", help="a column of the scores (default dice)")
    made.add_argument("--scores", type=Path, help="a table of `boneviz score`, instead of scoring")

    made = commands.add("report", _report, "Write one self-contained HTML page.", commands.read)
    made.add_argument("--out", type=Path, required=True, help="the .html file")
    made.add_argument("--scores", type=Path, help="a table of `boneviz score`, instead of scoring")
    made.add_argument(
        "--starred", type=Path, help="regions starred in the explorer, for a section of their own"
    )


def _score(options: argparse.Namespace) -> int:
    from boneviz.score import ScoreSettings
    from boneviz.scorecohort import score_cohort
    from boneviz.scoretable import lesions_table, require_suffix, write_table

    for path in (options.out, options.lesions):
        if path is not None:
            require_suffix(path)
    if options.lesions in (options.out, options.out.with_suffix(".csv")):
        raise InputError(f"{options.lesions}: the table of scores goes there; take another name")
    cohort = Cohort.open(options.cohort, incomplete="set aside" if options.keep_going else "refuse")
    scores = score_cohort(
        cohort,
        predictions=options.predictions,
        settings=ScoreSettings(
            threshold=options.threshold,
            tolerance_mm=tuple(options.tolerance or (1.0, 2.0)),
            surface="mesh" if options.mesh else "grid",
        ),
        out=options.out,
        workers=options.workers,
        keep_going=options.keep_going,
        progress=not options.quiet,
    )
    print(f"{len(scores)} rows in {options.out}")
    if options.lesions is not None:
        lesions = lesions_table(scores)
        write_table(lesions, options.lesions)
        print(f"{len(lesions)} matched lesions in {options.lesions}")
    _say_counts(scores)
    _say_demonstration(cohort, scores)
    for failure in scores.failures:
        print(f"boneviz: not scored: {failure.error}", file=sys.stderr)
    return PARTLY if scores.failures else 0


def _regions(options: argparse.Namespace) -> None:
    from boneviz.readings import read_readings
    from boneviz.regions import regions, regions_table
    from boneviz.scoretable import require_suffix, write_table

    if options.out is not None:
        require_suffix(options.out)
    cohort = Cohort.open(options.cohort, incomplete="set aside")
    for failure in cohort.failures:
        if failure.case_id == options.patient:
            raise InputError(failure.error)
    readings = read_readings(cohort, cohort[options.patient], predictions=options.predictions)
    names = [reader.name for reader in readings.readers]
    if len(names) < 2:
        raise InputError(
            f"patient {options.patient}: readers found: {', '.join(names) or 'none'}; "
            "expected at least two to compare"
        )
    reference = options.reference or next(n for n in names if n != options.candidate)
    candidate = options.candidate or next(n for n in names if n != reference)
    found = regions(
        readings.case,
        reference,
        candidate,
        readings.predictions,
        rim_mm=options.rim,
        threshold=options.threshold,
    )
    table = regions_table(found)
    chosen = [p for p in readings.predictions if p.reader.name in (reference, candidate)]
    for prediction in chosen:
        if not prediction.held_out:
            print(f"{prediction.reader.name} had learned from this patient: no new reading.")
    if any(prediction.demonstration for prediction in chosen) and not cohort.synthetic:
        print(DEMONSTRATION)
    if not readings.case.has_suv:
        print(f"There is {NO_SUV}.")
    if options.out is not None:
        write_table(table, options.out)
        print(f"{len(table)} regions in {options.out}")
        return
    shown = table[table["volume_ml"] >= LEAST_ML]
    print(f"{options.patient}: {reference} and {candidate}, {len(table)} regions")
    if not shown.empty:
        columns = shown[list(REGION_COLUMNS)].rename(columns=REGION_COLUMNS)
        print(f"\n{columns.round(1).to_string(index=False, na_rep='')}")
    if len(shown) < len(table):
        left_ml = table["volume_ml"].sum() - shown["volume_ml"].sum()
        print(
            f"\n{len(table) - len(shown)} regions below {LEAST_ML} mL, {left_ml:.2f} mL in all, "
            "are in the table of --out FILE"
        )


def _compare(options: argparse.Namespace) -> None:
    from boneviz.compare import cross_evaluate
    from boneviz.scorecohort import score_cohort
    from boneviz.scoretable import read_scores

    cohort = Cohort.open(options.cohort)
    if options.scores is None:
        scores = score_cohort(cohort, predictions=options.predictions, progress=not options.quiet)
    else:
        scores = read_scores(options.scores)
        _require_of(cohort, scores, options.scores)
    evaluation = cross_evaluate(scores, metric=options.metric)
    print(f"{options.metric}, candidates down, reference across, mean ± SD over patients\n")
    blocks = [[r.name for r in evaluation.main], [r.name for r in evaluation.variants]]
    matrix = evaluation.to_table()
    print(matrix.loc[blocks[0]].to_string())
    if blocks[1]:
        print(f"\nablations and repeats\n{matrix.loc[blocks[1]].to_string()}")
    numbers = ["mean", "sd", "mean_plus_sd", "mean_minus_sd", "median", "n", "n_defined"]
    numbers += ["n_missed", "n_false_alarm", "worst_case_mean"]
    summary = evaluation.summary().set_index(["candidate", "reference"])[numbers]
    for block in blocks:
        own = summary[summary.index.get_level_values("candidate").isin(block)]
        if not own.empty:
            print(f"\n{own.round(3).to_string()}")
    for block in blocks:
        pairs = [pair for pair in evaluation.values.columns if pair[1] in block]
        names = [f"{pair[1]} / {pair[0]}" for pair in pairs]
        by_patient = evaluation.values[pairs].set_axis(names, axis="columns")
        if pairs:
            print(f"\nby patient, candidate / reference\n{by_patient.round(3).to_string()}")
    print(f"\n{evaluation.words}")
    _print_study(scores)
    _say_demonstration(cohort, scores)


def _print_study(scores: CohortScores) -> None:
    """Print what goes beyond the matrix, where there are two models of two experts."""
    from boneviz.endpoints import control_words, endpoints, seed_control, who_draws_larger

    _print_fusion(scores)
    try:
        tested = endpoints(scores)
    except InputError:  # said in the words above
        return
    print(f"\nown experts less the other's, by endpoint\n{tested.round(4).to_string(index=False)}")
    pairs = who_draws_larger(scores)
    columns = {"ratio": "volume ratio", "low": "from", "high": "to", "mean": "sens. - prec."}
    shown = pairs[["candidate", "reference", "n", *columns]].rename(columns=columns)
    text = shown.to_string(index=False, float_format="{:.2f}".format)
    print(f"\ncandidate / reference\n{text}")
    for control in seed_control(scores):
        words = control_words(control, tested["mean"].iloc[0])
        print(f"\ncontrol, one expert and two seeds: {words}")


def _print_fusion(scores: CohortScores) -> None:
    """Print what fusion gains, where there are ablations."""
    from boneviz.ablation import fusion_gain, fusion_words

    table = fusion_gain(scores)
    if table.empty:
        return
    what = ["expert", "ablation", "n", "n_dropped"]
    levels = table[[*what, "n_missed_fused", "n_missed_ablated", "mean_fused", "mean_ablated"]]
    levels = levels.round(3)
    gains = table[["expert", "ablation", *FUSION_COLUMNS]].round(4)
    print(f"\nfusion: Dice of fused models and of their ablations\n{levels.to_string(index=False)}")
    print(f"\nfused less ablation, by patient\n{gains.to_string(index=False)}")
    print(f"\n{fusion_words(table)}")


def _require_of(cohort: Cohort, scores: CohortScores, path: Path) -> None:
    """Raise where a table of scores is of another cohort, or of what this one was before."""
    cases = {case.case_id for case in cohort} | {failure.case_id for failure in cohort.failures}
    found = {row.case_id for row in scores} | {failure.case_id for failure in scores.failures}
    if found != cases:
        more, less = ", ".join(sorted(found - cases)), ", ".join(sorted(cases - found))
        raise InputError(
            f"{path}: not the scores of {cohort.name}: cases that are not in the cohort: "
            f"{more or 'none'}; cases that are not in the table: {less or 'none'}; "
            "run `boneviz score` on this cohort"
        )


def _say_counts(scores: CohortScores) -> None:
    cases = list(dict.fromkeys(row.case_id for row in scores if row.pet_unit == "counts"))
    if cases:
        print(f"{NO_SUV}: {', '.join(cases)}; their columns of SUV and glycolysis are empty")


def _say_demonstration(cohort: Cohort, scores: CohortScores) -> None:
    if not cohort.synthetic and any(row.demonstration for row in scores):
        print(f"\n{DEMONSTRATION}")


def _report(options: argparse.Namespace) -> None:
    from boneviz.regionrows import read_regions
    from boneviz.report import write_report
    from boneviz.scoretable import read_scores

    starred = () if options.starred is None else read_regions(options.starred)
    cohort, scores = Cohort.open(options.cohort), None
    if options.scores is not None:
        scores = read_scores(options.scores)
        _require_of(cohort, scores, options.scores)
    write_report(
        cohort,
        options.out,
        predictions=options.predictions,
        scores=scores,
        starred=starred,
        progress=not options.quiet,
    )
    print(f"report in {options.out}")
