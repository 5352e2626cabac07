"""A folder appears when it is whole; what a cut-off run made is taken up by the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from boneviz.errors import InputError
from boneviz.growing import growing_folder


def test_nothing_stands_under_the_name_until_all_is_there(tmp_path: Path) -> None:
    out = tmp_path / "made" / "out"
    with growing_folder(out, settings="s") as growing:
        (growing.folder / "a").write_text("a")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    assert [path.name for path in out.parent.iterdir()] == ["out"]


def cut_off(out: Path, *, settings: str = "s") -> None:
    with pytest.raises(KeyboardInterrupt), growing_folder(out, settings=settings) as growing:
        (growing.folder / "a").write_text("a")
        growing.add("a", "hash of a")
        (growing.folder / ".writing-b").write_text("ha")
        raise KeyboardInterrupt


def test_what_was_done_before_a_cut_is_known(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut_off(out)
    assert not out.exists()
    with growing_folder(out, settings="s") as growing:
        assert growing.has("a", "hash of a")
        assert not growing.has("a", "hash of another a")
        assert not growing.has("b", "hash of b")
    assert [path.name for path in out.iterdir()] == ["a"]


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut_off(out)
    with growing_folder(out, settings="others") as growing:
        assert not growing.has("a", "hash of a")
        (growing.folder / "b").write_text("b")
    assert [path.name for path in out.iterdir()] == ["b"]


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with growing_folder(out, settings="s") as growing:
        (growing.folder / "a").write_text("a")
    assert (out / "a").read_text() == "a"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    with (
        pytest.raises(InputError, match="out: there already, expected a new folder"),
        growing_folder(out, settings="s"),
    ):
        pass
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(InputError, match="link: there already"),
        growing_folder(link, settings="s"),
    ):
        pass
    assert (out / "mine").read_text() == "mine"


def test_a_hidden_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    hidden = tmp_path / ".exporting-out"
    hidden.mkdir()
    (hidden / "mine").write_text("mine")
    with (
        pytest.raises(InputError, match="no export that was cut off; move it away"),
        growing_folder(tmp_path / "out", settings="s"),
    ):
        pass
    assert (hidden / "mine").read_text() == "mine"
