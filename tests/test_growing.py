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


class Killed(BaseException):
    """As a process that ends in the middle: no handler of ours runs."""


@pytest.mark.parametrize("step", ["unlink", "rename"])
def test_a_kill_at_the_very_end_keeps_nobody_from_going_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    out = tmp_path / "out"
    real = getattr(Path, step)

    def killed(path: Path, *given: object, **named: object) -> object:
        if path.name in (".boneviz-export.json", ".exporting-out"):
            raise Killed
        return real(path, *given, **named)

    with (
        monkeypatch.context() as patch,
        pytest.raises(Killed),
        growing_folder(out, settings="s") as growing,
    ):
        (growing.folder / "a").write_text("a")
        growing.add("a", "hash of a")
        patch.setattr(Path, step, killed)
    if out.exists():  # whole under its name, and the next run says so
        assert (out / "a").read_text() == "a"
        assert not (tmp_path / ".exporting-out").exists()
        return
    with growing_folder(out, settings="s") as growing:
        assert growing.has("a", "hash of a")
    assert [path.name for path in out.iterdir()] == ["a"]


def test_a_kill_at_the_very_start_keeps_nobody_from_going_on(tmp_path: Path) -> None:
    hidden = tmp_path / ".exporting-out"
    hidden.mkdir()
    (hidden / ".writing-x-.boneviz-export.json").write_text("{")
    with growing_folder(tmp_path / "out", settings="s") as growing:
        (growing.folder / "a").write_text("a")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a"]


def test_a_part_that_was_begun_anew_is_no_longer_done(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut_off(out)
    with pytest.raises(Killed), growing_folder(out, settings="s") as growing:
        growing.add("b", "hash of b")
        growing.begin("a")
        raise Killed
    with growing_folder(out, settings="s") as growing:
        assert not growing.has("a", "hash of a")
        assert growing.has("b", "hash of b")


def test_other_settings_begin_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    cut_off(out)
    with growing_folder(out, settings="others") as growing:
        assert not growing.has("a", "hash of a")
        (growing.folder / "b").write_text("b")
    assert [path.name for path in out.iterdir()] == ["b"]


def test_a_kill_while_what_was_there_is_removed_leaves_no_half_for_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with pytest.raises(Killed), growing_folder(out, settings="s") as growing:
        (growing.folder / "case").mkdir()
        (growing.folder / "case" / "a").write_text("a")
        growing.add("case", "hash")
        raise Killed

    def killed(_path: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", killed)
        with pytest.raises(Killed), growing_folder(out, settings="others"):
            pass
    with growing_folder(out, settings="s") as growing:
        assert not growing.has("case", "hash")
        assert not (growing.folder / "case").exists()


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
