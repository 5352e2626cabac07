"""Plots as SVG: where a known point lies, ticks, and strings that stay text."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from boneviz.plots import Line, Panel, Scale, Series, curve_plot, patient_plot, ticks

SVG = "{http://www.w3.org/2000/svg}"


def parsed(svg: str) -> ElementTree.Element:
    # HTML knows what an svg is; XML wants its name
    return ElementTree.fromstring(svg.replace("<svg ", f'<svg xmlns="{SVG[1:-1]}" ', 1))


def test_a_scale_by_hand() -> None:
    assert Scale(0, 2, 100, 300)(0.5) == 150
    # upwards the end lies before the start
    assert Scale(-1, 1, 200, 0)(0.5) == 50


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (-0.07, 0.12, (-0.05, 0, 0.05, 0.1)),  # 0.19 / 5 is 0.038, so steps of 0.05
        (0, 900, (0, 200, 400, 600, 800)),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_a_known_point_lies_where_it_should() -> None:
    """Two panels of 1024 px: names of 2 letters take 10 + 2 * 6.2 + 8 = 30.4 px to the left.

    What is left but for 10 px at the edge and 22 px between is 961.6, half of it 480.8 per panel,
    so that 0.25 lies at 30.4 + 120.2 = 150.6 in the first, and 0 of -1 to 1 at 30.4 + 502.8 + 240.4
    = 773.6 in the second. The legend of one line ends at 22, the panels' titles 26 further down at
    48; rows are 15 px high, so that the second patient's middle lies at 48 + 22.5 = 70.5.
    """
    first = Series("own", {"P1": 0.5, "P2": 0.25}, "circle", "#3d9bff")
    second = Series("I", {"P1": 0.5, "P2": 0.0}, "square", "#8a94a1")
    panels = [
        Panel("Model A", "Dice", (first,), 0, 1),
        Panel("I", "difference of Dice", (second,), -1, 1, line_at=0.0),
    ]
    root = parsed(patient_plot(["P1", "P2"], panels, title="every patient"))
    assert root.find(f"{SVG}title").text == "every patient"  # type: ignore[union-attr]
    (point,) = [
        circle
        for circle in root.iter(f"{SVG}circle")
        if circle.find(f"{SVG}title").text == "P2, Model A, own: 0.250"  # type: ignore[union-attr]
    ]
    assert (point.get("cx"), point.get("cy")) == ("150.6", "70.5")
    (zero,) = [line for line in root.iter(f"{SVG}line") if line.get("stroke-dasharray")]
    assert (zero.get("x1"), zero.get("x2")) == ("773.6", "773.6")
    texts = [text.text for text in root.iter(f"{SVG}text")]
    assert {"P1", "P2", "Model A", "Dice", "difference of Dice", "0.2", "\N{MINUS SIGN}0.5"} <= set(
        texts
    )


def test_what_is_undefined_is_said() -> None:
    series = Series("own", {"P1": math.nan}, "circle", "#3d9bff")
    svg = patient_plot(["P1", "P2"], [Panel("A", "Dice", (series,), 0, 1)], title="t")
    assert svg.count(">undefined<") == 2  # NaN, and nothing at all


def test_shapes_tell_readers_apart_without_colour() -> None:
    values = {"P1": 0.5}
    drawn = [
        patient_plot(
            ["P1"],
            [Panel("", "", (Series("", values, marker, "#777777", filled=filled),), 0, 1)],  # type: ignore[arg-type]
            title="",
        )
        for marker in ("circle", "diamond", "triangle", "square")
        for filled in (True, False)
    ]
    assert len(set(drawn)) == 8


def test_strings_are_text() -> None:
    bad = '<img src=x onerror="alert(1)">'
    series = Series(bad, {bad: 0.5}, "triangle", "#3d9bff")
    plot = patient_plot([bad], [Panel(bad, bad, (series,), 0, 1)], title=bad)
    curves = curve_plot(
        [Line(bad, [1, 2], [0.5, 0.4], "#17202b")],
        title=bad,
        x_label=bad,
        y_label=bad,
        y_low=0,
        y_high=1,
    )
    for svg in (plot, curves):
        assert "<img" not in svg
        assert '"alert' not in svg
        assert "&lt;img src=x" in svg
        parsed(svg)


def test_many_patients_take_less_room_each() -> None:
    few, many = (
        patient_plot(
            [f"P{k}" for k in range(n)],
            [Panel("A", "Dice", (Series("own", {}, "circle", "#3d9bff"),), 0, 1)],
            title="t",
        )
        for n in (24, 400)
    )
    height = [float(re.findall(r'viewBox="0 0 1024 ([\d.]+)"', svg)[0]) for svg in (few, many)]
    assert height[0] == 22 + 26 + 24 * 15 + 38
    assert height[1] == 22 + 26 + 1500 + 38
    assert ">P0<" in few and ">P0<" not in many  # too thin to be named


def test_curves_by_hand() -> None:
    """x from 0 to 4 on 44 to 320 px, y from 0 to 1 on 150 to 22 px: (2, 0.5) is (182, 86)."""
    svg = curve_plot(
        [
            Line("fold 0", [0, 2, 4], [1.5, 0.5, math.nan], "#17202b"),
            Line("fold 1", [4], [0.0], "#17202b", marked=True),
        ],
        title="Model A: loss",
        x_label="step",
        y_label="loss",
        y_low=0,
        y_high=1,
    )
    # what lies above the axis is drawn at its end, what is undefined not at all
    assert 'points="44.0,22.0 182.0,86.0"' in svg
    assert 'cx="320.0" cy="150.0"' in svg
    assert ">fold 0<" in svg and ">loss<" in svg and ">step<" in svg
