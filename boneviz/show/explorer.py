"""The shell that wires table, matrix, slices and surfaces to one state, and nothing else."""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from boneviz.case import Case, experts_first
from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.errors import BonevizError, InputError
from boneviz.harmonise import straighten
from boneviz.palette import ReaderStyle, styles_of
from boneviz.picture import disputed_mm
from boneviz.readings import read_readings
from boneviz.samples import DEMONSTRATION
from boneviz.scorecohort import score_cohort
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
from boneviz.show.tables import METRICS, MatrixView, PatientTable, patient_table
from boneviz.show.viewer import MAX_READERS, SliceViewer

__all__ = ["Explorer"]

SETTLE_S = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """One case as it is shown: on straight axes, with everybody's outline."""

    case: Case
    styles: tuple[ReaderStyle, ...]
    cursor_mm: tuple[float, float, float]
    from_phantoms: bool
    left_out: tuple[str, ...]


class Explorer(widgets.VBox):
    """Where two experts and their models agree and differ, patient by patient.

    Parameters
    ----------
    cohort : patients with at least one reader each
    predictions : folder of the models' predictions, by default ``predictions/`` of the cohort

    Attributes
    ----------
    state : what is shown; changes by choosing in the page, or by `go`
    viewer, table, matrix, surfaces : the parts
    scores : of every pair of readers of every case

    Raises
    ------
    CohortError, ImageFileError, GridError
        A file of a case is missing, damaged, or on another grid.
    """

    def __init__(self, cohort: Cohort, *, predictions: str | Path | None = None) -> None:
        self._cohort = cohort
        self._predictions = predictions
        self.scores = score_cohort(cohort, predictions=predictions).scores
        first = read_readings(cohort, cohort.cases[0], predictions=predictions).readers
        scored = (reader for row in self.scores for reader in (row.reference, row.candidate))
        readers = experts_first((*first, *scored))
        self._styles = styles_of(readers)
        self.state = first_state(
            (ref.case_id for ref in cohort), (reader.name for reader in readers)
        )
        self._pending: dict[str, asyncio.TimerHandle] = {}
        shown = self._read(self.state.case_id)

        self.viewer = SliceViewer()
        self.table = PatientTable(on_select=self._row_chosen)
        self.surfaces = SurfaceView(on_click=self._surface_clicked)
        self._metric = widgets.Dropdown(options=METRICS, description="Show", value="dice")
        self.matrix = MatrixView()
        shown_matrix = [self.matrix.figure] if self.scores else []
        self._words = widgets.HTML()
        self._title = widgets.HTML()
        self._caution = widgets.HTML()
        self._problem = widgets.HTML()
        super().__init__(
            [
                self._title,
                widgets.HBox(
                    [
                        widgets.VBox(
                            [self.table.widget], layout={"flex": "3 1 520px", "min_width": "0"}
                        ),
                        widgets.VBox(
                            [self._metric, *shown_matrix, self._words],
                            layout={"flex": "2 1 320px", "min_width": "0"},
                        ),
                    ],
                    layout={"flex_flow": "row wrap", "grid_gap": "16px"},
                ),
                self._problem,
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
        self.state = move_cursor(self.state, shown.cursor_mm)
        self._render_case(shown)

    def go(self, state: ViewState) -> None:
        """Show another state; only what differs is drawn anew.

        A case that cannot be read is not gone to: the page says why and stays where it was.
        """
        before = self.state
        if state.case_id != before.case_id:
            self._open(state)
            return
        self.state = state
        if state.metric != before.metric:
            self._render_scores()
        if state.visible != before.visible:
            self._render_readers()
        if state.cursor_mm != before.cursor_mm:
            self._render_cursor()

    def select(self, case_id: str) -> None:
        """Show a case."""
        self.go(select_case(self.state, case_id))

    def close(self) -> None:
        """Let the volumes go and close every part in every page."""
        self._cancel()
        figures = (self.matrix.figure, self.surfaces.figure)
        for part in (self.viewer, self.table.widget, *figures):
            part.close()
        super().close()

    def _open(self, state: ViewState) -> None:
        try:
            shown = self._read(state.case_id)
        except BonevizError as error:
            self._problem.value = _alert(f"Still showing {self.state.case_id}: {error}")
            self.table.select(self.state.case_id)
            return
        self.state = move_cursor(state, shown.cursor_mm)
        self._render_case(shown)

    def _read(self, case_id: str) -> _Shown:
        """Read all that is shown of a case; whatever can fail fails here."""
        ref = self._cohort[case_id]
        readings = read_readings(self._cohort, ref, predictions=self._predictions)
        case = straighten(readings.outlined())
        everybody = tuple(style for style in self._styles if style.reader in case.masks)
        styles = everybody
        if len(everybody) > MAX_READERS:
            # a whole study has ablations and second seeds beside the models that it is about
            styles = tuple(style for style in everybody if not style.reader.variant)
        if len(styles) > MAX_READERS:
            raise InputError(
                f"patient {case_id}: {len(styles)} readers, at most {MAX_READERS} can be shown; "
                "open a cohort with fewer"
            )
        return _Shown(
            case=case,
            styles=styles,
            cursor_mm=disputed_mm(case),
            from_phantoms=readings.models_learned_from_phantoms,
            left_out=tuple(style.name for style in everybody if style not in styles),
        )

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
        if not self.scores:
            self._words.value = "One reader alone: there is nobody to compare with."
            return
        evaluation = cross_evaluate(self.scores, metric=self.state.metric)
        self.matrix.show(evaluation, label=label)
        self._words.value = f'<div style="line-height:1.35">{html.escape(evaluation.words)}</div>'

    def _render_case(self, shown: _Shown) -> None:
        self._cancel()
        self._problem.value = ""
        # no surface of the patient before stays under this one's name
        self.surfaces.clear()
        self._title.value = _title(self._cohort, self.state.case_id)
        caution = shown.from_phantoms and not self._cohort.synthetic
        self._caution.value = _alert(DEMONSTRATION) if caution else ""
        if shown.left_out:
            self._caution.value += _alert(
                f"Slices and 3D show at most {MAX_READERS} readers; left out here, but in the "
                f"table: {', '.join(shown.left_out)}."
            )
        visible = sorted(self.state.visible)
        self.viewer.show(shown.case, shown.styles, cursor_mm=shown.cursor_mm, visible=visible)
        self.table.select(self.state.case_id)
        self._later("surfaces", lambda: self._render_surfaces(shown))

    def _render_surfaces(self, shown: _Shown) -> None:
        self.surfaces.show(
            shown.case,
            styles=shown.styles,
            visible=self.state.visible,
            cursor_mm=self.state.cursor_mm or shown.cursor_mm,
        )

    def _render_readers(self) -> None:
        self.viewer.visible = [n for n in self._readers_here() if n in self.state.visible]
        self.surfaces.set_visible(self.state.visible)

    def _render_cursor(self) -> None:
        cursor_mm = self.state.cursor_mm
        if cursor_mm is None:
            return
        self.viewer.cursor_mm = list(cursor_mm)
        self._later("cursor", lambda: self.surfaces.set_cursor(cursor_mm))

    def _readers_here(self) -> list[str]:
        return [reader["name"] for reader in self.viewer.case_info["readers"]]

    def _later(self, what: str, draw: Callable[[], None]) -> None:
        """Draw in 3D once the page has its slices and the cursor rests; 3D must not hold them up.

        Without an event loop, as in a script, it is drawn at once.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            draw()
            return
        if what in self._pending:
            self._pending[what].cancel()
        self._pending[what] = loop.call_later(SETTLE_S, draw)

    def _cancel(self) -> None:
        for handle in self._pending.values():
            handle.cancel()
        self._pending.clear()


def _title(cohort: Cohort, case_id: str) -> str:
    n = len(cohort.patients)
    kind = ("synthetic " if cohort.synthetic else "") + ("patient" if n == 1 else "patients")
    return (
        f'<div style="font-size:18px;font-weight:600">{html.escape(cohort.name)}'
        f'<span style="font-size:13px;font-weight:400;opacity:.75"> &ensp;{n} '
        f"{kind} &ensp;·&ensp; shown: {html.escape(case_id)} &ensp;·&ensp; "
        "research and teaching only, not for diagnosis</span></div>"
        f'<div style="font-size:12px;opacity:.75">{html.escape(cohort.provenance)}</div>'
    )


def _alert(text: str) -> str:
    return (
        '<div role="alert" style="background:#fff3cd;color:#5c4400;border-left:4px solid #e0a800;'
        f'padding:8px 12px;margin:4px 0;line-height:1.4">{html.escape(text)}</div>'
    )
