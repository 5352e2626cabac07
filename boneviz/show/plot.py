"""A plotly figure in the page: drawn from the kernel's own copy of plotly, told of clicks.

Plotly's own widget sends five megabytes of program for every figure, and anywidget gives a
model two seconds to start: on a busy page the figure then stays deaf to its kernel for good. Here
the program is asked for once per page, after the widget has started.
"""

from __future__ import annotations

import base64
import gzip
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import plotly
import plotly.graph_objects as go
import traitlets
from plotly.offline import get_plotlyjs

__all__ = ["PlotClick", "PlotView"]

FRONT = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class PlotClick:
    """Where a figure was clicked.

    Parameters
    ----------
    trace : place of the trace in ``figure.data``
    point : place of the point in the trace; row and column in a heat map
    """

    trace: int
    point: tuple[int, ...]


class PlotView(anywidget.AnyWidget):
    """Show a figure; change it with plotly's own means, then `draw` or `restyle`.

    Parameters
    ----------
    figure : what to show
    label : what a screen reader says it is
    on_click : called with the place of a clicked point of the figure as it now is; what is clicked
        on an older one, still on its way, is dropped
    name : a class of its own in the page
    config : plotly's settings of the page's side, on top of a figure that fits its panel
    """

    _esm = (FRONT / "plot.js").read_text(encoding="utf-8")
    _css = (FRONT / "plot.css").read_text(encoding="utf-8")
    _version = traitlets.Unicode(plotly.__version__).tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)

    def __init__(
        self,
        figure: go.Figure,
        *,
        label: str,
        on_click: Callable[[PlotClick], None] | None = None,
        name: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(label=label)
        self.figure = figure
        self._on_click = on_click
        self._config = {"displaylogo": False, **(config or {})}
        self._turn = threading.RLock()
        self._serial = 0
        self._restyles: dict[tuple[tuple[int, ...], tuple[str, ...]], dict[str, Any]] = {}
        self._heard = False
        self._packed: tuple[dict[str, Any], list[bytes]] = ({}, [])
        if name:
            self.add_class(name)
        self.on_msg(self._answer)
        self.draw()

    def draw(self) -> None:
        """Show the figure as it now is in every page."""
        with self._turn:
            self._serial += 1
            self._restyles.clear()
            buffers: list[bytes] = []
            content = _packed(self.figure.to_plotly_json(), buffers)
            self._packed = ({**content, "config": self._config}, buffers)
            if self._heard:
                self._send_figure()

    def restyle(self, traces: Sequence[int], changes: Mapping[str, Any]) -> None:
        """Change some traces in place, here and in every page.

        Parameters
        ----------
        traces : their places in ``figure.data``
        changes : new values by name, the same for all of these traces
        """
        if not traces:
            return
        for trace in traces:
            self.figure.data[trace].update(changes)
        with self._turn:
            content = {"traces": list(traces), "changes": dict(changes)}
            self._restyles[tuple(traces), tuple(changes)] = content
            if self._heard:
                self.send({"kind": "restyle", "serial": self._serial, **content})

    def _answer(self, _: object, content: dict[str, Any], __: object) -> None:
        kind = content.get("kind")
        if kind == "library":
            self.send({"kind": "library"}, buffers=[_library()])
        elif kind == "want":
            with self._turn:
                self._heard = True
                self._send_figure()
        elif kind == "click" and content.get("serial") == self._serial and self._on_click:
            self._on_click(PlotClick(int(content["trace"]), tuple(map(int, content["point"]))))

    def _send_figure(self) -> None:
        figure, buffers = self._packed
        self.send({"kind": "draw", "serial": self._serial, **figure}, buffers=buffers)
        for content in self._restyles.values():
            self.send({"kind": "restyle", "serial": self._serial, **content})


@cache
def _library() -> bytes:
    return gzip.compress(get_plotlyjs().encode(), compresslevel=5, mtime=0)


def _packed(value: Any, buffers: list[bytes]) -> Any:
    """Return the value as JSON knows it: plotly's packed arrays as buffers, NaN elsewhere None."""
    if isinstance(value, Mapping):
        if "bdata" in value:
            buffers.append(base64.b64decode(value["bdata"]))
            return {**value, "bdata": len(buffers) - 1}
        return {name: _packed(part, buffers) for name, part in value.items()}
    if isinstance(value, np.ndarray):
        return _packed(value.tolist(), buffers)
    if isinstance(value, (list, tuple)):
        return [_packed(part, buffers) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and math.isnan(value) else value
