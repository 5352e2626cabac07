"""The operating point: thresholds, a dial between two models, and what either costs and finds."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as widgets
import pandas as pd
import plotly.graph_objects as go
import traitlets

from boneviz.operating import Dial, OperatingPoint
from boneviz.palette import DIAL, ReaderStyle
from boneviz.show.counted import (
    Counted,
    Stand,
    between_experts,
    chosen_curve,
    count,
    ends_of,
    operating_frame,
    stands,
)
from boneviz.show.curves import operating_figure
from boneviz.show.page import prose
from boneviz.show.plot import PlotView
from boneviz.show.shown import Shown
from boneviz.show.state import ViewState
from boneviz.show.viewer import MAX_READERS, SliceViewer

__all__ = ["OperatingControls", "OperatingPanel", "operating_table", "operating_words"]

FRONT = Path(__file__).parent
UNDEFINED = "\u2013"
HINT = "A slider moves its outline in the slices at once, the dial in the view Readers."
COLUMNS: Mapping[str, Callable[[OperatingPoint], str]] = {
    "Dice": lambda point: _share(point.dice),
    "Sensitivity": lambda point: _share(point.sensitivity),
    "Precision": lambda point: _share(point.precision),
    "False pos. (mL)": lambda point: f"{point.false_positive_ml:.2f}",
    "False neg. (mL)": lambda point: f"{point.false_negative_ml:.2f}",
}


class OperatingControls(anywidget.AnyWidget):
    """Sliders that move the viewer's contours in the page, without the kernel.

    Traits
    ------
    viewer : whose `thresholds` and `dial` are set
    content : which sliders there are, and whose curve is chosen
    spoken : what a screen reader says once the sliders rest
    """

    _esm = (FRONT / "operating.js").read_text(encoding="utf-8")
    _css = (FRONT / "operating.css").read_text(encoding="utf-8")

    viewer = traitlets.Instance(SliceViewer).tag(sync=True, **widgets.widget_serialization)
    content = traitlets.Dict().tag(sync=True)
    spoken = traitlets.Unicode().tag(sync=True)


class OperatingPanel:
    """Thresholds and dial beside curve and numbers of one case, against every expert.

    Parameters
    ----------
    viewer : whose contours move
    on_curve : called with the names of the expert and of the model, empty for the dial, whose
        curve was chosen

    Attributes
    ----------
    points : what the numbers in the table are, row by row
    """

    def __init__(self, viewer: SliceViewer, *, on_curve: Callable[[str, str], None]) -> None:
        self._on_curve = on_curve
        self._case: Shown | None = None
        self._styles: tuple[ReaderStyle, ...] = ()
        self._counted: Counted | None = None
        self.points: tuple[OperatingPoint, ...] = ()
        self.controls = OperatingControls(viewer=viewer, content=_content((), None))
        self.controls.on_msg(self._heard)
        self.plot = PlotView(
            go.Figure(),
            label="Sensitivity against false-positive volume; the numbers are in the table",
            name="boneviz-curve",
            config={"displayModeBar": False},
        )
        self.table = widgets.HTML()
        self.words = widgets.HTML()
        self._numbers = widgets.HBox(
            [
                widgets.VBox([self.plot], layout={"flex": "2 1 300px", "min_width": "0"}),
                widgets.VBox(
                    [self.table], layout={"flex": "3 1 540px", "min_width": "0", "overflow": "auto"}
                ),
            ],
            layout={"flex_flow": "row wrap", "grid_gap": "4px 12px"},
        )
        self.widget = widgets.VBox([self.controls, self._numbers, self.words])

    def open(self, case: Shown, styles: Sequence[ReaderStyle]) -> None:
        """Take up a case; its maps are counted when they are first shown.

        Parameters
        ----------
        case : of whose models those with probabilities in the slices can be set
        styles : of all readers; a model among them without a prediction here is named
        """
        self._case, self._styles, self._counted = case, tuple(styles), None
        self._empty(_content((f"Counting the predictions of {case.case.case_id} ...",), None))

    def dial(self, state: ViewState) -> dict[str, Any]:
        """Return the state's dial as the viewer takes it; empty where it is off or has no ends."""
        ends = ends_of(tuple(self._case.probabilities)) if self._case else None
        if ends is None or state.dial is None:
            return {}
        return {"first": ends[0].name, "second": ends[1].name, "at": state.dial}

    def show(self, state: ViewState) -> None:
        """Show where the models of the case stand."""
        if self._case is None:
            return
        counted, styles = self._count(self._case), self._case.styles
        if not counted.cuts or not counted.experts:
            self._empty(_content(counted.why, None))
            return
        shown = stands(counted, state)
        expert, model = chosen_curve(counted, state)
        between = between_experts(counted)
        self.points = (*(point for stand in shown for point in stand.points), *between)
        chosen = next(stand for stand in shown if stand.model == model)
        colours = {"": DIAL, **{style.name: style.colour for style in styles}}
        self.plot.figure = operating_figure(shown, chosen, expert, between, colours)
        self.plot.draw()
        style_of = {style.name: style for style in styles}
        self.table.value = operating_table(shown, between, style_of, (expert, model))
        words = operating_words(chosen, expert)
        self.words.value = prose(words, hint=HINT)
        self._numbers.layout.display = "flex"
        with self.controls.hold_sync():
            self.controls.content = _content(
                counted.why,
                counted,
                models=[style_of[name] for name in counted.cuts],
                curve=(expert, model),
                place=len(styles) < MAX_READERS,
            )
            self.controls.spoken = words

    def frame(self, state: ViewState) -> pd.DataFrame:
        """Return the numbers of the case as `operating_frame` does, be they shown yet or not."""
        if self._case is None:
            return pd.DataFrame()
        return operating_frame(self._count(self._case), state)

    def _count(self, case: Shown) -> Counted:
        if self._counted is None:
            readers = [style.reader for style in self._styles]
            self._counted = count(case.readings, tuple(case.probabilities), readers)
        return self._counted

    def close(self) -> None:
        """Close what listens to the page."""
        self.controls.close()
        self.plot.close()

    def _empty(self, content: dict[str, Any]) -> None:
        self.points = ()
        self.table.value = self.words.value = ""
        self._numbers.layout.display = "none"
        with self.controls.hold_sync():
            self.controls.content = content
            self.controls.spoken = ""

    def _heard(self, _: object, content: dict[str, Any], __: object) -> None:
        if content.get("kind") == "curve" and self.points:
            self._on_curve(str(content["expert"]), str(content["model"]))


def operating_words(stand: Stand, expert: str) -> str:
    """Say in a sentence what the chosen outline finds and what it adds."""
    point = next(point for point in stand.points if point.reference == expert)
    who = f"{stand.label}"
    if math.isnan(point.sensitivity):
        words = f"{who}: {expert} outlines nothing here, so sensitivity is undefined; "
        words += f"{point.false_positive_ml:.2f} mL are outlined beyond it."
    else:
        words = (
            f"{who}: finds {100 * point.sensitivity:.0f} % of the {point.reference_ml:.2f} mL that "
            f"{expert} outlines, misses {point.false_negative_ml:.2f} mL and adds "
            f"{point.false_positive_ml:.2f} mL."
        )
    if not point.held_out:
        words += " It had learned from this patient: no new reading."
    return words


def operating_table(
    shown: Sequence[Stand],
    between: Sequence[OperatingPoint],
    style_of: Mapping[str, ReaderStyle],
    curve: tuple[str, str],
) -> str:
    """Return the numbers as an HTML table, all names escaped.

    Parameters
    ----------
    shown : models and dial, a group of rows each
    between : experts against each other
    style_of : by name of the reader
    curve : expert and model whose row is marked
    """
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    groups = []
    for stand in shown:
        colour = style_of[stand.model].colour if stand.model else DIAL
        mark = _swatch(colour, dashed=True)
        rows = [
            _row(
                point,
                f'<th scope="rowgroup" class="bv-op-who" rowspan="{len(stand.points)}">{mark}'
                f"{html.escape(stand.label)}</th>"
                if n == 0
                else "",
                chosen=(point.reference, stand.model) == curve,
            )
            for n, point in enumerate(stand.points)
        ]
        groups.append(f"<tbody>{''.join(rows)}</tbody>")
    experts = [
        _row(
            point,
            '<th scope="row" class="bv-op-who">'
            f"{_swatch(style_of[point.candidate].colour, dashed=False)}"
            f"{html.escape(point.candidate)}</th>",
            chosen=False,
        )
        for point in between
    ]
    if experts:
        groups.append(f"<tbody>{''.join(experts)}</tbody>")
    return (
        '<table class="bv-op-table"><caption>This case, counted by voxels. '
        "\u2265: the probability from which on a model says yes.</caption><thead><tr>"
        '<th scope="col" class="bv-op-who">Outline</th><th scope="col" class="bv-op-against">'
        f"against</th>{head}</tr></thead>{''.join(groups)}</table>"
    )


def _row(point: OperatingPoint, who: str, *, chosen: bool) -> str:
    cells = "".join(f"<td>{value(point)}</td>" for value in COLUMNS.values())
    mark = ' class="bv-op-chosen"' if chosen else ""
    against = html.escape(point.reference)
    return f'<tr{mark}>{who}<td class="bv-op-against">{against}</td>{cells}</tr>'


def _end_words(dial: Dial | None) -> list[str]:
    """Return what stands at either end of the dial."""
    if dial is None:
        return []
    ends = dial.first.reader, dial.second.reader
    if [end.intent for end in ends] == ["high-sensitivity", "high-specificity"]:
        return ["sensitive", "specific"]
    return [end.name for end in ends]


def _swatch(colour: str, *, dashed: bool) -> str:
    name = "bv-swatch bv-dashed" if dashed else "bv-swatch"
    return f'<span class="{name}" style="--bv-colour:{colour}" aria-hidden="true"></span>'


def _share(value: float) -> str:
    return UNDEFINED if math.isnan(value) else f"{value:.3f}"


def _content(
    why: Sequence[str],
    counted: Counted | None,
    *,
    models: Sequence[ReaderStyle] = (),
    curve: tuple[str, str] = ("", ""),
    place: bool = True,
) -> dict[str, Any]:
    """Return what the page builds its sliders from."""
    dial = counted.dial if counted else None
    return {
        "experts": list(counted.experts) if counted else [],
        "expert": curve[0],
        "chosen": curve[1],
        "models": [
            {"name": style.name, "colour": style.colour, "dashed": style.dashed} for style in models
        ],
        "ends": [dial.first.reader.name, dial.second.reader.name] if dial else None,
        "end_words": _end_words(dial),
        "dial_colour": DIAL,
        "place": place,
        "why": list(why),
    }
