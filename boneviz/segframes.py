"""The frames of a DICOM SEG decoded into one mask for each segment."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from highdicom.seg import Segmentation
from numpy.typing import NDArray
from pydicom.dataset import FileDataset
from pydicom.encaps import get_frame
from pydicom.uid import RLELossless

from boneviz.dicombytes import needed, refusing, tag_of, whole
from boneviz.dicompixels import coded_size
from boneviz.errors import BonevizError, ImageFileError
from boneviz.processes import as_done
from boneviz.volume import Grid

__all__ = ["Masks", "decoded_masks", "require_described", "require_pixels"]

# two bytes of RLE stand for up to 128, PS3.5 annex G
RLE_RATIO = 64
Masks = dict[int, NDArray[np.bool_]]


def decoded_masks(path: Path, dataset: FileDataset, rest: tuple[Any, ...]) -> Masks:
    """Return the voxels of each segment; compressed ones are decoded in a process of their own.

    A damaged picture may end its decoder, which then takes nothing else down.

    Parameters
    ----------
    rest : of `_masks`: grid, numbers of the segments wanted and of those described, the segment and
        the slice of each frame, from which stored value on a voxel is inside
    """
    if not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return _masks(dataset, *rest)
    killed = ImageFileError(
        f"{path}: a compressed frame ended its decoder; the file is damaged, copy it again, or "
        "export it uncompressed"
    )
    (found,) = as_done([partial(_masks_or_error, path, dataset, rest)], workers=2, killed=killed)
    if isinstance(found, BonevizError):
        raise found
    for mask in found.values():
        mask.setflags(write=False)
    return found


def _masks_or_error(
    path: Path, dataset: FileDataset, rest: tuple[Any, ...]
) -> Masks | BonevizError:
    """Return an error instead of raising it: workers are ended where one of their tasks raises."""
    try:
        with refusing(path, "DICOM SEG"):
            return _masks(dataset, *rest)
    except BonevizError as error:
        return error


def _masks(
    dataset: FileDataset,
    grid: Grid,
    wanted: tuple[int, ...],
    described: frozenset[int],
    segment_of: NDArray[np.intp] | None,
    slice_of: NDArray[np.intp],
    level: float | None,
) -> Masks:
    """Return the voxels of each segment, (X, Y, Z), read-only."""
    columns, rows, n_slices = grid.shape
    seg = Segmentation.from_dataset(dataset, copy=False)
    stacks = {number: np.zeros((n_slices, rows, columns), dtype=bool) for number in wanted}
    # of a label map, whose background is 0 or as the file says
    known = np.zeros(2**16, dtype=bool)
    known[[0, *described]] = True
    if dataset.get("PixelPaddingValue") is not None:
        known[whole(dataset, "PixelPaddingValue", low=0, high=65535)] = True
    strange: set[int] = set()
    for at, place in enumerate(slice_of):
        if segment_of is None:
            frame = seg.get_stored_frame(at, as_index=True)
            strange.update(np.unique(frame[~known[frame]]).tolist())
            for number, stack in stacks.items():
                np.equal(frame, number, out=stack[place])
        elif (number := int(segment_of[at])) in stacks:
            frame = seg.get_stored_frame(at, as_index=True)
            inside = frame > 0 if level is None else frame >= level
            stacks[number][place] = inside
    require_described(strange, described, "PixelData")
    for stack in stacks.values():
        # a volume copies what can be written to
        stack.setflags(write=False)
    return {number: stack.transpose(2, 1, 0) for number, stack in stacks.items()}


def require_pixels(dataset: FileDataset, n_pixels: int) -> None:
    """Refuse a file that claims more pixels than it holds."""
    found = len(needed(dataset, "PixelData"))
    bits, size = int(dataset.BitsAllocated), (int(dataset.Rows), int(dataset.Columns))
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        first = get_frame(dataset.PixelData, 0, number_of_frames=int(dataset.NumberOfFrames))
        holds = math.prod(size) if syntax != RLELossless else len(first) * RLE_RATIO * 8 // bits
        if holds < math.prod(size) or (syntax != RLELossless and coded_size(first) != size):
            raise ImageFileError(
                f"{tag_of('PixelData')}: a compressed frame of another size than "
                f"{tag_of('Rows')} {size[0]} x {tag_of('Columns')} {size[1]}; the file is damaged"
            )
        return
    expected = (n_pixels * bits + 7) // 8
    if found < expected:
        raise ImageFileError(
            f"{tag_of('PixelData')} has {found} bytes, expected {expected} for "
            f"{tag_of('Rows')} {dataset.Rows} x {tag_of('Columns')} {dataset.Columns} x "
            f"{tag_of('NumberOfFrames')} {dataset.NumberOfFrames}; the file is truncated"
        )


def require_described(found: set[int], described: frozenset[int], keyword: str) -> None:
    """Refuse voxels of which nobody says what they are: they would vanish."""
    strange = sorted(found - described)
    if strange:
        listed = ", ".join(str(n) for n in strange[:8]) + (", ..." if len(strange) > 8 else "")
        raise ImageFileError(
            f"{tag_of(keyword)} has the numbers {listed}, which {tag_of('SegmentSequence')} does "
            f"not describe: it has {', '.join(str(n) for n in sorted(described)[:8])}; what their "
            "voxels are is unknown, export the file again from its source"
        )
