"""A view of the explorer as JSON, to be opened again; what is no such text is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, get_args

from boneviz.errors import InputError
from boneviz.palette import COLOUR_MAPS
from boneviz.picture import Mode
from boneviz.regionrows import region_of_row
from boneviz.regions import Region
from boneviz.show.state import KINDS, ORDERS, PANELS, ViewState
from boneviz.show.tables import METRICS
from boneviz.show.viewer import MAX_ZOOM, PLANES, VIEWS

__all__ = ["LINK_VERSION", "Look", "link_of", "read_link"]

LINK_VERSION = 2
READ_VERSIONS = (1, 2)
MOST_LETTERS = 1_000_000
# what the cohort says, not the link
OF_THE_COHORT = ("case_ids", "reader_names")


@dataclass(frozen=True, slots=True)
class Look:
    """How the slices look: window (HU), SUV range, and the rest of the viewer's traits.

    Parameters
    ----------
    filled, alone : as the viewer's traits; not in links of version 1
    frame : zoom and middle (mm, RAS) of the case shown; None where all of it is in view
    counts_range : of a PET in counts, beside the SUV range, which is that of other patients; None
        where the PET is in SUVbw
    """

    level: float
    width: float
    suv_min: float
    suv_max: float
    opacity: float
    mode: str
    colour_map: str
    exact: bool
    heat: bool
    filled: bool = False
    alone: str = ""
    frame: tuple[float, tuple[float, ...]] | None = None
    counts_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, viewer: Any) -> Look:
        """Return the present look of a viewer."""
        values = {name: getattr(viewer, name) for name in OF_ALL_CASES}
        frame = viewer.frame
        return cls(
            **values,
            frame=(frame["zoom"], tuple(frame["centre_mm"])) if frame else None,
            counts_range=tuple(viewer.counts_range) if _counts(viewer) else None,
        )

    def onto(self, viewer: Any) -> None:
        """Give a viewer this look."""
        for name in OF_ALL_CASES:
            setattr(viewer, name, getattr(self, name))
        zoom, centre_mm = self.frame or (1.0, ())
        viewer.frame = {"zoom": zoom, "centre_mm": list(centre_mm)} if self.frame else {}
        if self.counts_range is not None and _counts(viewer):
            viewer.counts_range = list(self.counts_range)


OF_ONE_CASE = ("frame", "counts_range")
OF_ALL_CASES = tuple(field.name for field in fields(Look) if field.name not in OF_ONE_CASE)


def _counts(viewer: Any) -> bool:
    """Whether the case shown has a PET in counts."""
    return bool(viewer.case_info.get("pet", {}).get("unit") == "counts")


def link_of(state: ViewState, look: Look) -> str:
    """Return state and look as one line of JSON.

    It names patients and readers as the cohort does, and holds no image.
    """
    view: dict[str, Any] = {
        field.name: getattr(state, field.name)
        for field in fields(state)
        if field.name not in OF_THE_COHORT
    }
    view["visible"] = [name for name in state.reader_names if name in state.visible]
    view["kinds"] = [kind for kind in KINDS if kind in state.kinds]
    view["thresholds"] = dict(state.thresholds)
    view["starred"] = [_plain(region.as_row()) for region in state.starred]
    shown = {name: getattr(look, name) for name in OF_ALL_CASES}
    if look.frame is not None:
        shown["frame"] = [look.frame[0], list(look.frame[1])]
    if look.counts_range is not None:
        shown["counts_range"] = list(look.counts_range)
    content = {"boneviz": "view", "version": LINK_VERSION, **view, "look": shown}
    return json.dumps(content, allow_nan=False, ensure_ascii=False)


def read_link(text: str, *, on: ViewState) -> tuple[ViewState, Look]:
    """Return the state and the look that `link_of` wrote.

    Parameters
    ----------
    text : the link
    on : any state of the same cohort, which knows its cases and readers

    Raises
    ------
    InputError
        No link, one of another version, or one that names what is not in this cohort or cannot
        be shown.
    """
    content = _object(_parsed(text), "the link")
    if content.pop("boneviz", None) != "view":
        raise InputError("no link of the explorer: expected a text that its button Copy link made")
    if (version := content.pop("version", None)) not in READ_VERSIONS or version is True:
        raise InputError(
            f"a link of version {_short(version)}, expected {LINK_VERSION}: "
            "open it with the boneviz that made it"
        )
    given = _object(content.pop("look", None), "look")
    look = {"counts_range": None, "frame": None, "filled": False, "alone": "", **given}
    values = _checked(content, _state_fields(on), "the link")
    seen = Look(**_checked(look, LOOK_FIELDS, "look"))
    if not seen.suv_max > seen.suv_min:
        raise InputError(f"a SUV range from {seen.suv_min:g} to {seen.suv_max:g}; expected more")
    return replace(on, **values), seen


Check = Callable[[Any], Any]


def _parsed(text: str) -> Any:
    if not isinstance(text, str) or len(text) > MOST_LETTERS:
        raise InputError(f"no link: expected a text of at most {MOST_LETTERS} letters")

    def no_constant(name: str) -> None:
        raise ValueError(f"{name} is no number of a link")

    try:
        return json.loads(text, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"no link: it is not JSON ({_short(str(error))})") from error


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected names with values, found {_short(value)}")
    return dict(value)


def _checked(given: Mapping[str, Any], checks: Mapping[str, Check], where: str) -> dict[str, Any]:
    for name in given:
        if name not in checks:
            near = get_close_matches(name, checks, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"{where} has {_short(name)}, which no link has{hint}")
    if lacking := [name for name in checks if name not in given]:
        raise InputError(f"{where} lacks {', '.join(lacking)}")
    found = {}
    for name, check in checks.items():
        try:
            found[name] = check(given[name])
        except InputError as error:
            raise InputError(f"{name} of {where}: {error}") from error
    return found


def _state_fields(on: ViewState) -> dict[str, Check]:
    """Return what each field of a state may be, for one cohort."""
    reader = _among(on.reader_names, "reader of this cohort")
    region = _region(on)
    return {
        "case_id": _among(on.case_ids, "patient of this cohort"),
        "metric": _among(list(METRICS.values()), "metric"),
        "visible": lambda value: frozenset(map(reader, _several(value))),
        "cursor_mm": _optional(lambda value: tuple(map(_number(), _several(value, 3)))),
        "view": _among(VIEWS, "view"),
        "pair": _optional(lambda value: _pair(tuple(map(reader, _several(value, 2))))),
        "thresholds": lambda value: tuple(
            sorted((reader(name), _threshold(t)) for name, t in _object(value, "it").items())
        ),
        "dial": _optional(_number(0, 1)),
        "curve": _optional(lambda value: _curve(_several(value, 2), reader)),
        "panel": _among(PANELS, "panel"),
        "kinds": lambda value: frozenset(map(_among(KINDS, "kind"), _several(value))),
        "least_ml": _number(0),
        "order": _among(ORDERS, "order"),
        "region": _optional(_region_number),
        "starred": lambda value: tuple(map(region, _several(value))),
    }


def _among(known: Sequence[str], what: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise InputError(f"no {what} is called {_short(value)}")
        return value

    return check


def _number(low: float = -math.inf, high: float = math.inf) -> Check:
    def check(value: Any) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # 1e999 is infinite, and an integer may be too large for a float
        if not number or not abs(value) < 1e9 or not low <= value <= high:
            raise InputError(f"expected a number in its range, found {_short(value)}")
        return float(value)

    return check


def _count(value: Any) -> float:
    """Return a value of a PET in counts, which may be larger than any other number of a link."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e30:
        raise InputError(f"expected a number in its range, found {_short(value)}")
    return float(value)


def _range(ends: tuple[float, ...]) -> tuple[float, ...]:
    if not ends[1] > ends[0]:
        raise InputError(f"from {ends[0]:g} to {ends[1]:g}; expected more")
    return ends


def _frame(zoom: Any, centre_mm: Any) -> tuple[float, tuple[float, ...]]:
    return _number(0.5, MAX_ZOOM)(zoom), tuple(map(_number(), _several(centre_mm, 3)))


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise InputError(f"expected true or false, found {_short(value)}")
    return value


def _several(value: Any, count: int | None = None) -> list[Any]:
    if not isinstance(value, list) or (count is not None and len(value) != count):
        raise InputError(f"expected a list{f' of {count}' * bool(count)}, found {_short(value)}")
    return value


def _optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _pair(pair: tuple[str, ...]) -> tuple[str, ...]:
    if pair[0] == pair[1]:
        raise InputError(f"{_short(pair[0])} twice; expected two readers")
    return pair


def _curve(names: list[Any], reader: Check) -> tuple[str, str]:
    """Return an expert and a model; the dial between the models has an empty name."""
    expert, model = names
    return reader(expert), "" if model == "" else reader(model)


def _threshold(value: Any) -> float:
    threshold: float = _number(0, 1)(value)
    if threshold == 0:
        raise InputError("a threshold of 0; expected more")
    return threshold


def _region_number(value: Any) -> int | str:
    if value == "worst":
        return "worst"
    number: float = _number(1)(value)
    if not isinstance(value, int):
        raise InputError(f"expected a whole number, found {_short(value)}")
    return int(number)


def _region(on: ViewState) -> Check:
    def check(value: Any) -> Region:
        region = region_of_row(_object(value, "a region"))
        _among(on.case_ids, "patient of this cohort")(region.case_id)
        for name in (region.reference, region.candidate):
            _among(on.reader_names, "reader of this cohort")(name)
        return region

    return check


LOOK_FIELDS: dict[str, Check] = {
    "level": _number(),
    "width": _number(1),
    "suv_min": _number(),
    "suv_max": _number(),
    "opacity": _number(0, 1),
    "mode": _among(get_args(Mode), "mode"),
    "colour_map": _among(tuple(COLOUR_MAPS), "colour map"),
    "exact": _truth,
    "filled": _truth,
    "alone": _among(("", *PLANES), "plane"),
    "frame": _optional(lambda value: _frame(*_several(value, 2))),
    "heat": _truth,
    "counts_range": _optional(lambda value: _range(tuple(map(_count, _several(value, 2))))),
}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as JSON knows it: undefined numbers are null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
