"""Both demonstration models on one case: boneviz beside MONAI's SlidingWindowInferer.

    python benchmarks/inference.py [--case leg] [--repeats 7] [--threads 2] [--write]

The same networks, windows of 64^3 voxels at 2.5 mm and overlap of one half, and as many threads
for either.
MONAI runs one model after the other with the batch of 1, 2, 4 or 8 windows that is fastest for it
on that case; boneviz runs both in one pass. "Windows" is from the fused image to logits (body and
choice of windows included), "whole" from the case as read to probabilities on the CT's grid, for
which MONAI's models share one harmonised case too. Calls of the two take turns; times are medians.
`--write` puts the table into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from numpy.typing import NDArray
from results import machine, write_results

from boneviz.case import Case
from boneviz.checkpoint import Checkpoint, load_checkpoint
from boneviz.fuse import fuse
from boneviz.harmonise import harmonise, resample
from boneviz.nifti import read_volume
from boneviz.phantom import make_phantom
from boneviz.predict import Predictors
from boneviz.samples import demonstration_models
from boneviz.volume import Grid, Volume
from boneviz.windows import body_of, importance, needed, padding, slide, starts

OVERLAP = 0.5
FIELD_MM = 500.0  # across a scanner's bore
BUDGET_S = 60.0  # of one case's windows, and of its whole: below it rounds are repeated


def knee_to_foot() -> Case:
    return make_phantom("P005", kind="fracture-related infection", region="leg", seed=11).case


def in_the_bore(case: Case) -> Case:
    """Put a limb into a scanner's whole field of view, with air around it."""
    grid = case.ct.grid
    missing = [
        max(0, round(FIELD_MM / s) - n)
        for s, n in zip(grid.spacing_mm[:2], grid.shape[:2], strict=True)
    ]
    around = [(n // 2, n - n // 2) for n in missing] + [(0, 0)]
    affine = grid.affine_ras_mm.copy()
    affine[:3, 3] = grid.to_mm([-low for low, _ in around])
    array = np.pad(case.ct.array, around, constant_values=-1000)
    x, y, z = array.shape
    return replace(case, ct=Volume(array, Grid((x, y, z), affine), "HU"), masks={})


def real_limb() -> Case | None:
    """Return a soft-tissue sarcoma of the thigh, where real scans are at hand."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("BONEVIZ_REALDATA", beside)) / "petct" / "STS_001"
    if not folder.is_dir():
        return None
    ct = read_volume(folder / "CT_image.nii.gz", "HU")
    return Case("STS_001", "", ct, read_volume(folder / "PET_image.nii.gz", "SUVbw"))


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def take_turns(calls: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the median seconds of each; the first round is not counted."""
    rounds = [[seconds(call) for call in calls]]
    began = time.perf_counter()
    while len(rounds) <= repeats and (len(rounds) < 2 or time.perf_counter() - began < BUDGET_S):
        rounds.append([seconds(call) for call in calls])
    return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]


def measure(name: str, case: Case, models: Sequence[Checkpoint], repeats: int) -> str:
    """Return a row of the table."""
    first = models[0]
    networks = [model.network() for model in models]
    ours = Predictors(models, overlap=OVERLAP)
    quick = ours._groups[0].networks
    there = harmonise(case, spacing_mm=first.spacing_mm)
    image = torch.from_numpy(fuse(there, first.fuse))

    body = np.pad(body_of(there.ct), padding(image.shape[1:], first.patch))
    places = starts(body.shape, first.patch, OVERLAP)
    run = int(needed(body, places, importance(first.patch)).sum())

    def monai_windows(batch: int) -> list[torch.Tensor]:
        peer = SlidingWindowInferer(
            first.patch, batch, OVERLAP, mode="gaussian", padding_mode="constant"
        )
        with torch.inference_mode():
            return [peer(image[None], network)[0, 0] for network in networks]

    def our_windows() -> torch.Tensor:
        body = body_of(there.ct)
        return slide(image, quick, patch=first.patch, overlap=OVERLAP, body=body)

    def monai_whole(batch: int) -> list[NDArray[np.float32]]:
        fuse(harmonise(case, spacing_mm=first.spacing_mm), first.fuse)
        found = []
        for logits in monai_windows(batch):
            probability = torch.sigmoid(logits).numpy()
            probability = np.where(probability < 1 / 510, 0, probability).astype(np.float32)
            volume = Volume(probability, there.ct.grid, "probability")
            found.append(resample(volume, case.ct.grid).array)
        return found

    def fastest(batch: int) -> float:
        tries = 3 if len(places) < 100 else 1
        return min(seconds(lambda: monai_windows(batch)) for _ in range(tries))

    batch = min((1, 2, 4, 8), key=fastest)
    windows = take_turns([lambda: monai_windows(batch), our_windows], repeats)
    whole = take_turns([lambda: monai_whole(batch), lambda: ours(case)], repeats)
    agree = [
        dice(theirs >= 0.5, prediction.mask().array)
        for theirs, prediction in zip(monai_whole(batch), ours(case), strict=True)
    ]
    size = " x ".join(str(n) for n in there.ct.grid.shape)
    return (
        f"| {name} | {size} | {run} of {len(places)} | {batch} "
        f"| {windows[0]:.2f} | {windows[1]:.2f} | {windows[0] / windows[1]:.1f} "
        f"| {whole[0]:.2f} | {whole[1]:.2f} | {whole[0] / whole[1]:.1f} "
        f"| {', '.join(f'{each:.5f}' for each in agree)} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", help="part of a case's name; may be repeated")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    models = [load_checkpoint(path) for path in demonstration_models()]
    leg = knee_to_foot()
    cases = {
        "leg phantom, knee to foot, cut close": leg,
        "the same in a field of view of 500 mm": in_the_bore(leg),
        "STS_001, a real thigh, cut close": real_limb(),
    }
    lines = [
        "| case | voxels of 2.5 mm | windows run | MONAI's batch | windows: MONAI s | boneviz s "
        "| ratio | whole: MONAI s | boneviz s | ratio | Dice of masks (A, B) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, case in cases.items():
        if case is None or (options.case and not any(part in name for part in options.case)):
            continue
        lines.append(measure(name, case, models, options.repeats))
        print(lines[-1], flush=True)
    where = machine(("numpy", "scipy", "monai", "torch"))
    text = "\n".join([f"{where}; {options.threads} threads", "", *lines])
    print(text)
    if options.write:
        write_results("inference", text)


if __name__ == "__main__":
    main()
