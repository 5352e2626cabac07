"""The shell: choosing in one part shows in the others. The page itself is in tests/browser."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from small import (
    EXPERT_A,
    EXPERT_B,
    MODEL_A,
    MODEL_B,
    limb,
    prediction_of,
    write_tiny_cohort,
)
from test_readings import give_predictions

from boneviz import explore
from boneviz.cohort import Cohort
from boneviz.nifti import read_case, write_prediction
from boneviz.show.explorer import SETTLE_S, Explorer
from boneviz.volume import Volume

LATER = Explorer._later


@pytest.fixture(autouse=True)
def drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw 3D at once, as without an event loop: Playwright leaves its own running after it."""
    monkeypatch.setattr(Explorer, "_later", lambda _self, _what, draw: draw())


@pytest.fixture
def explorer(tmp_path: Path) -> Explorer:
    cohort = write_tiny_cohort(
        tmp_path / "tiny",
        [limb("P01"), limb("P02", axes="lps", place=1), limb("P03", axes="oblique", place=2)],
    )
    give_predictions(cohort)
    return explore(cohort)


def test_it_opens_on_the_first_patient_with_all_four_readers(explorer: Explorer) -> None:
    assert explorer.state.case_id == "P01"
    assert explorer.viewer.case_info["patient"] == "P01"
    readers = [reader["name"] for reader in explorer.viewer.case_info["readers"]]
    assert readers == ["Expert A", "Expert B", "Model A", "Model B"]
    assert [reader["dashed"] for reader in explorer.viewer.case_info["readers"]] == [
        False,
        False,
        True,
        True,
    ]
    assert explorer.table.widget.selected_rows == [0]


def test_the_cursor_starts_where_the_readers_differ(explorer: Explorer) -> None:
    case = explorer._cohort["P01"]
    assert case.patient_id == "P01"
    # P01: a box of half side 16 mm about (-18, 12, -12); experts differ in its outer 6 mm
    away = max(
        abs(a - b) for a, b in zip(explorer.viewer.cursor_mm, (-18.0, 12.0, -12.0), strict=True)
    )
    assert 10 <= away <= 16


def test_a_row_of_the_table_opens_its_patient(explorer: Explorer) -> None:
    explorer.table.widget.selected_rows = [1]
    assert explorer.state.case_id == "P02"
    assert explorer.viewer.case_info["patient"] == "P02"
    assert "P02" in explorer._title.value


def test_an_oblique_patient_is_shown_on_straight_axes_and_says_so(explorer: Explorer) -> None:
    explorer.select("P03")
    assert any("oblique" in note for note in explorer.viewer.case_info["notes"])


def test_a_reader_switched_off_in_the_page_leaves_3d_too(explorer: Explorer) -> None:
    explorer.viewer.visible = ["Expert A", "Model A", "Model B"]
    shown = {
        t.customdata[0]: t.visible for t in explorer.surfaces.figure.data if t.meta == "reader"
    }
    assert shown == {"Expert A": True, "Expert B": False, "Model A": True, "Model B": True}
    explorer.select("P02")
    assert explorer.viewer.visible == ["Expert A", "Model A", "Model B"]


def test_the_cursor_moves_in_3d_with_the_slices(explorer: Explorer) -> None:
    explorer.viewer.cursor_mm = [1.0, 2.0, 3.0]
    mark = next(t for t in explorer.surfaces.figure.data if t.meta == "cursor")
    assert (mark.x, mark.y, mark.z) == ((1.0,), (2.0,), (3.0,))
    assert explorer.state.cursor_mm == (1.0, 2.0, 3.0)


def test_another_metric_redraws_table_and_matrix(explorer: Explorer) -> None:
    assert explorer.matrix.figure.data[0].z[-1][0] == 1.0  # Dice of Model A with Expert A
    explorer._metric.value = "hd95_mm"
    assert "HD95" in explorer.matrix.figure.layout.title.text
    assert explorer.matrix.figure.data[0].z[-1][0] == 0.0
    assert explorer.matrix.figure.data[0].reversescale is True
    # the models copy their experts: distance 0 in every patient
    assert explorer.table.widget.df["Model A / Expert A"].tolist() == [0.0, 0.0, 0.0]
    assert explorer.table.widget.selected_rows == [0]


def test_statistics_are_in_words(explorer: Explorer) -> None:
    assert "With n = 3 no p below 0.05 is possible" in explorer._words.value


def test_phantom_models_on_real_patients_carry_a_caution(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01")])
    give_predictions(cohort)
    assert explore(cohort)._caution.value == ""
    real = Cohort("Real", cohort.root, cohort.readers, cohort.cases, synthetic=False)
    assert "learned from synthetic phantoms only" in explore(real)._caution.value


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("<img src=x onerror=alert(1)>")])
    hostile = Cohort("<script>alert(1)</script>", cohort.root, cohort.readers, cohort.cases)
    explorer = explore(hostile)
    assert "<img" not in explorer._title.value
    assert "<script" not in explorer._title.value
    assert "&lt;script&gt;" in explorer._title.value


def test_a_patient_that_cannot_be_shown_is_not_gone_to(explorer: Explorer) -> None:
    path = explorer._cohort["P02"].ct
    path.write_bytes(path.read_bytes()[:1000])
    explorer.table.widget.selected_rows = [1]
    assert "Still showing P01" in explorer._problem.value
    assert "patient P02" in explorer._problem.value
    assert explorer.state.case_id == explorer.viewer.case_info["patient"] == "P01"
    assert explorer.table.widget.selected_rows == [0]
    explorer.select("P03")
    assert explorer._problem.value == ""
    assert explorer.viewer.case_info["patient"] == "P03"


def test_surfaces_are_of_the_patient_named_above(explorer: Explorer) -> None:
    def middle() -> tuple[float, ...]:
        trace = next(t for t in explorer.surfaces.figure.data if t.meta == "reader")
        return tuple((min(axis) + max(axis)) / 2 for axis in (trace.x, trace.y, trace.z))

    assert middle() == pytest.approx((-18, 12, -12), abs=3.5)  # P01's box, see small.limb
    explorer.select("P02")
    assert middle() == pytest.approx((15, -9, 12), abs=3.5)
    # a late click on P01's box is on no surface of P02
    surface = next(t for t in explorer.surfaces.figure.data if t.meta == "reader")
    before = explorer.state.cursor_mm

    class Points:
        point_inds: ClassVar = [0]
        xs, ys, zs = ([-34.0], [12.0], [-12.0])

    explorer.surfaces._clicked(surface, Points, None)
    assert explorer.state.cursor_mm == before
    Points.xs, Points.ys, Points.zs = ([surface.x[5]], [surface.y[5]], [surface.z[5]])
    explorer.surfaces._clicked(surface, Points, None)
    assert explorer.state.cursor_mm == pytest.approx((surface.x[5], surface.y[5], surface.z[5]))


def test_beside_an_event_loop_3d_waits_for_the_slices(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Explorer, "_later", LATER)
    seen: list[list[str]] = []

    def metas() -> list[str]:
        return [trace.meta for trace in explorer.surfaces.figure.data]

    async def look() -> None:
        explorer.select("P02")
        seen.append(metas())  # nothing of P01 is left, nothing of P02 is there yet
        explorer.viewer.cursor_mm = [1.0, 2.0, 3.0]
        explorer.select("P03")  # what was to be drawn of P02 is forgotten
        await asyncio.sleep(3 * SETTLE_S)
        seen.append(metas())

    runner = threading.Thread(target=lambda: asyncio.run(look()))
    runner.start()
    runner.join(30)
    assert seen[0] == []
    assert seen[1].count("reader") == 4
    mark = next(trace for trace in explorer.surfaces.figure.data if trace.meta == "cursor")
    assert (mark.x[0], mark.y[0], mark.z[0]) == explorer.state.cursor_mm != (1.0, 2.0, 3.0)


def test_closing_lets_every_part_go(explorer: Explorer) -> None:
    parts = [explorer.viewer, explorer.table.widget, explorer.surfaces.figure]
    explorer.close()
    assert [part.comm for part in parts] == [None, None, None]


def test_one_reader_alone_is_shown_without_a_matrix(tiny_cohort: Cohort) -> None:
    first = tiny_cohort.cases[0]
    one = Cohort(
        "One",
        tiny_cohort.root,
        (EXPERT_A,),
        (type(first)("P01", "", first.ct, first.pet, {EXPERT_A: first.masks[EXPERT_A]}),),
    )
    explorer = explore(one)
    assert explorer.matrix.figure.data[0].z is None
    assert "nobody to compare with" in explorer._words.value
    assert EXPERT_B.name not in str(explorer.viewer.case_info)


def test_a_whole_study_is_shown_without_its_variants(tmp_path: Path) -> None:
    # two experts, two models, and seven variants that are in the table but not in the slices
    cohort = write_tiny_cohort(tmp_path, [limb("P01")])
    case = read_case(cohort.cases[0])
    variants = [
        replace(MODEL_A, name=f"Model A ({what})", variant=what)
        for what in ("CT only", "PET only", *(f"seed {n}" for n in range(1, 6)))
    ]
    for reader in (MODEL_A, MODEL_B, *variants):
        probability = case.masks[EXPERT_A].array.astype(np.float32)
        volume = Volume(probability, case.ct.grid, "probability")
        prediction = replace(prediction_of(reader), probability=volume)
        write_prediction(prediction, tmp_path / "predictions" / reader.key)
    models = (MODEL_A, MODEL_B, *variants)
    explorer = Explorer(replace(cohort, readers=(*cohort.readers, *models)))
    shown = [reader["name"] for reader in explorer.viewer.case_info["readers"]]
    assert shown == ["Expert A", "Expert B", "Model A", "Model B"]
    assert "left out here, but in the table: Model A (CT only)" in explorer._caution.value
    explorer.close()
