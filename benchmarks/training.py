"""How soon a fit is how good: MONAI's networks in boneviz's loop, and a tutorial's loop beside it.

    python benchmarks/training.py [--write] [--so-far]

Fold 0 of 24 phantoms (seed 7), each expert, one thread a fit, two fits side by side. Each fit has a
schedule of as many steps as it is given; its CPU seconds are those of the whole fit, reading its
patients included. Dice is of the held-out patients in 3D at the network's spacing.

The tutorial's loop is that of MONAI's 3D tutorials (BraTS, spleen): Adam at 1e-4 (and at 1e-3, so
that the peer is not held back by its rate alone) with weight decay 1e-5, DiceLoss on sigmoids,
cosine annealing, flips along all axes, random scale and shift of intensity, all data cached in
memory. It trains the same network at the same spacing on patches of the same size, two a step, one
in two around a lesion (RandCropByPosNegLabel), and predicts by SlidingWindowInferer.

What is measured is kept in runs/training, and an interrupted run goes on. `--write` puts the tables
into benchmarks/RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.inferers import SlidingWindowInferer
from monai.losses import DiceLoss
from monai.transforms import (
    Compose,
    RandCropByPosNegLabeld,
    RandFlipd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from results import machine, write_results

from boneviz.cohort import Cohort
from boneviz.crossval import deal_folds
from boneviz.errors import TrainingError
from boneviz.network import NetConfig, build_network
from boneviz.patches import Sample, TrainConfig, read_samples
from boneviz.phantom import make_cohort
from boneviz.processes import as_done
from boneviz.train import fit
from boneviz.watch import watched_dice

ROOT = Path("runs/training")
DEFAULT = "UNet, folded"
NETWORKS = {
    DEFAULT: NetConfig(),
    "UNet, full resolution": NetConfig(unshuffle=1),
    "DynUNet, folded": NetConfig("dynunet"),
    "SegResNet, folded": NetConfig("segresnet"),
}
EXPERTS = ("Expert A", "Expert B")
RATES = (1e-4, 1e-3)


@dataclass(frozen=True)
class Task:
    """One fit: a network by boneviz's loop, or at some rate by the tutorial's."""

    network: str
    expert: str
    steps: int
    rate: float | None = None

    @property
    def loop(self) -> str:
        return "boneviz" if self.rate is None else f"tutorial, Adam {self.rate:g}"

    @property
    def kept(self) -> Path:
        return ROOT / "measured" / f"{self.name}.json"

    @property
    def name(self) -> str:
        return f"{self.network}, {self.loop}, {self.expert}, {self.steps} steps"


TASKS = [
    *(Task(DEFAULT, expert, steps) for steps in (150, 300, 450, 600) for expert in EXPERTS),
    *(Task(DEFAULT, expert, 600, rate) for rate in RATES for expert in EXPERTS),
    *(Task("DynUNet, folded", expert, 100) for expert in EXPERTS),
    *(Task("SegResNet, folded", expert, 80) for expert in EXPERTS),
    *(Task("UNet, full resolution", expert, 100) for expert in EXPERTS),
]


def measure(task: Task) -> dict[str, object]:
    """Train, predict who was held out, keep and return what was found."""
    if task.kept.is_file():
        return dict(json.loads(task.kept.read_text()))
    torch.set_num_threads(1)
    cohort = replace(Cohort.open(ROOT), root=ROOT / "fits" / task.name)
    folds = deal_folds(Cohort.open(ROOT), n_folds=4, seed=0)
    config = TrainConfig(expert=task.expert, fold=0, net=NETWORKS[task.network], save_every=10**6)
    expert = cohort.reader(task.expert)
    learned, held_out = (
        read_samples([r for r in cohort if r.patient_id in ids], expert, config, progress=False)
        for ids in (folds.training(0), folds.held_out(0))
    )

    def by_boneviz(steps: int, root: Path) -> torch.nn.Module:
        there = replace(cohort, root=root)
        return fit(there, folds, replace(config, steps=steps), progress=False).network()

    def by_tutorial(steps: int, _: Path) -> torch.nn.Module:
        return tutorial(learned, config, rate=task.rate or 0, steps=steps)

    train = by_boneviz if task.rate is None else by_tutorial
    train(1, cohort.root / "warm")
    began = time.process_time()
    network = train(task.steps, cohort.root)
    spent = time.process_time() - began
    predict = dice_by_boneviz if task.rate is None else dice_by_monai
    found = {
        "network": task.network,
        "loop": task.loop,
        "expert": task.expert,
        "steps": task.steps,
        "cpu_s": round(spent, 1),
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "dice": round(predict(network, held_out, config), 4),
    }
    task.kept.parent.mkdir(parents=True, exist_ok=True)
    task.kept.write_text(json.dumps(found))
    return found


def tutorial(
    learned: Sequence[Sample], config: TrainConfig, *, rate: float, steps: int
) -> torch.nn.Module:
    """Train as the tutorials do."""
    cached = [
        {
            "image": torch.from_numpy(sample.image),
            "label": torch.from_numpy(sample.lesion.astype(np.float32))[None],
        }
        for sample in learned
    ]
    keys = ("image", "label")
    augment = Compose(
        [
            RandCropByPosNegLabeld(keys, "label", config.patch, pos=1, neg=1, num_samples=1),
            *(RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
            RandScaleIntensityd("image", factors=0.1, prob=1.0),
            RandShiftIntensityd("image", offsets=0.1, prob=1.0),
        ]
    ).set_random_state(0)
    order = np.random.default_rng(0)
    torch.manual_seed(0)
    network = build_network(config.net)
    optimiser = torch.optim.Adam(network.parameters(), rate, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=steps)
    loss_of = DiceLoss(smooth_nr=0, smooth_dr=1e-5, squared_pred=True, sigmoid=True)
    for _ in range(steps):
        drawn = [augment(cached[n])[0] for n in order.integers(len(cached), size=config.batch)]
        images, labels = (torch.stack([each[key].as_tensor() for each in drawn]) for key in keys)
        optimiser.zero_grad()
        loss_of(network(images), labels).backward()
        optimiser.step()
        schedule.step()
    return network


def dice_by_boneviz(
    network: torch.nn.Module, held_out: Sequence[Sample], config: TrainConfig
) -> float:
    return watched_dice(network, held_out, config, torch.device("cpu"))


def dice_by_monai(
    network: torch.nn.Module, held_out: Sequence[Sample], config: TrainConfig
) -> float:
    infer = SlidingWindowInferer(config.patch, 2, 0.25, mode="gaussian")
    network.eval()
    found = []
    with torch.inference_mode():
        for sample in held_out:
            mask = (infer(torch.from_numpy(sample.image)[None], network)[0, 0] > 0).numpy()
            both = int((mask & sample.lesion).sum())
            found.append(2 * both / (int(mask.sum()) + int(sample.lesion.sum())))
    return float(np.mean(found))


def soonest(measured: Sequence[dict], expert: str, dice: float) -> float:
    """Return the least CPU seconds after which boneviz's default fit is as good."""
    own = [m for m in measured if m["loop"] == "boneviz" and m["network"] == DEFAULT]
    enough = [m["cpu_s"] for m in own if m["expert"] == expert and m["dice"] >= dice]
    return min(enough, default=math.inf)


def table(measured: Sequence[dict]) -> list[str]:
    lines = [
        "| network | parameters | loop | steps | CPU s (A, B) | Dice A | Dice B "
        "| as good, boneviz's default needs | times sooner |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network, loop, steps in dict.fromkeys(
        (m["network"], m["loop"], m["steps"]) for m in measured
    ):
        a, b = (
            next(
                m
                for m in measured
                if (m["network"], m["loop"], m["steps"], m["expert"])
                == (network, loop, steps, expert)
            )
            for expert in EXPERTS
        )
        need = sooner = ""
        if (network, loop) != (DEFAULT, "boneviz"):
            least = [soonest(measured, m["expert"], m["dice"]) for m in (a, b)]
            need = ", ".join("more" if math.isinf(s) else f"{s:.0f} s" for s in least)
            sooner = ", ".join(f"{m['cpu_s'] / s:.1f}" for m, s in zip((a, b), least, strict=True))
        lines.append(
            f"| {network} | {a['parameters'] / 1e6:.1f} M | {loop} | {steps} "
            f"| {a['cpu_s']:.0f}, {b['cpu_s']:.0f} | {a['dice']:.3f} | {b['dice']:.3f} "
            f"| {need} | {sooner} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--so-far", action="store_true", help="measure nothing more")
    options = parser.parse_args()
    if not (ROOT / "cohort.toml").is_file():
        make_cohort(ROOT, n_patients=24, seed=7)
    deal_folds(Cohort.open(ROOT), n_folds=4, seed=0)
    killed = TrainingError("a fit was killed; run again to go on")
    todo = [] if options.so_far else [partial(measure, task) for task in TASKS]
    for found in as_done(todo, workers=2, killed=killed):
        print(json.dumps(found), flush=True)
    there = [task for task in TASKS if task.kept.is_file()]
    both = [t for t in there if all(replace(t, expert=e) in there for e in EXPERTS)]
    lacking = [task.name for task in TASKS if task not in both]
    text = "\n".join([machine(("monai", "torch")), "", *table([measure(t) for t in both])])
    if lacking:
        text += f"\n\nNot measured yet: {'; '.join(lacking)}."
    print(text)
    if options.write:
        write_results("training", text)


if __name__ == "__main__":
    main()
