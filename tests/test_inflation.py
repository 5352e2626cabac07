"""Slice-level evaluation with slice-level folds beside patient-level 3D, on the same outlines."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from small import EXPERT_A, EXPERT_B, limb, write_case, write_tiny_cohort
from test_readings import give_predictions

from boneviz import slicefit
from boneviz.case import CaseRef
from boneviz.cli import main
from boneviz.cohort import Cohort
from boneviz.errors import CheckpointError, CohortError, InputError, TrainingError
from boneviz.folds import Folds
from boneviz.inflation import COLUMNS, Inflation, count_slices
from boneviz.nifti import write_volume
from boneviz.slicecross import measure_inflation
from boneviz.slices import (
    SliceCase,
    SliceConfig,
    batch_of_slices,
    digest_of,
    folds_by_patient,
    folds_by_slice,
    read_slices,
    training_slices,
)
from boneviz.volume import Volume

CONFIG = SliceConfig(
    steps=4, batch=2, side=16, spacing_mm=(6.0, 6.0, 6.0), filters=(4, 8), save_every=2
)

# Voxels per slice in the reference R, in the candidate C and in both B, of two patients of one
# expert; P2's slices are a third of P1's size, as grids differ between patients.
#
#   P1   R  C  B   Dice of the slice           P2   R  C  B   Dice
#   z0   0  0  0   empty twice: 1              z0   0  0  0   1
#   z1   8  8  6   12/16 = 0.75                z1   4  0  0   missed: 0
#   z2   2  0  0   0                           z2   0  0  0   1
#   z3   0  2  0   0 (false alarm)
#
# all slices      (1 + 0.75 + 0 + 0 + 1 + 0 + 1) / 7 = 3.75/7
# with lesion     (0.75 + 0 + 0) / 3 = 0.25
# P1 in 3D        2*6 / (10 + 10) = 0.6;  P2 in 3D  0;  mean 0.3, SD 0.6/sqrt(2)
P1 = [(0, 0, 0), (8, 8, 6), (2, 0, 0), (0, 2, 0)]
P2 = [(0, 0, 0), (4, 0, 0), (0, 0, 0)]
# and with patient folds P1 is outlined worse, P2 not at all
#   P1 in 3D   2*2 / (10 + 10) = 0.2: the leak is 0.4 in P1, 0 in P2, 0.2 on average
P1_BY_PATIENT = [(0, 0, 0), (8, 10, 2), (2, 0, 0), (0, 0, 0)]


def counts_of(
    by_slice: dict[str, list[tuple[int, int, int]]],
    by_patient: dict[str, list[tuple[int, int, int]]],
) -> pd.DataFrame:
    """Return the counts of Expert A; a patient's name may end in ``/SESSION``."""
    rows = [
        ("Expert A", kind, *(case.split("/") if "/" in case else (case, "")), z, 0, *counts)
        for kind, cases in (("slice", by_slice), ("patient", by_patient))
        for case, slices in cases.items()
        for z, counts in enumerate(slices)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def found_of(
    by_slice: dict[str, list[tuple[int, int, int]]],
    by_patient: dict[str, list[tuple[int, int, int]]] | None = None,
) -> Inflation:
    counts = counts_of(by_slice, by_slice if by_patient is None else by_patient)
    return Inflation(counts, n_folds=2, steps=4, spacing_mm=(2.0, 3.0, 4.0))


WORKED = found_of({"P1": P1, "P2": P2}, {"P1": P1_BY_PATIENT, "P2": P2})


def test_counts_are_of_axial_slices() -> None:
    # 2 x 3 x 4 voxels: a swapped axis would give 2 or 3 rows
    reference, candidate = np.zeros((2, 3, 4), bool), np.zeros((2, 3, 4), bool)
    reference[:, 0, 1] = True  # 2 voxels in slice 1
    reference[0, :, 3] = True  # 3 in slice 3
    candidate[1, :, 1] = True  # 3 in slice 1, of which (1, 0, 1) is shared
    candidate[0, 1:, 3] = True  # 2 in slice 3, both shared
    assert count_slices(reference, candidate).tolist() == [
        [0, 0, 0],
        [2, 3, 1],
        [0, 0, 0],
        [3, 2, 2],
    ]
    with pytest.raises(InputError, match=r"\(2, 3, 4\) and \(2, 3, 3\): expected one"):
        count_slices(reference, candidate[..., :3])


def test_slices_and_patients_are_averaged_each_in_their_way() -> None:
    table = WORKED.table().set_index(["folds", "evaluation"])
    by_slice = table.loc["slice"]
    assert by_slice["mean"].tolist() == pytest.approx([3.75 / 7, 0.25, 0.3])
    assert by_slice["n"].tolist() == [7, 3, 2]
    assert by_slice["of"].tolist() == ["slices", "slices", "patients"]
    assert by_slice["sd"].iloc[2] == pytest.approx(0.6 / math.sqrt(2))
    # z1 of P1: 4/18; all (1 + 4/18 + 0 + 1 + 1 + 0 + 1)/7, with lesion (4/18 + 0 + 0)/3
    assert table.loc["patient"]["mean"].tolist() == pytest.approx(
        [(4 + 4 / 18) / 7, 4 / 18 / 3, 0.1]
    )
    assert WORKED.per_patient("Expert A").to_dict("list") == {
        "slice": pytest.approx([0.6, 0]),
        "patient": pytest.approx([0.2, 0]),
    }


def test_a_network_that_outlines_nothing_is_flattered_by_empty_slices() -> None:
    # one lesion of two slices in ten, missed altogether: 0.8 over slices, 0 in 3D
    nothing = [(0, 0, 0)] * 8 + [(5, 0, 0)] * 2
    found = found_of({"P1": nothing, "P2": nothing})
    assert found.table()["mean"].tolist() == pytest.approx([0.8, 0, 0] * 2)
    assert found.difference("Expert A", "counting slices").mean == pytest.approx(0.8)
    assert found.difference("Expert A", "leak").mean == 0
    assert "80 % of slices are empty for both and count as 1, 0 % hold a false" in found.words
    assert "lowers" not in found.words


def test_a_network_that_raises_false_alarms_is_not_flattered_by_counting_slices() -> None:
    # a lesion of 90 voxels found whole, one voxel too many in four slices of five:
    # 0.2 over slices, 2*90 / (90 + 94) in 3D
    alarms = [(0, 1, 0)] * 4 + [(90, 90, 90)]
    found = found_of({"P1": alarms, "P2": alarms})
    counting = found.difference("Expert A", "counting slices")
    assert counting.mean == pytest.approx(0.2 - 180 / 184)
    assert "0 % of slices are empty for both and count as 1, 80 % hold a false" in found.words
    assert "counting does not flatter here: it lowers Dice" in found.words


def test_the_leak_and_the_counting_add_up_to_both() -> None:
    leak, counting, both = (
        WORKED.difference("Expert A", name) for name in ("leak", "counting slices", "both")
    )
    assert leak.mean == pytest.approx(0.2)
    assert counting.mean == pytest.approx(3.75 / 7 - 0.3)
    assert both.mean == pytest.approx(3.75 / 7 - 0.1)
    assert both.mean == pytest.approx(leak.mean + counting.mean)
    # patients drawn: P1 twice 0.4, P2 twice 0, one of each 0.2, by a quarter, a quarter, a half
    assert (leak.low, leak.high) == pytest.approx((0, 0.4))
    # per slice, P1 twice 1.75/4 - 0.6, P2 twice 2/3 - 0
    assert (counting.low, counting.high) == pytest.approx((1.75 / 4 - 0.6, 2 / 3))
    # of two differences one is 0: no sign can be told from the other
    assert leak.p == 1
    assert math.isnan(both.p)
    # each kind of folds comes in an order of its own, and the same patients are drawn for both
    turned = replace(WORKED, counts=WORKED.counts.iloc[::-1])
    assert turned.difference("Expert A", "leak") == leak
    by_patient_first = WORKED.counts["folds"].eq("patient")
    mixed = pd.concat([WORKED.counts[~by_patient_first], WORKED.counts[by_patient_first][::-1]])
    assert replace(WORKED, counts=mixed).difference("Expert A", "leak") == leak
    assert WORKED.differences()["difference"].tolist() == [
        "leak",
        *("counting slices", "both") * 2,
    ]


def test_the_test_of_the_leak_is_paired_by_patient() -> None:
    # in seven patients Dice is 1 with slice folds and 2*4/(8 + 8) = 0.5 with patient folds;
    # all signs agree: p = 2/2^7
    names = [f"P{n}" for n in range(7)]
    found = found_of({name: [(8, 8, 8)] for name in names}, {name: [(8, 8, 4)] for name in names})
    leak = found.difference("Expert A", "leak")
    assert leak.p == pytest.approx(2 / 2**7)
    assert str(leak) == "+0.500 [+0.500, +0.500]"
    assert (
        "The leak alone: +0.500 [+0.500, +0.500], higher in 7 of 7 patients, sign-flip p = 0.0156. "
        "It flatters. Counting" in found.words
    )
    # the other way round the words follow the numbers
    turned = found_of({name: [(8, 8, 4)] for name in names}, {name: [(8, 8, 8)] for name in names})
    assert "Here it does not flatter: Dice is lower with slice folds." in turned.words


def test_sessions_are_averaged_and_a_patient_without_lesion_is_left_out() -> None:
    # P1: sessions of Dice 0.6 and 1, 0.8 in all; P3 has no lesion, and an alarm of 4 voxels
    cases = {"P1/S1": P1, "P1/S2": [(1, 1, 1)], "P2": P2, "P3": [(0, 4, 0), (0, 0, 0)]}
    found = found_of(cases)
    assert found.per_patient("Expert A")["slice"].tolist() == pytest.approx(
        [0.8, 0, math.nan], nan_ok=True
    )
    table = found.table().set_index(["folds", "evaluation"])
    assert table.loc[("slice", "per patient, 3D"), "n"] == 2
    assert table.loc[("slice", "per slice, all"), "n"] == 4 + 1 + 3 + 2
    assert "1 without lesion, where Dice in 3D is undefined" in found.words
    assert "outlined something in 1 of them" in found.words


def test_the_words_say_whose_n_it_is() -> None:
    words = WORKED.words
    assert "n is patients" in words
    assert "an SD over slices says nothing about how patients differ" in words
    assert "2 folds and 4 steps, on slices of 2 x 3 x 4 mm" in words
    assert "That it flatters is not shown here." in words
    assert "with n = 1 no p below 0.05 is possible" in words
    assert "phantoms" not in words
    assert "on phantoms." in replace(WORKED, synthetic=True).words
    empty = found_of({"P1": [(0, 0, 0)]})
    assert empty.words.startswith("Expert A: no patient with a lesion")


def test_a_3d_model_stands_beside() -> None:
    with_model = replace(
        WORKED, models={"Expert A": pd.Series({"P1": 0.5, "P2": 0.7, "P3": math.nan})}
    )
    row = with_model.table().iloc[-1]
    assert (row["network"], row["folds"], row["evaluation"]) == ("3D", "patient", "per patient, 3D")
    assert (row["mean"], row["n"]) == (pytest.approx(0.6), 2)


def test_counts_that_are_not_of_the_same_slices_are_refused() -> None:
    counts = counts_of({"P1": P1}, {"P1": P1_BY_PATIENT})
    with pytest.raises(InputError, match="different slices or outlines: expected every slice"):
        replace(WORKED, counts=counts.iloc[1:])
    with pytest.raises(InputError, match="without shared, folds by patient, slice"):
        replace(WORKED, counts=counts.drop(columns="shared"))
    with pytest.raises(InputError, match="folds by slice: expected"):
        replace(WORKED, counts=counts[counts["folds"].eq("slice")])
    with pytest.raises(InputError, match="no outlines of 'Expert C'; there are Expert A"):
        WORKED.per_slice("Expert C", "slice")
    with pytest.raises(InputError, match="folds by 'case': expected by slice or patient"):
        WORKED.per_slice("Expert A", "case")
    with pytest.raises(InputError, match="evaluation 'per lesion': expected one of per slice, all"):
        WORKED.difference("Expert A", "both", "per lesion")  # type: ignore[arg-type]


def cases_of(n_slices: dict[str, int]) -> tuple[SliceCase, ...]:
    """Return cases of 24 x 20 voxels in plane; the k-th slice of all holds 1.25^k everywhere.

    Lesion of A in the two middle slices: voxels 6 to 9 by 4 to 7.
    """
    cases: list[SliceCase] = []
    for patient, n in n_slices.items():
        first = sum(case.n_slices for case in cases)
        value = np.minimum(1.25 ** np.arange(first, first + n), 6e4)  # float16 ends at 65504
        image = np.broadcast_to(value, (2, 24, 20, n)).astype(np.float16)
        lesion = np.zeros((24, 20, n), bool)
        lesion[6:10, 4:8, n // 2 - 1 : n // 2 + 1] = True
        cases.append(SliceCase(patient, "", image, {"Expert A": lesion}))
    return tuple(cases)


def test_folds_by_slice_put_neighbours_on_both_sides_and_folds_by_patient_never_do() -> None:
    cases = cases_of({"P1": 20, "P2": 17, "P3": 11, "P4": 12})
    by_slice = folds_by_slice(cases, n_folds=4, seed=0)
    assert [fold.shape for fold in by_slice] == [(20,), (17,), (11,), (12,)]
    # 60 slices in 4 folds
    assert np.bincount(np.concatenate(by_slice)).tolist() == [15] * 4
    for of_slice in by_slice:
        apart = of_slice[1:] != of_slice[:-1]
        assert apart.mean() > 0.5  # 3/4 are expected of chance
    by_patient = folds_by_patient(cases, Folds({"P1": 0, "P2": 1, "P3": 0, "P4": 1}, 0))
    assert [set(fold.tolist()) for fold in by_patient] == [{0}, {1}, {0}, {1}]
    again = folds_by_slice(cases, n_folds=4, seed=0)
    assert all(np.array_equal(a, b) for a, b in zip(by_slice, again, strict=True))
    other = folds_by_slice(cases, n_folds=4, seed=1)
    assert not np.array_equal(by_slice[0], other[0])


@pytest.mark.parametrize("kind", ["slice", "patient"])
def test_a_slice_that_is_held_out_is_never_learned_from(kind: str) -> None:
    cases = cases_of({"P1": 8, "P2": 6, "P3": 10})
    dealt = (
        folds_by_slice(cases, n_folds=2, seed=1)
        if kind == "slice"
        else folds_by_patient(cases, Folds({"P1": 0, "P2": 1, "P3": 1}, 0))
    )
    held_out = np.flatnonzero(np.concatenate(dealt) == 0)
    training = training_slices(cases, dealt, 0, "Expert A")
    assert len(training[0]) + len(held_out) == 24
    seen: set[int] = set()
    for step in range(60):
        images, _ = batch_of_slices(cases, training, "Expert A", CONFIG, step=step)
        # a gain of 0.9 to 1.1 is less than half a slice: log 0.9 / log 1.25 = -0.47, log 1.1 0.43
        seen |= set(np.rint(np.log(images[:, 0].max(axis=(1, 2))) / np.log(1.25)).astype(int))
    assert len(seen) > 8
    assert seen.isdisjoint(held_out.tolist())


def test_windows_depend_on_seed_and_step_and_every_other_one_holds_lesion() -> None:
    cases = cases_of({"P1": 8, "P2": 6})
    dealt = folds_by_patient(cases, Folds({"P1": 0, "P2": 1}, 0))
    training = training_slices(cases, dealt, 0, "Expert A")
    assert training[1].tolist() == [False, False, True, True, False, False]
    config = replace(CONFIG, batch=4)
    images, lesions = batch_of_slices(cases, training, "Expert A", config, step=0)
    assert (images.shape, lesions.shape) == ((4, 2, 16, 16), (4, 1, 16, 16))
    assert images.dtype == lesions.dtype == np.float32
    # the 4 x 4 lesion and its window of 16, off by at most 12 less 8: some of it is always inside
    assert (lesions.sum(axis=(1, 2, 3))[::2] > 0).all()
    again = batch_of_slices(cases, training, "Expert A", config, step=0)
    assert np.array_equal(images, again[0])
    assert not np.array_equal(
        images, batch_of_slices(cases, training, "Expert A", config, step=1)[0]
    )
    # a slice smaller than a window is surrounded by air
    wide, _ = batch_of_slices(cases, training, "Expert A", replace(config, side=32), step=0)
    assert (wide[:, :, :4] == 0).all()
    assert (wide[..., :6] == 0).all()


def test_the_digest_tells_a_changed_outline() -> None:
    cases = cases_of({"P1": 4})
    lesion = cases[0].lesions["Expert A"].copy()
    lesion[0, 0, 0] = True
    changed = replace(cases[0], lesions={"Expert A": lesion})
    assert digest_of(cases) == digest_of(cases_of({"P1": 4})) != digest_of([changed])


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match=r"steps 0.*expected all above 0"):
        SliceConfig(steps=0)
    with pytest.raises(InputError, match="side 18: expected a multiple of 4 voxels"):
        SliceConfig(side=18)
    with pytest.raises(InputError, match=r"filters \(8,\): expected at least two"):
        SliceConfig(filters=(8,))
    with pytest.raises(InputError, match="seed -1: expected 0 or more"):
        SliceConfig(seed=-1)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Inflation]:
    """Return a cohort of four patients, one with two sessions, measured in two folds."""
    limbs = [
        limb("P01", "S1"),
        limb("P01", "S2", axes="lps", place=1),
        limb("P02", axes="oblique", place=2),
        limb("P03", place=1),
        limb("P04", axes="lps", place=2),
    ]
    cohort = write_tiny_cohort(tmp_path_factory.mktemp("done"), limbs)
    return cohort, measure_inflation(cohort, CONFIG, n_folds=2, progress=False)


def files_of(cohort: Cohort) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((cohort.root / "inflation").iterdir())}


def test_every_slice_is_outlined_once_with_each_kind_of_folds(
    done: tuple[Cohort, Inflation],
) -> None:
    cohort, found = done
    cases = read_slices(cohort, CONFIG, progress=False)
    n_slices = sum(case.n_slices for case in cases)
    sizes = found.counts.groupby(["expert", "folds"]).size()
    assert sizes.to_dict() == {
        (expert, folds): n_slices
        for expert in ("Expert A", "Expert B")
        for folds in ("patient", "slice")
    }
    # the counts of the reference are those of the outlines, slice by slice
    last = found.counts.query("patient_id == 'P04' and expert == 'Expert B' and folds == 'slice'")
    expected = cases[-1].lesions["Expert B"].sum(axis=(0, 1))
    assert last.sort_values("slice")["reference"].tolist() == expected.tolist()
    # each by the fold that holds it out: the cohort's own, or slices of both folds
    folds = Folds.load(cohort.root / "folds.json")
    for patient, rows in found.counts.query("folds == 'patient'").groupby("patient_id"):
        assert set(rows["fold"]) == {folds.of_patient[str(patient)]}
    for _, rows in found.counts.query("folds == 'slice'").groupby("patient_id"):
        assert set(rows["fold"]) == {0, 1}


def test_what_is_finished_is_never_done_twice(
    done: tuple[Cohort, Inflation], monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, found = done
    before = files_of(cohort)
    assert len(before) == 2 * 2 * 2 * 2  # experts, folds, kinds; weights and card
    monkeypatch.setattr(slicefit, "UNet", None)
    again = measure_inflation(cohort, CONFIG, progress=False)  # as many folds as are saved
    pd.testing.assert_frame_equal(again.counts, found.counts)
    assert files_of(cohort) == before


@pytest.mark.parametrize("steps_before", [1, 3])
def test_a_fit_that_was_stopped_ends_with_the_same_bytes(
    done: tuple[Cohort, Inflation], monkeypatch: pytest.MonkeyPatch, steps_before: int
) -> None:
    cohort, _ = done
    before = files_of(cohort)
    stem = "expert_b_by_slice_fold1"
    for suffix in (".json", ".safetensors"):
        (cohort.root / "inflation" / (stem + suffix)).unlink()
    whole = slicefit.batch_of_slices

    def stopping(*args: object, step: int) -> object:
        if step == steps_before:
            raise KeyboardInterrupt
        return whole(*args, step=step)  # type: ignore[arg-type]

    monkeypatch.setattr(slicefit, "batch_of_slices", stopping)
    with pytest.raises(KeyboardInterrupt):
        measure_inflation(cohort, CONFIG, progress=False)
    # a state is kept after every second step
    state = cohort.root / "inflation" / f"{stem}.state.safetensors"
    assert state.is_file() == (steps_before > 2)
    first: list[int] = []

    def noting(*args: object, step: int) -> object:
        first.append(step)
        return whole(*args, step=step)  # type: ignore[arg-type]

    monkeypatch.setattr(slicefit, "batch_of_slices", noting)
    measure_inflation(cohort, CONFIG, progress=False)
    assert first[0] == (2 if steps_before > 2 else 0)
    assert files_of(cohort) == before


def test_fits_with_other_settings_or_data_are_refused(
    done: tuple[Cohort, Inflation], tmp_path: Path
) -> None:
    shutil.copytree(done[0].root, tmp_path / "copy")
    cohort = Cohort.open(tmp_path / "copy")
    with pytest.raises(
        CheckpointError, match="a finished fit with other steps 4, expected 5; move inflation/ away"
    ):
        measure_inflation(cohort, replace(CONFIG, steps=5), progress=False)
    # how often a state is written changes no result
    measure_inflation(cohort, replace(CONFIG, save_every=3), progress=False)
    with pytest.raises(CohortError, match="2 folds of 4 patients by seed 0, expected 3 of 4"):
        measure_inflation(cohort, CONFIG, n_folds=3, progress=False)

    mask = cohort["P03"].masks[EXPERT_A]
    grid = limb("P03", place=1).grid
    write_volume(Volume(np.ones(grid.shape, bool), grid, "label"), mask)
    with pytest.raises(CheckpointError, match="a finished fit with other data; move inflation/"):
        measure_inflation(cohort, CONFIG, progress=False)

    card = next((cohort.root / "inflation").glob("*fold0.json"))
    card.write_text(json.dumps({"settings": {}}))
    with pytest.raises(CheckpointError, match=r"not the card of a 2D fit .*delete it to fit again"):
        measure_inflation(cohort, CONFIG, progress=False)


def test_too_few_patients_or_nothing_to_learn_is_said_before_any_fit(tmp_path: Path) -> None:
    one = write_tiny_cohort(tmp_path / "one", [limb("P01", "S1"), limb("P01", "S2", place=1)])
    with pytest.raises(CohortError, match="has 1 patient: expected at least two"):
        measure_inflation(one, CONFIG, progress=False)

    cohort = write_tiny_cohort(tmp_path / "two", [limb("P01"), limb("P02", place=1)])
    with pytest.raises(CohortError, match="4 folds for 2 patients"):
        measure_inflation(cohort, CONFIG, progress=False)
    grid = limb("P01").grid
    nothing = Volume(np.zeros(grid.shape, bool), grid, "label")
    for ref in cohort:
        write_volume(nothing, ref.masks[EXPERT_B])
    with pytest.raises(
        TrainingError, match=r"Expert B outlined no lesion in the \d+ slices .*fold 0 by slice"
    ):
        measure_inflation(cohort, CONFIG, n_folds=2, progress=False)
    assert not (cohort.root / "inflation").exists()

    with pytest.raises(CohortError, match="has no expert: nobody's outlines"):
        measure_inflation(replace(cohort, readers=()), CONFIG, n_folds=2, progress=False)
    lacking = replace(cohort, cases=tuple(without_b(ref) for ref in cohort))
    with pytest.raises(CohortError, match="patient P01: no mask of Expert B; every patient needs"):
        measure_inflation(lacking, CONFIG, n_folds=2, progress=False)


def without_b(ref: CaseRef) -> CaseRef:
    return replace(ref, masks={EXPERT_A: ref.masks[EXPERT_A]})


def test_the_command_prints_table_and_words_and_writes_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cohort = write_tiny_cohort(tmp_path / "tiny", [limb("P01"), limb("P02", place=1)])
    give_predictions(cohort)
    table = tmp_path / "table.csv"
    command = ["inflation", str(cohort.root), "--folds", "2", "--steps", "2", "--quiet"]
    assert main([*command, "--out", str(table)]) == 0
    said = capsys.readouterr().out
    for words in ("per slice, with lesion", "leak", "n is patients", "2 folds and 2 steps"):
        assert words in said
    rows = pd.read_csv(table)
    assert rows["network"].value_counts().to_dict() == {"2D": 12, "3D": 2}
    assert set(rows["expert"]) == {"Expert A", "Expert B"}
    assert main([*command, "--out", str(tmp_path / "table.txt")]) == 1
    assert "expected a file name ending in .parquet or .csv" in capsys.readouterr().err
    assert main(["inflation", str(write_case_alone(tmp_path)), "--quiet"]) == 1
    assert "has 1 patient: expected at least two" in capsys.readouterr().err


def write_case_alone(tmp_path: Path) -> Path:
    """Return a folder with one patient's files and no cohort.toml."""
    write_case(limb("P09").case(seed=9), tmp_path / "alone")
    return tmp_path / "alone" / "P09"
