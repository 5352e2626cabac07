"""A bar shows its work, and is gone after it."""

from __future__ import annotations

from collections.abc import Iterator

import ipywidgets.widgets.widget as widget_module
import pytest
import tqdm.notebook

from boneviz import bars


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[str]]:
    """The widgets of bars as a notebook has them, made since."""
    monkeypatch.setattr(bars, "tqdm", tqdm.notebook.tqdm)
    before = set(widget_module._instances)

    class Made(set[str]):
        def __len__(self) -> int:
            return len(set(widget_module._instances) - before)

    yield Made()
    for key in set(widget_module._instances) - before:
        widget_module._instances[key].close()


def test_a_bar_in_a_notebook_leaves_no_widget(made: set[str]) -> None:
    with bars.passing_bar(2, "scoring", unit="case", progress=True) as bar:
        assert len(made) == 11  # bar, two texts, each with style and layout; the box with its own
        bar.update()
        bar.update()
    assert len(made) == 0


def test_the_bar_of_failed_work_stays(made: set[str]) -> None:
    with (
        pytest.raises(ValueError, match="damaged"),
        bars.passing_bar(2, "scoring", unit="case", progress=True) as bar,
    ):
        bar.update()
        raise ValueError("damaged")
    assert len(made) == 11  # bar, two texts, each with style and layout; the box with its own
    assert bar.n == 1


def test_no_bar_where_none_is_wanted(made: set[str], capsys: pytest.CaptureFixture[str]) -> None:
    with bars.passing_bar(1, "scoring", unit="case", progress=False) as bar:
        bar.update()
    assert len(made) == 0
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
