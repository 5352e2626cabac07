"""Plans a run over all kinds of files, starts the process that reads, and gathers what it saw."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Outcome", "fuzz", "main"]

TESTS = Path(__file__).resolve().parents[1]
OUT = TESTS.parent / "test-output" / "fuzz"


@dataclass
class Outcome:
    """What a run saw: per kind of file how many were read and refused, and what went wrong."""

    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    files: int = 0
    #: of the files, those whose bytes are other than the whole ones' and than any before
    new: int = 0


def shares(
    files: int, only: Sequence[str], weights: Mapping[str, float], first: int = 0
) -> dict[str, range]:
    """Return which numbers of each kind are read, so many together."""
    chosen = {name: share for name, share in weights.items() if not only or name in only}
    total = sum(chosen.values())
    return {
        name: range(first, first + max(1, round(files * share / total)))
        for name, share in chosen.items()
    }


def fuzz(plan: Mapping[str, range], *, seed: int, work: Path, out: Path = OUT) -> Outcome:
    """Read the changed files of a plan in a process of its own, begun anew where it dies."""
    outcome = Outcome()
    left = {name: numbers for name, numbers in plan.items() if numbers}
    log = work / "log.jsonl"
    work.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}",
        "MALLOC_ARENA_MAX": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    while left:
        log.unlink(missing_ok=True)
        parts = [f"{name}:{numbers.start}:{numbers.stop}" for name, numbers in left.items()]
        command = [sys.executable, "-m", "fuzz.watched", "--seed", str(seed), "--work", str(work),
                   "--out", str(out), "--log", str(log), *parts]  # fmt: skip
        ended = subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True)
        printed = work / "printed.txt"
        stderr = ended.stderr + (printed.read_text()[-5000:] if printed.exists() else "")
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        at: tuple[str, int] | None = None
        for line in lines:
            if "at" in line:
                at = (line["at"][0], line["at"][1])
                outcome.files += 1
                outcome.new += line["new"]
            elif "done" in line:
                outcome.done[line["done"]] = line
                left.pop(line["done"])
                at = None
            else:
                outcome.wrong.append(line)
        if ended.returncode == 0 and not left:
            break
        if at is None:
            outcome.wrong.append({"target": "?", "number": -1, "kept": "", "wrong": [stderr]})
            break
        name, number = at
        found = sorted((work / name).rglob("*"))
        kept = out / f"{name}-{seed}-{number}-ended"
        kept.mkdir(parents=True, exist_ok=True)
        for path in found:
            if path.is_file() and path.stat().st_size < 2**24:
                (kept / path.name).write_bytes(path.read_bytes())
        said = f"the process ended with {ended.returncode}:\n{stderr[-5000:]}"
        outcome.wrong.append({"target": name, "number": number, "kept": str(kept), "wrong": [said]})
        left[name] = range(number + 1, left[name].stop)
        if not left[name]:
            del left[name]
    return outcome


def main() -> int:
    """Run by hand, print a table, and every kind of failure once."""
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="kinds of files")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    weights = {target.name: target.share for target in TARGETS}
    plan = shares(given.files, given.only, weights, given.first)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="boneviz-fuzz-") as work:
        outcome = fuzz(plan, seed=given.seed, work=Path(work), out=given.out)
    for name, row in outcome.done.items():
        print(f"{name:18} {row['read']:6} read {row['refused']:6} refused, "
              f"slowest {row['slowest_s']:6.3f} s, +{row['peak_mib']} MiB")  # fmt: skip
    seconds = time.monotonic() - begun
    print(f"{outcome.files} files, {outcome.new} of them different, {seconds:.0f} s, "
          f"{len(outcome.wrong)} wrong")  # fmt: skip
    by_last: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in outcome.wrong:
        for said in each["wrong"]:
            last = said.strip().splitlines()[-3:]
            by_last[f"{each['target']} {' | '.join(last)[:200]}"].append({**each, "said": said})
    for rows in by_last.values():
        print(f"\n== {len(rows)} x {rows[0]['target']} {rows[0]['number']} {rows[0]['kept']}")
        print(rows[0]["said"][-1800:])
    return 1 if outcome.wrong else 0
