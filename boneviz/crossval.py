"""The plan of all fits, run here or on a cluster; what is finished is never done twice.

Each expert's model is trained on all folds but one and predicts the patients of that one, so that
every prediction kept is of a patient the model never saw.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import joblib
from tqdm.auto import tqdm

from boneviz.case import CaseRef, Reader
from boneviz.checkpoint import Checkpoint, card_of
from boneviz.cluster import in_processes, on_cluster
from boneviz.cohort import Cohort
from boneviz.duplicates import refuse_duplicates
from boneviz.errors import CohortError, InputError, LeakageError
from boneviz.folds import Folds
from boneviz.fuse import Modality, require_suv
from boneviz.nifti import has_prediction, read_case, read_mask, write_prediction
from boneviz.patches import TrainConfig
from boneviz.paths import inside
from boneviz.petrecord import read_pet_record
from boneviz.predict import Predictors
from boneviz.train import fit, model_of, settings_of, weights_path

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "Plan",
    "deal_folds",
    "fit_and_predict",
    "held_out_cases",
    "plan",
    "predict_cohort",
    "run",
    "with_models",
]

_IDS_COINCIDE = (
    " (if it is another patient by the same id, give each cohort an id of its own in cohort.toml)"
)


@dataclass(frozen=True, slots=True)
class Plan:
    """Folds, and one fit per expert, modality, fold and seed.

    Parameters
    ----------
    folds : shared by all models
    fits : in the order in which they run
    """

    folds: Folds
    fits: tuple[TrainConfig, ...]


def deal_folds(cohort: Cohort, *, n_folds: int, seed: int) -> Folds:
    """Return the cohort's saved folds, those it came with, or folds dealt by lesion volume.

    The volume of a patient is the mean over experts and sessions, in mL. What is not saved yet is.

    Raises
    ------
    CohortError
        Saved folds have another number, or other patients, than asked for; or two patients share
        a CT or a PET.
    """
    refuse_duplicates(cohort)
    path = cohort.root / "folds.json"
    folds = Folds.load(path) if path.is_file() else cohort.folds
    if folds is not None:
        same_patients = set(folds.of_patient) == set(cohort.patients)
        if (folds.n_folds, folds.seed) != (n_folds, seed) or not same_patients:
            where = path if path.is_file() else cohort.name
            raise CohortError(
                f"{where}: {folds.n_folds} folds of {len(folds.of_patient)} patients by seed "
                f"{folds.seed}, expected {n_folds} of {len(cohort.patients)} by seed {seed}; "
                "models depend on the folds, so move folds.json, models/ and predictions/ away "
                "to start afresh"
            )
        if not path.is_file():
            folds.save(path)
        return folds
    volumes: dict[str, list[float]] = {patient: [] for patient in cohort.patients}
    for ref in cohort:
        volumes[ref.patient_id] += [read_mask(ref, reader).volume_ml for reader in ref.masks]
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
    modalities: Sequence[Modality] | None = None,
    seeds: Sequence[int] | None = None,
) -> Plan:
    """Return the fits of a cross-validation: every expert in every fold, and what is asked beside.

    Parameters
    ----------
    config : the settings of all fits; its expert and fold are replaced
    only_folds : run these folds alone; all by default
    seed : of the folds
    modalities : inputs to learn from, that of `config` by default; fits differ by it alone
    seeds : of the fits, that of `config` by default. Every further one repeats the fits of the
        first modality, as a control; its models say so in their names

    Raises
    ------
    CohortError
        No expert, a patient without an expert's mask, an expert without a lesion in the training
        patients of a fold, or what `deal_folds` refuses.
    InputError
        A patient's PET is in counts, and a modality looks at it.
    """
    if len(cohort.experts) < 1:
        raise CohortError(f"cohort {cohort.name} has no expert: nobody's outlines to learn")
    modalities = (config.fuse.modality,) if modalities is None else modalities
    seeds = (config.seed,) if seeds is None else seeds
    for what, chosen in (("modalities", modalities), ("seeds", seeds)):
        if not chosen or len(set(chosen)) < len(chosen):
            raise InputError(f"{what} {list(chosen)}: expected at least one, and each once")
    if any(modality != "ct" for modality in modalities):
        _require_suv(cohort)
    folds = deal_folds(cohort, n_folds=n_folds, seed=seed)
    only_folds = range(folds.n_folds) if only_folds is None else only_folds
    for fold in only_folds:
        folds.held_out(fold)  # refuses a fold that there is not, before hours of training
    _require_lesions(cohort, folds, only_folds)
    kinds = [
        replace(config, seed=seeds[0], fuse=replace(config.fuse, modality=modality))
        for modality in modalities
    ]
    kinds += [replace(kinds[0], seed=other, variant=f"seed {other}") for other in seeds[1:]]
    return Plan(
        folds,
        tuple(
            replace(kind, expert=expert.name, fold=fold)
            for kind in kinds
            for fold in only_folds
            for expert in cohort.experts
        ),
    )


def _require_suv(cases: Iterable[CaseRef]) -> None:
    """Raise now for what would stop a fit or its predictions in some hours: a PET in counts."""
    for ref in cases:
        require_suv(read_pet_record(ref.pet).unit, ref.case_id)


def _require_lesions(cohort: Cohort, folds: Folds, only_folds: Iterable[int]) -> None:
    """Raise now for what would stop a fit in some hours: nothing to learn, or no mask at all."""
    for expert in cohort.experts:
        with_lesion = set()
        for ref in cohort:
            if expert not in ref.masks:
                raise CohortError(
                    f"patient {ref.case_id}: no mask of {expert.name}; every patient needs one "
                    "mask per expert (an expert who saw no lesion gives an empty mask)"
                )
            if read_mask(ref, expert).array.any():
                with_lesion.add(ref.patient_id)
        for fold in only_folds:
            if not with_lesion & folds.training(fold):
                raise CohortError(
                    f"{expert.name} outlined no lesion in the {len(folds.training(fold))} training "
                    f"patients of fold {fold} (with lesion: {', '.join(sorted(with_lesion)) or 0}):"
                    " expected at least one; use fewer folds or more patients"
                )


def run(
    cohort: Cohort,
    todo: Plan,
    *,
    workers: int = 1,
    client: Client | str | None = None,
    progress: bool = True,
) -> Cohort:
    """Train every fit of the plan and predict its held-out patients.

    Stopped at any moment, it goes on from there the next time. Where it ran makes no difference but
    for the number of threads, by which sums of floating-point numbers differ in their last digits.

    Parameters
    ----------
    workers : processes on this machine, each with its share of the cores, a fit at a time
    client : a Dask cluster instead, or the address of its scheduler, such as ``tcp://HOST:8786``;
        its workers see the cohort's folder under the same path
    progress : show bars

    Returns
    -------
    Cohort
        With the models among its readers, as saved in ``cohort.toml``.

    Raises
    ------
    InputError
        `workers` is below 1 or given beside `client`; Dask is not installed or not there.
    CohortError
        A worker does not see the cohort's folder.
    TrainingError
        As `fit`; or processes were killed again and again.
    """
    if workers < 1 or (workers > 1 and client is not None):
        raise InputError(f"{workers} workers: expected 1 or more, and none beside a cluster")
    with _one_run(cohort.root):
        if client is None and workers == 1:
            for config in todo.fits:
                fit_and_predict(cohort, todo.folds, config, progress=progress)
        else:
            there = _absolute(cohort)
            tasks = {
                _name(there, todo.folds, config): partial(
                    fit_and_predict, there, todo.folds, config, progress=False
                )
                for config in todo.fits
            }
            done = (
                in_processes(tasks, workers=workers, threads=max(1, joblib.cpu_count() // workers))
                if client is None
                else on_cluster(tasks, client, shared=there.root / "folds.json")
            )
            with closing(done):  # after Ctrl-C too, or fits that nobody waits for would begin
                for _ in tqdm(
                    done, total=len(tasks), desc="fits", unit="fit", disable=not progress
                ):
                    pass
    for config in todo.fits:
        if not card_of(weights_path(cohort, config)).is_file():
            raise CohortError(
                f"{weights_path(cohort, config)} was made by a worker but is not here: workers "
                "have a copy of the folder; put it where they and this machine share it"
            )
    return with_models(cohort, [model_of(cohort, config) for config in todo.fits])


def fit_and_predict(
    cohort: Cohort, folds: Folds, config: TrainConfig, *, progress: bool = True
) -> None:
    """Train one model, and predict the patients whom it never saw."""
    checkpoint = fit(cohort, folds, config, progress=progress)
    held_out = folds.held_out(config.fold)
    cases = [ref for ref in cohort if ref.patient_id in held_out]
    predict_cohort(cohort, {checkpoint: cases}, progress=progress)


def _name(cohort: Cohort, folds: Folds, config: TrainConfig) -> str:
    """Name a fit so that no other has its name, in this cohort or in another."""
    settings = f"{cohort.root} {settings_of(config)} {sorted(folds.training(config.fold))}"
    digest = hashlib.sha256(settings.encode()).hexdigest()
    return f"{weights_path(cohort, config).stem}-{digest[:12]}"


def _absolute(cohort: Cohort) -> Cohort:
    """Return the cohort with paths that hold in whatever folder a process was started."""
    cases = [
        replace(
            ref,
            ct=ref.ct.absolute(),
            pet=ref.pet.absolute(),
            masks={reader: path.absolute() for reader, path in ref.masks.items()},
        )
        for ref in cohort
    ]
    return replace(cohort, root=cohort.root.absolute(), cases=tuple(cases))


@contextmanager
def _one_run(root: Path) -> Iterator[None]:
    """Clear away the half-written files of a run that was killed, unless another is under way.

    Every run shares a lock that the system takes back when its process ends, however it ends.
    """
    with (root / ".crossval.lock").open("a+") as lock:
        if _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
            for folder in (root, root / "models", *root.glob("predictions/*/")):
                for cut_off in folder.glob(".writing-*"):
                    cut_off.unlink(missing_ok=True)
        _locked(lock, fcntl.LOCK_SH)
        yield


def _locked(lock: IO[str], how: int) -> bool:
    """Whether the lock was to be had: not beside another run, nor where the disk has no locks."""
    try:
        fcntl.flock(lock, how)
    except OSError:
        return False
    return True


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
    spoken: Mapping[Checkpoint, Sequence[CaseRef]],
    *,
    folder: Path | None = None,
    progress: bool = True,
) -> Path:
    """Predict with models and keep the probabilities, each case read once; return their folder.

    Parameters
    ----------
    cohort : where predictions are kept, under ``predictions/MODEL``, unless `folder` says else
    spoken : which model speaks for which cases, from `held_out_cases`; a case that this very
        model has predicted before is left as it is
    folder : one folder per model is made in it

    Raises
    ------
    InputError
        A PET is in counts, and a model looks at it; nothing is predicted then.
    """
    folder = folder or inside(cohort.root, "predictions", what=f"cohort {cohort.name}")
    todo: dict[str, tuple[CaseRef, list[Checkpoint]]] = {}
    for model, refs in spoken.items():
        for ref in refs:
            own = folder / model.reader.key
            if not has_prediction(own, ref, checkpoint_id=model.checkpoint_id):
                todo.setdefault(ref.case_id, (ref, []))[1].append(model)
    _require_suv(
        ref for ref, models in todo.values() if any(m.fuse.modality != "ct" for m in models)
    )
    ready: dict[tuple[Checkpoint, ...], Predictors] = {}
    for ref, models in tqdm(todo.values(), desc="cases predicted", disable=not progress):
        speaking = tuple(models)
        if speaking not in ready:
            ready[speaking] = Predictors(speaking)
        case = read_case(ref, readers=[])
        for prediction in ready[speaking](case, cohort_id=cohort.id):
            write_prediction(prediction, folder / prediction.reader.key)
    return folder
