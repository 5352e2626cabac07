"""The values of one pair patient by patient, and what they say in words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from boneviz.compare import CrossEvaluation, higher_is_better
from boneviz.errors import InputError
from boneviz.scorerow import Scores

__all__ = ["matrix_frame", "spread", "strip_table", "strip_words", "worst_session"]


def matrix_frame(evaluation: CrossEvaluation) -> pd.DataFrame:
    """Return the matrix, one row per ordered pair with every number of its cell and the settings.

    Returns
    -------
    Columns ``metric``, ``better`` (``more``, ``less`` or empty), those of
    `CrossEvaluation.summary`, ``threshold``, ``tolerance_mm``, ``surface`` and ``version``.
    """
    better = {True: "more", False: "less", None: ""}[higher_is_better(evaluation.metric)]
    table = evaluation.summary()
    table.insert(0, "metric", evaluation.metric)
    table.insert(1, "better", better)
    return table.assign(
        threshold=evaluation.threshold,
        tolerance_mm=" ".join(f"{each:g}" for each in evaluation.tolerance_mm),
        surface=evaluation.surface,
        version=evaluation.version,
    )


def strip_table(evaluation: CrossEvaluation, reference: str, candidate: str) -> pd.DataFrame:
    """Return the values of a candidate, patient x reference, the worst for `reference` first.

    Parameters
    ----------
    evaluation : of one metric
    reference, candidate : names of the pair

    Returns
    -------
    One row per patient that was scored for the pair, NaN where the metric is undefined; those
    stand first. Columns: of a model its own expert, then the others; else `reference` alone.
    Empty where the pair was not scored.
    """
    pairs = {(str(pair[0]), str(pair[1])) for pair in evaluation.values.columns}
    if (reference, candidate) not in pairs:
        return pd.DataFrame()
    references = [reference]
    own = next((m.learned_from for m in evaluation.models if m.name == candidate), None)
    experts = [expert.name for expert in evaluation.experts]
    if own in experts and reference in experts:
        ordered = [own, *(name for name in experts if name != own)]
        references = [str(name) for name in ordered if (name, candidate) in pairs]
    table = pd.DataFrame({name: evaluation.values[name, candidate] for name in references})
    scored = [str(p) for p in table.index if (p, reference, candidate) in evaluation.scored]
    return table.loc[scored].sort_values(
        reference,
        ascending=higher_is_better(evaluation.metric) is not False,
        na_position="first",
        kind="stable",
    )


def strip_words(
    evaluation: CrossEvaluation,
    scores: Sequence[Scores],
    reference: str,
    candidate: str,
    *,
    label: str,
) -> str:
    """Say in words what the strip shows, who is missing from it and why, and what it cannot say.

    Parameters
    ----------
    evaluation : of the metric
    scores : that it was made from
    reference, candidate : names of the pair
    label : what the metric is called
    """
    table = strip_table(evaluation, reference, candidate)
    if table.empty:
        return (
            f"{candidate} was not scored against {reference} as the reference. "
            "Exchange the two, or choose a cell of the matrix."
        )
    cell = evaluation.cell(reference, candidate)
    parts = [f"{candidate} against {reference}, {label}: {cell}."]
    if (cell.n_missed or cell.n_false_alarm) and not math.isnan(cell.worst_case_mean):
        parts.append(
            "Counting what was missed or falsely alarmed as the worst case, the mean is "
            f"{cell.worst_case_mean:.2f}."
        )
    missing = [
        f"{patient} ({_why(scores, str(patient), reference, candidate)})"
        for patient in table.index[table[reference].isna()]
    ]
    if missing:
        parts.append(f"No value, so no point: {'; '.join(missing)}.")
    unread = [str(patient) for patient in evaluation.values.index if patient not in table.index]
    if unread:
        parts.append(f"No reading of both: {', '.join(unread)}.")
    if len(table.columns) > 1:
        parts.append(_own_and_other(evaluation, table, candidate))
        try:
            styles = evaluation.interaction()
        except InputError:
            pass
        else:
            parts.append(
                f"Both models together, which does not favour the larger outline: I = "
                f"{styles.mean:+.3g} in {label}, above 0 closer to the own experts, n = "
                f"{styles.n}, sign-flip p = {styles.test.p:.3g} (in full beside the matrix)."
            )
    return " ".join(parts)


def _own_and_other(evaluation: CrossEvaluation, table: pd.DataFrame, candidate: str) -> str:
    own, other = (str(name) for name in table.columns[:2])
    both = (evaluation.turned(own, candidate) - evaluation.turned(other, candidate)).dropna()
    return (
        f"{candidate} agrees better with its own expert {own} than with {other} in "
        f"{int((both > 0).sum())} of {len(both)} patients that have both values. By itself this "
        "is no evidence of a style learned: a model that draws much agrees better with whoever "
        "draws more."
    )


def _why(scores: Sequence[Scores], patient: str, reference: str, candidate: str) -> str:
    """Say why a patient's value is undefined."""
    reasons = {
        "missed": f"{candidate} outlined nothing",
        "false_alarm": f"{reference} outlined nothing",
        "both_empty": "neither outlined anything",
        "both": "no lesion that both outlined",
    }
    found = [
        reasons[row.status]
        for row in _rows(scores, reference, candidate)
        if row.patient_id == patient
    ]
    return ", ".join(dict.fromkeys(found))


def _rows(scores: Sequence[Scores], reference: str, candidate: str) -> list[Scores]:
    """Return the rows of a pair, turned around where it was scored the other way."""
    straight = [r for r in scores if (r.reference.name, r.candidate.name) == (reference, candidate)]
    if straight:
        return straight
    turned = [r for r in scores if (r.reference.name, r.candidate.name) == (candidate, reference)]
    return [row.swapped() for row in turned]


def worst_session(
    scores: Sequence[Scores], patient: str, reference: str, candidate: str, *, metric: str
) -> str:
    """Return the case id of a patient's worst session for a pair; an undefined value is worst.

    Raises
    ------
    InputError
        The patient has no score of this pair.
    """
    rows = [row for row in _rows(scores, reference, candidate) if row.patient_id == patient]
    if not rows:
        raise InputError(f"patient {patient}: {candidate} was not scored against {reference}")
    sign = -1 if higher_is_better(metric) is False else 1

    def goodness(row: Scores) -> float:
        value = row.value(metric)
        return -math.inf if math.isnan(value) else sign * value

    return min(rows, key=goodness).case_id


def spread(values: Sequence[float]) -> list[float]:
    """Return small offsets, within 0.16, that keep points of nearly equal value apart.

    Points that lie within 3 % of the range of each other, in a chain, are laid out side by side
    about the middle.
    """
    offsets = [0.0] * len(values)
    order = [i for i in np.argsort(values, kind="stable").tolist() if not math.isnan(values[i])]
    if not order:
        return offsets
    near = 0.03 * (values[order[-1]] - values[order[0]])
    runs = [[order[0]]]
    for before, here in itertools.pairwise(order):
        if values[here] - values[before] <= near:
            runs[-1].append(here)
        else:
            runs.append([here])
    for run in runs:
        step = min(0.08, 0.32 / max(1, len(run) - 1))
        for place, i in enumerate(run):
            offsets[i] = step * (place - (len(run) - 1) / 2)
    return offsets
