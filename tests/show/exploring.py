"""An explorer of three limbs, drawn at once: for the tests of the explorer."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import limb, write_tiny_cohort
from test_readings import give_predictions

from boneviz import explore
from boneviz.show.explorer import Explorer
from boneviz.show.later import Later

BAD = "<img src=x onerror=alert(1)>"
LATER = Later.do


@pytest.fixture(autouse=True)
def drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw 3D at once, as without an event loop: Playwright leaves its own running after it."""
    monkeypatch.setattr(Later, "do", lambda _self, _what, job: job())


@pytest.fixture
def explorer(tmp_path: Path) -> Explorer:
    cohort = write_tiny_cohort(
        tmp_path / "tiny",
        [limb("P01"), limb("P02", axes="lps", place=1), limb("P03", axes="oblique", place=2)],
    )
    give_predictions(cohort)
    return explore(cohort)


def press(explorer: Explorer, key: str, *, serial: int | None = None) -> None:
    """Let the page say that a key was pressed."""
    number = explorer.viewer.serial if serial is None else serial
    explorer.viewer._answer(None, {"kind": "region", "serial": number, "key": key}, [])
