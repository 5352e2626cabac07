"""One metric of every ordered pair of readers over a cohort: matrix, cells, styles, words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from boneviz.case import Failure, Reader
from boneviz.cell import Cell
from boneviz.direction import PRIMARY, higher_is_better, surface_tolerance_mm
from boneviz.errors import InputError
from boneviz.interaction import Interaction, interaction_of
from boneviz.scorerow import SurfaceKind

__all__ = ["CrossEvaluation"]


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
        return Cell.of(
            np.asarray(self._column(reference, candidate).dropna(), dtype=np.float64),
            np.asarray(self.worst_case[reference, candidate].dropna(), dtype=np.float64),
            counts={str(what): int(n[reference, candidate]) for what, n in self.counts.items()},
            n_patients=len(self.values),
            n_resamples=self.n_resamples,
            seed=self.seed,
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
        tolerance_mm = surface_tolerance_mm(self.metric)
        fine = tolerance_mm is not None and tolerance_mm < 2 * self.coarsest_mm
        if fine and self.surface == "grid":
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
