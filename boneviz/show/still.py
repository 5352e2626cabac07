"""A still picture of the slices with a table, for where the widgets cannot run.

A notebook that is read without a kernel, as HTML or on a code host shows it in place of them; while
the widgets are alive it hides itself. `boneviz.show.lasting` keeps it up to date.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from boneviz.case import Case
from boneviz.harmonise import resample
from boneviz.picture import LETTERS, Plane, png_of
from boneviz.reportpage import table_of
from boneviz.show.pictures import HeldCase, picture_of
from boneviz.show.plan import Plan
from boneviz.volume import Grid, Volume

__all__ = ["Still", "bundle_of", "patients_html", "still_html", "still_picture"]

COLOURS = 160  # of the picture, which lies in the notebook's file
MOST_ROWS = 30
MOST_PIXELS = 340  # of one plane, each way
GAP = 4
PALE = "#f0f4f8"
BARS_MM = (200, 100, 50, 20, 10, 5)
NORMALS: dict[Plane, int] = {"axial": 2, "sagittal": 0, "coronal": 1}
# while the viewer is alive the picture is not needed; where it cannot be, neither is what stands in
# the place of a widget that cannot be found. An output may hold both, in an area of its own.
STYLE = (
    ".jp-OutputArea:has(.bv-root[data-drawn])"
    " .jp-OutputArea-child:has(.boneviz-still):not(:has(.bv-root)),"
    ".jp-OutputArea:has(.boneviz-still) .lm-Panel.jp-OutputArea-output:not(:has(*))"
    " {display:none}"
)
ASIDE = "A still picture: run the cell to go on from here. For research and teaching only."


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A still picture: of whom, its PNG file, what is drawn on it, and what is said of the PET."""

    patient: str
    png: bytes
    plan: Plan
    pet: str = ""


def still_picture(
    shown: HeldCase,
    position_mm: list[float],
    look: dict[str, Any],
    plan: Plan,
    thresholds: Any,
    dial: Mapping[str, Any],
) -> bytes:
    """Return axial, sagittal and coronal slice side by side, as a small PNG file.

    Parameters
    ----------
    shown : the case; its PET may lie on a grid of its own
    position_mm : a point on all three slices, RAS mm
    look : as the page's, see `boneviz.show.pictures.picture_of`
    plan : contours and fill
    thresholds : of models
    dial : as of the viewer; its outline is a line of the plan
    """
    pictures = []
    for plane, normal in NORMALS.items():
        thin = _slab(shown, normal, position_mm)
        extent_mm = np.array(thin.case.ct.grid.shape) * thin.case.ct.grid.spacing_mm
        mm_per_pixel = float(np.delete(extent_mm, normal).max()) / MOST_PIXELS
        wish = {
            "plane": plane,
            "position_mm": position_mm,
            "mm_per_pixel": mm_per_pixel,
            "look": look,
            "lines": plan.lines,
            "fill": plan.fill,
            "thresholds": thresholds,
            "dial": dial,
        }
        pictures.append(_marked(picture_of(thin, wish), plane, mm_per_pixel))
    size = (
        sum(picture.width for picture in pictures) + GAP * (len(pictures) - 1),
        max(picture.height for picture in pictures),
    )
    sheet = Image.new("RGB", size, "#262b30")
    x = 0
    for picture in pictures:
        sheet.paste(picture, (x, (size[1] - picture.height) // 2))
        x += picture.width + GAP
    lines = [line["colour"] for line in plan.lines]
    return png_of(np.asarray(sheet), colours=COLOURS, exact=[*lines, PALE])


def still_html(title: str, still: Still, *, below: str = "") -> str:
    """Return picture, legend and table as HTML in which every text is text.

    Parameters
    ----------
    title : above the picture, after its patient
    below : HTML below it, such as `patients_html`
    """
    plan = still.plan
    legend = "".join(
        f'<span style="margin-right:16px"><span style="border-top:3px '
        f'{"dashed" if line["dashed"] else "solid"} {line["colour"]}">&emsp;&ensp;</span> '
        f"{html.escape(line['name'])}</span>"
        for line in plan.lines
    )
    pet = f"<p>{html.escape(still.pet)}</p>" if still.pet else ""
    data = base64.b64encode(still.png).decode()
    return (
        f'<div class="boneviz-still"><style>{STYLE}</style>'
        f"<p><b>{html.escape(still.patient)}</b> {html.escape(title)}</p>"
        '<img alt="Axial, sagittal and coronal slice, fused with contours" '
        f'src="data:image/png;base64,{data}">'
        f"<p>{legend}{html.escape(plan.words)}</p>{pet}{below}<p>{html.escape(ASIDE)}</p></div>"
    )


def patients_html(table: pd.DataFrame) -> str:
    """Return the first rows of a `boneviz.show.tables.patient_table`, and how many are left out."""
    if table.empty:
        return ""
    names = {column: str(column) for column in table.columns}
    listed = table_of(table.head(MOST_ROWS).apply(_rounded), names)
    if len(table) > MOST_ROWS:
        listed += f"<p>{len(table) - MOST_ROWS} more patients are not listed.</p>"
    return listed


def bundle_of(still: Still, page: str) -> dict[str, str]:
    """Return what a front end without widgets may choose from, by media type."""
    return {
        "text/plain": f"{still.patient}, a still picture",
        "text/html": page,
        "image/png": base64.b64encode(still.png).decode(),
    }


def _slab(shown: HeldCase, normal: int, position_mm: list[float]) -> HeldCase:
    """Return one slice of a case as a case of its own, the PET resampled onto this slice alone."""
    grid = shown.case.ct.grid
    index = int(
        np.clip(round(float(grid.to_index(position_mm)[normal])), 0, grid.shape[normal] - 1)
    )
    cut = tuple(slice(index, index + 1) if axis == normal else slice(None) for axis in range(3))
    first = [index if axis == normal else 0 for axis in range(3)]
    ct = shown.case.ct.array[cut]
    thin = Grid.straight(ct.shape, grid.spacing_mm, grid.to_mm(first).tolist())
    pet = resample(shown.case.pet, thin)
    case = Case(shown.case.patient_id, shown.case.session, Volume(ct, thin, "HU"), pet)
    probabilities = {reader: array[cut] for reader, array in shown.probabilities.items()}
    return HeldCase(case, shown.styles, shown.bits[cut], probabilities)


def _marked(picture: NDArray[np.uint8], plane: Plane, mm_per_pixel: float) -> Image.Image:
    """Return a slice with the letters of its sides and a scale bar, as planes differ in scale."""
    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    width, height = image.size
    places = ((8, height / 2), (width - 8, height / 2), (width / 2, 8), (width / 2, height - 8))
    for letter, place in zip(LETTERS[plane], places, strict=True):
        draw.text(place, letter, fill=PALE, anchor="mm", stroke_width=2, stroke_fill="#000000")
    # left of the letter below
    length_mm = next((mm for mm in BARS_MM if mm / mm_per_pixel < 0.4 * width), None)
    if length_mm is not None:
        x, y = 6 + round(length_mm / mm_per_pixel) - 1, height - 6
        draw.rectangle((5, y - 2, x + 1, y + 1), fill="#000000")
        draw.line((6, y, x, y), fill=PALE, width=2)
        words = f"{length_mm / 10:g} cm"
        draw.text((6, y - 5), words, fill=PALE, anchor="lb", stroke_width=2, stroke_fill="#000000")
    return image


def _rounded(column: pd.Series[Any]) -> list[str]:
    """Return a column of `boneviz.show.tables.patient_table` as texts, a dash for the undefined."""
    digits = 1 if str(column.name).endswith("(mL)") else 3
    return [
        "\N{EN DASH}" if pd.isna(v) else f"{v:.{digits}f}" if isinstance(v, float) else str(v)
        for v in column
    ]
