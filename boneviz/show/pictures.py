"""Slices as pictures for a page without WebGL2, with the same contours and colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boneviz.blend import blended_levels
from boneviz.case import DEFAULT_THRESHOLD, Case, Reader
from boneviz.harmonise import harmonise
from boneviz.palette import PAIR_COLOURS, ReaderStyle, colour_map, heat_colours, rgb_of
from boneviz.picture import Display, Overlay, fused_slice
from boneviz.show.packing import MAX_READERS, least_byte
from boneviz.volume import Volume

__all__ = ["HeldCase", "picture_of"]

AREA_COVER = 0.3  # of one reader's tint, as in the shader


@dataclass(frozen=True, slots=True, eq=False)
class HeldCase:
    """A case as the viewer holds it.

    Parameters
    ----------
    case : on straight axes
    styles : the readers, in the order of the bits
    bits : (X, Y, Z) uint8, one bit per reader
    probabilities : model -> (X, Y, Z) uint8, the probability times 255
    """

    case: Case
    styles: tuple[ReaderStyle, ...]
    bits: NDArray[np.uint8]
    probabilities: Mapping[Reader, NDArray[np.uint8]]

    def on_one_grid(self) -> HeldCase:
        """Return the same with the PET on the CT's grid."""
        return self if self.case.on_one_grid else replace(self, case=harmonise(self.case))

    def mask(self, name: str, thresholds: Mapping[str, float]) -> NDArray[np.bool_]:
        """Return where a reader says yes: a model where its probability reaches its threshold."""
        place, style = next((p, s) for p, s in enumerate(self.styles) if s.name == name)
        probability = self.probabilities.get(style.reader)
        if probability is None:
            return np.asarray(self.bits >> np.uint8(place) & 1, dtype=bool)
        least = least_byte(thresholds.get(name, DEFAULT_THRESHOLD))
        return np.asarray(probability >= least)

    def can_dial(self, dial: Mapping[str, Any]) -> bool:
        """Whether both models of a dial are here, and one more reader finds place."""
        soft = [reader.name for reader in self.probabilities]
        both = dial.get("first") in soft and dial.get("second") in soft
        return both and len(self.styles) < MAX_READERS

    def dialled(self, dial: Mapping[str, Any], threshold: float) -> NDArray[np.bool_]:
        """Return where the blend of two models says yes from a threshold on."""
        by_name = {reader.name: array for reader, array in self.probabilities.items()}
        first, second = by_name[dial["first"]], by_name[dial["second"]]
        return np.asarray(blended_levels(dial["at"])[first, second] >= least_byte(threshold))


def picture_of(shown: HeldCase, wish: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return the slice that a page asks for as (height, width, 3) uint8.

    Parameters
    ----------
    shown : the case, on one grid
    wish : plane, position, look, thresholds; ``lines``, the names, colours and dashes of the
        contours; ``fill``: its kind (``none``, ``areas``, ``pair``, ``heat`` or ``wash``) and
        whose;
        ``dial``: as of the viewer, for a contour of nobody in the case
    """
    look, thresholds = wish["look"], wish["thresholds"]
    by_name = {style.name: style.reader for style in shown.styles}
    grid = shown.case.ct.grid
    styles, masks = [], {}
    for line in wish["lines"]:
        name = line["name"]
        reader = by_name.get(name) or Reader(name, "model")
        drawn = (
            shown.mask(name, thresholds)
            if name in by_name
            else shown.dialled(wish["dial"], thresholds[name])
        )
        styles.append(ReaderStyle(reader, line["colour"], line["dashed"]))
        masks[reader] = Volume(drawn, grid, "label")
    return fused_slice(
        replace(shown.case, masks=masks),
        wish["plane"],
        wish["position_mm"],
        styles=styles,
        overlay=_overlay(shown, wish["fill"], thresholds, look["colourMap"]),
        display=Display(
            level_hu=look["level"],
            width_hu=look["width"],
            suv_min=look["suvMin"],
            suv_max=look["suvMax"],
            # the page names one range, in the unit of the case
            counts=None if shown.case.has_suv else (look["suvMin"], look["suvMax"]),
            opacity=look["opacity"],
            mode=look["mode"],
            colour_map=look["colourMap"],
            mm_per_pixel=wish["mm_per_pixel"],
        ),
    )


def _overlay(
    shown: HeldCase, fill: Mapping[str, Any], thresholds: Mapping[str, float], pet_map: str
) -> Overlay | None:
    """Return what is filled, coded by voxel, with a colour per code; cover as in the shader."""
    rgba = np.zeros((256, 4), dtype=np.float32)
    if fill["kind"] == "pair":
        reference, candidate = (
            shown.mask(fill[who], thresholds) for who in ("reference", "candidate")
        )
        rgba[1:4, :3] = [rgb_of(colour) for colour in PAIR_COLOURS]
        # without stripes to let the uptake through, a little more than the shader's tint
        rgba[1:4, 3] = 0.45
        return Overlay(reference + np.uint8(2) * candidate, rgba)
    if fill["kind"] == "areas":
        return _areas(shown, fill["names"], thresholds)
    if fill["kind"] == "heat":
        names = [style.name for style in shown.styles]
        votes = np.zeros(shown.bits.shape, dtype=np.uint8)
        for name in names:
            votes += shown.mask(name, thresholds)
        rgba[1 : len(names) + 1, :3] = [rgb_of(colour) for colour in heat_colours(len(names))]
        rgba[1 : len(names) + 1, 3] = 0.8
        return Overlay(votes, rgba)
    if fill["kind"] == "wash":
        model = next(style.reader for style in shown.styles if style.name == fill["model"])
        rgba[:, :3] = colour_map("inferno" if pet_map == "viridis" else "viridis")
        rgba[:, 3] = 0.8 * np.minimum(1, np.arange(256) / 255 / 0.2)
        return Overlay(shown.probabilities[model], rgba)
    return None


def _areas(shown: HeldCase, names: Sequence[str], thresholds: Mapping[str, float]) -> Overlay:
    """Return what each reader marks, one tint over the other where several do."""
    colours = {style.name: np.array(rgb_of(style.colour)) for style in shown.styles}
    known = [name for name in names if name in colours]  # the dial is nobody in the case
    codes = np.zeros(shown.bits.shape, dtype=np.uint8)
    for place, name in enumerate(known):
        codes |= shown.mask(name, thresholds).astype(np.uint8) << np.uint8(place)
    rgba = np.zeros((256, 4), dtype=np.float32)
    for code in range(1, 1 << len(known)):
        colour, cover = np.zeros(3), 0.0
        for place, name in enumerate(known):
            if code >> place & 1:
                colour = (1 - AREA_COVER) * colour + AREA_COVER * colours[name]
                cover = 1 - (1 - cover) * (1 - AREA_COVER)
        rgba[code] = *(colour / cover), cover
    return Overlay(codes, rgba)
