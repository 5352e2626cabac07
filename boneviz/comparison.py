"""How a learner's drawing compares with each expert's outline, in numbers and in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from boneviz.case import Case, Intent, Reader
from boneviz.regions import Region
from boneviz.scorerow import Scores, Status

__all__ = ["Closeness", "Comparison", "Result", "Reveal", "closeness_of", "in_ml"]

STYLE: dict[Intent, str] = {
    "high-sensitivity": "the sensitive style",
    "high-specificity": "the specific style",
    "none": "",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """A learner's drawing beside one expert's outline.

    Parameters
    ----------
    label : the expert's masked name
    scores : with the expert as reference and the learner as candidate
    regions : the parts that one or both outline. Of kind ``extra lesion``, those of the expert
        alone are missed and those of the learner alone are extra. A part that abuts the other
        outline is none of them, though it shares no voxel and counts in the scores
    """

    label: str
    scores: Scores
    regions: tuple[Region, ...]

    @property
    def expert(self) -> Reader:
        """The expert."""
        return self.scores.reference

    @property
    def words(self) -> str:
        """What was missed, what is extra, and how far apart the boundaries are."""
        who, scores = self.label, self.scores
        if scores.status == "both_empty":
            return f"{who} outlined nothing, and neither did you."
        if scores.status == "false_alarm":
            return (
                f"{who} outlined nothing; you drew {_count(scores.candidate_lesions)}, "
                f"{in_ml(scores.candidate_ml)}."
            )
        if scores.status == "missed":
            return f"You drew nothing; {_alone(self)}."
        return (
            f"{who}: Dice {scores.dice:.2f}. You drew {in_ml(scores.candidate_ml)} where {who} "
            f"has {in_ml(scores.reference_ml)}; missed {_count(scores.missed_lesions)} of "
            f"{scores.reference_lesions}, extra {_count(scores.extra_lesions)} of "
            f"{scores.candidate_lesions}; outlines lie {scores.assd_mm:.1f} mm apart on average."
        )


@dataclass(frozen=True, slots=True)
class Closeness:
    """Which of two experts a drawing that is not empty is closer to.

    Each is an expert's name, empty where neither is closer or a number is undefined for either.

    Parameters
    ----------
    by_dice : the expert with the higher Dice
    by_volume : the expert whose volume, in mL, is nearer to what was drawn
    by_boundary : the expert with the smaller average distance between outlines (ASSD)
    """

    by_dice: str
    by_volume: str
    by_boundary: str

    @property
    def overall(self) -> str:
        """The expert of the higher Dice, where volume and boundary do not say otherwise."""
        agree = {self.by_volume, self.by_boundary} <= {self.by_dice, ""}
        return self.by_dice if agree else ""


@dataclass(frozen=True, slots=True)
class Result:
    """What is kept of one case and one expert: a row of the learner's table.

    Parameters
    ----------
    case_id : the case
    reader : the expert's masked name
    intent : the expert's style
    status, dice, sensitivity, precision, missed_lesions, extra_lesions, fnv_ml, fpv_ml, assd_mm,
    hd95_mm, lesion_hd95_mm : as in `Scores`, the expert as reference, NaN where undefined
    expert_ml, learner_ml, expert_lesions, learner_lesions : what either outlined
    closer_by_dice, closer_by_volume, closer_by_boundary, closer : whether the drawing is closer
        to this expert than to the other, as in `Closeness`; never where there is none
    version : of boneviz
    """

    case_id: str
    reader: str
    intent: Intent
    status: Status
    dice: float
    sensitivity: float
    precision: float
    expert_ml: float
    learner_ml: float
    expert_lesions: int
    learner_lesions: int
    missed_lesions: int
    extra_lesions: int
    fnv_ml: float
    fpv_ml: float
    assd_mm: float
    hd95_mm: float
    lesion_hd95_mm: float
    closer_by_dice: bool
    closer_by_volume: bool
    closer_by_boundary: bool
    closer: bool
    version: str


@dataclass(frozen=True, slots=True, eq=False)
class Reveal:
    """What the learner sees of a case after committing to it.

    Parameters
    ----------
    case : with the experts' masks and the learner's drawing
    comparisons : Reader 1 first
    closeness : to one of the two experts; None where there are not two, or nothing was drawn
    """

    case: Case
    comparisons: tuple[Comparison, ...]
    closeness: Closeness | None

    @property
    def words(self) -> str:
        """The comparison in plain words, with the experts' masked names."""
        # where nobody outlined anything it is not worth a reproach
        drawn = [each.scores.candidate_ml for each in self.comparisons]
        outlined = [each.scores.reference_ml for each in self.comparisons]
        if not any(drawn) and any(outlined):
            return f"You drew nothing; {'; '.join(_alone(each) for each in self.comparisons)}."
        parts = [each.words for each in self.comparisons]
        if self.closeness is not None:
            parts.insert(0, self._style_words(self.closeness))
        return " ".join(parts)

    @property
    def results(self) -> tuple[Result, ...]:
        """What is kept of it, one row per expert."""
        return tuple(self._result(each) for each in self.comparisons)

    def _result(self, comparison: Comparison) -> Result:
        scores, name = comparison.scores, comparison.expert.name
        nearest = self.closeness or Closeness("", "", "")
        return Result(
            case_id=scores.case_id,
            reader=comparison.label,
            intent=comparison.expert.intent,
            status=scores.status,
            dice=scores.dice,
            sensitivity=scores.sensitivity,
            precision=scores.precision,
            expert_ml=scores.reference_ml,
            learner_ml=scores.candidate_ml,
            expert_lesions=scores.reference_lesions,
            learner_lesions=scores.candidate_lesions,
            missed_lesions=scores.missed_lesions,
            extra_lesions=scores.extra_lesions,
            fnv_ml=scores.fnv_ml,
            fpv_ml=scores.fpv_ml,
            assd_mm=scores.assd_mm,
            hd95_mm=scores.hd95_mm,
            lesion_hd95_mm=scores.lesion_hd95_mm,
            closer_by_dice=name == nearest.by_dice,
            closer_by_volume=name == nearest.by_volume,
            closer_by_boundary=name == nearest.by_boundary,
            closer=name == nearest.overall,
            version=scores.version,
        )

    def _style_words(self, closeness: Closeness) -> str:
        called = {}
        for each in self.comparisons:
            style = STYLE[each.expert.intent]
            called[each.expert.name] = f"{each.label} ({style})" if style else each.label
        if closeness.overall:
            return f"Your drawing is closer to {called[closeness.overall]}."
        said = [
            f"by {what} closer to {called[name]}"
            for what, name in (
                ("Dice", closeness.by_dice),
                ("volume", closeness.by_volume),
                ("boundary", closeness.by_boundary),
            )
            if name
        ]
        if not said:
            return "Your drawing is as close to one reader as to the other."
        return f"Your drawing follows neither reader throughout: {', '.join(said)}."


def closeness_of(scores: Sequence[Scores]) -> Closeness | None:
    """Say which of two experts, the references, one drawing is closer to.

    None where there are not two, and where nothing was drawn: little is not a style.
    """
    if len(scores) != 2 or not scores[0].candidate_ml:
        return None
    first, second = scores
    names = first.reference.name, second.reference.name
    return Closeness(
        by_dice=_nearer(names, -first.dice, -second.dice),
        by_volume=_nearer(names, abs(first.volume_difference_ml), abs(second.volume_difference_ml)),
        by_boundary=_nearer(names, first.assd_mm, second.assd_mm),
    )


def _nearer(names: tuple[str, str], first: float, second: float) -> str:
    """Return the name with the smaller number; nothing where they are equal or one is NaN."""
    if math.isnan(first) or math.isnan(second) or math.isclose(first, second, rel_tol=1e-9):
        return ""
    return names[0] if first < second else names[1]


def _count(n: int) -> str:
    return f"{n} lesion" if n == 1 else f"{n} lesions"


def _alone(comparison: Comparison) -> str:
    """Say what an expert outlined, beside whom nobody drew."""
    scores = comparison.scores
    if scores.reference_ml == 0:
        return f"{comparison.label} outlined nothing"
    lesions = _count(scores.reference_lesions)
    return f"{comparison.label} outlined {lesions}, {in_ml(scores.reference_ml)}"


def in_ml(volume_ml: float, *, unit: str = " mL") -> str:
    """Return a volume as people say it: 0.12 mL, 1.0 mL, 113 mL.

    Parameters
    ----------
    unit : behind the number; empty where a heading says it
    """
    digits = 2 if volume_ml < 1 else 1 if volume_ml < 10 else 0
    return f"{volume_ml:.{digits}f}{unit}"
