"""Fit one model: one expert, one fold, one modality. Interrupted, it goes on where it stopped."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from monai.losses import DiceCELoss
from safetensors import safe_open
from safetensors.torch import save
from tqdm.auto import tqdm

from boneviz.case import Reader
from boneviz.checkpoint import Checkpoint, card_of, load_checkpoint, load_tensors, save_checkpoint
from boneviz.cohort import Cohort
from boneviz.errors import CheckpointError, CohortError, TrainingError
from boneviz.files import write_whole
from boneviz.folds import Folds
from boneviz.network import build_network
from boneviz.patches import TrainConfig, batch_of, read_samples
from boneviz.predict import device_at_hand

__all__ = ["fit", "model_of", "settings_of", "weights_path"]


def model_of(cohort: Cohort, config: TrainConfig) -> Reader:
    """Return the reader that a fit makes: named after its expert, with the expert's intent."""
    expert = cohort.reader(config.expert)
    if expert.kind != "expert":
        raise CohortError(
            f"{expert.name} is a model: a model learns from one of the experts, "
            f"{', '.join(e.name for e in cohort.experts)}"
        )
    name = expert.name.replace("Expert", "Model")
    name = name if name != expert.name else f"Model of {expert.name}"
    modality = "" if config.fuse.modality == "fused" else f"{config.fuse.modality.upper()} only"
    variant = ", ".join(part for part in (modality, config.variant) if part)
    if variant:
        name = f"{name} ({variant})"
    named = [reader for reader in cohort.models if reader.name == name]
    new = Reader(name, "model", expert.intent, learned_from=expert.name, variant=variant)
    return named[0] if named else new


def weights_path(cohort: Cohort, config: TrainConfig) -> Path:
    """Return where the finished weights of a fit are kept."""
    return cohort.root / "models" / f"{model_of(cohort, config).key}_fold{config.fold}.safetensors"


def fit(cohort: Cohort, folds: Folds, config: TrainConfig, *, progress: bool = True) -> Checkpoint:
    """Train one model, or return it where it is already there.

    Parameters
    ----------
    cohort : patients with a mask of `config.expert`
    folds : the patients of fold `config.fold` are never read
    config : the fit
    progress : show a bar with loss and time left

    Returns
    -------
    Checkpoint
        Exponential moving average of the weights, under ``models/`` of the cohort.

    Raises
    ------
    TrainingError
        Patients that the folds do not know, no lesion in the training patients, or a loss or
        gradient that is not a number.
    CohortError
        The cohort has no such expert.
    CheckpointError
        ``models/`` holds a model of this name that was trained with other settings.
    """
    path = weights_path(cohort, config)
    trained_on = folds.training(config.fold)
    unknown = sorted(set(cohort.patients) - set(folds.of_patient))
    if unknown:
        raise TrainingError(
            f"patients {', '.join(unknown)} are in no fold: deal the folds again for this cohort"
        )
    state = path.with_name(path.stem + ".state.safetensors")
    if card_of(path).is_file():
        there = _finished(path, config, trained_on)
        state.unlink(missing_ok=True)  # of a fit that was killed as it ended
        return there
    refs = [ref for ref in cohort if ref.patient_id in trained_on]
    samples = read_samples(refs, cohort.reader(config.expert), config, progress=progress)

    device = device_at_hand()
    torch.manual_seed(config.seed)
    network = build_network(config.net).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-4)
    average = {name: t.detach().clone() for name, t in network.state_dict().items()}
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    log = _Log(path.with_name(path.stem + ".log.json"))
    settings = f"{settings_of(config)} {sorted(trained_on)}"
    start = _resume(state, settings, network, optimiser, average)

    bar = tqdm(
        range(start, config.steps),
        initial=start,
        total=config.steps,
        desc=f"{path.stem} {config.fuse.modality}",
        disable=not progress,
        mininterval=1,
    )
    for step in bar:
        for group in optimiser.param_groups:
            group["lr"] = _rate(step, config)
        images, lesions = batch_of(samples, config, step)
        logits = network(images.to(device))  # N,1,X,Y,Z
        loss = loss_of(logits, lesions.to(device))
        value = float(loss.detach())
        _require_finite("loss", value, step, state, config)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        slope = float(torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0))
        # one such step would spoil the weights, and the next state would keep them
        _require_finite("gradient", slope, step, state, config)
        optimiser.step()
        _follow(average, network, min(0.995, (1 + step) / (10 + step)))
        log.add(step, value)
        if step % 10 == 0:
            bar.set_postfix(loss=f"{log.recent():.3f}", refresh=False)
        if (step + 1) % config.save_every == 0 and step + 1 < config.steps:
            # killed in between, the log is ahead of the state, and what is ahead is forgotten
            log.write()
            _save_state(state, settings, step + 1, network, optimiser, average)
    log.write()
    checkpoint = Checkpoint(
        reader=model_of(cohort, config),
        net=config.net,
        fuse=config.fuse,
        spacing_mm=config.spacing_mm,
        patch=config.patch,
        fold=config.fold,
        trained_on=trained_on,
        trained_in=cohort.id,
        settings=settings_of(config),
        demonstration=cohort.synthetic,
        weights=path,
    )
    save_checkpoint(checkpoint, average)
    state.unlink(missing_ok=True)
    return load_checkpoint(path)


def settings_of(config: TrainConfig) -> str:
    """Return all settings of a fit as JSON, by which two fits are the same or not."""
    settings = asdict(config)
    del settings["variant"]  # a name, on which no weight depends
    return json.dumps(settings, sort_keys=True)


def _finished(path: Path, config: TrainConfig, trained_on: frozenset[str]) -> Checkpoint:
    there = load_checkpoint(path)
    if there.trained_on != trained_on:
        raise CheckpointError(
            f"{path}: a finished model that learned from {len(there.trained_on)} patients which "
            f"are not the {len(trained_on)} of this fold; move models/ away to train again"
        )
    found, expected = json.loads(there.settings), json.loads(settings_of(config))
    for what, value in expected.items():
        if found.get(what) != value and what != "save_every":
            raise CheckpointError(
                f"{path}: a finished model with {what} {found.get(what)}, expected {value}; "
                "move models/ away to train again"
            )
    return there


def _require_finite(what: str, value: float, step: int, state: Path, config: TrainConfig) -> None:
    """Raise `TrainingError` for a loss or gradient that is not a number, or without bounds."""
    if not math.isfinite(value):
        kept = f"the last good state is kept in {state.name}" if state.is_file() else "nothing"
        raise TrainingError(
            f"{state.name.split('.')[0]}: {what} {value} at step {step}, kept: {kept}; look for "
            "damaged images among the training patients, or move models/ away and use a rate "
            f"below {config.rate}"
        )


def _rate(step: int, config: TrainConfig) -> float:
    """One cycle: a linear rise over the first twentieth, then a cosine to zero."""
    rise = max(1, config.steps // 20)
    if step < rise:
        return config.rate * (step + 1) / rise
    done = (step - rise) / max(1, config.steps - rise)
    return config.rate * 0.5 * (1 + math.cos(math.pi * done))


def _follow(average: dict[str, torch.Tensor], network: torch.nn.Module, keep: float) -> None:
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                average[name].lerp_(tensor, 1 - keep)
            else:
                average[name].copy_(tensor)


def _save_state(
    path: Path,
    settings: str,
    step: int,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, torch.Tensor],
) -> None:
    """Write all that the next step depends on; the patches need only the step's number."""
    tensors = {f"weights/{name}": t for name, t in network.state_dict().items()}
    tensors |= {f"average/{name}": t for name, t in average.items()}
    for place, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{place}/{name}": t for name, t in moments.items()}
    packed = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    about = {"step": str(step), "settings": settings}
    write_whole(path, save(packed, metadata=about))


def _resume(
    path: Path,
    settings: str,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
    average: dict[str, torch.Tensor],
) -> int:
    """Take up a saved state where it is of this very fit; return the next step."""
    if not path.is_file():
        return 0
    tensors = load_tensors(path)
    with safe_open(path, framework="pt") as header:
        about = header.metadata() or {}
    if about.get("settings") != settings:
        raise CheckpointError(
            f"{path}: an unfinished fit with other settings; delete it to start afresh"
        )
    groups: dict[str, dict[str, torch.Tensor]] = {"weights": {}, "average": {}, "optimiser": {}}
    for name, tensor in tensors.items():
        group, _, rest = name.partition("/")
        groups[group][rest] = tensor
    network.load_state_dict(groups["weights"])
    for name, tensor in groups["average"].items():
        average[name].copy_(tensor)
    moments: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in groups["optimiser"].items():
        place, _, what = name.partition("/")
        moments.setdefault(int(place), {})[what] = tensor
    optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
    return int(about["step"])


class _Log:
    """Loss per step, kept as JSON beside the weights."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._loss: list[float] = []
        if path.is_file():
            self._loss = json.loads(path.read_text(encoding="utf-8"))["loss"]

    def add(self, step: int, value: float) -> None:
        # what came after the state that the fit goes on from is forgotten
        del self._loss[step:]
        self._loss.append(round(value, 5))

    def recent(self) -> float:
        return float(np.mean(self._loss[-50:]))

    def write(self) -> None:
        write_whole(self._path, json.dumps({"loss": self._loss}).encode())
