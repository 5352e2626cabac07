"""Six pairs of four readers, all metrics: boneviz beside MONAI, surface-distance, pymeshmetrics.

    python benchmarks/scores.py [--case whole-body] [--write]

Every tool runs in a process of its own on one core with one thread, on the same masks, and does
the six pairs one by one with the metrics that it has; boneviz does all of its own (lesions, SUV
and HU content, matched lesions too). Times are medians of repeated calls after one that is not
counted, where that is affordable; peak memory is that of the whole process, its masks included.
`--write` puts the table into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from results import machine, write_results

Masks = list[NDArray[np.bool_]]
TOOLS = ("boneviz", "boneviz mesh", "surface-distance", "pymeshmetrics", "MONAI")
PACKAGES = ("numpy", "scipy", "surface-distance", "pymeshmetrics", "vtk", "monai", "torch")
BUDGET_S = 100.0  # of one tool and case: below it a call is repeated, up to REPEATS times
REPEATS = 9
PAIRS = tuple(itertools.combinations(range(4), 2))


@dataclass(frozen=True)
class Setup:
    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    n_lesions: int
    radius_mm: tuple[float, float]


SETUPS = (
    Setup("limb, 128^3 at 1 mm", (128, 128, 128), (1.0, 1.0, 1.0), 3, (8.0, 22.0)),
    Setup("pelvis, 256^3 at 0.98x0.98x3 mm", (256, 256, 256), (0.98, 0.98, 3.0), 5, (8.0, 25.0)),
    Setup(
        "whole-body, 400x400x326 at 2.036x2.036x3 mm",
        (400, 400, 326),
        (2.036, 2.036, 3.0),
        12,
        (8.0, 20.0),
    ),
)


def make_masks(setup: Setup, *, seed: int = 1) -> Masks:
    """Let four readers outline the same lesions: bumpy ellipsoids, each a little different."""
    rng = np.random.default_rng(seed)
    masks = [np.zeros(setup.shape, dtype=bool) for _ in range(4)]
    spacing = np.array(setup.spacing_mm)
    for _ in range(setup.n_lesions):
        radius_mm = rng.uniform(*setup.radius_mm) * rng.uniform(0.7, 1.3, 3)
        margin = 1.6 * radius_mm / spacing + 2
        centre = rng.uniform(margin, np.array(setup.shape) - margin)
        bumps = [
            (rng.normal(0, 1, 3) / radius_mm.mean() * 3, rng.uniform(0, 6.28)) for _ in range(4)
        ]
        for mask in masks:
            here = centre + rng.normal(0, 0.8, 3) / spacing
            size_mm = radius_mm * rng.uniform(0.85, 1.15)
            low = np.maximum(np.floor(here - 1.4 * size_mm / spacing), 0).astype(int)
            high = np.minimum(np.ceil(here + 1.4 * size_mm / spacing) + 1, setup.shape).astype(int)
            axes = (np.arange(a, b) for a, b in zip(low, high, strict=True))
            away_mm = (np.stack(np.meshgrid(*axes, indexing="ij"), -1) - here) * spacing
            wave = sum(np.sin(away_mm @ direction + phase) for direction, phase in bumps) / 4
            inside = np.linalg.norm(away_mm / size_mm, axis=-1) <= 1 + 0.25 * wave
            mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= inside
    return masks


Values = list[dict[str, float]]


def with_boneviz(
    masks: Masks, spacing_mm: tuple[float, ...], *, mesh: bool
) -> Callable[[], Values]:
    from boneviz.case import Case, Reader
    from boneviz.score import score_case
    from boneviz.volume import Grid, Volume

    rng = np.random.default_rng(0)
    grid = Grid.straight(masks[0].shape, spacing_mm)
    hu = rng.integers(-100, 100, masks[0].shape, dtype=np.int16)
    suv = rng.random(masks[0].shape, dtype=np.float32)
    for array in (hu, suv, *masks):
        array.setflags(write=False)
    case = Case(
        "case",
        "",
        Volume(hu, grid, "HU"),
        Volume(suv, grid, "SUVbw"),
        {Reader(f"Reader {n}"): Volume(mask, grid, "label") for n, mask in enumerate(masks)},
    )

    def run() -> Values:
        rows = score_case(case, mesh=mesh)
        return [
            {
                "dice": row.dice,
                "hd": row.hd_mm,
                "hd95": row.hd95_mm,
                "assd": row.assd_mm,
                "nsd1": row.surface_dice[1.0],
                "nsd2": row.surface_dice[2.0],
            }
            for row in rows
        ]

    return run


def with_surface_distance(masks: Masks, spacing_mm: tuple[float, ...]) -> Callable[[], Values]:
    np.Inf = np.inf  # taken away in NumPy 2, which the package does not know
    import surface_distance as peer

    def run() -> Values:
        values = []
        for a, b in PAIRS:
            found = peer.compute_surface_distances(masks[a], masks[b], spacing_mm)
            means = peer.compute_average_surface_distance(found)
            areas = [found["surfel_areas_gt"].sum(), found["surfel_areas_pred"].sum()]
            values.append(
                {
                    "dice": peer.compute_dice_coefficient(masks[a], masks[b]),
                    "hd": peer.compute_robust_hausdorff(found, 100),
                    "hd95": peer.compute_robust_hausdorff(found, 95),
                    "assd": float(np.dot(means, areas) / sum(areas)),
                    "nsd1": peer.compute_surface_dice_at_tolerance(found, 1),
                    "nsd2": peer.compute_surface_dice_at_tolerance(found, 2),
                }
            )
        return values

    return run


def with_pymeshmetrics(masks: Masks, spacing_mm: tuple[float, ...]) -> Callable[[], Values]:
    from meshmetrics import DistanceMetrics

    def run() -> Values:
        values = []
        for a, b in PAIRS:
            pair = DistanceMetrics(verbose=False)
            pair.set_input(masks[a], masks[b], spacing=spacing_mm)
            values.append(
                {
                    "dice": pair.dsc(),
                    "hd": pair.hd(),
                    "hd95": pair.hd(95),
                    "assd": pair.assd(),
                    "nsd1": pair.nsd(1),
                    "nsd2": pair.nsd(2),
                }
            )
            pair.masd()
        return values

    return run


def with_monai(masks: Masks, spacing_mm: tuple[float, ...]) -> Callable[[], Values]:
    import monai.metrics as peer
    import torch

    torch.set_num_threads(1)
    batch = [torch.from_numpy(mask[None, None]) for mask in masks]

    def run() -> Values:
        values = []
        for a, b in PAIRS:
            candidate, reference = batch[b], batch[a]
            more = {"include_background": True, "spacing": spacing_mm}
            surface_dice = [
                peer.compute_surface_dice(
                    candidate, reference, [tolerance], use_subvoxels=True, **more
                ).item()
                for tolerance in (1.0, 2.0)
            ]
            hausdorff = [
                peer.compute_hausdorff_distance(candidate, reference, percentile=percent, **more)
                for percent in (None, 95)
            ]
            assd = peer.compute_average_surface_distance(
                candidate, reference, symmetric=True, **more
            )
            peer.compute_iou(candidate, reference)
            peer.get_confusion_matrix(candidate, reference)
            values.append(
                {
                    "dice": peer.compute_dice(candidate, reference).item(),
                    "hd": hausdorff[0].item(),
                    "hd95": hausdorff[1].item(),
                    "assd": assd.item(),
                    "nsd1": surface_dice[0],
                    "nsd2": surface_dice[1],
                }
            )
        return values

    return run


def measure(tool: str, setup: Setup, masks_file: Path) -> None:
    """Time one tool on one case in this process and print the outcome as JSON."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with np.load(masks_file) as archive:
        masks = [archive[f"mask{n}"] for n in range(4)]
    run = {
        "boneviz": lambda: with_boneviz(masks, setup.spacing_mm, mesh=False),
        "boneviz mesh": lambda: with_boneviz(masks, setup.spacing_mm, mesh=True),
        "surface-distance": lambda: with_surface_distance(masks, setup.spacing_mm),
        "pymeshmetrics": lambda: with_pymeshmetrics(masks, setup.spacing_mm),
        "MONAI": lambda: with_monai(masks, setup.spacing_mm),
    }[tool]()
    times_s: list[float] = []
    began = time.perf_counter()
    while len(times_s) <= REPEATS and time.perf_counter() - began < BUDGET_S:
        start = time.perf_counter()
        values = run()
        times_s.append(time.perf_counter() - start)
    # the first call makes tables and imports; it counts only where it is all there is
    counted = times_s[1:] or times_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "median_s": statistics.median(counted),
                "runs": len(counted),
                "peak_mb": peak_mb,
                "values": values,
            }
        )
    )


def apart(first: Values, second: Values, names: tuple[str, ...]) -> float:
    """Return the largest difference of any of these numbers over the six pairs."""
    return max(abs(a[n] - b[n]) for a, b in zip(first, second, strict=True) for n in names)


def table_of(setup: Setup, masks: Masks, found: dict[str, dict]) -> str:
    share = 100 * np.mean([mask.mean() for mask in masks])
    lines = [
        f"### {setup.name}",
        "",
        f"{setup.n_lesions} lesions in {share:.3g} % of the voxels; six pairs, one thread.",
        "",
        "| tool | median s | runs | times boneviz | times boneviz mesh | peak MB |",
        "|---|---|---|---|---|---|",
    ]
    for tool, result in found.items():
        ratios = [result["median_s"] / found[o]["median_s"] for o in ("boneviz", "boneviz mesh")]
        lines.append(
            f"| {tool} | {result['median_s']:.3f} | {result['runs']} | {ratios[0]:.1f} | "
            f"{ratios[1]:.1f} | {result['peak_mb']:.0f} |"
        )
    distances, ours = ("hd", "hd95", "assd"), found["boneviz"]["values"]
    lines.append("")
    if "surface-distance" in found:
        other = found["surface-distance"]["values"]
        lines.append(
            f"Largest difference from surface-distance: HD, HD95, ASSD "
            f"{apart(ours, other, distances):.1e} mm, surface Dice "
            f"{apart(ours, other, ('nsd1', 'nsd2')):.1e}."
        )
    if "pymeshmetrics" in found:
        mesh, other = found["boneviz mesh"]["values"], found["pymeshmetrics"]["values"]
        lines.append(
            f"Mesh, from pymeshmetrics: HD, HD95 {apart(mesh, other, ('hd', 'hd95')):.1e} mm, "
            f"ASSD {apart(mesh, other, ('assd',)):.1e} mm, surface Dice "
            f"{apart(mesh, other, ('nsd1', 'nsd2')):.1e}."
        )
    if "MONAI" in found:
        lines.append(f"Dice, from MONAI: {apart(ours, found['MONAI']['values'], ('dice',)):.1e}.")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", help="part of a case's name; may be repeated")
    parser.add_argument("--tool", action="append", choices=TOOLS)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        tool, number, masks_file = options.measure
        measure(tool, SETUPS[int(number)], Path(masks_file))
        return
    tables = []
    one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "VTK_SMP")}
    for number, setup in enumerate(SETUPS):
        if options.case and not any(part in setup.name for part in options.case):
            continue
        masks = make_masks(setup)
        found: dict[str, dict] = {}
        with tempfile.TemporaryDirectory() as folder:
            masks_file = Path(folder) / "masks.npz"
            np.savez(masks_file, **{f"mask{n}": mask for n, mask in enumerate(masks)})
            for tool in options.tool or TOOLS:
                command = [
                    sys.executable,
                    __file__,
                    "--measure",
                    tool,
                    str(number),
                    str(masks_file),
                ]
                printed = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, env={**os.environ, **one_thread}
                ).stdout
                found[tool] = json.loads(printed.splitlines()[-1])
                print(f"{setup.name}: {tool} {found[tool]['median_s']:.3f} s", file=sys.stderr)
        tables.append(table_of(setup, masks, found))
    text = "\n\n".join([machine(PACKAGES), *tables])
    print(text)
    if options.write:
        write_results("scores", text)


if __name__ == "__main__":
    main()
