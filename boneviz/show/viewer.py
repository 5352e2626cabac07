"""The slice viewer: fused PET/CT in three linked planes with every reader's contour.

Python sends each volume once, packed; the page draws with WebGL2 and owns the interaction. What
changes the look (window, SUV range, opacity, readers shown, position) is a trait, changed at
once in the page and told to Python after; Python may set it too. Position and visible readers
belong to one case: the page tells them along with the case's number, and what it says of a case
shown before is dropped.

CT and PET travel as half floats: whole HU up to 2048, steps of 2 HU above (4 above 4096), and
0.05 % of an SUV. All readers travel as the bits of one byte per voxel.
"""

from __future__ import annotations

import gzip
import re
import threading
import uuid
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from boneviz.case import Case
from boneviz.errors import GridError, InputError
from boneviz.harmonise import harmonise
from boneviz.palette import COLOUR_MAPS, ReaderStyle
from boneviz.picture import Display, fused_slice, png_of
from boneviz.volume import Grid

__all__ = ["COLOUR_MAPS", "MAX_READERS", "SliceViewer"]

MAX_READERS = 8
PIECE_BYTES = 4 * 2**20  # before packing; stays below 5 MB even where nothing can be packed
HALF_MAX = 65504.0
OF_ONE_CASE = ("cursor_mm", "visible")

FRONT = Path(__file__).parent
# in the order in which they use each other
MODULES = (
    "front/geometry.js",
    "front/window.js",
    "front/store.js",
    "front/scene.js",
    "front/pictures.js",
    "front/overlay.js",
    "front/chrome.js",
    "front/readout.js",
    "front/input.js",
    "viewer.js",
)


def _one_module() -> str:
    """Return the front end as one ES module, since a widget brings exactly one."""
    texts = [(FRONT / name).read_text(encoding="utf-8") for name in MODULES]
    joined = "\n".join(texts)
    without_imports = re.sub(r'^import \{[^}]*\} from "\./[^"]+";\n', "", joined, flags=re.M)
    return re.sub(
        r"^export (?=(?:async )?(?:function|class|const)\b)", "", without_imports, flags=re.M
    )


class SliceViewer(anywidget.AnyWidget):
    """Show one case at a time; `show` puts another in its place.

    Traits
    ------
    cursor_mm : position of the crosshair, RAS+ millimetres; set it to move all planes there
    visible : names of the readers whose contours are drawn
    level, width : CT window, HU
    suv_min, suv_max : range of the PET colours, SUVbw
    opacity : of PET over CT, 0 to 1
    mode : ``ct``, ``pet`` or ``fused``
    colour_map : one of `COLOUR_MAPS`
    exact : contours follow the voxels' own edges instead of a smooth line through them
    case_info : what the page knows of the case; changes with every `show`
    """

    _esm = _one_module()
    _css = FRONT / "viewer.css"

    _key = traitlets.Unicode().tag(sync=True)
    case_info = traitlets.Dict().tag(sync=True)
    cursor_mm = traitlets.List(traitlets.Float(), [0.0, 0.0, 0.0], 3, 3).tag(sync=True)
    visible = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # what the page says of these two: {"serial": of the case, "value": ...}. Number and value are
    # one trait, since a page sends only what changed and joins messages while the kernel is busy.
    told_cursor_mm = traitlets.Dict().tag(sync=True)
    told_visible = traitlets.Dict().tag(sync=True)
    level = traitlets.Float(Display().level_hu).tag(sync=True)
    width = traitlets.Float(Display().width_hu).tag(sync=True)
    suv_min = traitlets.Float(0.0).tag(sync=True)
    suv_max = traitlets.Float(Display().suv_max).tag(sync=True)
    opacity = traitlets.Float(Display().opacity, min=0.0, max=1.0).tag(sync=True)
    mode = traitlets.Enum(("ct", "pet", "fused"), "fused").tag(sync=True)
    colour_map = traitlets.Enum(COLOUR_MAPS, COLOUR_MAPS[0]).tag(sync=True)
    exact = traitlets.Bool(False).tag(sync=True)
    defaults = traitlets.Dict().tag(sync=True)

    # JupyterLab has a page's messages handled in a thread of their own, beside the cells. One lock
    # for all viewers: two that move each other cannot wait for each other.
    _turn = threading.RLock()

    def __init__(self, **traits: Any) -> None:
        super().__init__(_key=uuid.uuid4().hex, **traits)
        looks = ("level", "width", "suv_min", "suv_max", "opacity", "mode", "colour_map", "exact")
        self.defaults = {name: getattr(self, name) for name in looks}
        self._shown: tuple[Case, tuple[ReaderStyle, ...]] | None = None
        self._pieces: tuple[_Piece, ...] = ()
        self._packers = ThreadPoolExecutor(2, thread_name_prefix="boneviz-viewer")
        self.on_msg(self._answer)

    @property
    def serial(self) -> int:
        """Counts the cases shown so far; every message about a case carries its number."""
        return int(self.case_info.get("serial", 0))

    def show(
        self,
        case: Case,
        styles: Sequence[ReaderStyle],
        *,
        cursor_mm: Sequence[float] | None = None,
        visible: Sequence[str] | None = None,
    ) -> None:
        """Show a case in place of the one before.

        Parameters
        ----------
        case : CT and masks on one straight RAS grid; the PET on a straight RAS grid of its own
        styles : whose contours to draw, in the order of the legend and of the keys 1 to 8
        cursor_mm : where to begin; by default the hottest voxel that a reader marks
        visible : names of the readers to draw at first; by default all

        Raises
        ------
        GridError
            A grid is oblique or not RAS (`straighten` makes it so), or a mask is not on the
            CT's grid.
        InputError
            More than eight readers, a reader twice, or one without a mask; or this viewer is
            closed.
        """
        if self.comm is None:
            raise InputError("this viewer is closed; make a new SliceViewer()")
        masks = _masks_of(case, styles)
        _require_straight(case, "CT", case.ct.grid)
        _require_straight(case, "PET", case.pet.grid)
        bits = np.zeros(case.ct.grid.shape, dtype=np.uint8)
        for place, mask in enumerate(masks):
            bits |= mask.astype(np.uint8) << np.uint8(place)
        suv = case.pet.array
        arrays = {
            "ct": (case.ct.array, case.ct.grid),
            "pet": (suv, case.pet.grid),
            "bits": (bits, case.ct.grid),
            "mip": (suv.max(axis=1, keepdims=True), case.pet.grid),
            "mip_bits": (np.bitwise_or.reduce(bits, axis=1, keepdims=True), case.ct.grid),
        }
        with self._turn:
            serial = self.serial + 1
            self._forget()
            self._shown = (case, tuple(styles))
            self._pieces = tuple(
                _Piece(
                    serial,
                    name,
                    start,
                    self._packers.submit(_pack, array, start, stop, name == "ct"),
                )
                for name, (array, _) in arrays.items()
                for start, stop in _cuts(array)
            )
            with self.hold_sync():
                self.case_info = {
                    "serial": serial,
                    "patient": case.case_id,
                    "readers": [
                        {"name": style.reader.name, "colour": style.colour, "dashed": style.dashed}
                        for style in styles
                    ],
                    "notes": list(case.notes),
                    "hu_range": [float(case.ct.array.min()), float(case.ct.array.max())],
                    "box": _box(bits),
                    "volumes": {
                        name: _describe(array, grid) for name, (array, grid) in arrays.items()
                    },
                }
                start_mm = _start(case, bits) if cursor_mm is None else cursor_mm
                self.cursor_mm = [float(v) for v in start_mm]
                names = [style.reader.name for style in styles]
                self.visible = names if visible is None else [n for n in names if n in visible]
                # also what stays the same here: the page may have moved on and not been heard yet
                self.send_state(["case_info", *OF_ONE_CASE])

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take over what the page changed, but not what it says of a case shown before."""
        taken = {name: value for name, value in sync_data.items() if name not in OF_ONE_CASE}
        with self._turn:
            for name in OF_ONE_CASE:
                told = taken.get(f"told_{name}")
                if told and told["serial"] == self.serial:
                    taken[name] = told["value"]
            super().set_state(taken)

    def close(self) -> None:
        """Let the volumes go and close the widget in every page."""
        with self._turn:
            self._forget()
            self._packers.shutdown(wait=False)
            super().close()

    def _forget(self) -> None:
        for piece in self._pieces:
            piece.packed.cancel()
        self._pieces = ()
        self._shown = None

    def _answer(self, _: object, content: dict[str, Any], __: object) -> None:
        """Send what a page asks for; one that asks about an earlier case will ask again."""
        if content.get("serial") != self.serial:
            return
        if content.get("kind") == "want":
            self._send_pieces()
        if content.get("kind") == "picture":
            self._send_picture(content)

    def _send_pieces(self) -> None:
        for piece in self._pieces:
            try:
                packed = piece.packed.result()
            except CancelledError:
                return  # another case has taken this one's place meanwhile
            self.send(
                {
                    "kind": "piece",
                    "serial": piece.serial,
                    "volume": piece.volume,
                    "offset": piece.offset,
                },
                buffers=[packed],
            )

    def _send_picture(self, wish: dict[str, Any]) -> None:
        """Send one slice as a picture, to a page without WebGL2, or why there is none."""
        answer = {name: wish[name] for name in ("kind", "serial", "plane", "key")}
        try:
            png = png_of(self._picture(wish))
        except Exception as error:
            # the page asks for nothing more until it has an answer
            self.send({**answer, "failed": str(error) or type(error).__name__})
            raise
        self.send(answer, buffers=[png])

    def _picture(self, wish: dict[str, Any]) -> NDArray[np.uint8]:
        shown = self._shown
        if shown is None:
            raise InputError("no case is shown; call show() first")
        case, styles = shown
        if not case.on_one_grid:
            case = harmonise(case)
            with self._turn:
                if self._shown is shown:
                    self._shown = (case, styles)
        look = wish["look"]
        return fused_slice(
            case,
            wish["plane"],
            wish["position_mm"],
            styles=[style for style in styles if style.reader.name in wish["visible"]],
            display=Display(
                level_hu=look["level"],
                width_hu=look["width"],
                suv_min=look["suvMin"],
                suv_max=look["suvMax"],
                opacity=look["opacity"],
                mode=look["mode"],
                colour_map=look["colourMap"],
                mm_per_pixel=wish["mm_per_pixel"],
            ),
        )


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of one volume's bytes, from `offset` on, being packed."""

    serial: int
    volume: str
    offset: int
    packed: Future[bytes]


def _item_bytes(array: NDArray[Any]) -> int:
    return 1 if array.dtype == np.uint8 else 2


def _cuts(array: NDArray[Any]) -> list[tuple[int, int]]:
    """Return the byte ranges in which an array is sent."""
    size = array.size * _item_bytes(array)
    return [(at, min(at + PIECE_BYTES, size)) for at in range(0, size, PIECE_BYTES)]


def _pack(array: NDArray[Any], start: int, stop: int, whole: bool) -> bytes:
    """Return bytes `start` to `stop` of the array, as half floats or bytes, in gzip.

    `whole` rounds to whole numbers: fractions of a HU are noise, and noise cannot be packed.
    """
    width = _item_bytes(array)
    part = array.reshape(-1)[start // width : stop // width]
    if width == 2:
        part = np.rint(part) if whole else part
        part = np.clip(part, -HALF_MAX, HALF_MAX).astype("<f2")
    return gzip.compress(part.tobytes(), compresslevel=1, mtime=0)


def _describe(array: NDArray[Any], grid: Grid) -> dict[str, Any]:
    affine = grid.affine_ras_mm
    return {
        "type": "bits" if array.dtype == np.uint8 else "half",
        "bytes": array.size * _item_bytes(array),
        "lattice": {
            "shape": list(array.shape),
            "spacing": [float(affine[axis, axis]) for axis in range(3)],
            "origin": [
                0.0 if array.shape[axis] == 1 != grid.shape[axis] else float(affine[axis, 3])
                for axis in range(3)
            ],
        },
    }


def _box(bits: NDArray[np.uint8]) -> list[list[int]] | None:
    """Return the lowest and the highest voxel that any reader marks, or None."""
    low, high = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(bits.any(axis=others))
        if not found.size:
            return None
        low.append(int(found[0]))
        high.append(int(found[-1]))
    return [low, high]


def _start(case: Case, bits: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the hottest marked place, or the middle where nothing is marked."""
    marked = np.argwhere(bits)
    if not marked.size:
        return np.asarray(case.ct.grid.corners_mm().mean(axis=0))
    places_mm = case.ct.grid.to_mm(marked)
    in_pet = np.rint(case.pet.grid.to_index(places_mm)).astype(int)
    in_pet = np.clip(in_pet, 0, np.array(case.pet.grid.shape) - 1)
    hottest = int(np.argmax(case.pet.array[tuple(in_pet.T)]))
    return np.asarray(places_mm[hottest], dtype=np.float64)


def _require_straight(case: Case, what: str, grid: Grid) -> None:
    if not grid.is_straight or grid.orientation != "RAS":
        raise GridError(
            f"patient {case.case_id}: {what} grid is {grid.describe()}, expected straight axes "
            "in RAS order; call straighten() or harmonise() first"
        )


def _masks_of(case: Case, styles: Sequence[ReaderStyle]) -> list[NDArray[np.bool_]]:
    names = [style.reader.name for style in styles]
    if len(names) > MAX_READERS:
        raise InputError(
            f"{len(names)} readers: the viewer shows at most {MAX_READERS}; choose some"
        )
    if len(set(names)) < len(names):
        raise InputError(f"readers {', '.join(names)}: expected each once")
    masks = []
    for style in styles:
        mask = case.masks.get(style.reader)
        if mask is None:
            known = ", ".join(reader.name for reader in case.masks) or "none"
            raise InputError(
                f"patient {case.case_id}: no mask of {style.reader.name!r}; it has {known}"
            )
        if not mask.grid.matches(case.ct.grid):
            raise GridError(
                f"patient {case.case_id}: mask of {style.reader.name} is on "
                f"{mask.grid.describe()}, the CT on {case.ct.grid.describe()}; "
                "call harmonise() first"
            )
        masks.append(mask.array)
    return masks
