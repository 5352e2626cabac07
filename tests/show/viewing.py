"""A small case in a viewer, and a page that asks it: for the tests of the viewer."""

from __future__ import annotations

import gzip
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from boneviz.case import Case, Reader
from boneviz.show.viewer import SliceViewer
from boneviz.volume import Grid, Volume

EXPERT, OTHER = Reader("Expert A"), Reader("Expert B")
MODEL = Reader("Model A", "model", learned_from="Expert A")
WHY = "PatientWeight (0010,1030) is absent"
SHAPE = (4, 3, 2)
GRID = Grid.straight(SHAPE, (2.0, 1.0, 3.0), (-3.0, 10.0, 0.0))


def label(*marked: tuple[int, int, int], grid: Grid = GRID) -> Volume:
    array = np.zeros(grid.shape, dtype=bool)
    for voxel in marked:
        array[voxel] = True
    return Volume(array, grid, "label")


def made_case(*, pet_grid: Grid = GRID, **masks: Volume) -> Case:
    hu = np.arange(24, dtype=np.int16).reshape(SHAPE) * 100
    suv = np.linspace(0, 6, int(np.prod(pet_grid.shape))).reshape(pet_grid.shape)
    readers = {"expert": EXPERT, "other": OTHER, "model": MODEL}
    return Case(
        "P007",
        "S1",
        Volume(hu, GRID, "HU"),
        Volume(suv, pet_grid, "SUVbw"),
        {readers[name]: mask for name, mask in masks.items()},
        notes=("PET resampled",),
    )


@pytest.fixture
def viewer(monkeypatch: pytest.MonkeyPatch) -> SliceViewer:
    made = SliceViewer()
    sent: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(made, "send", lambda content, buffers=None: sent.append((content, buffers)))
    made.sent = sent
    yield made
    made.close()


def ask(viewer: SliceViewer, **content: Any) -> list[tuple[dict[str, Any], Any]]:
    """Let a page ask, and return what it got."""
    viewer.sent.clear()
    viewer._handle_custom_msg(content, [])
    return list(viewer.sent)


def received(viewer: SliceViewer, name: str) -> NDArray[Any]:
    """Put a volume together as the page does."""
    info = viewer.case_info["volumes"][name]
    data = bytearray(info["bytes"])
    for content, (packed,) in ask(viewer, kind="want", serial=viewer.serial):
        if content["volume"] == name:
            piece = gzip.decompress(packed)
            data[content["offset"] : content["offset"] + len(piece)] = piece
    dtype = np.dtype("<f2" if info["type"] == "half" else "u1")
    return np.frombuffer(bytes(data), dtype).reshape(info["lattice"]["shape"])


def likely(*, elsewhere: float = 0.0, **at: float) -> Volume:
    """Return probabilities on `GRID`; keywords are voxels, as x123 for (1, 2, 3)."""
    array = np.full(SHAPE, elsewhere, dtype=np.float32)
    for voxel, value in at.items():
        array[tuple(int(digit) for digit in voxel[1:])] = value
    return Volume(array, GRID, "probability")


def counted(top: float = 230_000.0) -> Case:
    """Return `made_case` in counts, the last voxel the hottest."""
    case = made_case(expert=label((3, 2, 1)))
    array = np.linspace(0, top, 24, dtype=np.float32).reshape(SHAPE)
    return replace(case, pet=Volume(array, GRID, "counts"), pet_origin=(WHY,))
