"""What fusion gains: each expert's model on PET and CT less the same model on one of them alone.

Networks, folds, seeds and budgets are the same, so that the gain is a difference within patients.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from boneviz.case import Reader
from boneviz.compare import cross_evaluate
from boneviz.direction import PRIMARY, higher_is_better
from boneviz.endpoints import holm
from boneviz.errors import InputError
from boneviz.interaction import NOTHING, SignFlip, sign_flip
from boneviz.scorerow import Scores

__all__ = ["FusionGain", "fusion_gain", "fusion_gains", "fusion_table", "fusion_words"]


@dataclass(frozen=True, slots=True, eq=False)
class FusionGain:
    """A fused model beside its ablation, both against the expert that they learned from.

    Parameters
    ----------
    expert : name of that expert
    fused, ablated : the two models
    values : patient x ``fused``, ``ablated``, in the metric's own unit; only where both are defined
    n_dropped : patients left out because one of the two is undefined
    n_missed : of the fused model and of its ablation, patients with a session in which it outlined
        nothing of a lesion; their overlap is 0 and counts, their distances are undefined
    metric : the score
    n_resamples, seed : of the bootstrap over patients
    """

    expert: str
    fused: Reader
    ablated: Reader
    values: pd.DataFrame
    n_dropped: int
    n_missed: tuple[int, int]
    metric: str
    n_resamples: int
    seed: int

    @property
    def n(self) -> int:
        """Patients in whom both are defined."""
        return len(self.values)

    @property
    def differences(self) -> pd.Series[float]:
        """Fused less ablated per patient, turned so that above 0 means that fusion is better."""
        sign = 1 if higher_is_better(self.metric) else -1
        difference = sign * (self.values["fused"] - self.values["ablated"])
        return difference.where(difference.abs() > NOTHING, 0.0).rename("gain")

    @property
    def test(self) -> SignFlip:
        """Exact sign-flip test of the differences."""
        return sign_flip(self.differences.to_numpy())

    @property
    def better_rate(self) -> float:
        """Share of patients in whom fusion is better, ties counting half; NaN without any."""
        difference = self.differences
        return float((difference > 0).mean() + (difference == 0).mean() / 2)

    def interval(self, statistic: Literal["mean", "median"]) -> tuple[float, float]:
        """Return the 95 % bootstrap interval over patients of the ``mean`` or ``median`` gain.

        NaN for fewer than two patients.
        """
        value = self.differences.to_numpy(dtype=np.float64)
        if value.size < 2:
            return math.nan, math.nan
        rng = np.random.default_rng(self.seed)
        drawn = value[rng.integers(value.size, size=(self.n_resamples, value.size))]
        over = np.median(drawn, axis=1) if statistic == "median" else drawn.mean(axis=1)
        low, high = np.quantile(over, (0.025, 0.975))
        return float(low), float(high)


def fusion_gains(
    scores: Iterable[Scores], *, metric: str = PRIMARY, n_resamples: int = 2000, seed: int = 0
) -> tuple[FusionGain, ...]:
    """Return every ablation of every expert's model beside the fused model it belongs to.

    Models are told apart by `Reader.learned_from` and `Reader.variant`, never by their names. An
    ablation of another seed belongs to the fused model of that seed.

    Parameters
    ----------
    scores : of a cohort
    metric : a column of the scores that has a better and a worse
    n_resamples, seed : of the bootstrap over patients

    Returns
    -------
    Experts in their order, CT before PET; nothing without scores or without ablations.

    Raises
    ------
    InputError
        The metric has no better or worse, or as `cross_evaluate`.
    LeakageError
        A model is scored on a patient it had learned from.
    """
    rows = tuple(scores)
    if not rows:
        return ()
    evaluation = cross_evaluate(rows, metric=metric)
    if higher_is_better(metric) is None:
        raise InputError(f"{metric} has no better or worse: take dice or another score")
    names = {expert.name for expert in evaluation.experts}
    learned = {
        (model.learned_from, model.modality, model.repeat): model
        for model in evaluation.models
        if model.learned_from in names
    }
    found = []
    order = {expert.name: place for place, expert in enumerate(evaluation.experts)}
    for (expert, modality, repeat), ablated in sorted(
        learned.items(), key=lambda each: (order[str(each[0][0])], each[0][2], each[0][1])
    ):
        fused = learned.get((expert, "fused", repeat))
        if modality == "fused" or fused is None:
            continue
        pairs = [(str(expert), fused.name), (str(expert), ablated.name)]
        both = evaluation.values[pairs].set_axis(["fused", "ablated"], axis="columns")
        whole = both.dropna()
        missed = evaluation.counts["n_missed"]
        found.append(
            FusionGain(
                expert=str(expert),
                fused=fused,
                ablated=ablated,
                values=whole,
                n_dropped=len(both) - len(whole),
                n_missed=(int(missed[pairs[0]]), int(missed[pairs[1]])),
                metric=metric,
                n_resamples=n_resamples,
                seed=seed,
            )
        )
    return tuple(found)


def fusion_gain(
    scores: Iterable[Scores], *, metric: str = PRIMARY, n_resamples: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return what fusion gains over CT alone and PET alone, one row per expert and ablation.

    Parameters and errors as `fusion_gains`, columns as `fusion_table`.
    """
    return fusion_table(fusion_gains(scores, metric=metric, n_resamples=n_resamples, seed=seed))


def fusion_table(gains: Iterable[FusionGain]) -> pd.DataFrame:
    """Return the table of what fusion gains.

    Returns
    -------
    ``expert``, ``ablation`` (the variant, such as ``CT only``), ``n`` patients, ``n_dropped``,
    ``n_missed_fused`` and ``n_missed_ablated``; ``mean_fused`` and ``mean_ablated`` in the metric's
    own unit; ``mean`` and ``median`` of the paired differences with the bounds ``_low`` and
    ``_high`` of their 95 % bootstrap intervals, and ``sd``, above 0 where fusion is better;
    ``better_rate``, the share of patients in whom it is; ``p`` of the exact sign-flip test,
    ``smallest_p`` that so many patients can give, and ``p_holm`` over the rows.
    """
    rows = []
    for gain in gains:
        difference = gain.differences
        (mean_low, mean_high), (low, high) = gain.interval("mean"), gain.interval("median")
        rows.append(
            {
                "expert": gain.expert,
                "ablation": gain.ablated.variant,
                "n": gain.n,
                "n_dropped": gain.n_dropped,
                "n_missed_fused": gain.n_missed[0],
                "n_missed_ablated": gain.n_missed[1],
                "mean_fused": float(gain.values["fused"].mean()),
                "mean_ablated": float(gain.values["ablated"].mean()),
                "mean": float(difference.mean()),
                "mean_low": mean_low,
                "mean_high": mean_high,
                "sd": float(difference.std(ddof=1)),
                "median": float(difference.median()),
                "median_low": low,
                "median_high": high,
                "better_rate": gain.better_rate,
                "p": gain.test.p,
                "smallest_p": gain.test.smallest_p,
            }
        )
    table = pd.DataFrame(rows)
    if rows:
        table["p_holm"] = holm(table["p"])
    return table


def fusion_words(table: pd.DataFrame, *, metric: str = PRIMARY) -> str:
    """Say what a table of `fusion_gain` shows and what it cannot, in plain words."""
    if table.empty:
        return "No ablations: there is no model of CT alone or of PET alone beside a fused one."
    parts = []
    for row in table.to_dict("records"):
        if not row["n"]:
            parts.append(
                f"{row['expert']}, fused against {row['ablation']}: no patient in whom both are "
                "defined."
            )
            continue
        left_out = f", {row['n_dropped']} left out as undefined" if row["n_dropped"] else ""
        interval = (
            ""
            if math.isnan(row["median_low"])
            else f" [{row['median_low']:+.3f}, {row['median_high']:+.3f}]"
        )
        parts.append(
            f"{row['expert']}, fused against {row['ablation']}: {row['mean']:+.3f} in {metric} on "
            f"average, median {row['median']:+.3f}{interval}, better in "
            f"{100 * row['better_rate']:.0f} % of {row['n']} patients{left_out}; "
            f"p = {row['p']:.3g}, {row['p_holm']:.3g} after Holm over {len(table)} comparisons."
        )
    parts.append(
        f"Exact two-sided sign-flip tests; the smallest p that so many patients can give is "
        f"{table['smallest_p'].min():.2g}."
    )
    if (table["smallest_p"] > 0.05).all():
        parts.append("No p below 0.05 is possible with so few patients.")
    missed = int(table["n_missed_fused"].sum() + table["n_missed_ablated"].sum())
    if missed and table["n_dropped"].any():
        parts.append(
            "Where a model outlined nothing this metric is undefined and the patient left out, "
            "which flatters the model that missed."
        )
    elif missed:
        parts.append("A model that outlined nothing of a lesion scores 0, which counts.")
    parts.append(
        "Each model is compared with its own expert only, one seed each, and cross-validated "
        "models share training patients: this says what fusion gains with this network and budget, "
        "not whether either expert is right."
    )
    return " ".join(parts)
