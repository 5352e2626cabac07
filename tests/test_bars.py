"""A bar shows its work, and is gone after it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import ipywidgets.widgets.widget as widget_module
import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from boneviz import bars


class Cell:
    """The outputs of a cell: what was shown first, and what takes its place."""

    def __init__(self, publisher: CapturingDisplayPublisher) -> None:
        self._publisher = publisher

    @property
    def pages(self) -> list[str]:
        return [each["data"]["text/html"] for each in self._outputs]

    @property
    def places(self) -> set[str]:
        return {each["transient"]["display_id"] for each in self._outputs}

    @property
    def renewals(self) -> list[bool]:
        return [each["update"] for each in self._outputs]

    @property
    def _outputs(self) -> list[dict[str, Any]]:
        return self._publisher.outputs


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cell]:
    """A cell of a notebook, as far as a bar sees it."""
    publisher = CapturingDisplayPublisher()
    monkeypatch.setattr(InteractiveShell.instance(), "display_pub", publisher)
    monkeypatch.setitem(sys.modules, "ipykernel.zmqshell", sys)
    monkeypatch.setattr(bars, "EVERY_S", 0.0)
    yield Cell(publisher)
    InteractiveShell.clear_instance()


def test_a_bar_in_a_notebook_is_no_widget_and_leaves_nothing_to_see(cell: Cell) -> None:
    before = set(widget_module._instances)
    with bars.passing_bar(2, "scoring", unit="case", progress=True) as bar:
        assert "scoring: 0 of 2 cases" in cell.pages[-1]
        bar.update()
        assert 'max="2" value="1"' in cell.pages[-1]
        bar.update()
        assert "scoring: 2 of 2 cases" in cell.pages[-1]
    assert cell.pages[-1] == ""
    # all in one place of the cell
    assert cell.renewals == [False, True, True, True]
    assert len(cell.places) == 1
    assert set(widget_module._instances) == before


def test_the_bar_of_failed_work_stays(cell: Cell) -> None:
    with (
        pytest.raises(ValueError, match="damaged"),
        bars.passing_bar(2, "scoring", unit="case", progress=True) as bar,
    ):
        bar.update()
        raise ValueError("damaged")
    assert "scoring: 1 of 2 cases" in cell.pages[-1]


def test_quick_work_tells_the_page_its_beginning_and_end_alone(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bars, "EVERY_S", 60.0)
    with bars.passing_bar(50, "<b>", unit="case", progress=True) as bar:
        for _ in range(50):
            bar.update()
    assert len(cell.pages) == 3
    assert "&lt;b&gt;: 50 of 50 cases" in cell.pages[1]


def test_in_a_terminal_it_is_a_line_that_goes(capsys: pytest.CaptureFixture[str]) -> None:
    with bars.passing_bar(1, "scoring", unit="case", progress=True) as bar:
        bar.update()
    written = capsys.readouterr().err
    assert "scoring:   0%" in written
    assert written.rsplit("\r", 1)[-1].strip() == ""


def test_no_bar_where_none_is_wanted(cell: Cell, capsys: pytest.CaptureFixture[str]) -> None:
    with bars.passing_bar(1, "scoring", unit="case", progress=False) as bar:
        bar.update()
    assert cell.pages == []
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
