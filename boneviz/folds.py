"""Which patients each model may learn from: folds by patient, dealt once, shared by all models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from boneviz.errors import MALFORMED, CohortError
from boneviz.files import write_whole
from boneviz.paths import inside

__all__ = ["Folds"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Folds:
    """Which fold each patient is held out in; the same for every model.

    Parameters
    ----------
    of_patient : patient id -> fold, folds numbered from 0
    seed : the seed that dealt them
    """

    of_patient: Mapping[str, int]
    seed: int

    def __post_init__(self) -> None:
        found = sorted(set(self.of_patient.values()))
        if found != list(range(len(found))) or len(found) < 2:
            raise CohortError(
                f"folds {found}: expected at least two, numbered from 0 without a gap"
            )
        object.__setattr__(self, "of_patient", MappingProxyType(dict(self.of_patient)))

    @classmethod
    def deal(cls, size_of_patient: Mapping[str, float], *, n_folds: int, seed: int) -> Folds:
        """Split patients into folds of like size, each with small and large lesions.

        Parameters
        ----------
        size_of_patient : patient id -> lesion volume (any unit), the stratum
        n_folds : at least 2, at most the number of patients
        seed : of the shuffle within strata

        Raises
        ------
        CohortError
            Fewer patients than folds, or fewer than two folds.
        """
        if not 2 <= n_folds <= len(size_of_patient):
            raise CohortError(
                f"{n_folds} folds for {len(size_of_patient)} patients: "
                "expected at least 2 folds and at least one patient for each"
            )
        if seed < 0:
            raise CohortError(f"seed {seed}: expected 0 or more")
        rng = np.random.default_rng(seed)
        ranked = sorted(size_of_patient, key=lambda patient: (size_of_patient[patient], patient))
        fold_of: dict[str, int] = {}
        for start in range(0, len(ranked), n_folds):
            stratum = ranked[start : start + n_folds]
            fold_of.update(zip(stratum, rng.permutation(n_folds).tolist(), strict=False))
        return cls(dict(sorted(fold_of.items())), seed)

    @property
    def n_folds(self) -> int:
        """Number of folds."""
        return len(set(self.of_patient.values()))

    def held_out(self, fold: int) -> frozenset[str]:
        """Return the patients of one fold, on which its models are tested."""
        self._require(fold)
        return frozenset(p for p, f in self.of_patient.items() if f == fold)

    def training(self, fold: int) -> frozenset[str]:
        """Return the patients of all other folds, from which its models learn."""
        self._require(fold)
        return frozenset(p for p, f in self.of_patient.items() if f != fold)

    def save(self, path: Path) -> None:
        """Write the folds as JSON, whole or not at all."""
        content = {"format": FORMAT, "seed": self.seed, "of_patient": dict(self.of_patient)}
        write_whole(path, json.dumps(content, indent=1).encode())

    @classmethod
    def load(cls, path: Path) -> Folds:
        """Read folds that `save` wrote.

        Raises
        ------
        CohortError
            The file is missing, is not a folds file, or is a link that leads out of its folder.
        """
        inside(path.parent, path.name, what="folds")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls({str(p): int(f) for p, f in content["of_patient"].items()}, content["seed"])
        except FileNotFoundError as error:
            raise CohortError(
                f"{path}: no such folds file; run `boneviz crossval` first"
            ) from error
        except MALFORMED as error:
            raise CohortError(
                f"{path}: not a folds file ({error}); delete it and run again"
            ) from error

    def _require(self, fold: int) -> None:
        if not 0 <= fold < self.n_folds:
            raise CohortError(f"fold {fold}: expected 0 to {self.n_folds - 1}")
