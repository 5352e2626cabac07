"""What a session says of a drawing, by hand; every text from a file is text."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import EXPERT_A, EXPERT_B, case_on
from test_learnerfile import write_session
from test_teaching import CASE, SESSION, drawing_at, revealed

from boneviz.drawing import Drawing
from boneviz.learnerfile import LearnerFile
from boneviz.show.results import case_table, differences, progress_table, session_table
from boneviz.teaching import commit, reveal
from boneviz.volume import Grid, Volume


def cells(table: str) -> list[list[str]]:
    """Return the text of a table's rows, headings first."""
    rows = re.findall(r"<tr>(.*?)</tr>", table)
    return [
        [re.sub(r"<.*?>", "", cell) for cell in re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row)]
        for row in rows
    ]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> LearnerFile:
    return write_session(Path(tmp_path_factory.mktemp("kim")))


def test_a_case_beside_both_experts() -> None:
    #   x:         0 1 2 3 4 5 6 7 8
    #   expert A   # # # . # . # # .      expert B   . # . . . . . . .
    #   learner    # # . . . . . . #
    head, first, second = cells(case_table(revealed(0, 1, 8).results, {"Reader 1": "#3d9bff"}))
    assert head[:4] == ["Compared with", "Dice", "Missed lesions", "Extra lesions"]
    assert [each for each in head if "boundary" in each.lower()] == ["Boundary, mean mm"]
    # B: one voxel of 0.03 mL, drawn; 2 / (1 + 3); A: 4 / (6 + 3), two lesions of three missed
    # lesions missed and extra with their volume; 8 abuts A's 7, and yet shares no voxel with it
    assert first[:4] == ["Reader 1, the specific style", "0.50", "0 of 1", "1 of 2, 0.03 mL"]
    assert second[:4] == [
        "Reader 2, the sensitive style",
        "0.44",
        "2 of 3, 0.09 mL",
        "1 of 2, 0.03 mL",
    ]
    assert (first[-1], second[-1]) == ("Dice, volume", "boundary")
    assert (first[6:8], second[6:8]) == (["0.03", "0.09"], ["0.18", "0.09"])


def test_what_is_undefined_is_a_dash() -> None:
    # nothing drawn: Dice is 0, distances are undefined, and nobody is closer
    _, first, _ = cells(case_table(revealed().results, {}))
    assert first[1] == "0.00"
    assert first[4:6] == ["\u2013", "\u2013"]
    assert first[-1] == "\u2013"


def test_the_session_and_its_cases(file: LearnerFile) -> None:
    table = file.table()
    _, first, second = cells(session_table(table))
    assert "The session so far, 3 cases" in session_table(table)
    # B: Dice 2/4 for P2, 1 for P1, undefined for P3, where B outlines nothing
    assert first[:2] == ["Reader 1, the specific style", "0.75 (n = 2)"]
    # A: 6/9, 2/7 and 2/8
    assert second[:2] == [
        "Reader 2, the sensitive style",
        f"{(6 / 9 + 2 / 7 + 2 / 8) / 3:.2f} (n = 3)",
    ]
    # lesions: B has 1 in P2 and P1, none in P3, where 2 are drawn; A has 3 each time, 1 found.
    # mL: B 2 voxels of 0.03, A 18, drawn 3 + 1 + 2
    assert first[2:4] == ["0 of 2", "2 of 4"]
    assert second[2:4] == ["6 of 9", "1 of 4"]
    assert (first[5:], second[5:]) == (
        ["0.06", "0.18", "1 of 3 cases"],
        ["0.54", "0.18", "0 of 3 cases"],
    )
    head, *rows = cells(progress_table(table))
    assert head[:4] == ["Case", "Dice, Reader 1", "Missed, Reader 1", "Extra, Reader 1"]
    assert [row[0] for row in rows] == ["P2", "P1", "P3"]
    assert [row[1:4] for row in rows] == [
        ["0.50", "0 of 1", "0 of 1"],
        ["1.00", "0 of 1", "0 of 1"],
        ["\u2013", "0 of 0", "2 of 2"],
    ]
    assert [row[4:7] for row in rows] == [
        ["0.67", "2 of 3", "0 of 1"],
        ["0.29", "2 of 3", "0 of 1"],
        ["0.25", "2 of 3", "1 of 2"],
    ]
    assert [row[-1] for row in rows] == ["\u2013", "Reader 1", "\u2013"]


def test_before_the_first_case_nothing_is_said() -> None:
    table = pd.DataFrame(columns=["case_id", "reader"])
    assert session_table(table) == progress_table(table) == ""


def test_differences_are_named_missed_and_extra_first_and_experts_stay_masked() -> None:
    words = [text for text, _ in differences(revealed(0, 1, 5))]
    # 4 of A alone touches 5, which is drawn; 6 and 7 touch it too: no lesion of A is missed whole
    assert not any("Expert" in text for text in words)
    seen = differences(revealed(1))
    texts = [text for text, _ in seen]
    # of A's parts 4 and 6-7 touch nothing drawn, the larger first; 0 and 2 are its rim
    assert texts[0].startswith("Reader 2: missed lesion, 0.06 mL, SUVmax 0.0")
    assert texts[1].startswith("Reader 2: missed lesion, 0.03 mL")
    assert all("boundary, drawn by Reader 2 alone" in text for text in texts[2:])
    assert len(texts) == 4
    # the place to look at lies in it: x = 6 or 7 of 2 mm
    assert seen[0][1].inside_mm[0] in (12.0, 14.0)
    assert any("drawn by you alone" in text for text, _ in differences(revealed(0, 1)))


def test_the_list_and_the_sentence_round_a_volume_alike() -> None:
    # one voxel of 50 mm a side is 125 mL, of 48 mm 110.592 mL, which nobody needs that exactly
    for side_mm, says in ((50, "125 mL"), (48, "111 mL")):
        grid = Grid.straight((3, 3, 3), (side_mm,) * 3)
        mask = np.zeros((3, 3, 3), dtype=bool)
        mask[1, 1, 1] = True
        outline = Volume(mask, grid, "label")
        case = case_on(grid, masks={EXPERT_A: outline, EXPERT_B: outline})
        seen = reveal(commit(replace(SESSION, case_ids=("P01",)), case, Drawing.blank(grid)), case)
        assert f"outlined 1 lesion, {says};" in seen.words
        assert all(f"missed lesion, {says}" in text for text, _ in differences(seen))
        assert says.removesuffix(" mL") in cells(case_table(seen.results, {}))[1]


def test_names_are_text() -> None:
    evil = '<img src=x onerror="window.caught=1">'
    case = replace(CASE, patient_id=evil)
    session = replace(SESSION, case_ids=(evil,))
    seen = reveal(commit(session, case, drawing_at([1])), case)
    results = [replace(each, reader=evil) for each in seen.results]
    table = pd.DataFrame([{**asdict(each), "learner": evil} for each in seen.results])
    for made in (case_table(results, {}), session_table(table), progress_table(table)):
        assert "<img" not in made
    assert "&lt;img" in progress_table(table)
