"""Pretended learners: sessions made by a rule, so that a group's table has something to show.

A pretended learner finds every lesion, knowing where the experts drew, and fills it from an SUV
on. That says how a table reads and nothing about people.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from boneviz.case import Case
from boneviz.cohort import Cohort
from boneviz.content import uptake_at
from boneviz.drawing import Drawing
from boneviz.errors import InputError
from boneviz.harmonise import straighten
from boneviz.learnerfile import LearnerFile
from boneviz.metrics import Voxels, find_lesions
from boneviz.nifti import read_case
from boneviz.petrecord import NO_SUV
from boneviz.teaching import start_session

__all__ = ["filled_lesions", "pretend_session"]

WITHIN_MM = 40.0


def filled_lesions(case: Case, *, suv: float) -> Drawing:
    """Fill every lesion that anybody outlined, from its hottest voxel, where that is hot enough.

    Parameters
    ----------
    case : with masks on the CT's grid
    suv : SUVbw from which a voxel is filled; a lesion that nowhere reaches it is missed

    Raises
    ------
    InputError
        The PET is in counts.
    """
    if not case.has_suv:
        raise InputError(
            f"patient {case.case_id}: {NO_SUV}, and a pretended learner fills by SUV; "
            "leave the patient out"
        )
    anybody = np.zeros(case.ct.grid.shape, dtype=bool)
    for mask in case.masks.values():
        anybody |= mask.array
    voxels = Voxels.of(anybody)
    uptake = uptake_at(case, voxels).suv
    drawing = Drawing.blank(case.ct.grid)
    for rows in find_lesions(voxels).rows():
        hottest = rows[int(np.argmax(np.nan_to_num(uptake[rows])))]
        if uptake[hottest] >= suv:
            seed_mm = case.ct.grid.to_mm(voxels.index[hottest]).tolist()
            drawing = drawing.fill_above(suv, seed_mm=seed_mm, within_mm=WITHIN_MM, pet=case.pet)
    return drawing


def pretend_session(
    cohort: Cohort,
    *,
    learner: str,
    folder: str | Path,
    suv: float,
    seed: int = 0,
    case_ids: Iterable[str] | None = None,
) -> LearnerFile:
    """Go through a session as a pretended learner does, and return it; go on where it stopped.

    Parameters
    ----------
    suv : SUVbw from which this learner fills
    learner, folder, seed, case_ids : as for `boneviz.teach`

    Raises
    ------
    InputError, LedgerError, CohortError, ImageFileError, GridError
        As `boneviz.teach`.
    """
    begun = start_session(cohort, learner, seed=seed, case_ids=case_ids)
    file = LearnerFile.resume(folder, begun, utc=datetime.now(UTC))
    while (case_id := file.session.current) is not None:
        case = straighten(read_case(cohort[case_id]))
        file, _ = file.commit(case, filled_lesions(case, suv=suv), utc=datetime.now(UTC))
    return file
