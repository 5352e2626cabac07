"""The command that gives a cohort to other tools."""

from __future__ import annotations

import argparse
from pathlib import Path

from boneviz.case import DEFAULT_THRESHOLD
from boneviz.cohort import Cohort
from boneviz.commands.parser import Commands
from boneviz.errors import InputError

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
    to.add_argument(
        "--dicom-seg", type=Path, metavar="FOLDER", help="a SEG per reader; needs --source"
    )
    made.add_argument(
        "--expert",
        action="append",
        metavar="NAME",
        help="whose outlines, the one to learn from first; may be repeated (default: all)",
    )
    seg = made.add_argument_group("DICOM SEG, per reader, over the series of the hospital")
    seg.add_argument(
        "--source", type=Path, metavar="DICOM_DIR", help="the folder it was imported from"
    )
    seg.add_argument("--key", type=Path, help="of that import (default: COHORT.key beside it)")
    seg.add_argument("--ids", type=Path, metavar="TABLE.csv", help="of that import, instead")
    seg.add_argument(
        "--pair",
        nargs=2,
        metavar="NAME",
        help="also where two readers differ: A only, B only, both",
    )
    seg.add_argument(
        "--threshold", type=float, help=f"of models' probabilities (default {DEFAULT_THRESHOLD})"
    )
    seg.add_argument(
        "--identity",
        choices=("none", "source"),
        help="source keeps name, id and dates of the source, so that an archive files it "
        "(default: none)",
    )
    seg.add_argument(
        "--predictions", type=Path, help="folder of predictions (default: COHORT/predictions)"
    )


def _export(options: argparse.Namespace) -> None:
    if options.dicom_seg is not None:
        _export_seg(options)
        return
    from boneviz.exchange import export_csv, export_monai, export_nnunet

    for name in ("source", "key", "ids", "pair", "threshold", "identity", "predictions"):
        if getattr(options, name) is not None:
            raise InputError(f"--{name} belongs to --dicom-seg; give both, or neither")
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


def _export_seg(options: argparse.Namespace) -> None:
    from boneviz.dicomfiles import find_series
    from boneviz.identity import Key, StudyIds, default_key_path, read_id_table, read_key
    from boneviz.segcohort import SegExport, export_dicom_seg

    if options.source is None:
        raise InputError("--dicom-seg needs the series that it is to lie over; give --source")
    if options.expert:
        raise InputError("--expert belongs to --nnunet and --monai; a SEG is written per reader")
    if options.ids is not None:
        ids = StudyIds(Key.new(), read_id_table(options.ids))
    else:
        ids = StudyIds(read_key(options.key or default_key_path(options.cohort)))
    cohort = Cohort.open(options.cohort)
    written = export_dicom_seg(
        cohort,
        options.dicom_seg,
        source=find_series(options.source, progress=not options.quiet),
        ids=ids,
        what=SegExport(
            DEFAULT_THRESHOLD if options.threshold is None else options.threshold,
            tuple(options.pair) if options.pair else None,
            options.identity or "none",
        ),
        predictions=options.predictions,
        progress=not options.quiet,
    )
    print(f"{len(written)} SEG of {len(cohort)} cases in {options.dicom_seg}")
    kept = "identity of the source" if options.identity == "source" else "UIDs of the source"
    print(f"they hold the {kept}: who has its files can tell whose they are")
