"""One self-contained HTML page on a cohort: folds, matrix, statistics, patients, settings.

It opens from disk, asks nothing of any server, and prints. Every string that came from a file is
escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from tqdm.auto import tqdm

from boneviz.case import Case, Reader, experts_first
from boneviz.cohort import Cohort
from boneviz.files import write_whole
from boneviz.harmonise import harmonise
from boneviz.palette import ReaderStyle, styles_of
from boneviz.petrecord import NO_SUV
from boneviz.picture import NORMALS, Display, Plane, counts_range, disputed_mm, fused_slice, png_of
from boneviz.readings import Readings, read_readings
from boneviz.regions import Region, regions, regions_table
from boneviz.reportpage import Section, figure_of, page_of, small, table_of, text_of
from boneviz.reportsetup import caveats, cohort_section, folds_section, settings_sections
from boneviz.reportstarred import require_of_cohort, starred_here, starred_section
from boneviz.reportstudy import METRICS, study_sections
from boneviz.samples import DEMONSTRATION
from boneviz.scorerow import Scores
from boneviz.scoretable import CohortScores, row_of
from boneviz.version import __version__

__all__ = ["report_page", "write_report"]

LEAST_ML, MOST_REGIONS = 0.1, 6  # of regions that are listed
PLANES = tuple(NORMALS)
WINDOW_MM = 170.0
PICTURES_BYTES = 3_600_000  # of all pictures together, so that a report stays below 5 MB


@dataclass(frozen=True, slots=True)
class _Quality:
    """How much room pictures of one case may take."""

    planes: tuple[Plane, ...]
    mm_per_pixel: float
    colours: int


# the first that fits into a patient's share of the page is taken
QUALITIES = (
    _Quality(PLANES, 0.5, 128),
    _Quality(PLANES, 0.5, 64),
    _Quality(PLANES, 0.7, 48),
    _Quality(("axial",), 0.5, 64),
    _Quality(("axial",), 0.85, 32),
)


def write_report(
    cohort: Cohort,
    path: str | Path,
    *,
    predictions: str | Path | None = None,
    scores: Iterable[Scores] | None = None,
    starred: Sequence[Region] = (),
    progress: bool = True,
) -> None:
    """Write the report of a cohort as an ``.html`` file, whole or not at all; see `report_page`."""
    page = report_page(
        cohort, predictions=predictions, scores=scores, starred=starred, progress=progress
    )
    write_whole(Path(path), page.encode())


def report_page(
    cohort: Cohort,
    *,
    predictions: str | Path | None = None,
    scores: Iterable[Scores] | None = None,
    starred: Sequence[Region] = (),
    progress: bool = True,
) -> str:
    """Return the report of a cohort, one self-contained HTML page.

    Up to some hundred patients it stays below 5 MB: pictures are kept in fewer colours, smaller or
    in one plane only where there are many, and left out where even that is too much, which is said.

    Parameters
    ----------
    cohort : every case is read once
    predictions : folder of the models' predictions, by default ``predictions/`` of the cohort
    scores : of this cohort; scored here by default
    starred : regions of this cohort that get a section of their own
    progress : show a bar

    Raises
    ------
    LeakageError
        A model is scored on a patient it had learned from.
    InputError
        A starred region is of no patient of this cohort.
    """
    require_of_cohort(starred, cohort)
    given = None if scores is None else tuple(scores)
    made: list[Scores] = []
    volumes_ml: dict[Reader, list[float]] = {}
    size_ml: dict[str, list[float]] = {}
    shown: list[str] = []
    starred_parts: list[str] = []
    n_starred = 0
    unpictured: list[str] = []
    styles: tuple[ReaderStyle, ...] = ()
    from_phantoms = False
    for ref in tqdm(cohort.cases, desc="report", disable=not progress, leave=False):
        readings = read_readings(cohort, ref, predictions=predictions)
        own = readings.scores() if given is None else _of_case(given, ref.case_id)
        made += own
        outlined = readings.outlined()
        for reader, mask in outlined.masks.items():
            volumes_ml.setdefault(reader, []).append(mask.volume_ml)
            if reader.kind == "expert":
                size_ml.setdefault(ref.patient_id, []).append(mask.volume_ml)
        main = [reader for reader in readings.readers if not reader.variant]
        known = dict.fromkeys((*(style.reader for style in styles), *main))
        styles = styles_of(experts_first(known))
        from_phantoms = from_phantoms or readings.models_learned_from_phantoms
        pictures = _pictures(
            harmonise(replace(outlined, masks={reader: outlined.masks[reader] for reader in main})),
            styles,
            share=PICTURES_BYTES // len(cohort.cases),
        )
        of_case = [region for region in starred if region.case_id == ref.case_id]
        all_styles = styles_of(experts_first((*known, *readings.readers)))
        starred_parts.append(starred_here(of_case, readings, all_styles, before=n_starred))
        n_starred += len(of_case)
        if not pictures:
            unpictured.append(ref.case_id)
        shown.append(
            f"<div class=case><div class=head><h3>{html.escape(ref.case_id)}</h3>"
            f"<div class=pictures>{pictures}</div></div>"
            f"{_about_counts(readings.case)}{_regions(readings)}{_case_table(own)}</div>"
        )
    # what could not be scored is told beneath the matrix
    failures = scores.failures if isinstance(scores, CohortScores) else ()
    rows = CohortScores(tuple(made), failures)
    size = {patient: sum(ml) / len(ml) for patient, ml in size_ml.items()}
    sections = [
        Section(
            "cohort",
            "Cohort",
            cohort_section(experts_first([*cohort.readers, *volumes_ml]), volumes_ml),
        ),
        Section("folds", "Folds", folds_section(cohort, size)),
        *(study_sections(rows) if made else ()),
        *([starred_section(starred_parts)] if starred else ()),
        Section("patients", "Patients", _legend(styles, unpictured) + "".join(shown)),
        *settings_sections(cohort, rows, today=date.today().isoformat()),
        Section("caveats", "What this can and cannot show", _list(caveats(cohort, rows))),
    ]
    caution = _cautions(cohort, from_phantoms=from_phantoms)
    return page_of(
        cohort.name,
        f"<p class=about>{_about(cohort)}</p><p class=caution>{html.escape(caution)}</p>",
        sections,
        footer=(
            f"boneviz {__version__}, {date.today().isoformat()}. "
            "For research and teaching, not for diagnosis."
        ),
    )


def _of_case(scores: Sequence[Scores], case_id: str) -> tuple[Scores, ...]:
    return tuple(row for row in scores if row.case_id == case_id)


def _about(cohort: Cohort) -> str:
    sessions = f", {len(cohort)} sessions" if len(cohort) != len(cohort.patients) else ""
    n = len(cohort.patients)
    kind = ("synthetic " if cohort.synthetic else "") + ("patient" if n == 1 else "patients")
    licence = f"Licence: {cohort.licence}." if cohort.licence else ""
    parts = [f"{n} {kind}{sessions}.", cohort.provenance, licence]
    return html.escape(" ".join(part for part in parts if part))


def _cautions(cohort: Cohort, *, from_phantoms: bool) -> str:
    if from_phantoms and not cohort.synthetic:
        return DEMONSTRATION
    return "For research and teaching, not for diagnosis."


def _list(texts: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(text)}</li>' for text in texts)}</ul>"


def _regions(readings: Readings) -> str:
    """Return the largest parts in which the first two readers differ."""
    if len(readings.readers) < 2:
        return ""
    first, second = (reader.name for reader in readings.readers[:2])
    found = regions(readings.case, first, second, readings.predictions)
    differing = [region for region in found if region.kind != "shared"]
    shown = [region for region in differing if region.volume_ml >= LEAST_ML][:MOST_REGIONS]
    if not shown:
        return ""
    names = {
        "readers": "Outlined by",
        "kind": "Kind",
        "tissue": "Into",
        "volume_ml": "mL",
        "reach_mm": "Reach (mm)",
        "suv_max": "SUVmax",
        "hu_mean": "Mean HU",
        "distance_to_bone_mm": "To bone (mm)",
    }
    n_left = len(differing) - len(shown)
    left = f"; not listed: {n_left} smaller" if n_left else ""
    return table_of(regions_table(shown), names, digits=1, texts=("tissue",)) + small(
        f"Where {first} and {second} differ{left}."
    )


def _about_counts(case: Case) -> str:
    """Return why a case has no SUV, and what its colours mean instead."""
    if case.has_suv:
        return ""
    low, high = counts_range(case.pet)
    why = "; ".join(case.pet_origin)
    return small(
        f"There is {NO_SUV}; its colours run from {low:.4g} to {high:.4g} counts"
        f"{f' ({why})' if why else ''}."
    )


def _case_table(rows: Sequence[Scores]) -> str:
    """Return the scores of the study's own readers; the table of scores has those of variants."""
    if not rows:
        return "<p class=small>One reader alone: there is nobody to compare with.</p>"
    columns = (
        ("Reference", "reference"),
        ("Candidate", "candidate"),
        ("Reference (mL)", "reference_ml"),
        ("Candidate (mL)", "candidate_ml"),
        *((label, metric) for metric, label in METRICS.items()),
        ("Missed lesions", "missed_lesions"),
        ("Extra lesions", "extra_lesions"),
        ("Status", "status"),
    )
    head = "".join(f"<th scope=col>{html.escape(label)}</th>" for label, _ in columns)
    lines = []
    for row in rows:
        if row.reference.variant or row.candidate.variant:
            continue
        values = row_of(row) | {"status": row.status.replace("_", " ")}
        cells = "".join(f"<td>{text_of(values.get(c, float('nan')))}</td>" for _, c in columns)
        lines.append(f"<tr>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _pictures(case: Case, styles: Sequence[ReaderStyle], *, share: int) -> str:
    """Return slices through the largest dispute, as good as fits into `share` bytes."""
    experts = {reader: mask for reader, mask in case.masks.items() if reader.kind == "expert"}
    apart = case if len(experts) < 2 else replace(case, masks=experts)
    centre_mm = disputed_mm(apart)
    for quality in QUALITIES:
        display = Display(mm_per_pixel=quality.mm_per_pixel, window_mm=WINDOW_MM)
        figures = ""
        for plane in quality.planes:
            picture = fused_slice(case, plane, centre_mm, styles=styles, display=display)
            figures += _figure(plane, centre_mm, png_of(picture, colours=quality.colours))
        if len(figures) <= share:
            return figures
    return ""


def _figure(plane: Plane, centre_mm: Sequence[float], png: bytes) -> str:
    axis = NORMALS[plane]
    caption = (
        f"{plane}, {'xyz'[axis]} = {centre_mm[axis]:.0f} mm, {WINDOW_MM / 10:.0f} cm across, "
        "centred on the largest dispute"
    )
    return figure_of(plane, caption, png)


def _legend(styles: Sequence[ReaderStyle], unpictured: Sequence[str]) -> str:
    legend = " ".join(
        f'<span class=reader><i style="border-top:3px {"dashed" if style.dashed else "solid"} '
        f'{style.colour}"></i>{html.escape(style.name)}</span>'
        for style in styles
    )
    lacking = (
        f" Without pictures, which would make this file larger than 5 MB: {len(unpictured)} of "
        f"the cases, {', '.join(unpictured[:20])}{', ...' if len(unpictured) > 20 else ''}."
        if unpictured
        else ""
    )
    return (
        f"<p>{legend} Slices through the largest part in which the experts differ, on the axial "
        "slice on which they differ most; CT bone window L 400 / W 1800 HU, PET 0 to 8 SUVbw "
        "where it has SUV. "
        "R, L, A, P, S, I: the patient's right, left, front, back, head and foot. Ablations and "
        f"repeats of models are not drawn.{html.escape(lacking)}</p>"
    )
