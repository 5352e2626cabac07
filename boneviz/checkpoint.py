"""A trained model on disk: weights as safetensors beside a JSON card. No pickle is ever loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from boneviz.case import Reader
from boneviz.errors import MALFORMED, BonevizError, CheckpointError
from boneviz.files import sha256_of, write_whole
from boneviz.fuse import FuseConfig, Modality
from boneviz.network import NetConfig, build_network
from boneviz.paths import inside
from boneviz.version import __version__

__all__ = [
    "Checkpoint",
    "card_of",
    "finished_models",
    "load_checkpoint",
    "load_tensors",
    "save_checkpoint",
]

FORMAT = 2  # 1: before networks folded voxels into channels


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a model is and what it learned from; the weights are read when it predicts.

    Parameters
    ----------
    reader : the model, which names its expert
    net, fuse : how to build the network and its input
    spacing_mm : the voxel size it learned at
    patch : side lengths of its windows in voxels
    fold : the fold held out; trained_on : the patients it learned from, trained_in : the id of
        their cohort
    settings : of the fit, as JSON
    demonstration : whether it learned from phantoms only
    weights : the safetensors file; checkpoint_id : sha256 of that file
    """

    reader: Reader
    net: NetConfig
    fuse: FuseConfig
    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    fold: int
    trained_on: frozenset[str]
    trained_in: str
    settings: str
    demonstration: bool
    weights: Path
    checkpoint_id: str = ""

    def seen_in(self, cohort_id: str) -> frozenset[str]:
        """Return the patients of a cohort that the model learned from; ids hold in one cohort only.

        Two cohorts without an id are taken for one, since nothing tells them apart.
        """
        return self.trained_on if self.trained_in == cohort_id else frozenset()

    def network(self) -> torch.nn.Module:
        """Build the network and load its weights, in float32 and evaluation mode.

        Raises
        ------
        CheckpointError
            The weights are missing, damaged, or of another network than the card says.
        """
        tensors = load_tensors(self.weights)
        try:
            # without memory of its own: a card may claim a network of any size
            with torch.device("meta"):
                network = build_network(self.net)
            whole = {name: t.float() for name, t in tensors.items()}
            network.load_state_dict(whole, assign=True)
        except (RuntimeError, ValueError, TypeError, OverflowError) as error:
            raise CheckpointError(
                f"{self.weights}: weights do not fit the network on the card "
                f"({str(error).partition(chr(10))[0]}); the two files belong to different models"
            ) from error
        return network.eval()


def save_checkpoint(checkpoint: Checkpoint, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write weights (as float16) and card, each whole; the card last, as the sign of completion."""
    packed = {
        name: t.detach().cpu().half().contiguous() if t.is_floating_point() else t.cpu()
        for name, t in sorted(tensors.items())
    }
    write_whole(checkpoint.weights, save(packed))
    card = {
        "format": FORMAT,
        "reader": asdict(checkpoint.reader),
        "net": asdict(checkpoint.net),
        "fuse": asdict(checkpoint.fuse),
        "spacing_mm": checkpoint.spacing_mm,
        "patch": checkpoint.patch,
        "fold": checkpoint.fold,
        "trained_on": sorted(checkpoint.trained_on),
        "trained_in": checkpoint.trained_in,
        "settings": json.loads(checkpoint.settings),
        "demonstration": checkpoint.demonstration,
        "sha256": sha256_of(checkpoint.weights),
        "boneviz": __version__,
        "torch": torch.__version__,
    }
    write_whole(card_of(checkpoint.weights), json.dumps(card, indent=1).encode())


def load_checkpoint(path: str | Path, *, modality: Modality | None = None) -> Checkpoint:
    """Read a model's card and check its weights against it.

    Parameters
    ----------
    path : the ``.safetensors`` file, or its card
    modality : the input that is at hand; a model of another one is refused

    Raises
    ------
    CheckpointError
        A file is missing, the weights are not those on the card, or the modality differs.
    """
    path = Path(path)
    if not path.name or path.is_dir():
        raise CheckpointError(f"{path}: a folder, expected a .safetensors file")
    weights = path.with_suffix(".safetensors")
    card_path = card_of(weights)
    for needed in (weights, card_path):
        if not needed.is_file():
            raise CheckpointError(f"{needed}: no such file; a model is a .safetensors and a .json")
    try:
        card: dict[str, Any] = json.loads(card_path.read_text(encoding="utf-8"))
        if card["format"] != FORMAT:
            raise CheckpointError(
                f"{card_path}: format {card['format']}, expected {FORMAT}; "
                f"it was written by boneviz {card.get('boneviz')}, this is {__version__}"
            )
        trained_on = card["trained_on"]
        if not isinstance(trained_on, list) or not all(isinstance(p, str) for p in trained_on):
            raise TypeError("trained_on is no list of patient ids")
        if not isinstance(card["settings"], dict):
            raise TypeError("settings are no names with values")
        checkpoint = Checkpoint(
            reader=Reader(**card["reader"]),
            net=NetConfig(**card["net"]),
            fuse=FuseConfig(**card["fuse"]),
            spacing_mm=_triple(card["spacing_mm"], float),
            patch=_triple(card["patch"], int),
            fold=int(card["fold"]),
            trained_on=frozenset(trained_on),
            trained_in=str(card["trained_in"]),
            settings=json.dumps(card["settings"], sort_keys=True),
            demonstration=bool(card["demonstration"]),
            weights=weights,
            checkpoint_id=str(card["sha256"]),
        )
    except CheckpointError:
        raise
    except (BonevizError, *MALFORMED) as error:
        raise CheckpointError(f"{card_path}: not a model's card ({error})") from error
    if (found := sha256_of(weights)) != checkpoint.checkpoint_id:
        raise CheckpointError(
            f"{weights}: sha256 {found[:12]}..., the card says {checkpoint.checkpoint_id[:12]}...; "
            "the file was changed or cut short, copy the model again"
        )
    if modality is not None and checkpoint.fuse.modality != modality:
        raise CheckpointError(
            f"{weights.name} ({checkpoint.reader.name}) learned from {checkpoint.fuse.modality} "
            f"input, expected {modality}; choose a {modality} model, or say "
            f"--modality {checkpoint.fuse.modality}"
        )
    return checkpoint


def card_of(weights: Path) -> Path:
    """Return the path of the card that belongs to a weights file."""
    return weights.with_suffix(".json")


def finished_models(folder: Path) -> tuple[Path, ...]:
    """Return the weights in a folder that have their card: fits that came to their end.

    Raises
    ------
    CohortError
        One is a link that leads out of the folder.
    """
    found = sorted(folder.glob("[!.]*.safetensors"))
    finished = tuple(path for path in found if card_of(path).is_file())
    for path in finished:
        for file in (path, card_of(path)):
            inside(folder, file.name, what=f"model {path.stem}")
    return finished


def load_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a safetensors file, or raise `CheckpointError`."""
    try:
        tensors: dict[str, torch.Tensor] = load(path.read_bytes())
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as safetensors ({error})") from error
    return tensors


def _triple(values: Any, kind: type) -> tuple[Any, Any, Any]:
    x, y, z = (kind(value) for value in values)
    return x, y, z
