"""What every reader outlined in one case: experts' masks and models' predictions, cut to masks."""

from __future__ import annotations

from collections.abc import Sequence

from boneviz.case import Case, Prediction, Reader
from boneviz.errors import GridError, InputError
from boneviz.volume import Grid, Volume

__all__ = ["outlines_of"]


def outlines_of(
    case: Case, predictions: Sequence[Prediction], *, threshold: float
) -> dict[Reader, Volume]:
    """Return every reader's mask, the case's own first, each checked to lie on the CT's grid.

    Raises
    ------
    GridError
        A mask or prediction is not on the CT's grid.
    InputError
        Fewer than two readers, a reader twice, a prediction for another case, or a model's mask
        that comes without its prediction.
    """
    who = f"patient {case.case_id}"
    volumes: dict[Reader, Volume] = {}
    names: set[str] = set()
    for reader, mask in case.masks.items():
        _require_new(who, reader, names)
        if reader.kind == "model":
            raise InputError(
                f"{who}: the mask of {reader.name} comes without its prediction, so nobody can "
                "tell whether the model had learned from this patient; pass it in predictions"
            )
        volumes[reader] = mask
    for prediction in predictions:
        if (prediction.patient_id, prediction.session) != (case.patient_id, case.session):
            other = f"{prediction.patient_id} {prediction.session}".strip()
            raise InputError(
                f"{who}: the prediction of {prediction.reader.name} is for patient {other}; "
                "pass the predictions of this case only"
            )
        _require_new(who, prediction.reader, names)
        _require_grid(who, prediction.reader, prediction.probability.grid, case.ct.grid)
        volumes[prediction.reader] = prediction.mask(threshold)
    for reader in case.masks:
        _require_grid(who, reader, volumes[reader].grid, case.ct.grid)
    if len(volumes) < 2:
        found = ", ".join(reader.name for reader in volumes) or "none"
        raise InputError(f"{who}: readers found: {found}; expected at least two to compare")
    return volumes


def _require_new(who: str, reader: Reader, names: set[str]) -> None:
    if reader.name in names:
        raise InputError(f"{who}: reader {reader.name} appears twice; pass one reading per reader")
    names.add(reader.name)


def _require_grid(who: str, reader: Reader, found: Grid, expected: Grid) -> None:
    if not found.matches(expected):
        raise GridError(
            f"{who}: {reader.name} is on {found.describe()}, the CT on {expected.describe()}; "
            "call harmonise() first"
        )
