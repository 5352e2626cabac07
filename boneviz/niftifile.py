"""What the header of a NIfTI file may say, before any voxel is read.

Nothing is allocated for a header's word alone: what it claims is compared with what the file can
hold, and with limits that no scan reaches. Extensions of the header are passed over.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.arrayproxy import ArrayProxy
from nibabel.volumeutils import apply_read_scaling
from numpy.typing import NDArray

from boneviz.errors import ImageFileError, InputError
from boneviz.volume import MOST_VOXELS, Grid, Unit

__all__ = ["grid_of", "read_header", "read_voxels", "require_intent", "shape_of"]

# a qform keeps three float32 of a quaternion: near 180 degrees that alone is worth about 1 mm
QFORM_SFORM_TOLERANCE_MM = 2.0
MOST_BYTES = 4 * 2**30
# a voxel of a micrometre is in another unit, and so is one of a metre
SPACING_MM = (1e-3, 1e3)
MOST_MM = 1e6  # from the origin
# header and extensions; what lies between them and the voxels is skipped by unpacking it
MOST_BYTES_BEFORE = 64 * 2**20
# of deflate, RFC 1951: 258 bytes by two bits; a gzip file holds no more per byte
DEFLATE_RATIO = 1032

# what nibabel has to say stands in the error
QUIET = logging.Logger("boneviz.niftifile")
QUIET.addHandler(logging.NullHandler())

#: what the voxels may be said to be, by intent code: nothing, an estimate, a number without unit
INTENTS = (0, 1001, 1011)
#: a label, and the name of a region
LABEL_INTENTS = (1002, 1003)


def read_header(path: Path) -> nib.Nifti1Header:
    """Read and check the header of a NIfTI-1 or NIfTI-2 file; no voxel is read.

    Parameters
    ----------
    path : ``.nii`` or ``.nii.gz``

    Raises
    ------
    ImageFileError
        Another kind of file, a pair of header and image, not one 3D volume of real numbers, or
        more voxels than the file can hold or than any scan has.
    """
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise ImageFileError(
            f"{path}: a file ending in {path.suffix or 'nothing'}, expected NIfTI (.nii, .nii.gz); "
            "convert it, a pair of .hdr and .img too"
        )
    with _opened(path) as stream:
        start = stream.read(nib.Nifti2Header.sizeof_hdr)
    kind = _kind(start)
    if kind is None or len(start) < kind.sizeof_hdr:
        raise ValueError("it does not begin as NIfTI does")
    header = kind(start[: kind.sizeof_hdr], check=False)
    # headers that nibabel would mend and log are refused: nothing is repaired silently
    header.check_fix(logger=QUIET, error_level=30)
    if not bytes(header["magic"]).startswith(b"n+"):
        raise ImageFileError(
            f"{path}: a header whose voxels are in another file (.hdr and .img), expected NIfTI in "
            "one file; convert the pair to .nii.gz"
        )
    if np.isinf(header["scl_slope"]):
        raise ImageFileError(
            f"{path}: a slope of infinity, expected a number; mend the header at its source"
        )
    dtype = header.get_data_dtype()
    if dtype.kind not in "iuf":
        raise ImageFileError(f"{path}: voxels are {dtype}, expected one real number each")
    _require_room(path, header, shape_of(header), dtype.itemsize)
    return header


def shape_of(header: nib.Nifti1Header) -> tuple[int, int, int]:
    """Return the three sides of a volume, in voxels; further dimensions must have a length of 1.

    Raises
    ------
    InputError
        More or fewer dimensions, or a side without voxels.
    """
    shape = tuple(int(n) for n in header.get_data_shape())
    if len(shape) > 3 and all(n == 1 for n in shape[3:]):
        shape = shape[:3]
    if len(shape) != 3:
        raise InputError(f"{len(shape)}D with shape {shape}, expected one 3D volume")
    if min(shape) < 1:
        raise InputError(f"a volume of shape {shape}, expected at least one voxel on every side")
    x, y, z = shape
    return x, y, z


def grid_of(header: nib.Nifti1Header) -> Grid:
    """Return where the voxels lie.

    Raises
    ------
    InputError
        A unit of length other than mm (none is taken for mm, as all writers mean it), no geometry,
        voxels of another order than mm, or qform and sform that place a corner more than 2 mm
        apart.
    GridError
        Axes that coincide.
    """
    space, _ = header.get_xyzt_units()
    if space not in ("mm", "unknown"):
        raise InputError(
            f"spatial unit {space}, expected mm; write the file again in mm at its source"
        )
    qform, qcode = header.get_qform(coded=True)
    _sform, scode = header.get_sform(coded=True)
    if not qcode and not scode:
        raise InputError(
            "no geometry: neither qform nor sform is set, so left and right are unknown"
        )
    grid = Grid(shape_of(header), header.get_best_affine())
    spacing, far = grid.spacing_mm, float(np.abs(grid.affine_ras_mm[:3, 3]).max())
    if min(spacing) < SPACING_MM[0] or max(spacing) > SPACING_MM[1] or far > MOST_MM:
        raise InputError(
            f"voxels of {' x '.join(f'{s:.3g}' for s in spacing)} mm, the first {far:.3g} mm from "
            f"the origin, expected {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm and at most "
            f"{MOST_MM:g} mm; mend the header at its source"
        )
    if qcode and scode:
        other = Grid(grid.shape, qform)
        apart = float(np.linalg.norm(grid.corners_mm() - other.corners_mm(), axis=1).max())
        if apart > QFORM_SFORM_TOLERANCE_MM:
            raise InputError(
                f"qform and sform place a corner {apart:.1f} mm apart, at most "
                f"{QFORM_SFORM_TOLERANCE_MM} mm expected; correct the header at its source"
            )
    return grid


def require_intent(header: nib.Nifti1Header, unit: Unit) -> None:
    """Raise where the header says that its voxels are something else, such as a vector or p-value.

    Raises
    ------
    InputError
        Names the intent code.
    """
    code = int(header["intent_code"])
    allowed = (*INTENTS, *LABEL_INTENTS) if unit == "label" else INTENTS
    if code not in allowed:
        try:
            name = header.get_intent()[0]
        except KeyError:
            name = "unknown"
        raise InputError(
            f"intent code {code} ({name}) says that the voxels are no {unit}; give the right file, "
            "or set intent_code to 0 at its source"
        )


def read_voxels(path: Path, header: nib.Nifti1Header) -> NDArray[Any]:
    """Return the voxels after the header's slope, (X, Y, Z); a slope of 0 or NaN is none."""
    with _opened(path) as stream:
        proxy = ArrayProxy(stream, header)
        stored = proxy.get_unscaled().reshape(shape_of(header))
    slope, intercept = proxy.slope, proxy.inter
    # the product of 16 and 24 bits has one rounding to float32, with float64 on the way or without
    short = stored.dtype.kind in "iu" and stored.dtype.itemsize <= 2
    if short and intercept == 0 and slope != 1 and float(np.float32(slope)) == slope:
        return np.asanyarray(np.multiply(stored, np.float32(slope), dtype=np.float32))
    return np.asanyarray(apply_read_scaling(stored, slope, intercept))


def _opened(path: Path) -> BinaryIO:
    if path.suffix.lower() == ".gz":
        return cast(BinaryIO, igzip.open(path))
    return path.open("rb")


def _kind(start: bytes) -> type[nib.Nifti1Header] | None:
    """Return the header's version by its length, which is its first field, in either byte order."""
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        length = int(kind.sizeof_hdr)
        if start[:4] in (length.to_bytes(4, "little"), length.to_bytes(4, "big")):
            return kind
    return None


def _require_room(
    path: Path, header: nib.Nifti1Header, shape: tuple[int, int, int], itemsize: int
) -> None:
    """Raise where the header claims more than the file can hold, or than any scan has."""
    voxels = math.prod(shape)
    before = int(header.get_data_offset())
    claimed = " x ".join(str(n) for n in shape)
    if not 0 <= before <= MOST_BYTES_BEFORE:
        raise ImageFileError(
            f"{path}: its header sets the voxels {before} bytes behind its start, expected at most "
            f"{MOST_BYTES_BEFORE}; the file is damaged, copy it again from its source"
        )
    on_disk = path.stat().st_size
    holds = on_disk * DEFLATE_RATIO if path.suffix.lower() == ".gz" else on_disk
    if before + voxels * itemsize > holds:
        raise ImageFileError(
            f"{path}: cannot be read as NIfTI (its header claims {claimed} voxels of {itemsize} "
            f"bytes, and a file of {on_disk} bytes cannot hold them); the file is damaged or "
            "truncated, copy it again from its source"
        )
    if voxels > MOST_VOXELS or voxels * itemsize > MOST_BYTES:
        raise ImageFileError(
            f"{path}: {claimed} voxels of {itemsize} bytes, expected at most {MOST_VOXELS} voxels "
            f"and {MOST_BYTES // 2**30} GiB; crop the volume to the patient"
        )
