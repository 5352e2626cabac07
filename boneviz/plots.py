"""Plots as SVG text: points per patient in panels side by side, and curves of learning.

No script and no font is loaded; text stays text. Readers are told apart by the shape of their
marker and by whether it is filled as well as by colour, and every point says its value when
pointed at.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

__all__ = ["Line", "Marker", "Panel", "Scale", "Series", "curve_plot", "patient_plot", "ticks"]

Marker = Literal["circle", "diamond", "triangle", "square"]

WIDTH = 1024
ROW, LEAST_ROW = 15.0, 3.0  # px per patient; thinner where there are many
MOST_HEIGHT = 1500.0  # px of all rows, from which they become thinner
LABELLED = 10.0  # px per row from which patients are named
LETTER = 6.2  # px that a letter takes
GAP, EDGE = 22.0, 10.0
INK, SOFT, FAINT = "#17202b", "#5b6776", "#d7dde4"
DASHES = ("", "6 3", "2 2", "8 3 2 3", "12 4", "1 3")


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight axis: from a value to a place in px.

    Parameters
    ----------
    low, high : values at the ends
    start, end : their places in px; `end` may lie before `start`, as upwards it does
    """

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True, slots=True)
class Series:
    """One marker per patient.

    Parameters
    ----------
    name : in the legend
    values : patient -> value; NaN or lacking where there is none
    marker, colour, filled : how it is drawn, an ink outline about all
    """

    name: str
    values: Mapping[str, float]
    marker: Marker
    colour: str
    filled: bool = True


@dataclass(frozen=True, slots=True)
class Panel:
    """One column of a plot over patients; markers of one patient are joined by a line.

    Parameters
    ----------
    title : above it; label : beneath its axis, with the unit
    series : what is drawn
    low, high : ends of the axis
    line_at : where a dashed upright line is drawn, such as 0 for differences; none by default
    """

    title: str
    label: str
    series: tuple[Series, ...]
    low: float
    high: float
    line_at: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One curve: `x` and `y` of like length, its points marked where `marked`."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: str
    marked: bool = False


def ticks(low: float, high: float, *, about: int = 5) -> tuple[float, ...]:
    """Return round values between two others, about so many: steps of 1, 2 or 5 times 10^k."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return tuple(round(n * step, 10) for n in range(first, last + 1))


def patient_plot(patients: Sequence[str], panels: Sequence[Panel], *, title: str) -> str:
    """Return an SVG with one row per patient and the panels side by side.

    Parameters
    ----------
    patients : ids, from top to bottom; named where rows are high enough
    panels : at least one
    title : what screen readers say
    """
    row = _row_height(len(patients))
    named = row >= LABELLED
    longest = max((len(p) for p in patients), default=0)
    left = EDGE + (min(18, longest) * LETTER + 8 if named else 0)
    width = (WIDTH - left - EDGE - GAP * (len(panels) - 1)) / len(panels)
    legend, legend_height = _legend(panels)
    top = legend_height + 26
    bottom = top + row * len(patients)
    parts = [legend]
    for place, patient in enumerate(patients):
        y = top + row * (place + 0.5)
        if named:
            name = patient if len(patient) <= 18 else patient[:17] + "\N{HORIZONTAL ELLIPSIS}"
            parts.append(_text(left - 6, y + 4, name, anchor="end", hint=patient))
    for place, panel in enumerate(panels):
        start = left + place * (width + GAP)
        parts += _panel(panel, patients, Scale(panel.low, panel.high, start, start + width), top)
    return _svg(WIDTH, bottom + 38, title, parts)


def _row_height(n: int) -> float:
    return min(ROW, max(LEAST_ROW, MOST_HEIGHT / max(1, n)))


def _panel(panel: Panel, patients: Sequence[str], scale: Scale, top: float) -> list[str]:
    row = _row_height(len(patients))
    bottom = top + row * len(patients)
    middle = (scale.start + scale.end) / 2
    parts = [_text(middle, top - 10, panel.title, anchor="middle", bold=True)]
    for tick in ticks(panel.low, panel.high):
        x = scale(tick)
        parts.append(_line(x, top, x, bottom, FAINT))
        parts.append(_text(x, bottom + 14, f"{tick:g}".replace("-", "\N{MINUS SIGN}"), "middle"))
    parts.append(_line(scale.start, bottom, scale.end, bottom, SOFT))
    if panel.line_at is not None:
        x = scale(panel.line_at)
        parts.append(_line(x, top, x, bottom, INK, dash="5 3"))
    parts.append(_text(middle, bottom + 30, panel.label, anchor="middle"))
    size = min(4.6, 0.36 * row)
    for place, patient in enumerate(patients):
        y = top + row * (place + 0.5)
        found = [(s, s.values.get(patient, math.nan)) for s in panel.series]
        defined = [(series, value) for series, value in found if not math.isnan(value)]
        if not defined:
            parts.append(_text(scale.start + 3, y + 4, "undefined", faint=True))
            continue
        places = [scale(value) for _, value in defined]
        if len(places) > 1 and row >= 2 * LEAST_ROW:
            parts.append(_line(min(places), y, max(places), y, SOFT))
        for (series, value), x in zip(defined, places, strict=True):
            says = f"{patient}, {panel.title}, {series.name}: {value:.3f}"
            parts.append(_marker(x, y, size, series, says))
    return parts


def _legend(panels: Sequence[Panel]) -> tuple[str, float]:
    """Return the legend of all series by name, each once, and the height that it takes.

    A name that is drawn in several colours, as for two experts, is grey in the legend.
    """
    every = [s for panel in panels for s in panel.series]
    parts: list[str] = []
    x, y = EDGE + 6, 12.0
    for name in dict.fromkeys(series.name for series in every):
        own = [series for series in every if series.name == name]
        colour = own[0].colour if len({series.colour for series in own}) == 1 else SOFT
        shown = replace(own[0], colour=colour, filled=any(series.filled for series in own))
        taken = len(name) * LETTER + 40
        if x + taken > WIDTH and x > EDGE + 6:
            x, y = EDGE + 6, y + 18
        parts += [_marker(x, y, 4.6, shown, name), _text(x + 10, y + 4, name)]
        x += taken
    return "".join(parts), y + 10


def curve_plot(
    lines: Sequence[Line], *, title: str, x_label: str, y_label: str, y_low: float, y_high: float
) -> str:
    """Return an SVG of curves over one pair of axes, told apart by dashes and named beneath.

    Parameters
    ----------
    lines : with at least one point each
    title : what screen readers say
    x_label, y_label : with units
    y_low, y_high : ends of the upright axis; what lies beyond is drawn at its end
    """
    width, top, left, right, bottom = 330.0, 22.0, 44.0, 320.0, 150.0
    x_high = max((max(line.x) for line in lines), default=1.0)
    across = Scale(0, max(x_high, 1.0), left, right)
    up = Scale(y_low, y_high, bottom, top)
    parts = [_text(4, 12, y_label)]
    for tick in ticks(across.low, across.high, about=4):
        parts.append(_text(across(tick), bottom + 14, f"{tick:g}", "middle"))
        parts.append(_line(across(tick), bottom, across(tick), bottom + 3, SOFT))
    for tick in ticks(y_low, y_high, about=4):
        parts.append(_text(left - 5, up(tick) + 4, f"{tick:g}", "end"))
        parts.append(_line(left, up(tick), right, up(tick), FAINT))
    parts.append(_line(left, bottom, right, bottom, SOFT))
    parts.append(_text(right, bottom + 28, x_label, "end"))
    y = bottom + 44
    x = left
    for number, line in enumerate(lines):
        dash = DASHES[number % len(DASHES)]
        points = [
            (across(at), up(min(max(value, y_low), y_high)))
            for at, value in zip(line.x, line.y, strict=True)
            if not math.isnan(value)
        ]
        parts.append(_path(points, line.colour, dash))
        if line.marked:
            parts += [_dot(*point, line.colour) for point in points]
        taken = 30 + len(line.name) * LETTER
        if x + taken > width and x > left:
            x, y = left, y + 15
        parts.append(_path([(x, y - 4), (x + 22, y - 4)], line.colour, dash))
        parts.append(_text(x + 26, y, line.name))
        x += taken + 12
    return _svg(width, y + 6, title, parts)


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    said = html.escape(title)
    return (
        f'<svg role="img" aria-label="{said}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" font-size="11" '
        f'font-family="system-ui,sans-serif"><title>{said}</title>{"".join(parts)}</svg>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    anchor: str = "start",
    *,
    bold: bool = False,
    faint: bool = False,
    hint: str = "",
) -> str:
    weight = ' font-weight="600"' if bold else ""
    more = f"<title>{html.escape(hint)}</title>" if hint and hint != text else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
        f'fill="{SOFT if faint else INK}"{weight}>{more}{html.escape(text)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'
    )


def _path(points: Sequence[tuple[float, float]], colour: str, dash: str) -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return (
        f'<polyline points="{at}" fill="none" stroke="{colour}" stroke-width="1.6"{dashes}/>'
        if points
        else ""
    )


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}" stroke="{INK}"/>'


# corners about the middle, in units of the marker's size
_CORNERS: dict[Marker, tuple[tuple[float, float], ...]] = {
    "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    "triangle": ((0, -1.2), (1.15, 0.85), (-1.15, 0.85)),
    "square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
}


def _marker(x: float, y: float, size: float, series: Series, says: str) -> str:
    # a hollow one keeps its colour as a thicker outline
    fill = series.colour if series.filled else "#ffffff"
    outline = (INK, 0.8) if series.filled else (series.colour, 1.8)
    drawn = f'fill="{fill}" stroke="{outline[0]}" stroke-width="{outline[1]}"'
    hint = f"<title>{html.escape(says)}</title>"
    if series.marker == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size:.1f}" {drawn}>{hint}</circle>'
    at = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in _CORNERS[series.marker])
    return f'<polygon points="{at}" {drawn}>{hint}</polygon>'
