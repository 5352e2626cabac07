"""The next patient, read while somebody looks at this one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from boneviz.case import Case
from boneviz.errors import BonevizError
from boneviz.show.shown import Shown

__all__ = ["Ahead", "following"]

MOST_BYTES = 512 * 2**20


def following(case_ids: Sequence[str], case_id: str) -> str | None:
    """Return the case after this one in the list, None after the last."""
    after = list(case_ids).index(case_id) + 1
    return case_ids[after] if after < len(case_ids) else None


class Ahead:
    """At most one case beside the one shown, in a thread of its own.

    Parameters
    ----------
    read : reads a case; it touches no widget
    """

    def __init__(self, read: Callable[[str], Shown]) -> None:
        self._read = read
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="boneviz-ahead")
        self._next: tuple[str, Future[Shown]] | None = None

    def prepare(self, case_id: str | None, *, beside: Case) -> None:
        """Begin to read a case, unless the one shown is so large that two might not fit.

        Parameters
        ----------
        case_id : the case; None: nothing
        beside : the case that is shown
        """
        size = beside.ct.array.nbytes + beside.pet.array.nbytes
        size += sum(mask.array.nbytes for mask in beside.masks.values())
        if case_id is None or size > MOST_BYTES or (self._next and self._next[0] == case_id):
            return
        self.forget()
        self._next = case_id, self._thread.submit(self._read, case_id)

    def take(self, case_id: str) -> Shown:
        """Return a case: the one that was read ahead, or read now.

        Raises
        ------
        BonevizError
            It cannot be read, now.
        """
        if self._next and self._next[0] == case_id:
            prepared = self._next[1]
            self._next = None
            try:
                return prepared.result()
            except BonevizError:
                pass  # the files may be others by now
        self.forget()
        return self._read(case_id)

    def forget(self) -> None:
        """Let go of what was read ahead."""
        if self._next:
            self._next[1].cancel()
        self._next = None

    def close(self) -> None:
        """Read nothing more."""
        self.forget()
        self._thread.shutdown(wait=False)
