"""The command that makes a cohort of the hospital's files."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from boneviz.commands.parser import Commands
from boneviz.errors import InputError

if TYPE_CHECKING:
    from boneviz.dicomfiles import Found
    from boneviz.identity import Key
    from boneviz.importplan import Plan, Row
    from boneviz.labelobject import LabelObject
    from boneviz.labelsource import Outline

__all__ = ["add"]

MOST_SKIPPED = 5
# of Siemens, Philips and Canon, such as B60s, Br40d, B and FC18
KERNEL = r"[A-Z][a-z]{0,2}\d{1,3}[a-z]?|FC\d{2}"
GE_KERNELS = ("STANDARD", "SOFT", "DETAIL", "BONE", "BONEPLUS", "LUNG", "CHEST", "EDGE", "ULTRA")
# any other modality is a text that nobody checked
KNOWN = ("CT", "PT", "SEG", "RTSTRUCT", "MR", "NM", "SR", "PR", "OT", "SC", "RTPLAN", "RTDOSE")


def add(commands: Commands) -> None:
    """Add it to the parser."""
    made = commands.add(
        "import",
        _import,
        "Make a cohort of a folder of DICOM files. It shows what was found and what it would take, "
        "and asks before it writes. Patients get study ids; key or table of ids stay with you.",
        commands.common,
    )
    made.add_argument("dicom", type=Path, metavar="DICOM_DIR", help="searched with all below it")
    made.add_argument("--out", type=Path, required=True, metavar="COHORT", help="its folder")
    made.add_argument("--yes", action="store_true", help="do not ask")
    made.add_argument(
        "--series",
        action="append",
        default=[],
        metavar="NUMBER",
        help="take this CT or PET of the table where several fit; may be repeated. CASE:NUMBER "
        "counts within a case, as the table does after the session, and is needed where the cohort "
        "holds cases already",
    )
    made.add_argument(
        "--labels",
        action="append",
        default=[],
        metavar="NAME=WHERE",
        help="an expert and where the outlines are: a folder of masks (NIfTI, NRRD) named by study "
        "or patient id, a table (.csv: study_id or patient_id, session, mask), a folder of SEG or "
        "RTSTRUCT, or the name of a segment, region or series in DICOM_DIR (with * and ?)",
    )
    made.add_argument(
        "--resample-labels",
        action="store_true",
        help="lay outlines of another grid on the CT by nearest neighbour, which changes them",
    )
    made.add_argument(
        "--label-threshold",
        type=float,
        metavar="FRACTION",
        help="from where on a voxel of a fractional SEG is inside",
    )
    made.add_argument(
        "--as-counts",
        action="store_true",
        help="take a PET without SUV where SUVbw cannot be derived",
    )
    made.add_argument(
        "--ids", type=Path, metavar="TABLE.csv", help="columns patient_id, study_id; stays with you"
    )
    made.add_argument(
        "--key", type=Path, metavar="FILE", help="gives study ids (default: COHORT.key beside it)"
    )
    made.add_argument(
        "--show-text",
        action="store_true",
        help="show series descriptions and names of segments, which may name the patient",
    )


def _import(options: argparse.Namespace) -> int:
    from boneviz.dicomfiles import find_series
    from boneviz.identity import StudyIds, default_key_path, read_id_table, write_key
    from boneviz.importcohort import (
        ImportSettings,
        import_sessions,
        match_outlines,
        out_of_place,
        require_importable,
    )
    from boneviz.labelobject import label_objects
    from boneviz.labelsource import reader_sources
    from boneviz.pairing import plan_import

    sources = reader_sources(options.labels)
    experts = [source.reader for source in sources]
    key_path = options.key or default_key_path(options.out)
    if key_path.resolve().is_relative_to(options.out.resolve()):
        raise InputError(f"{key_path}: in the cohort, which it would open; keep the key elsewhere")
    key, is_new = _key(key_path, options.out)
    require_importable(options.out, key, experts)
    table = None if options.ids is None else read_id_table(options.ids)
    take, take_of_case = _series(options.series, options.out)
    found = find_series(options.dicom, progress=not options.quiet)
    plan = plan_import(
        found,
        StudyIds(key, table),
        take=take,
        take_of_case=take_of_case,
        as_counts=options.as_counts,
    )
    objects = label_objects(row.series for row in plan.labels)
    outlines, without = match_outlines(plan, sources, objects)
    barred = dict(out_of_place(plan, options.out, key))
    outlines = {case_id: each for case_id, each in outlines.items() if case_id not in barred}
    without = tuple((case_id, why) for case_id, why in without if case_id not in barred)
    refused = [*plan.refused, *without, *barred.items()]
    if is_new:
        print(f"study ids are provisional until their key, {key_path}, is written with the cohort")
    _print_rows(plan, objects, _takers(outlines), show_text=options.show_text)
    _print_skipped(found)
    _print_refused(refused)
    if not outlines:
        raise InputError(f"{options.dicom}: no session that can be imported")
    for case_id, each in outlines.items():
        if each:
            print(f"{case_id}: {', '.join(f'{o.reader.name} by {o.kind}' for o in each)}")
    print(f"{len(outlines)} sessions into {options.out}")
    _confirm(options)
    if is_new:
        write_key(key, key_path)
        print(
            f"{key_path}: the key from which the study ids follow; keep it, and give it to nobody"
        )
    imported = import_sessions(
        plan,
        outlines,
        options.out,
        key=key,
        experts=experts,
        settings=ImportSettings(options.resample_labels, options.label_threshold),
        progress=not options.quiet,
    )
    for note in imported.notes:
        print(f"  {note}")
    earlier = f", {len(imported.there)} there already" if imported.there else ""
    print(f"{len(imported.written)} sessions written{earlier} in {options.out}")
    _print_refused(imported.refused)
    if imported.written or imported.there:
        print(f"next: boneviz check {options.out}")
    n_refused = len(refused) + len(imported.refused)
    n_damaged = sum(each.damaged for each in found.skipped)
    lacking = [f"{n_refused} refused"] * bool(n_refused)
    lacking += [f"{n_damaged} damaged files left out"] * bool(n_damaged)
    if lacking:
        print(f"boneviz: {', '.join(lacking)}, see above", file=sys.stderr)
    return 1 if lacking else 0


def _series(given: Sequence[str], out: Path) -> tuple[list[int], list[tuple[str, int]]]:
    """Return what --series says, numbers of the table and numbers within cases."""
    from boneviz.importcohort import is_import

    of_table: list[int] = []
    of_cases: list[tuple[str, int]] = []
    for each in given:
        case_id, sign, number = each.rpartition(":")
        if not number.strip().isdecimal() or (sign and not case_id.strip()):
            raise InputError(f"--series {each}: expected a NUMBER of the table, or CASE:NUMBER")
        if sign:
            of_cases.append((case_id.strip(), int(number)))
        else:
            of_table.append(int(number))
    # cut off, the same command goes on
    if of_table and is_import(out) and (out / "cohort.toml").exists():
        raise InputError(
            f"--series {of_table[0]}: {out} holds cases already, and a number of the table is "
            "another series when files came since; give CASE:NUMBER, the number that the table has "
            "after the session"
        )
    return of_table, of_cases


def _key(path: Path, out: Path) -> tuple[Key, bool]:
    """Return the key, and whether it is new: written where the user says yes."""
    from boneviz.identity import Key, read_key
    from boneviz.importcohort import is_import

    if path.exists():
        if path.stat().st_mode & 0o077:
            print(f"{path}: others may read it; `chmod 600` it", file=sys.stderr)
        return read_key(path), False
    if is_import(out):
        return read_key(path), False  # says that it is not there
    return Key.new(), True


def _confirm(options: argparse.Namespace) -> None:
    if options.yes:
        return
    if not sys.stdin.isatty():
        raise InputError("nobody to ask whether to write this; give --yes, nothing was written")
    try:
        answer = input("Write it? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise InputError("nothing was written")


def _takers(outlines: Mapping[str, Sequence[Outline]]) -> dict[Path, str]:
    """Return SEG or RTSTRUCT -> whose outline it is taken as."""
    return {
        outline.path: f"outline of {outline.reader.name}"
        for each in outlines.values()
        for outline in each
    }


def _print_rows(
    plan: Plan,
    objects: Sequence[LabelObject],
    takers: Mapping[Path, str],
    *,
    show_text: bool,
) -> None:
    print(f"{len(plan.rows)} series")
    for row in plan.rows:
        whose = sorted({takers[path] for path in row.series.paths if path in takers})
        print(_line(replace(row, chosen=True, why=", ".join(whose)) if whose else row))
        if show_text and row.series.description:
            print(f"        {_plain(row.series.description)}")
        for each in objects:
            if each.path in row.series.paths:
                if each.problem:
                    print(f"        {each.problem}")
                elif show_text:
                    names = ", ".join(_plain(name) or "no name" for name in each.regions.values())
                    print(f"        regions: {names}")
                else:
                    print(f"        {len(each.regions)} regions; --show-text lists their names")


def _line(row: Row) -> str:
    """Return a series in one line: nothing of it is free text."""
    series = row.series
    modality = series.modality if series.modality in KNOWN else "other"
    day = "" if row.days is None else f"day {row.days}"
    session = f"{row.session}:{row.place}" if row.session else ""
    size = f"{series.n_slices} slices"
    if row.grid is not None:
        x, y, z = row.grid.spacing_mm
        shape = "x".join(str(n) for n in row.grid.shape)
        size = f"{shape} of {x:.3g} x {y:.3g} x {z:.3g} mm"
    elif modality not in ("CT", "PT"):
        size = f"{len(series)} files"
    mark = "->" if row.chosen else "  "
    who = f"{row.study_id or '(no id)':<11} {session:<5} {day:<8}"
    return (
        f"{mark}{row.number:>4} {who} {modality:<8} {_kernel(row):<9}{size:<42} {row.why}".rstrip()
    )


def _kernel(row: Row) -> str:
    """Return a CT's ConvolutionKernel where it is a maker's word: it is a text that holds all."""
    said = row.series.reconstruction if row.series.modality == "CT" else ""
    kernel = said.split("\\")[0].strip()  # what follows is its strength
    return kernel if kernel in GE_KERNELS or re.fullmatch(KERNEL, kernel) else ""


def _plain(text: str) -> str:
    """Return a stranger's text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:120]


def _print_skipped(found: Found) -> None:
    damaged = [each for each in found.skipped if each.damaged]
    if len(found.skipped) > len(damaged):
        print(f"{len(found.skipped) - len(damaged)} other files left out")
    for each in damaged[:MOST_SKIPPED]:
        print(f"damaged  {each.path}: {each.reason}")
    if len(damaged) > MOST_SKIPPED:
        print(f"damaged  and {len(damaged) - MOST_SKIPPED} more")


def _print_refused(refused: Sequence[tuple[str, str]]) -> None:
    for case_id, why in refused:
        print(f"refused  {case_id}: {why}")
