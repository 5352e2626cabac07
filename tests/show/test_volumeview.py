"""A volume rendering where itkwidgets can draw one, else one line of reason."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small import EXPERT_A, EXPERT_B, MODEL_A, STRAIGHT, case_on

from boneviz.case import Case
from boneviz.errors import InputError
from boneviz.show.volumeview import volume_view
from boneviz.volume import Volume

PUBLIC = "https://viewer.example.org/"
Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put packages of the names, and with the calls, of itkwidgets 1.0 in front of any other."""

    def put(source: str, *, view: str = "return given") -> None:
        package = tmp_path / "itkwidgets"
        package.mkdir()
        (package / "viewer_config.py").write_text(f"ITK_VIEWER_SRC = {source!r}\n")
        (package / "__init__.py").write_text(f"def view(**given):\n    {view}\n")
        (tmp_path / "ngff_zarr.py").write_text(
            "def to_ngff_image(data, dims, scale, translation):\n"
            "    return {'data': data, 'dims': dims, 'scale': scale, 'translation': translation}\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("itkwidgets", "ngff_zarr"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    return put


@pytest.fixture
def case() -> Case:
    a, b = np.zeros((2, *STRAIGHT.shape), dtype=np.bool_)
    a[1, 2, 0] = a[0, 0, 0] = True
    b[1, 2, 0] = b[4, 3, 2] = True
    masks = {
        reader: Volume(array, STRAIGHT, "label") for reader, array in ((EXPERT_A, a), (EXPERT_B, b))
    }
    return case_on(STRAIGHT, masks=masks)


def test_without_it_one_line_says_how_to_get_it(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    said = volume_view(case).value
    assert "itkwidgets is not installed" in said
    assert "boneviz[itkwidgets]" in said


def test_no_public_server_is_asked_unless_it_may_be(case: Case, install: Install) -> None:
    install(PUBLIC)
    said = volume_view(case).value
    assert "its page would come from viewer.example.org" in said
    assert "itkwidgets" not in sys.modules  # it patches the kernel when it is imported
    assert set(volume_view(case, ask_public_server=True)) > {"image", "label_image"}


def test_each_voxel_lies_where_it_lay(case: Case, install: Install) -> None:
    install("http://127.0.0.1:8123/")
    shown = volume_view(case)
    labels = shown["label_image"]
    assert labels["dims"] == ("z", "y", "x")
    # STRAIGHT has 5 x 4 x 3 voxels of 2 x 3 x 4 mm from (10, -20, 30): its last voxel lies at
    # (18, -11, 38) mm RAS; as LPS the first is then that of the far end, (-18, 11, 30)
    assert labels["translation"] == {"x": -18.0, "y": 11.0, "z": 30.0}
    assert labels["scale"] == {"x": 2.0, "y": 3.0, "z": 4.0}
    found = {
        tuple(int(v) for v in at): int(labels["data"][tuple(at)])
        for at in np.argwhere(labels["data"])
    }
    # voxel (x, y, z) lies at [z, 3 - y, 4 - x]
    assert found == {(0, 1, 3): 3, (0, 3, 4): 1, (2, 0, 0): 2}
    assert shown["label_names"] == [
        (0, "Background"), (1, "Expert A only"), (2, "Expert B only"), (3, "Both")
    ]  # fmt: skip
    assert shown["image"]["data"].shape == (3, 4, 5)


def test_what_it_raises_is_said(case: Case, install: Install) -> None:
    install("http://localhost/", view="raise TypeError('no <store>')")
    assert "itkwidgets failed with TypeError: no &lt;store&gt;" in volume_view(case).value


def test_a_reader_without_a_mask_is_refused(case: Case) -> None:
    with pytest.raises(InputError, match="no mask of 'Model A'; it has Expert A, Expert B"):
        volume_view(case, pair=(EXPERT_A, MODEL_A))
