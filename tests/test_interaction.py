import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from boneviz.errors import InputError
from boneviz.interaction import Interaction, interaction_of, rank_biserial, sign_flip


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        # the eight sums of +-1 +-2 +-3 are 6, 4, 2, 0 and their negatives, 0 twice
        pytest.param([1, 2, 3], 2 / 8, id="all one way: only 6 and -6 are as far"),
        pytest.param([-1, 2, 3], 4 / 8, id="sum 4"),
        pytest.param([1, -2, 3], 6 / 8, id="sum 2"),
        pytest.param([1, 2, -3], 1, id="sum 0"),
        pytest.param([-1, -2, -3], 2 / 8, id="all the other way"),
        # 1 + 1 + 1 = 3 in two of eight patterns; the other six sum to 1 or -1
        pytest.param([1, 1, -1], 1, id="ties"),
        pytest.param([0, 0, 5], 1, id="one that is not 0: both signs are as far"),
        pytest.param([0, 1, 2, 3], 2 / 8, id="a zero changes nothing"),
        pytest.param([0, 0, 0], 1, id="nothing differs"),
        pytest.param([7], 1, id="one patient"),
    ],
)
def test_sign_flip_by_hand(differences: list[float], p: float) -> None:
    found = sign_flip(differences)
    assert found.p == pytest.approx(p)
    assert found.exact
    assert found.n_nonzero == np.count_nonzero(differences)
    assert found.smallest_p == min(1, 2 / 2**found.n_nonzero)


def test_sign_flip_takes_rounding_for_zero_and_ties_for_ties() -> None:
    # 0.1 + 0.2 - 0.3 is 5.6e-17, not 0
    assert sign_flip([0.1 + 0.2 - 0.3, 1, 2, 3]).n_nonzero == 3
    # +-0.1 +-0.2 +-0.3: as the whole numbers above, though 0.1 + 0.2 != 0.3
    assert sign_flip([0.1, 0.2, -0.3]).p == 1
    assert sign_flip([0.1, -0.2, 0.3]).p == pytest.approx(6 / 8)


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=9))
def test_sign_flip_counts_every_pattern(differences: list[float]) -> None:
    value = np.round(differences, 3)
    sums = [abs(np.dot(value, signs)) for signs in itertools.product((1, -1), repeat=len(value))]
    expected = np.mean([s >= abs(value.sum()) - 1e-7 for s in sums])
    assert sign_flip(value).p == pytest.approx(expected)


def test_sign_flip_of_many_patients() -> None:
    rng = np.random.default_rng(40)
    forty = rng.normal(0.25, 1, size=40)
    exact = sign_flip(forty)
    random = sign_flip([*forty, 1e-6])  # one more, too small to matter
    assert exact.exact and not random.exact
    assert 0.001 < exact.p < 0.5
    # the standard error of a share p of 100,000 patterns is below 0.0016
    assert random.p == pytest.approx(exact.p, abs=0.006)
    assert random == sign_flip([*forty, 1e-6], seed=0)
    # a random p is never 0: the observed pattern counts
    assert sign_flip(np.ones(60)).p == pytest.approx(1 / 100_001)


def test_no_patients_no_p() -> None:
    assert math.isnan(sign_flip([]).p)
    with pytest.raises(InputError, match="drop NaN and count it"):
        sign_flip([1, math.nan])


@pytest.mark.parametrize(
    ("differences", "effect"),
    [
        pytest.param([1, -2, 3], (1 - 2 + 3) / 6, id="ranks 1, 2, 3"),
        pytest.param([10, -20, 300], (1 - 2 + 3) / 6, id="only ranks count"),
        pytest.param([1, 1, -2], (1.5 + 1.5 - 3) / 6, id="ties share ranks 1 and 2"),
        pytest.param([0, 0, 5, 7], 1, id="zeros are left out"),
        pytest.param([-5, -7], -1, id="all the other way"),
        pytest.param([0, 0], math.nan, id="nothing differs"),
    ],
)
def test_rank_biserial_by_hand(differences: list[float], effect: float) -> None:
    assert rank_biserial(differences) == pytest.approx(effect, nan_ok=True)


def interaction(
    own_a: list[float], own_b: list[float], a_with_eb: list[float], b_with_ea: list[float]
) -> Interaction:
    patients = [f"P{n}" for n in range(len(own_a))]
    own, crossed = (
        tuple(pd.Series(values, index=patients) for values in two)
        for two in ((own_a, own_b), (a_with_eb, b_with_ea))
    )
    human = pd.Series([0.5] * len(own_a), index=patients)
    return interaction_of(
        own,  # type: ignore[arg-type]
        crossed,  # type: ignore[arg-type]
        (human, human),
        metric="dice",
        experts=("Expert A", "Expert B"),
        models=("Model A", "Model B"),
    )


def test_interaction_by_hand() -> None:
    nan = math.nan
    found = interaction(
        [0.9, 0.8, 0.6, nan], [0.8, 0.7, 0.6, 0.9], [0.6, 0.7, 0.7, 0.1], [0.7, 0.7, 0.7, 0.1]
    )
    # 0.9 + 0.8 - 0.6 - 0.7 = 0.4;  0.8 + 0.7 - 0.7 - 0.7 = 0.1;  0.6 + 0.6 - 0.7 - 0.7 = -0.2
    assert found.per_patient.to_dict() == pytest.approx({"P0": 0.4, "P1": 0.1, "P2": -0.2})
    assert (found.n, found.n_dropped) == (3, 1)
    assert found.mean == pytest.approx(0.1)
    assert found.median == pytest.approx(0.1)
    # sums of +-0.4 +-0.1 +-0.2: 0.7, 0.5, 0.3, 0.1 and negatives; 0.3 is reached by six of eight
    assert found.test.p == pytest.approx(6 / 8)
    assert found.rank_biserial == pytest.approx((3 + 1 - 2) / 6)
    assert found.identity_rate == pytest.approx(2 / 3)
    # Model A: 0.4, 0.3, 0.1 above the other expert, and not defined in the fourth patient
    ceiling = found.human_ceiling["Model A"]
    assert (ceiling.mean, ceiling.median, ceiling.n) == (
        pytest.approx(0.8 / 3),
        pytest.approx(0.3),
        3,
    )
    assert found.human_ceiling["Model B"].n == 4


def test_an_expert_who_only_draws_larger_makes_no_interaction() -> None:
    # both models agree better with Expert A, by 0.2, whoever they learned from
    found = interaction([0.8, 0.7], [0.6, 0.5], [0.6, 0.5], [0.8, 0.7])
    assert found.per_patient.tolist() == [0, 0]
    assert found.identity_rate == 0.5
    assert found.test.p == 1
    assert math.isnan(found.rank_biserial)
    assert "No patient differs: there is nothing to test" in found.words


def test_words_say_what_n_can_show() -> None:
    def words(n: int) -> str:
        return interaction([0.9] * n, [0.8] * n, [0.6] * n, [0.5] * n).words

    assert "With n = 5 no p below 0.05 is possible: the smallest is 2/2^5 = 0.0625" in words(5)
    assert "no p below 0.05" not in words(6)
    assert "p = 0.0312" in words(6)  # 2/64
    assert "share training patients" in words(6)
    assert "I = +0.6 in Dice on average" in words(6)
    assert "win in 100 % of patients" in words(6)


def test_words_have_the_unit_and_the_direction() -> None:
    # 2 mL extra against the own expert, 5 against the other one, turned: -2 - 2 + 5 + 5
    volumes = interaction([-2.0], [-2.0], [-5.0], [-5.0])
    words = replace(volumes, metric="fpv_ml").words
    assert "I = +6 in Extra volume (mL) on average" in words
    assert "above 0 models are closer to their own experts" in words
    assert "fpv_ml" not in words


def test_words_count_who_was_left_out() -> None:
    nan = math.nan
    some = interaction([0.9, nan], [0.8, 0.8], [0.6, 0.6], [0.5, 0.5])
    assert "1 left out, as a score is undefined" in some.words
    none = interaction([nan], [0.8], [0.6], [0.5])
    assert none.words.startswith("No patient has all four scores")
    assert (none.n, none.n_dropped) == (0, 1)
    assert math.isnan(none.mean) and math.isnan(none.test.p) and math.isnan(none.identity_rate)
