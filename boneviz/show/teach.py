"""The teaching session: draw with all labels hidden, commit, then see both experts.

Nothing of a label is sent to the page before the case is committed: the viewer gets CT, PET and
the learner's own drawing, and no words about the masks. The still picture in the notebook's file is
made of what the page shows, so neither does the file hold any; of committed cases it does.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd

from boneviz.case import Case, Reader
from boneviz.cohort import Cohort
from boneviz.comparison import Reveal
from boneviz.draft import forget_draft, read_draft, write_draft
from boneviz.drawing import Drawing
from boneviz.errors import BonevizError
from boneviz.harmonise import straighten
from boneviz.learnerfile import LearnerFile
from boneviz.nifti import read_case
from boneviz.palette import styles_of
from boneviz.petrecord import NO_SUV
from boneviz.show.canvas import Canvas
from boneviz.show.lasting import LastingBox
from boneviz.show.later import TURN
from boneviz.show.page import alert, prose
from boneviz.show.results import case_table, differences, progress_table, session_table
from boneviz.show.still import bundle_of, still_html
from boneviz.teaching import Session, reveal, shown, start_session

__all__ = ["TeachingSession"]

LOOK = """<style>
.boneviz-results { overflow-x: auto; }
.boneviz-results table { border-collapse: collapse; margin: 4px 0 10px; font-size: 13px;
  font-variant-numeric: tabular-nums; line-height: 1.35; color: var(--jp-ui-font-color1, inherit); }
.boneviz-results caption { text-align: left; font-weight: 600; padding: 4px 0; }
.boneviz-results th, .boneviz-results td { padding: 3px 8px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--jp-border-color2, #d0d4d9); }
.boneviz-results thead th { font-weight: 500; white-space: normal; vertical-align: bottom;
  color: var(--jp-ui-font-color2, inherit); }
.boneviz-results th:first-child { text-align: left; font-weight: 500; }
</style>"""
HINT = (
    "Outline every lesion that you see: brush (B), eraser (E), fill from an SUV on (G), undo (Z); "
    "? in the slices shows all keys. Nothing that the experts drew is in this page until you "
    "commit. A drawing may be empty."
)
HINT_OF_COUNTS = HINT.replace("fill from an SUV on (G), ", "") + f" Fill is off: {NO_SUV}."


class TeachingSession(LastingBox):
    """One learner's way through the cases of a cohort, in a notebook.

    Parameters
    ----------
    cohort : with two experts; their names are masked until the last case is committed
    learner : the name that the learner goes by
    folder : the learner's own; a session in it is gone on with
    seed : of the order of cases and of the experts' masked names
    case_ids : to read these alone; all by default

    Attributes
    ----------
    file : what is on disk, `LearnerFile`
    canvas : the slices

    Raises
    ------
    CohortError, ImageFileError, GridError
        A file of the case is missing, damaged, or on another grid.
    InputError
        As `start_session`; or the folder holds another session.
    LedgerError
        The folder's log was changed, or a drawing is not the one committed.
    """

    def __init__(
        self,
        cohort: Cohort,
        *,
        learner: str,
        folder: str | Path,
        seed: int = 0,
        case_ids: Iterable[str] | None = None,
    ) -> None:
        begun = start_session(cohort, learner, seed=seed, case_ids=case_ids)
        self._cohort = cohort
        self.file = LearnerFile.resume(folder, begun, utc=datetime.now(UTC))
        self._case = self._read(self.session.current or self.session.case_ids[-1])
        self.canvas = Canvas(on_drawn=self._drawn)
        self._places: dict[int, tuple[float, float, float]] = {}

        self._where = ""
        self._title, self._words, self._results = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self._problem, self._question = widgets.HTML(), widgets.HTML()
        self._commit = _button(
            "Commit", "Done with this case: compare with both experts", "primary"
        )
        self._yes = _button("Commit for good", "The drawing stays as it is from now on", "primary")
        self._no = _button("Go on drawing", "Back to the slices", "")
        self._next = _button(
            "Next case", "Hide the experts again and read the next case", "primary"
        )
        self._differences = widgets.Select(
            description="Where you differ",
            rows=6,
            # its label above: what is said of a difference is as long as a narrow page is wide
            layout={"width": "auto", "max_width": "760px", "flex_flow": "column"},
            style={"description_width": "initial"},
        )
        self._sure = widgets.HBox(
            [self._question, self._yes, self._no], layout={"flex_flow": "row wrap"}
        )
        super().__init__(
            [
                self._title,
                self._problem,
                self.canvas,
                widgets.HBox(
                    [self._commit, self._sure, self._next],
                    layout={"flex_flow": "row wrap", "margin": "6px 0"},
                ),
                self._words,
                self._differences,
                self._results,
            ],
            words=f"Teaching session of {cohort.name}",
            still=self._still,
        )
        self.add_class("boneviz-teaching")
        self._commit.on_click(self._commit_clicked)
        self._yes.on_click(self._yes_clicked)
        self._no.on_click(self._no_clicked)
        self._next.on_click(self._next_clicked)
        self._differences.observe(self._difference_chosen, names="value")
        if self.session.current is None:
            self._show_experts(reveal(self.session, self._case))
        else:
            self._show_case(read_draft(self.file.folder, self._case.case_id, self._case.ct.grid))
        self.canvas.observe(self.last.renew)

    @property
    def session(self) -> Session:
        """Cases, experts and what is committed so far."""
        return self.file.session

    @property
    def table(self) -> pd.DataFrame:
        """One row per committed case and expert, by masked names; as `LearnerFile.table`."""
        return self.file.table()

    def commit(self) -> None:
        """Stand by the drawing of the case that is shown, and show both experts.

        Raises
        ------
        InputError, GridError, LedgerError, OSError
            As `LearnerFile.commit`; the case is not committed then, and the drawing is kept.
        """
        drawing = self.canvas.drawing or Drawing.blank(self._case.ct.grid)
        self.file, seen = self.file.commit(self._case, drawing, utc=datetime.now(UTC))
        with suppress(OSError):  # the draft of a committed case is never read
            forget_draft(self.file.folder, self._case.case_id)
        self._show_experts(seen)

    def next_case(self) -> None:
        """Hide the experts again and show the next case; after the last one nothing changes.

        Raises
        ------
        CohortError, ImageFileError, GridError, InputError
            The case or its draft cannot be read; the one shown stays.
        """
        if self.session.current is None or self.session.current == self._case.case_id:
            return
        case = self._read(self.session.current)
        drawing = read_draft(self.file.folder, case.case_id, case.ct.grid)
        self._case = case
        self._show_case(drawing)

    def _read(self, case_id: str) -> Case:
        return straighten(read_case(self._cohort[case_id]))

    def _still(self) -> dict[str, str]:
        with TURN:  # picture and words of one case, before or after its commitment
            still, where = self.canvas.still(), self._where
            said = "" if self.canvas.case_info["draws"] else self._words.value
            below = said + self._results.value
        return bundle_of(still, still_html(f"of {self._cohort.name}; {where}", still, below=below))

    # callbacks

    def _commit_clicked(self, _: object) -> None:
        if self.session.current != self._case.case_id:
            return
        drawing = self.canvas.drawing
        drawn = (
            f"You drew {drawing.volume_ml:.2f} mL."
            if drawing and drawing.n_voxels
            else ("You drew nothing: you say that there is no lesion.")
        )
        self._question.value = (
            f'<span role="alert">{drawn} Once committed it cannot be changed.</span>'
        )
        self._ask(True)

    def _yes_clicked(self, _: object) -> None:
        if self.session.current != self._case.case_id:
            return  # the second of two clicks
        self._ask(False)
        self._commit.layout.display = "none"
        self._words.value = prose("Comparing your drawing with both experts \u2026")
        try:
            self.commit()
        except (BonevizError, OSError) as error:
            self._commit.layout.display = ""
            self._words.value = prose(HINT)
            self._problem.value = alert(f"Not committed: {error}")

    def _no_clicked(self, _: object) -> None:
        self._ask(False)

    def _next_clicked(self, _: object) -> None:
        try:
            self.next_case()
        except BonevizError as error:
            self._problem.value = alert(f"The next case cannot be read: {error}")

    def _difference_chosen(self, change: dict[str, Any]) -> None:
        if change["new"] in self._places:
            self.canvas.cursor_mm = list(self._places[change["new"]])
            self.canvas.centre()

    def _drawn(self, drawing: Drawing) -> None:
        self._ask(False)
        self.last.renew()
        write_draft(self.file.folder, self._case.case_id, drawing)

    # rendering

    def _ask(self, sure: bool) -> None:
        self._sure.layout.display = "" if sure else "none"
        self._commit.layout.display = "none" if sure else ""

    def _show_case(self, drawing: Drawing) -> None:
        with TURN:
            self._render_case(drawing)

    def _show_experts(self, seen: Reveal) -> None:
        with TURN:
            self._render_experts(seen)

    def _render_case(self, drawing: Drawing) -> None:
        session = self.session
        self._say_where(len(session.committed) + 1)
        self._ask(False)
        self._next.layout.display = "none"
        self._words.value = prose(HINT if self._case.has_suv else HINT_OF_COUNTS)
        self._show_differences(None)
        self._results.value = LOOK + session_table(self.table)
        (style,) = styles_of([session.reader])
        self.canvas.draw(shown(session, self._case), style, drawing)

    def _render_experts(self, seen: Reveal) -> None:
        session = self.session
        masked = {
            expert: Reader(session.label_of(expert.name), "expert", expert.intent)
            for expert in session.experts
        }
        readers = [*masked.values(), session.reader]
        styles = styles_of(readers)
        masks = {masked.get(reader, reader): mask for reader, mask in seen.case.masks.items()}
        self._say_where(len(session.committed))
        self._ask(False)
        self._commit.layout.display = "none"
        self._next.layout.display = "" if session.current else "none"
        self._words.value = prose(f"{seen.words} {self._at_the_end()}")
        self._results.value = LOOK + (
            case_table(seen.results, {style.name: style.colour for style in styles})
            + session_table(self.table)
            + progress_table(self.table)
        )
        case = replace(seen.case, masks=masks, notes=())  # notes may name the experts
        self._show_differences(seen)
        self.canvas.show(
            case, styles, cursor_mm=self._places.get(0), pair=[readers[0].name, session.learner]
        )

    def _show_differences(self, seen: Reveal | None) -> None:
        found = differences(seen) if seen else []
        self._places = {n: region.inside_mm for n, (_, region) in enumerate(found)}
        self._differences.options = [(words, n) for n, (words, _) in enumerate(found)]
        self._differences.layout.display = "" if found else "none"

    def _say_where(self, number: int) -> None:
        session = self.session
        self._where = f"case {number} of {len(session.case_ids)}, read by {session.learner}"
        self._problem.value = ""
        self._title.value = (
            '<div style="font-size:18px;font-weight:600;line-height:1.4">'
            f"{html.escape(self._cohort.name)}"
            '<span style="font-size:13px;font-weight:400;opacity:.75"> &ensp;case '
            f"{number} of {len(session.case_ids)}: {html.escape(self._case.case_id)} &ensp;\u00b7"
            f"&ensp; read by {html.escape(session.learner)} &ensp;\u00b7&ensp; "
            "research and teaching only, not for diagnosis</span></div>"
        )

    def _at_the_end(self) -> str:
        session = self.session
        if session.current is not None:
            return ""
        who = "; ".join(f"{session.label_of(e.name)} is {e.name}" for e in session.experts)
        return (
            f"That was the last case. {who}. Your drawings are in {self.file.folder}; note this "
            f"seal, which shows later whether the log was changed: {self.file.ledger.seal}"
        )


def _button(label: str, title: str, style: str) -> widgets.Button:
    return widgets.Button(
        description=label, tooltip=title, button_style=style, layout={"width": "auto"}
    )
