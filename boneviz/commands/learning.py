"""Commands that train models, and that predict with them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from boneviz.cohort import Cohort
from boneviz.commands.parser import Commands
from boneviz.errors import InputError
from boneviz.paths import inside
from boneviz.samples import DEMONSTRATION

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add them to the parser."""
    made = commands.add(
        "crossval",
        _crossval,
        "Train one model per expert and fold, predict who was held out.",
        commands.one,
    )
    made.add_argument("--folds", type=int, default=4, help="how many (default 4)")
    made.add_argument(
        "--only-fold", type=int, action="append", help="run this fold alone; may be repeated"
    )
    made.add_argument("--steps", type=int, help="per fit (default 900)")
    made.add_argument(
        "--patience",
        type=int,
        default=0,
        metavar="LOOKS",
        help="stop a fit after so many looks at held-out Dice without a better one; a sixth of the "
        "training patients are then watched, not learned from (default 0: never)",
    )
    made.add_argument(
        "--soft-tissue",
        type=float,
        nargs=2,
        metavar=("LEVEL", "WIDTH"),
        help="add a second CT window as a third channel, such as 50 400 (HU)",
    )
    made.add_argument(
        "--precision",
        default="auto",
        help="auto, float32 or bfloat16 (default auto: bfloat16 on a GPU that has it)",
    )
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

    made = commands.add(
        "inflation",
        _inflation,
        "Show by how much slice-level evaluation with slice-level folds flatters, beside "
        "patient-level 3D on the same patients.",
        commands.one,
    )
    made.add_argument("--folds", type=int, help="how many (default: as saved, or 4)")
    made.add_argument("--steps", type=int, default=400, help="per 2D fit (default 400)")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--out", type=Path, help="a .csv or .parquet file of the table")

    made = commands.add("predict", _predict, "Outline lesions with trained models.", commands.one)
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


def _crossval(options: argparse.Namespace) -> None:
    from boneviz.crossval import plan, run
    from boneviz.fuse import FuseConfig, require_modality
    from boneviz.network import NetConfig
    from boneviz.patches import TrainConfig

    modalities = [require_modality(name) for name in options.modality or ["fused"]]
    seeds = [options.seed]
    if options.control_seed is not None:
        seeds.append(options.control_seed)
    cohort = Cohort.open(options.cohort)
    window = None if options.soft_tissue is None else tuple(options.soft_tissue)
    fused = FuseConfig(modality=modalities[0], soft_tissue_hu=window)
    config = TrainConfig(
        seed=options.seed,
        patience=options.patience,
        precision=options.precision,
        net=NetConfig(in_channels=fused.channels),
        fuse=fused,
    )
    if options.steps is not None:
        config = replace(config, steps=options.steps)
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


def _inflation(options: argparse.Namespace) -> None:
    from boneviz.scoretable import require_suffix, write_table
    from boneviz.slicecross import measure_inflation
    from boneviz.slices import SliceConfig

    if options.out is not None:
        require_suffix(options.out)
    found = measure_inflation(
        Cohort.open(options.cohort),
        SliceConfig(steps=options.steps, seed=options.seed),
        n_folds=options.folds,
        progress=not options.quiet,
    )
    print(f"Dice of a 2D network's held-out outlines\n{_text(found.table())}")
    print(f"\nby how much it flatters, 95 % interval over patients\n{_text(found.differences())}")
    print(f"\n{found.words}")
    if options.out is not None:
        write_table(found.table(), options.out)
        print(f"\ntable in {options.out}")


def _text(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format="{:.3f}".format, na_rep="")


def _predict(options: argparse.Namespace) -> None:
    from boneviz.checkpoint import finished_models, load_checkpoint
    from boneviz.crossval import held_out_cases, predict_cohort, with_models
    from boneviz.fuse import require_modality
    from boneviz.samples import demonstration_models

    require_modality(options.modality)
    cohort = Cohort.open(options.cohort)
    weights = options.model or finished_models(
        inside(cohort.root, "models", what=f"cohort {cohort.name}")
    )
    if not weights:
        weights = demonstration_models()
        print("no models in the folder: the demonstration models are used")
    models = [load_checkpoint(path, modality=options.modality) for path in weights]
    is_cohort = (cohort.root / "cohort.toml").is_file()
    if options.out is None and not is_cohort:
        raise InputError(
            f"{cohort.root} has no cohort.toml (one patient's folder, or another tool's dataset): "
            "nothing is written there; "
            "say where predictions go with --out FOLDER"
        )
    out = options.out or inside(cohort.root, "predictions", what=f"cohort {cohort.name}")
    spoken = held_out_cases(models, cohort)
    predict_cohort(cohort, spoken, folder=out, progress=not options.quiet)
    for model, cases in spoken.items():
        folder = out / model.reader.key
        print(f"{model.reader.name}, fold {model.fold}: {len(cases)} cases in {folder}")
    if is_cohort and options.out is None:
        with_models(cohort, [model.reader for model in models])
    if any(model.demonstration for model in models) and not cohort.synthetic:
        print(DEMONSTRATION)
