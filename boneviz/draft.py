"""A drawing that is not committed yet, kept beside the learner's log after every stroke.

The file ``P001.draft.npz`` holds the positions that are set and the grid they lie on. It says
nothing that counts: what is committed is in the log, and the draft is gone then.
"""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray

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
        with ZipFile(io.BytesIO(path.read_bytes())) as found:
            position, shape, affine = (
                _array(found, name) for name in ("position", "shape", "affine_ras_mm")
            )
        drawn_on = Grid(tuple(shape.tolist()), affine)
        if position.ndim != 1 or position.dtype != np.int64:
            raise ValueError(f"positions of shape {position.shape}, {position.dtype}")
        if (np.diff(position) <= 0).any():
            raise ValueError("positions out of order")
        if position.size and not (position[0] >= 0 and position[-1] < np.prod(drawn_on.shape)):
            raise ValueError("positions beyond its grid")
    except Exception as error:  # zip and NumPy raise anything from a damaged file
        raise InputError(
            f"{path}: not a draft of a drawing ({error}); delete it to begin the case anew"
        ) from error
    if not drawn_on.matches(grid):
        raise GridError(
            f"{path}: drawn on {drawn_on.describe()}, the CT is on {grid.describe()}; "
            "delete it to begin the case anew"
        )
    return Drawing(grid, position)


def _array(found: ZipFile, name: str) -> NDArray[Any]:
    """Return an array that is stored unpacked, so that it is as large as it says."""
    if found.getinfo(f"{name}.npy").compress_type != ZIP_STORED:
        raise ValueError(f"{name} is packed")
    content = found.read(f"{name}.npy")
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name} of another format")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    values = content[stream.tell() :]
    if dtype.kind not in "if":
        raise ValueError(f"{name} holds {dtype}, expected numbers")
    if math.prod(shape) * dtype.itemsize != len(values):
        raise ValueError(f"{name} of shape {shape} in {len(values)} bytes")
    return np.frombuffer(values, dtype).reshape(shape, order="F" if by_columns else "C")


def forget_draft(folder: Path, case_id: str) -> None:
    """Delete a draft, where there is one."""
    _path(folder, case_id).unlink(missing_ok=True)


def _path(folder: Path, case_id: str) -> Path:
    return Path(folder) / f"{case_id}.draft.npz"
