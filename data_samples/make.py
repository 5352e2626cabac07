"""Make `data_samples/cohort` anew: synthetic patients, one model per expert, held-out predictions.

Run with `make samples`. Everything follows from the seeds below: 24 phantoms are made, split into
three folds, and one model per expert learns from two of them. The sample cohort is the third
fold, eight patients whom neither model has ever seen. About ten minutes on two cores; work in
between is kept in `runs/samples`, and an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from boneviz.checkpoint import load_checkpoint
from boneviz.cohort import Cohort
from boneviz.crossval import plan, predict_cohort, run
from boneviz.nifti import read_volume, write_volume
from boneviz.patches import TrainConfig
from boneviz.phantom import make_cohort

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "runs" / "samples"
N_PATIENTS, N_FOLDS, SEED = 24, 3, 7
HELD_OUT = 0
# the first seed of the folds that holds out each infection twice; picked before any training
FOLD_SEED = 11
CT_STEP_HU = 2
MAX_MB = 12
CONFIG = TrainConfig(seed=SEED)


def main() -> int:
    """Make phantoms, train, predict, and put the held-out fold in place of the old cohort."""
    cohort = make_cohort(WORK, n_patients=N_PATIENTS, seed=SEED)
    todo = plan(cohort, CONFIG, n_folds=N_FOLDS, only_folds=[HELD_OUT], seed=FOLD_SEED)
    cohort = run(cohort, todo, workers=2)

    patients = sorted(todo.folds.held_out(HELD_OUT))
    fresh = HERE / "cohort.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for patient in patients:
        shutil.copytree(WORK / patient, fresh / patient)
    (fresh / "models").mkdir()
    for model in cohort.models:
        for suffix in (".safetensors", ".json"):
            name = f"{model.key}_fold{HELD_OUT}{suffix}"
            shutil.copyfile(WORK / "models" / name, fresh / "models" / name)
    replace(cohort, name="boneviz sample cohort", root=fresh).save()

    sample = Cohort.open(fresh)
    for ref in sample:
        # a bit of noise less per voxel: without it the folder would be above 12 MB
        ct = read_volume(ref.ct, "HU")
        even = np.rint(ct.array / CT_STEP_HU) * CT_STEP_HU
        write_volume(replace(ct, array=even), ref.ct)
    for weights in sorted((fresh / "models").glob("*.safetensors")):
        predict_cohort(sample, {load_checkpoint(weights): sample.cases})
    shutil.rmtree(HERE / "cohort", ignore_errors=True)
    fresh.rename(HERE / "cohort")
    size_mb = sum(path.stat().st_size for path in HERE.rglob("*") if path.is_file()) / 1e6
    print(f"{len(sample)} patients, {size_mb:.1f} MB of at most {MAX_MB} in {HERE}")
    if size_mb > MAX_MB:
        raise SystemExit("too large: fewer patients, or a coarser CT_STEP_HU")
    return 0


if __name__ == "__main__":
    sys.exit(main())
