"""Atlas, pair and worst region in the explorer: keys, stars, cells and points."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
import pandas as pd
import pytest
from clicks import click
from itables.widget import ITable
from small import EXPERT_A, EXPERT_B, limb, write_tiny_cohort

from boneviz import explore
from boneviz.nifti import read_case
from boneviz.readings import read_readings
from boneviz.regions import regions
from boneviz.show.explorer import Explorer
from boneviz.show.later import SETTLE_S, Later
from boneviz.show.plot import PlotView
from show.exploring import BAD, LATER, drawn_at_once, explorer, press

__all__ = ["drawn_at_once", "explorer"]  # fixtures


def is_disputed(explorer: Explorer, case_id: str) -> bool:
    """Whether the cursor is in what expert A alone outlines."""
    case = read_case(explorer._cohort[case_id])
    at = np.rint(case.ct.grid.to_index(np.array(explorer.viewer.cursor_mm))).astype(int)
    a, b = (case.masks[expert].array[tuple(at)] for expert in (EXPERT_A, EXPERT_B))
    return bool(a and not b)


def test_the_atlas_has_the_regions_to_the_voxel(explorer: Explorer) -> None:
    # P01, voxels of 3 x 3 x 6 mm: A's box reaches 16 mm from (-18, 12, -12) and holds
    # 10 x 10 x 6 voxels, B's reaches 10 mm and holds 6 x 6 x 4; A alone drew the shell between
    rows = explorer.atlas.table.widget.df
    assert rows["Voxels"].tolist() == [600 - 144]
    assert rows["mL"].tolist() == pytest.approx([456 * 0.054])
    assert rows["Drawn by"].tolist() == ["Expert A"]
    explorer.atlas.kinds["shared"].value = True
    assert explorer.atlas.table.widget.df["Voxels"].tolist() == [456, 144]


def test_an_oblique_patients_regions_are_those_of_the_files(explorer: Explorer) -> None:
    explorer.select("P03")
    readings = read_readings(explorer._cohort, explorer._cohort["P03"])
    found = regions(readings.case, "Expert A", "Expert B", readings.predictions)
    listed = [region for region in found if region.kind != "shared" and region.volume_ml >= 0.1]
    rows = explorer.atlas.table.widget.df
    assert rows["Voxels"].tolist() == [region.n_voxels for region in listed] != []
    assert rows["mL"].tolist() == [region.volume_ml for region in listed]


def test_a_row_of_the_atlas_moves_the_cursor_inside_its_region(explorer: Explorer) -> None:
    explorer.viewer.cursor_mm = [-18.0, 12.0, -12.0]  # the shell's centroid: both outlined it
    assert not is_disputed(explorer, "P01")
    explorer.atlas.table.widget.selected_rows = [0]
    assert is_disputed(explorer, "P01")
    assert explorer.state.region == 1


def test_keys_step_and_star_and_one_pressed_for_the_case_before_is_dropped(
    explorer: Explorer,
) -> None:
    press(explorer, "next")
    assert explorer.state.region == 1
    assert explorer.atlas.table.widget.selected_rows == [0]
    press(explorer, "star")
    assert [region.case_id for region in explorer.state.starred] == ["P01"]
    assert explorer.atlas.table.widget.df["★"].tolist() == ["★"]
    explorer.select("P02")
    for key in ("next", "star"):
        press(explorer, key, serial=1)
    press(explorer, "anything")
    assert explorer.state.region is None
    press(explorer, "previous")
    assert explorer.state.region == 1
    assert is_disputed(explorer, "P02")


def test_starred_regions_are_a_table_and_a_file(explorer: Explorer, tmp_path: Path) -> None:
    for case_id in ("P01", "P02"):
        explorer.select(case_id)
        press(explorer, "next")
        press(explorer, "star")
    explorer.pair.reference.value = "Model A"
    press(explorer, "next")
    press(explorer, "star")
    kept = explorer.starred
    assert kept["patient_id"].tolist() == ["P01", "P02", "P02"]
    assert kept["reference"].tolist() == ["Expert A", "Expert A", "Model A"]
    explorer.save_starred(tmp_path / "starred.csv")
    saved = pd.read_csv(tmp_path / "starred.csv", keep_default_na=False)
    assert saved["n_voxels"].tolist() == kept["n_voxels"].tolist()
    explorer.select("P01")
    explorer.pair.reference.value = "Expert A"
    assert explorer.atlas.table.widget.df["★"].tolist() == ["★"]


def test_a_pair_chosen_anywhere_is_shown_everywhere(explorer: Explorer) -> None:
    explorer.pair.candidate.value = "Model A"
    assert explorer.state.pair == ("Expert A", "Model A")
    # the model copies its expert
    assert "nothing is disputed" in explorer.atlas.words.value
    assert explorer.strip.words.value.partition(">")[2].startswith("Model A against Expert A")
    explorer.pair.candidate.value = "Expert A"  # on both sides: they change places
    assert (explorer.pair.reference.value, explorer.pair.candidate.value) == ("Model A", "Expert A")
    assert "Expert A was not scored against Model A" in explorer.strip.words.value


def click_cell(explorer: Explorer, reference: str, candidate: str) -> None:
    references, candidates = explorer.matrix._names
    place = (candidates.index(candidate), references.index(reference))
    click(explorer.matrix.widget, 0, *place)


def test_a_cell_opens_its_patients_and_a_point_the_patient_at_its_worst(
    explorer: Explorer,
) -> None:
    click_cell(explorer, "Expert B", "Model A")
    assert explorer.state.panel == "pair"
    assert explorer._panels.selected_index == 2
    n = explorer.strip._points.index(("P02", "Expert B"))
    click(explorer.strip.plot, 1, n)
    assert explorer.state.case_id == explorer.viewer.case_info["patient"] == "P02"
    assert explorer.state.pair == ("Expert B", "Model A")
    # Model A drew what expert A drew
    assert explorer.state.region == 1
    assert is_disputed(explorer, "P02")
    assert explorer.state.panel == "pair"


def test_a_patient_without_dispute_opens_where_it_would_anyway(explorer: Explorer) -> None:
    click_cell(explorer, "Expert A", "Model A")
    explorer.strip.table.widget.selected_rows = [1]
    assert explorer.state.case_id == "P02"
    assert explorer.state.region is None
    assert is_disputed(explorer, "P02")


def test_beside_an_event_loop_regions_wait_for_the_slices(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Later, "do", LATER)
    seen: list[Any] = []

    async def look() -> None:
        explorer.strip._on_open("P02", "Expert A", "Expert B")
        seen.append((explorer.state.region, explorer.atlas.words.value))
        await asyncio.sleep(3 * SETTLE_S)
        seen.append((explorer.state.region, explorer.atlas.words.value))

    runner = threading.Thread(target=lambda: asyncio.run(look()))
    runner.start()
    runner.join(30)
    (before, waiting), (after, words) = seen
    assert (before, after) == ("worst", 1)
    assert "Looking for the regions" in waiting
    assert "Expert B against Expert A in P02" in words


def parts_of(widget: widgets.Widget) -> Iterator[widgets.Widget]:
    yield widget
    for child in getattr(widget, "children", ()):
        yield from parts_of(child)


def test_names_from_files_are_text_in_atlas_strip_and_stars(tmp_path: Path) -> None:
    made = write_tiny_cohort(tmp_path / "tiny", [limb(BAD + "1"), limb(BAD + "2")])
    a, b = replace(EXPERT_A, name=BAD + "A"), replace(EXPERT_B, name=BAD + "B")
    cases = [replace(r, masks={a: r.masks[EXPERT_A], b: r.masks[EXPERT_B]}) for r in made]
    explorer = explore(replace(made, name=BAD, readers=(a, b), cases=tuple(cases)))
    press(explorer, "next")
    press(explorer, "star")
    click_cell(explorer, BAD + "B", BAD + "A")
    assert explorer.state.pair == (BAD + "B", BAD + "A")
    seen = 0
    for part in parts_of(explorer):
        texts = []
        if isinstance(part, widgets.HTML):
            texts = [part.value]
        elif isinstance(part, ITable):
            texts = [part._dt_args["data_json"], part._dt_args["table_html"]]
        elif isinstance(part, PlotView) and part is not explorer.surfaces.widget:
            texts = [str(part.figure.to_dict())]
        assert not any("<img" in text for text in texts)
        seen += sum("&lt;img" in text for text in texts)
    assert seen >= 7  # title, words, three tables, matrix, strip
