"""The next patient is read ahead, once, and what was read of another is let go."""

from __future__ import annotations

import gc
import threading
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
from small import case_on

from boneviz.errors import ImageFileError
from boneviz.show import ahead as module
from boneviz.show.ahead import Ahead, following
from boneviz.volume import Grid

BESIDE = case_on(Grid.straight((4, 4, 4), (1, 1, 1)))


class Read:
    """What a case comes to, in place of its volumes."""

    def __init__(self, case_id: str) -> None:
        self.case_id = case_id
        self.array = np.zeros(8)


@dataclass
class Disk:
    """Cases on a disk that can be slow or damaged."""

    reads: list[tuple[str, bool]] = field(default_factory=list)  # case, in the main thread?
    damaged: set[str] = field(default_factory=set)
    ready: threading.Event = field(default_factory=threading.Event)

    def __call__(self, case_id: str) -> Read:
        self.ready.wait(10)
        here = threading.current_thread() is threading.main_thread()
        self.reads.append((case_id, here))
        if case_id in self.damaged:
            raise ImageFileError(f"patient {case_id}: damaged")
        return Read(case_id)


@pytest.fixture
def disk() -> Disk:
    made = Disk()
    made.ready.set()
    return made


def test_the_case_after_the_last_is_none() -> None:
    assert following(["P1", "P2"], "P1") == "P2"
    assert following(["P1", "P2"], "P2") is None


def test_it_is_read_once_and_beside(disk: Disk) -> None:
    ahead = Ahead(disk)
    ahead.prepare("P2", beside=BESIDE)
    ahead.prepare("P2", beside=BESIDE)
    assert ahead.take("P2").case_id == "P2"
    assert disk.reads == [("P2", False)]
    # taken is taken: it may be shown, changed on disk, and shown again
    assert ahead.take("P2").case_id == "P2"
    assert disk.reads == [("P2", False), ("P2", True)]
    ahead.close()


def test_another_case_is_read_at_once_and_the_one_ahead_let_go(disk: Disk) -> None:
    ahead = Ahead(disk)
    ahead.prepare("P2", beside=BESIDE)
    kept = weakref.ref(ahead._next[1].result())
    assert ahead.take("P7").case_id == "P7"
    gc.collect()
    assert kept() is None
    ahead.prepare(None, beside=BESIDE)
    assert ahead._next is None
    ahead.close()


def test_what_could_not_be_read_ahead_is_tried_again(disk: Disk) -> None:
    ahead = Ahead(disk)
    disk.damaged.add("P2")
    ahead.prepare("P2", beside=BESIDE)
    with pytest.raises(ImageFileError, match="patient P2: damaged"):
        ahead.take("P2")
    ahead.prepare("P2", beside=BESIDE)
    assert ahead._next[1].exception() is not None
    disk.damaged.clear()
    assert ahead.take("P2").case_id == "P2"
    ahead.close()


def test_nothing_is_read_beside_a_large_case(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    # float32: 64 voxels of CT and 64 of PET
    monkeypatch.setattr(module, "MOST_BYTES", 2 * 4 * 64 - 1)
    ahead = Ahead(disk)
    ahead.prepare("P2", beside=BESIDE)
    assert ahead._next is None
    ahead.close()


def test_closing_ends_its_thread() -> None:
    disk = Disk()
    ahead = Ahead(disk)
    ahead.prepare("P2", beside=BESIDE)
    ahead.close()
    disk.ready.set()
    (thread,) = ahead._thread._threads
    thread.join(10)
    assert not thread.is_alive()
