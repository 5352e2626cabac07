"""One self-contained HTML page on a cohort: matrix, statistics in words, patients, pictures.

It opens from disk, asks nothing of any server, and prints. Every string that came from a file is
escaped.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import pandas as pd
from tqdm.auto import tqdm

from boneviz.case import Case, experts_first
from boneviz.cohort import Cohort
from boneviz.compare import CrossEvaluation, cross_evaluate
from boneviz.endpoints import endpoints, lean, volume_bias
from boneviz.errors import InputError
from boneviz.files import write_whole
from boneviz.harmonise import harmonise
from boneviz.palette import ReaderStyle, styles_of
from boneviz.picture import LETTERS, Display, Plane, disputed_mm, fused_slice, png_of
from boneviz.readings import Readings, read_readings
from boneviz.regions import regions, regions_table
from boneviz.samples import DEMONSTRATION
from boneviz.scorerow import Scores
from boneviz.scoretable import row_of
from boneviz.version import __version__

__all__ = ["write_report"]

METRICS = {
    "dice": "Dice",
    "surface_dice_2mm": "Surface Dice at 2 mm",
    "hd95_mm": "HD95 (mm)",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
}
LABELS = {**METRICS, "volume_matched_dice": "Volume-matched Dice", "lesion_f1": "Lesion F1"}
LEAST_ML, MOST_REGIONS = 0.1, 6  # of regions that are listed
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
PLANES_AXIS: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
DISPLAY = Display(mm_per_pixel=0.5, window_mm=170)


def write_report(
    cohort: Cohort,
    path: str | Path,
    *,
    predictions: str | Path | None = None,
    progress: bool = True,
) -> None:
    """Score a cohort and write its report, whole or not at all.

    Parameters
    ----------
    cohort : every case is read once
    path : the ``.html`` file
    predictions : folder of the models' predictions, by default ``predictions/`` of the cohort
    progress : show a bar

    Raises
    ------
    LeakageError
        A model is scored on a patient it had learned from.
    """
    scores: list[Scores] = []
    sections: list[str] = []
    styles: tuple[ReaderStyle, ...] = ()
    from_phantoms = False
    for ref in tqdm(cohort.cases, desc="report", disable=not progress, leave=False):
        readings = read_readings(cohort, ref, predictions=predictions)
        rows = readings.scores()
        scores += rows
        known = dict.fromkeys((*(style.reader for style in styles), *readings.readers))
        styles = styles_of(experts_first(known))
        from_phantoms = from_phantoms or readings.models_learned_from_phantoms
        pictures = _pictures(harmonise(readings.outlined()), styles)
        sections.append(
            f"<section class=case><h3>{html.escape(ref.case_id)}</h3>"
            f"<div class=pictures>{pictures}</div>{_regions(readings)}{_case_table(rows)}</section>"
        )
    body = [
        f"<h1>{html.escape(cohort.name)}</h1>",
        f"<p class=about>{_about(cohort)}</p>",
        f"<p class=caution>{html.escape(_cautions(cohort, from_phantoms=from_phantoms))}</p>",
    ]
    if scores:
        body += ["<h2>Cross-evaluation</h2>", *_matrices(scores), *_study(scores)]
    body += [
        "<h2>Patients</h2>",
        f"<p>{_legend(styles)} Slices through the largest disagreement; "
        "CT bone window L 400 / W 1800 HU, PET 0 to 8 SUVbw. R, L, A, P, S, I: the patient's "
        "right, left, front, back, head and foot.</p>",
        *sections,
        f"<footer>boneviz {__version__}, {date.today().isoformat()}. "
        "For research and teaching, not for diagnosis.</footer>",
    ]
    title = html.escape(cohort.name)
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width">'
        # nothing but what is in this file may be loaded, whatever its strings say
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        f"<style>{_STYLE}</style></head><body><main>{''.join(body)}</main></body></html>"
    )
    write_whole(Path(path), page.encode())


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


def _matrices(scores: Sequence[Scores]) -> list[str]:
    parts = []
    for metric, label in METRICS.items():
        evaluation = cross_evaluate(scores, metric=metric)
        parts.append(f"<h3>{html.escape(label)}</h3>{_matrix(evaluation)}")
        if metric in ("dice", "surface_dice_2mm"):
            parts.append(f"<p>{html.escape(evaluation.words)}</p>")
    parts.append(
        "<p class=small>Rows: candidates; columns: reference. Mean ± SD over patients in whom the "
        "metric is defined, with mean - SD to mean + SD, median with its 95 % bootstrap interval, "
        "and the mean if every missed lesion counted as the worst value. Framed: a model and its "
        "own expert.</p>"
    )
    return parts


def _study(scores: Sequence[Scores]) -> list[str]:
    """Return what goes beyond the matrix: endpoints, volume ratios, sensitivity less precision."""
    bias = volume_bias(scores).merge(
        lean(scores), on=["reference", "candidate"], suffixes=("", "_lean")
    )
    names = {
        "candidate": "Candidate",
        "reference": "Reference",
        "n": "n",
        "ratio": "Volume ratio",
        "low": "from",
        "high": "to",
        "mean": "Sensitivity - precision",
    }
    parts = [
        "<h3>Who draws larger</h3>",
        _table(bias, names),
        "<p class=small>Volume of the candidate over that of the reference: geometric mean and "
        "limits of agreement, between which 95 % of patients are expected.</p>",
    ]
    try:
        tested = endpoints(scores).replace({"metric": LABELS})
    except InputError:  # said beneath the matrix
        return parts
    names = {
        "role": "Endpoint",
        "metric": "Metric",
        "n": "n",
        "n_dropped": "Left out",
        "mean": "Mean I",
        "median": "Median I",
        "rank_biserial": "Rank-biserial",
        "identity_rate": "Own expert wins",
        "p": "p",
        "p_holm": "p (Holm)",
    }
    return [
        "<h3>Did the models take on their experts' styles?</h3>",
        _table(tested, names, digits=3),
        "<p class=small>I: agreement with the own experts less that with the other's, per patient; "
        "exact sign-flip test. One endpoint is primary; the p of the others are adjusted for their "
        "number. Volume-matched Dice cuts each model's probability where it draws as much as the "
        "reference: what is left there is a matter of place, not of size.</p>",
        *parts,
    ]


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
    return (
        _table(regions_table(shown), names, digits=1)
        + f"<p class=small>Where {html.escape(first)} and {html.escape(second)} differ{left}.</p>"
    )


def _table(table: pd.DataFrame, names: Mapping[str, str], *, digits: int = 2) -> str:
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in names.values())
    lines = [
        "<tr>" + "".join(f"<td>{_shown(row[c], digits=digits)}</td>" for c in names) + "</tr>"
        for row in table.to_dict("records")
    ]
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _matrix(evaluation: CrossEvaluation) -> str:
    experts = [expert.name for expert in evaluation.experts]
    own = {model.name: model.learned_from for model in evaluation.models}
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in experts)
    rows = []
    for reader in (*evaluation.models, *evaluation.experts):
        cells = []
        for expert in experts:
            if (expert, reader.name) not in evaluation.values.columns:
                cells.append("<td class=empty></td>")
                continue
            cell = evaluation.cell(expert, reader.name)
            frame = " class=own" if own.get(reader.name) == expert else ""
            text = html.escape(str(cell))
            if not math.isnan(cell.sd):
                text += (
                    f"<span>{cell.mean_minus_sd:.2f} to {cell.mean_plus_sd:.2f}; median "
                    f"{cell.median:.2f} [{cell.median_low:.2f}, {cell.median_high:.2f}]; "
                    f"worst case {cell.worst_case_mean:.2f}</span>"
                )
            cells.append(f"<td{frame}>{text}</td>")
        rows.append(f"<tr><th scope=row>{html.escape(reader.name)}</th>{''.join(cells)}</tr>")
    return (
        f"<table class=matrix><thead><tr><th></th>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _case_table(rows: Sequence[Scores]) -> str:
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
        values = row_of(row)
        lines.append(
            "<tr>" + "".join(f"<td>{_shown(values[c])}</td>" for _, c in columns) + "</tr>"
        )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _shown(value: object, *, digits: int = 2) -> str:
    if isinstance(value, float):
        return "&ndash;" if math.isnan(value) else f"{value:.{digits}f}"
    return html.escape(str(value).replace("_", " "))


def _pictures(case: Case, styles: Sequence[ReaderStyle]) -> str:
    centre_mm = disputed_mm(case)
    figures = []
    for plane in PLANES:
        picture = fused_slice(case, plane, centre_mm, styles=styles, display=DISPLAY)
        data = base64.b64encode(png_of(picture)).decode()
        left, right, top, bottom = LETTERS[plane]
        letters = "".join(
            f"<b class={side}>{letter}</b>"
            for side, letter in zip("lrtb", (left, right, top, bottom), strict=True)
        )
        axis = PLANES_AXIS[plane]
        caption = f"{plane}, {'xyz'[axis]} = {centre_mm[axis]:.0f} mm, 17 cm across"
        figures.append(
            f'<figure><div>{letters}<img alt="{caption}, fused with contours" '
            f'src="data:image/png;base64,{data}"></div><figcaption>{caption}</figcaption></figure>'
        )
    return "".join(figures)


def _legend(styles: Sequence[ReaderStyle]) -> str:
    return " ".join(
        f'<span class=reader><i style="border-top:3px {"dashed" if style.dashed else "solid"} '
        f'{style.colour}"></i>{html.escape(style.name)}</span>'
        for style in styles
    )


_STYLE = """
:root{color-scheme:light;--ink:#17202b;--soft:#5b6776;--line:#d7dde4;--own:#1f6fb4}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:#f4f6f8;margin:0}
main{max-width:1080px;margin:0 auto;padding:32px 28px;background:#fff}
h1{font-size:26px;margin:0 0 4px}h2{font-size:20px;margin:36px 0 8px}
h3{font-size:16px;margin:20px 0 6px}
.about,.small,footer{color:var(--soft)}.small,footer{font-size:13px}
.caution{border-left:4px solid #e0a800;background:#fff8e1;padding:8px 12px}
table{border-collapse:collapse;font-size:13px;font-variant-numeric:tabular-nums;width:100%}
th,td{padding:5px 8px;border-bottom:1px solid var(--line);text-align:right}
th:first-child,td:first-child,:is(th,td):nth-child(2):not(.matrix *){text-align:left}
.matrix td span{display:block;color:var(--soft);font-size:12px}
.matrix td.own{outline:2px solid var(--own);outline-offset:-2px}.matrix td.empty{background:#f4f6f8}
.pictures{display:flex;gap:10px;margin:0 0 8px}figure{margin:0;flex:1}
figure div{position:relative;background:#000;line-height:0}figure img{width:100%}
figure b{position:absolute;color:#fff;font:600 12px/1 system-ui;text-shadow:0 0 3px #000}
.l{left:5px;top:50%}.r{right:5px;top:50%}.t{top:5px;left:50%}.b{bottom:5px;left:50%}
figcaption{font-size:12px;color:var(--soft)}
.reader{white-space:nowrap;background:#17202b;color:#fff;border-radius:4px;padding:2px 8px}
.reader i{display:inline-block;width:22px;margin-right:6px;vertical-align:middle}
@media print{body{background:#fff}main{padding:0}.case{break-inside:avoid}}
"""
