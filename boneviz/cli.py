"""The commands of the shell: from phantoms and training to table, report and explorer."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from boneviz.cohort import Cohort
from boneviz.errors import BonevizError, InputError
from boneviz.samples import DEMONSTRATION
from boneviz.version import __version__

if TYPE_CHECKING:
    from boneviz.scoretable import CohortScores

__all__ = ["main"]

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
PARTLY = 3  # the exit status where all was done but for some cases


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 1 after a line that says what is wrong and what to do."""
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
    except BonevizError as error:
        if options.debug:
            raise
        print(f"boneviz: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if options.debug:
            raise
        where = f": {error.filename}" if error.filename else ""
        print(f"boneviz: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "boneviz: stopped; run the same command again to go on where it stopped",
            file=sys.stderr,
        )
        return 130
    return int(status or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="boneviz",
        description="Where two experts and their two models disagree about bone infection on "
        "PET/CT. For research and teaching, not for diagnosis.",
    )
    parser.add_argument("--version", action="version", version=f"boneviz {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("--quiet", action="store_true", help="no progress bars")
    one = argparse.ArgumentParser(add_help=False, parents=[common])
    one.add_argument("cohort", type=Path, help="cohort folder, or one patient's folder")
    read = argparse.ArgumentParser(add_help=False, parents=[one])
    read.add_argument(
        "--predictions", type=Path, help="folder of predictions (default: COHORT/predictions)"
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: object, text: str, parent: argparse.ArgumentParser
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, parents=[parent])
        made.set_defaults(run=run)
        return made

    made = command("phantom", _phantom, "Make synthetic patients with two experts.", common)
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

    command("check", _check, "Read every file of a cohort and say what it holds.", one)

    made = command(
        "crossval", _crossval, "Train one model per expert and fold, predict who was held out.", one
    )
    made.add_argument("--folds", type=int, default=4, help="how many (default 4)")
    made.add_argument(
        "--only-fold", type=int, action="append", help="run this fold alone; may be repeated"
    )
    made.add_argument("--steps", type=int, default=3000, help="per fit (default 3000)")
    made.add_argument(
        "--modality",
        action="append",
        help="fused, ct or pet; may be repeated for the ablations (default fused)",
    )
    made.add_argument(
        "--control-seed",
        type=int,
        metavar="SEED",
        help="repeat the fits of the first modality with another seed, as a control",
    )
    made.add_argument("--workers", type=int, default=1, help="processes, a fit each (default 1)")
    made.add_argument(
        "--scheduler", metavar="ADDRESS", help="of a Dask cluster, such as tcp://HOST:8786"
    )
    made.add_argument("--seed", type=int, default=0)

    made = command("predict", _predict, "Outline lesions with trained models.", one)
    made.add_argument(
        "--model",
        type=Path,
        action="append",
        help="a .safetensors file; may be repeated (default: COHORT/models, else the "
        "demonstration models, which learned from phantoms)",
    )
    made.add_argument(
        "--out", type=Path, help="folder of predictions (default: COHORT/predictions)"
    )
    made.add_argument("--modality", default="fused", help="input the models must have learned from")

    made = command(
        "score",
        _score,
        "Score every pair of readers of every case. A second run scores only what is missing or "
        "has changed.",
        read,
    )
    made.add_argument(
        "--out", type=Path, required=True, help="a .parquet file (and a .csv beside it), or a .csv"
    )
    made.add_argument(
        "--lesions", type=Path, help="a .parquet or .csv file with a row per matched lesion"
    )
    made.add_argument(
        "--threshold", type=float, default=0.5, help="of models' probabilities (default 0.5)"
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

    made = command(
        "regions", _regions, "List where two readers of a patient agree and differ, and how.", read
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
        "--threshold", type=float, default=0.5, help="of models' probabilities (default 0.5)"
    )
    made.add_argument("--out", type=Path, help="a .parquet or .csv file (default: print)")

    made = command("compare", _compare, "Print the cross-evaluation of models and experts.", read)
    made.add_argument("--metric", default="dice", help="a column of the scores (default dice)")
    made.add_argument("--scores", type=Path, help="a table of `boneviz score`, instead of scoring")

    made = command("report", _report, "Write one self-contained HTML page.", read)
    made.add_argument("--out", type=Path, required=True, help="the .html file")

    made = command("explore", _explore, "Open the explorer in JupyterLab.", read)
    made.add_argument("--port", type=int, default=8888)
    made.add_argument("--no-browser", action="store_true", help="serve, but open no browser")
    made.add_argument(
        "--folder", type=Path, default=Path("boneviz-notebooks"), help="for the notebook"
    )

    made = command("demo", _demo, "Go through the sample cohort from models to explorer.", common)
    made.add_argument("--out", type=Path, default=Path("demo"))
    made.add_argument("--port", type=int, default=8888)
    made.add_argument("--no-open", action="store_true", help="stop after report and table")
    made.add_argument("--no-browser", action="store_true", help="serve, but open no browser")
    return parser


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


def _crossval(options: argparse.Namespace) -> None:
    from boneviz.crossval import plan, run
    from boneviz.fuse import FuseConfig, require_modality
    from boneviz.patches import TrainConfig

    modalities = [require_modality(name) for name in options.modality or ["fused"]]
    seeds = [options.seed]
    if options.control_seed is not None:
        seeds.append(options.control_seed)
    cohort = Cohort.open(options.cohort)
    config = TrainConfig(
        steps=options.steps, seed=options.seed, fuse=FuseConfig(modality=modalities[0])
    )
    todo = plan(
        cohort,
        config,
        n_folds=options.folds,
        only_folds=options.only_fold,
        seed=options.seed,
        modalities=modalities,
        seeds=seeds,
    )
    cohort = run(
        cohort,
        todo,
        workers=options.workers,
        client=options.scheduler,
        progress=not options.quiet,
    )
    print(f"{len(todo.fits)} models in {cohort.root / 'models'}")


def _predict(options: argparse.Namespace) -> None:
    from boneviz.checkpoint import finished_models, load_checkpoint
    from boneviz.crossval import held_out_cases, predict_cohort, with_models
    from boneviz.fuse import require_modality
    from boneviz.samples import demonstration_models

    require_modality(options.modality)
    cohort = Cohort.open(options.cohort)
    weights = options.model or finished_models(cohort.root / "models")
    if not weights:
        weights = demonstration_models()
        print("no models in the folder: the demonstration models are used")
    models = [load_checkpoint(path, modality=options.modality) for path in weights]
    is_cohort = (cohort.root / "cohort.toml").is_file()
    if options.out is None and not is_cohort:
        raise InputError(
            f"{cohort.root} is one patient's folder, nothing is written there; "
            "say where predictions go with --out FOLDER"
        )
    out = options.out or cohort.root / "predictions"
    spoken = held_out_cases(models, cohort)
    predict_cohort(cohort, spoken, folder=out, progress=not options.quiet)
    for model, cases in spoken.items():
        folder = out / model.reader.key
        print(f"{model.reader.name}, fold {model.fold}: {len(cases)} cases in {folder}")
    if is_cohort and options.out is None:
        with_models(cohort, [model.reader for model in models])
    if any(model.demonstration for model in models) and not cohort.synthetic:
        print(DEMONSTRATION)


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
    print(evaluation.to_table().to_string())
    numbers = ["mean", "sd", "mean_plus_sd", "mean_minus_sd", "median", "n", "n_defined"]
    numbers += ["n_missed", "n_false_alarm", "worst_case_mean"]
    summary = evaluation.summary().set_index(["candidate", "reference"])[numbers]
    print(f"\n{summary.round(3).to_string()}")
    by_patient = evaluation.values.set_axis(
        [f"{pair[1]} / {pair[0]}" for pair in evaluation.values.columns],
        axis="columns",
    )
    print(f"\nby patient, candidate / reference\n{by_patient.round(3).to_string()}")
    print(f"\n{evaluation.words}")
    _print_study(scores)
    _say_demonstration(cohort, scores)


def _print_study(scores: CohortScores) -> None:
    """Print what goes beyond the matrix, where there are two models of two experts."""
    from boneviz.endpoints import endpoints, lean, seed_control, volume_bias

    try:
        tested = endpoints(scores)
    except InputError:  # said in the words above
        return
    print(f"\nown experts less the other's, by endpoint\n{tested.round(4).to_string(index=False)}")
    pairs = volume_bias(scores).merge(
        lean(scores), on=["reference", "candidate"], suffixes=("", "_lean")
    )
    columns = {"ratio": "volume ratio", "low": "from", "high": "to", "mean": "sens. - prec."}
    shown = pairs[["candidate", "reference", "n", *columns]].rename(columns=columns)
    text = shown.to_string(index=False, float_format="{:.2f}".format)
    print(f"\ncandidate / reference\n{text}")
    for control in seed_control(scores):
        print(f"\ncontrol, one expert and two seeds: {control.words}")


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


def _say_demonstration(cohort: Cohort, scores: CohortScores) -> None:
    if not cohort.synthetic and any(row.demonstration for row in scores):
        print(f"\n{DEMONSTRATION}")


def _report(options: argparse.Namespace) -> None:
    from boneviz.report import write_report

    write_report(
        Cohort.open(options.cohort),
        options.out,
        predictions=options.predictions,
        progress=not options.quiet,
    )
    print(f"report in {options.out}")


def _explore(options: argparse.Namespace) -> int:
    from boneviz.launch import open_notebook

    cohort = Cohort.open(options.cohort)
    return open_notebook(
        "01_explore.ipynb",
        cohort=cohort.root,
        predictions=options.predictions,
        folder=options.folder,
        port=options.port,
        browser=not options.no_browser,
    )


def _demo_cohort(sample: Path, out: Path) -> Path:
    """Copy the sample cohort without its predictions: the bundled models make them here.

    A copy from before is used as it is; anything else by its name is left alone and refused.
    """
    folder = out / "cohort"
    if folder.exists():
        found, expected = Cohort.open(folder), Cohort.open(sample)
        same_models = all(
            (folder / "models" / card.name).is_file()
            and (folder / "models" / card.name).read_bytes() == card.read_bytes()
            for card in (sample / "models").glob("*.json")
        )
        if (found.name, found.patients) != (expected.name, expected.patients) or not same_models:
            raise InputError(
                f"{folder} holds another cohort ({found.name}, {len(found.patients)} patients) or "
                "the samples of another version; delete it, or choose another folder with --out"
            )
        return folder
    fresh = out / "cohort.new"
    shutil.rmtree(fresh, ignore_errors=True)
    shutil.copytree(sample, fresh, ignore=shutil.ignore_patterns("predictions"))
    fresh.rename(folder)
    return folder


def _demo(options: argparse.Namespace) -> int:
    from boneviz.launch import open_notebook, require_free_port
    from boneviz.samples import samples_folder

    if not options.no_open:
        require_free_port(options.port)
    cohort = _demo_cohort(samples_folder(), options.out)
    quiet = ["--quiet"] if options.quiet else []
    for step in (
        ["check", str(cohort)],
        ["predict", str(cohort)],
        ["score", str(cohort), "--out", str(options.out / "scores.parquet")],
        ["compare", str(cohort)],
        ["report", str(cohort), "--out", str(options.out / "report.html")],
    ):
        print(f"\n$ boneviz {' '.join(step)}")
        chosen = _parser().parse_args([*step, *quiet])
        chosen.run(chosen)
    if options.no_open:
        return 0
    return open_notebook(
        "01_explore.ipynb",
        cohort=cohort,
        predictions=None,
        folder=options.out / "notebooks",
        port=options.port,
        browser=not options.no_browser,
    )
