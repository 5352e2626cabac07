"""The scores of a cohort as table, matrix and points: one metric, one pair of readers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import pandas as pd

from boneviz.cohort import Cohort
from boneviz.compare import CrossEvaluation, cross_evaluate
from boneviz.palette import ReaderStyle
from boneviz.scorerow import Scores
from boneviz.show.page import prose
from boneviz.show.pair import PairChooser
from boneviz.show.state import ViewState
from boneviz.show.strip import StripPanel
from boneviz.show.tables import METRICS, MatrixView, PatientTable, patient_table
from boneviz.show.values import matrix_frame, strip_table

__all__ = ["ONE_READER", "ScorePanels", "metric_label"]

ONE_READER = "One reader alone: there is nobody to compare with."


class ScorePanels:
    """Every part of the page that shows scores, drawn from one state.

    Parameters
    ----------
    cohort, scores : of every pair of readers of every case
    styles : of all readers
    pair : shows the pair that matrix and points show
    on_select : called with the case of a row of the table
    on_cell : called with reference and candidate of a cell of the matrix
    on_patient : called with a patient of the pair, its reference and its candidate

    Attributes
    ----------
    metric, table, matrix, words, strip : the parts
    """

    def __init__(
        self,
        cohort: Cohort,
        scores: Sequence[Scores],
        styles: Sequence[ReaderStyle],
        *,
        pair: PairChooser,
        on_select: Callable[[str], None],
        on_cell: Callable[[str, str], None],
        on_patient: Callable[..., None],
    ) -> None:
        self._cohort, self._scores, self._styles = cohort, scores, styles
        self._pair = pair
        self._evaluation: CrossEvaluation | None = None
        self.metric = widgets.Dropdown(options=METRICS, description="Show", value="dice")
        self.metric.add_class("boneviz-metric")
        self.table = PatientTable(on_select=on_select)
        self.matrix = MatrixView(on_click=on_cell)
        self.words = widgets.HTML()
        self.strip = StripPanel(on_open=on_patient)

    @property
    def column(self) -> list[widgets.Widget]:
        """The parts beside the table; without scores there is no matrix."""
        matrix: list[Any] = [self.matrix.widget] if self._scores else []
        return [self.metric, *matrix, self.words]

    def show(self, state: ViewState) -> None:
        """Show the metric of a state, and its pair."""
        self.metric.value = state.metric
        self.table.show(self.patients(state), metric=state.metric)
        if not self._scores:
            self.words.value = ONE_READER
            self.strip.say(ONE_READER)
            return
        if self._evaluation is None or self._evaluation.metric != state.metric:
            self._evaluation = cross_evaluate(self._scores, metric=state.metric)
        hint = "A click on a cell shows its patients."
        self.words.value = prose(self._evaluation.words, hint=hint)
        self.show_pair(state)

    def show_pair(self, state: ViewState) -> None:
        """Mark the pair of a state in the matrix, and show its patients."""
        if self._evaluation is None or state.pair is None:
            return
        label = metric_label(state.metric)
        self._pair.show(state.pair)
        self.matrix.show(self._evaluation, label=label, pair=state.pair)
        self.strip.show(
            self._evaluation,
            self._scores,
            state.pair,
            label=label,
            styles=self._styles,
            patient=self._cohort[state.case_id].patient_id,
        )

    def patients(self, state: ViewState) -> pd.DataFrame:
        """Return every patient with the metric of a state."""
        return patient_table(self._scores, state.case_ids, metric=state.metric)

    def patients_of_pair(self, state: ViewState) -> pd.DataFrame:
        """Return the patients of a state's pair; empty where there is nothing to compare."""
        if self._evaluation is None or state.pair is None:
            return pd.DataFrame()
        return strip_table(self._evaluation, *state.pair).reset_index(names="Patient")

    def cells(self) -> pd.DataFrame:
        """Return the matrix with all its numbers; empty where there is nothing to compare."""
        return pd.DataFrame() if self._evaluation is None else matrix_frame(self._evaluation)


def metric_label(metric: str) -> str:
    """Return what the page calls a metric."""
    return next(name for name, known in METRICS.items() if known == metric)
