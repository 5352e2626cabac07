"""Dice of every patient under two kinds of folds, beside the mean over slices, as a figure."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from boneviz.case import Reader
from boneviz.inflation import Inflation
from boneviz.palette import styles_of
from boneviz.show.plot import PlotView
from boneviz.show.surfaces import plain

__all__ = ["inflation_figure"]


def inflation_figure(found: Inflation) -> PlotView:
    """Return one panel per expert: a line per patient, and the mean over all slices dashed.

    A line joins the Dice in 3D of one patient with slice folds to that with patient folds; the
    dashed line is the number that flatters, per slice with slice folds.
    """
    figure = go.Figure(
        layout={
            "height": 360,
            "margin": {"l": 8, "r": 8, "t": 60, "b": 8},
            "title": {"text": "Dice in 3D, a line per patient", "font": {"size": 13}, "x": 0.02},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"color": "#7a8594"},
            "showlegend": False,
            "grid": {"rows": 1, "columns": len(found.experts), "pattern": "independent"},
        }
    )
    styles = styles_of([Reader(expert) for expert in found.experts])
    for place, (expert, style) in enumerate(zip(found.experts, styles, strict=True)):
        axis = "" if place == 0 else str(place + 1)
        for trace in _panel(found, expert, style.colour):
            figure.add_trace({**trace, "xaxis": f"x{axis}", "yaxis": f"y{axis}"})
        figure.update_layout(
            {
                f"xaxis{axis}": {
                    "title": plain(expert),
                    "fixedrange": True,
                    "range": [-0.3, 1.3],
                    "tickvals": [0, 1],
                    "ticktext": ["folds by slice", "folds by patient"],
                },
                f"yaxis{axis}": {"range": [0, 1.02], "fixedrange": True, "gridcolor": "#d7dce2"},
            }
        )
    return PlotView(figure, label="Dice under two kinds of folds")


def _panel(found: Inflation, expert: str, colour: str) -> list[dict[str, Any]]:
    """Return the traces of one expert: all patients as one broken line, and the dashed mean."""
    whole = found.per_patient(expert).dropna()
    x: list[int | None] = []
    y: list[float | None] = []
    text: list[str] = []
    for patient, row in whole.iterrows():
        x += [0, 1, None]
        y += [float(row["slice"]), float(row["patient"]), None]
        text += [plain(str(patient))] * 3
    mean = float(found.per_slice(expert, "slice").mean())
    return [
        {
            "type": "scatter",
            "x": x,
            "y": y,
            "text": text,
            "mode": "lines+markers",
            "line": {"color": colour, "width": 1},
            "hovertemplate": "%{text}: %{y:.3f}<extra></extra>",
            "name": f"{plain(expert)}, patients",
        },
        {
            "type": "scatter",
            "x": [-0.3, 1.3],
            "y": [mean, mean],
            "mode": "lines+text",
            "text": [f"mean over slices {mean:.2f}", ""],
            "textposition": "top right",
            "line": {"color": colour, "width": 2, "dash": "dash"},
            "hovertemplate": "mean over slices, folds by slice: %{y:.3f}<extra></extra>",
            "name": f"{plain(expert)}, mean over slices",
        },
    ]
