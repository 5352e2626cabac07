"""A case as the page gets it: volumes as packed bytes, and the words and numbers that go with them.

CT and PET travel as half floats: whole HU up to 2048, steps of 2 HU above (4 above 4096), and
0.05 % of an SUV. Of a large one every other voxel or fewer go ahead, so that there is something to
see and to move in until all is there. A PET in counts may lie far beyond what half floats hold: it
travels divided by a power of two, which the page multiplies back. All readers travel as the bits of
one byte per voxel, and the probabilities of a model as bytes of 0 to 255, as they lie on disk,
cropped to where there are any.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from isal import igzip
from numpy.typing import NDArray

from boneviz.case import DEFAULT_THRESHOLD, Case, Reader
from boneviz.errors import GridError, InputError
from boneviz.palette import ReaderStyle
from boneviz.picture import counts_range
from boneviz.volume import Grid, Volume

__all__ = [
    "MAX_READERS",
    "Packed",
    "Piece",
    "cuts",
    "least_byte",
    "pack",
    "packed_case",
    "start_mm",
]

MAX_READERS = 8
PIECE_BYTES = 4 * 2**20  # before packing; stays below 5 MB even where nothing can be packed
HALF_MAX = 65504.0
BODY_HU = -300  # and above: neither air nor lung
COARSE_FROM = 2**22  # voxels; up to 160^3 the whole is there as soon
COARSE_MOST = 2.2e6  # voxels of the coarse one: those of 128^3 and a little
# what the bytes of a saved prediction mean once read: float32 of byte times slope
LEVELS = np.arange(256, dtype=np.float32) * np.float32(1 / 255)


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """All arrays of one case, and what describes them.

    Parameters
    ----------
    arrays : name -> array and its grid, in the order in which they are sent; half floats are not
        made yet. ``coarse_ct`` and ``coarse_pet`` stand in for the whole until that is there.
    info : for the page, but for the case's number
    bits : (X, Y, Z) uint8, one bit per reader in the order of the styles
    probabilities : reader -> (X, Y, Z) uint8, the probability times 255
    """

    arrays: Mapping[str, tuple[NDArray[Any], Grid]]
    info: dict[str, Any]
    bits: NDArray[np.uint8]
    probabilities: Mapping[Reader, NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one volume's bytes, from `offset` on, being packed."""

    serial: int
    volume: str
    offset: int
    packed: Future[bytes]


def least_byte(threshold: float) -> int:
    """Return the lowest byte that is inside at a threshold, 0 < threshold <= 1.

    The same voxels as `Prediction.mask` finds in a prediction read from disk. The page counts
    alike: `leastByte` in front/modes.js.
    """
    return int(np.searchsorted(LEVELS, np.float32(threshold)))


def packed_case(
    case: Case, styles: Sequence[ReaderStyle], predictions: Mapping[Reader, Volume]
) -> Packed:
    """Return everything that the page needs to draw a case.

    Parameters
    ----------
    case : CT and masks on one straight RAS grid; the PET on a straight RAS grid of its own
    styles : the readers, in the order of the legend
    predictions : probabilities on the CT's grid; their reader's outline is where they reach the
        threshold, and his mask in the case is not looked at

    Raises
    ------
    GridError
        A grid is oblique or not RAS, or a mask or probability is not on the CT's grid.
    InputError
        More than eight readers, a reader twice, or one without mask and prediction.
    """
    _require_readers(case, styles, predictions)
    _require_straight(case, "CT", case.ct.grid)
    _require_straight(case, "PET", case.pet.grid)
    shown = [style.reader for style in styles]
    probabilities = {
        reader: np.rint(predictions[reader].array * np.float32(255)).astype(np.uint8)
        for reader in shown
        if reader in predictions
    }
    least = least_byte(DEFAULT_THRESHOLD)
    bits = np.zeros(case.ct.grid.shape, dtype=np.uint8)
    for place, reader in enumerate(shown):
        drawn = probabilities[reader] >= least if reader in probabilities else _mask(case, reader)
        bits |= drawn.astype(np.uint8) << np.uint8(place)
    grid = case.ct.grid
    scale = 1.0 if case.has_suv else _counts_scale(case.pet.array)
    pet = case.pet.array if scale == 1.0 else case.pet.array / np.float32(scale)
    arrays: dict[str, tuple[NDArray[Any], Grid]] = {
        "bits": (bits, grid),
        "mip": (pet.max(axis=1, keepdims=True), case.pet.grid),
        "mip_bits": (np.bitwise_or.reduce(bits, axis=1, keepdims=True), grid),
    }
    kinds = {"bits": "bits", "mip": "half", "mip_bits": "bits"}
    readers = []
    for place, style in enumerate(styles):
        reader = style.reader
        entry: dict[str, Any] = {
            "name": reader.name,
            "colour": style.colour,
            "dashed": style.dashed,
            "kind": reader.kind,
            "learned_from": reader.learned_from or "",
            "probability": None,
        }
        if reader in probabilities:
            cropped, corner, where = _cropped(probabilities[reader], grid)
            names = f"probability_{place}", f"mip_probability_{place}"
            arrays[names[0]] = (cropped, where)
            arrays[names[1]] = (cropped.max(axis=1, keepdims=True), where)
            kinds |= dict.fromkeys(names, "bytes")
            entry["probability"] = {
                "volume": names[0],
                "mip": names[1],
                "first": corner,
                "profile": [_profile(cropped, axis) for axis in range(3)],
            }
        readers.append(entry)
    images = {"ct": (case.ct.array, grid), "pet": (pet, case.pet.grid)}
    large = {name: image for name, image in images.items() if image[0].size > COARSE_FROM}
    coarse = {f"coarse_{name}": _coarse(array, where) for name, (array, where) in large.items()}
    small = {name: image for name, image in images.items() if name not in large}
    arrays |= small | coarse | large  # what comes first is sent first
    kinds |= dict.fromkeys((*images, *coarse), "half")
    info = {
        "patient": case.case_id,
        "readers": readers,
        "notes": list(case.notes),
        "pet": {
            "unit": case.pet.unit,
            "origin": list(case.pet_origin),
            "scale": scale,
            "range": None if case.has_suv else list(counts_range(case.pet)),
        },
        "hu_range": [float(case.ct.array.min()), float(case.ct.array.max())],
        "box": _box(bits),
        "volumes": {
            name: _describe(array, where, kinds[name], flat=name.startswith("mip"))
            for name, (array, where) in arrays.items()
        },
    }
    return Packed(arrays, info, bits, probabilities)


def cuts(array: NDArray[Any]) -> list[tuple[int, int]]:
    """Return the byte ranges in which an array is sent."""
    size = array.size * _item_bytes(array)
    return [(at, min(at + PIECE_BYTES, size)) for at in range(0, size, PIECE_BYTES)]


def pack(array: NDArray[Any], start: int, stop: int, whole: bool) -> bytes:
    """Return bytes `start` to `stop` of the array, as half floats or bytes, in gzip.

    `whole` rounds to whole numbers: fractions of a HU are noise, and noise cannot be packed.
    """
    width = _item_bytes(array)
    part = array.reshape(-1)[start // width : stop // width]
    if width == 2:
        part = np.rint(part) if whole and part.dtype.kind == "f" else part
        part = np.clip(part, -HALF_MAX, HALF_MAX).astype("<f2")
    return bytes(igzip.compress(part.tobytes(), compresslevel=1, mtime=0))


def start_mm(case: Case, bits: NDArray[np.uint8]) -> list[float]:
    """Return the hottest marked place, or where nothing is marked the middle of the body."""
    marked = np.argwhere(bits)
    if not marked.size:
        return _middle_of_body_mm(case.ct)
    places_mm = case.ct.grid.to_mm(marked)
    in_pet = np.rint(case.pet.grid.to_index(places_mm)).astype(int)
    in_pet = np.clip(in_pet, 0, np.array(case.pet.grid.shape) - 1)
    hottest = int(np.argmax(case.pet.array[tuple(in_pet.T)]))
    return [float(v) for v in places_mm[hottest]]


def _middle_of_body_mm(ct: Volume) -> list[float]:
    """Return the place in the body that is nearest to its middle; without one the image's."""
    body = np.argwhere(ct.array[::4, ::4, ::4] > BODY_HU) * 4
    if not body.size:
        return [float(v) for v in ct.grid.corners_mm().mean(axis=0)]
    places_mm = ct.grid.to_mm(body)
    away = np.linalg.norm(places_mm - places_mm.mean(axis=0), axis=1)
    return [float(v) for v in places_mm[np.argmin(away)]]


def _counts_scale(array: NDArray[Any]) -> float:
    """Return the power of two that brings the largest value to between 2^13 and 2^14."""
    top = float(np.abs(array).max())
    return float(2.0 ** (math.frexp(top)[1] - 14)) if top > 0 else 1.0


def _item_bytes(array: NDArray[Any]) -> int:
    return 1 if array.dtype == np.uint8 else 2


def _describe(array: NDArray[Any], grid: Grid, kind: str, *, flat: bool) -> dict[str, Any]:
    """Return kind, shape and place of an array; a flat one was projected along y, to y = 0."""
    affine = grid.affine_ras_mm
    origin = [float(affine[axis, 3]) for axis in range(3)]
    return {
        "type": kind,
        "bytes": array.size * _item_bytes(array),
        "lattice": {
            "shape": list(array.shape),
            "spacing": [float(affine[axis, axis]) for axis in range(3)],
            "origin": [origin[0], 0.0, origin[2]] if flat else origin,
        },
    }


def _coarse(array: NDArray[Any], grid: Grid) -> tuple[NDArray[Any], Grid]:
    """Return every so many voxels of an array, as few as are wanted, and where they lie."""
    steps = np.ones(3, dtype=int)
    while array.size / steps.prod() > COARSE_MOST:
        steps[np.argmin(steps * grid.spacing_mm)] *= 2
    part = np.ascontiguousarray(array[:: steps[0], :: steps[1], :: steps[2]])
    affine = grid.affine_ras_mm.copy()
    affine[:3, :3] *= steps
    x, y, z = part.shape
    return part, Grid((x, y, z), affine)


def _box(bits: NDArray[np.uint8]) -> list[list[int]] | None:
    """Return the lowest and the highest voxel that is not zero, or None."""
    low, high = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(bits.any(axis=others))
        if not found.size:
            return None
        low.append(int(found[0]))
        high.append(int(found[-1]))
    return [low, high]


def _cropped(array: NDArray[np.uint8], grid: Grid) -> tuple[NDArray[np.uint8], list[int], Grid]:
    """Return what is not zero with a voxel around it, its first voxel, and its grid."""
    low, high = _box(array) or [[0, 0, 0], [0, 0, 0]]
    first = [max(v - 1, 0) for v in low]
    last = [min(v + 1, n - 1) for v, n in zip(high, grid.shape, strict=True)]
    part = array[tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))]
    part = np.ascontiguousarray(part)
    affine = grid.affine_ras_mm.copy()
    affine[:3, 3] = grid.to_mm(first)
    x, y, z = part.shape
    return part, first, Grid((x, y, z), affine)


def _profile(array: NDArray[np.uint8], axis: int) -> list[int]:
    """Return the highest value on each slice across an axis, by which the page finds a box."""
    others = tuple(a for a in range(3) if a != axis)
    return [int(v) for v in array.max(axis=others)]


def _require_straight(case: Case, what: str, grid: Grid) -> None:
    if not grid.is_straight or grid.orientation != "RAS":
        raise GridError(
            f"patient {case.case_id}: {what} grid is {grid.describe()}, expected straight axes "
            "in RAS order; call straighten() or harmonise() first"
        )


def _require_readers(
    case: Case, styles: Sequence[ReaderStyle], predictions: Mapping[Reader, Volume]
) -> None:
    names = [style.reader.name for style in styles]
    if len(names) > MAX_READERS:
        raise InputError(
            f"{len(names)} readers: the viewer shows at most {MAX_READERS}; choose some"
        )
    if len(set(names)) < len(names):
        raise InputError(f"readers {', '.join(names)}: expected each once")
    for style in styles:
        volume = predictions.get(style.reader) or case.masks.get(style.reader)
        if volume is None:
            known = ", ".join(reader.name for reader in case.masks) or "none"
            raise InputError(
                f"patient {case.case_id}: no mask of {style.reader.name!r}; it has {known}"
            )
        what = "mask" if volume.unit == "label" else "probability"
        if style.reader in predictions and volume.unit != "probability":
            raise InputError(
                f"patient {case.case_id}: the prediction of {style.reader.name} holds "
                f"{volume.unit}, expected a probability"
            )
        if not volume.grid.matches(case.ct.grid):
            raise GridError(
                f"patient {case.case_id}: {what} of {style.reader.name} is on "
                f"{volume.grid.describe()}, the CT on {case.ct.grid.describe()}; "
                "call harmonise() first"
            )


def _mask(case: Case, reader: Reader) -> NDArray[np.bool_]:
    return np.asarray(case.masks[reader].array, dtype=bool)
