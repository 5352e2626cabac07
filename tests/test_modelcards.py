"""Models' cards as a table of texts, read without torch."""

from __future__ import annotations

import json
from pathlib import Path

from boneviz.modelcards import read_cards

CARD = {
    "reader": {"name": "Model A"},
    "net": {"architecture": "unet", "filters": [16, 32], "unshuffle": 2},
    "fuse": {"modality": "pet"},
    "spacing_mm": [2.5, 2.5, 3.0],
    "patch": [64, 64, 32],
    "fold": 1,
    "trained_on": ["P01", "P02"],
    "settings": {"steps": 900, "rate": 0.002},
    "boneviz": "0.1.0",
}


def test_cards_become_rows(tmp_path: Path) -> None:
    (tmp_path / "model_a_fold1.json").write_text(json.dumps(CARD))
    (tmp_path / "model_a_fold1.log.json").write_text('{"loss": []}')  # a log is no card
    (tmp_path / ".writing.json").write_text("{")
    (row,) = read_cards(tmp_path).to_dict("records")
    assert row["file"] == "model_a_fold1"
    assert (row["model"], row["fold"], row["input"]) == ("Model A", "1", "pet")
    assert row["network"] == "unet (16, 32), voxels folded 2 x 2 x 2"
    assert (row["spacing_mm"], row["patch"]) == ("2.5 x 2.5 x 3.0", "64 x 64 x 32")
    assert (row["steps"], row["rate"], row["trained_on"]) == ("900", "0.002", "2")
    # what the card does not say is empty
    assert (row["batch"], row["seed"], row["torch"], row["error"]) == ("", "", "", "")


def test_what_is_no_card_is_told(tmp_path: Path) -> None:
    for name, text in (("a", "{"), ("b", "[1]"), ("c", '{"reader": {}}'), ("d", "[" * 50_000)):
        (tmp_path / f"{name}.json").write_text(text)
    table = read_cards(tmp_path)
    assert list(table["file"]) == ["a", "b", "c", "d"]
    assert all(error.startswith("not a model's card (") for error in table["error"])
    assert read_cards(tmp_path / "nowhere").empty
