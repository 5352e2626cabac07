"""What the cards beside models say, as a table: plain JSON, read without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

from boneviz.errors import MALFORMED, BonevizError
from boneviz.paths import inside

__all__ = ["read_cards"]

COLUMNS = (
    "file",
    "model",
    "fold",
    "input",
    "network",
    "spacing_mm",
    "patch",
    "steps",
    "batch",
    "rate",
    "seed",
    "trained_on",
    "boneviz",
    "torch",
    "error",
)


def read_cards(folder: Path) -> pd.DataFrame:
    """Return one row of texts per model card in a folder, in the order of the files.

    What a card does not say is empty; a file that is no card has its reason in ``error``. Nothing
    is checked against the weights, which `boneviz.checkpoint.load_checkpoint` does.

    Returns
    -------
    ``file`` (its stem), ``model`` (the reader's name), ``fold``, ``input`` (its modality),
    ``network`` (architecture and filters), ``spacing_mm``, ``patch``, ``steps``, ``batch``,
    ``rate``, ``seed``, ``trained_on`` (how many patients), ``boneviz``, ``torch``, ``error``.
    """
    rows = []
    for path in sorted(folder.glob("[!.]*.json")):
        if path.name.endswith(".log.json"):
            continue
        try:
            inside(folder, path.name, what="model's card")
            row = _row(json.loads(path.read_text(encoding="utf-8")))
        except (BonevizError, OSError, *MALFORMED) as error:
            row = {"error": f"not a model's card ({type(error).__name__}: {error})"}
        stem = path.name.removesuffix(".json")
        # JSON can spell half of a pair, which no table holds
        plain = {name: text.encode(errors="replace").decode() for name, text in row.items()}
        rows.append(dict.fromkeys(COLUMNS, "") | {"file": stem} | plain)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(card: dict[str, Any]) -> dict[str, str]:
    settings, net = card["settings"], card["net"]
    filters = ", ".join(str(each) for each in net.get("filters") or ())
    folded = net.get("unshuffle", 1)
    network = str(net.get("architecture", "")) + (f" ({filters})" if filters else "")
    if folded not in (1, None):
        network += f", voxels folded {folded} x {folded} x {folded}"
    return {
        "model": str(card["reader"]["name"]),
        "fold": str(card["fold"]),
        "input": str(card["fuse"].get("modality", "")),
        "network": network,
        "spacing_mm": " x ".join(str(each) for each in card["spacing_mm"]),
        "patch": " x ".join(str(each) for each in card["patch"]),
        **{name: str(settings.get(name, "")) for name in ("steps", "batch", "rate", "seed")},
        "trained_on": str(len(card["trained_on"])),
        "boneviz": str(card.get("boneviz", "")),
        "torch": str(card.get("torch", "")),
    }
