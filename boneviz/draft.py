"""A drawing that is not committed yet, kept beside the learner's log after every stroke.

The file ``P001.draft.npz`` holds the positions that are set and the grid they lie on. It says
nothing that counts: what is committed is in the log, and the draft is gone then.
"""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from boneviz.drawing import Drawing
from boneviz.errors import GridError, InputError
from boneviz.files import write_whole
from boneviz.volume import Grid

__all__ = ["forget_draft", "read_draft", "write_draft"]


def write_draft(folder: Path, case_id: str, drawing: Drawing) -> None:
    """Keep a drawing, whole or not at all; steps that can be undone are not kept."""
    stream = io.BytesIO()
    np.savez(
        stream,
        position=drawing.position,
        shape=np.array(drawing.grid.shape),
        affine_ras_mm=drawing.grid.affine_ras_mm,
    )
    write_whole(_path(folder, case_id), stream.getvalue())


def read_draft(folder: Path, case_id: str, grid: Grid) -> Drawing:
    """Return what was drawn of a case so far, empty where nothing was.

    Parameters
    ----------
    grid : of the CT

    Raises
    ------
    InputError
        The file is damaged.
    GridError
        It was drawn on another grid.
    """
    path = _path(folder, case_id)
    if not path.is_file():
        return Drawing.blank(grid)
    try:
        with np.load(path, allow_pickle=False) as found:
            position = found["position"]
            drawn_on = Grid(tuple(found["shape"].tolist()), found["affine_ras_mm"])
        if position.ndim != 1 or position.dtype != np.int64:
            raise ValueError(f"positions of shape {position.shape}, {position.dtype}")
        if (np.diff(position) <= 0).any():
            raise ValueError("positions out of order")
        if position.size and not (position[0] >= 0 and position[-1] < np.prod(drawn_on.shape)):
            raise ValueError("positions beyond its grid")
    except (ValueError, KeyError, EOFError, OSError, TypeError, GridError, BadZipFile) as error:
        raise InputError(
            f"{path}: not a draft of a drawing ({error}); delete it to begin the case anew"
        ) from error
    if not drawn_on.matches(grid):
        raise GridError(
            f"{path}: drawn on {drawn_on.describe()}, the CT is on {grid.describe()}; "
            "delete it to begin the case anew"
        )
    return Drawing(grid, position)


def forget_draft(folder: Path, case_id: str) -> None:
    """Delete a draft, where there is one."""
    _path(folder, case_id).unlink(missing_ok=True)


def _path(folder: Path, case_id: str) -> Path:
    return Path(folder) / f"{case_id}.draft.npz"
