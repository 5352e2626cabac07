"""By how much slice-level evaluation with slice-level folds flatters beside patient-level 3D.

Both evaluations follow from the same three counts per slice, of voxels in the expert's outline, in
the network's, and in both: Dice of a slice, and Dice of the volume that a patient's slices make.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from boneviz.errors import InputError
from boneviz.interaction import SignFlip, sign_flip

__all__ = [
    "COLUMNS",
    "EVALUATIONS",
    "Difference",
    "DifferenceName",
    "Evaluation",
    "Inflation",
    "count_slices",
]

#: of the counts: whose outline, folds dealt by ``slice`` or ``patient``, where, and the voxels
COLUMNS = (
    "expert",
    "folds",
    "patient_id",
    "session",
    "slice",
    "fold",
    "reference",
    "candidate",
    "shared",
)
ALL: Final = "per slice, all"
LESION: Final = "per slice, with lesion"
VOLUME: Final = "per patient, 3D"
Evaluation = Literal["per slice, all", "per slice, with lesion", "per patient, 3D"]
#: ways to evaluate one set of outlines
EVALUATIONS: tuple[Evaluation, ...] = (ALL, LESION, VOLUME)
KINDS = ("slice", "patient")
DifferenceName = Literal["leak", "counting slices", "both"]


def count_slices(reference: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the voxels of each axial slice, (Z, 3): in the reference, the candidate, and both.

    Parameters
    ----------
    reference, candidate : (X, Y, Z) bool
    """
    if reference.shape != candidate.shape or reference.ndim != 3:
        raise InputError(
            f"outlines of shape {reference.shape} and {candidate.shape}: expected one (X, Y, Z)"
        )
    both = reference & candidate
    return np.stack([np.count_nonzero(m, axis=(0, 1)) for m in (reference, candidate, both)], 1)


@dataclass(frozen=True, slots=True)
class Difference:
    """By how much one step from sound to flattering evaluation lifts the mean Dice.

    Parameters
    ----------
    expert : whose outlines were learned
    difference, evaluation : which step, and which slices count
    mean : difference of means
    low, high : 95 % bootstrap interval over patients, each with all its slices; NaN for one
        patient, and too narrow for few, as intervals of means are
    patients : with a Dice in 3D
    p : of the leak, the exact sign-flip test paired by patient; NaN for the others
    """

    expert: str
    difference: DifferenceName
    evaluation: Evaluation
    mean: float
    low: float
    high: float
    patients: int
    p: float

    def __str__(self) -> str:
        """Return such as ``+0.214 [+0.102, +0.301]``."""
        interval = "" if math.isnan(self.low) else f" [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.mean:+.3f}{interval}"


@dataclass(frozen=True, slots=True, eq=False)
class Inflation:
    """Out-of-fold outlines of one 2D network, with two kinds of folds, evaluated in two ways.

    Dice of a slice that is empty for both is 1 where all slices count, as papers do whose means it
    lifts, and 0 where one of the two is empty. Dice of a patient is of the volume that all slices
    make, undefined (and left out) where the expert outlined nothing, the mean of sessions where
    there are several.

    Parameters
    ----------
    counts : a row per expert, kind of folds, case and slice, with `COLUMNS`
    n_folds, steps, spacing_mm : of the fits, the same for both kinds
    models : expert's name -> Dice per patient of the study's own 3D model, where there is one
    synthetic : whether the patients are phantoms
    n_resamples, seed : of the bootstrap over patients
    """

    counts: pd.DataFrame
    n_folds: int
    steps: int
    spacing_mm: tuple[float, float, float]
    models: Mapping[str, pd.Series[float]] = field(default_factory=dict)
    synthetic: bool = False
    n_resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        lacking = [column for column in COLUMNS if column not in self.counts]
        kinds = set(self.counts.get("folds", ()))
        if lacking or kinds != {"slice", "patient"}:
            raise InputError(
                f"counts without {', '.join(lacking) or 'a column lacking'}, folds by "
                f"{', '.join(sorted(kinds)) or 'nothing'}: expected the columns "
                f"{', '.join(COLUMNS)} and folds by patient and by slice"
            )
        keys = ["expert", "patient_id", "session", "slice"]
        by_kind = {
            kind: rows.set_index(keys)["reference"].sort_index()
            for kind, rows in self.counts.groupby("folds")
        }
        if not by_kind["slice"].equals(by_kind["patient"]):
            raise InputError(
                "counts of the two kinds of folds are of different slices or outlines: expected "
                "every slice once in each"
            )
        object.__setattr__(self, "models", MappingProxyType(dict(self.models)))

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of the experts whose outlines were learned."""
        return tuple(dict.fromkeys(self.counts["expert"]))

    def per_slice(self, expert: str, folds: str) -> pd.Series[float]:
        """Return Dice of every slice, indexed by patient, session and slice; 1 where both empty."""
        rows = self._rows(expert, folds).set_index(["patient_id", "session", "slice"])
        return _dice(rows, both_empty=1.0)

    def per_patient(self, expert: str) -> pd.DataFrame:
        """Return Dice in 3D, a row per patient and a column per kind of folds; NaN if undefined."""
        return pd.DataFrame({folds: self._volumes(expert, folds) for folds in KINDS}).rename_axis(
            "patient_id"
        )

    def table(self) -> pd.DataFrame:
        """Return mean, SD and n of every expert, kind of folds and evaluation.

        n counts slices or patients, as `of` says. The SD has n - 1 in its denominator; one over
        slices says nothing about how patients differ.
        """
        rows = []
        for expert in self.experts:
            for folds in KINDS:
                for evaluation in EVALUATIONS:
                    values = self._values(expert, folds, evaluation)
                    rows.append(_summary(expert, folds, evaluation, values, network="2D"))
            if expert in self.models:
                values = self.models[expert].dropna()
                rows.append(_summary(expert, "patient", VOLUME, values, network="3D"))
        return pd.DataFrame(rows)

    def differences(self) -> pd.DataFrame:
        """Return by how much each step flatters, a row per `difference` of every expert."""
        steps: tuple[tuple[DifferenceName, Evaluation], ...] = (
            ("leak", VOLUME),
            ("counting slices", ALL),
            ("both", ALL),
            ("counting slices", LESION),
            ("both", LESION),
        )
        return pd.DataFrame(
            [asdict(self.difference(expert, *step)) for expert in self.experts for step in steps]
        )

    def difference(
        self, expert: str, name: DifferenceName, evaluation: Evaluation = ALL
    ) -> Difference:
        """Return by how much one step flatters.

        Parameters
        ----------
        name : ``leak``, slice folds less patient folds, both per patient in 3D; ``counting
            slices``, per slice less per patient in 3D, both with slice folds; or ``both``, per
            slice with slice folds less per patient in 3D with patient folds: the sum of the two
        evaluation : which slices count; nothing to a ``leak``
        """
        evaluation = VOLUME if name == "leak" else evaluation
        other = "slice" if name == "counting slices" else "patient"
        mean = self._values(expert, "slice", evaluation).mean()
        mean -= self._values(expert, other, VOLUME).mean()
        n = len(self.per_patient(expert).dropna())
        low, high = math.nan, math.nan
        if n > 1:
            apart = self._drawn(expert, "slice", evaluation) - self._drawn(expert, other, VOLUME)
            low, high = (float(edge) for edge in np.nanquantile(apart, (0.025, 0.975)))
        return Difference(
            expert=expert,
            difference=name,
            evaluation=evaluation,
            mean=float(mean),
            low=low,
            high=high,
            patients=n,
            p=self.leak(expert).p if name == "leak" else math.nan,
        )

    def leak(self, expert: str) -> SignFlip:
        """Return the exact sign-flip test of slice folds less patient folds, paired by patient."""
        whole = self.per_patient(expert).dropna()
        return sign_flip((whole["slice"] - whole["patient"]).to_numpy(), seed=self.seed)

    @property
    def words(self) -> str:
        """What the numbers show and what they do not, in plain words."""
        parts = [self._words_of(expert) for expert in self.experts]
        parts.append(
            "Slices of one patient are not independent of one another: n is patients, and an SD "
            "over slices says nothing about how patients differ."
        )
        size = " x ".join(f"{side:g}" for side in self.spacing_mm)
        parts.append(
            f"Both kinds of folds had the same 2D network, {self.n_folds} folds and {self.steps} "
            f"steps, on slices of {size} mm; with slice folds the outlines of a patient come from "
            "several models, with patient folds from one. How large a leak is depends on network, "
            "steps and slice spacing: these sizes hold here"
            + (", on phantoms." if self.synthetic else ".")
        )
        return "\n".join(parts)

    def _words_of(self, expert: str) -> str:
        flattering = self._values(expert, "slice", ALL)
        sound = self._values(expert, "patient", VOLUME)
        rows = self._rows(expert, "slice")
        alarm = rows["candidate"].gt(0)
        empty = rows["reference"].eq(0) & ~alarm
        if not len(sound):
            return f"{expert}: no patient with a lesion, so Dice in 3D is undefined."
        parts = [
            f"{expert}: Dice {flattering.mean():.2f} per slice with folds dealt by slice "
            f"({len(flattering)} slices), {sound.mean():.2f} ± {sound.std():.2f} per patient in 3D "
            f"with folds dealt by patient (n = {len(sound)}): "
            f"{self.difference(expert, 'both')}; on slices with lesion "
            f"{self.difference(expert, 'both', LESION)}."
        ]
        test, leak = self.leak(expert), self.difference(expert, "leak")
        whole = self.per_patient(expert).dropna()
        higher = int((whole["slice"] > whole["patient"]).sum())
        parts.append(
            f"The leak alone: {leak}, higher in {higher} of {len(whole)} patients, "
            f"sign-flip p = {test.p:.3g}"
            + (
                f" (with n = {test.n_nonzero} no p below 0.05 is possible)."
                if test.smallest_p > 0.05
                else "."
            )
        )
        if test.p >= 0.05:
            parts.append("That it flatters is not shown here.")
        elif leak.mean < 0:
            parts.append("Here it does not flatter: Dice is lower with slice folds.")
        elif leak.mean > 0:
            parts.append("It flatters.")
        counting = self.difference(expert, "counting slices")
        parts.append(
            f"Counting slices alone: {counting}, on slices with "
            f"lesion {self.difference(expert, 'counting slices', LESION)}; "
            f"{100 * empty.mean():.0f} % of slices are empty for both and count as 1, "
            f"{100 * (alarm & rows['reference'].eq(0)).mean():.0f} % hold a false alarm and count "
            "as 0."
        )
        if counting.mean < 0:
            parts.append("Over all slices counting does not flatter here: it lowers Dice.")
        left_out = rows["patient_id"].nunique() - len(whole)
        if left_out:
            sound_rows = self._rows(expert, "patient").groupby("patient_id")
            sums = sound_rows[["reference", "candidate"]].sum()
            alarms = int((sums["reference"].eq(0) & sums["candidate"].gt(0)).sum())
            parts.append(
                f"In no number per patient: {left_out} without lesion, where Dice in 3D is "
                f"undefined; with patient folds the network outlined something in {alarms} of them."
            )
        return " ".join(parts)

    def _rows(self, expert: str, folds: str) -> pd.DataFrame:
        if expert not in self.experts:
            raise InputError(f"no outlines of {expert!r}; there are {', '.join(self.experts)}")
        if folds not in KINDS:
            raise InputError(f"folds by {folds!r}: expected by {' or '.join(KINDS)}")
        return self.counts[self.counts["expert"].eq(expert) & self.counts["folds"].eq(folds)]

    def _volumes(self, expert: str, folds: str) -> pd.Series[float]:
        by_case = self._rows(expert, folds).groupby(["patient_id", "session"], sort=False)
        sums = by_case[["reference", "candidate", "shared"]].sum()
        dice = _dice(sums, both_empty=math.nan).where(sums["reference"] > 0)
        return dice.groupby("patient_id", sort=False).mean()

    def _values(self, expert: str, folds: str, evaluation: Evaluation) -> pd.Series[float]:
        if evaluation not in EVALUATIONS:
            raise InputError(f"evaluation {evaluation!r}: expected one of {'; '.join(EVALUATIONS)}")
        if evaluation == VOLUME:
            return self._volumes(expert, folds).dropna()
        dice = self.per_slice(expert, folds)
        return dice if evaluation == ALL else dice[self._with_lesion(expert, folds)]

    def _with_lesion(self, expert: str, folds: str) -> NDArray[np.bool_]:
        return (self._rows(expert, folds)["reference"] > 0).to_numpy()

    def _drawn(self, expert: str, folds: str, evaluation: Evaluation) -> NDArray[np.float64]:
        """Return the mean in each drawing of patients; the drawings are the same for all means."""
        # sorted, as the rows of either kind of folds come in an order of their own
        patients = np.sort(self._rows(expert, folds)["patient_id"].unique().astype(str))
        rng = np.random.default_rng(self.seed)
        drawn = rng.integers(len(patients), size=(self.n_resamples, len(patients)))
        by_patient = self._values(expert, folds, evaluation).groupby("patient_id")
        total = by_patient.sum().reindex(patients, fill_value=0.0).to_numpy()[drawn].sum(axis=1)
        n = by_patient.size().reindex(patients, fill_value=0).to_numpy()[drawn].sum(axis=1)
        return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _dice(counts: pd.DataFrame, *, both_empty: float) -> pd.Series[float]:
    size = counts["reference"] + counts["candidate"]
    return (2 * counts["shared"] / size.where(size > 0)).fillna(both_empty)


def _summary(
    expert: str, folds: str, evaluation: Evaluation, values: Iterable[float], *, network: str
) -> dict[str, Any]:
    found = np.asarray(values, dtype=np.float64)
    return {
        "expert": expert,
        "network": network,
        "folds": folds,
        "evaluation": evaluation,
        "mean": float(found.mean()) if found.size else math.nan,
        "sd": float(found.std(ddof=1)) if found.size > 1 else math.nan,
        "n": int(found.size),
        "of": "patients" if evaluation == VOLUME else "slices",
    }
