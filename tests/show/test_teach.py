"""The teaching session without a page: hidden, drawn, committed, shown, kept, resumed."""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets.widgets.widget as widget_module
import numpy as np
import pytest
from PIL import Image
from small import limb, put_into_counts, write_tiny_cohort

import boneviz
from boneviz.cohort import Cohort
from boneviz.errors import InputError, LedgerError
from boneviz.learnerfile import LearnerFile
from boneviz.nifti import read_volume, write_volume
from boneviz.palette import LEARNER, PAIRS, rgb_of
from boneviz.show import lasting
from boneviz.show.teach import TeachingSession
from boneviz.volume import Volume

CASES = ("P01", "P02", "P03")  # straight, LPS, oblique

Open = Callable[..., TeachingSession]


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    kinds = ("straight", "lps", "oblique")
    limbs = [
        limb(case, axes=axes, place=n)
        for n, (case, axes) in enumerate(zip(CASES, kinds, strict=True))
    ]
    return write_tiny_cohort(tmp_path / "cohort", limbs)


@pytest.fixture
def opened(cohort: Cohort, tmp_path: Path) -> Iterator[Open]:
    made: list[TeachingSession] = []

    def open_session(**options: Any) -> TeachingSession:
        given = {"learner": "Kim", "folder": tmp_path / "kim", "seed": 1, **options}
        made.append(boneviz.teach(cohort, **given))
        return made[-1]

    yield open_session
    for each in made:
        each.close()


def draw(session: TeachingSession, radius_mm: float = 16.0) -> None:
    """Draw a ball about the hottest voxel, as a page tells it."""
    pet = session._case.pet
    hottest = np.unravel_index(int(np.argmax(pet.array)), pet.grid.shape)
    stroke = {
        "what": "brush",
        "points_mm": [pet.grid.to_mm(hottest).tolist()],
        "radius_mm": radius_mm,
        "across": None,
    }
    content = {"kind": "draw", "serial": session.canvas.serial, "page": "p", "number": 1, **stroke}
    session.canvas._handle_custom_msg(content, [])


def click(session: TeachingSession, *names: str) -> None:
    for name in names:
        getattr(session, f"_{name}").click()


def seen(session: TeachingSession) -> dict[str, bool]:
    parts = ("commit", "sure", "next", "differences")
    return {name: getattr(session, f"_{name}").layout.display != "none" for name in parts}


def page_text(session: TeachingSession) -> str:
    parts = (session._title, session._problem, session._words, session._results, session._question)
    return " ".join([*(part.value for part in parts), str(session._differences.options)])


def sent_bits(session: TeachingSession) -> np.ndarray:
    pieces = [p for p in session.canvas._pieces if p.volume == "bits"]
    return np.frombuffer(b"".join(gzip.decompress(p.packed.result()) for p in pieces), np.uint8)


def test_before_commitment_nothing_of_a_label_is_there(opened: Open) -> None:
    session = opened()
    assert seen(session) == {
        "commit": True, "sure": False, "next": False, "differences": False,
    }  # fmt: skip
    assert [reader["name"] for reader in session.canvas.case_info["readers"]] == ["Kim"]
    assert session.canvas.case_info["box"] is None
    assert not sent_bits(session).any()
    text = page_text(session) + str(session.canvas.case_info)
    assert "Expert" not in text
    assert "Reader 1" not in text
    assert "case 1 of 3" in session._title.value


def test_commit_asks_first_then_shows_both_experts_under_masked_names(opened: Open) -> None:
    session = opened()
    click(session, "commit")
    assert "You drew nothing: you say that there is no lesion." in session._question.value
    assert seen(session)["sure"]
    click(session, "no")
    assert seen(session) == {
        "commit": True, "sure": False, "next": False, "differences": False,
    }  # fmt: skip
    draw(session)
    click(session, "commit")
    drawn = session.canvas.drawing
    assert drawn is not None
    assert f"You drew {drawn.volume_ml:.2f} mL." in session._question.value
    assert session.file.results == ()
    click(session, "yes")
    names = [reader["name"] for reader in session.canvas.case_info["readers"]]
    assert names == ["Reader 1", "Reader 2", "Kim"]
    assert session.canvas.case_info["draws"] == ""
    assert session.canvas.pair == ["Reader 1", "Kim"]
    assert seen(session)["next"]
    assert not seen(session)["commit"]
    for place, reader in enumerate(("Reader 1", "Reader 2", "Kim")):
        bit = sent_bits(session) >> place & 1
        assert bit.sum() == session.canvas.outline(reader).array.sum() > 0
    assert session.canvas.outline("Kim").array.sum() == drawn.n_voxels
    text = page_text(session)
    assert "Expert" not in text
    assert "Reader 1: Dice 0." in text
    assert "This case" in text
    assert "The session so far, 1 case" in text
    assert len(session.table) == 2
    # what was drawn late stays as it was
    draw(session, radius_mm=30)
    assert session.session.committed[0].drawing.n_voxels == drawn.n_voxels


def test_a_difference_moves_the_crosshair_into_it(opened: Open) -> None:
    session = opened()
    click(session, "commit", "yes")
    words = [text for text, _ in session._differences.options]
    assert words[0].startswith("Reader")
    assert "missed lesion" in words[0]
    assert seen(session)["differences"]
    first = list(session.canvas.cursor_mm)
    session._differences.value = 1
    assert session.canvas.cursor_mm == list(session._places[1])
    assert session._places[0] == tuple(first)


def test_a_session_runs_to_its_end_and_then_says_who_is_who(opened: Open) -> None:
    session = opened()
    read = []
    for n in range(3):
        assert f"case {n + 1} of 3" in session._title.value
        read.append(session._case.case_id)
        assert session.canvas.case_info["patient"] == read[-1]
        draw(session)
        assert "Expert" not in page_text(session)
        click(session, "commit", "yes")
        if n < 2:
            click(session, "next")
    assert read == list(session.session.case_ids)
    assert sorted(read) == sorted(CASES)
    assert not seen(session)["next"]
    real = [expert.name for expert in session.session.experts]
    assert f"Reader 1 is {real[0]}; Reader 2 is {real[1]}" in session._words.value
    assert str(session.file.ledger.seal) in session._words.value
    session.next_case()  # nothing is left
    assert session._case.case_id == read[-1]


def test_run_again_it_goes_on_where_it_was(opened: Open, tmp_path: Path) -> None:
    first = opened()
    draw(first)
    click(first, "commit", "yes", "next")
    draw(first, radius_mm=9)
    half = first.canvas.drawing
    assert half is not None
    again = opened()
    assert again._case.case_id == first.session.case_ids[1]
    assert again.canvas.drawing is not None
    assert again.canvas.drawing.position.tolist() == half.position.tolist()
    assert "The session so far, 1 case" in again._results.value
    click(again, "commit", "yes")
    names = sorted(path.name for path in (tmp_path / "kim").iterdir())
    # no draft of what is committed
    assert names == sorted([*(f"{c}.nii.gz" for c in again.session.case_ids[:2]), "ledger.jsonl"])
    assert LearnerFile.open(tmp_path / "kim").session.current == again.session.case_ids[2]


def test_a_finished_session_opens_with_its_last_case(opened: Open) -> None:
    first = opened(case_ids=["P02"])
    draw(first)
    click(first, "commit", "yes")
    again = opened(case_ids=["P02"])
    names = [reader["name"] for reader in again.canvas.case_info["readers"]]
    assert names == ["Reader 1", "Reader 2", "Kim"]
    assert again._words.value == first._words.value
    assert not seen(again)["commit"]
    assert not seen(again)["next"]


def test_another_session_in_the_folder_and_a_changed_log_are_refused(
    opened: Open, tmp_path: Path
) -> None:
    session = opened()
    draw(session)
    click(session, "commit", "yes")
    with pytest.raises(InputError, match="the seed 1, expected 2"):
        opened(seed=2)
    log = tmp_path / "kim" / "ledger.jsonl"
    log.write_text(log.read_text().replace('"missed_lesions":', '"missed_lesions": '))
    with pytest.raises(LedgerError, match="row 2 was changed"):
        opened()


def test_what_cannot_be_committed_or_read_is_said_and_nothing_is_lost(
    opened: Open, cohort: Cohort
) -> None:
    session = opened()
    draw(session)
    other = opened()  # a second page of the same folder, in which something else is drawn
    draw(other, radius_mm=22.0)
    click(other, "commit", "yes")
    click(session, "commit", "yes")
    assert "Not committed: " in session._problem.value
    assert "open it again" in session._problem.value
    assert seen(session)["commit"]
    assert session.canvas.case_info["draws"] == "Kim"
    assert session.canvas.drawing is not None
    assert session.canvas.drawing.n_voxels > 0
    # what was committed is on disk as it was
    assert len(LearnerFile.open(session.file.folder).session.committed) == 1
    cohort[str(other.session.current)].ct.write_bytes(b"no image")
    click(other, "next")
    assert "The next case cannot be read: " in other._problem.value
    assert other.canvas.case_info["readers"][0]["name"] == "Reader 1"


def test_a_second_click_and_a_draft_that_stays_spoil_nothing(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stays(*_: object) -> None:
        raise PermissionError("the draft is open elsewhere")

    session = opened()
    draw(session)
    monkeypatch.setattr("boneviz.show.teach.forget_draft", stays)
    click(session, "commit", "yes", "yes", "commit")
    assert session._problem.value == ""
    assert not seen(session)["commit"]
    assert not seen(session)["sure"]
    assert len(session.session.committed) == 1
    assert session.canvas.case_info["readers"][0]["name"] == "Reader 1"


def test_closing_leaves_no_widget(opened: Open) -> None:
    before = set(widget_module._instances)
    session = opened()
    assert len(set(widget_module._instances) - before) > 30
    session.close()
    assert not set(widget_module._instances) - before


def test_names_are_text(tmp_path: Path) -> None:
    evil = "<img src=x onerror=1>"
    root = write_tiny_cohort(tmp_path / "evil", [limb("<b>P1")]).root
    session = boneviz.teach(root, learner=evil, folder=tmp_path / "out")
    draw(session)
    click(session, "commit", "yes")
    texts = [w.value for w in (session._title, session._words, session._results, session._problem)]
    assert not any("<img" in text or "<b>P1" in text for text in texts)
    assert "&lt;img" in session._title.value
    session.close()


def test_by_default_each_learner_has_a_folder(
    cohort: Cohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = boneviz.teach(cohort, learner="Kim Lee")
    assert session.file.folder == Path("teaching/kim_lee")
    session.close()


def picture(bundle: dict[str, str]) -> np.ndarray:
    stream = io.BytesIO(base64.b64decode(bundle["image/png"]))
    return np.asarray(Image.open(stream).convert("RGB")).astype(int)


def pixels_of(bundle: dict[str, str], colour: str) -> int:
    """Count those near a colour; the letters and the uptake, which is yellow, have none of them."""
    return int((np.abs(picture(bundle) - rgb_of(colour)) <= 30).all(axis=-1).sum())


def test_the_still_picture_before_commitment_is_the_same_whatever_the_experts_drew(
    opened: Open, cohort: Cohort, tmp_path: Path
) -> None:
    session = opened()
    draw(session)
    first = session._still()
    for ref in cohort.cases:
        for path in ref.masks.values():
            mask = read_volume(path, "label")
            write_volume(Volume(np.roll(mask.array, 6, axis=0), mask.grid, "label"), path)
    other = opened(folder=tmp_path / "other")
    draw(other)
    second = other._still()
    assert first == second
    assert pixels_of(first, LEARNER) > 50
    # the same comparison tells them apart once the case is committed
    for each in (session, other):
        click(each, "commit", "yes")
    assert session._still() != other._still()


def test_the_still_picture_shows_both_experts_and_the_results_once_committed(opened: Open) -> None:
    session = opened()
    draw(session)
    first, second = PAIRS[0][0], PAIRS[1][0]
    hidden = session._still()
    assert max(pixels_of(hidden, colour) for colour in (first, second)) < 5
    assert "case 1 of 3, read by Kim" in hidden["text/html"]
    assert not re.search("Reader|Expert|<table", hidden["text/html"])
    click(session, "commit", "yes")
    seen = session._still()
    assert min(pixels_of(seen, colour) for colour in (first, second, LEARNER)) > 50
    assert seen["text/html"].count("<table") == 3  # this case, the session, case by case
    assert session._words.value in seen["text/html"]
    assert "Reader 1" in seen["text/html"]
    assert "Expert" not in seen["text/html"]
    click(session, "next")
    hidden = session._still()
    assert max(pixels_of(hidden, colour) for colour in (first, second)) < 5
    assert "case 2 of 3" in hidden["text/html"]
    # of the case before
    assert hidden["text/html"].count("<table") == 1
    assert "The session so far, 1 case" in hidden["text/html"]


def test_what_the_notebook_keeps_follows_the_session(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[dict[str, str]] = []
    monkeypatch.setattr(lasting, "SETTLE_S", 0.01)
    for name in ("display", "update_display"):
        monkeypatch.setattr(lasting, name, lambda data, **_: kept.append(data))
    session = opened()

    async def settled() -> str:
        before = len(kept)
        for _ in range(300):
            await asyncio.sleep(0.01)
            if len(kept) > before:
                break
        return kept[-1]["text/html"]

    async def use() -> None:
        session._ipython_display_()
        live, blank = kept
        assert live["text/plain"] == "Teaching session of Tiny"
        assert pixels_of(blank, LEARNER) == 0
        draw(session)
        await settled()
        assert pixels_of(kept[-1], LEARNER) > 50
        click(session, "commit", "yes")
        assert "Reader 1: Dice 0." in await settled()
        click(session, "next")
        assert "case 2 of 3" in await settled()
        renewed = len(kept)
        session.close()
        await asyncio.sleep(0.05)
        assert len(kept) == renewed

    asyncio.run(use())


def test_a_case_in_counts_is_drawn_without_fill_and_says_why(cohort: Cohort, opened: Open) -> None:
    for case in CASES:
        put_into_counts(cohort[case])
    session = opened()
    assert "fill from an SUV" not in session._words.value
    assert "Fill is off: no SUV: PET in counts." in session._words.value
    draw(session)
    click(session, "commit", "yes")
    # both outlines are compared, and no difference has a figure of SUV
    pet = session.canvas.case_info["pet"]
    assert (pet["unit"], pet["origin"]) == ("counts", ["PatientWeight (0010,1030) is absent"])
    options = [words for words, _ in session._differences.options]
    assert options
    assert not any("SUV" in words for words in options)
