"""Folds by patient: balanced, each patient once, the same again from the same seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boneviz.errors import CohortError
from boneviz.folds import Folds

#: twelve patients of 1 to 12 mL, not in order
SIZES = {f"P{n:02}": float((5 * n) % 12 + 1) for n in range(12)}


def test_each_fold_holds_one_patient_of_each_stratum() -> None:
    # ranked by size, strata of 4: 1-4 mL, 5-8 mL, 9-12 mL; one of each goes to each of 4 folds
    folds = Folds.deal(SIZES, n_folds=4, seed=1)
    for fold in range(4):
        sizes = sorted(SIZES[patient] for patient in folds.held_out(fold))
        assert len(sizes) == 3
        assert 1 <= sizes[0] <= 4
        assert 5 <= sizes[1] <= 8
        assert 9 <= sizes[2] <= 12


@given(
    sizes=st.dictionaries(st.text(min_size=1, max_size=4), st.floats(0, 900), min_size=2),
    n_folds=st.integers(2, 6),
    seed=st.integers(0, 2**32),
)
def test_every_patient_is_held_out_exactly_once(
    sizes: dict[str, float], n_folds: int, seed: int
) -> None:
    n_folds = min(n_folds, len(sizes))
    folds = Folds.deal(sizes, n_folds=n_folds, seed=seed)
    held_out = [folds.held_out(fold) for fold in range(n_folds)]
    assert sorted(p for fold in held_out for p in fold) == sorted(sizes)
    assert max(map(len, held_out)) - min(map(len, held_out)) <= 1
    for fold in range(n_folds):
        assert folds.training(fold) == set(sizes) - held_out[fold]


def test_the_seed_alone_decides() -> None:
    # neither the order in which patients are named nor anything else
    again = Folds.deal(dict(reversed(SIZES.items())), n_folds=4, seed=1)
    assert dict(Folds.deal(SIZES, n_folds=4, seed=1).of_patient) == dict(again.of_patient)
    others = [dict(Folds.deal(SIZES, n_folds=4, seed=seed).of_patient) for seed in range(2, 6)]
    assert any(other != dict(again.of_patient) for other in others)


@pytest.mark.parametrize(
    ("n_folds", "says"),
    [
        (1, "1 folds for 12 patients: expected at least 2"),
        (13, "13 folds for 12 patients.*at least one patient for each"),
    ],
)
def test_impossible_numbers_of_folds_are_refused(n_folds: int, says: str) -> None:
    with pytest.raises(CohortError, match=says):
        Folds.deal(SIZES, n_folds=n_folds, seed=0)


@pytest.mark.parametrize(
    ("of_patient", "says"),
    [
        ({"P1": 0, "P2": 0}, r"folds \[0\]: expected at least two"),
        ({"P1": 0, "P2": 2}, r"folds \[0, 2\]: .*numbered from 0 without a gap"),
        ({"P1": 1, "P2": 2}, r"folds \[1, 2\]"),
    ],
)
def test_folds_with_gaps_are_refused(of_patient: dict[str, int], says: str) -> None:
    with pytest.raises(CohortError, match=says):
        Folds(of_patient, 0)


@pytest.mark.parametrize("fold", [-1, 4])
def test_a_fold_that_is_not_there_is_refused(fold: int) -> None:
    folds = Folds.deal(SIZES, n_folds=4, seed=1)
    for ask in (folds.held_out, folds.training):
        with pytest.raises(CohortError, match=f"fold {fold}: expected 0 to 3"):
            ask(fold)


def test_saved_folds_come_back(tmp_path: Path) -> None:
    folds = Folds.deal({'P "1"': 1.0, "Pä\n2": 2.0, "P3": 3.0}, n_folds=3, seed=7)
    folds.save(tmp_path / "folds.json")
    back = Folds.load(tmp_path / "folds.json")
    assert back.seed == 7
    assert dict(back.of_patient) == dict(folds.of_patient)


def test_missing_folds_say_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"folds.json: no such folds file; run `boneviz crossval"):
        Folds.load(tmp_path / "folds.json")


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        "{}",
        '{"of_patient": 3, "seed": 0}',
        json.dumps({"of_patient": {"P1": "x"}}),
        '{"of_patient": {"P1": 1e999}, "seed": 0}',
        pytest.param("[" * 50_000, id="deep"),
    ],
)
def test_a_damaged_folds_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "folds.json"
    path.write_text(content)
    with pytest.raises(CohortError, match=r"folds\.json: not a folds file.*delete it and run"):
        Folds.load(path)
