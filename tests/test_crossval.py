"""All fits of a cross-validation: folds shared, every prediction held out, nothing done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import (
    EXPERT_A,
    EXPERT_B,
    MODEL_A,
    MODEL_B,
    STRAIGHT,
    case_on,
    limb,
    put_into_counts,
    tiny_config,
    write_case,
    write_tiny_cohort,
)

from boneviz import crossval
from boneviz.cohort import Cohort
from boneviz.crossval import deal_folds, plan, predict_cohort, run
from boneviz.errors import CohortError, InputError
from boneviz.folds import Folds
from boneviz.fuse import FuseConfig
from boneviz.nifti import read_predictions, write_volume
from boneviz.train import model_of, weights_path
from boneviz.volume import Volume

CONFIG = tiny_config(steps=2)


def cohort_of(root: Path, voxels: dict[tuple[str, str], tuple[int, int]]) -> Cohort:
    """Write sessions whose experts outlined so many voxels of 0.024 mL each."""
    refs = []
    for (patient, session), counts in voxels.items():
        masks = {}
        for expert, count in zip((EXPERT_A, EXPERT_B), counts, strict=True):
            array = np.zeros(STRAIGHT.shape, dtype=bool)
            array.flat[:count] = True
            masks[expert] = Volume(array, STRAIGHT, "label")
        # a scan of one's own for each: air of -1000 HU and more, SUVbw 0 and more
        own = np.zeros(STRAIGHT.shape)
        own.flat[0] = len(refs)
        case = replace(
            case_on(STRAIGHT, masks=masks),
            patient_id=patient,
            session=session,
            ct=Volume((own - 1000).astype(np.int16), STRAIGHT, "HU"),
            pet=Volume(own.astype(np.float32), STRAIGHT, "SUVbw"),
        )
        refs.append(write_case(case, root))
    Cohort("Tiny", root, (EXPERT_A, EXPERT_B), tuple(refs)).save()
    return Cohort.open(root)


def test_sessions_of_one_patient_share_a_fold(tmp_path: Path) -> None:
    sessions = {(f"P{n}", s): (5 * n + 5, 5) for n in range(6) for s in ("S1", "S2")}
    cohort = cohort_of(tmp_path, sessions)
    folds = deal_folds(cohort, n_folds=3, seed=0)
    assert sorted(folds.of_patient) == [f"P{n}" for n in range(6)]
    held_out = [[r.case_id for r in cohort if r.patient_id in folds.held_out(f)] for f in range(3)]
    assert sorted(map(len, held_out)) == [4, 4, 4]
    for cases in held_out:
        assert {case[:2] + "_S1" for case in cases} | {case[:2] + "_S2" for case in cases} == set(
            cases
        )


@pytest.mark.parametrize("seed", range(5))
def test_folds_are_balanced_by_mean_volume_over_experts_and_sessions(
    tmp_path: Path, seed: int
) -> None:
    # means in voxels: P1 (10+30+2+2)/4 = 11, P2 (12+0)/2 = 6, P3 (0+40)/2 = 20, P4 (59+1)/2 = 30;
    # ranked P2, P1, P3, P4: strata {P2, P1} and {P3, P4}.
    # By A alone it would be P3, P2, P1, P4 (strata P3+P2), by the sum P2, P3, P1, P4
    cohort = cohort_of(
        tmp_path,
        {
            ("P1", "S1"): (10, 30),
            ("P1", "S2"): (2, 2),
            ("P2", ""): (12, 0),
            ("P3", ""): (0, 40),
            ("P4", ""): (59, 1),
        },
    )
    folds = deal_folds(cohort, n_folds=2, seed=seed).of_patient
    assert folds["P1"] != folds["P2"]
    assert folds["P3"] != folds["P4"]


def test_saved_folds_are_kept(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, {(f"P{n}", ""): (n, n) for n in range(6)})
    dealt = deal_folds(cohort, n_folds=3, seed=1)
    kept = Folds.load(tmp_path / "folds.json")
    assert dict(kept.of_patient) == dict(dealt.of_patient)
    # an outline that changed since does not move a patient to another fold
    for ref in cohort.cases[:2]:
        write_volume(Volume(np.ones(STRAIGHT.shape, bool), STRAIGHT, "label"), ref.masks[EXPERT_A])
    again = deal_folds(cohort, n_folds=3, seed=1)
    assert dict(again.of_patient) == dict(dealt.of_patient)


def test_folds_of_other_patients_or_another_number_are_refused(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, {(f"P{n}", ""): (n, n) for n in range(6)})
    deal_folds(cohort, n_folds=3, seed=1)
    with pytest.raises(
        CohortError, match=r"3 folds of 6 patients by seed 1, expected 2 of 6.*move folds\.json"
    ):
        deal_folds(cohort, n_folds=2, seed=1)
    with pytest.raises(CohortError, match="3 folds of 6 patients by seed 1, expected 3 of 5"):
        deal_folds(cohort.only(["P0", "P1", "P2", "P3", "P4"]), n_folds=3, seed=1)
    # other folds under the same name would be a silent change of plan
    with pytest.raises(CohortError, match="by seed 1, expected 3 of 6 by seed 2"):
        deal_folds(cohort, n_folds=3, seed=2)
    other = Folds({f"Q{n}": n % 3 for n in range(6)}, 0)
    other.save(tmp_path / "folds.json")
    with pytest.raises(CohortError, match=r"folds\.json: 3 folds of 6 patients.*start afresh"):
        deal_folds(cohort, n_folds=3, seed=1)


def test_a_plan_is_every_expert_in_every_fold(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, {(f"P{n}", ""): (n, n) for n in range(6)})
    todo = plan(cohort, CONFIG, n_folds=3)
    assert [(fit.fold, fit.expert) for fit in todo.fits] == [
        (fold, expert) for fold in range(3) for expert in ("Expert A", "Expert B")
    ]
    # the two experts' fits differ by one argument
    for a, b in zip(todo.fits[::2], todo.fits[1::2], strict=True):
        assert replace(a, expert="Expert B") == b
    some = plan(cohort, CONFIG, n_folds=3, only_folds=[2])
    assert [(fit.fold, fit.expert) for fit in some.fits] == [(2, "Expert A"), (2, "Expert B")]


def test_a_fold_that_is_not_there_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, {(f"P{n}", ""): (n, n) for n in range(4)})
    with pytest.raises(CohortError, match="fold 2: expected 0 to 1"):
        plan(cohort, CONFIG, n_folds=2, only_folds=[0, 2])


def test_a_pet_in_counts_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    cohort = cohort_of(tmp_path, {(f"P{n}", ""): (n, n) for n in range(4)})
    put_into_counts(cohort["P2"])
    for modalities in (None, ["ct", "pet"]):
        with pytest.raises(InputError, match="patient P2: PET in counts, expected SUVbw"):
            plan(cohort, CONFIG, n_folds=2, modalities=modalities)  # type: ignore[arg-type]
    assert len(plan(cohort, CONFIG, n_folds=2, modalities=["ct"]).fits) == 4


def test_without_an_expert_there_is_nothing_to_learn(tmp_path: Path) -> None:
    cohort = replace(cohort_of(tmp_path, {("P1", ""): (1, 1)}), readers=(MODEL_A,))
    with pytest.raises(CohortError, match="cohort Tiny has no expert: nobody's outlines to learn"):
        plan(cohort, CONFIG, n_folds=2)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Cohort:
    """Return a cohort of four patients, one with two sessions, cross-validated in two folds."""
    limbs = [
        limb("P01", "S1"),
        limb("P01", "S2", axes="lps", place=1),
        limb("P02", axes="oblique", place=2),
        limb("P03", place=1),
        limb("P04", axes="lps", place=2),
    ]
    cohort = write_tiny_cohort(tmp_path_factory.mktemp("done"), limbs)
    return run(cohort, plan(cohort, CONFIG, n_folds=2), progress=False)


def test_every_prediction_is_held_out_and_lies_on_its_ct(done: Cohort) -> None:
    folds = Folds.load(done.root / "folds.json")
    for ref in done:
        predictions = read_predictions(done, ref)
        assert [p.reader for p in predictions] == [MODEL_A, MODEL_B]
        for prediction in predictions:
            prediction.require_held_out()
            assert ref.patient_id in folds.held_out(prediction.fold)
            assert prediction.trained_on == folds.training(prediction.fold)
            assert prediction.demonstration
    limbs_grid = limb("P04", axes="lps", place=2).grid
    assert read_predictions(done, done["P04"])[0].probability.grid.matches(limbs_grid)


def test_the_models_join_the_saved_cohort(done: Cohort) -> None:
    assert done.models == (MODEL_A, MODEL_B)
    assert Cohort.open(done.root).readers == (EXPERT_A, EXPERT_B, MODEL_A, MODEL_B)


def test_what_is_finished_is_never_done_twice(
    done: Cohort, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(p for p in done.root.rglob("*") if p.is_file())
    before = [(p, p.stat().st_mtime_ns) for p in files]
    monkeypatch.setattr(crossval, "Predictors", None)
    again = run(Cohort.open(done.root), plan(done, CONFIG, n_folds=2), progress=False)
    assert again.readers == done.readers
    after = sorted(p for p in done.root.rglob("*") if p.is_file())
    assert [(p, p.stat().st_mtime_ns) for p in after] == before


def test_only_what_is_missing_is_predicted(done: Cohort, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = done.root / "predictions" / "model_b"
    (folder / "P01_S2.json").unlink()
    asked: list[str] = []
    read_case = crossval.read_case

    def watched(ref: Any, **options: Any) -> Any:
        asked.append(ref.case_id)
        return read_case(ref, **options)

    monkeypatch.setattr(crossval, "read_case", watched)
    run(done, plan(done, CONFIG, n_folds=2), progress=False)
    assert asked == ["P01_S2"]
    assert (folder / "P01_S2.json").is_file()


def test_another_models_prediction_is_replaced(done: Cohort, tmp_path: Path) -> None:
    one, other = (
        crossval.fit(done, Folds.load(done.root / "folds.json"), config, progress=False)
        for config in plan(done, CONFIG, n_folds=2, only_folds=[0, 1]).fits[::2]
    )
    case = [done["P02"]]
    for checkpoint in (one, other):
        folder = predict_cohort(done, {checkpoint: case}, folder=tmp_path / "out", progress=False)
        (found,) = read_predictions(done, case[0], folder=folder)
        assert (found.checkpoint_id, found.fold) == (checkpoint.checkpoint_id, checkpoint.fold)


def test_an_ablation_stands_beside_the_fused_models(done: Cohort) -> None:
    config = replace(CONFIG, fuse=FuseConfig(modality="ct"))
    grown = run(done, plan(done, config, n_folds=2, only_folds=[0]), progress=False)
    assert [model.name for model in grown.models] == [
        "Model A",
        "Model B",
        "Model A (CT only)",
        "Model B (CT only)",
    ]
    for fused, ct in zip(
        plan(grown, CONFIG, n_folds=2).fits[:2],
        plan(grown, config, n_folds=2).fits[:2],
        strict=True,
    ):
        assert model_of(grown, fused) != model_of(grown, ct)
        assert weights_path(grown, fused).is_file()
        assert weights_path(grown, ct).is_file()
        assert weights_path(grown, fused) != weights_path(grown, ct)
