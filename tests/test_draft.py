"""A drawing between two strokes comes back, or is refused by name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from boneviz.draft import forget_draft, read_draft, write_draft
from boneviz.drawing import Drawing
from boneviz.errors import BonevizError, GridError, InputError
from boneviz.volume import Grid

GRID = Grid.straight((6, 5, 4), (2, 3, 5), (10, -20, 30))
DRAWN = Drawing.blank(GRID).brush(GRID.to_mm((2, 2, 2)), radius_mm=3)


def test_a_draft_comes_back_without_its_steps_and_goes(tmp_path: Path) -> None:
    assert read_draft(tmp_path, "P1", GRID).n_voxels == 0
    write_draft(tmp_path, "P1", DRAWN)
    back = read_draft(tmp_path, "P1", GRID)
    assert back.position.tolist() == DRAWN.position.tolist()
    assert back.past == ()
    write_draft(tmp_path, "P1", DRAWN.undo())
    assert read_draft(tmp_path, "P1", GRID).n_voxels == 0
    assert [path.name for path in tmp_path.iterdir()] == ["P1.draft.npz"]
    forget_draft(tmp_path, "P1")
    forget_draft(tmp_path, "P1")
    assert list(tmp_path.iterdir()) == []


def saved(**arrays: object) -> Callable[[], bytes]:
    def content() -> bytes:
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    return content


WHERE = {"shape": np.array(GRID.shape), "affine_ras_mm": GRID.affine_ras_mm}
OTHER = {**WHERE, "affine_ras_mm": np.diag([2.0, 3.0, 6.0, 1.0])}


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        pytest.param(lambda: b"half a fi", InputError, "not a draft", id="no file of arrays"),
        pytest.param(lambda: b"", InputError, "not a draft", id="empty"),
        pytest.param(saved(position=np.arange(3)), InputError, "shape", id="no grid"),
        pytest.param(
            saved(position=np.array([3, 120]), **WHERE), InputError, "positions", id="beyond"
        ),
        pytest.param(saved(position=np.int64(3), **WHERE), InputError, "shape", id="a number"),
        pytest.param(
            saved(position=np.arange(3), **{**WHERE, "shape": np.int64(6)}),
            InputError,
            "not a draft",
            id="shape of no grid",
        ),
        pytest.param(
            saved(position=np.arange(3), **{**WHERE, "affine_ras_mm": np.zeros((4, 4))}),
            InputError,
            "not a draft",
            id="affine of no grid",
        ),
        pytest.param(
            saved(position=np.array([3, 200]), **{**WHERE, "shape": np.array([9, 9, 9])}),
            GridError,
            "drawn on 9x9x9 voxels",
            id="larger",
        ),
        pytest.param(saved(position=np.array([3, 3]), **WHERE), InputError, "order", id="twice"),
        pytest.param(saved(position=np.array([0.5]), **WHERE), InputError, "float64", id="type"),
        pytest.param(
            saved(position=np.array([{}], dtype=object), **WHERE),
            InputError,
            "position holds object, expected numbers",
            id="a pickle",
        ),
        pytest.param(
            saved(position=np.arange(3), **OTHER), GridError, "drawn on 6x5x4 voxels", id="grid"
        ),
    ],
)
def test_what_is_no_draft_is_named(
    content: Callable[[], bytes], error: type[BonevizError], message: str, tmp_path: Path
) -> None:
    (tmp_path / "P1.draft.npz").write_bytes(content())
    with pytest.raises(error, match=message) as raised:
        read_draft(tmp_path, "P1", GRID)
    assert "P1.draft.npz" in str(raised.value)
    assert "delete it to begin the case anew" in str(raised.value)
