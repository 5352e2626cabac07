"""A folder that is filled over several runs, and appears under its name when it is whole."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from boneviz.errors import MALFORMED, InputError
from boneviz.files import write_whole

__all__ = ["Growing", "growing_folder"]

JOURNAL = ".boneviz-export.json"


@dataclass(frozen=True, slots=True)
class Growing:
    """A hidden folder, and which parts of it are done.

    Parameters
    ----------
    folder : where to write
    done : part -> a hash of what it was made from
    """

    folder: Path
    settings: str
    done: dict[str, str]

    def has(self, part: str, content: str) -> bool:
        """Whether a part was made from the same content."""
        return self.done.get(part) == content

    def begin(self, part: str) -> None:
        """Say that a part is written anew: cut off now, it is as its old content no longer."""
        if self.done.pop(part, None) is not None:
            self._write()

    def add(self, part: str, content: str) -> None:
        """Say that a part is done, once its files are there."""
        self.done[part] = content
        self._write()

    def _write(self) -> None:
        record = {"settings": self.settings, "done": self.done}
        write_whole(self.folder / JOURNAL, json.dumps(record).encode())


@contextmanager
def growing_folder(out: Path, *, settings: str) -> Iterator[Growing]:
    """Give a hidden folder beside `out`, which takes that name when the block ends well.

    Where the block raises or the process is killed, the folder stays, and the next run with the
    same `settings` goes on in it; one with other settings begins anew.

    Raises
    ------
    InputError
        `out` is there already, or the hidden folder is somebody else's.
    """
    if out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir()))):
        raise InputError(
            f"{out}: there already, expected a new folder; nothing is written over: "
            "move it away or choose another name"
        )
    hidden = out.with_name(f".exporting-{out.name}")
    done: dict[str, str] = {}
    if hidden.is_symlink() or (hidden.exists() and not _is_ours(hidden)):
        raise InputError(f"{hidden}: there already, and no export that was cut off; move it away")
    if hidden.exists():
        try:
            record = json.loads((hidden / JOURNAL).read_text(encoding="utf-8"))
            if record["settings"] == settings:
                done = {str(part): str(content) for part, content in record["done"].items()}
        except (FileNotFoundError, *MALFORMED):
            done = {}
    growing = Growing(hidden, settings, done)
    if not done:
        # the journal first: cut off in between, no run takes half of what was there for whole
        write_whole(hidden / JOURNAL, json.dumps({"settings": settings, "done": {}}).encode())
        for path in hidden.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != JOURNAL:
                path.unlink()
    yield growing
    for cut_off in hidden.rglob(".writing-*"):
        cut_off.unlink()
    if out.is_dir():
        out.rmdir()  # empty, as was made sure; raises where it no longer is
    hidden.rename(out)
    # last: a hidden folder without a journal would be taken for somebody else's
    (out / JOURNAL).unlink()


def _is_ours(hidden: Path) -> bool:
    """Whether an export made this folder, be it that it was cut off before it had a journal."""
    if not hidden.is_dir():
        return False
    return (hidden / JOURNAL).is_file() or all(
        path.name.startswith(".writing-") for path in hidden.iterdir()
    )
