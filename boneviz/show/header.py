"""What stands around the slices in words: whose they are, what failed, what to beware of."""

from __future__ import annotations

from collections.abc import Mapping

import ipywidgets as widgets

from boneviz.case import Reader
from boneviz.cohort import Cohort
from boneviz.samples import DEMONSTRATION
from boneviz.show.page import alert, title
from boneviz.show.shown import Shown, notes

__all__ = ["Header"]


class Header:
    """Title, problem, caution and notes of the case shown, each for a place of its own in the page.

    Parameters
    ----------
    cohort : whose name and provenance the title gives
    """

    def __init__(self, cohort: Cohort) -> None:
        self._cohort = cohort
        self._left_out: tuple[Reader, ...] = ()
        self.title, self.problem = widgets.HTML(), widgets.HTML()
        self.caution, self.notes = widgets.HTML(), widgets.HTML()

    def show(self, shown: Shown, thresholds: Mapping[str, float]) -> None:
        """Name another case; a problem with the one before is over."""
        self.problem.value = ""
        self.title.value = title(self._cohort, shown.case.case_id)
        caution = shown.readings.models_learned_from_phantoms and not self._cohort.synthetic
        self.caution.value = alert(DEMONSTRATION) if caution else ""
        self._left_out = shown.left_out
        self.note(thresholds)

    def note(self, thresholds: Mapping[str, float]) -> None:
        """Say who is left out, and who is at another threshold than in the table."""
        self.notes.value = notes(self._left_out, thresholds)

    def refuse(self, why: str) -> None:
        """Say why the page stays where it is."""
        self.problem.value = alert(why)
