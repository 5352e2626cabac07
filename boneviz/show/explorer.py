"""The shell that wires table, matrix, slices and surfaces to one state, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd

from boneviz.case import Reader, experts_first
from boneviz.cohort import Cohort
from boneviz.compare import CrossEvaluation, cross_evaluate
from boneviz.errors import BonevizError, InputError
from boneviz.palette import styles_of
from boneviz.readings import read_readings
from boneviz.regions import Region, regions_table
from boneviz.report import report_page
from boneviz.samples import DEMONSTRATION
from boneviz.scorecohort import score_cohort
from boneviz.scoretable import write_table
from boneviz.show.ahead import Ahead, following
from boneviz.show.atlas import AtlasPanel, FoundRegions
from boneviz.show.dial import OperatingPanel
from boneviz.show.keep import KeepBar, files_of
from boneviz.show.lasting import LastingBox
from boneviz.show.later import TURN, Later
from boneviz.show.link import Look, link_of, read_link
from boneviz.show.page import alert, close_all, panels, prose, title, unheard
from boneviz.show.pair import PairChooser
from boneviz.show.shown import Shown, notes, read_shown
from boneviz.show.state import (
    PANELS,
    ViewState,
    choose_candidate,
    choose_curve,
    choose_metric,
    choose_pair,
    choose_reference,
    choose_region,
    choose_view,
    filter_regions,
    find_worst,
    first_state,
    join_stars,
    listed_regions,
    move_cursor,
    open_worst,
    order_regions,
    select_case,
    set_thresholds,
    show_panel,
    show_readers,
    step_region,
    toggle_star,
    turn_dial,
)
from boneviz.show.still import bundle_of, patients_html, still_html
from boneviz.show.strip import StripPanel
from boneviz.show.surfaces import SurfaceView
from boneviz.show.tables import METRICS, MatrixView, PatientTable, patient_table
from boneviz.show.values import strip_table, worst_session
from boneviz.show.viewer import SliceViewer

__all__ = ["Explorer"]

ONE_READER = "One reader alone: there is nobody to compare with."


class Explorer(LastingBox):
    """Where two experts and their models agree and differ, patient by patient.

    Parameters
    ----------
    cohort : patients with at least one reader each
    predictions : folder of the models' predictions, by default ``predictions/`` of the cohort
    state : the view to open, as `link` gives it

    Attributes
    ----------
    state : what is shown; changes by choosing in the page, or by `go`
    viewer, table, atlas, strip, operating, matrix, surfaces : the parts
    scores : of every pair of readers of every case

    Raises
    ------
    CohortError, ImageFileError, GridError
        A file of a case is missing, damaged, or on another grid.
    InputError
        `state` is no link, or not one to this cohort.
    """

    def __init__(
        self, cohort: Cohort, *, predictions: str | Path | None = None, state: str | None = None
    ) -> None:
        self._cohort = cohort
        self._predictions = predictions
        self.scores = score_cohort(cohort, predictions=predictions).scores
        first = read_readings(cohort, cohort.cases[0], predictions=predictions).readers
        scored = (reader for row in self.scores for reader in (row.reference, row.candidate))
        readers = experts_first((*first, *scored))
        self._styles = styles_of(readers)
        self.state = first_state(
            (ref.case_id for ref in cohort),
            (reader.name for reader in readers),
            off=[reader.name for reader in readers if reader.variant],
        )
        if state is not None:
            self.state = select_case(self.state, read_link(state, on=self.state)[0].case_id)
        self._later = Later()
        self._ahead = Ahead(self._read)
        self._surfaces_at = self.state.thresholds
        self._left_out: tuple[Reader, ...] = ()
        shown = self._read(self.state.case_id)

        self.viewer = SliceViewer()
        self.table = PatientTable(on_select=self._step(select_case))
        self.surfaces = SurfaceView(on_click=self._step(move_cursor))
        self.pair = PairChooser(
            self.state.reader_names,
            on_reference=self._step(choose_reference),
            on_candidate=self._step(choose_candidate),
        )
        self.atlas = AtlasPanel(
            on_choose=self._region_chosen,
            on_kinds=self._step(lambda state, kinds: filter_regions(state, kinds=kinds)),
            on_least_ml=self._step(lambda state, ml: filter_regions(state, least_ml=ml)),
            on_order=self._step(order_regions),
            on_key=self._region_key,
        )
        self.strip = StripPanel(on_open=self._patient_of_pair_chosen)
        self.operating = OperatingPanel(self.viewer, on_curve=self._step(choose_curve))
        self._found = FoundRegions()
        self._evaluation: CrossEvaluation | None = None
        self._readings = shown.readings
        self._panels = panels(
            {
                "Patients": [self.table.widget],
                "Regions": [self.pair.row(), self.atlas.widget],
                "One pair": [self.pair.row(), self.strip.widget],
                "Operating point": [self.operating.widget],
            }
        )
        self._metric = widgets.Dropdown(options=METRICS, description="Show", value="dice")
        self._metric.add_class("boneviz-metric")
        self.matrix = MatrixView(on_click=self._cell_clicked)
        shown_matrix = [self.matrix.widget] if self.scores else []
        self._words = widgets.HTML()
        self._title = widgets.HTML()
        self._caution = widgets.HTML()
        self._notes = widgets.HTML()
        self._problem = widgets.HTML()
        self.keep = KeepBar(
            files_of(self.as_table, self._report), link=self.link, on_open=self.open_link
        )
        super().__init__(
            [
                self._title,
                widgets.HBox(
                    [
                        widgets.VBox(
                            [self._panels], layout={"flex": "3 1 620px", "min_width": "0"}
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
                self._notes,
                self.viewer,
                self.keep,
                self.surfaces.widget,
            ],
            words=f"Explorer of {cohort.name}",
            still=self._still,
        )
        self.add_class("boneviz-explorer")
        self._metric.observe(self._new(choose_metric), names="value")
        self.viewer.observe(self._new(move_cursor), names="cursor_mm")
        self.viewer.observe(self._readers_toggled, names="visible")
        self.viewer.observe(self._new(choose_view), names="view")
        self.viewer.observe(self._pair_chosen, names="pair")
        self.viewer.observe(self._new(set_thresholds), names="thresholds")
        self.viewer.observe(self._dial_turned, names="dial")
        self.viewer.on_region_key(self._region_key)
        to_panel = self._new(lambda state, place: show_panel(state, PANELS[place]))
        self._panels.observe(to_panel, names="selected_index")
        self._render_scores()
        self.state = move_cursor(self.state, shown.cursor_mm)
        self._render_case(shown)
        if state is not None:
            self.open_link(state)
        self.viewer.observe(self.last.renew)

    def go(self, state: ViewState) -> None:
        """Show another state; only what differs is drawn anew.

        A case that cannot be read is not gone to: the page says why and stays where it was.
        """
        with TURN:
            self._go(state)

    def _go(self, state: ViewState) -> None:
        before = self.state
        if state.case_id != before.case_id:
            self._open(state)
            return
        self.state = state
        if state.metric != before.metric:
            self._render_scores()
        elif state.pair != before.pair:
            self._render_pair()
        if state.pair != before.pair or (state.region == "worst" != before.region):
            self._await_regions()
        elif _listing(state) != _listing(before):
            self._render_regions()
        elif state.region != before.region:
            self.atlas.mark(state, self._regions())
        if state.panel != before.panel:
            self._panels.selected_index = PANELS.index(state.panel)
        if state.visible != before.visible:
            self._render_readers()
        if _drawn(state) != _drawn(before):
            self._render_view()
        if _operating(state) != _operating(before):
            self._render_operating()
        if state.thresholds != before.thresholds:
            self._render_notes()
            self._later.do("thresholds", self._render_thresholds)
        if state.cursor_mm != before.cursor_mm:
            self._render_cursor()

    def select(self, case_id: str) -> None:
        """Show a case."""
        self.go(select_case(self.state, case_id))

    def as_table(self, name: str) -> pd.DataFrame:
        """Return ``patients``, ``regions``, ``pair`` or ``starred`` as they are shown now.

        Raises
        ------
        InputError
            Another name.
        """
        state = self.state
        if name == "patients":
            return patient_table(self.scores, state.case_ids, metric=state.metric)
        if name == "regions":
            return regions_table(listed_regions(state, self._regions()))
        if name == "pair" and self._evaluation is not None and state.pair is not None:
            return strip_table(self._evaluation, *state.pair).reset_index(names="Patient")
        if name == "pair":
            return pd.DataFrame()
        if name != "starred":
            raise InputError(f"no table {name!r}: expected patients, regions, pair or starred")
        return self.starred

    def link(self) -> str:
        """Return the present view as a text that `open_link` and ``explore(state=...)`` open again.

        It names the patient and the readers as the cohort does, and holds no image.
        """
        return link_of(self.state, Look.of(self.viewer))

    def open_link(self, text: str) -> None:
        """Go to the view that a link describes; stars are kept, and its own added.

        Raises
        ------
        InputError
            It is no link, one of another version, or one to what is not in this cohort.
        """
        state, look = read_link(text, on=self.state)
        self.select(state.case_id)
        if self.state.case_id != state.case_id:
            raise InputError(f"{state.case_id} cannot be read; the page says why")
        look.onto(self.viewer)
        stars = join_stars(self.state, state.starred).starred
        self.go(replace(state, cursor_mm=state.cursor_mm or self.state.cursor_mm, starred=stars))

    @property
    def starred(self) -> pd.DataFrame:
        """The regions starred for the report, of all cases and pairs; columns of `Region`."""
        return regions_table(self.state.starred)

    def save_starred(self, path: str | Path) -> None:
        """Write the starred regions to a table: ``.csv`` or ``.parquet``.

        Raises
        ------
        InputError
            The file's name ends in neither.
        """
        write_table(self.starred, Path(path))

    def close(self) -> None:
        """Let the volumes go and close every part in every page."""
        if self.comm is None:  # closed before, or never opened
            return
        self._later.cancel()
        self._ahead.close()
        # on no page where there is nothing to compare
        close_all(self.matrix.widget)
        super().close()

    def _report(self) -> str:
        return report_page(
            self._cohort,
            predictions=self._predictions,
            scores=self.scores or None,
            starred=self.state.starred,
            progress=False,
        )

    def _still(self) -> dict[str, str]:
        still = self.viewer.still()
        title = f"of {self._cohort.name}; table: {_label(self.state.metric)}"
        table = patients_html(self.as_table("patients"))
        return bundle_of(still, still_html(title, still, below=table))

    def _open(self, state: ViewState) -> None:
        try:
            shown = self._ahead.take(state.case_id)
        except BonevizError as error:
            self._problem.value = alert(f"Still showing {self.state.case_id}: {error}")
            self.table.select(self.state.case_id)
            return
        self.state = replace(state, cursor_mm=shown.cursor_mm)
        self._render_case(shown)
        self._later.do("scores", self._render_scores)
        self._panels.selected_index = PANELS.index(state.panel)

    def _read(self, case_id: str) -> Shown:
        return read_shown(self._cohort, case_id, self._styles, predictions=self._predictions)

    # callbacks: each takes one step from state to state

    def _step(self, step: Callable[..., ViewState]) -> Callable[..., None]:
        """Return a callback that takes a step with what it is given."""
        return lambda *given: self.go(step(self.state, *given))

    def _new(self, step: Callable[..., ViewState]) -> Callable[[dict[str, Any]], None]:
        """Return an observer of a trait that takes a step with its new value."""
        return lambda change: self.go(step(self.state, change["new"]))

    def _readers_toggled(self, change: dict[str, Any]) -> None:
        self.go(show_readers(self.state, change["new"], among=self._readers_here()))

    def _pair_chosen(self, change: dict[str, Any]) -> None:
        if len(change["new"]) == 2:
            self.go(choose_pair(self.state, *change["new"]))

    def _dial_turned(self, change: dict[str, Any]) -> None:
        self.go(turn_dial(self.state, change["new"].get("at")))

    def _cell_clicked(self, reference: str, candidate: str) -> None:
        self.go(show_panel(choose_pair(self.state, reference, candidate), "pair"))

    def _patient_of_pair_chosen(self, patient: str, *pair: str) -> None:
        case_id = worst_session(self.scores, patient, *pair, metric=self.state.metric)
        self.go(open_worst(self.state, case_id, *pair))

    def _region_chosen(self, number: int) -> None:
        chosen = next(region for region in self._regions() if region.number == number)
        self.go(choose_region(self.state, chosen))
        self.viewer.centre()

    def _region_key(self, key: str) -> None:
        if key == "star":
            self.go(toggle_star(self.state, self._regions()))
            return
        self.go(step_region(self.state, self._regions(), 1 if key == "next" else -1))
        self.viewer.centre()

    # rendering: from the state to the widgets

    def _render_scores(self) -> None:
        self._metric.value = self.state.metric
        table = patient_table(self.scores, self.state.case_ids, metric=self.state.metric)
        self.table.show(table, metric=self.state.metric)
        self.last.renew()
        if not self.scores:
            self._words.value = ONE_READER
            self.strip.say(ONE_READER)
            return
        if self._evaluation is None or self._evaluation.metric != self.state.metric:
            self._evaluation = cross_evaluate(self.scores, metric=self.state.metric)
        hint = "A click on a cell shows its patients."
        self._words.value = prose(self._evaluation.words, hint=hint)
        self._render_pair()

    def _render_pair(self) -> None:
        if self._evaluation is None or self.state.pair is None:
            return
        label = _label(self.state.metric)
        self.pair.show(self.state.pair)
        self.matrix.show(self._evaluation, label=label, pair=self.state.pair)
        self.strip.show(
            self._evaluation,
            self.scores,
            self.state.pair,
            label=label,
            styles=self._styles,
            patient=self._cohort[self.state.case_id].patient_id,
        )

    def _render_case(self, shown: Shown) -> None:
        self._later.cancel()
        self._readings = shown.readings
        self._problem.value = ""
        # no surface of the patient before stays under this one's name
        self.surfaces.clear()
        self._title.value = title(self._cohort, self.state.case_id)
        caution = shown.readings.models_learned_from_phantoms and not self._cohort.synthetic
        self._caution.value = alert(DEMONSTRATION) if caution else ""
        self._left_out = shown.left_out
        self._render_notes()
        here = {style.name for style in shown.styles}
        pair = self.state.pair if self.state.pair and here.issuperset(self.state.pair) else None
        # slices of a case without the pair show another; that is nobody's choice
        with unheard(self.viewer, self._pair_chosen, "pair"):
            self.viewer.show(
                shown.case,
                shown.styles,
                predictions=shown.probabilities,
                cursor_mm=shown.cursor_mm,
                visible=sorted(self.state.visible),
                pair=pair,
            )
        self.operating.open(shown, self._styles)
        self._render_dial()
        self.table.select(self.state.case_id)
        self._await_regions()
        self._later.do("operating", self._render_operating)
        self._later.do("surfaces", lambda: self._render_surfaces(shown))
        after = following(self.state.case_ids, self.state.case_id)
        self._later.do("ahead", lambda: self._ahead.prepare(after, beside=shown.case))

    def _await_regions(self) -> None:
        # no region of the pair before stays under this one's name
        self.atlas.wait("Looking for the regions of this pair ...")
        self._later.do("regions", self._render_regions)

    def _render_regions(self) -> None:
        if self.state.pair is None:
            self.atlas.wait(ONE_READER)
            return
        try:
            found = self._found.of(self._readings, *self.state.pair)
        except BonevizError as error:
            self.atlas.wait(str(error))
            return
        at_worst = find_worst(self.state, found)
        if at_worst.region != self.state.region:
            self.go(at_worst)
            self.viewer.centre()
        has_suv = self._readings.case.has_suv
        self.atlas.show(self.state, found, self._styles, has_suv=has_suv)

    def _regions(self) -> tuple[Region, ...]:
        """Return the regions of the case and pair shown, none where nothing can be compared."""
        try:
            return self._found.of(self._readings, *self.state.pair) if self.state.pair else ()
        except BonevizError:
            return ()

    def _render_surfaces(self, shown: Shown) -> None:
        self._surfaces_at = self.state.thresholds
        soft = {reader: self.viewer.outline(reader.name) for reader in shown.probabilities}
        self.surfaces.show(
            shown.case.with_masks(soft),
            styles=shown.styles,
            visible=self.state.visible,
            cursor_mm=self.state.cursor_mm or shown.cursor_mm,
        )

    def _render_readers(self) -> None:
        self.viewer.visible = [n for n in self._readers_here() if n in self.state.visible]
        self.surfaces.set_visible(self.state.visible)

    def _render_view(self) -> None:
        self.viewer.view = self.state.view
        self.viewer.thresholds = dict(self.state.thresholds)
        if self.state.pair and set(self._readers_here()).issuperset(self.state.pair):
            self.viewer.pair = list(self.state.pair)
        self._render_dial()

    def _render_dial(self) -> None:
        # a case without the two models has no dial; that is nobody's choice
        with unheard(self.viewer, self._dial_turned, "dial"):
            self.viewer.dial = self.operating.dial(self.state)

    def _render_operating(self) -> None:
        if self.state.panel == "operating":
            self.operating.show(self.state)

    def _render_notes(self) -> None:
        self._notes.value = notes(self._left_out, dict(self.state.thresholds))

    def _render_thresholds(self) -> None:
        before, now = dict(self._surfaces_at), dict(self.state.thresholds)
        self._surfaces_at = self.state.thresholds
        for style in self._styles:
            name = style.name
            if name in self._readers_here() and before.get(name) != now.get(name):
                visible = name in self.state.visible
                self.surfaces.redraw(style, self.viewer.outline(name), visible=visible)

    def _render_cursor(self) -> None:
        cursor_mm = self.state.cursor_mm
        if cursor_mm is None:
            return
        self.viewer.cursor_mm = list(cursor_mm)
        self._later.do("cursor", lambda: self.surfaces.set_cursor(cursor_mm))

    def _readers_here(self) -> list[str]:
        return [reader["name"] for reader in self.viewer.case_info["readers"]]


def _listing(state: ViewState) -> tuple[object, ...]:
    """Return what the rows of the atlas depend on beside case and pair."""
    return state.kinds, state.least_ml, state.order, state.starred


def _drawn(state: ViewState) -> tuple[object, ...]:
    """Return what the slices depend on beside case, readers and cursor."""
    return state.view, state.pair, state.thresholds, state.dial


def _operating(state: ViewState) -> tuple[object, ...]:
    """Return what the operating point depends on beside the case."""
    return state.thresholds, state.dial, state.curve, state.panel


def _label(metric: str) -> str:
    return next(name for name, known in METRICS.items() if known == metric)
