"""The commands that speak with a hospital's archive over DICOMweb: find, get, send.

`find` shows the patient id, study date, description and accession number of the user's own
archive, by which one knows a study; it is shown on the terminal and written nowhere.
"""

from __future__ import annotations

import argparse
import os
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from boneviz.commands.parser import Commands

if TYPE_CHECKING:
    from boneviz.connection import Archive

__all__ = ["add"]


def add(commands: Commands) -> None:
    """Add them to the parser."""
    made = commands.add(
        "archive",
        _find,
        "Find studies in a hospital's archive over DICOMweb, get their files, send SEGs back. "
        "Nothing but the given address is contacted. Needs: pip install 'boneviz[dicom]'.",
        argparse.ArgumentParser(add_help=False),
    )
    actions = made.add_subparsers(required=True, metavar="ACTION")
    parents = [commands.common, _connection()]

    text = "List studies, the latest first: date, modalities, files, patient id, description, UID."
    find = actions.add_parser("find", help=text, description=text, parents=parents)
    find.add_argument("--patient-id", metavar="ID", help="* and ? stand for any characters")
    find.add_argument("--from", dest="since", type=_day, metavar="YYYY-MM-DD", help="first date")
    find.add_argument("--to", dest="until", type=_day, metavar="YYYY-MM-DD", help="last date")
    find.add_argument("--modality", metavar="CS", help="that the study contains, such as PT")
    find.add_argument("--accession", metavar="NUMBER")
    find.set_defaults(run=_find)

    text = (
        "Get the CT, PT, SEG and RTSTRUCT files of studies, as the archive has them: with "
        "patients' names. Cut off, the same command goes on. Then: boneviz import FOLDER."
    )
    get = actions.add_parser("get", help=text, description=text, parents=parents)
    get.add_argument(
        "--study", action="append", required=True, metavar="UID", help="may be repeated"
    )
    get.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="of DICOM files")
    get.add_argument(
        "--modality",
        action="append",
        choices=("CT", "PT", "SEG", "RTSTRUCT"),
        help="may be repeated (default: all four)",
    )
    get.set_defaults(run=_get)

    text = (
        "Store DICOM SEGs and say what the archive answered; exits with 1 where one was refused. "
        "A SEG must carry its patient's id: export it with the identity of its source."
    )
    send = actions.add_parser("send", help=text, description=text, parents=parents)
    send.add_argument("files", nargs="+", type=Path, metavar="FILE")
    send.set_defaults(run=_send)


def _connection() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "url", metavar="URL", help="root of the service, such as https://pacs.example/dicom-web"
    )
    parser.add_argument(
        "--credentials",
        type=Path,
        metavar="FILE",
        help='TOML, readable by you alone: user = "..." and password = "...", or token = "..." '
        "(default: BONEVIZ_ARCHIVE_USER and BONEVIZ_ARCHIVE_PASSWORD, or BONEVIZ_ARCHIVE_TOKEN)",
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="certificates (PEM) that are believed instead"
    )
    parser.add_argument(
        "--timeout", type=float, default=60.0, metavar="S", help="of silence (default 60)"
    )
    parser.add_argument(
        "--unencrypted", action="store_true", help="allow http:// to another machine"
    )
    parser.add_argument(
        "--proxy-from-environment", action="store_true", help="use HTTPS_PROXY and the like"
    )
    return parser


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no date, expected YYYY-MM-DD") from None


def _archive(options: argparse.Namespace) -> Archive:
    from boneviz.connection import Archive
    from boneviz.credentials import read_credentials

    return Archive(
        options.url,
        read_credentials(options.credentials, environment=os.environ),
        ca_file=options.ca,
        timeout_s=options.timeout,
        unencrypted=options.unencrypted,
        environment_proxies=options.proxy_from_environment,
    )


def _find(options: argparse.Namespace) -> None:
    from boneviz.dicomweb import find_studies

    studies = find_studies(
        _archive(options),
        patient_id=options.patient_id,
        since=options.since,
        until=options.until,
        modality=options.modality,
        accession=options.accession,
    )
    for study in studies:
        files = "?" if study.n_instances is None else str(study.n_instances)
        modalities = ",".join(study.modalities)
        print(f"{study.date or '?':8}  {modalities or '?':12} {files:>5} files  {study.uid}")
        accession = f"  accession {study.accession}" if study.accession else ""
        print(
            f"          patient {study.patient_id or '?'}{accession}  {study.description}".rstrip()
        )
    print("1 study" if len(studies) == 1 else f"{len(studies)} studies")


def _get(options: argparse.Namespace) -> None:
    from boneviz.dicomweb import MODALITIES, fetch_studies

    fetched = fetch_studies(
        _archive(options),
        options.study,
        options.out,
        modalities=options.modality or MODALITIES,
        progress=not options.quiet,
    )
    for series in fetched:
        there = series.n_instances - series.n_fetched
        known = f", {there} were there" if there else ""
        print(f"{series.modality:8} {series.n_fetched:5} fetched{known}: {series.folder}")
    print(f"{sum(series.n_instances for series in fetched)} files in {options.out}")


def _send(options: argparse.Namespace) -> int:
    from boneviz.dicomstore import store_segs

    stored = store_segs(_archive(options), options.files, progress=not options.quiet)
    for file in stored:
        print(f"{file.path}: {file.said}")
    return 0 if all(file.accepted for file in stored) else 1
