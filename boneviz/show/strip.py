"""The patients of one pair: a strip of points beside a table, own and other expert joined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go

from boneviz.compare import CrossEvaluation, higher_is_better
from boneviz.palette import ReaderStyle
from boneviz.scorerow import Scores
from boneviz.show.page import prose
from boneviz.show.plot import PlotClick, PlotView
from boneviz.show.rows import RowTable, cell_text
from boneviz.show.surfaces import plain
from boneviz.show.values import spread, strip_table, strip_words

__all__ = ["StripPanel"]


class StripPanel:
    """The patients of one pair as points beside a table; a click on either opens the patient.

    Parameters
    ----------
    on_open : called with patient id, reference and candidate
    """

    def __init__(self, *, on_open: Callable[[str, str, str], None]) -> None:
        self._on_open = on_open
        self._pair: tuple[str, str] | None = None
        self._points: list[tuple[str, str]] = []
        self.figure = go.Figure(
            data=[
                go.Scatter(
                    mode="lines",
                    line={"color": "rgba(128,138,150,0.45)", "width": 1},
                    hoverinfo="skip",
                ),
                go.Scatter(
                    mode="markers",
                    hovertemplate="%{text}<extra></extra>",
                    marker={"line": {"color": "rgba(20,24,30,0.75)", "width": 1}},
                ),
            ],
            layout={
                "autosize": True,
                "height": 262,
                "margin": {"l": 8, "r": 8, "t": 30, "b": 8},
                "title": {"font": {"size": 13}, "x": 0.02, "y": 0.97},
                "paper_bgcolor": "rgba(0,0,0,0)",
                "plot_bgcolor": "rgba(0,0,0,0)",
                "font": {"color": "#7a8594"},
                "showlegend": False,
                "hovermode": "closest",
                "dragmode": False,
                "xaxis": {"fixedrange": True, "showgrid": False, "zeroline": False},
                "yaxis": {
                    "fixedrange": True,
                    "automargin": True,
                    "gridcolor": "rgba(128,138,150,0.25)",
                    "zeroline": False,
                },
            },
        )
        self.plot = PlotView(
            self.figure,
            label="Patients of the pair",
            on_click=self._point_clicked,
            name="boneviz-strip",
            config={"displayModeBar": False},
        )
        self.table = RowTable(
            on_select=self._row_clicked,
            label="Patients of this pair",
            name="boneviz-strip-table",
            height="196px",
            empty="No patient was scored for this pair.",
            ordering=True,
        )
        self.words = widgets.HTML()
        beside = {"flex_flow": "row wrap", "grid_gap": "8px"}
        self.widget = widgets.VBox(
            [
                widgets.HBox(
                    [
                        widgets.VBox([self.plot], layout={"flex": "3 1 300px", "min_width": "0"}),
                        widgets.VBox(
                            [self.table.widget], layout={"flex": "2 1 240px", "min_width": "0"}
                        ),
                    ],
                    layout=beside,
                ),
                self.words,
            ]
        )

    def show(
        self,
        evaluation: CrossEvaluation,
        scores: Sequence[Scores],
        pair: tuple[str, str],
        *,
        label: str,
        styles: Sequence[ReaderStyle],
        patient: str,
    ) -> None:
        """Show the patients of a pair.

        Parameters
        ----------
        evaluation : of the metric
        scores : that it was made from
        pair : names of reference and candidate
        label : what the metric is called
        styles : of all readers
        patient : the one that is shown, drawn larger
        """
        self._pair = pair
        reference, candidate = pair
        table = strip_table(evaluation, reference, candidate)
        self._show_points(table, evaluation, label=label, styles=styles, patient=patient)
        decimals = 1 if evaluation.metric.endswith(("_mm", "_ml")) else 3
        self.table.show(
            table.reset_index(names="Patient") if len(table) else pd.DataFrame({"": []}),
            [str(name) for name in table.index],
            cells=[
                {"targets": [0], "className": "dt-left"},
                {
                    "targets": list(range(1, 1 + len(table.columns))),
                    "className": "dt-right",
                    "createdCell": cell_text(decimals),
                },
            ],
        )
        self.table.mark(patient)
        words = strip_words(evaluation, scores, reference, candidate, label=label)
        self.words.value = prose(words)

    def say(self, words: str) -> None:
        """Show these words and no patients."""
        self.words.value = prose(words)

    def _show_points(
        self,
        table: pd.DataFrame,
        evaluation: CrossEvaluation,
        *,
        label: str,
        styles: Sequence[ReaderStyle],
        patient: str,
    ) -> None:
        reference, candidate = self._pair or ("", "")
        colour_of = {style.name: style.colour for style in styles}
        references = [str(name) for name in table.columns]
        place: dict[str, dict[str, float]] = {}
        value: dict[tuple[str, str], float] = {}
        for n, name in enumerate(references):
            values = table[name].tolist()
            at = [n + offset for offset in spread(values)]
            place[name] = dict(zip(map(str, table.index), at, strict=True))
            value |= {
                (str(who), name): float(v)
                for who, v in zip(table.index, values, strict=True)
                if not math.isnan(v)
            }
        self._points = list(value)
        less = ", less is better" if higher_is_better(evaluation.metric) is False else ""
        lines_x, lines_y = _joined(table, place)
        own = next((m.learned_from for m in evaluation.models if m.name == candidate), None)
        self.figure.data[0].update(x=lines_x, y=lines_y)
        self.figure.data[1].update(
            x=[place[name][who] for who, name in self._points],
            y=list(value.values()),
            text=[
                f"{plain(who)}: {value[who, name]:.3g}<br>{plain(candidate)} against {plain(name)}"
                for who, name in self._points
            ],
            marker={
                "color": [colour_of[name] for _, name in self._points],
                "size": [15 if who == patient else 9 for who, _ in self._points],
                "opacity": [1.0 if name == reference else 0.45 for _, name in self._points],
            },
        )
        self.figure.update_layout(
            title_text=f"{plain(candidate)}: {label}{less}" if references else "",
            xaxis={
                "tickvals": list(range(len(references))),
                "ticktext": [
                    plain(name) + ("<br>(own expert)" if name == own else "") for name in references
                ],
                "range": [-0.6, len(references) - 0.4],
            },
        )
        # not by update_layout, which mixes a list with the one before
        self.figure.layout.shapes = [
            _mean_line(table[name], n) for n, name in enumerate(references)
        ]
        self.plot.draw()

    def _point_clicked(self, click: PlotClick) -> None:
        if click.trace == 1 and self._pair is not None:
            who, reference = self._points[click.point[0]]
            self._on_open(who, reference, self._pair[1])

    def _row_clicked(self, patient: str) -> None:
        if self._pair is not None:
            self._on_open(patient, *self._pair)


def _joined(
    table: pd.DataFrame, place: dict[str, dict[str, float]]
) -> tuple[list[float | None], list[float | None]]:
    """Return one line per patient through all its values, None between two lines."""
    x: list[float | None] = []
    y: list[float | None] = []
    for who, row in table.iterrows():
        there = [(place[str(name)][str(who)], float(v)) for name, v in row.items() if v == v]
        if len(there) > 1:
            x += [*(at for at, _ in there), None]
            y += [*(v for _, v in there), None]
    return x, y


def _mean_line(values: pd.Series[float], n: int) -> dict[str, Any]:
    """Return a short line at the mean, invisible where nothing is defined."""
    defined = values.dropna()
    mean = float(defined.mean()) if len(defined) else 0.0
    return {
        "type": "line",
        "x0": n - 0.26,
        "x1": n + 0.26,
        "y0": mean,
        "y1": mean,
        "visible": bool(len(defined)),
        "line": {"color": "#7a8594", "width": 2, "dash": "dot"},
    }
