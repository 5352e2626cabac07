"""What an import found and would do: a row for each series, and the sessions to be written."""

from __future__ import annotations

from dataclasses import dataclass

from boneviz.dicomfiles import Series
from boneviz.suv import SuvDerivation
from boneviz.volume import Grid

__all__ = ["LABELS", "Plan", "Row", "Session"]

#: modalities of objects that hold outlines
LABELS = ("RTSTRUCT", "SEG")


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One series as the user is shown it; nothing of it but `series` holds identity.

    Parameters
    ----------
    number : by which the user chooses it, from 1
    place : the same among those of its study
    study_id : empty where the patient has none
    session : such as S1, empty for a study without PET
    days : since the patient's first session, None where dates do not tell
    grid : None where its slices make no volume
    chosen : whether it is a session's CT or PET
    why : of the choice, in words
    """

    number: int
    series: Series
    study_id: str
    session: str = ""
    place: int = 0
    days: int | None = None
    grid: Grid | None = None
    chosen: bool = False
    why: str = ""

    @property
    def case_id(self) -> str:
        """Study id and session."""
        return f"{self.study_id}_{self.session}"


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """One session of one patient, to be imported.

    Parameters
    ----------
    ct, pet : the chosen series
    ct_grid, pet_grid : of CT and PET
    suv : how SUVbw follow, None where the PET is taken as counts
    without_suv : why there are none, empty where there are
    """

    study_id: str
    name: str
    days: int | None
    ct: Series
    pet: Series
    ct_grid: Grid
    pet_grid: Grid
    suv: SuvDerivation | None
    without_suv: str = ""

    @property
    def case_id(self) -> str:
        """Study id and session."""
        return f"{self.study_id}_{self.name}"


@dataclass(frozen=True, slots=True, repr=False)
class Plan:
    """What an import would do.

    Parameters
    ----------
    rows : all series
    sessions : those that can be imported
    refused : study id and session, or the row's number where there is none -> why
    """

    rows: tuple[Row, ...]
    sessions: tuple[Session, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def labels(self) -> tuple[Row, ...]:
        """SEG and RTSTRUCT among the series."""
        return tuple(row for row in self.rows if row.series.modality in LABELS)
