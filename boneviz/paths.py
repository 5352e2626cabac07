"""A path that somebody else wrote stays in the folder that it was given for."""

from __future__ import annotations

from pathlib import Path

from boneviz.errors import CohortError

__all__ = ["inside", "is_file"]


def is_file(path: Path) -> bool:
    """Whether there is such a file; there is none of a name that no path can have."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def inside(root: Path, path: str | Path, *, what: str) -> Path:
    """Return ``root / path``, or raise where it leads out of `root`.

    Parents (``..``), absolute paths and symbolic links on the way are followed to see where they
    end; `root` itself may be a link. Nothing needs to exist, and nothing is read.

    Parameters
    ----------
    root : the folder
    path : relative to it, or absolute
    what : begins the message, such as ``patient P01``

    Raises
    ------
    CohortError
        The path ends outside of `root`, or nowhere (a loop of links, a character or a
        length that no path has).
    """
    joined = Path(root) / path
    try:
        ends_at, home = joined.resolve(), Path(root).resolve()
        joined.exists()  # raises where a name is too long for any file
    except (OSError, RuntimeError, ValueError) as error:
        raise CohortError(
            f"{what}: {str(path)!r} is no path ({error}); expected one to a file in {root}"
        ) from error
    if not ends_at.is_relative_to(home):
        raise CohortError(
            f"{what}: {path} leads out of {root}, expected a file in that folder, links followed; "
            "copy it there, or name it in a table of your own (Cohort.from_table)"
        )
    return joined
