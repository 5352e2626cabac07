"""What the row of buttons sends to the page that asks, and the explorer's links."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from small import limb, write_tiny_cohort

from boneviz import explore
from boneviz.errors import InputError
from boneviz.regions import regions_table
from boneviz.show.explorer import Explorer
from boneviz.show.keep import TABLES, KeepBar
from boneviz.show.state import (
    choose_pair,
    choose_view,
    filter_regions,
    listed_regions,
    set_thresholds,
    show_panel,
)
from show.exploring import BAD, drawn_at_once, explorer, press

__all__ = ["drawn_at_once", "explorer"]  # fixtures


def ask(bar: KeepBar, monkeypatch: pytest.MonkeyPatch, **wish: str) -> tuple[dict[str, Any], bytes]:
    """Let a page ask; return the answer and its file."""
    sent: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(bar, "send", lambda content, buffers=(): sent.append((content, buffers)))
    bar._handle_custom_msg({**wish, "asker": "page 1"}, [])
    ((answer, buffers),) = sent
    assert answer["asker"] == "page 1"
    return answer, b"".join(buffers)


def table_in(content: bytes) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(content), keep_default_na=False)


def test_every_table_comes_as_it_is_shown(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer.go(filter_regions(explorer.state, least_ml=0.0))
    press(explorer, "next")
    press(explorer, "star")
    files = {}
    for name in TABLES:
        answer, content = ask(explorer.keep, monkeypatch, kind="file", key=name)
        assert answer["name"] == f"{name}.csv"  # nothing of a patient in the file's name
        files[name] = table_in(content)
    assert files["patients"]["Patient"].tolist() == ["P01", "P02", "P03"]
    dice = files["patients"]["Expert B / Expert A"].tolist()
    assert dice == explorer.table.widget.df["Expert B / Expert A"].tolist()
    listed = listed_regions(explorer.state, explorer._regions())
    assert files["regions"]["n_voxels"].tolist() == [region.n_voxels for region in listed]
    assert files["regions"].columns.tolist() == regions_table(listed).columns.tolist()
    assert sorted(files["pair"]["Patient"]) == ["P01", "P02", "P03"]
    matrix = files["matrix"].set_index(["reference", "candidate"])
    assert matrix.loc[("Expert A", "Expert B"), "mean"] == pytest.approx(np.mean(dice), abs=5e-4)
    points = explorer.operating.frame(explorer.state)
    assert files["operating"]["candidate"].tolist() == points["candidate"].tolist()
    assert files["starred"]["number"].tolist() == explorer.starred["number"].tolist()
    assert len(files["starred"]) == 1


def test_an_empty_table_says_so_and_an_unknown_file_too(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, content = ask(explorer.keep, monkeypatch, kind="file", key="starred")
    assert (answer["failed"], content) == ("this table has no rows to save", b"")
    answer, _ = ask(explorer.keep, monkeypatch, kind="file", key="../secret")
    assert answer["failed"].startswith("no file '../secret'; there is patients, regions")


def test_the_report_comes_with_the_stars(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    explorer.select("P02")
    press(explorer, "next")
    press(explorer, "star")
    answer, content = ask(explorer.keep, monkeypatch, kind="file", key="report")
    assert answer["name"] == "report.html"
    page = content.decode()
    assert page.startswith("<!doctype html>")
    number = explorer.starred["number"].tolist()[0]
    assert f"P02, region {number}:" in page


def test_a_button_that_fails_answers_all_the_same(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> str:
        raise ZeroDivisionError("no")

    answer, _ = ask(KeepBar({}, link=broken, on_open=print), monkeypatch, kind="link")
    assert answer["failed"] == "ZeroDivisionError: no"
    # ... and is not swallowed
    assert "ZeroDivisionError" in caplog.text


def moved(explorer: Explorer) -> Explorer:
    """Leave nothing of the view as it was at opening."""
    explorer.select("P02")
    state = choose_pair(explorer.state, "Expert B", "Model B")
    state = set_thresholds(choose_view(state, "error"), {"Model B": 0.25})
    explorer.go(show_panel(filter_regions(state, least_ml=0.0), "regions"))
    explorer.viewer.set_trait("level", 40.0)
    explorer.viewer.set_trait("colour_map", "viridis")
    explorer.viewer.visible = ["Expert B", "Model B"]
    press(explorer, "next")
    press(explorer, "star")
    explorer.viewer.cursor_mm = [3.0, 4.0, 5.0]
    return explorer


def test_a_link_opens_the_same_view_here_and_anew(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, _ = ask(moved(explorer).keep, monkeypatch, kind="link")
    link = answer["text"]
    assert link == explorer.link()
    other = explore(explorer._cohort, state=link)
    assert repr(other.state) == repr(explorer.state)
    assert other.link() == link
    assert other.viewer.case_info["patient"] == "P02"
    assert other.viewer.level == 40.0
    assert other.viewer.view == "error"
    assert other.viewer.pair == ["Expert B", "Model B"]
    assert other.viewer.thresholds == {"Model B": 0.25}
    assert other.viewer.visible == ["Expert B", "Model B"]
    assert other.viewer.cursor_mm == [3.0, 4.0, 5.0]
    assert other._panels.selected_index == 1
    # pasted into an explorer that is elsewhere, it goes there
    third = explore(explorer._cohort)
    assert third.link() != link
    answer, _ = ask(third.keep, monkeypatch, kind="open", text=link)
    assert "failed" not in answer
    assert third.link() == link


def test_a_link_from_elsewhere_changes_nothing_and_says_why(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = explorer.link()
    answer, _ = ask(explorer.keep, monkeypatch, kind="open", text="https://example.org")
    assert answer["failed"].startswith("no link: it is not JSON")
    strange = json.dumps({**json.loads(before), "case_id": BAD})
    answer, _ = ask(explorer.keep, monkeypatch, kind="open", text=strange)
    assert "no patient of this cohort" in answer["failed"]
    assert explorer.link() == before
    with pytest.raises(InputError, match="no patient of this cohort"):
        explore(explorer._cohort, state=strange)


def test_a_link_to_a_patient_that_cannot_be_read_stays_where_it_is(
    explorer: Explorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = moved(explorer).link()
    other = explore(explorer._cohort)
    next(ref for ref in explorer._cohort if ref.case_id == "P02").ct.unlink()
    answer, _ = ask(other.keep, monkeypatch, kind="open", text=link)
    assert "P02 cannot be read" in answer["failed"]
    assert other.state.case_id == "P01"


def test_a_front_end_without_widgets_gets_picture_and_table(explorer: Explorer) -> None:
    bundle = explorer._repr_mimebundle_()
    assert bundle is not None
    assert bundle["application/vnd.jupyter.widget-view+json"]["model_id"] == explorer.model_id
    assert "P01" in bundle["text/html"]
    assert "<td>P03</td>" in bundle["text/html"]
    assert bundle["text/html"].count("<img") == 1


def test_names_are_text_in_the_still_picture(tmp_path: Path) -> None:
    explorer = explore(write_tiny_cohort(tmp_path / "tiny", [limb(BAD + "1"), limb(BAD + "2")]))
    bundle = explorer._repr_mimebundle_()
    assert bundle is not None
    assert bundle["text/html"].count("<img") == 1
    assert "&lt;img" in bundle["text/html"]


def test_closing_lets_the_row_go(explorer: Explorer) -> None:
    explorer.close()
    assert explorer.keep.comm is None
