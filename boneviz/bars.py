"""A progress bar that goes when its work is done, and in a notebook leaves no part behind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm.auto import tqdm

__all__ = ["passing_bar"]


@contextmanager
def passing_bar(total: int, what: str, *, unit: str, progress: bool) -> Iterator[tqdm[Any]]:
    """Show a bar until its work is done; one whose work failed stays where it stopped.

    Parameters
    ----------
    total : of `unit`
    what : stands before the bar
    progress : False: show none
    """
    with tqdm(total=total, desc=what, unit=unit, disable=not progress, leave=False) as bar:
        yield bar
    # tqdm closes the box of a notebook's bar, not what is in it: ten widgets in the kernel
    box = getattr(bar, "container", None)
    if box is not None and box.comm is None:
        for part in (*box.children, box):
            for own in (part, getattr(part, "style", None), getattr(part, "layout", None)):
                if own is not None:
                    own.close()
