"""Scores of a cohort into its cross-evaluation, refused where they do not belong together.

The patient is the unit: the sessions of one patient are averaged first. Every mean stands beside
how many patients it is over, how many a reader missed, and a worst case in which those count:
leaving an undefined distance out would make a reader better for every lesion it misses.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from difflib import get_close_matches

import pandas as pd

from boneviz.case import Reader
from boneviz.cell import Cell
from boneviz.crossevaluation import CrossEvaluation
from boneviz.direction import HIGHER_IS_BETTER, higher_is_better, worst_case
from boneviz.errors import InputError, LeakageError
from boneviz.scorerow import Scores
from boneviz.scoretable import CohortScores

__all__ = ["HIGHER_IS_BETTER", "Cell", "CrossEvaluation", "cross_evaluate", "higher_is_better"]


def cross_evaluate(
    scores: Iterable[Scores], *, metric: str = "dice", n_resamples: int = 2000, seed: int = 0
) -> CrossEvaluation:
    """Gather one metric of every pair of readers over a cohort.

    Two experts are turned around where they were scored one way only, so that either stands as
    reference.

    Parameters
    ----------
    scores : of `score_case`, one row per pair, patient and session
    metric : a column of the scores, such as ``dice``, ``hd95_mm`` or ``surface_dice_2mm``
    n_resamples, seed : of the bootstrap over patients

    Raises
    ------
    LeakageError
        A model is scored on a patient it had learned from.
    InputError
        No scores, an unknown metric, a pair scored twice in one session, a learner's drawing, or
        scores made with different settings.
    """
    rows = tuple(scores)
    if not rows:
        raise InputError("no scores to compare: score at least one case")
    _require_no_learner(rows)
    _require_held_out(rows)
    _require_one_setting(rows)
    if metric not in rows[0].numbers():
        known = ", ".join(rows[0].numbers())
        near = get_close_matches(metric, rows[0].numbers(), n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"metric {metric!r}: expected one of {known}{hint}")
    seen: dict[tuple[str, str, str, str], Scores] = {}
    for row in rows:
        key = (row.patient_id, row.session, row.reference.name, row.candidate.name)
        if key in seen:
            raise InputError(
                f"patient {row.case_id}: {row.reference.name} and {row.candidate.name} are "
                "scored twice; give one row per pair and session"
            )
        seen[key] = row
    for (patient, session, reference, candidate), row in tuple(seen.items()):
        if row.reference.kind == row.candidate.kind == "expert":
            seen.setdefault((patient, session, candidate, reference), row.swapped())
    by_session = pd.DataFrame(
        [
            {
                "patient_id": row.patient_id,
                "reference": row.reference.name,
                "candidate": row.candidate.name,
                "value": row.value(metric),
                "worst_case": worst_case(row, metric),
                "n": 1,
                "n_missed": int(row.status == "missed"),
                "n_false_alarm": int(row.status == "false_alarm"),
                "n_both_empty": int(row.status == "both_empty"),
            }
            for row in seen.values()
        ]
    )
    pair = ["reference", "candidate"]
    by_patient = by_session.groupby(["patient_id", *pair], sort=False)
    mean = by_patient[["value", "worst_case"]].mean()
    any_session = by_patient[["n", "n_missed", "n_false_alarm", "n_both_empty"]].max()
    readers = _readers(rows)
    scored = {(row.reference.name, row.candidate.name) for row in seen.values()}
    names = [reader.name for reader in readers]
    order = [two for two in itertools.permutations(names, 2) if two in scored]
    columns = pd.MultiIndex.from_tuples(order, names=pair)
    patients = pd.Index(dict.fromkeys(row.patient_id for row in rows), name="patient_id")
    return CrossEvaluation(
        metric=metric,
        readers=readers,
        values=mean["value"].unstack(pair).reindex(index=patients, columns=columns),
        worst_case=mean["worst_case"].unstack(pair).reindex(index=patients, columns=columns),
        counts=any_session.groupby(pair).sum().reindex(columns),
        threshold=rows[0].threshold,
        tolerance_mm=rows[0].tolerance_mm,
        version=rows[0].version,
        coarsest_mm=max(max(row.spacing_mm) for row in rows),
        surface=rows[0].surface,
        not_scored=scores.failures if isinstance(scores, CohortScores) else (),
        scored=frozenset((patient, first, second) for patient, _, first, second in seen),
        n_resamples=n_resamples,
        seed=seed,
    )


def _require_held_out(rows: tuple[Scores, ...]) -> None:
    seen = [row for row in rows if not row.held_out]
    if not seen:
        return
    models = [r.name for r in (seen[0].reference, seen[0].candidate) if r.kind == "model"]
    more = f" (and {len(seen) - 1} more scores)" if len(seen) > 1 else ""
    raise LeakageError(
        f"patient {seen[0].case_id}: {' or '.join(models)} had learned from this patient{more}, "
        "so the score says nothing about new patients; "
        "score the prediction of the fold that held the patient out"
    )


def _require_no_learner(rows: tuple[Scores, ...]) -> None:
    for row in rows:
        for reader in (row.reference, row.candidate):
            if reader.kind == "learner":
                raise InputError(
                    f"patient {row.case_id}: {reader.name} is a learner, whose drawing is no "
                    "reading of the study; learners are compared by boneviz.learnerfile.group_table"
                )


def _require_one_setting(rows: tuple[Scores, ...]) -> None:
    for what in ("threshold", "tolerance_mm", "surface", "version"):
        found = list(dict.fromkeys(getattr(row, what) for row in rows))
        if len(found) > 1:
            raise InputError(
                f"scores made with {what} {found[0]} and {found[1]}: expected one setting; "
                "score the whole cohort again"
            )


def _readers(rows: tuple[Scores, ...]) -> tuple[Reader, ...]:
    """Return the readers, experts first, or say that one name stands for two."""
    readers: dict[str, Reader] = {}
    for row in rows:
        for reader in (row.reference, row.candidate):
            if readers.setdefault(reader.name, reader) != reader:
                raise InputError(
                    f"patient {row.case_id}: reader {reader.name} is {reader}, elsewhere "
                    f"{readers[reader.name]}; score the whole cohort with one cohort.toml"
                )
    return tuple(sorted(readers.values(), key=lambda reader: reader.kind == "model"))
