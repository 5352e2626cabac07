"""The cross-evaluation of readers over a cohort: per-patient values, cells, matrix.

The patient is the unit: the sessions of one patient are averaged first. Every mean stands beside
how many patients it is over, how many a reader missed, and a worst case in which those count:
leaving an undefined distance out would make a reader better for every lesion it misses.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from boneviz.case import Failure, Reader
from boneviz.errors import InputError, LeakageError
from boneviz.interaction import Interaction, interaction_of
from boneviz.scorerow import Scores, SurfaceKind
from boneviz.scoretable import CohortScores

__all__ = ["HIGHER_IS_BETTER", "Cell", "CrossEvaluation", "cross_evaluate", "higher_is_better"]

SHARES = (
    "dice",
    "iou",
    "sensitivity",
    "precision",
    "volume_matched_dice",
    "lesion_f1",
    "surface_dice",
)
PRIMARY = "dice"
DISTANCES = ("hd_mm", "hd95_mm", "assd_mm", "masd_mm")
PER_LESION = ("lesion_hd95_mm", "lesion_surface_dice")
HIGHER_IS_BETTER: dict[str, bool] = {
    **dict.fromkeys(SHARES, True),
    **dict.fromkeys(DISTANCES, False),
    "lesion_hd95_mm": False,
    "lesion_surface_dice": True,
    **dict.fromkeys(("missed_lesions", "extra_lesions", "fpv_ml", "fnv_ml"), False),
}


def higher_is_better(metric: str) -> bool | None:
    """Return whether more is better; None for volumes and counts that are only described."""
    return HIGHER_IS_BETTER.get(_family(metric))


def _family(metric: str) -> str:
    """Return ``surface_dice`` for its columns at any tolerance, other names as they are."""
    for family in ("surface_dice", "lesion_surface_dice"):
        if metric.startswith(f"{family}_"):
            return family
    return metric


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one ordered pair of readers over patients.

    Parameters
    ----------
    mean, sd, mean_plus_sd, mean_minus_sd : over the patients in whom the metric is defined; the
        SD has n - 1 in its denominator and is NaN for one patient
    median, median_low, median_high : with the 95 % bootstrap interval over patients, which is
        NaN for one patient
    n : patients that were scored for this pair
    n_patients : patients that were scored for any pair
    n_defined : those whose metric is defined
    n_missed, n_false_alarm, n_both_empty : those with such a session
    worst_case_mean : the mean with 0 in every session missed or falsely alarmed, or the volume's
        diagonal for a distance; sessions empty for both readers do not count. Of a mean over
        matched lesions, every lesion that only one of the two outlined counts so too
    """

    mean: float
    sd: float
    mean_plus_sd: float
    mean_minus_sd: float
    median: float
    median_low: float
    median_high: float
    n: int
    n_patients: int
    n_defined: int
    n_missed: int
    n_false_alarm: int
    n_both_empty: int
    worst_case_mean: float

    def __str__(self) -> str:
        """Return such as ``0.81 ± 0.06 (n 6 of 8, 2 missed)``."""
        counts = f"n {self.n_defined}" + (
            f" of {self.n_patients}" if self.n_defined < self.n_patients else ""
        )
        for number, what in ((self.n_missed, "missed"), (self.n_false_alarm, "false alarm")):
            counts += f", {number} {what}" if number else ""
        if not self.n_defined:
            return f"undefined ({counts})"
        spread = "" if math.isnan(self.sd) else f" ± {self.sd:.2f}"
        return f"{self.mean:.2f}{spread} ({counts})"


@dataclass(frozen=True, slots=True, eq=False)
class CrossEvaluation:
    """One metric of every ordered pair of readers, patient by patient.

    Parameters
    ----------
    metric : column of the scores
    readers : experts first
    values : patient x (reference, candidate), NaN where undefined or not scored
    worst_case : the same with the worst case in place of what was missed or falsely alarmed
    counts : (reference, candidate) x ``n``, ``n_missed``, ``n_false_alarm``, ``n_both_empty``
    threshold, tolerance_mm, version : settings that all scores share
    coarsest_mm : the largest voxel side of any case
    surface : what distances are measured between, ``grid`` or ``mesh``
    not_scored : cases without scores, and why
    scored : (patient, reference, candidate) that have a score, defined or not
    n_resamples, seed : of the bootstrap
    """

    metric: str
    readers: tuple[Reader, ...]
    values: pd.DataFrame
    worst_case: pd.DataFrame
    counts: pd.DataFrame
    threshold: float
    tolerance_mm: tuple[float, ...]
    version: str
    coarsest_mm: float
    surface: SurfaceKind
    not_scored: tuple[Failure, ...]
    scored: frozenset[tuple[str, str, str]]
    n_resamples: int
    seed: int

    @property
    def experts(self) -> tuple[Reader, ...]:
        """The human readers."""
        return tuple(reader for reader in self.readers if reader.kind == "expert")

    @property
    def models(self) -> tuple[Reader, ...]:
        """The readers that are networks."""
        return tuple(reader for reader in self.readers if reader.kind == "model")

    @property
    def main(self) -> tuple[Reader, ...]:
        """The study's own models, then the experts: the rows of the matrix as such."""
        return (*(model for model in self.models if not model.variant), *self.experts)

    @property
    def variants(self) -> tuple[Reader, ...]:
        """Models that are ablations or repeats of others, which stand beneath."""
        return tuple(model for model in self.models if model.variant)

    def cell(self, reference: str, candidate: str) -> Cell:
        """Return the summary of one ordered pair, by name.

        Raises
        ------
        InputError
            This pair was not scored.
        """
        defined = self._column(reference, candidate).dropna().to_numpy(dtype=np.float64)
        worst = self.worst_case[reference, candidate].dropna()
        counts = {
            str(what): int(number[reference, candidate]) for what, number in self.counts.items()
        }
        mean, sd, median, low, high = (math.nan,) * 5
        if defined.size:
            mean, median = float(defined.mean()), float(np.median(defined))
        if defined.size > 1:
            sd = float(defined.std(ddof=1))
            rng = np.random.default_rng(self.seed)
            drawn = rng.integers(defined.size, size=(self.n_resamples, defined.size))
            medians = np.median(defined[drawn], axis=1)
            low, high = (float(edge) for edge in np.quantile(medians, (0.025, 0.975)))
        return Cell(
            mean=mean,
            sd=sd,
            mean_plus_sd=mean + sd,
            mean_minus_sd=mean - sd,
            median=median,
            median_low=low,
            median_high=high,
            n_defined=int(defined.size),
            n_patients=len(self.values),
            worst_case_mean=float(worst.mean()),
            **counts,
        )

    def matrix(self, number: str = "mean") -> pd.DataFrame:
        """Return one number of every cell: candidates down, experts as reference across.

        Models come first, then the experts against each other: what a model can at best be
        expected to reach; variants of models stand beneath. Pairs that were not scored are NaN, as
        an expert with itself is.

        Parameters
        ----------
        number : the name of a field of `Cell`
        """
        if number not in Cell.__slots__:
            raise InputError(f"cell number {number!r}: expected one of {', '.join(Cell.__slots__)}")
        cells = self._cells()
        return self._frame({at: getattr(cells[at], number) for at in cells}, blank=math.nan)

    def to_table(self) -> pd.DataFrame:
        """Return the matrix as texts, such as ``0.81 ± 0.06 (n 8)``; empty where not scored."""
        return self._frame({at: str(cell) for at, cell in self._cells().items()}, blank="")

    def summary(self) -> pd.DataFrame:
        """Return one row per ordered pair with every number of its `Cell`."""
        rows = []
        for reference, candidate in self._pairs:
            cell = self.cell(reference, candidate)
            numbers = {name: getattr(cell, name) for name in Cell.__slots__}
            rows.append({"reference": reference, "candidate": candidate, **numbers})
        return pd.DataFrame(rows)

    def interaction(self, models: tuple[str, str] | None = None) -> Interaction:
        """Say whether two models took on the styles of the experts they learned from.

        Parameters
        ----------
        models : names of two models of two experts, in this order; may be left out where there
            are just two that are no variants

        Raises
        ------
        InputError
            There are not two models of two experts, a pair was not scored, or the metric has no
            better or worse.
        """
        by_name = {model.name: model for model in self.models}
        main = [model.name for model in self.models if not model.variant]
        chosen = [by_name[name] for name in models or main if name in by_name]
        names = {expert.name for expert in self.experts}
        own = [model.learned_from for model in chosen if model.learned_from in names]
        if len(chosen) != 2 or len(set(own)) != 2:
            found = ", ".join(f"{m.name} (from {m.learned_from})" for m in self.models) or "none"
            raise InputError(
                f"models found: {found}; expected two, each learned from one of two experts "
                f"({', '.join(sorted(names))}); name them in models"
            )
        ma, mb = (model.name for model in chosen)
        ea, eb = (str(model.learned_from) for model in chosen)
        return interaction_of(
            (self.turned(ea, ma), self.turned(eb, mb)),
            (self.turned(eb, ma), self.turned(ea, mb)),
            (self.turned(ea, eb), self.turned(eb, ea)),
            metric=self.metric,
            experts=(ea, eb),
            models=(ma, mb),
        )

    def turned(self, reference: str, candidate: str) -> pd.Series[float]:
        """Return a pair's values by patient, turned so that more is better.

        Raises
        ------
        InputError
            The pair was not scored, or the metric has no better or worse.
        """
        better = higher_is_better(self.metric)
        if better is None:
            raise InputError(f"{self.metric} has no better or worse: take dice or another score")
        return (1 if better else -1) * self._column(reference, candidate)

    @property
    def _pairs(self) -> tuple[tuple[str, str], ...]:
        return tuple((str(pair[0]), str(pair[1])) for pair in self.values.columns)

    @property
    def words(self) -> str:
        """What the numbers show and what they cannot, in plain words."""
        parts = []
        if self.not_scored:
            cases = ", ".join(failure.case_id for failure in self.not_scored)
            parts.append(f"Not scored, and in none of these numbers: {cases}.")
        for reader in (*self.experts, *self.models):
            pairs = [pair for pair in self._pairs if reader.name in pair]
            # a value, or a status that says why there is none
            lacking = [
                str(patient)
                for patient in self.values.index
                if not any((patient, *pair) in self.scored for pair in pairs)
            ]
            if lacking:
                parts.append(
                    f"{reader.name} has no reading of {', '.join(lacking)}: means over different "
                    "patients are not like for like."
                )
        if not self.models:
            parts.append("There are no models' predictions: only the experts are compared.")
            return " ".join(parts)
        try:
            parts.append(self.interaction().words)
        except InputError:
            parts.append(
                "No comparison of styles: it takes two models and the two experts that they "
                "learned from."
            )
        else:
            if self.metric != PRIMARY:
                parts.append(
                    f"Exploratory: the one primary endpoint is {PRIMARY}, and this p is not "
                    "adjusted for looking at several metrics."
                )
        if _family(self.metric) in ("surface_dice", "lesion_surface_dice"):
            tolerance_mm = float(self.metric.rpartition("_")[2].removesuffix("mm"))
            if self.surface == "grid" and tolerance_mm < 2 * self.coarsest_mm:
                parts.append(
                    f"A tolerance of {tolerance_mm:g} mm is below two voxels (of up to "
                    f"{self.coarsest_mm:.3g} mm): surfaces on such a grid cannot resolve it, so "
                    "low values say little."
                )
        return " ".join(parts)

    def _column(self, reference: str, candidate: str) -> pd.Series[float]:
        if (reference, candidate) not in self._pairs:
            scored = "; ".join(f"{first}, {second}" for first, second in self._pairs)
            raise InputError(
                f"no scores of reference {reference!r} and candidate {candidate!r}; "
                f"there are {scored}"
            )
        return self.values[reference, candidate]

    def _cells(self) -> dict[tuple[str, str], Cell]:
        """Return the cells of the matrix, by row and column: candidate and expert."""
        return {
            (row.name, column.name): self.cell(column.name, row.name)
            for row in (*self.main, *self.variants)
            for column in self.experts
            if (column.name, row.name) in self._pairs
        }

    def _frame(self, content: Mapping[tuple[str, str], Any], *, blank: Any) -> pd.DataFrame:
        rows = [reader.name for reader in (*self.main, *self.variants)]
        columns = [expert.name for expert in self.experts]
        return pd.DataFrame(
            [[content.get((row, column), blank) for column in columns] for row in rows],
            index=pd.Index(rows, name="candidate"),
            columns=pd.Index(columns, name="reference"),
        )


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
                "worst_case": _worst_case(row, metric),
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


def _worst_case(row: Scores, metric: str) -> float:
    """Return the metric, or its worst value where one reader outlined nothing."""
    family = _family(metric)
    worst = row.diagonal_mm if family in (*DISTANCES, "lesion_hd95_mm") else 0.0
    if family in PER_LESION:
        alone = row.missed_lesions + row.extra_lesions
        if not alone:
            return row.value(metric)
        matched = row.value(metric) * len(row.matches) if row.matches else 0.0
        return (matched + alone * worst) / (len(row.matches) + alone)
    if row.status in ("missed", "false_alarm") and family in (*SHARES, *DISTANCES):
        return worst
    return row.value(metric)
