"""The shell that wires table, matrix, slices and surfaces to one state, and nothing else."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.errors import InputError
from boneviz.harmonise import straighten
from boneviz.palette import styles_of
from boneviz.picture import disputed_mm
from boneviz.readings import read_readings, score_cohort
from boneviz.samples import DEMONSTRATION
from boneviz.show.fit import FitWidth
from boneviz.show.state import (
    ViewState,
    choose_metric,
    first_state,
    move_cursor,
    select_case,
    show_readers,
)
from boneviz.show.surfaces import SurfaceView
from boneviz.show.tables import METRICS, PatientTable, matrix_figure, patient_table, readers_of
from boneviz.show.viewer import SliceViewer

__all__ = ["Explorer"]

SETTLE_S = 0.25


class Explorer(widgets.VBox):
    """Where two experts and their models agree and differ, patient by patient.

    Parameters
    ----------
    cohort : patients with at least one reader each
    predictions : folder of the models' predictions, by default ``predictions/`` of the cohort

    Attributes
    ----------
    state : what is shown; changes by choosing in the page, or by `go`
    viewer, table, surfaces : the parts
    scores : of every pair of readers of every case

    Raises
    ------
    CohortError, ImageFileError, GridError
        A file of a case is missing, damaged, or on another grid.
    """

    def __init__(self, cohort: Cohort, *, predictions: str | Path | None = None) -> None:
        self._cohort = cohort
        self._predictions = predictions
        self.scores = score_cohort(cohort, predictions=predictions)
        first = read_readings(cohort, cohort.cases[0], predictions=predictions).readers
        readers = tuple(dict.fromkeys((*readers_of(self.scores), *first)))
        self._styles = styles_of(readers)
        self.state = first_state(
            (ref.case_id for ref in cohort), (reader.name for reader in readers)
        )
        self._settling: asyncio.TimerHandle | None = None

        self.viewer = SliceViewer()
        self.table = PatientTable(on_select=self._row_chosen)
        self.surfaces = SurfaceView(on_click=self._surface_clicked)
        self._metric = widgets.Dropdown(options=METRICS, description="Show", value="dice")
        self._matrix = widgets.VBox(layout={"overflow": "hidden"})
        self._words = widgets.HTML()
        self._title = widgets.HTML()
        self._caution = widgets.HTML()
        super().__init__(
            [
                self._title,
                widgets.HBox(
                    [
                        widgets.VBox(
                            [self.table.widget], layout={"flex": "3 1 520px", "min_width": "0"}
                        ),
                        widgets.VBox(
                            [self._metric, self._matrix, self._words],
                            layout={"flex": "2 1 320px", "min_width": "0"},
                        ),
                    ],
                    layout={"flex_flow": "row wrap", "grid_gap": "16px"},
                ),
                self._caution,
                self.viewer,
                self.surfaces.figure,
                FitWidth(),
            ]
        )
        self.add_class("boneviz-explorer")
        self._metric.observe(self._metric_chosen, names="value")
        self.viewer.observe(self._cursor_moved, names="cursor_mm")
        self.viewer.observe(self._readers_toggled, names="visible")
        self._render_scores()
        self._render_case()

    def go(self, state: ViewState) -> None:
        """Show another state; only what differs is drawn anew."""
        before, self.state = self.state, state
        if state.metric != before.metric:
            self._render_scores()
        if state.case_id != before.case_id:
            self._render_case()
            return
        if state.visible != before.visible:
            self._render_readers()
        if state.cursor_mm != before.cursor_mm:
            self._render_cursor()

    def select(self, case_id: str) -> None:
        """Show a case."""
        self.go(select_case(self.state, case_id))

    # callbacks: each takes one step from state to state

    def _row_chosen(self, case_id: str) -> None:
        self.go(select_case(self.state, case_id))

    def _metric_chosen(self, change: dict[str, Any]) -> None:
        self.go(choose_metric(self.state, change["new"]))

    def _cursor_moved(self, change: dict[str, Any]) -> None:
        self.go(move_cursor(self.state, change["new"]))

    def _readers_toggled(self, change: dict[str, Any]) -> None:
        self.go(show_readers(self.state, change["new"], among=self._readers_here()))

    def _surface_clicked(self, position_mm: Sequence[float]) -> None:
        self.go(move_cursor(self.state, position_mm))

    # rendering: from the state to the widgets

    def _render_scores(self) -> None:
        label = next(name for name, metric in METRICS.items() if metric == self.state.metric)
        self._metric.value = self.state.metric
        table = patient_table(self.scores, self.state.case_ids, metric=self.state.metric)
        self.table.show(table, metric=self.state.metric)
        for figure in self._matrix.children:
            figure.close()
        if not self.scores:
            self._matrix.children = ()
            self._words.value = "One reader alone: there is nobody to compare with."
            return
        evaluation = cross_evaluate(self.scores, metric=self.state.metric)
        self._matrix.children = (matrix_figure(evaluation, label=label),)
        if evaluation.models:
            try:
                words = evaluation.interaction().words
            except InputError as error:
                words = f"No comparison of styles here: {error}"
        else:
            words = (
                "No predictions here: run `boneviz crossval` or `boneviz predict` to add models."
            )
        self._words.value = f'<div style="line-height:1.35">{html.escape(words)}</div>'

    def _render_case(self) -> None:
        ref = self._cohort[self.state.case_id]
        readings = read_readings(self._cohort, ref, predictions=self._predictions)
        case = straighten(readings.outlined())
        styles = [style for style in self._styles if style.reader in case.masks]
        cursor_mm = disputed_mm(case)
        self.state = move_cursor(self.state, cursor_mm)
        self._title.value = _title(self._cohort, self.state.case_id)
        learned_from_phantoms = readings.models_learned_from_phantoms
        self._caution.value = _caution(self._cohort, learned_from_phantoms=learned_from_phantoms)
        visible = sorted(self.state.visible)
        self.viewer.show(case, styles, cursor_mm=cursor_mm, visible=visible)
        self.surfaces.show(case, styles=styles, visible=visible, cursor_mm=cursor_mm)
        self.table.select(self.state.case_id)

    def _render_readers(self) -> None:
        self.viewer.visible = [n for n in self._readers_here() if n in self.state.visible]
        self.surfaces.set_visible(self.state.visible)

    def _render_cursor(self) -> None:
        cursor_mm = self.state.cursor_mm
        if cursor_mm is None:
            return
        self.viewer.cursor_mm = list(cursor_mm)
        self._when_settled(lambda: self.surfaces.set_cursor(cursor_mm))

    def _readers_here(self) -> list[str]:
        return [reader["name"] for reader in self.viewer.case_info["readers"]]

    def _when_settled(self, draw: Callable[[], None]) -> None:
        """Draw in 3D once the cursor rests: slices follow the wheel, a 3D scene would lag."""
        if self._settling is not None:
            self._settling.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            draw()
        else:
            self._settling = loop.call_later(SETTLE_S, draw)


def _title(cohort: Cohort, case_id: str) -> str:
    kind = "synthetic patients" if cohort.synthetic else "patients"
    return (
        f'<div style="font-size:18px;font-weight:600">{html.escape(cohort.name)}'
        f'<span style="font-size:13px;font-weight:400;opacity:.75"> &ensp;{len(cohort.patients)} '
        f"{kind} &ensp;·&ensp; shown: {html.escape(case_id)} &ensp;·&ensp; "
        "research and teaching only, not for diagnosis</span></div>"
    )


def _caution(cohort: Cohort, *, learned_from_phantoms: bool) -> str:
    if not learned_from_phantoms or cohort.synthetic:
        return ""
    return (
        '<div role="alert" style="background:#fff3cd;color:#5c4400;border-left:4px solid #e0a800;'
        f'padding:8px 12px;margin:4px 0;line-height:1.4">{html.escape(DEMONSTRATION)}</div>'
    )
