"""How soon a fit is how good: MONAI's networks in boneviz's loop, and a tutorial's loop beside it.

    python benchmarks/training.py [--write]

Fold 0 of 24 phantoms (seed 7), each expert, one thread a fit, two fits side by side. A fit is given
CPU seconds: it takes as many steps as they hold at the pace of a few first ones, so that its
schedule ends with them. Dice is of the held-out patients in 3D at the network's spacing.

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
from collections.abc import Callable, Sequence
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
    "UNet, folded, twice as wide": NetConfig(filters=(32, 64, 128, 256)),
    "UNet, full resolution": NetConfig(unshuffle=1),
    "DynUNet, folded": NetConfig("dynunet"),
    "SegResNet, folded": NetConfig("segresnet"),
}
EXPERTS = ("Expert A", "Expert B")
BUDGETS_S = (25, 50, 100)
RATES = (1e-4, 1e-3)
PACE_STEPS = 6


@dataclass(frozen=True)
class Task:
    """One fit: a network by boneviz's loop, or at some rate by the tutorial's."""

    network: str
    expert: str
    budget_s: float
    rate: float | None = None

    @property
    def loop(self) -> str:
        return "boneviz" if self.rate is None else f"tutorial, Adam {self.rate:g}"

    @property
    def name(self) -> str:
        return f"{self.network}, {self.loop}, {self.expert}, {self.budget_s:g} s"


TASKS = [
    *(Task(DEFAULT, expert, s) for s in BUDGETS_S for expert in EXPERTS),
    *(Task(DEFAULT, e, 100, rate) for rate in RATES for e in EXPERTS),
    *(Task(name, expert, 50) for name in NETWORKS if name != DEFAULT for expert in EXPERTS),
    *(Task(DEFAULT, e, 200, RATES[-1]) for e in EXPERTS),
]


def measure(task: Task) -> dict[str, object]:
    """Train, predict who was held out, keep and return what was found."""
    kept = ROOT / "measured" / f"{task.name}.json"
    if kept.is_file():
        return dict(json.loads(kept.read_text()))
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
    few, more = (cpu_s(partial(train, n, cohort.root / f"{n}")) for n in (2, 2 + PACE_STEPS))
    steps = max(PACE_STEPS, round(task.budget_s * PACE_STEPS / (more - few)))
    began = time.process_time()
    network = train(steps, cohort.root)
    spent = time.process_time() - began
    predict = dice_by_boneviz if task.rate is None else dice_by_monai
    found = {
        "network": task.network,
        "loop": task.loop,
        "expert": task.expert,
        "budget_s": task.budget_s,
        "cpu_s": round(spent, 1),
        "steps": steps,
        "parameters": sum(weights.numel() for weights in network.parameters()),
        "dice": round(predict(network, held_out, config), 4),
    }
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(found))
    return found


def cpu_s(call: Callable[[], object]) -> float:
    began = time.process_time()
    call()
    return time.process_time() - began


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
        "| network | parameters | loop | CPU seconds given | steps | Dice A | Dice B "
        "| as good as boneviz's default in (A, B) | times sooner (A, B) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    kinds = dict.fromkeys((m["network"], m["loop"], m["budget_s"]) for m in measured)
    for network, loop, budget_s in kinds:
        a, b = (
            next(
                m
                for m in measured
                if (m["network"], m["loop"], m["budget_s"], m["expert"])
                == (network, loop, budget_s, expert)
            )
            for expert in EXPERTS
        )
        sooner = ["", ""]
        if (network, loop) != (DEFAULT, "boneviz"):
            need = [soonest(measured, m["expert"], m["dice"]) for m in (a, b)]
            sooner = [
                ", ".join("never" if math.isinf(s) else f"{s:.0f} s" for s in need),
                ", ".join(f"{m['cpu_s'] / s:.1f}" for m, s in zip((a, b), need, strict=True)),
            ]
        lines.append(
            f"| {network} | {a['parameters'] / 1e6:.1f} M | {loop} | {budget_s:g} "
            f"| {a['steps']}, {b['steps']} | {a['dice']:.3f} | {b['dice']:.3f} "
            f"| {sooner[0]} | {sooner[1]} |"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    if not (ROOT / "cohort.toml").is_file():
        make_cohort(ROOT, n_patients=24, seed=7)
    deal_folds(Cohort.open(ROOT), n_folds=4, seed=0)
    killed = TrainingError("a fit was killed; run again to go on")
    for found in as_done((partial(measure, t) for t in TASKS), workers=2, killed=killed):
        print(json.dumps(found), flush=True)
    measured = [measure(task) for task in TASKS]
    text = "\n".join([machine(("monai", "torch")), "", *table(measured)])
    print(text)
    if options.write:
        write_results("training", text)


if __name__ == "__main__":
    main()
