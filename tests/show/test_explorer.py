"""The shell: choosing in one part shows in the others. The page itself is in tests/browser."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import ipywidgets.widgets.widget as widget_module
import numpy as np
import pytest
from clicks import click
from small import EXPERT_A, EXPERT_B, MODEL_A, MODEL_B, limb, put_into_counts, write_tiny_cohort
from test_readings import give_predictions

from boneviz import explore
from boneviz.case import Prediction
from boneviz.cohort import Cohort
from boneviz.errors import InputError
from boneviz.nifti import read_case, write_prediction
from boneviz.show.explorer import Explorer
from boneviz.show.later import SETTLE_S, Later
from boneviz.show.state import choose_pair, choose_view, set_thresholds
from boneviz.volume import Volume
from show.exploring import LATER, drawn_at_once, explorer, press

__all__ = ["drawn_at_once", "explorer"]  # fixtures


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
    assert "P02" in explorer._header.title.value


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
    explorer._scored.metric.value = "hd95_mm"
    assert "HD95" in explorer.matrix.figure.layout.title.text
    assert explorer.matrix.figure.data[0].z[-1][0] == 0.0
    assert explorer.matrix.figure.data[0].reversescale is True
    # the models copy their experts: distance 0 in every patient
    assert explorer.table.widget.df["Model A / Expert A"].tolist() == [0.0, 0.0, 0.0]
    assert explorer.table.widget.selected_rows == [0]


def test_statistics_are_in_words(explorer: Explorer) -> None:
    assert "With n = 3 no p below 0.05 is possible" in explorer._scored.words.value


def test_phantom_models_on_real_patients_carry_a_caution(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01")])
    give_predictions(cohort)
    assert explore(cohort)._header.caution.value == ""
    real = Cohort("Real", cohort.root, cohort.readers, cohort.cases, synthetic=False)
    assert "learned from synthetic phantoms only" in explore(real)._header.caution.value


def test_names_are_text_everywhere(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("<img src=x onerror=alert(1)>")])
    hostile = Cohort("<script>alert(1)</script>", cohort.root, cohort.readers, cohort.cases)
    explorer = explore(hostile)
    assert "<img" not in explorer._header.title.value
    assert "<script" not in explorer._header.title.value
    assert "&lt;script&gt;" in explorer._header.title.value


def test_a_patient_that_cannot_be_shown_is_not_gone_to(explorer: Explorer) -> None:
    path = explorer._cohort["P02"].ct
    path.write_bytes(path.read_bytes()[:1000])
    explorer._ahead.forget()  # it may have been read while it was whole
    explorer.table.widget.selected_rows = [1]
    assert "Still showing P01" in explorer._header.problem.value
    assert "patient P02" in explorer._header.problem.value
    assert explorer.state.case_id == explorer.viewer.case_info["patient"] == "P01"
    assert explorer.table.widget.selected_rows == [0]
    explorer.select("P03")
    assert explorer._header.problem.value == ""
    assert explorer.viewer.case_info["patient"] == "P03"


def test_surfaces_are_of_the_patient_named_above(explorer: Explorer) -> None:
    def middle() -> tuple[float, ...]:
        trace = next(t for t in explorer.surfaces.figure.data if t.meta == "reader")
        return tuple((min(axis) + max(axis)) / 2 for axis in (trace.x, trace.y, trace.z))

    assert middle() == pytest.approx((-18, 12, -12), abs=3.5)  # P01's box, see small.limb
    explorer.select("P02")
    assert middle() == pytest.approx((15, -9, 12), abs=3.5)
    # a late click on P01's box moves nothing
    traces = explorer.surfaces.figure.data
    n = next(n for n, trace in enumerate(traces) if trace.meta == "reader")
    before, surface = explorer.state.cursor_mm, traces[n]
    click(explorer.surfaces.widget, n, 5, late=True)
    assert explorer.state.cursor_mm == before
    click(explorer.surfaces.widget, n, 5)
    assert explorer.state.cursor_mm == pytest.approx((surface.x[5], surface.y[5], surface.z[5]))


def test_beside_an_event_loop_3d_waits_for_the_slices(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Later, "do", LATER)
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


def test_the_patient_after_this_one_is_read_ahead(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, ahead = explorer._ahead._next
    assert name == explorer.state.case_ids[1] == "P02"
    waiting = ahead.result(10)
    shown: list[object] = []
    render = explorer._render_case
    monkeypatch.setattr(explorer, "_render_case", lambda case: (shown.append(case), render(case)))
    explorer.select("P02")
    assert shown == [waiting]
    assert explorer._ahead._next[0] == "P03"


def test_a_closed_explorer_says_so_where_it_is_displayed(
    explorer: Explorer, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="no table 'patient': expected patients, regions"):
        explorer.as_table("patient")
    explorer.close()
    explorer._ipython_display_()
    assert ": closed; open it again." in capsys.readouterr().out


def test_closing_leaves_no_widget_and_no_case_in_memory(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01")])
    give_predictions(cohort)
    before = set(widget_module._instances)
    explorer = explore(cohort)
    kept = weakref.ref(explorer)
    assert len(set(widget_module._instances) - before) > 100
    explorer.close()
    assert not set(widget_module._instances) - before
    del explorer
    gc.collect()
    assert kept() is None


def test_models_come_with_probabilities_also_on_an_oblique_grid(explorer: Explorer) -> None:
    for case_id in ("P01", "P02", "P03"):
        explorer.select(case_id)
        shown = explorer.viewer._shown
        assert list(shown.probabilities) == [MODEL_A, MODEL_B]
        for model, expert in ((MODEL_A, EXPERT_A), (MODEL_B, EXPERT_B)):
            # the models copy their experts with a probability of 0.9
            np.testing.assert_array_equal(
                shown.mask(model.name, {}), shown.case.masks[expert].array, err_msg=case_id
            )
            assert not shown.mask(model.name, {model.name: 0.95}).any()


def test_view_pair_and_thresholds_are_one_state_with_the_page(explorer: Explorer) -> None:
    explorer.viewer.view = "error"
    explorer.viewer.pair = ["Expert B", "Model A"]
    explorer.viewer.thresholds = {"Model A": 0.3}
    state = explorer.state
    assert (state.view, state.pair) == ("error", ("Expert B", "Model A"))
    assert state.thresholds == (("Model A", 0.3),)
    explorer.select("P02")
    assert (explorer.viewer.view, explorer.viewer.pair) == ("error", ["Expert B", "Model A"])
    assert explorer.viewer.thresholds == {"Model A": 0.3}
    chosen = choose_pair(choose_view(explorer.state, "disagreement"), "Model B", "Expert B")
    explorer.go(set_thresholds(chosen, {}))
    assert (explorer.viewer.view, explorer.viewer.pair) == (
        "disagreement",
        ["Model B", "Expert B"],
    )
    assert explorer.viewer.thresholds == {}
    assert explorer._header.notes.value == ""


def test_3d_follows_a_models_threshold(explorer: Explorer) -> None:
    def readers() -> list[str]:
        return [t.customdata[0] for t in explorer.surfaces.figure.data if t.meta == "reader"]

    assert readers() == ["Expert A", "Expert B", "Model A", "Model B"]
    # the models are sure by 0.9 wherever they say yes
    explorer.viewer.thresholds = {"Model A": 0.95}
    assert readers() == ["Expert A", "Expert B", "Model B"]
    explorer.viewer.visible = ["Expert A", "Expert B", "Model B"]
    explorer.viewer.thresholds = {"Model A": 0.85}
    assert readers() == ["Expert A", "Expert B", "Model B", "Model A"]
    assert explorer.surfaces.figure.data[-1].visible is False
    # the table does not follow, and the page says so
    assert (
        "Slices and 3D show Model A from 0.85 on; scores stay at 0.50"
        in explorer._header.notes.value
    )
    # the next patient opens at the same threshold
    explorer.viewer.thresholds = {"Model B": 0.95}
    explorer.select("P02")
    assert readers() == ["Expert A", "Expert B", "Model A"]


def test_a_study_of_ten_readers_opens_with_its_four_and_offers_variants(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01")])
    case = read_case(cohort.cases[0])
    variants = [
        replace(model, name=f"{model.name} {what}", variant=what)
        for what in ("CT only", "PET only", "seed 1")
        for model in (MODEL_A, MODEL_B)
    ]
    for model in (*variants, MODEL_A, MODEL_B):
        outline = case.masks[EXPERT_A].array.astype(np.float32)
        probability = Volume(outline, case.ct.grid, "probability")
        write_prediction(
            Prediction("P01", "", model, 0, probability, "checkpoint", frozenset()),
            cohort.root / "predictions" / model.key,
        )
    explorer = explore(cohort)
    names = [reader["name"] for reader in explorer.viewer.case_info["readers"]]
    assert names[:4] == ["Expert A", "Expert B", "Model A", "Model B"]
    assert len(names) == 8
    assert explorer.viewer.visible == names[:4]
    left = sorted({variant.name for variant in variants}.difference(names))
    assert len(left) == 2
    assert f"at most 8 readers; left out here: {', '.join(left)}" in explorer._header.notes.value
    # a variant can be switched on
    explorer.viewer.visible = names[:5]
    assert names[4] in explorer.state.visible


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
    assert "nobody to compare with" in explorer._scored.words.value
    assert EXPERT_B.name not in str(explorer.viewer.case_info)
    assert "nobody to compare with" in explorer.atlas.words.value
    assert explorer.starred.empty


def test_a_model_without_a_prediction_for_this_patient_is_named(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02")])
    give_predictions(cohort)
    for path in (cohort.root / "predictions" / "model_b").glob("P02*"):
        path.unlink()
    explorer = explore(cohort)
    explorer.pair.candidate.value = "Model B"
    explorer.select("P02")
    assert "Model B: no reading of P02" in explorer.atlas.words.value
    press(explorer, "next")
    assert explorer.state.region is None
    assert "No reading of both: P02." in explorer.strip.words.value
    explorer.select("P01")
    assert explorer.atlas.table.widget.df["Voxels"].tolist() == [456]


def test_a_patient_in_counts_is_explored_without_suv(tmp_path: Path) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02", place=1)])
    put_into_counts(cohort["P02"])
    explorer = explore(cohort)
    assert "no SUV" not in explorer.atlas.words.value
    explorer.select("P02")
    assert explorer.viewer.case_info["pet"]["unit"] == "counts"
    assert "There is no SUV: PET in counts." in explorer.atlas.words.value
    regions = explorer.as_table("regions")
    assert len(regions) == 1  # what expert A alone outlines; shared ones are not listed at first
    assert regions["suv_max"].isna().all()
    assert regions["hu_mean"].notna().all()
    # a link brings the range back
    explorer.viewer.counts_range = [0.0, 5000.0]
    link = explorer.link()
    explorer.select("P01")
    explorer.open_link(link)
    assert (explorer.state.case_id, explorer.viewer.counts_range) == ("P02", [0, 5000])
    explorer.close()
