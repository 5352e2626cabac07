"""A cross-validation killed at any moment goes on, and ends with the files of one that was not."""

from __future__ import annotations

import itertools
import multiprocessing
import shutil
import signal
import time
from pathlib import Path

import numpy as np
from small import limb, tiny_config, write_tiny_cohort

from boneviz.files import sha256_of

KILLS = 20
LIMBS = [
    limb("P01"),
    limb("P02", axes="lps", place=1),
    limb("P03", axes="oblique", place=2),
    limb("P04", place=1),
]


def cross_validate(root: Path) -> None:
    """Run two folds of two experts, with a state on disk after every step."""
    import torch

    from boneviz.cohort import Cohort
    from boneviz.crossval import plan, run

    torch.set_num_threads(1)
    cohort = Cohort.open(root)
    run(cohort, plan(cohort, tiny_config(steps=12, save_every=1), n_folds=2), progress=False)


def files_of(root: Path) -> dict[str, str]:
    """Return every file of a cohort, half-written ones too, with its SHA-256."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): sha256_of(path) for path in sorted(files)}


def test_killed_at_twenty_random_moments_it_ends_with_the_same_files(tmp_path: Path) -> None:
    # a server that has torch forks what is killed: no second start of torch, no shared threads
    context = multiprocessing.get_context("forkserver")
    # (torch imports _dynamo, a second's work, with its first optimiser)
    context.set_forkserver_preload(["boneviz.crossval", "torch._dynamo", "test_crossval_kills"])
    context.Process(target=int).start()
    fresh = write_tiny_cohort(tmp_path / "fresh", LIMBS).root
    whole = Path(shutil.copytree(fresh, tmp_path / "whole"))
    for root in (Path(shutil.copytree(fresh, tmp_path / "first")), whole):
        started = time.perf_counter()
        process = context.Process(target=cross_validate, args=(root,))
        process.start()
        process.join()
        took_s = time.perf_counter() - started  # of the second, the server being there
        assert process.exitcode == 0
    expected = files_of(whole)
    # 4 fits with weights, card, log; 2 models for 4 patients, each with probabilities and record
    assert sum(name.startswith("models/") for name in expected) == 12
    assert sum(name.startswith("predictions/") for name in expected) == 16

    moments = np.random.default_rng(20)
    killed_with: list[int] = []
    for cohort in itertools.count():
        if len(killed_with) >= KILLS:
            break
        root = Path(shutil.copytree(fresh, tmp_path / f"after{cohort}"))
        while True:
            process = context.Process(target=cross_validate, args=(root,))
            process.start()
            wanted = len(killed_with) < KILLS
            process.join(moments.uniform(0, took_s) if wanted else None)
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            killed_with.append(len(files_of(root)))
        assert files_of(root) == expected
    # moments of all kinds: nothing made yet, some models, some predictions
    assert len(set(killed_with)) >= 5
