"""The patients of a pair: values, words and points."""

from __future__ import annotations

import math
from typing import Any

import pytest
from cases import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B, scores_of
from clicks import click

from boneviz.compare import cross_evaluate
from boneviz.errors import InputError
from boneviz.palette import styles_of
from boneviz.show.strip import StripPanel
from boneviz.show.values import matrix_frame, spread, strip_table, strip_words, worst_session

STYLES = styles_of([EXPERT_A, EXPERT_B, MODEL_A, MODEL_B])
# Dice of Model A with Expert A and with Expert B, by patient; in 004 the model outlined nothing
VALUES = {"001": (0.9, 0.6), "002": (0.7, 0.8), "003": (0.8, 0.5), "004": (0.0, 0.0)}
SCORES = [
    row
    for patient, (own, other) in VALUES.items()
    for status in ("missed" if patient == "004" else "both",)
    for row in (
        scores_of(EXPERT_A, EXPERT_B, patient_id=patient, dice=0.5),
        scores_of(EXPERT_A, MODEL_A, patient_id=patient, dice=own, status=status),
        scores_of(EXPERT_B, MODEL_A, patient_id=patient, dice=other, status=status),
        scores_of(EXPERT_A, MODEL_B, patient_id=patient, dice=0.5),
        scores_of(EXPERT_B, MODEL_B, patient_id=patient, dice=0.5),
    )
]
DICE = cross_evaluate(SCORES)
HD95 = cross_evaluate(SCORES, metric="hd95_mm")


def test_a_models_own_expert_comes_first_and_the_worst_patient() -> None:
    table = strip_table(DICE, "Expert A", "Model A")
    assert list(table.columns) == ["Expert A", "Expert B"]
    assert list(table.index) == ["004", "002", "003", "001"]
    assert list(table.loc["002"]) == [0.7, 0.8]
    # worst by the reference of the pair, in the same columns
    assert list(strip_table(DICE, "Expert B", "Model A").index) == ["004", "003", "001", "002"]


def test_an_expert_has_no_own_expert() -> None:
    assert list(strip_table(DICE, "Expert A", "Expert B").columns) == ["Expert A"]
    assert list(strip_table(DICE, "Expert B", "Expert A").columns) == ["Expert B"]


def test_an_undefined_value_stays_undefined_and_stands_first() -> None:
    table = strip_table(HD95, "Expert A", "Model A")
    assert table.index[0] == "004"
    assert math.isnan(table.loc["004", "Expert A"])


def test_a_pair_that_was_not_scored_is_empty_and_says_so() -> None:
    assert strip_table(DICE, "Model A", "Expert A").empty
    words = strip_words(DICE, SCORES, "Model A", "Expert A", label="Dice")
    assert "Expert A was not scored against Model A as the reference" in words


def test_words_say_n_misses_and_what_one_model_cannot_show() -> None:
    words = strip_words(DICE, SCORES, "Expert A", "Model A", label="Dice")
    # (0.9 + 0.7 + 0.8 + 0) / 4 = 0.6, SD sqrt((0.09 + 0.01 + 0.04 + 0.36) / 3) = 0.41
    assert words.startswith("Model A against Expert A, Dice: 0.60 ± 0.41 (n 4, 1 missed).")
    # 001 and 003; in 004 both are 0
    assert "agrees better with its own expert Expert A than with Expert B in 2 of 4" in words
    assert "no evidence of a style learned" in words
    # I is 0.3, -0.1, 0.3, 0: mean 0.125
    assert "I = +0.125 in Dice, above 0 closer to the own experts, n = 4" in words


def test_who_has_no_value_is_named_with_the_reason() -> None:
    words = strip_words(HD95, SCORES, "Expert A", "Model A", label="HD95 (mm)")
    assert "No value, so no point: 004 (Model A outlined nothing)." in words
    assert "n 3 of 4, 1 missed" in words
    # the worst case of a distance is the volume's diagonal, 100 mm: (3 * 5 + 100) / 4
    assert "the mean is 28.75" in words


def test_who_was_not_read_by_both_is_named() -> None:
    scores = [
        row for row in SCORES if "Model A" not in (row.candidate.name,) or row.patient_id != "003"
    ]
    words = strip_words(cross_evaluate(scores), scores, "Expert A", "Model A", label="Dice")
    assert "No reading of both: 003." in words


def test_the_worst_session_of_a_patient_is_opened() -> None:
    rows = [
        scores_of(EXPERT_A, EXPERT_B, session=session, dice=dice, hd95_mm=hd95)
        for session, dice, hd95 in (("early", 0.4, 7.0), ("late", 0.6, 9.0))
    ]
    pair = ("017", "Expert A", "Expert B")
    assert worst_session(rows, *pair, metric="dice") == "017_early"
    assert worst_session(rows, *pair, metric="hd95_mm") == "017_late"
    turned = ("017", "Expert B", "Expert A")
    assert worst_session(rows, *turned, metric="dice") == "017_early"
    missed = scores_of(EXPERT_A, EXPERT_B, session="mid", status="missed", dice=0.0)
    assert worst_session([*rows, missed], *pair, metric="hd95_mm") == "017_mid"
    with pytest.raises(InputError, match="patient 018: Expert B was not scored against Expert A"):
        worst_session(rows, "018", "Expert A", "Expert B", metric="dice")


def test_points_of_nearly_equal_value_lie_side_by_side() -> None:
    # 3 % of 0.5 to 1.0 is 0.015: 0.9, 0.91 and 0.92 are a chain, 0.5 and 1.0 stand alone
    assert spread([0.9, 0.5, 0.91, 1.0, 0.92]) == pytest.approx([-0.08, 0, 0, 0, 0.08])
    assert spread([math.nan, 0.5]) == [0, 0]
    assert spread([]) == []
    crowd = spread([1.0] * 50)
    assert max(crowd) == pytest.approx(0.16)
    assert min(crowd) == pytest.approx(-0.16)


class Heard:
    """A panel with a pair in it, and what it called back with."""

    def __init__(self, *, metric: str = "dice", pair: tuple[str, str] = ("Expert A", "Model A")):
        self.calls: list[tuple[str, ...]] = []
        self.panel = StripPanel(on_open=lambda *opened: self.calls.append(opened))
        self.panel.show(
            {"dice": DICE, "hd95_mm": HD95}[metric],
            SCORES,
            pair,
            label="Dice",
            styles=STYLES,
            patient="002",
        )


def test_one_point_per_patient_and_expert_and_one_line_per_patient() -> None:
    lines, points = Heard().panel.figure.data
    assert sorted(points.y) == sorted(v for pair in VALUES.values() for v in pair)
    # from each patient's own to the other value; worst patient first
    assert list(lines.y) == [0.0, 0.0, None, 0.7, 0.8, None, 0.8, 0.5, None, 0.9, 0.6, None]
    assert [size for size, y in zip(points.marker.size, points.y, strict=True) if y in (0.7,)] == [
        15
    ]


def test_the_mean_of_another_pair_does_not_stay() -> None:
    panel = Heard(pair=("Expert A", "Expert B")).panel  # one column, at 0.5

    def means(pair: tuple[str, str]) -> list[float]:
        panel.show(DICE, SCORES, pair, label="Dice", styles=STYLES, patient="002")
        return [line.y0 for line in panel.figure.layout.shapes]

    # of 0.9, 0.7, 0.8 and 0, and of 0.6, 0.8, 0.5 and 0
    assert means(("Expert A", "Model A")) == pytest.approx([0.6, 0.475])
    assert means(("Expert A", "Expert B")) == pytest.approx([0.5])


def test_an_undefined_value_is_no_point() -> None:
    panel = Heard(metric="hd95_mm").panel
    lines, points = panel.figure.data
    assert list(points.y) == [5.0] * 6
    assert len([y for y in lines.y if y is None]) == 3
    assert panel.table.widget.df["Patient"].tolist()[0] == "004"


def test_a_click_on_a_point_opens_its_patient_and_pair() -> None:
    heard = Heard()
    n = list(heard.panel.figure.data[1].y).index(0.8)
    assert heard.panel._points[n] == ("003", "Expert A")
    click(heard.panel.plot, 1, n)
    click(heard.panel.plot, 0, n)  # on a line
    click(heard.panel.plot, 1, n, late=True)  # a point of the strip before
    assert heard.calls == [("003", "Expert A", "Model A")]
    heard.panel.table.widget.selected_rows = [3]
    assert heard.calls[1:] == [("001", "Expert A", "Model A")]


def test_names_are_text_in_points_and_axes() -> None:
    bad = "<img src=x onerror=alert(1)>"
    model: Any = MODEL_A
    rows = [
        scores_of(EXPERT_A, EXPERT_B, patient_id=bad),
        scores_of(EXPERT_A, model, patient_id=bad),
        scores_of(EXPERT_B, model, patient_id=bad),
    ]
    panel = StripPanel(on_open=lambda *_: None)
    panel.show(
        cross_evaluate(rows),
        rows,
        ("Expert A", "Model A"),
        label="Dice",
        styles=STYLES,
        patient=bad,
    )
    assert "<img" not in str(panel.figure.to_dict())
    assert "&lt;img" in panel.figure.data[1].text[0]
    assert "<img" not in panel.words.value
    assert "<img" not in panel.table.widget._dt_args["data_json"]


def test_the_matrix_is_kept_with_every_number_and_its_settings() -> None:
    table = matrix_frame(DICE)
    assert set(table.columns[:4]) == {"metric", "better", "reference", "candidate"}
    (row,) = table[(table.reference == "Expert A") & (table.candidate == "Model A")].to_dict(
        "records"
    )
    # 0.9, 0.7, 0.8 and 0, as above; one missed
    assert (row["metric"], row["better"]) == ("dice", "more")
    assert row["mean"] == pytest.approx(0.6)
    assert row["sd"] == pytest.approx((0.5 / 3) ** 0.5)
    assert (row["n"], row["n_missed"]) == (4, 1)
    assert row["threshold"] == DICE.threshold
    assert row["version"] == DICE.version
    assert len(table) == len(DICE.summary())
