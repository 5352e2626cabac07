"""Curves of sensitivity against false-positive volume, with points for models and experts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from boneviz.operating import Curve, OperatingPoint
from boneviz.show.counted import Stand
from boneviz.show.surfaces import plain

__all__ = ["operating_figure", "thinned"]

LOWEST = 0.05  # threshold down to which the chosen curve is in view, and as far as points need it
FIRST = 2  # of a curve's cuts, the first at 0.01 or above
STEP = 0.015  # of an axis: points that lie nearer are not told apart
PAPER = "#101418"  # the images' black, so that a pale curve is as visible as a pale contour
SOFT = "#7a8594"
GRID = "rgba(128,138,150,0.28)"


def thinned(curve: Curve, width_ml: float) -> list[tuple[float, float, float]]:
    """Return false-positive mL, sensitivity and threshold of the points that can be told apart.

    From 0.01, where the slider begins. The cut above probability 1, which is nothing, is left out:
    a line to it would run through places that no threshold reaches.

    Parameters
    ----------
    width_ml : of the axis
    """
    kept: list[tuple[float, float, float]] = []
    columns = (curve.false_positive_ml, curve.sensitivity, curve.threshold)
    rows = [*zip(*(column[FIRST:-1].tolist() for column in columns), strict=True)]
    for x, y, t in rows[:-1]:
        if not kept or abs(x - kept[-1][0]) > STEP * width_ml or abs(y - kept[-1][1]) > STEP:
            kept.append((x, y, t))
    return [*kept, rows[-1]]


def operating_figure(
    shown: Sequence[Stand],
    chosen: Stand,
    expert: str,
    between: Sequence[OperatingPoint],
    colours: Mapping[str, str],
) -> go.Figure:
    """Return the curves against one expert.

    Parameters
    ----------
    shown : models and dial, `chosen` among them
    expert : against whom
    between : experts against each other; those against `expert` are points
    colours : by name of the reader, the dial's name being empty
    """
    curves = {stand.model: stand.cuts.curve(expert) for stand in shown}
    points = {stand.model: _against(stand, expert) for stand in shown}
    others = [point for point in between if point.reference == expert]
    far = [point.false_positive_ml for point in (*points.values(), *others)]
    far.append(float(curves[chosen.model].false_positive_ml[int(LOWEST * 255)]))
    width_ml = 1.06 * max(far) or 1.0
    ordered = sorted(shown, key=lambda stand: stand is chosen)
    data = [
        _line(curves[stand.model], width_ml, colours[stand.model], bold=stand is chosen)
        for stand in ordered
    ]
    data += [
        _mark(points[stand.model], stand.label, colours[stand.model], bold=stand is chosen)
        for stand in ordered
    ]
    data += [_expert(point, colours[point.candidate], width_ml) for point in others]
    itself = {"x": [0], "y": [1], "text": [plain(expert)], "textposition": "top right"}
    data.append(_diamond(itself, f"{plain(expert)}, itself", colours[expert]))
    undefined = math.isnan(points[chosen.model].sensitivity)
    return go.Figure(
        {"data": data, "layout": _layout(chosen, expert, width_ml, undefined=undefined)}
    )


def _against(stand: Stand, expert: str) -> OperatingPoint:
    return next(point for point in stand.points if point.reference == expert)


def _line(curve: Curve, width_ml: float, colour: str, *, bold: bool) -> dict[str, Any]:
    rows = thinned(curve, width_ml)
    drawn: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines",
        "x": [round(x, 2) for x, _, _ in rows],
        "y": [round(y, 3) for _, y, _ in rows],
        "line": {"color": colour, "width": 3 if bold else 1.3},
    }
    if not bold:
        return {**drawn, "opacity": 0.6, "hoverinfo": "skip"}
    return {
        **drawn,
        "customdata": [round(t, 2) for _, _, t in rows],
        "hovertemplate": f"{plain(curve.candidate)} at %{{customdata}}<br>sensitivity %{{y}}"
        "<br>false positive %{x} mL<extra></extra>",
    }


def _mark(point: OperatingPoint, label: str, colour: str, *, bold: bool) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [point.false_positive_ml],
        "y": [point.sensitivity],
        "marker": {
            "color": colour,
            "size": 15 if bold else 9,
            "line": {"color": "#ffffff" if bold else PAPER, "width": 2 if bold else 1},
        },
        "hovertemplate": f"{plain(label)}<br>sensitivity %{{y:.3f}}"
        "<br>false positive %{x:.2f} mL<extra></extra>",
    }


def _expert(point: OperatingPoint, colour: str, width_ml: float) -> dict[str, Any]:
    side = "left" if point.false_positive_ml > 0.6 * width_ml else "right"
    place = {
        "x": [point.false_positive_ml],
        "y": [point.sensitivity],
        "text": [plain(point.candidate)],
        "textposition": f"top {side}",
    }
    return _diamond(place, plain(point.candidate), colour)


def _diamond(place: dict[str, Any], label: str, colour: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers+text",
        **place,
        "textfont": {"color": "#e8edf2", "size": 11},
        "marker": {
            "symbol": "diamond",
            "color": colour,
            "size": 12,
            "line": {"color": "#ffffff", "width": 1},
        },
        "hovertemplate": f"{label}<br>sensitivity %{{y:.3f}}"
        "<br>false positive %{x:.2f} mL<extra></extra>",
        "cliponaxis": False,
    }


def _layout(chosen: Stand, expert: str, width_ml: float, *, undefined: bool) -> dict[str, Any]:
    axis = {"fixedrange": True, "gridcolor": GRID, "zeroline": False, "automargin": True}
    nothing = {
        "text": f"{plain(expert)} outlines nothing here:<br>no sensitivity",
        "showarrow": False,
        "font": {"color": "#e8edf2"},
        "xref": "paper",
        "yref": "paper",
        "x": 0.5,
        "y": 0.5,
    }
    return {
        # plotly's own template is as long as all the rest, and all that it says is said here
        "template": "none",
        "autosize": True,
        "height": 264,
        "margin": {"l": 8, "r": 14, "t": 30, "b": 8},
        "title": {
            "text": f"{plain(chosen.label)} against {plain(expert)}",
            "font": {"size": 13},
            "x": 0.02,
            "y": 0.97,
        },
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": PAPER,
        "font": {"color": SOFT},
        "showlegend": False,
        "hovermode": "closest",
        "dragmode": False,
        "annotations": [nothing] if undefined else [],
        "xaxis": {
            **axis,
            "title": {"text": "False-positive volume (mL)", "font": {"size": 12}},
            "range": [-0.02 * width_ml, width_ml],
        },
        "yaxis": {
            **axis,
            "title": {"text": "Sensitivity", "font": {"size": 12}},
            "range": [0, 1.15],
            "tickvals": [0, 0.2, 0.4, 0.6, 0.8, 1],
        },
    }
