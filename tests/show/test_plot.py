"""Figures on their way to the page and clicks on their way back."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from clicks import click
from plotly.offline import get_plotlyjs

from boneviz.show.plot import PlotClick, PlotView

Sent = list[tuple[dict[str, Any], list[bytes]]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    messages: Sent = []
    monkeypatch.setattr(
        PlotView, "send", lambda _, content, buffers=None: messages.append((content, buffers or []))
    )
    return messages


def want(view: PlotView) -> None:
    view._handle_custom_msg({"kind": "want"}, [])


def test_nothing_is_sent_before_a_page_asks_and_then_the_figure_as_it_is(sent: Sent) -> None:
    view = PlotView(go.Figure(go.Scatter(x=[1, 2], y=[3.0, float("nan")])), label="two points")
    view.figure.data[0].name = "later"
    view.draw()
    assert not sent
    want(view)
    ((content, buffers),) = sent
    assert content["kind"] == "draw" and content["serial"] == 2 and not buffers
    assert content["data"][0]["name"] == "later"
    # JSON knows no NaN
    assert content["data"][0]["y"] == [3.0, None]
    view.draw()
    assert sent[-1][0]["serial"] == 3


def test_rows_of_numbers_travel_as_buffers_and_keep_nan(sent: Sent) -> None:
    x, i = np.array([0.5, np.nan, 2.5], np.float32), np.array([0, 1, 2], np.int64)
    mesh = go.Mesh3d(x=x, y=x.astype(float), z=x, i=i, j=i, k=i)
    want(PlotView(go.Figure(mesh), label="mesh"))
    ((content, buffers),) = sent
    trace = content["data"][0]
    kinds = {name: trace[name]["dtype"] for name in "xyzi"}
    assert kinds == {"x": "f4", "y": "f8", "z": "f4", "i": "i1"}
    back = np.frombuffer(buffers[trace["y"]["bdata"]], "<f8")
    np.testing.assert_array_equal(back, x.astype(float))
    assert list(buffers[trace["i"]["bdata"]]) == [0, 1, 2]


def test_a_page_that_comes_late_sees_what_was_changed_in_place(sent: Sent) -> None:
    view = PlotView(go.Figure([go.Scatter(y=[1]), go.Scatter(y=[2])]), label="two")
    view.restyle([1], {"visible": False})
    view.restyle([0], {"x": [4.0]})
    view.restyle([0], {"x": [5.0]})
    view.restyle([], {"visible": False})
    assert not sent
    assert view.figure.data[1].visible is False and view.figure.data[0].x == (5.0,)
    want(view)
    assert [content["kind"] for content, _ in sent] == ["draw", "restyle", "restyle"]
    assert sent[-1][0]["changes"] == {"x": [5.0]}
    # a figure drawn anew holds the changes itself
    view.draw()
    want(view)
    assert sent[-1][0]["kind"] == "draw" and sent[-1][0]["data"][1]["visible"] is False


def test_a_click_on_the_figure_before_is_dropped() -> None:
    clicks: list[PlotClick] = []
    view = PlotView(go.Figure(go.Scatter(y=[1, 2])), label="two", on_click=clicks.append)
    click(view, 0, 1, late=True)
    assert not clicks
    click(view, 0, 1)
    assert clicks == [PlotClick(0, (1,))]


def test_the_page_gets_the_installed_plotly_packed(sent: Sent) -> None:
    view = PlotView(go.Figure(), label="")
    view._handle_custom_msg({"kind": "library"}, [])
    ((content, (packed,)),) = sent
    assert content == {"kind": "library"} and len(packed) < 2_000_000
    assert gzip.decompress(packed).decode() == get_plotlyjs()
