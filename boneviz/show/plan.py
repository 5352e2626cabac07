"""What each view draws, decided as the page decides it (`front/modes.js`), for pictures of it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from boneviz.case import Reader
from boneviz.palette import PAIR_COLOURS, ReaderStyle

__all__ = ["Plan", "pair_of", "plan_of"]


@dataclass(frozen=True, slots=True)
class Plan:
    """Contours, and what is filled below them.

    Parameters
    ----------
    lines : name, colour and dashes of each contour
    fill : its kind (``none``, ``areas``, ``pair``, ``heat`` or ``wash``) and whose
    words : what the fill means
    """

    lines: tuple[dict[str, Any], ...]
    fill: dict[str, Any]
    words: str


def pair_of(
    view: str, pair: Sequence[str], readers: Sequence[Reader], soft: Collection[str]
) -> tuple[str, str] | None:
    """Return reference and candidate of a view: those chosen as far as it allows, else others.

    Parameters
    ----------
    pair : as chosen
    readers : in the order of the legend
    soft : names of the models that come with probabilities
    """
    by_name = {reader.name: reader for reader in readers}
    references = candidates = list(by_name)
    if view == "error":
        references = [name for name, reader in by_name.items() if reader.kind == "expert"]
        candidates = [name for name, reader in by_name.items() if reader.kind != "expert"]
    if view == "probability":
        candidates = [name for name in by_name if name in soft]
    chosen = _first(name for name in reversed(pair) if name in candidates)
    against = _first(name for name in pair if name != chosen and name in references)
    if against is None and chosen is None:
        against = _first(references)
    candidate = chosen
    if candidate is None and view != "disagreement":
        candidate = _first(n for n in candidates if by_name[n].learned_from == against)
    if candidate is None:
        candidate = _first(name for name in candidates if name != against)
    reference = against
    if reference is None and candidate is not None:
        teacher = by_name[candidate].learned_from
        others = (name for name in references if name != candidate)
        reference = teacher if teacher in references else _first(others)
    return (reference, candidate) if reference and candidate else None


def plan_of(
    view: str,
    pair: Sequence[str],
    styles: Sequence[ReaderStyle],
    *,
    soft: Collection[str],
    visible: Collection[str],
    heat: bool,
    filled: bool = False,
) -> Plan:
    """Return what a view draws; the contours of the visible readers where it has nothing to show.

    Parameters
    ----------
    view, pair, visible, heat, filled : as the traits of the viewer
    styles : of the readers, in the order of the legend
    soft : names of the models that come with probabilities
    """
    lines = {s.name: {"name": s.name, "colour": s.colour, "dashed": s.dashed} for s in styles}
    shown = pair_of(view, pair, [style.reader for style in styles], soft)
    if view == "probability" and soft:
        model = shown[1] if shown else next(name for name in lines if name in soft)
        own = tuple(line for name, line in lines.items() if name in (*(shown or ()), model))
        words = f"filled: probability of {model}, 0 to 1"
        return Plan(own, {"kind": "wash", "model": model}, words)
    if view == "readers" or shown is None:
        own = tuple(line for name, line in lines.items() if name in visible)
        areas = {"kind": "areas", "names": [line["name"] for line in own]}
        return Plan(own, areas if filled and view == "readers" else {"kind": "none"}, "")
    reference, candidate = shown
    if view == "disagreement" and heat:
        return Plan((), {"kind": "heat"}, f"filled: how many of {len(styles)} readers say yes")
    colours = dict(zip((reference, candidate), PAIR_COLOURS, strict=False))
    own = tuple(
        {"name": name, "colour": colours[name], "dashed": name == candidate}
        for name in lines
        if name in colours
    )
    both = "found" if view == "error" else "both"
    fill = {"kind": "pair", "reference": reference, "candidate": candidate}
    return Plan(own, fill, f"filled: only {reference}, only {candidate}, and {both}")


def _first(names: Any) -> str | None:
    return next(iter(names), None)
