"""The report's numbers on a cohort: matrix, patient by patient, styles, what fusion gains."""

from __future__ import annotations

import html
import math
from collections.abc import Hashable, Iterable, Mapping, Sequence

from boneviz.ablation import FusionGain, fusion_gains, fusion_table, fusion_words
from boneviz.case import Reader
from boneviz.compare import cross_evaluate
from boneviz.crossevaluation import CrossEvaluation
from boneviz.endpoints import control_words, endpoints, seed_control, who_draws_larger
from boneviz.errors import InputError
from boneviz.palette import styles_of
from boneviz.plots import Marker, Panel, Series, patient_plot
from boneviz.reportpage import Section, p_text, small, table_of
from boneviz.scoretable import CohortScores

__all__ = ["METRICS", "study_sections"]

METRICS = {
    "dice": "Dice",
    "surface_dice_2mm": "Surface Dice at 2 mm",
    "hd95_mm": "HD95 (mm)",
    "sensitivity": "Sensitivity",
    "precision": "Precision",
}
LABELS = {**METRICS, "volume_matched_dice": "Volume-matched Dice", "lesion_f1": "Lesion F1"}
MARKERS: tuple[Marker, ...] = ("circle", "diamond", "triangle", "square")


def study_sections(scores: CohortScores) -> list[Section]:
    """Return the sections on a cohort's scores, of which there is at least one."""
    dice = cross_evaluate(scores)
    sections = [
        Section("matrix", "Cross-evaluation", _matrices(scores)),
        Section("by-patient", "Patient by patient", _by_patient(dice)),
    ]
    if styles := _styles(scores):
        sections.append(Section("styles", "Did the models take on their experts' styles?", styles))
    sections.append(Section("larger", "Who draws larger", _larger(scores)))
    if gains := fusion_gains(scores):
        sections.append(Section("fusion", "What fusion gains", _fusion(gains, dice)))
    return sections


def _matrices(scores: CohortScores) -> str:
    parts = []
    variants = False
    for metric, label in METRICS.items():
        if metric not in scores[0].numbers():  # of other tolerances
            continue
        evaluation = cross_evaluate(scores, metric=metric)
        worded = metric in ("dice", "surface_dice_2mm")
        variants = variants or bool(evaluation.variants)
        matrix = _matrix(evaluation, variants=worded)
        parts.append(f"<h3>{html.escape(label)}</h3>{matrix}")
        if worded:
            parts.append(f"<p>{html.escape(evaluation.words)}</p>")
    parts.append(
        small(
            "Rows: candidates; columns: reference. Mean ± SD over patients in whom the metric is "
            "defined, with mean - SD to mean + SD, median with its 95 % bootstrap interval, and "
            "the mean if every missed lesion counted as the worst value. Framed: a model and its "
            "own expert. Experts against each other: how far people agree."
            + " Of ablations and repeats the table of scores has the other metrics."
            * variants
        )
    )
    return "".join(parts)


def _matrix(evaluation: CrossEvaluation, *, variants: bool) -> str:
    experts = [expert.name for expert in evaluation.experts]
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in experts)
    body = _rows(evaluation, evaluation.main)
    if variants and evaluation.variants:
        body += (
            f"<tr class=block><th colspan={len(experts) + 1}>Ablations and repeats</th></tr>"
            + _rows(evaluation, evaluation.variants)
        )
    return (
        f"<table class=matrix><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _rows(evaluation: CrossEvaluation, readers: Sequence[Reader]) -> str:
    rows = []
    for reader in readers:
        cells = []
        for expert in evaluation.experts:
            if (expert.name, reader.name) not in evaluation.values.columns:
                cells.append("<td class=empty></td>")
                continue
            cell = evaluation.cell(expert.name, reader.name)
            frame = " class=own" if reader.learned_from == expert.name else ""
            text = html.escape(str(cell))
            if not math.isnan(cell.sd):
                text += (
                    f"<span>{cell.mean_minus_sd:.2f} to {cell.mean_plus_sd:.2f}; median "
                    f"{cell.median:.2f} [{cell.median_low:.2f}, {cell.median_high:.2f}]; "
                    f"worst case {cell.worst_case_mean:.2f}</span>"
                )
            cells.append(f"<td{frame}>{text}</td>")
        rows.append(f"<tr><th scope=row>{html.escape(reader.name)}</th>{''.join(cells)}</tr>")
    return "".join(rows)


def _values(evaluation: CrossEvaluation, expert: str, model: str) -> dict[str, float]:
    if (expert, model) not in evaluation.values.columns:
        return {}
    return {str(patient): float(v) for patient, v in evaluation.values[expert, model].items()}


def _by_patient(dice: CrossEvaluation) -> str:
    """Return Dice of every model with either expert, and I, all in rows of patients."""
    patients = [str(patient) for patient in dice.values.index]
    looks = {
        style.name: (MARKERS[place % len(MARKERS)], style.colour)
        for place, style in enumerate(styles_of(dice.experts))
    }
    models = [reader for reader in dice.main if reader.kind == "model"]
    panels = [
        Panel(
            model.name,
            "Dice",
            tuple(
                Series(
                    f"with {expert}",
                    _values(dice, expert, model.name),
                    marker,
                    colour,
                    filled=expert == model.learned_from,
                )
                for expert, (marker, colour) in looks.items()
            ),
            0.0,
            1.0,
        )
        for model in models
    ]
    note = "Each row is a patient."
    if models:
        note += " Filled: the expert whom the model learned from; hollow: another."
    else:
        first, second = [expert.name for expert in dice.experts[:2]]
        series = Series("experts", _values(dice, first, second), "circle", looks[first][1])
        panels.append(Panel(f"{first}, {second}", "Dice", (series,), 0.0, 1.0))
    try:
        found = dice.interaction()
    except InputError:
        pass
    else:
        by_patient = {str(patient): float(v) for patient, v in found.per_patient.items()}
        low, high = _around(by_patient.values())
        series = Series("I, own experts less the other's", by_patient, "square", "#8a94a1")
        panels.append(Panel("I", "difference of Dice", (series,), low, high, line_at=0.0))
        note += (
            " I: agreement of both models with their own experts less that with the other's; right "
            "of the dashed line the models pair with their own experts."
        )
    note += " Undefined: neither of two outlined anything, or only one did."
    return patient_plot(patients, panels, title="Dice of every patient") + small(note)


def _around(values: Iterable[float]) -> tuple[float, float]:
    """Return ends of an axis that holds 0 and all these values with some room."""
    found = [0.0, *(v for v in values if not math.isnan(v))]
    room = 0.08 * (max(found) - min(found)) or 0.1
    return min(found) - room, max(found) + room


def _styles(scores: CohortScores) -> str:
    """Return the endpoints, and the control by another seed; nothing where they need more."""
    try:
        tested = endpoints(scores)
    except InputError:  # said beneath the matrix
        return ""
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
    controls = [
        f"<p><b>Control, one expert and two seeds.</b> "
        f"{html.escape(control_words(control, tested['mean'].iloc[0]))}</p>"
        for control in seed_control(scores)
    ]
    tested = tested.assign(
        metric=tested["metric"].replace(LABELS),
        **{column: tested[column].map(p_text) for column in ("p", "p_holm")},
    )
    ceilings = [
        f"{model} agrees with its expert better than the other expert does by "
        f"{ceiling.mean:+.3f} in Dice on average (n = {ceiling.n})."
        for model, ceiling in cross_evaluate(scores).interaction().human_ceiling.items()
    ]
    return (
        table_of(tested, names, digits=3)
        + small(
            "I: agreement with the own experts less that with the other's, per patient; exact "
            "sign-flip test. One endpoint is primary; the p of the others are adjusted for their "
            "number. Volume-matched Dice cuts each model's probability where it draws as much as "
            "the reference: what is left there is a matter of place, not of size."
        )
        + f"<p>{html.escape(' '.join(ceilings))}</p>"
        + "".join(controls)
    )


def _larger(scores: CohortScores) -> str:
    names = {
        "candidate": "Candidate",
        "reference": "Reference",
        "n": "n",
        "ratio": "Volume ratio",
        "low": "from",
        "high": "to",
        "mean": "Sensitivity - precision",
    }
    return table_of(who_draws_larger(scores), names) + small(
        "Volume of the candidate over that of the reference: geometric mean and limits of "
        "agreement, between which 95 % of patients are expected."
    )


def _fusion(gains: Sequence[FusionGain], dice: CrossEvaluation) -> str:
    table = fusion_table(gains)
    shown = table.assign(
        mean_ci=[_interval(row, "mean") for row in table.to_dict("records")],
        median_ci=[_interval(row, "median") for row in table.to_dict("records")],
        who=[f"{row['n']}{_left_out(row['n_dropped'])}" for row in table.to_dict("records")],
        missed=[
            f"{row['n_missed_fused']} / {row['n_missed_ablated']}"
            for row in table.to_dict("records")
        ],
        **{column: table[column].map(p_text) for column in ("p", "p_holm")},
    )
    names = {
        "expert": "Expert",
        "ablation": "Fused less",
        "who": "n",
        "missed": "Missed",
        "mean_fused": "Fused",
        "mean_ablated": "Ablation",
        "mean_ci": "Mean gain [95 %]",
        "sd": "SD",
        "median_ci": "Median gain [95 %]",
        "better_rate": "Fused better",
        "p": "p",
        "p_holm": "p (Holm)",
    }
    return (
        table_of(shown, names, digits=3)
        + f"<p>{html.escape(fusion_words(table))}</p>"
        + patient_plot(
            [str(patient) for patient in dice.values.index],
            _fusion_panels(gains, dice),
            title="Dice of fused models and of their ablations, every patient",
        )
        + small(
            "Missed: patients in whom the fused model / its ablation outlined nothing of a lesion. "
            "Plot: Dice of each expert's models with that expert, a row per patient, and the gain, "
            "fused less ablation, right of the dashed line where fusion is better. Same network, "
            "folds, seed and budget; the ablation's other channel is blank. Intervals by bootstrap "
            "over patients; Holm over the rows of the table."
        )
    )


def _left_out(n: int) -> str:
    return f" ({n} left out)" if n else ""


def _interval(row: Mapping[Hashable, float], what: str) -> str:
    text = f"{row[what]:+.3f}"
    low, high = row[f"{what}_low"], row[f"{what}_high"]
    # no break within an interval
    around = f"[{low:+.3f},\N{NO-BREAK SPACE}{high:+.3f}]"
    return text if math.isnan(low) else f"{text} {around}"


def _fusion_panels(gains: Sequence[FusionGain], dice: CrossEvaluation) -> list[Panel]:
    colours = {style.name: style.colour for style in styles_of(dice.experts)}
    marker: dict[str, Marker] = {"ct": "triangle", "pet": "square"}
    panels = []
    edges = _around([v for gain in gains for v in gain.differences])
    for expert, fused in dict.fromkeys((gain.expert, gain.fused) for gain in gains):
        own = [gain for gain in gains if (gain.expert, gain.fused) == (expert, fused)]
        colour = colours[expert]
        levels = [Series("fused", _values(dice, expert, fused.name), "circle", colour)]
        differences = []
        for gain in own:
            look = (marker[gain.ablated.modality], colour)
            values = _values(dice, expert, gain.ablated.name)
            levels.append(Series(gain.ablated.variant, values, *look, filled=False))
            by_patient = {str(p): float(v) for p, v in gain.differences.items()}
            differences.append(Series(gain.ablated.variant, by_patient, *look, filled=False))
        panels += [
            Panel(fused.name, f"Dice with {expert}", tuple(levels), 0.0, 1.0),
            Panel("gain over", "difference of Dice", tuple(differences), *edges, line_at=0.0),
        ]
    return panels
