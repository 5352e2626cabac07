"""The one place where DICOM's LPS millimetres become RAS+ millimetres, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["flipped"]


def flipped(matrix_or_points: ArrayLike) -> NDArray[np.float64]:
    """Return LPS as RAS+, or RAS+ as LPS: the first two axes change their sign.

    Parameters
    ----------
    matrix_or_points : a (4, 4) affine from voxel index to mm, or points (..., 3) in mm

    Returns
    -------
    NDArray
        Of the same shape, float64. The same call goes back.
    """
    given = np.array(matrix_or_points, dtype=np.float64)
    if given.shape == (4, 4):
        given[:2] *= -1
    else:
        given[..., :2] *= -1
    return given
