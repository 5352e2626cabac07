"""boneviz: where two experts and their two models disagree about bone infection, and why.

Importing it loads neither torch nor widgets; `explore` does when it is called.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from boneviz.case import Case, CaseRef, Prediction, Reader
from boneviz.cohort import Cohort
from boneviz.errors import BonevizError
from boneviz.folds import Folds
from boneviz.samples import samples_folder
from boneviz.version import __version__
from boneviz.volume import Grid, Volume

if TYPE_CHECKING:
    from boneviz.show.explorer import Explorer

__all__ = [
    "BonevizError",
    "Case",
    "CaseRef",
    "Cohort",
    "Folds",
    "Grid",
    "Prediction",
    "Reader",
    "Volume",
    "__version__",
    "explore",
]


def explore(
    cohort: Cohort | str | Path | None = None,
    *,
    predictions: str | Path | None = None,
    state: str | None = None,
) -> Explorer:
    """Open the explorer on a cohort, in a Jupyter notebook.

    Parameters
    ----------
    cohort : a cohort, a cohort's folder, or a folder with one patient's CT, PET and masks; by
        default the folder that `boneviz explore` was given, else the sample cohort
    predictions : folder of the models' predictions, by default ``predictions/`` of the cohort
    state : a view to open, as ``explorer.link()`` gives it

    Returns
    -------
    Explorer
        Shows itself as the last value of a cell.

    Raises
    ------
    CohortError
        The folder holds no cohort and no patient.
    InputError
        `state` is no link of the explorer, or not one to this cohort.
    """
    from boneviz.show.explorer import Explorer

    if cohort is None:
        cohort = Cohort.open(os.environ.get("BONEVIZ_COHORT") or samples_folder())
        predictions = predictions or os.environ.get("BONEVIZ_PREDICTIONS")
    opened = cohort if isinstance(cohort, Cohort) else Cohort.open(cohort)
    return Explorer(opened, predictions=predictions, state=state)
