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


@pytest.mark.parametrize("kind", FOLDERS)
def test_nothing_outside_is_opened(kind: str, tmp_path: Path) -> None:
    # in a process of its own, as an audit hook stays
    environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
    ended = subprocess.run(
        [sys.executable, "-m", "fuzz.linked", kind, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    assert len(found) >= 2
    opened = {name: paths for name, paths in found.items() if paths and name not in NAMED[kind]}
    assert not opened
