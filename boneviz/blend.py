"""Probabilities as the levels in which they are stored, and the map between two models.

What a step of the dial needs is here too, so that a panel and a map of one blend never differ.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from boneviz.case import Prediction, Reader
from boneviz.errors import GridError, InputError
from boneviz.volume import Volume

__all__ = ["TOP", "Origin", "blend", "blended_levels", "blended_values", "levels_of"]

#: the level of probability 1
TOP = 255
# as `boneviz.nifti` reads what it has stored
STORED = np.arange(TOP + 1, dtype=np.float32) * np.float32(1 / TOP)
OFF_STEP = 1e-3  # of a step: float32 is exact to 2e-5 of one


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose map it is, of which case, and whether it says anything about new patients.

    Parameters
    ----------
    patient_id, session : the case
    reader : the model, or the blend of two
    held_out : whether no model in it had learned from this patient
    demonstration : whether a model in it learned from phantoms only
    """

    patient_id: str
    session: str
    reader: Reader
    held_out: bool
    demonstration: bool

    @classmethod
    def of(cls, prediction: Prediction) -> Origin:
        """Return the origin of one model's map."""
        return cls(
            prediction.patient_id,
            prediction.session,
            prediction.reader,
            prediction.held_out,
            prediction.demonstration,
        )

    @classmethod
    def between(cls, first: Prediction, second: Prediction, t: float) -> Origin:
        """Return the origin of a blend; at 0 and at 1 the model's own."""
        if t in (0, 1):
            return cls.of(second if t else first)
        return cls(
            first.patient_id,
            first.session,
            Reader(f"{first.reader.name} to {second.reader.name} at {t:.3g}", "model"),
            first.held_out and second.held_out,
            first.demonstration or second.demonstration,
        )


def blend(first: Prediction, second: Prediction, t: float) -> Prediction:
    r"""Return the prediction between two models, ``(1 - t) p_first + t p_second``.

    The blend is taken between the stored levels 0 to 255 and rounded to the nearest level, a half
    to the even one, as `boneviz.nifti` stores a probability. So it is a map like any other:
    written, read and scored it says what the dial says. At 0 and at 1 it is either model to the
    last digit, in between no voxel leaves the span of the two, and what both call 0 stays 0. A
    blend of logits, the other custom, has no value where a stored level is 0 or 255, which is
    nearly everywhere, and would rest on an arbitrary cut there.

    Parameters
    ----------
    first, second : of one case on one grid, in the 255 steps in which predictions are stored
    t : 0 to 1

    Returns
    -------
    Prediction
        At 0 and at 1 the model's own. In between it is held out only where both are, a
        demonstration where either is, and `fold` is that of the first.

    Raises
    ------
    InputError
        `t` is out of range, two cases, or probabilities between the steps.
    GridError
        Two grids.
    """
    _require_one_case(first, second)
    maps = first.probability.array, second.probability.array
    some = (maps[0] > 0) | (maps[1] > 0)
    first_level, first_value = levels_of(first, maps[0][some])
    second_level, second_value = levels_of(second, maps[1][some])
    levels = blended_levels(t)
    if t in (0, 1):
        return second if t else first
    origin = Origin.between(first, second, t)
    array = np.zeros(some.shape, dtype=np.float32)
    value = blended_values(first_value, second_value, t)
    array[some] = value[levels[first_level, second_level]]
    return replace(
        first,
        reader=origin.reader,
        probability=Volume(array, first.probability.grid, "probability"),
        checkpoint_id=f"{first.checkpoint_id}+{second.checkpoint_id}",
        trained_on=first.trained_on | second.trained_on,
        demonstration=origin.demonstration,
    )


def levels_of(
    prediction: Prediction, probability: NDArray[np.floating]
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the level of each probability, and the (256,) probabilities that these stand for.

    Raises
    ------
    InputError
        A probability lies between the levels, or a level stands for two probabilities.
    """
    steps = probability * np.float32(TOP)
    level = np.rint(steps).astype(np.uint8)
    value = STORED.copy()
    value[level.reshape(-1)] = probability.reshape(-1)
    if probability.dtype != np.float32 or (
        value[0] != 0
        or np.abs(steps - level).max(initial=0) > OFF_STEP
        or (value[level] != probability).any()
    ):
        raise InputError(
            f"patient {prediction.patient_id}: probabilities of {prediction.reader.name} lie "
            f"between the {TOP} steps in which they are stored, expected multiples of 1/{TOP} as "
            "float32; call write_prediction() and read_prediction() first"
        )
    return level, value


def blended_levels(t: float) -> NDArray[np.uint8]:
    """Return the level of every pair of levels, (256, 256)."""
    if not 0 <= t <= 1:
        raise InputError(f"dial at {t}: expected 0, the first model, to 1, the second")
    level = np.arange(TOP + 1, dtype=np.float64)
    return np.rint((1 - t) * level[:, None] + t * level).astype(np.uint8)


def blended_values(
    first: NDArray[np.float32], second: NDArray[np.float32], t: float
) -> NDArray[np.float32]:
    """Return the probabilities that levels stand for; two maps may differ in the last digit."""
    between = (1 - t) * first.astype(np.float64) + t * second.astype(np.float64)
    return between.astype(np.float32)


def _require_one_case(first: Prediction, second: Prediction) -> None:
    cases = [f"{p.patient_id} {p.session}".strip() for p in (first, second)]
    if cases[0] != cases[1]:
        raise InputError(
            f"a blend of patient {cases[0]} ({first.reader.name}) and patient {cases[1]} "
            f"({second.reader.name}): expected two predictions of one case"
        )
    grids = first.probability.grid, second.probability.grid
    if not grids[0].matches(grids[1]):
        raise GridError(
            f"patient {cases[0]}: {second.reader.name} is on {grids[1].describe()}, "
            f"{first.reader.name} on {grids[0].describe()}; predict both on the CT's grid"
        )
