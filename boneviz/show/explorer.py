"""The shell that wires table, matrix, slices and surfaces to one state, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from boneviz.cohort import Cohort
from boneviz.errors import BonevizError, InputError
from boneviz.palette import styles_of
from boneviz.regions import Region, regions_table
from boneviz.report import report_page
from boneviz.scorecohort import score_cohort
from boneviz.scoretable import write_table
from boneviz.show.ahead import Ahead, following
from boneviz.show.atlas import AtlasPanel, FoundRegions
from boneviz.show.changes import behind_listing, behind_operating, behind_slices
from boneviz.show.header import Header
from boneviz.show.images import Images
from boneviz.show.keep import TABLES, KeepBar, files_of
from boneviz.show.lasting import LastingBox
from boneviz.show.later import TURN, Later
from boneviz.show.link import Look, link_of, read_link
from boneviz.show.page import close_all, panels, side_by_side
from boneviz.show.pair import PairChooser
from boneviz.show.patientbar import PatientBar
from boneviz.show.scored import ONE_READER, ScorePanels, metric_label
from boneviz.show.shown import Shown, everybody, read_shown
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
from boneviz.show.values import worst_session

__all__ = ["Explorer"]


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
        self._cohort, self._predictions = cohort, predictions
        self.scores = score_cohort(cohort, predictions=predictions).scores
        readers = everybody(cohort, self.scores, predictions=predictions)
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
        shown = self._read(self.state.case_id)
        self._readings = shown.readings

        self._images = Images(
            self._styles,
            on_cursor=self._step(move_cursor),
            on_curve=self._step(choose_curve),
            on_pair=self._pair_chosen,
            on_dial=self._dial_turned,
        )
        self.viewer, self.surfaces = self._images.viewer, self._images.surfaces
        self.operating = self._images.operating
        self.pair = PairChooser(
            self.state.reader_names,
            on_reference=self._step(choose_reference),
            on_candidate=self._step(choose_candidate),
        )
        self._scored = ScorePanels(
            cohort,
            self.scores,
            self._styles,
            pair=self.pair,
            on_select=self._patient_chosen,
            on_cell=self._cell_clicked,
            on_patient=self._patient_of_pair_chosen,
        )
        self.table, self.matrix = self._scored.table, self._scored.matrix
        self.strip = self._scored.strip
        self.atlas = AtlasPanel(
            on_choose=self._region_chosen,
            on_kinds=self._step(lambda state, kinds: filter_regions(state, kinds=kinds)),
            on_least_ml=self._step(lambda state, ml: filter_regions(state, least_ml=ml)),
            on_order=self._step(order_regions),
            on_key=self._region_key,
        )
        self._found = FoundRegions()
        self._panels = panels(
            {
                "Patients": [self.table.widget],
                "Regions": [self.pair.row(), self.atlas.widget],
                "One pair": [self.pair.row(), self.strip.widget],
                "Operating point": [self.operating.widget],
            }
        )
        self._header = Header(cohort)
        self.patients = PatientBar(self.state.case_ids, on_select=self.select)
        self.keep = KeepBar(
            files_of(self.as_table, self._report), link=self.link, on_open=self.open_link
        )
        super().__init__(
            [
                self._header.title,
                self.patients.widget,
                side_by_side([self._panels], self._scored.column),
                self._header.problem,
                self._header.caution,
                self._header.notes,
                self.viewer,
                self.keep,
                self.surfaces.widget,
            ],
            words=f"Explorer of {cohort.name}",
            still=self._still,
        )
        self.add_class("boneviz-explorer")
        self._scored.metric.observe(self._new(choose_metric), names="value")
        self.viewer.observe(self._new(move_cursor), names="cursor_mm")
        self.viewer.observe(self._readers_toggled, names="visible")
        self.viewer.observe(self._new(choose_view), names="view")
        self.viewer.observe(self._new(set_thresholds), names="thresholds")
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
            self._scored.show_pair(state)
        if state.pair != before.pair or (state.region == "worst" != before.region):
            self._await_regions()
        elif behind_listing(state) != behind_listing(before):
            self._render_regions()
        elif state.region != before.region:
            self.atlas.mark(state, self._regions())
        if state.panel != before.panel:
            self._panels.selected_index = PANELS.index(state.panel)
        if state.visible != before.visible:
            self._images.show_readers(state)
        if behind_slices(state) != behind_slices(before):
            self._images.show_view(state)
        if behind_operating(state) != behind_operating(before):
            self._images.show_operating(state)
        if state.thresholds != before.thresholds:
            self._header.note(dict(state.thresholds))
            self._later.do("thresholds", lambda: self._images.show_thresholds(self.state))
        if (cursor_mm := state.cursor_mm) != before.cursor_mm and cursor_mm is not None:
            self.viewer.cursor_mm = list(cursor_mm)
            self._later.do("cursor", lambda: self.surfaces.set_cursor(cursor_mm))

    def select(self, case_id: str) -> None:
        """Show a case."""
        self.go(select_case(self.state, case_id))

    def as_table(self, name: str) -> pd.DataFrame:
        """Return one of the tables of `boneviz.show.keep.TABLES` as it is now.

        Raises
        ------
        InputError
            Another name.
        """
        state = self.state
        if name == "patients":
            return self._scored.patients(state)
        if name == "regions":
            return regions_table(listed_regions(state, self._regions()))
        if name == "pair":
            return self._scored.patients_of_pair(state)
        if name == "matrix":
            return self._scored.cells()
        if name == "operating":
            return self.operating.frame(state)
        if name != "starred":
            raise InputError(f"no table {name!r}: expected {', '.join(TABLES)}")
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
        title = f"of {self._cohort.name}; table: {metric_label(self.state.metric)}"
        table = patients_html(self.as_table("patients"))
        return bundle_of(still, still_html(title, still, below=table))

    def _open(self, state: ViewState) -> None:
        try:
            shown = self._ahead.take(state.case_id)
        except BonevizError as error:
            self._header.refuse(f"Still showing {self.state.case_id}: {error}")
            self.table.select(self.state.case_id)
            self.patients.show(self.state.case_id)
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

    def _patient_chosen(self, case_id: str) -> None:
        self.select(case_id)
        self.viewer.bring_into_view()

    def _readers_toggled(self, change: dict[str, Any]) -> None:
        self.go(show_readers(self.state, change["new"], among=self._images.readers))

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
        self.viewer.bring_into_view()

    def _region_chosen(self, number: int) -> None:
        chosen = next(region for region in self._regions() if region.number == number)
        self.go(choose_region(self.state, chosen))
        self.viewer.centre()
        self.viewer.bring_into_view()

    def _region_key(self, key: str) -> None:
        if key == "star":
            self.go(toggle_star(self.state, self._regions()))
            return
        self.go(step_region(self.state, self._regions(), 1 if key == "next" else -1))
        self.viewer.centre()

    # rendering: from the state to the widgets

    def _render_scores(self) -> None:
        self._scored.show(self.state)
        self.last.renew()

    def _render_case(self, shown: Shown) -> None:
        self._later.cancel()
        self._readings = shown.readings
        self._header.show(shown, dict(self.state.thresholds))
        self._images.show(shown, self.state)
        self.table.select(self.state.case_id)
        self.patients.show(self.state.case_id)
        self._await_regions()
        self._later.do("operating", lambda: self._images.show_operating(self.state))
        self._later.do("surfaces", lambda: self._images.show_surfaces(shown, self.state))
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
        self.atlas.show(self.state, found, self._styles, has_suv=self._readings.case.has_suv)

    def _regions(self) -> tuple[Region, ...]:
        """Return the regions of the case and pair shown, none where nothing can be compared."""
        return self._found.listed(self._readings, self.state.pair)
