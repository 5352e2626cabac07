"""A progress bar that goes when its work is done.

In a notebook it is HTML, not a widget: a page that is opened after the work, as Voila's, would ask
for a widget that is gone, and a notebook's file would keep its place.
"""

from __future__ import annotations

import html
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from tqdm import tqdm

__all__ = ["Bar", "passing_bar"]

EVERY_S = 0.1


class Bar(Protocol):
    """What is told that a part of the work is done."""

    n: int

    def update(self, n: int = 1) -> object:
        """So many more are done."""

    def reset(self) -> object:
        """Begin anew."""


@contextmanager
def passing_bar(total: int, what: str, *, unit: str, progress: bool) -> Iterator[Bar]:
    """Show a bar until its work is done; one whose work failed stays where it stopped.

    Parameters
    ----------
    total : of `unit`
    what : stands before the bar
    progress : False: show none
    """
    if progress and "ipykernel.zmqshell" in sys.modules:
        page_bar = _PageBar(total, what, unit)
        yield page_bar
        page_bar.clear()
        return
    with tqdm(total=total, desc=what, unit=unit, disable=not progress, leave=False) as bar:
        yield bar


class _PageBar:
    """A bar among the outputs of a cell."""

    def __init__(self, total: int, what: str, unit: str) -> None:
        from IPython.display import display  # only in a kernel, which has it

        self.n = 0
        self._total, self._what, self._unit = total, what, unit
        self._next_s = time.monotonic() + EVERY_S
        self._place = display({"text/html": self._html()}, raw=True, display_id=True)

    def reset(self) -> None:
        """Begin anew."""
        self.n = 0

    def update(self, n: int = 1) -> None:
        """So many more are done; told to the page ten times a second at most."""
        self.n += n
        if time.monotonic() >= self._next_s or self.n == self._total:
            self._next_s = time.monotonic() + EVERY_S
            self._place.update({"text/html": self._html()}, raw=True)

    def clear(self) -> None:
        """Leave nothing that is seen."""
        self._place.update({"text/html": ""}, raw=True)

    def _html(self) -> str:
        words = html.escape(f"{self._what}: {self.n} of {self._total} {self._unit}s")
        bar = f'<progress aria-label="{words}" max="{self._total}" value="{self.n}"></progress>'
        return f"<div>{bar} {words}</div>"
