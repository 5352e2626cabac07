"""The log of a fit: kept, gone on from, read as a table, refused where it is none."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from boneviz.errors import CheckpointError
from boneviz.learninglog import LearningLog, read_logs


def write(path: Path, loss: list[float], watched: list[tuple[int, float]]) -> LearningLog:
    log = LearningLog(path)
    log.loss, log.watched = loss, watched
    log.write()
    return log


def test_what_came_after_the_state_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "model_a_fold0.log.json"
    write(path, [0.9, 0.8, 0.7, 0.6], [(2, 0.3), (4, 0.5)])
    log = LearningLog(path)
    log.go_on_from(3)  # three steps are done; the look after the fourth is to come again
    assert log.loss == [0.9, 0.8, 0.7]
    assert log.watched == [(2, 0.3)]


def test_the_recent_loss_is_of_fifty_steps(tmp_path: Path) -> None:
    log = LearningLog(tmp_path / "new.log.json")
    assert str(log.recent()) == "nan"
    log.loss = [100.0, *[1.0] * 25, *[3.0] * 25]
    assert log.recent() == 2.0


def test_logs_become_a_table(tmp_path: Path) -> None:
    write(tmp_path / "model_a_fold0.log.json", [0.9, 0.8], [(2, 0.4)])
    write(tmp_path / "model_b_fold1.log.json", [0.7], [])
    table = read_logs(tmp_path)
    assert table["model"].tolist() == ["model_a_fold0"] * 2 + ["model_b_fold1"]
    assert table["step"].tolist() == [1, 2, 1]
    assert table["loss"].tolist() == [0.9, 0.8, 0.7]
    assert table["recent_loss"].tolist() == pytest.approx([0.9, 0.85, 0.7])
    assert table["watched_dice"].tolist() == pytest.approx([math.nan, 0.4, math.nan], nan_ok=True)
    assert read_logs(tmp_path / "none").empty


def test_a_log_of_before_there_were_looks_is_read(tmp_path: Path) -> None:
    (tmp_path / "old.log.json").write_text(json.dumps({"loss": [0.5]}))
    assert LearningLog(tmp_path / "old.log.json").watched == []


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"loss": ["x"]}',
        '{"lost": []}',
        '{"loss": [], "watched": [[1e999, 1]]}',
        pytest.param("[" * 50_000, id="deep"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "model_a_fold0.log.json"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"not the log of a fit .*delete it"):
        LearningLog(path)
