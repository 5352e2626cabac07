"""Where voxels lie (`Grid`) and what they measure (`Volume`).

One frame is used inside boneviz: RAS+ millimetres, x growing towards the patient's right, y
towards the front, z towards the head. Arrays are indexed ``(X, Y, Z)``, in the order of the
affine's columns.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from boneviz.errors import GridError, InputError

__all__ = ["MOST_VOXELS", "Grid", "Unit", "Volume"]

#: of one volume: four times a whole-body CT of 512 x 512 x 1000. A file that claims more is refused
#: before anything is allocated
MOST_VOXELS = 2**30
TILE = 16  # voxels along a side

Unit = Literal["HU", "SUVbw", "counts", "label", "probability"]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """A regular lattice of voxel centres in RAS+ millimetres.

    Parameters
    ----------
    shape : three positive ints, voxels along each array axis
    affine_ras_mm : (4, 4) float array, voxel index -> RAS+ millimetres
    frame_of_reference_uid : DICOM frame of reference, where one is known

    Raises
    ------
    GridError
        Shape not three positive ints, affine not finite or not invertible.
    """

    shape: tuple[int, int, int]
    affine_ras_mm: NDArray[np.float64]
    frame_of_reference_uid: str | None = None

    def __post_init__(self) -> None:
        try:
            shape = tuple(operator.index(n) for n in self.shape)
        except TypeError as error:
            raise GridError(f"grid shape {self.shape}: expected whole numbers of voxels") from error
        if len(shape) != 3 or min(shape) < 1:
            raise GridError(f"grid shape {shape}: expected three positive numbers of voxels")
        affine = np.array(self.affine_ras_mm, dtype=np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise GridError(f"grid affine {affine.tolist()}: expected a finite 4 x 4 matrix")
        if not np.allclose(affine[3], (0, 0, 0, 1)):
            raise GridError(f"grid affine ends in {affine[3].tolist()}: expected 0 0 0 1")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        # a volume below a millionth of the box spanned by the spacings means axes that coincide
        if spacing.min() <= 0 or abs(np.linalg.det(affine[:3, :3])) < 1e-6 * spacing.prod():
            raise GridError(
                f"grid affine has spacing {spacing.tolist()} mm and determinant "
                f"{np.linalg.det(affine[:3, :3]):.3g}: expected three independent axes; "
                "the file's geometry must be mended at its source"
            )
        affine.setflags(write=False)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine_ras_mm", affine)

    @classmethod
    def straight(
        cls,
        shape: Sequence[int],
        spacing_mm: Sequence[float],
        origin_mm: Sequence[float] = (0.0, 0.0, 0.0),
        *,
        frame_of_reference_uid: str | None = None,
    ) -> Grid:
        """Return a grid whose axes are R, A, S; `origin_mm` is the centre of voxel (0, 0, 0)."""
        if len(shape) != 3 or len(spacing_mm) != 3 or len(origin_mm) != 3:
            raise GridError(
                f"grid of shape {shape}, spacing {spacing_mm}, origin {origin_mm}: "
                "expected three numbers each"
            )
        affine = np.diag([*(float(s) for s in spacing_mm), 1.0])
        affine[:3, 3] = origin_mm
        x, y, z = shape
        return cls((x, y, z), affine, frame_of_reference_uid)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along each array axis, mm."""
        x, y, z = np.linalg.norm(self.affine_ras_mm[:3, :3], axis=0)
        return float(x), float(y), float(z)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        return float(abs(np.linalg.det(self.affine_ras_mm[:3, :3]))) / 1000.0

    @property
    def orientation(self) -> str:
        """Letters of the directions in which the three axes grow, such as ``RAS`` or ``LPS``."""
        return "".join(nib.orientations.aff2axcodes(self.affine_ras_mm))

    @property
    def is_straight(self) -> bool:
        """Whether every axis runs along R, A or S within 0.01 mm over the whole grid."""
        directions = self.affine_ras_mm[:3, :3] * (np.array(self.shape) - 1)
        off_axis = np.sort(np.abs(directions), axis=0)[:2]
        return bool((off_axis < 0.01).all())

    def to_mm(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return RAS+ millimetres of voxel indices, shape (..., 3) to (..., 3)."""
        ijk = np.asarray(index, dtype=np.float64)
        return np.asarray(ijk @ self.affine_ras_mm[:3, :3].T + self.affine_ras_mm[:3, 3])

    def to_index(self, position_mm: ArrayLike) -> NDArray[np.float64]:
        """Return fractional voxel indices of RAS+ millimetres, shape (..., 3) to (..., 3)."""
        xyz = np.asarray(position_mm, dtype=np.float64) - self.affine_ras_mm[:3, 3]
        return np.asarray(xyz @ np.linalg.inv(self.affine_ras_mm[:3, :3]).T)

    def corners_mm(self) -> NDArray[np.float64]:
        """Return the centres of the eight corner voxels, (8, 3) RAS+ millimetres."""
        last = np.array(self.shape) - 1
        return self.to_mm(np.array(np.meshgrid(*((0, n) for n in last))).reshape(3, 8).T)

    def matches(self, other: Grid, *, tolerance_mm: float = 0.01) -> bool:
        """Whether both have one shape and no corner lies further apart than `tolerance_mm`."""
        if self.shape != other.shape:
            return False
        apart = np.linalg.norm(self.corners_mm() - other.corners_mm(), axis=1)
        return bool(apart.max() <= tolerance_mm)

    def describe(self) -> str:
        """Return shape, spacing, origin and orientation in one line, for messages."""
        size = "x".join(str(n) for n in self.shape)
        spacing = " x ".join(f"{s:.3g}" for s in self.spacing_mm)
        origin = ", ".join(f"{o:.1f}" for o in self.affine_ras_mm[:3, 3])
        return f"{size} voxels of {spacing} mm from ({origin}) mm, {self.orientation}"


@dataclass(frozen=True, slots=True, eq=False)
class Volume:
    """Voxels on a grid, in a stated unit. The array is read-only.

    Parameters
    ----------
    array : (X, Y, Z); ``label`` is bool, ``probability`` a float in [0, 1],
        ``HU``, ``SUVbw`` and ``counts`` any real number type. A writeable array is copied.
    grid : where the voxels lie
    unit : ``HU``, ``SUVbw``, ``counts`` (a PET that is proportional to activity, counts or Bq/mL,
        without what an SUV needs), ``label`` or ``probability``

    Raises
    ------
    GridError
        The array's shape is not the grid's.
    InputError
        Unknown unit, values that are not finite, or out of range for the unit.
    """

    array: NDArray[Any]
    grid: Grid
    unit: Unit

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise InputError(f"unit {self.unit!r}: expected one of {', '.join(get_args(Unit))}")
        array = np.asarray(self.array)
        if array.shape != self.grid.shape:
            raise GridError(f"array of shape {array.shape} on a grid of shape {self.grid.shape}")
        if self.unit == "label" and array.dtype != np.bool_:
            raise InputError(f"a label volume holds {array.dtype}: expected bool")
        if self.unit != "label" and array.dtype.kind not in "iuf":
            raise InputError(f"a {self.unit} volume holds {array.dtype}: expected numbers")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            bad = int(np.size(array) - np.isfinite(array).sum())
            raise InputError(f"{bad} voxels of a {self.unit} volume are NaN or infinite")
        if self.unit == "probability" and (array.min() < 0 or array.max() > 1):
            raise InputError(
                f"a probability volume spans {array.min():.3g} to {array.max():.3g}: "
                "expected 0 to 1"
            )
        if _may_change(array):
            array = _copied(array)
            array.setflags(write=False)
        object.__setattr__(self, "array", array)

    @property
    def volume_ml(self) -> float:
        """Millilitres of the voxels that are True; only for ``label``."""
        if self.unit != "label":
            raise InputError(f"volume_ml of a {self.unit} volume: expected a label")
        return int(np.count_nonzero(self.array)) * self.grid.voxel_volume_ml


def _copied(array: NDArray[Any]) -> NDArray[Any]:
    """Return a copy whose last axis lies closest in memory.

    NIfTI has the first axis closest. Copied tile by tile, whose both ends fit the cache, that takes
    a third of the time.
    """
    if abs(array.strides[0]) >= abs(array.strides[2]):
        return array.copy()
    copy = np.empty(array.shape, dtype=array.dtype)
    for x in range(0, array.shape[0], TILE):
        for z in range(0, array.shape[2], TILE):
            tile = np.s_[x : x + TILE, :, z : z + TILE]
            copy[tile] = array[tile]
    return copy


def _may_change(array: NDArray[Any]) -> bool:
    """Whether the array, or one that it is a view of, can be written to."""
    view: object = array
    while isinstance(view, np.ndarray):
        if view.flags.writeable:
            return True
        view = view.base
    return view is not None
