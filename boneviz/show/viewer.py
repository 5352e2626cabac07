"""The slice viewer: fused PET/CT in three linked planes with every reader's contour.

Python sends each volume once, packed; the page draws with WebGL2 and owns the interaction. What
changes the look (window, SUV range, opacity, readers shown, position) is a trait, changed at
once in the page and told to Python after; Python may set it too. Position, visible readers and the
range of a PET in counts belong to one case: the page tells them along with the case's number, and
what it says of a case shown before is dropped.

How they are packed is in `boneviz.show.packing`; what a page without WebGL2 gets in place of its
own drawing, in `boneviz.show.pictures`.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from dataclasses import replace
from numbers import Real
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from numpy.typing import NDArray

from boneviz.case import DEFAULT_THRESHOLD, Case, Reader
from boneviz.errors import InputError
from boneviz.palette import COLOUR_MAPS, DIAL, PAIR_COLOURS, ReaderStyle, heat_colours
from boneviz.petrecord import NO_SUV
from boneviz.picture import Display, png_of
from boneviz.show import packing
from boneviz.show.later import TURN
from boneviz.show.packing import MAX_READERS, Piece, packed_case, start_mm
from boneviz.show.pictures import HeldCase, picture_of
from boneviz.show.plan import plan_of
from boneviz.show.still import Still, bundle_of, still_html, still_picture
from boneviz.volume import Volume

__all__ = ["COLOUR_MAPS", "MAX_READERS", "MAX_ZOOM", "PLANES", "VIEWS", "SliceViewer"]

PLANES = ("axial", "sagittal", "coronal", "mip")
VIEWS = ("readers", "disagreement", "error", "probability")
OF_ONE_CASE = ("cursor_mm", "visible", "pair", "counts_range", "frame")
MAX_ZOOM = 40  # as in front/frame.js
REGION_KEYS = ("next", "previous", "star")  # what n, p and s ask for

FRONT = Path(__file__).parent
# in the order in which they use each other
MODULES = (
    "front/geometry.js",
    "front/window.js",
    "front/modes.js",
    "front/store.js",
    "front/frame.js",
    "front/shader.js",
    "front/scene.js",
    "front/blend.js",
    "front/pictures.js",
    "front/cast.js",
    "front/overlay.js",
    "front/chrome.js",
    "front/stage.js",
    "front/pet.js",
    "front/modebar.js",
    "front/readout.js",
    "front/words.js",
    "front/snapshot.js",
    "front/draw.js",
    "front/easel.js",
    "front/drawbar.js",
    "front/artist.js",
    "front/around.js",
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
    visible : names of the readers whose contours are drawn in the view ``readers``
    view : ``readers`` (contours), ``disagreement`` (where one of a pair or both say yes),
        ``error`` (a model against an expert: found, missed, extra) or ``probability`` (of a model)
    pair : names of reference and candidate, for all views but ``readers``
    heat : ``disagreement`` counts how many of all readers say yes
    thresholds : name of a model -> probability from which on it says yes, 0 < threshold <= 1;
        0.5 where there is none, and only for models shown with their probabilities
    dial : ``first``, ``second`` and ``at``: names of two models shown with their probabilities,
        and how far from the first to the second, 0 to 1, one more outline lies in the view
        ``readers``: of `boneviz.blend` at the same blend of their thresholds. Empty for none.
    level, width : CT window, HU
    suv_min, suv_max : range of the PET colours, SUVbw
    counts_range : range of the PET colours in a case whose PET is in counts; begins at the
        `boneviz.picture.counts_range` of each, and is 0 to 1 where the PET is in SUVbw
    opacity : of PET over CT, 0 to 1
    mode : ``ct``, ``pet`` or ``fused``
    colour_map : one of `COLOUR_MAPS`
    filled : in the view ``readers``, what each marks is tinted
    alone : the plane that has the stage for itself (``axial``, ``sagittal``, ``coronal`` or
        ``mip``); empty for all four
    frame : ``zoom`` (1: all of the case is in view) and ``centre_mm``, the middle of the planes;
        empty for all in view. Begins empty with each case.
    exact : contours follow the voxels' own edges instead of a smooth line through them
    case_info : what the page knows of the case; changes with every `show`
    """

    _esm = _one_module()
    # text, not a path: anywidget keeps whoever uses a file for as long as the kernel runs
    _css = (FRONT / "viewer.css").read_text(encoding="utf-8")

    _key = traitlets.Unicode().tag(sync=True)
    case_info = traitlets.Dict().tag(sync=True)
    cursor_mm = traitlets.List(traitlets.Float(), [0.0, 0.0, 0.0], 3, 3).tag(sync=True)
    visible = traitlets.List(traitlets.Unicode()).tag(sync=True)
    pair = traitlets.List(traitlets.Unicode()).tag(sync=True)
    # what the page says of these: {"serial": of the case, "value": ...}. Number and value are
    # one trait, since a page sends only what changed and joins messages while the kernel is busy.
    told_cursor_mm = traitlets.Dict().tag(sync=True)
    told_visible = traitlets.Dict().tag(sync=True)
    told_pair = traitlets.Dict().tag(sync=True)
    told_counts_range = traitlets.Dict().tag(sync=True)
    told_frame = traitlets.Dict().tag(sync=True)
    view = traitlets.Enum(VIEWS, VIEWS[0]).tag(sync=True)
    heat = traitlets.Bool(False).tag(sync=True)
    thresholds = traitlets.Dict().tag(sync=True)
    dial = traitlets.Dict().tag(sync=True)
    level = traitlets.Float(Display().level_hu).tag(sync=True)
    width = traitlets.Float(Display().width_hu).tag(sync=True)
    suv_min = traitlets.Float(0.0).tag(sync=True)
    suv_max = traitlets.Float(Display().suv_max).tag(sync=True)
    counts_range = traitlets.List(traitlets.Float(), [0.0, 1.0], 2, 2).tag(sync=True)
    opacity = traitlets.Float(Display().opacity, min=0.0, max=1.0).tag(sync=True)
    mode = traitlets.Enum(("ct", "pet", "fused"), "fused").tag(sync=True)
    colour_map = traitlets.Enum(COLOUR_MAPS, COLOUR_MAPS[0]).tag(sync=True)
    exact = traitlets.Bool(False).tag(sync=True)
    filled = traitlets.Bool(False).tag(sync=True)
    alone = traitlets.Enum(("", *PLANES), "").tag(sync=True)
    frame = traitlets.Dict().tag(sync=True)
    defaults = traitlets.Dict().tag(sync=True)

    _turn = TURN

    def __init__(self, **traits: Any) -> None:
        super().__init__(_key=uuid.uuid4().hex, **traits)
        looks = (
            "level",
            "width",
            "suv_min",
            "suv_max",
            "opacity",
            "mode",
            "colour_map",
            "exact",
            "filled",
        )
        self.defaults = {name: getattr(self, name) for name in looks}
        self._shown: HeldCase | None = None
        self._pieces: tuple[Piece, ...] = ()
        self._packers = ThreadPoolExecutor(2, thread_name_prefix="boneviz-viewer")
        self._on_region_key: Callable[[str], None] | None = None
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
        predictions: Mapping[Reader, Volume] | None = None,
        cursor_mm: Sequence[float] | None = None,
        visible: Sequence[str] | None = None,
        pair: Sequence[str] | None = None,
        draws: str = "",
    ) -> None:
        """Show a case in place of the one before.

        Parameters
        ----------
        case : CT and masks on one straight RAS grid; the PET on a straight RAS grid of its own
        styles : whose contours to draw, in the order of the legend and of the keys 1 to 8
        predictions : probabilities of models on the CT's grid, kept in steps of 1/255 as on disk;
            such a model's outline is where they reach its threshold, whatever its mask says
        cursor_mm : where to begin; by default the hottest voxel that a reader marks
        visible : names of the readers to draw at first; by default all
        pair : names of reference and candidate; by default those shown before where both are
            here, else the first two readers
        draws : name of a reader whose outline the page offers to draw; only a
            `boneviz.show.canvas.Canvas` takes what is drawn

        Raises
        ------
        GridError
            A grid is oblique or not RAS (`straighten` makes it so), or a mask or probability is
            not on the CT's grid.
        InputError
            More than eight readers, a reader twice, or one without a mask; a pair that is not two
            of the readers; or this viewer is closed.
        """
        if self.comm is None:
            raise InputError("this viewer is closed; make a new SliceViewer()")
        packed = packed_case(case, styles, predictions or {})
        names = [style.reader.name for style in styles]
        if pair is not None and (why := _not_a_pair(pair, names)):
            raise InputError(f"patient {case.case_id}: {why}")
        with self._turn:
            serial = self.serial + 1
            self._forget()
            self._shown = HeldCase(case, tuple(styles), packed.bits, packed.probabilities)
            self._pieces = tuple(
                Piece(
                    serial,
                    name,
                    start,
                    self._packers.submit(
                        packing.pack, array, start, stop, name in ("ct", "coarse_ct")
                    ),
                )
                for name, (array, _) in packed.arrays.items()
                for start, stop in packing.cuts(array)
            )
            with self.hold_sync():
                self.case_info = {
                    "serial": serial,
                    **packed.info,
                    "pair_colours": list(PAIR_COLOURS),
                    "dial_colour": DIAL,
                    "heat_colours": list(heat_colours(len(styles))),
                    "draws": draws,
                }
                place_mm = start_mm(case, packed.bits) if cursor_mm is None else cursor_mm
                self.cursor_mm = [float(v) for v in place_mm]
                self.visible = names if visible is None else [n for n in names if n in visible]
                self.counts_range = packed.info["pet"]["range"] or [0.0, 1.0]
                self.frame = {}
                before = self.pair if pair is None else list(pair)
                self.pair = names[:2] if _not_a_pair(before, names) else before
                # also what stays the same here: the page may have moved on and not been heard yet
                self.send_state(["case_info", *OF_ONE_CASE])

    def outline(self, name: str) -> Volume:
        """Return where a reader of the case shown says yes, a model at its present threshold.

        Raises
        ------
        InputError
            No case is shown, or it has no such reader.
        """
        shown = self._shown
        if shown is None:
            raise InputError("no case is shown; call show() first")
        if name not in (names := [style.name for style in shown.styles]):
            raise InputError(f"no reader {name!r} is shown; there is {', '.join(names)}")
        return Volume(shown.mask(name, self.thresholds), shown.case.ct.grid, "label")

    def still(self) -> Still:
        """Return a picture of the present slices, made without a page.

        Raises
        ------
        InputError
            No case is shown.
        """
        names = {"suv_min": "suvMin", "suv_max": "suvMax", "colour_map": "colourMap"}
        with self._turn:  # nothing of the next case over this one
            shown = self._shown
            if shown is None:
                raise InputError("no case is shown; call show() first")
            plan = plan_of(
                self.view,
                self.pair,
                shown.styles,
                soft=[reader.name for reader in shown.probabilities],
                visible=self.visible,
                heat=self.heat,
                filled=self.filled,
            )
            dial = dict(self.dial)
            look = {names.get(name, name): getattr(self, name) for name in self.defaults}
            if not shown.case.has_suv:
                look["suvMin"], look["suvMax"] = self.counts_range
            place_mm, thresholds = list(self.cursor_mm), dict(self.thresholds)
        if self.view == "readers" and shown.can_dial(dial):
            name = f"Dial at {100 * dial['at']:.0f} %"
            first, second = (
                thresholds.get(dial[w], DEFAULT_THRESHOLD) for w in ("first", "second")
            )
            thresholds[name] = (1 - dial["at"]) * first + dial["at"] * second
            line = {"name": name, "colour": DIAL, "dashed": True}
            plan = replace(plan, lines=(*plan.lines, line))
        picture = still_picture(shown, place_mm, look, plan, thresholds, dial)
        low, high = self.counts_range
        pet = f"There is {NO_SUV}, shown from {low:.4g} to {high:.4g}."
        return Still(shown.case.case_id, picture, plan, "" if shown.case.has_suv else pet)

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Offer a still picture beside the widget, to front ends that cannot run it."""
        answer = super()._repr_mimebundle_(**kwargs)
        if answer is None or self._shown is None:
            return answer
        still = self.still()
        data, metadata = answer
        return {**bundle_of(still, still_html("", still)), **data}, metadata

    def on_region_key(self, callback: Callable[[str], None]) -> None:
        """Call back with ``next``, ``previous`` or ``star`` when n, p or s is pressed."""
        self._on_region_key = callback

    def centre(self) -> None:
        """Bring the cursor into the middle of every plane, in pages that are zoomed in."""
        self.send({"kind": "centre", "serial": self.serial})

    def bring_into_view(self) -> None:
        """Scroll pages to the slices where less than half of them is seen."""
        self.send({"kind": "reveal", "serial": self.serial})

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
        if self.comm is None:  # again, by the garbage collector: it must not wait for a turn
            return
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
        known_key = content.get("kind") == "region" and content.get("key") in REGION_KEYS
        if known_key and self._on_region_key is not None:
            self._on_region_key(content["key"])

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
        on_one_grid = shown.on_one_grid()
        with self._turn:
            if self._shown is shown:
                self._shown = on_one_grid
        return picture_of(on_one_grid, wish)

    @traitlets.validate("thresholds")
    def _check_thresholds(self, proposal: dict[str, Any]) -> dict[str, float]:
        for name, threshold in proposal["value"].items():
            number = isinstance(threshold, Real) and not isinstance(threshold, bool)
            if not number or not 0 < threshold <= 1:
                raise traitlets.TraitError(
                    f"threshold of {name}: {threshold!r}, expected a number above 0 and at most 1"
                )
        return {str(name): float(value) for name, value in proposal["value"].items()}

    @traitlets.validate("counts_range")
    def _check_counts_range(self, proposal: dict[str, Any]) -> list[float]:
        low, high = proposal["value"]
        if not (math.isfinite(low) and math.isfinite(high) and high > low):
            raise traitlets.TraitError(
                f"counts_range {low} to {high}: expected two finite numbers, the second larger"
            )
        return [low, high]

    @traitlets.validate("frame")
    def _check_frame(self, proposal: dict[str, Any]) -> dict[str, Any]:
        frame = dict(proposal["value"])
        if not frame:
            return {}
        numbers = [frame.get("zoom"), *frame.get("centre_mm", ())]
        plain = all(isinstance(n, Real) and not isinstance(n, bool) for n in numbers)
        right = set(frame) == {"zoom", "centre_mm"} and len(numbers) == 4 and plain
        if not (right and all(map(math.isfinite, numbers)) and 0.5 <= frame["zoom"] <= MAX_ZOOM):
            raise traitlets.TraitError(
                f"frame {frame}: expected zoom, 0.5 to {MAX_ZOOM}, and three numbers of centre_mm"
            )
        return {"zoom": float(frame["zoom"]), "centre_mm": [float(v) for v in numbers[1:]]}

    @traitlets.validate("dial")
    def _check_dial(self, proposal: dict[str, Any]) -> dict[str, Any]:
        dial = proposal["value"]
        if dial and not (set(dial) == {"first", "second", "at"} and 0 <= dial["at"] <= 1):
            raise traitlets.TraitError(
                f"dial {dial}: expected first, second and at, which is 0 to 1"
            )
        return dict(dial)

    @traitlets.validate("pair")
    def _check_pair(self, proposal: dict[str, Any]) -> list[str]:
        value = list(proposal["value"])
        readers = self.case_info.get("readers")
        # a case of one reader has no pair
        if value != (names := [reader["name"] for reader in readers or ()])[:2]:
            why = _not_a_pair(value, names) if readers else ""
            if why:
                raise traitlets.TraitError(why)
        return value


def _not_a_pair(pair: Sequence[str], names: Sequence[str]) -> str:
    """Return why these are not reference and candidate among the names, or an empty text."""
    if len(pair) != 2 or pair[0] == pair[1]:
        return f"pair {list(pair)}: expected the names of two readers, reference and candidate"
    if missing := [name for name in pair if name not in names]:
        return f"pair {list(pair)}: no reader {missing[0]!r} here; there is {', '.join(names)}"
    return ""
