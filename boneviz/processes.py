"""Tasks in processes of this machine, their results as they come."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import joblib

from boneviz.errors import BonevizError

__all__ = ["as_done"]

Result = TypeVar("Result")


def as_done(
    tasks: Iterable[Callable[[], Result]], *, workers: int, killed: BonevizError
) -> Iterator[Result]:
    """Call tasks that can be pickled in that many processes; give each result when it is there.

    Stopped, by an error or Ctrl-C, what has not begun is not begun.

    Parameters
    ----------
    killed : raised where a process was ended from outside
    """
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    found = parallel(joblib.delayed(task)() for task in tasks)
    try:
        for result in found:  # noqa: UP028, as closing must not reach joblib first
            yield result
    except BrokenProcessPool as error:
        raise killed from error
    finally:
        with warnings.catch_warnings():
            # there may be tasks that nobody waits for: as it should be
            warnings.filterwarnings("ignore", message=".*have been cancelled")
            found.close()
