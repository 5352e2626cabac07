"""Work that waits until the page has its slices and the cursor rests, one thing at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["SETTLE_S", "TURN", "Later"]

SETTLE_S = 0.25
#: JupyterLab has a page's messages handled in a thread of their own, beside the cells. One lock for
#: all that is shown: two viewers that move each other cannot wait for each other.
TURN = threading.RLock()


class Later:
    """Jobs by name: a newer one of the same name takes the older one's place."""

    def __init__(self) -> None:
        self._pending: dict[str, asyncio.Handle] = {}

    def do(self, what: str, job: Callable[[], None]) -> None:
        """Do a job in a moment; at once without an event loop, as in a script."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            job()
            return
        if what in self._pending:
            self._pending[what].cancel()

        def settle() -> None:
            self._pending[what] = loop.call_later(SETTLE_S, _in_turn, job)

        # counted from when the loop is free: else what is due goes before what the page asked for
        self._pending[what] = loop.call_soon(settle)

    def cancel(self) -> None:
        """Forget every job that has not begun."""
        for handle in self._pending.values():
            handle.cancel()
        self._pending.clear()


def _in_turn(job: Callable[[], None]) -> None:
    with TURN:
        job()
