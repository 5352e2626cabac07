"""All 2D fits, with folds dealt by slice and by patient, and what they outline held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.crossval import deal_folds
from boneviz.errors import CohortError
from boneviz.folds import Folds
from boneviz.inflation import COLUMNS, Inflation
from boneviz.scorecohort import score_cohort
from boneviz.slicefit import Row, SliceFit, fit_slices
from boneviz.slices import (
    FoldKind,
    SliceConfig,
    digest_of,
    folds_by_patient,
    folds_by_slice,
    read_slices,
)

__all__ = ["measure_inflation"]

N_FOLDS = 4  # where none are saved


def measure_inflation(
    cohort: Cohort,
    config: SliceConfig | None = None,
    *,
    n_folds: int | None = None,
    progress: bool = True,
) -> Inflation:
    """Fit one 2D network per expert, fold and kind of folds, and count what it outlines held out.

    What is finished is kept under ``inflation/`` of the cohort and never done twice; stopped at any
    moment, it goes on from there the next time.

    Parameters
    ----------
    cohort : at least two patients, each with a mask of every expert
    config : of all fits; its seed also deals the folds where none are saved
    n_folds : of either kind, by default those of the cohort's saved folds, or 4
    progress : show bars

    Returns
    -------
    Inflation
        With the Dice per patient of the cohort's own 3D models, where they have predicted.

    Raises
    ------
    CohortError
        Fewer than two patients, no expert, or other folds are saved than asked for.
    TrainingError
        An expert outlined nothing in what a fit would see, or a loss that is not a number.
    LeakageError
        A 3D model has predicted a patient that it had learned from.
    CheckpointError
        ``inflation/`` holds fits with other settings, folds or data.
    """
    config = config or SliceConfig()
    if len(cohort.patients) < 2:
        raise CohortError(
            f"cohort {cohort.name} has {len(cohort.patients)} patient: expected at least two, as "
            "each is predicted by models of the others; give a folder with more patients"
        )
    if not cohort.experts:
        raise CohortError(f"cohort {cohort.name} has no expert: nobody's outlines to learn")
    folds = _folds(cohort, n_folds, config.seed)
    models = _models(cohort, progress=progress)  # refuses predictions that are not held out
    cases = read_slices(cohort, config, progress=progress)
    dealt: dict[FoldKind, Sequence[NDArray[np.int64]]] = {
        "slice": folds_by_slice(cases, n_folds=folds.n_folds, seed=folds.seed),
        "patient": folds_by_patient(cases, folds),
    }
    data = {
        "folds": f"{folds.n_folds} by seed {folds.seed}",
        "folds by patient": dict(folds.of_patient),
        "data": digest_of(cases),
    }
    fits = [
        SliceFit(
            expert=expert.name,
            kind=kind,
            fold=fold,
            cases=cases,
            dealt=dealt[kind],
            config=config,
            data=data,
            weights=cohort.root / "inflation" / f"{expert.key}_by_{kind}_fold{fold}.safetensors",
        )
        for kind in dealt
        for expert in cohort.experts
        for fold in range(folds.n_folds)
    ]
    for fit in fits:
        fit.require_lesion()  # before hours of fitting
    rows: list[Row] = []
    for fit in tqdm(fits, desc="2D fits", unit="fit", disable=not progress):
        rows += fit_slices(fit, progress=progress)
    return Inflation(
        counts=pd.DataFrame(rows, columns=list(COLUMNS)),
        n_folds=folds.n_folds,
        steps=config.steps,
        spacing_mm=config.spacing_mm,
        models=models,
        synthetic=cohort.synthetic,
    )


def _folds(cohort: Cohort, n_folds: int | None, seed: int) -> Folds:
    """Return the cohort's saved folds, or deal them; refuse what is not asked for."""
    path = cohort.root / "folds.json"
    saved = Folds.load(path) if path.is_file() else cohort.folds
    if saved is not None:
        return deal_folds(cohort, n_folds=n_folds or saved.n_folds, seed=saved.seed)
    return deal_folds(cohort, n_folds=n_folds or N_FOLDS, seed=seed)


def _models(cohort: Cohort, *, progress: bool) -> dict[str, pd.Series[float]]:
    """Return Dice per patient of each expert's own 3D model, by the usual scoring; may be none."""
    if not any((cohort.root / "predictions").glob("*/*.json")):
        return {}
    evaluation = cross_evaluate(score_cohort(cohort, progress=progress))
    return {
        model.learned_from: evaluation.values[model.learned_from, model.name]
        for model in evaluation.models
        if model.learned_from and (model.learned_from, model.name) in evaluation.values
        if not model.variant
    }
