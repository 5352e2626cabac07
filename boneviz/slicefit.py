"""One 2D fit on slices, and what it outlines in the slices that it never saw; resumable."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import UNet
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save
from tqdm.auto import tqdm

from boneviz.checkpoint import card_of, load_tensors
from boneviz.errors import MALFORMED, CheckpointError, TrainingError
from boneviz.files import write_whole
from boneviz.inflation import count_slices
from boneviz.predict import device_at_hand
from boneviz.schedule import one_cycle
from boneviz.slices import FoldKind, SliceCase, SliceConfig, batch_of_slices, training_slices
from boneviz.version import __version__

__all__ = ["Row", "SliceFit", "fit_slices"]

FORMAT = 1
LONG = ("folds by patient", "data")  # settings that are not spelled out
SLICES_AT_ONCE = 16  # that are predicted together

#: of the counts, in the order of `boneviz.inflation.COLUMNS`
Row = tuple[str, str, str, str, int, int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class SliceFit:
    """One fit: what it learns from, and where it is kept.

    Parameters
    ----------
    expert : whose outlines are learned
    kind : what the folds are dealt by
    fold : the fold that is held out
    cases : all of them; the slices of the fold are not learned from
    dealt : for each case, the fold in which each of its slices is held out
    config : of the fit
    data : from `digest_of` the cases, and how the folds were dealt: another fit is not taken for it
    weights : the safetensors file, with its card beside it once the fit is finished
    """

    expert: str
    kind: FoldKind
    fold: int
    cases: Sequence[SliceCase]
    dealt: Sequence[NDArray[np.int64]]
    config: SliceConfig
    data: Mapping[str, Any]
    weights: Path

    @property
    def settings(self) -> dict[str, Any]:
        """By which two fits are the same or not, as JSON gives them back."""
        settings: dict[str, Any] = json.loads(json.dumps({**asdict(self.config), **self.data}))
        return settings

    @property
    def state(self) -> Path:
        """Where an unfinished fit goes on from."""
        return self.weights.with_name(self.weights.stem + ".state.safetensors")

    @property
    def training(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """What is learned from, as `training_slices` returns it."""
        return training_slices(self.cases, self.dealt, self.fold, self.expert)

    def require_lesion(self) -> None:
        """Raise `TrainingError` where there is nothing to learn."""
        slices, with_lesion = self.training
        if not with_lesion.any():
            raise TrainingError(
                f"{self.expert} outlined no lesion in the {len(slices)} slices that the fit of "
                f"fold {self.fold} by {self.kind} may see: expected at least one; use fewer folds "
                "or more patients"
            )


def fit_slices(fit: SliceFit, *, progress: bool = True) -> list[Row]:
    """Train one network, or return what it outlined held out where it is already there.

    Returns
    -------
    list of Row
        One for each slice that was held out, in the order of `boneviz.inflation.COLUMNS`.

    Raises
    ------
    TrainingError
        No lesion in the slices that are not held out, or a loss that is not a number.
    CheckpointError
        A fit is kept there with other settings, folds or data.
    """
    return _finished(fit) or _run(fit, progress=progress)


def _finished(fit: SliceFit) -> list[Row]:
    """Return the counts of a fit that came to its end, none where there is no such fit."""
    path = card_of(fit.weights)
    if not path.is_file():
        return []
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
        found = card["settings"]
        rows: list[Row] = []
        for patient, session, z, reference, candidate, shared in card["held_out"]:
            counts = (int(z), fit.fold, int(reference), int(candidate), int(shared))
            rows.append((fit.expert, fit.kind, str(patient), str(session), *counts))
    except MALFORMED as error:
        raise CheckpointError(
            f"{path}: not the card of a 2D fit ({error}); delete it to fit again"
        ) from error
    _require_same(fit.weights, found, fit.settings, "a finished fit")
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


def _run(fit: SliceFit, *, progress: bool) -> list[Row]:
    """Fit a network, outline what was held out, keep weights and counts; the card comes last."""
    network = _learn(fit, progress=progress)
    counted = []
    for case, of_slice in zip(fit.cases, fit.dealt, strict=True):
        held_out = np.flatnonzero(of_slice == fit.fold)
        outline = _outline(network, case.image[..., held_out], fit.config)
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
        "settings": fit.settings,
        "boneviz": __version__,
        "torch": torch.__version__,
        "held_out": counted,
    }
    write_whole(card_of(fit.weights), json.dumps(card).encode())
    return _finished(fit)


def _learn(fit: SliceFit, *, progress: bool) -> torch.nn.Module:
    fit.require_lesion()
    config, training = fit.config, fit.training
    device = device_at_hand()
    torch.manual_seed(config.seed)
    network = _network(config).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=config.rate, weight_decay=1e-4)
    loss_of = DiceCELoss(sigmoid=True, batch=True)
    start = _resume(fit, network, optimiser)
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
            group["lr"] = one_cycle(step, steps=config.steps, peak=config.rate)
        images, lesions = batch_of_slices(fit.cases, training, fit.expert, config, step=step)
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
            _save_state(fit, step + 1, network, optimiser)
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
    fit: SliceFit,
    step: int,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write all that the next step depends on; the windows need only the step's number."""
    tensors = {f"weights/{name}": t for name, t in network.state_dict().items()}
    for place, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{place}/{name}": t for name, t in moments.items()}
    packed = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    about = {"step": str(step), "settings": json.dumps(fit.settings)}
    write_whole(fit.state, save(packed, metadata=about))


def _resume(
    fit: SliceFit,
    network: torch.nn.Module,
    optimiser: torch.optim.Optimizer,
) -> int:
    """Take up a saved state where it is of this very fit; return the next step."""
    if not fit.state.is_file():
        return 0
    tensors = load_tensors(fit.state)
    with safe_open(fit.state, framework="pt") as header:
        about = header.metadata() or {}
    _require_same(
        fit.state, json.loads(about.get("settings", "{}")), fit.settings, "an unfinished fit"
    )
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
