"""Did two models take on the styles of their experts? One number per patient, and its test.

With D any score of agreement, EA and EB the experts, MA and MB the models that learned from them,

    I = D(EA, MA) + D(EB, MB) - D(EB, MA) - D(EA, MB)

is above 0 in a patient where each model agrees better with its own expert. The sum over both
models matters: D(EA, MA) - D(EB, MA) alone is above 0 wherever one expert merely draws larger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from boneviz.errors import InputError
from boneviz.metricnames import metric_name

__all__ = ["Ceiling", "Interaction", "SignFlip", "interaction_of", "rank_biserial", "sign_flip"]

MAX_EXACT = 40  # two halves of 2^20 signed sums each
N_RANDOM = 100_000
NOTHING = 1e-9  # a difference this small is rounding, in a share as in millimetres


@dataclass(frozen=True, slots=True)
class SignFlip:
    """A two-sided sign-flip test of differences that centre on zero if nothing is there.

    Parameters
    ----------
    p : share of the sign patterns whose sum is at least as far from 0; NaN without differences
    exact : whether all 2^n patterns were counted, not a random 100,000 of them
    n_nonzero : differences that are not 0; the others cannot say anything
    smallest_p : the least p that so many differences can give, 2 / 2^n_nonzero
    """

    p: float
    exact: bool
    n_nonzero: int
    smallest_p: float


def sign_flip(differences: ArrayLike, *, seed: int = 0) -> SignFlip:
    """Test whether differences centre on zero, exactly for up to 40 that are not 0.

    Every pattern of signs is as likely as the one observed if nothing is there. The patterns of
    two halves are summed apart and counted together, so that 2^40 take a second.

    Parameters
    ----------
    differences : one finite number per patient
    seed : of the random patterns, above 40
    """
    value = _finite(differences)
    size = np.abs(value[np.abs(value) > NOTHING])
    n = int(size.size)
    if not value.size:
        return SignFlip(math.nan, True, 0, math.nan)
    smallest = min(1.0, 2.0 / 2.0**n)
    observed = abs(float(value.sum()))
    limit = observed - NOTHING * max(1.0, float(size.sum()))
    if limit <= 0:  # every pattern is at least as far from 0 as this
        return SignFlip(1.0, True, n, smallest)
    if n <= MAX_EXACT:
        first, second = _signed_sums(size[: n // 2]), np.sort(_signed_sums(size[n // 2 :]))
        above = second.size - np.searchsorted(second, limit - np.sort(first), side="left")
        # patterns come in mirrored pairs: as many lie below -limit as above limit
        return SignFlip(2 * int(above.sum()) / 2**n, True, n, smallest)
    rng = np.random.default_rng(seed)
    extreme = 0
    for _ in range(0, N_RANDOM, 10_000):
        sign = rng.integers(0, 2, size=(10_000, n)) * 2 - 1
        extreme += int((np.abs(sign @ size) >= limit).sum())
    return SignFlip((1 + extreme) / (1 + N_RANDOM), False, n, smallest)


def _signed_sums(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums of `size` under all 2^n patterns of signs, (2^n,)."""
    sums = np.zeros(1)
    for one in size:
        sums = np.concatenate([sums + one, sums - one])
    return sums


def rank_biserial(differences: ArrayLike) -> float:
    """Return the matched-pairs rank-biserial effect size, -1 to 1; NaN where nothing differs.

    The ranks of the sizes of positive differences less those of negative ones, over all ranks
    (Kerby, Compr Psychol 2014); zeros are left out, ties share their mean rank.
    """
    value = _finite(differences)
    value = value[np.abs(value) > NOTHING]
    if not value.size:
        return math.nan
    _, place, count = np.unique(np.round(np.abs(value), 9), return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    return float((rank * np.sign(value)).sum() / rank.sum())


def _finite(differences: ArrayLike) -> NDArray[np.float64]:
    value = np.asarray(differences, dtype=np.float64)
    if value.ndim != 1 or not np.isfinite(value).all():
        raise InputError(
            "differences: expected one finite number per patient; drop NaN and count it"
        )
    return value


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How a model agrees with its expert beside how the other expert does: D(model) - D(expert).

    Parameters
    ----------
    mean, median : over patients; above 0 where the model agrees better than the other expert
    n : patients in whom both are defined
    """

    mean: float
    median: float
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Interaction:
    """Whether two models took on the styles of the experts they learned from.

    All differences are turned so that above 0 means better agreement, distances included.

    Parameters
    ----------
    metric : the score that was compared
    experts, models : names; each model stands at the place of its expert
    per_patient : I of each patient, indexed by patient id; only where all four are defined
    n_dropped : patients left out because one of the four is undefined
    test : exact sign-flip test of I
    rank_biserial : effect size, -1 to 1
    identity_rate : share of patients in whom models pair with their own experts (I above 0),
        ties counting half; 0.5 if nothing is there
    human_ceiling : model -> `Ceiling`
    """

    metric: str
    experts: tuple[str, str]
    models: tuple[str, str]
    per_patient: pd.Series[float]
    n_dropped: int
    test: SignFlip
    rank_biserial: float
    identity_rate: float
    human_ceiling: Mapping[str, Ceiling]

    @property
    def n(self) -> int:
        """Patients with an I."""
        return int(self.per_patient.size)

    @property
    def mean(self) -> float:
        """Mean of I over patients, NaN without any."""
        return float(self.per_patient.mean())

    @property
    def median(self) -> float:
        """Median of I over patients, NaN without any."""
        return float(self.per_patient.median())

    @property
    def words(self) -> str:
        """What this shows and what it cannot, in plain words."""
        pairs = f"{self.models[0]} with {self.experts[0]}, {self.models[1]} with {self.experts[1]}"
        left_out = f" {self.n_dropped} left out, as a score is undefined." if self.n_dropped else ""
        if not self.n:
            return (
                f"No patient has all four scores ({metric_name(self.metric)}; {pairs}).{left_out}"
            )
        parts = [
            f"Own-expert pairing ({pairs}) less the crossed one: I = {self.mean:+.3g} in "
            f"{metric_name(self.metric)} on average (median {self.median:+.3g}, n = {self.n}), "
            "turned so that above 0 models are closer to their own experts; own experts win in "
            f"{100 * self.identity_rate:.0f} % of patients.{left_out}"
        ]
        how = "exact" if self.test.exact else f"{N_RANDOM:,} random patterns"
        parts.append(
            f"Sign-flip test ({how}, two-sided): p = {self.test.p:.3g}; "
            f"rank-biserial {self.rank_biserial:+.2f}."
        )
        n = self.test.n_nonzero
        if self.test.smallest_p > 0.05:
            zeros = f" (of {self.n}, the rest being 0)" if n < self.n else ""
            parts.append(
                f"With n = {n}{zeros} no p below 0.05 is possible: "
                f"the smallest is 2/2^{n} = {self.test.smallest_p:.4g}."
                if n
                else "No patient differs: there is nothing to test."
            )
        parts.append(
            "Cross-validated models share training patients, so patients are not quite independent."
        )
        return " ".join(parts)


def interaction_of(
    own: tuple[pd.Series[float], pd.Series[float]],
    crossed: tuple[pd.Series[float], pd.Series[float]],
    human: tuple[pd.Series[float], pd.Series[float]],
    *,
    metric: str,
    experts: tuple[str, str],
    models: tuple[str, str],
) -> Interaction:
    """Make an `Interaction` from scores per patient, higher being better.

    Parameters
    ----------
    own : D(EA, MA), D(EB, MB)
    crossed : D(EB, MA), D(EA, MB)
    human : D(EA, EB), D(EB, EA)
    metric, experts, models : as in `Interaction`
    """
    table = pd.concat([*own, *crossed], axis=1, keys=range(4))
    whole = table.dropna()
    value = whole[0] + whole[1] - whole[2] - whole[3]
    value = value.where(value.abs() > NOTHING, 0.0).rename("interaction")
    won = (value > 0).mean() + (value == 0).mean() / 2
    ceilings = {
        model: _ceiling(with_model, with_human)
        for model, with_model, with_human in zip(models, own, human, strict=True)
    }
    return Interaction(
        metric=metric,
        experts=experts,
        models=models,
        per_patient=value,
        n_dropped=len(table) - len(whole),
        test=sign_flip(value.to_numpy()),
        rank_biserial=rank_biserial(value.to_numpy()),
        identity_rate=float(won),
        human_ceiling=MappingProxyType(ceilings),
    )


def _ceiling(with_model: pd.Series[float], with_human: pd.Series[float]) -> Ceiling:
    difference = (with_model - with_human).dropna()
    return Ceiling(float(difference.mean()), float(difference.median()), len(difference))
