"""A label laid on a case's grid: as it is, in another order, or resampled where that is asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from boneviz.errors import GridError, InputError
from boneviz.harmonise import resample as onto
from boneviz.volume import Grid, Volume

__all__ = ["LaidLabel", "on_grid", "one_label"]

# a tenth of a millimetre, and never more than a tenth of a voxel
TOLERANCE_MM = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class LaidLabel:
    """A label on the grid that was asked for, and what was done to it.

    Parameters
    ----------
    volume : ``label`` on the target grid
    how : ``as it is``; ``reordered`` where the same voxels came in another order of axes or as a
        part of the grid; ``resampled`` by nearest neighbour
    frame : ``same`` frame of reference, or ``unknown`` where one of the two does not state it
    before_ml, after_ml : volume on the label's own grid and on the target
    """

    volume: Volume
    how: Literal["as it is", "reordered", "resampled"]
    frame: Literal["same", "unknown"]
    before_ml: float
    after_ml: float

    @property
    def note(self) -> str:
        """What was done in one line, for the notes of a case."""
        how = "resampled by nearest neighbour" if self.how == "resampled" else self.how
        # a single slice that states another thickness than the grid's
        if self.how == "resampled" or not math.isclose(self.before_ml, self.after_ml, rel_tol=1e-3):
            return f"{how}: {self.before_ml:.2f} mL before, {self.after_ml:.2f} mL after"
        return f"{how}, {self.after_ml:.2f} mL"


def on_grid(mask: Volume, target: Grid, *, resample: bool = False) -> LaidLabel:
    """Lay a label on a grid, usually the CT's.

    Voxels that coincide are taken over one by one: the same grid, its axes in another order or
    direction, or a part of it, such as the slices that a SEG has frames for. What lies outside
    that part is empty.

    Parameters
    ----------
    mask : ``label`` on its own grid
    target : where it is wanted
    resample : take a label of another grid by nearest neighbour instead of refusing it

    Raises
    ------
    GridError
        Another frame of reference; another grid without `resample`; voxels of the label whose
        centre is outside the target; a label that vanishes by resampling.
    InputError
        Not a label.
    """
    if mask.unit != "label":
        raise InputError(f"a {mask.unit} volume, expected a label")
    frames = {mask.grid.frame_of_reference_uid, target.frame_of_reference_uid}
    if len(frames - {None}) > 1:
        raise GridError(
            "FrameOfReferenceUID (0020,0052) of the label is not the grid's: they belong to "
            "different scans, or were registered outside; give the label drawn on this scan"
        )
    frame: Literal["same", "unknown"] = "unknown" if None in frames else "same"
    before = mask.volume_ml
    if mask.grid.matches(target):
        return LaidLabel(Volume(mask.array, target, "label"), "as it is", frame, before, before)
    laid = _reordered(mask, target)
    if laid is not None:
        volume = Volume(laid, target, "label")
        return LaidLabel(volume, "reordered", frame, before, volume.volume_ml)
    if not resample:
        raise GridError(
            f"label on {mask.grid.describe()}, expected {target.describe()}; give the label drawn "
            "on this grid, or ask for nearest neighbour (resample=True), which changes its volume"
        )
    outside, drawn = _centres_outside(mask, target)
    if outside:
        raise _cut(outside, drawn, target)
    volume = onto(mask, target)
    if before and not volume.array.any():
        raise GridError(
            f"label of {before:.3f} mL on {mask.grid.describe()} has no voxel left on "
            f"{target.describe()}: it is finer than the grid"
        )
    return LaidLabel(volume, "resampled", frame, before, volume.volume_ml)


def one_label(
    array: NDArray[Any],
    grid: Grid,
    *,
    names: Mapping[str, int] | None = None,
    choose: str | int | None = None,
) -> Volume:
    """Return one structure of a label map as a label.

    Parameters
    ----------
    array : (X, Y, Z) whole numbers, 0 for background
    names : name -> value, where the file gives them
    choose : the name or the value wanted; a value that no voxel has gives an empty label. By
        default the map must hold at most one value beside 0.

    Raises
    ------
    InputError
        Several values and none chosen, or a name that is not there.
    """
    names = names or {}
    if isinstance(choose, str):
        if choose not in names:
            raise InputError(
                f"no label of that name among {len(names)}; choose one of the values "
                f"{_listed(_values(array))}, or a name that the file gives"
            )
        choose = names[choose]
    if choose is not None:
        if choose == 0:
            raise InputError("value 0 is the background; choose a label")
        return Volume(array == choose, grid, "label")
    values = _values(array)
    if len(values) > 1:
        raise InputError(
            f"a label map with the values {_listed(values)}: expected 0 and one other; choose "
            "one, or save each structure as a mask of its own"
        )
    return Volume(array != 0, grid, "label")


def _values(array: NDArray[Any]) -> list[int]:
    """Return the values beside 0, ascending."""
    found = np.unique(array)
    return [int(value) for value in found[found != 0]]


def _listed(values: list[int]) -> str:
    return ", ".join(str(v) for v in values[:8]) + (", ..." if len(values) > 8 else "")


def _reordered(mask: Volume, target: Grid) -> NDArray[np.bool_] | None:
    """Return the mask's voxels in the target's order, None where they do not coincide."""
    grid = mask.grid
    change = np.linalg.inv(target.affine_ras_mm) @ grid.affine_ras_mm
    step = change[:3, :3]
    # the thickness of a single slice is nobody's distance: only its direction counts
    lengths = np.abs(step).max(axis=0)
    step = np.where(np.array(grid.shape) == 1, step / lengths, step)
    whole = np.rint(step)
    if not np.array_equal(np.abs(whole).sum(axis=0), (1, 1, 1)) or not np.array_equal(
        np.abs(whole).sum(axis=1), (1, 1, 1)
    ):
        return None
    first = np.rint(change[:3, 3])
    last = np.array(grid.shape) - 1
    corners = np.array(np.meshgrid(*((0, n) for n in last))).reshape(3, 8)
    there = target.to_mm((whole @ corners).T + first)
    apart = np.linalg.norm(there - grid.to_mm(corners.T), axis=1).max()
    if apart > min(TOLERANCE_MM, min(target.spacing_mm) / 10):
        return None
    # the mask's axes in the target's order, those that run against it turned about
    of = np.abs(whole).argmax(axis=1)
    against = whole[range(3), of] < 0
    voxels = np.flip(mask.array.transpose(of), axis=tuple(np.flatnonzero(against)))
    low = np.where(against, first - last[of], first).astype(int)
    start, stop = np.maximum(low, 0), np.minimum(low + voxels.shape, target.shape)
    inside = tuple(slice(a, max(a, b)) for a, b in zip(start, stop, strict=True))
    part = voxels[tuple(slice(s.start - a, s.stop - a) for s, a in zip(inside, low, strict=True))]
    drawn = int(np.count_nonzero(voxels))
    outside = drawn - int(np.count_nonzero(part))
    if outside:
        raise _cut(outside, drawn, target)
    laid = np.zeros(target.shape, dtype=bool)
    laid[inside] = part
    laid.setflags(write=False)
    return laid


def _cut(outside: int, drawn: int, target: Grid) -> GridError:
    return GridError(
        f"{outside} of {drawn} voxels of the label lie outside {target.describe()}; give the "
        "scan that it was drawn on, whole"
    )


def _centres_outside(mask: Volume, target: Grid) -> tuple[int, int]:
    """Return how many voxels of a mask have their centre beyond the target's faces, of how many."""
    beyond, drawn = 0, 0
    # plane by plane: the indices of a whole mask would take 24 times its memory
    for at, plane in enumerate(mask.array):
        flat = np.argwhere(plane)
        index = np.column_stack([np.full(len(flat), at), flat])
        there = target.to_index(mask.grid.to_mm(index))
        # a centre on a face is inside, to a millionth of a voxel
        low, high = -0.5 - 1e-6, np.array(target.shape) - 0.5 + 1e-6
        beyond += int(np.count_nonzero(((there < low) | (there > high)).any(axis=1)))
        drawn += len(flat)
    return beyond, drawn
