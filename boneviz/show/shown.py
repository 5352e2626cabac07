"""One case as the explorer shows it, on straight axes with every outline; and who drew any."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from boneviz.case import DEFAULT_THRESHOLD, Case, Reader, experts_first
from boneviz.cohort import Cohort
from boneviz.harmonise import onto_straight, straighten
from boneviz.palette import ReaderStyle
from boneviz.picture import disputed_mm
from boneviz.readings import Readings, read_readings
from boneviz.scorerow import Scores
from boneviz.show.state import shown_readers
from boneviz.show.viewer import MAX_READERS
from boneviz.volume import Volume

__all__ = ["Shown", "everybody", "notes", "read_shown"]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A case, its readings, and where to begin.

    Parameters
    ----------
    case : on one straight RAS grid, with the mask of every reader
    readings : as they were read, on the case's own grids
    styles : of the readers in slices and 3D, at most `MAX_READERS`
    cursor_mm : where readers differ most
    probabilities : of the models among those readers
    left_out : readers that are not in slices and 3D
    """

    case: Case
    readings: Readings
    styles: tuple[ReaderStyle, ...]
    cursor_mm: tuple[float, float, float]
    probabilities: Mapping[Reader, Volume]
    left_out: tuple[Reader, ...]


def everybody(
    cohort: Cohort, scores: Iterable[Scores], *, predictions: str | Path | None = None
) -> tuple[Reader, ...]:
    """Return the readers of the first case and of all scores, experts first.

    Raises
    ------
    CohortError, ImageFileError, GridError
        A file of the first case is missing, damaged, or on another grid.
    """
    first = read_readings(cohort, cohort.cases[0], predictions=predictions).readers
    scored = (reader for row in scores for reader in (row.reference, row.candidate))
    return experts_first((*first, *scored))


def read_shown(
    cohort: Cohort,
    case_id: str,
    styles: Sequence[ReaderStyle],
    *,
    predictions: str | Path | None = None,
) -> Shown:
    """Read all that is shown of a case; whatever can fail fails here.

    Raises
    ------
    CohortError, ImageFileError, GridError
        The case is unknown; a file is missing, damaged, or on another grid.
    """
    readings = read_readings(cohort, cohort[case_id], predictions=predictions)
    case = straighten(readings.outlined())
    here = {style.reader: style for style in styles if style.reader in case.masks}
    shown, left_out = shown_readers(here, MAX_READERS)
    return Shown(
        case=case,
        readings=readings,
        styles=tuple(here[reader] for reader in shown),
        cursor_mm=disputed_mm(case),
        probabilities={
            prediction.reader: onto_straight(prediction.probability, case.ct.grid)
            for prediction in readings.predictions
            if prediction.reader in shown
        },
        left_out=left_out,
    )


def notes(left_out: Sequence[Reader], thresholds: Mapping[str, float]) -> str:
    """Return who is not in slices and 3D, and who is at another threshold than in the table."""
    found = []
    if left_out:
        names = ", ".join(reader.name for reader in left_out)
        found.append(
            f"Slices and 3D show at most {MAX_READERS} readers; left out here: {names}. "
            "Their scores are in the table."
        )
    moved = [f"{name} from {t:.2f} on" for name, t in thresholds.items() if t != DEFAULT_THRESHOLD]
    if moved:
        found.append(
            f"Slices and 3D show {', '.join(moved)}; scores stay at {DEFAULT_THRESHOLD:.2f}."
        )
    return "".join(
        f'<div style="font-size:12px;opacity:.75">{html.escape(note)}</div>' for note in found
    )
