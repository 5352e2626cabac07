"""Commands that end in a browser: the explorer, and the whole way through the samples."""

from __future__ import annotations

import argparse
import shutil
from functools import partial
from pathlib import Path

from boneviz.cohort import Cohort
from boneviz.commands.parser import Commands
from boneviz.errors import InputError

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add them to the parser."""
    made = commands.add("explore", _explore, "Open the explorer in JupyterLab.", commands.read)
    made.add_argument("--port", type=int, default=8888)
    made.add_argument("--no-browser", action="store_true", help="serve, but open no browser")
    made.add_argument(
        "--folder", type=Path, default=Path("boneviz-notebooks"), help="for the notebook"
    )

    made = commands.add(
        "app",
        _app,
        "Open the explorer as a page of its own, for people who do not write code.",
        commands.read,
    )
    made.add_argument("--port", type=int, default=8866)
    made.add_argument("--no-browser", action="store_true", help="serve, but open no browser")
    made.add_argument("--folder", type=Path, default=Path("boneviz-app"), help="for the page")

    made = commands.add(
        "demo", _demo, "Go through the sample cohort from models to explorer.", commands.common
    )
    made.add_argument("--out", type=Path, default=Path("demo"))
    made.add_argument("--port", type=int, default=8888)
    made.add_argument("--no-open", action="store_true", help="stop after report and table")
    made.add_argument("--no-browser", action="store_true", help="serve, but open no browser")


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


def _app(options: argparse.Namespace) -> int:
    from boneviz.launch import open_app

    cohort = Cohort.open(options.cohort)
    return open_app(
        cohort=cohort.root,
        predictions=options.predictions,
        folder=options.folder,
        port=options.port,
        browser=not options.no_browser,
        say=partial(print, flush=True),
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
        chosen = options.parser.parse_args([*step, *quiet])
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
