"""The report's section on starred regions: where its reader is to look, with pictures."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import replace

from boneviz.cohort import Cohort
from boneviz.errors import InputError
from boneviz.harmonise import harmonise
from boneviz.palette import ReaderStyle
from boneviz.petrecord import NO_SUV
from boneviz.picture import NORMALS, Display, fused_slice, png_of
from boneviz.readings import Readings
from boneviz.regions import Region, regions, regions_table
from boneviz.reportpage import Section, figure_of, small, table_of

__all__ = ["require_of_cohort", "starred_here", "starred_section"]

WINDOW_MM = 120.0
MOST_PICTURED = 24  # regions, so that the page stays small
COLUMNS = {
    "readers": "Outlined by",
    "kind": "Kind",
    "tissue": "Into",
    "volume_ml": "mL",
    "n_voxels": "Voxels",
    "reach_mm": "Reach (mm)",
    "suv_max": "SUVmax",
    "hu_mean": "Mean HU",
    "distance_to_bone_mm": "To bone (mm)",
}


def require_of_cohort(starred: Iterable[Region], cohort: Cohort) -> None:
    """Raise `InputError` where a starred region is of a patient that the cohort does not have."""
    cases = {ref.case_id for ref in cohort}
    strange = dict.fromkeys(r.case_id for r in starred if r.case_id not in cases)
    if strange:
        raise InputError(
            f"starred regions of {', '.join(list(strange)[:5])}: not in the cohort {cohort.name}; "
            "give the stars of this cohort"
        )


def starred_here(
    starred: Sequence[Region],
    readings: Readings,
    styles: Sequence[ReaderStyle],
    *,
    before: int = 0,
) -> str:
    """Return the starred regions of one case as HTML: pictures through each, contours of its pair.

    Parameters
    ----------
    starred : of this case
    readings : of this case
    styles : of all readers
    before : how many starred regions other cases had; the first have pictures
    """
    if not starred:
        return ""
    case = harmonise(readings.outlined())
    counts = "" if case.has_suv else f" There is {NO_SUV}."
    parts = []
    for place, region in enumerate(starred, start=before):
        names = (region.reference, region.candidate)
        title = f"{region.case_id}, region {region.number}: {region.kind_in_words}"
        figures = ""
        for plane in NORMALS if place < MOST_PICTURED else ():
            picture = fused_slice(
                replace(case, masks={r: m for r, m in case.masks.items() if r.name in names}),
                plane,
                region.inside_mm,
                styles=[style for style in styles if style.name in names],
                display=Display(mm_per_pixel=0.5, window_mm=WINDOW_MM),
            )
            axis = NORMALS[plane]
            caption = f"{plane}, {'xyz'[axis]} = {region.inside_mm[axis]:.0f} mm"
            figures += figure_of(plane, caption, png_of(picture, colours=48))
        changed = "" if _is_there(region, readings) else _changed(region)
        parts.append(
            f"<div class=case><div class=head><h3>{html.escape(title)}</h3>"
            f"<div class=pictures>{figures}</div></div>"
            f"{table_of(regions_table([region]), COLUMNS, digits=1, texts=('tissue',))}"
            f"{small(f'{region.candidate} against {region.reference}.{counts}')}{changed}</div>"
        )
    return "".join(parts)


def starred_section(parts: Sequence[str]) -> Section:
    """Return the section: what `starred_here` said of each case."""
    words = (
        f"Regions that were starred in the explorer. Slices go through the middle of each, "
        f"{WINDOW_MM / 10:.0f} cm across, with the contours of the two readers compared."
    )
    return Section("starred", "Starred regions", small(words) + "".join(parts))


def _is_there(region: Region, readings: Readings) -> bool:
    """Whether the readings have this region now, every number of it the same."""
    try:
        found = regions(
            readings.case,
            region.reference,
            region.candidate,
            readings.predictions,
            rim_mm=region.rim_mm,
            threshold=region.threshold,
        )
    except InputError:  # a reader who is not there any more
        return False
    # an undefined number is equal to none, not even to itself
    wanted = str(replace(region, version="").as_row())
    return any(str(replace(each, version="").as_row()) == wanted for each in found)


def _changed(region: Region) -> str:
    words = (
        f"The readings of {region.reference} and {region.candidate} have no such region any more: "
        "they have changed since it was starred."
    )
    return f"<p class=caution>{html.escape(words)}</p>"
