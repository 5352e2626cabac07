"""Colours: readers that colour-blind people tell apart, and PET colour maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boneviz.case import Reader
from boneviz.errors import InputError

__all__ = ["HOT_IRON", "ReaderStyle", "rgb_of", "simulate_colour_blindness", "styles_of"]

# Experts are solid and saturated, models dashed and pale in their expert's hue: blue and orange
# stay apart for red- and green-blind eyes, lightness and dashes tell model from expert for all.
# tests/test_palette.py measures the distances under simulated colour blindness.
PAIRS = (
    ("#3d9bff", "#b9f0ff"),
    ("#ff8c1a", "#fff29e"),
    ("#c77dff", "#f0d6ff"),
    ("#2fbf71", "#c4f5d9"),
)


@dataclass(frozen=True, slots=True)
class ReaderStyle:
    """How a reader is drawn.

    Parameters
    ----------
    reader : who
    colour : ``#rrggbb``
    dashed : models are, experts are not
    """

    reader: Reader
    colour: str
    dashed: bool

    @property
    def name(self) -> str:
        """Name of the reader."""
        return self.reader.name


def styles_of(readers: Sequence[Reader]) -> tuple[ReaderStyle, ...]:
    """Give each reader a colour: experts by their order, each model its expert's hue, paler.

    Models without an expert among the readers take the hues that are left. From the ninth reader
    on colours repeat.
    """
    experts = [reader for reader in readers if reader.kind == "expert"]
    hue = {expert.name: place for place, expert in enumerate(experts)}
    spare = len(experts)
    styles = []
    for reader in readers:
        if reader.kind == "expert":
            styles.append(ReaderStyle(reader, PAIRS[hue[reader.name] % len(PAIRS)][0], False))
            continue
        place = hue.get(reader.learned_from or "")
        if place is None:
            place, spare = spare, spare + 1
        styles.append(ReaderStyle(reader, PAIRS[place % len(PAIRS)][1], True))
    return tuple(styles)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue, 0 to 255, of ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _hot_iron() -> NDArray[np.uint8]:
    """Black, red, orange, white: each channel a ramp of its own, as on PET workstations."""
    at = np.linspace(0, 1, 256)
    ramps = [at / 0.5, (at - 0.5) / 0.35, (at - 0.75) / 0.25]
    return np.stack([np.rint(255 * ramp.clip(0, 1)) for ramp in ramps], axis=1).astype(np.uint8)


#: (256, 3) uint8, from no uptake to the top of the SUV scale
HOT_IRON: NDArray[np.uint8] = _hot_iron()

# Machado, Oliveira and Fernandes 2009 (doi 10.1109/TVCG.2009.113), severity 1.0, linear RGB
_MACHADO = {
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def simulate_colour_blindness(rgb: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    """Return colours as someone colour-blind sees them.

    Parameters
    ----------
    rgb : (..., 3) uint8
    kind : ``protanopia``, ``deuteranopia`` or ``tritanopia``
        (Machado et al. 2009, severity 1)
    """
    if kind not in _MACHADO:
        raise InputError(f"colour blindness {kind!r}: expected one of {', '.join(_MACHADO)}")
    value = rgb.astype(np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = (linear @ np.array(_MACHADO[kind]).T).clip(0, 1)
    back = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    result: NDArray[np.uint8] = np.rint(back * 255).astype(np.uint8)
    return result
