"""One step of threshold and dial: table look-up beside counting voxels anew, and beside scoring.

    python benchmarks/operating.py [--write]

A volume of 256^3 voxels with twelve lesions, two experts, two models. A step is what a slider asks
for: the counts of a blend of both models at a threshold against both experts, with both curves.
Counting anew is the plain way, in NumPy on whole arrays, without the curves. All three give the
same Dice, or the run stops. `--write` puts the table into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os

os.environ["OMP_NUM_THREADS"] = "1"

import statistics
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from results import machine, write_results

from boneviz.blend import blend
from boneviz.case import Case, Prediction, Reader
from boneviz.operating import cuts_of, dial_of
from boneviz.score import score_case
from boneviz.volume import Grid, Volume

SIDE = 256
GRID = Grid.straight((SIDE,) * 3, (1.5, 1.5, 2.0))
EXPERTS = (Reader("Expert A"), Reader("Expert B"))
T, THRESHOLD = 0.37, 0.4


def field(rng: np.random.Generator, scale: float) -> NDArray[np.float32]:
    """Return a smooth map that is above a half in twelve balls, which `scale` makes larger."""
    places = np.random.default_rng(0)
    found = np.zeros(GRID.shape, dtype=np.float32)
    for _ in range(12):
        radius = places.uniform(5, 14)
        centre = places.integers(30, SIDE - 30, 3)
        reach = int(radius * scale * 1.6) + 2
        axis = np.arange(-reach, reach + 1)
        away = np.sqrt(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2)
        noisy = (away - radius * scale) / 1.5 + rng.normal(0, 0.3, away.shape)
        box = tuple(slice(max(0, c - reach), min(SIDE, c + reach + 1)) for c in centre)
        part = tuple(
            slice(b.start - c + reach, b.stop - c + reach) for b, c in zip(box, centre, strict=True)
        )
        found[box] = np.maximum(found[box], 1 / (1 + np.exp(noisy[part])))
    return found


def make() -> tuple[Case, list[Prediction]]:
    rng = np.random.default_rng(1)
    masks = {
        reader: Volume(field(rng, scale) > 0.5, GRID, "label")
        for reader, scale in zip(EXPERTS, (1.1, 0.85), strict=True)
    }
    blank = np.zeros(GRID.shape, dtype=np.int16)
    case = Case("1", "", Volume(blank, GRID, "HU"), Volume(blank, GRID, "SUVbw"), masks)
    maps = [
        np.rint(field(rng, s) * 255).astype(np.float32) * np.float32(1 / 255) for s in (1.15, 0.9)
    ]
    return case, [
        Prediction("1", "", Reader(f"Model {x}", "model"), 0, volume, "0", frozenset())
        for x, volume in zip("AB", (Volume(m, GRID, "probability") for m in maps), strict=True)
    ]


def timed(step: Callable[[], list[float]], repeats: int) -> tuple[list[float], float]:
    """Return what a step gives and its median time in ms."""
    found, took = step(), []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        took.append(1e3 * (time.perf_counter() - start))
    return found, statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    case, (first, second) = make()
    start = time.perf_counter()
    dial = dial_of(case, first, second)
    once = 1e3 * (time.perf_counter() - start)
    cuts = cuts_of(case, first)
    experts = [case.masks[expert].array for expert in EXPERTS]

    def look_up() -> list[float]:
        at = dial.at(T)
        for expert in EXPERTS:
            at.curve(expert.name)
        return [at.at(THRESHOLD, expert.name).dice for expert in EXPERTS]

    def count_anew() -> list[float]:
        mask = blend(first, second, T).mask(THRESHOLD).array
        n = [int(np.count_nonzero(mask & expert)) for expert in experts]
        sizes = [int(np.count_nonzero(mask)) + int(np.count_nonzero(e)) for e in experts]
        return [2 * both / size for both, size in zip(n, sizes, strict=True)]

    def score() -> list[float]:
        between = blend(first, second, T)
        pairs = [(expert.name, between.reader.name) for expert in EXPERTS]
        return [s.dice for s in score_case(case, [between], pairs=pairs, threshold=THRESHOLD)]

    rows = ["| a step | ms, median |", "|---|---|"]
    dices = []
    for name, step, repeats in (
        ("boneviz.operating: both experts, both curves", look_up, 100),
        ("blend and count whole arrays, no curves", count_anew, 5),
        ("blend and `score_case`, all metrics", score, 3),
    ):
        dice, took = timed(step, repeats)
        dices.append(dice)
        rows.append(f"| {name} | {took:.2f} |")
    assert dices[0] == dices[1] == dices[2], dices
    _, took = timed(lambda: [cuts.at(THRESHOLD, "Expert A").dice], 1000)
    rows.append(f"| a threshold of one model, one expert | {took:.4f} |")
    text = "\n".join(rows) + (
        f"\n\nBuilt once per case: {once:.0f} ms, {dial.count.size} cells from "
        f"{np.count_nonzero(first.probability.array)} and "
        f"{np.count_nonzero(second.probability.array)} voxels above 0."
        f"\n\n{machine(['numpy', 'scipy'])}."
    )
    print(text)
    if arguments.write:
        write_results("operating", text)


if __name__ == "__main__":
    main()
