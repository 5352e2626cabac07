"""What a teaching session says after a case: tables as HTML, and the differences as a list."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from boneviz.comparison import STYLE, Result, Reveal, in_ml
from boneviz.learnerfile import over_session
from boneviz.regions import Region

__all__ = ["case_table", "differences", "progress_table", "session_table"]

NONE = "\u2013"


def case_table(results: Sequence[Result], colours: Mapping[str, str]) -> str:
    """Return how a drawing compares with each expert, one row per expert.

    Parameters
    ----------
    results : of one case
    colours : masked name -> ``#rrggbb`` of the contour
    """
    head = (
        "Compared with",
        "Dice",
        "Missed lesions",
        "Extra lesions",
        "Boundary, mean mm",
        "HD95, mm",
        "Reader, mL",
        "You, mL",
        "Closer in",
    )
    rows = []
    for each in results:
        closer = (
            ("Dice", each.closer_by_dice),
            ("volume", each.closer_by_volume),
            ("boundary", each.closer_by_boundary),
        )
        rows.append(
            (
                _name(each.reader, STYLE[each.intent], colours.get(each.reader, "")),
                _number(each.dice, 2),
                _lesions(each.missed_lesions, each.expert_lesions, each.fnv_ml),
                _lesions(each.extra_lesions, each.learner_lesions, each.fpv_ml),
                _number(each.assd_mm, 1),
                _number(each.hd95_mm, 1),
                in_ml(each.expert_ml, unit=""),
                in_ml(each.learner_ml, unit=""),
                ", ".join(what for what, so in closer if so) or NONE,
            )
        )
    return _table("This case", head, rows)


def session_table(table: pd.DataFrame) -> str:
    """Return the session so far, one row per expert; empty before the first commitment.

    Parameters
    ----------
    table : of `LearnerFile.table`
    """
    if table.empty:
        return ""
    head = (
        "Compared with",
        "Dice, mean",
        "Missed lesions",
        "Extra lesions",
        "Boundary, mean mm",
        "Reader, mL",
        "You, mL",
        "Closer in",
    )
    rows = [
        (
            _name(str(each["reader"]), STYLE[each["intent"]], ""),
            f"{_number(each['dice_mean'], 2)} (n = {each['n_defined']})",
            f"{each['missed_lesions']} of {each['expert_lesions']}",
            f"{each['extra_lesions']} of {each['learner_lesions']}",
            f"{_number(each['assd_mm_mean'], 1)} (n = {each['n_both']})",
            in_ml(each["expert_ml"], unit=""),
            in_ml(each["learner_ml"], unit=""),
            f"{each['n_closer']} of {each['n_cases']} cases",
        )
        for each in over_session(table).to_dict("records")
    ]
    n = table["case_id"].nunique()
    cases = "1 case" if n == 1 else f"{n} cases"
    return _table(f"The session so far, {cases}", head, rows)


def progress_table(table: pd.DataFrame) -> str:
    """Return Dice, missed and extra lesions case by case, in the order of reading."""
    if table.empty:
        return ""
    readers = [str(name) for name in dict.fromkeys(table["reader"])]
    head = ["Case"]
    for reader in readers:
        head += [f"Dice, {reader}", f"Missed, {reader}", f"Extra, {reader}"]
    rows = []
    for case_id, part in table.groupby("case_id", sort=False):
        cells = [html.escape(str(case_id))]
        by_reader = {row["reader"]: row for row in part.to_dict("records")}
        for reader in readers:
            row = by_reader[reader]
            cells += [
                _number(row["dice"], 2),
                f"{row['missed_lesions']} of {row['expert_lesions']}",
                f"{row['extra_lesions']} of {row['learner_lesions']}",
            ]
        closest = [reader for reader in readers if by_reader[reader]["closer"]]
        cells.append(html.escape(", ".join(closest)) or NONE)
        rows.append(tuple(cells))
    return _table("Case by case", (*head, "Closer to"), rows)


def differences(reveal: Reveal) -> list[tuple[str, Region]]:
    """Return where a drawing and the experts differ, in words: missed and extra lesions first."""
    found = []
    for comparison in reveal.comparisons:
        for region in comparison.regions:
            if region.kind == "shared":
                continue
            by_expert = region.readers == (comparison.expert.name,)
            if region.kind == "extra lesion":
                what = "missed lesion" if by_expert else "extra lesion"
            else:
                who = comparison.label if by_expert else "you"
                what = f"{region.kind_in_words}, drawn by {who} alone"
            suv = "" if math.isnan(region.suv_max) else f", SUVmax {region.suv_max:.1f}"
            words = f"{comparison.label}: {what}, {in_ml(region.volume_ml)}{suv}"
            found.append((words, region))
    return sorted(found, key=lambda each: (each[1].kind != "extra lesion", -each[1].volume_ml))


def _name(reader: str, style: str, colour: str) -> str:
    swatch = (
        '<span aria-hidden="true" style="display:inline-block;width:20px;height:3px;'
        f'margin-right:7px;vertical-align:middle;background:{html.escape(colour)}"></span>'
        if colour
        else ""
    )
    return f"{swatch}{html.escape(reader)}{f', {html.escape(style)}' if style else ''}"


def _lesions(n: int, of: int, volume_ml: float) -> str:
    return f"{n} of {of}, {in_ml(volume_ml)}" if n else f"0 of {of}"


def _number(value: float, decimals: int) -> str:
    return NONE if math.isnan(value) else f"{value:.{decimals}f}"


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose cells are HTML already and whose headings are text."""
    cells = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in head)
    lines = "".join(
        f'<tr><th scope="row">{row[0]}</th>{"".join(f"<td>{each}</td>" for each in row[1:])}</tr>'
        for row in rows
    )
    return (
        '<div class="boneviz-results"><table>'
        f"<caption>{html.escape(caption)}</caption>"
        f"<thead><tr>{cells}</tr></thead><tbody>{lines}</tbody></table></div>"
    )
