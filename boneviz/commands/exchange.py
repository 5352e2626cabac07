"""The command that gives a cohort to other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from boneviz.cohort import Cohort
from boneviz.commands.parser import Commands

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add it to the parser."""
    made = commands.add(
        "export",
        _export,
        "Give a cohort to other tools. Patient ids go with it, as the cohort has them. Cut off, "
        "the same command goes on; nothing is written over.",
        commands.one,
    )
    to = made.add_mutually_exclusive_group(required=True)
    to.add_argument(
        "--nnunet",
        type=Path,
        metavar="FOLDER",
        help="a raw dataset of nnU-Net v2, such as Dataset501_BoneInfection",
    )
    to.add_argument(
        "--monai", type=Path, metavar="FOLDER", help="images, labels and a MONAI datalist"
    )
    to.add_argument(
        "--csv", type=Path, metavar="FILE", help="a table of paths and volumes; nothing is copied"
    )
    made.add_argument(
        "--expert",
        action="append",
        metavar="NAME",
        help="whose outlines, the one to learn from first; may be repeated (default: all)",
    )


def _export(options: argparse.Namespace) -> None:
    from boneviz.exchange import export_csv, export_monai, export_nnunet

    cohort, progress = Cohort.open(options.cohort), not options.quiet
    if options.csv is not None:
        print(f"{len(cohort)} cases in {export_csv(cohort, options.csv, progress=progress)}")
        return
    if options.nnunet is not None:
        out = export_nnunet(cohort, options.nnunet, experts=options.expert, progress=progress)
    else:
        out = export_monai(cohort, options.monai, experts=options.expert, progress=progress)
    print(f"{len(cohort)} cases in {out}")
    if options.nnunet is not None and (out / "splits_final.json").is_file():
        print(f"copy {out / 'splits_final.json'} into nnUNet_preprocessed/{out.name}")
