"""The notebooks run from top to bottom, and are committed without outputs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

REPO = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
# the notebook on training promises its reader three minutes on two cores
LIMIT_S = {"03_train_two_experts.ipynb": 180}


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == [
        "01_explore.ipynb",
        "02_cross_evaluation.ipynb",
        "03_train_two_experts.ipynb",
        "04_why_patient_level_3d.ipynb",
        "05_teaching.ipynb",
        "06_your_own_data.ipynb",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_hold_no_outputs_and_define_nothing(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert "def " not in cell.source
            assert "class " not in cell.source


@pytest.mark.notebook
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{REPO}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.delenv("BONEVIZ_COHORT", raising=False)
    notebook = nbformat.read(path, as_version=4)
    started = time.monotonic()
    client = NotebookClient(
        notebook,
        timeout=LIMIT_S.get(path.name, 120),
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute()
    assert time.monotonic() - started < LIMIT_S.get(path.name, 120)
    outputs = [out for cell in notebook.cells if cell.cell_type == "code" for out in cell.outputs]
    assert any(out.output_type in ("execute_result", "display_data") for out in outputs)
    warned = [out.text for out in outputs if out.get("name") == "stderr" and "Warning" in out.text]
    assert warned == []
    if path.name.startswith("03"):
        words = notebook.cells[-2].outputs[0].data["text/plain"]
        assert "n = 8" in words
    if path.name.startswith("04"):
        words = notebook.cells[-2].outputs[0].text
        assert "n = 8" in words
        assert "n is patients" in words
    if path.name.startswith("05"):
        kept = {path.name for path in tmp_path.glob("teaching/*")}
        assert kept == {"kim", "two", "three", "five"}
        # the sensitive style of who fills from a low SUV on, in the table of the group
        (table,) = [
            out.data["text/plain"]
            for out in outputs
            if "n_closer_by_dice" in out.get("data", {}).get("text/plain", "")
        ]
        assert "From SUV 2" in table
