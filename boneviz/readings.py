"""A case with all its readings, experts' and models', from disk: to be scored, or to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from boneviz.case import DEFAULT_THRESHOLD, Case, CaseRef, Prediction, Reader
from boneviz.cohort import Cohort
from boneviz.nifti import read_case, read_predictions
from boneviz.score import ScoreSettings, score_case
from boneviz.scorerow import Scores

__all__ = ["Readings", "read_readings"]


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """One case and what every reader says of it.

    Parameters
    ----------
    case : as on disk, with the experts' masks
    predictions : of the models, on the CT's grid
    """

    case: Case
    predictions: tuple[Prediction, ...]

    @property
    def readers(self) -> tuple[Reader, ...]:
        """Experts, then models."""
        return (*self.case.masks, *(prediction.reader for prediction in self.predictions))

    @property
    def models_learned_from_phantoms(self) -> bool:
        """Whether any of the models is for demonstration only."""
        return any(prediction.demonstration for prediction in self.predictions)

    def outlined(self, *, threshold: float = DEFAULT_THRESHOLD) -> Case:
        """Return the case, still on its own grids, with the models' outlines among its masks."""
        return self.case.with_masks({p.reader: p.mask(threshold) for p in self.predictions})

    def scores(self, settings: ScoreSettings | None = None) -> tuple[Scores, ...]:
        """Return the scores of every pair of readers; none where there are fewer than two."""
        if len(self.readers) < 2:
            return ()
        settings = settings or ScoreSettings()
        return score_case(
            self.case,
            self.predictions,
            threshold=settings.threshold,
            tolerance_mm=settings.tolerance_mm,
            mesh=settings.surface == "mesh",
        )


def read_readings(
    cohort: Cohort, ref: CaseRef, *, predictions: str | Path | None = None
) -> Readings:
    """Read a case, its experts' masks and its models' predictions.

    Parameters
    ----------
    predictions : folder with a folder per model, by default ``predictions/`` of the cohort
    """
    return Readings(read_case(ref), read_predictions(cohort, ref, folder=predictions))
