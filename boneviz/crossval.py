"""The plan of all fits, run one after another; what is finished is never done twice.

Each expert's model is trained on all folds but one and predicts the patients of that one, so that
every prediction kept is of a patient the model never saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm.auto import tqdm

from boneviz.case import CaseRef, Reader
from boneviz.checkpoint import Checkpoint
from boneviz.cohort import Cohort
from boneviz.errors import CohortError, LeakageError
from boneviz.folds import Folds
from boneviz.nifti import has_prediction, read_case, read_volume, write_prediction
from boneviz.patches import TrainConfig
from boneviz.predict import Predictor
from boneviz.train import fit, model_of

__all__ = ["Plan", "deal_folds", "held_out_cases", "plan", "predict_cohort", "run", "with_models"]


_IDS_COINCIDE = (
    " (if it is another patient by the same id, give each cohort an id of its own in cohort.toml)"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Folds, and one fit per expert and fold.

    Parameters
    ----------
    folds : shared by all models
    fits : in the order in which they run
    """

    folds: Folds
    fits: tuple[TrainConfig, ...]


def deal_folds(cohort: Cohort, *, n_folds: int, seed: int) -> Folds:
    """Return the cohort's saved folds, or deal and save them, stratified by lesion volume.

    The volume of a patient is the mean over experts and sessions, in mL.

    Raises
    ------
    CohortError
        Saved folds have another number, or other patients, than asked for.
    """
    path = cohort.root / "folds.json"
    if path.is_file():
        folds = Folds.load(path)
        same_patients = set(folds.of_patient) == set(cohort.patients)
        if (folds.n_folds, folds.seed) != (n_folds, seed) or not same_patients:
            raise CohortError(
                f"{path}: {folds.n_folds} folds of {len(folds.of_patient)} patients by seed "
                f"{folds.seed}, expected {n_folds} of {len(cohort.patients)} by seed {seed}; "
                "models depend on the folds, so move folds.json, models/ and predictions/ away "
                "to start afresh"
            )
        return folds
    volumes: dict[str, list[float]] = {patient: [] for patient in cohort.patients}
    for ref in cohort:
        volumes[ref.patient_id] += [read_volume(p, "label").volume_ml for p in ref.masks.values()]
    size = {patient: sum(ml) / max(1, len(ml)) for patient, ml in volumes.items()}
    folds = Folds.deal(size, n_folds=n_folds, seed=seed)
    folds.save(path)
    return folds


def plan(
    cohort: Cohort,
    config: TrainConfig,
    *,
    n_folds: int = 4,
    only_folds: Sequence[int] | None = None,
    seed: int = 0,
) -> Plan:
    """Return the fits of a cross-validation: every expert, every fold.

    Parameters
    ----------
    config : the settings of all fits; its expert and fold are replaced
    only_folds : run these folds alone; all by default
    seed : of the folds
    """
    if len(cohort.experts) < 1:
        raise CohortError(f"cohort {cohort.name} has no expert: nobody's outlines to learn")
    folds = deal_folds(cohort, n_folds=n_folds, seed=seed)
    chosen = range(folds.n_folds) if only_folds is None else only_folds
    for fold in chosen:
        folds.held_out(fold)  # refuses a fold that there is not, before hours of training
    return Plan(
        folds,
        tuple(
            replace(config, expert=expert.name, fold=fold)
            for fold in chosen
            for expert in cohort.experts
        ),
    )


def run(cohort: Cohort, todo: Plan, *, progress: bool = True) -> Cohort:
    """Train every fit of the plan and predict its held-out patients.

    Returns
    -------
    Cohort
        With the models among its readers, as saved in ``cohort.toml``.
    """
    for config in todo.fits:
        checkpoint = fit(cohort, todo.folds, config, progress=progress)
        held_out = todo.folds.held_out(config.fold)
        cases = [ref for ref in cohort if ref.patient_id in held_out]
        predict_cohort(cohort, checkpoint, cases, progress=progress)
    return with_models(cohort, [model_of(cohort, config) for config in todo.fits])


def with_models(cohort: Cohort, models: Iterable[Reader]) -> Cohort:
    """Return the cohort with these models among its readers, saved so where it has a file."""
    new = [model for model in dict.fromkeys(models) if model not in cohort.readers]
    if not new:
        return cohort
    grown = replace(cohort, readers=(*cohort.readers, *new))
    if (cohort.root / "cohort.toml").is_file():
        grown.save()
    return grown


def held_out_cases(models: Sequence[Checkpoint], cohort: Cohort) -> dict[Checkpoint, list[CaseRef]]:
    """Say which model speaks for which case: of each reader the first that never saw the patient.

    In a cross-validation that is the model of the patient's own fold; a patient who is new to all
    folds is read by the lowest fold.

    Raises
    ------
    LeakageError
        Every model of a reader learned from a patient.
    """
    spoken: dict[Checkpoint, list[CaseRef]] = {model: [] for model in models}
    for reader in dict.fromkeys(model.reader for model in models):
        own = sorted((m for m in models if m.reader == reader), key=lambda m: m.fold)
        for ref in cohort:
            new = (m for m in own if ref.patient_id not in m.seen_in(cohort.id))
            fit = next(new, None)
            if fit is None:
                raise LeakageError(
                    f"patient {ref.patient_id}: every model given for {reader.name} learned from "
                    "this patient; give the model of the fold that held the patient out"
                    + _IDS_COINCIDE
                    * (not cohort.id)
                )
            spoken[fit].append(ref)
    return {model: refs for model, refs in spoken.items() if refs}


def predict_cohort(
    cohort: Cohort,
    checkpoint: Checkpoint,
    cases: Sequence[CaseRef],
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> Path:
    """Predict cases with one model and keep the probabilities; return their folder.

    Parameters
    ----------
    cohort : where predictions are kept, under ``predictions/MODEL``, unless `folder` says else
    checkpoint : the model
    cases : cases that this very model has predicted before are left as they are
    """
    folder = folder or cohort.root / "predictions" / checkpoint.reader.key
    todo = [
        ref
        for ref in cases
        if not has_prediction(folder, ref, checkpoint_id=checkpoint.checkpoint_id)
    ]
    if todo:
        predictor = Predictor(checkpoint)
        bar = tqdm(todo, desc=f"{checkpoint.reader.name} predicts", disable=not progress)
        for ref in bar:
            case = read_case(ref, readers=[])
            write_prediction(predictor(case, cohort_id=cohort.id), folder)
    return folder
