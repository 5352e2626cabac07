"""Where the models of one case stand at the thresholds shown, counted once per case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd

from boneviz.case import DEFAULT_THRESHOLD, Reader
from boneviz.errors import BonevizError
from boneviz.operating import Cuts, Dial, OperatingPoint, cuts_of, dial_of
from boneviz.readings import Readings
from boneviz.show.state import ViewState

__all__ = [
    "DEFAULT_THRESHOLD",
    "Counted",
    "Stand",
    "between_experts",
    "chosen_curve",
    "count",
    "ends_of",
    "operating_frame",
    "stands",
]

RANK = {"high-sensitivity": 0, "none": 1, "high-specificity": 2}


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """The models of one case at every threshold and between two of them.

    Parameters
    ----------
    experts : names
    cuts : by name of the model
    dial : between the sensitive and the specific model; None where there are no two
    why : which models are not here and why, and why there is no dial
    """

    experts: tuple[str, ...]
    cuts: Mapping[str, Cuts]
    dial: Dial | None
    why: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """A model, or the blend of two, cut at the threshold it is shown at.

    Parameters
    ----------
    model : name; empty, as no reader's is, for the dial
    label : what it is called here, with its setting
    threshold : from which probability on it says yes
    points : against each expert
    """

    model: str
    label: str
    threshold: float
    cuts: Cuts
    points: tuple[OperatingPoint, ...]


def ends_of(models: Sequence[Reader]) -> tuple[Reader, Reader] | None:
    """Return the most sensitive and the most specific of the study's own models, by intent.

    Models of one intent keep their order; None where there are fewer than two.
    """
    own = sorted((m for m in models if not m.variant), key=lambda model: RANK[model.intent])
    return (own[0], own[-1]) if len(own) > 1 else None


def count(readings: Readings, models: Sequence[Reader], expected: Sequence[Reader]) -> Counted:
    """Count the maps of a case.

    Parameters
    ----------
    models : whose thresholds can be set, all with a prediction of the case
    expected : readers of whom a model without a prediction is named
    """
    who = readings.case.case_id
    experts = tuple(mask.name for mask in readings.case.masks if mask.kind == "expert")
    maps = {p.reader: p for p in readings.predictions if p.reader in models}
    here = {p.reader.name for p in readings.predictions}
    lacking = [r.name for r in expected if r.kind == "model" and not r.variant]
    why = [f"{name} has no prediction of {who}." for name in lacking if name not in here]
    cuts: dict[str, Cuts] = {}
    for reader in models:
        try:
            cuts[reader.name] = cuts_of(readings.case, maps[reader])
        except BonevizError as error:
            why.append(f"{error}.")
    ends = ends_of(models)
    both = ends is not None and all(end.name in cuts for end in ends)
    dial = dial_of(readings.case, maps[ends[0]], maps[ends[1]]) if ends and both else None
    if not cuts:
        why.append("Without a model's probabilities there is no threshold to set.")
    elif dial is None:
        why.append("The dial runs between two models of the study; here are not two.")
    return Counted(experts, cuts, dial, tuple(why))


def stands(counted: Counted, state: ViewState) -> tuple[Stand, ...]:
    """Return where every model stands, and the dial where it is on."""
    thresholds = dict(state.thresholds)
    found = []
    for name, cuts in counted.cuts.items():
        threshold = thresholds.get(name, DEFAULT_THRESHOLD)
        found.append(_stand(name, f"{name} \u2265 {threshold:.2f}", cuts, threshold))
    if counted.dial is not None and state.dial is not None:
        at = state.dial
        first, second = (
            thresholds.get(end.reader.name, DEFAULT_THRESHOLD)
            for end in (counted.dial.first, counted.dial.second)
        )
        # as cutOf in front/blend.js
        threshold = (1 - at) * first + at * second
        label = f"Dial at {100 * at:.0f} % \u2265 {threshold:.2f}"
        found.append(_stand("", label, counted.dial.at(at), threshold))
    return tuple(found)


def _stand(model: str, label: str, cuts: Cuts, threshold: float) -> Stand:
    points = tuple(cuts.at(threshold, expert.name) for expert in cuts.experts)
    return Stand(model, label, threshold, cuts, points)


def between_experts(counted: Counted) -> list[OperatingPoint]:
    """Return every expert as a point against every other; none without a model's map."""
    if not counted.cuts:
        return []
    cuts = next(iter(counted.cuts.values()))
    return [
        cuts.expert(one, other)
        for other in counted.experts
        for one in counted.experts
        if one != other
    ]


def operating_frame(counted: Counted, state: ViewState) -> pd.DataFrame:
    """Return what is shown of a case, one row per outline and expert, nothing rounded.

    Returns
    -------
    Columns ``outline``, what it is called, ``dial``, from 0 to 1 where the outline is the dial's,
    and those of `OperatingPoint`.
    """
    rows = [
        {
            "outline": stand.label,
            "dial": state.dial if stand.model == "" else math.nan,
            **asdict(point),
        }
        for stand in stands(counted, state)
        for point in stand.points
    ]
    experts = between_experts(counted) if counted.experts else []
    rows += [{"outline": p.candidate, "dial": math.nan, **asdict(p)} for p in experts]
    columns = ["outline", "dial", *(field.name for field in fields(OperatingPoint))]
    return pd.DataFrame(rows, columns=columns)


def chosen_curve(counted: Counted, state: ViewState) -> tuple[str, str]:
    """Return the expert and the model whose curve is drawn: what was chosen, as far as it is here.

    Else the first expert, the first model. The dial is not here while it is off.
    """
    expert, model = state.curve or (counted.experts[0], None)
    if expert not in counted.experts:
        expert = counted.experts[0]
    dialled = model == "" and counted.dial is not None and state.dial is not None
    if model is None or (model not in counted.cuts and not dialled):
        model = next(iter(counted.cuts))
    return expert, model
