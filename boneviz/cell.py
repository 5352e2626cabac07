"""The summary of one metric of one ordered pair of readers over patients, as one cell shows it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Cell"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One metric of one ordered pair of readers over patients.

    Parameters
    ----------
    mean, sd, mean_plus_sd, mean_minus_sd : over the patients in whom the metric is defined; the
        SD has n - 1 in its denominator and is NaN for one patient
    median, median_low, median_high : with the 95 % bootstrap interval over patients, which is
        NaN for one patient
    n : patients that were scored for this pair
    n_patients : patients that were scored for any pair
    n_defined : those whose metric is defined
    n_missed, n_false_alarm, n_both_empty : those with such a session
    worst_case_mean : the mean with 0 in every session missed or falsely alarmed, or the volume's
        diagonal for a distance; sessions empty for both readers do not count. Of a mean over
        matched lesions, every lesion that only one of the two outlined counts so too
    """

    mean: float
    sd: float
    mean_plus_sd: float
    mean_minus_sd: float
    median: float
    median_low: float
    median_high: float
    n: int
    n_patients: int
    n_defined: int
    n_missed: int
    n_false_alarm: int
    n_both_empty: int
    worst_case_mean: float

    @classmethod
    def of(
        cls,
        defined: NDArray[np.float64],
        worst: NDArray[np.float64],
        *,
        counts: Mapping[str, int],
        n_patients: int,
        n_resamples: int,
        seed: int,
    ) -> Cell:
        """Summarise the patients of one pair.

        Parameters
        ----------
        defined : (n_defined,) the metric in the patients in whom it is defined
        worst : the same with the worst case where a reader missed or falsely alarmed
        counts : ``n``, ``n_missed``, ``n_false_alarm`` and ``n_both_empty``
        n_patients : patients that were scored for any pair
        n_resamples, seed : of the bootstrap
        """
        mean, sd, median, low, high = (math.nan,) * 5
        if defined.size:
            mean, median = float(defined.mean()), float(np.median(defined))
        if defined.size > 1:
            sd = float(defined.std(ddof=1))
            rng = np.random.default_rng(seed)
            drawn = rng.integers(defined.size, size=(n_resamples, defined.size))
            medians = np.median(defined[drawn], axis=1)
            low, high = (float(edge) for edge in np.quantile(medians, (0.025, 0.975)))
        return cls(
            mean=mean,
            sd=sd,
            mean_plus_sd=mean + sd,
            mean_minus_sd=mean - sd,
            median=median,
            median_low=low,
            median_high=high,
            n_patients=n_patients,
            n_defined=int(defined.size),
            worst_case_mean=float(worst.mean()) if worst.size else math.nan,
            **counts,
        )

    def __str__(self) -> str:
        """Return such as ``0.81 ± 0.06 (n 6 of 8, 2 missed)``."""
        counts = f"n {self.n_defined}" + (
            f" of {self.n_patients}" if self.n_defined < self.n_patients else ""
        )
        for number, what in ((self.n_missed, "missed"), (self.n_false_alarm, "false alarm")):
            counts += f", {number} {what}" if number else ""
        if not self.n_defined:
            return f"undefined ({counts})"
        spread = "" if math.isnan(self.sd) else f" ± {self.sd:.2f}"
        return f"{self.mean:.2f}{spread} ({counts})"
