"""Reading one thing in several ways, each of which may refuse."""

from __future__ import annotations

from collections.abc import Callable

from boneviz.errors import BonevizError

__all__ = ["REFUSALS", "tried"]

#: what was refused while another way of reading went well
REFUSALS: list[BonevizError] = []


def tried(*reads: Callable[[], object]) -> None:
    """Read in several ways, each of which may refuse; raise the last refusal where all do."""
    refused: BonevizError | None = None
    done = 0
    for read in reads:
        try:
            read()
            done += 1
        except BonevizError as error:
            REFUSALS.append(error)
            refused = error
    if refused is not None and not done:
        raise refused
