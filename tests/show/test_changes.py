"""What is redrawn for a step, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from boneviz.show.changes import behind_listing, behind_operating, behind_slices
from boneviz.show.state import ViewState, first_state

START = first_state(["P01"], ["Expert A", "Expert B", "Model A"])
PARTS = {"listing": behind_listing, "operating": behind_operating, "slices": behind_slices}


@pytest.mark.parametrize(
    ("changed", "parts"),
    [
        ({"order": "distance_to_bone_mm"}, {"listing"}),
        ({"least_ml": 1.0}, {"listing"}),
        ({"view": "error"}, {"slices"}),
        ({"panel": "operating"}, {"operating"}),
        ({"thresholds": (("Model A", 0.3),)}, {"operating", "slices"}),
        ({"cursor_mm": (1.0, 2.0, 3.0)}, set()),
    ],
    ids=lambda given: " ".join(given) or "nothing",
)
def test_a_step_redraws_the_parts_that_depend_on_it(
    changed: dict[str, object], parts: set[str]
) -> None:
    after = replace(START, **changed)
    depends: dict[str, Callable[[ViewState], object]] = dict(PARTS)
    assert {name for name, on in depends.items() if on(after) != on(START)} == parts
