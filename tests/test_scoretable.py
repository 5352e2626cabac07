import copy
import math
import pickle
from pathlib import Path

import pandas as pd
import pytest
from cases import EXPERT_A, EXPERT_B, MODEL_A, case_of, mask_of, prediction_of, scores_of

from boneviz.errors import InputError
from boneviz.score import score_case
from boneviz.scorerow import Scores
from boneviz.scoretable import read_scores, row_of, scores_table, write_scores

ROWS = (
    scores_of(EXPERT_A, EXPERT_B, patient_id="007", session="S1"),
    scores_of(EXPERT_A, MODEL_A, patient_id="007", status="missed", dice=0.0, precision=math.nan),
    # digits that a short decimal would lose
    scores_of(EXPERT_B, MODEL_A, patient_id="NA", held_out=False, dice=1 / 3, hd_mm=0.1 + 0.2),
)


def same(found: Scores, expected: Scores) -> bool:
    """Compare with NaN equal to NaN and every digit counting."""
    return repr(row_of(found)) == repr(row_of(expected))


def test_a_row_is_flat_and_says_its_units_and_settings() -> None:
    row = row_of(ROWS[1])
    assert row["patient_id"] == "007"
    assert (row["candidate"], row["candidate_learned_from"]) == ("Model A", "Expert A")
    assert (row["reference"], row["reference_learned_from"]) == ("Expert A", "")
    assert (row["status"], row["dice"], row["surface_dice_2mm"]) == (
        "missed",
        0.0,
        pytest.approx(math.nan, nan_ok=True),
    )
    assert (row["threshold"], row["tolerance_mm"], row["diagonal_mm"]) == (0.5, "1 2", 100.0)
    assert row["tolerance_below_two_voxels"] is True
    assert all(isinstance(value, str | int | float) for value in row.values())


def test_value_by_column_name() -> None:
    assert ROWS[0].value("hd95_mm") == 5.0
    assert ROWS[0].value("surface_dice_1mm") == 0.5
    with pytest.raises(InputError, match=r"no metric 'surface_dice_9mm' .* there is dice, iou"):
        ROWS[0].value("surface_dice_9mm")


def test_scores_travel_between_processes() -> None:
    again = pickle.loads(pickle.dumps(ROWS[2]))
    assert same(again, ROWS[2])
    assert same(copy.deepcopy(ROWS[2]), ROWS[2])
    with pytest.raises(TypeError):
        again.surface_dice[1.0] = 0.9


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_what_is_written_is_what_is_read(tmp_path: Path, name: str) -> None:
    write_scores(ROWS, tmp_path / name)
    again = read_scores(tmp_path / name)
    assert len(again) == len(ROWS)
    for found, expected in zip(again, ROWS, strict=True):
        assert same(found, expected)
        assert (found.reference, found.candidate) == (expected.reference, expected.candidate)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["scores.parquet", "scores.csv"])
def test_rows_of_different_tolerances_share_a_table(tmp_path: Path, name: str) -> None:
    mask = mask_of([(1, 1, 1)])
    case = case_of({EXPERT_A: mask, EXPERT_B: mask})
    rows = score_case(case) + score_case(
        case, [prediction_of(MODEL_A, mask)], tolerance_mm=(2.5,), pairs=[("Expert A", "Model A")]
    )
    write_scores(rows, tmp_path / name)
    again = read_scores(tmp_path / name)
    assert all(same(found, expected) for found, expected in zip(again, rows, strict=True))
    assert dict(again[1].surface_dice) == {2.5: 1.0}


def test_the_table_is_tidy() -> None:
    table = scores_table(ROWS)
    assert list(table["patient_id"]) == ["007", "007", "NA"]
    assert list(table["dice"]) == [0.5, 0.0, 1 / 3]
    assert table["precision"].isna().tolist() == [False, True, False]


def test_what_is_not_a_table_of_scores_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ending in \.parquet or \.csv"):
        write_scores(ROWS, tmp_path / "scores.xlsx")
    with pytest.raises(InputError, match="no scores to write"):
        write_scores([], tmp_path / "scores.csv")
    with pytest.raises(InputError, match=r"none\.csv: no such table"):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"cut\.parquet: not a table of scores"):
        read_scores(tmp_path / "cut.parquet")
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"empty\.csv: not a table of scores"):
        read_scores(tmp_path / "empty.csv")
    pd.DataFrame({"patient_id": ["007"], "tolerance_mm": ["1"]}).to_csv(tmp_path / "other.csv")
    with pytest.raises(InputError, match="score the cohort again"):
        read_scores(tmp_path / "other.csv")
    assert not list(tmp_path.glob(".writing-*"))
