"""Reads changed files in this process under limits, and writes down what must not happen.

What is watched, for every file:

- nothing but a `BonevizError` comes out, and it quotes no patient and no UID;
- reading ends within `MOST_SECONDS`, or this process is ended with its traceback printed;
- no more than `MOST_BYTES` are taken beyond what the process had, also where a refusal hides it;
- nothing is opened outside of the file's folder and Python's own, and nothing is written at all;
- nothing is printed.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import json
import os
import random
import re
import resource
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from boneviz.errors import BonevizError

from .refusals import REFUSALS
from .targets import TARGETS, Target

__all__ = ["MOST_BYTES", "MOST_SECONDS", "main"]

MOST_SECONDS = 10
#: of address space. Files are of some kB; one of 64 kB may hold 64 MiB by gzip, which is taken
#: packed, unpacked and converted
MOST_BYTES = 384 * 2**20
MOST_FILE_BYTES = 2**20
MOST_LETTERS = 4000
#: of one file until its bytes are new
MOST_DRAWS = 100
IDENTITY = re.compile(r"CANARY|\d+(\.\d+){6,}")
#: events of Python's audit hooks that name a path
READS = ("open", "os.listdir", "os.scandir", "os.chdir", "pathlib.Path.glob")
WRITES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.link", "os.truncate",
          "os.chmod", "os.utime", "shutil.rmtree", "shutil.move", "tempfile.mkstemp")  # fmt: skip
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")
#: what Python, its packages and the C library read of their own
OWN = (sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev", "/usr/lib", "/usr/share/zoneinfo",
       "/etc/localtime", str(Path(__file__).resolve().parents[2] / "boneviz"),
       str(Path(__file__).resolve().parents[1]))  # fmt: skip


@dataclass
class Watch:
    """What the audit hook has seen of one file's reading."""

    folder: str = ""
    found: list[str] = field(default_factory=list)
    own: tuple[str, ...] = tuple({os.path.realpath(each) for each in OWN})

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.folder:
            return
        if arguments and "joblib_memmapping_folder" in str(arguments[0]):
            return  # decoders in processes of their own, which hand over arrays there
        if event in STARTS or event in WRITES:
            self.found.append(f"{event} {arguments[0]!r}")
        elif event in READS and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and path != "/dev/null":
                self.found.append(f"{event} for writing {path}")
            elif not self._allowed(path):
                self.found.append(f"{event} {path}")

    def _allowed(self, path: str) -> bool:
        return any(path == each or path.startswith(each + "/") for each in (self.folder, *self.own))


WATCH = Watch()


@contextmanager
def limits(real_stderr: int) -> Iterator[None]:
    faulthandler.dump_traceback_later(MOST_SECONDS, exit=True, file=real_stderr)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Give an error and all those it was raised from or while handling."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        each = todo.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            todo += [each.__cause__, each.__context__]


def said_wrongly(error: BonevizError) -> Iterator[str]:
    """Give what a refusal must not say, and what it must not hide."""
    if any(isinstance(e, MemoryError) for e in chain_of(error)) or "MemoryError" in str(error):
        yield f"memory: {error}"
    if IDENTITY.search(str(error)):
        yield f"identity: {error}"
    if not str(error).replace("\n", "").isprintable():
        yield f"letters that a terminal obeys: {str(error)!r}"
    if len(str(error)) > MOST_LETTERS:
        yield f"a message of {len(str(error))} letters: {str(error)[:300]}"


def status_of(field_name: str) -> int:
    """Return a number of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field_name):
            return int(line.split()[1]) * 1024
    raise ValueError(field_name)


class Cases:
    """The changed files of one kind, each other than the whole ones and than those before it.

    A run from the same number of a seed on gives the same files.
    """

    def __init__(self, target: Target, folder: Path, seed: int, others: Sequence[bytes]) -> None:
        self.target, self.folder, self.seed, self.others = target, folder, seed, others
        folder.mkdir(parents=True, exist_ok=True)
        self.paths = target.make(folder)
        self.whole = [path.read_bytes() for path in self.paths]
        self.each = [(k, c) for k, w in enumerate(self.whole) for c in target.each(w)]
        random.Random(f"{seed} {target.name}").shuffle(self.each)
        self.seen = {digest_of(self.whole)}

    def put(self, number: int) -> tuple[list[Path], bool]:
        """Write changed file `number` in its place; return what is changed, and if it is new."""
        new = False
        for draw in range(MOST_DRAWS):
            again = f" {draw}" if draw else ""
            rng = random.Random(f"{self.seed} {self.target.name} {number}{again}")
            if self.each and number % 2 == 0 and not draw:
                at, content = self.each[(number // 2) % len(self.each)]
                changed = {at: content}
            else:
                changed = self._drawn(rng)
            contents = [changed.get(k, whole) for k, whole in enumerate(self.whole)]
            digest = digest_of(contents)
            new = digest not in self.seen
            if new:
                self.seen.add(digest)
                break
        for path, content in zip(self.paths, contents, strict=True):
            path.write_bytes(content)
        return [self.paths[at] for at in changed], new

    def _drawn(self, rng: random.Random) -> dict[int, bytes]:
        """Return the changed bytes of one file, or of all, by its number among them."""
        if self.target.together and rng.random() < 0.5:
            state = rng.getstate()
            changed = {}
            for at, whole in enumerate(self.whole):
                rng.setstate(state)
                changed[at] = self.target.change(rng, whole)
            return changed
        at = rng.randrange(len(self.paths))
        content = self.target.change(rng, self.whole[at])
        if rng.random() < 0.03:  # two files in one
            other = rng.choice(self.others)
            content = content[: rng.randrange(len(content) + 1)] + other[rng.randrange(99) :]
        return {at: content[:MOST_FILE_BYTES]}


def digest_of(contents: Sequence[bytes]) -> bytes:
    """Return what tells files apart; their lengths are in it, so that no two run together."""
    digest = hashlib.blake2b(repr([len(content) for content in contents]).encode())
    for content in contents:
        digest.update(content)
    return digest.digest()


def run(target: Target, cases: Cases, numbers: range, out: Path, log: Any, stderr: int) -> None:
    seen = {"read": 0, "refused": 0}
    slowest = 0.0
    printed = os.fstat(2).st_size
    base, peak = status_of("VmSize"), status_of("VmPeak")
    resource.setrlimit(resource.RLIMIT_AS, (base + MOST_BYTES, resource.RLIM_INFINITY))
    for number in numbers:
        changed, new = cases.put(number)
        log.write(json.dumps({"at": [target.name, number], "new": new}) + "\n")
        log.flush()
        WATCH.found.clear()
        WATCH.folder = str(cases.folder.resolve())
        wrong: list[str] = []
        begun = time.monotonic()
        with limits(stderr):
            try:
                target.read(cases.folder)
                seen["read"] += 1
            except BonevizError as error:
                seen["refused"] += 1
                REFUSALS.append(error)
            except BaseException as error:
                wrong.append("".join(traceback.format_exception(error, limit=-6)))
        WATCH.folder = ""
        for error in REFUSALS:
            wrong += said_wrongly(error)
        REFUSALS.clear()
        slowest = max(slowest, time.monotonic() - begun)
        wrong += [f"path: {each}" for each in WATCH.found]
        if (size := os.fstat(2).st_size) > printed:
            wrong.append(f"printed: {os.pread(2, 2000, printed).decode(errors='replace')}")
            printed = size
        if wrong:
            kept = []
            for path in changed[:1]:
                kept.append(out / f"{target.name}-{cases.seed}-{number}-{path.name}")
                out.mkdir(parents=True, exist_ok=True)
                kept[-1].write_bytes(path.read_bytes())
            said = {"wrong": [each[:6000] for each in wrong], "kept": str(kept[0])}
            log.write(json.dumps({**said, "target": target.name, "number": number}) + "\n")
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    now = status_of("VmPeak")
    most = max(0, now - base) if now > peak else 0
    done = {"done": target.name, **seen, "slowest_s": round(slowest, 3), "peak_mib": most >> 20}
    log.write(json.dumps(done) + "\n")
    log.flush()


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz.watched")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--log", type=Path, required=True)
    parser.add_argument("plan", nargs="+", help="TARGET:FIRST:END")
    given = parser.parse_args()
    warnings.simplefilter("always")
    log = given.log.open("a")
    # what is printed goes to a file, whose growth is watched
    stderr = os.dup(2)
    noise = os.open(given.work / "printed.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    os.dup2(noise, 2)
    os.dup2(noise, 1)
    faulthandler.enable(file=stderr)
    threading.stack_size(2**20)
    sys.addaudithook(WATCH.hook)
    by_name = {target.name: target for target in TARGETS}
    others: list[bytes] = [b"", b"\0" * 1000]
    for part in given.plan:
        name, first, end = part.split(":")
        target = by_name[name]
        cases = Cases(target, given.work / name, given.seed, others)
        try:
            target.read(cases.folder)  # whole files are read, and modules are loaded
        except BaseException as error:
            found = "".join(traceback.format_exception(error))
            said = {"wrong": [f"a whole file: {found}"], "kept": str(cases.folder)}
            log.write(json.dumps({**said, "target": name, "number": -1}) + "\n")
        others += cases.whole
        run(target, cases, range(int(first), int(end)), given.out, log, stderr)


if __name__ == "__main__":
    main()
