"""Every error boneviz raises on purpose, one tree.

    BonevizError
    |-- InputError          a file, folder or option is not what it should be
    |   |-- ImageFileError  an image file is missing, truncated, 4D, or has no usable geometry
    |   |-- CohortError     a cohort folder or its cohort.toml is incomplete or contradicts itself
    |   |-- CheckpointError a model file or its card is missing, damaged or of another kind
    |   `-- LedgerError     a log of a session was changed, cut, or is not there
    |-- ArchiveError        an archive cannot be reached, refuses, or answers what it should not
    |-- GridError           two arrays that must share one grid do not, or a grid is impossible
    |-- LeakageError        a patient would be tested by a model that learned from that patient
    `-- TrainingError       a fit cannot start or cannot go on (no lesion, NaN loss)

A message says which patient or file, what was found, what was expected and what to do.
The command line and notebooks show the message alone; ``--debug`` adds the traceback.
"""

from __future__ import annotations

__all__ = [
    "MALFORMED",
    "ArchiveError",
    "BonevizError",
    "CheckpointError",
    "CohortError",
    "GridError",
    "ImageFileError",
    "InputError",
    "LeakageError",
    "LedgerError",
    "TrainingError",
]

MOST_LETTERS = 2000
#: what reading a text file raises that is not JSON or TOML, or holds other things than it should
MALFORMED = (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError)


class BonevizError(Exception):
    """Base of every error that boneviz raises on purpose.

    A message quotes what was found, which may be anything that a file holds: what a terminal would
    obey is spelled out, and the middle of a message that nobody can read is left out.
    """

    def __str__(self) -> str:
        given = super().__str__()
        said = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in given)
        if len(said) <= MOST_LETTERS:
            return said
        return f"{said[: MOST_LETTERS // 2]} [...] {said[-MOST_LETTERS // 2 :]}"

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: the message. ``%debug`` still finds where it was raised."""
        return [f"{type(self).__name__}: {self}"]


class InputError(BonevizError):
    """A file, folder or option is not what it should be."""


class ImageFileError(InputError):
    """An image file is missing, truncated, 4D, or has no usable geometry."""


class CohortError(InputError):
    """A cohort folder or its ``cohort.toml`` is incomplete or contradicts itself."""


class CheckpointError(InputError):
    """A model file or its card is missing, damaged or of another kind."""


class LedgerError(InputError):
    """A log of a session was changed, cut, or is not there."""


class ArchiveError(BonevizError):
    """An archive cannot be reached, refuses, or answers what it should not."""


class GridError(BonevizError):
    """Two arrays that must share one grid do not, or a grid is impossible."""


class LeakageError(BonevizError):
    """A patient would be tested by a model that learned from that patient."""


class TrainingError(BonevizError):
    """A fit cannot start or cannot go on."""
