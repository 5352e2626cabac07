"""Fit one model: one expert, one fold, one modality. Interrupted, it goes on where it stopped."""

from __future__ import annotations

import copy
import json
import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path

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
from boneviz.forward import channels_last
from boneviz.learninglog import LearningLog
from boneviz.network import build_network
from boneviz.patches import Sample, TrainConfig, batches, read_samples
from boneviz.predict import device_at_hand
from boneviz.schedule import one_cycle
from boneviz.watch import Best, set_aside, watched_dice

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
        Exponential moving average of the weights, under ``models/`` of the cohort; with a
        patience, that of the look with the best held-out Dice.

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
    device = device_at_hand()
    log = LearningLog(path.with_name(path.stem + ".log.json"))
    learned, watched = _patients(cohort, trained_on, config, progress=progress)
    torch.manual_seed(config.seed)
    network = channels_last(build_network(config.net)).to(device)
    fitted = _Fitted.new(network, config)
    settings = f"{settings_of(config)} {sorted(trained_on)}"
    start = fitted.resume(state, settings)
    log.go_on_from(start)
    looking = copy.deepcopy(network) if watched else network
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    half = _in_half(config, device)

    bar = tqdm(
        batches(learned, config, start=start, threads=_threads(device)),
        initial=start,
        total=config.steps,
        desc=f"{path.stem} {config.fuse.modality}",
        disable=not progress,
        mininterval=1,
    )
    for step, (images, lesions) in enumerate(bar, start=start):
        for group in fitted.optimiser.param_groups:
            group["lr"] = one_cycle(step, steps=config.steps, peak=config.rate)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            logits = network(images.to(device))  # N,1,X,Y,Z
        loss = loss_of(logits.float(), lesions.to(device))
        value = float(loss.detach())
        _require_finite("loss", value, step, state, config)
        fitted.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        slope = float(torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0))
        # one such step would spoil the weights, and the next state would keep them
        _require_finite("gradient", slope, step, state, config)
        fitted.optimiser.step()
        fitted.follow(min(0.995, (1 + step) / (10 + step)))
        log.loss.append(value)
        done = step + 1
        if watched and done % config.watch_every == 0:
            looking.load_state_dict(fitted.average)
            dice = watched_dice(looking, watched, config, device)
            fitted.best.look(dice, fitted.average)
            log.watched.append((done, round(dice, 5)))
        if step % 10 == 0:
            bar.set_postfix(_postfix(log), refresh=False)
        if watched and fitted.best.stale >= config.patience:
            break
        if done % config.save_every == 0 and done < config.steps:
            # killed in between, the log is ahead of the state, and what is ahead is forgotten
            log.write()
            fitted.save(state, settings, done)
    bar.close()
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
    save_checkpoint(checkpoint, fitted.best.weights or fitted.average)
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


def _patients(
    cohort: Cohort, trained_on: frozenset[str], config: TrainConfig, *, progress: bool
) -> tuple[list[Sample], list[Sample]]:
    """Read the training patients: those to learn from, and those to watch where it may stop."""
    expert = cohort.reader(config.expert)
    refs = [ref for ref in cohort if ref.patient_id in trained_on]
    samples = read_samples(refs, expert, config, progress=progress)
    if not config.patience:
        return samples, []
    by_ref = list(zip(refs, samples, strict=True))
    with_lesion = {ref.patient_id for ref, sample in by_ref if len(sample.inside)}
    if len(with_lesion) < 2:
        raise TrainingError(
            f"{expert.name} outlined a lesion in {len(with_lesion)} of the training patients of "
            f"fold {config.fold}: one to learn from and one to watch are needed; use a patience of "
            "0, fewer folds, or more patients"
        )
    aside = set_aside(sorted(with_lesion), seed=config.seed)
    learned = [sample for ref, sample in by_ref if ref.patient_id not in aside]
    watched = [s for ref, s in by_ref if ref.patient_id in aside and len(s.inside)]
    return learned, watched


def _in_half(config: TrainConfig, device: torch.device) -> bool:
    """Whether the network computes in bfloat16. On CPUs it is asked for, as few gain by it."""
    if config.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    half = config.precision == "bfloat16"
    deepest = [side // config.net.divisor for side in config.patch]
    if half and device.type == "cpu" and 2 in deepest:
        # oneDNN 3 under torch 2.13: the weights' gradient of a convolution over maps of 2 x 2 x 2
        # voxels holds memory that nobody wrote, now and then NaN
        wider = 3 * config.net.divisor
        raise TrainingError(
            f"precision bfloat16 on a CPU with a patch of {config.patch} voxels: its deepest maps "
            "have 2 voxels along a side, where gradients come out wrong here; take patches of at "
            f"least {wider} voxels a side, or float32"
        )
    return half


def _threads(device: torch.device) -> int:
    """Return how many threads make patches ahead: a GPU would wait for them, a CPU does them."""
    return min(8, os.cpu_count() or 1) if device.type == "cuda" else 0


def _postfix(log: LearningLog) -> dict[str, str]:
    shown = {"loss": f"{log.recent():.3f}"}
    if log.watched:
        shown["held-out Dice"] = f"{log.watched[-1][1]:.3f}"
    return shown


@dataclass(slots=True)
class _Fitted:
    """All that a fit changes on its way, and all that the next step depends on.

    The patches need only the step's number.
    """

    network: torch.nn.Module
    optimiser: torch.optim.Optimizer
    average: dict[str, torch.Tensor]
    best: Best

    @classmethod
    def new(cls, network: torch.nn.Module, config: TrainConfig) -> _Fitted:
        optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-4)
        average = {name: t.detach().clone() for name, t in network.state_dict().items()}
        return cls(network, optimiser, average, Best())

    def follow(self, keep: float) -> None:
        """Move the average of weights towards those of now."""
        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                if tensor.is_floating_point():
                    self.average[name].lerp_(tensor, 1 - keep)
                else:
                    self.average[name].copy_(tensor)

    def save(self, path: Path, settings: str, step: int) -> None:
        tensors = {f"weights/{name}": t for name, t in self.network.state_dict().items()}
        tensors |= {f"average/{name}": t for name, t in self.average.items()}
        tensors |= {f"best/{name}": t for name, t in self.best.weights.items()}
        for place, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser/{place}/{name}": t for name, t in moments.items()}
        packed = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        about = {
            "step": str(step),
            "settings": settings,
            "best_dice": repr(self.best.dice),
            "stale": str(self.best.stale),
        }
        write_whole(path, save(packed, metadata=about))

    def resume(self, path: Path, settings: str) -> int:
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
        kinds = ("weights", "average", "best", "optimiser")
        groups: dict[str, dict[str, torch.Tensor]] = {kind: {} for kind in kinds}
        for name, tensor in tensors.items():
            group, _, rest = name.partition("/")
            groups[group][rest] = tensor
        self.network.load_state_dict(groups["weights"])
        for name, tensor in groups["average"].items():
            self.average[name].copy_(tensor)
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in groups["optimiser"].items():
            place, _, what = name.partition("/")
            moments.setdefault(int(place), {})[what] = tensor
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        self.best = Best(float(about["best_dice"]), int(about["stale"]), groups["best"])
        return int(about["step"])
