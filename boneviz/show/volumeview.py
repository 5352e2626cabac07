"""A volume rendering through `itkwidgets`, where it is installed and can draw; never needed.

itkwidgets (1.0a55) has its page from a public server. Nothing of boneviz asks one, so it is opened
only where its page has been put on this machine, or where the caller allows the server to be asked.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ipywidgets as widgets
import numpy as np

from boneviz.case import Case, Reader
from boneviz.errors import InputError
from boneviz.harmonise import straighten
from boneviz.show.page import alert

__all__ = ["volume_view"]

INSTALL = 'pip install "boneviz[itkwidgets]"'
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def volume_view(
    case: Case, *, pair: tuple[Reader, Reader] | None = None, ask_public_server: bool = False
) -> Any:
    """Return a volume rendering of the CT with a pair's regions, or one line that says why not.

    Parameters
    ----------
    case : with the masks of both readers on the CT's grid
    pair : two readers, whose A-only, B-only and shared voxels are labels 1, 2 and 3; by default the
        first two of the case, and no labels where there are fewer
    ask_public_server : whether the viewer's page may come from the public server that itkwidgets
        names. The voxels stay in this browser; that somebody looks at a case does not.

    Returns
    -------
    itkwidgets.Viewer or ipywidgets.HTML

    Raises
    ------
    InputError
        A reader of the pair has no mask in this case.
    """
    readers = tuple(case.masks)[:2] if pair is None else pair
    for reader in readers:
        if reader not in case.masks:
            known = ", ".join(r.name for r in case.masks) or "none"
            raise InputError(f"patient {case.case_id}: no mask of {reader.name!r}; it has {known}")
    try:
        source = _source()
        if not ask_public_server and urlsplit(source).hostname not in LOOPBACK:
            return _line(
                f"its page would come from {urlsplit(source).hostname or source}, and boneviz asks "
                "no server. volume_view(case, ask_public_server=True) allows it"
            )
        return _opened(case, readers)
    except ImportError as error:
        return _line(f"{error}. {INSTALL}")
    except Exception as error:  # whatever it raises is its own; nothing depends on it
        return _line(f"itkwidgets failed with {type(error).__name__}: {error}")


def _line(why: str) -> widgets.HTML:
    return widgets.HTML(alert(f"No volume rendering: {why}."))


def _source() -> str:
    """Return where itkwidgets has its page from, without importing it: that patches the kernel."""
    found = importlib.util.find_spec("itkwidgets")
    if found is None or found.origin is None:
        raise ImportError("itkwidgets is not installed")
    config = Path(found.origin).parent / "viewer_config.py"
    if not config.is_file():
        raise ImportError("this itkwidgets is not one of version 1")
    spec = importlib.util.spec_from_file_location("_itkwidgets_viewer_config", config)
    assert spec is not None  # as the file is there
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return str(module.ITK_VIEWER_SRC)


def _opened(case: Case, readers: tuple[Reader, ...]) -> Any:
    import itkwidgets
    from ngff_zarr import to_ngff_image

    straight = straighten(case)
    grid = straight.ct.grid
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for bit, reader in enumerate(readers):
        labels |= straight.masks[reader].array.astype(np.uint8) << np.uint8(bit)

    def image(array: Any) -> Any:
        # ITK's world is LPS, its arrays run (z, y, x): both are turned, so that each voxel stays
        last = grid.to_mm(np.array(grid.shape) - 1)
        places = {"x": -last[0], "y": -last[1], "z": grid.to_mm((0, 0, 0))[2]}
        return to_ngff_image(
            np.ascontiguousarray(array[::-1, ::-1].T),
            dims=("z", "y", "x"),
            scale=dict(zip("xyz", grid.spacing_mm, strict=True)),
            translation={axis: float(mm) for axis, mm in places.items()},
        )

    names = ["Background"]
    if len(readers) == 2:
        names += [f"{readers[0].name} only", f"{readers[1].name} only", "Both"]
    given = {"label_image": image(labels), "label_names": list(enumerate(names))}
    return itkwidgets.view(
        image=image(np.rint(straight.ct.array).astype(np.int16)),
        **(given if len(names) > 1 else {}),
    )
