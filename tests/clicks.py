"""Clicks on figures, as the page tells of them."""

from __future__ import annotations

from boneviz.show.plot import PlotView


def click(view: PlotView, trace: int, *point: int, late: bool = False) -> None:
    """Say that a point was clicked; `late`: on the figure that was drawn before this one."""
    serial = view._serial - 1 if late else view._serial
    content = {"kind": "click", "serial": serial, "trace": trace, "point": list(point)}
    view._handle_custom_msg(content, [])
