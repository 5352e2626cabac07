"""The table of patients and the matrix."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from clicks import click
from small import EXPERT_A, EXPERT_B, MODEL_A, case_on

from boneviz.case import Prediction
from boneviz.compare import cross_evaluate
from boneviz.score import score_case
from boneviz.scorerow import Scores
from boneviz.show.tables import MatrixView, PatientTable, matrix_figure, patient_table
from boneviz.volume import Grid, Volume

# voxels of 2 x 5 x 10 mm are 0.1 mL
GRID = Grid.straight((10, 4, 4), (2, 5, 10))


def scores_of(patient_id: str, *, a: int, b: int, model: int) -> tuple[Scores, ...]:
    """Score outlines that are the first `a`, `b` and `model` voxels of one row."""

    def row(n: int) -> Volume:
        mask = np.zeros(GRID.shape, dtype=bool)
        mask[:n, 0, 0] = True
        return Volume(mask, GRID, "label")

    case = replace(case_on(GRID, masks={EXPERT_A: row(a), EXPERT_B: row(b)}), patient_id=patient_id)
    drawn = Volume(row(model).array.astype(np.float32), GRID, "probability")
    return score_case(case, [Prediction(patient_id, "", MODEL_A, 0, drawn, "id", frozenset())])


ROWS = (*scores_of("P1", a=8, b=4, model=8), *scores_of("P2", a=6, b=2, model=0))


def test_one_row_per_patient_with_volumes_and_pairs() -> None:
    table = patient_table(ROWS, ["P1", "P2"], metric="dice")
    assert list(table.columns) == [
        "Patient",
        "Expert A (mL)",
        "Expert B (mL)",
        "Expert B / Expert A",
        "Model A / Expert A",
        "Model A / Expert B",
        "Remarks",
    ]
    # P1: 8 and 4 voxels of 0.1 mL; Dice of B and A is 2*4/(8+4), of the model and A 1
    assert table.iloc[0, 1:6].tolist() == [0.8, 0.4, round(8 / 12, 3), 1.0, round(8 / 12, 3)]
    # P2: the model outlined nothing: Dice 0 with both, and it is said
    assert table.iloc[1, 1:6].tolist() == [0.6, 0.2, 0.5, 0.0, 0.0]
    assert table["Remarks"].tolist() == ["", "Model A: nothing outlined"]


def test_names_that_look_like_headings_keep_to_their_columns() -> None:
    names = {"Expert A": "Dr A / Dr C", "Expert B": "Reader (mL)", "Model A": "M"}
    rows = [
        replace(
            row,
            reference=replace(row.reference, name=names[row.reference.name]),
            candidate=replace(row.candidate, name=names[row.candidate.name]),
        )
        for row in ROWS
    ]
    table = patient_table(rows, ["P1", "P2"], metric="dice")
    assert list(table.columns) == [
        "Patient",
        "Dr A / Dr C (mL)",
        "Reader (mL) (mL)",
        "Reader (mL) / Dr A / Dr C",
        "M / Dr A / Dr C",
        "M / Reader (mL)",
        "Remarks",
    ]
    assert table.iloc[0, 1:6].tolist() == [0.8, 0.4, round(8 / 12, 3), 1.0, round(8 / 12, 3)]
    # scores are coloured from worst to best, millilitres are not
    view = PatientTable(on_select=lambda _: None)
    view.show(table, metric="dice")
    defs = view.widget._dt_args["columnDefs"]
    assert [each["targets"] for each in defs if "createdCell" in each] == [[3, 4, 5]]


def test_an_undefined_number_is_not_filled() -> None:
    table = patient_table(ROWS, ["P1", "P2"], metric="hd95_mm")
    assert math.isnan(table.loc[1, "Model A / Expert A"])


def test_a_case_without_scores_keeps_its_row() -> None:
    table = patient_table(ROWS, ["P1", "P7"], metric="dice")
    assert table["Patient"].tolist() == ["P1", "P7"]
    assert math.isnan(table.loc[1, "Expert A (mL)"])


def test_a_click_on_a_row_chooses_its_patient() -> None:
    chosen: list[str] = []
    table = PatientTable(on_select=chosen.append)
    table.show(patient_table(ROWS, ["P1", "P2"], metric="dice"), metric="dice")
    table.widget.selected_rows = [1]
    assert chosen == ["P2"]
    table.select("P1")
    assert table.widget.selected_rows == [0]


def test_fewer_rows_forget_a_choice_beyond_them() -> None:
    table = PatientTable(on_select=lambda _: None)
    table.show(patient_table(ROWS, ["P1", "P2"], metric="dice"), metric="dice")
    table.widget.selected_rows = [1]
    table.show(patient_table(ROWS, ["P1"], metric="dice"), metric="dice")
    assert table.widget.selected_rows == []


def test_the_matrix_shows_means_and_leaves_an_expert_with_itself_blank() -> None:
    figure = matrix_figure(cross_evaluate(ROWS, metric="dice"), label="Dice").figure
    heat = figure.data[0]
    assert list(heat.x) == ["Expert A", "Expert B"]
    assert list(heat.y) == ["Expert B", "Expert A", "Model A"]  # plotly counts from below
    ceiling = np.mean([8 / 12, 0.5])
    assert heat.z[0][0] == ceiling
    assert heat.z[0][1] is None
    assert heat.z[2][0] == 0.5  # Dice 1 in P1, 0 in P2
    # 1 and 0 have mean 0.5 and SD 1/sqrt(2)
    assert heat.text[2][0].startswith("0.50 ± 0.71<br>n 2")


def test_the_cell_of_a_model_and_its_own_expert_is_framed() -> None:
    figure = matrix_figure(cross_evaluate(ROWS, metric="dice"), label="Dice").figure
    (frame,) = figure.layout.shapes
    assert (frame.x0, frame.y0) == (0 - 0.48, 2 - 0.46)


def test_for_distances_less_is_better_in_colour() -> None:
    figure = matrix_figure(cross_evaluate(ROWS, metric="hd95_mm"), label="HD95").figure
    assert figure.data[0].reversescale is True
    assert matrix_figure(cross_evaluate(ROWS), label="Dice").figure.data[0].reversescale is False


def test_a_click_on_a_cell_names_its_pair_and_the_chosen_pair_is_framed() -> None:
    chosen: list[tuple[str, str]] = []
    view = MatrixView(on_click=lambda *pair: chosen.append(pair))
    view.show(cross_evaluate(ROWS), label="Dice", pair=("Expert B", "Model A"))
    own, pair = view.figure.layout.shapes
    assert (own.x0, own.line.dash) == (-0.48, "solid")
    assert (round(pair.x0 + pair.x1, 6), pair.line.dash) == (2, "dot")  # about the second column

    references, candidates = view._names
    row, itself = candidates.index("Model A"), candidates.index("Expert A")
    click(view.widget, 0, row, references.index("Expert A"))
    click(view.widget, 0, itself, references.index("Expert A"))
    click(view.widget, 0, row, references.index("Expert B"), late=True)  # the matrix before
    assert chosen == [("Expert A", "Model A")]


def test_the_frame_of_another_pair_does_not_stay() -> None:
    view = MatrixView()

    def framed(pair: tuple[str, str] | None) -> list[tuple[str, float]]:
        view.show(cross_evaluate(ROWS), label="Dice", pair=pair)
        frames = view.figure.layout.shapes
        return [(frame.line.dash, round((frame.x0 + frame.x1) / 2, 6)) for frame in frames]

    assert framed(None) == [("solid", 0)]
    assert framed(("Expert B", "Model A")) == [("solid", 0), ("dot", 1)]
    assert framed(("Expert A", "Model A")) == [("solid", 0), ("dot", 0)]
    assert framed(None) == [("solid", 0)]
