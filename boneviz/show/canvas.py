"""The slice viewer with a drawing on it: what the page draws, Python draws too, step by step.

The page draws a stroke at once and tells it when it ends; fill, undo and redo it asks for and is
told which voxels changed. Each answer says how many voxels are drawn and the sum of their
positions, so that a page that shows anything else takes the drawing over as it is here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneviz.case import Case
from boneviz.drawing import Drawing
from boneviz.errors import BonevizError, InputError
from boneviz.palette import ReaderStyle
from boneviz.show.viewer import SliceViewer
from boneviz.volume import Volume

__all__ = ["Canvas", "check_sum", "stepped"]


def stepped(drawing: Drawing, step: Mapping[str, Any], pet: Volume) -> Drawing:
    """Return a drawing after a step that a page tells.

    Parameters
    ----------
    step : ``what`` is ``brush`` or ``erase`` with ``points_mm``, ``radius_mm`` and ``across``,
        ``fill`` with ``seed_mm``, ``suv`` and ``within_mm``, ``undo``, ``redo``, or ``whole``,
        which changes nothing
    pet : SUVbw, which a fill follows; in counts a fill is refused

    Raises
    ------
    InputError
        As `Drawing`'s own steps, or another step than these.
    """
    what = step.get("what")
    if what == "brush":
        return drawing.brush(step["points_mm"], radius_mm=step["radius_mm"], across=step["across"])
    if what == "erase":
        return drawing.erase(step["points_mm"], radius_mm=step["radius_mm"], across=step["across"])
    if what == "fill":
        within_mm = step["within_mm"]
        return drawing.fill_above(
            step["suv"], seed_mm=step["seed_mm"], within_mm=within_mm, pet=pet
        )
    if what == "undo":
        return drawing.undo()
    if what == "redo":
        return drawing.redo()
    if what == "whole":
        return drawing
    raise InputError(f"step {what!r}: expected brush, erase, fill, undo, redo or whole")


def check_sum(drawing: Drawing) -> int:
    """Return the sum of the positions drawn, modulo 2^32, as the page counts it."""
    return int(drawing.position.sum() % 2**32)


class Canvas(SliceViewer):
    """A slice viewer that one reader's outline can be drawn in; `show` ends the drawing.

    Parameters
    ----------
    on_drawn : called with the drawing after every step that changed it; what it cannot write
        (`OSError`) is told in the page
    """

    def __init__(self, *, on_drawn: Callable[[Drawing], None] | None = None, **traits: Any) -> None:
        self._on_drawn = on_drawn
        self._drawing: Drawing | None = None
        super().__init__(**traits)

    @property
    def drawing(self) -> Drawing | None:
        """What is drawn; None before `draw`."""
        return self._drawing

    def draw(self, case: Case, style: ReaderStyle, drawing: Drawing) -> None:
        """Show a case with one reader's drawing on it, and no other reader, to go on drawing.

        Parameters
        ----------
        case : on straight axes; its masks are not looked at and not sent
        style : whose drawing, and its colour
        drawing : on the CT's grid

        Raises
        ------
        GridError, InputError
            As `SliceViewer.show`.
        """
        alone = Case(
            case.patient_id,
            case.session,
            case.ct,
            case.pet,
            {style.reader: drawing.mask},
            case.notes,
            case.pet_origin,
        )
        with self._turn:
            self.show(alone, [style], draws=style.name)
            self._drawing = drawing

    def _answer(self, sender: object, content: dict[str, Any], buffers: object) -> None:
        super()._answer(sender, content, buffers)
        if content.get("kind") != "draw" or content.get("serial") != self.serial:
            return
        with self._turn:
            if self._drawing is not None and self.case_info["draws"]:
                self._take(self._drawing, content)

    def _take(self, before: Drawing, step: Mapping[str, Any]) -> None:
        """Make a step that the page tells, and answer with what it came to."""
        shown = self._shown
        assert shown is not None  # as there is a drawing
        after, problem = before, ""
        try:
            after = stepped(before, step, shown.case.pet)
        except (BonevizError, KeyError, TypeError, ValueError) as error:
            problem = str(error) or type(error).__name__
        self._drawing = after
        if after is not before and self._on_drawn is not None:
            try:
                self._on_drawn(after)
            except OSError as error:
                problem = f"Drawn, but not kept on disk: {error}"
        changed = np.setxor1d(before.position, after.position, assume_unique=True)
        # slices as pictures, and pages that open later, are made from these
        shown.bits.reshape(-1)[changed] ^= np.uint8(1)
        whole = step.get("what") == "whole"
        sent: NDArray[np.int64] | None = after.position if whole else changed
        if step.get("what") in ("brush", "erase"):
            sent = None  # the page has drawn it already
        self.send(
            {
                "kind": "drawn",
                "serial": self.serial,
                "page": step.get("page"),
                "number": step.get("number"),
                "voxels": after.n_voxels,
                "check": check_sum(after),
                "whole": whole,
                "undo": bool(after.past),
                "redo": bool(after.future),
                "problem": problem,
            },
            buffers=[] if sent is None else [sent.astype("<u4").tobytes()],
        )
