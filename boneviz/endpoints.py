"""What a study says beyond its matrix: endpoints with Holm, volume bias, lean, the seed control.

One endpoint is primary: the interaction I in Dice. All others are exploratory, and their p are
adjusted for their number (Holm, Scand J Stat 1979).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from boneviz.compare import cross_evaluate
from boneviz.crossevaluation import CrossEvaluation
from boneviz.direction import PRIMARY
from boneviz.errors import InputError
from boneviz.interaction import Interaction, interaction_of
from boneviz.scorerow import Scores

__all__ = [
    "SECONDARY",
    "control_words",
    "endpoints",
    "holm",
    "lean",
    "seed_control",
    "volume_bias",
    "who_draws_larger",
]

SECONDARY = ("volume_matched_dice", "surface_dice_2mm", "hd95_mm", "lesion_f1")


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Return p values adjusted for their number, in their order; NaN stays and does not count."""
    given = np.asarray(p, dtype=np.float64)
    if given.ndim != 1 or ((given < 0) | (given > 1)).any():
        raise InputError(f"p values {given.tolist()}: expected a list of numbers from 0 to 1")
    adjusted = np.full(given.shape, math.nan)
    tested = np.flatnonzero(~np.isnan(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    steps = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return adjusted


def endpoints(
    scores: Iterable[Scores],
    *,
    models: tuple[str, str] | None = None,
    secondary: Sequence[str] = SECONDARY,
) -> pd.DataFrame:
    """Return the test of styles on the primary endpoint and on secondary ones.

    Parameters
    ----------
    scores : of a cohort
    models : names of two models of two experts; may be left out where there are just two
    secondary : columns of the scores that have a better and a worse

    Returns
    -------
    One row per endpoint: ``role``, ``metric``, ``n``, ``n_dropped``, ``mean`` and ``median`` of I,
    ``rank_biserial``, ``identity_rate``, ``p`` and ``p_holm``, which is adjusted over the secondary
    endpoints and is `p` itself for the primary one.

    Raises
    ------
    InputError
        As `CrossEvaluation.interaction`.
    """
    rows = tuple(scores)
    found = [
        (metric, cross_evaluate(rows, metric=metric).interaction(models))
        for metric in (PRIMARY, *secondary)
    ]
    table = pd.DataFrame(
        [
            {
                "role": "primary" if metric == PRIMARY else "secondary",
                "metric": metric,
                "n": interaction.n,
                "n_dropped": interaction.n_dropped,
                "mean": interaction.mean,
                "median": interaction.median,
                "rank_biserial": interaction.rank_biserial,
                "identity_rate": interaction.identity_rate,
                "p": interaction.test.p,
            }
            for metric, interaction in found
        ]
    )
    table["p_holm"] = [table["p"].iloc[0], *holm(table["p"].iloc[1:])]
    return table


def volume_bias(scores: Iterable[Scores]) -> pd.DataFrame:
    """Return by how much each candidate draws larger than each reference (Bland-Altman).

    Volumes are compared as ratios, on their logarithm, as errors grow with the lesion (Bland and
    Altman, Stat Methods Med Res 1999).

    Returns
    -------
    One row per ordered pair: ``n`` patients in whom both outlined something, ``n_left_out``
    others; ``ratio`` candidate / reference, the geometric mean; ``low`` and ``high`` limits of
    agreement, between which 95 % of patients are expected (NaN for one patient).
    """
    rows = tuple(scores)
    volumes = [cross_evaluate(rows, metric=f"{role}_ml") for role in ("candidate", "reference")]
    found = []
    for pair in volumes[0].values.columns:
        candidate, reference = (evaluation.values[pair] for evaluation in volumes)
        both = (candidate > 0) & (reference > 0)
        log_ratio = np.log(candidate[both] / reference[both])
        mean, spread = float(log_ratio.mean()), 1.96 * float(log_ratio.std(ddof=1))
        found.append(
            {
                "reference": pair[0],
                "candidate": pair[1],
                "n": int(both.sum()),
                "n_left_out": int((~both).sum()),
                "ratio": math.exp(mean),
                "low": math.exp(mean - spread),
                "high": math.exp(mean + spread),
            }
        )
    return pd.DataFrame(found)


def lean(scores: Iterable[Scores]) -> pd.DataFrame:
    """Return each pair's sensitivity less precision: above 0 the candidate draws more.

    Returns
    -------
    One row per ordered pair: ``mean``, ``sd`` (NaN for one patient) and ``n`` patients in whom
    both are defined.
    """
    rows = tuple(scores)
    sides = [cross_evaluate(rows, metric=metric) for metric in ("sensitivity", "precision")]
    difference = sides[0].values - sides[1].values
    return pd.DataFrame(
        [
            {
                "reference": pair[0],
                "candidate": pair[1],
                "mean": float(difference[pair].mean()),
                "sd": float(difference[pair].std(ddof=1)),
                "n": int(difference[pair].count()),
            }
            for pair in difference.columns
        ]
    )


def who_draws_larger(scores: Iterable[Scores]) -> pd.DataFrame:
    """Return `volume_bias` and `lean` side by side, the study's own readers before variants.

    Pairs of a variant and another model, which tables of earlier versions hold, are left out.

    Returns
    -------
    The columns of `volume_bias`, and ``mean``, ``sd`` and ``n_lean`` of `lean`.
    """
    rows = tuple(scores)
    both = volume_bias(rows).merge(
        lean(rows), on=["reference", "candidate"], suffixes=("", "_lean")
    )
    readers = {reader.name: reader for row in rows for reader in (row.reference, row.candidate)}
    pairs = [
        (readers[r], readers[c]) for r, c in zip(both["reference"], both["candidate"], strict=True)
    ]
    kept = [
        "expert" in (reference.kind, candidate.kind) or not (reference.variant or candidate.variant)
        for reference, candidate in pairs
    ]
    variant = [bool(reference.variant or candidate.variant) for reference, candidate in pairs]
    return (
        both.assign(variant=variant)[kept]
        .sort_values("variant", kind="stable")
        .drop(columns="variant")
        .reset_index(drop=True)
    )


def seed_control(scores: Iterable[Scores], *, metric: str = PRIMARY) -> tuple[Interaction, ...]:
    """Test whether models of one expert that differ by their seed alone differ as two styles do.

    The interaction of two models of one expert, one of them put in the other expert's place: it
    is to be small beside that of the study, and not significant.

    Returns
    -------
    One `Interaction` for every two models that learned from one expert and the same input; none
    without any.

    Raises
    ------
    InputError
        There are not two experts.
    """
    evaluation = cross_evaluate(scores, metric=metric)
    if len(evaluation.experts) != 2:
        names = ", ".join(expert.name for expert in evaluation.experts) or "none"
        raise InputError(f"experts found: {names}; the seed control takes two")
    found = []
    for first, second in itertools.combinations(evaluation.models, 2):
        if (first.learned_from, first.modality) == (second.learned_from, second.modality):
            found.append(_as_if_of_two(evaluation, first.name, second.name))
    return tuple(found)


def control_words(control: Interaction, study_mean: float) -> str:
    """Say what a control of `seed_control` shows beside the mean I of the study itself."""
    first, second = control.models
    if not control.n:
        return f"{first} and {second}: no patient has all four scores."
    share = abs(control.mean / study_mean) if study_mean else math.inf
    return (
        f"{first} and {second}, as if they had learned from two experts: I = {control.mean:+.3g} "
        f"in {control.metric} on average beside {study_mean:+.3g} in the study "
        f"({100 * share:.0f} % of it in size), p = {control.test.p:.3g}, n = {control.n}. "
        "It is to be small: this much comes of chance in training alone."
    )


def _as_if_of_two(evaluation: CrossEvaluation, first: str, second: str) -> Interaction:
    own, other = (expert.name for expert in evaluation.experts)
    d = evaluation.turned
    return interaction_of(
        (d(own, first), d(other, second)),
        (d(other, first), d(own, second)),
        (d(own, other), d(other, own)),
        metric=evaluation.metric,
        experts=(own, other),
        models=(first, second),
    )
