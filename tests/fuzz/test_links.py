"""No link leads out: of each kind of folder every file in turn is a link to a whole one outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from .linked import FOLDERS

TESTS = Path(__file__).resolve().parents[1]
#: a folder that somebody names is theirs to link, and so is the file that they name
NAMED = {
    "cohort": {"cohort"},
    "nnunet": {"Dataset501_Bone"},
    "datalist": {"bone.json"},
    "learner": {"kim"},
    "dicom": set(),
    "nhdr": {"mask.nhdr"},
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[str]]]:
    """Return what was opened outside, by kind of folder and name of the link."""
    # in a process of its own, as an audit hook stays
    ended = subprocess.run(
        [sys.executable, "-m", "fuzz.linked", str(tmp_path_factory.mktemp("links"))],
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found: dict[str, dict[str, list[str]]] = json.loads(ended.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("kind", FOLDERS)
def test_nothing_outside_is_opened(opened: dict[str, dict[str, list[str]]], kind: str) -> None:
    assert set(opened[kind]) >= NAMED[kind]
    assert len(opened[kind]) >= 2
    wrong = {name: paths for name, paths in opened[kind].items() if paths}
    assert wrong.keys() <= NAMED[kind], wrong


def test_what_somebody_names_may_be_a_link(opened: dict[str, dict[str, list[str]]]) -> None:
    # so that it is seen that the hook sees
    assert opened["learner"]["kim"]
    assert opened["cohort"]["cohort"]
