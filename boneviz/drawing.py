"""What somebody draws on a CT's grid: brush, eraser, fill by SUV, undo, as pure steps.

A drawing holds the voxels that are set and, of each step, those that it changed, so that a stroke
costs as much as it is large, on a scan of any size. A step back changes the same voxels again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from boneviz.content import pet_in_box
from boneviz.errors import InputError
from boneviz.metrics import Voxels
from boneviz.volume import Grid, Volume

__all__ = ["HISTORY_VOXELS", "Drawing"]

HISTORY_VOXELS = 4_000_000  # of 8 bytes each
TOUCHING = np.ones((3, 3, 3), dtype=bool)  # 26-connected, as lesions are everywhere in boneviz

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A mask in the making; every step returns a new one.

    Parameters
    ----------
    grid : of the CT
    position : (n,) int64 of the voxels that are set, in the C-ordered grid, ascending
    past, future : of each step that can be undone, and redone, the voxels that it changed, oldest
        first. A step that changed nothing is none. Where the past holds more than `HISTORY_VOXELS`
        voxels its oldest steps are forgotten; the last one is always kept

    Examples
    --------
    >>> grid = Grid.straight((4, 4, 4), (2, 3, 5))
    >>> drawn = Drawing.blank(grid).brush((2, 3, 5), radius_mm=2)
    >>> drawn.n_voxels, drawn.undo().n_voxels
    (3, 0)
    """

    grid: Grid
    position: Positions
    past: tuple[Positions, ...] = ()
    future: tuple[Positions, ...] = ()

    def __post_init__(self) -> None:
        for array in (self.position, *self.past, *self.future):
            array.setflags(write=False)

    @classmethod
    def blank(cls, grid: Grid) -> Drawing:
        """Return an empty drawing."""
        return cls(grid, np.zeros(0, dtype=np.int64))

    @classmethod
    def of(cls, mask: Volume) -> Drawing:
        """Return a mask as a drawing without history.

        Raises
        ------
        InputError
            The volume is no label.
        """
        return cls(mask.grid, Voxels.of(mask.array).position)

    @property
    def n_voxels(self) -> int:
        """Voxels that are set."""
        return int(self.position.size)

    @property
    def volume_ml(self) -> float:
        """Millilitres that are drawn."""
        return self.n_voxels * self.grid.voxel_volume_ml

    @property
    def mask(self) -> Volume:
        """The drawing as a label volume on the CT's grid."""
        array = np.zeros(self.grid.shape, dtype=bool)
        array.reshape(-1)[self.position] = True
        array.setflags(write=False)
        return Volume(array, self.grid, "label")

    def brush(
        self, centres_mm: ArrayLike, *, radius_mm: float, across: int | None = None
    ) -> Drawing:
        """Set the voxels under a ball, or under the balls of one stroke.

        Parameters
        ----------
        centres_mm : (3,) or (k, 3) RAS+ mm
        radius_mm : above 0; a voxel is under a ball whose centre is at most this far from its own.
            The voxel that a ball's centre lies in is always under it. What lies beyond the grid
            is left out
        across : an axis of the grid, 0 to 2: of each ball only the slice across it that holds the
            ball's centre; by default the whole ball

        Raises
        ------
        InputError
            A radius that is not above 0, a centre that is not three finite numbers, or no axis.
        """
        under = self._under(centres_mm, radius_mm, across)
        return self._changed(np.setdiff1d(under, self.position, assume_unique=True))

    def erase(
        self, centres_mm: ArrayLike, *, radius_mm: float, across: int | None = None
    ) -> Drawing:
        """Clear the voxels under a ball, or under the balls of one stroke, as `brush` sets them."""
        under = self._under(centres_mm, radius_mm, across)
        return self._changed(np.intersect1d(under, self.position, assume_unique=True))

    def fill_above(
        self, suv: float, *, seed_mm: Sequence[float], within_mm: float, pet: Volume
    ) -> Drawing:
        """Set all that is connected to a point through voxels of at least this SUV.

        Parameters
        ----------
        suv : SUVbw from which a voxel is filled
        seed_mm : RAS+ mm
        within_mm : nothing further than this from the seed is filled, nor is it a way
        pet : SUVbw on any grid, read at the CT's voxels as `harmonise` would put it there

        Raises
        ------
        InputError
            A PET that is not in SUVbw, a seed outside the CT or the PET, a seed of a lower SUV, or
            a limit that is not above 0.
        """
        if pet.unit != "SUVbw":
            raise InputError(
                f"fill by SUV in a volume of {pet.unit}: expected SUVbw; draw with brush and eraser"
            )
        if not math.isfinite(suv):
            raise InputError(f"fill from SUV {suv}: expected a finite number")
        lower, upper, near = self._ball(_points(seed_mm)[0], within_mm)
        seed = np.rint(self.grid.to_index(seed_mm)).astype(np.int64)
        at = tuple((seed - lower).tolist())
        if (seed < lower).any() or (seed > upper).any():
            raise InputError(f"fill from {_said(seed_mm)}: outside the CT; click inside it")
        box, seen = pet_in_box(pet, self.grid, lower, upper)
        if not seen[at]:
            raise InputError(f"fill from {_said(seed_mm)}: outside the PET; click inside it")
        if box[at] < suv:
            raise InputError(
                f"fill from {_said(seed_mm)}: SUV {box[at]:.2f} there, expected at least "
                f"{suv:g}; click on a hotter voxel or lower the limit"
            )
        part, _ = ndimage.label(near & seen & (box >= suv), structure=TOUCHING)
        filled = self._positions(np.argwhere(part == part[at]) + lower)
        return self._changed(np.setdiff1d(filled, self.position, assume_unique=True))

    def undo(self) -> Drawing:
        """Take back the last step; without one, nothing changes."""
        if not self.past:
            return self
        *past, last = self.past
        position = np.setxor1d(self.position, last, assume_unique=True)
        return Drawing(self.grid, position, tuple(past), (*self.future, last))

    def redo(self) -> Drawing:
        """Do again what was last taken back; without anything, nothing changes."""
        if not self.future:
            return self
        *future, last = self.future
        position = np.setxor1d(self.position, last, assume_unique=True)
        return Drawing(self.grid, position, (*self.past, last), tuple(future))

    def finished(self) -> Drawing:
        """Return the drawing without its history."""
        return replace(self, past=(), future=())

    def _changed(self, voxels: Positions) -> Drawing:
        """Return the drawing with these voxels, ascending, set where clear and clear where set."""
        if not voxels.size:
            return self
        past = [*self.past, voxels]
        total = sum(step.size for step in past)
        while total > HISTORY_VOXELS and len(past) > 1:
            total -= past.pop(0).size
        return Drawing(
            self.grid, np.setxor1d(self.position, voxels, assume_unique=True), tuple(past)
        )

    def _under(self, centres_mm: ArrayLike, radius_mm: float, across: int | None) -> Positions:
        """Return the positions, ascending, of all voxels under the balls."""
        if across not in (None, 0, 1, 2):
            raise InputError(f"slices across axis {across!r}: expected 0, 1, 2 or None")
        every = [self._ball(centre_mm, radius_mm, across) for centre_mm in _points(centres_mm)]
        balls = [ball for ball in every if ball[2].size]
        if not balls:
            return np.zeros(0, dtype=np.int64)
        # one box about the whole stroke, which holds each voxel once
        first = np.min([lower for lower, _, _ in balls], axis=0)
        box = np.zeros(np.max([upper for _, upper, _ in balls], axis=0) - first + 1, dtype=np.bool_)
        for lower, _, near in balls:
            there = tuple(slice(a, a + n) for a, n in zip(lower - first, near.shape, strict=True))
            box[there] |= near
        return self._positions(np.argwhere(box) + first)

    def _ball(
        self, centre_mm: NDArray[np.float64], radius_mm: float, across: int | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return first and last index of a box within the grid, and what of it is in the ball."""
        if not (math.isfinite(radius_mm) and radius_mm > 0):
            raise InputError(f"a radius of {radius_mm} mm: expected a finite number above 0")
        axes_mm = self.grid.affine_ras_mm[:3, :3]
        centre = self.grid.to_index(centre_mm)
        # a voxel as far away as the ball reaches stays in it, whatever rounding says
        limit_mm = radius_mm * (1 + 1e-9) + 1e-9
        # how far the ball reaches along the grid's own axes
        reach = limit_mm * np.linalg.norm(np.linalg.inv(axes_mm), axis=1)
        if across is not None:
            reach[across] = 0.0
        nearest = np.rint(centre)
        last = np.array(self.grid.shape) - 1
        lower = np.maximum(np.minimum(np.ceil(centre - reach), nearest), 0).astype(np.int64)
        upper = np.minimum(np.maximum(np.floor(centre + reach), nearest), last).astype(np.int64)
        x, y, z = (np.arange(a, b + 1) - c for a, b, c in zip(lower, upper, centre, strict=True))
        away = (x[:, None, None], y[:, None], z)  # in voxels
        squared = np.zeros((x.size, y.size, z.size))
        for a, b in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)):
            if product := (1 if a == b else 2) * float(axes_mm[:, a] @ axes_mm[:, b]):
                squared += product * away[a] * away[b]
        near = np.asarray(squared <= limit_mm**2)
        if ((lower <= nearest) & (nearest <= upper)).all():
            near[tuple((nearest.astype(np.int64) - lower).tolist())] = True
        return lower, upper, near

    def _positions(self, index: NDArray[np.int64]) -> Positions:
        """Return the positions, ascending, of (n, 3) indices in C order."""
        return np.asarray(np.ravel_multi_index(tuple(index.T), self.grid.shape), dtype=np.int64)


def _points(centres_mm: ArrayLike) -> NDArray[np.float64]:
    """Return points as (k, 3)."""
    points = np.asarray(centres_mm, dtype=np.float64)
    if points.ndim not in (1, 2) or points.shape[-1] != 3 or not np.isfinite(points).all():
        raise InputError(f"a point at {points.tolist()}: expected three finite numbers of RAS mm")
    if not points.size:
        raise InputError("a stroke without points: expected at least one")
    return points.reshape(-1, 3)


def _said(place_mm: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.1f}' for value in place_mm)}) mm"
