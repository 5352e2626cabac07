"""What is displayed leaves a still picture in the notebook's file, renewed as it goes on."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from IPython.display import display, update_display

from boneviz.show.page import close_all

__all__ = ["LastPicture", "LastingBox"]

SETTLE_S = 1.5


class LastPicture:
    """The still picture below a displayed widget, renewed once what it shows rests.

    Parameters
    ----------
    make : returns it, by media type
    """

    def __init__(self, make: Callable[[], dict[str, str]]) -> None:
        self._make, self._name = make, uuid.uuid4().hex
        self._displayed = False
        self._waiting: asyncio.TimerHandle | None = None

    def display(self) -> None:
        """Display it as an output of the running cell."""
        self._displayed = True
        display(self._make(), raw=True, display_id=self._name)

    def renew(self, _: object = None) -> None:
        """Put the present picture in its place in a moment, where it is displayed at all."""
        if not self._displayed:
            return
        self.cancel()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return
        self._waiting = loop.call_later(SETTLE_S, self._renew)

    def stop(self) -> None:
        """Leave the picture as it is for good."""
        self._displayed = False
        self.cancel()

    def cancel(self) -> None:
        """Leave the picture as it is for now."""
        if self._waiting is not None:
            self._waiting.cancel()

    def _renew(self) -> None:
        update_display(self._make(), raw=True, display_id=self._name)


class LastingBox(widgets.VBox):
    """A box of widgets that is displayed with its still picture; its parts call `last.renew`.

    Parameters
    ----------
    children : as of a `VBox`
    words : what it is, for a front end of text alone
    still : returns the picture, by media type, as `boneviz.show.still.bundle_of`
    """

    def __init__(
        self, children: list[widgets.Widget], *, words: str, still: Callable[[], dict[str, str]]
    ) -> None:
        self._in_words, self._make_still = words, still
        self.last = LastPicture(still)
        super().__init__(children)

    def close(self) -> None:
        """Leave the picture as it is, and close every part in every page."""
        if self.comm is None:  # closed before, or never opened
            return
        self.last.stop()
        for part in (*self.children, self.layout):
            close_all(part)
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any] | None:
        """Offer the still picture beside the widget, to front ends that cannot run it."""
        live = super()._repr_mimebundle_(**kwargs)
        return None if live is None else {**self._make_still(), **live}

    def _ipython_display_(self) -> None:
        if self.comm is None:
            display({"text/plain": f"{self._in_words}: closed; open it again."}, raw=True)
            return
        # two outputs: a widget's own cannot be renewed without starting it anew
        live = super()._repr_mimebundle_()
        if live is not None:
            display({**live, "text/plain": self._in_words}, raw=True)
            self.last.display()
