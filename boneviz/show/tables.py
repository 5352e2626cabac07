"""The table of patients and the matrix of readers, as widgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from itables.javascript import JavascriptFunction
from itables.widget import ITable

from boneviz.compare import CrossEvaluation, higher_is_better
from boneviz.metricnames import metric_name
from boneviz.scorerow import Scores
from boneviz.show.plot import PlotClick, PlotView
from boneviz.show.rows import TABLE_STYLE, reachable
from boneviz.show.surfaces import plain

__all__ = ["METRICS", "MatrixView", "PatientTable", "matrix_figure", "patient_table"]

#: the numbers offered in the explorer, by what they are called
METRICS: dict[str, str] = {
    metric_name(metric): metric
    for metric in (
        "dice",
        "surface_dice_2mm",
        "hd95_mm",
        "assd_mm",
        "sensitivity",
        "precision",
        "lesion_f1",
        "fnv_ml",
        "fpv_ml",
    )
}

# from poor to good in both lightness and hue, so that it reads in grey and for the colour-blind;
# dark text keeps a contrast above 4.5 on all of it
POOR, GOOD = (253, 212, 158), (158, 202, 225)


def patient_table(
    scores: Sequence[Scores], case_ids: Sequence[str], *, metric: str
) -> pd.DataFrame:
    """Return one row per case: experts' volumes, and the metric of every pair with an expert.

    Parameters
    ----------
    scores : of all cases
    case_ids : the rows, in this order; a case without scores keeps an empty row
    metric : a column of the scores

    Returns
    -------
    Columns ``Patient``, ``EXPERT (mL)`` for each expert, ``CANDIDATE / REFERENCE`` for each pair,
    and ``Remarks`` on readings that outlined nothing. ``attrs["pairs"]`` are the places of the
    pairs' columns, which their names alone do not tell.
    """
    # by names, not by headings: a name may hold " / " or "(mL)" itself
    volumes: dict[str, dict[str, float]] = {}
    pairs: dict[tuple[str, str], dict[str, float]] = {}
    remarks: dict[str, list[str]] = {case_id: [] for case_id in case_ids}
    for row in scores:
        case_id, reference, candidate = row.case_id, row.reference, row.candidate
        if case_id not in remarks or reference.kind != "expert":
            continue
        for reader, volume_ml in ((reference, row.reference_ml), (candidate, row.candidate_ml)):
            if reader.kind == "expert":
                volumes.setdefault(reader.name, {})[case_id] = round(volume_ml, 1)
            remark = f"{reader.name}: nothing outlined"
            if volume_ml == 0 and remark not in remarks[case_id]:
                remarks[case_id].append(remark)
        values = pairs.setdefault((candidate.name, reference.name), {})
        values[case_id] = round(row.value(metric), 3)
    columns = [
        *((f"{name} (mL)", by_case) for name, by_case in volumes.items()),
        *((f"{first} / {second}", by_case) for (first, second), by_case in pairs.items()),
    ]
    heads = ["Patient", *(head for head, _ in columns)]
    rows = [
        [case_id, *(by_case.get(case_id, math.nan) for _, by_case in columns)]
        for case_id in case_ids
    ]
    if any(remarks.values()):
        heads.append("Remarks")
        rows = [[*row, "; ".join(remarks[str(row[0])])] for row in rows]
    table = pd.DataFrame(rows, columns=heads)
    table.attrs["pairs"] = list(range(1 + len(volumes), 1 + len(columns)))
    return table


class PatientTable:
    """`patient_table` as a widget: sorted by a click on a heading, a row chosen by a click.

    The same by keys: Enter on a heading's arrows sorts, arrows move among rows, Enter chooses.

    Parameters
    ----------
    on_select : called with the case id of a row that was chosen
    """

    def __init__(self, *, on_select: Callable[[str], None]) -> None:
        self._case_ids: tuple[str, ...] = ()
        self._on_select = on_select
        self.widget = ITable(pd.DataFrame({"Patient": []}), **_LOOK)
        self.widget.observe(self._clicked, names="selected_rows")

    def show(self, table: pd.DataFrame, *, metric: str) -> None:
        """Put another table in place; the chosen row stays where it is."""
        self._case_ids = tuple(table["Patient"])
        pairs = list(table.attrs["pairs"])
        values = table.iloc[:, pairs].to_numpy(dtype=float)
        selected = [row for row in self.widget.selected_rows if row < len(table)]
        self.widget.update(
            table,
            columnDefs=[
                {"targets": "_all", "className": "dt-right"},
                {"targets": [0], "className": "dt-left"},
                {"targets": pairs, "createdCell": _colouring(values, metric)},
            ],
            selected_rows=selected,
            # what is not handed over each time goes back to itables' own: functions become text
            drawCallback=_REACH,
            text_in_header_can_be_selected=False,
        )

    def select(self, case_id: str) -> None:
        """Mark the row of a case."""
        if case_id in self._case_ids:
            self.widget.selected_rows = [self._case_ids.index(case_id)]

    def _clicked(self, change: dict[str, Any]) -> None:
        if change["new"]:
            self._on_select(self._case_ids[change["new"][0]])


_REACH = reachable("Patients")
_LOOK: dict[str, Any] = {
    "select": {"style": "single", "toggleable": False},
    "paging": False,
    "scrollY": "260px",
    "scrollCollapse": True,
    "layout": {"topStart": None, "topEnd": None, "bottomStart": None, "bottomEnd": None},
    "showIndex": False,
    "classes": "display compact boneviz-patients",
    "style": TABLE_STYLE,
    "drawCallback": _REACH,
    # else itables lets the arrows of a heading sort, and not the heading
    "text_in_header_can_be_selected": False,
    # a cohort of thousands is shown whole; the default cuts tables off at 64 KB
    "maxBytes": 0,
}


def _colouring(values: np.ndarray[Any, Any], metric: str) -> JavascriptFunction:
    """Return the page's function that colours and rounds a cell, from worst to best value."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    better = higher_is_better(metric)
    poor, good = (high, low) if better is False else (low, high)
    decimals = 1 if metric.endswith(("_mm", "_ml")) else 3
    # numbers and fixed text alone go into the function, nothing that came from a file
    return JavascriptFunction(
        "function (td, cell) {"
        "  const value = parseFloat(cell);"
        "  if (!isFinite(value)) { td.textContent = '\\u2013'; return; }"
        f"  td.textContent = value.toFixed({decimals});"
        f"  const poor = {poor!r}, good = {good!r};"
        "  const t = good === poor ? 1 : Math.min(1, Math.max(0, (value-poor)/(good-poor)));"
        f"  const a = {list(POOR)}, b = {list(GOOD)};"
        "  const c = a.map((v, i) => Math.round(v + (b[i] - v) * t));"
        # the chosen row, under the mouse above all, would lose its colours else
        "  const shade = `inset 0 0 0 99px rgb(${c.join(',')})`;"
        "  td.style.setProperty('box-shadow', shade, 'important');"
        "  td.style.setProperty('color', '#111', 'important');"
        "}"
    )


class MatrixView:
    """The matrix candidates x experts as a heat map with mean ± SD and n in each cell.

    `figure` is what is drawn, `widget` draws it.

    Parameters
    ----------
    on_click : called with reference and candidate of a cell that was clicked
    """

    def __init__(self, *, on_click: Callable[[str, str], None] | None = None) -> None:
        self._on_click = on_click
        self._names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.figure = go.Figure(
            go.Heatmap(
                texttemplate="%{text}",
                textfont={"color": "#111", "size": 12},
                hovertemplate="%{y} against %{x}<br>%{text}<extra></extra>",
                colorscale=[[0, f"rgb{POOR}"], [1, f"rgb{GOOD}"]],
                showscale=False,
                xgap=3,
                ygap=3,
            ),
            layout={
                "autosize": True,
                "margin": {"l": 8, "r": 8, "t": 46, "b": 8},
                "title": {"font": {"size": 13}, "x": 0.02},
                "paper_bgcolor": "rgba(0,0,0,0)",
                "plot_bgcolor": "rgba(0,0,0,0)",
                "font": {"color": "#7a8594"},
                "xaxis": {"side": "top", "showgrid": False, "fixedrange": True, "type": "category"},
                "yaxis": {
                    "automargin": True,
                    "showgrid": False,
                    "fixedrange": True,
                    "type": "category",
                },
            },
        )
        self.widget = PlotView(
            self.figure,
            label="Matrix of models and experts",
            on_click=self._clicked,
            name="boneviz-matrix",
            config={"displayModeBar": False},
        )

    def show(
        self, evaluation: CrossEvaluation, *, label: str, pair: tuple[str, str] | None = None
    ) -> None:
        """Show one metric.

        Parameters
        ----------
        evaluation : of the metric
        label : what the metric is called
        pair : names of the reference and the candidate whose cell is marked
        """
        # plotly draws the first row at the bottom
        means = evaluation.matrix("mean").iloc[::-1]
        texts = evaluation.to_table().iloc[::-1]
        own = [
            (expert, model.name)
            for model in evaluation.models
            for expert in means.columns
            if model.learned_from == expert
        ]
        self._names = (tuple(means.columns), tuple(means.index))
        frames = [_frame(means, expert, model) for expert, model in own]
        if pair is not None and pair[0] in means.columns and pair[1] in means.index:
            frames.append(_frame(means, *pair, inset=0.06, colour="#222a33", dash="dot"))
        self.figure.data[0].update(
            # JSON knows no NaN
            z=means.astype(object).where(means.notna(), None).to_numpy().tolist(),
            x=[plain(name) for name in means.columns],
            y=[plain(name) for name in means.index],
            text=[[_two_lines(cell) for cell in row] for row in texts.to_numpy()],
            reversescale=higher_is_better(evaluation.metric) is False,
        )
        self.figure.update_layout(
            height=70 + 44 * len(means.index),
            title_text=f"{label}: mean ± SD over patients",
        )
        # not by update_layout, which mixes a list with the one before
        self.figure.layout.shapes = frames
        self.widget.draw()

    def _clicked(self, click: PlotClick) -> None:
        references, candidates = self._names
        row, column = click.point
        # no reader is compared with itself
        if references[column] != candidates[row] and self._on_click is not None:
            self._on_click(references[column], candidates[row])


def matrix_figure(evaluation: CrossEvaluation, *, label: str) -> PlotView:
    """Return a `MatrixView`'s widget that shows one metric, called `label`."""
    view = MatrixView()
    view.show(evaluation, label=label)
    return view.widget


def _frame(
    means: pd.DataFrame,
    expert: str,
    model: str,
    *,
    inset: float = 0.0,
    colour: str = "#1f6fb4",
    dash: str = "solid",
) -> dict[str, Any]:
    """Return a frame around the cell of an expert and a candidate, such as its own model."""
    x, y = list(means.columns).index(expert), list(means.index).index(model)
    line = {"color": colour, "width": 2, "dash": dash}
    return {
        "type": "rect",
        "x0": x - 0.48 + inset,
        "x1": x + 0.48 - inset,
        "y0": y - 0.46 + inset,
        "y1": y + 0.46 - inset,
        "line": line,
    }


def _two_lines(cell: str) -> str:
    value, _, counts = cell.partition(" (")
    return f"{value}<br>{counts.rstrip(')')}" if counts else value
