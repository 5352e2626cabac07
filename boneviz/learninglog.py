"""How a fit went: loss of every step and held-out Dice of every look, as JSON by the weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from boneviz.errors import MALFORMED, CheckpointError
from boneviz.files import write_whole

__all__ = ["LearningLog", "read_logs"]

RECENT = 50  # steps that the loss on a progress bar is a mean of


class LearningLog:
    """The log of one fit, kept in memory until it is written.

    Parameters
    ----------
    path : the JSON file; what it holds already is taken up
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.loss: list[float] = []
        self.watched: list[tuple[int, float]] = []
        if path.is_file():
            self.loss, self.watched = _read(path)

    def go_on_from(self, step: int) -> None:
        """Forget what came after the state that a fit goes on from."""
        del self.loss[step:]
        self.watched = [(at, dice) for at, dice in self.watched if at <= step]

    def recent(self) -> float:
        """Return the mean loss of the last steps; NaN before the first."""
        return float(np.mean(self.loss[-RECENT:])) if self.loss else float("nan")

    def write(self) -> None:
        """Write the file, whole or not at all."""
        content = {"loss": [round(each, 5) for each in self.loss], "watched": self.watched}
        write_whole(self._path, json.dumps(content).encode())


def read_logs(folder: Path) -> pd.DataFrame:
    """Return the logs of all fits in a folder of models, one row per step, to be plotted.

    Returns
    -------
    ``model`` (the name of the file of weights), ``step`` from 1, ``loss``, ``recent_loss`` (mean of
    the last 50 steps), ``watched_dice`` (NaN but after a look). No rows where there are no logs.
    """
    found = []
    for path in sorted(folder.glob("[!.]*.log.json")):
        loss, watched = _read(path)
        table = pd.DataFrame({"step": range(1, len(loss) + 1), "loss": loss}, dtype=float)
        table["recent_loss"] = table["loss"].rolling(RECENT, min_periods=1).mean()
        table["watched_dice"] = table["step"].map(dict(watched)).astype(float)
        table.insert(0, "model", path.name.removesuffix(".log.json"))
        found.append(table.astype({"step": int}))
    columns = ["model", "step", "loss", "recent_loss", "watched_dice"]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=columns)


def _read(path: Path) -> tuple[list[float], list[tuple[int, float]]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        loss = [float(value) for value in content["loss"]]
        watched = [(int(step), float(dice)) for step, dice in content.get("watched", [])]
    except MALFORMED as error:
        raise CheckpointError(
            f"{path}: not the log of a fit ({error}); delete it, nothing depends on it"
        ) from error
    return loss, watched
