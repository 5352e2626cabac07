"""What the explorer shows, as one frozen value, and the pure steps between such values."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from boneviz.case import Reader
from boneviz.errors import InputError
from boneviz.regions import Region, worst_region

__all__ = [
    "KINDS",
    "ORDERS",
    "PANELS",
    "ViewState",
    "choose_candidate",
    "choose_curve",
    "choose_metric",
    "choose_pair",
    "choose_reference",
    "choose_region",
    "choose_view",
    "filter_regions",
    "find_worst",
    "first_state",
    "is_starred",
    "join_stars",
    "listed_regions",
    "move_cursor",
    "open_worst",
    "order_regions",
    "select_case",
    "set_thresholds",
    "show_panel",
    "show_readers",
    "shown_readers",
    "step_region",
    "toggle_star",
    "turn_dial",
]

#: what a region can be, in words, as `Region.kind_in_words` says it
KINDS = (
    "extra lesion",
    "extension along bone",
    "extension into soft tissue",
    "boundary",
    "shared",
)
#: by what regions are put in order: a field of `Region`, largest first, or ``kind``
ORDERS = ("volume_ml", "suv_max", "hu_mean", "distance_to_bone_mm", "reach_mm", "kind")
#: what is shown beside the matrix: the cohort, the regions of one case, the patients of one pair,
#: where the models of one case stand at which threshold
PANELS = ("patients", "regions", "pair", "operating")


@dataclass(frozen=True, slots=True)
class ViewState:
    """What is on the screen.

    Parameters
    ----------
    case_ids : all cases, in the table's order
    reader_names : all readers, experts first
    case_id : the case shown
    metric : the number in table and matrix
    visible : names of the readers whose contours are on
    cursor_mm : RAS mm; None until a case is loaded, then its largest disagreement
    view : of the slices: ``readers``, ``disagreement``, ``error`` or ``probability``
    pair : names of the reference and the candidate that are compared; None with one reader alone
    thresholds : models and the probability from which on each says yes; 0.5 where there is none
    dial : how far between the sensitive and the specific model, 0 to 1; None while it is off
    curve : names of the expert and of the model whose curve is drawn; an empty name, which no
        reader has, is the dial's. None until one is chosen
    panel : one of `PANELS`
    kinds : which of `KINDS` are listed
    least_ml : smaller regions are not listed
    order : one of `ORDERS`
    region : number of the region gone to last; ``worst`` until the regions of the case are known,
        if it is to be the worst one
    starred : regions kept for the report, of any case and pair, in the order of keeping
    """

    case_ids: tuple[str, ...]
    reader_names: tuple[str, ...]
    case_id: str
    metric: str = "dice"
    visible: frozenset[str] = frozenset()
    cursor_mm: tuple[float, float, float] | None = None
    view: str = "readers"
    pair: tuple[str, str] | None = None
    thresholds: tuple[tuple[str, float], ...] = ()
    dial: float | None = None
    curve: tuple[str, str] | None = None
    panel: str = PANELS[0]
    kinds: frozenset[str] = frozenset(KINDS[:-1])
    least_ml: float = 0.1
    order: str = ORDERS[0]
    region: int | Literal["worst"] | None = None
    starred: tuple[Region, ...] = ()


def first_state(
    case_ids: Iterable[str], reader_names: Iterable[str], *, off: Collection[str] = ()
) -> ViewState:
    """Return the state at opening: first case, all readers on but those that are off.

    The first two readers are compared.

    Raises
    ------
    InputError
        There are no cases.
    """
    cases, readers = tuple(case_ids), tuple(reader_names)
    if not cases:
        raise InputError("a cohort without cases: nothing to explore")
    pair = (readers[0], readers[1]) if len(readers) > 1 else None
    visible = frozenset(readers).difference(off)
    return ViewState(cases, readers, cases[0], visible=visible, pair=pair)


def select_case(state: ViewState, case_id: str) -> ViewState:
    """Go to a case; the cursor is forgotten, the readers stay as they are.

    Raises
    ------
    InputError
        There is no such case.
    """
    if case_id not in state.case_ids:
        raise InputError(f"no case {case_id!r}; there is {', '.join(state.case_ids[:8])}, ...")
    if case_id == state.case_id:
        return state
    return replace(state, case_id=case_id, cursor_mm=None, region=None)


def choose_metric(state: ViewState, metric: str) -> ViewState:
    """Show another number in table and matrix."""
    return replace(state, metric=metric)


def show_readers(
    state: ViewState, names: Iterable[str], *, among: Iterable[str] | None = None
) -> ViewState:
    """Show these readers' contours and no others.

    Parameters
    ----------
    names : the readers to show
    among : the readers that this is about, as others have no outline here; all by default

    Raises
    ------
    InputError
        A name that is no reader's.
    """
    about = frozenset(state.reader_names if among is None else among)
    wanted = frozenset(names)
    if unknown := wanted.difference(state.reader_names):
        raise InputError(
            f"no reader {', '.join(sorted(unknown))}; there is {', '.join(state.reader_names)}"
        )
    return replace(state, visible=(state.visible - about) | wanted)


def move_cursor(state: ViewState, position_mm: Iterable[float]) -> ViewState:
    """Put the cursor at a point in RAS mm; one waits for the worst region no longer."""
    x, y, z = (float(value) for value in position_mm)
    if state.cursor_mm == (x, y, z):
        return state
    return replace(
        state, cursor_mm=(x, y, z), region=None if state.region == "worst" else state.region
    )


def show_panel(state: ViewState, panel: str) -> ViewState:
    """Show one of `PANELS` beside the matrix.

    Raises
    ------
    InputError
        There is no such panel.
    """
    return replace(state, panel=_one_of("panel", panel, PANELS))


def choose_view(state: ViewState, view: str) -> ViewState:
    """Show the slices in another view."""
    return replace(state, view=view)


def choose_pair(state: ViewState, reference: str, candidate: str) -> ViewState:
    """Compare these two readers, in this case and the next.

    Raises
    ------
    InputError
        A name that is no reader's, or one name twice.
    """
    for name in (reference, candidate):
        _one_of("reader", name, state.reader_names)
    if reference == candidate:
        raise InputError(f"{reference} against {reference}: expected two readers")
    if state.pair == (reference, candidate):
        return state
    return replace(state, pair=(reference, candidate), region=None)


def choose_reference(state: ViewState, name: str) -> ViewState:
    """Compare with another reference; where that is the candidate, the two change places."""
    if state.pair is None:
        return state
    reference, candidate = state.pair
    return choose_pair(state, name, reference if name == candidate else candidate)


def choose_candidate(state: ViewState, name: str) -> ViewState:
    """Compare another candidate; where that is the reference, the two change places."""
    if state.pair is None:
        return state
    reference, candidate = state.pair
    return choose_pair(state, candidate if name == reference else reference, name)


def filter_regions(
    state: ViewState, *, kinds: Iterable[str] | None = None, least_ml: float | None = None
) -> ViewState:
    """List regions of these kinds and of at least this volume; what is left out stays as it is.

    Raises
    ------
    InputError
        A kind that is not among `KINDS`, or a volume below 0 mL.
    """
    chosen = state.kinds if kinds is None else frozenset(kinds)
    for kind in chosen:
        _one_of("kind", kind, KINDS)
    least = state.least_ml if least_ml is None else float(least_ml)
    if not least >= 0:
        raise InputError(f"a least volume of {least} mL; expected 0 or more")
    return replace(state, kinds=chosen, least_ml=least)


def order_regions(state: ViewState, order: str) -> ViewState:
    """Put the regions in another order.

    Raises
    ------
    InputError
        There is no such order.
    """
    return replace(state, order=_one_of("order", order, ORDERS))


def listed_regions(state: ViewState, regions: Iterable[Region]) -> tuple[Region, ...]:
    """Return those of the regions that the state lists, in its order.

    A distance that is undefined stands first, being beyond all that was searched; an undefined
    SUV stands last. What is equal keeps the order of `boneviz.regions`.
    """
    # a volume is a count of voxels: rounding must not drop the region that is just large enough
    chosen = [
        region
        for region in regions
        if region.kind_in_words in state.kinds and region.volume_ml >= state.least_ml * (1 - 1e-9)
    ]
    if state.order == "kind":
        return tuple(sorted(chosen, key=lambda region: KINDS.index(region.kind_in_words)))
    undefined = math.inf if state.order.endswith("_mm") else -math.inf

    def falling(region: Region) -> float:
        value = float(getattr(region, state.order))
        return -(undefined if math.isnan(value) else value)

    return tuple(sorted(chosen, key=falling))


def choose_region(state: ViewState, region: Region) -> ViewState:
    """Go to a region of the case and pair shown: the cursor moves inside it."""
    return replace(state, region=region.number, cursor_mm=region.inside_mm)


def step_region(state: ViewState, regions: Iterable[Region], step: Literal[1, -1]) -> ViewState:
    """Go to the next (1) or the previous (-1) of the listed regions, round in a ring.

    Parameters
    ----------
    regions : all of the case and pair shown
    """
    listed = listed_regions(state, regions)
    if not listed:
        return state
    numbers = [region.number for region in listed]
    if state.region in numbers:
        place = numbers.index(state.region) + step
    else:
        place = 0 if step == 1 else -1
    return choose_region(state, listed[place % len(listed)])


def open_worst(state: ViewState, case_id: str, reference: str, candidate: str) -> ViewState:
    """Go to a case and, once its regions are known, to the pair's worst one.

    Raises
    ------
    InputError
        There is no such case, or no such pair.
    """
    chosen = choose_pair(select_case(state, case_id), reference, candidate)
    return replace(chosen, region="worst")


def find_worst(state: ViewState, regions: Sequence[Region]) -> ViewState:
    """Go to the worst of the regions, now that they are known, if that is what is waited for."""
    if state.region != "worst":
        return state
    worst = worst_region(regions)
    return replace(state, region=None) if worst is None else choose_region(state, worst)


def is_starred(state: ViewState, region: Region) -> bool:
    """Whether a region is kept for the report."""
    return _key(region) in map(_key, state.starred)


def toggle_star(state: ViewState, regions: Iterable[Region]) -> ViewState:
    """Keep the region gone to last for the report, or no longer.

    Parameters
    ----------
    regions : all of the case and pair shown
    """
    chosen = next((region for region in regions if region.number == state.region), None)
    if chosen is None:
        return state
    others = tuple(region for region in state.starred if _key(region) != _key(chosen))
    starred = (*state.starred, chosen) if len(others) == len(state.starred) else others
    return replace(state, starred=starred)


def _key(region: Region) -> tuple[str, str, str, str, int]:
    # numbers that are NaN make a region differ from itself, computed again
    of_pair = (region.reference, region.candidate, region.number)
    return (region.patient_id, region.session, *of_pair)


def _one_of(what: str, name: str, known: Sequence[str]) -> str:
    if name not in known:
        raise InputError(f"no {what} {name!r}; expected one of {', '.join(known)}")
    return name


def set_thresholds(state: ViewState, thresholds: Mapping[str, float]) -> ViewState:
    """Let models say yes from these probabilities on."""
    return replace(state, thresholds=tuple(sorted(thresholds.items())))


def join_stars(state: ViewState, starred: Iterable[Region]) -> ViewState:
    """Keep these regions for the report too."""
    new = [region for region in starred if not is_starred(state, region)]
    return replace(state, starred=(*state.starred, *new))


def turn_dial(state: ViewState, at: float | None) -> ViewState:
    """Go between the sensitive model, 0, and the specific one, 1; None turns the dial off.

    Raises
    ------
    InputError
        Beyond the two models.
    """
    if at is not None and not 0 <= at <= 1:
        raise InputError(f"dial at {at}: expected 0, the first model, to 1, the second")
    return replace(state, dial=at)


def choose_curve(state: ViewState, expert: str, model: str) -> ViewState:
    """Draw the curve of a model, or with an empty name of the dial, against an expert.

    Raises
    ------
    InputError
        A name that is no reader's.
    """
    for name in (expert, model) if model else (expert,):
        _one_of("reader", name, state.reader_names)
    return replace(state, curve=(expert, model))


def shown_readers(
    readers: Iterable[Reader], most: int
) -> tuple[tuple[Reader, ...], tuple[Reader, ...]]:
    """Return who is shown and who is left out where there are more readers than can be shown.

    Experts come first, then models, then variants of models, each in their order.
    """
    ranked = sorted(readers, key=lambda reader: (reader.kind == "model", bool(reader.variant)))
    return tuple(ranked[:most]), tuple(ranked[most:])
