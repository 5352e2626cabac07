"""2D fits with folds by slice and by patient, and the outlines of every slice that was held out."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from tqdm.auto import tqdm

from boneviz.checkpoint import card_of, load_tensors
from boneviz.cohort import Cohort
from boneviz.compare import cross_evaluate
from boneviz.crossval import deal_folds
from boneviz.errors import CheckpointError, CohortError, TrainingError
from boneviz.files import write_whole
from boneviz.folds import Folds
from boneviz.inflation import COLUMNS, Inflation, count_slices
from boneviz.predict import device_at_hand
from boneviz.scorecohort import score_cohort
from boneviz.slices import (
    FoldKind,
    SliceCase,
    SliceConfig,
    batch_of_slices,
    digest_of,
    folds_by_patient,
    folds_by_slice,
    read_slices,
    training_slices,
)
from boneviz.version import __version__

__all__ = ["measure_inflation"]

FORMAT = 1
N_FOLDS = 4  # where none are saved
LONG = ("folds by patient", "data")  # settings that are not spelled out
SLICES_AT_ONCE = 16  # that are predicted together

# of the counts, in the order of their columns
Row = tuple[str, str, str, str, int, int, int, int, int]


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
    config : of all fits; its seed also deals the folds
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
    cases = read_slices(cohort, config, progress=progress)
    dealt: dict[FoldKind, Sequence[NDArray[np.int64]]] = {
        "slice": folds_by_slice(cases, n_folds=folds.n_folds, seed=folds.seed),
        "patient": folds_by_patient(cases, folds),
    }
    folder, digest = cohort.root / "inflation", digest_of(cases)
    fits = [
        _Fit(expert.name, kind, fold, folder / f"{expert.key}_by_{kind}_fold{fold}.safetensors")
        for kind in dealt
        for expert in cohort.experts
        for fold in range(folds.n_folds)
    ]
    for fit in fits:  # before hours of fitting
        _require_lesion(cases, dealt[fit.kind], fit)
    settings = {
        **json.loads(json.dumps(asdict(config))),
        "folds": f"{folds.n_folds} by seed {folds.seed}",
        "folds by patient": dict(folds.of_patient),
        "data": digest,
    }
    rows: list[Row] = []
    for fit in tqdm(fits, desc="2D fits", unit="fit", disable=not progress):
        rows += _finished(fit, settings) or _run(
            cases, dealt[fit.kind], fit, settings, config, progress=progress
        )
    return Inflation(
        counts=pd.DataFrame(rows, columns=list(COLUMNS)),
        n_folds=folds.n_folds,
        steps=config.steps,
        spacing_mm=config.spacing_mm,
        models=_models(cohort, progress=progress),
        synthetic=cohort.synthetic,
    )


@dataclass(frozen=True, slots=True)
class _Fit:
    """One of the fits, and where its weights are kept."""

    expert: str
    kind: FoldKind
    fold: int
    weights: Path

    @property
    def state(self) -> Path:
        """Where an unfinished fit goes on from."""
        return self.weights.with_name(self.weights.stem + ".state.safetensors")


def _folds(cohort: Cohort, n_folds: int | None, seed: int) -> Folds:
    """Return the cohort's saved folds, or deal them; refuse what is not asked for."""
    path = cohort.root / "folds.json"
    if path.is_file():
        saved = Folds.load(path)
        return deal_folds(cohort, n_folds=n_folds or saved.n_folds, seed=saved.seed)
    return deal_folds(cohort, n_folds=n_folds or N_FOLDS, seed=seed)


def _require_lesion(
    cases: Sequence[SliceCase], dealt: Sequence[NDArray[np.int64]], fit: _Fit
) -> None:
    slices, with_lesion = training_slices(cases, dealt, fit.fold, fit.expert)
    if not with_lesion.any():
        raise TrainingError(
            f"{fit.expert} outlined no lesion in the {len(slices)} slices that the fit of fold "
            f"{fit.fold} by {fit.kind} would see: expected at least one; use fewer folds or more "
            "patients"
        )


def _finished(fit: _Fit, settings: dict[str, Any]) -> list[Row]:
    """Return the counts of a fit that came to its end, none where there is no such fit."""
    path = card_of(fit.weights)
    if not path.is_file():
        return []
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        found = card["settings"]
        rows = [
            (fit.expert, fit.kind, str(patient), str(session), int(z), fit.fold, *map(int, counts))
            for patient, session, z, *counts in card["held_out"]
        ]
        pd.DataFrame(rows, columns=list(COLUMNS))  # as many numbers as there are columns
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: not the card of a 2D fit ({error}); delete it to fit again"
        ) from error
    _require_same(fit.weights, found, settings, "a finished fit")
    fit.state.unlink(missing_ok=True)  # of a fit that was killed as it ended
    return rows


def _require_same(path: Path, found: dict[str, Any], settings: dict[str, Any], what: str) -> None:
    for name, value in settings.items():
        if found.get(name) != value and name != "save_every":
            said = "" if name in LONG else f" {found.get(name)}, expected {value}"
            raise CheckpointError(
                f"{path}: {what} with other {name}{said}; move {path.parent.name}/ away to start "
                "afresh"
            )


def _run(
    cases: Sequence[SliceCase],
    dealt: Sequence[NDArray[np.int64]],
    fit: _Fit,
    settings: dict[str, Any],
    config: SliceConfig,
    *,
    progress: bool,
) -> list[Row]:
    """Fit a network, outline what was held out, keep weights and counts; the card comes last."""
    network = _learn(cases, dealt, fit, settings, config, progress=progress)
    counted = []
    for case, of_slice in zip(cases, dealt, strict=True):
        held_out = np.flatnonzero(of_slice == fit.fold)
        outline = _outline(network, case.image[..., held_out], config)
        counts = count_slices(case.lesions[fit.expert][..., held_out], outline)
        counted += [
            [case.patient_id, case.session, int(z), *row]
            for z, row in zip(held_out, counts.tolist(), strict=True)
        ]
    packed = {
        name: t.detach().cpu().half().contiguous() if t.is_floating_point() else t.cpu()
        for name, t in sorted(network.state_dict().items())
    }
    write_whole(fit.weights, save(packed))
    card = {
        "format": FORMAT,
        "expert": fit.expert,
        "folds": fit.kind,
        "fold": fit.fold,
        "settings": settings,
        "boneviz": __version__,
        "torch": torch.__version__,
        "held_out": counted,
    }
    write_whole(card_of(fit.weights), json.dumps(card).encode())
    return _finished(fit, settings)


def _learn(
    cases: Sequence[SliceCase],
    dealt: Sequence[NDArray[np.int64]],
    fit: _Fit,
    settings: dict[str, Any],
    config: SliceConfig,
    *,
    progress: bool,
) -> torch.nn.Module:
    device = device_at_hand()
    torch.manual_seed(config.seed)
    network = _network(config).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-4)
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    training = training_slices(cases, dealt, fit.fold, fit.expert)
    start = _resume(fit, settings, network, optimiser)
    for step in tqdm(
        range(start, config.steps),
        initial=start,
        total=config.steps,
        desc=f"{fit.expert}, fold {fit.fold} by {fit.kind}",
        disable=not progress,
        leave=False,
        mininterval=1,
    ):
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, config)
        images, lesions = batch_of_slices(cases, training, fit.expert, config, step=step)
        logits = network(torch.from_numpy(images).to(device))  # N,1,X,Y
        loss = loss_of(logits, torch.from_numpy(lesions).to(device))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        slope = float(torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0))
        if not math.isfinite(float(loss.detach()) + slope):
            raise TrainingError(
                f"{fit.weights.stem}: loss {float(loss.detach())}, gradient {slope} at step "
                f"{step}, expected numbers; look for damaged images, or use a rate below "
                f"{config.rate}"
            )
        optimiser.step()
        if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
            _save_state(fit, settings, step + 1, network, optimiser)
    return network.eval()


def _network(config: SliceConfig) -> torch.nn.Module:
    """Return a network from (N, 2, X, Y) in [0, 1] to (N, 1, X, Y) logits.

    Batch norm, as a fit sees windows and a prediction whole slices. Without residual units, as
    with them MONAI's UNet norms its one output channel, which then has no level of its own.
    """
    network: torch.nn.Module = UNet(
        spatial_dims=2,
        in_channels=2,
        out_channels=1,
        channels=config.filters,
        strides=(2,) * (len(config.filters) - 1),
        num_res_units=0,
        norm="BATCH",
    )
    return network


def _rate(step: int, config: SliceConfig) -> float:
    """One cycle: a linear rise over the first twentieth, then a cosine to zero."""
    rise = max(1, config.steps // 20)
    if step < rise:
        return config.rate * (step + 1) / rise
    done = (step - rise) / max(1, config.steps - rise)
    return config.rate * 0.5 * (1 + math.cos(math.pi * done))


def _outline(
    network: torch.nn.Module, image: NDArray[np.float16], config: SliceConfig
) -> NDArray[np.bool_]:
    """Return where the probability is at least a half in slices (2, X, Y, n): (X, Y, n) bool."""
    _, x, y, n = image.shape
    outline = np.zeros((x, y, n), dtype=bool)
    device = next(network.parameters()).device
    with torch.inference_mode():
        for start in range(0, n, SLICES_AT_ONCE):
            some = np.moveaxis(image[..., start : start + SLICES_AT_ONCE], -1, 0)
            slices = torch.from_numpy(some.astype(np.float32)).to(device)  # N,2,X,Y
            # sides become multiples of what the network halves, with air
            slices = torch.nn.functional.pad(
                slices, (0, -y % config.divisor, 0, -x % config.divisor)
            )
            drawn = (network(slices)[:, 0, :x, :y] >= 0).cpu().numpy()  # N,X,Y
            outline[..., start : start + SLICES_AT_ONCE] = np.moveaxis(drawn, 0, -1)
    return outline


def _save_state(
    fit: _Fit,
    settings: dict[str, Any],
    step: int,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write all that the next step depends on; the windows need only the step's number."""
    tensors = {f"weights/{name}": t for name, t in network.state_dict().items()}
    for place, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{place}/{name}": t for name, t in moments.items()}
    packed = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    about = {"step": str(step), "settings": json.dumps(settings)}
    write_whole(fit.state, save(packed, metadata=about))


def _resume(
    fit: _Fit,
    settings: dict[str, Any],
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
) -> int:
    """Take up a saved state where it is of this very fit; return the next step."""
    if not fit.state.is_file():
        return 0
    tensors = load_tensors(fit.state)
    with safe_open(fit.state, framework="pt") as header:
        about = header.metadata() or {}
    _require_same(fit.state, json.loads(about["settings"]), settings, "an unfinished fit")
    weights: dict[str, torch.Tensor] = {}
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        if group == "weights":
            weights[rest] = tensor
        else:
            place, _, what = rest.partition("/")
            moments.setdefault(int(place), {})[what] = tensor
    network.load_state_dict(weights)
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return int(about["step"])


def _models(cohort: Cohort, *, progress: bool) -> dict[str, pd.Series[float]]:
    """Return Dice per patient of each expert's own 3D model, by the usual scoring; may be none."""
    own = {model.learned_from: model.name for model in cohort.models if not model.variant}
    if not any((cohort.root / "predictions").glob("*/*.json")):
        return {}
    dice = cross_evaluate(score_cohort(cohort, progress=progress)).values
    return {
        expert.name: dice[expert.name, own[expert.name]]
        for expert in cohort.experts
        if expert.name in own and (expert.name, own[expert.name]) in dice
    }
